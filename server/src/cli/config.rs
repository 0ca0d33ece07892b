//! `deskbridge config apply | export | schema`.

use anyhow::Context;
use clap::Subcommand;

use super::{ConfigFile, Opened, open};
use crate::config::{ConnectionSettings, Settings, ZendeskSection, schema};
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
        let sealed = seal_settings(&opened.master_key, &wanted, updated_at);
        // Stored settings that cannot be read may have been for any system.
        if before.as_ref().is_some_and(|before| ticket_system(before) == ticket_system(&wanted)) {
            opened.store.save_connection(&sealed, wanted.disabled).await?;
            done.push(format!("{}: changed", wanted.name));
            continue;
        }
        opened.store.replace_connection(&sealed, wanted.disabled).await?;
        if row.is_some() {
            tracing::warn!(
                connection = wanted.name,
                "another ticket system than before: its devices, pairing codes and sessions have ended"
            );
            done.push(format!("{}: changed to another ticket system; its devices, pairing codes and sessions have ended", wanted.name));
        } else {
            done.push(format!("{}: added", wanted.name));
        }
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

/// Which help desk a connection is for: while this stays, what was granted for the connection holds.
fn ticket_system(settings: &ConnectionSettings) -> (&'static str, Vec<String>) {
    let plain = |address: &str| url::Url::parse(address).map_or_else(|_| address.to_owned(), String::from).trim_end_matches('/').to_owned();
    if let Some(autotask) = &settings.autotask {
        // The API user decides the tenant; what stands behind the @ is the tenant's.
        let tenant = autotask.username.rsplit('@').next().unwrap_or_default().to_ascii_lowercase();
        return ("autotask", [tenant].into_iter().chain(autotask.services_url.as_deref().map(plain)).collect());
    }
    if let Some(osticket) = &settings.osticket {
        return ("osticket", vec![plain(&osticket.url)]);
    }
    ("zendesk", settings.zendesk.iter().map(ZendeskSection::origin).collect())
}

/// An exported file says "as stored" where a literal secret was.
fn keep_stored_secrets(wanted: &mut ConnectionSettings, before: Option<&mut ConnectionSettings>) -> anyhow::Result<()> {
    let name = wanted.name.clone();
    let mut kept = before.map(ConnectionSettings::secrets_by_key).unwrap_or_default();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_help_desk_is_known_by_its_address_or_tenant() {
        let system = |section: &str| {
            let appliance = "[[connection]]\nname = \"a\"\n[connection.appliance]\nid = \"a\"\nhost = \"support.example.com\"\n\
                             client_id = \"c\"\nclient_secret = \"s\"\n";
            let settings = Settings::parse("test", &format!("{appliance}{section}"), std::iter::empty()).unwrap();
            ticket_system(&settings.connection[0])
        };
        let check = |one: &str, other: &str, same| assert_eq!(system(one) == system(other), same, "{one}\n{other}");
        let zendesk = |url: &str, user: &str| {
            let rest = "token = \"t\"\napp_id = 1\ninstallation_id = 2";
            format!("[connection.zendesk]\nurl = \"{url}\"\nusername = \"{user}@example.com\"\n{rest}")
        };
        let autotask = |user: &str, more: &str| {
            format!("[connection.autotask]\nusername = \"{user}\"\nsecret = \"s\"\nintegration_code = \"i\"\n{more}")
        };
        let osticket = |url: &str| format!("[connection.osticket]\nurl = \"{url}\"");
        check(&zendesk("https://acme.zendesk.com", "a"), &zendesk("https://ACME.zendesk.com/", "b"), true);
        check(&zendesk("https://acme.zendesk.com", "a"), &zendesk("https://acme2.zendesk.com", "a"), false);
        check(&autotask("abc@ACME.COM", ""), &autotask("xyz@acme.com", "update_time_entry = false"), true);
        check(&autotask("abc@acme.com", ""), &autotask("abc@other.example", ""), false);
        check(&autotask("abc@acme.com", ""), &autotask("abc@acme.com", "services_url = \"https://webservices5.autotask.net/\""), false);
        check(&osticket("https://help.example.com/support/"), &osticket("https://help.example.com/support"), true);
        check(&osticket("https://help.example.com/support/"), &osticket("https://help.example.com/other/"), false);
        check(&osticket("https://acme.zendesk.com"), &zendesk("https://acme.zendesk.com", "a"), false);
    }
}
