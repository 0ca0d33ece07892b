//! The connector on a simulated GitHub that refuses what GitHub's own description of its API refuses.

use std::sync::Arc;

use deskbridge_core::finding::{Finding, Mark};
use deskbridge_core::incident::Incident;
use deskbridge_core::settings::{PanelSection, SectionKind, Sections, Settings};
use deskbridge_documents::{Block, Document, Inline};
use deskbridge_help_desks::{HELP_DESKS, HelpDesk, HelpDeskError, Item, NewNote, NewTicket, Surroundings, Write, WriteOutcome, build};
use deskbridge_remote_support::beyondtrust::ApplianceSection;
use deskbridge_tests::github::description::Description;
use deskbridge_tests::github::{Fault as Trouble, Limit, Matching, Options, SimulatedGitHub};
use reqwest::Method;
use serde_json::{Value, json};

const MARKER: &str = "deskbridge/incident-0123456789abcdef0123456789abcdef";
const NOTE_MARKER: &str = "deskbridge/incident-0123456789abcdef0123456789abcdef/end-1/0";

async fn github() -> SimulatedGitHub {
    SimulatedGitHub::start(Options::default()).await.unwrap()
}

async fn github_with(change: impl FnOnce(&mut Options)) -> SimulatedGitHub {
    let github = github().await;
    github.alter(change);
    github
}

fn desk(github: &SimulatedGitHub, changes: &Value) -> Arc<dyn HelpDesk> {
    let mut section: Value = json!({ "url": github.url(), "token": github.options().token, "project": github.options().project });
    section.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    let appliance = json!({ "id": "a", "host": "support.example.com", "client_id": "c", "client_secret": "s", "event_token": "t" });
    let file = json!({ "connection": [{ "name": "GitHub", "appliance": appliance, "github": section }] });
    let sections = Sections::new(HELP_DESKS.iter().map(|kind| kind.section).chain([SectionKind::of::<ApplianceSection>()]));
    let settings = Settings::parse(&sections, "settings", &toml::to_string(&file).unwrap(), std::iter::empty());
    build(&settings.unwrap_or_else(|faults| panic!("{faults}")).connection[0]).unwrap()
}

async fn check(desk: &dyn HelpDesk) -> Vec<Finding> {
    let panel = PanelSection::default();
    desk.check(&Surroundings { panel: &panel, appliance_host: None, client_scripts: None, public_url: "https://remote.example.com" }).await
}

fn incident() -> NewTicket {
    let posted = json!({
        "pk": 1, "source": { "pk": 2, "name": "nav.example.org" }, "source_incident_id": "42", "description": "Link down: core-1", "level": 2,
        "tags": [{ "tag": "host=core-1" }, { "tag": "url=https://x.example/?a=b" }],
    });
    let text = "Link down: core-1 <b>&amp;</b> @octocat fixes #1 ![x](https://x.example/x.png)";
    NewTicket {
        title: "Link down: core-1".into(),
        document: Some(Document::new(vec![Block::Paragraph(vec![Inline::text(text)])])),
        incident: Some(Arc::new(Incident::read(posted).unwrap())),
        ..NewTicket::default()
    }
}

fn new_ticket(new: &NewTicket) -> Write<'_> {
    Write { ticket: "", marker: MARKER, item: Item::Ticket(new) }
}

/// Writes it as the deliverer does; `Err(None)`: nobody knows.
async fn write(desk: &dyn HelpDesk, write: &Write<'_>) -> Result<String, Option<HelpDeskError>> {
    let mut prepared = desk.prepare(write).await.map_err(Some)?;
    loop {
        prepared = match prepared.send().await {
            WriteOutcome::Written(id) => return Ok(id),
            WriteOutcome::Partly(next) | WriteOutcome::TryInstead(next) => next,
            WriteOutcome::Refused(error) => return Err(Some(error)),
            WriteOutcome::Unknown { .. } => return Err(None),
        };
    }
}

async fn refusal(desk: &dyn HelpDesk, new: &NewTicket) -> HelpDeskError {
    write(desk, &new_ticket(new)).await.unwrap_err().expect("a certain answer")
}

/// How many requests there were, and what GitHub's description says of them and their answers.
fn asked(github: &SimulatedGitHub) -> Vec<String> {
    github.requests().iter().map(|request| format!("{} {}", request.method, request.path.trim_start_matches("/api/v3/"))).collect()
}

#[track_caller]
fn assert_described(github: &SimulatedGitHub) {
    for (request, answer) in github.exchanges() {
        let path = Description::path_of(request.path.trim_start_matches("/api/v3/")).unwrap();
        let operation = Description::get().operation(&request.method, path).unwrap();
        let status = request.status.unwrap();
        let mut faults = [operation.faults_of_query(&request.query), operation.faults_of_body(&request.body)].concat();
        faults.extend(operation.faults_of_answer(status, &answer));
        assert_eq!(faults, Vec::<String>::new(), "{} {} {status}: {answer}", request.method, request.path);
    }
}

fn note(body: &str) -> NewNote<'_> {
    NewNote { title: "", body, attachments: &[], gives_up_files: false, is_public: true }
}

fn note_text() -> String {
    format!("It ended.\n\n```\n{NOTE_MARKER}\n```")
}

#[tokio::test]
async fn an_incident_becomes_an_issue_with_one_request_once_the_labels_are_known() {
    let github = github().await;
    (0..150).for_each(|number| github.add_label(&format!("label-{number}")));
    for label in ["2", "Core-1"] {
        github.add_label(label);
    }
    let settings =
        json!({ "labels_set": ["incident", "label-149", "nope"], "labels_mapping": ["level", { "tag": "host" }, { "tag": "rack" }] });
    let desk = desk(&github, &settings);
    let new = incident();
    let number = write(desk.as_ref(), &new_ticket(&new)).await.unwrap();
    let issue = github.issue(&number).unwrap();
    assert_eq!(
        (issue.title.as_str(), issue.labels.as_slice()),
        ("Link down: core-1", &["Incident", "label-149", "2", "Core-1"].map(String::from)[..])
    );
    for (part, stands) in [
        ("Label nope: ", true),
        ("no tag rack", true),
        ("\\<b\\>", true),
        ("@octocat", false),
        ("#1", false),
        ("![x]", false),
        ("https://x", false),
    ] {
        assert_eq!(issue.body.contains(part), stands, "{part} in {}", issue.body);
    }
    assert_eq!(github.labels().len(), 154, "no label is made");
    // A label that is missing is looked for again only after a while.
    let before = github.requests().len();
    write(desk.as_ref(), &new_ticket(&new)).await.unwrap();
    assert_eq!(asked(&github)[before..], ["POST repos/example/operations/issues"]);
    assert_eq!(desk.ticket_url(&number).await.unwrap(), format!("{}example/operations/issues/{number}", github.url()));
    assert_eq!(github.requests().len(), before + 1, "its address was told when it was made");
    assert_described(&github);
}

#[tokio::test]
async fn labels_that_github_leaves_out_in_silence_are_named_and_not_sent_again() {
    let github = github_with(|options| options.may_push = false).await;
    let desk = desk(&github, &json!({ "labels_set": ["bug"], "ticket_default_data": r#"{"assignees": ["octocat"], "milestone": 3}"# }));
    let new = incident();
    let number = write(desk.as_ref(), &new_ticket(&new)).await.unwrap();
    let issue = github.issue(&number).unwrap();
    assert_eq!((issue.labels.len(), issue.milestone), (0, None));
    for part in ["Label bug: GitHub did not take it", "Assignee octocat: ", "Milestone 3: ", "push access"] {
        assert!(issue.body.contains(part), "{part} in {}", issue.body);
    }
    assert_eq!(desk.find(&new_ticket(&new)).await.unwrap(), Some(number), "its text still ends with the marker");
    // It is made in one request where it asks for labels alone.
    let desk = crate::desk(&github, &json!({ "labels_set": ["bug"] }));
    write(desk.as_ref(), &new_ticket(&new)).await.unwrap();
    let before = github.requests().len();
    let number = write(desk.as_ref(), &new_ticket(&new)).await.unwrap();
    assert_eq!(asked(&github)[before..], ["POST repos/example/operations/issues"]);
    assert!(github.issue(&number).unwrap().body.contains("Label bug: GitHub did not take it"));
    assert_described(&github);
    // A text that cannot be changed costs no ticket.
    let desk = crate::desk(&github, &json!({ "labels_set": ["bug"] }));
    github.fail_always(Matching::new(Method::PATCH, github.path("issues/")), Trouble::ApplyThenClose);
    write(desk.as_ref(), &new_ticket(&new)).await.unwrap();
}

#[tokio::test]
async fn what_github_refuses_besides_the_text_is_named_in_it() {
    let github = github().await;
    let defaults = r#"{"assignees": ["stranger"], "labels": ["bug"]}"#;
    let desk = desk(&github, &json!({ "ticket_default_data": defaults }));
    let new = incident();
    let number = write(desk.as_ref(), &new_ticket(&new)).await.unwrap();
    let issue = github.issue(&number).unwrap();
    assert_eq!(github.issues().len(), 1);
    assert!(issue.body.contains("Assignee stranger: Validation Failed: Issue assignees invalid"), "{}", issue.body);
    assert_described(&github);
}

#[tokio::test]
async fn a_renamed_repository_is_found_again() {
    let github = github().await;
    let desk = desk(&github, &json!({ "labels_set": ["bug"] }));
    let new = incident();
    github.rename("other/name");
    let number = write(desk.as_ref(), &new_ticket(&new)).await.unwrap();
    assert_eq!(github.issues().len(), 1);
    assert_eq!(github.issue(&number).unwrap().labels, ["bug"]);
    assert_eq!(desk.ticket_url(&number).await.unwrap(), format!("{}other/name/issues/{number}", github.url()));
    github.rename("third/name");
    let text = note_text();
    let (text, ticket) = (note(&text), number.as_str());
    write(desk.as_ref(), &Write { ticket, marker: NOTE_MARKER, item: Item::Note(&text) }).await.unwrap();
    assert_eq!(github.issue(&number).unwrap().comments.len(), 1);
    github.rename("fourth/name");
    desk.close(&number).await.unwrap();
    assert_eq!(github.issue(&number).unwrap().closed.as_deref(), Some("completed"));
    assert_described(&github);
}

#[tokio::test]
async fn a_limit_stops_every_request_until_github_wants_to_be_asked_again() {
    let limits = [
        (Limit::Secondary { status: 403, retry_after: None }, 40..=60),
        (Limit::Secondary { status: 429, retry_after: None }, 40..=60),
        (Limit::Secondary { status: 403, retry_after: Some(20) }, 5..=20),
        (Limit::Primary { resets_in: 900 }, 800..=900),
    ];
    for (limit, expected) in limits {
        let github = github_with(|options| options.limit = Some(limit)).await;
        let desk = desk(&github, &json!({}));
        for _ in 0..3 {
            match refusal(desk.as_ref(), &incident()).await {
                HelpDeskError::Passing { retry_after: Some(wait), .. } => {
                    assert!(expected.contains(&wait.as_secs()), "{limit:?}: {wait:?}");
                }
                other => panic!("{limit:?}: {other:?}"),
            }
        }
        assert_eq!(github.requests().len(), 1, "{limit:?}");
        assert!(desk.closed_among(&["1".into(), "2".into()]).await.is_err());
        assert_eq!(github.requests().len(), 1, "{limit:?}");
    }
}

#[tokio::test]
async fn a_refusal_is_told_in_githubs_words() {
    let github = github().await;
    let desk = desk(&github, &json!({}));
    let new = incident();
    let refused = async |change: fn(&mut Options), words: &[&str]| {
        let before = github.options();
        github.alter(change);
        let error = refusal(desk.as_ref(), &new).await;
        assert!(matches!(error, HelpDeskError::Refused(_)), "{error:?}");
        for part in words {
            assert!(error.to_string().contains(part), "{part} in {error}");
        }
        github.alter(|options| *options = before);
    };
    refused(
        |options| options.may_write_issues = false,
        &["Resource not accessible by personal access token", "issues=write", "Read and write"],
    )
    .await;
    refused(|options| options.has_issues = false, &["Issues are disabled for this repo"]).await;
    refused(|options| options.is_archived = true, &["archived"]).await;
    refused(|options| options.is_seen = false, &["no repository example/operations", "Not Found"]).await;
    let body =
        json!({ "message": "Validation Failed", "documentation_url": "x", "errors": [{ "code": "custom", "message": "title is cursed" }] });
    github.fail_next(
        1,
        Matching::new(Method::POST, github.path("issues")),
        Trouble::Status { code: 422, body: body.to_string(), retry_after: None },
    );
    assert!(refusal(desk.as_ref(), &new).await.to_string().contains("Validation Failed: title is cursed"));
    github.alter(|options| options.token = "another".into());
    assert!(matches!(refusal(desk.as_ref(), &new).await, HelpDeskError::Denied(_)));
    assert!(matches!(refusal(desk.as_ref(), &new).await, HelpDeskError::Resting { .. }));
    assert!(github.issues().is_empty());
}

#[tokio::test]
async fn what_was_written_without_an_answer_is_found_by_its_marker() {
    for is_app in [false, true] {
        let github = github_with(|options| options.is_app = is_app).await;
        let desk = desk(&github, &json!({}));
        let new = incident();
        assert_eq!(desk.find(&new_ticket(&new)).await.unwrap(), None);
        github.fail_next(1, Matching::new(Method::POST, github.path("issues")), Trouble::ApplyThenClose);
        assert!(write(desk.as_ref(), &new_ticket(&new)).await.unwrap_err().is_none());
        let number = github.issues()[0].number.to_string();
        // A copy that somebody makes, a marker inside another text, and many issues after it.
        github.add_issue("A copy", &github.issue(&number).unwrap().body);
        github.add_issue("Another", &format!("See {MARKER}\n\n```\n{MARKER}\n```\n\nand so on"));
        (0..120).for_each(|count| drop(github.add_issue(&format!("Issue {count}"), "x")));
        assert_eq!(desk.find(&new_ticket(&new)).await.unwrap().as_deref(), Some(number.as_str()), "{is_app}");
        let text = note_text();
        let text = note(&text);
        let comment = Write { ticket: &number, marker: NOTE_MARKER, item: Item::Note(&text) };
        github.add_comments(&number, 70, "Me too");
        assert_eq!(desk.find(&comment).await.unwrap(), None);
        github.fail_next(1, Matching::new(Method::POST, github.path("issues/")), Trouble::ApplyThenStatus(502));
        assert!(write(desk.as_ref(), &comment).await.unwrap_err().is_none());
        github.add_comments(&number, 70, "Me too");
        let id = github.issue(&number).unwrap().comments[70].id.to_string();
        assert_eq!(desk.find(&comment).await.unwrap(), Some(id), "{is_app}");
    }
}

/// What is unknown is decided within 25 s, so an answer is not waited for as long as elsewhere (30 s).
#[tokio::test]
async fn an_answer_that_does_not_come_is_given_up_soon_after_github_would_have_ended_the_request() {
    let github = github().await;
    let (desk, new) = (desk(&github, &json!({})), incident());
    github.fail_next(1, Matching::new(Method::POST, github.path("issues")), Trouble::ApplyThenHang);
    let written = tokio::time::timeout(std::time::Duration::from_secs(25), write(desk.as_ref(), &new_ticket(&new))).await;
    assert!(written.unwrap().unwrap_err().is_none());
    assert_eq!(desk.find(&new_ticket(&new)).await.unwrap().as_deref(), Some("1"));
}

#[tokio::test]
async fn nobody_elses_text_is_taken_for_ours() {
    let github = github().await;
    let desk = desk(&github, &json!({}));
    let new = incident();
    github.add_issue("Forged", &format!("```\n{MARKER}\n```"));
    assert_eq!(desk.find(&new_ticket(&new)).await.unwrap(), None);
}

#[tokio::test]
async fn a_closed_issue_stays_as_it_is_and_a_gone_one_is_told() {
    let github = github().await;
    let desk = desk(&github, &json!({}));
    let number = write(desk.as_ref(), &new_ticket(&incident())).await.unwrap();
    desk.close(&number).await.unwrap();
    assert_eq!(github.issue(&number).unwrap().closed.as_deref(), Some("completed"));
    github.alter_issue(&number, |issue| issue.closed = Some("not_planned".into()));
    desk.close(&number).await.unwrap();
    assert_eq!(github.issue(&number).unwrap().closed.as_deref(), Some("not_planned"));
    github.alter_issue(&number, |issue| issue.is_deleted = true);
    let text = note_text();
    let text = note(&text);
    for ticket in [number.as_str(), "99"] {
        assert!(matches!(desk.close(ticket).await, Err(HelpDeskError::NoTicket(_))), "{ticket}");
        let written = write(desk.as_ref(), &Write { ticket, marker: NOTE_MARKER, item: Item::Note(&text) }).await;
        assert!(matches!(written, Err(Some(HelpDeskError::NoTicket(_)))), "{ticket}");
    }
    assert_described(&github);
}

#[tokio::test]
async fn one_request_tells_which_of_many_are_open() {
    let github = github().await;
    let desk = desk(&github, &json!({}));
    let tickets: Vec<String> = (0..50).map(|count| github.add_issue(&format!("Issue {count}"), "x")).collect();
    assert_eq!(desk.closed_among(&tickets).await.unwrap(), Vec::<String>::new());
    assert_eq!(github.requests().len(), 1);
    github.alter_issue(&tickets[7], |issue| issue.closed = Some("completed".into()));
    github.alter_issue(&tickets[9], |issue| issue.is_deleted = true);
    let asked = [tickets.as_slice(), &["999".to_owned()]].concat();
    let mut closed = desk.closed_among(&asked).await.unwrap();
    closed.sort();
    let mut expected = vec![tickets[7].clone(), tickets[9].clone(), "999".to_owned()];
    expected.sort();
    assert_eq!(closed, expected);
    assert_eq!(desk.closed_among(&tickets[7..8]).await.unwrap(), tickets[7..8]);
    // A token that sees nothing any more says nothing about the issues.
    github.alter(|options| options.is_seen = false);
    assert!(desk.closed_among(&tickets).await.is_err() && desk.closed_among(&tickets[..1]).await.is_err());
}

#[tokio::test]
async fn a_ticket_is_named_by_its_number_or_its_own_address() {
    let github = github().await;
    let desk = desk(&github, &json!({}));
    let own = |rest: &str| format!("{}{rest}", github.url());
    for (name, number) in [
        ("7".to_owned(), Some("7")),
        (own("example/operations/issues/7"), Some("7")),
        (own("Example/Operations/issues/7"), Some("7")),
        (own("example/operations/issues/7/"), None),
        (own("example/operations/issues/7?x=y"), None),
        (own("example/operations/issues/7#issuecomment-1"), None),
        (own("example/operations/pull/7"), None),
        (own("example/other/issues/7"), None),
        ("https://github.com/example/operations/issues/7".to_owned(), None),
        ("#7".to_owned(), None),
        ("07".to_owned(), None),
        ("7 8".to_owned(), None),
        (String::new(), None),
        ("12345678901".to_owned(), None),
    ] {
        assert_eq!(desk.is_ticket_name(&name), number.is_some(), "{name}");
        assert_eq!(desk.resolve(&name).await.ok().as_deref(), number, "{name}");
    }
}

#[tokio::test]
async fn check_says_what_to_do() {
    let github = github().await;
    let said = async |changes: Value| {
        let desk = desk(&github, &changes);
        check(desk.as_ref())
            .await
            .into_iter()
            .map(|finding| format!("{:?} {}: {}", finding.mark, finding.what, finding.message))
            .collect::<Vec<_>>()
    };
    let is_good = |said: &[String]| said.iter().all(|line| line.starts_with(&format!("{:?}", Mark::Good)));
    github.alter(|options| options.token_ends = Some("2027-01-31 00:00:00 UTC".into()));
    let all = said(json!({ "labels_set": ["BUG"] })).await;
    assert!(is_good(&all) && all.len() == 4 && all[0].contains("deskbridge-bot, ends 2027-01-31"), "{all:#?}");
    assert_described(&github);
    for (change, changes, words) in [
        ((|options| options.token = "another".into()) as fn(&mut Options), json!({ "token": "wrong" }), "did not accept the token"),
        (|options| options.is_seen = false, json!({}), "correct github.project"),
        (|options| options.has_issues = false, json!({}), "Settings > General > Features"),
        (|options| options.is_archived = true, json!({}), "archived"),
        (|options| options.may_push = false, json!({ "labels_set": ["bug"] }), "no push access"),
        (|_| {}, json!({ "labels_set": ["nope"] }), "no label nope"),
    ] {
        let before = github.options();
        github.alter(change);
        let all = said(changes).await;
        assert!(!is_good(&all) && all.iter().any(|line| line.contains(words)), "{words}: {all:#?}");
        github.alter(|options| *options = before);
    }
    github.alter(|options| options.is_app = true);
    assert!(is_good(&said(json!({})).await));
    assert!(github.requests().iter().all(|request| request.method == Method::GET), "nothing is written");
}
