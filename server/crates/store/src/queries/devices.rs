//! Paired browsers and their codes.

use std::collections::HashSet;

use async_trait::async_trait;
use deskbridge_core::ids::ConnectionId;
use sqlx::{QueryBuilder, Row};
use uuid::Uuid;

use super::api_tokens::delete_tokens_of;
use super::{Db, DbRow, DbTransaction, Retention, SqlStore, damaged, insert_chunks, tenant_of};
use crate::{
    CodeId, Device, DeviceGrant, DeviceStore, DevicesOf, NewDevice, NewPairingCode, Pairing, PairingCode, Result, Revoked, SeenRequest,
    Withdrawal,
};

#[cfg(test)]
pub(super) const RETENTIONS: [Retention; 3] = [REQUESTS, CODES, REVOKED];
const REQUESTS: Retention = Retention { table: "device_nonce", key: "fingerprint", time: "keep_until", condition: "TRUE" };
const CODES: Retention = Retention { table: "pairing_code", key: "code_hash", time: "expires_at", condition: "TRUE" };
const REVOKED: Retention = Retention { table: "device", key: "id", time: "revoked_at", condition: "revoked_at IS NOT NULL" };

/// A JSON list.
fn ids(connections: &[ConnectionId]) -> String {
    serde_json::to_string(connections).unwrap_or_default()
}

fn parse_ids(json: &str) -> Result<Vec<ConnectionId>> {
    serde_json::from_str(json).map_err(|_| damaged("a device's or code's connections"))
}

fn grant(row: &DbRow) -> Result<DeviceGrant> {
    Ok(DeviceGrant {
        agent_name: row.try_get("agent_name")?,
        agent_email: row.try_get("agent_email")?,
        connections: parse_ids(row.try_get("connections")?)?,
    })
}

fn hash(bytes: &[u8]) -> Result<[u8; 32]> {
    bytes.try_into().map_err(|_| damaged("a code's hash"))
}

fn device(row: &DbRow) -> Result<Device> {
    let code_hash: Option<Vec<u8>> = row.try_get("code_hash")?;
    Ok(Device {
        tenant: tenant_of(row)?,
        id: Uuid::from_slice(row.try_get("id")?).map_err(|_| damaged("a device's id"))?,
        public_key: row.try_get("public_key")?,
        name: row.try_get("name")?,
        browser: row.try_get("browser")?,
        grant: grant(row)?,
        code_hash: code_hash.as_deref().map(hash).transpose()?,
        paired_at: row.try_get("paired_at")?,
        used_at: row.try_get("used_at")?,
        revoked_at: row.try_get("revoked_at")?,
    })
}

fn pairing_code(row: &DbRow) -> Result<PairingCode> {
    Ok(PairingCode {
        id: CodeId::of(&hash(row.try_get("code_hash")?)?),
        grant: grant(row)?,
        uses_left: row.try_get("uses_left")?,
        paired: row.try_get("paired")?,
        created_at: row.try_get("created_at")?,
        expires_at: row.try_get("expires_at")?,
    })
}

/// Adds the condition that holds for these devices, and for the codes that pair them.
fn push_condition(statement: &mut QueryBuilder<Db>, which: &DevicesOf) {
    match which {
        DevicesOf::Agent(agent) => statement
            .push("(agent_name = ")
            .push_bind(agent.clone())
            .push(" OR agent_name IS NULL AND lower(agent_email) = lower(")
            .push_bind(agent.clone())
            .push("))"),
        DevicesOf::Email(address) => statement.push("lower(agent_email) = lower(").push_bind(address.clone()).push(")"),
        DevicesOf::Code(id) => statement.push("substr(code_hash, 1, 8) = ").push_bind(id.0.to_vec()),
    };
}

/// Rows that may grant a connection (`$1`: a LIKE pattern of its id), and how they get others. Written as they are, which locks them. Codes
/// first: a browser that is being paired holds its code's row, so it is a device before devices are read, or finds its code changed.
const GRANTS: [(&str, &str); 2] = [
    (
        "UPDATE pairing_code SET connections = connections WHERE connections LIKE $1 RETURNING code_hash AS id, connections",
        "UPDATE pairing_code SET connections = $2 WHERE code_hash = $1",
    ),
    (
        "UPDATE device SET connections = connections WHERE connections LIKE $1 AND revoked_at IS NULL RETURNING id, connections",
        "UPDATE device SET connections = $2 WHERE id = $1",
    ),
];

/// Ends what was granted for a connection. A device without a connection stays to be seen and opens nothing; a code without one goes.
pub(super) async fn end_grants(transaction: &mut DbTransaction, connection: ConnectionId) -> Result<()> {
    sqlx::query("UPDATE agent_session SET record = '' WHERE connection = $1 AND record <> ''")
        .bind(connection.to_string())
        .execute(&mut **transaction)
        .await?;
    for (lock, change) in GRANTS {
        for row in sqlx::query(lock).bind(format!("%{connection}%")).fetch_all(&mut **transaction).await? {
            let mut left = parse_ids(row.try_get("connections")?)?;
            left.retain(|granted| *granted != connection);
            let id: Vec<u8> = row.try_get("id")?;
            sqlx::query(change).bind(id).bind(ids(&left)).execute(&mut **transaction).await?;
        }
    }
    sqlx::query("DELETE FROM pairing_code WHERE connections = '[]'").execute(&mut **transaction).await?;
    delete_tokens_of(transaction, connection).await
}

#[async_trait]
impl DeviceStore for SqlStore {
    async fn add_pairing_code(&self, code: &NewPairingCode) -> Result<()> {
        sqlx::query(
            "INSERT INTO pairing_code (tenant, code_hash, agent_name, agent_email, connections, uses_left, created_at, expires_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(code.tenant.as_str())
        .bind(&code.code_hash[..])
        .bind(&code.grant.agent_name)
        .bind(&code.grant.agent_email)
        .bind(ids(&code.grant.connections))
        .bind(code.uses)
        .bind(code.created_at)
        .bind(code.expires_at)
        .execute(&self.write)
        .await?;
        Ok(())
    }

    async fn list_pairing_codes(&self, limit: i64) -> Result<Vec<PairingCode>> {
        let rows = sqlx::query(
            "SELECT *, (SELECT count(*) FROM device d WHERE d.code_hash = pairing_code.code_hash) AS paired
             FROM pairing_code ORDER BY created_at DESC, code_hash LIMIT $1",
        )
        .bind(limit)
        .fetch_all(&self.read)
        .await?;
        rows.iter().map(pairing_code).collect()
    }

    async fn withdraw_pairing_code(&self, id: CodeId, now: i64) -> Result<Withdrawal> {
        let withdrawn =
            sqlx::query("UPDATE pairing_code SET expires_at = $2 WHERE substr(code_hash, 1, 8) = $1 AND expires_at > $2 AND uses_left > 0")
                .bind(&id.0[..])
                .bind(now)
                .execute(&self.write)
                .await?;
        if withdrawn.rows_affected() > 0 {
            return Ok(Withdrawal::Withdrawn);
        }
        let known =
            sqlx::query("SELECT 1 FROM pairing_code WHERE substr(code_hash, 1, 8) = $1").bind(&id.0[..]).fetch_optional(&self.read).await?;
        Ok(if known.is_some() { Withdrawal::EndedBefore } else { Withdrawal::UnknownCode })
    }

    async fn pair_device(&self, code_hash: &[u8; 32], new: &NewDevice, now: i64) -> Result<Pairing> {
        // Only read, so that whoever guesses codes holds up no writer.
        let known =
            sqlx::query("SELECT 1 FROM pairing_code WHERE code_hash = $1 UNION ALL SELECT 1 FROM device WHERE public_key = $2 LIMIT 1")
                .bind(&code_hash[..])
                .bind(&new.public_key)
                .fetch_optional(&self.read)
                .await?;
        if known.is_none() {
            return Ok(Pairing::UnknownCode);
        }
        let mut transaction = self.write.begin().await?;
        // The row stays locked until the end: of many that come at once, as many pair as the code has uses, and a browser that asks twice
        // finds the device of its first request.
        let taken = sqlx::query(
            "UPDATE pairing_code SET uses_left = uses_left - 1 WHERE code_hash = $1 AND uses_left > 0 AND expires_at > $2
             RETURNING tenant, agent_name, agent_email, connections",
        )
        .bind(&code_hash[..])
        .bind(now)
        .fetch_optional(&mut *transaction)
        .await?;
        // Whoever has paired hears so, whatever has become of the code. Without a commit the use is given back.
        let paired =
            sqlx::query("SELECT * FROM device WHERE public_key = $1").bind(&new.public_key).fetch_optional(&mut *transaction).await?;
        if let Some(paired) = paired.as_ref().map(device).transpose()? {
            let same_code = paired.code_hash.as_ref() == Some(code_hash);
            return Ok(if same_code && paired.revoked_at.is_none() { Pairing::PairedBefore(paired) } else { Pairing::AlreadyPaired });
        }
        let Some(taken) = taken else {
            let code = sqlx::query("SELECT uses_left FROM pairing_code WHERE code_hash = $1")
                .bind(&code_hash[..])
                .fetch_optional(&mut *transaction)
                .await?;
            return match code.map(|row| row.try_get::<i32, _>("uses_left")).transpose()? {
                None => Ok(Pairing::UnknownCode),
                Some(uses_left) if uses_left > 0 => Ok(Pairing::CodeExpired),
                Some(_) => Ok(Pairing::CodeUsed),
            };
        };
        let (tenant, grant) = (tenant_of(&taken)?, grant(&taken)?);
        let paired = sqlx::query(
            "INSERT INTO device (tenant, id, public_key, name, browser, agent_name, agent_email, connections, paired_at, code_hash)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (public_key) DO NOTHING",
        )
        .bind(tenant.as_str())
        .bind(&new.id.as_bytes()[..])
        .bind(&new.public_key)
        .bind(&new.name)
        .bind(&new.browser)
        .bind(&grant.agent_name)
        .bind(&grant.agent_email)
        .bind(ids(&grant.connections))
        .bind(now)
        .bind(&code_hash[..])
        .execute(&mut *transaction)
        .await?;
        if paired.rows_affected() == 0 {
            // The same browser with another code, at once. This code is given back.
            return Ok(Pairing::AlreadyPaired);
        }
        transaction.commit().await?;
        Ok(Pairing::Paired(Device {
            tenant,
            id: new.id,
            public_key: new.public_key.clone(),
            name: new.name.clone(),
            browser: new.browser.clone(),
            grant,
            code_hash: Some(*code_hash),
            paired_at: now,
            used_at: None,
            revoked_at: None,
        }))
    }

    async fn device(&self, id: Uuid) -> Result<Option<Device>> {
        let row = sqlx::query("SELECT * FROM device WHERE id = $1").bind(&id.as_bytes()[..]).fetch_optional(&self.read).await?;
        row.as_ref().map(device).transpose()
    }

    async fn list_devices(&self, limit: i64) -> Result<Vec<Device>> {
        let rows = sqlx::query("SELECT * FROM device ORDER BY id DESC LIMIT $1").bind(limit).fetch_all(&self.read).await?;
        rows.iter().map(device).collect()
    }

    async fn revoke_device(&self, id: Uuid, now: i64) -> Result<bool> {
        let revoked = sqlx::query("UPDATE device SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL")
            .bind(&id.as_bytes()[..])
            .bind(now)
            .execute(&self.write)
            .await?;
        Ok(revoked.rows_affected() == 1)
    }

    async fn revoke_devices_of(&self, which: &DevicesOf, now: i64) -> Result<Revoked> {
        let mut transaction = self.write.begin().await?;
        // Codes first: see GRANTS.
        let mut withdraw = QueryBuilder::<Db>::new("UPDATE pairing_code SET expires_at = ");
        withdraw.push_bind(now).push(" WHERE uses_left > 0 AND expires_at > ").push_bind(now).push(" AND ");
        push_condition(&mut withdraw, which);
        let codes = withdraw.build().execute(&mut *transaction).await?.rows_affected();
        let mut revoke = QueryBuilder::<Db>::new("UPDATE device SET revoked_at = ");
        revoke.push_bind(now).push(" WHERE revoked_at IS NULL AND ");
        push_condition(&mut revoke, which);
        let devices = revoke.build().execute(&mut *transaction).await?.rows_affected();
        transaction.commit().await?;
        Ok(Revoked { devices, codes })
    }

    async fn touch_device(&self, id: Uuid, used_at: i64) -> Result<()> {
        sqlx::query("UPDATE device SET used_at = $2 WHERE id = $1").bind(&id.as_bytes()[..]).bind(used_at).execute(&self.write).await?;
        Ok(())
    }

    async fn remember_requests(&self, requests: &[SeenRequest]) -> Result<Vec<bool>> {
        let mut transaction = self.write.begin().await?;
        let mut new = HashSet::new();
        for chunk in insert_chunks(requests) {
            let mut insert = QueryBuilder::<Db>::new("INSERT INTO device_nonce (tenant, fingerprint, keep_until) ");
            insert.push_values(chunk, |mut values, request| {
                values.push_bind(request.tenant.as_str().to_owned()).push_bind(request.fingerprint.to_vec()).push_bind(request.keep_until);
            });
            insert.push(" ON CONFLICT DO NOTHING RETURNING fingerprint");
            for row in insert.build().fetch_all(&mut *transaction).await? {
                new.insert(row.try_get::<Vec<u8>, _>("fingerprint")?);
            }
        }
        transaction.commit().await?;
        // Of two that are the same, the first.
        Ok(requests.iter().map(|request| new.remove(request.fingerprint.as_slice())).collect())
    }

    async fn purge_devices(&self, now: i64, codes_before: i64, devices_before: i64, limit: i64) -> Result<u64> {
        let requests = self.purge(&REQUESTS, now, limit).await?;
        let codes = self.purge(&CODES, codes_before, limit).await?;
        Ok(requests + codes + self.purge(&REVOKED, devices_before, limit).await?)
    }
}
