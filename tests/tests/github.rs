//! The real server between a simulated appliance and a simulated GitHub: what stands on the issues, which are made, and what an administrator
//! reads when that cannot be.

use anyhow::{Context, Result, ensure};
use deskbridge_shared::routes;
use deskbridge_tests::appliance::{self, Customer, EventKind, NewSession, Recipient, Representative, SessionScript, SimulatedAppliance};
use deskbridge_tests::github::description::Description;
use deskbridge_tests::github::{Fault, Matching, Options, SimulatedGitHub};
use deskbridge_tests::outcomes::{CUSTOMER_SURVEY, Outcome, SESSION_END};
use deskbridge_tests::scene::{self, EVENT_TOKEN};
use deskbridge_tests::server::Deskbridge;
use regex::Regex;
use reqwest::Method;
use serde_json::json;
use toml::{Table, toml};

const CONNECTION: &str = "Simulated GitHub";

/// An appliance, GitHub and a server between them.
struct Desk {
    appliance: SimulatedAppliance,
    github: SimulatedGitHub,
    server: Deskbridge,
}

impl Desk {
    /// `changes`: keys of the connection, section by section.
    async fn start(changes: Table) -> Result<Self> {
        let appliance = SimulatedAppliance::start(appliance::Options { rate_limits: None, ..appliance::Options::default() }).await?;
        let github = SimulatedGitHub::start(Options::default()).await?;
        let sections = format!("[panel]\n{}\nsettle_seconds = 5\nenable_automatic_ticket_creation = true", github.section());
        let mut connection = scene::connection(&appliance, CONNECTION, "default", &sections);
        scene::merge(&mut connection, changes);
        let server = Deskbridge::builder().connection(connection).start().await?;
        let events = vec![EventKind::MemberAdded, EventKind::End, EventKind::CustomerSurvey];
        let url = format!("{}{}?appliance=default&token={EVENT_TOKEN}", server.url(), routes::APPLIANCE_EVENTS);
        appliance.set_recipient(Recipient { events, ..Recipient::new(url) });
        Ok(Self { appliance, github, server })
    }

    /// What became of the first event of that kind of this session.
    async fn outcome(&self, lsid: &str, kind: &str) -> Result<Outcome> {
        let pattern = format!(r#"kind="{kind}" lsid="{lsid}"\}}.*: event (done|is a dead letter) "#);
        let line = self.server.logs().wait_for(&pattern).await?;
        let parts = Regex::new(r#": event (done|is a dead letter) (?:done|reason)="((?:[^"\\]|\\.)*)""#)?;
        let found = parts.captures(&line).with_context(|| format!("a line of another shape: {line}"))?;
        let said = found[2].to_owned();
        Ok(if &found[1] == "done" { Outcome::Done(said) } else { Outcome::Dead(said) })
    }

    /// All that was asked and answered is as GitHub's description has it.
    fn check_exchanges(&self) -> Result<()> {
        for (request, answer) in self.github.exchanges() {
            let path = Description::path_of(request.path.trim_start_matches("/api/v3/")).context("a path that is not described")?;
            let operation = Description::get().operation(&request.method, path).context("a method that is not described")?;
            let mut faults = [operation.faults_of_query(&request.query), operation.faults_of_body(&request.body)].concat();
            faults.extend(operation.faults_of_answer(request.status.context("no answer")?, &answer));
            ensure!(faults.is_empty(), "{} {}: {faults:?}", request.method, request.path);
        }
        Ok(())
    }
}

#[tokio::test]
async fn a_session_becomes_one_comment_and_its_customers_survey_another() -> Result<()> {
    let desk = Desk::start(Table::new()).await?;
    let ticket = desk.github.add_issue("Printer", "Since this morning.");
    let lsid = desk.appliance.play(SessionScript::example(ticket.clone()))?;
    desk.outcome(&lsid, SESSION_END).await?.done()?;
    desk.outcome(&lsid, CUSTOMER_SURVEY).await?.done()?;
    let comments = desk.github.issue(&ticket)?.comments;
    ensure!(comments.len() == 2, "{comments:?}");
    for (comment, kind) in comments.iter().zip(["report/0", "customer-survey"]) {
        let marker = format!("deskbridge/{lsid}/{kind}");
        ensure!(comment.body.trim_end().ends_with("```") && comment.body.contains(&marker), "{}", comment.body);
    }
    let writes = desk.github.requests().iter().filter(|request| request.method != Method::GET).count();
    ensure!(writes == 2, "{writes} writes");
    desk.check_exchanges()
}

#[tokio::test]
async fn a_session_that_asks_for_a_ticket_gets_an_issue_with_its_labels() -> Result<()> {
    let desk = Desk::start(toml! { [github] labels_set = ["Bug", "nope"] }).await?;
    let key = json!({ "title": "VPN down", "name": "Jane", "email": "jane@example.com", "assignees": ["octocat"] });
    let lsid = desk.appliance.begin_session(NewSession::with_external_key(key.to_string()));
    desk.appliance.customer_joins(&lsid, Customer::named("Jane Roe"))?;
    desk.appliance.representative_joins(&lsid, Representative::example())?;
    let has_ticket = |session: &appliance::Session| session.lsid == lsid && !session.external_key.starts_with('{');
    let ticket = desk.appliance.wait_for_session(has_ticket).await?.external_key;
    let issue = desk.github.issue(&ticket)?;
    assert_eq!((issue.title.as_str(), issue.labels.as_slice(), issue.assignees.len()), ("VPN down", &["bug".to_owned()][..], 0));
    for part in ["Customer: Jane", "assignees", "Label nope: the repository has no such label"] {
        ensure!(issue.body.contains(part), "{part} is not in {}", issue.body);
    }
    ensure!(!issue.body.contains("jane@example.com"), "an address that GitHub would make a link: {}", issue.body);
    desk.appliance.end_session(&lsid)?;
    desk.outcome(&lsid, SESSION_END).await?.done()?;
    ensure!(desk.github.issue(&ticket)?.comments.len() == 1);
    desk.check_exchanges()
}

#[tokio::test]
async fn a_refusal_is_a_dead_letter_in_githubs_words() -> Result<()> {
    let desk = Desk::start(Table::new()).await?;
    let ticket = desk.github.add_issue("Printer", "");
    let body = json!({ "message": "Validation Failed", "documentation_url": "x",
        "errors": [{ "resource": "IssueComment", "code": "unprocessable", "field": "data", "message": "Body is cursed" }] });
    let comments = Matching::new(Method::POST, desk.github.path("issues/"));
    desk.github.fail_always(comments, Fault::Status { code: 422, body: body.to_string(), retry_after: None });
    let lsid = desk.appliance.play(SessionScript::short(&ticket))?;
    let said = desk.outcome(&lsid, SESSION_END).await?.dead()?;
    ensure!(said.contains("Validation Failed: Body is cursed"), "{said}");
    desk.github.clear_faults();
    let gone = desk.appliance.play(SessionScript::short("99"))?;
    let said = desk.outcome(&gone, SESSION_END).await?.dead()?;
    ensure!(said.contains("no issue 99"), "{said}");
    Ok(())
}

#[tokio::test]
async fn check_names_what_is_wrong_and_writes_nothing() -> Result<()> {
    let desk = Desk::start(toml! { [github] labels_set = ["nope"] }).await?;
    let output = desk.server.command(&["check"]).await?;
    let said = String::from_utf8(output.stdout)?;
    ensure!(!output.status.success() && said.contains("the repository has no label nope"), "{said}");
    ensure!(said.contains("of deskbridge-bot") && said.contains("example/operations, private"), "{said}");
    ensure!(desk.github.requests().iter().all(|request| request.method == Method::GET));
    desk.check_exchanges()
}

#[tokio::test]
async fn settings_that_cannot_be_are_told_by_their_key() -> Result<()> {
    for (changes, words) in [
        (toml! { [github] project = "operations" }, "github.project"),
        (toml! { [github] url = "https://api.github.com/" }, "github.url"),
        (toml! { [github] url = "https://github.com/example/operations" }, "github.url"),
        (toml! { [github] ticket_default_data = "{\"owner\": 1}" }, "github.ticket_default_data"),
        (toml! { [github] external_key_may_set = ["owner"] }, "github.external_key_may_set"),
        (toml! { [github] labels_mapping = [{ tags = "host" }] }, "labels_mapping"),
    ] {
        let appliance = SimulatedAppliance::start(appliance::Options::default()).await?;
        let github = SimulatedGitHub::start(Options::default()).await?;
        let mut connection = scene::connection(&appliance, CONNECTION, "default", &format!("[panel]\n{}", github.section()));
        scene::merge(&mut connection, changes);
        let server = Deskbridge::builder().connection(connection).prepare().await?;
        let output = server.command(&["check"]).await?;
        let said = format!("{}{}", String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?);
        ensure!(!output.status.success() && said.contains(words), "{words}: {said}");
    }
    Ok(())
}
