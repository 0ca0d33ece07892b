//! `POST /api/v1/incidents`: one incident, one ticket, whatever fails, dies, or is posted twice; and what its ticket is told afterwards.
//!
//! Connections without a remote-support system: they need none.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use deskbridge_shared::routes;
use deskbridge_tests::autotask::{self, Entity, SimulatedAutotask};
use deskbridge_tests::request_tracker::{RealRequestTracker, missing};
use deskbridge_tests::scene;
use deskbridge_tests::server::{Builder, Database, Deskbridge, loopback_client, skip, until};
use deskbridge_tests::zendesk::{self, Comment, Fault, Matching, SimulatedZendesk, Ticket};
use futures_util::future::{join_all, try_join_all};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use toml::{Table, toml};

const CONNECTION: &str = "Incidents & more";
const TOKEN: &str = "monitoring-monitoring-monitoring";
/// Says where the process shall end (`server/crates/core/src/fault_point.rs`).
const FAULT_POINT: &str = "DESKBRIDGE_FAULT_POINT";
/// Longest time until the process has ended, or everything is done: a dead server's lease lasts 15 s.
const LIMIT: Duration = Duration::from_mins(1);
/// Within this a ticket is there, whatever became of the first answer (CONTRACT-DETAILS.md 41).
const FOUND_WITHIN: Duration = Duration::from_secs(30);

/// A monitoring system.
#[derive(Clone)]
struct Monitor {
    http: Client,
    base: String,
    token: String,
}

/// What it was answered.
#[derive(Clone, Debug)]
struct Answer {
    status: StatusCode,
    body: Value,
    retry_after: Option<u64>,
}

impl Answer {
    /// The ticket, where there is one.
    fn ticket(&self) -> Result<(bool, String)> {
        ensure!(self.status == 200 || self.status == 201, "{self:?}");
        let created = self.body["created"].as_bool().context("created")?;
        ensure!(created == (self.status == 201), "{self:?}");
        Ok((created, self.body["ticket_identifier"].as_str().with_context(|| format!("no ticket: {self:?}"))?.to_owned()))
    }

    #[track_caller]
    fn is(&self, status: u16, parts: &[&str]) {
        assert_eq!(self.status, status, "{self:?}");
        let body = self.body.to_string();
        for part in parts {
            assert!(body.contains(part), "{part:?} is not in {body}");
        }
    }
}

impl Monitor {
    fn of(server: &Deskbridge) -> Result<Self> {
        Ok(Self { http: loopback_client()?, base: server.url().to_owned(), token: TOKEN.to_owned() })
    }

    async fn post(&self, incident: &Value) -> Result<Answer> {
        self.post_with(&[], incident).await
    }

    async fn queue(&self, incident: &Value) -> Result<Answer> {
        self.post_with(&[("mode", "queued")], incident).await
    }

    async fn post_with(&self, query: &[(&str, &str)], incident: &Value) -> Result<Answer> {
        let request = self.http.post(format!("{}{}", self.base, routes::INCIDENTS)).query(&[("connection", CONNECTION)]).query(query);
        answer(request.header("authorization", format!("Token {}", self.token)).json(incident)).await
    }

    async fn status(&self, queued: &Answer) -> Result<Answer> {
        let url = queued.body["status_url"].as_str().context("a status_url")?;
        answer(self.http.get(url).bearer_auth(&self.token)).await
    }

    /// Posts each second until there is a ticket, as who lost the answer does.
    async fn insist(&self, incident: &Value) -> Result<String> {
        let begun = Instant::now();
        loop {
            match self.post(incident).await {
                Ok(answer) if answer.status.is_success() => return Ok(answer.ticket()?.1),
                Ok(answer) => ensure!(matches!(answer.status.as_u16(), 502 | 504), "{answer:?}"),
                Err(error) => ensure!(begun.elapsed() < LIMIT, "{error:#}"),
            }
            ensure!(begun.elapsed() < FOUND_WITHIN, "no ticket after {:?}", begun.elapsed());
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
}

async fn answer(request: reqwest::RequestBuilder) -> Result<Answer> {
    let answer = request.send().await?;
    let retry_after = answer.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
    let (status, text) = (answer.status(), answer.text().await?);
    Ok(Answer { status, body: serde_json::from_str(&text).with_context(|| format!("{status}: {text}"))?, retry_after })
}

/// A server between a monitoring system and a simulated Zendesk.
struct Rig {
    zendesk: SimulatedZendesk,
    server: Deskbridge,
}

fn zendesk_connection(zendesk: &SimulatedZendesk, changes: Table) -> Table {
    let options = zendesk.options();
    let client = options.oauth_client.unwrap_or_default();
    let mut connection = toml! {
        name = CONNECTION
        incident_timeout_seconds = 10
        api_token = [{ name = "monitoring", secret = TOKEN, for = ["incidents"] }]
    };
    connection.insert(
        "zendesk".to_owned(),
        Table::from_iter([
            ("url".to_owned(), zendesk.url().into()),
            ("client_id".to_owned(), client.id.into()),
            ("client_secret".to_owned(), client.secret.into()),
            ("app_id".to_owned(), i64::try_from(options.app_id).unwrap().into()),
            ("installation_id".to_owned(), i64::try_from(options.installation_id).unwrap().into()),
        ])
        .into(),
    );
    scene::merge(&mut connection, changes);
    connection
}

impl Rig {
    async fn prepare(builder: Builder, changes: Table) -> Result<Self> {
        let zendesk = SimulatedZendesk::start(zendesk::Options { rate_limits: None, ..zendesk::Options::default() }).await?;
        let server = builder.connection(zendesk_connection(&zendesk, changes)).prepare().await?;
        Ok(Self { zendesk, server })
    }

    async fn start(changes: Table) -> Result<Self> {
        let mut rig = Self::prepare(Deskbridge::builder(), changes).await?;
        rig.server.start().await?;
        Ok(rig)
    }

    fn monitor(&self) -> Result<Monitor> {
        Monitor::of(&self.server)
    }

    fn tickets(&self) -> Vec<Ticket> {
        self.zendesk.tickets().into_iter().filter_map(|id| self.zendesk.ticket(id)).collect()
    }

    fn only_ticket(&self) -> Result<Ticket> {
        let mut tickets = self.tickets();
        ensure!(tickets.len() == 1, "{} tickets", tickets.len());
        tickets.pop().context("just counted")
    }

    fn fail(&self, times: u32, fault: Fault) {
        self.zendesk.fail_next(times, creations(), fault);
    }

    /// Comments but the first.
    fn notes(&self, ticket: &str) -> Vec<Comment> {
        let id = ticket.parse().unwrap_or_default();
        self.zendesk.comments(id).into_iter().skip(1).collect()
    }

    async fn notes_are(&self, ticket: &str, count: usize) -> Result<Vec<Comment>> {
        until(&format!("ticket {ticket} has {count} notes"), LIMIT, async || Ok(self.notes(ticket).len() >= count)).await?;
        self.nothing_waits().await?;
        let notes = self.notes(ticket);
        ensure!(notes.len() == count, "{notes:?}");
        Ok(notes)
    }

    async fn nothing_waits(&self) -> Result<()> {
        until("no event waits", LIMIT, async || Ok(self.server.figure("deskbridge_events_waiting", &[CONNECTION]).await? == 0)).await
    }
}

fn creations() -> Matching {
    Matching::new(Method::POST, "/api/v2/tickets")
}

fn small(id: &str) -> Value {
    json!({
        "source": "zabbix", "id": id, "title": "Disk full", "description": "98 % of /var", "level": 2, "url": "https://zabbix.example/7",
        "tags": { "host": "db-1" }
    })
}

fn argus(pk: i64) -> Value {
    json!({
        "pk": pk, "start_time": "2026-11-21T21:14:00.123456+01:00", "end_time": "infinity",
        "source": { "pk": 2, "name": "nav.example.org", "type": { "name": "nav" }, "user": 3, "base_url": "https://nav.example.org/" },
        "source_incident_id": "", "details_url": "https://nav.example.org/event/42", "description": "Link down: core-1 xe-0/0/1 <b>&amp;</b> æøå",
        "level": 2, "ticket_url": "", "metadata": { "k": 1 },
        "tags": [{ "added_by": 2, "tag": "host=core-1" }, { "added_by": 2, "tag": "url=https://x.example/?a=b" }],
        "stateful": true, "open": true, "acked": false, "argus_url": "http://127.0.0.1:8082/incidents/1", "user": "Admin"
    })
}

fn changed(mut incident: Value, changes: Value) -> Value {
    if let (Some(members), Value::Object(changes)) = (incident.as_object_mut(), changes) {
        members.extend(changes);
    }
    incident
}

/// Without the invisible characters that part what would do something.
fn visible(text: &str) -> String {
    text.replace('\u{2060}', "").replace('\u{a0}', " ")
}

#[track_caller]
fn assert_told(text: &str, parts: &[&str]) {
    let text = visible(text);
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
}

const ARGUS_FACTS: [&str; 8] = [
    "Link down: core-1 xe-0/0/1 <b>&amp;</b> æøå",
    "High",
    "nav.example.org",
    "2026-11-21 20:14:00 UTC",
    "host",
    "core-1",
    "https://x.example/?a=b",
    "Admin",
];
const ARGUS_LINKS: [&str; 2] = ["http://127.0.0.1:8082/incidents/1", "https://nav.example.org/event/42"];

// Each ticket system

#[tokio::test]
async fn an_incident_becomes_a_ticket_in_zendesk() -> Result<()> {
    let rig =
        Rig::start(toml! { zendesk = { ticket_default_data = "{\"title\": \"T\", \"description\": \"D\", \"tags\": [\"monitoring\"]}" } })
            .await?;
    let monitor = rig.monitor()?;
    let made = monitor.post(&argus(1)).await?;
    let (created, id) = made.ticket()?;
    let ticket = rig.only_ticket()?;
    assert!(created && ticket.id.to_string() == id);
    assert_eq!(made.body["ticket_url"], json!(format!("{}/agent/tickets/{id}", rig.zendesk.url())));
    assert_eq!(
        (ticket.subject.as_str(), ticket.tags.as_slice()),
        ("Link down: core-1 xe-0/0/1 <b>&amp;</b> æøå", ["monitoring".to_owned()].as_slice())
    );
    let text = &rig.zendesk.comments(ticket.id)[0];
    assert_told(&text.plain_body, &ARGUS_FACTS);
    assert_told(&text.html_body, &ARGUS_LINKS.map(|url| format!("<a href=\"{url}\"")).each_ref().map(String::as_str));
    assert!(!text.public && ticket.requester_id == rig.zendesk.api_user());

    let again = monitor.post(&changed(argus(1), json!({ "description": "Link down again", "level": 1 }))).await?;
    assert_eq!((again.ticket()?, &again.body["ticket_url"]), ((false, id.clone()), &made.body["ticket_url"]));
    // Of another source, of another connection of names, and the small form of the same words.
    let other_source = changed(argus(1), json!({ "source": { "pk": 3, "name": "nav.example.org" } }));
    let mut all = BTreeSet::from([id]);
    for other in [other_source, argus(2), small("7"), small("8"), changed(small("7"), json!({ "source": "nagios" }))] {
        let (created, id) = monitor.post(&other).await?.ticket()?;
        assert!(created && all.insert(id), "{other}");
    }
    let last = rig.tickets().into_iter().find(|ticket| ticket.subject == "Disk full").context("the small form's")?;
    assert_told(
        &rig.zendesk.comments(last.id)[0].plain_body,
        &["Disk full", "98 % of /var", "High", "zabbix", "db-1", "https://zabbix.example/7"],
    );
    Ok(())
}

#[tokio::test]
async fn an_incident_becomes_a_ticket_in_autotask() -> Result<()> {
    let autotask = SimulatedAutotask::start(autotask::Options::default()).await?;
    autotask.fill_sample_data()?;
    let text = format!(
        "name = \"{CONNECTION}\"\napi_token = [{{ name = \"m\", secret = \"{TOKEN}\", for = [\"incidents\"] }}]\n{}\n\
         ticket_default_data = '{{\"accountName\": \"harbour logistics\", \"assignedResourceName\": \"anna.lindqvist\", \
         \"assignedResourceRoleName\": \"Technician\"}}'",
        autotask.section()
    );
    let server = Deskbridge::builder().connection_text(&text).start().await?;
    let monitor = Monitor::of(&server)?;
    let before = autotask.records(Entity::Tickets).len();
    let made = monitor.post(&argus(1)).await?;
    let (created, id) = made.ticket()?;
    assert!(created && made.body["ticket_url"].as_str().is_some_and(|url| url.contains(&id)), "{made:?}");
    let record = autotask.record(Entity::Tickets, id.parse()?).context("the ticket")?;
    let text = |name: &str| record.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    assert_eq!(text("title"), "Link down: core-1 xe-0/0/1 <b>&amp;</b> æøå");
    assert_told(&text("description"), &[&ARGUS_FACTS[..], &ARGUS_LINKS].concat());
    assert!(text("externalID").len() <= 50);
    // Far longer than its field: what stands below the description stays.
    let long = changed(argus(2), json!({ "description": "word ".repeat(14_000) }));
    let (_, id) = monitor.post(&long).await?.ticket()?;
    let record = autotask.record(Entity::Tickets, id.parse()?).context("the ticket")?;
    let description = record.get("description").and_then(Value::as_str).unwrap_or_default();
    assert_told(description, &["word word", "…", "High", "core-1", ARGUS_LINKS[0]]);
    assert!(!monitor.post(&argus(1)).await?.ticket()?.0);
    assert_eq!(autotask.records(Entity::Tickets).len(), before + 2);

    monitor.post(&changed(argus(1), json!({ "end_time": "2026-11-21T22:14:00+01:00" }))).await?.ticket()?;
    let number = made.ticket()?.1.parse()?;
    let note = autotask.wait_for_note(number, |_| true).await?;
    assert_told(&format!("{note:?}"), &["ended", "2026-11-21 21:14:00 UTC"]);
    Ok(())
}

#[tokio::test]
async fn an_incident_becomes_a_ticket_in_request_tracker() -> Result<()> {
    if let Some(why) = missing() {
        return skip("an_incident_becomes_a_ticket_in_request_tracker", &why);
    }
    let rt = RealRequestTracker::start().await?;
    let text =
        format!("name = \"{CONNECTION}\"\napi_token = [{{ name = \"m\", secret = \"{TOKEN}\", for = [\"incidents\"] }}]\n{}", rt.section());
    let server = Deskbridge::builder().connection_text(&text).start().await?;
    let monitor = Monitor::of(&server)?;
    let made = monitor.post(&argus(1)).await?;
    let (created, id) = made.ticket()?;
    assert!(
        created && made.body["ticket_url"].as_str().is_some_and(|url| url.ends_with(&format!("/Ticket/Display.html?id={id}"))),
        "{made:?}"
    );
    let text = rt.page_as("avery", &format!("Ticket/History.html?id={id}")).await?;
    let links = rt.page_as("avery", &format!("Ticket/Display.html?id={id}")).await?;
    let page = visible(&format!("{text}{links}"));
    for fact in
        ["&lt;b&gt;&amp;amp;&lt;/b&gt; æøå", "High", "core-1", "https://nav.example.org/event/42", "http://127.0.0.1:8082/incidents/1"]
    {
        ensure!(page.contains(fact), "{fact} is not on the ticket's page: {page}");
    }
    ensure!(!page.contains("<b>&amp;</b> æøå"), "what a device said is markup");
    assert_eq!(monitor.post(&argus(1)).await?.ticket()?, (false, id.clone()));
    assert_eq!(rt.tickets().await?.len(), 1);
    monitor.post(&changed(argus(1), json!({ "end_time": "2026-11-21T22:14:00+01:00" }))).await?.ticket()?;
    until("the end is told", LIMIT, async || Ok(rt.notes(&id).await?.iter().any(|note| note.subject.contains("end-1")))).await
}

// Once

#[tokio::test]
async fn twenty_posts_at_once_make_one_ticket() -> Result<()> {
    for database in Database::obtainable() {
        let mut rig = Rig::prepare(Deskbridge::builder().database(database), Table::new()).await?;
        rig.server.start().await?;
        rig.zendesk.set_latency(Duration::from_millis(300));
        // On PostgreSQL by two servers, half each.
        let servers = {
            let mut servers = Vec::new();
            if database == Database::Postgres {
                let mut second = rig.server.sibling().await?;
                second.start().await?;
                servers.push(second);
            }
            servers
        };
        let monitors: Vec<Monitor> = std::iter::once(&rig.server).chain(&servers).map(Monitor::of).collect::<Result<_>>()?;
        let (incident, others) = (small("7"), small("8"));
        let posts = (0..20).map(|number| monitors[number % monitors.len()].post(&incident));
        let neighbour = monitors[0].post(&others);
        let (answers, neighbour) = futures_util::future::join(try_join_all(posts), neighbour).await;
        let tickets: Vec<(bool, String)> = answers?.iter().map(Answer::ticket).collect::<Result<_>>()?;
        assert_eq!(tickets.iter().filter(|(created, _)| *created).count(), 1, "{tickets:?}");
        assert_eq!(tickets.iter().map(|(_, id)| id).collect::<BTreeSet<_>>().len(), 1, "{tickets:?}");
        assert!(neighbour?.ticket()?.0);
        assert_eq!(rig.tickets().len(), 2, "{database:?}");
    }
    Ok(())
}

#[tokio::test]
async fn after_a_lost_answer_the_same_post_finds_the_ticket() -> Result<()> {
    let faults = [
        Fault::ApplyThenClose,
        Fault::CloseConnection,
        Fault::ApplyThenStatus(502),
        Fault::ApplyThenHang,
        Fault::Hang,
        Fault::ApplyLater(Duration::from_secs(4)),
        Fault::StatusThenApplyLater { code: 504, after: Duration::from_secs(3) },
    ];
    let told = faults.map(|fault| async move {
        let rig = Rig::start(toml! { incident_timeout_seconds = 2 }).await?;
        let what = format!("{fault:?}");
        rig.fail(1, fault);
        let ticket = rig.monitor()?.insist(&small("7")).await.context(what.clone())?;
        rig.nothing_waits().await?;
        assert_eq!(rig.only_ticket().context(what)?.id.to_string(), ticket);
        anyhow::Ok(())
    });
    try_join_all(told).await.map(drop)
}

/// The process dies at this step on the way to the ticket, and is started again.
async fn dies_at(step: &str, database: Database, is_repeated: bool) -> Result<()> {
    let mut rig = Rig::prepare(Deskbridge::builder().database(database), Table::new()).await?;
    rig.server.set_env(FAULT_POINT, step);
    rig.server.start().await?;
    let monitor = rig.monitor()?;
    // It may be answered before the process dies, or never.
    let first = monitor.post(&small("7")).await;
    let status = tokio::time::timeout(LIMIT, rig.server.ended()).await.context("the process lives on")??;
    ensure!(!status.success(), "{status}");
    rig.server.remove_env(FAULT_POINT);
    rig.server.start().await?;
    if is_repeated {
        let ticket = monitor.insist(&small("7")).await?;
        if let Ok(first) = first {
            assert_eq!(first.ticket()?.1, ticket);
        }
    }
    rig.zendesk.wait_until(|zendesk| (!zendesk.tickets().is_empty()).then_some(())).await?;
    rig.nothing_waits().await?;
    rig.only_ticket().map(drop)
}

#[tokio::test]
async fn whatever_step_the_process_dies_at_there_is_one_ticket() -> Result<()> {
    let steps = ["incident_stored", "leased", "planned", "sent", "written", "incident_made", "confirmed", "finished"];
    for database in Database::obtainable() {
        try_join_all(steps.map(async |step| dies_at(step, database, true).await.context(step))).await?;
    }
    try_join_all(["incident_stored", "written"].map(async |step| dies_at(step, Database::Sqlite, false).await.context(step)))
        .await
        .map(drop)
}

// Faults

fn refusal(code: u16, body: &str, retry_after: Option<u64>) -> Fault {
    Fault::Status { code, body: body.to_owned(), retry_after }
}

#[tokio::test]
async fn a_passing_fault_is_told_and_tried_again_by_itself() -> Result<()> {
    // One that passes while the caller waits costs it nothing.
    let rig = Rig::start(toml! { incident_timeout_seconds = 25 }).await?;
    rig.fail(1, refusal(429, "{}", Some(1)));
    assert!(rig.monitor()?.post(&small("1")).await?.ticket()?.0);

    let rig = Rig::start(toml! { incident_timeout_seconds = 3 }).await?;
    let begun = Instant::now();
    rig.fail(1, Fault::Hang);
    let slow = rig.monitor()?.post(&small("2")).await?;
    slow.is(504, &["urn:deskbridge:problem:ticket-under-way", "/api/v1/incidents/"]);
    // Before the attempt itself gives up.
    assert!(begun.elapsed() < Duration::from_secs(12), "{:?}", begun.elapsed());
    assert!(slow.retry_after.is_some());
    Ok(())
}

#[tokio::test]
async fn the_ticket_system_is_not_asked_before_it_wants_to_be() -> Result<()> {
    let rig = Rig::start(Table::new()).await?;
    let monitor = rig.monitor()?;
    rig.zendesk.fail_next(1, creations().containing("Disk full"), refusal(503, "{\"error\": \"busy\"}", Some(15)));
    let begun = Instant::now();
    let busy = monitor.post(&small("1")).await?;
    busy.is(502, &["urn:deskbridge:problem:ticket-not-made"]);
    // Long before it is tried again.
    assert!(busy.retry_after.is_some_and(|seconds| (5..=20).contains(&seconds)), "{busy:?}");
    // Its neighbours are.
    let other = changed(small("2"), json!({ "title": "Fan broken" }));
    assert!(monitor.post(&other).await?.ticket()?.0);
    for _ in 0..3 {
        monitor.post(&small("1")).await?.is(502, &["ticket-not-made"]);
    }
    assert_eq!(rig.tickets().len(), 1);
    let asked = || rig.zendesk.requests().iter().filter(|request| creations().containing("Disk full").hits_recorded(request)).count();
    assert_eq!(asked(), 1, "posts do not make it ask earlier");
    let ticket = rig.zendesk.wait_until(|zendesk| zendesk.tickets().len().checked_sub(2)).await;
    ticket?;
    assert!(begun.elapsed() >= Duration::from_secs(15), "{:?}", begun.elapsed());
    assert!(!monitor.post(&small("1")).await?.ticket()?.0);
    Ok(())
}

#[tokio::test]
async fn a_final_refusal_has_the_systems_words_and_holds_up_nothing_else() -> Result<()> {
    let rig = Rig::start(Table::new()).await?;
    let monitor = rig.monitor()?;
    let words = r#"{"error": "RecordInvalid", "description": "Record validation errors", "details": {"priority": [{"description": "Priority: is not here"}]}}"#;
    rig.zendesk.fail_next(1, creations().containing("Disk full"), refusal(422, words, None));
    let refused = monitor.post(&small("1")).await?;
    refused.is(502, &["urn:deskbridge:problem:ticket-refused", "Priority: is not here"]);
    assert_eq!(refused.retry_after, None);
    assert!(monitor.post(&changed(small("2"), json!({ "title": "Fan broken" }))).await?.ticket()?.0);
    assert_eq!(rig.server.figure("deskbridge_dead_letters", &[CONNECTION]).await?, 1);
    // The dead letter is due again with what is posted now.
    let queued = monitor.queue(&changed(small("1"), json!({ "title": "Disk still full" }))).await?;
    queued.is(202, &[]);
    until("the ticket is made", LIMIT, async || Ok(monitor.status(&queued).await?.body["state"] == "made")).await?;
    let subjects: BTreeSet<String> = rig.tickets().into_iter().map(|ticket| ticket.subject).collect();
    assert_eq!(subjects, BTreeSet::from(["Disk still full".to_owned(), "Fan broken".to_owned()]));
    Ok(())
}

// Queued

#[tokio::test]
async fn a_queued_post_is_answered_at_once_and_tells_how_far_it_is() -> Result<()> {
    let presses = toml! { api_token = [
        { name = "monitoring", secret = TOKEN, for = ["incidents"] },
        { name = "buttons", secret = "buttons-buttons-buttons-buttons", for = ["presses"] },
    ] };
    let rig = Rig::start(presses).await?;
    let monitor = rig.monitor()?;
    rig.zendesk.fail_always(creations(), Fault::Hang);
    let begun = Instant::now();
    let incidents: Vec<Value> = (0..5).map(|number| small(&number.to_string())).collect();
    let queued = try_join_all(incidents.iter().map(|incident| monitor.queue(incident))).await?;
    // Before anybody who waits for the ticket system would be answered.
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    for answer in &queued {
        answer.is(202, &["status_url"]);
        monitor.status(answer).await?.is(200, &["\"waiting\""]);
    }
    let foreign = |token: &str| Monitor { token: token.to_owned(), ..monitor.clone() };
    foreign("wrong-wrong-wrong-wrong-wrong").status(&queued[0]).await?.is(401, &[]);
    foreign("buttons-buttons-buttons-buttons").status(&queued[0]).await?.is(403, &[]);
    let url = queued[0].body["status_url"].as_str().context("a url")?.to_owned();
    let unknown = json!({ "status_url": url.replacen("/incidents/", "/incidents/0", 1) });
    monitor.status(&Answer { body: unknown, ..queued[0].clone() }).await?.is(404, &[]);

    rig.zendesk.clear_faults();
    for answer in &queued {
        until("it is made", LIMIT, async || Ok(monitor.status(answer).await?.body["state"] == "made")).await?;
        let made = monitor.status(answer).await?;
        let id = made.body["ticket_identifier"].as_str().context("an identifier")?;
        assert_eq!(made.body["ticket_url"], json!(format!("{}/agent/tickets/{id}", rig.zendesk.url())));
    }
    assert_eq!(rig.tickets().len(), 5);
    let again = monitor.queue(&incidents[0]).await?;
    assert_eq!((again.status, again.ticket()?.0), (StatusCode::OK, false));

    rig.fail(1, refusal(422, r#"{"error": "RecordInvalid", "description": "Subject: is rude"}"#, None));
    let dead = monitor.queue(&small("dead")).await?;
    until("it is dead", LIMIT, async || Ok(monitor.status(&dead).await?.body["state"] == "dead")).await?;
    monitor.status(&dead).await?.is(200, &["Subject: is rude"]);
    monitor.queue(&changed(small("x"), json!({ "title": 5 }))).await?.is(422, &["\"title\""]);
    Ok(())
}

// What is posted

#[tokio::test]
async fn a_post_that_is_none_is_told_which_member_is_wrong() -> Result<()> {
    let rig = Rig::start(Table::new()).await?;
    let monitor = rig.monitor()?;
    for (incident, status, member) in [
        (changed(small("1"), json!({ "id": "" })), 422, "id"),
        (changed(small("1"), json!({ "title": " " })), 422, "title"),
        (changed(small("1"), json!({ "level": 6 })), 422, "level"),
        (changed(small("1"), json!({ "tags": 5 })), 422, "tags"),
        (changed(argus(1), json!({ "pk": null })), 422, "pk"),
        (changed(argus(1), json!({ "description": null })), 422, "description"),
        (changed(argus(1), json!({ "source": {} })), 422, "source.name"),
        (json!([]), 422, "the body"),
    ] {
        let answer = monitor.post(&incident).await?;
        answer.is(status, &["urn:deskbridge:problem:invalid-value"]);
        assert_eq!(answer.body["field"], member, "{incident}");
    }
    monitor.post_with(&[("mode", "later")], &small("1")).await?.is(422, &["mode"]);
    let url = format!("{}{}", rig.server.url(), routes::INCIDENTS);
    let post = || monitor.http.post(&url).query(&[("connection", CONNECTION)]);
    let send = async |request: reqwest::RequestBuilder| anyhow::Ok(answer(request.bearer_auth(TOKEN)).await?.status.as_u16());
    assert_eq!(send(post().header("content-type", "text/plain").body("{}")).await?, 415);
    assert_eq!(send(post().header("content-type", "application/json").body("{")).await?, 400);
    let large = changed(small("1"), json!({ "description": "x".repeat(1024 * 1024) }));
    assert_eq!(send(post().json(&large)).await?, 413);
    assert_eq!(send(monitor.http.get(&url).query(&[("connection", CONNECTION)])).await?, 405);
    assert_eq!(answer(post().json(&small("1"))).await?.status, 401);
    assert!(rig.tickets().is_empty());
    // Just within.
    let most = changed(small("most"), json!({ "description": "x".repeat(1_000_000) }));
    assert_eq!(send(post().json(&most)).await?, 201);
    Ok(())
}

#[tokio::test]
async fn what_devices_say_is_text_and_does_nothing() -> Result<()> {
    let rig = Rig::start(Table::new()).await?;
    let nasty = "<script>alert(1)</script> <img src=x> [a](https://evil.example) @admin {{ticket.requester.email}} /close &lt; \u{202e}abc\nLine two";
    let incident = json!({ "source": nasty, "id": nasty, "title": nasty, "description": nasty, "url": "javascript:alert(1)", "tags": { nasty: nasty } });
    let (_, id) = rig.monitor()?.post(&incident).await?.ticket()?;
    let ticket = rig.only_ticket()?;
    let text = &rig.zendesk.comments(id.parse()?)[0];
    let said = "<script>alert(1)</script> <img src=x> [a](https://evil.example) @admin {{ticket.requester.email}} /close &lt; \u{202e}abc";
    assert_told(&text.plain_body, &[said, "Line two", "javascript:alert(1)"]);
    assert_told(&ticket.subject, &["<script>alert(1)</script>", "{{ticket.requester.email}}"]);
    ensure!(!ticket.subject.contains('\n') && ticket.subject.chars().count() <= 150, "{}", ticket.subject);
    for wrong in ["<script", "<img", "href", "https://evil.example"] {
        ensure!(!text.html_body.contains(wrong), "{wrong}: {}", text.html_body);
    }
    Ok(())
}

// Ends and reopenings

#[tokio::test]
async fn an_end_and_a_reopening_are_told_once_however_often_they_are_posted() -> Result<()> {
    for database in Database::obtainable() {
        let mut rig = Rig::prepare(Deskbridge::builder().database(database), Table::new()).await?;
        rig.server.start().await?;
        let monitor = rig.monitor()?;
        let (_, id) = monitor.post(&small("7")).await?.ticket()?;
        let end = changed(small("7"), json!({ "open": false, "end_time": "2026-11-21T22:14:00+01:00" }));
        for ended in join_all((0..5).map(|_| monitor.post(&end))).await {
            assert_eq!(ended?.ticket()?, (false, id.clone()));
        }
        let notes = rig.notes_are(&id, 1).await?;
        assert_told(&notes[0].plain_body, &["The incident has ended: 2026-11-21 21:14:00 UTC", "zabbix", "incident 7"]);
        assert!(!notes[0].public);
        monitor.post(&end).await?.ticket()?;
        for _ in 0..2 {
            assert_eq!(monitor.post(&small("7")).await?.ticket()?, (false, id.clone()));
        }
        let notes = rig.notes_are(&id, 2).await?;
        assert_told(&notes[1].plain_body, &["open again"]);
        monitor.queue(&end).await?.ticket()?;
        rig.notes_are(&id, 3).await?;
        assert_eq!(rig.tickets().len(), 1);
        // The end of what nobody told of.
        let unknown = monitor.post(&changed(small("none"), json!({ "open": false }))).await?;
        assert_eq!((unknown.status, &unknown.body["ticket_url"]), (StatusCode::OK, &Value::Null));
        assert_eq!(rig.tickets().len(), 1);
    }
    Ok(())
}

#[tokio::test]
async fn an_incident_that_ends_before_its_ticket_gets_none() -> Result<()> {
    let rig = Rig::start(toml! { incident_timeout_seconds = 2 }).await?;
    let monitor = rig.monitor()?;
    let end = |id: &str| changed(small(id), json!({ "open": false }));
    // Refused for now, and over before it is tried again.
    rig.fail(1, refusal(503, "{}", Some(10)));
    monitor.post(&small("1")).await?.is(502, &[]);
    let queued = monitor.queue(&small("1")).await?;
    let ended = monitor.post(&end("1")).await?;
    assert_eq!((ended.status, &ended.body["ticket_url"]), (StatusCode::OK, &Value::Null));
    rig.nothing_waits().await?;
    monitor.status(&queued).await?.is(200, &["\"dead\"", "ended before"]);
    assert!(rig.tickets().is_empty());
    // Open again, it needs one.
    assert!(monitor.insist(&small("1")).await.is_ok());
    assert_eq!(rig.tickets().len(), 1);

    // Nobody knows whether it stands: then it is looked for, and told of the end if it does.
    for (fault, tickets) in [(Fault::ApplyThenHang, 2), (Fault::CloseConnection, 2)] {
        let number = format!("{fault:?}");
        rig.fail(1, fault);
        let slow = monitor.post(&small(&number)).await?;
        ensure!(slow.status.is_server_error() || slow.status == 502, "{slow:?}");
        monitor.post(&end(&number)).await?;
        rig.nothing_waits().await?;
        assert_eq!(rig.tickets().len(), tickets, "{number}");
    }
    let told: Vec<usize> = rig.tickets().iter().map(|ticket| rig.notes(&ticket.id.to_string()).len()).collect();
    assert_eq!(told, [0, 1], "the one that stood is told");
    Ok(())
}

#[tokio::test]
async fn the_process_may_die_while_a_ticket_is_told() -> Result<()> {
    let told = ["leased", "planned", "sent", "written", "incident_told", "confirmed"].map(|step| async move {
        let mut rig = Rig::prepare(Deskbridge::builder(), Table::new()).await?;
        rig.server.start().await?;
        let (_, id) = rig.monitor()?.post(&small("7")).await?.ticket()?;
        rig.nothing_waits().await?;
        rig.server.kill().await?;
        rig.server.set_env(FAULT_POINT, step);
        rig.server.start().await?;
        rig.monitor()?.post(&changed(small("7"), json!({ "open": false }))).await?.ticket()?;
        let status = tokio::time::timeout(LIMIT, rig.server.ended()).await.context("the process lives on")??;
        ensure!(!status.success(), "{step}: {status}");
        rig.server.remove_env(FAULT_POINT);
        rig.server.start().await?;
        rig.notes_are(&id, 1).await.context(step).map(drop)
    });
    try_join_all(told).await.map(drop)
}

#[tokio::test]
async fn the_settings_say_what_an_end_does() -> Result<()> {
    let mut rig = Rig::prepare(Deskbridge::builder(), toml! { on_incident_end = "nothing" }).await?;
    rig.server.start().await?;
    let monitor = rig.monitor()?;
    let (_, id) = monitor.post(&small("7")).await?.ticket()?;
    monitor.post(&changed(small("7"), json!({ "open": false }))).await?.ticket()?;
    rig.nothing_waits().await?;
    assert!(rig.notes(&id).is_empty());

    let rig = Rig::prepare(Deskbridge::builder(), toml! { on_incident_end = "close" }).await?;
    let checked = String::from_utf8(rig.server.command(&["check"]).await?.stdout)?;
    for part in ["note Incidents & more: appliance: none", "incidents: on_incident_end = \"close\" closes nothing"] {
        ensure!(checked.contains(part), "{checked}");
    }
    ensure!(!checked.contains("FAIL"), "{checked}");
    for (key, wrong) in [("incident_timeout_seconds", "0"), ("incident_timeout_seconds", "61"), ("on_incident_end", "\"explode\"")] {
        let settings = std::fs::read_to_string(rig.server.settings_path())?;
        let path = rig.server.directory().join("wrong.toml");
        let line = settings.lines().find(|line| line.starts_with(key)).context("the key")?;
        std::fs::write(&path, settings.replace(line, &format!("{key} = {wrong}")))?;
        let path = path.to_str().context("a path")?;
        let said = deskbridge_tests::server::deskbridge_cli(&["config", "apply", "--config", path], &[]).await?;
        ensure!(!said.status.success() && String::from_utf8_lossy(&said.stderr).contains(key), "{said:?}");
    }
    Ok(())
}
