//! The contract of the mount, on every saved page: inside its container, once, nothing changed by a second call, none on a foreign page.
//!
//! [`Tab`] does to a parsed page exactly what the host script does to a real one; the rules are in `site/mod.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use deskbridge_extension::site::{Form, Found, LONGEST_TEXT, Page, Plan, Position, Query, SiteKind, SiteSettings, Snapshot, look, plan};
use dom_query::{Document, NodeRef};
use proptest::prelude::*;
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Index {
    csp: BTreeMap<String, String>,
    page: Vec<Saved>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Saved {
    file: String,
    address: String,
    #[serde(default)]
    framed: bool,
    csp: String,
    out: Option<Out>,
    plan: Option<Expected>,
}

#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Out {
    Address,
    Page,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    ticket: String,
    number: Option<String>,
    subject: Option<String>,
    target: Option<String>,
    recipient: Option<String>,
    #[serde(default)]
    no_reply: bool,
}

/// A document in a browser, and our host on it.
struct Tab {
    page: Page,
    document: Document,
    sites: Vec<SiteSettings>,
}

impl Tab {
    fn open(address: &str, file: &str) -> Self {
        let document = Document::from(fs::read_to_string(pages().join(file)).expect("a saved page"));
        let title = document.select("title").text().to_string();
        Self { page: Page { url: address.into(), is_top: true, title }, document, sites: sites() }
    }

    /// What the host does at first paint, and at every change it sees.
    fn look(&self) -> Option<Plan> {
        let plan = look(&self.page, &self.sites).and_then(|look| plan(&self.page, &self.sites[look.site], &self.collect(&look.queries)));
        let mut stands = false;
        for mount in self.document.select("[data-deskbridge]").nodes() {
            let right =
                plan.as_ref().is_some_and(|plan| mount.attr_or("data-deskbridge", "").as_ref() == plan.key && is_in_place(mount, plan));
            if right && !stands {
                stands = true;
            } else {
                mount.remove_from_parent();
            }
        }
        if let Some(plan) = &plan
            && !stands
        {
            self.mount(plan);
        }
        plan
    }

    fn collect(&self, queries: &[Query]) -> Snapshot {
        let collect = |query: &Query| {
            let selection = self.document.try_select(&query.selector)?;
            let found = selection.nodes().iter().take(query.limit).map(|node| found(node, query)).collect();
            Some((query.name.clone(), found))
        };
        Snapshot(queries.iter().filter_map(collect).collect())
    }

    fn mount(&self, plan: &Plan) {
        let html = match &plan.mount.form {
            Form::Card { shell_class, title_classes, content_classes } => {
                let nested = |classes: &[String]| {
                    let open: Vec<String> = classes.iter().map(|class| format!(r#"<div class="{class}">"#)).collect();
                    open.concat() + &"</div>".repeat(classes.len())
                };
                format!(
                    r#"<div class="{shell_class}" data-deskbridge="{}">{}{}</div>"#,
                    plan.key,
                    nested(title_classes),
                    nested(content_classes)
                )
            }
            Form::Button { tag, classes, attributes, icon_classes } => {
                let attributes: Vec<String> = attributes.iter().map(|(name, value)| format!(r#" {name}="{value}""#)).collect();
                let attributes = attributes.concat();
                format!(r#"<{tag} class="{classes}"{attributes} data-deskbridge="{}"><i class="{icon_classes}"></i></{tag}>"#, plan.key)
            }
        };
        let container = self.document.select(&plan.mount.container);
        match plan.mount.position {
            Position::Append => container.append_html(html),
            Position::Prepend => container.prepend_html(html),
            Position::Before => container.before_html(html),
            Position::After => container.after_html(html),
        }
    }

    fn html(&self) -> String {
        self.document.html().to_string()
    }

    fn mounts(&self) -> Vec<String> {
        self.document.select("[data-deskbridge]").iter().map(|mount| mount.attr_or("data-deskbridge", "").to_string()).collect()
    }

    /// pjax: the container's children are exchanged for those of another page.
    fn swap(&self, file: &str) {
        let other = Document::from(fs::read_to_string(pages().join(file)).expect("a saved page"));
        self.document.select("#pjax-container").set_html(other.select("#pjax-container").inner_html());
    }
}

fn found(node: &NodeRef<'_>, query: &Query) -> Found {
    let text = |node: &NodeRef<'_>| node.text().trim().chars().take(LONGEST_TEXT).collect::<String>();
    let attributes = query.attributes.iter().filter_map(|name| Some((name.clone(), node.attr(name)?.to_string()))).collect();
    let part = |selector: &str| {
        let inside = dom_query::Selection::from(*node).try_select(selector)?;
        inside.nodes().first().map(text)
    };
    let parts = query.parts.iter().filter_map(|(name, selector)| Some((name.clone(), part(selector)?))).collect();
    Found { text: text(node), attributes, parts }
}

fn is_in_place(mount: &NodeRef<'_>, plan: &Plan) -> bool {
    let is_container = |node: Option<NodeRef<'_>>| node.is_some_and(|node| node.is(&plan.mount.container));
    match plan.mount.position {
        Position::Append | Position::Prepend => is_container(mount.parent()),
        Position::Before => is_container(mount.next_element_sibling()),
        Position::After => is_container(mount.prev_element_sibling()),
    }
}

fn pages() -> PathBuf {
    Path::new(&std::env::var("CARGO_MANIFEST_DIR").expect("set by cargo test")).join("pages")
}

fn index() -> Index {
    toml::from_str(&fs::read_to_string(pages().join("index.toml")).expect("the index")).expect("of its shape")
}

fn site(kind: SiteKind, url: &str) -> SiteSettings {
    let none = Vec::new;
    SiteSettings { kind, url: url.into(), connection: "c".into(), target_labels: none(), target_selectors: none(), mount_selectors: none() }
}

fn sites() -> Vec<SiteSettings> {
    vec![
        site(SiteKind::Autotask, "https://*.autotask.net/"),
        site(SiteKind::Osticket, "https://desk.example.com/"),
        site(SiteKind::Osticket, "https://help.example.com/support"),
        site(SiteKind::RequestTracker, "https://rt.example.com/rt/"),
    ]
}

fn check_page(saved: &Saved) {
    let mut tab = Tab::open(&saved.address, &saved.file);
    tab.page.is_top = !saved.framed;
    let name = format!("{} at {}", saved.file, saved.address);
    let before = tab.html();

    let looked = look(&tab.page, &tab.sites).is_some();
    assert_eq!(looked, saved.out != Some(Out::Address), "{name}: looked at by its address");
    let plan = tab.look();
    let seen = plan.clone().map(|plan| Expected {
        ticket: plan.ticket,
        number: plan.number,
        subject: plan.subject,
        target: plan.target,
        recipient: plan.recipient,
        no_reply: !plan.has_reply,
    });
    assert_eq!(seen, saved.plan, "{name}");

    let after = tab.html();
    assert_eq!(tab.look(), plan, "{name}: the second call says the same");
    assert_eq!(tab.html(), after, "{name}: the second call changes nothing");
    let Some(plan) = plan else {
        assert_eq!(after, before, "{name}: untouched");
        return;
    };
    assert_eq!(tab.mounts(), [plan.key.as_str()], "{name}: once");
    assert_eq!(tab.document.select(&plan.mount.container).length(), 1, "{name}: one container");
    assert_eq!(tab.document.select(&format!("{} > [data-deskbridge]", plan.mount.container)).length(), 1, "{name}: inside it");
    tab.document.select("[data-deskbridge]").remove();
    assert_eq!(tab.html(), before, "{name}: nothing but the mount was added");
}

#[test]
fn every_saved_page_keeps_the_contract() {
    for saved in index().page {
        assert_ne!(saved.out.is_some(), saved.plan.is_some(), "{}: either out, or with a plan", saved.file);
        check_page(&saved);
    }
}

#[test]
fn every_saved_page_is_in_the_index() {
    let index = index();
    let listed: BTreeSet<String> = index.page.iter().map(|saved| saved.file.clone()).collect();
    let mut there = BTreeSet::new();
    for folder in ["autotask", "osticket", "request_tracker"] {
        for entry in fs::read_dir(pages().join(folder)).expect("a folder") {
            there.insert(format!("{folder}/{}", entry.expect("an entry").file_name().to_string_lossy()));
        }
    }
    assert_eq!(listed, there);
    for saved in &index.page {
        assert!(index.csp.contains_key(&saved.csp), "{}: a policy of that name", saved.file);
    }
}

/// Whatever stands at whatever address: a mount only where the page itself bears the address out.
#[test]
fn pages_at_each_others_addresses_name_no_wrong_ticket() {
    let index = index();
    let mut planned = 0;
    for file in index.page.iter().map(|saved| &saved.file).collect::<BTreeSet<_>>() {
        for saved in &index.page {
            let tab = Tab::open(&saved.address, file);
            let Some(plan) = tab.look() else {
                assert_eq!(tab.mounts(), Vec::<String>::new(), "{file} at {}", saved.address);
                continue;
            };
            planned += 1;
            assert!(file.starts_with(plan.key.split_once(':').expect("adapter and ticket").0), "{file} at {}", saved.address);
            if !file.starts_with("autotask/") {
                let own = index.page.iter().find(|other| other.file == *file && other.plan.is_some()).and_then(|other| other.plan.clone());
                assert_eq!(own.map(|own| own.ticket), Some(plan.ticket), "{file} at {}", saved.address);
            }
        }
    }
    assert!(planned >= index.page.iter().filter(|saved| saved.plan.is_some() && !saved.framed).count());
}

#[test]
fn pjax_leads_from_ticket_to_ticket() {
    let ticket = |id: u32| format!("https://desk.example.com/scp/tickets.php?id={id}");
    let mut tab = Tab::open(&ticket(116), "osticket/ticket.html");
    let nothing: [&str; 0] = [];
    tab.look();
    assert_eq!(tab.mounts(), ["osticket:116"]);

    // A queue in between.
    tab.page.url = "https://desk.example.com/scp/tickets.php?queue=1".into();
    tab.look();
    assert_eq!(tab.mounts(), nothing, "gone with its address, before the page changes");
    tab.swap("osticket/queue.html");
    tab.look();
    assert_eq!(tab.mounts(), nothing);

    // Another ticket. The address is there first, with Back for as long as the network takes.
    tab.page.url = ticket(117);
    tab.look();
    assert_eq!(tab.mounts(), nothing);
    tab.swap("osticket/ticket-other.html");
    tab.look();
    assert_eq!(tab.mounts(), ["osticket:117"]);

    // From ticket to ticket, and back to a page that pjax kept with our button in it.
    let kept = tab.document.select("#pjax-container").inner_html();
    tab.page.url = ticket(116);
    tab.look();
    assert_eq!(tab.mounts(), nothing, "the old ticket's button does not outlive its address");
    tab.swap("osticket/ticket.html");
    tab.look();
    assert_eq!(tab.mounts(), ["osticket:116"]);
    tab.page.url = ticket(117);
    tab.document.select("#pjax-container").set_html(kept);
    let before = tab.html();
    tab.look();
    assert_eq!(tab.mounts(), ["osticket:117"]);
    assert_eq!(tab.html(), before, "the button that came along is taken for the one it is");
}

#[test]
fn a_mount_comes_back_after_rendering_anew() {
    let mut tab = Tab::open("https://desk.example.com/scp/tickets.php?id=116", "osticket/ticket.html");
    tab.look();
    let mounted = tab.html();
    // osTicket refreshes the view by itself (autotask-extension.md d.1).
    tab.swap("osticket/ticket.html");
    assert_eq!(tab.mounts().len(), 0);
    tab.look();
    assert_eq!(tab.html(), mounted);

    // The bar floats: another class, and a placeholder beside it.
    let bar = tab.document.select("#pjax-container .sticky.bar:has(.flush-right)");
    bar.add_class("fixed stop");
    bar.before_html(r#"<div class="sticky placeholder"></div>"#);
    let floating = tab.html();
    tab.look();
    assert_eq!(tab.html(), floating);

    // A copy of our button, as a careless script makes it.
    let toolbar = tab.document.select("#pjax-container .sticky.bar .flush-right");
    toolbar.append_html(r#"<a data-deskbridge="osticket:116"></a>"#);
    tab.document.select("body").append_html(r#"<a data-deskbridge="osticket:116"></a>"#);
    tab.look();
    assert_eq!(tab.html(), floating);

    tab.page.url = "https://ww19.autotask.net/Mvc/ServiceDesk/TicketDetail.mvc?ticketId=35754".into();
    let tab = Tab { document: Document::from(fs::read_to_string(pages().join("autotask/detail.html")).expect("a saved page")), ..tab };
    let column = tab.document.select(".SecondaryContainer.Right");
    let rendered = column.inner_html();
    column.set_html("");
    assert_eq!(tab.look(), None, "the column is rendered late");
    column.set_html(rendered.clone());
    assert!(tab.look().is_some());
    let mounted = tab.html();
    column.set_html(rendered);
    tab.look();
    assert_eq!(tab.html(), mounted);
}

#[test]
fn where_a_container_is_doubled_there_is_one_mount_or_none() {
    let tab = Tab::open("https://ww19.autotask.net/Mvc/ServiceDesk/TicketDetail.mvc?ticketId=35754", "autotask/detail.html");
    tab.document.select(".SecondaryContainer.Right").append_html(r#"<div class="InsightContainer"></div>"#);
    tab.look();
    assert_eq!(tab.document.select(".InsightContainer:first-child > [data-deskbridge]").length(), 1, "the first of two columns");
    assert_eq!(tab.mounts().len(), 1);

    let tab = Tab::open("https://desk.example.com/scp/tickets.php?id=116", "osticket/ticket.html");
    let bar = tab.document.select("#pjax-container .sticky.bar:has(.flush-right)");
    bar.before_html(bar.html());
    assert_eq!(tab.look(), None, "which of the two toolbars is real nobody knows");
}

#[test]
fn an_administrators_own_selectors_and_labels_come_first() {
    let check = |own: fn(&mut SiteSettings), target: &str, container: Option<&str>| {
        let mut tab = Tab::open("https://desk.example.com/scp/tickets.php?id=118", "osticket/ticket-device.html");
        own(&mut tab.sites[1]);
        let plan = tab.look().expect("a ticket");
        assert_eq!(plan.target.as_deref(), Some(target));
        assert_eq!((plan.mount.position == Position::Append).then_some(plan.mount.container.as_str()), container);
        assert_eq!(tab.mounts(), ["osticket:118"]);
    };
    check(|_| {}, "PC-118", None);
    check(|site| site.target_labels = vec!["serial".into()], "SN-1", None);
    check(|site| site.target_labels = vec!["*".into(), "Inventory".into(), "No such".into()], "PC-118", None);
    check(|site| site.target_selectors = vec!["#field_38".into()], "SN-1", None);
    check(|site| site.target_selectors = vec!["td[".into(), "#field_37".into(), "#field_38".into()], "SN-1", None);
    check(|site| site.mount_selectors = vec![".tixTitle".into()], "PC-118", Some(".tixTitle"));
    check(
        |site| site.mount_selectors = vec!["[[".into(), " ".into(), "#none".into(), "td".into(), ".tixTitle h3".into()],
        "PC-118",
        Some(".tixTitle h3"),
    );
    check(|site| site.mount_selectors = vec!["x".repeat(301), "#none".into()], "PC-118", None);

    // A tenant whose right column is named otherwise.
    let mut tab = Tab::open("https://ww19.autotask.net/Mvc/ServiceDesk/TicketDetail.mvc?ticketId=35754", "autotask/detail.html");
    tab.document.select(".InsightContainer").remove();
    tab.sites[0].mount_selectors = vec![".EntityHeadingContainer".into()];
    assert_eq!(tab.look().map(|plan| plan.mount.container).as_deref(), Some(".EntityHeadingContainer"));
}

/// The names the host script and the policies use.
#[test]
fn the_hosts_json_is_this() {
    let settings = r#"[{"kind":"osticket","url":"https://desk.example.com/","connection":"c","targetLabels":["PC no"]},{"kind":"autotask","url":"https://*.autotask.net/","connection":"d"}]"#;
    let sites: Vec<SiteSettings> = serde_json::from_str(settings).expect("settings");
    let page: Page =
        serde_json::from_str(r#"{"url":"https://desk.example.com/scp/tickets.php?id=116","isTop":true,"title":""}"#).expect("a page");
    let looked = serde_json::to_value(look(&page, &sites)).expect("JSON");
    assert_eq!(looked["site"], 0);
    assert_eq!(looked["queries"][2]["attributes"][0], "href");
    assert_eq!(looked["queries"][6]["parts"]["label"], "th, td");
    let snapshot = r#"{"container":[{"text":""}],"tabs":[{"text":""}],"heading":[{"text":"Ticket #5","attributes":{"href":"tickets.php?id=116"}}],"fields":[{"text":"PC no: y","parts":{"label":"PC no:","value":"y"}}]}"#;
    let snapshot: Snapshot = serde_json::from_str(snapshot).expect("a snapshot");
    let planned = serde_json::to_value(plan(&page, &sites[0], &snapshot)).expect("JSON");
    let expected = serde_json::json!({
        "key": "osticket:116", "ticket": "116", "number": "5", "subject": null, "target": "y", "recipient": null, "hasReply": false,
        "mount": {
            "container": "#pjax-container .sticky.bar > .content > .pull-right.flush-right",
            "position": "prepend",
            "form": {
                "kind": "button", "tag": "a", "classes": "action-button pull-right no-pjax",
                "attributes": {"href": "#deskbridge", "role": "button"}, "iconClasses": "icon-desktop",
            },
        },
    });
    assert_eq!(planned, expected);
    let tab = Tab::open("https://ww19.autotask.net/Mvc/ServiceDesk/TicketDetail.mvc?ticketId=35754", "autotask/detail.html");
    let card = serde_json::to_value(tab.look().expect("a plan").mount.form).expect("JSON");
    let expected = serde_json::json!({
        "kind": "card", "shellClass": "InsightShell", "titleClasses": ["Title", "Text"], "contentClasses": ["ContentContainer", "Content"],
    });
    assert_eq!(card, expected);
}

fn any_found() -> impl Strategy<Value = Found> {
    let text = prop_oneof![
        any::<String>(),
        "(tickets\\.php\\?id=|ticket/|#)?[0-9]{1,12}",
        Just("116".to_owned()),
        Just("ticket/116".to_owned()),
        Just("Asset".to_owned())
    ];
    let names = proptest::sample::select(vec!["href", "data-lock-object-id", "value", "label", "link"]);
    let map = proptest::collection::btree_map(names.prop_map(str::to_owned), text.clone(), 0..4);
    (text, map.clone(), map).prop_map(|(text, attributes, parts)| Found { text, attributes, parts })
}

proptest! {
    /// A hostile page can name a wrong ticket at worst; its texts come out bounded and clean.
    #[test]
    fn whatever_a_page_says_the_plan_is_clean(
        id in prop_oneof!["[0-9]{1,22}", Just("116".to_owned()), any::<String>()],
        is_osticket in any::<bool>(),
        title in any::<String>(),
        found in proptest::collection::btree_map(
            proptest::sample::select(vec!["container", "tabs", "heading", "forms", "noteId", "subject", "number", "fields", "email", "reply"]).prop_map(str::to_owned),
            proptest::collection::vec(any_found(), 0..3),
            0..9,
        ),
    ) {
        let sites = sites();
        let path = if is_osticket { "desk.example.com/scp/tickets.php?id=" } else { "ww1.autotask.net/Mvc/ServiceDesk/TicketDetail.mvc?ticketId=" };
        let page = Page { url: format!("https://{path}{id}"), is_top: true, title };
        let number = usize::from(is_osticket);
        prop_assert!(look(&page, &sites).is_none_or(|look| look.site == number));
        if let Some(plan) = plan(&page, &sites[number], &Snapshot(found)) {
            prop_assert!(plan.ticket.bytes().all(|byte| byte.is_ascii_digit()) && (1..=19).contains(&plan.ticket.len()));
            prop_assert!(id.trim_end_matches(|character: char| !character.is_ascii_digit()).starts_with(&plan.ticket));
            let is_plain = |text: &str| !text.chars().any(char::is_control) && text.chars().count() <= 255;
            prop_assert!(plan.number.iter().all(|number| number.len() <= 50 && number.is_ascii() && is_plain(number)));
            prop_assert!(plan.subject.iter().chain(&plan.target).chain(&plan.recipient).all(|text| is_plain(text)));
        }
    }

    #[test]
    fn whatever_the_address_nothing_panics(address in any::<String>(), settings in any::<String>()) {
        let sites = [site(SiteKind::Osticket, &settings), site(SiteKind::Autotask, &address)];
        let page = Page { url: address, is_top: true, title: settings };
        prop_assert!(look(&page, &sites).is_none_or(|look| look.site < 2));
    }
}
