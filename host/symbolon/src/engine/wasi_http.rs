//! The bindings of `wasi:http` that `bindgen!` maps our vendored WASI 0.2.0 onto.
//!
//! The implementation speaks a later 0.2.x whose `types` interface has an unstable function, and takes options that say
//! whether it is linked. Code generated from 0.2.0 knows of no options, so they are filled in here.

pub use wasmtime_wasi_http::p2::bindings::http::outgoing_handler;

pub mod types {
    use wasmtime::component::Linker;
    use wasmtime_wasi_http::p2::bindings::LinkOptions;
    pub use wasmtime_wasi_http::p2::bindings::http::types::*;

    pub fn add_to_linker<T, D>(
        linker: &mut Linker<T>,
        host: fn(&mut T) -> D::Data<'_>,
    ) -> wasmtime::Result<()>
    where
        D: HostWithStore<T>,
        for<'a> D::Data<'a>: Host,
        T: 'static,
    {
        let options = LinkOptions::default();
        wasmtime_wasi_http::p2::bindings::http::types::add_to_linker::<T, D>(linker, &(&options).into(), host)
    }
}
