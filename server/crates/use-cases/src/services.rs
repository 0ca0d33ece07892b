//! What the use cases work with.

use std::sync::Arc;

use deskbridge_core::clock::Clock;
use deskbridge_reports::ReportTemplates;
use deskbridge_security::seal::MasterKey;
use deskbridge_store::Store;
use tokio::sync::Notify;

use crate::connections::Connections;
use crate::incidents::IncidentIntake;

/// What the use cases work with.
pub struct Services {
    /// The time.
    pub clock: Clock,
    /// Durable memory.
    pub store: Arc<dyn Store>,
    /// The connections there are.
    pub connections: Connections,
    /// Stores posted incidents, and tells who waits for their tickets.
    pub incidents: IncidentIntake,
    /// Report templates.
    pub reports: Arc<ReportTemplates>,
    /// Seals settings, signs chat links.
    pub master_key: MasterKey,
    /// Our public address, without a slash at the end.
    pub public_url: String,
    /// Wakes the worker when an event was stored.
    pub wake: Arc<Notify>,
}
