//! What the types cannot say: that the routes answer as they are described.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use deskbridge_core::clock::Clock;
use deskbridge_reports::ReportTemplates;
use deskbridge_security::seal::MasterKey;
use deskbridge_shared::device::{DEVICE_HEADER, NONCE_HEADER, SIGNATURE_HEADER, TIME_HEADER};
use deskbridge_shared::routes;
use deskbridge_use_cases::Services;
use deskbridge_use_cases::connections::Connections;
use metrics_exporter_prometheus::PrometheusBuilder;
use serde_json::Value;
use tower::ServiceExt;

use crate::agent_sessions::Lifetimes;
use crate::peer::Peer;
use crate::{MAX_BODY, Web, media_type};

/// The public listener of a server without connections.
async fn listener() -> Router {
    let clock = Clock::Manual(Arc::default());
    let master_key = MasterKey::ephemeral();
    let services = Arc::new(Services {
        clock,
        store: deskbridge_store::open("sqlite::memory:").await.unwrap(),
        connections: Connections::new(master_key.clone()),
        reports: ReportTemplates::new(None).unwrap(),
        master_key,
        public_url: "https://remote.example.com".to_owned(),
        wake: Arc::default(),
    });
    let lifetimes = Lifetimes { idle_ms: 1, absolute_ms: 1 };
    let metrics = PrometheusBuilder::new().build_recorder().handle();
    crate::public(&Web::new(services, lifetimes, Arc::default(), metrics).unwrap()).unwrap()
}

/// Sends a request of a peer; answers status, headers and body.
async fn ask(listener: &Router, mut request: Request<Body>) -> (StatusCode, HeaderMap, Vec<u8>) {
    request.extensions_mut().insert(Peer(SocketAddr::from(([127, 0, 0, 1], 1))));
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
        let statuses: &[&str] = if operation.takes_a_body() { &["400", "408", "413"] } else { &["408"] };
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
        }
    }
}
