//! Puts the browser extension together: the root's `manifest.json`, `extension/assets`, the panel's styles and the WebAssembly core.
//!
//! One directory loads in Chromium and Firefox as it is; the stores' packages differ in a few keys of the manifest. The same input gives the
//! same bytes. Must not know what the extension does.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use zip::write::SimpleFileOptions;

use crate::{commands, setup, wasm};

/// The largest package we ship, in bytes.
const SIZE_LIMIT: usize = 300_000;

/// Pages on this machine, which only the extension built for tests may enter without being asked: no test can answer the browser's question.
const LOOPBACK: [&str; 2] = ["http://127.0.0.1/*", "http://localhost/*"];

/// For whom the manifest is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// Chromium and Firefox, from a directory.
    Everybody,
    /// Tests: as everybody, with pages on this machine.
    Tests,
    /// The Chrome Web Store and Edge Add-ons. Uploads with `key` are rejected (autotask-extension.md e.1).
    Chromium,
    /// addons.mozilla.org, and policies.
    Firefox,
}

/// The files of the extension by name, with the manifest as it stands in the repository.
pub struct Files(BTreeMap<String, Vec<u8>>);

impl Files {
    /// Builds the core and collects the rest. `release`: fail rather than leave wasm-opt out.
    pub fn build(root: &Path, release: bool) -> Result<Self> {
        let (glue, core) = wasm::build_extension(root, release)?;
        let mut files = BTreeMap::new();
        collect(&root.join("extension/assets"), "", &mut files)?;
        files.insert("core.js".to_owned(), glue.into_bytes());
        files.insert("core_bg.wasm".to_owned(), core);
        files.insert("panel.css".to_owned(), read(&root.join("zendesk-app/assets/panel.css"))?);
        files.insert("manifest.json".to_owned(), read(&root.join("manifest.json"))?);
        Ok(Self(files))
    }

    fn add_hosts(&mut self, hosts: &[String]) -> Result<()> {
        for host in hosts {
            let is_pattern = host.strip_prefix("https://").is_some_and(|rest| rest.ends_with("/*") && !rest.starts_with(['*', '/']));
            ensure!(is_pattern, "{host} is no pattern like https://desk.example.com/*");
        }
        let bytes = self.0.get_mut("manifest.json").context("no manifest.json")?;
        let mut manifest: Value = serde_json::from_slice(bytes).context("manifest.json is not JSON")?;
        let permissions = manifest.pointer_mut("/host_permissions").and_then(Value::as_array_mut);
        permissions.context("manifest.json has no host_permissions")?.extend(hosts.iter().map(|host| json!(host)));
        *bytes = serde_json::to_vec_pretty(&manifest)?;
        Ok(())
    }

    /// Makes a directory that a browser loads; what stood there before is gone.
    pub fn unpack(&self, directory: &Path, audience: Audience) -> Result<()> {
        if directory.exists() {
            fs::remove_dir_all(directory).with_context(|| format!("cannot remove {}", directory.display()))?;
        }
        for (name, bytes) in self.of(audience)? {
            let path = directory.join(&name);
            let parent = path.parent().unwrap_or(directory);
            fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
            wasm::write_if_new(&path, &bytes)?;
        }
        println!("  {}", directory.display());
        Ok(())
    }

    /// Puts the stores' packages where the server's build takes them in.
    fn embed(&self, root: &Path) -> Result<()> {
        let dist = root.join("extension/dist");
        fs::create_dir_all(&dist).with_context(|| format!("cannot make {}", dist.display()))?;
        for (name, audience) in [("chromium.zip", Audience::Chromium), ("firefox.zip", Audience::Firefox)] {
            wasm::write_if_new(&dist.join(name), &self.zipped(audience)?)?;
        }
        Ok(())
    }

    /// Makes a store's package.
    pub fn pack(&self, path: &Path, audience: Audience) -> Result<()> {
        let bytes = self.zipped(audience)?;
        ensure!(bytes.len() <= SIZE_LIMIT, "the package has {} bytes; {SIZE_LIMIT} is the limit", bytes.len());
        wasm::write_if_new(path, &bytes)?;
        println!("  {} ({} bytes)", path.display(), bytes.len());
        Ok(())
    }

    fn zipped(&self, audience: Audience) -> Result<Vec<u8>> {
        let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
        let options = SimpleFileOptions::default().last_modified_time(zip::DateTime::default()).unix_permissions(0o644);
        for (name, bytes) in self.of(audience)? {
            zip.start_file(name, options)?;
            zip.write_all(&bytes)?;
        }
        Ok(zip.finish()?.into_inner())
    }

    /// Prints what weighs what.
    pub fn print_sizes(&self) {
        for (name, bytes) in self.0.iter().filter(|(name, _)| [".js", ".wasm", ".css"].iter().any(|kind| name.ends_with(kind))) {
            println!("  {:>8} bytes  {name}", bytes.len());
        }
    }

    fn of(&self, audience: Audience) -> Result<BTreeMap<String, Vec<u8>>> {
        let mut files = self.0.clone();
        if let Some(bytes) = files.get_mut("manifest.json") {
            let mut value: Value = serde_json::from_slice(bytes).context("manifest.json is not JSON")?;
            manifest(&mut value, audience);
            *bytes = serde_json::to_vec_pretty(&value)?;
        }
        Ok(files)
    }
}

fn manifest(manifest: &mut Value, audience: Audience) {
    let mut remove = |place: &str, name: &str| {
        if let Some(object) = manifest.pointer_mut(place).and_then(Value::as_object_mut) {
            object.remove(name);
        }
    };
    match audience {
        Audience::Everybody => {}
        Audience::Tests => {
            if let Some(hosts) = manifest.pointer_mut("/host_permissions").and_then(Value::as_array_mut) {
                hosts.extend(LOOPBACK.map(|host| json!(host)));
            }
            hide_resources(manifest);
        }
        Audience::Chromium => {
            remove("", "key");
            remove("", "browser_specific_settings");
            remove("/background", "scripts");
            hide_resources(manifest);
        }
        Audience::Firefox => {
            remove("", "key");
            remove("", "minimum_chrome_version");
            remove("/background", "service_worker");
        }
    }
}

/// In Chromium an extension's address is the same everywhere. With this the pages that may be shown in a site's frame have another, drawn at each
/// start of the browser, so that no site finds the extension out or tries the panel. Firefox draws addresses anyway, and its lint knows no such key.
fn hide_resources(manifest: &mut Value) {
    let resources = manifest.get_mut("web_accessible_resources").and_then(Value::as_array_mut);
    for entry in resources.into_iter().flatten().filter_map(Value::as_object_mut) {
        entry.insert("use_dynamic_url".to_owned(), json!(true));
    }
}

/// The directory everything extension-like is built into.
pub fn directory(root: &Path) -> PathBuf {
    wasm::target_directory(root).join("extension")
}

/// Builds the directories a person and the tests load, and prints the sizes.
pub fn build(root: &Path) -> Result<()> {
    let files = Files::build(root, false)?;
    files.unpack(&directory(root).join("unpacked"), Audience::Everybody)?;
    files.unpack(&directory(root).join("loopback"), Audience::Tests)?;
    files.embed(root)?;
    files.print_sizes();
    Ok(())
}

/// Builds what the released server hands out with `deskbridge package extension`.
pub fn embedded(root: &Path) -> Result<()> {
    Files::build(root, true)?.embed(root)
}

/// Builds the stores' packages into `out`. `hosts`: match patterns of pages the extension may enter without asking the user, for an
/// organisation that publishes a package of its own.
pub fn package(root: &Path, out: &Path, hosts: &[String]) -> Result<()> {
    let mut files = Files::build(root, true)?;
    files.add_hosts(hosts)?;
    fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
    files.pack(&out.join("deskbridge-extension-chromium.zip"), Audience::Chromium)?;
    files.pack(&out.join("deskbridge-extension-firefox.zip"), Audience::Firefox)?;
    files.print_sizes();
    Ok(())
}

/// Lints the JavaScript (the server's, too), and the built extension as a store would.
pub fn lint(root: &Path) -> Result<()> {
    let extension = root.join("extension");
    if !extension.join("node_modules/.bin/web-ext").is_file() {
        ensure!(commands::on_path("npm"), "npm is not installed");
        let mut npm = Command::new("npm");
        npm.current_dir(&extension).args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]);
        commands::run(&mut npm).context("npm could not install the extension's linters")?;
    }
    let node = setup::node(root)?;
    let tool = |name: &str| {
        let mut tool = Command::new(&node);
        tool.current_dir(&extension).arg(extension.join("node_modules/.bin").join(name));
        tool
    };
    // From the root: eslint lints nothing outside of its working directory.
    let mut eslint = tool("eslint");
    eslint.current_dir(root).args(["--config", "extension/eslint.config.js", "extension/assets", "server/crates/web/assets"]);
    commands::run(&mut eslint)?;
    commands::run(tool("web-ext").args(["lint", "--no-config-discovery", "--source-dir"]).arg(directory(root).join("unpacked")))
}

fn collect(directory: &Path, prefix: &str, files: &mut BTreeMap<String, Vec<u8>>) -> Result<()> {
    for entry in fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))? {
        let entry = entry?;
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), &format!("{name}/"), files)?;
        } else {
            files.insert(name, read(&entry.path())?);
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(audience: Audience) -> Value {
        let mut value = json!({
            "key": "k", "minimum_chrome_version": "123", "browser_specific_settings": {}, "host_permissions": ["https://a/*"],
            "background": { "service_worker": "b.js", "scripts": ["b.js"] }, "web_accessible_resources": [{ "resources": ["p.html"] }],
        });
        manifest(&mut value, audience);
        value
    }

    #[test]
    fn each_store_gets_its_own_keys() {
        assert_eq!(
            of(Audience::Chromium),
            json!({
                "minimum_chrome_version": "123", "host_permissions": ["https://a/*"], "background": { "service_worker": "b.js" },
                "web_accessible_resources": [{ "resources": ["p.html"], "use_dynamic_url": true }],
            })
        );
        assert_eq!(
            of(Audience::Firefox),
            json!({
                "browser_specific_settings": {}, "host_permissions": ["https://a/*"], "background": { "scripts": ["b.js"] },
                "web_accessible_resources": [{ "resources": ["p.html"] }],
            })
        );
        assert_eq!(of(Audience::Tests)["host_permissions"], json!(["https://a/*", "http://127.0.0.1/*", "http://localhost/*"]));
        assert_eq!(of(Audience::Everybody)["host_permissions"], json!(["https://a/*"]));
    }
}
