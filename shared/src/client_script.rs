//! Client-script URLs (beyondtrust.md A) and start-session URLs (beyondtrust.md F.1): the links which make a representative console or a
//! customer's browser begin a session. Pure: nothing here opens or fetches a URL, and no credential ever goes into one.
//!
//! Parameter names, their order and their escaping are the vendor's, to the letter; an option that was not given is left out,
//! an option the method does not take is refused rather than dropped.

use std::fmt;

use crate::api::{JumpMethod, JumpRequest};
use crate::percent;

/// Longest target, search text or option, in characters (beyondtrust.md A.2: `hostname` and the `client.*` fields).
pub const OPTION_CHARACTERS: usize = 255;
/// Longest value of one custom field, the external key included, in characters (beyondtrust.md A.2).
pub const CUSTOM_FIELD_CHARACTERS: usize = 1024;
/// All custom fields together, the external key included, in bytes of names and values (beyondtrust.md A.2: 10 KB).
pub const CUSTOM_FIELDS_BYTES: usize = 10 * 1024;
/// Longest `customer.name` and `customer.company`, in characters (beyondtrust.md F.1).
pub const CUSTOMER_NAME_CHARACTERS: usize = 100;
/// Longest `customer.details`, in bytes (beyondtrust.md F.1).
pub const CUSTOMER_DETAILS_BYTES: usize = 1024;

const EXTERNAL_KEY: &str = "external_key";
pub(crate) const PROTOCOLS: &[&str] = &["ssh", "telnet"];
pub(crate) const TERMINALS: &[&str] = &["xterm", "vt100"];
pub(crate) const QUALITIES: &[&str] = &["low", "performance", "performance_quality", "quality"];

/// How a Jump Client is named in the URL: the connection's `jump_action`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum JumpAction {
    /// `start_jump_item_session` with `jump.method=pinned`: appliances from 18.2 on (beyondtrust.md A.2, version notes).
    #[default]
    JumpItem,
    /// `start_pinned_client_session`: older appliances.
    PinnedClient,
}

impl JumpAction {
    /// The setting's value.
    pub const fn name(self) -> &'static str {
        match self {
            Self::JumpItem => "jump_item",
            Self::PinnedClient => "pinned_client",
        }
    }

    /// The action of that setting.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::JumpItem, Self::PinnedClient].into_iter().find(|action| action.name() == name)
    }
}

/// Why no URL was made. Every fault names the field as the panel API or the settings call it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The field must be given and must not be blank.
    Missing {
        /// The field.
        field: String,
    },
    /// The field is longer than the appliance accepts.
    TooLong {
        /// The field.
        field: String,
        /// The most it may have.
        limit: usize,
        /// What is counted.
        unit: Unit,
    },
    /// The method has no such option.
    NotTaken {
        /// The field.
        field: &'static str,
        /// The method.
        method: JumpMethod,
    },
    /// The value is none of those the field can have.
    Unknown {
        /// The field.
        field: String,
        /// What it can be.
        expected: &'static str,
    },
    /// A custom field is given twice, or the external key once more as a custom field.
    Twice {
        /// The field.
        field: String,
    },
}

/// What a [`Fault::TooLong`] counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Unicode characters.
    Characters,
    /// Bytes of UTF-8.
    Bytes,
}

impl Fault {
    /// The field at fault.
    pub fn field(&self) -> &str {
        match self {
            Self::Missing { field } | Self::TooLong { field, .. } | Self::Unknown { field, .. } | Self::Twice { field } => field,
            Self::NotTaken { field, .. } => field,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { field } => write!(formatter, "{field} is missing"),
            Self::TooLong { field, limit, unit: Unit::Characters } => write!(formatter, "{field} is longer than {limit} characters"),
            Self::TooLong { field, limit, unit: Unit::Bytes } => write!(formatter, "{field} is longer than {limit} bytes"),
            Self::NotTaken { field, method } => {
                write!(formatter, "{field} is not an option of {}", method.name())
            }
            Self::Unknown { field, expected } => write!(formatter, "{field} must be {expected}"),
            Self::Twice { field } => write!(formatter, "{field} is given twice"),
        }
    }
}

impl std::error::Error for Fault {}

/// How the addresses of an appliance's API end: all of them alike. Appliances of the password era (16.1 and earlier) are called with `.ns`,
/// later ones without (beyondtrust.md A.1, B.1, D.1, F.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spelling {
    /// `/api/command`.
    Plain,
    /// `/api/command.ns`.
    Ns,
}

impl Spelling {
    /// The path of that address.
    pub fn path(self, name: &str) -> String {
        let ending = match self {
            Self::Plain => "",
            Self::Ns => ".ns",
        };
        ["/api/", name, ending].concat()
    }
}

/// An appliance as browsers reach it.
#[derive(Clone, Copy, Debug)]
pub struct Appliance<'a> {
    /// Its public name, with a port if need be; `http://…` only for an appliance without TLS.
    pub host: &'a str,
    /// How its addresses end.
    pub spelling: Spelling,
}

impl Appliance<'_> {
    /// The address of its client scripts.
    pub fn client_scripts(self) -> Result<String, Fault> {
        self.address("client_script")
    }

    fn address(self, name: &str) -> Result<String, Fault> {
        Ok(origin(self.host)? + &self.spelling.path(name))
    }
}

/// A custom field's code name on the appliance and its value.
pub type CustomField<'a> = (&'a str, &'a str);

/// The URL which makes the representative console Jump.
///
/// `external_key` ties the session to its ticket. `custom_fields` follow it in their order.
pub fn client_script_url(
    appliance: Appliance<'_>,
    request: &JumpRequest,
    external_key: &str,
    jump_action: JumpAction,
    custom_fields: &[CustomField<'_>],
) -> Result<String, Fault> {
    if request.method.needs_machine() {
        return Err(Fault::Unknown { field: "method".into(), expected: "a way to Jump" });
    }
    refuse_foreign_options(request)?;
    let (action, target_name) = match (request.method, jump_action) {
        (JumpMethod::JumpClient, JumpAction::JumpItem) => ("start_jump_item_session&jump.method=pinned", "search_string"),
        (JumpMethod::JumpClient, JumpAction::PinnedClient) => ("start_pinned_client_session", "search_string"),
        (JumpMethod::LocalPush, _) => ("push_and_start_local", "hostname"),
        (JumpMethod::RemotePush, _) => ("push_and_start_remote", "target"),
        (JumpMethod::Rdp, _) => ("start_rdp_session", "target"),
        (JumpMethod::ShellJump | JumpMethod::Desktop | JumpMethod::Terminal | JumpMethod::Files, _) => {
            ("start_shell_jump_session", "target")
        }
    };
    let mut url = script_url(appliance, action)?;
    append_required(&mut url, "target", target_name, &request.target)?;
    append_text(&mut url, "jumpoint", request.jumpoint.as_deref())?;
    append_text(&mut url, "username", request.username.as_deref())?;
    if let Some(display_size) = &request.display_size {
        check_display_size(display_size)?;
        percent::append_pair(&mut url, "display_size", display_size);
    }
    append_choice(&mut url, "quality", request.quality.as_deref(), QUALITIES, "low, performance, performance_quality or quality")?;
    if let Some(console) = request.console {
        percent::append_pair(&mut url, "console", if console { "yes" } else { "no" });
    }
    append_choice(&mut url, "protocol", request.protocol.as_deref(), PROTOCOLS, "ssh or telnet")?;
    match request.port {
        Some(0) => {
            return Err(Fault::Unknown { field: "port".into(), expected: "1 to 65535" });
        }
        Some(port) => percent::append_pair(&mut url, "port", &port.to_string()),
        None => {}
    }
    append_choice(&mut url, "terminal", request.terminal.as_deref(), TERMINALS, "xterm or vt100")?;
    append_custom_fields(&mut url, Some(external_key), custom_fields)?;
    Ok(url)
}

/// The URL which opens the representative console's dialog to generate a session key. Parameters as for [`client_script_url`].
pub fn session_key_script_url(appliance: Appliance<'_>, external_key: &str, custom_fields: &[CustomField<'_>]) -> Result<String, Fault> {
    let mut url = script_url(appliance, "generate_session_key")?;
    append_custom_fields(&mut url, Some(external_key), custom_fields)?;
    Ok(url)
}

/// How a customer's session finds its queue (beyondtrust.md F.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartBy<'a> {
    /// The issue of that code name.
    Issue(&'a str),
    /// The session key of that seven-character short form.
    ShortKey(&'a str),
}

/// A session begun by the customer.
#[derive(Clone, Copy, Debug)]
pub struct StartSession<'a> {
    /// Which queue.
    pub by: StartBy<'a>,
    /// At most [`CUSTOMER_NAME_CHARACTERS`].
    pub customer_name: Option<&'a str>,
    /// At most [`CUSTOMER_NAME_CHARACTERS`].
    pub customer_company: Option<&'a str>,
    /// At most [`CUSTOMER_DETAILS_BYTES`].
    pub customer_details: Option<&'a str>,
    /// Ties the session to its ticket.
    pub external_key: Option<&'a str>,
    /// Further custom fields.
    pub custom_fields: &'a [CustomField<'a>],
    /// Begin as click-to-chat in the browser instead of with the customer client's download.
    pub click_to_chat: bool,
}

/// The URL which begins a session on the customer's side.
pub fn start_session_url(appliance: Appliance<'_>, start: &StartSession<'_>) -> Result<String, Fault> {
    let mut url = appliance.address("start_session")?;
    url.push('?');
    match start.by {
        StartBy::Issue(code_name) => {
            percent::append_pair(&mut url, "issue_menu", "1");
            append_required(&mut url, "issue", "codeName", code_name)?;
        }
        StartBy::ShortKey(short_key) => {
            append_required(&mut url, "short_key", "short_key", short_key)?;
        }
    }
    let limits = [
        ("customer.name", start.customer_name, CUSTOMER_NAME_CHARACTERS, Unit::Characters),
        ("customer.company", start.customer_company, CUSTOMER_NAME_CHARACTERS, Unit::Characters),
        ("customer.details", start.customer_details, CUSTOMER_DETAILS_BYTES, Unit::Bytes),
    ];
    for (name, value, limit, unit) in limits {
        if let Some(value) = value {
            check_length(name, value, limit, unit)?;
            percent::append_pair(&mut url, name, value);
        }
    }
    append_custom_fields(&mut url, start.external_key, start.custom_fields)?;
    if start.click_to_chat {
        percent::append_pair(&mut url, "c2cjs", "1");
    }
    Ok(url)
}

fn script_url(appliance: Appliance<'_>, action: &str) -> Result<String, Fault> {
    let mut url = appliance.client_scripts()?;
    url.push_str("?type=rep&operation=generate&action=");
    url.push_str(action);
    Ok(url)
}

/// Lets nothing through that could move the URL to another place: no path, no user part.
fn origin(host: &str) -> Result<String, Fault> {
    let (scheme, name) = match host.strip_prefix("http://") {
        Some(name) => ("http://", name),
        None => ("https://", host.strip_prefix("https://").unwrap_or(host)),
    };
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':' | b'[' | b']');
    if name.is_empty() || name.len() > 262 || !name.bytes().all(allowed) {
        return Err(Fault::Unknown { field: "host".into(), expected: "a host name, with a port if need be" });
    }
    Ok([scheme, name].concat())
}

fn refuse_foreign_options(request: &JumpRequest) -> Result<(), Fault> {
    let method = request.method;
    let rdp = method == JumpMethod::Rdp;
    let shell = method == JumpMethod::ShellJump;
    let options = [
        ("jumpoint", request.jumpoint.is_some(), method.needs_jumpoint()),
        ("username", request.username.is_some(), rdp || shell),
        ("display_size", request.display_size.is_some(), rdp),
        ("quality", request.quality.is_some(), rdp),
        ("console", request.console.is_some(), rdp),
        ("protocol", request.protocol.is_some(), shell),
        ("port", request.port.is_some(), shell),
        ("terminal", request.terminal.is_some(), shell),
    ];
    match options.into_iter().find(|&(_, given, taken)| given && !taken) {
        Some((field, ..)) => Err(Fault::NotTaken { field, method }),
        None => Ok(()),
    }
}

fn append_required(url: &mut String, field: &str, name: &str, value: &str) -> Result<(), Fault> {
    if value.trim().is_empty() {
        return Err(Fault::Missing { field: field.into() });
    }
    check_length(field, value, OPTION_CHARACTERS, Unit::Characters)?;
    percent::append_pair(url, name, value);
    Ok(())
}

fn append_text(url: &mut String, name: &str, value: Option<&str>) -> Result<(), Fault> {
    value.map_or(Ok(()), |value| append_required(url, name, name, value))
}

fn append_choice(url: &mut String, name: &str, value: Option<&str>, choices: &[&str], expected: &'static str) -> Result<(), Fault> {
    match value {
        Some(value) if !choices.contains(&value) => Err(Fault::Unknown { field: name.into(), expected }),
        Some(value) => {
            percent::append_pair(url, name, value);
            Ok(())
        }
        None => Ok(()),
    }
}

fn check_display_size(display_size: &str) -> Result<(), Fault> {
    let pixels = |text: &str| (1..=5).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    let is_size = display_size.split_once('x').is_some_and(|(width, height)| pixels(width) && pixels(height));
    if is_size || matches!(display_size, "primary_display" | "all_displays") {
        return Ok(());
    }
    Err(Fault::Unknown { field: "display_size".into(), expected: "primary_display, all_displays or <width>x<height>" })
}

fn append_custom_fields(url: &mut String, external_key: Option<&str>, custom_fields: &[CustomField<'_>]) -> Result<(), Fault> {
    let mut bytes = 0;
    let mut append = |code_name: &str, value: &str| {
        let name = ["session.custom.", code_name].concat();
        check_length(&name, value, CUSTOM_FIELD_CHARACTERS, Unit::Characters)?;
        bytes += code_name.len() + value.len();
        if bytes > CUSTOM_FIELDS_BYTES {
            return Err(Fault::TooLong { field: "session.custom".into(), limit: CUSTOM_FIELDS_BYTES, unit: Unit::Bytes });
        }
        percent::append_pair(url, &name, value);
        Ok(())
    };
    if let Some(external_key) = external_key {
        if external_key.trim().is_empty() {
            return Err(Fault::Missing { field: EXTERNAL_KEY.into() });
        }
        append(EXTERNAL_KEY, external_key)?;
    }
    for (index, (code_name, value)) in custom_fields.iter().enumerate() {
        let field = || ["session.custom.", code_name].concat();
        let is_code_name =
            (1..=64).contains(&code_name.len()) && code_name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if !is_code_name {
            return Err(Fault::Unknown { field: field(), expected: "a code name of letters, digits and underscores" });
        }
        let repeated = custom_fields[..index].iter().any(|(earlier, _)| earlier == code_name);
        if repeated || *code_name == EXTERNAL_KEY {
            return Err(Fault::Twice { field: field() });
        }
        append(code_name, value)?;
    }
    Ok(())
}

fn check_length(field: &str, value: &str, limit: usize, unit: Unit) -> Result<(), Fault> {
    let length = match unit {
        Unit::Characters => value.chars().count(),
        Unit::Bytes => value.len(),
    };
    if length > limit { Err(Fault::TooLong { field: field.into(), limit, unit }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HOST: &str = "support.example.com";
    const APPLIANCE: Appliance<'_> = plain(HOST);

    const fn plain(host: &str) -> Appliance<'_> {
        Appliance { host, spelling: Spelling::Plain }
    }

    fn jump(method: JumpMethod, target: &str) -> JumpRequest {
        JumpRequest::new(method, target)
    }

    fn via_jumpoint(method: JumpMethod, target: &str) -> JumpRequest {
        JumpRequest { jumpoint: Some("HQ-Net".into()), ..jump(method, target) }
    }

    fn check(request: &JumpRequest, external_key: &str, path: &str) {
        let url = client_script_url(APPLIANCE, request, external_key, JumpAction::JumpItem, &[]);
        assert_eq!(url, Ok(["https://support.example.com", path].concat()));
    }

    /// The lines of beyondtrust.md A.3, as they stand there.
    #[test]
    fn a_machine_from_a_list_is_none_of_the_appliances() {
        for method in JumpMethod::ALL {
            let request = if method.needs_jumpoint() { via_jumpoint(method, "node//1") } else { jump(method, "node//1") };
            let made = client_script_url(APPLIANCE, &request, "88121", JumpAction::JumpItem, &[]);
            assert_eq!(made.is_ok(), JumpMethod::JUMPS.contains(&method), "{method:?}");
            assert_eq!(JumpMethod::JUMPS.contains(&method), !method.needs_machine());
        }
    }

    #[test]
    fn the_documented_examples() {
        check(
            &jump(JumpMethod::JumpClient, "LAPTOP-0042"),
            "INC0012345",
            "/api/client_script?type=rep&operation=generate&action=start_jump_item_session&jump.method=pinned&search_string=LAPTOP-0042&session.custom.external_key=INC0012345",
        );
        check(
            &JumpRequest { username: Some("helpdesk".into()), ..via_jumpoint(JumpMethod::Rdp, "10.20.0.15") },
            "88121",
            "/api/client_script?type=rep&operation=generate&action=start_rdp_session&target=10.20.0.15&jumpoint=HQ-Net&username=helpdesk&session.custom.external_key=88121",
        );
        check(
            &JumpRequest { protocol: Some("ssh".into()), port: Some(22), ..via_jumpoint(JumpMethod::ShellJump, "core-sw-1") },
            "88121",
            "/api/client_script?type=rep&operation=generate&action=start_shell_jump_session&target=core-sw-1&jumpoint=HQ-Net&protocol=ssh&port=22&session.custom.external_key=88121",
        );
        check(
            &jump(JumpMethod::LocalPush, "LAPTOP-0042"),
            "88121",
            "/api/client_script?type=rep&operation=generate&action=push_and_start_local&hostname=LAPTOP-0042&session.custom.external_key=88121",
        );
        check(
            &via_jumpoint(JumpMethod::RemotePush, "LAPTOP-0042"),
            "88121",
            "/api/client_script?type=rep&operation=generate&action=push_and_start_remote&target=LAPTOP-0042&jumpoint=HQ-Net&session.custom.external_key=88121",
        );
        assert_eq!(
            session_key_script_url(APPLIANCE, "88121", &[]).as_deref(),
            Ok(
                "https://support.example.com/api/client_script?type=rep&operation=generate&action=generate_session_key&session.custom.external_key=88121"
            ),
        );
    }

    /// The line of beyondtrust.md F.1, as it stands there.
    #[test]
    fn the_documented_start() {
        let start = StartSession {
            customer_name: Some("John Smith"),
            customer_company: Some("Acme"),
            customer_details: Some("Outlook will not open"),
            external_key: Some("88121"),
            click_to_chat: true,
            ..plain_start(StartBy::Issue("general_tech"))
        };
        assert_eq!(
            start_session_url(APPLIANCE, &start).as_deref(),
            Ok(
                "https://support.example.com/api/start_session?issue_menu=1&codeName=general_tech&customer.name=John%20Smith&customer.company=Acme&customer.details=Outlook%20will%20not%20open&session.custom.external_key=88121&c2cjs=1"
            ),
        );
        assert_eq!(
            start_session_url(APPLIANCE, &plain_start(StartBy::ShortKey("ABC1234"))).as_deref(),
            Ok("https://support.example.com/api/start_session?short_key=ABC1234"),
        );
    }

    #[test]
    fn every_option_in_its_place() {
        let rdp = JumpRequest {
            username: Some("CORP\\help desk".into()),
            display_size: Some("1920x1080".into()),
            quality: Some("performance_quality".into()),
            console: Some(true),
            ..via_jumpoint(JumpMethod::Rdp, "host")
        };
        check(
            &rdp,
            "1",
            "/api/client_script?type=rep&operation=generate&action=start_rdp_session&target=host&jumpoint=HQ-Net&username=CORP%5Chelp%20desk&display_size=1920x1080&quality=performance_quality&console=yes&session.custom.external_key=1",
        );
        let shell = JumpRequest {
            username: Some("root".into()),
            protocol: Some("telnet".into()),
            port: Some(2323),
            terminal: Some("vt100".into()),
            ..via_jumpoint(JumpMethod::ShellJump, "fe80::1")
        };
        check(
            &shell,
            "1",
            "/api/client_script?type=rep&operation=generate&action=start_shell_jump_session&target=fe80%3A%3A1&jumpoint=HQ-Net&username=root&protocol=telnet&port=2323&terminal=vt100&session.custom.external_key=1",
        );
        let console = JumpRequest { console: Some(false), ..jump(JumpMethod::Rdp, "host") };
        check(
            &console,
            "1",
            "/api/client_script?type=rep&operation=generate&action=start_rdp_session&target=host&console=no&session.custom.external_key=1",
        );
    }

    #[test]
    fn old_appliances_and_custom_fields() {
        let url = client_script_url(
            plain("http://localhost:8443"),
            &jump(JumpMethod::JumpClient, "a b"),
            "1",
            JumpAction::PinnedClient,
            &[("agent_mail", "a+b@example.com")],
        );
        assert_eq!(
            url.as_deref(),
            Ok(
                "http://localhost:8443/api/client_script?type=rep&operation=generate&action=start_pinned_client_session&search_string=a%20b&session.custom.external_key=1&session.custom.agent_mail=a%2Bb%40example.com"
            ),
        );
    }

    #[test]
    fn limits_are_refused_by_name() {
        let refused =
            |request: &JumpRequest| client_script_url(APPLIANCE, request, "1", JumpAction::JumpItem, &[]).expect_err("refused").to_string();
        let long = "ü".repeat(256);
        assert!(client_script_url(APPLIANCE, &jump(JumpMethod::Rdp, &long[2..]), "1", JumpAction::JumpItem, &[]).is_ok());
        assert_eq!(refused(&jump(JumpMethod::Rdp, &long)), "target is longer than 255 characters");
        assert_eq!(refused(&jump(JumpMethod::Rdp, " \t")), "target is missing");
        assert_eq!(refused(&JumpRequest { jumpoint: Some(long), ..jump(JumpMethod::Rdp, "a") }), "jumpoint is longer than 255 characters");
        assert_eq!(refused(&JumpRequest { username: Some(String::new()), ..jump(JumpMethod::Rdp, "a") }), "username is missing");
        assert_eq!(refused(&JumpRequest { port: Some(0), ..jump(JumpMethod::ShellJump, "a") }), "port must be 1 to 65535");
        assert_eq!(
            refused(&JumpRequest { protocol: Some("SSH".into()), ..jump(JumpMethod::ShellJump, "a") }),
            "protocol must be ssh or telnet"
        );
        for wrong in ["", "x", "10x", "x10", "010x20", "100000x1", "10X20", "1x2x3", "-1x2"] {
            let request = JumpRequest { display_size: Some(wrong.into()), ..jump(JumpMethod::Rdp, "a") };
            assert_eq!(refused(&request), "display_size must be primary_display, all_displays or <width>x<height>", "{wrong}");
        }
    }

    #[test]
    fn custom_fields_are_bounded() {
        let with = |external_key: &str, fields: &[CustomField<'_>]| {
            session_key_script_url(APPLIANCE, external_key, fields).map(|_| ()).map_err(|fault| fault.to_string())
        };
        assert_eq!(with("", &[]), Err("external_key is missing".into()));
        assert_eq!(with(&"ü".repeat(1024), &[]), Ok(()));
        assert_eq!(with(&"ü".repeat(1025), &[]), Err("session.custom.external_key is longer than 1024 characters".into()));
        assert_eq!(with("1", &[("a", "1"), ("a", "2")]), Err("session.custom.a is given twice".into()));
        assert_eq!(with("1", &[("external_key", "2")]), Err("session.custom.external_key is given twice".into()));
        assert_eq!(with("1", &[("a&b", "2")]), Err("session.custom.a&b must be a code name of letters, digits and underscores".into()));
        // external_key: 13 bytes with its value; ten fields of a one-letter name and 1021 bytes: 10220; together 10233, so 7 more fit.
        let value = "v".repeat(1021);
        let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
        let mut fields: Vec<CustomField<'_>> = names.iter().map(|name| (*name, value.as_str())).collect();
        fields.push(("k", "123456"));
        assert_eq!(with("1", &fields), Ok(()));
        fields[10] = ("k", "1234567");
        assert_eq!(with("1", &fields), Err("session.custom is longer than 10240 bytes".into()));
    }

    #[test]
    fn a_method_takes_its_own_options_only() {
        type Set = fn(&mut JumpRequest);
        let options: [(&str, Set, &[JumpMethod]); 8] = [
            ("jumpoint", |request| request.jumpoint = Some("j".into()), &[JumpMethod::RemotePush, JumpMethod::Rdp, JumpMethod::ShellJump]),
            ("username", |request| request.username = Some("u".into()), &[JumpMethod::Rdp, JumpMethod::ShellJump]),
            ("display_size", |request| request.display_size = Some("all_displays".into()), &[JumpMethod::Rdp]),
            ("quality", |request| request.quality = Some("low".into()), &[JumpMethod::Rdp]),
            ("console", |request| request.console = Some(true), &[JumpMethod::Rdp]),
            ("protocol", |request| request.protocol = Some("ssh".into()), &[JumpMethod::ShellJump]),
            ("port", |request| request.port = Some(22), &[JumpMethod::ShellJump]),
            ("terminal", |request| request.terminal = Some("xterm".into()), &[JumpMethod::ShellJump]),
        ];
        for (field, set, takers) in options {
            for method in JumpMethod::JUMPS {
                let mut request = jump(method, "host");
                set(&mut request);
                let made = client_script_url(APPLIANCE, &request, "1", JumpAction::JumpItem, &[]);
                if takers.contains(&method) {
                    assert!(made.is_ok_and(|url| url.contains(&["&", field, "="].concat())), "{field} of {method:?}");
                } else {
                    assert_eq!(made, Err(Fault::NotTaken { field, method }));
                }
            }
        }
    }

    #[test]
    fn a_host_is_a_host() {
        for wrong in ["", "https://", "a/b", "a@b", "a?b", "a#b", "a b", "javascript:alert(1)/", "ü.example"] {
            let fault = session_key_script_url(plain(wrong), "1", &[]).expect_err(wrong);
            assert_eq!(fault.field(), "host", "{wrong}");
        }
        assert!(session_key_script_url(plain("[::1]:8443"), "1", &[]).is_ok());
    }

    #[test]
    fn a_start_is_bounded() {
        let refused = |start: &StartSession<'_>| start_session_url(APPLIANCE, start).expect_err("refused").to_string();
        let base = plain_start(StartBy::Issue("general_tech"));
        let (name, details) = ("ü".repeat(101), "ü".repeat(513));
        assert_eq!(refused(&StartSession { customer_name: Some(&name), ..base }), "customer.name is longer than 100 characters");
        assert_eq!(refused(&StartSession { customer_details: Some(&details), ..base }), "customer.details is longer than 1024 bytes");
        assert_eq!(refused(&plain_start(StartBy::Issue(""))), "issue is missing");
        assert_eq!(refused(&plain_start(StartBy::ShortKey(" "))), "short_key is missing");
        assert!(
            start_session_url(APPLIANCE, &StartSession { customer_name: Some(&name[2..]), customer_details: Some(&details[2..]), ..base })
                .is_ok()
        );
    }

    fn plain_start(by: StartBy<'_>) -> StartSession<'_> {
        StartSession {
            by,
            customer_name: None,
            customer_company: None,
            customer_details: None,
            external_key: None,
            custom_fields: &[],
            click_to_chat: false,
        }
    }

    /// Any text the appliance would accept: 1 to 60 characters of any script, not blank.
    fn text() -> impl Strategy<Value = String> {
        prop::collection::vec(any::<char>(), 1..60).prop_map(String::from_iter).prop_filter("blank", |text| !text.trim().is_empty())
    }

    fn read_back(url: &str) -> Vec<(String, String)> {
        let url = url::Url::parse(url).expect("a URL");
        assert_eq!((url.scheme(), url.host_str(), url.fragment()), ("https", Some(HOST), None));
        url.query_pairs().into_owned().collect()
    }

    fn pairs(expected: &[(&str, Option<&str>)]) -> Vec<(String, String)> {
        expected.iter().filter_map(|(name, value)| value.map(|value| ((*name).into(), value.into()))).collect()
    }

    proptest! {
        #[test]
        fn parsing_a_jump_returns_the_inputs(
            target in text(), external_key in text(), field in text(), username in prop::option::of(text()), jumpoint in prop::option::of(text()),
            port in prop::option::of(1_u16..), pinned in any::<bool>(),
        ) {
            let action = if pinned { JumpAction::PinnedClient } else { JumpAction::JumpItem };
            let fields = [("note", field.as_str())];
            let custom = [("session.custom.external_key", Some(external_key.as_str())), ("session.custom.note", Some(field.as_str()))];
            for method in JumpMethod::JUMPS {
                let reaches = method.needs_jumpoint();
                let shell = method == JumpMethod::ShellJump;
                let signs_in = shell || method == JumpMethod::Rdp;
                let request = JumpRequest {
                    jumpoint: jumpoint.clone().filter(|_| reaches),
                    username: username.clone().filter(|_| signs_in),
                    port: port.filter(|_| shell),
                    ..jump(method, &target)
                };
                let (name, target_name, jump_method) = match method {
                    JumpMethod::JumpClient if pinned => ("start_pinned_client_session", "search_string", None),
                    JumpMethod::JumpClient => ("start_jump_item_session", "search_string", Some("pinned")),
                    JumpMethod::LocalPush => ("push_and_start_local", "hostname", None),
                    JumpMethod::RemotePush => ("push_and_start_remote", "target", None),
                    JumpMethod::Rdp => ("start_rdp_session", "target", None),
                    _ => ("start_shell_jump_session", "target", None),
                };
                let port = request.port.map(|port| port.to_string());
                let mut expected = pairs(&[
                    ("type", Some("rep")), ("operation", Some("generate")), ("action", Some(name)), ("jump.method", jump_method),
                    (target_name, Some(&target)), ("jumpoint", request.jumpoint.as_deref()), ("username", request.username.as_deref()),
                    ("port", port.as_deref()),
                ]);
                expected.extend(pairs(&custom));
                let url = client_script_url(APPLIANCE, &request, &external_key, action, &fields)?;
                prop_assert_eq!(read_back(&url), expected);
            }
        }

        #[test]
        fn parsing_a_start_returns_the_inputs(
            issue in text(), name in text(), company in text(), details in text(), external_key in text(), chat in any::<bool>(),
        ) {
            let start = StartSession {
                by: StartBy::Issue(&issue), customer_name: Some(&name), customer_company: Some(&company), customer_details: Some(&details),
                external_key: Some(&external_key), custom_fields: &[], click_to_chat: chat,
            };
            let expected = pairs(&[
                ("issue_menu", Some("1")), ("codeName", Some(&issue)), ("customer.name", Some(&name)), ("customer.company", Some(&company)),
                ("customer.details", Some(&details)), ("session.custom.external_key", Some(&external_key)), ("c2cjs", chat.then_some("1")),
            ]);
            prop_assert_eq!(read_back(&start_session_url(APPLIANCE, &start)?), expected);
        }
    }
}
