//! The customer's button, attacked from outside: what a page, a customer, a bot or another account's administrator may send, and what each
//! of them is answered.
//!
//! Every row of every table must also keep what holds for all: no chat begins, nothing is told of people, tickets and appliance, no cookie
//! is set, and only pages of the Help Center can read the answer.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use deskbridge_shared::routes;
use deskbridge_tests::appliance::{self, SimulatedAppliance};
use deskbridge_tests::button::{Answer, Desk, ISSUE, KEYS, Request, help_center_section, plan, with_section};
use deskbridge_tests::scene::{CONNECTION, EVENT_TOKEN, to_zendesk, zendesk_for};
use deskbridge_tests::server::tell;
use deskbridge_tests::zendesk::{AppKey, Fault, HelpCenterToken, Matching, Options, Role, Signing, SimulatedZendesk, User};
use futures_util::{StreamExt as _, stream};
use reqwest::Method;
use reqwest::header::HeaderValue;
use serde_json::{Value, json};
use sqlx::Connection as _;
use toml::toml;
use url::form_urlencoded::byte_serialize;

/// Connections that are not the attacked one.
const OTHER: &str = "Other account";
const WITHOUT: &str = "Without Help Center";
const DISABLED: &str = "Disabled";
/// Rows that are asked at a time: a refused ticket is answered late.
const AT_A_TIME: usize = 16;

/// What is wrong, the request, and how it is refused: status and problem; a page has none.
struct Row {
    name: String,
    request: Request,
    status: u16,
    problem: &'static str,
}

#[derive(Default)]
struct Rows(Vec<Row>);

impl Rows {
    fn add(&mut self, name: impl Into<String>, request: Request, status: u16, problem: &'static str) {
        self.0.push(Row { name: name.into(), request, status, problem });
    }
}

/// The attacked connection, and an account of somebody else on the same server.
struct Attack {
    desk: Desk,
    other: SimulatedZendesk,
    /// A customer of the other account who has the id of ours.
    twin: u64,
    _accounts: Vec<SimulatedZendesk>,
    _appliance: SimulatedAppliance,
}

impl Attack {
    async fn start(keys: &str) -> Result<Self> {
        let mut plan = plan(&format!("refusals = 10000\n{keys}"));
        plan.zendesk.help_center.token_life = 3_600;
        let other_appliance = SimulatedAppliance::start(appliance::Options::default()).await?;
        let mut accounts = Vec::new();
        for (name, section) in [(OTHER, Some("")), (WITHOUT, None), (DISABLED, Some(""))] {
            let account = zendesk_for(&other_appliance, Options { rate_limits: None, ..Options::default() }).await?;
            account.fill_demo_data();
            let mut connection = to_zendesk(&other_appliance, &account, name, "other");
            if let Some(keys) = section {
                connection = with_section(connection, help_center_section(keys));
            }
            if name == DISABLED {
                connection = with_section(connection, toml! { disabled = true });
            }
            plan.server = plan.server.connection(connection);
            accounts.push(account);
        }
        let other = accounts[0].clone();
        // The simulated accounts share their first key; real ones share none.
        let shared = other.help_center_key_ids()?;
        other.rotate_help_center_key().await?;
        for kid in shared {
            other.withdraw_help_center_key(&kid)?;
        }
        let desk = Desk::start(plan).await?;
        let twin = desk.customer;
        if other.user(twin).is_none() {
            other.add_user(User { id: twin, name: "Twin".to_owned(), role: Role::EndUser, ..User::default() });
        }
        Ok(Self { desk, other, twin, _accounts: accounts, _appliance: other_appliance })
    }

    fn press(&self) -> Result<Request> {
        self.desk.press(self.desk.customer, self.desk.ticket)
    }

    /// A press with this text as token.
    fn token(&self, token: &str) -> Request {
        self.desk.press_by(("help_center_token", token), self.desk.ticket)
    }

    fn genuine(&self) -> Result<HelpCenterToken> {
        self.desk.zendesk().help_center_token(self.desk.customer)
    }

    /// What nobody may be told.
    fn secrets(&self) -> Vec<String> {
        let desk = &self.desk;
        let zendesk = desk.zendesk();
        let mut secrets = Vec::new();
        for user in [desk.customer, desk.stranger, desk.in_copy, desk.scene.people.agent] {
            let user = zendesk.user(user).unwrap_or_default();
            secrets.extend([user.name, user.email].into_iter().filter(|text| !text.is_empty()));
        }
        for ticket in zendesk.tickets() {
            secrets.extend(zendesk.ticket(ticket).map(|ticket| ticket.subject));
        }
        let (account, appliance) = (zendesk.options(), desk.scene.appliance.options());
        let client = account.oauth_client.unwrap_or_default();
        secrets.extend([account.api_email, account.api_token, client.secret, appliance.client_secret, EVENT_TOKEN.to_owned()]);
        secrets.extend([desk.scene.appliance.host().to_owned(), "panicked".to_owned(), ".rs:".to_owned()]);
        secrets
    }

    fn check(&self, row: &Row, answer: &Answer, secrets: &[String]) -> Result<()> {
        let Row { name, request, status, problem } = row;
        ensure!(answer.refusal() == (*status, (*problem).to_owned()), "{name}: {:?}: {}", answer.refusal(), answer.body);
        let told = answer.body.to_lowercase();
        for secret in secrets {
            ensure!(!told.contains(&secret.to_lowercase()), "{name}: the refusal tells {secret}: {told}");
        }
        let header = |name: &str| answer.headers.get_all(name).iter().map(HeaderValue::as_bytes).collect::<Vec<_>>();
        let all = &answer.headers;
        ensure!(header("set-cookie").is_empty() && header("access-control-allow-credentials").is_empty(), "{name}: {all:?}");
        ensure!(answer.header("cache-control").contains("no-store"), "{name}: {all:?}");
        let allowed = header("access-control-allow-origin");
        ensure!(!allowed.contains(&b"*".as_slice()), "{name}: any page may read it");
        if !request.path.starts_with(routes::HELP_CENTER_OFFER) && request.path != routes::HELP_CENTER_CHATS {
            ensure!(allowed.is_empty(), "{name}: a page for people is no script's");
            return Ok(());
        }
        let origins = request.origins();
        if origins == [self.desk.origin().as_bytes()] {
            ensure!(allowed == origins, "{name}: the page's script cannot read why: {all:?}");
        } else if origins != [self.other.url().as_bytes()] {
            ensure!(allowed.is_empty(), "{name}: {all:?}");
        }
        ensure!(header("vary").iter().any(|vary| vary.eq_ignore_ascii_case(b"origin")), "{name}: {all:?}");
        Ok(())
    }

    /// Asks all rows, and that a genuine press is still taken.
    async fn refuses(&self, rows: Rows) -> Result<usize> {
        let (secrets, count) = (self.secrets(), rows.0.len());
        let asked: Vec<Result<()>> = stream::iter(rows.0)
            .map(async |row| {
                let answer = self.desk.ask(&row.request).await.with_context(|| row.name.clone())?;
                self.check(&row, &answer, &secrets)
            })
            .buffer_unordered(AT_A_TIME)
            .collect()
            .await;
        let faults: Vec<String> = asked.into_iter().filter_map(Result::err).map(|error| format!("{error:#}")).collect();
        ensure!(faults.is_empty(), "{} of {count} rows:\n{}", faults.len(), faults.join("\n"));
        self.desk.nothing_began()?;
        let named = self.desk.scene.appliance.count(|request| request.parameter("session.custom.external_key").is_some());
        assert_eq!(named, 0, "the appliance was told of a ticket");
        self.desk.ask(&self.press()?).await?.chat_url().context("a genuine press afterwards")?;
        Ok(count)
    }
}

/// A text of the same length with another first character.
fn changed(text: &str) -> String {
    let other = if text.starts_with('A') { "B" } else { "A" };
    format!("{other}{}", &text[1..])
}

/// Values of `Origin` that are none of the connection's. The account's own is `http://127.0.0.1:PORT`.
fn foreign_origins(attack: &Attack) -> Vec<(&'static str, Vec<String>)> {
    let own = attack.desk.origin();
    let (host, port) = own.trim_start_matches("http://").split_once(':').unwrap_or_default();
    let one = |text: String| vec![text];
    vec![
        ("null", one("null".into())),
        ("empty", one(String::new())),
        ("another scheme", one(format!("https://{host}:{port}"))),
        ("another port", one(format!("http://{host}:1{}", &port[1..]))),
        ("no port", one(format!("http://{host}"))),
        ("a subdomain", one(format!("http://www.{host}:{port}"))),
        ("a name that begins like it", one(format!("http://{host}.evil.example:{port}"))),
        ("a name that ends like it", one(format!("http://evil{host}:{port}"))),
        ("a user name before it", one(format!("http://{host}:{port}@evil.example"))),
        ("upper case", one(own.to_uppercase())),
        ("a path", one(format!("{own}/"))),
        ("a query", one(format!("{own}?"))),
        ("a trailing dot", one(format!("http://{host}.:{port}"))),
        ("another name of the host", one(format!("http://localhost:{port}"))),
        ("two in one", one(format!("{own} http://evil.example"))),
        ("a list", one(format!("{own}, {own}"))),
        ("twice the same", vec![own.into(), own.into()]),
        ("another one first", vec!["http://evil.example".into(), own.into()]),
        ("another one last", vec![own.into(), "http://evil.example".into()]),
        ("the server's own", one(attack.desk.scene.server.public_url().into())),
        ("another connection's", one(attack.other.url().into())),
    ]
}

/// Pages of other sites.
fn pages_of_others(attack: &Attack) -> Result<Rows> {
    let mut rows = Rows::default();
    let preflight = |path: &str, method: &str| {
        let asked = Request::new(Method::OPTIONS, path);
        asked.and("access-control-request-method", method).and("access-control-request-headers", "content-type")
    };
    rows.add("a press without an origin", attack.press()?.with("origin", &[]), 403, "cross-site");
    for (name, origins) in foreign_origins(attack) {
        let origins: Vec<&str> = origins.iter().map(String::as_str).collect();
        rows.add(format!("press, origin {name}"), attack.press()?.with("origin", &origins), 403, "cross-site");
        rows.add(format!("offer, origin {name}"), attack.desk.own_offer().with("origin", &origins), 403, "cross-site");
        // A preflight names no connection.
        if name != "another connection's" {
            for (path, method) in [(routes::HELP_CENTER_CHATS, "POST"), (routes::HELP_CENTER_OFFER, "GET")] {
                let asked = preflight(path, method).with("origin", &origins);
                rows.add(format!("preflight of {path}, origin {name}"), asked, 403, "cross-site");
            }
        }
    }
    rows.add("a preflight without an origin", preflight(routes::HELP_CENTER_CHATS, "POST"), 403, "cross-site");
    Ok(rows)
}

/// Requests of our own pages that do not read.
fn what_does_not_read(attack: &Attack) -> Result<Rows> {
    let mut rows = Rows::default();
    let press = attack.press()?;
    let body: Value = serde_json::from_slice(&press.body)?;
    for method in [Method::GET, Method::HEAD, Method::PUT, Method::PATCH, Method::DELETE] {
        // An answer to HEAD has no body.
        let problem = if method == Method::HEAD { "" } else { "method-not-allowed" };
        let request = Request { method: method.clone(), ..press.clone() };
        if method != Method::HEAD {
            rows.add(format!("{method} in place of POST"), request, 405, problem);
        }
    }
    rows.add("POST of an offer", Request { method: Method::POST, ..attack.desk.own_offer() }, 405, "method-not-allowed");
    for media_type in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "text/json",
        "application/jsonx",
        "application/json-patch+json",
        "text/plain; application/json",
        "",
    ] {
        rows.add(format!("media type “{media_type}”"), press.clone().with("content-type", &[media_type]), 415, "not-json");
    }
    rows.add("no media type", press.clone().with("content-type", &[]), 415, "not-json");

    let large = press.clone().member("/issue", "i".repeat(70 * 1024));
    rows.add("a large body", large, 413, "too-large");
    let text = body.to_string();
    let twice = |member: &str| text.replacen(&format!("\"{member}\""), &format!("\"{member}\":\"x\",\"{member}\""), 1);
    let nested = "[".repeat(20_000);
    let bodies: Vec<(String, Vec<u8>)> = [
        ("no body", ""),
        ("no JSON", "connection=x"),
        ("null", "null"),
        ("a text", "\"text\""),
        ("a number", "1"),
        ("an empty array", "[]"),
        ("an empty object", "{}"),
        ("a body that breaks off", &text[..text.len() - 1]),
        ("a body with more behind", &format!("{text}x")),
        ("two bodies", &format!("{text}{text}")),
        ("an array around it", &format!("[{text}]")),
        ("a byte order mark", &format!("\u{feff}{text}")),
        ("members as an array", &format!("[\"{CONNECTION}\",\"1\",\"{ISSUE}\",{{\"kind\":\"help_center_token\",\"value\":\"x\"}},null]")),
        ("a comment", &format!("{text}// {{}}")),
        ("deep nesting", &nested),
        ("`connection` twice", &twice("connection")),
        ("`ticket` twice", &twice("ticket")),
        ("`issue` twice", &twice("issue")),
        ("`kind` twice", &twice("kind")),
        ("`value` twice", &twice("value")),
        ("`proof` twice", &format!("{},\"proof\":{}}}", &text[..text.len() - 1], body["proof"])),
        ("a control character in a text", &text.replace(ISSUE, "general\u{0}tech")),
        ("half a surrogate pair", &text.replace(ISSUE, "\\ud800")),
    ]
    .map(|(name, body)| (name.to_owned(), body.as_bytes().to_vec()))
    .into();
    let mut no_text = text.clone().into_bytes();
    no_text[text.find(ISSUE).context("the issue")?] = 0xff;
    for (name, body) in bodies.into_iter().chain([("no UTF-8".to_owned(), no_text)]) {
        rows.add(name, press.clone().saying(body), 400, "bad-request");
    }
    for pointer in ["/connection", "/ticket", "/issue", "/proof/kind", "/proof/value", "/proof"] {
        let (parent, member) = pointer.rsplit_once('/').context("a pointer")?;
        let mut without = body.clone();
        without.pointer_mut(parent).and_then(Value::as_object_mut).context("an object")?.remove(member);
        rows.add(format!("no {pointer}"), press.clone().saying(without.to_string()), 400, "bad-request");
        for value in [json!(1), json!(1.5), Value::Null, json!(true), json!(["x"]), json!({"x": "y"})] {
            rows.add(format!("{pointer} as {value}"), press.clone().member(pointer, value), 400, "bad-request");
        }
    }
    for (name, object) in [("a member", ""), ("a member of the proof", "/proof")] {
        let mut with_more = body.clone();
        with_more.pointer_mut(object).and_then(Value::as_object_mut).context("an object")?.insert("user".into(), json!("1"));
        rows.add(format!("{name} we do not know"), press.clone().saying(with_more.to_string()), 400, "bad-request");
    }
    let listed = json!(["help_center_token", attack.desk.token(attack.desk.customer)?]);
    rows.add("members of the proof as an array", press.clone().member("/proof", listed), 400, "bad-request");
    rows.add("`proof` as a text", press.clone().member("/proof", "x"), 400, "bad-request");
    for kind in ["", "chat_link", "Help_Center_Token", "help_center_token ", "none"] {
        rows.add(format!("kind of proof “{kind}”"), press.clone().member("/proof/kind", kind), 400, "bad-request");
    }
    for (pointer, value) in [
        ("/connection", String::new()),
        ("/connection", "c".repeat(500)),
        ("/ticket", String::new()),
        ("/ticket", "1".repeat(65)),
        ("/issue", String::new()),
        ("/issue", "i".repeat(500)),
        ("/proof/value", String::new()),
    ] {
        let name = format!("{pointer} of {} characters", value.len());
        rows.add(name, press.clone().member(pointer, value), 422, "invalid-value");
    }
    let offer = |query: &str| attack.desk.offer(query);
    rows.add("an offer of nothing", offer("locale=de"), 400, "bad-request");
    rows.add("an offer of two connections", offer("connection=a&connection=b"), 400, "bad-request");
    rows.add("an offer of a long name", offer(&format!("connection={}", "c".repeat(500))), 400, "bad-request");
    Ok(rows)
}

/// Connections that a page may not name.
async fn connections(attack: &Attack) -> Result<Rows> {
    let mut rows = Rows::default();
    let path = |name: &str| format!("connection={}", byte_serialize(name.as_bytes()).collect::<String>());
    for (what, name) in [
        ("unknown", "Nobody's"),
        ("disabled", DISABLED),
        ("without Help Center", WITHOUT),
        ("lower case", &CONNECTION.to_lowercase()),
        ("a space behind", &format!("{CONNECTION} ")),
        ("a wildcard", "%"),
        ("an id nobody has", "00000000-0000-7000-8000-000000000000"),
    ] {
        rows.add(format!("press, connection {what}"), attack.press()?.member("/connection", name), 404, "connection-not-found");
        rows.add(format!("offer, connection {what}"), attack.desk.offer(&path(name)), 404, "connection-not-found");
    }
    rows.add("an offer of the empty name", attack.desk.offer("connection="), 404, "connection-not-found");
    // The page of one account names the connection of another.
    rows.add("press, connection of another account", attack.press()?.member("/connection", OTHER), 403, "cross-site");
    rows.add("offer, connection of another account", attack.desk.offer(&path(OTHER)), 403, "cross-site");
    let mut database = sqlx::SqliteConnection::connect(attack.desk.scene.server.database_url()).await?;
    let id: String = sqlx::query_scalar("SELECT id FROM connection WHERE name = $1").bind(OTHER).fetch_one(&mut database).await?;
    rows.add("press, another account's connection by its id", attack.press()?.member("/connection", id), 403, "cross-site");
    Ok(rows)
}

/// Tokens that prove nothing.
fn tokens(attack: &Attack) -> Result<Rows> {
    let mut rows = Rows::default();
    let mut add = |name: &str, token: &str| rows.add(format!("token: {name}"), attack.token(token), 403, "proof-refused");
    let genuine = attack.genuine()?;
    let good = genuine.encode()?;
    let (signed, signature) = good.rsplit_once('.').context("a token")?;
    let (header, claims) = signed.split_once('.').context("a token")?;
    let pem = genuine.key.public_pem();
    let strange = Arc::new(AppKey::generate()?);
    let named = |algorithm: &str| genuine.clone().with_header("alg", json!(algorithm));

    for algorithm in ["none", "None", "NONE", ""] {
        add(&format!("alg {algorithm} unsigned"), &named(algorithm).signed_as(Signing::Bytes(Vec::new())).encode()?);
        add(&format!("alg {algorithm} signed"), &named(algorithm).encode()?);
    }
    for (name, secret) in [("PEM", pem.clone()), ("trimmed PEM", pem.trim().to_owned()), ("empty", String::new()), ("kid", good.clone())] {
        add(&format!("HS256 by the {name}"), &named("HS256").signed_as(Signing::Hs256(secret.clone().into_bytes())).encode()?);
        add(&format!("HS256 by the {name} under RS256"), &genuine.clone().signed_as(Signing::Hs256(secret.into_bytes())).encode()?);
    }
    add("RS384", &named("RS384").signed_as(Signing::Rs384).encode()?);
    add("RS512", &named("RS512").signed_as(Signing::Rs512).encode()?);
    add("PS256", &named("PS256").signed_as(Signing::Ps256).encode()?);
    add("PS256 under RS256", &genuine.clone().signed_as(Signing::Ps256).encode()?);
    add("RS384 under RS256", &genuine.clone().signed_as(Signing::Rs384).encode()?);
    add("ES256", &named("ES256").signed_as(Signing::Bytes(vec![1; 64])).encode()?);
    for algorithm in [json!("rs256"), json!("RS256 "), json!(["RS256"]), json!(1), Value::Null] {
        add(&format!("alg {algorithm}"), &genuine.clone().with_header("alg", algorithm).encode()?);
    }
    add("no alg", &genuine.clone().with_header("alg", None).encode()?);

    let kid = attack.desk.zendesk().help_center_key_ids()?.pop().context("a key")?;
    for value in [
        json!(""),
        json!("00"),
        json!(kid.to_uppercase()),
        json!(format!("{kid} ")),
        json!(&kid[1..]),
        json!("../../../dev/null"),
        json!("http://evil.example/keys"),
        json!([kid]),
        json!({"kid": kid}),
        json!(1),
        json!(0),
        Value::Null,
        json!("k".repeat(1_000)),
        json!("%"),
        json!("' OR 1=1"),
    ] {
        add(&format!("kid {:.40}", value.to_string()), &genuine.clone().with_header("kid", value).encode()?);
    }
    add("no kid", &genuine.clone().with_header("kid", None).encode()?);
    for (name, value) in [
        ("jku", json!(format!("{}{KEYS}", attack.other.url()))),
        ("jwk", json!({"kty": "RSA", "e": "AQAB", "n": "0vx7"})),
        ("x5u", json!("http://evil.example/certificate")),
        ("x5c", json!(["AAAA"])),
        ("crit", json!(["exp"])),
        ("b64", json!(false)),
    ] {
        let named = genuine.clone().with_header(name, value);
        add(&format!("header {name}, genuine signature"), &named.encode()?);
        add(&format!("header {name}, another key"), &named.signed_by(&strange).encode()?);
    }
    add("another key", &genuine.clone().signed_by(&strange).encode()?);
    add("the app's key", &genuine.clone().signed_by(&attack.desk.zendesk().app_key()).encode()?);
    add("another account's token", &attack.other.help_center_token(attack.twin)?.encode()?);
    add("another account's token under our kid", &attack.other.help_center_token(attack.twin)?.with_header("kid", json!(kid)).encode()?);
    add("a sidebar token", &attack.desk.zendesk().sidebar_token(attack.desk.scene.people.agent)?);

    let other_claims = genuine.clone().with_claim("userId", json!(attack.desk.stranger)).encode()?;
    let (other_signed, other_signature) = other_claims.rsplit_once('.').context("a token")?;
    add("changed claims", &format!("{other_signed}.{signature}"));
    add("another token's signature", &format!("{signed}.{other_signature}"));
    add("a changed signature", &format!("{signed}.{}", changed(signature)));
    add("half a signature", &format!("{signed}.{}", &signature[..signature.len() / 2]));
    add("no signature", &format!("{signed}."));
    add("two parts", signed);
    add("four parts", &format!("{good}.{signature}"));
    add("three dots", "...");
    add("two dots", "..");
    add("no dots", &good.replace('.', ""));
    add("a space before", &format!(" {good}"));
    add("a line break behind", &format!("{good}\n"));
    add("Bearer before", &format!("Bearer {good}"));
    add("padding", &format!("{header}.{claims}.{signature}=="));
    add("padded claims", &format!("{header}.{claims}=.{signature}"));
    add("the other alphabet", &format!("{header}.{claims}.{}", signature.replace('-', "+").replace('_', "/") + "+/"));
    add("a line break inside", &format!("{header}.{claims}.{}\n{}", &signature[..9], &signature[9..]));
    add("9 kB", &genuine.clone().with_claim("x", json!("x".repeat(9_000))).encode()?);
    add("a text", "x");
    add("a null character", "a\u{0}.b.c");
    add("no JSON", &HelpCenterToken { claims: "userId".into(), ..genuine.clone() }.encode()?);
    add("claims as an array", &HelpCenterToken { claims: "[1]".into(), ..genuine.clone() }.encode()?);
    add("a header as an array", &HelpCenterToken { header: "[1]".into(), ..genuine.clone() }.encode()?);
    let twice = genuine.claims.replacen('{', &format!("{{\"userId\":{},", attack.desk.stranger), 1);
    add("two users", &HelpCenterToken { claims: twice, ..genuine.clone() }.encode()?);
    let twice = genuine.claims.replacen('{', "{\"exp\":99999999999,", 1);
    add("two ends", &HelpCenterToken { claims: twice, ..genuine.clone() }.encode()?);

    let now = serde_json::from_str::<Value>(&genuine.claims)?["iat"].as_i64().context("iat")?;
    for (name, value) in [
        ("exp", Value::Null),
        ("exp", json!(now - 1)),
        ("exp", json!(now - 86_400)),
        ("exp", json!(0)),
        ("exp", json!(-1)),
        ("exp", json!((now + 180).to_string())),
        ("exp", serde_json::from_str(&format!("{}.5", now + 180))?),
        ("exp", json!(1e30)),
        ("exp", json!(u64::MAX)),
        ("exp", json!([now + 180])),
        ("exp", json!(true)),
        ("nbf", json!(now + 3_000)),
        ("nbf", json!("soon")),
        ("iat", json!(now + 3_000)),
        ("iat", json!(i64::MAX)),
        ("iat", json!({})),
        ("userId", Value::Null),
        ("userId", json!(attack.desk.customer.to_string())),
        ("userId", json!(0)),
        ("userId", json!(-1)),
        ("userId", serde_json::from_str(&format!("{}.0", attack.desk.customer))?),
        ("userId", json!(1e300)),
        ("userId", json!([attack.desk.customer])),
        ("userId", json!({"id": attack.desk.customer})),
        ("userId", json!(true)),
        ("userId", json!("")),
    ] {
        add(&format!("claim {name} {value}"), &genuine.clone().with_claim(name, value).encode()?);
    }
    for name in ["exp", "userId"] {
        add(&format!("no claim {name}"), &genuine.clone().with_claim(name, None).encode()?);
    }
    let email = attack.desk.zendesk().user(attack.desk.customer).context("the customer")?.email;
    let nobody = genuine.clone().with_claim("userId", None);
    for name in ["sub", "user_id", "id", "userid", "UserId"] {
        let token = nobody.clone().with_claim(name, json!(attack.desk.customer));
        add(&format!("only {name}"), &token.encode()?);
    }
    add("only an e-mail address", &nobody.with_claim("email", json!(email)).encode()?);
    Ok(rows)
}

/// Good tokens, tickets that are not for them.
fn tickets(attack: &Attack) -> Result<Rows> {
    let mut rows = Rows::default();
    let desk = &attack.desk;
    let own = desk.ticket.to_string();
    let zendesk = desk.zendesk();
    let deleted = desk.add_ticket(desk.customer, "Gone");
    zendesk.alter_ticket(deleted, |ticket| "deleted".clone_into(&mut ticket.status));
    let arabic: String = own.chars().map(|digit| char::from_u32(0x0660 + u32::from(digit) - 0x30).unwrap_or(digit)).collect();
    let wide: String = own.chars().map(|digit| char::from_u32(0xff10 + u32::from(digit) - 0x30).unwrap_or(digit)).collect();
    for (name, ticket) in [
        ("another's", desk.foreign_ticket.to_string()),
        ("deleted", deleted.to_string()),
        ("not there", "999999999".into()),
        ("zero", "0".into()),
        ("a leading zero", format!("0{own}")),
        ("a plus sign", format!("+{own}")),
        ("a minus sign", format!("-{own}")),
        ("a space before", format!(" {own}")),
        ("a space behind", format!("{own} ")),
        ("a line break behind", format!("{own}\n")),
        ("a null character behind", format!("{own}\u{0}")),
        ("a fraction", format!("{own}.0")),
        ("an exponent", format!("{own}e0")),
        ("hexadecimal", format!("{:#x}", desk.ticket)),
        ("Arabic digits", arabic),
        ("wide digits", wide),
        ("beyond 64 bits", "18446744073709551617".into()),
        ("64 digits", "9".repeat(64)),
        ("a path", format!("{own}/../{}", desk.foreign_ticket)),
        ("another file", format!("{own}/comments")),
        ("a suffix", format!("{own}.json")),
        ("a query", format!("{own}?include=users")),
        ("a fragment", format!("{own}#")),
        ("an escaped slash", format!("{own}%2f..%2f1")),
        ("two", format!("{own},{}", desk.foreign_ticket)),
        ("a word", "me".into()),
        ("the address", format!("{}/api/v2/tickets/{own}", desk.origin())),
    ] {
        rows.add(format!("ticket: {name}"), attack.press()?.member("/ticket", ticket), 403, "not-your-ticket");
    }
    let mut of = |name: &str, user: u64, ticket: u64| -> Result<()> {
        rows.add(name, desk.press(user, ticket)?, 403, "not-your-ticket");
        Ok(())
    };
    of("somebody in copy", desk.in_copy, desk.ticket)?;
    of("an agent who sees the ticket", desk.scene.people.agent, desk.ticket)?;
    of("its assignee", zendesk.ticket(desk.ticket).and_then(|ticket| ticket.assignee_id).context("an assignee")?, desk.ticket)?;
    of("the API's administrator", zendesk.api_user(), desk.ticket)?;
    of(
        "a colleague of the same organization",
        zendesk.ticket(desk.scene.people.scanner_ticket).context("a ticket")?.requester_id,
        desk.ticket,
    )?;
    let unknown = attack.genuine()?.with_claim("userId", json!(u64::MAX)).encode()?;
    rows.add("a user who is not there", attack.token(&unknown), 403, "not-your-ticket");
    let twice = attack.genuine()?.with_claim("userId", json!(desk.stranger)).with_claim("sub", json!(desk.customer)).encode()?;
    rows.add("another `sub`", attack.token(&twice), 403, "not-your-ticket");

    let closed = desk.add_ticket(desk.customer, "Done long ago");
    zendesk.alter_ticket(closed, |ticket| "closed".clone_into(&mut ticket.status));
    rows.add("closed", desk.press(desk.customer, closed)?, 409, "ticket-closed");
    let merged = desk.add_ticket(desk.customer, "The same again");
    zendesk.merge_ticket(merged, desk.ticket, desk.scene.people.agent);
    rows.add("merged", desk.press(desk.customer, merged)?, 409, "ticket-closed");
    let others_closed = desk.add_ticket(desk.stranger, "Theirs, and closed");
    zendesk.alter_ticket(others_closed, |ticket| "closed".clone_into(&mut ticket.status));
    rows.add("another's closed one", desk.press(desk.customer, others_closed)?, 403, "not-your-ticket");

    for issue in ["evil", "General_tech", "general_tech ", "general_tech&c2cjs=0", "general_tech\u{0}", "%", "email", "10"] {
        rows.add(format!("issue {issue:?}"), attack.press()?.member("/issue", issue), 422, "invalid-value");
    }
    rows.add("`ticket_field`, which is not configured", desk.press_by(("ticket_field", "deskbridge-x"), desk.ticket), 403, "proof-refused");

    // The order in which faults are told.
    let evil = |request: Request| request.with("origin", &["http://evil.example"]);
    let bad_token = attack.token("x");
    rows.add("first the origin", evil(bad_token.clone()).with("content-type", &["text/plain"]), 403, "cross-site");
    rows.add("then the media type", bad_token.clone().with("content-type", &["text/plain"]).saying("x"), 415, "not-json");
    let unknown = bad_token.clone().member("/connection", "Nobody's");
    rows.add("then the body", unknown.clone().member("/ticket", json!(1)), 400, "bad-request");
    rows.add("then the connection", unknown, 404, "connection-not-found");
    rows.add("then the proof", bad_token.clone().member("/ticket", "1").member("/issue", "evil"), 403, "proof-refused");
    let foreign = desk.press(desk.customer, desk.foreign_ticket)?.member("/issue", "evil");
    rows.add("then the ticket", foreign, 403, "not-your-ticket");
    rows.add("then that it is closed", desk.press(desk.customer, closed)?.member("/issue", "evil"), 409, "ticket-closed");
    Ok(rows)
}

/// Chat links and chats' addresses.
fn pages(attack: &Attack) -> Result<Rows> {
    let mut rows = Rows::default();
    let desk = &attack.desk;
    let own = desk.ticket.to_string();
    let good = desk.chat_link(&own, Some(ISSUE), 600)?;
    let token = good.strip_prefix(&format!("{}/", routes::CHAT_LINK)).context("a link")?;
    let (payload, tag) = token.split_once('.').context("a token")?;
    let said = json!({"c": CONNECTION, "t": own, "e": desk.scene.appliance.clock().now() + 600});
    let administrator = json!({"connection": CONNECTION, "agent": "7", "c": CONNECTION, "a": "7", "t": own, "e": said["e"]});
    let mut both = |name: &str, path: String, status: u16| {
        rows.add(format!("GET of a link {name}"), Request::new(Method::GET, path.clone()), status, "");
        let posted = Request::new(Method::POST, path).and("content-type", "application/x-www-form-urlencoded");
        rows.add(format!("POST of a link {name}"), posted.saying(format!("issue={ISSUE}")), status, "");
    };
    let link = |token: &str| format!("{}/{token}", routes::CHAT_LINK);
    both("that has expired", desk.chat_link(&own, None, -1)?, 410);
    both("under a changed signature", link(&format!("{payload}.{}", changed(tag))), 404);
    both("with a changed payload", link(&format!("{}.{tag}", changed(payload))), 404);
    both("without signature", link(&format!("{payload}.")), 404);
    both("with half a signature", link(&format!("{payload}.{}", &tag[..8])), 404);
    both("with more behind", link(&format!("{token}.{tag}")), 404);
    both("without a dot", link(payload), 404);
    both("that is long", link(&"a".repeat(4_000)), 404);
    both("that is no text", link("%ff%fe"), 404);
    both("for another purpose", link(&desk.sign("help center set-up", &administrator)?), 404);
    both("of no purpose", link(&desk.sign("", &said)?), 404);
    both("of another connection", link(&desk.sign("chat link", &json!({"c": "Nobody's", "t": own, "e": said["e"]}))?), 410);
    both("of a disabled connection", link(&desk.sign("chat link", &json!({"c": DISABLED, "t": own, "e": said["e"]}))?), 410);
    let closed = desk.add_ticket(desk.customer, "Closed since");
    desk.zendesk().alter_ticket(closed, |ticket| "closed".clone_into(&mut ticket.status));
    let deleted = desk.add_ticket(desk.customer, "Deleted since");
    desk.zendesk().alter_ticket(deleted, |ticket| "deleted".clone_into(&mut ticket.status));
    let post = |path: String| {
        let posted = Request::new(Method::POST, path).and("content-type", "application/x-www-form-urlencoded");
        posted.saying(format!("issue={ISSUE}"))
    };
    rows.add("POST of a closed ticket's link", post(desk.chat_link(&closed.to_string(), None, 600)?), 409, "");
    rows.add("POST of a deleted ticket's link", post(desk.chat_link(&deleted.to_string(), None, 600)?), 410, "");
    rows.add("POST of a link to a ticket that never was", post(desk.chat_link("999999999", Some(ISSUE), 600)?), 410, "");

    for id in ["x", "AAAAAAAAAAAAAAAAAAAAAA", "%ff", "%00", "..%2f..%2fc", "'%20OR%201=1", &"a".repeat(2_000)] {
        let path = format!("{}/{id}", routes::HELP_CENTER_CHATS);
        let name: String = id.chars().take(24).collect();
        rows.add(format!("GET of a chat {name}"), Request::new(Method::GET, path.clone()), 404, "");
        let once_more = post(path).saying("again=true");
        rows.add(format!("POST of a chat {name}"), once_more, 404, "");
    }
    Ok(rows)
}

#[tokio::test]
async fn every_row_of_the_attack_table_is_refused_and_tells_nothing() -> Result<()> {
    let attack = Attack::start("chats_per_customer = 1000\nchats_per_ticket = 1000").await?;
    attack.desk.ask(&attack.press()?).await?.chat_url().context("a genuine press")?;
    let tables = [
        pages_of_others(&attack)?,
        what_does_not_read(&attack)?,
        connections(&attack).await?,
        tokens(&attack)?,
        tickets(&attack)?,
        pages(&attack)?,
    ];
    let mut count = 0;
    let mut faults = Vec::new();
    for rows in tables {
        match attack.refuses(rows).await {
            Ok(refused) => count += refused,
            Err(error) => faults.push(format!("{error:#}")),
        }
    }
    ensure!(faults.is_empty(), "{}", faults.join("\n"));
    tell(&format!("{count} rows were refused"));
    assert!(count >= 90, "{count}");
    assert_eq!(attack.other.count(&Method::GET, "/api/v2/tickets"), 0, "the other account was asked");
    assert_eq!(attack.other.count(&Method::GET, KEYS), 0, "an address that a token named was asked");
    Ok(())
}

/// Nothing but the date distinguishes what a customer is told of tickets that are not theirs, whatever the reason.
#[tokio::test]
async fn a_ticket_that_is_not_theirs_looks_like_one_that_is_not_there() -> Result<()> {
    let attack = Attack::start("").await?;
    let desk = &attack.desk;
    let deleted = desk.add_ticket(desk.customer, "Gone");
    desk.zendesk().alter_ticket(deleted, |ticket| "deleted".clone_into(&mut ticket.status));
    let closed = desk.add_ticket(desk.stranger, "Closed");
    desk.zendesk().alter_ticket(closed, |ticket| "closed".clone_into(&mut ticket.status));
    let hidden = desk.add_ticket(desk.stranger, "Forbidden");
    let refused =
        Fault::Status { code: 403, body: json!({"error": {"title": "Forbidden", "message": "no"}}).to_string(), retry_after: None };
    desk.zendesk().fail_always(Matching::new(Method::GET, format!("/api/v2/tickets/{hidden}")), refused);
    let mut told = Vec::new();
    for ticket in [desk.foreign_ticket, 999_999_999, deleted, closed, hidden, 0] {
        let answer = desk.ask(&desk.press(desk.customer, ticket)?).await?;
        let mut headers: Vec<String> = answer.headers.iter().map(|(name, value)| format!("{name}: {value:?}")).collect();
        headers.retain(|header| !header.starts_with("date:"));
        headers.sort();
        told.push((ticket, answer.refusal(), headers, answer.body));
    }
    for (ticket, refusal, headers, body) in &told {
        assert_eq!(*refusal, (403, "not-your-ticket".to_owned()), "{ticket}: {body}");
        assert_eq!((headers, body), (&told[0].2, &told[0].3), "{ticket}");
    }
    Ok(())
}

/// Values of the field that are not this ticket's.
#[tokio::test]
async fn a_fields_value_proves_one_ticket_and_nothing_else() -> Result<()> {
    // The fields' numbers stand in the settings before the account has them.
    let (field, number) = (27_900, "27900");
    let attack = Attack::start(&format!("customer_proof = [\"ticket_field\"]\nticket_field = {number}\nchats_per_ticket = 1000")).await?;
    let desk = &attack.desk;
    let shown = deskbridge_tests::zendesk::TicketField { id: field, ..deskbridge_tests::zendesk::TicketField::shown_to_customers("Proof") };
    desk.zendesk().add_ticket_field(shown);
    let second = desk.add_ticket(desk.customer, "Another one");
    let sidebar = desk.scene.open_sidebar(desk.scene.people.agent).await?;
    let value_of = async |ticket: u64| {
        sidebar.get(routes::PANEL, ticket).send().await?.error_for_status()?;
        let value = |zendesk: &SimulatedZendesk| zendesk.ticket(ticket)?.custom_fields.get(&field)?.as_str().map(str::to_owned);
        desk.zendesk().wait_until(value).await
    };
    let (value, other) = (value_of(desk.ticket).await?, value_of(second).await?);
    let press = |value: &str| desk.press_by(("ticket_field", value), desk.ticket);
    desk.ask(&press(&value)).await?.chat_url().context("the right value")?;

    let mut rows = Rows::default();
    let swapped: String =
        value.chars().map(|letter| if letter.is_lowercase() { letter.to_ascii_uppercase() } else { letter.to_ascii_lowercase() }).collect();
    for (name, wrong) in [
        ("another ticket's", other.clone()),
        ("a prefix", value[..value.len() - 1].to_owned()),
        ("its prefix alone", "deskbridge-".to_owned()),
        ("without its prefix", value.trim_start_matches("deskbridge-").to_owned()),
        ("longer", format!("{value}A")),
        ("a space before", format!(" {value}")),
        ("a space behind", format!("{value} ")),
        ("another case", swapped),
        ("a changed end", format!("{}{}", &value[..value.len() - 1], if value.ends_with('A') { 'B' } else { 'A' })),
        ("a null character behind", format!("{value}\u{0}")),
        ("a text", "x".to_owned()),
        ("null", "null".to_owned()),
        ("9 kB", "x".repeat(9_000)),
    ] {
        rows.add(format!("value: {name}"), press(&wrong), 403, "proof-refused");
    }
    for (name, ticket) in
        [("a ticket of somebody else", desk.foreign_ticket.to_string()), ("a ticket that is not there", "999999999".into())]
    {
        rows.add(format!("value: for {name}"), press(&value).member("/ticket", ticket), 403, "proof-refused");
    }
    rows.add("value: with a leading zero", press(&value).member("/ticket", format!("0{}", desk.ticket)), 403, "proof-refused");
    rows.add(
        "the kind that is not configured",
        press(&desk.token(desk.customer)?).member("/proof/kind", "help_center_token"),
        403,
        "proof-refused",
    );
    let secrets = attack.secrets();
    for row in &rows.0 {
        let answer = desk.ask(&row.request).await?;
        attack.check(row, &answer, &secrets)?;
    }
    desk.nothing_began()?;

    // Taken out of the field, or overwritten by another's, it proves nothing, although it is ours.
    for now in [json!(null), json!(""), json!(other), json!(format!("{value}x"))] {
        desk.zendesk().alter_ticket(desk.ticket, |ticket| ticket.custom_fields.insert(field, now.clone()));
        assert_eq!(desk.ask(&press(&value)).await?.refusal(), (403, "proof-refused".to_owned()), "{now}");
    }
    desk.zendesk().alter_ticket(desk.ticket, |ticket| ticket.custom_fields.insert(field, json!(value)));
    desk.ask(&press(&value)).await?.chat_url().context("back again")?;

    // A text of somebody's own in the field of their ticket is no proof.
    desk.zendesk().alter_ticket(second, |ticket| ticket.custom_fields.insert(field, json!("my own text of 22 letters")));
    let own = desk.press_by(("ticket_field", "my own text of 22 letters"), second);
    assert_eq!(desk.ask(&own).await?.refusal(), (403, "proof-refused".to_owned()));

    // A closed ticket whose value is right is told as closed.
    desk.zendesk().alter_ticket(desk.ticket, |ticket| "closed".clone_into(&mut ticket.status));
    assert_eq!(desk.ask(&press(&value)).await?.refusal(), (409, "ticket-closed".to_owned()));
    desk.zendesk().alter_ticket(desk.ticket, |ticket| "open".clone_into(&mut ticket.status));

    // After a rotation the old value is void, though it still stands in the field.
    let rotated = desk.scene.server.command(&["help-center", "rotate", CONNECTION]).await?;
    assert!(rotated.status.success(), "{rotated:?}");
    assert_eq!(desk.ask(&press(&value)).await?.refusal(), (403, "proof-refused".to_owned()));
    desk.nothing_began()
}

/// Addresses of chats and links are opened by programs, too: nothing begins before a person presses or opens.
#[tokio::test]
async fn programs_that_open_addresses_start_nothing() -> Result<()> {
    let attack = Attack::start("chats_per_customer = 1000\nchats_per_ticket = 1000").await?;
    let desk = &attack.desk;
    let link = desk.chat_link(&desk.ticket.to_string(), None, 600)?;
    let appliance_before = desk.scene.appliance.requests().len();
    for method in [Method::GET, Method::HEAD] {
        for _ in 0..3 {
            let answer = desk.ask(&Request::new(method.clone(), link.clone())).await?;
            assert_eq!(answer.status, 200, "{method}: {}", answer.body);
        }
    }
    let touched = |request: &appliance::RecordedRequest| request.path.contains("start_session");
    assert_eq!(desk.scene.appliance.requests().into_iter().skip(appliance_before).filter(|request| touched(request)).count(), 0);

    let url = desk.ask(&attack.press()?).await?.chat_url()?;
    let path = url.strip_prefix(desk.scene.server.public_url()).context("an address of ours")?.to_owned();
    for name in ["HEAD", "prefetch", "prefetch;prerender"] {
        let request = match name {
            "HEAD" => Request::new(Method::HEAD, path.clone()),
            purpose => Request::new(Method::GET, path.clone()).and("sec-purpose", purpose),
        };
        let answer = desk.ask(&request).await?;
        assert!(!(300..400).contains(&answer.status) && !answer.headers.contains_key("location"), "{name}: {}", answer.status);
        // A browser would show what it fetched ahead in place of the chat.
        assert!(name == "HEAD" || !(200..300).contains(&answer.status), "{name}: {}", answer.status);
        assert!(answer.header("cache-control").contains("no-store"), "{name}");
    }
    desk.nothing_began()?;
    // The person is the first.
    assert_eq!(desk.open(Method::GET, &url).await?.status, 303);
    let again = desk.open(Method::GET, &url).await?;
    assert_eq!(again.status, 200, "{}", again.body);
    assert!(!again.body.contains(desk.scene.appliance.host()), "{}", again.body);
    for form in ["", "again=", "again=yes", "issue=evil", "again=true&again=true", "%ff"] {
        assert_eq!(desk.submit(&url, form).await?.status, 200, "{form}");
    }
    assert_eq!(desk.submit(&url, "again=true").await?.status, 303);

    // When its time is over it opens nothing, not even once more.
    let mut database = sqlx::SqliteConnection::connect(desk.scene.server.database_url()).await?;
    sqlx::query("UPDATE customer_chat SET expires_at = 1").execute(&mut database).await?;
    for (request, what) in [(Method::GET, "opened"), (Method::POST, "once more")] {
        let answer = if request == Method::GET { desk.open(request, &url).await? } else { desk.submit(&url, "again=true").await? };
        assert_eq!(answer.status, 410, "{what}: {}", answer.body);
    }
    // Another press gets another chat.
    assert_ne!(desk.ask(&attack.press()?).await?.chat_url()?, url);

    // An issue that is gone since leaves the choice; without any, the link is over.
    let network = desk.chat_link(&desk.ticket.to_string(), Some("network"), 600)?;
    let mut settings = desk.zendesk().options().installation_settings;
    settings["issues"] = json!("general_tech=General\nprinting=Printing");
    desk.zendesk().set_installation_settings(settings);
    let mut desk = attack.desk;
    desk.scene.server.restart().await?;
    let page = desk.ask(&Request::new(Method::GET, network.clone())).await?;
    assert!(page.status == 200 && page.body.contains("general_tech") && page.body.contains("printing"), "{}", page.body);
    let server = desk.scene.server.public_url().to_owned();
    let chosen = desk.submit(&format!("{server}{network}"), "issue=network").await?;
    assert_eq!(chosen.status, 200, "an issue that is gone: {}", chosen.body);
    desk.nothing_began()
}

/// `participants` lets those in copy in, and nobody else.
#[tokio::test]
async fn participants_are_let_in_where_the_settings_say_so() -> Result<()> {
    let attack = Attack::start("who = \"participants\"").await?;
    let desk = &attack.desk;
    desk.ask(&desk.press(desk.customer, desk.ticket)?).await?.chat_url().context("the requester")?;
    desk.ask(&desk.press(desk.in_copy, desk.ticket)?).await?.chat_url().context("in copy")?;
    for user in [desk.stranger, desk.scene.people.agent, desk.zendesk().api_user()] {
        assert_eq!(desk.ask(&desk.press(user, desk.ticket)?).await?.refusal(), (403, "not-your-ticket".to_owned()), "{user}");
    }
    desk.zendesk().alter_ticket(desk.ticket, |ticket| ticket.collaborator_ids.clear());
    assert_eq!(desk.ask(&desk.press(desk.in_copy, desk.ticket)?).await?.refusal(), (403, "not-your-ticket".to_owned()), "not any more");
    Ok(())
}

/// What a page of the Help Center may do, and what a caller without an origin is told.
#[tokio::test]
async fn preflights_and_offers_name_their_origin_alone() -> Result<()> {
    let attack = Attack::start("origins = [\"https://help.example.com\", \"http://127.0.0.1:4711\"]").await?;
    let desk = &attack.desk;
    for origin in [desk.origin(), "https://help.example.com", "http://127.0.0.1:4711", attack.other.url()] {
        for (path, method) in [(routes::HELP_CENTER_CHATS, "POST"), (routes::HELP_CENTER_OFFER, "GET")] {
            let asked = Request::new(Method::OPTIONS, path).and("origin", origin).and("access-control-request-method", method);
            let answer = desk.ask(&asked.and("access-control-request-headers", "content-type")).await?;
            let what = format!("{origin} {path}: {} {:?}", answer.status, answer.headers);
            assert!((200..300).contains(&answer.status), "{what}");
            assert_eq!(answer.header("access-control-allow-origin"), origin, "{what}");
            assert!(answer.header("access-control-allow-methods").contains(method), "{what}");
            assert!(answer.header("access-control-allow-headers").eq_ignore_ascii_case("content-type"), "{what}");
            assert!(answer.headers.get_all("vary").iter().any(|vary| vary.as_bytes().eq_ignore_ascii_case(b"origin")), "{what}");
            assert!(!answer.headers.contains_key("access-control-allow-credentials"), "{what}");
        }
    }
    for origin in [desk.origin(), "https://help.example.com", "http://127.0.0.1:4711"] {
        let offer = desk.ask(&desk.own_offer().with("origin", &[origin])).await?;
        offer.json(200)?;
        assert_eq!(offer.header("access-control-allow-origin"), origin);
        let press = desk.ask(&attack.press()?.with("origin", &[origin])).await?;
        press.chat_url()?;
        assert_eq!(press.header("access-control-allow-origin"), origin);
        assert!(press.headers.get("access-control-expose-headers").is_some(), "Retry-After can be read");
    }
    let nobody = desk.ask(&desk.own_offer().with("origin", &[])).await?;
    nobody.json(200)?;
    assert!(!nobody.headers.contains_key("access-control-allow-origin"), "{:?}", nobody.headers);
    for media_type in ["application/json; charset=utf-8", "Application/JSON"] {
        desk.ask(&attack.press()?.with("content-type", &[media_type])).await?.chat_url().context(media_type)?;
    }
    Ok(())
}
