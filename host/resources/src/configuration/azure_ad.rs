//! A section of the shape of `AzureAd`: one application.

use std::path::Path;

use crate::credentials::{ClientSecret, CredentialDescription};

use super::builder::{ApplicationOptionsBuilder, Entry};
use super::entries::{self, Surroundings};
use super::environment::Environment;
use super::origins;
use super::reader::{Findings, Section, nearest};

/// Reads the section into the builder. Relative paths start at `directory`.
pub(super) fn read(
    section: &Section<'_>,
    directory: &Path,
    environment: &Environment,
    builder: &mut ApplicationOptionsBuilder,
) {
    let mut findings = std::mem::take(&mut builder.findings);
    check_keys(section, &mut findings);
    builder.section = section.place();
    builder.client_id = section.text("ClientId", &mut findings);
    builder.instance = section.text("Instance", &mut findings);
    builder.tenant_id = section.text("TenantId", &mut findings);
    builder.authority = section.text("Authority", &mut findings);
    builder.sign_up_sign_in_policy_id = section.text("SignUpSignInPolicyId", &mut findings);
    builder.domain = section.text("Domain", &mut findings);
    builder.app_home_tenant_id = section.text("AppHomeTenantId", &mut findings);
    builder.azure_region = section.text("AzureRegion", &mut findings);
    builder.send_x5c = section.flag("SendX5C", &mut findings).unwrap_or(false);
    builder.enable_pii_logging = section.flag("EnablePiiLogging", &mut findings).unwrap_or(false);
    builder.client_capabilities = section.texts("ClientCapabilities", &mut findings);
    if let Some(parameters) = section.object("ExtraQueryParameters", &mut findings) {
        let parameters = parameters.entries(&mut findings).into_iter();
        builder.extra_query_parameters =
            parameters.map(|(name, value)| (name.to_owned(), value.value)).collect();
    }
    let (stores, transport) = (&builder.host.certificate_stores, &builder.host.transport);
    let components = &builder.host.credential_providers;
    let surroundings = Surroundings { directory, environment, stores, transport, components };
    builder.credentials = credentials(section, &surroundings, &mut findings);
    builder.environment = environment.clone();
    builder.written = origins::written(section, READ);
    builder.findings = findings;
}

/// `ClientCredentials`, and where there are none the older keys, in Microsoft.Identity.Web's order.
fn credentials(
    section: &Section<'_>,
    surroundings: &Surroundings<'_>,
    findings: &mut Findings,
) -> Vec<Entry> {
    if section.has_content("ClientCredentials") {
        for older in ["ClientCertificates", "ClientSecret"].into_iter().filter(|key| section.has(key)) {
            findings.warning(section.place_of(older), "has no effect beside ClientCredentials");
        }
        return list(section, "ClientCredentials", surroundings, findings);
    }
    refuse_managed_identity(section, findings);
    let certificates = list(section, "ClientCertificates", surroundings, findings);
    if !certificates.is_empty() {
        return certificates;
    }
    let secret = section.secret("ClientSecret", findings).filter(|secret| !secret.value.is_empty());
    let entry = secret.map(|secret| {
        let secret_value = ClientSecret::new(secret.value.as_str());
        Entry::new(secret.place, CredentialDescription::from_client_secret(secret_value))
    });
    entry.into_iter().collect()
}

fn list(
    section: &Section<'_>,
    key: &str,
    surroundings: &Surroundings<'_>,
    findings: &mut Findings,
) -> Vec<Entry> {
    let elements = section.array(key, findings);
    elements.iter().filter_map(|element| entries::read(element, surroundings, findings)).collect()
}

/// The older way to ask for a managed identity. To pass over it would be to authenticate as someone else.
fn refuse_managed_identity(section: &Section<'_>, findings: &mut Findings) {
    const KEY: &str = "ClientCredentialsUsingManagedIdentity";
    let Some(settings) = section.object(KEY, findings) else { return };
    if settings.flag("IsEnabled", findings) == Some(true) {
        let found = "a managed identity, which is known and not supported yet";
        findings.problem(
            settings.place_of("IsEnabled"),
            found,
            "ClientCredentials with a certificate or secret",
        );
    }
}

fn check_keys(section: &Section<'_>, findings: &mut Findings) {
    let known = || READ.iter().chain(WITHOUT_EFFECT).chain(NOT_OURS).copied();
    for name in section.names().filter(|name| section.has(name)) {
        let is = |key: &&str| key.eq_ignore_ascii_case(name);
        if WITHOUT_EFFECT.iter().any(&is) {
            findings.warning(section.place_of(name), "is known and has no effect yet");
        } else if known().any(|key| is(&key)) {
            continue;
        } else if let Some(meant) = nearest(name, known()) {
            findings.problem(
                section.place_of(name),
                format!("an unknown key (did you mean {meant}?)"),
                meant,
            );
        } else {
            findings.warning(section.place_of(name), "is an unknown key and has no effect");
        }
    }
}

/// The keys that are read here.
const READ: &[&str] = &[
    "AppHomeTenantId",
    "Authority",
    "AzureRegion",
    "ClientCapabilities",
    "ClientCertificates",
    "ClientCredentials",
    "ClientCredentialsUsingManagedIdentity",
    "ClientId",
    "ClientSecret",
    "Domain",
    "EnablePiiLogging",
    "ExtraQueryParameters",
    "Instance",
    "SendX5C",
    "SignUpSignInPolicyId",
    "TenantId",
];

/// Keys that change which tokens Microsoft.Identity.Web gets, or how it keeps them.
const WITHOUT_EFFECT: &[&str] = &[
    "LegacyCacheCompatibilityEnabled",
    "PartitionAppTokenCacheByAudience",
    "UseFastUnboundedCache",
    "UserAssignedManagedIdentityClientId",
];

/// Keys of the same section that are for signing users in or for checking tokens, in Microsoft.Identity.Web or in
/// ASP.NET Core: they never change how a token is acquired.
const NOT_OURS: &[&str] = &[
    "AccessDeniedPath",
    "AllowWebApiToBeAuthorizedByACL",
    "Audience",
    "Audiences",
    "AutomaticRefreshInterval",
    "CallbackPath",
    "ClaimsIssuer",
    "ClockSkew",
    "EditProfilePolicyId",
    "ErrorPath",
    "ForwardDefaultSelector",
    "GetClaimsFromUserInfoEndpoint",
    "IncludeErrorDetails",
    "MapInboundClaims",
    "MaxAge",
    "MetadataAddress",
    "Name",
    "Prompt",
    "RefreshInterval",
    "RefreshOnIssuerKeyNotFound",
    "RemoteAuthenticationTimeout",
    "RemoteSignOutPath",
    "RequireHttpsMetadata",
    "ResetPasswordPath",
    "ResetPasswordPolicyId",
    "Resource",
    "ResponseMode",
    "ResponseType",
    "ReturnUrlParameter",
    "SaveToken",
    "SaveTokens",
    "Scope",
    "Scopes",
    "ShowPII",
    "SignInScheme",
    "SignOutScheme",
    "SignedOutCallbackPath",
    "SignedOutRedirectUri",
    "SkipUnrecognizedRequests",
    "TokenDecryptionCertificates",
    "TokenDecryptionCredentials",
    "TokenValidationParameters",
    "UsePkce",
    "UseTokenLifetime",
    "WithSpaAuthCode",
];
