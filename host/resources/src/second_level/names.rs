//! How values are named in the store.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

/// What lies under a name.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// An entry, or where it is.
    Entry = b'e' as isize,
    /// When a group was removed last.
    Group = b'g' as isize,
    /// The names of a group's entries.
    Members = b'm' as isize,
    /// The lock of a flight.
    Lock = b'l' as isize,
}

/// The names of one application: `{prefix}{application}:{kind}{digest}`, both digests SHA-256 in base64url, the second of the
/// application's id with its length before it, the kind and the key. None of them tells a user or a scope.
#[derive(Clone, Debug)]
pub(super) struct Names {
    prefix: String,
    application: Sha256,
}

impl Names {
    pub(super) fn new(prefix: &str, application: &str) -> Self {
        let length = (application.len() as u64).to_le_bytes();
        let digest = Sha256::new().chain_update(length).chain_update(application);
        let short = digest.clone().finalize();
        let short = BASE64_URL_SAFE_NO_PAD.encode(short.get(..12).unwrap_or_default());
        Self { prefix: format!("{prefix}{short}:"), application: digest }
    }

    pub(super) fn of(&self, kind: Kind, key: &str) -> String {
        let kind = kind as u8;
        let digest = self.application.clone().chain_update([kind]).chain_update(key).finalize();
        format!("{}{}{}", self.prefix, char::from(kind), BASE64_URL_SAFE_NO_PAD.encode(digest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_differ_by_application_kind_and_key() {
        let name = |application, kind, key| Names::new("p:", application).of(kind, key);
        let one = name("app", Kind::Entry, "key");
        assert_eq!(one, name("app", Kind::Entry, "key"));
        assert!(one.starts_with("p:") && !one.contains("app") && !one.contains("key"), "{one}");
        for other in [
            name("ap", Kind::Entry, "pkey"),
            name("app", Kind::Group, "key"),
            name("app", Kind::Entry, "kez"),
            name("apq", Kind::Entry, "key"),
        ] {
            assert_ne!(one, other);
        }
    }
}
