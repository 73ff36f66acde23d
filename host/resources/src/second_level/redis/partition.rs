//! Partitions as the Redis cache of .NET (`Microsoft.Extensions.Caching.StackExchangeRedis`) keeps them: a hash with the fields
//! `data`, `absexp` and `sldexp`.

use redis::cmd;
use zeroize::Zeroizing;

use super::Redis;
use crate::cache::msal::Lifetime;
use crate::second_level::backend::Failure;

/// What lies in Redis under the name of a partition.
pub(in crate::second_level) struct Partition {
    /// The text.
    pub(in crate::second_level) data: Zeroizing<Vec<u8>>,
    /// For how long it lies there.
    pub(in crate::second_level) lifetime: Lifetime,
}

impl Redis {
    /// The partition of this name, if there is one.
    pub(in crate::second_level) async fn partition(&self, name: &str) -> Result<Option<Partition>, Failure> {
        let mut read = cmd("HMGET");
        read.arg(name).arg("absexp").arg("sldexp").arg("data");
        type Fields = (Option<Vec<u8>>, Option<Vec<u8>>, Option<Vec<u8>>);
        let (absexp, sldexp, data): Fields = self.connections.query(&read).await?;
        let ticks = |field: Option<Vec<u8>>| std::str::from_utf8(&field?).ok()?.parse().ok();
        Ok(data.map(|data| Partition {
            data: Zeroizing::new(data),
            lifetime: Lifetime::from_fields(ticks(absexp), ticks(sldexp)),
        }))
    }

    /// Lets the partition live for so long from now on.
    pub(in crate::second_level) async fn extend(&self, name: &str, seconds: u64) -> Result<(), Failure> {
        let mut expire = cmd("EXPIRE");
        expire.arg(name).arg(seconds);
        self.connections.query(&expire).await
    }

    /// Puts a text in the place of the one that was read, or of none; or takes it away. Returns whether that was done: not
    /// where another text is there by now. Where the connection was lost it may have been done all the same.
    pub(in crate::second_level) async fn replace_partition(
        &self,
        name: &str,
        read: Option<&[u8]>,
        new: Option<(&[u8], Lifetime)>,
        now_unix_ms: u64,
    ) -> Result<bool, Failure> {
        let mut replace = cmd("EVAL");
        replace.arg(REPLACE).arg(1).arg(name).arg(read.is_some()).arg(read.unwrap_or_default());
        if let Some((text, lifetime)) = new {
            let (absexp, sldexp) = lifetime.fields();
            let seconds = lifetime.seconds_left(now_unix_ms).map_or(-1, u64::cast_signed);
            replace.arg(absexp).arg(sldexp).arg(seconds).arg(text);
        }
        self.connections.query(&replace).await
    }
}

/// Compares and sets. The arguments: whether there was a text, that text; then `absexp`, `sldexp`, the seconds to live (-1 for
/// ever) and the new text, or none of them.
const REPLACE: &str = "
local data = redis.call('HGET', KEYS[1], 'data')
if (ARGV[1] == '1') ~= (data ~= false) or (data and data ~= ARGV[2]) then return 0 end
if #ARGV == 2 then
  redis.call('DEL', KEYS[1])
  return 1
end
redis.call('HSET', KEYS[1], 'absexp', ARGV[3], 'sldexp', ARGV[4], 'data', ARGV[6])
if ARGV[5] == '-1' then
  redis.call('PERSIST', KEYS[1])
else
  redis.call('EXPIRE', KEYS[1], ARGV[5])
end
return 1";
