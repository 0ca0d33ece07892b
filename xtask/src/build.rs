//! `cargo xtask build`: the panel (WebAssembly), the server, or both.

use std::path::Path;

use anyhow::Result;
use clap::{Args, ValueEnum};

use crate::steps::Steps;
use crate::{commands, setup, wasm};

/// What to build.
#[derive(Args)]
pub struct Options {
    /// Only this part; without it, both
    part: Option<Part>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// The panel's WebAssembly and glue
    Panel,
    /// The server, as a debug build
    Server,
}

/// `cargo xtask build`.
pub fn run(root: &Path, options: &Options) -> Result<()> {
    let wanted = |part| options.part.is_none_or(|only| only == part);
    let mut steps = Steps::new(2 * usize::from(wanted(Part::Panel)) + usize::from(wanted(Part::Server)));
    if wanted(Part::Panel) {
        panel(root, &mut steps)?;
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
