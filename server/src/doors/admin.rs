//! The admin listener: the connections that run, and figures.

use std::fmt::Write;
use std::sync::Arc;

use axum::extract::State;

use super::problem::Problem;
use crate::app::App;
use crate::metrics;

/// `GET /`
pub async fn front(State(app): State<Arc<App>>) -> String {
    let connections = app.connections.all();
    let mut text = format!("Deskbridge {}\n{} connections run\n", env!("CARGO_PKG_VERSION"), connections.len());
    for connection in connections.iter() {
        let _ = writeln!(
            text,
            "{}: appliance {} ({})",
            connection.name(),
            connection.settings.appliance.id,
            connection.settings.appliance.host
        );
    }
    text
}

/// `GET /metrics`
pub async fn metrics(State(app): State<Arc<App>>) -> Result<String, Problem> {
    let names: Vec<String> = app.connections.all().iter().map(|connection| connection.name().to_owned()).collect();
    metrics::queue(&app.store.queue_sizes().await?, &names, app.clock.now_ms());
    Ok(app.metrics.render())
}
