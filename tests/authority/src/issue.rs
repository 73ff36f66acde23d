//! Issuing tokens: what they say, and how an answer carries them.

use aws_lc_rs::digest;
use serde_json::{Map, Value, json};

use crate::{
    Registration, Tenant,
    conditional_access::RequestedClaims,
    encoding::{base64url, guid_bytes, random},
    hosts::Cloud,
    jwt::SigningKey,
    refusal::{self, Refusal},
    scopes::Target,
    user::Account,
};

/// What an access token is made from.
pub(crate) struct Token<'a> {
    pub(crate) tenant: &'a Tenant,
    pub(crate) cloud: &'a Cloud,
    pub(crate) client_id: &'a str,
    /// `azpacr`: 0 for none, 1 for a secret, 2 for a certificate or a federated credential.
    pub(crate) strength: u8,
    /// Of an agent, its blueprint's client id.
    pub(crate) blueprint: Option<&'a str>,
    pub(crate) target: &'a Target,
    pub(crate) subject: Subject<'a>,
    pub(crate) scheme: &'a Scheme,
    pub(crate) requested: &'a RequestedClaims,
    pub(crate) lifetime: u64,
    pub(crate) now_unix: u64,
}

/// Whom a token is about.
pub(crate) enum Subject<'a> {
    /// An application itself.
    Application {
        object_id: String,
        /// The object id, or the path below the application for an `fmi_path`.
        subject: String,
        roles: Vec<String>,
        /// `attributes` and `attribute_tokens`.
        attributes: Vec<(&'static str, Value)>,
    },
    /// A user, with the delegated scopes.
    User {
        account: &'a Account,
        object_id: &'a str,
        scopes: &'a [String],
        /// The user is the agent's own.
        of_agent: bool,
    },
}

/// How a token is to be presented.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Scheme {
    Bearer,
    /// Bound to the certificate with this `x5t#S256` (RFC 8705).
    MtlsPop(String),
    /// Bound to the key of this `cnf.kid`, which signs each HTTP request.
    Pop(String),
}

impl Scheme {
    fn token_type(&self) -> &'static str {
        match self {
            Self::Bearer => "Bearer",
            Self::MtlsPop(_) => "mtls_pop",
            Self::Pop(_) => "pop",
        }
    }

    fn confirmation(&self) -> Option<Value> {
        match self {
            Self::Bearer => None,
            Self::MtlsPop(thumbprint) => Some(json!({ "x5t#S256": thumbprint })),
            Self::Pop(kid) => Some(json!({ "kid": kid })),
        }
    }
}

/// The issuers of a tenant's tokens: version 1, version 2.
pub(crate) fn issuers(cloud: &Cloud, tenant_id: &str) -> [String; 2] {
    let v1_host = match cloud.preferred_network.as_str() {
        "login.microsoftonline.com" | "login.microsoftonline.us" => "sts.windows.net",
        "login.partner.microsoftonline.cn" => "sts.chinacloudapi.cn",
        "login.windows-ppe.net" => "sts.windows-ppe.net",
        other => other,
    };
    [
        format!("https://{v1_host}/{tenant_id}/"),
        format!("https://{}/{tenant_id}/v2.0", cloud.preferred_network),
    ]
}

/// The answer to a granted token request.
pub(crate) fn answer(token: &Token<'_>, application: &Registration, key: &SigningKey) -> Value {
    let mut answer = json!({
        "token_type": token.scheme.token_type(),
        "expires_in": token.lifetime,
        "ext_expires_in": token.lifetime,
        "access_token": key.sign(&token.claims()),
    });
    if let Some(refresh_in) = application.refresh_in {
        answer["refresh_in"] = json!(refresh_in.as_secs());
    }
    answer
}

/// What an application may do with the resource, as roles of its token.
pub(crate) fn roles(application: &Registration, target: &Target) -> Result<Vec<String>, Refusal> {
    let Some(granted) = &application.resources else { return Ok(target.resource.roles.clone()) };
    let found = granted.iter().find(|granted| target.resource.is(&granted.resource));
    found.map(|granted| granted.roles.clone()).ok_or_else(|| {
        refusal::ROLE_NOT_ASSIGNED.because(format!(
            "Application '{}'({}) is not assigned to a role for the application '{}'.",
            application.client_id, application.name, target.identifier
        ))
    })
}

/// The subject of a token for an `fmi_path`: the path below the application, as Entra ID writes it.
pub(crate) fn fmi_subject(tenant_id: &str, client_id: &str, path: &str) -> String {
    let short = |id: &str| base64url(&guid_bytes(id).map_or_else(|| id.as_bytes().to_vec(), microsoft_order));
    format!("/eid1/c/pub/t/{}/a/{}/{path}", short(tenant_id), short(client_id))
}

/// The user's `sub`, which differs from audience to audience.
pub(crate) fn pairwise_subject(object_id: &str, audience: &str) -> String {
    let name = format!("{object_id}/{}", audience.to_ascii_lowercase());
    base64url(digest::digest(&digest::SHA256, name.as_bytes()).as_ref())
}

impl Token<'_> {
    pub(crate) fn claims(&self) -> Value {
        let mut claims = Map::new();
        let mut put = |name: &str, value: Value| claims.insert(name.to_owned(), value);
        let [v1, v2] = issuers(self.cloud, &self.tenant.id);
        let strength = self.strength.to_string();
        put("aud", json!(self.audience()));
        put("iss", json!(if self.target.resource.token_version == 1 { v1 } else { v2 }));
        put("iat", json!(self.now_unix));
        put("nbf", json!(self.now_unix));
        put("exp", json!(self.now_unix + self.lifetime));
        put("appid", json!(self.client_id));
        put("appidacr", json!(strength));
        put("azp", json!(self.client_id));
        put("azpacr", json!(strength));
        put("tid", json!(self.tenant.id));
        put("uti", json!(base64url(&random::<16>())));
        put("ver", json!(format!("{}.0", self.target.resource.token_version)));
        if let Some(confirmation) = self.scheme.confirmation() {
            put("cnf", confirmation);
        }
        if let Some(blueprint) = self.blueprint {
            put("xms_par_app_azp", json!(blueprint));
            put("xms_act_fct", json!(AGENT));
        }
        for (name, asked) in
            [("xms_cc", self.requested.values("xms_cc")), ("acrs", self.requested.values("acrs"))]
        {
            if !asked.is_empty() {
                put(name, json!(asked));
            }
        }
        self.subject_claims(&mut put);
        Value::Object(claims)
    }

    /// Version 1 tokens repeat the identifier that was asked for, version 2 tokens name the application.
    fn audience(&self) -> &str {
        match self.target.resource.token_version {
            1 => &self.target.identifier,
            _ => &self.target.resource.app_id,
        }
    }

    fn subject_claims(&self, put: &mut impl FnMut(&str, Value) -> Option<Value>) {
        match &self.subject {
            Subject::Application { object_id, subject, roles, attributes } => {
                put("idtyp", json!("app"));
                put("oid", json!(object_id));
                put("sub", json!(subject));
                if !roles.is_empty() {
                    put("roles", json!(roles));
                }
                for (name, value) in attributes {
                    put(name, value.clone());
                }
            }
            Subject::User { account, object_id, scopes, of_agent } => {
                put("idtyp", json!("user"));
                put("oid", json!(object_id));
                put("sub", json!(pairwise_subject(object_id, &self.target.resource.app_id)));
                put("name", json!(account.user.name));
                put("upn", json!(account.user.user_principal_name));
                put("preferred_username", json!(account.user.user_principal_name));
                put("scp", json!(scopes.join(" ")));
                if *of_agent {
                    put("xms_sub_fct", json!(AGENT_USER));
                }
            }
        }
    }
}

/// Microsoft's byte order of a GUID: the first three groups are little-endian.
fn microsoft_order(bytes: [u8; 16]) -> Vec<u8> {
    const ORDER: [usize; 16] = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
    ORDER.iter().filter_map(|&at| bytes.get(at).copied()).collect()
}

/// The facets by which tokens tell agents: an agent identity, and the user of one.
const AGENT: &str = "11";
const AGENT_USER: &str = "13";
