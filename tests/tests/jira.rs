//! A simulated Jira with the real server between it and a simulated appliance: what stands on the ticket, which tickets are made, and what an
//! administrator reads.

use anyhow::{Context, Result, ensure};
use deskbridge_shared::routes;
use deskbridge_tests::appliance::{
    self, Customer, EventKind, NewSession, Party, Recipient, Representative, SessionScript, SimulatedAppliance, Step,
};
use deskbridge_tests::jira::{Fault, Kind, Matching, Options, SimulatedJira};
use deskbridge_tests::outcomes::{CUSTOMER_SURVEY, Outcome, REPRESENTATIVE_SURVEY, SESSION_END};
use deskbridge_tests::scene::{self, EVENT_TOKEN};
use deskbridge_tests::server::Deskbridge;
use regex::Regex;
use reqwest::Method;
use serde_json::{Value, json};
use toml::{Table, toml};

const SOMEONE_JOINS: &str = "someone_joins";

/// An appliance, a Jira and a server between them.
struct Desk {
    appliance: SimulatedAppliance,
    jira: SimulatedJira,
    server: Deskbridge,
}

impl Desk {
    /// `changes`: keys of the connection, section by section.
    async fn start(kind: Kind, changes: Table) -> Result<Self> {
        let appliance = SimulatedAppliance::start(appliance::Options { rate_limits: None, ..appliance::Options::default() }).await?;
        let jira = SimulatedJira::start(Options::of(kind)).await?;
        let mut connection = scene::connection(&appliance, "Simulated Jira", "default", &jira.section());
        scene::merge(&mut connection, changes);
        let server = Deskbridge::builder().connection(connection).start().await?;
        let events = vec![EventKind::MemberAdded, EventKind::End, EventKind::CustomerSurvey, EventKind::RepresentativeSurvey];
        let url = format!("{}{}?appliance=default&token={EVENT_TOKEN}", server.url(), routes::APPLIANCE_EVENTS);
        appliance.set_recipient(Recipient { events, ..Recipient::new(url) });
        Ok(Self { appliance, jira, server })
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

    /// The one comment with that part of a marker on the ticket.
    fn only(&self, ticket: &str, marker: &str) -> Result<Value> {
        let mut comments = self.jira.issue(ticket)?.comments;
        comments.retain(|comment| comment["body"].to_string().contains(marker));
        ensure!(comments.len() == 1, "{marker} stands {} times on ticket {ticket}", comments.len());
        comments.pop().context("just counted")
    }

    fn asks_for_ticket(&self, key: &Value) -> Result<String> {
        let lsid = self.appliance.begin_session(NewSession::with_external_key(key.to_string()));
        self.appliance.customer_joins(&lsid, Customer::named("Jane Roe"))?;
        self.appliance.representative_joins(&lsid, Representative::example())?;
        Ok(lsid)
    }

    async fn check(&self) -> Result<(bool, String)> {
        let output = self.server.command(&["check"]).await?;
        Ok((output.status.success(), String::from_utf8(output.stdout)?))
    }
}

#[track_caller]
fn assert_contains(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
}

#[tokio::test]
async fn a_session_becomes_one_internal_comment_and_each_survey_another() -> Result<()> {
    for kind in [Kind::Cloud, Kind::DataCenter] {
        let desk = Desk::start(kind, toml! { [jira] update_time_spent = true }).await?;
        let ticket = desk.jira.add_ticket("Printer")?;
        let lsid = desk.appliance.play(SessionScript::example(ticket.clone()))?;
        for event in [SESSION_END, CUSTOMER_SURVEY, REPRESENTATIVE_SURVEY] {
            desk.outcome(&lsid, event).await?.done()?;
        }
        let issue = desk.jira.issue(&ticket)?;
        assert_eq!((issue.comments.len(), issue.worklogs.len(), issue.files.len()), (3, 1, 0));
        for comment in &issue.comments {
            assert_eq!(comment["properties"], json!([{ "key": "sd.public.comment", "value": { "internal": true } }]));
            assert_contains(&comment["body"].to_string(), &[&format!("deskbridge/{lsid}/")]);
        }
        let report = desk.only(&ticket, &format!("deskbridge/{lsid}/report/0"))?["body"].to_string();
        assert_contains(&report, &["Läuft wieder, vielen Dank 👍", "Rebuilt the mail profile.", "Müller & Söhne GmbH"]);
        assert_contains(&issue.worklogs[0]["comment"].to_string(), &["Jane D."]);
        assert_eq!(desk.jira.violations(), Vec::<String>::new());
    }
    Ok(())
}

#[tokio::test]
async fn a_session_at_the_limits_fits_and_goes_along_whole_as_a_file() -> Result<()> {
    for kind in [Kind::Cloud, Kind::DataCenter] {
        let desk = Desk::start(kind, Table::new()).await?;
        let ticket = desk.jira.add_ticket("Long")?;
        let (lsid, outcome) = desk.play(SessionScript::at_the_limits(ticket.clone())).await?;
        outcome.done()?;
        let report = desk.only(&ticket, "/report/0")?["body"].to_string();
        let issue = desk.jira.issue(&ticket)?;
        let [(_, name, content_type, content)] = issue.files.as_slice() else { anyhow::bail!("{} files", issue.files.len()) };
        assert_eq!((name.as_str(), content_type.as_str()), (format!("session-{lsid}.html").as_str(), "text/html; charset=utf-8"));
        assert_contains(&report.replace('\u{2060}', ""), &[name]);
        assert!(report.len() > 10_000, "{}", report.len());
        let whole = String::from_utf8(content.clone())?;
        assert!(whole.len() > 150_000 && whole.contains("#299") && whole.ends_with("</html>\n"), "{}", whole.len());

        // What stands before Jira takes no such file: the report stands without it, and says so.
        let files = Matching {
            path_prefix: format!("/rest/api/{}/issue/{ticket}/attachments", if kind == Kind::Cloud { 3 } else { 2 }),
            ..Matching::default()
        };
        desk.jira.fail_next(1, files, Fault::Status { code: 413, body: "<html>too large</html>".to_owned(), retry_after: None });
        let (lsid, outcome) = desk.play(SessionScript::at_the_limits(ticket.clone())).await?;
        assert_contains(&outcome.done()?, &["its file was not taken", "413"]);
        desk.only(&ticket, &format!("{lsid}/report/0"))?;
        assert_eq!(desk.jira.issue(&ticket)?.files.len(), 1);
        assert_eq!(desk.jira.violations(), Vec::<String>::new());
    }
    Ok(())
}

#[tokio::test]
async fn text_of_strangers_stays_text() -> Result<()> {
    const SAID: &str = "{noformat}|h1. x [~admin] !x.png! NET-1 *b* {color:red} @anna https://x.example";
    // Each mark has its backslash, or is parted where there is no escape.
    const WRITTEN: &str = r"\{noformat\}\|h1. x \[\~admin\] \!x.png! NET-1 \*b\* \{color:red\} @anna https://x.example";
    for kind in [Kind::Cloud, Kind::DataCenter] {
        let desk = Desk::start(kind, Table::new()).await?;
        let ticket = desk.jira.add_ticket("Hostile")?;
        let script = SessionScript::new(ticket.clone())
            .customer(Customer::named("Jane"))
            .representative(Representative::example())
            .chat(Party::CUSTOMER, SAID)
            .after(5, Step::Ends);
        desk.play(script).await?.1.done()?;
        let report = &desk.only(&ticket, "/report/0")?["body"];
        if kind == Kind::Cloud {
            let report = report.to_string();
            assert_contains(&report, &[SAID]);
            assert!(!report.contains("mention") && !report.contains("inlineCard"), "{report}");
        } else {
            let report = report.as_str().unwrap_or_default();
            assert_contains(&report.replace('\u{2060}', ""), &[WRITTEN]);
            assert_contains(report, &["NET-\u{2060}1", "@\u{2060}anna", "https:\u{2060}//x"]);
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_session_names_its_ticket_by_key_or_address_and_by_nothing_else() -> Result<()> {
    let desk = Desk::start(Kind::Cloud, Table::new()).await?;
    let ticket = desk.jira.add_ticket("Printer")?;
    let page = format!("{}browse/{ticket}", desk.jira.url());
    desk.play(SessionScript::short(page.clone())).await?.1.done()?;
    assert_eq!(desk.jira.issue(&ticket)?.comments.len(), 1);
    for (name, says) in [
        ("NET-99", "there is no ticket NET-99"),
        ("OPS-1", "is no ticket id"),
        ("https://other.example.com/browse/NET-1", "is no ticket id"),
        (&format!("{page}?focusedId=1"), "is no ticket id"),
    ] {
        let (_, outcome) = desk.play(SessionScript::short(name)).await?;
        assert_contains(&outcome.dead()?, &[says]);
    }
    assert_eq!(desk.jira.issue(&ticket)?.comments.len(), 1);
    Ok(())
}

#[tokio::test]
async fn a_representative_who_joins_makes_one_ticket_and_the_report_goes_there() -> Result<()> {
    for kind in [Kind::Cloud, Kind::DataCenter] {
        let desk = Desk::start(
            kind,
            toml! {
                [jira]
                settle_seconds = 5
                enable_automatic_ticket_creation = true
                ticket_default_data = "{\"Severity\": \"Low\", \"Hidden\": \"x\"}"
            },
        )
        .await?;
        // Its answer is lost: it is found by a search that lags, and not made again.
        let create = format!("/rest/api/{}/issue", if kind == Kind::Cloud { 3 } else { 2 });
        desk.jira.fail_next(1, Matching::new(Method::POST, create).exactly(), Fault::ApplyThenStatus(502));
        let lsid = desk.asks_for_ticket(&json!({ "title": "VPN\nis down", "email": "new.person@example.com" }))?;
        let has_ticket = |session: &appliance::Session| session.lsid == lsid && !session.external_key.starts_with('{');
        let ticket = desk.appliance.wait_for_session(has_ticket).await?.external_key;
        desk.appliance.end_session(&lsid)?;
        desk.outcome(&lsid, SESSION_END).await?.done()?;
        let issues = desk.jira.issues();
        assert_eq!((issues.len(), &issues[0].key), (1, &ticket));
        assert_eq!(
            (&issues[0].fields["summary"], &issues[0].fields["customfield_10003"]),
            (&json!("VPN is down"), &json!({ "value": "Low" }))
        );
        let text = issues[0].fields["description"].to_string().replace(['\u{2060}', '\\'], "");
        assert_contains(&text, &["Customer: new.person@example.com", "Not set on this ticket", "Hidden: not on the screen"]);
        desk.only(&ticket, "/report/0")?;
        assert_eq!(desk.jira.violations(), Vec::<String>::new());
    }
    Ok(())
}

#[tokio::test]
async fn a_ticket_that_jira_refuses_is_a_dead_letter_in_its_own_words() -> Result<()> {
    let desk = Desk::start(Kind::Cloud, toml! { [jira] enable_automatic_ticket_creation = true }).await?;
    desk.jira.change_field("customfield_10001", |field| field.is_required = true);
    let lsid = desk.asks_for_ticket(&json!({ "title": "VPN" }))?;
    assert_contains(&desk.outcome(&lsid, SOMEONE_JOINS).await?.dead()?, &["customfield_10001: Host is required."]);
    Ok(())
}

#[tokio::test]
async fn check_tells_what_is_well_and_what_is_not() -> Result<()> {
    for kind in [Kind::Cloud, Kind::DataCenter] {
        let desk = Desk::start(kind, toml! { [jira.custom_fields_set] Severity = "High" }).await?;
        desk.jira.add_ticket("Looked at")?;
        // The search lags.
        let (is_well, told) = desk.check().await?;
        assert!(is_well, "{told}");
        assert_contains(&told, &["NET (Network)", "permission Add Comments: given for NET", "Severity (customfield_10003)"]);
        desk.jira.set_token("another");
        let (is_well, told) = desk.check().await?;
        assert!(!is_well, "{told}");
        assert_contains(&told, &["Jira did not accept the API user"]);
    }
    Ok(())
}
