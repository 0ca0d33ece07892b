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

use super::zone::Zones;
use super::*;
use crate::config::{LabelOrId, Secret, Settings};

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
    zone: Value,
    usage: u64,
    calls: Vec<Call>,
    next: VecDeque<(StatusCode, Value)>,
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
        self.memory.lock().unwrap().zone = json!({ "zoneName": "Double", "url": url, "webUrl": "http://127.0.0.1:1/", "ci": 1 });
    }

    fn next(&self, status: u16, body: Value) {
        self.memory.lock().unwrap().next.push_back((StatusCode::from_u16(status).unwrap(), body));
    }

    fn use_up(&self, requests: u64) {
        self.memory.lock().unwrap().usage = requests;
    }

    /// What was asked, but for zones and usage.
    fn calls(&self) -> Vec<Call> {
        self.memory.lock().unwrap().calls.clone()
    }

    fn tenant(&self) -> Autotask {
        let section = AutotaskSection {
            username: "api@msp.example".into(),
            secret: Secret::new("the secret"),
            integration_code: Secret::new("code"),
            services_url: Some(self.base.clone()),
            note_type: LabelOrId::Id(1),
            publish_notes_as_public: false,
            update_time_entry: false,
            time_entry_default_data: None,
            default_domain: None,
            enable_automatic_ticket_creation: false,
            ticket_default_data: None,
        };
        Autotask::new(AutotaskSettings { section, secret: "the secret".into(), integration_code: "code".into(), target_field: None })
            .unwrap()
    }
}

async fn answer(State(memory): State<Arc<Mutex<Memory>>>, method: Method, uri: Uri, headers: HeaderMap, body: String) -> Response {
    let mut memory = memory.lock().unwrap();
    let secret = headers.get("secret").map_or("", |value| value.to_str().unwrap()).to_owned();
    if uri.path().ends_with("/zoneInformation") {
        assert_eq!(secret, "", "the question for the zone carries no secret");
        return Json(memory.zone.clone()).into_response();
    }
    if uri.path().ends_with("/ThresholdInformation") {
        return Json(json!({ "externalRequestThreshold": 10_000, "currentTimeframeRequestCount": memory.usage })).into_response();
    }
    let body = serde_json::from_str(&body).unwrap_or(Value::Null);
    memory.calls.push(Call { method, path: uri.to_string(), secret, body });
    let (status, body) = memory.next.pop_front().expect("an answer was prepared");
    (status, Json(body)).into_response()
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
    assert_eq!(tenant.find_note("7", "[deskbridge/x/report/0]").await.unwrap().as_deref(), Some("41"));
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
    let refused = double.tenant().find_note("7", "deskbridge/x/report/0").await;
    assert!(matches!(refused, Err(TicketError::Refused(_))), "{refused:?}");
    assert!(stranger.calls().is_empty());
}

#[tokio::test]
async fn a_401_makes_one_look_for_another_zone_and_no_more_for_a_while() {
    let (old, new) = (Double::start().await, Double::start().await);
    let tenant = old.tenant();
    let unauthorised = || json!({ "errors": ["Authentication failed."] });
    // Not moved: refused credentials are refused credentials.
    old.next(401, unauthorised());
    assert!(matches!(tenant.ticket("7").await, Err(TicketError::Denied(_))));
    assert_eq!(old.calls().len(), 1, "the same zone is not asked twice");
    // Moved, but asked a moment ago.
    old.name_zone(&new.base);
    old.next(401, unauthorised());
    assert!(matches!(tenant.ticket("7").await, Err(TicketError::Denied(_))));
    assert!(new.calls().is_empty());
}

#[tokio::test]
async fn a_tenant_that_moved_is_asked_in_its_new_zone() {
    let (old, new) = (Double::start().await, Double::start().await);
    let tenant = old.tenant();
    assert!(tenant.zone().await.is_ok());
    old.name_zone(&new.base);
    old.next(401, json!({ "errors": ["Authentication failed."] }));
    new.next(200, json!({ "itemId": 45 }));
    let note = NewNote { title: "Report", body: "Text", marker: "deskbridge/x/report/0", attachments: &[] };
    assert_eq!(tenant.append_note("7", &note).await.unwrap(), "45");
    assert_eq!((old.calls().len(), new.calls().len()), (1, 1));
    assert_eq!(new.calls()[0].body["title"], "Report [deskbridge/x/report/0]");
}

#[tokio::test]
async fn nothing_is_sent_when_the_hour_is_nearly_used_up() {
    let double = Double::start().await;
    double.use_up(9_600);
    let refused = double.tenant().find_note("7", "deskbridge/x/report/0").await;
    assert!(matches!(refused, Err(TicketError::Passing { retry_after: Some(_), .. })), "{refused:?}");
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
    assert_eq!((ticket.target, ticket.organisation), (None, Some(0)));
    // While a ticket that may not be read holds the connection.
    double.next(500, denied);
    assert!(matches!(tenant.ticket("7").await, Err(TicketError::Denied(_))));
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
async fn an_agent_is_whoever_was_paired_unless_he_works_there_no_more() {
    let double = Double::start().await;
    let agent = |email: &str| AgentReference::Device { id: uuid::Uuid::nil(), name: "Anna".into(), email: Some(email.into()) };
    let tenant = double.tenant();
    let ask = async |email: &str| tenant.agent_for(&agent(email), &Ticket::default()).await;
    double.next(200, json!({ "items": [{ "id": 3, "email": "a@msp.example", "isActive": true }] }));
    assert_eq!(ask("a@msp.example").await.unwrap().name, "Anna");
    double.next(200, json!({ "items": [{ "id": 4, "email": "b@msp.example", "isActive": false }] }));
    assert!(matches!(ask("b@msp.example").await, Err(TicketError::NotAllowed(_))));
    double.next(500, json!({ "errors": ["The logged in Resource does not have the adequate permissions to query this entity type."] }));
    assert!(ask("c@msp.example").await.is_ok(), "not every API user may read resources");
    double.next(503, json!({}));
    assert!(matches!(ask("d@msp.example").await, Err(TicketError::Passing { .. })));
    assert!(matches!(tenant.agent_for(&AgentReference::User(1), &Ticket::default()).await, Err(TicketError::NotAllowed(_))));
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
        marker: "deskbridge/x/time/0".into(),
    };
    let nothing = || json!({ "items": [] });
    let role = json!({ "items": [{ "id": 1, "resourceID": 3, "roleID": 8, "isDefault": true, "isActive": true }] });
    double.next(200, json!({ "items": [{ "id": 3, "email": "a@msp.example", "isActive": true }] }));
    double.next(200, role);
    double.next(200, nothing());
    double.next(200, json!({ "itemId": 70 }));
    double.next(503, json!({}));
    assert!(matches!(tenant.record_time("7", &entry).await, Err(TicketError::Passing { .. })));
    let first = double.calls()[3].body["internalNotes"].clone();
    assert_eq!(first, "Remote support session [deskbridge/x/time/0 part 1 of 3]");
    let standing = || json!({ "items": [{ "id": 70, "ticketID": 7, "internalNotes": first }] });
    double.next(200, standing());
    assert_eq!(tenant.find_time("7", &entry).await.unwrap(), None, "a part is not the whole");
    double.next(200, standing());
    double.next(200, json!({ "itemId": 71 }));
    double.next(200, json!({ "itemId": 72 }));
    assert_eq!(tenant.record_time("7", &entry).await.unwrap(), "70");
    let marks: Vec<String> = double.calls()[7..].iter().map(|call| call.body["internalNotes"].to_string()).collect();
    assert!(marks.len() == 2 && marks[0].contains("part 2 of 3") && marks[1].contains("part 3 of 3"), "{marks:?}");
}

const PAGE: &str = include_str!("../../../../docs/autotask.md");

/// The settings as the vendor's guide shows them, its two JSON texts with their nulls included, are read as they stand in our documents.
#[test]
fn the_guides_settings_are_read_as_the_documents_show_them() {
    let (_, rest) = PAGE.split_once("```toml\n").unwrap();
    let (file, _) = rest.split_once("```").unwrap();
    let settings =
        Settings::parse("docs/autotask.md", &file.replace("\"env:", "\""), std::iter::empty()).unwrap_or_else(|faults| panic!("{faults}"));
    let section = settings.connection[0].autotask.as_ref().unwrap();
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
    let schema = crate::config::schema().to_string();
    let keys: Vec<&str> = rows.iter().filter_map(|row| row[2].strip_prefix('`')?.strip_suffix('`')).collect();
    assert!(keys.len() > 20, "{keys:?}");
    for key in keys {
        let last = key.rsplit('.').next().unwrap();
        assert!(schema.contains(&format!("\"{last}\":")), "{key}");
    }
}
