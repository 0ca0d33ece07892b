//! The statements about devices, compiled for both databases like those of `queries.rs`.

use std::collections::HashSet;

use async_trait::async_trait;
use sqlx::{QueryBuilder, Row};
use uuid::Uuid;

use super::{Db, DbRow, SqlStore, damaged, insert_chunks};
use crate::store::{Device, DeviceGrant, DeviceStore, NewDevice, NewPairingCode, Pairing, Result, SeenRequest};

fn names(connections: &[String]) -> String {
    serde_json::to_string(connections).unwrap_or_default()
}

fn grant(row: &DbRow) -> Result<DeviceGrant> {
    Ok(DeviceGrant {
        agent_name: row.try_get("agent_name")?,
        agent_email: row.try_get("agent_email")?,
        connections: serde_json::from_str(row.try_get("connections")?).map_err(|_| damaged("a device's connections"))?,
    })
}

fn device(row: &DbRow) -> Result<Device> {
    Ok(Device {
        id: Uuid::from_slice(row.try_get("id")?).map_err(|_| damaged("a device's id"))?,
        public_key: row.try_get("public_key")?,
        name: row.try_get("name")?,
        browser: row.try_get("browser")?,
        grant: grant(row)?,
        paired_at: row.try_get("paired_at")?,
        used_at: row.try_get("used_at")?,
        revoked_at: row.try_get("revoked_at")?,
    })
}

#[async_trait]
impl DeviceStore for SqlStore {
    async fn add_pairing_code(&self, code: &NewPairingCode) -> Result<()> {
        sqlx::query(
            "INSERT INTO pairing_code (code_hash, agent_name, agent_email, connections, uses_left, created_at, expires_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(&code.code_hash[..])
        .bind(&code.grant.agent_name)
        .bind(&code.grant.agent_email)
        .bind(names(&code.grant.connections))
        .bind(code.uses)
        .bind(code.created_at)
        .bind(code.expires_at)
        .execute(&self.write)
        .await?;
        Ok(())
    }

    async fn pair_device(&self, code_hash: &[u8; 32], new: &NewDevice, now: i64) -> Result<Pairing> {
        let mut transaction = self.write.begin().await?;
        // First the key: whoever has paired hears so, whatever has become of the code.
        let known =
            sqlx::query("SELECT 1 FROM device WHERE public_key = $1").bind(&new.public_key).fetch_optional(&mut *transaction).await?;
        if known.is_some() {
            return Ok(Pairing::AlreadyPaired);
        }
        // The row stays locked until the end: of many that come at once, as many pair as the code has uses.
        let taken = sqlx::query(
            "UPDATE pairing_code SET uses_left = uses_left - 1 WHERE code_hash = $1 AND uses_left > 0 AND expires_at > $2
             RETURNING agent_name, agent_email, connections",
        )
        .bind(&code_hash[..])
        .bind(now)
        .fetch_optional(&mut *transaction)
        .await?;
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
        let grant = grant(&taken)?;
        let paired = sqlx::query(
            "INSERT INTO device (id, public_key, name, browser, agent_name, agent_email, connections, paired_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (public_key) DO NOTHING",
        )
        .bind(&new.id.as_bytes()[..])
        .bind(&new.public_key)
        .bind(&new.name)
        .bind(&new.browser)
        .bind(&grant.agent_name)
        .bind(&grant.agent_email)
        .bind(names(&grant.connections))
        .bind(now)
        .execute(&mut *transaction)
        .await?;
        if paired.rows_affected() == 0 {
            // The same browser, twice at once. The code is given back.
            return Ok(Pairing::AlreadyPaired);
        }
        transaction.commit().await?;
        Ok(Pairing::Paired(Device {
            id: new.id,
            public_key: new.public_key.clone(),
            name: new.name.clone(),
            browser: new.browser.clone(),
            grant,
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

    async fn revoke_devices_of(&self, agent_name: &str, now: i64) -> Result<u64> {
        let revoked = sqlx::query("UPDATE device SET revoked_at = $2 WHERE agent_name = $1 AND revoked_at IS NULL")
            .bind(agent_name)
            .bind(now)
            .execute(&self.write)
            .await?;
        Ok(revoked.rows_affected())
    }

    async fn touch_device(&self, id: Uuid, used_at: i64) -> Result<()> {
        sqlx::query("UPDATE device SET used_at = $2 WHERE id = $1").bind(&id.as_bytes()[..]).bind(used_at).execute(&self.write).await?;
        Ok(())
    }

    async fn remember_requests(&self, requests: &[SeenRequest]) -> Result<Vec<bool>> {
        let mut transaction = self.write.begin().await?;
        let mut new = HashSet::new();
        for chunk in insert_chunks(requests) {
            let mut insert = QueryBuilder::<Db>::new("INSERT INTO device_nonce (fingerprint, keep_until) ");
            insert.push_values(chunk, |mut values, request| {
                values.push_bind(request.fingerprint.to_vec()).push_bind(request.keep_until);
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

    async fn sweep_devices(&self, now: i64, codes_before: i64) -> Result<u64> {
        let requests = sqlx::query("DELETE FROM device_nonce WHERE keep_until < $1").bind(now).execute(&self.write).await?;
        let codes = sqlx::query("DELETE FROM pairing_code WHERE expires_at < $1").bind(codes_before).execute(&self.write).await?;
        Ok(requests.rows_affected() + codes.rows_affected())
    }
}
