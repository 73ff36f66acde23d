//! Authorization codes: opaque, kept here, good for one redemption.

use std::{fmt, sync::Mutex};

use aws_lc_rs::digest;

use crate::{
    encoding::{base64url, random},
    lock,
    refusal::{self, Refusal},
    store::Bounded,
};

/// So many codes are kept; older ones are forgotten.
const KEPT: usize = 10_000;
/// How long a code can be redeemed, in seconds.
const LIFETIME: u64 = 600;

/// What an authorization code is for.
#[derive(Clone)]
#[must_use]
pub struct AuthorizationCode {
    pub(crate) client_id: String,
    pub(crate) user: String,
    pub(crate) redirect_uri: String,
    pub(crate) scope: String,
    pub(crate) nonce: Option<String>,
    pub(crate) challenge: Option<CodeChallenge>,
    pub(crate) browser: bool,
}

impl AuthorizationCode {
    /// A code for `client_id` about a user (object id or user principal name), sent to `redirect_uri`, for the scopes
    /// `openid profile offline_access`.
    pub fn new(client_id: &str, user: &str, redirect_uri: &str) -> Self {
        Self {
            client_id: client_id.to_owned(),
            user: user.to_owned(),
            redirect_uri: redirect_uri.to_owned(),
            scope: "openid profile offline_access".to_owned(),
            nonce: None,
            challenge: None,
            browser: false,
        }
    }

    /// Other scopes, separated by spaces, for a redemption that names none.
    pub fn scope(mut self, scope: &str) -> Self {
        self.scope = scope.to_owned();
        self
    }

    /// The `nonce` of the id token.
    pub fn nonce(mut self, nonce: &str) -> Self {
        self.nonce = Some(nonce.to_owned());
        self
    }

    /// Demands a `code_verifier` whose SHA-256 in base64url is `challenge` (RFC 7636, `S256`).
    pub fn code_challenge(mut self, challenge: &str) -> Self {
        self.challenge = Some(CodeChallenge::S256(challenge.to_owned()));
        self
    }

    /// Demands this `code_verifier` (RFC 7636, `plain`).
    pub fn plain_code_challenge(mut self, challenge: &str) -> Self {
        self.challenge = Some(CodeChallenge::Plain(challenge.to_owned()));
        self
    }
}

impl fmt::Debug for AuthorizationCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthorizationCode")
            .field("client_id", &self.client_id)
            .field("user", &self.user)
            .field("redirect_uri", &self.redirect_uri)
            .field("scope", &self.scope)
            .finish_non_exhaustive()
    }
}

/// A code challenge (RFC 7636 section 4.2).
#[derive(Clone)]
pub(crate) enum CodeChallenge {
    Plain(String),
    S256(String),
}

impl CodeChallenge {
    /// Reads the two parameters of an authorization request; `plain` is the default of the RFC.
    pub(crate) fn of(challenge: &str, method: Option<&str>) -> Result<Self, Refusal> {
        if !(43..=128).contains(&challenge.len()) {
            return Err(refusal::CODE_CHALLENGE_INVALID.because("Invalid size of Code_Challenge parameter."));
        }
        match method.unwrap_or("plain") {
            "S256" => Ok(Self::S256(challenge.to_owned())),
            "plain" => Ok(Self::Plain(challenge.to_owned())),
            other => Err(refusal::REQUEST_INVALID
                .because(format!("The value '{other}' of 'code_challenge_method' is not supported."))),
        }
    }

    fn is_met_by(&self, verifier: &str) -> bool {
        match self {
            Self::Plain(challenge) => challenge == verifier,
            Self::S256(challenge) => {
                *challenge == base64url(digest::digest(&digest::SHA256, verifier.as_bytes()).as_ref())
            }
        }
    }
}

/// What a redemption brings beside the code.
pub(crate) struct Redemption<'a> {
    pub(crate) client_id: &'a str,
    pub(crate) redirect_uri: &'a str,
    pub(crate) verifier: Option<&'a str>,
    /// A page in a browser, without credential.
    pub(crate) browser: bool,
}

/// The codes of an authority.
pub(crate) struct AuthorizationCodes(Mutex<Bounded<Entry>>);

struct Entry {
    code: AuthorizationCode,
    expires_unix: u64,
    used: bool,
}

impl AuthorizationCodes {
    pub(crate) fn issue(&self, code: AuthorizationCode, now_unix: u64) -> String {
        let text = format!("1.{}", base64url(&random::<48>()));
        let entry = Entry { code, expires_unix: now_unix.saturating_add(LIFETIME), used: false };
        lock(&self.0).insert(text.clone(), entry);
        text
    }

    /// Uses a code up. A redemption that is refused leaves it as it was.
    pub(crate) fn redeem(
        &self,
        text: &str,
        by: &Redemption<'_>,
        now_unix: u64,
    ) -> Result<AuthorizationCode, Refusal> {
        let codes = &mut *lock(&self.0);
        let entry = codes.get_mut(text).ok_or_else(|| {
            refusal::GRANT_MALFORMED.because("Invalid request. Request is malformed or invalid.")
        })?;
        check(entry, by, now_unix)?;
        entry.used = true;
        Ok(entry.code.clone())
    }

    pub(crate) fn clear(&self) {
        lock(&self.0).clear();
    }
}

impl Default for AuthorizationCodes {
    fn default() -> Self {
        Self(Mutex::new(Bounded::new(KEPT)))
    }
}

fn check(entry: &Entry, by: &Redemption<'_>, now_unix: u64) -> Result<(), Refusal> {
    let code = &entry.code;
    if !code.client_id.eq_ignore_ascii_case(by.client_id) {
        return Err(refusal::GRANT_INVALID.because(
            "Provided grant is invalid or malformed. The authorization code was issued to another client.",
        ));
    }
    if code.browser != by.browser {
        return Err(if by.browser {
            refusal::CROSS_ORIGIN.because(
                "Cross-origin token redemption is permitted only for the 'Single-Page Application' client-type.",
            )
        } else {
            refusal::SAME_ORIGIN.because(
                "Tokens issued for the 'Single-Page Application' client-type may only be redeemed via cross-origin \
                 requests.",
            )
        });
    }
    if entry.used {
        return Err(refusal::CODE_USED.because(
            "OAuth2 Authorization code was already redeemed, please retry with a new valid code or use an existing \
             refresh token.",
        ));
    }
    if now_unix >= entry.expires_unix {
        return Err(refusal::CODE_EXPIRED.because(
            "The provided authorization code or refresh token has expired due to inactivity. Send a new interactive \
             authorization request for this user and resource.",
        ));
    }
    if code.redirect_uri != by.redirect_uri {
        return Err(refusal::REPLY_ADDRESS_DIFFERS.because(format!(
            "The reply address '{}' does not match the reply address '{}' provided when requesting Authorization code.",
            by.redirect_uri, code.redirect_uri
        )));
    }
    let Some(challenge) = &code.challenge else { return Ok(()) };
    if by.verifier.is_some_and(|verifier| challenge.is_met_by(verifier)) {
        return Ok(());
    }
    Err(refusal::CODE_VERIFIER_WRONG.because(
        "The Code_Verifier does not match the code_challenge supplied in the authorization request.",
    ))
}
