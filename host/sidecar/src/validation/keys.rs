//! The keys that an authority signs with.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;
use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::Jwk;
use serde::Deserialize;
use serde_json::Value;
use symbolon::{Application, Clock, DownstreamApiOptions};
use tokio::sync::Mutex;
use url::Url;

use super::Rejection;

/// Where an authority describes itself, and what it said last.
pub(super) struct Source {
    application: Application,
    url: String,
    clock: Arc<dyn Clock>,
    known: ArcSwapOption<Metadata>,
    /// Held by whoever asks the authority; the others wait for the answer.
    asking: Mutex<()>,
    /// When it was asked last. Unix milliseconds; 0 for never.
    asked: AtomicU64,
}

/// What an authority said of itself.
pub(super) struct Metadata {
    pub(super) issuer: String,
    keys: BTreeMap<String, Key>,
    /// Unix milliseconds.
    fetched: u64,
}

struct Key {
    decoding: DecodingKey,
    issuer: Option<String>,
}

impl Metadata {
    pub(super) fn key(&self, id: &str) -> Option<&DecodingKey> {
        self.keys.get(id).map(|key| &key.decoding)
    }

    /// Whose tokens the key is for, where it is not for all.
    pub(super) fn issuer_of_key(&self, id: &str) -> Option<&str> {
        self.keys.get(id)?.issuer.as_deref()
    }
}

impl Source {
    pub(super) fn new(application: Application, url: String, clock: Arc<dyn Clock>) -> Self {
        Self {
            application,
            url,
            clock,
            known: ArcSwapOption::empty(),
            asking: Mutex::new(()),
            asked: AtomicU64::new(0),
        }
    }

    /// What the authority says of itself, with this key if it has it: asked anew for a key that isn't known, and once a day,
    /// but at most once a minute. What is known stands while the authority is silent.
    pub(super) async fn with_key(&self, id: &str) -> Result<Arc<Metadata>, Rejection> {
        if let Some(known) = self.current(id) {
            return Ok(known);
        }
        let _asking = self.asking.lock().await;
        if let Some(known) = self.current(id) {
            return Ok(known);
        }
        let now = self.clock.now_unix_ms();
        let asked = self.asked.load(Ordering::Relaxed);
        if asked == 0 || now.saturating_sub(asked) >= PAUSE_MS {
            self.asked.store(now, Ordering::Relaxed);
            self.refresh(now).await;
        }
        self.known.load_full().ok_or(Rejection::KeysUnavailable)
    }

    /// Whether the authority has answered before.
    pub(super) fn is_known(&self) -> bool {
        self.known.load().is_some()
    }

    /// Asks the authority, whether or not it was asked before. Returns whether it answers.
    pub(super) async fn ask(&self) -> bool {
        self.refresh(self.clock.now_unix_ms()).await;
        self.is_known()
    }

    async fn refresh(&self, now: u64) {
        match self.fetch(now).await {
            Ok(metadata) => self.known.store(Some(Arc::new(metadata))),
            Err(error) => tracing::warn!(url = self.url, "the authority's keys can't be had: {error}"),
        }
    }

    fn current(&self, id: &str) -> Option<Arc<Metadata>> {
        let is_fresh =
            |known: &Arc<Metadata>| self.clock.now_unix_ms() < known.fetched.saturating_add(STANDS_MS);
        self.known.load_full().filter(|known| is_fresh(known) && known.keys.contains_key(id))
    }

    async fn fetch(&self, now: u64) -> Result<Metadata, FetchError> {
        let document: Document = self.get(&self.url).await?;
        let keys: KeySet = self.get(&document.jwks_uri).await?;
        let keys = keys.keys.into_iter().filter_map(key).collect();
        Ok(Metadata { issuer: document.issuer, keys, fetched: now })
    }

    async fn get<T: for<'de> Deserialize<'de>>(&self, url: &str) -> Result<T, FetchError> {
        let not_secure = || FetchError::NotSecure(url.to_owned());
        let parsed = Url::parse(url).ok().filter(|url| url.scheme() == "https").ok_or_else(not_secure)?;
        let mut options = DownstreamApiOptions::new(parsed.origin().ascii_serialization());
        options.limits.timeout = Some(TIMEOUT);
        let path = &parsed[url::Position::BeforePath..url::Position::AfterQuery];
        let response = self.application.downstream_api_with("metadata", options).get(path).send().await?;
        Ok(response.error_for_status().await?.json().await?)
    }
}

#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("{0} is no https URL")]
    NotSecure(String),
    #[error(transparent)]
    Call(#[from] symbolon::Error),
}

/// OpenID Connect Discovery 1.0 §3, what is needed of it.
#[derive(Deserialize)]
struct Document {
    issuer: String,
    jwks_uri: String,
}

/// RFC 7517 §5. A key that isn't understood is left out.
#[derive(Deserialize)]
struct KeySet {
    keys: Vec<Value>,
}

fn key(value: Value) -> Option<(String, Key)> {
    let issuer = value.get("issuer").and_then(Value::as_str).map(str::to_owned);
    if value.get("use").is_some_and(|usage| usage != "sig") {
        return None;
    }
    let jwk: Jwk = serde_json::from_value(value).ok()?;
    let decoding = DecodingKey::from_jwk(&jwk).ok()?;
    Some((jwk.common.key_id?, Key { decoding, issuer }))
}

/// How long what an authority said is taken for what it says: as .NET has it.
const STANDS_MS: u64 = 24 * 60 * 60 * 1000;
/// How long an authority isn't asked again.
const PAUSE_MS: u64 = 60 * 1000;
const TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);
