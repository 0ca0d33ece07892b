//! Every text the panel shows, by name. The texts themselves come from the server (`zendesk-app/translations/*.json`, object `panel`);
//! nothing a person reads is written in this crate.

use super::RECORDS_IN_PAGE;

macro_rules! texts {
    ($($variant:ident = $name:literal,)* ; $($record_variant:ident = $record_name:literal,)*) => {
        /// A text of the panel.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Text {
            $(#[doc = concat!("`", $name, "`")] $variant,)*
            $(#[doc = concat!("`", $record_name, "`")] $record_variant,)*
        }

        impl Text {
            /// All of them, in the order of their numbers.
            pub const ALL: &[Self] = &[$(Self::$variant,)* $(Self::$record_variant,)*];

            /// The name in the translation files.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                    $(Self::$record_variant => $record_name,)*
                }
            }
        }

        /// The names of those this panel shows, in the order of their numbers, each with a line's end. A table of them would weigh more.
        const NAMES: &str = if RECORDS_IN_PAGE {
            concat!($($name, "\n",)* $($record_name, "\n",)*)
        } else {
            concat!($($name, "\n",)*)
        };
    };
}

texts! {
    Loading = "loading",
    UnsavedTitle = "unsaved_title",
    UnsavedHint = "unsaved_hint",
    NoHostTitle = "no_host_title",
    NoHostHint = "no_host_hint",
    TicketInDoubt = "ticket_in_doubt",
    EndedTitle = "ended_title",
    EndedHint = "ended_hint",
    FailedTitle = "failed_title",
    Retry = "retry",
    NotReached = "not_reached",
    Unexpected = "unexpected",
    KeyTitle = "key_title",
    KeyHint = "key_hint",
    KeyMake = "key_make",
    KeyMakeAgain = "key_make_again",
    KeyMaking = "key_making",
    KeyMade = "key_made",
    KeyLabel = "key_label",
    KeyExpired = "key_expired",
    KeyCopy = "key_copy",
    LinkCopy = "link_copy",
    Copied = "copied",
    CopyFailed = "copy_failed",
    Insert = "insert",
    Inserting = "inserting",
    Inserted = "inserted",
    InsertFailed = "insert_failed",
    InsertUncertain = "insert_uncertain",
    Mail = "mail",
    MailCopy = "mail_copy",
    ExpiresIn = "expires_in",
    JumpTitle = "jump_title",
    Method = "method",
    TargetSearch = "target_search",
    TargetHost = "target_host",
    Jumpoint = "jumpoint",
    Username = "username",
    MoreOptions = "more_options",
    DisplaySize = "display_size",
    DisplayPrimary = "display_primary",
    DisplayAll = "display_all",
    Quality = "quality",
    QualityLow = "quality_low",
    QualityPerformance = "quality_performance",
    QualityBalanced = "quality_balanced",
    QualityBest = "quality_best",
    Console = "console",
    Protocol = "protocol",
    Port = "port",
    Terminal = "terminal",
    Jump = "jump",
    Jumping = "jumping",
    JumpMade = "jump_made",
    JumpBlocked = "jump_blocked",
    JumpAgain = "jump_again",
    TargetMissing = "target_missing",
    TooLong = "too_long",
    PortRange = "port_range",
    ChatTitle = "chat_title",
    ChatHint = "chat_hint",
    Issue = "issue",
    ChatSend = "chat_send",
    ChatReply = "chat_reply",
    ChatMake = "chat_make",
    ChatMakeAgain = "chat_make_again",
    ChatMaking = "chat_making",
    ChatMade = "chat_made",
    ChatExpired = "chat_expired",
    SessionsTitle = "sessions_title",
    SessionsNone = "sessions_none",
    SessionsStale = "sessions_stale",
    UnnamedCustomer = "unnamed_customer",
    WithRepresentative = "with_representative",
    TimeSince = "time_since",
    TimeSpan = "time_span",
    SessionNews = "session_news",
    CustomerWaiting = "customer_waiting",
    CustomizeHelpCenter = "customize_help_center",
    OpenSettings = "open_settings",
    MachinesTitle = "machines_title",
    MachineSearch = "machine_search",
    MachinesOfTicket = "machines_of_ticket",
    MachinesOther = "machines_other",
    MachinesNone = "machines_none",
    MachinesNotFound = "machines_not_found",
    MachinesMore = "machines_more",
    LinkMade = "link_made",
    LinkBlocked = "link_blocked",
    LinkCopyTechnician = "link_copy_technician",
    LinkEnd = "link_end",
    LinkEnded = "link_ended",
    Watch = "watch_recording",
    RecordingBlocked = "recording_blocked",
    ;
    Record = "record",
    Recording = "recording",
    RecordDone = "record_done",
    RecordAdded = "record_added",
    RecordUntold = "record_untold",
    ReloadTicket = "reload_ticket",
    RecordCopy = "record_copy",
    RecordCannot = "record_cannot",
    RecordSignedOut = "record_signed_out",
    RecordNotAllowed = "record_not_allowed",
    RecordPageTooOld = "record_page_too_old",
    RecordMerged = "record_merged",
    RecordLockedBy = "record_locked_by",
    RecordLockedByOther = "record_locked_by_other",
    RecordLockedElsewhere = "record_locked_elsewhere",
    RecordNotReached = "record_not_reached",
    RecordRefused = "record_refused",
    RecordTooLate = "record_too_late",
    RecordUncertain = "record_uncertain",
}

/// Texts that are found by name alone: how each kind of problem is worded and what each field is called in that, because the server's list is longer
/// than any panel's; what methods are called and are for, and what states are called, because a table of them would weigh more.
pub fn is_looked_up(name: &str) -> bool {
    ["problem_", "field_", "method_", "hint_", "state_"].iter().any(|beginning| name.starts_with(beginning))
}

/// The texts in one language.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Texts {
    own: Vec<String>,
    looked_up: Vec<(String, String)>,
}

impl Texts {
    /// Takes each text from `lookup`; one that is missing shows as its name.
    pub fn read(lookup: impl Fn(&str) -> Option<String>) -> Self {
        let mut own = Vec::new();
        let mut rest = NAMES;
        while let Some((name, after)) = cut(rest, b'\n') {
            own.push(lookup(name).unwrap_or_else(|| name.into()));
            rest = after;
        }
        Self { own, looked_up: Vec::new() }
    }

    /// Adds a text that is found by its name: see [`is_looked_up`].
    pub fn add(&mut self, name: String, text: String) {
        self.looked_up.push((name, text));
    }

    /// The text of that name, if there is one that is found by its name.
    pub fn named(&self, name: &str) -> Option<&str> {
        self.looked_up.iter().find(|(known, _)| known == name).map(|(_, text)| text.as_str())
    }

    /// The text whose name is these two together; empty: there is none.
    pub fn by_name(&self, beginning: &str, name: &str) -> &str {
        self.named(&join(&[beginning, name])).unwrap_or_default()
    }

    /// The text.
    pub fn get(&self, text: Text) -> &str {
        self.own.get(text as usize).map_or("", String::as_str)
    }

    /// The text with `{placeholder}` replaced by `value`, wherever it stands.
    pub fn fill(&self, text: Text, placeholder: &str, value: &str) -> String {
        fill(self.get(text), placeholder, value)
    }
}

/// `template` with `{placeholder}` replaced by `value`.
pub fn fill(template: &str, placeholder: &str, value: &str) -> String {
    let mut out = String::new();
    let mut rest = template;
    while let Some((before, after)) = cut(rest, b'{') {
        let filled = after.strip_prefix(placeholder).and_then(|after| after.strip_prefix('}'));
        out.push_str(before);
        out.push_str(if filled.is_some() { value } else { "{" });
        rest = filled.unwrap_or(after);
    }
    out.push_str(rest);
    out
}

/// `before` with plain text at its end: as one more paragraph of HTML, or from the next line on.
pub fn append(before: &str, addition: &str, is_html: bool) -> String {
    let mut out = String::from(before);
    if is_html {
        out.push_str("<p>");
        for character in addition.chars() {
            match character {
                '&' => out.push_str("&amp;"),
                '<' => out.push_str("&lt;"),
                '>' => out.push_str("&gt;"),
                '"' => out.push_str("&quot;"),
                '\n' => out.push_str("<br>"),
                '\r' => {}
                _ => out.push(character),
            }
        }
        out.push_str("</p>");
    } else {
        if !before.is_empty() {
            out.push('\n');
        }
        out.push_str(addition);
    }
    out
}

/// Whether the text is clearly HTML: it begins with a tag that an editor for rich text begins with. `false` says nothing.
pub fn is_html(text: &str) -> bool {
    let Some((_, rest)) = cut(text.trim_ascii_start(), b'<').filter(|(before, _)| before.is_empty()) else { return false };
    ["p", "div", "br", "span", "ul", "ol", "table", "blockquote", "pre"].iter().any(|tag| {
        let after = rest.strip_prefix(tag);
        after.is_some_and(|after| after.starts_with(['>', ' ', '/']))
    })
}

/// The texts before and after the first of that ASCII character. `str::split_once` brings a search engine along.
pub fn cut(text: &str, separator: u8) -> Option<(&str, &str)> {
    let at = text.bytes().position(|byte| byte == separator)?;
    Some((text.get(..at)?, text.get(at + 1..)?))
}

/// The parts as one text. `concat` brings a formatter for its panics along.
pub fn join(parts: &[&str]) -> String {
    let mut out = String::new();
    for part in parts {
        out.push_str(part);
    }
    out
}

/// A number in digits, without the weight of `fmt`.
pub fn decimal(number: u32) -> String {
    let mut out = if number < 10 { String::new() } else { decimal(number / 10) };
    if let Some(digit) = char::from_digit(number % 10, 10) {
        out.push(digit);
    }
    out
}

/// The port that the digits are; `None` for what is no port. `parse` brings a sign and words for each fault along.
pub fn port(digits: &str) -> Option<u32> {
    let mut port = 0;
    for byte in digits.bytes() {
        if !byte.is_ascii_digit() || port > 65_535 {
            return None;
        }
        port = port * 10 + u32::from(byte - b'0');
    }
    (1..=65_535).contains(&port).then_some(port)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};

    use crate::api::{JumpMethod, MachineState, SessionState};
    use crate::panel::model::{Field, Problem};
    use crate::problem::{Kind, Reader};

    const ENGLISH: &str = include_str!("../../../zendesk-app/translations/en.json");
    const GERMAN: &str = include_str!("../../../zendesk-app/translations/de.json");

    fn panel_texts(file: &str) -> BTreeMap<String, String> {
        let file: serde_json::Value = serde_json::from_str(file).expect("JSON");
        let panel = file["panel"].as_object().expect("an object `panel`");
        panel.iter().map(|(name, text)| (name.clone(), text.as_str().expect("a flat map").to_owned())).collect()
    }

    fn placeholders(text: &str) -> BTreeSet<String> {
        text.split('{').skip(1).map(|rest| rest.split_once('}').expect("a closed placeholder").0.to_owned()).collect()
    }

    /// The kinds of problem that the panel must be able to word.
    fn kinds() -> impl Iterator<Item = Kind> {
        Kind::ALL.iter().copied().filter(|kind| kind.is_read_by(Reader::Panel))
    }

    #[test]
    fn each_language_has_exactly_the_panels_texts() {
        let own = Text::ALL.iter().map(|text| text.name().to_owned());
        let fields = Field::ALL.into_iter().map(|field| ["field_", field.name()].concat());
        let methods = JumpMethod::ALL.into_iter().map(|method| ["method_", method.name()].concat());
        let hints = JumpMethod::JUMPS.into_iter().map(|method| ["hint_", method.name()].concat());
        let states = SessionState::ALL.map(SessionState::name).into_iter().chain(MachineState::ALL.map(MachineState::name));
        let states = states.map(|state| ["state_", state].concat());
        let looked_up: Vec<String> = kinds().map(Kind::text_name).chain(fields).chain(methods).chain(hints).chain(states).collect();
        assert!(looked_up.iter().all(|name| is_looked_up(name)));
        let expected: Vec<String> = own.chain(looked_up).collect();
        let count = expected.len();
        let expected: BTreeSet<String> = expected.into_iter().collect();
        assert_eq!(expected.len(), count, "a name is used twice");
        for file in [ENGLISH, GERMAN] {
            let texts = panel_texts(file);
            assert_eq!(texts.keys().cloned().collect::<BTreeSet<_>>(), expected);
            let empty: Vec<_> = texts.iter().filter(|(_, text)| text.trim().is_empty()).collect();
            assert_eq!(empty, [] as [(&String, &String); 0]);
        }
    }

    #[test]
    fn placeholders_agree() {
        let german = panel_texts(GERMAN);
        for (name, text) in panel_texts(ENGLISH) {
            assert_eq!(placeholders(&text), placeholders(&german[&name]), "{name}");
        }
    }

    /// Each kind that a call of the panel may be answered with reads in each language, without the server's
    /// own words, and names only what its documents have.
    #[test]
    fn every_kind_of_problem_has_words_in_each_language() {
        for file in [ENGLISH, GERMAN] {
            let map = panel_texts(file);
            let mut texts = Texts::read(|name| map.get(name).cloned());
            for (name, text) in map.iter().filter(|(name, _)| is_looked_up(name)) {
                texts.add(name.clone(), text.clone());
            }
            for kind in kinds() {
                let text = &map[&kind.text_name()];
                for placeholder in placeholders(text) {
                    assert!(kind.members().contains(&placeholder.as_str()), "{}: no document has {placeholder}: {text}", kind.name());
                }
                let members = kind.members().iter().map(|member| ((*member).to_owned(), ["<", member, ">"].concat())).collect();
                let (title, detail) = ("SERVER".into(), "SERVER".into());
                let problem = Problem { status: 502, kind: kind.name().into(), title, detail, members };
                let message = problem.message(&texts);
                assert!(!message.contains('{') && !message.contains("SERVER"), "{}: {message}", kind.name());
            }
        }
    }

    /// Zendesk refuses packages whose names or parameters break these rules (zendesk.md a.4, a.5).
    #[test]
    fn the_app_is_described_in_each_language() {
        for file in [ENGLISH, GERMAN] {
            let file: serde_json::Value = serde_json::from_str(file).expect("JSON");
            let app = &file["app"];
            for name in ["name", "short_description", "long_description", "installation_instructions"] {
                assert!(app[name].as_str().is_some_and(|text| !text.is_empty()), "app.{name}");
            }
            assert!(!app["name"].as_str().expect("a name").contains("Zendesk"));
            let switches = JumpMethod::JUMPS.map(|method| ["allow_", method.name()].concat());
            let expected: BTreeSet<&str> =
                ["hostname", "issues", "jumpoints"].into_iter().chain(switches.iter().map(String::as_str)).collect();
            let parameters = app["parameters"].as_object().expect("parameters");
            assert_eq!(parameters.keys().map(String::as_str).collect::<BTreeSet<_>>(), expected);
            for (name, parameter) in parameters {
                for text in ["label", "helpText"] {
                    assert!(parameter[text].as_str().is_some_and(|text| !text.is_empty()), "{name}.{text}");
                }
            }
        }
    }

    #[test]
    fn placeholders_are_filled_wherever_they_stand() {
        let check = |template, expected| assert_eq!(fill(template, "name", "N"), expected);
        check("no placeholder", "no placeholder");
        check("{name} and {name}", "N and N");
        check("{other} {name", "{other} {name");
        check("{{name}}", "{N}");
    }

    #[test]
    fn text_is_added_in_the_form_that_is_there() {
        let addition = "Open <https://a.example/?x=1&y=\"2\">\r\nToday";
        let html = "<p>Open &lt;https://a.example/?x=1&amp;y=&quot;2&quot;&gt;<br>Today</p>";
        assert_eq!(append("<p>Dear Tom</p>", addition, true), ["<p>Dear Tom</p>", html].concat());
        assert_eq!(append("", addition, true), html);
        assert_eq!(append("Dear Tom", addition, false), ["Dear Tom\n", addition].concat());
        assert_eq!(append("", addition, false), addition);
    }

    #[test]
    fn only_what_begins_with_an_editors_tag_is_taken_for_html() {
        for html in ["<p>Dear Tom</p>", " \n<div class=\"zd-comment\">", "<br>", "<br/>", "<ul><li>"] {
            assert!(is_html(html), "{html}");
        }
        for text in ["", "Dear Tom", "Dear <p>Tom", "<tom@customer.example> wrote", "<pat@customer.example>", "<-", "<", "<p"] {
            assert!(!is_html(text), "{text}");
        }
    }

    #[test]
    fn numbers_read_as_digits() {
        for number in [0, 7, 10, 255, 65_535, u32::MAX] {
            assert_eq!(decimal(number), number.to_string());
        }
    }

    #[test]
    fn ports_are_read() {
        for (digits, expected) in [("1", Some(1)), ("022", Some(22)), ("65535", Some(65_535))] {
            assert_eq!(port(digits), expected);
        }
        for digits in ["", "0", "65536", "99999999999999999999", "+22", "-1", "22 ", "ssh"] {
            assert_eq!(port(digits), None, "{digits}");
        }
    }

    #[test]
    fn a_missing_text_shows_as_its_name() {
        let texts = Texts::read(|name| (name == "retry").then(|| "Again".to_owned()));
        assert_eq!((texts.get(Text::Retry), texts.get(Text::Jump)), ("Again", "jump"));
    }
}
