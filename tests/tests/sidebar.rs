//! `POST /zendesk/sidebar`, attacked from outside: every row of the reject list (zendesk.md b.4), the sessions it opens,
//! its keys, two accounts on one server, and senders that take their time.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use deskbridge_shared::api::SESSION_OWNER_HEADER;
use deskbridge_shared::routes;
use deskbridge_tests::scene::{CONNECTION, EVENT_TOKEN, Plan, Scene, page_data};
use deskbridge_tests::server::{Deskbridge, loopback_client};
use deskbridge_tests::zendesk::{self, AppKey, Fault, KeyAnswer, KeyEndpoint, Matching, SimulatedZendesk};
use futures_util::future::{join_all, try_join_all};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use reqwest::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, COOKIE, HeaderMap, REFERRER_POLICY, SET_COOKIE,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};
use sqlx::Connection as _;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use url::form_urlencoded::{Serializer, parse};

const FORM: &str = "application/x-www-form-urlencoded";
const KEY_PATH: &str = "/api/v2/apps/";
const COOKIE_NAME: &str = "__Host-deskbridge";

/// A request to the door: what Zendesk would post, until a row spoils it.
#[derive(Clone)]
struct Knock {
    method: Method,
    query: Vec<(String, String)>,
    content_type: Option<&'static str>,
    body: String,
}

/// A row of a table: what is wrong, the status expected, the request.
type Row = (String, u16, Knock);

/// What came back.
struct Answer {
    status: u16,
    headers: HeaderMap,
    body: String,
}

/// One account's way to the door of a server.
struct Door<'a> {
    server: &'a Deskbridge,
    account: &'a SimulatedZendesk,
    agent: u64,
    http: Client,
}

impl<'a> Door<'a> {
    fn of(scene: &'a Scene) -> Self {
        Self { server: &scene.server, account: &scene.zendesk, agent: scene.people.agent, http: loopback_client().unwrap() }
    }

    /// A genuine request; every call gives another token.
    fn genuine(&self) -> Knock {
        let launch = self.account.launch(self.agent).unwrap();
        let query = parse(launch.query.as_bytes()).into_owned().collect();
        Knock { method: Method::POST, query, content_type: Some(FORM), body: form(&[("token", &launch.token)]) }
    }

    /// A genuine request but for the token.
    fn token(&self, token: &str) -> Knock {
        Knock { body: form(&[("token", token)]), ..self.genuine() }
    }

    fn claims(&self) -> Value {
        self.account.sidebar_claims(self.agent)
    }

    /// A genuine request whose claims were changed before the app's key signed them; null removes a claim.
    fn claim(&self, name: &str, value: Value) -> Knock {
        self.with_claims(&[(name, value)])
    }

    /// The same with several claims.
    fn with_claims(&self, changes: &[(&str, Value)]) -> Knock {
        let mut claims = self.claims();
        for (name, value) in changes {
            put(&mut claims, name, value.clone());
        }
        self.token(&self.account.sign_claims(&self.account.sidebar_header(), &claims).unwrap())
    }

    /// A genuine request but for one parameter of the query: no value removes it, several repeat it.
    fn parameter(&self, name: &str, values: &[&str]) -> Knock {
        let mut knock = self.genuine();
        knock.query.retain(|(known, _)| known != name);
        knock.query.extend(values.iter().map(|value| (name.to_owned(), (*value).to_owned())));
        knock
    }

    async fn knock(&self, knock: Knock) -> Answer {
        let query = Serializer::new(String::new()).extend_pairs(&knock.query).finish();
        let url = format!("{}{}?{query}", self.server.public_url(), routes::ZENDESK_SIDEBAR);
        let mut request = self.http.request(knock.method, url).body(knock.body);
        if let Some(content_type) = knock.content_type {
            request = request.header(CONTENT_TYPE, content_type);
        }
        let answer = request.send().await.unwrap();
        Answer { status: answer.status().as_u16(), headers: answer.headers().clone(), body: answer.text().await.unwrap() }
    }

    async fn status(&self, knock: Knock) -> u16 {
        self.knock(knock).await.status
    }

    /// Opens the sidebar; the page's data for the panel.
    async fn open(&self) -> Value {
        let answer = self.knock(self.genuine()).await;
        assert_eq!(answer.status, 200, "a genuine request: {}", answer.body);
        page_data(&answer.body).unwrap()
    }

    /// The row is refused as expected, and a stranger learns nothing by it.
    async fn refuses(&self, (name, status, knock): Row) {
        let answer = self.knock(knock).await;
        assert_eq!(answer.status, status, "{name}: {}", answer.body);
        let told = format!("{:?}\n{}", answer.headers, answer.body).to_lowercase();
        let options = self.account.options();
        let tenant = [
            CONNECTION,
            self.account.url(),
            self.account.issuer(),
            &options.api_email,
            &options.api_token,
            &options.installation_id.to_string(),
        ];
        for secret in tenant.into_iter().chain(["bearer", "set-cookie", COOKIE_NAME, "panicked", ".rs:"]) {
            assert!(!told.contains(&secret.to_lowercase()), "{name}: the refusal tells {secret}: {told}");
        }
        if status == 403 || status == 415 {
            assert_eq!(answer.headers[CACHE_CONTROL], "no-store", "{name}");
            // The person sits inside Zendesk's frame; which account's may not be told, so any frame may show the page.
            let policy = answer.headers[CONTENT_SECURITY_POLICY].to_str().unwrap();
            assert!(policy.contains("default-src 'none'") && !policy.contains("frame-ancestors"), "{name}: {policy}");
            assert!(answer.body.contains("Reload the ticket"), "{name}: the page says what to do: {}", answer.body);
        }
    }

    fn key_fetches(&self) -> usize {
        self.account.count(&Method::GET, KEY_PATH)
    }

    fn api(&self, path: &str, connection: &str, ticket: u64) -> RequestBuilder {
        let query = [("connection", connection.to_owned()), ("ticket", ticket.to_string())];
        self.http.get(format!("{}{path}", self.server.public_url())).query(&query)
    }
}

fn form(pairs: &[(&str, &str)]) -> String {
    Serializer::new(String::new()).extend_pairs(pairs).finish()
}

fn put(claims: &mut Value, name: &str, value: Value) {
    let claims = claims.as_object_mut().unwrap();
    if value.is_null() {
        claims.remove(name)
    } else {
        claims.insert(name.to_owned(), value)
    };
}

fn encode(part: &Value) -> String {
    URL_SAFE_NO_PAD.encode(part.to_string())
}

/// Requests that are refused before anybody looks for a key.
fn strangers(door: &Door<'_>, evil: &SimulatedZendesk) -> Vec<Row> {
    let genuine = door.genuine();
    let token = door.account.sidebar_token(door.agent).unwrap();
    let (url, issuer) = (door.account.url(), door.account.issuer());
    let mut rows: Vec<Row> = Vec::new();
    let mut add = |name: &str, status: u16, knock: Knock| rows.push((name.to_owned(), status, knock));

    for method in [Method::GET, Method::HEAD, Method::PUT, Method::DELETE, Method::OPTIONS] {
        add(&format!("{method} in place of POST"), 405, Knock { method, ..genuine.clone() });
    }
    let mut in_query = door.parameter("token", &[&token]);
    add("token in the query and in the form", 403, in_query.clone());
    in_query.body.clear();
    add("token in the query in place of the form", 403, in_query.clone());
    add("GET with the token in the query", 405, Knock { method: Method::GET, content_type: None, ..in_query });
    add("no body", 403, Knock { body: String::new(), ..genuine.clone() });
    add("no token", 403, Knock { body: form(&[("other", &token)]), ..genuine.clone() });
    add("empty token", 403, door.token(""));
    add(
        "two token fields",
        403,
        Knock { body: form(&[("token", &token), ("token", &door.account.sidebar_token(door.agent).unwrap())]), ..genuine.clone() },
    );
    add("the same token field twice", 403, Knock { body: form(&[("token", &token), ("token", &token)]), ..genuine.clone() });
    for content_type in [None, Some("application/json"), Some("multipart/form-data; boundary=x"), Some("text/plain")] {
        add(&format!("content type {content_type:?}"), 415, Knock { content_type, ..genuine.clone() });
    }
    add("oversized body", 413, Knock { body: format!("token={}", "a".repeat(65 * 1024)), ..genuine.clone() });
    add("oversized token", 403, door.token(&format!("{token}{}", "a".repeat(9 * 1024))));
    for text in
        ["x", "..", "a.b.c", "e30.e30.", &format!("{token}.more"), &format!(" {token}"), &token.replace('.', ""), &"[".repeat(8_000)]
    {
        add(&format!("no token at all: {}", &text[..text.len().min(20)]), 403, door.token(text));
    }

    // Algorithms. Each is signed as well as it can be.
    let claims = door.claims();
    let key = door.account.app_key();
    let (private, public) = (key.private_pem(), key.public_pem());
    let rsa = EncodingKey::from_rsa_pem(private.as_bytes()).unwrap();
    let ec = rcgen::KeyPair::generate().unwrap();
    let ec = EncodingKey::from_ec_pem(ec.serialize_pem().as_bytes()).unwrap();
    let hmac = |secret: &str| EncodingKey::from_secret(secret.as_bytes());
    for (name, algorithm, key) in [
        ("HS256 with the PEM text as secret", Algorithm::HS256, hmac(&public)),
        ("HS256 with the trimmed PEM text as secret", Algorithm::HS256, hmac(public.trim())),
        ("HS256 by client.request with a secure setting (b.5)", Algorithm::HS256, hmac(&door.account.options().api_token)),
        ("HS256 with an empty secret", Algorithm::HS256, hmac("")),
        ("RS384", Algorithm::RS384, rsa.clone()),
        ("RS512", Algorithm::RS512, rsa.clone()),
        ("PS256", Algorithm::PS256, rsa.clone()),
        ("ES256", Algorithm::ES256, ec),
    ] {
        add(name, 403, door.token(&jsonwebtoken::encode(&Header::new(algorithm), &claims, &key).unwrap()));
    }
    for algorithm in [json!("none"), json!("None"), json!("nOnE"), json!("rs256"), json!(""), json!(["RS256"]), Value::Null] {
        let mut header = door.account.sidebar_header();
        put(&mut header, "alg", algorithm.clone());
        add(&format!("alg {algorithm} without signature"), 403, door.token(&format!("{}.{}.", encode(&header), encode(&claims))));
        add(&format!("alg {algorithm} with the genuine signature"), 403, door.token(&key.sign(&header, &claims).unwrap()));
    }

    // Headers that name a key: the attacker's signature beside them, then the genuine one.
    let theirs = evil.app_key();
    let key_url = format!("{}{KEY_PATH}1001/public_key.pem", evil.url());
    for (name, value) in [
        ("kid", json!("../../../../dev/null")),
        ("kid", json!(key_url)),
        ("kid", json!({"n": 1})),
        ("jku", json!(key_url)),
        ("jwk", json!({"kty": "RSA", "e": "AQAB", "n": "0vx7"})),
        ("x5u", json!(key_url)),
        ("x5c", json!([URL_SAFE_NO_PAD.encode("certificate")])),
        ("crit", json!(["exp"])),
        ("b64", json!(false)),
    ] {
        let mut header = door.account.sidebar_header();
        header[name] = value.clone();
        for (signer, signed) in [("the attacker's", theirs.sign(&header, &claims)), ("the app's", key.sign(&header, &claims))] {
            add(&format!("header {name} {value} with {signer} signature"), 403, door.token(&signed.unwrap()));
        }
    }

    // Claims of strangers, signed by the app's own key: the two simulated accounts share it.
    let audience = claims["aud"].as_str().unwrap().to_owned();
    for (name, value) in [
        ("iss", Value::Null),
        ("iss", json!(evil.issuer())),
        ("iss", json!("evil.zendesk.com")),
        ("iss", json!(format!("evil.example/{issuer}"))),
        ("iss", json!(format!("{issuer}@evil.example"))),
        ("iss", json!(format!("{issuer}/"))),
        ("iss", json!(format!("https://https://{issuer}"))),
        ("iss", json!([issuer])),
        ("aud", Value::Null),
        ("aud", json!(format!("{url}/api/v2/apps/installations/1.json"))),
        ("aud", json!(audience.replace(".json", ""))),
        ("aud", json!(audience.replace("http://", "https://"))),
        ("aud", json!([audience])),
        ("aud", json!([audience, "https://evil.example"])),
    ] {
        add(&format!("claim {name} {value}"), 403, door.claim(name, value.clone()));
    }

    // The query beside a genuine token.
    for origin in [
        &[][..],
        &[""],
        &["null"],
        &[evil.url()],
        &["https://evil.zendesk.com"],
        &[&format!("{url}/")],
        &[&format!("https://{issuer}")],
        &[url, url],
        &[url, evil.url()],
    ] {
        add(&format!("origin {origin:?}"), 403, door.parameter("origin", origin));
    }
    let guid = "3f0c7f9e-2b1d-4c58-9d0e-7a6b5c4d3e2f";
    for app_guid in [
        &[][..],
        &[""],
        &["1"],
        &["3f0c7f9e2b1d4c589d0e7a6b5c4d3e2f"],
        &[&format!("{{{guid}}}")],
        &["zf0c7f9e-2b1d-4c58-9d0e-7a6b5c4d3e2f"],
        &[guid, guid],
    ] {
        add(&format!("app_guid {app_guid:?}"), 403, door.parameter("app_guid", app_guid));
    }
    rows
}

/// Requests that claim to be of a configured installation, and are not what they claim.
fn forgeries(door: &Door<'_>, evil: &SimulatedZendesk) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    let mut add = |name: &str, knock: Knock| rows.push((name.to_owned(), 403, knock));
    let (header, claims) = (door.account.sidebar_header(), door.claims());
    let genuine = door.account.sidebar_token(door.agent).unwrap();
    let (signed, signature) = genuine.rsplit_once('.').unwrap();

    add("another app's key", door.token(&evil.app_key().sign(&header, &claims).unwrap()));
    add("a fresh key", door.token(&AppKey::generate().unwrap().sign(&header, &claims).unwrap()));
    add("no signature", door.token(&format!("{signed}.")));
    add("a signature cut short", door.token(&format!("{signed}.{}", &signature[..signature.len() - 4])));
    add("a signature of zeros", door.token(&format!("{signed}.{}", URL_SAFE_NO_PAD.encode([0_u8; 256]))));
    add("another token's signature", door.token(&format!("{}.{}.{signature}", encode(&header), encode(&claims))));
    let hmac = EncodingKey::from_secret(door.account.app_key().public_pem().as_bytes());
    let by_hmac = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &hmac).unwrap();
    let message = format!("{}.{}", encode(&header), encode(&claims));
    add("an HMAC under the header of RS256", door.token(&format!("{message}.{}", by_hmac.rsplit_once('.').unwrap().1)));
    // Two answers to one question: a reader that takes the first and a reader that takes the last must not both be happy.
    let twice = format!("{{\"iss\":\"{}\",{}", evil.issuer(), &claims.to_string()[1..]);
    add("two issuers", door.token(&sign_text(door, &twice)));

    let now = claims["iat"].as_i64().unwrap();
    let lived = |from: i64, to: i64| door.with_claims(&[("iat", json!(now + from)), ("nbf", json!(now + from)), ("exp", json!(now + to))]);
    add("a token of ten minutes ago", lived(-600, -300));
    add("a token that ended a moment ago", lived(-331, -31));
    add("a token of tomorrow", lived(86_400, 86_700));
    add("a token that ends before it begins", lived(10, 5));
    let host = door.account.issuer();
    let user = |path: &str| json!(format!("{}/api/v2/users/{path}", door.account.url()));
    for (name, value) in [
        ("exp", Value::Null),
        ("exp", json!(now - 60)),
        ("exp", json!(format!("{}", now + 300))),
        ("exp", json!(1e30)),
        ("exp", json!(i64::MAX)),
        ("exp", json!(i64::MIN)),
        ("exp", json!(now + 86_400)),
        ("nbf", json!(now + 90)),
        ("nbf", json!(i64::MIN)),
        ("iat", json!(now + 90)),
        ("iat", json!(now - 86_400)),
        ("sub", Value::Null),
        ("sub", json!(door.agent)),
        ("sub", json!(format!("{}/api/v2/users/{}.json", evil.url(), door.agent))),
        ("sub", json!(format!("https://{host}.evil.example/api/v2/users/{}.json", door.agent))),
        ("sub", user("anna.json")),
        ("sub", user("-1.json")),
        ("sub", user("+1.json")),
        ("sub", user("007.json")),
        ("sub", user("1")),
        ("sub", user("1.json?x")),
        ("sub", user("99999999999999999999999.json")),
        ("context", json!("ticket_sidebar")),
        ("context", json!({"product": "support"})),
        ("context", json!({"product": "support", "location": "nav_bar"})),
        ("context", json!({"product": "chat", "location": "ticket_sidebar"})),
    ] {
        add(&format!("claim {name} {value}"), door.claim(name, value.clone()));
    }
    rows
}

/// Claims as a text that no JSON library would write, signed by the app's key.
fn sign_text(door: &Door<'_>, claims: &str) -> String {
    let key = EncodingKey::from_rsa_pem(door.account.app_key().private_pem().as_bytes()).unwrap();
    let message = format!("{}.{}", encode(&door.account.sidebar_header()), URL_SAFE_NO_PAD.encode(claims));
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::RS256).unwrap();
    format!("{message}.{signature}")
}

#[tokio::test]
async fn every_row_of_the_reject_list_is_refused_and_tells_nothing() -> Result<()> {
    let scene = Scene::start(Plan::default()).await?;
    let evil = SimulatedZendesk::start(zendesk::Options::default()).await?;
    evil.rotate_app_key().await?;
    let door = Door::of(&scene);

    for row in strangers(&door, &evil) {
        let name = row.0.clone();
        door.refuses(row).await;
        assert_eq!(door.key_fetches(), 0, "{name}: a key was fetched for a stranger");
    }
    door.open().await;
    assert_eq!(door.key_fetches(), 1);
    for row in strangers(&door, &evil).into_iter().chain(forgeries(&door, &evil)) {
        door.refuses(row).await;
        door.open().await;
    }
    // Of all the forged signatures, none fetched a key again so soon after the first (b.3).
    assert_eq!(door.key_fetches(), 1);
    assert_eq!(evil.requests().len(), 0, "an address named by a token was asked");
    Ok(())
}

#[tokio::test]
async fn what_is_genuine_opens_the_page_and_its_session() -> Result<()> {
    let name = "</script><b>\"Süd\" & 'Nord'</b>";
    let scene = Scene::start(Plan { connection: toml::from_str(&format!("name = {name:?}"))?, ..Plan::default() }).await?;
    let door = Door::of(&scene);
    let now = door.claims()["iat"].as_i64().context("iat")?;
    let url = door.account.url();
    let mut header = door.account.sidebar_header();
    header["kid"] = json!("deeee01d");
    let with_kid = door.token(&door.account.sign_claims(&header, &door.claims())?);
    let body = |knock: Knock, more: &str| Knock { body: format!("{}{more}", knock.body), ..knock };
    for (what, knock) in [
        ("as the workspace sends it", door.genuine()),
        ("iss with https://", door.claim("iss", json!(format!("https://{}", door.account.issuer())))),
        ("a key id that names nothing", with_kid),
        ("no context", door.claim("context", Value::Null)),
        ("beside a new ticket", door.claim("context", json!({"product": "support", "location": "new_ticket_sidebar"}))),
        ("a clock behind ours", door.with_claims(&[("iat", json!(now - 300)), ("nbf", json!(now - 300)), ("exp", json!(now - 2))])),
        ("a clock ahead of ours", door.claim("nbf", json!(now + 20))),
        ("no nbf", door.claim("nbf", Value::Null)),
        ("more parameters", door.parameter("locale", &["de"])),
        ("more fields", body(door.genuine(), "&utf8=1")),
        ("a charset", Knock { content_type: Some("application/x-www-form-urlencoded; charset=UTF-8"), ..door.genuine() }),
        ("capital letters", door.parameter("app_guid", &["3F0C7F9E-2B1D-4C58-9D0E-7A6B5C4D3E2F"])),
    ] {
        let answer = door.knock(knock).await;
        assert_eq!(answer.status, 200, "{what}: {}", answer.body);
    }

    let knock = door.parameter("colorScheme", &["dark"]);
    let guid = knock.query.iter().find(|(name, _)| name == "app_guid").context("app_guid")?.1.clone();
    let answer = door.knock(knock).await;
    let headers = &answer.headers;
    let policy = headers[CONTENT_SECURITY_POLICY].to_str()?;
    let ancestors: Vec<&str> = policy.split(';').map(str::trim).filter(|directive| directive.starts_with("frame-ancestors")).collect();
    assert_eq!(ancestors, [format!("frame-ancestors {url}")], "{policy}");
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe-inline") && !policy.contains("'unsafe-eval'"), "{policy}");
    assert_eq!(headers.get(X_FRAME_OPTIONS), None);
    assert_eq!(headers[CACHE_CONTROL], "no-store");
    assert_eq!(headers[REFERRER_POLICY], "no-referrer");
    assert_eq!(headers[X_CONTENT_TYPE_OPTIONS], "nosniff");

    let data = page_data(&answer.body)?;
    let bearer = data["bearer"].as_str().context("bearer")?;
    assert!(bearer.len() >= 22, "a bearer of 128 bits: {bearer}");
    assert_eq!((&data["connection"], &data["account_origin"], &data["app_guid"]), (&json!(name), &json!(url), &json!(guid)));
    assert_eq!((&data["color_scheme"], &data["locale"]), (&json!("dark"), &json!("en")));
    assert!(!answer.body.contains("<b>") && answer.body.contains("data-scheme=\"dark\""), "{}", answer.body);

    let cookies: Vec<&str> = headers.get_all(SET_COOKIE).iter().map(|line| line.to_str().unwrap()).collect();
    let [cookie] = cookies.as_slice() else { panic!("one cookie: {cookies:?}") };
    let mut parts: Vec<&str> = cookie.split("; ").collect();
    assert_eq!(parts.remove(0), format!("{COOKIE_NAME}={bearer}"));
    parts.sort_unstable();
    // No Domain, as `__Host-` wants it, and no Max-Age: it goes with the browser.
    assert_eq!(parts, ["HttpOnly", "Partitioned", "Path=/", "SameSite=None", "Secure"]);

    // Language and colours come from the browser, and nothing else of it goes onto the page.
    let request = door.http.post(format!(
        "{}{}?{}&x=<b>",
        door.server.public_url(),
        routes::ZENDESK_SIDEBAR,
        query(&door.parameter("colorScheme", &["\"><b>"]))
    ));
    let german = request
        .header("accept-language", "de-CH,de;q=0.9")
        .form(&[("token", door.account.sidebar_token(door.agent)?)])
        .send()
        .await?
        .text()
        .await?;
    let german_data = page_data(&german)?;
    assert_eq!((&german_data["locale"], &german_data["color_scheme"]), (&json!("de"), &json!("light")));
    let texts = async |page: &str| -> Result<serde_json::Value> {
        let (_, rest) = page.split_once("id=\"deskbridge-texts\"").context("no link to the texts")?;
        let path = rest.split('"').find(|part| part.starts_with('/')).context("no address of the texts")?;
        let answer = door.http.get(format!("{}{path}", door.server.public_url())).send().await?;
        assert!(answer.headers()["cache-control"].to_str()?.contains("immutable"), "browsers keep them");
        Ok(answer.json().await?)
    };
    let (english, german_texts) = (texts(&answer.body).await?, texts(&german).await?);
    assert!(english["loading"].is_string() && german_texts["loading"].is_string());
    assert_ne!(german_texts, english);
    assert!(!german.contains("<b>"), "{german}");

    // The session: by cookie alone, by bearer alone; a wrong bearer is not healed by a good cookie.
    let good = bearer.to_owned();
    let other = door.open().await["bearer"].as_str().context("bearer")?.to_owned();
    assert_ne!(good, other, "every opening has its own session");
    let unknown = format!("{}{}", if good.starts_with('A') { 'B' } else { 'A' }, &good[1..]);
    let cookie = |id: &str| (COOKIE, format!("a=b; {COOKIE_NAME}={id}; c=d"));
    let bearer = |id: &str| (AUTHORIZATION, format!("Bearer {id}"));
    for (what, with, expected) in [
        ("nothing", vec![], 401),
        ("the cookie alone", vec![cookie(&good)], 200),
        ("the bearer alone", vec![bearer(&good)], 200),
        ("both", vec![cookie(&good), bearer(&good)], 200),
        ("two sessions of the agent", vec![cookie(&good), bearer(&other)], 200),
        ("an unknown bearer beside a good cookie", vec![cookie(&good), bearer(&unknown)], 401),
        ("a malformed bearer beside a good cookie", vec![cookie(&good), bearer("; x")], 401),
        ("an empty bearer beside a good cookie", vec![cookie(&good), (AUTHORIZATION, "bearer ".to_owned())], 401),
        ("a bearer cut short", vec![bearer(&good[..good.len() - 1])], 401),
        ("an unknown cookie", vec![cookie(&unknown)], 401),
        ("a cookie of another name", vec![(COOKIE, format!("deskbridge={good}"))], 401),
    ] {
        let request = door.api(routes::SESSIONS, name, scene.people.vpn_ticket);
        let answer = with.iter().fold(request, |request, (header, value)| request.header(header, value)).send().await?;
        assert_eq!(answer.status().as_u16(), expected, "{what}");
        let touched = with.iter().any(|(header, _)| header == AUTHORIZATION) && answer.headers().contains_key(SET_COOKIE);
        assert!(!touched, "{what}: a bearer's answer changes the browser's cookie, which is another page's");
    }

    // Nothing of it is in the log.
    let log = scene.server.logs().text();
    let options = scene.zendesk.options();
    for secret in [&good, &other, &options.api_token, &scene.appliance.options().client_secret, EVENT_TOKEN, "eyJ"] {
        assert!(!log.contains(secret), "the log holds {secret}");
    }
    Ok(())
}

/// A tab that was left open has a bearer that has ended. Its agent opens another ticket, and the browser has a new cookie.
#[tokio::test]
async fn a_later_session_of_its_owner_stands_in_for_an_ended_bearer() -> Result<()> {
    let scene = Scene::start(Plan::default()).await?;
    let door = Door::of(&scene);
    let colleague = Door { agent: scene.people.german_agent, ..Door::of(&scene) };
    let text = |data: &Value, name: &str| data[name].as_str().map(str::to_owned).context("a text");
    let old = door.open().await;
    let (ended, owner) = (text(&old, "bearer")?, text(&old, "owner")?);
    let mut database = sqlx::SqliteConnection::connect(scene.server.database_url()).await?;
    sqlx::query("UPDATE agent_session SET created_at = 0, used_at = 0").execute(&mut database).await?;
    let (new, others) = (door.open().await, colleague.open().await);
    assert_eq!(new["owner"], old["owner"]);
    assert_ne!(new["owner"], others["owner"]);
    let (new, others_owner, others) = (text(&new, "bearer")?, text(&others, "owner")?, text(&others, "bearer")?);
    let agent = owner.split_once(':').context("connection and agent")?.1;
    let elsewhere = format!("3f0c7f9e-2b1d-4c58-9d0e-7a6b5c4d3e2f:{agent}");

    let cookie = |id: &str| (COOKIE.as_str(), format!("a=b; {COOKIE_NAME}={id}"));
    let bearer = |id: &str| (AUTHORIZATION.as_str(), format!("Bearer {id}"));
    let says = |owner: &str| (SESSION_OWNER_HEADER, owner.to_owned());
    let cross_site = || ("sec-fetch-site", "cross-site".to_owned());
    for (what, with, read, made) in [
        ("the ended bearer alone", vec![bearer(&ended)], 401, 401),
        ("the new session's cookie", vec![bearer(&ended), says(&owner), cookie(&new)], 200, 200),
        ("the cookie, and nobody says whose the page was", vec![bearer(&ended), cookie(&new)], 401, 401),
        ("a colleague's cookie", vec![bearer(&ended), says(&owner), cookie(&others)], 401, 401),
        ("the cookie on a colleague's page", vec![bearer(&ended), says(&others_owner), cookie(&new)], 401, 401),
        ("the cookie on another connection's page", vec![bearer(&ended), says(&elsewhere), cookie(&new)], 401, 401),
        ("an ended cookie", vec![bearer(&ended), says(&owner), cookie(&ended)], 401, 401),
        ("no cookie", vec![bearer(&ended), says(&owner)], 401, 401),
        ("a malformed bearer", vec![bearer("; x"), says(&owner), cookie(&new)], 401, 401),
        ("a good bearer beside a colleague's cookie", vec![bearer(&new), says(&owner), cookie(&others)], 200, 200),
        (
            "another site's page, whose reading the browser forbids",
            vec![bearer(&ended), says(&owner), cookie(&new), cross_site()],
            200,
            403,
        ),
    ] {
        // Used long enough ago that a use is written down.
        sqlx::query("UPDATE agent_session SET used_at = used_at - 120000 WHERE created_at > 0").execute(&mut database).await?;
        let used_at = "SELECT max(used_at), min(used_at) FROM agent_session WHERE created_at > 0";
        let before: (i64, i64) = sqlx::query_as(used_at).fetch_one(&mut database).await?;
        let with = |request: RequestBuilder| with.iter().fold(request, |request, (name, value)| request.header(*name, value));
        let answer = with(door.api(routes::SESSIONS, CONNECTION, scene.people.vpn_ticket)).send().await?;
        assert_eq!(answer.status().as_u16(), read, "{what}");
        let after: (i64, i64) = sqlx::query_as(used_at).fetch_one(&mut database).await?;
        assert_eq!(after != before, read == 200, "{what}: only a session that is let in is used");
        assert!(!answer.headers().contains_key(SET_COOKIE), "{what}: the browser's cookie is another page's");
        let body = json!({"connection": CONNECTION, "ticket": scene.people.vpn_ticket.to_string()});
        let answer = with(door.http.post(format!("{}{}", door.server.public_url(), routes::SESSION_KEY)).json(&body)).send().await?;
        assert_eq!(answer.status().as_u16(), made, "{what}: a key");
    }
    Ok(())
}

fn query(knock: &Knock) -> String {
    Serializer::new(String::new()).extend_pairs(&knock.query).finish()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_opens_once_whoever_posts_it_and_whenever() -> Result<()> {
    let mut scene = Scene::start(Plan::default()).await?;
    let door = Door::of(&scene);
    let used = door.genuine();
    let posts = join_all((0..50).map(|_| door.status(used.clone()))).await;
    let count = |status: u16| posts.iter().filter(|other| **other == status).count();
    assert_eq!((count(200), count(403)), (1, 49), "{posts:?}");

    // The same claims signed again are the same token; a change of its spelling makes no other.
    let token = parse(used.body.as_bytes()).next().context("token")?.1.into_owned();
    let last = token.chars().last().context("a signature")?;
    let spelt = format!("{}{}", &token[..token.len() - 1], if last == 'A' { 'B' } else { char::from(last as u8 + 1) });
    for (what, knock) in [
        ("again", used.clone()),
        ("in another frame", door.token(&token)),
        ("with other spare bits in its signature", door.token(&spelt)),
        ("with padding", door.token(&format!("{token}=="))),
        (
            "percent-encoded throughout",
            Knock { body: token.bytes().fold("token=".to_owned(), |body, byte| format!("{body}%{byte:02X}")), ..used.clone() },
        ),
    ] {
        door.refuses((format!("a used token {what}"), 403, knock)).await;
    }
    door.open().await;

    scene.server.restart().await?;
    let door = Door::of(&scene);
    door.refuses(("a used token after a restart".into(), 403, used)).await;
    door.open().await;
    Ok(())
}

#[tokio::test]
async fn the_key_is_found_wherever_the_account_has_it() -> Result<()> {
    let at = |with_extension, without_extension, needs_credentials| KeyEndpoint { with_extension, without_extension, needs_credentials };
    let rows = [
        (at(KeyAnswer::RawPem, KeyAnswer::NotFound, false), 200, 1),
        (at(KeyAnswer::JsonString, KeyAnswer::NotFound, false), 200, 1),
        (at(KeyAnswer::NotFound, KeyAnswer::JsonString, false), 200, 2),
        (at(KeyAnswer::NotFound, KeyAnswer::RawPem, true), 200, 2),
        (at(KeyAnswer::NotFound, KeyAnswer::NotFound, false), 503, 2),
    ];
    let run = async |(endpoint, expected, fetches): (KeyEndpoint, u16, usize)| {
        let zendesk = zendesk::Options { key_endpoint: endpoint, ..zendesk::Options::default() };
        let scene = Scene::start(Plan { zendesk, ..Plan::default() }).await?;
        let door = Door::of(&scene);
        for _ in 0..3 {
            assert_eq!(door.status(door.genuine()).await, expected, "{endpoint:?}");
        }
        assert_eq!(door.key_fetches(), fetches, "{endpoint:?}: the answer is remembered");
        anyhow::Ok(())
    };
    try_join_all(rows.map(run)).await?;
    Ok(())
}

#[tokio::test]
async fn a_rotated_key_is_used_and_forged_tokens_do_not_make_requests() -> Result<()> {
    let mut scene = Scene::start(Plan::default()).await?;
    let old = scene.zendesk.rotate_app_key().await?;
    let door = Door::of(&scene);
    let signed_by_old = || door.token(&old.sign(&door.account.sidebar_header(), &door.claims()).unwrap());
    assert_eq!(door.status(signed_by_old()).await, 403, "the old key signs nothing any more");
    door.open().await;
    assert_eq!(join_all((0..30).map(|_| door.status(signed_by_old()))).await, [403; 30]);
    assert!(door.key_fetches() <= 2, "{} fetches", door.key_fetches());
    door.open().await;

    // A restart forgets neither the key nor when it was fetched.
    let fetches = door.key_fetches();
    scene.server.restart().await?;
    let door = Door::of(&scene);
    door.open().await;
    let forged =
        join_all((0..30).map(|_| door.status(door.token(&old.sign(&door.account.sidebar_header(), &door.claims()).unwrap())))).await;
    assert_eq!((forged, door.key_fetches()), (vec![403; 30], fetches));
    Ok(())
}

#[tokio::test]
async fn a_connection_that_moves_to_another_account_leaves_its_key_behind() -> Result<()> {
    let mut scene = Scene::start(Plan::default()).await?;
    let next = SimulatedZendesk::start(zendesk::Options::default()).await?;
    let agent = next.fill_demo_data().agent;
    let former = next.rotate_app_key().await?;
    Door::of(&scene).open().await;
    let settings = std::fs::read_to_string(scene.server.settings_path())?;
    std::fs::write(scene.server.settings_path(), settings.replace(scene.zendesk.url(), next.url()))?;
    scene.server.restart().await?;
    let door = Door { server: &scene.server, account: &next, agent, http: loopback_client()? };
    let by_former_key = door.token(&former.sign(&next.sidebar_header(), &door.claims())?);
    door.refuses(("the former account's key".into(), 403, by_former_key)).await;
    door.open().await;
    assert_eq!(Door::of(&scene).status(Door::of(&scene).genuine()).await, 403, "the former account is a stranger now");
    Ok(())
}

#[tokio::test]
async fn an_account_that_is_down_is_told_in_words_and_asked_rarely() -> Result<()> {
    let html = "<html><h1>Internal error at /srv/zendesk/app.rb:42</h1></html>".to_owned();
    let run = async |fault: Fault| {
        let mut scene = Scene::start(Plan::default()).await?;
        scene.zendesk.fail_always(Matching::any_api_call(), fault.clone());
        let door = Door::of(&scene);
        for answer in join_all((0..20).map(|_| door.knock(door.genuine()))).await {
            assert_eq!(answer.status, 503, "{fault:?}: {}", answer.body);
            assert!(answer.body.contains("Reload"), "it says what to do: {}", answer.body);
            let told = format!("{:?}\n{}", answer.headers, answer.body).to_lowercase();
            for secret in [CONNECTION, door.account.issuer(), "set-cookie", "bearer", "app.rb", "reqwest", "http ", ".rs:", "public_key"] {
                assert!(!told.contains(&secret.to_lowercase()), "{fault:?}: the page tells {secret}: {told}");
            }
        }
        assert!(door.key_fetches() <= 2, "{fault:?}: {} fetches for 20 openings", door.key_fetches());
        scene.zendesk.clear_faults();
        scene.server.restart().await?;
        Door::of(&scene).open().await;
        // Once there was a key, the account may go: what it signed opens the page.
        scene.zendesk.fail_always(Matching::any_api_call(), fault);
        scene.server.restart().await?;
        Door::of(&scene).open().await;
        anyhow::Ok(())
    };
    try_join_all([Fault::CloseConnection, Fault::Status { code: 500, body: html, retry_after: None }].map(run)).await?;
    Ok(())
}

#[tokio::test]
async fn a_key_from_a_file_is_the_only_one() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("app.pem");
    std::fs::write(&path, AppKey::of_this_process()?.public_pem())?;
    let mut connection = toml::Table::new();
    connection.insert("zendesk".into(), toml::Value::Table(toml::from_str(&format!("public_key_file = {path:?}"))?));
    let scene = Scene::start(Plan { connection, ..Plan::default() }).await?;
    let door = Door::of(&scene);
    door.open().await;
    scene.zendesk.rotate_app_key().await?;
    assert_eq!(door.status(door.genuine()).await, 403, "signed by another key than the file's");
    assert_eq!(door.key_fetches(), 0);
    Ok(())
}

#[tokio::test]
async fn two_accounts_on_one_server_stay_apart() -> Result<()> {
    let second = SimulatedZendesk::start(zendesk::Options { installation_id: 77, app_id: 9, ..zendesk::Options::default() }).await?;
    let people = second.fill_demo_data();
    second.rotate_app_key().await?;
    let options = second.options();
    let plan = Plan {
        server: Deskbridge::builder().connection_text(&format!(
            "name = \"Second\"\n[appliance]\nid = \"second\"\nhost = \"127.0.0.1:1\"\nclient_id = \"c\"\nclient_secret = \"s\"\n\
             [zendesk]\nurl = \"{}\"\nusername = \"{}\"\ntoken = \"{}\"\napp_id = {}\ninstallation_id = {}\n",
            second.url(),
            options.api_email,
            options.api_token,
            options.app_id,
            options.installation_id,
        )),
        ..Plan::default()
    };
    let scene = Scene::start(plan).await?;
    let first = Door::of(&scene);
    let other = Door { server: &scene.server, account: &second, agent: people.agent, http: loopback_client()? };

    // Each opens its own, in frames of its own account only.
    for (door, name) in [(&first, CONNECTION), (&other, "Second")] {
        let answer = door.knock(door.genuine()).await;
        assert_eq!(page_data(&answer.body)?["connection"], json!(name));
        let policy = answer.headers[CONTENT_SECURITY_POLICY].to_str()?;
        assert!(policy.ends_with(&format!("frame-ancestors {}", door.account.url())), "{policy}");
    }
    let second_key_for_first = first.token(&second.app_key().sign(&first.account.sidebar_header(), &first.claims())?);
    let mut mixed = first.claims();
    mixed["aud"] = other.claims()["aud"].clone();
    let mixed = first.token(&first.account.sign_claims(&first.account.sidebar_header(), &mixed)?);
    for (what, knock) in [
        ("the second account's key under the first one's name", second_key_for_first),
        ("the first account's issuer with the second one's audience", mixed),
        ("the first account's token beside the second one's origin", first.parameter("origin", &[second.url()])),
        ("a user of the second account", first.claim("sub", other.claims()["sub"].clone())),
    ] {
        first.refuses((what.to_owned(), 403, knock)).await;
    }

    // A session of one with the other's data.
    let bearer = first.open().await["bearer"].as_str().context("bearer")?.to_owned();
    for path in [routes::PANEL, routes::SESSIONS] {
        for (connection, expected) in [(CONNECTION, 200), ("Second", 403), ("No such connection", 403)] {
            let answer = first.api(path, connection, scene.people.vpn_ticket).bearer_auth(&bearer).send().await?;
            assert_eq!(answer.status().as_u16(), expected, "{path} {connection}");
            if expected == 403 {
                let problem: Value = answer.json().await?;
                assert_eq!(problem["type"], json!("urn:deskbridge:problem:foreign-connection"), "{path} {connection}");
            }
        }
    }
    for path in [routes::SESSION_KEY, routes::JUMP, routes::SESSION_CHAT_LINK] {
        let body = json!({"connection": "Second", "ticket": people.vpn_ticket.to_string(), "method": "jump_client", "target": "x"});
        let body = if path == routes::JUMP { body } else { json!({"connection": "Second", "ticket": body["ticket"]}) };
        let answer = first.http.post(format!("{}{path}", first.server.public_url())).bearer_auth(&bearer).json(&body).send().await?;
        assert_eq!(answer.status().as_u16(), 403, "{path}");
        assert_eq!(answer.json::<Value>().await?["type"], json!("urn:deskbridge:problem:foreign-connection"), "{path}");
    }
    assert_eq!(second.count(&Method::GET, "/api/v2/tickets/"), 0, "the second account was asked for the first one's agent");
    Ok(())
}

/// What a slow sender sends at first, and what it adds every second.
struct Slow {
    name: &'static str,
    first: String,
    dribble: &'static str,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_senders_are_cut_off() -> Result<()> {
    let scene = Scene::start(Plan::default()).await?;
    let door = Door::of(&scene);
    let address = scene.server.url().trim_start_matches("http://").to_owned();
    let path = routes::ZENDESK_SIDEBAR;
    let head = format!("POST {path} HTTP/1.1\r\nhost: {address}\r\ncontent-type: {FORM}\r\n");
    let health = format!("GET {} HTTP/1.1\r\nhost: {address}\r\n\r\n", routes::HEALTHZ);
    let page = door.open().await;
    let bearer = page["bearer"].as_str().context("bearer")?;
    let slow = |name, first: &str, dribble| Slow { name, first: first.to_owned(), dribble };
    let senders = [
        slow("silence", "", ""),
        slow("one byte", "P", ""),
        slow("half the HTTP/2 preface", "PRI * HTTP/2.0\r\n", ""),
        slow("the HTTP/2 preface alone", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", ""),
        slow("half a request line", &format!("POST {path}"), ""),
        slow("half a head", &head, ""),
        slow("a dribbled head", &head, "x: y\r\n"),
        slow("half of a second head", &format!("{health}{head}"), ""),
        slow("a half body", &format!("{head}content-length: 100\r\n\r\ntoken=ab"), ""),
        slow("a dribbled body", &format!("{head}content-length: 100\r\n\r\ntoken="), "a"),
        slow("a dribbled chunked body", &format!("{head}transfer-encoding: chunked\r\n\r\n"), "1\r\na\r\n"),
        slow(
            "a half body for the panel",
            &format!(
                "POST {} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {bearer}\r\ncontent-type: application/json\r\ncontent-length: 90\r\n\r\n{{",
                routes::SESSION_KEY
            ),
            "",
        ),
    ];
    let genuine = async {
        // The door stays open for everybody else.
        for _ in 0..20 {
            door.open().await;
        }
    };
    let (lives, ()) = tokio::join!(join_all(senders.iter().map(|sender| life(&address, sender))), genuine);
    for (sender, life) in senders.iter().zip(lives) {
        let life = life.with_context(|| format!("{} is not cut off", sender.name))?;
        // Closed for being slow, and not for being wrong.
        assert!(life > Duration::from_secs(4), "{} was closed after {life:?}", sender.name);
    }
    door.open().await;
    Ok(())
}

/// How long the server keeps the connection of a slow sender. Fails if longer than it ever should.
async fn life(address: &str, sender: &Slow) -> Result<Duration> {
    let began = Instant::now();
    let (mut reader, mut writer) = TcpStream::connect(address).await?.into_split();
    writer.write_all(sender.first.as_bytes()).await?;
    let dribbling = async {
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            // After the end there is nobody to write to; the reader notices.
            if sender.dribble.is_empty() || writer.write_all(sender.dribble.as_bytes()).await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    };
    let mut answer = Vec::new();
    let closed = tokio::time::timeout(Duration::from_secs(25), async {
        tokio::select! {
            // A reset is as good an end as an orderly one.
            _ = reader.read_to_end(&mut answer) => {}
            () = dribbling => {}
        }
    });
    closed.await?;
    Ok(began.elapsed())
}
