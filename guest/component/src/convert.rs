//! Between the words of the interfaces and those of the core.
//!
//! Every shell over the core has this file: it says `words` for whatever its own interfaces are called.

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use symbolon_protocol::acquisition as core_acquisition;
use symbolon_protocol::authority::{AuthorityKind, SignatureAlgorithm};
use symbolon_protocol::authorization::AuthorizationRequest;
use symbolon_protocol::cache::{
    AccessTokenItem, AccountItem, AppMetadataItem, Components, IdTokenItem, RefreshTokenItem,
};
use symbolon_protocol::challenge;
use symbolon_protocol::credential as core_credential;
use symbolon_protocol::error as core_error;
use symbolon_protocol::platform::{self as core_platform, Platform};
use symbolon_protocol::request as core_request;

use crate::words::{self, acquisition, cache, facts, platform, provider, transport, types};

/// Conversions between enums whose variants have the same names on both sides.
macro_rules! convert_enums {
    ($($visibility:vis $name:ident: $from:ty => $to:ty { $($variant:ident)* })*) => {$(
        $visibility fn $name(value: $from) -> $to {
            match value { $(<$from>::$variant => <$to>::$variant,)* }
        }
    )*};
}

convert_enums! {
    authority_type: acquisition::AuthorityType => AuthorityKind { Aad B2c Ciam Adfs Dsts Oidc }
    scheme: acquisition::Scheme => core_request::Scheme { Bearer MtlsPop }
    presented: acquisition::Presented => challenge::Presented { Token Certificate }
    assertion_kind: acquisition::AssertionKind => core_request::AssertionKind { Jwt Saml11 Saml2 }
    bound_flow: acquisition::BoundFlow => core_request::BoundFlow {
        ByUserFederatedIdentityCredential ByUsernamePassword ForAgent
    }
    token_source: core_request::TokenSource => acquisition::TokenSource { IdentityProvider Cache }
    refresh_reason: core_request::CacheRefreshReason => acquisition::CacheRefreshReason {
        NotApplicable ForceRefreshOrClaims NoCachedAccessToken Expired ProactivelyRefreshed
    }
    error_kind: core_error::ErrorKind => types::ErrorKind {
        InvalidRequest InteractionRequired InvalidClient Refused Throttled TemporarilyUnavailable TransportFailed
        OutcomeUnknown CredentialUnavailable CredentialUnsupported BoundTransportNotEnabled ProtocolViolation
    }
    reported_kind: types::ErrorKind => core_error::ErrorKind {
        InvalidRequest InteractionRequired InvalidClient Refused Throttled TemporarilyUnavailable TransportFailed
        OutcomeUnknown CredentialUnavailable CredentialUnsupported BoundTransportNotEnabled ProtocolViolation
    }
    pub(crate) absence: cache::Absence => core_acquisition::Absence { Absent Expired Bypassed }
    pub(crate) purpose: core_credential::Purpose => provider::Purpose { Authenticate Bind AuthenticateUnbound }
    pub(crate) fact_kind: core_acquisition::FactKind => facts::FactKind {
        InstanceDiscovery OidcMetadata Region Throttle BoundRefusal
    }
    pub(crate) outcome: core_credential::Outcome => provider::Outcome { Used Rejected }
    pub(crate) algorithm: SignatureAlgorithm => provider::SignatureAlgorithm { Rs256 Ps256 Es256 }
    described_algorithm: provider::SignatureAlgorithm => SignatureAlgorithm { Rs256 Ps256 Es256 }
    bound_use: provider::BoundUse => core_credential::BoundUse { Unspecified Never Preferred Required }
    credential_kind: provider::CredentialKind => core_credential::CredentialKind {
        ClientSecret Certificate SignedAssertion
    }
    credential_error_kind: provider::ErrorKind => core_credential::CredentialErrorKind {
        NotConfigured Unavailable Unsupported Refused
    }
}

pub(crate) fn refusal(refusal: acquisition::Refusal) -> challenge::Refusal {
    challenge::Refusal {
        presented: presented(refusal.presented),
        answer: match refusal.answer {
            acquisition::ApiAnswer::Status(status) => challenge::Answer::Status(status),
            acquisition::ApiAnswer::Alert(alert) => challenge::Answer::Alert(alert),
        },
        challenges: refusal.challenges,
        attempt: refusal.attempt,
        bad_request_rejects: refusal.bad_request_rejects,
    }
}

pub(crate) fn verdict(verdict: challenge::Verdict) -> acquisition::Verdict {
    match verdict {
        challenge::Verdict::Accept => acquisition::Verdict::Accept,
        challenge::Verdict::AcquireWithClaims(claims) => acquisition::Verdict::AcquireWithClaims(claims),
        challenge::Verdict::ReselectCertificate => acquisition::Verdict::ReselectCertificate,
    }
}

pub(crate) fn request(request: acquisition::Request) -> core_request::Request {
    core_request::Request {
        flow: flow(request.flow),
        scopes: request.scopes,
        scheme: scheme(request.scheme),
        options: request.options.map(options).unwrap_or_default(),
    }
}

fn flow(flow: acquisition::Flow) -> core_request::Flow {
    use acquisition::Flow as From;
    use core_request::Flow as To;
    match flow {
        From::ForClient(flow) => To::ForClient(core_request::ClientFlow {
            fmi_path: flow.fmi_path,
            attributes: flow.attributes,
            attribute_tokens: flow.attribute_tokens,
        }),
        From::OnBehalfOf(assertion) => To::OnBehalfOf(user_assertion(assertion)),
        From::InitiateLongRunningProcess(start) => {
            To::InitiateLongRunningProcess(core_request::SessionStart {
                assertion: user_assertion(start.assertion),
                session_key: start.session_key,
                search_in_cache: start.search_in_cache,
            })
        }
        From::AcquireInLongRunningProcess(key) => To::AcquireInLongRunningProcess(key),
        From::Silent(account) => To::Silent(account),
        From::ByRefreshToken(token) => To::ByRefreshToken(core_request::RefreshToken(token)),
        From::ByAuthorizationCode(code) => To::ByAuthorizationCode(core_request::AuthorizationCode {
            code: code.code,
            redirect_uri: code.redirect_uri,
            code_verifier: code.code_verifier,
            spa_code: code.spa_code,
            offline_access: code.offline_access,
        }),
        From::ByUsernamePassword(user) => To::ByUsernamePassword(core_request::UsernamePassword {
            username: user.username,
            password: user.password,
        }),
        From::ByUserFederatedIdentityCredential(federated) => {
            To::ByUserFederatedIdentityCredential(core_request::FederatedUser {
                user: user(federated.user),
                assertion: federated.assertion,
            })
        }
        From::ForAgent(agent) => To::ForAgent(core_request::AgentFlow {
            agent: agent.agent,
            subject: match agent.subject {
                acquisition::AgentSubject::App => core_request::AgentSubject::App,
                acquisition::AgentSubject::User(named) => core_request::AgentSubject::User(user(named)),
                acquisition::AgentSubject::Assertion(assertion) => {
                    core_request::AgentSubject::Assertion(user_assertion(assertion))
                }
            },
        }),
        From::ForManagedIdentity(flow) => To::ForManagedIdentity(core_request::ManagedIdentityFlow {
            identity: managed_identity(flow.identity),
        }),
    }
}

fn user_assertion(assertion: acquisition::UserAssertion) -> core_request::UserAssertion {
    core_request::UserAssertion { assertion: assertion.assertion, kind: assertion_kind(assertion.kind) }
}

fn user(user: acquisition::User) -> core_request::NamedUser {
    match user {
        acquisition::User::ObjectId(id) => core_request::NamedUser::ObjectId(id),
        acquisition::User::Username(name) => core_request::NamedUser::Username(name),
    }
}

fn managed_identity(identity: acquisition::ManagedIdentityId) -> core_request::ManagedIdentityId {
    use acquisition::ManagedIdentityId as From;
    use core_request::ManagedIdentityId as To;
    match identity {
        From::SystemAssigned => To::SystemAssigned,
        From::ClientId(id) => To::ClientId(id),
        From::ResourceId(id) => To::ResourceId(id),
        From::ObjectId(id) => To::ObjectId(id),
    }
}

fn options(options: acquisition::Options) -> core_request::Options {
    core_request::Options {
        authority: options.authority,
        tenant_id: options.tenant_id,
        claims: options.claims,
        client_claims: options.client_claims,
        force_refresh: options.force_refresh,
        access_token_sha256_to_refresh: options.access_token_sha256_to_refresh,
        pop_public_key: options.pop_public_key,
        client_assertion_fmi_path: options.client_assertion_fmi_path,
        extra_client_assertion_claims: options.extra_client_assertion_claims,
        send_x5c: options.send_x5c,
        cache_partitions: options
            .cache_partitions
            .into_iter()
            .map(|partition| core_request::CachePartition {
                name: partition.name,
                value: partition.value,
                refresh_tokens: partition.refresh_tokens,
            })
            .collect(),
        correlation_id: options.correlation_id,
        extra_query_parameters: options.extra_query_parameters,
        encoded_query_parameters: options.encoded_query_parameters,
        extra_body_parameters: options.extra_body_parameters,
        extra_headers: options.extra_headers,
    }
}

pub(crate) fn sign_in(sign_in: acquisition::SignIn) -> core_request::SignIn {
    core_request::SignIn {
        scopes: sign_in.scopes,
        redirect_uri: sign_in.redirect_uri,
        offline_access: sign_in.offline_access,
        login_hint: sign_in.login_hint,
        domain_hint: sign_in.domain_hint,
        prompt: sign_in.prompt,
        options: sign_in.options.map(options).unwrap_or_default(),
    }
}

pub(crate) fn authorization_request(request: AuthorizationRequest) -> acquisition::AuthorizationRequest {
    acquisition::AuthorizationRequest {
        url: request.url,
        code_verifier: request.code_verifier,
        state: request.state,
        nonce: request.nonce,
    }
}

pub(crate) fn context(context: acquisition::Context) -> core_request::Context {
    core_request::Context {
        application: application(context.application),
        now: context.now,
        deadline: context.deadline,
        seed: context.seed.into(),
        proactive_refresh: context.proactive_refresh,
    }
}

pub(crate) fn application(application: acquisition::Application) -> core_request::Application {
    core_request::Application {
        client_id: application.client_id,
        authority: application.authority,
        authority_type: application.authority_type.map(authority_type),
        skip_authority_validation: application.skip_authority_validation,
        instance_metadata: application.instance_metadata,
        instance_discovery_uri: application.instance_discovery_uri,
        token_endpoint_auth_method: application.token_endpoint_auth_method,
        azure_region: application.azure_region,
        client_capabilities: application.client_capabilities,
        send_x5c: application.send_x5c,
        token_exchange_url: application.token_exchange_url,
        bound_flows: application.bound_flows.into_iter().map(bound_flow).collect(),
    }
}

pub(crate) fn access_token(token: core_request::AccessToken) -> acquisition::AccessToken {
    acquisition::AccessToken {
        token: words::token(token.token),
        token_type: token.token_type,
        expires_on: token.expires_on,
        refresh_on: token.refresh_on,
        scopes: token.scopes,
        tenant_id: token.tenant_id,
        key_id: token.key_id,
        correlation_id: token.correlation_id,
        source: token_source(token.source),
        token_endpoint: token.token_endpoint,
        refresh_reason: refresh_reason(token.refresh_reason),
        region: token.region,
        account: token.account.map(account),
        id_token: token.id_token,
        spa_code: token.spa_code,
        session_key: token.session_key,
        reuse: token
            .reuse
            .map(|reuse| acquisition::Reuse { until: reuse.until, refresh_from: reuse.refresh_from }),
        cache_key: token.cache_key,
    }
}

pub(crate) fn account(account: core_request::Account) -> types::Account {
    types::Account {
        home_account_id: account.home_account_id,
        environment: account.environment,
        username: account.username,
    }
}

pub(crate) fn error(error: core_error::Error) -> types::Error {
    types::Error {
        kind: error_kind(error.kind),
        code: error.code,
        message: error.message,
        retryable: error.retryable,
        retry_after_ms: error.retry_after_ms,
        status: error.status,
        aadsts_codes: error.aadsts_codes,
        suberror: error.suberror,
        claims: error.claims,
        correlation_id: error.correlation_id,
        trace_id: error.trace_id,
        timestamp: error.timestamp,
    }
}

pub(crate) fn lookup(lookup: core_acquisition::Lookup) -> cache::Lookup {
    cache::Lookup {
        alternatives: lookup.alternatives,
        expires_after: lookup.expires_after,
        expires_before: lookup.expires_before,
        bypass: lookup.bypass,
        flight: lookup.flight,
    }
}

pub(crate) fn entry(entry: cache::Entry) -> core_acquisition::Entry {
    use core_acquisition::Entry as To;
    match entry {
        cache::Entry::AccessToken(token) => To::AccessToken(Box::new(cached(token))),
        cache::Entry::RefreshToken(token) => To::RefreshToken(Box::new(RefreshTokenItem {
            home_account_id: token.home_account_id,
            environment: token.environment,
            client_info: None,
            client_id: token.client_id,
            family_id: token.family_id,
            secret: token.secret,
            user_assertion_hash: token.user_assertion_hash,
            components: token.components.into_iter().collect(),
        })),
        cache::Entry::IdToken(token) => To::IdToken(Box::new(IdTokenItem {
            home_account_id: token.home_account_id,
            environment: token.environment,
            client_info: None,
            client_id: token.client_id,
            realm: token.realm,
            secret: token.secret,
        })),
        cache::Entry::Account(account) => To::Account(Box::new(AccountItem {
            home_account_id: account.home_account_id,
            environment: account.environment,
            client_info: None,
            realm: account.realm,
            local_account_id: account.local_account_id,
            username: account.username,
            name: account.name,
            given_name: None,
            family_name: None,
        })),
        cache::Entry::AppMetadata(metadata) => To::AppMetadata(AppMetadataItem {
            environment: metadata.environment,
            client_id: metadata.client_id,
            family_id: metadata.family_id,
        }),
    }
}

fn cached(token: cache::AccessToken) -> AccessTokenItem {
    AccessTokenItem {
        home_account_id: token.home_account_id,
        environment: token.environment,
        client_info: None,
        client_id: token.client_id,
        realm: token.realm,
        target: token.target,
        secret: token.secret,
        token_type: token.token_type,
        key_id: token.key_id,
        user_assertion_hash: token.user_assertion_hash,
        cached_at: token.cached_at,
        expires_on: token.expires_on,
        extended_expires_on: token.extended_expires_on,
        refresh_on: token.refresh_on,
        components: token.components.into_iter().collect(),
        username: token.username,
    }
}

/// The error of the flight that was waited for: as it is, but for MSAL's class, which the interface doesn't carry.
pub(crate) fn failed_flight(error: types::Error) -> core_error::Error {
    let mut failed = core_error::Error::new(reported_kind(error.kind), error.code, error.message);
    failed.retryable = error.retryable;
    failed.retry_after_ms = error.retry_after_ms;
    failed.status = error.status;
    failed.aadsts_codes = error.aadsts_codes;
    failed.suberror = error.suberror;
    failed.claims = error.claims;
    failed.correlation_id = error.correlation_id;
    failed.trace_id = error.trace_id;
    failed.timestamp = error.timestamp;
    failed
}

pub(crate) fn saved(saved: core_acquisition::Saved) -> cache::Saved {
    use core_acquisition::Entry as From;
    cache::Saved {
        entry: match saved.entry {
            From::AccessToken(item) => cache::Entry::AccessToken(access_token_entry(*item)),
            From::RefreshToken(item) => cache::Entry::RefreshToken(refresh_token_entry(*item)),
            From::IdToken(item) => cache::Entry::IdToken(id_token_entry(*item)),
            From::Account(item) => cache::Entry::Account(account_entry(*item)),
            From::AppMetadata(item) => cache::Entry::AppMetadata(app_metadata_entry(item)),
        },
        keys: saved.keys,
        replaces: saved.replaces,
        partition_key: saved.partition_key,
        item_key: saved.item_key,
        groups: saved.groups,
    }
}

fn access_token_entry(item: AccessTokenItem) -> cache::AccessToken {
    cache::AccessToken {
        home_account_id: item.home_account_id,
        environment: item.environment,
        client_id: item.client_id,
        realm: item.realm,
        target: item.target,
        secret: item.secret,
        token_type: item.token_type,
        key_id: item.key_id,
        user_assertion_hash: item.user_assertion_hash,
        cached_at: item.cached_at,
        expires_on: item.expires_on,
        extended_expires_on: item.extended_expires_on,
        refresh_on: item.refresh_on,
        components: pairs(&item.components),
        username: item.username,
    }
}

fn refresh_token_entry(item: RefreshTokenItem) -> cache::RefreshToken {
    cache::RefreshToken {
        home_account_id: item.home_account_id,
        environment: item.environment,
        client_id: item.client_id,
        family_id: item.family_id,
        secret: item.secret,
        user_assertion_hash: item.user_assertion_hash,
        components: pairs(&item.components),
    }
}

fn id_token_entry(item: IdTokenItem) -> cache::IdToken {
    cache::IdToken {
        home_account_id: item.home_account_id,
        environment: item.environment,
        client_id: item.client_id,
        realm: item.realm,
        secret: item.secret,
    }
}

fn account_entry(item: AccountItem) -> cache::Account {
    cache::Account {
        home_account_id: item.home_account_id,
        environment: item.environment,
        realm: item.realm,
        local_account_id: item.local_account_id,
        username: item.username,
        name: item.name,
    }
}

fn app_metadata_entry(item: AppMetadataItem) -> cache::AppMetadata {
    cache::AppMetadata { environment: item.environment, client_id: item.client_id, family_id: item.family_id }
}

fn pairs(components: &Components) -> Vec<(String, String)> {
    components.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

pub(crate) fn description(description: provider::Description) -> core_credential::Description {
    core_credential::Description {
        name: description.name,
        kind: credential_kind(description.kind),
        use_bound: bound_use(description.use_bound),
        omit_assertion_when_bound: description.omit_assertion_when_bound,
        certificate: description.certificate.map(certificate),
    }
}

fn certificate(certificate: provider::Certificate) -> core_credential::Certificate {
    core_credential::Certificate {
        chain: certificate.chain,
        thumbprint_sha256: certificate.thumbprint_sha256,
        thumbprint_sha1: certificate.thumbprint_sha1,
        not_after: certificate.not_after,
        algorithms: certificate.algorithms.into_iter().map(described_algorithm).collect(),
    }
}

pub(crate) fn credential_error(error: provider::Error) -> core_credential::CredentialError {
    core_credential::CredentialError {
        kind: credential_error_kind(error.kind),
        message: error.message,
        retry_after_ms: error.retry_after_ms,
    }
}

pub(crate) fn platform(variables: Vec<platform::Variable>, has_arc_agent: bool) -> Platform {
    let variables = variables.into_iter().map(|variable| (variable.name, variable.value)).collect();
    Platform { variables, has_arc_agent }
}

pub(crate) fn certificate_subject(
    subject: core_platform::CertificateSubject,
) -> platform::CertificateSubject {
    platform::CertificateSubject {
        client_id: subject.client_id,
        tenant_id: subject.tenant_id,
        machine: subject.machine,
        attestation_endpoint: subject.attestation_endpoint,
    }
}

pub(crate) fn certificate_request(
    request: platform::CertificateRequest,
) -> core_platform::CertificateRequest {
    core_platform::CertificateRequest { der: request.der, attestation: request.attestation }
}

pub(crate) fn assertion_context(context: core_credential::AssertionContext) -> provider::AssertionContext {
    provider::AssertionContext {
        client_id: context.client_id,
        token_endpoint: context.token_endpoint,
        tenant_id: context.tenant_id,
        authority: context.authority,
        fmi_path: context.fmi_path,
        claims: context.claims,
        client_capabilities: context.client_capabilities,
        correlation_id: context.correlation_id,
    }
}

pub(crate) fn signed_assertion(assertion: provider::SignedAssertion) -> core_credential::SignedAssertion {
    core_credential::SignedAssertion { assertion: assertion.assertion, bound: assertion.bound }
}

pub(crate) fn presentation(presentation: core_credential::Presentation) -> transport::Presentation {
    transport::Presentation {
        certificate: presentation.certificate,
        secret: presentation.secret.map(|place| match place {
            core_credential::Place::FormField(name) => transport::Place::FormField(name),
            core_credential::Place::Header(name) => transport::Place::Header(name),
        }),
    }
}
