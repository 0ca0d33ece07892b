//! A real Request Tracker 5 with the real server between it and a simulated appliance: what stands on the ticket, what is counted as time
//! worked, which tickets are made, who may open the panel, and what an administrator reads when it cannot be.

use anyhow::{Context, Result, ensure};
use deskbridge_shared::routes;
use deskbridge_tests::appliance::{
    self, Customer, EventKind, NewSession, Party, Recipient, Representative, SessionScript, SimulatedAppliance, Step,
};
use deskbridge_tests::browser::Settings;
use deskbridge_tests::device::{Browser, pairing_code};
use deskbridge_tests::extension::{ExtendedBrowser, set_up_by_policy};
use deskbridge_tests::outcomes::{CUSTOMER_SURVEY, Outcome, REPRESENTATIVE_SURVEY, SESSION_END};
use deskbridge_tests::request_tracker::{Fault, Matching, Note, QUEUE, REST, RealRequestTracker, missing};
use deskbridge_tests::scene::{self, EVENT_TOKEN};
use deskbridge_tests::server::{Builder, Deskbridge, skip};
use regex::Regex;
use reqwest::Method;
use serde_json::{Value, json};
use thirtyfour::By;
use toml::{Table, toml};

const CONNECTION: &str = "Real Request Tracker";
const SOMEONE_JOINS: &str = "someone_joins";

/// An appliance, RT and a server between them.
struct Desk {
    appliance: SimulatedAppliance,
    rt: RealRequestTracker,
    server: Deskbridge,
}

/// A desk of these settings; ends the test where RT is not installed.
macro_rules! desk {
    ($settings:expr) => {{
        if let Some(why) = missing() {
            return skip(std::thread::current().name().unwrap_or("request_tracker"), &why);
        }
        Desk::start($settings).await?
    }};
}

/// The settings of a user who has few rights, and none but in their own queues.
fn few(queue: &str) -> Table {
    toml! {
        [request_tracker]
        token = ""
        username = "few"
        password = "few-pw"
        queue = queue
    }
}

impl Desk {
    /// `changes`: keys of the connection, section by section.
    async fn start(changes: Table) -> Result<Self> {
        Self::start_with(Deskbridge::builder(), changes).await
    }

    async fn start_with(builder: Builder, changes: Table) -> Result<Self> {
        let appliance = SimulatedAppliance::start(appliance::Options { rate_limits: None, ..appliance::Options::default() }).await?;
        let rt = RealRequestTracker::start().await?;
        let sections = format!("[panel]\ntarget_field = \"machine\"\n{}\nsettle_seconds = 5", rt.section());
        let mut connection = scene::connection(&appliance, CONNECTION, "default", &sections);
        scene::merge(&mut connection, changes);
        let server = builder.connection(connection).start().await?;
        let events = vec![EventKind::MemberAdded, EventKind::End, EventKind::CustomerSurvey, EventKind::RepresentativeSurvey];
        let url = format!("{}{}?appliance=default&token={EVENT_TOKEN}", server.url(), routes::APPLIANCE_EVENTS);
        appliance.set_recipient(Recipient { events, ..Recipient::new(url) });
        Ok(Self { appliance, rt, server })
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

    /// The one note with that part of a marker on the ticket.
    async fn only(&self, ticket: &str, marker: &str) -> Result<Note> {
        let mut notes = self.rt.notes(ticket).await?;
        notes.retain(|note| note.subject.contains(marker));
        ensure!(notes.len() == 1, "{marker} stands {} times on ticket {ticket}", notes.len());
        notes.pop().context("just counted")
    }

    /// A session that asks for a ticket: a representative joins it, and it ends when it has the ticket. Answers its lsid and the ticket.
    async fn play_with_new_ticket(&self, key: &Value) -> Result<(String, String)> {
        let lsid = self.asks_for_ticket(key)?;
        let has_ticket = |session: &appliance::Session| session.lsid == lsid && !session.external_key.starts_with('{');
        let ticket = self.appliance.wait_for_session(has_ticket).await?.external_key;
        self.appliance.end_session(&lsid)?;
        self.outcome(&lsid, SESSION_END).await?.done()?;
        Ok((lsid, ticket))
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

fn comments_on(ticket: &str) -> Matching {
    Matching::new(Method::POST, format!("{REST}ticket/{ticket}/comment"))
}

// Notes

#[tokio::test]
async fn a_session_becomes_one_comment_and_each_survey_another() -> Result<()> {
    let desk = desk!(toml! { [request_tracker] update_time_worked = true });
    let ticket = desk.rt.add_ticket(QUEUE, "Printer").await?;
    let lsid = desk.appliance.play(SessionScript::example(ticket.clone()))?;
    for kind in [SESSION_END, CUSTOMER_SURVEY, REPRESENTATIVE_SURVEY] {
        desk.outcome(&lsid, kind).await?.done()?;
    }
    let notes = desk.rt.notes(&ticket).await?;
    assert_eq!(notes.len(), 4, "{notes:?}");
    for note in &notes {
        assert_eq!((note.kind.as_str(), note.author.as_str()), ("Comment", "deskbridge"), "internal");
        assert!(note.subject.contains(&format!("[deskbridge/{lsid}/")), "{}", note.subject);
    }
    let report = desk.only(&ticket, "/report/0").await?;
    assert_eq!(report.subject, format!("Remote support session {lsid} [deskbridge/{lsid}/report/0]"));
    assert_eq!((report.content_type.as_str(), report.time_taken, report.files.len()), ("text/html", 0, 0));
    assert_contains(
        &report.content,
        &["Läuft wieder, vielen Dank 👍", "Rebuilt the mail profile.", "Müller &amp; Söhne GmbH", "LAPTOP-0042"],
    );
    let time = desk.only(&ticket, "/time/0").await?;
    let name = Representative::example().display_name;
    assert_contains(&report.content, &[&name]);
    assert_contains(&time.content, &[&format!("session of {name}, "), &format!(": {} min", time.time_taken)]);
    let worked = desk.rt.ask_as("root", Method::GET, &format!("ticket/{ticket}"), None).await?;
    assert_eq!(worked["TimeWorked"], json!(time.time_taken.to_string()));
    assert!(time.time_taken >= 1);
    assert_eq!(worked["Status"], "new", "a comment changes no status");
    Ok(())
}

#[tokio::test]
async fn a_session_at_the_limits_fits_and_goes_along_whole_as_a_file() -> Result<()> {
    let desk = desk!(Table::new());
    let ticket = desk.rt.add_ticket(QUEUE, "Long").await?;
    let (lsid, outcome) = desk.play(SessionScript::at_the_limits(ticket.clone())).await?;
    outcome.done()?;
    let note = desk.only(&ticket, "/report/0").await?;
    assert!((10_000..=24_000).contains(&note.content.len()), "RT shows it: {}", note.content.len());
    let [(name, kind, content)] = note.files.as_slice() else { anyhow::bail!("{} files", note.files.len()) };
    assert_eq!((name.as_str(), kind.as_str()), (format!("session-{lsid}.html").as_str(), "application/octet-stream"));
    assert_contains(&note.content, &[name]);
    let whole = String::from_utf8(content.clone())?;
    assert!(whole.len() > 150_000 && whole.contains("#299") && whole.ends_with("</html>\n"), "{}", whole.len());

    // What stands before RT takes no such file: the report stands without it, and says so.
    desk.rt.fail_next(1, comments_on(&ticket), Fault::Status { code: 413, body: "<html>too large</html>".to_owned(), retry_after: None });
    let (lsid, outcome) = desk.play(SessionScript::at_the_limits(ticket.clone())).await?;
    assert_contains(&outcome.done()?, &["its file was not taken", "413"]);
    let note = desk.only(&ticket, &format!("{lsid}/report/0")).await?;
    assert!(note.files.is_empty() && note.content.len() > 10_000);
    Ok(())
}

/// As RT's own page shows it to an agent.
#[tokio::test]
async fn text_of_strangers_stays_text_on_the_page() -> Result<()> {
    let desk = desk!(Table::new());
    let ticket = desk.rt.add_ticket(QUEUE, "Hostile").await?;
    let script = SessionScript::new(ticket.clone())
        .customer(Customer { name: "<b onclick=alert(1)>Jane</b>".to_owned(), ..Customer::named("Jane") })
        .representative(Representative::example())
        .chat(Party::CUSTOMER, "</td></table><script>alert(1)</script> {$Ticket->Subject} __id__ <img src=x onerror=alert(2)>")
        .chat(Party::CUSTOMER, "javascript:alert(3) &lt;i&gt; \u{202e}x")
        .after(5, Step::Ends);
    let (_, outcome) = desk.play(script).await?;
    outcome.done()?;
    let page = desk.rt.page_as("avery", &format!("Ticket/History.html?id={ticket}")).await?;
    let (_, history) = page.split_once("Remote support session").context("the page shows the note")?;
    assert_contains(
        history,
        &[
            "&lt;script&gt;alert(1)&lt;/script&gt;",
            "{$Ticket-&gt;Subject}",
            "__id__",
            "&lt;img src=x onerror=alert(2)&gt;",
            "&amp;lt;i&amp;gt;",
        ],
    );
    assert!(!history.contains("<img src=x") && !history.contains("<b onclick") && !history.contains("<script>alert"), "{history}");
    Ok(())
}

#[tokio::test]
async fn beside_a_reply_stands_a_comment_with_the_rest() -> Result<()> {
    let desk = desk!(toml! {
        [request_tracker]
        note_visibility = "public"
        update_time_worked = true
        [reports]
        internal_note_beside_public = true
    });
    let ticket = desk.rt.add_ticket(QUEUE, "Public").await?;
    desk.rt.change_ticket(&ticket, json!({ "Status": "resolved" }), "resolved").await?;
    let lsid = desk.appliance.play(SessionScript::example(ticket.clone()))?;
    for kind in [SESSION_END, CUSTOMER_SURVEY, REPRESENTATIVE_SURVEY] {
        desk.outcome(&lsid, kind).await?.done()?;
    }
    let kinds = async |marker: &str| Ok::<_, anyhow::Error>(desk.only(&ticket, marker).await?.kind);
    assert_eq!((kinds("/report/0").await?.as_str(), kinds("/customer-survey-").await?.as_str()), ("Correspond", "Correspond"));
    for marker in ["/report-internal/0", "/representative-survey-", "/time/0"] {
        assert_eq!(kinds(marker).await?, "Comment", "{marker}");
    }
    assert!(!desk.only(&ticket, "/report/0").await?.content.contains("Rebuilt the mail profile."));
    let found = desk.rt.ask_as("root", Method::GET, &format!("ticket/{ticket}"), None).await?;
    assert_eq!(found["Status"], "open", "a reply opens a resolved ticket, as RT is set up");
    assert!(found["Resolved"].as_str().is_some_and(|at| !at.starts_with("1970")), "once resolved, always so noted: {found}");
    Ok(())
}

// Tickets that are not as they were

#[tokio::test]
async fn merged_resolved_and_deleted_tickets() -> Result<()> {
    let desk = desk!(toml! { [request_tracker] update_time_worked = true });
    let (merged, target) = (desk.rt.add_ticket(QUEUE, "Merged").await?, desk.rt.add_ticket(QUEUE, "Target").await?);
    desk.rt.change_ticket(&merged, json!({ "MergeInto": target }), "Merge Successful").await?;
    desk.rt.change_ticket(&target, json!({ "Status": "resolved" }), "resolved").await?;
    // The answer is lost: found on the ticket it was merged into, and not written again.
    desk.rt.fail_next(1, comments_on(&target), Fault::ApplyThenClose);
    let (lsid, outcome) = desk.play(SessionScript::short(merged.clone())).await?;
    assert_contains(&outcome.done()?, &["was found on"]);
    for marker in ["report", "time"] {
        desk.only(&target, &format!("{lsid}/{marker}/0")).await?;
    }
    let found = desk.rt.ask_as("root", Method::GET, &format!("ticket/{target}"), None).await?;
    assert_eq!(found["Status"], "resolved", "a comment leaves it so");
    assert!(found["Resolved"].as_str().is_some_and(|at| !at.starts_with("1970")), "{found}");

    let deleted = desk.rt.add_ticket(QUEUE, "Deleted").await?;
    desk.rt.change_ticket(&deleted, json!({ "Status": "deleted" }), "deleted").await?;
    let unseen = desk.rt.add_ticket("General", "Of others").await?;
    for (ticket, says) in [
        (deleted.as_str(), "was deleted"),
        ("2000000000", "there is no ticket"),
        (&unseen, "the right ShowTicket"),
        ("x", "is no ticket id"),
    ] {
        let (_, outcome) = desk.play(SessionScript::short(ticket)).await?;
        assert_contains(&outcome.dead()?, &[says]);
    }
    Ok(())
}

// Automatic tickets

#[tokio::test]
async fn a_representative_who_joins_makes_one_ticket_and_the_report_goes_there() -> Result<()> {
    let desk = desk!(toml! {
        [request_tracker]
        enable_automatic_ticket_creation = true
        ticket_default_data = "{\"Priority\": 30, \"CustomFields\": {\"Machine\": \"unknown\"}}"
        external_key_may_set = ["email"]
    });
    // Its answer is lost: it is found by its link, and not made again.
    desk.rt.fail_next(1, Matching::new(Method::POST, format!("{REST}ticket")).exactly(), Fault::ApplyThenStatus(502));
    let key = json!({ "title": "VPN\nis down", "email": "new.person@example.com", "Owner": "root" });
    let (lsid, made) = desk.play_with_new_ticket(&key).await?;
    let query = format!("tickets?query=RefersTo%20%3D%20'urn%3Adeskbridge%3A{lsid}'&fields=Subject,Priority,Requestor,Owner");
    let found = desk.rt.ask_as("root", Method::GET, &query, None).await?;
    assert_eq!(found["count"], 1, "{found}");
    let ticket = &found["items"][0];
    assert_eq!((&ticket["Subject"], &ticket["Priority"]), (&json!("VPN is down"), &json!("30")));
    assert_eq!((&ticket["Requestor"][0]["id"], &ticket["Owner"]["id"]), (&json!("new.person@example.com"), &json!("Nobody")));
    assert_eq!(ticket["id"], made);
    desk.only(&made, "/report/0").await?;
    Ok(())
}

#[tokio::test]
async fn what_a_new_ticket_cannot_have_is_told() -> Result<()> {
    // RT refuses such a status; from a key it is tried as text.
    let desk = desk!(toml! { [request_tracker] enable_automatic_ticket_creation = true external_key_may_set = ["Status"] });
    let (_, ticket) = desk.play_with_new_ticket(&json!({ "title": "Wrong", "Status": "melted" })).await?;
    let parts = desk.rt.ask_as("root", Method::GET, &format!("ticket/{ticket}/attachments?fields=Content"), None).await?;
    assert_contains(&parts["items"][0]["Content"].to_string(), &["melted"]);

    let mut changes = few("Few rights");
    scene::merge(&mut changes, toml! { [request_tracker] enable_automatic_ticket_creation = true });
    let desk = desk!(changes);
    let lsid = desk.asks_for_ticket(&json!({ "title": "No right" }))?;
    assert_contains(&desk.outcome(&lsid, SOMEONE_JOINS).await?.dead()?, &["“Few rights”", "SeeQueue and CreateTicket"]);
    Ok(())
}

// Rights

#[tokio::test]
async fn who_lacks_a_right_is_told_which() -> Result<()> {
    let desk = desk!(few("No rights"));
    let ticket = desk.rt.add_ticket("No rights", "Read only").await?;
    let (_, outcome) = desk.play(SessionScript::short(ticket)).await?;
    assert_contains(&outcome.dead()?, &["the right CommentOnTicket"]);
    Ok(())
}

/// Whoever sees no comments finds none: a second note would stand there. A server that has just started knows of no comment.
#[tokio::test]
async fn a_note_that_cannot_be_looked_for_is_not_written_again() -> Result<()> {
    let desk = desk!(few("Few rights"));
    let ticket = desk.rt.add_ticket("Few rights", "Blind").await?;
    for session in ["the first", "another"] {
        desk.rt.fail_next(1, comments_on(&ticket), Fault::ApplyThenClose);
        let (lsid, outcome) = desk.play(SessionScript::short(ticket.clone())).await?;
        assert_contains(&outcome.dead()?, &["ShowTicketComments", "does not stand twice"]);
        desk.only(&ticket, &format!("{lsid}/report/0")).await.context(session)?;
    }
    let (is_well, told) = desk.check().await?;
    assert!(!is_well, "{told}");
    assert_contains(&told, &["does not see the comment", "ShowTicketComments: without it"]);
    Ok(())
}

/// RT tells that nobody of ours has written on the ticket.
#[tokio::test]
async fn a_note_that_is_certainly_not_there_is_written() -> Result<()> {
    let desk = desk!(few("Few rights"));
    let ticket = desk.rt.add_ticket("Few rights", "Untouched").await?;
    desk.rt.fail_next(1, comments_on(&ticket), Fault::CloseConnection);
    let (lsid, outcome) = desk.play(SessionScript::short(ticket.clone())).await?;
    outcome.done()?;
    desk.only(&ticket, &format!("{lsid}/report/0")).await?;
    Ok(())
}

/// No comment stands in the queue yet that could be seen; the ticket is as it was made.
#[tokio::test]
async fn the_first_note_of_a_new_queue_is_written_after_a_lost_request() -> Result<()> {
    let mut changes = few("New");
    scene::merge(&mut changes, toml! { [request_tracker] enable_automatic_ticket_creation = true });
    let desk = desk!(changes);
    let lsid = desk.asks_for_ticket(&json!({ "title": "First" }))?;
    let has_ticket = |session: &appliance::Session| session.lsid == lsid && !session.external_key.starts_with('{');
    let ticket = desk.appliance.wait_for_session(has_ticket).await?.external_key;
    desk.rt.fail_next(1, comments_on(&ticket), Fault::CloseConnection);
    desk.appliance.end_session(&lsid)?;
    desk.outcome(&lsid, SESSION_END).await?.done()?;
    desk.only(&ticket, "/report/0").await?;
    Ok(())
}

#[tokio::test]
async fn check_names_each_thing_that_is_missing() -> Result<()> {
    let desk = desk!(toml! { [request_tracker] enable_automatic_ticket_creation = true note_visibility = "public" });
    let ticket = desk.rt.add_ticket(QUEUE, "Looked at").await?;
    desk.rt
        .ask_as("avery", Method::POST, &format!("ticket/{ticket}/comment"), Some(json!({ "Content": "x", "ContentType": "text/plain" })))
        .await?;
    let (is_well, told) = desk.check().await?;
    assert!(is_well, "{told}");
    let rights =
        ["CreateTicket", "ShowTicket", "CommentOnTicket", "ReplyToTicket", "ShowTicketComments"].map(|name| format!("right {name}"));
    assert_contains(&told, &rights.each_ref().map(String::as_str));
    assert_contains(&told, &["version 5.0", "Support", "known by their e-mail address"]);

    let (url, own) = (desk.rt.url().to_owned(), |key: &str, value: &str| {
        Table::from_iter([("request_tracker".to_owned(), Table::from_iter([(key.to_owned(), value.into())]).into())])
    });
    desk.rt.add_ticket("Few rights", "Looked at").await?;
    let mut lacking = few("Few rights");
    scene::merge(&mut lacking, toml! { [request_tracker] enable_automatic_ticket_creation = true note_visibility = "public" });
    for (changes, says) in [
        (own("token", "1-27-00000000000000000000000000000000"), &["did not accept the API user"][..]),
        (own("url", &format!("{url}no/such/")), &["REST 2", "with its path"]),
        (own("url", url.trim_end_matches("rt/")), &["no REST 2", "with its path"]),
        (own("queue", "Nowhere"), &["“Nowhere”", "SeeQueue"]),
        (lacking, &["lacks it for “Few rights”", "right CreateTicket", "right ReplyToTicket", "ShowTicketComments: without it"]),
    ] {
        let desk = desk!(changes.clone());
        let (is_well, told) = desk.check().await?;
        assert!(!is_well, "{changes}: {told}");
        assert_contains(&told, says);
    }
    Ok(())
}

// The panel

#[tokio::test]
async fn privileged_users_open_the_panel_and_nobody_else() -> Result<()> {
    let desk = desk!(Table::new());
    let (ticket, unseen) = (desk.rt.add_ticket(QUEUE, "Panel").await?, desk.rt.add_ticket("General", "Of others").await?);
    desk.rt.change_ticket(&ticket, json!({ "CustomFields": { "Machine": "PC-042" } }), "added").await?;
    let panel = async |browser: &Browser, ticket: &str| {
        let connection = CONNECTION.replace(' ', "%20");
        browser.ask(Method::GET, &format!("{}?connection={connection}&ticket={ticket}", routes::PANEL), "").await
    };
    let paired = async |email: &str| Browser::paired(&desk.server, CONNECTION, &["--agent", "Somebody", "--email", email]).await;
    let avery = paired("Avery@MSP.example").await?;
    let answer = panel(&avery, &ticket).await?;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_contains(&answer.text, &["PC-042"]);
    for ticket in [unseen.as_str(), "2000000000", "x"] {
        let answer = panel(&avery, ticket).await?;
        assert_eq!(answer.json()["type"], "urn:deskbridge:problem:ticket-not-found", "{ticket}: {}", answer.text);
    }
    // Not privileged, disabled, unknown.
    for email in ["jane@example.com", "gone@msp.example", "nobody@msp.example"] {
        let answer = panel(&paired(email).await?, &ticket).await?;
        assert_eq!((answer.status, &answer.json()["reason"]), (403, &json!("not-an-agent")), "{email}: {}", answer.text);
    }
    Ok(())
}

/// RT shows the ticket it was merged into under a merged ticket's number: what was done there before is seen there, and nowhere else.
#[tokio::test]
async fn the_panel_shows_the_sessions_of_merged_tickets() -> Result<()> {
    let desk = desk!(Table::new());
    let (first, second) = (desk.rt.add_ticket(QUEUE, "First").await?, desk.rt.add_ticket(QUEUE, "Second").await?);
    let (target, other) = (desk.rt.add_ticket(QUEUE, "Target").await?, desk.rt.add_ticket(QUEUE, "Other").await?);
    let mut played = Vec::new();
    for ticket in [&first, &second, &target] {
        let (lsid, outcome) = desk.play(SessionScript::short(ticket.clone())).await?;
        outcome.done()?;
        played.push(lsid);
    }
    desk.rt.change_ticket(&first, json!({ "MergeInto": second }), "Merge Successful").await?;
    desk.rt.change_ticket(&second, json!({ "MergeInto": target }), "Merge Successful").await?;
    let avery = Browser::paired(&desk.server, CONNECTION, &["--agent", "Avery", "--email", "avery@msp.example"]).await?;
    let sessions = async |ticket: &str| {
        let path = format!("{}?connection={}&ticket={ticket}", routes::SESSIONS, CONNECTION.replace(' ', "%20"));
        let answer = avery.ask(Method::GET, &path, "").await?.json();
        let mut lsids: Vec<String> =
            answer["sessions"].as_array().into_iter().flatten().filter_map(|session| Some(session["lsid"].as_str()?.to_owned())).collect();
        lsids.sort();
        Ok::<_, anyhow::Error>(lsids)
    };
    played.sort();
    for ticket in [&target, &first, &second] {
        assert_eq!(sessions(ticket).await?, played, "{ticket}");
    }
    assert!(sessions(&other).await?.is_empty());
    Ok(())
}

/// The extension on RT's own page, in Chromium: the panel is the first box beside the ticket's basics, makes a key, and tells when the report
/// stands.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_panel_stands_on_the_tickets_page() -> Result<()> {
    if let Some(why) = missing() {
        return skip(std::thread::current().name().unwrap_or("request_tracker"), &why);
    }
    // Its pages are at its own address, which is then the connection's, too.
    let rt = RealRequestTracker::start().await?;
    let own = Table::from_iter([("url".to_owned(), rt.own_url().into())]);
    let changes = Table::from_iter([("request_tracker".to_owned(), own.into())]);
    let desk = Desk::start_with(Deskbridge::builder().public_host("localhost"), changes).await?;
    let ticket = rt.add_ticket(QUEUE, "Printer on fire").await?;
    rt.change_ticket(&ticket, json!({ "CustomFields": { "Machine": "PC-042" } }), "added").await?;
    let directory = tempfile::tempdir()?;
    let code =
        pairing_code(&desk.server, CONNECTION, &["--agent", "Avery Agent", "--email", "avery@msp.example", "--uses", "5", "--days", "1"])
            .await?;
    let policy = json!({
        "serverUrl": desk.server.public_url(),
        "enrolmentToken": code,
        "sites": [{ "kind": "request_tracker", "url": rt.own_url() }],
    });
    let extension = directory.path().join("extension");
    set_up_by_policy(&extension, &policy)?;
    let browser = ExtendedBrowser::start_with(Settings { height: 1000, ..Settings::default() }, &extension).await?;
    browser.open_options().await?;
    let page = &browser.browser;
    page.element("[data-state='paired']").await?;

    let address = format!("{}Ticket/Display.html?id={ticket}", rt.own_url());
    page.open(&address).await?;
    page.type_into("[name='user']", "avery").await?;
    page.type_into("[name='pass']", "avery-pw").await?;
    page.click("#login-box [type='submit']").await?;
    let card = page.element(".boxcontainer ~ .boxcontainer > .titlebox[data-deskbridge]:first-child").await?;
    assert_eq!(card.attr("data-deskbridge").await?.as_deref(), Some(format!("request_tracker:{ticket}").as_str()));
    let place = card.find(By::Css(".titlebox-content > .card-body > div")).await?;
    page.in_shadow_of(&place, "button").await?.click().await?;
    browser.enter_panel().await?;
    page.click("[data-action='make-key']").await?;
    let key = page.text("[data-part='key']").await?;
    let lsid = desk.appliance.begin_session_with_key(&key).context("the panel's key")?;
    for (_, step) in SessionScript::example(ticket.clone()).steps {
        desk.appliance.step(&lsid, step)?;
    }
    page.element("li[data-state='recorded']").await?;
    if let Some(folder) = std::env::var_os("DESKBRIDGE_SCREENSHOTS") {
        page.leave_frames().await?;
        page.screenshot(&std::path::PathBuf::from(folder).join("request-tracker-panel.png")).await?;
    }
    desk.only(&ticket, "/report/0").await?;
    Ok(())
}
