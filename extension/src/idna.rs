//! A host name with letters beyond ASCII, as DNS has it (IDNA, UTS 46): by the browser's own `URL`, because the tables would double the wasm;
//! natively, for the tests, by the `url` crate, which goes by the same standard.

/// The name in ASCII. `None`: no host can have it. What else is wrong with a name is `deskbridge_shared::host`'s to find.
#[cfg(not(target_arch = "wasm32"))]
pub fn idna(name: &str) -> Option<String> {
    url::Host::parse(name).ok().map(|host| host.to_string())
}

/// The name in ASCII. `None`: no host can have it. What else is wrong with a name is `deskbridge_shared::host`'s to find.
#[cfg(target_arch = "wasm32")]
pub fn idna(name: &str) -> Option<String> {
    crate::browser::host_of(&["https://", name, "/"].concat())
}
