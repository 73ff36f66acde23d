//! What may be signed: JWT client assertions for the application's own authority, and nothing else.
//!
//! The signing key must be no oracle for whoever gets hold of a handle. What comes in is judged as an attacker's: any
//! ambiguity that two readers of a JWT might resolve differently is a refusal.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use url::Url;

use super::binding::SignatureAlgorithm;

/// Why something isn't signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Longer than any client assertion.
    #[error("refused to sign: the signing input is longer than {MAX_SIGNING_INPUT} bytes")]
    TooLong,
    /// Not two segments of canonical base64url without padding.
    #[error("refused to sign: the signing input isn't `base64url(header).base64url(payload)`")]
    NotCompact,
    /// The header isn't a JSON object, or names a member twice.
    #[error("refused to sign: the header isn't a JSON object with unique members")]
    Header,
    /// `typ` isn't `JWT`.
    #[error("refused to sign: the header's typ isn't JWT")]
    Type,
    /// `alg` isn't the algorithm that was asked for.
    #[error("refused to sign: the header's alg isn't the algorithm asked for")]
    Algorithm,
    /// `crit` or `b64`: the meaning of the signature would be another.
    #[error("refused to sign: the header has a crit or b64 member")]
    Critical,
    /// The payload isn't a JSON object, or names a member twice.
    #[error("refused to sign: the payload isn't a JSON object with unique members")]
    Payload,
    /// `exp` is missing, isn't a whole number of seconds, is over, or lies more than 10 minutes ahead.
    #[error("refused to sign: exp isn't within the next {MAX_LIFETIME_SECONDS} seconds")]
    Expiry,
    /// `aud` is missing, isn't one https URL, or names a host outside the egress policy.
    #[error("refused to sign: aud isn't an https URL of a host that the application may talk to")]
    Audience,
    /// One acquisition asked for too many signatures.
    #[error("refused to sign: more than {MAX_SIGNATURES} signatures in one acquisition")]
    Budget,
    /// The component that has the key goes by rules of its own.
    #[error("refused to sign: the component that has the key refused")]
    Component,
}

/// How many signatures one acquisition has left. Made once per acquisition; clones share the count, so that selecting
/// a credential again earns no new signatures.
#[derive(Clone)]
pub struct SigningBudget(Arc<AtomicU32>);

impl SigningBudget {
    /// The budget of a new acquisition: 8 signatures.
    pub fn new() -> Self {
        Self(Arc::new(AtomicU32::new(MAX_SIGNATURES)))
    }

    /// How many signatures are left.
    pub fn remaining(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn spend(&self) -> Result<(), Refusal> {
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
            .map(|_| ())
            .map_err(|_| Refusal::Budget)
    }
}

impl Default for SigningBudget {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for SigningBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningBudget({} left)", self.remaining())
    }
}

/// Judges a signing input: `base64url(header) "." base64url(payload)` in ASCII (RFC 7515 §5.1), of type JWT, signed
/// with `algorithm`, expiring within 10 minutes of `now_unix`, addressed to one https URL whose host (and port)
/// `allows`.
pub(super) fn check(
    algorithm: SignatureAlgorithm,
    signing_input: &[u8],
    now_unix: u64,
    allows: impl FnOnce(&str, u16) -> bool,
) -> Result<(), Refusal> {
    if signing_input.len() > MAX_SIGNING_INPUT {
        return Err(Refusal::TooLong);
    }
    let (header, payload) = segments(signing_input).ok_or(Refusal::NotCompact)?;
    check_header(&object(&header).ok_or(Refusal::Header)?, algorithm)?;
    check_payload(&object(&payload).ok_or(Refusal::Payload)?, now_unix, allows)
}

fn segments(signing_input: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let dot = signing_input.iter().position(|byte| *byte == b'.')?;
    let (header, payload) = (signing_input.get(..dot)?, signing_input.get(dot + 1..)?);
    // The engine refuses padding, foreign characters (a second dot among them) and bits that would be lost.
    let header = BASE64_URL_SAFE_NO_PAD.decode(header).ok()?;
    let payload = BASE64_URL_SAFE_NO_PAD.decode(payload).ok()?;
    Some((header, payload))
}

fn check_header(header: &Members, algorithm: SignatureAlgorithm) -> Result<(), Refusal> {
    if !header.text("typ").is_some_and(|typ| typ.eq_ignore_ascii_case("JWT")) {
        return Err(Refusal::Type);
    }
    if header.text("alg") != Some(algorithm.as_str()) {
        return Err(Refusal::Algorithm);
    }
    if header.get("crit").is_some() || header.get("b64").is_some() {
        return Err(Refusal::Critical);
    }
    Ok(())
}

fn check_payload(
    payload: &Members,
    now_unix: u64,
    allows: impl FnOnce(&str, u16) -> bool,
) -> Result<(), Refusal> {
    let expiry = payload.get("exp").and_then(Value::as_u64).ok_or(Refusal::Expiry)?;
    if expiry <= now_unix || expiry > now_unix.saturating_add(MAX_LIFETIME_SECONDS) {
        return Err(Refusal::Expiry);
    }
    let (host, port) = payload.text("aud").and_then(origin).ok_or(Refusal::Audience)?;
    if !allows(&host, port) {
        return Err(Refusal::Audience);
    }
    Ok(())
}

/// Host and port of a plainly written https URL. Anything that URL readers are known to disagree about (user
/// information, backslashes, blanks, characters outside ASCII) has none.
fn origin(audience: &str) -> Option<(String, u16)> {
    let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'\\' | b'@');
    if !audience.starts_with("https://") || !audience.bytes().all(plain) {
        return None;
    }
    let url = Url::parse(audience).ok()?;
    Some((url.host_str()?.to_owned(), url.port_or_known_default()?))
}

fn object(json: &[u8]) -> Option<Members> {
    serde_json::from_slice(json).ok()
}

/// The members of a JSON object, each name once: readers differ in which of two they take.
struct Members(Vec<(String, Value)>);

impl Members {
    fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(Value::as_str)
    }
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(UniqueMembers)
    }
}

struct UniqueMembers;

impl<'de> Visitor<'de> for UniqueMembers {
    type Value = Members;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object with unique members")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
        let mut names = BTreeSet::new();
        let mut members = Vec::new();
        while let Some((name, value)) = map.next_entry::<String, Value>()? {
            if !names.insert(name.clone()) {
                return Err(serde::de::Error::custom("a member occurs twice"));
            }
            members.push((name, value));
        }
        Ok(Members(members))
    }
}

/// As long as the longest client assertion that MSAL makes.
const MAX_SIGNING_INPUT: usize = 65_536;

const MAX_LIFETIME_SECONDS: u64 = 600;

/// Enough for every leg of the longest flow, each sent twice.
const MAX_SIGNATURES: u32 = 8;
