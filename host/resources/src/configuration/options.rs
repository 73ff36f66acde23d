use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;

use crate::cache::ApplicationId;
use crate::credentials::{AssertionContext, CredentialDescription, EgressPolicy, inner_tenant};
use crate::second_level::TokenCacheOptions;
use crate::transport::TransportOptions;

use super::app_tenant::{AppTenantError, resolve_app_tenant};
use super::builder::ApplicationOptionsBuilder;
use super::error::{ConfigurationError, Place, Warning};
use super::origins::ValueOrigin;
use super::settings::Settings;
use super::symbolon::{AuthorityType, BoundFlow};

/// An application as it is configured: checked, complete and immutable. `Debug` shows no secret.
///
/// Comes from a file ([`ApplicationOptions::from_file`]), from a JSON value, or from [`ApplicationOptions::builder`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ApplicationOptions {
    pub(super) id: ApplicationId,
    pub(super) client_id: String,
    pub(super) authority: String,
    pub(super) instance: String,
    pub(super) tenant_id: Option<String>,
    pub(super) app_home_tenant_id: Option<String>,
    pub(super) authority_type: Option<AuthorityType>,
    pub(super) skip_authority_validation: bool,
    pub(super) instance_metadata: Option<String>,
    pub(super) instance_discovery_uri: Option<String>,
    pub(super) token_endpoint_auth_method: Option<String>,
    pub(super) assertions_for_token_endpoint: bool,
    pub(super) azure_region: Option<String>,
    pub(super) credentials_place: Place,
    pub(super) credentials: Vec<ConfiguredCredential>,
    pub(super) send_x5c: bool,
    pub(super) client_capabilities: Vec<String>,
    pub(super) extra_query_parameters: Vec<(String, String)>,
    pub(super) enable_pii_logging: bool,
    pub(super) transport: TransportOptions,
    pub(super) token_cache: Option<TokenCacheOptions>,
    pub(super) egress: Arc<EgressPolicy>,
    pub(super) bound_flows: Vec<BoundFlow>,
    pub(super) token_exchange_url: Option<String>,
    pub(super) strict: bool,
    pub(super) allow_unattested_keys: bool,
    pub(super) origins: Vec<ValueOrigin>,
    /// The applications whose tokens are credentials of this one, by section.
    pub(super) linked: Vec<(String, Arc<ApplicationOptions>)>,
    pub(super) credential_components: Vec<String>,
    pub(super) warnings: Vec<Warning>,
    /// The configuration that it is a section of, and which.
    pub(super) settings: Option<(Settings, Arc<str>)>,
}

/// A credential, its name in messages and where it is configured.
#[derive(Debug, Clone)]
pub(crate) struct ConfiguredCredential {
    /// Such as `ClientCredentials[0] (Path)`.
    pub(crate) name: Arc<str>,
    pub(crate) place: Place,
    pub(crate) description: CredentialDescription,
}

impl ApplicationOptions {
    /// Reads the section `AzureAd` of a JSON file (comments and trailing commas allowed), with the settings of the
    /// section `Symbolon`. The environment isn't looked at; [`Settings`] does that, and reads other sections.
    ///
    /// # Errors
    ///
    /// [`ConfigurationError`] with all that is wrong: file, JSON path, what was found, what is accepted.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, ConfigurationError> {
        Settings::from_file(path)?.application(None)
    }

    /// As [`ApplicationOptions::from_file`], overlaid with environment variables such as
    /// `AzureAd__ClientCredentials__0__ClientSecret`, usually [`std::env::vars_os`].
    ///
    /// # Errors
    ///
    /// As [`ApplicationOptions::from_file`].
    pub fn from_file_and_environment(
        path: impl AsRef<Path>,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, ConfigurationError> {
        Settings::from_file(path)?.with_environment(variables).application(None)
    }

    /// Reads the section `AzureAd` of a JSON value. Relative paths start at the working directory.
    ///
    /// # Errors
    ///
    /// As [`ApplicationOptions::from_file`].
    pub fn from_value(value: serde_json::Value) -> Result<Self, ConfigurationError> {
        Settings::from_value(value).application(None)
    }

    /// Starts the options of the application with this client id.
    pub fn builder(client_id: impl Into<String>) -> ApplicationOptionsBuilder {
        ApplicationOptionsBuilder::with_client_id(client_id.into())
    }

    pub(super) fn of(mut self, settings: Settings, section: &str) -> Self {
        self.settings = Some((settings, section.into()));
        self
    }

    /// The configuration that it is a section of, with the section's name; nothing for one that was built in code.
    pub fn settings(&self) -> Option<(&Settings, &str)> {
        self.settings.as_ref().map(|(settings, section)| (settings, &**section))
    }

    /// The application's name in this process.
    pub fn id(&self) -> &ApplicationId {
        &self.id
    }

    /// The same under another name.
    pub fn with_id(mut self, id: ApplicationId) -> Self {
        self.id = id;
        self
    }

    /// The client id of the registration.
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// The authority as an https URL without a slash at the end, such as
    /// `https://login.microsoftonline.com/contoso.onmicrosoft.com`.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// What the authority begins with, before the directory, with one slash at the end, such as
    /// `https://login.microsoftonline.com/`.
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// The directory, where the authority names one.
    pub fn tenant_id(&self) -> Option<&str> {
        self.tenant_id.as_deref()
    }

    /// The directory in which the application is at home, where [`tenant_id`](Self::tenant_id) is `common` or
    /// `organizations`: the tenant of its own tokens, see [`app_tenant`](Self::app_tenant).
    pub fn app_home_tenant_id(&self) -> Option<&str> {
        self.app_home_tenant_id.as_deref()
    }

    /// The tenant to ask for the application's own token in the place of the authority's, by Microsoft.Identity.Web's
    /// rule; `None` to leave that one as it is.
    ///
    /// Without a requested tenant nothing changes, whatever is configured. The empty one stands for the configured tenant,
    /// see [`resolve_app_tenant`]. A customer directory (`ciamlogin.com`) is never replaced.
    ///
    /// # Errors
    ///
    /// [`AppTenantError`] when a tenant is requested and comes to `common` or `organizations`.
    pub fn app_tenant(&self, requested: Option<&str>) -> Result<Option<String>, AppTenantError> {
        if requested.is_none() {
            return Ok(None);
        }
        let tenant = resolve_app_tenant(requested, self.tenant_id(), self.app_home_tenant_id())?;
        let host = self.authority.split('/').nth(2).unwrap_or_default();
        Ok(tenant.filter(|_| !host.contains(".ciamlogin.com")).map(str::to_owned))
    }

    /// What kind of server the authority is, where the configuration says it.
    pub fn authority_type(&self) -> Option<AuthorityType> {
        self.authority_type
    }

    /// Whether a host that isn't well known is taken for an authority without asking.
    pub fn skip_authority_validation(&self) -> bool {
        self.skip_authority_validation
    }

    /// The names of clouds in the form of an answer of instance discovery, JSON: no others are known then.
    pub fn instance_metadata(&self) -> Option<&str> {
        self.instance_metadata.as_deref()
    }

    /// Who is asked for the names of clouds in the place of those whom MSAL asks: an https URL without a query.
    pub fn instance_discovery_uri(&self) -> Option<&str> {
        self.instance_discovery_uri.as_deref()
    }

    /// How the client authenticates at an OpenID Connect provider, such as `private_key_jwt`; what the provider supports
    /// where absent.
    pub fn token_endpoint_auth_method(&self) -> Option<&str> {
        self.token_endpoint_auth_method.as_deref()
    }

    /// Whether client assertions for an OpenID Connect provider are addressed to its token endpoint, not to its issuer.
    pub fn assertions_for_token_endpoint(&self) -> bool {
        self.assertions_for_token_endpoint
    }

    /// Whether the region is that in which this runs, and has to be detected.
    pub fn detects_region(&self) -> bool {
        self.azure_region.as_deref() == Some(TRY_AUTO_DETECT)
    }

    /// The Azure region whose endpoints are used: letters and digits; `TryAutoDetect` for that in which this runs.
    pub fn azure_region(&self) -> Option<&str> {
        self.azure_region.as_deref()
    }

    /// Whether assertions carry the certificate (`x5c`).
    pub fn send_x5c(&self) -> bool {
        self.send_x5c
    }

    /// What the client can do, such as `cp1`.
    pub fn client_capabilities(&self) -> &[String] {
        &self.client_capabilities
    }

    /// Parameters for the query of every token request, in the order of the configuration.
    pub fn extra_query_parameters(&self) -> &[(String, String)] {
        &self.extra_query_parameters
    }

    /// Whether logs may hold user names.
    pub fn enable_pii_logging(&self) -> bool {
        self.enable_pii_logging
    }

    /// How requests travel.
    pub fn transport(&self) -> &TransportOptions {
        &self.transport
    }

    /// The second level of the token cache, if there is one.
    pub fn token_cache(&self) -> Option<&TokenCacheOptions> {
        self.token_cache.as_ref()
    }

    /// The same without a second level of the token cache: what is done with them leaves no trace in it.
    #[must_use]
    pub fn without_token_cache(mut self) -> Self {
        self.token_cache = None;
        self
    }

    /// Which hosts requests may go to.
    pub fn egress(&self) -> &Arc<EgressPolicy> {
        &self.egress
    }

    /// The flows that are bound to the certificate beside those that are in any case, where the credential asks for bound
    /// connections; each once.
    pub fn bound_flows(&self) -> &[BoundFlow] {
        &self.bound_flows
    }

    /// The audience of the tokens that agents exchange, such as `api://AzureADTokenExchange`, as it is written; absent where
    /// that of the authority's cloud is meant.
    pub fn token_exchange_url(&self) -> Option<&str> {
        self.token_exchange_url.as_deref()
    }

    /// Whether inputs that contradict each other are errors. Otherwise one of them wins, as in Microsoft.Identity.Web, with
    /// a `tracing` event.
    pub fn strict(&self) -> bool {
        self.strict
    }

    /// Whether keys for certificates of managed identities may go without attestation.
    pub fn allow_unattested_keys(&self) -> bool {
        self.allow_unattested_keys
    }

    /// The values of the application and of its credentials, and where they come from: as they are written, else from the
    /// environment of the workload, else the default, where that says more than nothing. Holds no secret.
    pub fn origins(&self) -> &[ValueOrigin] {
        &self.origins
    }

    /// The identities of the credentials as Microsoft.Identity.Web writes them, in configured order, before anything is
    /// loaded.
    pub fn credential_ids(&self) -> Vec<String> {
        self.credentials.iter().map(|credential| credential.description.id(None)).collect()
    }

    /// The tenant in which this application makes a token that is another application's assertion, by
    /// Microsoft.Identity.Web's rule: for an agent the tenant of the other's request, if that is in the same cloud; `None`
    /// is this application's own. See [`inner_tenant`].
    pub fn federated_tenant(&self, context: &AssertionContext) -> Option<String> {
        inner_tenant(context, &self.authority)
    }

    /// The application of a section, where a token of it is a credential of this one.
    pub fn linked(&self, section: &str) -> Option<&Arc<ApplicationOptions>> {
        let is_it = |(name, _): &&(String, Arc<Self>)| name.eq_ignore_ascii_case(section);
        self.linked.iter().find(is_it).map(|(_, options)| options)
    }

    /// What is allowed and probably not meant. Each was also a `tracing` event.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    pub(crate) fn credentials(&self) -> &[ConfiguredCredential] {
        &self.credentials
    }

    /// The names of the configured components that have credentials.
    pub(crate) fn credential_components(&self) -> &[String] {
        &self.credential_components
    }

    pub(crate) fn credentials_place(&self) -> &Place {
        &self.credentials_place
    }
}

/// The region that is detected, as MSAL writes it.
pub(super) const TRY_AUTO_DETECT: &str = "TryAutoDetect";
