//! Which pages are a ticket's, which ticket, and where the panel goes: one file per kind of site, pure `snapshot -> plan`.
//!
//! The host on the page is thin. It asks [`look`] with the address alone; if the page is one of ours it collects what the [`Query`]s name
//! and asks [`plan`]; it creates the mount the plan names, marks it `data-deskbridge="<key>"`, and removes every mount of another key or in
//! another place. First paint, navigation and re-rendering take this one way. The contract of the mount: inside its container, once, nothing
//! changed by a second call, none on a foreign page (`tests/pages.rs` asserts it on every saved page).
//!
//! Nothing here touches a DOM, and nothing read from a page is believed: a hostile page can at worst name a wrong ticket, never more.

mod address;
mod autotask;
mod osticket;
pub mod osticket_note;
mod request_tracker;
mod text;

pub use text::TARGET_LABELS;

use std::collections::BTreeMap;

use deskbridge_shared::device::DeviceConnection;
use serde::{Deserialize, Serialize};

use address::Address;

/// The administrator's own selectors and labels that are used, of each kind.
pub const MOST_OWN: usize = 20;
/// Longest selector of the administrator's own that is used, in bytes.
pub const LONGEST_SELECTOR: usize = 300;
/// Longest text the host passes on for one element, in characters.
pub const LONGEST_TEXT: usize = 500;

/// Which program a site runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SiteKind {
    /// Autotask PSA.
    Autotask,
    /// osTicket's staff pages.
    Osticket,
    /// Request Tracker.
    #[serde(rename = "request_tracker")]
    RequestTracker,
}

impl SiteKind {
    /// Whether a connection's tickets are of such a site.
    pub fn is_of(self, connection: &DeviceConnection) -> bool {
        connection.system
            == match self {
                Self::Autotask => "autotask",
                Self::Osticket => "osticket",
                Self::RequestTracker => "request_tracker",
            }
    }
}

/// A site the panel stands on, as administrator or policy set it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SiteSettings {
    /// Its program.
    pub kind: SiteKind,
    /// Its address: `https://*.autotask.net/`, `https://desk.example.com/support/`. Without `scp/` for osTicket.
    pub url: String,
    /// The connection's name on the Deskbridge server.
    pub connection: String,
    /// Labels of the field that names the machine, before the known ones; `*` at either end stands for anything.
    #[serde(default)]
    pub target_labels: Vec<String>,
    /// Selectors of the element that names the machine, before any label.
    #[serde(default)]
    pub target_selectors: Vec<String>,
    /// Selectors of the element the panel or its button goes into, before the known one.
    #[serde(default)]
    pub mount_selectors: Vec<String>,
}

/// A document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Page {
    /// Its own address (`document.URL`).
    pub url: String,
    /// Whether it is in no frame.
    pub is_top: bool,
    /// Its title.
    pub title: String,
}

/// What to collect on a page of ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Look {
    /// The site's place in the list.
    pub site: usize,
    /// What to collect.
    pub queries: Vec<Query>,
}

/// The first `limit` elements a selector matches. A selector that is none matches nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Query {
    /// The name to answer under.
    pub name: String,
    /// What matches.
    pub selector: String,
    /// The attributes wanted of each element.
    pub attributes: Vec<String>,
    /// The texts wanted from inside each element: of the first descendant (`querySelector` on the element) each selector matches.
    pub parts: BTreeMap<String, String>,
    /// How many elements at most.
    pub limit: usize,
}

/// What was found, by query name. A query that found nothing may be left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot(pub BTreeMap<String, Vec<Found>>);

/// An element.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Found {
    /// Its text content, trimmed, at most [`LONGEST_TEXT`] characters.
    pub text: String,
    /// The wanted attributes it has.
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
    /// The wanted texts inside it, trimmed and bounded like its own; what was not there is left out.
    #[serde(default)]
    pub parts: BTreeMap<String, String>,
}

/// The ticket on the page, and where its panel goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// Adapter and ticket: `osticket:116`. A mount belongs to one key.
    pub key: String,
    /// The ticket's internal id: digits.
    pub ticket: String,
    /// The number people call it by.
    pub number: Option<String>,
    /// Its subject.
    pub subject: Option<String>,
    /// The machine its fields name, for the Jump.
    pub target: Option<String>,
    /// The customer's e-mail address.
    pub recipient: Option<String>,
    /// The page has a reply to the customer to insert text into. Where it is not known: true.
    pub has_reply: bool,
    /// Where the panel goes.
    pub mount: Mount,
}

/// Where something of ours goes on the page, and what it looks like.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mount {
    /// Matches exactly one element of the page as it was collected.
    pub container: String,
    /// Where, seen from the container.
    pub position: Position,
    /// What.
    pub form: Form,
}

/// A place beside or in an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Position {
    /// Last inside.
    Append,
    /// First inside.
    Prepend,
    /// Beside, before.
    Before,
    /// Beside, behind.
    After,
}

/// Something that looks like the site's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Form {
    /// The panel itself in a card: the shell holds the title's elements, one inside the other, and then the content's, which hold the frame.
    Card {
        /// Class of the outer `div`.
        shell_class: String,
        /// Classes of the `div`s around the title, from outside in.
        title_classes: Vec<String>,
        /// Classes of the `div`s around the frame, from outside in.
        content_classes: Vec<String>,
    },
    /// A button that opens the panel: one element with an icon inside. A press must not reach the site's own handlers.
    Button {
        /// The element's name.
        tag: String,
        /// Its classes, separated by spaces.
        classes: String,
        /// Its other attributes.
        attributes: BTreeMap<String, String>,
        /// Classes of the `i` inside.
        icon_classes: String,
    },
}

/// What to collect on this page. `None`: not a ticket's page of any site, stay out. Decides from the address alone.
pub fn look(page: &Page, sites: &[SiteSettings]) -> Option<Look> {
    let address = Address::parse(&page.url)?;
    sites.iter().enumerate().find_map(|(number, site)| {
        let path = address.under(&Address::parse(&site.url)?)?;
        let mut queries = match site.kind {
            SiteKind::Autotask => autotask::look(path, &address)?,
            SiteKind::Osticket => osticket::look(path, &address, page.is_top)?,
            SiteKind::RequestTracker => request_tracker::look(path, &address, page.is_top)?,
        };
        let own = |name: &'static str, selectors: &[String]| {
            let one = |(number, selector): (usize, &String)| query(&numbered(name, number), selector, 2);
            own_of(selectors).enumerate().map(one).collect::<Vec<_>>()
        };
        queries.extend(own("mount", &site.mount_selectors));
        queries.extend(own("target", &site.target_selectors));
        Some(Look { site: number, queries })
    })
}

/// The ticket and the mount on a page that was collected by what [`look`] answered. `None`: nothing may be mounted here, at least not now.
pub fn plan(page: &Page, site: &SiteSettings, snapshot: &Snapshot) -> Option<Plan> {
    let address = Address::parse(&page.url)?;
    let path = address.under(&Address::parse(&site.url)?)?;
    match site.kind {
        SiteKind::Autotask => autotask::plan(path, &address, &page.title, site, snapshot),
        SiteKind::Osticket => osticket::plan(path, &address, page.is_top, site, snapshot),
        SiteKind::RequestTracker => request_tracker::plan(path, &address, page.is_top, site, snapshot),
    }
}

impl Snapshot {
    fn all(&self, name: &str) -> &[Found] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    fn text(&self, name: &str) -> Option<&str> {
        Some(self.all(name).first()?.text.as_str())
    }

    /// The container: the first of the administrator's own selectors that matches one element, else the site's, if it does.
    fn mount(&self, site: &SiteSettings, known: &str, position: Position, form: Form) -> Option<Mount> {
        let is_one = |name: &str| self.all(name).len() == 1;
        let own = own_of(&site.mount_selectors).enumerate().find(|(number, _)| is_one(&numbered("mount", *number)));
        let (container, position) = match own {
            Some((_, selector)) => (selector.as_str(), Position::Append),
            None if is_one("container") => (known, position),
            None => return None,
        };
        Some(Mount { container: container.into(), position, form })
    }

    /// The machine: by the administrator's own selectors, then by label, his own before the known ones. Rows are of the query `fields`,
    /// their value the first of `values` that a row has and that is a name.
    fn target(&self, site: &SiteSettings, values: &[&str]) -> Option<String> {
        let own = own_of(&site.target_selectors).enumerate();
        let selected = own.into_iter().find_map(|(number, _)| text::target(self.text(&numbered("target", number))?));
        selected.or_else(|| {
            let rows: Vec<(String, String)> = self.all("fields").iter().filter_map(|row| labelled(row, values)).collect();
            let own = site.target_labels.iter().take(MOST_OWN).map(String::as_str);
            let known = TARGET_LABELS.iter().flat_map(|(_, labels)| labels.iter().copied());
            own.chain(known).find_map(|pattern| {
                let row = rows.iter().find(|(label, _)| text::label_matches(pattern, label));
                row.map(|(_, value)| value.clone())
            })
        })
    }
}

/// A row's label and the machine it names.
fn labelled(row: &Found, values: &[&str]) -> Option<(String, String)> {
    let value = values.iter().find_map(|name| text::target(row.parts.get(*name)?))?;
    Some((text::label(row.parts.get("label")?), value))
}

fn own_of(selectors: &[String]) -> impl Iterator<Item = &String> {
    selectors.iter().filter(|selector| !selector.trim().is_empty() && selector.len() <= LONGEST_SELECTOR).take(MOST_OWN)
}

fn numbered(name: &str, number: usize) -> String {
    let mut numbered = String::from(name);
    numbered.push('.');
    numbered.push_str(&number.to_string());
    numbered
}

fn query(name: &str, selector: &str, limit: usize) -> Query {
    Query { name: name.into(), selector: selector.into(), limit, ..Query::default() }
}

fn rows(selector: &str, parts: &[(&str, &str)]) -> Query {
    let parts = parts.iter().map(|(name, selector)| ((*name).to_owned(), (*selector).to_owned())).collect();
    Query { parts, ..query("fields", selector, 200) }
}
