//! The staff's pages: the saved ones of the extension (`extension/pages/osticket`, osticket.md 3.4) with an installation's own words, as much
//! style as makes them readable, and a script that does what osTicket's own would: pjax, tabs, the lock when somebody begins to write.

use std::fmt::Write as _;

use time::macros::format_description;

use super::desk::{Entry, EntryKind, Held, Ticket};
use crate::extension::OSTICKET_STYLE;
use crate::html;

const TICKET: &str = include_str!("../../../extension/pages/osticket/ticket.html");
const QUEUE: &str = include_str!("../../../extension/pages/osticket/queue.html");
const LOGIN: &str = include_str!("../../../extension/pages/osticket/login.html");

/// The CSRF token of the saved pages.
const TOKEN: &str = "0123456789abcdef0123456789abcdef01234567";

const STYLE: &str = ".hidden { display: none } ul.tabs li.active a { font-weight: bold } textarea, #note input { box-sizing: border-box; width: 100% }
  .thread-entry { margin: 10px 0; border: 1px solid #b5c9dd; border-radius: 4px } .thread-entry .header { padding: 4px 10px; background: #dce8f5 }
  .thread-entry.note { border-color: #e8c46a } .thread-entry.note .header { background: #fdf3d1 } .thread-body { padding: 4px 10px; overflow-x: auto }
  #msg_error { padding: 6px 10px; border: 1px solid #a00; background: #fff0f0 } table.list { width: 100% }
  #loginBox { width: 300px; margin: 80px auto; padding: 24px; background: #fff } #loginBox input, #loginBox button { display: block; width: 100%;
    box-sizing: border-box; margin: 8px 0; padding: 6px }
  .icon-desktop::before { content: ''; display: inline-block; width: 12px; height: 8px; border: 2px solid; border-radius: 2px }";

const SCRIPT: &str = r"
  const draw = async (address) => {
    const page = new DOMParser().parseFromString(await (await fetch(address)).text(), 'text/html');
    const fresh = page.querySelector('#pjax-container');
    if (!fresh) return location.assign(address);
    document.querySelector('#pjax-container').replaceChildren(...fresh.childNodes);
    document.title = page.title;
  };
  window.pjax = (address) => {
    history.pushState({}, '', address);
    return draw(address);
  };
  addEventListener('popstate', () => draw(location.href));
  addEventListener('click', (event) => {
    const link = event.target.closest?.('#pjax-container a[href]');
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    const address = link.getAttribute('href');
    if (address.startsWith('#')) {
      event.preventDefault();
      const tab = { '#post-reply': 'reply', '#reply': 'reply', '#post-note': 'note', '#note': 'note' }[address];
      if (tab) for (const id of ['reply', 'note']) document.getElementById(id).classList.toggle('hidden', id !== tab);
    } else if (!link.matches('.no-pjax') && new URL(link.href).pathname.endsWith('/scp/tickets.php')) {
      event.preventDefault();
      window.pjax(link.href);
    }
  });
  addEventListener('input', async (event) => {
    const form = event.target.closest?.('form[data-lock-object-id]');
    if (!form || form.lockCode.value || form.isLocking) return;
    form.isLocking = true;
    const headers = { 'X-CSRFToken': document.querySelector('meta[name=csrf_token]').content };
    const answer = await fetch(`ajax.php/lock/${form.dataset.lockObjectId}`, { method: 'POST', headers });
    if (answer.ok) form.lockCode.value = (await answer.json()).code ?? '';
    form.isLocking = false;
  });";

/// What was written and not taken.
#[derive(Default)]
pub(super) struct Draft<'a> {
    pub title: &'a str,
    pub note: &'a str,
}

pub(super) fn login(csrf_token: &str, message: &str) -> String {
    let form = "<form action=\"login.php\" method=\"post\" id=\"login\">";
    let head = format!("<style>{OSTICKET_STYLE} {STYLE}</style></head>");
    let begin =
        format!("<h3 id=\"login-message\">{message}</h3>{form}<input type=\"hidden\" name=\"__CSRFToken__\" value=\"{csrf_token}\">");
    filled(LOGIN, &[("</head>", &head), (form, &begin)])
}

pub(super) fn queue(path: &str, first_name: &str, csrf_token: &str, error: &str, tickets: &[(u32, &Ticket)]) -> String {
    let mut rows = String::new();
    for (id, ticket) in tickets {
        let (number, subject) = (escaped(&ticket.number), escaped(&ticket.subject));
        let _ = write!(
            rows,
            "<tr id=\"{id}\"><td align=\"center\"><input type=\"checkbox\" class=\"ckb\" name=\"tids[]\" value=\"{id}\"></td>\
             <td><a class=\"preview\" data-preview=\"#tickets/{id}/preview\" href=\"{path}scp/tickets.php?id={id}\">{number}</a></td>\
             <td>{subject}</td></tr>"
        );
    }
    let old_rows = between(QUEUE, "<tbody>", "</tbody>");
    staff_page(QUEUE, &[(old_rows, &rows)], first_name, csrf_token, error)
}

pub(super) fn ticket(id: u32, held: &Held, rich_text: bool, first_name: &str, csrf_token: &str, error: &str, draft: &Draft<'_>) -> String {
    let Ticket { number, subject, requester_name, requester_email, department, device, message: _ } = &held.ticket;
    let form = device.as_ref().map_or_else(String::new, |device| device_form(id, device));
    let entries: String = held.entries.iter().map(entry).collect();
    let count = format!("Ticket Thread ({})", held.entries.len());
    let begin_tabs = "<ul class=\"tabs clean threads\" id=\"ticket_tabs\">";
    let title_field = "id=\"title\" size=\"60\" value=\"";
    let note_field = "id=\"internal_note\" cols=\"80\" class=\"richtext draft draft-delete fullscreen\">";
    // osTicket escapes what was refused, and shows a saved draft as it is.
    let written = if draft.note.is_empty() { held.draft.clone() } else { escaped(draft.note) };
    let note_form = format!("{}{written}", if rich_text { note_field.to_owned() } else { note_field.replace("richtext ", "") });
    let texts = [
        (between(TICKET, "data-thread-id=\"116\">", "<div class=\"sticky bar stop actions\""), format!("{entries}</div>")),
        ("Ticket Thread (1)", count),
        (begin_tabs, format!("{form}{begin_tabs}")),
        (title_field, format!("{title_field}{}", escaped(draft.title))),
        (note_field, note_form),
        ("<td>Support</td>", format!("<td>{}</td>", escaped(department))),
        ("515631", escaped(number)),
        ("Laptop will not connect to VPN", escaped(subject)),
        ("Priya Patel", escaped(requester_name)),
        ("priya@customer.example", escaped(requester_email)),
        ("116", id.to_string()),
    ];
    let texts: Vec<(&str, &str)> = texts.iter().map(|(from, to)| (*from, to.as_str())).collect();
    let page = staff_page(TICKET, &texts, first_name, csrf_token, error);
    match held.merged_into {
        Some(parent) => merged_child(&page, parent),
        None => page,
    }
}

/// As osTicket 1.18.1 shows a ticket that was merged: a warning instead of the forms, and an event that names the other.
fn merged_child(page: &str, parent: u32) -> String {
    let (before, rest) = page.split_once("<ul class=\"tabs\" id=\"response-tabs\">").unwrap_or((page, ""));
    let after = rest.rsplit_once("</form>").map_or("", |(_, after)| after);
    let event = format!(
        "<div class=\"thread-event action\"><span class=\"faded description\"><b>Avery Agent</b> merged this ticket with \
         <a href=\"tickets.php?id={parent}\"><b>Ticket #{parent}</b></a></span></div>"
    );
    let warning = "<div id=\"msg_warning\">Child Tickets do not allow the end user or agent to reply.</div>";
    [before, warning, &event, after].concat()
}

pub(super) fn preview(ticket: &Ticket) -> String {
    format!("<div class=\"ticket-preview\"><b>#{}</b> {}</div>", escaped(&ticket.number), escaped(&ticket.subject))
}

/// A page of somebody who is signed in.
fn staff_page(template: &str, texts: &[(&str, &str)], first_name: &str, csrf_token: &str, error: &str) -> String {
    let head = format!("<style>{OSTICKET_STYLE} {STYLE}</style></head>");
    let script = format!("<script>{SCRIPT}</script></body>");
    let error = if error.is_empty() { String::new() } else { format!("<div id=\"msg_error\">{}</div>", escaped(error)) };
    let content = format!("<div id=\"content\">{error}");
    let first_name = escaped(first_name);
    let own: [(&str, &str); 5] =
        [(TOKEN, csrf_token), ("Avery", &first_name), ("</head>", &head), ("</body>", &script), ("<div id=\"content\">", &content)];
    filled(template, &[texts, &own].concat())
}

/// The administrator's own form, as `ticket-device.html` has it.
fn device_form(id: u32, device: &str) -> String {
    format!(
        "<table class=\"ticket_info custom-data\" cellspacing=\"0\" cellpadding=\"0\" width=\"940\" border=\"0\">\
         <thead><th colspan=\"2\">Device</th></thead><tbody><tr><td width=\"200\">Device name:</td><td><a class=\"inline-edit\" \
         data-placement=\"bottom\" data-toggle=\"tooltip\" title=\"Update\" href=\"#tickets/{id}/field/39/edit\">\
         <span id=\"field_39\">{}</span></a></td></tr></tbody></table><div class=\"clear\"></div>",
        escaped(device)
    )
}

fn entry(entry: &Entry) -> String {
    let class = match entry.kind {
        EntryKind::Message => "message",
        EntryKind::Note => "note",
    };
    let at = entry.at.format(format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z")).unwrap_or_default();
    let shown = entry.at.format(format_description!("[month padding:none]/[day padding:none]/[year repr:last_two] [hour]:[minute]"));
    format!(
        "<div id=\"thread-entry-{id}\"><div class=\"thread-entry {class} avatar\"><div class=\"header\"><b>{author}</b> \
         <time datetime=\"{at}\">{shown}</time> <span class=\"title truncate\">{title}</span></div>\
         <div class=\"thread-body no-pjax\"><div>{html}</div></div></div></div>",
        id = entry.id,
        author = escaped(&entry.author),
        shown = shown.unwrap_or_default(),
        title = escaped(&entry.title),
        html = entry.html,
    )
}

/// What stands between two texts of a saved page.
fn between<'a>(page: &'a str, before: &str, after: &str) -> &'a str {
    let inside = page.split_once(before).and_then(|(_, rest)| rest.split_once(after));
    inside.unwrap_or_else(|| panic!("a saved page has no {before} … {after}")).0
}

/// The template with each of the texts replaced wherever it stands; what was put in is not looked at again.
fn filled(template: &str, texts: &[(&str, &str)]) -> String {
    for (from, _) in texts {
        assert!(template.contains(from), "a saved page has no {from}");
    }
    html::replaced(template, texts)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_in_is_not_replaced_again() {
        assert_eq!(filled("a-b-a", &[("a", "b"), ("b", "c")]), "b-c-b");
    }
}
