//! The authority, the applications that use it, and what their calls begin with.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::{fmt, fs};

use symbolon::{AgentIdentity, Application, ApplicationId, ApplicationOptions, Settings, Symbolon};
use symbolon_authority::{
    Authority, AuthorizationCode, Flow, ManagedIdentity, Platform, REDIRECT_URI, Registration, Source,
    UserToken, sample,
};
use url::Url;
use uuid::Uuid;

use super::call::{Call, USER_READ};
use super::demonstrations::{Demonstration, Kind};
use crate::failure::Failure;
use crate::trace::Trace;

/// Where rows are acted.
pub(super) struct Stage {
    pub(super) authority: Authority,
    /// A virtual machine, which this process seems to run on.
    _platform: Platform,
    symbolon: Symbolon,
    directory: PathBuf,
}

impl Stage {
    pub(super) async fn new(authority: Authority, directory: &Path, trace: &Trace) -> Result<Self, Failure> {
        let machine = Platform::builder().system_assigned(ManagedIdentity::new(MACHINE, MACHINE_OBJECT));
        let platform = machine.start(&authority).await.map_err(unexpected)?;
        let variables = platform.environment(Source::Imds);
        let environment = move |name: &str| match variables.iter().find(|(known, _)| known == name) {
            Some((_, value)) => Some(value.clone()),
            None if OTHER_SOURCES.contains(&name) => None,
            None => std::env::var(name).ok(),
        };
        let symbolon = trace.record(Symbolon::builder()).environment(environment).build()?;
        let stage = Self { authority, _platform: platform, symbolon, directory: directory.to_owned() };
        let file = stage.directory.join("client.crt");
        let certificate = fs::read_to_string(&file).map_err(|error| Failure::file(&file, &error))?;
        // A sample, with every flow over mutual TLS.
        let web_api = Registration::new(sample::WEB_API_BOUND)
            .certificate_pem(&certificate)
            .map_err(unexpected)?
            .redirect_uri(REDIRECT_URI)
            .names_users(true)
            .mtls(true)
            .mtls_flows(Flow::ALL);
        stage.authority.register(web_api);
        Ok(stage)
    }

    /// The application of a row. None shares tokens or connections with another.
    pub(super) fn application(&self, demonstration: &Demonstration) -> Result<Application, Failure> {
        let file = self.directory.join(format!("appsettings-{}.json", demonstration.configuration));
        let overrides =
            demonstration.settings.iter().map(|(name, value)| (OsString::from(name), value.into()));
        let options = Settings::from_file(file)
            .and_then(|settings| settings.with_environment(overrides).application(None))
            .map_err(symbolon::Error::from)?;
        self.application_of(options)
    }

    /// The same with these options.
    pub(super) fn application_of(&self, options: ApplicationOptions) -> Result<Application, Failure> {
        let options = options.with_id(ApplicationId::new(Uuid::new_v4().to_string()));
        Ok(self.symbolon.application(options)?)
    }

    /// The number of the last request that the authority saw.
    pub(super) fn sequence(&self) -> u64 {
        self.authority.log().last().map_or(0, |entry| entry.sequence)
    }

    /// The call of a row, with everything that has to be there before it.
    pub(super) async fn call(
        &self,
        demonstration: &Demonstration,
        application: &Application,
    ) -> Result<Call, Failure> {
        let agent = sample::BOUND_AGENT;
        Ok(match demonstration.kind {
            Kind::ForClient => Call::ForClient,
            Kind::ForClientBound => Call::ForClientBound,
            Kind::OnBehalfOf => Call::OnBehalfOf { assertion: self.user_assertion(application)? },
            Kind::LongRunning => Call::InitiateLongRunning { assertion: self.user_assertion(application)? },
            Kind::ByRefreshToken => Call::ByRefreshToken { token: self.refresh_token(application)? },
            Kind::Silent => self.silent(application).await?,
            Kind::ByAuthorizationCode => self.sign_in(application).await?,
            Kind::ByUsernamePassword => Call::ByUsernamePassword,
            Kind::ByUserFederatedIdentityCredential => {
                // By an application of its own: it leaves no connection behind.
                let before = self.application(demonstration)?;
                let token = before.acquire_token_for_client([EXCHANGE]).await?;
                Call::ByUserFederatedIdentityCredential { assertion: token.access_token().to_owned() }
            }
            Kind::ForAgent => Call::ForAgent { agent: AgentIdentity::app_only(agent), assertion: None },
            Kind::ForAgentsUser => {
                let agent = AgentIdentity::with_user_principal_name(agent, sample::ALICE);
                Call::ForAgent { agent, assertion: None }
            }
            Kind::AsAgent => {
                let assertion = Some(self.user_assertion(application)?);
                Call::ForAgent { agent: AgentIdentity::app_only(agent), assertion }
            }
            Kind::ForManagedIdentity => Call::ForManagedIdentity,
        })
    }

    /// What the application, a web API, is called with by a user.
    fn user_assertion(&self, application: &Application) -> Result<String, Failure> {
        let token = UserToken::new(sample::ALICE, application.options().client_id());
        self.authority.user_token(&token).map_err(unexpected)
    }

    /// What another library kept.
    fn refresh_token(&self, application: &Application) -> Result<String, Failure> {
        let client_id = application.options().client_id();
        self.authority.refresh_token(client_id, sample::ALICE).map_err(unexpected)
    }

    /// A sign-in, up to its redirect.
    async fn sign_in(&self, application: &Application) -> Result<Call, Failure> {
        let begun = application.authorization_request([USER_READ], REDIRECT_URI).await?;
        let url = Url::parse(&begun.url).map_err(unexpected)?;
        let (_, challenge) = url
            .query_pairs()
            .find(|(name, _)| name == "code_challenge")
            .ok_or_else(|| Failure::internal("a sign-in without code challenge"))?;
        let client_id = application.options().client_id();
        let code = AuthorizationCode::new(client_id, sample::ALICE, REDIRECT_URI).code_challenge(&challenge);
        let code = self.authority.authorization_code(&code).map_err(unexpected)?;
        Ok(Call::ByAuthorizationCode { code, verifier: begun.code_verifier })
    }

    /// A user who was acquired for something else: the cache has a refresh token.
    async fn silent(&self, application: &Application) -> Result<Call, Failure> {
        let token = self.refresh_token(application)?;
        let other = application.acquire_token_by_refresh_token([MAIL_READ], token).await?;
        let account =
            other.account().ok_or_else(|| Failure::internal("the local authority named no user"))?;
        Ok(Call::Silent { account })
    }
}

/// The authority has its samples, and an application its URL.
fn unexpected(error: impl fmt::Display) -> Failure {
    Failure::internal(error.to_string())
}

/// The machine's identity: client id and object id.
const MACHINE: &str = "ac41e000-0000-4000-8000-000000000001";
const MACHINE_OBJECT: &str = "ac41e000-0000-4000-8000-000000000002";
/// What would say that the process runs on something else.
const OTHER_SOURCES: [&str; 2] = ["IDENTITY_ENDPOINT", "MSI_ENDPOINT"];
const MAIL_READ: &str = "https://graph.microsoft.com/Mail.Read";
/// What those who name users prove themselves with.
const EXCHANGE: &str = "api://AzureADTokenExchange/.default";
