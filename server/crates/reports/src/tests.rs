//! Templates, samples, limits and the documentation, together.

use super::samples::{machine_options, machine_session, session, survey};
use super::*;
use deskbridge_core::session_report::{Actor, Participant, SessionEvent, TerminalTranscript, event_type};
use deskbridge_documents::{Flavour, Limit, Measure, neutralise};
use deskbridge_remote_support::beyondtrust::parse_report;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::sync::LazyLock;

static BUILT_IN: LazyLock<ReportTemplates> = LazyLock::new(|| ReportTemplates::new(None).unwrap());

const DOCUMENTATION: &str = include_str!("../../../../docs/report-templates.md");

const HTML: Format = Format::Html(Guards { placeholders: true, ..Guards::NONE });
const TEXT: Format = Format::Text(Guards { placeholders: true, ..Guards::NONE });

fn form(format: Format, bytes: usize) -> NoteForm {
    NoteForm { format, limit: Limit { measure: Measure::Bytes, most: bytes } }
}

/// A report at full length.
struct Note {
    html: String,
    text: String,
}

fn whole_note(fit: impl Fn(NoteForm) -> Result<FittedNote, TemplateFault>) -> Note {
    let whole = |format| fit(form(format, usize::MAX)).unwrap().body;
    Note { html: whole(HTML), text: whole(TEXT) }
}

fn session_note(templates: &ReportTemplates, session: &SessionReport, options: &RenderOptions) -> Note {
    whole_note(|form| templates.fit_session_report(session, options, form))
}

fn customer_note(templates: &ReportTemplates, survey: &ExitSurvey, options: &RenderOptions) -> Note {
    whole_note(|form| templates.fit_customer_survey(survey, options, form))
}

/// Every `<` begins one of the elements a help desk accepts, written exactly as we write them.
fn check_html(html: &str) {
    const ELEMENTS: [&str; 14] = ["h3", "h4", "p", "table", "tr", "th", "td", "ul", "li", "pre", "strong", "em", "br", "a"];
    let mut open = Vec::new();
    for piece in html.split('<').skip(1) {
        let (tag, _) = piece.split_once('>').unwrap_or_else(|| panic!("no > after <{piece:.60}"));
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "{html}");
            continue;
        }
        let name = tag.split(' ').next().unwrap();
        assert!(ELEMENTS.contains(&name), "<{tag}>");
        if name == "a" {
            let url = tag.strip_prefix("a href=\"").and_then(|rest| rest.strip_suffix('"')).unwrap_or_else(|| panic!("<{tag}>"));
            assert!((url.starts_with("https://") || url.starts_with("http://")) && !url.contains(['"', '\'', ' ', '`']), "{url}");
        } else {
            assert_eq!(tag, name, "an attribute");
        }
        if name != "br" {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

fn unescape(html: &str) -> String {
    [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&amp;", "&")]
        .iter()
        .fold(html.to_owned(), |html, (entity, character)| html.replace(entity, character))
}

/// As it stands in a note: blanks kept apart, at most one empty line, none at the ends.
fn shown(text: &str) -> String {
    let line = |line: &str| {
        let mut kept = String::new();
        for character in line.chars() {
            let is_kept = character == ' ' && (kept.is_empty() || kept.ends_with(' '));
            kept.push(if is_kept { '\u{a0}' } else { character });
        }
        kept.trim_end_matches(' ').to_owned()
    };
    let mut html = text.split(['\n', '\u{2028}', '\u{2029}']).map(line).collect::<Vec<_>>().join("<br>");
    while html.contains("<br><br><br>") {
        html = html.replace("<br><br><br>", "<br><br>");
    }
    html.trim_start_matches("<br>").trim_end_matches("<br>").to_owned()
}

#[test]
fn the_example_as_html() {
    let note = session_note(&BUILT_IN, &example(), &RenderOptions::default());
    assert_eq!(note.html, include_str!("expected/session_report.html").trim_end());
    check_html(&note.html);
}

#[test]
fn the_example_as_text() {
    let note = session_note(&BUILT_IN, &example(), &RenderOptions::default());
    assert_eq!(note.text, include_str!("expected/session_report.txt").trim_end());
}

/// A session at a machine, in each format that a help desk wants.
#[test]
fn a_session_at_a_machine_in_every_format() {
    let check = |format: Format, expected: &str| {
        let note = BUILT_IN.fit_session_report(&machine_session("vm <1>"), &machine_options(), form(format, usize::MAX)).unwrap().body;
        let expected = expected.strip_suffix('\n').unwrap_or(expected);
        if format == Format::Adf {
            // Members stand in one order or another, by what else is built with it.
            let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
            assert_eq!(read(&note), read(expected));
        } else {
            assert_eq!(note, expected, "{format:?}");
        }
    };
    check(HTML, include_str!("expected/machine_session.html"));
    check(TEXT, include_str!("expected/machine_session.txt"));
    check(Format::Markdown(Flavour::GitHub), include_str!("expected/machine_session.github.md"));
    check(Format::Markdown(Flavour::GitLab), include_str!("expected/machine_session.gitlab.md"));
    check(Format::JiraWiki, include_str!("expected/machine_session.jira"));
    check(Format::Adf, include_str!("expected/machine_session.adf.json"));
}

/// What is told to whom of a session at a machine: to agents, to the requester, to agents beside a note for the requester.
#[test]
fn what_a_machine_tells_is_for_agents_where_it_can_hold_secrets() {
    for (told, expected) in [
        ("<th>Machine</th><td>vm 7</td>", [true, true, true]),
        ("<th>Kind of session</th><td>Terminal</td>", [true, true, true]),
        ("<th>Technician</th><td>Jane D.</td>", [true, true, true]),
        ("18.2 kB received and 1.2 MB sent by the remote-support server", [true, true, false]),
        ("<th>Customer</th><td>anna</td>", [true, false, true]),
        ("<strong>anna</strong>, front-desk", [true, false, true]),
        ("Debian GNU/Linux 12", [true, false, true]),
        ("May I have a look?", [true, true, false]),
        ("ls -l  /srv", [true, false, true]),
        ("/recordings/0190f0c4-7b2a-7cde-8f00-0123456789ab/3b5f0a5f6f0c4d2e9a8b7c6d5e4f3a2b", [true, false, true]),
        ("MeshCentral was restarted", [true, false, true]),
        ("203.0.113.9", [true, false, true]),
        ("192.0.2.16", [true, false, true]),
        ("192.0.2.17", [true, false, true]),
        ("16 GB", [true, false, true]),
        ("0x1000", [true, false, true]),
    ] {
        let is_told = |audience| {
            let options = RenderOptions { audience, ..machine_options() };
            session_note(&BUILT_IN, &machine_session("vm 7"), &options).html.contains(told)
        };
        let found = [Audience::Agents, Audience::Requester, Audience::AgentsBesideRequester].map(is_told);
        assert_eq!(found, expected, "{told}");
    }
}

/// What the settings name for requesters is told to them, and not again to agents beside it.
#[test]
fn a_requester_is_told_the_categories_that_are_named_for_them() {
    let of_machine = machine_session("vm 7");
    let of_customer = session("John");
    for (session, public, expected) in [
        // What a machine tells of itself; the others have no such category.
        (&of_machine, None, [vec!["General", "Network", "Memory"], vec![], vec!["General", "Network", "Memory"]]),
        (&of_machine, Some(vec!["memory"]), [vec!["General", "Network", "Memory"], vec!["Memory"], vec!["General", "Network"]]),
        (&of_machine, Some(vec![]), [vec!["General", "Network", "Memory"], vec![], vec!["General", "Network", "Memory"]]),
        (&of_customer, None, [vec!["General", "Disk"], vec!["General", "Disk"], vec![]]),
        (&of_customer, Some(vec!["Disk", "processes"]), [vec!["General", "Disk"], vec!["Disk", "Processes"], vec!["General"]]),
        (&of_customer, Some(vec![]), [vec!["General", "Disk"], vec![], vec!["General", "Disk"]]),
    ] {
        let public_system_categories = public.map(|words| words.into_iter().map(str::to_owned).collect::<Vec<_>>());
        let told = |audience| {
            let options = RenderOptions { audience, public_system_categories: public_system_categories.clone(), ..machine_options() };
            let told = SessionContext::new(session, &options, &Shortening::default()).system_information;
            told.into_iter().map(|section| section.name).collect::<Vec<_>>()
        };
        let found = [Audience::Agents, Audience::Requester, Audience::AgentsBesideRequester].map(told);
        assert_eq!(found, expected, "{:?}, {public_system_categories:?}", session.kind);
    }
}

/// Each thing that a public note leaves out is worth a note beside it.
#[test]
fn a_note_beside_a_public_one_is_due_to_what_a_machine_tells_agents_alone() {
    let bare =
        SessionReport { terminal: None, recording: false, remarks: vec![], customers: vec![], events: vec![], ..machine_session("vm") };
    let is_due = |session: &SessionReport| ReportTemplates::leaves_something_out(session, &machine_options());
    assert!(!is_due(&bare));
    let full = machine_session("vm");
    for (what, session) in [
        ("terminal", SessionReport { terminal: full.terminal.clone(), ..bare.clone() }),
        ("recording", SessionReport { recording: true, ..bare.clone() }),
        ("remarks", SessionReport { remarks: full.remarks.clone(), ..bare.clone() }),
        ("address", SessionReport { customers: full.customers.clone(), ..bare.clone() }),
        ("network", SessionReport { events: full.events.clone(), ..bare.clone() }),
    ] {
        assert!(is_due(&session), "{what}");
    }
    let silent = SessionReport { terminal: Some(TerminalTranscript { text: "\n \n".to_owned(), is_cut: false }), ..bare };
    assert!(!is_due(&silent), "an empty screen");
}

#[test]
fn a_session_at_a_machine_is_called_after_it() {
    let titled = |customer: Option<&str>, machine: Option<&str>| {
        let primary_customer = Some(Participant { name: customer.map(str::to_owned), ..Participant::default() });
        session_title(&SessionReport { primary_customer, machine: machine.map(str::to_owned), ..SessionReport::default() })
    };
    assert_eq!(titled(Some("Anna"), Some("vm")), "Remote support with Anna");
    assert_eq!(titled(None, Some("front  desk\n2")), "Remote support of front desk 2");
    assert_eq!(titled(None, None), "Remote support");
}

#[test]
fn surveys_in_both_forms() {
    let options = RenderOptions::default();
    let note = customer_note(&BUILT_IN, &survey("John <b>"), &options);
    check_html(&note.html);
    assert!(note.html.starts_with("<h3>Customer exit survey</h3>"), "{}", note.html);
    assert!(note.html.contains("<tr><th>How do you rate the support?</th><td>5<br>John &lt;b&gt;</td></tr>"), "{}", note.html);
    assert!(note.html.contains("<tr><th>John &lt;b&gt;</th><td><em>no answer</em></td></tr>"), "{}", note.html);
    assert_eq!(
        note.text,
        "Customer exit survey\n====================\nJohn <b>, 2024-12-03 15:42:00 UTC\nRepresentative: Jane D.\n\
         Session e9e99aeb9ad54fb381634498502c5a1b\n    How do you rate the support? 5\n        John <b>\n    John <b>: *no answer*"
    );
    let note = whole_note(|form| BUILT_IN.fit_representative_survey(&survey("John"), &options, form));
    check_html(&note.html);
    assert!(note.html.starts_with("<h3>Representative exit survey</h3>") && note.text.contains("\nCustomer: John\n"), "{}", note.text);
}

/// The example of beyondtrust.md D.5, as the client reads it.
fn example() -> SessionReport {
    parse_report(include_bytes!("../../remote-support/src/beyondtrust/samples/support_session.xml")).unwrap().remove(0)
}

/// Each system finds its note again by the last line, whatever its format escapes.
#[test]
fn the_last_line_stands_to_the_letter_in_every_format() {
    let last_line = "deskbridge/e9e99aeb9ad54fb381634498502c5a1b/report/0";
    let options = RenderOptions { last_line: last_line.to_owned(), ..RenderOptions::default() };
    for format in [HTML, TEXT, Format::Markdown(Flavour::GitHub), Format::Markdown(Flavour::GitLab), Format::JiraWiki, Format::Adf] {
        for bytes in [usize::MAX, 3000] {
            let fitted = BUILT_IN.fit_session_report(&long_session(300, "<Grüße> {{x}}"), &options, form(format, bytes)).unwrap();
            let end: Vec<&str> = fitted.body.lines().rev().take(2).collect();
            assert!(end.iter().any(|line| line.contains(last_line)), "{end:?}");
            let whole = fitted.attachment.map(|file| String::from_utf8(file.bytes).unwrap());
            assert_eq!(whole.is_some(), bytes == 3000);
            assert!(!whole.is_some_and(|whole| whole.contains(last_line)), "the file holds our marker");
        }
    }
}

#[test]
fn every_template_renders_every_sample() {
    for format in [HTML, TEXT] {
        let check = |report, context: &serde_json::Value| {
            let rendered = BUILT_IN.render(report, format == TEXT, context).unwrap().write(format, "");
            assert!(rendered.lines().count() > 1, "{rendered}");
            if format == HTML {
                check_html(&rendered);
            }
        };
        for context in SessionContext::samples() {
            check(Report::Session, &serde_json::to_value(context).unwrap());
        }
        for context in SurveyContext::samples() {
            check(Report::CustomerSurvey, &serde_json::to_value(&context).unwrap());
            check(Report::RepresentativeSurvey, &serde_json::to_value(&context).unwrap());
        }
    }
}

#[test]
fn plain_text_has_no_stray_blank_lines() {
    for context in SessionContext::samples() {
        let text = BUILT_IN.render(Report::Session, true, &context).unwrap().write(TEXT, "");
        assert!(!text.contains("\n\n\n"), "{text}");
    }
}

/// Names of all variables, from the samples that fill every field.
fn variables(value: &serde_json::Value, names: &mut BTreeSet<String>) {
    match value {
        serde_json::Value::Object(map) => {
            for (name, value) in map {
                names.insert(name.clone());
                variables(value, names);
            }
        }
        serde_json::Value::Array(values) => values.iter().for_each(|value| variables(value, names)),
        _ => {}
    }
}

#[test]
fn every_variable_helper_and_template_is_documented() {
    let mut names = BTreeSet::new();
    for context in SessionContext::samples() {
        variables(&serde_json::to_value(context).unwrap(), &mut names);
    }
    for context in SurveyContext::samples() {
        variables(&serde_json::to_value(context).unwrap(), &mut names);
    }
    for context in IncidentContext::samples() {
        // What was posted has whatever names it has.
        variables(&serde_json::to_value(IncidentContext { posted: serde_json::Value::Null, ..context }).unwrap(), &mut names);
    }
    assert!(names.len() > 60, "{names:?}");
    let helpers = ["lines", "preformatted", "size", "plural", "member", incident::TEMPLATE.0].map(str::to_owned);
    let templates = Report::ALL.into_iter().flat_map(|report| [report.template().0, report.text_template()].map(str::to_owned));
    for name in names.into_iter().chain(helpers).chain(templates) {
        assert!(DOCUMENTATION.contains(&format!("`{name}`")), "docs/report-templates.md does not explain `{name}`");
    }
}

#[test]
fn the_samples_fill_every_variable() {
    // A file was attached or refused, so one sample cannot have both.
    let refused = SessionContext::samples().into_iter().find_map(|context| context.file_refused);
    let full = serde_json::to_value(SessionContext { file_refused: refused, ..SessionContext::samples()[2].clone() }).unwrap();
    // Two engines: what the one does not tell, the other does.
    let of_machine =
        serde_json::to_value(SessionContext::samples().into_iter().find(|context| context.traffic.is_some()).unwrap()).unwrap();
    let is_empty = |value: &serde_json::Value| value.is_null() || value.as_array().is_some_and(Vec::is_empty);
    let empty: Vec<_> = full.as_object().unwrap().iter().filter(|(name, value)| is_empty(value) && is_empty(&of_machine[*name])).collect();
    assert!(empty.is_empty(), "{empty:?}");
}

#[test]
fn the_documented_example_template_works() {
    let example = DOCUMENTATION.split("```handlebars\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("session_report.hbs"), example).unwrap();
    let templates = ReportTemplates::new(Some(directory.path())).unwrap();
    let note = session_note(&templates, &session("A <b>"), &RenderOptions::default());
    assert!(note.html.contains("A &lt;b&gt;"), "{}", note.html);
}

fn overridden(name: &str, content: &str) -> Result<ReportTemplates, TemplateFault> {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join(name), content).unwrap();
    ReportTemplates::new(Some(directory.path()))
}

#[test]
fn an_override_replaces_one_template() {
    let templates = overridden("customer_survey.hbs", "<p>{{lsid}}: {{customer}}</p>").unwrap();
    let note = customer_note(&templates, &survey("John <b>"), &RenderOptions::default());
    assert_eq!(note.html, "<p>e9e99aeb9ad54fb381634498502c5a1b: John &lt;b&gt;</p>");
    assert_eq!(note.text, "e9e99aeb9ad54fb381634498502c5a1b: John <b>", "plain text is written from the same template");
}

/// What a stack trace or a table of theirs looks like is kept, and nobody's name begins a line of its own.
#[test]
fn blanks_are_kept_and_only_texts_of_several_lines_break_them() {
    let text = "at a\n    at  b\tc";
    let note = session_note(&BUILT_IN, &session(text), &RenderOptions::default());
    assert!(note.text.contains("at a\n        at  b    c\n"), "{}", note.text);
    assert!(note.html.contains("at a<br>\u{a0} \u{a0} at \u{a0}b\u{a0}\u{a0}\u{a0} c"), "{}", note.html);
    let forged = customer_note(&BUILT_IN, &survey("John\u{2028}Representative: Max M."), &RenderOptions::default());
    assert!(forged.text.contains("\nJohn Representative: Max M., 2024"), "{}", forged.text);
}

/// A template's `pre` shows a text as it is.
#[test]
fn preformatted_values_keep_lines_and_blanks() {
    let templates = overridden("customer_survey.hbs", "{{#each questions}}<pre>{{#each answers}}{{this}}{{/each}}</pre>{{/each}}").unwrap();
    let note = customer_note(&templates, &survey("a\n  b\tc"), &RenderOptions::default());
    assert!(note.html.contains("a\n \u{a0}b\u{a0}\u{a0}\u{a0} c</pre>"), "{}", note.html);
    assert!(note.text.contains("a\n      b    c"), "{}", note.text);
}

/// What somebody says looks like no event.
#[test]
fn events_differ_from_chat_in_plain_text() {
    let note = session_note(&BUILT_IN, &session("left the session"), &RenderOptions::default());
    assert!(note.text.contains(": left the session\n") && note.text.contains(": left the session*\n"), "{}", note.text);
}

/// More than a document can hold is never taken for all of it.
#[test]
fn what_is_too_much_for_a_document_goes_along_whole() {
    let mut hidden = session("John");
    hidden.customers[0].info.details = Some(format!("x{}y", "\n".repeat(1_100_000)));
    let fitted = BUILT_IN.fit_session_report(&hidden, &RenderOptions::default(), form(TEXT, 60_000)).unwrap();
    assert!(fitted.body.contains("Remote support") && fitted.body.contains("LAPTOP-0042"), "{}", fitted.body);
    let whole = fitted.attachment.unwrap();
    assert_eq!(whole.content_type, "text/html; charset=utf-8");
    let whole = String::from_utf8(whole.bytes).unwrap();
    assert!(whole.contains("<br>y</td>") && whole.contains("LAPTOP-0042") && whole.ends_with("</html>\n"));
}

#[test]
fn an_override_for_plain_text_is_used_for_plain_text_alone() {
    let templates = overridden("customer_survey.txt.hbs", "{{lsid}}: {{customer}} {{lines details}}").unwrap_err();
    assert!(templates.file.ends_with("customer_survey.txt.hbs") && templates.fault.contains("details"), "{templates}");
    let templates = overridden("customer_survey.txt.hbs", "*{{customer}}* {{#each questions}}{{question}} {{/each}}").unwrap();
    let note = customer_note(&templates, &survey("John <b> {{x}}"), &RenderOptions::default());
    assert_eq!(note.text, "*John <b> {\u{2060}{x}}* How do you rate the support? John <b> {\u{2060}{x}}");
    assert!(note.html.starts_with("<h3>Customer exit survey</h3>"));
    let fit = |bytes| {
        let options = RenderOptions { last_line: "marker".to_owned(), ..RenderOptions::default() };
        templates.fit_customer_survey(&survey(&"é".repeat(1000)), &options, form(TEXT, bytes))
    };
    let fitted = fit(60).unwrap();
    assert!(fitted.body.starts_with("*éé") && fitted.body.ends_with("é…\n\nmarker"), "{}", fitted.body);
    assert!((59..=60).contains(&fitted.body.len()));
    assert!(fitted.attachment.unwrap().file_name.ends_with("-customer-survey.txt"));
    assert!(fit(8).unwrap_err().fault.contains("8 bytes"));
}

#[test]
fn a_broken_override_names_file_line_and_fault() {
    for (content, line, expected) in [
        ("<p>\n{{#if customer}}\n</p>", Some(3), ""),
        ("<p>\n</p>\n{{customr}}", Some(3), "customr"),
        ("{{#each transcript.beginning}}\n{{author}}\n{{autor}}{{/each}}", Some(3), "autor"),
        ("{{#if customr}}x{{/if}}", Some(1), "customr"),
        ("\n{{#unless customr}}x{{/unless}}", Some(2), "customr"),
        ("{{lines nothing}}", Some(1), "nothing"),
        ("\n{{size lsid}}", Some(2), "whole number"),
        ("{{plural 1}}", Some(1), "plural"),
        ("{{log lsid}}", Some(1), "log"),
        ("{{> secret}}", Some(1), "secret"),
    ] {
        let fault = overridden("session_report.hbs", content).unwrap_err();
        assert!(fault.file.ends_with("session_report.hbs") && !fault.file.contains("built in"), "{fault}");
        assert!(fault.fault.contains(expected), "{content}: {fault}");
        assert_eq!(fault.line, line, "{content}: {fault}");
    }
    let long = "x".repeat(300_000);
    assert!(overridden("session_report.hbs", &long).unwrap_err().fault.contains("longer than"));
    assert!(ReportTemplates::new(Some(Path::new("no/such/directory"))).unwrap_err().to_string().contains("no/such/directory"));
}

#[test]
fn system_chatter_is_left_out_unless_asked_for() {
    let told = |include_system_chatter| {
        let options = RenderOptions { include_system_chatter, ..RenderOptions::default() };
        let context = SessionContext::new(&session("John"), &options, &Shortening::default());
        context.transcript.beginning.into_iter().map(|entry| entry.kind).collect::<Vec<_>>()
    };
    let expected = [
        "joined the session",
        "Chat Message",
        "Chat Message",
        "Chat Message",
        "File Download",
        "File Upload",
        "Special Action Executed",
        "Quantum Leap",
        "left the session",
    ];
    assert_eq!(told(false), expected);
    assert_eq!(told(true).len(), expected.len() + 3);
    assert!(told(true).contains(&"Session Start".to_owned()) && told(true).contains(&"Conference Owner Changed".to_owned()));
}

#[test]
fn a_public_note_has_no_links_and_no_talk_among_representatives() {
    let options = RenderOptions {
        audience: Audience::Requester,
        report_page_host: Some("support.example.com".to_owned()),
        ..RenderOptions::default()
    };
    let note = session_note(&BUILT_IN, &session("John"), &options);
    assert!(!note.html.contains("<a ") && !note.text.contains("https://"), "{}", note.html);
    assert!(!note.html.contains("Can you help?") && note.html.contains("have a look"), "{}", note.html);
    let internal = session_note(&BUILT_IN, &session("John"), &RenderOptions { audience: Audience::Agents, ..options });
    assert!(internal.html.contains("<strong>Jane D.</strong> to Max M.: Can you help?"), "{}", internal.html);
    assert!(internal.html.contains("sd_reporting?reportType=SupportSession&amp;sessionId=e9e9"), "{}", internal.html);
}

fn actor(kind: &str) -> Actor {
    Actor { kind: kind.to_owned(), gsnumber: None, name: Some(kind.to_owned()) }
}

/// By whom, to whom, whether in words, and whether a requester reads it: whatever the event is called.
#[test]
fn what_a_requester_reads_is_judged_by_who_spoke_to_whom() {
    let some = |kind: &str| (!kind.is_empty()).then(|| actor(kind));
    for (by, to, in_words, expected) in [
        ("customer", "everyone", true, true),
        ("customer", "representative", true, true),
        ("customer", "", true, true),
        ("customer", "", false, true),
        ("representative", "everyone", true, true),
        ("Representative", "Everyone", true, true),
        ("representative", "customer", true, true),
        ("representative", "customer", false, true),
        ("representative", "", false, true),
        ("representative", "system", false, true),
        ("", "", false, true),
        ("representative", "representative", true, false),
        ("representative", "representative", false, false),
        ("rep", "rep", true, false),
        // A note, and what no version sends yet.
        ("representative", "", true, false),
        ("representative", "system", true, false),
        ("representative", "supervisor", true, false),
        ("supervisor", "representative", true, false),
        ("supervisor", "", true, false),
        ("", "", true, false),
        ("", "representative", false, false),
    ] {
        for name in [event_type::CHAT_MESSAGE, "Chatnachricht", event_type::SPECIAL_ACTION, "Файл"] {
            let event = SessionEvent {
                event_type: name.to_owned(),
                performed_by: some(by),
                destination: some(to),
                body: in_words.then(|| "words".to_owned()),
                ..SessionEvent::default()
            };
            let session = SessionReport { lsid: "e9".to_owned(), events: vec![event], ..SessionReport::default() };
            let told = |audience| {
                let options = RenderOptions { audience, ..RenderOptions::default() };
                SessionContext::new(&session, &options, &Shortening::default()).transcript.total
            };
            let counts = [Audience::Agents, Audience::Requester, Audience::AgentsBesideRequester].map(told);
            assert_eq!(counts, [1, usize::from(expected), usize::from(!expected)], "{name}: {by} to {to}, in words: {in_words}");
        }
    }
}

#[test]
fn session_notes_are_for_agents_unless_they_are_published() {
    let note = |name: &str| SessionEvent {
        event_type: name.to_owned(),
        performed_by: Some(actor("representative")),
        body: Some("for colleagues".to_owned()),
        ..SessionEvent::default()
    };
    for name in [event_type::SESSION_NOTE, "Sitzungsnotiz hinzugefügt"] {
        let session = SessionReport { lsid: "e9".to_owned(), events: vec![note(name)], ..SessionReport::default() };
        for (audience, publish_session_notes, expected) in [
            (Audience::Agents, false, true),
            (Audience::Agents, true, true),
            (Audience::Requester, false, false),
            (Audience::Requester, true, true),
            (Audience::AgentsBesideRequester, false, true),
            (Audience::AgentsBesideRequester, true, false),
        ] {
            let options = RenderOptions { audience, publish_session_notes, ..RenderOptions::default() };
            let text = session_note(&BUILT_IN, &session, &options).text;
            assert_eq!(text.contains("for colleagues"), expected, "{name}, {audience:?}, published: {publish_session_notes}\n{text}");
            assert_eq!(ReportTemplates::leaves_something_out(&session, &options), !publish_session_notes);
        }
    }
}

/// Where a representative's arrival is not known by its English name, what is told with it stays among agents.
#[test]
fn a_requester_reads_no_data_about_representatives() {
    let data = [("public_name", "Jane D."), ("private_name", "Jane Doe (T2)"), ("username", "jdoe"), ("private_ip", "10.0.0.9")];
    let joins = |kind: &str| SessionEvent {
        event_type: "Konferenzmitglied hinzugefügt".to_owned(),
        performed_by: Some(actor(kind)),
        data: data.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
        ..SessionEvent::default()
    };
    let told = |kind: &str, audience| {
        let session = SessionReport { lsid: "e9".to_owned(), events: vec![joins(kind)], ..SessionReport::default() };
        let options = RenderOptions { audience, ..RenderOptions::default() };
        SessionContext::new(&session, &options, &Shortening::default()).transcript.beginning[0].details.len()
    };
    assert_eq!((told("representative", Audience::Agents), told("representative", Audience::Requester)), (4, 1));
    assert_eq!(told("customer", Audience::Requester), 4, "a customer's own");
}

/// What stands beside a public note repeats nothing of it but what says which session it is.
#[test]
fn a_note_beside_a_public_one_has_what_that_one_leaves_out() {
    let options = RenderOptions {
        audience: Audience::AgentsBesideRequester,
        report_page_host: Some("support.example.com".to_owned()),
        ..RenderOptions::default()
    };
    let note = session_note(&BUILT_IN, &session("John"), &options);
    check_html(&note.html);
    assert!(note.html.starts_with("<h3>Remote support session, for agents only</h3>"), "{}", note.html);
    for told in
        ["Can you help?", "<h4>Session notes</h4>", "View the recording", "sd_reporting", "<th>Representative</th>", "<th>Started</th>"]
    {
        assert!(note.html.contains(told), "{told}: {}", note.html);
    }
    for left_out in ["have a look", "System information", "LAPTOP-0042", "outlook.log", "General Technical Issues"] {
        assert!(!note.html.contains(left_out), "{left_out}: {}", note.html);
    }
    let fitted = BUILT_IN.fit_session_report(&session(&"long ".repeat(2000)), &options, form(HTML, 5_000)).unwrap();
    assert_eq!(fitted.attachment.unwrap().file_name, "session-e9e99aeb9ad54fb381634498502c5a1b-internal.html");
}

#[test]
fn system_information_of_chosen_categories_as_told_last() {
    let mut twice = session("old");
    let later = session("new").events.into_iter().find(|event| event.system_information.is_some()).unwrap();
    twice.events.push(later);
    let names = |system_categories: &[&str]| {
        let options = RenderOptions {
            system_categories: system_categories.iter().map(|name| (*name).to_owned()).collect(),
            ..RenderOptions::default()
        };
        SessionContext::new(&twice, &options, &Shortening::default()).system_information
    };
    let sections = names(&["general", "disk"]);
    assert_eq!(sections.iter().map(|section| section.name.as_str()).collect::<Vec<_>>(), ["General", "Disk"]);
    assert_eq!(sections[0].pairs[1].value, "new");
    assert_eq!(
        (&sections[1].columns, &sections[1].rows[0]),
        (&vec!["Drive".to_owned(), "Free".to_owned(), String::new()], &vec!["C:".to_owned(), "81 GB".to_owned(), String::new()])
    );
    let all = names(&[]);
    assert_eq!((all.len(), all[2].rows.len(), all[2].rows_omitted), (3, 100, 20));
}

fn long_session(entries: usize, body: &str) -> SessionReport {
    let mut session = session("John");
    let by = Actor { kind: "customer".to_owned(), gsnumber: None, name: Some("John".to_owned()) };
    session.events = (0..entries)
        .map(|index| SessionEvent {
            timestamp: Some(1_733_239_565),
            event_type: event_type::CHAT_MESSAGE.to_owned(),
            performed_by: Some(by.clone()),
            body: Some(format!("#{index}# {body}")),
            ..SessionEvent::default()
        })
        .collect();
    session
}

#[test]
fn a_note_that_fits_has_no_attachment() {
    let fitted = BUILT_IN.fit_session_report(&long_session(300, "Zeile"), &RenderOptions::default(), form(HTML, 60_000)).unwrap();
    assert_eq!(fitted.attachment, None);
    assert!(fitted.body.contains("#0# ") && fitted.body.contains("#299# "));
}

#[test]
fn a_long_transcript_is_cut_at_whole_entries_and_attached() {
    let session = long_session(300, &"<Grüße> {{x}} ".repeat(40));
    for format in [HTML, TEXT] {
        let fitted = BUILT_IN.fit_session_report(&session, &RenderOptions::default(), form(format, 60_000)).unwrap();
        assert!(fitted.body.len() <= 60_000 && fitted.body.len() > 50_000, "{}", fitted.body.len());
        let attachment = fitted.attachment.unwrap();
        let (extension, content_type) =
            if format == HTML { ("html", "text/html; charset=utf-8") } else { ("txt", "text/plain; charset=utf-8") };
        assert_eq!(attachment.file_name, format!("session-e9e99aeb9ad54fb381634498502c5a1b.{extension}"));
        assert_eq!(attachment.content_type, content_type);
        assert!(fitted.body.contains("#0# ") && fitted.body.contains("#299# ") && !fitted.body.contains("#150# "));
        let kept = fitted.body.matches("John: ").count() + fitted.body.matches("<strong>John</strong>: ").count();
        let gap = format!("… {} entries in the attached file {} …", 300 - kept, attachment.file_name);
        assert!(fitted.body.contains(&gap), "{gap}");
        let whole = String::from_utf8(attachment.bytes).unwrap();
        assert!((0..300).all(|index| whole.contains(&format!("#{index}# "))));
        assert!(whole.contains("{{x}}") && !fitted.body.contains("{{"));
        if format == HTML {
            check_html(&fitted.body);
        }
    }
}

/// A terminal's first and last lines stand in the note, its middle in the file; a chat goes before a terminal.
#[test]
fn a_long_terminal_is_cut_at_whole_lines_and_attached() {
    let lines: Vec<_> = (0..1000).map(|index| format!("#{index}# <Grüße> ```  {{{{x}}}} </pre> {{code}}")).collect();
    let terminal = Some(TerminalTranscript { text: lines.join("\n"), is_cut: false });
    let session = SessionReport { terminal, ..machine_session("John") };
    let formats = [HTML, TEXT, Format::Markdown(Flavour::GitHub), Format::Markdown(Flavour::GitLab), Format::JiraWiki, Format::Adf];
    for format in formats {
        let fitted = BUILT_IN.fit_session_report(&session, &machine_options(), form(format, 8_000)).unwrap();
        assert!(fitted.body.len() <= 8_000 && fitted.body.len() > 7_500, "{}", fitted.body.len());
        let kept = (0..1000).filter(|index| fitted.body.contains(&format!("#{index}# "))).collect::<Vec<_>>();
        let first_of_end = kept.windows(2).find(|pair| pair[1] != pair[0] + 1).map(|pair| pair[1]);
        assert!(kept.contains(&0) && kept.contains(&999) && first_of_end.is_some(), "{format:?}: {kept:?}");
        assert!(fitted.body.contains("May I have a look?"), "{format:?}");
        assert!(fitted.body.contains(&format!("… {} lines in the attached file", 1000 - kept.len())), "{format:?}: {}", fitted.body);
        let whole = String::from_utf8(fitted.attachment.unwrap().bytes).unwrap();
        assert!((0..1000).all(|index| whole.contains(&format!("#{index}# "))));
        if format == HTML {
            check_html(&fitted.body);
        }
    }
}

#[test]
fn giant_texts_fit_too() {
    let options = RenderOptions::default();
    let limit = form(HTML, 10_000);
    let giant = "\"<{{".repeat(15_000);
    let fitted = BUILT_IN.fit_session_report(&session(&giant), &options, form(HTML, 60_000)).unwrap();
    assert!(fitted.body.len() <= 60_000 && fitted.body.contains("LAPTOP-0042"));
    check_html(&fitted.body);
    let fitted = BUILT_IN.fit_session_report(&session(&giant), &options, limit).unwrap();
    assert!(fitted.body.len() <= 10_000 && fitted.attachment.is_some());
    let fitted = BUILT_IN.fit_customer_survey(&survey(&giant), &options, limit).unwrap();
    assert!(fitted.body.len() <= 10_000 && fitted.body.contains("How do you rate the support?"), "{}", fitted.body);
    assert_eq!(fitted.attachment.unwrap().file_name, "session-e9e99aeb9ad54fb381634498502c5a1b-customer-survey.html");
    let templates = overridden("representative_survey.hbs", &"x".repeat(20_000)).unwrap();
    let fitted = templates.fit_representative_survey(&survey("John"), &options, limit).unwrap();
    assert!((9_900..=10_000).contains(&fitted.body.len()) && fitted.body.ends_with("x</p>\n<p>…</p>"));
    assert_eq!(String::from_utf8(fitted.attachment.unwrap().bytes).unwrap().matches('x').count(), 20_000);
    let fault = templates.fit_representative_survey(&survey("John"), &options, form(HTML, 5)).unwrap_err();
    assert!(fault.fault.contains("5 bytes") && fault.file.contains("representative_survey.hbs"), "{fault}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever people type, the note has only our elements, no placeholder, and says what they typed.
    #[test]
    fn arbitrary_text_stays_text(text in r#"(\{\{|<|>|"|'|&|`|=|/|a|\n|é|<b>|</li>|javascript:|\PC){0,40}"#) {
        let note = session_note(&BUILT_IN, &session(&text), &RenderOptions::default());
        check_html(&note.html);
        prop_assert!(!note.html.contains("{{") && !note.text.contains("{{"));
        prop_assert!(unescape(&note.html).contains(&shown(&neutralise(&text))), "{}", note.html);
        let terminal = TerminalTranscript { text: format!("$ {text}\n."), is_cut: false };
        let note = session_note(&BUILT_IN, &SessionReport { terminal: Some(terminal), ..machine_session(&text) }, &machine_options());
        check_html(&note.html);
        prop_assert!(!note.html.contains("{{") && !note.text.contains("{{"));
        let typed = text.replace(['\u{2028}', '\u{2029}'], "\n");
        prop_assert!(unescape(&note.html).contains(&neutralise(&format!("$ {typed}\n."))), "{}", note.html);
        let survey = customer_note(&BUILT_IN, &survey(&text), &RenderOptions::default());
        check_html(&survey.html);
    }
}

fn incident(posted: serde_json::Value) -> deskbridge_core::incident::Incident {
    deskbridge_core::incident::Incident::read(posted).unwrap()
}

#[test]
fn an_incident_tells_its_facts_in_the_order_people_know() {
    assert_eq!(IncidentContext::samples().len(), 4);
    let posted = serde_json::json!({
        "pk": 1, "start_time": "2026-11-21T21:14:00.123456+01:00", "end_time": "infinity", "source": { "pk": 2, "name": "nav.example.org" },
        "source_incident_id": "42", "details_url": "https://nav.example.org/event/42", "description": "Link down: core-1 <b>&amp;</b>\nsince 8",
        "level": 2, "tags": [{ "tag": "url=https://x.example/?a=b" }], "argus_url": "https://argus.example.org/incidents/1", "user": "Admin"
    });
    let zone = TimeZone::named("Europe/Oslo").unwrap();
    let document = BUILT_IN.incident(&incident(posted), &zone).unwrap();
    let html = deskbridge_documents::write(&document, Format::Html(Guards::ALL));
    check_html(&html);
    let plain = deskbridge_documents::write(&document, Format::Text(Guards::NONE));
    assert_eq!(
        plain.trim(),
        "Link down: core-1 <b>&amp;</b>\nsince 8\n    Level: High (2)\n    Started: 2026-11-21 21:14:00 +01:00\n    Source: nav.example.org\n    \
         Incident: 42\n    Argus: https://argus.example.org/incidents/1\n    Details: https://nav.example.org/event/42\n\n\
         Tags\n====\nurl: https://x.example/?a=b\n\nTicket made by Admin"
    );
    let link = "<a href=\"https://argus.example.org/incidents/1\">https://argus.example.org/incidents/1</a>";
    assert!(html.contains(link), "{html}");
    let small =
        incident(serde_json::json!({ "source": "zabbix", "id": "7", "title": "Disk full", "description": "98 %", "url": "javascript:x" }));
    let html = deskbridge_documents::write(&BUILT_IN.incident(&small, &zone).unwrap(), Format::Html(Guards::ALL));
    assert!(html.contains("<strong>Disk full</strong>") && html.contains("98 %") && !html.contains("href"), "{html}");
}

#[test]
fn an_administrators_template_of_an_incident_reads_what_was_posted() {
    let directory = tempfile::tempdir().unwrap();
    let write = |text: &str| std::fs::write(directory.path().join("incident.hbs"), text).unwrap();
    write("<p>{{title}}: {{member posted \"metadata.rack\"}}{{#if (member posted \"metadata.none\")}}none{{/if}}</p>");
    let templates = ReportTemplates::new(Some(directory.path())).unwrap();
    let posted = serde_json::json!({ "source": "z", "id": "1", "title": "Fire", "metadata": { "rack": "A<7" } });
    let document = templates.incident(&incident(posted), &TimeZone::default()).unwrap();
    assert_eq!(deskbridge_documents::write(&document, Format::Text(Guards::NONE)).trim(), "Fire: A<7");
    write("<p>{{titel}}</p>");
    assert!(ReportTemplates::new(Some(directory.path())).unwrap_err().fault.contains("titel"));
}
