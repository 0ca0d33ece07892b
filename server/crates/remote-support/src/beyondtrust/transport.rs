//! One call to the appliance: token, turn, form POST, bounded answer, error document.
//!
//! Must not know what a command means, and must not let anything secret out: credentials go into the body or a
//! sensitive header (in a query they would land in access logs, beyondtrust.md C.2), never into an error or a log.

use super::error::redact;
use super::nothing_found::{NothingFound, says_so_in_english};
use super::settings::Timeouts;
use super::{ApplianceSettings, Credentials, Element, Error};
use deskbridge_http_client as outgoing;
use deskbridge_http_client::limiter::{Limiter, Urgency};
use deskbridge_http_client::oauth::{Grant, SharedToken};
use deskbridge_http_client::refusals::Refusals;
use deskbridge_shared::client_script::Spelling;
use reqwest::header::{AUTHORIZATION, CONNECTION, HeaderMap, HeaderValue};
use reqwest::{RequestBuilder, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;
use url::Url;

const MEBIBYTE: usize = 1024 * 1024;
/// Larger answers are parsed off the runtime's threads.
const PARSE_INLINE_BYTES: usize = 256 * 1024;
/// The call that needs no permission (beyondtrust.md B.5).
pub(super) const GET_API_INFO: &str = "get_api_info";
/// The appliance's word for a token that is expired or was evicted (beyondtrust.md C.1).
const ACCESS_DENIED: &str = "access_denied";
/// (beyondtrust.md C.1)
const TOKEN_LIFETIME: Duration = Duration::from_hours(1);
/// No token is believed to live longer.
const LONGEST_TOKEN_LIFETIME: Duration = Duration::from_hours(24);
/// Where the appliance says that no call is left this hour, and not until when.
const PAUSE_OF_A_USED_UP_HOUR: Duration = Duration::from_mins(1);

/// A form, pair by pair.
pub(super) type Form<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

/// How much of an answer is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// All of it.
    Whole,
    /// As much as can be read, without elements of that name.
    BeginningWithout(&'static str),
}

/// The two XML endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    Command,
    Reporting,
}

impl Endpoint {
    fn name(self) -> &'static str {
        match self {
            Self::Command => "command",
            Self::Reporting => "reporting",
        }
    }

    fn body_limit(self) -> usize {
        match self {
            Self::Command => MEBIBYTE,
            Self::Reporting => 32 * MEBIBYTE,
        }
    }

    fn time_limit(self, timeouts: &Timeouts) -> Duration {
        match self {
            Self::Command => timeouts.total,
            Self::Reporting => timeouts.total * 2,
        }
    }
}

pub(super) struct Transport {
    settings: ApplianceSettings,
    base: Url,
    http: reqwest::Client,
    pub(super) limiter: Arc<Limiter>,
    token: SharedToken<Error>,
    pub(super) nothing_found: NothingFound,
    pub(super) refusals: Refusals,
}

struct Answer {
    status: StatusCode,
    /// The appliance takes no more calls for so long.
    wait: Option<Duration>,
    body: Vec<u8>,
    /// The body is not cut.
    is_whole: bool,
}

impl Transport {
    /// `limiter`: the account's own, where others use the account already.
    pub(super) fn new(settings: ApplianceSettings, base: Url, limiter: Option<Arc<Limiter>>) -> Result<Self, Error> {
        let http = http_client(&settings, base.scheme() == "https")?;
        let limiter = limiter.unwrap_or_else(|| Arc::new(Limiter::of_windows(settings.limits.windows())));
        Ok(Self {
            limiter,
            settings,
            base,
            http,
            token: SharedToken::default(),
            nothing_found: NothingFound::default(),
            refusals: Refusals::default(),
        })
    }

    /// Whether calls would be made in the same way with these settings.
    pub(super) fn has_settings(&self, settings: &ApplianceSettings) -> bool {
        self.settings.is_same(settings)
    }

    pub(super) fn host(&self) -> &str {
        &self.settings.host
    }

    pub(super) fn locale(&self) -> Option<&str> {
        self.settings.locale.as_deref()
    }

    /// How its addresses end.
    pub(super) fn spelling(&self) -> Spelling {
        self.settings.credentials.spelling()
    }

    fn path(&self, endpoint: Endpoint) -> String {
        self.spelling().path(endpoint.name())
    }

    /// Posts a form and returns the answer's root, which is no `<error>`.
    pub(super) async fn call(&self, endpoint: Endpoint, urgency: Urgency, form: &Form<'_>, wanted: Wanted) -> Result<Element, Error> {
        if urgency == Urgency::Person {
            self.refusals.let_person_try();
        }
        self.refusals.turn()?;
        match &self.settings.credentials {
            Credentials::Legacy { username, password } => {
                let ask = async |endpoint: Endpoint, form: &Form<'_>, wanted: Wanted| {
                    let mut form = form.clone();
                    form.push(("username".into(), username.into()));
                    form.push(("password".into(), password.expose_secret().into()));
                    let answer = self.post(endpoint, urgency, self.request(&self.path(endpoint), &form)).await?;
                    self.read(endpoint, answer, wanted, None).await
                };
                // "Login failed" is known in English only, so not every call tells whether a refused password is good again.
                if self.refusals.is_tried() {
                    let proof = ask(Endpoint::Command, &vec![("action".into(), GET_API_INFO.into())], Wanted::Whole).await;
                    proof.map_err(|error| self.what_refuses_all(error))?;
                }
                ask(endpoint, form, wanted).await
            }
            Credentials::OAuth { client_id, client_secret } => {
                let path = &self.path(endpoint);
                let token = self.token(client_id, client_secret).await?;
                let answer = self.post(endpoint, urgency, self.request(path, form).header(AUTHORIZATION, bearer(&token)?)).await?;
                if !answer.says_token_is_dead() {
                    return self.read(endpoint, answer, wanted, Some(&token)).await;
                }
                // Expired early, evicted by the 31st token, or killed by a new secret (beyondtrust.md C.1): once more.
                self.token.reject(&token);
                let token = self.token(client_id, client_secret).await?;
                let answer = self.post(endpoint, urgency, self.request(path, form).header(AUTHORIZATION, bearer(&token)?)).await?;
                self.read(endpoint, answer, wanted, Some(&token)).await
            }
        }
    }

    fn request(&self, path: &str, form: &Form<'_>) -> RequestBuilder {
        let mut url = self.base.clone();
        url.set_path(path);
        self.http.post(url).header(CONNECTION, HeaderValue::from_static("close")).form(form)
    }

    async fn token(&self, client_id: &str, client_secret: &SecretString) -> Result<Arc<SecretString>, Error> {
        let token = self.token.get(|| self.fetch_token(client_id, client_secret)).await;
        token.inspect_err(|error| {
            if let Error::Denied { .. } = error {
                self.refusals.refused(error);
            }
        })
    }

    /// A call's error where the call is one that a good password is never refused.
    pub(super) fn what_refuses_all(&self, error: Error) -> Error {
        match error {
            Error::Refused { message } if self.signs_in_by_password() => self.refused(message),
            error => error,
        }
    }

    fn signs_in_by_password(&self) -> bool {
        matches!(self.settings.credentials, Credentials::Legacy { .. })
    }

    /// What an answer whose credentials were not accepted means.
    fn refused(&self, reason: String) -> Error {
        let error = Error::Denied { reason };
        self.refusals.refused(&error);
        error
    }

    async fn fetch_token(&self, client_id: &str, client_secret: &SecretString) -> Result<Grant, Error> {
        let mut form: Form<'_> = vec![("grant_type".into(), "client_credentials".into())];
        if self.settings.credentials_in_body {
            form.push(("client_id".into(), client_id.into()));
            form.push(("client_secret".into(), client_secret.expose_secret().into()));
        }
        let mut request = self.request("/oauth2/token", &form);
        if !self.settings.credentials_in_body {
            request = request.basic_auth(client_id, Some(client_secret.expose_secret()));
        }
        // A person may wait for the token that work has asked for.
        let answer = self.post(Endpoint::Command, Urgency::Person, request).await?;
        self.check_availability(&answer)?;
        let secrets = [client_secret.expose_secret()];
        let json: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        if answer.status.is_success()
            && let Some(grant) = Grant::read(&json, TOKEN_LIFETIME, LONGEST_TOKEN_LIFETIME)
        {
            return Ok(grant);
        }
        let text = |name: &str| json[name].as_str();
        if text("error").is_some() || matches!(answer.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            let parts: Vec<_> = ["error", "message", "error_description"].into_iter().filter_map(text).collect();
            let reason = if parts.is_empty() { format!("HTTP {}", answer.status.as_u16()) } else { redact(&parts.join(": "), &secrets) };
            return Err(Error::Denied { reason });
        }
        let what = format!("no token in the answer of /oauth2/token, HTTP {}", answer.status.as_u16());
        Err(Error::unexpected(what, &answer.body, &secrets))
    }

    /// Waits for a turn, sends, and reads the whole answer within the limits.
    async fn post(&self, endpoint: Endpoint, urgency: Urgency, request: RequestBuilder) -> Result<Answer, Error> {
        let turn = self.limiter.turn(urgency).await?;
        let time_limit = endpoint.time_limit(&self.settings.timeouts);
        let fault = |error: reqwest::Error| self.transport_fault(&error, time_limit);
        let response = request.timeout(time_limit).send().await.map_err(fault)?;
        let status = response.status();
        let retry_after = outgoing::retry_after(response.headers()).filter(|wait| !wait.is_zero());
        let is_used_up = calls_left(response.headers()) == Some(0);
        let outgoing::Beginning { body, is_whole } = outgoing::read_beginning(response, endpoint.body_limit()).await.map_err(fault)?;
        // What is left is counted by the hour: a second's pause would not help.
        let hour = is_used_up.then_some(retry_after.unwrap_or(PAUSE_OF_A_USED_UP_HOUR));
        let wait = if status == StatusCode::TOO_MANY_REQUESTS {
            Some(turn.refused(hour.or(retry_after)))
        } else {
            turn.passed();
            hour.inspect(|wait| self.limiter.pause(*wait))
        };
        Ok(Answer { status, wait, body, is_whole })
    }

    /// Faults of the appliance as a whole, which say nothing about this call.
    fn check_availability(&self, answer: &Answer) -> Result<(), Error> {
        if answer.status == StatusCode::TOO_MANY_REQUESTS
            && let Some(retry_after) = answer.wait
        {
            return Err(Error::RateLimited { retry_after });
        }
        if answer.status.is_server_error() {
            return Err(Error::NotReachable {
                host: self.host().to_owned(),
                reason: format!("it answered HTTP {}", answer.status.as_u16()),
            });
        }
        Ok(())
    }

    async fn read(&self, endpoint: Endpoint, answer: Answer, wanted: Wanted, token: Option<&SecretString>) -> Result<Element, Error> {
        let secret = match &self.settings.credentials {
            Credentials::OAuth { client_secret, .. } => client_secret,
            Credentials::Legacy { password, .. } => password,
        };
        let secrets = [secret.expose_secret(), token.map_or("", ExposeSecret::expose_secret)];
        self.check_availability(&answer)?;
        if let Some((error, message)) = answer.json_error() {
            let text = redact(&format!("{error}: {message}"), &secrets);
            return Err(match answer.status {
                _ if error == ACCESS_DENIED => self.refused(text),
                StatusCode::UNAUTHORIZED => self.refused(text),
                StatusCode::FORBIDDEN => Error::Denied { reason: text },
                _ => Error::Refused { message: text },
            });
        }
        match answer.status {
            StatusCode::UNAUTHORIZED => return Err(self.refused("HTTP 401".to_owned())),
            StatusCode::FORBIDDEN => return Err(Error::Denied { reason: "HTTP 403".to_owned() }),
            _ => {}
        }
        let Answer { status, wait, is_whole, .. } = answer;
        if !is_whole && wanted == Wanted::Whole {
            return Err(Error::TooLarge { limit: format!("{} MiB", endpoint.body_limit() / MEBIBYTE) });
        }
        let (parsed, body) = parse(answer.body, wanted).await;
        let root = match parsed {
            Ok(root) => root,
            Err(super::XmlFault::TooLarge { what, limit }) => return Err(Error::TooLarge { limit: format!("{limit} {what}") }),
            Err(fault) if status.is_success() => {
                return Err(Error::unexpected(fault.to_string(), &body, &secrets));
            }
            Err(_) => {
                let what = format!("HTTP {} from {}", status.as_u16(), self.path(endpoint));
                return Err(Error::unexpected(what, &body, &secrets));
            }
        };
        match (root.error_text(), wait) {
            (Some(_), Some(retry_after)) => Err(Error::RateLimited { retry_after }),
            (Some(text), None) if is_failed_login(&text) => Err(self.refused(redact(&text, &secrets))),
            (Some(text), None) => {
                // Whoever is refused something else has been let in. With a password it may be the password, in another language.
                if !self.signs_in_by_password() {
                    self.refusals.forget();
                }
                Err(error_document(endpoint, &text, &secrets))
            }
            (None, _) if status.is_success() => {
                self.refusals.forget();
                Ok(root)
            }
            (None, _) => Err(Error::unexpected(format!("HTTP {}", status.as_u16()), &body, &secrets)),
        }
    }

    fn transport_fault(&self, error: &reqwest::Error, time_limit: Duration) -> Error {
        let host = self.host().to_owned();
        if error.is_connect() {
            let reason = if error.is_timeout() { "no connection in time".to_owned() } else { innermost(error) };
            return Error::NotReachable { host, reason };
        }
        if error.is_timeout() {
            return Error::Timeout { host, seconds: time_limit.as_secs() };
        }
        Error::NotReachable { host, reason: innermost(error) }
    }
}

impl Answer {
    /// The JSON errors that XML endpoints give too (beyondtrust.md C.1).
    fn json_error(&self) -> Option<(String, String)> {
        if !self.body.trim_ascii_start().starts_with(b"{") {
            return None;
        }
        let json: serde_json::Value = serde_json::from_slice(&self.body).ok()?;
        let text = |name: &str| json.get(name).and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
        Some((text("error"), text("message"))).filter(|(error, _)| !error.is_empty())
    }

    fn says_token_is_dead(&self) -> bool {
        self.status == StatusCode::UNAUTHORIZED || self.json_error().is_some_and(|(error, _)| error == ACCESS_DENIED)
    }
}

/// The clients by their options: HTTPS only, invalid certificates allowed, timeouts.
type SharedClients = Mutex<HashMap<(bool, bool, Timeouts), reqwest::Client>>;

/// A client for these options. Accounts with the same ones share it: it keeps no connections, but its certificates are large.
fn http_client(settings: &ApplianceSettings, https_only: bool) -> Result<reqwest::Client, Error> {
    static CLIENTS: LazyLock<SharedClients> = LazyLock::new(Mutex::default);
    let options = (https_only, settings.allow_invalid_certificates, settings.timeouts);
    let mut clients = CLIENTS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(client) = clients.get(&options) {
        return Ok(client.clone());
    }
    let client = outgoing::client()
        .no_proxy()
        .http1_only()
        .pool_max_idle_per_host(0)
        .https_only(https_only)
        .tls_danger_accept_invalid_certs(settings.allow_invalid_certificates)
        .connect_timeout(settings.timeouts.connect)
        .read_timeout(settings.timeouts.read)
        .build()
        .map_err(|error| Error::Settings(format!("no HTTPS client can be made: {}", innermost(&error))))?;
    clients.insert(options, client.clone());
    Ok(client)
}

async fn parse(body: Vec<u8>, wanted: Wanted) -> (Result<Element, super::XmlFault>, Vec<u8>) {
    let parse = move |body: Vec<u8>| match wanted {
        Wanted::Whole => (Element::parse(&body), body),
        Wanted::BeginningWithout(name) => (Element::parse_beginning(&body, name), body),
    };
    if body.len() <= PARSE_INLINE_BYTES {
        return parse(body);
    }
    let parsing = tokio::task::spawn_blocking(move || parse(body));
    // Fails only when the runtime is shutting down.
    parsing.await.unwrap_or((Err(super::XmlFault::Incomplete), Vec::new()))
}

/// What an `<error>` text means, in English. The texts known are those of beyondtrust.md B.4; how a missing permission is worded is not known.
pub(super) fn error_document(endpoint: Endpoint, text: &str, secrets: &[&str]) -> Error {
    if endpoint == Endpoint::Reporting && says_so_in_english(text) {
        return Error::NoReport;
    }
    let lower = text.to_lowercase();
    let text = redact(text, secrets);
    if is_failed_login(&text) || lower.contains("permission") {
        return Error::Denied { reason: text };
    }
    Error::Refused { message: text }
}

/// Whether it was the credentials that were refused, and not what they may do.
fn is_failed_login(text: &str) -> bool {
    text.to_lowercase().starts_with("login failed")
}

fn bearer(token: &SecretString) -> Result<HeaderValue, Error> {
    let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose_secret()))
        .map_err(|_| Error::Unexpected { what: "the token cannot stand in a header".to_owned(), excerpt: String::new() })?;
    value.set_sensitive(true);
    Ok(value)
}

fn calls_left(headers: &HeaderMap) -> Option<u64> {
    headers.get("x-ratelimit-remaining")?.to_str().ok()?.trim().parse().ok()
}

/// The last cause of a chain is the one a person can act on ("Connection refused", "invalid peer certificate: …"). It
/// holds no URL.
fn innermost(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    redact(&cause.to_string(), &[])
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Double, OAUTH_SECRET, Reply};
    use super::super::{ApplianceClient, ApplianceSettings, Credentials, Error, Limits, SessionKeyRequest};
    use reqwest::StatusCode;
    use std::time::Duration;

    const INFO: &str = "<get_api_info xmlns=\"urn:x\"><api_version>1.22.2</api_version><timestamp>1733239000</timestamp></get_api_info>";
    const ACCESS_DENIED: &str = r#"{"error":"access_denied","message":"The resource owner or authorization server denied the request."}"#;

    #[tokio::test]
    async fn a_hundred_callers_share_one_token_request() {
        let double = Double::start().await;
        double.always(Reply::ok(INFO));
        let client = double.oauth_client();
        let calls: Vec<_> = (0..100)
            .map(|_| {
                let client = client.clone();
                tokio::spawn(async move { client.api_info().await })
            })
            .collect();
        for call in calls {
            assert_eq!(call.await.unwrap().unwrap().api_version, "1.22.2");
        }
        assert_eq!((double.token_requests(), double.calls().len()), (1, 100));
    }

    #[tokio::test]
    async fn a_call_is_a_form_post_that_closes_its_connection() {
        let double = Double::start().await;
        double.always(Reply::ok(INFO));
        double.oauth_client().api_info().await.unwrap();
        let calls = double.calls();
        assert_eq!(calls[0].path, "/api/command");
        assert_eq!(calls[0].header("content-type"), "application/x-www-form-urlencoded");
        assert_eq!(calls[0].header("connection"), "close");
        assert_eq!(calls[0].header("authorization"), "Bearer token-1");
        assert!(calls[0].header("user-agent").starts_with("Deskbridge/"));
        assert_eq!(calls[0].body, "action=get_api_info");
    }

    #[tokio::test]
    async fn both_ways_to_send_the_oauth_client() {
        let double = Double::start().await;
        double.always(Reply::ok(INFO));
        let mut settings = double.oauth_settings();
        ApplianceClient::without_tls(settings.clone()).api_info().await.unwrap();
        settings.credentials_in_body = true;
        ApplianceClient::without_tls(settings).api_info().await.unwrap();
        let [basic, body] = &double.token_calls()[..] else { panic!() };
        // base64("client:s3cret value")
        assert_eq!(
            (basic.header("authorization"), basic.body.as_str()),
            ("Basic Y2xpZW50OnMzY3JldCB2YWx1ZQ==", "grant_type=client_credentials")
        );
        assert_eq!(
            (body.header("authorization"), body.body.as_str()),
            ("", "grant_type=client_credentials&client_id=client&client_secret=s3cret+value")
        );
    }

    #[tokio::test]
    async fn legacy_credentials_go_into_the_body() {
        let double = Double::start().await;
        double.always(Reply::ok(INFO));
        double.legacy_client().api_info().await.unwrap();
        let calls = double.calls();
        assert_eq!(calls[0].path, "/api/command.ns");
        assert_eq!(calls[0].body, "action=get_api_info&username=integration&password=p%26ss");
        assert_eq!((calls[0].header("authorization"), double.token_requests()), ("", 0));
    }

    #[tokio::test]
    async fn a_dead_token_is_replaced_once() {
        for denied in
            [Reply::new(StatusCode::UNAUTHORIZED, ""), Reply::ok(ACCESS_DENIED), Reply::new(StatusCode::UNAUTHORIZED, ACCESS_DENIED)]
        {
            let double = Double::start().await;
            double.always(Reply::ok(INFO));
            let client = double.oauth_client();
            client.api_info().await.unwrap();
            double.next(denied);
            client.api_info().await.unwrap();
            assert_eq!((double.token_requests(), double.calls().len()), (2, 3));
            assert_eq!(double.calls()[2].header("authorization"), "Bearer token-2");
        }
    }

    #[tokio::test]
    async fn callers_whose_token_died_replace_it_together() {
        let double = Double::start().await;
        double.always(Reply::ok(INFO));
        let client = double.oauth_client();
        client.api_info().await.unwrap();
        double.kill_tokens();
        let calls: Vec<_> = (0..20)
            .map(|_| {
                let client = client.clone();
                tokio::spawn(async move { client.api_info().await })
            })
            .collect();
        for call in calls {
            call.await.unwrap().unwrap();
        }
        assert_eq!(double.token_requests(), 2);
    }

    #[tokio::test]
    async fn a_second_refusal_is_final() {
        let double = Double::start().await;
        double.always(Reply::new(StatusCode::UNAUTHORIZED, ACCESS_DENIED));
        let error = double.oauth_client().api_info().await.unwrap_err();
        assert!(matches!(&error, Error::Denied { reason } if reason.starts_with("access_denied: ")), "{error}");
        assert_eq!((double.token_requests(), double.calls().len()), (2, 2));
    }

    #[tokio::test]
    async fn a_wrong_oauth_client_is_told() {
        let double = Double::start().await;
        let mut settings = double.oauth_settings();
        settings.credentials = Credentials::OAuth { client_id: "client".to_owned(), client_secret: "wrong".into() };
        let error = ApplianceClient::without_tls(settings).api_info().await.unwrap_err();
        assert_eq!(error, Error::Denied { reason: "invalid_client: Client authentication failed.".to_owned() });
        assert!(double.calls().is_empty());
    }

    #[tokio::test]
    async fn refused_credentials_are_not_tried_at_every_call() {
        let double = Double::start().await;
        let mut settings = double.oauth_settings();
        settings.credentials = Credentials::OAuth { client_id: "client".to_owned(), client_secret: "wrong".into() };
        let client = ApplianceClient::without_tls(settings);
        for _ in 0..5 {
            let error = client.api_info().await.unwrap_err();
            assert!(error.to_string().contains("invalid_client"), "{error}");
        }
        assert_eq!((double.token_requests(), double.calls().len()), (1, 0));
        // A person may try once: perhaps somebody has acted.
        let request = SessionKeyRequest { queue: "general".to_owned(), ..SessionKeyRequest::default() };
        for _ in 0..5 {
            client.generate_session_key(&request).await.unwrap_err();
        }
        assert_eq!((double.token_requests(), double.calls().len()), (2, 0));
        // With a password.
        double.always(Reply::ok("<error>Login failed</error>"));
        let client = double.legacy_client();
        for _ in 0..5 {
            client.api_info().await.unwrap_err();
        }
        assert_eq!(double.calls().len(), 1);
        // In another language it is known by the call that needs no permission.
        double.always(Reply::ok("<error>Échec de la connexion</error>"));
        let client = double.legacy_client();
        assert!(matches!(client.check_health().await.unwrap_err(), Error::Refused { .. }));
        let calls = double.calls().len();
        for _ in 0..5 {
            let error = client.api_info().await.unwrap_err();
            assert!(error.to_string().contains("Échec de la connexion"), "{error}");
            assert!(client.check_health().await.unwrap_err().to_string().contains("not tried again for"));
        }
        assert_eq!(double.calls().len(), calls + 1);
        // A permission that one command lacks locks nobody, and says nothing of the others.
        let client = double.legacy_client();
        double.next(Reply::ok("<error>You do not have permission</error>"));
        assert!(matches!(client.api_info().await.unwrap_err(), Error::Denied { .. }));
        double.next(Reply::ok(INFO));
        assert!(client.api_info().await.is_ok());
    }

    #[tokio::test]
    async fn answers_become_errors_a_caller_can_branch_on() {
        let double = Double::start().await;
        let refused = |message: &str| Error::Refused { message: message.to_owned() };
        let check = async |reply: Reply, expected: Error| {
            double.next(reply);
            // Whose credentials nobody has refused yet.
            assert_eq!(double.legacy_client().check_health().await.unwrap_err(), expected);
        };
        check(Reply::ok("<error>Login failed</error>"), Error::Denied { reason: "Login failed".to_owned() }).await;
        check(Reply::new(StatusCode::FORBIDDEN, "no"), Error::Denied { reason: "HTTP 403".to_owned() }).await;
        let unknown = "No user matching your criteria exists.";
        check(Reply::ok(format!("<error >{unknown}</error>")), refused(unknown)).await;
        check(Reply::ok("<get_api_info><error code='1'>Not now.</error></get_api_info>"), refused("Not now.")).await;
        check(Reply::new(StatusCode::BAD_REQUEST, "<error>Bad action</error>"), refused("Bad action")).await;
        check(Reply::ok("<error>wrong password p&amp;ss</error>"), refused("wrong password [removed]")).await;
        check(Reply::ok(r#"{"error":"invalid_request","message":"no"}"#), refused("invalid_request: no")).await;
        let host = double.legacy_client().host().to_owned();
        check(Reply::new(StatusCode::BAD_GATEWAY, "<html>"), Error::NotReachable { host, reason: "it answered HTTP 502".to_owned() }).await;
        for (reply, expected) in [
            (Reply::ok("<html><body>Portal password p&ss</body>"), "not well-formed"),
            (Reply::ok(""), "incomplete"),
            (Reply::ok("<!DOCTYPE html><html></html>"), "DOCTYPE"),
            (Reply::new(StatusCode::NOT_FOUND, "nothing"), "HTTP 404 from /api/command.ns"),
            (Reply::new(StatusCode::FOUND, "").with("location", "/login"), "HTTP 302"),
        ] {
            double.next(reply);
            let error = double.legacy_client().api_info().await.unwrap_err();
            assert!(matches!(&error, Error::Unexpected { what, .. } if what.contains(expected)), "{error:?}");
            assert!(!error.to_string().contains("p&ss"), "{error}");
        }
    }

    #[tokio::test]
    async fn an_answer_is_cut_off_at_its_limit() {
        let double = Double::start().await;
        double.always(Reply::ok("<a>".repeat(400_000)));
        let error = double.legacy_client().api_info().await.unwrap_err();
        assert!(matches!(&error, Error::TooLarge { limit } if limit == "1 MiB"), "{error}");
    }

    #[tokio::test]
    async fn a_rate_limit_is_told_and_holds_further_calls() {
        for reply in [
            Reply::new(StatusCode::TOO_MANY_REQUESTS, "slow down").with("retry-after", "17"),
            Reply::ok("<error>Too many requests</error>").with("x-ratelimit-remaining", "0").with("retry-after", "17"),
        ] {
            let double = Double::start().await;
            double.always(Reply::ok(INFO));
            double.next(reply);
            let client = double.legacy_client();
            assert_eq!(client.api_info().await.unwrap_err(), Error::RateLimited { retry_after: Duration::from_secs(17) });
            let second = client.api_info().await.unwrap_err();
            assert!(matches!(second, Error::RateLimited { retry_after } if retry_after > Duration::from_secs(10)));
            assert_eq!(double.calls().len(), 1, "the second call was not sent");
        }
    }

    #[tokio::test]
    async fn the_last_call_allowed_still_gives_its_answer() {
        let double = Double::start().await;
        double.always(Reply::ok(INFO).with("x-ratelimit-remaining", "0"));
        let client = double.legacy_client();
        client.api_info().await.unwrap();
        assert_eq!(client.api_info().await.unwrap_err().retry_after().map(|wait| wait.as_secs().div_ceil(60)), Some(1));
    }

    #[tokio::test]
    async fn a_silent_or_absent_appliance_is_told_apart() {
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = silent.local_addr().unwrap().to_string();
        let credentials = Credentials::Legacy { username: "integration".to_owned(), password: "pw".into() };
        let mut settings = ApplianceSettings { use_plain_http: true, ..ApplianceSettings::new(&host, credentials) };
        settings.timeouts.total = Duration::from_millis(100);
        let client = ApplianceClient::new(settings).unwrap();
        assert_eq!(client.api_info().await.unwrap_err(), Error::Timeout { host: host.clone(), seconds: 0 });
        drop(silent);
        let error = client.api_info().await.unwrap_err();
        assert!(matches!(&error, Error::NotReachable { reason, .. } if reason.contains("refused")), "{error}");
        assert!(error.is_passing());
    }

    #[tokio::test]
    async fn the_clients_own_limiter_spaces_calls() {
        let double = Double::start().await;
        double.always(Reply::ok(INFO));
        let mut settings = double.legacy_settings();
        settings.limits = Limits { per_second: 20, per_hour: 1 };
        let client = ApplianceClient::new(settings).unwrap();
        client.api_info().await.unwrap();
        assert!(matches!(client.api_info().await, Err(Error::Busy { .. })));
    }

    #[test]
    fn nothing_secret_is_printed() {
        let client = ApplianceClient::without_tls(ApplianceSettings::new(
            "127.0.0.1:1",
            Credentials::OAuth { client_id: "client".to_owned(), client_secret: OAUTH_SECRET.into() },
        ));
        assert_eq!(format!("{client:?}"), "ApplianceClient { host: \"127.0.0.1:1\", .. }");
    }
}
