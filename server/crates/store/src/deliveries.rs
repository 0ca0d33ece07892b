//! Every write to a help desk: that its request was sent, and what it left.

use async_trait::async_trait;
use deskbridge_core::ids::{ConnectionId, TenantId};

use crate::{LeasedEvent, Result};

/// Which write to the help desk a delivery is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DeliveryKey {
    /// Whose it is.
    pub tenant: TenantId,
    /// The connection.
    pub connection: ConnectionId,
    /// The engine's session id.
    pub lsid: String,
    /// `report`, `customer-survey-…`, …
    pub kind: String,
    /// 0 for the first.
    pub part: i32,
}

/// How far a delivery is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryState {
    /// Nothing was written to the help desk.
    Planned,
    /// A request was sent; it may have been done, and until [`Delivery::settled_at`] it may still be.
    Sent,
    /// It stands on the ticket.
    Confirmed,
}

/// A delivery as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Which.
    pub key: DeliveryKey,
    /// The ticket its last request went to.
    pub ticket: String,
    /// Stands in what is written.
    pub marker: String,
    /// How far it is.
    pub state: DeliveryState,
    /// Id of what was written, once confirmed.
    pub remote_id: Option<String>,
    /// Requests sent so far.
    pub sends: i64,
    /// Unix ms of the last of them.
    pub sent_at: Option<i64>,
    /// Unix ms until which the last of them may still be done.
    pub settled_at: i64,
}

/// A request that is about to be sent.
#[derive(Clone, Copy, Debug)]
pub struct SendTicket<'a> {
    /// Of which delivery.
    pub key: &'a DeliveryKey,
    /// The ticket it goes to.
    pub ticket: &'a str,
    /// Stands in what is written.
    pub marker: &'a str,
    /// Requests of this delivery that were sent before, as its sender has seen it: 0 for one not stored yet.
    pub sends: i64,
    /// Unix ms.
    pub now: i64,
    /// Unix ms until which the request may still be done, whatever becomes of the sender.
    pub settled_at: i64,
}

/// Deliveries.
#[async_trait]
pub trait Deliveries: Send + Sync {
    /// All deliveries of a session.
    async fn deliveries(&self, connection: ConnectionId, lsid: &str) -> Result<Vec<Delivery>>;
    /// A request is about to be sent by the worker that holds `event`. False if its lease is lost, if another request of this delivery was
    /// sent since, if it is confirmed, or while another event of the session may be writing: then nothing may be sent. Adds the delivery
    /// if it is not stored yet; a delivery that was planned takes this ticket and marker.
    async fn mark_sent(&self, event: &LeasedEvent, send: &SendTicket<'_>) -> Result<bool>;
    /// What became of the request that was sent when `sends` others had been: nothing was written (`state` planned), or it may have been.
    async fn settle_sent(&self, key: &DeliveryKey, sends: i64, state: DeliveryState, settled_at: i64) -> Result<()>;
    /// It stands. Adds the delivery if it is not stored yet.
    async fn mark_confirmed(&self, key: &DeliveryKey, ticket: &str, marker: &str, remote_id: &str, now: i64) -> Result<()>;
    /// Removes up to `limit` deliveries that were confirmed, or never sent, and last changed before `before` (Unix ms).
    async fn purge_deliveries(&self, before: i64, limit: i64) -> Result<u64>;
}
