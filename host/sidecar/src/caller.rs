//! Who may call: processes of this machine, and who has a certificate that the listener asks for.

use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, SocketAddr};

use axum::extract::{ConnectInfo, Request};

/// Where a request comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Caller {
    /// From this address.
    Address(SocketAddr),
    /// From a process of this machine, through a socket of the file system.
    Local,
    /// From this address, with a certificate that the listener's authority for clients has signed.
    Certified(SocketAddr),
}

/// The certificate that a caller presented in the handshake, in DER: a listener that asks for one puts it among the request's
/// extensions. Tokens that are bound to a certificate are good with this one only (RFC 8705 §3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerCertificate(pub Vec<u8>);

/// The user whose process is at the other end of a socket of the file system. Among the extensions of its requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PeerUser(pub(crate) u32);

/// Whether a caller may have this path. What tells of health is for everybody: who asks for it may be the machine's
/// supervisor.
pub fn is_allowed(caller: Caller, path: &str) -> bool {
    [HEALTH, READINESS].iter().any(|open| path.eq_ignore_ascii_case(open)) || is_local(caller)
}

/// Who sent a request, where that is known.
pub(crate) fn of_request(request: &Request) -> Option<Caller> {
    let extensions = request.extensions();
    let connected = extensions.get::<ConnectInfo<Caller>>().map(|info| info.0);
    extensions.get::<Caller>().copied().or(connected)
}

/// Who sends requests, as far as callers can be told apart: by certificate, by user, by address.
pub(crate) fn identity(request: &Request, hasher: &RandomState) -> u64 {
    let extensions = request.extensions();
    if let Some(PeerCertificate(certificate)) = extensions.get() {
        return hasher.hash_one(certificate);
    }
    if let Some(PeerUser(user)) = extensions.get() {
        return hasher.hash_one(user);
    }
    match of_request(request) {
        Some(Caller::Address(address) | Caller::Certified(address)) => hasher.hash_one(address.ip()),
        Some(Caller::Local) | None => hasher.hash_one(()),
    }
}

pub(crate) fn is_local(caller: Caller) -> bool {
    match caller {
        Caller::Local | Caller::Certified(_) => true,
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
/// The path of what is asked before there are requests.
pub(crate) const READINESS: &str = "/readyz";

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
        let far = "203.0.113.5:1".parse().expect("an address");
        assert!(is_allowed(Caller::Certified(far), "/Validate"));
        assert!(is_allowed(Caller::Address(far), "/readyz"));
    }
}
