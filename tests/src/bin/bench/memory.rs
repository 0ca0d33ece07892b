//! Memory of the real server with one connection: after the start, and after a load; against the bare route's.

use anyhow::Result;

use crate::sidebar::Pair;
use crate::table::Row;
use crate::{SENDERS, load, machine};

/// Most bytes while idle.
const TARGET: u64 = 40_000_000;
/// Sidebars opened before memory is looked at again.
const REQUESTS: usize = 8_000;

/// Measures.
pub async fn run() -> Result<Vec<Row>> {
    let pair = Pair::start().await?;
    let (address, server) = pair.server();
    let (bare_address, bare) = pair.bare();
    let idle = (machine::resident(server)?, machine::resident(bare)?);
    let requests = pair.signed_requests(REQUESTS)?;
    load::send(address, requests.clone(), SENDERS).await?;
    load::send(bare_address, requests, SENDERS).await?;
    let loaded = (machine::resident(server)?, machine::resident(bare)?);
    Ok(vec![
        row("memory, idle with one connection", idle).wanted("< 40 MB", idle.0 < TARGET),
        row("  after opening 8,000 sidebars", loaded),
    ])
}

fn row(what: &str, (server, bare): (u64, u64)) -> Row {
    Row::new(what, megabytes(server)).against(format!("bare verifying route {}", megabytes(bare)), server as f64 / bare as f64)
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}
