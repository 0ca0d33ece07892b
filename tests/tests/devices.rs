//! Paired browsers from outside: a line for each thing an attacker, a wrong clock or a lost computer can do.
//!
//! A line is refused with its own status and type, and the same request unchanged is taken: so none is refused for another reason.

use std::collections::BTreeSet;
use std::process::Output;

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use deskbridge_shared::device::{DEVICE_HEADER, DeviceAnswer, NONCE_HEADER, SIGNATURE_HEADER, TIME_HEADER};
use deskbridge_shared::routes::{DEVICE_SELF, DEVICES, PAIR, PANEL, SESSION_KEY};
use deskbridge_tests::device::{Answer, Browser, Call, now_ms, pairing_code};
use deskbridge_tests::scene::{Plan, Scene};
use deskbridge_tests::server::{Builder, Database, Deskbridge, loopback_client};
use futures_util::future::try_join_all;
use reqwest::Method;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, LOCATION, RETRY_AFTER};
use serde_json::{Value, json};
use sqlx::Connection as _;

const FIRST: &str = "First";
const SECOND: &str = "Second";

/// A server with two connections, behind which nobody answers: nothing here asks them.
fn builder() -> Builder {
    [FIRST, SECOND].into_iter().fold(Deskbridge::builder(), |builder, name| {
        builder.connection_text(&format!(
            "name = \"{name}\"\n[appliance]\nid = \"{name}\"\nhost = \"127.0.0.1:1\"\nclient_id = \"c\"\nclient_secret = \"s\"\n\
             [zendesk]\nurl = \"http://127.0.0.1:1\"\nusername = \"api@example.com\"\ntoken = \"t\"\napp_id = 1\ninstallation_id = 2\n"
        ))
    })
}

/// What an attacker does to a request he has.
type Change = fn(&mut Call);

/// Refused with this status and type, in a complete problem document that is not kept by caches.
#[track_caller]
fn refused(what: &str, answer: &Answer, status: u16, kind: &str) -> Value {
    assert_eq!(answer.status, status, "{what}: {}", answer.text);
    assert_eq!(answer.headers[CONTENT_TYPE], "application/problem+json", "{what}");
    assert_eq!(answer.headers["cache-control"], "no-store", "{what}");
    let problem = answer.json();
    assert_eq!(problem["type"], json!(format!("urn:deskbridge:problem:{kind}")), "{what}: {problem}");
    assert_eq!(problem["status"], json!(status), "{what}: {problem}");
    for text in ["title", "detail"] {
        assert!(problem[text].as_str().is_some_and(|text| !text.is_empty()), "{what}: {problem}");
    }
    problem
}

#[track_caller]
fn taken(what: &str, answer: &Answer) -> DeviceAnswer {
    assert_eq!(answer.status, 200, "{what}: {}", answer.text);
    assert_eq!(answer.headers["cache-control"], "no-store", "{what}");
    serde_json::from_str(&answer.text).unwrap_or_else(|error| panic!("{what}: {error}: {}", answer.text))
}

async fn run(server: &Deskbridge, arguments: &[&str]) -> Result<(i32, String)> {
    let Output { status, stdout, stderr } = server.command(&[&["devices"], arguments].concat()).await?;
    Ok((status.code().context("ended by a signal")?, String::from_utf8([stdout, stderr].concat())?))
}

/// The figures of one family, as `/metrics` shows them.
async fn figures(server: &Deskbridge, family: &str) -> Result<BTreeSet<String>> {
    let text = loopback_client()?.get(format!("{}/metrics", server.admin_url())).send().await?.text().await?;
    Ok(text.lines().filter_map(|line| line.strip_prefix(family)).filter(|line| line.starts_with('{')).map(str::to_owned).collect())
}

#[tokio::test]
async fn a_browser_is_paired_and_forgets_itself() -> Result<()> {
    let server = builder().start().await?;
    let (code, said) =
        run(&server, &["pair", "--connection", SECOND, "--connection", FIRST, "--agent", "Anna Berg", "--email", "anna@example.com"])
            .await?;
    assert_eq!(code, 0, "{said}");
    let line = |name: &str| said.lines().find_map(|line| line.strip_prefix(name)).map(str::trim).unwrap_or_default();
    let (pairing, link) = (line("code "), line("link "));
    assert_eq!(pairing.len(), 19, "{said}");
    assert_eq!(link, format!("{}{PAIR}#{pairing}", server.public_url()));
    assert_eq!((line("agent "), line("for ")), ("Anna Berg <anna@example.com>", "First, Second"));

    let mut browser = Browser::new(&server)?;
    // As somebody types it.
    let paired = browser.pair(&format!(" {} ", pairing.to_lowercase().replace('-', " "))).await?;
    assert_eq!((paired.name.as_str(), paired.agent.as_deref()), ("Anna's laptop", Some("Anna Berg")));
    let connections: Vec<_> = paired.connections.iter().map(|connection| (connection.name.as_str(), connection.system.as_str())).collect();
    assert_eq!(connections, [(FIRST, "zendesk"), (SECOND, "zendesk")]);
    let (_, listed) = run(&server, &["list"]).await?;
    assert!(
        listed.starts_with(&paired.device) && listed.contains("not used yet: Anna's laptop (Firefox 140 on Linux), Anna Berg"),
        "{listed}"
    );

    let itself = taken("itself", &browser.ask(Method::GET, DEVICE_SELF, "").await?);
    assert_eq!(DeviceAnswer { server_time: paired.server_time.clone(), ..itself }, paired);
    let (_, listed) = run(&server, &["list"]).await?;
    assert!(listed.contains(", used 20"), "{listed}");
    // Escapes and order of the query are signed as they are sent.
    taken("a query", &browser.ask(Method::GET, &format!("{DEVICE_SELF}?b=%2f%7E&a=+"), "").await?);

    let gone = browser.ask(Method::DELETE, DEVICE_SELF, "").await?;
    assert_eq!((gone.status, gone.text.as_str()), (204, ""));
    refused("after it forgot itself", &browser.ask(Method::GET, DEVICE_SELF, "").await?, 401, "device-revoked");
    assert!(run(&server, &["list"]).await?.1.contains(", revoked 20"));

    let unsigned = Call { method: Method::GET, path: DEVICE_SELF.to_owned(), body: String::new(), headers: Vec::new() };
    refused("no proof at all", &browser.send(&unsigned).await?, 401, "no-device");
    let panel = Call { path: format!("{PANEL}?connection={FIRST}&ticket=1"), ..unsigned };
    refused("no proof for the panel", &browser.send(&panel).await?, 401, "no-session");
    Ok(())
}

#[tokio::test]
async fn a_signed_request_counts_once_and_as_it_was_signed() -> Result<()> {
    let mut server = builder().env("RUST_LOG", "trace").start().await?;
    let browser = Browser::paired(&server, FIRST, &[]).await?;
    let stranger = Browser::paired(&server, FIRST, &[]).await?;
    let path = format!("{DEVICE_SELF}?a=1");
    let body = json!({ "connection": SECOND, "ticket": "1" }).to_string();
    let draft = browser.draft(Method::GET, &path, "");
    let fresh = || browser.draft(Method::GET, &path, "");

    // Replayed: at once, and after a restart.
    let call = browser.sign(&draft);
    taken("the first time", &browser.send(&call).await?);
    refused("replayed", &browser.send(&call).await?, 401, "replayed");
    server.restart().await?;
    refused("replayed after a restart", &browser.send(&call).await?, 401, "replayed");
    // Another signature over the same nonce, and another time of signing.
    refused("the nonce again", &browser.send(&browser.sign(&draft)).await?, 401, "replayed");
    let mut again = draft.clone();
    again.time_ms += 1;
    refused("the nonce again, later", &browser.send(&browser.sign(&again)).await?, 401, "replayed");
    // The nonce is the device's own.
    let mut shared = stranger.draft(Method::GET, &path, "");
    shared.nonce.clone_from(&draft.nonce);
    taken("another device's same nonce", &stranger.send(&stranger.sign(&shared)).await?);

    // Changed after signing.
    let changes: [(&str, Change); 10] = [
        ("re-timed", |call| {
            let time: i64 = call.header(TIME_HEADER).parse().unwrap();
            *call.header(TIME_HEADER) = (time + 1).to_string();
        }),
        ("the nonce", |call| "AAECAwQFBgcICQoLDA0ODw".clone_into(call.header(NONCE_HEADER))),
        ("the method", |call| call.method = Method::DELETE),
        ("the path", |call| call.path = call.path.replace(DEVICE_SELF, PANEL)),
        ("the query's value", |call| call.path = call.path.replace("a=1", "a=2")),
        ("the query's spelling", |call| call.path = call.path.replace("a=1", "a=%31")),
        ("a query more", |call| call.path.push_str("&b=2")),
        ("no query", |call| call.path = DEVICE_SELF.to_owned()),
        ("a body", |call| call.body = "{}".to_owned()),
        ("another signature", |call| *call.header(SIGNATURE_HEADER) = URL_SAFE_NO_PAD.encode([1; 64])),
    ];
    for (what, change) in changes {
        let mut call = browser.sign(&fresh());
        change(&mut call);
        refused(what, &browser.send(&call).await?, 401, "device-refused");
    }
    // A body changed for another of the same length; unchanged, it reaches the call, which knows another reason to refuse it.
    let mut call = browser.sign(&browser.draft(Method::POST, SESSION_KEY, &body));
    call.body = body.replace(SECOND, "Secon2");
    refused("the body", &browser.send(&call).await?, 401, "device-refused");
    refused("the body unchanged", &browser.ask(Method::POST, SESSION_KEY, &body).await?, 403, "foreign-connection");

    // Signed for something else, or by somebody else.
    let mut elsewhere = fresh();
    elsewhere.origin = "https://remote.example.com".to_owned();
    refused("for another origin", &browser.send(&browser.sign(&elsewhere)).await?, 401, "device-refused");
    refused("re-signed by another key", &browser.send(&stranger.sign(&fresh())).await?, 401, "device-refused");
    let mut call = browser.sign(&fresh());
    call.header(DEVICE_HEADER).clone_from(&stranger.device);
    refused("a foreign device's id", &browser.send(&call).await?, 401, "device-refused");
    let mut nobody = fresh();
    nobody.device = "01930000-0000-7000-8000-000000000000".to_owned();
    refused("nobody's id", &browser.send(&browser.sign(&nobody)).await?, 401, "device-refused");
    // Of the second the server says the same as of the first: who has no key learns nothing.
    let mut pairing = fresh();
    pairing.device = "new".to_owned();
    let mut call = browser.sign(&pairing);
    call.headers.push((DEVICE_HEADER.to_owned(), browser.device.clone()));
    refused("a pairing's signature", &browser.send(&call).await?, 401, "device-refused");

    // Clocks.
    for drift in [-100_000, 100_000, -86_400_000, 86_400_000] {
        let mut draft = fresh();
        draft.time_ms += drift;
        let answer = browser.send(&browser.sign(&draft)).await?;
        let problem = refused(&format!("{drift} ms off"), &answer, 401, "clock");
        let told = problem["server_time"].as_str().context("no server_time")?;
        let told = time::OffsetDateTime::parse(told, &time::format_description::well_known::Rfc3339)?.unix_timestamp();
        assert!((told - now_ms() / 1_000).abs() < 60, "{problem}");
        // Whoever does not have the key is not told.
        let answer = browser.send(&stranger.sign(&draft)).await?;
        assert!(refused("a stranger's clock", &answer, 401, "device-refused")["server_time"].is_null());
    }
    for drift in [-60_000, 60_000] {
        let mut draft = fresh();
        draft.time_ms += drift;
        taken("a clock that is nearly right", &browser.send(&browser.sign(&draft)).await?);
    }
    let figures = figures(&server, "deskbridge_device_requests_refused_total").await?;
    let reasons = ["clock", "replayed", "signature", "unknown_device"];
    assert!(reasons.iter().all(|reason| figures.iter().any(|line| line.contains(reason))) && figures.len() == reasons.len(), "{figures:?}");
    assert!(!server.logs().text().contains(&draft.nonce), "a nonce stands in the log");
    Ok(())
}

#[tokio::test]
async fn a_proof_that_does_not_read_is_told_so() -> Result<()> {
    let server = builder().start().await?;
    let browser = Browser::paired(&server, FIRST, &[]).await?;
    let sound = || browser.sign(&browser.draft(Method::GET, DEVICE_SELF, ""));
    for name in [TIME_HEADER, NONCE_HEADER, SIGNATURE_HEADER, DEVICE_HEADER] {
        let mut call = sound();
        let value = call.header(name).clone();
        call.headers.push((name.to_owned(), value));
        refused(&format!("{name} twice"), &browser.send(&call).await?, 400, "device-proof");
        let mut call = sound();
        call.headers.push((name.to_owned(), "x".to_owned()));
        refused(&format!("{name} twice, different"), &browser.send(&call).await?, 400, "device-proof");
        let oversized = "1".repeat(20_000);
        for wrong in ["", " ", "=", "a b", "\u{fc}", "+/+/+/+/+/+/+/+/+/+/+A", "9223372036854775808", "-1", &oversized] {
            let mut call = sound();
            wrong.clone_into(call.header(name));
            refused(&format!("{name} = {wrong:.40}"), &browser.send(&call).await?, 400, "device-proof");
        }
        if name != DEVICE_HEADER {
            let mut call = sound();
            call.headers.retain(|(other, _)| other != name);
            refused(&format!("no {name}"), &browser.send(&call).await?, 400, "device-proof");
        }
    }
    // Other spellings of the same bytes or id would be other requests with the same meaning.
    let mut call = sound();
    call.header(DEVICE_HEADER).make_ascii_uppercase();
    refused("the id in capitals", &browser.send(&call).await?, 400, "device-proof");
    let mut call = sound();
    call.header(NONCE_HEADER).push_str("==");
    refused("a padded nonce", &browser.send(&call).await?, 400, "device-proof");
    let mut call = sound();
    *call.header(SIGNATURE_HEADER) = URL_SAFE_NO_PAD.encode([1; 63]);
    refused("a short signature", &browser.send(&call).await?, 400, "device-proof");
    // Without its id, the rest proves nothing.
    let mut call = sound();
    call.headers.retain(|(name, _)| name != DEVICE_HEADER);
    refused("no id", &browser.send(&call).await?, 401, "no-device");

    let body = format!("{{\"connection\": \"{}\"}}", "x".repeat(65 * 1_024));
    refused("an oversized body", &browser.ask(Method::POST, SESSION_KEY, &body).await?, 413, "too-large");
    taken("the same browser, sound", &browser.send(&sound()).await?);
    Ok(())
}

#[tokio::test]
async fn a_session_and_a_signature_do_not_go_together() -> Result<()> {
    let scene = Scene::start(Plan::default()).await?;
    let sidebar = scene.open_sidebar(scene.people.agent).await?;
    let browser = Browser::paired(&scene.server, sidebar.connection(), &[]).await?;
    let both = [
        (AUTHORIZATION, format!("Bearer {}", sidebar.bearer())),
        (AUTHORIZATION, "Bearer nothing".to_owned()),
        (COOKIE, format!("__Host-deskbridge={}", sidebar.bearer())),
        (COOKIE, "a=b; __Host-deskbridge=x".to_owned()),
    ];
    for (name, value) in both {
        let mut call = browser.sign(&browser.draft(Method::GET, DEVICE_SELF, ""));
        call.headers.push((name.to_string(), value.clone()));
        refused(&format!("{name}: {value:.30}"), &browser.send(&call).await?, 400, "two-proofs");
    }
    let mut call = browser.sign(&browser.draft(Method::GET, DEVICE_SELF, ""));
    call.headers.push((COOKIE.to_string(), "theme=dark".to_owned()));
    taken("a cookie of somebody else", &browser.send(&call).await?);
    // A session is no device.
    let answer = sidebar.get(DEVICE_SELF, scene.people.vpn_ticket).send().await?;
    assert_eq!(answer.status(), 401);
    assert_eq!(answer.json::<Value>().await?["type"], "urn:deskbridge:problem:no-device");
    Ok(())
}

#[tokio::test]
async fn a_lost_device_is_revoked_at_once_on_every_server() -> Result<()> {
    let first = builder().database(Database::Postgres).start().await?;
    let mut second = first.sibling().await?;
    second.start().await?;
    let anna = ["--agent", "Anna Berg"];
    let (mut lost, mut kept) = (Browser::paired(&first, FIRST, &anna).await?, Browser::paired(&first, FIRST, &anna).await?);
    let other = Browser::paired(&first, FIRST, &["--agent", "Ben"]).await?;
    let ask = async |browser: &mut Browser, server: &Deskbridge| -> Result<Answer> {
        server.url().clone_into(&mut browser.server);
        browser.ask(Method::GET, DEVICE_SELF, "").await
    };
    for server in [&first, &second] {
        taken("before", &ask(&mut lost, server).await?);
    }
    // What one server has seen, the other has.
    let call = kept.sign(&kept.draft(Method::GET, DEVICE_SELF, ""));
    taken("on the first", &kept.send(&call).await?);
    second.url().clone_into(&mut kept.server);
    refused("replayed on the second", &kept.send(&call).await?, 401, "replayed");

    assert_eq!(run(&first, &["revoke", &lost.device]).await?, (0, "revoked\n".to_owned()));
    for server in [&second, &first] {
        refused("revoked", &ask(&mut lost, server).await?, 401, "device-revoked");
        taken("her other device", &ask(&mut kept, server).await?);
    }
    assert_eq!(run(&first, &["revoke", &lost.device]).await?, (0, "it was revoked before\n".to_owned()));
    assert_eq!(run(&second, &["revoke", "--agent", "Anna Berg"]).await?, (0, "1 revoked\n".to_owned()));
    for server in [&first, &second] {
        refused("all of hers", &ask(&mut kept, server).await?, 401, "device-revoked");
    }
    taken("another agent's", &other.ask(Method::GET, DEVICE_SELF, "").await?);
    // A revoked device's key never pairs again, so its old pairing is no way back either.
    let code = pairing_code(&first, FIRST, &[]).await?;
    lost.server = first.url().to_owned();
    refused("its key again", &lost.send(&lost.pairing(&code)?).await?, 409, "already-paired");
    assert_eq!(run(&first, &["revoke", "--agent", "Anna Berg"]).await?, (1, "0 revoked\n".to_owned()));
    Ok(())
}

#[tokio::test]
async fn a_code_pairs_as_often_as_it_may_and_in_its_time() -> Result<()> {
    for database in Database::ALL {
        let server = builder().database(database).start().await?;
        let pair = async |code: &str| -> Result<Answer> {
            let browser = Browser::new(&server)?;
            browser.send(&browser.pairing(code)?).await
        };
        // Fifty at once, through a code for one and a code for seven.
        for (arguments, uses) in [(&[][..], 1), (&["--uses", "7", "--days", "30"], 7)] {
            let code = pairing_code(&server, FIRST, arguments).await?;
            let answers = try_join_all((0..50).map(|_| pair(&code))).await?;
            let (paired, rest): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 201);
            assert_eq!(paired.len(), uses, "{database:?}");
            for answer in rest {
                refused("one of fifty", &answer, 410, "pairing-code-used");
            }
        }
        assert_eq!(run(&server, &["list"]).await?.1.lines().count(), 8);

        // One browser, twenty times at once: one device, one use.
        let code = pairing_code(&server, FIRST, &["--uses", "2"]).await?;
        let browser = Browser::new(&server)?;
        let calls = (0..20).map(|_| browser.pairing(&code)).collect::<Result<Vec<_>>>()?;
        let answers = try_join_all(calls.iter().map(|call| browser.send(call))).await?;
        assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 1, "{database:?}");
        for answer in answers.iter().filter(|answer| answer.status != 201) {
            refused("the same browser", answer, 409, "already-paired");
        }
        assert_eq!(pair(&code).await?.status, 201, "{database:?}: the second use is left");
        refused("the third", &pair(&code).await?, 410, "pairing-code-used");
        refused("the same browser with the used code", &browser.send(&browser.pairing(&code)?).await?, 409, "already-paired");
    }
    Ok(())
}

#[tokio::test]
async fn an_expired_code_pairs_nothing() -> Result<()> {
    let server = builder().env("RUST_LOG", "trace").start().await?;
    let code = pairing_code(&server, FIRST, &["--uses", "2"]).await?;
    let early = Browser::new(&server)?;
    assert_eq!(early.send(&early.pairing(&code)?).await?.status, 201);
    // A minute is the shortest a code lives: its row is moved into the past.
    let mut database = sqlx::SqliteConnection::connect(server.database_url()).await?;
    let moved = sqlx::query("UPDATE pairing_code SET expires_at = $1").bind(now_ms() - 1).execute(&mut database).await?;
    assert_eq!(moved.rows_affected(), 1);
    let late = Browser::new(&server)?;
    refused("late", &late.send(&late.pairing(&code)?).await?, 410, "pairing-code-expired");
    assert_eq!(run(&server, &["list"]).await?.1.lines().count(), 1);
    // Neither code nor key stands there to be used.
    let bytes = std::fs::read(server.directory().join("deskbridge.db-wal"))?;
    let plain = code.replace('-', "");
    for secret in [code.as_bytes(), plain.as_bytes()] {
        assert!(!bytes.windows(secret.len()).any(|window| window == secret), "the code stands in the database");
    }
    assert!(!server.logs().text().contains(&plain) && !server.logs().text().contains(&code), "the code stands in the log");
    Ok(())
}

#[tokio::test]
async fn wrong_codes_are_soon_not_looked_at() -> Result<()> {
    let server = builder().start().await?;
    let good = pairing_code(&server, FIRST, &[]).await?;
    let browser = Browser::new(&server)?;
    for number in 0..10 {
        let wrong = if number % 2 == 0 { format!("{number:016}") } else { "no code".to_owned() };
        refused("a wrong code", &browser.send(&browser.pairing(&wrong)?).await?, 403, "pairing-code");
    }
    for code in ["0000000000000011", &good] {
        let answer = browser.send(&browser.pairing(code)?).await?;
        refused("after ten wrong ones", &answer, 429, "too-many-codes");
        let wait: u64 = answer.headers[RETRY_AFTER].to_str()?.parse()?;
        assert!((1..=60).contains(&wait), "{wait}");
    }
    let figures = figures(&server, "deskbridge_pairings_total").await?;
    assert_eq!(figures, ["{outcome=\"limited\"} 2", "{outcome=\"unknown_code\"} 10"].map(str::to_owned).into());
    Ok(())
}

#[tokio::test]
async fn a_browser_that_cannot_prove_its_key_is_not_paired() -> Result<()> {
    let server = builder().start().await?;
    let code = pairing_code(&server, FIRST, &[]).await?;
    let (browser, stranger) = (Browser::new(&server)?, Browser::new(&server)?);
    let public_key = browser.public_key()?;
    let signed = |body: Value| browser.sign(&browser.draft(Method::POST, DEVICES, &body.to_string()));
    let with_key = |key: &str| signed(json!({ "code": code, "public_key": key }));

    let own = json!({ "code": code, "public_key": public_key }).to_string();
    let somebody_elses = stranger.sign(&stranger.draft(Method::POST, DEVICES, &own));
    refused("somebody else's key", &browser.send(&somebody_elses).await?, 401, "device-refused");
    let mut call = with_key(&public_key);
    call.body = call.body.replace(&public_key, &stranger.public_key()?);
    refused("the key changed after signing", &browser.send(&call).await?, 401, "device-refused");
    let mut draft = browser.draft(Method::POST, DEVICES, &own);
    draft.origin = "https://remote.example.com".to_owned();
    refused("for another server", &browser.send(&browser.sign(&draft)).await?, 401, "device-refused");
    let mut draft = browser.draft(Method::POST, DEVICES, &own);
    draft.time_ms -= 100_000;
    let problem = refused("a wrong clock", &browser.send(&browser.sign(&draft)).await?, 401, "clock");
    assert!(problem["server_time"].is_string());

    let der = URL_SAFE_NO_PAD.decode(&public_key)?;
    let mut off_the_curve = der.clone();
    *off_the_curve.last_mut().context("a key")? ^= 1;
    let mut other_curve = der.clone();
    other_curve[22] ^= 1;
    let keys = [
        ("empty", String::new()),
        ("not base64url", "++++".to_owned()),
        ("padded", format!("{public_key}==")),
        ("not DER", URL_SAFE_NO_PAD.encode([7; 91])),
        ("cut", URL_SAFE_NO_PAD.encode(&der[..90])),
        ("longer", URL_SAFE_NO_PAD.encode([&der[..], &[0]].concat())),
        ("a bare point", URL_SAFE_NO_PAD.encode(&der[26..])),
        ("another curve", URL_SAFE_NO_PAD.encode(&other_curve)),
        ("not on the curve", URL_SAFE_NO_PAD.encode(&off_the_curve)),
        ("oversized", "A".repeat(30_000)),
    ];
    for (what, key) in keys {
        let problem = refused(what, &browser.send(&with_key(&key)).await?, 422, "invalid-value");
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.starts_with("public_key")), "{what}: {problem}");
    }
    for (what, more) in [("name", "x".repeat(101)), ("browser", "two\nlines".to_owned())] {
        let call = signed(json!({ "code": code, "public_key": public_key, what: more }));
        refused(what, &browser.send(&call).await?, 422, "invalid-value");
    }
    for body in [json!({ "code": code }), json!([]), json!({ "code": code, "public_key": public_key, "admin": true })] {
        refused(&body.to_string(), &browser.send(&signed(body)).await?, 400, "bad-request");
    }
    refused("oversized", &browser.send(&with_key(&"A".repeat(70_000))).await?, 413, "too-large");
    let mut call = with_key(&public_key);
    "text/plain".clone_into(call.header(CONTENT_TYPE.as_str()));
    refused("not JSON", &browser.send(&call).await?, 400, "bad-request");
    for name in [TIME_HEADER, NONCE_HEADER, SIGNATURE_HEADER] {
        let mut call = with_key(&public_key);
        let value = call.header(name).clone();
        call.headers.push((name.to_owned(), value));
        refused(&format!("{name} twice"), &browser.send(&call).await?, 400, "device-proof");
        call.headers.retain(|(other, _)| other != name);
        refused(&format!("no {name}"), &browser.send(&call).await?, 400, "device-proof");
    }
    let mut call = with_key(&public_key);
    call.headers.push((DEVICE_HEADER.to_owned(), "01930000-0000-7000-8000-000000000000".to_owned()));
    refused("with an id", &browser.send(&call).await?, 400, "device-proof");

    // Nothing of this used the code up.
    let answer = browser.send(&with_key(&public_key)).await?;
    assert_eq!(answer.status, 201, "{}", answer.text);
    assert_eq!(answer.json()["name"], "Browser", "a browser that says nothing about itself");
    assert!(!answer.headers.contains_key(LOCATION) && answer.headers["cache-control"] == "no-store");
    Ok(())
}

#[tokio::test]
async fn extensions_may_call_across_origins_and_web_pages_may_not() -> Result<()> {
    let server = builder().start().await?;
    let http = loopback_client()?;
    let preflight = async |origin: &str, path: &str, method: &str| -> Result<reqwest::Response> {
        let request = http.request(Method::OPTIONS, format!("{}{path}", server.url()));
        let asked = "content-type,deskbridge-device,deskbridge-nonce,deskbridge-signature,deskbridge-time";
        let request = request.header("origin", origin).header("access-control-request-method", method);
        Ok(request.header("access-control-request-headers", asked).send().await?)
    };
    let list = |answer: &reqwest::Response, name: &str| -> BTreeSet<String> {
        let text = answer.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_ascii_lowercase();
        text.split(',').map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
    };
    let own = format!("{}/", server.public_url());
    let extensions = ["chrome-extension://abcdefghijklmnopabcdefghijklmnop", "moz-extension://2c127fa4-62c7-7e4f-90e5-472b45eecfdc"];
    let pages = [
        "https://ticket.example.com",
        "null",
        "http://chrome-extension://x",
        "https://chrome-extension.example.com",
        "safari-web-extension://x",
        &own,
    ];
    for (path, method) in [(DEVICES, "POST"), (DEVICE_SELF, "GET"), (DEVICE_SELF, "DELETE"), (PANEL, "GET"), (SESSION_KEY, "POST")] {
        for origin in extensions {
            let answer = preflight(origin, path, method).await?;
            assert_eq!(answer.status(), 200, "{origin} {path}");
            assert_eq!(answer.headers()["access-control-allow-origin"], *origin);
            assert!(list(&answer, "vary").contains("origin"));
            assert_eq!(list(&answer, "access-control-allow-methods"), ["get", "post", "delete"].map(str::to_owned).into());
            let headers = ["accept", "content-type", "deskbridge-device", "deskbridge-nonce", "deskbridge-signature", "deskbridge-time"];
            assert_eq!(list(&answer, "access-control-allow-headers"), headers.map(str::to_owned).into());
            assert_eq!(answer.headers()["access-control-max-age"], "3600");
            assert!(!answer.headers().contains_key("access-control-allow-credentials"), "{origin} {path}");
        }
        for origin in pages {
            let answer = preflight(origin, path, method).await?;
            let told = answer.headers().keys().any(|name| name.as_str().starts_with("access-control"));
            assert!(!told, "{origin} {path}: {:?}", answer.headers());
        }
    }
    // The requests themselves, as browsers send them. A refusal can be read by the extension, too.
    let browser = Browser::paired(&server, FIRST, &[]).await?;
    let body = json!({ "connection": SECOND, "ticket": "1" }).to_string();
    for origin in extensions {
        let mut call = browser.sign(&browser.draft(Method::GET, DEVICE_SELF, ""));
        let site = [("origin", origin), ("sec-fetch-site", "cross-site")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        call.headers.extend(site.clone());
        let answer = browser.send(&call).await?;
        taken("across origins", &answer);
        assert_eq!(answer.headers["access-control-allow-origin"], *origin);
        assert_eq!(answer.headers["access-control-expose-headers"], "date,retry-after");
        let answer = browser.send(&call).await?;
        refused("replayed", &answer, 401, "replayed");
        assert_eq!(answer.headers["access-control-allow-origin"], *origin);
        let mut call = browser.sign(&browser.draft(Method::POST, SESSION_KEY, &body));
        call.headers.extend(site.clone());
        refused("a signed POST reaches the call", &browser.send(&call).await?, 403, "foreign-connection");
        let headers = [(CONTENT_TYPE.to_string(), "application/json".to_owned())].into_iter().chain(site).collect();
        let unsigned = Call { method: Method::POST, path: SESSION_KEY.to_owned(), body: body.clone(), headers };
        refused("an unsigned POST", &browser.send(&unsigned).await?, 403, "cross-site");
    }
    // A page that has the extension's signature could not read the answer.
    let mut call = browser.sign(&browser.draft(Method::GET, DEVICE_SELF, ""));
    call.headers.push(("origin".to_owned(), "https://ticket.example.com".to_owned()));
    let answer = browser.send(&call).await?;
    taken("with a page's origin", &answer);
    assert!(answer.headers.keys().all(|name| !name.as_str().starts_with("access-control")), "{:?}", answer.headers);
    Ok(())
}

#[tokio::test]
async fn the_pairing_page_says_what_to_do() -> Result<()> {
    let server = builder().start().await?;
    for (language, expected) in [("de-AT,de;q=0.9", "koppeln"), ("en", "Pair this browser"), ("fr", "Pair this browser")] {
        let answer = loopback_client()?.get(format!("{}{PAIR}", server.url())).header("accept-language", language).send().await?;
        assert_eq!(answer.status(), 200);
        assert!(answer.headers()["content-security-policy"].to_str()?.starts_with("default-src 'none'"));
        let page = answer.text().await?;
        ensure!(page.contains(expected) && !page.contains("<script"), "{language}: {page}");
    }
    Ok(())
}

#[tokio::test]
async fn the_commands_say_what_is_wrong() -> Result<()> {
    let server = builder().start().await?;
    let nobody = "01930000-0000-7000-8000-000000000000";
    for (arguments, code, part) in [
        (&["pair", "--connection", "Third"][..], 1, "there is: First, Second"),
        (&["pair"], 2, "--connection"),
        (&["pair", "--connection", FIRST, "--minutes", "0"], 2, "--minutes"),
        (&["pair", "--connection", FIRST, "--minutes", "5", "--days", "1"], 2, "--days"),
        (&["pair", "--connection", FIRST, "--uses", "0"], 2, "--uses"),
        (&["pair", "--connection", FIRST, "--agent", "two\nlines"], 2, "one line"),
        (&["revoke"], 2, "Usage"),
        (&["revoke", nobody, "--agent", "x"], 2, "--agent"),
        (&["revoke", nobody], 1, "there is no device"),
        (&["revoke", "x"], 2, "x"),
        (&["list"], 0, ""),
    ] {
        let (ended, said) = run(&server, arguments).await?;
        assert_eq!(ended, code, "{arguments:?}: {said}");
        assert!(said.contains(part), "{arguments:?}: {said}");
    }
    let (_, said) = run(&server, &["pair", "--connection", FIRST, "--uses", "500", "--days", "30"]).await?;
    assert!(said.contains("500 times") && said.contains("anybody"), "{said}");
    Ok(())
}
