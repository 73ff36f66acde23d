//! What the workers share, in Envoy's shared data: tokens, who is acquiring one, and what outlives an acquisition.
//!
//! Each worker has a memory of its own; the data are the process's, and belong to a `vm_id`. A record is replaced by
//! comparing its number (`cas`) first, so that of all workers that want to lead a flight one does.

use proxy_wasm::hostcalls;
use proxy_wasm::types::Status;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use symbolon_protocol::acquisition::{Absence, Entry, Fact, Found, Lookup, Saved};
use symbolon_protocol::cache::AccessTokenItem;
use symbolon_protocol::error::{Error, ErrorKind};

/// The shared data of one configuration.
pub(crate) struct Shared {
    prefix: String,
}

/// A flight that this worker leads.
pub(crate) struct Led {
    name: String,
    number: u64,
}

/// What came of a look at the shared data.
pub(crate) enum Look {
    /// It is over.
    Found(Found),
    /// Nothing is there, and this acquisition brings it.
    Lead(Absence, Led),
    /// Another one is bringing it: look again.
    Later,
}

/// What an acquisition that waits for others knows of them.
#[derive(Default)]
pub(crate) struct Waited {
    /// The flight that was seen last.
    number: Option<u64>,
    /// Whether its outcome is this acquisition's too: not where it began before one that bypasses the cache.
    joined: bool,
}

/// What an API asked for that refused a token.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Challenge {
    /// The claims that the next token must have, JSON.
    pub(crate) claims: String,
    /// The SHA-256 of the token, in lower-case hexadecimal.
    pub(crate) refused: String,
}

/// Who acquires a token, or did last.
#[derive(Serialize, Deserialize)]
struct Flight {
    number: u64,
    /// When the leader must have ended, in Unix milliseconds: later another one leads.
    until: u64,
    ended: bool,
    error: Option<Failure>,
}

/// A token.
#[derive(Serialize, Deserialize)]
struct Token {
    /// The same under all keys of the entry.
    number: u64,
    environment: String,
    client_id: String,
    realm: String,
    target: String,
    secret: String,
    token_type: String,
    key_id: Option<String>,
    cached_at: u64,
    expires_on: u64,
    extended_expires_on: Option<u64>,
    refresh_on: Option<u64>,
    components: Vec<(String, String)>,
}

/// The error of the acquisition that led.
#[derive(Serialize, Deserialize)]
struct Failure {
    /// The place in [`KINDS`].
    kind: usize,
    code: String,
    message: String,
    retryable: bool,
    retry_after_ms: Option<u64>,
    status: Option<u16>,
    correlation_id: String,
}

/// What is of use for a while.
#[derive(Serialize, Deserialize)]
struct Kept<T> {
    /// In Unix milliseconds.
    until: u64,
    value: T,
}

impl Shared {
    /// The data of the configuration with this digest.
    pub(crate) fn new(digest: &str) -> Shared {
        Shared { prefix: format!("symbolon {digest}") }
    }

    /// Looks for a token, or for who brings it. `until` is when this acquisition must have ended; times are Unix milliseconds.
    pub(crate) fn look(&self, lookup: &Lookup, waited: &mut Waited, now: u64, until: u64) -> Look {
        let (flight, cas): (Option<Flight>, _) = match &lookup.flight {
            Some(name) => self.load("flight", name),
            None => (None, None),
        };
        let is_joined = |flight: &Flight| waited.joined && waited.number == Some(flight.number);
        let has_landed = flight.as_ref().is_some_and(|flight| flight.ended && is_joined(flight));
        let mut absence = Absence::Bypassed;
        if !lookup.bypass || has_landed {
            match self.token(lookup, now) {
                Ok(token) => return Look::Found(Found::Hit(Entry::AccessToken(Box::new(token)))),
                Err(why) if !lookup.bypass => absence = why,
                Err(_) => {}
            }
        }
        let Some(name) = &lookup.flight else { return Look::Found(Found::Miss) };
        match flight {
            Some(flight) if !flight.ended && flight.until > now => {
                if waited.number != Some(flight.number) {
                    waited.joined = !lookup.bypass || waited.number.is_some();
                    waited.number = Some(flight.number);
                }
                Look::Later
            }
            Some(Flight { error: Some(error), .. }) if has_landed => {
                Look::Found(Found::Failed(Box::new(error.into())))
            }
            _ => {
                let led = Led { name: name.clone(), number: random() };
                let flight = Flight { number: led.number, until, ended: false, error: None };
                match self.save("flight", name, &flight, Some(cas.unwrap_or(ABSENT))) {
                    true => Look::Lead(absence, led),
                    false => Look::Later,
                }
            }
        }
    }

    /// Ends a flight, and tells those who wait for it.
    pub(crate) fn land(&self, led: &Led, error: Option<&Error>) {
        let (flight, cas) = self.load::<Flight>("flight", &led.name);
        if let Some(flight) = flight.filter(|flight| flight.number == led.number) {
            let flight = Flight { ended: true, error: error.map(Failure::from), ..flight };
            // Where it fails another one leads by now.
            self.save("flight", &led.name, &flight, cas);
        }
    }

    /// Keeps tokens. Applications have no other entries that anybody looks for.
    pub(crate) fn store(&self, entries: Vec<Saved>) {
        for Saved { entry, keys, replaces, .. } in entries {
            let Entry::AccessToken(item) = entry else { continue };
            let token = Token::from(*item);
            for key in &keys {
                self.save("token", key, &token, None);
            }
            for key in &replaces {
                self.save("token", key, &(), None);
            }
        }
    }

    /// What is known, if anything.
    pub(crate) fn recall(&self, fact: &Fact, now: u64) -> Option<Vec<u8>> {
        self.kept(&format!("{:?}", fact.kind), &fact.key, now)
    }

    /// Keeps what outlives an acquisition.
    pub(crate) fn remember(&self, fact: &Fact, value: Vec<u8>, until: u64) {
        self.save(&format!("{:?}", fact.kind), &fact.key, &Kept { until, value }, None);
    }

    /// What an API asked for, if it did.
    pub(crate) fn challenge(&self, api: &str, now: u64) -> Option<Challenge> {
        self.kept("challenge", api, now)
    }

    /// Lets all workers know what an API asks for.
    pub(crate) fn demand(&self, api: &str, challenge: Challenge, until: u64) {
        self.save("challenge", api, &Kept { until, value: challenge }, None);
    }

    fn kept<T: DeserializeOwned>(&self, kind: &str, key: &str, now: u64) -> Option<T> {
        let (kept, _) = self.load::<Kept<T>>(kind, key);
        kept.filter(|kept| kept.until > now).map(|kept| kept.value)
    }

    /// The first alternative of which one entry has all keys.
    fn token(&self, lookup: &Lookup, now: u64) -> Result<AccessTokenItem, Absence> {
        let mut absence = Absence::Absent;
        for keys in &lookup.alternatives {
            let mut tokens = keys.iter().map(|key| self.load::<Token>("token", key).0);
            let Some(Some(token)) = tokens.next() else { continue };
            let is_one = tokens.all(|other| other.is_some_and(|other| other.number == token.number));
            if !is_one || token.expires_on > lookup.expires_before {
                continue;
            }
            if token.expires_on > lookup.expires_after.max(now / 1000) {
                return Ok(token.into());
            }
            absence = Absence::Expired;
        }
        Err(absence)
    }

    fn load<T: DeserializeOwned>(&self, kind: &str, key: &str) -> (Option<T>, Option<u32>) {
        match hostcalls::get_shared_data(&self.name(kind, key)) {
            Ok((Some(bytes), cas)) => (serde_json::from_slice(&bytes).ok(), cas),
            Ok((None, cas)) => (None, cas),
            Err(_) => (None, None),
        }
    }

    /// Whether the record is still the one with that number.
    fn save(&self, kind: &str, key: &str, record: &impl Serialize, cas: Option<u32>) -> bool {
        let Ok(bytes) = serde_json::to_vec(record) else { return false };
        hostcalls::set_shared_data(&self.name(kind, key), Some(&bytes), cas) != Err(Status::CasMismatch)
    }

    fn name(&self, kind: &str, key: &str) -> String {
        format!("{} {kind} {key}", self.prefix)
    }
}

impl From<AccessTokenItem> for Token {
    fn from(item: AccessTokenItem) -> Token {
        Token {
            number: random(),
            environment: item.environment,
            client_id: item.client_id,
            realm: item.realm,
            target: item.target,
            secret: item.secret,
            token_type: item.token_type,
            key_id: item.key_id,
            cached_at: item.cached_at,
            expires_on: item.expires_on,
            extended_expires_on: item.extended_expires_on,
            refresh_on: item.refresh_on,
            components: item.components.iter().map(|(name, value)| (name.into(), value.into())).collect(),
        }
    }
}

impl From<Token> for AccessTokenItem {
    fn from(token: Token) -> AccessTokenItem {
        AccessTokenItem {
            environment: token.environment,
            client_id: token.client_id,
            realm: token.realm,
            target: token.target,
            secret: token.secret,
            token_type: token.token_type,
            key_id: token.key_id,
            cached_at: token.cached_at,
            expires_on: token.expires_on,
            extended_expires_on: token.extended_expires_on,
            refresh_on: token.refresh_on,
            components: token.components.into_iter().collect(),
            ..AccessTokenItem::default()
        }
    }
}

impl From<&Error> for Failure {
    fn from(error: &Error) -> Failure {
        Failure {
            kind: KINDS.iter().position(|kind| *kind == error.kind).unwrap_or_default(),
            code: error.code.clone(),
            message: error.message.clone(),
            retryable: error.retryable,
            retry_after_ms: error.retry_after_ms,
            status: error.status,
            correlation_id: error.correlation_id.clone(),
        }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Error {
        let kind = KINDS.get(failure.kind).copied().unwrap_or(ErrorKind::ProtocolViolation);
        let mut error = Error::new(kind, failure.code, failure.message);
        error.retryable = failure.retryable;
        error.retry_after_ms = failure.retry_after_ms;
        error.status = failure.status;
        error.correlation_id = failure.correlation_id;
        error
    }
}

/// A number that no other record has.
fn random() -> u64 {
    getrandom::u64().unwrap_or_default()
}

const KINDS: [ErrorKind; 12] = [
    ErrorKind::ProtocolViolation,
    ErrorKind::InvalidRequest,
    ErrorKind::InteractionRequired,
    ErrorKind::InvalidClient,
    ErrorKind::Refused,
    ErrorKind::Throttled,
    ErrorKind::TemporarilyUnavailable,
    ErrorKind::TransportFailed,
    ErrorKind::OutcomeUnknown,
    ErrorKind::CredentialUnavailable,
    ErrorKind::CredentialUnsupported,
    ErrorKind::BoundTransportNotEnabled,
];

/// The number that a record which isn't there is replaced by: no record ever has it, and without a number Envoy would
/// overwrite what another worker has just written.
const ABSENT: u32 = u32::MAX;
