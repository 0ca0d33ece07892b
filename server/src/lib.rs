//! The Deskbridge server. Rooms and their reasons: docs/ARCHITECTURE.md.
//!
//! Calls go down only: doors → support → appliance, tickets, reports → store. Nothing below `doors` knows HTTP requests.

pub mod app;
pub mod appliance;
pub mod cli;
pub mod clock;
pub mod config;
pub mod connections;
pub mod doors;
pub mod fault_point;
pub mod inbox;
pub mod metrics;
pub mod outgoing;
pub mod reports;
pub mod security;
pub mod serve;
pub mod store;
pub mod support;
pub mod tickets;

/// Chooses the cryptography for tokens and TLS alike. To be called first thing in `main` and in tests; later calls change nothing.
pub fn install_crypto() {
    // Both answer an error only if a provider is installed already.
    let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}
