//! Who gets a link to a recording, and what a link opens: with an engine that answers as it is told.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use deskbridge_core::clock::Clock;
use deskbridge_core::finding::Finding;
use deskbridge_core::ids::{ConnectionId, EngineAccount, TenantId};
use deskbridge_core::session_report::SessionReport;
use deskbridge_core::settings::{EventPolicy, Settings};
use deskbridge_help_desks::AgentReference;
use deskbridge_remote_support::{
    EngineAbilities, EngineFault, Error, EventSource, Jump, Launch, LaunchError, RecordingBody, RemoteSupport,
};
use deskbridge_reports::ReportTemplates;
use deskbridge_security::chat_token::ChatInvitation;
use deskbridge_security::recording_token::RecordingPass;
use deskbridge_security::seal::MasterKey;
use deskbridge_security::signed_token::{self, TokenError};
use deskbridge_store::KnownSession;
use uuid::Uuid;

use crate::connections::{Builder, Connection, Connections, sections};
use crate::recording::{RecordingFault, link, open, ticket_address};
use crate::{Services, SupportError, ValueFault};

const LSID: &str = "3b5f0a5f6f0c4d2e9a8b7c6d5e4f3a2b";
const OTHER: &str = "ffffffffffffffffffffffffffffffff";
const NOW: i64 = 1_800_000_000;

const OSTICKET: &str = "[[connection]]\nname = \"a\"\n[connection.osticket]\nurl = \"https://hilfe.example.com\"";
const ZENDESK: &str = "[[connection]]\nname = \"b\"\n[connection.zendesk]\nurl = \"https://example.zendesk.com\"\nusername = \"api@example.com\"\n\
                       token = \"zendesk-secret\"\napp_id = 1001\ninstallation_id = 2002";

/// What the engine answers, and what it was asked.
struct Scripted {
    account: EngineAccount,
    policy: EventPolicy,
    report: Option<SessionReport>,
    owner: Option<ConnectionId>,
    has_recordings: bool,
    recording: Result<bool, EngineFault>,
    asked: Mutex<Vec<String>>,
}

impl Default for Scripted {
    fn default() -> Self {
        Self {
            account: EngineAccount { host: "mesh.example.com".to_owned(), account: "~t:1".to_owned() },
            policy: EventPolicy::default(),
            report: None,
            owner: None,
            has_recordings: true,
            recording: Ok(true),
            asked: Mutex::default(),
        }
    }
}

#[async_trait]
impl RemoteSupport for Scripted {
    fn name(&self) -> &'static str {
        "scripted"
    }

    fn title(&self) -> &'static str {
        "the scripted engine"
    }

    fn account(&self) -> &EngineAccount {
        &self.account
    }

    fn abilities(&self) -> EngineAbilities {
        EngineAbilities {
            jump_methods: &[],
            session_keys: false,
            machines: true,
            recordings: self.has_recordings,
            chats: false,
            surveys: false,
            can_be_swept: false,
        }
    }

    fn policy(&self) -> &EventPolicy {
        &self.policy
    }

    fn event_source(&self) -> EventSource<'_> {
        EventSource::Sweep
    }

    fn report_page_host(&self) -> Option<&str> {
        None
    }

    async fn launch(&self, _jump: &Jump<'_>) -> Result<Launch, LaunchError> {
        Err(Error::new(EngineFault::Impossible, "none").into())
    }

    async fn session(&self, lsid: &str) -> Result<Option<Arc<SessionReport>>, Error> {
        self.asked.lock().unwrap().push(format!("session {lsid}"));
        Ok(self.report.clone().map(Arc::new))
    }

    async fn sessions_ended_since(&self, _since: i64, _seconds: u32) -> Result<Vec<SessionReport>, Error> {
        Ok(vec![])
    }

    async fn ids_of_sessions_ended_since(&self, _since: i64, _seconds: u32) -> Result<Vec<String>, Error> {
        Ok(vec![])
    }

    async fn sessions_started_since(&self, _since: i64) -> Result<Vec<SessionReport>, Error> {
        Ok(vec![])
    }

    async fn recording(&self, lsid: &str, range: Option<&str>) -> Result<Option<RecordingBody>, Error> {
        self.asked.lock().unwrap().push(format!("recording {lsid} {range:?}"));
        let is_there = self.recording.clone().map_err(|fault| Error::new(fault, "away"))?;
        Ok(is_there.then(|| RecordingBody {
            status: 206,
            content_length: Some(1),
            content_range: None,
            file_name: "a.mcrec".to_owned(),
            stream: Box::pin(futures_util::stream::empty()),
        }))
    }

    async fn clock(&self) -> Result<Option<i64>, Error> {
        Ok(None)
    }

    fn connection_in(&self, _report: &SessionReport) -> Option<ConnectionId> {
        self.owner
    }

    async fn check(&self, _now: i64) -> Vec<Finding> {
        vec![]
    }
}

/// A server with one connection.
struct Scene {
    services: Services,
    now: Arc<AtomicI64>,
    connection: Arc<Connection>,
    engine: Arc<Scripted>,
}

fn id(number: u128) -> ConnectionId {
    ConnectionId::from(Uuid::from_u128(number))
}

async fn scene(settings: &str, engine: Scripted) -> Scene {
    let (master_key, now) = (MasterKey::ephemeral(), Arc::new(AtomicI64::new(NOW * 1_000)));
    let services = Services {
        clock: Clock::Manual(now.clone()),
        store: deskbridge_store::open("sqlite::memory:").await.unwrap(),
        connections: Connections::new(master_key.clone()),
        reports: Arc::new(ReportTemplates::new(None).unwrap()),
        master_key: master_key.clone(),
        public_url: "https://remote.example.com".to_owned(),
        wake: Arc::default(),
    };
    let settings = Settings::parse(sections(), "test.toml", settings, std::iter::empty()).unwrap().connection.remove(0);
    let mut connection = Builder::new(&master_key).build(id(1), TenantId::main(), settings).unwrap();
    let engine = Arc::new(engine);
    connection.engine = Some(engine.clone());
    let connection = Arc::new(connection);
    services.connections.set(vec![connection.clone()]);
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
            ended_at: Some(NOW * 1_000),
            recorded_at: None,
        };
        self.services.store.save_session(&session, NOW * 1_000).await.unwrap();
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

fn report(ticket: &str) -> Option<SessionReport> {
    let (lsid, external_key) = (LSID.to_owned(), Some(ticket.to_owned()));
    Some(SessionReport { lsid, external_key, recording: true, ..SessionReport::default() })
}

#[tokio::test]
async fn only_who_may_work_on_the_sessions_ticket_gets_a_link() {
    let known = scene(OSTICKET, Scripted::default()).await;
    known.know("88121", true).await;
    let url = known.link(&LSID.to_uppercase()).await.unwrap();
    let address = format!("https://remote.example.com/recordings/{}/{LSID}?token=", id(1));
    assert!(url.starts_with(&address), "{url}");
    assert!(known.asked().is_empty(), "what is known is not asked for");
    let stranger = AgentReference::User("7".to_owned());
    let refused = link(&known.services, &known.connection, &stranger, "88121", LSID).await;
    assert!(matches!(refused, Err(SupportError::HelpDesk(_))), "the help desk does not let them work on it");
    assert_eq!(known.fault("../3b5f0a5f6f0c4d2e9a8b7c6d5e4f3a").await, Some(ValueFault::Unknown));
    known.know("5", true).await;
    assert_eq!(known.fault(LSID).await, Some(ValueFault::SessionOfAnotherTicket));
}

/// Retention may have removed what was known of the session; a recording comes some seconds after the end.
#[tokio::test]
async fn what_is_not_known_of_a_session_is_read_from_its_report() {
    let unknown = |report| Scripted { report, ..Scripted::default() };
    let of_this_ticket = scene(OSTICKET, unknown(report("88121"))).await;
    assert_eq!(of_this_ticket.fault(LSID).await, None);
    assert_eq!(of_this_ticket.asked(), [format!("session {LSID}")]);
    let of_another = scene(OSTICKET, unknown(report("5"))).await;
    assert_eq!(of_another.fault(LSID).await, Some(ValueFault::SessionOfAnotherTicket));
    let of_none = scene(OSTICKET, unknown(report(" "))).await;
    assert_eq!(of_none.fault(LSID).await, Some(ValueFault::SessionOfAnotherTicket));
    let of_another_connection = scene(OSTICKET, Scripted { owner: Some(id(2)), ..unknown(report("88121")) }).await;
    assert_eq!(of_another_connection.fault(LSID).await, Some(ValueFault::SessionOfAnotherTicket));

    let recorded_since = scene(OSTICKET, unknown(report("88121"))).await;
    recorded_since.know("88121", false).await;
    assert_eq!(recorded_since.fault(LSID).await, None);
    let without = scene(OSTICKET, unknown(report("88121").map(|report| SessionReport { recording: false, ..report }))).await;
    without.know("88121", false).await;
    assert_eq!(without.fault(LSID).await, Some(ValueFault::SessionNotRecorded));
    let unable = scene(OSTICKET, Scripted { has_recordings: false, ..unknown(report("88121")) }).await;
    assert_eq!(unable.fault(LSID).await, Some(ValueFault::SessionNotRecorded));
    let lagging = scene(OSTICKET, unknown(None)).await;
    assert!(matches!(lagging.link(LSID).await, Err(SupportError::NotReady)));
}

#[tokio::test]
async fn a_link_opens_its_own_recording_for_five_minutes() {
    let scene = scene(OSTICKET, Scripted::default()).await;
    scene.know("88121", true).await;
    let url = scene.link(LSID).await.unwrap();
    let (_, token) = url.split_once("?token=").unwrap();
    let own = id(1).to_string();
    for lsid in [LSID, LSID.to_uppercase().as_str()] {
        assert_eq!(scene.opened(&own, lsid, token).await, "a.mcrec");
        assert_eq!(scene.asked(), [format!("recording {LSID} Some(\"bytes=0-0\")")]);
    }
    let chat = ChatInvitation { connection: own.clone(), ticket: "88121".into(), issue: None, expires_at: NOW + 100 };
    let forged = RecordingPass { connection: own.clone(), lsid: LSID.to_owned(), expires_at: NOW + 100 };
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
    for (engine, expected) in [
        (Scripted { recording: Ok(false), ..Scripted::default() }, "Gone"),
        (Scripted { has_recordings: false, ..Scripted::default() }, "Gone"),
        (Scripted { recording: Err(EngineFault::Unreachable), ..Scripted::default() }, "Later"),
    ] {
        let scene = scene(OSTICKET, engine).await;
        scene.know("88121", true).await;
        let url = scene.link(LSID).await.unwrap();
        let (_, token) = url.split_once("?token=").unwrap();
        assert_eq!(scene.opened(&id(1).to_string(), LSID, token).await, expected);
        scene.services.connections.set(vec![]);
        assert_eq!(scene.opened(&id(1).to_string(), LSID, token).await, "Gone", "its connection is not running any more");
    }
}

#[tokio::test]
async fn the_page_of_a_recording_leads_to_its_ticket_where_the_help_desk_has_an_address() {
    let zendesk = scene(ZENDESK, Scripted::default()).await;
    zendesk.know("88121", true).await;
    let address = async |scene: &Scene, connection: &str, lsid: &str| ticket_address(&scene.services, connection, lsid).await;
    let own = id(1).to_string();
    assert_eq!(address(&zendesk, &own, LSID).await.as_deref(), Some("https://example.zendesk.com/agent/tickets/88121"));
    for (connection, lsid) in [(own.as_str(), OTHER), (id(2).to_string().as_str(), LSID), ("", LSID), (own.as_str(), "")] {
        assert_eq!(address(&zendesk, connection, lsid).await, None);
    }
    let without = scene(OSTICKET, Scripted::default()).await;
    without.know("88121", true).await;
    assert_eq!(address(&without, &own, LSID).await, None);
}
