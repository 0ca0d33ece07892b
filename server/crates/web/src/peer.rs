//! The address at the other end of the connection. Headers of proxies are not believed.

use std::net::SocketAddr;

/// Put into every request by the listener.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);
