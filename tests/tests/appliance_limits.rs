//! The appliance's limit of calls (beyondtrust.md J.1): a backlog stays below it, through kills and with several servers, and what the
//! appliance refuses all the same holds nobody up for long.

use std::time::Duration;

use anyhow::{Context, Result};
use deskbridge_tests::appliance::{Fault, FaultRule, SessionScript};
use deskbridge_tests::scene::{Plan, Scene};
use deskbridge_tests::server::{Database, Deskbridge, until};
use deskbridge_tests::zendesk;
use reqwest::Method;

const SESSIONS: usize = 40;
const KILLS: usize = 4;
const LIMIT: Duration = Duration::from_mins(3);
/// The status of a refusal.
const TOO_MANY: u16 = 429;

/// An appliance with the real one's limits, and a Zendesk account without.
fn plan(database: Database) -> Plan {
    Plan {
        zendesk: zendesk::Options { rate_limits: None, ..zendesk::Options::default() },
        server: Deskbridge::builder().database(database),
        ..Plan::default()
    }
}

async fn backlog_with_kills(database: Database) -> Result<()> {
    let scene = Scene::start(plan(database)).await?;
    let tickets: Vec<u64> = (0..SESSIONS).map(|number| scene.add_ticket(&format!("Backlog {number}"))).collect();
    let Scene { appliance, zendesk, server, .. } = scene;
    let mut servers = server.with_sibling(database).await?;
    for ticket in &tickets {
        appliance.play(SessionScript::short(ticket.to_string()))?;
    }
    let notes = || zendesk.count(&Method::PUT, "/api/v2/tickets/");
    for kill in 0..KILLS {
        let victim = kill % servers.len();
        servers[victim].kill().await?;
        servers[victim].start().await?;
        let before = notes();
        until("the backlog shrinks", LIMIT, async || Ok(notes() > before || notes() >= SESSIONS)).await?;
    }
    until("all is recorded", LIMIT, async || Ok(notes() >= SESSIONS)).await?;
    let refused = appliance.count(|request| request.status == Some(TOO_MANY));
    assert_eq!(refused, 0, "{database:?}: at most {} calls in a second", appliance.most_calls_in_a_second());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backlog_is_never_refused_through_kills_and_on_two_servers() -> Result<()> {
    for database in Database::obtainable() {
        backlog_with_kills(database).await.with_context(|| format!("{database:?}"))?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_without_a_time_holds_up_no_session_key() -> Result<()> {
    let scene = Scene::start(plan(Database::Sqlite)).await?;
    let ticket = scene.add_ticket("A person waits");
    let sidebar = scene.open_sidebar(scene.people.agent).await?;
    let refusal = Fault::Status(TOO_MANY, r#"{"error":"rate_limit_exceeded","message":"Too many requests."}"#.into());
    scene.appliance.add_fault(FaultRule::next(1, refusal).on("SupportSession"));
    scene.appliance.play(SessionScript::short(ticket.to_string()))?;
    scene.appliance.wait_for_request(|request| request.status == Some(TOO_MANY)).await?;
    sidebar.session_key(ticket).await.context("the appliance refused one call of the backlog a moment ago")?;
    let notes = || scene.zendesk.count(&Method::PUT, "/api/v2/tickets/");
    until("the report stands on the ticket", LIMIT, async || Ok(notes() == 1)).await
}
