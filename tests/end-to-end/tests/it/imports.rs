//! The component imports exactly the committed list of interfaces (I2).

use symbolon::Component;
use symbolon_end_to_end::workspace;

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
    let committed =
        std::fs::read(workspace("tests/end-to-end/hostile-guest.wasm")).expect("the hostile guest");
    assert!(
        committed == symbolon_end_to_end::HOSTILE_GUEST,
        "write it anew: cp target/guest/wasm32-wasip2/guest/symbolon_hostile_guest.wasm tests/end-to-end/hostile-guest.wasm"
    );
}

#[test]
fn the_component_is_small() {
    assert!(Component.bytes().len() <= 400_000, "{} bytes", Component.bytes().len());
}
