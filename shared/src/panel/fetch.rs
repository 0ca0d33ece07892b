//! The [`Backend`] of pages which come from our own server: `fetch` to the same origin (wasm only).

use js_sys::Date;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{AbortSignal, Headers, RequestCache, RequestCredentials, RequestInit, Response};

use super::requests::Request;
use super::{Answer, Backend, LocalFuture};

/// No answer within this many milliseconds is none.
const PATIENCE: u32 = 30_000;

/// Calls our own origin with the page's bearer, for browsers which keep the session's cookie back.
pub struct FetchBackend {
    authorization: String,
}

impl FetchBackend {
    /// `bearer` is the session's, from page memory.
    pub fn new(bearer: &str) -> Self {
        Self {
            authorization: ["Bearer ", bearer].concat(),
        }
    }
}

impl Backend for FetchBackend {
    fn call(&self, request: Request) -> LocalFuture<Answer> {
        let authorization = self.authorization.clone();
        Box::pin(async move {
            call(&authorization, &request)
                .await
                .unwrap_or_else(|_| Answer::not_reached())
        })
    }
}

async fn call(authorization: &str, request: &Request) -> Result<Answer, JsValue> {
    let headers = Headers::new()?;
    headers.set("authorization", authorization)?;
    headers.set("accept", "application/json")?;
    let options = RequestInit::new();
    if let Some(body) = &request.body {
        headers.set("content-type", "application/json")?;
        options.set_method("POST");
        options.set_body(&JsValue::from_str(body));
    }
    options.set_headers(&headers);
    options.set_credentials(RequestCredentials::SameOrigin);
    options.set_cache(RequestCache::NoStore);
    options.set_signal(Some(&AbortSignal::timeout_with_u32(PATIENCE)));
    let window = web_sys::window().ok_or(JsValue::NULL)?;
    let response: Response =
        JsFuture::from(window.fetch_with_str_and_init(&request.path, &options))
            .await?
            .dyn_into()?;
    let server_time = response
        .headers()
        .get("date")?
        .map(|date| Date::parse(&date));
    let body = JsFuture::from(response.text()?)
        .await?
        .as_string()
        .unwrap_or_default();
    Ok(Answer {
        status: response.status(),
        body,
        server_time: server_time.and_then(super::view::whole_milliseconds),
    })
}
