//! Systems that do what a test says, and connections that use them.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use deskbridge_core::clock::{Clock, new_id, random_bytes};
use deskbridge_core::event::{EventKind, Origin};
use deskbridge_core::finding::Finding;
use deskbridge_core::ids::{ConnectionId, EngineAccount, TenantId};
use deskbridge_core::session_report::SessionReport;
use deskbridge_core::settings::EventPolicy;
use deskbridge_core::time_zone::TimeZone;
use deskbridge_documents::{Format, Guards, Limit, Measure, NoteForm};
use deskbridge_help_desks::{
    Abilities, Agent, AgentReference, Files, HelpDeskError, Item, NewTicket, Prepared, PreparedWrite, Surroundings, Ticket, TicketAddress,
    TimeEntry, Write, WriteOutcome,
};
use deskbridge_remote_support::{
    Batch, EngineAbilities, Error, EventSource, HelpRequest, Jump, Launch, LaunchError, LinkId, Listener, Machine, RecordingBody,
    RemoteSupport, SignedIn, TakeBatch,
};
use deskbridge_reports::ReportTemplates;
use deskbridge_security::seal::MasterKey;
use deskbridge_shared::api::JumpMethod;
use deskbridge_store::{LeasedEvent, NewEvent, Outcome, Store};
use deskbridge_work::heard::Heard;
use deskbridge_work::worker::EventHandler;
use moka::future::Cache;
use tokio::sync::{Notify, mpsc, oneshot};
use uuid::Uuid;

use crate::Services;
use crate::connections::{Connection, Connections};
use crate::event_handler::SupportEvents;

/// The time at which tests begin, Unix ms.
pub(crate) const NOW: i64 = 1_733_240_467_000;

/// An account in its stored form.
pub(crate) fn asked(account: &str) -> EngineAccount {
    let (host, account) = account.split_once('/').unwrap();
    EngineAccount { host: host.into(), account: account.into() }
}

/// What a scripted connection of a listener does next.
enum Next {
    /// Hands over a batch; whether it was taken is answered.
    Batch(Batch, oneshot::Sender<bool>),
    /// Ends so.
    Ends(Result<(), Error>),
}

/// A remote-support system that pushes what a test says.
pub(crate) struct Engine {
    account: EngineAccount,
    policy: EventPolicy,
    pub(crate) wants_help: AtomicBool,
    /// Minutes for which further requests of a machine are added to its ticket.
    pub(crate) help_minutes: AtomicU64,
    pub(crate) help_requests: Mutex<HashMap<String, HelpRequest>>,
    /// Of each session.
    pub(crate) reports: Mutex<HashMap<String, SessionReport>>,
    /// The connection that every report names.
    pub(crate) named: Mutex<Option<ConnectionId>>,
    /// Whether every session has a recording. None: it keeps none.
    pub(crate) recordings: Mutex<Option<bool>>,
    /// What it was asked for reports and recordings.
    pub(crate) asked: Mutex<Vec<String>>,
    /// Its machines. None: it does not list them.
    pub(crate) machines: Mutex<Option<Vec<Machine>>>,
    /// What each link that it makes is called. None: another name each time.
    pub(crate) link_name: Mutex<Option<String>>,
    /// The agent's name as it stands in the links that it makes. None: whole.
    pub(crate) link_agent: Mutex<Option<String>>,
    /// Links that it was told to end.
    pub(crate) ended_links: Mutex<Vec<LinkId>>,
    /// What every question is answered with.
    pub(crate) fails: Mutex<Option<Error>>,
    /// What it tells whoever signs in.
    pub(crate) signed_in: Mutex<SignedIn>,
    /// From when on each connection was asked to read.
    pub(crate) listened: Mutex<Vec<Option<i64>>>,
    /// How the next connections end at once.
    pub(crate) ends_at_once: Mutex<VecDeque<Error>>,
    /// Sessions that are over.
    pub(crate) ended_sessions: Mutex<Vec<SessionReport>>,
    next: mpsc::UnboundedSender<Next>,
    script: tokio::sync::Mutex<mpsc::UnboundedReceiver<Next>>,
}

impl Engine {
    pub(crate) fn new(account: &str) -> Arc<Self> {
        let (next, script) = mpsc::unbounded_channel();
        Arc::new(Self {
            account: asked(account),
            policy: EventPolicy::default(),
            wants_help: AtomicBool::new(true),
            help_minutes: AtomicU64::new(30),
            help_requests: Mutex::default(),
            reports: Mutex::default(),
            named: Mutex::default(),
            recordings: Mutex::default(),
            asked: Mutex::default(),
            machines: Mutex::default(),
            link_name: Mutex::default(),
            link_agent: Mutex::default(),
            ended_links: Mutex::default(),
            fails: Mutex::default(),
            signed_in: Mutex::default(),
            listened: Mutex::default(),
            ends_at_once: Mutex::default(),
            ended_sessions: Mutex::default(),
            next,
            script: tokio::sync::Mutex::new(script),
        })
    }

    /// Hands over a batch. The answer tells whether it was taken; it never comes where nobody listens any more.
    pub(crate) fn push(&self, batch: Batch) -> oneshot::Receiver<bool> {
        let (answer, taken) = oneshot::channel();
        self.next.send(Next::Batch(batch, answer)).unwrap();
        taken
    }

    /// Ends the connection.
    pub(crate) fn end(&self, how: Result<(), Error>) {
        self.next.send(Next::Ends(how)).unwrap();
    }

    /// How often somebody began to listen.
    pub(crate) fn connections(&self) -> usize {
        self.listened.lock().unwrap().len()
    }

    fn answer<T>(&self, answer: T) -> Result<T, Error> {
        self.fails.lock().unwrap().clone().map_or(Ok(answer), Err)
    }
}

#[async_trait]
impl Listener for Engine {
    async fn sign_in(&self) -> Result<SignedIn, Error> {
        Ok(self.signed_in.lock().unwrap().clone())
    }

    async fn listen(&self, since: Option<i64>, take: &dyn TakeBatch) -> Result<(), Error> {
        self.listened.lock().unwrap().push(since);
        if let Some(error) = self.ends_at_once.lock().unwrap().pop_front() {
            return Err(error);
        }
        let mut script = self.script.lock().await;
        while let Some(next) = script.recv().await {
            match next {
                Next::Batch(batch, answer) => {
                    let taken = take.take(batch).await;
                    let _ = answer.send(taken);
                    if !taken {
                        return Ok(());
                    }
                }
                Next::Ends(how) => return how,
            }
        }
        Ok(())
    }
}

#[async_trait]
impl RemoteSupport for Engine {
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
            jump_methods: &[JumpMethod::Desktop],
            session_keys: false,
            machines: self.machines.lock().unwrap().is_some(),
            recordings: self.recordings.lock().unwrap().is_some(),
            chats: false,
            surveys: false,
            can_be_swept: true,
        }
    }

    fn policy(&self) -> &EventPolicy {
        &self.policy
    }

    fn event_source(&self) -> EventSource<'_> {
        EventSource::Listener(self)
    }

    fn report_page_host(&self) -> Option<&str> {
        None
    }

    async fn launch(&self, jump: &Jump<'_>) -> Result<Launch, LaunchError> {
        let id = self.link_name.lock().unwrap().clone().unwrap_or_else(|| Uuid::new_v4().to_string());
        let machine = jump.request.target.clone();
        let machine_name = machine.rsplit('/').next().unwrap_or_default().to_owned();
        let link = LinkId { machine, machine_name, id };
        self.answer(Launch {
            url: format!("https://mesh.example.com/{}", link.id),
            expires_at: Some(NOW / 1_000 + 3_600),
            link: Some(link),
            agent: self.link_agent.lock().unwrap().clone(),
        })
        .map_err(LaunchError::Engine)
    }

    async fn end_link(&self, link: &LinkId) -> Result<(), Error> {
        self.answer(())?;
        self.ended_links.lock().unwrap().push(link.clone());
        Ok(())
    }

    async fn machines(&self) -> Result<Arc<Vec<Machine>>, Error> {
        self.answer(Arc::new(self.machines.lock().unwrap().clone().unwrap_or_default()))
    }

    async fn session(&self, lsid: &str) -> Result<Option<Arc<SessionReport>>, Error> {
        self.asked.lock().unwrap().push(format!("session {lsid}"));
        self.answer(self.reports.lock().unwrap().get(lsid).cloned().map(Arc::new))
    }

    async fn sessions_ended_since(&self, _since: i64, _seconds: u32) -> Result<Vec<SessionReport>, Error> {
        self.answer(self.ended_sessions.lock().unwrap().clone())
    }

    async fn ids_of_sessions_ended_since(&self, _since: i64, _seconds: u32) -> Result<Vec<String>, Error> {
        self.answer(Vec::new())
    }

    async fn sessions_started_since(&self, _since: i64) -> Result<Vec<SessionReport>, Error> {
        self.answer(Vec::new())
    }

    async fn recording(&self, lsid: &str, range: Option<&str>) -> Result<Option<RecordingBody>, Error> {
        self.asked.lock().unwrap().push(format!("recording {lsid} {range:?}"));
        let is_there = self.recordings.lock().unwrap().unwrap_or_default();
        self.answer(is_there.then(|| RecordingBody {
            status: 206,
            content_length: Some(0),
            content_range: None,
            file_name: "a.mcrec".to_owned(),
            stream: Box::pin(futures_util::stream::empty()),
        }))
    }

    async fn help_request(&self, id: &str) -> Result<Option<HelpRequest>, Error> {
        self.answer(self.help_requests.lock().unwrap().get(id).cloned())
    }

    fn wants_help_requests(&self) -> bool {
        self.wants_help.load(Ordering::SeqCst)
    }

    fn help_request_window(&self) -> Duration {
        Duration::from_secs(60 * self.help_minutes.load(Ordering::SeqCst))
    }

    async fn clock(&self) -> Result<Option<i64>, Error> {
        self.answer(Some(NOW / 1_000))
    }

    fn connection_in(&self, _report: &SessionReport) -> Option<ConnectionId> {
        *self.named.lock().unwrap()
    }

    async fn check(&self, _now: i64) -> Vec<Finding> {
        Vec::new()
    }
}

/// A help desk that creates tickets, and takes notes and closes tickets where a test says so.
pub(crate) struct HelpDesk {
    pub(crate) creates_tickets: AtomicBool,
    pub(crate) takes_incidents: AtomicBool,
    pub(crate) takes_notes: AtomicBool,
    pub(crate) records_time: AtomicBool,
    pub(crate) finds_time_entry_users: AtomicBool,
    /// Of every agent.
    pub(crate) email: Mutex<Option<String>>,
    /// Time entries it was given.
    pub(crate) time_entries: Mutex<Vec<TimeEntry>>,
    /// Tickets that were merged, each with the one that is shown in its place.
    pub(crate) merged: Mutex<Vec<(&'static str, &'static str)>>,
    /// Tickets that are gone.
    pub(crate) gone: Mutex<Vec<String>>,
    /// The next write is done, and nobody is told.
    pub(crate) answers_nothing: AtomicBool,
    tickets: Mutex<Vec<(String, NewTicket)>>,
    notes: Mutex<Vec<(String, String)>>,
    closed: Mutex<Vec<String>>,
}

impl HelpDesk {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            creates_tickets: AtomicBool::new(true),
            records_time: AtomicBool::default(),
            finds_time_entry_users: AtomicBool::default(),
            email: Mutex::default(),
            time_entries: Mutex::default(),
            merged: Mutex::default(),
            takes_incidents: AtomicBool::new(true),
            takes_notes: AtomicBool::default(),
            gone: Mutex::default(),
            answers_nothing: AtomicBool::default(),
            tickets: Mutex::default(),
            notes: Mutex::default(),
            closed: Mutex::default(),
        })
    }

    /// The notes on a ticket, in order.
    pub(crate) fn notes(&self, ticket: &str) -> Vec<String> {
        self.notes.lock().unwrap().iter().filter(|(on, _)| on == ticket).map(|(_, body)| body.clone()).collect()
    }

    /// Tickets that were closed, in order.
    pub(crate) fn closed(&self) -> Vec<String> {
        self.closed.lock().unwrap().clone()
    }

    /// The tickets it was given, in order; their ids count from 1.
    pub(crate) fn tickets(&self) -> Vec<NewTicket> {
        self.tickets.lock().unwrap().iter().map(|(_, ticket)| ticket.clone()).collect()
    }
}

enum Content {
    Ticket(NewTicket),
    Time(TimeEntry),
    Note { ticket: String, body: String },
}

struct Writing<'a> {
    help_desk: &'a HelpDesk,
    marker: String,
    content: Content,
}

#[async_trait]
impl<'a> PreparedWrite<'a> for Writing<'a> {
    async fn send(self: Box<Self>) -> WriteOutcome<'a> {
        let count = match self.content {
            Content::Ticket(new) => {
                let mut tickets = self.help_desk.tickets.lock().unwrap();
                tickets.push((self.marker, new));
                tickets.len()
            }
            Content::Time(entry) => {
                let mut entries = self.help_desk.time_entries.lock().unwrap();
                entries.push(entry);
                entries.len()
            }
            Content::Note { ticket, body } => {
                let mut notes = self.help_desk.notes.lock().unwrap();
                notes.push((ticket, body));
                notes.len()
            }
        };
        if self.help_desk.answers_nothing.swap(false, Ordering::SeqCst) {
            return WriteOutcome::Unknown { error: HelpDeskError::passing("no answer"), repeat_after: None };
        }
        WriteOutcome::Written(count.to_string())
    }
}

#[async_trait]
impl deskbridge_help_desks::HelpDesk for HelpDesk {
    fn name(&self) -> &'static str {
        "scripted"
    }

    fn abilities(&self) -> Abilities {
        Abilities {
            note: self
                .takes_notes
                .load(Ordering::SeqCst)
                .then_some(NoteForm { format: Format::Text(Guards::NONE), limit: Limit { measure: Measure::Bytes, most: 1_000 } }),
            page_note: None,
            files: Files::Never,
            notes_are_public: false,
            takes_internal_notes: false,
            settles_within: Duration::from_secs(20),
            guards_repeats: false,
            records_time: self.records_time.load(Ordering::SeqCst),
            creates_tickets: self.creates_tickets.load(Ordering::SeqCst),
            takes_incidents: self.takes_incidents.load(Ordering::SeqCst),
            closes_tickets: self.takes_notes.load(Ordering::SeqCst),
            follows_up: false,
        }
    }

    fn is_ticket_name(&self, text: &str) -> bool {
        text.bytes().all(|byte| byte.is_ascii_digit())
    }

    async fn ticket_for(&self, _agent: &AgentReference, name: &str) -> Result<(Ticket, Agent), HelpDeskError> {
        let pairs = self.merged.lock().unwrap();
        let id = pairs.iter().find(|(merged, _)| *merged == name).map_or(name, |(_, into)| into).to_owned();
        let merged = pairs.iter().filter(|(_, into)| *into == id).map(|(merged, _)| (*merged).to_owned()).collect();
        let agent = Agent { name: "Anna".to_owned(), email: self.email.lock().unwrap().clone(), locale: None, is_administrator: false };
        Ok((Ticket { id, closed: false, target: None, merged }, agent))
    }

    async fn prepare<'a>(&'a self, write: &Write<'_>) -> Result<Prepared<'a>, HelpDeskError> {
        let content = match write.item {
            Item::Ticket(new) => Content::Ticket(new.clone()),
            Item::Note(note) => Content::Note { ticket: write.ticket.to_owned(), body: note.body.to_owned() },
            Item::Time(entry) => Content::Time(entry.clone()),
            _ => unimplemented!(),
        };
        Ok(Box::new(Writing { help_desk: self, marker: write.marker.to_owned(), content }))
    }

    fn finds_time_entry_users(&self) -> bool {
        self.finds_time_entry_users.load(Ordering::SeqCst)
    }

    async fn find(&self, write: &Write<'_>) -> Result<Option<String>, HelpDeskError> {
        if let Item::Note(_) = write.item {
            let notes = self.notes.lock().unwrap();
            return Ok(notes.iter().position(|(_, body)| body.contains(write.marker)).map(|index| (index + 1).to_string()));
        }
        let tickets = self.tickets.lock().unwrap();
        Ok(tickets.iter().position(|(marker, _)| marker == write.marker).map(|index| (index + 1).to_string()))
    }

    async fn check(&self, _around: &Surroundings<'_>) -> Vec<Finding> {
        Vec::new()
    }

    async fn ticket_address(&self) -> Option<TicketAddress> {
        Some(TicketAddress { address: "https://tickets.example/{ticket}".into(), remark: None })
    }

    async fn is_open(&self, ticket: &str) -> Result<bool, HelpDeskError> {
        let is_in = |ids: &Mutex<Vec<String>>| ids.lock().unwrap().iter().any(|id| id == ticket);
        if is_in(&self.gone) { Err(HelpDeskError::NoTicket("gone".into())) } else { Ok(!is_in(&self.closed)) }
    }

    async fn close(&self, ticket: &str) -> Result<(), HelpDeskError> {
        self.closed.lock().unwrap().push(ticket.to_owned());
        Ok(())
    }
}

/// A connection of these two systems.
pub(crate) fn connection(id: u128, name: &str, engine: &Arc<Engine>, help_desk: &Arc<HelpDesk>) -> Arc<Connection> {
    Arc::new(Connection {
        id: ConnectionId::from(Uuid::from_u128(id)),
        tenant: TenantId::main(),
        settings: serde_json::from_value(serde_json::json!({ "name": name })).unwrap(),
        time_zone: TimeZone::default(),
        engine: Some(engine.clone()),
        help_desk: help_desk.clone(),
        access: LazyLock::new(|| Cache::new(1)),
        filled: LazyLock::new(|| Cache::new(1)),
    })
}

/// A server's services on this store and clock.
pub(crate) fn services(store: &Arc<dyn Store>, clock: &Clock) -> Arc<Services> {
    Arc::new(Services {
        clock: clock.clone(),
        store: store.clone(),
        incidents: crate::incidents::IncidentIntake::new(store.clone()),
        connections: Connections::new(MasterKey::ephemeral()),
        reports: Arc::new(ReportTemplates::new(None).unwrap()),
        master_key: MasterKey::ephemeral(),
        public_url: "https://deskbridge.example".into(),
        wake: Arc::new(Notify::new()),
    })
}

/// A server with connections, whose events a test works at by itself.
pub(crate) struct Rig {
    pub(crate) services: Arc<Services>,
}

impl Rig {
    pub(crate) async fn new(running: &[Arc<Connection>]) -> Self {
        let store = deskbridge_store::open("sqlite::memory:").await.unwrap();
        let services = services(&store, &Clock::Manual(Arc::new(AtomicI64::new(NOW))));
        services.connections.set(running, &[]);
        Self { services }
    }

    /// An event of the first connection, leased.
    pub(crate) async fn event(&self, kind: EventKind, lsid: &str) -> LeasedEvent {
        let account = self.services.connections.current().running()[0].engine.as_ref().unwrap().account().to_string();
        self.event_of(&account, kind, lsid).await
    }

    /// An event of that account and of the first connection, leased.
    pub(crate) async fn event_of(&self, account: &str, kind: EventKind, lsid: &str) -> LeasedEvent {
        let connection = self.services.connections.current().running()[0].id;
        self.leased(account, Some(connection), kind, lsid).await
    }

    /// An event of that account, leased, whose connection is not known.
    pub(crate) async fn unowned_event(&self, account: &str, kind: EventKind, lsid: &str) -> LeasedEvent {
        self.leased(account, None, kind, lsid).await
    }

    async fn leased(&self, account: &str, connection: Option<ConnectionId>, kind: EventKind, lsid: &str) -> LeasedEvent {
        let Services { store, clock, .. } = &*self.services;
        let now = clock.now_ms();
        let event = NewEvent {
            id: new_id(clock),
            tenant: TenantId::main(),
            account: account.to_owned(),
            received_by: None,
            connection,
            fingerprint: random_bytes(),
            kind,
            lsid: lsid.to_owned(),
            ticket: None,
            origin: Origin::Outbound,
            received_at: now,
        };
        store.add_events(std::slice::from_ref(&event)).await.unwrap();
        let slot = connection.map_or_else(|| account.to_owned(), |id| id.to_string());
        let leased = store.claim_events(&slot, Uuid::from_u128(9), now, now + 15_000, 10).await.unwrap();
        leased.into_iter().find(|leased| leased.id == event.id).expect("another event of the session is not ended")
    }

    /// What working at the event comes to. It is stored, as the worker does.
    pub(crate) async fn handle(&self, event: &LeasedEvent) -> Outcome {
        let handled = SupportEvents(self.services.clone()).handle(event, &Heard::default()).await.unwrap();
        let now = self.services.clock.now_ms();
        assert!(self.services.store.finish_event(event, &handled.outcome, &handled.confirmed, handled.recorded, now).await.unwrap());
        handled.outcome
    }
}
