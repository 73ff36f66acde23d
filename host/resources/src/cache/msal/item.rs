//! An entry as MSAL serialises it: a flat object whose values are strings, times included.

use std::collections::BTreeMap;

use serde::de::Error as _;
use serde::ser::{Serialize, Serializer};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use super::document::{Pairs, Section};
use super::keys::same;
use crate::cache::second_level::{
    StoredAccessToken, StoredAccount, StoredAppMetadata, StoredEntry, StoredIdToken, StoredRefreshToken,
};
use crate::cache::{Components, Entry};

/// An entry in a document.
#[derive(Clone)]
pub(super) enum Item<'a> {
    /// As it was read, until it is replaced.
    Read(&'a RawValue),
    /// As it will be written.
    Written(Pairs<'a, Value<'a>>),
}

/// A member of an entry.
#[derive(Clone, Copy)]
pub(super) enum Value<'a> {
    Read(&'a RawValue),
    Text(&'a str),
    Time(u64),
    Components(Components<'a>),
}

impl<'a> Item<'a> {
    pub(super) fn parse(value: &'a RawValue) -> Self {
        Self::Read(value)
    }

    /// The entry, with what else the one in its place said, if that doesn't belong to what is replaced.
    pub(super) fn of(entry: Entry<'a>, old: Option<&Item<'a>>) -> Self {
        let mut members = members(entry);
        let own = OWN_MEMBERS.iter().chain(&TOKEN_MEMBERS);
        for (name, value) in old.map(Item::members).unwrap_or_default().0 {
            if !own.clone().any(|own| *own == name) {
                members.put(name, value);
            }
        }
        Self::Written(members)
    }

    /// The entry, if it has the shape of its section.
    pub(super) fn read(&self, section: Section) -> Option<StoredEntry> {
        match self {
            Self::Read(value) => read(section, value.get()),
            Self::Written(_) => read(section, &Zeroizing::new(serde_json::to_string(self).ok()?)),
        }
    }

    fn members(&self) -> Pairs<'a, Value<'a>> {
        match self {
            Self::Read(value) => {
                let members: Pairs<'a, &'a RawValue> = serde_json::from_str(value.get()).unwrap_or_default();
                Pairs(members.0.into_iter().map(|(name, value)| (name, Value::Read(value))).collect())
            }
            Self::Written(members) => members.clone(),
        }
    }
}

/// The members that an entry has of its own, in MSAL's order. What is empty is left out.
fn members(entry: Entry<'_>) -> Pairs<'_, Value<'_>> {
    match entry {
        Entry::AccessToken(token) => {
            let kind = if token.components.is_empty() { "AccessToken" } else { "ATExt" };
            let is_bearer = same(token.token_type, BEARER);
            Pairs::default()
                .text("home_account_id", token.home_account_id)
                .text("environment", token.environment)
                .text("client_id", token.client_id)
                .text("secret", token.secret)
                .text("credential_type", kind)
                .text("realm", token.realm)
                .text("target", token.target)
                .optional("user_assertion_hash", token.user_assertion_hash)
                .time("cached_at", Some(token.cached_at))
                .time("expires_on", Some(token.expires_on))
                // Twice, because there are readers of either name.
                .time("extended_expires_on", token.extended_expires_on)
                .time("ext_expires_on", token.extended_expires_on)
                .time("refresh_on", token.refresh_on)
                .optional("kid", token.key_id)
                .text("token_type", if is_bearer { "" } else { token.token_type })
                .components("ext", token.components)
        }
        Entry::RefreshToken(token) => Pairs::default()
            .text("home_account_id", token.home_account_id)
            .text("environment", token.environment)
            .text("client_id", token.client_id)
            .text("secret", token.secret)
            .text("credential_type", "RefreshToken")
            .optional("family_id", token.family_id)
            .optional("user_assertion_hash", token.user_assertion_hash)
            .components("ext", token.components),
        Entry::IdToken(token) => Pairs::default()
            .text("home_account_id", token.home_account_id)
            .text("environment", token.environment)
            .text("client_id", token.client_id)
            .text("secret", token.secret)
            .text("credential_type", "IdToken")
            .text("realm", token.realm),
        Entry::Account(account) => Pairs::default()
            .text("home_account_id", account.home_account_id)
            .text("environment", account.environment)
            .text("local_account_id", account.local_account_id)
            .text("username", account.username)
            .optional("name", account.name)
            .text("authority_type", "MSSTS")
            .text("realm", account.realm),
        Entry::AppMetadata(metadata) => Pairs::default()
            .text("environment", metadata.environment)
            .text("client_id", metadata.client_id)
            .optional("family_id", metadata.family_id),
    }
}

impl<'a> Pairs<'a, Value<'a>> {
    fn text(self, name: &'static str, value: &'a str) -> Self {
        self.optional(name, Some(value))
    }

    fn optional(self, name: &'static str, value: Option<&'a str>) -> Self {
        self.add(name, value.filter(|value| !value.is_empty()).map(Value::Text))
    }

    fn time(self, name: &'static str, seconds: Option<u64>) -> Self {
        self.add(name, seconds.map(Value::Time))
    }

    fn components(self, name: &'static str, components: Components<'a>) -> Self {
        self.add(name, Some(components).filter(|components| !components.is_empty()).map(Value::Components))
    }

    fn add(mut self, name: &'static str, value: Option<Value<'a>>) -> Self {
        self.0.extend(value.map(|value| (name.into(), value)));
        self
    }
}

impl Serialize for Item<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Read(value) => value.serialize(serializer),
            Self::Written(members) => members.serialize(serializer),
        }
    }
}

impl Serialize for Value<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Read(value) => value.serialize(serializer),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Time(seconds) => serializer.collect_str(seconds),
            Self::Components(components) => serializer.collect_map(components.iter()),
        }
    }
}

/// The members of an entry of whatever kind, as they are read.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Members {
    #[serde(deserialize_with = "text")]
    home_account_id: String,
    #[serde(deserialize_with = "text")]
    environment: String,
    #[serde(deserialize_with = "text")]
    client_id: String,
    #[serde(deserialize_with = "text")]
    secret: String,
    #[serde(deserialize_with = "text")]
    credential_type: String,
    #[serde(deserialize_with = "text")]
    realm: String,
    #[serde(deserialize_with = "text")]
    target: String,
    #[serde(deserialize_with = "text")]
    token_type: String,
    user_assertion_hash: Option<String>,
    kid: Option<String>,
    family_id: Option<String>,
    #[serde(deserialize_with = "seconds")]
    cached_at: Option<u64>,
    #[serde(deserialize_with = "seconds")]
    expires_on: Option<u64>,
    #[serde(deserialize_with = "seconds")]
    extended_expires_on: Option<u64>,
    #[serde(deserialize_with = "seconds")]
    ext_expires_on: Option<u64>,
    #[serde(deserialize_with = "seconds")]
    refresh_on: Option<u64>,
    ext: Option<BTreeMap<String, String>>,
    #[serde(deserialize_with = "text")]
    ext_cache_key: String,
    #[serde(deserialize_with = "text")]
    local_account_id: String,
    #[serde(deserialize_with = "text")]
    username: String,
    name: Option<String>,
}

/// None for what isn't an object, or has a member of another type: a number in the place of a string is an error, as for
/// MSAL. An access token without an expiry is none, and neither is one that has components and doesn't say which: of MSAL for
/// Python, which keeps their hash alone.
fn read(section: Section, text: &str) -> Option<StoredEntry> {
    let members: Members = serde_json::from_str(text).ok()?;
    let has_components = !members.ext_cache_key.is_empty() || same(&members.credential_type, "ATExt");
    if has_components && members.ext.as_ref().is_none_or(BTreeMap::is_empty) {
        return None;
    }
    let Members { home_account_id, environment, client_id, secret, realm, .. } = members;
    let present = |text: Option<String>| text.filter(|text| !text.is_empty());
    let components = members.ext.unwrap_or_default().into_iter().collect();
    Some(match section {
        Section::AccessToken => StoredEntry::AccessToken(Box::new(StoredAccessToken {
            home_account_id,
            environment,
            client_id,
            realm,
            target: members.target,
            secret,
            token_type: present(Some(members.token_type)).unwrap_or_else(|| BEARER.to_owned()),
            // Its account's.
            username: None,
            key_id: present(members.kid),
            user_assertion_hash: present(members.user_assertion_hash),
            cached_at: members.cached_at.unwrap_or_default(),
            expires_on: members.expires_on?,
            extended_expires_on: members.extended_expires_on.or(members.ext_expires_on),
            refresh_on: members.refresh_on,
            components,
        })),
        Section::RefreshToken => StoredEntry::RefreshToken(StoredRefreshToken {
            home_account_id,
            environment,
            client_id,
            secret,
            family_id: present(members.family_id),
            user_assertion_hash: present(members.user_assertion_hash),
            components,
        }),
        Section::IdToken => {
            StoredEntry::IdToken(StoredIdToken { home_account_id, environment, client_id, realm, secret })
        }
        Section::Account => StoredEntry::Account(StoredAccount {
            home_account_id,
            environment,
            realm,
            local_account_id: members.local_account_id,
            username: members.username,
            name: present(members.name),
        }),
        Section::AppMetadata => StoredEntry::AppMetadata(StoredAppMetadata {
            environment,
            client_id,
            family_id: present(members.family_id),
        }),
    })
}

/// `null` is as good as nothing: MSAL for Python writes it.
fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// A time: Unix seconds, as a string.
fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let text: Option<String> = Option::deserialize(deserializer)?;
    let text = text.filter(|text| !text.is_empty());
    text.map(|text| text.parse().map_err(|_| D::Error::custom("not a time in seconds"))).transpose()
}

/// The token type that isn't written.
const BEARER: &str = "Bearer";

/// The members that entries may have of their own. One that a new entry doesn't have is none of its members.
const OWN_MEMBERS: [&str; 21] = [
    "home_account_id",
    "environment",
    "client_id",
    "secret",
    "credential_type",
    "realm",
    "target",
    "user_assertion_hash",
    "cached_at",
    "expires_on",
    "extended_expires_on",
    "ext_expires_on",
    "refresh_on",
    "kid",
    "token_type",
    "ext",
    "family_id",
    "local_account_id",
    "username",
    "name",
    "authority_type",
];

/// What MSAL keeps of the answer that brought a token: another token has another.
const TOKEN_MEMBERS: [&str; 1] = ["persisted_cache_parameters"];
