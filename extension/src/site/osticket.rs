//! osTicket's staff ticket page, `scp/tickets.php` (osticket.md 3.4; autotask-extension.md d.1).
//!
//! Pages come by pjax: the address changes, then the children of one container, and with *Back* the new ones may take their time. So the
//! address alone is not believed: the ticket is the one both the address and the page name. Tickets opened by number name their id on the
//! page alone. The button is the agent's tool: customers' pages are not looked at, nor are edit, print, queues and tasks.

use std::collections::BTreeMap;

use super::address::{self, Address};
use super::{Form, Found, Plan, Position, Query, SiteSettings, Snapshot, query, rows, text};

/// `ticket_id` is an unsigned `int`.
const GREATEST_ID: u64 = u32::MAX as u64;
/// The buttons above the ticket; on a ticket page, once. A queue page has a bar too, so this alone says nothing.
const TOOLBAR: &str = "#pjax-container .sticky.bar > .content > .pull-right.flush-right";
/// Thread and tasks below the ticket; on a ticket page, once, on no other.
const TABS: &str = "#pjax-container #ticket_tabs";
/// `<a href="tickets.php?id=116">Ticket #515631</a>`; on a ticket page, once.
const HEADING: &str = "#pjax-container .sticky.bar > .content > .flush-left h2 > a";
/// `data-lock-object-id="ticket/116"`; two forms, or one, or none, as the agent may reply or note.
const FORMS: &str = "#pjax-container :is(form#reply, form#note)";
/// The same id again, for a form without the attribute.
const NOTE_ID: &str = "#pjax-container form#note input[name=id]";
/// Missing where the agent may not reply.
const REPLY: &str = "#pjax-container form#reply";
/// `<span id="user-2-email">`; on a ticket page, once.
const EMAIL: &str = "#pjax-container table.ticket_info span[id^='user-'][id$='-email']";
const SUBJECT: &str = "#pjax-container .tixTitle h3";
/// Fields of the administrator's own forms; 0 or more. The label is the first cell, the value the second.
const FIELDS: &str = "#pjax-container table.custom-data tr";
const FIELD_PARTS: [(&str, &str); 2] = [("label", "th, td"), ("value", "th + td, td + td")];

/// What an address names.
#[derive(Debug, PartialEq, Eq)]
enum Opened {
    Id(String),
    Number(String),
}

/// What to collect, if that may be a ticket's page.
pub(super) fn look(path: &str, address: &Address<'_>, is_top: bool) -> Option<Vec<Query>> {
    opened(path, address, is_top)?;
    let with = |name: &str, selector: &str, attribute: &str| Query { attributes: vec![attribute.into()], ..query(name, selector, 2) };
    Some(vec![
        query("container", TOOLBAR, 2),
        query("tabs", TABS, 1),
        with("heading", HEADING, "href"),
        with("forms", FORMS, "data-lock-object-id"),
        with("noteId", NOTE_ID, "value"),
        query("subject", SUBJECT, 1),
        rows(FIELDS, &FIELD_PARTS),
        query("reply", REPLY, 1),
        query("email", EMAIL, 2),
    ])
}

/// The button in the toolbar.
pub(super) fn plan(path: &str, address: &Address<'_>, is_top: bool, site: &SiteSettings, snapshot: &Snapshot) -> Option<Plan> {
    let opened = opened(path, address, is_top)?;
    snapshot.text("tabs")?;
    let ticket = shown(snapshot)?;
    let number = snapshot.text("heading").and_then(|heading| text::ticket_number(heading.rsplit_once('#')?.1));
    let agree = match &opened {
        Opened::Id(id) => *id == ticket,
        Opened::Number(wanted) => number.as_ref() == Some(wanted),
    };
    if !agree {
        return None;
    }
    // A link whose address begins with `#` and has the class is left alone by pjax; `pull-right` puts it left of the others (3.4).
    let attributes = [("href", "#deskbridge"), ("role", "button")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    let form = Form::Button {
        tag: "a".into(),
        classes: "action-button pull-right no-pjax".into(),
        attributes: BTreeMap::from(attributes),
        icon_classes: "icon-desktop".into(),
    };
    Some(Plan {
        key: ["osticket:", &ticket].concat(),
        mount: snapshot.mount(site, TOOLBAR, Position::Prepend, form)?,
        number,
        subject: snapshot.text("subject").and_then(text::subject),
        target: snapshot.target(site, &["value"]),
        recipient: text::email(snapshot.all("email")),
        has_reply: snapshot.text("reply").is_some(),
        ticket,
    })
}

/// PHP takes the last of equal keys; two different ones are nobody's honest address. Any action (`a=edit`, `a=print`, …) is another page,
/// and with both keys osTicket takes the id (`scp/tickets.php`).
fn opened(path: &str, address: &Address<'_>, is_top: bool) -> Option<Opened> {
    if path != "scp/tickets.php" || !is_top || !address.values(|name| name == "a").is_empty() {
        return None;
    }
    let (ids, numbers) = (address.values(|name| name == "id"), address.values(|name| name == "number"));
    match (ids.as_slice(), numbers.as_slice()) {
        ([id], _) => text::ticket_id(id, GREATEST_ID).map(Opened::Id),
        ([], [number]) => text::ticket_number(number).map(Opened::Number),
        _ => None,
    }
}

/// The ticket the page shows, if all that names one names the same.
fn shown(snapshot: &Snapshot) -> Option<String> {
    let attribute = |found: &Found, name: &str| found.attributes.get(name).cloned();
    let headings = snapshot.all("heading").iter().filter_map(|heading| {
        let href = attribute(heading, "href")?;
        let ids = address::values(href.split_once('?')?.1, |name| name == "id");
        ids.into_iter().next()
    });
    let forms =
        snapshot.all("forms").iter().filter_map(|form| Some(attribute(form, "data-lock-object-id")?.strip_prefix("ticket/")?.to_owned()));
    let notes = snapshot.all("noteId").iter().filter_map(|input| attribute(input, "value"));
    let mut named = headings.chain(forms).chain(notes);
    let first = text::ticket_id(&named.next()?, GREATEST_ID)?;
    named.all(|other| other == first).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_a_ticket() {
        let check = |page: &str, expected: Option<Opened>| {
            let page = ["https://desk.example.com/", page].concat();
            let address = Address::parse(&page).expect("an address");
            assert_eq!(opened(&address.path[1..], &address, true), expected, "{page}");
            assert_eq!(opened(&address.path[1..], &address, false), None, "in a frame: {page}");
        };
        let id = |id: &str| Some(Opened::Id(id.into()));
        check("scp/tickets.php?id=116", id("116"));
        check("scp/tickets.php?id=116#reply", id("116"));
        check("scp/tickets.php?queue=1&id=116&number=5", id("116"));
        check("scp/tickets.php?number=HD.43-4182", Some(Opened::Number("HD.43-4182".into())));
        for other in [
            "scp/tickets.php",
            "scp/tickets.php?queue=1",
            "scp/tickets.php?id=116&a=edit",
            "scp/tickets.php?id=116&a=print&notes=1",
            "scp/tickets.php?a=search&query=x&id=1",
            "scp/tickets.php?id=116&id=117",
            "scp/tickets.php?id=116x",
            "scp/tickets.php?id[]=116",
            "scp/tickets.php?ID=116",
            "scp/tickets.php?number=%3Cb%3E",
            "scp/tickets.php/x?id=116",
            "scp//tickets.php?id=116",
            "scp/tasks.php?id=116",
            "tickets.php?id=116",
            "view.php?id=116",
        ] {
            check(other, None);
        }
    }

    #[test]
    fn all_that_names_the_ticket_must_agree() {
        let found = |name: &str, value: &str| vec![Found { attributes: BTreeMap::from([(name.into(), value.into())]), ..Found::default() }];
        let check = |heading: Option<&str>, form: Option<&str>, note: Option<&str>, expected: Option<&str>| {
            let pairs = [("heading", "href", heading), ("forms", "data-lock-object-id", form), ("noteId", "value", note)];
            let snapshot =
                Snapshot(pairs.iter().filter_map(|(query, name, value)| Some(((*query).to_owned(), found(name, (*value)?)))).collect());
            assert_eq!(shown(&snapshot).as_deref(), expected);
        };
        check(Some("tickets.php?id=116"), Some("ticket/116"), Some("116"), Some("116"));
        check(None, None, Some("116"), Some("116"));
        check(Some("tickets.php?id=116"), None, None, Some("116"));
        check(Some("tickets.php?id=116"), Some("ticket/117"), Some("116"), None);
        check(Some("tickets.php?id=116"), Some("ticket/116"), Some("117"), None);
        check(Some("tickets.php?queue=1"), None, None, None);
        check(Some("tickets.php?id=116x"), None, None, None);
        check(None, Some("task/116"), None, None);
        check(None, None, None, None);
    }
}
