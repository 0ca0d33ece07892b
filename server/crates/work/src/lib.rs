//! Durable work: events are leased, tried again, and put aside for a person when nothing helps; what is written to a help desk is written
//! once, whatever dies in between.
//!
//! Here are only time, order, attempts, leases and the steps of a write. What an event means, `use-cases` knows.

pub mod delivery;
mod error;
pub mod health;
pub mod heard;
pub mod metrics;
pub mod retry;
pub mod worker;

pub use error::WorkError;
