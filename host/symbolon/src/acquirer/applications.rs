//! The applications of a configuration that are in use.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

use crate::application::Application;
use crate::error::Result;

#[derive(Default)]
pub(super) struct Applications(RwLock<Kept>);

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
        if let Some(used) = self.0.read().unwrap_or_else(PoisonError::into_inner).by_name.get(&name) {
            return Ok(used.again(now_unix));
        }
        let mut kept = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(used) = kept.by_name.get(&name) {
            return Ok(used.again(now_unix));
        }
        kept.let_go_of_the_idle(now_unix);
        let application = make()?;
        kept.by_name.insert(name, Used { application: application.clone(), last: AtomicU64::new(now_unix) });
        Ok(application)
    }
}

impl fmt::Debug for Applications {
    /// Shows their names.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kept = self.0.read().unwrap_or_else(PoisonError::into_inner);
        f.debug_list().entries(kept.by_name.keys()).finish()
    }
}

impl Kept {
    /// When another one comes: as long as none does, there is room for those that are there.
    fn let_go_of_the_idle(&mut self, now_unix: u64) {
        if now_unix < self.look_at {
            return;
        }
        self.look_at = now_unix + LOOK_SECONDS;
        self.by_name.retain(|_, used| !used.is_idle(now_unix) || !used.application.may_be_let_go());
    }
}

/// As long as most tokens live.
const IDLE_SECONDS: u64 = 3_600;
const LOOK_SECONDS: u64 = 60;
