//! RFC 9457 problem documents: what a caller may read, under a stable `type`. What only the log may read is logged here, once.

use std::error::Error;
use std::time::Duration;

use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Serialize, Serializer};
use tower_http::timeout::TimeoutError;
use utoipa::openapi::{ContentBuilder, HeaderBuilder, ObjectBuilder, Ref, RefOr, ResponseBuilder, Type};
use utoipa::{ToResponse, ToSchema};

use deskbridge_help_desks::{HelpDeskError, NotAllowed};
use deskbridge_remote_support::{EngineFault, Error as EngineError};
use deskbridge_shared::problem::{Kind, TYPE_PREFIX};
use deskbridge_store::StoreError;
use deskbridge_use_cases::customer_chat::Refusal;
use deskbridge_use_cases::{NotOffered, SupportError, ValueFault};

const MEDIA_TYPE: &str = "application/problem+json";

/// An answer that says what is wrong and what to do.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Problem {
    /// For programs: the name after `urn:deskbridge:problem:` does not change.
    #[serde(rename = "type", serialize_with = "urn")]
    #[schema(value_type = String, format = "uri")]
    told_as: Kind,
    #[serde(skip)]
    kind: Kind,
    /// For programs: which of the situations it is, where a type covers several. It does not change either.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    reason: Option<&'static str>,
    /// What is wrong.
    title: &'static str,
    /// The answer's status.
    #[serde(serialize_with = "number")]
    #[schema(value_type = u16)]
    status: StatusCode,
    /// What to do.
    detail: String,
    #[serde(flatten)]
    members: Box<Members>,
}

/// What the words of some problems name. Which problem has which: docs/panel-api.md.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
#[schema(as = ProblemMembers)]
pub(crate) struct Members {
    /// The field of the request that is at fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    field: Option<String>,
    /// The most characters that the field takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    limit: Option<usize>,
    /// The Jump method.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    method: Option<&'static str>,
    /// The name of the agent who is adding a report.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    agent: Option<String>,
    /// What the appliance or the ticket system said, in its own words.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    said: Option<String>,
    /// What exactly failed, in English, for an administrator.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    cause: Option<String>,
    /// The server's time: RFC 3339 UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "date-time", nullable = false)]
    server_time: Option<String>,
    /// Seconds after which the same request may do; also the header `Retry-After`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, minimum = 1)]
    retry_after: Option<u64>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form `serialize_with` takes")]
fn urn<S: Serializer>(kind: &Kind, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{TYPE_PREFIX}{}", kind.name()))
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form `serialize_with` takes")]
fn number<S: Serializer>(status: &StatusCode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u16(status.as_u16())
}

impl Problem {
    fn new(status: StatusCode, kind: Kind, title: &'static str, detail: impl Into<String>) -> Self {
        let reason = (kind.base() != kind).then(|| kind.name());
        Self { status, told_as: kind.base(), kind, reason, title, detail: detail.into(), members: Box::default() }
    }

    fn with(self, members: Members) -> Self {
        Self { members: Box::new(members), ..self }
    }

    /// Its kind as a type of its own, where that is a reason elsewhere.
    fn with_own_type(self) -> Self {
        Self { told_as: self.kind, reason: None, ..self }
    }

    /// The same request may do after so long.
    fn again_in(mut self, wait: impl Into<Option<Duration>>) -> Self {
        self.members.retry_after = wait.into().map(|wait| wait.as_secs().max(1));
        self
    }

    /// Whether it has every member that its kind's readers rely on.
    fn is_complete(&self) -> bool {
        let members = serde_json::to_value(&self.members).unwrap_or_default();
        self.kind.members().iter().all(|name| members.get(name).is_some())
    }

    /// No such route or thing.
    pub fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, Kind::NotFound, "Nothing is here", "Check the address.")
    }

    /// Wrong method for the route.
    pub fn method_not_allowed() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, Kind::MethodNotAllowed, "This method is not allowed here", "See the Allow header.")
    }

    /// Our answer took too long. No 408: clients send a request that got one again by themselves, and this one may have done its work.
    pub fn too_slow() -> Self {
        tracing::warn!("an answer took too long");
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            Kind::TooSlow,
            "The answer took too long",
            "Look whether it was done before you try again.",
        )
        .again_in(Duration::from_secs(5))
    }

    /// No session, or an ended one.
    pub fn no_session() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, Kind::NoSession, "Your session has ended", "Reload the ticket's page to open a new one.")
    }

    /// A session of one connection used for another.
    pub fn foreign_connection() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            Kind::ForeignConnection,
            "This session belongs to another connection",
            "Open the panel from a ticket of that connection.",
        )
    }

    /// A request that another site's page made the browser send.
    pub fn cross_site() -> Self {
        let detail = "The panel's own page must send it.";
        Self::new(StatusCode::FORBIDDEN, Kind::CrossSite, "The request came from another site", detail)
    }

    /// A body beyond the limit, one that came too slowly, or one that broke off.
    #[expect(clippy::needless_pass_by_value, reason = "the form `map_err` takes")]
    pub fn unread_body(rejection: BytesRejection) -> Self {
        let mut causes = std::iter::successors(Some(&rejection as &(dyn Error + 'static)), |error| (**error).source());
        if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
            Self::new(StatusCode::PAYLOAD_TOO_LARGE, Kind::TooLarge, "The request is too large", "Send less.")
        } else if causes.any(<dyn Error>::is::<TimeoutError>) {
            Self::new(StatusCode::REQUEST_TIMEOUT, Kind::SlowRequest, "The request came too slowly", "Send it again.")
        } else {
            Self::bad_request("The body could not be read.")
        }
    }

    /// A request that does not read.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, Kind::BadRequest, "The request is not understood", detail)
    }

    /// A field with a value that cannot be used.
    pub fn invalid(field: &str, problem: &str) -> Self {
        Self::invalid_in_kind(Kind::InvalidValue, field, problem)
    }

    fn invalid_in_kind(kind: Kind, field: &str, problem: &str) -> Self {
        let detail = if problem.starts_with(field) { problem.to_owned() } else { format!("{field}: {problem}") };
        let members = Members { field: Some(field.to_owned()), ..Members::default() };
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, kind, "A value cannot be used", detail).with(members)
    }

    /// `?appliance=` names none of ours.
    pub fn unknown_appliance() -> Self {
        let detail = "The address names no configured appliance. Compare its ?appliance= with the connection's appliance id.";
        Self::new(StatusCode::NOT_FOUND, Kind::UnknownAppliance, "Unknown appliance", detail)
    }

    /// An event that is not the appliance's: wrong token, or from an address outside the allowed networks.
    pub fn event_refused(token: bool) -> Self {
        let (status, detail) = if token {
            (StatusCode::UNAUTHORIZED, "The address needs the connection's event token as &token=.")
        } else {
            (StatusCode::FORBIDDEN, "Events are not accepted from this address; see the connection's event_sources.")
        };
        Self::new(status, Kind::EventRefused, "The event is refused", detail)
    }

    /// Not form data.
    pub fn not_a_form() -> Self {
        let detail = "Send form data (application/x-www-form-urlencoded).";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, Kind::NotAForm, "The body is not form data", detail)
    }

    /// A device's proof that does not read.
    pub fn device_proof(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, Kind::DeviceProof, "The device's proof is not understood", detail)
    }

    /// A session and a device's proof in one request.
    pub fn two_proofs() -> Self {
        let detail = "Send a session or a device's signature, not both; an extension omits credentials.";
        Self::new(StatusCode::BAD_REQUEST, Kind::TwoProofs, "The request proves itself twice", detail)
    }

    /// Only a device may ask this.
    pub fn no_device() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            Kind::NoDevice,
            "Only a paired browser can ask this",
            "Pair this browser, and sign the request.",
        )
    }

    /// No such device, or not its signature.
    pub fn device_refused() -> Self {
        let detail = "Pair this browser again. If it stays, the server's public_url is another than the address it was paired with.";
        Self::new(StatusCode::UNAUTHORIZED, Kind::DeviceRefused, "This browser is not known here", detail)
    }

    /// A device an administrator or its own agent has taken away.
    pub fn device_revoked() -> Self {
        let detail = "Ask your administrator for a new pairing link.";
        Self::new(StatusCode::UNAUTHORIZED, Kind::DeviceRevoked, "This browser's pairing was ended", detail)
    }

    /// Signed too long ago, or in the future. `server_time`: RFC 3339 UTC.
    pub fn clock(server_time: &str) -> Self {
        let detail = format!("The server's time is {server_time}. Set this computer's clock.");
        let members = Members { server_time: Some(server_time.to_owned()), ..Members::default() };
        Self::new(StatusCode::UNAUTHORIZED, Kind::Clock, "This computer's clock is wrong", detail).with(members)
    }

    /// The same signed request again.
    pub fn replayed() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, Kind::Replayed, "The request was sent before", "Sign each request anew.")
    }

    /// No such pairing code.
    pub fn pairing_code() -> Self {
        let detail = "Check it, or ask your administrator for a new one.";
        Self::new(StatusCode::FORBIDDEN, Kind::PairingCode, "The pairing code is not known", detail)
    }

    /// A pairing code that was good once.
    pub fn pairing_code_gone(kind: Kind, title: &'static str) -> Self {
        Self::new(StatusCode::GONE, kind, title, "Ask your administrator for a new one.")
    }

    /// The key of a device that is, or was, paired.
    pub fn already_paired() -> Self {
        let detail = "To pair this browser anew, let the extension forget its pairing first, so that it makes a new key.";
        Self::new(StatusCode::CONFLICT, Kind::AlreadyPaired, "This browser was paired before", detail)
    }

    /// Too many wrong pairing codes.
    pub fn too_many_codes(wait: Duration) -> Self {
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            Kind::TooManyCodes,
            "Too many wrong pairing codes",
            "Check the code. A right one is taken at once; wrong ones are answered again in a minute.",
        )
        .again_in(wait)
    }

    /// Not JSON.
    pub fn not_json() -> Self {
        let detail = "Send JSON with Content-Type: application/json.";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, Kind::NotJson, "The body is not JSON", detail)
    }

    /// A page that may not call us: none of the Help Center's.
    pub fn foreign_page() -> Self {
        let detail = "Only pages of the connection's Help Center may ask this. Add the page's origin to [connection.help_center] origins.";
        Self::new(StatusCode::FORBIDDEN, Kind::CrossSite, "The request came from another site", detail)
    }

    /// No connection with a Help Center is called so.
    pub fn connection_not_found() -> Self {
        let detail = "No connection with a Help Center is called so. Compare data-connection in the page with the connection's name.";
        Self::new(StatusCode::NOT_FOUND, Kind::ConnectionNotFound, "Unknown connection", detail)
    }

    /// Too many chats, or refusals.
    pub fn too_many_chats(wait: Duration) -> Self {
        let detail = "Try again later.";
        Self::new(StatusCode::TOO_MANY_REQUESTS, Kind::TooManyChats, "Too many attempts", detail)
            .again_in(wait + Duration::from_millis(999))
    }

    /// No API token, or one that does not hold.
    pub fn api_token(detail: &'static str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, Kind::ApiToken, "An API token is needed", detail)
    }

    /// An API token of another connection.
    pub fn api_token_connection() -> Self {
        let detail = "The token is not for that connection, or there is no connection of that name. Compare ?connection= with \
                      `deskbridge tokens list`.";
        Self::new(StatusCode::FORBIDDEN, Kind::ApiTokenConnection, "The token is for another connection", detail)
    }

    /// An API token for something else.
    pub fn api_token_purpose(purpose: &str) -> Self {
        let detail = format!("The token is not for {purpose}. Make one that is: `deskbridge tokens create --for {purpose}`.");
        Self::new(StatusCode::FORBIDDEN, Kind::ApiTokenPurpose, "The token is for something else", detail)
    }

    /// The token's connection is disabled or faulty.
    pub fn connection_not_running() -> Self {
        let detail = "The connection is disabled, or cannot run with its settings; see the server's log and `deskbridge check`.";
        Self::new(StatusCode::NOT_FOUND, Kind::ConnectionNotRunning, "The connection does not run", detail)
    }

    /// The connection's ticket system takes no incidents.
    pub fn incidents_not_taken(detail: String) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, Kind::IncidentsNotTaken, "No tickets are made of incidents here", detail)
    }

    /// The ticket system refused an incident's ticket. `said`: its words.
    pub fn ticket_refused(said: &str) -> Self {
        let detail = format!("{said}. Put that right and post the incident again; until then nothing is tried.");
        let members = Members { said: Some(said.to_owned()), ..Members::default() };
        Self::new(StatusCode::BAD_GATEWAY, Kind::TicketRefused, "The ticket system refused the ticket", detail).with(members)
    }

    /// An incident's ticket could not be made for now. `said`: what stood in the way.
    pub fn ticket_not_made(said: &str, status_url: &str, again_in: Duration) -> Self {
        let detail = format!("{said}. It is tried again by itself; ask {status_url}, or post the incident again.");
        let members = Members { said: Some(said.to_owned()), ..Members::default() };
        let problem = Self::new(StatusCode::BAD_GATEWAY, Kind::TicketNotMade, "The ticket could not be made yet", detail);
        problem.with(members).again_in(again_in)
    }

    /// An incident's ticket is still being made.
    pub fn ticket_under_way(status_url: &str, again_in: Duration) -> Self {
        let detail = format!("The incident is stored and its ticket is still being made; ask {status_url}, or post the incident again.");
        Self::new(StatusCode::GATEWAY_TIMEOUT, Kind::TicketUnderWay, "The ticket system did not answer in time", detail).again_in(again_in)
    }

    /// The server cannot do its work now.
    pub fn unavailable(detail: impl Into<String>) -> Self {
        let problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, Kind::Unavailable, "Not available at the moment", detail);
        problem.again_in(Duration::from_secs(5))
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        debug_assert!(self.is_complete(), "{self:?} lacks one of {:?}", self.kind.members());
        let body = serde_json::to_string(&self).unwrap_or_default();
        let mut response = (self.status, [(header::CONTENT_TYPE, MEDIA_TYPE), (header::CACHE_CONTROL, "no-store")], body).into_response();
        if let Some(seconds) = self.members.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.kind == Kind::ApiToken {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl<'a> ToResponse<'a> for Problem {
    fn response() -> (&'a str, RefOr<utoipa::openapi::Response>) {
        let name = "Problem";
        let retry_after = HeaderBuilder::new()
            .description(Some("Seconds after which the same request may do, where that is known"))
            .schema(Some(ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1))))
            .build();
        let response = ResponseBuilder::new()
            .description("What is wrong and what to do (RFC 9457)")
            .content(MEDIA_TYPE, ContentBuilder::new().schema(Some(Ref::from_schema_name(Self::name()))).build())
            .header("Retry-After", retry_after)
            .build();
        (name, response.into())
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "the store failed");
        Self::unavailable("The database does not answer. Try again in a moment.")
    }
}

impl From<HelpDeskError> for Problem {
    fn from(error: HelpDeskError) -> Self {
        match error {
            HelpDeskError::NoTicket(detail) => Self::new(StatusCode::NOT_FOUND, Kind::TicketNotFound, "The ticket was not found", detail),
            HelpDeskError::NotAllowed { why, what } => {
                let kind = match why {
                    NotAllowed::NoAccess => Kind::TicketNotAllowed,
                    NotAllowed::NotAnAgent => Kind::NotAnAgent,
                    NotAllowed::TicketClosed => Kind::TicketClosed,
                    NotAllowed::PanelInSidebar => Kind::PanelInSidebar,
                    NotAllowed::PanelInExtension => Kind::PanelInExtension,
                };
                Self::new(StatusCode::FORBIDDEN, kind, "You cannot do this on this ticket", what)
            }
            error @ HelpDeskError::Passing { .. } => {
                let retry_after = if let HelpDeskError::Passing { retry_after, .. } = &error { *retry_after } else { None };
                tracing::warn!(%error, "the ticket system did not answer");
                let problem = Self::new(
                    StatusCode::BAD_GATEWAY,
                    Kind::TicketSystemUnavailable,
                    "The ticket system does not answer",
                    "Try again in a moment.",
                );
                problem.again_in(retry_after.unwrap_or(Duration::from_secs(2)))
            }
            HelpDeskError::Closed { what, .. } => {
                Self::new(StatusCode::FORBIDDEN, Kind::TicketClosed, "You cannot do this on this ticket", what)
            }
            HelpDeskError::Denied(_) | HelpDeskError::Resting { .. } | HelpDeskError::FileRefused(_) | HelpDeskError::Refused(_) => {
                let retry_after = if let HelpDeskError::Resting { again_in, .. } = &error { Some(*again_in) } else { None };
                tracing::error!(what = %error, "the ticket system refused");
                let detail = "The ticket system refused Deskbridge. Ask the administrator to run `deskbridge check`.";
                let problem = Self::new(StatusCode::BAD_GATEWAY, Kind::TicketSystemRefused, "The ticket system refused", detail);
                problem.again_in(retry_after)
            }
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Proof => {
                let detail = "Sign in to the Help Center, open the request again and try once more.";
                Self::new(StatusCode::FORBIDDEN, Kind::ProofRefused, "It could not be verified who you are", detail)
            }
            Refusal::NotYours => {
                let detail = "Open one of your own requests.";
                Self::new(StatusCode::FORBIDDEN, Kind::NotYourTicket, "This is not your request", detail)
            }
            Refusal::Closed => {
                let detail = "Submit a follow-up request and start the chat from there.";
                Self::new(StatusCode::CONFLICT, Kind::TicketClosed, "This request is closed", detail).with_own_type()
            }
            Refusal::Issue => Self::of_value("issue", ValueFault::Issue, "the code of one of the issues offered"),
            Refusal::TooMany { wait } => Self::too_many_chats(wait),
            Refusal::NotOffered => Self::not_offered(&NotOffered::Chat, "No chats are offered here.".to_owned()),
            Refusal::HelpDesk(error) => error.into(),
            Refusal::Store(error) => error.into(),
        }
    }
}

impl From<EngineError> for Problem {
    fn from(error: EngineError) -> Self {
        tracing::warn!(%error, "the remote-support system failed");
        match error.fault {
            EngineFault::Busy { retry_after } => {
                let problem = Self::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    Kind::ApplianceBusy,
                    "The remote-support system is busy",
                    "Too many requests. Try again in a moment.",
                );
                problem.again_in(retry_after)
            }
            fault @ (EngineFault::Denied { .. } | EngineFault::Resting { .. }) => {
                let retry_after = if let EngineFault::Resting { again_in } = fault { Some(again_in) } else { None };
                let detail = "The remote-support system refused Deskbridge's API account. Ask the administrator to run `deskbridge check`.";
                let problem = Self::new(StatusCode::BAD_GATEWAY, Kind::ApplianceDenied, "The remote-support system refused", detail);
                problem.again_in(retry_after)
            }
            EngineFault::Refused { message } => {
                let detail = format!("It said: {message}");
                let members = Members { said: Some(message), ..Members::default() };
                Self::new(StatusCode::BAD_GATEWAY, Kind::ApplianceRefused, "The remote-support system refused", detail).with(members)
            }
            EngineFault::TooLarge => {
                let detail = "The remote-support system's report is too large to be read. Look at it there.";
                Self::new(StatusCode::BAD_GATEWAY, Kind::ReportTooLarge, "The report is too large", detail)
            }
            EngineFault::Unexpected => {
                let detail = "Try again in a moment. If it stays, ask the administrator to run `deskbridge check`.";
                Self::new(
                    StatusCode::BAD_GATEWAY,
                    Kind::ApplianceNotUnderstood,
                    "The remote-support system's answer is not understood",
                    detail,
                )
            }
            _ => Self::new(
                StatusCode::BAD_GATEWAY,
                Kind::ApplianceUnavailable,
                "The remote-support system does not answer",
                "Try again in a moment.",
            ),
        }
    }
}

impl From<SupportError> for Problem {
    fn from(error: SupportError) -> Self {
        match error {
            SupportError::HelpDesk(error) => error.into(),
            SupportError::Engine(error) => error.into(),
            SupportError::Store(error) => error.into(),
            SupportError::NoteUnderWay { agent, wait } => {
                let detail = format!("{agent} adds it in another browser. Wait until it is there, or {} s.", wait.as_secs().max(1));
                let problem = Self::new(StatusCode::CONFLICT, Kind::NoteUnderWay, "A report is being added to this ticket", detail);
                problem.with(Members { agent: Some(agent), ..Members::default() }).again_in(wait)
            }
            SupportError::NoSuchLink => {
                let detail = "It may have been made for another ticket, or so long ago that it is forgotten.";
                Self::new(StatusCode::NOT_FOUND, Kind::LinkUnknown, "This ticket has no such link", detail)
            }
            SupportError::NotReady => {
                let detail = "The remote-support system has no complete report of this session yet. Try again in a moment.";
                let problem = Self::new(StatusCode::CONFLICT, Kind::ReportNotReady, "The report is not there yet", detail);
                problem.again_in(Duration::from_secs(2))
            }
            SupportError::NotOffered { why, what } => Self::not_offered(&why, what),
            SupportError::Invalid { field, fault, problem } => Self::of_value(&field, fault, &problem),
        }
    }
}

impl Problem {
    fn not_offered(why: &NotOffered, what: String) -> Self {
        let mut members = Members::default();
        let kind = match why {
            NotOffered::Method(method) => {
                members.method = Some(method.name());
                Kind::MethodNotOffered
            }
            NotOffered::Chat => Kind::ChatNotOffered,
            NotOffered::AgentWithoutEmail => Kind::AgentWithoutEmail,
            NotOffered::NoRemoteSupport => Kind::NoRemoteSupport,
            NotOffered::Machines => Kind::NotOffered,
            NotOffered::RecordNotNeeded => Kind::RecordNotNeeded,
            NotOffered::ReportNotWritten => {
                members.cause = Some(what.clone());
                Kind::ReportNotWritten
            }
        };
        Self::new(StatusCode::FORBIDDEN, kind, "This is not offered here", what).with(members)
    }

    fn of_value(field: &str, fault: ValueFault, problem: &str) -> Self {
        let (mut limit, mut method) = (None, None);
        let kind = match fault {
            ValueFault::Unknown => Kind::InvalidValue,
            ValueFault::Missing => Kind::ValueMissing,
            ValueFault::TooLong(most) => {
                limit = Some(most);
                Kind::ValueTooLong
            }
            ValueFault::NotTaken(of) => {
                method = Some(of.name());
                Kind::ValueNotTaken
            }
            ValueFault::Jumpoint => Kind::JumpointUnknown,
            ValueFault::Issue => Kind::IssueUnknown,
            ValueFault::SessionOfAnotherTicket => Kind::SessionOfAnotherTicket,
            ValueFault::SessionNotEnded => Kind::SessionNotEnded,
            ValueFault::SessionNotRecorded => Kind::SessionNotRecorded,
        };
        let mut invalid = Self::invalid_in_kind(kind, field, problem);
        (invalid.members.limit, invalid.members.method) = (limit, method);
        invalid
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use axum::Router;
    use axum::body::{Body, Bytes};
    use axum::extract::Request;
    use axum::routing::post;
    use futures_util::stream;
    use tower::ServiceExt;

    use super::*;

    async fn ask(router: Router, body: Body) -> Response {
        let request = Request::post("/").header(header::HOST, "deskbridge.example.com").body(body).unwrap();
        crate::common(router).oneshot(request).await.unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn our_slowness_is_not_the_callers() {
        let never = Router::new().route("/", post(|| async { std::future::pending::<()>().await }));
        let answer = ask(never, Body::empty()).await;
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(answer.headers().contains_key(header::RETRY_AFTER));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_comes_slowly_is_the_callers() {
        let read = |body: Result<Bytes, BytesRejection>| async { body.map_err(Problem::unread_body).map(|_| ()) };
        let read = Router::new().route("/", post(read));
        let slow = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
        assert_eq!(ask(read.clone(), slow).await.status(), StatusCode::REQUEST_TIMEOUT);
        let broken = Body::from_stream(stream::iter([Err::<Bytes, _>(std::io::Error::other("broke off"))]));
        assert_eq!(ask(read.clone(), broken).await.status(), StatusCode::BAD_REQUEST);
        assert_eq!(ask(read, vec![0; crate::MAX_BODY + 1].into()).await.status(), StatusCode::PAYLOAD_TOO_LARGE);
    }

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_failure_is_logged_once() {
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish();
        let guard = tracing::subscriber::set_default(subscriber);
        let fails = || async { Problem::from(HelpDeskError::Denied("by the test".to_owned())) };
        let answer = ask(Router::new().route("/", post(fails)), Body::empty()).await;
        drop(guard);
        let lines = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        assert!(answer.status().is_server_error() && lines.lines().count() == 1 && lines.contains("by the test"), "{lines}");
    }
}
