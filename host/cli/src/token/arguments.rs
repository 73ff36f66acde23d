//! What to acquire and how, as the flags or the members of a step say it.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde::{Deserialize, Deserializer};
use symbolon::{AssertionKind, SessionKey};
use uuid::Uuid;

/// What to acquire. Flags and the members of a step are the same thing.
#[derive(Args, Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct AcquisitionArguments {
    /// What the token is for, such as `https://graph.microsoft.com/.default`. Repeat it for more.
    #[arg(long, value_name = "SCOPE")]
    #[serde(alias = "scopes", deserialize_with = "one_or_many")]
    pub(super) scope: Option<Vec<String>>,

    /// `bearer`, the default, or `mtls-pop`: a token bound to the application's certificate.
    #[arg(long, value_enum, value_name = "SCHEME", hide_possible_values = true)]
    pub(super) scheme: Option<Scheme>,

    /// How the token is acquired. The default is `for-client`.
    #[arg(long, value_enum, value_name = "FLOW")]
    pub(super) flow: Option<Flow>,

    /// Asks another authority than the configured one: an https URL of the same type and cloud.
    #[arg(long, value_name = "URL")]
    pub(super) authority: Option<String>,

    /// Asks another directory than the authority's: a tenant id or a domain name.
    #[arg(long, value_name = "TENANT")]
    pub(super) tenant: Option<String>,

    /// The claims of a claims challenge, JSON.
    #[arg(long, value_name = "JSON")]
    pub(super) claims: Option<String>,

    /// The application's own claims, JSON. Tokens with different ones are kept apart.
    #[arg(long, value_name = "JSON")]
    pub(super) client_claims: Option<String>,

    /// Takes no token from the cache.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(super) force_refresh: Option<bool>,

    /// Doesn't take this access token from the cache: the SHA-256 of one that an API refused, in hexadecimal.
    #[arg(long, value_name = "HEX")]
    pub(super) access_token_sha256_to_refresh: Option<String>,

    /// Binds the token to the public key in FILE, a JSON Web Key, with whose private half HTTP requests are signed.
    #[arg(long, value_name = "FILE")]
    pub(super) pop_public_key_file: Option<PathBuf>,

    /// The path that the credential's own assertion shall carry.
    #[arg(long, value_name = "PATH")]
    pub(super) client_assertion_fmi_path: Option<String>,

    /// The id that correlates the request with the authority's logs, a UUID. The default is a random one.
    #[arg(long, value_name = "UUID")]
    pub(super) correlation_id: Option<Uuid>,

    /// `for-client`: asks for a token for this path below the application.
    #[arg(long, value_name = "PATH", help_heading = INPUTS)]
    pub(super) fmi_path: Option<String>,

    /// `on-behalf-of`, `long-running`, `for-agent`: the user's token, issued for the application, is in FILE.
    #[arg(long, value_name = "FILE", help_heading = INPUTS)]
    pub(super) user_assertion_file: Option<PathBuf>,

    /// What the user's token is: `jwt`, the default, `saml-1.1` or `saml-2.0`, both base64url.
    #[arg(long, value_enum, value_name = "KIND", hide_possible_values = true, help_heading = INPUTS)]
    pub(super) assertion_kind: Option<Kind>,

    /// `long-running`: the key of the process. With a user's token the default is `AllocateForMe`, and the JSON output
    /// has the key that was allocated; without, it is the key of the latest step that has one.
    #[arg(long, value_name = "KEY", value_parser = session_key, help_heading = INPUTS)]
    #[serde(deserialize_with = "some_session_key")]
    pub(super) session_key: Option<SessionKey>,

    /// `long-running`: uses what the process has already, for the same user only.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", help_heading = INPUTS)]
    pub(super) search_in_cache: Option<bool>,

    /// `silent`: the home account id of a known user. The default is the user of the latest step that made one known,
    /// else the only one.
    #[arg(long, value_name = "ID", help_heading = INPUTS)]
    pub(super) account: Option<String>,

    /// `by-refresh-token`: the refresh token is in FILE.
    #[arg(long, value_name = "FILE", help_heading = INPUTS)]
    pub(super) refresh_token_file: Option<PathBuf>,

    /// `by-authorization-code`: the code is in FILE.
    #[arg(long, value_name = "FILE", help_heading = INPUTS)]
    pub(super) code_file: Option<PathBuf>,

    /// `by-authorization-code`: where the sign-in sent the code.
    #[arg(long, value_name = "URI", help_heading = INPUTS)]
    pub(super) redirect_uri: Option<String>,

    /// `by-authorization-code`: the verifier of the sign-in's code challenge is in FILE.
    #[arg(long, value_name = "FILE", help_heading = INPUTS)]
    pub(super) code_verifier_file: Option<PathBuf>,

    /// `by-authorization-code`: asks for a second code, for a single-page application. The JSON output has it.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", help_heading = INPUTS)]
    pub(super) spa_code: Option<bool>,

    /// `by-username-password`, `by-user-federated-identity-credential`: the user principal name.
    #[arg(long, value_name = "NAME", help_heading = INPUTS)]
    pub(super) username: Option<String>,

    /// `by-username-password`: the password is in FILE.
    #[arg(long, value_name = "FILE", help_heading = INPUTS)]
    pub(super) password_file: Option<PathBuf>,

    /// `by-user-federated-identity-credential`: the user's object id, instead of the name.
    #[arg(long, value_name = "UUID", help_heading = INPUTS)]
    pub(super) user_id: Option<Uuid>,

    /// `by-user-federated-identity-credential`: the token that lets the application name users is in FILE.
    #[arg(long, value_name = "FILE", help_heading = INPUTS)]
    pub(super) federated_assertion_file: Option<PathBuf>,

    /// `for-agent`: the agent's application (client) id.
    #[arg(long, value_name = "ID", help_heading = INPUTS)]
    pub(super) agent: Option<String>,

    /// `for-agent`: the user principal name of the user whom the agent acts for.
    #[arg(long, value_name = "NAME", help_heading = INPUTS)]
    pub(super) agent_username: Option<String>,

    /// `for-agent`: the object id of the user whom the agent acts for, instead of the name.
    #[arg(long, value_name = "UUID", help_heading = INPUTS)]
    pub(super) agent_user_id: Option<Uuid>,

    /// `for-managed-identity`: the client id of a user-assigned identity. The default is the system-assigned one.
    #[arg(long, value_name = "ID", help_heading = INPUTS)]
    pub(super) managed_identity_client_id: Option<String>,

    /// `for-managed-identity`: the identity's Azure resource id, instead.
    #[arg(long, value_name = "ID", help_heading = INPUTS)]
    pub(super) managed_identity_resource_id: Option<String>,

    /// `for-managed-identity`: the identity's object id, instead.
    #[arg(long, value_name = "ID", help_heading = INPUTS)]
    pub(super) managed_identity_object_id: Option<String>,
}

const INPUTS: &str = "What the flows need (`-` as FILE is standard input)";

/// How a token is used.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Scheme {
    /// Whoever holds the token may use it.
    Bearer,
    /// Only who presents the certificate may use the token.
    MtlsPop,
}

/// What a user's token is.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// A JSON Web Token.
    #[serde(rename = "jwt")]
    Jwt,
    /// A SAML 1.1 assertion, base64url.
    #[value(name = "saml-1.1")]
    #[serde(rename = "saml-1.1")]
    Saml11,
    /// A SAML 2.0 assertion, base64url.
    #[value(name = "saml-2.0")]
    #[serde(rename = "saml-2.0")]
    Saml2,
}

impl From<Kind> for AssertionKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Jwt => Self::Jwt,
            Kind::Saml11 => Self::Saml11,
            Kind::Saml2 => Self::Saml2,
        }
    }
}

/// How a token is acquired; or, in a step, what else is done with what the process knows.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Flow {
    /// For the application itself, by its own credential
    ForClient,
    /// For the user of a token that the application was given
    OnBehalfOf,
    /// The same, to go on when that token has expired; without a user's token: to go on
    LongRunning,
    /// For a user who is known already
    Silent,
    /// For the user of a refresh token that another library kept
    ByRefreshToken,
    /// For the user who signed in
    ByAuthorizationCode,
    /// For the user of a name and password; discouraged
    ByUsernamePassword,
    /// For a user whom the application may name
    ByUserFederatedIdentityCredential,
    /// For an agent of the application: for itself, for a user of its own, or on behalf of a user
    ForAgent,
    /// For an identity that the platform manages
    ForManagedIdentity,
    #[value(skip)]
    StopLongRunning,
    #[value(skip)]
    Accounts,
    #[value(skip)]
    RemoveAccount,
}

impl Flow {
    /// The name in arguments and steps.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::ForClient => "for-client",
            Self::OnBehalfOf => "on-behalf-of",
            Self::LongRunning => "long-running",
            Self::Silent => "silent",
            Self::ByRefreshToken => "by-refresh-token",
            Self::ByAuthorizationCode => "by-authorization-code",
            Self::ByUsernamePassword => "by-username-password",
            Self::ByUserFederatedIdentityCredential => "by-user-federated-identity-credential",
            Self::ForAgent => "for-agent",
            Self::ForManagedIdentity => "for-managed-identity",
            Self::StopLongRunning => "stop-long-running",
            Self::Accounts => "accounts",
            Self::RemoveAccount => "remove-account",
        }
    }

    /// What it uses beside `flow`.
    pub(super) fn members(self) -> impl Iterator<Item = &'static str> {
        let (acquires, own): (&[_], &[_]) = match self {
            Self::ForClient => (&[COMMON, CACHED], &["fmi_path"]),
            Self::OnBehalfOf => (&[COMMON, CACHED], &["user_assertion_file", "assertion_kind"]),
            Self::LongRunning => (
                &[COMMON, CACHED],
                &["user_assertion_file", "assertion_kind", "session_key", "search_in_cache"],
            ),
            Self::Silent => (&[COMMON, CACHED], &["account"]),
            Self::ByRefreshToken => (&[COMMON], &["refresh_token_file"]),
            Self::ByAuthorizationCode => {
                (&[COMMON], &["code_file", "redirect_uri", "code_verifier_file", "spa_code"])
            }
            Self::ByUsernamePassword => (&[COMMON], &["username", "password_file"]),
            Self::ByUserFederatedIdentityCredential => {
                (&[COMMON], &["federated_assertion_file", "username", "user_id"])
            }
            Self::ForAgent => (
                &[COMMON, CACHED],
                &["agent", "agent_username", "agent_user_id", "user_assertion_file", "assertion_kind"],
            ),
            Self::ForManagedIdentity => (
                &[PLATFORM, CACHED],
                &["managed_identity_client_id", "managed_identity_resource_id", "managed_identity_object_id"],
            ),
            Self::Accounts => (&[], &[]),
            Self::StopLongRunning => (&[], &["session_key"]),
            Self::RemoveAccount => (&[], &["account"]),
        };
        own.iter().chain(acquires.iter().copied().flatten()).copied()
    }
}

/// What every acquisition uses.
const COMMON: &[&str] = &[
    "scope",
    "scheme",
    "authority",
    "tenant",
    "claims",
    "client_claims",
    "pop_public_key_file",
    "client_assertion_fmi_path",
    "correlation_id",
];

/// What acquisitions use that don't ask the authority.
const PLATFORM: &[&str] = &["scope", "scheme", "claims", "correlation_id"];

/// What acquisitions use that look into the cache.
const CACHED: &[&str] = &["force_refresh", "access_token_sha256_to_refresh"];

macro_rules! of_every_member {
    ($($member:ident),* $(,)?) => {
        impl AcquisitionArguments {
            #[cfg(test)]
            const MEMBERS: &[&str] = &[$(stringify!($member)),*];

            /// These where they say something, `defaults` otherwise.
            pub(super) fn or(self, defaults: &Self) -> Self {
                Self { $($member: self.$member.or_else(|| defaults.$member.clone())),* }
            }

            /// The members that say something.
            pub(super) fn given(&self) -> impl Iterator<Item = &'static str> {
                [$((stringify!($member), self.$member.is_some())),*]
                    .into_iter()
                    .filter_map(|(member, given)| given.then_some(member))
            }
        }
    };
}

of_every_member![
    scope,
    scheme,
    flow,
    authority,
    tenant,
    claims,
    client_claims,
    force_refresh,
    access_token_sha256_to_refresh,
    pop_public_key_file,
    client_assertion_fmi_path,
    correlation_id,
    fmi_path,
    user_assertion_file,
    assertion_kind,
    session_key,
    search_in_cache,
    account,
    refresh_token_file,
    code_file,
    redirect_uri,
    code_verifier_file,
    spa_code,
    username,
    password_file,
    user_id,
    federated_assertion_file,
    agent,
    agent_username,
    agent_user_id,
    managed_identity_client_id,
    managed_identity_resource_id,
    managed_identity_object_id,
];

impl AcquisitionArguments {
    /// Lets relative paths start at `directory`.
    pub(super) fn relative_to(mut self, directory: &Path) -> Self {
        let files = [
            &mut self.pop_public_key_file,
            &mut self.user_assertion_file,
            &mut self.refresh_token_file,
            &mut self.code_file,
            &mut self.code_verifier_file,
            &mut self.password_file,
            &mut self.federated_assertion_file,
        ];
        for file in files.into_iter().flatten().filter(|file| file.as_path() != STANDARD_INPUT) {
            *file = directory.join(&file);
        }
        self
    }
}

/// What stands for standard input.
pub(super) const STANDARD_INPUT: &str = "-";

/// A scope, or a list of scopes.
fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected a scope or a list of scopes")]
    enum Scopes {
        One(String),
        Many(Vec<String>),
        None,
    }
    Ok(match Scopes::deserialize(deserializer)? {
        Scopes::One(scope) => Some(vec![scope]),
        Scopes::Many(scopes) => Some(scopes),
        Scopes::None => None,
    })
}

fn session_key(text: &str) -> Result<SessionKey, std::convert::Infallible> {
    Ok(text.into())
}

fn some_session_key<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SessionKey>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.map(SessionKey::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_flows_use_are_members() {
        let of_steps = [Flow::StopLongRunning, Flow::Accounts, Flow::RemoveAccount];
        for flow in Flow::value_variants().iter().chain(&of_steps) {
            for member in flow.members() {
                assert!(AcquisitionArguments::MEMBERS.contains(&member), "{member}");
            }
        }
        let used: Vec<_> = Flow::value_variants().iter().flat_map(|flow| flow.members()).collect();
        for member in AcquisitionArguments::MEMBERS.iter().filter(|member| **member != "flow") {
            assert!(used.contains(member), "nothing uses {member}");
        }
    }

    #[test]
    fn names_are_those_of_arguments_and_steps() {
        for flow in Flow::value_variants() {
            assert_eq!(flow.to_possible_value().unwrap().get_name(), flow.name());
        }
        for name in ["for-client", "stop-long-running", "accounts", "remove-account"] {
            let flow: Flow = serde_json::from_value(name.into()).unwrap();
            assert_eq!(flow.name(), name);
        }
    }

    #[test]
    fn a_session_key_is_not_shown() {
        let arguments =
            AcquisitionArguments { session_key: Some("canary".into()), ..AcquisitionArguments::default() };
        assert_eq!(arguments.given().collect::<Vec<_>>(), ["session_key"]);
        assert!(!format!("{arguments:?}").contains("canary"));
    }
}
