//! What people read, by language: the panel's texts, from the app package's translations, and those of the server's own pages.
//!
//! A language is a file in each of the two folders; the server does not start with only one of them.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context;
use axum::http::{HeaderMap, header};
use rust_embed::{EmbeddedFile, RustEmbed};
use serde_json::{Map, Value};

/// The same files go into the Zendesk app package.
#[derive(RustEmbed)]
#[folder = "../../../zendesk-app/translations"]
pub struct TranslationFiles;

/// The texts of the server's own pages.
#[derive(RustEmbed)]
#[folder = "translations"]
struct PageTranslationFiles;

/// The two folders, as errors name them.
const APP_FOLDER: &str = "zendesk-app/translations";
const PAGES_FOLDER: &str = "server/crates/web/translations";

/// More languages than people read.
const MAX_WANTED: usize = 10;
/// The language everything has.
const FALLBACK: &str = "en";

/// Texts by language.
pub struct Translations(BTreeMap<String, Language>);

struct Language {
    panel: Map<String, Value>,
    pages: Map<String, Value>,
}

impl Translations {
    /// Reads the embedded files.
    pub fn load() -> anyhow::Result<Self> {
        check_names(&TranslationFiles::iter().collect(), &PageTranslationFiles::iter().collect())?;
        let mut languages = BTreeMap::new();
        for name in TranslationFiles::iter() {
            let Some(language) = name.strip_suffix(".json") else { continue };
            let read = |file: Option<EmbeddedFile>, folder: &str| {
                let file = file.with_context(|| format!("{folder}/{name} is missing"))?;
                serde_json::from_slice::<Value>(&file.data).with_context(|| format!("{folder}/{name}"))
            };
            let app = read(TranslationFiles::get(&name), APP_FOLDER)?;
            let pages = read(PageTranslationFiles::get(&name), PAGES_FOLDER)?;
            let panel = app["panel"].as_object().with_context(|| format!("{APP_FOLDER}/{name} has no panel texts"))?.clone();
            let pages = pages.as_object().with_context(|| format!("{PAGES_FOLDER}/{name} is no map"))?.clone();
            languages.insert(language.to_ascii_lowercase(), Language { panel, pages });
        }
        anyhow::ensure!(languages.contains_key(FALLBACK), "translations/{FALLBACK}.json is missing");
        Ok(Self(languages))
    }

    /// Every language with the panel's texts.
    pub fn all(&self) -> impl Iterator<Item = (&str, &Map<String, Value>)> {
        self.0.iter().map(|(language, texts)| (language.as_str(), &texts.panel))
    }

    /// The best language for `wanted` (`de-AT` → `de-at`, `de`, `en`) and the panel's texts in it.
    pub fn choose(&self, wanted: &str) -> (&str, &Map<String, Value>) {
        let wanted = wanted.to_ascii_lowercase().replace('_', "-");
        let language = wanted.split('-').next().unwrap_or_default();
        let found = [wanted.as_str(), language, FALLBACK].into_iter().find_map(|name| self.0.get_key_value(name));
        found.map_or((FALLBACK, &EMPTY), |(name, texts)| (name.as_str(), &texts.panel))
    }

    /// A text of the server's own pages in a known language.
    pub fn page_text(&self, language: &str, name: &str) -> Option<&str> {
        self.0.get(language)?.pages.get(name)?.as_str()
    }

    /// All texts of the server's own pages in a known language.
    pub fn page_texts(&self, language: &str) -> impl Iterator<Item = (&String, &Value)> {
        self.0.get(language).into_iter().flat_map(|texts| &texts.pages)
    }

    /// The known language that the browser of a request wants most.
    pub fn of_request(&self, headers: &HeaderMap) -> &str {
        let accepted = headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
        self.choose_accepted(accepted.unwrap_or_default())
    }

    /// The known language that an `Accept-Language` header wants most.
    fn choose_accepted(&self, header: &str) -> &str {
        let mut wanted: Vec<(u16, &str)> = header.split(',').take(MAX_WANTED).filter_map(weighted).collect();
        // Of equal weight, the first.
        wanted.sort_by_key(|(weight, _)| std::cmp::Reverse(*weight));
        let known = wanted.into_iter().map(|(_, tag)| (tag, self.choose(tag).0));
        let known = known.into_iter().find(|(tag, chosen)| tag.to_ascii_lowercase().starts_with(chosen));
        known.map_or(FALLBACK, |(_, chosen)| chosen)
    }
}

/// Languages that are written from right to left (Unicode CLDR).
const RIGHT_TO_LEFT: [&str; 10] = ["ar", "arc", "ckb", "dv", "fa", "he", "ps", "ug", "ur", "yi"];

/// In which direction a language is written, as HTML's `dir` says it.
pub fn direction(locale: &str) -> &'static str {
    let language = locale.split(['-', '_']).next().unwrap_or_default();
    if RIGHT_TO_LEFT.contains(&language) { "rtl" } else { "ltr" }
}

/// Whether each language's file is in both folders.
fn check_names(app: &BTreeSet<Cow<'static, str>>, pages: &BTreeSet<Cow<'static, str>>) -> anyhow::Result<()> {
    for (has, lacks, folder) in [(app, pages, PAGES_FOLDER), (pages, app, APP_FOLDER)] {
        let missing = has.difference(lacks).find(|name| name.ends_with(".json"));
        anyhow::ensure!(missing.is_none(), "{folder}/{} is missing", missing.map_or("", |name| name));
    }
    Ok(())
}

/// A language of `Accept-Language` and its weight in thousandths (RFC 9110, 12.4.2); None for one that is not wanted, or makes no sense.
fn weighted(part: &str) -> Option<(u16, &str)> {
    let mut pieces = part.split(';').map(str::trim);
    let tag = pieces.next().filter(|tag| !tag.is_empty())?;
    let weight = match pieces.find_map(|piece| piece.strip_prefix("q=").or_else(|| piece.strip_prefix("Q="))) {
        None => 1_000,
        Some(weight) => {
            let (whole, rest) = weight.split_once('.').unwrap_or((weight, ""));
            format!("{whole}{rest:0<3}").parse().ok().filter(|_| whole.len() == 1 && rest.len() <= 3)?
        }
    };
    (1..=1_000).contains(&weight).then_some((weight, tag))
}

static EMPTY: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_language_has_a_file_in_each_folder() {
        let names = |names: &[&'static str]| names.iter().map(|name| Cow::Borrowed(*name)).collect();
        let check =
            |app: &[&'static str], pages: &[&'static str]| check_names(&names(app), &names(pages)).map_err(|error| error.to_string());
        assert_eq!(check(&["de.json", "en.json", "README.md"], &["de.json", "en.json"]), Ok(()));
        assert_eq!(check(&["en.json", "fr.json"], &["en.json"]), Err("server/crates/web/translations/fr.json is missing".to_owned()));
        assert_eq!(check(&["en.json"], &["en.json", "fr.json"]), Err("zendesk-app/translations/fr.json is missing".to_owned()));
    }

    #[test]
    fn the_best_language_is_chosen() {
        let translations = Translations::load().unwrap();
        for (wanted, expected) in [("de", "de"), ("de-AT", "de"), ("en-US", "en"), ("xx", "en"), ("", "en"), ("DE_de", "de")] {
            assert_eq!(translations.choose(wanted).0, expected, "{wanted}");
        }
        for (header, expected) in [
            ("de-CH,de;q=0.9,en;q=0.8", "de"),
            ("xx,yy", "en"),
            ("fr;q=0.9, de;q=0.5", "de"),
            ("", "en"),
            ("*", "en"),
            ("en;q=0.3, de;q=0.7", "de"),
            ("en;q=0.5,de", "de"),
            ("de;q=0,en;q=0.1", "en"),
            ("de;q=0.000", "en"),
            ("de;q=NaN, en", "en"),
            ("de ; q=1.000 ,en", "de"),
            ("en;q=0.9999,de;q=0.1", "de"),
            ("de;q=2,en", "en"),
        ] {
            assert_eq!(translations.choose_accepted(header), expected, "{header}");
        }
    }
}
