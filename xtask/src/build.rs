//! `cargo xtask build`: the panel (WebAssembly), the browser extension, the server, or all.

use std::path::Path;

use anyhow::Result;
use clap::{Args, ValueEnum};

use crate::steps::Steps;
use crate::{commands, extension, setup, wasm};

/// What to build.
#[derive(Args)]
pub struct Options {
    /// Only this part; without it, all
    part: Option<Part>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// The panel's WebAssembly and glue
    Panel,
    /// The browser extension, unpacked: target/extension
    Extension,
    /// The server, as a debug build
    Server,
}

/// `cargo xtask build`.
pub fn run(root: &Path, options: &Options) -> Result<()> {
    let wanted = |part| options.part.is_none_or(|only| only == part);
    let needs_wasm = wanted(Part::Panel) || wanted(Part::Extension);
    let count = [needs_wasm, wanted(Part::Panel), wanted(Part::Extension), wanted(Part::Server)].into_iter().filter(|step| *step).count();
    let mut steps = Steps::new(count);
    if needs_wasm {
        steps.run("Rust target for WebAssembly", setup::wasm_target)?;
    }
    if wanted(Part::Panel) {
        steps.run("Panel (WebAssembly)", || wasm::build_panel(root, false))?;
    }
    if wanted(Part::Extension) {
        steps.run("Browser extension", || extension::build(root))?;
    }
    if wanted(Part::Server) {
        steps.run("Server", || commands::run(commands::cargo(root).args(["build", "--package", "deskbridge"])))?;
    }
    Ok(())
}

/// The two steps every command takes that needs the panel.
pub fn panel(root: &Path, steps: &mut Steps) -> Result<()> {
    steps.run("Rust target for the panel", setup::wasm_target)?;
    steps.run("Panel (WebAssembly)", || wasm::build_panel(root, false))
}
