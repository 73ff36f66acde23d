//! TLS: whom a process trusts, and who may come.

use std::path::PathBuf;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use symbolon_resources::second_level::{RedisTopology, TokenCacheOptions, try_store};
use tempfile::TempDir;

use crate::redis_cluster::RedisCluster;
use crate::redis_sentinels::RedisSentinels;
use crate::redis_server::RedisServer;
use crate::support::{Process, acquire, bring, eventually, look, patient, redis_with, refresh_token};

/// Files of a CA and of what it has issued: `ca.pem`, and for each name `NAME.pem` with `NAME.key`.
struct Certificates {
    directory: TempDir,
    ca: CertificateParams,
    key: KeyPair,
}

impl Certificates {
    /// With certificates of the server `localhost`, of another one, and of a client.
    fn new() -> Self {
        Self::of("A CA")
    }

    fn of(ca_name: &str) -> Self {
        let mut ca = CertificateParams::default();
        ca.distinguished_name.push(DnType::CommonName, ca_name);
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificates =
            Self { directory: tempfile::tempdir().unwrap(), ca, key: KeyPair::generate().unwrap() };
        let ca = certificates.ca.self_signed(&certificates.key).unwrap();
        std::fs::write(certificates.path("ca.pem"), ca.pem()).unwrap();
        for name in ["localhost", "cache.contoso.example", "client"] {
            certificates.issue(name);
        }
        certificates
    }

    fn issue(&self, name: &str) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        let issuer = Issuer::from_params(&self.ca, &self.key);
        let certificate = params.signed_by(&key, &issuer).unwrap();
        std::fs::write(self.path(&format!("{name}.pem")), certificate.pem()).unwrap();
        std::fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// What a server is started with that has the certificate of that name.
    fn arguments(&self, name: &str, asks_clients: bool) -> Vec<String> {
        let file = |name: String| self.path(&name).to_str().unwrap().to_owned();
        [
            ("--tls-cert-file", file(format!("{name}.pem"))),
            ("--tls-key-file", file(format!("{name}.key"))),
            ("--tls-ca-cert-file", file("ca.pem".to_owned())),
            ("--tls-auth-clients", if asks_clients { "yes" } else { "no" }.to_owned()),
        ]
        .into_iter()
        .flat_map(|(option, value)| [option.to_owned(), value])
        .collect()
    }

    fn server(&self, name: &str, asks_clients: bool) -> Option<RedisServer> {
        RedisServer::start_tls(&strs(&self.arguments(name, asks_clients)))
    }

    /// A store that is trusted.
    fn options(&self, url: &str) -> TokenCacheOptions {
        redis_with(url, |redis| redis.trusted_roots = vec![self.path("ca.pem")])
    }

    /// The same for whom this client is.
    fn options_of(&self, client: &str, url: &str) -> TokenCacheOptions {
        redis_with(url, |redis| {
            redis.trusted_roots = vec![self.path("ca.pem")];
            redis.certificate = Some(self.path(&format!("{client}.pem")));
            redis.certificate_key = Some(self.path(&format!("{client}.key")));
        })
    }
}

fn strs(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}

fn url(server: &RedisServer) -> String {
    format!("rediss://localhost:{}", server.tls_port())
}

/// Two processes share an entry.
async fn share(options: &TokenCacheOptions) {
    try_store(&options.store).await.unwrap();
    let options = patient(options.clone());
    let (one, other) = (Process::new(&options), Process::new(&options));
    bring(&one.app, None, refresh_token("secret"), &["key"], &["group"]).await;
    assert_eq!(look(&other.app, "key").await.as_deref(), Some("secret"));
    assert!(one.app.remove_group_through("group").await);
    eventually("it is gone", async || other.app.get("key").is_none()).await;
    assert_eq!((one.statistics().failures, other.statistics().failures), (0, 0));
}

/// The store is of no use, and nobody minds. Returns why.
async fn refused(options: &TokenCacheOptions) -> String {
    let one = Process::new(options);
    for i in 0..4 {
        let took = acquire(&one.app, &format!("key {i}")).await;
        assert!(took < Duration::from_secs(1), "{took:?}");
    }
    assert_eq!(look(&one.app, "key 0").await.as_deref(), Some("key 0"), "in the first level");
    assert!(one.statistics().circuit_open && one.statistics().writes == 0);
    try_store(&options.store).await.unwrap_err()
}

#[tokio::test]
async fn a_server_of_a_trusted_root_is_used() {
    let certificates = Certificates::new();
    let Some(server) = certificates.server("localhost", false) else { return };
    share(&certificates.options(&url(&server))).await;
    let dotnet = format!("localhost:{},ssl=true,abortConnect=false", server.tls_port());
    share(&certificates.options(&dotnet)).await;
    share(&certificates.options_of("client", &url(&server))).await;
}

#[tokio::test]
async fn whoever_is_not_trusted_is_refused_with_the_reason() {
    let (certificates, others) = (Certificates::new(), Certificates::of("Another CA"));
    let of_the_same_name = Certificates::new();
    let Some(server) = certificates.server("localhost", false) else { return };
    let Some(named) = certificates.server("cache.contoso.example", false) else { return };
    let by_address = format!("rediss://127.0.0.1:{}", server.tls_port());
    let plain = format!("rediss://localhost:{}", server.address().port());
    let without_tls = format!("redis://localhost:{}", server.tls_port());
    for (options, reason) in [
        (others.options(&url(&server)), "UnknownIssuer: none of the trusted roots has issued it"),
        (of_the_same_name.options(&url(&server)), "BadSignature: none of the trusted roots has issued it"),
        (redis_with(&url(&server), |_| {}), "Symbolon:TrustedRoots and SSL_CERT_FILE name further ones"),
        (certificates.options(&url(&named)), "not valid for name \"localhost\""),
        (certificates.options(&url(&named)), "cache.contoso.example"),
        (certificates.options(&by_address), "not valid for name"),
        (certificates.options(&plain), "no connection in time (by TLS"),
        // It hangs up.
        (certificates.options(&without_tls), ""),
    ] {
        let error = refused(&options).await;
        assert!(error.contains(reason), "{error}, not {reason}");
    }
    assert_eq!(server.cli(&["DBSIZE"]), "0");
}

#[tokio::test]
async fn a_server_that_asks_for_a_certificate_gets_the_one_that_is_configured() {
    let (certificates, others) = (Certificates::new(), Certificates::new());
    let Some(server) = certificates.server("localhost", true) else { return };
    let url = url(&server);
    share(&certificates.options_of("client", &url)).await;

    let error = refused(&certificates.options(&url)).await;
    assert!(error.contains("CertificateRequired") && error.contains("CertificateDiskPath"), "{error}");
    let mut stranger = others.options_of("client", &url);
    stranger = with_roots(stranger, certificates.path("ca.pem"));
    let error = refused(&stranger).await;
    assert!(error.contains("received fatal alert"), "{error}");

    // Replaced while the process runs: the next connection has it.
    let one = Process::new(&stranger);
    acquire(&one.app, "before").await;
    for end in ["pem", "key"] {
        let name = format!("client.{end}");
        std::fs::copy(certificates.path(&name), others.path(&name)).unwrap();
    }
    let mut i = 0;
    eventually("it is let in", async || {
        i += 1;
        acquire(&one.app, &format!("after {i}")).await;
        look(&Process::new(&stranger).app, &format!("after {i}")).await.is_some()
    })
    .await;

    for (file, content) in [("client.key", "no key"), ("localhost.key", "")] {
        std::fs::write(certificates.path(file), content).unwrap();
    }
    let error = refused(&certificates.options_of("client", &url)).await;
    assert!(error.contains("key"), "{error}");
    let error = refused(&certificates.options_of("nobody", &url)).await;
    assert!(error.contains("nobody.pem, which can't be read"), "{error}");
}

fn with_roots(mut options: TokenCacheOptions, roots: PathBuf) -> TokenCacheOptions {
    if let symbolon_resources::second_level::TokenCacheStore::Redis(redis) = &mut options.store {
        redis.trusted_roots = vec![roots];
    }
    options
}

#[tokio::test]
async fn sentinels_and_their_master_are_asked_by_tls() {
    let certificates = Certificates::new();
    let arguments = certificates.arguments("localhost", true);
    let Some(sentinels) = RedisSentinels::start_tls(&strs(&arguments)) else { return };
    let hosts: Vec<_> = sentinels.ports().iter().map(|port| format!("localhost:{port}")).collect();
    let string = format!("{},serviceName={},ssl=true", hosts.join(","), RedisSentinels::MASTER);
    share(&certificates.options_of("client", &string)).await;
    let others = with_roots(certificates.options_of("client", &string), Certificates::new().path("ca.pem"));
    let error = refused(&others).await;
    assert!(!error.is_empty(), "{error}");
}

#[tokio::test]
async fn the_nodes_of_a_cluster_are_asked_by_tls() {
    let certificates = Certificates::new();
    let arguments = certificates.arguments("localhost", true);
    let Some(cluster) = RedisCluster::start_tls(&strs(&arguments)) else { return };
    let mut options = certificates.options_of("client", &url(&cluster.nodes[0]));
    if let symbolon_resources::second_level::TokenCacheStore::Redis(redis) = &mut options.store {
        redis.topology = RedisTopology::Cluster;
    }
    for _ in 0..5 {
        share(&options).await;
    }
    let error = refused(&with_roots(options, Certificates::new().path("localhost.pem"))).await;
    assert!(error.contains("UnknownIssuer"), "{error}");
}
