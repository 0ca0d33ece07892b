//! Programs that call with an API token: monitoring systems, Helpdesk Buttons. A handler that takes [`IncidentCaller`] or [`PressCaller`] is
//! reached only with a token that holds, before anything of the body is read.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::header;
use axum::http::request::Parts;
use deskbridge_core::api_purpose::ApiPurpose;
use deskbridge_use_cases::Services;
use deskbridge_use_cases::api_tokens::{self, ApiCaller, CallerRefused};

use crate::problem::Problem;

/// The query's parameter that names the connection.
const CONNECTION: &str = "connection";

/// Who posts incidents or asks about them. The router's state gives the services by `AsRef`.
pub struct IncidentCaller(pub ApiCaller);

/// Who posts presses.
pub struct PressCaller(pub ApiCaller);

impl<S: AsRef<Services> + Send + Sync> FromRequestParts<Arc<S>> for IncidentCaller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &Arc<S>) -> Result<Self, Problem> {
        caller((**state).as_ref(), parts, ApiPurpose::Incidents).await.map(Self)
    }
}

impl<S: AsRef<Services> + Send + Sync> FromRequestParts<Arc<S>> for PressCaller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &Arc<S>) -> Result<Self, Problem> {
        caller((**state).as_ref(), parts, ApiPurpose::Presses).await.map(Self)
    }
}

/// Whose token the request has, if it is for the connection in the query and for this purpose.
pub async fn caller(services: &Services, parts: &Parts, purpose: ApiPurpose) -> Result<ApiCaller, Problem> {
    let connections = connections_named(parts.uri.query().unwrap_or_default());
    let connection = match connections.as_slice() {
        [only] if !only.trim().is_empty() => Some(only.as_str()),
        _ => None,
    };
    let mut headers = parts.headers.get_all(header::AUTHORIZATION).iter();
    let authorization = match (headers.next(), headers.next()) {
        (None, _) => None,
        (Some(only), None) => Some(only.to_str().unwrap_or_default()),
        (Some(_), Some(_)) => Some(""),
    };
    api_tokens::caller(services, connection, authorization, purpose).await.map_err(|refused| {
        tracing::debug!(%purpose, %refused, "a program's call is refused");
        Problem::from(refused)
    })
}

fn connections_named(query: &str) -> Vec<String> {
    let pairs: Vec<(String, String)> = serde_urlencoded::from_str(query).unwrap_or_default();
    pairs.into_iter().filter(|(name, _)| name == CONNECTION).map(|(_, value)| value).collect()
}

impl From<CallerRefused> for Problem {
    fn from(refused: CallerRefused) -> Self {
        match refused {
            CallerRefused::NoToken => Self::api_token("Send the header `Authorization: Bearer TOKEN`."),
            CallerRefused::Unauthorized => {
                Self::api_token("The token is not known here, or was revoked. `deskbridge tokens list` shows those that hold.")
            }
            CallerRefused::NoConnectionNamed => Self::invalid(CONNECTION, "name the connection once in the address: ?connection=NAME"),
            CallerRefused::OtherConnection => Self::api_token_connection(),
            CallerRefused::NotRunning => Self::connection_not_running(),
            CallerRefused::OtherPurpose(purpose) => Self::api_token_purpose(purpose.word()),
            CallerRefused::Store(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::{Body, Bytes};
    use axum::extract::rejection::BytesRejection;
    use axum::http::{Request, StatusCode};
    use axum::routing::post;
    use deskbridge_core::clock::Clock;
    use deskbridge_core::ids::{ConnectionId, TenantId};
    use deskbridge_core::settings::Settings;
    use deskbridge_reports::ReportTemplates;
    use deskbridge_security::seal::MasterKey;
    use deskbridge_use_cases::connections::{Connections, seal_settings, sections};
    use deskbridge_use_cases::incidents::IncidentIntake;
    use serde_json::Value;
    use tower::ServiceExt;

    use super::*;

    struct State(Arc<Services>);

    impl AsRef<Services> for State {
        fn as_ref(&self) -> &Services {
            &self.0
        }
    }

    const TOKEN: &str = "Bearer incidents-incidents-incidents";

    /// Routes of both purposes on a server with one connection.
    async fn router() -> Router {
        let text = r#"
            [[connection]]
            name = "Störung & Co"
            api_token = [{ name = "argus", secret = "incidents-incidents-incidents", for = ["incidents"] }]
            [connection.osticket]
            url = "https://help.example.com"
            "#;
        let settings = Settings::parse(sections(), "test.toml", text, std::iter::empty()).unwrap().connection.remove(0);
        let store = deskbridge_store::open("sqlite::memory:").await.unwrap();
        let master_key = MasterKey::ephemeral();
        let id: ConnectionId = "0190f0c4-7b2a-7cde-8f00-0123456789ab".parse().unwrap();
        store.save_connection(&seal_settings(&master_key, id, &TenantId::main(), &settings, 1)).await.unwrap();
        let connections = Connections::new(master_key.clone());
        connections.refresh(store.as_ref()).await.unwrap();
        let services = Arc::new(Services {
            clock: Clock::Manual(Arc::default()),
            incidents: IncidentIntake::new(store.clone()),
            store,
            connections,
            reports: Arc::new(ReportTemplates::new(None).unwrap()),
            master_key,
            public_url: "https://remote.example.com".to_owned(),
            wake: Arc::default(),
        });
        let incident = async |IncidentCaller(caller): IncidentCaller, body: Result<Bytes, BytesRejection>| {
            let body = body.map_err(Problem::unread_body)?;
            Ok::<_, Problem>(format!("{} {} {}", caller.connection.name(), caller.token, body.len()))
        };
        let press = async |PressCaller(caller): PressCaller| caller.token;
        let router = Router::new().route("/incidents", post(incident)).route("/presses", post(press)).with_state(Arc::new(State(services)));
        crate::common(router)
    }

    #[tokio::test]
    async fn who_calls_is_known_before_the_body_is_read() {
        let router = router().await;
        let ask = async |path: &str, authorization: &[&str], body: Vec<u8>| {
            let mut request = Request::post(path).header(header::HOST, "deskbridge.example.com");
            for value in authorization {
                request = request.header(header::AUTHORIZATION, *value);
            }
            let answer = router.clone().oneshot(request.body(Body::from(body)).unwrap()).await.unwrap();
            let challenge = answer.headers().get(header::WWW_AUTHENTICATE).map(|value| value.to_str().unwrap().to_owned());
            let status = answer.status();
            let body = axum::body::to_bytes(answer.into_body(), usize::MAX).await.unwrap();
            (status, challenge, String::from_utf8(body.to_vec()).unwrap())
        };
        let own = "/incidents?connection=St%C3%B6rung+%26+Co";
        for connection in ["St%C3%B6rung%20%26%20Co", "0190f0c4-7b2a-7cde-8f00-0123456789ab"] {
            let (status, _, body) = ask(&format!("/incidents?mode=queued&connection={connection}"), &[TOKEN], vec![0; 3]).await;
            assert_eq!((status, body.as_str()), (StatusCode::OK, "Störung & Co argus 3"));
        }
        assert_eq!(ask(own, &["Token incidents-incidents-incidents"], Vec::new()).await.0, StatusCode::OK);

        let check = async |path: &str, authorization: &[&str], status: u16, kind: &str| {
            // Larger than any body that is read: the caller is looked at before.
            let (answered, challenge, body) = ask(path, authorization, vec![0; crate::MAX_BODY + 1]).await;
            assert_eq!(answered.as_u16(), status, "{path} {authorization:?} {body}");
            assert_eq!(challenge.is_some(), status == 401, "{path} {authorization:?}");
            let problem: Value = serde_json::from_str(&body).unwrap();
            assert_eq!(problem["type"], format!("urn:deskbridge:problem:{kind}"), "{body}");
            assert!(!body.contains("incidents-incidents"), "{body}");
            problem
        };
        check(own, &[TOKEN], 413, "too-large").await;
        check(own, &[], 401, "api-token").await;
        for wrong in ["Bearer wrong-wrong-wrong-wrong-wrong", "Basic incidents-incidents-incidents", "incidents-incidents-incidents", ""] {
            check(own, &[wrong], 401, "api-token").await;
        }
        check(own, &[TOKEN, TOKEN], 401, "api-token").await;
        check(&format!("{own}&token=incidents-incidents-incidents"), &[], 401, "api-token").await;
        for unnamed in ["/incidents", "/incidents?connection=", &format!("{own}&connection=other")] {
            assert_eq!(check(unnamed, &[TOKEN], 422, "invalid-value").await["field"], "connection");
            check(unnamed, &[], 401, "api-token").await;
        }
        check("/incidents?connection=other", &[TOKEN], 403, "api-token-connection").await;
        let problem = check(&own.replace("incidents", "presses"), &[TOKEN], 403, "api-token-purpose").await;
        assert!(problem["detail"].as_str().unwrap().contains("presses"), "{problem}");
    }
}
