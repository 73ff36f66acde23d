//! A machine: its identities, its secrets, and the tokens that it gets for them.

use std::{
    collections::HashMap,
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use aws_lc_rs::{constant_time, digest};
use serde_json::{Value, json};

use super::{
    azure_arc::Keys,
    identity::{Assigned, Identity, Name},
    source::Source,
};
use crate::{
    Certificate, Tenant,
    conditional_access::RequestedClaims,
    hosts::Cloud,
    issue::{Scheme, Subject, Token},
    lock,
    refusal::{self, Refusal},
    request::Form,
    scopes,
    state::State,
    stats::Counters,
};

/// Everything that the endpoints of one platform know.
pub(crate) struct Machine {
    pub(super) state: Arc<State>,
    pub(super) tenant: Tenant,
    pub(super) login_host: String,
    /// The system-assigned one first.
    pub(super) identities: Vec<Identity>,
    pub(super) region: String,
    pub(super) instance_versions: Vec<String>,
    pub(super) token_lifetime: Duration,
    pub(super) scale_set: Option<String>,
    pub(super) imds_v2: bool,
    pub(super) demand_attestation: bool,
    pub(super) attestation_endpoint: String,
    pub(super) credential_lifetime: Duration,
    pub(super) secrets: Secrets,
    pub(super) fabric_certificate: Certificate,
    pub(super) arc: Keys,
    /// Service Fabric keeps tokens; a client that was refused with one says so.
    pub(super) kept: Mutex<HashMap<KeptKey, Issued>>,
    pub(super) addresses: Vec<(Source, SocketAddr)>,
    pub(crate) counters: Counters,
}

/// The identity's client id, the resource, the capabilities.
pub(super) type KeptKey = (String, String, String);

/// What callers must show to be the machine's own.
pub(super) struct Secrets {
    pub(super) app_service: String,
    pub(super) service_fabric: String,
    pub(super) machine_learning: String,
}

/// A token with what the answers say of it.
#[derive(Clone)]
pub(super) struct Issued {
    pub(super) token: String,
    pub(super) client_id: String,
    pub(super) resource: String,
    pub(super) issued_unix: u64,
    pub(super) expires_unix: u64,
    pub(super) lifetime: u64,
}

impl Issued {
    /// The answer of the instance metadata service, of which most others are a part: every number is a text.
    pub(super) fn as_texts(&self, members: &[&str]) -> Value {
        let mut answer = json!({
            "access_token": self.token,
            "client_id": self.client_id,
            "expires_in": self.lifetime.to_string(),
            "expires_on": self.expires_unix.to_string(),
            "ext_expires_in": self.lifetime.to_string(),
            "not_before": self.issued_unix.to_string(),
            "refresh_token": "",
            "resource": self.resource,
            "token_type": "Bearer",
        });
        if let Value::Object(all) = &mut answer {
            all.retain(|name, _| members.contains(&name.as_str()));
        }
        answer
    }
}

/// Why no identity is the one that is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotFound {
    /// None of that id, or none at all.
    Unknown,
    /// None is named, and there are several.
    Ambiguous,
    /// Named by two ids at once.
    NamedTwice,
}

impl Machine {
    /// The identity that the query names by one of these parameters. Where it names none: the system-assigned one,
    /// else the only one.
    pub(super) fn select(&self, query: &Form, names: &[(&str, Name)]) -> Result<&Identity, NotFound> {
        let mut named = names.iter().filter_map(|(parameter, name)| Some((*name, query.get(parameter)?)));
        let Some((name, value)) = named.next() else { return self.unnamed() };
        if named.next().is_some() {
            return Err(NotFound::NamedTwice);
        }
        self.identities.iter().find(|identity| identity.is(name, value)).ok_or(NotFound::Unknown)
    }

    pub(super) fn system(&self) -> Option<&Identity> {
        self.identities.iter().find(|identity| identity.assigned == Assigned::System)
    }

    fn unnamed(&self) -> Result<&Identity, NotFound> {
        match (self.system(), self.identities.as_slice()) {
            (Some(system), _) => Ok(system),
            (None, [only]) => Ok(only),
            (None, []) => Err(NotFound::Unknown),
            (None, _) => Err(NotFound::Ambiguous),
        }
    }

    /// A token of the identity for the resource, with these client capabilities.
    pub(super) fn issue(
        &self,
        identity: &Identity,
        resource: &str,
        capabilities: &[&str],
        now_unix: u64,
    ) -> Result<Issued, Refusal> {
        let cloud = self.cloud()?;
        let target = scopes::of_application(&format!("{resource}/.default"), &self.state.directory, cloud)?;
        let lifetime = self.token_lifetime.as_secs();
        let token = Token {
            tenant: &self.tenant,
            cloud,
            client_id: &identity.client_id,
            strength: 2,
            blueprint: None,
            target: &target,
            subject: Subject::Application {
                object_id: identity.object_id.clone(),
                subject: identity.object_id.clone(),
                roles: target.resource.roles.clone(),
                attributes: vec![("xms_mirid", json!(identity.resource_id))],
            },
            scheme: &Scheme::Bearer,
            requested: &RequestedClaims::capabilities(capabilities),
            lifetime,
            now_unix,
        };
        Ok(Issued {
            token: self.state.key.sign(&token.claims()),
            client_id: identity.client_id.clone(),
            resource: resource.to_owned(),
            issued_unix: now_unix,
            expires_unix: now_unix + lifetime,
            lifetime,
        })
    }

    /// As [`Machine::issue`], but the token of the last time, unless its digest (SHA-256, lower-case hexadecimal) is
    /// the one to be replaced.
    pub(super) fn issue_kept(
        &self,
        identity: &Identity,
        resource: &str,
        capabilities: &[&str],
        replace: Option<&str>,
        now_unix: u64,
    ) -> Result<Issued, Refusal> {
        let key = (identity.client_id.clone(), resource.to_owned(), capabilities.join(","));
        let mut kept = lock(&self.kept);
        let usable =
            |old: &&Issued| now_unix < old.expires_unix && replace != Some(sha256_hex(&old.token).as_str());
        if let Some(old) = kept.get(&key).filter(usable) {
            return Ok(old.clone());
        }
        let fresh = self.issue(identity, resource, capabilities, now_unix)?;
        kept.insert(key, fresh.clone());
        Ok(fresh)
    }

    pub(super) fn cloud(&self) -> Result<&Cloud, Refusal> {
        let site = self.state.hosts.site(&self.login_host);
        site.map(|site| site.cloud)
            .ok_or_else(|| refusal::REQUEST_INVALID.because("The host is no authority's."))
    }

    /// The environment variables that tell a client of the source.
    pub(crate) fn environment(&self, source: Source) -> Vec<(String, String)> {
        let address = self.address(source);
        let url = |path: &str| format!("http://{address}{path}");
        let variables = match source {
            Source::Imds => vec![("AZURE_POD_IDENTITY_AUTHORITY_HOST", url(""))],
            Source::AppService => vec![
                ("IDENTITY_ENDPOINT", url(super::app_service::PATH)),
                ("IDENTITY_HEADER", self.secrets.app_service.clone()),
            ],
            Source::ServiceFabric => vec![
                ("IDENTITY_ENDPOINT", format!("https://{address}{}", super::service_fabric::PATH)),
                ("IDENTITY_HEADER", self.secrets.service_fabric.clone()),
                ("IDENTITY_SERVER_THUMBPRINT", self.fabric_certificate.sha1_hex()),
            ],
            Source::AzureArc => {
                vec![("IDENTITY_ENDPOINT", url(super::azure_arc::PATH)), ("IMDS_ENDPOINT", url(""))]
            }
            Source::CloudShell => vec![("MSI_ENDPOINT", url(super::cloud_shell::PATH))],
            Source::MachineLearning => {
                let system = self.system().map(|system| system.client_id.clone()).unwrap_or_default();
                vec![
                    ("MSI_ENDPOINT", url(super::machine_learning::PATH)),
                    ("MSI_SECRET", self.secrets.machine_learning.clone()),
                    ("DEFAULT_IDENTITY_CLIENT_ID", system),
                ]
            }
        };
        variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// For the control port.
    pub(crate) fn describe(&self) -> Value {
        let environment = |source: Source| {
            let variables = self.environment(source).into_iter().map(|(name, value)| (name, json!(value)));
            (source.name().to_owned(), Value::Object(variables.collect()))
        };
        json!({
            "environment": Value::Object(Source::ALL.into_iter().map(environment).collect()),
            "arcKeyDirectory": self.arc.directory,
        })
    }

    pub(super) fn address(&self, source: Source) -> SocketAddr {
        let found = self.addresses.iter().find(|(own, _)| *own == source);
        found.map_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0)), |(_, address)| *address)
    }

    pub(super) fn arc_directory(&self) -> &Path {
        &self.arc.directory
    }
}

/// Compares in constant time; the lengths of the secrets here are no secret.
pub(super) fn same_secret(own: &str, shown: Option<&str>) -> bool {
    shown
        .is_some_and(|shown| constant_time::verify_slices_are_equal(own.as_bytes(), shown.as_bytes()).is_ok())
}

fn sha256_hex(text: &str) -> String {
    crate::encoding::hex(digest::digest(&digest::SHA256, text.as_bytes()).as_ref()).to_ascii_lowercase()
}
