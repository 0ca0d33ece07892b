//! A session's recording, which stays at the engine. Whoever may work on the session's ticket gets a link that opens it for five minutes; without
//! such a link nobody gets anything.

use std::sync::Arc;
use std::time::Duration;

use deskbridge_core::ids::ConnectionId;
use deskbridge_help_desks::AgentReference;
use deskbridge_remote_support::RecordingBody;
use deskbridge_remote_support::beyondtrust::is_lsid;
use deskbridge_security::recording_token::RecordingPass;
use deskbridge_security::signed_token::{self, TokenError};
use deskbridge_shared::routes;

use crate::connections::Connection;
use crate::ownership::{self, Owner, external_key};
use crate::{Services, SupportError, ValueFault, ticket_access};

/// Life of a link, in seconds.
pub const LINK_SECONDS: i64 = 300;

/// Whoever looks at the page of a recording waits so long for the address of its ticket.
const ADDRESS_PATIENCE: Duration = Duration::from_secs(3);

/// A link to the recording of the session `lsid` of `ticket`.
pub async fn link(
    services: &Services,
    connection: &Arc<Connection>,
    agent: &AgentReference,
    ticket: &str,
    lsid: &str,
) -> Result<String, SupportError> {
    let engine = connection.engine.as_ref().ok_or_else(SupportError::no_engine)?;
    if !is_lsid(lsid) {
        return Err(SupportError::invalid("lsid", ValueFault::Unknown, "32 hexadecimal characters"));
    }
    let lsid = lsid.to_ascii_lowercase();
    // Also of a closed ticket: nothing is written on it.
    let access = ticket_access::check(connection, agent, ticket).await?;
    let ticket = &access.ticket;
    let of_another_ticket = || SupportError::invalid("lsid", ValueFault::SessionOfAnotherTicket, "a session of this ticket");
    let known = services.store.support_session(connection.id, &lsid).await?;
    if known.as_ref().is_some_and(|known| !ticket.has_id(&known.ticket)) {
        return Err(of_another_ticket());
    }
    if !known.as_ref().is_some_and(|known| known.recording) {
        // Not known any more, or read when the recording was not there yet.
        let report = engine.session(&lsid).await?.ok_or(SupportError::NotReady)?;
        if known.is_none() {
            let owner = ownership::of_session(services, &services.connections.current(), engine.as_ref(), &report).await?;
            let is_ours = matches!(owner, Owner::Connection { id, .. } if id == connection.id);
            if !is_ours || !external_key(&report).is_some_and(|key| ticket.has_id(key)) {
                return Err(of_another_ticket());
            }
        }
        if !report.recording || !engine.abilities().recordings {
            return Err(SupportError::invalid("lsid", ValueFault::SessionNotRecorded, "a session that has a recording"));
        }
    }
    let address = format!("{}{}/{}/{lsid}", services.public_url, routes::RECORDINGS, connection.id);
    tracing::info!(connection = connection.name(), ticket = ticket.id, lsid, %agent, "a link to a recording was made");
    let expires_at = services.clock.now_seconds() + LINK_SECONDS;
    let token = signed_token::issue(&services.master_key, &RecordingPass { connection: connection.id.to_string(), lsid, expires_at });
    Ok(format!("{address}?token={token}"))
}

/// Why a link opens no recording.
#[derive(Debug, thiserror::Error)]
pub enum RecordingFault {
    /// The link itself.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The engine has no such recording any more, or the connection is gone.
    #[error("this recording is not there any more")]
    Gone,
    /// The engine is away.
    #[error("this recording cannot be read at the moment; try again in a minute")]
    Later,
}

/// The recording that a link is for. `connection`, `lsid`: as in the address; `range`: the header, with one range.
pub async fn open(
    services: &Services,
    connection: &str,
    lsid: &str,
    token: &str,
    range: Option<&str>,
) -> Result<RecordingBody, RecordingFault> {
    let pass: RecordingPass = signed_token::verify(&services.master_key, token, services.clock.now_seconds())?;
    if pass.connection != connection || pass.lsid != lsid.to_ascii_lowercase() {
        return Err(TokenError::Invalid.into());
    }
    let directory = services.connections.current();
    let connection = connection.parse().ok().and_then(|id: ConnectionId| directory.by_id(id)).ok_or(RecordingFault::Gone)?;
    let engine = connection.engine.as_ref().ok_or(RecordingFault::Gone)?;
    match engine.recording(&pass.lsid, range).await {
        Ok(body) => {
            let (is_there, lsid) = (body.is_some(), &pass.lsid);
            tracing::info!(connection = connection.name(), lsid, range, is_there, "a recording was asked for");
            body.ok_or(RecordingFault::Gone)
        }
        Err(error) => {
            tracing::warn!(connection = connection.name(), lsid = pass.lsid, %error, "a recording could not be read");
            Err(RecordingFault::Later)
        }
    }
}

/// Where agents see the ticket of a recording, if that is known. Whoever has the recording's address has it from there.
pub async fn ticket_address(services: &Services, connection: &str, lsid: &str) -> Option<String> {
    let directory = services.connections.current();
    let connection = directory.by_id(connection.parse().ok()?)?;
    let known = services.store.support_session(connection.id, &lsid.to_ascii_lowercase()).await;
    let known = known.inspect_err(|error| tracing::warn!(%error, "the ticket of a recording is not known")).ok()??;
    let address = tokio::time::timeout(ADDRESS_PATIENCE, connection.help_desk.ticket_address()).await.ok()??;
    // An address with a remark is not whole.
    address.remark.is_none().then(|| address.address.replace("{ticket}", &known.ticket))
}
