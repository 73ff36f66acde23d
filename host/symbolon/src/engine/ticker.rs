//! The thread that moves the epoch forward.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use wasmtime::EngineWeak;

/// How often a running guest is asked whether it may go on. At each tick it also yields its worker thread, so that a
/// guest that spins delays others by this much at most.
pub(crate) const TICK: Duration = Duration::from_millis(10);

/// Ticks while it lives.
#[derive(Debug)]
pub(crate) struct Ticker {
    /// Dropped with the ticker, which ends the thread at once.
    _stop: Sender<()>,
}

impl Ticker {
    pub(crate) fn start(engine: EngineWeak) -> std::io::Result<Self> {
        let (stop, stopped) = channel();
        thread::Builder::new().name("symbolon-epoch".into()).spawn(move || {
            while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(TICK) {
                match engine.upgrade() {
                    Some(engine) => engine.increment_epoch(),
                    None => break,
                }
            }
        })?;
        Ok(Self { _stop: stop })
    }
}
