//! `deskbridge help-center rotate`: makes the values in ticket fields void that prove a customer may read the ticket.

use std::process::ExitCode;

use clap::Subcommand;
use deskbridge_help_desks::zendesk::{CustomerProof, HelpCenterSection};
use deskbridge_use_cases::connections::open_settings;

use super::{ConfigFile, named_connection, open};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make the values in all ticket fields void. A ticket gets a new one when an agent opens it.
    Rotate {
        /// The connection's name or id.
        connection: String,
        #[command(flatten)]
        file: ConfigFile,
    },
}

pub(crate) async fn run(command: &Command) -> anyhow::Result<ExitCode> {
    let Command::Rotate { connection, file } = command;
    let opened = open(&file.load()?.server).await?;
    let stored = opened.store.connections().await?;
    let Some(chosen) = named_connection(&stored, connection) else { return Ok(ExitCode::FAILURE) };
    let section = open_settings(&opened.master_key, chosen)?.section::<HelpCenterSection>();
    if !section.is_some_and(|section| section.customer_proof.contains(&CustomerProof::TicketField)) {
        eprintln!("deskbridge: {} does not use the proof ticket_field; there is nothing to make void", chosen.name);
        return Ok(ExitCode::FAILURE);
    }
    opened.store.raise_ticket_value_epoch(&chosen.tenant, chosen.id).await?;
    println!("the values in {}'s ticket fields are void; a ticket gets a new one when an agent opens it", chosen.name);
    Ok(ExitCode::SUCCESS)
}
