//! A file on this machine: a second level that outlives the process, for one process at a time.
//!
//! Each change is a transaction, on the disk when it ends: whenever the process is killed, the file has all of a change or
//! nothing.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use redb::{Database, DatabaseError, ReadableDatabase as _, ReadableTable as _, TableDefinition, TableError};

use crate::clock::Clock;

use super::backend::{Backend, Failure, MAX_MEMBERS, Removals, Write};

/// A store in a file.
#[derive(Clone)]
pub(super) struct File(Arc<Opened>);

struct Opened {
    path: PathBuf,
    database: Database,
    clock: Arc<dyn Clock>,
    /// How many writes there were since what has expired was looked for.
    writes: AtomicU32,
}

/// By name: when it expires (Unix milliseconds), and the value.
const VALUES: TableDefinition<'_, &str, (u64, &[u8])> = TableDefinition::new("values");
/// By set and member: when it expires.
const MEMBERS: TableDefinition<'_, (&str, &str), u64> = TableDefinition::new("members");
/// The number of the latest removal.
const REMOVALS: TableDefinition<'_, (), u64> = TableDefinition::new("removals");

impl File {
    /// Opens the file, or makes it, for this user only.
    ///
    /// # Errors
    ///
    /// What is wrong with it, as an end of the sentence "the file, …".
    pub(super) fn open(path: &Path, clock: Arc<dyn Clock>) -> Result<Self, String> {
        let unreadable = |error: std::io::Error| format!("which can't be opened ({})", error.kind());
        let mut options = std::fs::OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.open(path).map_err(unreadable)?;
        let database = Database::create(path).map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => {
                "which another process uses; each process needs a file of its own, or they share a Redis server".to_owned()
            }
            DatabaseError::Storage(redb::StorageError::Io(error)) => unreadable(error),
            _ => "which is something else than a token cache, or damaged; without it, it is made anew".to_owned(),
        })?;
        let opened = Opened { path: path.to_owned(), database, clock, writes: AtomicU32::new(0) };
        opened.prepare().map_err(|error| format!("which can't be written ({error})"))?;
        Ok(Self(Arc::new(opened)))
    }

    /// Off the threads that serve others: it may wait for the disk.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Opened) -> Result<T, redb::Error> + Send + 'static,
    ) -> Result<T, Failure> {
        let opened = Arc::clone(&self.0);
        let failed = |what: String| Failure { what, answered: false };
        let done = tokio::task::spawn_blocking(move || work(&opened)).await;
        done.map_err(|_| failed("the runtime ends".to_owned()))?.map_err(|error| failed(error.to_string()))
    }
}

impl Opened {
    /// Makes the tables, and forgets what has expired.
    fn prepare(&self) -> Result<(), redb::Error> {
        let now = self.clock.now_unix_ms();
        let transaction = self.database.begin_write()?;
        {
            transaction.open_table(VALUES)?.retain(|_, (until, _)| until > now)?;
            transaction.open_table(MEMBERS)?.retain(|_, until| until > now)?;
            transaction.open_table(REMOVALS)?;
        }
        transaction.commit()?;
        Ok(())
    }

    fn read(&self, names: &[String]) -> Result<Vec<Option<Vec<u8>>>, redb::Error> {
        let now = self.clock.now_unix_ms();
        let values = self.database.begin_read()?.open_table(VALUES)?;
        let mut found = Vec::with_capacity(names.len());
        for name in names {
            let value = values.get(name.as_str())?;
            let value = value.as_ref().map(|value| value.value()).filter(|(until, _)| *until > now);
            found.push(value.map(|(_, value)| value.to_vec()));
        }
        Ok(found)
    }

    fn write(&self, writes: &[Write]) -> Result<(), redb::Error> {
        let now = self.clock.now_unix_ms();
        let transaction = self.database.begin_write()?;
        {
            let mut values = transaction.open_table(VALUES)?;
            let mut sets = transaction.open_table(MEMBERS)?;
            for write in writes {
                match write {
                    Write::Set { name, value, ttl_ms } => {
                        values.insert(name.as_str(), (now.saturating_add(*ttl_ms), value.as_slice()))?;
                    }
                    Write::SetIfAbsent { name, value, ttl_ms } => {
                        let is_there = values.get(name.as_str())?.is_some_and(|value| value.value().0 > now);
                        if !is_there {
                            values.insert(name.as_str(), (now.saturating_add(*ttl_ms), value.as_slice()))?;
                        }
                    }
                    Write::Extend { name, ttl_ms } => {
                        let value = values.get(name.as_str())?.map(|value| value.value().1.to_vec());
                        if let Some(value) = value {
                            values.insert(name.as_str(), (now.saturating_add(*ttl_ms), value.as_slice()))?;
                        }
                    }
                    Write::Delete { names } => {
                        for name in names {
                            values.remove(name.as_str())?;
                        }
                    }
                    Write::AddMember { set, member, ttl_ms } => {
                        sets.insert((set.as_str(), member.as_str()), now.saturating_add(*ttl_ms))?;
                    }
                    Write::RemoveMembers { set, members } => {
                        for member in members {
                            sets.remove((set.as_str(), member.as_str()))?;
                        }
                    }
                }
            }
        }
        transaction.commit()?;
        if self.writes.fetch_add(1, Ordering::Relaxed) % WRITES_BETWEEN_SWEEPS == WRITES_BETWEEN_SWEEPS - 1 {
            self.prepare()?;
        }
        Ok(())
    }

    fn members(&self, set: &str) -> Result<Vec<String>, redb::Error> {
        let now = self.clock.now_unix_ms();
        let sets = self.database.begin_read()?.open_table(MEMBERS)?;
        let mut members = Vec::new();
        for member in sets.range((set, "")..)? {
            let (key, until) = member?;
            let (its_set, member) = key.value();
            if its_set != set || members.len() == MAX_MEMBERS {
                break;
            }
            if until.value() > now {
                members.push(member.to_owned());
            }
        }
        Ok(members)
    }

    fn latest_removal(&self) -> Result<u64, redb::Error> {
        let removals = match self.database.begin_read()?.open_table(REMOVALS) {
            Err(TableError::TableDoesNotExist(_)) => return Ok(1),
            removals => removals?,
        };
        Ok(removals.get(())?.map_or(1, |number| number.value()))
    }

    fn log_removal(&self) -> Result<u64, redb::Error> {
        let transaction = self.database.begin_write()?;
        let number = {
            let mut removals = transaction.open_table(REMOVALS)?;
            let number = removals.get(())?.map_or(1, |number| number.value()) + 1;
            removals.insert((), number)?;
            number
        };
        transaction.commit()?;
        Ok(number)
    }
}

impl Backend for File {
    const SHARED: bool = false;

    async fn read(&self, names: &[String]) -> Result<Vec<Option<Vec<u8>>>, Failure> {
        let names = names.to_vec();
        self.run(move |file| file.read(&names)).await
    }

    async fn write(&self, writes: Vec<Write>) -> Result<(), Failure> {
        self.run(move |file| file.write(&writes)).await
    }

    async fn members(&self, set: &str) -> Result<Vec<String>, Failure> {
        let set = set.to_owned();
        self.run(move |file| file.members(&set)).await
    }

    async fn latest_removal(&self) -> Result<u64, Failure> {
        self.run(Opened::latest_removal).await
    }

    /// There is nobody to be told.
    async fn log_removal(&self, _message: &[u8]) -> Result<u64, Failure> {
        self.run(Opened::log_removal).await
    }

    async fn removals(&self, after: u64) -> Result<Removals, Failure> {
        Ok(Removals { latest: after, ..Removals::default() })
    }

    /// Nobody else is there; within the process flights are led one by one anyway.
    async fn lock(&self, _name: &str, _token: &str, _lease_ms: u64) -> Result<bool, Failure> {
        Ok(true)
    }

    async fn unlock(&self, _name: &str, _token: &str) -> Result<(), Failure> {
        Ok(())
    }
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("File").field(&self.0.path).finish()
    }
}

const WRITES_BETWEEN_SWEEPS: u32 = 4096;
