//! Entries of the protocol as entries of the cache, and back: what the interface between guest and host does with them.

use symbolon_protocol::acquisition::Entry as Item;
use symbolon_protocol::cache::{
    AccessTokenItem, AccountItem, AppMetadataItem, IdTokenItem, RefreshTokenItem,
};
use symbolon_resources::cache::{self, AccessToken, Account, AppMetadata, Entry, IdToken, RefreshToken};

pub(crate) type Components = Vec<(String, String)>;

/// What the entry in the cache borrows beside the item.
pub(crate) fn components(item: &Item) -> Components {
    let components = match item {
        Item::AccessToken(item) => &item.components,
        Item::RefreshToken(item) => &item.components,
        _ => return Components::new(),
    };
    components.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

pub(crate) fn to_cache<'a>(item: &'a Item, components: &'a Components) -> Entry<'a> {
    match item {
        Item::AccessToken(item) => Entry::AccessToken(AccessToken {
            home_account_id: &item.home_account_id,
            environment: &item.environment,
            client_id: &item.client_id,
            realm: &item.realm,
            target: &item.target,
            secret: &item.secret,
            token_type: &item.token_type,
            username: item.username.as_deref(),
            key_id: item.key_id.as_deref(),
            user_assertion_hash: item.user_assertion_hash.as_deref(),
            cached_at: item.cached_at,
            expires_on: item.expires_on,
            extended_expires_on: item.extended_expires_on,
            refresh_on: item.refresh_on,
            components: cache::Components::new(components),
        }),
        Item::RefreshToken(item) => Entry::RefreshToken(RefreshToken {
            home_account_id: &item.home_account_id,
            environment: &item.environment,
            client_id: &item.client_id,
            family_id: item.family_id.as_deref(),
            secret: &item.secret,
            user_assertion_hash: item.user_assertion_hash.as_deref(),
            components: cache::Components::new(components),
        }),
        Item::IdToken(item) => Entry::IdToken(IdToken {
            home_account_id: &item.home_account_id,
            environment: &item.environment,
            client_id: &item.client_id,
            realm: &item.realm,
            secret: &item.secret,
        }),
        Item::Account(item) => Entry::Account(Account {
            home_account_id: &item.home_account_id,
            environment: &item.environment,
            realm: &item.realm,
            local_account_id: &item.local_account_id,
            username: &item.username,
            name: item.name.as_deref(),
        }),
        Item::AppMetadata(item) => Entry::AppMetadata(AppMetadata {
            environment: &item.environment,
            client_id: &item.client_id,
            family_id: item.family_id.as_deref(),
        }),
    }
}

pub(crate) fn from_cache(entry: Entry<'_>) -> Item {
    match entry {
        Entry::AccessToken(token) => Item::AccessToken(Box::new(AccessTokenItem {
            home_account_id: token.home_account_id.into(),
            environment: token.environment.into(),
            client_info: None,
            client_id: token.client_id.into(),
            realm: token.realm.into(),
            target: token.target.into(),
            secret: token.secret.into(),
            token_type: token.token_type.into(),
            key_id: token.key_id.map(Into::into),
            user_assertion_hash: token.user_assertion_hash.map(Into::into),
            cached_at: token.cached_at,
            expires_on: token.expires_on,
            extended_expires_on: token.extended_expires_on,
            refresh_on: token.refresh_on,
            components: token.components.iter().collect(),
            username: token.username.map(Into::into),
        })),
        Entry::RefreshToken(token) => Item::RefreshToken(Box::new(RefreshTokenItem {
            home_account_id: token.home_account_id.into(),
            environment: token.environment.into(),
            client_info: None,
            client_id: token.client_id.into(),
            family_id: token.family_id.map(Into::into),
            secret: token.secret.into(),
            user_assertion_hash: token.user_assertion_hash.map(Into::into),
            components: token.components.iter().collect(),
        })),
        Entry::IdToken(token) => Item::IdToken(Box::new(IdTokenItem {
            home_account_id: token.home_account_id.into(),
            environment: token.environment.into(),
            client_info: None,
            client_id: token.client_id.into(),
            realm: token.realm.into(),
            secret: token.secret.into(),
        })),
        Entry::Account(account) => Item::Account(Box::new(AccountItem {
            home_account_id: account.home_account_id.into(),
            environment: account.environment.into(),
            realm: account.realm.into(),
            local_account_id: account.local_account_id.into(),
            username: account.username.into(),
            name: account.name.map(Into::into),
            ..AccountItem::default()
        })),
        Entry::AppMetadata(metadata) => Item::AppMetadata(AppMetadataItem {
            environment: metadata.environment.into(),
            client_id: metadata.client_id.into(),
            family_id: metadata.family_id.map(Into::into),
        }),
    }
}
