//! `deskbridge links`: the links an administrator enters by hand, with this connection's own hosts in them: LiveLinks in Autotask, and
//! the custom link with which a representative comes back to the ticket.
//!
//! Must not print a secret, and must not need the help desk: what it would have told stands there as `<#>`.

use std::fmt::Write as _;
use std::process::ExitCode;

use deskbridge_core::finding::SetupLink;
use deskbridge_core::settings::ConnectionSettings;

use super::check::{build, chosen_settings};
use super::{ConfigFile, Opened, open};

pub(crate) async fn run(file: &ConfigFile, only: Option<&str>) -> anyhow::Result<ExitCode> {
    let settings = file.load()?;
    let opened = open(&settings.server).await?;
    let Some(chosen) = chosen_settings(&opened, &settings, only).await? else { return Ok(ExitCode::FAILURE) };
    for connection in chosen {
        let name = connection.name.clone();
        match links(&opened, connection, settings.server.public_origin()).await {
            Ok(links) => print!("{}", text(&name, &links)),
            Err(fault) => eprintln!("deskbridge: {name}: {fault}"),
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn links(opened: &Opened, settings: ConnectionSettings, public_url: &str) -> anyhow::Result<Vec<SetupLink>> {
    let connection = build(opened, settings)?;
    let mut links = connection.help_desk.setup_links(&connection.surroundings(public_url)).await;
    if let Some(engine) = &connection.engine {
        let ticket = connection.help_desk.ticket_address().await;
        if let Some(remark) = ticket.as_ref().and_then(|ticket| ticket.remark.as_deref()) {
            eprintln!("deskbridge: {remark}");
        }
        links.extend(engine.setup_links(public_url, ticket.as_ref().map(|ticket| ticket.address.as_str())));
    }
    Ok(links)
}

/// What is printed for a connection.
fn text(name: &str, links: &[SetupLink]) -> String {
    let mut out = format!("{name}\n{}\n", "=".repeat(name.chars().count()));
    for link in links {
        let _ = writeln!(out, "\n{}", link.title);
        for (name, value) in &link.fields {
            let _ = writeln!(out, "  {name:<28}{value}");
        }
        if let Some(remark) = &link.remark {
            let _ = writeln!(out, "\n{remark}");
        }
    }
    out.push('\n');
    out
}
