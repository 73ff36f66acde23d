//! The thread that moves the epoch forward, while any guest runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use wasmtime::EngineWeak;

/// How often a running guest is asked whether it may go on. At each tick it also yields its worker thread, so that a
/// guest that spins delays others by this much at most.
pub(crate) const TICK: Duration = Duration::from_millis(2);

/// After so many ticks without a guest it sleeps: they would take a hundredth of a processor.
const IDLE_TICKS: u32 = 50;

/// Ticks while it lives and guests run.
#[derive(Debug)]
pub(crate) struct Ticker {
    guests: Arc<Guests>,
    /// Dropped with the ticker, which ends the thread at once.
    wake: Sender<()>,
}

#[derive(Debug, Default)]
struct Guests {
    running: AtomicUsize,
    /// Whether the thread waits to be woken.
    is_asleep: AtomicBool,
}

impl Ticker {
    pub(crate) fn start(engine: EngineWeak) -> std::io::Result<Self> {
        let (wake, woken) = channel();
        let guests = Arc::new(Guests::default());
        let ticker = Self { guests: Arc::clone(&guests), wake };
        thread::Builder::new().name("symbolon-epoch".into()).spawn(move || tick(&engine, &guests, &woken))?;
        Ok(ticker)
    }

    /// Ticks for as long as this is held.
    pub(crate) fn watch(&self) -> Watched<'_> {
        self.guests.running.fetch_add(1, Ordering::SeqCst);
        if self.guests.is_asleep.swap(false, Ordering::SeqCst) {
            // The thread ends with the ticker, not before.
            let _ = self.wake.send(());
        }
        Watched(&self.guests)
    }
}

/// A guest that runs, or waits for something.
#[derive(Debug)]
pub(crate) struct Watched<'a>(&'a Guests);

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

fn tick(engine: &EngineWeak, guests: &Guests, woken: &Receiver<()>) {
    let mut idle = 0;
    loop {
        match woken.recv_timeout(TICK) {
            Err(RecvTimeoutError::Disconnected) => return,
            _ if guests.running.load(Ordering::Relaxed) > 0 => idle = 0,
            _ => idle += 1,
        }
        if idle >= IDLE_TICKS {
            guests.is_asleep.store(true, Ordering::SeqCst);
            // Who came before that doesn't wake anybody, and who comes after it does.
            let may_sleep = guests.running.load(Ordering::SeqCst) == 0;
            if may_sleep && woken.recv().is_err() {
                return;
            }
            guests.is_asleep.store(false, Ordering::SeqCst);
            idle = 0;
        }
        match engine.upgrade() {
            Some(engine) => engine.increment_epoch(),
            None => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_sleeps_where_no_guest_runs() {
        let engine = wasmtime::Engine::default();
        let ticker = Ticker::start(engine.weak()).expect("a thread");
        let sleeps = || ticker.guests.is_asleep.load(Ordering::SeqCst);
        let until = |asleep: bool| {
            for _ in 0..1_000 {
                if sleeps() == asleep {
                    return true;
                }
                thread::sleep(TICK);
            }
            false
        };
        assert!(until(true), "nothing runs");
        let first = ticker.watch();
        assert!(!sleeps());
        let second = ticker.watch();
        drop(first);
        thread::sleep(TICK * IDLE_TICKS * 3);
        assert!(!sleeps(), "one still runs");
        drop(second);
        assert!(until(true), "nothing runs any more");
    }
}
