//! Paired browsers from outside: a line for each thing an attacker, a wrong clock or a lost computer can do.
//!
//! A line is refused with its own status and type, and the same request unchanged is taken: so none is refused for another reason.

use std::collections::BTreeSet;
use std::process::Output;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use deskbridge_shared::device::{DEVICE_HEADER, DeviceAnswer, NONCE_HEADER, SIGNATURE_HEADER, TIME_HEADER};
use deskbridge_shared::problem::Kind;
use deskbridge_shared::routes::{DEVICE_SELF, DEVICES, PAIR, PANEL, SESSION_KEY, SESSIONS};
use deskbridge_tests::device::{Answer, Browser, Call, now_ms, pairing_code};
use deskbridge_tests::scene::{Plan, Scene};
use deskbridge_tests::server::{Builder, Database, Deskbridge, loopback_client};
use futures_util::future::try_join_all;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, LOCATION, RETRY_AFTER};
use reqwest::{Method, Response};
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

/// An osTicket connection: its tickets are shown without asking anybody.
fn osticket(name: &str, port: u16) -> String {
    format!(
        "name = \"{name}\"\n[appliance]\nid = \"{name}\"\nhost = \"127.0.0.1:1\"\nclient_id = \"c\"\nclient_secret = \"s\"\n\
         [osticket]\nurl = \"http://127.0.0.1:{port}/\"\n"
    )
}

/// Applies the settings file with its connections changed.
async fn apply(server: &Deskbridge, change: impl FnOnce(&mut Vec<toml::Value>)) -> Result<String> {
    let mut settings: toml::Table = std::fs::read_to_string(server.settings_path())?.parse()?;
    change(settings["connection"].as_array_mut().context("no connections")?);
    std::fs::write(server.settings_path(), settings.to_string())?;
    let output = server.command(&["config", "apply", "--prune"]).await?;
    let said = String::from_utf8([output.stdout, output.stderr].concat())?;
    ensure!(output.status.success(), "{said}");
    Ok(said)
}

/// The names of the connections a device may be used for, as the database has them.
async fn granted(browser: &Browser) -> Result<Vec<String>> {
    let told = taken("what it may be used for", &browser.ask(Method::GET, DEVICE_SELF, "").await?);
    Ok(told.connections.into_iter().map(|connection| connection.name).collect())
}

/// Asks for a stream of a ticket's sessions.
async fn stream(browser: &Browser, connection: &str) -> Result<Response> {
    let mut call = browser.sign(&browser.draft(Method::GET, &format!("{SESSIONS}?connection={connection}&ticket=100001"), ""));
    call.headers.push(("accept".to_owned(), "text/event-stream".to_owned()));
    let answer = browser.open(&call).await?;
    ensure!(answer.status() == 200, "{}: {}", answer.status(), answer.text().await?);
    Ok(answer)
}

fn is_stream(answer: &Response) -> bool {
    answer.headers()[CONTENT_TYPE] == "text/event-stream"
}

/// Everything a stream tells until the server ends it.
async fn until_it_ends(stream: Response) -> Result<String> {
    tokio::time::timeout(Duration::from_secs(20), stream.text()).await.context("the stream goes on")?.context("the stream broke off")
}

/// The id the command gives a new code, and the code.
async fn code_with_id(server: &Deskbridge, arguments: &[&str]) -> Result<(String, String)> {
    let (ended, said) = run(server, &[&["pair"], arguments].concat()).await?;
    let line = |name: &str| said.lines().find_map(|line| line.strip_prefix(name)).map(|text| text.trim().to_owned());
    line("id ").zip(line("code ")).with_context(|| format!("{ended}: {said}"))
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
    // One that somebody has words for, with everything they name.
    let reason = problem["reason"].as_str().unwrap_or(kind);
    let known = Kind::ALL.iter().find(|known| known.name() == reason).unwrap_or_else(|| panic!("{what}: nobody knows {reason}"));
    assert!(known.base().name() == kind && !known.readers().is_empty(), "{what}: {problem}");
    assert!(known.members().iter().all(|name| !problem[name].is_null()), "{what}: {:?} in {problem}", known.members());
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
    // Of a device that does not exist, too: else the answers would tell which do.
    let mut unknown = browser.draft(Method::POST, SESSION_KEY, &body);
    "01930000-0000-7000-8000-000000000000".clone_into(&mut unknown.device);
    refused("a stranger's oversized body", &browser.send(&browser.sign(&unknown)).await?, 413, "too-large");
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
        let devices: BTreeSet<String> = answers.iter().map(|answer| answer.json()["device"].to_string()).collect();
        assert!(devices.len() == 1 && answers.iter().all(|answer| [200, 201].contains(&answer.status)), "{database:?}: {answers:?}");
        assert_eq!(pair(&code).await?.status, 201, "{database:?}: the second use is left");
        refused("the third", &pair(&code).await?, 410, "pairing-code-used");
        // Twice at once with a code for one: neither is told that the code was used, by itself.
        let code = pairing_code(&server, FIRST, &[]).await?;
        let browser = Browser::new(&server)?;
        let calls = [browser.pairing(&code)?, browser.pairing(&code)?];
        let answers = try_join_all(calls.iter().map(|call| browser.send(call))).await?;
        let statuses: BTreeSet<u16> = answers.iter().map(|answer| answer.status).collect();
        assert_eq!(statuses, [200, 201].into(), "{database:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_lost_answer_to_pairing_is_given_again() -> Result<()> {
    let server = builder().start().await?;
    let (id, code) = code_with_id(&server, &["--connection", FIRST, "--agent", "Anna Berg"]).await?;
    let mut browser = Browser::new(&server)?;
    let paired = browser.pair(&code).await?;
    let again = async || browser.send(&browser.pairing(&code)?).await;
    let told = taken("with the same code", &again().await?);
    assert_eq!(DeviceAnswer { server_time: paired.server_time.clone(), ..told }, paired);
    refused("another browser", &Browser::new(&server)?.send(&Browser::new(&server)?.pairing(&code)?).await?, 410, "pairing-code-used");
    let other = pairing_code(&server, FIRST, &[]).await?;
    refused("with another code", &browser.send(&browser.pairing(&other)?).await?, 409, "already-paired");
    refused("with a wrong code", &browser.send(&browser.pairing("0000000000000000")?).await?, 409, "already-paired");
    // Whoever has the code but not the key is told nothing.
    let stranger = Browser::new(&server)?;
    let mut call = browser.pairing(&code)?;
    let forged = stranger.sign(&stranger.draft(Method::POST, DEVICES, &call.body)).header(SIGNATURE_HEADER).clone();
    *call.header(SIGNATURE_HEADER) = forged;
    refused("without the key", &browser.send(&call).await?, 401, "device-refused");
    assert_eq!(run(&server, &["list"]).await?.1.lines().count(), 1);
    assert_eq!(run(&server, &["withdraw", &id]).await?, (0, "it had ended before\n".to_owned()));
    assert_eq!(run(&server, &["revoke", &paired.device]).await?.0, 0);
    refused("revoked", &again().await?, 409, "already-paired");
    Ok(())
}

#[tokio::test]
async fn codes_are_listed_and_withdrawn_with_what_they_paired() -> Result<()> {
    for database in Database::ALL {
        let server = builder().database(database).start().await?;
        let pair = async |code: &str| -> Result<Answer> {
            let browser = Browser::new(&server)?;
            browser.send(&browser.pairing(code)?).await
        };
        let (token, code) = code_with_id(&server, &["--connection", FIRST, "--uses", "3", "--days", "30"]).await?;
        let mut kept = Browser::new(&server)?;
        kept.pair(&code).await?;
        let (_, listed) = run(&server, &["codes"]).await?;
        assert!(listed.starts_with(&format!("{token} made 20")), "{listed}");
        assert!(listed.contains(", 2 uses left until 20") && listed.ends_with(", 1 paired: anybody, First\n"), "{listed}");
        let plain = code.replace('-', "");
        assert!(!listed.contains(&code) && !listed.contains(&plain), "the code is shown again: {listed}");
        assert!(run(&server, &["list"]).await?.1.ends_with(&format!(", anybody, First, code {token}\n")));

        // Withdrawn: nobody more, and those it has paired stay.
        assert_eq!(run(&server, &["withdraw", &token]).await?, (0, "withdrawn\n".to_owned()));
        assert_eq!(run(&server, &["withdraw", &token]).await?, (0, "it had ended before\n".to_owned()));
        refused("withdrawn", &pair(&code).await?, 410, "pairing-code-expired");
        assert!(run(&server, &["codes"]).await?.1.contains(", ended 20"));
        taken("paired before", &kept.ask(Method::GET, DEVICE_SELF, "").await?);
        assert_eq!(run(&server, &["revoke", "--code", &token]).await?, (0, "1 revoked\n".to_owned()));
        refused("paired with it", &kept.ask(Method::GET, DEVICE_SELF, "").await?, 401, "device-revoked");

        // A code's devices are not taken away without the code.
        let (leaked, code) = code_with_id(&server, &["--connection", FIRST, "--uses", "3"]).await?;
        let (one, other) = (pair(&code).await?, Browser::paired(&server, FIRST, &[]).await?);
        assert_eq!(one.status, 201, "{}", one.text);
        assert_eq!(run(&server, &["revoke", "--code", &leaked]).await?, (0, "1 revoked, codes withdrawn: 1\n".to_owned()));
        refused("with the leaked code", &pair(&code).await?, 410, "pairing-code-expired");
        taken("with another code", &other.ask(Method::GET, DEVICE_SELF, "").await?);

        // An agent by his address, whichever way it was given, and with what could bring him back.
        let by_address = Browser::paired(&server, FIRST, &["--email", "Anna@Example.com"]).await?;
        let by_both = Browser::paired(&server, FIRST, &["--agent", "Anna Berg", "--email", "anna@example.com"]).await?;
        let unused = pairing_code(&server, FIRST, &["--agent", "Anna Berg", "--email", "anna@example.com"]).await?;
        assert_eq!(run(&server, &["revoke", "--agent", "anna@example.com"]).await?, (0, "1 revoked\n".to_owned()), "he has no other name");
        refused("by address", &by_address.ask(Method::GET, DEVICE_SELF, "").await?, 401, "device-revoked");
        taken("by name", &by_both.ask(Method::GET, DEVICE_SELF, "").await?);
        assert_eq!(run(&server, &["revoke", "--email", "anna@example.com"]).await?, (0, "1 revoked, codes withdrawn: 1\n".to_owned()));
        refused("by name, too", &by_both.ask(Method::GET, DEVICE_SELF, "").await?, 401, "device-revoked");
        refused("her unused code", &pair(&unused).await?, 410, "pairing-code-expired");
        taken("nobody's", &other.ask(Method::GET, DEVICE_SELF, "").await?);
    }
    Ok(())
}

#[tokio::test]
async fn what_was_granted_for_a_connection_ends_with_it() -> Result<()> {
    for database in Database::ALL {
        let server = builder().connection_text(&osticket("Third", 1)).database(database).start().await?;
        let of_all = [FIRST, SECOND, "Third"].map(|name| ["--connection", name]).concat();
        let (_, code) = code_with_id(&server, &of_all).await?;
        let mut browser = Browser::new(&server)?;
        browser.pair(&code).await?;
        let (_, unused) = code_with_id(&server, &of_all).await?;
        let only_first = pairing_code(&server, FIRST, &[]).await?;
        assert_eq!(granted(&browser).await?, [FIRST, SECOND, "Third"]);

        // Gone, and back under the same name.
        let mut removed = None;
        let said = apply(&server, |connections| removed = Some(connections.remove(0))).await?;
        assert!(said.contains("First: removed"), "{said}");
        let said = apply(&server, |connections| connections.extend(removed)).await?;
        assert!(said.contains("First: added"), "{said}");
        assert_eq!(granted(&browser).await?, [SECOND, "Third"], "{database:?}");
        let mut late = Browser::new(&server)?;
        late.pair(&unused).await?;
        assert_eq!(granted(&late).await?, [SECOND, "Third"], "{database:?}: with a code made before");
        let stranger = Browser::new(&server)?;
        refused("a code for it alone", &stranger.send(&stranger.pairing(&only_first)?).await?, 403, "pairing-code");

        // Another help desk under the same name. Other settings change nothing.
        let said = apply(&server, |connections| {
            connections[0]["zendesk"]["url"] = "http://127.0.0.1:1/".into();
            connections[0]["zendesk"]["installation_id"] = 3.into();
            connections[1]["osticket"]["url"] = "http://127.0.0.1:2/".into();
        })
        .await?;
        assert!(said.contains("Second: changed\n") && said.contains("Third: changed to another ticket system"), "{said}");
        assert_eq!(granted(&browser).await?, [SECOND], "{database:?}");
        let said = apply(&server, |connections| {
            let [section, system] = ["osticket", "zendesk"].map(|name| (name, connections[1].get(name).cloned()));
            let (Some(section), None) = (section.1, system.1) else { panic!("other sections") };
            let second = connections[0].as_table_mut().expect("a table");
            second.remove("zendesk");
            second.insert("osticket".to_owned(), section);
        })
        .await?;
        assert!(said.contains("Second: changed to another ticket system"), "{said}");
        assert_eq!(granted(&browser).await?, [""; 0], "{database:?}");
        assert!(run(&server, &["list"]).await?.1.contains("for nothing any more"));
    }
    Ok(())
}

#[tokio::test]
async fn a_sidebar_ends_with_its_connection() -> Result<()> {
    let scene = Scene::start(Plan::default()).await?;
    let sidebar = scene.open_sidebar(scene.people.agent).await?;
    let ticket = scene.people.vpn_ticket;
    assert_eq!(sidebar.get(SESSIONS, ticket).send().await?.status(), 200);
    let stream = sidebar.get(SESSIONS, ticket).header("accept", "text/event-stream").send().await?;
    assert!(is_stream(&stream));
    let mut removed = Vec::new();
    apply(&scene.server, |connections| removed.append(connections)).await?;
    apply(&scene.server, |connections| connections.append(&mut removed)).await?;
    let answer = sidebar.get(SESSIONS, ticket).send().await?;
    assert_eq!(answer.status(), 401);
    assert_eq!(answer.json::<Value>().await?["type"], "urn:deskbridge:problem:no-session");
    assert!(until_it_ends(stream).await?.starts_with("event: sessions\n"));
    Ok(())
}

#[tokio::test]
async fn a_stream_ends_with_what_opened_it() -> Result<()> {
    let server = Deskbridge::builder().connection_text(&osticket(FIRST, 1)).connection_text(&osticket(SECOND, 1)).start().await?;
    let revoked = Browser::paired(&server, FIRST, &[]).await?;
    let other = Browser::paired(&server, FIRST, &["--connection", SECOND]).await?;
    let (ends, mut stays, disabled) = (stream(&revoked, FIRST).await?, stream(&other, SECOND).await?, stream(&other, FIRST).await?);
    assert!(is_stream(&ends) && is_stream(&stays) && is_stream(&disabled));
    assert_eq!(run(&server, &["revoke", &revoked.device]).await?.0, 0);
    assert!(until_it_ends(ends).await?.starts_with("event: sessions\n"), "the device was revoked");
    apply(&server, |connections| drop(connections[0].as_table_mut().map(|first| first.insert("disabled".to_owned(), true.into())))).await?;
    assert!(until_it_ends(disabled).await?.starts_with("event: sessions\n"), "the connection was disabled");
    // Two looks and more have passed, and this one may go on: it is ended by its own device.
    assert!(stays.chunk().await?.is_some());
    assert_eq!(other.ask(Method::DELETE, DEVICE_SELF, "").await?.status, 204);
    until_it_ends(stays).await?;
    Ok(())
}

#[tokio::test]
async fn nobody_takes_all_streams() -> Result<()> {
    let server = Deskbridge::builder().connection_text(&osticket(FIRST, 1)).connection_text(&osticket(SECOND, 1)).start().await?;
    let greedy = Browser::paired(&server, FIRST, &["--connection", SECOND]).await?;
    let mut open = Vec::new();
    for connection in [FIRST, SECOND, FIRST, FIRST] {
        open.push(stream(&greedy, connection).await?);
        assert!(open.last().is_some_and(is_stream));
    }
    for connection in [FIRST, SECOND] {
        let answer = stream(&greedy, connection).await?;
        assert!(!is_stream(&answer), "a fifth");
        assert_eq!(answer.json::<Value>().await?, json!({ "sessions": [] }), "it may look, again and again");
    }
    let other = Browser::paired(&server, FIRST, &[]).await?;
    assert!(is_stream(&stream(&other, FIRST).await?), "another device");
    // A stream that is left gives its place back as soon as the server hears of it.
    drop(open.pop());
    let again = async {
        while !is_stream(&stream(&greedy, FIRST).await?) {}
        anyhow::Ok(())
    };
    tokio::time::timeout(Duration::from_secs(25), again).await.context("the place is not given back")?
}

#[tokio::test]
async fn a_use_that_cannot_be_noted_is_no_refusal() -> Result<()> {
    let server = builder().start().await?;
    let browser = Browser::paired(&server, FIRST, &[]).await?;
    let mut database = sqlx::SqliteConnection::connect(server.database_url()).await?;
    sqlx::query("CREATE TRIGGER no_use BEFORE UPDATE OF used_at ON device BEGIN SELECT RAISE(ABORT, 'not now'); END")
        .execute(&mut database)
        .await?;
    taken("its use cannot be noted", &browser.ask(Method::GET, DEVICE_SELF, "").await?);
    server.wait_for_log("a device's use could not be noted.*not now").await?;
    assert!(run(&server, &["list"]).await?.1.contains("not used yet"));
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
async fn wrong_codes_keep_nobody_from_pairing() -> Result<()> {
    let server = builder().start().await?;
    let rollout = pairing_code(&server, FIRST, &["--uses", "30"]).await?;
    let browser = Browser::new(&server)?;
    for number in 0..10 {
        let wrong = if number % 2 == 0 { format!("{number:016}") } else { "no code".to_owned() };
        refused("a wrong code", &browser.send(&browser.pairing(&wrong)?).await?, 403, "pairing-code");
    }
    for code in ["0000000000000011", "no code"] {
        let answer = browser.send(&browser.pairing(code)?).await?;
        refused("after ten wrong ones", &answer, 429, "too-many-codes");
        let wait: u64 = answer.headers[RETRY_AFTER].to_str()?.parse()?;
        assert!((1..=60).contains(&wait), "{wait}");
    }
    // All from one address, as behind a proxy. The one that guessed is one of them.
    let others = (0..19).map(|_| Browser::new(&server)).collect::<Result<Vec<_>>>()?;
    for browser in [browser].iter().chain(&others) {
        let answer = browser.send(&browser.pairing(&rollout)?).await?;
        assert_eq!(answer.status, 201, "{}", answer.text);
    }
    let figures = figures(&server, "deskbridge_pairings_total").await?;
    let expected = ["{outcome=\"limited\"} 2", "{outcome=\"paired\"} 20", "{outcome=\"unknown_code\"} 10"];
    assert_eq!(figures, expected.map(str::to_owned).into());
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
        (&["revoke", "--email", "x", "--agent", "x"], 2, "--agent"),
        (&["revoke", "--email", "nobody@example.com"], 1, "0 revoked"),
        (&["revoke", "--code", "0011"], 2, "16 hexadecimal"),
        (&["withdraw", "00112233445566778"], 2, "16 hexadecimal"),
        (&["withdraw", "0011223344556677"], 1, "there is no code"),
        (&["codes"], 0, ""),
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
