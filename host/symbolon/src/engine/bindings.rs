//! The world `token-acquisition`, as the host sees it. Generated types stay inside the engine.

wasmtime::component::bindgen!({
    path: [
        "../../wit/deps/io",
        "../../wit/deps/clocks",
        "../../wit/deps/http",
        "../../wit/credentials",
        "../../wit/token",
    ],
    world: "symbolon:token/token-acquisition",
    imports: {
        "symbolon:credentials/provider.select": async | trappable,
        "symbolon:credentials/provider.[method]credential.sign-assertion": async | trappable,
        "symbolon:credentials/provider.[method]credential.assertion": async | trappable,
        "symbolon:credentials/platform.request-certificate": async | trappable,
        "symbolon:credentials/transport.exchange": async | trappable,
        "symbolon:credentials/transport.wait": async | trappable,
        "symbolon:token/cache.find": async | trappable,
        "symbolon:token/cache.put": async | trappable,
        "symbolon:token/cache.remove-group": async | trappable,
        "symbolon:token/cache.members": async | trappable,
        default: trappable,
    },
    exports: { default: async },
    with: {
        "wasi:http": crate::engine::wasi_http,
        "wasi:io": wasmtime_wasi::p2::bindings::io,
        "wasi:clocks": wasmtime_wasi::p2::bindings::clocks,
        "symbolon:credentials/provider.credential": crate::engine::credentials::CredentialHandle,
        "symbolon:token/cache.ticket": crate::engine::cache::TicketHandle,
        "symbolon:token/types.authorization": crate::linker::authorization::Authorization,
    },
});
