//! What `symbolon check` says about the second level of the token cache.

use std::fmt::Write as _;

use serde::Serialize;
use symbolon::{Sealing, TokenCacheOptions};
use symbolon_resources::second_level::try_store;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TokenCacheReport {
    /// Where it is, without user and password.
    store: String,
    /// Whether tokens are encrypted there.
    encrypted: bool,
    /// What tells the keys apart, first the one that encrypts; nothing where some are in a vault.
    keys: Vec<String>,
    /// Whether acquisitions wait until their tokens are kept.
    waits_for_writes: bool,
    /// Whether it answers; nothing without `--online`.
    available: Option<bool>,
    problem: Option<String>,
}

impl TokenCacheReport {
    pub(super) async fn new(options: &TokenCacheOptions, online: bool) -> Self {
        let tried = match online {
            true => Some(try_store(&options.store).await),
            false => None,
        };
        let keys = match &options.sealing {
            Sealing::Sealed(ring) => ring.ids().collect(),
            _ => Vec::new(),
        };
        Self {
            store: options.store.to_string(),
            encrypted: !matches!(options.sealing, Sealing::Clear),
            keys,
            waits_for_writes: options.waits_for_writes,
            available: tried.as_ref().map(Result::is_ok),
            problem: tried.and_then(Result::err),
        }
    }

    pub(super) fn to_text(&self) -> String {
        let mut text = format!("token cache behind the process's own: {}", self.store);
        let _ = match self.encrypted {
            true if self.keys.is_empty() => write!(text, ", encrypted (keys from a vault)"),
            true => write!(text, ", encrypted (keys {})", self.keys.join(", ")),
            false => write!(text, ", NOT encrypted"),
        };
        match (&self.problem, self.available) {
            (Some(problem), _) => {
                let _ =
                    write!(text, "; NOT available ({problem}), so that each process has tokens of its own");
            }
            (None, Some(_)) => text.push_str("; available"),
            (None, None) => {}
        }
        text.push('\n');
        text
    }
}
