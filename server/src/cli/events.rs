//! `deskbridge events list | show | retry`.

use std::process::ExitCode;

use clap::Subcommand;
use uuid::Uuid;

use super::{ConfigFile, open};
use crate::clock::rfc3339;
use crate::store::{AttemptRow, EventRow};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// The newest events.
    List {
        /// Only those in this state: ready, leased, done, dead.
        #[arg(long, value_parser = ["ready", "leased", "done", "dead"])]
        state: Option<String>,
        /// How many.
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=10_000))]
        limit: i64,
        #[command(flatten)]
        file: ConfigFile,
    },
    /// One event, with all that is known.
    Show {
        /// Its id.
        id: Uuid,
        #[command(flatten)]
        file: ConfigFile,
    },
    /// Make an ended event due again.
    Retry {
        /// Its id.
        id: Uuid,
        #[command(flatten)]
        file: ConfigFile,
    },
}

pub(crate) async fn run(command: &Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::List { state, limit, file } => {
            let opened = open(&file.load()?.server).await?;
            for row in opened.store.list_events(state.as_deref(), *limit).await? {
                let outcome = row.outcome.as_deref().unwrap_or_default();
                println!(
                    "{} {} {:7} {:22} {} {}: {outcome}",
                    row.id,
                    rfc3339(row.received_at),
                    row.state,
                    row.kind,
                    row.lsid,
                    row.connection
                );
            }
        }
        Command::Show { id, file } => {
            let opened = open(&file.load()?.server).await?;
            let Some(row) = opened.store.event(*id).await? else { return Ok(unknown(*id)) };
            show(&row, &opened.store.attempts(*id).await?);
        }
        Command::Retry { id, file } => {
            let opened = open(&file.load()?.server).await?;
            if opened.store.event(*id).await?.is_none() {
                return Ok(unknown(*id));
            }
            if opened.store.retry_event(*id, opened.clock.now_ms()).await? {
                println!("due again");
            } else {
                println!("it is due or being worked at already");
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn unknown(id: Uuid) -> ExitCode {
    eprintln!("deskbridge: there is no event {id}; `deskbridge events list` shows their ids");
    ExitCode::FAILURE
}

fn show(row: &EventRow, attempts: &[AttemptRow]) {
    println!("id          {}", row.id);
    println!("connection  {}", row.connection);
    println!("kind        {} ({})", row.kind, row.origin);
    println!("lsid        {}", row.lsid);
    println!("received    {}", rfc3339(row.received_at));
    println!("state       {} after {} attempts", row.state, row.attempts);
    if row.state == "ready" {
        println!("next try    {}", rfc3339(row.not_before));
    }
    println!("said        {}", row.outcome.as_deref().unwrap_or("nothing yet"));
    for attempt in attempts {
        let took = attempt.ended_at - attempt.leased_at;
        let next = attempt.next_at.map_or_else(String::new, |at| format!("; next try {}", rfc3339(at)));
        println!("attempt     {} {} after {took} ms{next}: {}", rfc3339(attempt.leased_at), attempt.result, attempt.said);
    }
}
