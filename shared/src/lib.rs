//! The words both sides speak: routes, the panel API, client-script URLs, the panel.
//!
//! Must not do I/O, and must compile natively and to wasm without `url`, `serde_json` or `regex`
//! (they would multiply the panel's size, stack.md 8).

pub mod api;
pub mod client_script;
pub mod device;
pub mod host;
#[cfg(any(feature = "panel", test))]
pub mod panel;
pub mod percent;
pub mod problem;
pub mod routes;
