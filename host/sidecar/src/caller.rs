//! Who may call: processes of this machine.

use std::net::{IpAddr, SocketAddr};

/// Where a request comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Caller {
    /// From this address.
    Address(SocketAddr),
    /// From a process of this machine, through a socket of the file system.
    Local,
}

/// The certificate that a caller presented in the handshake, in DER: a listener that asks for one puts it among the request's
/// extensions. Tokens that are bound to a certificate are good with this one only (RFC 8705 §3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerCertificate(pub Vec<u8>);

/// Whether a caller may have this path. [`HEALTH`] is for everybody: who asks for it may be the machine's supervisor.
pub fn is_allowed(caller: Caller, path: &str) -> bool {
    path.eq_ignore_ascii_case(HEALTH) || is_local(caller)
}

fn is_local(caller: Caller) -> bool {
    match caller {
        Caller::Local => true,
        Caller::Address(address) => is_loopback(address.ip()),
    }
}

fn is_loopback(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_loopback(),
        IpAddr::V6(address) => {
            address.is_loopback() || address.to_ipv4_mapped().is_some_and(|address| address.is_loopback())
        }
    }
}

/// The path of the health check.
pub(crate) const HEALTH: &str = "/healthz";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_of_this_machine_are_served_and_no_others() {
        let from =
            |address: &str, path| is_allowed(Caller::Address(address.parse().expect("an address")), path);
        for local in ["127.0.0.1:1", "127.8.9.1:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            assert!(from(local, "/Validate"), "{local}");
        }
        for foreign in ["203.0.113.5:1", "[2001:db8::1]:1", "[::ffff:203.0.113.5]:1", "0.0.0.0:1"] {
            assert!(!from(foreign, "/Validate"), "{foreign}");
            assert!(!from(foreign, "/healthz/"), "{foreign}");
            assert!(from(foreign, "/HealthZ"), "{foreign}");
        }
        assert!(is_allowed(Caller::Local, "/Validate"));
    }
}
