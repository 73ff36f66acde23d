//! Acquisitions of which every answer is foreign: whatever comes, they end in a token or in a typed error.

use symbolon_protocol::acquisition::{Absence, Acquisition, Action, Event, Fact, Found};
use symbolon_protocol::authority::{AuthorityKind, SignatureAlgorithm};
use symbolon_protocol::credential::{BoundUse, Certificate, CredentialKind, Description, SignedAssertion};
use symbolon_protocol::error::Error;
use symbolon_protocol::platform::{CertificateRequest, IssuedCertificate, NewCertificate, Platform};
use symbolon_protocol::request::{
    AccessToken, AgentFlow, AgentSubject, Application, AuthorizationCode, ClientFlow, Context, Flow,
    ManagedIdentityFlow, ManagedIdentityId, NamedUser, Options, RefreshToken, Request, Scheme, UserAssertion,
};
use symbolon_protocol::response::{HttpResponse, TransportError};

/// How many kinds of questions there are.
pub(crate) const QUESTIONS: usize = 17;

/// Asks one of the questions; the answers come in turn, and again from the first.
///
/// # Panics
///
/// Where the acquisition goes on for ever, or ends in an error that says nothing.
pub(crate) fn acquire(question: usize, answers: &[Result<HttpResponse, TransportError>]) {
    let mut world = World::new(question);
    match world.run(answers) {
        Ok(token) => assert!(!token.token.is_empty() && !token.token_type.is_empty()),
        Err(error) => {
            assert!(!error.code.is_empty() && !error.message.is_empty(), "{error:?}");
            assert!(error.retry_after_ms.is_none_or(|pause| pause <= 3_600_000), "{error:?}");
        }
    }
}

struct World {
    context: Context,
    request: Option<Request>,
    credential: Description,
    platform: Platform,
    facts: Vec<(Fact, Vec<u8>)>,
    issued: Option<NewCertificate>,
    sent: usize,
}

impl World {
    fn new(question: usize) -> Self {
        let assertion = || UserAssertion { assertion: "e30.e30.e30".into(), ..UserAssertion::default() };
        let client = || Flow::ForClient(ClientFlow::default());
        let identity =
            || Flow::ForManagedIdentity(ManagedIdentityFlow { identity: ManagedIdentityId::SystemAssigned });
        let known = "https://login.microsoftonline.com/contoso.com";
        let (authority, flow, variables): (&str, Flow, &[(&str, Option<&str>)]) = match question % QUESTIONS {
            0 | 4 => (known, client(), &[]),
            1 => ("https://login.contoso.test/tenant", client(), &[]),
            2 => ("https://fs.contoso.test/adfs", client(), &[]),
            3 => ("https://idp.contoso.test", client(), &[]),
            5 => (known, Flow::OnBehalfOf(assertion()), &[]),
            6 => (known, Flow::ByRefreshToken(RefreshToken("rt".into())), &[]),
            7 => (
                known,
                Flow::ByAuthorizationCode(AuthorizationCode { code: "c".into(), ..Default::default() }),
                &[],
            ),
            8 => {
                let user = NamedUser::Username("alice@contoso.com".into());
                let agent = "88888888-0000-4000-8000-000000000001".into();
                (known, Flow::ForAgent(AgentFlow { agent, subject: AgentSubject::User(user) }), &[])
            }
            9 => (known, identity(), APP_SERVICE),
            10 => (known, identity(), SERVICE_FABRIC),
            11 => (known, identity(), ARC),
            12 => (known, identity(), CLOUD_SHELL),
            13 => (known, identity(), MACHINE_LEARNING),
            14 | 15 => (known, identity(), &[]),
            _ => ("https://contoso.ciamlogin.com", client(), &[]),
        };
        let application = Application {
            client_id: "6731de76-14a6-49ae-97bc-6eba6914391e".into(),
            authority: authority.into(),
            authority_type: (question % QUESTIONS == 3).then_some(AuthorityKind::Oidc),
            azure_region: (question % QUESTIONS == 4).then(|| "TryAutoDetect".into()),
            ..Application::default()
        };
        let variable = |(name, value): &(&str, Option<&str>)| (name.to_string(), value.map(str::to_string));
        World {
            context: Context {
                application,
                now: 1_700_000_000_000,
                deadline: 1_700_000_090_000,
                seed: [1, 2, 3, 4],
                proactive_refresh: false,
            },
            request: Some(Request {
                flow,
                scopes: vec!["https://graph.microsoft.com/.default".into()],
                scheme: if question % QUESTIONS == 15 { Scheme::MtlsPop } else { Scheme::Bearer },
                options: Options::default(),
            }),
            credential: certificate(),
            platform: Platform { variables: variables.iter().map(variable).collect(), has_arc_agent: false },
            facts: Vec::new(),
            issued: None,
            sent: 0,
        }
    }

    fn run(
        &mut self,
        answers: &[Result<HttpResponse, TransportError>],
    ) -> Result<Box<AccessToken>, Box<Error>> {
        let Some(request) = self.request.take() else { panic!("a world is asked once") };
        let (mut acquisition, mut action) = Acquisition::start(request, &self.context).map_err(Box::new)?;
        for _ in 0..1000 {
            let event = match action {
                Action::Finish(result) => return result.map_err(Box::new),
                other => self.perform(other, answers),
            };
            action = acquisition.handle(event);
        }
        panic!("the acquisition doesn't end");
    }

    fn perform(&mut self, action: Action, answers: &[Result<HttpResponse, TransportError>]) -> Event {
        match action {
            Action::Find(lookup) => Event::Found(match lookup.flight {
                Some(_) => Found::Lead { absence: Absence::Absent, now: self.context.now },
                None => Found::Miss,
            }),
            Action::Select(_) | Action::SelectSecret(_) | Action::SelectChallengeFile(_) => {
                Event::Selected(Ok(self.credential.clone()))
            }
            Action::DescribePlatform => Event::Platform(self.platform.clone()),
            Action::SelectIssued => Event::Issued(self.issued.clone().map(|new| {
                let (credential, attested) = (certificate(), false);
                let NewCertificate { client_id, token_endpoint, .. } = new;
                Box::new(IssuedCertificate { credential, client_id, token_endpoint, attested })
            })),
            Action::RequestCertificate(_) => Event::CertificateRequested(Ok(CertificateRequest {
                der: b"a request".to_vec(),
                attestation: None,
            })),
            Action::InstallCertificate(new) => {
                self.issued = Some(new);
                Event::Installed(Ok(()))
            }
            Action::Sign { .. } => Event::Signed(Ok(b"a signature".to_vec())),
            Action::Assert(_) => {
                Event::Asserted(Ok(SignedAssertion { assertion: "e30.e30.e30".into(), bound: false }))
            }
            Action::Send(_) => {
                let answer = &answers[self.sent % answers.len()];
                self.sent += 1;
                // Whatever it takes, time goes on.
                self.context.now += 10;
                Event::Answered(answer.clone())
            }
            Action::Wait { milliseconds } => {
                self.context.now += milliseconds;
                Event::Waited { now: self.context.now }
            }
            Action::Report(_) => Event::Reported,
            Action::Recall(fact) => {
                let known = self.facts.iter().rev().find(|(known, _)| *known == fact);
                Event::Recalled(known.map(|(_, value)| value.clone()))
            }
            Action::Remember { fact, value, .. } => {
                self.facts.push((fact, value));
                Event::Remembered
            }
            Action::Put(_) => Event::Stored,
            Action::Fail(_) => Event::Failed,
            Action::Finish(_) => unreachable!("handled by the caller"),
        }
    }
}

fn certificate() -> Description {
    Description {
        name: "ClientCredentials[0] (Path)".into(),
        kind: CredentialKind::Certificate,
        use_bound: BoundUse::Unspecified,
        omit_assertion_when_bound: false,
        certificate: Some(Certificate {
            chain: vec![b"a certificate".to_vec()],
            thumbprint_sha256: "t256".into(),
            thumbprint_sha1: "t1".into(),
            not_after: u64::MAX,
            algorithms: vec![SignatureAlgorithm::Ps256, SignatureAlgorithm::Rs256],
        }),
    }
}

type Variables = &'static [(&'static str, Option<&'static str>)];

const APP_SERVICE: Variables =
    &[("IDENTITY_ENDPOINT", Some("http://127.0.0.1:41741/msi/token")), ("IDENTITY_HEADER", None)];
const SERVICE_FABRIC: Variables = &[
    ("IDENTITY_ENDPOINT", Some("https://localhost:2377/metadata/identity/oauth2/token")),
    ("IDENTITY_HEADER", None),
    ("IDENTITY_SERVER_THUMBPRINT", Some("AB")),
];
const ARC: Variables = &[
    ("IDENTITY_ENDPOINT", Some("http://localhost:40342/oauth2/token")),
    ("IMDS_ENDPOINT", Some("http://localhost:40342")),
];
const CLOUD_SHELL: Variables = &[("MSI_ENDPOINT", Some("http://localhost:50342/oauth2/token"))];
const MACHINE_LEARNING: Variables =
    &[("MSI_ENDPOINT", Some("http://127.0.0.1:46808/MSI/auth")), ("MSI_SECRET", None)];
