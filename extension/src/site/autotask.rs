//! Autotask's ticket page: `TicketDetail.mvc` and `TicketEdit.mvc`, wherever they stand (own tab, own window, frame of the new shell).
//!
//! Ids on these pages change at every load and labels are each tenant's own, so nothing is found by id and fields by label only
//! (autotask-extension.md c.3). The shell around a page, print view, grids and dialogs are not looked at: the path decides, never the
//! whole address, since a grid's query may hold a ticket page's (c.2).

use super::address::Address;
use super::{Form, Plan, Position, Query, SiteSettings, Snapshot, query, rows, text};

/// An Autotask id is a `long`.
const GREATEST_ID: u64 = 9_223_372_036_854_775_807;
/// The column of cards right of the ticket, the first where there are several; seen on `TicketDetail.mvc`, once (c.3).
const INSIGHTS: &str =
    "body:is(.EntityDetail, .EntityEdit) .SecondaryContainer.Right > .InsightContainer:not(.InsightContainer ~ .InsightContainer)";
/// `T20260101.0001`, in the heading of the ticket; on `TicketDetail.mvc`, once.
const NUMBER: &str = ".EntityHeadingContainer .IdentificationText";
/// `Printer offline`; on `TicketDetail.mvc`, once.
const SUBJECT: &str = ".EntityHeadingContainer > .Title .Text";
/// The read-only fields left of the ticket; on `TicketDetail.mvc`, a dozen or two.
const FIELDS: &str = ".SecondaryContainer.Left .ReadOnlyData";
const FIELD_PARTS: [(&str, &str); 3] = [
    ("label", ".ReadOnlyLabelContainer .PrimaryText"),
    ("link", ".ReadOnlyValueContainer > .Value .LinkButton2 > .Text2"),
    ("value", ".ReadOnlyValueContainer > .Value"),
];

/// What to collect, if that is a ticket's page.
pub(super) fn look(path: &str, address: &Address<'_>) -> Option<Vec<Query>> {
    ticket(path, address)?;
    Some(vec![query("container", INSIGHTS, 2), query("number", NUMBER, 1), query("subject", SUBJECT, 1), rows(FIELDS, &FIELD_PARTS)])
}

/// The card in the insight column.
pub(super) fn plan(path: &str, address: &Address<'_>, title: &str, site: &SiteSettings, snapshot: &Snapshot) -> Option<Plan> {
    let ticket = ticket(path, address)?;
    let form = Form::Card {
        shell_class: "InsightShell".into(),
        title_classes: vec!["Title".into(), "Text".into()],
        content_classes: vec!["ContentContainer".into(), "Content".into()],
    };
    Some(Plan {
        key: ["autotask:", &ticket].concat(),
        mount: snapshot.mount(site, INSIGHTS, Position::Prepend, form)?,
        number: snapshot.text("number").and_then(text::ticket_number).or_else(|| number_in_title(title)),
        subject: snapshot.text("subject").and_then(text::subject),
        target: snapshot.target(site, &["link", "value"]),
        recipient: None,
        has_reply: true,
        ticket,
    })
}

/// The ticket an address is of. Keys are written in any case; in the workspace view only the queue of ids says which, the first being shown (c.2).
fn ticket(path: &str, address: &Address<'_>) -> Option<String> {
    let mut segments = path.split('/');
    for expected in ["mvc", "servicedesk"] {
        segments.next().filter(|segment| segment.eq_ignore_ascii_case(expected))?;
    }
    let script = segments.next()?;
    if !["ticketdetail.mvc", "ticketedit.mvc"].iter().any(|known| script.eq_ignore_ascii_case(known)) {
        return None;
    }
    let named = address.values(|name| name.eq_ignore_ascii_case("ticketId"));
    let id = match named.as_slice() {
        [] => address.values(|name| name.eq_ignore_ascii_case("ids[0]")).into_iter().next()?,
        [one] => one.clone(),
        // Which of them the page shows is the server's secret.
        _ => return None,
    };
    text::ticket_id(&id, GREATEST_ID)
}

/// The number in `T20250001.0001 - title | Autotask PSA` (c.2).
fn number_in_title(title: &str) -> Option<String> {
    let first = title.split_whitespace().next()?;
    let (day, count) = first.strip_prefix('T')?.split_once('.')?;
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if day.len() == 8 && is_digits(day) && is_digits(count) { text::ticket_number(first) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_a_ticket() {
        let check = |page: &str, expected: Option<&str>| {
            let page = ["https://ww19.autotask.net/", page].concat();
            let address = Address::parse(&page).expect("an address");
            assert_eq!(ticket(&address.path[1..], &address).as_deref(), expected, "{page}");
        };
        check("Mvc/ServiceDesk/TicketDetail.mvc?workspace=False&ticketId=35754", Some("35754"));
        check("mvc/servicedesk/ticketdetail.mvc?TICKETID=35754#x", Some("35754"));
        check("Mvc/ServiceDesk/TicketDetail.mvc?ids%5B0%5D=53203&ids%5B1%5D=53204", Some("53203"));
        check("Mvc/ServiceDesk/TicketDetail.mvc?ids[0]=53203&ticketId=35754", Some("35754"));
        check("Mvc/ServiceDesk/TicketEdit.mvc/Edit?ticketId=35754", Some("35754"));
        check("Mvc/ServiceDesk/TicketDetail.mvc?ticketId=35754&TicketID=35754", Some("35754"));
        check("Mvc/ServiceDesk/TicketDetail.mvc?ticketId=35754&TicketID=35755", None);
        check("Mvc/ServiceDesk/TicketDetail.mvc?ticketId=35754%27", None);
        check("Mvc/ServiceDesk/TicketDetail.mvc?ticketId=", None);
        check("Mvc/ServiceDesk/TicketDetail.mvc", None);
        check("Mvc/ServiceDesk/TicketPrintView.mvc?ticketId=35754", None);
        check("Mvc/ServiceDesk/TicketGridSearch.mvc?return=/Mvc/ServiceDesk/TicketDetail.mvc&ticketId=35754", None);
        check("Mvc/Projects/TaskDetail.mvc?taskId=1&ticketId=35754", None);
        check("AutotaskOnyx/LandingPage?ticketId=35754", None);
        check("x/Mvc/ServiceDesk/TicketDetail.mvc?ticketId=35754", None);
    }

    #[test]
    fn a_title_may_hold_the_number() {
        assert_eq!(number_in_title("T20250001.0001 - Printer | Autotask PSA").as_deref(), Some("T20250001.0001"));
        for other in ["", "Edit Ticket - T20250001.0001", "Tomorrow.1", "T2025.0001", "T20250001."] {
            assert_eq!(number_in_title(other), None, "{other}");
        }
    }
}
