//! What is asked for, and what comes back: the words of the interface `symbolon:token/acquisition`.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::authority::AuthorityKind;

/// One acquisition.
#[derive(Clone, Debug)]
pub struct Request {
    /// Who the token speaks for.
    pub flow: Flow,
    /// What the token is for, such as `https://graph.microsoft.com/.default`.
    pub scopes: Vec<String>,
    /// What the token is bound to.
    pub scheme: Scheme,
    /// What is asked beside.
    pub options: Options,
}

/// Who the token speaks for, and what proves it.
#[derive(Clone, Debug)]
pub enum Flow {
    /// The application itself, by its own credential (RFC 6749 §4.4).
    ForClient(ClientFlow),
    /// The user whose token the caller was given, for another API (RFC 7523 §2.1).
    OnBehalfOf(UserAssertion),
    /// The same, and keeps what it takes to go on without the user's token, under a session key.
    InitiateLongRunningProcess(SessionStart),
    /// Goes on under this session key.
    AcquireInLongRunningProcess(String),
    /// A user who is known already, by [`Account::home_account_id`].
    Silent(String),
    /// The user of a refresh token that another library kept.
    ByRefreshToken(RefreshToken),
    /// The user who signed in (RFC 6749 §4.1, RFC 7636).
    ByAuthorizationCode(AuthorizationCode),
    /// The user of this name and password (RFC 6749 §4.3).
    ByUsernamePassword(UsernamePassword),
    /// A user, by a token of the application that is trusted to name users.
    ByUserFederatedIdentityCredential(FederatedUser),
    /// An agent of the application, which is its blueprint.
    ForAgent(AgentFlow),
    /// An identity that the platform manages for the workload. The one scope is the resource, with or without `/.default`.
    ///
    /// The platform authenticates the workload: neither the application's credential nor its authority has a part in it.
    /// Claims, forced refresh, the hash of a refused token, cache partitions, correlation id and query parameters apply;
    /// the other options don't.
    ForManagedIdentity(ManagedIdentityFlow),
}

/// What a user's token is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AssertionKind {
    /// A JSON Web Token.
    #[default]
    Jwt,
    /// A SAML 1.1 assertion, base64url (RFC 7522).
    Saml11,
    /// A SAML 2.0 assertion, base64url (RFC 7522).
    Saml2,
}

/// A user's token, issued for the application.
#[derive(Clone, Default)]
pub struct UserAssertion {
    /// The token.
    pub assertion: String,
    /// What it is.
    pub kind: AssertionKind,
}

/// The inputs of [`Flow::InitiateLongRunningProcess`].
#[derive(Clone, Default)]
pub struct SessionStart {
    /// The user's token.
    pub assertion: UserAssertion,
    /// The session key. Absent or empty: base64url of the SHA-256 of the user's token.
    pub session_key: Option<String>,
    /// Whether what the session has already is used, for the same user only.
    pub search_in_cache: bool,
}

/// A refresh token.
#[derive(Clone)]
pub struct RefreshToken(pub String);

/// The inputs of [`Flow::ByAuthorizationCode`].
#[derive(Clone, Default)]
pub struct AuthorizationCode {
    /// The code.
    pub code: String,
    /// The redirect URI that it was sent to, exactly as it was asked for.
    pub redirect_uri: String,
    /// The verifier whose challenge it was asked for with (RFC 7636).
    pub code_verifier: Option<String>,
    /// Ask for a second code too, for the single-page application that belongs to the web application.
    pub spa_code: bool,
    /// Ask for a refresh token (`offline_access`).
    pub offline_access: bool,
}

/// The inputs of [`Flow::ByUsernamePassword`].
#[derive(Clone, Default)]
pub struct UsernamePassword {
    /// What the user signs in with.
    pub username: String,
    /// The password.
    pub password: String,
}

/// How a user is named; checked when the acquisition starts.
#[derive(Clone)]
pub enum NamedUser {
    /// By object id, a GUID.
    ObjectId(String),
    /// By user principal name.
    Username(String),
}

/// The inputs of [`Flow::ByUserFederatedIdentityCredential`].
#[derive(Clone)]
pub struct FederatedUser {
    /// The user.
    pub user: NamedUser,
    /// The token that lets the application name users.
    pub assertion: String,
}

/// The inputs of [`Flow::ForAgent`].
#[derive(Clone, Debug)]
pub struct AgentFlow {
    /// The agent's application (client) id.
    pub agent: String,
    /// For whom it acts.
    pub subject: AgentSubject,
}

/// For whom an agent acts.
#[derive(Clone, Debug)]
pub enum AgentSubject {
    /// For itself.
    App,
    /// For a user of its own.
    User(NamedUser),
    /// For the user whose token its blueprint was given.
    Assertion(UserAssertion),
}

/// The inputs of [`Flow::ForManagedIdentity`].
#[derive(Clone, Debug)]
pub struct ManagedIdentityFlow {
    /// Which of the workload's identities.
    pub identity: ManagedIdentityId,
}

/// An identity that the platform manages for a workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ManagedIdentityId {
    /// The one that lives and dies with the workload's resource.
    SystemAssigned,
    /// One that was assigned to it, by its application (client) id.
    ClientId(String),
    /// One that was assigned to it, by its Azure resource id.
    ResourceId(String),
    /// One that was assigned to it, by its object (principal) id.
    ObjectId(String),
}

/// Shows that there is one, and nothing of it: these hold tokens, passwords and names of people.
macro_rules! opaque_debug {
    ($($name:ident),*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(stringify!($name))
            }
        }
    )*};
}

opaque_debug!(
    UserAssertion,
    SessionStart,
    RefreshToken,
    AuthorizationCode,
    UsernamePassword,
    NamedUser,
    FederatedUser
);

/// The inputs of [`Flow::ForClient`].
#[derive(Clone, Default)]
pub struct ClientFlow {
    /// A path below the application for which the token is issued.
    pub fmi_path: Option<String>,
    /// Attributes to be asserted in the token, JSON.
    pub attributes: Option<String>,
    /// Attribute tokens to be carried; order and repetition don't matter.
    pub attribute_tokens: Vec<String>,
}

impl fmt::Debug for ClientFlow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientFlow")
            .field("fmi_path", &self.fmi_path)
            .field("attributes", &self.attributes)
            .field("attribute_tokens", &self.attribute_tokens.len())
            .finish()
    }
}

/// How the token is presented to the API, and so what it is bound to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scheme {
    /// A bearer token (RFC 6750).
    #[default]
    Bearer,
    /// A token bound to the certificate that the client presents over mutual TLS.
    MtlsPop,
}

/// What is asked beside scopes and flow. A field that is absent or empty asks for nothing.
#[derive(Clone, Default)]
pub struct Options {
    /// Another authority than the application's, of its type and at its host or another name of that; `common` and
    /// `organizations` stand for the application's own tenant.
    pub authority: Option<String>,
    /// Another directory than the authority's.
    pub tenant_id: Option<String>,
    /// The claims of a claims challenge, JSON. They bypass the cache.
    pub claims: Option<String>,
    /// The client's own claims, JSON. They partition the cache.
    pub client_claims: Option<String>,
    /// Take no token from the cache.
    pub force_refresh: bool,
    /// The SHA-256, in lower-case hexadecimal, of an access token that an API refused: if the cache holds that very token,
    /// it isn't used. Challenge claims then don't bypass the cache.
    pub access_token_sha256_to_refresh: Option<String>,
    /// A public key as a JSON Web Key: the token is bound to it for signed HTTP requests.
    pub pop_public_key: Option<String>,
    /// The FMI path that the credential's own assertion shall carry. It partitions the cache.
    pub client_assertion_fmi_path: Option<String>,
    /// Claims that client assertions shall carry which are signed with the credential's certificate, JSON. They partition
    /// the cache.
    pub extra_client_assertion_claims: Option<String>,
    /// Send the certificate chain in client assertions (`x5c`), or don't; as the application says where absent.
    pub send_x5c: Option<bool>,
    /// Names of the caller's own that partition the cache.
    pub cache_partitions: Vec<CachePartition>,
    /// A GUID that goes to the authority as `client-request-id`.
    pub correlation_id: Option<String>,
    /// Parameters for the query of the token endpoint. They partition the cache.
    pub extra_query_parameters: Vec<(String, String)>,
    /// The same, percent-encoded already: they go out as they are, in the place of those of the same name.
    pub encoded_query_parameters: Vec<(String, String)>,
    /// Parameters for the body of the token request. They partition the cache.
    pub extra_body_parameters: Vec<(String, String)>,
    /// Headers of the token request.
    pub extra_headers: Vec<(String, String)>,
}

/// A name of the caller's own that keeps tokens apart in the cache. Nothing of it goes to the authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CachePartition {
    /// The name.
    pub name: String,
    /// The value.
    pub value: String,
    /// Whether refresh tokens are kept apart as well.
    pub refresh_tokens: bool,
}

impl fmt::Debug for Options {
    /// Shows the names of extra parameters and headers only: their values may be tokens.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("authority", &self.authority)
            .field("tenant_id", &self.tenant_id)
            .field("claims", &self.claims)
            .field("client_claims", &self.client_claims)
            .field("force_refresh", &self.force_refresh)
            .field("client_assertion_fmi_path", &self.client_assertion_fmi_path)
            .field("extra_client_assertion_claims", &self.extra_client_assertion_claims)
            .field("send_x5c", &self.send_x5c)
            .field("cache_partitions", &self.cache_partitions)
            .field("correlation_id", &self.correlation_id)
            .field("extra_query_parameters", &Names(&self.extra_query_parameters))
            .field("encoded_query_parameters", &Names(&self.encoded_query_parameters))
            .field("extra_body_parameters", &Names(&self.extra_body_parameters))
            .field("extra_headers", &Names(&self.extra_headers))
            .finish_non_exhaustive()
    }
}

/// Shows the names of pairs and leaves their values out.
pub(crate) struct Names<'a>(pub(crate) &'a [(String, String)]);

impl fmt::Debug for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

/// A registration, as the host's configuration describes it.
#[derive(Clone, Debug, Default)]
pub struct Application {
    /// The application (client) id.
    pub client_id: String,
    /// The authority, such as `https://login.microsoftonline.com/contoso.com`.
    pub authority: String,
    /// What kind of server the authority is, where its URL doesn't tell: nothing tells generic OpenID Connect.
    pub authority_type: Option<AuthorityKind>,
    /// Whether a host that isn't well known is taken for an authority without asking.
    pub skip_authority_validation: bool,
    /// The names of clouds in the form of an answer of instance discovery, JSON: no others are known then.
    pub instance_metadata: Option<String>,
    /// An https URL, without a query, that is asked for the names of clouds instead of theirs.
    pub instance_discovery_uri: Option<String>,
    /// How the client authenticates at a generic OpenID Connect provider, in the words of RFC 7591 and RFC 8705, such as
    /// `private_key_jwt`; what the provider supports where absent.
    pub token_endpoint_auth_method: Option<String>,
    /// The Azure region whose endpoints are used; `TryAutoDetect` for that in which this runs.
    pub azure_region: Option<String>,
    /// What the client can handle, such as `cp1` for claims challenges.
    pub client_capabilities: Vec<String>,
    /// Send the certificate chain in client assertions (`x5c`).
    pub send_x5c: bool,
    /// The audience of the tokens that agents exchange; that of the authority's cloud where absent.
    pub token_exchange_url: Option<String>,
    /// Further flows that are bound to the certificate, where the credential asks for bound connections.
    pub bound_flows: Vec<BoundFlow>,
}

/// A flow whose requests travel on a connection bound to the client's certificate only where the host asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BoundFlow {
    /// [`Flow::ByUserFederatedIdentityCredential`].
    ByUserFederatedIdentityCredential,
    /// [`Flow::ByUsernamePassword`].
    ByUsernamePassword,
    /// All legs of [`Flow::ForAgent`].
    ForAgent,
}

/// What a person needs to sign in (RFC 6749 §4.1.1).
#[derive(Clone, Default)]
pub struct SignIn {
    /// What the token shall be for.
    pub scopes: Vec<String>,
    /// Where the code goes; registered with the authority.
    pub redirect_uri: String,
    /// Ask for a refresh token (`offline_access`).
    pub offline_access: bool,
    /// Whom to suggest.
    pub login_hint: Option<String>,
    /// Which directory's sign-in page to go to at once.
    pub domain_hint: Option<String>,
    /// `login`, `select_account`, `consent`, `none`.
    pub prompt: Option<String>,
    /// Tenant, claims, correlation id and extra query parameters; the rest doesn't apply.
    pub options: Options,
}

opaque_debug!(SignIn);

/// What the protocol needs to know of the world. The same request in the same context gives the same bytes.
#[derive(Clone)]
pub struct Context {
    /// The registration for which the token is acquired.
    pub application: Application,
    /// The time now, in Unix milliseconds.
    pub now: u64,
    /// When the acquisition must have ended, in Unix milliseconds.
    pub deadline: u64,
    /// 32 random bytes, fresh for each call.
    pub seed: [u64; 4],
    /// Renews, in the background, a token that still stands. Takes no token from the cache.
    pub proactive_refresh: bool,
}

impl fmt::Debug for Context {
    /// Leaves the seed out: who knows it can foretell the ids of assertions.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("application", &self.application)
            .field("now", &self.now)
            .field("deadline", &self.deadline)
            .field("proactive_refresh", &self.proactive_refresh)
            .finish_non_exhaustive()
    }
}

/// An access token and what is known about it.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AccessToken {
    /// The token.
    pub token: String,
    /// The scheme of the `authorization` header: `Bearer`, `mtls_pop`.
    pub token_type: String,
    /// When the token expires, in Unix seconds.
    pub expires_on: u64,
    /// When a renewal is due, in Unix seconds.
    pub refresh_on: Option<u64>,
    /// What the token is for, as the authority said, else as asked.
    pub scopes: Vec<String>,
    /// The directory that issued it.
    pub tenant_id: Option<String>,
    /// `x5t#S256` of the certificate that it is bound to.
    pub key_id: Option<String>,
    /// The correlation id of this call.
    pub correlation_id: String,
    /// Where it came from.
    pub source: TokenSource,
    /// The endpoint that issued it; absent from the cache.
    pub token_endpoint: Option<String>,
    /// Why the cache didn't serve.
    pub refresh_reason: CacheRefreshReason,
    /// The region whose endpoint is used.
    pub region: Option<String>,
    /// The user; absent for the application's own tokens.
    pub account: Option<Account>,
    /// What the authority says about the user; absent from the cache.
    pub id_token: Option<String>,
    /// The code for the single-page application, where one was asked for.
    pub spa_code: Option<String>,
    /// The key of the long-running process.
    pub session_key: Option<String>,
    /// Whether the host may give the same answer to the same question without asking.
    pub reuse: Option<Reuse>,
    /// A key of the cache entry that holds the token.
    pub cache_key: Option<String>,
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessToken")
            .field("token_type", &self.token_type)
            .field("expires_on", &self.expires_on)
            .field("refresh_on", &self.refresh_on)
            .field("scopes", &self.scopes)
            .field("tenant_id", &self.tenant_id)
            .field("key_id", &self.key_id)
            .field("correlation_id", &self.correlation_id)
            .field("source", &self.source)
            .field("token_endpoint", &self.token_endpoint)
            .field("refresh_reason", &self.refresh_reason)
            .field("region", &self.region)
            .field("reuse", &self.reuse)
            .finish_non_exhaustive()
    }
}

/// A user.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Account {
    /// `{uid}.{utid}`, the object id and the directory of the user's home: the same wherever the user is a guest.
    pub home_account_id: String,
    /// The host name under which the authority keeps the account.
    pub environment: String,
    /// What the person signs in with.
    pub username: String,
}

opaque_debug!(Account);

/// Where a token came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenSource {
    /// The authority issued it for this call.
    IdentityProvider,
    /// It was in the cache, or another call brought it meanwhile.
    Cache,
}

/// Why the cache didn't serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheRefreshReason {
    /// It did.
    NotApplicable,
    /// The caller forced it, or sent claims.
    ForceRefreshOrClaims,
    /// It held no such token.
    NoCachedAccessToken,
    /// The token it held had expired.
    Expired,
    /// The token it held was, or is, due for renewal.
    ProactivelyRefreshed,
}

/// For how long an answer stands for the same question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reuse {
    /// From here on the question must be asked again, in Unix seconds.
    pub until: u64,
    /// From here on a renewal in the background is due, in Unix seconds; the answer still stands.
    pub refresh_from: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::ToString;
    use alloc::vec;

    const CANARY: &str = "canary-value";

    #[test]
    fn debug_shows_no_value_that_may_be_a_token() {
        let pairs = vec![("name".to_string(), CANARY.to_string())];
        let options = Options {
            extra_query_parameters: pairs.clone(),
            extra_body_parameters: pairs.clone(),
            extra_headers: pairs,
            ..Options::default()
        };
        let flow = ClientFlow { attribute_tokens: vec![CANARY.to_string()], ..ClientFlow::default() };
        let request = Request {
            flow: Flow::ForClient(flow),
            scopes: vec!["s".to_string()],
            scheme: Scheme::Bearer,
            options,
        };
        let shown = format!("{request:?}");
        assert!(!shown.contains(CANARY), "{shown}");
        assert!(shown.contains("name") && shown.contains("attribute_tokens: 1"), "{shown}");
    }
}
