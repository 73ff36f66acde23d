//! Access tokens of this authority that come back in a request.

use serde_json::Value;

use crate::{
    Certificate,
    clock::timestamp,
    jwt::Jwt,
    refusal::{self, Refusal},
};

/// An access token whose signature is this authority's.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) kind: Kind,
    pub(crate) audience: String,
    pub(crate) object_id: String,
    /// The tenant's id.
    pub(crate) tenant: String,
    /// The client that it was issued to.
    pub(crate) client_id: String,
    /// `cnf.x5t#S256`: the certificate that it is bound to.
    pub(crate) bound_to: Option<String>,
    not_before_unix: u64,
    expires_unix: u64,
}

/// Whom a token is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    User,
    Application,
}

impl Incoming {
    /// Reads a token; times and audience are not looked at.
    pub(crate) fn verify(text: &str, own_key: &Certificate) -> Result<Self, Refusal> {
        let bad = |reason: &str| {
            refusal::USER_ASSERTION_SIGNATURE
                .because(format!("Assertion failed signature validation. [Reason - {reason}]"))
        };
        let jwt = Jwt::parse(text).ok_or_else(|| bad("The assertion is no JWT."))?;
        let algorithm = jwt.header_text("alg").unwrap_or("none");
        if !own_key.verifies(algorithm, jwt.signing_input.as_bytes(), &jwt.signature) {
            return Err(bad("The key was not found."));
        }
        Self::read(&jwt).ok_or_else(|| {
            refusal::ID_TOKEN.because(
                "Input id_token cannot be used as 'urn:ietf:params:oauth:grant-type:jwt-bearer' grant.",
            )
        })
    }

    /// The claims of an access token; id tokens lack some of them.
    fn read(jwt: &Jwt) -> Option<Self> {
        let text = |name: &str| jwt.claim_text(name).map(str::to_owned);
        let time = |name: &str| jwt.payload.get(name).and_then(Value::as_u64);
        Some(Self {
            kind: match jwt.claim_text("idtyp")? {
                "user" => Kind::User,
                _ => Kind::Application,
            },
            audience: text("aud")?,
            object_id: text("oid")?,
            tenant: text("tid")?,
            client_id: text("azp")?,
            bound_to: jwt.bound_to().map(str::to_owned),
            not_before_unix: time("nbf")?,
            expires_unix: time("exp")?,
        })
    }

    /// The authority's own clock stamped the token, so that there is no difference between clocks to allow for.
    pub(crate) fn check_time(&self, now_unix: u64) -> Result<(), Refusal> {
        if (self.not_before_unix..self.expires_unix).contains(&now_unix) {
            return Ok(());
        }
        Err(refusal::USER_ASSERTION_TIME.because(format!(
            "Assertion is not within its valid time range. Ensure that the access token is not expired before using it \
             for user assertion, or request a new token. Current time: {}, expiry time of assertion {}.",
            timestamp(now_unix),
            timestamp(self.expires_unix)
        )))
    }
}
