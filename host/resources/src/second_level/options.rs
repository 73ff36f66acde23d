//! Where a second level is, and how it is used.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::cache::msal::LifetimeOptions;
use crate::configuration::{ConfigurationError, Place};

use super::seal::Sealing;

/// The second level of an application's cache.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TokenCacheOptions {
    /// Where entries are kept.
    pub store: TokenCacheStore,
    /// How they lie there.
    pub sealing: Sealing,
    /// Whether an acquisition waits until what it brought is kept, for no longer than an operation may take. The default is
    /// yes; otherwise another process may miss it for a moment.
    pub waits_for_writes: bool,
    pub(crate) place: Place,
}

/// A store.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum TokenCacheStore {
    /// A Redis server, or several.
    Redis(RedisOptions),
    /// The same, in the form of MSAL.NET, whose applications share the entries. They aren't sealed.
    Msal(MsalOptions),
    /// A file of this machine, for one process at a time.
    File(PathBuf),
}

impl TokenCacheOptions {
    /// A second level with the other settings at their defaults.
    pub fn new(store: TokenCacheStore, sealing: Sealing) -> Self {
        Self { store, sealing, waits_for_writes: true, place: Place::built("Symbolon:TokenCache") }
    }

    /// An error about one of its settings.
    pub(super) fn problem(&self, setting: &str, found: &str, accepted: &str) -> ConfigurationError {
        ConfigurationError::of(self.place.child(setting), found, accepted)
    }

    /// Whether both can be served by the same store.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let is_sealed_alike = match (&self.sealing, &other.sealing) {
            (Sealing::Sealed(one), Sealing::Sealed(other)) => one.ids().eq(other.ids()),
            (Sealing::Fetched(one), Sealing::Fetched(other)) => one == other,
            (Sealing::Clear, Sealing::Clear) => true,
            _ => false,
        };
        is_sealed_alike && self.store == other.store && self.waits_for_writes == other.waits_for_writes
    }
}

/// A cache that applications of MSAL.NET or Microsoft.Identity.Web share.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct MsalOptions {
    /// Where it is. The prefix has no effect.
    pub redis: RedisOptions,
    /// What the names of all partitions begin with: `InstanceName` of `RedisCacheOptions`. It tells the application from all
    /// others; nothing else does.
    pub instance_name: String,
    /// How long partitions are kept. The default is for as long as their tokens are good.
    pub lifetime: LifetimeOptions,
    pub(crate) place: Place,
}

impl MsalOptions {
    /// A cache of partitions whose names begin so.
    pub fn new(redis: RedisOptions, instance_name: impl Into<String>) -> Self {
        Self {
            redis,
            instance_name: instance_name.into(),
            lifetime: LifetimeOptions::default(),
            place: Place::built("Symbolon:TokenCache:InstanceName"),
        }
    }

    /// Whether both have the same partitions.
    #[cfg(feature = "redis")]
    pub(super) fn shares_partitions_with(&self, other: &Self) -> bool {
        let at = |options: &Self| {
            let RedisOptions { hosts, socket, database, .. } = &options.redis;
            (hosts.clone(), socket.clone(), *database, options.instance_name.clone())
        };
        at(self) == at(other)
    }
}

/// How to reach Redis. `Debug` shows no password.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub struct RedisOptions {
    /// Host names and ports: of the server, of some nodes of the cluster, or of the sentinels.
    pub hosts: Vec<(String, u16)>,
    /// A Unix socket, in the place of hosts.
    pub socket: Option<PathBuf>,
    /// What there is.
    pub topology: RedisTopology,
    /// Whether connections are TLS. The default is no, as the URL says.
    pub tls: bool,
    /// PEM files of roots to trust beside the platform's. The default is none. These files and those below are read for
    /// each connection, so that one that was replaced counts from the next connection on.
    pub trusted_roots: Vec<PathBuf>,
    /// A PEM file with the certificate to present, and its chain behind it. The default is none.
    pub certificate: Option<PathBuf>,
    /// A PEM file with its private key. The default is the certificate's file.
    pub certificate_key: Option<PathBuf>,
    /// Who signs in. The default is nobody, or the server's default user.
    pub user: Option<String>,
    /// With what.
    pub password: Option<Zeroizing<String>>,
    /// A file with the same, which goes before it. The default is none.
    pub password_file: Option<PathBuf>,
    /// Who signs in at the sentinels. The default is nobody, or their default user.
    pub sentinel_user: Option<String>,
    /// With what. The default is nothing.
    pub sentinel_password: Option<Zeroizing<String>>,
    /// A file with the same, which goes before it. The default is none.
    pub sentinel_password_file: Option<PathBuf>,
    /// The number of the database. The default is 0; a cluster has no other.
    pub database: i64,
    /// What all names begin with. The default is `symbolon:`.
    pub prefix: String,
    /// How long making a connection may take. The default is 2 s.
    pub connect_timeout: Duration,
    /// How long an operation may take, and so keep an acquisition waiting. The default is 250 ms: a thousand times what a
    /// server nearby needs, a fraction of what the authority does.
    pub timeout: Duration,
}

/// What there is of Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RedisTopology {
    /// One server, or a service that looks like one.
    Single,
    /// A cluster, whose nodes are asked for by key.
    Cluster,
    /// A master that sentinels name.
    Sentinel {
        /// Its name.
        master: String,
    },
}

impl fmt::Display for TokenCacheStore {
    /// Where it is, for people: no user and no password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Redis(options) => options.fmt(f),
            Self::Msal(options) => {
                write!(f, "{}, shared with MSAL as {:?}", options.redis, options.instance_name)
            }
            Self::File(path) => path.display().fmt(f),
        }
    }
}

impl RedisOptions {
    /// What [`parse`](Self::parse) takes.
    pub const ACCEPTED: &'static str = "a URL (redis://[user:password@]host[:port][/database], rediss:// with TLS, unix:///path), or a connection string of .NET (host:port[,host:port],password=…,ssl=true)";

    /// Reads a URL, or a connection string as StackExchange.Redis has it, of which settings about its own behaviour have no
    /// effect.
    ///
    /// # Errors
    ///
    /// What is wrong, without repeating what may be a password.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.contains("://") {
            true => Self::parse_url(text),
            false => Self::parse_connection_string(text),
        }
    }

    fn empty() -> Self {
        Self {
            hosts: Vec::new(),
            socket: None,
            topology: RedisTopology::Single,
            tls: false,
            trusted_roots: Vec::new(),
            certificate: None,
            certificate_key: None,
            user: None,
            password: None,
            password_file: None,
            sentinel_user: None,
            sentinel_password: None,
            sentinel_password_file: None,
            database: 0,
            prefix: "symbolon:".to_owned(),
            connect_timeout: Duration::from_secs(2),
            timeout: Duration::from_millis(250),
        }
    }

    fn parse_url(text: &str) -> Result<Self, String> {
        let malformed = || "a malformed URL".to_owned();
        let url = url::Url::parse(text).map_err(|_| malformed())?;
        let decoded = |text: &str| {
            percent_decoded(text).ok_or_else(|| "a URL whose user or password isn't UTF-8".to_owned())
        };
        let mut options = Self::empty();
        match url.scheme() {
            "redis" | "valkey" => {}
            "rediss" | "valkeys" => options.tls = true,
            "unix" | "redis+unix" | "valkey+unix" => {
                let database = url.query_pairs().find(|(name, _)| name == "db");
                options.database =
                    database.map_or(Ok(0), |(_, number)| number.parse()).map_err(|_| malformed())?;
                options.socket = Some(PathBuf::from(decoded(url.path())?));
                return Ok(options);
            }
            scheme => return Err(format!("the scheme \"{scheme}\"")),
        }
        if !matches!(url.query(), None | Some("")) || url.fragment().is_some() {
            return Err("a URL with a query or fragment".to_owned());
        }
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(malformed)?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        options.hosts.push((host, url.port().unwrap_or(DEFAULT_PORT)));
        options.user = Some(decoded(url.username())?).filter(|user| !user.is_empty());
        options.password = url.password().map(decoded).transpose()?.map(Zeroizing::new);
        let database = url.path().trim_matches('/');
        if !database.is_empty() {
            options.database =
                database.parse().map_err(|_| "a URL whose path is no number of a database".to_owned())?;
        }
        Ok(options)
    }

    fn parse_connection_string(text: &str) -> Result<Self, String> {
        let mut options = Self::empty();
        let mut hosts = Vec::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            match part.split_once('=') {
                Some((name, value)) => options.set(name.trim(), value.trim())?,
                None => hosts.push(part),
            }
        }
        let port = if options.tls { DEFAULT_TLS_PORT } else { DEFAULT_PORT };
        for host in hosts {
            let (host, port) = match host.rsplit_once(':') {
                Some((name, digits)) if !name.ends_with(':') => {
                    (name, digits.parse().map_err(|_| format!("the host {host:?}"))?)
                }
                _ => (host, port),
            };
            let host = host.trim_start_matches('[').trim_end_matches(']');
            options.hosts.push((host.to_owned(), port));
        }
        match options.hosts.is_empty() {
            true => Err("nothing that names a host".to_owned()),
            false => Ok(options),
        }
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let flag = || match value.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" => Ok(true),
            "false" | "no" | "off" => Ok(false),
            _ => Err(format!("the setting {name} without true or false")),
        };
        let number = || value.parse::<u64>().map_err(|_| format!("the setting {name} without a number"));
        match name.to_ascii_lowercase().as_str() {
            "password" => self.password = Some(Zeroizing::new(value.to_owned())),
            "user" => self.user = Some(value.to_owned()).filter(|user| !user.is_empty()),
            "ssl" => self.tls = flag()?,
            "defaultdatabase" => self.database = number()?.try_into().unwrap_or_default(),
            "servicename" => self.topology = RedisTopology::Sentinel { master: value.to_owned() },
            "connecttimeout" => self.connect_timeout = Duration::from_millis(number()?),
            known if WITHOUT_EFFECT.contains(&known) => {}
            _ => return Err(format!("the unknown setting {name:?}")),
        }
        Ok(())
    }
}

impl fmt::Debug for RedisOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisOptions")
            .field("hosts", &self.hosts)
            .field("socket", &self.socket)
            .field("topology", &self.topology)
            .field("tls", &self.tls)
            .field("database", &self.database)
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for RedisOptions {
    /// Where it is, for people: no user and no password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(path) = &self.socket {
            return write!(f, "unix:{}", path.display());
        }
        let hosts: Vec<_> = self.hosts.iter().map(|(host, port)| format!("{host}:{port}")).collect();
        let topology = match &self.topology {
            RedisTopology::Single => String::new(),
            RedisTopology::Cluster => " (cluster)".to_owned(),
            RedisTopology::Sentinel { master } => format!(" (sentinels of {master})"),
        };
        write!(f, "{}://{}{topology}", if self.tls { "rediss" } else { "redis" }, hosts.join(","))
    }
}

fn percent_decoded(text: &str) -> Option<String> {
    // As a query's value, where a plus sign is one.
    let pair = format!("x={}", text.replace('+', "%2B"));
    let (_, value) = url::form_urlencoded::parse(pair.as_bytes()).next()?;
    (!value.contains('\u{fffd}')).then(|| value.into_owned())
}

const DEFAULT_PORT: u16 = 6379;
const DEFAULT_TLS_PORT: u16 = 6380;

/// Settings of StackExchange.Redis about things that are decided otherwise here.
const WITHOUT_EFFECT: [&str; 22] = [
    "abortconnect",
    "allowadmin",
    "asynctimeout",
    "channelprefix",
    "checkcertificaterevocation",
    "configchannel",
    "configcheckseconds",
    "connectretry",
    "heartbeatconsistencychecks",
    "heartbeatinterval",
    "highintegrity",
    "keepalive",
    "name",
    "protocol",
    "resolvedns",
    "responsetimeout",
    "setclientlibrary",
    "sslprotocols",
    "synctimeout",
    "tiebreaker",
    "version",
    "writebuffer",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> RedisOptions {
        RedisOptions::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn urls_are_read() {
        let options = parsed("rediss://us%40er:p%2Bss%2f+@cache.example:6380/3");
        assert_eq!(options.hosts, [("cache.example".to_owned(), 6380)]);
        assert_eq!(options.user.as_deref(), Some("us@er"));
        assert_eq!(options.password.as_deref().map(String::as_str), Some("p+ss/+"));
        assert!(options.tls && options.database == 3);
        assert_eq!(parsed("redis://:secret@[::1]").hosts, [("::1".to_owned(), 6379)]);
        let socket = parsed("unix:///run/redis.sock?db=2");
        assert_eq!((socket.socket, socket.database), (Some("/run/redis.sock".into()), 2));
    }

    #[test]
    fn connection_strings_of_dotnet_are_read() {
        let options = parsed(
            "cache.contoso.example,other:7000,password=a=b,ssl=True,abortConnect=False,defaultDatabase=1",
        );
        let hosts = [("cache.contoso.example".to_owned(), 6380), ("other".to_owned(), 7000)];
        assert_eq!(options.hosts, hosts);
        assert_eq!(options.password.as_deref().map(String::as_str), Some("a=b"));
        assert!(options.tls && options.database == 1);
        let master = RedisTopology::Sentinel { master: "main".to_owned() };
        assert_eq!(parsed("localhost:26379,serviceName=main").topology, master);
    }

    #[test]
    fn errors_and_debug_show_no_password() {
        for text in [
            "http://user:hunter2@host",
            "redis://user:hunter2@host/x",
            "redis://user:hunter2@host?a=hunter2",
            "password=hunter2",
            "host,password=hunter2,ssl=hunter",
            "host,passwort=hunter2",
            "host:port,password=hunter2",
        ] {
            let error = RedisOptions::parse(text).unwrap_err();
            assert!(!error.contains("hunter2"), "{error}");
        }
        let options = parsed("redis://user:hunter2@host");
        assert!(!format!("{options:?} {options}").contains("hunter2"));
    }
}
