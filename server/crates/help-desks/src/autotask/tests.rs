//! The connector's handling of zones, pages and limits against a double that answers what it was told to. Real behaviour is in the
//! simulated tenant of the tests package.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use axum::Json;
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use serde_json::{Value, json};

use super::section::LabelOrId;
use super::zone::Zones;
use super::*;
use deskbridge_core::note::Attachment;
use deskbridge_core::settings::{Secret, SectionKind, Sections, Settings};
use deskbridge_remote_support::beyondtrust::ApplianceSection;

use crate::{HELP_DESKS, NewFile, NewNote, NewTicket, TimeEntry, WriteOutcome};

#[derive(Clone)]
struct Call {
    method: Method,
    path: String,
    secret: String,
    body: Value,
}

#[derive(Default)]
struct Memory {
    /// What zoneInformation answers.
    zone: (StatusCode, Value),
    zone_asked: usize,
    /// Paths that end so are never answered.
    hung: Option<&'static str>,
    usage: u64,
    usage_asked: usize,
    calls: Vec<Call>,
    next: VecDeque<(StatusCode, Value)>,
    /// What paths that end so always answer.
    always: Vec<(&'static str, Value)>,
}

/// One host of a tenant.
struct Double {
    base: String,
    memory: Arc<Mutex<Memory>>,
}

impl Double {
    async fn start() -> Self {
        let memory = Arc::new(Mutex::new(Memory::default()));
        let router = Router::new().fallback(any(answer)).with_state(memory.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}/ATServicesRest/", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let double = Self { base, memory };
        double.name_zone(&double.base);
        double
    }

    fn name_zone(&self, url: &str) {
        self.answer_zone(200, json!({ "zoneName": "Double", "url": url, "webUrl": "http://127.0.0.1:1/", "ci": 1 }));
    }

    fn answer_zone(&self, status: u16, body: Value) {
        self.memory.lock().unwrap().zone = (StatusCode::from_u16(status).unwrap(), body);
    }

    fn hang(&self, path_end: &'static str) {
        self.memory.lock().unwrap().hung = Some(path_end);
    }

    fn zone_asked(&self) -> usize {
        self.memory.lock().unwrap().zone_asked
    }

    fn next(&self, status: u16, body: Value) {
        self.memory.lock().unwrap().next.push_back((StatusCode::from_u16(status).unwrap(), body));
    }

    fn always(&self, path_end: &'static str, body: Value) {
        self.memory.lock().unwrap().always.push((path_end, body));
    }

    fn usage_asked(&self) -> usize {
        self.memory.lock().unwrap().usage_asked
    }

    fn use_up(&self, requests: u64) {
        self.memory.lock().unwrap().usage = requests;
    }

    /// What was asked, but for zones and usage.
    fn calls(&self) -> Vec<Call> {
        self.memory.lock().unwrap().calls.clone()
    }

    fn tenant(&self) -> Autotask {
        self.tenant_with(|_| {})
    }

    /// One that gives up soon.
    fn impatient_tenant(&self) -> Autotask {
        let mut tenant = self.tenant();
        tenant.client.wait_at_most(Duration::from_millis(300));
        tenant
    }

    fn tenant_with(&self, change: impl FnOnce(&mut AutotaskSection)) -> Autotask {
        let mut section = AutotaskSection {
            username: "api@msp.example".into(),
            secret: Secret::new("the secret"),
            integration_code: Secret::new("code"),
            services_url: Some(self.base.clone()),
            note_type: LabelOrId::Id(1),
            publish_notes_as_public: false,
            publish_internal: None,
            publish_public: None,
            settle_seconds: 300,
            update_time_entry: false,
            time_entry_default_data: None,
            default_domain: None,
            enable_automatic_ticket_creation: false,
            ticket_default_data: None,
            external_key_may_set: Vec::new(),
        };
        change(&mut section);
        Autotask::new(AutotaskSettings { section, secret: "the secret".into(), integration_code: "code".into(), target_field: None })
            .unwrap()
    }
}

#[tokio::test]
async fn a_completed_ticket_is_not_open() {
    let double = Double::start().await;
    let tenant = double.tenant();
    for (item, expected) in [
        (json!({ "id": 7, "completedDate": null }), true),
        (json!({ "id": 7 }), true),
        (json!({ "id": 7, "completedDate": "2026-11-20T09:00:00Z" }), false),
    ] {
        double.next(200, json!({ "item": item }));
        assert_eq!(tenant.is_open("7").await.unwrap(), expected, "{item}");
    }
    double.next(200, json!({ "item": null }));
    assert!(matches!(tenant.is_open("7").await, Err(HelpDeskError::NoTicket(_))));
}

/// Why nothing was written for sure.
#[derive(Debug)]
enum Failure {
    Refused(HelpDeskError),
    Unknown(HelpDeskError),
}

impl Failure {
    fn text(&self) -> String {
        match self {
            Self::Refused(error) | Self::Unknown(error) => error.to_string(),
        }
    }
}

impl Autotask {
    /// Prepares and sends everything a write needs, as delivery does.
    async fn write(&self, ticket: &str, marker: &str, item: Item<'_>) -> Result<String, Failure> {
        let mut prepared = self.prepare(&Write { ticket, marker, item }).await.map_err(Failure::Refused)?;
        loop {
            prepared = match prepared.send().await {
                WriteOutcome::Written(id) => return Ok(id),
                WriteOutcome::Partly(next) | WriteOutcome::TryInstead(next) => next,
                WriteOutcome::Refused(error) => return Err(Failure::Refused(error)),
                WriteOutcome::Unknown { error, .. } => return Err(Failure::Unknown(error)),
            };
        }
    }

    async fn append_note(&self) -> Result<String, Failure> {
        let note = NewNote { title: "Report", body: "Text", attachments: &[], gives_up_files: false, is_public: false };
        self.write("7", "deskbridge/x/report/0", Item::Note(&note)).await
    }

    async fn find_note(&self, marker: &str) -> Result<Option<String>, HelpDeskError> {
        let note = NewNote { title: "", body: "", attachments: &[], gives_up_files: false, is_public: false };
        self.find(&Write { ticket: "7", marker, item: Item::Note(&note) }).await
    }

    async fn record_time(&self, entry: &TimeEntry) -> Result<String, Failure> {
        self.write("7", TIME_MARKER, Item::Time(entry)).await
    }

    /// The ticket as a paired browser without an agent's address sees it.
    async fn ticket(&self, name: &str) -> Result<Ticket, HelpDeskError> {
        let anybody = AgentReference::Device { id: uuid::Uuid::nil(), name: "Browser".into(), email: None };
        Ok(self.ticket_for(&anybody, name).await?.0)
    }
}

const TIME_MARKER: &str = "deskbridge/x/time/0";

async fn answer(State(memory): State<Arc<Mutex<Memory>>>, method: Method, uri: Uri, headers: HeaderMap, body: String) -> Response {
    let answer = memory.lock().unwrap().answer(method, &uri, &headers, &body);
    match answer {
        Some(response) => response,
        None => std::future::pending().await,
    }
}

impl Memory {
    /// `None`: it hangs.
    fn answer(&mut self, method: Method, uri: &Uri, headers: &HeaderMap, body: &str) -> Option<Response> {
        let secret = headers.get("secret").map_or("", |value| value.to_str().unwrap()).to_owned();
        let hangs = self.hung.is_some_and(|end| uri.path().ends_with(end));
        if uri.path().ends_with("/zoneInformation") {
            assert_eq!(secret, "", "the question for the zone carries no secret");
            self.zone_asked += 1;
            let (status, body) = self.zone.clone();
            return (!hangs).then(|| (status, Json(body)).into_response());
        }
        if uri.path().ends_with("/ThresholdInformation") {
            self.usage_asked += 1;
            let usage = json!({ "externalRequestThreshold": 10_000, "currentTimeframeRequestCount": self.usage });
            return (!hangs).then(|| Json(usage).into_response());
        }
        let body = serde_json::from_str(body).unwrap_or(Value::Null);
        self.calls.push(Call { method, path: uri.to_string(), secret, body });
        if hangs {
            return None;
        }
        if let Some((_, body)) = self.always.iter().find(|(end, _)| uri.path().ends_with(end)) {
            return Some(Json(body.clone()).into_response());
        }
        let (status, body) = self.next.pop_front().expect("an answer was prepared");
        Some((status, Json(body)).into_response())
    }
}

fn page(titles: &[&str], next: Option<&str>) -> Value {
    let items: Vec<Value> = titles.iter().enumerate().map(|(at, title)| json!({ "id": at + 40, "ticketID": 7, "title": title })).collect();
    json!({ "items": items, "pageDetails": { "nextPageUrl": next } })
}

#[tokio::test]
async fn further_pages_are_asked_for_by_the_same_method_and_body() {
    let double = Double::start().await;
    let tenant = double.tenant();
    let next = format!("{}V1.0/TicketNotes/query/next?paging=x", double.base);
    double.next(200, page(&["a [deskbridge/x/report/01]"; 3], Some(&next)));
    double.next(200, page(&["b", "c [deskbridge/x/report/0]"], None));
    // The first page's rows contain the marker's beginning: what the tenant lets through is looked at again.
    assert_eq!(tenant.find_note("[deskbridge/x/report/0]").await.unwrap().as_deref(), Some("41"));
    let calls = double.calls();
    assert_eq!(calls.len(), 2);
    assert!(calls.iter().all(|call| call.method == Method::POST && call.body == calls[0].body && call.secret == "the secret"));
    assert_eq!(calls[0].path, "/ATServicesRest/v1.0/TicketNotes/query");
}

#[tokio::test]
async fn the_secret_follows_no_page_to_another_host() {
    let (double, stranger) = (Double::start().await, Double::start().await);
    let next = format!("{}v1.0/TicketNotes/query/next", stranger.base);
    double.next(200, page(&["a"], Some(&next)));
    let refused = double.tenant().find_note("deskbridge/x/report/0").await;
    assert!(matches!(refused, Err(HelpDeskError::Passing { retry_after: None, .. })), "asked anew it may name its own: {refused:?}");
    assert!(stranger.calls().is_empty());
}

#[tokio::test]
async fn a_401_makes_one_look_for_another_zone_and_no_more_for_a_while() {
    let (old, new) = (Double::start().await, Double::start().await);
    let tenant = old.tenant();
    let unauthorised = || json!({ "errors": ["Authentication failed."] });
    // Not moved: refused credentials are refused credentials.
    old.next(401, unauthorised());
    assert!(matches!(tenant.ticket("7").await, Err(HelpDeskError::Denied(_))));
    assert_eq!(old.calls().len(), 1, "the same zone is not asked twice");
    // Moved, but asked a moment ago.
    old.name_zone(&new.base);
    old.next(401, unauthorised());
    assert!(matches!(tenant.ticket("7").await, Err(HelpDeskError::Denied(_))));
    assert!(new.calls().is_empty());
}

/// Autotask locks an API user whose login is refused again and again, whoever makes us try: events, a look at the hour's use, or an agent
/// who opens one ticket after the other.
#[tokio::test]
async fn refused_credentials_are_not_tried_at_every_call() {
    let double = Double::start().await;
    let tenant = double.tenant();
    double.next(401, json!({ "errors": ["Authentication failed."] }));
    let first = tenant.ticket("7").await.unwrap_err();
    assert!(matches!(first, HelpDeskError::Denied(_)) && first.to_string().contains("locked"), "{first:?}");
    assert!(matches!(tenant.append_note().await, Err(Failure::Refused(HelpDeskError::Resting { .. }))));
    assert_eq!(double.calls().len(), 1);
    // A person may try once: perhaps somebody has acted.
    double.next(401, json!({ "errors": ["Authentication failed."] }));
    for _ in 0..5 {
        let again = tenant.ticket("7").await.unwrap_err().to_string();
        assert!(again.contains("did not accept the API user"), "{again}");
        let Err(Failure::Refused(HelpDeskError::Resting { what, .. })) = tenant.append_note().await else { panic!("it was sent") };
        assert!(what.contains("did not accept the API user") && what.contains("deskbridge check"), "{what}");
    }
    assert_eq!(double.calls().len(), 2);
    // So does one that is unknown, who has no zone.
    let double = Double::start().await;
    double.answer_zone(500, json!({ "errors": ["The zone of the user could not be found."] }));
    let tenant = double.tenant();
    for _ in 0..5 {
        assert!(tenant.ticket("7").await.unwrap_err().to_string().contains("knows no API user"));
    }
    assert!(double.zone_asked() <= 2, "{} times", double.zone_asked());
    // What is saved anew is tried at once.
    double.name_zone(&double.base);
    double.next(200, json!({ "item": { "id": 7 } }));
    double.always("/query", json!({ "items": [] }));
    assert!(double.tenant().ticket("7").await.is_ok());
}

#[tokio::test]
async fn a_tenant_that_moved_is_asked_in_its_new_zone() {
    let (old, new) = (Double::start().await, Double::start().await);
    let tenant = old.tenant();
    assert!(tenant.zone().await.is_ok());
    old.name_zone(&new.base);
    old.next(401, json!({ "errors": ["Authentication failed."] }));
    new.next(200, json!({ "itemId": 45 }));
    assert_eq!(tenant.append_note().await.unwrap(), "45");
    assert_eq!((old.calls().len(), new.calls().len()), (1, 1));
    assert_eq!(new.calls()[0].body["title"], "Report [deskbridge/x/report/0]");
}

#[tokio::test]
async fn nothing_is_sent_when_the_hour_is_nearly_used_up() {
    let double = Double::start().await;
    double.use_up(9_600);
    let refused = double.tenant().find_note("deskbridge/x/report/0").await;
    assert!(matches!(refused, Err(HelpDeskError::Passing { retry_after: Some(_), .. })), "{refused:?}");
    assert!(double.calls().is_empty());
}

#[tokio::test]
async fn a_machine_that_cannot_be_read_is_no_fault_of_the_ticket() {
    let double = Double::start().await;
    let tenant = double.tenant();
    let denied = json!({ "errors": ["The logged in Resource does not have the adequate permissions to query this entity type."] });
    double.next(200, json!({ "item": { "id": 7, "configurationItemID": 9, "companyID": 0 } }));
    double.next(500, denied.clone());
    let ticket = tenant.ticket("7").await.unwrap();
    assert_eq!((ticket.id.as_str(), ticket.target), ("7", None));
    // While a ticket that may not be read holds the connection.
    double.next(500, denied);
    assert!(matches!(tenant.ticket("7").await, Err(HelpDeskError::Denied(_))));
}

#[tokio::test]
async fn the_machine_may_be_one_of_the_further_ones() {
    let double = Double::start().await;
    double.next(200, json!({ "item": { "id": 7, "configurationItemID": null } }));
    let rows =
        json!({ "items": [{ "id": 2, "ticketID": 7, "configurationItemID": 91 }, { "id": 1, "ticketID": 7, "configurationItemID": 90 }] });
    double.next(200, rows);
    double.next(200, json!({ "item": { "id": 90, "referenceTitle": "PC-042" } }));
    assert_eq!(double.tenant().ticket("7").await.unwrap().target.as_deref(), Some("PC-042"));
    assert_eq!(double.calls()[2].path, "/ATServicesRest/v1.0/ConfigurationItems/90");
}

#[tokio::test]
async fn an_agent_is_whoever_was_paired_unless_they_work_there_no_more() {
    let double = Double::start().await;
    let agent = |email: &str| AgentReference::Device { id: uuid::Uuid::nil(), name: "Anna".into(), email: Some(email.into()) };
    let tenant = double.tenant();
    let ask = async |email: &str| tenant.agent_for(&agent(email)).await;
    double.next(200, json!({ "items": [{ "id": 3, "email": "a@msp.example", "isActive": true }] }));
    assert_eq!(ask("a@msp.example").await.unwrap().name, "Anna");
    double.next(200, json!({ "items": [{ "id": 4, "email": "b@msp.example", "isActive": false }] }));
    assert!(matches!(ask("b@msp.example").await, Err(HelpDeskError::NotAllowed { .. })));
    double.next(500, json!({ "errors": ["The logged in Resource does not have the adequate permissions to query this entity type."] }));
    assert!(ask("c@msp.example").await.is_ok(), "not every API user may read resources");
    double.next(503, json!({}));
    assert!(matches!(ask("d@msp.example").await, Err(HelpDeskError::Passing { .. })));
    assert!(matches!(tenant.agent_for(&AgentReference::User("1".into())).await, Err(HelpDeskError::NotAllowed { .. })));
}

#[tokio::test]
async fn a_part_whose_answer_was_lost_is_written_again_alone() {
    const DAY: i64 = 86_400_000;
    let double = Double::start().await;
    let tenant = double.tenant();
    // From noon of a day to the morning of the day after the next: three parts.
    let entry = TimeEntry {
        started_at: 20_000 * DAY + DAY / 2,
        ended_at: 20_002 * DAY + DAY / 4,
        representative: "a@msp.example".into(),
        name: "A".into(),
    };
    let nothing = || json!({ "items": [] });
    let role = json!({ "items": [{ "id": 1, "resourceID": 3, "roleID": 8, "isDefault": true, "isActive": true }] });
    double.next(200, json!({ "items": [{ "id": 3, "email": "a@msp.example", "isActive": true }] }));
    double.next(200, role);
    double.next(200, nothing());
    double.next(200, json!({ "itemId": 70 }));
    double.next(503, json!({}));
    assert!(matches!(tenant.record_time(&entry).await, Err(Failure::Unknown(HelpDeskError::Passing { .. }))));
    let first = double.calls()[3].body["internalNotes"].clone();
    assert_eq!(first, "Remote support session [deskbridge/x/time/0 part 1 of 3]");
    let standing = || json!({ "items": [{ "id": 70, "ticketID": 7, "internalNotes": first }] });
    double.next(200, standing());
    assert_eq!(
        tenant.find(&Write { ticket: "7", marker: TIME_MARKER, item: Item::Time(&entry) }).await.unwrap(),
        None,
        "a part is not the whole"
    );
    double.next(200, standing());
    double.next(200, json!({ "itemId": 71 }));
    double.next(200, json!({ "itemId": 72 }));
    assert_eq!(tenant.record_time(&entry).await.unwrap(), "70");
    let marks: Vec<String> = double.calls()[7..].iter().map(|call| call.body["internalNotes"].to_string()).collect();
    assert!(marks.len() == 2 && marks[0].contains("part 2 of 3") && marks[1].contains("part 3 of 3"), "{marks:?}");
}

/// Autotask shows non-billable entries only to those who may view them: one that is not seen may stand all the same.
#[tokio::test]
async fn that_an_entry_is_not_seen_proves_nothing_where_its_kind_is_hidden() {
    let entry = TimeEntry { started_at: 0, ended_at: 60_000, representative: "a@msp.example".into(), name: "A".into() };
    let proof = async |defaults: &str, answer: (u16, Value)| {
        let double = Double::start().await;
        let tenant = double.tenant_with(|section| section.time_entry_default_data = Some(defaults.to_owned()));
        double.next(answer.0, answer.1);
        let write = Write { ticket: "7", marker: TIME_MARKER, item: Item::Time(&entry) };
        (tenant.prove_absence(&write).await, double.calls())
    };
    let hidden = json!({ "items": [] });
    let (proven, calls) = proof(r#"{"isNonBillable": true}"#, (200, hidden.clone())).await;
    let Err(HelpDeskError::Refused(said)) = proven else { panic!("{proven:?}") };
    for part in ["ticket 7", "Can view non-billable time entries", "by hand", "deskbridge events retry"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let condition = json!({ "op": "eq", "field": "isNonBillable", "value": true });
    assert_eq!(
        (calls.len(), &calls[0].body["filter"][0], calls[0].path.as_str()),
        (1, &condition, "/ATServicesRest/v1.0/TimeEntries/query")
    );
    // Whoever sees any of them would see ours.
    let seen = json!({ "items": [{ "id": 3, "isNonBillable": true }] });
    assert!(proof(r#"{"nonBillable": true}"#, (200, seen)).await.0.is_ok());
    // A query that lets everything through says nothing of the kind.
    let others = json!({ "items": [{ "id": 3, "isNonBillable": false }] });
    assert!(matches!(proof(r#"{"nonBillable": true}"#, (200, others)).await.0, Err(HelpDeskError::Refused(_))));
    assert!(matches!(proof(r#"{"nonBillable": true}"#, (503, json!({}))).await.0, Err(HelpDeskError::Passing { .. })));
    for billable in [r#"{"isNonBillable": false}"#, "{}"] {
        let (proven, calls) = proof(billable, (200, hidden.clone())).await;
        assert!(proven.is_ok() && calls.is_empty(), "{billable}: {proven:?}");
    }
}

#[tokio::test]
async fn a_check_names_the_right_to_see_entries_that_are_not_billed() {
    use deskbridge_core::finding::Mark;
    let usual = [("1", "All Autotask Users"), ("2", "Internal Project Team")];
    let found = async |seen: Value| {
        let double = checked_double(&usual, &usual).await;
        double.memory.lock().unwrap().always.insert(0, ("/TimeEntries/query", seen));
        let tenant = double.tenant_with(|section| {
            section.update_time_entry = true;
            section.time_entry_default_data = Some(r#"{"isNonBillable": true}"#.to_owned());
        });
        the("right: non-billable time entries", &tenant.check_tenant().await).clone()
    };
    let finding = found(json!({ "items": [] })).await;
    assert!(finding.mark == Mark::Note && finding.message.contains("“Can view non-billable time entries”"), "{finding:?}");
    assert_eq!(found(json!({ "items": [{ "id": 3, "isNonBillable": true }] })).await.mark, Mark::Good);
}

#[tokio::test]
async fn a_zone_that_cannot_be_told_now_is_no_user_that_is_not_known() {
    let check = async |status: u16, body: Value, is_denied: bool| {
        let double = Double::start().await;
        double.answer_zone(status, body.clone());
        let error = double.tenant().zone().await.unwrap_err();
        assert_eq!(matches!(error, HelpDeskError::Denied(_)), is_denied, "{status} {body}: {error:?}");
        assert!(is_denied || matches!(error, HelpDeskError::Passing { .. }), "{status} {body}: {error:?}");
    };
    check(500, json!({ "errors": ["The zone of the user could not be found."] }), true).await;
    check(404, json!({}), true).await;
    check(500, json!({ "Message": "An error has occurred." }), false).await;
    check(500, json!("<html>"), false).await;
    check(500, json!({ "errors": ["Timeout expired."] }), false).await;
    check(503, json!({ "errors": ["maintenance"] }), false).await;
}

#[tokio::test]
async fn a_write_without_an_answer_is_open_and_a_question_without_one_is_not() {
    let double = Double::start().await;
    let tenant = double.impatient_tenant();
    double.hang("/Notes");
    let written = tenant.append_note().await;
    assert!(matches!(written, Err(Failure::Unknown(_))), "{written:?}");
    assert_eq!(double.calls().len(), 1);
    double.hang("/query");
    let found = tenant.find_note("deskbridge/x/report/0").await;
    assert!(matches!(found, Err(HelpDeskError::Passing { .. })), "{found:?}");
    // What reached nobody is done by nobody.
    double.name_zone("http://127.0.0.1:1/ATServicesRest/");
    let nowhere = double.tenant().append_note().await;
    assert!(matches!(nowhere, Err(Failure::Refused(HelpDeskError::Passing { .. }))), "{nowhere:?}");
}

#[tokio::test]
async fn those_who_wait_for_a_hung_zone_share_its_silence() {
    let double = Double::start().await;
    let tenant = double.impatient_tenant();
    double.hang("/zoneInformation");
    let ask = || tenant.ticket("7");
    let answers = tokio::join!(ask(), ask(), ask(), ask());
    let is_passing = |answer: Result<Ticket, HelpDeskError>| matches!(answer, Err(HelpDeskError::Passing { .. }));
    assert!([answers.0, answers.1, answers.2, answers.3].into_iter().all(is_passing));
    // One look at the tenant's use is among them.
    assert!(double.zone_asked() <= 2, "{} times", double.zone_asked());
}

/// What a refusal names is corrected, and what is kept says otherwise still: the next try asks again.
#[tokio::test]
async fn what_was_corrected_counts_at_once() {
    let double = Double::start().await;
    let types = |label: &str| json!({ "fields": [{ "name": "noteType", "isPickList": true, "picklistValues": [{ "value": "7", "label": label, "isActive": true }] }] });
    let tenant = double.tenant_with(|section| section.note_type = LabelOrId::Label("Remote".into()));
    double.next(200, types("Other"));
    assert!(matches!(tenant.append_note().await, Err(Failure::Refused(HelpDeskError::Refused(_)))));
    assert_eq!(double.calls().len(), 1, "asked once while the answer is new");
    double.next(200, types("Remote"));
    double.next(200, json!({ "itemId": 45 }));
    assert_eq!(tenant.append_note().await.unwrap(), "45");
    // A number that is written and refused is doubted.
    double.next(500, json!({ "errors": ["Picklist value [7] does not exist for noteType"] }));
    assert!(matches!(tenant.append_note().await, Err(Failure::Refused(HelpDeskError::Refused(_)))));
    double.next(200, types("Remote"));
    double.next(200, json!({ "itemId": 46 }));
    assert_eq!(tenant.append_note().await.unwrap(), "46");

    let person = |active: bool| json!({ "items": [{ "id": 3, "email": "a@msp.example", "isActive": active }] });
    let role = |is_default: bool| {
        let held = |id: i64| json!({ "id": id, "resourceID": 3, "roleID": id, "isDefault": is_default && id == 8, "isActive": true });
        json!({ "items": [held(8), held(9)] })
    };
    let entry = TimeEntry { started_at: 0, ended_at: 60_000, representative: "a@msp.example".into(), name: "A".into() };
    double.next(200, person(false));
    assert!(tenant.record_time(&entry).await.unwrap_err().text().contains("is not active"));
    // Active now, but without a role of his own.
    double.next(200, person(true));
    double.next(200, role(false));
    // For the message.
    let names = || json!({ "items": [{ "id": 8, "name": "Engineer" }] });
    double.next(200, names());
    assert!(tenant.record_time(&entry).await.unwrap_err().text().contains("none is its default"));
    double.next(200, names());
    double.next(200, person(true));
    double.next(200, role(true));
    double.next(200, json!({ "itemId": 70 }));
    assert_eq!(tenant.record_time(&entry).await.unwrap(), "70");
    // Nothing is asked while nothing is refused.
    let asked = double.calls().len();
    double.next(200, json!({ "itemId": 71 }));
    assert_eq!(tenant.record_time(&entry).await.unwrap(), "71");
    assert_eq!(double.calls().len(), asked + 1);
    // The panel too.
    let agent = AgentReference::Device { id: uuid::Uuid::nil(), name: "Anna".into(), email: Some("b@msp.example".into()) };
    let of_b = |active: bool| json!({ "items": [{ "id": 4, "email": "b@msp.example", "isActive": active }] });
    double.next(200, of_b(false));
    assert!(matches!(tenant.agent_for(&agent).await, Err(HelpDeskError::NotAllowed { .. })));
    double.next(200, of_b(true));
    assert!(tenant.agent_for(&agent).await.is_ok());
}

/// Whoever reaches the portal writes the key (beyondtrust.md F.1).
#[tokio::test]
async fn an_external_key_sets_what_the_matter_is_and_no_more_than_the_settings_let_it() {
    let fields = || {
        let field = |name: &str| json!({ "name": name, "dataType": "integer" });
        let names = ["priority", "contractID", "billingCodeID", "contactID", "companyID", "assignedResourceID"];
        json!({ "fields": names.map(field) })
    };
    let create = async |key: Value, may_set: &[&str]| {
        let double = Double::start().await;
        let tenant = double.tenant_with(|section| {
            section.external_key_may_set = may_set.iter().map(|name| (*name).to_owned()).collect();
            section.ticket_default_data = Some(r#"{"companyID": 5, "contractID": 6}"#.to_owned());
        });
        let Value::Object(key) = key else { panic!("an object") };
        let new = NewTicket { fields: key, title: "T".into(), description: "D".into(), ..NewTicket::default() };
        double.next(200, fields());
        double.next(200, json!({ "itemId": 1 }));
        let made = tenant.write("", "deskbridge/x", Item::Ticket(&new)).await;
        made.map(|_| double.calls()[1].body.clone()).map_err(|error| error.text())
    };
    let body = create(json!({ "priority": 2, "subject": "Printer", "contractID": null }), &[]).await.unwrap();
    assert_eq!(
        (&body["priority"], &body["title"], &body["companyID"], &body["contractID"]),
        (&json!(2), &json!("Printer"), &json!(5), &json!(6))
    );
    for name in [
        "contractID",
        "AllocationCodeID",
        "contactID",
        "companyID",
        "accountName",
        "ACCOUNTID",
        "assignedResourceName",
        "assignedResourceID",
    ] {
        let said = create(json!({ name: 7 }), &["priority"]).await.unwrap_err();
        assert!(said.contains(&format!("“{name}”")) && said.contains("external_key_may_set"), "{name}: {said}");
    }
    let body = create(json!({ "accountID": 7, "contractid": 8 }), &["accountName", "contractID"]).await.unwrap();
    assert_eq!((&body["companyID"], &body["contractID"]), (&json!(7), &json!(8)));
    let said = create(json!({ "externalID": "mine" }), &["externalID"]).await.unwrap_err();
    assert!(said.contains("no field “externalID”"), "{said}");
}

#[test]
fn the_settings_name_fields_an_external_key_can_set() {
    let parse = |names: &str| {
        let (_, rest) = PAGE.split_once("```toml\n").unwrap();
        let (file, _) = rest.split_once("```").unwrap();
        let file = file.replace("\"env:", "\"").replace("note_type = 1\n", &format!("note_type = 1\nexternal_key_may_set = {names}\n"));
        Settings::parse(&sections(), "settings", &file, std::iter::empty())
            .map(|settings| settings.connection[0].section::<AutotaskSection>().unwrap())
    };
    assert_eq!(parse("[]").unwrap().external_key_may_set, Vec::<String>::new());
    for wrong in [r#"["externalID"]"#, r#"[""]"#, r#"["a b"]"#, r#"["ID"]"#] {
        let said = parse(wrong).unwrap_err().to_string();
        assert!(said.contains("external_key_may_set") && said.contains("accountName"), "{wrong}: {said}");
    }
}

/// A list of a tenant that tells who reads notes and files.
fn readers(labels: &[(&str, &str)]) -> Value {
    let choices: Vec<Value> = labels.iter().map(|(value, label)| json!({ "value": value, "label": label, "isActive": true })).collect();
    let list = |name: &str, choices: Value| json!({ "name": name, "dataType": "integer", "isPickList": true, "picklistValues": choices });
    json!({ "fields": [list("noteType", json!([{ "value": "1", "label": "Task Summary" }])), list("publish", choices.into())] })
}

/// A tenant whose API user may do all, and which answers every query with nothing.
async fn checked_double(notes: &[(&str, &str)], files: &[(&str, &str)]) -> Double {
    let double = Double::start().await;
    double.always("/TicketNotes/entityInformation/fields", readers(notes));
    double.always("/TicketAttachments/entityInformation/fields", readers(files));
    double.always("/entityInformation", json!({ "info": { "userAccessForCreate": "All" } }));
    double.always("/query", json!({ "items": [] }));
    double
}

fn the<'a>(what: &str, findings: &'a [Finding]) -> &'a Finding {
    findings.iter().find(|finding| finding.what == what).unwrap_or_else(|| panic!("no “{what}” in {findings:?}"))
}

/// The numbers are the tenant's own: an internal report must not go to customers because 2 means something else there.
#[tokio::test]
async fn a_check_tells_who_reads_notes_and_files_and_refuses_others_than_meant() {
    use deskbridge_core::finding::Mark;
    let usual = [("1", "All Autotask Users"), ("2", "Internal Project Team")];
    let turned = [("1", "Internal Users Only"), ("2", "All Autotask Users")];
    let found = async |double: &Double, publish: Option<LabelOrId>, public: bool| {
        let tenant = double.tenant_with(|section| (section.publish_internal, section.publish_notes_as_public) = (publish, public));
        tenant.check_tenant().await
    };
    let double = checked_double(&usual, &usual).await;
    let findings = found(&double, None, false).await;
    assert_eq!(the("readers of internal notes", &findings), &Finding::good("readers of internal notes", "Internal Project Team (2)"));
    assert_eq!(the("readers of internal files", &findings), &Finding::good("readers of internal files", "Internal Project Team (2)"));
    assert!(findings.iter().all(|finding| !finding.what.contains("public")), "{findings:?}");
    let findings = found(&double, None, true).await;
    assert_eq!(the("readers of internal notes", &findings), &Finding::good("readers of internal notes", "Internal Project Team (2)"));
    assert_eq!(the("readers of public notes", &findings), &Finding::good("readers of public notes", "All Autotask Users (1)"));
    assert_eq!(the("readers of public files", &findings), &Finding::good("readers of public files", "All Autotask Users (1)"));
    for (notes, files, what) in [(turned, usual, "readers of internal notes"), (usual, turned, "readers of internal files")] {
        let double = checked_double(&notes, &files).await;
        let findings = found(&double, None, false).await;
        let finding = the(what, &findings);
        assert_eq!(finding.mark, Mark::Bad, "{finding:?}");
        for part in ["“All Autotask Users” (2)", "“Internal Users Only” (1)", "publish_internal = "] {
            assert!(finding.message.contains(part), "{part}: {finding:?}");
        }
    }
    // A number the tenant has not.
    let double = checked_double(&[("4", "Internal & Co-managed")], &usual).await;
    let finding = the("readers of internal notes", &found(&double, None, false).await).clone();
    assert!(finding.mark == Mark::Bad && finding.message.contains("“Internal & Co-managed” (4)"), "{finding:?}");
    assert_eq!(the("readers of internal notes", &found(&double, Some(LabelOrId::Id(4)), false).await).message, "Internal & Co-managed (4)");
    // In another language a person says which one is meant.
    let polish = [("1", "Wszyscy"), ("2", "Tylko zespół")];
    let double = checked_double(&polish, &polish).await;
    assert_eq!(the("readers of internal notes", &found(&double, None, false).await).mark, Mark::Bad);
    for said in [LabelOrId::Label("tylko zespół".into()), LabelOrId::Label("2".into()), LabelOrId::Id(2)] {
        let findings = found(&double, Some(said), false).await;
        assert_eq!(the("readers of internal notes", &findings), &Finding::good("readers of internal notes", "Tylko zespół (2)"));
    }
    let finding = the("readers of internal notes", &found(&double, Some(LabelOrId::Label("Internal".into())), false).await).clone();
    assert!(finding.mark == Mark::Bad && finding.message.contains("“Tylko zespół” (2)"), "{finding:?}");
    // And so it is written.
    let tenant = double.tenant_with(|section| {
        section.publish_internal = Some(LabelOrId::Label("Tylko zespół".into()));
        section.publish_public = Some(LabelOrId::Label("wszyscy".into()));
    });
    let file = Attachment { file_name: "report.txt".into(), content_type: "text/plain", bytes: b"Text".to_vec() };
    for (is_public, publish) in [(false, 2), (true, 1)] {
        let note = NewNote { title: "Report", body: "Text", attachments: &[], gives_up_files: false, is_public };
        let file = NewFile { file: &file, is_public };
        for (item, marker) in [(Item::Note(&note), "deskbridge/x/report/0"), (Item::File(file), "deskbridge/x/file/0")] {
            double.next(200, json!({ "itemId": 45 }));
            assert_eq!(tenant.write("7", marker, item).await.unwrap(), "45");
            assert_eq!(double.calls().last().unwrap().body["publish"], publish, "{marker}");
        }
    }
}

/// Every request to a tenant waits at the gate, the look at its use among them.
#[tokio::test]
async fn the_looks_at_the_use_of_the_tenant_pass_the_gate() {
    let double = Double::start().await;
    let tenant = double.tenant();
    assert!(tenant.zone().await.is_ok());
    double.hang("/ThresholdInformation");
    let looks = futures_util::future::join_all((0..6).map(|_| tenant.client.threshold()));
    assert!(tokio::time::timeout(Duration::from_millis(300), looks).await.is_err(), "nothing is answered");
    assert_eq!(double.usage_asked(), 2);
}

/// `services_url` names a zone, which is believed where Autotask cannot tell one.
#[tokio::test]
async fn a_zone_that_is_named_serves_where_none_can_be_told() {
    let double = Double::start().await;
    let address: std::net::SocketAddr = double.base["http://".len()..].split('/').next().unwrap().parse().unwrap();
    let zone = async |host: &str, status: u16, body: Value| {
        double.answer_zone(status, body);
        let services_url = format!("http://{host}:{}/atservices/1.5/atws.asmx", address.port());
        let http = reqwest::Client::builder().resolve(host, address).build().unwrap();
        Zones::new(http, "api@msp.example".into(), Some(&services_url)).unwrap().current().await
    };
    let undetermined = || json!({ "errors": ["Zone information could not be determined"] });
    let port = address.port();
    for (host, pages) in [("webservices5.autotask.net", "ww5.autotask.net"), ("prde.autotask.net", "prde.autotask.net")] {
        for (status, body) in [(500, undetermined()), (404, json!({}))] {
            let found = zone(host, status, body).await.unwrap_or_else(|error| panic!("{host} {status}: {error}"));
            assert_eq!(found.api.as_str(), format!("http://{host}:{port}/atservicesrest/"));
            assert_eq!(found.web.as_ref().and_then(|web| web.host_str()), Some(pages));
        }
    }
    // It is asked nevertheless: a tenant may have moved.
    let elsewhere = json!({ "url": "https://webservices6.autotask.net/ATServicesRest/" });
    assert_eq!(zone("webservices5.autotask.net", 200, elsewhere).await.unwrap().api.host_str(), Some("webservices6.autotask.net"));
    // No zone is named.
    assert!(matches!(zone("webservices.autotask.net", 500, undetermined()).await, Err(HelpDeskError::Denied(_))));
    assert!(matches!(zone("webservices5.autotask.net", 503, json!({})).await, Err(HelpDeskError::Passing { .. })));
}

const PAGE: &str = include_str!("../../../../../docs/autotask.md");

fn sections() -> Sections {
    Sections::new(HELP_DESKS.iter().map(|kind| kind.section).chain([SectionKind::of::<ApplianceSection>()]))
}

/// The settings as the vendor's guide shows them, its two JSON texts with their nulls included, are read as they stand in our documents.
#[test]
fn the_guides_settings_are_read_as_the_documents_show_them() {
    let (_, rest) = PAGE.split_once("```toml\n").unwrap();
    let (file, _) = rest.split_once("```").unwrap();
    let settings = Settings::parse(&sections(), "docs/autotask.md", &file.replace("\"env:", "\""), std::iter::empty())
        .unwrap_or_else(|faults| panic!("{faults}"));
    let section = settings.connection[0].section::<AutotaskSection>().unwrap();
    assert_eq!((&section.note_type, section.update_time_entry, section.enable_automatic_ticket_creation), (&LabelOrId::Id(1), true, true));
    let time = TimeDefaults::read(section.time_entry_default_data.as_deref().unwrap()).unwrap();
    assert_eq!(
        (time.default_domain.as_deref(), time.role_name.as_deref(), time.billing_code),
        (Some("example.com"), Some("Sample Role"), None)
    );
    let ticket = TicketDefaults::read(section.ticket_default_data.as_deref().unwrap()).unwrap();
    assert_eq!(ticket.0["companyID"].value, "Acme, Inc.");
    Zones::new(reqwest::Client::builder().build().unwrap(), section.username.clone(), section.services_url.as_deref()).unwrap();
}

/// Each setting of the guide (seeds/003, pages 11 to 14) has a row, and each of our keys in that table exists.
#[test]
fn every_setting_of_the_guide_has_its_place() {
    const GUIDE: [&str; 39] = [
        "Plugin Configuration Name",
        "Appliance Id",
        "Bomgar Appliance Host Name",
        "Bomgar Integration API OAuth Client ID",
        "Bomgar Integration API OAuth Client Secret",
        "Bomgar Integration API User Name",
        "Bomgar Integration API Password",
        "Locale Used for Bomgar API Calls",
        "Disabled",
        "Allow Invalid Certificates",
        "Use Non-TLS Connections",
        "Outbound Events Types",
        "Polling Event Types",
        "Polling Interval",
        "Retry Attempt Limit",
        "Retry Outbound Event Types",
        "Retry Polling Event Types",
        "Autotask Services URL",
        "Autotask Username",
        "Autotask Password",
        "Autotask Note Type",
        "Autotask Publish Notes as Public",
        "Autotask Update Time Entry",
        "Time Entry Default Data",
        "Enable Automatic Ticket Creation on Session Start",
        "Ticket Default Data",
        "`defaultDomain`",
        "`roleName`",
        "`summaryNotes`",
        "`taskId`",
        "`internalAllocationCodeID`",
        "`type`",
        "`date`",
        "`offsetHours`",
        "`internalRepID`",
        "`creatorUserID`",
        "`contractID`",
        "`accountName`",
        "`assignedResourceRoleName`",
    ];
    let (_, table) = PAGE.split_once("## From the vendor's settings to ours").unwrap();
    let rows: Vec<Vec<&str>> =
        table.lines().filter(|line| line.starts_with("| ")).map(|line| line.split('|').map(str::trim).collect()).collect();
    let rows = &rows[2..rows.iter().position(|row| row[1] == "said").unwrap()];
    for setting in GUIDE {
        assert!(rows.iter().any(|row| row[1].contains(setting)), "{setting}");
    }
    let schema = deskbridge_core::settings::schema(&sections()).to_string();
    let keys: Vec<&str> = rows.iter().filter_map(|row| row[2].strip_prefix('`')?.strip_suffix('`')).collect();
    assert!(keys.len() > 20, "{keys:?}");
    for key in keys {
        let last = key.rsplit('.').next().unwrap();
        assert!(schema.contains(&format!("\"{last}\":")), "{key}");
    }
}
