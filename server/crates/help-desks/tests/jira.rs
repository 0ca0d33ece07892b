//! The connector against the simulated Jira, Cloud and Data Center, which refuses what the vendor's documents refuse.

use std::sync::Arc;
use std::time::Duration;

use deskbridge_core::incident::Incident;
use deskbridge_core::note::Attachment;
use deskbridge_core::settings::{PanelSection, SectionKind, Sections, Settings};
use deskbridge_documents::{Block, Document, Inline, write_within};
use deskbridge_help_desks::{
    AgentReference, HELP_DESKS, HelpDesk, HelpDeskError, Item, NewFile, NewNote, NewTicket, NotAllowed, Surroundings, TimeEntry, Write,
    WriteOutcome,
};
use deskbridge_remote_support::beyondtrust::ApplianceSection;
use deskbridge_tests::jira::{Fault, Issue, Kind, LONGEST_LAG, Matching, Options, SimulatedJira};
use deskbridge_tests::server::until;
use reqwest::Method;
use serde_json::{Value, json};

const MARKER: &str = "deskbridge/incident-5f3c2b7e9d1a4c6f8e0b2d4f6a8c0e1d";

/// Fields of every kind, fixed and from the incident.
const FIELDS: &str = r#"
    type = "incident"
    [connection.jira.custom_fields_set]
    Severity = "high"
    labels = ["argus", "two words"]
    Sites = "Oslo"
    Priority = "High"
    [connection.jira.custom_fields_mapping]
    host = { tag = "host" }
    customfield_10002 = "start_time"
    Level = "level"
    Details = "description"
    Keywords = { tag = "url" }
    Day = "start_time"
    Contact = { tag = "contact" }
"#;

struct Desk {
    jira: SimulatedJira,
    desk: Arc<dyn HelpDesk>,
}

fn desk_of(jira: &SimulatedJira, more: &str) -> Arc<dyn HelpDesk> {
    let sections = Sections::new(HELP_DESKS.iter().map(|kind| kind.section).chain([SectionKind::of::<ApplianceSection>()]));
    let section = jira.section().replace("[jira]", "[connection.jira]");
    let text = format!(
        "[server]\npublic_url = \"https://remote.example.com\"\n[[connection]]\nname = \"Jira\"\n[connection.appliance]\nid = \"default\"\n\
         host = \"support.example.com\"\nclient_id = \"a\"\nclient_secret = \"b\"\nevent_token = \"0123456789abcdef0123456789abcdef\"\n{section}\n{more}"
    );
    let settings = Settings::parse(&sections, "settings", &text, std::iter::empty()).unwrap_or_else(|faults| panic!("{faults}\n{text}"));
    deskbridge_help_desks::build(&settings.connection[0]).unwrap()
}

impl Desk {
    async fn start(kind: Kind, more: &str) -> Self {
        // The lag has a test of its own.
        Self::start_with(Options { search_lag: Duration::ZERO, ..Options::of(kind) }, more).await
    }

    async fn start_with(options: Options, more: &str) -> Self {
        let jira = SimulatedJira::start(options).await.unwrap();
        let desk = desk_of(&jira, more);
        Self { jira, desk }
    }

    /// Writes, in whatever form is taken; how many requests left.
    async fn write(&self, write: &Write<'_>) -> (Result<String, HelpDeskError>, usize) {
        let mut prepared = match self.desk.prepare(write).await {
            Ok(prepared) => prepared,
            Err(error) => return (Err(error), 0),
        };
        for sent in 1..=10 {
            prepared = match prepared.send().await {
                WriteOutcome::Written(id) => return (Ok(id), sent),
                WriteOutcome::Refused(error) | WriteOutcome::Unknown { error, .. } => return (Err(error), sent),
                WriteOutcome::TryInstead(next) | WriteOutcome::Partly(next) => next,
            };
        }
        panic!("no end");
    }

    async fn create(&self, new: &NewTicket) -> Result<String, HelpDeskError> {
        self.write(&Write { ticket: "", marker: MARKER, item: Item::Ticket(new) }).await.0
    }

    /// The ticket of an incident.
    async fn created(&self, new: &NewTicket) -> Issue {
        let key = self.create(new).await.unwrap();
        self.jira.issue(&key).unwrap()
    }

    /// What was asked since so many requests.
    fn asked(&self, since: usize) -> Vec<String> {
        self.jira.requests()[since..].iter().map(|request| format!("{} {}", request.method, request.path)).collect()
    }
}

fn incident() -> NewTicket {
    let posted = json!({
        "pk": 1, "start_time": "2026-11-21T23:14:00.123456+01:00", "end_time": "infinity", "level": 2,
        "source": { "pk": 2, "name": "nav.example.org" }, "source_incident_id": "42",
        "description": "Link down: *core-1* [~anna]\n<b>&amp;</b> æøå",
        "tags": [{ "tag": "host=core-1" }, { "tag": "url=https://x/?a=b" }, { "tag": "contact=anna@msp.example" }],
    });
    let incident = Incident::read(posted).unwrap();
    let document = Document::new(vec![
        Block::Heading { level: 2, content: vec![Inline::text("Description")] },
        Block::Paragraph(vec![Inline::text(incident.description.clone())]),
    ]);
    let (title, description) = (incident.title.clone(), incident.description.clone());
    NewTicket { title, description, document: Some(document), incident: Some(Arc::new(incident)), ..NewTicket::default() }
}

fn text_of(issue: &Issue) -> String {
    issue.fields["description"].to_string()
}

#[track_caller]
fn assert_contains(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
}

#[tokio::test]
async fn an_incidents_values_reach_each_kind_of_field() {
    let desk = Desk::start(Kind::Cloud, FIELDS).await;
    let issue = desk.created(&incident()).await;
    let field = |id: &str| &issue.fields[id];
    let adf = |content: Value| json!({ "version": 1, "type": "doc", "content": [{ "type": "paragraph", "content": content }] });
    let lines = json!([
        { "type": "text", "text": "Link down: *core-1* [~anna]" }, { "type": "hardBreak" }, { "type": "text", "text": "<b>&amp;</b> æøå" },
    ]);
    for (id, expected) in [
        ("summary", json!("Link down: *core-1* [~anna] <b>&amp;</b> æøå")),
        ("issuetype", json!({ "id": "10002" })),
        ("project", json!({ "key": "NET" })),
        ("priority", json!({ "name": "High" })),
        ("labels", json!(["argus", "two_words", MARKER])),
        ("customfield_10001", json!("core-1")),
        ("customfield_10002", json!("2026-11-21T23:14:00.123+0100")),
        ("customfield_10003", json!({ "value": "High" })),
        ("customfield_10004", json!(2)),
        ("customfield_10005", adf(lines)),
        ("customfield_10006", json!(["https://x/?a=b"])),
        ("customfield_10007", json!([{ "value": "Oslo" }])),
        ("customfield_10008", json!({ "accountId": "5b10-anna" })),
        ("customfield_10009", json!("2026-11-21")),
    ] {
        assert_eq!(field(id), &expected, "{id}");
    }
    assert_contains(&text_of(&issue), &["Link down: *core-1*", MARKER]);
    assert_eq!(desk.desk.ticket_url(&issue.key).await.unwrap(), format!("{}browse/{}", desk.jira.url(), issue.key));
    assert_eq!(desk.jira.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn data_center_gets_wiki_markup_and_user_names() {
    let desk = Desk::start(Kind::DataCenter, &FIELDS.replace("contact\"", "owner\"")).await;
    let mut new = incident();
    let Some(incident) = new.incident.take() else { unreachable!() };
    let mut posted = incident.posted.clone();
    posted["tags"] = json!(["host=core-1", "url=u", "owner=5b10-anna"]);
    new.incident = Some(Arc::new(Incident::read(posted).unwrap()));
    let issue = desk.created(&new).await;
    assert_eq!(issue.fields["customfield_10008"], json!({ "name": "5b10-anna" }));
    let text = issue.fields["description"].as_str().unwrap();
    assert_contains(text, &["h2. Description", "\\*core-\u{2060}1\\*", &format!("{{noformat}}\n{MARKER}\n{{noformat}}")]);
    assert!(!text.contains("[~anna]"), "{text}");
}

#[tokio::test]
async fn a_second_ticket_takes_one_request() {
    for kind in [Kind::Cloud, Kind::DataCenter] {
        let more = FIELDS.replace("Contact = { tag = \"contact\" }\n", "");
        let desk = Desk::start(kind, &more).await;
        desk.created(&incident()).await;
        let asked = desk.jira.requests().len();
        desk.created(&incident()).await;
        assert_eq!(desk.asked(asked).len(), 1, "{:?}", desk.asked(asked));
    }
}

#[tokio::test]
async fn what_cannot_be_set_is_left_out_and_named() {
    let more = r#"
        [connection.jira.custom_fields_set]
        Severity = "Worst"
        Hidden = "x"
        customfield_10021 = "x"
        Level = "much"
        [connection.jira.custom_fields_mapping]
        Host = { tag = "place" }
        Started = "end_time"
    "#;
    for kind in [Kind::Cloud, Kind::DataCenter] {
        let desk = Desk::start(kind, more).await;
        let new = incident();
        let (key, sent) = desk.write(&Write { ticket: "", marker: MARKER, item: Item::Ticket(&new) }).await;
        assert_eq!(sent, 1, "Jira is not asked for what it would refuse");
        let issue = desk.jira.issue(&key.unwrap()).unwrap();
        let text = text_of(&issue).replace(['\\', '\u{2060}'], "");
        assert_contains(
            &text,
            &[
                "Not set on this ticket",
                "Severity: “Worst” is none of High, Low",
                "Hidden: not on the screen for new tickets of NET",
                "Jira has no field of this name",
                "Level: “much” is no number",
                "Host (tag place)",
                "Started: “infinity” is no time",
            ],
        );
        assert!(!issue.fields.keys().any(|id| id.starts_with("customfield_")), "{:?}", issue.fields);
    }
}

#[tokio::test]
async fn what_jira_refuses_is_left_out_in_a_second_request() {
    // The screen has changed since it was asked for.
    let desk = Desk::start(Kind::Cloud, FIELDS).await;
    desk.created(&incident()).await;
    desk.jira.change_field("customfield_10001", |field| field.is_on_screen = false);
    desk.jira.change_field("customfield_10003", |field| field.options = vec!["Critical".to_owned()]);
    desk.jira.change_field("labels", |field| field.is_on_screen = false);
    let new = incident();
    let (key, sent) = desk.write(&Write { ticket: "", marker: MARKER, item: Item::Ticket(&new) }).await;
    let issue = desk.jira.issue(&key.unwrap()).unwrap();
    assert_eq!(sent, 2);
    assert_contains(
        &text_of(&issue),
        &[
            "Host: Field 'customfield_10001' cannot be set",
            "Severity: Option value 'High' is not valid",
            "Labels: Field 'labels' cannot be set",
        ],
    );
    assert_eq!(issue.fields["customfield_10004"], json!(2), "the others are set");
    // The next one knows, and is found without a label.
    let asked = desk.jira.requests().len();
    let (key, sent) = desk.write(&Write { ticket: "", marker: "deskbridge/ab12", item: Item::Ticket(&new) }).await;
    assert_eq!((sent, desk.asked(asked).iter().filter(|asked| *asked == "POST /rest/api/3/issue").count()), (1, 1));
    let found = desk.desk.find(&Write { ticket: "", marker: "deskbridge/ab12", item: Item::Ticket(&new) }).await.unwrap();
    assert_eq!(found, Some(key.unwrap()));
    assert_eq!(desk.jira.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn a_jira_that_does_not_tell_its_fields_says_itself_what_it_refuses() {
    for kind in [Kind::Cloud, Kind::DataCenter] {
        let more = r#"
            [connection.jira.custom_fields_set]
            Hidden = "x"
            Severity = "Worst"
            Level = "3"
        "#;
        let desk = Desk::start_with(Options { tells_fields: false, search_lag: Duration::ZERO, ..Options::of(kind) }, more).await;
        let new = incident();
        let (key, sent) = desk.write(&Write { ticket: "", marker: MARKER, item: Item::Ticket(&new) }).await;
        let issue = desk.jira.issue(&key.unwrap()).unwrap();
        assert_eq!((sent, &issue.fields["customfield_10004"]), (2, &json!(3.0)));
        let text = text_of(&issue).replace(['\\', '\u{2060}'], "");
        assert_contains(&text, &["Hidden: Field 'customfield_10020' cannot be set", "Severity: Option value 'Worst' is not valid"]);
    }
}

#[tokio::test]
async fn a_final_refusal_has_jiras_own_words() {
    let desk = Desk::start(Kind::Cloud, "").await;
    desk.jira.change_field("customfield_10001", |field| field.is_required = true);
    let said = desk.create(&incident()).await.unwrap_err();
    assert!(matches!(said, HelpDeskError::Refused(_)), "{said:?}");
    assert_contains(&said.to_string(), &["customfield_10001: Host is required."]);

    let said = Desk::start(Kind::Cloud, "type = \"Bug\"").await.create(&incident()).await.unwrap_err().to_string();
    assert_contains(&said, &["NET has no issue type “Bug”", "Task, Incident"]);

    desk.jira.deny(&["CREATE_ISSUES"]);
    let other = desk_of(&desk.jira, "");
    let said = Desk { jira: desk.jira.clone(), desk: other }.create(&incident()).await.unwrap_err().to_string();
    assert_contains(&said, &["You cannot create issues in this project."]);

    desk.jira.deny(&[]);
    desk.jira.set_token("another");
    assert!(desk.create(&incident()).await.unwrap_err().is_of_credentials());
    assert!(matches!(desk.create(&incident()).await, Err(HelpDeskError::Resting { .. })), "it is not asked again at once");
}

#[tokio::test]
async fn when_jira_asks_for_patience_it_is_told_how_long() {
    let desk = Desk::start(Kind::Cloud, "").await;
    let fault = Fault::Status { code: 429, body: String::new(), retry_after: Some(7) };
    desk.jira.fail_next(1, Matching::new(Method::POST, "/rest/api/3/issue").exactly(), fault);
    let said = desk.create(&incident()).await.unwrap_err();
    assert!(matches!(said, HelpDeskError::Passing { retry_after: Some(after), .. } if after == Duration::from_secs(7)), "{said:?}");
    assert_eq!(desk.jira.issues().len(), 0);
}

#[tokio::test]
async fn a_search_that_lags_finds_the_ticket_in_time() {
    let desk = Desk::start_with(Options::of(Kind::Cloud), "").await;
    desk.jira.fail_next(1, Matching::new(Method::POST, "/rest/api/3/issue").exactly(), Fault::ApplyThenClose);
    let new = incident();
    let write = Write { ticket: "", marker: MARKER, item: Item::Ticket(&new) };
    desk.write(&write).await.0.unwrap_err();
    assert_eq!(desk.desk.find(&write).await.unwrap(), None, "the search does not know it yet");
    // What is unknown is settled later than any search lags.
    assert!(desk.desk.abilities().settles_within > LONGEST_LAG * 2);
    let is_found = async || Ok(desk.desk.find(&write).await?.is_some());
    until("the search knows the ticket", LONGEST_LAG * 12, is_found).await.unwrap();
    assert_eq!(desk.desk.find(&write).await.unwrap().as_deref(), Some("NET-1"));
    let other = Write { marker: "deskbridge/incident-00000000000000000000000000000000", ..write };
    assert_eq!(desk.desk.find(&other).await.unwrap(), None);
    desk.desk.prove_absence(&write).await.unwrap();
    desk.jira.deny(&["BROWSE_PROJECTS"]);
    assert_contains(&desk.desk.prove_absence(&write).await.unwrap_err().to_string(), &["Browse Projects", "not two"]);
}

#[tokio::test]
async fn titles_and_texts_keep_within_jiras_limits() {
    for kind in [Kind::Cloud, Kind::DataCenter] {
        let desk = Desk::start(kind, "").await;
        let mut new = incident();
        new.title = "😀 and words ".repeat(60);
        new.document = Some(Document::new(vec![Block::Paragraph(vec![Inline::text("*word* \n".repeat(9_000))])]));
        let issue = desk.created(&new).await;
        let summary = issue.fields["summary"].as_str().unwrap();
        assert!(summary.encode_utf16().count() <= 255 && summary.ends_with('…'), "{summary}");
        assert_contains(&text_of(&issue), &["…", MARKER]);
    }
}

// Notes, time, files

async fn noted(desk: &Desk, ticket: &str, marker: &str, is_public: bool) -> Result<String, HelpDeskError> {
    let form = desk.desk.abilities().note.unwrap();
    let document = Document::new(vec![Block::Paragraph(vec![Inline::text("It runs again {color:red} [x|javascript:1]")])]);
    let body = write_within(&document, form, marker).unwrap().text;
    let note = NewNote { title: "Report", body: &body, attachments: &[], gives_up_files: false, is_public };
    desk.write(&Write { ticket, marker, item: Item::Note(&note) }).await.0
}

#[tokio::test]
async fn an_internal_note_is_hidden_and_a_public_one_is_not() {
    for kind in [Kind::Cloud, Kind::DataCenter] {
        for (more, visibility) in [
            ("", Value::Null),
            ("internal_role = \"Service Desk Team\"", json!({ "type": "role", "value": "Service Desk Team" })),
            ("internal_group = \"jira-technicians\"", json!({ "type": "group", "value": "jira-technicians" })),
        ] {
            let desk = Desk::start(kind, more).await;
            let ticket = desk.jira.add_ticket("Printer").unwrap();
            noted(&desk, &ticket, "deskbridge/ab/report/0", false).await.unwrap();
            noted(&desk, &ticket, "deskbridge/ab/report/1", true).await.unwrap();
            let comments = desk.jira.issue(&ticket).unwrap().comments;
            assert_eq!(comments[0]["properties"], json!([{ "key": "sd.public.comment", "value": { "internal": true } }]));
            assert_eq!((&comments[0]["visibility"], &comments[1]["visibility"]), (&visibility, &Value::Null));
            assert!(comments[1]["properties"].is_null());
            assert_eq!(desk.jira.violations(), Vec::<String>::new());
        }
        let desk = Desk::start(kind, "internal_role = \"Nobody\"").await;
        let ticket = desk.jira.add_ticket("Printer").unwrap();
        let said = noted(&desk, &ticket, "deskbridge/ab/report/0", false).await.unwrap_err().to_string();
        assert_contains(&said, &["The role: Nobody does not exist."]);
    }
}

#[tokio::test]
async fn notes_time_and_files_are_found_by_their_markers() {
    for kind in [Kind::Cloud, Kind::DataCenter] {
        let desk = Desk::start(kind, "update_time_spent = true").await;
        let ticket = desk.jira.add_ticket("Printer").unwrap();
        // More than a page.
        for number in 1..=20 {
            noted(&desk, &ticket, &format!("deskbridge/ab/report/{number}"), false).await.unwrap();
        }
        let note = NewNote { title: "", body: "", attachments: &[], gives_up_files: false, is_public: false };
        let find = async |marker: &str, item: Item<'_>| desk.desk.find(&Write { ticket: &ticket, marker, item }).await.unwrap();
        for (marker, is_there) in [("report/1", true), ("report/20", true), ("report/2", true), ("report/21", false), ("report/0", false)] {
            let found = find(&format!("deskbridge/ab/{marker}"), Item::Note(&note)).await;
            assert_eq!(found.is_some(), is_there, "{marker}");
        }
        let first = desk.jira.issue(&ticket).unwrap().comments[0]["id"].as_str().map(str::to_owned);
        assert_eq!(find("deskbridge/ab/report/1", Item::Note(&note)).await, first, "not another that begins so");

        let entry = TimeEntry {
            started_at: 1_795_292_040_123,
            ended_at: 1_795_292_760_123,
            representative: "jdoe".into(),
            name: "Jane Doe".into(),
        };
        let marker = "deskbridge/ab/time/0";
        assert_eq!(find(marker, Item::Time(&entry)).await, None);
        let made = desk.write(&Write { ticket: &ticket, marker, item: Item::Time(&entry) }).await.0.unwrap();
        assert_eq!(find(marker, Item::Time(&entry)).await, Some(made));
        let worked = &desk.jira.issue(&ticket).unwrap().worklogs[0];
        assert_eq!((&worked["timeSpentSeconds"], &worked["started"]), (&json!(720), &json!("2026-11-21T20:14:00.123+0000")));
        assert_contains(&worked["comment"].to_string(), &["Jane Doe"]);

        let bytes = b"<html>\r\n--x--\r\n\0\xff</html>".to_vec();
        let file = Attachment { file_name: "session-ab.html".into(), content_type: "text/html; charset=utf-8", bytes: bytes.clone() };
        let item = Item::File(NewFile { file: &file, is_public: false });
        assert_eq!(find("", item).await, None);
        let made = desk.write(&Write { ticket: &ticket, marker: "deskbridge/ab/report-file/0", item }).await.0.unwrap();
        assert_eq!(find("", item).await, Some(made));
        let (_, name, content_type, content) = desk.jira.issue(&ticket).unwrap().files[0].clone();
        assert_eq!((name.as_str(), content_type.as_str(), content), ("session-ab.html", "text/html; charset=utf-8", bytes));
        desk.jira.deny(&["CREATE_ATTACHMENTS"]);
        let refused = desk.write(&Write { ticket: &ticket, marker: "deskbridge/ab/report-file/1", item }).await.0;
        assert!(
            matches!(&refused, Err(HelpDeskError::FileRefused(said)) if said.contains("permission to create attachments")),
            "{refused:?}"
        );
        assert_eq!(desk.jira.violations(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_ticket_that_is_not_there_takes_no_note() {
    let desk = Desk::start(Kind::Cloud, "").await;
    let said = noted(&desk, "NET-99", "deskbridge/ab/report/0", false).await.unwrap_err();
    assert!(matches!(&said, HelpDeskError::NoTicket(text) if text.contains("NET-99") && text.contains("browse")), "{said:?}");
    let asked = desk.jira.requests().len();
    for name in ["NET-1/comment", "../myself", "NET-1?x=y", "99"] {
        assert!(matches!(noted(&desk, name, "deskbridge/ab/report/0", false).await, Err(HelpDeskError::NoTicket(_))), "{name}");
        assert!(!desk.desk.is_ticket_name(name), "{name}");
    }
    assert_eq!(desk.asked(asked), Vec::<String>::new());
    // A moved one answers to its old key.
    let ticket = desk.jira.add_ticket("Printer").unwrap();
    desk.jira.move_ticket(&ticket, "OPS-5");
    noted(&desk, &ticket, "deskbridge/ab/report/0", false).await.unwrap();
    assert_eq!(desk.jira.issue("OPS-5").unwrap().comments.len(), 1);
    let agent = AgentReference::User("1".into());
    let refused = desk.desk.ticket_for(&agent, &ticket).await;
    assert!(matches!(refused, Err(HelpDeskError::NotAllowed { why: NotAllowed::PanelInExtension, .. })));
}

#[tokio::test]
async fn a_ticket_is_named_by_its_key_or_its_address() {
    let desk = Desk::start(Kind::Cloud, "").await;
    let url = desk.jira.url();
    for (name, expected) in [("NET-7".to_owned(), "NET-7"), (format!("{url}browse/NET-7"), "NET-7"), ("net-7".to_owned(), "NET-7")] {
        assert!(desk.desk.is_ticket_name(&name), "{name}");
        assert_eq!(desk.desk.resolve(&name).await.unwrap(), expected);
    }
    for name in
        [format!("{url}browse/NET-7?a=b"), "https://other.example.com/browse/NET-7".to_owned(), "OPS-7".to_owned(), "NET-7 x".to_owned()]
    {
        assert!(!desk.desk.is_ticket_name(&name), "{name}");
    }
}

// Closing

#[tokio::test]
async fn a_ticket_is_closed_by_the_transition_of_that_name() {
    for kind in [Kind::Cloud, Kind::DataCenter] {
        let (desk, named) = (Desk::start(kind, "").await, "close_transition = \"reject\"");
        let ticket = desk.jira.add_ticket("Printer").unwrap();
        desk.desk.close(&ticket).await.unwrap();
        assert_eq!(desk.jira.issue(&ticket).unwrap().status, "Done");
        let asked = desk.jira.requests().len();
        desk.desk.close(&ticket).await.unwrap();
        assert_eq!(desk.asked(asked).len(), 1, "it stays as it is");

        desk.jira.set_transitions(&[("Start", "In Progress"), ("Resolve", "Done"), ("Reject", "Rejected")]);
        let ticket = desk.jira.add_ticket("Printer").unwrap();
        let said = desk.desk.close(&ticket).await.unwrap_err().to_string();
        assert_contains(&said, &[&ticket, "several transitions", "jira.close_transition", "Resolve, Reject"]);
        desk_of(&desk.jira, named).close(&ticket).await.unwrap();
        assert_eq!(desk.jira.issue(&ticket).unwrap().status, "Rejected");

        desk.jira.deny(&["TRANSITION_ISSUES"]);
        let ticket = desk.jira.add_ticket("Printer").unwrap();
        assert_contains(&desk_of(&desk.jira, named).close(&ticket).await.unwrap_err().to_string(), &["Transition Issues"]);
        assert!(matches!(desk.desk.close("NET-99").await, Err(HelpDeskError::NoTicket(_))));
        assert_eq!(desk.jira.violations(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn many_tickets_are_asked_for_at_once() {
    for kind in [Kind::Cloud, Kind::DataCenter] {
        let desk = Desk::start_with(Options::of(kind), "").await;
        let tickets: Vec<String> = (0..20).map(|number| desk.jira.add_ticket(&format!("Printer {number}")).unwrap()).collect();
        desk.jira.set_status(&tickets[3], "Done");
        desk.jira.set_status(&tickets[4], "In Progress");
        assert_eq!(desk.desk.closed_among(&tickets).await.unwrap(), tickets[3..4]);
        assert_eq!(desk.jira.requests().len(), 1, "{:?}", desk.asked(0));
        // One that is gone counts; one that was moved has another key.
        desk.jira.delete_ticket(&tickets[6]);
        desk.jira.move_ticket(&tickets[5], "OPS-1");
        assert_eq!(desk.desk.closed_among(&tickets).await.unwrap(), [tickets[3].clone(), tickets[6].clone()]);
        // Who sees nothing any more knows nothing.
        desk.jira.deny(&["BROWSE_PROJECTS"]);
        desk.desk.closed_among(&tickets).await.unwrap_err();
        assert_eq!(desk.desk.closed_among(&[]).await.unwrap(), Vec::<String>::new());
        assert_eq!(desk.jira.violations(), Vec::<String>::new());
    }
}

// Automatic tickets

#[tokio::test]
async fn a_key_says_what_the_matter_is_and_sets_nothing_else() {
    let defaults = r#"ticket_default_data = '{"Priority": "Low", "labels": ["remote"], "title": "Session"}'"#;
    let desk = Desk::start(Kind::Cloud, &format!("{defaults}\nexternal_key_may_set = [\"email\", \"Host\"]")).await;
    let fields = |value: Value| value.as_object().cloned().unwrap();
    let key = json!({ "title": "VPN\ndown", "priority": "high", "Severity": "High", "host": "pc-1", "email": "anna@msp.example", "name": "Anna" });
    let new = NewTicket { fields: fields(key), title: "T".into(), description: "D".into(), ..NewTicket::default() };
    let issue = desk.created(&new).await;
    for (id, expected) in [
        ("summary", json!("VPN down")),
        ("priority", json!({ "name": "High" })),
        ("customfield_10001", json!("pc-1")),
        ("reporter", json!({ "accountId": "5b10-anna" })),
        ("labels", json!(["remote", MARKER])),
    ] {
        assert_eq!(issue.fields[id], expected, "{id}");
    }
    assert_contains(&text_of(&issue), &["external key, which does not set it: Severity"]);
    assert!(!issue.fields.contains_key("customfield_10003"));
    let refused = NewTicket { key_in_text: true, ..new };
    let issue = desk.created(&refused).await;
    assert_contains(&text_of(&issue), &["Customer: Anna <anna@msp.example>", "host: "]);
    assert_eq!(issue.fields["priority"], json!({ "name": "Low" }));
    let issue = desk.created(&NewTicket { title: "T".into(), description: "D".into(), ..NewTicket::default() }).await;
    assert_eq!(issue.fields["summary"], "Session");
    let issue = desk.created(&incident()).await;
    assert_contains(issue.fields["summary"].as_str().unwrap(), &["Link down"]);
    assert_eq!(issue.fields["priority"], json!({ "name": "Low" }));
}

// What an administrator reads

#[tokio::test]
async fn check_names_each_thing_that_is_missing() {
    let panel = PanelSection::default();
    let around = Surroundings { panel: &panel, appliance_host: None, client_scripts: None, public_url: "https://remote.example.com" };
    let told = async |desk: &dyn HelpDesk| {
        let findings = desk.check(&around).await;
        let lines: Vec<String> =
            findings.iter().map(|finding| format!("{:?} {}: {}", finding.mark, finding.what, finding.message)).collect();
        lines.join("\n")
    };
    for kind in [Kind::Cloud, Kind::DataCenter] {
        let desk = Desk::start(kind, &format!("update_time_spent = true\n{FIELDS}")).await;
        desk.jira.add_ticket("Looked at").unwrap();
        let said = told(desk.desk.as_ref()).await;
        assert!(!said.contains("Bad"), "{said}");
        assert_contains(
            &said,
            &[
                "Deskbridge at",
                "NET (Network)",
                "Work On Issues",
                "incident",
                "Details (customfield_10005) from description",
                "by “Resolve”",
            ],
        );
        assert_eq!(desk.jira.violations(), Vec::<String>::new());

        desk.jira.deny(&["ADD_COMMENTS", "WORK_ON_ISSUES"]);
        desk.jira.change_field("customfield_10001", |field| field.is_on_screen = false);
        desk.jira.change_field("customfield_10003", |field| field.options = vec!["Critical".to_owned()]);
        desk.jira.change_field("labels", |field| field.is_on_screen = false);
        let said = told(desk_of(&desk.jira, &format!("update_time_spent = true\n{FIELDS}")).as_ref()).await;
        assert_contains(
            &said,
            &[
                "Bad permission Add Comments: the API user lacks it in NET",
                "Bad permission Work On Issues",
                "host: not on the screen for new tickets",
                "Severity: “high” is none of Critical",
                "new tickets have no labels",
            ],
        );
        let said = told(desk_of(&desk.jira, "type = \"Bug\"").as_ref()).await;
        assert_contains(&said, &["Bad issue type", "no issue type “Bug”"]);
        desk.jira.deny(&["BROWSE_PROJECTS"]);
        assert_contains(&told(desk.desk.as_ref()).await, &["Bad project: Jira shows the API user no project “NET”"]);
        desk.jira.set_token("another");
        assert_contains(&told(desk.desk.as_ref()).await, &["Bad Jira login", "did not accept the API user"]);
    }
}

#[test]
fn settings_that_cannot_be_meant_are_refused() {
    let sections = Sections::new(HELP_DESKS.iter().map(|kind| kind.section).chain([SectionKind::of::<ApplianceSection>()]));
    let base = [("url", "\"https://example.atlassian.net\""), ("token", "\"t\""), ("email", "\"bot@example.com\""), ("project", "\"NET\"")];
    let parse = |key: &str, value: &str| {
        let mut lines: Vec<String> =
            base.iter().filter(|(name, _)| *name != key).map(|(name, value)| format!("{name} = {value}")).collect();
        if !value.is_empty() {
            lines.push(format!("{key} = {value}"));
        }
        let text = format!(
            "[server]\npublic_url = \"https://remote.example.com\"\n[[connection]]\nname = \"Jira\"\n[connection.appliance]\nid = \"default\"\n\
             host = \"support.example.com\"\nclient_id = \"a\"\nclient_secret = \"b\"\nevent_token = \"0123456789abcdef0123456789abcdef\"\n\
             [connection.jira]\n{}",
            lines.join("\n")
        );
        Settings::parse(&sections, "settings", &text, std::iter::empty()).map(drop).map_err(|faults| faults.to_string())
    };
    assert_eq!(parse("type", "\"Bug\""), Ok(()));
    assert_eq!(parse("project", "\"10000\""), Ok(()));
    assert_eq!(parse("custom_fields_set", "{ Host = \"x\", Level = 2 }"), Ok(()));
    for (key, value) in [
        ("url", "\"http://example.com\""),
        ("url", "\"https://example.com/rest/api/2\""),
        ("api_url", "\"ftp://x\""),
        ("token", ""),
        ("email", "\"bot\""),
        ("project", "\"NET-1\""),
        ("type", "\" \""),
        ("close_transition", "\"\""),
        ("custom_fields_set", "{ project = \"OPS\" }"),
        ("custom_fields_mapping", "{ summary = \"level\" }"),
        ("custom_fields_mapping", "{ Host = 5 }"),
        ("external_key_may_set", "[\"issuetype\"]"),
        ("ticket_default_data", "\"{\""),
        ("ticket_default_data", "'{\"Project\": \"OPS\"}'"),
        ("settle_seconds", "1"),
        ("ca_file", "\"/no/such/file\""),
        ("internal_group", "\"a\"\ninternal_role = \"b\""),
    ] {
        let said = parse(key, value).expect_err(key);
        assert!(said.contains(key), "{key} = {value}: {said}");
    }
}
