//! The runtime of what waits for files and sockets.

use std::sync::OnceLock;

use anyhow::{Context, Result};
use tokio::runtime::{Builder, Runtime};

/// Runs something to its end, with the threads that all vectors share.
pub(crate) fn block_on<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    static RUNTIME: OnceLock<std::io::Result<Runtime>> = OnceLock::new();
    let runtime = RUNTIME.get_or_init(|| Builder::new_multi_thread().worker_threads(2).enable_all().build());
    runtime.as_ref().ok().context("there are no threads to run it on")?.block_on(future)
}
