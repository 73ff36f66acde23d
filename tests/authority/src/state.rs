//! What all connections share.

use std::sync::{Arc, Mutex, Weak};

use crate::{
    ClientCertificateIssuer, Clock, Faults,
    authorization_code::AuthorizationCodes,
    directory::Directory,
    federation::FederationIssuer,
    hosts::Hosts,
    jwt::SigningKey,
    log::Log,
    platform::{Machine, Vaults},
    refresh_token::RefreshTokens,
    stats::Counters,
    tls::Tls,
};

/// Everything a running authority knows.
pub(crate) struct State {
    pub(crate) directory: Directory,
    pub(crate) hosts: Arc<Hosts>,
    pub(crate) tls: Tls,
    pub(crate) key: SigningKey,
    pub(crate) federation: FederationIssuer,
    pub(crate) codes: AuthorizationCodes,
    pub(crate) refresh_tokens: RefreshTokens,
    pub(crate) clock: Clock,
    pub(crate) faults: Faults,
    pub(crate) log: Log,
    pub(crate) counters: Counters,
    /// Certifies managed identities; the mutual TLS hosts trust it.
    pub(crate) identity_issuer: ClientCertificateIssuer,
    pub(crate) machines: Mutex<Vec<Weak<Machine>>>,
    pub(crate) vaults: Vaults,
}

impl State {
    /// Revokes the refresh tokens of a user (object id or user principal name); how many there were.
    pub(crate) fn revoke_refresh_tokens(&self, user: &str) -> usize {
        let Some(account) = self.directory.user(user) else { return 0 };
        self.refresh_tokens.revoke_user(&account.user.object_id, self.clock.now_unix())
    }

    pub(crate) fn reset(&self) {
        self.faults.clear();
        self.log.clear();
        self.counters.clear();
        self.directory.forget_used();
        self.codes.clear();
        self.refresh_tokens.clear();
        self.clock.reset();
    }
}
