//! Somebody at a machine asked for help: that makes a ticket, once, or is added to the one that the machine asked for a while ago.
//!
//! The request is read again before anything is written. The ticket is remembered by the request's id, so a request that still stands when it
//! is heard again, a retry or a crash makes no second one. A request that was withdrawn before makes none, and one that is made again has
//! another id. Of the requests of a machine one at a time has the place of its current one, and makes a ticket; the others wait until that is
//! made, and are added to it. What stands in a request was written at the machine: it is text, whatever it says.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use deskbridge_core::text::shown;
use deskbridge_core::time_zone::TimeZone;
use deskbridge_documents::{Block, Document, Inline, NoteForm, write_within};
use deskbridge_help_desks::{Abilities, HelpDeskError, Item, NewNote, NewTicket};
use deskbridge_remote_support::{HelpRequest, RemoteSupport};
use deskbridge_store::{HelpTicket, LeasedEvent, NewHelpTicket, Outcome};
use deskbridge_work::WorkError;
use deskbridge_work::delivery::{Deliverer, Planned};
use deskbridge_work::heard::Heard;
use deskbridge_work::worker::Handled;
use serde_json::{Map, Value};

use crate::connections::{Connection, Directory};
use crate::{Services, create_ticket, event_handler, note};

/// Characters of a person's or a machine's name.
const MOST_NAME: usize = 100;
/// Characters of the message. MeshCentral takes 4,096.
const MOST_TEXT: usize = 5_000;
/// The delivery of a request that is added to a ticket.
const NOTE: &str = "help-note";
/// So often a place is tried for, or a ticket that turns out to be closed is left.
const MOST_TRIES: usize = 3;
/// A request waits for an earlier one of its machine: looked at often for so long, then now and then.
const IMPATIENT_MS: i64 = 60_000;
const PATIENT_LOOK: Duration = Duration::from_secs(30);
/// Where lines end, besides `\r\n`.
const LINE_ENDS: [char; 7] = ['\n', '\r', '\u{b}', '\u{c}', '\u{85}', '\u{2028}', '\u{2029}'];

/// Whether the connection makes tickets of requests for help.
pub(crate) fn is_wanted(connection: &Connection) -> bool {
    connection.help_desk.abilities().creates_tickets && connection.engine.as_ref().is_some_and(|engine| engine.wants_help_requests())
}

/// Makes the ticket, or adds the request to the one that its machine has.
pub(crate) async fn run(
    services: &Services,
    connection: &Arc<Connection>,
    event: &LeasedEvent,
    heard: &Heard,
) -> Result<Handled, WorkError> {
    let help_desk = connection.help_desk.as_ref();
    let mut deliverer = Deliverer::load(services.store.as_ref(), &services.clock, help_desk, connection.id, event, heard).await?;
    if let Some(ticket) = create_ticket::created(&deliverer) {
        // The process may have ended before that was noted.
        services.store.help_ticket_made(connection.id, &event.lsid, &ticket).await?;
        return Ok(Handled::done(format!("the help request has ticket {ticket} already")));
    }
    if deliverer.confirmed(NOTE).is_some() {
        return Ok(Handled::done("the help request was added to a ticket already"));
    }
    let Some(engine) = connection.engine.as_ref().filter(|_| is_wanted(connection)) else {
        return Ok(Handled::done("the connection's settings make no tickets of help requests"));
    };
    let Some(request) = heard.engine(engine.help_request(&event.lsid).await)? else { return Ok(Handled::done(WITHDRAWN)) };
    let form = form_for_agents(&help_desk.abilities());
    for _ in 0..MOST_TRIES {
        // Whatever was begun is brought to its end.
        let is_begun = form.is_some() && deliverer.is_sent(NOTE);
        let ticket =
            if is_begun { Some(String::new()) } else { ticket_of_machine(services, connection, &deliverer, event, &request).await? };
        let Some((ticket, form)) = ticket.zip(form) else { break };
        match add(connection, &mut deliverer, &request, &ticket, form).await {
            Err(WorkError::Closed { .. }) => {}
            other => {
                let ticket = other?;
                tracing::info!(
                    connection = connection.name(),
                    ticket,
                    machine = request.machine_id,
                    "a help request was added to its machine's ticket"
                );
                return Ok(Handled {
                    confirmed: deliverer.into_written(),
                    ..Handled::done(format!("the help request was added to ticket {ticket}"))
                });
            }
        }
    }
    let ticket = create_ticket::write(&mut deliverer, &new_ticket(engine.title(), &connection.time_zone, &request)).await?;
    services.store.help_ticket_made(connection.id, &event.lsid, &ticket).await?;
    tracing::info!(connection = connection.name(), ticket, machine = request.machine_id, "ticket created for a help request");
    create_ticket::fill_fields(services, connection, &ticket).await;
    Ok(Handled { confirmed: deliverer.into_written(), ..Handled::done(format!("the help request has ticket {ticket}")) })
}

/// How the help desk takes notes that the requester does not read. None: it takes none.
fn form_for_agents(abilities: &Abilities) -> Option<NoteForm> {
    abilities.note.filter(|_| abilities.takes_internal_notes || !abilities.notes_are_public)
}

/// The ticket that the request is to be added to: that of an earlier request of the same machine, which people still work on. None: the
/// request has the place of the machine's current one, and makes a ticket.
async fn ticket_of_machine(
    services: &Services,
    connection: &Connection,
    deliverer: &Deliverer<'_>,
    event: &LeasedEvent,
    request: &HelpRequest,
) -> Result<Option<String>, WorkError> {
    let help_desk = connection.help_desk.as_ref();
    let asked_at = request.asked_at.saturating_mul(1_000);
    let (connection_id, machine) = (connection.id, request.machine_id.as_str());
    let new = NewHelpTicket { tenant: &connection.tenant, connection: connection_id, request: &event.lsid, machine, asked_at };
    let takes_notes = form_for_agents(&help_desk.abilities()).is_some();
    let window = connection.engine.as_ref().map_or(Duration::ZERO, |engine| engine.help_request_window()).as_millis();
    let is_recent = |current: &HelpTicket| takes_notes && u128::from(current.asked_at.abs_diff(asked_at)) < window;
    let mut instead_of: Option<String> = None;
    for _ in 0..MOST_TRIES {
        let current = services.store.begin_help_ticket(&new, instead_of.as_deref()).await?;
        if current.request == event.lsid || deliverer.is_sent(create_ticket::TICKET) {
            return Ok(None);
        }
        match &current.ticket {
            Some(ticket) if is_recent(&current) => match help_desk.is_open(ticket).await {
                Err(HelpDeskError::NoTicket(_)) => {}
                answer => {
                    if deliverer.heard().help_desk(answer)? {
                        return Ok(current.ticket);
                    }
                }
            },
            None if is_recent(&current) && current.is_under_way => return Err(waits(services.clock.now_ms() - event.received_at)),
            _ => {}
        }
        instead_of = Some(current.request);
    }
    // Others were faster each time.
    Err(WorkError::NotItsTurn)
}

/// An earlier request of the machine has no ticket yet.
fn waits(waited_ms: i64) -> WorkError {
    if waited_ms < IMPATIENT_MS {
        return WorkError::NotItsTurn;
    }
    WorkError::Passing { what: "an earlier help request of this machine has no ticket yet".into(), retry_after: Some(PATIENT_LOOK) }
}

/// Adds the request to a ticket, once. The answer is the ticket.
async fn add(
    connection: &Connection,
    deliverer: &mut Deliverer<'_>,
    request: &HelpRequest,
    ticket: &str,
    form: NoteForm,
) -> Result<String, WorkError> {
    let engine = connection.engine.as_ref().map_or("the remote-support system", |engine| engine.title());
    let marker = note::marker(&deliverer.key(NOTE));
    let text = format!("Somebody asked for help at this machine again, by {engine}.{}", particulars(&connection.time_zone, request));
    let paragraph = |text: &str| {
        let lines = text.lines().map(|line| vec![Inline::text(line)]);
        Block::Paragraph(lines.collect::<Vec<_>>().join(&Inline::LineBreak))
    };
    let document = Document::new(text.split("\n\n").map(paragraph).collect());
    let written = write_within(&document, form, &marker);
    let body = written.ok_or_else(|| WorkError::Permanent("the help desk's notes are too short for a help request".into()))?.text;
    let title = format!("Another help request from {}", shown(&request.machine, MOST_NAME));
    let note = NewNote { title: &title, body: &body, attachments: &[], gives_up_files: false, is_public: false };
    Ok(deliverer.once(&Planned { kind: NOTE, ticket, marker: &marker, item: Item::Note(&note) }).await?.ticket)
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
    let description = format!("Somebody asked for help at a machine, by {engine}.{}", particulars(time_zone, request));
    // What the settings give every new ticket must not take the place of these.
    let text = |text: &str| Value::from(text);
    let fields = Map::from_iter([("title".to_owned(), text(&title)), ("description".to_owned(), text(&description))]);
    NewTicket { fields, title, description, ..NewTicket::default() }
}

/// Who asked where and when, and what they wrote.
fn particulars(time_zone: &TimeZone, request: &HelpRequest) -> String {
    let mut text = format!("\n\nMachine: {}\n", shown(&request.machine, MOST_NAME));
    if let Some(person) = &request.person {
        let _ = writeln!(text, "Person: {}", shown(person, MOST_NAME));
    }
    if let Some(at) = time_zone.local(request.asked_at) {
        let _ = writeln!(text, "Time: {at}");
    }
    text + &message(&request.text)
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
        // Withdrawn and made again, it is another one, and this help desk takes no notes.
        engine.help_requests.lock().unwrap().insert("later".into(), request("PC-17", Some("anna"), "help"));
        let later = rig.event(EventKind::HelpRequest, "later").await;
        assert_eq!(rig.handle(&later).await, Outcome::Done("the help request has ticket 2".into()));
        assert_eq!(help_desk.tickets().len(), 2);
    }

    /// A machine asks at these minutes; what becomes of each request is answered.
    struct Machines {
        engine: Arc<Engine>,
        help_desk: Arc<HelpDesk>,
        rig: Rig,
    }

    impl Machines {
        async fn new() -> Self {
            let (engine, help_desk) = (Engine::new("host/account"), HelpDesk::new());
            help_desk.takes_notes.store(true, std::sync::atomic::Ordering::SeqCst);
            let rig = Rig::new(&[connection(1, "a", &engine, &help_desk)]).await;
            Self { engine, help_desk, rig }
        }

        fn asks(&self, id: &str, machine: &str, minute: i64) {
            let request =
                HelpRequest { machine_id: format!("node//{machine}"), asked_at: TIME + 60 * minute, ..request(machine, Some("anna"), id) };
            self.engine.help_requests.lock().unwrap().insert(id.into(), request);
        }

        async fn event(&self, id: &str, machine: &str, minute: i64) -> LeasedEvent {
            self.asks(id, machine, minute);
            self.rig.event(EventKind::HelpRequest, id).await
        }

        async fn done(&self, id: &str, machine: &str, minute: i64) -> String {
            let event = self.event(id, machine, minute).await;
            let Outcome::Done(done) = self.rig.handle(&event).await else { panic!("not done") };
            done
        }

        async fn tried(&self, event: &LeasedEvent) -> Result<Handled, WorkError> {
            SupportEvents(self.rig.services.clone()).handle(event, &Heard::default()).await
        }
    }

    #[tokio::test]
    async fn further_requests_of_a_machine_are_added_to_its_ticket() {
        let at = Machines::new().await;
        assert_eq!(at.done("first", "PC-17", 0).await, "the help request has ticket 1");
        assert_eq!(at.done("second", "PC-17", 1).await, "the help request was added to ticket 1");
        assert_eq!(at.done("of another machine", "PC-18", 1).await, "the help request has ticket 2");
        assert_eq!(at.done("third", "PC-17", 29).await, "the help request was added to ticket 1");
        let notes = at.help_desk.notes("1");
        assert_eq!(notes.len(), 2);
        for part in [
            "Somebody asked for help at this machine again, by the scripted engine.",
            "Machine: PC-17\nPerson: anna\nTime: 2024-12-03 15:27:05 UTC",
            "Message, as it was written at the machine:\n> second",
            "deskbridge/second/help-note/0",
        ] {
            assert!(notes[0].contains(part), "{part} is not in\n{}", notes[0]);
        }
        // Whoever hears the event again adds nothing.
        let again = at.rig.event(EventKind::HelpRequest, "second").await;
        assert_eq!(at.rig.handle(&again).await, Outcome::Done("the help request was added to a ticket already".into()));
        // The ticket's age counts, and not that of what was added.
        assert_eq!(at.done("fourth", "PC-17", 30).await, "the help request has ticket 3");
        assert_eq!(at.done("fifth", "PC-17", 31).await, "the help request was added to ticket 3");
        assert_eq!((at.help_desk.tickets().len(), at.help_desk.notes("1").len(), at.help_desk.notes("3").len()), (3, 2, 1));
    }

    #[tokio::test]
    async fn each_request_makes_a_ticket_where_the_settings_say_so_or_agents_would_not_be_alone() {
        let at = Machines::new().await;
        at.engine.help_minutes.store(0, std::sync::atomic::Ordering::SeqCst);
        assert_eq!(at.done("1", "PC-17", 0).await, "the help request has ticket 1");
        assert_eq!(at.done("2", "PC-17", 0).await, "the help request has ticket 2");
        let mut abilities = deskbridge_help_desks::HelpDesk::abilities(at.help_desk.as_ref());
        for (notes_are_public, takes_internal_notes, expected) in [(false, false, true), (true, true, true), (true, false, false)] {
            (abilities.notes_are_public, abilities.takes_internal_notes) = (notes_are_public, takes_internal_notes);
            assert_eq!(form_for_agents(&abilities).is_some(), expected, "{notes_are_public} {takes_internal_notes}");
        }
    }

    #[tokio::test]
    async fn a_ticket_that_is_closed_or_gone_is_followed_by_another() {
        let at = Machines::new().await;
        at.done("1", "PC-17", 0).await;
        deskbridge_help_desks::HelpDesk::close(at.help_desk.as_ref(), "1").await.unwrap();
        assert_eq!(at.done("2", "PC-17", 1).await, "the help request has ticket 2");
        assert_eq!(at.done("3", "PC-17", 2).await, "the help request was added to ticket 2");
        at.help_desk.gone.lock().unwrap().push("2".into());
        assert_eq!(at.done("4", "PC-17", 3).await, "the help request has ticket 3");
    }

    #[tokio::test]
    async fn of_two_requests_at_once_one_waits_for_the_others_ticket() {
        let at = Machines::new().await;
        let (one, other) = (at.event("1", "PC-17", 0).await, at.event("2", "PC-17", 0).await);
        let both = tokio::join!(at.tried(&one), at.tried(&other));
        let refused = [&both.0, &both.1].into_iter().filter(|tried| matches!(tried, Err(WorkError::NotItsTurn))).count();
        assert_eq!((refused + at.help_desk.notes("1").len(), at.help_desk.tickets().len()), (1, 1), "{both:?}");
        // What was refused is tried again.
        for event in [&one, &other] {
            at.tried(event).await.unwrap();
        }
        assert_eq!((at.help_desk.notes("1").len(), at.help_desk.tickets().len()), (1, 1));
    }

    /// Whatever becomes of the ticket meanwhile, a write of which nobody knows is looked for, and nothing stands twice.
    #[tokio::test]
    async fn a_write_without_an_answer_stands_once() {
        let at = Machines::new().await;
        let one = at.event("1", "PC-17", 0).await;
        at.help_desk.answers_nothing.store(true, std::sync::atomic::Ordering::SeqCst);
        assert!(at.tried(&one).await.is_err());
        // The ticket stands, though nobody knows; the next request waits until that is found out.
        let two = at.event("2", "PC-17", 1).await;
        assert!(matches!(at.tried(&two).await, Err(WorkError::NotItsTurn)));
        assert_eq!(at.rig.handle(&one).await, Outcome::Done("the help request has ticket 1".into()));
        at.help_desk.answers_nothing.store(true, std::sync::atomic::Ordering::SeqCst);
        assert!(at.tried(&two).await.is_err());
        deskbridge_help_desks::HelpDesk::close(at.help_desk.as_ref(), "1").await.unwrap();
        assert_eq!(at.rig.handle(&two).await, Outcome::Done("the help request was added to ticket 1".into()));
        assert_eq!((at.help_desk.notes("1").len(), at.help_desk.tickets().len()), (1, 1));
    }

    #[tokio::test]
    async fn a_request_that_never_got_a_ticket_holds_up_no_other() {
        let at = Machines::new().await;
        let one = at.event("1", "PC-17", 0).await;
        // It got the place, and then it was withdrawn.
        let new = NewHelpTicket {
            tenant: &deskbridge_core::ids::TenantId::main(),
            connection: at.rig.services.connections.current().running()[0].id,
            request: "1",
            machine: "node//PC-17",
            asked_at: TIME * 1_000,
        };
        at.rig.services.store.begin_help_ticket(&new, None).await.unwrap();
        let two = at.event("2", "PC-17", 1).await;
        assert!(matches!(at.tried(&two).await, Err(WorkError::NotItsTurn)));
        let waits_long = LeasedEvent { received_at: two.received_at - IMPATIENT_MS, ..two.clone() };
        assert!(matches!(at.tried(&waits_long).await, Err(WorkError::Passing { retry_after: Some(_), .. })));
        at.engine.help_requests.lock().unwrap().remove("1");
        assert_eq!(at.rig.handle(&one).await, Outcome::Done(WITHDRAWN.into()));
        assert_eq!(at.rig.handle(&two).await, Outcome::Done("the help request has ticket 1".into()));
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
