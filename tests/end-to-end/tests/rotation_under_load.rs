//! A certificate is replaced in its files while callers acquire tokens with it, all seen from the server's side: fifty times
//! in a minute under load, and where no watch reports it. A binary of its own, because it takes that minute.

#![cfg(unix)]
#![allow(clippy::expect_used, clippy::panic, reason = "that is how a test fails")]

use std::collections::HashMap;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use symbolon::{
    Application, ApplicationId, AuthenticationResult, Clock as _, ForClient, SystemClock, TokenRequest,
};
use symbolon_authority::{
    CertificateRequest, ClientCertificate, Fault, FaultRule, KeyKind, LogEntry, Registration, sample,
};
use symbolon_end_to_end::{GRAPH, World, claims, engine};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};

const ROTATIONS: usize = 50;
const INTERVAL: Duration = Duration::from_millis(1200);
/// How long the authority takes a certificate after it was replaced.
const GRACE: Duration = Duration::from_secs(5);
/// How long what is replaced may still be used by what begins.
const SOON: Duration = Duration::from_secs(1);
/// How long a mistake lasts: long enough to be looked at.
const A_MOMENT: Duration = Duration::from_millis(250);
const CALLERS: usize = 32;
const MTLS: &str = "mtlsauth.microsoft.com";

/// A volume as Kubernetes projects it: files that are links through `..data`, which is replaced in one step.
struct Volume {
    directory: TempDir,
    generation: u32,
}

impl Volume {
    fn new() -> Self {
        let volume = Self { directory: TempDir::new().expect("a directory"), generation: 0 };
        for name in ["tls.crt", "tls.key"] {
            symlink(Path::new("..data").join(name), volume.path(name)).expect("a link");
        }
        volume
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn publish(&mut self, certificate: &str, key: &str) {
        let old = self.path(&format!("..generation-{}", self.generation));
        self.generation += 1;
        let new = format!("..generation-{}", self.generation);
        std::fs::create_dir(self.path(&new)).expect("a directory");
        for (name, content) in [("tls.crt", certificate), ("tls.key", key)] {
            std::fs::write(self.path(&new).join(name), content).expect("a file");
        }
        symlink(&new, self.path("..data_tmp")).expect("a link");
        std::fs::rename(self.path("..data_tmp"), self.path("..data")).expect("one step");
        // The first one replaces nothing.
        let _ = std::fs::remove_dir_all(old);
    }
}

/// How a certificate takes the place of the one before.
#[derive(Clone, Copy, Debug)]
enum Kind {
    NewKey,
    SameKey,
    /// With a moment in which the key doesn't match the certificate.
    Mismatched,
    /// With a moment in which half of the certificate is there.
    Half,
    /// Without links: each file is written where it is, in two steps.
    InPlace,
}

/// A certificate of the application, and when it was published and replaced.
struct Generation {
    thumbprint: String,
    certificate: String,
    published: Instant,
    replaced: Option<Instant>,
}

/// The files, and what the authority knows of them.
struct Operator<'a> {
    world: &'a World,
    volume: Volume,
    generations: Vec<Generation>,
    key: String,
}

impl<'a> Operator<'a> {
    fn new(world: &'a World, first: &ClientCertificate) -> Self {
        let (volume, key) = (Volume::new(), String::new());
        let mut operator = Self { world, volume, generations: Vec::new(), key };
        operator.register(&first.certificate_pem());
        operator.volume.publish(&first.certificate_pem(), &first.key_pem());
        operator.published(first);
        operator
    }

    /// Has the authority take the next certificate, and publishes it.
    async fn rotate(&mut self, kind: Kind, next: &ClientCertificate) {
        let (certificate, key) = (next.certificate_pem(), next.key_pem());
        let half = &certificate[..certificate.len() / 2];
        self.register(&certificate);
        match kind {
            Kind::NewKey | Kind::SameKey => self.volume.publish(&certificate, &key),
            Kind::Mismatched => {
                let old_key = self.key.clone();
                self.volume.publish(&certificate, &old_key);
                sleep(A_MOMENT).await;
                self.volume.publish(&certificate, &key);
            }
            Kind::Half => {
                self.volume.publish(half, &key);
                sleep(A_MOMENT).await;
                self.volume.publish(&certificate, &key);
            }
            Kind::InPlace => {
                for (name, content) in
                    [("tls.crt", half), ("tls.crt", &certificate), ("tls.key", &key[..50]), ("tls.key", &key)]
                {
                    std::fs::write(self.volume.path(name), content).expect("a file");
                    sleep(A_MOMENT / 2).await;
                }
            }
        }
        self.published(next);
    }

    fn published(&mut self, next: &ClientCertificate) {
        let published = Instant::now();
        if let Some(before) = self.generations.last_mut() {
            before.replaced = Some(published);
        }
        let (thumbprint, certificate) = (next.certificate().x5t_s256(), next.certificate_pem());
        self.generations.push(Generation { thumbprint, certificate, published, replaced: None });
        self.key = next.key_pem();
    }

    /// The authority takes this one, and those that weren't replaced too long ago.
    fn register(&self, next: &str) {
        let in_time = |generation: &&Generation| generation.replaced.is_none_or(|at| at.elapsed() < GRACE);
        let accepted =
            self.generations.iter().filter(in_time).map(|generation| generation.certificate.as_str());
        let mut registration = Registration::new(sample::WEB_API_BOUND).mtls(true).pop(true).strict(true);
        for certificate in accepted.chain([next]) {
            registration = registration.certificate_pem(certificate).expect("a certificate");
        }
        self.world.authority.register(registration);
    }

    /// Lets certificates go in time until the next rotation.
    async fn wait_until(&self, then: Instant) {
        while Instant::now() < then {
            self.register(&self.generations[self.generations.len() - 1].certificate);
            sleep_until(then.min(Instant::now() + Duration::from_millis(100))).await;
        }
    }

    fn index_of(&self, thumbprint: &str) -> usize {
        let found = self.generations.iter().position(|generation| generation.thumbprint == thumbprint);
        found.expect("a certificate that was published")
    }

    /// The oldest certificate that what began at that time may have used.
    fn oldest_at(&self, began: Instant) -> usize {
        let in_use = |generation: &Generation| generation.published + SOON < began;
        self.generations.iter().rposition(in_use).unwrap_or(0)
    }
}

/// Certificates that follow each other: a renewal of the same key differs in its end alone. Made beforehand, because keys
/// take their time.
fn certificates(now_unix: u64, kinds: &[Kind]) -> Vec<ClientCertificate> {
    let request = |number: u64| {
        let request = CertificateRequest::new("rotated.contoso.test", now_unix);
        let end = request.not_after_unix + 60 * number;
        request.valid(now_unix - 3600, end)
    };
    let mut certificates = vec![request(0).self_signed().expect("a certificate")];
    for (number, kind) in (1..).zip(kinds) {
        let next = match (kind, certificates.last()) {
            (Kind::SameKey, Some(last)) => request(number).renewing(last),
            (Kind::NewKey, _) => request(number).key(KeyKind::Rsa).self_signed(),
            _ => request(number).key(KeyKind::EllipticCurve).self_signed(),
        };
        certificates.push(next.expect("a certificate"));
    }
    certificates
}

/// One acquisition.
struct Call {
    began: Instant,
    what: What,
    token: AuthenticationResult,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum What {
    /// A bearer token over mutual TLS.
    Bound,
    OnBehalfOf,
    /// A token bound to the certificate.
    Pop,
    /// The same, as the cache has it.
    PopAgain,
    /// A bearer token by assertion, at the host that asks for no certificate.
    Assertion,
}

/// The same certificate, on bound connections and in assertions alone.
#[derive(Clone)]
struct Applications {
    bound: Application,
    plain: Application,
    user: String,
    stop: Arc<AtomicBool>,
}

impl Applications {
    fn new(world: &World, certificate: &Path, key: &Path) -> Self {
        let symbolon = engine();
        let application = |use_bound: Option<bool>, name: &str| {
            let options = world.options("web-api-bound", |settings| {
                let entry = serde_json::json!({
                    "SourceType": "Path",
                    "CertificateDiskPath": certificate,
                    "CertificateKeyDiskPath": key,
                    "UseBoundCredential": use_bound,
                });
                settings["AzureAd"]["ClientCredentials"] = serde_json::json!([entry]);
            });
            let options = options.expect("options").with_id(ApplicationId::new(name));
            symbolon.application(options).expect("an application")
        };
        Self {
            bound: application(Some(true), "bound"),
            plain: application(None, "plain"),
            user: world.user_token(sample::ALICE, sample::WEB_API_BOUND),
            stop: Arc::default(),
        }
    }

    /// Callers with partitions of their own share no requests.
    async fn acquire(&self, what: What, partition: &str) -> Call {
        let began = Instant::now();
        let (bound, plain) = (for_client(&self.bound, partition), for_client(&self.plain, partition));
        let token = match what {
            What::Bound => bound.with_force_refresh(true).await,
            What::Pop => bound.with_mtls_proof_of_possession().with_force_refresh(true).await,
            What::PopAgain => bound.with_mtls_proof_of_possession().await,
            What::Assertion => plain.with_force_refresh(true).await,
            What::OnBehalfOf => {
                let request = self.bound.acquire_token_on_behalf_of([GRAPH], &self.user);
                request.with_cache_partition_key("caller", partition, false).with_force_refresh(true).await
            }
        };
        Call { began, what, token: token.unwrap_or_else(|error| panic!("{what:?}: {error:?}")) }
    }

    /// Acquires one after another until it is told to stop.
    fn call(&self, whats: &'static [What], number: usize) -> JoinHandle<Vec<Call>> {
        let (applications, partition) = (self.clone(), number.to_string());
        tokio::spawn(async move {
            let mut calls = Vec::new();
            while !applications.stop.load(Ordering::Relaxed) {
                for what in whats {
                    calls.push(applications.acquire(*what, &partition).await);
                }
            }
            calls
        })
    }
}

fn for_client<'a>(application: &'a Application, partition: &str) -> TokenRequest<'a, ForClient> {
    application.acquire_token_for_client([GRAPH]).with_cache_partition_key("caller", partition, false)
}

/// The certificate that a token is bound to, by itself; nothing for an ordinary one.
fn confirmation(call: &Call) -> Option<String> {
    claims(call.token.access_token())["cnf"]["x5t#S256"].as_str().map(str::to_owned)
}

/// An acquisition has one certificate, which wasn't replaced long before it began. Says which.
fn check(call: &Call, request: Option<&LogEntry>, operator: &Operator<'_>) -> usize {
    let what = call.what;
    let given = call.token.binding_certificate().map(|binding| binding.thumbprint_sha256().to_owned());
    assert_eq!(confirmation(call), given, "{what:?}: the token's certificate is the caller's");
    assert_eq!(given.is_some(), matches!(what, What::Pop | What::PopAgain), "{what:?}");
    let presented = request.and_then(|request| request.client_certificate.clone());
    let signed = request.and_then(|request| request.client_assertion());
    let signed = signed.and_then(|(header, _)| header["x5t#S256"].as_str()).map(str::to_owned);
    let used = match what {
        What::Bound | What::OnBehalfOf => {
            assert_eq!(presented, signed, "{what:?}: the handshake's is the assertion's");
            presented
        }
        What::Pop => {
            assert_eq!(presented, given, "{what:?}: the handshake's is the token's");
            presented
        }
        What::PopAgain => given,
        What::Assertion => {
            assert_eq!(presented, None, "{what:?}");
            signed
        }
    };
    let used = operator.index_of(&used.unwrap_or_else(|| panic!("{what:?}: no certificate")));
    assert!(
        used >= operator.oldest_at(call.began),
        "{what:?} began {:?} after the certificate it used was replaced",
        operator.generations[used].replaced.map(|replaced| call.began - replaced)
    );
    used
}

/// How long after its replacement a certificate was still used by what began then.
fn latest(calls: &[(Instant, usize)], operator: &Operator<'_>) -> Duration {
    let late = |(began, used): &(Instant, usize)| {
        Some(began.saturating_duration_since(operator.generations[*used].replaced?))
    };
    calls.iter().filter_map(late).max().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_rotations_in_a_minute_under_load() {
    let world = World::start().await;
    // So long that all callers have a request under way, whenever a certificate is replaced.
    world.authority.faults().add(FaultRule::once(Fault::Delay { milliseconds: 250 }).always());
    let kinds = [Kind::NewKey, Kind::SameKey, Kind::Mismatched, Kind::SameKey, Kind::Half, Kind::InPlace];
    let kinds: Vec<_> = kinds.into_iter().cycle().take(ROTATIONS).collect();
    let certificates = certificates(world.authority.clock().now_unix(), &kinds);
    let mut operator = Operator::new(&world, &certificates[0]);
    let applications =
        Applications::new(&world, &operator.volume.path("tls.crt"), &operator.volume.path("tls.key"));
    let whats: [&[What]; 4] =
        [&[What::Bound], &[What::Pop, What::PopAgain], &[What::Assertion], &[What::OnBehalfOf]];
    let callers: Vec<_> =
        (0..CALLERS).map(|number| applications.call(whats[number % whats.len()], number)).collect();

    operator.wait_until(Instant::now() + INTERVAL).await;
    let began = Instant::now();
    for (kind, next) in kinds.into_iter().zip(&certificates[1..]) {
        operator.rotate(kind, next).await;
        let rotated = u32::try_from(operator.generations.len() - 1).expect("a number");
        operator.wait_until(began + INTERVAL * rotated).await;
    }
    assert!(began.elapsed() < Duration::from_secs(65), "a minute took {:?}", began.elapsed());
    applications.stop.store(true, Ordering::Relaxed);
    let calls: Vec<_> =
        join_all(callers).await.into_iter().flat_map(|calls| calls.expect("no call failed")).collect();

    let requests = world.token_requests();
    assert_eq!(requests.first().map(|request| request.sequence), Some(1), "the log has all of them");
    let by_id: HashMap<_, _> =
        requests.iter().filter_map(|request| Some((request.header("client-request-id")?, request))).collect();
    let used = |call: &Call| {
        let request = by_id.get(call.token.correlation_id().to_string().as_str()).copied();
        (call.began, check(call, request, &operator))
    };
    let used: Vec<_> = calls.iter().map(used).collect();
    for index in 0..operator.generations.len() {
        assert!(used.iter().any(|(_, used)| *used == index), "number {index} had no time");
    }
    for request in &requests {
        assert_eq!(request.status, Some(200), "{request:?}");
    }
    let stats = world.authority.stats();
    assert_eq!(stats.host(MTLS).resumed_handshakes, 0);
    assert!(stats.host(MTLS).full_handshakes > ROTATIONS as u64, "one for each certificate at least");
    // What nobody uses any more is let go with the next request.
    applications.acquire(What::Bound, "last").await;
    assert_eq!(applications.bound.transport_statistics().pools, 1, "the old ones are drained");
    eprintln!(
        "{} calls, {} requests, {} full handshakes with {} certificates, the last use {:?} after replacement",
        calls.len(),
        requests.len(),
        stats.host(MTLS).full_handshakes,
        operator.generations.len(),
        latest(&used, &operator)
    );
}

/// The file is written through another name of it, which no watch of its directory reports.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_watch_reports_is_in_use_within_thirty_seconds_or_with_the_first_refusal() {
    let (world, now) = (World::start().await, SystemClock.now_unix());
    let [old, new] =
        ["old", "new"].map(|name| CertificateRequest::new(name, now).self_signed().expect("one"));
    let [here, there] = [(), ()].map(|()| TempDir::new().expect("a directory"));
    let [file, other_name] = [&here, &there].map(|directory| directory.path().join("tls.pem"));
    std::fs::write(&file, old.pem()).expect("a file");
    std::fs::hard_link(&file, &other_name).expect("another name");
    // Both use the same file. One of them is refused the old certificate after five seconds.
    let (patient, impatient) = (sample::WEB_API_BOUND, "77777777-0000-4000-8000-000000000001");
    let register = |client_id: &str, certificates: &[&ClientCertificate]| {
        let certificates = certificates.iter().map(|certificate| certificate.certificate_pem());
        let registration = certificates.fold(Registration::new(client_id).mtls(true), |registration, pem| {
            registration.certificate_pem(&pem).expect("a certificate")
        });
        world.authority.register(registration);
    };
    register(patient, &[&old, &new]);
    register(impatient, &[&old, &new]);
    let symbolon = engine();
    let application = |client_id: &str| {
        world.application_with(&symbolon, "web-api-bound", |settings| {
            settings["AzureAd"]["ClientId"] = client_id.into();
            settings["AzureAd"]["ClientCredentials"] = serde_json::json!([
                { "SourceType": "Path", "CertificateDiskPath": file, "UseBoundCredential": true },
            ]);
        })
    };
    let applications = [patient, impatient].map(application);
    let acquire = async || {
        for application in &applications {
            let request = application.acquire_token_for_client([GRAPH]).with_force_refresh(true);
            request.await.expect("no call fails");
        }
        sleep(Duration::from_millis(200)).await;
    };
    let first_use = |client_id: &str| {
        let presented = Some(new.certificate().x5t_s256());
        let requests = world.token_requests().into_iter();
        let requests = requests.filter(|request| request.form_text("client_id") == Some(client_id));
        requests.filter(|request| request.client_certificate == presented).map(|r| r.time_unix_ms).next()
    };
    acquire().await;
    let written = SystemClock.now_unix_ms();
    std::fs::write(&other_name, new.pem()).expect("a file");
    let after = |client_id: &str| first_use(client_id).map(|first| first.saturating_sub(written));
    let began = Instant::now();
    while began.elapsed() < GRACE {
        acquire().await;
    }
    assert_eq!((after(patient), after(impatient)), (None, None), "the watch doesn't report it");
    register(impatient, &[&new]);
    while after(patient).is_none() {
        assert!(began.elapsed() < Duration::from_secs(31), "not in use");
        acquire().await;
    }
    let (polled, refused) = (after(patient).expect("a time"), after(impatient).expect("a time"));
    assert!(refused < 5_000 + 1_000, "{refused} ms, with the first refusal");
    let refusals: Vec<_> = world.token_requests().into_iter().filter_map(|request| request.aadsts).collect();
    assert_eq!(refusals, [700_027], "one refusal, and no failed call");
    eprintln!("in use {polled} ms after it was written, and with a refusal {refused} ms after");
}
