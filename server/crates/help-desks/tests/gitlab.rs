//! The connector on a simulated GitLab that refuses what the real one refuses.

use std::sync::Arc;
use std::time::Duration;

use deskbridge_core::finding::{Finding, Mark};
use deskbridge_core::incident::Incident;
use deskbridge_core::note::Attachment;
use deskbridge_core::settings::{Faults, PanelSection, Sections, Settings};
use deskbridge_documents::{Block, Document, Inline};
use deskbridge_help_desks::{
    HELP_DESKS, HelpDesk, HelpDeskError, Item, NewNote, NewTicket, Surroundings, TimeEntry, Write, WriteOutcome, build,
};
use deskbridge_tests::gitlab::{Fault, Issue, Matching, Options, Role, SimulatedGitLab, SpamAnswer};
use reqwest::Method;
use serde_json::{Value, json};

const MARKER: &str = "deskbridge/incident-0123456789abcdef0123456789abcdef";
const NOTE_MARKER: &str = "deskbridge/incident-0123456789abcdef0123456789abcdef/end-1/0";

async fn gitlab(change: impl FnOnce(&mut Options)) -> SimulatedGitLab {
    let mut options = Options::default();
    change(&mut options);
    SimulatedGitLab::start(options).await.unwrap()
}

fn settings(section: &Value) -> Result<Settings, Faults> {
    let file = json!({ "connection": [{ "name": "GitLab", "gitlab": section }] });
    let sections = Sections::new(HELP_DESKS.iter().map(|kind| kind.section));
    Settings::parse(&sections, "settings", &toml::to_string(&file).unwrap(), std::iter::empty())
}

fn section(gitlab: &SimulatedGitLab, changes: &Value) -> Value {
    let options = gitlab.options();
    let mut section = json!({ "url": gitlab.url(), "token": options.token, "project": options.project });
    section.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    section
}

fn desk_with(gitlab: &SimulatedGitLab, changes: &Value) -> Arc<dyn HelpDesk> {
    let settings = settings(&section(gitlab, changes)).unwrap_or_else(|faults| panic!("{faults}"));
    build(&settings.connection[0]).unwrap()
}

fn desk(gitlab: &SimulatedGitLab) -> Arc<dyn HelpDesk> {
    desk_with(gitlab, &json!({}))
}

async fn check(desk: &dyn HelpDesk) -> Vec<Finding> {
    let panel = PanelSection::default();
    desk.check(&Surroundings { panel: &panel, appliance_host: None, client_scripts: None, public_url: "https://remote.example.com" }).await
}

fn document(text: &str) -> Document {
    Document::new(vec![Block::Paragraph(vec![Inline::text(text)])])
}

/// Argus's form, with a level that is a number.
fn incident(title: &str, text: &str) -> NewTicket {
    let posted = json!({
        "pk": 1, "source": { "pk": 2, "name": "nav.example.org" }, "description": title, "level": 2,
        "tags": [{ "tag": "host=core-1" }, { "tag": "url=https://x.example/?a=b" }],
    });
    NewTicket {
        title: title.into(),
        document: Some(document(text)),
        incident: Some(Arc::new(Incident::read(posted).unwrap())),
        ..NewTicket::default()
    }
}

fn write_of(new: &NewTicket) -> Write<'_> {
    Write { ticket: "", marker: MARKER, item: Item::Ticket(new) }
}

/// Prepares and sends until it is known what became of it.
async fn written(desk: &dyn HelpDesk, write: &Write<'_>) -> Result<String, HelpDeskError> {
    let mut prepared = desk.prepare(write).await?;
    loop {
        prepared = match prepared.send().await {
            WriteOutcome::Written(id) => return Ok(id),
            WriteOutcome::Partly(next) | WriteOutcome::TryInstead(next) => next,
            WriteOutcome::Refused(error) | WriteOutcome::Unknown { error, .. } => return Err(error),
        };
    }
}

async fn make(desk: &dyn HelpDesk, new: &NewTicket) -> Result<String, HelpDeskError> {
    written(desk, &write_of(new)).await
}

fn issue(gitlab: &SimulatedGitLab, iid: &str) -> Issue {
    gitlab.issue(iid).unwrap_or_else(|| panic!("there is no issue {iid}"))
}

#[track_caller]
fn refused(outcome: Result<String, HelpDeskError>, parts: &[&str]) {
    match outcome {
        Err(HelpDeskError::Refused(said)) => parts.iter().for_each(|part| assert!(said.contains(part), "{part:?} is not in {said}")),
        other => panic!("{other:?}"),
    }
}

// Issues

#[tokio::test]
async fn an_incident_becomes_an_issue_by_one_request_in_the_steady_state() {
    let gitlab = gitlab(|_| ()).await;
    let desk = desk(&gitlab);
    let first = make(desk.as_ref(), &incident("Link down: core-1", "It is down.")).await.unwrap();
    let found = issue(&gitlab, &first);
    assert_eq!(found.title, "Link down: core-1");
    assert!(found.description.starts_with("It is down.") && found.description.ends_with(&format!("```\n{MARKER}\n```")), "{found:?}");
    gitlab.clear_requests();
    let second = make(desk.as_ref(), &incident("Link down: core-2", "It is down.")).await.unwrap();
    assert_ne!(first, second);
    let address = desk.ticket_url(&second).await.unwrap();
    assert_eq!(address, format!("{}grp/sub/proj/-/issues/{second}", gitlab.url()));
    assert_eq!(gitlab.requests().len(), 1, "its address comes with it");
    assert_eq!(desk.find(&write_of(&NewTicket::default())).await.unwrap(), Some(first.clone()), "the oldest");
    // A server that did not make it asks.
    let other = desk_with(&gitlab, &json!({ "project": "7" }));
    assert_eq!(other.ticket_url(&first).await.unwrap(), format!("{}grp/sub/proj/-/issues/{first}", gitlab.url()));
    let empty = NewTicket::default();
    let another = Write { marker: "deskbridge/incident-of-another", ..write_of(&empty) };
    assert_eq!(desk.find(&another).await.unwrap(), None);
}

/// argus-tickets.md 1.6, rows 14 to 16: only labels that exist, compared as text, on whatever page; what is left out is told.
#[tokio::test]
async fn labels_that_exist_are_set_and_the_others_are_named() {
    let gitlab = gitlab(|_| ()).await;
    for number in 0..45 {
        gitlab.add_label(&format!("filler {number:02}"));
    }
    for label in ["2", "core-1", "bug"] {
        gitlab.add_label(label);
    }
    let labels =
        json!({ "labels_set": ["bug", "none such"], "labels_mapping": ["level", { "tag": "host" }, { "tag": "place" }, { "tag": "url" }] });
    let desk = desk_with(&gitlab, &labels);
    let iid = make(desk.as_ref(), &incident("Link down", "It is down.")).await.unwrap();
    let found = issue(&gitlab, &iid);
    assert_eq!(found.labels, ["bug", "2", "core-1"]);
    for part in ["Not set on this ticket", "none such", "tag place", "https:\u{2060}//x.example/?a=b"] {
        assert!(found.description.contains(part), "{part}: {}", found.description);
    }
    assert_eq!(gitlab.labels().len(), 48, "none was made");
    let pages = gitlab.count(&Method::GET, &gitlab.path("labels"));
    make(desk.as_ref(), &incident("Link down", "It is down.")).await.unwrap();
    assert_eq!((pages, gitlab.count(&Method::GET, &gitlab.path("labels"))), (3, 3), "kept for a while");
}

#[tokio::test]
async fn labels_that_gitlab_drops_in_silence_are_named_on_the_issue() {
    let gitlab = gitlab(|options| options.role = Role::Guest).await;
    gitlab.add_label("bug");
    let desk = desk_with(&gitlab, &json!({ "labels_set": ["bug"] }));
    let iid = make(desk.as_ref(), &incident("Link down", "It is down.")).await.unwrap();
    let found = issue(&gitlab, &iid);
    assert!(found.labels.is_empty());
    for part in ["It is down.", "“bug”: the token's user may not set labels", MARKER] {
        assert!(found.description.contains(part), "{part}: {}", found.description);
    }
}

/// Contract 40: foreign text does nothing, in the text as in the title.
#[tokio::test]
async fn foreign_text_does_nothing() {
    let gitlab = gitlab(|_| ()).await;
    let hostile = "/close\n/assign @root\n@all #1 !2 ~bug %\"v1\" &3 grp/sub/proj#4 $1 <b>x</b> ![i](https://x.example/i.png) [l](https://x.example) :tada:\n```\n/spend 9h";
    let desk = desk(&gitlab);
    let iid = make(desk.as_ref(), &incident("@all #1 !2 ~bug %\"v1\" &3 $1 https://x.example", hostile)).await.unwrap();
    let note =
        NewNote { title: "", body: &format!("text\n\n```\n{NOTE_MARKER}\n```"), attachments: &[], gives_up_files: false, is_public: false };
    written(desk.as_ref(), &Write { ticket: &iid, marker: NOTE_MARKER, item: Item::Note(&note) }).await.unwrap();
    assert_eq!(gitlab.quick_actions(), [""; 0]);
    let found = issue(&gitlab, &iid);
    for reference in ["@all", "@root", "#1", "!2", "~bug", "%\"v1\"", "&3", "proj#4", "](https://", "<b>", "https://x"] {
        for text in [&found.title, &found.description] {
            assert!(!text.contains(reference), "{reference} in {text}");
        }
    }
    // Read without what is invisible, the title is what was said.
    assert_eq!(found.title.replace('\u{2060}', ""), "@all #1 !2 ~bug %\"v1\" &3 $1 https://x.example");
}

#[tokio::test]
async fn what_is_too_long_is_shortened() {
    let gitlab = gitlab(|_| ()).await;
    let desk = desk(&gitlab);
    let iid = make(desk.as_ref(), &incident(&"Über ".repeat(100), &"ü*@x ".repeat(400_000))).await.unwrap();
    let found = issue(&gitlab, &iid);
    assert!(found.title.chars().count() <= 255 && found.title.ends_with("Über…"), "{}", found.title);
    assert!((900_000..=1_000_000).contains(&found.description.len()) && found.description.contains(MARKER), "{}", found.description.len());
}

// What GitLab says

/// argus-tickets.md 1.6, row 17: whatever shape the words have, they are told.
#[tokio::test]
async fn refusals_are_told_in_gitlabs_own_words() {
    let gitlab = gitlab(|_| ()).await;
    let desk = desk(&gitlab);
    let new = incident("Link down", "It is down.");
    let answers = |body: Value| Fault::Status { code: 400, body: body.to_string(), retry_after: None };
    for (body, said) in [
        (
            json!({ "message": { "title": ["is too long (maximum is 255 characters)"], "base": ["is odd"] } }),
            "title is too long (maximum is 255 characters)",
        ),
        (json!({ "message": "400 (Bad request) \"title\" not given" }), "\"title\" not given"),
        (json!({ "error": "labels is invalid" }), "labels is invalid"),
        (json!({ "error": "invalid", "error_description": "The words of it." }), "The words of it."),
    ] {
        gitlab.fail_next(1, Matching::new(Method::POST, gitlab.path("issues")), answers(body));
        refused(make(desk.as_ref(), &new).await, &[said]);
    }
    for (spam, words) in [(SpamAnswer::Discarded, "has been discarded"), (SpamAnswer::Captcha, "reCAPTCHA")] {
        gitlab.alter(|options| options.spam = Some(spam));
        refused(make(desk.as_ref(), &new).await, &["recognized as spam", words, "anti-bot"]);
    }
    gitlab.alter(|options| (options.spam, options.is_archived) = (None, true));
    refused(make(desk.as_ref(), &new).await, &["may not make issues in grp/sub/proj", "archived", "403 Forbidden"]);
    assert!(gitlab.issues().is_empty());
    gitlab.alter(|options| options.is_archived = false);
    make(desk.as_ref(), &new).await.unwrap();
}

/// Row 18: the request is not held open, and is not sent again before its time.
#[tokio::test]
async fn a_rate_limit_says_when_to_come_again() {
    let gitlab = gitlab(|_| ()).await;
    let desk = desk(&gitlab);
    let new = incident("Link down", "It is down.");
    for is_known in [false, true] {
        if is_known {
            make(desk.as_ref(), &new).await.unwrap();
        }
        gitlab.alter(|options| options.limited = Some(7));
        gitlab.clear_requests();
        match make(desk.as_ref(), &new).await {
            Err(HelpDeskError::Passing { what, retry_after: Some(wait) }) => {
                assert!(wait == Duration::from_secs(7) && what.contains("Retry later"), "{what} {wait:?}");
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(gitlab.requests().len(), 1);
        gitlab.alter(|options| options.limited = None);
    }
}

/// Row 19: what does not answer is no fault of the settings.
#[tokio::test]
async fn credentials_and_absence_are_told_apart() {
    let gitlab = gitlab(|_| ()).await;
    let new = incident("Link down", "It is down.");
    let denied = async |changes: Value, part: &str| match make(desk_with(&gitlab, &changes).as_ref(), &new).await {
        Err(HelpDeskError::Denied(said)) => assert!(said.contains(part), "{said}"),
        other => panic!("{other:?}"),
    };
    denied(json!({ "token": "glpat-other" }), "did not accept gitlab.token").await;
    gitlab.alter(|options| options.scopes = vec!["read_api".to_owned()]);
    denied(json!({}), "lacks the scope api").await;
    let gone = desk_with(&gitlab, &json!({ "url": "http://127.0.0.1:9/" }));
    assert!(matches!(make(gone.as_ref(), &new).await, Err(HelpDeskError::Passing { .. })));
    let elsewhere = desk_with(&gitlab, &json!({ "url": gitlab.url().replace("/gitlab/", "/") }));
    match make(elsewhere.as_ref(), &new).await {
        Err(HelpDeskError::Passing { what, .. }) => assert!(what.contains("gitlab.url") || what.contains("404"), "{what}"),
        other => panic!("{other:?}"),
    }
}

// The project

#[tokio::test]
async fn a_project_is_found_by_path_by_number_and_where_slashes_are_decoded() {
    let gitlab = gitlab(|_| ()).await;
    let new = incident("Link down", "It is down.");
    for project in ["grp/sub/proj", "/Grp/sub/proj/", "7"] {
        make(desk_with(&gitlab, &json!({ "project": project })).as_ref(), &new).await.unwrap_or_else(|error| panic!("{project}: {error}"));
    }
    make(desk_with(&gitlab, &json!({ "url": gitlab.url().trim_end_matches('/') })).as_ref(), &new).await.unwrap();
    gitlab.alter(|options| options.decodes_slashes = true);
    make(desk(&gitlab).as_ref(), &new).await.unwrap();
    refused(make(desk_with(&gitlab, &json!({ "project": "grp/other" })).as_ref(), &new).await, &["“grp/other”", "AllowEncodedSlashes"]);
    gitlab.alter(|options| (options.decodes_slashes, options.role) = (false, Role::None));
    refused(make(desk(&gitlab).as_ref(), &new).await, &["shows the token's user no project “grp/sub/proj”"]);
}

#[tokio::test]
async fn a_renamed_project_is_still_found() {
    let gitlab = gitlab(|_| ()).await;
    let (before, after) = (desk(&gitlab), desk(&gitlab));
    let new = incident("Link down", "It is down.");
    make(before.as_ref(), &new).await.unwrap();
    gitlab.rename("grp/renamed");
    make(before.as_ref(), &new).await.unwrap();
    make(after.as_ref(), &new).await.unwrap();
    assert_eq!(gitlab.issues().len(), 3);
    // An address elsewhere is not followed.
    let moved = Matching { method: Some(Method::GET), path_prefix: "/gitlab/api/v4/projects/".into(), ..Matching::default() };
    gitlab.fail_next(1, moved, Fault::Status { code: 301, body: "{}".into(), retry_after: None });
    assert!(make(desk(&gitlab).as_ref(), &new).await.is_err());
}

#[tokio::test]
async fn addresses_are_resolved_for_a_project_that_is_named_by_its_number() {
    let gitlab = gitlab(|_| ()).await;
    let desk = desk_with(&gitlab, &json!({ "project": "7" }));
    let address = |path: &str| format!("{}{path}/-/work_items/14", gitlab.url());
    assert_eq!(desk.resolve(&address("grp/sub/proj")).await.unwrap(), "14");
    assert!(matches!(desk.resolve(&address("grp/other")).await, Err(HelpDeskError::NoTicket(_))));
    assert_eq!(desk.ticket_address().await.unwrap().address, format!("{}grp/sub/proj/-/issues/{{ticket}}", gitlab.url()));
}

// Notes and time

fn note<'a>(body: &'a str, attachments: &'a [Attachment], is_public: bool) -> NewNote<'a> {
    NewNote { title: "Title", body, attachments, gives_up_files: false, is_public }
}

#[tokio::test]
async fn a_note_is_internal_and_found_by_its_marker() {
    let gitlab = gitlab(|_| ()).await;
    let (desk, iid) = (desk(&gitlab), gitlab.add_issue("Printer", "Broken."));
    let body = format!("It ended.\n\n```\n{NOTE_MARKER}\n```");
    for (is_public, more) in [(false, "a"), (true, "b")] {
        let marker = format!("{NOTE_MARKER}{more}");
        let body = body.replace(NOTE_MARKER, &marker);
        let new = note(&body, &[], is_public);
        let write = Write { ticket: &iid, marker: &marker, item: Item::Note(&new) };
        assert_eq!(desk.find(&write).await.unwrap(), None);
        gitlab.clear_requests();
        let id = written(desk.as_ref(), &write).await.unwrap();
        assert_eq!(gitlab.requests().len(), 1);
        assert_eq!(desk.find(&write).await.unwrap(), Some(id));
        assert_eq!(issue(&gitlab, &iid).notes.last().unwrap().internal, !is_public);
    }
    // Among many others.
    gitlab.alter_issue(&iid, |issue| {
        let others = (0..130).map(|number| deskbridge_tests::gitlab::Note { id: 9_000 + number, body: "+1".into(), internal: false });
        issue.notes.extend(others.collect::<Vec<_>>());
    });
    let marker = format!("{NOTE_MARKER}a");
    let new = note(&body, &[], false);
    assert!(desk.find(&Write { ticket: &iid, marker: &marker, item: Item::Note(&new) }).await.unwrap().is_some());
    match written(desk.as_ref(), &Write { ticket: "99", marker: &marker, item: Item::Note(&new) }).await {
        Err(HelpDeskError::NoTicket(said)) => assert!(said.contains("no issue 99 in grp/sub/proj"), "{said}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_note_for_agents_never_stays_public() {
    let gitlab = gitlab(|options| options.role = Role::Guest).await;
    let (desk, iid) = (desk(&gitlab), gitlab.add_issue("Printer", "Broken."));
    let new = note("For agents.", &[], false);
    let write = Write { ticket: &iid, marker: NOTE_MARKER, item: Item::Note(&new) };
    refused(written(desk.as_ref(), &write).await, &["the role Reporter", "403 Forbidden"]);
    gitlab.alter(|options| (options.role, options.version) = (Role::Reporter, "14.10.5".to_owned()));
    refused(written(desk.as_ref(), &write).await, &["removed at once", "GitLab 15"]);
    assert!(issue(&gitlab, &iid).notes.is_empty());
}

#[tokio::test]
async fn a_file_is_uploaded_and_linked_or_the_note_stands_without_it() {
    let gitlab = gitlab(|options| options.upload_max = 100).await;
    let (desk, iid) = (desk(&gitlab), gitlab.add_issue("Printer", "Broken."));
    let file = |size: usize| [Attachment { file_name: "session-ab.html".into(), content_type: "text/html", bytes: vec![b'x'; size] }];
    let small = file(100);
    let new = note("See the file.", &small, false);
    written(desk.as_ref(), &Write { ticket: &iid, marker: NOTE_MARKER, item: Item::Note(&new) }).await.unwrap();
    let upload = gitlab.uploads().remove(0);
    assert_eq!(upload.content, small[0].bytes);
    assert!(issue(&gitlab, &iid).notes[0].body.ends_with(&format!("[session-ab.html]({})", upload.path)));
    let large = file(101);
    let new = note("See the file.", &large, false);
    let outcome = written(desk.as_ref(), &Write { ticket: &iid, marker: NOTE_MARKER, item: Item::Note(&new) }).await;
    assert!(matches!(&outcome, Err(HelpDeskError::FileRefused(said)) if said.contains("413")), "{outcome:?}");
    // What fails for a while is tried again, and given up in the end.
    gitlab.fail_next(
        2,
        Matching::new(Method::POST, gitlab.path("uploads")),
        Fault::Status { code: 503, body: "<html>".into(), retry_after: None },
    );
    let new = note("See the file.", &small, false);
    let write = Write { ticket: &iid, marker: NOTE_MARKER, item: Item::Note(&new) };
    assert!(matches!(written(desk.as_ref(), &write).await, Err(HelpDeskError::Passing { .. })));
    let new = NewNote { gives_up_files: true, ..new };
    let write = Write { item: Item::Note(&new), ..write };
    assert!(matches!(written(desk.as_ref(), &write).await, Err(HelpDeskError::FileRefused(_))));
}

#[tokio::test]
async fn time_spent_is_found_by_its_summary() {
    let gitlab = gitlab(|_| ()).await;
    let (desk, iid) = (desk(&gitlab), gitlab.add_issue("Printer", "Broken."));
    let entry =
        TimeEntry { started_at: 1_733_240_400_000, ended_at: 1_733_241_090_000, representative: "jdoe".into(), name: "Jane Doe".into() };
    let write = Write { ticket: &iid, marker: "deskbridge/ab/time/0", item: Item::Time(&entry) };
    assert_eq!(desk.find(&write).await.unwrap(), None);
    written(desk.as_ref(), &write).await.unwrap();
    assert!(desk.find(&write).await.unwrap().is_some());
    assert_eq!(desk.find(&Write { marker: "deskbridge/ab/time/1", ..write }).await.unwrap(), None);
    let time = issue(&gitlab, &iid).times.remove(0);
    assert_eq!(time.minutes, 12);
    assert!(
        time.summary.starts_with("Remote support session of Jane Doe, 2024-12-03T") && time.summary.chars().count() <= 255,
        "{}",
        time.summary
    );
    gitlab.alter(|options| options.role = Role::Guest);
    refused(written(desk.as_ref(), &write).await, &["the role Reporter"]);
}

// Closed issues

#[tokio::test]
async fn issues_are_closed_and_told_in_one_request() {
    let gitlab = gitlab(|options| options.page_size = 100).await;
    let desk = desk(&gitlab);
    let issues: Vec<String> = (0..50).map(|number| gitlab.add_issue(&format!("Issue {number}"), "Broken.")).collect();
    for iid in [&issues[3], &issues[3], &issues[40]] {
        desk.close(iid).await.unwrap();
    }
    assert_eq!(issue(&gitlab, &issues[3]).state, "closed");
    gitlab.delete_issue(&issues[7]);
    gitlab.clear_requests();
    let mut closed = desk.closed_among(&issues).await.unwrap();
    closed.sort();
    assert_eq!((closed, gitlab.requests().len()), (vec![issues[3].clone(), issues[7].clone(), issues[40].clone()], 1));
    assert_eq!(desk.closed_among(&[]).await.unwrap(), Vec::<String>::new());
    match desk.close("999").await {
        Err(HelpDeskError::NoTicket(_)) => {}
        other => panic!("{other:?}"),
    }
    gitlab.alter(|options| options.role = Role::Guest);
    assert!(matches!(desk.close(&issues[1]).await, Err(HelpDeskError::Refused(said)) if said.contains("the role Reporter")));
}

#[tokio::test]
async fn answers_that_are_too_large_are_asked_for_in_halves() {
    let gitlab = gitlab(|options| options.page_size = 100).await;
    let desk = desk(&gitlab);
    let long = "x".repeat(1_000_000);
    let issues: Vec<String> = (0..20).map(|number| gitlab.add_issue(&format!("Issue {number}"), &long)).collect();
    desk.close(&issues[5]).await.unwrap();
    assert_eq!(desk.closed_among(&issues).await.unwrap(), [issues[5].clone()]);
}

// Settings and check

#[tokio::test]
async fn a_fault_in_the_settings_is_named() {
    let gitlab = gitlab(|_| ()).await;
    for (changes, parts) in [
        (json!({ "url": "http://gitlab.example.com/" }), ["gitlab.url", "https"]),
        (json!({ "url": "https://gitlab.example.com/api/v4/" }), ["gitlab.url", "without api/v4"]),
        (json!({ "project": "proj" }), ["gitlab.project", "group/sub/project"]),
        (json!({ "token": "env:DESKBRIDGE_TEST_NOT_SET" }), ["gitlab.token", "DESKBRIDGE_TEST_NOT_SET"]),
        (json!({ "labels_set": ["a,b"] }), ["gitlab.labels_set", "without a comma"]),
        (json!({ "webhook_secret": "short" }), ["gitlab.webhook_secret", "at least 16 characters"]),
        (json!({ "ticket_default_data": "{\"labels\": []}" }), ["gitlab.ticket_default_data", "confidential"]),
        (json!({ "external_key_may_set": ["labels"] }), ["gitlab.external_key_may_set", "weight"]),
        (json!({ "settle_seconds": 2 }), ["gitlab.settle_seconds", "at least 5"]),
    ] {
        let said = settings(&section(&gitlab, &changes)).err().map(|faults| faults.to_string()).unwrap_or_default();
        assert!(parts.iter().all(|part| said.contains(part)) && !said.contains("short"), "{changes}: {said}");
    }
}

#[tokio::test]
async fn check_finds_what_is_wrong_and_writes_nothing() {
    let gitlab = gitlab(|_| ()).await;
    gitlab.add_label("bug");
    let told = async |changes: Value| {
        let findings = check(desk_with(&gitlab, &changes).as_ref()).await;
        findings.iter().map(|finding| format!("{:?} {}: {}", finding.mark, finding.what, finding.message)).collect::<Vec<_>>().join("\n")
    };
    let good = check(desk_with(&gitlab, &json!({ "labels_set": ["bug"] })).as_ref()).await;
    assert!(good.iter().all(|finding| finding.mark == Mark::Good), "{good:?}");
    assert_eq!(
        good.iter().map(|finding| finding.what).collect::<Vec<_>>(),
        ["GitLab login", "token", "version", "project", "role", "labels"]
    );
    let bad = async |changes: Value, part: &str| {
        let said = told(changes).await;
        assert!(said.lines().any(|line| line.starts_with("Bad") && line.contains(part)), "{part}: {said}");
    };
    bad(json!({ "labels_set": ["bug", "none such"] }), "none such: the project has no such label").await;
    bad(json!({ "token": "glpat-other" }), "did not accept gitlab.token").await;
    bad(json!({ "project": "grp/other" }), "no project “grp/other”").await;
    gitlab.alter(|options| options.role = Role::Guest);
    bad(json!({}), "is a guest").await;
    gitlab.alter(|options| (options.role, options.has_issues) = (Role::Reporter, false));
    bad(json!({}), "it has no issues").await;
    gitlab.alter(|options| (options.has_issues, options.version) = (true, "14.10.5".to_owned()));
    bad(json!({}), "14.10.5 has no internal notes").await;
    gitlab.alter(|options| options.scopes = vec!["read_api".to_owned()]);
    bad(json!({}), "the scopes read_api").await;
    assert!(gitlab.requests().iter().all(|request| request.method == Method::GET));
}

#[tokio::test]
async fn a_webhook_needs_a_secret() {
    let gitlab = gitlab(|_| ()).await;
    assert!(desk(&gitlab).webhook().is_none());
    let desk = desk_with(&gitlab, &json!({ "webhook_secret": "a secret of the webhook" }));
    let header = |name: &str| (name == "x-gitlab-token").then(|| "a secret of the webhook".to_owned());
    let body = json!({
        "object_kind": "issue", "project": { "path_with_namespace": "grp/sub/proj" }, "object_attributes": { "iid": 14, "action": "close" },
    });
    assert_eq!(desk.webhook().unwrap().verify(&header, body.to_string().as_bytes()), Ok(Some("14".to_owned())));
}
