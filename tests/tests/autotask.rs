//! Autotask with the real server between a simulated appliance and a simulated tenant: what stands on the ticket, what is recorded
//! as time, which tickets are made, and what an administrator reads when it cannot be.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use deskbridge_shared::routes;
use deskbridge_tests::appliance::{
    self, Customer, EventKind, NewSession, Party, Recipient, Representative, SessionScript, SimulatedAppliance, Step,
};
use deskbridge_tests::autotask::{self, ApiUser, Choice, Entity, ErrorShape, Fault, Matching, REST, Right, SampleData, SimulatedAutotask};
use deskbridge_tests::outcomes::{CUSTOMER_SURVEY, Outcome, REPRESENTATIVE_SURVEY, SESSION_END};
use deskbridge_tests::scene::{self, EVENT_TOKEN};
use deskbridge_tests::server::{Builder, Database, Deskbridge, tell};
use futures_util::future::try_join_all;
use rand::Rng as _;
use regex::Regex;
use reqwest::Method;
use serde_json::{Value, json};
use toml::{Table, toml};

const CONNECTION: &str = "Simulated Autotask";
const SOMEONE_JOINS: &str = "someone_joins";
/// Longest wait until everything stands. A dead server's lease lasts 15 s.
const DRAIN_LIMIT: Duration = Duration::from_secs(90);
/// Says where the process shall end (`server/src/fault_point.rs`).
const FAULT_POINT: &str = "DESKBRIDGE_FAULT_POINT";

/// An appliance, a tenant and a server between them.
struct Desk {
    appliance: SimulatedAppliance,
    autotask: SimulatedAutotask,
    data: SampleData,
    server: Deskbridge,
}

/// How the parts shall be.
#[derive(Default)]
struct Plan {
    autotask: autotask::Options,
    /// Keys of `[connection.autotask]`.
    settings: Table,
    /// Keys of `[connection.panel]`.
    panel: Table,
    /// Keys of `[connection.appliance]`.
    appliance: Table,
    /// Keys of `[connection.reports]`.
    reports: Table,
    server: Builder,
    /// The tenant refuses time entries that span midnight.
    no_time_over_midnight: bool,
}

impl Desk {
    async fn start(plan: Plan) -> Result<Self> {
        let mut desk = Self::prepare(plan).await?;
        desk.server.start().await?;
        Ok(desk)
    }

    async fn prepare(plan: Plan) -> Result<Self> {
        let appliance = SimulatedAppliance::start(appliance::Options { rate_limits: None, ..appliance::Options::default() }).await?;
        let mut options = plan.autotask;
        // Else a session around midnight would be another story.
        options.settings.time_over_midnight |= !plan.no_time_over_midnight;
        let autotask = SimulatedAutotask::start(options).await?;
        let data = autotask.fill_sample_data()?;
        // The representative of every script is somebody here.
        autotask.alter_record(Entity::Resources, data.technician, json!({ "email": "jdoe@msp.example" }))?;
        let server = plan
            .server
            .connection(connection(
                &appliance,
                &autotask,
                [("autotask", plan.settings), ("panel", plan.panel), ("appliance", plan.appliance), ("reports", plan.reports)],
            ))
            .prepare()
            .await?;
        let desk = Self { appliance, autotask, data, server };
        desk.appliance.set_recipient(desk.recipient(&[EventKind::End, EventKind::CustomerSurvey, EventKind::RepresentativeSurvey]));
        Ok(desk)
    }

    /// The server as the appliance's recipient of these events.
    fn recipient(&self, events: &[EventKind]) -> Recipient {
        let url = format!("{}{}?appliance=default&token={EVENT_TOKEN}", self.server.url(), routes::APPLIANCE_EVENTS);
        Recipient { events: events.to_vec(), ..Recipient::new(url) }
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

    /// Plays a session of the sample ticket that ends; answers its lsid and what became of the end.
    async fn play(&self, script: SessionScript) -> Result<(String, Outcome)> {
        let lsid = self.appliance.play(script)?;
        let outcome = self.outcome(&lsid, SESSION_END).await?;
        Ok((lsid, outcome))
    }

    async fn play_short(&self) -> Result<(String, Outcome)> {
        self.play(SessionScript::short(self.data.ticket.to_string())).await
    }

    /// How often this was asked, with the answer 200 or not.
    fn count(&self, method: &Method, path: &str) -> usize {
        self.autotask.count(method, &format!("{REST}{path}"))
    }

    async fn check(&self) -> Result<(bool, String)> {
        let output = self.server.command(&["check"]).await?;
        Ok((output.status.success(), String::from_utf8(output.stdout)?))
    }
}

fn connection(appliance: &SimulatedAppliance, autotask: &SimulatedAutotask, changes: [(&str, Table); 4]) -> Table {
    let sections = format!("[panel]\n{}\nsettle_seconds = 5", autotask.section());
    let mut connection = scene::connection(appliance, CONNECTION, "default", &sections);
    for (section, changes) in changes {
        let section = connection.entry(section).or_insert_with(|| Table::new().into());
        if let toml::Value::Table(table) = section {
            table.extend(changes);
        }
    }
    connection
}

fn with(settings: Table) -> Plan {
    Plan { settings, ..Plan::default() }
}

/// Time entries on, as the guide's data has it.
fn with_time() -> Table {
    let data = json!({"defaultDomain": "msp.example", "roleName": "Technician", "summaryNotes": "Remote support session", "taskId": null, "allocationCodeID": null});
    Table::from_iter([("update_time_entry".to_owned(), true.into()), ("time_entry_default_data".to_owned(), data.to_string().into())])
}

fn changed(mut table: Table, changes: Table) -> Table {
    table.extend(changes);
    table
}

fn writes_of(path: &str) -> Matching {
    Matching::new(Method::POST, format!("{REST}{path}"))
}

fn refusal(status: u16, text: &str) -> Fault {
    Fault::Status { code: status, body: json!({ "errors": [text] }).to_string(), retry_after: None }
}

#[track_caller]
fn assert_contains(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
}

// Notes

/// Customers read report and file; session notes and links are for agents, and so is what representatives answer in their survey.
#[tokio::test]
async fn beside_a_public_note_stands_an_internal_one_with_the_rest() -> Result<()> {
    let settings = changed(with_time(), toml! { publish_notes_as_public = true });
    let desk = Desk::start(Plan { reports: toml! { internal_note_beside_public = true }, ..with(settings) }).await?;
    let ticket = desk.data.ticket;
    let (lsid, outcome) = desk.play(SessionScript::example(ticket.to_string())).await?;
    outcome.done()?;
    for kind in [CUSTOMER_SURVEY, REPRESENTATIVE_SURVEY] {
        desk.outcome(&lsid, kind).await?.done()?;
    }
    let only = |kind: &str| {
        let notes: Vec<_> =
            desk.autotask.notes(ticket).into_iter().filter(|note| note.title.contains(&format!("[deskbridge/{lsid}/{kind}"))).collect();
        let [note] = notes.as_slice() else { anyhow::bail!("{kind}: {notes:?}") };
        Ok(note.clone())
    };
    let (report, internal) = (only("report/0")?, only("report-internal/0")?);
    assert_eq!((report.publish, internal.publish), (1, 2));
    let session_note = "Rebuilt the mail profile.";
    ensure!(!report.description.contains(session_note) && report.description.contains("Danke!"), "{}", report.description);
    ensure!(internal.description.contains(session_note) && !internal.description.contains("Danke!"), "{}", internal.description);
    assert_eq!((only("customer-survey-")?.publish, only("representative-survey-")?.publish), (1, 2));
    assert_eq!(desk.autotask.time_entries(ticket).len(), 1);

    // Where the report is too long, its file is as public as the note that speaks of it.
    let (lsid, outcome) = desk.play(SessionScript::at_the_limits(ticket.to_string())).await?;
    outcome.done()?;
    let files: Vec<_> = desk.autotask.attachments(ticket).into_iter().filter(|file| file.title.contains(&lsid)).collect();
    for file in &files {
        let is_internal = file.title.contains("report-internal-file");
        assert_eq!(file.publish, if is_internal { 2 } else { 1 }, "{}", file.title);
    }
    ensure!(files.iter().any(|file| file.title.contains("/report-file/0")), "{} files", files.len());
    Ok(())
}

#[tokio::test]
async fn a_session_becomes_one_internal_note_and_each_survey_another() -> Result<()> {
    let desk = Desk::start(with(toml! { note_type = "remote support" })).await?;
    let ticket = desk.data.ticket;
    // By its number, as a representative would type it.
    let lsid = desk.appliance.play(SessionScript::example(desk.data.ticket_number.clone()))?;
    for kind in [SESSION_END, CUSTOMER_SURVEY, REPRESENTATIVE_SURVEY] {
        desk.outcome(&lsid, kind).await?.done()?;
    }
    let notes = desk.autotask.notes(ticket);
    assert_eq!(notes.len(), 3, "{notes:?}");
    for note in &notes {
        assert_eq!((note.publish, note.note_type), (2, 29_683_411), "internal, and of the type of that label");
        assert!(note.title.contains(&format!("[deskbridge/{lsid}/")), "{}", note.title);
    }
    let report = notes.iter().find(|note| note.title.contains("/report/0")).context("the report")?;
    assert_eq!(report.title, format!("Remote support session {lsid} [deskbridge/{lsid}/report/0]"));
    assert_contains(
        &report.description,
        &[
            "Guten Tag, ich sehe mir das an <sofort> & melde mich.",
            "Läuft wieder, vielen Dank 👍",
            "Rebuilt the mail profile.",
            "Müller & Söhne GmbH",
            "LAPTOP-0042",
        ],
    );
    assert!(!report.description.contains("<p>"), "Autotask shows markup literally");
    assert!(desk.autotask.time_entries(ticket).is_empty() && desk.autotask.attachments(ticket).is_empty());
    assert_eq!(desk.count(&Method::GET, "Tickets/query"), 0, "queries have no place in URLs");
    Ok(())
}

#[tokio::test]
async fn a_session_at_the_limits_fits_and_goes_along_whole_as_a_file() -> Result<()> {
    let desk = Desk::start(with(toml! { publish_notes_as_public = true })).await?;
    let (lsid, outcome) = desk.play(SessionScript::at_the_limits(desk.data.ticket.to_string())).await?;
    outcome.done()?;
    let notes = desk.autotask.notes(desk.data.ticket);
    let [note] = notes.as_slice() else { anyhow::bail!("{} notes", notes.len()) };
    let length = note.description.encode_utf16().count();
    assert!((10_000..=32_000).contains(&length), "{length}");
    assert_eq!(note.publish, 1, "as the settings say");
    let files = desk.autotask.attachments(desk.data.ticket);
    let [file] = files.as_slice() else { anyhow::bail!("{} files", files.len()) };
    assert_eq!((file.full_path.as_str(), file.publish), (format!("session-{lsid}.txt").as_str(), 1));
    assert!(note.description.contains(&file.full_path) && file.title.contains(&format!("[deskbridge/{lsid}/report-file/0]")));
    let whole = String::from_utf8(file.content.to_vec())?;
    assert!(whole.len() > 150_000 && whole.contains("#299"), "{}", whole.len());
    Ok(())
}

/// The answer to a write is lost, each in another way: nothing is written twice.
#[tokio::test]
async fn a_write_whose_answer_was_lost_is_found_and_not_written_again() -> Result<()> {
    let desk = Desk::start(with(with_time())).await?;
    let ticket = desk.data.ticket;
    let (notes, files) = (format!("Tickets/{ticket}/Notes"), format!("Tickets/{ticket}/Attachments"));
    desk.autotask.fail_next(1, writes_of(&files), Fault::ApplyThenClose);
    desk.autotask.fail_next(1, writes_of(&notes), Fault::ApplyThenStatus(502));
    desk.autotask.fail_next(1, writes_of("TimeEntries"), Fault::ApplyThenClose);
    let (_, outcome) = desk.play(SessionScript::at_the_limits(ticket.to_string())).await?;
    outcome.done()?;
    let standing = (desk.autotask.notes(ticket).len(), desk.autotask.attachments(ticket).len(), desk.autotask.time_entries(ticket).len());
    assert_eq!(standing, (1, 1, 1));
    assert_eq!((desk.count(&Method::POST, &files), desk.count(&Method::POST, &notes)), (1, 1));
    assert_eq!(written(&desk.autotask, "TimeEntries"), 1);
    Ok(())
}

/// Posts to exactly this path.
fn written(autotask: &SimulatedAutotask, path: &str) -> usize {
    let path = format!("{REST}{path}");
    autotask.requests().iter().filter(|request| request.method == Method::POST && request.path == path).count()
}

/// The process dies at this step while a session is brought to its ticket, and is started again.
async fn dies_at(step: &str) -> Result<()> {
    let mut desk = Desk::prepare(with(with_time())).await?;
    let ticket = desk.data.ticket;
    desk.server.set_env(FAULT_POINT, step);
    desk.server.start().await?;
    let lsid = desk.appliance.play(SessionScript::at_the_limits(ticket.to_string()))?;
    let status = tokio::time::timeout(Duration::from_mins(1), desk.server.ended()).await.context("the process lives on")??;
    ensure!(!status.success(), "{status}");
    desk.server.remove_env(FAULT_POINT);
    desk.server.start().await?;
    desk.outcome(&lsid, SESSION_END).await?.done()?;
    let standing = (desk.autotask.notes(ticket).len(), desk.autotask.attachments(ticket).len(), desk.autotask.time_entries(ticket).len());
    ensure!(standing == (1, 1, 1), "{standing:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_process_dies_at_every_step_and_everything_stands_once() -> Result<()> {
    // A file, a note and a time entry each pass the steps of a write: the second and third time are the note's and the time's.
    let steps = ["planned:2", "sent", "sent:2", "sent:3", "written", "written:2", "written:3", "confirmed"];
    try_join_all(steps.map(async |step| dies_at(step).await.context(step))).await.map(drop)
}

// Killed at random moments

const SESSIONS: usize = 60;
const KILLS: usize = 15;

/// Sessions end all the while servers are killed and started again: one on SQLite, two in turn on PostgreSQL. Every third session begins
/// without a ticket, and every session is recorded as time.
async fn killed_during_a_burst(database: Database) -> Result<()> {
    let mut random = rand::rng();
    let options = autotask::Options { latency: Duration::from_millis(40), ..autotask::Options::default() };
    let plan = Plan { autotask: options, server: Deskbridge::builder().database(database), ..with(changed(with_tickets(), with_time())) };
    let Desk { appliance, autotask, data, server } = Desk::start(plan).await?;
    let mut servers = server.with_sibling(database).await?;
    let told = |server: &Deskbridge| {
        let url = format!("{}{}?appliance=default&token={EVENT_TOKEN}", server.url(), routes::APPLIANCE_EVENTS);
        Recipient { events: vec![EventKind::MemberAdded, EventKind::End], ..Recipient::new(url) }
    };
    appliance.set_recipient(told(&servers[0]));
    let mut played = Vec::new();
    for kill in 0..KILLS {
        for number in 0..SESSIONS / KILLS {
            let asks = number % 3 == 0;
            let key = if asks { json!({ "title": "From the burst" }).to_string() } else { data.ticket.to_string() };
            played.push((appliance.play(SessionScript::short(key))?, asks));
        }
        tokio::time::sleep(Duration::from_millis(random.random_range(0..700))).await;
        let (victim, survivor) = (kill % servers.len(), (kill + 1) % servers.len());
        appliance.set_recipient(told(&servers[survivor]));
        servers[victim].restart().await?;
    }
    appliance.outbound_idle().await?;
    let asking = played.iter().filter(|(_, asks)| *asks).count();
    let tickets = || {
        let all = autotask.records(Entity::Tickets).into_iter();
        all.filter(|ticket| ticket.get("title") == Some(&json!("From the burst")))
            .filter_map(|ticket| ticket.get("id")?.as_i64())
            .collect::<Vec<_>>()
    };
    let on_all = |count: &dyn Fn(i64) -> usize| tickets().into_iter().chain([data.ticket]).map(count).sum::<usize>();
    let standing =
        || (on_all(&|ticket| autotask.notes(ticket).len()), on_all(&|ticket| autotask.time_entries(ticket).len()), tickets().len());
    let begun = tokio::time::Instant::now();
    while standing().1 < SESSIONS && begun.elapsed() < DRAIN_LIMIT {
        // The tenant tells nobody; and what is doubled would come after the last.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let (notes, entries, made) = standing();
    tell(&format!(
        "{database:?}, {} server(s), Autotask: {KILLS} kills, {SESSIONS} sessions, {notes} notes, {entries} time entries, {made} new tickets of {asking}",
        servers.len()
    ));
    ensure!((notes, entries, made) == (SESSIONS, SESSIONS, asking), "{notes} notes, {entries} entries, {made} tickets");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_random_moments_nothing_is_lost_or_doubled() -> Result<()> {
    let told = Database::obtainable()
        .into_iter()
        .map(async |database| killed_during_a_burst(database).await.with_context(|| format!("{database:?}")));
    try_join_all(told).await.map(drop)
}

// Time

#[tokio::test]
async fn a_sessions_time_is_recorded_once_for_its_representative() -> Result<()> {
    let settings = changed(with_time(), toml! { default_domain = "msp.example" });
    let desk = Desk::start(with(settings)).await?;
    let (lsid, outcome) = desk.play_short().await?;
    assert_contains(&outcome.done()?, &["the report was written", "the time entry was written"]);
    let entries = desk.autotask.time_entries(desk.data.ticket);
    let [entry] = entries.as_slice() else { anyhow::bail!("{entries:?}") };
    let session = desk.appliance.session(&lsid).context("the session")?;
    assert_eq!((entry.resource, entry.role), (desk.data.technician, Some(desk.data.role)));
    assert_eq!(entry.start.map(time::OffsetDateTime::unix_timestamp), Some(session.started_at));
    assert_eq!(entry.end.map(time::OffsetDateTime::unix_timestamp), session.ended_at);
    assert_eq!((entry.summary.as_str(), entry.billing_code), ("Remote support session", None));
    assert!(entry.internal_notes.contains(&format!("[deskbridge/{lsid}/time/0]")), "{}", entry.internal_notes);
    Ok(())
}

/// A session of that length, ending now.
fn lasting(desk: &Desk, seconds: u32) -> SessionScript {
    SessionScript::new(desk.data.ticket.to_string())
        .customer(Customer::named("John Smith"))
        .representative(Representative::example())
        .after(seconds, Step::Ends)
}

#[tokio::test]
async fn time_over_midnight_is_split_where_the_tenant_wants_it_so() -> Result<()> {
    for allowed in [false, true] {
        let mut desk = Desk::start(Plan { no_time_over_midnight: !allowed, ..with(with_time()) }).await?;
        // One o'clock at night, UTC.
        let clock = desk.appliance.clock();
        clock.set_offset_seconds(3_600 - clock.now().rem_euclid(86_400));
        let script = lasting(&desk, 2 * 3_600);
        let lsid = desk.appliance.play(script)?;
        desk.outcome(&lsid, SESSION_END).await?.done()?;
        let entries = desk.autotask.time_entries(desk.data.ticket);
        assert_eq!(entries.len(), if allowed { 1 } else { 2 }, "{entries:?}");
        if !allowed {
            assert_contains(&entries[0].internal_notes, &["part 1 of 2"]);
            assert_contains(&entries[1].internal_notes, &["part 2 of 2"]);
            assert_eq!(entries[1].start.map(time::OffsetDateTime::time), Some(time::Time::MIDNIGHT));
        }
        desk.server.terminate().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_session_of_more_than_a_day_has_a_part_for_each() -> Result<()> {
    let desk = Desk::start(with(with_time())).await?;
    let lsid = desk.appliance.play(lasting(&desk, 30 * 3_600))?;
    desk.outcome(&lsid, SESSION_END).await?.done()?;
    let entries = desk.autotask.time_entries(desk.data.ticket);
    assert!((2..=3).contains(&entries.len()), "{entries:?}");
    let hours: f64 = entries.iter().map(|entry| entry.hours_worked).sum();
    assert!((hours - 30.0).abs() < 0.05, "{hours}");
    Ok(())
}

#[tokio::test]
async fn what_is_missing_for_a_time_entry_is_a_dead_letter_that_says_so() -> Result<()> {
    type Spoil = fn(&Desk) -> Result<()>;
    let stories: [(&str, Spoil, &[&str]); 6] = [
        (
            "nobody of that address",
            |desk| desk.autotask.alter_record(Entity::Resources, desk.data.technician, json!({ "email": "other@msp.example" })),
            &["jdoe@msp.example", "default_domain"],
        ),
        (
            "not active",
            |desk| desk.autotask.alter_record(Entity::Resources, desk.data.technician, json!({ "isActive": false })),
            &["jdoe@msp.example", "not active"],
        ),
        (
            "no such role",
            |desk| desk.autotask.alter_record(Entity::Roles, desk.data.role, json!({ "name": "Engineer" })),
            &["no active role “Technician”"],
        ),
        (
            "a role nobody gave him",
            |desk| {
                for pair in desk.autotask.records(Entity::ResourceServiceDeskRoles) {
                    let id = pair["id"].as_i64().context("an id")?;
                    desk.autotask.alter_record(Entity::ResourceServiceDeskRoles, id, json!({ "isActive": false }))?;
                }
                Ok(())
            },
            &["Anna Lindqvist", "“Technician”", "give it the role"],
        ),
        (
            "no right to look people up",
            |desk| deny(desk, &[(Entity::Resources, Right::Query)]),
            &["Resources", "give its security level that right"],
        ),
        (
            "no right to record time",
            |desk| deny(desk, &[(Entity::TimeEntries, Right::Create)]),
            &["TimeEntries", "give its security level that right"],
        ),
    ];
    for (story, spoil, expected) in stories {
        let desk = Desk::start(with(with_time())).await?;
        spoil(&desk)?;
        let (_, outcome) = desk.play_short().await?;
        assert_contains(&outcome.dead().context(story)?, expected);
        assert_eq!(desk.autotask.notes(desk.data.ticket).len(), 1, "{story}: the report stands all the same");
        assert_eq!(written(&desk.autotask, "TimeEntries"), usize::from(story == "no right to record time"), "{story}: not tried again");
    }
    Ok(())
}

fn deny(desk: &Desk, denied: &[(Entity, Right)]) -> Result<()> {
    let name = desk.autotask.options().api_user.user_name;
    desk.autotask.alter_api_user(&name, |user| user.denied.extend(denied)).context("the API user")
}

#[tokio::test]
async fn a_work_type_the_api_user_may_not_set_is_left_to_the_ticket() -> Result<()> {
    let user = ApiUser { may_set_work_type: false, ..ApiUser::default() };
    let mut desk =
        Desk::prepare(Plan { autotask: autotask::Options { api_user: user, ..autotask::Options::default() }, ..Plan::default() }).await?;
    let data = format!(
        r#"{{"defaultDomain": "msp.example", "roleName": "Project Engineer", "summaryNotes": "Remote", "allocationCodeID": {}}}"#,
        desk.data.work_type
    );
    let settings = std::fs::read_to_string(desk.server.settings_path())?;
    let section = "[connection.autotask]\n";
    ensure!(settings.contains(section), "{settings}");
    let lines = format!("{section}update_time_entry = true\ntime_entry_default_data = '{data}'\n");
    std::fs::write(desk.server.settings_path(), settings.replace(section, &lines))?;
    desk.server.start().await?;
    desk.play_short().await?.1.done()?;
    let entries = desk.autotask.time_entries(desk.data.ticket);
    let [entry] = entries.as_slice() else { anyhow::bail!("{entries:?}") };
    // He does not hold the wanted role either: his default one is taken.
    assert_eq!((entry.billing_code, entry.role), (None, Some(desk.data.role)));
    Ok(())
}

// New tickets

/// Automatic tickets on, with the guide's names.
fn with_tickets() -> Table {
    let data = json!({"accountName": "harbour logistics", "userAgentID": null, "allocationCodeID": null, "assignedResourceName": "anna.lindqvist", "assignedResourceRoleName": "Technician", "priority": "High"});
    Table::from_iter([
        ("enable_automatic_ticket_creation".to_owned(), true.into()),
        ("ticket_default_data".to_owned(), data.to_string().into()),
    ])
}

fn begin(desk: &Desk, key: &Value) -> Result<String> {
    let lsid = desk.appliance.begin_session(NewSession::with_external_key(key.to_string()));
    desk.appliance.customer_joins(&lsid, Customer::named("John Smith"))?;
    Ok(lsid)
}

/// The tickets that carry the session's marker.
fn tickets_of(desk: &Desk, lsid: &str) -> Vec<autotask::Record> {
    let marker = format!("deskbridge/{lsid}");
    desk.autotask.records(Entity::Tickets).into_iter().filter(|ticket| ticket.get("externalID") == Some(&json!(marker))).collect()
}

async fn desk_with_tickets(settings: Table) -> Result<Desk> {
    let desk = Desk::start(with(changed(changed(with_tickets(), with_time()), settings))).await?;
    desk.appliance.set_recipient(desk.recipient(&[EventKind::MemberAdded, EventKind::End]));
    Ok(desk)
}

#[tokio::test]
async fn a_representative_who_joins_makes_one_ticket_and_the_report_goes_there() -> Result<()> {
    let desk = desk_with_tickets(Table::new()).await?;
    let key =
        json!({ "title": "Printer on fire", "priority": "Critical", "email": "TOM@customer.example", "name": "Tom", "queueID": null });
    let lsid = begin(&desk, &key)?;
    desk.appliance.outbound_idle().await?;
    assert!(tickets_of(&desk, &lsid).is_empty(), "no representative, no ticket");
    // Two at once, and each event twice.
    desk.appliance.set_deliver_twice(true);
    desk.appliance.representative_joins(&lsid, Representative::example())?;
    desk.appliance.representative_joins(&lsid, Representative { id: 152, username: "kmori".into(), ..Representative::example() })?;
    let written_back = desk.appliance.wait_for_session(|session| session.lsid == lsid && !session.external_key.starts_with('{')).await?;
    desk.appliance.chat(&lsid, Party::REPRESENTATIVE, "Hello")?;
    desk.appliance.end_session(&lsid)?;
    desk.outcome(&lsid, SESSION_END).await?.done()?;
    let tickets = tickets_of(&desk, &lsid);
    let [ticket] = tickets.as_slice() else { anyhow::bail!("{} tickets", tickets.len()) };
    let id = ticket.get("id").and_then(Value::as_i64).context("an id")?;
    assert_eq!(written_back.external_key, id.to_string());
    for (field, expected) in [
        ("title", json!("Printer on fire")),
        ("priority", json!(4)),
        ("status", json!(1)),
        ("companyID", json!(desk.data.company)),
        ("contactID", json!(desk.data.contact)),
        ("assignedResourceID", json!(desk.data.technician)),
        ("assignedResourceRoleID", json!(desk.data.role)),
    ] {
        assert_eq!(ticket.get(field), Some(&expected), "{field}");
    }
    assert!(ticket.get("dueDateTime").is_some_and(Value::is_string), "the tenant wants one");
    assert_eq!((desk.autotask.notes(id).len(), desk.autotask.time_entries(id).len()), (1, 1));
    Ok(())
}

#[tokio::test]
async fn a_lost_answer_or_a_dead_process_makes_no_second_ticket() -> Result<()> {
    let desk = desk_with_tickets(Table::new()).await?;
    // Else the first request would be the one without a due date, which is refused.
    desk.autotask.alter(|options| options.settings.supplies_due_date = true);
    desk.autotask.fail_next(1, Matching::new(Method::POST, format!("{REST}Tickets")), Fault::ApplyThenClose);
    let lsid = begin(&desk, &json!({ "subject": "One", "name": "Nobody Known", "email": "nobody@customer.example" }))?;
    desk.appliance.representative_joins(&lsid, Representative::example())?;
    desk.appliance.wait_for_session(|session| session.lsid == lsid && !session.external_key.starts_with('{')).await?;
    let tickets = tickets_of(&desk, &lsid);
    assert_eq!(tickets.len(), 1);
    let description = tickets[0].get("description").and_then(Value::as_str).unwrap_or_default();
    assert_contains(description, &["Customer: Nobody Known <nobody@customer.example>", "John Smith"]);

    let dies_at = async |step: &'static str| {
        let mut desk = Desk::prepare(with(with_tickets())).await?;
        desk.appliance.set_recipient(desk.recipient(&[EventKind::MemberAdded]));
        desk.server.set_env(FAULT_POINT, step);
        let lsid = begin(&desk, &json!({ "title": "Two" }))?;
        desk.appliance.representative_joins(&lsid, Representative::example())?;
        desk.server.start().await?;
        let status = tokio::time::timeout(Duration::from_mins(1), desk.server.ended()).await.context("the process lives on")??;
        ensure!(!status.success(), "{step}: {status}");
        desk.server.remove_env(FAULT_POINT);
        desk.server.start().await?;
        desk.server.wait_for_log(&format!(r#"lsid="{lsid}"\}}.*the session has ticket"#)).await?;
        let session = desk.appliance.session(&lsid).context("the session")?;
        let tickets = tickets_of(&desk, &lsid);
        ensure!(tickets.len() == 1 && tickets[0].get("id").map(ToString::to_string) == Some(session.external_key), "{step}: {tickets:?}");
        Ok(())
    };
    try_join_all(["sent", "written", "finished:2"].map(dies_at)).await.map(drop)
}

#[tokio::test]
async fn what_a_new_ticket_cannot_have_is_a_dead_letter_that_says_so() -> Result<()> {
    let named = toml! { external_key_may_set = ["accountName", "assignedResourceName"] };
    let desk = desk_with_tickets(named).await?;
    let stories = [
        (json!({ "accountName": "Harbour" }), &["no company “Harbour”", "“Harbour Logistics”"][..]),
        (json!({ "priority": "Urgent" }), &["“Urgent”", "“Critical” (4)"][..]),
        (json!({ "colour": "red" }), &["no field “colour”"][..]),
        (json!({ "externalID": "mine" }), &["“externalID”"][..]),
        (json!({ "ticketCategory": "Incident" }), &["queueID is required", "give queueID"][..]),
        (json!({ "assignedResourceName": "nobody" }), &["assignedResourceName", "“nobody”"][..]),
        (json!({ "configurationItemID": 987_654 }), &["987654"][..]),
        (json!({ "contactID": desk.data.contact }), &["may not set “contactID”", "external_key_may_set"][..]),
        (json!({ "allocationCodeID": desk.data.work_type }), &["may not set “allocationCodeID”", "external_key_may_set"][..]),
    ];
    for (key, expected) in stories {
        let lsid = begin(&desk, &key)?;
        desk.appliance.representative_joins(&lsid, Representative::example())?;
        let pattern = format!(r#"kind="{SOMEONE_JOINS}" lsid="{lsid}"\}}.*: event is a dead letter reason=(.*)"#);
        assert_contains(&desk.server.logs().wait_for(&pattern).await?.replace("\\\"", "\""), expected);
        assert!(tickets_of(&desk, &lsid).is_empty(), "{key}");
    }
    Ok(())
}

// The tenant

#[tokio::test]
async fn a_tenant_that_moves_is_found_again() -> Result<()> {
    let desk = Desk::start(Plan::default()).await?;
    desk.play_short().await?.1.done()?;
    desk.autotask.move_to_zone(1);
    let (lsid, outcome) = desk.play_short().await?;
    outcome.done()?;
    let notes = desk.autotask.notes(desk.data.ticket);
    assert_eq!(notes.iter().filter(|note| note.title.contains(&lsid)).count(), 1);
    desk.server.wait_for_log("tenant has moved to another zone").await?;
    assert!(desk.server.logs().lines_matching("will be tried again")?.is_empty(), "in the same attempt");
    Ok(())
}

#[tokio::test]
async fn refused_credentials_hold_the_events_until_they_are_accepted_again() -> Result<()> {
    let desk = Desk::start(Plan::default()).await?;
    let user = desk.autotask.options().api_user;
    desk.autotask.alter_api_user(&user.user_name, |user| user.secret = "changed".into()).context("the API user")?;
    let lsid = desk.appliance.play(SessionScript::short(desk.data.ticket.to_string()))?;
    desk.server.wait_for_log("credentials are refused").await?;
    desk.server.wait_for_log("Autotask did not accept the API user").await?;
    desk.autotask.alter_api_user(&user.user_name, |known| known.secret = user.secret.clone()).context("the API user")?;
    desk.outcome(&lsid, SESSION_END).await?.done()?;
    assert_eq!(desk.autotask.notes(desk.data.ticket).len(), 1);
    Ok(())
}

/// Whoever has mended the credentials need not wait for the next try, which may be half an hour away.
#[tokio::test]
async fn a_check_that_finds_all_well_ends_the_rest_after_refused_credentials() -> Result<()> {
    let desk = Desk::start(Plan::default()).await?;
    let user = desk.autotask.options().api_user;
    desk.autotask.alter_api_user(&user.user_name, |user| user.secret = "changed".into()).context("the API user")?;
    let lsid = desk.appliance.play(SessionScript::short(desk.data.ticket.to_string()))?;
    desk.server.wait_for_log("credentials are refused").await?;
    let refused = || desk.autotask.requests().iter().filter(|request| request.status == Some(401)).count();
    let before = refused();
    ensure!(!desk.check().await?.0, "a check that fails ends nothing");
    desk.autotask.alter_api_user(&user.user_name, |known| known.secret = user.secret.clone()).context("the API user")?;
    let (is_well, said) = desk.check().await?;
    ensure!(is_well, "{said}");
    let outcome = tokio::time::timeout(Duration::from_secs(15), desk.outcome(&lsid, SESSION_END)).await;
    outcome.context("the rest lasts half a minute at least")??.done()?;
    ensure!(refused() == before + 1, "only the check that failed was refused besides");
    let held = desk.server.logs().lines_matching("credentials are refused.*again_in_seconds=30.*locked")?;
    ensure!(held.len() == 1, "{held:?}");
    Ok(())
}

#[tokio::test]
async fn a_burst_of_sessions_stays_below_the_limit_of_requests_at_a_time() -> Result<()> {
    let options = autotask::Options { latency: Duration::from_millis(30), ..autotask::Options::default() };
    let desk = Desk::start(Plan { autotask: options, ..with(with_time()) }).await?;
    let script = || SessionScript::short(desk.data.ticket.to_string());
    let sessions: Vec<String> = (0..12).map(|_| desk.appliance.play(script())).collect::<Result<_>>()?;
    for lsid in &sessions {
        desk.outcome(lsid, SESSION_END).await?.done()?;
    }
    assert_eq!((desk.autotask.notes(desk.data.ticket).len(), desk.autotask.time_entries(desk.data.ticket).len()), (12, 12));
    let refused = desk.autotask.requests().iter().filter(|request| request.status != Some(200)).count();
    assert_eq!(refused, 0, "the fourth at a time would be");
    Ok(())
}

#[tokio::test]
async fn status_and_text_decide_whether_a_write_is_tried_again() -> Result<()> {
    let desk = Desk::start(Plan { appliance: toml! { retry_attempt_limit = 1 }, ..Plan::default() }).await?;
    let notes = format!("Tickets/{}/Notes", desk.data.ticket);
    let with_body = |code, body: &str| Fault::Status { code, body: body.into(), retry_after: None };
    for (fault, is_tried_again) in [
        (with_body(500, "<html>\r\nServer Error</html>"), true),
        (with_body(500, r#"{"Message":"An error has occurred."}"#), true),
        (refusal(503, "maintenance"), true),
        (refusal(500, "Itgenatr005: thread threshold exceeded"), true),
        (refusal(429, "slow down"), true),
        (refusal(500, "A text that nobody knows"), true),
        (refusal(500, "Picklist value [7] does not exist for noteType"), false),
        (with_body(415, r#"{"Message":"The request entity's media type is not supported."}"#), false),
    ] {
        let before = desk.autotask.notes(desk.data.ticket).len();
        desk.autotask.fail_next(1, writes_of(&notes), fault.clone());
        let (_, outcome) = desk.play_short().await?;
        assert_eq!(matches!(outcome, Outcome::Done(_)), is_tried_again, "{fault:?}: {outcome:?}");
        assert_eq!(desk.autotask.notes(desk.data.ticket).len(), before + usize::from(is_tried_again), "{fault:?}");
    }
    // What nobody knows is tried again no more often than the settings have it, and then told.
    desk.autotask.fail_next(2, writes_of(&notes), refusal(500, "A text that nobody knows"));
    assert_contains(&desk.play_short().await?.1.dead()?, &["A text that nobody knows", "gave up after 2 attempts"]);
    for (shape, expected) in [(ErrorShape::Objects, "use the label"), (ErrorShape::Message, "gave up after 2 attempts")] {
        desk.autotask.alter(|options| options.error_shape = shape);
        desk.autotask.set_picklist(Entity::TicketNotes, "noteType", vec![Choice::new(3, "Task Notes")]);
        let (_, outcome) = desk.play_short().await?;
        assert_contains(&outcome.dead()?, &["Picklist value [1] does not exist for noteType", expected]);
    }
    Ok(())
}

#[tokio::test]
async fn a_zone_that_cannot_be_told_for_a_moment_holds_nothing() -> Result<()> {
    let mut desk = Desk::prepare(Plan::default()).await?;
    let zone = Matching::new(Method::GET, format!("{REST}zoneInformation"));
    let fault = Fault::Status { code: 500, body: r#"{"Message":"An error has occurred."}"#.into(), retry_after: None };
    desk.autotask.fail_next(1, zone, fault);
    desk.server.start().await?;
    desk.play_short().await?.1.done()?;
    assert!(desk.server.logs().lines_matching("credentials are refused")?.is_empty());
    Ok(())
}

/// Whoever mends what a dead letter names retries at once.
#[tokio::test]
async fn a_dead_letter_whose_cause_is_mended_succeeds_at_once() -> Result<()> {
    let desk = Desk::start(with(changed(with_time(), toml! { note_type = "Remote Help" }))).await?;
    let (_, outcome) = desk.play_short().await?;
    assert_contains(&outcome.dead()?, &["noteType has no “Remote Help”"]);
    desk.autotask.set_picklist(Entity::TicketNotes, "noteType", vec![Choice::new(29_683_411, "Remote Help")]);
    desk.autotask.alter_record(Entity::Resources, desk.data.technician, json!({ "isActive": false }))?;
    assert_contains(&desk.play_short().await?.1.dead()?, &["is not active"]);
    desk.autotask.alter_record(Entity::Resources, desk.data.technician, json!({ "isActive": true }))?;
    desk.play_short().await?.1.done()?;
    assert_eq!((desk.autotask.notes(desk.data.ticket).len(), desk.autotask.time_entries(desk.data.ticket).len()), (2, 1));
    Ok(())
}

#[tokio::test]
async fn the_tenants_last_requests_are_left_to_others() -> Result<()> {
    let desk =
        Desk::prepare(Plan { autotask: autotask::Options { request_threshold: 1_000, ..autotask::Options::default() }, ..Plan::default() });
    let mut desk = desk.await?;
    desk.autotask.use_up_requests(960);
    desk.server.start().await?;
    let lsid = desk.appliance.play(SessionScript::short(desk.data.ticket.to_string()))?;
    desk.server.wait_for_log("nearly used up").await?;
    assert_eq!(desk.count(&Method::POST, "Tickets/"), 0, "{lsid}");
    assert!(desk.server.logs().lines_matching("is a dead letter")?.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_ticket_that_is_not_there_is_a_dead_letter() -> Result<()> {
    let desk = Desk::start(Plan::default()).await?;
    for key in ["99999999", "T19990101.0001"] {
        let (_, outcome) = desk.play(SessionScript::short(key)).await?;
        assert_contains(&outcome.dead()?, &["there is no ticket", key]);
    }
    Ok(())
}

// check

#[tokio::test]
async fn check_tells_what_the_api_user_lacks() -> Result<()> {
    let settings = changed(changed(with_time(), with_tickets()), toml! { note_type = "Remote Support" });
    let desk = Desk::prepare(with(settings)).await?;
    let (good, said) = desk.check().await?;
    assert!(good, "{said}");
    assert_contains(
        &said,
        &[
            "Autotask zone: Simulated Zone 1",
            "Autotask login: ",
            "note type: Remote Support (29683411)",
            "role: Technician",
            "company: harbour logistics",
        ],
    );
    let lines_with = |said: &str, mark: &str| said.lines().filter(|line| line.starts_with(mark)).count();
    assert_eq!(lines_with(&said, "ok  "), said.lines().count(), "{said}");
    let user = desk.autotask.options().api_user;
    let before =
        desk.autotask.requests().iter().filter(|request| request.path.ends_with("/Notes") || request.path.ends_with("TimeEntries")).count();
    assert_eq!(before, 0, "nothing is written");

    deny(&desk, &[(Entity::AttachmentInfo, Right::Create)])?;
    let (good, said) = desk.check().await?;
    assert!(good, "reports stand on their tickets without files too: {said}");
    assert_contains(&said, &["note Simulated Autotask: right: files: ", "TicketAttachments", "a long report is shortened"]);
    desk.autotask.alter_api_user(&user.user_name, |user| *user = user.clone().least_privilege()).context("the API user")?;
    let (good, said) = desk.check().await?;
    assert!(!good);
    assert_contains(&said, &["FAIL Simulated Autotask: right: resources: ", "note Simulated Autotask: right: machines: "]);
    desk.autotask.set_picklist(Entity::TicketNotes, "noteType", vec![Choice::new(3, "Task Notes")]);
    assert_contains(&desk.check().await?.1, &["FAIL Simulated Autotask: note type: ", "“Task Notes” (3)"]);
    desk.autotask.alter_api_user(&user.user_name, |known| known.secret = "changed".into()).context("the API user")?;
    let (_, said) = desk.check().await?;
    assert_contains(&said, &["FAIL Simulated Autotask: Autotask login: Autotask did not accept the API user"]);
    assert!(!said.contains(&user.secret) && !said.contains(&user.integration_code), "{said}");
    Ok(())
}
