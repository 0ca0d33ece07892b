//! The sidebar's peer: a bare axum route in a process of its own, served like the real server, that verifies the same
//! token and does nothing else: no session, no replay memory, no page, no log.

use std::io::Read;
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Form, Router};
use deskbridge_shared::routes;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};

/// The argument by which the bench starts itself as the route.
pub const ARGUMENT: &str = "--bare-route";

/// What the route has to know of the installation.
#[derive(Serialize, Deserialize)]
pub struct Installation {
    /// The app's public key.
    pub public_pem: String,
    /// `iss`.
    pub issuer: String,
    /// `aud`.
    pub audience: String,
}

/// The route's process. Killed when dropped.
pub struct BareRoute {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its process id.
    pub process_id: u32,
    _process: Child,
}

impl BareRoute {
    /// Starts the route and waits until it listens.
    pub async fn start(installation: &Installation) -> Result<Self> {
        let own = std::env::current_exe().context("cannot find the running program")?;
        let mut process = Command::new(own)
            .arg(ARGUMENT)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("cannot start the bare route")?;
        let mut input = process.stdin.take().context("no standard input")?;
        input.write_all(&serde_json::to_vec(installation)?).await?;
        drop(input);
        let output = process.stdout.take().context("no standard output")?;
        let line = BufReader::new(output).lines().next_line().await?.context("the bare route ended")?;
        let process_id = process.id().context("the bare route ended")?;
        Ok(Self { address: line.parse().context("the bare route's address")?, process_id, _process: process })
    }
}

#[derive(Deserialize)]
struct Signed {
    token: String,
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
}

struct Verifier {
    key: DecodingKey,
    validation: Validation,
}

/// What the process does: reads the [`Installation`] from standard input, prints its address, serves until killed.
pub async fn serve() -> Result<()> {
    let mut input = String::new();
    std::io::stdin().read_to_string(&mut input)?;
    let installation: Installation = serde_json::from_str(&input)?;
    let mut validation = Validation::new(Algorithm::RS256);
    validation.validate_nbf = true;
    validation.set_issuer(&[installation.issuer]);
    validation.set_audience(&[installation.audience]);
    validation.set_required_spec_claims(&["exp", "nbf", "iss", "aud", "sub"]);
    let key = DecodingKey::from_rsa_pem(installation.public_pem.as_bytes())?;
    let router = Router::new().route(routes::ZENDESK_SIDEBAR, post(verify)).with_state(Arc::new(Verifier { key, validation }));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(10));
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router.clone())).into_owned();
        // A sender that goes away ends its connection; nobody needs to know.
        tokio::spawn(async move { connection.await.ok() });
    }
}

async fn verify(State(verifier): State<Arc<Verifier>>, Form(form): Form<Signed>) -> StatusCode {
    match jsonwebtoken::decode::<Claims>(&form.token, &verifier.key, &verifier.validation) {
        Ok(data) if !data.claims.sub.is_empty() => StatusCode::OK,
        _ => StatusCode::FORBIDDEN,
    }
}
