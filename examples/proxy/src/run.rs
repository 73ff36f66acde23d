//! One run of a plugin: whether it has ended well, and whether it goes round in circles.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use wasmtime::UpdateDeadline;

/// How often a plugin that runs is asked whether it may go on. It also lets others run then.
pub(crate) const TICK: Duration = Duration::from_millis(10);

/// For how many ticks a plugin may run without waiting for anything or moving a part of a body.
const TICKS: u32 = 25;

/// What the proxy knows of a run.
#[derive(Default)]
pub(crate) struct Run {
    is_broken: AtomicBool,
    ticks: AtomicU32,
    /// Whether it only waits because it was told to let others run.
    yields: AtomicBool,
}

impl Run {
    /// Begins a run. It counts as broken off if it ends before it has [ended well](Ending::well), whoever ends it.
    pub(crate) fn begin(self: &Arc<Self>) -> Ending {
        Ending { run: self.clone(), is_well: false }
    }

    /// Runs a plugin, with an eye on whether it waits.
    pub(crate) async fn watch<T>(&self, plugin: impl Future<Output = T>) -> T {
        let mut plugin = std::pin::pin!(plugin);
        std::future::poll_fn(|context| self.poll(plugin.as_mut(), context)).await
    }

    /// Whether it was broken off: what it wrote isn't complete then.
    pub(crate) fn is_broken(&self) -> bool {
        self.is_broken.load(Ordering::Acquire)
    }

    /// Notes that it is getting on.
    pub(crate) fn moves(&self) {
        self.ticks.store(0, Ordering::Relaxed);
    }

    /// What happens to a plugin that runs when a tick has passed.
    pub(crate) fn tick(&self) -> wasmtime::Result<UpdateDeadline> {
        if self.ticks.fetch_add(1, Ordering::Relaxed) >= TICKS {
            wasmtime::bail!("it ran for {:?} without waiting for anything", TICK * TICKS);
        }
        self.yields.store(true, Ordering::Relaxed);
        Ok(UpdateDeadline::Yield(1))
    }

    fn poll<F: Future>(&self, plugin: Pin<&mut F>, context: &mut Context<'_>) -> Poll<F::Output> {
        let poll = plugin.poll(context);
        if poll.is_pending() && !self.yields.swap(false, Ordering::Relaxed) {
            self.moves();
        }
        poll
    }
}

/// The end of a run. It is to be dropped before the plugin's bodies are.
pub(crate) struct Ending {
    run: Arc<Run>,
    is_well: bool,
}

impl Ending {
    /// All that the plugin wrote is complete.
    pub(crate) fn well(mut self) {
        self.is_well = true;
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        if !self.is_well {
            self.run.is_broken.store(true, Ordering::Release);
        }
    }
}
