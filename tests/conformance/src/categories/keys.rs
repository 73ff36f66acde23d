//! Keys and JSON of cache entries.

use serde_json::Value;
use symbolon_protocol::{
    acquisition::Entry,
    cache::{
        AccessTokenItem, AccountItem, AppMetadataItem, Components, IdTokenItem, RefreshTokenItem,
        app_partition_key, user_assertion_hash,
    },
    scopes::Scopes,
};

use super::{
    names::members_of,
    scenario::{Scenario, account},
};
use crate::{
    checks::Checks,
    host::optional,
    input::{Input, Read, Uncovered},
};

pub(super) fn ext_hash(input: &Input<'_>, checks: &mut Checks<'_>) -> Read<()> {
    let components = components(input)?;
    let hash = components.hash();
    checks.check("hash", optional(hash.as_deref()));
    // The form in item keys is taken from one.
    let key = AccessTokenItem { components, ..AccessTokenItem::default() }.item_key();
    let in_item_key = hash.as_ref().and_then(|hash| key.get(key.len() - hash.len()..));
    checks.check("hash_in_item_key", optional(in_item_key));
    Ok(())
}

pub(super) fn item_key(input: &Input<'_>, checks: &mut Checks<'_>) -> Read<()> {
    checks.check("key", item(input)?.key());
    Ok(())
}

pub(super) fn item_json(input: &Input<'_>, checks: &mut Checks<'_>) -> Read<()> {
    let json: Value = serde_json::from_str(&item(input)?.json())
        .map_err(|error| Uncovered(format!("the entry's JSON can't be read: {error}")))?;
    checks.check_part("json", |_| json.clone());
    checks.check_part("json_contains", |expected| members_of(expected, &json));
    checks.check_part("absent_json", |expected| {
        let absent = |name: &&Value| name.as_str().is_some_and(|name| json.get(name).is_none());
        expected.as_array().map_or(Value::Null, |names| names.iter().filter(absent).cloned().collect())
    });
    Ok(())
}

enum Item {
    AccessToken(AccessTokenItem),
    RefreshToken(RefreshTokenItem),
    IdToken(IdTokenItem),
    Account(AccountItem),
    AppMetadata(AppMetadataItem),
}

impl Item {
    fn key(&self) -> String {
        match self {
            Self::AccessToken(item) => item.item_key(),
            Self::RefreshToken(item) => item.item_key(),
            Self::IdToken(item) => item.item_key(),
            Self::Account(item) => item.item_key(),
            Self::AppMetadata(item) => item.item_key(),
        }
    }

    fn json(&self) -> String {
        match self {
            Self::AccessToken(item) => item.to_json(),
            Self::RefreshToken(item) => item.to_json(),
            Self::IdToken(item) => item.to_json(),
            Self::Account(item) => item.to_json(),
            Self::AppMetadata(item) => item.to_json(),
        }
    }
}

fn item(input: &Input<'_>) -> Read<Item> {
    let text = |name: &str| Ok(input.text(name)?.unwrap_or_default().to_owned());
    let maybe = |name: &str| Ok(input.text(name)?.map(str::to_owned));
    Ok(match input.required("item")? {
        "access_token" | "at" => Item::AccessToken(access_token(input)?),
        "refresh_token" | "rt" => Item::RefreshToken(RefreshTokenItem {
            home_account_id: text("home_account_id")?,
            environment: text("environment")?,
            client_info: maybe("client_info")?,
            client_id: text("client_id")?,
            family_id: maybe("family_id")?,
            secret: text("secret")?,
            user_assertion_hash: maybe("user_assertion_hash")?,
            components: components(input)?,
        }),
        "id_token" | "idt" => Item::IdToken(IdTokenItem {
            home_account_id: text("home_account_id")?,
            environment: text("environment")?,
            client_info: maybe("client_info")?,
            client_id: text("client_id")?,
            realm: text("realm")?,
            secret: text("secret")?,
        }),
        "account" => Item::Account(AccountItem {
            home_account_id: text("home_account_id")?,
            environment: text("environment")?,
            client_info: maybe("client_info")?,
            realm: text("realm")?,
            local_account_id: text("local_account_id")?,
            username: text("username")?,
            name: maybe("name")?,
            given_name: maybe("given_name")?,
            family_name: maybe("family_name")?,
        }),
        "app_metadata" => Item::AppMetadata(AppMetadataItem {
            environment: text("environment")?,
            client_id: text("client_id")?,
            family_id: maybe("family_id")?,
        }),
        other => return Err(Uncovered(format!("there is no item {other}"))),
    })
}

fn access_token(input: &Input<'_>) -> Read<AccessTokenItem> {
    let text = |name: &str| -> Read<String> { Ok(input.text(name)?.unwrap_or_default().to_owned()) };
    let maybe = |name: &str| -> Read<Option<String>> { Ok(input.text(name)?.map(str::to_owned)) };
    let target = match input.text("response_scope")? {
        Some(scope) => Scopes::from_response(scope).sorted_target(),
        None => text("target")?,
    };
    Ok(AccessTokenItem {
        home_account_id: text("home_account_id")?,
        environment: text("environment")?,
        client_info: maybe("client_info")?,
        client_id: text("client_id")?,
        realm: text("realm")?,
        target,
        secret: text("secret")?,
        token_type: input.text("token_type")?.unwrap_or("Bearer").to_owned(),
        key_id: input.text_of(&["kid", "key_id"])?.map(str::to_owned),
        user_assertion_hash: maybe("user_assertion_hash")?,
        cached_at: seconds(input, "cached_at")?.unwrap_or_default(),
        expires_on: seconds(input, "expires_on")?.unwrap_or_default(),
        extended_expires_on: seconds(input, "extended_expires_on")?,
        refresh_on: seconds(input, "refresh_on")?,
        components: components(input)?,
        username: None,
    })
}

/// A time in seconds, as a number or as a string of digits.
fn seconds(input: &Input<'_>, name: &str) -> Read<Option<u64>> {
    let Some(value) = input.any(name) else { return Ok(None) };
    let seconds = value.as_u64().or_else(|| value.as_str()?.parse().ok());
    seconds.map(Some).ok_or_else(|| Uncovered(format!("{name} isn't a time in seconds")))
}

fn components(input: &Input<'_>) -> Read<Components> {
    Ok(input.pairs("components")?.unwrap_or_default().into_iter().collect())
}

pub(super) fn partition_key(input: &Input<'_>, checks: &mut Checks<'_>) -> Read<()> {
    let key = match input.required("flow")? {
        "client_credentials" | "managed_identity" | "mi" => {
            // That some kinds of authorities have no tenant shows in the tenant already.
            input.text("authority_type")?;
            let (key_id, client_id) = (input.text_of(&["kid", "key_id"])?, input.required("client_id")?);
            app_partition_key(key_id, client_id, input.text("tenant")?, &components(input)?)
        }
        "obo" | "on_behalf_of" if input.any("user_assertion").is_some() => {
            user_assertion_hash(input.required("user_assertion")?)
        }
        flow => partition_of(flow, input, checks)?,
    };
    checks.check("key", key);
    Ok(())
}

/// The partition in which the flow's access token is kept.
fn partition_of(flow: &str, input: &Input<'_>, checks: &mut Checks<'_>) -> Read<String> {
    // A process by its key is one that is initiated.
    let flow =
        if flow.contains("long_running") || flow.contains("obo") { "long_running_initiate" } else { flow };
    let mut members = input.rest();
    members.insert("flow".to_owned(), flow.into());
    let mut scenario = Scenario::read(&Input::new(&members))?;
    scenario.host.authority.account = account(input)?;
    scenario.prepare(scenario.request.scopes.clone(), checks);
    if !matches!(scenario.acquire(checks), Some(Ok(_))) {
        return Err(Uncovered("there was no token".into()));
    }
    let partition = scenario.host.cache.entries().find_map(|saved| match saved.entry {
        Entry::AccessToken(_) => Some(saved.partition_key.clone()),
        _ => None,
    });
    partition.ok_or_else(|| Uncovered("no token is kept".into()))
}
