//! Two customers' Zendesk accounts on one appliance: what happens in a session of one is never seen or written in the other.
//!
//! Both accounts have tickets of the same numbers, so that a number says nothing about whose session it is. What is asserted is
//! what stands on both accounts' tickets, what both panels show, and what the administrator reads and decides.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use deskbridge_shared::api::SessionKey;
use deskbridge_shared::routes;
use deskbridge_tests::appliance::{
    self, CustomField, Customer, EventKind, NewSession, Party, Recipient, Representative, SessionScript, SimulatedAppliance, SurveyAnswer,
};
use deskbridge_tests::scene::{self, Sidebar};
use deskbridge_tests::server::{Builder, Database, Deskbridge, tell, until};
use deskbridge_tests::zendesk::{self, DemoData, SimulatedZendesk, Ticket};
use futures_util::future::try_join_all;
use regex::Regex;
use serde_json::{Value, json};
use toml::{Table, toml};
use url::Url;
use uuid::Uuid;

/// The two connections' names.
const ACCOUNT_A: &str = "Account A";
const ACCOUNT_B: &str = "Account B";
/// Both accounts have tickets of these numbers.
const TICKET: u64 = 100_001;
const OTHER_TICKET: u64 = 100_002;
/// Only account A has this one.
const TICKET_OF_A: u64 = 200_001;
/// Longest wait until everything is done.
const LIMIT: Duration = Duration::from_mins(1);
/// The second custom session field, where the appliance has it.
const FIELD: &str = "deskbridge";
/// What a console writes into a session that shall have a ticket.
const ASKS_FOR_A_TICKET: &str = r#"{"title": "VPN does not connect", "name": "Jane Roe", "email": "jane.roe@customer.example"}"#;

/// One of the two accounts.
struct Account {
    name: &'static str,
    zendesk: SimulatedZendesk,
    people: DemoData,
}

/// How the parts shall be.
#[derive(Default)]
struct Plan {
    /// Keys of both `[[connection]]`, by section.
    connections: Table,
    /// The administrator made the second custom session field on the appliance.
    with_field: bool,
    /// No outbound events reach the server: sessions are found by asking.
    without_events: bool,
    server: Builder,
}

/// One appliance, two accounts, one server with a connection to each.
struct Shared {
    appliance: SimulatedAppliance,
    a: Account,
    b: Account,
    server: Deskbridge,
}

impl Account {
    async fn start(name: &'static str, appliance: &SimulatedAppliance) -> Result<Self> {
        let options = zendesk::Options { rate_limits: None, ..zendesk::Options::default() };
        let zendesk = scene::zendesk_for(appliance, options).await?;
        let people = zendesk.fill_demo_data();
        let account = Self { name, zendesk, people };
        for number in [TICKET, OTHER_TICKET] {
            account.add_ticket(number);
        }
        Ok(account)
    }

    fn add_ticket(&self, number: u64) {
        let requester_id = self.zendesk.ticket(self.people.vpn_ticket).map_or(0, |ticket| ticket.requester_id);
        let subject = format!("Ticket {number} of {}", self.name);
        self.zendesk.add_ticket(Ticket { id: number, description: subject.clone(), subject, requester_id, ..Ticket::default() });
    }

    /// The session's notes on this account's tickets, as ticket number and kind, in the order of the tickets.
    fn notes(&self, lsid: &str) -> Result<Vec<(u64, String)>> {
        let marker = Regex::new(&format!("deskbridge/{lsid}/([a-z0-9_-]+)/[0-9]+"))?;
        let mut notes = Vec::new();
        for ticket in self.zendesk.tickets() {
            for comment in self.zendesk.comments(ticket) {
                if let Some(found) = marker.captures(&comment.plain_body) {
                    notes.push((ticket, found[1].to_owned()));
                }
            }
        }
        Ok(notes)
    }

    fn reports(&self, lsid: &str) -> Result<usize> {
        Ok(self.notes(lsid)?.iter().filter(|(_, kind)| kind == "report").count())
    }
}

impl Shared {
    async fn start(plan: Plan) -> Result<Self> {
        let mut options = appliance::Options { rate_limits: None, ..appliance::Options::default() };
        if plan.with_field {
            options.custom_fields.push(CustomField::new(FIELD, "Deskbridge"));
        }
        let appliance = SimulatedAppliance::start(options).await?;
        let (a, b) = (Account::start(ACCOUNT_A, &appliance).await?, Account::start(ACCOUNT_B, &appliance).await?);
        a.add_ticket(TICKET_OF_A);
        let mut changes = plan.connections;
        if plan.with_field {
            scene::merge(&mut changes, toml::from_str(&format!("[appliance]\nconnection_field = \"{FIELD}\""))?);
        }
        if plan.without_events {
            scene::merge(
                &mut changes,
                toml! {
                    [appliance]
                    outbound_events = []
                    polling_events = ["session_end"]
                    polling_interval_minutes = 1
                },
            );
        }
        let mut builder = plan.server;
        for (account, id) in [(&a, "a"), (&b, "b")] {
            let mut connection = scene::to_zendesk(&appliance, &account.zendesk, account.name, id);
            scene::merge(&mut connection, changes.clone());
            builder = builder.connection(connection);
        }
        let server = builder.start().await?;
        let shared = Self { appliance, a, b, server };
        if !plan.without_events {
            shared.tell_of(&[]);
        }
        Ok(shared)
    }

    /// Makes both connections recipients of these events; of all, if none is named.
    fn tell_of(&self, events: &[EventKind]) {
        for (name, id) in [(ACCOUNT_A, "a"), (ACCOUNT_B, "b")] {
            self.appliance.set_recipient(Recipient { name: name.into(), events: events.to_vec(), ..scene::recipient(&self.server, id) });
        }
    }

    async fn sidebar(&self, account: &Account) -> Result<Sidebar> {
        scene::open_sidebar(&self.server, &account.zendesk, account.people.agent).await
    }

    async fn key(&self, account: &Account, ticket: u64) -> Result<SessionKey> {
        self.sidebar(account).await?.session_key(ticket).await
    }

    /// A session begins with a key that was made for this account's ticket; customer and representative join.
    async fn begin(&self, account: &Account, ticket: u64) -> Result<String> {
        let key = self.key(account, ticket).await?;
        self.begin_with(&key)
    }

    fn begin_with(&self, key: &SessionKey) -> Result<String> {
        let lsid = self.appliance.begin_session_with_key(&key.short_key)?;
        self.join(&lsid)?;
        Ok(lsid)
    }

    fn join(&self, lsid: &str) -> Result<()> {
        self.appliance.customer_joins(lsid, Customer::named("John Smith"))?;
        self.appliance.representative_joins(lsid, Representative::example())?;
        self.appliance.chat(lsid, Party::CUSTOMER, "Outlook will not open.")
    }

    /// Waits until the appliance has its 200 for every event and no event is left to be worked at.
    async fn settled(&self) -> Result<()> {
        self.appliance.outbound_idle().await?;
        until("no event waits", LIMIT, async || Ok(self.server.figure("deskbridge_events_waiting", &[]).await? == 0)).await
    }

    /// What stands of a session on either account's tickets, as account, ticket and kind.
    fn standing(&self, lsid: &str) -> Result<Vec<(&'static str, u64, String)>> {
        let mut standing = Vec::new();
        for account in [&self.a, &self.b] {
            standing.extend(account.notes(lsid)?.into_iter().map(|(ticket, kind)| (account.name, ticket, kind)));
        }
        Ok(standing)
    }

    /// Waits until the report stands on the ticket and everything else is done; it must stand there once, and nowhere else.
    async fn stands_once(&self, account: &Account, ticket: u64, lsid: &str) -> Result<()> {
        account
            .zendesk
            .wait_for_comment(ticket, |comment| comment.plain_body.contains(&format!("deskbridge/{lsid}/report/")))
            .await
            .with_context(|| format!("{}; the log ends with:\n{}", account.name, self.server.logs().tail()))?;
        self.settled().await?;
        let standing = self.standing(lsid)?;
        ensure!(standing == [(account.name, ticket, "report".to_owned())], "{standing:?}");
        Ok(())
    }

    /// The sessions a panel shows for a ticket, by their lsids.
    async fn shown(&self, sidebar: &Sidebar, ticket: u64) -> Result<Vec<String>> {
        let answer: Value = scene::read(sidebar.get(routes::SESSIONS, ticket)).await?;
        let sessions = answer["sessions"].as_array().with_context(|| format!("no sessions in {answer}"))?;
        Ok(sessions.iter().filter_map(|session| session["lsid"].as_str().map(str::to_owned)).collect())
    }

    async fn events(&self, arguments: &[&str]) -> Result<String> {
        let output = self.server.command(&[&["events"], arguments].concat()).await?;
        ensure!(output.status.success(), "events {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?)
    }

    /// What `events list --state undecided` says of a session, line by line.
    async fn undecided(&self, lsid: &str) -> Result<Vec<String>> {
        let listed = self.events(&["list", "--state", "undecided"]).await?;
        Ok(listed.lines().filter(|line| line.contains(lsid)).map(str::to_owned).collect())
    }

    /// Waits until an event of that kind of the session is undecided; answers its id. Its text must name both connections.
    async fn undecided_event(&self, lsid: &str, kind: &str) -> Result<String> {
        self.settled().await?;
        let lines = self.undecided(lsid).await?;
        let line = lines.iter().find(|line| line.contains(kind)).with_context(|| {
            format!(
                "no undecided {kind} of {lsid}; on the tickets stands {:?}, the log ends with:\n{}",
                self.standing(lsid),
                self.server.logs().tail()
            )
        })?;
        ensure!(line.contains(ACCOUNT_A) && line.contains(ACCOUNT_B), "it does not name the connections: {line}");
        let id = line.split(' ').next().context("an id")?;
        Uuid::parse_str(id).with_context(|| line.to_owned())?;
        let shown = self.events(&["show", id]).await?;
        ensure!(shown.contains("undecided") && shown.contains(ACCOUNT_A) && shown.contains(ACCOUNT_B), "{shown}");
        Ok(id.to_owned())
    }

    async fn assign(&self, event: &str, account: &Account) -> Result<()> {
        self.events(&["assign", event, account.name]).await.map(drop)
    }

    /// A session nothing ties to a connection: undecided, written nowhere, shown to nobody.
    async fn is_undecided(&self, lsid: &str) -> Result<()> {
        self.settled().await?;
        let standing = self.standing(lsid)?;
        ensure!(standing.is_empty(), "{standing:?}");
        for account in [&self.a, &self.b] {
            let sidebar = self.sidebar(account).await?;
            let shown = self.shown(&sidebar, TICKET).await?;
            ensure!(!shown.contains(&lsid.to_owned()), "{} shows it", account.name);
        }
        self.undecided_event(lsid, "session_end").await.map(drop)
    }
}

/// Waits until a sweep that began after so many requests has asked its last question.
async fn swept(appliance: &SimulatedAppliance) -> Result<()> {
    appliance.wait_for_request(|request| request.is("SupportRepExitSurvey") && request.status.is_some()).await.map(drop)
}

// What a key ties to its connection

#[tokio::test]
async fn a_session_of_a_key_is_recorded_in_its_own_account_also_after_the_sweep() -> Result<()> {
    let mut shared = Shared::start(Plan::default()).await?;
    let lsid = shared.begin(&shared.a, TICKET).await?;
    shared.appliance.end_session(&lsid)?;
    shared.stands_once(&shared.a, TICKET, &lsid).await?;

    // The same number in the other account, the other way round.
    let other = shared.begin(&shared.b, TICKET).await?;
    shared.appliance.end_session(&other)?;
    shared.stands_once(&shared.b, TICKET, &other).await?;

    // The next sweep finds both again, and a session that nobody told of.
    for name in [ACCOUNT_A, ACCOUNT_B] {
        shared.appliance.remove_recipient(name);
    }
    let untold = shared.begin(&shared.b, OTHER_TICKET).await?;
    shared.appliance.end_session(&untold)?;
    shared.appliance.forget_requests();
    shared.server.restart().await?;
    swept(&shared.appliance).await?;
    shared.stands_once(&shared.b, OTHER_TICKET, &untold).await?;
    shared.stands_once(&shared.a, TICKET, &lsid).await?;
    shared.stands_once(&shared.b, TICKET, &other).await
}

#[tokio::test]
async fn the_sweep_alone_records_each_session_in_its_own_account() -> Result<()> {
    let mut shared = Shared::start(Plan { without_events: true, ..Plan::default() }).await?;
    swept(&shared.appliance).await?;
    let mut ended = Vec::new();
    for (account, ticket) in [(&shared.a, TICKET), (&shared.b, OTHER_TICKET), (&shared.a, TICKET_OF_A)] {
        let lsid = shared.begin(account, ticket).await?;
        shared.appliance.clock().advance_seconds(1);
        shared.appliance.end_session(&lsid)?;
        ended.push(lsid);
    }
    shared.server.restart().await?;
    // The last one is waited for first: a sweep that does more than it should has then done it.
    shared.stands_once(&shared.a, TICKET_OF_A, &ended[2]).await?;
    shared.stands_once(&shared.b, OTHER_TICKET, &ended[1]).await?;
    shared.stands_once(&shared.a, TICKET, &ended[0]).await
}

#[tokio::test]
async fn one_appliance_is_swept_once_however_many_connections_it_has() -> Result<()> {
    let mut shared = Shared::start(Plan::default()).await?;
    swept(&shared.appliance).await?;
    let lsid = shared.begin(&shared.a, TICKET).await?;
    shared.appliance.end_session(&lsid)?;
    shared.stands_once(&shared.a, TICKET, &lsid).await?;
    shared.appliance.forget_requests();
    shared.server.restart().await?;
    swept(&shared.appliance).await?;
    // Something that comes after every sweep of the start.
    let last = shared.begin(&shared.b, TICKET).await?;
    shared.appliance.end_session(&last)?;
    shared.stands_once(&shared.b, TICKET, &last).await?;
    let sweeps = shared.appliance.count(|request| request.is("SupportRepExitSurvey") && request.parameter("lsid").is_none());
    assert_eq!(sweeps, 1);
    Ok(())
}

#[tokio::test]
async fn a_panel_never_shows_the_other_accounts_session() -> Result<()> {
    let shared = Shared::start(Plan::default()).await?;
    let (panel_a, panel_b) = (shared.sidebar(&shared.a).await?, shared.sidebar(&shared.b).await?);
    let lsid = shared.begin(&shared.a, TICKET).await?;
    let is_shown_in_a_alone = async |when: &str| {
        until(when, LIMIT, async || Ok(shared.shown(&panel_a, TICKET).await?.contains(&lsid))).await?;
        shared.settled().await?;
        ensure!(shared.shown(&panel_b, TICKET).await?.is_empty(), "{when}: the other account's panel shows it");
        Ok(())
    };
    is_shown_in_a_alone("the session is live in A").await?;
    shared.appliance.end_session(&lsid)?;
    shared.stands_once(&shared.a, TICKET, &lsid).await?;
    is_shown_in_a_alone("the session has ended in A").await
}

#[tokio::test]
async fn surveys_stand_beside_their_sessions_report_alone() -> Result<()> {
    let shared = Shared::start(Plan::default()).await?;
    let lsid = shared.begin(&shared.a, TICKET).await?;
    shared.appliance.complete_representative_survey(&lsid, vec![SurveyAnswer::close_state("Resolved")])?;
    shared.appliance.end_session(&lsid)?;
    shared.appliance.clock().advance_seconds(120);
    shared.appliance.complete_customer_survey(&lsid, vec![SurveyAnswer::rating("5"), SurveyAnswer::comments("Thanks")])?;
    until("report and surveys stand in A", LIMIT, async || Ok(shared.a.notes(&lsid)?.len() >= 3)).await?;
    shared.settled().await?;
    let standing = shared.standing(&lsid)?;
    assert!(standing.iter().all(|(account, ticket, _)| (*account, *ticket) == (ACCOUNT_A, TICKET)), "{standing:?}");
    assert_eq!((standing.len(), shared.a.reports(&lsid)?), (3, 1), "{standing:?}");
    Ok(())
}

#[tokio::test]
async fn a_key_edited_in_mid_session_to_a_number_of_both_accounts_keeps_the_session_where_it_began() -> Result<()> {
    let shared = Shared::start(Plan::default()).await?;
    let lsid = shared.begin(&shared.a, TICKET).await?;
    // The representative edits the key of a session that is under way, which its begin has told of.
    shared.settled().await?;
    shared.appliance.set_external_key(&lsid, &OTHER_TICKET.to_string())?;
    shared.appliance.end_session(&lsid)?;
    shared.stands_once(&shared.a, OTHER_TICKET, &lsid).await
}

/// What a key proves outlives the server's process.
async fn key_is_remembered(database: Database) -> Result<()> {
    let mut shared = Shared::start(Plan { server: Deskbridge::builder().database(database), ..Plan::default() }).await?;
    let key = shared.key(&shared.a, TICKET).await?;
    shared.server.restart().await?;
    let lsid = shared.begin_with(&key)?;
    shared.settled().await?;
    shared.server.restart().await?;
    shared.appliance.end_session(&lsid)?;
    shared.stands_once(&shared.a, TICKET, &lsid).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_between_key_and_end_loses_no_proof() -> Result<()> {
    let told =
        Database::obtainable().into_iter().map(async |database| key_is_remembered(database).await.with_context(|| format!("{database:?}")));
    try_join_all(told).await.map(drop)
}

#[tokio::test]
async fn a_jump_and_a_chat_link_tie_their_session_to_the_account_they_were_made_in() -> Result<()> {
    let shared = Shared::start(Plan::default()).await?;
    let jumped = shared.jump(&shared.b, TICKET).await?;
    shared.appliance.end_session(&jumped.1)?;
    shared.stands_once(&shared.b, TICKET, &jumped.1).await?;
    let chatted = shared.chat(&shared.a, OTHER_TICKET).await?;
    shared.appliance.end_session(&chatted.1)?;
    shared.stands_once(&shared.a, OTHER_TICKET, &chatted.1).await
}

impl Shared {
    /// An agent of that account jumps from the ticket; answers the URL that was opened and the session's lsid.
    async fn jump(&self, account: &Account, ticket: u64) -> Result<(String, String)> {
        let body = json!({"method": "jump_client", "target": "LAPTOP-0042"});
        let launch: Value = scene::read(self.sidebar(account).await?.post(routes::JUMP, ticket, body)).await?;
        let url = launch["launch_url"].as_str().context("launch_url")?.to_owned();
        let script = self.appliance.browse(&url).await?;
        ensure!(script.status().is_success(), "{}", script.status());
        let lsid = self.appliance.run_client_script(&script.text().await?)?;
        Ok((url, lsid))
    }

    /// A customer of that account starts the chat of a chat link of the ticket, a representative joins; answers where the link leads and the lsid.
    async fn chat(&self, account: &Account, ticket: u64) -> Result<(String, String)> {
        let body = json!({"issue": "general_tech"});
        let link: Value = scene::read(self.sidebar(account).await?.post(routes::SESSION_CHAT_LINK, ticket, body)).await?;
        let page = link["url"].as_str().context("url")?;
        let answer = deskbridge_tests::server::loopback_client()?.post(page).form(&[("issue", "general_tech")]).send().await?;
        let url = answer.headers().get("location").with_context(|| format!("{} without a location", answer.status()))?.to_str()?.to_owned();
        let known: Vec<String> = self.appliance.sessions().into_iter().map(|session| session.lsid).collect();
        let page = self.appliance.browse(&url).await?;
        ensure!(page.status().is_success(), "{}", page.text().await?);
        let session = self.appliance.wait_for_session(|session| !known.contains(&session.lsid)).await?;
        self.appliance.representative_joins(&session.lsid, Representative::example())?;
        Ok((url, session.lsid))
    }
}

// What nothing ties

#[tokio::test]
async fn a_typed_ticket_number_proves_nothing_and_a_person_decides() -> Result<()> {
    let shared = Shared::start(Plan::default()).await?;
    // Also a number that only one of them has: tomorrow both may have it.
    for ticket in [TICKET, TICKET_OF_A] {
        let lsid = shared.appliance.play(SessionScript::short(ticket.to_string()))?;
        shared.is_undecided(&lsid).await.with_context(|| ticket.to_string())?;
    }
    Ok(())
}

#[tokio::test]
async fn the_sweep_alone_leaves_a_session_nothing_ties_undecided() -> Result<()> {
    let mut shared = Shared::start(Plan { without_events: true, ..Plan::default() }).await?;
    swept(&shared.appliance).await?;
    let lsid = shared.appliance.play(SessionScript::short(TICKET.to_string()))?;
    let sentinel = shared.begin(&shared.b, OTHER_TICKET).await?;
    shared.appliance.clock().advance_seconds(1);
    shared.appliance.end_session(&sentinel)?;
    shared.server.restart().await?;
    shared.stands_once(&shared.b, OTHER_TICKET, &sentinel).await?;
    shared.is_undecided(&lsid).await
}

#[tokio::test]
async fn keys_for_one_number_in_both_accounts_prove_nothing_and_a_person_decides() -> Result<()> {
    let shared = Shared::start(Plan::default()).await?;
    let (of_a, _of_b) = (shared.key(&shared.a, TICKET).await?, shared.key(&shared.b, TICKET).await?);
    let lsid = shared.begin_with(&of_a)?;
    shared.appliance.complete_representative_survey(&lsid, vec![SurveyAnswer::close_state("Resolved")])?;
    shared.appliance.end_session(&lsid)?;
    shared.is_undecided(&lsid).await?;
    let event = shared.undecided_event(&lsid, "session_end").await?;

    let refused = shared.server.command(&["events", "assign", &event, "Nobody"]).await?;
    assert!(!refused.status.success(), "a connection that is not there");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("Nobody"), "{refused:?}");
    assert!(shared.standing(&lsid)?.is_empty());

    shared.assign(&event, &shared.b).await?;
    until("report and survey stand in B", LIMIT, async || Ok(shared.b.notes(&lsid)?.len() >= 2)).await?;
    // The customer's survey comes long after the decision.
    shared.appliance.clock().advance_seconds(600);
    shared.appliance.complete_customer_survey(&lsid, vec![SurveyAnswer::rating("4")])?;
    until("the late survey follows", LIMIT, async || Ok(shared.b.notes(&lsid)?.len() >= 3)).await?;
    until("nothing of the session is undecided", LIMIT, async || Ok(shared.undecided(&lsid).await?.is_empty())).await?;
    shared.settled().await?;
    let standing = shared.standing(&lsid)?;
    assert!(standing.iter().all(|(account, ticket, _)| (*account, *ticket) == (ACCOUNT_B, TICKET)), "{standing:?}");
    assert_eq!((standing.len(), shared.b.reports(&lsid)?), (3, 1), "{standing:?}");

    // Decided is decided.
    let again = shared.server.command(&["events", "assign", &event, ACCOUNT_A]).await?;
    shared.settled().await?;
    assert!(!again.status.success(), "it was assigned before: {again:?}");
    assert_eq!(shared.standing(&lsid)?, standing);
    Ok(())
}

#[tokio::test]
async fn a_session_that_asks_for_a_ticket_gets_none_until_a_person_says_in_which_account() -> Result<()> {
    let creating = toml! {
        [zendesk]
        enable_automatic_ticket_creation = true
    };
    let shared = Shared::start(Plan { connections: creating, ..Plan::default() }).await?;
    let tickets = || {
        let of = |account: &Account| account.zendesk.tickets().into_iter().map(|ticket| (account.name, ticket)).collect::<Vec<_>>();
        [of(&shared.a), of(&shared.b)].concat()
    };
    let before = tickets();
    let made = || tickets().into_iter().filter(|ticket| !before.contains(ticket)).collect::<Vec<_>>();
    let lsid = shared.appliance.begin_session(NewSession::with_external_key(ASKS_FOR_A_TICKET));
    shared.join(&lsid)?;
    shared.settled().await?;
    assert_eq!(made(), []);
    let event = shared.undecided_event(&lsid, "someone_joins").await?;

    // Its ticket is the proof of everything that follows.
    shared.assign(&event, &shared.b).await?;
    let session = shared.appliance.wait_for_session(|session| session.lsid == lsid && !session.external_key.starts_with('{')).await?;
    let ticket: u64 = session.external_key.parse()?;
    assert_eq!(made(), [(ACCOUNT_B, ticket)]);
    shared.appliance.end_session(&lsid)?;
    shared.stands_once(&shared.b, ticket, &lsid).await?;
    assert_eq!(made(), [(ACCOUNT_B, ticket)]);

    // Nobody decides before the end.
    let lsid = shared.appliance.begin_session(NewSession::with_external_key(ASKS_FOR_A_TICKET));
    shared.join(&lsid)?;
    shared.appliance.end_session(&lsid)?;
    shared.settled().await?;
    assert_eq!(made(), [(ACCOUNT_B, ticket)]);
    assert!(shared.standing(&lsid)?.is_empty());
    shared.undecided_event(&lsid, "session_end").await?;
    Ok(())
}

#[tokio::test]
async fn a_single_connection_on_an_appliance_needs_no_proof() -> Result<()> {
    let scene = scene::Scene::start(scene::Plan::default()).await?;
    let ticket = scene.people.vpn_ticket;
    let lsid = scene.play_until_done(SessionScript::short(ticket.to_string())).await?;
    scene.only_report(ticket, &lsid).map(drop)
}

// The second custom session field

/// The ids of both connections, as an export shows them.
async fn connection_ids(shared: &Shared) -> Result<[String; 2]> {
    let output = shared.server.command(&["config", "export"]).await?;
    ensure!(output.status.success(), "{output:?}");
    let exported: Table = String::from_utf8(output.stdout)?.parse()?;
    let connections = exported["connection"].as_array().context("connections")?;
    let id = |name: &str| {
        let connection = connections.iter().find(|connection| connection["name"].as_str() == Some(name)).context("no such connection")?;
        let id = connection.get("id").and_then(toml::Value::as_str).with_context(|| format!("{name} has no id"))?;
        Uuid::parse_str(id).with_context(|| id.to_owned())?;
        anyhow::Ok(id.to_owned())
    };
    Ok([id(ACCOUNT_A)?, id(ACCOUNT_B)?])
}

#[tokio::test]
async fn a_custom_session_field_with_the_connections_id_decides_each_session() -> Result<()> {
    let parameter = format!("session.custom.{FIELD}");
    let in_url = |url: &str| {
        let url = Url::parse(url)?;
        anyhow::Ok(url.query_pairs().find(|(name, _)| *name == parameter).map(|(_, value)| value.into_owned()))
    };
    let shared = Shared::start(Plan { with_field: true, ..Plan::default() }).await?;
    let ids = connection_ids(&shared).await?;
    assert_ne!(ids[0], ids[1]);

    // Keys for the same number in both accounts at the same time.
    let keys = [shared.key(&shared.a, TICKET).await?, shared.key(&shared.b, TICKET).await?];
    let requests = shared.appliance.requests();
    let sent: Vec<_> =
        requests.iter().filter(|request| request.is("generate_session_key")).map(|request| request.parameter(&parameter)).collect();
    assert_eq!(sent, [Some(ids[0].as_str()), Some(ids[1].as_str())]);
    let mut sessions = Vec::new();
    for (account, (key, id)) in [&shared.a, &shared.b].into_iter().zip(keys.iter().zip(&ids)) {
        sessions.push((account, TICKET, id, shared.begin_with(key)?));
    }

    // Jumps and chats for the same number, too.
    for (account, id) in [&shared.a, &shared.b].into_iter().zip(&ids) {
        let (url, lsid) = shared.jump(account, OTHER_TICKET).await?;
        assert_eq!(in_url(&url)?.as_deref(), Some(id.as_str()), "{url}");
        sessions.push((account, OTHER_TICKET, id, lsid));
        let (url, lsid) = shared.chat(account, OTHER_TICKET).await?;
        assert_eq!(in_url(&url)?.as_deref(), Some(id.as_str()), "{url}");
        sessions.push((account, OTHER_TICKET, id, lsid));
    }

    for (account, ticket, id, lsid) in sessions {
        shared.appliance.end_session(&lsid)?;
        let session = shared.appliance.session(&lsid).context("the session")?;
        assert!(session.custom_attributes.contains(&(FIELD.to_owned(), id.clone())), "{:?}", session.custom_attributes);
        shared.stands_once(account, ticket, &lsid).await?;
    }
    assert!(shared.events(&["list", "--state", "undecided"]).await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn the_custom_session_field_decides_for_the_sweep_too() -> Result<()> {
    let mut shared = Shared::start(Plan { with_field: true, without_events: true, ..Plan::default() }).await?;
    swept(&shared.appliance).await?;
    let keys = [shared.key(&shared.a, TICKET).await?, shared.key(&shared.b, TICKET).await?];
    let ended = [shared.begin_with(&keys[0])?, shared.begin_with(&keys[1])?];
    for lsid in &ended {
        shared.appliance.end_session(lsid)?;
    }
    shared.server.restart().await?;
    shared.stands_once(&shared.b, TICKET, &ended[1]).await?;
    shared.stands_once(&shared.a, TICKET, &ended[0]).await
}

#[tokio::test]
async fn a_field_that_names_no_connection_of_this_server_decides_nothing() -> Result<()> {
    let shared = Shared::start(Plan { with_field: true, ..Plan::default() }).await?;
    let mut script = SessionScript::short(TICKET.to_string());
    script.session.custom_attributes = vec![(FIELD.to_owned(), Uuid::now_v7().to_string())];
    let lsid = shared.appliance.play(script)?;
    shared.is_undecided(&lsid).await?;
    // A person's decision counts, whatever the field says.
    let event = shared.undecided_event(&lsid, "session_end").await?;
    let output = shared.server.command(&["events", "assign", &event, ACCOUNT_B]).await?;
    assert!(output.status.success(), "{output:?}");
    shared.stands_once(&shared.b, TICKET, &lsid).await
}

// What they share of the appliance

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_connections_together_stay_below_the_rate_of_their_api_account() -> Result<()> {
    const KEYS_EACH: usize = 60;
    /// `calls_per_second` is 15: at most 15 leave in the first second, and each further 15 a second later. Two connections that
    /// know nothing of each other are done in half the time. Arrivals bunch on a busy machine, so the whole is timed and not one second.
    const AT_LEAST: Duration = Duration::from_secs(5);
    let shared = Shared::start(Plan::default()).await?;
    swept(&shared.appliance).await?;
    let panels = [shared.sidebar(&shared.a).await?, shared.sidebar(&shared.b).await?];
    shared.appliance.forget_requests();
    let begun = Instant::now();
    let keys = panels.iter().flat_map(|panel| (0..KEYS_EACH).map(move |_| panel.session_key(TICKET)));
    try_join_all(keys).await?;
    let (took, most) = (begun.elapsed(), shared.appliance.most_calls_in_a_second());
    tell(&format!("two connections, {} keys in {took:?}: at most {most} calls in a second", 2 * KEYS_EACH));
    assert_eq!(shared.appliance.count(|request| request.is("generate_session_key")), 2 * KEYS_EACH);
    assert!(took >= AT_LEAST, "{took:?}");
    // One account, one token.
    let tokens = shared.appliance.count(|request| request.is("client_credentials"));
    assert!(tokens <= 1 && shared.appliance.valid_tokens() == 1, "{tokens} tokens asked for, {} valid", shared.appliance.valid_tokens());
    Ok(())
}
