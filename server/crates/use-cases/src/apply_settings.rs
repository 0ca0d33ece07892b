//! Puts a settings file's connections into the database.

use std::collections::{HashMap, HashSet};

use deskbridge_core::clock::Clock;
use deskbridge_core::ids::{ConnectionId, TenantId};
use deskbridge_core::settings::{ConnectionSettings, Role, STORED, Secret};
use deskbridge_security::seal::MasterKey;
use deskbridge_store::{ConnectionStore, StoreError, StoredConnection};

use crate::connections::{open_settings, seal_settings, sections};

/// Why connections were not saved. Nothing of the connection it names was changed.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// A secret is to be kept, but nothing is stored.
    #[error("{connection}: {key} is to be kept as stored, but nothing is stored; write the secret, env:NAME or file:PATH")]
    NothingStored {
        /// The connection.
        connection: String,
        /// The key.
        key: String,
    },
    /// Another connection has the name.
    #[error("{name}: another connection has this name already; to rename a connection, give its id (`deskbridge config export` shows it)")]
    NameTaken {
        /// The name.
        name: String,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What is saved where.
pub struct Target<'a> {
    /// Where connections are kept.
    pub store: &'a dyn ConnectionStore,
    /// Seals their settings.
    pub master_key: &'a MasterKey,
    /// The time.
    pub clock: &'a Clock,
}

/// Saves the connections where they differ from the stored ones; `prune`: removes stored ones that are not among them. The answer says
/// what was done. A connection is known by its id, or by its name where it has none.
pub async fn apply(target: &Target<'_>, wanted: &[ConnectionSettings], prune: bool) -> Result<Vec<String>, ApplyError> {
    let tenant = TenantId::main();
    let mut stored = target.store.connections().await?;
    stored.retain(|row| row.tenant == tenant);
    let by_id: HashMap<ConnectionId, &StoredConnection> = stored.iter().map(|row| (row.id, row)).collect();
    let by_name: HashMap<&str, &StoredConnection> = stored.iter().map(|row| (row.name.as_str(), row)).collect();
    let mut done = Vec::new();
    let mut kept = HashSet::new();
    for connection in wanted {
        let named = by_name.get(connection.name.as_str()).copied();
        let row = match connection.id {
            Some(id) => by_id.get(&id).copied(),
            None => named,
        };
        let id = connection.id.or(row.map(|row| row.id)).unwrap_or_else(|| ConnectionId::new(target.clock));
        if named.is_some_and(|other| other.id != id) {
            return Err(ApplyError::NameTaken { name: connection.name.clone() });
        }
        kept.insert(id);
        done.push(save(target, &tenant, id, row, connection.clone()).await?);
        done.extend(connection.reports.out_of_date().map(|advice| format!("{}: {advice}", connection.name)));
    }
    for row in stored.iter().filter(|row| !kept.contains(&row.id)) {
        if prune {
            target.store.delete_connection(row.id).await?;
            done.push(format!("{}: removed", row.name));
        } else if !wanted.is_empty() {
            tracing::info!(connection = row.name, "stored, but not in the settings file; `deskbridge config apply --prune` removes it");
            done.push(format!("{}: stored, but not in the file (--prune removes it)", row.name));
        }
    }
    Ok(done)
}

/// These settings were tried, and all is well: where they are the stored ones, running servers take the connection up anew, so that nothing
/// of it rests any longer because of what was refused before.
pub async fn found_good(target: &Target<'_>, tried: &ConnectionSettings) -> Result<(), StoreError> {
    let tenant = TenantId::main();
    let rows = target.store.connections().await?;
    let Some(row) = rows.iter().find(|row| row.tenant == tenant && row.name == tried.name) else { return Ok(()) };
    let Ok(stored) = open_settings(target.master_key, row) else { return Ok(()) };
    if stored == (ConnectionSettings { id: Some(row.id), ..tried.clone() }) {
        target.store.touch_connection(row.id, row.updated_at, target.clock.now_ms().max(row.updated_at + 1)).await?;
    }
    Ok(())
}

async fn save(
    target: &Target<'_>,
    tenant: &TenantId,
    id: ConnectionId,
    row: Option<&StoredConnection>,
    mut wanted: ConnectionSettings,
) -> Result<String, ApplyError> {
    let mut before = row.and_then(|row| open_settings(target.master_key, row).ok());
    keep_stored_secrets(&mut wanted, before.as_mut())?;
    wanted.id = Some(id);
    let name = wanted.name.clone();
    if before.as_ref() == Some(&wanted) {
        return Ok(format!("{name}: unchanged"));
    }
    // Later than the stored time in any case, so that running servers see the change.
    let updated_at = target.clock.now_ms().max(row.map_or(0, |row| row.updated_at + 1));
    let sealed = seal_settings(target.master_key, id, tenant, &wanted, updated_at);
    let renamed = row.filter(|row| row.name != name).map_or_else(String::new, |row| format!(" (was {}, id {id})", row.name));
    // Stored settings that cannot be read may have been for any system.
    if before.as_ref().is_some_and(|before| help_desk(before) == help_desk(&wanted)) {
        target.store.save_connection(&sealed).await?;
        return Ok(format!("{name}: changed{renamed}"));
    }
    target.store.replace_connection(&sealed).await?;
    if row.is_none() {
        return Ok(format!("{name}: added"));
    }
    tracing::warn!(connection = name, "another ticket system than before: its devices, pairing codes, API tokens and sessions have ended");
    Ok(format!("{name}: changed to another ticket system; its devices, pairing codes, API tokens and sessions have ended{renamed}"))
}

/// Which help desk a connection is for: while this stays, what was granted for the connection holds.
fn help_desk(settings: &ConnectionSettings) -> Vec<(&'static str, Vec<String>)> {
    let own = sections().with(Role::HelpDesk).filter_map(|kind| Some((kind.name, (kind.identity)(settings.systems.get(kind.name)?))));
    own.collect()
}

/// An exported file says "as stored" where a literal secret was.
fn keep_stored_secrets(wanted: &mut ConnectionSettings, before: Option<&mut ConnectionSettings>) -> Result<(), ApplyError> {
    let connection = wanted.name.clone();
    let kept = before.map(|before| before.secrets_by_key(sections())).unwrap_or_default();
    for (key, secret) in wanted.secrets_by_key(sections()) {
        if secret == STORED {
            let stored = kept.iter().find(|(stored_key, _)| *stored_key == key);
            let (_, stored) = stored.ok_or_else(|| ApplyError::NothingStored { connection: connection.clone(), key })?;
            secret.clone_from(stored);
        }
    }
    Ok(())
}

/// The settings as they may be shown: literal secrets become the mark for "as stored", references stay.
pub fn without_secrets(mut settings: ConnectionSettings) -> ConnectionSettings {
    for (_, secret) in settings.secrets_by_key(sections()) {
        if !Secret::is_reference(secret) {
            STORED.clone_into(secret);
        }
    }
    settings
}

#[cfg(test)]
mod tests {
    use deskbridge_core::settings::Settings;

    use super::*;

    #[test]
    fn help_desk_is_known_by_its_address_or_tenant() {
        let system = |section: &str| {
            let appliance = "[[connection]]\nname = \"a\"\n[connection.appliance]\nid = \"a\"\nhost = \"support.example.com\"\n\
                             client_id = \"c\"\nclient_secret = \"s\"\n";
            let settings = Settings::parse(sections(), "test", &format!("{appliance}{section}"), std::iter::empty()).unwrap();
            help_desk(&settings.connection[0])
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
