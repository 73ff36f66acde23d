//! A token request that was understood: everything about it that doesn't change while it is served.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use crate::assertion;
use crate::authority::{Authority, AuthorityKind};
use crate::cache::{AccessTokenClass, AccessTokenItem, Components, RefreshTokenClass, Subject};
use crate::claims;
use crate::cloud;
use crate::error::{Error, ErrorClass, ErrorKind};
use crate::flow::Asked;
use crate::grant::Grant;
use crate::identity::AssertionSubject;
use crate::instance::Instance;
use crate::managed_identity;
use crate::parameters::{
    body_parameters, components, headers, partitions, present, query_parameters, require_encoded, take,
};
use crate::pop::PopKey;
use crate::random;
use crate::region::Region;
use crate::request::{
    Application, CachePartition, CacheRefreshReason, Context, Flow, ManagedIdentityId, Options, Request,
    Scheme,
};
use crate::scopes::Scopes;
use crate::target;
use crate::telemetry::{ApiId, TelemetryTokenType};
use crate::user::User;

/// One token that is asked for, checked and in the form in which it is used.
#[derive(Clone)]
pub(crate) struct Plan {
    /// The registration.
    pub(crate) application: Application,
    /// The client that asks: the registration's own, or its agent's.
    pub(crate) client_id: String,
    /// The authority as the application is configured.
    pub(crate) configured_authority: Authority,
    /// The authority with the request's own tenant. Look-ups go by this one; its host may not be the one that is asked.
    pub(crate) authority: Authority,
    /// The region whose endpoints are used.
    pub(crate) region: Option<Region>,
    /// Whether that has to be detected.
    pub(crate) detects_region: bool,
    /// The names of the cloud, where the application brings them.
    pub(crate) instance: Option<Instance>,
    /// What the token is for.
    pub(crate) scopes: Scopes,
    /// What it is bound to.
    pub(crate) binding: TokenBinding,
    /// How the client proves itself.
    pub(crate) proof: ProofSource,
    /// What of the cache may answer.
    pub(crate) reads: Reads,
    /// What brings the token when the cache has none; absent where only the cache can.
    pub(crate) grant: Option<Grant>,
    /// Whom it speaks for, and so where it is kept.
    pub(crate) owner: Owner,
    /// Where a request for it counts in the authority's statistics.
    pub(crate) api_id: ApiId,
    /// The `claims` parameter.
    pub(crate) claims: Option<String>,
    /// The claims of a challenge that are part of it.
    pub(crate) challenge: Option<String>,
    /// The parameters that client credentials add, in their order.
    pub(crate) flow_parameters: Vec<(&'static str, String)>,
    /// Parameters for the query.
    pub(crate) query: Vec<(String, String)>,
    /// Those that are percent-encoded already.
    pub(crate) encoded_query: Vec<(String, String)>,
    /// Parameters for the body.
    pub(crate) body: Vec<(String, String)>,
    /// Headers.
    pub(crate) headers: Vec<(String, String)>,
    /// The library on whose behalf the request is made.
    pub(crate) caller_sdk_id: Option<String>,
    /// The version of that library.
    pub(crate) caller_sdk_version: Option<String>,
    /// Whether the certificate is managed for that library, in its words.
    pub(crate) managed_certificate: Option<String>,
    /// The FMI path that the credential's own assertion shall carry.
    pub(crate) client_assertion_fmi_path: Option<String>,
    /// The claims that assertions shall carry which are signed with the credential's certificate: a JSON object.
    pub(crate) extra_assertion_claims: Option<String>,
    /// Whether such assertions carry the chain.
    pub(crate) send_x5c: bool,
    /// A GUID.
    pub(crate) correlation_id: String,
    /// Whether the claims of a challenge are to be met.
    pub(crate) is_challenged: bool,
    /// Why the cache is looked past, where it is.
    pub(crate) bypass: Option<CacheRefreshReason>,
    /// The SHA-256 of a token that mustn't be used again, in lower-case hexadecimal.
    pub(crate) token_to_refresh: Option<String>,
    /// Whether the same question may be answered with the same token.
    pub(crate) is_repeatable: bool,
    /// What sets the token apart, in MSAL's names.
    pub(crate) components: Components,
    /// What sets its refresh token apart.
    pub(crate) refresh_components: Components,
    /// The same as `components` with a mark on each parameter of where it goes: a parameter of the query isn't one of
    /// the body.
    marked_components: Components,
    /// The digest that tells flights past the cache apart.
    bypass_digest: Option<String>,
    /// Whether the token belongs to an agent's chain: nothing else finds it.
    for_agent: bool,
}

/// What a token is bound to.
#[derive(Clone, Debug)]
pub(crate) enum TokenBinding {
    Bearer,
    /// The certificate of the TLS handshake.
    Certificate,
    /// The certificate of the TLS handshake, if the credential at hand binds its connections; else nothing.
    CertificateIfBound,
    /// A key with which the client signs HTTP requests.
    SigningKey(PopKey),
}

impl TokenBinding {
    /// The scheme of the `authorization` header; the token type that the authority must answer with, but for case.
    pub(crate) fn token_type(&self) -> &'static str {
        match self {
            TokenBinding::Bearer | TokenBinding::CertificateIfBound => "Bearer",
            TokenBinding::Certificate => "mtls_pop",
            TokenBinding::SigningKey(_) => "PoP",
        }
    }

    /// The scheme whose rules choose how the client authenticates.
    pub(crate) fn scheme(&self) -> Scheme {
        match self {
            TokenBinding::Certificate => Scheme::MtlsPop,
            _ => Scheme::Bearer,
        }
    }

    pub(crate) fn telemetry(&self) -> TelemetryTokenType {
        match self {
            TokenBinding::Bearer | TokenBinding::CertificateIfBound => TelemetryTokenType::Bearer,
            TokenBinding::Certificate => TelemetryTokenType::MtlsPop,
            TokenBinding::SigningKey(_) => TelemetryTokenType::Pop,
        }
    }
}

/// How the client proves itself.
#[derive(Clone, Debug)]
pub(crate) enum ProofSource {
    /// By the application's credential.
    Credential {
        /// Whether requests are bound to its certificate, where it asks for that.
        binds: bool,
    },
    /// By the token that the blueprint was given for its agent.
    Agent(Agent),
    /// By where it runs: the platform gives the token itself, for this identity.
    Platform(ManagedIdentityId),
}

/// An agent, and how the requests of its chain travel.
#[derive(Clone, Debug)]
pub(crate) struct Agent {
    pub(crate) id: String,
    pub(crate) chain: Chain,
}

/// Which of an agent's requests are bound to the blueprint's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Chain {
    /// The first, where the credential asks for that. The agent's own go to the login host.
    First,
    /// All, where the credential asks for that.
    All,
    /// All: the token shall be bound itself.
    Bound,
}

/// What of the cache may answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reads {
    /// Nothing.
    Nothing,
    /// An access token.
    AccessToken,
    /// An access token, else a refresh token brings one.
    AnyToken,
}

/// Whom a token speaks for.
#[derive(Clone, Debug)]
pub(crate) enum Owner {
    Application,
    /// An account; absent until the authority says which.
    Account(Option<String>),
    /// The user of an assertion or of a long-running process.
    Session(Session),
    /// A user of an agent.
    AgentUser(User),
}

impl Owner {
    /// Whom tokens are looked up for; nobody until it is known.
    pub(crate) fn subject(&self) -> Option<Subject<'_>> {
        match self {
            Owner::Application => Some(Subject::Application),
            Owner::Account(id) => id.as_deref().map(Subject::Account),
            Owner::Session(session) => Some(Subject::Session(&session.key)),
            Owner::AgentUser(User::ObjectId(id)) => Some(Subject::ObjectId(id)),
            Owner::AgentUser(User::Username(name)) => Some(Subject::Username(name)),
        }
    }

    /// The partition of a user's assertion or of a long-running process, where it has one.
    pub(crate) fn session(&self) -> Option<&Session> {
        match self {
            Owner::Session(session) => Some(session),
            _ => None,
        }
    }

    /// Whether a cached token speaks for it, as far as the token says.
    pub(crate) fn is_of(&self, item: &AccessTokenItem) -> bool {
        let is_of_session = item.user_assertion_hash.is_some();
        match self {
            Owner::Application => item.home_account_id.is_empty() && !is_of_session,
            Owner::Account(id) => id.as_ref() == Some(&item.home_account_id) && !is_of_session,
            Owner::Session(session) => item.user_assertion_hash.as_ref() == Some(&session.key),
            // Only its keys say by which names an agent's user goes.
            Owner::AgentUser(_) => !is_of_session,
        }
    }
}

/// A partition of its own for what one user's assertion brought.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    /// The assertion's hash, or the key of the long-running process.
    pub(crate) key: String,
    /// Whether it is a long-running process, which keeps a refresh token.
    pub(crate) is_long_running: bool,
    /// Where the process is being initiated.
    pub(crate) start: Option<Start>,
}

/// The initiation of a long-running process.
#[derive(Clone, Debug)]
pub(crate) struct Start {
    /// Whose assertion it is, where it says so.
    pub(crate) subject: Option<AssertionSubject>,
    /// The assertion's hash: the key of its own.
    pub(crate) own_key: String,
}

/// What an acquisition for an agent needs before it can ask for the token itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// The token by which the agent proves itself, given to its blueprint.
    AgentAssertion,
    /// The token by which the agent names its user.
    UserCredential,
}

impl Plan {
    /// Checks a request.
    ///
    /// # Errors
    ///
    /// Everything that can be known to be wrong before a credential is looked at.
    pub(crate) fn new(request: Request, context: &Context) -> Result<Plan, Error> {
        let correlation_id = correlation_id(request.options.correlation_id.as_deref(), context)?;
        Plan::with_correlation_id(request, context, correlation_id.clone())
            .map_err(|error| Error { correlation_id, ..error })
    }

    fn with_correlation_id(
        request: Request,
        context: &Context,
        correlation_id: String,
    ) -> Result<Plan, Error> {
        let (request, application) = match &request.flow {
            Flow::ForManagedIdentity(flow) => {
                let identity = flow.identity.clone();
                managed_identity::prepare(&identity, request, &context.application)?
            }
            _ => (request, context.application.clone()),
        };
        let Request { flow, scopes, scheme, options } = request;
        let configured_authority = parse_authority(&application)?;
        let authority = target::requested(&application, &configured_authority, &options)?;
        let (region, detects_region) = region(&application, &authority)?;
        let instance = instance(&application, &authority)?;
        let challenge = present(options.claims.as_deref());
        let client_claims = present(options.client_claims.as_deref());
        let claims = merged_claims(&application, challenge, client_claims)?;
        let token_to_refresh = token_to_refresh(&options)?;

        let Options { extra_query_parameters, extra_body_parameters, extra_headers, .. } = &options;
        let mut query = query_parameters(extra_query_parameters)?;
        let caller_sdk_id = take(&mut query, "caller-sdk-id");
        let caller_sdk_version = take(&mut query, "caller-sdk-ver");
        let managed_certificate = take(&mut query, "ManagedCert");
        let encoded_query = query_parameters(&options.encoded_query_parameters)?;
        require_encoded(&encoded_query)?;
        for (name, _) in &encoded_query {
            take(&mut query, name);
        }
        let body = body_parameters(extra_body_parameters, &[&query[..], &encoded_query].concat())?;
        let headers = headers(extra_headers)?;
        let client_assertion_fmi_path = present(options.client_assertion_fmi_path.as_deref());
        let extra_assertion_claims = present(options.extra_client_assertion_claims.as_deref());
        extra_assertion_claims.map_or(Ok(()), assertion::check_extra)?;

        let asked = Asked::new(flow, Scopes::new(scopes), &application)?;
        let binding = binding(scheme, &options, &asked)?;
        let mut partitions = partitions(&options.cache_partitions, [&query, &encoded_query, &body])?;
        let fmi_path = client_assertion_fmi_path.or(asked.agent());
        partitions.extend(fmi_path.map(|path| ("credential_fmi_path".to_string(), path.to_string())));
        partitions.extend(extra_assertion_claims.map(extra_claims_partition));
        let components = |marks| {
            components(
                &asked.flow_parameters,
                client_claims,
                &partitions,
                marks,
                [&query, &encoded_query, &body],
            )
        };
        let (components, mut marked_components) = (components(["", "", ""]), components(["?", "?%", "="]));
        if let ProofSource::Platform(identity) = &asked.proof {
            // Neither a parameter nor a partition can have this name.
            marked_components.insert("", identity.kind());
        }
        let bypass = if options.force_refresh || challenge.is_some() && token_to_refresh.is_none() {
            Some(CacheRefreshReason::ForceRefreshOrClaims)
        } else {
            context.proactive_refresh.then_some(CacheRefreshReason::ProactivelyRefreshed)
        };
        let mut plan = Plan {
            is_challenged: challenge.is_some(),
            is_repeatable: challenge.is_none() && token_to_refresh.is_none() && asked.reads != Reads::Nothing,
            bypass_digest: bypass.map(|_| digest([challenge.unwrap_or_default()])),
            client_assertion_fmi_path: client_assertion_fmi_path.map(String::from),
            extra_assertion_claims: extra_assertion_claims.map(String::from),
            send_x5c: options.send_x5c.unwrap_or(application.send_x5c),
            challenge: challenge.map(String::from),
            refresh_components: refresh_partitions(&options.cache_partitions),
            for_agent: asked.agent().is_some(),
            client_id: asked.agent().map_or_else(|| application.client_id.clone(), String::from),
            application,
            configured_authority,
            authority,
            region,
            detects_region,
            instance,
            scopes: asked.scopes,
            binding,
            proof: asked.proof,
            reads: asked.reads,
            grant: asked.grant,
            owner: asked.owner,
            api_id: asked.api_id,
            claims,
            flow_parameters: asked.flow_parameters,
            query,
            encoded_query,
            body,
            headers,
            caller_sdk_id,
            caller_sdk_version,
            managed_certificate,
            correlation_id,
            bypass,
            token_to_refresh,
            components,
            marked_components,
        };
        plan.go_home();
        plan.go_bound(scheme);
        Ok(plan)
    }

    /// Without a tenant of their own, silent requests go to the account's home.
    fn go_home(&mut self) {
        if let (Owner::Account(Some(id)), true) = (&self.owner, self.authority.is_multi_tenant())
            && let Some((_, home)) = id.split_once('.').filter(|(_, home)| !home.is_empty())
        {
            self.authority = self.authority.with_tenant(home, false);
        }
    }

    /// A token of an agent can be bound only if its whole chain is.
    fn go_bound(&mut self, scheme: Scheme) {
        if let (Scheme::MtlsPop, ProofSource::Agent(agent)) = (scheme, &mut self.proof) {
            agent.chain = Chain::Bound;
        }
    }

    /// What an agent needs first: one more token, for the exchange.
    ///
    /// Capabilities, correlation id, tenant, query and what client assertions shall carry go along; the claims of a
    /// challenge, a forced refresh and everything else concern the token that is asked for alone.
    ///
    /// # Errors
    ///
    /// `token_exchange_url_required` where the audience of such tokens is neither configured nor known for the cloud.
    pub(crate) fn prerequisite(&self, agent: &Agent, need: Need) -> Result<Plan, Error> {
        let scopes = Scopes::new([cloud::exchange_scope(&self.exchange_audience()?)]);
        let (client_id, proof, flow_parameters, partitions) = match need {
            Need::AgentAssertion => (
                self.application.client_id.clone(),
                ProofSource::Credential { binds: true },
                vec![("fmi_path", agent.id.clone())],
                self.extra_assertion_claims.as_deref().map(extra_claims_partition).into_iter().collect(),
            ),
            Need::UserCredential => (
                agent.id.clone(),
                self.proof.clone(),
                vec![],
                vec![("credential_fmi_path".to_string(), agent.id.clone())],
            ),
        };
        let components = |marks| {
            components(&flow_parameters, None, &partitions, marks, [&self.query, &self.encoded_query, &[]])
        };
        Ok(Plan {
            components: components(["", "", ""]),
            marked_components: components(["?", "?%", "="]),
            refresh_components: Components::new(),
            client_id,
            scopes,
            binding: match (need, agent.chain) {
                (Need::UserCredential, _) | (_, Chain::First) => TokenBinding::Bearer,
                (Need::AgentAssertion, Chain::All) => TokenBinding::CertificateIfBound,
                (Need::AgentAssertion, Chain::Bound) => TokenBinding::Certificate,
            },
            proof,
            reads: Reads::AccessToken,
            grant: Some(Grant::ClientCredentials),
            owner: Owner::Application,
            api_id: ApiId::Client,
            challenge: None,
            claims: merged_claims(&self.application, None, None)?,
            flow_parameters,
            body: Vec::new(),
            headers: Vec::new(),
            client_assertion_fmi_path: None,
            for_agent: true,
            is_challenged: false,
            bypass: None,
            bypass_digest: None,
            token_to_refresh: None,
            is_repeatable: false,
            ..self.clone()
        })
    }

    fn exchange_audience(&self) -> Result<String, Error> {
        let configured = present(self.application.token_exchange_url.as_deref()).map(String::from);
        let known = || cloud::token_exchange_audience(self.authority.host_and_port().0).map(String::from);
        configured.or_else(known).ok_or_else(|| {
            Error::invalid_request(
                "token_exchange_url_required",
                format!(
                    "Agents exchange tokens for an audience that isn't known for {}; configure it \
                     (Symbolon:TokenExchangeUrl), such as api://AzureADTokenExchange.",
                    self.authority.host()
                ),
            )
        })
    }

    /// Keeps tokens of keys that were attested apart from others, as MSAL does.
    pub(crate) fn set_attested(&mut self, attested: bool) {
        let value = if attested { "1" } else { "0" };
        self.components.insert("mi_att", value);
        self.marked_components.insert("mi_att", value);
    }

    /// The agent that asks, if it is one.
    pub(crate) fn agent(&self) -> Option<&Agent> {
        match &self.proof {
            ProofSource::Agent(agent) => Some(agent),
            ProofSource::Credential { .. } | ProofSource::Platform(_) => None,
        }
    }

    /// The class of access tokens that answer the request, for one of the subjects it is kept under.
    pub(crate) fn class<'a>(
        &'a self,
        subject: Subject<'a>,
        environment: &'a str,
        realm: &'a str,
        key_id: Option<&'a str>,
    ) -> AccessTokenClass<'a> {
        AccessTokenClass {
            subject,
            for_agent: self.for_agent,
            environment,
            client_id: &self.client_id,
            realm,
            token_type: self.binding.token_type(),
            key_id,
            components: &self.marked_components,
        }
    }

    /// The class of refresh tokens that bring what was asked for.
    pub(crate) fn refresh_class<'a>(
        &'a self,
        subject: Subject<'a>,
        environment: &'a str,
    ) -> RefreshTokenClass<'a> {
        RefreshTokenClass {
            subject,
            for_agent: self.for_agent,
            environment,
            client_id: &self.client_id,
            components: &self.refresh_components,
        }
    }

    /// The directory of the authority, by which access tokens are looked up.
    pub(crate) fn realm(&self) -> &str {
        self.authority.tenant().unwrap_or_default()
    }

    /// The error where the cache has nothing and nothing else can bring a token.
    pub(crate) fn nothing_cached(&self) -> Error {
        match &self.owner {
            Owner::Session(_) => Error::new(
                ErrorKind::InteractionRequired,
                "obo_cache_key_not_in_cache_error",
                "The long-running process of this session key isn't known, or was stopped; initiate it with the user's \
                 token.",
            ),
            _ => ui_required(
                "no_tokens_found",
                "The cache has no token of this user that could be used or renewed; the user must sign in.",
            ),
        }
    }

    /// The name of the flight that brings the token: requests share it when the same answer serves them.
    ///
    /// `keys` are those under which the token is looked for; `again` sets apart what looks past the cache because what
    /// the cache holds can't be used.
    pub(crate) fn flight(&self, keys: &[String], again: bool) -> String {
        let bypass = self.bypass_digest.as_deref().unwrap_or(if again { "again" } else { "" });
        digest(core::iter::once(bypass).chain(keys.iter().map(String::as_str)))
    }
}
pub(crate) fn correlation_id(given: Option<&str>, context: &Context) -> Result<String, Error> {
    let Some(id) = present(given) else {
        return Ok(random::uuid(&context.seed, random::Purpose::CorrelationId, 0));
    };
    let dashes = [8, 13, 18, 23];
    let is_guid = id.len() == 36
        && id.bytes().enumerate().all(|(at, byte)| match dashes.contains(&at) {
            true => byte == b'-',
            false => byte.is_ascii_hexdigit(),
        });
    if is_guid {
        return Ok(id.to_ascii_lowercase());
    }
    Err(Error::invalid_request(
        "invalid_correlation_id",
        format!("{id:?} is no correlation id; a GUID such as 6347d33d-941a-4c35-9912-a9cf54fb1b3e is."),
    ))
}

/// The explicit region, and whether it is to be detected. Only Entra ID's own authorities have regional endpoints.
fn region(application: &Application, authority: &Authority) -> Result<(Option<Region>, bool), Error> {
    let Some(name) = present(application.azure_region.as_deref()) else { return Ok((None, false)) };
    if authority.kind() != AuthorityKind::Aad || name.eq_ignore_ascii_case("DisableMsalForceRegion") {
        return Ok((None, false));
    }
    if name.eq_ignore_ascii_case("TryAutoDetect") {
        return Ok((None, true));
    }
    Region::parse(name)
        .map(|region| (Some(region), false))
        .map_err(|error| Error::invalid_request("invalid_region", format!("AzureRegion: {error}.")))
}

/// The entry of the authority in the application's own table of clouds, where it brings one.
fn instance(application: &Application, authority: &Authority) -> Result<Option<Instance>, Error> {
    let table = present(application.instance_metadata.as_deref());
    let Some(table) = table.filter(|_| authority.kind() == AuthorityKind::Aad) else { return Ok(None) };
    let (host, _) = authority.host_and_port();
    Instance::of_answer(table.as_bytes(), host).map(Some).ok_or_else(|| {
        let message = format!("The application's own instance metadata has no entry for {host}; add one.");
        Error::invalid_request("invalid-custom-instance-metadata", message)
    })
}

pub(crate) fn parse_authority(application: &Application) -> Result<Authority, Error> {
    let (url, wanted) = (&application.authority, application.authority_type);
    let parsed = match wanted {
        Some(AuthorityKind::Oidc) => Authority::oidc(url),
        _ => Authority::parse(url),
    };
    let authority = parsed.map_err(|error| Error::invalid_request("invalid_authority", error.to_string()))?;
    match wanted {
        Some(wanted) if wanted != authority.kind() => Err(Error::invalid_request(
            "authority_type_mismatch",
            format!(
                "{url} is an authority of the type {:?}, and the type {wanted:?} is configured.",
                authority.kind()
            ),
        )),
        _ => Ok(authority),
    }
}

pub(crate) fn merged_claims(
    application: &Application,
    challenge: Option<&str>,
    client_claims: Option<&str>,
) -> Result<Option<String>, Error> {
    claims::merge(&application.client_capabilities, challenge, client_claims)
        .map_err(|error| Error::invalid_request("invalid_json_claims_format", error.to_string()))
}

fn token_to_refresh(options: &Options) -> Result<Option<String>, Error> {
    let Some(hash) = present(options.access_token_sha256_to_refresh.as_deref()) else { return Ok(None) };
    if options.force_refresh {
        return Err(Error::invalid_request(
            "force_refresh_and_token_hash_not_compatible",
            "A forced refresh uses no cached token, and the hash of a token says which one not to use; ask for one of them.",
        ));
    }
    if hash.len() != 64 || !hash.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(Error::invalid_request(
            "invalid_token_hash",
            "The hash of the token to refresh isn't a SHA-256 in hexadecimal: 64 digits.",
        ));
    }
    Ok(Some(hash.to_ascii_lowercase()))
}

fn binding(scheme: Scheme, options: &Options, asked: &Asked) -> Result<TokenBinding, Error> {
    let key = present(options.pop_public_key.as_deref());
    match (scheme, key) {
        (Scheme::Bearer, None) => Ok(TokenBinding::Bearer),
        (Scheme::Bearer, Some(key)) => PopKey::parse(key).map(TokenBinding::SigningKey),
        (Scheme::MtlsPop, Some(_)) => Err(Error::invalid_request(
            "pop_key_and_certificate_not_compatible",
            "A token is bound to a key that signs requests, or to the certificate of the connection; ask for one of them.",
        )),
        (Scheme::MtlsPop, None) if asked.is_for_user() => Err(Error::invalid_request(
            "mtls_pop_requires_app_token",
            "Tokens of users can't be bound to the client's certificate (mTLS PoP); ask for a bearer token, or for the \
             application's own token.",
        )),
        (Scheme::MtlsPop, None) => Ok(TokenBinding::Certificate),
    }
}

fn extra_claims_partition(claims: &str) -> (String, String) {
    ("extra_client_assertion_claims".to_string(), claims.to_string())
}

fn refresh_partitions(partitions: &[CachePartition]) -> Components {
    let kept_apart = partitions.iter().filter(|partition| partition.refresh_tokens);
    kept_apart.map(|partition| (partition.name.as_str(), partition.value.as_str())).collect()
}

/// An error that a person resolves by signing in.
pub(crate) fn ui_required(code: &str, message: &str) -> Error {
    Error { class: ErrorClass::UiRequired, ..Error::new(ErrorKind::InteractionRequired, code, message) }
}

/// Base64url of the SHA-256 of the parts, each with its length before it.
pub(crate) fn digest<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    URL_SAFE_NO_PAD.encode(hash.finalize())
}
