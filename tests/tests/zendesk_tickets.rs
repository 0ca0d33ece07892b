//! What becomes of a session's record where its ticket, or its file, is not what it was: closed, merged, deleted, refused.

use anyhow::{Context, Result, ensure};
use deskbridge_tests::appliance::{SessionScript, Step, SurveyAnswer};
use deskbridge_tests::outcomes::{CUSTOMER_SURVEY, SESSION_END};
use deskbridge_tests::scene::{Plan, Scene};
use deskbridge_tests::server::until;
use deskbridge_tests::zendesk::{Fault, Matching, Ticket};
use reqwest::Method;
use sqlx::Connection as _;
use toml::{Table, toml};

/// Every ticket of the account but those of the demo.
fn other_tickets(scene: &Scene, known: &[u64]) -> Vec<u64> {
    scene.zendesk.tickets().into_iter().filter(|ticket| !known.contains(ticket)).collect()
}

fn closing(ticket: &mut Ticket) {
    "closed".clone_into(&mut ticket.status);
}

fn follow_up() -> Table {
    toml! { zendesk = { on_closed = "follow_up" } }
}

// Files

/// A refused file must not cost the report, nor hold the connection.
#[tokio::test]
async fn a_refused_file_leaves_a_note_that_says_so() -> Result<()> {
    let scene = Scene::start(Plan::default()).await?;
    for (code, body) in [
        (422, r#"{"error":"AttachmentUnprocessable","description":"Attachment file could not be processed."}"#),
        (413, "<html><h1>413 Request Entity Too Large</h1></html>"),
        (403, r#"{"error":"Forbidden","description":"You do not have access to this page."}"#),
        (403, "<html>Blocked</html>"),
    ] {
        let ticket = scene.add_ticket("A long session");
        let fault = Fault::Status { code, body: body.into(), retry_after: None };
        scene.zendesk.fail_always(Matching::new(Method::POST, "/api/v2/uploads"), fault);
        let lsid = scene.appliance.play(SessionScript::at_the_limits(ticket.to_string()))?;
        let done = scene.outcome(&lsid, SESSION_END).await?.done()?;
        ensure!(done.contains("its file was not taken"), "{done}");
        let note = scene.only_report(ticket, &lsid)?;
        let said = format!("did not take the file with the whole report (Zendesk refused the file (HTTP {code})");
        ensure!(note.plain_body.contains(&said) || code == 403, "{code}: {}", note.plain_body);
        ensure!(note.plain_body.contains("did not take the file with the whole report"), "{code}: {}", note.plain_body);
        ensure!(!note.plain_body.contains("attached file") && note.attachments.is_empty(), "{code}");
        scene.zendesk.clear_faults();
    }
    ensure!(scene.server.logs().lines_matching("credentials are refused")?.is_empty());
    // What may pass is waited for, and then the file goes along.
    let ticket = scene.add_ticket("A long session");
    scene.zendesk.fail_next(
        1,
        Matching::new(Method::POST, "/api/v2/uploads"),
        Fault::Status { code: 503, body: "<h1>down</h1>".into(), retry_after: Some(1) },
    );
    let lsid = scene.play_until_done(SessionScript::at_the_limits(ticket.to_string())).await?;
    ensure!(scene.only_report(ticket, &lsid)?.attachments.len() == 1);
    Ok(())
}

/// What may pass is not waited for until the record is lost, and with it the ticket's next sessions.
#[tokio::test]
async fn a_file_that_cannot_be_taken_for_long_is_done_without() -> Result<()> {
    let scene = Scene::start(Plan::default()).await?;
    let ticket = scene.add_ticket("A long session");
    let down = Fault::Status { code: 502, body: "<h1>Bad Gateway</h1>".into(), retry_after: None };
    scene.zendesk.fail_always(Matching::new(Method::POST, "/api/v2/uploads"), down);
    let lsid = scene.appliance.play(SessionScript::at_the_limits(ticket.to_string()))?;
    scene.server.wait_for_log("event will be tried again.*HTTP 502").await?;
    // As after the waits of some minutes.
    let database = tokio::sync::Mutex::new(sqlx::SqliteConnection::connect(scene.server.database_url()).await?);
    until("the event waits", std::time::Duration::from_mins(1), async || {
        let waiting = "UPDATE inbox_event SET attempts = 4, not_before = 0 WHERE state = 'ready' AND attempts > 0";
        Ok(sqlx::query(waiting).execute(&mut *database.lock().await).await?.rows_affected() == 1)
    })
    .await?;
    ensure!(scene.outcome(&lsid, SESSION_END).await?.done()?.contains("HTTP 502"));
    ensure!(scene.only_report(ticket, &lsid)?.plain_body.contains("did not take the file with the whole report"));
    Ok(())
}

/// An address that is blocked, or a user who is suspended: no single ticket is at fault, and no event is used up.
#[tokio::test]
async fn a_403_to_everything_holds_the_connection() -> Result<()> {
    let scene = Scene::start(Plan::default()).await?;
    let ticket = scene.add_ticket("Waits");
    let forbidden =
        Fault::Status { code: 403, body: r#"{"error":"Forbidden","description":"Your IP is blocked"}"#.into(), retry_after: None };
    scene.zendesk.fail_always(Matching::new(Method::GET, "/api/v2/"), forbidden);
    scene.appliance.play(SessionScript::short(ticket.to_string()))?;
    let held = scene.server.wait_for_log("credentials are refused").await?;
    ensure!(held.contains("help desk") && held.contains("Your IP is blocked"), "{held}");
    Ok(())
}

// Tickets

#[tokio::test]
async fn a_closed_or_deleted_tickets_report_is_a_dead_letter_that_says_what_to_do() -> Result<()> {
    let scene = Scene::start(Plan::default()).await?;
    for (status, said) in [("closed", "on_closed = \"follow_up\""), ("deleted", "was deleted")] {
        let ticket = scene.add_ticket("Gone");
        scene.zendesk.alter_ticket(ticket, |ticket| status.clone_into(&mut ticket.status));
        let lsid = scene.appliance.play(SessionScript::short(ticket.to_string()))?;
        let reason = scene.outcome(&lsid, SESSION_END).await?.dead()?;
        ensure!(reason.contains(&format!("ticket {ticket}")) && reason.contains(said), "{reason}");
    }
    ensure!(scene.zendesk.count(&Method::PUT, "/api/v2/tickets/") == 0, "nothing is written in vain");
    Ok(())
}

#[tokio::test]
async fn records_of_a_closed_ticket_go_to_one_follow_up() -> Result<()> {
    let scene = Scene::start(Plan { connection: follow_up(), ..Plan::default() }).await?;
    let ticket = scene.add_ticket("Closed {{ticket.id}} during the session");
    scene.zendesk.alter_ticket(ticket, closing);
    let before = scene.zendesk.tickets();
    // The answer to the creation is lost.
    scene.zendesk.fail_next(1, Matching::new(Method::POST, "/api/v2/tickets"), Fault::ApplyThenClose);
    let script = SessionScript::short(ticket.to_string()).after(1, Step::CustomerSurvey(vec![SurveyAnswer::rating("4")]));
    let first = scene.play_until_done(script).await?;
    scene.outcome(&first, CUSTOMER_SURVEY).await?.done()?;
    let second = scene.play_until_done(SessionScript::short(ticket.to_string())).await?;
    let made = other_tickets(&scene, &before);
    ensure!(made.len() == 1, "{made:?}");
    let follow_up = scene.zendesk.ticket(made[0]).context("the follow-up")?;
    let source = scene.zendesk.ticket(ticket).context("the closed ticket")?;
    assert_eq!(follow_up.other["followup_source_id"], ticket);
    assert_eq!(follow_up.requester_id, source.requester_id);
    ensure!(follow_up.subject.contains("during the session") && !follow_up.subject.contains("{{"), "{}", follow_up.subject);
    for lsid in [&first, &second] {
        scene.only_report(follow_up.id, lsid)?;
    }
    let comments = scene.zendesk.comments(follow_up.id);
    ensure!(comments.len() == 4, "a beginning, two reports, a survey: {comments:?}");
    ensure!(comments[0].plain_body.contains(&format!("Follow-up of ticket {ticket}")), "{}", comments[0].plain_body);
    ensure!(comments.iter().all(|comment| !comment.public && comment.author_id == scene.zendesk.api_user()), "{comments:?}");

    // When the follow-up is closed too, another follows it.
    scene.zendesk.alter_ticket(follow_up.id, closing);
    let third = scene.play_until_done(SessionScript::short(ticket.to_string())).await?;
    let made = other_tickets(&scene, &[before, vec![follow_up.id]].concat());
    ensure!(made.len() == 1, "{made:?}");
    scene.only_report(made[0], &third)?;
    assert_eq!(scene.zendesk.ticket(made[0]).context("the second follow-up")?.other["followup_source_id"], follow_up.id);
    Ok(())
}

/// A write whose fate is not known may have reached the ticket before it was closed.
#[tokio::test]
async fn a_report_that_may_stand_on_a_ticket_closed_since_is_looked_for_there_first() -> Result<()> {
    let scene = Scene::start(Plan { connection: follow_up(), ..Plan::default() }).await?;
    for (fault, stands_there) in [(Fault::ApplyThenClose, true), (Fault::CloseConnection, false)] {
        let ticket = scene.add_ticket("Closed in this moment");
        let before = scene.zendesk.tickets();
        let path = format!("/api/v2/tickets/{ticket}");
        scene.zendesk.fail_next(1, Matching::new(Method::PUT, &path), fault);
        let lsid = scene.appliance.play(SessionScript::short(ticket.to_string()))?;
        scene.zendesk.wait_for_requests(&Method::PUT, &path, 1).await?;
        scene.zendesk.alter_ticket(ticket, closing);
        scene.outcome(&lsid, SESSION_END).await?.done()?;
        let made = other_tickets(&scene, &before);
        if stands_there {
            scene.only_report(ticket, &lsid)?;
            ensure!(made.is_empty(), "{made:?}");
        } else {
            ensure!(made.len() == 1, "{made:?}");
            scene.only_report(made[0], &lsid)?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_merged_tickets_report_goes_where_it_was_merged_into() -> Result<()> {
    let scene = Scene::start(Plan::default()).await?;
    let agent = scene.people.agent;
    let [first, second, third] = ["One", "Two", "Three"].map(|subject| scene.add_ticket(subject));
    // Whoever merges them may be in copy.
    scene.zendesk.alter_ticket(first, |ticket| ticket.collaborator_ids.push(agent));
    scene.zendesk.merge_ticket(first, second, agent);
    scene.zendesk.merge_ticket(second, third, agent);
    let lsid = scene.play_until_done(SessionScript::short(first.to_string())).await?;
    scene.only_report(third, &lsid)?;
    Ok(())
}

/// Of a customer and two agents, who wrote on the merged ticket and who on the other.
type Writers = fn(u64, u64, u64) -> Option<(u64, u64)>;

/// A report on a stranger's ticket is worse than none: what customers wrote leads nowhere, nor what only one of the tickets says.
#[tokio::test]
async fn a_forged_merge_leads_nowhere() -> Result<()> {
    let scene = Scene::start(Plan::default()).await?;
    let (agent, other_agent) = (scene.people.agent, scene.people.german_agent);
    let customer = |ticket: u64| scene.zendesk.ticket(ticket).map_or(0, |ticket| ticket.requester_id);
    let merged = |ticket: &mut Ticket| {
        ticket.tags.push("closed_by_merge".into());
        closing(ticket);
    };
    let cases: [(&str, Writers); 4] = [
        ("the customer wrote on both", |customer, _, _| Some((customer, customer))),
        ("the customer wrote on theirs, an agent on the other", |customer, agent, _| Some((customer, agent))),
        ("two agents", |_, agent, other| Some((agent, other))),
        ("nothing on the other", |_, _, _| None),
    ];
    // Two agents' words about two tickets, and then the customer had the last one before it was closed.
    let (source, target) = (scene.add_ticket("Mine"), scene.people.printer_ticket);
    scene.zendesk.add_comment(source, agent, false, &format!("see #{target}"));
    scene.zendesk.add_comment(target, agent, false, &format!("see #{source}"));
    scene.zendesk.add_comment(source, customer(source), true, "Thank you");
    scene.zendesk.alter_ticket(source, merged);
    let lsid = scene.appliance.play(SessionScript::short(source.to_string()))?;
    scene.outcome(&lsid, SESSION_END).await?.dead()?;

    for (name, writers) in cases {
        let (source, target) = (scene.add_ticket("Mine"), scene.people.printer_ticket);
        let writers = writers(customer(source), agent, other_agent);
        let on_source = writers.map_or(agent, |(source, _)| source);
        scene.zendesk.add_comment(source, on_source, true, &format!("merged into request #{target}"));
        if let Some((_, on_target)) = writers {
            scene.zendesk.add_comment(target, on_target, true, &format!("Request #{source} was merged into this request"));
        }
        scene.zendesk.alter_ticket(source, merged);
        let before = scene.zendesk.comments(target).len();
        let lsid = scene.appliance.play(SessionScript::short(source.to_string()))?;
        let reason = scene.outcome(&lsid, SESSION_END).await?.dead().context(name)?;
        ensure!(reason.contains("is closed"), "{name}: {reason}");
        ensure!(scene.zendesk.comments(target).len() == before, "{name}");
    }
    Ok(())
}
