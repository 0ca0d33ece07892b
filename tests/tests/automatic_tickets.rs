//! A session that belongs to no ticket gets one when a representative joins: one, whatever fails, and its report goes there.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use deskbridge_tests::appliance::{
    Customer, EventKind, Fault as ApplianceFault, FaultRule, Recipient, Representative, SessionScript, Step,
};
use deskbridge_tests::outcomes::SESSION_END;
use deskbridge_tests::scene::{CONNECTION, Plan, Scene};
use deskbridge_tests::zendesk::{Fault, Matching, Ticket, User};
use futures_util::future::try_join_all;
use reqwest::Method;
use serde_json::json;
use toml::{Table, toml};

/// The `kind` of the event in the log.
const JOINS: &str = "someone_joins";
/// Says where the process shall end (`server/src/fault_point.rs`).
const FAULT_POINT: &str = "DESKBRIDGE_FAULT_POINT";
/// Longest time until it has.
const DEATH_LIMIT: Duration = Duration::from_mins(1);
/// What a representative's console or a site's button writes into the session.
const ASKED: &str = r#"{"title": "VPN for {{ticket.id}}", "priority": "high", "name": "Jane Roe", "email": "jane.roe@customer.example"}"#;

fn creating() -> Table {
    toml! {
        [zendesk]
        enable_automatic_ticket_creation = true
        settle_seconds = 5
        external_key_may_set = ["email"]
        ticket_default_data = "{\"priority\": \"low\", \"tags\": [\"remote\"], \"description\": null}"
    }
}

async fn scene() -> Result<Scene> {
    Scene::start(Plan { connection: creating(), ..Plan::default() }).await
}

/// The tickets that are there now and were not in `before`.
fn new_tickets(scene: &Scene, before: &[u64]) -> Vec<Ticket> {
    scene.zendesk.tickets().into_iter().filter(|id| !before.contains(id)).filter_map(|id| scene.zendesk.ticket(id)).collect()
}

fn begun() -> SessionScript {
    SessionScript::new(ASKED).customer(Customer::named("John Smith")).representative(Representative::example())
}

/// Waits until the session's external key is the ticket.
async fn written_back(scene: &Scene, lsid: &str, ticket: u64) -> Result<()> {
    let ticket = ticket.to_string();
    scene.appliance.wait_for_session(|session| session.lsid == lsid && session.external_key == ticket).await.map(drop)
}

#[tokio::test]
async fn the_first_representative_makes_the_ticket_and_the_report_goes_there() -> Result<()> {
    let scene = scene().await?;
    let before = scene.zendesk.tickets();
    let lsid = scene.appliance.play(SessionScript::new(ASKED).customer(Customer::named("John Smith")))?;
    scene.outcome(&lsid, JOINS).await?.done()?;
    assert!(new_tickets(&scene, &before).is_empty(), "a waiting customer is no session yet");

    let mark = scene.server.logs().mark();
    scene.appliance.representative_joins(&lsid, Representative::example())?;
    scene.outcome_after(mark, &lsid, JOINS).await?.done()?;
    let made = new_tickets(&scene, &before);
    let [ticket] = made.as_slice() else { anyhow::bail!("{made:?}") };
    ensure!(ticket.subject.starts_with("VPN for {") && !ticket.subject.contains("{{"), "no placeholder: {}", ticket.subject);
    assert_eq!((ticket.priority.as_deref(), ticket.tags.as_slice()), (Some("high"), ["remote".to_owned()].as_slice()));
    let requester = scene.zendesk.user(ticket.requester_id).context("a requester")?;
    assert_eq!((requester.name.as_str(), requester.email.as_str()), ("Jane Roe", "jane.roe@customer.example"));
    assert!(!scene.zendesk.comments(ticket.id)[0].public, "as the notes: internal");
    written_back(&scene, &lsid, ticket.id).await?;

    // A second representative changes nothing.
    let mark = scene.server.logs().mark();
    let second = Representative { id: 161, username: "second".into(), ..Representative::example() };
    scene.appliance.representative_joins(&lsid, second)?;
    scene.outcome_after(mark, &lsid, JOINS).await?.done()?;
    scene.appliance.end_session(&lsid)?;
    scene.outcome(&lsid, SESSION_END).await?.done()?;
    assert_eq!(new_tickets(&scene, &before).len(), 1);
    scene.only_report(ticket.id, &lsid).map(drop)
}

#[tokio::test]
async fn a_lost_answer_makes_no_second_ticket() -> Result<()> {
    for fault in [Fault::ApplyThenClose, Fault::ApplyThenStatus(502), Fault::CloseConnection] {
        let scene = scene().await?;
        let before = scene.zendesk.tickets();
        let what = format!("{fault:?}");
        scene.zendesk.fail_next(1, Matching::new(Method::POST, "/api/v2/tickets"), fault);
        let lsid = scene.appliance.play(begun())?;
        let ticket = scene.zendesk.wait_until(|_| new_tickets(&scene, &before).first().map(|ticket| ticket.id)).await?;
        written_back(&scene, &lsid, ticket).await.context(what.clone())?;
        scene.appliance.end_session(&lsid)?;
        scene.outcome(&lsid, SESSION_END).await?.done()?;
        assert_eq!(new_tickets(&scene, &before).len(), 1, "{what}");
        scene.only_report(ticket, &lsid)?;
    }
    Ok(())
}

/// The representative may have chosen a ticket in the meantime; while nobody can tell, nothing is written over it.
#[tokio::test]
async fn a_session_whose_key_cannot_be_read_is_looked_at_again_before_it_is_set() -> Result<()> {
    let scene = scene().await?;
    let before = scene.zendesk.tickets();
    let fault = ApplianceFault::Status(503, "later".to_owned());
    scene.appliance.add_fault(FaultRule::next(1, fault).on("get_session_attributes"));
    let lsid = scene.appliance.play(begun())?;
    let ticket = scene.zendesk.wait_until(|_| new_tickets(&scene, &before).first().map(|ticket| ticket.id)).await?;
    written_back(&scene, &lsid, ticket).await?;
    let asked = |operation: &str| scene.appliance.count(|request| request.is(operation));
    assert_eq!((asked("get_session_attributes"), asked("set_session_attributes")), (2, 1));
    scene.appliance.end_session(&lsid)?;
    scene.outcome(&lsid, SESSION_END).await?.done()?;
    assert_eq!(new_tickets(&scene, &before).len(), 1);
    scene.only_report(ticket, &lsid).map(drop)
}

/// The process dies at this step on the way to the ticket, and is started again.
async fn dies_at(step: &str) -> Result<()> {
    let mut scene = Scene::prepare(Plan { connection: creating(), ..Plan::default() }).await?;
    let before = scene.zendesk.tickets();
    scene.appliance.set_recipient(Recipient { events: vec![EventKind::MemberAdded, EventKind::End], ..scene.recipient() });
    scene.server.set_env(FAULT_POINT, step);
    scene.server.start().await?;
    let lsid = scene.appliance.play(begun())?;
    let status = tokio::time::timeout(DEATH_LIMIT, scene.server.ended()).await.context("the process lives on")??;
    ensure!(!status.success(), "{status}");
    scene.server.remove_env(FAULT_POINT);
    scene.server.start().await?;
    let ticket = scene.zendesk.wait_until(|_| new_tickets(&scene, &before).first().map(|ticket| ticket.id)).await?;
    written_back(&scene, &lsid, ticket).await?;
    scene.appliance.end_session(&lsid)?;
    scene.outcome(&lsid, SESSION_END).await?.done()?;
    assert_eq!(new_tickets(&scene, &before).len(), 1, "{step}");
    scene.only_report(ticket, &lsid).map(drop)
}

#[tokio::test]
async fn whatever_step_the_process_dies_at_there_is_one_ticket() -> Result<()> {
    let steps = ["planned", "sent", "written", "confirmed"];
    try_join_all(steps.map(async |step| dies_at(step).await.context(step))).await.map(drop)
}

#[tokio::test]
async fn a_session_that_ended_before_anyone_looked_gets_its_ticket_all_the_same() -> Result<()> {
    let scene = scene().await?;
    let before = scene.zendesk.tickets();
    // Only the end is told; the session can take no external key any more.
    scene.appliance.set_recipient(Recipient { events: vec![EventKind::End], ..scene.recipient() });
    let lsid = scene.appliance.play(begun().after(1, Step::Ends))?;
    scene.outcome(&lsid, SESSION_END).await?.done()?;
    let made = new_tickets(&scene, &before);
    let [ticket] = made.as_slice() else { anyhow::bail!("{made:?}") };
    scene.only_report(ticket.id, &lsid).map(drop)
}

/// Customers write their own names and addresses.
#[tokio::test]
async fn a_customer_the_account_refuses_costs_neither_ticket_nor_report() -> Result<()> {
    let scene = scene().await?;
    let suspended = User { name: "Jane".into(), email: "jane@customer.example".into(), suspended: true, ..User::default() };
    scene.zendesk.add_user(suspended);
    for (email, customer) in [("jane@customer.example", "Customer: Jane <jane@customer.example>"), ("n/a", "Customer: Jane <n/a>")] {
        let before = scene.zendesk.tickets();
        let key = json!({ "title": "VPN", "name": "Jane", "email": email }).to_string();
        let script = SessionScript::new(&key).customer(Customer::named("Jane")).representative(Representative::example());
        let lsid = scene.appliance.play(script.after(1, Step::Ends))?;
        scene.outcome(&lsid, SESSION_END).await?.done()?;
        let made = new_tickets(&scene, &before);
        let [ticket] = made.as_slice() else { anyhow::bail!("{email}: {made:?}") };
        let text = &scene.zendesk.comments(ticket.id)[0].plain_body;
        ensure!(text.contains(customer), "{email}: {text}");
        assert_eq!(ticket.requester_id, scene.zendesk.api_user(), "{email}");
        scene.only_report(ticket.id, &lsid)?;
    }
    Ok(())
}

/// Whoever reaches the portal writes the external key.
#[tokio::test]
async fn a_key_from_a_portal_sets_neither_the_requester_nor_what_becomes_of_the_ticket() -> Result<()> {
    let mut connection = creating();
    connection["zendesk"].as_table_mut().context("a section")?.remove("external_key_may_set");
    let scene = Scene::start(Plan { connection, ..Plan::default() }).await?;
    let before = scene.zendesk.tickets();
    let key = json!({ "email": "ceo@example.com", "status": "solved" }).to_string();
    let script = SessionScript::new(&key).customer(Customer::named("Jane")).representative(Representative::example());
    let lsid = scene.appliance.play(script.after(1, Step::Ends))?;
    scene.outcome(&lsid, SESSION_END).await?.done()?;
    let made = new_tickets(&scene, &before);
    let [ticket] = made.as_slice() else { anyhow::bail!("{made:?}") };
    assert_eq!((ticket.requester_id, ticket.status.as_str()), (scene.zendesk.api_user(), "new"));
    let text = &scene.zendesk.comments(ticket.id)[0].plain_body;
    ensure!(text.contains("Customer: ceo@example.com") && text.contains("does not set it: status: \"solved\""), "{text}");
    scene.only_report(ticket.id, &lsid).map(drop)
}

#[tokio::test]
async fn without_the_setting_and_with_an_unknown_field_a_person_is_told() -> Result<()> {
    let scene = Scene::start(Plan::default()).await?;
    let lsid = scene.appliance.play(begun().after(1, Step::Ends))?;
    let said = scene.outcome(&lsid, SESSION_END).await?.dead()?;
    ensure!(said.contains("is no ticket id"), "{said}");

    let scene = self::scene().await?;
    let before = scene.zendesk.tickets();
    let unknown =
        SessionScript::new(r#"{"submitter_id": 1}"#).customer(Customer::named("John Smith")).representative(Representative::example());
    let lsid = scene.appliance.play(unknown)?;
    scene.server.logs().wait_for(&format!(r#"kind="{JOINS}" lsid="{lsid}".*is a dead letter .*submitter_id"#)).await?;
    assert!(new_tickets(&scene, &before).is_empty());
    let log = scene.server.logs().text();
    ensure!(log.contains(CONNECTION) && !log.contains("jane.roe@"), "people's addresses stay out of the log");
    Ok(())
}
