use std::sync::Arc;

use symbolon_protocol::cloud;
use url::Url;

use crate::cache::ApplicationId;
use crate::credentials::{CredentialDescription, CredentialSource, EgressPolicy, RegionRule, is_known_host};
use crate::second_level::TokenCacheOptions;
use crate::transport::TransportOptions;

use super::authority::{self, Authority, Written};
use super::environment::Environment;
use super::error::{ConfigurationError, Place, Source, quoted};
use super::options::{ApplicationOptions, ConfiguredCredential, TRY_AUTO_DETECT};
use super::origins::{self, ValueOrigin};
use super::reader::{Findings, Located};
use super::symbolon::{AuthorityType, BoundFlow, HostSettings, UnsupportedBoundCredential};
use super::{entries, settings};

/// Builds [`ApplicationOptions`] in code. To be decided, in this order:
///
/// 1. the client id: [`ApplicationOptions::builder`];
/// 2. where its tokens come from: [`tenant_id`](Self::tenant_id), for a cloud other than the public one with
///    [`instance`](Self::instance), or else [`authority`](Self::authority);
/// 3. what it authenticates with, in order of preference: [`credential`](Self::credential).
///
/// Everything else is optional.
#[derive(Debug, Clone)]
pub struct ApplicationOptionsBuilder {
    pub(super) section: Place,
    pub(super) id: Option<ApplicationId>,
    pub(super) client_id: Option<Located<String>>,
    pub(super) instance: Option<Located<String>>,
    pub(super) tenant_id: Option<Located<String>>,
    pub(super) authority: Option<Located<String>>,
    pub(super) sign_up_sign_in_policy_id: Option<Located<String>>,
    pub(super) domain: Option<Located<String>>,
    pub(super) app_home_tenant_id: Option<Located<String>>,
    pub(super) azure_region: Option<Located<String>>,
    pub(super) credentials: Vec<Entry>,
    pub(super) send_x5c: bool,
    pub(super) client_capabilities: Vec<Located<String>>,
    pub(super) extra_query_parameters: Vec<(String, String)>,
    pub(super) enable_pii_logging: bool,
    pub(super) host: HostSettings,
    pub(super) environment: Environment,
    /// What is written, for those who ask where it comes from.
    pub(super) written: Vec<ValueOrigin>,
    pub(super) findings: Findings,
}

/// A credential and where it is configured.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) place: Place,
    pub(super) description: CredentialDescription,
    pub(super) token_exchange_url: Option<Located<String>>,
    pub(super) origins: Vec<ValueOrigin>,
}

impl Entry {
    pub(super) fn new(place: Place, description: CredentialDescription) -> Self {
        Self { place, description, token_exchange_url: None, origins: Vec::new() }
    }
}

impl ApplicationOptionsBuilder {
    pub(super) fn new(source: Source) -> Self {
        Self {
            section: Place::new(source, settings::DEFAULT_SECTION),
            id: None,
            client_id: None,
            instance: None,
            tenant_id: None,
            authority: None,
            sign_up_sign_in_policy_id: None,
            domain: None,
            app_home_tenant_id: None,
            azure_region: None,
            credentials: Vec::new(),
            send_x5c: false,
            client_capabilities: Vec::new(),
            extra_query_parameters: Vec::new(),
            enable_pii_logging: false,
            host: HostSettings::default(),
            environment: Environment::default(),
            written: Vec::new(),
            findings: Findings::default(),
        }
    }

    pub(super) fn with_client_id(client_id: String) -> Self {
        let mut builder = Self::new(Source::Builder);
        builder.client_id = Some(builder.located("ClientId", client_id));
        builder
    }

    /// The name of the application in this process. The default is `client-id@authority`; two applications with
    /// different credentials for the same registration need different names to be kept apart.
    pub fn id(mut self, id: ApplicationId) -> Self {
        self.id = Some(id);
        self
    }

    /// The directory: a GUID, a domain name, or `common`, `organizations`, `consumers`.
    pub fn tenant_id(mut self, tenant_id: impl Into<String>) -> Self {
        self.tenant_id = Some(self.located("TenantId", tenant_id.into()));
        self
    }

    /// The cloud, as an https URL. The default is `https://login.microsoftonline.com`.
    pub fn instance(mut self, instance: impl Into<String>) -> Self {
        self.instance = Some(self.located("Instance", instance.into()));
        self
    }

    /// Instance and directory in one https URL. Ignored, with a warning, beside an instance or a tenant.
    pub fn authority(mut self, authority: impl Into<String>) -> Self {
        self.authority = Some(self.located("Authority", authority.into()));
        self
    }

    /// The policy by which users of a directory for customers (B2C) sign in, such as `B2C_1_susi`: the authority is that of the
    /// policy. The default is none.
    pub fn sign_up_sign_in_policy_id(mut self, policy: impl Into<String>) -> Self {
        self.sign_up_sign_in_policy_id = Some(self.located("SignUpSignInPolicyId", policy.into()));
        self
    }

    /// The directory in which the application is at home, for its own tokens where the directory is `common` or
    /// `organizations`: a GUID or a domain name.
    pub fn app_home_tenant_id(mut self, tenant_id: impl Into<String>) -> Self {
        self.app_home_tenant_id = Some(self.located("AppHomeTenantId", tenant_id.into()));
        self
    }

    /// What kind of server the authority is. The default is what its URL says, which is never [`AuthorityType::Oidc`].
    pub fn authority_type(mut self, authority_type: AuthorityType) -> Self {
        self.host.authority_type = Some(authority_type);
        self
    }

    /// Whether an authority must be vouched for: a host that isn't well known by instance discovery, AD FS by itself
    /// (WebFinger). The default is yes.
    pub fn validate_authority(mut self, validate: bool) -> Self {
        self.host.validate_authority = Some(validate);
        self
    }

    /// The names of clouds, in the form of an answer of instance discovery, JSON: no others are known then. The default is
    /// what is well known, and what instance discovery says.
    pub fn instance_metadata(mut self, json: impl Into<String>) -> Self {
        self.host.instance_metadata = Some(Located::built("Symbolon:InstanceMetadataFile", json.into()));
        self
    }

    /// Who is asked for the names of clouds, well-known ones too: an https URL without a query. The default is the public
    /// cloud, for hosts that aren't well known.
    pub fn instance_discovery_uri(mut self, url: impl Into<String>) -> Self {
        self.host.instance_discovery_uri = Some(Located::built("Symbolon:InstanceDiscoveryUri", url.into()));
        self
    }

    /// The Azure region whose endpoints are used, such as `westeurope`; `TryAutoDetect` for that in which this runs. The
    /// default is none.
    pub fn azure_region(mut self, region: impl Into<String>) -> Self {
        self.azure_region = Some(self.located("AzureRegion", region.into()));
        self
    }

    /// Adds a credential behind those added before; the first usable one is taken.
    pub fn credential(mut self, description: CredentialDescription) -> Self {
        let place = self.section.child("ClientCredentials").child(&self.credentials.len().to_string());
        let url = description.token_exchange_url.clone();
        let located = |value| Located { value, place: place.child("TokenExchangeUrl") };
        let token_exchange_url = url.map(located);
        self.credentials.push(Entry { token_exchange_url, ..Entry::new(place, description) });
        self
    }

    /// Whether assertions carry the certificate (`x5c`), for registrations by subject name and issuer. The default is
    /// no.
    pub fn send_x5c(mut self, send_x5c: bool) -> Self {
        self.send_x5c = send_x5c;
        self
    }

    /// What the client can do, such as `cp1` for claims challenges. The default is nothing.
    pub fn client_capabilities<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        let located = |name: S| self.located("ClientCapabilities", name.into());
        self.client_capabilities = names.into_iter().map(located).collect();
        self
    }

    /// Adds a parameter to the query of every token request.
    pub fn extra_query_parameter(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.extra_query_parameters.push((name.into(), value.into()));
        self
    }

    /// Whether logs may hold user names; otherwise they are hashed. The default is no.
    pub fn enable_pii_logging(mut self, enable: bool) -> Self {
        self.enable_pii_logging = enable;
        self
    }

    /// How requests travel: proxies, roots, addresses, limits. The default is [`TransportOptions::default`].
    pub fn transport(mut self, transport: TransportOptions) -> Self {
        self.host.transport = transport;
        self
    }

    /// Adds an authority that requests may go to beside the application's own, as an https URL.
    pub fn allowed_authority(mut self, url: impl Into<String>) -> Self {
        self.host.allowed_authorities.push(Located::built("Symbolon:AllowedAuthorities", url.into()));
        self
    }

    /// How the client authenticates at an OpenID Connect provider, in the words of RFC 7591 and RFC 8705, such as
    /// `client_secret_basic`. The default is what both the provider and the credential have.
    pub fn token_endpoint_auth_method(mut self, method: impl Into<String>) -> Self {
        self.host.token_endpoint_auth_method = Some(method.into());
        self
    }

    /// Whether client assertions for an OpenID Connect provider are addressed to its token endpoint. The default is no: to
    /// its issuer, as RFC 7523 is being amended, because an assertion for an endpoint may be one that a third party named.
    pub fn assertions_for_token_endpoint(mut self, wanted: bool) -> Self {
        self.host.assertions_for_token_endpoint = wanted;
        self
    }

    /// What becomes of `UseBoundCredential` on a secret. The default is an error.
    pub fn unsupported_bound_credential(mut self, rule: UnsupportedBoundCredential) -> Self {
        self.host.unsupported_bound_credential = rule;
        self
    }

    /// The flows that are bound to the certificate beside those that are in any case, where the credential asks for bound
    /// connections. The default is none.
    pub fn bound_flows(mut self, flows: impl IntoIterator<Item = BoundFlow>) -> Self {
        self.host.bound_flows = flows.into_iter().collect();
        self
    }

    /// The audience of the tokens that agents exchange, an absolute URI such as `api://AzureADTokenExchange`. The default is
    /// that of the authority's cloud.
    pub fn token_exchange_url(mut self, url: impl Into<String>) -> Self {
        self.host.token_exchange_url = Some(Located::built("Symbolon:TokenExchangeUrl", url.into()));
        self
    }

    /// Whether inputs that contradict each other are errors. By default one of them wins, as in Microsoft.Identity.Web, with
    /// a `tracing` event.
    pub fn strict(mut self, strict: bool) -> Self {
        self.host.strict = strict;
        self
    }

    /// Whether keys for certificates of managed identities may go without attestation, as `Symbolon:AllowUnattestedKeys`
    /// says it. By default they may not.
    pub fn allow_unattested_keys(mut self, allow: bool) -> Self {
        self.host.allow_unattested_keys = allow;
        self
    }

    /// A second level of the token cache. The default is none: tokens are the process's own, and end with it.
    pub fn token_cache(mut self, options: TokenCacheOptions) -> Self {
        self.host.token_cache = Some(options);
        self
    }

    /// Checks everything.
    ///
    /// # Errors
    ///
    /// [`ConfigurationError`] with all that is wrong.
    pub fn build(mut self) -> Result<ApplicationOptions, ConfigurationError> {
        let client_id = self.checked_client_id();
        let written = Written {
            authority: self.authority.take(),
            instance: self.instance.take(),
            tenant_id: self.tenant_id.take(),
            policy: self.sign_up_sign_in_policy_id.take(),
            domain: self.domain.take(),
        };
        let (environment, section) = (&self.environment, &self.section);
        let authority = match self.host.authority_type {
            Some(AuthorityType::Oidc) => authority::of_provider(written, section, &mut self.findings),
            _ => authority::resolve(written, environment, section, &mut self.findings),
        };
        let app_home_tenant_id = self.checked_home();
        let azure_region = self.checked_region();
        self.check_instance_metadata(azure_region.as_deref());
        let discovery = self.checked_discovery_uri();
        let token_exchange_url = self.checked_exchange_url();
        let additions = self.allowed_origins();
        let cloud_audience =
            authority.as_ref().map(|authority| cloud::token_exchange_audience(authority.origin().0));
        let values = self.values(client_id.as_ref(), authority.as_ref(), cloud_audience.flatten());
        let credentials = self.checked_credentials(cloud_audience.flatten(), authority.is_some());
        let client_capabilities = self.checked_capabilities();
        let (Some(client_id), Some(authority), true) =
            (client_id, authority, self.findings.problems.is_empty())
        else {
            return Err(ConfigurationError::new(self.findings.problems));
        };
        for warning in &self.findings.warnings {
            tracing::warn!(place = %warning.place, "configuration: {}", warning.message);
        }
        let origins =
            std::iter::once(authority.origin()).chain(additions.iter().map(|(h, p)| (h.as_str(), *p)));
        let egress = EgressPolicy::new(origins, azure_region.as_deref().map(RegionRule::of));
        let (host, port) = authority.origin();
        let is_provider = self.host.authority_type == Some(AuthorityType::Oidc);
        let asks_for_instance = self.host.instance_metadata.is_none() && !is_provider && !is_known_host(host);
        let egress = match &discovery {
            Some(url) => {
                authority::origin(url).map_or(egress.clone(), |(host, port)| egress.with_host(host, port))
            }
            // Instance discovery asks the public cloud about hosts that aren't well known.
            None if asks_for_instance => egress.with_host(DISCOVERY_HOST, port),
            None => egress,
        };
        let Authority { url, instance, tenant_id, .. } = authority;
        Ok(ApplicationOptions {
            id: self.id.unwrap_or_else(|| derived_id(&client_id.value, &url)),
            client_id: client_id.value,
            authority: url,
            instance,
            tenant_id,
            app_home_tenant_id,
            authority_type: self.host.authority_type,
            skip_authority_validation: self.host.validate_authority == Some(false),
            instance_metadata: self.host.instance_metadata.map(|metadata| metadata.value),
            instance_discovery_uri: discovery.map(String::from),
            token_endpoint_auth_method: self.host.token_endpoint_auth_method,
            assertions_for_token_endpoint: self.host.assertions_for_token_endpoint,
            azure_region,
            credentials_place: self.section.child("ClientCredentials"),
            credentials,
            send_x5c: self.send_x5c,
            client_capabilities,
            extra_query_parameters: self.extra_query_parameters,
            enable_pii_logging: self.enable_pii_logging,
            transport: self.host.transport,
            token_cache: self.host.token_cache,
            egress: Arc::new(egress),
            bound_flows: self.host.bound_flows.into_iter().collect(),
            token_exchange_url,
            strict: self.host.strict,
            allow_unattested_keys: self.host.allow_unattested_keys,
            origins: values,
            warnings: self.findings.warnings,
            credential_components: self.host.credential_providers.into_keys().collect(),
            linked: Vec::new(),
            settings: None,
        })
    }

    fn located(&self, key: &str, value: String) -> Located<String> {
        Located { value, place: self.section.child(key) }
    }

    /// Every value with its origin: as it is written, else as it was filled in.
    fn values(
        &self,
        client_id: Option<&Located<String>>,
        authority: Option<&Authority>,
        audience: Option<&str>,
    ) -> Vec<ValueOrigin> {
        let key = |name: &str| self.section.child(name);
        let own = client_id.map(|id| ValueOrigin::new(&key("ClientId"), id.clone())).into_iter();
        let of_authority = authority.into_iter().flat_map(|authority| &authority.origins);
        let of_authority = of_authority.map(|(name, value)| ValueOrigin::new(&key(name), value.clone()));
        let filled_in = self.credentials.iter().flat_map(|entry| entry.origins.iter().cloned());
        let of_cloud = audience.map(|url| Located { value: url.to_owned(), place: Place::default() });
        let ours = self.host.token_exchange_url.as_ref().filter(|url| !url.value.is_empty());
        let audience = ours.or(of_cloud.as_ref());
        let entries = self.credentials.iter();
        let defaults =
            entries.flat_map(|entry| origins::defaults(&entry.place, &entry.description, audience));
        let send_x5c = ValueOrigin::default(&key("SendX5C"), self.send_x5c.to_string());
        let all = own.chain(of_authority).chain(self.written.iter().cloned()).chain([send_x5c]);
        origins::ordered(all.chain(filled_in).chain(defaults))
    }

    fn checked_client_id(&mut self) -> Option<Located<String>> {
        const ACCEPTED: &str = "the application's client id";
        let Some(client_id) = self.client_id.take().or_else(|| self.environment.client_id.clone()) else {
            self.findings.problem(self.section.child("ClientId"), "nothing", ACCEPTED);
            return None;
        };
        if client_id.value.trim().is_empty() {
            self.findings.problem(client_id.place, quoted(&client_id.value), ACCEPTED);
            return None;
        }
        Some(client_id)
    }

    fn checked_home(&mut self) -> Option<String> {
        let home = self.app_home_tenant_id.take().filter(|home| !home.value.is_empty())?;
        authority::checked_tenant(&home.value, home.place, &mut self.findings).flatten()
    }

    /// Our own setting, else that of the first credential that has one.
    fn checked_exchange_url(&mut self) -> Option<String> {
        let used = self.credentials.iter().filter(|entry| !entry.description.skip);
        let of_credentials = used.filter_map(|entry| entry.token_exchange_url.as_ref());
        let mut written = self.host.token_exchange_url.iter().chain(of_credentials);
        let url = written.find(|url| !url.value.is_empty())?.clone();
        let is_uri = url.value.bytes().all(|byte| byte.is_ascii_graphic()) && Url::parse(&url.value).is_ok();
        if !is_uri {
            let accepted = "an absolute URI, such as \"api://AzureADTokenExchange\"";
            self.findings.problem(url.place, quoted(&url.value), accepted);
        }
        is_uri.then_some(url.value)
    }

    /// The configured region, else the one that the environment forces; none where either forbids it. As MSAL does.
    fn checked_region(&mut self) -> Option<String> {
        let region = self.azure_region.take().filter(|region| !region.value.is_empty());
        let region = region.or_else(|| self.environment.forced_region.clone())?;
        let name = region.value;
        if name.eq_ignore_ascii_case("DisableMsalForceRegion") || self.environment.disabled_region.is_some() {
            return None;
        }
        if name.eq_ignore_ascii_case(TRY_AUTO_DETECT) {
            return Some(TRY_AUTO_DETECT.to_owned());
        }
        if !name.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            let accepted = "the name of a region in letters and digits, such as \"westeurope\"";
            self.findings.problem(region.place, quoted(&name), accepted);
            return None;
        }
        Some(name)
    }

    /// Who has names of clouds of their own, or asks for them elsewhere, says it once, and says nothing of regions, as MSAL
    /// has it. A table of one's own can't be validated.
    fn check_instance_metadata(&mut self, region: Option<&str>) {
        let (table, uri) = (self.host.instance_metadata.as_ref(), self.host.instance_discovery_uri.as_ref());
        let Some(place) = table.or(uri).map(|written| written.place.clone()) else { return };
        let validates = table.is_some() && self.host.validate_authority == Some(true);
        for (is_wrong, found, code) in [
            (
                region.is_some(),
                "names of clouds beside a region",
                "region_discovery_with_custom_instance_metadata",
            ),
            (
                table.is_some() && uri.is_some(),
                "instance metadata beside InstanceDiscoveryUri",
                "custom_metadata_instance_or_uri",
            ),
            (
                validates,
                "instance metadata beside ValidateAuthority",
                "validate_authority_or_custom_instance_metadata",
            ),
        ] {
            if is_wrong {
                self.findings.problem(place.clone(), found, format!("one of them ({code})"));
            }
        }
    }

    fn checked_discovery_uri(&mut self) -> Option<Url> {
        let written = self.host.instance_discovery_uri.take()?;
        let url = authority::https_url(&written.value);
        if url.is_none() {
            let accepted = "an https URL without a query, such as \"https://login.contoso.com/common/discovery/instance\"";
            self.findings.problem(written.place, quoted(&written.value), accepted);
        }
        url
    }

    fn checked_capabilities(&mut self) -> Vec<String> {
        let mut names = Vec::new();
        for name in std::mem::take(&mut self.client_capabilities) {
            match name.value.is_empty() {
                true => self.findings.problem(
                    name.place,
                    "an empty string",
                    "the name of a capability, such as \"cp1\"",
                ),
                false => names.push(name.value),
            }
        }
        names
    }

    fn allowed_origins(&mut self) -> Vec<(String, u16)> {
        let mut origins = Vec::new();
        for written in std::mem::take(&mut self.host.allowed_authorities) {
            let url: Option<Url> = authority::https_url(&written.value);
            match url.as_ref().and_then(authority::origin) {
                Some((host, port)) => origins.push((host.to_owned(), port)),
                None => {
                    let accepted = "an https URL, such as \"https://login.microsoftonline.us\"";
                    self.findings.problem(written.place, quoted(&written.value), accepted);
                }
            }
        }
        origins
    }

    fn checked_credentials(
        &mut self,
        cloud_audience: Option<&str>,
        cloud_is_known: bool,
    ) -> Vec<ConfiguredCredential> {
        let mut credentials = Vec::new();
        let audience = self.host.token_exchange_url.as_ref().map(|url| url.value.clone());
        let audience = audience.filter(|url| !url.is_empty()).or_else(|| cloud_audience.map(str::to_owned));
        for Entry { place, mut description, token_exchange_url, .. } in std::mem::take(&mut self.credentials)
        {
            if !description.skip {
                self.check_binding(&place, &mut description);
                let own = token_exchange_url.map(|url| url.value).filter(|url| !url.is_empty());
                let audience = own.or_else(|| audience.clone());
                if !exchange(&mut description.source, audience.as_deref()) && cloud_is_known {
                    let accepted = "an absolute URI, such as \"api://AzureADTokenExchange\"; none is known for this cloud";
                    self.findings.problem(place.child("TokenExchangeUrl"), "nothing", accepted);
                }
            }
            let name = entries::name(&place, description.source_type());
            credentials.push(ConfiguredCredential { name: name.into(), place, description });
        }
        credentials
    }

    /// What an entry says about bound connections, held against what it can.
    fn check_binding(&mut self, entry: &Place, description: &mut CredentialDescription) {
        let is_secret = matches!(
            description.source,
            CredentialSource::ClientSecret(_) | CredentialSource::ClientSecretFile(_)
        );
        let is_file = matches!(description.source, CredentialSource::SignedAssertionFile(_));
        let is_bound = description.use_bound_credential == Some(true);
        let prefers = description.prefer_bound_credential;
        if is_bound && prefers {
            self.findings.problem(
                entry.child("PreferBoundCredential"),
                "true beside UseBoundCredential, which never gives way",
                "one of them",
            );
        }
        if is_bound && is_secret {
            self.bound_secret(entry);
            description.use_bound_credential = None;
        }
        if is_bound && is_file {
            self.findings.problem(
                entry.child("UseBoundCredential"),
                "true on a SignedAssertionFilePath, whose assertion is bound to no certificate (unbindable-credential, \
                 IDW10115 in Microsoft.Identity.Web)",
                "a certificate, a managed identity or another application, or false",
            );
        }
        if prefers && (is_secret || is_file) {
            description.prefer_bound_credential = false;
            let source_type = description.source_type();
            let message = format!("has no effect: no connection can be bound to a {source_type}");
            self.findings.warning(entry.child("PreferBoundCredential"), message);
        }
        if description.omit_assertion_when_bound && !is_bound && !prefers {
            let message = "has no effect without UseBoundCredential or PreferBoundCredential";
            self.findings.warning(entry.child("OmitAssertionWhenBound"), message);
        }
    }

    fn bound_secret(&mut self, entry: &Place) {
        let place = entry.child("UseBoundCredential");
        match self.host.unsupported_bound_credential {
            UnsupportedBoundCredential::Error => self.findings.problem(
                place,
                "true on a ClientSecret, which no connection can be bound to",
                "a certificate, or false, or Symbolon:UnsupportedBoundCredential set to \"ignore-with-event\"",
            ),
            UnsupportedBoundCredential::IgnoreWithEvent => {
                self.findings.warning(place, "is ignored: no connection can be bound to a ClientSecret");
            }
        }
    }
}

/// Tells a source that exchanges tokens what they are for. `false` when it needs to know and nobody says.
fn exchange(source: &mut CredentialSource, audience: Option<&str>) -> bool {
    match source {
        CredentialSource::ManagedIdentity(identity) => {
            identity.resource = audience.map(|audience| cloud::exchange_resource(audience).to_owned());
            audience.is_some()
        }
        CredentialSource::OtherApplication(other) => {
            other.scope = audience.map(cloud::exchange_scope);
            audience.is_some()
        }
        _ => true,
    }
}

/// `client-id@login.microsoftonline.com/tenant`.
fn derived_id(client_id: &str, authority: &str) -> ApplicationId {
    let authority = authority.strip_prefix("https://").unwrap_or(authority);
    ApplicationId::new(format!("{client_id}@{authority}"))
}

/// Where instance discovery asks about hosts that it doesn't know.
const DISCOVERY_HOST: &str = "login.microsoftonline.com";
