//! Chats that customers start: from the button in the Help Center, or by a chat link. Who they are is proved; what the page says is a claim.
//!
//! A press that repeats gets the same chat: it is stored until it is opened, and opened once, since opening it is what starts a session on
//! the appliance.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use deskbridge_core::clock::random_bytes;
use deskbridge_help_desks::HelpDeskError;
use deskbridge_help_desks::zendesk::{Customer, CustomerProof, CustomersTicket, HelpCenter, HelpCenterSection};
use deskbridge_remote_support::{ChatRequest, SessionTag};
use deskbridge_security::ticket_value::TicketValue;
use deskbridge_shared::api::Issue;
use deskbridge_store::{CustomerChat, NewCustomerChat, StoreError, UseLimit};
use tokio::time::Instant;

use crate::connections::Connection;
use crate::{Services, allowed_actions, ownership};

/// The span in which a customer's and a ticket's chats are counted.
pub const LIMIT_SPAN: Duration = Duration::from_hours(1);
/// Presses for each chat allowed in [`LIMIT_SPAN`]: each makes the help desk be asked, also one that gets the same chat again.
const PRESSES_PER_CHAT: u32 = 6;
/// A chat that ends sooner is not given to a customer any more: they need time to open it.
const LEAST_LIFE_MS: i64 = 30_000;
/// A refused ticket is answered after a whole number of such spans, so that the time says nothing about the ticket.
const REFUSAL_PACE: Duration = Duration::from_millis(1_500);
/// A customer does not wait longer for their name to be found.
const NAME_TIME: Duration = Duration::from_secs(3);
/// A chat opened longer ago is over.
const LONGEST_CHAT_MS: i64 = 12 * 3_600_000;
/// How long a customer waits until it is known whether their former chat is still open.
const SESSION_TIME: Duration = Duration::from_secs(4);
/// The appliance's clock and ours may differ by so much.
const CLOCK_TOLERANCE_MS: i64 = 60_000;

/// What the button offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Issues to choose from; none: no chat.
    pub issues: Vec<Issue>,
    /// False: the appliance says that no representative is logged in.
    pub is_available: bool,
}

/// What a customer shows.
#[derive(Clone, Copy)]
pub enum ShownProof<'a> {
    /// The Help Center's token.
    HelpCenterToken(&'a str),
    /// The value of the ticket's field.
    TicketField(&'a str),
}

impl ShownProof<'_> {
    /// Its kind.
    pub fn kind(self) -> CustomerProof {
        match self {
            Self::HelpCenterToken(_) => CustomerProof::HelpCenterToken,
            Self::TicketField(_) => CustomerProof::TicketField,
        }
    }
}

/// A press of the button.
#[derive(Clone, Copy)]
pub struct Press<'a> {
    /// The ticket's id, as the page says.
    pub ticket: &'a str,
    /// The issue's code name.
    pub issue: &'a str,
    /// What the customer shows.
    pub proof: ShownProof<'a>,
    /// The customer has closed the window of the chat they had, as the page says, and wants another.
    pub again: bool,
}

/// Whether a chat that was opened before is to be replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Again {
    /// Not before its session has ended.
    No,
    /// Its window was closed: unless the appliance still has its session.
    WindowClosed,
    /// The customer was told that it may still be open, and wants another.
    Confirmed,
}

/// Why no chat starts.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The proof does not hold, or is none that the connection takes.
    #[error("the proof does not hold")]
    Proof,
    /// The ticket is not theirs, or there is none.
    #[error("not the customer's ticket")]
    NotYours,
    /// The ticket takes no record any more.
    #[error("the ticket is closed")]
    Closed,
    /// None of the issues offered.
    #[error("unknown issue")]
    Issue,
    /// Too many chats, or refusals.
    #[error("too many chats")]
    TooMany {
        /// When the next one is allowed.
        wait: Duration,
    },
    /// The connection starts no chats.
    #[error("no chats here")]
    NotOffered,
    /// The help desk.
    #[error(transparent)]
    HelpDesk(#[from] HelpDeskError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What the button offers on a connection's tickets.
pub async fn offer(connection: &Connection) -> Result<Offer, HelpDeskError> {
    let issues = allowed_actions::current(connection).await?.issues;
    let Some(engine) = connection.engine.as_ref().filter(|_| !issues.is_empty()) else { return Ok(Offer { issues, is_available: false }) };
    // What is not known is not claimed.
    let is_available = engine.has_representative().await != Some(false);
    Ok(Offer { issues, is_available })
}

/// Starts the chat of a press, or finds the one that an earlier press started.
pub async fn start(
    services: &Services,
    connection: &Arc<Connection>,
    help_center: &HelpCenter,
    press: Press<'_>,
) -> Result<CustomerChat, Refusal> {
    if !help_center.takes(press.proof.kind()) {
        return Err(Refusal::Proof);
    }
    let user = match press.proof {
        ShownProof::HelpCenterToken(token) => Some(user_of_token(services, connection, help_center, token).await?),
        ShownProof::TicketField(value) => {
            if !is_value_of(services, connection, press.ticket, value).await? {
                return Err(Refusal::Proof);
            }
            None
        }
    };
    let settings = help_center.settings();
    let holder = user.map_or_else(|| "field".to_owned(), |user| format!("user:{user}"));
    count_press(services, connection, press.ticket, &holder, settings.chats_per_customer).await?;
    let begun = Instant::now();
    let found = customers_ticket(services, connection, help_center, &press, user).await;
    if matches!(found, Err(Refusal::NotYours)) {
        even_out(begun).await;
    }
    let ticket = found?;
    if ticket.is_closed {
        return Err(Refusal::Closed);
    }
    offered(connection, press.issue).await?;
    let customer = async || help_center.customer(user.or(ticket.requester()), &ticket).await;
    let limits = Limits::of(settings);
    let again = if press.again { Again::WindowClosed } else { Again::No };
    let wanted = Wanted { ticket: &ticket.id, issue: press.issue, holder: &holder, again, limits };
    let (chat, is_new) = same_or_new(services, connection, &wanted, customer).await?;
    if is_new {
        tracing::info!(
            connection = connection.name(),
            ticket = ticket.id,
            issue = press.issue,
            customer = holder,
            "a customer starts a chat"
        );
    }
    Ok(chat)
}

async fn user_of_token(services: &Services, connection: &Connection, help_center: &HelpCenter, token: &str) -> Result<u64, Refusal> {
    let user = help_center.user_of_token(token, services.clock.now_seconds()).await.map_err(HelpDeskError::from)?;
    user.map_err(|fault| {
        tracing::debug!(connection = connection.name(), %fault, "a Help Center token was refused");
        Refusal::Proof
    })
}

async fn is_value_of(services: &Services, connection: &Connection, ticket: &str, value: &str) -> Result<bool, StoreError> {
    let epoch = services.store.ticket_value_epoch(connection.id).await?;
    let id = connection.id.to_string();
    Ok(TicketValue { tenant: connection.tenant.as_str(), connection: &id, ticket, epoch }.is(&services.master_key, value))
}

/// The ticket, if it is theirs: whoever has shown its value (`user` is none) can read it.
async fn customers_ticket(
    services: &Services,
    connection: &Connection,
    help_center: &HelpCenter,
    press: &Press<'_>,
    user: Option<u64>,
) -> Result<CustomersTicket, Refusal> {
    let subject = user.map(|user| format!("foreign tickets/{}/{user}", connection.id));
    let foreign = subject.as_ref().map(|subject| limit_of(connection, subject, help_center.settings().refusals));
    if let Some(limit) = foreign {
        // Each one that is not theirs was counted; whoever tries one after the other is not even told so any more.
        check_use(services, limit).await?;
    }
    let found = if connection.help_desk.is_ticket_name(press.ticket) { help_center.ticket(press.ticket).await? } else { None };
    let is_theirs = |ticket: &CustomersTicket| match (user, press.proof) {
        (Some(user), _) => help_center.is_of(ticket, user),
        // A value that was taken out of the field proves nothing any more.
        (None, ShownProof::TicketField(value)) => {
            help_center.settings().ticket_field.is_some_and(|field| ticket.field(field).trim() == value)
        }
        (None, ShownProof::HelpCenterToken(_)) => false,
    };
    if let Some(ticket) = found.filter(is_theirs) {
        return Ok(ticket);
    }
    let Some(limit) = foreign else { return Err(Refusal::Proof) };
    tracing::debug!(connection = connection.name(), user, "a customer asked for a ticket that is not theirs");
    count_use(services, limit).await?;
    Err(Refusal::NotYours)
}

/// At most so many uses in [`LIMIT_SPAN`].
fn limit_of<'a>(connection: &'a Connection, subject: &'a str, most: u32) -> UseLimit<'a> {
    let span_ms = i64::try_from(LIMIT_SPAN.as_millis()).unwrap_or(i64::MAX);
    UseLimit { tenant: &connection.tenant, subject, most, span_ms }
}

/// Refuses where there were too many uses already.
async fn check_use(services: &Services, limit: UseLimit<'_>) -> Result<(), Refusal> {
    let now = services.clock.now_ms();
    services.store.used_up(limit, now).await?.map_or(Ok(()), |ends_at| Err(too_many(ends_at, now)))
}

/// Counts a use, or refuses it where there were too many.
async fn count_use(services: &Services, limit: UseLimit<'_>) -> Result<(), Refusal> {
    let now = services.clock.now_ms();
    services.store.count_use(limit, now).await?.map_or(Ok(()), |ends_at| Err(too_many(ends_at, now)))
}

fn too_many(ends_at: i64, now: i64) -> Refusal {
    let wait = u64::try_from(ends_at - now).unwrap_or_default();
    Refusal::TooMany { wait: Duration::from_millis(wait) }
}

/// Waits until a whole number of spans has passed since `begun`.
async fn even_out(begun: Instant) {
    let spans = begun.elapsed().as_millis() / REFUSAL_PACE.as_millis() + 1;
    let spans = u32::try_from(spans).unwrap_or(1);
    tokio::time::sleep_until(begun + REFUSAL_PACE * spans).await;
}

/// Counts a press of somebody who has shown a proof. `chats`: how many chats they may start in [`LIMIT_SPAN`].
pub(crate) async fn count_press(
    services: &Services,
    connection: &Connection,
    ticket: &str,
    holder: &str,
    chats: u32,
) -> Result<(), Refusal> {
    let subject = format!("presses of/{}/{}/{holder}", connection.id, ticket_of(ticket, holder));
    count_use(services, limit_of(connection, &subject, chats.saturating_mul(PRESSES_PER_CHAT))).await
}

/// A user is one person on all their tickets; of other holders only their ticket is known.
fn ticket_of<'a>(ticket: &'a str, holder: &str) -> &'a str {
    if holder.starts_with("user:") { "" } else { ticket }
}

async fn offered(connection: &Connection, issue: &str) -> Result<(), Refusal> {
    let issues = allowed_actions::current(connection).await?.issues;
    match issues.as_slice() {
        [] => Err(Refusal::NotOffered),
        issues if issues.iter().any(|known| known.code_name == issue) => Ok(()),
        _ => Err(Refusal::Issue),
    }
}

/// How many chats, and for how long.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    /// Minutes in which a chat must be opened.
    pub life_minutes: u32,
    /// Chats of one customer in [`LIMIT_SPAN`].
    pub of_customer: u32,
    /// Chats on one ticket in [`LIMIT_SPAN`].
    pub of_ticket: u32,
}

impl Limits {
    /// As a Help Center's settings have them.
    pub fn of(settings: &HelpCenterSection) -> Self {
        Self { life_minutes: settings.chat_minutes, of_customer: settings.chats_per_customer, of_ticket: settings.chats_per_ticket }
    }
}

/// A chat somebody may have.
pub(crate) struct Wanted<'a> {
    pub ticket: &'a str,
    pub issue: &'a str,
    /// By what they proved themself, in a form that is the same at each press.
    pub holder: &'a str,
    pub again: Again,
    pub limits: Limits,
}

/// The chat that an earlier press started, if it can still be opened and has not led to a session that is over; else a new one. `customer`
/// is asked for a new one only.
pub(crate) async fn same_or_new(
    services: &Services,
    connection: &Arc<Connection>,
    wanted: &Wanted<'_>,
    customer: impl AsyncFnOnce() -> Customer,
) -> Result<(CustomerChat, bool), Refusal> {
    let now = services.clock.now_ms();
    let id = URL_SAFE_NO_PAD.encode(random_bytes::<16>());
    let mut new = NewCustomerChat {
        tenant: &connection.tenant,
        connection: connection.id,
        ticket: wanted.ticket,
        customer: wanted.holder,
        issue: wanted.issue,
        id: &id,
        name: None,
        company: None,
        expires_at: now + i64::from(wanted.limits.life_minutes) * 60_000,
        opened_at: None,
    };
    let least = now + LEAST_LIFE_MS.min(i64::from(wanted.limits.life_minutes) * 30_000);
    let former = services.store.customer_chat_of(&new, least).await?;
    if let Some(chat) = &former {
        let is_given_up = match (wanted.again, chat.opened_at) {
            (Again::No, _) | (_, None) => false,
            (Again::WindowClosed, Some(opened_at)) => !has_session(connection, wanted.ticket, opened_at).await,
            (Again::Confirmed, Some(_)) => true,
        };
        if !is_given_up && !is_over(services, chat).await? {
            return Ok((chat.clone(), false));
        }
    }
    let instead_of = former.as_ref().map(|chat| chat.id.as_str());
    let of_customer = format!("chats of/{}/{}/{}", connection.id, ticket_of(wanted.ticket, wanted.holder), wanted.holder);
    let on_ticket = format!("chats on/{}/{}", connection.id, wanted.ticket);
    let limits = [limit_of(connection, &of_customer, wanted.limits.of_customer), limit_of(connection, &on_ticket, wanted.limits.of_ticket)];
    // Of both before one of them counts: what the ticket's limit refuses must not use up the customer's.
    for limit in limits {
        check_use(services, limit).await?;
    }
    for limit in limits {
        count_use(services, limit).await?;
    }
    let customer = tokio::time::timeout(NAME_TIME, customer()).await.unwrap_or_default();
    (new.name, new.company) = (customer.name.as_deref(), customer.company.as_deref());
    if wanted.again != Again::Confirmed {
        new.opened_at = still_open(services, connection, wanted.ticket, now).await?;
    }
    // First: a chat that is stored is given away by the next press, whatever becomes of this one.
    ownership::chat_handed_out(services, connection, wanted.ticket, new.expires_at).await?;
    let chat = services.store.start_customer_chat(&new, instead_of, least).await?;
    Ok((chat, true))
}

/// When the ticket's last chat was opened (Unix ms), if the appliance still has its session: whichever issue it is about, and whoever opened it.
/// The new chat then counts as opened, so that the customer is asked before there are two.
async fn still_open(services: &Services, connection: &Connection, ticket: &str, now: i64) -> Result<Option<i64>, StoreError> {
    let opened_at = services.store.customer_chat_opened_at(connection.id, ticket).await?;
    match opened_at.filter(|opened_at| now - opened_at < LONGEST_CHAT_MS) {
        Some(opened_at) if has_session(connection, ticket, opened_at).await => Ok(Some(opened_at)),
        _ => Ok(None),
    }
}

/// Whether the appliance has a session of the ticket that began since `opened_at` (Unix ms) and has not ended. One that does not answer
/// must not keep a customer from a chat.
async fn has_session(connection: &Connection, ticket: &str, opened_at: i64) -> bool {
    let Some(engine) = &connection.engine else { return false };
    let since = (opened_at - CLOCK_TOLERANCE_MS).div_euclid(1_000);
    match tokio::time::timeout(SESSION_TIME, engine.sessions_started_since(since)).await {
        Ok(Ok(sessions)) => sessions.iter().any(|session| !session.is_ended() && ownership::external_key(session) == Some(ticket)),
        Ok(Err(error)) => {
            tracing::debug!(connection = connection.name(), %error, "whether a chat is still open could not be asked");
            false
        }
        Err(_) => false,
    }
}

/// Whether the session that a chat led to has ended.
async fn is_over(services: &Services, chat: &CustomerChat) -> Result<bool, StoreError> {
    let Some(opened_at) = chat.opened_at else { return Ok(false) };
    let sessions = services.store.sessions_of_ticket(chat.connection, &chat.ticket).await?;
    let since = opened_at - CLOCK_TOLERANCE_MS;
    // What was on the ticket by our own clock before the chat was opened is an earlier one's.
    let is_earlier = |recorded_at: Option<i64>| recorded_at.is_some_and(|at| at <= opened_at);
    let may_be_its = sessions.iter().filter(|session| session.started_at.is_some_and(|at| at >= since) && !is_earlier(session.recorded_at));
    let mut of_chat = may_be_its.peekable();
    Ok(of_chat.peek().is_some() && of_chat.all(|session| session.ended_at.is_some_and(|at| at >= since)))
}

/// What opening a chat leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opened {
    /// The appliance's chat, at this address.
    Chat(String),
    /// It was opened before; the customer decides whether once more.
    Before {
        /// The issue's code name.
        issue: String,
        /// The origin of the chat.
        destination: String,
    },
}

/// Why a chat cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenFault {
    /// There is none of that id.
    #[error("there is no such chat")]
    Unknown,
    /// Its time is over, or its connection is gone.
    #[error("this chat cannot be opened any more")]
    Gone,
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Opens a chat by its id. `once_more`: though it was opened before.
pub async fn open(services: &Services, id: &str, once_more: bool) -> Result<Opened, OpenFault> {
    let chat = services.store.customer_chat(id).await?.ok_or(OpenFault::Unknown)?;
    let now = services.clock.now_ms();
    if chat.expires_at <= now {
        return Err(OpenFault::Gone);
    }
    let connection = services.connections.current().by_id(chat.connection).cloned().ok_or(OpenFault::Gone)?;
    let engine = connection.engine.as_ref().ok_or(OpenFault::Gone)?;
    let request = ChatRequest {
        issue: &chat.issue,
        customer_name: chat.name.as_deref(),
        customer_company: chat.company.as_deref(),
        tag: SessionTag { ticket: &chat.ticket, connection: connection.id },
    };
    let address = engine.chat_url(&request).and_then(Result::ok).ok_or(OpenFault::Gone)?;
    if services.store.open_customer_chat(&chat.id, once_more, now).await? {
        tracing::info!(connection = connection.name(), ticket = chat.ticket, "a customer opens their chat");
        Ok(Opened::Chat(address))
    } else {
        Ok(Opened::Before { issue: chat.issue, destination: origin_of(&address).ok_or(OpenFault::Gone)? })
    }
}

fn origin_of(address: &str) -> Option<String> {
    Some(url::Url::parse(address).ok()?.origin().ascii_serialization())
}

/// The origin to which a connection's chats lead.
pub(crate) fn chat_origin(connection: &Connection) -> Option<String> {
    let tag = SessionTag { ticket: "0", connection: connection.id };
    let request = ChatRequest { issue: "issue", customer_name: None, customer_company: None, tag };
    origin_of(&connection.engine.as_ref()?.chat_url(&request)?.ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever the ticket system took for its answer, a refusal leaves at one of few moments.
    #[tokio::test(start_paused = true)]
    async fn refusals_leave_at_the_same_moment() {
        for took in [0, 1, 300, 1_499] {
            let begun = Instant::now();
            tokio::time::sleep(Duration::from_millis(took)).await;
            even_out(begun).await;
            assert_eq!(begun.elapsed().as_millis() / 10 * 10, REFUSAL_PACE.as_millis(), "{took}");
        }
        let begun = Instant::now();
        tokio::time::sleep(REFUSAL_PACE).await;
        even_out(begun).await;
        assert_eq!(begun.elapsed().as_millis() / 10 * 10, 2 * REFUSAL_PACE.as_millis());
    }
}
