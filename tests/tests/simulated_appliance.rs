//! Shows that the simulated appliance behaves as beyondtrust.md section K asks, row by row, through real HTTP.
//!
//! Must not reach into the appliance except by its control handle.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use deskbridge_tests::appliance::{
    ApiInfoStyle, Authentication, AuthorizationKind, CommandPermission, CustomFieldNames, Customer,
    Endpoint, ErrorStyle, EventKind, ExpiresFormat, Fault, FaultRule, LagShape, NamespaceSpelling,
    NewSession, Options, Party, RateLimits, Recipient, ReportLag, Representative, SessionEvent,
    SessionScript, SimulatedAppliance, SurveyAnswer, SurveyTimestamp, TOKEN_LIMIT, TOKEN_SECONDS,
    read_script,
};
use deskbridge_tests::tls;
use quick_xml::Reader;
use quick_xml::events::Event;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

const NO_REPORT: &str = "No Support report information matching your chosen criteria is available.";

// ---------------------------------------------------------------- the caller

/// An API client of one appliance.
struct Caller {
    appliance: SimulatedAppliance,
    http: reqwest::Client,
    token: String,
}

/// An answer, read to the end.
#[derive(Debug)]
struct Answer {
    status: u16,
    headers: HashMap<String, String>,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }

    fn xml(&self) -> Vec<Element> {
        assert_eq!(self.status, 200, "{self:?}");
        assert_eq!(self.headers["content-type"], "text/xml; charset=UTF-8");
        parse(&self.body)
    }

    /// The text of an error document; panics when it is none.
    fn error(&self) -> String {
        let elements = self.xml();
        let error = elements.iter().find(|element| element.name == "error");
        error
            .unwrap_or_else(|| panic!("no error: {self:?}"))
            .text
            .trim()
            .to_owned()
    }
}

async fn send(request: RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    let headers = response.headers().iter();
    let headers = headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().into()));
    Answer {
        status: response.status().as_u16(),
        headers: headers.collect(),
        body: response.text().await.unwrap(),
    }
}

fn http() -> reqwest::Client {
    let builder = reqwest::Client::builder()
        .tls_danger_accept_invalid_certs(true)
        .no_proxy();
    let builder = builder.redirect(reqwest::redirect::Policy::none());
    builder.timeout(Duration::from_secs(20)).build().unwrap()
}

/// An appliance without limits per second, and a caller with a token.
async fn start() -> Caller {
    start_with(|_| {}).await
}

async fn start_with(change: impl FnOnce(&mut Options)) -> Caller {
    let mut options = Options {
        rate_limits: None,
        ..Options::default()
    };
    change(&mut options);
    let oauth = options.authentication != Authentication::UserAndPassword;
    let appliance = SimulatedAppliance::start(options).await.unwrap();
    let mut caller = Caller {
        appliance,
        http: http(),
        token: String::new(),
    };
    if oauth {
        caller.token = caller.new_token().await;
    }
    caller
}

impl Caller {
    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.appliance.base_url())
    }

    async fn new_token(&self) -> String {
        let options = self.appliance.options();
        let request = self.http.post(self.url("/oauth2/token"));
        let request = request.basic_auth(options.client_id, Some(options.client_secret));
        let answer = send(request.form(&[("grant_type", "client_credentials")])).await;
        answer.json()["access_token"].as_str().unwrap().to_owned()
    }

    async fn form(&self, path: &str, form: &[(&str, &str)]) -> Answer {
        let request = self.http.post(self.url(path)).bearer_auth(&self.token);
        send(request.header("connection", "close").form(form)).await
    }

    async fn command(&self, form: &[(&str, &str)]) -> Answer {
        self.form("/api/command", form).await
    }

    async fn report(&self, form: &[(&str, &str)]) -> Answer {
        self.form("/api/reporting", form).await
    }

    async fn session_report(&self, lsid: &str) -> Answer {
        self.report(&[("generate_report", "SupportSession"), ("lsid", lsid)])
            .await
    }

    /// A GET of a public address.
    async fn get(&self, path: &str) -> Answer {
        send(self.http.get(self.url(path))).await
    }

    async fn v2(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        let url = self.url(&format!("/api/command/v2{path}"));
        let request = self.http.request(method, url).bearer_auth(&self.token);
        send(match body {
            Some(body) => request.json(&body),
            None => request.header("accept", "application/json"),
        })
        .await
    }

    async fn is_token_valid(&self, token: &str) -> bool {
        let request = self.http.get(self.url("/api/command?action=get_api_info"));
        let answer = send(request.bearer_auth(token)).await;
        if answer.status == 200 {
            assert_eq!(answer.xml()[0].name, "get_api_info");
            return true;
        }
        assert_access_denied(&answer);
        false
    }

    async fn key(&self, more: &[(&str, &str)]) -> Answer {
        let mut form = vec![
            ("action", "generate_session_key"),
            ("type", "support"),
            ("queue_id", "general"),
        ];
        form.retain(|(name, _)| more.iter().all(|(other, _)| other != name));
        form.extend(more);
        self.command(&form).await
    }
}

fn assert_access_denied(answer: &Answer) {
    assert_eq!(answer.status, 401);
    assert_eq!(answer.json()["error"], "access_denied");
}

// ---------------------------------------------------------------- XML

#[derive(Debug, Default)]
struct Element {
    name: String,
    parent: String,
    attributes: HashMap<String, String>,
    text: String,
}

/// Every element in document order, by local name. Panics on malformed XML.
fn parse(xml: &str) -> Vec<Element> {
    let mut reader = Reader::from_str(xml);
    let (mut elements, mut open): (Vec<Element>, Vec<usize>) = Default::default();
    loop {
        match reader
            .read_event()
            .unwrap_or_else(|error| panic!("{error}: {xml}"))
        {
            Event::Start(tag) => {
                elements.push(element(&tag, &elements, &open));
                open.push(elements.len() - 1);
            }
            Event::Empty(tag) => elements.push(element(&tag, &elements, &open)),
            Event::End(_) => drop(open.pop().unwrap()),
            Event::Text(text) => {
                if let Some(position) = open.last() {
                    elements[*position].text.push_str(&text.xml10_content());
                }
            }
            Event::GeneralRef(reference) => {
                let text = match reference.resolve_char_ref().unwrap() {
                    Some(character) => character.to_string(),
                    None => {
                        quick_xml::escape::unescape(&format!("&{};", reference.xml10_content()))
                            .unwrap()
                            .into_owned()
                    }
                };
                elements[*open.last().unwrap()].text.push_str(&text);
            }
            Event::Eof => break,
            _ => {}
        }
    }
    assert!(open.is_empty(), "unclosed elements in {xml}");
    elements
}

fn element(
    tag: &quick_xml::events::BytesStart<'_>,
    elements: &[Element],
    open: &[usize],
) -> Element {
    let attributes = tag.attributes().map(|attribute| {
        let attribute = attribute.unwrap();
        let value = quick_xml::escape::unescape(&attribute.value)
            .unwrap()
            .into_owned();
        (attribute.key.as_ref().to_owned(), value)
    });
    Element {
        name: tag.local_name().as_ref().to_owned(),
        parent: open
            .last()
            .map(|parent| elements[*parent].name.clone())
            .unwrap_or_default(),
        attributes: attributes.collect(),
        text: String::new(),
    }
}

fn texts<'a>(elements: &'a [Element], name: &str) -> Vec<&'a str> {
    let named = elements.iter().filter(|element| element.name == name);
    named.map(|element| element.text.as_str()).collect()
}

fn first<'a>(elements: &'a [Element], name: &str) -> &'a Element {
    let found = elements.iter().find(|element| element.name == name);
    found.unwrap_or_else(|| panic!("no <{name}> in {elements:?}"))
}

// ---------------------------------------------------------------- the recipient of outbound events

/// Records posted events and answers what it is told.
#[derive(Clone)]
struct Receiver {
    url: String,
    answer: Arc<Mutex<StatusCode>>,
    forms: Arc<Mutex<Vec<HashMap<String, String>>>>,
}

impl Receiver {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let receiver = Self {
            url: format!(
                "https://{}/ERSPost?appliance=hq",
                listener.local_addr().unwrap()
            ),
            answer: Arc::new(Mutex::new(StatusCode::OK)),
            forms: Arc::default(),
        };
        let router = Router::new()
            .fallback(
                async |State(receiver): State<Self>, form: axum::Form<HashMap<String, String>>| {
                    receiver.forms.lock().unwrap().push(form.0);
                    *receiver.answer.lock().unwrap()
                },
            )
            .with_state(receiver.clone());
        let identity = tls::Identity::self_signed().unwrap();
        tokio::spawn(tls::serve(
            listener,
            Some(identity),
            router,
            CancellationToken::new(),
        ));
        receiver
    }

    fn answer(&self, status: u16) {
        *self.answer.lock().unwrap() = StatusCode::from_u16(status).unwrap();
    }

    fn forms(&self) -> Vec<HashMap<String, String>> {
        self.forms.lock().unwrap().clone()
    }

    /// Event names in the order they came, without the prefix.
    fn events(&self) -> Vec<String> {
        let forms = self.forms();
        let name =
            |form: &HashMap<String, String>| form["event"].replace("support_conference_", "");
        forms.iter().map(name).collect()
    }
}

// ---------------------------------------------------------------- K: tokens

#[tokio::test]
async fn tokens_come_by_basic_or_body_credentials_live_an_hour_and_die_with_the_secret() {
    let caller = start().await;
    let url = caller.url("/oauth2/token");
    let grant = [("grant_type", "client_credentials")];
    let body = [
        ("grant_type", "client_credentials"),
        ("client_id", "simulated-client"),
        ("client_secret", "simulated-secret"),
    ];
    let basic = |secret: &str| {
        caller
            .http
            .post(&url)
            .basic_auth("simulated-client", Some(secret))
    };

    let answer = send(caller.http.post(&url).form(&body)).await;
    assert_eq!(
        (answer.status, answer.json()["expires_in"].as_i64()),
        (200, Some(TOKEN_SECONDS))
    );
    assert_eq!(answer.json()["token_type"], "Bearer");

    for (request, status, error) in [
        (basic("wrong").form(&grant), 401, "invalid_client"),
        (caller.http.post(&url).form(&grant), 401, "invalid_client"),
        (
            caller
                .http
                .post(&url)
                .form(&[("client_id", "simulated-client")]),
            401,
            "invalid_client",
        ),
        (
            basic("simulated-secret").form(&body),
            400,
            "invalid_request",
        ),
        (
            basic("simulated-secret").json(&json!({"grant_type": "client_credentials"})),
            400,
            "invalid_request",
        ),
        (
            basic("simulated-secret").form(&[("grant_type", "password")]),
            400,
            "unsupported_grant_type",
        ),
        (
            basic("simulated-secret").form(&[("grant_type", "client_credentials"), ("x", "y")]),
            400,
            "invalid_request",
        ),
    ] {
        let answer = send(request).await;
        assert_eq!(
            (answer.status, answer.json()["error"].as_str()),
            (status, Some(error))
        );
        assert!(answer.json()["message"].is_string());
    }

    let token = caller.new_token().await;
    caller.appliance.clock().advance_seconds(TOKEN_SECONDS - 5);
    assert!(caller.is_token_valid(&token).await);
    caller.appliance.clock().advance_seconds(5);
    assert!(!caller.is_token_valid(&token).await);

    let token = caller.new_token().await;
    assert!(caller.is_token_valid(&token).await);
    let secret = caller.appliance.rotate_secret();
    assert!(!caller.is_token_valid(&token).await);
    assert_eq!(
        send(basic("simulated-secret").form(&grant)).await.status,
        401
    );
    assert_eq!(send(basic(&secret).form(&grant)).await.status, 200);
}

#[tokio::test]
async fn the_31st_token_kills_the_oldest() {
    let caller = start().await;
    let second = caller.new_token().await;
    for _ in 2..TOKEN_LIMIT {
        caller.new_token().await;
    }
    assert_eq!(caller.appliance.valid_tokens(), TOKEN_LIMIT);
    assert!(caller.is_token_valid(&caller.token).await);
    caller.new_token().await;
    assert!(!caller.is_token_valid(&caller.token).await);
    assert!(caller.is_token_valid(&second).await);
    assert_eq!(caller.appliance.valid_tokens(), TOKEN_LIMIT);
}

#[tokio::test]
async fn legacy_credentials_work_over_plain_http_and_fail_with_200() {
    let caller = start_with(|options| {
        options.authentication = Authentication::UserAndPassword;
        options.plain_http = true;
    })
    .await;
    assert!(caller.appliance.base_url().starts_with("http://"));
    let ask = async |password: &str| {
        let form = [
            ("username", "integration"),
            ("password", password),
            ("action", "get_api_info"),
        ];
        send(caller.http.post(caller.url("/api/command.ns")).form(&form)).await
    };
    assert_eq!(
        first(&ask("simulated-password").await.xml(), "company_name").text,
        "example"
    );
    assert_eq!(ask("wrong").await.error(), "Login failed");
    assert_eq!(
        caller
            .get("/api/reporting?generate_report=SupportSession")
            .await
            .error(),
        "Login failed"
    );
    assert_eq!(
        caller.appliance.requests()[0].authorization,
        AuthorizationKind::Parameters
    );

    let impossible = Options {
        plain_http: true,
        ..Options::default()
    };
    let refused = SimulatedAppliance::start(impossible).await.err().unwrap();
    assert!(refused.to_string().contains("OAuth always uses TLS"));

    // With OAuth on, legacy credentials are no credentials.
    let caller = start().await;
    let query = "/api/command?action=get_api_info&username=integration&password=simulated-password";
    assert_access_denied(&caller.get(query).await);
}

// ---------------------------------------------------------------- K: transport

#[tokio::test]
async fn both_paths_take_get_and_form_post_and_nothing_else() {
    let caller = start().await;
    for path in ["/api/command", "/api/command.ns"] {
        let answer = caller.form(path, &[("action", "get_api_info")]).await;
        assert_eq!(first(&answer.xml(), "api_version").text, "1.22.2");
        assert_eq!(answer.headers["connection"], "close");
        let get = caller
            .http
            .get(caller.url(&format!("{path}?action=get_api_info")));
        assert_eq!(
            send(get.bearer_auth(&caller.token)).await.xml()[0].name,
            "get_api_info"
        );

        for content_type in [
            "multipart/form-data; boundary=b",
            "application/json",
            "text/plain",
        ] {
            let post = caller
                .http
                .post(caller.url(path))
                .bearer_auth(&caller.token);
            let post = post
                .header("content-type", content_type)
                .body("action=get_api_info");
            assert!(
                send(post)
                    .await
                    .error()
                    .contains("application/x-www-form-urlencoded")
            );
        }
        let put = caller.http.put(caller.url(path)).bearer_auth(&caller.token);
        assert_eq!(
            send(put.form(&[("action", "get_api_info")])).await.error(),
            "Only GET and POST are supported."
        );
        for bad in [
            caller.http.get(caller.url(path)),
            caller.http.get(caller.url(path)).bearer_auth("stale"),
        ] {
            assert_access_denied(&send(bad).await);
        }
    }
    for path in ["/api/reporting", "/api/reporting.ns"] {
        let form = [
            ("generate_report", "SupportSession"),
            ("start_time", "0"),
            ("duration", "0"),
        ];
        assert_eq!(caller.form(path, &form).await.error(), NO_REPORT);
    }
    assert_eq!(caller.get("/api/unknown").await.status, 404);
}

#[tokio::test]
async fn namespaces_come_in_four_spellings() {
    let caller = start().await;
    let lsid = caller.appliance.play(SessionScript::short("1")).unwrap();
    let mut seen = Vec::new();
    for spelling in NamespaceSpelling::ALL {
        caller
            .appliance
            .change_options(|options| options.namespaces = spelling);
        let command = caller.command(&[("action", "get_api_info")]).await.xml();
        let report = caller.session_report(&lsid).await.xml();
        let error = caller.session_report(&"0".repeat(32)).await.xml();
        assert_eq!(report[0].attributes["xmlns"], error[0].attributes["xmlns"]);
        assert!(command[0].attributes["xmlns"].ends_with("/namespaces/API/command"));
        assert!(report[0].attributes["xmlns"].ends_with("/namespaces/API/reporting"));
        seen.push((
            command[0].attributes["xmlns"].clone(),
            report[0].attributes["xmlns"].clone(),
        ));
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 4);
}

#[tokio::test]
async fn errors_are_200_in_every_spelling() {
    let caller = start().await;
    let wrong_queue = [
        ("action", "generate_session_key"),
        ("type", "support"),
        ("queue_id", "rep_username:nobody"),
    ];
    for (style, root, tag) in [
        (ErrorStyle::Plain, "error", "<error xmlns=\""),
        (ErrorStyle::Decorated, "error", "<error\n"),
        (ErrorStyle::Nested, "session_key", "<error>"),
    ] {
        caller
            .appliance
            .change_options(|options| options.error_style = style);
        let answer = caller.command(&wrong_queue).await;
        assert_eq!(answer.error(), "The specified queue could not be found.");
        assert_eq!(answer.xml()[0].name, root);
        assert!(answer.body.contains(tag), "{answer:?}");
        assert_eq!(
            caller.session_report(&"0".repeat(32)).await.error(),
            NO_REPORT
        );
    }
}

#[tokio::test]
async fn strictness_what_is_not_known_is_refused() {
    let caller = start().await;
    let lsid = caller.appliance.play(SessionScript::short("1")).unwrap();
    let lsid = lsid.as_str();
    let report = ("generate_report", "SupportSession");
    for (path, form, error) in [
        (
            "/api/command",
            vec![],
            "The parameter 'action' is required.",
        ),
        (
            "/api/command",
            vec![("action", "get_session_list")],
            "Unknown action 'get_session_list'.",
        ),
        (
            "/api/command",
            vec![("action", "get_api_info"), ("x", "1")],
            "Unknown parameter 'x'.",
        ),
        (
            "/api/command",
            vec![("action", "get_api_info"), ("action", "get_api_info")],
            "The parameter 'action' was given more than once.",
        ),
        (
            "/api/command",
            vec![("action", "get_support_teams"), ("showmembers", "yes")],
            "The parameter 'showmembers' must be one of: 0, 1.",
        ),
        (
            "/api/command",
            vec![("action", "terminate_session"), ("lsid", "42")],
            "'42' is not a valid lsid.",
        ),
        (
            "/api/command",
            vec![("action", "terminate_session"), ("lsid", lsid)],
            "The specified session could not be found or is not active.",
        ),
        (
            "/api/reporting",
            vec![],
            "The parameter 'generate_report' is required.",
        ),
        (
            "/api/reporting",
            vec![("generate_report", "AccessSession")],
            "Unknown report 'AccessSession'.",
        ),
        (
            "/api/reporting",
            vec![report],
            "Exactly one of lsid, lsids, start_date, start_time, end_date, end_time is required.",
        ),
        (
            "/api/reporting",
            vec![report, ("lsid", lsid), ("end_time", "0")],
            "Exactly one of lsid, lsids, start_date, start_time, end_date, end_time is required.",
        ),
        (
            "/api/reporting",
            vec![report, ("lsid", lsid), ("duration", "0")],
            "The parameter 'duration' needs a start or end.",
        ),
        (
            "/api/reporting",
            vec![report, ("end_time", "0")],
            "The parameter 'duration' is required.",
        ),
        (
            "/api/reporting",
            vec![report, ("end_time", "0"), ("duration", "-1")],
            "The parameter 'duration' is out of range.",
        ),
        (
            "/api/reporting",
            vec![report, ("end_time", "0"), ("duration", "P1D")],
            "The parameter 'duration' must be an integer.",
        ),
        (
            "/api/reporting",
            vec![
                report,
                ("end_time", "2024-12-03T15:26:05Z"),
                ("duration", "0"),
            ],
            "The parameter 'end_time' must be a UNIX timestamp, not '2024-12-03T15:26:05Z'.",
        ),
        (
            "/api/reporting",
            vec![report, ("start_date", "1733239565"), ("duration", "0")],
            "The parameter 'start_date' must be a date like 2024-12-03, not '1733239565'.",
        ),
        (
            "/api/reporting",
            vec![report, ("lsid", "l")],
            "'l' is not a valid lsid.",
        ),
        (
            "/api/reporting",
            vec![report, ("lsid", lsid), ("external_key", "1")],
            "Unknown parameter 'external_key'.",
        ),
        (
            "/api/reporting",
            vec![report, ("lsid", lsid), ("report_type", "rep")],
            "Unknown parameter 'report_type'.",
        ),
        (
            "/api/reporting",
            vec![("generate_report", "SupportCustExitSurvey"), ("lsid", lsid)],
            "The parameter 'report_type' is required.",
        ),
        (
            "/api/reporting",
            vec![
                ("generate_report", "SupportCustExitSurvey"),
                ("report_type", "rep"),
                ("end_time", "0"),
                ("duration", "0"),
            ],
            "The parameter 'id' is required.",
        ),
    ] {
        assert_eq!(caller.form(path, &form).await.error(), error, "{form:?}");
    }

    caller.appliance.change_options(|options| {
        options.permissions.command = CommandPermission::ReadOnly;
        options.permissions.reporting_support = false;
    });
    assert_eq!(
        caller.key(&[]).await.error(),
        "You do not have permission to perform this action."
    );
    assert_eq!(
        caller.session_report(lsid).await.error(),
        "You do not have permission to view support session reports."
    );
    let info = caller.command(&[("action", "get_api_info")]).await.xml();
    assert!(texts(&info, "permission").contains(&"read_only"));
}

// ---------------------------------------------------------------- K: commands

#[tokio::test]
async fn api_info_representatives_teams_and_health_have_the_documented_shapes() {
    let caller = start().await;
    caller.appliance.clock().set_offset_seconds(-90);
    let info = caller.command(&[("action", "get_api_info")]).await.xml();
    let command = info.iter().find(|e| {
        e.attributes
            .get("name")
            .is_some_and(|n| n == "perm_command")
    });
    assert_eq!(command.unwrap().text, "full_access");
    let clock = caller.appliance.clock().now();
    let told: i64 = first(&info, "timestamp").text.parse().unwrap();
    assert!(
        (clock - told).abs() <= 2,
        "{told} is not the appliance's {clock}"
    );

    caller
        .appliance
        .change_options(|options| options.api_info_style = ApiInfoStyle::LEGACY);
    let info = caller.command(&[("action", "get_api_info")]).await.xml();
    assert_eq!(info[0].name, "api_information");
    let permissions: Vec<_> = texts(&info, "name")
        .into_iter()
        .zip(texts(&info, "value"))
        .collect();
    assert!(permissions.contains(&("perm_command", "full_access")));

    let lsid = caller.appliance.begin_session(NewSession::default());
    caller
        .appliance
        .representative_joins(&lsid, Representative::example())
        .unwrap();
    let reps = caller
        .command(&[("action", "get_logged_in_reps")])
        .await
        .xml();
    assert_eq!(
        texts(&reps, "private_display_name"),
        ["Jane Doe (T2)", "森 健二 (T1)"]
    );
    assert_eq!(texts(&reps, "support_session_count"), ["1", "0"]);
    assert!(first(&reps, "direct_link").text.contains("name=Jane%20D."));
    caller
        .appliance
        .change_options(|options| options.representatives[1].logged_in = false);
    let reps = caller
        .command(&[("action", "get_logged_in_reps")])
        .await
        .xml();
    assert_eq!(first(&reps, "rep").attributes["id"], "151");
    assert_eq!(texts(&reps, "rep").len(), 1);

    let teams = caller
        .command(&[("action", "get_support_teams"), ("showmembers", "1")])
        .await
        .xml();
    assert_eq!(texts(&teams, "name"), ["Service Desk", "Netzwerk & VPN"]);
    assert_eq!(texts(&teams, "code_name"), ["general_tech", "email", "vpn"]);
    assert_eq!(texts(&teams, "representative").len(), 3);
    let teams = caller
        .command(&[("action", "get_support_teams")])
        .await
        .xml();
    assert!(texts(&teams, "representative").is_empty());

    for (healthy, status, success) in [(true, 200, "1"), (false, 500, "0")] {
        caller.appliance.set_healthy(healthy);
        assert_eq!(caller.get("/check_health").await.status, status);
        let health = caller.command(&[("action", "check_health")]).await.xml();
        assert_eq!(first(&health, "success").text, success);
    }
}

#[tokio::test]
async fn session_keys_have_seven_digits_expire_and_carry_their_external_key() {
    let caller = start().await;
    let appliance = &caller.appliance;
    let more = [
        ("ttl", "1800"),
        ("queue_id", "rep_username:jdoe"),
        ("session.custom.external_key", "88121"),
        ("session.custom.asset_tag", "A-0042"),
        ("session.priority", "1"),
        ("session.skills", "outlook,vpn"),
    ];
    let key = caller.key(&more).await.xml();
    let short_key = first(&key, "short_key").text.clone();
    assert!(short_key.len() == 7 && short_key.bytes().all(|byte| byte.is_ascii_digit()));
    let key_url = &first(&key, "key_url").text;
    assert!(key_url.starts_with(&format!("{}/?ak=", appliance.base_url())));
    assert!(first(&key, "mail_body").text.contains(key_url));
    assert!(!first(&key, "mail_subject").text.is_empty());

    let lsid = appliance.begin_session_with_key(&short_key).unwrap();
    let session = appliance.session(&lsid).unwrap();
    assert_eq!(session.external_key, "88121");
    assert_eq!(
        session.custom_attributes,
        [("asset_tag".to_owned(), "A-0042".to_owned())]
    );
    let used = appliance.begin_session_with_key(&short_key).unwrap_err();
    assert_eq!(used.to_string(), "The session key was already used.");

    let short_key = first(&caller.key(&[("ttl", "60")]).await.xml(), "short_key")
        .text
        .clone();
    appliance.clock().advance_seconds(61);
    let expired = appliance.begin_session_with_key(&short_key).unwrap_err();
    assert_eq!(expired.to_string(), "The session key has expired.");
    appliance.clock().set_offset_seconds(0);

    for (format, attribute, is_iso) in [
        (ExpiresFormat::TsAttribute, Some("ts"), true),
        (ExpiresFormat::TimestampAttribute, Some("timestamp"), true),
        (ExpiresFormat::UnixText, None, false),
        (ExpiresFormat::IsoText, None, true),
    ] {
        appliance.change_options(|options| options.expires_format = format);
        let key = caller.key(&[("ttl", "1800")]).await.xml();
        let expires = first(&key, "expires");
        let unix = attribute.map(|name| expires.attributes[name].parse::<i64>().unwrap());
        let text = expires.text.parse::<i64>().ok();
        assert_eq!(expires.text.ends_with("+00:00"), is_iso, "{expires:?}");
        if let Some(at) = unix.or(text) {
            assert!((at - appliance.clock().now() - 1800).abs() <= 5);
        }
    }

    let elsewhere = caller
        .key(&[("url_hostname", "help.example.com")])
        .await
        .xml();
    assert!(
        first(&elsewhere, "key_url")
            .text
            .starts_with("https://help.example.com/?ak=")
    );

    let long = "ä".repeat(1025);
    let kilobyte = "x".repeat(1024);
    appliance.change_options(|options| {
        for number in 0..10 {
            let field = deskbridge_tests::appliance::CustomField::new(&format!("f{number}"), "");
            options.custom_fields.push(field);
        }
    });
    let names: Vec<_> = (0..10)
        .map(|number| format!("session.custom.f{number}"))
        .collect();
    let mut too_much: Vec<_> = names
        .iter()
        .map(|name| (name.as_str(), kilobyte.as_str()))
        .collect();
    assert_eq!(caller.key(&too_much).await.xml()[0].name, "session_key");
    too_much.push(("session.custom.external_key", "x"));
    for (more, error) in [
        (
            vec![("queue_id", "team:99")],
            "The specified queue could not be found.",
        ),
        (
            vec![("queue_id", "issue:nothing")],
            "The specified queue could not be found.",
        ),
        (
            vec![("queue_id", "everybody")],
            "The specified queue could not be found.",
        ),
        (vec![("queue_id", "")], "The parameter 'queue_id' is empty."),
        (
            vec![("type", "presentation")],
            "The parameter 'type' must be one of: support.",
        ),
        (
            vec![("ttl", "soon")],
            "The parameter 'ttl' must be an integer.",
        ),
        (vec![("ttl", "0")], "The parameter 'ttl' is out of range."),
        (
            vec![("session.priority", "9")],
            "The parameter 'session.priority' must be one of: 1, 2, 3.",
        ),
        (
            vec![("url_hostname", "a/b")],
            "The URL hostname is not valid.",
        ),
        (
            vec![("external_key", "1")],
            "Unknown parameter 'external_key'.",
        ),
        (
            vec![("session.custom.nothing", "1")],
            "The custom field 'nothing' does not exist.",
        ),
        (
            vec![("session.custom.external_key", &long)],
            "The parameter 'external_key' must not exceed 1024 characters.",
        ),
        (
            too_much,
            "The parameter 'session.custom' must not exceed 10240 bytes.",
        ),
    ] {
        assert_eq!(caller.key(&more).await.error(), error);
    }
    for queue in ["general", "rep:151", "team:3", "issue:vpn"] {
        assert_eq!(
            caller.key(&[("queue_id", queue)]).await.xml()[0].name,
            "session_key"
        );
    }
    appliance.change_options(|options| options.representatives[1].username = "jdoe".into());
    let ambiguous = caller.key(&[("queue_id", "rep_username:jdoe")]).await;
    assert_eq!(ambiguous.error(), "The specified queue could not be found.");
}

#[tokio::test]
async fn session_attributes_change_active_sessions_and_later_events() {
    let caller = start().await;
    let receiver = Receiver::start().await;
    let mut recipient = Recipient::new(&receiver.url);
    recipient.send_custom_fields = CustomFieldNames::Prefixed;
    caller.appliance.set_recipient(recipient);
    let lsid = caller
        .appliance
        .begin_session(NewSession::with_external_key("{\"title\":\"new\"}"));
    caller
        .appliance
        .customer_joins(&lsid, Customer::named("Jürgen Groß"))
        .unwrap();
    let set = async |more: &[(&str, &str)]| {
        let mut form = vec![
            ("action", "set_session_attributes"),
            ("lsid", lsid.as_str()),
        ];
        form.extend(more);
        caller.command(&form).await
    };
    let both = [
        ("session.custom.external_key", "4711"),
        ("session.custom.asset_tag", "A-1"),
    ];
    assert_eq!(
        first(&set(&both).await.xml(), "success").text,
        "Session attributes were set"
    );
    let get = async || {
        let answer = caller
            .command(&[("action", "get_session_attributes"), ("lsid", &lsid)])
            .await;
        let attributes = answer.xml();
        let attributes = attributes.iter().filter(|e| e.name == "custom_attribute");
        attributes
            .map(|e| (e.attributes["code_name"].clone(), e.text.clone()))
            .collect::<Vec<_>>()
    };
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(
        get().await,
        [pair("external_key", "4711"), pair("asset_tag", "A-1")]
    );
    // An omitted field keeps its value, an empty one is cleared.
    set(&[("session.custom.asset_tag", "")]).await.xml();
    assert_eq!(get().await, [pair("external_key", "4711")]);
    set(&[("session.custom.asset_tag", "A-2")]).await.xml();

    for (more, error) in [
        (vec![], "No session attribute was given."),
        (
            vec![("session.custom.nothing", "1")],
            "The custom field 'nothing' does not exist.",
        ),
        (
            vec![("external_key", "1")],
            "Unknown parameter 'external_key'.",
        ),
    ] {
        assert_eq!(set(&more).await.error(), error);
    }

    let join = async |more: (&str, &str)| {
        caller
            .command(&[("action", "join_session"), ("lsid", &lsid), more])
            .await
    };
    assert_eq!(
        first(&join(("rep_username", "jdoe")).await.xml(), "success").text,
        "Representative successfully added"
    );
    assert_eq!(
        join(("rep_id", "999")).await.error(),
        "The specified representative could not be found."
    );
    let transfer = async |queue: &str| {
        let form = [
            ("action", "transfer_session"),
            ("lsid", lsid.as_str()),
            ("queue_id", queue),
        ];
        caller.command(&form).await
    };
    assert_eq!(
        first(&transfer("team:3").await.xml(), "success").text,
        "Successfully transferred"
    );
    assert_eq!(
        transfer("general").await.error(),
        "The specified queue could not be found."
    );
    let end = [("action", "terminate_session"), ("lsid", lsid.as_str())];
    assert_eq!(
        first(&caller.command(&end).await.xml(), "success").text,
        "Successfully terminated"
    );
    assert!(set(&both).await.error().contains("not active"));

    caller.appliance.outbound_idle().await.unwrap();
    let keys: Vec<_> = receiver
        .forms()
        .iter()
        .map(|form| form["external_key"].clone())
        .collect();
    assert_eq!(
        receiver.events(),
        [
            "begin",
            "member_added",
            "owner_changed",
            "member_added",
            "owner_changed",
            "end"
        ]
    );
    assert_eq!(keys[..2], ["{\"title\":\"new\"}", "{\"title\":\"new\"}"]);
    assert_eq!(keys[2..], ["4711"; 4]);
    assert_eq!(receiver.forms()[5]["session.custom.asset_tag"], "A-2");
}

// ---------------------------------------------------------------- K: reports

#[tokio::test]
async fn a_session_lives_in_order_and_is_reported() {
    let caller = start().await;
    let receiver = Receiver::start().await;
    caller
        .appliance
        .set_recipient(Recipient::new(&receiver.url));
    let lsid = caller
        .appliance
        .play(SessionScript::example("88121"))
        .unwrap();
    caller.appliance.wait_until_delivered(7).await.unwrap();
    assert_eq!(
        receiver.events(),
        [
            "begin",
            "member_added",
            "owner_changed",
            "member_added",
            "end",
            "rep_exit_survey_completed",
            "customer_exit_survey_completed",
        ]
    );
    for form in receiver.forms() {
        assert_eq!(
            (&form["lsid"], form["external_key"].as_str()),
            (&lsid, "88121")
        );
        assert_eq!(form["appliance_id"], "9d2c0b7e5a1f4c3e8b6a7d5c4b3a2f10");
        assert!(form["timestamp"].parse::<i64>().is_ok() && form["version"] == "7");
    }
    let members: Vec<_> = receiver
        .forms()
        .into_iter()
        .filter(|form| form.contains_key("type"))
        .collect();
    assert_eq!(
        (members[0]["type"].as_str(), members[0]["name"].as_str()),
        ("customer", "Jürgen Groß")
    );
    assert_eq!(
        (members[1]["type"].as_str(), members[1]["username"].as_str()),
        ("representative", "jdoe")
    );
    assert_eq!(receiver.forms()[2]["conference_id"], "151");

    let report = caller.session_report(&lsid).await.xml();
    assert_eq!(first(&report, "session").attributes["lsid"], lsid);
    assert_eq!(first(&report, "external_key").text, "88121");
    assert_eq!(
        first(&report, "custom_attribute").attributes["display_name"],
        "Asset Tag"
    );
    let start: i64 = first(&report, "start_time").attributes["timestamp"]
        .parse()
        .unwrap();
    let end: i64 = first(&report, "end_time").attributes["timestamp"]
        .parse()
        .unwrap();
    let seconds = end - start;
    assert_eq!(
        first(&report, "duration").text,
        format!("00:{:02}:{:02}", seconds / 60, seconds % 60)
    );
    assert_eq!(first(&report, "file_transfer_count").text, "2");
    assert_eq!(first(&report, "primary_customer").text, "Jürgen Groß");
    assert_eq!(first(&report, "primary_rep").attributes["id"], "151");
    assert!(
        texts(&report, "body").contains(&"Guten Tag, ich sehe mir das an <sofort> & melde mich.")
    );
    assert!(
        texts(&report, "body")
            .contains(&"Коллега из Варны видит то же самое: «профиль не найден».")
    );
    let url = first(&report, "session_chat_download_url").text.clone();
    assert!(
        send(caller.http.get(url))
            .await
            .body
            .contains("了解しました")
    );

    let listing = [
        ("generate_report", "SupportSessionListing"),
        ("end_time", "0"),
        ("duration", "0"),
    ];
    let listing = caller.report(&listing).await.xml();
    assert_eq!(first(&listing, "session_summary").attributes["lsid"], lsid);
    assert_eq!(
        first(&listing, "session_summary").attributes["has_recording"],
        "1"
    );
}

#[tokio::test]
async fn reports_are_found_by_time_as_documented() {
    let caller = start().await;
    let ended = caller.appliance.play(SessionScript::short("1")).unwrap();
    let mut script = SessionScript::short("");
    script.steps.pop();
    let open = caller.appliance.play(script).unwrap();
    let session = caller.appliance.session(&ended).unwrap();
    let (start, end) = (session.started_at, session.ended_at.unwrap());
    let day = "1970-01-02";
    for (selection, found) in [
        (
            vec![("start_time", start.to_string()), ("duration", "0".into())],
            vec![&ended, &open],
        ),
        (
            vec![("end_time", end.to_string()), ("duration", "0".into())],
            vec![&ended],
        ),
        (
            vec![("end_time", end.to_string()), ("duration", "1".into())],
            vec![&ended],
        ),
        (
            vec![
                ("end_time", (end + 1).to_string()),
                ("duration", "0".into()),
            ],
            vec![],
        ),
        (
            vec![
                ("end_time", (end - 100).to_string()),
                ("duration", "50".into()),
            ],
            vec![],
        ),
        (
            vec![("end_date", day.into()), ("duration", "0".into())],
            vec![&ended],
        ),
        (
            vec![("end_date", day.into()), ("duration", "30".into())],
            vec![],
        ),
        (
            vec![("start_date", day.into()), ("duration", "0".into())],
            vec![&ended, &open],
        ),
        (
            vec![
                ("lsids", format!("{ended},{open}")),
                ("locale", "en-us".into()),
            ],
            vec![&ended, &open],
        ),
        (vec![("lsid", open.to_uppercase())], vec![&open]),
    ] {
        for report in ["SupportSession", "SupportSessionListing"] {
            let mut form = vec![("generate_report", report)];
            form.extend(
                selection
                    .iter()
                    .map(|(name, value)| (*name, value.as_str())),
            );
            let answer = caller.report(&form).await;
            if found.is_empty() {
                assert_eq!(answer.error(), NO_REPORT, "{form:?}");
                continue;
            }
            let elements = answer.xml();
            let lsids = elements
                .iter()
                .filter_map(|element| element.attributes.get("lsid"));
            assert_eq!(lsids.collect::<Vec<_>>(), found, "{form:?}");
        }
    }
    let open = caller.session_report(&open).await.xml();
    assert!(
        texts(&open, "end_time").is_empty() && texts(&open, "session_chat_view_url").is_empty()
    );
    assert_eq!(first(&open, "external_key").text, "");
}

#[tokio::test]
async fn reports_lag_by_requests_or_until_released() {
    let caller = start().await;
    for shape in [LagShape::NoReport, LagShape::NoEndTime] {
        let lag = ReportLag {
            shape,
            requests: 2,
            survey_requests: 1,
        };
        caller
            .appliance
            .change_options(|options| options.report_lag = lag);
        let lsid = caller.appliance.play(SessionScript::example("1")).unwrap();
        let mut lagging = 0;
        while caller
            .session_report(&lsid)
            .await
            .body
            .matches("end_time")
            .count()
            == 0
        {
            lagging += 1;
        }
        assert_eq!(lagging, 2);
        let survey = [
            ("generate_report", "SupportRepExitSurvey"),
            ("report_type", "rep"),
            ("lsid", &lsid),
        ];
        assert_eq!(caller.report(&survey).await.error(), NO_REPORT);
        assert_eq!(
            first(&caller.report(&survey).await.xml(), "answer").text,
            "Resolved"
        );

        caller.appliance.hold_reports();
        let ended_since = [
            ("generate_report", "SupportSession"),
            ("end_time", "0"),
            ("duration", "0"),
        ];
        assert_eq!(caller.report(&ended_since).await.error(), NO_REPORT);
        let held = caller.session_report(&lsid).await;
        match shape {
            LagShape::NoReport => assert_eq!(held.error(), NO_REPORT),
            LagShape::NoEndTime => {
                let held = held.xml();
                assert!(texts(&held, "end_time").is_empty());
                let ends = held.iter().filter(|e| {
                    e.attributes
                        .get("event_type")
                        .is_some_and(|t| t == "Session End")
                });
                assert_eq!(ends.count(), 0);
            }
        }
        caller.appliance.release_reports();
        assert_eq!(
            texts(&caller.session_report(&lsid).await.xml(), "end_time").len(),
            1
        );
    }
}

#[tokio::test]
async fn surveys_are_found_by_lsid_and_by_time() {
    let caller = start().await;
    let lsid = caller.appliance.play(SessionScript::short("1")).unwrap();
    let by_lsid = |report| {
        [
            ("generate_report", report),
            ("report_type", "rep"),
            ("lsid", &lsid),
        ]
    };
    let by_time = |report| {
        [
            ("generate_report", report),
            ("report_type", "rep"),
            ("id", "all"),
            ("end_time", "0"),
            ("duration", "0"),
        ]
    };
    for report in ["SupportCustExitSurvey", "SupportRepExitSurvey"] {
        assert_eq!(caller.report(&by_lsid(report)).await.error(), NO_REPORT);
    }
    let answers = vec![SurveyAnswer::rating("5"), SurveyAnswer::comments("")];
    caller
        .appliance
        .complete_customer_survey(&lsid, answers.clone())
        .unwrap();
    assert!(
        caller
            .appliance
            .complete_customer_survey(&lsid, answers)
            .is_err()
    );
    let answers = vec![SurveyAnswer::close_state("Escalate")];
    caller
        .appliance
        .complete_representative_survey(&lsid, answers)
        .unwrap();
    for (report, kind, by, answers) in [
        ("SupportCustExitSurvey", "customer", "John Smith", ["5"]),
        ("SupportRepExitSurvey", "rep", "Jane D.", ["Escalate"]),
    ] {
        for form in [by_lsid(report).as_slice(), by_time(report).as_slice()] {
            let survey = caller.report(form).await.xml();
            assert_eq!(first(&survey, "exit_survey").attributes["lsid"], lsid);
            assert!(
                first(&survey, "exit_survey")
                    .attributes
                    .contains_key("timestamp")
            );
            assert_eq!(first(&survey, "submitted_by").attributes["type"], kind);
            assert_eq!(first(&survey, "submitted_by").text, by);
            assert_eq!(texts(&survey, "answer"), answers);
        }
    }
    let other = [
        ("generate_report", "SupportCustExitSurvey"),
        ("report_type", "rep"),
        ("id", "152"),
        ("start_time", "0"),
        ("duration", "0"),
    ];
    assert_eq!(caller.report(&other).await.error(), NO_REPORT);
    caller.appliance.change_options(|options| {
        options.surveys_by_lsid = false;
        options.survey_timestamp = SurveyTimestamp::Ts;
    });
    assert_eq!(
        caller
            .report(&by_lsid("SupportCustExitSurvey"))
            .await
            .error(),
        "Unknown parameter 'lsid'."
    );
    let survey = caller.report(&by_time("SupportCustExitSurvey")).await.xml();
    assert!(first(&survey, "exit_survey").attributes.contains_key("ts"));
}

#[tokio::test]
async fn nasty_data_arrives_as_well_formed_xml() {
    let caller = start().await;
    for spelling in NamespaceSpelling::ALL {
        caller
            .appliance
            .change_options(|options| options.namespaces = spelling);
        let lsid = caller
            .appliance
            .play(SessionScript::at_the_limits("5-Ж"))
            .unwrap();
        let report = caller.session_report(&lsid).await.xml();
        let events: Vec<_> = report
            .iter()
            .filter(|element| element.name == "event")
            .collect();
        let of_type = |name: &str| {
            events
                .iter()
                .filter(|e| e.attributes["event_type"].starts_with(name))
                .count()
        };
        assert!(events.len() >= 300, "{}", events.len());
        assert!(
            of_type("Quantum Clipboard Synchronized") >= 25,
            "unknown event types"
        );
        assert_eq!(first(&report, "external_key").text, "5-Ж");
        assert_eq!(first(&report, "jump_group").attributes["id"], "-1");
        assert!(texts(&report, "public_ip").contains(&"[2001:db8:85a3::8a2e:370:7334]:61606"));
        assert!(texts(&report, "public_ip").contains(&"Unknown"));
        assert_eq!(texts(&report, "invited"), ["1"]);

        let bodies = texts(&report, "body");
        let chat: usize = bodies.iter().map(|body| body.len()).sum();
        assert!((180_000..260_000).contains(&chat), "{chat} bytes of chat");
        assert!(
            bodies
                .iter()
                .any(|body| body.contains("{{ticket.title}}") && body.contains("<script>"))
        );
        assert!(
            bodies
                .iter()
                .any(|body| body.contains("\r\nsecond line\ttab"))
        );
        assert!(
            bodies
                .iter()
                .any(|body| body.len() > 1000 && !body.contains(' ')),
            "a long line"
        );
        let encoded = texts(&report, "encoded_body");
        let decoded: Vec<_> = encoded
            .iter()
            .map(|text| STANDARD.decode(text).unwrap())
            .collect();
        assert!(decoded.contains(&b"c\ra\x18d".to_vec()));
        assert!(
            decoded
                .iter()
                .any(|bytes| String::from_utf8(bytes.clone()).is_err())
        );

        let fields = report.iter().filter(|element| element.name == "field");
        let (by_id, by_name): (Vec<_>, Vec<_>) =
            fields.partition(|field| field.attributes.contains_key("id"));
        assert!(
            !by_id.is_empty()
                && by_name
                    .iter()
                    .all(|field| field.attributes.contains_key("name"))
        );
        let direct = report
            .iter()
            .filter(|e| e.name == "filename" && e.parent == "event")
            .count();
        let listed = report
            .iter()
            .filter(|e| e.name == "filename" && e.parent == "file")
            .count();
        let modern = report
            .iter()
            .filter(|e| e.attributes.get("name").is_some_and(|n| n == "filename"))
            .count();
        assert!(
            direct > 5 && listed > 5 && modern > 5,
            "{direct} {listed} {modern}"
        );
    }
    let lsid = caller.appliance.begin_session(NewSession::default());
    let nobody = SessionEvent::chat(Party::CUSTOMER, "I am not here");
    assert!(caller.appliance.happens(&lsid, nobody).is_err());
}

// ---------------------------------------------------------------- K: outbound queue

#[tokio::test]
async fn only_exactly_200_passes_and_everything_else_blocks_in_order() {
    let caller = start().await;
    let receiver = Receiver::start().await;
    let appliance = &caller.appliance;
    let mut recipient = Recipient::new(&receiver.url);
    recipient.retry_interval = Duration::from_secs(3600);
    appliance.set_recipient(recipient.clone());
    let blocked = [201, 204, 302, 404, 503];
    receiver.answer(blocked[0]);
    let lsid = appliance.play(SessionScript::short("1")).unwrap();
    for (number, status) in blocked.into_iter().enumerate() {
        receiver.answer(status);
        appliance.retry_now();
        let wanted = format!("HTTP status {status}");
        appliance
            .wait_for_recipient(|now| now.status == wanted)
            .await
            .unwrap();
        assert!(receiver.events().len() > number);
        assert!(
            receiver.events().iter().all(|event| event == "begin"),
            "the head blocks"
        );
        let status = appliance.recipient_status().unwrap();
        assert_eq!((status.queued, status.delivered, status.dropped), (5, 0, 0));
    }

    // Unreachable, then moved: the queue stays.
    let closed = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    appliance.set_recipient(Recipient {
        url: format!("https://{closed}/ERSPost"),
        ..recipient.clone()
    });
    appliance
        .wait_for_recipient(|now| now.status.contains("error"))
        .await
        .unwrap();
    receiver.answer(200);
    appliance.set_recipient(recipient);
    appliance.outbound_idle().await.unwrap();
    let status = appliance.recipient_status().unwrap();
    assert_eq!(
        (status.status.as_str(), status.delivered, status.dropped),
        ("OK", 5, 0)
    );
    let events = receiver.events();
    assert_eq!(
        events[events.len() - 5..],
        [
            "begin",
            "member_added",
            "owner_changed",
            "member_added",
            "end"
        ]
    );
    let attempts = appliance.attempts();
    assert!(attempts.iter().all(|attempt| attempt.lsid == lsid));
    assert_eq!(attempts.last().unwrap().outcome, Ok(200));
    assert!(attempts.iter().any(|attempt| attempt.outcome.is_err()));
}

#[tokio::test]
async fn an_event_is_retried_by_itself_and_dropped_after_the_retry_duration() {
    let caller = start().await;
    let receiver = Receiver::start().await;
    receiver.answer(500);
    let mut recipient = Recipient::new(&receiver.url);
    recipient.retry_interval = Duration::from_millis(5);
    recipient.retry_duration = Duration::from_millis(40);
    recipient.events = vec![EventKind::End, EventKind::CustomerSurvey];
    caller.appliance.set_recipient(recipient);
    let lsid = caller.appliance.play(SessionScript::short("1")).unwrap();
    caller
        .appliance
        .wait_for_recipient(|now| now.dropped == 1)
        .await
        .unwrap();
    assert!(receiver.forms().len() >= 2, "it was retried");
    assert!(
        receiver.events().iter().all(|event| event == "end"),
        "only chosen events are sent"
    );
    receiver.answer(200);
    caller
        .appliance
        .complete_customer_survey(&lsid, vec![SurveyAnswer::rating("1")])
        .unwrap();
    caller.appliance.wait_until_delivered(1).await.unwrap();
    assert_eq!(
        receiver.events().last().unwrap(),
        "customer_exit_survey_completed"
    );
}

#[tokio::test]
async fn events_can_come_twice_swapped_or_unknown() {
    let caller = start().await;
    let receiver = Receiver::start().await;
    let appliance = &caller.appliance;
    appliance.set_recipient(Recipient::new(&receiver.url));
    appliance.set_deliver_twice(true);
    let lsid = appliance.begin_session(NewSession::with_external_key("1"));
    appliance
        .customer_joins(&lsid, Customer::named("A"))
        .unwrap();
    appliance.wait_until_delivered(2).await.unwrap();
    assert_eq!(
        receiver.events(),
        ["begin", "begin", "member_added", "member_added"]
    );
    appliance.set_deliver_twice(false);

    appliance
        .representative_joins(&lsid, Representative::example())
        .unwrap();
    appliance.set_swap_neighbours(true);
    appliance.end_session(&lsid).unwrap();
    appliance
        .complete_representative_survey(&lsid, vec![SurveyAnswer::close_state("Resolved")])
        .unwrap();
    appliance.wait_until_delivered(6).await.unwrap();
    assert_eq!(receiver.events()[6..], ["rep_exit_survey_completed", "end"]);
    appliance
        .complete_customer_survey(&lsid, vec![SurveyAnswer::rating("3")])
        .unwrap();
    appliance.set_swap_neighbours(false);
    appliance.wait_until_delivered(7).await.unwrap();

    let fields = [
        ("event", "support_chat_begin"),
        ("lsid", lsid.as_str()),
        ("x", "ü"),
    ];
    let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned()));
    appliance.send_raw_event(
        EventKind::Other("support_chat_begin".into()),
        fields.to_vec(),
    );
    appliance.wait_until_delivered(8).await.unwrap();
    assert_eq!(receiver.forms().last().unwrap()["x"], "ü");
}

// ---------------------------------------------------------------- K: session generation, client scripts

#[tokio::test]
async fn customers_start_sessions_by_issue_representative_or_key() {
    let caller = start().await;
    let appliance = &caller.appliance;
    let issue = "/api/start_session?issue_menu=1&codeName=general_tech";
    let long = "n".repeat(101);
    // 342 characters, 1026 bytes.
    let details = "%E7%9A%84".repeat(342);
    for (query, error) in [
        (
            "/api/start_session".into(),
            "A representative, an issue or a session key is required.",
        ),
        (
            "/api/start_session?issue_menu=1".into(),
            "Give codeName or id of an issue, never both.",
        ),
        (
            format!("{issue}&id=10"),
            "Give codeName or id of an issue, never both.",
        ),
        (
            format!("{issue}&short_key=1234567"),
            "Give a session key or a queue, not both.",
        ),
        (
            format!("{issue}&ticket=88121"),
            "Unknown parameter 'ticket'.",
        ),
        (
            format!("{issue}&c2cjs=yes"),
            "The parameter 'c2cjs' must be one of: 0, 1.",
        ),
        (
            format!("{issue}&customer.name={long}"),
            "The parameter 'customer.name' must not exceed 100 characters.",
        ),
        (
            format!("{issue}&customer.details={details}"),
            "The parameter 'customer.details' must not exceed 1024 bytes.",
        ),
        (
            format!("{issue}&session.custom.unknown=1"),
            "The custom field 'unknown' does not exist.",
        ),
        (
            "/api/start_session?issue_menu=1&id=99".into(),
            "The issue could not be found.",
        ),
        (
            "/api/start_session?codeName=general_tech".into(),
            "The parameter 'codeName' needs issue_menu=1.",
        ),
        (
            "/api/start_session?id=151".into(),
            "The parameter 'name' is required.",
        ),
        (
            "/api/start_session?id=151&name=Somebody".into(),
            "The representative is not available.",
        ),
        (
            "/api/start_session?short_key=0000000".into(),
            "The session key is not valid.",
        ),
    ] {
        let answer = caller.get(&query).await;
        assert_eq!(answer.status, 400, "{query}");
        assert!(answer.body.contains(error), "{query}: {}", answer.body);
    }
    assert!(appliance.sessions().is_empty());

    let chat = caller
        .get(&format!("{issue}&customer.name=J%C3%BCrgen&customer.details=x&session.custom.external_key=88121&c2cjs=1"))
        .await;
    assert_eq!(
        (chat.status, chat.headers["content-type"].as_str()),
        (200, "text/html; charset=UTF-8")
    );
    let session = appliance.sessions().pop().unwrap();
    assert_eq!(
        (
            session.external_key.as_str(),
            session.customers[0].person.name.as_str()
        ),
        ("88121", "Jürgen")
    );
    assert_eq!(
        session.customers[0].person.issue,
        "General Technical Issues"
    );

    for path in [
        "/api/start_session.ns?id=151&name=Jane+D.",
        "/api/start_session?issue_menu=1&id=11&session.custom.external_key=7",
    ] {
        let before = appliance.sessions().len();
        let download = caller.get(path).await;
        assert!(download.headers["content-disposition"].starts_with("attachment; filename="));
        assert_eq!(
            appliance.sessions().len(),
            before,
            "it begins when the client runs"
        );
        appliance.run_customer_client(&download.body).unwrap();
        assert_eq!(appliance.sessions().len(), before + 1);
        assert!(appliance.run_customer_client(&download.body).is_err());
    }

    // By key: a form post, and the page behind key_url. The key's external key wins.
    let key = caller
        .key(&[("session.custom.external_key", "99")])
        .await
        .xml();
    let page = send(caller.http.get(&first(&key, "key_url").text)).await;
    let short_key = first(&key, "short_key").text.clone();
    assert!(page.body.contains(&short_key) && page.body.contains("Start chat"));
    let form = [
        ("short_key", short_key.as_str()),
        ("c2cjs", "1"),
        ("customer.name", "<b>Zoë</b>"),
    ];
    let chat = send(
        caller
            .http
            .post(caller.url("/api/start_session"))
            .form(&form),
    )
    .await;
    assert_eq!(chat.status, 200);
    let session = appliance.sessions().pop().unwrap();
    assert_eq!(session.external_key, "99");
    let again = send(
        caller
            .http
            .post(caller.url("/api/start_session"))
            .form(&form),
    )
    .await;
    assert!(again.status == 400 && again.body.contains("already used"));

    // The pages lead a person through the session.
    let act = async |path: &str, act: &str, text: &str| {
        let form = [("lsid", session.lsid.as_str()), ("do", act), ("text", text)];
        let page = send(caller.http.post(caller.url(path)).form(&form)).await;
        assert_eq!(page.status, 200, "{page:?}");
        page.body
    };
    act("/console", "join", "").await;
    assert!(
        act("/chat", "say", "<i>hello</i>")
            .await
            .contains("&lt;i&gt;hello&lt;/i&gt;")
    );
    assert!(
        act("/console", "note", "restarted")
            .await
            .contains("&lt;b&gt;Zoë&lt;/b&gt;")
    );
    act("/console", "end", "").await;
    act("/console", "survey", "Resolved").await;
    act("/chat", "survey", "4").await;
    let session = appliance.session(&session.lsid).unwrap();
    assert!(session.ended_at.is_some() && session.representative_survey.is_some());
    assert_eq!(session.customer_survey.unwrap().answers[0].answers, ["4"]);
}

#[tokio::test]
async fn client_scripts_log_in_first_and_carry_only_known_parameters() {
    let caller = start().await;
    let ask = async |query: &str| {
        caller
            .get(&format!(
                "/api/client_script?type=rep&operation=generate&{query}"
            ))
            .await
    };
    let jump = "action=start_jump_item_session&jump.method=pinned&search_string=LAPTOP%200042%26x&session.custom.external_key=%C3%BC%2B1";
    let answer = ask(jump).await;
    assert_eq!(answer.headers["content-type"], "application/octet-stream");
    assert_eq!(
        answer.headers["content-disposition"],
        "attachment; filename=\"start_jump_item_session.brcs-example\""
    );
    assert_eq!(answer.body, format!("BRCS1.0\naction=login\n{jump}\n"));
    let commands = read_script(&answer.body).unwrap();
    assert_eq!(
        commands[0].parameter("search_string"),
        Some("LAPTOP 0042&x")
    );
    let lsid = caller.appliance.run_client_script(&answer.body).unwrap();
    assert_eq!(caller.appliance.session(&lsid).unwrap().external_key, "ü+1");

    for query in [
        "action=start_pinned_client_session&search_string=a",
        "action=start_pinned_client_session&client.hostname=a",
        "action=start_jump_item_session&client.tag=a&credential_id=1",
        "action=push_and_start_local&hostname=a",
        "action=push_and_start_remote&target=a&jumpoint=HQ-Net",
        "action=start_rdp_session&target=a&jumpoint=b&username=c&display_size=1024x768&quality=low&console=yes",
        "action=start_vnc_session&target=a&port=5900",
        "action=start_shell_jump_session&target=a&protocol=telnet&port=23&terminal=vt100&username=u",
        "action=start_vpro_session&target=a&jumpoint=b",
        "action=generate_session_key&session.custom.external_key=1",
    ] {
        let expected = query
            .split('&')
            .next()
            .unwrap()
            .trim_start_matches("action=");
        let commands = read_script(&ask(query).await.body).unwrap();
        assert_eq!(commands[0].action, expected);
        let ns = format!("/api/client_script.ns?type=rep&operation=generate&{query}");
        assert_eq!(caller.get(&ns).await.status, 200);
    }
    let long = "a".repeat(256);
    for (query, error) in [
        (
            "action=login".into(),
            "The login command is added automatically and must not be given.",
        ),
        ("action=format_disk".into(), "Unknown action 'format_disk'."),
        (String::new(), "The parameter 'action' is required."),
        (
            "action=start_jump_item_session".into(),
            "A search field is required.",
        ),
        (
            "action=start_jump_item_session&search_string=a&jump.method=telepathy".into(),
            "The parameter 'jump.method' must be one of: push, local_push, pinned, rdp, vnc, shelljump.",
        ),
        (
            "action=start_jump_item_session&client.public_ip=1&jump.method=rdp".into(),
            "Only Jump Clients can be found by address.",
        ),
        (
            "action=push_and_start_local&target=a".into(),
            "Unknown parameter 'target'.",
        ),
        (
            format!("action=push_and_start_local&hostname={long}"),
            "The parameter 'hostname' must not exceed 255 characters.",
        ),
        (
            "action=push_and_start_remote&hostname=a".into(),
            "Unknown parameter 'hostname'.",
        ),
        (
            "action=start_rdp_session&target=a&user=b".into(),
            "Unknown parameter 'user'.",
        ),
        (
            "action=start_rdp_session&target=a&display_size=big".into(),
            "The parameter 'display_size' is not valid.",
        ),
        (
            "action=start_rdp_session&target=a&quality=best".into(),
            "The parameter 'quality' must be one of: low, performance, performance_quality, quality.",
        ),
        (
            "action=start_shell_jump_session&target=a&port=0".into(),
            "The parameter 'port' is out of range.",
        ),
        (
            "action=start_shell_jump_session&target=a&port=70000".into(),
            "The parameter 'port' must be an integer.",
        ),
        (
            "action=start_vpro_session&target=a".into(),
            "The parameter 'jumpoint' is required.",
        ),
        (
            "action=start_vnc_session&target=a&session.custom.x=1".into(),
            "The custom field 'x' does not exist.",
        ),
    ] {
        assert_eq!(ask(&query).await.error(), error, "{query}");
    }
    let execute =
        "/api/client_script?type=web_console&operation=execute&action=start_vnc_session&target=a";
    assert_eq!(
        caller.get(execute).await.error(),
        "The parameter 'type' must be one of: rep."
    );

    let ten = format!(
        "BRCS1.0\naction=login{}",
        "\naction=start_vnc_session&target=a".repeat(9)
    );
    assert_eq!(read_script(&ten).unwrap().len(), 9);
    for bad in [
        format!("{ten}\naction=x"),
        "BRCS1.0\naction=x".into(),
        "action=login".into(),
        "BRCS1.0\nx=y".into(),
    ] {
        assert!(read_script(&bad).is_err(), "{bad}");
    }
}

// ---------------------------------------------------------------- K: limits, v2

#[tokio::test]
async fn the_rate_limiter_counts_seconds_and_hours() {
    let caller = start_with(|options| options.rate_limits = Some(RateLimits::default())).await;
    let info = [("action", "get_api_info")];
    let answer = caller.command(&info).await;
    assert_eq!(answer.headers["x-ratelimit-limit"], "15000");
    assert_eq!(answer.headers["x-ratelimit-remaining"], "14999");
    // Forty at once: far more than fit into any second, and never more than 20 of one second answered.
    caller.appliance.clock().advance_seconds(2);
    let many = futures_util::future::join_all((0..40).map(|_| caller.command(&info))).await;
    let refused = many.iter().filter(|answer| answer.status == 429).count();
    assert!(refused >= 1, "none of 40 was refused");
    let passed = caller.appliance.requests();
    let passed: Vec<_> = passed
        .iter()
        .filter(|one| one.status == Some(200) && one.endpoint == Endpoint::Command)
        .collect();
    for one in &passed {
        let second = one.at_milliseconds..one.at_milliseconds + 900;
        assert!(
            passed
                .iter()
                .filter(|other| second.contains(&other.at_milliseconds))
                .count()
                <= 21
        );
    }
    caller.appliance.clock().advance_seconds(2);
    assert_eq!(caller.command(&info).await.status, 200);

    let few = RateLimits {
        per_second: 100,
        per_hour: 3,
    };
    let caller = start_with(|options| options.rate_limits = Some(few)).await;
    for status in [200, 200, 200, 429] {
        assert_eq!(caller.command(&info).await.status, status);
    }
    let refused = caller.v2(Method::GET, "/info", None).await;
    assert_eq!(
        (
            refused.status,
            refused.headers["x-ratelimit-remaining"].as_str()
        ),
        (429, "0")
    );
    caller.appliance.clock().advance_seconds(3599);
    caller.appliance.clock().advance_seconds(2);
    let caller = Caller {
        token: caller.new_token().await,
        ..caller
    };
    assert_eq!(caller.command(&info).await.status, 200);
}

#[tokio::test]
async fn command_v2_speaks_json_and_refuses_what_it_does_not_know() {
    let caller = start().await;
    let (get, post, patch, delete) = (Method::GET, Method::POST, Method::PATCH, Method::DELETE);
    let info = caller.v2(get.clone(), "/info", None).await.json();
    assert_eq!(info["product"], "rs");
    assert!(info["current_time"].as_str().unwrap().ends_with("+00:00"));
    let made = caller
        .v2(
            post.clone(),
            "/session-key",
            Some(json!({"rep_username": "jdoe", "external_key": "5"})),
        )
        .await;
    let lsid = caller
        .appliance
        .begin_session_with_key(made.json()["short_key"].as_str().unwrap())
        .unwrap();
    assert_eq!(caller.appliance.session(&lsid).unwrap().external_key, "5");

    let session = format!("/session/{lsid}");
    let set = caller
        .v2(
            patch.clone(),
            &session,
            Some(json!({"external_key": "88121", "asset_tag": "A"})),
        )
        .await;
    assert_eq!(
        (set.status, set.json()),
        (200, json!({"message": "Session attributes were set"}))
    );
    let attributes = caller.v2(get.clone(), &session, None).await.json();
    assert_eq!(
        attributes[0],
        json!({"code_name": "external_key", "display_name": "External Key", "value": "88121"})
    );
    assert_eq!(attributes[1]["display_name"], "Asset Tag");

    let many: serde_json::Map<_, _> = (0..31).map(|n| (format!("f{n}"), json!(""))).collect();
    let nowhere = format!("/session/{}", "0".repeat(32));
    for (method, path, body, status) in [
        (get.clone(), "/info?x=1", None, 400),
        (get.clone(), "/openapi", None, 404),
        (get.clone(), "/session/42", None, 400),
        (get.clone(), nowhere.as_str(), None, 404),
        (post.clone(), "/info", Some(json!({})), 405),
        (post.clone(), "/session-key", Some(json!({})), 400),
        (
            post.clone(),
            "/session-key",
            Some(json!({"rep_username": "jdoe", "colour": 1})),
            400,
        ),
        (
            post.clone(),
            "/session-key",
            Some(json!({"queue_type": "team", "queue_id": "3"})),
            400,
        ),
        (
            post.clone(),
            "/session-key",
            Some(json!({"queue_type": "team", "queue_id": 99})),
            422,
        ),
        (patch.clone(), &session, Some(json!({"nothing": "x"})), 400),
        (patch.clone(), &session, Some(Value::Object(many)), 400),
        (
            patch.clone(),
            &session,
            Some(json!({"external_key": 1})),
            422,
        ),
        (
            patch.clone(),
            &session,
            Some(json!({"external_key": "x".repeat(1025)})),
            422,
        ),
        (
            patch.clone(),
            &nowhere,
            Some(json!({"external_key": "1"})),
            404,
        ),
        (delete.clone(), &nowhere, None, 404),
    ] {
        let answer = caller.v2(method, path, body).await;
        assert_eq!(answer.status, status, "{path} {answer:?}");
        assert!(answer.json()["message"].is_string());
    }
    let url = caller.url("/api/command/v2/info");
    let no_accept = caller.http.get(&url).bearer_auth(&caller.token);
    assert_eq!(send(no_accept).await.status, 406);
    assert_access_denied(&send(caller.http.get(&url).header("accept", "application/json")).await);
    let as_form = caller
        .http
        .patch(caller.url(&format!("/api/command/v2{session}")));
    assert_eq!(
        send(
            as_form
                .bearer_auth(&caller.token)
                .form(&[("external_key", "1")])
        )
        .await
        .status,
        415
    );

    let ended = caller.v2(delete, &session, None).await;
    assert_eq!((ended.status, ended.body.as_str()), (204, ""));
    assert!(caller.appliance.session(&lsid).unwrap().ended_at.is_some());
    assert_eq!(
        caller
            .v2(patch, &session, Some(json!({"external_key": "1"})))
            .await
            .status,
        404
    );
}

// ---------------------------------------------------------------- recording, faults, stop

#[tokio::test]
async fn requests_are_recorded_and_awaited() {
    let caller = start().await;
    let appliance = caller.appliance.clone();
    let waiting = tokio::spawn(async move {
        appliance
            .wait_for_request(|request| request.is("SupportSession"))
            .await
            .unwrap()
    });
    caller.session_report(&"0".repeat(32)).await;
    let seen = waiting.await.unwrap();
    assert_eq!(
        (seen.endpoint, seen.authorization),
        (Endpoint::Reporting, AuthorizationKind::Bearer)
    );
    assert!(seen.connection_close);
    assert_eq!(seen.parameter("lsid"), Some("0".repeat(32).as_str()));
    let all = caller.appliance.requests();
    assert_eq!(
        (all[0].endpoint, all[0].authorization, all[0].status),
        (Endpoint::Token, AuthorizationKind::Basic, Some(200))
    );
    assert_eq!(
        caller
            .appliance
            .count(|request| request.endpoint == Endpoint::Reporting),
        1
    );
    caller
        .appliance
        .wait_for_count(2, |request| request.status == Some(200))
        .await
        .unwrap();
}

#[tokio::test]
async fn faults_strike_where_and_as_often_as_told() {
    let caller = start().await;
    let appliance = &caller.appliance;
    let info = [("action", "get_api_info")];
    appliance.fail_next(2, Fault::Status(503, "down".into()));
    for status in [503, 503, 200] {
        assert_eq!(caller.command(&info).await.status, status);
    }
    appliance
        .add_fault(FaultRule::next(1, Fault::ErrorDocument("a < b".into())).on("SupportSession"));
    assert_eq!(caller.command(&info).await.xml()[0].name, "get_api_info");
    assert_eq!(
        caller.session_report(&"0".repeat(32)).await.error(),
        "a < b"
    );

    appliance.add_fault(FaultRule::always(Fault::CloseConnection).at(Endpoint::Command));
    let request = || {
        caller
            .http
            .post(caller.url("/api/command"))
            .bearer_auth(&caller.token)
            .form(&info)
    };
    for _ in 0..2 {
        assert!(request().send().await.unwrap_err().is_request());
    }
    assert_eq!(
        caller.session_report(&"0".repeat(32)).await.error(),
        NO_REPORT
    );
    appliance.clear_faults();

    appliance.fail_next(1, Fault::Garbage);
    let garbage = request().send().await.unwrap();
    assert_eq!(garbage.status(), 200);
    let bytes = garbage.bytes().await.unwrap();
    assert!(std::str::from_utf8(&bytes).is_err() && bytes.starts_with(b"<?xml"));

    let limit = Duration::from_millis(300);
    appliance.fail_next(1, Fault::SlowBody);
    let slow = request().timeout(limit).send().await.unwrap();
    assert!(slow.text().await.unwrap_err().is_timeout());
    appliance.fail_next(1, Fault::Hang);
    assert!(
        request()
            .timeout(limit)
            .send()
            .await
            .unwrap_err()
            .is_timeout()
    );
    assert_eq!(appliance.requests().last().unwrap().status, None);
    assert_eq!(request().send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn it_stops_with_its_last_handle_even_with_a_request_under_way() {
    let caller = start().await;
    caller.appliance.fail_next(1, Fault::Hang);
    let hanging = caller.http.get(caller.url("/check_health")).send();
    let hanging = tokio::spawn(hanging);
    let seen = |request: &deskbridge_tests::appliance::RecordedRequest| {
        request.endpoint == Endpoint::Health
    };
    caller.appliance.wait_for_request(seen).await.unwrap();
    caller.appliance.stop().await;
    assert!(hanging.await.unwrap().is_err());
    assert!(
        caller
            .http
            .get(caller.url("/check_health"))
            .send()
            .await
            .unwrap_err()
            .is_connect()
    );

    let caller = start().await;
    let (url, second) = (caller.url("/check_health"), caller.appliance.clone());
    let Caller {
        appliance, http, ..
    } = caller;
    drop(appliance);
    assert_eq!(http.get(&url).send().await.unwrap().status(), 200);
    drop(second);
    while http.get(&url).send().await.is_ok() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_certificate_can_be_trusted_instead_of_ignored() {
    let caller = start().await;
    let pem = caller.appliance.certificate_pem().unwrap();
    let certificate = reqwest::Certificate::from_pem(pem.as_bytes()).unwrap();
    let trusting = reqwest::Client::builder()
        .tls_certs_only([certificate])
        .no_proxy()
        .build()
        .unwrap();
    assert_eq!(
        trusting
            .get(caller.url("/check_health"))
            .send()
            .await
            .unwrap()
            .status(),
        200
    );
    let strict = reqwest::Client::builder().no_proxy().build().unwrap();
    assert!(
        strict
            .get(caller.url("/check_health"))
            .send()
            .await
            .is_err()
    );
}
