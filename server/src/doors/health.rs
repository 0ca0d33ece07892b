//! For operators and balancers.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;

use crate::app::App;

/// A database that does not answer in this time is away.
const PATIENCE: Duration = Duration::from_secs(2);

/// `GET /healthz`: the process runs.
pub async fn alive() -> &'static str {
    "ok\n"
}

/// `GET /readyz`: it can do its work.
pub async fn ready(State(app): State<Arc<App>>) -> (StatusCode, &'static str) {
    if !app.assets.complete() {
        return (StatusCode::SERVICE_UNAVAILABLE, "the panel was not built into this server; build it with `cargo xtask build`\n");
    }
    match tokio::time::timeout(PATIENCE, app.store.ping()).await {
        Ok(Ok(())) => (StatusCode::OK, "ready\n"),
        Ok(Err(error)) => {
            tracing::warn!(%error, "not ready");
            (StatusCode::SERVICE_UNAVAILABLE, "the database failed\n")
        }
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "the database does not answer\n"),
    }
}
