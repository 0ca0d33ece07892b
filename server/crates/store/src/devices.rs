//! Paired browsers: what is remembered of them, of the codes that pair them, and of requests seen before.
//!
//! Must not hold anything a copy of the database could be used with: codes and nonces stand here as hashes, keys as public keys.

use std::fmt;
use std::str::FromStr;

use async_trait::async_trait;
use uuid::Uuid;

use deskbridge_core::ids::{ConnectionId, TenantId};

use crate::Result;

/// A pairing code's name for people: the beginning of its hash. It pairs nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodeId(pub [u8; CodeId::BYTES]);

impl CodeId {
    /// Of the hash's 32 bytes. The statements count on it.
    pub const BYTES: usize = 8;

    /// The id of the code with this hash.
    pub fn of(code_hash: &[u8; 32]) -> Self {
        let mut id = [0; Self::BYTES];
        id.copy_from_slice(&code_hash[..Self::BYTES]);
        Self(id)
    }
}

impl fmt::Display for CodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for CodeId {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = text.len() == 2 * Self::BYTES && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = if plain { u64::from_str_radix(text, 16).ok() } else { None };
        number.map(|number| Self(number.to_be_bytes())).ok_or("expected a code's id: 16 hexadecimal characters")
    }
}

/// For whom and for what a code pairs, and the browsers paired with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceGrant {
    /// The agent's name; none with a code for anybody.
    pub agent_name: Option<String>,
    /// The agent's address in the ticket systems.
    pub agent_email: Option<String>,
    /// The connections.
    pub connections: Vec<ConnectionId>,
}

/// A pairing code to store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewPairingCode {
    /// Whose it is.
    pub tenant: TenantId,
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

/// A pairing code as people see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairingCode {
    /// Its id.
    pub id: CodeId,
    /// What it grants.
    pub grant: DeviceGrant,
    /// How many browsers it pairs yet.
    pub uses_left: i32,
    /// How many devices it has paired, revoked ones too.
    pub paired: i64,
    /// Unix ms.
    pub created_at: i64,
    /// Unix ms; earlier than planned if it was withdrawn.
    pub expires_at: i64,
}

/// What became of a code that was to be withdrawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Withdrawal {
    /// It pairs no more.
    Withdrawn,
    /// It paired no more before.
    EndedBefore,
    /// There is no such code.
    UnknownCode,
}

/// Several devices, and the codes they come with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DevicesOf {
    /// An agent's, by name, or by address where there is no name.
    Agent(String),
    /// An agent's, by address; capitals do not matter.
    Email(String),
    /// Those paired with that code.
    Code(CodeId),
}

/// What a revocation of several devices ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revoked {
    /// Devices that were not revoked before.
    pub devices: u64,
    /// Codes that could still pair.
    pub codes: u64,
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
    /// The browser was paired with this same code before, and is not revoked: its answer was lost. Nothing was used.
    PairedBefore(Device),
    /// There is no such code.
    UnknownCode,
    /// The code paired as many browsers as it may.
    CodeUsed,
    /// The code is too old.
    CodeExpired,
    /// A device has this key, revoked or paired with another code; the code was not used.
    AlreadyPaired,
}

/// A paired browser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// The tenant.
    pub tenant: TenantId,
    /// Its id.
    pub id: Uuid,
    /// SPKI in DER.
    pub public_key: Vec<u8>,
    /// What its person calls it.
    pub name: String,
    /// Browser and system, as it said itself.
    pub browser: Option<String>,
    /// Whose it is, and for what. Without connections it opens nothing.
    pub grant: DeviceGrant,
    /// SHA-256 of the code it was paired with; none for devices paired before this was kept.
    pub code_hash: Option<[u8; 32]>,
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
    /// The device's tenant.
    pub tenant: TenantId,
    /// SHA-256 over device and nonce.
    pub fingerprint: [u8; 32],
    /// Unix ms; later, its time alone refuses it.
    pub keep_until: i64,
}

/// Paired browsers.
#[async_trait]
pub trait DeviceStore: Send + Sync {
    /// Adds a pairing code.
    async fn add_pairing_code(&self, code: &NewPairingCode) -> Result<()>;
    /// The newest codes, newest first, ended ones too.
    async fn list_pairing_codes(&self, limit: i64) -> Result<Vec<PairingCode>>;
    /// Ends a code; devices it has paired stay.
    async fn withdraw_pairing_code(&self, id: CodeId, now: i64) -> Result<Withdrawal>;
    /// Uses a code and pairs the browser, both or neither.
    async fn pair_device(&self, code_hash: &[u8; 32], device: &NewDevice, now: i64) -> Result<Pairing>;
    /// A device by its id, revoked or not.
    async fn device(&self, id: Uuid) -> Result<Option<Device>>;
    /// The newest devices, newest first.
    async fn list_devices(&self, limit: i64) -> Result<Vec<Device>>;
    /// Revokes a device; false if there is none of that id, or if it was revoked before.
    async fn revoke_device(&self, id: Uuid, now: i64) -> Result<bool>;
    /// Revokes several devices, and withdraws the codes that could pair more of them.
    async fn revoke_devices_of(&self, which: &DevicesOf, now: i64) -> Result<Revoked>;
    /// Notes that a device was used.
    async fn touch_device(&self, id: Uuid, used_at: i64) -> Result<()>;
    /// Remembers requests in one commit. For each: false where it was seen before.
    async fn remember_requests(&self, requests: &[SeenRequest]) -> Result<Vec<bool>>;
    /// Removes up to `limit` each of requests that need not be remembered longer, codes that ended before `codes_before`, and devices revoked
    /// before `devices_before` (Unix ms).
    async fn purge_devices(&self, now: i64, codes_before: i64, devices_before: i64, limit: i64) -> Result<u64>;
}
