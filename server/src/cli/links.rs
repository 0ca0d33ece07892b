//! `deskbridge links`: the links an administrator enters by hand, with this connection's own hosts in them: LiveLinks in Autotask, and
//! the custom link with which a representative comes back to the ticket.
//!
//! Must not print a secret, and must not need the ticket system: what it would have told stands there as `<#>`.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use super::check::chosen_settings;
use super::{ConfigFile, open};
use crate::config::{ConnectionSettings, JumpAction};
use crate::connections::Connection;
use crate::tickets::autotask::Autotask;

/// Longest wait for the tenant's zone.
const PATIENCE: Duration = Duration::from_secs(10);
/// The one macro of custom links that is known for sure (beyondtrust.md G).
const EXTERNAL_KEY: &str = "%SESSION.CUSTOM.EXTERNAL_KEY%";
/// The user-defined field of the vendor's guide (seeds/003).
const DEVICE_FIELD: &str = "Device Name";
/// Pages of a tenant whose zone is not known.
const UNKNOWN_PAGES: &str = "https://ww<#>.autotask.net/";

pub(crate) async fn run(file: &ConfigFile, only: Option<&str>) -> anyhow::Result<ExitCode> {
    let settings = file.load()?;
    let opened = open(&settings.server).await?;
    let Some(chosen) = chosen_settings(&opened, &settings, only).await? else { return Ok(ExitCode::FAILURE) };
    for connection in chosen {
        let pages = match autotask_of(&connection) {
            Some(autotask) => Some(pages_of(&autotask).await),
            None => None,
        };
        print!("{}", text(&connection, &settings.server.public_url, pages.as_deref()));
    }
    Ok(ExitCode::SUCCESS)
}

fn autotask_of(settings: &ConnectionSettings) -> Option<std::sync::Arc<Autotask>> {
    settings.autotask.as_ref()?;
    match Connection::build(settings.clone(), 0) {
        Ok(connection) => connection.autotask,
        Err(fault) => {
            eprintln!("deskbridge: {}: {fault}", settings.name);
            None
        }
    }
}

/// The address of the tenant's pages.
async fn pages_of(autotask: &Autotask) -> String {
    let why = match tokio::time::timeout(PATIENCE, autotask.zone()).await {
        Ok(Ok(zone)) => match &zone.web {
            Some(web) => return web.to_string(),
            None => "the zone does not tell".to_owned(),
        },
        Ok(Err(error)) => error.to_string(),
        Err(_) => "no answer in time".to_owned(),
    };
    eprintln!("deskbridge: the address of the tenant's pages is not known ({why}); put your zone's number in place of <#>");
    UNKNOWN_PAGES.to_owned()
}

/// What is printed for a connection. `pages`: the address of the Autotask tenant's pages.
fn text(settings: &ConnectionSettings, public_url: &str, pages: Option<&str>) -> String {
    let mut out = format!("{}\n{}\n", settings.name, "=".repeat(settings.name.chars().count()));
    let public_url = public_url.trim_end_matches('/');
    if settings.autotask.is_some() {
        for link in live_links(settings) {
            section(
                &mut out,
                &format!("LiveLink “{}”, in Autotask: Admin > Automation > AutoForms & LiveLinks > LiveLinks Designer", link[0].1),
                &link,
            );
        }
        let _ = writeln!(
            out,
            "\nCreate the application “Bomgar” first (tab Applications), and publish each link (right-click) to those who may use it.\n\
             Both open the appliance in the agent's own representative console. Where the browser extension is paired with\n\
             {public_url}, its panel on the ticket page does the same, and the two links are not needed."
        );
    }
    if let Some(url) = custom_link(settings, pages.unwrap_or(UNKNOWN_PAGES)) {
        section(&mut out, "Custom link, on the appliance: Rep Console > Custom Links", &[("Name", "Open Ticket".to_owned()), ("URL", url)]);
    }
    section(
        &mut out,
        "Outbound event, on the appliance: Management > Outbound Events > HTTP Recipients",
        &[("Name", "Integration".to_owned()), ("URL", event_url(settings, public_url))],
    );
    out.push('\n');
    out
}

fn section(out: &mut String, title: &str, fields: &[(&str, String)]) {
    let _ = writeln!(out, "\n{title}");
    for (name, value) in fields {
        let _ = writeln!(out, "  {name:<28}{value}");
    }
}

type Fields = Vec<(&'static str, String)>;

/// As the vendor's guide has them (seeds/003, “Create the Bomgar Jump LiveLink” and “Session Key LiveLink”). The angle brackets are
/// Autotask's variables, so nothing in the query is percent-encoded.
fn live_links(settings: &ConnectionSettings) -> [Fields; 2] {
    let scheme = if settings.appliance.use_plain_http { "http" } else { "https" };
    let base = format!("{scheme}://{}/api/client_script.ns", settings.appliance.host);
    let jump = match settings.appliance.jump_action {
        JumpAction::JumpItem => "start_jump_item_session&jump.method=pinned",
        JumpAction::PinnedClient => "start_pinned_client_session",
    };
    let device = settings.panel.target_field.as_deref().unwrap_or(DEVICE_FIELD);
    let link = |name: &str, description: &str, query: String| {
        vec![
            ("LiveLink Name", name.to_owned()),
            ("Label", name.to_owned()),
            ("Description", description.to_owned()),
            ("Active", "checked".to_owned()),
            ("Category", "Service Desk".to_owned()),
            ("LiveLink Application Name", "Bomgar".to_owned()),
            ("Entity", "Ticket".to_owned()),
            ("Base URL", base.clone()),
            ("Querystring Values", format!("?type=rep&operation=generate&action={query}&session.custom.external_key=<TICKETID>")),
            ("Configuration", "Ticket Details Window - Service Desk, Ticket Grid - Service Desk: both checked".to_owned()),
        ]
    };
    [
        link("Bomgar Jump To CI", "Bomgar Jump To CI", format!("{jump}&search_string=<UDF-{device} (ATG_InstalledProduct)>")),
        link("Bomgar Session Key", "Generate Bomgar Session Key", "generate_session_key".to_owned()),
    ]
}

/// Where the representative console comes back to the ticket (beyondtrust.md G; for Autotask the deep link of autotask-extension.md c.2).
fn custom_link(settings: &ConnectionSettings, pages: &str) -> Option<String> {
    if let Some(zendesk) = &settings.zendesk {
        return Some(format!("{}/agent/tickets/{EXTERNAL_KEY}", zendesk.origin()));
    }
    settings.autotask.as_ref()?;
    let pages = pages.trim_end_matches('/');
    Some(format!("{pages}/Autotask/AutotaskExtend/ExecuteCommand.aspx?Code=OpenTicketDetail&TicketID={EXTERNAL_KEY}"))
}

fn event_url(settings: &ConnectionSettings, public_url: &str) -> String {
    let mut query = Vec::new();
    if settings.appliance.id != "default" {
        query.push(format!("appliance={}", settings.appliance.id));
    }
    if settings.appliance.event_token.is_some() {
        query.push("token=<event_token>".to_owned());
    }
    let mark = if query.is_empty() { "" } else { "?" };
    format!("{public_url}{}{mark}{}", deskbridge_shared::routes::APPLIANCE_EVENTS, query.join("&"))
}
