//! The applications of a configuration that are in use.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, RwLock, RwLockWriteGuard};

use crate::application::Application;
use crate::error::Result;

#[derive(Default)]
pub(super) struct Applications {
    kept: RwLock<Kept>,
    /// Held by whoever makes one: files are read for that, and nobody who asks for another is to wait.
    making: Mutex<()>,
}

#[derive(Default)]
struct Kept {
    /// By the name of the section in lower case.
    by_name: HashMap<String, Used>,
    /// When it is time to look which are idle. Unix seconds.
    look_at: u64,
}

struct Used {
    application: Application,
    /// Unix seconds.
    last: AtomicU64,
}

impl Used {
    fn again(&self, now_unix: u64) -> Application {
        self.last.store(now_unix, Ordering::Relaxed);
        self.application.clone()
    }

    /// A clock that was set back makes nobody idle.
    fn is_idle(&self, now_unix: u64) -> bool {
        now_unix.saturating_sub(self.last.load(Ordering::Relaxed)) >= IDLE_SECONDS
    }
}

impl Applications {
    /// The application of a section, or what `make` makes. The name's case doesn't matter.
    pub(super) fn get(
        &self,
        name: &str,
        now_unix: u64,
        make: impl FnOnce() -> Result<Application>,
    ) -> Result<Application> {
        let name = name.to_ascii_lowercase();
        if let Some(application) = self.known(&name, now_unix) {
            return Ok(application);
        }
        let _making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(application) = self.known(&name, now_unix) {
            return Ok(application);
        }
        // Going takes its time, too: they close their connections.
        let idle = self.change().take_the_idle(now_unix);
        drop(idle);
        let application = make()?;
        let used = Used { application: application.clone(), last: AtomicU64::new(now_unix) };
        self.change().by_name.insert(name, used);
        Ok(application)
    }

    fn change(&self) -> RwLockWriteGuard<'_, Kept> {
        self.kept.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self, name: &str, now_unix: u64) -> Option<Application> {
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner);
        kept.by_name.get(name).map(|used| used.again(now_unix))
    }
}

impl fmt::Debug for Applications {
    /// Shows their names.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner);
        f.debug_list().entries(kept.by_name.keys()).finish()
    }
}

impl Kept {
    /// When another one comes: as long as none does, there is room for those that are there. A few at a time, as who comes
    /// waits for it.
    fn take_the_idle(&mut self, now_unix: u64) -> Vec<Used> {
        if now_unix < self.look_at {
            return Vec::new();
        }
        let is_idle = |used: &Used| used.is_idle(now_unix) && used.application.may_be_let_go();
        let idle = self.by_name.extract_if(|_, used| is_idle(used)).map(|(_, used)| used);
        let idle: Vec<_> = idle.take(LET_GO_AT_ONCE).collect();
        if idle.len() < LET_GO_AT_ONCE {
            self.look_at = now_unix + LOOK_SECONDS;
        }
        idle
    }
}

/// As long as most tokens live.
const IDLE_SECONDS: u64 = 3_600;
const LOOK_SECONDS: u64 = 60;
/// One takes some 150 µs.
const LET_GO_AT_ONCE: usize = 16;
