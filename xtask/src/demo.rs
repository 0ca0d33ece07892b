//! `cargo xtask demo`: builds everything, then becomes the demo (`tests/src/bin/demo`).

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use clap::Args;

use crate::steps::Steps;
use crate::{build, commands, extension, setup};

/// Passed on to the demo.
#[derive(Args)]
#[command(trailing_var_arg = true)]
pub struct Options {
    /// Arguments of the demo itself: `--real` takes a real MeshCentral and Request Tracker, `--check` plays the whole story once and ends
    #[arg(allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// `cargo xtask demo`.
pub fn run(root: &Path, options: &Options) -> Result<()> {
    let is_real = options.arguments.iter().any(|argument| argument == "--real");
    let mut steps = Steps::new(if is_real { 7 } else { 4 });
    if is_real {
        steps.run("Screen of the machine", setup::screen)?;
        steps.run("Request Tracker", || {
            // The demo's tickets are simulated ones then.
            setup::request_tracker().unwrap_or_else(|error| println!("  it is done without: {error:#}"));
            Ok(())
        })?;
        steps.run("MeshCentral", || setup::meshcentral(root))?;
    }
    build::panel(root, &mut steps)?;
    steps.run("Browser extension", || extension::build(root))?;
    steps.run("Server and simulated systems", || {
        let mut cargo = commands::cargo(root);
        cargo.args(["build", "--package", "deskbridge", "--package", "deskbridge-tests"]).args(["--bin", "deskbridge", "--bin", "demo"]);
        commands::run(&mut cargo)
    })?;
    // In place of this process, so that Ctrl-C reaches the demo alone and it can end in order.
    let error = Command::new(commands::built(root, "debug", "demo")).args(&options.arguments).current_dir(root).exec();
    Err(error).context("cannot start the demo")
}
