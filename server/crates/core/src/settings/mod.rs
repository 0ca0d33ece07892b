//! Settings: the server's own (TOML and environment, read at start) and the connections (the same records the store keeps).
//!
//! A settings file is checked twice, and every fault of both checks is told at once: first its shape against the
//! JSON schema made from the types, then its meaning, section by section. No secret value is ever part of a message.

mod api_token;
mod fault;
mod incidents;
mod panel;
mod policy;
mod reports;
mod secret;
mod section;
mod server;

pub use api_token::ApiTokenSettings;
use fault::StandIn;
pub use fault::{Fault, Faults, Within};
pub use incidents::OnIncidentEnd;
pub use panel::{PanelSection, SessionKeyQueue, parse_issue};
pub use policy::EventPolicy;
pub use reports::ReportsSection;
pub use secret::{STORED, Secret, SecretError};
pub use section::{Role, Section, SectionKind, Sections};
pub use server::{LogFormat, ServerSection};

use std::collections::HashSet;
use std::fmt;
use std::net::IpAddr;
use std::path::Path;

use deskbridge_shared::host;
use ipnet::IpNet;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::ids::ConnectionId;
use server::Holds;

/// A whole settings file.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Settings {
    /// The server's own part, read at start.
    #[serde(default)]
    pub server: ServerSection,
    /// The connections.
    #[serde(default)]
    pub connection: Vec<ConnectionSettings>,
}

/// One help desk, with the remote-support system whose sessions belong to its tickets (the seed guides' "plugin configuration").
///
/// Read by [`Settings::parse`] only: the schema refuses what serde would take here.
#[derive(Clone, PartialEq, Deserialize, Serialize)]
pub struct ConnectionSettings {
    /// Never changes. None in a file that does not name it; the saved connection of the same name has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<ConnectionId>,
    /// For people. At most 100 characters; no two connections have the same.
    pub name: String,
    /// Neither its doors nor its workers act.
    #[serde(default)]
    pub disabled: bool,
    /// Seconds after which the answer to a posted incident says that its ticket is still to be made.
    #[serde(default = "incidents::default_timeout")]
    pub incident_timeout_seconds: u32,
    /// What happens to the ticket of an incident that has ended.
    #[serde(default)]
    pub on_incident_end: OnIncidentEnd,
    /// What the panel offers.
    #[serde(default)]
    pub panel: PanelSection,
    /// What a session report tells.
    #[serde(default)]
    pub reports: ReportsSection,
    /// Tokens with which programs call this server for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub api_token: Vec<ApiTokenSettings>,
    /// The sections of its help desk and of its remote-support system, by name.
    #[serde(flatten)]
    pub systems: Map<String, Value>,
}

impl fmt::Debug for ConnectionSettings {
    /// Without the systems' sections: they hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let systems: Vec<&String> = self.systems.keys().collect();
        f.debug_struct("ConnectionSettings")
            .field("id", &self.id)
            .field("name", &self.name)
            .field("systems", &systems)
            .finish_non_exhaustive()
    }
}

/// The shape of a `[[connection]]` but for the systems' sections, for the schema.
#[derive(JsonSchema)]
#[schemars(rename = "ConnectionSettings", deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct ConnectionShape {
    /// Never changes; made when the connection is first saved. `config export` shows it.
    id: Option<ConnectionId>,
    /// Any name. At most 100 characters.
    name: String,
    /// Neither its doors nor its workers act.
    #[serde(default)]
    disabled: bool,
    /// Seconds after which the answer to a posted incident says that its ticket is still to be made.
    #[serde(default = "incidents::default_timeout")]
    #[schemars(range(min = 1, max = 60))]
    incident_timeout_seconds: u32,
    /// What happens to the ticket of an incident that has ended: a note, a note and then it is closed, or nothing.
    #[serde(default)]
    on_incident_end: OnIncidentEnd,
    /// What the panel offers.
    #[serde(default)]
    panel: PanelSection,
    /// What a session report tells.
    #[serde(default)]
    reports: ReportsSection,
    /// Tokens with which programs call this server: monitoring systems, Helpdesk Buttons.
    #[serde(default)]
    api_token: Vec<ApiTokenSettings>,
}

/// The shape of the file, for the schema.
#[derive(JsonSchema)]
#[schemars(rename = "Settings", deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct SettingsShape {
    /// The server's own part, read at start.
    #[serde(default)]
    server: ServerSection,
    /// One help desk each.
    #[serde(default)]
    connection: Vec<ConnectionShape>,
}

impl ConnectionSettings {
    /// The section of that kind, with its defaults filled in. None where the connection has none, or where what is stored does not read.
    pub fn section<T: Section>(&self) -> Option<T> {
        serde_json::from_value(self.systems.get(T::NAME)?.clone()).ok()
    }

    /// Every secret of the connection with its key, for export and for keeping stored ones.
    pub fn secrets_by_key(&mut self, sections: &Sections) -> Vec<(String, &mut String)> {
        let mut secrets = Vec::new();
        for token in &mut self.api_token {
            secrets.push((format!("api_token.{}.secret", token.name), token.secret.text_mut()));
        }
        for (name, section) in &mut self.systems {
            let Some(kind) = sections.named(name) else { continue };
            for (key, value) in section.as_object_mut().into_iter().flatten() {
                if kind.secrets.contains(&key.as_str())
                    && let Value::String(secret) = value
                {
                    secrets.push((format!("{name}.{key}"), secret));
                }
            }
        }
        secrets
    }

    /// Defaults filled in, and what is absent left out: the form in which it is stored and exported.
    pub fn normalise(&mut self, sections: &Sections) {
        self.reports.normalise();
        self.systems.retain(|name, value| !value.is_null() && sections.named(name).is_some());
        for (name, value) in &mut self.systems {
            if let Some(kind) = sections.named(name) {
                *value = (kind.normalise)(value.take());
            }
        }
    }
}

/// Environment variables that override the server section: `DESKBRIDGE_` and the key in capitals.
const ENVIRONMENT_PREFIX: &str = "DESKBRIDGE_";

impl Settings {
    /// Reads a settings file; without one, all of the server section is default or from the environment.
    pub fn load(sections: &Sections, path: Option<&Path>, environment: impl Iterator<Item = (String, String)>) -> Result<Self, Faults> {
        let text = match path {
            Some(path) => std::fs::read_to_string(path)
                .map_err(|error| Faults::of_file(path, &format!("{error}. Name a readable file with --config")))?,
            None => String::new(),
        };
        let shown = path.map_or_else(|| "environment".into(), |path| path.display().to_string());
        Self::parse(sections, &shown, &text, environment)
    }

    /// The settings in `text`; `shown` names the file in messages.
    pub fn parse(
        sections: &Sections,
        shown: &str,
        text: &str,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, Faults> {
        let table: toml::Table = toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(0, |span| text[..span.start.min(text.len())].lines().count().max(1));
            // toml's own message quotes the line, which may hold a secret.
            Faults::of_file(Path::new(shown), &format!("line {line}: {}", error.message()))
        })?;
        let mut value = serde_json::to_value(table).map_err(|error| Faults::of_file(Path::new(shown), &error.to_string()))?;
        overlay_environment(&mut value, environment);
        let mut faults = Faults::new(shown);
        let mut readable = value.clone();
        for stand_in in fault::check_schema(&schema(sections), &value, &mut faults) {
            put(&mut readable, stand_in);
        }
        check_meaning(sections, &readable, &mut faults);
        faults.into_result()?;
        let settings: Self = serde_json::from_value(value).map_err(|error| Faults::of_file(Path::new(shown), &error.to_string()))?;
        Ok(settings.normalised(sections))
    }
}

impl Settings {
    fn normalised(mut self, sections: &Sections) -> Self {
        self.server.public_url = plain_address(&self.server.public_url);
        for connection in &mut self.connection {
            connection.normalise(sections);
        }
        self
    }
}

/// Faults in meaning, which the schema cannot say, in every section that can be read.
fn check_meaning(sections: &Sections, value: &Value, faults: &mut Faults) {
    if let Some(server) = section::<ServerSection>(value.get("server")) {
        server.check(&mut faults.within("server"));
    }
    let (mut names, mut ids, mut claimed) = (HashSet::new(), HashSet::new(), HashSet::new());
    for (index, connection) in value.get("connection").and_then(Value::as_array).into_iter().flatten().enumerate() {
        let name = connection.get("name").and_then(Value::as_str);
        let mut within = faults.within(&format!("connection[{index}] “{}”", name.unwrap_or_default()));
        if let Some(name) = name {
            if name.trim().is_empty() || name.chars().count() > 100 {
                within.add("name", name, "1 to 100 characters");
            }
            if !names.insert(name) {
                within.add("name", name, "a name no other connection has");
            }
        }
        if let Some(id) = connection.get("id").and_then(Value::as_str)
            && !ids.insert(id.to_ascii_lowercase())
        {
            within.add("id", id, "an id no other connection has");
        }
        if let Some(panel) = section::<PanelSection>(connection.get("panel")) {
            panel.check(&mut within.within("panel"));
        }
        if let Some(reports) = section::<ReportsSection>(connection.get("reports")) {
            reports.check(&mut within.within("reports"));
        }
        let mut before: Vec<ApiTokenSettings> = Vec::new();
        for (index, token) in connection.get("api_token").and_then(Value::as_array).into_iter().flatten().enumerate() {
            let Some(token) = section::<ApiTokenSettings>(Some(token)) else { continue };
            token.check(&before, &mut within.within(&format!("api_token[{index}] “{}”", token.name)));
            before.push(token);
        }
        for (kind, section) in sections.of(connection) {
            (kind.check)(section, &mut within.within(kind.name));
            let Some(other) = kind.beside else { continue };
            let Some((other, beside)) = sections.of(connection).find(|(known, _)| known.name == other) else {
                within.within(kind.name).add("", "", &format!("a section [connection.{other}] beside it"));
                continue;
            };
            for (key, claim) in (kind.claims)(section) {
                if !claimed.insert(((other.identity)(beside), claim.clone())) {
                    within.within(kind.name).add(key, claim, "what no other connection of the same system uses");
                }
            }
        }
        for role in [Role::HelpDesk, Role::RemoteSupport] {
            let named: Vec<&str> = sections.of(connection).filter(|(kind, _)| kind.role == role).map(|(kind, _)| kind.name).collect();
            let choices = sections.with(role).map(|kind| format!("[connection.{}]", kind.name)).collect::<Vec<_>>().join(", ");
            if role == Role::HelpDesk && named.len() != 1 {
                let value = if named.is_empty() { "no ticket system".to_owned() } else { named.join(", ") };
                within.add("", value, &format!("exactly one section naming the ticket system, of {choices}"));
            } else if named.len() > 1 {
                within.add("", named.join(", "), &format!("at most one section naming the remote-support system, of {choices}"));
            }
        }
    }
}

fn section<T: DeserializeOwned>(value: Option<&Value>) -> Option<T> {
    serde_json::from_value(value?.clone()).ok()
}

fn put(document: &mut Value, stand_in: StandIn) {
    let Some((parent, key)) = stand_in.pointer.rsplit_once('/') else { return };
    match (document.pointer_mut(parent), stand_in.value) {
        (Some(Value::Object(fields)), Some(value)) => drop(fields.insert(key.replace("~1", "/").replace("~0", "~"), value)),
        (Some(Value::Object(fields)), None) => drop(fields.remove(&key.replace("~1", "/").replace("~0", "~"))),
        (Some(Value::Array(items)), value) => {
            if let Some(item) = key.parse().ok().and_then(|index: usize| items.get_mut(index)) {
                *item = value.unwrap_or_default();
            }
        }
        _ => {}
    }
}

/// The JSON schema of the settings file, with a section for each kind of system.
pub fn schema(sections: &Sections) -> Value {
    let mut generator = schemars::SchemaGenerator::default();
    let systems: Vec<(&str, Value)> =
        sections.all().map(|kind| (kind.name, json!({"anyOf": [(kind.schema)(&mut generator).to_value(), {"type": "null"}]}))).collect();
    let mut schema = generator.into_root_schema_for::<SettingsShape>().to_value();
    if let Some(properties) = schema.pointer_mut("/$defs/ConnectionSettings/properties").and_then(Value::as_object_mut) {
        properties.extend(systems.into_iter().map(|(name, section)| (name.to_owned(), section)));
    }
    schema
}

fn overlay_environment(value: &mut Value, environment: impl Iterator<Item = (String, String)>) {
    let known = server::KEYS;
    for (name, text) in environment {
        let Some(key) = name.strip_prefix(ENVIRONMENT_PREFIX).map(str::to_ascii_lowercase) else { continue };
        let Some((key, holds)) = known.iter().find(|(known, _)| *known == key) else { continue };
        let entry = match (holds, text.parse::<u64>()) {
            (Holds::Number, Ok(number)) => Value::from(number),
            (Holds::List, _) => text.split(',').map(str::trim).filter(|one| !one.is_empty()).collect(),
            _ => Value::from(text),
        };
        if let Some(root) = value.as_object_mut() {
            let section = root.entry("server").or_insert_with(|| Value::Object(serde_json::Map::new()));
            if let Some(section) = section.as_object_mut() {
                section.insert((*key).to_owned(), entry);
            }
        }
    }
}

/// What [`network`] reads, in words.
pub const A_NETWORK: &str = "a network like 203.0.113.0/24 or an address";

/// A network, or an address as one.
pub fn network(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

/// An address of an outside system: `https`, or `http` for a loopback host only (DESIGN.md, Decisions).
/// The answer is the bare origin, without a trailing slash.
pub fn outside_origin(text: &str) -> Result<url::Url, &'static str> {
    const EXPECTED: &str = "an address like https://example.com: https (http only for a loopback host), no path, no user";
    if has_bad_host(text) {
        return Err(A_HOST_NAME);
    }
    let url = url::Url::parse(text).map_err(|_| EXPECTED)?;
    let bare = matches!(url.path(), "" | "/")
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    let scheme = match url.scheme() {
        "https" => true,
        "http" => is_loopback(&url),
        _ => false,
    };
    if bare && scheme && url.host().is_some() { Ok(url) } else { Err(EXPECTED) }
}

/// An address of an outside system that may have a path: `https`, or `http` for a loopback host only.
pub fn is_outside_address(text: &str) -> bool {
    !has_bad_host(text)
        && url::Url::parse(text).is_ok_and(|mut url| {
            let plain = url.query().is_none() && url.fragment().is_none();
            url.set_path("/");
            plain && outside_origin(url.as_str()).is_ok()
        })
}

/// What [`ascii_host`] reads, in words.
pub const A_HOST_NAME: &str =
    "a host name of letters, digits and hyphens, in parts with one dot between them (hilfe.müller.de): no spaces, symbols or emoji";

/// A host, with a port if need be, as browsers write it: a name with letters beyond ASCII in ASCII (IDNA, UTS 46). Others stay as they are.
/// None: no host can have this name, or Deskbridge does not take it.
pub fn ascii_host(text: &str) -> Option<String> {
    if text.starts_with('[') {
        return Some(text.to_owned());
    }
    let (name, port) = text.rfind(':').map_or((text, ""), |colon| text.split_at(colon));
    let ascii = host::to_ascii(name, |name| url::Host::parse(name).ok().map(|host| host.to_string()))?;
    let name = if host::is_international(name) { &ascii } else { name };
    Some(format!("{name}{port}"))
}

/// Whether an address has a host, and [`ascii_host`] does not take it. Looks at what the URL standard makes of the text, which passes over
/// blanks around it and decodes the host.
pub fn has_bad_host(address: &str) -> bool {
    match url::Url::parse(address) {
        Ok(url) => url.domain().is_some_and(|name| ascii_host(name).is_none()),
        Err(error) => matches!(error, url::ParseError::IdnaError | url::ParseError::InvalidDomainCharacter),
    }
}

/// An address in the form in which addresses are compared: as a browser writes it, without a slash at the end.
pub fn plain_address(address: &str) -> String {
    url::Url::parse(address).map_or_else(|_| address.to_owned(), String::from).trim_end_matches('/').to_owned()
}

fn is_loopback(url: &url::Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}
