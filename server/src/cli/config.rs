//! `deskbridge config apply | export | schema`.

use anyhow::Context;
use clap::Subcommand;

use super::{ConfigFile, Opened, open};
use crate::config::{Settings, schema};
use crate::connections::{open_settings, seal_settings};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Put the file's connections into the database. `serve` does the same when it starts.
    Apply {
        #[command(flatten)]
        file: ConfigFile,
        /// Remove stored connections that the file does not name.
        #[arg(long)]
        prune: bool,
    },
    /// Print the stored connections as a settings file. Literal secrets are left out, a database password too.
    Export {
        #[command(flatten)]
        file: ConfigFile,
    },
    /// Print the JSON schema of the settings file.
    Schema,
}

pub(crate) async fn run(command: &Command) -> anyhow::Result<()> {
    match command {
        Command::Apply { file, prune } => {
            let settings = file.load()?;
            let opened = open(&settings.server).await?;
            for line in apply(&opened, &settings, *prune).await? {
                println!("{line}");
            }
            Ok(())
        }
        Command::Export { file } => export(file).await,
        Command::Schema => {
            println!("{}", serde_json::to_string_pretty(&schema())?);
            Ok(())
        }
    }
}

/// Saves the file's connections where they differ from the stored ones. The answer says what was done.
pub(crate) async fn apply(opened: &Opened, settings: &Settings, prune: bool) -> anyhow::Result<Vec<String>> {
    let stored = opened.store.connections().await?;
    let mut done = Vec::new();
    for wanted in &settings.connection {
        let mut wanted = wanted.clone();
        let row = stored.iter().find(|row| row.name == wanted.name);
        let mut before = row.and_then(|row| open_settings(&opened.master_key, row).ok());
        keep_stored_secrets(&mut wanted, before.as_mut())?;
        if before.as_ref() == Some(&wanted) {
            done.push(format!("{}: unchanged", wanted.name));
            continue;
        }
        // Later than the stored time in any case, so that running servers see the change.
        let updated_at = opened.clock.now_ms().max(row.map_or(0, |row| row.updated_at + 1));
        opened.store.save_connection(&seal_settings(&opened.master_key, &wanted, updated_at), wanted.disabled).await?;
        done.push(format!("{}: {}", wanted.name, if row.is_some() { "changed" } else { "added" }));
    }
    for row in &stored {
        if settings.connection.iter().any(|wanted| wanted.name == row.name) {
            continue;
        }
        if prune {
            opened.store.delete_connection(&row.name).await?;
            done.push(format!("{}: removed", row.name));
        } else if !settings.connection.is_empty() {
            tracing::info!(connection = row.name, "stored, but not in the settings file; `deskbridge config apply --prune` removes it");
            done.push(format!("{}: stored, but not in the file (--prune removes it)", row.name));
        }
    }
    Ok(done)
}

/// An exported file says "as stored" where a literal secret was.
fn keep_stored_secrets(
    wanted: &mut crate::config::ConnectionSettings,
    before: Option<&mut crate::config::ConnectionSettings>,
) -> anyhow::Result<()> {
    let name = wanted.name.clone();
    let mut kept = before.map(crate::config::ConnectionSettings::secrets_by_key).unwrap_or_default();
    for (key, secret) in wanted.secrets_by_key() {
        if secret.is_stored_mark() {
            let index = kept.iter().position(|(stored_key, _)| *stored_key == key);
            let index = index.with_context(|| {
                format!("{name}: {key} is to be kept as stored, but nothing is stored; write the secret, env:NAME or file:PATH")
            })?;
            *secret = kept.swap_remove(index).1.clone();
        }
    }
    Ok(())
}

async fn export(file: &ConfigFile) -> anyhow::Result<()> {
    let mut settings = file.load()?;
    let opened = open(&settings.server).await?;
    settings.connection =
        opened.store.connections().await?.iter().map(|row| open_settings(&opened.master_key, row)).collect::<Result<_, _>>()?;
    for connection in &mut settings.connection {
        for (_, secret) in connection.secrets_by_key() {
            secret.hide_literal();
        }
    }
    settings.server.database = without_password(&settings.server.database);
    print!("{}", toml::to_string_pretty(&settings)?);
    Ok(())
}

/// A database's URL without a literal password; PGPASSWORD or `DESKBRIDGE_DATABASE` can stand in for it.
fn without_password(database: &str) -> String {
    match url::Url::parse(database) {
        Ok(mut url) if url.password().is_some() => {
            // Fails only for addresses that cannot have one.
            let _ = url.set_password(None);
            url.into()
        }
        _ => database.to_owned(),
    }
}
