//! What the panel asks of the server (docs/panel-api.md), as text. Pure: sending is the [`Backend`](super::Backend)'s.

use super::model::{Field, Thing};
use super::texts::{decimal, join};
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
            Call::Load => get(routes::PANEL, place, Some(locale).filter(|locale| !locale.is_empty())),
            Call::Sessions => get(routes::SESSIONS, place, None),
            Call::Make(thing, fields) => Self { path: path(*thing).into(), body: Some(body(place, fields)) },
            Call::Report(lsid) => about_report(routes::SESSION_RECORD, place, &[("lsid", lsid)]),
            Call::Recorded(lsid, lease) => about_report(routes::SESSION_RECORDED, place, &[("lsid", lsid), ("lease", lease)]),
            Call::GivenUp(lease) => about_report(routes::SESSION_RECORD_GIVEN_UP, place, &[("lease", lease)]),
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

fn get(path: &str, place: &Place, locale: Option<&str>) -> Request {
    let mut path = join(&[path, "?"]);
    percent::append_pair(&mut path, "connection", &place.connection);
    percent::append_pair(&mut path, "ticket", &place.ticket);
    if let Some(locale) = locale {
        percent::append_pair(&mut path, "locale", locale);
    }
    Request { path, body: None }
}

fn about_report(path: &str, place: &Place, members: &[(&str, &str)]) -> Request {
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
        match (field, value.parse::<u16>()) {
            (Field::Port, Ok(port)) => out.push_str(&decimal(port.into())),
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
            '"' | '\\' => out.extend(['\\', character]),
            '\0'..='\x1f' => {
                let code = character as u32;
                out.push_str(if code < 16 { "\\u000" } else { "\\u001" });
                out.extend(char::from_digit(code % 16, 16));
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
        let about = Some(r#"{"connection":"Zendesk production","ticket":"88121","lsid":"0a1b"}"#);
        check(&Call::Report("0a1b".into()), "/api/v1/sessions/record", about);
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
