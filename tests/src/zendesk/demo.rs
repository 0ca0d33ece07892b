//! People and tickets to look at: an English and a German desk, with names and troubles made up.

use std::collections::BTreeMap;

use serde_json::json;

use super::account::{Account, Draft, NewComment, Role, TARGET_FIELD, Ticket, TicketRestriction, User};

/// Ids of what the demo has.
#[derive(Clone, Debug)]
pub struct DemoData {
    /// An agent who sees everything, English.
    pub agent: u64,
    /// Another, German.
    pub german_agent: u64,
    /// A light agent who sees the tickets of the field-service group only.
    pub light_agent: u64,
    /// An administrator of the account.
    pub administrator: u64,
    /// "VPN drops after a few minutes"; names the machine in custom field 27642.
    pub vpn_ticket: u64,
    /// A German one, about a printer.
    pub printer_ticket: u64,
    /// One of the field-service group.
    pub scanner_ticket: u64,
}

pub(super) fn fill(account: &mut Account) -> DemoData {
    let support = account.groups.iter().find(|(_, name)| *name == "Support").map(|(id, _)| *id);
    let support = support.unwrap_or_else(|| account.add_group("Support"));
    let field_service = account.add_group("Field Service");
    let harbour = account.add_organization("Harbour Foods Ltd");
    let mueller = account.add_organization("Müller Feinmechanik GmbH");

    let agent = |name: &str, email: &str, locale: &str, group: u64| User {
        name: name.to_owned(),
        email: email.to_owned(),
        locale: locale.to_owned(),
        role: Role::Agent,
        group_ids: vec![group],
        ..User::default()
    };
    let anna = account.add_user(agent("Anna Lindqvist", "anna.lindqvist@example.com", "en-US", support));
    let jonas = account.add_user(agent("Jonas Weber", "jonas.weber@example.com", "de", support));
    let priya = account.add_user(User {
        light_agent: true,
        ticket_restriction: Some(TicketRestriction::Groups),
        ..agent("Priya Nair", "priya.nair@example.com", "en-GB", field_service)
    });

    let mei = account.add_user(User { role: Role::Admin, ..agent("Mei Tanaka", "mei.tanaka@example.com", "en-US", support) });

    let customer = |name: &str, email: &str, locale: &str, organization: u64| User {
        name: name.to_owned(),
        email: email.to_owned(),
        locale: locale.to_owned(),
        organization_ids: vec![organization],
        ..User::default()
    };
    let tom = account.add_user(customer("Tom Okafor", "tom.okafor@harbour.example", "en-GB", harbour));
    let sabine = account.add_user(customer("Sabine Krüger", "s.krueger@mueller.example", "de", mueller));
    let maria = account.add_user(customer("Maria Santos", "maria.santos@harbour.example", "en-GB", harbour));

    let vpn_ticket = open(
        account,
        Ticket {
            subject: "VPN drops after a few minutes".to_owned(),
            description: "Hello,\n\nsince this morning my VPN connection drops after four or five minutes. I have \
                          restarted the laptop and the router, no change. I am working from home until Friday.\n\n\
                          Thanks, Tom"
                .to_owned(),
            priority: Some("high".to_owned()),
            kind: Some("incident".to_owned()),
            requester_id: tom,
            assignee_id: Some(anna),
            group_id: Some(support),
            tags: vec!["laptop".to_owned(), "vpn".to_owned()],
            custom_fields: BTreeMap::from([(TARGET_FIELD, json!("HBR-LT-0147"))]),
            ..Ticket::default()
        },
    );
    say(
        account,
        vpn_ticket,
        anna,
        true,
        "Hello Tom,\n\nthank you for the details. I would like to look at the client's log on your laptop. When would \
         be a good time for a remote session?",
    );
    say(account, vpn_ticket, tom, true, "Right now would be fine, I am at the laptop.");
    say(account, vpn_ticket, anna, false, "Same client version as in last week's case. Check the DTLS timeout first.");

    let printer_ticket = open(
        account,
        Ticket {
            subject: "Drucker druckt nur noch leere Seiten".to_owned(),
            description: "Guten Tag,\n\nunser Drucker im Büro 2.14 zieht das Papier ein, gibt aber nur leere Seiten \
                          aus. Der Toner ist neu. Vom Rechner meiner Kollegin aus ist es genauso.\n\nViele Grüße\n\
                          Sabine Krüger"
                .to_owned(),
            priority: Some("normal".to_owned()),
            kind: Some("problem".to_owned()),
            requester_id: sabine,
            assignee_id: Some(jonas),
            group_id: Some(support),
            tags: vec!["drucker".to_owned()],
            ..Ticket::default()
        },
    );
    say(
        account,
        printer_ticket,
        jonas,
        true,
        "Guten Tag Frau Krüger,\n\ndas sehe ich mir gern mit Ihnen zusammen an. Ich schicke Ihnen gleich einen \
         Sitzungsschlüssel.",
    );

    let scanner_ticket = open(
        account,
        Ticket {
            subject: "Handheld scanners lose the warehouse network".to_owned(),
            description: "Three of the handhelds at gate 4 lose the network whenever a lorry is being loaded. Stock \
                          counts are behind since Monday."
                .to_owned(),
            status: "new".to_owned(),
            priority: Some("urgent".to_owned()),
            kind: Some("incident".to_owned()),
            requester_id: maria,
            group_id: Some(field_service),
            tags: vec!["scanner".to_owned(), "warehouse".to_owned()],
            ..Ticket::default()
        },
    );

    DemoData { agent: anna, german_agent: jonas, light_agent: priya, administrator: mei, vpn_ticket, printer_ticket, scanner_ticket }
}

fn open(account: &mut Account, ticket: Ticket) -> u64 {
    let requester = ticket.requester_id;
    let opening = comment(requester, true, &ticket.description);
    account.add_ticket(ticket, opening, requester, json!({}))
}

fn say(account: &mut Account, ticket: u64, author: u64, public: bool, text: &str) {
    let Some(record) = account.tickets.get(&ticket) else {
        return;
    };
    let changed = record.ticket.clone();
    account.update_ticket(changed, Some(comment(author, public, text)), author, json!({}));
}

fn comment(author_id: u64, public: bool, text: &str) -> NewComment {
    NewComment { author_id, public: Some(public), draft: Draft::Text(text.to_owned()), attachments: Vec::new() }
}
