//! Figures for operators, in Prometheus' text form. Labels are bounded: connection names, our own words, nothing that was posted.

use ::metrics::{Unit, counter, describe_counter, describe_gauge, gauge};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

use deskbridge_core::event::EventKind;
use deskbridge_core::ids::ConnectionId;
use deskbridge_store::{Outcome, QueueSize};

const RECEIVED: &str = "deskbridge_events_received_total";
const REFUSED: &str = "deskbridge_events_refused_total";
const HEARD: &str = "deskbridge_events_heard_total";
const LISTENING: &str = "deskbridge_listening";
const LISTENING_FAILED: &str = "deskbridge_listening_failures_total";
const DONE: &str = "deskbridge_events_done_total";
const RETRIED: &str = "deskbridge_events_retried_total";
const DEAD: &str = "deskbridge_events_dead_total";
const WAITING: &str = "deskbridge_events_waiting";
const DEAD_LETTERS: &str = "deskbridge_dead_letters";
const OLDEST: &str = "deskbridge_oldest_waiting_seconds";
const SIDEBARS: &str = "deskbridge_sidebars_total";
const DEVICES_REFUSED: &str = "deskbridge_device_requests_refused_total";
const PAIRINGS: &str = "deskbridge_pairings_total";

/// Starts counting; the handle renders. A second call in one process counts nothing.
pub fn start() -> PrometheusHandle {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    // Another recorder is there already: in tests only.
    drop(::metrics::set_global_recorder(recorder));
    describe_counter!(RECEIVED, "Outbound events acknowledged, by connection and kind");
    describe_counter!(REFUSED, "Outbound events refused, by reason");
    describe_counter!(HEARD, "Events that engines pushed, by account");
    describe_gauge!(LISTENING, "Whether this server hears the account's events: 1, or 0; one of several servers does");
    describe_counter!(LISTENING_FAILED, "Connections for an account's events that failed, by account");
    describe_counter!(DONE, "Events done, by connection and kind");
    describe_counter!(RETRIED, "Attempts that will be repeated, by connection and kind");
    describe_counter!(DEAD, "Events that became dead letters, by connection and kind");
    describe_gauge!(WAITING, "Events waiting or being worked at, by connection");
    describe_gauge!(DEAD_LETTERS, "Dead letters, by connection");
    describe_gauge!(OLDEST, Unit::Seconds, "Age of the oldest waiting event, by connection");
    describe_counter!(SIDEBARS, "Sidebars asked for, by what became of it");
    describe_counter!(DEVICES_REFUSED, "Signed requests of devices refused, by reason");
    describe_counter!(PAIRINGS, "Browsers that asked to be paired, by what became of it");
    handle
}

/// An outbound event was acknowledged.
pub fn event_received(connection: &str, kind: EventKind) {
    counter!(RECEIVED, "connection" => connection.to_owned(), "kind" => kind.as_str()).increment(1);
}

/// An outbound event was refused.
pub fn event_refused(reason: &'static str) {
    counter!(REFUSED, "reason" => reason).increment(1);
}

/// Events were stored that an engine pushed.
pub fn events_heard(account: &str, events: u64) {
    counter!(HEARD, "account" => account.to_owned()).increment(events);
}

/// This server hears an account's events now, or does not.
pub fn listening(account: &str, is_listening: bool) {
    gauge!(LISTENING, "account" => account.to_owned()).set(if is_listening { 1.0 } else { 0.0 });
}

/// A connection for an account's events failed.
pub fn listening_failed(account: &str) {
    counter!(LISTENING_FAILED, "account" => account.to_owned()).increment(1);
}

/// An attempt at an event ended.
pub fn event_ended(connection: &str, kind: EventKind, outcome: &Outcome) {
    let name = match outcome {
        Outcome::Done(_) => DONE,
        Outcome::Retry { .. } => RETRIED,
        Outcome::Dead(_) | Outcome::Undecided(_) => DEAD,
        // It goes on as its connection's.
        Outcome::Belongs { .. } => return,
    };
    counter!(name, "connection" => connection.to_owned(), "kind" => kind.as_str()).increment(1);
}

/// A sidebar was asked for.
pub fn sidebar(opened: bool) {
    counter!(SIDEBARS, "outcome" => if opened { "opened" } else { "refused" }).increment(1);
}

/// A device's request was refused.
pub fn device_refused(reason: &'static str) {
    counter!(DEVICES_REFUSED, "reason" => reason).increment(1);
}

/// A browser asked to be paired.
pub fn pairing(outcome: &'static str) {
    counter!(PAIRINGS, "outcome" => outcome).increment(1);
}

/// What waits, told when somebody looks. `connections`: those that run; one without events waits for nothing.
pub fn queue(sizes: &[QueueSize], connections: &[(Option<ConnectionId>, String)], now_ms: i64) {
    for (id, name) in connections {
        let own = || sizes.iter().filter(|size| size.connection == *id);
        let waiting = || own().filter(|size| matches!(size.state.as_str(), "ready" | "leased"));
        let oldest = waiting().map(|size| size.oldest_received_at).min();
        let label = [("connection", name.clone())];
        gauge!(WAITING, &label).set(float(waiting().map(|size| size.events).sum()));
        gauge!(OLDEST, &label).set(oldest.map_or(0.0, |at| float((now_ms - at).max(0)) / 1_000.0));
        gauge!(DEAD_LETTERS, &label)
            .set(float(own().filter(|size| matches!(size.state.as_str(), "dead" | "undecided")).map(|size| size.events).sum()));
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
fn float(count: i64) -> f64 {
    count as f64
}
