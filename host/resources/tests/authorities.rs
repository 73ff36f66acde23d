//! Which authority the configuration comes to, and which hosts that allows.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends at what it did not expect")]

use std::ffi::OsString;

use serde_json::{Value, json};
use symbolon_resources::configuration::{ApplicationOptions, AuthorityType, ConfigurationError, Settings};

fn read(
    azure_ad: Value,
    symbolon: Value,
    variables: &[(&str, &str)],
) -> Result<ApplicationOptions, ConfigurationError> {
    let mut section = json!({ "ClientId": "app", "ClientSecret": "s" });
    section.as_object_mut().unwrap().extend(azure_ad.as_object().unwrap().clone());
    let settings = Settings::from_value(json!({ "AzureAd": section, "Symbolon": symbolon }));
    let variables = variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    settings.with_environment(variables).application(None)
}

fn options(azure_ad: Value, symbolon: Value) -> ApplicationOptions {
    read(azure_ad, symbolon, &[]).unwrap_or_else(|error| panic!("{error}"))
}

fn error(azure_ad: Value, symbolon: Value) -> String {
    read(azure_ad, symbolon, &[]).unwrap_err().to_string()
}

#[test]
fn a_policy_makes_b2c() {
    const URL: &str = "https://contoso.b2clogin.com/tfp/contoso.onmicrosoft.com/B2C_1_signin";
    let policy = |mut section: Value| {
        section["SignUpSignInPolicyId"] = "B2C_1_signin".into();
        section
    };
    for section in [
        json!({ "Instance": "https://contoso.b2clogin.com/", "Domain": "contoso.onmicrosoft.com" }),
        json!({ "Instance": "https://contoso.b2clogin.com", "TenantId": "contoso.onmicrosoft.com" }),
        json!({ "Instance": "https://contoso.b2clogin.com/tfp/" }),
        json!({ "Authority": "https://contoso.b2clogin.com/tfp/contoso.onmicrosoft.com/B2C_1_other" }),
        json!({ "Instance": "https://contoso.b2clogin.com", "Domain": "contoso.onmicrosoft.com", "TenantId": "x.com" }),
    ] {
        let options = options(policy(section), json!({}));
        assert_eq!((options.authority(), options.tenant_id()), (URL, Some("contoso.onmicrosoft.com")));
    }
    let section = json!({ "Instance": "https://c.b2clogin.com", "SignUpSignInPolicyId": "a/b" });
    assert!(error(section, json!({})).contains("SignUpSignInPolicyId"));
}

#[test]
fn an_authority_that_was_computed_of_nothing_is_nothing() {
    let both = options(json!({ "Authority": "//v2.0", "TenantId": "contoso.com" }), json!({}));
    assert_eq!(both.authority(), "https://login.microsoftonline.com/contoso.com");
    assert!(both.warnings().is_empty(), "{:?}", both.warnings());
    assert!(error(json!({ "Authority": "//v2.0" }), json!({})).contains("AzureAd:TenantId"));
}

#[test]
fn an_openid_connect_provider_is_said_and_kept_as_it_is_written() {
    const ISSUER: &str = "https://IdP.contoso.test:8443/Issuer/?x=1";
    let oidc = || json!({ "AuthorityType": "oidc" });
    let provider = options(json!({ "Authority": ISSUER, "TenantId": "contoso.com" }), oidc());
    assert_eq!((provider.authority(), provider.tenant_id()), (ISSUER, None));
    assert_eq!(provider.authority_type(), Some(AuthorityType::Oidc));
    assert_eq!(provider.warnings().len(), 1);
    assert!(provider.egress().allows("https", "idp.contoso.test", 8443));
    for section in [json!({ "TenantId": "contoso.com" }), json!({ "Authority": "http://idp.test" })] {
        assert!(error(section, oidc()).contains("AzureAd:Authority"));
    }
    let unknown = error(json!({ "TenantId": "contoso.com" }), json!({ "AuthorityType": "Okta" }));
    assert!(unknown.contains("Symbolon:AuthorityType") && unknown.contains("\"Oidc\""), "{unknown}");
    let method = json!({ "AuthorityType": "Oidc", "TokenEndpointAuthMethod": "Private_Key_JWT" });
    let provider = options(json!({ "Authority": ISSUER }), method);
    assert_eq!(provider.token_endpoint_auth_method(), Some("private_key_jwt"));
    let method = json!({ "TokenEndpointAuthMethod": "none" });
    assert!(error(json!({ "TenantId": "contoso.com" }), method).contains("self_signed_tls_client_auth"));
}

#[test]
fn the_environment_forces_a_region_or_forbids_any() {
    let region = |configured: Option<&str>, variables: &[(&str, &str)]| {
        let section = json!({ "TenantId": "contoso.com", "AzureRegion": configured });
        read(section, json!({}), variables).unwrap().azure_region().map(str::to_owned)
    };
    assert_eq!(region(Some("tryautodetect"), &[]).as_deref(), Some("TryAutoDetect"));
    assert_eq!(region(None, &[("MSAL_FORCE_REGION", "westus2")]).as_deref(), Some("westus2"));
    assert_eq!(region(Some("eastus"), &[("MSAL_FORCE_REGION", "westus2")]).as_deref(), Some("eastus"));
    assert_eq!(region(Some("DisableMsalForceRegion"), &[("MSAL_FORCE_REGION", "westus2")]), None);
    assert_eq!(region(Some("eastus"), &[("MSAL_DISABLE_REGION", "1")]), None);
    assert_eq!(region(Some("eastus"), &[("MSAL_DISABLE_REGION", "")]).as_deref(), Some("eastus"));
    let forced = json!({ "TenantId": "contoso.com" });
    let error = read(forced, json!({}), &[("MSAL_FORCE_REGION", "west us")]).unwrap_err().to_string();
    assert!(error.contains("MSAL_FORCE_REGION"), "{error}");
}

#[test]
fn who_detects_the_region_may_go_to_any() {
    let section = json!({ "TenantId": "contoso.com", "AzureRegion": "TryAutoDetect" });
    let detecting = options(section, json!({}));
    assert!(detecting.detects_region());
    assert!(detecting.egress().allows("https", "westus2.login.microsoft.com", 443));
    assert!(!detecting.egress().allows("http", "westus2.login.microsoft.com", 443));
    let global = options(json!({ "TenantId": "contoso.com" }), json!({}));
    assert!(!global.egress().allows("https", "westus2.login.microsoft.com", 443));
}

#[test]
fn a_host_that_is_not_well_known_brings_the_one_that_knows() {
    let section = || json!({ "Instance": "https://login.contoso.test:8443", "TenantId": "contoso.com" });
    let foreign = options(section(), json!({}));
    assert!(foreign.egress().allows("https", "login.microsoftonline.com", 8443));
    assert!(!foreign.egress().allows("https", "login.windows.net", 8443));

    let directory = tempfile::TempDir::new().unwrap();
    let (good, bad) = (directory.path().join("good.json"), directory.path().join("bad.json"));
    std::fs::write(&good, r#"{"metadata":[]}"#).unwrap();
    std::fs::write(&bad, "{}").unwrap();
    let own = options(section(), json!({ "InstanceMetadataFile": good, "ValidateAuthority": false }));
    assert!(own.skip_authority_validation());
    assert_eq!(own.instance_metadata(), Some(r#"{"metadata":[]}"#));
    assert!(!own.egress().allows("https", "login.microsoftonline.com", 8443));
    assert!(error(section(), json!({ "InstanceMetadataFile": bad })).contains("preferred_network"));
    let elsewhere = json!({ "InstanceDiscoveryUri": "https://names.contoso.test/v1" });
    let asking = options(section(), elsewhere.clone());
    assert_eq!(asking.instance_discovery_uri(), Some("https://names.contoso.test/v1"));
    assert!(asking.egress().allows("https", "names.contoso.test", 443));
    assert!(!asking.egress().allows("https", "login.microsoftonline.com", 8443));
    for wrong in ["http://names.contoso.test", "names", "https://names.contoso.test?x=1"] {
        let error = error(section(), json!({ "InstanceDiscoveryUri": wrong }));
        assert!(error.contains("Symbolon:InstanceDiscoveryUri") && error.contains("an https URL"), "{error}");
    }

    let mut regional = section();
    regional["AzureRegion"] = "westus2".into();
    let own = json!({ "InstanceMetadataFile": good });
    let with = |name: &str, value: serde_json::Value| {
        let mut settings = own.clone();
        settings[name] = value;
        settings
    };
    for (section, settings, code) in [
        (regional.clone(), own.clone(), "region_discovery_with_custom_instance_metadata"),
        (regional, elsewhere.clone(), "region_discovery_with_custom_instance_metadata"),
        (
            section(),
            with("InstanceDiscoveryUri", elsewhere["InstanceDiscoveryUri"].clone()),
            "custom_metadata_instance_or_uri",
        ),
        (section(), with("ValidateAuthority", true.into()), "validate_authority_or_custom_instance_metadata"),
    ] {
        let error = error(section, settings);
        assert!(error.contains(code), "{error}");
    }
}
