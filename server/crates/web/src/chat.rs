//! `/c/{token}` and `/help-center/chats/{id}`: a customer opens a chat.
//!
//! Opening a chat link starts nothing: mail programs and scanners open links, too. The customer presses a button on its page. A chat from the
//! button in the Help Center has no other page between the press and the chat.

use std::sync::Arc;

use axum::Form;
use axum::extract::rejection::{FormRejection, PathRejection};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum_extra::extract::{Query, QueryRejection};
use deskbridge_shared::routes;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::help_center::START_TIME;
use super::pages::{self, Message};
use crate::state::PageState;
use deskbridge_security::signed_token::TokenError;
use deskbridge_use_cases::chat_link::{self, LinkError};
use deskbridge_use_cases::customer_chat::{self, OpenFault, Opened};

/// What the customer chose on the page.
#[derive(Debug, Default, Deserialize, IntoParams, ToSchema)]
#[into_params(parameter_in = Query)]
pub struct Choice {
    /// The code name of one of the issues on the page.
    issue: Option<String>,
    /// `true`: open it, though it was opened before.
    again: Option<String>,
}

impl Choice {
    /// What the address chooses.
    fn in_address(query: Result<Query<Self>, QueryRejection>) -> Self {
        query.map(|Query(choice)| choice).unwrap_or_default()
    }

    /// What does not read is no choice of ours.
    fn of(form: Result<Form<Self>, FormRejection>) -> Self {
        form.map(|Form(choice)| choice).unwrap_or_default()
    }

    fn again(&self) -> bool {
        self.again.as_deref() == Some("true")
    }
}

fn to(url: &str) -> Response {
    ([(header::CACHE_CONTROL, "no-store")], Redirect::to(url)).into_response()
}

/// A customer opens a chat link.
///
/// A page with a button for each issue, or for the one that `issue` chooses. Nothing is started. Pages are in the language of `Accept-Language`.
#[utoipa::path(
    get,
    context_path = routes::CHAT_LINK,
    path = "/{token}",
    operation_id = "open_chat_link",
    params(("token" = String, Path), Choice),
    responses(
        (status = 200, description = "A choice of issues", body = String, content_type = "text/html"),
        (status = 404, description = "Not a link of this server", body = String, content_type = "text/html"),
        (status = 410, description = "Expired", body = String, content_type = "text/html"),
        (status = 500, description = "No page"),
        (status = 503, description = "Try again in a minute", body = String, content_type = "text/html"),
    ),
)]
pub async fn look(
    State(state): State<Arc<PageState>>,
    token: Result<Path<String>, PathRejection>,
    choice: Result<Query<Choice>, QueryRejection>,
    headers: HeaderMap,
) -> Response {
    // What does not read is no token of ours; a person is told so in words like any other.
    let token = token.map(|Path(token)| token).unwrap_or_default();
    let locale = state.translations.of_request(&headers);
    match in_time(chat_link::look(&state.services, &token, Choice::in_address(choice).issue.as_deref())).await {
        Ok(invitation) => pages::respond_with_form(StatusCode::OK, state.pages.invite(locale, &invitation.issues), &invitation.destination),
        Err(error) => link_refused(&state, locale, &error),
    }
}

/// A customer starts the chat of a link.
#[utoipa::path(
    post,
    context_path = routes::CHAT_LINK,
    path = "/{token}",
    operation_id = "press_chat_link",
    params(("token" = String, Path)),
    request_body(content = Choice, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, description = "The choice once more, or whether to open the chat once more", body = String, content_type = "text/html"),
        (status = 303, description = "To the chat", headers(("Location" = String))),
        (status = 404, description = "Not a link of this server", body = String, content_type = "text/html"),
        (status = 409, description = "The ticket is closed", body = String, content_type = "text/html"),
        (status = 410, description = "Expired", body = String, content_type = "text/html"),
        (status = 429, description = "Too many chats", body = String, content_type = "text/html"),
        (status = 500, description = "No page"),
        (status = 503, description = "Try again in a minute", body = String, content_type = "text/html"),
    ),
)]
pub async fn press(
    State(state): State<Arc<PageState>>,
    token: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    form: Result<Form<Choice>, FormRejection>,
) -> Response {
    let token = token.map(|Path(token)| token).unwrap_or_default();
    let choice = Choice::of(form);
    let locale = state.translations.of_request(&headers);
    let chat = match in_time(chat_link::press(&state.services, &token, choice.issue.as_deref(), choice.again())).await {
        Ok(Some(chat)) => chat,
        Ok(None) => return look(State(state), Ok(Path(token)), Ok(Query(Choice::default())), headers).await,
        Err(error) => return link_refused(&state, locale, &error),
    };
    opened(&state, locale, &chat.id, false).await
}

/// A customer is told in words that the help desk does not answer.
async fn in_time<T>(work: impl Future<Output = Result<T, LinkError>>) -> Result<T, LinkError> {
    tokio::time::timeout(START_TIME, work).await.unwrap_or(Err(LinkError::Later))
}

fn link_refused(state: &PageState, locale: &str, error: &LinkError) -> Response {
    let (status, message) = match error {
        LinkError::Token(TokenError::Invalid) => (StatusCode::NOT_FOUND, Message::ChatInvalid),
        LinkError::Token(TokenError::Expired) | LinkError::Gone => (StatusCode::GONE, Message::ChatExpired),
        LinkError::Closed => (StatusCode::CONFLICT, Message::ChatClosed),
        LinkError::TooMany => (StatusCode::TOO_MANY_REQUESTS, Message::ChatTooMany),
        LinkError::Later => (StatusCode::SERVICE_UNAVAILABLE, Message::ChatLater),
    };
    pages::respond(status, state.pages.message(locale, message))
}

/// A customer opens the chat that they started in the Help Center.
///
/// The first opening leads to the appliance, a later one to a page that asks whether to open it once more. `HEAD` opens nothing.
#[utoipa::path(
    get,
    context_path = routes::HELP_CENTER_CHATS,
    path = "/{id}",
    operation_id = "open_chat",
    params(("id" = String, Path)),
    responses(
        (status = 200, description = "It was opened before", body = String, content_type = "text/html"),
        (status = 303, description = "To the chat", headers(("Location" = String))),
        (status = 404, description = "No chat of this server", body = String, content_type = "text/html"),
        (status = 410, description = "Its time is over", body = String, content_type = "text/html"),
        (status = 500, description = "No page"),
        (status = 503, description = "Try again in a minute", body = String, content_type = "text/html"),
    ),
)]
pub async fn open(
    State(state): State<Arc<PageState>>,
    method: Method,
    id: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Response {
    if method == Method::HEAD {
        return StatusCode::OK.into_response();
    }
    // A browser that fetches ahead has no customer yet who opens it. Of what is no success it keeps nothing, and asks again when they do.
    if headers.contains_key("sec-purpose") {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let id = id.map(|Path(id)| id).unwrap_or_default();
    opened(&state, state.translations.of_request(&headers), &id, false).await
}

/// A customer opens their chat once more.
#[utoipa::path(
    post,
    context_path = routes::HELP_CENTER_CHATS,
    path = "/{id}",
    operation_id = "open_chat_once_more",
    params(("id" = String, Path)),
    request_body(content = Choice, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, description = "It was opened before", body = String, content_type = "text/html"),
        (status = 303, description = "To the chat", headers(("Location" = String))),
        (status = 404, description = "No chat of this server", body = String, content_type = "text/html"),
        (status = 410, description = "Its time is over", body = String, content_type = "text/html"),
        (status = 500, description = "No page"),
        (status = 503, description = "Try again in a minute", body = String, content_type = "text/html"),
    ),
)]
pub async fn open_once_more(
    State(state): State<Arc<PageState>>,
    id: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    form: Result<Form<Choice>, FormRejection>,
) -> Response {
    let id = id.map(|Path(id)| id).unwrap_or_default();
    opened(&state, state.translations.of_request(&headers), &id, Choice::of(form).again()).await
}

async fn opened(state: &PageState, locale: &str, id: &str, once_more: bool) -> Response {
    match customer_chat::open(&state.services, id, once_more).await {
        Ok(Opened::Chat(url)) => to(&url),
        Ok(Opened::Before { issue, destination }) => {
            pages::respond_with_form(StatusCode::OK, state.pages.opened_before(locale, &issue), &destination)
        }
        Err(fault) => {
            let (status, message) = match fault {
                OpenFault::Unknown => (StatusCode::NOT_FOUND, Message::ChatOver),
                OpenFault::Gone => (StatusCode::GONE, Message::ChatOver),
                OpenFault::Store(error) => {
                    tracing::error!(%error, "the store failed");
                    (StatusCode::SERVICE_UNAVAILABLE, Message::ChatLater)
                }
            };
            pages::respond(status, state.pages.message(locale, message))
        }
    }
}
