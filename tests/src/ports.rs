//! Ports on loopback that stay ours while the program behind them dies and comes back.
//!
//! The kernel chooses the number. A socket that is bound but never listens keeps it: nobody else is given the port, no
//! outgoing connection takes it, and while no server runs a connection to it is refused, as it should be. The server
//! itself may bind it, because Linux lets two sockets with SO_REUSEADDR share a port as long as only one listens
//! (socket(7)).

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use anyhow::{Context, Result};
use tokio::net::TcpSocket;

/// A port on 127.0.0.1, ours until dropped.
#[derive(Debug)]
pub struct Port {
    number: u16,
    _keeper: TcpSocket,
}

impl Port {
    /// Takes a free port.
    pub fn reserve() -> Result<Self> {
        let keeper = TcpSocket::new_v4().context("cannot open a socket")?;
        keeper.set_reuseaddr(true).context("cannot set SO_REUSEADDR")?;
        keeper.bind(SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0))).context("no free port on 127.0.0.1")?;
        let number = keeper.local_addr().context("the socket has no address")?.port();
        Ok(Self { number, _keeper: keeper })
    }

    /// The number.
    pub const fn number(&self) -> u16 {
        self.number
    }

    /// `127.0.0.1:NUMBER`.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, self.number))
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_server_can_use_the_port_again_and_again_and_nobody_answers_in_between() {
        let port = Port::reserve().unwrap();
        for _ in 0..3 {
            assert!(TcpStream::connect(port.address()).is_err());
            let listener = TcpListener::bind(port.address()).unwrap();
            let mut client = TcpStream::connect(port.address()).unwrap();
            let (mut server, _) = listener.accept().unwrap();
            server.write_all(b"hello").unwrap();
            // The server closes first, so that its side lingers in TIME_WAIT.
            drop((server, listener));
            let mut answer = String::new();
            client.read_to_string(&mut answer).unwrap();
            assert_eq!(answer, "hello");
        }
    }

    #[test]
    fn nobody_else_is_given_a_reserved_port() {
        let ports: Vec<Port> = (0..200).map(|_| Port::reserve().unwrap()).collect();
        let listeners: Vec<TcpListener> = (0..200).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let mut numbers: Vec<u16> = ports.iter().map(Port::number).collect();
        numbers.extend(listeners.iter().map(|listener| listener.local_addr().unwrap().port()));
        let all = numbers.len();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), all);
    }
}
