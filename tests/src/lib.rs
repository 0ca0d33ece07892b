//! What the tests, benches and the demo stand on: simulated outside systems, and a harness that runs the real server,
//! a real database and a real browser.
//!
//! Must not link the server: it is tested from outside, as a process.

pub mod appliance;
pub mod autotask;
pub mod browser;
pub mod button;
pub mod chat_button;
pub mod delivery_suite;
pub mod device;
pub mod extension;
pub mod firefox;
pub mod github;
pub mod gitlab;
pub mod help_desks;
mod html;
pub mod jira;
pub mod logs;
pub mod mesh_scene;
pub mod meshcentral;
pub mod osticket;
pub mod outcomes;
pub mod page;
pub mod ports;
pub mod postgres;
pub mod processes;
pub mod request_tracker;
pub mod scene;
pub mod server;
pub mod tls;
pub mod wire;
pub mod zendesk;
