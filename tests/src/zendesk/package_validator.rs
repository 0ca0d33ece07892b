//! Would Zendesk take this app package? The checks of the official validator that apply to it (zendesk.md a.6), and the
//! rules of the documents which that validator does not check (a.5: logos, the name).
//!
//! Says everything that is wrong, not only the first thing. Must not share code with the packager it is there to judge.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;
use std::io::{Cursor, Read as _};

use regex::Regex;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use url::Url;
use zip::ZipArchive;

/// A package unpacked is far below this.
const MOST_BYTES: u64 = 16 * 1024 * 1024;

/// Products and their locations (zendesk.md a.2).
const LOCATIONS: &[(&str, &[&str])] = &[
    (
        "support",
        &[
            "top_bar",
            "nav_bar",
            "ticket_sidebar",
            "new_ticket_sidebar",
            "user_sidebar",
            "organization_sidebar",
            "background",
            "modal",
            "ticket_editor",
            "system_top_bar",
        ],
    ),
    ("chat", &["chat_sidebar", "background"]),
];
const PARAMETER_TYPES: &[&str] = &["text", "checkbox", "url", "number", "multiline", "hidden", "oauth"];
const SCOPES: &[&str] = &["header", "body", "url", "jwt_secret_key", "jwt_claim", "basic_auth_username", "basic_auth_password"];
const BOOLEANS: &[&str] = &["requirementsOnly", "marketingOnly", "singleInstall", "signedUrls", "private"];
const STRINGS: &[&str] = &["name", "defaultLocale", "version", "frameworkVersion", "remoteInstallationURL", "termsConditionsURL", "gaID"];
/// What may not be in a package, by extension.
const BLOCKED_EXTENSIONS: &[&str] = &[
    "rar", "zip", "gzip", "gz", "pdf", "doc", "docx", "avi", "bin", "bz", "bz2", "csh", "sh", "jar", "mp3", "mpeg", "odt", "pptx", "ppt",
    "xls", "xlsx", "7z",
];
/// The same by the first bytes.
const BLOCKED_BEGINNINGS: &[(&str, &[u8])] = &[
    ("zip, jar or office file", b"PK\x03\x04"),
    ("rar", b"Rar!"),
    ("gzip", &[0x1f, 0x8b]),
    ("pdf", b"%PDF"),
    ("old office file", &[0xd0, 0xcf, 0x11, 0xe0]),
    ("bzip2", b"BZh"),
    ("7z", &[b'7', b'z', 0xbc, 0xaf]),
    ("script", b"#!"),
    ("mp3", b"ID3"),
    ("mpeg", &[0, 0, 1, 0xba]),
    ("program", b"\x7fELF"),
];

/// Everything wrong with a package, in words; empty when there is nothing.
pub fn package_faults(package: &[u8]) -> Vec<String> {
    let mut faults = Faults::default();
    if let Some(files) = unpack(package, &mut faults) {
        check(&files, &mut faults);
    }
    faults.0
}

type Files = BTreeMap<String, Vec<u8>>;

#[derive(Default)]
struct Faults(Vec<String>);

impl Faults {
    fn add(&mut self, fault: impl Into<String>) {
        self.0.push(fault.into());
    }

    fn check(&mut self, holds: bool, fault: impl Into<String>) {
        if !holds {
            self.add(fault);
        }
    }
}

fn unpack(package: &[u8], faults: &mut Faults) -> Option<Files> {
    let mut archive = match ZipArchive::new(Cursor::new(package)) {
        Ok(archive) => archive,
        Err(error) => {
            faults.add(format!("the package is no zip file: {error}"));
            return None;
        }
    };
    let mut files = Files::new();
    let mut left = MOST_BYTES;
    for index in 0..archive.len() {
        let entry = archive.by_index(index).and_then(|entry| Ok((entry.name()?.into_owned(), entry)));
        let (name, mut entry) = match entry {
            Ok(named) => named,
            Err(error) => {
                faults.add(format!("entry {index} is unreadable: {error}"));
                continue;
            }
        };
        faults.check(!entry.is_symlink(), format!("{name} is a symbolic link"));
        let plain = !name.starts_with('/') && !name.contains('\\') && !name.split('/').any(|part| part == "..");
        faults.check(plain, format!("{name} leads out of the package"));
        if entry.is_dir() || entry.is_symlink() {
            continue;
        }
        let mut content = Vec::new();
        if entry.by_ref().take(left).read_to_end(&mut content).is_err() {
            faults.add(format!("{name} is damaged"));
        }
        left -= u64::try_from(content.len()).unwrap_or(left);
        faults.check(left > 0, "the package is larger than 16 MB");
        faults.check(files.insert(name.clone(), content).is_none(), format!("{name} is there twice"));
    }
    Some(files)
}

fn check(files: &Files, faults: &mut Faults) {
    for (name, content) in files {
        check_kind(name, content, faults);
    }
    check_logos(files, faults);
    let Some(manifest) = files.get("manifest.json") else {
        let nested = files.keys().any(|name| name.ends_with("/manifest.json"));
        faults.add(if nested { "manifest.json lies in a folder" } else { "there is no manifest.json" });
        return;
    };
    let Some(Value::Object(manifest)) = json("manifest.json", manifest, faults) else { return };
    check_manifest(&manifest, files, faults);
    check_translations(&manifest, files, faults);
}

fn check_manifest(manifest: &Map<String, Value>, files: &Files, faults: &mut Faults) {
    for key in ["author", "defaultLocale", "location", "frameworkVersion"] {
        faults.check(manifest.contains_key(key), format!("{key} is missing"));
    }
    faults.check(!manifest.contains_key("noTemplate"), "noTemplate is of version 1");
    for (keys, kind, fits) in
        [(BOOLEANS, "true or false", Value::is_boolean as fn(&Value) -> bool), (STRINGS, "a text", Value::is_string as fn(&Value) -> bool)]
    {
        for key in keys {
            faults.check(manifest.get(*key).is_none_or(fits), format!("{key} must be {kind}"));
        }
    }
    if let Some(version) = manifest.get("frameworkVersion") {
        faults.check(version == "2.0", "frameworkVersion must be 2.0");
    }
    if let Some(list) = manifest.get("domainWhitelist") {
        let hosts = list.as_array().is_some_and(|list| list.iter().all(Value::is_string));
        faults.check(hosts, "domainWhitelist must be a list of texts");
    }
    if let Some(author) = manifest.get("author") {
        for key in ["name", "email", "url"] {
            faults.check(author.get(key).is_none_or(Value::is_string), format!("author.{key} must be a text"));
        }
        faults.check(author["name"].as_str().is_some_and(|name| !name.is_empty()), "author.name is missing");
        faults.check(author["email"].as_str().is_some_and(|email| email.contains('@')), "author.email is no address");
        faults.check(author.get("url").is_none_or(is_web_address), "author.url must be http or https with a host");
    }
    faults.check(manifest.get("termsConditionsURL").is_none_or(is_web_address), "termsConditionsURL must be http or https with a host");
    if let Some(locale) = manifest.get("defaultLocale").and_then(Value::as_str) {
        faults.check(is_locale(locale), format!("defaultLocale {locale:?} is no locale"));
        faults.check(files.contains_key(&format!("translations/{locale}.json")), format!("translations/{locale}.json is missing"));
    }
    if let Some(name) = manifest.get("name").and_then(Value::as_str) {
        check_name("name", name, faults);
    }
    check_locations(manifest.get("location"), files, faults);
    check_parameters(manifest, faults);
}

fn check_locations(location: Option<&Value>, files: &Files, faults: &mut Faults) {
    let Some(products) = location.and_then(Value::as_object) else {
        faults.check(location.is_none(), "location must be an object");
        return;
    };
    faults.check(!products.is_empty(), "location names no product");
    for (product, locations) in products {
        let Some((_, known)) = LOCATIONS.iter().find(|(name, _)| name == product) else {
            faults.add(format!("there is no product {product}"));
            continue;
        };
        let Some(locations) = locations.as_object() else {
            faults.add(format!("location.{product} must be an object"));
            continue;
        };
        for (name, value) in locations {
            let place = format!("location.{product}.{name}");
            faults.check(known.contains(&name.as_str()), format!("there is no {place}"));
            let url = if value.is_string() { Some(value) } else { value.get("url") };
            match url.and_then(Value::as_str).filter(|url| !url.is_empty()) {
                Some(url) => {
                    faults.check(is_location_url(url, files), format!("{place}: {url} is neither https, nor localhost, nor an asset"));
                }
                None => faults.check(value["autoLoad"] == false, format!("{place} has no url")),
            }
            for key in ["autoLoad", "autoHide", "flexible", "signed"] {
                faults.check(value.get(key).is_none_or(Value::is_boolean), format!("{place}.{key} must be true or false"));
            }
        }
    }
}

/// `https`, anything at the literal `localhost`, or a file of the package (zendesk.md a.2).
fn is_location_url(text: &str, files: &Files) -> bool {
    match Url::parse(text) {
        Ok(url) => url.host_str().is_some_and(|host| url.scheme() == "https" || host == "localhost"),
        Err(_) => text.starts_with("assets/") && files.contains_key(text),
    }
}

fn check_parameters(manifest: &Map<String, Value>, faults: &mut Faults) {
    let Some(parameters) = manifest.get("parameters") else { return };
    let Some(parameters) = parameters.as_array() else {
        faults.add("parameters must be a list");
        return;
    };
    let mut names = HashSet::new();
    for parameter in parameters {
        let name = parameter["name"].as_str().unwrap_or_default();
        let kind = parameter.get("type").map_or("text", |kind| kind.as_str().unwrap_or_default());
        faults.check(!name.is_empty(), "a parameter has no name");
        faults.check(name != "name", "a parameter may not be called name");
        faults.check(names.insert(name), format!("parameter {name} is there twice"));
        faults.check(PARAMETER_TYPES.contains(&kind), format!("parameter {name}: there is no type {kind}"));
        for key in ["required", "secure"] {
            faults.check(parameter.get(key).is_none_or(Value::is_boolean), format!("parameter {name}: {key} must be true or false"));
        }
        let (required, secure) = (parameter["required"] == true, parameter["secure"] == true);
        faults.check(!(kind == "hidden" && required), format!("parameter {name} is hidden and required"));
        faults.check(!(kind == "oauth" && secure), format!("parameter {name}: oauth may not be secure"));
        if let Some(scopes) = parameter.get("scopes") {
            let known = scopes.as_array().is_some_and(|scopes| {
                !scopes.is_empty() && scopes.iter().all(|scope| scope.as_str().is_some_and(|scope| SCOPES.contains(&scope)))
            });
            faults.check(secure && known, format!("parameter {name}: scopes need secure, and known values"));
        }
    }
    let oauth = parameters.iter().filter(|parameter| parameter["type"] == "oauth").count();
    faults.check(oauth == usize::from(manifest.contains_key("oauth")), "oauth and its one parameter belong together");
}

fn check_translations(manifest: &Map<String, Value>, files: &Files, faults: &mut Faults) {
    let products: BTreeSet<&String> = manifest.get("location").and_then(Value::as_object).into_iter().flat_map(Map::keys).collect();
    let mut parameters: BTreeSet<&str> = BTreeSet::new();
    for parameter in manifest.get("parameters").and_then(Value::as_array).into_iter().flatten() {
        parameters.extend(parameter["name"].as_str());
    }
    faults.check(files.contains_key("translations/en.json"), "translations/en.json is missing");
    for (file, content) in files {
        let Some(name) = file.strip_prefix("translations/") else { continue };
        let locale = name.strip_suffix(".json").filter(|locale| is_locale(locale));
        faults.check(locale.is_some(), format!("{file} is not named by a locale"));
        let Some(texts) = json(file, content, faults) else { continue };
        faults.check(texts.is_object(), format!("{file} must be an object"));
        let app = &texts["app"];
        match app["name"].as_str().filter(|name| !name.trim().is_empty()) {
            Some(name) => check_name(&format!("{file}: app.name"), name, faults),
            None => faults.add(format!("{file}: app.name is missing")),
        }
        faults.check(app.get("package").is_none(), format!("{file}: app.package asks for the translators' form"));
        for (product, _) in LOCATIONS {
            let named = app.get(product).is_some();
            faults.check(!named || products.contains(&(*product).to_owned()), format!("{file}: app.{product} is no product of the app"));
        }
        let labelled: BTreeSet<&str> = app["parameters"].as_object().into_iter().flat_map(Map::keys).map(String::as_str).collect();
        for name in &parameters {
            let label = app["parameters"][name]["label"].as_str().filter(|label| !label.trim().is_empty());
            faults.check(label.is_some(), format!("{file}: parameter {name} has no label"));
        }
        for name in labelled.difference(&parameters) {
            faults.add(format!("{file}: there is no parameter {name}"));
        }
    }
}

/// (zendesk.md a.5)
fn check_logos(files: &Files, faults: &mut Faults) {
    let banner = [(830, 200), (1660, 400)];
    for (name, sizes, needed) in [
        ("assets/logo.png", &[(320, 320)][..], true),
        ("assets/logo-small.png", &[(128, 128)], true),
        ("assets/banner.png", &banner, false),
    ] {
        match files.get(name).map(|content| image(content)) {
            None => faults.check(!needed, format!("{name} is missing")),
            Some(Err(error)) => faults.add(format!("{name} is no PNG: {error}")),
            Some(Ok((size, transparent))) => {
                faults.check(sizes.contains(&size), format!("{name} has {} x {} pixels", size.0, size.1));
                faults.check(name != "assets/logo-small.png" || transparent, format!("{name} has no transparency"));
            }
        }
    }
}

/// Size in pixels, and whether it has transparent places. Decodes the whole picture.
fn image(content: &[u8]) -> Result<((u32, u32), bool), png::DecodingError> {
    let mut reader = png::Decoder::new(Cursor::new(content)).read_info()?;
    let mut pixels = vec![0; reader.output_buffer_size().unwrap_or(0)];
    let frame = reader.next_frame(&mut pixels)?;
    let transparent = matches!(frame.color_type, png::ColorType::Rgba | png::ColorType::GrayscaleAlpha) || reader.info().trns.is_some();
    Ok(((frame.width, frame.height), transparent))
}

fn check_kind(name: &str, content: &[u8], faults: &mut Faults) {
    let extension = name.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase()).unwrap_or_default();
    faults.check(!BLOCKED_EXTENSIONS.contains(&extension.as_str()), format!("{name}: files of this kind are blocked"));
    for (kind, beginning) in BLOCKED_BEGINNINGS {
        faults.check(!content.starts_with(beginning), format!("{name} is a {kind}, which is blocked"));
    }
}

/// (zendesk.md a.5)
fn check_name(place: &str, name: &str, faults: &mut Faults) {
    faults.check(!name.to_lowercase().contains("zendesk"), format!("{place} {name:?} has the trade mark in it"));
}

fn is_locale(text: &str) -> bool {
    Regex::new(r"^[a-z]{2,3}(-\w{2,3})?$").is_ok_and(|locale| locale.is_match(text))
}

fn is_web_address(value: &Value) -> bool {
    let url = value.as_str().and_then(|text| Url::parse(text).ok());
    url.is_some_and(|url| matches!(url.scheme(), "http" | "https") && url.host_str().is_some())
}

/// JSON in which no key stands twice.
fn json(file: &str, content: &[u8], faults: &mut Faults) -> Option<Value> {
    let mut deserializer = serde_json::Deserializer::from_slice(content);
    let read = Unique.deserialize(&mut deserializer).and_then(|value| deserializer.end().map(|()| value));
    read.map_err(|error| faults.add(format!("{file}: {error}"))).ok()
}

/// Reads any JSON value and refuses a key that stands twice.
#[derive(Clone, Copy)]
struct Unique;

impl<'de> DeserializeSeed<'de> for Unique {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Unique {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = fields.next_key::<String>()? {
            let value = fields.next_value_seed(self)?;
            if object.contains_key(&key) {
                return Err(A::Error::custom(format!("the key {key:?} stands twice")));
            }
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use serde_json::json;
    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    use super::*;

    fn picture(width: u32, height: u32, color: png::ColorType) -> Vec<u8> {
        let mut content = Vec::new();
        let mut encoder = png::Encoder::new(&mut content, width, height);
        encoder.set_color(color);
        let pixels = vec![0x40; usize::try_from(width * height).unwrap() * color.samples()];
        encoder.write_header().unwrap().write_image_data(&pixels).unwrap();
        content
    }

    fn manifest() -> Value {
        json!({
            "name": "Remote Support",
            "author": { "name": "Example", "email": "dev@example.com", "url": "https://example.com" },
            "defaultLocale": "en", "private": true, "signedUrls": true, "frameworkVersion": "2.0", "version": "1.0.0",
            "location": { "support": { "ticket_sidebar": { "url": "https://remote.example.com/x", "flexible": true }, "modal": "assets/modal.html" } },
            "parameters": [{ "name": "hostname", "type": "text", "required": true }],
            "domainWhitelist": ["remote.example.com"],
        })
    }

    fn texts() -> Value {
        json!({ "app": { "name": "Remote Support", "parameters": { "hostname": { "label": "Hostname" } } } })
    }

    fn good() -> Files {
        [
            ("manifest.json", manifest().to_string().into_bytes()),
            ("translations/en.json", texts().to_string().into_bytes()),
            ("translations/pt-BR.json", texts().to_string().into_bytes()),
            ("assets/logo.png", picture(320, 320, png::ColorType::Rgb)),
            ("assets/logo-small.png", picture(128, 128, png::ColorType::Rgba)),
            ("assets/modal.html", b"<!doctype html>".to_vec()),
        ]
        .map(|(name, content)| (name.to_owned(), content))
        .into()
    }

    fn pack(files: &Files) -> Vec<u8> {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, content) in files {
            zip.start_file(name, SimpleFileOptions::default()).unwrap();
            zip.write_all(content).unwrap();
        }
        zip.finish().unwrap().into_inner()
    }

    /// Spoils the good package; exactly this must be said of it.
    fn check_spoilt(spoil: impl FnOnce(&mut Files), said: &str) {
        let mut files = good();
        spoil(&mut files);
        let faults = package_faults(&pack(&files));
        assert!(faults.iter().any(|fault| fault.contains(said)), "{said:?} is not said, but {faults:?}");
    }

    fn with_manifest(pointer: &str, value: Value) -> impl FnOnce(&mut Files) {
        let mut changed = manifest();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        match changed.pointer_mut(parent).unwrap() {
            Value::Array(items) => items.push(value),
            object => object[key] = value,
        }
        move |files| drop(files.insert("manifest.json".into(), changed.to_string().into_bytes()))
    }

    #[test]
    fn a_good_package_has_no_faults() {
        assert_eq!(package_faults(&pack(&good())), Vec::<String>::new());
    }

    #[test]
    fn spoilt_manifests_are_refused() {
        let parameter = |value: Value| with_manifest("/parameters/-", value);
        check_spoilt(with_manifest("/frameworkVersion", json!("1.0")), "must be 2.0");
        check_spoilt(with_manifest("/frameworkVersion", json!(2.0)), "frameworkVersion must be a text");
        check_spoilt(with_manifest("/noTemplate", json!(true)), "version 1");
        check_spoilt(with_manifest("/signedUrls", json!("true")), "signedUrls must be true or false");
        check_spoilt(with_manifest("/domainWhitelist", json!("remote.example.com")), "domainWhitelist");
        check_spoilt(with_manifest("/author/url", json!("ftp://example.com")), "author.url");
        check_spoilt(with_manifest("/author/email", json!("nobody")), "author.email");
        check_spoilt(with_manifest("/defaultLocale", json!("english")), "is no locale");
        check_spoilt(with_manifest("/defaultLocale", json!("fr")), "translations/fr.json is missing");
        check_spoilt(with_manifest("/name", json!("Remote Support for Zendesk")), "trade mark");
        check_spoilt(with_manifest("/location", json!({})), "names no product");
        check_spoilt(with_manifest("/location/desk", json!({ "modal": "https://a.example" })), "no product desk");
        check_spoilt(with_manifest("/location/support/side", json!("https://a.example")), "there is no location.support.side");
        check_spoilt(with_manifest("/location/support/modal", json!("http://remote.example.com/x")), "neither https");
        check_spoilt(with_manifest("/location/support/modal", json!("http://127.0.0.1:8180/x")), "neither https");
        check_spoilt(with_manifest("/location/support/modal", json!("assets/missing.html")), "neither https");
        check_spoilt(with_manifest("/location/support/modal", json!({ "url": "" })), "has no url");
        check_spoilt(with_manifest("/location/support/modal", json!({ "url": "https://a.example", "flexible": 1 })), "flexible");
        check_spoilt(parameter(json!({ "name": "hostname" })), "hostname is there twice");
        check_spoilt(parameter(json!({ "name": "name" })), "may not be called name");
        check_spoilt(parameter(json!({ "name": "x", "type": "password" })), "no type password");
        check_spoilt(parameter(json!({ "name": "x", "required": "yes" })), "required must be");
        check_spoilt(parameter(json!({ "name": "x", "type": "hidden", "required": true })), "hidden and required");
        check_spoilt(parameter(json!({ "name": "x", "scopes": ["header"] })), "scopes need secure");
        check_spoilt(parameter(json!({ "name": "x", "secure": true, "scopes": ["everything"] })), "known values");
        check_spoilt(parameter(json!({ "name": "x", "type": "oauth" })), "belong together");
        check_spoilt(parameter(json!({ "name": "x" })), "parameter x has no label");
        for key in ["author", "defaultLocale", "location", "frameworkVersion"] {
            let mut without = manifest();
            without.as_object_mut().unwrap().remove(key);
            let spoil = |files: &mut Files| drop(files.insert("manifest.json".into(), without.to_string().into_bytes()));
            check_spoilt(spoil, &format!("{key} is missing"));
        }
    }

    #[test]
    fn spoilt_files_are_refused() {
        let put = |name: &'static str, content: Vec<u8>| move |files: &mut Files| drop(files.insert(name.to_owned(), content));
        let gone = |name: &'static str| move |files: &mut Files| drop(files.remove(name));
        check_spoilt(gone("manifest.json"), "there is no manifest.json");
        check_spoilt(
            |files| {
                let manifest = files.remove("manifest.json").unwrap();
                files.insert("app/manifest.json".into(), manifest);
            },
            "lies in a folder",
        );
        check_spoilt(put("manifest.json", b"{".to_vec()), "manifest.json: EOF");
        let twice = manifest().to_string().replacen('{', "{\"private\":true,", 1).into_bytes();
        check_spoilt(put("manifest.json", twice), "\"private\" stands twice");
        check_spoilt(gone("translations/en.json"), "translations/en.json is missing");
        check_spoilt(put("translations/en.json", b"[]".to_vec()), "must be an object");
        check_spoilt(put("translations/en.json", b"{\"app\":{}}".to_vec()), "app.name is missing");
        check_spoilt(put("translations/german.json", texts().to_string().into_bytes()), "not named by a locale");
        let traded = texts().to_string().replace("Remote", "ZenDesk Remote").into_bytes();
        check_spoilt(put("translations/pt-BR.json", traded), "trade mark");
        let stray = texts().to_string().replace("\"hostname\"", "\"host\"").into_bytes();
        check_spoilt(put("translations/pt-BR.json", stray), "there is no parameter host");
        check_spoilt(gone("assets/logo.png"), "assets/logo.png is missing");
        check_spoilt(gone("assets/logo-small.png"), "assets/logo-small.png is missing");
        check_spoilt(put("assets/logo.png", picture(128, 128, png::ColorType::Rgb)), "128 x 128");
        check_spoilt(put("assets/logo-small.png", picture(128, 127, png::ColorType::Rgba)), "128 x 127");
        check_spoilt(put("assets/logo-small.png", picture(128, 128, png::ColorType::Rgb)), "no transparency");
        check_spoilt(put("assets/logo.png", b"GIF89a".to_vec()), "is no PNG");
        check_spoilt(put("assets/banner.png", picture(830, 201, png::ColorType::Rgb)), "830 x 201");
        check_spoilt(put("assets/install.SH", b"echo".to_vec()), "blocked");
        check_spoilt(put("assets/data.txt", pack(&good())), "blocked");
        check_spoilt(put("../outside.txt", b"x".to_vec()), "leads out");
        let faults = package_faults(b"no zip at all");
        assert!(faults[0].contains("no zip file"), "{faults:?}");
    }

    #[test]
    fn symbolic_links_are_refused() {
        let mut zip = ZipWriter::new_append(Cursor::new(pack(&good()))).unwrap();
        zip.add_symlink("assets/link.txt", "/etc/passwd", SimpleFileOptions::default()).unwrap();
        let faults = package_faults(&zip.finish().unwrap().into_inner());
        assert_eq!(faults, ["assets/link.txt is a symbolic link"]);
    }
}
