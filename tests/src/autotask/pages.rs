//! The web pages an extension meets: the ticket page in the structure captured in October 2026, and the command that leads to it
//! (autotask-extension.md c.2, c.3).
//!
//! Knows no sign-in. What is drawn here is drawn for selectors; for the demo there is as much style as makes it readable.

use std::fmt::Write as _;

use axum::http::Method;

use super::call::{Call, Reply};
use super::schema::{Entity, Record};
use super::tenant::{Tenant, integer, text};

const TICKET_PAGE: &str = "/Mvc/ServiceDesk/TicketDetail.mvc";
const COMMAND: &str = "/Autotask/AutotaskExtend/ExecuteCommand.aspx";

/// None of Autotask's own.
const STYLE: &str = "body { margin: 0; background: #e9edf0; color: #333; font: 13px/18px Arial, sans-serif }
  .PageHeadingContainer, .EntityHeadingContainer, .DetailsSection, .ConversationItem, .InsightShell { margin: 0 0 12px; padding: 12px 16px; background: #fff }
  .PageHeadingContainer { margin: 0 0 16px; border-bottom: 1px solid #c9d1d6 } .TitleBarItem { font-size: 16px; font-weight: bold }
  .ToolBar { display: flex; margin-top: 8px } .Button2 { padding: 2px 10px; border: 1px solid #b8c2c9; border-radius: 3px; background: #f4f6f7 }
  .MainContainer { display: grid; grid-template-columns: 240px minmax(0, 1fr) 320px; gap: 16px; padding: 0 16px }
  .DetailsSectionHeading, .InsightShell > .Title, .ConversationItem > .Title, .EntityHeadingContainer > .Title { font-weight: bold }
  .EntityHeadingContainer > .Title { font-size: 18px; line-height: 26px } .ReadOnlyData { margin-top: 10px }
  .ReadOnlyLabelContainer { color: #68737a; font-size: 12px } .LabelContainer1 { display: flex; gap: 4px } .Required { color: #c33 }
  .QuickNote textarea { box-sizing: border-box; width: 100%; height: 60px; margin-bottom: 12px } .Message { white-space: pre-wrap; overflow-wrap: anywhere }
  .LinkButton2 { color: #376a94 }";

/// How the ticket page looks to the tenant's people.
#[derive(Clone, Debug)]
pub struct TicketPage {
    /// Whether the page shows the ticket's configuration item.
    pub configuration_item: bool,
    /// Labels can be renamed and are translated: the account's, the contact's, the configuration item's.
    pub labels: [String; 3],
}

impl Default for TicketPage {
    fn default() -> Self {
        Self { configuration_item: true, labels: ["Organization", "Contact", "Configuration Item"].map(str::to_owned) }
    }
}

pub(super) fn answer(tenant: &Tenant, zone: usize, call: &Call) -> Reply {
    // A tenant that moved is gone from its old pages too.
    let page = if zone == tenant.zone && call.method == Method::GET {
        match call.path.as_str() {
            TICKET_PAGE => ticket_page(tenant, call),
            COMMAND => command(tenant, call),
            _ => None,
        }
    } else {
        None
    };
    page.unwrap_or_else(|| Reply::page(404, "<!doctype html><title>404</title><p>The resource cannot be found."))
}

/// `?Code=OpenTicketDetail&TicketID=…` or `&TicketNumber=…` leads to the ticket page.
fn command(tenant: &Tenant, call: &Call) -> Option<Reply> {
    if !call.query("code")?.eq_ignore_ascii_case("OpenTicketDetail") {
        return None;
    }
    let ticket = match call.query("ticketnumber") {
        Some(number) => tenant.all(Entity::Tickets).find(|ticket| text(ticket, "ticketNumber") == Some(number))?,
        None => tenant.get(Entity::Tickets, call.query("ticketid")?.parse().ok()?)?,
    };
    Some(Reply::redirect(format!("{TICKET_PAGE}?workspace=False&ticketId={}", integer(ticket, "id")?)))
}

/// The ticket by `ticketId`, in any case, or the first of `ids[0]`, `ids[1]`, … (c.2).
fn ticket_page(tenant: &Tenant, call: &Call) -> Option<Reply> {
    let id = call.query("ticketid").or_else(|| call.query("ids[0]"))?.parse().ok()?;
    let ticket = tenant.get(Entity::Tickets, id)?;
    let name_of = |field: &str, entity: Entity, name: fn(&Record) -> String| {
        integer(ticket, field).and_then(|id| tenant.get(entity, id)).map(name).unwrap_or_default()
    };
    let field_text = |record: &Record, field: &str| text(record, field).unwrap_or_default().to_owned();
    let company = name_of("companyID", Entity::Companies, |record| text(record, "companyName").unwrap_or_default().to_owned());
    let contact = name_of("contactID", Entity::Contacts, |record| {
        format!("{} {}", text(record, "firstName").unwrap_or_default(), text(record, "lastName").unwrap_or_default())
    });
    let device =
        name_of("configurationItemID", Entity::ConfigurationItems, |record| text(record, "referenceTitle").unwrap_or_default().to_owned());
    let (number, title) = (escaped(&field_text(ticket, "ticketNumber")), escaped(&field_text(ticket, "title")));
    let options = &tenant.options.ticket_page;
    let [company_label, contact_label, device_label] = &options.labels;
    let mut fields = vec![field(company_label, true, &company), field(contact_label, false, &contact)];
    if options.configuration_item {
        fields.push(field(device_label, false, &device));
    }
    let fields = fields.concat();
    let mut feed = String::new();
    for note in tenant.all(Entity::TicketNotes).filter(|note| integer(note, "ticketID") == Some(id)) {
        let (title, words) = (escaped(&field_text(note, "title")), escaped(&field_text(note, "description")));
        let _ = write!(feed, r#"<div class="ConversationItem"><div class="Title">{title}</div><div class="Message">{words}</div></div>"#);
    }
    for entry in tenant.all(Entity::TimeEntries).filter(|entry| integer(entry, "ticketID") == Some(id)) {
        let hours = entry.get("hoursWorked").and_then(serde_json::Value::as_f64).unwrap_or_default();
        let who = integer(entry, "resourceID").and_then(|id| tenant.get(Entity::Resources, id));
        let who = who.map(|who| format!("{} {}", field_text(who, "firstName"), field_text(who, "lastName"))).unwrap_or_default();
        let (who, words) = (escaped(&who), escaped(&field_text(entry, "summaryNotes")));
        let _ = write!(
            feed,
            r#"<div class="ConversationItem TimeEntry"><div class="Title">{who}, {hours:.2} h</div><div class="Message">{words}</div></div>"#
        );
    }
    // Ids change at every load: nobody may select by them.
    let edit = format!("z{}", super::random_id());
    Some(Reply::page(
        200,
        format!(
            r#"<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{number} - {title} | Autotask PSA</title><style>{STYLE}</style></head>
<body class="EntityPage EntityDetail">
<div class="PageHeadingContainer"><div class="TitleBarItem Title"><span class="Text">Ticket </span>
<span class="SecondaryText">- {number} - {title} ({company})</span></div>
<div class="ToolBar"><div class="ToolBarItem Left ButtonGroupStart">
<div class="Button2 ButtonIcon2 NormalBackground" id="{edit}" tabindex="0"><div class="Icon2"><div class="StandardButtonIcon Edit"></div></div><div class="Text2">Edit</div></div>
</div><div class="ToolBarItem Right"></div></div></div>
<div class="MessageBarContainer"></div>
<div class="MainContainer Active">
<div class="SecondaryContainer Left"><div class="DetailsSection">
<div class="DetailsSectionHeading"><div class="Left"><div class="Text">Ticket Information</div></div></div>
<div class="ReadOnlyDetailsContainer">{fields}</div></div></div>
<div class="PrimaryContainer"><div class="EntityHeadingContainer"><div class="IdentificationText">{number}</div>
<div class="Title"><div class="Text">{title}</div></div></div>
<div class="ActivityTabShell"><div class="QuickNote"><textarea></textarea></div>{feed}</div></div>
<div class="SecondaryContainer Right"><div class="InsightContainer"><div class="InsightShell"><div class="Title"><div class="Text">{company_label}</div></div>
<div class="ContentContainer"><div class="Content">{company}</div></div></div></div></div>
</div></body></html>
"#,
            company = escaped(&company),
            company_label = escaped(company_label),
        ),
    ))
}

/// A field as it can be read: label, perhaps an asterisk, value as a link; an empty one has an empty value.
fn field(label: &str, required: bool, value: &str) -> String {
    let label = escaped(label);
    let asterisk = if required { r#"<div class="Required">*</div>"# } else { "" };
    let value = if value.is_empty() {
        String::new()
    } else {
        format!(r#"<div class="LinkButton2" tabindex="0"><div class="Text2">{}</div></div>"#, escaped(value))
    };
    format!(
        r#"<div class="ReadOnlyData QuickEditEnabled"><div class="ReadOnlyLabelContainer"><div class="LabelContainer1"><div class="Text"><span class="PrimaryText">{label}</span></div>{asterisk}</div></div>
<div class="ReadOnlyValueContainer"><div class="Value">{value}</div></div></div>
"#
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
