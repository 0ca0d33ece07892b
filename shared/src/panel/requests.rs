//! What the panel asks of the server (docs/panel-api.md), as text. Pure: sending is the [`Backend`](super::Backend)'s.

use super::RECORDS_IN_PAGE;
use super::model::{Field, Thing};
use super::texts::{decimal, join, port};
use crate::{percent, routes};

/// The ticket the panel stands beside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The connection's name, from the page.
    pub connection: String,
    /// The ticket's id.
    pub ticket: String,
}

/// A question to the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// The panel's model.
    Load,
    /// A session key, a Jump or a chat link, with what was filled in for it.
    Make(Thing, Vec<(Field, String)>),
    /// The ticket's sessions.
    Sessions,
    /// The machines, and the ticket's links to them.
    Machines {
        /// Part of a name; empty: all of them.
        search: String,
        /// What the ticket, or its page, calls its machine; empty: it names none.
        target: String,
    },
    /// That link is to be good no longer: its id.
    EndLink(String),
    /// Where the recording of the session with that lsid is.
    Recording(String),
    /// The report of the ended session with that lsid.
    Report(String),
    /// Tells that the page has put that session's report onto the ticket, under that lease.
    Recorded(String, String),
    /// Tells that the page has not, and that another browser may: the lease.
    GivenUp(String),
}

/// A question as HTTP has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Path and query on the server's own origin.
    pub path: String,
    /// JSON of a POST; `None` for a GET.
    pub body: Option<String>,
}

impl Request {
    /// The question about that ticket. `locale` is the agent's language, for the texts; empty: the server finds out.
    pub fn new(call: &Call, place: &Place, locale: &str) -> Self {
        match call {
            Call::Load => get(routes::PANEL, place, &[("locale", locale)]),
            Call::Sessions => get(routes::SESSIONS, place, &[]),
            Call::Machines { search, target } => get(routes::MACHINES, place, &[("search", search), ("target", target)]),
            Call::Make(thing, fields) => Self { path: path(*thing).into(), body: Some(body(place, fields)) },
            Call::EndLink(link) => post(routes::LINK_END, place, &[("link", link)]),
            Call::Recording(lsid) => post(routes::SESSION_RECORDING, place, &[("lsid", lsid)]),
            Call::Report(lsid) if RECORDS_IN_PAGE => post(routes::SESSION_RECORD, place, &[("lsid", lsid)]),
            Call::Recorded(lsid, lease) if RECORDS_IN_PAGE => post(routes::SESSION_RECORDED, place, &[("lsid", lsid), ("lease", lease)]),
            Call::GivenUp(lease) if RECORDS_IN_PAGE => post(routes::SESSION_RECORD_GIVEN_UP, place, &[("lease", lease)]),
            // Panels that put no reports onto the ticket do not ask that.
            Call::Report(_) | Call::Recorded(..) | Call::GivenUp(_) => Self { path: String::new(), body: None },
        }
    }
}

const fn path(thing: Thing) -> &'static str {
    match thing {
        Thing::Key => routes::SESSION_KEY,
        Thing::Jump => routes::JUMP,
        Thing::ChatLink => routes::SESSION_CHAT_LINK,
    }
}

/// With those pairs whose value is not empty.
fn get(path: &str, place: &Place, pairs: &[(&str, &str)]) -> Request {
    let mut path = join(&[path, "?"]);
    percent::append_pair(&mut path, "connection", &place.connection);
    percent::append_pair(&mut path, "ticket", &place.ticket);
    for (name, value) in pairs.iter().filter(|(_, value)| !value.is_empty()) {
        percent::append_pair(&mut path, name, value);
    }
    Request { path, body: None }
}

fn post(path: &str, place: &Place, members: &[(&str, &str)]) -> Request {
    let mut body = object(place);
    for (name, value) in members {
        body.push_str(",\"");
        body.push_str(name);
        body.push_str("\":");
        push_json_text(&mut body, value);
    }
    body.push('}');
    Request { path: path.into(), body: Some(body) }
}

/// A flat JSON object.
fn body(place: &Place, fields: &[(Field, String)]) -> String {
    let mut out = object(place);
    for (field, value) in fields {
        out.push_str(",\"");
        out.push_str(field.name());
        out.push_str("\":");
        match (field, port(value)) {
            (Field::Port, Some(port)) => out.push_str(&decimal(port)),
            (Field::Console, _) => out.push_str("true"),
            _ => push_json_text(&mut out, value),
        }
    }
    out.push('}');
    out
}

/// A JSON object with the ticket in it, still open.
fn object(place: &Place) -> String {
    let mut out = String::from("{\"connection\":");
    push_json_text(&mut out, &place.connection);
    out.push_str(",\"ticket\":");
    push_json_text(&mut out, &place.ticket);
    out
}

/// RFC 8259 7: only quotation mark, backslash and control characters must be escaped.
fn push_json_text(out: &mut String, text: &str) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => {
                out.push('\\');
                out.push(character);
            }
            '\0'..='\x1f' => {
                let code = character as u32;
                out.push_str(if code < 16 { "\\u000" } else { "\\u001" });
                if let Some(digit) = char::from_digit(code % 16, 16) {
                    out.push(digit);
                }
            }
            _ => out.push(character),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn place() -> Place {
        Place { connection: "Zendesk production".into(), ticket: "88121".into() }
    }

    fn check(call: &Call, path: &str, body: Option<&str>) {
        assert_eq!(Request::new(call, &place(), "de-AT"), Request { path: path.into(), body: body.map(Into::into) });
    }

    #[test]
    fn calls_are_the_contracts() {
        check(&Call::Load, "/api/v1/panel?connection=Zendesk%20production&ticket=88121&locale=de-AT", None);
        let without = Request::new(&Call::Load, &place(), "");
        assert_eq!(without.path, "/api/v1/panel?connection=Zendesk%20production&ticket=88121", "the server finds the language out");
        check(&Call::Sessions, "/api/v1/sessions?connection=Zendesk%20production&ticket=88121", None);
        check(&Call::Make(Thing::Key, Vec::new()), "/api/v1/sessions/key", Some(r#"{"connection":"Zendesk production","ticket":"88121"}"#));
        check(
            &Call::Make(Thing::ChatLink, vec![(Field::Issue, "general_tech".into())]),
            "/api/v1/sessions/chat-link",
            Some(r#"{"connection":"Zendesk production","ticket":"88121","issue":"general_tech"}"#),
        );
        let machines = |search: &str, target: &str| Call::Machines { search: search.into(), target: target.into() };
        check(&machines("", ""), "/api/v1/machines?connection=Zendesk%20production&ticket=88121", None);
        let search = "/api/v1/machines?connection=Zendesk%20production&ticket=88121&search=front%20desk&target=PC-1";
        check(&machines("front desk", "PC-1"), search, None);
        let end = Some(r#"{"connection":"Zendesk production","ticket":"88121","link":"Tq7"}"#);
        check(&Call::EndLink("Tq7".into()), "/api/v1/links/end", end);
        let about = Some(r#"{"connection":"Zendesk production","ticket":"88121","lsid":"0a1b"}"#);
        check(&Call::Report("0a1b".into()), "/api/v1/sessions/record", about);
        check(&Call::Recording("0a1b".into()), "/api/v1/sessions/recording", about);
        let recorded = r#"{"connection":"Zendesk production","ticket":"88121","lsid":"0a1b","lease":"L1"}"#;
        check(&Call::Recorded("0a1b".into(), "L1".into()), "/api/v1/sessions/recorded", Some(recorded));
        let given_up = r#"{"connection":"Zendesk production","ticket":"88121","lease":"L1"}"#;
        check(&Call::GivenUp("L1".into()), "/api/v1/sessions/record/given-up", Some(given_up));
        let fields = [(Field::Method, "shell_jump"), (Field::Target, "core-sw-1"), (Field::Port, "022"), (Field::Console, "true")];
        check(
            &Call::Make(Thing::Jump, fields.map(|(field, value)| (field, value.to_owned())).into()),
            "/api/v1/sessions/jump",
            Some(
                r#"{"connection":"Zendesk production","ticket":"88121","method":"shell_jump","target":"core-sw-1","port":22,"console":true}"#,
            ),
        );
    }

    proptest! {
        #[test]
        fn a_body_reads_back(ticket in any::<String>(), connection in any::<String>(), target in any::<String>()) {
            let place = Place { connection: connection.clone(), ticket: ticket.clone() };
            let call = Call::Make(Thing::Jump, vec![(Field::Target, target.clone())]);
            let body = Request::new(&call, &place, "en").body.expect("a POST");
            let read: serde_json::Value = serde_json::from_str(&body)?;
            prop_assert_eq!(read, serde_json::json!({"connection": connection, "ticket": ticket, "target": target}));
        }

        #[test]
        fn control_characters_are_escaped(code in 0_u32..0x20) {
            let text = String::from(char::from_u32(code).expect("a character"));
            let mut json = String::new();
            push_json_text(&mut json, &text);
            prop_assert_eq!(serde_json::from_str::<String>(&json)?, text);
        }
    }
}
