//! `deskbridge package zendesk`: the app package an administrator uploads to their account (zendesk.md a).
//! `deskbridge package extension`: the browser extension's packages, and policies that tell it of this server.

use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Subcommand;
use deskbridge_core::settings::Settings;
use deskbridge_web::TranslationFiles;
use rust_embed::RustEmbed;
use serde_json::{Value, json};
use zip::write::SimpleFileOptions;

use super::ConfigFile;

/// Logos of the app; other files of the folder belong to the sidebar page.
#[derive(RustEmbed)]
#[folder = "../zendesk-app/assets"]
struct AppAssets;

/// Made by `cargo xtask build extension`.
#[derive(RustEmbed)]
#[folder = "../extension/dist"]
#[allow_missing = true]
struct Extension;

/// The extension's id in Firefox (manifest.json); Chromium's depends on who publishes it.
const FIREFOX_ID: &str = "extension@deskbridge";
/// Stands for what only the administrator knows.
const CHROMIUM_ID: &str = "EXTENSION_ID";
const ENROLMENT_TOKEN: &str = "ENROLMENT_TOKEN";

const LOGOS: [&str; 2] = ["logo.png", "logo-small.png"];

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// The Zendesk app package, with this server's addresses.
    Zendesk {
        /// The zip file to write.
        #[arg(long)]
        out: PathBuf,
        #[command(flatten)]
        file: ConfigFile,
    },
    /// The browser extension's packages for Chromium and Firefox, and policy files that tell it of this server and its sites.
    Extension {
        /// The folder to write them to; made if missing.
        #[arg(long)]
        out: PathBuf,
        #[command(flatten)]
        file: ConfigFile,
    },
}

pub(crate) fn run(command: &Command) -> anyhow::Result<()> {
    match command {
        Command::Zendesk { out, file } => {
            let settings = file.load()?;
            let bytes = zendesk(settings.server.public_origin())?;
            write(out, &bytes)?;
            println!(
                "{} written. Upload it in Admin Center under Apps and integrations > Zendesk Support apps > Upload private app.",
                out.display()
            );
            Ok(())
        }
        Command::Extension { out, file } => {
            let settings = file.load()?;
            std::fs::create_dir_all(out).with_context(|| format!("{} cannot be made", out.display()))?;
            for name in ["chromium.zip", "firefox.zip"] {
                let package = Extension::get(name).context("this build holds no extension; `cargo xtask package` makes one that does")?;
                write(&out.join(format!("deskbridge-extension-{name}")), &package.data)?;
            }
            let policy = managed(&settings)?;
            write(&out.join("policy-chromium.json"), &pretty(json!({ "3rdparty": { "extensions": { CHROMIUM_ID: policy } } }))?)?;
            write(
                &out.join("policy-firefox.json"),
                &pretty(json!({ "policies": { "3rdparty": { "Extensions": { FIREFOX_ID: policy } } } }))?,
            )?;
            println!(
                "Packages and policies written to {}. Put the extension's id for {CHROMIUM_ID} and, for {ENROLMENT_TOKEN}, what\n\
                 deskbridge devices pair --connection NAME --uses N --days D  prints; see docs/extension.md.",
                out.display()
            );
            Ok(())
        }
    }
}

/// What the extension is told by policy: this server, and the pages of the connections it serves (extension/assets/managed_schema.json).
fn managed(settings: &Settings) -> anyhow::Result<Value> {
    let mut sites: Vec<Value> = Vec::new();
    for connection in settings.connection.iter().filter(|connection| !connection.disabled) {
        let help_desk = deskbridge_help_desks::build(connection).map_err(|fault| anyhow::anyhow!("{}: {fault}", connection.name))?;
        // A help desk that opens the panel itself needs no extension.
        if help_desk.signed_panel().is_some() {
            continue;
        }
        let mut site = json!({ "kind": help_desk.name(), "connection": connection.name });
        if let Some(url) = help_desk.site() {
            site["url"] = url.into();
        }
        sites.push(site);
    }
    Ok(json!({ "serverUrl": settings.server.public_origin(), "enrolmentToken": ENROLMENT_TOKEN, "sites": sites }))
}

/// In one order of keys: that of `serde_json` depends on what else is built along.
fn pretty(mut value: Value) -> anyhow::Result<Vec<u8>> {
    value.sort_all_objects();
    Ok(format!("{}\n", serde_json::to_string_pretty(&value)?).into_bytes())
}

fn write(out: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    std::fs::write(out, bytes).with_context(|| format!("{} cannot be written", out.display()))
}

/// The package's bytes; the same input gives the same bytes.
pub fn zendesk(public_origin: &str) -> anyhow::Result<Vec<u8>> {
    let url = url::Url::parse(public_origin)?;
    // (zendesk.md a.2)
    anyhow::ensure!(
        url.scheme() == "https" || url.host_str() == Some("localhost"),
        "Zendesk takes only apps at an https address, or at http://localhost; set public_url, which is {public_origin}"
    );
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().last_modified_time(zip::DateTime::default()).unix_permissions(0o644);
    let mut add = |name: &str, bytes: &[u8]| -> anyhow::Result<()> {
        zip.start_file(name, options)?;
        zip.write_all(bytes)?;
        Ok(())
    };
    add("manifest.json", &pretty(manifest(public_origin)?)?)?;
    for name in LOGOS {
        let file = AppAssets::get(name).with_context(|| format!("zendesk-app/assets/{name} is missing"))?;
        add(&format!("assets/{name}"), &file.data)?;
    }
    let mut names: Vec<_> = TranslationFiles::iter().collect();
    names.sort();
    for name in names {
        let file = TranslationFiles::get(&name).context("an embedded file")?;
        let texts: Value = serde_json::from_slice(&file.data).with_context(|| format!("translations/{name}"))?;
        // The panel's texts come from the server; the package needs only the app's own.
        add(&format!("translations/{name}"), &pretty(json!({ "app": texts["app"] }))?)?;
    }
    Ok(zip.finish()?.into_inner())
}

/// The manifest (zendesk.md a.1–a.3): signed URLs, both ticket sidebars, and the seed guide's form.
fn manifest(public_origin: &str) -> anyhow::Result<Value> {
    let host = url::Url::parse(public_origin)?.host_str().context("public_url has no host")?.to_owned();
    let sidebar = json!({ "url": format!("{public_origin}{}", deskbridge_shared::routes::ZENDESK_SIDEBAR), "flexible": true, "size": { "height": "320px" } });
    let switch = |name: &str, default: bool| json!({ "name": name, "type": "checkbox", "default": default });
    Ok(json!({
        "name": "Deskbridge Remote Support",
        // Whoever runs this server answers for the app.
        "author": { "name": "Deskbridge", "email": format!("deskbridge@{host}"), "url": public_origin },
        "defaultLocale": "en",
        "private": true,
        "signedUrls": true,
        "singleInstall": true,
        "location": { "support": { "ticket_sidebar": sidebar.clone(), "new_ticket_sidebar": sidebar } },
        "parameters": [
            { "name": "hostname", "type": "text", "required": true },
            { "name": "issues", "type": "multiline", "required": true },
            { "name": "jumpoints", "type": "multiline" },
            switch("allow_jump_client", true),
            switch("allow_local_push", false),
            switch("allow_remote_push", false),
            switch("allow_rdp", false),
            switch("allow_shell_jump", false),
        ],
        "domainWhitelist": [host],
        "version": env!("CARGO_PKG_VERSION"),
        "frameworkVersion": "2.0",
    }))
}
