//! The [`Backend`] of pages which come from our own server: `fetch` to the same origin (wasm only).

use js_sys::{Date, Promise};
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast, JsValue};

use super::answers::{member, object, set};
use super::callbacks::when;
use super::requests::Request;
use super::texts::join;
use super::view::whole_milliseconds;
use super::{Answer, Backend, Done};
use crate::api::{PANEL_PATIENCE_MS, SESSION_OWNER_HEADER};

#[wasm_bindgen]
extern "C" {
    fn fetch(path: &str, options: &JsValue) -> Promise;

    #[wasm_bindgen(js_namespace = AbortSignal)]
    fn timeout(milliseconds: u32) -> JsValue;

    /// What `fetch` comes to.
    type Response;

    #[wasm_bindgen(method)]
    fn text(this: &Response) -> Promise;

    type Headers;

    #[wasm_bindgen(method)]
    fn get(this: &Headers, name: &str) -> Option<String>;
}

/// Calls our own origin with the page's bearer, for browsers which keep the session's cookie back.
pub struct FetchBackend {
    authorization: String,
    owner: String,
}

impl FetchBackend {
    /// `bearer` is the session's, from page memory; `owner` whose it is. When it has ended, the server takes a later session of the same owner in
    /// its place, which the browser's cookie names.
    pub fn new(bearer: &str, owner: String) -> Self {
        Self { authorization: join(&["Bearer ", bearer]), owner }
    }

    fn options(&self, request: &Request) -> JsValue {
        let headers = object("authorization", &self.authorization.as_str().into());
        set(&headers, SESSION_OWNER_HEADER, &self.owner.as_str().into());
        set(&headers, "accept", &"application/json".into());
        let options = object("credentials", &"same-origin".into());
        if let Some(body) = &request.body {
            set(&headers, "content-type", &"application/json".into());
            set(&options, "method", &"POST".into());
            set(&options, "body", &body.as_str().into());
        }
        set(&options, "headers", &headers);
        set(&options, "cache", &"no-store".into());
        set(&options, "signal", &timeout(PANEL_PATIENCE_MS));
        options
    }
}

impl Backend for FetchBackend {
    fn call(&self, request: Request, done: Done<Answer>) {
        when(&fetch(&request.path, &self.options(&request)), |response| {
            let Some(response) = response else { return done(Answer::default()) };
            let status = member(&response, "status").as_f64().and_then(whole_milliseconds);
            let headers = member(&response, "headers");
            let date = headers.unchecked_ref::<Headers>().get("date");
            let server_time = date.and_then(|date| whole_milliseconds(Date::parse(&date)));
            when(&response.unchecked_ref::<Response>().text(), move |body| {
                let status = status.filter(|_| body.is_some()).and_then(|status| u16::try_from(status).ok());
                let body = body.and_then(|body| body.as_string()).unwrap_or_default();
                done(Answer { status: status.unwrap_or(Answer::NOT_REACHED), body, server_time });
            });
        });
    }
}
