//! The address at the other end of the connection, and whose request it is: a proxy's word counts where the settings trust the proxy.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::http::HeaderMap;
use ipnet::IpNet;

/// Put into every request by the listener.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// Whose request it is. Put into every request by the listener.
#[derive(Clone, Copy, Debug)]
pub struct ClientAddress(pub IpAddr);

/// In it a proxy says for whom it asks: it adds the address it was asked from at the end.
const FORWARDED_FOR: &str = "x-forwarded-for";

impl ClientAddress {
    /// The last address that no trusted proxy has.
    pub(crate) fn of(peer: IpAddr, proxies: &[IpNet], headers: &HeaderMap) -> Self {
        let is_proxy = |address: IpAddr| proxies.iter().any(|network| network.contains(&address.to_canonical()));
        let mut address = peer;
        if !is_proxy(address) {
            return Self(address);
        }
        let lists: Vec<&str> = headers.get_all(FORWARDED_FOR).iter().map(|list| list.to_str().unwrap_or_default()).collect();
        for said in lists.iter().rev().flat_map(|list| list.rsplit(',')) {
            // What does not read was not written by a proxy of ours.
            let Some(before) = read_address(said.trim()) else { break };
            address = before;
            if !is_proxy(address) {
                break;
            }
        }
        Self(address)
    }
}

/// An address, with or without a port.
fn read_address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

/// What an address is counted as: whoever has one IPv6 address has 2^64 of them.
pub(crate) fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxys_word_counts_where_it_is_trusted() {
        let proxies: [IpNet; 2] = ["192.0.2.0/28".parse().unwrap(), "2001:db8:f::/48".parse().unwrap()];
        let check = |peer: &str, lists: &[&str], expected: &str| {
            let mut headers = HeaderMap::new();
            for list in lists {
                headers.append(FORWARDED_FOR, list.parse().unwrap());
            }
            let ClientAddress(address) = ClientAddress::of(peer.parse().unwrap(), &proxies, &headers);
            assert_eq!(address, expected.parse::<IpAddr>().unwrap(), "{peer} {lists:?}");
        };
        check("198.51.100.7", &["203.0.113.9"], "198.51.100.7");
        check("127.0.0.1", &["203.0.113.9"], "127.0.0.1");
        check("192.0.2.1", &[], "192.0.2.1");
        check("192.0.2.1", &["203.0.113.9"], "203.0.113.9");
        check("::ffff:192.0.2.1", &["203.0.113.9"], "203.0.113.9");
        check("192.0.2.1", &["10.0.0.1, 203.0.113.9"], "203.0.113.9");
        check("192.0.2.1", &["203.0.113.9, 192.0.2.2"], "203.0.113.9");
        check("192.0.2.1", &["10.0.0.1", "203.0.113.9"], "203.0.113.9");
        check("192.0.2.1", &["203.0.113.9:4711"], "203.0.113.9");
        check("192.0.2.1", &["[2001:db8::1]:4711"], "2001:db8::1");
        check("2001:db8:f::1", &["2001:db8::1"], "2001:db8::1");
        check("192.0.2.1", &["203.0.113.9, unknown"], "192.0.2.1");
        check("192.0.2.1", &[""], "192.0.2.1");
    }

    #[test]
    fn one_network_is_one_peer() {
        let check = |one: &str, other: &str, same| {
            assert_eq!(network(one.parse().unwrap()) == network(other.parse().unwrap()), same, "{one} {other}");
        };
        check("2001:db8::1", "2001:db8::ffff:1", true);
        check("2001:db8::1", "2001:db8:0:1::1", false);
        check("::ffff:192.0.2.1", "192.0.2.1", true);
        check("192.0.2.1", "192.0.2.2", false);
    }
}
