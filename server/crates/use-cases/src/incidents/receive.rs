//! A posted incident is stored, durably, with what is to be done for it.

use std::fmt::Write as _;

use deskbridge_core::clock::new_id;
use deskbridge_core::event::EventKind;
use deskbridge_core::fault_point;
use deskbridge_core::incident::{Identity, Incident};
use deskbridge_core::text::shown;
use deskbridge_security::sha256;
use deskbridge_store::{IncidentPost, PostStored, StoreError, StoredIncident};
use deskbridge_work::metrics;
use uuid::Uuid;

use super::{DIGITS, LSID};
use crate::Services;
use crate::connections::Connection;

/// Longest name of a source or id that is kept for people, in characters.
const MAX_SHOWN: usize = 255;

/// A post that was stored, or that changes nothing.
#[derive(Clone, Debug)]
pub struct Received {
    /// The incident's id within the connection.
    pub lsid: String,
    /// This post.
    pub(super) post: Uuid,
    /// As it stands. None: an end of an incident nobody told of.
    pub known: Option<StoredIncident>,
}

/// Why a post was not stored.
#[derive(Debug, thiserror::Error)]
pub enum NotTaken {
    /// The connection's ticket system takes no incidents.
    #[error("Deskbridge makes no tickets of incidents in this connection's ticket system")]
    NoTickets,
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// An incident's id within its connection, and the hash it is made of.
fn id_of(identity: &Identity) -> (String, [u8; 32]) {
    let hash = sha256(identity.canonical().as_bytes());
    let mut lsid = LSID.to_owned();
    for byte in &hash[..DIGITS / 2] {
        let _ = write!(lsid, "{byte:02x}");
    }
    (lsid, hash)
}

/// Stores an incident as it was posted.
pub async fn receive(services: &Services, connection: &Connection, incident: Incident) -> Result<Received, NotTaken> {
    if !connection.help_desk.abilities().takes_incidents {
        return Err(NotTaken::NoTickets);
    }
    let now = services.clock.now_ms();
    let (lsid, fingerprint) = id_of(&incident.identity);
    let post = new_id(&services.clock);
    let known = services.store.incident(connection.id, &lsid).await?;
    // Monitoring systems post what they know again and again: that costs no commit.
    if let Some(known) = known.filter(|known| known.needs_nothing(incident.is_open, now)) {
        return Ok(Received { lsid, post, known: Some(known) });
    }
    let stored = IncidentPost {
        id: post,
        tenant: connection.tenant.clone(),
        connection: connection.id,
        lsid: lsid.clone(),
        fingerprint,
        source: shown(&incident.source, MAX_SHOWN),
        source_id: shown(&incident.id, MAX_SHOWN),
        posted: incident.posted.to_string(),
        is_open: incident.is_open,
        changed_at: incident.ended_at.filter(|_| !incident.is_open).unwrap_or(now),
        argus_pk: match incident.identity {
            Identity::Argus { pk, .. } => Some(pk),
            Identity::ArgusSource { .. } | Identity::Small { .. } => None,
        },
        now,
    };
    let is_open = stored.is_open;
    let stored = services.incidents.posts.commit(stored).await?;
    fault_point::reach("incident_stored");
    services.wake.notify_one();
    let known = match stored {
        PostStored::Unknown => None,
        PostStored::Known(known) => {
            let kind = if is_open { EventKind::Incident } else { EventKind::IncidentEnd };
            metrics::event_received(connection.name(), kind);
            Some(known)
        }
    };
    Ok(Received { lsid, post, known })
}
