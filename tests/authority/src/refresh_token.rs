//! Refresh tokens: opaque, kept here, good for one client.

use std::{fmt, sync::Mutex};

use crate::{
    clock::timestamp,
    encoding::{base64url, from_base64url, random, random_guid},
    lock,
    refusal::{self, Refusal},
    store::Bounded,
};

/// So many refresh tokens are kept; older ones are forgotten.
const KEPT: usize = 50_000;
/// What every refresh token starts with.
const PREFIX: &str = "1.";
/// The random bytes after it.
const BYTES: usize = 48;

/// What a refresh token stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Session {
    pub(crate) client_id: String,
    /// The object id of the user in the home tenant.
    pub(crate) user: String,
    /// The scopes of the grant, as requested.
    pub(crate) scope: String,
    /// The user is an agent's own.
    pub(crate) of_agent: bool,
    /// Given to a page in a browser, which has no credential.
    pub(crate) browser: bool,
}

/// The refresh tokens of an authority.
pub(crate) struct RefreshTokens(Mutex<Bounded<Entry>>);

struct Entry {
    session: Session,
    issued_unix: u64,
    expires_unix: u64,
    /// Shared with the tokens that it was exchanged for, and the one it came of.
    family: String,
    used: bool,
    revoked_unix: Option<u64>,
}

/// A refresh token that was accepted.
#[derive(Debug)]
pub(crate) struct Redeemed {
    pub(crate) session: Session,
    pub(crate) family: String,
}

impl RefreshTokens {
    /// A new token; of `family`, or the first of a new one.
    pub(crate) fn issue(
        &self,
        session: Session,
        family: Option<String>,
        now_unix: u64,
        lifetime: u64,
    ) -> String {
        let token = format!("{PREFIX}{}", base64url(&random::<BYTES>()));
        let entry = Entry {
            session,
            issued_unix: now_unix,
            expires_unix: now_unix.saturating_add(lifetime),
            family: family.unwrap_or_else(random_guid),
            used: false,
            revoked_unix: None,
        };
        lock(&self.0).insert(token.clone(), entry);
        token
    }

    /// Checks a token for a client. `rotating` makes a second use revoke its whole family.
    pub(crate) fn redeem(
        &self,
        token: &str,
        client_id: &str,
        browser: bool,
        rotating: bool,
        now_unix: u64,
    ) -> Result<Redeemed, Refusal> {
        if !is_well_formed(token) {
            return Err(refusal::GRANT_MALFORMED.because("Invalid request. Request is malformed or invalid."));
        }
        let tokens = &mut *lock(&self.0);
        let invalid = || {
            refusal::GRANT_INVALID.because(
                "Provided grant is invalid or malformed. The refresh token is not one of this client.",
            )
        };
        let entry = tokens.get_mut(token).ok_or_else(invalid)?;
        if !entry.session.client_id.eq_ignore_ascii_case(client_id) || entry.session.browser != browser {
            return Err(invalid());
        }
        if let Some(revoked_unix) = entry.revoked_unix {
            return Err(revoked(entry.issued_unix, revoked_unix));
        }
        if now_unix >= entry.expires_unix {
            return Err(refusal::REFRESH_TOKEN_EXPIRED.because(format!(
                "The refresh token has expired due to inactivity. The token was issued on {} and was inactive for {} s.",
                timestamp(entry.issued_unix),
                entry.expires_unix - entry.issued_unix
            )));
        }
        let (issued_unix, used_before) = (entry.issued_unix, std::mem::replace(&mut entry.used, true));
        let redeemed = Redeemed { session: entry.session.clone(), family: entry.family.clone() };
        if rotating && used_before {
            revoke(tokens, now_unix, |other| other.family == redeemed.family);
            return Err(revoked(issued_unix, now_unix));
        }
        Ok(redeemed)
    }

    /// Undoes the use of a token that was redeemed.
    pub(crate) fn release(&self, token: &str) {
        if let Some(entry) = lock(&self.0).get_mut(token) {
            entry.used = false;
        }
    }

    /// Revokes every token of a user (object id in the home tenant); how many.
    pub(crate) fn revoke_user(&self, object_id: &str, now_unix: u64) -> usize {
        revoke(&mut lock(&self.0), now_unix, |entry| entry.session.user == object_id)
    }

    pub(crate) fn clear(&self) {
        lock(&self.0).clear();
    }
}

impl Default for RefreshTokens {
    fn default() -> Self {
        Self(Mutex::new(Bounded::new(KEPT)))
    }
}

impl fmt::Debug for RefreshTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RefreshTokens").finish_non_exhaustive()
    }
}

fn is_well_formed(token: &str) -> bool {
    let bytes = token.strip_prefix(PREFIX).and_then(from_base64url);
    bytes.is_some_and(|bytes| bytes.len() == BYTES)
}

fn revoke(tokens: &mut Bounded<Entry>, now_unix: u64, which: impl Fn(&Entry) -> bool) -> usize {
    let mut count = 0;
    for entry in tokens.values_mut().filter(|entry| entry.revoked_unix.is_none() && which(entry)) {
        entry.revoked_unix = Some(now_unix);
        count += 1;
    }
    count
}

fn revoked(issued_unix: u64, revoked_unix: u64) -> Refusal {
    let refusal = refusal::GRANT_REVOKED.because(format!(
        "The provided grant has expired due to it being revoked, a fresh auth token is needed. The user might have \
         changed or reset their password. The grant was issued on '{}' and the TokensValidFrom date (before which \
         tokens are not valid) for this user is '{}'.",
        timestamp(issued_unix),
        timestamp(revoked_unix)
    ));
    Refusal { suberror: Some("bad_token".to_owned()), ..refusal }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session() -> Session {
        Session {
            client_id: "a".into(),
            user: "u".into(),
            scope: "s".into(),
            of_agent: false,
            browser: false,
        }
    }

    #[test]
    fn only_rotation_ends_a_token_by_its_use() {
        let tokens = RefreshTokens::default();
        let first = tokens.issue(session(), None, 0, 100);
        let code = |token: &str, client: &str, rotating, now| {
            tokens
                .redeem(token, client, false, rotating, now)
                .map(|_| 0)
                .unwrap_or_else(|refusal| refusal.code)
        };
        assert_eq!(code(&first, "A", false, 1), 0);
        assert_eq!(code(&first, "a", false, 99), 0);
        assert_eq!(code(&first, "a", false, 100), 700_082);
        assert_eq!(code(&first, "b", false, 1), 70_000);
        assert_eq!(code("1.AAAA", "a", false, 1), 9_002_313);
        let family = tokens.redeem(&first, "a", false, false, 1).unwrap().family;
        let second = tokens.issue(session(), Some(family), 1, 100);
        assert_eq!(code(&first, "a", true, 1), 50_173);
        assert_eq!(code(&second, "a", true, 1), 50_173, "the family is revoked");
    }

    #[test]
    fn a_user_is_revoked_once() {
        let tokens = RefreshTokens::default();
        let token = tokens.issue(session(), None, 0, 100);
        assert_eq!((tokens.revoke_user("u", 1), tokens.revoke_user("u", 1)), (1, 0));
        assert_eq!(tokens.redeem(&token, "a", false, false, 1).unwrap_err().code, 50_173);
    }
}
