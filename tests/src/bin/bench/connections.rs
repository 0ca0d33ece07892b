//! What many connections cost: a server that has nothing to do, and an agent who opens the sidebar of one of them.
//!
//! The peer is a server with one connection. All servers run side by side: their idle CPU is that of the same seconds, and their
//! sidebars are opened by turns, so that what else the machine does meets each of them.

use std::time::Duration;

use anyhow::{Context, Result};
use deskbridge_shared::routes;
use deskbridge_tests::scene::{Plan, Scene};
use deskbridge_tests::server::{Deskbridge, loopback_client, until};
use tokio::time::{Instant, sleep};

use crate::load::{self, Measured};
use crate::sidebar::signed_requests;
use crate::table::{Row, median, milliseconds};
use crate::{ROUNDS, machine, server_address};

/// Connections of each server; the first server is the others' peer.
const COUNTS: [usize; 3] = [1, 100, 10_000];
/// Sidebars opened in one round, one after the other.
const SIDEBARS_PER_ROUND: usize = 1_000;
/// A start that takes longer has failed.
const START_LIMIT: Duration = Duration::from_mins(10);
/// From the last server's start until its CPU is measured.
const SETTLE: Duration = Duration::from_secs(10);
/// So long nobody asks anything.
const IDLE: Duration = Duration::from_secs(20);
/// One tick of `/proc` in that time, as a share of a core: less cannot be told from nothing.
const LEAST_IDLE: f64 = 0.01 / 20.0;
/// Most idle CPU above the peer's, as a share of a core.
const IDLE_TARGET: f64 = 0.05;
/// Most time for 99 of 100 sidebars, by the peer's.
const P99_TARGET: f64 = 1.5;

/// Measures.
pub async fn run() -> Result<Vec<Row>> {
    let mut servers = Vec::with_capacity(COUNTS.len());
    for connections in COUNTS {
        let server = Server::start(connections).await?;
        eprintln!("  {}: ready after {:.1} s", plural(connections), server.ready_after.as_secs_f64());
        servers.push(server);
    }
    let idle = idle_shares(&servers).await?;
    for round in 0..ROUNDS {
        let last = servers.len() - 1;
        for place in 0..servers.len() {
            // Whoever goes first finds another machine than whoever goes last: take turns.
            let place = if round % 2 == 0 { place } else { last - place };
            servers[place].open_sidebars().await?;
        }
    }
    let peer = Figures::of(&servers[0], idle[0])?;
    let mut rows = Vec::new();
    for (server, idle) in servers.iter().zip(idle) {
        let figures = Figures::of(server, idle)?;
        rows.extend(if server.connections == COUNTS[0] { figures.rows() } else { figures.rows_against(&peer) });
    }
    Ok(rows)
}

/// A server with that many connections. One is to the simulated systems; nobody listens at the addresses of the others.
struct Server {
    connections: usize,
    scene: Scene,
    ready_after: Duration,
    /// p50 and p99 of each round.
    rounds: Vec<(Duration, Duration)>,
}

impl Server {
    async fn start(connections: usize) -> Result<Self> {
        let server = (1..connections).fold(Deskbridge::builder(), |server, number| server.connection_text(&unreachable(number)));
        // Without events there is nothing to ask the appliance for.
        let connection = "[appliance]\noutbound_events = []\npolling_events = []".parse()?;
        let mut scene = Scene::prepare(Plan { server, connection, ..Plan::default() }).await?;
        let begun = Instant::now();
        start(&mut scene.server).await.with_context(|| plural(connections))?;
        let server = Self { connections, scene, ready_after: begun.elapsed(), rounds: Vec::new() };
        // The first sidebar fetches the app's key.
        server.send(1).await?;
        Ok(server)
    }

    fn process_id(&self) -> Result<u32> {
        self.scene.server.process_id().context("the server does not run")
    }

    async fn open_sidebars(&mut self) -> Result<()> {
        let measured = self.send(SIDEBARS_PER_ROUND).await?;
        eprintln!("  {}: p50 {}, p99 {}", plural(self.connections), milliseconds(measured.p50()), milliseconds(measured.p99()));
        self.rounds.push((measured.p50(), measured.p99()));
        Ok(())
    }

    async fn send(&self, sidebars: usize) -> Result<Measured> {
        load::send(server_address(&self.scene)?, signed_requests(&self.scene, sidebars)?, 1).await
    }
}

/// What a server came to.
struct Figures {
    connections: usize,
    /// Share of a core.
    idle: f64,
    /// Seconds.
    p50: f64,
    /// Seconds.
    p99: f64,
    ready_after: Duration,
    /// Bytes.
    memory: u64,
}

impl Figures {
    fn of(server: &Server, idle: f64) -> Result<Self> {
        let of =
            |figure: fn(&(Duration, Duration)) -> Duration| median(server.rounds.iter().map(|round| figure(round).as_secs_f64()).collect());
        Ok(Self {
            connections: server.connections,
            idle,
            p50: of(|round| round.0),
            p99: of(|round| round.1),
            ready_after: server.ready_after,
            memory: machine::resident(server.process_id()?)?,
        })
    }

    fn rows(&self) -> [Row; 4] {
        let start = format!("{:.1} s, {:.0} MB", self.ready_after.as_secs_f64(), self.memory as f64 / 1e6);
        [
            Row::new(format!("idle CPU, {}", plural(self.connections)), percent_of_core(self.idle)),
            Row::new("  sidebars one after the other, p50", seconds(self.p50)),
            Row::new("  p99", seconds(self.p99)),
            Row::new("  first start until ready, and memory", start),
        ]
    }

    fn rows_against(&self, peer: &Self) -> [Row; 4] {
        let [idle, p50, p99, start] = self.rows();
        let with_one = |figure: String| format!("with one {figure}");
        [
            idle.against(with_one(percent_of_core(peer.idle)), self.idle / peer.idle.max(LEAST_IDLE))
                .wanted("+ <= 5 points", self.idle - peer.idle <= IDLE_TARGET),
            p50.against(with_one(seconds(peer.p50)), self.p50 / peer.p50),
            p99.against(with_one(seconds(peer.p99)), self.p99 / peer.p99).wanted("<= 150 %", self.p99 <= peer.p99 * P99_TARGET),
            start,
        ]
    }
}

/// Starts a server, however many connections it has to put into its database first.
async fn start(server: &mut Deskbridge) -> Result<()> {
    let Err(error) = server.start().await else { return Ok(()) };
    if server.process_id().is_none() {
        return Err(error);
    }
    // Only the harness's own patience is over.
    let ready = format!("{}{}", server.url(), routes::READYZ);
    let client = loopback_client()?;
    let is_ready = async || Ok(client.get(&ready).send().await.is_ok_and(|answer| answer.status().is_success()));
    until("the server is ready", START_LIMIT, is_ready).await
}

/// CPU that each server takes while nobody asks anything, as a share of a core.
async fn idle_shares(servers: &[Server]) -> Result<Vec<f64>> {
    let cpu_times = || servers.iter().map(|server| machine::cpu_time(server.process_id()?)).collect::<Result<Vec<_>>>();
    sleep(SETTLE).await;
    let (begun, before) = (Instant::now(), cpu_times()?);
    sleep(IDLE).await;
    let (elapsed, after) = (begun.elapsed(), cpu_times()?);
    Ok(after.iter().zip(before).map(|(after, before)| after.saturating_sub(before).as_secs_f64() / elapsed.as_secs_f64()).collect())
}

/// A connection whose Zendesk and appliance have an address of their own, at which nobody listens.
fn unreachable(number: usize) -> String {
    // 127.1.0.0 and up: no other server of this machine, and no other port of 127.0.0.1, is meant.
    let host = format!("127.{}.{}.{}:9", 1 + number / 65_536, number / 256 % 256, number % 256);
    format!(
        r#"
        name = "Connection {number}"
        [appliance]
        id = "appliance_{number}"
        host = "{host}"
        client_id = "client-{number}"
        client_secret = "secret-{number}"
        event_token = "event-token-{number}"
        outbound_events = []
        polling_events = []
        [zendesk]
        url = "http://{host}"
        username = "api@example.com"
        token = "token-{number}"
        app_id = 1
        installation_id = {number}
        "#
    )
}

fn plural(connections: usize) -> String {
    if connections == 1 { "1 connection".to_owned() } else { format!("{connections} connections") }
}

fn percent_of_core(share: f64) -> String {
    format!("{:.2} % of a core", share * 100.0)
}

fn seconds(seconds: f64) -> String {
    milliseconds(Duration::from_secs_f64(seconds))
}
