//! The engine: what the use cases ask, in MeshCentral's words.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use deskbridge_core::finding::Finding;
use deskbridge_core::ids::{ConnectionId, EngineAccount};
use deskbridge_core::session_report::{SessionKind, SessionReport};
use deskbridge_core::settings::{ConnectionSettings, EventPolicy, Section, SectionKind};
use deskbridge_core::text::shown;
use deskbridge_shared::api::JumpMethod;
use futures_util::TryStreamExt;

use super::events::{End, Session};
use super::guest_name::{self, Bound, GuestName};
use super::section::MeshCentralSection;
use super::server::{Server, ServerSettings, lengths};
use super::{check, report};
use crate::{
    ArgumentFault, EngineAbilities, EngineFault, EngineKind, Error, EventSource, HelpRequest, Jump, Launch, LaunchError, LinkId, LinkKey,
    Machine, RecordingBody, RemoteSupport,
};

const METHODS: [JumpMethod; 3] = [JumpMethod::Desktop, JumpMethod::Terminal, JumpMethod::Files];
/// Links live at most this long, and with them their sessions.
const LONGEST_SESSION_MS: i64 = 25 * 3_600_000;
/// An agent that connected so long after a session's begin is not the one that had it.
const RECONNECTED_MS: i64 = 500;
/// So long an end may still be told after the session's machine lost its connection.
const UNTOLD_MS: i64 = 10 * 60_000;
/// Texts of people at machines.
const LONGEST_HELP: usize = 4_096;

/// Makes engines, and remembers which servers there are: connections of one account share its socket.
pub struct MeshCentralKind {
    link_key: LinkKey,
    servers: Mutex<HashMap<EngineAccount, Vec<Weak<Server>>>>,
}

impl MeshCentralKind {
    /// No server yet.
    pub fn new(link_key: LinkKey) -> Self {
        Self { link_key, servers: Mutex::default() }
    }

    fn server(&self, account: &EngineAccount, settings: ServerSettings) -> Result<Arc<Server>, Error> {
        let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        servers.retain(|_, users| users.iter().any(|server| server.strong_count() > 0));
        let users = servers.entry(account.clone()).or_default();
        if let Some(same) = users.iter().filter_map(Weak::upgrade).find(|server| server.has_settings(&settings)) {
            // A connection is built anew when its settings are saved, or were found to be good.
            same.forget_failures();
            return Ok(same);
        }
        let server = Server::new(settings)?;
        users.push(Arc::downgrade(&server));
        Ok(server)
    }

    pub(super) fn engine(&self, section: MeshCentralSection) -> Result<MeshCentral, String> {
        let url = section.address().map_err(|expected| format!("meshcentral.url: {expected}"))?;
        let password = section.password.resolve().map_err(|error| format!("meshcentral.password: {error}"))?;
        let read = |file: &std::path::PathBuf| {
            std::fs::read(file).map_err(|error| format!("meshcentral.ca_file: {} ({})", file.display(), error.kind()))
        };
        let certificates = section.ca_file.as_ref().map(read).transpose()?;
        let settings = ServerSettings { url, user: section.user.trim().to_owned(), password, certificates };
        let key = section.account();
        let server = self.server(&key, settings).map_err(|error| error.to_string())?;
        Ok(MeshCentral { policy: section.policy(), link_key: self.link_key.clone(), key, server, section })
    }
}

impl EngineKind for MeshCentralKind {
    fn section(&self) -> SectionKind {
        SectionKind::of::<MeshCentralSection>()
    }

    fn account(&self, settings: &ConnectionSettings) -> Option<EngineAccount> {
        settings.section::<MeshCentralSection>().map(|section| section.account())
    }

    fn build(&self, settings: &ConnectionSettings) -> Option<Result<Arc<dyn RemoteSupport>, String>> {
        settings.systems.get(MeshCentralSection::NAME)?;
        let Some(section) = settings.section::<MeshCentralSection>() else {
            return Some(Err("meshcentral: the stored settings are of another version; apply them again".into()));
        };
        Some(self.engine(section).map(|engine| Arc::new(engine) as Arc<dyn RemoteSupport>))
    }
}

/// A MeshCentral server by one account, as one connection uses it.
pub struct MeshCentral {
    key: EngineAccount,
    link_key: LinkKey,
    pub(super) server: Arc<Server>,
    pub(super) section: MeshCentralSection,
    policy: EventPolicy,
}

/// What a link of that method opens: MeshCentral's protocol bit, and the kind of its sessions.
fn of_method(method: JumpMethod) -> Option<(u32, SessionKind, u8)> {
    match method {
        JumpMethod::Terminal => Some((1, SessionKind::Terminal, 12)),
        JumpMethod::Desktop => Some((2, SessionKind::Desktop, 11)),
        JumpMethod::Files => Some((4, SessionKind::Files, 13)),
        _ => None,
    }
}

impl MeshCentral {
    /// One of a server that tests made.
    #[cfg(test)]
    pub(super) fn with_server(section: MeshCentralSection, server: Arc<Server>) -> Self {
        Self { key: section.account(), link_key: LinkKey::default(), server, policy: section.policy(), section }
    }

    /// What the session's guest name says, if this server wrote it into a link of ours.
    pub(super) fn name_of(&self, session: &Session) -> Option<GuestName> {
        if session.user_id != self.server.user_id() {
            return None;
        }
        let bound = Bound { machine: &session.node, kind: session.kind };
        guest_name::read(&self.link_key, session.guest_name.as_deref()?, bound)
    }

    /// The session with its end, where none will be told: its server or machine was gone since.
    pub(super) async fn with_end(&self, session: Session) -> Result<Session, Error> {
        if session.end.is_some() {
            return Ok(session);
        }
        let Some(at) = self.gone_at(&session).await? else { return Ok(session) };
        // The end may have been told just now.
        match self.server.session(&session.lsid).await? {
            Some(ended) if ended.end.is_some() => Ok(ended),
            _ => Ok(self.server.end(&session, End { at, seconds: (at - session.began_at) / 1_000, traffic: None, is_estimated: true })),
        }
    }

    /// When a session ended whose end nobody told, if it did. A session's data has connections of its own: it can go on while its machine's
    /// other connection breaks and comes back. So that alone shows something only after a while, or where our own connection broke, too:
    /// then MeshCentral itself was gone.
    async fn gone_at(&self, session: &Session) -> Result<Option<i64>, Error> {
        let node = self.server.node(&session.node).await?;
        let socket = self.server.socket().await?;
        let now = socket.server_now();
        if now - session.began_at > LONGEST_SESSION_MS {
            return Ok(Some(session.began_at + LONGEST_SESSION_MS));
        }
        let reconnected = node.and_then(|node| node.connected_at).filter(|at| *at > session.began_at + RECONNECTED_MS);
        let is_new_server = self.server.has_reconnected() && socket.greeting.server_time > session.began_at;
        if let Some(at) = reconnected.filter(|at| is_new_server || now - at > UNTOLD_MS) {
            return Ok(Some(at));
        }
        let lost_for = self.server.lost_for(&session.node).map(|lost| i64::try_from(lost.as_millis()).unwrap_or(i64::MAX));
        Ok(lost_for.filter(|lost| *lost > UNTOLD_MS).map(|lost| now - lost))
    }

    /// The report of a session. `is_whole`: with what has to be read for it, such as its recording.
    async fn report(&self, session: &Session, is_whole: bool) -> Result<SessionReport, Error> {
        let name = self.name_of(session);
        let node = self.server.node(&session.node).await?;
        let mut report = report::beginning(session, name.as_ref(), node.as_ref());
        let Some(end) = session.end.as_ref().filter(|_| is_whole && name.is_some()) else { return Ok(report) };
        let waited = self.server.socket().await?.server_now() - end.at;
        let patience = i64::from(self.section.recording_wait_seconds) * 1_000;
        if let Some(recording) = self.server.recording(session).await? {
            report::add_recording(&mut report, session, &self.server, &recording).await?;
        } else {
            report.is_incomplete = waited < patience && self.awaits_recording(session, end).await?;
        }
        if !report.is_incomplete {
            report::add_system_information(&mut report, session, &self.server, node.as_ref()).await?;
        }
        Ok(report)
    }

    /// MeshCentral tells of a recording some seconds after the end, but never of one that it had to break off.
    async fn awaits_recording(&self, session: &Session, end: &End) -> Result<bool, Error> {
        let may_read = self.server.socket().await?.greeting.site_rights & super::server::RECORDINGS != 0;
        Ok(may_read && !end.is_estimated && session.kind != SessionKind::Other)
    }

    async fn reports(&self, sessions: Vec<Session>) -> Result<Vec<SessionReport>, Error> {
        let mut reports = Vec::new();
        for session in sessions {
            // What is not tied to a ticket is nobody's.
            if self.name_of(&session).is_some() {
                reports.push(self.report(&session, false).await?);
            }
        }
        Ok(reports)
    }

    async fn ended_since(&self, since: i64, seconds: u32) -> Result<Vec<Session>, Error> {
        let since = since.saturating_mul(1_000);
        let until = if seconds == 0 { i64::MAX } else { since.saturating_add(i64::from(seconds) * 1_000) };
        let mut ended = Vec::new();
        for session in self.server.sessions_since(None, since - LONGEST_SESSION_MS).await? {
            if self.name_of(&session).is_none() {
                continue;
            }
            let session = self.with_end(session).await?;
            if session.end.as_ref().is_some_and(|end| end.at >= since && end.at < until) {
                ended.push(session);
            }
        }
        Ok(ended)
    }
}

#[async_trait]
impl RemoteSupport for MeshCentral {
    fn name(&self) -> &'static str {
        MeshCentralSection::NAME
    }

    fn title(&self) -> &'static str {
        "MeshCentral"
    }

    fn account(&self) -> &EngineAccount {
        &self.key
    }

    fn way(&self) -> usize {
        Arc::as_ptr(&self.server).addr()
    }

    fn abilities(&self) -> EngineAbilities {
        EngineAbilities {
            jump_methods: &METHODS,
            session_keys: false,
            machines: true,
            recordings: true,
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

    /// A link, which works in any browser; or MeshCentral's own page, where agents have accounts.
    async fn launch(&self, jump: &Jump<'_>) -> Result<Launch, LaunchError> {
        let (method, target) = (jump.request.method, jump.request.target.as_str());
        let unknown = |field: &str, expected| LaunchError::Argument(ArgumentFault::Unknown { field: field.into(), expected });
        let Some((protocol, kind, view)) = of_method(method) else { return Err(unknown("method", "desktop, terminal or files")) };
        let Some(node) = self.server.node(target).await? else { return Err(unknown("target", "the id of one of the machines")) };
        if !node.is_online {
            let message = format!("{} is off line", node.name);
            return Err(Error::new(EngineFault::Refused { message: message.clone() }, message).into());
        }
        if self.section.agents_sign_in {
            let mut url = self.server.settings.url.clone();
            let id = target.rsplit('/').next().unwrap_or_default();
            url.query_pairs_mut().append_pair("gotonode", id).append_pair("viewmode", &view.to_string());
            return Ok(Launch { url: url.into(), expires_at: None, link: None, agent: None });
        }
        let name = GuestName { agent: shown(jump.agent, 60), ticket: jump.tag.ticket.to_owned(), connection: jump.tag.connection };
        let text = guest_name::write(&self.link_key, &name, Bound { machine: target, kind });
        let text = text.ok_or_else(|| {
            LaunchError::Argument(ArgumentFault::TooLong {
                field: "ticket".into(),
                limit: 64,
                unit: deskbridge_shared::client_script::Unit::Characters,
            })
        })?;
        let (url, link, expires_at) =
            self.server.make_link(target, &text, protocol, self.section.consent_bits(), self.section.link_minutes).await?;
        Ok(Launch { url: url.into(), expires_at: Some(expires_at.div_euclid(1_000)), link: Some(link), agent: guest_name::agent(&name) })
    }

    async fn end_link(&self, link: &LinkId) -> Result<(), Error> {
        self.server.end_link(link).await
    }

    async fn machines(&self) -> Result<Arc<Vec<Machine>>, Error> {
        Ok(Arc::new(self.server.machines().await?))
    }

    async fn session(&self, lsid: &str) -> Result<Option<Arc<SessionReport>>, Error> {
        if let Some(report) = self.server.reports.get(lsid).await {
            return Ok(Some(report));
        }
        let Some(session) = self.server.session(lsid).await? else { return Ok(None) };
        let session = self.with_end(session).await?;
        let report = Arc::new(self.report(&session, true).await?);
        if report.is_ended() && !report.is_incomplete {
            self.server.reports.insert(lsid.to_owned(), report.clone()).await;
        }
        Ok(Some(report))
    }

    async fn sessions_ended_since(&self, since: i64, seconds: u32) -> Result<Vec<SessionReport>, Error> {
        let ended = self.ended_since(since, seconds).await?;
        self.reports(ended).await
    }

    async fn ids_of_sessions_ended_since(&self, since: i64, seconds: u32) -> Result<Vec<String>, Error> {
        Ok(self.ended_since(since, seconds).await?.into_iter().map(|session| session.lsid).collect())
    }

    async fn sessions_started_since(&self, since: i64) -> Result<Vec<SessionReport>, Error> {
        let found = self.server.sessions_since(None, since.saturating_mul(1_000)).await?;
        self.reports(found).await
    }

    async fn clock(&self) -> Result<Option<i64>, Error> {
        Ok(Some(self.server.socket().await?.server_now().div_euclid(1_000)))
    }

    /// A session keeps the guest name of its link.
    fn connection_in(&self, report: &SessionReport) -> Option<ConnectionId> {
        self.server.known(&report.lsid).and_then(|session| self.name_of(&session)).map(|name| name.connection)
    }

    async fn recording(&self, lsid: &str, range: Option<&str>) -> Result<Option<RecordingBody>, Error> {
        let Some(session) = self.server.session(lsid).await? else { return Ok(None) };
        let Some(recording) = self.server.recording(&session).await? else { return Ok(None) };
        let Some(answer) = self.server.file(&recording, range).await? else { return Ok(None) };
        let (content_length, content_range) = lengths(&answer);
        let ending = if session.kind == SessionKind::Chat { "txt" } else { "mcrec" };
        Ok(Some(RecordingBody {
            status: answer.status().as_u16(),
            content_length,
            content_range,
            file_name: format!("session-{}.{ending}", session.lsid),
            stream: Box::pin(answer.bytes_stream().map_err(|error| io::Error::other(deskbridge_http_client::describe(&error)))),
        }))
    }

    async fn help_request(&self, id: &str) -> Result<Option<HelpRequest>, Error> {
        let Some(help) = self.server.help(id).await? else { return Ok(None) };
        let machine = self.server.node(&help.node).await?.map_or_else(|| "a machine that is gone".to_owned(), |node| node.name);
        let text: String = help.text.chars().take(LONGEST_HELP).filter(|character| *character == '\n' || !character.is_control()).collect();
        let person = Some(shown(&help.person, 100)).filter(|person| !person.is_empty());
        Ok(Some(HelpRequest { id: help.id, machine_id: help.node, machine, person, text, asked_at: help.at.div_euclid(1_000) }))
    }

    fn wants_help_requests(&self) -> bool {
        self.section.help_requests
    }

    fn help_request_window(&self) -> Duration {
        Duration::from_secs(u64::from(self.section.help_request_minutes) * 60)
    }

    async fn check(&self, now: i64) -> Vec<Finding> {
        // An administrator waits: rests end for their try.
        self.server.let_person_try();
        check::run(self, now, Duration::from_secs(30)).await
    }
}
