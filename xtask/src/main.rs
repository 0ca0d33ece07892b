//! `cargo xtask`: everything a person or CI does with this repository besides editing it.
//!
//! One module per command. Must not hold product logic, and must not need more than a Rust toolchain to start:
//! whatever else a command needs, [`setup`] installs or names.

mod bench;
mod build;
mod commands;
mod counts;
mod demo;
mod extension;
mod package;
mod setup;
mod steps;
mod test;
mod wasm;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Builds, shows, tests and packages Deskbridge.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build everything and play Deskbridge between simulated systems, or with --real between a MeshCentral and a Request Tracker
    Demo(demo::Options),
    /// Run every check and every test, on SQLite and PostgreSQL, in a real browser
    Test(test::Options),
    /// Build the panel (WebAssembly), the browser extension, the server, or all
    Build(build::Options),
    /// Build what is released: the server, the browser extension and, with a settings file, the Zendesk app
    Package(package::Options),
    /// Measure in a release build and print the figures
    Bench(bench::Options),
    /// Install what the tests need
    Setup,
}

fn main() -> ExitCode {
    let root = repository_root();
    let outcome = match Arguments::parse().command {
        Command::Demo(options) => demo::run(&root, &options),
        Command::Test(options) => return test::run(&root, &options),
        Command::Build(options) => build::run(&root, &options),
        Command::Package(options) => package::run(&root, &options),
        Command::Bench(options) => bench::run(&root, &options),
        Command::Setup => setup::run(&root),
    };
    if let Err(error) = outcome {
        eprintln!("error: {error:#}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// The directory of the workspace manifest, whatever directory the command was called in.
///
/// `cargo run` says where the manifest is. What was compiled in may be another clone's that shares the target directory.
fn repository_root() -> PathBuf {
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Path::new(&manifest).parent().unwrap_or(Path::new(".")).to_path_buf()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn the_repository_root_holds_the_workspace() {
        let manifest = std::fs::read_to_string(repository_root().join("Cargo.toml")).unwrap();
        assert!(manifest.contains("[workspace]"));
    }
}
