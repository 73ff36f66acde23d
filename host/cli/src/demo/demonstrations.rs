//! The rows to be.

use serde::Serialize;

use super::expectation::{Leg, Proof};

/// A row to be: a call, one of the authority's ready-made configurations, and what the authority has to see.
pub(super) struct Demonstration {
    pub(super) kind: Kind,
    pub(super) configuration: &'static str,
    /// Environment variables that override the configuration.
    pub(super) settings: &'static [(&'static str, &'static str)],
    pub(super) transport: Transport,
    /// What is special about it, for people.
    pub(super) note: &'static str,
    pub(super) legs: &'static [Leg],
}

/// What a row is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    ForClient,
    /// The same, for a token that is bound to the certificate.
    ForClientBound,
    OnBehalfOf,
    LongRunning,
    ByRefreshToken,
    Silent,
    ByAuthorizationCode,
    ByUsernamePassword,
    ByUserFederatedIdentityCredential,
    /// For the agent itself.
    ForAgent,
    /// For a user of the agent.
    ForAgentsUser,
    /// On behalf of a user, as the agent.
    AsAgent,
    /// For the identity of a virtual machine, bound to a certificate that the platform issues.
    ForManagedIdentity,
}

impl Kind {
    /// The name of the flow.
    pub(super) fn flow(self) -> &'static str {
        match self {
            Self::ForClient | Self::ForClientBound => "for-client",
            Self::OnBehalfOf => "on-behalf-of",
            Self::LongRunning => "long-running",
            Self::ByRefreshToken => "by-refresh-token",
            Self::Silent => "silent",
            Self::ByAuthorizationCode => "by-authorization-code",
            Self::ByUsernamePassword => "by-username-password",
            Self::ByUserFederatedIdentityCredential => "by-user-federated-identity-credential",
            Self::ForAgent | Self::ForAgentsUser | Self::AsAgent => "for-agent",
            Self::ForManagedIdentity => "for-managed-identity",
        }
    }

    pub(super) fn token_type(self) -> &'static str {
        match self {
            Self::ForClientBound | Self::ForManagedIdentity => "mtls_pop",
            _ => "Bearer",
        }
    }
}

/// How the client authenticates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Transport {
    Secret,
    Assertion,
    CertificateOverMtls,
    MtlsPop,
    /// No token at all.
    MtlsOnly,
}

pub(super) const DEMONSTRATIONS: &[Demonstration] = &[
    Demonstration {
        kind: Kind::ForClient,
        configuration: "secret",
        settings: &[],
        transport: Transport::Secret,
        note: "",
        legs: &[at_login("client_credentials", Proof::Secret)],
    },
    by_assertion(Kind::ForClient, "certificate", "", &[at_login("client_credentials", Proof::Assertion)]),
    by_assertion(
        Kind::ForClient,
        "subject-name",
        "with x5c",
        &[at_login("client_credentials", Proof::AssertionWithChain)],
    ),
    over_mtls(Kind::ForClient, "mtls", &[], "", &[at_mtls("client_credentials", Proof::AssertionOverMtls)]),
    over_mtls(
        Kind::ForClient,
        "mtls",
        &[("AzureAd__AzureRegion", "westus2")],
        "(regional)",
        &[Leg {
            grant: "client_credentials",
            host: "westus2.mtlsauth.microsoft.com",
            proof: Proof::AssertionOverMtls,
        }],
    ),
    Demonstration {
        kind: Kind::ForClientBound,
        configuration: "bound",
        settings: &[],
        transport: Transport::MtlsPop,
        note: "",
        legs: &[at_mtls("client_credentials", Proof::Certificate)],
    },
    by_assertion(Kind::OnBehalfOf, WEB_API, "", &[at_login(JWT_BEARER, Proof::Assertion)]),
    over_mtls(Kind::OnBehalfOf, WEB_API_BOUND, &[], "", &[at_mtls(JWT_BEARER, Proof::AssertionOverMtls)]),
    by_assertion(Kind::LongRunning, WEB_API, "", &[at_login(JWT_BEARER, Proof::Assertion)]),
    over_mtls(Kind::LongRunning, WEB_API_BOUND, &[], "", &[at_mtls(JWT_BEARER, Proof::AssertionOverMtls)]),
    by_assertion(Kind::ByRefreshToken, WEB_API, "", &[at_login("refresh_token", Proof::Assertion)]),
    over_mtls(
        Kind::ByRefreshToken,
        WEB_API_BOUND,
        &[],
        "",
        &[at_mtls("refresh_token", Proof::AssertionOverMtls)],
    ),
    by_assertion(Kind::Silent, WEB_API, "", &[at_login("refresh_token", Proof::Assertion)]),
    over_mtls(Kind::Silent, WEB_API_BOUND, &[], "", &[at_mtls("refresh_token", Proof::AssertionOverMtls)]),
    by_assertion(Kind::ByAuthorizationCode, WEB_API, "", &[at_login("authorization_code", Proof::Assertion)]),
    over_mtls(
        Kind::ByAuthorizationCode,
        WEB_API_BOUND,
        &[],
        "",
        &[at_mtls("authorization_code", Proof::AssertionOverMtls)],
    ),
    by_assertion(Kind::ByUsernamePassword, WEB_API, "", &[at_login("password", Proof::Assertion)]),
    over_mtls(
        Kind::ByUsernamePassword,
        WEB_API_BOUND,
        &[("Symbolon__BoundFlows__0", "by-username-password")],
        "",
        &[at_mtls("password", Proof::AssertionOverMtls)],
    ),
    by_assertion(
        Kind::ByUserFederatedIdentityCredential,
        WEB_API,
        "",
        &[at_login("user_fic", Proof::Assertion)],
    ),
    over_mtls(
        Kind::ByUserFederatedIdentityCredential,
        WEB_API_BOUND,
        &[("Symbolon__BoundFlows__0", "by-user-federated-identity-credential")],
        "",
        &[at_mtls("user_fic", Proof::AssertionOverMtls)],
    ),
    agent_by_assertion(
        Kind::ForAgent,
        "(app-only)",
        &[LEG_1, at_login("client_credentials", Proof::AgentToken)],
    ),
    agent_over_mtls(
        Kind::ForAgent,
        "(app-only)",
        &[BOUND_LEG_1, at_mtls("client_credentials", Proof::BoundAgentToken)],
    ),
    agent_by_assertion(
        Kind::ForAgentsUser,
        "(user)",
        &[LEG_1, at_login("client_credentials", Proof::AgentToken), at_login("user_fic", Proof::AgentToken)],
    ),
    agent_over_mtls(
        Kind::ForAgentsUser,
        "(user)",
        &[
            BOUND_LEG_1,
            at_mtls("client_credentials", Proof::BoundAgentToken),
            at_mtls("user_fic", Proof::BoundAgentToken),
        ],
    ),
    agent_by_assertion(Kind::AsAgent, "(as the agent)", &[LEG_1, at_login(JWT_BEARER, Proof::AgentToken)]),
    agent_over_mtls(
        Kind::AsAgent,
        "(as the agent)",
        &[BOUND_LEG_1, at_mtls(JWT_BEARER, Proof::BoundAgentToken)],
    ),
    Demonstration {
        kind: Kind::ForManagedIdentity,
        configuration: "secret",
        settings: &[("Symbolon__AllowUnattestedKeys", "true")],
        transport: Transport::MtlsPop,
        note: "(virtual machine)",
        legs: &[Leg {
            grant: "client_credentials",
            host: "westus2.mtlsauth.microsoft.com",
            proof: Proof::Certificate,
        }],
    },
];

const WEB_API: &str = "web-api-certificate";
const WEB_API_BOUND: &str = "web-api-bound";
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// The blueprint gets the token that the agent proves itself with.
const LEG_1: Leg = at_login("client_credentials", Proof::Assertion);
const BOUND_LEG_1: Leg = at_mtls("client_credentials", Proof::Certificate);

const fn by_assertion(
    kind: Kind,
    configuration: &'static str,
    note: &'static str,
    legs: &'static [Leg],
) -> Demonstration {
    Demonstration { kind, configuration, settings: &[], transport: Transport::Assertion, note, legs }
}

const fn over_mtls(
    kind: Kind,
    configuration: &'static str,
    settings: &'static [(&'static str, &'static str)],
    note: &'static str,
    legs: &'static [Leg],
) -> Demonstration {
    Demonstration { kind, configuration, settings, transport: Transport::CertificateOverMtls, note, legs }
}

const fn agent_by_assertion(kind: Kind, note: &'static str, legs: &'static [Leg]) -> Demonstration {
    Demonstration {
        kind,
        configuration: "blueprint-bound",
        settings: &[("AzureAd__ClientCredentials__0__UseBoundCredential", "false")],
        transport: Transport::Assertion,
        note,
        legs,
    }
}

const fn agent_over_mtls(kind: Kind, note: &'static str, legs: &'static [Leg]) -> Demonstration {
    over_mtls(kind, "blueprint-bound", &[("Symbolon__BoundFlows__0", "for-agent")], note, legs)
}

const fn at_login(grant: &'static str, proof: Proof) -> Leg {
    Leg { grant, host: "login.microsoftonline.com", proof }
}

const fn at_mtls(grant: &'static str, proof: Proof) -> Leg {
    Leg { grant, host: "mtlsauth.microsoft.com", proof }
}
