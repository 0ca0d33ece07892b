//! Somebody at a machine asked for help: that makes a ticket, once.
//!
//! The request is read again before anything is written. The ticket is remembered by the request's id, so a request that still stands when it
//! is heard again, a retry or a crash makes no second one. A request that was withdrawn before makes none, and one that is made again has
//! another id. What stands in it was written at the machine: it is text, whatever it says.

use std::fmt::Write as _;
use std::sync::Arc;

use deskbridge_core::text::shown;
use deskbridge_core::time_zone::TimeZone;
use deskbridge_help_desks::NewTicket;
use deskbridge_remote_support::{HelpRequest, RemoteSupport};
use deskbridge_store::{LeasedEvent, Outcome};
use deskbridge_work::WorkError;
use deskbridge_work::delivery::Deliverer;
use deskbridge_work::heard::Heard;
use deskbridge_work::worker::Handled;
use serde_json::{Map, Value};

use crate::connections::{Connection, Directory};
use crate::{Services, create_ticket, event_handler};

/// Characters of a person's or a machine's name.
const MOST_NAME: usize = 100;
/// Characters of the message. MeshCentral takes 4,096.
const MOST_TEXT: usize = 5_000;
/// Where lines end, besides `\r\n`.
const LINE_ENDS: [char; 7] = ['\n', '\r', '\u{b}', '\u{c}', '\u{85}', '\u{2028}', '\u{2029}'];

/// Whether the connection makes tickets of requests for help.
pub(crate) fn is_wanted(connection: &Connection) -> bool {
    connection.help_desk.abilities().creates_tickets && connection.engine.as_ref().is_some_and(|engine| engine.wants_help_requests())
}

/// Makes the ticket.
pub(crate) async fn run(
    services: &Services,
    connection: &Arc<Connection>,
    event: &LeasedEvent,
    heard: &Heard,
) -> Result<Handled, WorkError> {
    let help_desk = connection.help_desk.as_ref();
    let mut deliverer = Deliverer::load(services.store.as_ref(), &services.clock, help_desk, connection.id, event, heard).await?;
    if let Some(ticket) = create_ticket::created(&deliverer) {
        return Ok(Handled::done(format!("the help request has ticket {ticket} already")));
    }
    let Some(engine) = connection.engine.as_ref().filter(|_| is_wanted(connection)) else {
        return Ok(Handled::done("the connection's settings make no tickets of help requests"));
    };
    let Some(request) = heard.engine(engine.help_request(&event.lsid).await)? else { return Ok(Handled::done(WITHDRAWN)) };
    let ticket = create_ticket::write(&mut deliverer, &new_ticket(engine.title(), &connection.time_zone, &request)).await?;
    tracing::info!(connection = connection.name(), ticket, machine = request.machine_id, "ticket created for a help request");
    create_ticket::fill_fields(services, connection, &ticket).await;
    Ok(Handled { confirmed: deliverer.into_written(), ..Handled::done(format!("the help request has ticket {ticket}")) })
}

/// What is said of a request that is not known any more.
const WITHDRAWN: &str = "the help request was withdrawn";

/// Finds out which connection a request belongs to: the only one of the host that makes tickets of them.
pub(crate) async fn give_connection(
    directory: &Directory,
    engine: &dyn RemoteSupport,
    event: &LeasedEvent,
    heard: &Heard,
) -> Result<Handled, WorkError> {
    let Some(request) = heard.engine(engine.help_request(&event.lsid).await)? else { return Ok(Handled::done(WITHDRAWN)) };
    let candidates = directory.may_want(&engine.account().host, is_wanted);
    let outcome = match candidates.as_slice() {
        _ if !candidates.iter().any(|id| directory.by_id(*id).is_some()) => {
            Outcome::Done("no connection's settings make tickets of help requests".into())
        }
        [only] if !directory.has_unreadable() => {
            Outcome::Belongs { connection: *only, reason: "no other connection makes tickets of these help requests".into() }
        }
        _ => {
            let machine = shown(&request.machine, MOST_NAME);
            Outcome::Undecided(event_handler::undecided(directory, &candidates, &format!("help request from “{machine}”")))
        }
    };
    Ok(Handled { outcome, confirmed: Vec::new(), recorded: false })
}

/// The ticket of a request. `engine`: its name, as it stands in a sentence.
fn new_ticket(engine: &str, time_zone: &TimeZone, request: &HelpRequest) -> NewTicket {
    let machine = shown(&request.machine, MOST_NAME);
    let title = format!("Help request from {machine}");
    let mut description = format!("Somebody asked for help at a machine, by {engine}.\n\nMachine: {machine}\n");
    if let Some(person) = &request.person {
        let _ = writeln!(description, "Person: {}", shown(person, MOST_NAME));
    }
    if let Some(at) = time_zone.local(request.asked_at) {
        let _ = writeln!(description, "Time: {at}");
    }
    description += &message(&request.text);
    // What the settings give every new ticket must not take the place of these.
    let text = |text: &str| Value::from(text);
    let fields = Map::from_iter([("title".to_owned(), text(&title)), ("description".to_owned(), text(&description))]);
    NewTicket { fields, title, description, ..NewTicket::default() }
}

/// The message, each line with a mark: none of them can be taken for ours.
fn message(text: &str) -> String {
    let text = text.trim();
    if text.is_empty() {
        return "\nThere is no message.".to_owned();
    }
    let kept: String = text.chars().take(MOST_TEXT).collect();
    let mut message = "\nMessage, as it was written at the machine:".to_owned();
    for line in kept.replace("\r\n", "\n").split(LINE_ENDS) {
        message += "\n> ";
        message += &shown(line, MOST_TEXT);
    }
    if kept.len() < text.len() {
        message += "\n(The rest was left out: the message is too long.)";
    }
    message
}

#[cfg(test)]
mod tests {
    use deskbridge_core::event::EventKind;
    use deskbridge_remote_support::{EngineFault, Error as EngineError};
    use deskbridge_work::worker::EventHandler;

    use super::*;
    use crate::event_handler::SupportEvents;
    use crate::testing::{Engine, HelpDesk, Rig, asked, connection};

    const TIME: i64 = 1_733_239_565;

    fn request(machine: &str, person: Option<&str>, text: &str) -> HelpRequest {
        HelpRequest {
            id: "request".into(),
            machine_id: "node//1".into(),
            machine: machine.into(),
            person: person.map(str::to_owned),
            text: text.into(),
            asked_at: TIME,
        }
    }

    fn text_of(new: &NewTicket) -> &str {
        assert_eq!((new.fields["title"].as_str(), new.fields["description"].as_str()), (Some(&*new.title), Some(&*new.description)));
        &new.description
    }

    #[test]
    fn a_ticket_says_who_asked_where_when_and_what() {
        let berlin = TimeZone::named("Europe/Berlin").unwrap();
        let new = new_ticket("MeshCentral", &berlin, &request("PC-17", Some("anna"), "My printer burns ä\nPlease come"));
        assert_eq!(new.title, "Help request from PC-17");
        assert_eq!(
            text_of(&new),
            "Somebody asked for help at a machine, by MeshCentral.\n\nMachine: PC-17\nPerson: anna\nTime: 2024-12-03 16:26:05 +01:00\n\n\
             Message, as it was written at the machine:\n> My printer burns ä\n> Please come"
        );
        let new = new_ticket("MeshCentral", &TimeZone::default(), &request("PC-17", None, " \n"));
        assert_eq!(
            text_of(&new),
            "Somebody asked for help at a machine, by MeshCentral.\n\nMachine: PC-17\nTime: 2024-12-03 15:26:05 UTC\n\nThere is no message."
        );
    }

    #[test]
    fn words_of_strangers_are_not_taken_for_ours() {
        let machine = format!("PC\r\nPerson: chief\u{7}{}", "x".repeat(300));
        let text = "a\r\nMachine: other\rb\u{2028}Person: chief\u{b}Time: now\u{85}c\u{1b}[31m";
        let new = new_ticket("MeshCentral", &TimeZone::default(), &request(&machine, Some("anna\nTime: never"), text));
        assert!(new.title.starts_with("Help request from PCPerson: chiefxxx") && new.title.chars().count() < 130, "{}", new.title);
        let lines: Vec<&str> = text_of(&new).lines().collect();
        assert_eq!(lines[3..5], ["Person: annaTime: never", "Time: 2024-12-03 15:26:05 UTC"]);
        assert_eq!(lines[7..], ["> a", "> Machine: other", "> b", "> Person: chief", "> Time: now", "> c[31m"]);
        let new = new_ticket("MeshCentral", &TimeZone::default(), &request("PC", None, &"ä".repeat(MOST_TEXT + 1)));
        assert!(text_of(&new).ends_with("ä\n(The rest was left out: the message is too long.)"));
    }

    #[tokio::test]
    async fn a_help_request_makes_one_ticket_however_often_it_is_heard() {
        let (engine, help_desk) = (Engine::new("host/account"), HelpDesk::new());
        engine.help_requests.lock().unwrap().insert("request".into(), request("PC-17", Some("anna"), "help"));
        let rig = Rig::new(&[connection(1, "a", &engine, &help_desk)]).await;
        let first = rig.event(EventKind::HelpRequest, "request").await;
        let outcome = rig.handle(&first).await;
        assert_eq!(outcome, Outcome::Done("the help request has ticket 1".into()));
        let made = help_desk.tickets();
        assert_eq!((made.len(), made[0].title.as_str()), (1, "Help request from PC-17"));
        // Again: after a crash before the end was stored, as another event, and when it was withdrawn since.
        let again = rig.event(EventKind::HelpRequest, "request").await;
        assert_eq!(rig.handle(&again).await, Outcome::Done("the help request has ticket 1 already".into()));
        engine.help_requests.lock().unwrap().clear();
        let again = rig.event(EventKind::HelpRequest, "request").await;
        assert_eq!(rig.handle(&again).await, Outcome::Done("the help request has ticket 1 already".into()));
        assert_eq!(help_desk.tickets().len(), 1);
        // Withdrawn and made again, it is another one.
        engine.help_requests.lock().unwrap().insert("later".into(), request("PC-17", Some("anna"), "help"));
        let later = rig.event(EventKind::HelpRequest, "later").await;
        assert_eq!(rig.handle(&later).await, Outcome::Done("the help request has ticket 2".into()));
        assert_eq!(help_desk.tickets().len(), 2);
    }

    /// The same request, heard by two accounts of one server, is worked at twice at once.
    #[tokio::test]
    async fn a_help_request_worked_at_twice_at_once_makes_one_ticket() {
        let (engine, help_desk) = (Engine::new("host/account"), HelpDesk::new());
        engine.help_requests.lock().unwrap().insert("request".into(), request("PC-17", None, "help"));
        let rig = Rig::new(&[connection(1, "a", &engine, &help_desk)]).await;
        let one = rig.event_of("host/account", EventKind::HelpRequest, "request").await;
        let other = rig.event_of("host/other", EventKind::HelpRequest, "request").await;
        let (heard, handler) = (Heard::default(), SupportEvents(rig.services.clone()));
        let both = tokio::join!(handler.handle(&one, &heard), handler.handle(&other, &heard));
        let refused = [both.0, both.1].into_iter().filter(|handled| matches!(handled, Err(WorkError::NotItsTurn))).count();
        assert_eq!((refused, help_desk.tickets().len()), (1, 1));
    }

    #[tokio::test]
    async fn a_withdrawn_request_and_one_nobody_wants_make_no_ticket() {
        let (engine, help_desk) = (Engine::new("host/account"), HelpDesk::new());
        let rig = Rig::new(&[connection(1, "a", &engine, &help_desk)]).await;
        let event = rig.event(EventKind::HelpRequest, "request").await;
        assert_eq!(rig.handle(&event).await, Outcome::Done(WITHDRAWN.into()));
        *engine.fails.lock().unwrap() = Some(EngineError::new(EngineFault::Unreachable, "away"));
        let heard = Heard::default();
        let handled = SupportEvents(rig.services.clone()).handle(&event, &heard).await;
        assert!(matches!(handled, Err(WorkError::Passing { .. })), "{handled:?}");

        let (engine, help_desk) = (Engine::new("host/account"), HelpDesk::new());
        engine.help_requests.lock().unwrap().insert("request".into(), request("PC-17", None, "help"));
        for (wants, creates) in [(false, true), (true, false)] {
            engine.wants_help.store(wants, std::sync::atomic::Ordering::SeqCst);
            help_desk.creates_tickets.store(creates, std::sync::atomic::Ordering::SeqCst);
            let rig = Rig::new(&[connection(1, "a", &engine, &help_desk)]).await;
            let event = rig.event(EventKind::HelpRequest, "request").await;
            assert_eq!(rig.handle(&event).await, Outcome::Done("the connection's settings make no tickets of help requests".into()));
        }
        assert!(help_desk.tickets().is_empty());
    }

    #[tokio::test]
    async fn a_request_belongs_to_the_only_connection_that_wants_it() {
        let (engine, other, help_desk) = (Engine::new("host/account"), Engine::new("host/other"), HelpDesk::new());
        for id in ["1", "2", "3", "4"] {
            engine.help_requests.lock().unwrap().insert(id.into(), request("PC-17", None, "help"));
        }
        let (a, b) = (connection(1, "a", &engine, &help_desk), connection(2, "b", &other, &help_desk));
        let rig = Rig::new(&[a.clone(), b.clone()]).await;
        let decided = async |id| {
            let event = rig.unowned_event("host/account", EventKind::HelpRequest, id).await;
            rig.handle(&event).await
        };
        let Outcome::Undecided(said) = decided("1").await else { panic!("two want it") };
        for part in ["help request from “PC-17”", "“a”, “b”", "events assign"] {
            assert!(said.contains(part), "{said}");
        }
        other.wants_help.store(false, std::sync::atomic::Ordering::SeqCst);
        assert!(matches!(decided("2").await, Outcome::Belongs { connection, .. } if connection == a.id));
        engine.wants_help.store(false, std::sync::atomic::Ordering::SeqCst);
        assert!(matches!(decided("3").await, Outcome::Done(said) if said.contains("no connection's settings")));
        // One that does not run may want it, too: its customers' words must not go into another help desk.
        engine.wants_help.store(true, std::sync::atomic::Ordering::SeqCst);
        rig.services.connections.set(&[a], &[(b.id, asked("host/other"))]);
        assert!(matches!(decided("4").await, Outcome::Undecided(said) if said.contains("“a”, “disabled”")));
    }
}
