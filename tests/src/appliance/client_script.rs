//! The client scripting API: what an agent's browser opens to get a script for the representative console.
//!
//! The table of actions is beyondtrust.md A.2. Nothing here is authenticated: the console logs the representative in.

use std::fmt::Write as _;

use anyhow::{Context as _, bail, ensure};

use super::answer::Refusal;
use super::options::Options;
use super::parameters::{CUSTOM, Parameters};

const COMMON: [&str; 3] = ["type", "operation", "action"];
const CLIENT_FIELDS: [&str; 5] = ["client.hostname", "client.comments", "client.tag", "client.private_ip", "client.public_ip"];
/// Characters in a search field or host name (beyondtrust.md A.2).
const FIELD_LIMIT: usize = 255;
/// Commands in a script file (beyondtrust.md A.1).
const COMMAND_LIMIT: usize = 10;

struct Action {
    name: &'static str,
    required: &'static [&'static str],
    optional: &'static [&'static str],
    /// Whether a search field must be given.
    searches: bool,
}

const ACTIONS: [Action; 9] = [
    Action { name: "start_pinned_client_session", required: &[], optional: &[], searches: true },
    Action { name: "start_jump_item_session", required: &[], optional: &["jump.method", "credential_id"], searches: true },
    Action { name: "push_and_start_local", required: &["hostname"], optional: &[], searches: false },
    Action { name: "push_and_start_remote", required: &["target"], optional: &["jumpoint"], searches: false },
    Action {
        name: "start_rdp_session",
        required: &["target"],
        optional: &["jumpoint", "username", "display_size", "quality", "console"],
        searches: false,
    },
    Action { name: "start_vnc_session", required: &["target"], optional: &["jumpoint", "port"], searches: false },
    Action {
        name: "start_shell_jump_session",
        required: &["target"],
        optional: &["jumpoint", "username", "protocol", "port", "terminal"],
        searches: false,
    },
    Action { name: "start_vpro_session", required: &["target", "jumpoint"], optional: &[], searches: false },
    Action { name: "generate_session_key", required: &[], optional: &["queue_id"], searches: false },
];

/// A script file: its name and its text.
pub(super) fn generate(options: &Options, parameters: &Parameters) -> Result<(String, String), Refusal> {
    parameters.required("type")?;
    parameters.one_of("type", &["rep"])?;
    parameters.required("operation")?;
    parameters.one_of("operation", &["generate"])?;
    let name = parameters.required("action")?;
    if name == "login" {
        return Err(Refusal::new("The login command is added automatically and must not be given."));
    }
    let action = ACTIONS.iter().find(|action| action.name == name);
    let action = action.ok_or_else(|| Refusal::new(format!("Unknown action '{name}'.")))?;
    check(action, options, parameters)?;

    let mut text = format!("BRCS1.0\naction=login\naction={name}");
    for (key, value) in parameters.pairs() {
        if !COMMON.contains(&key.as_str()) {
            let _ = write!(text, "&{}={}", percent_encoded(key), percent_encoded(value));
        }
    }
    text.push('\n');
    Ok((format!("{name}.brcs-{}", options.company_name), text))
}

fn check(action: &Action, options: &Options, parameters: &Parameters) -> Result<(), Refusal> {
    let search = action.searches.then_some(CLIENT_FIELDS.iter().chain(&["search_string"]));
    let search: Vec<&str> = search.into_iter().flatten().copied().collect();
    let own = action.required.iter().chain(action.optional);
    let allowed: Vec<&str> = COMMON.iter().chain(own).chain(&search).copied().collect();
    parameters.allow_only(&allowed, true)?;
    parameters.custom_fields(options)?;
    for required in action.required {
        parameters.required(required)?;
    }
    for name in allowed.iter().filter(|name| !COMMON.contains(name)) {
        parameters.at_most(name, FIELD_LIMIT)?;
    }
    if action.searches {
        let given = search.iter().any(|name| parameters.get(name).is_some_and(|v| !v.is_empty()));
        if !given {
            return Err(Refusal::new("A search field is required."));
        }
    }
    let methods = ["push", "local_push", "pinned", "rdp", "vnc", "shelljump"];
    let method = parameters.one_of("jump.method", &methods)?;
    let by_address = ["client.private_ip", "client.public_ip"];
    let by_address = by_address.iter().any(|name| parameters.get(name).is_some());
    if by_address && !matches!(method, None | Some("pinned")) {
        return Err(Refusal::new("Only Jump Clients can be found by address."));
    }
    parameters.one_of("quality", &["low", "performance", "performance_quality", "quality"])?;
    parameters.one_of("console", &["no", "yes"])?;
    parameters.one_of("protocol", &["ssh", "telnet"])?;
    parameters.one_of("terminal", &["xterm", "vt100"])?;
    if parameters.number::<u16>("port")? == Some(0) {
        return Err(Refusal::new("The parameter 'port' is out of range."));
    }
    match parameters.get("display_size") {
        None | Some("primary_display" | "all_displays") => Ok(()),
        Some(size) if is_size(size) => Ok(()),
        Some(_) => Err(Refusal::new("The parameter 'display_size' is not valid.")),
    }
}

fn is_size(text: &str) -> bool {
    let number = |text: &str| text.parse::<u16>().is_ok_and(|pixels| pixels > 0);
    text.split_once('x').is_some_and(|(width, height)| number(width) && number(height))
}

/// Percent-encoding of RFC 3986 2.1: everything but unreserved characters.
pub(super) fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// What a script tells the representative console to start.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ScriptCommand {
    /// The action.
    pub action: String,
    /// Its parameters, decoded.
    pub parameters: Vec<(String, String)>,
}

impl ScriptCommand {
    /// The value of a parameter.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let mut found = self.parameters.iter().filter(|(key, _)| key == name);
        found.next().map(|(_, value)| value.as_str())
    }

    /// The custom fields, the external key among them.
    pub fn custom_fields(&self) -> Vec<(String, String)> {
        let field = |(name, value): &(String, String)| Some((name.strip_prefix(CUSTOM)?.to_owned(), value.clone()));
        self.parameters.iter().filter_map(field).collect()
    }
}

/// Reads a script file as the representative console would: header, `login` first, at most ten commands
/// (beyondtrust.md A.1). Answers the commands after `login`.
pub fn read_script(text: &str) -> anyhow::Result<Vec<ScriptCommand>> {
    let mut lines = text.lines();
    ensure!(lines.next() == Some("BRCS1.0"), "the script has no BRCS header");
    let mut commands = Vec::new();
    for line in lines {
        let mut pairs = Parameters::parse(line.as_bytes());
        let action = pairs.take("action");
        let action = action.with_context(|| format!("a command without action: {line}"))?;
        commands.push(ScriptCommand { action, parameters: pairs.pairs().to_vec() });
    }
    ensure!(commands.len() <= COMMAND_LIMIT, "a script has at most {COMMAND_LIMIT} commands");
    if commands.first().is_none_or(|first| first.action != "login") {
        bail!("the first command of a generated script is login");
    }
    commands.remove(0);
    Ok(commands)
}
