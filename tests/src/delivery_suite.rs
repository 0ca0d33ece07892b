//! One suite for every help desk: whatever goes wrong with a write, what it writes stands there exactly once at the end, or, refused, nowhere.
//!
//! A help desk's simulated system says in [`HelpDeskDouble`] which request writes what and what stands on its tickets; the faults, the
//! sessions and the assertions are the same for all. `delivery_suite!(name, Double)` makes the tests.
//! Must not know any help desk.

use std::fmt;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use futures_util::StreamExt as _;
use futures_util::future::{FutureExt as _, LocalBoxFuture, join_all};
use futures_util::stream;
use serde_json::json;
use toml::Table;

use crate::appliance::{self, EventKind, Recipient, Representative, SessionScript, SimulatedAppliance, Step, SurveyAnswer};
use crate::outcomes::{CUSTOMER_SURVEY, SESSION_END};
use crate::scene;
use crate::server::{Database, Deskbridge, skip, tell, until};
use crate::wire::{Fault, Matching, RecordedRequest, gateway_page};

/// Makes the tests of one help desk: `delivery_suite!(zendesk, ZendeskDesk);`.
#[macro_export]
macro_rules! delivery_suite {
    ($name:ident, $double:ty) => {
        mod $name {
            use $crate::delivery_suite as suite;

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn whatever_fails_each_write_stands_once() -> anyhow::Result<()> {
                suite::everything_fails::<$double>().await
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn whenever_the_server_dies_each_write_stands_once() -> anyhow::Result<()> {
                suite::the_server_dies::<$double>().await
            }
        }
    };
}

/// So long after it left, a write whose fate is unknown can no longer arrive (`settle_seconds` of the connection).
const SETTLE_SECONDS: i64 = 10;
/// How much later a write happens that was answered with an error: well within [`SETTLE_SECONDS`], and well after a first retry, on a busy
/// machine too.
const LATER: Duration = Duration::from_secs(6);
/// How much later one happens that is not answered at all.
const MUCH_LATER: Duration = Duration::from_secs(8);
/// How much later one happens whose file took [`MUCH_LATER`]: in time if the time counts from the note, too late if from the file.
const AFTER_A_SLOW_UPLOAD: Duration = Duration::from_secs(6);
/// The same for writes that are on their way when the process dies, and how much later they happen.
const SETTLE_SECONDS_AFTER_A_DEATH: i64 = 30;
const LATER_THAN_A_LEASE: Duration = Duration::from_secs(25);
/// Longest wait until something stands. An answer is waited for 30 s, a dead server's lease lasts 15 s.
const LIMIT: Duration = Duration::from_secs(150);
/// So many servers run at a time in the tests that end their process.
const SERVERS: usize = 8;
/// Says where the process shall end (`server/src/fault_point.rs`).
const FAULT_POINT: &str = "DESKBRIDGE_FAULT_POINT";
/// What a system says that refuses.
const REFUSAL: &str = "Rule 7 forbids this";

/// What a help desk's simulated system must tell and do for the suite.
pub trait HelpDeskDouble: Sized + 'static {
    /// Its section of `[[connection]]`.
    const SECTION: &'static str;
    /// The writes of a session that asks for a ticket and has a long report, in this order; its survey's note comes after them.
    const WRITES: &'static [Request];
    /// Whether a long report goes along as a file; else it is only shortened.
    const TAKES_FILES: bool = true;

    /// Why it cannot be had on this machine; its tests are then skipped, but not in CI.
    fn missing() -> Option<String> {
        None
    }
    /// Starts one without limits on requests.
    fn start(appliance: &SimulatedAppliance) -> impl Future<Output = Result<Self>>;
    /// Its `[[connection]]` with all kinds of writes turned on.
    fn connection(&self, appliance: &SimulatedAppliance, name: &str, id: &str) -> Table;
    /// Another open ticket; answers its id.
    fn add_ticket(&self) -> Result<String>;
    /// The requests of that kind about this session.
    fn matching(&self, request: Request, session: &Session) -> Matching;
    /// A refusal in the system's own manner that says `words`; not one that is tried again.
    fn refusal(&self, words: &str) -> Fault;
    /// So many of the next matching requests fail so; all, if no number is given.
    fn fail(&self, times: Option<u32>, matching: Matching, fault: Fault);
    /// Every request so far.
    fn requests(&self) -> Vec<RecordedRequest>;
    /// How many writes are still to happen later.
    fn pending_writes(&self) -> usize;
    /// What stands of the session on all tickets.
    fn standing(&self, session: &Session) -> Standing;
    /// Looks after every request and every change whether `reached` holds, for some seconds.
    fn wait_until(&self, reached: impl Fn(&Self) -> bool) -> impl Future<Output = Result<()>>;

    /// Whether it writes time entries.
    fn records_time() -> bool {
        Self::WRITES.contains(&Request::TimeEntry)
    }
}

/// A request that writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// A note: a report or a survey.
    Note,
    /// A file, with a note or by itself.
    File,
    /// A time entry.
    TimeEntry,
    /// A ticket.
    Ticket,
}

/// A support session of the suite.
#[derive(Clone, Debug)]
pub struct Session {
    /// Its id.
    pub lsid: String,
    /// The ticket it belongs to; empty while it asks for one.
    pub ticket: String,
}

impl Session {
    /// Title of the ticket it asks for.
    pub fn title(&self) -> String {
        format!("Asked for by {}", self.lsid)
    }

    /// What its writes of that kind carry, of all kinds if none is named.
    pub fn marker(&self, kind: &str) -> String {
        let kind = if kind.is_empty() { String::new() } else { format!("{kind}/") };
        format!("deskbridge/{}/{kind}", self.lsid)
    }
}

/// How often things of a session stand in a help desk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Notes with its report.
    pub reports: usize,
    /// Notes with a survey.
    pub surveys: usize,
    /// Files.
    pub files: usize,
    /// Time entries.
    pub time_entries: usize,
    /// Tickets made for it.
    pub tickets: usize,
}

impl Standing {
    /// Whether each thing stands at least as often as in `wanted`.
    fn has(self, wanted: Self) -> bool {
        self.reports >= wanted.reports
            && self.surveys >= wanted.surveys
            && self.files >= wanted.files
            && self.time_entries >= wanted.time_entries
            && self.tickets >= wanted.tickets
    }
}

/// What is written while something goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Thing {
    Report,
    LongReport,
    Survey,
    TimeEntry,
    Ticket,
}

impl Thing {
    fn all<D: HelpDeskDouble>() -> Vec<Self> {
        let all = [Self::Report, Self::LongReport, Self::Survey, Self::TimeEntry, Self::Ticket];
        all.into_iter().filter(|thing| *thing != Self::TimeEntry || D::records_time()).collect()
    }

    /// The request that goes wrong.
    fn request<D: HelpDeskDouble>(self) -> Request {
        match self {
            Self::Report | Self::Survey => Request::Note,
            Self::LongReport if !D::TAKES_FILES => Request::Note,
            Self::LongReport => Request::File,
            Self::TimeEntry => Request::TimeEntry,
            Self::Ticket => Request::Ticket,
        }
    }

    fn script(self, external_key: &str) -> SessionScript {
        match self {
            Self::LongReport => SessionScript::at_the_limits(external_key),
            _ => SessionScript::short(external_key),
        }
    }

    /// What stands at the end.
    fn standing<D: HelpDeskDouble>(self) -> Standing {
        Standing {
            reports: 1,
            surveys: usize::from(self == Self::Survey),
            files: usize::from(self == Self::LongReport && D::TAKES_FILES),
            time_entries: usize::from(D::records_time()),
            tickets: usize::from(self == Self::Ticket),
        }
    }

    /// The same where the system refused it, and the kind of the event that is then a dead letter.
    fn standing_refused<D: HelpDeskDouble>(self) -> (Standing, &'static str) {
        let all = self.standing::<D>();
        match self {
            // What would have followed the report waits with it.
            Self::Report | Self::LongReport => (Standing { reports: 0, time_entries: 0, ..all }, SESSION_END),
            Self::Survey => (Standing { surveys: 0, ..all }, CUSTOMER_SURVEY),
            Self::TimeEntry => (Standing { time_entries: 0, ..all }, SESSION_END),
            // The session goes on without its ticket.
            Self::Ticket => (Standing::default(), "someone_joins"),
        }
    }
}

/// What goes wrong.
#[derive(Clone, Debug)]
enum Trouble {
    /// With the write, whichever it is.
    Write(Fault),
    /// The system refuses the write in its own words.
    Refused,
    /// A file takes its time, then its note's answer is lost: the time counts from the note.
    SlowUpload,
}

/// Everything that can go wrong with a write.
fn troubles() -> Vec<(&'static str, Trouble)> {
    let status = |code| Trouble::Write(Fault::Status { code, body: gateway_page(code), retry_after: None });
    let later = |code| Trouble::Write(Fault::StatusThenApplyLater { code, after: LATER });
    vec![
        ("500, nothing happens", status(500)),
        ("502, nothing happens", status(502)),
        ("503, nothing happens", status(503)),
        ("504, nothing happens", status(504)),
        ("closed, nothing happens", Trouble::Write(Fault::CloseConnection)),
        ("no answer, nothing happens", Trouble::Write(Fault::Hang)),
        ("done, then closed", Trouble::Write(Fault::ApplyThenClose)),
        ("done, then 502", Trouble::Write(Fault::ApplyThenStatus(502))),
        ("done, then no answer", Trouble::Write(Fault::ApplyThenHang)),
        ("502, done later", later(502)),
        ("503, done later", later(503)),
        ("504, done later", later(504)),
        ("closed, done later", Trouble::Write(Fault::CloseThenApplyLater(LATER))),
        ("no answer, done later", Trouble::Write(Fault::ApplyLater(MUCH_LATER))),
        ("refused", Trouble::Refused),
        ("a slow upload", Trouble::SlowUpload),
    ]
}

/// One connection of the suite's server: an appliance and a help desk of its own, so that nothing waits for another case.
struct Place<D> {
    name: String,
    appliance: SimulatedAppliance,
    desk: D,
}

impl<D: HelpDeskDouble> Place<D> {
    async fn start(name: &str) -> Result<Self> {
        let appliance = SimulatedAppliance::start(appliance::Options { rate_limits: None, ..appliance::Options::default() }).await?;
        let desk = D::start(&appliance).await?;
        Ok(Self { name: name.to_owned(), appliance, desk })
    }

    fn connection(&self, number: usize, settle_seconds: i64) -> Table {
        let mut connection = self.desk.connection(&self.appliance, &self.name, &format!("c{number}"));
        let settle = Table::from_iter([("settle_seconds".to_owned(), settle_seconds.into())]);
        scene::merge(&mut connection, Table::from_iter([(D::SECTION.to_owned(), settle.into())]));
        connection
    }

    fn tell(&self, server: &Deskbridge, number: usize) {
        let events = vec![EventKind::MemberAdded, EventKind::End, EventKind::CustomerSurvey];
        self.appliance.set_recipient(Recipient { events, ..scene::recipient(server, &format!("c{number}")) });
    }

    /// Waits until it looks so, for longer than the double itself would.
    async fn wait_until(&self, what: &str, reached: impl Fn(&D) -> bool) -> Result<()> {
        let waiting = async { while self.desk.wait_until(&reached).await.is_err() {} };
        tokio::time::timeout(LIMIT, waiting).await.with_context(|| format!("waited {LIMIT:?} in vain until {what}"))
    }

    async fn stands(&self, session: &Session, wanted: Standing) -> Result<()> {
        let waited = self.wait_until("it stands", |desk| desk.standing(session).has(wanted)).await;
        waited.with_context(|| format!("there stands {:?}", self.desk.standing(session)))
    }

    fn asked(&self, request: Request, session: &Session) -> bool {
        let matching = self.desk.matching(request, session);
        self.desk.requests().iter().any(|request| matching.hits_recorded(request))
    }

    /// Begins a session and lets everything happen in it but its last step, the end.
    fn begin(&self, thing: Thing) -> Result<(Session, Step)> {
        let asks = thing == Thing::Ticket;
        let ticket = if asks { String::new() } else { self.desk.add_ticket()? };
        let script = thing.script(&ticket);
        let lsid = self.appliance.begin_session(script.session);
        let session = Session { lsid, ticket };
        if asks {
            self.appliance.set_external_key(&session.lsid, &json!({ "title": session.title() }).to_string())?;
        }
        let mut steps = script.steps;
        let (_, last) = steps.pop().context("the script ends")?;
        for (_, step) in steps {
            // Who asks for a ticket gets it when the representative joins: the faults are ordered before.
            if !asks || matches!(step, Step::CustomerJoins(_)) {
                self.appliance.step(&session.lsid, step)?;
            }
        }
        Ok((session, last))
    }

    fn order(&self, trouble: &Trouble, thing: Thing, session: &Session) {
        let fail = |times, request, fault| self.desk.fail(times, self.desk.matching(request, session), fault);
        match trouble {
            Trouble::Write(fault) => fail(Some(1), thing.request::<D>(), fault.clone()),
            // A file that is refused is left out of its report.
            Trouble::Refused if thing == Thing::LongReport => fail(None, Request::Note, self.desk.refusal(REFUSAL)),
            Trouble::Refused => fail(None, thing.request::<D>(), self.desk.refusal(REFUSAL)),
            Trouble::SlowUpload => {
                fail(Some(1), Request::File, Fault::Delay(MUCH_LATER));
                fail(Some(1), Request::Note, Fault::StatusThenApplyLater { code: 504, after: AFTER_A_SLOW_UPLOAD });
            }
        }
    }

    /// Lets what is to be written be written while the trouble is there; returns as soon as the write was asked for the first time.
    async fn write(&self, trouble: &Trouble, thing: Thing) -> Result<Session> {
        let (session, end) = self.begin(thing)?;
        match thing {
            Thing::Survey => {
                self.appliance.step(&session.lsid, end)?;
                self.stands(&session, Standing { surveys: 0, ..thing.standing::<D>() }).await.context("before the survey")?;
                self.order(trouble, thing, &session);
                self.appliance.complete_customer_survey(&session.lsid, vec![SurveyAnswer::rating("5")])?;
            }
            Thing::Ticket => {
                self.order(trouble, thing, &session);
                self.appliance.representative_joins(&session.lsid, Representative::example())?;
            }
            Thing::Report | Thing::LongReport | Thing::TimeEntry => {
                self.order(trouble, thing, &session);
                self.appliance.step(&session.lsid, end)?;
            }
        }
        self.wait_until("the write is asked for", |_| self.asked(thing.request::<D>(), &session)).await?;
        Ok(session)
    }

    /// Waits until the ticket was made and written back into the session.
    async fn has_its_ticket(&self, session: &Session) -> Result<()> {
        self.stands(session, Standing { tickets: 1, ..Standing::default() }).await?;
        let written_back = |one: &appliance::Session| one.lsid == session.lsid && !one.external_key.starts_with('{');
        let waiting = async { while self.appliance.wait_for_session(written_back).await.is_err() {} };
        tokio::time::timeout(LIMIT, waiting).await.context("the ticket was not written back into the session")
    }

    /// Waits until what was asked for stands; a session that asked for a ticket ends then.
    async fn finish(&self, thing: Thing, session: &Session) -> Result<()> {
        if thing == Thing::Ticket {
            self.has_its_ticket(session).await?;
            self.appliance.end_session(&session.lsid)?;
        }
        self.stands(session, thing.standing::<D>()).await
    }
}

/// A thing, what shall stand of it at the end, and what was found wrong before.
struct Case {
    place: usize,
    what: String,
    session: Result<Session>,
    wanted: Standing,
}

/// What is wrong in which case, for the test's failure.
#[derive(Default)]
struct Failures(Vec<String>);

impl Failures {
    fn add(&mut self, what: &str, why: impl fmt::Display) {
        self.0.push(format!("{what}: {why}"));
    }

    fn check(self, cases: usize, log: &Deskbridge) -> Result<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        bail!("{} of {cases} cases:\n{}\nThe log ends with:\n{}", self.0.len(), self.0.join("\n"), log.logs().tail())
    }
}

/// Every trouble with every thing that is written, on every database.
pub async fn everything_fails<D: HelpDeskDouble>() -> Result<()> {
    on_every_database::<D>(everything_fails_on::<D>).await
}

/// The process dies at every step of every write, and while every kind of write is on its way, on every database.
pub async fn the_server_dies<D: HelpDeskDouble>() -> Result<()> {
    on_every_database::<D>(the_server_dies_on::<D>).await
}

/// At the same time; what fails on one says nothing about the others.
async fn on_every_database<D: HelpDeskDouble>(story: impl AsyncFn(Database) -> Result<()>) -> Result<()> {
    if let Some(why) = D::missing() {
        return skip(std::thread::current().name().unwrap_or(D::SECTION), &why);
    }
    let told = Database::obtainable().into_iter().map(|database| story(database).map(move |told| (database, told)));
    let mut failed = Vec::new();
    for (database, told) in join_all(told).await {
        failed.extend(told.err().map(|error| format!("{database:?}: {error:#}")));
    }
    ensure!(failed.is_empty(), "{}", failed.join("\n"));
    Ok(())
}

async fn everything_fails_on<D: HelpDeskDouble>(database: Database) -> Result<()> {
    let troubles = troubles();
    let mut places = Vec::new();
    for (name, _) in &troubles {
        places.push(Place::<D>::start(name).await?);
    }
    let mut builder = Deskbridge::builder().database(database);
    for (number, place) in places.iter().enumerate() {
        builder = builder.connection(place.connection(number, SETTLE_SECONDS));
    }
    let server = builder.start().await?;
    for (number, place) in places.iter().enumerate() {
        // The first sweep's last question: else it would tell of the same sessions as the events.
        place.appliance.wait_for_request(|request| request.is("SupportRepExitSurvey") && request.status.is_some()).await?;
        place.tell(&server, number);
    }
    let mut cases = Vec::new();
    for (number, (name, trouble)) in troubles.iter().enumerate() {
        for thing in Thing::all::<D>() {
            if matches!(trouble, Trouble::SlowUpload) && !(thing == Thing::LongReport && D::TAKES_FILES) {
                continue;
            }
            cases.push(case(&server, &places[number], number, format!("{name}: {thing:?}"), trouble, thing).boxed_local());
        }
    }
    let cases = join_all(cases).await;
    let failures = settled_and_compared(&server, &places, &cases).await?;
    tell(&format!("{} on {database:?}: {} cases, {} failed", D::SECTION, cases.len(), failures.0.len()));
    failures.check(cases.len(), &server)
}

async fn case<D: HelpDeskDouble>(
    server: &Deskbridge,
    place: &Place<D>,
    number: usize,
    what: String,
    trouble: &Trouble,
    thing: Thing,
) -> Case {
    let refused = matches!(trouble, Trouble::Refused);
    let (wanted, dead) = if refused { thing.standing_refused::<D>() } else { (thing.standing::<D>(), "") };
    let told = async {
        let session = place.write(trouble, thing).await?;
        if refused {
            let pattern = format!(r#"kind="{dead}" lsid="{}"\}}.*: event is a dead letter .*{REFUSAL}"#, session.lsid);
            server.wait_for_log(&pattern).await?;
        } else {
            place.finish(thing, &session).await?;
        }
        Ok(session)
    };
    let session = told.await;
    Case { place: number, what, session, wanted }
}

/// Waits until no event is left to be worked at. A server that has just come back may not answer at once.
async fn is_idle(server: &Deskbridge) -> Result<()> {
    let idle = async || Ok(server.figure("deskbridge_events_waiting", &[]).await.is_ok_and(|waiting| waiting == 0));
    until("no event waits", LIMIT, idle).await
}

/// Waits until the server has nothing left to do and no write is still to happen; then each thing must stand exactly as wanted.
async fn settled_and_compared<D: HelpDeskDouble>(server: &Deskbridge, places: &[Place<D>], cases: &[Case]) -> Result<Failures> {
    for place in places {
        place.wait_until("no write is still to happen", |desk| desk.pending_writes() == 0).await?;
    }
    let mut failures = Failures::default();
    if let Err(error) = is_idle(server).await {
        failures.add("all", format!("{error:#}"));
    }
    for case in cases {
        match &case.session {
            Err(error) => failures.add(&case.what, format!("{error:#}")),
            Ok(session) => {
                let mut standing = places[case.place].desk.standing(session);
                if case.wanted.reports == 0 {
                    // A file of its own may stand before its note is refused.
                    standing.files = case.wanted.files;
                }
                if standing != case.wanted {
                    failures.add(&case.what, format!("stands {standing:?}, not {:?}", case.wanted));
                }
            }
        }
    }
    Ok(failures)
}

async fn the_server_dies_on<D: HelpDeskDouble>(database: Database) -> Result<()> {
    let mut stories: Vec<LocalBoxFuture<'static, Result<()>>> = vec![dies_with_writes_on_their_way::<D>(database).boxed_local()];
    for point in ["planned", "sent", "written", "confirmed"] {
        // The survey's note is one more.
        for number in 1..=D::WRITES.len() + 1 {
            let told = async move { dies_at::<D>(database, point, number).await.with_context(|| format!("dies when {point}, {number}")) };
            stories.push(told.boxed_local());
        }
    }
    let all = stories.len();
    let failed: Vec<String> = stream::iter(stories)
        .buffer_unordered(SERVERS)
        .filter_map(|told| std::future::ready(told.err().map(|error| format!("{error:#}"))))
        .collect()
        .await;
    tell(&format!("{} on {database:?}: {all} deaths, {} failed", D::SECTION, failed.len()));
    ensure!(failed.is_empty(), "{} of {all} deaths:\n{}", failed.len(), failed.join("\n"));
    Ok(())
}

/// A session that asks for a ticket and gets report, file, time entry and survey; the process dies the given time it reaches the step.
async fn dies_at<D: HelpDeskDouble>(database: Database, point: &str, number: usize) -> Result<()> {
    let place = Place::<D>::start("dies").await?;
    let builder = Deskbridge::builder().database(database).connection(place.connection(0, SETTLE_SECONDS));
    let mut server = builder.env(FAULT_POINT, format!("{point}:{number}")).start().await?;
    place.tell(&server, 0);
    let mut deaths = 0;
    let told = async {
        let script = SessionScript::at_the_limits("");
        let lsid = place.appliance.begin_session(script.session);
        let session = Session { lsid, ticket: String::new() };
        place.appliance.set_external_key(&session.lsid, &json!({ "title": session.title() }).to_string())?;
        for (_, step) in script.steps {
            if matches!(step, Step::Ends) {
                place.has_its_ticket(&session).await?;
            }
            place.appliance.step(&session.lsid, step)?;
        }
        let everything = Standing { files: usize::from(D::TAKES_FILES), tickets: 1, ..Thing::Report.standing::<D>() };
        place.stands(&session, everything).await?;
        place.appliance.complete_customer_survey(&session.lsid, vec![SurveyAnswer::rating("5")])?;
        place.stands(&session, Standing { surveys: 1, ..everything }).await?;
        anyhow::Ok((session, Standing { surveys: 1, ..everything }))
    };
    tokio::pin!(told);
    let (session, wanted) = loop {
        tokio::select! {
            biased;
            ended = server.ended(), if deaths == 0 => {
                let status = ended?;
                ensure!(!status.success(), "{status}");
                deaths += 1;
                server.remove_env(FAULT_POINT);
                server.start().await?;
            }
            told = &mut told => break told?,
        }
    };
    if deaths == 0 {
        // The last step of all comes after everything stands.
        let status = tokio::time::timeout(Duration::from_secs(20), server.ended()).await.context("the process lives on")??;
        ensure!(!status.success(), "{status}");
        server.remove_env(FAULT_POINT);
        server.start().await?;
    }
    is_idle(&server).await?;
    let standing = place.desk.standing(&session);
    ensure!(standing == wanted, "stands {standing:?}, not {wanted:?}");
    Ok(())
}

/// Every kind of write is asked for, none is answered, and the process is killed; the writes happen after it is back.
async fn dies_with_writes_on_their_way<D: HelpDeskDouble>(database: Database) -> Result<()> {
    let place = Place::<D>::start("dies").await?;
    let connection = place.connection(0, SETTLE_SECONDS_AFTER_A_DEATH);
    let mut server = Deskbridge::builder().database(database).connection(connection).start().await?;
    place.tell(&server, 0);
    let trouble = Trouble::Write(Fault::ApplyLater(LATER_THAN_A_LEASE));
    let things = Thing::all::<D>();
    let begun = join_all(things.iter().map(|thing| place.write(&trouble, *thing))).await;
    let sessions: Vec<Session> = begun.into_iter().collect::<Result<_>>()?;
    server.kill().await?;
    server.start().await?;
    let finished = join_all(things.iter().zip(&sessions).map(|(thing, session)| place.finish(*thing, session))).await;
    finished.into_iter().collect::<Result<()>>().context("killed with writes on their way")?;
    let cases: Vec<Case> = things
        .into_iter()
        .zip(sessions)
        .map(|(thing, session)| Case {
            place: 0,
            what: format!("killed with a write on its way: {thing:?}"),
            session: Ok(session),
            wanted: thing.standing::<D>(),
        })
        .collect();
    let places = [place];
    let failures = settled_and_compared(&server, &places, &cases).await?;
    failures.check(cases.len(), &server)
}
