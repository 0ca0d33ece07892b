//! Templates, samples, limits and the documentation, together.

use super::samples::{session, survey};
use super::*;
use deskbridge_core::note::{Body, NoteLimit};
use deskbridge_core::session_report::{Actor, SessionEvent, event_type};
use deskbridge_remote_support::beyondtrust::parse_report;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::sync::LazyLock;

static BUILT_IN: LazyLock<ReportTemplates> = LazyLock::new(|| ReportTemplates::new(None).unwrap());

const DOCUMENTATION: &str = include_str!("../../../../docs/report-templates.md");

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

#[test]
fn the_example_as_html() {
    let note = BUILT_IN.session_report(&example(), &RenderOptions::default()).unwrap();
    assert_eq!(note.html, include_str!("expected/session_report.html").trim_end());
    check_html(&note.html);
}

#[test]
fn the_example_as_text() {
    let note = BUILT_IN.session_report(&example(), &RenderOptions::default()).unwrap();
    assert_eq!(note.text, include_str!("expected/session_report.txt").trim_end());
}

#[test]
fn surveys_in_both_forms() {
    let options = RenderOptions::default();
    let note = BUILT_IN.customer_survey(&survey("John <b>"), &options).unwrap();
    check_html(&note.html);
    assert!(note.html.starts_with("<h3>Customer exit survey</h3>"), "{}", note.html);
    assert!(note.html.contains("<tr><th>How do you rate the support?</th><td>5<br>John &lt;b&gt;</td></tr>"), "{}", note.html);
    assert!(note.html.contains("<tr><th>John &lt;b&gt;</th><td><em>no answer</em></td></tr>"), "{}", note.html);
    assert_eq!(
        note.text,
        "Customer exit survey\n====================\nJohn <b>, 2024-12-03 15:42:00 UTC\nRepresentative: Jane D.\n\
         Session: e9e99aeb9ad54fb381634498502c5a1b\n\nHow do you rate the support?\n    5\n    John <b>\nJohn <b>\n    no answer"
    );
    let note = BUILT_IN.representative_survey(&survey("John"), &options).unwrap();
    check_html(&note.html);
    assert!(note.html.starts_with("<h3>Representative exit survey</h3>") && note.text.contains("\nCustomer: John\n"), "{}", note.text);
}

/// The example of beyondtrust.md D.5, as the client reads it.
fn example() -> SessionReport {
    parse_report(include_bytes!("../../remote-support/src/beyondtrust/samples/support_session.xml")).unwrap().remove(0)
}

#[test]
fn every_template_renders_every_sample() {
    for body in [Body::Html, Body::Text] {
        let check = |report, context: &serde_json::Value| {
            let rendered = BUILT_IN.render(report, body, context).unwrap();
            assert!(rendered.lines().count() > 1, "{rendered}");
            if body == Body::Html {
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
        let text = BUILT_IN.render(Report::Session, Body::Text, &context).unwrap();
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
    assert!(names.len() > 60, "{names:?}");
    let helpers = ["lines", "size", "plural"].map(str::to_owned);
    let templates = Report::ALL.into_iter().flat_map(|report| [Body::Html, Body::Text].map(|body| report.template(body).0.to_owned()));
    for name in names.into_iter().chain(helpers).chain(templates) {
        assert!(DOCUMENTATION.contains(&format!("`{name}`")), "docs/report-templates.md does not explain `{name}`");
    }
}

#[test]
fn the_samples_fill_every_variable() {
    let full = serde_json::to_value(&SessionContext::samples()[2]).unwrap();
    let empty: Vec<_> =
        full.as_object().unwrap().iter().filter(|(_, value)| value.is_null() || value.as_array().is_some_and(Vec::is_empty)).collect();
    assert!(empty.is_empty(), "{empty:?}");
}

#[test]
fn the_documented_example_template_works() {
    let example = DOCUMENTATION.split("```handlebars\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("session_report.hbs"), example).unwrap();
    let templates = ReportTemplates::new(Some(directory.path())).unwrap();
    let note = templates.session_report(&session("A <b>"), &RenderOptions::default()).unwrap();
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
    let note = templates.customer_survey(&survey("John <b>"), &RenderOptions::default()).unwrap();
    assert_eq!(note.html, "<p>e9e99aeb9ad54fb381634498502c5a1b: John &lt;b&gt;</p>");
    assert!(note.text.starts_with("Customer exit survey"), "the text form is still the built-in one");
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
    let options = RenderOptions { is_public: true, report_page_host: Some("support.example.com".to_owned()), ..RenderOptions::default() };
    let note = BUILT_IN.session_report(&session("John"), &options).unwrap();
    assert!(!note.html.contains("<a ") && !note.text.contains("https://"), "{}", note.html);
    assert!(!note.html.contains("Can you help?") && note.html.contains("have a look"), "{}", note.html);
    let internal = BUILT_IN.session_report(&session("John"), &RenderOptions { is_public: false, ..options }).unwrap();
    assert!(internal.html.contains("<strong>Jane D.</strong> to Max M.: Can you help?"), "{}", internal.html);
    assert!(internal.html.contains("sd_reporting?reportType=SessionReport&amp;sessionId=e9e9"), "{}", internal.html);
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
    let fitted = BUILT_IN.fit_session_report(&long_session(300, "Zeile"), &RenderOptions::default(), NoteLimit::ZENDESK).unwrap();
    assert_eq!(fitted.attachment, None);
    assert!(fitted.body.contains("#0# ") && fitted.body.contains("#299# "));
}

#[test]
fn a_long_transcript_is_cut_at_whole_entries_and_attached() {
    let session = long_session(300, &"<Grüße> {{x}} ".repeat(40));
    for body in [Body::Html, Body::Text] {
        let limit = NoteLimit { body, bytes: 60_000 };
        let fitted = BUILT_IN.fit_session_report(&session, &RenderOptions::default(), limit).unwrap();
        assert!(fitted.body.len() <= limit.bytes && fitted.body.len() > 50_000, "{}", fitted.body.len());
        let attachment = fitted.attachment.unwrap();
        let (extension, content_type) =
            if body == Body::Html { ("html", "text/html; charset=utf-8") } else { ("txt", "text/plain; charset=utf-8") };
        assert_eq!(attachment.file_name, format!("session-e9e99aeb9ad54fb381634498502c5a1b.{extension}"));
        assert_eq!(attachment.content_type, content_type);
        assert!(fitted.body.contains("#0# ") && fitted.body.contains("#299# ") && !fitted.body.contains("#150# "));
        let kept = fitted.body.matches("John: ").count() + fitted.body.matches("<strong>John</strong>: ").count();
        let gap = format!("… {} entries in the attached file {} …", 300 - kept, attachment.file_name);
        assert!(fitted.body.contains(&gap), "{gap}");
        let whole = String::from_utf8(attachment.bytes).unwrap();
        assert!((0..300).all(|index| whole.contains(&format!("#{index}# "))));
        assert!(whole.contains("{{x}}") && !fitted.body.contains("{{"));
        if body == Body::Html {
            check_html(&fitted.body);
        }
    }
}

#[test]
fn giant_texts_fit_too() {
    let options = RenderOptions::default();
    let limit = NoteLimit { body: Body::Html, bytes: 10_000 };
    let giant = "\"<{{".repeat(15_000);
    let fitted = BUILT_IN.fit_session_report(&session(&giant), &options, NoteLimit::ZENDESK).unwrap();
    assert!(fitted.body.len() <= NoteLimit::ZENDESK.bytes && fitted.body.contains("LAPTOP-0042"));
    check_html(&fitted.body);
    let fitted = BUILT_IN.fit_session_report(&session(&giant), &options, limit).unwrap();
    assert!(fitted.body.len() <= limit.bytes && fitted.attachment.is_some());
    let fitted = BUILT_IN.fit_customer_survey(&survey(&giant), &options, limit).unwrap();
    assert!(fitted.body.len() <= limit.bytes && fitted.body.contains("How do you rate the support?"), "{}", fitted.body);
    assert_eq!(fitted.attachment.unwrap().file_name, "session-e9e99aeb9ad54fb381634498502c5a1b-customer-survey.html");
    let templates = overridden("representative_survey.hbs", &"x".repeat(20_000)).unwrap();
    let fault = templates.fit_representative_survey(&survey("John"), &options, limit).unwrap_err();
    assert!(fault.fault.contains("more than 10000 bytes"), "{fault}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever people type, the note has only our elements, no placeholder, and says what they typed.
    #[test]
    fn arbitrary_text_stays_text(text in r#"(\{\{|<|>|"|'|&|`|=|/|a|\n|é|<b>|</li>|javascript:|\PC){0,40}"#) {
        let note = BUILT_IN.session_report(&session(&text), &RenderOptions::default()).unwrap();
        check_html(&note.html);
        prop_assert!(!note.html.contains("{{") && !note.text.contains("{{"));
        prop_assert!(unescape(&note.html).contains(&neutralise(&text).replace('\n', "<br>")), "{}", note.html);
        let survey = BUILT_IN.customer_survey(&survey(&text), &RenderOptions::default()).unwrap();
        check_html(&survey.html);
    }
}
