//! `GET /openapi.json`: the public listener's description, kept by hand in `server/openapi.json`. The test below holds it
//! to the routes and to the panel API's types; the end-to-end tests hold the doors to both.

use axum::http::header;
use axum::response::IntoResponse;

const DOCUMENT: &str = include_str!("../openapi.json");

/// The document.
pub async fn document() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use deskbridge_shared::api::{Issue, JumpMethod, LiveSession, PanelModel, SessionKey, SessionState};
    use deskbridge_shared::device::{DeviceAnswer, DeviceConnection};
    use deskbridge_shared::routes;
    use serde_json::Value;

    use super::*;

    fn keys(value: &Value) -> BTreeSet<String> {
        value.as_object().unwrap().keys().cloned().collect()
    }

    #[test]
    fn every_public_route_is_described_and_no_other() {
        let document: Value = serde_json::from_str(DOCUMENT).unwrap();
        let assets = format!("{}/{{file}}", routes::ASSETS);
        let chat = format!("{}/{{token}}", routes::CHAT_LINK);
        let expected = [
            routes::ZENDESK_SIDEBAR,
            &assets,
            routes::APPLIANCE_EVENTS,
            &chat,
            routes::PANEL,
            routes::SESSION_KEY,
            routes::JUMP,
            routes::SESSION_CHAT_LINK,
            routes::SESSIONS,
            routes::SESSION_RECORD,
            routes::SESSION_RECORDED,
            routes::DEVICES,
            routes::DEVICE_SELF,
            routes::PAIR,
            routes::HEALTHZ,
            routes::READYZ,
            routes::OPENAPI,
        ];
        assert_eq!(keys(&document["paths"]), expected.map(str::to_owned).into());
    }

    #[test]
    fn schemas_have_the_fields_of_the_types() {
        let document: Value = serde_json::from_str(DOCUMENT).unwrap();
        let check = |name: &str, sample: Value, more: &[&str]| {
            let described = keys(&document["components"]["schemas"][name]["properties"]);
            let mut fields = keys(&sample);
            fields.extend(more.iter().map(|field| (*field).to_owned()));
            assert_eq!(described, fields, "{name}");
        };
        let text = String::new;
        let session = LiveSession {
            lsid: text(),
            state: SessionState::Waiting,
            representative: None,
            customer: None,
            started_at: None,
            ended_at: None,
        };
        check("LiveSession", serde_json::to_value(session).unwrap(), &[]);
        let key = SessionKey { short_key: text(), key_url: text(), mail_subject: text(), mail_body: text(), expires_at: None };
        check("SessionKey", serde_json::to_value(key).unwrap(), &[]);
        let model = PanelModel {
            connection: text(),
            ticket: text(),
            methods: vec![],
            jumpoints: vec![],
            issues: vec![Issue { code_name: text(), title: text() }],
            target: None,
            locale: text(),
        };
        let connection = DeviceConnection { name: text(), system: text(), site: None };
        check("DeviceConnection", serde_json::to_value(connection).unwrap(), &[]);
        let device = DeviceAnswer { device: text(), name: text(), agent: None, connections: vec![], server_time: text() };
        check("Device", serde_json::to_value(device).unwrap(), &[]);
        check("PanelModel", serde_json::to_value(model).unwrap(), &["record_in_page", "texts"]);
        let methods = &document["components"]["schemas"]["JumpMethod"]["enum"];
        assert_eq!(*methods, serde_json::to_value(JumpMethod::ALL).unwrap());
    }
}
