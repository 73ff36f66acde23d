//! Redis, Valkey, and whatever speaks their protocol: a server, a cluster, or a master that sentinels name.
//!
//! Removals are a stream: its ids number them, whoever has heard one goes on after it, and one that is gone from the stream
//! says that some were missed.

use std::time::Duration;

use futures_util::future::join_all;
use redis::{Cmd, cmd};

use super::backend::{Backend, Failure, MAX_MEMBERS, Removals, Write};
use super::options::RedisOptions;

mod access;
mod connection;
mod partition;

use connection::Connections;

/// A store in Redis.
#[derive(Debug)]
pub(super) struct Redis {
    connections: Connections,
    /// For waiting.
    listener: Connections,
    /// The stream of removals.
    log: String,
}

impl Redis {
    /// Contacts nobody yet.
    pub(super) fn new(options: RedisOptions, prefix: &str) -> Self {
        Self {
            // Ends before the time that an operation may take, so that a connection on which nothing comes any more is known
            // and left: that of a server whose machine is gone would stay for a quarter of an hour.
            connections: Connections::new(options.clone(), options.timeout * 9 / 10),
            listener: Connections::new(options, LISTENING + Duration::from_secs(5)),
            log: format!("{prefix}removals"),
        }
    }

    async fn query_all(&self, commands: Vec<Cmd>) -> Result<(), Failure> {
        // Not a pipeline, which a cluster takes only for one slot. On one connection they go out together all the same.
        let results =
            join_all(commands.iter().map(|command| self.connections.query::<redis::Value>(command))).await;
        results.into_iter().try_for_each(|result| result.map(drop))
    }
}

impl Backend for Redis {
    const SHARED: bool = true;

    async fn read(&self, names: &[String]) -> Result<Vec<Option<Vec<u8>>>, Failure> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        self.connections.query(cmd("MGET").arg(names)).await
    }

    async fn write(&self, writes: Vec<Write>) -> Result<(), Failure> {
        self.query_all(writes.into_iter().flat_map(commands).collect()).await
    }

    async fn members(&self, set: &str) -> Result<Vec<String>, Failure> {
        let mut range = cmd("ZRANGEBYSCORE");
        range.arg(set).arg(now_unix_ms()).arg("+inf").arg("LIMIT").arg(0).arg(MAX_MEMBERS);
        self.connections.query(&range).await
    }

    async fn latest_removal(&self) -> Result<u64, Failure> {
        let mut last = cmd("XREVRANGE");
        last.arg(&self.log).arg("+").arg("-").arg("COUNT").arg(1);
        let last: Vec<Message> = self.connections.query(&last).await?;
        match last.first().and_then(|(id, _)| number(id)) {
            Some(number) => Ok(number),
            // So that what begins now is later than whatever was removed before the stream was lost.
            None => self.log_removal(b"").await,
        }
    }

    async fn log_removal(&self, message: &[u8]) -> Result<u64, Failure> {
        let mut add = cmd("XADD");
        add.arg(&self.log).arg("MAXLEN").arg("~").arg(LOG_LENGTH).arg("*").arg(FIELD).arg(message);
        let id: String = self.connections.query(&add).await?;
        number(&id).ok_or_else(|| Failure { what: "a strange id".to_owned(), answered: true })
    }

    async fn removals(&self, after: u64) -> Result<Removals, Failure> {
        let id = id(after);
        let mut read = cmd("XREAD");
        read.arg("COUNT").arg(1000).arg("BLOCK").arg(LISTENING.as_millis() as u64);
        read.arg("STREAMS").arg(&self.log).arg(&id);
        let streams: Option<Vec<(String, Vec<Message>)>> = self.listener.query(&read).await?;
        let mut removals = Removals { latest: after, ..Removals::default() };
        for (id, mut fields) in streams.into_iter().flatten().flat_map(|(_, messages)| messages) {
            let Some(number) = number(&id) else { continue };
            removals.latest = number;
            removals
                .messages
                .extend(fields.pop().filter(|message| !message.is_empty()).map(|message| (number, message)));
        }
        // Last, because the stream may have been lost while this waited.
        let mut known = cmd("XRANGE");
        known.arg(&self.log).arg(&id).arg(&id);
        let known: Vec<Message> = self.listener.query(&known).await?;
        if known.is_empty() {
            removals.missed = true;
            removals.latest = self.latest_removal().await?;
        }
        Ok(removals)
    }

    async fn lock(&self, name: &str, token: &str, lease_ms: u64) -> Result<bool, Failure> {
        let mut set = cmd("SET");
        set.arg(name).arg(token).arg("NX").arg("PX").arg(lease_ms);
        let set: Option<String> = self.connections.query(&set).await?;
        Ok(set.is_some())
    }

    async fn unlock(&self, name: &str, token: &str) -> Result<(), Failure> {
        let mut unlock = cmd("EVAL");
        unlock.arg(UNLOCK).arg(1).arg(name).arg(token);
        self.connections.query(&unlock).await
    }
}

fn commands(write: Write) -> Vec<Cmd> {
    let mut command = Cmd::new();
    match write {
        Write::Set { name, value, ttl_ms } => {
            command.arg("SET").arg(name).arg(value).arg("PX").arg(ttl_ms);
        }
        Write::SetIfAbsent { name, value, ttl_ms } => {
            command.arg("SET").arg(name).arg(value).arg("NX").arg("PX").arg(ttl_ms);
        }
        Write::Extend { name, ttl_ms } => {
            command.arg("PEXPIRE").arg(name).arg(ttl_ms);
        }
        Write::Delete { names } => {
            command.arg("DEL").arg(names);
        }
        Write::AddMember { set, member, ttl_ms } => {
            let now = now_unix_ms();
            let mut expired = cmd("ZREMRANGEBYSCORE");
            expired.arg(&set).arg("-inf").arg(now);
            command.arg("ZADD").arg(&set).arg(now.saturating_add(ttl_ms)).arg(member);
            let mut extend = cmd("PEXPIRE");
            extend.arg(set).arg(super::store::KEPT_MS);
            return vec![expired, command, extend];
        }
        Write::RemoveMembers { set, members } => {
            command.arg("ZREM").arg(set).arg(members);
        }
    }
    vec![command]
}

/// An id of the stream is the server's time in milliseconds and a number among those of the same.
fn number(id: &str) -> Option<u64> {
    let (ms, sequence) = id.split_once('-')?;
    let (ms, sequence): (u64, u64) = (ms.parse().ok()?, sequence.parse().ok()?);
    ms.checked_mul(SEQUENCES)?.checked_add(sequence.min(SEQUENCES - 1))
}

fn id(number: u64) -> String {
    format!("{}-{}", number / SEQUENCES, number % SEQUENCES)
}

/// When members of sets expire: the time of day, as other processes have it, too.
fn now_unix_ms() -> u64 {
    use crate::clock::{Clock as _, SystemClock};
    SystemClock.now_unix_ms()
}

/// Its id, and names and values of its fields.
type Message = (String, Vec<Vec<u8>>);

/// Only whoever took the lock gives it back.
const UNLOCK: &str =
    "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) else return 0 end";
const FIELD: &str = "removal";
const LOG_LENGTH: usize = 10_000;
const LISTENING: Duration = Duration::from_secs(1);
const SEQUENCES: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_the_stream_are_numbers_in_their_order() {
        let ids = ["1-0", "1-1", "2-0", "1700000000000-3"];
        let numbers = ids.map(|id| number(id).unwrap());
        assert!(numbers.is_sorted());
        assert_eq!(numbers.map(id), ids);
        assert_eq!(number("strange"), None);
    }
}
