//! The tree html5ever builds, in one vector: nothing in it recurses, so hostile nesting cannot overflow the stack.
//!
//! Must not keep what a document cannot show: comments, doctypes, attributes but `href`.

use super::{MAX_DEPTH, MAX_NODES};
use html5ever::interface::{ElementFlags, NodeOrText, QuirksMode, TreeSink};
use html5ever::tendril::StrTendril;
use html5ever::tokenizer::{BufferQueue, Tag, TagKind, Token, TokenSink, TokenSinkResult, Tokenizer, TokenizerOpts};
use html5ever::tree_builder::{TreeBuilder, TreeBuilderOpts};
use html5ever::{Attribute, ExpandedName, LocalName, QualName, TokenizerResult, local_name, ns};
use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// Elements without content.
const VOID: [&str; 14] = ["area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track", "wbr"];
/// Elements that begin no line.
const WITHIN_LINES: [&str; 25] = [
    "a", "abbr", "b", "big", "code", "del", "em", "font", "i", "img", "ins", "kbd", "label", "mark", "q", "s", "samp", "small", "span",
    "strong", "sub", "sup", "tt", "u", "wbr",
];
/// Elements whose content is no HTML. They nest nothing, and leaving out their tags would show their content as HTML.
const RAW_TEXT: [&str; 10] = ["script", "style", "title", "textarea", "xmp", "iframe", "noembed", "noframes", "noscript", "plaintext"];

/// A finished tree. Node 0 is its root.
pub(super) struct Tree {
    pub(super) nodes: Vec<Node>,
    /// There was more than [`MAX_NODES`].
    pub(super) is_full: bool,
}

/// One node.
pub(super) struct Node {
    pub(super) kind: Kind,
    pub(super) children: Vec<usize>,
    parent: Option<usize>,
    depth: usize,
}

/// What a node is.
pub(super) enum Kind {
    /// The root, a template's content, a comment: shows nothing itself.
    Other,
    Text(String),
    Element {
        name: Rc<QualName>,
        href: Option<String>,
    },
}

impl Tree {
    /// An HTML element's name; empty for anything else.
    pub(super) fn name(&self, index: usize) -> &str {
        match &self.nodes[index].kind {
            Kind::Element { name, .. } => &name.local,
            _ => "",
        }
    }
}

/// Parses as the content of a `body`.
pub(super) fn build(html: &str) -> Tree {
    let sink = Sink::default();
    let context = sink.create_element(QualName::new(None, ns!(html), local_name!("body")), Vec::new(), ElementFlags::default());
    let options = TreeBuilderOpts { scripting_enabled: false, ..TreeBuilderOpts::default() };
    let bounded = Bounded { builder: TreeBuilder::new_for_fragment(sink, context, None, options), open: RefCell::default() };
    let tokenizer = Tokenizer::new(bounded, TokenizerOpts { discard_bom: false, ..TokenizerOpts::default() });
    let input = BufferQueue::default();
    input.push_back(StrTendril::from_slice(html));
    // The tokenizer stops at each script for whoever would run it.
    while !matches!(tokenizer.feed(&input), TokenizerResult::Done) {}
    tokenizer.end();
    tokenizer.sink.builder.sink.finish()
}

/// Stands between tokenizer and tree builder, and keeps the tree within its bounds.
struct Bounded {
    builder: TreeBuilder<Handle, Sink>,
    /// Tags without their end tags. The builder does not tell of everything that an end tag closes.
    open: RefCell<Vec<LocalName>>,
}

impl Bounded {
    /// Where the next element would stand, as far as is known. The builder closes elements that have no end tag, so there may be fewer
    /// than tags are open; and an end tag may have closed more than the builder told.
    fn depth(&self) -> usize {
        self.builder.sink.depth.get().min(self.open.borrow().len())
    }

    fn follow(&self, tag: &Tag) {
        let mut open = self.open.borrow_mut();
        match tag.kind {
            TagKind::StartTag if VOID.contains(&&*tag.name) => {}
            TagKind::StartTag => open.push(tag.name.clone()),
            TagKind::EndTag => {
                // Ends far away are not looked for: that many tags are open only where too many are.
                let near = open.len().saturating_sub(2 * MAX_DEPTH);
                if let Some(position) = open[near..].iter().rposition(|name| *name == tag.name) {
                    open.truncate(near + position);
                }
            }
        }
    }
}

impl TokenSink for Bounded {
    type Handle = Handle;

    fn process_token(&self, mut token: Token, line: u64) -> TokenSinkResult<Handle> {
        let sink = &self.builder.sink;
        if sink.is_full.get() && !matches!(token, Token::EOFToken) {
            return TokenSinkResult::Continue;
        }
        if let Token::TagToken(tag) = &mut token {
            if tag.kind == TagKind::StartTag {
                if self.depth() >= MAX_DEPTH && !RAW_TEXT.contains(&&*tag.name) {
                    if WITHIN_LINES.contains(&&*tag.name) {
                        return TokenSinkResult::Continue;
                    }
                    tag.name = local_name!("br");
                }
                let is_link = tag.name == local_name!("a");
                // Also bounds the formatting elements reopened in each paragraph: the parser keeps three of equal ones.
                tag.attrs.retain(|attribute| is_link && attribute.name.local == local_name!("href"));
            }
            self.follow(tag);
        }
        let result = self.builder.process_token(token, line);
        // Where something was inserted, its depth is known: tags that were taken for closed may be open.
        let known = sink.depth.get().min(2 * MAX_DEPTH);
        let mut open = self.open.borrow_mut();
        if open.len() < known && sink.has_inserted.take() {
            open.resize(known, local_name!(""));
        }
        drop(open);
        result
    }

    fn end(&self) {
        self.builder.end();
    }

    fn adjusted_current_node_present_but_not_in_html_namespace(&self) -> bool {
        self.builder.adjusted_current_node_present_but_not_in_html_namespace()
    }
}

#[derive(Clone)]
struct Handle {
    index: usize,
    name: Option<Rc<QualName>>,
}

struct Sink {
    nodes: RefCell<Vec<Node>>,
    /// Of the innermost open element.
    depth: Cell<usize>,
    /// An element, since this was last looked at.
    has_inserted: Cell<bool>,
    is_full: Cell<bool>,
}

impl Default for Sink {
    fn default() -> Self {
        let root = Node { kind: Kind::Other, children: Vec::new(), parent: None, depth: 0 };
        Self { nodes: RefCell::new(vec![root]), depth: Cell::new(0), has_inserted: Cell::new(false), is_full: Cell::new(false) }
    }
}

impl Sink {
    fn create(&self, kind: Kind) -> usize {
        let mut nodes = self.nodes.borrow_mut();
        nodes.push(Node { kind, children: Vec::new(), parent: None, depth: 0 });
        self.is_full.set(self.is_full.get() || nodes.len() >= MAX_NODES);
        nodes.len() - 1
    }

    /// Inserts at `position` of the parent's children; text joins text that stands there already.
    fn insert(&self, parent: usize, position: usize, child: NodeOrText<Handle>) {
        let index = match child {
            NodeOrText::AppendText(text) => {
                let before = position.checked_sub(1).map(|position| self.nodes.borrow()[parent].children[position]);
                if let Some(before) = before
                    && let Kind::Text(existing) = &mut self.nodes.borrow_mut()[before].kind
                {
                    existing.push_str(&text);
                    return;
                }
                self.create(Kind::Text(text.to_string()))
            }
            NodeOrText::AppendNode(handle) => {
                self.detach(handle.index);
                handle.index
            }
        };
        let mut nodes = self.nodes.borrow_mut();
        let position = position.min(nodes[parent].children.len());
        nodes[parent].children.insert(position, index);
        let depth = nodes[parent].depth + 1;
        nodes[index].parent = Some(parent);
        nodes[index].depth = depth;
        if matches!(nodes[index].kind, Kind::Element { .. }) {
            self.depth.set(depth);
            self.has_inserted.set(true);
        }
    }

    fn detach(&self, index: usize) {
        let mut nodes = self.nodes.borrow_mut();
        if let Some(parent) = nodes[index].parent.take()
            // From the end: what is moved was mostly added last.
            && let Some(position) = nodes[parent].children.iter().rposition(|child| *child == index)
        {
            nodes[parent].children.remove(position);
        }
    }

    fn end_of(&self, parent: usize) -> usize {
        self.nodes.borrow()[parent].children.len()
    }
}

impl TreeSink for Sink {
    type Handle = Handle;
    type Output = Tree;
    type ElemName<'a> = ExpandedName<'a>;

    fn finish(self) -> Tree {
        Tree { nodes: self.nodes.into_inner(), is_full: self.is_full.get() }
    }

    fn parse_error(&self, _: Cow<'static, str>) {}

    fn get_document(&self) -> Handle {
        Handle { index: 0, name: None }
    }

    fn elem_name<'a>(&'a self, target: &'a Handle) -> ExpandedName<'a> {
        const NONE: &ExpandedName<'static> = &ExpandedName { ns: &ns!(), local: &local_name!("") };
        target.name.as_ref().map_or(*NONE, |name| name.expanded())
    }

    fn create_element(&self, name: QualName, attrs: Vec<Attribute>, _: ElementFlags) -> Handle {
        let name = Rc::new(name);
        let href = attrs.into_iter().next().map(|attribute| attribute.value.to_string());
        Handle { index: self.create(Kind::Element { name: Rc::clone(&name), href }), name: Some(name) }
    }

    fn create_comment(&self, _: StrTendril) -> Handle {
        Handle { index: self.create(Kind::Other), name: None }
    }

    fn create_pi(&self, _: StrTendril, _: StrTendril) -> Handle {
        Handle { index: self.create(Kind::Other), name: None }
    }

    fn append(&self, parent: &Handle, child: NodeOrText<Handle>) {
        self.insert(parent.index, self.end_of(parent.index), child);
    }

    fn append_based_on_parent_node(&self, element: &Handle, prev_element: &Handle, child: NodeOrText<Handle>) {
        if self.nodes.borrow()[element.index].parent.is_some() {
            self.append_before_sibling(element, child);
        } else {
            self.append(prev_element, child);
        }
    }

    fn append_doctype_to_document(&self, _: StrTendril, _: StrTendril, _: StrTendril) {}

    fn pop(&self, node: &Handle) {
        self.depth.set(self.nodes.borrow()[node.index].depth.saturating_sub(1));
    }

    fn get_template_contents(&self, target: &Handle) -> Handle {
        // Not shown, and so kept apart from the tree: a node that is nobody's child.
        Handle { index: self.create(Kind::Other), name: target.name.clone() }
    }

    fn same_node(&self, x: &Handle, y: &Handle) -> bool {
        x.index == y.index
    }

    fn set_quirks_mode(&self, _: QuirksMode) {}

    fn append_before_sibling(&self, sibling: &Handle, new_node: NodeOrText<Handle>) {
        if let NodeOrText::AppendNode(handle) = &new_node {
            self.detach(handle.index);
        }
        let Some(parent) = self.nodes.borrow()[sibling.index].parent else {
            return;
        };
        let position = self.nodes.borrow()[parent].children.iter().rposition(|child| *child == sibling.index).unwrap_or(0);
        self.insert(parent, position, new_node);
    }

    fn add_attrs_if_missing(&self, _: &Handle, _: Vec<Attribute>) {}

    fn remove_from_parent(&self, target: &Handle) {
        self.detach(target.index);
    }

    fn reparent_children(&self, node: &Handle, new_parent: &Handle) {
        let children = std::mem::take(&mut self.nodes.borrow_mut()[node.index].children);
        for child in children {
            self.nodes.borrow_mut()[child].parent = None;
            self.insert(new_parent.index, self.end_of(new_parent.index), NodeOrText::AppendNode(Handle { index: child, name: None }));
        }
    }
}
