//! Paired browsers: what is remembered of them, of the codes that pair them, and of requests seen before.
//!
//! Must not hold anything a copy of the database could be used with: codes and nonces stand here as hashes, keys as public keys.

use async_trait::async_trait;
use uuid::Uuid;

use super::Result;

/// For whom and for what a code pairs, and the browsers paired with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceGrant {
    /// The agent's name; none with a code for anybody.
    pub agent_name: Option<String>,
    /// The agent's address in the ticket systems.
    pub agent_email: Option<String>,
    /// Connection names.
    pub connections: Vec<String>,
}

/// A pairing code to store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewPairingCode {
    /// SHA-256 of the code in its stored form.
    pub code_hash: [u8; 32],
    /// What it grants.
    pub grant: DeviceGrant,
    /// How many browsers it pairs.
    pub uses: i32,
    /// Unix ms.
    pub created_at: i64,
    /// Unix ms.
    pub expires_at: i64,
}

/// A browser to pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewDevice {
    /// Its id from now on.
    pub id: Uuid,
    /// SPKI in DER, checked.
    pub public_key: Vec<u8>,
    /// What its person calls it.
    pub name: String,
    /// Browser and system, as it says itself.
    pub browser: Option<String>,
}

/// What became of a pairing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pairing {
    /// The browser is paired, and the code used once.
    Paired(Device),
    /// There is no such code.
    UnknownCode,
    /// The code paired as many browsers as it may.
    CodeUsed,
    /// The code is too old.
    CodeExpired,
    /// A device has this key, revoked or not; the code was not used.
    AlreadyPaired,
}

/// A paired browser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its id.
    pub id: Uuid,
    /// SPKI in DER.
    pub public_key: Vec<u8>,
    /// What its person calls it.
    pub name: String,
    /// Browser and system, as it said itself.
    pub browser: Option<String>,
    /// Whose it is, and for what.
    pub grant: DeviceGrant,
    /// Unix ms.
    pub paired_at: i64,
    /// Unix ms; kept to a minute's precision.
    pub used_at: Option<i64>,
    /// Unix ms; from then on it opens nothing.
    pub revoked_at: Option<i64>,
}

/// A request seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenRequest {
    /// SHA-256 over device and nonce.
    pub fingerprint: [u8; 32],
    /// Unix ms; later, its time alone refuses it.
    pub keep_until: i64,
}

/// The part of [`super::Store`] that knows devices.
#[async_trait]
pub trait DeviceStore: Send + Sync {
    /// Adds a pairing code.
    async fn add_pairing_code(&self, code: &NewPairingCode) -> Result<()>;
    /// Uses a code and pairs the browser, both or neither.
    async fn pair_device(&self, code_hash: &[u8; 32], device: &NewDevice, now: i64) -> Result<Pairing>;
    /// A device by its id, revoked or not.
    async fn device(&self, id: Uuid) -> Result<Option<Device>>;
    /// The newest devices, newest first.
    async fn list_devices(&self, limit: i64) -> Result<Vec<Device>>;
    /// Revokes a device; false if there is none of that id, or if it was revoked before.
    async fn revoke_device(&self, id: Uuid, now: i64) -> Result<bool>;
    /// Revokes all devices of the agent of that name; the answer counts those that were not revoked before.
    async fn revoke_devices_of(&self, agent_name: &str, now: i64) -> Result<u64>;
    /// Notes that a device was used.
    async fn touch_device(&self, id: Uuid, used_at: i64) -> Result<()>;
    /// Remembers requests in one commit. For each: false where it was seen before.
    async fn remember_requests(&self, requests: &[SeenRequest]) -> Result<Vec<bool>>;
    /// Removes requests that need not be remembered longer, and codes that ended before `codes_before` (Unix ms).
    async fn sweep_devices(&self, now: i64, codes_before: i64) -> Result<u64>;
}
