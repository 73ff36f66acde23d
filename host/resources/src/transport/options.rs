use std::path::PathBuf;
use std::time::Duration;

use super::connect_to::ConnectTo;
use super::proxy::Proxy;

/// How an application's requests travel. The default is what the fields say.
#[derive(Clone, Debug)]
pub struct TransportOptions {
    /// Where to connect instead, per host. The default is nowhere else. It says where a host is, so for a host that it
    /// names no proxy is asked.
    pub connect_to: ConnectTo,
    /// PEM files with certificates to trust beside the platform's roots. The default is none.
    pub trusted_roots: Vec<PathBuf>,
    /// The proxy to use instead of the one that the environment names. The default is the environment's. Whichever it
    /// is, `NO_PROXY` applies, and hosts on this machine and link-local addresses (the metadata service) are reached
    /// directly.
    pub proxy: Option<Proxy>,
    /// How long name resolution, TCP, proxy and TLS together may take. The default is 10 s.
    pub connect_timeout: Duration,
    /// How long one attempt may take, from its beginning to the last byte of the answer. The default is 14 s, so that
    /// an attempt, a pause and another attempt fit in the 30 s of an acquisition.
    pub attempt_timeout: Duration,
    /// How long an answer's body may be, in bytes. The default is 1 MiB: a token response is a few kilobytes, the
    /// largest metadata document a few hundred.
    pub max_response_bytes: usize,
    /// How long a connection is kept without a request. The default is 60 s, which is shorter than servers keep theirs,
    /// so that a request seldom meets a connection that its server is just closing.
    pub idle_timeout: Duration,
    /// How many HTTP/1.1 connections to one authority are kept without a request. The default is 32.
    pub max_idle_connections: usize,
}

impl Default for TransportOptions {
    fn default() -> Self {
        Self {
            connect_to: ConnectTo::default(),
            trusted_roots: Vec::new(),
            proxy: None,
            connect_timeout: Duration::from_secs(10),
            attempt_timeout: Duration::from_secs(14),
            max_response_bytes: 1024 * 1024,
            idle_timeout: Duration::from_secs(60),
            max_idle_connections: 32,
        }
    }
}

/// A setting of the transport that can't be used. Each names what was found and what is accepted; none holds a
/// proxy's password.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransportOptionsError {
    /// An entry of `ConnectTo` can't be read.
    #[error(
        "`{from}`: `{to}`: {problem}; accepted is \"host\", \"host:port\", \"*.suffix\" or \"*.suffix:port\", mapped to \"host\", \"address\" or either with \":port\" (an IPv6 address in brackets)"
    )]
    ConnectTo {
        /// The entry's key.
        from: String,
        /// The entry's value.
        to: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A file with trusted certificates can't be used.
    #[error("trusted roots {}: {problem}; accepted is a PEM file with one or more certificates", path.display())]
    TrustedRoots {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The environment names trusted certificates that can't be used.
    #[error("the environment variable {variable} = {value}: {problem}")]
    PlatformRoots {
        /// `SSL_CERT_FILE`, `SSL_CERT_DIR` or both.
        variable: &'static str,
        /// What it says.
        value: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A proxy's URL can't be used. It isn't shown, because it may hold a password.
    #[error(
        "the proxy's URL (in {source_name}) {problem}; accepted is http://[user:password@]host[:port], user and password percent-encoded"
    )]
    Proxy {
        /// Where the URL is: the name of an environment variable, or `Symbolon:Proxy`.
        source_name: String,
        /// What is wrong with it.
        problem: &'static str,
    },
}
