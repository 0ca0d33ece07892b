//! The panel's built files and its texts under names that hold their hash: they never change, so browsers keep them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use deskbridge_security::sha256;
use deskbridge_shared::routes;
use rust_embed::RustEmbed;

use crate::problem::Problem;
use crate::texts::Translations;

/// Made by `cargo xtask build panel`.
#[derive(RustEmbed)]
#[folder = "../../../zendesk-app/dist"]
#[allow_missing = true]
struct Built;

struct Asset {
    content_type: &'static str,
    bytes: Bytes,
}

/// The files, by hashed name.
pub struct Assets {
    files: HashMap<String, Asset>,
    urls: HashMap<String, String>,
    /// The customer's button.
    pub button: Button,
}

/// The customer's button, under a name that does not change: it stands in other people's pages.
pub struct Button {
    /// The script.
    pub script: Bytes,
    /// Its hash, as `ETag` has it.
    pub tag: String,
}

/// Drawings of the page "Customize Help Center".
const PICTURES: [(&str, &[u8]); 3] = [
    ("customize-field", include_bytes!("../assets/customize-field.svg")),
    ("customize-theme", include_bytes!("../assets/customize-theme.svg")),
    ("customize-customer", include_bytes!("../assets/customize-customer.svg")),
];

/// Stands in the button's script where the few texts go that it needs before it has asked for the others.
const BUTTON_TEXTS: &str = "/*TEXTS*/{}";

impl Button {
    fn new(translations: &Translations) -> Self {
        let texts: BTreeMap<&str, BTreeMap<&str, &str>> = translations
            .all()
            .map(|(locale, _)| {
                let text = |name| Some((name, translations.page_text(locale, &["button_", name].concat())?));
                (locale, ["checking", "unavailable", "retry"].into_iter().filter_map(text).collect())
            })
            .collect();
        let texts = serde_json::to_string(&texts).unwrap_or_default();
        let lines = include_str!("../assets/button.js").lines().map(str::trim_start);
        let lines = lines.filter(|line| !line.is_empty() && !line.starts_with("//"));
        let script = lines.collect::<Vec<_>>().join("\n").replacen(BUTTON_TEXTS, &texts, 1);
        let tag = format!("\"{:016x}\"", hash(script.as_bytes()));
        Self { script: script.into(), tag }
    }
}

fn hash(bytes: &[u8]) -> u64 {
    u64::from_be_bytes(sha256(bytes)[..8].try_into().unwrap_or_default())
}

impl Assets {
    /// Reads and hashes the embedded files, and the texts of each language.
    pub fn load(translations: &Translations) -> Self {
        let mut assets = Self { files: HashMap::new(), urls: HashMap::new(), button: Button::new(translations) };
        for name in Built::iter() {
            let Some(file) = Built::get(&name) else { continue };
            let (stem, extension) = name.rsplit_once('.').unwrap_or((&name, ""));
            let content_type = match extension {
                "css" => "text/css; charset=utf-8",
                "js" => "text/javascript; charset=utf-8",
                "wasm" => "application/wasm",
                "svg" => "image/svg+xml",
                "png" => "image/png",
                _ => continue,
            };
            assets.add(stem, extension, content_type, file.data.into_owned());
        }
        assets.add("pages", "css", "text/css; charset=utf-8", include_bytes!("../assets/pages.css").to_vec());
        assets.add("pages", "js", "text/javascript; charset=utf-8", include_bytes!("../assets/pages.js").to_vec());
        assets.add("logo", "svg", "image/svg+xml", include_bytes!("../../../../zendesk-app/assets/logo.svg").to_vec());
        for (stem, picture) in PICTURES {
            assets.add(stem, "svg", "image/svg+xml", picture.to_vec());
        }
        for (locale, texts) in translations.all() {
            assets.add(&texts_stem(locale), "json", "application/json", serde_json::to_vec(texts).unwrap_or_default());
        }
        assets
    }

    fn add(&mut self, stem: &str, extension: &str, content_type: &'static str, bytes: Vec<u8>) {
        let hashed = format!("{stem}-{:016x}.{extension}", hash(&bytes));
        self.urls.insert(format!("{stem}.{extension}"), format!("{}/{hashed}", routes::ASSETS));
        self.files.insert(hashed, Asset { content_type, bytes: Bytes::from(bytes) });
    }

    /// Whether the panel was built into this server.
    pub fn complete(&self) -> bool {
        ["panel.js", "panel_bg.wasm", "panel.css"].iter().all(|name| self.urls.contains_key(*name))
    }

    /// The address of the panel's texts in a known language.
    pub fn texts_url(&self, locale: &str) -> String {
        self.url(&format!("{}.json", texts_stem(locale)))
    }

    /// The address of a file by its plain name; empty if it was not built.
    pub fn url(&self, name: &str) -> String {
        self.urls.get(name).cloned().unwrap_or_default()
    }
}

fn texts_stem(locale: &str) -> String {
    format!("texts-{locale}")
}

/// A built file under its hashed name.
#[utoipa::path(
    get,
    context_path = routes::ASSETS,
    path = "/{file}",
    operation_id = "asset",
    params(("file" = String, Path)),
    responses(
        (status = 200, description = "The file; it never changes", content_type = "*/*"),
        (status = 404, response = Problem),
    ),
)]
pub async fn serve(State(assets): State<Arc<Assets>>, file: Result<Path<String>, PathRejection>) -> Response {
    // A name that does not read is none of ours.
    match file.ok().and_then(|Path(file)| assets.files.get(&file)) {
        Some(asset) => {
            let headers = [(header::CONTENT_TYPE, asset.content_type), (header::CACHE_CONTROL, "public, max-age=31536000, immutable")];
            (headers, asset.bytes.clone()).into_response()
        }
        None => Problem::not_found().into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_small_and_load_nothing() {
        for (name, picture) in PICTURES {
            let picture = std::str::from_utf8(picture).unwrap();
            assert!(picture.len() < 6_000, "{name}: {} bytes", picture.len());
            // A page's policy forbids styles in attributes where the picture is opened by itself.
            for forbidden in ["href", "style", "<script", "url("] {
                assert!(!picture.contains(forbidden), "{name}: {forbidden}");
            }
        }
    }

    #[test]
    fn the_button_is_small_and_has_its_first_texts() {
        let button = Button::new(&Translations::load().unwrap());
        assert!(button.script.len() < 10_000, "{} bytes", button.script.len());
        let script = std::str::from_utf8(&button.script).unwrap();
        assert!(script.contains(r#"{"de":{"checking":""#) && !script.contains(BUTTON_TEXTS), "{script}");
    }
}
