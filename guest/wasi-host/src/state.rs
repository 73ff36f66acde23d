//! What an instance knows: read once, when it is first asked.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use spin::{Mutex, Once};
use symbolon_wasi::cache::Cache;
use symbolon_wasi::credentials::{SECRETS, sections};
use symbolon_wasi::egress::{Egress, gateway};
use symbolon_wasi::seal::Seal;
use symbolon_wasi::settings::Settings;

use crate::bindings::wasi::cli::environment;
use crate::bindings::wasi::clocks::wall_clock;
use crate::bindings::wasi::config::store as config;
use crate::bindings::wasi::keyvalue::store as keyvalue;
use crate::bindings::wasi::random::random;
use crate::store::Store;

/// What an instance knows.
pub(crate) struct State {
    pub(crate) settings: Settings,
    pub(crate) egress: Egress,
    pub(crate) cache: Mutex<Cache<Store>>,
    gateway: Option<String>,
}

static STATE: Once<Result<State, String>> = Once::new();

/// What this instance knows, or what is wrong with its configuration.
pub(crate) fn state() -> Result<&'static State, String> {
    STATE.call_once(State::read).as_ref().map_err(Clone::clone)
}

impl State {
    fn read() -> Result<Self, String> {
        let settings = settings()?;
        let egress = Egress::new(&settings)?;
        let cache = Mutex::new(cache(&settings)?);
        let gateway = gateway(&settings)?;
        Ok(Self { settings, egress, cache, gateway })
    }

    /// What makes the TLS connections to the authority in this component's place.
    pub(crate) fn gateway(&self) -> Option<&str> {
        self.gateway.as_deref()
    }
}

fn settings() -> Result<Settings, String> {
    let configured = config::get_all().map_err(|_| "wasi:config: found an error; accepted: an answer")?;
    let mut settings = Settings::new(environment::get_environment().into_iter().chain(configured));
    settings.check()?;
    if let Some(name) = settings.get("Symbolon:SecretsBucket").map(ToString::to_string) {
        add_secrets(&mut settings, &bucket("Symbolon:SecretsBucket", &name)?)?;
    }
    Ok(settings)
}

/// Takes what entries lack of secrets from a store, where they lie under the settings' own names.
fn add_secrets(settings: &mut Settings, bucket: &keyvalue::Bucket) -> Result<(), String> {
    let names: Vec<String> =
        sections(settings).flat_map(|section| SECRETS.map(|secret| format!("{section}:{secret}"))).collect();
    for name in names {
        if settings.get(&name).is_some() {
            continue;
        }
        let value = bucket.get(&name).map_err(|_| format!("{name}: found a store that doesn't answer"))?;
        if let Some(value) = value.and_then(|value| String::from_utf8(value).ok()) {
            settings.set(name, value);
        }
    }
    Ok(())
}

fn cache(settings: &Settings) -> Result<Cache<Store>, String> {
    // Another registration's entries don't open, and aren't found.
    let authority = settings.authority()?;
    let application = [authority.as_str(), settings.required("AzureAd:ClientId")?];
    let Some(name) = settings.get("Symbolon:CacheBucket") else {
        return Ok(Cache::new(Store::memory(), Seal::new(&random_bytes(), &application)));
    };
    let seal = Seal::from_base64(settings.required("Symbolon:CacheKey")?, &application)?;
    Ok(Cache::new(Store::Bucket(bucket("Symbolon:CacheBucket", name)?), seal))
}

/// A store by its name, or the one without a name that is all some hosts have.
fn bucket(setting: &str, name: &str) -> Result<keyvalue::Bucket, String> {
    let opened = keyvalue::open(name).or_else(|_| keyvalue::open(""));
    opened.map_err(|_| {
        format!("{setting}: found no store {name:?} in this host; accepted: a store of wasi:keyvalue")
    })
}

/// The time, in milliseconds since 1970.
pub(crate) fn now_unix_ms() -> u64 {
    let now = wall_clock::now();
    now.seconds * 1000 + u64::from(now.nanoseconds / 1_000_000)
}

/// Random bytes of the host.
pub(crate) fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    for (to, from) in bytes.iter_mut().zip(random::get_random_bytes(N as u64)) {
        *to = from;
    }
    bytes
}
