//! `GET /c/{token}`: a customer opens a chat link.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum_extra::extract::{Query, QueryRejection};
use deskbridge_shared::routes;
use serde::Deserialize;
use utoipa::IntoParams;

use super::pages::{self, Message};
use crate::state::PageState;
use deskbridge_security::chat_token::ChatTokenError;
use deskbridge_use_cases::chat_link::{self, OpenError, Opened};

/// What the customer chose.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Choice {
    /// The code name of one of the issues on the page.
    issue: Option<String>,
}

/// A customer opens a chat link.
///
/// To the chat, or first to the choice of an issue. Pages are in the language of `Accept-Language`.
#[utoipa::path(
    get,
    context_path = routes::CHAT_LINK,
    path = "/{token}",
    operation_id = "open_chat_link",
    params(("token" = String, Path), Choice),
    responses(
        (status = 200, description = "A choice of issues", body = String, content_type = "text/html"),
        (status = 303, description = "To the chat", headers(("Location" = String))),
        (status = 404, description = "Not a link of this server", body = String, content_type = "text/html"),
        (status = 410, description = "Expired", body = String, content_type = "text/html"),
        (status = 500, description = "No page"),
        (status = 503, description = "Try again in a minute", body = String, content_type = "text/html"),
    ),
)]
pub async fn open(
    State(state): State<Arc<PageState>>,
    token: Result<Path<String>, PathRejection>,
    choice: Result<Query<Choice>, QueryRejection>,
    headers: HeaderMap,
) -> Response {
    // What does not read is no token and no choice of ours; a person is told so in words like any other.
    let token = token.map(|Path(token)| token).unwrap_or_default();
    let issue = choice.ok().and_then(|Query(choice)| choice.issue);
    let locale = state.translations.of_request(&headers);
    match chat_link::open(&state.services, &token, issue.as_deref()).await {
        Ok(Opened::Chat(url)) => ([(header::CACHE_CONTROL, "no-store")], Redirect::to(&url)).into_response(),
        Ok(Opened::Choose(issues)) => pages::respond(StatusCode::OK, state.pages.choose_issue(locale, &issues)),
        Err(error) => {
            let (status, message) = match error {
                OpenError::Token(ChatTokenError::Invalid) => (StatusCode::NOT_FOUND, Message::ChatInvalid),
                OpenError::Token(ChatTokenError::Expired) | OpenError::Gone => (StatusCode::GONE, Message::ChatExpired),
                OpenError::Later => (StatusCode::SERVICE_UNAVAILABLE, Message::ChatLater),
            };
            pages::respond(status, state.pages.message(locale, message))
        }
    }
}
