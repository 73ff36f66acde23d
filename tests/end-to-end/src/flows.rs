//! Every flow, so that what holds for all of them is tested for each.

use std::future::Future;
use std::pin::Pin;

use symbolon::{
    Account, AgentIdentity, Application, ApplicationId, AuthenticationResult, Result, Symbolon, User,
};
use symbolon_authority::{REDIRECT_URI, sample};
use uuid::Uuid;

use crate::{EXCHANGE, GRAPH, VAULT, World};

/// A way to a token for Microsoft Graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// For the application itself.
    ForClient,
    /// For the user of an assertion.
    OnBehalfOf,
    /// The beginning of a long-running process.
    Initiate,
    /// Its continuation, by its refresh token.
    GoOn,
    /// For a known user, by their refresh token.
    Silent,
    /// By a refresh token of another library.
    ByRefreshToken,
    /// By an authorization code, a new one each time.
    ByCode,
    /// By name and password.
    ByPassword,
    /// For a user whom the application names.
    ByUserFic,
    /// For an agent itself, which has proved itself before.
    ForAgent,
    /// For a user of an agent, which has named users before.
    ForAgentUser,
    /// For a user who called the blueprint of an agent, which has proved itself before.
    ForAgentOnBehalfOf,
}

impl Flow {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::ForClient,
        Self::OnBehalfOf,
        Self::Initiate,
        Self::GoOn,
        Self::Silent,
        Self::ByRefreshToken,
        Self::ByCode,
        Self::ByPassword,
        Self::ByUserFic,
        Self::ForAgent,
        Self::ForAgentUser,
        Self::ForAgentOnBehalfOf,
    ];

    /// Whether the sample application that serves is a blueprint.
    pub fn is_for_agent(self) -> bool {
        matches!(self, Self::ForAgent | Self::ForAgentUser | Self::ForAgentOnBehalfOf)
    }

    /// The sample application that serves, by its secret.
    pub fn sample(self) -> &'static str {
        if self.is_for_agent() { "blueprint" } else { "web-api" }
    }

    /// The sample application that serves, over mutual TLS.
    pub fn bound_sample(self) -> &'static str {
        if self.is_for_agent() { "blueprint-bound" } else { "web-api-bound" }
    }

    /// The scenario of this flow with its sample application, under a name of its own: nothing is cached yet.
    ///
    /// # Errors
    ///
    /// Where what comes before the flow itself fails.
    pub async fn prepare<'a>(self, world: &'a World, symbolon: &Symbolon) -> Result<Scenario<'a>> {
        let options = world.options(self.sample(), |_| {})?;
        let options = options.with_id(ApplicationId::new(Uuid::new_v4().to_string()));
        self.prepare_for(world, symbolon.application(options)?).await
    }

    /// The scenario of this flow: everything that must have happened before, so that one request brings the token.
    ///
    /// # Errors
    ///
    /// Where what comes before the flow itself fails.
    pub async fn prepare_for(self, world: &World, application: Application) -> Result<Scenario<'_>> {
        let mut scenario = Scenario { flow: self, world, application, input: String::new(), account: None };
        let application = &scenario.application;
        match self {
            Self::ForClient | Self::ByCode | Self::ByPassword => {}
            Self::OnBehalfOf | Self::Initiate => scenario.input = scenario.assertion(),
            Self::GoOn => {
                application.initiate_long_running_process([VAULT], scenario.assertion(), SESSION_KEY).await?;
            }
            Self::Silent => {
                let code = world.code(sample::ALICE, scenario.client_id());
                let signed_in =
                    application.acquire_token_by_authorization_code([VAULT], code, REDIRECT_URI).await?;
                scenario.account = signed_in.account();
            }
            Self::ByRefreshToken => {
                let token = world.authority.refresh_token(scenario.client_id(), sample::ALICE);
                scenario.input = token.unwrap_or_default();
            }
            Self::ByUserFic => {
                let credential = application.acquire_token_for_client([EXCHANGE]).await?;
                scenario.input = credential.access_token().to_owned();
            }
            Self::ForAgent | Self::ForAgentOnBehalfOf => {
                application.acquire_token_for_agent(scenario.agent(), [VAULT]).await?;
                scenario.input = scenario.assertion();
            }
            Self::ForAgentUser => {
                let bob = AgentIdentity::with_user_principal_name(scenario.agent_id(), sample::BOB);
                application.acquire_token_for_agent(bob, [GRAPH]).await?;
            }
        }
        Ok(scenario)
    }
}

/// A flow whose next request brings the token.
#[derive(Clone)]
pub struct Scenario<'a> {
    /// Which.
    pub flow: Flow,
    /// The application that asks.
    pub application: Application,
    world: &'a World,
    /// What is exchanged for the token: an assertion, a refresh token, a credential.
    pub input: String,
    /// The user who signed in before.
    pub account: Option<Account>,
}

impl Scenario<'_> {
    /// Asks for the token.
    pub fn acquire(&self) -> Pin<Box<dyn Future<Output = Result<AuthenticationResult>> + Send + '_>> {
        let (application, scopes) = (&self.application, [GRAPH]);
        match (self.flow, &self.account) {
            (Flow::ForClient, _) => Box::pin(application.acquire_token_for_client(scopes).into_future()),
            (Flow::OnBehalfOf, _) => {
                Box::pin(application.acquire_token_on_behalf_of(scopes, &self.input).into_future())
            }
            (Flow::Initiate, _) => Box::pin(
                application.initiate_long_running_process(scopes, &self.input, SESSION_KEY).into_future(),
            ),
            (Flow::GoOn, _) => {
                Box::pin(application.acquire_token_in_long_running_process(scopes, SESSION_KEY).into_future())
            }
            (Flow::Silent, Some(account)) => {
                Box::pin(application.acquire_token_silent(scopes, account).into_future())
            }
            (Flow::ByRefreshToken | Flow::Silent, _) => {
                Box::pin(application.acquire_token_by_refresh_token(scopes, &self.input).into_future())
            }
            (Flow::ByCode, _) => {
                let code = self.world.code(sample::ALICE, self.client_id());
                let redeem = application.acquire_token_by_authorization_code(scopes, code, REDIRECT_URI);
                Box::pin(redeem.into_future())
            }
            (Flow::ByPassword, _) => Box::pin(
                application
                    .acquire_token_by_username_password(scopes, sample::ALICE, sample::ALICE_PASSWORD)
                    .into_future(),
            ),
            (Flow::ByUserFic, _) => {
                let alice = User::Username(sample::ALICE.to_owned());
                let named = application.acquire_token_by_user_federated_identity_credential(
                    scopes,
                    alice,
                    &self.input,
                );
                Box::pin(named.into_future())
            }
            (Flow::ForAgent, _) => {
                Box::pin(application.acquire_token_for_agent(self.agent(), scopes).into_future())
            }
            (Flow::ForAgentUser, _) => {
                let alice = AgentIdentity::with_user_principal_name(self.agent_id(), sample::ALICE);
                Box::pin(application.acquire_token_for_agent(alice, scopes).into_future())
            }
            (Flow::ForAgentOnBehalfOf, _) => {
                let exchange = application.acquire_token_for_agent(self.agent(), scopes);
                Box::pin(exchange.with_user_assertion(&self.input).into_future())
            }
        }
    }

    fn client_id(&self) -> &str {
        self.application.options().client_id()
    }

    /// The agent of the sample blueprint.
    fn agent_id(&self) -> &'static str {
        if self.client_id() == sample::BLUEPRINT_BOUND { sample::BOUND_AGENT } else { sample::AGENT_ONE }
    }

    fn agent(&self) -> AgentIdentity {
        AgentIdentity::app_only(self.agent_id())
    }

    fn assertion(&self) -> String {
        self.world.user_token(sample::ALICE, self.client_id())
    }
}

/// The session key of the long-running process.
pub const SESSION_KEY: &str = "a session key";
