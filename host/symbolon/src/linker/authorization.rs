//! Tokens that their holder can't read.

#![allow(unreachable_pub, reason = "bindgen! re-exports what it is given, which must be public for that")]

use std::fmt;
use std::sync::Arc;

use symbolon_resources::credentials::SelectedCredential;

use super::ctx::Guest;
use crate::result::AuthenticationResult;

/// What the resource `authorization` stands for: what is presented, and who may send it where. Dropped, it is forgotten.
#[derive(Clone)]
pub struct Authorization {
    /// Whose it is: it serves no other guest, whoever hands it on.
    pub(super) guest: Arc<Guest>,
    pub(super) proof: Proof,
}

/// What is presented.
#[derive(Clone)]
pub(super) enum Proof {
    Token {
        token: AuthenticationResult,
        /// What it was asked for, which says to which APIs it goes.
        scopes: Vec<String>,
        /// Whether it goes out only on a connection in whose handshake its certificate was presented.
        is_bound: bool,
    },
    /// The application's certificate, and no token.
    Certificate(Box<SelectedCredential>),
}

impl Proof {
    /// What the token was asked for.
    pub(super) fn scopes(&self) -> &[String] {
        match self {
            Self::Token { scopes, .. } => scopes,
            Self::Certificate(_) => &[],
        }
    }
}

impl fmt::Debug for Authorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authorization").field("scopes", &self.proof.scopes()).finish_non_exhaustive()
    }
}
