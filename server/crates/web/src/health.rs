//! For operators and balancers.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use deskbridge_shared::routes;

use crate::state::HealthState;

/// The worker looks at least once a second, unless the database holds it up.
const WORKER_SILENT_MS: i64 = 60_000;
/// A database that does not answer in this time is away.
const PATIENCE: Duration = Duration::from_secs(2);

/// The process runs.
#[utoipa::path(get, path = routes::HEALTHZ, responses((status = 200, description = "It does", body = String)))]
pub async fn alive() -> &'static str {
    "ok\n"
}

/// The process can do its work.
#[utoipa::path(
    get,
    path = routes::READYZ,
    responses(
        (status = 200, description = "It can", body = String),
        (status = 503, description = "It cannot; the text says why", body = String),
    ),
)]
pub async fn ready(State(state): State<Arc<HealthState>>) -> (StatusCode, &'static str) {
    let not_ready = |why: &'static str| {
        tracing::warn!(why = why.trim_end(), "not ready");
        (StatusCode::SERVICE_UNAVAILABLE, why)
    };
    if !state.is_panel_built {
        return not_ready("the panel was not built into this server; build it with `cargo xtask build`\n");
    }
    if state.clock.now_ms() - state.worker_looked_at.load(Ordering::Relaxed) > WORKER_SILENT_MS {
        return not_ready("the worker does not look for events any more; restart the server\n");
    }
    match tokio::time::timeout(PATIENCE, state.store.ping()).await {
        Ok(Ok(())) => (StatusCode::OK, "ready\n"),
        Ok(Err(error)) => {
            tracing::warn!(%error, "not ready");
            (StatusCode::SERVICE_UNAVAILABLE, "the database failed\n")
        }
        Err(_) => not_ready("the database does not answer\n"),
    }
}
