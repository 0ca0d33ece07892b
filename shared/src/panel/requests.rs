//! What the panel asks of the server (docs/panel-api.md), as text. Pure: sending is the [`Backend`](super::Backend)'s.

use super::texts::decimal;
use crate::api::JumpRequest;
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
    /// A new session key.
    SessionKey,
    /// A Jump.
    Jump(Box<JumpRequest>),
    /// A chat link for an issue.
    ChatLink {
        /// The issue's code name.
        issue: String,
    },
    /// The ticket's sessions.
    Sessions,
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
    /// The question about that ticket. `locale` is the agent's language, for the texts.
    pub fn new(call: &Call, place: &Place, locale: &str) -> Self {
        match call {
            Call::Load => get(routes::PANEL, place, Some(locale)),
            Call::Sessions => get(routes::SESSIONS, place, None),
            Call::SessionKey => post(routes::SESSION_KEY, Body::about(place)),
            Call::Jump(request) => post(routes::JUMP, jump(Body::about(place), request)),
            Call::ChatLink { issue } => post(
                routes::SESSION_CHAT_LINK,
                Body::about(place).text("issue", Some(issue)),
            ),
        }
    }
}

fn get(path: &str, place: &Place, locale: Option<&str>) -> Request {
    let mut path = [path, "?"].concat();
    percent::append_pair(&mut path, "connection", &place.connection);
    percent::append_pair(&mut path, "ticket", &place.ticket);
    if let Some(locale) = locale {
        percent::append_pair(&mut path, "locale", locale);
    }
    Request { path, body: None }
}

fn post(path: &str, body: Body) -> Request {
    Request {
        path: path.into(),
        body: Some(body.end()),
    }
}

fn jump(body: Body, request: &JumpRequest) -> Body {
    let port = request.port.map(|port| decimal(port.into()));
    body.text("method", Some(request.method.name()))
        .text("target", Some(&request.target))
        .text("jumpoint", request.jumpoint.as_deref())
        .text("username", request.username.as_deref())
        .bare("port", port.as_deref())
        .text("protocol", request.protocol.as_deref())
        .text("terminal", request.terminal.as_deref())
        .text("quality", request.quality.as_deref())
        .text("display_size", request.display_size.as_deref())
        .bare(
            "console",
            request
                .console
                .map(|console| if console { "true" } else { "false" }),
        )
}

/// A flat JSON object being written; what is not given is left out.
struct Body(String);

impl Body {
    fn about(place: &Place) -> Self {
        Self("{".into())
            .text("connection", Some(&place.connection))
            .text("ticket", Some(&place.ticket))
    }

    fn text(mut self, name: &str, value: Option<&str>) -> Self {
        if let Some(value) = value {
            self.name(name);
            push_json_text(&mut self.0, value);
        }
        self
    }

    /// A number or a truth value, already as JSON has it.
    fn bare(mut self, name: &str, value: Option<&str>) -> Self {
        if let Some(value) = value {
            self.name(name);
            self.0.push_str(value);
        }
        self
    }

    fn name(&mut self, name: &str) {
        if self.0.len() > 1 {
            self.0.push(',');
        }
        push_json_text(&mut self.0, name);
        self.0.push(':');
    }

    fn end(mut self) -> String {
        self.0.push('}');
        self.0
    }
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
    use crate::api::JumpMethod;
    use proptest::prelude::*;

    fn place() -> Place {
        Place {
            connection: "Zendesk production".into(),
            ticket: "88121".into(),
        }
    }

    fn check(call: &Call, path: &str, body: Option<&str>) {
        assert_eq!(
            Request::new(call, &place(), "de-AT"),
            Request {
                path: path.into(),
                body: body.map(Into::into)
            }
        );
    }

    #[test]
    fn calls_are_the_contracts() {
        check(
            &Call::Load,
            "/api/v1/panel?connection=Zendesk%20production&ticket=88121&locale=de-AT",
            None,
        );
        check(
            &Call::Sessions,
            "/api/v1/sessions?connection=Zendesk%20production&ticket=88121",
            None,
        );
        check(
            &Call::SessionKey,
            "/api/v1/sessions/key",
            Some(r#"{"connection":"Zendesk production","ticket":"88121"}"#),
        );
        check(
            &Call::ChatLink {
                issue: "general_tech".into(),
            },
            "/api/v1/sessions/chat-link",
            Some(r#"{"connection":"Zendesk production","ticket":"88121","issue":"general_tech"}"#),
        );
        let request = JumpRequest {
            port: Some(22),
            protocol: Some("ssh".into()),
            ..JumpRequest::new(JumpMethod::ShellJump, "core-sw-1")
        };
        check(
            &Call::Jump(Box::new(request)),
            "/api/v1/sessions/jump",
            Some(
                r#"{"connection":"Zendesk production","ticket":"88121","method":"shell_jump","target":"core-sw-1","port":22,"protocol":"ssh"}"#,
            ),
        );
    }

    proptest! {
        #[test]
        fn a_body_reads_back(ticket in any::<String>(), target in any::<String>(), console in any::<bool>()) {
            let place = Place { ticket: ticket.clone(), ..place() };
            let request = JumpRequest { console: Some(console), ..JumpRequest::new(JumpMethod::Rdp, target.clone()) };
            let body = Request::new(&Call::Jump(Box::new(request)), &place, "en").body.expect("a POST");
            let read: serde_json::Value = serde_json::from_str(&body)?;
            let expected = serde_json::json!({
                "connection": "Zendesk production", "ticket": ticket, "method": "rdp", "target": target, "console": console,
            });
            prop_assert_eq!(read, expected);
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
