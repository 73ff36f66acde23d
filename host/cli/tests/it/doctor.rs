//! `symbolon doctor`: what components require, and whether those that have credentials do what they must.

use std::fs;
use std::path::{Path, PathBuf};

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::{Value, json};
use symbolon_authority::CertificateRequest;
use symbolon_end_to_end::HOSTILE_GUEST;
use symbolon_end_to_end::keys::{CREDENTIAL_PROVIDER, HOSTILE_PROVIDER, PASSPHRASE, encrypted};
use wasm_encoder::{ComponentBuilder, ComponentExportKind, ComponentTypeRef, InstanceType};

use crate::site::{CANARY, Ran, command, run};

/// A directory with components in it, and with what they are given.
struct Bench(tempfile::TempDir);

impl Bench {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    fn doctor(&self, file: &Path, arguments: &[&str]) -> Ran {
        run(command().current_dir(self.0.path()).arg("doctor").arg(file).args(arguments))
    }

    /// What is found in the place of a component.
    fn found(&self, bytes: impl AsRef<[u8]>) -> String {
        let file = self.write("component.wasm", bytes);
        let words = self.doctor(&file, &[]).failed(2);
        let found = words.split("found ").nth(1).unwrap_or_else(|| panic!("{words}"));
        assert!(found.contains("accepted: a WebAssembly component"), "{found}");
        found.to_owned()
    }

    fn configuration(&self, files: Value, settings: Value) {
        // Its own path is taken from the command line.
        let provider = json!({ "Component": "elsewhere.wasm", "Files": files, "Settings": settings });
        let configuration = json!({ "Symbolon": { "CredentialProviders": { "keys": provider } } });
        self.write("appsettings.json", configuration.to_string());
    }

    /// Each rule, and what the component did instead.
    fn exercised(&self, component: &Path) -> (i32, Vec<(String, Option<String>)>) {
        let ran = self.doctor(component, &["--exercise", "appsettings.json", "--json"]);
        let report: Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|_| panic!("{}", ran.stderr));
        let rules = report["rules"].as_array().unwrap().iter();
        let rules = rules.map(|rule| {
            (rule["rule"].as_str().unwrap().to_owned(), rule["broken"].as_str().map(ToOwned::to_owned))
        });
        (ran.status, rules.collect())
    }
}

/// A component that imports interfaces, and gives the first one out as its own under this name.
fn component(imports: &[&str], export: &str) -> Vec<u8> {
    let mut component = ComponentBuilder::default();
    let empty = component.type_instance(None, &InstanceType::new());
    for import in imports {
        component.import(*import, ComponentTypeRef::Instance(empty));
    }
    component.export(export, ComponentExportKind::Instance, 0, None);
    component.finish()
}

#[test]
fn what_is_no_component_is_named() {
    let bench = Bench::new();
    for (bytes, expected) in [
        (&b"PK\x03\x04"[..], "a file that is no WebAssembly"),
        (b"", "a file that is no WebAssembly"),
        (b"(component)", "the text form of WebAssembly"),
        (b"\0asm\x01\0\0\0", "a core module"),
        (b"\0asm\x63\0\0\0", "a WebAssembly file of an unknown version"),
        (b"\x7fELF\x02", "a native program"),
        (b"\0asm\x0d\0\x01\0", "a component that exports no function"),
        (CREDENTIAL_PROVIDER.get(..1000).unwrap(), "a damaged component"),
    ] {
        let found = bench.found(bytes);
        assert!(found.starts_with(expected), "{expected}: {found}");
    }
    let mut module = wasm_encoder::Module::new();
    let mut types = wasm_encoder::TypeSection::new();
    types.ty().function([], []);
    let mut imports = wasm_encoder::ImportSection::new();
    imports.import("wasi_snapshot_preview1", "sched_yield", wasm_encoder::EntityType::Function(0));
    module.section(&types).section(&imports);
    let found = bench.found(module.finish());
    assert!(found.contains("WASI preview 1") && found.contains("wasm32-wasip2"), "{found}");

    let missing = bench.doctor(Path::new("missing.wasm"), &[]).failed(2);
    assert!(missing.contains("missing.wasm"), "{missing}");
}

#[test]
fn the_shipped_component_has_all_that_it_requires() {
    let bench = Bench::new();
    let file = bench.0.path().join("symbolon.wasm");
    run(command().args(["component", "--output"]).arg(&file)).ok();
    let digest = run(command().args(["component", "--digest"])).ok();
    let report = bench.doctor(&file, &["--json"]).json();
    assert_eq!(report["role"], "token-acquisition");
    assert!(digest.starts_with(report["sha256"].as_str().unwrap()));
    let imports = report["imports"].as_array().unwrap();
    let listed =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../guest/component/imports.txt"));
    assert_eq!(imports.len(), listed.unwrap().lines().count());
    assert!(imports.iter().all(|import| import["missing"].is_null()), "{imports:?}");
    let text = bench.doctor(&file, &[]).ok();
    assert!(text.ends_with("this host provides all that it requires\n"), "{text}");
    let hostile = bench.write("hostile.wasm", HOSTILE_GUEST);
    assert_eq!(bench.doctor(&hostile, &["--json"]).json()["role"], "token-acquisition");
}

#[test]
fn what_is_missing_is_explained() {
    let bench = Bench::new();
    let acquisition = "symbolon:token/acquisition@0.1.0";
    let cases = [
        (vec!["wasi:sockets/tcp@0.2.0"], acquisition, "sockets; this host gives none"),
        (vec!["wasi:cli/environment@0.2.3"], acquisition, "build without it"),
        (vec!["wasi:random/random@0.2.0"], acquisition, "a seed is given"),
        (
            vec!["wasi:http/types@0.3.0"],
            acquisition,
            "this host has wasi:http/types@0.2.0, which doesn't serve 0.3.0",
        ),
        (vec!["symbolon:token/cache@0.2.0"], acquisition, "this host has symbolon:token/cache@0.1.0"),
        (vec!["contoso:vault/keys"], acquisition, "compose it with a component that exports it"),
        (vec!["wasi:http/types@0.2.0"], "symbolon:credentials/provider@0.1.0", "who has keys has no network"),
        (vec!["wasi:io/poll@0.2.0"], "symbolon:credentials/provider@0.1.0", "missing: its world has it"),
    ];
    for (imports, export, expected) in cases {
        let file = bench.write("component.wasm", component(&imports, export));
        let ran = bench.doctor(&file, &[]);
        assert_eq!(ran.status, 2, "{imports:?}");
        assert!(ran.stdout.contains(expected), "{expected}:\n{}", ran.stdout);
        assert!(ran.stderr.contains("error: the component "), "{}", ran.stderr);
    }
    // A later patch is the same interface. But the shape isn't that of the world, which the engine says.
    let file = bench.write("component.wasm", component(&["wasi:io/poll@0.2.9"], acquisition));
    let ran = bench.doctor(&file, &[]);
    assert!(ran.stdout.contains("the engine says: "), "{}", ran.stdout);
    assert!(!ran.stdout.contains("missing"), "{}", ran.stdout);

    let file =
        bench.write("plugin.wasm", component(&["wasi:http/types@0.2.0"], "wasi:http/incoming-handler@0.2.0"));
    let ran = bench.doctor(&file, &[]);
    assert_eq!(ran.status, 2);
    assert!(ran.stderr.contains("nothing that Symbolon runs"), "{}", ran.stderr);
    let imports = ["symbolon:token/acquisition@0.1.0", "wasi:http/types@0.2.0"];
    let file = bench.write("plugin.wasm", component(&imports, "wasi:http/incoming-handler@0.2.0"));
    let report = bench.doctor(&file, &["--json"]).json();
    assert_eq!(report["role"], "token-client");
    let words = bench.doctor(&file, &["--exercise", "appsettings.json"]).failed(2);
    assert!(words.contains("a component that has no credentials"), "{words}");
}

/// A certificate with its key, in a file as the example takes it.
fn keys() -> String {
    let certificate = CertificateRequest::new("component.contoso.test", 1_700_000_000).self_signed().unwrap();
    encrypted(&certificate.pem())
}

#[test]
fn the_example_keeps_every_rule() {
    let bench = Bench::new();
    let provider = bench.write("provider.wasm", CREDENTIAL_PROVIDER);
    assert_eq!(bench.doctor(&provider, &["--json"]).json()["role"], "credential-provider");
    bench.write("keys.pem", keys());
    bench.configuration(json!({ "keys": "keys.pem" }), json!({ "Passphrase": PASSPHRASE }));
    let (status, rules) = bench.exercised(&provider);
    let broken: Vec<_> = rules.iter().filter(|(_, broken)| broken.is_some()).collect();
    assert!(broken.is_empty() && status == 0, "{broken:#?}");
    let has = |rule: &str| assert!(rules.iter().any(|(known, _)| known == rule), "{rule}");
    has("takes its configuration and selects a credential");
    has("signs handshakes with rsa-pss-sha256");
    has("makes no handshake with ecdsa-nistp256-sha256, which it doesn't name");
    has("refuses what a server signs in the place of a handshake");
    has("signs assertions with PS256");
    has("makes no assertion with ES256, which it doesn't name");
    has("refuses to sign under the name of another algorithm");
    has("repeats nothing that it was given, in no message and no name");
    assert!(rules.len() > 40, "{}", rules.len());
}

/// What is broken breaks its own rules and no others.
#[test]
fn a_component_that_breaks_rules_is_told_which() {
    let bench = Bench::new();
    let provider = bench.write("provider.wasm", HOSTILE_PROVIDER);
    let pem =
        CertificateRequest::new("x.contoso.test", 1_700_000_000).self_signed().unwrap().certificate_pem();
    bench.write("certificate.der", CertificateDer::from_pem_slice(pem.as_bytes()).unwrap());
    bench.write("assertion.jwt", "e30.e30.c2lnbmF0dXJl");
    let files = json!({ "certificate": "certificate.der", "assertion": "assertion.jwt" });
    for (settings, broken, kept) in [
        (
            json!({ "Order": "certificate" }),
            &[
                "gives the leaf's thumbprints and the end of its validity",
                "signs handshakes with rsa-pss-sha256",
                "makes no handshake with ed25519, which it doesn't name",
                "refuses nothing in the place of a handshake",
                "signs assertions with PS256",
                "refuses to sign an assertion of more than ten minutes",
                "gives no secret where it has none",
            ][..],
            &[
                "is a component of the world credential-provider and imports nothing",
                "has a certificate where its kind has one",
            ][..],
        ),
        (
            json!({ "Order": "certificate", "WhenSigning": "trap" }),
            &["signs assertions with PS256", "refuses to sign nothing"],
            &["has a certificate where its kind has one"],
        ),
        (
            json!({ "Order": "fickle", "Schemes": "none" }),
            &["has the same credential when it is started again"],
            &["describes its credential the same each time"],
        ),
        (json!({ "Order": "bound" }), &["makes assertions"], &["has a certificate where its kind has one"]),
        (
            json!({ "Order": "refuse", "Message": CANARY }),
            &[
                "takes its configuration and selects a credential",
                "repeats nothing that it was given, in no message and no name",
            ],
            &[],
        ),
        (
            json!({ "Order": "secret", "Secret": "" }),
            &["gives its secret, which isn't empty"],
            &["repeats nothing that it was given, in no message and no name"],
        ),
        (json!({ "Order": "spin" }), &["takes its configuration and selects a credential"], &[]),
    ] {
        bench.configuration(files.clone(), settings.clone());
        let (status, rules) = bench.exercised(&provider);
        assert_eq!(status, 2, "{settings}");
        let found = |rule: &str| {
            let known = rules.iter().find(|(known, _)| known == rule);
            known.unwrap_or_else(|| panic!("{settings}: no rule {rule}: {rules:#?}")).1.is_some()
        };
        for rule in broken {
            assert!(found(rule), "{settings}: {rule} isn't broken");
        }
        for rule in kept {
            assert!(!found(rule), "{settings}: {rule} is broken");
        }
        let printed = bench.doctor(&provider, &["--exercise", "appsettings.json"]);
        assert!(printed.stdout.contains("BROKEN"), "{settings}: {}", printed.stdout);
        if settings["Order"] != "refuse" {
            continue;
        }
        assert!(printed.stderr.contains("breaks"), "{}", printed.stderr);
    }
}

#[test]
fn what_can_not_be_exercised_is_named() {
    let bench = Bench::new();
    let provider = bench.write("provider.wasm", CREDENTIAL_PROVIDER);
    let exercise = |arguments: &[&str]| {
        bench.doctor(&provider, &[&["--exercise", "appsettings.json"], arguments].concat()).failed(2)
    };
    assert!(exercise(&[]).contains("appsettings.json"), "no file");
    bench.write("appsettings.json", "{}");
    assert!(exercise(&[]).contains("found no component that has credentials"));
    bench.configuration(json!({ "keys": "keys.pem" }), json!({}));
    assert!(exercise(&[]).contains("found no file at "));
    assert!(exercise(&["--provider", "other"]).contains("--provider with one of keys"));
}
