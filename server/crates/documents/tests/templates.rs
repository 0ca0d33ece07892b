//! What the built-in templates render, as the tests of `reports` expect it, through a document.

use deskbridge_documents::{Flavour, Format, Guards, adf_value, parse, write};

const HTML: &str = include_str!("../../reports/src/expected/session_report.html");
const TEXT: &str = include_str!("../../reports/src/expected/session_report.txt");

#[test]
fn html_is_the_same_to_the_byte() {
    assert_eq!(write(&parse::from_html(HTML), Format::Html(Guards::NONE)), HTML.trim_end());
}

#[test]
fn text_reads_as_people_write_it() {
    assert_eq!(write(&parse::from_html(HTML), Format::Text(Guards::NONE)), TEXT.trim_end());
}

#[test]
fn survey_as_text() {
    let html = "<h3>Customer exit survey</h3>\n<p><strong>John</strong>, 2024-12-03 15:42:00 UTC<br>Representative: Jane D.<br>Session e9</p>\n\
                <table>\n<tr><th>How do you rate the support?</th><td>5<br>good</td></tr>\n<tr><th>More</th><td><em>no answer</em></td></tr>\n</table>\n\
                <p><em>This note is shortened.</em></p>";
    let expected = "Customer exit survey\n====================\nJohn, 2024-12-03 15:42:00 UTC\nRepresentative: Jane D.\nSession e9\n    \
                    How do you rate the support? 5\n        good\n    More: *no answer*\n\n*This note is shortened.*";
    assert_eq!(write(&parse::from_html(html), Format::Text(Guards::NONE)), expected);
}

/// Read by eye once, kept so that a change of a writer shows.
#[test]
fn the_report_in_the_other_formats() {
    let document = parse::from_html(HTML);
    for (format, expected) in [
        (Format::Markdown(Flavour::GitHub), include_str!("samples/session_report.github.md")),
        (Format::Markdown(Flavour::GitLab), include_str!("samples/session_report.gitlab.md")),
        (Format::JiraWiki, include_str!("samples/session_report.jira.txt")),
    ] {
        let written = write(&document, format);
        assert_eq!(written, expected.trim_end(), "{format:?}");
    }
    let expected: serde_json::Value = serde_json::from_str(include_str!("samples/session_report.adf.json")).unwrap();
    assert_eq!(adf_value(&document), expected);
}
