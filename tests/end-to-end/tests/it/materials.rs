//! The bill of materials lists what is linked into the component: as Cargo resolves it for the component's target, with the
//! digests of `Cargo.lock`. No network.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::{Value, json};
use symbolon::Component;
use symbolon_end_to_end::workspace;
use symbolon_resources::digest::sha256_hex;

/// A package of `Cargo.lock`.
struct Locked {
    is_foreign: bool,
    checksum: Option<String>,
}

#[test]
fn the_bill_of_materials_is_what_cargo_resolves() {
    let file = workspace("host/symbolon/component/symbolon.cdx.json");
    let expected = format!("{:#}\n", bill(&resolved()));
    if std::env::var_os("SYMBOLON_WRITE_SBOM").is_some() {
        std::fs::write(&file, &expected).expect("the bill of materials");
    }
    let committed = std::fs::read_to_string(&file).expect("the bill of materials");
    assert!(
        committed == expected,
        "write it anew: SYMBOLON_WRITE_SBOM=1 cargo test -p symbolon-end-to-end --test it bill_of_materials"
    );
}

#[test]
fn the_bill_of_materials_names_the_component_by_its_digest() {
    let bill: Value = serde_json::from_str(&Component.sbom()).expect("JSON");
    let digest = sha256_hex(Component.bytes());
    assert_eq!(bill["metadata"]["component"]["hashes"], json!([{ "alg": "SHA-256", "content": digest }]));
    let names: Vec<_> =
        bill["components"].as_array().expect("components").iter().map(|c| &c["name"]).collect();
    for name in ["symbolon-protocol", "wit-bindgen", "sha2", "alloc"] {
        assert!(names.iter().any(|known| *known == name), "{name}: {names:?}");
    }
}

/// The tree of what is linked: depth, name, version and licence, each under what needs it.
fn resolved() -> Vec<(usize, String, String, String)> {
    let tree = |network: &str| {
        Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .current_dir(workspace(""))
            .args([
                "tree",
                "--locked",
                "--package",
                "symbolon-guest",
                "--target",
                "wasm32-wasip2",
                "--no-dedupe",
            ])
            .args(["--edges", "normal,no-proc-macro", "--prefix", "depth", "--format", " {p}|{l}"])
            .args(Some(network).filter(|network| !network.is_empty()))
            .output()
            .expect("cargo")
    };
    let offline = tree("--offline");
    let output = if offline.status.success() { offline } else { tree("") };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("text");
    let packages = text.lines().filter_map(|line| {
        let (depth, rest) = line.split_once(' ')?;
        let (package, licence) = rest.split_once('|')?;
        let mut words = package.split(' ');
        let (name, version) = (words.next()?, words.next()?.strip_prefix('v')?);
        let licence = licence.replace('/', " OR ");
        Some((depth.parse().ok()?, name.to_owned(), version.to_owned(), licence))
    });
    packages.collect()
}

fn locked() -> BTreeMap<(String, String), Locked> {
    let text = std::fs::read_to_string(workspace("Cargo.lock")).expect("Cargo.lock");
    let value = |package: &str, key: &str| {
        let line = package.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = \""))?;
        Some(line.trim_end_matches('"').to_owned())
    };
    let packages = text.split("[[package]]").skip(1).filter_map(|package| {
        let locked =
            Locked { is_foreign: value(package, "source").is_some(), checksum: value(package, "checksum") };
        Some(((value(package, "name")?, value(package, "version")?), locked))
    });
    packages.collect()
}

/// CycloneDX 1.6, without what differs from run to run: no date, no serial number; the digest is added to it when it is shown.
fn bill(tree: &[(usize, String, String, String)]) -> Value {
    let locked = locked();
    let mut components = BTreeMap::new();
    let mut dependencies: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut above: Vec<String> = Vec::new();
    for (depth, name, version, licence) in tree {
        let reference = format!("{name}@{version}");
        above.truncate(*depth);
        if let Some(parent) = above.last() {
            let needed = dependencies.entry(parent.clone()).or_default();
            if !needed.contains(&reference) {
                needed.push(reference.clone());
                needed.sort();
            }
        }
        dependencies.entry(reference.clone()).or_default();
        above.push(reference.clone());
        let mut component = json!({
            "type": "library", "bom-ref": reference, "name": name, "version": version,
            "licenses": [{ "expression": licence }],
        });
        let locked = locked.get(&(name.clone(), version.clone())).expect("a locked package");
        if locked.is_foreign {
            let checksum = locked.checksum.as_ref().expect("a checksum");
            component["purl"] = format!("pkg:cargo/{name}@{version}").into();
            component["hashes"] = json!([{ "alg": "SHA-256", "content": checksum }]);
        }
        components.insert(reference, component);
    }
    let root = format!("{}@{}", tree[0].1, tree[0].2);
    let mut subject = components.remove(&root).expect("the component itself");
    subject["description"] = "The protocol core as a WebAssembly component".into();
    subject["hashes"] = json!([{ "alg": "SHA-256", "content": "(SHA-256 of symbolon.wasm)" }]);
    for (name, component) in of_the_toolchain() {
        dependencies.entry(root.clone()).or_default().push(name.clone());
        dependencies.insert(name.clone(), Vec::new());
        components.insert(name, component);
    }
    let dependencies =
        dependencies.into_iter().map(|(name, needs)| json!({ "ref": name, "dependsOn": needs }));
    json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1,
        "metadata": { "component": subject },
        "components": components.into_values().collect::<Vec<_>>(),
        "dependencies": dependencies.collect::<Vec<_>>(),
    })
}

/// What the compiler brings along.
fn of_the_toolchain() -> Vec<(String, Value)> {
    let toolchain = std::fs::read_to_string(workspace("rust-toolchain.toml")).expect("the toolchain");
    let version = toolchain.split("channel = \"").nth(1).and_then(|rest| rest.split('"').next());
    let version = version.expect("a version");
    let parts = [
        ("core", "MIT OR Apache-2.0"),
        ("alloc", "MIT OR Apache-2.0"),
        ("compiler_builtins", "MIT AND Apache-2.0 WITH LLVM-exception AND (MIT OR Apache-2.0)"),
        ("wasi-libc", "(Apache-2.0 WITH LLVM-exception OR Apache-2.0 OR MIT) AND MIT"),
    ];
    let part = |(name, licence): (&str, &str)| {
        let reference = format!("{name}@rust-{version}");
        let component = json!({
            "type": "library", "bom-ref": reference, "name": name, "version": format!("rust-{version}"),
            "description": format!("As Rust {version} ships it for wasm32-wasip2"),
            "licenses": [{ "expression": licence }],
        });
        (reference, component)
    };
    parts.map(part).into()
}
