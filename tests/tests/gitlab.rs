//! A simulated GitLab with the real server between it and a simulated appliance: what stands on the issue, what is counted as time spent, which
//! issues are made, and what an administrator reads.

use anyhow::{Context, Result, ensure};
use deskbridge_shared::routes;
use deskbridge_tests::appliance::{
    self, Customer, EventKind, NewSession, Party, Recipient, Representative, SessionScript, SimulatedAppliance, Step,
};
use deskbridge_tests::gitlab::{Fault, Issue, Matching, Options, SimulatedGitLab};
use deskbridge_tests::outcomes::{CUSTOMER_SURVEY, Outcome, REPRESENTATIVE_SURVEY, SESSION_END};
use deskbridge_tests::scene::{self, EVENT_TOKEN};
use deskbridge_tests::server::Deskbridge;
use regex::Regex;
use reqwest::Method;
use serde_json::{Value, json};
use toml::{Table, toml};

const CONNECTION: &str = "Simulated GitLab";
const SOMEONE_JOINS: &str = "someone_joins";

/// An appliance, GitLab and a server between them.
struct Desk {
    appliance: SimulatedAppliance,
    gitlab: SimulatedGitLab,
    server: Deskbridge,
}

impl Desk {
    /// `changes`: keys of the connection, section by section.
    async fn start(changes: Table) -> Result<Self> {
        let appliance = SimulatedAppliance::start(appliance::Options { rate_limits: None, ..appliance::Options::default() }).await?;
        let gitlab = SimulatedGitLab::start(Options::default()).await?;
        let sections = format!("[panel]\n{}\nsettle_seconds = 5", gitlab.section());
        let mut connection = scene::connection(&appliance, CONNECTION, "default", &sections);
        scene::merge(&mut connection, changes);
        let server = Deskbridge::builder().connection(connection).start().await?;
        let events = vec![EventKind::MemberAdded, EventKind::End, EventKind::CustomerSurvey, EventKind::RepresentativeSurvey];
        let url = format!("{}{}?appliance=default&token={EVENT_TOKEN}", server.url(), routes::APPLIANCE_EVENTS);
        appliance.set_recipient(Recipient { events, ..Recipient::new(url) });
        Ok(Self { appliance, gitlab, server })
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

    /// Plays a session that ends; answers its lsid and what became of the end.
    async fn play(&self, script: SessionScript) -> Result<(String, Outcome)> {
        let lsid = self.appliance.play(script)?;
        let outcome = self.outcome(&lsid, SESSION_END).await?;
        Ok((lsid, outcome))
    }

    fn issue(&self, iid: &str) -> Result<Issue> {
        self.gitlab.issue(iid).with_context(|| format!("there is no issue {iid}"))
    }

    /// A session that asks for an issue: a representative joins it. Answers its lsid.
    fn asks_for_issue(&self, key: &Value) -> Result<String> {
        let lsid = self.appliance.begin_session(NewSession::with_external_key(key.to_string()));
        self.appliance.customer_joins(&lsid, Customer::named("Jane Roe"))?;
        self.appliance.representative_joins(&lsid, Representative::example())?;
        Ok(lsid)
    }
}

#[track_caller]
fn assert_contains(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
}

#[tokio::test]
async fn a_session_becomes_one_internal_note_and_each_survey_another() -> Result<()> {
    let desk = Desk::start(toml! { [gitlab] update_time_spent = true }).await?;
    let iid = desk.gitlab.add_issue("Printer", "Broken.");
    let lsid = desk.appliance.play(SessionScript::example(iid.clone()))?;
    for kind in [SESSION_END, CUSTOMER_SURVEY, REPRESENTATIVE_SURVEY] {
        desk.outcome(&lsid, kind).await?.done()?;
    }
    let issue = desk.issue(&iid)?;
    assert_eq!((issue.notes.len(), issue.times.len()), (3, 1), "{issue:?}");
    for note in &issue.notes {
        assert!(note.internal && note.body.contains(&format!("\ndeskbridge/{lsid}/")), "{}", note.body);
    }
    let report = issue.notes.iter().find(|note| note.body.contains("/report/0")).context("a report")?;
    assert_contains(&report.body, &["Läuft wieder, vielen Dank 👍", "Rebuilt the mail profile.", "Müller & Söhne", "LAPTOP"]);
    assert_contains(&issue.times[0].summary, &["Jane D.", &format!("[deskbridge/{lsid}/time/0]")]);
    Ok(())
}

/// Contract 40.
#[tokio::test]
async fn text_of_strangers_does_nothing() -> Result<()> {
    let desk = Desk::start(Table::new()).await?;
    let iid = desk.gitlab.add_issue("Hostile", "Broken.");
    let script = SessionScript::new(iid.clone())
        .customer(Customer { name: "@all <b>Jane</b>".to_owned(), ..Customer::named("Jane") })
        .representative(Representative::example())
        .chat(Party::CUSTOMER, "/close\n/assign @root\n/spend 9h\n```\n/label ~bug")
        .chat(Party::CUSTOMER, "![x](https://x.example/x.png) #1 !2 grp/sub/proj#3 :tada:")
        .after(5, Step::Ends);
    let (_, outcome) = desk.play(script).await?;
    outcome.done()?;
    let issue = desk.issue(&iid)?;
    assert_eq!((desk.gitlab.quick_actions().len(), issue.state.as_str(), issue.notes.len()), (0, "opened", 1));
    for reference in ["@all", "@root", "~bug", "#1", "!2", "proj#3", "](https://x.example", ":tada:", "<b>"] {
        assert!(!issue.notes[0].body.contains(reference), "{reference} in {}", issue.notes[0].body);
    }
    Ok(())
}

#[tokio::test]
async fn a_long_report_goes_along_whole_as_a_file() -> Result<()> {
    let desk = Desk::start(Table::new()).await?;
    let iid = desk.gitlab.add_issue("Long", "Broken.");
    let (lsid, outcome) = desk.play(SessionScript::at_the_limits(iid.clone())).await?;
    outcome.done()?;
    let uploads = desk.gitlab.uploads();
    let [upload] = uploads.as_slice() else { anyhow::bail!("{} files", uploads.len()) };
    let note = desk.issue(&iid)?.notes.remove(0);
    assert!((50_000..=101_000).contains(&note.body.len()), "{}", note.body.len());
    assert_contains(&note.body, &[&format!("[session-{lsid}.html]({})", upload.path)]);
    assert_contains(&String::from_utf8(upload.content.clone())?, &["#299", "</html>"]);
    Ok(())
}

#[tokio::test]
async fn a_representative_who_joins_makes_one_issue_and_the_report_goes_there() -> Result<()> {
    let desk = Desk::start(toml! {
        [gitlab]
        enable_automatic_ticket_creation = true
        labels_set = ["remote"]
        ticket_default_data = "{\"confidential\": true}"
    })
    .await?;
    desk.gitlab.add_label("remote");
    // Its answer is lost: it is found by its marker, and not made again.
    desk.gitlab.fail_next(1, Matching::new(Method::POST, desk.gitlab.path("issues")).exactly(), Fault::ApplyThenStatus(502));
    let lsid = desk.asks_for_issue(&json!({ "title": "VPN\nis down", "email": "jane@example.com", "weight": 7 }))?;
    let has_ticket = |session: &appliance::Session| session.lsid == lsid && !session.external_key.starts_with('{');
    let iid = desk.appliance.wait_for_session(has_ticket).await?.external_key;
    desk.appliance.end_session(&lsid)?;
    desk.outcome(&lsid, SESSION_END).await?.done()?;
    let issues = desk.gitlab.issues();
    let [issue] = issues.as_slice() else { anyhow::bail!("{} issues", issues.len()) };
    assert_eq!((issue.iid.to_string(), issue.title.as_str(), &issue.labels), (iid, "VPN is down", &vec!["remote".to_owned()]));
    assert_eq!((issue.fields.get("confidential"), issue.fields.get("weight")), (Some(&json!(true)), None));
    assert_contains(&issue.description, &["jane@\u{2060}example.com", "weight: 7", &format!("deskbridge/{lsid}")]);
    assert_eq!(issue.notes.len(), 1);
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_written_is_told() -> Result<()> {
    let desk = Desk::start(toml! { [gitlab] enable_automatic_ticket_creation = true }).await?;
    for (ticket, says) in [
        ("99".to_owned(), "no issue 99 in grp/sub/proj"),
        (format!("{}grp/other/-/issues/14", desk.gitlab.url()), "is no ticket id"),
        (format!("{}grp/sub/proj/-/issues/14?x=1", desk.gitlab.url()), "is no ticket id"),
    ] {
        let (_, outcome) = desk.play(SessionScript::short(ticket)).await?;
        assert_contains(&outcome.dead()?, &[says]);
    }
    // By its address a session finds its issue.
    let iid = desk.gitlab.add_issue("Printer", "Broken.");
    let address = format!("{}grp/sub/proj/-/work_items/{iid}", desk.gitlab.url());
    desk.play(SessionScript::short(address)).await?.1.done()?;
    assert_eq!(desk.issue(&iid)?.notes.len(), 1);
    desk.gitlab.alter(|options| options.is_archived = true);
    let lsid = desk.asks_for_issue(&json!({ "title": "Archived" }))?;
    assert_contains(&desk.outcome(&lsid, SOMEONE_JOINS).await?.dead()?, &["may not make issues", "archived"]);
    Ok(())
}

#[tokio::test]
async fn check_tells_whose_the_token_is_and_what_it_may() -> Result<()> {
    let desk = Desk::start(toml! { [gitlab] labels_set = ["remote"] }).await?;
    let check = async || {
        let output = desk.server.command(&["check"]).await?;
        anyhow::Ok((output.status.success(), String::from_utf8(output.stdout)?))
    };
    let (is_good, said) = check().await?;
    ensure!(!is_good, "{said}");
    assert_contains(&said, &["labels: remote: the project has no such label"]);
    desk.gitlab.add_label("remote");
    let (is_good, said) = check().await?;
    ensure!(is_good, "{said}");
    assert_contains(&said, &["GitLab login: @project_7_bot at ", "token: scope api, until 2027-06-30", "project: grp/sub/proj (number 7)"]);
    ensure!(!said.contains(&desk.gitlab.options().token), "{said}");
    Ok(())
}
