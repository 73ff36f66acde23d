//! What a refusal of the certificate costs: one reading of its source, one more request where the source has another one,
//! and for whatever else is refused nothing.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use futures_util::future::join_all;
use symbolon::{
    Application, AuthenticationResult, CertificateAction, CertificateEvent, Clock as _, Error, ManualClock,
    Symbolon,
};
use symbolon_authority::{CertificateRequest, ClientCertificate, Fault, FaultRule, Registration, sample};
use symbolon_end_to_end::{GRAPH, World, engine_with};
use tempfile::TempDir;

/// The errors that another certificate may cure. Everything else is none of them.
const OF_CERTIFICATES: [u32; 6] = [700_024, 700_027, 1_000_502, 7_000_214, 7_000_274, 7_000_277];

/// An application whose certificate is in a file, which only those learn of who read it: it is written through another name
/// of it, in a directory that nobody watches.
struct Daemon {
    world: World,
    clock: Arc<ManualClock>,
    application: Application,
    other_name: PathBuf,
    events: Arc<Mutex<Vec<String>>>,
    _directories: [TempDir; 2],
}

impl Daemon {
    async fn start() -> Self {
        let (world, _, clock) = World::timed().await;
        let directories = [(), ()].map(|()| TempDir::new().expect("a directory"));
        let [file, other_name] = [&directories[0], &directories[1]].map(|own| own.path().join("daemon.pem"));
        std::fs::copy(world.path("client.pem"), &file).expect("the sample's certificate");
        std::fs::hard_link(&file, &other_name).expect("another name");
        let events = Arc::new(Mutex::new(Vec::new()));
        let symbolon = observed(&clock, events.clone());
        let application = world.application_with(&symbolon, "certificate", |settings| {
            settings["AzureAd"]["ClientCredentials"][0]["CertificateDiskPath"] = file.to_str().into();
        });
        let daemon = Self { world, clock, application, other_name, events, _directories: directories };
        daemon.acquire().await.expect("a token");
        assert_eq!(daemon.readings(), (0, 1));
        daemon
    }

    /// Another certificate is in the file. The authority takes both.
    fn renew(&self) -> ClientCertificate {
        let renewed = self.certificate();
        let own = std::fs::read_to_string(self.world.path("client.crt")).expect("the sample's certificate");
        self.register(&[own, renewed.certificate_pem()]);
        std::fs::write(&self.other_name, renewed.pem()).expect("the file");
        renewed
    }

    fn certificate(&self) -> ClientCertificate {
        let request = CertificateRequest::new("renewed.contoso.test", self.clock.now_unix());
        request.self_signed().expect("a certificate")
    }

    fn register(&self, certificates: &[String]) {
        let registration = certificates.iter().fold(Registration::new(sample::CERTIFICATE), |it, pem| {
            it.certificate_pem(pem).expect("a certificate")
        });
        self.world.authority.register(registration);
    }

    /// Refuses so many token requests with this code.
    fn refuse(&self, code: u32, times: u32) {
        let error = if code == 700_016 { "unauthorized_client" } else { "invalid_client" };
        let refusal = Fault::Refusal {
            code,
            error: error.to_owned(),
            status: 401,
            message: "no".to_owned(),
            suberror: None,
            claims: None,
            retry_after: None,
        };
        self.world.authority.faults().add(FaultRule::once(refusal).times(times));
    }

    async fn acquire(&self) -> Result<AuthenticationResult, Error> {
        self.application.acquire_token_for_client([GRAPH]).with_force_refresh(true).await
    }

    /// An acquisition's codes, none where it succeeds, and how many requests it took.
    async fn attempt(&self) -> (Vec<u32>, usize) {
        let (outcome, requests) = self.world.seen(self.acquire()).await;
        (outcome.map_or_else(|error| error.aadsts_codes().to_vec(), |_| Vec::new()), requests.len())
    }

    /// A hundred at once, each with a request of its own. How many were refused, and how many requests that took.
    async fn herd(&self) -> (usize, usize) {
        let call = async |number: u32| {
            let request = self.application.acquire_token_for_client([GRAPH]).with_force_refresh(true);
            request.with_cache_partition_key("caller", number.to_string(), false).await
        };
        let (outcomes, requests) = self.world.seen(join_all((0..100).map(call))).await;
        let refused = outcomes.iter().filter_map(|outcome| outcome.as_ref().err());
        let refused = refused.inspect(|error| assert_eq!(error.aadsts_codes(), [700_027], "{error:?}"));
        (refused.count(), requests.len())
    }

    /// Refusals because of which the source was read again, and readings in all.
    fn readings(&self) -> (u64, u64) {
        let statistics = self.application.credential_statistics();
        (statistics.reloads, statistics.loads)
    }
}

fn observed(clock: &Arc<ManualClock>, events: Arc<Mutex<Vec<String>>>) -> Symbolon {
    let observer = move |event: &CertificateEvent<'_>| {
        if event.action != CertificateAction::SuccessfullyUsed {
            let text = format!("{:?} {}", event.action, event.certificate.thumbprint_sha256());
            events.lock().expect("no test failed").push(text);
        }
    };
    engine_with(|builder| builder.clock(clock.clone()).certificate_observer(Arc::new(observer)))
}

#[tokio::test]
async fn a_refused_certificate_is_read_again_and_tried_once() {
    for code in OF_CERTIFICATES {
        let daemon = Daemon::start().await;
        let renewed = daemon.renew();
        daemon.refuse(code, 1);
        assert_eq!((daemon.attempt().await, daemon.readings()), ((vec![], 2), (1, 2)), "{code}");
        let request = daemon.world.token_requests().pop().expect("a request");
        let (header, _) = request.client_assertion().expect("an assertion");
        let thumbprint = renewed.certificate().x5t_s256();
        assert_eq!(header["x5t#S256"], thumbprint, "{code}");
        let events = daemon.events.lock().expect("no test failed").clone();
        assert_eq!(events.len(), 3, "{events:?}");
        assert!(
            events[0].starts_with("Selected") && events[1].starts_with("Deselected(Rejected)"),
            "{events:?}"
        );
        assert_eq!(events[2], format!("Selected {thumbprint}"));
        assert_eq!(daemon.application.credential_statistics().deselections, 1);
        let expiry = daemon.application.certificate_expiries().pop().expect("a certificate");
        assert_eq!(expiry.thumbprint_sha256, thumbprint);
        assert_eq!(expiry.left_seconds, 365 * 24 * 60 * 60);
    }
}

#[tokio::test]
async fn one_retry_for_each_call_and_then_the_error() {
    let daemon = Daemon::start().await;
    daemon.renew();
    daemon.refuse(700_027, 2);
    assert_eq!((daemon.attempt().await, daemon.readings()), ((vec![700_027], 2), (1, 2)));
    assert_eq!(daemon.attempt().await, (vec![], 1), "the next call works");
}

#[tokio::test]
async fn nothing_else_is_cured_by_reading_again() {
    let daemon = Daemon::start().await;
    daemon.renew();
    // A wrong secret, an unknown application, an expired secret, a redirect URI, a password; and longer codes that begin as
    // a listed one does.
    for code in [7_000_215, 700_016, 7_000_222, 50_011, 50_012, 7_000_279, 7_000_240] {
        daemon.refuse(code, 1);
        assert_eq!((daemon.attempt().await, daemon.readings()), ((vec![code], 1), (0, 1)), "{code}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_herd_of_refusals_costs_one_reading_in_ten_seconds() {
    let daemon = Daemon::start().await;
    // The file has nothing new, so nobody asks the authority twice.
    daemon.register(&[daemon.certificate().certificate_pem()]);
    for (advance, reloads) in [(0, 1), (0, 1), (9_999, 1), (1, 2), (9_999, 2)] {
        daemon.clock.advance(advance);
        assert_eq!(
            (daemon.herd().await, daemon.readings()),
            ((100, 100), (reloads, reloads + 1)),
            "{advance} ms"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_herd_finds_at_once_what_changed() {
    let daemon = Daemon::start().await;
    daemon.register(&[daemon.certificate().certificate_pem()]);
    assert_eq!((daemon.attempt().await, daemon.readings()), ((vec![700_027], 1), (1, 2)));
    let renewed = daemon.renew();
    daemon.register(&[renewed.certificate_pem()]);
    // Long before ten seconds are over.
    let (refused, requests) = daemon.herd().await;
    assert_eq!((refused, daemon.readings().0), (0, 1));
    assert!((101..=200).contains(&requests), "each refused once at most: {requests}");
    assert_eq!(daemon.application.credential_statistics().rotations, 1);
}
