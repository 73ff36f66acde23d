//! Tokens that their holder can't read.

#![allow(unreachable_pub, reason = "bindgen! re-exports what it is given, which must be public for that")]

use std::fmt;
use std::sync::Arc;

use super::ctx::Guest;
use crate::result::AuthenticationResult;

/// What the resource `authorization` stands for: a token, and who may send it where. Dropped, it is forgotten.
#[derive(Clone)]
pub struct Authorization {
    /// Whose it is: it serves no other guest, whoever hands it on.
    pub(super) guest: Arc<Guest>,
    pub(super) token: AuthenticationResult,
    /// What it was asked for, which says to which APIs it goes.
    pub(super) scopes: Vec<String>,
    /// Whether it goes out only on a connection in whose handshake its certificate was presented.
    pub(super) is_bound: bool,
}

impl fmt::Debug for Authorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authorization").field("scopes", &self.scopes).finish_non_exhaustive()
    }
}
