//! How components are joined.

use symbolon_compose::{Absent, Parts, compose};
use symbolon_end_to_end::HOSTILE_GUEST;
use symbolon_end_to_end::guests::component;
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::middleware::joined;

/// What a component imports, and what it exports.
fn interfaces(bytes: &[u8]) -> (Vec<String>, Vec<String>) {
    let engine = Engine::default();
    let parsed = Component::new(&engine, bytes).expect("a component");
    let parsed = parsed.component_type();
    let imports = parsed.imports(&engine).map(|(name, _)| name.to_owned()).collect();
    (imports, parsed.exports(&engine).map(|(name, _)| name.to_owned()).collect())
}

#[test]
fn only_wasi_is_imported() {
    for (absent, expected) in [
        (&[][..], ["wasi:config/store@0.2.0-rc.1", "wasi:keyvalue/store@0.2.0-draft"].as_slice()),
        (&[Absent::Config], &["wasi:keyvalue/store@0.2.0-draft"]),
        (&[Absent::Config, Absent::Keyvalue], &[]),
    ] {
        let Some(middleware) = joined(absent) else { return };
        let (imports, exports) = interfaces(&middleware);
        assert!(imports.iter().all(|name| name.starts_with("wasi:")), "{imports:?}");
        let drafts: Vec<&String> = imports.iter().filter(|name| !name.ends_with("@0.2.0")).collect();
        assert_eq!(drafts, expected);
        assert_eq!(exports, ["wasi:http/incoming-handler@0.2.0"]);
    }
}

#[test]
fn without_a_plugin_the_acquisition_is_exported() {
    let Some(host) = component("symbolon-wasi-host") else { return };
    let part = |package| component(package).expect("a component");
    let (application, absent) = (part("symbolon-wasi-application"), part("symbolon-wasi-absent"));
    let credentials = part("symbolon-example-credential-provider");
    let parts = Parts {
        protocol: symbolon::Component.bytes(),
        application: &application,
        host: &host,
        credentials: &credentials,
        absent: &absent,
    };
    let (_, exports) = interfaces(&compose(&parts, None, &[]).expect("one component"));
    assert_eq!(exports, ["symbolon:token/types@0.1.0", "symbolon:token/acquisition@0.1.0"]);
    let lacking = Parts { credentials: &absent, ..parts };
    let error = compose(&lacking, None, &[]).expect_err("nobody has the key");
    assert!(error.to_string().contains("symbolon:credentials/custody@0.1.0"), "{error}");
    let damaged = Parts { host: HOSTILE_GUEST.get(..100).expect("bytes"), ..parts };
    assert_eq!(compose(&damaged, None, &[]).expect_err("no component").to_string(), "host isn't a component");
}
