//! Notices files that become others.

use std::collections::BTreeSet;
use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::PathBuf;
use std::time::Duration;

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc::{Receiver, channel};

use crate::credentials::directories;

/// Tells when one of some files has other contents than before. They may be replaced by symbolic links, as Kubernetes
/// replaces them, and are looked at now and then where the system reports nothing.
pub struct FileWatch {
    files: Vec<PathBuf>,
    watcher: Option<RecommendedWatcher>,
    watched: BTreeSet<PathBuf>,
    events: Receiver<()>,
    /// Of what was seen last.
    fingerprint: u64,
}

impl FileWatch {
    /// Watches the files from now on.
    pub fn new(files: impl IntoIterator<Item = PathBuf>) -> Self {
        // One that waits says enough: all files are looked at then.
        let (sender, events) = channel(1);
        let handler = move |event: notify::Result<Event>| {
            // Reading, as we do ourselves, is an event too.
            let may_be_change = |event: &Event| !matches!(event.kind, EventKind::Access(_));
            if event.as_ref().map_or(true, may_be_change) {
                let _ = sender.try_send(());
            }
        };
        let watcher = notify::recommended_watcher(handler).inspect_err(
            |error| tracing::warn!(%error, "files are not watched, only looked at now and then"),
        );
        let files = files.into_iter().collect();
        let mut watch =
            Self { files, watcher: watcher.ok(), watched: BTreeSet::new(), events, fingerprint: 0 };
        watch.watch_directories();
        watch.fingerprint = watch.look();
        watch
    }

    /// Waits until one of the files has other contents than when it was looked at last.
    pub async fn changed(&mut self) {
        loop {
            tokio::select! {
                Some(()) = self.events.recv() => tokio::time::sleep(SETTLING_TIME).await,
                () = tokio::time::sleep(POLL_INTERVAL) => {}
            }
            while self.events.try_recv().is_ok() {}
            // A link may lead elsewhere now.
            self.watch_directories();
            let seen = self.look();
            if seen != self.fingerprint {
                self.fingerprint = seen;
                return;
            }
        }
    }

    fn watch_directories(&mut self) {
        let Some(watcher) = &mut self.watcher else { return };
        for directory in &self.watched {
            // One that is gone isn't watched any more.
            let _ = watcher.unwatch(directory);
        }
        let directories: BTreeSet<_> = self.files.iter().flat_map(|file| directories(file)).collect();
        let watched =
            directories.into_iter().filter(|path| watcher.watch(path, RecursiveMode::NonRecursive).is_ok());
        self.watched = watched.collect();
    }

    fn look(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for file in &self.files {
            let contents = std::fs::read(file).map(zeroize::Zeroizing::new).ok();
            contents.as_ref().map(|contents| contents.as_slice()).hash(&mut hasher);
        }
        hasher.finish()
    }
}

impl fmt::Debug for FileWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileWatch").field("files", &self.files).finish_non_exhaustive()
    }
}

/// From the first sign of a change to the look at it: what changes is often several files, or one in several steps.
const SETTLING_TIME: Duration = Duration::from_millis(50);

const POLL_INTERVAL: Duration = Duration::from_secs(30);
