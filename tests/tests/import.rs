//! A support session ends, and its record stands on the ticket: once, whole, harmless, whatever fails on the way.
//!
//! The server runs as a process between a simulated appliance and a simulated Zendesk; what is asserted is what an agent
//! reads on the ticket and what the administrator reads about the event.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use deskbridge_tests::appliance::{
    self, Body, Endpoint, ErrorStyle, EventKind, LagShape, NamespaceSpelling, Party, Recipient, ReportLag, Representative, SessionEvent,
    SessionScript, Step, SurveyAnswer,
};
use deskbridge_tests::outcomes::{CUSTOMER_SURVEY, REPRESENTATIVE_SURVEY, SESSION_END};
use deskbridge_tests::ports::Port;
use deskbridge_tests::scene::{CONNECTION, Plan, Scene, by_api_token};
use deskbridge_tests::server::{self, Database};
use deskbridge_tests::zendesk::{self, Comment, Fault, Matching, Role, SimulatedZendesk, TicketRestriction};
use futures_util::future::{FutureExt as _, LocalBoxFuture, try_join_all};
use regex::Regex;
use reqwest::Method;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use sqlx::Connection as _;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use toml::toml;

/// What one comment may hold before Zendesk cuts it silently (zendesk.md d.3).
const COMMENT_BYTES: usize = 64 * 1024;
/// Says where the process shall end (`server/crates/core/src/fault_point.rs`).
const FAULT_POINT: &str = "DESKBRIDGE_FAULT_POINT";
/// Longest time until it has.
const DEATH_LIMIT: Duration = Duration::from_mins(1);

fn assert_contains(text: &str, parts: &[&str]) {
    let missing: Vec<_> = parts.iter().filter(|part| !text.contains(**part)).collect();
    let beginning: String = text.chars().take(3000).collect();
    assert!(missing.is_empty(), "{missing:?} not in\n{beginning}");
}

/// The bodies of all ticket updates the account was asked for, answered or not.
fn updates(zendesk: &SimulatedZendesk) -> Vec<Value> {
    let requests = zendesk.requests().into_iter();
    requests.filter(|request| request.method == Method::PUT && request.path.starts_with("/api/v2/tickets/")).map(|one| one.body).collect()
}

fn writes_to_tickets() -> Matching {
    Matching::new(Method::PUT, "/api/v2/tickets/")
}

/// Only the ends and surveys: the live state then asks the appliance nothing, and a fault meets the import.
fn ends_and_surveys(scene: &Scene) -> Recipient {
    Recipient { events: vec![EventKind::End, EventKind::CustomerSurvey, EventKind::RepresentativeSurvey], ..scene.recipient() }
}

/// A scene in which only the events themselves ask the appliance: the first sweep is over, the next minutes away.
async fn scene() -> Result<Scene> {
    scene_with(Plan::default()).await
}

async fn scene_with(plan: Plan) -> Result<Scene> {
    let scene = Scene::start(plan).await?;
    scene.appliance.set_recipient(ends_and_surveys(&scene));
    // The sweep's last question.
    scene.appliance.wait_for_request(|request| request.is("SupportRepExitSurvey")).await?;
    Ok(scene)
}

// What stands on the ticket

#[tokio::test]
async fn a_session_becomes_one_internal_note_and_each_survey_another() -> Result<()> {
    let scene = Scene::start(Plan::default()).await?;
    let ticket = scene.people.vpn_ticket;
    let unheard_of = SessionEvent {
        performed_by: Some(Party::REPRESENTATIVE),
        data: vec![("board".into(), "Floor plan <2>".into())],
        ..SessionEvent::of_type("Whiteboard Shared")
    };
    let mut script = SessionScript::example(ticket.to_string());
    let end = script.steps.iter().position(|(_, step)| matches!(step, Step::Ends)).context("the script ends")?;
    script.steps.insert(end, (1, Step::Happens(unheard_of)));
    let lsid = scene.appliance.play(script)?;
    for kind in [SESSION_END, CUSTOMER_SURVEY, REPRESENTATIVE_SURVEY] {
        scene.outcome(&lsid, kind).await?.done()?;
    }
    let notes = scene.notes(ticket, &lsid);
    assert_eq!(notes.len(), 3, "the report and two surveys");
    for note in &notes {
        assert!(!note.public && note.author_id == scene.zendesk.api_user(), "{note:?}");
    }
    let report = scene.only_report(ticket, &lsid)?;
    assert_contains(
        &report.plain_body,
        &[
            // Chat, as it was typed.
            "Guten Tag, ich sehe mir das an <sofort> & melde mich.",
            "„Profil beschädigt“",
            "Коллега из Варны видит то же самое: «профиль не найден».",
            "了解しました。プロファイルを作り直します。",
            "Läuft wieder, vielen Dank 👍",
            // Files both ways, the special action, the notes.
            r"C:\Users\jgross\AppData\Local\outlook.log",
            "3.2 MB",
            "profile-repair.zip",
            "Run as administrator: mlcfg32.cpl",
            "Rebuilt the mail profile.",
            "Asked the customer to reboot.",
            // What no version known today has.
            "Whiteboard Shared (board: Floor plan <2>)",
            // People, machine, system information, custom fields.
            "Jürgen Groß",
            "Müller & Söhne GmbH",
            "Jane D.",
            "LAPTOP-0042",
            "203.0.113.9",
            "General Technical Issues",
            "Windows 11 Pro",
            "81 GB",
            "410 GB",
            "2001:db8::17",
            "A-0042",
            &lsid,
        ],
    );
    assert!(!report.plain_body.contains("203.0.113.9:61606"), "the port tells nobody anything");
    assert_contains(&report.html_body, &["an &lt;sofort&gt; &amp; melde", "<h3>", "<table>"]);
    assert!(report.attachments.is_empty(), "a short report needs no file");
    let audits = scene.zendesk.audits(ticket);
    let audit = audits.iter().find(|audit| audit.id == report.audit_id).context("the note has an audit")?;
    assert_eq!(audit.custom_metadata["deskbridge_marker"], format!("deskbridge/{lsid}/report/0"));

    let survey = |title: &str| notes.iter().find(|note| note.plain_body.contains(title)).map(|note| note.plain_body.clone());
    assert_contains(
        &survey("Customer exit survey").context("the customer's")?,
        &["How do you rate the support?", "5", "Sehr schnell, danke!"],
    );
    assert_contains(&survey("Representative exit survey").context("the representative's")?, &["Result of the session", "Resolved"]);
    scene.every_event_was_taken_at_once().await
}

#[tokio::test]
async fn a_session_at_the_limits_fits_and_goes_along_whole_in_every_namespace() -> Result<()> {
    let scene = Scene::start(Plan::default()).await?;
    for namespaces in NamespaceSpelling::ALL {
        let ticket = scene.add_ticket("The secret subject 4711");
        let requester = scene.zendesk.ticket(ticket).and_then(|ticket| scene.zendesk.user(ticket.requester_id)).context("the customer")?;
        scene.appliance.change_options(|options| options.namespaces = namespaces);
        let lsid = scene.play_until_done(SessionScript::at_the_limits(ticket.to_string())).await?;
        let note = scene.only_report(ticket, &lsid)?;
        at_the_limits(&scene, &lsid, &note).with_context(|| format!("{namespaces:?}"))?;
        for secret in ["The secret subject 4711", &requester.name] {
            assert!(!note.plain_body.contains(secret), "{namespaces:?}: a placeholder was expanded: {secret}");
        }
    }
    scene.every_event_was_taken_at_once().await
}

fn at_the_limits(scene: &Scene, lsid: &str, note: &Comment) -> Result<()> {
    let marker = format!("deskbridge/{lsid}/report/0");
    let all = updates(&scene.zendesk);
    let sent = all.iter().find(|body| body["ticket"]["metadata"]["deskbridge_marker"] == marker.as_str());
    let sent = sent.and_then(|body| body["ticket"]["comment"]["html_body"].as_str()).context("the note was sent")?;
    ensure!(sent.len() <= COMMENT_BYTES, "{} bytes would be cut", sent.len());
    ensure!(sent.len() > COMMENT_BYTES / 2, "only {} bytes: the note could tell more", sent.len());
    ensure!(!sent.contains("{{"), "an unparted placeholder");
    ensure!(note.plain_body.trim_end().ends_with(&marker), "the end is lost");
    ensure!(!note.html_body.contains("<script") && !note.html_body.contains("<img"), "markup of a stranger");
    assert_contains(
        &note.plain_body,
        &[
            // Text of the customer stays text; a joiner without width parts the braces.
            "{\u{2060}{ticket.title}} {\u{2060}{#each x}} <script>alert(1)</script> <img src=x onerror=alert(1)>",
            "Ωmega <customer> & {\u{2060}{ticket.requester.name}}",
            "2001:db8:85a3::8a2e:370:7334",
            "Наталья Ёлкина",
            "森 健二",
        ],
    );
    ensure!(!note.plain_body.contains("]:61606") && !note.plain_body.contains("address Unknown"), "an address as the appliance spells it");

    ensure!(note.attachments.len() == 1, "{} files", note.attachments.len());
    let file = &note.attachments[0];
    ensure!(
        file.file_name == format!("session-{lsid}.html") && file.content_type == "text/html",
        "{} {}",
        file.file_name,
        file.content_type
    );
    ensure!(note.plain_body.contains(&file.file_name), "the note does not name its file");
    let page = str::from_utf8(&file.content)?;
    ensure!(!page.contains("<script") && !page.contains("<img"), "markup of a stranger in the file");
    let text = unescaped(page);
    let session = scene.appliance.session(lsid).context("the session")?;
    ensure!(session.events.len() >= 300, "{} events", session.events.len());
    for stamped in &session.events {
        for part in said(&stamped.event) {
            ensure!(text.contains(&part), "{part:?} is missing in the file");
        }
    }
    // What arrived as encoded_body; control characters are shown by their pictures.
    assert_contains(&text, &["a␘d", "bell ␇ and escape ␛[31m", "{{ticket.title}} {{#each x}} <script>alert(1)</script>"]);
    Ok(())
}

/// What of an event must be found in a full report, line by line: texts and file names of whoever took part.
fn said(event: &SessionEvent) -> Vec<String> {
    if !matches!(event.performed_by, Some(Party::Customer(_) | Party::Representative(_))) {
        return Vec::new();
    }
    let mut parts: Vec<String> = Vec::new();
    if let Some(Body::Text(text)) = &event.body {
        parts.extend(text.lines().map(|line| line.trim().to_owned()));
    }
    parts.extend(event.file.iter().chain(&event.files).map(|file| file.filename.clone()));
    parts.extend(event.data.iter().filter(|(name, _)| matches!(name.as_str(), "filename" | "action_name")).map(|(_, v)| v.clone()));
    parts.retain(|part| !part.is_empty() && !part.chars().any(char::is_control));
    parts
}

fn unescaped(html: &str) -> String {
    let entities = [("<br>", "\n"), ("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&amp;", "&")];
    entities.iter().fold(html.to_owned(), |text, (entity, character)| text.replace(entity, character))
}

#[tokio::test]
async fn every_spelling_of_an_error_document_means_not_yet() -> Result<()> {
    let scene = scene().await?;
    for namespaces in NamespaceSpelling::ALL {
        for error_style in [ErrorStyle::Plain, ErrorStyle::Decorated, ErrorStyle::Nested] {
            let ticket = scene.add_ticket("Reports lag");
            scene.appliance.change_options(|options| {
                (options.namespaces, options.error_style) = (namespaces, error_style);
                options.report_lag = ReportLag { requests: 1, ..ReportLag::default() };
            });
            let lsid = scene.play_until_done(SessionScript::short(ticket.to_string())).await;
            let lsid = lsid.with_context(|| format!("{namespaces:?} {error_style:?}"))?;
            scene.only_report(ticket, &lsid)?;
        }
    }
    scene.every_event_was_taken_at_once().await
}

#[tokio::test]
async fn a_public_note_has_no_links_and_nothing_said_among_representatives() -> Result<()> {
    let connection = toml! {
        [zendesk]
        note_visibility = "public"
    };
    let scene = Scene::start(Plan { connection, ..Plan::default() }).await?;
    let ticket = scene.people.vpn_ticket;
    let among_ourselves = SessionEvent {
        destination: Some(Party::Representative(1)),
        ..SessionEvent::chat(Party::REPRESENTATIVE, "This one is difficult, careful.")
    };
    let mut script = SessionScript::new(ticket.to_string())
        .customer(appliance::Customer::named("John Smith"))
        .representative(Representative::example())
        .representative(Representative { id: 152, ..Representative::example() })
        .chat(Party::CUSTOMER, "It works again.")
        .event(among_ourselves)
        .end();
    script.session.recorded = true;
    let lsid = scene.play_until_done(script).await?;
    let note = scene.only_report(ticket, &lsid)?;
    assert!(note.public);
    assert_contains(&note.plain_body, &["It works again.", "John Smith"]);
    for hidden in ["difficult", "session_download", "sd_reporting", "<a "] {
        assert!(!note.html_body.contains(hidden), "{hidden} in\n{}", note.html_body);
    }
    Ok(())
}

// Which ticket, and when

#[tokio::test]
async fn a_report_is_waited_for_in_both_shapes_of_a_lag() -> Result<()> {
    let scene = scene().await?;
    let ticket = scene.people.vpn_ticket;
    for shape in [LagShape::NoReport, LagShape::NoEndTime] {
        scene.appliance.change_options(|options| options.report_lag.shape = shape);
        scene.appliance.forget_requests();
        scene.appliance.hold_reports();
        let lsid = scene.appliance.play(SessionScript::short(ticket.to_string()))?;
        scene.appliance.wait_for_count(2, |request| request.is("SupportSession")).await?;
        assert!(scene.notes(ticket, &lsid).is_empty(), "{shape:?}: a note of an incomplete report");
        scene.appliance.release_reports();
        scene.outcome(&lsid, SESSION_END).await?.done()?;
        assert_contains(&scene.only_report(ticket, &lsid)?.plain_body, &["Outlook will not open.", "Duration"]);
    }
    scene.every_event_was_taken_at_once().await
}

/// Larger than any answer that is read (32 MiB).
const TOO_LARGE: usize = 33 << 20;

#[tokio::test]
async fn a_report_too_large_to_read_is_noted_with_its_link() -> Result<()> {
    let scene = scene().await?;
    let ticket = scene.people.vpn_ticket;
    let script = SessionScript::new(ticket.to_string()).customer(appliance::Customer::named("Jürgen Groß"));
    let script = script.chat(Party::CUSTOMER, "x".repeat(TOO_LARGE)).end();
    let lsid = scene.appliance.play(script)?;
    scene.outcome(&lsid, SESSION_END).await?.done()?;
    let note = scene.only_report(ticket, &lsid)?;
    assert_contains(&note.plain_body, &["too large", "Jürgen Groß", "Duration", &lsid]);
    let link = format!("{}/login/sd_reporting?reportType=SupportSession&amp;sessionId={lsid}", scene.appliance.base_url());
    assert_contains(&note.html_body, &[&link]);
    Ok(())
}

#[tokio::test]
async fn a_sweep_of_too_much_at_once_goes_in_smaller_steps_and_loses_nothing() -> Result<()> {
    let mut scene = Scene::prepare(Plan::default()).await?;
    let (appliance, ticket) = (scene.appliance.clone(), scene.people.vpn_ticket);
    appliance.remove_recipient("Deskbridge");
    // Those of one second, one of which is too large alone; then some that are too large together.
    let session = SessionScript::new(ticket.to_string()).customer(appliance::Customer::named("John Smith"));
    let of = |characters: usize| session.clone().chat(Party::CUSTOMER, "x".repeat(characters)).end();
    let mut ended = vec![appliance.play(of(5))?, appliance.play(of(TOO_LARGE))?, appliance.play(of(5))?];
    for _ in 0..3 {
        appliance.clock().advance_seconds(300);
        ended.push(appliance.play(of(TOO_LARGE / 3))?);
    }
    appliance.clock().advance_seconds(300);
    ended.push(appliance.play(of(5))?);
    scene.server.start().await?;
    for lsid in &ended {
        scene.outcome(lsid, SESSION_END).await?.done()?;
        scene.only_report(ticket, lsid)?;
    }
    // It is over, and nothing is asked for again.
    appliance.wait_for_request(|request| request.is("SupportRepExitSurvey")).await?;
    Ok(())
}

#[tokio::test]
async fn an_event_delivered_again_changes_nothing() -> Result<()> {
    let scene = Scene::start(Plan::default()).await?;
    let ticket = scene.people.vpn_ticket;
    scene.appliance.set_deliver_twice(true);
    let lsid = scene.appliance.play(SessionScript::example(ticket.to_string()))?;
    for kind in [SESSION_END, CUSTOMER_SURVEY, REPRESENTATIVE_SURVEY] {
        scene.outcome(&lsid, kind).await?.done()?;
    }
    scene.appliance.set_deliver_twice(false);
    // The same end once more, but not to the letter: an event of its own.
    let mark = scene.server.logs().mark();
    let end = [("event", EventKind::End.as_str()), ("timestamp", "1"), ("lsid", &lsid)];
    scene.appliance.send_raw_event(EventKind::End, end.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec());
    let said = scene.outcome_after(mark, &lsid, SESSION_END).await?.done()?;
    assert!(said.contains("already"), "{said}");
    scene.every_event_was_taken_at_once().await?;
    let ends = scene.appliance.attempts().iter().filter(|attempt| attempt.event == EventKind::End.as_str()).count();
    assert_eq!(ends, 3, "the end was posted twice, and once more");
    assert_eq!(scene.notes(ticket, &lsid).len(), 3);
    Ok(())
}

#[tokio::test]
async fn surveys_come_before_the_end_before_the_report_and_late() -> Result<()> {
    let scene = scene().await?;
    let ticket = scene.people.vpn_ticket;
    let both = |lsid: &str| {
        let mut bodies: Vec<String> = scene.notes(ticket, lsid).into_iter().map(|note| note.plain_body).collect();
        bodies.retain(|body| body.contains("exit survey"));
        bodies.len()
    };

    // The representative answers while the session still runs, the customer long after.
    let mut script = SessionScript::short(ticket.to_string());
    let end = script.steps.pop().context("the script ends")?;
    script = script.after(1, Step::RepresentativeSurvey(vec![SurveyAnswer::close_state("Resolved")]));
    script.steps.push(end);
    let lsid = scene.appliance.play(script)?;
    scene.outcome(&lsid, REPRESENTATIVE_SURVEY).await?.done()?;
    scene.outcome(&lsid, SESSION_END).await?.done()?;
    scene.appliance.complete_customer_survey(&lsid, vec![SurveyAnswer::rating("1"), SurveyAnswer::comments("")])?;
    scene.outcome(&lsid, CUSTOMER_SURVEY).await?.done()?;
    assert_eq!(both(&lsid), 2);

    // The survey's event overtakes the end's, and neither report nor survey can be read yet.
    scene.appliance.change_options(|options| options.report_lag = ReportLag { survey_requests: 2, ..ReportLag::default() });
    scene.appliance.set_swap_neighbours(true);
    scene.appliance.hold_reports();
    let overtaking = SessionScript::short(ticket.to_string()).after(5, Step::CustomerSurvey(vec![SurveyAnswer::rating("4")]));
    let lsid = scene.appliance.play(overtaking)?;
    scene.appliance.outbound_idle().await?;
    let attempts = scene.appliance.attempts();
    let order: Vec<_> = attempts.iter().filter(|attempt| attempt.lsid == lsid).map(|attempt| attempt.event.as_str()).collect();
    assert_eq!(order, [EventKind::CustomerSurvey.as_str(), EventKind::End.as_str()]);
    scene.appliance.release_reports();
    scene.outcome(&lsid, SESSION_END).await?.done()?;
    scene.outcome(&lsid, CUSTOMER_SURVEY).await?.done()?;
    assert_eq!((both(&lsid), scene.notes(ticket, &lsid).len()), (1, 2));
    scene.every_event_was_taken_at_once().await
}

/// Germany put its clocks back on 2026-10-25 at 01:00 UTC.
#[tokio::test]
async fn each_time_is_told_as_clocks_in_the_zone_showed_it() -> Result<()> {
    let connection = toml! { reports = { timezone = "Europe/Berlin" } };
    let scene = Scene::start(Plan { connection, ..Plan::default() }).await?;
    let ticket = scene.people.vpn_ticket;
    // When the session ended, and how its begin an hour before, its end, and the survey ten minutes later are told.
    for (ended_at, told) in [
        ("2026-07-01T12:00:40Z", ["2026-07-01 13:00:.. +02:00", "2026-07-01 14:00:.. +02:00", "2026-07-01 14:10:.. +02:00"]),
        ("2026-01-15T12:00:40Z", ["2026-01-15 12:00:.. +01:00", "2026-01-15 13:00:.. +01:00", "2026-01-15 13:10:.. +01:00"]),
        ("2026-10-25T01:30:40Z", ["2026-10-25 02:30:.. +02:00", "2026-10-25 02:30:.. +01:00", "2026-10-25 02:40:.. +01:00"]),
    ] {
        let ended_at = OffsetDateTime::parse(ended_at, &Rfc3339)?.unix_timestamp();
        // What a script plays is over now.
        scene.appliance.clock().advance_seconds(ended_at + 600 - scene.appliance.clock().now());
        let script = SessionScript::new(ticket.to_string())
            .customer(appliance::Customer::named("John Smith"))
            .representative(Representative::example())
            .after(3600, Step::Ends)
            .after(600, Step::CustomerSurvey(vec![SurveyAnswer::rating("5")]));
        let lsid = scene.appliance.play(script)?;
        scene.outcome(&lsid, SESSION_END).await?.done()?;
        scene.outcome(&lsid, CUSTOMER_SURVEY).await?.done()?;
        let notes = scene.notes(ticket, &lsid);
        ensure!(notes.len() == 2, "{notes:?}");
        let text = notes.into_iter().map(|note| note.plain_body).collect::<Vec<_>>().join("\n");
        for told in told {
            ensure!(Regex::new(&told.replace('+', "\\+"))?.is_match(&text), "{told} is not in:\n{text}");
        }
    }
    Ok(())
}

/// As release 0.1 named what it wrote: with Rust's debugging text of the one who filled the survey in.
fn survey_of_0_1(whose: &str, submitted_at: i64, kind: &str, name: &str) -> String {
    let text = format!("Some({submitted_at})/Actor {{ kind: \"{kind}\", gsnumber: None, name: Some(\"{name}\") }}");
    let digest = Sha256::digest(text.as_bytes());
    format!("{whose}-survey-{:02x}{:02x}{:02x}{:02x}", digest[0], digest[1], digest[2], digest[3])
}

/// A survey that the release before had written when it was stopped, its event not yet done, is not written again by the next.
#[tokio::test]
async fn a_survey_written_by_the_release_before_stands_once() -> Result<()> {
    let mut scene = Scene::prepare(Plan::default()).await?;
    scene.appliance.set_recipient(ends_and_surveys(&scene));
    scene.server.start().await?;
    let ticket = scene.people.vpn_ticket;
    let lsid = scene.appliance.play(SessionScript::short(ticket.to_string()))?;
    scene.outcome(&lsid, SESSION_END).await?.done()?;
    scene.server.terminate().await?;
    for (whose, event) in [("customer", CUSTOMER_SURVEY), ("representative", REPRESENTATIVE_SURVEY)] {
        let before = scene.notes(ticket, &lsid).len();
        scene.server.set_env(FAULT_POINT, "written");
        scene.server.start().await?;
        let (kind, name) = if event == CUSTOMER_SURVEY {
            scene.appliance.complete_customer_survey(&lsid, vec![SurveyAnswer::rating("1")])?;
            ("customer", "John Smith")
        } else {
            scene.appliance.complete_representative_survey(&lsid, vec![SurveyAnswer::close_state("Resolved")])?;
            ("rep", "Jane D.")
        };
        tokio::time::timeout(DEATH_LIMIT, scene.server.ended()).await.context("the process lives on")??;
        let session = scene.appliance.session(&lsid).context("the session")?;
        let survey = if event == CUSTOMER_SURVEY { session.customer_survey } else { session.representative_survey };
        let former = survey_of_0_1(whose, survey.context("a survey")?.submitted_at, kind, name);
        let mut database = sqlx::SqliteConnection::connect(scene.server.database_url()).await?;
        let stored = sqlx::query("UPDATE delivery SET kind = $1, marker = $2, state = 'confirmed', remote_id = '1' WHERE kind LIKE $3")
            .bind(&former)
            .bind(format!("deskbridge/{lsid}/{former}/0"))
            .bind(format!("{whose}-survey-%"))
            .execute(&mut database)
            .await?;
        database.close().await?;
        assert_eq!(stored.rows_affected(), 1, "one survey was written");
        scene.server.remove_env(FAULT_POINT);
        let mark = scene.server.logs().mark();
        scene.server.start().await?;
        scene.outcome_after(mark, &lsid, event).await?.done()?;
        assert_eq!(scene.notes(ticket, &lsid).len(), before + 1, "{whose}");
        scene.server.terminate().await?;
    }
    Ok(())
}

#[tokio::test]
async fn surveys_of_an_appliance_that_cannot_find_them_by_session() -> Result<()> {
    let appliance = appliance::Options { surveys_by_lsid: false, ..appliance::Options::default() };
    let scene = Scene::start(Plan { appliance, ..Plan::default() }).await?;
    let ticket = scene.people.vpn_ticket;
    let lsid = scene.appliance.play(SessionScript::example(ticket.to_string()))?;
    for kind in [CUSTOMER_SURVEY, REPRESENTATIVE_SURVEY] {
        scene.outcome(&lsid, kind).await?.done()?;
    }
    assert_eq!(scene.notes(ticket, &lsid).len(), 3);
    Ok(())
}

#[tokio::test]
async fn the_ticket_is_the_one_the_session_ended_with() -> Result<()> {
    let scene = Scene::start(Plan::default()).await?;
    let (first, second) = (scene.people.vpn_ticket, scene.people.printer_ticket);
    let begins_with = SessionScript::short(first.to_string());
    let lsid = scene.appliance.begin_session(begins_with.session);
    for (_, step) in begins_with.steps {
        if matches!(step, Step::Ends) {
            scene.appliance.set_external_key(&lsid, &second.to_string())?;
        }
        scene.appliance.step(&lsid, step)?;
    }
    scene.outcome(&lsid, SESSION_END).await?.done()?;
    scene.only_report(second, &lsid)?;
    assert!(scene.notes(first, &lsid).is_empty());
    scene.every_event_was_taken_at_once().await
}

#[tokio::test]
async fn what_belongs_to_no_ticket_is_written_nowhere_and_says_why() -> Result<()> {
    let scene = Scene::start(Plan::default()).await?;
    let closed = scene.add_ticket("Closed long ago");
    scene.zendesk.alter_ticket(closed, |ticket| "closed".clone_into(&mut ticket.status));
    let before: usize = scene.zendesk.tickets().iter().map(|ticket| scene.zendesk.comments(*ticket).len()).sum();

    for key in ["", "   "] {
        let lsid = scene.appliance.play(SessionScript::short(key))?;
        let said = scene.outcome(&lsid, SESSION_END).await?.done()?;
        assert!(said.contains("no external key"), "{key:?}: {said}");
    }
    let unusable = [
        ("SFDC-0815", "“SFDC-0815” is no ticket id"),
        ("0", "“0” is no ticket id"),
        ("-1", "no ticket id"),
        ("35436/../35437", "no ticket id"),
        ("{\"title\":\"VPN\"}", "no ticket id"),
        ("３５４３６", "no ticket id"),
        ("99999999", "no ticket 99999999"),
        ("999999999999999999999999", "no ticket id"),
        (&closed.to_string(), "closed"),
    ];
    for (key, reason) in unusable {
        let lsid = scene.appliance.play(SessionScript::short(key))?;
        let said = scene.outcome(&lsid, SESSION_END).await?.dead().with_context(|| key.to_owned())?;
        assert!(said.contains(reason), "{key:?}: {said}");
    }
    let after: usize = scene.zendesk.tickets().iter().map(|ticket| scene.zendesk.comments(*ticket).len()).sum();
    assert_eq!(before, after);
    scene.every_event_was_taken_at_once().await
}

/// Cases that mostly wait, all at once, each in a scene of its own.
async fn together(cases: Vec<(&str, LocalBoxFuture<'_, Result<()>>)>) -> Result<()> {
    let named = cases.into_iter().map(|(name, case)| async move { case.await.with_context(|| name.to_owned()) });
    try_join_all(named).await.map(drop)
}

// Zendesk fails

#[tokio::test]
async fn whatever_zendesk_does_the_report_stands_once() -> Result<()> {
    let audits = || Matching::new(Method::GET, "/api/v2/tickets/");
    let once = |fault| vec![(writes_to_tickets(), fault)];
    let failed = |what: &str| status(500, what, None);
    let (short, long): (Script, Script) = (SessionScript::short, SessionScript::at_the_limits);
    together(vec![
        // The note was written, but the answer said otherwise or was lost: its marker is found, nothing is written again.
        ("written, then the connection broke", zendesk_fails(once(Fault::ApplyThenClose), short, 1).boxed_local()),
        ("written, then a server error", zendesk_fails(once(Fault::ApplyThenStatus(500)), short, 1).boxed_local()),
        ("written, then no JSON", zendesk_fails(once(Fault::ApplyThenStatus(200)), short, 1).boxed_local()),
        ("written, then no answer", zendesk_fails(once(Fault::ApplyThenHang), short, 1).boxed_local()),
        (
            "written, then the search for the marker fails too",
            zendesk_fails(vec![(writes_to_tickets(), Fault::ApplyThenClose), (audits(), failed("<html>"))], short, 1).boxed_local(),
        ),
        // Nothing was written: it is written at last.
        (
            "server errors",
            zendesk_fails(vec![(writes_to_tickets(), failed("<html>")), (writes_to_tickets(), Fault::CloseConnection)], short, 3)
                .boxed_local(),
        ),
        ("an upload fails", zendesk_fails(vec![(Matching::new(Method::POST, "/api/v2/uploads"), failed(""))], long, 1).boxed_local()),
        ("maintenance", waited_out(status(503, "Service Unavailable", Some(2))).boxed_local()),
        ("a limit", waited_out(status(429, r#"{"errors":[{"code":"TooManyRequests","title":"Too many"}]}"#, Some(2))).boxed_local()),
        ("refused credentials", zendesk_refuses_credentials().boxed_local()),
    ])
    .await
}

type Script = fn(String) -> SessionScript;

/// A session is played while these faults wait for their requests; its report must stand on the ticket once, after so
/// many writes.
async fn zendesk_fails(faults: Vec<(Matching, Fault)>, script: Script, writes: usize) -> Result<()> {
    let scene = scene().await?;
    let ticket = scene.people.vpn_ticket;
    for (matching, fault) in faults {
        scene.zendesk.fail_next(1, matching, fault);
    }
    let lsid = scene.play_until_done(script(ticket.to_string())).await?;
    scene.only_report(ticket, &lsid)?;
    let written = updates(&scene.zendesk).len();
    ensure!(written == writes, "written {written} times");
    scene.every_event_was_taken_at_once().await
}

fn status(code: u16, body: &str, retry_after: Option<u64>) -> Fault {
    Fault::Status { code, body: body.to_owned(), retry_after }
}

/// The account asks for two seconds of patience.
async fn waited_out(fault: Fault) -> Result<()> {
    let scene = scene().await?;
    let ticket = scene.people.vpn_ticket;
    scene.zendesk.fail_next(1, writes_to_tickets(), fault);
    let lsid = scene.play_until_done(SessionScript::short(ticket.to_string())).await?;
    scene.only_report(ticket, &lsid)?;
    let requests = scene.zendesk.requests();
    let writes: Vec<_> = requests.iter().filter(|request| request.method == Method::PUT).map(|request| request.at).collect();
    ensure!(writes.len() == 2 && writes[1] - writes[0] >= Duration::from_secs(2), "{writes:?}");
    scene.every_event_was_taken_at_once().await
}

/// By an API token: after a 401 an OAuth client asks for another token, and once more with it.
async fn zendesk_refuses_credentials() -> Result<()> {
    let scene = scene_with(Plan { connection: by_api_token(&zendesk::Options::default()), ..Plan::default() }).await?;
    let ticket = scene.people.vpn_ticket;
    scene.zendesk.fail_always(Matching::any_api_call(), status(401, r#"{"error":"Couldn't authenticate you"}"#, None));
    let first = scene.appliance.play(SessionScript::short(ticket.to_string()))?;
    scene.server.wait_for_log(&format!("credentials are refused.*{CONNECTION}")).await?;
    let second = scene.appliance.play(SessionScript::short(ticket.to_string()))?;
    scene.appliance.outbound_idle().await?;
    scene.zendesk.clear_faults();
    for lsid in [first, second] {
        scene.outcome(&lsid, SESSION_END).await?.done()?;
        scene.only_report(ticket, &lsid)?;
    }
    let refused = scene.zendesk.requests().iter().filter(|request| request.status == Some(401)).count();
    ensure!(refused == 1, "an account that refuses is asked {refused} times");
    scene.every_event_was_taken_at_once().await
}

#[tokio::test]
async fn a_marker_is_found_behind_a_long_history() -> Result<()> {
    let scene = scene().await?;
    let ticket = scene.people.vpn_ticket;
    for number in 0..120 {
        scene.zendesk.add_comment(ticket, scene.people.agent, false, &format!("Older note {number}"));
    }
    scene.zendesk.fail_next(1, writes_to_tickets(), Fault::ApplyThenClose);
    let lsid = scene.play_until_done(SessionScript::short(ticket.to_string())).await?;
    scene.only_report(ticket, &lsid)?;
    assert_eq!(updates(&scene.zendesk).len(), 1);
    Ok(())
}

#[tokio::test]
async fn an_account_that_cannot_be_reached_is_tried_until_it_is_back() -> Result<()> {
    let port = Port::reserve()?;
    let options = zendesk::Options { port: port.number(), ..zendesk::Options::default() };
    let mut scene = Scene::start(Plan { zendesk: options, ..Plan::default() }).await?;
    let ticket = scene.people.vpn_ticket;
    let options = scene.zendesk.options();
    scene.zendesk.stop().await;
    let lsid = scene.appliance.play(SessionScript::short(ticket.to_string()))?;
    scene.server.wait_for_log("will be tried again.*no connection").await?;
    scene.zendesk = SimulatedZendesk::start(options).await?;
    assert_eq!(scene.zendesk.fill_demo_data().vpn_ticket, ticket, "the account came back with the same tickets");
    scene.outcome(&lsid, SESSION_END).await?.done()?;
    scene.only_report(ticket, &lsid)?;
    scene.every_event_was_taken_at_once().await
}

#[tokio::test]
async fn a_ticket_the_api_user_may_not_see_does_not_hold_up_its_neighbours() -> Result<()> {
    let scene = scene().await?;
    let (sick, well) = (scene.people.scanner_ticket, scene.people.vpn_ticket);
    let api_user = scene.zendesk.api_user();
    scene.zendesk.alter_user(api_user, |user| {
        (user.role, user.ticket_restriction) = (Role::Agent, Some(TicketRestriction::Groups));
    });
    ensure!(!scene.zendesk.agent_may_see(api_user, sick) && scene.zendesk.agent_may_see(api_user, well));
    let refused = scene.appliance.play(SessionScript::short(sick.to_string()))?;
    scene.server.wait_for_log(&format!("{refused}.*event will be tried again.*ticket {sick}")).await?;
    let lsid = scene.play_until_done(SessionScript::short(well.to_string())).await?;
    scene.only_report(well, &lsid)?;
    let held = scene.server.logs().lines_matching("credentials are refused")?;
    assert!(held.is_empty(), "one ticket's refusal held the whole connection: {held:?}");
    scene.every_event_was_taken_at_once().await
}

// The appliance fails

#[tokio::test]
async fn whatever_the_appliance_does_the_report_stands_once() -> Result<()> {
    let fault = |times, fault| appliance_fails(report_fails(times, fault)).boxed_local();
    together(vec![
        ("server errors", fault(2, appliance::Fault::Status(500, "Internal error".into()))),
        ("garbage", fault(2, appliance::Fault::Garbage)),
        ("the connection breaks", fault(1, appliance::Fault::CloseConnection)),
        ("an unheard-of error document", fault(1, appliance::Fault::ErrorDocument("The site is being upgraded.".into()))),
        ("no answer", fault(1, appliance::Fault::Hang)),
        (
            "no token",
            appliance_fails(appliance::FaultRule::next(1, appliance::Fault::Status(503, String::new())).at(Endpoint::Token)).boxed_local(),
        ),
        ("a new client secret", appliance_has_a_new_secret().boxed_local()),
    ])
    .await
}

fn report_fails(times: u32, fault: appliance::Fault) -> appliance::FaultRule {
    appliance::FaultRule::next(times, fault).at(Endpoint::Reporting).on("SupportSession")
}

async fn appliance_fails(rule: appliance::FaultRule) -> Result<()> {
    let scene = scene().await?;
    let ticket = scene.people.vpn_ticket;
    scene.appliance.revoke_tokens();
    scene.appliance.add_fault(rule);
    let lsid = scene.appliance.play(SessionScript::short(ticket.to_string()))?;
    scene.server.wait_for_log(&format!("{lsid}.*event will be tried again")).await?;
    scene.outcome(&lsid, SESSION_END).await?.done()?;
    scene.only_report(ticket, &lsid)?;
    scene.every_event_was_taken_at_once().await
}

/// The events wait until the settings have it, too.
async fn appliance_has_a_new_secret() -> Result<()> {
    let scene = scene().await?;
    let ticket = scene.people.vpn_ticket;
    let old = scene.appliance.options().client_secret;
    let new = scene.appliance.rotate_secret();
    let lsid = scene.appliance.play(SessionScript::short(ticket.to_string()))?;
    scene.server.wait_for_log("credentials are refused").await?;
    let settings = std::fs::read_to_string(scene.server.settings_path())?;
    std::fs::write(scene.server.settings_path(), settings.replace(&old, &new))?;
    let applied = scene.server.command(&["config", "apply"]).await?;
    ensure!(applied.status.success(), "{applied:?}");
    scene.outcome(&lsid, SESSION_END).await?.done()?;
    scene.only_report(ticket, &lsid)?;
    scene.every_event_was_taken_at_once().await
}

#[tokio::test]
async fn a_live_state_that_cannot_be_read_does_not_hold_up_the_report() -> Result<()> {
    let scene = Scene::start(Plan::default()).await?;
    let ticket = scene.people.vpn_ticket;
    // Begin, ownership, two members: four events before the end.
    scene.appliance.add_fault(report_fails(4, appliance::Fault::Status(500, "Internal error".into())));
    let lsid = scene.play_until_done(SessionScript::short(ticket.to_string())).await?;
    scene.only_report(ticket, &lsid)?;
    scene.every_event_was_taken_at_once().await
}

#[tokio::test]
async fn a_revoked_token_is_replaced_within_the_same_attempt() -> Result<()> {
    let scene = scene().await?;
    let ticket = scene.people.vpn_ticket;
    scene.play_until_done(SessionScript::short(ticket.to_string())).await?;
    scene.appliance.revoke_tokens();
    let lsid = scene.play_until_done(SessionScript::short(ticket.to_string())).await?;
    scene.only_report(ticket, &lsid)?;
    assert!(scene.server.logs().lines_matching("will be tried again")?.is_empty());
    assert_eq!(scene.appliance.valid_tokens(), 1);
    scene.every_event_was_taken_at_once().await
}

// The server dies

#[tokio::test]
async fn whenever_the_server_dies_the_report_stands_once() -> Result<()> {
    together(vec![
        ("killed right after the 200, SQLite", dies_right_after_the_200(Database::Sqlite).boxed_local()),
        ("killed right after the 200, PostgreSQL", dies_right_after_the_200(Database::Postgres).boxed_local()),
        ("killed between write and answer", dies_between_write_and_answer(false).boxed_local()),
        ("stopped between write and answer", dies_between_write_and_answer(true).boxed_local()),
    ])
    .await
}

async fn dies_right_after_the_200(database: Database) -> Result<()> {
    let server = server::Deskbridge::builder().database(database);
    let mut scene = Scene::start(Plan { server, ..Plan::default() }).await?;
    let ticket = scene.people.vpn_ticket;
    scene.appliance.add_fault(appliance::FaultRule::always(appliance::Fault::Hang).at(Endpoint::Reporting));
    let lsid = scene.appliance.play(SessionScript::example(ticket.to_string()))?;
    scene.every_event_was_taken_at_once().await?;
    scene.server.kill().await?;
    scene.appliance.clear_faults();
    ensure!(scene.notes(ticket, &lsid).is_empty(), "written too early for this test");
    scene.server.start().await?;
    for kind in [SESSION_END, CUSTOMER_SURVEY, REPRESENTATIVE_SURVEY] {
        scene.outcome(&lsid, kind).await?.done()?;
    }
    let notes = scene.notes(ticket, &lsid).len();
    ensure!(notes == 3, "{notes} notes");
    Ok(())
}

/// Ends the server after the note was written and before the account answered.
async fn dies_between_write_and_answer(in_order: bool) -> Result<()> {
    let mut scene = Scene::start(Plan::default()).await?;
    let ticket = scene.people.vpn_ticket;
    scene.zendesk.fail_next(1, writes_to_tickets(), Fault::ApplyThenHang);
    let lsid = scene.appliance.play(SessionScript::short(ticket.to_string()))?;
    scene.zendesk.wait_for_comment(ticket, |comment| comment.plain_body.contains(&lsid)).await?;
    scene.every_event_was_taken_at_once().await?;
    if in_order {
        ensure!(scene.server.terminate().await?.success());
    } else {
        scene.server.kill().await?;
    }
    let mark = scene.server.logs().mark();
    scene.server.start().await?;
    let said = scene.outcome_after(mark, &lsid, SESSION_END).await?.done()?;
    ensure!(said.contains("was found"), "{said}");
    scene.only_report(ticket, &lsid)?;
    ensure!(updates(&scene.zendesk).len() == 1, "written again");
    Ok(())
}

// The administrator's own templates

#[tokio::test]
async fn the_administrators_template_is_used() -> Result<()> {
    let templates = tempfile::tempdir()?;
    std::fs::write(
        templates.path().join("session_report.hbs"),
        "<p>Our own words about {{customer}}:</p><ul>{{#each transcript.beginning}}<li>{{text}}</li>{{/each}}</ul>",
    )?;
    let path = templates.path().to_str().context("a plain path")?;
    let server = server::Deskbridge::builder().server_setting("report_templates", path);
    let scene = Scene::start(Plan { server, ..Plan::default() }).await?;
    let ticket = scene.people.vpn_ticket;
    let script = SessionScript::new(ticket.to_string())
        .customer(appliance::Customer::named("John <b> Smith"))
        .representative(Representative::example())
        .chat(Party::CUSTOMER, "{{ticket.title}} <script>alert(1)</script>")
        .end();
    let lsid = scene.play_until_done(script).await?;
    let note = scene.only_report(ticket, &lsid)?;
    assert_contains(&note.plain_body, &["Our own words about John <b> Smith:", "{\u{2060}{ticket.title}} <script>alert(1)</script>"]);
    assert!(!note.plain_body.contains("Remote support session"), "the built-in template was used");
    Ok(())
}

#[tokio::test]
async fn a_broken_template_is_told_at_the_start() -> Result<()> {
    for (template, fault) in [
        ("<p>{{#if customer}}</p>", "line 1: invalid handlebars syntax"),
        ("<p>{{customer.nmae}}</p>\n<p>{{nonsense}}</p>", "nmae"),
        ("<p>fine</p>\n<p>{{no_such_helper customer}}</p>", "no_such_helper"),
    ] {
        let templates = tempfile::tempdir()?;
        let file = templates.path().join("session_report.hbs");
        std::fs::write(&file, template)?;
        let path = templates.path().to_str().context("a plain path")?;
        let started = server::Deskbridge::builder().server_setting("report_templates", path).start().await;
        let said = started.err().map(|error| error.to_string()).with_context(|| format!("a server ran with {template}"))?;
        assert_contains(&said, &["before it was ready", &file.display().to_string(), fault, "Correct the file"]);
    }
    Ok(())
}
