//! Never lost, never twice: the durable path from the appliance's event to the note, whatever dies, hangs or comes late.
//!
//! Real server processes are killed, stopped, frozen and started again between a simulated appliance and a simulated
//! Zendesk. What is asserted is what an agent finds on the ticket and what the appliance and the administrator see.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use deskbridge_shared::routes;
use deskbridge_tests::appliance::{
    self, Customer, Endpoint, EventKind, FaultRule, NewSession, Recipient, SessionScript, SimulatedAppliance, Step, SurveyAnswer,
};
use deskbridge_tests::outcomes::{CUSTOMER_SURVEY, SESSION_END};
use deskbridge_tests::processes::Signal;
use deskbridge_tests::scene::{CONNECTION, EVENT_TOKEN, Plan, Scene};
use deskbridge_tests::server::{Database, Deskbridge, loopback_client, tell, until};
use deskbridge_tests::zendesk::{self, Fault, Matching, SimulatedZendesk};
use futures_util::future::{join_all, try_join_all};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use reqwest::{Method, StatusCode};
use sqlx::{Connection as _, PgConnection};
use toml::{Table, toml};

/// Longest wait until everything is on its ticket. A dead server's lease lasts 15 s, a write nobody answers 30 s.
const DRAIN_LIMIT: Duration = Duration::from_secs(90);
/// A stop in order is over by then (DESIGN.md, Settled details).
const STOP_LIMIT: Duration = Duration::from_secs(10);
/// Well below a lease: what a restart at once means.
const AT_ONCE: Duration = Duration::from_secs(9);
/// The first sweep runs within 5 s of the start (DESIGN.md, Settled details).
const FIRST_SWEEP: Duration = Duration::from_secs(5);

/// Says where the process shall end (`server/src/fault_point.rs`).
const FAULT_POINT: &str = "DESKBRIDGE_FAULT_POINT";
/// So many events of a connection are worked at by one server at the same time (`server/src/inbox/health.rs`).
const PLACES: usize = 8;
/// Repeats a random test.
const SEED_VARIABLE: &str = "TEST_SEED";
/// How many bursts are killed into, one after the other on each database. One in everyday use; the promise was tried with 50.
const ROUNDS_VARIABLE: &str = "TEST_ROUNDS";

// Common to all

/// A sound installation in which nobody limits requests: neither side nor, as good as, the server itself.
fn unlimited(database: Database) -> Plan {
    Plan {
        connection: toml! { appliance = { calls_per_second = 1000 } },
        appliance: appliance::Options { rate_limits: None, ..appliance::Options::default() },
        zendesk: zendesk::Options { rate_limits: None, ..zendesk::Options::default() },
        server: Deskbridge::builder().database(database),
    }
}

/// For stories of several servers: whether they can be told.
fn several_servers() -> bool {
    Database::obtainable().contains(&Database::Postgres)
}

fn writes_to_tickets() -> Matching {
    Matching::new(Method::PUT, "/api/v2/tickets/")
}

/// This server as the appliance's recipient of session ends alone: nothing else then asks the appliance.
fn ends_to(server: &Deskbridge) -> Recipient {
    let url = format!("{}{}?appliance=default&token={EVENT_TOKEN}", server.url(), routes::APPLIANCE_EVENTS);
    Recipient { events: vec![EventKind::End], ..Recipient::new(url) }
}

/// A support session that has ended, in the order of the ends.
#[derive(Debug)]
struct Ended {
    ticket: u64,
    lsid: String,
}

fn play(appliance: &SimulatedAppliance, ticket: u64) -> Result<Ended> {
    Ok(Ended { ticket, lsid: appliance.play(SessionScript::short(ticket.to_string()))? })
}

/// The sessions whose reports stand on a ticket, in the order of the notes.
fn recorded(zendesk: &SimulatedZendesk, ticket: u64) -> Vec<String> {
    let lsid = |text: &str| {
        let (lsid, rest) = text.split_once("deskbridge/")?.1.split_once('/')?;
        rest.starts_with("report/0").then(|| lsid.to_owned())
    };
    zendesk.comments(ticket).iter().filter_map(|comment| lsid(&comment.plain_body)).collect()
}

/// What became of a number of sessions.
#[derive(Debug, Default, PartialEq, Eq)]
struct Census {
    sessions: usize,
    notes: usize,
    doubles: usize,
    losses: usize,
    /// Tickets whose notes do not stand in the order in which their sessions ended.
    disorders: usize,
}

impl Census {
    fn take(zendesk: &SimulatedZendesk, ended: &[Ended]) -> Self {
        let mut by_ticket: BTreeMap<u64, Vec<&str>> = BTreeMap::new();
        for session in ended {
            by_ticket.entry(session.ticket).or_default().push(&session.lsid);
        }
        let mut census = Self { sessions: ended.len(), ..Self::default() };
        for (ticket, wanted) in by_ticket {
            let found = recorded(zendesk, ticket);
            let mut once: Vec<&str> = Vec::new();
            for lsid in &found {
                if once.contains(&lsid.as_str()) {
                    census.doubles += 1;
                } else {
                    once.push(lsid);
                }
            }
            census.notes += found.len();
            census.losses += wanted.iter().filter(|lsid| !once.contains(lsid)).count();
            census.disorders += usize::from(once != wanted);
        }
        census
    }

    fn once_each(sessions: usize) -> Self {
        Self { sessions, notes: sessions, ..Self::default() }
    }
}

impl fmt::Display for Census {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sessions, notes, doubles, losses, disorders } = self;
        write!(formatter, "{sessions} sessions, {notes} notes, {doubles} doubles, {losses} losses, {disorders} tickets out of order")
    }
}

/// What servers and account say of sessions with more than one note.
fn story_of_doubles(zendesk: &SimulatedZendesk, servers: &[Deskbridge], ended: &[Ended]) -> Result<String> {
    let mut story = String::new();
    for Ended { ticket, lsid } in ended {
        if recorded(zendesk, *ticket).iter().filter(|found| *found == lsid).count() < 2 {
            continue;
        }
        for (number, server) in servers.iter().enumerate() {
            for line in server.logs().lines_matching(lsid)? {
                writeln!(story, "server {number}: {line}")?;
            }
        }
        for request in zendesk.requests().iter().filter(|request| request.path.contains(&format!("/tickets/{ticket}"))) {
            let ours = request.body.to_string().contains(lsid.as_str());
            writeln!(story, "account: {} {} {:?}{}", request.at, request.method, request.status, if ours { " this session" } else { "" })?;
        }
    }
    Ok(story)
}

/// Waits until every session stands on its ticket, once or more often.
async fn all_recorded(zendesk: &SimulatedZendesk, ended: &[Ended]) -> Result<()> {
    let all = async { while zendesk.wait_until(|zendesk| (Census::take(zendesk, ended).losses == 0).then_some(())).await.is_err() {} };
    let waited = tokio::time::timeout(DRAIN_LIMIT, all).await;
    waited.with_context(|| format!("after {DRAIN_LIMIT:?}: {}", Census::take(zendesk, ended)))
}

/// Waits until the appliance has its 200 for everything, everything stands on its ticket, and no event is left to be worked at.
async fn drained(appliance: &SimulatedAppliance, zendesk: &SimulatedZendesk, server: &Deskbridge, ended: &[Ended]) -> Result<()> {
    appliance.outbound_idle().await?;
    all_recorded(zendesk, ended).await?;
    until("no event waits", DRAIN_LIMIT, async || Ok(server.figure("deskbridge_events_waiting", &[CONNECTION]).await? == 0)).await
}

/// How many session ends a server says it has done.
fn ends_done(server: &Deskbridge) -> Result<Vec<String>> {
    server.logs().lines_matching(r#"kind="session_end".*: event done "#)
}

// The process dies at every step

/// Every place at which a process can die on the way of a session's end.
const STEPS: [&str; 7] = ["stored", "leased", "planned", "sent", "written", "confirmed", "finished"];

/// The process dies at each of these steps in turn, while one session is brought to its ticket.
async fn dies_at(database: Database, steps: &[&str]) -> Result<()> {
    let mut scene = Scene::prepare(unlimited(database)).await?;
    scene.appliance.set_recipient(ends_to(&scene.server));
    let mut ended = Vec::new();
    for step in steps {
        scene.server.set_env(FAULT_POINT, step);
        scene.server.start().await?;
        if ended.is_empty() {
            ended.push(play(&scene.appliance, scene.people.vpn_ticket)?);
        }
        let status = tokio::time::timeout(DRAIN_LIMIT, scene.server.ended()).await.context("the process lives on")??;
        ensure!(!status.success(), "{status}");
        scene.server.wait_for_log(&format!("fault point {step} reached")).await?;
    }
    scene.server.remove_env(FAULT_POINT);
    scene.server.start().await?;
    drained(&scene.appliance, &scene.zendesk, &scene.server, &ended).await?;
    let census = Census::take(&scene.zendesk, &ended);
    tell(&format!("{database:?}, dies when {}: {census}", steps.join(", then ")));
    ensure!(census == Census::once_each(1), "{census}");
    let status = scene.appliance.recipient_status().context("a recipient")?;
    ensure!((status.queued, status.delivered, status.dropped) == (0, 1, 0), "{status:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_step_the_process_dies_at_there_is_one_note() -> Result<()> {
    let mut stories = Vec::new();
    for database in Database::obtainable() {
        stories.extend(STEPS.map(|step| (database, vec![step])));
        // And again and again: each restart finds what the one before left behind.
        stories.push((database, vec!["sent", "planned", "written", "confirmed"]));
    }
    let told =
        stories.iter().map(async |(database, steps)| dies_at(*database, steps).await.with_context(|| format!("{database:?} {steps:?}")));
    try_join_all(told).await.map(drop)
}

// Killed at random moments

const SESSIONS: usize = 200;
const KILLS: usize = 50;
const TICKETS: usize = 20;

fn seed() -> Result<u64> {
    match std::env::var(SEED_VARIABLE) {
        Ok(given) => given.parse().with_context(|| format!("{SEED_VARIABLE} must be a number")),
        Err(_) => Ok(uuid::Uuid::now_v7().as_u64_pair().1),
    }
}

/// Sessions end all the while servers are killed and started again: one on SQLite, two in turn on PostgreSQL.
async fn killed_during_a_burst(database: Database) -> Result<()> {
    let seed = seed()?;
    let begun = Instant::now();
    let mut random = StdRng::seed_from_u64(seed);
    let scene = Scene::start(unlimited(database)).await?;
    let tickets: Vec<u64> = (0..TICKETS).map(|number| scene.add_ticket(&format!("Burst {number}"))).collect();
    let Scene { appliance, zendesk, server, .. } = scene;
    let mut servers = server.with_sibling(database).await?;
    appliance.set_recipient(ends_to(&servers[0]));
    zendesk.set_latency(Duration::from_millis(40));
    let mut ended = Vec::new();
    for kill in 0..KILLS {
        for _ in 0..SESSIONS / KILLS {
            ended.push(play(&appliance, tickets[random.random_range(0..tickets.len())])?);
        }
        // Now and then a note is written and the server never hears of it, until its end. Not near the end of the burst: a server
        // that lives on waits half a minute for an answer.
        if kill + 6 < KILLS && random.random_bool(0.3) {
            zendesk.fail_next(1, writes_to_tickets(), Fault::ApplyThenHang);
        } else if kill + 6 == KILLS {
            zendesk.clear_faults();
        }
        tokio::time::sleep(Duration::from_millis(random.random_range(0..700))).await;
        let (victim, survivor) = (kill % servers.len(), (kill + 1) % servers.len());
        // As a load balancer does. With one server, the appliance tries until it is back.
        appliance.set_recipient(ends_to(&servers[survivor]));
        servers[victim].restart().await?;
    }
    let burst = begun.elapsed();
    let outcome = drained(&appliance, &zendesk, &servers[0], &ended).await;
    let census = Census::take(&zendesk, &ended);
    let cut_off = zendesk.requests().iter().filter(|request| request.method == Method::PUT && request.status.is_none()).count();
    let mut found = 0;
    for server in &servers {
        found += server.logs().lines_matching("event done done=\"the report was found on ticket")?.len();
    }
    tell(&format!(
        "{database:?}, {} server(s), {SEED_VARIABLE}={seed}: {KILLS} kills, {census}; {cut_off} writes cut off, {found} found by their marker; \
         {:.0} s of kills, {:.0} s until all was recorded",
        servers.len(),
        burst.as_secs_f64(),
        begun.elapsed().saturating_sub(burst).as_secs_f64(),
    ));
    outcome?;
    ensure!(census == Census::once_each(SESSIONS), "{census}\n{}", story_of_doubles(&zendesk, &servers, &ended)?);
    ensure!(found > 0, "no kill came between a write and its confirmation");
    let status = appliance.recipient_status().context("a recipient")?;
    ensure!((status.queued, status.delivered, status.dropped) == (0, SESSIONS as u64, 0), "{status:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_random_moments_during_a_burst_nothing_is_lost_or_doubled() -> Result<()> {
    let rounds: u32 = std::env::var(ROUNDS_VARIABLE).map_or(Ok(1), |given| given.parse()).context(ROUNDS_VARIABLE)?;
    let told = Database::obtainable().into_iter().map(async |database| {
        for round in 1..=rounds {
            killed_during_a_burst(database).await.with_context(|| format!("{database:?}, round {round} of {rounds}"))?;
        }
        Ok(())
    });
    join_all(told).await.into_iter().collect()
}

// Several servers

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_servers_share_the_work_and_the_sidebars() -> Result<()> {
    if !several_servers() {
        return Ok(());
    }
    let scene = Scene::start(unlimited(Database::Postgres)).await?;
    let mut second = scene.server.sibling().await?;
    second.start().await?;
    // Each sweeps when it starts; later, that would tell of the same sessions as the events.
    swept(&scene.appliance, 2).await?;

    // Sidebars: a token counts once for all servers, a session is known to all.
    let agent = scene.people.agent;
    let launch = scene.zendesk.launch(agent)?;
    let client = loopback_client()?;
    for (server, expected) in [(&scene.server, StatusCode::OK), (&second, StatusCode::FORBIDDEN), (&scene.server, StatusCode::FORBIDDEN)] {
        let url = format!("{}{}?{}", server.url(), routes::ZENDESK_SIDEBAR, launch.query);
        let answer = client.post(url).form(&[("token", &launch.token)]).send().await?;
        assert_eq!(answer.status(), expected, "{} on {}", answer.text().await?, server.url());
    }
    let sidebar = scene.open_sidebar(agent).await?;
    let ticket = scene.people.vpn_ticket.to_string();
    let panel = client
        .get(format!("{}{}", second.url(), routes::PANEL))
        .bearer_auth(sidebar.bearer())
        .query(&[("connection", sidebar.connection()), ("ticket", &ticket)])
        .send()
        .await?;
    assert_eq!(panel.status(), StatusCode::OK, "{}", panel.text().await?);

    // Work: both have a part of it, and no part is done twice.
    scene.appliance.set_recipient(ends_to(&scene.server));
    scene.zendesk.set_latency(Duration::from_millis(50));
    let tickets: Vec<u64> = (0..40).map(|number| scene.add_ticket(&format!("Shared {number}"))).collect();
    let begun = Instant::now();
    let ended: Vec<Ended> = (0..SESSIONS).map(|number| play(&scene.appliance, tickets[number % tickets.len()])).collect::<Result<_>>()?;
    drained(&scene.appliance, &scene.zendesk, &scene.server, &ended).await?;
    let census = Census::take(&scene.zendesk, &ended);
    let done = [ends_done(&scene.server)?.len(), ends_done(&second)?.len()];
    tell(&format!("two servers: {census}; done by each: {done:?}; {:.1} s", begun.elapsed().as_secs_f64()));
    assert_eq!(census, Census::once_each(SESSIONS));
    assert!(done.iter().all(|done| *done > 0) && done.iter().sum::<usize>() == SESSIONS, "{done:?}");
    assert_eq!(scene.zendesk.count(&Method::PUT, "/api/v2/tickets/"), SESSIONS, "no write was tried twice");
    scene.every_event_was_taken_at_once().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_given_to_a_busy_server_is_done_by_another_within_a_second() -> Result<()> {
    if !several_servers() {
        return Ok(());
    }
    let scene = Scene::start(unlimited(Database::Postgres)).await?;
    scene.appliance.set_recipient(ends_to(&scene.server));
    let mut second = scene.server.sibling().await?;
    second.start().await?;
    second.signal(Signal::Stop)?;
    // All places are taken by writes that are given up after this test.
    for number in 0..PLACES {
        let ticket = scene.add_ticket(&format!("Hung {number}"));
        scene.zendesk.fail_always(Matching::new(Method::PUT, format!("/api/v2/tickets/{ticket}")), Fault::Hang);
        play(&scene.appliance, ticket)?;
    }
    scene.zendesk.wait_for_requests(&Method::PUT, "/api/v2/tickets/", PLACES).await?;
    second.signal(Signal::Continue)?;
    let mut took = Vec::new();
    for number in 0..9 {
        let session = play(&scene.appliance, scene.add_ticket(&format!("Quick {number}")))?;
        scene.appliance.outbound_idle().await?;
        let stored = Instant::now();
        all_recorded(&scene.zendesk, std::slice::from_ref(&session)).await?;
        took.push(stored.elapsed());
        assert!(ends_done(&scene.server)?.is_empty(), "the first server was not busy");
        second.wait_for_log(&format!("{}.*: event done ", session.lsid)).await?;
    }
    tell(&format!("given to a busy server, on the ticket by another after {took:.0?}"));
    // The first comes while the other server goes on after its stop.
    took.remove(0);
    assert!(took.iter().all(|took| *took < Duration::from_secs(1)), "{took:?}");
    // A look once a second alone would need half a second on average.
    assert!(took.iter().sum::<Duration>() / 8 < Duration::from_millis(400), "nobody woke the other server: {took:?}");
    Ok(())
}

/// Stops a server (SIGSTOP) with an event in its hands for longer than a lease. Another takes the event over; the first, running
/// again, must not write what the other wrote.
async fn freezes(before_the_write: bool) -> Result<()> {
    let scene = Scene::start(unlimited(Database::Postgres)).await?;
    let mut second = scene.server.sibling().await?;
    scene.appliance.set_recipient(ends_to(&scene.server));
    let ticket = scene.people.vpn_ticket;
    let ended;
    if before_the_write {
        // A lock on the table of deliveries holds the server just before it plans its write.
        let mut database = PgConnection::connect(scene.server.database_url()).await?;
        let mut locked = database.begin().await?;
        sqlx::query("LOCK TABLE delivery IN ACCESS EXCLUSIVE MODE").execute(&mut *locked).await?;
        ended = vec![play(&scene.appliance, ticket)?];
        let observer = tokio::sync::Mutex::new(PgConnection::connect(scene.server.database_url()).await?);
        until("the server waits for the lock", DRAIN_LIMIT, async || {
            let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
            Ok(sqlx::query_scalar::<_, i64>(waiting).fetch_one(&mut *observer.lock().await).await? > 0)
        })
        .await?;
        scene.server.signal(Signal::Stop)?;
        locked.rollback().await?;
    } else {
        scene.zendesk.set_latency(Duration::from_secs(1));
        ended = vec![play(&scene.appliance, ticket)?];
        scene.zendesk.wait_for_requests(&Method::PUT, "/api/v2/tickets/", 1).await?;
        scene.server.signal(Signal::Stop)?;
    }
    second.start().await?;
    second.wait_for_log(&format!("{}.*: event done ", ended[0].lsid)).await?;
    scene.server.signal(Signal::Continue)?;
    scene.server.wait_for_log("lease (was )?lost").await?;
    drained(&scene.appliance, &scene.zendesk, &second, &ended).await?;
    let census = Census::take(&scene.zendesk, &ended);
    tell(&format!("frozen {} the write: {census}", if before_the_write { "before" } else { "during" }));
    ensure!(census == Census::once_each(1), "{census}");
    ensure!(scene.zendesk.count(&Method::PUT, "/api/v2/tickets/") == 1, "written again");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_freezes_and_comes_back_doubles_nothing() -> Result<()> {
    if !several_servers() {
        return Ok(());
    }
    tokio::try_join!(freezes(true), freezes(false)).map(drop)
}

// Stopping in order

async fn stops_in_order(database: Database) -> Result<()> {
    let mut scene = Scene::start(unlimited(database)).await?;
    scene.appliance.set_recipient(ends_to(&scene.server));
    scene.zendesk.set_latency(Duration::from_millis(500));
    let ended: Vec<Ended> =
        (0..24).map(|number| play(&scene.appliance, scene.add_ticket(&format!("Stop {number}")))).collect::<Result<_>>()?;
    scene.zendesk.wait_for_requests(&Method::PUT, "/api/v2/tickets/", 3).await?;
    let begun = Instant::now();
    let status = scene.server.terminate().await?;
    let stop = begun.elapsed();
    ensure!(status.code() == Some(0), "{status}");
    ensure!(stop < STOP_LIMIT, "{stop:?}");
    let open = Census::take(&scene.zendesk, &ended).losses;
    ensure!(open > 0, "there was nothing left to resume");
    let begun = Instant::now();
    scene.server.start().await?;
    drained(&scene.appliance, &scene.zendesk, &scene.server, &ended).await?;
    let resumed = begun.elapsed();
    let census = Census::take(&scene.zendesk, &ended);
    tell(&format!(
        "{database:?}, SIGTERM during work: ended in {stop:.1?}; the other {open} recorded {resumed:.1?} after the restart; {census}"
    ));
    ensure!(census == Census::once_each(24), "{census}");
    ensure!(resumed < AT_ONCE, "{resumed:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_in_order_is_quick_and_a_restart_resumes_at_once() -> Result<()> {
    let told =
        Database::obtainable().into_iter().map(async |database| stops_in_order(database).await.with_context(|| format!("{database:?}")));
    try_join_all(told).await.map(drop)
}

/// The server ends while a write is on its way, which happens only after the server is back.
async fn written_after_the_restart(in_order: bool) -> Result<()> {
    let mut scene = Scene::start(unlimited(Database::Sqlite)).await?;
    scene.appliance.set_recipient(ends_to(&scene.server));
    scene.zendesk.fail_next(1, writes_to_tickets(), Fault::ApplyLater(Duration::from_secs(11)));
    let ended = [play(&scene.appliance, scene.people.vpn_ticket)?];
    scene.zendesk.wait_for_requests(&Method::PUT, "/api/v2/tickets/", 1).await?;
    scene.appliance.outbound_idle().await?;
    if in_order {
        let begun = Instant::now();
        ensure!(scene.server.terminate().await?.success());
        ensure!(begun.elapsed() < STOP_LIMIT, "{:?}", begun.elapsed());
    } else {
        scene.server.kill().await?;
    }
    ensure!(recorded(&scene.zendesk, ended[0].ticket).is_empty());
    scene.server.start().await?;
    let said = scene.outcome(&ended[0].lsid, SESSION_END).await?.done()?;
    ensure!(said.contains("was found"), "{said}");
    drained(&scene.appliance, &scene.zendesk, &scene.server, &ended).await?;
    let census = Census::take(&scene.zendesk, &ended);
    ensure!(census == Census::once_each(1), "{census}");
    Ok(())
}

/// The account works at a write for longer than we wait for its answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_happens_long_after_we_gave_up_is_not_done_again() -> Result<()> {
    let scene = Scene::start(unlimited(Database::Sqlite)).await?;
    scene.zendesk.fail_next(1, writes_to_tickets(), Fault::ApplyLater(Duration::from_secs(40)));
    let ended = [play(&scene.appliance, scene.people.vpn_ticket)?];
    drained(&scene.appliance, &scene.zendesk, &scene.server, &ended).await?;
    let census = Census::take(&scene.zendesk, &ended);
    ensure!(census == Census::once_each(1), "{census}");
    ensure!(scene.zendesk.count(&Method::PUT, "/api/v2/tickets/") == 1, "it was only looked for");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_happens_only_after_the_restart_is_waited_for() -> Result<()> {
    tokio::try_join!(written_after_the_restart(true), written_after_the_restart(false)).map(drop)
}

// Sweeps

/// Waits until the sweep of that number, counted from the scene's start, has asked all it asks.
async fn swept(appliance: &SimulatedAppliance, sweeps: usize) -> Result<()> {
    appliance.wait_for_count(sweeps, |request| request.is("SupportRepExitSurvey") && request.status.is_some()).await
}

/// A session under way; to be ended by the caller.
fn begin(appliance: &SimulatedAppliance, ticket: u64) -> Result<Ended> {
    let lsid = appliance.begin_session(NewSession::with_external_key(ticket.to_string()));
    appliance.customer_joins(&lsid, Customer::named("John Smith"))?;
    Ok(Ended { ticket, lsid })
}

#[tokio::test]
async fn without_outbound_events_sessions_and_late_surveys_are_found_by_asking() -> Result<()> {
    let connection = toml! {
        [appliance]
        outbound_events = []
        polling_events = ["session_end"]
        polling_interval_minutes = 1
    };
    let mut scene = Scene::prepare(Plan { connection, ..unlimited(Database::Sqlite) }).await?;
    let appliance = scene.appliance.clone();
    appliance.remove_recipient("Deskbridge");
    let (busy, other) = (scene.people.vpn_ticket, scene.people.printer_ticket);

    // Ended while the server was down. What began last ended first.
    let mut ended = vec![begin(&appliance, busy)?, begin(&appliance, busy)?, begin(&appliance, busy)?];
    ended.reverse();
    for session in &ended {
        appliance.clock().advance_seconds(1);
        appliance.end_session(&session.lsid)?;
    }
    for _ in 0..8 {
        ended.push(play(&appliance, busy)?);
    }
    ended.push(play(&appliance, other)?);
    scene.server.start().await?;
    let begun = Instant::now();
    swept(&appliance, 1).await?;
    assert!(begun.elapsed() < FIRST_SWEEP, "{:?}", begun.elapsed());
    all_recorded(&scene.zendesk, &ended).await?;
    assert_eq!(Census::take(&scene.zendesk, &ended), Census::once_each(12));

    // Down again, from one day into the next; nothing of it is left out, nor is the survey of a session swept long ago.
    assert!(scene.server.terminate().await?.success());
    for _ in 0..3 {
        appliance.clock().advance_seconds(9 * 3_600);
        ended.push(play(&appliance, busy)?);
    }
    appliance.clock().advance_seconds(2 * 3_600);
    let late = ended[11].lsid.clone();
    appliance.complete_customer_survey(&late, vec![SurveyAnswer::rating("4"), SurveyAnswer::comments("Late, but well.")])?;
    scene.server.start().await?;
    let begun = Instant::now();
    swept(&appliance, 2).await?;
    assert!(begun.elapsed() < FIRST_SWEEP, "{:?}", begun.elapsed());
    all_recorded(&scene.zendesk, &ended).await?;
    scene.outcome(&late, CUSTOMER_SURVEY).await?.done()?;
    assert!(scene.notes(other, &late).iter().any(|note| note.plain_body.contains("Late, but well.")));

    // A third sweep finds nothing new.
    scene.server.restart().await?;
    swept(&appliance, 3).await?;
    drained(&appliance, &scene.zendesk, &scene.server, &ended).await?;
    let census = Census::take(&scene.zendesk, &ended);
    tell(&format!("polling: {census}"));
    assert_eq!(census, Census::once_each(15));
    assert_eq!(scene.notes(other, &late).len(), 2, "the report and the survey");
    assert_eq!(scene.zendesk.count(&Method::PUT, "/api/v2/tickets/"), 16);
    Ok(())
}

#[tokio::test]
async fn events_that_never_came_are_made_up_for_and_a_late_one_changes_nothing() -> Result<()> {
    let mut scene = Scene::start(unlimited(Database::Sqlite)).await?;
    let appliance = scene.appliance.clone();
    swept(&appliance, 1).await?;
    let tickets = [scene.people.vpn_ticket, scene.people.printer_ticket, scene.people.scanner_ticket];

    // Never came: the queue is gone with its recipient.
    appliance.remove_recipient("Deskbridge");
    let script = |ticket: u64| SessionScript::short(ticket.to_string()).after(5, Step::CustomerSurvey(vec![SurveyAnswer::rating("2")]));
    let mut ended = Vec::new();
    for ticket in tickets {
        ended.push(Ended { ticket, lsid: appliance.play(script(ticket))? });
    }
    scene.server.restart().await?;
    for session in &ended {
        for kind in [SESSION_END, CUSTOMER_SURVEY] {
            scene.outcome(&session.lsid, kind).await?.done()?;
        }
        assert_eq!(scene.notes(session.ticket, &session.lsid).len(), 2);
    }

    // One comes after all.
    appliance.set_recipient(ends_to(&scene.server));
    let mark = scene.server.logs().mark();
    let (late, lsid) = (EventKind::End, ended[0].lsid.clone());
    let fields = [("event", late.as_str()), ("timestamp", "1733240467"), ("lsid", &lsid), ("external_key", &ended[0].ticket.to_string())]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
    appliance.send_raw_event(EventKind::End, fields.to_vec());
    let said = scene.outcome_after(mark, &lsid, SESSION_END).await?.done()?;
    assert!(said.contains("already"), "{said}");

    // Event and sweep race for the same sessions when the server comes back.
    scene.server.kill().await?;
    for number in 0..30 {
        ended.push(play(&appliance, tickets[number % tickets.len()])?);
    }
    scene.server.start().await?;
    drained(&appliance, &scene.zendesk, &scene.server, &ended).await?;
    let census = Census::take(&scene.zendesk, &ended);
    tell(&format!("events and sweeps together: {census}"));
    assert_eq!(census, Census::once_each(33));
    Ok(())
}

// Neighbours

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hung_appliance_holds_up_no_other_connection() -> Result<()> {
    let mut scene = Scene::prepare(unlimited(Database::Sqlite)).await?;
    let hung = SimulatedAppliance::start(appliance::Options { rate_limits: None, ..appliance::Options::default() }).await?;
    hung.add_fault(FaultRule::always(appliance::Fault::Hang));
    let mut settings: Table = std::fs::read_to_string(scene.server.settings_path())?.parse()?;
    let connections = settings["connection"].as_array_mut().context("connections")?;
    let mut second = connections[0].clone();
    // Comes before the other by name, so that a server which does one after the other would wait for it first.
    second["name"] = "A hung appliance".into();
    second["appliance"]["id"] = "hung".into();
    second["appliance"]["host"] = hung.host().into();
    connections.push(second);
    std::fs::write(scene.server.settings_path(), settings.to_string())?;
    scene.server.start().await?;
    scene.appliance.set_recipient(ends_to(&scene.server));
    let url = format!("{}{}?appliance=hung&token={EVENT_TOKEN}", scene.server.url(), routes::APPLIANCE_EVENTS);
    hung.set_recipient(Recipient { events: vec![EventKind::End], ..Recipient::new(url) });

    let tickets: Vec<u64> = (0..30).map(|number| scene.add_ticket(&format!("Neighbour {number}"))).collect();
    for ticket in &tickets {
        play(&hung, *ticket)?;
    }
    hung.outbound_idle().await?;
    let begun = Instant::now();
    let ended: Vec<Ended> = tickets.iter().map(|ticket| play(&scene.appliance, *ticket)).collect::<Result<_>>()?;
    drained(&scene.appliance, &scene.zendesk, &scene.server, &ended).await?;
    let took = begun.elapsed();
    let census = Census::take(&scene.zendesk, &ended);
    tell(&format!("beside a hung appliance: {census} in {took:.1?}"));
    assert_eq!(census, Census::once_each(30));
    assert_eq!(scene.server.figure("deskbridge_events_waiting", &["A hung appliance"]).await?, 30, "the other's wait");
    // Its first request cannot have been given up by then.
    assert!(took < Duration::from_secs(15), "{took:?}");
    for appliance in [&hung, &scene.appliance] {
        assert!(appliance.attempts().iter().all(|attempt| attempt.outcome == Ok(200)));
    }
    Ok(())
}

#[tokio::test]
async fn tickets_that_cannot_be_written_to_hold_up_no_others() -> Result<()> {
    let scene = Scene::start(unlimited(Database::Sqlite)).await?;
    scene.appliance.set_recipient(ends_to(&scene.server));
    // Enough of them to look like a sick account.
    let sick: Vec<u64> = (0..5).map(|number| scene.add_ticket(&format!("Sick {number}"))).collect();
    for ticket in &sick {
        let matching = Matching::new(Method::PUT, format!("/api/v2/tickets/{ticket}"));
        scene.zendesk.fail_always(matching, Fault::Status { code: 500, body: String::new(), retry_after: None });
    }
    let well: Vec<u64> = (0..15).map(|number| scene.add_ticket(&format!("Well {number}"))).collect();
    let mut ended = Vec::new();
    let begun = Instant::now();
    for round in 0..3 {
        for ticket in &sick {
            play(&scene.appliance, *ticket)?;
        }
        for ticket in &well {
            ended.push(play(&scene.appliance, *ticket)?);
        }
        all_recorded(&scene.zendesk, &ended).await.with_context(|| format!("round {round}"))?;
    }
    let took = begun.elapsed();
    let census = Census::take(&scene.zendesk, &ended);
    tell(&format!("beside five sick tickets: {census} in {took:.1?}"));
    assert_eq!(census, Census::once_each(45));
    assert!(took < Duration::from_secs(20), "{took:?}");
    assert!(sick.iter().all(|ticket| recorded(&scene.zendesk, *ticket).is_empty()));
    scene.every_event_was_taken_at_once().await
}

// The door

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_event_is_taken_while_nothing_can_be_worked_at() -> Result<()> {
    const SENDERS: usize = 16;
    const EACH: usize = 25;
    let mut scene = Scene::start(unlimited(Database::Sqlite)).await?;
    scene.appliance.add_fault(FaultRule::always(appliance::Fault::Hang).at(Endpoint::Reporting));
    scene.zendesk.fail_always(Matching::any_api_call(), Fault::Hang);
    let played: Vec<Ended> = (0..40).map(|_| play(&scene.appliance, scene.people.vpn_ticket)).collect::<Result<_>>()?;

    let recipient = scene.recipient();
    let senders = (0..SENDERS).map(|sender| {
        let url = recipient.url.clone();
        async move {
            let client = loopback_client()?;
            let mut took = Vec::new();
            for number in 0..EACH {
                let lsid = format!("{:032x}", sender * EACH + number + 1);
                let form = [("event", EventKind::End.as_str()), ("version", "7"), ("timestamp", "1733240467"), ("lsid", &lsid)];
                let begun = Instant::now();
                let answer = client.post(&url).form(&form).send().await?;
                ensure!(answer.status() == StatusCode::OK, "{}", answer.status());
                took.push(begun.elapsed());
            }
            anyhow::Ok(took)
        }
    });
    let (taken, sent) = tokio::join!(scene.every_event_was_taken_at_once(), try_join_all(senders));
    taken?;
    let mut took = sent?.concat();
    took.sort_unstable();
    let of_the_appliance = scene.appliance.attempts().len();
    tell(&format!(
        "the door with a stuck worker: {} events, all 200; median {:.1?}, slowest {:.1?}",
        took.len() + of_the_appliance,
        took[took.len() / 2],
        took[took.len() - 1]
    ));
    let all = u64::try_from(took.len() + of_the_appliance)?;
    assert_eq!(scene.server.figure("deskbridge_events_received_total", &[CONNECTION]).await?, all);
    assert_eq!(scene.server.figure("deskbridge_events_waiting", &[CONNECTION]).await?, all);
    // And they are still there when the process is not.
    scene.server.restart().await?;
    assert!(scene.server.figure("deskbridge_events_waiting", &[CONNECTION]).await? >= all);
    assert!(played.iter().all(|session| recorded(&scene.zendesk, session.ticket).is_empty()));
    Ok(())
}

// Seeing it

#[tokio::test]
async fn figures_and_dead_letters_are_seen_and_a_dead_letter_is_retried() -> Result<()> {
    let scene = Scene::start(unlimited(Database::Sqlite)).await?;
    swept(&scene.appliance, 1).await?;
    scene.appliance.set_recipient(ends_to(&scene.server));
    let closed = scene.add_ticket("Closed for a while");
    scene.zendesk.alter_ticket(closed, |ticket| "closed".clone_into(&mut ticket.status));

    let mut ended = Vec::new();
    for ticket in [scene.people.vpn_ticket, scene.people.printer_ticket, scene.people.vpn_ticket] {
        ended.push(play(&scene.appliance, ticket)?);
    }
    drained(&scene.appliance, &scene.zendesk, &scene.server, &ended).await?;
    let dead = play(&scene.appliance, closed)?;
    scene.outcome(&dead.lsid, SESSION_END).await?.dead()?;
    scene.appliance.hold_reports();
    let waiting = play(&scene.appliance, scene.people.scanner_ticket)?;
    scene.server.wait_for_log(&format!("{}.*event will be tried again", waiting.lsid)).await?;

    let figures = async |expected: [(&str, u64); 5]| {
        for (name, value) in expected {
            until(name, DRAIN_LIMIT, async || Ok(scene.server.figure(name, &[CONNECTION]).await? == value))
                .await
                .with_context(|| value.to_string())?;
        }
        anyhow::Ok(())
    };
    figures([
        ("deskbridge_events_received_total", 5),
        ("deskbridge_events_done_total", 3),
        ("deskbridge_events_dead_total", 1),
        ("deskbridge_dead_letters", 1),
        ("deskbridge_events_waiting", 1),
    ])
    .await?;
    assert!(scene.server.figure("deskbridge_events_retried_total", &[CONNECTION, "session_end"]).await? >= 1);

    let events = async |arguments: &[&str]| {
        let output = scene.server.command(&[&["events"], arguments].concat()).await?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?)
    };
    let listed = events(&["list", "--state", "dead"]).await?;
    let [line] = listed.lines().collect::<Vec<_>>()[..] else { bail!("one dead letter was expected:\n{listed}") };
    assert!(line.contains(&dead.lsid) && line.contains("closed"), "{line}");
    let id = line.split(' ').next().context("an id")?;
    let shown = events(&["show", id]).await?;
    assert!(shown.contains("dead after 1 attempts") && shown.contains("closed"), "{shown}");

    // The administrator opens the ticket again, then retries.
    scene.appliance.release_reports();
    scene.zendesk.alter_ticket(closed, |ticket| "open".clone_into(&mut ticket.status));
    let mark = scene.server.logs().mark();
    let said = events(&["retry", id]).await?;
    assert!(said.contains("due again"), "{said}");
    scene.outcome_after(mark, &dead.lsid, SESSION_END).await?.done()?;
    ended.extend([dead, waiting]);
    drained(&scene.appliance, &scene.zendesk, &scene.server, &ended).await?;
    assert_eq!(Census::take(&scene.zendesk, &ended), Census::once_each(5));
    assert!(events(&["list", "--state", "dead"]).await?.is_empty());
    figures([
        ("deskbridge_events_received_total", 5),
        ("deskbridge_events_done_total", 5),
        ("deskbridge_events_dead_total", 1),
        ("deskbridge_dead_letters", 0),
        ("deskbridge_events_waiting", 0),
    ])
    .await
}
