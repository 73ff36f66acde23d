//! Threads that wait for others, such as whoever has an application's keys.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

/// The threads that one application may keep waiting at a time. The runtime has some hundreds for all, and whoever looks up
/// a name or reads a file needs one.
#[derive(Clone, Debug)]
pub(crate) struct Threads(Arc<Semaphore>);

impl Threads {
    /// Does what blocks on a thread that may, once there is one. Nothing where it panicked.
    ///
    /// A thread can't be called off: where the caller gives up, it counts until it is done.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let permit = Arc::clone(&self.0).acquire_owned().await.ok()?;
        let working = move || {
            let _permit = permit;
            work()
        };
        spawn_blocking(working).await.ok()
    }
}

impl Default for Threads {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(THREADS)))
    }
}

/// A key in a security module signs within milliseconds, some of them at a time; a component does one thing at a time.
const THREADS: usize = 8;
