//! The places of a listener, and each address's share of them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use ipnet::IpNet;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Limits;
use crate::peer::network;

pub(super) struct Places {
    free: Arc<Semaphore>,
    share: usize,
    proxies: Arc<[IpNet]>,
    /// Places taken, for each address that has some.
    taken: Mutex<HashMap<IpAddr, usize>>,
}

/// A place nobody sits on yet.
pub(super) struct AnyPlace<'a> {
    places: &'a Arc<Places>,
    permit: OwnedSemaphorePermit,
}

/// Taken until dropped.
pub(super) struct Place {
    places: Arc<Places>,
    /// None of a proxy.
    owner: Option<IpAddr>,
    _permit: OwnedSemaphorePermit,
}

impl Places {
    pub(super) fn new(limits: &Limits) -> Arc<Self> {
        let free = Arc::new(Semaphore::new(limits.connections));
        Arc::new(Self { free, share: limits.of_one_address, proxies: limits.proxies.clone(), taken: Mutex::default() })
    }

    /// Waits for a free place.
    pub(super) async fn any(self: &Arc<Self>) -> AnyPlace<'_> {
        let permit = self.free.clone().acquire_owned().await.expect("the semaphore is never closed");
        AnyPlace { places: self, permit }
    }
}

impl AnyPlace<'_> {
    /// None if the address has its share.
    pub(super) fn of(self, peer: IpAddr) -> Option<Place> {
        let is_proxy = self.places.proxies.iter().any(|proxies| proxies.contains(&peer.to_canonical()));
        let owner = (!is_proxy).then(|| network(peer));
        if let Some(owner) = owner {
            let mut taken = self.places.taken.lock().unwrap_or_else(PoisonError::into_inner);
            let count = taken.entry(owner).or_default();
            if *count >= self.places.share {
                return None;
            }
            *count += 1;
        }
        Some(Place { places: self.places.clone(), owner, _permit: self.permit })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(owner) = self.owner else { return };
        let mut taken = self.places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&owner) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&owner);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_network_has_one_share_and_a_proxy_none() {
        let proxies = ["192.0.2.64/26".parse().unwrap(), "2001:db8:0:3::/64".parse().unwrap()];
        let places = Places::new(&Limits { of_one_address: 1, ..Limits::public() }.behind(&proxies));
        let mut held = Vec::new();
        for (address, is_taken) in [
            ("2001:db8:0:1::1", true),
            ("2001:db8:0:1:ffff::2", false),
            ("2001:db8:0:2::1", true),
            ("192.0.2.1", true),
            ("192.0.2.2", true),
            ("::ffff:192.0.2.1", false),
            // Proxies.
            ("127.0.0.1", true),
            ("127.0.0.1", true),
            ("::ffff:127.0.0.1", true),
            ("::1", true),
            ("::1", true),
            ("192.0.2.65", true),
            ("::ffff:192.0.2.65", true),
            ("2001:db8:0:3::1", true),
            ("2001:db8:0:3::1", true),
        ] {
            let place = places.any().await.of(address.parse().unwrap());
            assert_eq!(place.is_some(), is_taken, "{address}");
            held.push(place);
        }
        held.clear();
        assert!(places.taken.lock().unwrap().is_empty());
    }
}
