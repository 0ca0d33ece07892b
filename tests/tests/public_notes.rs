//! Notes that the requester reads: what they tell is judged by who spoke to whom, in whatever language the appliance names its events, and
//! what they leave out stands in an internal note where the settings want one, once.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use deskbridge_tests::appliance::{Body, Customer, Party, Representative, SessionEvent, SessionScript, Step, SurveyAnswer};
use deskbridge_tests::outcomes::{CUSTOMER_SURVEY, REPRESENTATIVE_SURVEY, SESSION_END};
use deskbridge_tests::scene::{CONNECTION, Plan, Scene};
use deskbridge_tests::zendesk::{Comment, Fault, Matching};
use futures_util::future::try_join_all;
use reqwest::Method;
use toml::{Table, toml};

/// Says where the process shall end (`server/crates/core/src/fault_point.rs`).
const FAULT_POINT: &str = "DESKBRIDGE_FAULT_POINT";
/// Longest time until it has.
const DEATH_LIMIT: Duration = Duration::from_mins(1);
/// Longest time until everything stands. A dead server's lease lasts 15 s.
const DRAIN_LIMIT: Duration = Duration::from_secs(90);

/// What the customer heard, said, or saw happen.
const SHARED: [&str; 5] = ["Ich sehe mir das an.", "Danke!", "Nur für Sie: bitte neu anmelden.", "Nur an Jane: es eilt.", "mlcfg32.cpl"];
/// What representatives said or wrote for each other.
const AMONG_AGENTS: [&str; 4] =
    ["Kennst du den Kunden?", "Vertrag abgelaufen, kulant bleiben.", "Rebuilt the mail profile.", "Übernimmst du?"];

fn public(reports: Table) -> Plan {
    let mut connection = toml! {
        [zendesk]
        note_visibility = "public"
        settle_seconds = 5
    };
    connection.insert("reports".to_owned(), reports.into());
    Plan { connection, ..Plan::default() }
}

/// A session of two representatives on an appliance that speaks German, but for one session note.
fn in_german(ticket: u64) -> SessionScript {
    let (first, second, customer) = (Party::REPRESENTATIVE, Party::Representative(1), Party::CUSTOMER);
    let colleague = Representative { id: 161, username: "mmuster".into(), display_name: "Max M.".into(), ..Representative::example() };
    let said = |name: &str, by: Party, to: Option<Party>, text: &str| SessionEvent {
        performed_by: Some(by),
        destination: to,
        body: Some(Body::Text(text.to_owned())),
        ..SessionEvent::of_type(name)
    };
    let chat = "Chatnachricht";
    SessionScript::new(ticket.to_string())
        .customer(Customer::named("John Smith"))
        .representative(Representative::example())
        .representative(colleague)
        .event(said(chat, first, Some(Party::Everyone), SHARED[0]))
        .event(said(chat, customer, Some(Party::Everyone), SHARED[1]))
        .event(said(chat, first, Some(customer), SHARED[2]))
        .event(said(chat, customer, Some(first), SHARED[3]))
        .event(SessionEvent { event_type: "Spezialaktion ausgeführt".to_owned(), ..SessionEvent::special_action(SHARED[4]) })
        .event(said(chat, first, Some(second), AMONG_AGENTS[0]))
        .event(said("Sitzungsnotiz hinzugefügt", first, None, AMONG_AGENTS[1]))
        .event(SessionEvent::session_note(AMONG_AGENTS[2]))
        .event(said("Sitzung zugewiesen", first, Some(second), AMONG_AGENTS[3]))
        .after(5, Step::Ends)
}

#[track_caller]
fn assert_tells(note: &Comment, parts: &[&str], told: bool) {
    for part in parts {
        assert_eq!(note.plain_body.contains(part), told, "“{part}” in\n{}", note.plain_body);
    }
}

/// The notes of the kind that stand on the ticket.
fn of_kind(scene: &Scene, lsid: &str, kind: &str) -> Vec<Comment> {
    let marker = format!("deskbridge/{lsid}/{kind}");
    let mut notes = scene.zendesk.comments(scene.people.vpn_ticket);
    notes.retain(|note| note.plain_body.contains(&marker));
    notes
}

fn only(mut notes: Vec<Comment>) -> Result<Comment> {
    ensure!(notes.len() == 1, "{} notes: {notes:?}", notes.len());
    notes.pop().context("just counted")
}

#[tokio::test]
async fn the_requester_reads_nothing_that_representatives_said_to_each_other() -> Result<()> {
    let scene = Scene::start(public(Table::new())).await?;
    let lsid = scene.play_until_done(in_german(scene.people.vpn_ticket)).await?;
    let note = scene.only_report(scene.people.vpn_ticket, &lsid)?;
    assert!(note.public);
    assert_tells(&note, &SHARED, true);
    assert_tells(&note, &AMONG_AGENTS, false);
    assert_eq!(scene.notes(scene.people.vpn_ticket, &lsid).len(), 1, "no second note unless the settings want one");

    // The customer's answers are theirs; what representatives answer is for their colleagues.
    scene.appliance.complete_customer_survey(&lsid, vec![SurveyAnswer::rating("5")])?;
    scene.appliance.complete_representative_survey(&lsid, vec![SurveyAnswer::close_state("Kunde schwierig")])?;
    scene.outcome(&lsid, CUSTOMER_SURVEY).await?.done()?;
    scene.outcome(&lsid, REPRESENTATIVE_SURVEY).await?.done()?;
    assert!(only(of_kind(&scene, &lsid, "customer-survey-"))?.public);
    assert!(!only(of_kind(&scene, &lsid, "representative-survey-"))?.public);
    Ok(())
}

#[tokio::test]
async fn what_representatives_wrote_is_published_where_the_settings_say_so() -> Result<()> {
    let scene = Scene::start(public(toml! { publish_representative_notes = true })).await?;
    let lsid = scene.play_until_done(in_german(scene.people.vpn_ticket)).await?;
    let note = scene.only_report(scene.people.vpn_ticket, &lsid)?;
    assert!(note.public);
    assert_tells(&note, &SHARED, true);
    assert_tells(&note, &[AMONG_AGENTS[1], AMONG_AGENTS[2]], true);
    assert_tells(&note, &[AMONG_AGENTS[0], AMONG_AGENTS[3]], false);
    scene.appliance.complete_representative_survey(&lsid, vec![SurveyAnswer::close_state("Resolved")])?;
    scene.outcome(&lsid, REPRESENTATIVE_SURVEY).await?.done()?;
    assert!(only(of_kind(&scene, &lsid, "representative-survey-"))?.public);
    Ok(())
}

fn check_both(scene: &Scene, lsid: &str) -> Result<()> {
    let report = scene.only_report(scene.people.vpn_ticket, lsid)?;
    assert!(report.public);
    assert_tells(&report, &SHARED, true);
    assert_tells(&report, &AMONG_AGENTS, false);
    let internal = only(of_kind(scene, lsid, "report-internal/"))?;
    assert!(!internal.public);
    assert_tells(&internal, &SHARED, false);
    assert_tells(&internal, &AMONG_AGENTS, true);
    assert_tells(&internal, &["for agents only", "Jane D.", "John Smith", "Report on the appliance"], true);
    assert_eq!(scene.notes(scene.people.vpn_ticket, lsid).len(), 2);
    Ok(())
}

fn with_internal_note() -> Plan {
    public(toml! { internal_note_beside_public = true })
}

#[tokio::test]
async fn what_the_requester_does_not_read_stands_in_an_internal_note() -> Result<()> {
    let scene = Scene::start(with_internal_note()).await?;
    let lsid = scene.play_until_done(in_german(scene.people.vpn_ticket)).await?;
    check_both(&scene, &lsid)
}

/// The process dies at this step of the internal note, and is started again.
async fn dies_at(step: &str) -> Result<()> {
    let mut scene = Scene::prepare(with_internal_note()).await?;
    // For the second time: the first is the report's.
    scene.server.set_env(FAULT_POINT, format!("{step}:2"));
    scene.server.start().await?;
    let lsid = scene.appliance.play(in_german(scene.people.vpn_ticket))?;
    let status = tokio::time::timeout(DEATH_LIMIT, scene.server.ended()).await.context("the process lives on")??;
    ensure!(!status.success(), "{status}");
    scene.only_report(scene.people.vpn_ticket, &lsid)?;
    scene.server.remove_env(FAULT_POINT);
    let mark = scene.server.logs().mark();
    scene.server.start().await?;
    tokio::time::timeout(DRAIN_LIMIT, scene.outcome_after(mark, &lsid, SESSION_END)).await.context("never done")??.done()?;
    check_both(&scene, &lsid)
}

#[tokio::test]
async fn whatever_step_the_process_dies_at_the_internal_note_stands_once() -> Result<()> {
    try_join_all(["planned", "sent", "written"].map(async |step| dies_at(step).await.context(step))).await.map(drop)
}

/// The report is taken, the internal note meets this.
async fn meets(fault: Fault) -> Result<()> {
    let scene = Scene::start(with_internal_note()).await?;
    let writes = || Matching::new(Method::PUT, "/api/v2/tickets/").containing("report-internal");
    scene.zendesk.fail_next(1, writes(), fault);
    let lsid = scene.play_until_done(in_german(scene.people.vpn_ticket)).await?;
    check_both(&scene, &lsid)
}

#[tokio::test]
async fn an_internal_note_without_a_certain_answer_stands_once() -> Result<()> {
    let later = Fault::Status { code: 503, body: "later".into(), retry_after: None };
    try_join_all([Fault::ApplyThenClose, Fault::ApplyThenStatus(502), Fault::CloseConnection, later].map(meets)).await.map(drop)
}

#[tokio::test]
async fn check_says_where_an_internal_note_makes_no_sense() -> Result<()> {
    let scene = Scene::prepare(Plan { connection: toml! { reports = { internal_note_beside_public = true } }, ..Plan::default() }).await?;
    let output = scene.server.command(&["check"]).await?;
    let said = String::from_utf8(output.stdout)?;
    let line = format!("note {CONNECTION}: notes: reports.internal_note_beside_public does nothing: the notes are internal");
    ensure!(output.status.success() && said.contains(&line), "{said}");
    Ok(())
}
