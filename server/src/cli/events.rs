//! `deskbridge events list | show | retry | assign`.

use std::process::ExitCode;

use clap::Subcommand;
use uuid::Uuid;

use deskbridge_core::clock::rfc3339;
use deskbridge_core::ids::EngineAccount;
use deskbridge_store::{AttemptRow, EventFilter, EventRow, OwnerDecision};

use deskbridge_use_cases::connections::{Builder, open_settings};

use super::{ConfigFile, Opened, named_connection, open};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// The newest events.
    List {
        /// Only those in this state: ready, leased, done, dead, undecided.
        #[arg(long, value_parser = ["ready", "leased", "done", "dead", "undecided"])]
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
    /// Decide whose an undecided session or help request is: its events are worked at for that connection.
    Assign {
        /// The id of one of its events.
        id: Uuid,
        /// The connection's name or id.
        connection: String,
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
            for row in opened.store.list_events(&EventFilter { state: state.clone(), ..EventFilter::default() }, *limit).await? {
                let outcome = row.outcome.as_deref().unwrap_or_default();
                println!(
                    "{} {} {:9} {:22} {} {}: {outcome}",
                    row.id,
                    rfc3339(row.received_at),
                    row.state,
                    row.kind,
                    row.lsid,
                    shown_connection(&row)
                );
            }
        }
        Command::Show { id, file } => {
            let opened = open(&file.load()?.server).await?;
            let Some(row) = opened.store.event(*id).await? else { return Ok(unknown(*id)) };
            show(&row, &opened.store.attempts(*id).await?);
        }
        Command::Assign { id, connection, file } => return assign(&open(&file.load()?.server).await?, *id, connection).await,
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

/// The connection's name, or what stands in for one.
fn shown_connection(row: &EventRow) -> String {
    if row.state == "undecided" {
        return "(undecided)".to_owned();
    }
    match (&row.connection_name, row.connection) {
        (Some(name), _) => name.clone(),
        (None, Some(id)) => format!("{id} (removed)"),
        (None, None) => "(no connection yet)".to_owned(),
    }
}

async fn assign(opened: &Opened, id: Uuid, connection: &str) -> anyhow::Result<ExitCode> {
    let Some(row) = opened.store.event(id).await? else { return Ok(unknown(id)) };
    if row.state != "undecided" {
        eprintln!("deskbridge: event {id} is {}; only an undecided one can be assigned", row.state);
        return Ok(ExitCode::FAILURE);
    }
    let stored = opened.store.connections().await?;
    let Some(chosen) = named_connection(&stored, connection) else { return Ok(ExitCode::FAILURE) };
    let now = opened.clock.now_ms();
    let builder = Builder::new(&opened.master_key);
    let Some(account) = builder.account(&open_settings(&opened.master_key, chosen)?) else {
        eprintln!("deskbridge: {} has no remote-support system", chosen.name);
        return Ok(ExitCode::FAILURE);
    };
    // Events stored by an earlier version do not say which appliance they came from.
    let host = EngineAccount::stored_host(&row.account).unwrap_or(&account.host);
    if host != account.host {
        eprintln!("deskbridge: the session is of {host}, and {} uses {}", chosen.name, account.host);
        return Ok(ExitCode::FAILURE);
    }
    let decision = OwnerDecision {
        tenant: &chosen.tenant,
        host,
        lsid: &row.lsid,
        connection: chosen.id,
        proof: "a person decided",
        used_up_for: None,
        now,
    };
    let owner = opened.store.decide_owner(&decision).await?;
    if owner != chosen.id {
        let name = stored.iter().find(|stored| stored.id == owner).map_or_else(|| owner.to_string(), |stored| stored.name.clone());
        eprintln!("deskbridge: the session is known to belong to “{name}” already; retry the event instead");
        return Ok(ExitCode::FAILURE);
    }
    let events = opened.store.assign_events(&row.account, &row.lsid, chosen.id, now).await?;
    println!("{events} {} of session {} assigned to {}", if events == 1 { "event" } else { "events" }, row.lsid, chosen.name);
    Ok(ExitCode::SUCCESS)
}

fn unknown(id: Uuid) -> ExitCode {
    eprintln!("deskbridge: there is no event {id}; `deskbridge events list` shows their ids");
    ExitCode::FAILURE
}

fn show(row: &EventRow, attempts: &[AttemptRow]) {
    println!("id          {}", row.id);
    println!("connection  {}", shown_connection(row));
    println!("account     {}", row.account);
    println!("kind        {} ({})", row.kind, row.origin);
    println!("lsid        {}", row.lsid);
    println!("received    {}", rfc3339(row.received_at));
    println!("state       {} after {} attempts", row.state, row.attempts);
    if row.state == "ready" {
        println!("next try    {}", rfc3339(row.not_before));
    }
    println!("outcome     {}", row.outcome.as_deref().unwrap_or("nothing yet"));
    for attempt in attempts {
        let took = attempt.ended_at - attempt.leased_at;
        let next = attempt.next_at.map_or_else(String::new, |at| format!("; next try {}", rfc3339(at)));
        println!("attempt     {} {} after {took} ms{next}: {}", rfc3339(attempt.leased_at), attempt.result, attempt.message);
    }
}
