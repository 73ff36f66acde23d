//! Applications: their credentials, and what they may do.

use std::{fmt, time::Duration};

use crate::{
    Certificate, ConditionalAccess, Flow, ManagedIdentity, Tenant,
    certificate::{CertificateError, Thumbprint},
};

/// A confidential client. Nothing is optional but what a method sets: [`Registration::new`] gives an application
/// of every tenant, without credentials, that may call every resource, without mutual TLS.
///
/// `Debug` shows no secret.
#[derive(Clone)]
#[must_use]
pub struct Registration {
    pub(crate) client_id: String,
    pub(crate) name: String,
    pub(crate) tenants: Vec<String>,
    pub(crate) secrets: Vec<Secret>,
    pub(crate) certificates: Vec<RegisteredCertificate>,
    pub(crate) subject_names: Vec<SubjectName>,
    pub(crate) federated: Vec<FederatedCredential>,
    pub(crate) mtls: bool,
    pub(crate) pop: bool,
    pub(crate) tls_client_auth: bool,
    pub(crate) strict: bool,
    pub(crate) token_lifetime: Duration,
    pub(crate) refresh_in: Option<Duration>,
    pub(crate) resources: Option<Vec<Grant>>,
    pub(crate) fmi_paths: Option<Vec<String>>,
    pub(crate) attributes: bool,
    pub(crate) identifier_uris: Vec<String>,
    pub(crate) redirect_uris: Vec<String>,
    pub(crate) scopes: Vec<String>,
    pub(crate) blueprint: Option<String>,
    pub(crate) names_users: bool,
    pub(crate) mtls_flows: Vec<Flow>,
    pub(crate) rotating: bool,
    pub(crate) refresh_token_lifetime: Duration,
    pub(crate) conditional_access: Vec<ConditionalAccess>,
    /// The managed identity that the application is.
    pub(crate) managed: Option<ManagedIdentity>,
}

impl Registration {
    /// An application. The id is not changed; it is compared without regard to case.
    pub fn new(client_id: &str) -> Self {
        Self {
            client_id: client_id.to_owned(),
            name: client_id.to_owned(),
            tenants: Vec::new(),
            secrets: Vec::new(),
            certificates: Vec::new(),
            subject_names: Vec::new(),
            federated: Vec::new(),
            mtls: false,
            pop: false,
            tls_client_auth: false,
            strict: false,
            token_lifetime: Duration::from_secs(3599),
            refresh_in: None,
            resources: None,
            fmi_paths: None,
            attributes: true,
            identifier_uris: Vec::new(),
            redirect_uris: Vec::new(),
            scopes: Vec::new(),
            blueprint: None,
            names_users: false,
            mtls_flows: Flow::OVER_MTLS.to_vec(),
            rotating: false,
            refresh_token_lifetime: Duration::from_secs(90 * 24 * 60 * 60),
            conditional_access: Vec::new(),
            managed: None,
        }
    }

    /// The display name that error texts use. The default is the client id.
    pub fn name(mut self, name: &str) -> Self {
        self.name = name.to_owned();
        self
    }

    /// Registers the application in this tenant (id or domain) only; repeat it for more. The default is every
    /// tenant.
    pub fn tenant(mut self, tenant: &str) -> Self {
        self.tenants.push(tenant.to_owned());
        self
    }

    /// A client secret that never expires.
    pub fn secret(self, value: &str) -> Self {
        self.secret_until(value, u64::MAX)
    }

    /// A client secret that expires at this time (seconds since 1970).
    pub fn secret_until(mut self, value: &str, expires_unix: u64) -> Self {
        self.secrets.push(Secret { value: value.to_owned(), expires_unix });
        self
    }

    /// A certificate, known with its key: assertions need only name its thumbprint.
    pub fn certificate(mut self, certificate: Certificate) -> Self {
        self.certificates.push(RegisteredCertificate::Whole(Box::new(certificate)));
        self
    }

    /// A certificate (PEM).
    ///
    /// # Errors
    /// When the text holds no certificate.
    pub fn certificate_pem(self, pem: &str) -> Result<Self, CertificateError> {
        Ok(self.certificate(Certificate::from_pem(pem)?))
    }

    /// A certificate of which only the thumbprint is known: SHA-1 or SHA-256, in hexadecimal or base64 of either
    /// alphabet. The certificate itself must then come in the assertion's `x5c` or in the handshake. Returns
    /// nothing when the text is no thumbprint.
    pub fn certificate_thumbprint(mut self, thumbprint: &str) -> Option<Self> {
        self.certificates.push(RegisteredCertificate::Thumbprint(Thumbprint::parse(thumbprint)?));
        Some(self)
    }

    /// Certificates by subject name and issuer: every certificate whose common name, DNS name or subject is
    /// `subject`, whose issuer's common name or whole name is `issuer`, and from which a chain leads to one of the
    /// authority's trusted issuers.
    pub fn subject_name(mut self, subject: &str, issuer: &str) -> Self {
        self.subject_names.push(SubjectName { subject: subject.to_owned(), issuer: issuer.to_owned() });
        self
    }

    /// A federated credential: assertions of another issuer that this application takes as its own. For the tokens
    /// of a managed identity that is `https://login.microsoftonline.com/{tenant id}/v2.0`, the object id and
    /// `api://AzureADTokenExchange`.
    pub fn federated_credential(mut self, issuer: &str, subject: &str, audience: &str) -> Self {
        self.federated.push(FederatedCredential {
            issuer: issuer.to_owned(),
            subject: subject.to_owned(),
            audience: audience.to_owned(),
        });
        self
    }

    /// Whether the mutual TLS hosts serve the application. The default is no (51000).
    pub fn mtls(mut self, allowed: bool) -> Self {
        self.mtls = allowed;
        self
    }

    /// Whether the application gets tokens bound to its certificate. The default is no (392189).
    pub fn pop(mut self, allowed: bool) -> Self {
        self.pop = allowed;
        self
    }

    /// Whether the certificate of the handshake alone authenticates the application (`tls_client_auth`, RFC 8705
    /// section 2.1), without an assertion. The default is no: only requests for tokens bound to the certificate do
    /// without (7000218).
    pub fn tls_client_auth(mut self, allowed: bool) -> Self {
        self.tls_client_auth = allowed;
        self
    }

    /// Whether assertions must keep to the RFCs exactly: numeric times, `x5c` an array, thumbprints in base64url
    /// without padding, `aud` the called endpoint or the issuer, at most 10 minutes of lifetime, a `jti` that is
    /// used once. The default is no: everything that Entra ID accepts.
    pub fn strict(mut self, strict: bool) -> Self {
        self.strict = strict;
        self
    }

    /// How long tokens live. The default is 3599 s, as with Entra ID.
    pub fn token_lifetime(mut self, lifetime: Duration) -> Self {
        self.token_lifetime = lifetime;
        self
    }

    /// Answers with `refresh_in`. The default is without.
    pub fn refresh_in(mut self, refresh_in: Duration) -> Self {
        self.refresh_in = Some(refresh_in);
        self
    }

    /// Allows this resource, with these application roles in its tokens; repeat it for more. Once one is named,
    /// others are refused (501051; for users 65001). The default is every resource with all of its roles.
    pub fn resource<'a>(mut self, identifier: &str, roles: impl IntoIterator<Item = &'a str>) -> Self {
        let roles = roles.into_iter().map(str::to_owned).collect();
        self.resources.get_or_insert_default().push(Grant { resource: identifier.to_owned(), roles });
        self
    }

    /// Allows this `fmi_path`; repeat it for more. The default is every path.
    pub fn fmi_path(mut self, path: &str) -> Self {
        self.fmi_paths.get_or_insert_default().push(path.to_owned());
        self
    }

    /// Whether `attributes` and `attribute_tokens` are accepted. The default is yes.
    pub fn attributes(mut self, accepted: bool) -> Self {
        self.attributes = accepted;
        self
    }

    /// An identifier URI: the application is a resource under it, and takes user assertions for it. The client id
    /// and `api://{client id}` are identifiers already.
    pub fn identifier_uri(mut self, uri: &str) -> Self {
        self.identifier_uris.push(uri.to_owned());
        self
    }

    /// A redirect URI that authorization codes may be sent to; repeat it for more. The default is none.
    pub fn redirect_uri(mut self, uri: &str) -> Self {
        self.redirect_uris.push(uri.to_owned());
        self
    }

    /// A delegated scope that the application defines as a resource; repeat it for more. The default is
    /// `user_impersonation`.
    pub fn scope(mut self, scope: &str) -> Self {
        self.scopes.push(scope.to_owned());
        self
    }

    /// Makes the application an agent of this blueprint: it has no credential but the tokens that the blueprint gets
    /// for `fmi_path={client id of the agent}`.
    pub fn agent_of(mut self, blueprint_client_id: &str) -> Self {
        self.blueprint = Some(blueprint_client_id.to_owned());
        self
    }

    /// Whether the application may name users as an agent does (`user_fic`): with a token for the exchange that it got
    /// for itself. The default is no; agents always may.
    pub fn names_users(mut self, allowed: bool) -> Self {
        self.names_users = allowed;
        self
    }

    /// The flows that the mutual TLS hosts serve, where [`Registration::mtls`] allows any; others are refused
    /// (392189). The default is [`Flow::OVER_MTLS`].
    pub fn mtls_flows(mut self, flows: impl IntoIterator<Item = Flow>) -> Self {
        self.mtls_flows = flows.into_iter().collect();
        self
    }

    /// Whether a refresh token is good for one use: using it again revokes it and all that came of it (50173). The
    /// default is no, as with Entra ID: every use gives a new one, and the old one stays good.
    pub fn rotating(mut self, rotating: bool) -> Self {
        self.rotating = rotating;
        self
    }

    /// How long refresh tokens live. The default is 90 days, as with Entra ID.
    pub fn refresh_token_lifetime(mut self, lifetime: Duration) -> Self {
        self.refresh_token_lifetime = lifetime;
        self
    }

    /// Demands something of users before the application gets tokens for them; repeat it for more. The default is
    /// nothing.
    pub fn conditional_access(mut self, policy: ConditionalAccess) -> Self {
        self.conditional_access.push(policy);
        self
    }

    /// The application's client id.
    #[must_use]
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    pub(crate) fn is_in(&self, tenant: &Tenant) -> bool {
        self.tenants.is_empty() || self.tenants.iter().any(|name| tenant.is(name))
    }

    /// Whether tokens for `audience` are for this application.
    pub(crate) fn is_audience(&self, audience: &str) -> bool {
        let plain = |text: &str| text.trim_end_matches('/').to_ascii_lowercase();
        let id = audience.strip_prefix("api://").unwrap_or(audience);
        self.client_id.eq_ignore_ascii_case(id)
            || self.identifier_uris.iter().any(|own| plain(own) == plain(audience))
    }

    pub(crate) fn has_thumbprint_of(&self, certificate: &Certificate) -> bool {
        self.certificates.iter().any(|registered| match registered {
            RegisteredCertificate::Whole(whole) => **whole == *certificate,
            RegisteredCertificate::Thumbprint(thumbprint) => certificate.has(*thumbprint),
        })
    }
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registration")
            .field("client_id", &self.client_id)
            .field("name", &self.name)
            .field("secrets", &self.secrets.len())
            .field("certificates", &self.certificates)
            .field("subject_names", &self.subject_names)
            .field("federated", &self.federated)
            .field("mtls", &self.mtls)
            .field("pop", &self.pop)
            .field("strict", &self.strict)
            .field("blueprint", &self.blueprint)
            .finish_non_exhaustive()
    }
}

#[derive(Clone)]
pub(crate) struct Secret {
    pub(crate) value: String,
    pub(crate) expires_unix: u64,
}

#[derive(Debug, Clone)]
pub(crate) enum RegisteredCertificate {
    Whole(Box<Certificate>),
    Thumbprint(Thumbprint),
}

impl RegisteredCertificate {
    /// The certificate, where more than its thumbprint is known.
    pub(crate) fn whole(&self) -> Option<&Certificate> {
        match self {
            Self::Whole(certificate) => Some(certificate),
            Self::Thumbprint(_) => None,
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct SubjectName {
    pub(crate) subject: String,
    pub(crate) issuer: String,
}

#[derive(Debug, Clone)]
pub(crate) struct FederatedCredential {
    pub(crate) issuer: String,
    pub(crate) subject: String,
    pub(crate) audience: String,
}

#[derive(Debug, Clone)]
pub(crate) struct Grant {
    pub(crate) resource: String,
    pub(crate) roles: Vec<String>,
}
