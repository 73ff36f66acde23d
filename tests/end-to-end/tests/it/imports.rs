//! The component imports exactly the committed list of interfaces (I2).

use symbolon::Component;
use symbolon_end_to_end::keys::{CREDENTIAL_PROVIDER, HOSTILE_PROVIDER};
use symbolon_end_to_end::{HOSTILE_GUEST, guests, workspace};

#[test]
fn the_component_imports_what_is_listed() {
    let engine = wasmtime::Engine::default();
    let component = wasmtime::component::Component::new(&engine, Component.bytes()).expect("a component");
    let imports: Vec<_> =
        component.component_type().imports(&engine).map(|(name, _)| name.to_owned()).collect();
    let listed = std::fs::read_to_string(workspace("guest/component/imports.txt")).expect("the list");
    assert_eq!(imports, listed.lines().collect::<Vec<_>>(), "the built component, the committed list");
}

/// What is built from source is what is committed: a component that nobody can build again isn't shipped.
#[test]
fn the_committed_components_are_what_their_sources_give() {
    let committed = std::fs::read(workspace("host/symbolon/component/symbolon.wasm")).expect("the component");
    assert!(
        committed == Component.bytes(),
        "write it anew: cargo run -- component --output host/symbolon/component/symbolon.wasm"
    );
    for (file, built, package) in [
        ("hostile-guest.wasm", HOSTILE_GUEST, "symbolon_hostile_guest"),
        ("hostile-provider.wasm", HOSTILE_PROVIDER, "symbolon_hostile_provider"),
        ("credential-provider.wasm", CREDENTIAL_PROVIDER, "symbolon_example_credential_provider"),
    ] {
        let committed = std::fs::read(workspace("tests/end-to-end").join(file)).expect("a component");
        assert!(
            committed == built,
            "write it anew: cp target/guest/wasm32-wasip2/guest/{package}.wasm tests/end-to-end/{file}"
        );
    }
}

/// Whoever has keys has nothing else.
#[test]
fn components_that_have_credentials_import_nothing() {
    let engine = wasmtime::Engine::default();
    for bytes in [CREDENTIAL_PROVIDER, HOSTILE_PROVIDER] {
        let component = wasmtime::component::Component::new(&engine, bytes).expect("a component");
        assert_eq!(component.component_type().imports(&engine).count(), 0);
    }
}

/// Nor has the core for those who bring everything else.
#[test]
fn the_core_imports_nothing() {
    let Some(bytes) = guests::component("symbolon-core") else { return };
    let engine = wasmtime::Engine::default();
    let component = wasmtime::component::Component::new(&engine, bytes).expect("a component");
    assert_eq!(component.component_type().imports(&engine).count(), 0);
}

#[test]
fn the_component_is_small() {
    assert!(Component.bytes().len() <= 400_000, "{} bytes", Component.bytes().len());
}
