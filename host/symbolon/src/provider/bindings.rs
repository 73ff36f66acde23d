//! The world `credential-provider`, as the host sees it. Generated types stay inside this module.

wasmtime::component::bindgen!({
    path: [
        "../../wit/deps/io",
        "../../wit/deps/clocks",
        "../../wit/deps/http",
        "../../wit/credentials",
    ],
    world: "symbolon:credentials/credential-provider",
});
