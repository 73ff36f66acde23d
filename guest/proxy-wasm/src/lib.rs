//! The protocol core as a filter of Envoy, or of another proxy with the proxy-wasm ABI 0.2.1.
//!
//! Before a request goes upstream it gets the token of its route. The filter acquires it as the component does, by the same
//! core; what the host does there, Envoy does here: its clusters own the sockets, the names and the client certificates,
//! its shared data the token that all workers use. The filter has no key, no secret and no way out but the clusters that
//! its configuration names.
//!
//! | module | what it does |
//! |---|---|
//! | `settings` | reads the plugin's configuration |
//! | `filter` | meets the streams: lets them pass with a token, holds them while one is acquired, refuses them |
//! | `worker` | runs the acquisitions of one worker thread |
//! | `shared` | keeps what the workers share: tokens, who is acquiring one, pauses |
//! | `http` | sends the core's requests through clusters |
//!
//! Built for `wasm32-wasip1`. For every other target only `settings` is there, for its tests.

#[cfg(target_arch = "wasm32")]
mod filter;
#[cfg(target_arch = "wasm32")]
mod http;
#[cfg(any(test, target_arch = "wasm32"))]
mod settings;
#[cfg(target_arch = "wasm32")]
mod shared;
#[cfg(target_arch = "wasm32")]
mod worker;

#[cfg(target_arch = "wasm32")]
mod start {
    proxy_wasm::main! {{
        proxy_wasm::set_root_context(|context_id| Box::new(crate::filter::Root::new(context_id)));
    }}
}
