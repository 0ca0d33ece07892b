//! Which connection a session belongs to. It is proved, never guessed from a ticket number: two help desks on one engine can both have a
//! ticket 100001.
//!
//! The proofs: the connection the session's own field names; that no other connection uses the engine; what was decided or seen of this
//! session before, and the ticket made for it; what was handed out for its ticket. They never contradict each other but for the first,
//! which counts most. Without any of these the session is *undecided*: written nowhere, shown to nobody, until a person assigns it.

use std::sync::Arc;

use deskbridge_core::ids::ConnectionId;
use deskbridge_core::session_report::SessionReport;
use deskbridge_core::text::shown;
use deskbridge_remote_support::RemoteSupport;
use deskbridge_store::{HandedOutKind, NewHandedOut, OwnerDecision, Result as StoreResult};

use crate::Services;
use crate::connections::{Connection, Directory};

/// The engine's clock and ours may differ by so much.
pub(crate) const CLOCK_TOLERANCE_MS: i64 = 10 * 60_000;
/// A session can begin so long after a Jump was handed out: the representative console may wait for the machine.
const JUMP_USABLE_MS: i64 = 24 * 3_600_000;
/// The appliance's page, to which a chat link leads, can be left open so long.
const CHAT_USABLE_AFTER_END_MS: i64 = 24 * 3_600_000;

/// Whose a session is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// This connection's; it need not be running.
    Connection {
        /// The connection.
        id: ConnectionId,
        /// By which proof.
        proof: &'static str,
    },
    /// No proof ties it to one of these.
    Undecided(Vec<ConnectionId>),
}

/// Whose the session is that `engine`, asked by `account`, reports. A decision between several is remembered.
pub async fn of_session(
    services: &Services,
    directory: &Directory,
    engine: &dyn RemoteSupport,
    report: &SessionReport,
) -> StoreResult<Owner> {
    let account = engine.account();
    let users = directory.users_of_host(&account.host);
    let named = match named_in(directory, engine, report).as_slice() {
        [] => None,
        [named] => Some(*named),
        // The connections read different fields, and these contradict each other.
        _ => return Ok(Owner::Undecided(users.to_vec())),
    };
    if let Some(named) = named.filter(|named| users.contains(named)) {
        return Ok(Owner::Connection { id: named, proof: "the session's own field names it" });
    }
    if let (Some(only), None) = (directory.only_user_of_host(&account.host), named) {
        return Ok(Owner::Connection { id: only, proof: "no other connection uses this remote-support system" });
    }
    match services.store.known_owners(&account.host, &report.lsid, users).await?.as_slice() {
        [known] => return Ok(Owner::Connection { id: *known, proof: "the session was this connection's before" }),
        [] => {}
        several => return Ok(Owner::Undecided(several.to_vec())),
    }
    // One that is not of this server, removed since or another server's: only a person can tell.
    if named.is_some() {
        return Ok(Owner::Undecided(users.to_vec()));
    }
    let Some(ticket) = external_key(report) else { return Ok(Owner::Undecided(users.to_vec())) };
    let started_at = report.start_time.map_or_else(|| services.clock.now_ms(), |seconds| seconds.saturating_mul(1_000));
    let handed_out = services.store.handed_out(users, ticket, started_at, CLOCK_TOLERANCE_MS).await?;
    let mut by: Vec<ConnectionId> = handed_out.iter().map(|given| given.connection).collect();
    by.sort_unstable();
    by.dedup();
    match by.as_slice() {
        [only] => {
            let proof = "it handed out the key, Jump or chat link for this ticket";
            let Some(tenant) = directory.tenant_of(*only) else { return Ok(Owner::Connection { id: *only, proof }) };
            let decision = OwnerDecision {
                tenant,
                host: &account.host,
                lsid: &report.lsid,
                connection: *only,
                proof,
                used_up_for: Some(ticket),
                now: services.clock.now_ms(),
            };
            Ok(Owner::Connection { id: services.store.decide_owner(&decision).await?, proof })
        }
        [] => Ok(Owner::Undecided(users.to_vec())),
        several => Ok(Owner::Undecided(several.to_vec())),
    }
}

/// The connections that the session's fields name, by whichever field one of the engine's connections reads.
pub(crate) fn named_in(directory: &Directory, engine: &dyn RemoteSupport, report: &SessionReport) -> Vec<ConnectionId> {
    let users = directory.users_of_host(&engine.account().host).iter().filter_map(|id| directory.by_id(*id)?.engine.as_ref());
    let mut named: Vec<ConnectionId> =
        users.filter_map(|engine| engine.connection_in(report)).chain(engine.connection_in(report)).collect();
    named.sort_unstable();
    named.dedup();
    named
}

/// The names of connections, for people.
pub fn names(directory: &Directory, ids: &[ConnectionId]) -> String {
    ids.iter().map(|id| directory.name_of(*id).map_or_else(|| id.to_string(), |name| format!("“{name}”"))).collect::<Vec<_>>().join(", ")
}

/// A session's external key, if it has one.
pub fn external_key(report: &SessionReport) -> Option<&str> {
    report.external_key.as_deref().map(str::trim).filter(|key| !key.is_empty())
}

/// The beginning of an external key, for people.
pub(crate) fn shown_key(key: &str) -> String {
    shown(key, 60)
}

/// Remembers a session key that was handed out. `usable_until`: Unix ms.
pub(crate) async fn key_handed_out(services: &Services, connection: &Arc<Connection>, ticket: &str, usable_until: i64) -> StoreResult<()> {
    hand_out(services, connection, ticket, HandedOutKind::Key, usable_until).await
}

/// Remembers a Jump that was handed out.
pub(crate) async fn jump_handed_out(services: &Services, connection: &Arc<Connection>, ticket: &str) -> StoreResult<()> {
    hand_out(services, connection, ticket, HandedOutKind::Jump, services.clock.now_ms() + JUMP_USABLE_MS).await
}

/// Remembers a chat link that was handed out. `expires_at`: Unix ms.
pub(crate) async fn chat_handed_out(services: &Services, connection: &Arc<Connection>, ticket: &str, expires_at: i64) -> StoreResult<()> {
    hand_out(services, connection, ticket, HandedOutKind::Chat, expires_at.saturating_add(CHAT_USABLE_AFTER_END_MS)).await
}

async fn hand_out(
    services: &Services,
    connection: &Arc<Connection>,
    ticket: &str,
    kind: HandedOutKind,
    usable_until: i64,
) -> StoreResult<()> {
    let given = NewHandedOut {
        tenant: connection.tenant.clone(),
        connection: connection.id,
        ticket: ticket.to_owned(),
        kind,
        issued_at: services.clock.now_ms(),
        usable_until,
    };
    services.store.hand_out(&given).await
}
