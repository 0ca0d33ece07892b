//! MeshCentral as an engine: machines and links by its WebSocket, sessions by its events, recordings by its web server.
//!
//! Facts: meshcentral.md, tried with MeshCentral 1.1.55. Moments are Unix milliseconds of the server's clock unless they say otherwise. Must not
//! know tickets or notes. What comes from a machine (names, requests for help, what a terminal showed) is somebody else's text.

mod check;
mod engine;
mod events;
mod guest_name;
mod listener;
mod nodes;
pub mod recording;
mod report;
mod section;
mod server;
mod socket;
#[cfg(test)]
mod testing;

pub use engine::{MeshCentral, MeshCentralKind};
pub use section::{Consent, MeshCentralSection};
