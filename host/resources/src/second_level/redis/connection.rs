//! Connections to Redis: one for each store, made when it is first needed, and again when it is lost.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt, Shared};
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::ClusterClientBuilder;
use redis::cluster_async::ClusterConnection;
use redis::sentinel::{SentinelClientBuilder, SentinelServerType};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ErrorKind, FromRedisValue, IntoConnectionInfo as _,
    Pipeline, RedisError, RedisFuture, RedisResult, TlsMode, Value,
};

use super::super::backend::Failure;
use super::super::options::{RedisOptions, RedisTopology};
use super::access::Access;

/// A connection, whatever it is made of. Clones share it; what they send is pipelined.
#[derive(Clone)]
pub(super) enum Connection {
    Server(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::Server(connection) => connection.req_packed_command(command),
            Self::Cluster(connection) => connection.req_packed_command(command),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::Server(connection) => connection.req_packed_commands(pipeline, offset, count),
            Self::Cluster(connection) => connection.req_packed_commands(pipeline, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::Server(connection) => connection.get_db(),
            Self::Cluster(connection) => connection.get_db(),
        }
    }
}

/// Where the connection is kept.
pub(super) struct Connections {
    options: RedisOptions,
    response_timeout: Duration,
    connecting: Mutex<Option<Connecting>>,
}

/// Made by a task of its own, so that whoever gives up waiting doesn't end it. A connection that was made stays in it.
type Connecting = Shared<BoxFuture<'static, Result<Connection, Arc<Failure>>>>;

impl Connections {
    pub(super) fn new(options: RedisOptions, response_timeout: Duration) -> Self {
        Self { options, response_timeout, connecting: Mutex::default() }
    }

    /// Sends a command, which must bear being sent twice: where the connection was lost, as happens to idle ones, it is sent
    /// once again on a new one.
    pub(super) async fn query<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, Failure> {
        let mut tried = false;
        loop {
            let connecting = self.connecting();
            let mut connection = match connecting.clone().await {
                Ok(connection) => connection,
                Err(failure) => {
                    self.forget(&connecting);
                    return Err(Failure { what: failure.what.clone(), answered: false });
                }
            };
            let error = match command.query_async(&mut connection).await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            let failure = failure(&error, &self.options.topology);
            // Where it is only some nodes of a cluster, the connection sees to those itself.
            if !failure.answered && !error.is_cluster_error() {
                self.forget(&connecting);
            }
            if !error.is_connection_dropped() || std::mem::replace(&mut tried, true) {
                return Err(failure);
            }
        }
    }

    fn connecting(&self) -> Connecting {
        self.lock().get_or_insert_with(|| begin(self.options.clone(), self.response_timeout)).clone()
    }

    /// Unless another one is there by now.
    fn forget(&self, connecting: &Connecting) {
        self.lock().take_if(|known| known.ptr_eq(connecting));
    }

    fn lock(&self) -> MutexGuard<'_, Option<Connecting>> {
        self.connecting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Connections").field(&self.options).finish()
    }
}

fn begin(options: RedisOptions, response_timeout: Duration) -> Connecting {
    let limit = options.connect_timeout;
    let no_connection = match options.tls {
        true => "no connection in time (by TLS, which the server must speak on that port)",
        false => "no connection in time",
    };
    let task = tokio::spawn(async move {
        match tokio::time::timeout(limit, connect(&options, response_timeout)).await {
            Ok(result) => result.map_err(Arc::new),
            Err(_) => Err(Arc::new(Failure { what: no_connection.to_owned(), answered: false })),
        }
    });
    let ended = |_| Err(Arc::new(Failure { what: "the runtime ends".to_owned(), answered: false }));
    task.map(move |result| result.unwrap_or_else(ended)).boxed().shared()
}

async fn connect(options: &RedisOptions, response_timeout: Duration) -> Result<Connection, Failure> {
    if options.tls {
        // The crate asks for the process's, and where two are compiled in and none is installed, asking is a panic.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    }
    let access = Access::read(options)?;
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(options.connect_timeout))
        .set_response_timeout(Some(response_timeout));
    let connected = match &options.topology {
        RedisTopology::Single => server(options, access, &config).await.map(Connection::Server),
        RedisTopology::Cluster => cluster(options, access, response_timeout).await.map(Connection::Cluster),
        RedisTopology::Sentinel { master } => {
            sentinel(options, access, master, &config).await.map(Connection::Server)
        }
    };
    connected.map_err(|error| failure(&error, &options.topology))
}

async fn server(
    options: &RedisOptions,
    access: Access,
    config: &AsyncConnectionConfig,
) -> RedisResult<MultiplexedConnection> {
    let mut last = None;
    for address in addresses(options) {
        let info = address.into_connection_info()?;
        let settings = info.redis_settings().clone().set_db(options.database);
        let settings = match &options.user {
            Some(user) => settings.set_username(user),
            None => settings,
        };
        let settings = match &access.password {
            Some(password) => settings.set_password(password.as_str()),
            None => settings,
        };
        let info = info.set_redis_settings(settings);
        let client = match access.certificates.clone() {
            Some(certificates) => Client::build_with_tls(info, certificates)?,
            None => Client::open(info)?,
        };
        match client.get_multiplexed_async_connection_with_config(config).await {
            Ok(connection) => return Ok(connection),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| RedisError::from((ErrorKind::InvalidClientConfig, "no address"))))
}

async fn cluster(
    options: &RedisOptions,
    access: Access,
    response_timeout: Duration,
) -> RedisResult<ClusterConnection> {
    let mut builder = ClusterClientBuilder::new(addresses(options))
        // Nodes are connected to in two steps, those of the configuration and those that these name. One that says nothing
        // must leave time for the others in both.
        .connection_timeout(options.connect_timeout / 3)
        .response_timeout(response_timeout)
        .retries(2)
        .min_retry_wait(5)
        .max_retry_wait(50);
    if let Some(user) = &options.user {
        builder = builder.username(user);
    }
    if let Some(password) = &access.password {
        builder = builder.password(password.as_str());
    }
    if options.tls {
        builder = builder.tls(TlsMode::Secure);
    }
    if let Some(certificates) = access.certificates {
        builder = builder.certs(certificates);
    }
    builder.build()?.get_async_connection().await
}

/// Where the master is, the sentinels say. They are asked as the master is, by TLS or not and with the same certificate, and
/// as a user of their own.
async fn sentinel(
    options: &RedisOptions,
    access: Access,
    master: &str,
    config: &AsyncConnectionConfig,
) -> RedisResult<MultiplexedConnection> {
    let mut builder = SentinelClientBuilder::new(addresses(options), master, SentinelServerType::Master)?
        .set_client_to_redis_db(options.database);
    if let Some(user) = &options.user {
        builder = builder.set_client_to_redis_username(user);
    }
    if let Some(password) = &access.password {
        builder = builder.set_client_to_redis_password(password.as_str());
    }
    if let Some(user) = &options.sentinel_user {
        builder = builder.set_client_to_sentinel_username(user);
    }
    if let Some(password) = &access.sentinel_password {
        builder = builder.set_client_to_sentinel_password(password.as_str());
    }
    if options.tls {
        builder = builder
            .set_client_to_redis_tls_mode(TlsMode::Secure)
            .set_client_to_sentinel_tls_mode(TlsMode::Secure);
    }
    if let Some(certificates) = access.certificates {
        builder = builder
            .set_client_to_redis_certificates(certificates.clone())
            .set_client_to_sentinel_certificates(certificates);
    }
    builder.build()?.get_async_connection_with_config(config).await
}

fn addresses(options: &RedisOptions) -> Vec<ConnectionAddr> {
    if let Some(path) = &options.socket {
        return vec![ConnectionAddr::Unix(path.clone())];
    }
    let address = |(host, port): &(String, u16)| match options.tls {
        true => ConnectionAddr::TcpTls { host: host.clone(), port: *port, insecure: false, tls_params: None },
        false => ConnectionAddr::Tcp(host.clone(), *port),
    };
    options.hosts.iter().map(address).collect()
}

/// What a server refuses because of the value, or for want of memory, says nothing about the next operation. A server that
/// may no longer be written to, or isn't ready, isn't the right one; nor is one that names another of its cluster, which
/// then couldn't be reached.
fn failure(error: &RedisError, topology: &RedisTopology) -> Failure {
    let in_cluster = *topology == RedisTopology::Cluster;
    let code = error.code().unwrap_or_default();
    let is_elsewhere = ["READONLY", "LOADING", "MASTERDOWN", "CLUSTERDOWN", "NOAUTH", "WRONGPASS"]
        .contains(&code)
        || in_cluster && error.is_cluster_error();
    let category = match error.category() {
        "" | "extension error" => "refused",
        category => category,
    };
    let what = match error.kind() {
        _ if !code.is_empty() => format!("{category} ({code})"),
        // What the system or TLS says, which knows of addresses and certificates only.
        ErrorKind::Io | ErrorKind::InvalidClientConfig => {
            error.detail().map_or_else(|| error.to_string(), ToOwned::to_owned)
        }
        _ => category.to_owned(),
    };
    let what = format!("{what}{}", remedy(&what, in_cluster));
    Failure { what, answered: !code.is_empty() && !is_elsewhere }
}

/// What that means, and what to do about it.
fn remedy(what: &str, in_cluster: bool) -> &'static str {
    let is = |sign| what.contains(sign);
    // The second is a root of the same name with another key.
    if is("UnknownIssuer") || is("BadSignature") {
        ": none of the trusted roots has issued it; Symbolon:TrustedRoots and SSL_CERT_FILE name further ones"
    } else if is("CertificateRequired") {
        ": the server wants a client certificate (CertificateDiskPath)"
    } else if is("(MOVED)") && in_cluster {
        ": the node that has it can't be reached, or doesn't let this user in"
    } else if is("(MOVED)") || is("(CROSSSLOT)") {
        ": the server is one of a cluster (Topology \"Cluster\")"
    } else {
        ""
    }
}

#[cfg(test)]
mod tests {
    use redis::ServerErrorKind;

    use super::*;

    #[test]
    fn a_failure_says_what_to_do_and_whether_there_is_somebody_to_ask() {
        let server = |kind| RedisError::from((ErrorKind::Server(kind), "text of the server's"));
        let tls = |text| RedisError::from(std::io::Error::other(text));
        for (error, topology, what, answered) in [
            (server(ServerErrorKind::NoPerm), RedisTopology::Single, "refused (NOPERM)", true),
            (server(ServerErrorKind::ReadOnly), RedisTopology::Single, "read-only (READONLY)", false),
            (
                server(ServerErrorKind::Moved),
                RedisTopology::Single,
                "key moved (MOVED): the server is one of a cluster (Topology \"Cluster\")",
                true,
            ),
            (
                server(ServerErrorKind::Moved),
                RedisTopology::Cluster,
                "key moved (MOVED): the node that has it can't be reached, or doesn't let this user in",
                false,
            ),
            (server(ServerErrorKind::TryAgain), RedisTopology::Cluster, "try again (TRYAGAIN)", false),
            (tls("connection refused"), RedisTopology::Single, "connection refused", false),
            (
                tls("received fatal alert: CertificateRequired"),
                RedisTopology::Single,
                "received fatal alert: CertificateRequired: the server wants a client certificate (CertificateDiskPath)",
                false,
            ),
        ] {
            let failure = failure(&error, &topology);
            assert_eq!((&*failure.what, failure.answered), (what, answered));
        }
    }
}
