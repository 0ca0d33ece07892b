//! The browser extension in Rust: which pages are ours and where the panel goes ([`site`]), who may ask the background what ([`router`]),
//! what is set ([`settings`]), the options page ([`options`]); and, compiled for wasm, what puts all that into a browser.
//!
//! Everything that decides is pure and natively tested. JavaScript stands only where the browser demands it (`assets/*.js`).

pub mod idna;
pub mod json;
pub mod options;
pub mod router;
pub mod settings;
pub mod signing;
pub mod site;
pub mod texts;

#[cfg(target_arch = "wasm32")]
mod browser;
#[cfg(target_arch = "wasm32")]
mod device;
#[cfg(target_arch = "wasm32")]
mod exports;
#[cfg(target_arch = "wasm32")]
mod options_page;
#[cfg(target_arch = "wasm32")]
mod panel_page;

/// Pages with one thread and small pieces; the standard allocator would be a twentieth of the module.
#[cfg(target_arch = "wasm32")]
#[global_allocator]
static ALLOCATOR: rlsf::SmallGlobalTlsf = rlsf::SmallGlobalTlsf::new();
