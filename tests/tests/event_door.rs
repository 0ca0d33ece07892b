//! `POST /ERSPost`, as appliances, misconfigured appliances and strangers post to it.
//!
//! Who may post, what is an event, and that the 200 is exactly a 200: whatever else is answered blocks the appliance's
//! queue (beyondtrust.md E.1), so everything that is an appliance's event must get it.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use deskbridge_shared::routes::APPLIANCE_EVENTS;
use deskbridge_tests::appliance::{EventKind, SessionScript};
use deskbridge_tests::outcomes::SESSION_END;
use deskbridge_tests::scene::{EVENT_TOKEN, Plan, Scene};
use deskbridge_tests::server::{Deskbridge, loopback_client};
use reqwest::{Method, RequestBuilder, StatusCode, header};
use serde_json::Value;
use sqlx::Connection as _;

const TOKEN: &str = "unguessable-4711";
const FORM: &str = "application/x-www-form-urlencoded";
/// Longest body of a request.
const LONGEST: usize = 64 * 1024;

/// A connection whose systems are not there: the door does not need them.
fn connection(name: &str, appliance: &str, more: &str) -> String {
    format!(
        "name = \"{name}\"\n{}\n[appliance]\nid = \"{appliance}\"\nhost = \"127.0.0.1:1\"\nclient_id = \"c\"\nclient_secret = \"s\"\n{}\n\
         [zendesk]\nurl = \"http://127.0.0.1:1\"\nusername = \"api@example.com\"\ntoken = \"t\"\napp_id = 1\ninstallation_id = 2\n",
        if more == "disabled" { "disabled = true" } else { "" },
        if more == "disabled" { "" } else { more },
    )
}

async fn server(connections: &[(&str, &str, &str)]) -> Result<Deskbridge> {
    let builder = connections
        .iter()
        .fold(Deskbridge::builder(), |builder, (name, appliance, more)| builder.connection_text(&connection(name, appliance, more)));
    builder.start().await
}

fn lsid(number: usize) -> String {
    format!("{number:032x}")
}

fn end_of(lsid: &str) -> String {
    format!("event=support_conference_end&version=7&timestamp=1733240467&lsid={lsid}&external_key=1")
}

fn post(server: &Deskbridge, query: &str, body: impl Into<String>) -> Result<RequestBuilder> {
    let url = format!("{}{APPLIANCE_EVENTS}{query}", server.url());
    Ok(loopback_client()?.post(url).header(header::CONTENT_TYPE, FORM).body(body.into()))
}

/// Sends, and checks what every answer has in common: a 200 is empty, everything else a problem document that repeats no secret.
async fn status(request: RequestBuilder) -> Result<u16> {
    let answer = request.send().await?;
    let (status, headers) = (answer.status(), answer.headers().clone());
    let body = answer.text().await?;
    if status.is_success() {
        ensure!(status == StatusCode::OK, "{status} is no 200 by the letter");
        ensure!(body.is_empty() && headers.get(header::CONTENT_LENGTH).is_some_and(|length| length == "0"), "a 200 with a body: {body:?}");
    } else {
        let problem: Value = serde_json::from_str(&body).with_context(|| format!("{status} with {body:?}"))?;
        ensure!(headers[header::CONTENT_TYPE] == "application/problem+json" && problem["status"] == status.as_u16(), "{status}: {problem}");
        ensure!(!body.contains(TOKEN), "a secret in {body}");
    }
    Ok(status.as_u16())
}

/// What `events list` shows: session and connection of each stored event.
async fn stored(server: &Deskbridge) -> Result<BTreeSet<(String, String)>> {
    let output = server.command(&["events", "list", "--limit", "1000"]).await?;
    ensure!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout)?;
    text.lines()
        .map(|line| {
            let mut words = line.split_whitespace().skip(4);
            let lsid = words.next().with_context(|| line.to_owned())?;
            let connection = words.next().with_context(|| line.to_owned())?;
            Ok((lsid.to_owned(), connection.trim_end_matches(':').to_owned()))
        })
        .collect()
}

#[tokio::test]
async fn only_the_appliances_own_events_come_in() -> Result<()> {
    let token = format!("event_token = \"{TOKEN}\"");
    let both = format!("{token}\nevent_sources = [\"127.0.0.0/8\"]");
    let both_elsewhere = format!("{token}\nevent_sources = [\"203.0.113.0/24\", \"2001:db8::/32\"]");
    let server = server(&[
        ("Default", "default", ""),
        ("Token", "token", &token),
        ("Here", "here", "event_sources = [\"203.0.113.0/24\", \"127.0.0.1\"]"),
        ("Elsewhere", "elsewhere", "event_sources = [\"203.0.113.0/24\", \"::1\", \"127.0.0.2\"]"),
        ("Both", "both", &both),
        ("BothElsewhere", "both.elsewhere", &both_elsewhere),
        ("Disabled", "disabled", "disabled"),
    ])
    .await?;
    let right = |id: &str| format!("?appliance={id}&token={TOKEN}");
    let rows: Vec<(String, u16, &str)> = vec![
        (String::new(), 200, "Default"),
        ("?appliance=default".into(), 200, "Default"),
        ("?".into(), 200, "Default"),
        ("?something=else".into(), 200, "Default"),
        // Unknown appliances.
        ("?appliance=nobody".into(), 404, ""),
        ("?appliance=".into(), 404, ""),
        ("?appliance=Default".into(), 404, ""),
        ("?appliance=default%00".into(), 404, ""),
        ("?appliance=default&appliance=here".into(), 404, ""),
        (format!("?appliance={}", "a".repeat(2000)), 404, ""),
        ("?appliance=disabled".into(), 404, ""),
        // Tokens.
        ("?appliance=token".into(), 401, ""),
        ("?appliance=token&token=".into(), 401, ""),
        ("?appliance=token&token=wrong".into(), 401, ""),
        (format!("?appliance=token&token={}", TOKEN.to_uppercase()), 401, ""),
        (format!("?appliance=token&token={TOKEN}%20"), 401, ""),
        (format!("?appliance=token&token={TOKEN}&token={TOKEN}"), 401, ""),
        (format!("?appliance=token&token=wrong&token={TOKEN}"), 401, ""),
        (format!("?appliance=token&Token={TOKEN}"), 401, ""),
        (right("token"), 200, "Token"),
        // Networks.
        ("?appliance=here".into(), 200, "Here"),
        (right("here"), 200, "Here"),
        ("?appliance=elsewhere".into(), 403, ""),
        // Both must hold.
        ("?appliance=both".into(), 401, ""),
        (right("both"), 200, "Both"),
        (right("both.elsewhere"), 403, ""),
    ];
    let mut expected = BTreeSet::new();
    for (number, (query, wanted, name)) in rows.iter().enumerate() {
        assert_eq!(status(post(&server, query, end_of(&lsid(number)))?).await?, *wanted, "{query}");
        if *wanted == 200 {
            expected.insert((lsid(number), (*name).to_owned()));
        }
    }
    // Neither a header nor the body speaks for the sender.
    for (name, value) in [("x-forwarded-for", "203.0.113.5"), ("forwarded", "for=203.0.113.5"), ("x-real-ip", "203.0.113.5")] {
        let request = post(&server, "?appliance=elsewhere", end_of(&lsid(900)))?.header(name, value);
        assert_eq!(status(request).await?, 403, "{name}");
    }
    let in_the_body = post(&server, "?appliance=token", format!("{}&token={TOKEN}", end_of(&lsid(901))))?;
    assert_eq!(status(in_the_body).await?, 401);
    assert_eq!(status(post(&server, "?appliance=token", end_of(&lsid(902)))?.bearer_auth(TOKEN)).await?, 401);
    assert_eq!(stored(&server).await?, expected);
    Ok(())
}

#[tokio::test]
async fn every_event_is_taken_and_nothing_else() -> Result<()> {
    let server = server(&[("Default", "default", "outbound_events = [\"session_end\", \"customer_survey\"]")]).await?;
    let filled = |length: usize, lsid: &str| {
        let mut body = format!("{}&custom=", end_of(lsid));
        body.push_str(&"x".repeat(length - body.len()));
        body
    };
    let (upper, ends) = ("ABCDEFABCDEFABCDEFABCDEFABCDEF01", "event=support_conference_end");
    let rows: Vec<(String, u16, Option<String>)> = vec![
        // Nothing but these two may be required (beyondtrust.md E.4).
        (format!("{ends}&lsid={}", lsid(1)), 200, Some(lsid(1))),
        (format!("lsid={}&{ends}", lsid(2)), 200, Some(lsid(2))),
        (format!("{ends}&lsid={upper}"), 200, Some(upper.to_lowercase())),
        (format!("{}&name=%FF%FE&x=%zz&&=&session.custom.asset_tag=A%20%2B", end_of(&lsid(3))), 200, Some(lsid(3))),
        (format!("event=support_conference_customer_exit_survey_completed&lsid={}", lsid(4)), 200, Some(lsid(4))),
        (format!("event=support_conference_begin&lsid={}", lsid(5)), 200, Some(lsid(5))),
        (filled(LONGEST, &lsid(6)), 200, Some(lsid(6))),
        // Events the settings do not want, or nobody knows: acknowledged and forgotten.
        (format!("event=support_conference_rep_exit_survey_completed&lsid={}", lsid(20)), 200, None),
        (format!("event=support_conference_member_added&lsid={}&type=representative", lsid(21)), 200, None),
        (format!("event=support_quantum_begin&lsid={}", lsid(22)), 200, None),
        ("event=support_quantum_begin".into(), 200, None),
        ("event=".into(), 200, None),
        // No events.
        (String::new(), 400, None),
        (format!("lsid={}", lsid(30)), 400, None),
        (ends.into(), 400, None),
        (format!("{ends}&lsid="), 400, None),
        (format!("{ends}&lsid={}", &lsid(31)[1..]), 400, None),
        (format!("{ends}&lsid={}0", lsid(32)), 400, None),
        (format!("{ends}&lsid={}", "g".repeat(32)), 400, None),
        (format!("{ends}&lsid={}", "'%20OR%201=1%20--%20aaaaaaaaaaaaaaaaaaa"), 400, None),
        (filled(LONGEST + 1, &lsid(33)), 413, None),
    ];
    let mut expected = BTreeSet::new();
    for (body, wanted, kept) in &rows {
        let shown: String = body.chars().take(120).collect();
        assert_eq!(status(post(&server, "", body.as_str())?).await?, *wanted, "{shown}");
        expected.extend(kept.clone().map(|lsid| (lsid, "Default".to_owned())));
    }

    let with_type = |content_type: Option<&str>, number: usize| -> Result<RequestBuilder> {
        let url = format!("{}{APPLIANCE_EVENTS}", server.url());
        let request = loopback_client()?.post(url).body(end_of(&lsid(number)));
        Ok(content_type.into_iter().fold(request, |request, content_type| request.header(header::CONTENT_TYPE, content_type)))
    };
    for (number, (content_type, wanted)) in [
        (Some("application/x-www-form-urlencoded; charset=UTF-8"), 200),
        (Some("Application/X-WWW-Form-Urlencoded"), 200),
        (None, 415),
        (Some("multipart/form-data; boundary=x"), 415),
        (Some("application/json"), 415),
        (Some("text/plain"), 415),
        (Some("application/x-www-form-urlencoded-not"), 415),
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(status(with_type(content_type, 40 + number)?).await?, wanted, "{content_type:?}");
        if wanted == 200 {
            expected.insert((lsid(40 + number), "Default".to_owned()));
        }
    }
    assert_eq!(stored(&server).await?, expected);

    for method in [Method::GET, Method::HEAD, Method::PUT, Method::DELETE, Method::PATCH] {
        let answer = loopback_client()?.request(method.clone(), format!("{}{APPLIANCE_EVENTS}", server.url())).send().await?;
        assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED, "{method}");
        assert_eq!(answer.headers()[header::ALLOW], "POST", "{method}");
    }
    let admin = loopback_client()?.post(format!("{}{APPLIANCE_EVENTS}", server.admin_url())).form(&[("event", "x")]);
    assert_eq!(status(admin).await?, 404, "the admin listener takes no events");
    Ok(())
}

#[tokio::test]
async fn every_connection_of_the_appliance_that_admits_the_event_gets_it() -> Result<()> {
    let token = format!("event_token = \"{TOKEN}\"");
    let server = server(&[
        ("First", "shared", ""),
        ("Second", "shared", ""),
        ("WithToken", "shared", &token),
        ("Asleep", "shared", "disabled"),
        ("Other", "other", ""),
    ])
    .await?;
    assert_eq!(status(post(&server, "?appliance=shared", end_of(&lsid(1)))?).await?, 200);
    assert_eq!(status(post(&server, &format!("?appliance=shared&token={TOKEN}"), end_of(&lsid(2)))?).await?, 200);
    // Delivered again: nothing new.
    assert_eq!(status(post(&server, "?appliance=shared", end_of(&lsid(1)))?).await?, 200);
    let expected = [(1, "First"), (1, "Second"), (2, "First"), (2, "Second"), (2, "WithToken")];
    assert_eq!(stored(&server).await?, expected.map(|(number, name)| (lsid(number), name.to_owned())).into());
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_stored_is_not_acknowledged() -> Result<()> {
    let server = server(&[("Default", "default", "")]).await?;
    let mut other = sqlx::SqliteConnection::connect(server.database_url()).await?;
    sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await?;
    let answer = post(&server, "", end_of(&lsid(1)))?.send().await?;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE, "the database was locked");
    assert!(answer.headers().contains_key(header::RETRY_AFTER));
    sqlx::query("ROLLBACK").execute(&mut other).await?;
    assert_eq!(status(post(&server, "", end_of(&lsid(1)))?).await?, 200);
    assert_eq!(stored(&server).await?, [(lsid(1), "Default".to_owned())].into());
    Ok(())
}

#[tokio::test]
async fn posted_fields_are_believed_in_nothing() -> Result<()> {
    let scene = Scene::start(Plan::default()).await?;
    let (own, foreign) = (scene.people.vpn_ticket, scene.people.printer_ticket);
    let query = format!("?appliance=default&token={EVENT_TOKEN}");
    let forged = |event: &EventKind, lsid: &str, key: u64| format!("event={}&lsid={lsid}&external_key={key}&timestamp=9", event.as_str());
    scene.appliance.remove_recipient(&scene.recipient().name);

    // The end of a session that still runs is no end; its ticket is the report's.
    let mut script = SessionScript::short(own.to_string());
    let end = script.steps.pop().context("the script ends")?.1;
    let lsid = scene.appliance.play(script)?;
    assert_eq!(status(post(&scene.server, &query, forged(&EventKind::End, &lsid, foreign))?).await?, 200);
    scene.server.wait_for_log(&format!("{lsid}.*no complete report")).await?;
    scene.appliance.step(&lsid, end)?;
    scene.outcome(&lsid, SESSION_END).await?.done()?;
    scene.only_report(own, &lsid)?;
    assert!(scene.notes(foreign, &lsid).is_empty());

    // A session nobody ever had leaves nothing on the ticket it is said to belong to.
    let nobodys = "0".repeat(32);
    assert_eq!(status(post(&scene.server, &query, forged(&EventKind::End, &nobodys, foreign))?).await?, 200);
    scene.server.wait_for_log(&format!("{nobodys}.*no complete report")).await?;
    assert!(scene.notes(foreign, &nobodys).is_empty());
    Ok(())
}
