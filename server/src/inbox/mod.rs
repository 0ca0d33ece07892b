//! Durable work: events as they came, leased to workers, tried again, and put aside for a person when nothing helps.
//!
//! The door stores, this room does. Business lives in `support`; here are only time, order, attempts and leases.

pub mod event;
pub mod health;
pub mod retry;
pub mod worker;
