//! osTicket takes no notes from a server: a paired browser makes keys, Jumps and chat links for its tickets, and puts the reports onto
//! them itself. What the browser's pages do is shown in `extension_browser.rs`; here the server's side, by signed requests.

use anyhow::{Context, Result, ensure};
use deskbridge_shared::routes;
use deskbridge_tests::appliance::{Recipient, SessionScript, SimulatedAppliance};
use deskbridge_tests::device::{Answer, Browser};
use deskbridge_tests::outcomes;
use deskbridge_tests::scene::{CONNECTION as ZENDESK, EVENT_TOKEN, Plan, Scene, connection};
use deskbridge_tests::server::Deskbridge;
use reqwest::Method;
use serde_json::{Value, json};

const DESK: &str = "Help desk";
const TICKET: &str = "TCK-515631";

/// A scene with a second connection, to osTicket, behind the same appliance under another id.
async fn scene() -> Result<(Scene, Browser)> {
    let appliance = SimulatedAppliance::start(deskbridge_tests::appliance::Options::default()).await?;
    let desk = connection(
        &appliance,
        DESK,
        "desk",
        r#"
        [panel]
        issues = ["general_tech=General Technical Issues"]
        jumpoints = ["HQ-Net"]
        allow_rdp = true
        [osticket]
        url = "https://help.example.com/support"
        "#,
    );
    let mut scene = Scene::start(Plan { server: Deskbridge::builder().connection(desk), ..Plan::default() }).await?;
    appliance.set_recipient(Recipient::new(format!(
        "{}{}?appliance=desk&token={EVENT_TOKEN}",
        scene.server.url(),
        routes::APPLIANCE_EVENTS
    )));
    scene.appliance = appliance;
    let browser = Browser::paired(&scene.server, DESK, &["--agent", "Anna Lindqvist", "--email", "anna@example.com"]).await?;
    Ok((scene, browser))
}

async fn get(browser: &Browser, path: &str, connection: &str, ticket: &str) -> Result<Answer> {
    let connection = connection.replace(' ', "%20");
    browser.ask(Method::GET, &format!("{path}?connection={connection}&ticket={ticket}"), "").await
}

async fn post(browser: &Browser, path: &str, mut body: Value) -> Result<Answer> {
    for (name, value) in [("connection", DESK), ("ticket", TICKET)] {
        if body[name].is_null() {
            body[name] = json!(value);
        }
    }
    browser.ask(Method::POST, path, &body.to_string()).await
}

#[track_caller]
fn well(answer: &Answer) -> Value {
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()
}

#[track_caller]
fn refused(answer: &Answer, status: u16, kind: &str) {
    assert_eq!((answer.status, &answer.json()["type"]), (status, &json!(format!("urn:deskbridge:problem:{kind}"))), "{}", answer.text);
}

async fn state(browser: &Browser, lsid: &str) -> Result<String> {
    let sessions = well(&get(browser, routes::SESSIONS, DESK, TICKET).await?);
    let found = sessions["sessions"].as_array().into_iter().flatten().find(|session| session["lsid"] == lsid);
    Ok(found.with_context(|| sessions.to_string())?["state"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn a_paired_browser_starts_support_from_an_osticket_ticket() -> Result<()> {
    let (scene, browser) = scene().await?;
    let itself = well(&browser.ask(Method::GET, routes::DEVICE_SELF, "").await?);
    assert_eq!(itself["connections"], json!([{ "name": DESK, "system": "osticket", "site": "https://help.example.com/support/" }]));

    let model = well(&get(&browser, routes::PANEL, DESK, TICKET).await?);
    assert_eq!((&model["ticket"], &model["record_in_page"], &model["target"]), (&json!(TICKET), &json!(true), &Value::Null));
    assert_eq!(model["methods"], json!(["jump_client", "rdp"]));

    let key = well(&post(&browser, routes::SESSION_KEY, json!({})).await?);
    let key = key["short_key"].as_str().context("a key")?.to_owned();
    let lsid = scene.appliance.begin_session_with_key(&key)?;
    assert_eq!(scene.appliance.session(&lsid).context("a session")?.external_key, TICKET);

    let jump = well(&post(&browser, routes::JUMP, json!({ "method": "jump_client", "target": "PC-042" })).await?);
    ensure!(jump["launch_url"].as_str().is_some_and(|url| url.contains("PC-042") && url.contains(TICKET)), "{jump}");
    let link = well(&post(&browser, routes::SESSION_CHAT_LINK, json!({})).await?);
    ensure!(link["url"].as_str().is_some_and(|url| url.contains("/c/")), "{link}");

    // What is not the device's, or no ticket at all.
    refused(&get(&browser, routes::PANEL, ZENDESK, &scene.people.vpn_ticket.to_string()).await?, 403, "foreign-connection");
    refused(&get(&browser, routes::PANEL, DESK, "no%20ticket").await?, 404, "ticket-not-found");
    Ok(())
}

#[tokio::test]
async fn the_page_puts_the_report_onto_the_ticket_and_nobody_is_asked_twice() -> Result<()> {
    let (scene, browser) = scene().await?;
    let lsid = scene.appliance.play(SessionScript::short(TICKET))?;
    let said = scene.outcome(&lsid, outcomes::SESSION_END).await?.done()?;
    ensure!(said.contains("an agent adds the report"), "{said}");
    assert_eq!(state(&browser, &lsid).await?, "ended");

    let note = well(&post(&browser, routes::SESSION_RECORD, json!({ "lsid": lsid })).await?);
    assert_eq!((&note["marker"], &note["recorded"]), (&json!(format!("deskbridge/{lsid}/report/0")), &json!(false)));
    let html = note["html"].as_str().context("a note")?;
    ensure!(html.contains("Outlook will not open.") && html.ends_with(&format!("<p>deskbridge/{lsid}/report/0</p>")), "{html}");
    assert_eq!(state(&browser, &lsid).await?, "ended", "the page has not said so yet");

    assert_eq!(well(&post(&browser, routes::SESSION_RECORDED, json!({ "lsid": lsid })).await?), json!({ "recorded": true }));
    assert_eq!(state(&browser, &lsid).await?, "recorded");
    assert_eq!(well(&post(&browser, routes::SESSION_RECORD, json!({ "lsid": lsid })).await?)["recorded"], true);

    // A session of another ticket, one nobody knows, one that goes on.
    for path in [routes::SESSION_RECORD, routes::SESSION_RECORDED] {
        let other = json!({ "lsid": lsid, "ticket": "TCK-1" });
        refused(&post(&browser, path, other).await?, 422, "invalid-value");
        refused(&post(&browser, path, json!({ "lsid": "../../etc" })).await?, 422, "invalid-value");
        refused(&post(&browser, path, json!({})).await?, 400, "bad-request");
    }
    let going_on =
        scene.appliance.play(SessionScript { steps: SessionScript::short(TICKET).steps[..2].to_vec(), ..SessionScript::new(TICKET) })?;
    refused(&post(&browser, routes::SESSION_RECORD, json!({ "lsid": going_on })).await?, 409, "report-not-ready");
    refused(&post(&browser, routes::SESSION_RECORDED, json!({ "lsid": going_on })).await?, 422, "invalid-value");
    Ok(())
}

#[tokio::test]
async fn two_browsers_of_one_agent_get_the_report_one_after_the_other() -> Result<()> {
    let (scene, browser) = scene().await?;
    let anna = ["--agent", "Anna Lindqvist", "--email", "anna@example.com"];
    let other = Browser::paired(&scene.server, DESK, &anna).await?;
    let lsid = scene.appliance.play(SessionScript::short(TICKET))?;
    scene.outcome(&lsid, outcomes::SESSION_END).await?.done()?;
    let record = async |browser: &Browser| post(browser, routes::SESSION_RECORD, json!({ "lsid": lsid })).await;

    let given = well(&record(&browser).await?);
    ensure!(given["send_within_seconds"] == 105, "{given}");
    let lease = |given: &Value| json!({ "lease": given["lease"] });
    let waits = record(&other).await?;
    refused(&waits, 409, "note-under-way");
    ensure!(waits.text.contains("Anna Lindqvist"), "{}", waits.text);
    let seconds: u64 = waits.headers.get("retry-after").context("Retry-After")?.to_str()?.parse()?;
    ensure!((170..=180).contains(&seconds), "{seconds}");
    // Another tab of the same browser, whose own lock keeps the two apart: what the first says of its lease does not end the second's.
    let again = well(&record(&browser).await?);
    for late in [lease(&given), json!({ "lease": "made up" })] {
        ensure!(post(&browser, routes::SESSION_RECORD_GIVEN_UP, late).await?.status == 204);
        refused(&record(&other).await?, 409, "note-under-way");
    }
    ensure!(post(&browser, routes::SESSION_RECORD_GIVEN_UP, lease(&again)).await?.status == 204);
    let given = well(&record(&other).await?);
    refused(&record(&browser).await?, 409, "note-under-way");
    well(&post(&other, routes::SESSION_RECORDED, json!({ "lsid": lsid, "lease": given["lease"] })).await?);
    ensure!(well(&record(&browser).await?)["recorded"] == true);

    // Another session's report on the same ticket is free now.
    let next = scene.appliance.play(SessionScript::short(TICKET))?;
    scene.outcome(&next, outcomes::SESSION_END).await?.done()?;
    well(&post(&browser, routes::SESSION_RECORD, json!({ "lsid": next })).await?);
    refused(&post(&other, routes::SESSION_RECORD, json!({ "lsid": next })).await?, 409, "note-under-way");
    Ok(())
}

#[tokio::test]
async fn zendesk_keeps_its_own_way() -> Result<()> {
    let scene = Scene::start(Plan::default()).await?;
    let sidebar = scene.open_sidebar(scene.people.agent).await?;
    let ticket = scene.people.vpn_ticket;
    let answer = sidebar.post(routes::SESSION_RECORD, ticket, json!({ "lsid": "0123456789abcdef0123456789abcdef" })).send().await?;
    assert_eq!(answer.status(), 403, "reports reach Zendesk by themselves");
    // A paired browser is nobody in Zendesk.
    let browser = Browser::paired(&scene.server, ZENDESK, &[]).await?;
    refused(&get(&browser, routes::PANEL, ZENDESK, &ticket.to_string()).await?, 403, "ticket-not-allowed");
    Ok(())
}
