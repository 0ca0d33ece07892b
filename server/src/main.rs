//! The `deskbridge` command: its command line, and the wiring of a running server. Rooms and their reasons: docs/ARCHITECTURE.md.

mod cli;
mod open_files;
mod serve;

use std::process::ExitCode;

fn main() -> ExitCode {
    // Chooses the cryptography for tokens and TLS alike. Both answer an error only if a provider is installed already.
    let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    cli::main()
}
