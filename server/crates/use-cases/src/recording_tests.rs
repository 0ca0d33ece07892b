//! Who gets a link to a recording, and what a link opens: with an engine that answers as it is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use deskbridge_core::clock::Clock;
use deskbridge_core::ids::{ConnectionId, TenantId};
use deskbridge_core::session_report::SessionReport;
use deskbridge_core::settings::Settings;
use deskbridge_help_desks::AgentReference;
use deskbridge_remote_support::{EngineFault, Error};
use deskbridge_security::chat_token::ChatInvitation;
use deskbridge_security::recording_token::RecordingPass;
use deskbridge_security::seal::MasterKey;
use deskbridge_security::signed_token::{self, TokenError};
use deskbridge_store::KnownSession;
use uuid::Uuid;

use crate::connections::{Builder, Connection, sections};
use crate::recording::{RecordingFault, link, open, ticket_address};
use crate::testing::{Engine, HelpDesk, NOW, services};
use crate::{Services, SupportError, ValueFault, live_sessions, ticket_access};

const LSID: &str = "3b5f0a5f6f0c4d2e9a8b7c6d5e4f3a2b";
const OTHER: &str = "ffffffffffffffffffffffffffffffff";

const OSTICKET: &str = "[[connection]]\nname = \"a\"\n[connection.osticket]\nurl = \"https://hilfe.example.com\"";
const ZENDESK: &str = "[[connection]]\nname = \"b\"\n[connection.zendesk]\nurl = \"https://example.zendesk.com\"\nusername = \"api@example.com\"\n\
                       token = \"zendesk-secret\"\napp_id = 1001\ninstallation_id = 2002";

/// A server with one connection.
struct Scene {
    services: Arc<Services>,
    now: Arc<AtomicI64>,
    connection: Arc<Connection>,
    engine: Arc<Engine>,
}

fn id(number: u128) -> ConnectionId {
    ConnectionId::from(Uuid::from_u128(number))
}

/// With this report of the session, if there is one.
async fn scene(settings: &str, report: Option<SessionReport>) -> Scene {
    scene_with(settings, report, None).await
}

async fn scene_with(settings: &str, report: Option<SessionReport>, help_desk: Option<Arc<HelpDesk>>) -> Scene {
    let now = Arc::new(AtomicI64::new(NOW));
    let store = deskbridge_store::open("sqlite::memory:").await.unwrap();
    let services = services(&store, &Clock::Manual(now.clone()));
    let settings = Settings::parse(sections(), "test.toml", settings, std::iter::empty()).unwrap().connection.remove(0);
    let mut connection = Builder::new(&services.master_key).build(id(1), TenantId::main(), settings).unwrap();
    let engine = Engine::new("mesh.example.com/~t:1");
    *engine.recordings.lock().unwrap() = Some(true);
    engine.reports.lock().unwrap().extend(report.map(|report| (LSID.to_owned(), report)));
    connection.engine = Some(engine.clone());
    if let Some(help_desk) = help_desk {
        connection.help_desk = help_desk;
    }
    let connection = Arc::new(connection);
    services.connections.set(std::slice::from_ref(&connection), &[]);
    Scene { services, now, connection, engine }
}

impl Scene {
    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.engine.asked.lock().unwrap())
    }

    async fn know(&self, ticket: &str, recording: bool) {
        let session = KnownSession {
            tenant: TenantId::main(),
            connection: id(1),
            lsid: LSID.to_owned(),
            ticket: ticket.to_owned(),
            representative: None,
            customer: None,
            machine: None,
            kind: None,
            recording,
            active: false,
            started_at: None,
            ended_at: Some(NOW),
            recorded_at: None,
        };
        self.services.store.save_session(&session, NOW).await.unwrap();
    }

    async fn link(&self, lsid: &str) -> Result<String, SupportError> {
        let agent = AgentReference::Device { id: Uuid::from_u128(7), name: "Jane D.".to_owned(), email: None };
        link(&self.services, &self.connection, &agent, "88121", lsid).await
    }

    async fn fault(&self, lsid: &str) -> Option<ValueFault> {
        match self.link(lsid).await {
            Err(SupportError::Invalid { field, fault, .. }) if field == "lsid" => Some(fault),
            Err(other) => panic!("{other}"),
            Ok(_) => None,
        }
    }

    async fn opened(&self, connection: &str, lsid: &str, token: &str) -> String {
        match open(&self.services, connection, lsid, token, Some("bytes=0-0")).await {
            Ok(body) => body.file_name,
            Err(fault) => format!("{fault:?}"),
        }
    }
}

fn report(ticket: &str) -> SessionReport {
    let (lsid, external_key) = (LSID.to_owned(), Some(ticket.to_owned()));
    SessionReport { lsid, external_key, recording: true, ..SessionReport::default() }
}

#[tokio::test]
async fn only_who_may_work_on_the_sessions_ticket_gets_a_link() {
    let known = scene(OSTICKET, None).await;
    known.know("88121", true).await;
    let url = known.link(&LSID.to_uppercase()).await.unwrap();
    let address = format!("https://deskbridge.example/recordings/{}/{LSID}?token=", id(1));
    assert!(url.starts_with(&address), "{url}");
    assert!(known.asked().is_empty(), "what is known is not asked for");
    let stranger = AgentReference::User("7".to_owned());
    let refused = link(&known.services, &known.connection, &stranger, "88121", LSID).await;
    assert!(matches!(refused, Err(SupportError::HelpDesk(_))), "the help desk does not let them work on it");
    assert_eq!(known.fault("../3b5f0a5f6f0c4d2e9a8b7c6d5e4f3a").await, Some(ValueFault::Unknown));
    known.know("5", true).await;
    assert_eq!(known.fault(LSID).await, Some(ValueFault::SessionOfAnotherTicket));
}

/// The merged ticket's number leads to the other one: there is no other place where its recordings can be opened.
#[tokio::test]
async fn a_ticket_has_the_sessions_and_recordings_of_those_merged_into_it() {
    let help_desk = HelpDesk::new();
    *help_desk.merged.lock().unwrap() = vec![("5", "88121"), ("6", "88121")];
    let known = scene_with(OSTICKET, None, Some(help_desk.clone())).await;
    known.know("5", true).await;
    assert_eq!(known.fault(LSID).await, None);
    for number in ["88121", "5", "6"] {
        let agent = AgentReference::User("7".to_owned());
        let access = ticket_access::check(&known.connection, &agent, number).await.unwrap();
        let sessions = live_sessions::of_ticket(&known.services, &known.connection, &access.ticket).await.unwrap();
        assert_eq!(sessions.len(), 1, "{number}");
    }
    known.know("7", true).await;
    assert_eq!(known.fault(LSID).await, Some(ValueFault::SessionOfAnotherTicket));
    // Not known any more: by what its report says.
    let reported = scene_with(OSTICKET, Some(report("6")), Some(help_desk)).await;
    assert_eq!(reported.fault(LSID).await, None);
}

/// Retention may have removed what was known of the session; a recording comes some seconds after the end.
#[tokio::test]
async fn what_is_not_known_of_a_session_is_read_from_its_report() {
    let of_this_ticket = scene(OSTICKET, Some(report("88121"))).await;
    assert_eq!(of_this_ticket.fault(LSID).await, None);
    assert_eq!(of_this_ticket.asked(), [format!("session {LSID}")]);
    let of_another = scene(OSTICKET, Some(report("5"))).await;
    assert_eq!(of_another.fault(LSID).await, Some(ValueFault::SessionOfAnotherTicket));
    let of_none = scene(OSTICKET, Some(report(" "))).await;
    assert_eq!(of_none.fault(LSID).await, Some(ValueFault::SessionOfAnotherTicket));
    let of_another_connection = scene(OSTICKET, Some(report("88121"))).await;
    *of_another_connection.engine.named.lock().unwrap() = Some(id(2));
    assert_eq!(of_another_connection.fault(LSID).await, Some(ValueFault::SessionOfAnotherTicket));

    let recorded_since = scene(OSTICKET, Some(report("88121"))).await;
    recorded_since.know("88121", false).await;
    assert_eq!(recorded_since.fault(LSID).await, None);
    let without = scene(OSTICKET, Some(SessionReport { recording: false, ..report("88121") })).await;
    without.know("88121", false).await;
    assert_eq!(without.fault(LSID).await, Some(ValueFault::SessionNotRecorded));
    let unable = scene(OSTICKET, Some(report("88121"))).await;
    *unable.engine.recordings.lock().unwrap() = None;
    assert_eq!(unable.fault(LSID).await, Some(ValueFault::SessionNotRecorded));
    let lagging = scene(OSTICKET, None).await;
    assert!(matches!(lagging.link(LSID).await, Err(SupportError::NotReady)));
}

#[tokio::test]
async fn a_link_opens_its_own_recording_for_five_minutes() {
    let scene = scene(OSTICKET, None).await;
    scene.know("88121", true).await;
    let url = scene.link(LSID).await.unwrap();
    let (_, token) = url.split_once("?token=").unwrap();
    let own = id(1).to_string();
    for lsid in [LSID, LSID.to_uppercase().as_str()] {
        assert_eq!(scene.opened(&own, lsid, token).await, "a.mcrec");
        assert_eq!(scene.asked(), [format!("recording {LSID} Some(\"bytes=0-0\")")]);
    }
    let chat = ChatInvitation { connection: own.clone(), ticket: "88121".into(), issue: None, expires_at: NOW / 1_000 + 100 };
    let forged = RecordingPass { connection: own.clone(), lsid: LSID.to_owned(), expires_at: NOW / 1_000 + 100 };
    for (connection, lsid, token) in [
        (own.as_str(), OTHER, token),
        (own.as_str(), "", token),
        (id(2).to_string().as_str(), LSID, token),
        ("", LSID, token),
        (own.as_str(), LSID, ""),
        (own.as_str(), LSID, &token[1..]),
        (own.as_str(), LSID, &signed_token::issue(&scene.services.master_key, &chat)),
        (own.as_str(), LSID, &signed_token::issue(&MasterKey::ephemeral(), &forged)),
    ] {
        assert_eq!(scene.opened(connection, lsid, token).await, format!("{:?}", RecordingFault::Token(TokenError::Invalid)), "{lsid}");
    }
    scene.now.fetch_add(5 * 60_000 - 1, Ordering::SeqCst);
    assert_eq!(scene.opened(&own, LSID, token).await, "a.mcrec");
    scene.asked();
    scene.now.fetch_add(1, Ordering::SeqCst);
    assert_eq!(scene.opened(&own, LSID, token).await, format!("{:?}", RecordingFault::Token(TokenError::Expired)));
    assert!(scene.asked().is_empty(), "the engine is not asked for those who may not");
}

#[tokio::test]
async fn a_recording_that_is_not_there_is_told_from_one_that_cannot_be_read_now() {
    let away = Error::new(EngineFault::Unreachable, "away");
    for (recordings, fails, expected) in [(Some(false), None, "Gone"), (Some(true), Some(away), "Later")] {
        let scene = scene(OSTICKET, None).await;
        scene.know("88121", true).await;
        let url = scene.link(LSID).await.unwrap();
        let (_, token) = url.split_once("?token=").unwrap();
        (*scene.engine.recordings.lock().unwrap(), *scene.engine.fails.lock().unwrap()) = (recordings, fails);
        assert_eq!(scene.opened(&id(1).to_string(), LSID, token).await, expected);
        scene.services.connections.set(&[], &[]);
        assert_eq!(scene.opened(&id(1).to_string(), LSID, token).await, "Gone", "its connection is not running any more");
    }
}

#[tokio::test]
async fn the_page_of_a_recording_leads_to_its_ticket_where_the_help_desk_has_an_address() {
    let zendesk = scene(ZENDESK, None).await;
    zendesk.know("88121", true).await;
    let address = async |scene: &Scene, connection: &str, lsid: &str| ticket_address(&scene.services, connection, lsid).await;
    let own = id(1).to_string();
    assert_eq!(address(&zendesk, &own, LSID).await.as_deref(), Some("https://example.zendesk.com/agent/tickets/88121"));
    for (connection, lsid) in [(own.as_str(), OTHER), (id(2).to_string().as_str(), LSID), ("", LSID), (own.as_str(), "")] {
        assert_eq!(address(&zendesk, connection, lsid).await, None);
    }
    let without = scene(OSTICKET, None).await;
    without.know("88121", true).await;
    assert_eq!(address(&without, &own, LSID).await, None);
}
