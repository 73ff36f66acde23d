//! The flows that both know, as jobs for MSAL for Python and as calls of our own.

use std::collections::HashMap;
use std::path::PathBuf;

use serde::Serialize;
use serde_json::{Value, json};
use symbolon::{AgentIdentity, Application, AuthenticationResult, Error, TokenRequest, User};
use symbolon_authority::CONTOSO;
use url::Url;
use uuid::Uuid;

/// An application.
#[derive(Clone, Serialize)]
pub(crate) struct Client {
    /// Tells it from others with the same client id.
    pub(crate) name: &'static str,
    client_id: String,
    authority: String,
    credential: Credential,
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<&'static str>,
    capabilities: Vec<&'static str>,
}

/// What an application proves itself with.
#[derive(Clone, Serialize)]
#[serde(untagged)]
pub(crate) enum Credential {
    Secret {
        secret: String,
    },
    /// A certificate with its key. MSAL for Python sends the certificate with the assertion, unless it is named by its
    /// SHA-1 thumbprint.
    Pem {
        pem: PathBuf,
        thumbprint: &'static str,
    },
    /// The same as PFX. MSAL for Python sends its thumbprint alone.
    Pfx {
        pfx: PathBuf,
        password: &'static str,
    },
}

impl Client {
    pub(crate) fn new(name: &'static str, client_id: &str, credential: Credential) -> Self {
        let authority = format!("https://login.microsoftonline.com/{CONTOSO}");
        Self {
            name,
            client_id: client_id.to_owned(),
            authority,
            credential,
            region: None,
            capabilities: Vec::new(),
        }
    }

    pub(crate) fn region(self, region: &'static str) -> Self {
        Self { region: Some(region), ..self }
    }

    pub(crate) fn capability(mut self, capability: &'static str) -> Self {
        self.capabilities.push(capability);
        self
    }

    /// Writes what it is into the section `AzureAd`.
    pub(crate) fn configure(&self, section: &mut Value) {
        section["ClientId"] = json!(self.client_id);
        section["ClientCredentials"] = json!([self.credential.settings()]);
        section["SendX5C"] = json!(matches!(self.credential, Credential::Pem { thumbprint: "SHA-256", .. }));
        section["ClientCapabilities"] = json!(self.capabilities);
        if let Some(region) = self.region {
            section["AzureRegion"] = json!(region);
        }
    }
}

impl Credential {
    fn settings(&self) -> Value {
        match self {
            Self::Secret { secret } => json!({ "SourceType": "ClientSecret", "ClientSecret": secret }),
            Self::Pem { pem, .. } => json!({ "SourceType": "Path", "CertificateDiskPath": pem }),
            Self::Pfx { pfx, password } => {
                json!({ "SourceType": "Path", "CertificateDiskPath": pfx, "CertificatePassword": password })
            }
        }
    }
}

/// A call of an application, and the options that both have.
#[derive(Clone, Serialize)]
pub(crate) struct Call {
    #[serde(flatten)]
    flow: Flow,
    scopes: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    claims: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_claims: Option<&'static str>,
}

/// A flow, and what it needs beside scopes.
#[derive(Clone, Serialize)]
#[serde(tag = "flow", rename_all = "snake_case")]
pub(crate) enum Flow {
    ClientCredentials {
        fmi_path: Option<&'static str>,
    },
    OnBehalfOf {
        assertion: String,
    },
    RefreshToken {
        token: String,
    },
    /// For the only user whom the application knows.
    Silent,
    /// From the sign-in's URL on.
    AuthorizationCode {
        username: &'static str,
        redirect_uri: &'static str,
    },
    UsernamePassword {
        username: &'static str,
        password: &'static str,
    },
    UserFederatedIdentityCredential {
        user: NamedUser,
        assertion: String,
    },
    Agent {
        agent: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        user: Option<NamedUser>,
        #[serde(skip_serializing_if = "Option::is_none")]
        user_assertion: Option<String>,
    },
}

/// A user as an application names one.
#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum NamedUser {
    Username(&'static str),
    UserObjectId(&'static str),
}

impl From<NamedUser> for User {
    fn from(user: NamedUser) -> Self {
        match user {
            NamedUser::Username(name) => Self::Username(name.to_owned()),
            NamedUser::UserObjectId(id) => Self::ObjectId(Uuid::parse_str(id).expect("an object id")),
        }
    }
}

impl Flow {
    pub(crate) fn scopes(self, scopes: impl IntoIterator<Item = &'static str>) -> Call {
        Call { flow: self, scopes: scopes.into_iter().collect(), claims: None, client_claims: None }
    }
}

impl Call {
    pub(crate) fn claims(self, claims: &'static str) -> Self {
        Self { claims: Some(claims), ..self }
    }

    pub(crate) fn client_claims(self, claims: &'static str) -> Self {
        Self { client_claims: Some(claims), ..self }
    }

    /// The call as a job for MSAL for Python.
    pub(crate) fn job(&self, client: &Client) -> Value {
        let mut job = json!(self);
        job["client"] = json!(client);
        job
    }

    /// The call as one of ours. `visit` is the browser: it goes to a URL, and comes back with where that sends it.
    pub(crate) async fn run(
        &self,
        application: &Application,
        visit: impl FnOnce(&str) -> String,
    ) -> Result<AuthenticationResult, Error> {
        let scopes = self.scopes.iter().copied();
        match &self.flow {
            Flow::ClientCredentials { fmi_path } => {
                let mut request = application.acquire_token_for_client(scopes);
                if let Some(path) = fmi_path {
                    request = request.with_fmi_path(*path);
                }
                self.with_options(request).await
            }
            Flow::OnBehalfOf { assertion } => {
                self.with_options(application.acquire_token_on_behalf_of(scopes, assertion)).await
            }
            Flow::RefreshToken { token } => {
                self.with_options(application.acquire_token_by_refresh_token(scopes, token)).await
            }
            Flow::Silent => {
                let accounts = application.accounts().await?;
                let [account] = accounts.as_slice() else { panic!("{} accounts", accounts.len()) };
                self.with_options(application.acquire_token_silent(scopes, account)).await
            }
            Flow::AuthorizationCode { username, redirect_uri } => {
                let sign_in = application
                    .authorization_request(scopes.clone(), *redirect_uri)
                    .with_login_hint(*username)
                    .await?;
                let redirect = Url::parse(&visit(&sign_in.url)).expect("a redirect");
                let parameters: HashMap<_, _> = redirect.query_pairs().into_owned().collect();
                assert_eq!(parameters.get("state"), Some(&sign_in.state));
                let code = parameters.get("code").expect("a code");
                self.with_options(application.acquire_token_by_authorization_code(
                    scopes,
                    code,
                    *redirect_uri,
                ))
                .with_code_verifier(sign_in.code_verifier)
                .await
            }
            Flow::UsernamePassword { username, password } => {
                self.with_options(
                    application.acquire_token_by_username_password(scopes, *username, *password),
                )
                .await
            }
            Flow::UserFederatedIdentityCredential { user, assertion } => {
                let request =
                    application.acquire_token_by_user_federated_identity_credential(scopes, *user, assertion);
                self.with_options(request).await
            }
            Flow::Agent { agent, user, user_assertion } => {
                let identity = match user {
                    Some(user) => AgentIdentity::with_user(*agent, (*user).into()),
                    None => AgentIdentity::app_only(*agent),
                };
                let mut request = application.acquire_token_for_agent(identity, scopes);
                if let Some(assertion) = user_assertion {
                    request = request.with_user_assertion(assertion);
                }
                self.with_options(request).await
            }
        }
    }

    fn with_options<'a, F>(&self, mut request: TokenRequest<'a, F>) -> TokenRequest<'a, F> {
        if let Some(claims) = self.claims {
            request = request.with_claims(claims);
        }
        if let Some(claims) = self.client_claims {
            request = request.with_claims_from_client(claims);
        }
        request
    }
}
