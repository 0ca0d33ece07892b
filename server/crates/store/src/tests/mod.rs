//! The same stories on both databases.

mod agent_sessions;
mod api_tokens;
mod connections;
mod customer_chats;
mod database;
mod deliveries;
mod devices;
mod help_tickets;
mod inbox;
mod inbox_model;
mod incidents;
mod listeners;
mod machine_links;
mod migration;
mod note_leases;
mod ownership;
mod query_plans;
mod servers;
mod support_sessions;

use std::sync::Arc;

use deskbridge_core::clock::random_bytes;
use deskbridge_core::event::{EventKind, Origin};
use deskbridge_core::ids::{ConnectionId, TenantId};
use uuid::Uuid;

use super::*;

const NOW: i64 = 1_733_240_467_000;

/// Runs `story` on a fresh store of each kind.
async fn on_both<Running: Future<Output = ()>>(story: impl Fn(Arc<dyn Store>) -> Running) {
    database::on_each(async |url| story(open(&url).await.unwrap()).await).await;
}

/// A connection's id.
fn id(number: u128) -> ConnectionId {
    ConnectionId::from(Uuid::from_u128(number))
}

fn a() -> ConnectionId {
    id(0xa)
}

fn b() -> ConnectionId {
    id(0xb)
}

fn main() -> TenantId {
    TenantId::main()
}

/// The account that a connection has to itself.
fn account_of(connection: ConnectionId) -> String {
    format!("support.example.com/{connection}")
}

fn event(connection: ConnectionId, lsid: &str, kind: EventKind, second: i64) -> NewEvent {
    let at = NOW + second * 1_000;
    NewEvent {
        id: uuid::Builder::from_unix_timestamp_millis(u64::try_from(at).unwrap(), &random_bytes()).into_uuid(),
        tenant: main(),
        account: account_of(connection),
        received_by: None,
        connection: Some(connection),
        fingerprint: random_bytes(),
        kind,
        lsid: lsid.into(),
        ticket: None,
        origin: Origin::Outbound,
        received_at: at,
    }
}

/// The account that several connections share.
const SHARED: &str = "support.example.com/client";

/// An event of the shared account that belongs to no connection yet.
fn unowned(lsid: &str, kind: EventKind, second: i64) -> NewEvent {
    NewEvent { account: SHARED.into(), connection: None, ..event(a(), lsid, kind, second) }
}

async fn claim_in(store: &Arc<dyn Store>, slot: &str, now: i64) -> Vec<LeasedEvent> {
    store.claim_events(slot, Uuid::from_u128(1), now, now + 15_000, 10).await.unwrap()
}

async fn claim(store: &Arc<dyn Store>, now: i64) -> Vec<LeasedEvent> {
    claim_in(store, &a().to_string(), now).await
}

async fn finish(store: &Arc<dyn Store>, event: &LeasedEvent, outcome: &Outcome, now: i64) -> bool {
    store.finish_event(event, outcome, &[], false, now).await.unwrap()
}

async fn list(store: &Arc<dyn Store>, state: Option<&str>) -> Vec<EventRow> {
    let filter = EventFilter { state: state.map(str::to_owned), ..EventFilter::default() };
    store.list_events(&filter, 10_000).await.unwrap()
}

fn known_session(connection: ConnectionId, lsid: &str, ticket: &str) -> KnownSession {
    KnownSession {
        tenant: main(),
        connection,
        lsid: lsid.into(),
        ticket: ticket.into(),
        representative: None,
        customer: Some("Jürgen 日本".into()),
        machine: None,
        kind: None,
        recording: false,
        active: false,
        started_at: Some(NOW),
        ended_at: None,
        recorded_at: None,
    }
}

fn stored_connection(id: ConnectionId, name: &str) -> StoredConnection {
    StoredConnection { id, tenant: main(), name: name.into(), settings: vec![1, 2], disabled: false, updated_at: NOW }
}

#[tokio::test]
async fn ping_of_an_open_store_succeeds() {
    on_both(|store| async move { store.ping().await.unwrap() }).await;
}

#[tokio::test]
async fn open_of_a_newer_schema_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("newer.db").display());
    drop(open(&url).await.unwrap());
    let pool = sqlx::SqlitePool::connect(&url).await.unwrap();
    sqlx::query(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (9999, 'later', true, x'00', 0)",
    )
    .execute(&pool)
    .await
    .unwrap();
    pool.close().await;
    match open(&url).await {
        Err(StoreError::Newer { found: 9999, .. }) => {}
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("opened"),
    }
}

/// Decides whose a session is, for a ticket nothing was handed out for.
async fn decide(
    store: &Arc<dyn Store>,
    host: &str,
    lsid: &str,
    connection: ConnectionId,
    proof: &str,
    now: i64,
) -> crate::Result<ConnectionId> {
    let tenant = main();
    store.decide_owner(&OwnerDecision { tenant: &tenant, host, lsid, connection, proof, used_up_for: None, now }).await
}
