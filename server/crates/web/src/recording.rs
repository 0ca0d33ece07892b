//! `/recordings/{connection}/{lsid}`: a session's recording, for whoever has a link of the panel's; for anybody else a page that says how to get one.
//!
//! The engine's answer goes through as it comes, and is never held as a whole.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum_extra::extract::{Query, QueryRejection};
use deskbridge_remote_support::RecordingBody;
use deskbridge_security::signed_token::TokenError;
use deskbridge_shared::routes;
use deskbridge_use_cases::recording::{self, RecordingFault};
use futures_util::stream::{self, Stream, StreamExt};
use serde::Deserialize;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use utoipa::IntoParams;

use crate::pages::{self, Message};
use crate::state::PageState;

/// The engine's next piece comes within so long.
const PIECE_TIME: Duration = Duration::from_secs(30);
/// A whole answer takes no longer. Whoever is slower asks for the rest by a range.
const WHOLE_TIME: Duration = Duration::from_hours(1);
/// Longest file name that is passed on, in characters.
const MAX_NAME: usize = 120;
/// For every file: nothing in it is shown or run here.
const FILE_POLICY: &str = "default-src 'none'; sandbox";

/// What comes with the address.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Pass {
    /// From `POST /api/v1/sessions/recording`. Without it: a page that says how to open the recording.
    token: Option<String>,
}

/// A session's recording.
///
/// As the remote-support system has it, whole or one range of bytes. Pages are in the language of `Accept-Language`.
#[utoipa::path(
    get,
    context_path = routes::RECORDINGS,
    path = "/{connection}/{lsid}",
    operation_id = "read_recording",
    params(
        ("connection" = String, Path, description = "The connection's id"),
        ("lsid" = String, Path, description = "The session's id"),
        Pass,
        ("Range" = Option<String>, Header, description = "One range of bytes; several, or a range with If-Range, get the whole"),
    ),
    responses(
        (status = 200, description = "The recording", body = [u8], content_type = "application/octet-stream"),
        (status = 206, description = "A part of it", body = [u8], content_type = "application/octet-stream"),
        (status = 403, description = "Without a token: how to open it from the ticket", body = String, content_type = "text/html"),
        (status = 404, description = "Not a link of this server", body = String, content_type = "text/html"),
        (status = 410, description = "The link has expired, or the recording is gone", body = String, content_type = "text/html"),
        (status = 416, description = "It has no such part"),
        (status = 500, description = "No page"),
        (status = 503, description = "Try again in a minute", body = String, content_type = "text/html"),
    ),
)]
pub async fn read(
    State(state): State<Arc<PageState>>,
    method: Method,
    path: Result<Path<(String, String)>, PathRejection>,
    pass: Result<Query<Pass>, QueryRejection>,
    headers: HeaderMap,
) -> Response {
    // What does not read is no address and no token of ours.
    let (connection, lsid) = path.map(|Path(path)| path).unwrap_or_default();
    let pass = pass.map_or_else(|_| Some(String::new()), |Query(pass)| pass.token);
    let locale = state.translations.of_request(&headers);
    let Some(token) = pass else {
        return how_to(&state, locale, StatusCode::FORBIDDEN, Message::RecordingFromTicket, &connection, &lsid).await;
    };
    let is_head = method == Method::HEAD;
    let range = if is_head { None } else { one_range(&headers) };
    let refused = |status, message| pages::respond(status, state.pages.message(locale, message));
    match recording::open(&state.services, &connection, &lsid, &token, range).await {
        Ok(body) => answer(body, &lsid, is_head, &state.stop),
        Err(RecordingFault::Token(TokenError::Expired)) => {
            how_to(&state, locale, StatusCode::GONE, Message::RecordingExpired, &connection, &lsid).await
        }
        Err(RecordingFault::Token(TokenError::Invalid)) => refused(StatusCode::NOT_FOUND, Message::RecordingInvalid),
        Err(RecordingFault::Gone) => refused(StatusCode::GONE, Message::RecordingGone),
        Err(RecordingFault::Later) => refused(StatusCode::SERVICE_UNAVAILABLE, Message::RecordingLater),
    }
}

/// A page that leads to the ticket, if it is known where that is.
async fn how_to(state: &PageState, locale: &str, status: StatusCode, message: Message, connection: &str, lsid: &str) -> Response {
    let ticket = recording::ticket_address(&state.services, connection, lsid).await;
    pages::respond(status, state.pages.message_with_link(locale, message, ticket.as_deref().map(|address| (address, "recording_ticket"))))
}

/// The one range of bytes that is asked for (RFC 9110, 14.2). We name no version of the file, so none can be the one that `If-Range` means.
fn one_range(headers: &HeaderMap) -> Option<&str> {
    let mut all = headers.get_all(header::RANGE).iter();
    let (Some(range), None) = (all.next(), all.next()) else { return None };
    if headers.contains_key(header::IF_RANGE) {
        return None;
    }
    let range = range.to_str().ok()?.trim();
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let is_number = |text: &str| text.len() <= 15 && text.bytes().all(|byte| byte.is_ascii_digit());
    ((!first.is_empty() || !last.is_empty()) && is_number(first) && is_number(last)).then_some(range)
}

/// The engine's answer as ours. `stop`: the server stops, and whoever reads asks for the rest later.
fn answer(body: RecordingBody, lsid: &str, is_head: bool, stop: &CancellationToken) -> Response {
    let status = match body.status {
        200 => StatusCode::OK,
        206 => StatusCode::PARTIAL_CONTENT,
        416 => StatusCode::RANGE_NOT_SATISFIABLE,
        other => {
            tracing::warn!(lsid, status = other, "an engine's answer is none of a recording");
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        }
    };
    let disposition = format!("attachment; filename=\"{}\"", plain_name(&body.file_name, lsid));
    let content = if is_head || status == StatusCode::RANGE_NOT_SATISFIABLE {
        Body::empty()
    } else {
        Body::from_stream(in_time(body.stream, stop.clone()))
    };
    let mut response = (status, content).into_response();
    let headers = response.headers_mut();
    let mut set = |name, value: &str| HeaderValue::from_str(value).map(|value| headers.insert(name, value));
    let _ = set(header::CONTENT_TYPE, "application/octet-stream");
    let _ = set(header::CONTENT_DISPOSITION, &disposition);
    let _ = set(header::CONTENT_SECURITY_POLICY, FILE_POLICY);
    let _ = set(header::CACHE_CONTROL, "no-store");
    let _ = set(header::REFERRER_POLICY, "no-referrer");
    let _ = set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    let _ = set(header::ACCEPT_RANGES, "bytes");
    if status != StatusCode::RANGE_NOT_SATISFIABLE
        && let Some(length) = body.content_length
    {
        let _ = set(header::CONTENT_LENGTH, &length.to_string());
    }
    if status != StatusCode::OK
        && let Some(range) = &body.content_range
    {
        let _ = set(header::CONTENT_RANGE, range);
    }
    response
}

/// Ends with an error where a piece, or all of it, takes too long: whoever reads then knows that it is not all.
fn in_time<S>(pieces: S, stop: CancellationToken) -> impl Stream<Item = Result<Bytes, std::io::Error>>
where
    S: Stream<Item = Result<Bytes, std::io::Error>> + Unpin,
{
    let until = Instant::now() + WHOLE_TIME;
    stream::unfold(Some(pieces), move |pieces| {
        let stop = stop.clone();
        async move {
            let mut pieces = pieces?;
            let next = timeout_at(until, timeout(PIECE_TIME, pieces.next()));
            let next = tokio::select! {
                next = next => next,
                () = stop.cancelled() => return Some((Err(std::io::Error::other("the server stops")), None)),
            };
            match next {
                Ok(Ok(Some(Ok(piece)))) => Some((Ok(piece), Some(pieces))),
                Ok(Ok(Some(Err(error)))) => {
                    tracing::warn!(%error, "a recording broke off");
                    Some((Err(error), None))
                }
                Ok(Ok(None)) => None,
                Ok(Err(_)) | Err(_) => {
                    tracing::warn!("a recording took too long");
                    Some((Err(std::io::ErrorKind::TimedOut.into()), None))
                }
            }
        }
    })
}

/// A file name that is the same in every header and on every system.
fn plain_name(name: &str, lsid: &str) -> String {
    let is_plain = |character: &char| character.is_ascii_alphanumeric() || matches!(character, '.' | '-' | '_');
    let plain: String = name.chars().filter(is_plain).take(MAX_NAME).collect();
    let plain = plain.trim_start_matches(['.', '-']);
    if plain.is_empty() {
        format!("session-{}", lsid.chars().filter(is_plain).take(MAX_NAME).collect::<String>())
    } else {
        plain.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::to_bytes;
    use axum::http::Request;
    use axum::routing::get;
    use deskbridge_core::clock::Clock;
    use deskbridge_reports::ReportTemplates;
    use deskbridge_security::recording_token::RecordingPass;
    use deskbridge_security::seal::MasterKey;
    use deskbridge_security::signed_token::issue;
    use deskbridge_use_cases::Services;
    use deskbridge_use_cases::connections::Connections;
    use deskbridge_use_cases::incidents::IncidentIntake;
    use futures_util::stream::BoxStream;
    use tower::ServiceExt;

    use super::*;
    use crate::assets::Assets;
    use crate::pages::Pages;
    use crate::texts::Translations;

    const CONNECTION: &str = "0190f0c4-7b2a-7cde-8f00-0123456789ab";
    const LSID: &str = "3b5f0a5f6f0c4d2e9a8b7c6d5e4f3a2b";

    fn body(status: u16, pieces: BoxStream<'static, Result<Bytes, std::io::Error>>) -> RecordingBody {
        RecordingBody {
            status,
            content_length: Some(6),
            content_range: (status != 200).then(|| "bytes 0-5/9".to_owned()),
            file_name: "relay \"session\"\r\n; ünder/../.mcrec".to_owned(),
            stream: pieces,
        }
    }

    fn pieces(pieces: &[&'static str]) -> BoxStream<'static, Result<Bytes, std::io::Error>> {
        stream::iter(pieces.iter().map(|piece| Ok(Bytes::from_static(piece.as_bytes()))).collect::<Vec<_>>()).boxed()
    }

    fn header_of(response: &Response, name: header::HeaderName) -> Option<&str> {
        response.headers().get(name).map(|value| value.to_str().unwrap())
    }

    /// Whoever has no link of the panel's is told what to do, and gets nothing of a recording.
    #[tokio::test]
    async fn without_a_good_link_there_is_a_page_in_plain_words() {
        let master_key = MasterKey::ephemeral();
        let store = deskbridge_store::open("sqlite::memory:").await.unwrap();
        let services = Arc::new(Services {
            clock: Clock::Manual(Arc::default()),
            incidents: IncidentIntake::new(store.clone()),
            store,
            connections: Connections::new(master_key.clone()),
            reports: Arc::new(ReportTemplates::new(None).unwrap()),
            master_key: master_key.clone(),
            public_url: "https://remote.example.com".to_owned(),
            wake: Arc::default(),
        });
        let translations = Arc::new(Translations::load().unwrap());
        let pages = Arc::new(Pages::new(&Assets::load(&translations), translations.clone()).unwrap());
        let state = Arc::new(PageState { services, pages, translations: translations.clone(), stop: CancellationToken::new() });
        let router = Router::new().route("/recordings/{connection}/{lsid}", get(read)).with_state(state);
        let token = |expires_at| issue(&master_key, &RecordingPass { connection: CONNECTION.into(), lsid: LSID.into(), expires_at });
        let (own, other) = (format!("/recordings/{CONNECTION}/{LSID}"), format!("/recordings/{CONNECTION}/{}", "f".repeat(32)));
        for (address, status, message) in [
            (own.clone(), 403, "recording_from_ticket"),
            (format!("{own}?else=1"), 403, "recording_from_ticket"),
            (format!("{own}?token="), 403, "recording_from_ticket"),
            (format!("{own}?token=a.b"), 404, "recording_invalid"),
            (format!("{own}?token=a&token=b"), 404, "recording_invalid"),
            (format!("{own}?token=%ff"), 404, "recording_invalid"),
            (format!("{other}?token={}", token(1)), 404, "recording_invalid"),
            (format!("/recordings/%ff/{LSID}?token={}", token(1)), 404, "recording_invalid"),
            (format!("{own}?token={}", token(0)), 410, "recording_expired"),
            // The link is good, but its connection is not there any more.
            (format!("{own}?token={}", token(1)), 410, "recording_gone"),
        ] {
            for locale in ["en", "de"] {
                let request = Request::get(&address).header(header::ACCEPT_LANGUAGE, locale).header(header::RANGE, "bytes=0-0");
                let response = router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
                assert_eq!(response.status().as_u16(), status, "{address}");
                assert_eq!(header_of(&response, header::CONTENT_TYPE), Some("text/html; charset=utf-8"));
                assert_eq!(header_of(&response, header::CACHE_CONTROL), Some("no-store"));
                let page = String::from_utf8(to_bytes(response.into_body(), 100_000).await.unwrap().to_vec()).unwrap();
                for part in ["_title", "_hint"] {
                    let text = translations.page_text(locale, &format!("{message}{part}")).unwrap();
                    assert!(page.contains(text), "{address} in {locale}: {page}");
                }
                assert!(!page.contains("<a "), "a ticket that is not known");
            }
        }
        let head = Request::head(format!("{own}?token={}", token(0))).body(Body::empty()).unwrap();
        assert_eq!(router.oneshot(head).await.unwrap().status(), StatusCode::GONE);
    }

    #[tokio::test]
    async fn a_recording_is_a_file_that_is_neither_shown_nor_kept() {
        for (status, is_head, expected) in [(200, false, "abcdef"), (206, false, "abcdef"), (200, true, ""), (416, false, "")] {
            let response = answer(body(status, pieces(&["abc", "def"])), LSID, is_head, &CancellationToken::new());
            assert_eq!(response.status().as_u16(), status);
            for (name, value) in [
                (header::CONTENT_TYPE, "application/octet-stream"),
                (header::CONTENT_DISPOSITION, "attachment; filename=\"relaysessionnder...mcrec\""),
                (header::CACHE_CONTROL, "no-store"),
                (header::REFERRER_POLICY, "no-referrer"),
                (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
                (header::CONTENT_SECURITY_POLICY, "default-src 'none'; sandbox"),
                (header::ACCEPT_RANGES, "bytes"),
            ] {
                assert_eq!(header_of(&response, name.clone()), Some(value), "{name} of {status}");
            }
            assert_eq!(header_of(&response, header::CONTENT_LENGTH), (status != 416).then_some("6"), "{status}");
            assert_eq!(header_of(&response, header::CONTENT_RANGE), (status != 200).then_some("bytes 0-5/9"), "{status}");
            assert_eq!(to_bytes(response.into_body(), 100).await.unwrap(), expected, "{status}");
        }
        let response = answer(body(302, pieces(&["abc"])), LSID, false, &CancellationToken::new());
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(to_bytes(response.into_body(), 100).await.unwrap().is_empty());
    }

    /// What is not all of a recording ends with an error and not like the whole.
    #[tokio::test(start_paused = true)]
    async fn a_recording_that_stands_still_or_breaks_off_ends_with_an_error() {
        let read = async |pieces, stop: &CancellationToken| {
            let response = answer(body(200, pieces), LSID, false, stop);
            to_bytes(response.into_body(), 1_000_000).await.map_err(|_| "broken off")
        };
        let running = CancellationToken::new();
        let begun = Instant::now();
        assert_eq!(read(pieces(&["abc"]).chain(stream::pending()).boxed(), &running).await, Err("broken off"));
        assert_eq!(begun.elapsed(), PIECE_TIME);
        let broken = stream::iter([Ok(Bytes::from_static(b"abc")), Err(std::io::Error::other("reset"))]).boxed();
        assert_eq!(read(broken, &running).await, Err("broken off"));
        // A piece every 20 s would go on for ever.
        let slow = stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_secs(20)).await;
            Some((Ok(Bytes::from_static(b"a")), ()))
        });
        let begun = Instant::now();
        assert_eq!(read(slow.boxed(), &running).await, Err("broken off"));
        assert_eq!(begun.elapsed(), WHOLE_TIME);
        let stopped = CancellationToken::new();
        stopped.cancel();
        let begun = Instant::now();
        assert_eq!(read(stream::pending().boxed(), &stopped).await, Err("broken off"));
        assert_eq!(begun.elapsed(), Duration::ZERO, "a server that stops waits for nobody");
        assert_eq!(read(pieces(&["abc", "def"]), &running).await, Ok(Bytes::from_static(b"abcdef")));
    }

    #[test]
    fn one_range_of_bytes_is_passed_on() {
        let range = |ranges: &[&str]| {
            let headers = ranges.iter().map(|range| (header::RANGE, HeaderValue::from_str(range).unwrap())).collect();
            one_range(&headers).map(str::to_owned)
        };
        for single in ["bytes=0-0", "bytes=500-", "bytes=-500", "bytes=9-3"] {
            assert_eq!(range(&[single]).as_deref(), Some(single));
        }
        for other in [
            "bytes=0-1,3-4",
            "bytes=-",
            "bytes=",
            "bytes",
            "items=0-1",
            "bytes=a-b",
            "bytes=0-1-2",
            "bytes=+1-2",
            "bytes=0-9999999999999999",
            "",
        ] {
            assert_eq!(range(&[other]), None, "{other}");
        }
        assert_eq!(range(&["bytes=0-1", "bytes=2-3"]), None);
        assert_eq!(range(&[]), None);
        let conditional = [(header::RANGE, HeaderValue::from_static("bytes=0-1")), (header::IF_RANGE, HeaderValue::from_static("\"a\""))];
        assert_eq!(one_range(&conditional.into_iter().collect()), None);
    }

    #[test]
    fn a_file_name_is_plain() {
        for (name, expected) in [
            ("relaysession--2026-11-30.mcrec", "relaysession--2026-11-30.mcrec"),
            ("../../etc/passwd", "etcpasswd"),
            ("-rf .\u{202e}txt", "rf.txt"),
            ("日本", "session-3b5f0a5f6f0c4d2e9a8b7c6d5e4f3a2b"),
            ("", "session-3b5f0a5f6f0c4d2e9a8b7c6d5e4f3a2b"),
        ] {
            assert_eq!(plain_name(name, LSID), expected);
        }
        assert_eq!(plain_name(&"a".repeat(1_000), LSID).len(), MAX_NAME);
    }
}
