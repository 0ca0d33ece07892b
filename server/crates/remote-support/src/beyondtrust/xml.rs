//! A small tree for the appliance's XML.
//!
//! The namespace differs by version in four spellings, and documentation and live appliances disagree
//! (beyondtrust.md B.2), so names are matched by their local part only, in any namespace or none. Documents come from
//! outside: depth, number of elements and attributes are bounded, a DOCTYPE is refused and no entity but XML's five is
//! known. Must not know any element's meaning, except `<error>`, which can stand in every answer.

use quick_xml::XmlVersion;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesStart, Event};
use quick_xml::reader::Reader;
use std::borrow::Cow;

/// The deepest known path (a field of system information) has nine levels.
const MAX_DEPTH: usize = 64;
/// About what fits into the largest answer read (32 MiB).
const MAX_ELEMENTS: usize = 500_000;
const MAX_ATTRIBUTES: usize = 32;

/// Why a text is not a document of the appliance.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum XmlFault {
    /// Not well-formed.
    #[error("not well-formed XML at byte {position}: {reason}")]
    NotWellFormed {
        /// Where.
        position: u64,
        /// The reader's words.
        reason: String,
    },
    /// Ended before the root element was closed, or has none.
    #[error("the XML document is incomplete")]
    Incomplete,
    /// Something after the root element.
    #[error("the XML document has more than one root element")]
    TrailingContent,
    /// A document type declaration.
    #[error("the XML document has a DOCTYPE, which no appliance sends")]
    DocumentType,
    /// An entity other than the five of XML.
    #[error("the XML document uses an unknown entity")]
    UnknownEntity,
    /// Deeper, longer or with more attributes than any real answer.
    #[error("the XML document has more than {limit} {what}")]
    TooLarge {
        /// Elements, levels or attributes.
        what: &'static str,
        /// The bound.
        limit: usize,
    },
}

/// An element with everything in it. Text and attribute values hold no control characters but tab and newline.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Element {
    /// Local name.
    pub name: String,
    /// Local names and values, in order.
    pub attributes: Vec<(String, String)>,
    /// Child elements, in order.
    pub children: Vec<Element>,
    /// The element's own text, pieces between children joined.
    text: String,
}

/// What has been read so far.
#[derive(Default)]
struct Tree {
    /// From the root to the innermost.
    open: Vec<Element>,
    /// Once it is closed.
    root: Option<Element>,
    elements: usize,
}

impl Tree {
    /// `false`: the document has ended.
    fn take(&mut self, event: Event<'_>, position: u64) -> Result<bool, XmlFault> {
        match event {
            Event::Start(ref start) | Event::Empty(ref start) => {
                self.elements += 1;
                if self.root.is_some() {
                    return Err(XmlFault::TrailingContent);
                }
                if self.elements > MAX_ELEMENTS {
                    return Err(XmlFault::TooLarge { what: "elements", limit: MAX_ELEMENTS });
                }
                if self.open.len() >= MAX_DEPTH {
                    return Err(XmlFault::TooLarge { what: "levels", limit: MAX_DEPTH });
                }
                let element = Element::start(start, position)?;
                if matches!(event, Event::Empty(_)) {
                    close(element, &mut self.open, &mut self.root);
                } else {
                    self.open.push(element);
                }
            }
            Event::End(_) => {
                // The reader has checked that the names match.
                let element = self.open.pop().ok_or(XmlFault::Incomplete)?;
                close(element, &mut self.open, &mut self.root);
            }
            Event::Text(text) => append(&mut self.open, &text.xml10_content())?,
            Event::CData(text) => append(&mut self.open, &text.xml10_content())?,
            Event::GeneralRef(reference) => {
                let character = reference.resolve_char_ref().map_err(|_| XmlFault::UnknownEntity)?;
                let value: Cow<'_, str> = match character {
                    Some(character) => character.to_string().into(),
                    None => resolve_predefined_entity(&reference).ok_or(XmlFault::UnknownEntity)?.into(),
                };
                append(&mut self.open, &value)?;
            }
            Event::DocType(_) => return Err(XmlFault::DocumentType),
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
            Event::Eof => return Ok(false),
        }
        Ok(true)
    }
}

impl Element {
    /// Reads a document. Bytes that are no UTF-8 (which the appliance promises, beyondtrust.md B.1) become U+FFFD
    /// rather than losing a whole report.
    pub fn parse(document: &[u8]) -> Result<Self, XmlFault> {
        let document = String::from_utf8_lossy(document);
        let mut reader = Reader::from_str(document.trim_start_matches('\u{feff}'));
        let mut tree = Tree::default();
        loop {
            let event = reader
                .read_event()
                .map_err(|error| XmlFault::NotWellFormed { position: reader.error_position(), reason: error.to_string() })?;
            if !tree.take(event, reader.error_position())? {
                break;
            }
        }
        match tree.root {
            Some(root) if tree.open.is_empty() => Ok(root),
            _ => Err(XmlFault::Incomplete),
        }
    }

    /// Reads as much of a document as there is, without the elements of that name. An element that is cut off is left out, but for those
    /// complete ones in it: half a text is another text.
    pub(super) fn parse_beginning(document: &[u8], without: &str) -> Result<Self, XmlFault> {
        let document = String::from_utf8_lossy(document);
        let mut reader = Reader::from_str(document.trim_start_matches('\u{feff}'));
        let mut tree = Tree::default();
        while let Ok(event) = reader.read_event() {
            let goes_on = match &event {
                Event::Start(start) if start.local_name().as_ref() == without => reader.read_to_end(start.name()).is_ok(),
                _ => tree.take(event, reader.error_position())?,
            };
            if !goes_on {
                break;
            }
        }
        while let Some(cut) = tree.open.pop() {
            if !cut.children.is_empty() {
                close(cut, &mut tree.open, &mut tree.root);
            }
        }
        tree.root.ok_or(XmlFault::Incomplete)
    }

    fn start(start: &BytesStart<'_>, position: u64) -> Result<Self, XmlFault> {
        let mut attributes = Vec::new();
        for attribute in start.attributes() {
            let attribute = attribute.map_err(|error| XmlFault::NotWellFormed { position, reason: error.to_string() })?;
            if attributes.len() == MAX_ATTRIBUTES {
                return Err(XmlFault::TooLarge { what: "attributes on one element", limit: MAX_ATTRIBUTES });
            }
            let value = attribute.normalized_value(XmlVersion::Implicit1_0).map_err(|_| XmlFault::UnknownEntity)?;
            attributes.push((attribute.key.local_name().as_ref().to_owned(), visible(&value)));
        }
        Ok(Self { name: start.local_name().as_ref().to_owned(), attributes, ..Self::default() })
    }

    /// The value of an attribute.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(candidate, _)| candidate == name).map(|(_, value)| value.as_str())
    }

    /// The first child of that name.
    pub fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }

    /// All children of that name.
    pub fn children_named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Self> {
        self.children.iter().filter(move |child| child.name == name)
    }

    /// All grandchildren of that name below the first child `list`; none where there is no list.
    pub fn listed<'a>(&'a self, list: &str, name: &'a str) -> impl Iterator<Item = &'a Self> {
        self.child(list).into_iter().flat_map(move |list| list.children_named(name))
    }

    /// The element's own text without white space around it; empty for an empty element.
    pub fn text(&self) -> &str {
        self.text.trim()
    }

    /// The text of a child; `None` where the child is missing or empty, which the appliance uses alike
    /// (beyondtrust.md D.3).
    pub fn child_text(&self, name: &str) -> Option<String> {
        self.child(name).map(Self::text).filter(|text| !text.is_empty()).map(str::to_owned)
    }

    /// The text of a child as a number; `None` where it is missing or no number.
    pub fn child_number<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        self.child(name)?.text().parse().ok()
    }

    /// Whether a child says `1`, `true` or `yes`.
    pub fn child_flag(&self, name: &str) -> bool {
        self.child(name).is_some_and(|child| matches!(child.text(), "1" | "true" | "yes"))
    }

    /// The text of the `<error>` this document is: its root, whatever attributes it has, or the only child of a
    /// normal root (beyondtrust.md B.4).
    pub fn error_text(&self) -> Option<String> {
        let error = match self.children.as_slice() {
            _ if self.name == "error" => self,
            [only] if only.name == "error" => only,
            _ => return None,
        };
        let text = match (error.text(), error.children.as_slice()) {
            ("", [child, ..]) => child.text(),
            ("", []) => error.attribute("code").unwrap_or_default(),
            (text, _) => text,
        };
        Some(if text.is_empty() { "an error without a text".to_owned() } else { text.to_owned() })
    }

    /// The moment an element names, as Unix seconds: attribute `timestamp` or `ts`, integer text or ISO 8601 text
    /// (beyondtrust.md B.4 `expires`, D.3 `start_time@timestamp`).
    pub fn moment(&self) -> Option<i64> {
        self.attribute("timestamp")
            .or_else(|| self.attribute("ts"))
            .and_then(|seconds| seconds.trim().parse().ok())
            .or_else(|| self.text().parse().ok())
            .or_else(|| parse_iso8601(self.text()))
    }
}

fn close(element: Element, open: &mut [Element], root: &mut Option<Element>) {
    match open.last_mut() {
        Some(parent) => parent.children.push(element),
        None => *root = Some(element),
    }
}

/// Adds text to the innermost open element. Outside the root only white space may stand.
fn append(open: &mut [Element], text: &str) -> Result<(), XmlFault> {
    match open.last_mut() {
        Some(element) => element.text.push_str(&visible(text)),
        None if text.trim().is_empty() => {}
        None => {
            return Err(XmlFault::NotWellFormed { position: 0, reason: "text outside the root element".to_owned() });
        }
    }
    Ok(())
}

fn parse_iso8601(text: &str) -> Option<i64> {
    use time::OffsetDateTime;
    use time::format_description::well_known::{Iso8601, Rfc3339};
    OffsetDateTime::parse(text, &Rfc3339)
        .or_else(|_| OffsetDateTime::parse(text, &Iso8601::DEFAULT))
        .ok()
        .map(OffsetDateTime::unix_timestamp)
}

/// Text as a person can see it: line ends become newlines, other control characters their visible pictures.
pub(super) fn visible(text: &str) -> String {
    if !text.contains(|character: char| character.is_control() || visible_character(character) != character) {
        return text.to_owned();
    }
    text.replace("\r\n", "\n").replace('\r', "\n").chars().map(visible_character).collect()
}

pub(super) fn visible_character(character: char) -> char {
    match character {
        '\t' | '\n' => character,
        // U+2400 and on are the pictures of the 32 control characters.
        '\0'..='\u{1f}' => char::from_u32(0x2400 + u32::from(character)).unwrap_or(char::REPLACEMENT_CHARACTER),
        '\u{7f}' => '\u{2421}',
        '\u{80}'..='\u{9f}' | '\u{fffe}' | '\u{ffff}' => char::REPLACEMENT_CHARACTER,
        _ => character,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_beginning_has_nothing_that_was_cut() {
        let whole = "<r><a>one &amp; two</a><skip><b/>&unknown;</skip><list><c>1</c><c>2</c></list></r>";
        let all = Element::parse_beginning(whole.as_bytes(), "skip").unwrap();
        assert_eq!(all, Element::parse(b"<r><a>one &amp; two</a><list><c>1</c><c>2</c></list></r>").unwrap());
        for end in 1..whole.len() {
            let Ok(beginning) = Element::parse_beginning(&whole.as_bytes()[..end], "skip") else { continue };
            assert!(beginning.child_text("a").is_none_or(|text| text == "one & two"), "{end}: {beginning:?}");
            assert!(beginning.child("skip").is_none());
            let listed: Vec<_> = beginning.listed("list", "c").map(Element::text).collect();
            assert!(["1", "2"].starts_with(&listed), "{end}: {listed:?}");
        }
        assert_eq!(Element::parse_beginning(b"<r><a>one", "skip"), Err(XmlFault::Incomplete));
    }

    #[test]
    fn names_are_local_and_text_is_decoded() {
        let root = Element::parse(
            b"\xef\xbb\xbf<?xml version=\"1.0\"?><!-- x --><b:a xmlns:b=\"urn:x\" b:k=\"1 &lt; 2\">a&amp;&#x41;<![CDATA[<&]]> <b:c/>\r\n</b:a>\n",
        )
        .unwrap();
        assert_eq!(root.name, "a");
        assert_eq!(root.attribute("k"), Some("1 < 2"));
        assert_eq!(root.text(), "a&A<&");
        assert!(root.child("c").is_some());
    }

    #[test]
    fn control_characters_become_visible() {
        let root = Element::parse(b"<a>x&#1;y&#x1b;&#10;&#13;z\x02\xff</a>").unwrap();
        assert_eq!(root.text(), "x␁y␛\n\nz␂\u{fffd}");
    }

    #[test]
    fn hostile_documents_are_refused() {
        let deep = format!("{}{}", "<a>".repeat(65), "</a>".repeat(65));
        let many = format!("<a>{}</a>", "<b/>".repeat(MAX_ELEMENTS));
        let attributes = (0..=MAX_ATTRIBUTES).fold(String::from("<a"), |text, index| format!("{text} a{index}=\"\"")) + "/>";
        let check = |document: &str, expected: &XmlFault| {
            assert_eq!(Element::parse(document.as_bytes()).as_ref(), Err(expected), "{document:.60}");
        };
        check("<!DOCTYPE a [<!ENTITY x \"y\">]><a>&x;</a>", &XmlFault::DocumentType);
        check("<a>&x;</a>", &XmlFault::UnknownEntity);
        check("<a b=\"&x;\"/>", &XmlFault::UnknownEntity);
        check("<a>&#0;</a>", &XmlFault::UnknownEntity);
        check(&deep, &XmlFault::TooLarge { what: "levels", limit: MAX_DEPTH });
        check(&many, &XmlFault::TooLarge { what: "elements", limit: MAX_ELEMENTS });
        check(&attributes, &XmlFault::TooLarge { what: "attributes on one element", limit: MAX_ATTRIBUTES });
        check("<a/><b/>", &XmlFault::TrailingContent);
        check("<a>", &XmlFault::Incomplete);
        check("", &XmlFault::Incomplete);
        for broken in ["<a></b>", "{\"error\":1}", "</a>", "<a b=1/>", "<a b=\"\" b=\"\"/>"] {
            assert!(matches!(Element::parse(broken.as_bytes()), Err(XmlFault::NotWellFormed { .. })), "{broken}");
        }
    }

    #[test]
    fn errors_are_found_wherever_they_stand() {
        let check = |document: &str, expected: Option<&str>| {
            assert_eq!(Element::parse(document.as_bytes()).unwrap().error_text().as_deref(), expected, "{document}");
        };
        check("<error>Login failed</error>", Some("Login failed"));
        check("<error >\n Login failed </error>", Some("Login failed"));
        check("<x:error xmlns:x=\"urn:x\" code=\"7\">No</x:error>", Some("No"));
        check("<logged_in_reps><error>No</error></logged_in_reps>", Some("No"));
        check("<error><message>No</message></error>", Some("No"));
        check("<error code=\"7\"/>", Some("7"));
        check("<error/>", Some("an error without a text"));
        check("<health><success>0</success><error>No</error></health>", None);
        check("<session_list><session><error>x</error></session></session_list>", None);
        check("<success>no error</success>", None);
    }

    #[test]
    fn moments_come_in_four_forms() {
        let check = |document: &str, expected| assert_eq!(Element::parse(document.as_bytes()).unwrap().moment(), expected, "{document}");
        check("<expires ts=\"1733241365\">2024-12-03T15:56:05+00:00</expires>", Some(1_733_241_365));
        check("<expires timestamp=\"1733241365\"/>", Some(1_733_241_365));
        check("<expires>1733241365</expires>", Some(1_733_241_365));
        check("<expires>2024-12-03T16:56:05+01:00</expires>", Some(1_733_241_365));
        check("<expires>2024-12-03T16:56:05+0100</expires>", Some(1_733_241_365));
        check("<expires>soon</expires>", None);
        check("<expires/>", None);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(document in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = Element::parse(&document);
        }

        #[test]
        fn text_survives_escaping(text in any::<String>()) {
            let escaped = quick_xml::escape::escape(text.as_str());
            let root = Element::parse(format!("<a k=\"x\">{escaped}</a>").as_bytes()).unwrap();
            let expected = visible(&text);
            prop_assert_eq!(root.text(), expected.trim());
        }
    }
}
