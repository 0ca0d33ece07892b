//! `cargo xtask package`: what is released. The panel is optimised here, so `wasm-opt` must be at hand.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use clap::Args;

use crate::steps::Steps;
use crate::{commands, setup, wasm};

/// Where to, and for whom.
#[derive(Args)]
pub struct Options {
    /// Directory to put the files into
    #[arg(long, default_value = "target/package")]
    out: PathBuf,
    /// Settings of the server the Zendesk app shall open; without it, no app package is made
    #[arg(long)]
    config: Option<PathBuf>,
}

/// `cargo xtask package`.
pub fn run(root: &Path, options: &Options) -> Result<()> {
    let out = root.join(&options.out);
    let mut steps = Steps::new(if options.config.is_some() { 4 } else { 3 });
    steps.run("Rust target for the panel", setup::wasm_target)?;
    steps.run("Panel (WebAssembly), optimised", || wasm::build_panel(root, true))?;
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
