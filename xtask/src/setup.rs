//! What the commands need besides the toolchain that runs them: installed here, or named in one line.
//!
//! Debian packages are installed as root only; nothing is ever downloaded past rustup and apt.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::commands;
use crate::steps::Steps;

/// The panel's target.
pub const WASM_TARGET: &str = "wasm32-unknown-unknown";

/// A server on which tests may create databases; the tests crate reads the same name.
pub const POSTGRES_VARIABLE: &str = "DESKBRIDGE_TEST_POSTGRES";

/// A Debian package and the sign that it is there already.
struct DebianPackage {
    name: &'static str,
    is_there: fn() -> bool,
}

const DEBIAN_PACKAGES: [DebianPackage; 3] = [
    DebianPackage { name: "chromium", is_there: || commands::on_path("chromium") },
    DebianPackage { name: "chromium-driver", is_there: || commands::on_path("chromedriver") },
    DebianPackage { name: "postgresql", is_there: postgres_is_there },
];

/// `cargo xtask setup`.
pub fn run() -> Result<()> {
    let mut steps = Steps::new(3);
    steps.run("Rust target for the panel", wasm_target)?;
    steps.run("rustfmt and clippy", lints)?;
    steps.run("Chromium, chromedriver and PostgreSQL", debian_packages)
}

/// The WebAssembly target of the toolchain that runs us.
pub fn wasm_target() -> Result<()> {
    let sysroot = Command::new("rustc").args(["--print", "sysroot"]).output().context("cannot start rustc")?;
    let sysroot = String::from_utf8_lossy(&sysroot.stdout).trim().to_owned();
    if Path::new(&sysroot).join("lib/rustlib").join(WASM_TARGET).is_dir() {
        println!("  the target {WASM_TARGET} is there");
        return Ok(());
    }
    rustup(&["target", "add", WASM_TARGET])
}

/// rustfmt and clippy, which rustup's minimal profile leaves out.
pub fn lints() -> Result<()> {
    let missing: Vec<&str> = [("rustfmt", "fmt"), ("clippy", "clippy")]
        .into_iter()
        .filter(|(_, command)| {
            let version = Command::new("cargo").args([command, "--version"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
            !version.is_ok_and(|status| status.success())
        })
        .map(|(component, _)| component)
        .collect();
    if missing.is_empty() {
        println!("  rustfmt and clippy are there");
        return Ok(());
    }
    let mut arguments = vec!["component", "add"];
    arguments.extend(missing);
    rustup(&arguments)
}

/// The browser and the database the tests drive.
pub fn debian_packages() -> Result<()> {
    let missing: Vec<&str> = DEBIAN_PACKAGES.into_iter().filter(|package| !(package.is_there)()).map(|package| package.name).collect();
    if missing.is_empty() {
        println!("  Chromium, chromedriver and PostgreSQL are there");
        return Ok(());
    }
    if !is_root() || !commands::on_path("apt-get") {
        bail!("{}", please_install(&missing));
    }
    commands::run(&mut apt_get(&["update"]))?;
    let mut arguments = vec!["install", "--yes", "--no-install-recommends"];
    arguments.extend(missing);
    commands::run(apt_get(&arguments).env("DEBIAN_FRONTEND", "noninteractive"))
}

fn rustup(arguments: &[&str]) -> Result<()> {
    if !commands::on_path("rustup") {
        bail!("this toolchain was not installed by rustup: run what stands for 'rustup {}' yourself", arguments.join(" "));
    }
    commands::run(Command::new("rustup").args(arguments))
}

/// Waits for another apt rather than failing beside it: fresh machines often update themselves at first boot.
fn apt_get(arguments: &[&str]) -> Command {
    let mut command = Command::new("apt-get");
    command.args(["-o", "DPkg::Lock::Timeout=300"]).args(arguments).stdin(Stdio::null());
    command
}

/// Debian keeps the server's programs out of PATH, one directory for each version.
fn postgres_is_there() -> bool {
    std::env::var_os(POSTGRES_VARIABLE).is_some()
        || std::fs::read_dir("/usr/lib/postgresql")
            .is_ok_and(|versions| versions.flatten().any(|version| version.path().join("bin/initdb").is_file()))
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

fn please_install(packages: &[&str]) -> String {
    format!("please install what is missing: sudo apt-get install --no-install-recommends {}", packages.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_packages_are_named_in_one_line() {
        let line = please_install(&["chromium", "postgresql"]);
        assert!(line.ends_with("install --no-install-recommends chromium postgresql"), "{line}");
        assert_eq!(line.lines().count(), 1);
    }
}
