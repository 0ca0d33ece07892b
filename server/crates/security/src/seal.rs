//! Secrets at rest: XChaCha20-Poly1305 under the master key, a fresh random nonce each time, the record's name as associated data.

use std::io::Write;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use zeroize::Zeroizing;

use deskbridge_core::clock::random_bytes;

const NONCE_BYTES: usize = 24;
/// First byte of every envelope, so that the form can change.
const VERSION: u8 = 1;

/// The master key. It seals stored connections and signs chat links (with derived keys).
#[derive(Clone)]
pub struct MasterKey(Zeroizing<[u8; 32]>);

/// Why a sealed value does not open, or the key file does not serve.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The file cannot be read or made.
    #[error("the master key file {path} cannot be used ({why}); check its path and permissions (server.master_key_file)")]
    File {
        /// The file.
        path: String,
        /// What went wrong.
        why: String,
    },
    /// Wrong key or damaged value.
    #[error("stored settings do not open with this master key; use the key file they were sealed with (server.master_key_file)")]
    WrongKey,
}

impl MasterKey {
    /// Reads the key file (32 bytes in Base64), or makes it, readable by the owner only.
    pub fn load_or_create(path: &Path) -> Result<Self, SealError> {
        let fault = |why: String| SealError::File { path: path.display().to_string(), why };
        match std::fs::read_to_string(path) {
            Ok(text) => {
                let bytes = STANDARD.decode(text.trim()).map_err(|_| fault("not Base64".into()))?;
                let key: [u8; 32] = bytes.try_into().map_err(|_| fault("not 32 bytes".into()))?;
                Ok(Self(Zeroizing::new(key)))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let key = Zeroizing::new(random_bytes::<32>());
                let mut options = std::fs::OpenOptions::new();
                options.write(true).create_new(true);
                #[cfg(unix)]
                std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
                let mut file = options.open(path).map_err(|error| fault(error.to_string()))?;
                file.write_all(STANDARD.encode(*key).as_bytes())
                    .and_then(|()| file.sync_all())
                    .map_err(|error| fault(error.to_string()))?;
                Ok(Self(key))
            }
            Err(error) => Err(fault(error.to_string())),
        }
    }

    /// A key that is in memory only, for tests.
    pub fn ephemeral() -> Self {
        Self(Zeroizing::new(random_bytes()))
    }

    /// A key for one other purpose: HMAC-SHA-256 of the purpose's name.
    pub fn derive(&self, purpose: &str) -> Zeroizing<[u8; 32]> {
        use hmac::{Hmac, KeyInit as _, Mac};
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(&*self.0).expect("HMAC takes keys of any length");
        mac.update(purpose.as_bytes());
        Zeroizing::new(mac.finalize().into_bytes().into())
    }

    /// Seals `plain` for the record `name`.
    pub fn seal(&self, name: &str, plain: &[u8]) -> Vec<u8> {
        let nonce = random_bytes::<NONCE_BYTES>();
        let cipher = XChaCha20Poly1305::new((&*self.0).into());
        let sealed = cipher
            .encrypt(&XNonce::from(nonce), Payload { msg: plain, aad: name.as_bytes() })
            .expect("XChaCha20-Poly1305 seals anything below 256 GiB");
        let mut envelope = Vec::with_capacity(1 + NONCE_BYTES + sealed.len());
        envelope.push(VERSION);
        envelope.extend_from_slice(&nonce);
        envelope.extend_from_slice(&sealed);
        envelope
    }

    /// Opens what [`MasterKey::seal`] made for the same record.
    pub fn open(&self, name: &str, envelope: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let (&version, rest) = envelope.split_first().ok_or(SealError::WrongKey)?;
        if version != VERSION || rest.len() < NONCE_BYTES {
            return Err(SealError::WrongKey);
        }
        let (nonce, sealed) = rest.split_at(NONCE_BYTES);
        let nonce: [u8; NONCE_BYTES] = nonce.try_into().map_err(|_| SealError::WrongKey)?;
        let cipher = XChaCha20Poly1305::new((&*self.0).into());
        cipher
            .decrypt(&XNonce::from(nonce), Payload { msg: sealed, aad: name.as_bytes() })
            .map(Zeroizing::new)
            .map_err(|_| SealError::WrongKey)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_value_opens_only_under_its_name_and_key() {
        let key = MasterKey::ephemeral();
        let envelope = key.seal("a", b"secret");
        assert_eq!(key.open("a", &envelope).unwrap().as_slice(), b"secret");
        assert!(key.open("b", &envelope).is_err());
        assert!(MasterKey::ephemeral().open("a", &envelope).is_err());
        assert!(key.open("a", &envelope[..10]).is_err());
        assert_ne!(envelope, key.seal("a", b"secret"), "each envelope has its own nonce");
    }

    #[test]
    fn the_key_file_is_made_once_and_for_the_owner() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deskbridge.key");
        let made = MasterKey::load_or_create(&path).unwrap();
        let read = MasterKey::load_or_create(&path).unwrap();
        assert_eq!(read.open("x", &made.seal("x", b"1")).unwrap().as_slice(), b"1");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        std::fs::write(&path, "short").unwrap();
        assert!(MasterKey::load_or_create(&path).is_err());
    }
}
