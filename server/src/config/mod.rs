//! Settings: the server's own (TOML and environment, read at start) and the connections (the same records the store keeps).
//!
//! A settings file is checked twice, and every fault of both checks is told at once: first its shape against the
//! JSON schema made from the types, then its meaning, section by section. No secret value is ever part of a message.

mod appliance;
mod autotask;
mod fault;
mod osticket;
mod panel;
mod reports;
mod secret;
mod server;
mod zendesk;

pub use appliance::{ApplianceSection, EventKind, JumpAction, is_appliance_id};
pub use autotask::{AutotaskSection, LabelOrId};
use fault::StandIn;
pub use fault::{Fault, Faults};
pub use osticket::OsTicketSection;
pub use panel::{PanelSection, SessionKeyQueue, parse_issue};
pub use reports::ReportsSection;
pub use secret::{Secret, SecretError};
pub use server::{LogFormat, ServerSection};
pub use zendesk::{NoteVisibility, ZendeskSection};

use std::collections::HashSet;
use std::path::Path;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A whole settings file.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The server's own part, read at start.
    #[serde(default)]
    pub server: ServerSection,
    /// One appliance with one ticket system each.
    #[serde(default)]
    pub connection: Vec<ConnectionSettings>,
}

/// One appliance with one ticket system (the seed guides' "plugin configuration").
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConnectionSettings {
    /// Any name; it identifies the connection. At most 100 characters.
    pub name: String,
    /// Neither its doors nor its workers act.
    #[serde(default)]
    pub disabled: bool,
    /// How to reach the appliance, and which of its events to process.
    pub appliance: ApplianceSection,
    /// What the panel offers.
    #[serde(default)]
    pub panel: PanelSection,
    /// What a session report tells.
    #[serde(default)]
    pub reports: ReportsSection,
    /// The Zendesk account.
    pub zendesk: Option<ZendeskSection>,
    /// Or the Autotask tenant.
    pub autotask: Option<AutotaskSection>,
    /// Or the osTicket help desk.
    pub osticket: Option<OsTicketSection>,
}

/// The sections that name a ticket system; a connection has exactly one of them.
const TICKET_SYSTEMS: [&str; 3] = ["zendesk", "autotask", "osticket"];

impl ConnectionSettings {
    /// Every secret of the connection with its key, for export and for keeping stored ones.
    pub fn secrets_by_key(&mut self) -> Vec<(&'static str, &mut Secret)> {
        let appliance = &mut self.appliance;
        let optional = [
            ("appliance.client_secret", appliance.client_secret.as_mut()),
            ("appliance.password", appliance.password.as_mut()),
            ("appliance.event_token", appliance.event_token.as_mut()),
            ("zendesk.token", self.zendesk.as_mut().map(|zendesk| &mut zendesk.token)),
        ];
        let autotask = self.autotask.as_mut().map(|autotask| {
            [("autotask.secret", Some(&mut autotask.secret)), ("autotask.integration_code", Some(&mut autotask.integration_code))]
        });
        optional.into_iter().chain(autotask.into_iter().flatten()).filter_map(|(key, secret)| secret.map(|secret| (key, secret))).collect()
    }
}

/// Environment variables that override the server section: `DESKBRIDGE_` and the key in capitals.
const ENVIRONMENT_PREFIX: &str = "DESKBRIDGE_";

impl Settings {
    /// Reads a settings file; without one, all of the server section is default or from the environment.
    pub fn load(path: Option<&Path>, environment: impl Iterator<Item = (String, String)>) -> Result<Self, Faults> {
        let text = match path {
            Some(path) => std::fs::read_to_string(path)
                .map_err(|error| Faults::of_file(path, &format!("{error}. Name a readable file with --config")))?,
            None => String::new(),
        };
        let shown = path.map_or_else(|| "environment".into(), |path| path.display().to_string());
        Self::parse(&shown, &text, environment)
    }

    /// The settings in `text`; `shown` names the file in messages.
    pub fn parse(shown: &str, text: &str, environment: impl Iterator<Item = (String, String)>) -> Result<Self, Faults> {
        let table: toml::Table = toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(0, |span| text[..span.start.min(text.len())].lines().count().max(1));
            // toml's own message quotes the line, which may hold a secret.
            Faults::of_file(Path::new(shown), &format!("line {line}: {}", error.message()))
        })?;
        let mut value = serde_json::to_value(table).map_err(|error| Faults::of_file(Path::new(shown), &error.to_string()))?;
        overlay_environment(&mut value, environment);
        let mut faults = Faults::new(shown);
        let mut readable = value.clone();
        for stand_in in fault::check_schema(&schema(), &value, &mut faults) {
            put(&mut readable, stand_in);
        }
        check_meaning(&readable, &mut faults);
        faults.into_result()?;
        serde_json::from_value(value).map_err(|error| Faults::of_file(Path::new(shown), &error.to_string()))
    }
}

/// Faults in meaning, which the schema cannot say, in every section that can be read.
fn check_meaning(value: &Value, faults: &mut Faults) {
    if let Some(server) = section::<ServerSection>(value.get("server")) {
        server.check(&mut faults.within("server"));
    }
    let mut names = HashSet::new();
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
        if let Some(appliance) = section::<ApplianceSection>(connection.get("appliance")) {
            appliance.check(&mut within.within("appliance"));
        }
        if let Some(panel) = section::<PanelSection>(connection.get("panel")) {
            panel.check(&mut within.within("panel"));
        }
        if let Some(reports) = section::<ReportsSection>(connection.get("reports")) {
            reports.check(&mut within.within("reports"));
        }
        if let Some(zendesk) = section::<ZendeskSection>(connection.get("zendesk")) {
            zendesk.check(&mut within.within("zendesk"));
        }
        if let Some(autotask) = section::<AutotaskSection>(connection.get("autotask")) {
            autotask.check(&mut within.within("autotask"));
        }
        if let Some(osticket) = section::<OsTicketSection>(connection.get("osticket")) {
            osticket.check(&mut within.within("osticket"));
        }
        let named: Vec<&str> = TICKET_SYSTEMS.into_iter().filter(|system| connection.get(*system).is_some()).collect();
        if named.len() != 1 {
            let value = if named.is_empty() { "no ticket system".to_owned() } else { named.join(", ") };
            let sections = TICKET_SYSTEMS.map(|system| format!("[connection.{system}]")).join(", ");
            within.add("", value, &format!("exactly one section naming the ticket system, of {sections}"));
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

/// The JSON schema of the settings file.
pub fn schema() -> Value {
    schemars::schema_for!(Settings).to_value()
}

fn overlay_environment(value: &mut Value, environment: impl Iterator<Item = (String, String)>) {
    let known = server::KEYS;
    for (name, text) in environment {
        let Some(key) = name.strip_prefix(ENVIRONMENT_PREFIX).map(str::to_ascii_lowercase) else { continue };
        let Some((key, is_number)) = known.iter().find(|(known, _)| *known == key) else { continue };
        let entry = match text.parse::<u64>() {
            Ok(number) if *is_number => Value::from(number),
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

/// An address of an outside system: `https`, or `http` for a loopback host only (DESIGN.md, Decisions).
/// The answer is the bare origin, without a trailing slash.
pub fn outside_origin(text: &str) -> Result<url::Url, &'static str> {
    const EXPECTED: &str = "an address like https://example.com: https (http only for a loopback host), no path, no user";
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
    url::Url::parse(text).is_ok_and(|mut url| {
        let plain = url.query().is_none() && url.fragment().is_none();
        url.set_path("/");
        plain && outside_origin(url.as_str()).is_ok()
    })
}

fn is_loopback(url: &url::Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests;
