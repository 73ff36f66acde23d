//! The two levels of the token cache.

use std::{fmt::Display, slice, sync::Arc, time::Duration};

use serde_json::{Value, json};
use symbolon_resources::{
    cache::{
        AccessToken, ApplicationCache, ApplicationId, CacheLimits, Components, Entry, Found, Lookup,
        RefreshToken, Saved, TokenCache,
        msal::{Change, Document, LifetimeOptions},
    },
    clock::{Clock as _, SystemClock},
    configuration::Settings,
    second_level::{KeyRing, RedisOptions, Sealing, SecondLevels, TokenCacheOptions, TokenCacheStore},
};
use tempfile::TempDir;

use crate::{
    checks::Checks,
    input::{Input, Read, Uncovered},
    runtime::block_on,
};

/// The key that is read and written, where the vector names none.
const KEY: &str = "key";

/// A look-up that the first level may answer, or the second.
pub(super) fn cache_read(input: &Input<'_>, checks: &mut Checks<'_>) -> Read<()> {
    let (given, when) = input.parts()?;
    // What a handler of failures says changes nothing: nothing is tried again.
    given.flag("OnL2CacheFailure")?;
    given.flag("DisableL1Cache")?;
    let throws = given.any("L2").and_then(Value::as_str) == Some("throws");
    let second_level = if throws { Vec::new() } else { values(&given, "L2")? };
    let first_level = values(&given, "L1")?;
    let cache = if throws { Levels::without_a_server() } else { Levels::on_a_file(Sealing::Clear) }?;
    for (key, value) in &second_level {
        cache.write(key, value, Expiry::IN_AN_HOUR, Reach::Both)?;
    }
    cache.application.clear();
    for (key, value) in &first_level {
        cache.write(key, value, Expiry::IN_AN_HOUR, Reach::FirstLevel)?;
    }
    cache.check_read(checks)?;
    checks.check("l2_attempts", cache.attempts());
    checks.succeeded();
    given.finish().and_then(|()| when.finish())
}

/// Until when each level keeps what is written.
pub(super) fn cache_write(input: &Input<'_>, checks: &mut Checks<'_>) -> Read<()> {
    let (given, when) = input.parts()?;
    let suggested = time(&given, "suggested_expiry")?;
    let options = options(&given)?;
    let now = now();
    let at = |seconds: i64| now.saturating_add_signed(seconds);
    // What is relative goes to the store beside what is absolute, and there it counts.
    let absolute = LifetimeOptions { absolute_expiration_relative_to_now: None, ..options };
    let lifetime = absolute.lifetime(suggested.map(at), now * 1000);
    let from_now = |ms: Option<u64>| ms.map(|ms| (ms / 1000).cast_signed() - now.cast_signed());
    check_time(checks, "L2_absolute", from_now(lifetime.absolute_unix_ms));
    let seconds = |time: Option<Duration>| time.map(|time| time.as_secs().cast_signed());
    check_time(checks, "L2_relative", seconds(options.absolute_expiration_relative_to_now));
    check_time(checks, "L2_sliding", seconds(lifetime.sliding));

    let cache = Levels::on_a_file(Sealing::Clear)?;
    cache.write(KEY, "value", Expiry(suggested), Reach::FirstLevel)?;
    let kept = cache.application.get(KEY);
    let until = kept.as_ref().and_then(|kept| kept.access_token()).map(|token| token.expires_on);
    check_time(checks, "L1_absolute", until.map(|until| until.cast_signed() - now.cast_signed()));
    checks.check("L1_relative", Value::Null);
    let is_usable = matches!(cache.find(KEY)?, Found::Hit(_));
    checks.check("L1_stored", is_usable);
    checks.succeeded();
    given.finish().and_then(|()| when.finish())
}

/// What is written is read again.
pub(super) fn cache_read_after_write(input: &Input<'_>, checks: &mut Checks<'_>) -> Read<()> {
    let (given, when) = input.parts()?;
    for name in ["EnableAsyncL2Write", "DisableL1Cache"] {
        given.flag(name)?;
    }
    let value = given.text("value")?.or(when.text("value")?).unwrap_or("value");
    let expiry = time(&given, "suggested_expiry")?.map_or(Expiry::IN_AN_HOUR, |at| Expiry(Some(at)));
    let cache = Levels::on_a_file(Sealing::Clear)?;
    cache.write(KEY, value, expiry, Reach::Both)?;
    cache.check_read(checks)?;
    checks.succeeded();
    given.finish().and_then(|()| when.finish())
}

/// The settings of a cache that is shared with MSAL.
pub(super) fn cache_construct(input: &Input<'_>, checks: &mut Checks<'_>) -> Read<()> {
    let (given, when) = input.parts()?;
    let mut cache = json!({ "Mode": "Msal", "Redis": "redis://127.0.0.1", "InstanceName": "" });
    for name in ["AbsoluteExpirationRelativeToNow", "SlidingExpiration"] {
        if let Some(seconds) = time(&given, name)? {
            cache[format!("{name}Seconds")] = seconds.into();
        }
    }
    if let Some(ratio) = given.any("L1ExpirationTimeRatio") {
        cache["L1ExpirationTimeRatio"] = ratio.clone();
    }
    let settings = json!({
        "AzureAd": { "ClientId": "client", "TenantId": "contoso.com" },
        "Symbolon": { "TokenCache": cache },
    });
    match Settings::from_value(settings).application(None) {
        Ok(_) => checks.succeeded(),
        Err(error) => {
            let place = error.problems().first().map(|problem| problem.place.path().to_owned());
            checks.check("error", place);
        }
    }
    given.finish().and_then(|()| when.finish())
}

/// What was kept without encryption, read with or without it.
pub(super) fn cache_unprotect(input: &Input<'_>, checks: &mut Checks<'_>) -> Read<()> {
    let (given, when) = input.parts()?;
    let bytes = given.required("bytes")?;
    let directory = directory()?;
    Levels::on(file(&directory, Sealing::Clear))?.write(KEY, bytes, Expiry::IN_AN_HOUR, Reach::Both)?;
    let sealing = match given.flag("Encrypt")? {
        true => Sealing::Sealed(KeyRing::new([&[7; 32]]).ok_or_else(|| broken("no key"))?),
        false => Sealing::Clear,
    };
    let found = Levels::on(file(&directory, sealing))?.find(KEY)?;
    checks.check("bytes", secret(&found));
    checks.succeeded();
    given.finish().and_then(|()| when.finish())
}

/// What becomes of a partition after it was used.
pub(super) fn cache_after_access(input: &Input<'_>, checks: &mut Checks<'_>) -> Read<()> {
    let (given, when) = input.parts()?;
    let any = |names: [&str; 2]| Ok(given.flag(names[0])? || given.flag(names[1])?);
    let (changed, has_tokens) =
        (any(["HasStateChanged", "has_state_changed"])?, any(["HasTokens", "has_tokens"])?);
    let before = json!({ "AccessToken": { "k": { "client_id": "c", "expires_on": "9" } } }).to_string();
    let mut document = Document::parse(before.as_bytes()).map_err(broken)?;
    let group = if has_tokens { "account-group;1:d7:account" } else { "account-group;1:c7:account" };
    let (_, removal) = Change::removal(group).ok_or_else(|| broken("no group"))?;
    if changed {
        removal.apply(&mut document);
    }
    let action = match (changed, document.is_over()) {
        (false, _) => Value::Null,
        (true, true) => "remove".into(),
        (true, false) => "write".into(),
    };
    checks.check("action", action);
    given.finish().and_then(|()| when.finish())
}

/// Both levels of an application's cache.
struct Levels {
    application: ApplicationCache<String>,
    second_levels: SecondLevels,
    _directory: Option<TempDir>,
}

/// How far a write goes.
#[derive(PartialEq)]
enum Reach {
    FirstLevel,
    Both,
}

/// When a token expires, in seconds from now. What has no end is a refresh token.
#[derive(Clone, Copy)]
struct Expiry(Option<i64>);

impl Expiry {
    const IN_AN_HOUR: Self = Self(Some(3600));
}

impl Levels {
    fn on(options: TokenCacheOptions) -> Read<Self> {
        let clock = Arc::new(SystemClock);
        let second_levels = SecondLevels::new(clock.clone());
        let id = ApplicationId::new("application");
        let opened = block_on(async { Ok(second_levels.open(&options, &id)?) }).map_err(broken)?;
        let application = TokenCache::new(CacheLimits::default(), clock).namespace(id);
        Ok(Self { application: application.with_second_level(opened), second_levels, _directory: None })
    }

    fn on_a_file(sealing: Sealing) -> Read<Self> {
        let directory = directory()?;
        let levels = Self::on(file(&directory, sealing))?;
        Ok(Self { _directory: Some(directory), ..levels })
    }

    /// Nobody listens at this port.
    fn without_a_server() -> Read<Self> {
        let redis = RedisOptions::parse("redis://127.0.0.1:1").map_err(broken)?;
        Self::on(TokenCacheOptions::new(TokenCacheStore::Redis(redis), Sealing::Clear))
    }

    fn write(&self, key: &str, value: &str, expiry: Expiry, reach: Reach) -> Read<()> {
        let saved = Saved {
            entry: entry(value, expiry.0.map(|seconds| now().saturating_add_signed(seconds))),
            keys: &[key.to_owned()],
            replaces: &[],
            groups: &[],
            partition_key: "",
            item_key: "",
        };
        match reach {
            Reach::FirstLevel => self.application.put(None, &[], &[saved]),
            Reach::Both => {
                let write = self.application.put_through(None, &[], slice::from_ref(&saved));
                block_on(async {
                    write.await;
                    Ok(())
                })
                .map_err(broken)?;
            }
        }
        Ok(())
    }

    fn find(&self, key: &str) -> Read<Found<String>> {
        let lookup = Lookup {
            alternatives: &[vec![key.to_owned()]],
            expires_after: now(),
            expires_before: u64::MAX,
            bypass: false,
            renews: false,
            flight: None,
        };
        block_on(async { Ok(self.application.find(lookup).await) }).map_err(broken)
    }

    fn check_read(&self, checks: &mut Checks<'_>) -> Read<()> {
        let before = self.second_levels.statistics().hits;
        let found = self.find(KEY)?;
        let level = match (&found, self.second_levels.statistics().hits - before) {
            (Found::Hit(_), 0) => "L1Cache",
            (Found::Hit(_), _) => "L2Cache",
            _ => "None",
        };
        checks.check("value", secret(&found));
        checks.check("level", level);
        Ok(())
    }

    /// How often the store was asked.
    fn attempts(&self) -> u64 {
        let statistics = self.second_levels.statistics();
        statistics.hits + statistics.failures.max(statistics.misses)
    }
}

fn entry(secret: &str, expires_on: Option<u64>) -> Entry<'_> {
    match expires_on {
        Some(expires_on) => Entry::AccessToken(AccessToken {
            home_account_id: "",
            environment: "",
            client_id: "",
            realm: "",
            target: "",
            secret,
            token_type: "Bearer",
            username: None,
            key_id: None,
            user_assertion_hash: None,
            cached_at: now(),
            expires_on,
            extended_expires_on: None,
            refresh_on: None,
            components: Components::default(),
        }),
        None => Entry::RefreshToken(RefreshToken {
            home_account_id: "",
            environment: "",
            client_id: "",
            family_id: None,
            secret,
            user_assertion_hash: None,
            components: Components::default(),
        }),
    }
}

fn directory() -> Read<TempDir> {
    TempDir::new().map_err(broken)
}

fn file(directory: &TempDir, sealing: Sealing) -> TokenCacheOptions {
    TokenCacheOptions::new(TokenCacheStore::File(directory.path().join("cache")), sealing)
}

fn secret(found: &Found<String>) -> Value {
    match found {
        Found::Hit(entry) => entry.access_token().map(|token| token.secret.to_owned()).into(),
        _ => Value::Null,
    }
}

/// What a level has at first: nothing, a value under the key that is read, or values under others.
fn values(given: &Input<'_>, level: &str) -> Read<Vec<(String, String)>> {
    match given.any(level) {
        None => Ok(Vec::new()),
        Some(Value::String(value)) => Ok(vec![(KEY.to_owned(), value.clone())]),
        Some(Value::Object(_)) => Ok(given.pairs(level)?.unwrap_or_default()),
        Some(other) => Err(Uncovered(format!("{level} is {other}"))),
    }
}

fn options(given: &Input<'_>) -> Read<LifetimeOptions> {
    let duration = |name: &str| -> Read<Option<Duration>> {
        Ok(time(given, name)?.map(|seconds| Duration::from_secs(seconds.unsigned_abs())))
    };
    let absolute = time(given, "AbsoluteExpiration")?;
    Ok(LifetimeOptions {
        absolute_expiration: absolute.map(|seconds| now().saturating_add_signed(seconds)),
        absolute_expiration_relative_to_now: duration("AbsoluteExpirationRelativeToNow")?,
        sliding_expiration: duration("SlidingExpiration")?,
    })
}

/// A time from now, or for how long: `+1.5h`, `-1h`, `60min`, `14d`. In seconds.
fn time(given: &Input<'_>, name: &str) -> Read<Option<i64>> {
    let Some(text) = given.text(name)? else { return Ok(None) };
    let seconds = seconds(text).ok_or_else(|| Uncovered(format!("{name} is the time {text}")))?;
    Ok(Some(seconds))
}

fn seconds(text: &str) -> Option<i64> {
    let digits = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at(digits);
    let unit = match unit {
        "ms" => 0.001,
        "s" | "sec" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        "d" => 86400.0,
        _ => return None,
    };
    let number: f64 = number.trim().parse().ok()?;
    Some((number * unit).round() as i64)
}

/// Compares a time, whatever its unit is.
fn check_time(checks: &mut Checks<'_>, name: &str, got: Option<i64>) {
    checks.check_part(name, |expected| match (got, expected) {
        (Some(got), Value::String(text)) if seconds(text).is_some_and(|time| time.abs_diff(got) < 2) => {
            expected.clone()
        }
        (got, _) => got.map(|got| format!("{got:+}s")).into(),
    });
}

fn now() -> u64 {
    SystemClock.now_unix()
}

fn broken(error: impl Display) -> Uncovered {
    Uncovered(format!("the cache couldn't be made: {error}"))
}
