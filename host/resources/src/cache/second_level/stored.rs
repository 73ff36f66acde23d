//! Entries that own what they are made of, as they come from a second level.

use std::fmt;

use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

use crate::cache::{AccessToken, Account, AppMetadata, Components, Entry, IdToken, RefreshToken, Saved};

/// An entry and where it goes. See [`Saved`], which borrows the same.
#[derive(Clone, Serialize, Deserialize)]
pub struct Stored {
    /// The entry.
    pub entry: StoredEntry,
    /// The keys under which it is found.
    pub keys: Vec<String>,
    /// The keys of the groups that it belongs to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
}

impl Stored {
    /// Copies what is to be stored.
    pub fn new(saved: &Saved<'_>) -> Self {
        Self { entry: saved.entry.into(), keys: saved.keys.to_vec(), groups: saved.groups.to_vec() }
    }
}

impl fmt::Debug for Stored {
    /// Leaves out the keys, which may tell who the user is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stored").field("entry", &self.entry.entry()).finish_non_exhaustive()
    }
}

/// An entry that owns its strings. See [`Entry`] for the fields. Its secret is wiped when it is dropped.
#[derive(Clone, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the fields are those of Entry")]
#[serde(rename_all = "snake_case")]
pub enum StoredEntry {
    AccessToken(Box<StoredAccessToken>),
    RefreshToken(StoredRefreshToken),
    IdToken(StoredIdToken),
    Account(StoredAccount),
    AppMetadata(StoredAppMetadata),
}

macro_rules! stored {
    ($($(#[$doc:meta])* $name:ident from $entry:ident {
        texts: [$($text:ident),*], options: [$($option:ident),*], times: [$($time:ident),*],
        optional_times: [$($optional_time:ident),*], pairs: [$($pairs:ident),*]
    })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Default, Serialize, Deserialize)]
        #[allow(missing_docs, reason = "the fields are those of the borrowed form")]
        pub struct $name {
            $(pub $text: String,)*
            $(#[serde(default, skip_serializing_if = "Option::is_none")] pub $option: Option<String>,)*
            $(pub $time: u64,)*
            $(#[serde(default, skip_serializing_if = "Option::is_none")] pub $optional_time: Option<u64>,)*
            $(#[serde(default, skip_serializing_if = "Vec::is_empty")] pub $pairs: Vec<(String, String)>,)*
        }

        impl From<$entry<'_>> for $name {
            fn from(entry: $entry<'_>) -> Self {
                Self {
                    $($text: entry.$text.to_owned(),)*
                    $($option: entry.$option.map(ToOwned::to_owned),)*
                    $($time: entry.$time,)*
                    $($optional_time: entry.$optional_time,)*
                    $($pairs: entry.$pairs.to_vec(),)*
                }
            }
        }

        impl $name {
            /// The same, borrowed.
            pub fn entry(&self) -> $entry<'_> {
                $entry {
                    $($text: &self.$text,)*
                    $($option: self.$option.as_deref(),)*
                    $($time: self.$time,)*
                    $($optional_time: self.$optional_time,)*
                    $($pairs: Components::new(&self.$pairs),)*
                }
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.entry().fmt(f)
            }
        }
    )*};
}

stored! {
    /// See [`AccessToken`].
    StoredAccessToken from AccessToken {
        texts: [home_account_id, environment, client_id, realm, target, secret, token_type],
        options: [username, key_id, user_assertion_hash],
        times: [cached_at, expires_on],
        optional_times: [extended_expires_on, refresh_on],
        pairs: [components]
    }
    /// See [`RefreshToken`].
    StoredRefreshToken from RefreshToken {
        texts: [home_account_id, environment, client_id, secret],
        options: [family_id, user_assertion_hash],
        times: [],
        optional_times: [],
        pairs: [components]
    }
    /// See [`IdToken`].
    StoredIdToken from IdToken {
        texts: [home_account_id, environment, client_id, realm, secret],
        options: [], times: [], optional_times: [], pairs: []
    }
    /// See [`Account`].
    StoredAccount from Account {
        texts: [home_account_id, environment, realm, local_account_id, username],
        options: [name],
        times: [], optional_times: [], pairs: []
    }
    /// See [`AppMetadata`].
    StoredAppMetadata from AppMetadata {
        texts: [environment, client_id],
        options: [family_id],
        times: [], optional_times: [], pairs: []
    }
}

impl From<Entry<'_>> for StoredEntry {
    fn from(entry: Entry<'_>) -> Self {
        match entry {
            Entry::AccessToken(token) => Self::AccessToken(Box::new(token.into())),
            Entry::RefreshToken(token) => Self::RefreshToken(token.into()),
            Entry::IdToken(token) => Self::IdToken(token.into()),
            Entry::Account(account) => Self::Account(account.into()),
            Entry::AppMetadata(metadata) => Self::AppMetadata(metadata.into()),
        }
    }
}

impl StoredEntry {
    /// The same, borrowed.
    pub fn entry(&self) -> Entry<'_> {
        match self {
            Self::AccessToken(token) => Entry::AccessToken(token.entry()),
            Self::RefreshToken(token) => Entry::RefreshToken(token.entry()),
            Self::IdToken(token) => Entry::IdToken(token.entry()),
            Self::Account(account) => Entry::Account(account.entry()),
            Self::AppMetadata(metadata) => Entry::AppMetadata(metadata.entry()),
        }
    }
}

impl fmt::Debug for StoredEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.entry().fmt(f)
    }
}

impl Drop for StoredEntry {
    fn drop(&mut self) {
        match self {
            Self::AccessToken(token) => token.secret.zeroize(),
            Self::RefreshToken(token) => token.secret.zeroize(),
            Self::IdToken(token) => token.secret.zeroize(),
            Self::Account(_) | Self::AppMetadata(_) => {}
        }
    }
}
