//! `cargo xtask package`: what is released. The panel is optimised here, so `wasm-opt` must be at hand.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};

use crate::steps::Steps;
use crate::{commands, extension, setup, wasm};

/// Where to, and for whom.
#[derive(Args)]
pub struct Options {
    /// Only this part; without it, all
    part: Option<Part>,
    /// Directory to put the files into
    #[arg(long, default_value = "target/package")]
    out: PathBuf,
    /// Pages the extension may enter without asking the user, as in https://desk.example.com/*; for a package of one's own
    #[arg(long = "host", value_name = "PATTERN")]
    hosts: Vec<String>,
    /// Settings of the server the Zendesk app shall open; without it, no app package is made
    #[arg(long)]
    config: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// The browser extension's packages for the stores
    Extension,
    /// The server, and with --config the Zendesk app
    Server,
}

/// `cargo xtask package`.
pub fn run(root: &Path, options: &Options) -> Result<()> {
    let out = root.join(&options.out);
    let wanted = |part| options.part.is_none_or(|only| only == part);
    let server_steps = if options.config.is_some() { 4 } else { 3 };
    let mut steps = Steps::new(1 + usize::from(wanted(Part::Extension)) + if wanted(Part::Server) { server_steps } else { 0 });
    steps.run("Rust target for WebAssembly", setup::wasm_target)?;
    if wanted(Part::Extension) {
        steps.run("Browser extension", || extension::package(root, &out, &options.hosts))?;
    }
    if !wanted(Part::Server) {
        return Ok(());
    }
    steps.run("Panel (WebAssembly), optimised", || wasm::build_panel(root, true))?;
    steps.run("Browser extension for the server to hand out", || extension::embedded(root))?;
    let server = steps.run("Server, for release (this takes some minutes)", || {
        commands::run(commands::cargo(root).args(["build", "--release", "--package", "deskbridge"]))?;
        std::fs::create_dir_all(&out).with_context(|| format!("cannot make {}", out.display()))?;
        let server = out.join("deskbridge");
        std::fs::copy(commands::built(root, "release", "deskbridge"), &server)
            .with_context(|| format!("cannot write {}", server.display()))?;
        println!("  {}", server.display());
        Ok(server)
    })?;
    let Some(config) = &options.config else {
        println!("No --config: the Zendesk app, which names its server, was not packaged.");
        return Ok(());
    };
    steps.run("Zendesk app", || {
        let mut package = Command::new(&server);
        package.args(["package", "zendesk", "--out"]).arg(out.join("deskbridge-zendesk-app.zip")).arg("--config").arg(config);
        commands::run(&mut package)
    })
}
