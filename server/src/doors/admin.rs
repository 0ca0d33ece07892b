//! The admin listener's front page: the connections that run.

use std::fmt::Write;
use std::sync::Arc;

use axum::extract::State;

use crate::app::App;

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
