//! Signed-sidebar requests a second: the whole way of the real server (token, replay memory and session in one FULL-sync
//! commit, page, log) against a bare axum route that only verifies the same tokens.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use deskbridge_shared::routes;
use deskbridge_tests::scene::{Plan, Scene};
use serde_json::json;

use crate::bare_route::{BareRoute, Installation};
use crate::load::{self, Requests, form_post};
use crate::table::{Row, median, milliseconds, rate};
use crate::{ROUNDS, SENDERS, machine, server_address};

/// About three seconds of the bare route on two cores.
const REQUESTS_PER_ROUND: usize = 24_000;
/// Least share of the bare route's rate.
const TARGET: f64 = 0.70;

/// Measures.
pub async fn run() -> Result<Vec<Row>> {
    let pair = Pair::start().await?;
    pair.prove_that_both_verify().await?;
    let mut rounds = Vec::with_capacity(ROUNDS);
    for round in 0..ROUNDS {
        let requests = pair.signed_requests(REQUESTS_PER_ROUND)?;
        // Whoever goes first finds another machine than whoever goes second: take turns.
        let (ours, bare) = if round % 2 == 0 {
            let ours = measure(pair.server(), requests.clone()).await?;
            (ours, measure(pair.bare(), requests).await?)
        } else {
            let bare = measure(pair.bare(), requests.clone()).await?;
            (measure(pair.server(), requests).await?, bare)
        };
        eprintln!("  round {}: {} against {}", round + 1, rate(ours.per_second, "requests"), rate(bare.per_second, "requests"));
        rounds.push((ours, bare));
    }
    let of = |figure: fn(&Round, &Round) -> f64| median(rounds.iter().map(|(ours, bare)| figure(ours, bare)).collect());
    let share = of(|ours, bare| ours.per_second / bare.per_second);
    let cpu_share = of(|ours, bare| ours.cpu_per_request / bare.cpu_per_request);
    let p99 = |seconds: f64| milliseconds(Duration::from_secs_f64(seconds));
    Ok(vec![
        Row::new("signed sidebar", rate(of(|ours, _| ours.per_second), "requests"))
            .against(format!("bare verifying route {}", rate(of(|_, bare| bare.per_second), "requests")), share)
            .wanted(">= 70 %", share >= TARGET),
        Row::new("  CPU of the server", format!("{:.0} µs/request", of(|ours, _| ours.cpu_per_request) * 1e6))
            .against(format!("bare verifying route {:.0} µs/request", of(|_, bare| bare.cpu_per_request) * 1e6), cpu_share),
        Row::new("  p99, 64 connections", p99(of(|ours, _| ours.p99)))
            .against(format!("bare verifying route {}", p99(of(|_, bare| bare.p99))), of(|ours, bare| ours.p99 / bare.p99)),
    ])
}

/// One side of one round. Times in seconds.
struct Round {
    per_second: f64,
    cpu_per_request: f64,
    p99: f64,
}

async fn measure((address, process_id): (SocketAddr, u32), requests: Requests) -> Result<Round> {
    let count = requests.len();
    let before = machine::cpu_time(process_id)?;
    let measured = load::send(address, requests, SENDERS).await?;
    let cpu = machine::cpu_time(process_id)?.saturating_sub(before);
    Ok(Round { per_second: measured.per_second, cpu_per_request: cpu.as_secs_f64() / count as f64, p99: measured.p99().as_secs_f64() })
}

/// The real server and the bare route, both for the same installation.
pub struct Pair {
    scene: Scene,
    bare: BareRoute,
}

impl Pair {
    /// Starts both.
    pub async fn start() -> Result<Self> {
        let scene = Scene::start(Plan::default()).await?;
        let agent = scene.people.agent;
        let claims = scene.zendesk.sidebar_claims(agent);
        let claim = |name: &str| claims[name].as_str().map(str::to_owned).with_context(|| format!("a token without {name}"));
        let public_pem = scene.zendesk.app_key().public_pem();
        let bare = BareRoute::start(&Installation { public_pem, issuer: claim("iss")?, audience: claim("aud")? }).await?;
        Ok(Self { scene, bare })
    }

    /// Address and process of the real server.
    pub fn server(&self) -> (SocketAddr, u32) {
        let address = server_address(&self.scene);
        (address.unwrap_or_else(|_| SocketAddr::from(([127, 0, 0, 1], 0))), self.scene.server.process_id().unwrap_or_default())
    }

    /// Address and process of the bare route.
    pub fn bare(&self) -> (SocketAddr, u32) {
        (self.bare.address, self.bare.process_id)
    }

    /// See [`signed_requests`].
    pub fn signed_requests(&self, count: usize) -> Result<Requests> {
        signed_requests(&self.scene, count)
    }

    /// A bench of two servers that say yes to everything would measure nothing.
    async fn prove_that_both_verify(&self) -> Result<()> {
        let requests = self.signed_requests(2)?;
        let genuine = &requests[0];
        let mut forged = requests[1].clone();
        // The signature's middle: the last character holds unused bits.
        let middle = forged.len() - 100;
        forged[middle] = if forged[middle] == b'A' { b'B' } else { b'A' };
        let expected: [(&str, SocketAddr, &[u8], u16); 5] = [
            ("the server, a genuine token", self.server().0, genuine, 200),
            ("the server, the same token again", self.server().0, genuine, 403),
            ("the server, a forged token", self.server().0, &forged, 403),
            ("the bare route, a genuine token", self.bare().0, genuine, 200),
            ("the bare route, a forged token", self.bare().0, &forged, 403),
        ];
        for (what, address, request, status) in expected {
            let answered = load::send_one(address, request).await?;
            ensure!(answered == status, "{what}: {answered} instead of {status}");
        }
        Ok(())
    }
}

/// Openings of a scene's sidebar, with tokens of which no two are alike, signed just now on all cores.
pub fn signed_requests(scene: &Scene, count: usize) -> Result<Requests> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let agent = scene.people.agent;
    let target = format!("{}?{}", routes::ZENDESK_SIDEBAR, scene.zendesk.launch(agent)?.query);
    let key = scene.zendesk.app_key();
    let header = scene.zendesk.sidebar_header();
    let claims = scene.zendesk.sidebar_claims(agent);
    let sign = |number: usize| -> Result<Vec<u8>> {
        let mut claims = claims.clone();
        // Times and subject repeat within a round; this and the fresh `qsh` beside it do not.
        claims["jti"] = json!(number);
        Ok(form_post(&target, &format!("token={}", key.sign(&header, &claims)?)))
    };
    let signed = std::thread::scope(|scope| {
        let share = |thread: usize| (thread..count).step_by(threads).map(&sign).collect::<Result<Vec<_>>>();
        let started: Vec<_> = (0..threads).map(|thread| scope.spawn(move || share(thread))).collect();
        started.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect::<Result<Vec<_>>>()
    })?;
    Ok(Arc::new(signed.concat()))
}
