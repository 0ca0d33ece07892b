//! `cargo xtask bench`: builds for release, measures with `tests/src/bin/bench`, prints what it says.

use std::path::Path;
use std::process::Command;

use anyhow::Result;
use clap::Args;

use crate::steps::Steps;
use crate::{build, commands, extension};

/// Which figures.
#[derive(Args)]
pub struct Options {
    /// Only this bench: `sidebar`, `events`, `connections`, `memory`, `panel`, `queue`, `extension` or `help-center`; without it, all
    bench: Option<String>,
    /// Fail when a target is missed
    #[arg(long)]
    check: bool,
}

/// `cargo xtask bench`.
pub fn run(root: &Path, options: &Options) -> Result<()> {
    let needs_extension = options.bench.as_deref().is_none_or(|bench| bench == "extension");
    let mut steps = Steps::new(4 + usize::from(needs_extension));
    build::panel(root, &mut steps)?;
    if needs_extension {
        steps.run("Browser extension", || {
            extension::build(root)?;
            extension::package(root, &root.join("target/package"), &[])
        })?;
    }
    steps.run("Server and benches, for release (this takes some minutes)", || {
        let mut cargo = commands::cargo(root);
        cargo.args(["build", "--release", "--package", "deskbridge", "--package", "deskbridge-tests"]).args([
            "--bin",
            "deskbridge",
            "--bin",
            "bench",
        ]);
        commands::run(&mut cargo)
    })?;
    steps.run("Measuring", || {
        let mut bench = Command::new(commands::built(root, "release", "bench"));
        bench.args(&options.bench).args(options.check.then_some("--check")).current_dir(root);
        commands::run(&mut bench)
    })
}
