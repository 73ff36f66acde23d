// Shared by the crate and its build script, so that code compiled ahead of time fits the engine that runs it.

/// Everything about the engine that decides what native code it can run.
pub(crate) fn engine_config() -> wasmtime::Config {
    let mut config = wasmtime::Config::new();
    config.wasm_component_model(true);
    // Each acquisition is a store of its own: nothing runs beside it in there. Three times the price of a call otherwise, where
    // another crate of the program turns the feature on.
    config.concurrency_support(false);
    // A guest that doesn't stop is asked at each tick of the epoch; fuel would cost 5 %.
    config.epoch_interruption(true);
    // Half a megabyte of WebAssembly stack; recursion beyond it is a trap.
    config.max_wasm_stack(512 * 1024);
    config.async_stack_size(1024 * 1024);
    // 4 GiB of address space for each memory, so that its bounds need no check.
    config.memory_reservation(4 << 30);
    config.memory_guard_size(32 << 20);
    config.wasm_backtrace_max_frames(None);
    config
}
