//! The migrations of both databases, embedded.
//!
//! They are listed here, because the macro of sqlx that reads the folders needs both drivers, TLS and two C libraries compiled once more,
//! for the machine that compiles.

use sqlx::SqlStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};

/// Version, name and statements of each migration in a folder of `migrations/`.
macro_rules! migrations {
    ($folder:literal) => {
        crate::migrations::migrator(&[
            (1, "begin", include_str!(concat!("../migrations/", $folder, "/0001_begin.sql"))),
            (2, "devices", include_str!(concat!("../migrations/", $folder, "/0002_devices.sql"))),
            (3, "attempts", include_str!(concat!("../migrations/", $folder, "/0003_attempts.sql"))),
            (4, "pairing", include_str!(concat!("../migrations/", $folder, "/0004_pairing.sql"))),
            (5, "ids and tenants", include_str!(concat!("../migrations/", $folder, "/0005_ids_and_tenants.sql"))),
            (6, "note leases", include_str!(concat!("../migrations/", $folder, "/0006_note_leases.sql"))),
            (7, "customer chats", include_str!(concat!("../migrations/", $folder, "/0007_customer_chats.sql"))),
            (8, "listeners", include_str!(concat!("../migrations/", $folder, "/0008_listeners.sql"))),
            (9, "session kinds", include_str!(concat!("../migrations/", $folder, "/0009_session_kinds.sql"))),
            (10, "listener clocks", include_str!(concat!("../migrations/", $folder, "/0010_listener_clocks.sql"))),
            (11, "api tokens", include_str!(concat!("../migrations/", $folder, "/0011_api_tokens.sql"))),
            (12, "incidents", include_str!(concat!("../migrations/", $folder, "/0012_incidents.sql"))),
            (13, "help tickets", include_str!(concat!("../migrations/", $folder, "/0013_help_tickets.sql"))),
        ])
    };
}
pub(crate) use migrations;

pub(crate) fn migrator(migrations: &[(i64, &'static str, &'static str)]) -> Migrator {
    let migration = |(version, name, sql): &(i64, &'static str, &'static str)| {
        Migration::new(*version, (*name).into(), MigrationType::Simple, SqlStr::from_static(sql), false)
    };
    Migrator::with_migrations(migrations.iter().map(migration).collect())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    #[test]
    fn every_file_is_listed() {
        let manifest = std::env::var("CARGO_MANIFEST_DIR").unwrap();
        for (folder, listed) in [("sqlite", &crate::sqlite::MIGRATOR), ("postgres", &crate::postgres::MIGRATOR)] {
            let files = std::fs::read_dir(format!("{manifest}/migrations/{folder}")).unwrap();
            let files: BTreeSet<String> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
            let name = |one: &sqlx::migrate::Migration| format!("{:04}_{}.sql", one.version, one.description.replace(' ', "_"));
            assert_eq!(listed.iter().map(name).collect::<BTreeSet<_>>(), files, "{folder}");
        }
    }
}
