//! What the types cannot say: that the routes answer as they are described, and that what a schema lets through is not refused for it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Version, header};
use deskbridge_core::clock::Clock;
use deskbridge_core::settings::SessionKeyQueue;
use deskbridge_remote_support::beyondtrust::is_lsid;
use deskbridge_reports::ReportTemplates;
use deskbridge_security::seal::MasterKey;
use deskbridge_shared::api::{JumpRequest, SESSION_OWNER_HEADER};
use deskbridge_shared::client_script::{Appliance, JumpAction, Spelling, client_script_url};
use deskbridge_shared::device::{DEVICE_HEADER, MAX_NAME, NONCE_HEADER, SIGNATURE_HEADER, TIME_HEADER};
use deskbridge_shared::routes;
use deskbridge_use_cases::Services;
use deskbridge_use_cases::connections::Connections;
use deskbridge_use_cases::incidents::IncidentIntake;
use deskbridge_use_cases::session_key::TTL_SECONDS;
use metrics_exporter_prometheus::PrometheusBuilder;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::agent_sessions::Lifetimes;
use crate::panel::JUMP_FIELDS;
use crate::peer::{ClientAddress, Peer};
use crate::{MAX_BODY, Web, media_type};

/// The public listener of a server without connections.
async fn listener() -> Router {
    let clock = Clock::Manual(Arc::default());
    let master_key = MasterKey::ephemeral();
    let store = deskbridge_store::open("sqlite::memory:").await.unwrap();
    let services = Arc::new(Services {
        clock,
        incidents: IncidentIntake::new(store.clone()),
        store,
        connections: Connections::new(master_key.clone()),
        reports: Arc::new(ReportTemplates::new(None).unwrap()),
        master_key,
        public_url: "https://remote.example.com".to_owned(),
        wake: Arc::default(),
    });
    let lifetimes = Lifetimes { idle_ms: 1, absolute_ms: 1 };
    let metrics = PrometheusBuilder::new().build_recorder().handle();
    crate::public(&Web::new(services, lifetimes, Arc::default(), metrics, CancellationToken::new()).unwrap()).unwrap()
}

/// Sends a request of a peer; answers status, headers and body.
async fn ask(listener: &Router, mut request: Request<Body>) -> (StatusCode, HeaderMap, Vec<u8>) {
    request.headers_mut().entry(header::HOST).or_insert(HeaderValue::from_static("deskbridge.example.com"));
    ask_as_it_is(listener, request).await
}

async fn ask_as_it_is(listener: &Router, mut request: Request<Body>) -> (StatusCode, HeaderMap, Vec<u8>) {
    let peer = SocketAddr::from(([127, 0, 0, 1], 1));
    request.extensions_mut().insert(Peer(peer));
    request.extensions_mut().insert(ClientAddress(peer.ip()));
    let (parts, body) = listener.clone().oneshot(request).await.unwrap().into_parts();
    (parts.status, parts.headers, axum::body::to_bytes(body, usize::MAX).await.unwrap().to_vec())
}

/// The document as it is served.
async fn document(listener: &Router) -> Value {
    let (status, headers, body) = ask(listener, Request::get(routes::OPENAPI).body(Body::empty()).unwrap()).await;
    assert_eq!((status, headers[header::CONTENT_TYPE].to_str().unwrap()), (StatusCode::OK, "application/json"));
    serde_json::from_slice(&body).unwrap()
}

struct Operation<'a> {
    path: &'a str,
    method: Method,
    described: &'a Value,
}

impl Operation<'_> {
    /// As a request without headers and body.
    fn request(&self) -> axum::http::request::Builder {
        Request::builder().method(&self.method).uri(self.path.replace(['{', '}'], ""))
    }

    fn takes_a_body(&self) -> bool {
        self.described["requestBody"].is_object()
    }
}

fn operations(document: &Value) -> Vec<Operation<'_>> {
    let paths = document["paths"].as_object().unwrap();
    let operations = paths.iter().flat_map(|(path, item)| {
        let operations = item.as_object().unwrap().iter();
        operations.map(move |(method, described)| Operation { path, method: method.to_uppercase().parse().unwrap(), described })
    });
    operations.collect()
}

/// What a `$ref` stands for; anything else as it is.
fn resolve<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    value["$ref"].as_str().map_or(value, |place| document.pointer(place.strip_prefix('#').unwrap()).unwrap_or(&Value::Null))
}

/// Calls `found` with each value under a key of that name, however deep.
fn each<'a>(value: &'a Value, key: &str, found: &mut impl FnMut(&'a Value)) {
    match value {
        Value::Object(members) => members.iter().for_each(|(name, member)| {
            if name == key {
                found(member);
            }
            each(member, key, found);
        }),
        Value::Array(items) => items.iter().for_each(|item| each(item, key, found)),
        _ => {}
    }
}

#[tokio::test]
async fn every_name_in_the_document_stands_for_something() {
    let listener = listener().await;
    let document = document(&listener).await;
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1."));
    let mut references = 0;
    each(&document, "$ref", &mut |place| {
        references += 1;
        assert!(document.pointer(place.as_str().unwrap().strip_prefix('#').unwrap()).is_some(), "{place}");
    });
    assert!(references > 0);
    let mut ids = BTreeSet::new();
    for operation in operations(&document) {
        let (path, method) = (operation.path, &operation.method);
        assert!(ids.insert(operation.described["operationId"].as_str()), "{method} {path}: the id is there twice, or is missing");
        assert!(operation.described["summary"].is_string(), "{method} {path}");
        for name in operation.described["security"].as_array().into_iter().flatten().flat_map(|schemes| schemes.as_object().unwrap().keys())
        {
            assert!(document["components"]["securitySchemes"][name].is_object(), "{method} {path}: {name}");
        }
        let places = path.matches('{').count();
        let parameters = operation.described["parameters"].as_array().into_iter().flatten();
        assert_eq!(parameters.filter(|parameter| parameter["in"] == "path").count(), places, "{method} {path}");
    }
}

/// Each header that lets a caller of the panel's API in.
#[tokio::test]
async fn what_says_who_calls_is_described() {
    let document = document(&listener().await).await;
    let schemes = document["components"]["securitySchemes"].as_object().unwrap();
    let callers = document["paths"][routes::SESSIONS]["get"]["security"].as_array().unwrap();
    for header in [SESSION_OWNER_HEADER, DEVICE_HEADER, TIME_HEADER, NONCE_HEADER, SIGNATURE_HEADER] {
        let described = schemes.iter().find(|(_, scheme)| scheme["in"] == "header" && scheme["name"] == header);
        let (name, _) = described.unwrap_or_else(|| panic!("{header} is not described"));
        assert!(callers.iter().any(|caller| caller[name].is_array()), "{header}");
    }
}

#[tokio::test]
async fn every_path_is_described() {
    let document = document(&listener().await).await;
    let mut paths = include_str!("../../../../../shared/src/routes.rs").lines().filter_map(|line| line.split('"').nth(1)).peekable();
    assert!(paths.peek().is_some());
    for path in paths.filter(|path| *path != routes::METRICS) {
        let is_described = |described: &str| described == path || described.starts_with(&format!("{path}/{{"));
        assert!(document["paths"].as_object().unwrap().keys().any(|described| is_described(described)), "{path}");
    }
}

#[tokio::test]
async fn the_methods_described_are_the_methods_there_are() {
    let listener = listener().await;
    let document = document(&listener).await;
    let mut described: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for operation in operations(&document) {
        let methods = described.entry(operation.path).or_default();
        methods.insert(operation.method.to_string());
        if operation.method == Method::GET {
            methods.insert(Method::HEAD.to_string());
        }
    }
    for (path, methods) in described {
        let request = Request::patch(path.replace(['{', '}'], "")).body(Body::empty()).unwrap();
        let (status, headers, _) = ask(&listener, request).await;
        assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED, "{path}");
        let allowed = headers[header::ALLOW].to_str().unwrap().split(',').map(|method| method.trim().to_owned());
        assert_eq!(allowed.collect::<BTreeSet<_>>(), methods, "{path}");
    }
}

#[tokio::test]
async fn what_all_routes_may_answer_is_described_on_each() {
    let listener = listener().await;
    let document = document(&listener).await;
    for operation in operations(&document) {
        let statuses: &[&str] = if operation.takes_a_body() { &["400", "408", "413", "503"] } else { &["400", "503"] };
        for status in statuses {
            assert!(operation.described["responses"][status].is_object(), "{} {}: {status}", operation.method, operation.path);
        }
    }
}

#[tokio::test]
async fn routes_answer_as_they_are_described() {
    let listener = listener().await;
    let document = document(&listener).await;
    let forms = [media_type::JSON, media_type::FORM, "text/plain"];
    for operation in operations(&document) {
        let mut requests = vec![operation.request().body(Body::empty()).unwrap()];
        let cross_site = operation.request().header("sec-fetch-site", "cross-site");
        requests.push(cross_site.body(Body::empty()).unwrap());
        requests.push(operation.request().header(DEVICE_HEADER, "none").body(Body::empty()).unwrap());
        for form in forms {
            for length in [2, MAX_BODY + 1] {
                let body = "1".repeat(length);
                requests.push(operation.request().header(header::CONTENT_TYPE, form).body(Body::from(body.clone())).unwrap());
                for device in [Some("01930f3a-7c1e-7b0a-9f2e-0242ac120002"), None] {
                    let mut proved = operation.request().header(header::CONTENT_TYPE, form);
                    proved = proved.header(TIME_HEADER, "0").header(NONCE_HEADER, "A".repeat(22)).header(SIGNATURE_HEADER, "A".repeat(86));
                    if let Some(device) = device {
                        proved = proved.header(DEVICE_HEADER, device);
                    }
                    requests.push(proved.body(Body::from(body.clone())).unwrap());
                }
            }
        }
        for request in requests {
            let sent = format!("{request:?}");
            let (status, headers, _) = ask(&listener, request).await;
            let described = resolve(&document, &operation.described["responses"][status.as_str()]);
            let said = headers.get(header::CONTENT_TYPE).map(|value| value.to_str().unwrap().split(';').next().unwrap());
            let is_described = match said {
                Some(said) => described["content"][said].is_object() || described["content"]["*/*"].is_object(),
                None => described.is_object() && described["content"].is_null(),
            };
            assert!(is_described, "{status} with {said:?} is not described: {sent}");
            assert!(status.is_success() || said != Some("text/plain") || status == StatusCode::SERVICE_UNAVAILABLE, "{status}: {sent}");
            let kept = headers[header::CACHE_CONTROL].to_str().unwrap();
            // Its name does not change, since it stands in other people's pages.
            let is_button = operation.path == routes::HELP_CENTER_BUTTON && kept == "public, max-age=300";
            assert!(kept == "no-store" || kept.contains("immutable") || is_button, "{kept}: {sent}");
            let policy = headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
            // Zendesk frames the sidebar's refusals, whichever account asked.
            assert!(policy.contains("frame-ancestors ") || operation.path == routes::ZENDESK_SIDEBAR, "{policy}: {sent}");
        }
    }
}

/// What axum would refuse in words of its own, and what hyper lets through.
#[tokio::test]
async fn what_the_framework_refuses_is_told_in_our_words() {
    let listener = listener().await;
    let asset = |name: &str| Request::get(format!("{}/{name}", routes::ASSETS));
    let long_form = Request::post(routes::ZENDESK_SIDEBAR).header(header::CONTENT_TYPE, media_type::FORM);
    let long_form = long_form.body(Body::from("a".repeat(MAX_BODY + 1))).unwrap();
    let none = || Body::empty();
    let host = |request: axum::http::request::Builder| request.header(header::HOST, "a.example.com");
    for (request, expected) in [
        (host(asset("%ff")).body(none()).unwrap(), StatusCode::NOT_FOUND),
        (host(asset("none")).body(none()).unwrap(), StatusCode::NOT_FOUND),
        (host(Request::builder()).method("POST").uri(routes::ZENDESK_SIDEBAR).body(none()).unwrap(), StatusCode::UNSUPPORTED_MEDIA_TYPE),
        (asset("none").body(none()).unwrap(), StatusCode::BAD_REQUEST),
        (host(host(asset("none"))).body(none()).unwrap(), StatusCode::BAD_REQUEST),
        (asset("none").version(Version::HTTP_10).body(none()).unwrap(), StatusCode::NOT_FOUND),
        (host(host(asset("none").version(Version::HTTP_2))).body(none()).unwrap(), StatusCode::BAD_REQUEST),
    ] {
        let sent = format!("{request:?}");
        let (status, headers, body) = ask_as_it_is(&listener, request).await;
        assert_eq!(status, expected, "{sent}");
        let said = headers[header::CONTENT_TYPE].to_str().unwrap();
        assert!(said == "application/problem+json" || said.starts_with("text/html"), "{said}: {sent}");
        assert!(!body.is_empty() && headers[header::CACHE_CONTROL] == "no-store", "{sent}");
    }
    let (status, headers, _) = ask(&listener, long_form).await;
    assert_eq!((status, headers[header::CONTENT_TYPE].to_str().unwrap()), (StatusCode::PAYLOAD_TOO_LARGE, "application/problem+json"));
}

/// Whether the schema of a call's JSON body lets `body` through.
fn fits(document: &Value, path: &str, body: &Value) -> bool {
    let body_schema = &document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"];
    let schema = json!({"allOf": [body_schema], "components": document["components"]});
    jsonschema::is_valid(&schema, body)
}

/// A body that names a ticket, and these members.
fn on_a_ticket(members: &Value) -> Value {
    let mut body = json!({"connection": "Zendesk", "ticket": "88121"});
    body.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    body
}

#[tokio::test]
async fn a_jump_that_fits_can_be_made() {
    let document = document(&listener().await).await;
    let appliance = Appliance { host: "support.example.com", spelling: Spelling::Plain };
    let check = |members: Value, good: bool| {
        let made = serde_json::from_value::<JumpRequest>(members.clone())
            .is_ok_and(|request| client_script_url(appliance, &request, "88121", JumpAction::JumpItem, &[]).is_ok());
        assert_eq!((made, fits(&document, routes::JUMP, &on_a_ticket(&members))), (good, good), "{members}");
    };
    let long = "ä".repeat(255);
    for method in ["jump_client", "local_push", "remote_push", "rdp", "shell_jump"] {
        check(json!({"method": method, "target": "host"}), true);
    }
    check(json!({"method": "fly", "target": "host"}), false);
    check(json!({"method": "rdp"}), false);
    for (text, good) in [("", false), (" ", false), ("a b", true), (&long, true), (&format!("{long}a"), false)] {
        check(json!({"method": "rdp", "target": text}), good);
        check(json!({"method": "rdp", "target": "host", "username": text}), good);
        check(json!({"method": "rdp", "target": "host", "jumpoint": text}), good);
    }
    for (port, good) in [(json!(0), false), (json!(1), true), (json!(65_535), true), (json!(65_536), false), (Value::Null, true)] {
        check(json!({"method": "shell_jump", "target": "host", "port": port}), good);
    }
    for (name, method, good) in [
        ("protocol", "shell_jump", &["ssh", "telnet"][..]),
        ("terminal", "shell_jump", &["xterm", "vt100"]),
        ("quality", "rdp", &["low", "performance", "performance_quality", "quality"]),
        ("display_size", "rdp", &["primary_display", "all_displays", "1920x1080", "1x99999"]),
    ] {
        for value in good {
            check(json!({"method": method, "target": "host", name: value}), true);
        }
        check(json!({"method": method, "target": "host", name: null}), true);
        for value in ["", "x", "0x1", "1920X1080", "100000x1", "SSH"] {
            check(json!({"method": method, "target": "host", name: value}), false);
        }
    }
    for value in [json!(true), json!(false), Value::Null] {
        check(json!({"method": "rdp", "target": "host", "console": value}), true);
    }
    let members = document["components"]["schemas"]["JumpBody"]["properties"].as_object().unwrap().keys();
    assert_eq!(members.collect::<BTreeSet<_>>().len(), JUMP_FIELDS.len() + 2);
    assert!(JUMP_FIELDS.iter().all(|name| document["components"]["schemas"]["JumpBody"]["properties"][name].is_object()));
}

#[tokio::test]
async fn a_queue_that_fits_is_one() {
    let document = document(&listener().await).await;
    let long = format!("team:{}", "a".repeat(64));
    let (too_long, with_line) = (format!("{long}a"), "general\n");
    let good = ["general", "agent", "team:1", "issue:general_tech-1.2", &long];
    let bad = ["", "x", "team:", "team:ä", "issue:a b", "General", &too_long, with_line, " general"];
    for (queue, good) in good.into_iter().map(|queue| (queue, true)).chain(bad.into_iter().map(|queue| (queue, false))) {
        let fits = fits(&document, routes::SESSION_KEY, &on_a_ticket(&json!({"queue": queue})));
        assert_eq!((SessionKeyQueue::parse(queue).is_some(), fits), (good, good), "{queue}");
    }
    let (least, most) = TTL_SECONDS.into_inner();
    for (seconds, good) in [(least - 1, false), (least, true), (most, true), (most + 1, false)] {
        assert_eq!(fits(&document, routes::SESSION_KEY, &on_a_ticket(&json!({"ttl_seconds": seconds}))), good, "{seconds}");
    }
    assert!(fits(&document, routes::SESSION_KEY, &on_a_ticket(&json!({"queue": null, "ttl_seconds": null}))));
}

#[tokio::test]
async fn an_issue_that_fits_can_be_configured() {
    let document = document(&listener().await).await;
    let long = "a".repeat(64);
    for (issue, good) in [("general_tech-1", true), (&*long, true), ("", false), (&*format!("{long}a"), false), ("a b", false)] {
        let is_issue = deskbridge_core::settings::parse_issue(&format!("{issue}=Name")).is_some();
        let fits = fits(&document, routes::SESSION_CHAT_LINK, &on_a_ticket(&json!({"issue": issue})));
        assert_eq!((is_issue, fits), (good, good), "{issue}");
    }
}

#[tokio::test]
async fn a_session_that_fits_has_an_id() {
    let document = document(&listener().await).await;
    let long = "0123456789abcdefABCDEF01234567890";
    for (lsid, good) in [(&long[1..], true), (long, false), (&long[2..], false), ("g123456789abcdefABCDEF0123456789", false)] {
        for path in [routes::SESSION_RECORD, routes::SESSION_RECORDED] {
            assert_eq!((is_lsid(lsid), fits(&document, path, &on_a_ticket(&json!({"lsid": lsid})))), (good, good), "{lsid}");
        }
    }
}

#[tokio::test]
async fn a_pairing_that_fits_is_read() {
    let listener = listener().await;
    let document = document(&listener).await;
    // The curve's base point.
    let key = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEaxfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpZP40Li_hp_m47n60p8D54WK84zV2sxXs7LtkBoN79R9Q";
    let long = "ä".repeat(MAX_NAME);
    let mut pairings =
        vec![(json!({"code": "", "public_key": key}), true), (json!({"code": "ABCD"}), false), (json!({"public_key": key}), false)];
    for (text, good) in
        [("", true), (&*long, true), (&*format!("{long}a"), false), ("a\nb", false), ("a\u{85}b", false), ("a\u{7f}b", false)]
    {
        pairings.push((json!({"code": "ABCD", "public_key": key, "name": text}), good));
        pairings.push((json!({"code": "ABCD", "public_key": key, "browser": text}), good));
    }
    for (key, good) in [(key, true), ("", false), (&key[1..], false), (&*format!("{key}A"), false), (&*format!("{key}=="), false)] {
        pairings.push((json!({"code": "ABCD", "public_key": key, "name": null, "browser": null}), good));
    }
    pairings.push((json!({"code": "ABCD", "public_key": key, "colour": "red"}), false));
    for (body, good) in pairings {
        let request = Request::post(routes::DEVICES).header(header::CONTENT_TYPE, media_type::JSON);
        let request = request.header(TIME_HEADER, "0").header(NONCE_HEADER, "A".repeat(22)).header(SIGNATURE_HEADER, "A".repeat(86));
        let (status, ..) = ask(&listener, request.body(Body::from(body.to_string())).unwrap()).await;
        // Only a request that was read has a signature to look at.
        assert_eq!((status == StatusCode::UNAUTHORIZED, fits(&document, routes::DEVICES, &body)), (good, good), "{status}: {body}");
    }
}

#[tokio::test]
async fn every_call_names_its_ticket_and_nothing_unknown() {
    let document = document(&listener().await).await;
    let calls = [
        (routes::SESSION_KEY, json!({})),
        (routes::JUMP, json!({"method": "rdp", "target": "host"})),
        (routes::SESSION_CHAT_LINK, json!({})),
        (routes::SESSION_RECORD, json!({"lsid": "0123456789abcdefABCDEF0123456789"})),
        (routes::SESSION_RECORDED, json!({"lsid": "0123456789abcdefABCDEF0123456789"})),
    ];
    for (path, members) in calls {
        let body = on_a_ticket(&members);
        assert!(fits(&document, path, &body), "{path}");
        for (name, value) in [("ticket", ""), ("ticket", &*"1".repeat(65)), ("colour", "red")] {
            let mut body = body.clone();
            body[name] = json!(value);
            assert!(!fits(&document, path, &body), "{path}: {name}: {value}");
        }
        for name in body.as_object().unwrap().keys() {
            let mut body = body.clone();
            body.as_object_mut().unwrap().remove(name);
            assert!(!fits(&document, path, &body), "{path} without {name}");
        }
    }
}
