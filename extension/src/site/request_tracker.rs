//! Request Tracker's ticket page, `Ticket/Display.html` (seen on 5.0.3, in both of its themes).
//!
//! Pages come whole; links in them part the pairs of a query by `;`. A merged ticket's number shows the ticket it was merged into, so the
//! ticket is the one the page names, and the address only says that it is a ticket's page. Self-service, the mobile pages and the pages to
//! edit or to reply are not looked at.

use super::address::Address;
use super::{Form, Plan, Position, Query, SiteSettings, Snapshot, query, rows, text};

/// RT's numbers are signed and have 32 bits.
const GREATEST_ID: u64 = i32::MAX as u64;
/// The column beside the ticket's basics.
const COLUMN: &str = "#comp-Ticket-Display #body .ticket-summary > .boxcontainer.col-md-6 ~ .boxcontainer.col-md-6";
/// The ticket's number, among its basics.
const ID: &str = "#comp-Ticket-Display .ticket-info-basics .inline-edit-display .id > .value";
/// `#1: Printer`.
const HEADING: &str = "#comp-Ticket-Display #header > h1";
/// Custom fields that have a value; the others say so in words. One box, or one for each grouping.
const FIELDS: &str = "#comp-Ticket-Display .ticket-summary .custom-field:not(.unset-field)";
const FIELD_PARTS: [(&str, &str); 2] = [("label", ".label"), ("value", ".value .current-value")];

/// What to collect, if that may be a ticket's page.
pub(super) fn look(path: &str, address: &Address<'_>, is_top: bool) -> Option<Vec<Query>> {
    is_tickets(path, address, is_top)
        .then(|| vec![query("container", COLUMN, 2), query("id", ID, 2), query("heading", HEADING, 1), rows(FIELDS, &FIELD_PARTS)])
}

/// The card beside the basics.
pub(super) fn plan(path: &str, address: &Address<'_>, is_top: bool, site: &SiteSettings, snapshot: &Snapshot) -> Option<Plan> {
    let [id] = snapshot.all("id") else { return None };
    let ticket = text::ticket_id(&id.text, GREATEST_ID).filter(|_| is_tickets(path, address, is_top))?;
    let form = Form::Card {
        shell_class: "titlebox body-content-class card".into(),
        title_classes: vec!["titlebox-title card-header".into(), "left".into()],
        content_classes: vec!["titlebox-content".into(), "card-body".into()],
    };
    let subject = |heading: &str| text::subject(heading.strip_prefix(&["#", &ticket, ":"].concat())?);
    Some(Plan {
        key: ["request_tracker:", &ticket].concat(),
        mount: snapshot.mount(site, COLUMN, Position::Prepend, form)?,
        number: Some(ticket.clone()),
        subject: snapshot.text("heading").and_then(subject),
        target: snapshot.target(site, &["value"]),
        recipient: None,
        has_reply: false,
        ticket,
    })
}

fn is_tickets(path: &str, address: &Address<'_>, is_top: bool) -> bool {
    let ids = address.values(|name| name == "id");
    let is_id = |id: &String| text::ticket_id(id.split(';').next().unwrap_or_default(), GREATEST_ID).is_some();
    path == "Ticket/Display.html" && is_top && matches!(&ids[..], [id] if is_id(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_tickets() {
        let check = |page: &str, expected: bool| {
            let page = ["https://rt.example.com/", page].concat();
            let address = Address::parse(&page).expect("an address");
            assert_eq!(is_tickets(&address.path[1..], &address, true), expected, "{page}");
            assert!(!is_tickets(&address.path[1..], &address, false), "in a frame: {page}");
        };
        for page in ["?id=1", "?id=1#txn-41", "?id=1;ForceShowHistory=1#history", "?ShowHeaders=1&id=2147483647"] {
            check(&["Ticket/Display.html", page].concat(), true);
        }
        for page in [
            "Ticket/Display.html",
            "Ticket/Display.html?id=0",
            "Ticket/Display.html?id=2147483648",
            "Ticket/Display.html?id=1x",
            "Ticket/Display.html?id=new",
            "Ticket/Display.html?id=1&id=2",
            "Ticket/Display.html/x?id=1",
            "Ticket/Update.html?id=1",
            "Ticket/ModifyAll.html?id=1",
            "SelfService/Display.html?id=1",
            "Asset/Display.html?id=1",
            "rt/Ticket/Display.html?id=1",
        ] {
            check(page, false);
        }
    }
}
