//! Elements of the page, described: what [`screen`](super::screen) makes and the view draws. Pure.

use std::ops::{Deref, DerefMut};

use super::texts::cut;

/// An element of the page, described. A thin handle, so that building a tree takes few wasm bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Element(Box<Parts>);

/// What an element consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parts {
    /// The HTML tag.
    pub tag: &'static str,
    /// Unique among its siblings; the same key is the same node.
    pub key: String,
    /// Attributes; never `style`, which the page's CSP refuses.
    pub attributes: Vec<(&'static str, String)>,
    /// What a field holds.
    pub value: Option<String>,
    /// Whether a box is ticked.
    pub checked: Option<bool>,
    /// Its text; an element has a text or children.
    pub text: String,
    /// Its children.
    pub children: Vec<Element>,
}

/// A new element.
pub fn element(tag: &'static str, key: &str) -> Element {
    Element(Box::new(Parts {
        tag,
        key: key.into(),
        attributes: Vec::new(),
        value: None,
        checked: None,
        text: String::new(),
        children: Vec::new(),
    }))
}

impl Deref for Element {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl DerefMut for Element {
    fn deref_mut(&mut self) -> &mut Parts {
        &mut self.0
    }
}

impl Element {
    /// The same element with nothing on it or in it.
    #[must_use]
    pub fn bare(&self) -> Self {
        element(self.tag, &self.key)
    }

    /// The attribute's value.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    /// With that attribute, in place of an earlier one of the name.
    #[must_use]
    pub fn attribute(mut self, name: &'static str, value: &str) -> Self {
        self.attributes.retain(|(known, _)| *known != name);
        self.attributes.push((name, value.into()));
        self
    }

    /// With fixed attributes, written `name=value;name=value`.
    #[must_use]
    pub fn with(mut self, attributes: &'static str) -> Self {
        let mut rest = attributes;
        while let Some((name, after)) = cut(rest, b'=') {
            let (value, after) = cut(after, b';').unwrap_or((after, ""));
            self = self.attribute(name, value);
            rest = after;
        }
        self
    }

    /// With that text.
    #[must_use]
    pub fn text(mut self, text: &str) -> Self {
        self.text = text.into();
        self
    }

    /// A field that holds this.
    #[must_use]
    pub fn value(mut self, value: &str) -> Self {
        self.value = Some(value.into());
        self
    }

    /// A box that is ticked or not.
    #[must_use]
    pub fn checked(mut self, checked: bool) -> Self {
        self.checked = Some(checked);
        self
    }

    /// With one more child.
    #[must_use]
    pub fn child(mut self, child: Self) -> Self {
        self.children.push(child);
        self
    }

    /// With one more child if there is one.
    #[must_use]
    pub fn maybe(self, child: Option<Self>) -> Self {
        match child {
            Some(child) => self.child(child),
            None => self,
        }
    }

    /// With these children after those it has.
    #[must_use]
    pub fn children(mut self, mut children: Vec<Self>) -> Self {
        self.children.append(&mut children);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixed_attributes_are_read_apart() {
        let button = element("button", "save").with("class=button button-wide;type=button;required=").attribute("type", "submit");
        let expected = [("class", "button button-wide"), ("required", ""), ("type", "submit")];
        assert_eq!(button.attributes, expected.map(|(name, value)| (name, value.to_owned())));
        assert_eq!((button.get("type"), button.get("id")), (Some("submit"), None));
        assert_eq!(button.bare(), element("button", "save"));
    }
}
