use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use deskbridge_core::clock::Clock;
use deskbridge_core::ids::ConnectionId;
use deskbridge_core::session_report::SessionReport;
use deskbridge_store::{EventFilter, EventRow, Store};
use tokio::task::{JoinHandle, yield_now};

use super::*;
use crate::connections::Connection;
use crate::sweep;
use crate::testing::{Engine, HelpDesk, NOW, asked, connection, services};

const ACCOUNT: &str = "host/account";
const TICKET: &str = "88121";

/// A database that several servers share, and a time that passes only when a test says so.
struct World {
    store: Arc<dyn Store>,
    now: Arc<AtomicI64>,
    /// Tokio's time does not go on by itself while a blocking task runs: whoever waits for the database would be woken too early.
    _stands_still: std::sync::mpsc::Sender<()>,
}

impl World {
    async fn new() -> Self {
        let (stands_still, passes) = std::sync::mpsc::channel();
        tokio::task::spawn_blocking(move || passes.recv());
        tokio::time::pause();
        let store = deskbridge_store::open("sqlite::memory:").await.unwrap();
        Self { store, now: Arc::new(AtomicI64::new(NOW)), _stands_still: stands_still }
    }

    /// A server that listens.
    fn server(&self, number: u128, running: &[Arc<Connection>]) -> Server {
        let services = services(&self.store, &Clock::Manual(self.now.clone()));
        services.connections.set(running, &[]);
        let (id, stop) = (Uuid::from_u128(number), CancellationToken::new());
        let task = tokio::spawn(run(services.clone(), id, stop.clone()));
        Server { services, id, stop, task }
    }

    /// Lets everybody do what they can do now. Each round brings each task over one question to the database, which answers in order.
    async fn settle(&self) {
        for _ in 0..12 {
            for _ in 0..20 {
                yield_now().await;
            }
            self.store.ping().await.unwrap();
        }
    }

    async fn pass(&self, seconds: u64) {
        self.settle().await;
        for _ in 0..seconds {
            self.now.fetch_add(1_000, Ordering::SeqCst);
            // A timer may end a millisecond late.
            tokio::time::advance(Duration::from_millis(1_001)).await;
            self.settle().await;
        }
    }

    /// Has the engine hand over a batch; whether it was taken.
    async fn hears(&self, engine: &Engine, batch: Batch) -> bool {
        self.settle().await;
        let mut taken = engine.push(batch);
        self.settle().await;
        taken.try_recv().expect("nobody listens")
    }

    /// Seconds that pass until it is so.
    async fn seconds_until(&self, most: u64, is_so: impl Fn() -> bool) -> u64 {
        self.settle().await;
        for seconds in 0..=most {
            if is_so() {
                return seconds;
            }
            self.pass(1).await;
        }
        panic!("not within {most} s");
    }

    fn time(&self) -> i64 {
        self.now.load(Ordering::SeqCst)
    }

    /// Takes the lease as another server, if that can be had now.
    async fn take_lease(&self, server: Uuid) -> Option<Held> {
        self.store.hold_listener(&TenantId::main(), ACCOUNT, server, self.time(), self.time() + LEASE_MS).await.unwrap()
    }

    /// Oldest first.
    async fn events(&self) -> Vec<EventRow> {
        let mut events = self.store.list_events(&EventFilter::default(), 1_000).await.unwrap();
        events.reverse();
        events
    }

    async fn lsids(&self) -> Vec<String> {
        self.events().await.into_iter().map(|event| event.lsid).collect()
    }
}

struct Server {
    services: Arc<Services>,
    id: Uuid,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Server {
    /// As if its process were killed: nothing is given back.
    fn kill(&self) {
        self.task.abort();
    }
}

fn of_one_connection(engine: &Arc<Engine>) -> Vec<Arc<Connection>> {
    vec![connection(1, "a", engine, &HelpDesk::new())]
}

fn happened(what: What, lsid: &str, external_key: Option<&str>) -> Happened {
    Happened { what, lsid: lsid.into(), external_key: external_key.map(str::to_owned), at: NOW }
}

fn ended(lsids: &[&str], until: i64) -> Batch {
    Batch { happened: lsids.iter().map(|lsid| happened(What::SessionEnded, lsid, Some(TICKET))).collect(), until }
}

fn unreachable() -> EngineError {
    EngineError::new(EngineFault::Unreachable, "away")
}

fn denied() -> EngineError {
    EngineError::new(EngineFault::Denied { reason: "noauth".into() }, "refused")
}

#[tokio::test]
async fn what_happened_becomes_events_once() {
    let (world, engine) = (World::new().await, Engine::new(ACCOUNT));
    let server = world.server(1, &of_one_connection(&engine));
    let batch = Batch {
        happened: vec![
            happened(What::SessionBegan, "AB", Some(TICKET)),
            happened(What::SessionEnded, "AB", Some(TICKET)),
            happened(What::SessionEnded, "of no ticket", None),
            happened(What::SessionEnded, "of another system", Some("no ticket's name")),
            happened(What::HelpRequested, "Request", None),
            happened(What::HelpRequested, "Request", None),
        ],
        until: 5_000,
    };
    assert!(world.hears(&engine, batch.clone()).await);
    let rows: Vec<_> = world.events().await.into_iter().map(|row| (row.kind, row.lsid, row.ticket, row.connection)).collect();
    let only = Some(ConnectionId::from(Uuid::from_u128(1)));
    let ticket = Some(TICKET.to_owned());
    assert_eq!(
        rows,
        [
            ("progress".into(), "ab".into(), ticket.clone(), only),
            ("session_end".into(), "ab".into(), ticket, only),
            ("session_end".into(), "of another system".into(), None, only),
            ("help_request".into(), "Request".into(), None, only),
        ]
    );
    tokio::select! {
        biased;
        () = server.services.wake.notified() => {}
        () = std::future::ready(()) => panic!("the worker is not woken"),
    }
    assert_eq!(world.take_lease(server.id).await, Some(Held { cursor: Some(5_000), clock_ahead: None }));
    assert_eq!(*engine.listened.lock().unwrap(), [None], "nothing of before the first time");
    // Told again, by the same connection and by the next.
    assert!(world.hears(&engine, Batch { until: 6_000, ..batch.clone() }).await);
    engine.end(Ok(()));
    world.pass(1).await;
    assert!(world.hears(&engine, Batch { until: 6_000, ..batch }).await);
    assert_eq!((world.events().await.len(), engine.listened.lock().unwrap().clone()), (4, vec![None, Some(6_000 - OVERLAP_MS)]));
}

#[tokio::test]
async fn what_nobody_wants_is_not_stored() {
    let (world, engine, help_desk) = (World::new().await, Engine::new(ACCOUNT), HelpDesk::new());
    let _server = world.server(1, &[connection(1, "a", &engine, &help_desk)]);
    let asked_for_help = |lsid| Batch { happened: vec![happened(What::HelpRequested, lsid, None)], until: 1 };
    engine.wants_help.store(false, Ordering::SeqCst);
    assert!(world.hears(&engine, asked_for_help("1")).await);
    engine.wants_help.store(true, Ordering::SeqCst);
    help_desk.creates_tickets.store(false, Ordering::SeqCst);
    assert!(world.hears(&engine, asked_for_help("2")).await);
    help_desk.creates_tickets.store(true, Ordering::SeqCst);
    assert!(world.hears(&engine, asked_for_help("3")).await);
    assert_eq!(world.lsids().await, ["3"]);
}

/// Whose a session is where several connections use the host is asked when the event is worked at.
#[tokio::test]
async fn events_of_a_shared_host_are_given_to_nobody_yet() {
    let (world, engine, help_desk) = (World::new().await, Engine::new(ACCOUNT), HelpDesk::new());
    let server = world.server(1, &[connection(1, "a", &engine, &help_desk)]);
    server
        .services
        .connections
        .set(&[connection(1, "a", &engine, &help_desk)], &[(ConnectionId::from(Uuid::from_u128(2)), asked("host/other"))]);
    assert!(world.hears(&engine, ended(&["1"], 1)).await);
    let event = &world.events().await[0];
    assert_eq!((event.connection, event.account.as_str()), (None, ACCOUNT));
}

#[tokio::test]
async fn one_of_several_servers_hears_and_another_takes_over_within_twenty_seconds() {
    let (world, engines) = (World::new().await, [Engine::new(ACCOUNT), Engine::new(ACCOUNT)]);
    let servers = [world.server(1, &of_one_connection(&engines[0])), world.server(2, &of_one_connection(&engines[1]))];
    world.pass(40).await;
    let connections = engines.each_ref().map(|engine| engine.connections());
    assert_eq!(connections[0] + connections[1], 1, "{connections:?}");
    let (holder, other) = if connections[0] == 1 { (0, 1) } else { (1, 0) };
    assert!(world.hears(&engines[holder], ended(&["1"], 70_000)).await);
    servers[holder].kill();
    // The lease was renewed 5 s ago or later.
    world.pass(9).await;
    assert_eq!(engines[other].connections(), 0, "it may still be alive");
    let seconds = 9 + world.seconds_until(20, || engines[other].connections() == 1).await;
    assert!(seconds <= 20, "{seconds} s");
    assert_eq!(*engines[other].listened.lock().unwrap(), [Some(70_000 - OVERLAP_MS)]);
    assert!(world.hears(&engines[other], ended(&["1", "2"], 80_000)).await);
    assert_eq!(world.lsids().await, ["1", "2"]);
}

#[tokio::test]
async fn a_server_that_stops_hands_the_account_over_at_once() {
    let (world, engines) = (World::new().await, [Engine::new(ACCOUNT), Engine::new(ACCOUNT)]);
    let first = world.server(1, &of_one_connection(&engines[0]));
    world.seconds_until(1, || engines[0].connections() == 1).await;
    let _second = world.server(2, &of_one_connection(&engines[1]));
    world.pass(10).await;
    assert_eq!(engines[1].connections(), 0);
    first.stop.cancel();
    first.task.await.unwrap();
    let seconds = world.seconds_until(5, || engines[1].connections() == 1).await;
    assert!(seconds <= 5, "{seconds} s");
}

/// A server was held up for so long that another one hears the account, and goes on where it was.
#[tokio::test]
async fn a_server_that_lost_its_lease_moves_no_cursor_and_stops() {
    let (world, engine) = (World::new().await, Engine::new(ACCOUNT));
    let _server = world.server(1, &of_one_connection(&engine));
    assert!(world.hears(&engine, ended(&["1"], 100_000)).await);
    world.now.fetch_add(LEASE_MS, Ordering::SeqCst);
    let other = Uuid::from_u128(2);
    assert_eq!(world.take_lease(other).await, Some(Held { cursor: Some(100_000), clock_ahead: None }));
    assert!(world.store.save_cursor(ACCOUNT, other, 150_000, None).await.unwrap());
    assert!(!world.hears(&engine, ended(&["2"], 200_000)).await);
    assert_eq!(world.lsids().await, ["1", "2"], "what was heard is stored all the same");
    assert_eq!(world.take_lease(other).await, Some(Held { cursor: Some(150_000), clock_ahead: None }));
    world.pass(9).await;
    assert_eq!(engine.connections(), 1, "the other one hears");
    let seconds = 9 + world.seconds_until(20, || engine.connections() == 2).await;
    assert!(seconds >= 15, "{seconds} s");
    assert_eq!(engine.listened.lock().unwrap()[1], Some(150_000 - OVERLAP_MS));
}

/// Also where nothing happens: the lease itself tells.
#[tokio::test]
async fn a_server_that_lost_its_lease_listens_no_longer() {
    let (world, engine) = (World::new().await, Engine::new(ACCOUNT));
    let _server = world.server(1, &of_one_connection(&engine));
    world.seconds_until(1, || engine.connections() == 1).await;
    world.now.fetch_add(LEASE_MS, Ordering::SeqCst);
    world.take_lease(Uuid::from_u128(2)).await.unwrap();
    world.pass(6).await;
    let mut taken = engine.push(ended(&["1"], 1));
    world.settle().await;
    assert!(taken.try_recv().is_err(), "nobody listens");
}

/// Wherever the process ends while a batch is being kept: what the cursor says was heard is stored.
#[tokio::test]
async fn the_cursor_is_never_ahead_of_the_inbox() {
    let (mut cut_before, mut whole) = (0, 0);
    let mut world = World::new().await;
    for polls in 0.. {
        // A question that is broken off ends its connection to the database, with which one in memory would be gone.
        let folder = tempfile::tempdir().unwrap();
        world.store = deskbridge_store::open(&format!("sqlite://{}", folder.path().join("story.db").display())).await.unwrap();
        let engine = Engine::new(ACCOUNT);
        let services = services(&world.store, &Clock::Manual(world.now.clone()));
        services.connections.set(&of_one_connection(&engine), &[]);
        let account = Account::all(&services.connections.current()).remove(0);
        let hearing = Hearing::new(&services, &account, Uuid::from_u128(1));
        let (lease, has_taken) = (&hearing.login, AtomicBool::new(false));
        let held = lease.take().await.unwrap().unwrap();
        let taker = || hearing.taker(lease, held, None, &has_taken);
        let batch = ended(&["1", "2", "3"], 5_000);
        let is_whole = {
            let (taker, mut left) = (taker(), polls);
            let mut taking = pin!(taker.take(batch.clone()));
            poll_fn(|context| {
                if left == 0 {
                    return Poll::Ready(false);
                }
                left -= 1;
                taking.as_mut().poll(context).map(|taken| taken)
            })
            .await
        };
        let cursor = lease.take().await.unwrap().unwrap().cursor;
        let stored = world.lsids().await.len();
        match (stored, cursor) {
            (0, None) => cut_before += 1,
            (3, None) => {}
            (3, Some(5_000)) => whole += 1,
            other => panic!("after {polls} polls: {other:?}"),
        }
        assert!(taker().take(batch).await);
        assert_eq!(world.lsids().await, ["1", "2", "3"]);
        if is_whole {
            break;
        }
    }
    assert!(cut_before > 0 && whole > 0, "{cut_before} {whole}");
}

#[tokio::test]
async fn connections_that_fail_at_once_are_tried_ever_more_rarely() {
    let (world, engine) = (World::new().await, Engine::new(ACCOUNT));
    engine.ends_at_once.lock().unwrap().extend((0..1_000).map(|_| unreachable()));
    let _server = world.server(1, &of_one_connection(&engine));
    let mut seconds = Vec::new();
    for connections in 1..=9 {
        seconds.push(world.seconds_until(61, || engine.connections() == connections).await);
    }
    // A second is the least that this test lets pass.
    for (waited, rest) in seconds[1..].iter().zip([1, 2, 4, 8, 16, 32, 60, 60]) {
        assert!((rest * 4 / 5..=rest + 1).contains(waited), "{seconds:?}");
    }
    // A connection that is taken and breaks at once changes nothing; one that lasted begins anew.
    engine.ends_at_once.lock().unwrap().clear();
    assert!(world.seconds_until(61, || engine.connections() == 10).await >= 48);
    assert!(world.hears(&engine, Batch::default()).await);
    engine.end(Err(unreachable()));
    assert!(world.seconds_until(61, || engine.connections() == 11).await >= 48);
    world.pass(61).await;
    engine.end(Err(unreachable()));
    assert!(world.seconds_until(61, || engine.connections() == 12).await <= 2);
}

#[tokio::test]
async fn a_server_that_cannot_connect_leaves_the_account_to_another() {
    let (world, engines) = (World::new().await, [Engine::new(ACCOUNT), Engine::new(ACCOUNT)]);
    engines[0].ends_at_once.lock().unwrap().extend((0..1_000).map(|_| unreachable()));
    let _first = world.server(1, &of_one_connection(&engines[0]));
    world.pass(20).await;
    let _second = world.server(2, &of_one_connection(&engines[1]));
    world.seconds_until(6, || engines[1].connections() == 1).await;
    let tried = engines[0].connections();
    world.pass(60).await;
    assert_eq!((engines[0].connections(), engines[1].connections()), (tried, 1), "it leaves the other alone");
}

/// Many a system locks an account whose login is refused again and again.
#[tokio::test]
async fn refused_credentials_rest_and_no_other_server_tries_them() {
    let (world, engines) = (World::new().await, [Engine::new(ACCOUNT), Engine::new(ACCOUNT)]);
    let resting = EngineError::new(EngineFault::Resting { again_in: Duration::from_secs(100) }, "resting");
    engines[0].ends_at_once.lock().unwrap().extend([denied(), denied(), resting]);
    let first = world.server(1, &of_one_connection(&engines[0]));
    world.seconds_until(1, || engines[0].connections() == 1).await;
    let _second = world.server(2, &of_one_connection(&engines[1]));
    for (connections, rest) in [(2, 30), (3, 60), (4, 100)] {
        let waited = world.seconds_until(rest + 1, || engines[0].connections() == connections).await;
        assert!(waited >= rest, "{waited} s");
    }
    assert_eq!(engines[1].connections(), 0);
    // Saved anew, they are tried at once.
    engines[0].end(Err(denied()));
    world.pass(5).await;
    let new = Engine::new(ACCOUNT);
    first.services.connections.set(&of_one_connection(&new), &[]);
    world.seconds_until(2, || new.connections() == 1).await;
    assert_eq!(engines[1].connections(), 0);
}

/// An engine that is signed in to by a token of that user.
fn token(name: &str, user: &str) -> Arc<Engine> {
    let engine = Engine::new(&format!("host/{name}"));
    engine.signed_in.lock().unwrap().user = Some(user.into());
    engine
}

#[tokio::test]
async fn a_new_token_of_the_same_user_goes_on_where_the_old_one_stopped() {
    let (world, old, new) = (World::new().await, token("~t:old", "user//service"), token("~t:new", "user//service"));
    let server = world.server(1, &of_one_connection(&old));
    assert!(world.hears(&old, ended(&["1"], 100_000)).await);
    server.services.connections.set(&of_one_connection(&new), &[]);
    // Both are there for a moment.
    world.seconds_until(7, || new.connections() == 1).await;
    assert_eq!(*new.listened.lock().unwrap(), [Some(100_000 - OVERLAP_MS)]);
    assert!(world.hears(&new, ended(&["2"], 200_000)).await);
    // Killed, and started with yet another one.
    server.kill();
    world.pass(60).await;
    let third = token("~t:third", "user//service");
    let _again = world.server(2, &of_one_connection(&third));
    world.seconds_until(1, || third.connections() == 1).await;
    assert_eq!(*third.listened.lock().unwrap(), [Some(200_000 - OVERLAP_MS)]);
    // Another user has heard nothing yet.
    let other = token("~t:other", "user//other");
    let _other = world.server(3, &of_one_connection(&other));
    world.seconds_until(1, || other.connections() == 1).await;
    assert_eq!(*other.listened.lock().unwrap(), [None]);
}

/// Earlier versions stored with the token how far it was heard.
#[tokio::test]
async fn what_was_heard_before_users_were_known_is_not_forgotten() {
    let (world, engine) = (World::new().await, token("account", "user//service"));
    let before = Uuid::from_u128(9);
    assert!(world.take_lease(before).await.is_some() && world.store.save_cursor(ACCOUNT, before, 70_000, None).await.unwrap());
    world.store.release_listener(ACCOUNT, before).await.unwrap();
    let _server = world.server(1, &of_one_connection(&engine));
    world.seconds_until(1, || engine.connections() == 1).await;
    assert_eq!(*engine.listened.lock().unwrap(), [Some(70_000 - OVERLAP_MS)]);
}

#[tokio::test]
async fn two_tokens_of_one_user_are_heard_once_for_both_connections() {
    let (world, engines) = (World::new().await, [token("~t:1", "user//service"), token("~t:2", "user//service")]);
    let help_desk = HelpDesk::new();
    engines[0].wants_help.store(false, Ordering::SeqCst);
    engines[1].wants_help.store(false, Ordering::SeqCst);
    let server = world.server(1, &[connection(1, "a", &engines[0], &help_desk), connection(2, "b", &engines[1], &help_desk)]);
    world.pass(40).await;
    let connections = engines.each_ref().map(|engine| engine.connections());
    assert_eq!(connections[0] + connections[1], 1, "{connections:?}");
    let (heard, other) = if connections[0] == 1 { (0, 1) } else { (1, 0) };
    // Wanted by the connection whose token is not used.
    let asked_for_help = |lsid| Batch { happened: vec![happened(What::HelpRequested, lsid, None)], until: 100_000 };
    assert!(world.hears(&engines[heard], asked_for_help("1")).await);
    engines[other].wants_help.store(true, Ordering::SeqCst);
    assert!(world.hears(&engines[heard], asked_for_help("2")).await);
    assert_eq!(world.lsids().await, ["2"]);
    // One is taken away, or its token is refused: the other one goes on.
    engines[heard].ends_at_once.lock().unwrap().extend((0..100).map(|_| denied()));
    engines[heard].end(Err(denied()));
    world.seconds_until(6, || engines[other].connections() == 1).await;
    assert_eq!(*engines[other].listened.lock().unwrap(), [Some(100_000 - OVERLAP_MS)]);
    server.services.connections.set(&[connection(1, "a", &engines[heard], &help_desk)], &[]);
    engines[heard].ends_at_once.lock().unwrap().clear();
    let before = engines[heard].connections();
    world.seconds_until(35, || engines[heard].connections() == before + 1).await;
}

/// Events stored after that have a smaller time than what was heard before.
#[tokio::test]
async fn a_clock_that_was_set_back_loses_nothing() {
    const HOUR: i64 = 3_600_000;
    let (world, engine) = (World::new().await, Engine::new(ACCOUNT));
    let says = |ahead: i64| engine.signed_in.lock().unwrap().now = Some(world.time() + ahead);
    says(7_000);
    let _server = world.server(1, &of_one_connection(&engine));
    world.seconds_until(1, || engine.connections() == 1).await;
    assert!(world.hears(&engine, Batch { until: NOW + 7_000, ..Batch::default() }).await);
    // It was away for longer than it was set back: no moment lies in the future.
    engine.ends_at_once.lock().unwrap().extend((0..100).map(|_| unreachable()));
    engine.end(Err(unreachable()));
    world.pass(150).await;
    world.now.fetch_add(2 * HOUR, Ordering::SeqCst);
    says(7_000 - HOUR);
    engine.ends_at_once.lock().unwrap().clear();
    let tried = engine.connections();
    world.seconds_until(80, || engine.connections() > tried).await;
    let since = engine.listened.lock().unwrap().last().copied().flatten().unwrap();
    let expected = NOW + 7_000 - HOUR - OVERLAP_MS;
    assert!((expected - 80_000..=expected).contains(&since), "{}", since - expected);
    // That is known from then on.
    assert!(world.hears(&engine, Batch { until: world.time() - HOUR, ..Batch::default() }).await);
    let heard = world.time() - HOUR;
    says(7_000 - HOUR);
    engine.end(Err(unreachable()));
    let tried = engine.connections();
    world.seconds_until(61, || engine.connections() > tried).await;
    let since = engine.listened.lock().unwrap().last().copied().flatten().unwrap();
    assert!((heard - OVERLAP_MS - 70_000..=heard - OVERLAP_MS).contains(&since), "{}", since - heard);
}

#[test]
fn a_moment_is_told_by_the_clock_as_it_is_now() {
    assert_eq!(by_their_clock(1_000, None, None, None), 1_000);
    assert_eq!(by_their_clock(1_000, Some(50), Some(50), Some(9_000)), 1_000);
    assert_eq!(by_their_clock(1_000, Some(50), Some(-450), Some(9_000)), 500, "set back by 500");
    assert_eq!(by_their_clock(1_000, Some(50), Some(600), Some(9_000)), 1_000, "set forward: what comes has a later time");
    assert_eq!(by_their_clock(1_000, None, Some(50), Some(700)), 700, "earlier versions did not note it");
}

#[tokio::test]
async fn a_refused_password_of_one_connection_does_not_silence_the_others() {
    another_way_is_used_after(denied()).await;
}

#[tokio::test]
async fn one_connection_that_cannot_connect_does_not_silence_the_others() {
    another_way_is_used_after(unreachable()).await;
}

/// One of an account's two connections fails so.
async fn another_way_is_used_after(fault: EngineError) {
    let (world, engines, help_desk) = (World::new().await, [Engine::new(ACCOUNT), Engine::new(ACCOUNT)], HelpDesk::new());
    engines[0].ends_at_once.lock().unwrap().extend((0..1_000).map(|_| fault.clone()));
    *engines[0].fails.lock().unwrap() = Some(fault);
    let running = [connection(1, "a", &engines[0], &help_desk), connection(2, "b", &engines[1], &help_desk)];
    let server = world.server(1, &running);
    world.seconds_until(1, || engines[1].connections() == 1).await;
    assert!(world.hears(&engines[1], ended(&["1"], 1)).await);
    // For as long as the other one works, this one is left alone.
    world.pass(120).await;
    assert_eq!((engines[0].connections(), engines[1].connections()), (1, 1));
    engines[1].end(Err(unreachable()));
    world.seconds_until(3, || engines[1].connections() == 2).await;
    assert!(engines[0].connections() <= 3);

    let session =
        SessionReport { lsid: "2".into(), external_key: Some(TICKET.into()), end_time: Some(NOW / 1_000), ..SessionReport::default() };
    *engines[1].ended_sessions.lock().unwrap() = vec![session];
    let account = sweep::Account::find(&server.services, ACCOUNT).unwrap();
    assert_eq!(sweep::sweep_if_due(&server.services, &account, true).await.unwrap().unwrap().sessions, 1);
    *engines[1].fails.lock().unwrap() = Some(denied());
    assert!(sweep::sweep_if_due(&server.services, &account, true).await.is_err());
}

#[tokio::test]
async fn saved_settings_count_without_a_restart() {
    let (world, engine) = (World::new().await, Engine::new(ACCOUNT));
    let server = world.server(1, &[]);
    world.pass(3).await;
    server.services.connections.set(&of_one_connection(&engine), &[]);
    world.seconds_until(2, || engine.connections() == 1).await;
    assert!(world.hears(&engine, ended(&["1"], 100_000)).await);
    // Built anew: heard by the new one alone, which goes on where the other was.
    let new = Engine::new(ACCOUNT);
    server.services.connections.set(&of_one_connection(&new), &[]);
    world.seconds_until(3, || new.connections() == 1).await;
    assert_eq!(*new.listened.lock().unwrap(), [Some(100_000 - OVERLAP_MS)]);
    let mut taken = engine.push(ended(&["2"], 100_001));
    assert!(world.hears(&new, ended(&["3"], 100_001)).await);
    assert!(taken.try_recv().is_err(), "nobody hears the former one");
    // Another connection of the account changes nothing.
    let help_desk = HelpDesk::new();
    let unchanged = server.services.connections.current().running()[0].clone();
    server.services.connections.set(&[unchanged, connection(2, "b", &new, &help_desk)], &[]);
    world.pass(3).await;
    assert_eq!(new.connections(), 1);
    // Removed: nobody hears it, and it is free.
    server.services.connections.set(&[], &[]);
    world.pass(2).await;
    assert_eq!(world.take_lease(Uuid::from_u128(2)).await, Some(Held { cursor: Some(100_001), clock_ahead: None }));
    assert_eq!(world.lsids().await, ["1", "3"]);
}

#[tokio::test]
async fn a_sweep_and_a_listener_tell_of_one_end() {
    let (world, engine) = (World::new().await, Engine::new(ACCOUNT));
    let server = world.server(1, &of_one_connection(&engine));
    let session = |lsid: &str| SessionReport {
        lsid: lsid.into(),
        external_key: Some(TICKET.into()),
        end_time: Some(NOW / 1_000 - 10),
        ..SessionReport::default()
    };
    *engine.ended_sessions.lock().unwrap() = vec![session("aa"), session("bb")];
    assert!(world.hears(&engine, ended(&["aa"], 1)).await);
    let account = sweep::Account::find(&server.services, ACCOUNT).unwrap();
    let swept = sweep::sweep_if_due(&server.services, &account, true).await.unwrap().unwrap();
    assert_eq!(swept.sessions, 1, "the other one");
    assert!(world.hears(&engine, ended(&["aa", "bb"], 2)).await);
    assert_eq!(world.lsids().await, ["aa", "bb"]);
    let by_sweep = world.events().await.into_iter().find(|event| event.lsid == "bb").unwrap();
    assert_eq!(by_sweep.origin, "polling");
}

#[test]
fn a_cursor_goes_back_only_with_the_engines_clock() {
    assert_eq!(heard_until(None, 7), 7);
    assert_eq!(heard_until(Some(100_000), 100_001), 100_001);
    assert_eq!(heard_until(Some(100_000), 100_000 - OVERLAP_MS), 100_000, "reading begins before it");
    assert_eq!(heard_until(Some(100_000), 99_999 - OVERLAP_MS), 99_999 - OVERLAP_MS);
}

#[test]
fn an_engine_that_asks_for_patience_gets_it() {
    let busy = |seconds| Err(EngineError::new(EngineFault::Busy { retry_after: Duration::from_secs(seconds) }, "busy"));
    let mut rests = Rests::default();
    assert_eq!(rests.after(&busy(40), Duration::ZERO, false), Rest::OfConnections(Duration::from_secs(40)));
    assert_eq!(rests.after(&busy(1), Duration::ZERO, false), Rest::OfConnections(Duration::from_secs(2)));
    // Credentials that were good once are no longer counted as refused.
    for (has_taken, seconds) in [(false, 30), (false, 60), (true, 30)] {
        assert_eq!(rests.after(&Err(denied()), Duration::ZERO, has_taken), Rest::OfCredentials(Duration::from_secs(seconds)));
    }
}

#[test]
fn people_are_told_what_is_new() {
    let mut told = Told::default();
    assert!(told.is_news(Who::This) && !told.is_news(Who::This));
    assert!(told.is_new_failure("a", "away") && !told.is_new_failure("a", "away"));
    assert!(told.is_news(Who::This), "heard again after a failure that was told");
    assert!(!told.is_new_failure("a", "away"), "it comes and goes");
    assert!(!told.is_news(Who::This));
    assert!(told.is_new_failure("a", "refused") && told.is_news(Who::Another) && !told.is_news(Who::Another) && told.is_news(Who::This));
    assert!(told.is_new_failure("b", "away") && !told.is_new_failure("a", "refused"), "each connection by itself");
    told.failures.clear();
    assert!(told.is_new_failure("a", "refused"));
}
