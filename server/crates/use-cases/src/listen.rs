//! Hears what engines push over a connection that we open: each account by one of the servers that share the database.
//!
//! A server listens while it holds the account's lease. What it hears becomes events in the inbox, in one durable commit; only then is it
//! noted how far the account was heard. Whoever listens next begins a little before that, and what is stored already is not stored again.
//! So a server may end at any moment: nothing is lost, and nothing counts twice.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use deskbridge_core::clock::{new_id, random_fraction};
use deskbridge_core::event::{EventKind, Origin};
use deskbridge_core::fault_point;
use deskbridge_core::ids::TenantId;
use deskbridge_core::rest::{AFTER_REFUSED_CREDENTIALS, GrowingRest};
use deskbridge_remote_support::{Batch, EngineFault, Error as EngineError, EventSource, Happened, Listener, TakeBatch, What};
use deskbridge_security::sha256;
use deskbridge_store::{Held, NewEvent, Result as StoreResult};
use deskbridge_work::metrics;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::connections::{Connection, Directory, named_ticket};
use crate::sweep::fingerprint;
use crate::{Services, help_request};

/// Length of a lease.
const LEASE_MS: i64 = 15_000;
/// So long before its end a lease that cannot be renewed is given up.
const LEASE_MARGIN_MS: i64 = 2_000;
/// How often it is renewed, and how often a server that does not hold it looks whether it can have it. So an account is heard again within
/// 20 s after its server died.
const RENEW_EVERY: Duration = Duration::from_secs(5);
/// Between a connection's end and the next one.
const REST: GrowingRest = GrowingRest { first: Duration::from_secs(1), longest: Duration::from_mins(1) };
/// After a connection that lasted so long, the rests begin anew.
const LASTED: Duration = Duration::from_mins(1);
/// Reading begins so long before the moment up to which everything is stored: an engine may store its own events a little late.
const OVERLAP_MS: i64 = 60_000;
/// How often accounts to hear are looked for.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// An account whose engine pushes its events.
#[derive(Clone)]
struct Account {
    /// Its stored form.
    name: String,
    tenant: TenantId,
    host: String,
    /// The ways to it, each of a connection. Not empty.
    ways: Vec<Arc<Connection>>,
}

impl Account {
    /// Those that running connections use.
    fn all(directory: &Directory) -> Vec<Self> {
        let account = |name: &str| {
            let mut ways = directory.ways_to(name);
            ways.retain(|connection| listener_of(connection).is_some());
            let first = ways.first()?;
            let (tenant, host) = (first.tenant.clone(), first.engine.as_ref()?.account().host.clone());
            Some(Self { name: name.to_owned(), tenant, host, ways })
        };
        directory.accounts().filter_map(account).collect()
    }

    fn is(&self, other: &Self) -> bool {
        let is_same = |(one, other): (&Arc<Connection>, &Arc<Connection>)| match (&one.engine, &other.engine) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            _ => false,
        };
        self.name == other.name && self.ways.len() == other.ways.len() && self.ways.iter().zip(&other.ways).all(is_same)
    }
}

fn listener_of(connection: &Connection) -> Option<&dyn Listener> {
    match connection.engine.as_ref()?.event_source() {
        EventSource::Listener(listener) => Some(listener),
        EventSource::Door(_) | EventSource::Sweep => None,
    }
}

/// A task that hears an account.
struct Hearer {
    account: Account,
    stop: CancellationToken,
    task: AbortHandle,
}

/// Hears every account whose engine pushes its events, until `stop`. `server`: this process among the servers that share the database.
///
/// Whatever is saved counts at once: a connection that was saved has a new engine, and its account is listened to anew.
pub async fn run(services: Arc<Services>, server: Uuid, stop: CancellationToken) {
    let mut tasks = JoinSet::new();
    let mut hearers: HashMap<String, Hearer> = HashMap::new();
    let mut directory = services.connections.current();
    let mut accounts = Account::all(&directory);
    loop {
        let current = services.connections.current();
        if !Arc::ptr_eq(&current, &directory) {
            (accounts, directory) = (Account::all(&current), current);
        }
        for hearer in hearers.values() {
            if !accounts.iter().any(|account| account.is(&hearer.account)) {
                hearer.stop.cancel();
            }
        }
        // One that is told to stop gives its lease back, before another one of the account begins.
        while tasks.try_join_next().is_some() {}
        hearers.retain(|_, hearer| !hearer.task.is_finished());
        for account in &accounts {
            if !hearers.contains_key(&account.name) {
                let (services, heard, stop) = (services.clone(), account.clone(), stop.child_token());
                let stopped = stop.clone();
                let task = tasks.spawn(async move { hear(&services, &heard, server, &stopped).await });
                hearers.insert(account.name.clone(), Hearer { account: account.clone(), stop, task });
            }
        }
        if stop.run_until_cancelled(sleep(LOOK_EVERY)).await.is_none() {
            break;
        }
    }
    while tasks.join_next().await.is_some() {}
}

/// Hears an account whenever no other server does, until `stop`. Then any other server can have it.
async fn hear(services: &Services, account: &Account, server: Uuid, stop: &CancellationToken) {
    let hearing = Hearing::new(services, account, server);
    stop.run_until_cancelled(hearing.in_turn()).await;
    metrics::listening(&account.name, false);
    hearing.give_user_back().await;
    hearing.login.give_back().await;
}

/// An account as this server hears it.
struct Hearing<'a> {
    services: &'a Services,
    account: &'a Account,
    log: Log<'a>,
    /// Whoever has it signs in; nobody else tries the credentials.
    login: Lease<'a>,
    /// Whoever has it hears the user, by whichever login: a new token is another account, and the user's all the same. What was heard so far
    /// stands there. None: nobody is signed in, or the engine names no user.
    user: Mutex<Option<Arc<Lease<'a>>>>,
}

/// How hearing by one way ended.
enum Ended {
    /// By the engine.
    By(Result<(), EngineError>),
    /// A lease was lost.
    Lost,
    /// The user is heard by another login.
    ByOtherLogin,
    /// The database failed.
    Unknown(String),
}

impl<'a> Hearing<'a> {
    fn new(services: &'a Services, account: &'a Account, server: Uuid) -> Self {
        Self {
            services,
            account,
            log: Log { account: &account.name, told: Mutex::default() },
            login: Lease { services, tenant: &account.tenant, name: account.name.clone(), holder: server, until: AtomicI64::new(0) },
            user: Mutex::default(),
        }
    }

    async fn in_turn(&self) {
        let Self { account, log, login, .. } = self;
        let mut ways: Vec<Way<'_>> = account.ways.iter().map(|connection| Way::new(connection)).collect();
        loop {
            let held = match login.take().await {
                Ok(Some(held)) => held,
                Ok(None) => {
                    log.another_server_hears();
                    sleep(up_to_a_fifth_less(RENEW_EVERY)).await;
                    continue;
                }
                Err(error) => {
                    log.failed("", &format!("the database does not tell who hears the account: {error}"));
                    sleep(up_to_a_fifth_less(RENEW_EVERY)).await;
                    continue;
                }
            };
            let now = Instant::now();
            let Some(way) = ways.iter_mut().find(|way| way.rests_until <= now) else {
                let rest = ways.iter().map(|way| way.rests_until).min().map_or(REST.first, |until| until - now);
                if ways.iter().all(|way| way.is_refused) {
                    // No other server tries them meanwhile: many a system locks an account whose login is refused again and again.
                    login.keep_for(rest).await;
                } else {
                    // Another server may reach the engine.
                    login.give_back().await;
                    sleep(rest).await;
                }
                continue;
            };
            let has_taken = AtomicBool::new(false);
            let ended = tokio::select! {
                ended = self.by(way.connection, held, &has_taken) => ended,
                () = login.lose() => Ended::Lost,
            };
            self.give_user_back().await;
            // It is heard, if not by this login.
            metrics::listening(&account.name, matches!(ended, Ended::ByOtherLogin));
            match ended {
                Ended::By(ended) => {
                    if now.elapsed() >= LASTED {
                        log.it_lasted();
                    }
                    if let Err(error) = &ended {
                        metrics::listening_failed(&account.name);
                        log.engine_failed(way.connection.name(), error);
                    }
                    way.rest(&ended, now.elapsed(), has_taken.into_inner());
                }
                Ended::Lost => {}
                Ended::ByOtherLogin => {
                    log.another_login_hears();
                    sleep(up_to_a_fifth_less(RENEW_EVERY)).await;
                }
                Ended::Unknown(what) => {
                    log.failed("", &what);
                    sleep(up_to_a_fifth_less(RENEW_EVERY)).await;
                }
            }
        }
    }

    /// Hears the account by that connection's credentials. `held`: what is stored of the login.
    async fn by(&self, connection: &Connection, held: Held, has_taken: &AtomicBool) -> Ended {
        let Some(listener) = listener_of(connection) else { return Ended::By(Ok(())) };
        let signed_in = match listener.sign_in().await {
            Ok(signed_in) => signed_in,
            Err(error) => return Ended::By(Err(error)),
        };
        let Some(user) = signed_in.user else {
            let taker = self.taker(&self.login, held, signed_in.now, has_taken);
            return Ended::By(listener.listen(taker.begin(), &taker).await);
        };
        let lease = Arc::new(self.lease_of(&user));
        *self.user.lock().unwrap_or_else(PoisonError::into_inner) = Some(lease.clone());
        let of_user = match lease.take().await {
            Ok(Some(held)) => held,
            Ok(None) => return Ended::ByOtherLogin,
            Err(error) => return Ended::Unknown(format!("the database does not tell who hears the user: {error}")),
        };
        // Earlier versions stored it with the login.
        let held = if of_user.cursor.is_some() { of_user } else { held };
        let taker = self.taker(&lease, held, signed_in.now, has_taken);
        tokio::select! {
            ended = listener.listen(taker.begin(), &taker) => Ended::By(ended),
            () = lease.lose() => Ended::Lost,
        }
    }

    /// Goes on where the one before stopped, by the clock that the engine has now.
    fn taker<'t>(&'t self, lease: &'t Lease<'a>, held: Held, their_now: Option<i64>, has_taken: &'t AtomicBool) -> Taker<'t, 'a> {
        let clock_ahead = their_now.map(|their_now| their_now - self.services.clock.now_ms());
        let cursor = held.cursor.map(|cursor| by_their_clock(cursor, held.clock_ahead, clock_ahead, their_now));
        if let (Some(before), Some(cursor)) = (held.cursor, cursor) {
            self.log.clock_was_set_back(before - cursor);
        }
        Taker { hearing: self, lease, cursor: Mutex::new(cursor), clock_ahead, has_saved: AtomicBool::new(false), has_taken }
    }

    /// The lease of a user of the account's host. Two logins of one server are told apart.
    fn lease_of(&self, user: &str) -> Lease<'a> {
        let Self { services, account, login, .. } = self;
        let holder = sha256(format!("{}/{}", login.holder, account.name).as_bytes());
        Lease {
            services,
            tenant: &account.tenant,
            name: format!("{}/{user}", account.host),
            holder: Uuid::from_u128(u128::from_be_bytes(holder[..16].try_into().unwrap_or_default())),
            until: AtomicI64::new(0),
        }
    }

    async fn give_user_back(&self) {
        let lease = self.user.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(lease) = lease {
            lease.give_back().await;
        }
    }
}

/// A moment of the engine's clock as its clock says it now, if it was set back since. `before` and `now`: by how much it was and is ahead of
/// ours. Ours may have been set forward as well; then reading begins too early, which does no harm.
fn by_their_clock(moment: i64, before: Option<i64>, now: Option<i64>, their_now: Option<i64>) -> i64 {
    let set_back = before.zip(now).map_or(0, |(before, now)| before.saturating_sub(now).max(0));
    let moment = moment.saturating_sub(set_back);
    their_now.map_or(moment, |their_now| moment.min(their_now))
}

/// A way to the account. When one fails, the next is tried at once.
struct Way<'a> {
    connection: &'a Connection,
    rests: Rests,
    rests_until: Instant,
    /// It rests because credentials were refused.
    is_refused: bool,
}

impl<'a> Way<'a> {
    fn new(connection: &'a Connection) -> Self {
        Self { connection, rests: Rests::default(), rests_until: Instant::now(), is_refused: false }
    }

    /// Rests after a connection that ended so.
    fn rest(&mut self, ended: &Result<(), EngineError>, lasted: Duration, has_taken: bool) {
        let rest = self.rests.after(ended, lasted, has_taken);
        self.is_refused = matches!(rest, Rest::OfCredentials(_));
        self.rests_until = Instant::now()
            + match rest {
                Rest::OfCredentials(rest) => rest,
                Rest::OfConnections(rest) => up_to_a_fifth_less(rest),
            };
    }
}

/// Servers do not march in step.
fn up_to_a_fifth_less(wait: Duration) -> Duration {
    wait.mul_f64(1.0 - 0.2 * random_fraction())
}

/// What follows a connection's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    /// A person must act, but perhaps has.
    OfCredentials(Duration),
    /// It may go by itself.
    OfConnections(Duration),
}

/// How long to rest between connections.
#[derive(Default)]
struct Rests {
    failures: u32,
    refusals: u32,
}

impl Rests {
    fn after(&mut self, ended: &Result<(), EngineError>, lasted: Duration, has_taken: bool) -> Rest {
        if lasted >= LASTED {
            self.failures = 0;
        }
        if has_taken {
            self.refusals = 0;
        }
        match ended {
            Err(EngineError { fault: EngineFault::Denied { .. }, .. }) => {
                self.refusals += 1;
                Rest::OfCredentials(AFTER_REFUSED_CREDENTIALS.after(self.refusals - 1))
            }
            Err(EngineError { fault: EngineFault::Resting { again_in }, .. }) => Rest::OfCredentials((*again_in).max(REST.first)),
            _ => {
                self.failures += 1;
                let rest = REST.after(self.failures - 1);
                match ended {
                    Err(EngineError { fault: EngineFault::Busy { retry_after }, .. }) => Rest::OfConnections(rest.max(*retry_after)),
                    _ => Rest::OfConnections(rest),
                }
            }
        }
    }
}

/// The lease of a login, or of a user.
struct Lease<'a> {
    services: &'a Services,
    tenant: &'a TenantId,
    /// As it is stored.
    name: String,
    holder: Uuid,
    /// Unix ms.
    until: AtomicI64,
}

impl Lease<'_> {
    /// Takes or renews it. `None`: another one holds it.
    async fn take(&self) -> StoreResult<Option<Held>> {
        let now = self.services.clock.now_ms();
        let held = self.services.store.hold_listener(self.tenant, &self.name, self.holder, now, now + LEASE_MS).await?;
        if held.is_some() {
            self.until.store(now + LEASE_MS, Ordering::SeqCst);
        }
        Ok(held)
    }

    /// Renews it; returns when it is lost, or may be soon because the database does not answer.
    async fn lose(&self) {
        while self.renew().await {}
    }

    /// Renews it for so long, or until it is lost. Nothing that the database was asked is broken off.
    async fn keep_for(&self, time: Duration) {
        let until = Instant::now() + time;
        while until.saturating_duration_since(Instant::now()) > RENEW_EVERY {
            if !self.renew().await {
                return;
            }
        }
        sleep(until.saturating_duration_since(Instant::now())).await;
    }

    /// Renews it when that is due. `false`: it is lost, or may be soon.
    async fn renew(&self) -> bool {
        sleep(RENEW_EVERY).await;
        let left = self.until.load(Ordering::SeqCst) - LEASE_MARGIN_MS - self.services.clock.now_ms();
        match timeout(Duration::from_millis(u64::try_from(left).unwrap_or(0)), self.take()).await {
            Ok(Ok(Some(_))) => true,
            Ok(Ok(None)) | Err(_) => false,
            Ok(Err(error)) => {
                tracing::warn!(account = self.name, %error, "the lease of the account could not be renewed");
                true
            }
        }
    }

    async fn give_back(&self) {
        if let Err(error) = self.services.store.release_listener(&self.name, self.holder).await {
            tracing::warn!(account = self.name, %error, "the account could not be given back; another server hears it when the lease ends");
        }
    }
}

/// Keeps what is heard.
struct Taker<'t, 'a> {
    hearing: &'t Hearing<'a>,
    /// With it stands how far was heard.
    lease: &'t Lease<'a>,
    /// How far it was heard.
    cursor: Mutex<Option<i64>>,
    /// By how much the engine's clock is ahead of ours.
    clock_ahead: Option<i64>,
    has_saved: AtomicBool,
    has_taken: &'t AtomicBool,
}

#[async_trait]
impl TakeBatch for Taker<'_, '_> {
    async fn take(&self, batch: Batch) -> bool {
        match self.keep(&batch).await {
            Ok(is_kept) => {
                if is_kept && !self.has_taken.swap(true, Ordering::SeqCst) {
                    metrics::listening(&self.hearing.account.name, true);
                    self.hearing.log.hears();
                }
                is_kept
            }
            Err(error) => {
                self.hearing.log.failed("", &format!("what was heard could not be stored: {error}"));
                false
            }
        }
    }
}

impl Taker<'_, '_> {
    /// Where reading begins.
    fn begin(&self) -> Option<i64> {
        self.cursor.lock().unwrap_or_else(PoisonError::into_inner).map(|cursor| cursor.saturating_sub(OVERLAP_MS))
    }

    /// Stores a batch's events, and then how far the account was heard. `false`: that is another's now.
    async fn keep(&self, batch: &Batch) -> StoreResult<bool> {
        let Hearing { services, account, .. } = self.hearing;
        let Services { store, wake, .. } = services;
        let Some(events) = events_of(services, account, &batch.happened) else { return Ok(false) };
        if !events.is_empty() {
            let added = store.add_events(&events).await?;
            fault_point::reach("heard");
            if added > 0 {
                metrics::events_heard(&account.name, added);
                wake.notify_one();
            }
        }
        let before = *self.cursor.lock().unwrap_or_else(PoisonError::into_inner);
        let cursor = heard_until(before, batch.until);
        if before == Some(cursor) && self.has_saved.load(Ordering::SeqCst) {
            return Ok(true);
        }
        if !store.save_cursor(&self.lease.name, self.lease.holder, cursor, self.clock_ahead).await? {
            return Ok(false);
        }
        self.has_saved.store(true, Ordering::SeqCst);
        *self.cursor.lock().unwrap_or_else(PoisonError::into_inner) = Some(cursor);
        Ok(true)
    }
}

/// The cursor after a batch that ended at `until`: what was heard before stays heard, unless the engine's clock was set back.
fn heard_until(before: Option<i64>, until: i64) -> i64 {
    before.filter(|before| until >= before.saturating_sub(OVERLAP_MS)).map_or(until, |before| before.max(until))
}

/// The events of what happened. A session that is of no ticket has none. `None`: no connection uses the account any more.
fn events_of(services: &Services, account: &Account, happened: &[Happened]) -> Option<Vec<NewEvent>> {
    let directory = services.connections.current();
    let tenant = directory.by_account(&account.name).first()?.tenant.clone();
    // One user may have several logins.
    let users = directory.running_of_host(&tenant, &account.host);
    // Whose a session is is asked only where it can be several connections'.
    let only = directory.only_user_of_host(&account.host);
    let is_wanted = |happened: &Happened, kind| match happened.what {
        What::HelpRequested => users.iter().any(|connection| help_request::is_wanted(connection)),
        What::SessionBegan | What::SessionEnded => {
            happened.external_key.is_some() && users.iter().any(|connection| connection.policy().processes_found(kind))
        }
    };
    let event = |happened: &Happened| {
        let (kind, lsid) = match happened.what {
            What::SessionBegan => (EventKind::Progress, happened.lsid.to_ascii_lowercase()),
            What::SessionEnded => (EventKind::SessionEnd, happened.lsid.to_ascii_lowercase()),
            What::HelpRequested => (EventKind::HelpRequest, happened.lsid.clone()),
        };
        is_wanted(happened, kind).then(|| NewEvent {
            id: new_id(&services.clock),
            tenant: tenant.clone(),
            account: account.name.clone(),
            received_by: None,
            connection: only,
            fingerprint: fingerprint(kind, &lsid, ""),
            kind,
            ticket: named_ticket(&users, happened.external_key.as_deref()),
            lsid,
            origin: Origin::Outbound,
            received_at: services.clock.now_ms(),
        })
    };
    Some(happened.iter().filter_map(event).collect())
}

/// Tells people of an account what is new.
struct Log<'a> {
    account: &'a str,
    told: Mutex<Told>,
}

/// What they were told last.
#[derive(Default)]
struct Told {
    who_hears: Option<Who>,
    /// By connection; without a name, the database's.
    failures: HashMap<String, String>,
    /// By how many minutes a clock was set back.
    set_back: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    This,
    Another,
    OtherLogin,
}

impl Told {
    fn is_news(&mut self, who: Who) -> bool {
        self.who_hears.replace(who) != Some(who)
    }

    fn is_new_failure(&mut self, connection: &str, what: &str) -> bool {
        let is_new = self.failures.get(connection).is_none_or(|told| told != what);
        if is_new {
            self.failures.insert(connection.to_owned(), what.to_owned());
            self.who_hears = None;
        }
        is_new
    }
}

impl Log<'_> {
    fn told<T>(&self, ask: impl FnOnce(&mut Told) -> T) -> T {
        ask(&mut self.told.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn hears(&self) {
        if self.told(|told| told.is_news(Who::This)) {
            tracing::info!(account = self.account, "this server hears the account's events");
        }
    }

    fn another_server_hears(&self) {
        if self.told(|told| told.is_news(Who::Another)) {
            tracing::info!(account = self.account, "another server hears the account's events; this one takes over if that ends");
        }
    }

    fn another_login_hears(&self) {
        if self.told(|told| told.is_news(Who::OtherLogin)) {
            tracing::info!(
                account = self.account,
                "the account's events are heard by another login of the same user; this one takes over if that ends"
            );
        }
    }

    /// Until something was heard, each connection finds the same.
    fn clock_was_set_back(&self, by_ms: i64) {
        let minutes = by_ms / 60_000;
        if self.told(|told| std::mem::replace(&mut told.set_back, minutes)) != minutes && minutes > 0 {
            tracing::warn!(
                account = self.account,
                seconds = by_ms / 1_000,
                "the remote-support system's clock was set back, or this server's forward. What happened since is read again from that much \
                 earlier, so nothing is lost. Let both keep their time by NTP"
            );
        }
    }

    fn engine_failed(&self, connection: &str, error: &EngineError) {
        let account = self.account;
        match &error.fault {
            // How long they rest changes each time.
            EngineFault::Resting { .. } => tracing::debug!(account, connection, %error, "the account's events are not heard"),
            EngineFault::Denied { .. } => {
                if self.told(|told| told.is_new_failure(connection, &error.what)) {
                    tracing::error!(
                        account,
                        connection,
                        %error,
                        "the account's events are not heard: credentials are refused. `deskbridge check` says what to do, and ends the wait when it \
                         succeeds"
                    );
                }
            }
            _ => self.failed(connection, &error.what),
        }
    }

    fn failed(&self, connection: &str, what: &str) {
        let account = self.account;
        if self.told(|told| told.is_new_failure(connection, what)) {
            tracing::warn!(
                account,
                connection,
                what,
                "the account's events are not heard; trying again. What happens meanwhile is read afterwards"
            );
        } else {
            tracing::debug!(account, connection, what, "the account's events are not heard; trying again");
        }
    }

    /// What fails now is a new failure.
    fn it_lasted(&self) {
        self.told(|told| told.failures.clear());
    }
}

#[cfg(test)]
mod tests;
