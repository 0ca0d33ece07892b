//! `deskbridge config apply | export | schema`.

use clap::Subcommand;
use deskbridge_core::settings::{Settings, schema};
use deskbridge_use_cases::apply_settings::{self, Target, without_secrets};
use deskbridge_use_cases::connections::{open_settings, sections};

use super::{ConfigFile, Opened, open};

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
            println!("{}", serde_json::to_string_pretty(&schema(sections()))?);
            Ok(())
        }
    }
}

/// Saves the file's connections where they differ from the stored ones. The answer says what was done.
pub(crate) async fn apply(opened: &Opened, settings: &Settings, prune: bool) -> anyhow::Result<Vec<String>> {
    let target = Target { store: opened.store.as_ref(), master_key: &opened.master_key, clock: &opened.clock };
    Ok(apply_settings::apply(&target, &settings.connection, prune).await?)
}

async fn export(file: &ConfigFile) -> anyhow::Result<()> {
    let mut settings = file.load()?;
    let opened = open(&settings.server).await?;
    let stored = opened.store.connections().await?;
    let stored = stored.iter().map(|row| open_settings(&opened.master_key, row)).collect::<Result<Vec<_>, _>>()?;
    settings.connection = stored.into_iter().map(without_secrets).collect();
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
