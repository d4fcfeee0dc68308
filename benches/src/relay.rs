//! What all null relays have in common: where they listen and which servers take turns. How bytes
//! move is each relay's own.

use std::net::SocketAddr;

/// A null relay's command line: `LISTEN SERVER…`.
#[derive(Debug)]
pub struct Relay {
    /// Where it listens.
    pub listen: SocketAddr,
    servers: Vec<SocketAddr>,
    turn: usize,
}

impl Relay {
    /// What the command line of this process says.
    ///
    /// # Errors
    /// The right usage, when it says something else.
    pub fn from_arguments() -> Result<Self, String> {
        let mut arguments = std::env::args();
        let program = arguments.next().unwrap_or_default();
        let addresses: Result<Vec<SocketAddr>, _> = arguments.map(|text| text.parse()).collect();
        match addresses.as_deref() {
            Ok([listen, servers @ ..]) if !servers.is_empty() => Ok(Self {
                listen: *listen,
                servers: servers.to_vec(),
                turn: 0,
            }),
            _ => Err(format!(
                "usage: {program} LISTEN SERVER…, each an address with a port"
            )),
        }
    }

    /// The server whose turn it is.
    pub fn next_server(&mut self) -> SocketAddr {
        self.turn = (self.turn + 1) % self.servers.len();
        self.servers[self.turn]
    }

    /// Tells where it really listens, for those who asked for any free port.
    pub fn announce(listen: SocketAddr) {
        println!("{listen}");
    }
}
