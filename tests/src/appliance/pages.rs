//! Pages for people: the portal with its session key link, the customer's chat, and a small representative console.
//!
//! They exist for the demo. Apart from the `/?ak=` address none of them imitates a real page, and nothing may parse them.

use std::fmt::Write as _;

use axum::http::{Method, StatusCode};
use axum::response::Response;

use super::answer::{self, Refusal, escape_into};
use super::client_script::read_script;
use super::options::Representative;
use super::parameters::Parameters;
use super::script::Step;
use super::session::{Body, NewSession, Party, Session, SessionEvent, SurveyAnswer};
use super::state::State;

/// One message typed into a page.
const TEXT_LIMIT: usize = 4000;

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:44rem;margin:2rem auto;padding:0 1rem;\
color-scheme:light dark}form{margin:.5rem 0}input,textarea,button{font:inherit;padding:.3rem .6rem}\
article{border:1px solid #8888;border-radius:.5rem;padding:.5rem 1rem;margin:1rem 0}";

/// Answers a page or a form of one.
pub(super) fn answer(state: &mut State, method: &Method, path: &str, parameters: &Parameters, now: i64) -> Response {
    let answered = match (method.as_str(), path) {
        ("GET", "/") => portal(state, parameters, now),
        ("GET", "/chat") => chat(state, parameters),
        ("POST", "/chat") => customer_acts(state, parameters, now),
        ("GET", "/console") => Ok(console(state)),
        ("POST", "/console") => representative_acts(state, parameters, now),
        ("GET", "/session_download") => transcript(state, parameters),
        _ => Err(Refusal::new("This page knows only GET and POST.")),
    };
    answered.unwrap_or_else(|refusal| problem(&refusal))
}

/// The page that tells a person what is wrong.
pub(super) fn problem(refusal: &Refusal) -> Response {
    let body = format!("<p role=\"alert\">{}</p>", escaped(&refusal.0));
    answer::html(StatusCode::BAD_REQUEST, page("Not possible", &body))
}

/// The page of a chat that has just begun, or goes on.
pub(super) fn chat_page(session: &Session, state: &State) -> Response {
    let lsid = &session.lsid;
    let mut body = String::from("<p>Remote support session, customer's side.</p><ul>");
    body.push_str(&conversation(session, state));
    body.push_str("</ul>");
    if session.ended_at.is_none() {
        let _ = write!(body, "{}<p><a href=\"/chat?lsid={lsid}\">Show new messages</a></p>", form("/chat", lsid, "say", "Send", true));
    } else if session.customer_survey.is_none() {
        body.push_str("<p>The session has ended. How do you rate the support?</p>");
        body.push_str(&form("/chat", lsid, "survey", "Rate (1 to 5)", true));
    } else {
        body.push_str("<p>The session has ended. Thank you.</p>");
    }
    answer::html(StatusCode::OK, page("Chat", &body))
}

fn portal(state: &State, parameters: &Parameters, now: i64) -> Result<Response, Refusal> {
    parameters.allow_only(&["ak"], false)?;
    let body = match parameters.get("ak") {
        Some(key) => {
            let key = state.find_key(key, now)?;
            format!(
                "<p>A representative would like to start a support session with you.</p>\
                 <form method=\"post\" action=\"/api/start_session\">\
                 <input type=\"hidden\" name=\"short_key\" value=\"{}\">\
                 <input type=\"hidden\" name=\"c2cjs\" value=\"1\">\
                 <label>Your name <input name=\"customer.name\" maxlength=\"100\"></label> \
                 <button>Start chat</button></form>",
                escaped(&key.short_key)
            )
        }
        None => "<form method=\"post\" action=\"/api/start_session\">\
                 <input type=\"hidden\" name=\"c2cjs\" value=\"1\">\
                 <label>Session key <input name=\"short_key\" required></label> \
                 <button>Start chat</button></form>\
                 <p><a href=\"/console\">Representative console</a></p>"
            .to_owned(),
    };
    Ok(answer::html(StatusCode::OK, page("Remote support", &body)))
}

fn chat(state: &State, parameters: &Parameters) -> Result<Response, Refusal> {
    parameters.allow_only(&["lsid"], false)?;
    let session = state.sessions.get(parameters.required("lsid")?);
    let session = session.ok_or_else(no_session)?;
    Ok(chat_page(session, state))
}

fn customer_acts(state: &mut State, parameters: &Parameters, now: i64) -> Result<Response, Refusal> {
    parameters.allow_only(&["lsid", "do", "text"], false)?;
    parameters.at_most("text", TEXT_LIMIT)?;
    let lsid = parameters.required("lsid")?;
    let text = parameters.get("text").unwrap_or_default();
    let step = match parameters.required("do")? {
        "say" => Step::Happens(SessionEvent::chat(Party::CUSTOMER, text)),
        "survey" => Step::CustomerSurvey(vec![SurveyAnswer::rating(text)]),
        _ => return Err(Refusal::new("The customer cannot do this.")),
    };
    apply(state, lsid, step, now)?;
    let session = state.sessions.get(lsid).ok_or_else(no_session)?;
    Ok(chat_page(session, state))
}

fn console(state: &State) -> Response {
    let mut body = String::from(
        "<p>Stands for the representative console. Sessions, newest first:</p>\
         <p><a href=\"/console\">Show new messages</a></p>",
    );
    for session in state.sessions.all().iter().rev().take(20) {
        let lsid = &session.lsid;
        let customer = session.name_of(Party::CUSTOMER, &state.options);
        let _ = write!(
            body,
            "<article><h2>{} · {}</h2><ul>{}</ul>",
            escaped(&customer),
            escaped(&session.external_key),
            conversation(session, state)
        );
        if session.ended_at.is_none() {
            if session.representatives.is_empty() {
                body.push_str(&form("/console", lsid, "join", "Accept session", false));
            } else {
                body.push_str(&form("/console", lsid, "say", "Send", true));
                body.push_str(&form("/console", lsid, "note", "Add session note", true));
            }
            body.push_str(&form("/console", lsid, "end", "End session", false));
        } else if session.representative_survey.is_none() {
            body.push_str(&form("/console", lsid, "survey", "Result of the session", true));
        }
        body.push_str("</article>");
    }
    body.push_str(
        "<h2>Run a client script</h2><form method=\"post\" action=\"/console\">\
         <input type=\"hidden\" name=\"do\" value=\"script\">\
         <label>Content of the downloaded file<br><textarea name=\"text\" rows=\"4\" cols=\"60\"></textarea>\
         </label><br><button>Run</button></form>",
    );
    answer::html(StatusCode::OK, page("Representative console", &body))
}

fn representative_acts(state: &mut State, parameters: &Parameters, now: i64) -> Result<Response, Refusal> {
    parameters.allow_only(&["lsid", "do", "text"], false)?;
    parameters.at_most("text", TEXT_LIMIT)?;
    let text = parameters.get("text").unwrap_or_default();
    let step = match parameters.required("do")? {
        "script" => {
            state.run_script(text, now)?;
            return Ok(console(state));
        }
        "join" => Step::RepresentativeJoins(state.some_representative()?),
        "say" => Step::Happens(SessionEvent::chat(Party::REPRESENTATIVE, text)),
        "note" => Step::Happens(SessionEvent::session_note(text)),
        "end" => Step::Ends,
        "survey" => Step::RepresentativeSurvey(vec![SurveyAnswer::close_state(text)]),
        _ => return Err(Refusal::new("The representative cannot do this.")),
    };
    apply(state, parameters.required("lsid")?, step, now)?;
    Ok(console(state))
}

/// The target of `session_chat_download_url`: `lsid=l=<lsid>;h=<signature>;t=sd;m=chat` (beyondtrust.md D.3).
fn transcript(state: &State, parameters: &Parameters) -> Result<Response, Refusal> {
    parameters.allow_only(&["lsid", "dl_action", "view"], false)?;
    let mut parts = parameters.required("lsid")?.split(';');
    let lsid = parts.next().and_then(|part| part.strip_prefix("l="));
    let signature = parts.next().and_then(|part| part.strip_prefix("h="));
    let session = lsid.and_then(|lsid| state.sessions.get(lsid));
    let session = session.filter(|session| Some(session.signature.as_str()) == signature);
    let session = session.ok_or_else(no_session)?;
    let mut lines = String::new();
    for (who, text) in messages(session, state) {
        let _ = writeln!(lines, "{who}: {text}");
    }
    Ok(answer::text(StatusCode::OK, lines))
}

impl State {
    /// Runs a client script as a representative's console would: a session with the script's external key, the
    /// unattended device as customer, and the representative.
    pub(super) fn run_script(&mut self, script: &str, now: i64) -> Result<String, Refusal> {
        let refused = |error: anyhow::Error| Refusal::new(format!("{error:#}"));
        let commands = read_script(script).map_err(refused)?;
        let [command] = commands.as_slice() else {
            return Err(Refusal::new("The script does not have exactly one command."));
        };
        if command.action == "generate_session_key" {
            return Err(Refusal::new("This script opens the dialog for session keys."));
        }
        let representative = self.some_representative()?;
        let mut new = NewSession::default();
        new.set_attributes(&command.custom_fields());
        new.queue = super::session::Queue::Representative(representative.id);
        let target = ["search_string", "client.hostname", "hostname", "target"];
        let target = target.iter().find_map(|name| command.parameter(name));
        let target = target.unwrap_or("Unknown");
        let mut customer = super::session::Customer::named(target);
        customer.hostname = target.into();
        let lsid = self.begin(new, now);
        let joins = [Step::CustomerJoins(customer), Step::RepresentativeJoins(representative)];
        for step in joins {
            self.apply(&lsid, step, now).map_err(refused)?;
        }
        Ok(lsid)
    }

    fn some_representative(&self) -> Result<Representative, Refusal> {
        let mut users = self.options.representatives.iter();
        let user = users.find(|user| user.logged_in).cloned();
        user.ok_or_else(|| Refusal::new("No representative is logged in."))
    }
}

fn apply(state: &mut State, lsid: &str, step: Step, now: i64) -> Result<(), Refusal> {
    let applied = state.apply(lsid, step, now);
    applied.map_err(|error| Refusal::new(format!("{error:#}")))
}

fn messages(session: &Session, state: &State) -> Vec<(String, String)> {
    let mut messages = Vec::new();
    for stamped in &session.events {
        let event = &stamped.event;
        if let (Some(party), Some(Body::Text(text))) = (event.performed_by, &event.body) {
            let note = event.event_type == "Session Note Added";
            let who = session.name_of(party, &state.options);
            let who = if note { format!("{who} (note)") } else { who };
            messages.push((who, text.clone()));
        }
    }
    messages
}

fn conversation(session: &Session, state: &State) -> String {
    let mut items = String::new();
    for (who, text) in messages(session, state) {
        let _ = write!(items, "<li><b>{}</b>: {}</li>", escaped(&who), escaped(&text));
    }
    items
}

fn form(action: &str, lsid: &str, act: &str, label: &str, with_text: bool) -> String {
    let text = if with_text {
        format!("<input name=\"text\" maxlength=\"{TEXT_LIMIT}\" required aria-label=\"{label}\"> ")
    } else {
        String::new()
    };
    format!(
        "<form method=\"post\" action=\"{action}\"><input type=\"hidden\" name=\"lsid\" value=\"{lsid}\">\
         <input type=\"hidden\" name=\"do\" value=\"{act}\">{text}<button>{label}</button></form>"
    )
}

fn page(title: &str, body: &str) -> String {
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{title} (simulated appliance)</title>\
         <style>{STYLE}</style><h1>{title}</h1>{body}</html>"
    )
}

fn escaped(text: &str) -> String {
    let mut output = String::new();
    escape_into(&mut output, text);
    output
}

fn no_session() -> Refusal {
    Refusal::new("There is no such session.")
}
