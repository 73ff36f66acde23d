//! Spin: the manifest, by the rules of its version 2. Spin itself isn't run.

use symbolon_end_to_end::workspace;
use toml::{Table, Value};

#[test]
fn the_manifest_is_one_of_version_2() {
    let text =
        std::fs::read_to_string(workspace("examples/auth-middleware/spin.toml")).expect("the manifest");
    let manifest: Table = text.parse().expect("TOML");
    assert_keys(&manifest, &["spin_manifest_version", "application", "variables", "trigger", "component"]);
    assert_eq!(manifest["spin_manifest_version"], Value::Integer(2));
    assert_keys(table(&manifest["application"]), &["name", "version", "description", "authors", "trigger"]);
    assert!(manifest["application"]["name"].as_str().is_some_and(is_name));
    let components = table(&manifest["component"]);
    for trigger in manifest["trigger"]["http"].as_array().expect("triggers") {
        assert_keys(table(trigger), &["route", "component", "executor"]);
        assert!(trigger["route"].as_str().is_some_and(|route| route.starts_with('/')));
        assert!(components.contains_key(trigger["component"].as_str().expect("a component")));
    }
    for (name, component) in components {
        assert!(is_name(name), "{name}");
        let known =
            ["source", "description", "allowed_outbound_hosts", "environment", "files", "variables", "build"];
        assert_keys(table(component), &known);
        assert!(component["source"].as_str().is_some_and(|source| source.ends_with(".wasm")));
        for host in component["allowed_outbound_hosts"].as_array().expect("hosts") {
            let (scheme, host) = host.as_str().and_then(|host| host.split_once("://")).expect("a URL");
            assert!(scheme == "https" && !host.contains(['/', '*']), "{host}");
        }
        for (name, value) in table(&component["environment"]) {
            assert!(value.is_str(), "{name}");
            assert!(!name.ends_with("ClientSecret"), "a secret has no place in a manifest");
        }
    }
}

/// Letters, digits and hyphens, a letter first.
fn is_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.chars().all(|character| character.is_ascii_alphanumeric() || character == '-')
}

fn table(value: &Value) -> &Table {
    value.as_table().expect("a table")
}

fn assert_keys(table: &Table, known: &[&str]) {
    let unknown: Vec<&String> = table.keys().filter(|key| !known.contains(&key.as_str())).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}
