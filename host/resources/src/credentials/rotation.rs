//! Notices certificates, secrets and assertions that change in their files.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::time::Instant;

use super::entry::Entry;

/// Watches the files of credentials, and looks at all of them again and again for changes that no watch reports: those of
/// network file systems, and of symbolic links further away. What it finds is used from the next selection on.
///
/// A file is taken when it is complete: a certificate whose key doesn't match yet, or one that isn't valid, leaves the one
/// before in use. Files may be replaced by symbolic links, as Kubernetes replaces them.
///
/// One serves all applications of a process, with two threads in all, the first of which begins with the first application.
/// Cheap to clone; the threads end with the last clone.
#[derive(Clone)]
pub struct Rotation(Arc<Shared>);

struct Shared {
    poll_interval: Duration,
    /// Ends the thread when it is dropped: nobody else has it for longer than a moment.
    messages: OnceLock<Arc<Sender<Message>>>,
}

enum Message {
    Watch(Vec<Weak<Entry>>),
    Changed(notify::Result<Event>),
}

impl Rotation {
    /// A watch that looks at all files every 30 seconds.
    pub fn new() -> Self {
        Self::with_poll_interval(Duration::from_secs(30))
    }

    /// A watch that looks at all files as often as this, and at least once a day.
    pub fn with_poll_interval(interval: Duration) -> Self {
        let poll_interval = interval.min(LONGEST_INTERVAL);
        Self(Arc::new(Shared { poll_interval, messages: OnceLock::new() }))
    }

    /// Watches the entries for as long as they live.
    pub(super) fn watch<'a>(&self, entries: impl IntoIterator<Item = &'a Arc<Entry>>) {
        let entries: Vec<_> = entries.into_iter().map(Arc::downgrade).collect();
        if !entries.is_empty() {
            let messages = self.0.messages.get_or_init(|| start(self.0.poll_interval));
            // Where no thread could be started, credentials are read as without a watch.
            let _ = messages.send(Message::Watch(entries));
        }
    }
}

impl Default for Rotation {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Rotation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rotation").field("poll_interval", &self.0.poll_interval).finish_non_exhaustive()
    }
}

fn start(poll_interval: Duration) -> Arc<Sender<Message>> {
    let (sender, receiver) = channel();
    let sender = Arc::new(sender);
    let events = Arc::downgrade(&sender);
    let run = move || Watch::new(events).run(&receiver, poll_interval);
    if let Err(error) = std::thread::Builder::new().name("symbolon-rotation".to_owned()).spawn(run) {
        tracing::warn!(%error, "files of credentials are not watched");
    }
    sender
}

/// What the thread knows.
struct Watch {
    /// Nothing where the system has none; then there is the look at all of them.
    watcher: Option<RecommendedWatcher>,
    entries: Vec<Weak<Entry>>,
    /// The entries by the directories that are watched for them.
    directories: HashMap<PathBuf, Vec<Weak<Entry>>>,
}

/// What may have changed.
#[derive(Default)]
struct Changes {
    paths: BTreeSet<PathBuf>,
    all: bool,
}

impl Watch {
    fn new(events: Weak<Sender<Message>>) -> Self {
        let handler = move |event: notify::Result<Event>| {
            if let Some(messages) = events.upgrade() {
                let _ = messages.send(Message::Changed(event));
            }
        };
        let watcher = notify::recommended_watcher(handler);
        if let Err(error) = &watcher {
            tracing::warn!(%error, "files of credentials are not watched, only looked at now and then");
        }
        Self { watcher: watcher.ok(), entries: Vec::new(), directories: HashMap::new() }
    }

    fn run(mut self, messages: &Receiver<Message>, poll_interval: Duration) {
        let mut next_poll = Instant::now() + poll_interval;
        loop {
            let mut changes = Changes::default();
            let mut until = next_poll;
            // What changes is often several files, or one in several steps.
            loop {
                let left = until.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    break;
                }
                match messages.recv_timeout(left) {
                    Ok(Message::Watch(entries)) => self.add(entries),
                    Ok(Message::Changed(event)) => {
                        if changes.add(event) {
                            until = until.min(Instant::now() + SETTLING_TIME);
                        }
                    }
                    Err(RecvTimeoutError::Timeout) => break,
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
            match Instant::now() >= next_poll {
                true => {
                    self.poll();
                    next_poll = Instant::now() + poll_interval;
                }
                false => self.look(&changes),
            }
        }
    }

    fn add(&mut self, entries: Vec<Weak<Entry>>) {
        for entry in entries {
            let Some(alive) = entry.upgrade() else { continue };
            self.watch(&alive);
            self.entries.push(entry);
            // It may have been read, and its file changed, before there was a watch.
            alive.refresh_watched();
        }
    }

    fn look(&mut self, changes: &Changes) {
        // A directory that is watched, or a file in one.
        let watched = |path: &Path| self.directories.get(path).or_else(|| self.directories.get(parent(path)));
        let found: Option<Vec<_>> = changes.paths.iter().map(|path| watched(path)).collect();
        let affected: Vec<Weak<Entry>> = match found.filter(|_| !changes.all) {
            Some(found) => found.into_iter().flatten().cloned().collect(),
            // Some systems report other paths than those that are watched.
            None => self.entries.clone(),
        };
        // Each once, however many events there were.
        let alive = affected.iter().filter_map(Weak::upgrade).map(|entry| (Arc::as_ptr(&entry), entry));
        for entry in alive.collect::<HashMap<_, _>>().into_values() {
            entry.refresh_watched();
            // A link may lead elsewhere now.
            self.watch(&entry);
        }
    }

    fn poll(&mut self) {
        self.entries.retain(|entry| entry.strong_count() > 0);
        let before: Vec<PathBuf> = self.directories.drain().map(|(directory, _)| directory).collect();
        if let Some(watcher) = &mut self.watcher {
            for directory in &before {
                // One that is gone isn't watched any more.
                let _ = watcher.unwatch(directory);
            }
        }
        for entry in self.entries.clone().iter().filter_map(Weak::upgrade) {
            self.watch(&entry);
            entry.refresh_watched();
        }
    }

    fn watch(&mut self, entry: &Arc<Entry>) {
        let Some(watcher) = &mut self.watcher else { return };
        for directory in entry.files.iter().flat_map(|file| directories(file)) {
            let weak = Arc::downgrade(entry);
            match self.directories.get_mut(&directory) {
                Some(entries) => {
                    if !entries.iter().any(|known| known.ptr_eq(&weak)) {
                        entries.push(weak);
                    }
                    // The same path may be another directory by now.
                    if directory.canonicalize().is_ok_and(|real| real != directory) {
                        let _ = watcher.unwatch(&directory);
                        let _ = watcher.watch(&directory, RecursiveMode::NonRecursive);
                    }
                }
                // A directory that isn't there yet is noticed by the look at all of them.
                None if watcher.watch(&directory, RecursiveMode::NonRecursive).is_ok() => {
                    self.directories.insert(directory, vec![weak]);
                }
                None => {}
            }
        }
    }
}

impl Changes {
    /// Whether there may be something to see. Reading a file, as we do ourselves, is an event too.
    fn add(&mut self, event: notify::Result<Event>) -> bool {
        match event {
            Ok(event) => {
                let by_reading = matches!(event.kind, EventKind::Access(kind) if kind != WRITTEN);
                if by_reading {
                    return false;
                }
                self.all |= event.need_rescan() || event.paths.is_empty();
                self.paths.extend(event.paths);
            }
            Err(_) => self.all = true,
        }
        true
    }
}

/// The directories in which something happens when the file becomes another: its own, those of the links on the way to it,
/// and those of links to directories above it.
pub(crate) fn directories(file: &Path) -> BTreeSet<PathBuf> {
    let mut directories = BTreeSet::new();
    let mut file = file.to_path_buf();
    for _ in 0..MAX_LINKS {
        directories.insert(parent(&file).to_path_buf());
        let is_link = |path: &&Path| path.symlink_metadata().is_ok_and(|metadata| metadata.is_symlink());
        let links = file.ancestors().skip(1).filter(is_link);
        directories.extend(links.map(|link| parent(link).to_path_buf()));
        match std::fs::read_link(&file) {
            Ok(target) => file = parent(&file).join(target),
            Err(_) => break,
        }
    }
    directories
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => path,
    }
}

const WRITTEN: AccessKind = AccessKind::Close(AccessMode::Write);

/// From the first sign of a change to the look at it.
const SETTLING_TIME: Duration = Duration::from_millis(50);

/// As many as Linux follows.
const MAX_LINKS: usize = 40;

/// Beyond it, the addition to a time might fail.
const LONGEST_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn every_directory_on_the_way_to_a_file_is_watched() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        // As Kubernetes projects a secret, and a link to it from elsewhere.
        std::fs::create_dir_all(path("mount/..2026")).unwrap();
        std::fs::write(path("mount/..2026/tls.pem"), "x").unwrap();
        symlink("..2026", path("mount/..data")).unwrap();
        symlink("..data/tls.pem", path("mount/tls.pem")).unwrap();
        std::fs::create_dir(path("etc")).unwrap();
        symlink("../mount/tls.pem", path("etc/app.pem")).unwrap();
        let found = directories(&path("etc/app.pem"));
        let real: BTreeSet<_> = found.iter().map(|directory| directory.canonicalize().unwrap()).collect();
        let root = root.path().canonicalize().unwrap();
        assert_eq!(real, BTreeSet::from(["etc", "mount", "mount/..2026"].map(|name| root.join(name))));
    }

    #[test]
    fn a_circle_of_links_ends() {
        let root = tempfile::tempdir().unwrap();
        symlink("b", root.path().join("a")).unwrap();
        symlink("a", root.path().join("b")).unwrap();
        assert_eq!(directories(&root.path().join("a")), BTreeSet::from([root.path().to_path_buf()]));
    }
}
