//! What is registered: tenants, applications with their credentials, resources.

use std::{fmt, time::Duration};

use crate::{
    Certificate,
    certificate::{CertificateError, Thumbprint},
};

/// A directory (tenant).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenant {
    /// Its id, a dashed GUID in lower case.
    pub id: String,
    /// The domains that name it as well.
    pub domains: Vec<String>,
}

impl Tenant {
    /// A tenant with its domains.
    pub fn new<D: Into<String>>(id: &str, domains: impl IntoIterator<Item = D>) -> Self {
        Self { id: id.to_ascii_lowercase(), domains: domains.into_iter().map(Into::into).collect() }
    }

    pub(crate) fn is(&self, name: &str) -> bool {
        self.id.eq_ignore_ascii_case(name)
            || self.domains.iter().any(|domain| domain.eq_ignore_ascii_case(name))
    }
}

/// An API that tokens are for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// The identifiers it is asked for by, without `/.default`, such as `https://graph.microsoft.com`.
    pub identifiers: Vec<String>,
    /// Its application id: the `aud` of a version 2 token.
    pub app_id: String,
    /// 1 or 2: which version of tokens it takes. A version 1 token's `aud` is the identifier as asked for.
    pub token_version: u8,
    /// The application roles it defines.
    pub roles: Vec<String>,
}

impl Resource {
    /// A resource that takes version 2 tokens and defines no roles.
    #[must_use]
    pub fn new(identifier: &str, app_id: &str) -> Self {
        Self {
            identifiers: vec![identifier.to_owned()],
            app_id: app_id.to_owned(),
            token_version: 2,
            roles: Vec::new(),
        }
    }

    /// Adds an application role.
    #[must_use]
    pub fn role(mut self, role: &str) -> Self {
        self.roles.push(role.to_owned());
        self
    }

    /// Takes version 1 tokens.
    #[must_use]
    pub fn version_1(mut self) -> Self {
        self.token_version = 1;
        self
    }

    pub(crate) fn is(&self, identifier: &str) -> bool {
        let plain = |text: &str| text.trim_end_matches('/').to_ascii_lowercase();
        self.app_id.eq_ignore_ascii_case(identifier)
            || self.identifiers.iter().any(|own| plain(own) == plain(identifier))
    }
}

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
    pub(crate) strict: bool,
    pub(crate) token_lifetime: Duration,
    pub(crate) refresh_in: Option<Duration>,
    pub(crate) resources: Option<Vec<Grant>>,
    pub(crate) fmi_paths: Option<Vec<String>>,
    pub(crate) attributes: bool,
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
            strict: false,
            token_lifetime: Duration::from_secs(3599),
            refresh_in: None,
            resources: None,
            fmi_paths: None,
            attributes: true,
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

    /// A federated credential: assertions of another issuer that this application takes as its own.
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
    /// others are refused (501051). The default is every resource with all of its roles.
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

    /// The application's client id.
    #[must_use]
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    pub(crate) fn is_in(&self, tenant: &Tenant) -> bool {
        self.tenants.is_empty() || self.tenants.iter().any(|name| tenant.is(name))
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
