//! The section `Symbolon:TokenCache`, as `docs/cache.md` has it, and what is said about mistakes in it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod certificates;

use std::path::Path;

use certificates::{Identity, write};
use rcgen::KeyPair;
use serde_json::{Value, json};
use symbolon_resources::configuration::ApplicationOptions;
use symbolon_resources::second_level::{RedisOptions, RedisTopology, TokenCacheStore};
use tempfile::TempDir;

/// A directory with all files that the examples name.
fn directory() -> TempDir {
    let directory = TempDir::new().unwrap();
    for name in ["keys", "pki", "secrets"] {
        std::fs::create_dir(directory.path().join(name)).unwrap();
    }
    let client = Identity::new("client", KeyPair::generate().unwrap());
    write(&directory, "pki/ca.pem", client.certificate.pem());
    write(&directory, "pki/client.pem", client.certificate.pem());
    write(&directory, "pki/client.key", client.key.serialize_pem());
    write(&directory, "secrets/redis", "canary\n");
    write(&directory, "secrets/sentinel", "canary");
    for key in ["keys/2026-11.key", "keys/2026-05.key"] {
        write(&directory, key, [7; 32]);
    }
    directory
}

/// Reads a configuration from a file of the directory.
fn read(directory: &TempDir, symbolon: &Value) -> Result<ApplicationOptions, Vec<String>> {
    let root = json!({ "AzureAd": { "ClientId": "app", "TenantId": "contoso.com" }, "Symbolon": symbolon });
    let file = write(directory, "appsettings.json", root.to_string());
    ApplicationOptions::from_file(&file)
        .map_err(|error| error.problems().iter().map(ToString::to_string).collect())
}

fn redis(directory: &TempDir, symbolon: &Value) -> RedisOptions {
    let options = read(directory, symbolon).unwrap_or_else(|errors| panic!("{symbolon}: {errors:?}"));
    match &options.token_cache().unwrap().store {
        TokenCacheStore::Redis(redis) => redis.clone(),
        TokenCacheStore::Msal(msal) => msal.redis.clone(),
        store => panic!("{store:?}"),
    }
}

/// The one error about the token cache, without its place in the file.
fn error(directory: &TempDir, cache: &Value) -> String {
    let errors = read(directory, &json!({ "TokenCache": cache })).unwrap_err();
    let [error] = &errors[..] else { panic!("{cache}: {errors:?}") };
    assert!(!error.contains("canary"), "{error}");
    error.split_once("Symbolon:TokenCache:").unwrap_or_else(|| panic!("{error}")).1.to_owned()
}

/// The value of `Symbolon` in each example.
fn examples() -> Vec<Value> {
    let text = include_str!("../../../docs/cache.md");
    let blocks = text.split("```json\n").skip(1).filter_map(|rest| rest.split_once("```"));
    blocks
        .map(|(json, _)| serde_json::from_str::<Value>(&format!("{{{json}}}")).unwrap()["Symbolon"].take())
        .collect()
}

#[test]
fn the_examples_of_the_documentation_are_read() {
    let directory = directory();
    let path = |name: &str| Some(directory.path().join(name));
    let examples = examples();
    let [simple, tls, sentinels, cluster, msal] = &examples[..] else { panic!("{examples:?}") };
    assert!(redis(&directory, simple).tls && redis(&directory, msal).tls);

    let tls = redis(&directory, tls);
    assert_eq!(tls.hosts, [("cache.contoso.com".to_owned(), 6380)]);
    assert_eq!((tls.user.as_deref(), tls.password.as_ref()), (Some("symbolon"), None));
    assert_eq!(tls.password_file, path("secrets/redis"));
    assert_eq!((tls.certificate, tls.certificate_key), (path("pki/client.pem"), path("pki/client.key")));
    assert_eq!(tls.trusted_roots, [directory.path().join("pki/ca.pem")]);

    let sentinels = redis(&directory, sentinels);
    assert_eq!(sentinels.topology, RedisTopology::Sentinel { master: "main".to_owned() });
    assert_eq!((sentinels.hosts.len(), sentinels.tls), (3, true));
    assert_eq!(sentinels.sentinel_user.as_deref(), Some("symbolon"));
    assert_eq!(sentinels.password_file, path("secrets/redis"));
    assert_eq!(sentinels.sentinel_password_file, path("secrets/sentinel"));

    let cluster = redis(&directory, cluster);
    assert_eq!((cluster.topology, cluster.hosts.len()), (RedisTopology::Cluster, 3));
    assert_eq!(cluster.user.as_deref(), Some("symbolon"));
}

#[test]
fn mistakes_about_passwords_and_certificates_are_said_with_their_place() {
    let directory = directory();
    write(&directory, "secrets/empty", "\n");
    write(&directory, "pki/other.key", KeyPair::generate().unwrap().serialize_pem());
    write(&directory, "pki/damaged.pem", "-----BEGIN CERTIFICATE-----\n");
    let at = |name: &str| Path::new(directory.path()).join(name).display().to_string();
    let accepted = "accepted: the path of a file with the password";
    for (members, expected) in [
        (
            json!({ "PasswordFile": "secrets/none" }),
            format!("PasswordFile: found {}, which can't be read (entity not found); {accepted}", at("secrets/none")),
        ),
        (
            json!({ "SentinelPasswordFile": "secrets/empty", "SentinelMaster": "main" }),
            format!("SentinelPasswordFile: found {}, which is an empty file; {accepted}", at("secrets/empty")),
        ),
        (
            json!({ "Redis": "rediss://:canary@host", "PasswordFile": "secrets/redis" }),
            "PasswordFile: found a file beside a password; accepted: either of them".to_owned(),
        ),
        (
            json!({ "Redis": "redis://host", "CertificateDiskPath": "pki/client.pem" }),
            "CertificateDiskPath: found a certificate without TLS; accepted: it beside rediss:// or ssl=true only".to_owned(),
        ),
        (
            json!({ "CertificateKeyDiskPath": "pki/client.key" }),
            "CertificateKeyDiskPath: found a key without a certificate; accepted: it beside CertificateDiskPath only".to_owned(),
        ),
        (json!({ "CertificateDiskPath": "pki/none.pem" }), format!("CertificateDiskPath: found {}", at("pki/none.pem"))),
        (
            json!({ "CertificateDiskPath": "pki/damaged.pem", "CertificateKeyDiskPath": "pki/client.key" }),
            format!("CertificateDiskPath: found {}", at("pki/damaged.pem")),
        ),
        (
            json!({ "CertificateDiskPath": "pki/client.pem" }),
            format!("CertificateKeyDiskPath: found {}, which can't be used", at("pki/client.pem")),
        ),
        (
            json!({ "CertificateDiskPath": "pki/client.pem", "CertificateKeyDiskPath": "pki/other.key" }),
            format!("CertificateDiskPath: found {}, which can't be used (", at("pki/client.pem")),
        ),
        (json!({ "PaswordFile": "x" }), "PaswordFile: found an unknown key (did you mean PasswordFile?)".to_owned()),
    ] {
        let mut cache = json!({ "Redis": "rediss://host", "Keys": ["keys/2026-11.key"] });
        cache.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        let error = error(&directory, &cache);
        assert!(error.starts_with(&expected), "{error}\nnot {expected}");
    }
}
