//! What is asked for, and what comes back: the words of the interface `symbolon:token/acquisition`.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

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
}

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

impl Scheme {
    /// The scheme of the `authorization` header; the token type that the authority must answer with, but for case.
    pub fn token_type(self) -> &'static str {
        match self {
            Scheme::Bearer => "Bearer",
            Scheme::MtlsPop => "mtls_pop",
        }
    }
}

/// What is asked beside scopes and flow. A field that is absent or empty asks for nothing.
#[derive(Clone, Default)]
pub struct Options {
    /// Another directory than the configured one.
    pub tenant_id: Option<String>,
    /// The claims of a claims challenge, JSON. They bypass the cache.
    pub claims: Option<String>,
    /// The client's own claims, JSON. They partition the cache.
    pub client_claims: Option<String>,
    /// Take no token from the cache.
    pub force_refresh: bool,
    /// A GUID that goes to the authority as `client-request-id`.
    pub correlation_id: Option<String>,
    /// Parameters for the query of the token endpoint. They partition the cache.
    pub extra_query_parameters: Vec<(String, String)>,
    /// Parameters for the body of the token request. They partition the cache.
    pub extra_body_parameters: Vec<(String, String)>,
    /// Headers of the token request.
    pub extra_headers: Vec<(String, String)>,
}

impl fmt::Debug for Options {
    /// Shows the names of extra parameters and headers only: their values may be tokens.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("tenant_id", &self.tenant_id)
            .field("claims", &self.claims)
            .field("client_claims", &self.client_claims)
            .field("force_refresh", &self.force_refresh)
            .field("correlation_id", &self.correlation_id)
            .field("extra_query_parameters", &Names(&self.extra_query_parameters))
            .field("extra_body_parameters", &Names(&self.extra_body_parameters))
            .field("extra_headers", &Names(&self.extra_headers))
            .finish()
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
    /// The Azure region whose endpoints are used.
    pub azure_region: Option<String>,
    /// What the client can handle, such as `cp1` for claims challenges.
    pub client_capabilities: Vec<String>,
    /// Send the certificate chain in client assertions (`x5c`).
    pub send_x5c: bool,
}

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
