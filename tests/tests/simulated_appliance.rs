//! Shows that the simulated appliance behaves as beyondtrust.md section K asks, row by row, through real HTTP.
//!
//! Must not reach into the appliance except by its control handle.

use std::collections::HashMap;
use std::future::{Ready, ready};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use deskbridge_tests::appliance::{
    ApiInfoStyle, Authentication, AuthorizationKind, CommandPermission, CustomField, CustomFieldNames, Customer, Endpoint, ErrorStyle,
    EventKind, ExpiresFormat, Fault, FaultRule, LagShape, NamespaceSpelling, NewSession, Options, Party, RateLimits, Recipient,
    RecordedRequest, ReportLag, Representative, SessionEvent, SessionScript, SimulatedAppliance, SurveyAnswer, SurveyTimestamp,
    TOKEN_LIMIT, TOKEN_SECONDS, read_script,
};
use deskbridge_tests::tls;
use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

const NO_REPORT: &str = "No Support report information matching your chosen criteria is available.";
const FORM: &str = "application/x-www-form-urlencoded";
const INFO: &str = "action=get_api_info";
const NOBODY: &str = "00000000000000000000000000000000";

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
        let error = error.unwrap_or_else(|| panic!("no error: {self:?}"));
        error.text.trim().to_owned()
    }

    /// The text of the first element of this name.
    fn text(&self, name: &str) -> String {
        first(&self.xml(), name).text.clone()
    }
}

async fn send(request: RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    let headers = response.headers().iter();
    let headers = headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().into()));
    Answer { status: response.status().as_u16(), headers: headers.collect(), body: response.text().await.unwrap() }
}

fn builder() -> reqwest::ClientBuilder {
    let no_redirects = reqwest::redirect::Policy::none();
    let builder = reqwest::Client::builder().redirect(no_redirects);
    builder.no_proxy().timeout(Duration::from_secs(20))
}

/// An appliance without rate limits, and a caller with a token.
async fn start() -> Caller {
    start_with(|_| {}).await
}

async fn start_with(change: impl FnOnce(&mut Options)) -> Caller {
    let mut options = Options { rate_limits: None, ..Options::default() };
    change(&mut options);
    let oauth = options.authentication != Authentication::UserAndPassword;
    let appliance = SimulatedAppliance::start(options).await.unwrap();
    let http = builder().tls_danger_accept_invalid_certs(true).build();
    let mut caller = Caller { appliance, http: http.unwrap(), token: String::new() };
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
        let request = request.header("content-type", FORM);
        let answer = send(request.body("grant_type=client_credentials")).await;
        answer.json()["access_token"].as_str().unwrap().to_owned()
    }

    /// A form post with nothing but its content type.
    fn post(&self, path: &str, form: &str) -> RequestBuilder {
        let request = self.http.post(self.url(path)).header("content-type", FORM);
        request.body(form.to_owned())
    }

    /// An API call as a good client makes it.
    async fn form(&self, path: &str, form: &str) -> Answer {
        let request = self.post(path, form).bearer_auth(&self.token);
        send(request.header("connection", "close")).await
    }

    async fn command(&self, form: &str) -> Answer {
        self.form("/api/command", form).await
    }

    /// A report; the form goes on after its name.
    async fn report(&self, rest: &str) -> Answer {
        let form = format!("generate_report={rest}");
        self.form("/api/reporting", &form).await
    }

    async fn session_report(&self, lsid: &str) -> Answer {
        self.report(&format!("SupportSession&lsid={lsid}")).await
    }

    /// A session key; what is given replaces the defaults.
    async fn key(&self, more: &str) -> Answer {
        let mut form = format!("action=generate_session_key&{more}");
        for default in ["type=support", "queue_id=general"] {
            let name = default.split('=').next().unwrap();
            if !more.contains(&format!("{name}=")) {
                form = format!("{form}&{default}");
            }
        }
        self.command(form.trim_end_matches('&')).await
    }

    /// A GET of a public address.
    async fn get(&self, path: &str) -> Answer {
        send(self.http.get(self.url(path))).await
    }

    async fn v2(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        let url = self.url(&format!("/api/command/v2{path}"));
        let request = self.http.request(method, url).bearer_auth(&self.token);
        let request = match body {
            Some(body) => request.json(&body),
            None => request.header("accept", "application/json"),
        };
        send(request).await
    }

    async fn is_valid(&self, token: &str) -> bool {
        let answer = send(self.post("/api/command", INFO).bearer_auth(token)).await;
        if answer.status == 200 {
            assert_eq!(answer.xml()[0].name, "get_api_info");
            return true;
        }
        assert_access_denied(&answer);
        false
    }
}

fn assert_access_denied(answer: &Answer) {
    assert_eq!(answer.status, 401);
    assert_eq!(answer.json()["error"], "access_denied");
}

/// Rows of a table in the text: what is sent `=>` what comes of it.
fn rows(table: &str) -> impl Iterator<Item = (&str, &str)> {
    let lines = table.lines().map(str::trim).filter(|line| !line.is_empty());
    lines
        .map(|line| line.split_once("=>").unwrap_or_else(|| panic!("no '=>' in {line}")))
        .map(|(sent, expected)| (sent.trim(), expected.trim()))
}

// ---------------------------------------------------------------- XML

#[derive(Debug, Default)]
struct Element {
    name: String,
    parent: String,
    attributes: HashMap<String, String>,
    text: String,
}

impl Element {
    fn has(&self, attribute: &str, value: &str) -> bool {
        self.attributes.get(attribute).is_some_and(|is| is == value)
    }
}

/// Every element in document order, by local name. Panics on malformed XML.
fn parse(xml: &str) -> Vec<Element> {
    let mut reader = Reader::from_str(xml);
    let mut elements: Vec<Element> = Vec::new();
    let mut open: Vec<usize> = Vec::new();
    loop {
        let event = reader.read_event();
        match event.unwrap_or_else(|error| panic!("{error}: {xml}")) {
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
                let reference = format!("&{};", reference.xml10_content());
                let text = quick_xml::escape::unescape(&reference).unwrap();
                elements[*open.last().unwrap()].text.push_str(&text);
            }
            Event::Eof => break,
            _ => {}
        }
    }
    assert!(open.is_empty(), "unclosed elements in {xml}");
    elements
}

fn element(tag: &BytesStart<'_>, elements: &[Element], open: &[usize]) -> Element {
    let attributes = tag.attributes().map(|attribute| {
        let attribute = attribute.unwrap();
        let value = quick_xml::escape::unescape(&attribute.value).unwrap();
        (attribute.key.as_ref().to_owned(), value.into_owned())
    });
    let parent = open.last().map(|parent| elements[*parent].name.clone());
    Element {
        name: tag.local_name().as_ref().to_owned(),
        parent: parent.unwrap_or_default(),
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
        let address = listener.local_addr().unwrap();
        let receiver = Self {
            url: format!("https://{address}/ERSPost?appliance=hq"),
            answer: Arc::new(Mutex::new(StatusCode::OK)),
            forms: Arc::default(),
        };
        let router = Router::new().fallback(Self::receive);
        let router = router.with_state(receiver.clone());
        let identity = tls::Identity::self_signed().unwrap();
        let served = tls::serve(listener, Some(identity), router, CancellationToken::new());
        tokio::spawn(served);
        receiver
    }

    fn receive(State(receiver): State<Self>, axum::Form(form): axum::Form<HashMap<String, String>>) -> Ready<StatusCode> {
        receiver.forms.lock().unwrap().push(form);
        ready(*receiver.answer.lock().unwrap())
    }

    fn answer(&self, status: u16) {
        *self.answer.lock().unwrap() = StatusCode::from_u16(status).unwrap();
    }

    fn forms(&self) -> Vec<HashMap<String, String>> {
        self.forms.lock().unwrap().clone()
    }

    /// The values of one field in the order they came.
    fn values(&self, field: &str) -> Vec<String> {
        self.forms().iter().map(|form| form[field].clone()).collect()
    }

    /// Event names in the order they came, without the prefix.
    fn events(&self) -> Vec<String> {
        let names = self.values("event").into_iter();
        names.map(|name| name.replace("support_conference_", "")).collect()
    }
}

// ---------------------------------------------------------------- K: tokens

#[tokio::test]
async fn tokens_come_by_basic_or_body_credentials_and_live_an_hour() {
    const BODY: &str = "grant_type=client_credentials&client_id=simulated-client";
    let caller = start().await;
    let whole = format!("{BODY}&client_secret=simulated-secret");
    let answer = send(caller.post("/oauth2/token", &whole)).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["expires_in"], TOKEN_SECONDS);
    assert_eq!(answer.json()["token_type"], "Bearer");

    for (sent, expected) in rows(
        "
        wrong            grant_type=client_credentials     => 401 invalid_client
                         grant_type=client_credentials     => 401 invalid_client
                         client_id=simulated-client        => 401 invalid_client
        simulated-secret client_id=a&client_secret=b       => 400 invalid_request
        simulated-secret grant_type=password               => 400 unsupported_grant_type
        simulated-secret grant_type=client_credentials&x=y => 400 invalid_request
        simulated-secret scope=all                         => 400 invalid_request
        ",
    ) {
        let (secret, form) = sent.split_once(' ').unwrap_or(("", sent));
        let mut request = caller.post("/oauth2/token", form.trim());
        if !secret.is_empty() {
            request = request.basic_auth("simulated-client", Some(secret));
        }
        let answer = send(request).await;
        let (status, error) = expected.split_once(' ').unwrap();
        assert_eq!(answer.status.to_string(), status, "{sent}");
        assert_eq!(answer.json()["error"], error, "{sent}");
        assert!(answer.json()["message"].is_string());
    }
    let as_json = caller.http.post(caller.url("/oauth2/token"));
    let as_json = as_json.json(&json!({"grant_type": "client_credentials"}));
    assert_eq!(send(as_json).await.json()["error"], "invalid_request");

    let token = caller.new_token().await;
    caller.appliance.clock().advance_seconds(TOKEN_SECONDS - 60);
    assert!(caller.is_valid(&token).await);
    caller.appliance.clock().advance_seconds(60);
    assert!(!caller.is_valid(&token).await);
}

#[tokio::test]
async fn a_rotated_secret_kills_its_tokens_and_the_31st_token_the_oldest() {
    let mut caller = start().await;
    let second = caller.new_token().await;
    for _ in 2..TOKEN_LIMIT {
        caller.new_token().await;
    }
    assert_eq!(caller.appliance.valid_tokens(), TOKEN_LIMIT);
    assert!(caller.is_valid(&caller.token).await);
    caller.new_token().await;
    assert!(!caller.is_valid(&caller.token).await);
    assert!(caller.is_valid(&second).await);
    assert_eq!(caller.appliance.valid_tokens(), TOKEN_LIMIT);

    let secret = caller.appliance.rotate_secret();
    assert!(!caller.is_valid(&second).await);
    caller.token = caller.new_token().await;
    assert!(caller.is_valid(&caller.token).await);
    assert_eq!(caller.appliance.options().client_secret, secret);
    caller.appliance.revoke_tokens();
    assert!(!caller.is_valid(&caller.token).await);
}

#[tokio::test]
async fn legacy_credentials_work_over_plain_http_and_fail_with_200() {
    let caller = start_with(|options| {
        options.authentication = Authentication::UserAndPassword;
        options.plain_http = true;
        options.product_version = "16.1.3 (40211)".into();
    })
    .await;
    assert!(caller.appliance.base_url().starts_with("http://"));
    let form = format!("{INFO}&username=integration&password=simulated-password");
    let right = send(caller.post("/api/command.ns", &form)).await;
    assert_eq!(right.text("company_name"), "example");
    let by_get = caller.get(&format!("/api/command?{form}")).await;
    assert_eq!(by_get.text("company_name"), "example");
    let wrong = send(caller.post("/api/command", &format!("{form}x"))).await;
    assert_eq!(wrong.error(), "Login failed");
    let none = caller.get("/api/reporting?generate_report=SupportSession").await;
    assert_eq!(none.error(), "Login failed");
    let recorded = &caller.appliance.requests()[0];
    assert_eq!(recorded.authorization, AuthorizationKind::Parameters);

    let impossible = Options { plain_http: true, ..Options::default() };
    let refused = SimulatedAppliance::start(impossible).await.err().unwrap();
    assert!(refused.to_string().contains("OAuth always uses TLS"));

    // Where OAuth alone is on, legacy credentials are none; where both are, either is good.
    let caller = start().await;
    assert_access_denied(&send(caller.post("/api/command", &form)).await);
    caller.appliance.change_options(|options| options.authentication = Authentication::Both);
    let legacy = send(caller.post("/api/command", &form)).await;
    assert_eq!(legacy.xml()[0].name, "get_api_info");
    assert!(caller.is_valid(&caller.token).await);
}

// ---------------------------------------------------------------- K: transport

#[tokio::test]
async fn both_paths_take_get_and_form_post_and_nothing_else() {
    let caller = start().await;
    for path in ["/api/command", "/api/command.ns"] {
        let answer = caller.form(path, INFO).await;
        assert_eq!(answer.text("api_version"), "1.24.1");
        assert_eq!(answer.headers["connection"], "close");
        let by_get = caller.http.get(caller.url(&format!("{path}?{INFO}")));
        let by_get = send(by_get.bearer_auth(&caller.token)).await;
        assert_eq!(by_get.xml()[0].name, "get_api_info");

        for content_type in ["multipart/form-data; boundary=b", "application/json", "text/plain"] {
            let post = caller.http.post(caller.url(path)).bearer_auth(&caller.token);
            let post = post.header("content-type", content_type).body(INFO);
            let expected = format!("The request must be of type {FORM}.");
            assert_eq!(send(post).await.error(), expected);
        }
        let put = caller.http.put(caller.url(path)).bearer_auth(&caller.token);
        assert_eq!(send(put).await.error(), "Only GET and POST are supported.");
        assert_access_denied(&send(caller.post(path, INFO)).await);
        assert_access_denied(&send(caller.post(path, INFO).bearer_auth("stale")).await);
    }
    for path in ["/api/reporting", "/api/reporting.ns"] {
        let form = "generate_report=SupportSession&start_time=0&duration=0";
        assert_eq!(caller.form(path, form).await.error(), NO_REPORT);
        assert_access_denied(&send(caller.post(path, form)).await);
    }
    assert_eq!(caller.get("/api/unknown").await.status, 404);
}

#[tokio::test]
async fn namespaces_come_in_four_spellings() {
    let caller = start().await;
    let lsid = caller.appliance.play(SessionScript::short("1")).unwrap();
    let mut seen = Vec::new();
    for spelling in NamespaceSpelling::ALL {
        let change = |options: &mut Options| options.namespaces = spelling;
        caller.appliance.change_options(change);
        let namespace = |answer: Answer| answer.xml()[0].attributes["xmlns"].clone();
        let command = namespace(caller.command(INFO).await);
        let report = namespace(caller.session_report(&lsid).await);
        let error = namespace(caller.session_report(NOBODY).await);
        assert_eq!(report, error);
        assert!(command.ends_with("/namespaces/API/command"));
        assert!(report.ends_with("/namespaces/API/reporting"));
        seen.push((command, report));
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 4);
}

#[tokio::test]
async fn errors_are_200_in_every_spelling() {
    let caller = start().await;
    for (style, root, tag) in [
        (ErrorStyle::Plain, "error", "<error xmlns=\""),
        (ErrorStyle::Decorated, "error", "<error\n"),
        (ErrorStyle::Nested, "session_key", "<error>"),
    ] {
        let change = |options: &mut Options| options.error_style = style;
        caller.appliance.change_options(change);
        let answer = caller.key("queue_id=rep_username:nobody").await;
        assert_eq!(answer.error(), "The specified queue could not be found.");
        assert_eq!(answer.xml()[0].name, root);
        assert!(answer.body.contains(tag), "{answer:?}");
        assert_eq!(caller.session_report(NOBODY).await.error(), NO_REPORT);
    }
}

#[tokio::test]
async fn what_is_not_known_is_refused() {
    let caller = start().await;
    let lsid = caller.appliance.play(SessionScript::short("1")).unwrap();
    for (form, error) in rows(
        "
        x=1 => The parameter 'action' is required.
        action=get_session_list => Unknown action 'get_session_list'.
        action=send_chat_message => The action 'send_chat_message' is not available on this simulated appliance.
        action=get_api_info&x=1 => Unknown parameter 'x'.
        action=get_api_info&username=a&password=b => Unknown parameter 'username'.
        action=get_api_info&action=get_api_info => The parameter 'action' was given more than once.
        action=get_support_teams&showmembers=yes => The parameter 'showmembers' must be one of: 0, 1.
        action=terminate_session => The parameter 'lsid' is required.
        action=terminate_session&lsid=42 => '42' is not a valid lsid.
        action=terminate_session&lsid=LSID => The specified session could not be found or is not active.
        ",
    ) {
        let form = form.replace("LSID", &lsid);
        assert_eq!(caller.command(&form).await.error(), error, "{form}");
    }
    let exactly_one = "Exactly one of lsid, lsids, start_date, start_time, end_date, end_time is required.";
    for (form, error) in rows(
        "
        AccessSession => Unknown report 'AccessSession'.
        Archive => The report 'Archive' is not available on this simulated appliance.
        SupportSession => EXACTLY_ONE
        SupportSession&lsid=LSID&end_time=0 => EXACTLY_ONE
        SupportSession&start_time=0&end_time=0&duration=0 => EXACTLY_ONE
        SupportSession&lsid=LSID&duration=0 => The parameter 'duration' needs a start or end.
        SupportSession&end_time=0 => The parameter 'duration' is required.
        SupportSession&end_time=0&duration=-1 => The parameter 'duration' is out of range.
        SupportSession&end_time=0&duration=P1D => The parameter 'duration' must be an integer.
        SupportSession&end_time=2024-12-03T15:26:05Z&duration=0 => The parameter 'end_time' must be a UNIX timestamp, not '2024-12-03T15:26:05Z'.
        SupportSession&start_date=1733239565&duration=0 => The parameter 'start_date' must be a date like 2024-12-03, not '1733239565'.
        SupportSession&lsid=l => 'l' is not a valid lsid.
        SupportSession&lsids=LSID,l => 'l' is not a valid lsid.
        SupportSession&lsid=LSID&external_key=1 => Unknown parameter 'external_key'.
        SupportSession&lsid=LSID&report_type=rep => Unknown parameter 'report_type'.
        SupportSession&lsid=LSID&limit=x => The parameter 'limit' is not simulated.
        SupportCustExitSurvey&lsid=LSID => The parameter 'report_type' is required.
        SupportRepExitSurvey&report_type=rep&end_time=0&duration=0 => The parameter 'id' is required.
        ",
    ) {
        let form = form.replace("LSID", &lsid);
        let error = error.replace("EXACTLY_ONE", exactly_one);
        assert_eq!(caller.report(&form).await.error(), error, "{form}");
    }

    caller.appliance.change_options(|options| {
        options.permissions.command = CommandPermission::ReadOnly;
        options.permissions.reporting_support = false;
    });
    let denied = "You do not have permission to perform this action.";
    assert_eq!(caller.key("").await.error(), denied);
    let denied = "You do not have permission to view support session reports.";
    assert_eq!(caller.session_report(&lsid).await.error(), denied);
    assert_eq!(caller.command(INFO).await.text("permission"), "read_only");
}

// ---------------------------------------------------------------- K: commands

#[tokio::test]
async fn api_info_representatives_teams_and_health_have_the_documented_shapes() {
    let caller = start().await;
    let appliance = &caller.appliance;
    appliance.clock().set_offset_seconds(-90);
    let info = caller.command(INFO).await;
    let told: i64 = info.text("timestamp").parse().unwrap();
    let clock = appliance.clock().now();
    assert!((clock - told).abs() <= 30, "{told} is not the appliance's {clock}");
    let info = info.xml();
    let command = info.iter().find(|element| element.has("name", "perm_command"));
    assert_eq!(command.unwrap().text, "full_access");
    appliance.change_options(|options| options.api_info_style = ApiInfoStyle::LEGACY);
    let info = caller.command(INFO).await.xml();
    assert_eq!(info[0].name, "api_information");
    let mut permissions = texts(&info, "name").into_iter().zip(texts(&info, "value"));
    assert!(permissions.any(|pair| pair == ("perm_command", "full_access")));

    let lsid = appliance.begin_session(NewSession::default());
    let jane = Representative::example();
    appliance.representative_joins(&lsid, jane).unwrap();
    let reps = caller.command("action=get_logged_in_reps").await.xml();
    assert_eq!(texts(&reps, "private_display_name"), ["Jane Doe (T2)", "森 健二 (T1)"]);
    assert_eq!(texts(&reps, "support_session_count"), ["1", "0"]);
    assert!(first(&reps, "direct_link").text.contains("name=Jane%20D."));
    appliance.change_options(|options| options.representatives[1].logged_in = false);
    let reps = caller.command("action=get_logged_in_reps").await.xml();
    assert_eq!(first(&reps, "rep").attributes["id"], "151");
    assert_eq!(texts(&reps, "rep").len(), 1);

    let teams = caller.command("action=get_support_teams&showmembers=1").await.xml();
    assert_eq!(texts(&teams, "name"), ["Service Desk", "Netzwerk & VPN"]);
    assert_eq!(texts(&teams, "code_name"), ["general_tech", "email", "vpn"]);
    assert_eq!(texts(&teams, "representative").len(), 3);
    let teams = caller.command("action=get_support_teams").await.xml();
    assert!(texts(&teams, "representative").is_empty());

    for (version, tells_company) in [("24.2.4 (58213)", true), ("24.3.1", false), ("25.3.2 (61034)", false)] {
        appliance.change_options(|options| options.product_version = version.into());
        assert_eq!(caller.command("action=check_health").await.text("version"), version);
        let info = caller.command("action=get_api_info").await.xml();
        assert_eq!(texts(&info, "company_name").is_empty(), !tells_company, "{version}");
    }

    for (healthy, status, success) in [(true, 200, "1"), (false, 500, "0")] {
        appliance.set_healthy(healthy);
        assert_eq!(caller.get("/check_health").await.status, status);
        let health = caller.command("action=check_health").await;
        assert_eq!(health.text("success"), success);
    }
}

#[tokio::test]
async fn session_keys_have_seven_digits_expire_and_carry_their_external_key() {
    let caller = start().await;
    let appliance = &caller.appliance;
    let key = caller
        .key("ttl=1800&queue_id=rep_username%3Ajdoe&session.custom.external_key=88121&session.custom.asset_tag=A-0042&session.priority=1&session.skills=outlook,vpn")
        .await;
    let short_key = key.text("short_key");
    assert!(short_key.len() == 7 && short_key.bytes().all(|byte| byte.is_ascii_digit()));
    let key_url = key.text("key_url");
    assert!(key_url.starts_with(&format!("{}/?ak=", appliance.base_url())));
    assert!(key.text("mail_body").contains(&key_url));
    assert!(!key.text("mail_subject").is_empty());

    let lsid = appliance.begin_session_with_key(&short_key).unwrap();
    let session = appliance.session(&lsid).unwrap();
    assert_eq!(session.external_key, "88121");
    let asset_tag = ("asset_tag".to_owned(), "A-0042".to_owned());
    assert_eq!(session.custom_attributes, [asset_tag]);
    let used = appliance.begin_session_with_key(&short_key).unwrap_err();
    assert_eq!(used.to_string(), "The session key was already used.");

    let short_key = caller.key("ttl=60").await.text("short_key");
    appliance.clock().advance_seconds(61);
    let expired = appliance.begin_session_with_key(&short_key).unwrap_err();
    assert_eq!(expired.to_string(), "The session key has expired.");

    for (format, attribute, is_iso) in [
        (ExpiresFormat::TsAttribute, Some("ts"), true),
        (ExpiresFormat::TimestampAttribute, Some("timestamp"), true),
        (ExpiresFormat::UnixText, None, false),
        (ExpiresFormat::IsoText, None, true),
    ] {
        appliance.change_options(|options| options.expires_format = format);
        let key = caller.key("ttl=1800").await.xml();
        let expires = first(&key, "expires");
        assert_eq!(expires.text.ends_with("+00:00"), is_iso, "{expires:?}");
        let unix = attribute.map_or(&expires.text, |name| &expires.attributes[name]);
        if format != ExpiresFormat::IsoText {
            let left = unix.parse::<i64>().unwrap() - appliance.clock().now();
            assert!((1770..=1800).contains(&left), "{left}");
        }
    }
    let elsewhere = caller.key("url_hostname=help.example.com").await;
    let expected = "https://help.example.com/?ak=";
    assert!(elsewhere.text("key_url").starts_with(expected));
    for queue in ["general", "rep:151", "team:3", "issue:vpn"] {
        let key = caller.key(&format!("queue_id={queue}")).await;
        assert_eq!(key.xml()[0].name, "session_key");
    }
}

#[tokio::test]
async fn session_keys_are_refused_by_queue_and_limits() {
    let caller = start_with(|options| {
        let field = |number| CustomField::new(&format!("f{number}"), "Field");
        options.custom_fields.extend((0..10).map(field));
    })
    .await;
    // 1024 characters each, 10 KB together.
    let kilobyte = |number| format!("session.custom.f{number}={}", "x".repeat(1024));
    let ten_kilobytes = (0..10).map(kilobyte).collect::<Vec<_>>().join("&");
    assert_eq!(caller.key(&ten_kilobytes).await.xml()[0].name, "session_key");
    for (more, error) in rows(
        "
        queue_id=team:99 => The specified queue could not be found.
        queue_id=issue:nothing => The specified queue could not be found.
        queue_id=everybody => The specified queue could not be found.
        queue_id= => The parameter 'queue_id' is empty.
        type=presentation => The parameter 'type' must be one of: support.
        ttl=soon => The parameter 'ttl' must be an integer.
        ttl=0 => The parameter 'ttl' is out of range.
        session.priority=9 => The parameter 'session.priority' must be one of: 1, 2, 3.
        url_hostname=a/b => The URL hostname is not valid.
        external_key=1 => Unknown parameter 'external_key'.
        session.custom.nothing=1 => The custom field 'nothing' does not exist.
        session.custom.external_key=1025 => The parameter 'external_key' must not exceed 1024 characters.
        session.custom.external_key=x&TEN_KILOBYTES => The parameter 'session.custom' must not exceed 10240 bytes.
        ",
    ) {
        let sent = more.replace("TEN_KILOBYTES", &ten_kilobytes);
        let sent = sent.replace("1025", &"%C3%A4".repeat(1025));
        assert_eq!(caller.key(&sent).await.error(), error, "{more}");
    }
    let two_users = |options: &mut Options| options.representatives[1].username = "jdoe".into();
    caller.appliance.change_options(two_users);
    let ambiguous = caller.key("queue_id=rep_username:jdoe").await;
    assert_eq!(ambiguous.error(), "The specified queue could not be found.");
}

#[tokio::test]
async fn session_attributes_change_active_sessions_and_later_events() {
    let caller = start().await;
    let receiver = Receiver::start().await;
    let mut recipient = Recipient::new(&receiver.url);
    recipient.send_custom_fields = CustomFieldNames::Prefixed;
    caller.appliance.set_recipient(recipient);
    let new = NewSession::with_external_key("{\"title\":\"new\"}");
    let lsid = caller.appliance.begin_session(new);
    let customer = Customer::named("Jürgen Groß");
    caller.appliance.customer_joins(&lsid, customer).unwrap();

    let act = async |action: &str, more: &str| {
        let form = format!("action={action}&lsid={lsid}{more}");
        caller.command(&form).await
    };
    let attributes = async || {
        let answer = act("get_session_attributes", "").await.xml();
        let one = |element: &Element| format!("{}={}", element.attributes["code_name"], element.text);
        let attributes = answer.iter().filter(|element| element.name == "custom_attribute");
        attributes.map(one).collect::<Vec<_>>()
    };
    let both = "&session.custom.external_key=4711&session.custom.asset_tag=A-1";
    let set = act("set_session_attributes", both).await;
    assert_eq!(set.text("success"), "Session attributes were set");
    assert_eq!(attributes().await, ["external_key=4711", "asset_tag=A-1"]);
    // An omitted field keeps its value, an empty one is cleared.
    act("set_session_attributes", "&session.custom.asset_tag=").await.xml();
    assert_eq!(attributes().await, ["external_key=4711"]);
    act("set_session_attributes", "&session.custom.asset_tag=A-2").await.xml();

    for (sent, expected) in rows(
        "
        set_session_attributes &x=1 => Unknown parameter 'x'.
        set_session_attributes &session.custom.x=1 => The custom field 'x' does not exist.
        join_session &rep_username=jdoe => Representative successfully added
        join_session &rep_id=999 => The specified representative could not be found.
        join_session &rep_id=151&rep_username=jdoe => Exactly one of rep_id, rep_username is required.
        transfer_session &queue_id=team:3 => Successfully transferred
        transfer_session &queue_id=general => The specified queue could not be found.
        terminate_session &x=1 => Unknown parameter 'x'.
        ",
    ) {
        let (action, more) = sent.split_once(' ').unwrap();
        let elements = act(action, more).await.xml();
        assert_eq!(elements[0].text, expected, "{sent}");
    }
    let ended = act("terminate_session", "").await;
    assert_eq!(ended.text("success"), "Successfully terminated");
    for action in ["get_session_attributes", "terminate_session"] {
        assert!(act(action, "").await.error().contains("not active"));
    }

    caller.appliance.outbound_idle().await.unwrap();
    let joined = ["begin", "member_added", "owner_changed", "member_added"];
    assert_eq!(receiver.events()[..4], joined);
    assert_eq!(receiver.events()[4..], ["owner_changed", "end"]);
    let keys = receiver.values("external_key");
    assert_eq!(keys[..2], ["{\"title\":\"new\"}", "{\"title\":\"new\"}"]);
    assert_eq!(keys[2..], ["4711"; 4]);
    assert_eq!(receiver.forms()[5]["session.custom.asset_tag"], "A-2");
}

// ---------------------------------------------------------------- K: reports

#[tokio::test]
async fn a_session_lives_in_order_and_is_reported() {
    let caller = start().await;
    let receiver = Receiver::start().await;
    caller.appliance.set_recipient(Recipient::new(&receiver.url));
    let lsid = caller.appliance.play(SessionScript::example("88121")).unwrap();
    caller.appliance.wait_until_delivered(7).await.unwrap();
    let joined = ["begin", "member_added", "owner_changed", "member_added"];
    assert_eq!(receiver.events()[..4], joined);
    let ended = ["end", "rep_exit_survey_completed", "customer_exit_survey_completed"];
    assert_eq!(receiver.events()[4..], ended);
    for form in receiver.forms() {
        assert_eq!((&form["lsid"], form["external_key"].as_str()), (&lsid, "88121"));
        assert_eq!(form["appliance_id"], "9d2c0b7e5a1f4c3e8b6a7d5c4b3a2f10");
        assert!(form["timestamp"].parse::<i64>().is_ok() && form["version"] == "7");
    }
    let forms = receiver.forms();
    assert_eq!((&*forms[1]["type"], &*forms[1]["name"]), ("customer", "Jürgen Groß"));
    assert_eq!(forms[2]["conference_id"], "151");
    assert_eq!((&*forms[3]["type"], &*forms[3]["username"]), ("representative", "jdoe"));

    let report = caller.session_report(&lsid).await.xml();
    assert_eq!(first(&report, "session").attributes["lsid"], lsid);
    assert_eq!(first(&report, "external_key").text, "88121");
    assert!(first(&report, "custom_attribute").has("display_name", "Asset Tag"));
    let unix = |name| first(&report, name).attributes["timestamp"].parse::<i64>().unwrap();
    let seconds = unix("end_time") - unix("start_time");
    let duration = format!("00:{:02}:{:02}", seconds / 60, seconds % 60);
    assert_eq!(first(&report, "duration").text, duration);
    assert_eq!(first(&report, "file_transfer_count").text, "2");
    assert_eq!(first(&report, "primary_customer").text, "Jürgen Groß");
    assert_eq!(first(&report, "primary_rep").attributes["id"], "151");
    let bodies = texts(&report, "body");
    assert!(bodies.contains(&"Guten Tag, ich sehe mir das an <sofort> & melde mich."));
    assert!(bodies.contains(&"Коллега из Варны видит то же самое: «профиль не найден»."));
    let url = &first(&report, "session_chat_download_url").text;
    assert!(send(caller.http.get(url)).await.body.contains("了解しました"));

    let listing = caller.report("SupportSessionListing&end_time=0&duration=0").await;
    let listing = listing.xml();
    assert_eq!(listing[0].name, "session_summary_list");
    assert!(first(&listing, "session_summary").has("lsid", &lsid));
    assert!(first(&listing, "session_summary").has("has_recording", "1"));
}

#[tokio::test]
async fn reports_are_found_by_time_as_documented() {
    let caller = start().await;
    let ended = caller.appliance.play(SessionScript::short("1")).unwrap();
    let mut script = SessionScript::short("");
    script.steps.pop();
    let open = caller.appliance.play(script).unwrap();
    let session = caller.appliance.session(&ended).unwrap();
    let end = session.ended_at.unwrap();
    for (selection, expected) in rows(
        "
        start_time=START&duration=0 => ENDED OPEN
        end_time=END&duration=0 => ENDED
        end_time=END&duration=1 => ENDED
        end_time=AFTER&duration=0 =>
        end_time=BEFORE&duration=50 =>
        end_date=1970-01-02&duration=0 => ENDED
        end_date=1970-01-02&duration=30 =>
        start_date=1970-01-02&duration=0 => ENDED OPEN
        lsids=ENDED,OPEN&locale=en-us => ENDED OPEN
        lsid=OPEN => OPEN
        ",
    ) {
        let replace = |text: &str| {
            let text = text.replace("START", &session.started_at.to_string());
            let text = text.replace("AFTER", &(end + 1).to_string());
            let text = text.replace("BEFORE", &(end - 100).to_string());
            let text = text.replace("ENDED", &ended).replace("OPEN", &open);
            text.replace("END", &end.to_string())
        };
        for report in ["SupportSession", "SupportSessionListing"] {
            let form = format!("{report}&{}", replace(selection));
            let answer = caller.report(&form).await;
            if expected.is_empty() {
                assert_eq!(answer.error(), NO_REPORT, "{form}");
                continue;
            }
            let elements = answer.xml();
            let lsids = elements.iter().filter_map(|element| element.attributes.get("lsid"));
            let lsids: Vec<_> = lsids.map(String::as_str).collect();
            assert_eq!(lsids.join(" "), replace(expected), "{form}");
        }
    }
    let open = caller.session_report(&open.to_uppercase()).await.xml();
    assert!(texts(&open, "end_time").is_empty());
    assert!(texts(&open, "session_chat_view_url").is_empty());
    assert_eq!(first(&open, "external_key").text, "");
}

#[tokio::test]
async fn reports_lag_by_requests_or_until_released() {
    let caller = start().await;
    for shape in [LagShape::NoReport, LagShape::NoEndTime] {
        let lag = ReportLag { shape, requests: 2, survey_requests: 1 };
        caller.appliance.change_options(|options| options.report_lag = lag);
        let lsid = caller.appliance.play(SessionScript::example("1")).unwrap();
        for complete in [false, false, true] {
            let report = caller.session_report(&lsid).await;
            assert_eq!(report.body.contains("<end_time"), complete);
        }
        let survey = format!("SupportRepExitSurvey&report_type=rep&lsid={lsid}");
        assert_eq!(caller.report(&survey).await.error(), NO_REPORT);
        assert_eq!(caller.report(&survey).await.text("answer"), "Resolved");

        caller.appliance.hold_reports();
        let ended = caller.report("SupportSession&end_time=0&duration=0").await;
        assert_eq!(ended.error(), NO_REPORT);
        assert_eq!(caller.report(&survey).await.error(), NO_REPORT);
        let held = caller.session_report(&lsid).await;
        if shape == LagShape::NoReport {
            assert_eq!(held.error(), NO_REPORT);
        } else {
            let held = held.xml();
            assert!(texts(&held, "end_time").is_empty());
            assert!(held.iter().any(|element| element.has("event_type", "Chat Message")));
            assert!(!held.iter().any(|element| element.has("event_type", "Session End")));
        }
        caller.appliance.release_reports();
        let report = caller.session_report(&lsid).await.xml();
        assert_eq!(texts(&report, "end_time").len(), 1);
    }
}

#[tokio::test]
async fn surveys_are_found_by_lsid_and_by_time() {
    let caller = start().await;
    let appliance = &caller.appliance;
    let lsid = appliance.play(SessionScript::short("1")).unwrap();
    let by_lsid = format!("report_type=rep&lsid={lsid}");
    let by_time = "report_type=rep&id=all&end_time=0&duration=0";
    let nothing = caller.report(&format!("SupportCustExitSurvey&{by_lsid}")).await;
    assert_eq!(nothing.error(), NO_REPORT);

    let answers = vec![SurveyAnswer::rating("5"), SurveyAnswer::comments("")];
    appliance.complete_customer_survey(&lsid, answers.clone()).unwrap();
    assert!(appliance.complete_customer_survey(&lsid, answers).is_err());
    let answers = vec![SurveyAnswer::close_state("Escalate")];
    appliance.complete_representative_survey(&lsid, answers).unwrap();
    for (report, kind, by, answer, questions) in
        [("SupportCustExitSurvey", "customer", "John Smith", "5", 2), ("SupportRepExitSurvey", "rep", "Jane D.", "Escalate", 1)]
    {
        for selection in [&by_lsid, by_time] {
            let survey = caller.report(&format!("{report}&{selection}")).await.xml();
            assert!(first(&survey, "exit_survey").has("lsid", &lsid));
            assert!(first(&survey, "exit_survey").attributes.contains_key("timestamp"));
            assert!(first(&survey, "submitted_by").has("type", kind));
            assert_eq!(first(&survey, "submitted_by").text, by);
            assert_eq!(texts(&survey, "answer"), [answer]);
            assert_eq!(texts(&survey, "question").len(), questions);
        }
    }
    let other = "SupportCustExitSurvey&report_type=rep&id=152&start_time=0&duration=0";
    assert_eq!(caller.report(other).await.error(), NO_REPORT);
    appliance.change_options(|options| {
        options.surveys_by_lsid = false;
        options.survey_timestamp = SurveyTimestamp::Ts;
    });
    let refused = caller.report(&format!("SupportCustExitSurvey&{by_lsid}")).await;
    assert_eq!(refused.error(), "Unknown parameter 'lsid'.");
    let survey = caller.report(&format!("SupportCustExitSurvey&{by_time}")).await;
    assert!(first(&survey.xml(), "exit_survey").attributes.contains_key("ts"));
}

#[tokio::test]
async fn nasty_data_arrives_as_well_formed_xml() {
    let caller = start().await;
    let script = SessionScript::at_the_limits("5-Ж");
    let lsid = caller.appliance.play(script).unwrap();
    let report = caller.session_report(&lsid).await.xml();
    let of_type = |prefix: &str| {
        let types = report.iter().filter_map(|element| element.attributes.get("event_type"));
        types.filter(|name| name.starts_with(prefix)).count()
    };
    assert!(of_type("") >= 300, "{} events", of_type(""));
    assert!(of_type("Quantum Clipboard Synchronized") >= 25, "unknown event types");
    assert_eq!(first(&report, "external_key").text, "5-Ж");
    assert_eq!(first(&report, "jump_group").attributes["id"], "-1");
    let addresses = texts(&report, "public_ip");
    assert!(addresses.contains(&"[2001:db8:85a3::8a2e:370:7334]:61606"));
    assert!(addresses.contains(&"Unknown"));
    assert_eq!(texts(&report, "invited"), ["1"]);

    let bodies = texts(&report, "body");
    let bytes: usize = bodies.iter().map(|body| body.len()).sum();
    assert!((180_000..260_000).contains(&bytes), "{bytes} bytes of chat");
    let any = |fits: &dyn Fn(&&str) -> bool| bodies.iter().any(fits);
    assert!(any(&|body| body.contains("{{ticket.title}}") && body.contains("<script>")));
    assert!(any(&|body| body.contains("\r\nsecond line\ttab")));
    assert!(any(&|body| body.len() > 1000 && !body.contains(' ')), "a long line");
    let encoded = texts(&report, "encoded_body").into_iter();
    let decoded: Vec<_> = encoded.map(|text| STANDARD.decode(text).unwrap()).collect();
    assert!(decoded.contains(&b"c\ra\x18d".to_vec()));
    assert!(decoded.iter().any(|bytes| std::str::from_utf8(bytes).is_err()));

    let fields = report.iter().filter(|element| element.name == "field");
    let by = |name| fields.clone().filter(|field| field.attributes.contains_key(name)).count();
    assert!(by("id") > 0 && by("name") > 0 && by("id") + by("name") == fields.clone().count());
    let below = |parent: &str| {
        let names = report.iter().filter(|element| element.name == "filename");
        names.filter(|element| element.parent == parent).count()
    };
    let modern = report.iter().filter(|element| element.has("name", "filename")).count();
    let shapes = [below("event"), below("file"), modern];
    assert!(shapes.iter().all(|count| *count >= 10), "{shapes:?}");

    let nobody = SessionEvent::chat(Party::CUSTOMER, "I am not here");
    let lsid = caller.appliance.begin_session(NewSession::default());
    assert!(caller.appliance.happens(&lsid, nobody).is_err());
}

// ---------------------------------------------------------------- K: outbound queue

#[tokio::test]
async fn only_exactly_200_passes_and_everything_else_blocks_in_order() {
    let caller = start().await;
    let receiver = Receiver::start().await;
    let appliance = &caller.appliance;
    let mut recipient = Recipient::new(&receiver.url);
    recipient.retry_interval = Duration::from_hours(1);
    let blocking = [201, 204, 302, 404, 503];
    receiver.answer(blocking[0]);
    appliance.set_recipient(recipient.clone());
    let lsid = appliance.play(SessionScript::short("1")).unwrap();
    for status in blocking {
        receiver.answer(status);
        appliance.retry_now();
        let text = format!("HTTP status {status}");
        appliance.wait_for_recipient(|now| now.status == text).await.unwrap();
        assert!(receiver.events().iter().all(|event| event == "begin"), "the head blocks");
        let status = appliance.recipient_status().unwrap();
        assert_eq!((status.queued, status.delivered, status.dropped), (5, 0, 0));
    }

    // Unreachable, then back: the queue stays.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = listener.local_addr().unwrap();
    drop(listener);
    appliance.set_recipient(Recipient { url: format!("https://{closed}/ERSPost"), ..recipient.clone() });
    appliance.wait_for_recipient(|now| now.status.contains("error")).await.unwrap();
    receiver.answer(200);
    appliance.set_recipient(recipient);
    appliance.outbound_idle().await.unwrap();
    let status = appliance.recipient_status().unwrap();
    assert_eq!((&*status.status, status.delivered, status.dropped), ("OK", 5, 0));
    let events = receiver.events();
    let in_order = ["begin", "member_added", "owner_changed", "member_added", "end"];
    assert_eq!(events[events.len() - 5..], in_order);
    let attempts = appliance.attempts();
    assert!(attempts.iter().all(|attempt| attempt.lsid == lsid));
    assert!(attempts.iter().any(|attempt| attempt.outcome.is_err()));
    assert_eq!(attempts.last().unwrap().outcome, Ok(200));
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
    let appliance = &caller.appliance;
    appliance.set_recipient(recipient);
    let lsid = appliance.play(SessionScript::short("1")).unwrap();
    appliance.wait_for_recipient(|now| now.dropped == 1).await.unwrap();
    assert!(receiver.forms().len() >= 2, "it was retried");
    assert!(receiver.events().iter().all(|event| event == "end"), "only chosen events");
    receiver.answer(200);
    let answers = vec![SurveyAnswer::rating("1")];
    appliance.complete_customer_survey(&lsid, answers).unwrap();
    appliance.wait_until_delivered(1).await.unwrap();
    assert_eq!(receiver.events().last().unwrap(), "customer_exit_survey_completed");
}

#[tokio::test]
async fn events_can_come_twice_swapped_or_unknown() {
    let caller = start().await;
    let receiver = Receiver::start().await;
    let appliance = &caller.appliance;
    appliance.set_recipient(Recipient::new(&receiver.url));
    appliance.set_deliver_twice(true);
    let lsid = appliance.begin_session(NewSession::with_external_key("1"));
    appliance.customer_joins(&lsid, Customer::named("A")).unwrap();
    appliance.wait_until_delivered(2).await.unwrap();
    assert_eq!(receiver.events(), ["begin", "begin", "member_added", "member_added"]);
    appliance.set_deliver_twice(false);

    appliance.representative_joins(&lsid, Representative::example()).unwrap();
    appliance.set_swap_neighbours(true);
    appliance.end_session(&lsid).unwrap();
    let answers = vec![SurveyAnswer::close_state("Resolved")];
    appliance.complete_representative_survey(&lsid, answers).unwrap();
    appliance.wait_until_delivered(6).await.unwrap();
    assert_eq!(receiver.events()[6..], ["rep_exit_survey_completed", "end"]);
    // The third has no neighbour: it waits until swapping is switched off.
    let answers = vec![SurveyAnswer::rating("3")];
    appliance.complete_customer_survey(&lsid, answers).unwrap();
    appliance.set_swap_neighbours(false);
    appliance.wait_until_delivered(7).await.unwrap();

    let fields = [("event", "support_chat_begin"), ("lsid", &lsid), ("x", "ü")];
    let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let kind = EventKind::Other("support_chat_begin".into());
    appliance.send_raw_event(kind, fields.to_vec());
    appliance.wait_until_delivered(8).await.unwrap();
    assert_eq!(receiver.forms().last().unwrap()["x"], "ü");
}

// ---------------------------------------------------------------- K: session generation, client scripts

#[tokio::test]
async fn a_session_start_is_refused_unless_it_names_one_way() {
    let caller = start().await;
    for (query, error) in rows(
        "
        c2cjs=1 => A representative, an issue or a session key is required.
        issue_menu=1 => Give codeName or id of an issue, never both.
        ISSUE&id=10 => Give codeName or id of an issue, never both.
        ISSUE&short_key=1234567 => Give a session key or a queue, not both.
        ISSUE&ticket=88121 => Unknown parameter 'ticket'.
        ISSUE&c2cjs=yes => The parameter 'c2cjs' must be one of: 0, 1.
        ISSUE&customer.name=101 => The parameter 'customer.name' must not exceed 100 characters.
        ISSUE&customer.details=1026 => The parameter 'customer.details' must not exceed 1024 bytes.
        ISSUE&session.custom.unknown=1 => The custom field 'unknown' does not exist.
        issue_menu=1&id=99 => The issue could not be found.
        codeName=general_tech => The parameter 'codeName' needs issue_menu=1.
        id=151 => The parameter 'name' is required.
        id=151&name=Somebody => The representative is not available.
        short_key=0000000 => The session key is not valid.
        ",
    ) {
        let query = query.replace("ISSUE", "issue_menu=1&codeName=general_tech");
        let query = query.replace("=101", &format!("={}", "n".repeat(101)));
        // 342 characters, 1026 bytes.
        let query = query.replace("=1026", &format!("={}", "%E7%9A%84".repeat(342)));
        let answer = caller.get(&format!("/api/start_session?{query}")).await;
        assert_eq!(answer.status, 400, "{query}");
        assert!(answer.body.contains(error), "{query}: {}", answer.body);
    }
    assert!(caller.appliance.sessions().is_empty());
}

#[tokio::test]
async fn customers_start_sessions_by_issue_representative_or_key() {
    let caller = start().await;
    let appliance = &caller.appliance;
    let chat = caller
        .get("/api/start_session?issue_menu=1&codeName=general_tech&customer.name=J%C3%BCrgen&session.custom.external_key=88121&c2cjs=1")
        .await;
    assert_eq!((chat.status, &*chat.headers["content-type"]), (200, "text/html; charset=UTF-8"));
    let session = appliance.sessions().pop().unwrap();
    assert_eq!(session.external_key, "88121");
    assert_eq!(session.customers[0].person.name, "Jürgen");
    assert_eq!(session.customers[0].person.issue, "General Technical Issues");

    for path in ["/api/start_session.ns?id=151&name=Jane+D.", "/api/start_session?issue_menu=1&id=11"] {
        let before = appliance.sessions().len();
        let download = caller.get(path).await;
        assert!(download.headers["content-disposition"].starts_with("attachment; filename="));
        assert_eq!(appliance.sessions().len(), before, "it begins when the client runs");
        appliance.run_customer_client(&download.body).unwrap();
        assert_eq!(appliance.sessions().len(), before + 1);
        assert!(appliance.run_customer_client(&download.body).is_err());
    }

    // By key: the page behind key_url, and its form. The key's external key wins.
    let key = caller.key("session.custom.external_key=99").await;
    let page = send(caller.http.get(key.text("key_url"))).await;
    let short_key = key.text("short_key");
    assert!(page.body.contains(&short_key) && page.body.contains("Start chat"));
    let form = format!("short_key={short_key}&c2cjs=1&session.custom.external_key=7");
    let chat = send(caller.post("/api/start_session", &form)).await;
    assert_eq!(chat.status, 200);
    assert_eq!(appliance.sessions().pop().unwrap().external_key, "99");
    let again = send(caller.post("/api/start_session", &form)).await;
    assert!(again.status == 400 && again.body.contains("already used"));
}

#[tokio::test]
async fn the_pages_lead_people_through_a_session() {
    let caller = start().await;
    let name = "%3Cb%3EZo%C3%AB%3C%2Fb%3E";
    caller.get(&format!("/api/start_session?issue_menu=1&id=10&c2cjs=1&customer.name={name}")).await;
    let lsid = caller.appliance.sessions().pop().unwrap().lsid;
    let act = async |path: &str, act: &str, text: &str| {
        let form = format!("lsid={lsid}&do={act}&text={text}");
        let page = send(caller.post(path, &form)).await;
        assert_eq!(page.status, 200, "{page:?}");
        page.body
    };
    act("/console", "join", "").await;
    let chat = act("/chat", "say", "%3Ci%3Ehello%3C/i%3E").await;
    assert!(chat.contains("&lt;i&gt;hello&lt;/i&gt;"));
    let console = act("/console", "note", "restarted").await;
    assert!(console.contains("&lt;b&gt;Zoë&lt;/b&gt;") && console.contains("restarted"));
    act("/console", "end", "").await;
    act("/console", "survey", "Resolved").await;
    act("/chat", "survey", "4").await;
    let session = caller.appliance.session(&lsid).unwrap();
    assert!(session.ended_at.is_some() && session.representative_survey.is_some());
    assert_eq!(session.customer_survey.unwrap().answers[0].answers, ["4"]);
    let late = caller.post("/chat", &format!("lsid={lsid}&do=say&text=x"));
    assert_eq!(send(late).await.status, 400);
}

#[tokio::test]
async fn client_scripts_log_in_first_and_carry_only_known_parameters() {
    let caller = start().await;
    let ask = async |query: &str| {
        let path = "/api/client_script?type=rep&operation=generate";
        caller.get(&format!("{path}&{query}")).await
    };
    let jump = "action=start_jump_item_session&jump.method=pinned&search_string=LAPTOP%200042%26x&session.custom.external_key=%C3%BC%2B1";
    let answer = ask(jump).await;
    assert_eq!(answer.headers["content-type"], "application/octet-stream");
    let disposition = "attachment; filename=\"start_jump_item_session.brcs-example\"";
    assert_eq!(answer.headers["content-disposition"], disposition);
    assert_eq!(answer.body, format!("BRCS1.0\naction=login\n{jump}\n"));
    let commands = read_script(&answer.body).unwrap();
    assert_eq!(commands[0].parameter("search_string"), Some("LAPTOP 0042&x"));
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
        let plain = ask(query).await;
        assert_eq!(plain.body, format!("BRCS1.0\naction=login\n{query}\n"));
        let legacy = format!("/api/client_script.ns?type=rep&operation=generate&{query}");
        assert_eq!(caller.get(&legacy).await.body, plain.body);
    }
    for (query, error) in rows(
        "
        x=1 => The parameter 'action' is required.
        action=login => The login command is added automatically and must not be given.
        action=format_disk => Unknown action 'format_disk'.
        action=start_jump_item_session => A search field is required.
        action=start_jump_item_session&search_string=a&jump.method=ssh => The parameter 'jump.method' must be one of: push, local_push, pinned, rdp, vnc, shelljump.
        action=start_jump_item_session&client.public_ip=1&jump.method=rdp => Only Jump Clients can be found by address.
        action=push_and_start_local&target=a => Unknown parameter 'target'.
        action=push_and_start_local&hostname=256 => The parameter 'hostname' must not exceed 255 characters.
        action=push_and_start_remote&hostname=a => Unknown parameter 'hostname'.
        action=start_rdp_session&target=a&user=b => Unknown parameter 'user'.
        action=start_rdp_session&target=a&display_size=big => The parameter 'display_size' is not valid.
        action=start_rdp_session&target=a&quality=best => The parameter 'quality' must be one of: low, performance, performance_quality, quality.
        action=start_shell_jump_session&target=a&port=0 => The parameter 'port' is out of range.
        action=start_shell_jump_session&target=a&port=70000 => The parameter 'port' must be an integer.
        action=start_vpro_session&target=a => The parameter 'jumpoint' is required.
        action=start_vnc_session&target=a&session.custom.x=1 => The custom field 'x' does not exist.
        ",
    ) {
        let query = query.replace("256", &"a".repeat(256));
        assert_eq!(ask(&query).await.error(), error, "{query}");
    }
    let other = "/api/client_script?type=web_console&operation=execute&action=start_vnc_session";
    assert_eq!(caller.get(other).await.error(), "The parameter 'type' must be one of: rep.");

    let ten = format!("BRCS1.0\naction=login{}", "\naction=start_vnc_session&target=a".repeat(9));
    assert_eq!(read_script(&ten).unwrap().len(), 9);
    let eleven = format!("{ten}\naction=x");
    for bad in [&*eleven, "BRCS1.0\naction=x", "action=login", "BRCS1.0\nx=y"] {
        assert!(read_script(bad).is_err(), "{bad}");
    }
}

// ---------------------------------------------------------------- K: limits, v2

#[tokio::test]
async fn the_rate_limiter_counts_seconds_and_hours() {
    let limits = |per_second, per_hour| Some(RateLimits { per_second, per_hour });
    let caller = start_with(|options| options.rate_limits = Some(RateLimits::default())).await;
    let answer = caller.command(INFO).await;
    assert_eq!(answer.headers["x-ratelimit-limit"], "15000");
    assert_eq!(answer.headers["x-ratelimit-remaining"], "14999");
    assert_eq!(answer.status, 200);

    let change = |options: &mut Options| options.rate_limits = limits(1, 15_000);
    caller.appliance.change_options(change);
    caller.appliance.clock().advance_seconds(2);
    // However slow the machine: of many at once some fall into one second.
    let many = (0..30).map(|_| caller.command(INFO));
    let many = futures_util::future::join_all(many).await;
    let refused = many.iter().filter(|answer| answer.status == 429);
    assert!(refused.count() >= 1, "none of 30 at once was refused");
    let requests = caller.appliance.requests();
    let passed = requests.iter().filter(|one| one.is("get_api_info") && one.status == Some(200));
    let passed: Vec<_> = passed.skip(1).map(|one| one.at_milliseconds).collect();
    let apart = passed.windows(2).all(|pair| pair[1] - pair[0] > 500);
    assert!(apart, "two passed within half a second: {passed:?}");
    caller.appliance.clock().advance_seconds(2);
    assert_eq!(caller.command(INFO).await.status, 200);

    let caller = start_with(|options| options.rate_limits = limits(100, 3)).await;
    for status in [200, 200, 200, 429] {
        assert_eq!(caller.command(INFO).await.status, status);
    }
    let refused = caller.v2(Method::GET, "/info", None).await;
    assert_eq!((refused.status, &*refused.headers["x-ratelimit-remaining"]), (429, "0"));
    caller.appliance.clock().advance_seconds(3601);
    let token = caller.new_token().await;
    assert!(caller.is_valid(&token).await);
}

#[tokio::test]
async fn command_v2_speaks_json_and_refuses_what_it_does_not_know() {
    let caller = start().await;
    let appliance = &caller.appliance;
    let info = caller.v2(Method::GET, "/info", None).await.json();
    assert_eq!(info["product"], "rs");
    assert!(info["current_time"].as_str().unwrap().ends_with("+00:00"));
    let key = json!({"rep_username": "jdoe", "external_key": "5"});
    let key = caller.v2(Method::POST, "/session-key", Some(key)).await.json();
    let lsid = appliance.begin_session_with_key(key["short_key"].as_str().unwrap()).unwrap();
    assert_eq!(appliance.session(&lsid).unwrap().external_key, "5");

    let session = format!("/session/{lsid}");
    let both = json!({"external_key": "88121", "asset_tag": "A"});
    let set = caller.v2(Method::PATCH, &session, Some(both)).await;
    assert_eq!((set.status, set.json()["message"].as_str()), (200, Some("Session attributes were set")));
    let attributes = caller.v2(Method::GET, &session, None).await.json();
    let external_key = json!({"code_name": "external_key", "display_name": "External Key", "value": "88121"});
    assert_eq!(attributes[0], external_key);
    assert_eq!(attributes[1]["display_name"], "Asset Tag");

    let fields = (0..31).map(|number| format!("\"f{number}\":\"\"")).collect::<Vec<_>>();
    let too_many = format!("{{{}}}", fields.join(","));
    let too_long = format!("{{\"external_key\":\"{}\"}}", "x".repeat(1025));
    for (sent, status) in rows(
        r#"
        GET /info?x=1 => 400
        GET /openapi => 404
        GET /session/42 => 400
        GET /session/NOBODY => 404
        POST /info {} => 405
        POST /session-key {} => 400
        POST /session-key [] => 400
        POST /session-key {"rep_username":"jdoe","colour":1} => 400
        POST /session-key {"queue_type":"team","queue_id":"3"} => 400
        POST /session-key {"queue_type":"team","queue_id":99} => 422
        PATCH /session/LSID {"nothing":"x"} => 400
        PATCH /session/LSID TOO_MANY => 400
        PATCH /session/LSID {"external_key":1} => 422
        PATCH /session/LSID TOO_LONG => 422
        PATCH /session/NOBODY {"external_key":"1"} => 404
        DELETE /session/NOBODY => 404
        "#,
    ) {
        let mut parts = sent.splitn(3, ' ');
        let method = Method::from_bytes(parts.next().unwrap().as_bytes()).unwrap();
        let path = parts.next().unwrap().replace("LSID", &lsid).replace("NOBODY", NOBODY);
        let body = parts.next().map(|body| body.replace("TOO_MANY", &too_many));
        let body = body.map(|body| body.replace("TOO_LONG", &too_long));
        let body = body.map(|body| serde_json::from_str(&body).unwrap());
        let answer = caller.v2(method, &path, body).await;
        assert_eq!(answer.status.to_string(), status, "{sent} {answer:?}");
        assert!(answer.json()["message"].is_string());
    }
    let url = caller.url("/api/command/v2/info");
    let without_accept = caller.http.get(&url).bearer_auth(&caller.token);
    assert_eq!(send(without_accept).await.status, 406);
    let without_token = caller.http.get(&url).header("accept", "application/json");
    assert_access_denied(&send(without_token).await);
    let as_form = caller.http.patch(caller.url(&format!("/api/command/v2{session}")));
    let as_form = as_form.bearer_auth(&caller.token).header("content-type", FORM);
    assert_eq!(send(as_form.body("external_key=1")).await.status, 415);

    let ended = caller.v2(Method::DELETE, &session, None).await;
    assert_eq!((ended.status, &*ended.body), (204, ""));
    assert!(appliance.session(&lsid).unwrap().ended_at.is_some());
    let late = Some(json!({"external_key": "1"}));
    assert_eq!(caller.v2(Method::PATCH, &session, late).await.status, 404);
}

// ---------------------------------------------------------------- recording, faults, stop

#[tokio::test]
async fn requests_are_recorded_and_awaited() {
    let caller = start().await;
    let appliance = caller.appliance.clone();
    let waiting = tokio::spawn(async move {
        let report = |request: &RecordedRequest| request.is("SupportSession");
        appliance.wait_for_request(report).await.unwrap()
    });
    caller.session_report(NOBODY).await;
    let seen = waiting.await.unwrap();
    assert_eq!(seen.endpoint, Endpoint::Reporting);
    assert_eq!(seen.authorization, AuthorizationKind::Bearer);
    assert_eq!(seen.parameter("lsid"), Some(NOBODY));
    assert!(seen.connection_close);
    let token = &caller.appliance.requests()[0];
    assert_eq!(token.endpoint, Endpoint::Token);
    assert_eq!(token.authorization, AuthorizationKind::Basic);
    assert!(!token.connection_close);
    let reports = |request: &RecordedRequest| request.endpoint == Endpoint::Reporting;
    assert_eq!(caller.appliance.count(reports), 1);
    let answered = |request: &RecordedRequest| request.status == Some(200);
    caller.appliance.wait_for_count(2, answered).await.unwrap();
    caller.appliance.forget_requests();
    assert!(caller.appliance.requests().is_empty());
}

#[tokio::test]
async fn faults_strike_where_and_as_often_as_told() {
    let caller = start().await;
    let appliance = &caller.appliance;
    appliance.fail_next(2, Fault::Status(503, "down".into()));
    for status in [503, 503, 200] {
        assert_eq!(caller.command(INFO).await.status, status);
    }
    let rule = FaultRule::next(1, Fault::ErrorDocument("a < b".into()));
    appliance.add_fault(rule.on("SupportSession"));
    assert_eq!(caller.command(INFO).await.xml()[0].name, "get_api_info");
    assert_eq!(caller.session_report(NOBODY).await.error(), "a < b");

    let request = || caller.post("/api/command", INFO).bearer_auth(&caller.token);
    let rule = FaultRule::always(Fault::CloseConnection);
    appliance.add_fault(rule.at(Endpoint::Command));
    for _ in 0..2 {
        assert!(request().send().await.unwrap_err().is_request());
    }
    assert_eq!(caller.session_report(NOBODY).await.error(), NO_REPORT);
    appliance.clear_faults();

    appliance.fail_next(1, Fault::Garbage);
    let garbage = request().send().await.unwrap();
    assert_eq!(garbage.status(), 200);
    let bytes = garbage.bytes().await.unwrap();
    assert!(bytes.starts_with(b"<?xml") && std::str::from_utf8(&bytes).is_err());

    let limit = Duration::from_millis(1500);
    appliance.fail_next(1, Fault::SlowBody);
    let slow = request().timeout(limit).send().await.unwrap();
    assert!(slow.text().await.unwrap_err().is_timeout());
    appliance.fail_next(1, Fault::Hang);
    let hung = request().timeout(limit).send().await.unwrap_err();
    assert!(hung.is_timeout());
    assert_eq!(appliance.requests().last().unwrap().status, None);
    assert_eq!(request().send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn it_stops_when_told_or_with_its_last_handle() {
    let caller = start().await;
    let (url, http) = (caller.url("/check_health"), caller.http.clone());
    caller.appliance.fail_next(1, Fault::Hang);
    let hanging = tokio::spawn(http.get(&url).send());
    let seen = |request: &RecordedRequest| request.endpoint == Endpoint::Health;
    caller.appliance.wait_for_request(seen).await.unwrap();
    caller.appliance.stop().await;
    assert!(hanging.await.unwrap().is_err());
    assert!(http.get(&url).send().await.unwrap_err().is_connect());

    let caller = start().await;
    let url = caller.url("/check_health");
    let second = caller.appliance.clone();
    drop(caller);
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
    let trusting = builder().tls_certs_only([certificate]).build().unwrap();
    let url = caller.url("/check_health");
    assert_eq!(trusting.get(&url).send().await.unwrap().status(), 200);
    let strict = builder().build().unwrap();
    assert!(strict.get(&url).send().await.unwrap_err().is_connect());
}
