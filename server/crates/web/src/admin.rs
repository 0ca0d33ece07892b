//! The admin listener: the connections that run, and figures.

use std::fmt::Write;
use std::sync::Arc;

use axum::extract::State;

use super::problem::Problem;
use deskbridge_work::metrics;

use crate::state::AdminState;

/// `GET /`
pub async fn front(State(state): State<Arc<AdminState>>) -> String {
    let directory = state.services.connections.current();
    let mut text = format!("Deskbridge {}\n{} connections run\n", env!("CARGO_PKG_VERSION"), directory.running().len());
    for connection in directory.running() {
        let appliance = connection.engine.as_ref().map_or_else(String::new, |engine| format!("appliance {}", engine.account().host));
        let _ = writeln!(text, "{}: {}", connection.name(), if appliance.is_empty() { "no appliance" } else { &appliance });
    }
    text
}

/// `GET /metrics`
pub async fn metrics(State(state): State<Arc<AdminState>>) -> Result<String, Problem> {
    let directory = state.services.connections.current();
    let running = directory.running().iter().map(|connection| (Some(connection.id), connection.name().to_owned()));
    // Events whose connection is not known yet are under no name.
    let labels: Vec<_> = running.chain([(None, String::new())]).collect();
    metrics::queue(&state.services.store.queue_sizes().await?, &labels, state.services.clock.now_ms());
    Ok(state.metrics.render())
}
