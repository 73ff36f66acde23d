//! A second level of the token cache, from the command line.

use std::fs;

use serde_json::json;

#[path = "it/site.rs"]
#[allow(dead_code, clippy::unwrap_used, reason = "shared with the other tests")]
mod site;

use site::{CANARY, Site};

#[test]
fn tokens_outlive_the_process_in_a_file() {
    let site = Site::start();
    fs::write(site.path("cache.key"), [7; 32]).unwrap();
    let configuration = site.edited("secret", |json| {
        json["Symbolon"]["TokenCache"] = json!({ "File": "tokens.redb", "Keys": ["cache.key"] });
    });
    let sources: Vec<_> = (0..3)
        .map(|_| site.token(&configuration, &["--output", "json"]).json()["metadata"]["tokenSource"].clone())
        .collect();
    assert_eq!(sources, ["identityProvider", "cache", "cache"]);
    let report = site.run(&["check", "--json", "--config", configuration.to_str().unwrap()]).json();
    assert_eq!(report["tokenCache"]["encrypted"], true);
    assert_eq!(report["tokenCache"]["available"], json!(null));
    assert!(report["tokenCache"]["store"].as_str().unwrap().ends_with("tokens.redb"));
}

#[test]
fn a_server_that_is_not_there_is_told_by_check_alone() {
    let site = Site::start();
    fs::write(site.path("cache.key"), [7; 32]).unwrap();
    let configuration = site.edited("secret", |json| {
        let url = format!("redis://user:{CANARY}@127.0.0.1:1");
        json["Symbolon"]["TokenCache"] = json!({ "Redis": url, "Keys": ["cache.key"] });
    });
    assert!(site.token(&configuration, &[]).ok().len() > 100);
    let check = |online: &[&str]| {
        let arguments = [&["check", "--config", configuration.to_str().unwrap()], online].concat();
        site.run(&arguments).ok()
    };
    let line = |text: &str| text.lines().find(|line| line.starts_with("token cache")).unwrap().to_owned();
    let offline = line(&check(&[]));
    assert!(
        offline.contains("redis://127.0.0.1:1, encrypted (keys ") && !offline.contains("available"),
        "{offline}"
    );
    let online = line(&check(&["--online"]));
    assert!(online.contains("NOT available"), "{online}");
}

#[test]
fn what_is_wrong_with_the_settings_is_said_with_its_place() {
    let site = Site::start();
    fs::write(site.path("cache.key"), [7; 32]).unwrap();
    fs::write(site.path("short.key"), "07").unwrap();
    let redis = "redis://localhost";
    for (settings, place, said) in [
        (json!({ "Redis": redis }), "TokenCache:Keys", "found nothing"),
        (json!({ "Keys": ["cache.key"] }), "TokenCache", "no store; accepted: Redis or File"),
        (json!({ "Redis": redis, "Keys": ["no.key"] }), "TokenCache:Keys:0", "no.key, which can't be read"),
        (json!({ "Redis": redis, "Keys": ["short.key"] }), "TokenCache:Keys:0", "something else than a key"),
        (
            json!({ "Redis": redis, "File": "f", "Keys": ["cache.key"] }),
            "TokenCache:File",
            "a file beside a server",
        ),
        (
            json!({ "Redis": format!("http://u:{CANARY}@h"), "Keys": ["cache.key"] }),
            "TokenCache:Redis",
            "\"http\"",
        ),
        (
            json!({ "Redis": format!("host,passwort={CANARY}"), "Keys": ["cache.key"] }),
            "TokenCache:Redis",
            "\"passwort\"",
        ),
        (
            json!({ "Redis": redis, "Encryption": "Aes", "Keys": ["cache.key"] }),
            "TokenCache:Encryption",
            "\"None\"",
        ),
        (
            json!({ "Redis": redis, "Encryption": "None", "Keys": ["cache.key"] }),
            "TokenCache:Keys",
            "keys beside",
        ),
        (json!({ "Redis": redis, "Key": [] }), "TokenCache:Key", "did you mean Keys?"),
        (
            json!({ "Redis": redis, "Topology": "Sentinel", "Keys": ["cache.key"] }),
            "SentinelMaster",
            "the name of the master",
        ),
        (
            json!({ "Redis": "redis://h/1", "Topology": "Cluster", "Keys": ["cache.key"] }),
            "TokenCache:Topology",
            "other than 0",
        ),
        (
            json!({ "Redis": redis, "Keys": [{ "KeyVaultUrl": "x" }] }),
            "TokenCache:Keys:0",
            "a secret of a vault",
        ),
        (json!({ "Redis": redis, "Keys": [1] }), "TokenCache:Keys:0", "a string or an object"),
        (json!({ "File": "cache.key", "Keys": ["cache.key"] }), "TokenCache:File", "cache.key, which"),
    ] {
        let configuration = site.edited("secret", |json| json["Symbolon"]["TokenCache"] = settings.clone());
        let ran = site.token(&configuration, &[]);
        assert_eq!(ran.status, 2, "{settings}: {}", ran.stderr);
        assert!(ran.stderr.contains(place) && ran.stderr.contains(said), "{settings}: {}", ran.stderr);
    }
}
