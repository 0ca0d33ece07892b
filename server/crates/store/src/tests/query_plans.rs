//! Statements that run often, or over tables that grow, find their rows by index.

use super::database::{Raw, on_each};

/// Puts literals in place of a statement's parameters.
fn with_values(statement: &str, values: &[&str]) -> String {
    let numbered = values.iter().enumerate().rev();
    numbered.fold(statement.to_owned(), |statement, (index, value)| statement.replace(&format!("${}", index + 1), value))
}

/// Reads `table` by `index` and never as a whole.
fn check(plan: &str, table: &str, alias: &str, index: &str) {
    assert!(plan.contains(index), "{index} is not used:\n{plan}");
    let whole = |line: &&str| {
        let step = line.trim();
        let sqlite = [format!("SCAN {alias}"), format!("SCAN {table}")].iter().any(|scan| step == scan);
        sqlite || step.contains(&format!("Seq Scan on {table}"))
    };
    assert_eq!(plan.lines().find(whole), None, "{table} is read as a whole:\n{plan}");
}

#[tokio::test]
async fn slots_and_claims_are_found_by_index() {
    on_each(async |url| {
        drop(crate::open(&url).await.unwrap());
        let raw = Raw::connect(&url).await;
        let slots = raw.plan(&with_values(crate::due::SLOTS_WITH_WORK, &["7"])).await;
        check(&slots, "inbox_event", "e", "inbox_event_due");
        check(&slots, "inbox_event", "e", "inbox_event_next");
        // Once to the next slot, once into the slot.
        assert_eq!(slots.matches("inbox_event_due").count(), 2, "{slots}");
        let claim = match &raw {
            Raw::Sqlite(_) => crate::sqlite::CLAIM,
            Raw::Postgres(_) => crate::postgres::CLAIM,
        };
        let claim = raw.plan(&with_values(claim, &["'slot'", "NULL", "7", "8", "10"])).await;
        for index in ["inbox_event_due", "inbox_event_session", "inbox_event_ticket"] {
            check(&claim, "inbox_event", "e", index);
        }
        raw.close().await;
    })
    .await;
}

/// Every open panel asks for them again and again.
#[tokio::test]
async fn links_of_a_ticket_are_found_by_index() {
    on_each(async |url| {
        drop(crate::open(&url).await.unwrap());
        let raw = Raw::connect(&url).await;
        let plan = raw.plan(&with_values(crate::machine_links::LINKS_OF_TICKET, &["'connection'", "'1'", "7"])).await;
        check(&plan, "machine_link", "machine_link", "machine_link_ticket");
        raw.close().await;
    })
    .await;
}

#[tokio::test]
async fn tickets_of_requests_for_help_are_found_by_index() {
    on_each(async |url| {
        drop(crate::open(&url).await.unwrap());
        let raw = Raw::connect(&url).await;
        let plan = raw.plan(&with_values(crate::help_tickets::MACHINES_OF_TICKET, &["'connection'", "'1'"])).await;
        check(&plan, "help_ticket", "help_ticket", "help_ticket_ticket");
        let plan = raw.plan(&with_values(crate::help_tickets::CURRENT_OF_MACHINE, &["'connection'", "'node//a'"])).await;
        check(&plan, "help_ticket", "help_ticket", "help_ticket_machine");
        check(&plan, "inbox_event", "e", "inbox_event_lsid");
        raw.close().await;
    })
    .await;
}

#[tokio::test]
async fn rows_to_purge_are_found_by_index() {
    let index_of = [
        ("agent_session", "agent_session_keep"),
        ("api_token", "api_token_revoked"),
        ("delivery", "delivery_changed"),
        ("device", "device_revoked"),
        ("device_nonce", "device_nonce_keep"),
        ("former_sweep", ""),
        ("help_ticket", "help_ticket_asked"),
        ("handed_out", "handed_out_usable"),
        ("inbox_event", "inbox_event_done"),
        ("incident", "incident_closed"),
        ("listener", "listener_held"),
        ("machine_link", "machine_link_over"),
        ("note_lease", "note_lease_until"),
        ("customer_chat", "customer_chat_expires"),
        ("use_count", "use_count_ends"),
        ("pairing_code", "pairing_code_expires"),
        ("session_owner", "session_owner_decided"),
        ("support_session", "support_session_seen"),
        ("sweep", "sweep_next"),
    ];
    on_each(async |url| {
        drop(crate::open(&url).await.unwrap());
        let raw = Raw::connect(&url).await;
        let statements = match &raw {
            Raw::Sqlite(_) => crate::sqlite::purge_statements(),
            Raw::Postgres(_) => crate::postgres::purge_statements(),
        };
        assert_eq!(statements.len(), index_of.len());
        for statement in statements {
            let table = statement.split(' ').nth(2).unwrap();
            let (_, index) = index_of.iter().find(|(name, _)| *name == table).unwrap();
            // The few rows of the accounts swept before migration 0005 need none.
            if !index.is_empty() {
                check(&raw.plan(&with_values(&statement, &["7", "10"])).await, table, table, index);
            }
        }
        raw.close().await;
    })
    .await;
}

#[tokio::test]
async fn every_table_has_its_tenant() {
    on_each(async |url| {
        drop(crate::open(&url).await.unwrap());
        let raw = Raw::connect(&url).await;
        let without = match &raw {
            Raw::Sqlite(_) => {
                "SELECT name FROM sqlite_master WHERE type = 'table'
                 AND NOT EXISTS (SELECT 1 FROM pragma_table_info(sqlite_master.name) WHERE name = 'tenant') ORDER BY name"
            }
            Raw::Postgres(_) => {
                "SELECT tablename::TEXT FROM pg_tables WHERE schemaname = 'public'
                 AND NOT EXISTS (SELECT 1 FROM information_schema.columns WHERE table_name = tablename AND column_name = 'tenant') ORDER BY 1"
            }
        };
        assert_eq!(raw.texts(without).await, ["_sqlx_migrations", "connection_stamp"], "the stamp is over all tenants");
        raw.close().await;
    })
    .await;
}
