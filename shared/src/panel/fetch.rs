//! The [`Backend`] of pages which come from our own server: `fetch` to the same origin (wasm only).

use js_sys::{Date, Promise};
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{AbortSignal, Headers, RequestCache, RequestCredentials, RequestInit, Response};

use super::callbacks::when;
use super::requests::Request;
use super::texts::join;
use super::view::whole_milliseconds;
use super::{Answer, Backend, Done};

#[wasm_bindgen]
extern "C" {
    fn fetch(path: &str, options: &RequestInit) -> Promise;
}

/// No answer within this many milliseconds is none.
const PATIENCE: u32 = 30_000;

/// Calls our own origin with the page's bearer, for browsers which keep the session's cookie back.
pub struct FetchBackend {
    authorization: String,
}

impl FetchBackend {
    /// `bearer` is the session's, from page memory.
    pub fn new(bearer: &str) -> Self {
        Self { authorization: join(&["Bearer ", bearer]) }
    }

    fn options(&self, request: &Request) -> Result<RequestInit, JsValue> {
        let headers = Headers::new()?;
        headers.set("authorization", &self.authorization)?;
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
        Ok(options)
    }
}

impl Backend for FetchBackend {
    fn call(&self, request: Request, done: Done<Answer>) {
        let Ok(options) = self.options(&request) else { return done(Answer::default()) };
        when(&fetch(&request.path, &options), |response| {
            let Some(response) = response else { return done(Answer::default()) };
            let response: &Response = response.unchecked_ref();
            let date = response.headers().get("date").ok().flatten();
            let status = response.status();
            let server_time = date.and_then(|date| whole_milliseconds(Date::parse(&date)));
            let Ok(body) = response.text() else { return done(Answer::default()) };
            when(&body, move |body| {
                let status = if body.is_some() { status } else { Answer::NOT_REACHED };
                let body = body.and_then(|body| body.as_string()).unwrap_or_default();
                done(Answer { status, body, server_time });
            });
        });
    }
}
