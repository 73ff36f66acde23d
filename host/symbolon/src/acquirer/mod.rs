//! Tokens by the sections of a configuration: Microsoft.Identity.Web's `ITokenAcquirer`.

mod applications;
mod json;
mod options;

use std::fmt;
use std::sync::Arc;

use symbolon_resources::cache::ApplicationId;
use symbolon_resources::configuration::{ApplicationOptions, Settings};
use uuid::Uuid;

use crate::acquire::{RequestOptions, UserAssertion};
use crate::agent::AgentIdentity;
use crate::application::Application;
use crate::builder::Symbolon;
use crate::error::{Error, Result};
use crate::result::AuthenticationResult;
use crate::session_key::SessionKey;

use self::applications::Applications;
pub use self::options::AcquireTokenOptions;

/// Acquires tokens for the applications of a configuration, each a section that a call names
/// ([`AcquireTokenOptions::authentication_options_name`]), `AzureAd` by default. Cheap to clone.
///
/// ```no_run
/// # async fn example(incoming: &str) -> Result<(), Box<dyn std::error::Error>> {
/// use symbolon::{AcquireTokenOptions, SessionKey, Settings, Symbolon};
///
/// let settings = Settings::from_file("appsettings.json")?.with_environment(std::env::vars_os());
/// let acquirer = Symbolon::builder().build()?.token_acquirer(settings);
/// let token = acquirer.get_token_for_app("https://graph.microsoft.com/.default", None).await?;
///
/// let mut options = AcquireTokenOptions::default();
/// options.long_running_session_key = Some(SessionKey::AllocateForMe);
/// let token = acquirer.get_token_for_user(["User.Read"], Some(incoming), &mut options).await?;
/// // The key is in `options` now, for calls after the incoming token is gone.
/// let token = acquirer.get_token_for_user(["User.Read"], None, &mut options).await?;
/// # Ok(())
/// # }
/// ```
#[doc(alias = "ITokenAcquirer")]
#[doc(alias = "TokenAcquirerFactory")]
#[derive(Clone)]
pub struct TokenAcquirer {
    inner: Arc<Inner>,
}

struct Inner {
    symbolon: Symbolon,
    settings: Settings,
    applications: Applications,
}

impl Symbolon {
    /// Acquires tokens for the applications of this configuration. Reads no section yet.
    pub fn token_acquirer(&self, settings: Settings) -> TokenAcquirer {
        let inner = Inner { symbolon: self.clone(), settings, applications: Applications::default() };
        TokenAcquirer { inner: Arc::new(inner) }
    }
}

impl TokenAcquirer {
    pub(crate) fn settings(&self) -> &Settings {
        &self.inner.settings
    }

    /// The application of a section: made when it is first asked for, with tokens of its own. The default is `AzureAd`.
    ///
    /// One that nobody holds and nobody has asked for in an hour is let go, with connections and access tokens, unless users
    /// have signed in to it. It is made anew when it is asked for again.
    ///
    /// # Errors
    ///
    /// [`Error::Configuration`] where there is no such section, or it can't work as it is; [`Error::Transport`].
    pub fn application<'n>(&self, name: impl Into<Option<&'n str>>) -> Result<Application> {
        let name = name.into().filter(|name| !name.is_empty()).unwrap_or(DEFAULT_SECTION);
        let now_unix = self.inner.symbolon.shared.clock.now_unix();
        self.inner.applications.get(name, now_unix, || {
            let options = named(self.inner.settings.application(Some(name))?, name);
            self.inner.symbolon.application(options)
        })
    }

    /// Acquires a token for the application itself, or for an agent of it.
    ///
    /// # Errors
    ///
    /// `IDW10404` for a scope that doesn't end in `/.default` (case ignored), `IDW10405` for a tenant that stands for many;
    /// those of [`application`](Self::application) and of the flow.
    #[doc(alias = "GetTokenForAppAsync")]
    pub async fn get_token_for_app<'o>(
        &self,
        scope: &str,
        options: impl Into<Option<&'o mut AcquireTokenOptions>>,
    ) -> Result<AuthenticationResult> {
        let none = AcquireTokenOptions::default();
        let options = options.into().map_or(&none, |options| options);
        let application = self.application(options.authentication_options_name.as_deref())?;
        token_for_app(&application, scope, options, false).await
    }

    /// Acquires a token for a user: the one whose token the application was given (`user_assertion`), the one of a
    /// long-running process, or the one that an agent names.
    ///
    /// | Agent | `user_assertion` | Session key | |
    /// |---|---|---|---|
    /// | none | given | none | on behalf of the user |
    /// | none | given | [`AllocateForMe`](SessionKey::AllocateForMe), or a key | begins a long-running process; the key is in `options` afterwards |
    /// | none | none | a key | goes on with the process |
    /// | with a user | – | – | for that user of the agent |
    /// | without | given | none | on behalf of the user, as the agent |
    ///
    /// Without [`AcquireTokenOptions::tenant`], the directory is that of `user_assertion` (`tid`). The scopes `openid`,
    /// `profile` and `offline_access` are asked for by themselves, and left out here.
    ///
    /// # Errors
    ///
    /// `invalid_request` where something is missing, or contradicts something else; those of
    /// [`application`](Self::application) and of the flow.
    #[doc(alias = "GetTokenForUserAsync")]
    pub async fn get_token_for_user<'o>(
        &self,
        scopes: impl IntoIterator<Item = impl AsRef<str>>,
        user_assertion: Option<&str>,
        options: impl Into<Option<&'o mut AcquireTokenOptions>>,
    ) -> Result<AuthenticationResult> {
        let mut none = AcquireTokenOptions::default();
        let options = options.into().unwrap_or(&mut none);
        let application = self.application(options.authentication_options_name.as_deref())?;
        let mut key = options.long_running_session_key.clone();
        let assertion = user_assertion.map(UserAssertion::from);
        let token = token_for_user(&application, scopes, assertion, options, &mut key).await;
        options.long_running_session_key = key;
        token
    }
}

impl fmt::Debug for TokenAcquirer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenAcquirer")
            .field("applications", &self.inner.applications)
            .finish_non_exhaustive()
    }
}

/// A token for the application itself, for an agent of it, or for an identity that the platform manages.
pub(crate) async fn token_for_app(
    application: &Application,
    scope: &str,
    options: &AcquireTokenOptions,
    mtls_pop: bool,
) -> Result<AuthenticationResult> {
    let call = Call::new(application, options)?;
    if let Some(identity) = &options.managed_identity {
        let request = application.acquire_token_for_managed_identity(scope, identity.clone());
        let options = options.to_request(None, call.correlation_id);
        return request.with_options(options).with_mtls_pop(mtls_pop).await;
    }
    if !ends_in_default(scope) {
        let message = format!(
            "the scope of an application's own token should be of the form {{resource}}/.default, found {scope:?}"
        );
        return Err(call.mistake("IDW10404", message));
    }
    let tenant = application.options().app_tenant(options.tenant.as_deref());
    let tenant = tenant.map_err(|error| call.mistake(error.identity_web_code(), error.to_string()))?;
    let request = options.to_request(tenant, call.correlation_id);
    match (&options.agent, &options.fmi_path) {
        (Some(_), Some(_)) => {
            let message = "an agent's token can't be for a path below it; leave FmiPath out";
            Err(call.mistake("invalid_request", message))
        }
        (Some(agent), None) => {
            let agent = AgentIdentity::app_only(agent.agent_app_id());
            let request = application.acquire_token_for_agent(agent, [scope]).with_options(request);
            request.with_mtls_pop(mtls_pop).await
        }
        (None, path) => {
            let call = application.acquire_token_for_client([scope]).with_options(request);
            let call = call.with_mtls_pop(mtls_pop);
            match path {
                Some(path) => call.with_fmi_path(path).await,
                None => call.await,
            }
        }
    }
}

/// A token for a user. A session key that was to be allocated is in `key` afterwards.
pub(crate) async fn token_for_user(
    application: &Application,
    scopes: impl IntoIterator<Item = impl AsRef<str>>,
    assertion: Option<UserAssertion<'_>>,
    options: &AcquireTokenOptions,
    key: &mut Option<SessionKey>,
) -> Result<AuthenticationResult> {
    let call = Call::new(application, options)?;
    let scopes = without_reserved(scopes);
    let assertion = assertion.filter(|assertion| !assertion.expose().is_empty());
    let tenant = user_tenant(application.options(), options, assertion.as_ref());
    let request = options.to_request(tenant, call.correlation_id);
    match (&options.agent, assertion) {
        (Some(agent), assertion) => call.for_agent(agent, scopes, assertion, key.is_some(), request).await,
        (None, Some(assertion)) => call.on_behalf_of(scopes, assertion, key, request).await,
        (None, None) => call.in_long_running_process(scopes, key.as_ref(), request).await,
    }
}

/// One call: whose it is, and by which id it goes.
struct Call<'a> {
    application: &'a Application,
    correlation_id: Uuid,
}

impl<'a> Call<'a> {
    fn new(application: &'a Application, options: &AcquireTokenOptions) -> Result<Self> {
        let call = Self { application, correlation_id: options.correlation_id.unwrap_or_else(Uuid::new_v4) };
        match (options.names_two_users, call.application.options().strict()) {
            (false, _) => {}
            (true, true) => {
                let message =
                    "the agent's user is named by username and by object id; one of them is too much";
                return Err(call.mistake("invalid_request", message));
            }
            (true, false) => tracing::warn!(
                correlation_id = %call.correlation_id,
                "the agent's user is named by username and by object id; the username counts"
            ),
        }
        Ok(call)
    }

    async fn for_agent(
        &self,
        agent: &AgentIdentity,
        scopes: Vec<String>,
        assertion: Option<UserAssertion<'_>>,
        is_long_running: bool,
        options: RequestOptions,
    ) -> Result<AuthenticationResult> {
        let request = self.application.acquire_token_for_agent(agent.clone(), scopes).with_options(options);
        match (agent.user(), assertion) {
            (Some(_), _) => request.await,
            (None, Some(_)) if is_long_running => {
                let message = "an agent has no long-running processes; leave the session key out";
                Err(self.mistake("invalid_request", message))
            }
            (None, Some(assertion)) => request.with_user_assertion(assertion).await,
            (None, None) => {
                let message = "nothing says for which user the agent acts; give the token that its blueprint was called \
                               with, or name a user of the agent";
                Err(self.mistake("invalid_request", message))
            }
        }
    }

    async fn on_behalf_of(
        &self,
        scopes: Vec<String>,
        assertion: UserAssertion<'_>,
        key: &mut Option<SessionKey>,
        options: RequestOptions,
    ) -> Result<AuthenticationResult> {
        match key {
            None => {
                self.application.acquire_token_on_behalf_of(scopes, assertion).with_options(options).await
            }
            Some(key) => {
                let request = self.application.initiate_long_running_process(scopes, assertion, key);
                request.with_options(options).await
            }
        }
    }

    async fn in_long_running_process(
        &self,
        scopes: Vec<String>,
        key: Option<&SessionKey>,
        options: RequestOptions,
    ) -> Result<AuthenticationResult> {
        let Some(key) = key else {
            let message = "nothing says for which user; give the token that the application was called with, or the key of \
                           a long-running process";
            return Err(self.mistake("invalid_request", message));
        };
        // One that is still to be allocated is nobody's.
        let key = key.get().unwrap_or(SessionKey::ALLOCATE_FOR_ME);
        let request = self.application.acquire_token_in_long_running_process(scopes, key);
        request.with_options(options).await
    }

    fn mistake(&self, code: &str, message: impl Into<String>) -> Error {
        Error::invalid_request(code, message, self.correlation_id)
    }
}

/// An application under a name of its own, where its section isn't the default one: sections may describe one registration
/// with different credentials.
fn named(options: ApplicationOptions, section: &str) -> ApplicationOptions {
    if section.eq_ignore_ascii_case(DEFAULT_SECTION) {
        return options;
    }
    let id = ApplicationId::new(format!("{}#{section}", options.id()));
    options.with_id(id)
}

/// The directory that is asked for a user's token, where it isn't the configured one. A customer directory
/// (`ciamlogin.com`) is never replaced.
fn user_tenant(
    application: &ApplicationOptions,
    options: &AcquireTokenOptions,
    assertion: Option<&UserAssertion<'_>>,
) -> Option<String> {
    if application.authority().split('/').nth(2).is_some_and(|host| host.contains(".ciamlogin.com")) {
        return None;
    }
    if let Some(tenant) = options.tenant.as_ref().filter(|tenant| !tenant.is_empty()) {
        return Some(tenant.clone());
    }
    // A user of the agent's own is at home where the agent is.
    if options.agent.as_ref().is_some_and(|agent| agent.user().is_some()) {
        return None;
    }
    let claims = assertion?.unverified_claims()?;
    let tenant = claims.get("tid")?.as_str().filter(|tenant| Uuid::try_parse(tenant).is_ok())?;
    let is_configured = application.tenant_id().is_some_and(|known| known.eq_ignore_ascii_case(tenant));
    (!is_configured).then(|| tenant.to_owned())
}

fn ends_in_default(scope: &str) -> bool {
    let start = scope.len().checked_sub(DEFAULT_SCOPE.len());
    start.and_then(|start| scope.get(start..)).is_some_and(|end| end.eq_ignore_ascii_case(DEFAULT_SCOPE))
}

fn without_reserved(scopes: impl IntoIterator<Item = impl AsRef<str>>) -> Vec<String> {
    let is_reserved = |scope: &String| RESERVED_SCOPES.iter().any(|known| known.eq_ignore_ascii_case(scope));
    scopes.into_iter().map(|scope| scope.as_ref().to_owned()).filter(|scope| !is_reserved(scope)).collect()
}

const DEFAULT_SECTION: &str = "AzureAd";
const DEFAULT_SCOPE: &str = "/.default";
const RESERVED_SCOPES: [&str; 3] = ["openid", "profile", "offline_access"];

#[cfg(test)]
mod tests {
    use super::*;

    /// A server moves its calls between threads.
    const _: fn(&TokenAcquirer, &mut AcquireTokenOptions) = |acquirer, options| {
        fn is_send(_: impl Send) {}
        is_send(acquirer.get_token_for_app("", None));
        is_send(acquirer.get_token_for_user([String::new()], None, options));
    };

    #[test]
    fn scopes_of_applications_end_in_default() {
        for scope in ["api://x/.default", "https://graph.microsoft.com/.DEFAULT", "/.default"] {
            assert!(ends_in_default(scope), "{scope}");
        }
        for scope in ["", ".default", "api://x/.default ", "api://x/User.Read", "ä.default"] {
            assert!(!ends_in_default(scope), "{scope}");
        }
    }

    #[test]
    fn the_tenant_of_a_user_is_asked_for_else_that_of_the_token() {
        use base64::Engine as _;
        use base64::prelude::BASE64_URL_SAFE_NO_PAD;

        const HOME: &str = "aaaabbbb-0000-cccc-1111-dddd2222eeee";
        const OTHER: &str = "bbbbcccc-1111-dddd-2222-eeee3333ffff";
        let application = |instance: &str, tenant: &str| {
            ApplicationOptions::from_value(serde_json::json!({
                "AzureAd": {
                    "Instance": instance, "TenantId": tenant, "ClientId": OTHER,
                    "ClientCredentials": [{ "SourceType": "ClientSecret", "ClientSecret": "secret" }],
                },
            }))
            .expect("options")
        };
        let token = |tid: &str| {
            let claims = serde_json::json!({ "tid": tid }).to_string();
            UserAssertion::from(format!("e30.{}.c2ln", BASE64_URL_SAFE_NO_PAD.encode(claims)))
        };
        let public = application("https://login.microsoftonline.com/", HOME);
        let tenant = |asked: Option<&str>, assertion: Option<&UserAssertion<'_>>| {
            let options =
                AcquireTokenOptions { tenant: asked.map(str::to_owned), ..AcquireTokenOptions::default() };
            user_tenant(&public, &options, assertion)
        };
        assert_eq!(tenant(None, None), None);
        assert_eq!(tenant(None, Some(&token(OTHER))).as_deref(), Some(OTHER));
        assert_eq!(tenant(Some(""), Some(&token(OTHER))).as_deref(), Some(OTHER));
        assert_eq!(tenant(Some("contoso.com"), Some(&token(OTHER))).as_deref(), Some("contoso.com"));
        assert_eq!(tenant(None, Some(&token(HOME))), None);
        assert_eq!(tenant(None, Some(&token("../x"))), None);
        assert_eq!(tenant(None, Some(&"opaque".into())), None);
        let agent = AcquireTokenOptions::default().with_agent_identity(HOME);
        assert_eq!(user_tenant(&public, &agent, Some(&token(OTHER))).as_deref(), Some(OTHER));
        let agent = agent.with_agent_user_identity(HOME, Uuid::nil());
        assert_eq!(user_tenant(&public, &agent, Some(&token(OTHER))), None);

        let customers = application("https://contoso.ciamlogin.com/", HOME);
        assert_eq!(user_tenant(&customers, &AcquireTokenOptions::default(), Some(&token(OTHER))), None);
    }
}
