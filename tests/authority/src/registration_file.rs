//! `applications.json`: the registrations of a data directory.

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;
use time::{OffsetDateTime, serde::rfc3339};

use crate::{
    Certificate, ConditionalAccess, FaultRule, Flow, Registration, Resource, StartError, Tenant, User, files,
};

/// The name of the file in the data directory.
pub(crate) const FILE: &str = "applications.json";

/// Where what is read goes.
pub(crate) struct Parts<'a> {
    pub(crate) tenants: &'a mut Vec<Tenant>,
    pub(crate) resources: &'a mut Vec<Resource>,
    pub(crate) applications: &'a mut Vec<Registration>,
    pub(crate) users: &'a mut Vec<User>,
    pub(crate) trusted_issuers: &'a mut Vec<Certificate>,
    pub(crate) federation_keys: &'a mut Vec<(String, Certificate)>,
    pub(crate) faults: &'a mut Vec<FaultRule>,
}

/// Reads the file of `directory` into `parts`; a missing file is an empty one.
pub(crate) fn read(directory: &Path, parts: &mut Parts<'_>) -> Result<(), StartError> {
    let file = directory.join(FILE);
    let Some(text) = files::read_if_there(&file)? else { return Ok(()) };
    let problem = |at: String, problem: String| StartError::Registrations { file: file.clone(), at, problem };
    let mut json = serde_json::Deserializer::from_str(&text);
    let document: Document = serde_path_to_error::deserialize(&mut json)
        .map_err(|error| problem(error.path().to_string(), error.inner().to_string()))?;
    json.end().map_err(|error| problem(".".to_owned(), error.to_string()))?;
    Reader { directory, parts }.take(document).map_err(|wrong| problem(wrong.at, wrong.problem))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Document {
    #[serde(default)]
    tenants: Vec<TenantEntry>,
    #[serde(default)]
    resources: Vec<ResourceEntry>,
    #[serde(default)]
    trusted_issuers: Vec<PathBuf>,
    #[serde(default)]
    federation_issuers: Vec<FederationIssuerEntry>,
    #[serde(default)]
    users: Vec<UserEntry>,
    #[serde(default)]
    applications: Vec<Application>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct UserEntry {
    object_id: String,
    user_principal_name: String,
    name: Option<String>,
    password: Option<String>,
    tenant: Option<String>,
    #[serde(default)]
    guest_of: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ConditionalAccessEntry {
    requirement: Requirement,
    claims: Option<serde_json::Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
enum Requirement {
    MultiFactor,
    CompliantDevice,
    Blocked,
}

impl ConditionalAccessEntry {
    fn policy(self) -> ConditionalAccess {
        let policy = match self.requirement {
            Requirement::MultiFactor => ConditionalAccess::multi_factor(),
            Requirement::CompliantDevice => ConditionalAccess::compliant_device(),
            Requirement::Blocked => ConditionalAccess::blocked(),
        };
        match self.claims {
            Some(claims) => policy.claims(claims),
            None => policy,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct TenantEntry {
    id: String,
    #[serde(default)]
    domains: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ResourceEntry {
    identifiers: Vec<String>,
    app_id: String,
    #[serde(default = "version_2")]
    token_version: u8,
    #[serde(default)]
    roles: Vec<String>,
    scopes: Option<Vec<String>>,
    #[serde(default)]
    conditional_access: Vec<ConditionalAccessEntry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct FederationIssuerEntry {
    issuer: String,
    certificate: PathBuf,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Application {
    client_id: String,
    name: Option<String>,
    #[serde(default)]
    tenants: Vec<String>,
    #[serde(default)]
    secrets: Vec<SecretEntry>,
    #[serde(default)]
    certificates: Vec<CertificateEntry>,
    #[serde(default)]
    subject_names: Vec<SubjectNameEntry>,
    #[serde(default)]
    federated_credentials: Vec<FederatedCredentialEntry>,
    #[serde(default)]
    mtls: bool,
    #[serde(default)]
    pop: bool,
    #[serde(default)]
    strict: bool,
    token_lifetime_seconds: Option<u64>,
    refresh_in_seconds: Option<u64>,
    #[serde(default)]
    resources: Vec<GrantEntry>,
    #[serde(default)]
    fmi_paths: Vec<String>,
    #[serde(default = "yes")]
    attributes: bool,
    #[serde(default)]
    identifier_uris: Vec<String>,
    #[serde(default)]
    redirect_uris: Vec<String>,
    #[serde(default)]
    scopes: Vec<String>,
    agent_of: Option<String>,
    #[serde(default)]
    names_users: bool,
    #[serde(default)]
    tls_client_auth: bool,
    mtls_flows: Option<Vec<Flow>>,
    #[serde(default)]
    rotating: bool,
    refresh_token_lifetime_seconds: Option<u64>,
    #[serde(default)]
    conditional_access: Vec<ConditionalAccessEntry>,
    #[serde(default)]
    faults: Vec<FaultRule>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SecretEntry {
    value: String,
    #[serde(default, with = "rfc3339::option")]
    expires: Option<OffsetDateTime>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
enum CertificateEntry {
    File(PathBuf),
    Pem(String),
    Thumbprint(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SubjectNameEntry {
    subject: String,
    issuer: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct FederatedCredentialEntry {
    issuer: String,
    subject: String,
    audience: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct GrantEntry {
    resource: String,
    #[serde(default)]
    roles: Vec<String>,
}

struct Wrong {
    at: String,
    problem: String,
}

fn wrong<T>(at: impl Into<String>, problem: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong { at: at.into(), problem: problem.into() })
}

struct Reader<'a, 'b> {
    directory: &'a Path,
    parts: &'a mut Parts<'b>,
}

impl Reader<'_, '_> {
    fn take(mut self, document: Document) -> Result<(), Wrong> {
        for (at, tenant) in document.tenants.into_iter().enumerate() {
            if crate::encoding::guid_bytes(&tenant.id).is_none() {
                let found = format!("found '{}', accepted: a GUID with dashes", tenant.id);
                return wrong(format!("tenants[{at}].id"), found);
            }
            self.parts.tenants.push(Tenant::new(&tenant.id, tenant.domains));
        }
        for (at, resource) in document.resources.into_iter().enumerate() {
            let resource = self.resource(&format!("resources[{at}]"), resource)?;
            self.parts.resources.push(resource);
        }
        for (at, file) in document.trusted_issuers.iter().enumerate() {
            let issuer = self.certificate(&format!("trustedIssuers[{at}]"), file)?;
            self.parts.trusted_issuers.push(issuer);
        }
        for (at, entry) in document.federation_issuers.into_iter().enumerate() {
            let key =
                self.certificate(&format!("federationIssuers[{at}].certificate"), &entry.certificate)?;
            self.parts.federation_keys.push((entry.issuer, key));
        }
        for (at, user) in document.users.into_iter().enumerate() {
            let user = self.user(&format!("users[{at}]"), user)?;
            self.parts.users.push(user);
        }
        let mut ids = HashSet::new();
        for (at, application) in document.applications.into_iter().enumerate() {
            let at = format!("applications[{at}]");
            if !ids.insert(application.client_id.to_ascii_lowercase()) {
                let found = format!(
                    "found '{}' a second time, accepted: one entry an application",
                    application.client_id
                );
                return wrong(format!("{at}.clientId"), found);
            }
            let registration = self.application(&at, application)?;
            self.parts.applications.push(registration);
        }
        Ok(())
    }

    fn resource(&self, at: &str, entry: ResourceEntry) -> Result<Resource, Wrong> {
        if !(1..=2).contains(&entry.token_version) {
            let found = format!("found {}, accepted: 1 or 2", entry.token_version);
            return wrong(format!("{at}.tokenVersion"), found);
        }
        let default = Resource::new("", &entry.app_id);
        Ok(Resource {
            identifiers: entry.identifiers,
            token_version: entry.token_version,
            roles: entry.roles,
            scopes: entry.scopes.unwrap_or(default.scopes),
            conditional_access: entry
                .conditional_access
                .into_iter()
                .map(ConditionalAccessEntry::policy)
                .collect(),
            app_id: entry.app_id,
        })
    }

    fn user(&self, at: &str, entry: UserEntry) -> Result<User, Wrong> {
        if crate::encoding::guid_bytes(&entry.object_id).is_none() {
            let found = format!("found '{}', accepted: a GUID with dashes", entry.object_id);
            return wrong(format!("{at}.objectId"), found);
        }
        let mut user = User::new(&entry.object_id, &entry.user_principal_name);
        if let Some(name) = &entry.name {
            user = user.name(name);
        }
        if let Some(password) = &entry.password {
            user = user.password(password);
        }
        if let Some(tenant) = &entry.tenant {
            self.known_tenant(&format!("{at}.tenant"), tenant)?;
            user = user.tenant(tenant);
        }
        for (index, tenant) in entry.guest_of.iter().enumerate() {
            self.known_tenant(&format!("{at}.guestOf[{index}]"), tenant)?;
            user = user.guest_of(tenant);
        }
        Ok(user)
    }

    fn known_tenant(&self, at: &str, name: &str) -> Result<(), Wrong> {
        if self.parts.tenants.iter().any(|known| known.is(name)) {
            return Ok(());
        }
        wrong(at, format!("found '{name}', accepted: the id or a domain of a registered tenant"))
    }

    fn application(&mut self, at: &str, mut entry: Application) -> Result<Registration, Wrong> {
        if entry.client_id.trim().is_empty() {
            return wrong(format!("{at}.clientId"), "found nothing, accepted: a client id");
        }
        let mut app =
            Registration::new(&entry.client_id).mtls(entry.mtls).pop(entry.pop).strict(entry.strict);
        app = app.attributes(entry.attributes).name(entry.name.as_deref().unwrap_or(&entry.client_id));
        for (index, tenant) in entry.tenants.iter().enumerate() {
            self.known_tenant(&format!("{at}.tenants[{index}]"), tenant)?;
            app = app.tenant(tenant);
        }
        for secret in &entry.secrets {
            let until = secret.expires.map_or(u64::MAX, |at| at.unix_timestamp().try_into().unwrap_or(0));
            app = app.secret_until(&secret.value, until);
        }
        if entry.agent_of.is_some()
            && !(entry.secrets.is_empty()
                && entry.certificates.is_empty()
                && entry.subject_names.is_empty()
                && entry.federated_credentials.is_empty())
        {
            return wrong(format!("{at}.agentOf"), "found an agent with a credential, accepted: one without");
        }
        for (index, certificate) in std::mem::take(&mut entry.certificates).into_iter().enumerate() {
            app = self.register(app, &format!("{at}.certificates[{index}]"), certificate)?;
        }
        for name in &entry.subject_names {
            app = app.subject_name(&name.subject, &name.issuer);
        }
        for federated in &entry.federated_credentials {
            app = app.federated_credential(&federated.issuer, &federated.subject, &federated.audience);
        }
        for grant in &entry.resources {
            app = app.resource(&grant.resource, grant.roles.iter().map(String::as_str));
        }
        for path in &entry.fmi_paths {
            app = app.fmi_path(path);
        }
        if let Some(seconds) = entry.token_lifetime_seconds {
            app = app.token_lifetime(Duration::from_secs(seconds));
        }
        if let Some(seconds) = entry.refresh_in_seconds {
            app = app.refresh_in(Duration::from_secs(seconds));
        }
        app = users_of(app, &entry);
        for policy in entry.conditional_access {
            app = app.conditional_access(policy.policy());
        }
        self.parts.faults.extend(entry.faults.into_iter().map(|rule| rule.client(&entry.client_id)));
        Ok(app)
    }

    fn register(&self, app: Registration, at: &str, entry: CertificateEntry) -> Result<Registration, Wrong> {
        match entry {
            CertificateEntry::File(file) => {
                Ok(app.certificate(self.certificate(&format!("{at}.file"), &file)?))
            }
            CertificateEntry::Pem(pem) => {
                app.certificate_pem(&pem).or_else(|error| wrong(format!("{at}.pem"), error.to_string()))
            }
            CertificateEntry::Thumbprint(text) => match app.certificate_thumbprint(&text) {
                Some(app) => Ok(app),
                None => wrong(
                    format!("{at}.thumbprint"),
                    format!(
                        "found '{text}', accepted: a SHA-1 or SHA-256 thumbprint in hexadecimal or base64"
                    ),
                ),
            },
        }
    }

    /// A certificate of a file in the data directory, PEM or DER.
    fn certificate(&self, at: &str, file: &Path) -> Result<Certificate, Wrong> {
        let path = self.directory.join(file);
        let bytes = fs::read(&path).or_else(|error| wrong(at, format!("{}: {error}", path.display())))?;
        let parsed = match std::str::from_utf8(&bytes) {
            Ok(text) if text.contains("-----BEGIN") => Certificate::from_pem(text),
            _ => Certificate::from_der(&bytes),
        };
        parsed.or_else(|error| wrong(at, format!("{}: {error}", path.display())))
    }
}

/// What an application may do with users and agents.
fn users_of(mut app: Registration, entry: &Application) -> Registration {
    for uri in &entry.identifier_uris {
        app = app.identifier_uri(uri);
    }
    for uri in &entry.redirect_uris {
        app = app.redirect_uri(uri);
    }
    for scope in &entry.scopes {
        app = app.scope(scope);
    }
    if let Some(blueprint) = &entry.agent_of {
        app = app.agent_of(blueprint);
    }
    if let Some(flows) = &entry.mtls_flows {
        app = app.mtls_flows(flows.iter().copied());
    }
    if let Some(seconds) = entry.refresh_token_lifetime_seconds {
        app = app.refresh_token_lifetime(Duration::from_secs(seconds));
    }
    app.names_users(entry.names_users).rotating(entry.rotating).tls_client_auth(entry.tls_client_auth)
}

fn version_2() -> u8 {
    2
}

fn yes() -> bool {
    true
}
