//! `Symbolon:TokenCache`: a second level of the token cache.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::cache::msal::LifetimeOptions;
use crate::credentials::{VaultSecret, files};
use crate::second_level::{
    KEY_ACCEPTED, KeyRing, KeySource, MsalOptions, RedisOptions, RedisTopology, Sealing, TokenCacheOptions,
    TokenCacheStore, read_key,
};

use super::error::quoted;
use super::reader::{Findings, Located, Section, nearest};
use super::server::TLS;
use super::server_tls;
use super::symbolon::one_of;

/// Reads the section, if it is there, for the application of that section, if it is for one. Relative paths start at `directory`.
pub(super) fn read(
    section: &Section<'_>,
    application: Option<&str>,
    directory: &Path,
    trusted_roots: &[PathBuf],
    findings: &mut Findings,
) -> Option<TokenCacheOptions> {
    let cache = section.object("TokenCache", findings)?;
    check_keys(&cache, &KEYS, findings);
    if one_of("Mode", &MODES, &cache, findings) == Some(MSAL) {
        return msal(&cache, application, directory, trusted_roots, findings);
    }
    for key in MSAL_KEYS.iter().filter(|key| cache.has(key)) {
        findings.problem(cache.place_of(key), "a setting of another mode", "it beside Mode \"Msal\" only");
    }
    let sealing = sealing(&cache, directory, findings);
    let redis = redis(&cache, directory, trusted_roots, findings);
    let file = cache.text("File", findings).map(|file| directory.join(file.value));
    let waits_for_writes = one_of("Writes", &WRITES, &cache, findings) != Some(ASYNCHRONOUS);
    let store = match (redis, file) {
        (Some(redis), None) => TokenCacheStore::Redis(redis),
        (None, Some(file)) => TokenCacheStore::File(file),
        (Some(_), Some(_)) => {
            findings.problem(cache.place_of("File"), "a file beside a server", "either Redis or File");
            return None;
        }
        (None, None) => {
            if REDIS.iter().chain(&["File"]).all(|key| !cache.has(key)) {
                findings.problem(cache.place(), "no store", "Redis or File");
            }
            return None;
        }
    };
    let mut options = TokenCacheOptions::new(store, sealing?);
    options.waits_for_writes = waits_for_writes;
    options.place = cache.place();
    Some(options)
}

/// A cache of Redis that applications of MSAL share. What is sealed they couldn't read.
fn msal(
    cache: &Section<'_>,
    application: Option<&str>,
    directory: &Path,
    trusted_roots: &[PathBuf],
    findings: &mut Findings,
) -> Option<TokenCacheOptions> {
    for key in ["Encryption", "File", "Keys", "Prefix"].iter().filter(|key| cache.has(key)) {
        let accepted = "none of it beside Mode \"Msal\": MSAL's applications couldn't read what is kept so";
        findings.problem(cache.place_of(key), "a setting of another mode", accepted);
    }
    let instance_name = instance_name(cache, application, findings);
    let redis = redis(cache, directory, trusted_roots, findings);
    if redis.is_none() && REDIS.iter().all(|key| !cache.has(key)) {
        findings.problem(cache.place(), "no store", "Redis");
    }
    let seconds = |key, findings: &mut Findings| {
        cache.count(key, findings).map(|seconds| Duration::from_secs(seconds as u64))
    };
    let lifetime = LifetimeOptions {
        absolute_expiration_relative_to_now: seconds("AbsoluteExpirationRelativeToNowSeconds", findings),
        sliding_expiration: seconds("SlidingExpirationSeconds", findings),
        ..LifetimeOptions::default()
    };
    let waits_for_writes = one_of("Writes", &WRITES, cache, findings) != Some(ASYNCHRONOUS);
    let instance_name = instance_name?;
    let mut msal = MsalOptions::new(redis?, instance_name.value);
    (msal.lifetime, msal.place) = (lifetime, instance_name.place);
    let mut options = TokenCacheOptions::new(TokenCacheStore::Msal(msal), Sealing::Clear);
    (options.waits_for_writes, options.place) = (waits_for_writes, cache.place());
    Some(options)
}

/// That of the application's section, else the one for all: then there may be one application only.
fn instance_name(
    cache: &Section<'_>,
    application: Option<&str>,
    findings: &mut Findings,
) -> Option<Located<String>> {
    let names = cache.object("InstanceNames", findings);
    let names = names.map(|names| names.entries(findings)).unwrap_or_default();
    for (i, (_, name)) in names.iter().enumerate() {
        if let Some((_, first)) = names.iter().take(i).find(|(_, other)| other.value == name.value) {
            let found = format!("{}, which {} has already", quoted(&name.value), first.place);
            findings.problem(name.place.clone(), found, "a name of its own for each application");
        }
    }
    let own = names
        .into_iter()
        .find(|(section, _)| application.is_some_and(|its| section.eq_ignore_ascii_case(its)));
    let name = own.map(|(_, name)| name).or_else(|| cache.text("InstanceName", findings));
    if name.is_none() && application.is_some() {
        let accepted = "the InstanceName that the other applications have, which may be empty";
        findings.problem(cache.place_of("InstanceName"), "nothing", accepted);
    }
    name
}

fn check_keys(section: &Section<'_>, known: &[&str], findings: &mut Findings) {
    for name in section.names().filter(|name| !known.iter().any(|key| key.eq_ignore_ascii_case(name))) {
        let hint = nearest(name, known.iter().copied())
            .map(|key| format!(" (did you mean {key}?)"))
            .unwrap_or_default();
        findings.problem(section.place_of(name), format!("an unknown key{hint}"), known.join(", "));
    }
}

/// Nothing but an explicit word lets tokens lie in the clear.
fn sealing(cache: &Section<'_>, directory: &Path, findings: &mut Findings) -> Option<Sealing> {
    let is_clear = one_of("Encryption", &ENCRYPTIONS, cache, findings) == Some(NO_ENCRYPTION);
    let written = cache.texts_and_objects("Keys", findings);
    if is_clear {
        if !written.is_empty() {
            findings.problem(cache.place_of("Keys"), "keys beside Encryption \"None\"", "either of them");
        }
        return Some(Sealing::Clear);
    }
    let keys: Vec<_> = written
        .into_iter()
        .filter_map(|key| match key {
            Ok(file) => key_of_file(file, directory, findings),
            Err(vault) => key_of_vault(&vault, findings),
        })
        .collect();
    if keys.is_empty() && !cache.has_content("Keys") {
        let accepted = "one or more keys to encrypt tokens with (the first one encrypts, all decrypt): files, or objects with KeyVaultUrl and KeyVaultSecretName";
        findings.problem(cache.place_of("Keys"), "nothing", accepted);
    }
    let at_hand = keys.iter().map(|key| match key {
        KeySource::Key(key) => Some(&***key),
        KeySource::KeyVault(_) => None,
    });
    match at_hand.collect::<Option<Vec<_>>>() {
        Some(keys) => KeyRing::new(keys).map(Sealing::Sealed),
        None => Some(Sealing::Fetched(keys.into())),
    }
}

fn key_of_file(file: Located<String>, directory: &Path, findings: &mut Findings) -> Option<KeySource> {
    let path = directory.join(&file.value);
    match read_key(&path) {
        Ok(key) => Some(KeySource::Key(Arc::new(key))),
        Err(problem) => {
            findings.problem(file.place, format!("{}, {problem}", path.display()), KEY_ACCEPTED);
            None
        }
    }
}

fn key_of_vault(vault: &Section<'_>, findings: &mut Findings) -> Option<KeySource> {
    check_keys(vault, &VAULT_KEYS, findings);
    let [url, name] = ["KeyVaultUrl", "KeyVaultSecretName"].map(|key| vault.text(key, findings));
    let client_id = vault.text("ManagedIdentityClientId", findings).map(|id| id.value);
    let secret = url.zip(name).and_then(|(url, name)| VaultSecret::new(&url.value, &name.value, client_id));
    if secret.is_none() {
        let accepted =
            "KeyVaultUrl (https://NAME.vault.azure.net) and KeyVaultSecretName (name or name/version)";
        findings.problem(vault.place(), "something else than a secret of a vault", accepted);
    }
    secret.map(KeySource::KeyVault)
}

/// `Configuration` and `InstanceName` are what .NET calls the connection and the prefix.
fn redis(
    cache: &Section<'_>,
    directory: &Path,
    trusted_roots: &[PathBuf],
    findings: &mut Findings,
) -> Option<RedisOptions> {
    let written = REDIS.iter().find(|key| cache.has(key)).and_then(|key| cache.secret(key, findings))?;
    let mut redis = match RedisOptions::parse(&written.value) {
        Ok(redis) => redis,
        Err(found) => {
            findings.problem(written.place, found, RedisOptions::ACCEPTED);
            return None;
        }
    };
    redis.trusted_roots = trusted_roots.to_vec();
    let prefix = ["Prefix", "InstanceName"].into_iter().find_map(|key| cache.text(key, findings));
    redis.prefix = prefix.map_or(redis.prefix, |prefix| prefix.value);
    access(cache, directory, &mut redis, findings);
    let milliseconds = |key, default, findings: &mut Findings| {
        cache.count(key, findings).map_or(default, |ms| Duration::from_millis(ms as u64))
    };
    redis.timeout = milliseconds("TimeoutMs", redis.timeout, findings);
    redis.connect_timeout = milliseconds("ConnectTimeoutMs", redis.connect_timeout, findings);
    topology(cache, &mut redis, findings);
    Some(redis)
}

/// Users, passwords and certificates. Files must be usable now; connections read them again.
fn access(cache: &Section<'_>, directory: &Path, redis: &mut RedisOptions, findings: &mut Findings) {
    redis.password_file = password_file("PasswordFile", redis.password.is_some(), cache, directory, findings);
    redis.sentinel_user = cache.text("SentinelUser", findings).map(|user| user.value);
    redis.sentinel_password = cache.secret("SentinelPassword", findings).map(|password| password.value);
    let is_given = redis.sentinel_password.is_some();
    redis.sentinel_password_file =
        password_file("SentinelPasswordFile", is_given, cache, directory, findings);
    let [certificate, key] =
        CERTIFICATE.map(|name| cache.text(name, findings).map(|path| directory.join(path.value)));
    let mistake = match (&certificate, &key) {
        (Some(_), _) if !redis.tls => {
            let accepted = "it beside rediss:// or ssl=true only";
            Some((CERTIFICATE[0], "a certificate without TLS".to_owned(), accepted))
        }
        (Some(certificate), key) => {
            server_tls::identity(certificate, key.as_ref().unwrap_or(certificate)).err()
        }
        (None, Some(_)) if !cache.has(CERTIFICATE[0]) => {
            let accepted = "it beside CertificateDiskPath only";
            Some((CERTIFICATE[1], "a key without a certificate".to_owned(), accepted))
        }
        _ => None,
    };
    if let Some((key, found, accepted)) = mistake {
        findings.problem(cache.place_of(key), found, accepted);
    }
    (redis.certificate, redis.certificate_key) = (certificate, key);
}

fn password_file(
    key: &str,
    is_given: bool,
    cache: &Section<'_>,
    directory: &Path,
    findings: &mut Findings,
) -> Option<PathBuf> {
    let file = cache.text(key, findings)?;
    let path = directory.join(&file.value);
    if is_given {
        findings.problem(file.place, "a file beside a password", "either of them");
    } else if let Err(found) = files::password(&path) {
        let found = format!("{}, {found}", path.display());
        findings.problem(file.place, found, "the path of a file with the password");
    }
    Some(path)
}

fn topology(cache: &Section<'_>, redis: &mut RedisOptions, findings: &mut Findings) {
    let master = cache.text("SentinelMaster", findings);
    let written = one_of("Topology", &TOPOLOGIES, cache, findings);
    match (written, master) {
        (None | Some(SENTINEL), Some(master)) => {
            redis.topology = RedisTopology::Sentinel { master: master.value }
        }
        (Some(SENTINEL), None) if redis.topology == RedisTopology::Single => {
            findings.problem(cache.place_of("SentinelMaster"), "nothing", "the name of the master");
        }
        (Some(_), Some(master)) => {
            findings.problem(
                master.place,
                quoted(&master.value),
                "a master with the Topology \"Sentinel\" only",
            );
        }
        (Some(CLUSTER), None) => redis.topology = RedisTopology::Cluster,
        (_, None) => {}
    }
    if redis.topology == RedisTopology::Cluster && redis.database != 0 {
        findings.problem(
            cache.place_of("Topology"),
            "a cluster with a database other than 0",
            "a cluster's only database, 0",
        );
    }
}

const KEYS: [&str; 22] = [
    "AbsoluteExpirationRelativeToNowSeconds",
    "CertificateDiskPath",
    "CertificateKeyDiskPath",
    "Configuration",
    "ConnectTimeoutMs",
    "Encryption",
    "File",
    "InstanceName",
    "InstanceNames",
    "Keys",
    "Mode",
    "PasswordFile",
    "Prefix",
    "Redis",
    "SentinelMaster",
    "SentinelPassword",
    "SentinelPasswordFile",
    "SentinelUser",
    "SlidingExpirationSeconds",
    "TimeoutMs",
    "Topology",
    "Writes",
];
/// Those that mean something beside Mode "Msal" only.
const MSAL_KEYS: [&str; 3] =
    ["AbsoluteExpirationRelativeToNowSeconds", "InstanceNames", "SlidingExpirationSeconds"];
const MODES: [&str; 2] = ["Own", MSAL];
const MSAL: &str = "Msal";
const VAULT_KEYS: [&str; 3] = ["KeyVaultSecretName", "KeyVaultUrl", "ManagedIdentityClientId"];
const CERTIFICATE: [&str; 2] = [TLS[0], TLS[1]];
const REDIS: [&str; 2] = ["Redis", "Configuration"];
const ENCRYPTIONS: [&str; 2] = ["AES-256-GCM", NO_ENCRYPTION];
const NO_ENCRYPTION: &str = "None";
const WRITES: [&str; 2] = ["Through", ASYNCHRONOUS];
const ASYNCHRONOUS: &str = "Asynchronous";
const TOPOLOGIES: [&str; 3] = ["Single", CLUSTER, SENTINEL];
const CLUSTER: &str = "Cluster";
const SENTINEL: &str = "Sentinel";
