//! Incidents, with a scripted help desk.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use deskbridge_core::incident::Incident;
use deskbridge_store::Outcome;
use deskbridge_work::heard::Heard;
use deskbridge_work::worker::EventHandler;
use serde_json::{Value, json};
use uuid::Uuid;

use super::*;
use crate::event_handler::SupportEvents;
use crate::testing::{Engine, HelpDesk, NOW, Rig, connection};

fn incident(changes: Value) -> Incident {
    let mut posted =
        json!({ "source": "nav", "id": "42", "title": "Link down", "description": "core-1\nsince 8", "url": "https://nav.example/42" });
    if let (Some(members), Value::Object(changes)) = (posted.as_object_mut(), changes) {
        members.extend(changes);
    }
    Incident::read(posted).unwrap()
}

struct Desk {
    rig: Rig,
    system: Arc<HelpDesk>,
    connection: Arc<Connection>,
}

async fn desk(wanted: OnIncidentEnd) -> Desk {
    let (engine, help_desk) = (Engine::new("host/account"), HelpDesk::new());
    help_desk.takes_notes.store(true, Ordering::SeqCst);
    let mut connection = Arc::into_inner(connection(1, "a", &engine, &help_desk)).unwrap();
    connection.settings.on_incident_end = wanted;
    connection.engine = None;
    let connection = Arc::new(connection);
    let rig = Rig::new(std::slice::from_ref(&connection)).await;
    Desk { rig, system: help_desk, connection }
}

impl Desk {
    async fn post(&self, changes: Value) -> Received {
        receive(&self.rig.services, &self.connection, incident(changes)).await.unwrap()
    }

    /// Works at every event that is due; answers what became of each.
    async fn work(&self) -> Vec<String> {
        let (store, mut done) = (&self.rig.services.store, Vec::new());
        loop {
            let events = store.claim_events(&self.connection.id.to_string(), Uuid::from_u128(9), NOW, NOW + 15_000, 10).await.unwrap();
            if events.is_empty() {
                return done;
            }
            for event in events {
                match self.rig.handle(&event).await {
                    Outcome::Done(what) => done.push(what),
                    other => panic!("{other:?}"),
                }
            }
        }
    }
}

#[tokio::test]
async fn the_ticket_has_what_help_desks_need_of_an_incident() {
    let desk = desk(OnIncidentEnd::Note).await;
    let received = desk.post(json!({})).await;
    assert!(format!("deskbridge/{}", received.lsid).len() <= 50, "Autotask's field for it");
    assert_eq!(desk.work().await, ["the incident has ticket 1"]);
    let made = desk.system.tickets().remove(0);
    assert_eq!((made.title.as_str(), made.description.as_str()), ("Link down", "core-1\nsince 8"));
    assert_eq!((made.fields["title"].as_str(), made.fields["description"].as_str()), (Some("Link down"), Some("core-1\nsince 8")));
    assert_eq!((made.refers_to.as_slice(), made.document.is_some()), (["https://nav.example/42".to_owned()].as_slice(), true));
    assert_eq!(made.incident.as_deref(), Some(&incident(json!({}))));
    let Answer::Made { ticket, is_created } = wait(&desk.rig.services, &desk.connection, &received).await.unwrap() else { panic!("made") };
    assert_eq!((ticket.url.as_str(), is_created), ("https://tickets.example/1", true));
    // The same again costs nothing and makes nothing.
    let again = desk.post(json!({ "title": "Link still down" })).await;
    let answer = wait(&desk.rig.services, &desk.connection, &again).await.unwrap();
    assert_eq!(answer, Answer::Made { ticket, is_created: false });
    assert!(desk.work().await.is_empty());
}

#[tokio::test]
async fn an_ended_incident_closes_its_ticket_unless_it_is_open_again() {
    let desk = desk(OnIncidentEnd::Close).await;
    desk.post(json!({})).await;
    desk.work().await;
    desk.post(json!({ "open": false, "end_time": "2024-12-03T15:41:07Z" })).await;
    assert_eq!(desk.work().await, ["the note end-1 was written to ticket 1; ticket 1 is closed"]);
    assert_eq!(desk.system.closed(), ["1"]);
    let note = desk.system.notes("1").remove(0);
    assert!(note.starts_with("The incident has ended: 2024-12-03 15:41:07 UTC\n\nSource: nav, incident 42"), "{note}");
    desk.post(json!({})).await;
    desk.work().await;
    assert!(desk.system.notes("1")[1].starts_with("The incident is open again"), "{:?}", desk.system.notes("1"));

    // It ends and is open again before anybody looks.
    desk.post(json!({ "open": false })).await;
    desk.post(json!({})).await;
    desk.work().await;
    assert_eq!((desk.system.notes("1").len(), desk.system.closed().len()), (4, 1));
    assert_eq!(desk.system.tickets().len(), 1);
}

#[tokio::test]
async fn what_the_settings_do_not_want_is_not_told() {
    let desk = desk(OnIncidentEnd::Nothing).await;
    desk.post(json!({})).await;
    desk.post(json!({ "open": false })).await;
    desk.post(json!({})).await;
    assert_eq!(desk.work().await[0], "the incident has ticket 1");
    desk.post(json!({ "open": false })).await;
    assert_eq!(desk.work().await, ["ticket 1 knows all of it"]);
    assert!(desk.system.notes("1").is_empty() && desk.system.closed().is_empty());
    assert_eq!(unfulfilled(&desk.connection), None);
}

#[tokio::test]
async fn an_incident_that_ended_first_gets_no_ticket() {
    let desk = desk(OnIncidentEnd::Note).await;
    let received = desk.post(json!({})).await;
    desk.post(json!({ "open": false })).await;
    assert_eq!(desk.work().await, [settle::OVER, settle::OVER]);
    assert!(desk.system.tickets().is_empty());
    assert_eq!(wait(&desk.rig.services, &desk.connection, &received).await.unwrap(), Answer::NoTicket);
    let state = status(&desk.rig.services, desk.connection.id, received.status_id()).await.unwrap();
    assert_eq!(state, Some(Status::Dead(settle::OVER.into())));
    for unknown in ["", "0", &"0".repeat(DIGITS), &"x".repeat(DIGITS)] {
        assert_eq!(status(&desk.rig.services, desk.connection.id, unknown).await.unwrap(), None, "{unknown}");
    }
    desk.post(json!({})).await;
    assert_eq!(desk.work().await, ["the incident has ticket 1"], "open again, and nothing of before is told");
    assert!(desk.system.notes("1").is_empty());
}

#[tokio::test]
async fn a_ticket_system_that_takes_none_gets_none() {
    let desk = desk(OnIncidentEnd::Note).await;
    desk.system.takes_incidents.store(false, Ordering::SeqCst);
    let refused = receive(&desk.rig.services, &desk.connection, incident(json!({}))).await;
    assert!(matches!(refused, Err(NotTaken::NoTickets)));
}

/// Two workers, such as after a lease that was lost.
#[tokio::test]
async fn an_event_that_is_worked_at_twice_makes_one_ticket() {
    let desk = desk(OnIncidentEnd::Note).await;
    desk.post(json!({})).await;
    let store = &desk.rig.services.store;
    let event = store.claim_events(&desk.connection.id.to_string(), Uuid::from_u128(9), NOW, NOW + 15_000, 1).await.unwrap().remove(0);
    let (heard, handler) = (Heard::default(), SupportEvents(desk.rig.services.clone()));
    let (one, other) = tokio::join!(handler.handle(&event, &heard), handler.handle(&event, &heard));
    assert!(one.is_ok() || other.is_ok());
    assert_eq!(desk.system.tickets().len(), 1);
    handler.handle(&event, &heard).await.unwrap();
    assert_eq!(desk.system.tickets().len(), 1);
}
