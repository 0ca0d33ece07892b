//! The handle: starts the appliance, plays sessions on it, watches what it sends and what is asked of it.
//!
//! Everything here happens inside the process; callers under test must use HTTP.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::answer::Refusal;
use super::clock::SimulatedClock;
use super::doors;
use super::options::{Options, Representative};
use super::outbound::{self, Attempt, EventKind, Recipient, RecipientStatus};
use super::recording::{Endpoint, Fault, FaultRule, RecordedRequest};
use super::script::{SessionScript, Step};
use super::session::{Customer, NewSession, Party, Session, SessionEvent, SurveyAnswer};
use super::state::{Shared, State, random_hex};
use crate::tls::{self, Identity};

/// A running appliance. Clones are the same appliance; it stops with the last of them, or by [`Self::stop`].
#[derive(Clone)]
pub struct SimulatedAppliance {
    shared: Arc<Shared>,
    running: Arc<Running>,
}

struct Running {
    stop: CancellationToken,
    tasks: TaskTracker,
    runtime: Handle,
    certificate_pem: Option<String>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl SimulatedAppliance {
    /// Starts an appliance on a free port of `127.0.0.1`. Fails when the options contradict themselves.
    pub async fn start(options: Options) -> anyhow::Result<Self> {
        let faults = options.faults();
        ensure!(faults.is_empty(), "{faults}");
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let host = listener.local_addr()?.to_string();
        let (scheme, identity) = if options.plain_http { ("http", None) } else { ("https", Some(Identity::self_signed()?)) };
        let certificate_pem = identity.as_ref().map(|one| one.certificate_pem().to_owned());
        let base_url = format!("{scheme}://{host}");
        let http = outbound::http_client()?;
        let shared = Arc::new(Shared::new(host, base_url, options, http));
        let running = Running { stop: CancellationToken::new(), tasks: TaskTracker::new(), runtime: Handle::current(), certificate_pem };
        let router = doors::router(Arc::clone(&shared));
        let served = tls::serve(listener, identity, router, running.stop.clone());
        running.tasks.spawn(served);
        Ok(Self { shared, running: Arc::new(running) })
    }

    /// Stops it: connections and outbound posts under way are cut off. Returns when all is gone.
    pub async fn stop(&self) {
        self.running.stop.cancel();
        self.running.tasks.close();
        self.running.tasks.wait().await;
    }

    /// `127.0.0.1:PORT`, as a connection's `host` setting wants it.
    pub fn host(&self) -> &str {
        &self.shared.host
    }

    /// `https://127.0.0.1:PORT`, or `http` with [`Options::plain_http`].
    pub fn base_url(&self) -> &str {
        &self.shared.base_url
    }

    /// The self-signed certificate; none with [`Options::plain_http`].
    pub fn certificate_pem(&self) -> Option<&str> {
        self.running.certificate_pem.as_deref()
    }

    /// Its clock, which can be moved.
    pub fn clock(&self) -> &SimulatedClock {
        &self.shared.clock
    }

    /// The options as they are now.
    pub fn options(&self) -> Options {
        self.shared.read(|state| state.options.clone())
    }

    /// Changes options while running. A report lag acts on sessions that end from now on.
    pub fn change_options(&self, change: impl FnOnce(&mut Options)) {
        self.shared.with(|state| change(&mut state.options));
    }

    /// What `GET /check_health` and the health commands say.
    pub fn set_healthy(&self, healthy: bool) {
        self.shared.with(|state| state.healthy = healthy);
    }
}

/// Credentials.
impl SimulatedAppliance {
    /// Makes a new client secret; every token dies at once (beyondtrust.md C.1).
    pub fn rotate_secret(&self) -> String {
        let secret = random_hex();
        self.shared.with(|state| {
            state.options.client_secret.clone_from(&secret);
            state.tokens.clear();
        });
        secret
    }

    /// Lets every token die, the secret stays.
    pub fn revoke_tokens(&self) {
        self.shared.with(|state| state.tokens.clear());
    }

    /// The tokens given out and not evicted, oldest first: for tests that look where a token must not stand.
    pub fn tokens(&self) -> Vec<String> {
        self.shared.read(|state| state.tokens.values())
    }

    /// How many tokens are valid now.
    pub fn valid_tokens(&self) -> usize {
        let now = self.shared.clock.now();
        self.shared.read(|state| state.tokens.valid(now))
    }
}

/// Sessions. Every step sends its outbound event before the call returns.
impl SimulatedAppliance {
    /// Begins a session; answers its lsid.
    pub fn begin_session(&self, session: NewSession) -> String {
        self.act(|state, now| state.begin(session, now))
    }

    /// Begins the session of a generated key, given its short or long form; the key can be used once, until it expires.
    pub fn begin_session_with_key(&self, key: &str) -> anyhow::Result<String> {
        self.act(|state, now| state.begin_with_key(key, &[], now)).map_err(refused)
    }

    /// Runs a downloaded customer client: begins its session, the customer joins. Each download runs once.
    pub fn run_customer_client(&self, downloaded: &str) -> anyhow::Result<String> {
        let id = downloaded.lines().find_map(|line| line.strip_prefix("start="));
        let id = id.context("this is no customer client of a simulated appliance")?;
        self.act(|state, now| {
            let position = state.clients.iter().position(|client| client.id == id);
            let position = position.ok_or_else(|| Refusal::new("The client was run before."))?;
            let client = state.clients.remove(position);
            state.start(client.start, now)
        })
        .map_err(refused)
    }

    /// Runs a client script as a representative's console would; answers the lsid of the session it begins.
    pub fn run_client_script(&self, script: &str) -> anyhow::Result<String> {
        self.act(|state, now| state.run_script(script, now)).map_err(refused)
    }

    /// A customer joins.
    pub fn customer_joins(&self, lsid: &str, customer: Customer) -> anyhow::Result<()> {
        self.step(lsid, Step::CustomerJoins(customer))
    }

    /// A representative joins; the first becomes the owner.
    pub fn representative_joins(&self, lsid: &str, representative: Representative) -> anyhow::Result<()> {
        self.step(lsid, Step::RepresentativeJoins(representative))
    }

    /// Somebody says something to everyone.
    pub fn chat(&self, lsid: &str, from: Party, text: &str) -> anyhow::Result<()> {
        self.step(lsid, Step::Happens(SessionEvent::chat(from, text)))
    }

    /// Anything that only stands in the report happens.
    pub fn happens(&self, lsid: &str, event: SessionEvent) -> anyhow::Result<()> {
        self.step(lsid, Step::Happens(event))
    }

    /// The representative changes the external key in the console.
    pub fn set_external_key(&self, lsid: &str, external_key: &str) -> anyhow::Result<()> {
        self.step(lsid, Step::ExternalKey(external_key.into()))
    }

    /// The session ends.
    pub fn end_session(&self, lsid: &str) -> anyhow::Result<()> {
        self.step(lsid, Step::Ends)
    }

    /// The customer completes the exit survey, once per session; it may come late.
    pub fn complete_customer_survey(&self, lsid: &str, answers: Vec<SurveyAnswer>) -> anyhow::Result<()> {
        self.step(lsid, Step::CustomerSurvey(answers))
    }

    /// The representative completes the exit survey, once per session; it may come before the end.
    pub fn complete_representative_survey(&self, lsid: &str, answers: Vec<SurveyAnswer>) -> anyhow::Result<()> {
        self.step(lsid, Step::RepresentativeSurvey(answers))
    }

    /// Lets one step happen in a session, now.
    pub fn step(&self, lsid: &str, step: Step) -> anyhow::Result<()> {
        self.act(|state, now| state.apply(lsid, step, now))
    }

    /// Plays a whole session which finishes now; answers its lsid. Fails at a step that does not fit.
    pub fn play(&self, script: SessionScript) -> anyhow::Result<String> {
        self.act(|state, now| state.play(script, now))
    }

    /// A session as it is now.
    pub fn session(&self, lsid: &str) -> Option<Session> {
        self.shared.read(|state| state.sessions.get(lsid).cloned())
    }

    /// All sessions, oldest first.
    pub fn sessions(&self) -> Vec<Session> {
        self.shared.read(|state| state.sessions.all().to_vec())
    }

    /// Waits until a session looks as wanted; answers it.
    pub async fn wait_for_session(&self, mut wanted: impl FnMut(&Session) -> bool) -> anyhow::Result<Session> {
        let mut found = None;
        let look = |state: &State| {
            found = state.sessions.all().iter().find(|one| wanted(one)).cloned();
            found.is_some()
        };
        self.shared.wait_until("a session looks as wanted", look).await?;
        found.context("the session is gone")
    }

    /// Reports of ended sessions and surveys lag from now on, until [`Self::release_reports`].
    pub fn hold_reports(&self) {
        self.shared.with(|state| state.reports_held = true);
    }

    /// Ends what [`Self::hold_reports`] began; lags counted in requests go on.
    pub fn release_reports(&self) {
        self.shared.with(|state| state.reports_held = false);
    }

    fn act<R>(&self, act: impl FnOnce(&mut State, i64) -> R) -> R {
        let now = self.shared.clock.now();
        self.shared.with(|state| act(state, now))
    }
}

/// Outbound events.
impl SimulatedAppliance {
    /// Adds a recipient, or changes the one of that name; what is queued for it stays and is tried again at once.
    pub fn set_recipient(&self, recipient: Recipient) {
        let name = recipient.name.clone();
        let new = self.shared.with(|state| state.outbound.set_recipient(recipient));
        if let Some(wake) = new {
            let worker = outbound::work(Arc::clone(&self.shared), name, wake);
            let worker = self.running.stop.clone().run_until_cancelled_owned(worker);
            self.running.tasks.spawn_on(worker, &self.running.runtime);
        }
    }

    /// Removes a recipient with everything queued for it.
    pub fn remove_recipient(&self, name: &str) {
        self.shared.with(|state| state.outbound.remove_recipient(name));
    }

    /// While on, the 200 of every event is lost once: each event is delivered twice in a row.
    pub fn set_deliver_twice(&self, on: bool) {
        self.shared.with(|state| state.outbound.deliver_twice = on);
    }

    /// While on, events are queued in swapped pairs: second, first, fourth, third. Switching off queues what is held.
    pub fn set_swap_neighbours(&self, on: bool) {
        self.shared.with(|state| state.outbound.set_swap_neighbours(on));
    }

    /// Tries every blocked event again without waiting for the retry interval.
    pub fn retry_now(&self) {
        self.shared.with(|state| state.outbound.retry_now());
    }

    /// Queues an event of any kind with exactly these fields, `event` included by the caller.
    pub fn send_raw_event(&self, kind: EventKind, fields: Vec<(String, String)>) {
        let lsid = fields.iter().find(|(name, _)| name == "lsid");
        let lsid = lsid.map(|(_, value)| value.clone()).unwrap_or_default();
        self.shared.with(|state| state.outbound.push(kind, &lsid, fields, Vec::new()));
    }

    /// How the first recipient is doing; none without recipients.
    pub fn recipient_status(&self) -> Option<RecipientStatus> {
        self.recipient_statuses().into_iter().next()
    }

    /// How every recipient is doing, by name.
    pub fn recipient_statuses(&self) -> Vec<RecipientStatus> {
        self.shared.read(|state| state.outbound.statuses())
    }

    /// Every post so far, oldest first.
    pub fn attempts(&self) -> Vec<Attempt> {
        self.shared.read(|state| state.outbound.attempts().iter().cloned().collect())
    }

    /// Waits until so many events were passed with 200 since the start, over all recipients.
    pub async fn wait_until_delivered(&self, events: u64) -> anyhow::Result<()> {
        let what = format!("{events} events are delivered");
        let reached = |state: &State| state.outbound.delivered() >= events;
        self.shared.wait_until(&what, reached).await
    }

    /// Waits until no recipient has an event left.
    pub async fn outbound_idle(&self) -> anyhow::Result<()> {
        let reached = |state: &State| state.outbound.is_idle();
        self.shared.wait_until("no event is left", reached).await
    }

    /// Waits until the first recipient's status is as wanted.
    pub async fn wait_for_recipient(&self, mut wanted: impl FnMut(&RecipientStatus) -> bool) -> anyhow::Result<()> {
        let reached = |state: &State| state.outbound.statuses().first().is_some_and(&mut wanted);
        self.shared.wait_until("the recipient is as wanted", reached).await
    }

    /// Waits for that many posts, successful or not, since the start.
    pub async fn wait_for_attempts(&self, attempts: usize) -> anyhow::Result<()> {
        let what = format!("{attempts} posts were made");
        let reached = |state: &State| state.outbound.attempts().len() >= attempts;
        self.shared.wait_until(&what, reached).await
    }
}

/// Requests and faults.
impl SimulatedAppliance {
    /// Every request so far, oldest first; the last 100,000.
    pub fn requests(&self) -> Vec<RecordedRequest> {
        self.shared.read(|state| state.recording.all().cloned().collect())
    }

    /// How many requests fit.
    pub fn count(&self, fits: impl Fn(&RecordedRequest) -> bool) -> usize {
        let count = |state: &State| state.recording.all().filter(|one| fits(one)).count();
        self.shared.read(count)
    }

    /// Waits for a request that fits, past ones included; answers it.
    pub async fn wait_for_request(&self, fits: impl Fn(&RecordedRequest) -> bool) -> anyhow::Result<RecordedRequest> {
        let mut found = None;
        let look = |state: &State| {
            found = state.recording.all().find(|one| fits(one)).cloned();
            found.is_some()
        };
        self.shared.wait_until("a request fits", look).await?;
        found.context("the request is gone")
    }

    /// Waits until at least so many requests fit.
    pub async fn wait_for_count(&self, at_least: usize, fits: impl Fn(&RecordedRequest) -> bool) -> anyhow::Result<()> {
        let what = format!("{at_least} requests fit");
        let reached = |state: &State| state.recording.all().filter(|one| fits(one)).count() >= at_least;
        self.shared.wait_until(&what, reached).await
    }

    /// The most calls of the Command and Reporting APIs that came within any one second.
    pub fn most_calls_in_a_second(&self) -> usize {
        let counted =
            |request: &&RecordedRequest| matches!(request.endpoint, Endpoint::Command | Endpoint::CommandV2 | Endpoint::Reporting);
        let at: Vec<i64> = self.shared.read(|state| state.recording.all().filter(counted).map(|request| request.at_milliseconds).collect());
        let within_a_second_of = |first: i64| at.iter().filter(|at| (first..first + 1_000).contains(*at)).count();
        at.iter().map(|first| within_a_second_of(*first)).max().unwrap_or_default()
    }

    /// Opens a URL of the appliance as somebody's browser would.
    pub async fn browse(&self, url: &str) -> anyhow::Result<reqwest::Response> {
        self.shared.http.get(url).timeout(Duration::from_secs(30)).send().await.context("the appliance does not answer")
    }

    /// Forgets the requests so far.
    pub fn forget_requests(&self) {
        self.shared.with(|state| state.recording.forget());
    }

    /// The next so many requests, at whatever door, meet this fault.
    pub fn fail_next(&self, requests: u32, fault: Fault) {
        self.add_fault(FaultRule::next(requests, fault));
    }

    /// Adds a fault; earlier ones strike first.
    pub fn add_fault(&self, rule: FaultRule) {
        self.shared.with(|state| state.faults.push(rule));
    }

    /// Ends all faults. Requests that already hang stay so.
    pub fn clear_faults(&self) {
        self.shared.with(|state| state.faults.clear());
    }
}

fn refused(refusal: Refusal) -> anyhow::Error {
    anyhow::anyhow!(refusal.0)
}
