//! What is kept of an answer, and under which keys.
//!
//! There are two kinds of keys. *Internal* ones ([`AccessTokenClass`]) are what the host's cache is asked by: no two
//! different requests share one. *Item* and *partition* keys ([`AccessTokenItem::item_key`], [`app_partition_key`]) and
//! the JSON of an entry are MSAL's, byte by byte, so that a cache outside the process can be shared with it.

mod items;
mod json;
mod keys;

pub use items::{AccessTokenItem, AccountItem, AppMetadataItem, IdTokenItem, RefreshTokenItem};
pub use keys::{
    AccessTokenClass, Components, RefreshTokenClass, Subject, access_token_alternatives, account_group,
    account_key, accounts_group, app_partition_key, id_token_key, session_assertion_key, session_group,
    session_owner_key, user_assertion_hash,
};
