//! What the client needs to know of one appliance. Must not read files, environment or clock: whoever builds this has
//! already resolved every value.

use super::Error;
use deskbridge_http_client::limiter::Window;
use deskbridge_shared::client_script::Spelling;
use secrecy::{ExposeSecret, SecretString};
use std::time::Duration;
use url::Url;

/// One appliance and the account we use on it.
#[derive(Clone, Debug)]
pub struct ApplianceSettings {
    /// `name` or `name:port`, without scheme.
    pub host: String,
    /// The API account.
    pub credentials: Credentials,
    /// Locale of localised values in reports, such as `en-us`.
    pub locale: Option<String>,
    /// Accept a certificate nobody vouches for.
    pub allow_invalid_certificates: bool,
    /// Plain HTTP; possible with [`Credentials::Legacy`] only (beyondtrust.md B.1).
    pub use_plain_http: bool,
    /// Send the OAuth client in the form body instead of a Basic header (beyondtrust.md C.1, J.3).
    pub credentials_in_body: bool,
    /// Calls we allow ourselves.
    pub limits: Limits,
    /// How long we wait.
    pub timeouts: Timeouts,
}

impl ApplianceSettings {
    /// Settings with everything optional at its default.
    pub fn new(host: impl Into<String>, credentials: Credentials) -> Self {
        Self {
            host: host.into(),
            credentials,
            locale: None,
            allow_invalid_certificates: false,
            use_plain_http: false,
            credentials_in_body: false,
            limits: Limits::default(),
            timeouts: Timeouts::default(),
        }
    }

    /// Whether these name the same account in the same way.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let plain = |settings: &Self| {
            let flags = (settings.allow_invalid_certificates, settings.use_plain_http, settings.credentials_in_body);
            (settings.host.to_ascii_lowercase(), settings.locale.clone(), flags, settings.limits, settings.timeouts)
        };
        plain(self) == plain(other) && self.credentials.is_same(&other.credentials)
    }

    /// The address all calls start from; checks what can be checked without the appliance.
    pub(super) fn base_url(&self) -> Result<Url, Error> {
        if self.use_plain_http && matches!(self.credentials, Credentials::OAuth { .. }) {
            return Err(Error::Settings(
                "use_plain_http cannot be combined with client_id and client_secret: OAuth always uses TLS. Remove use_plain_http"
                    .to_owned(),
            ));
        }
        let scheme = if self.use_plain_http { "http" } else { "https" };
        let fault = || {
            Error::Settings(format!(
                "host {:?} is no host name; expected \"name\" or \"name:port\" without scheme and path, such as \"support.example.com\"",
                self.host
            ))
        };
        if self.host.contains(|character: char| matches!(character, '/' | '\\' | '@' | '?' | '#') || character.is_whitespace()) {
            return Err(fault());
        }
        let url = Url::parse(&format!("{scheme}://{}/", self.host)).map_err(|_| fault())?;
        if url.host_str().is_none_or(str::is_empty) { Err(fault()) } else { Ok(url) }
    }
}

/// How the appliance knows us.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// OAuth 2 client credentials, 16.2.1 and later (beyondtrust.md C.1).
    OAuth {
        /// Client id of the API account.
        client_id: String,
        /// Its secret.
        client_secret: SecretString,
    },
    /// User name and password on every call, 16.1 and earlier (beyondtrust.md C.2).
    Legacy {
        /// API user.
        username: String,
        /// Its password.
        password: SecretString,
    },
}

impl Credentials {
    /// How the addresses of an appliance end that knows us in this way.
    pub(super) fn spelling(&self) -> Spelling {
        match self {
            Self::OAuth { .. } => Spelling::Plain,
            Self::Legacy { .. } => Spelling::Ns,
        }
    }

    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::OAuth { client_id: id, client_secret: secret }, Self::OAuth { client_id, client_secret }) => {
                id == client_id && secret.expose_secret() == client_secret.expose_secret()
            }
            (Self::Legacy { username: name, password: secret }, Self::Legacy { username, password }) => {
                name == username && secret.expose_secret() == password.expose_secret()
            }
            _ => false,
        }
    }
}

/// How many calls we make by an API account. The appliance allows 20 a second and 15,000 an hour over all its API endpoints
/// (beyondtrust.md J.1); calls that left in time can arrive closer together, so a quarter of a second's calls is left unused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Calls in any second.
    pub per_second: u32,
    /// Calls in any hour.
    pub per_hour: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { per_second: 15, per_hour: 15_000 }
    }
}

impl Limits {
    pub(super) fn windows(self) -> Vec<Window> {
        let window = |calls, length| Window { calls, length };
        vec![window(self.per_second, Duration::from_secs(1)), window(self.per_hour, Duration::from_hours(1))]
    }
}

/// How long a call may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Timeouts {
    /// Until connected, TLS included.
    pub connect: Duration,
    /// Between two pieces of the answer.
    pub read: Duration,
    /// A whole call; reports may take twice as long.
    pub total: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect: Duration::from_secs(5), read: Duration::from_secs(15), total: Duration::from_secs(30) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn legacy() -> Credentials {
        Credentials::Legacy { username: "integration".to_owned(), password: "pw".into() }
    }

    #[test]
    fn hosts() {
        let check = |host: &str, expected: Option<&str>| {
            let url = ApplianceSettings::new(host, legacy()).base_url();
            assert_eq!(url.as_ref().ok().map(Url::as_str), expected, "{host}: {url:?}");
        };
        check("support.example.com", Some("https://support.example.com/"));
        check("support.example.com:8443", Some("https://support.example.com:8443/"));
        check("[2001:db8::1]:8443", Some("https://[2001:db8::1]:8443/"));
        for wrong in
            ["", ":443", "https://support.example.com", "support.example.com/login", "a@b", "a b", "a?b", "a#b", "a:b", "a\\b", "a:99999"]
        {
            check(wrong, None);
        }
    }

    #[test]
    fn plain_http_is_for_legacy_only() {
        let mut settings = ApplianceSettings::new("a", legacy());
        settings.use_plain_http = true;
        assert_eq!(settings.base_url().unwrap().as_str(), "http://a/");
        settings.credentials = Credentials::OAuth { client_id: "id".to_owned(), client_secret: "secret".into() };
        assert!(matches!(settings.base_url(), Err(Error::Settings(text)) if text.contains("use_plain_http")));
    }

    #[test]
    fn debug_output_holds_no_secret() {
        let settings = ApplianceSettings::new("a", Credentials::OAuth { client_id: "id".to_owned(), client_secret: "s3cret".into() });
        assert!(!format!("{settings:?}").contains("s3cret"));
    }
}
