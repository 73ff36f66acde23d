//! What is read from JSON, from the environment and from code, and what is said about the rest.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod certificates;

use std::ffi::OsString;
use std::path::Path;

use certificates::{Identity, write};
use serde_json::{Value, json};
use symbolon_resources::cache::ApplicationId;
use symbolon_resources::configuration::{
    ApplicationOptions, BoundFlow, Settings, UnsupportedBoundCredential, resolve_app_tenant,
};
use symbolon_resources::credentials::{ClientSecret, CredentialDescription};
use tempfile::TempDir;

fn options(azure_ad: Value) -> ApplicationOptions {
    ApplicationOptions::from_value(json!({ "AzureAd": azure_ad })).unwrap_or_else(|error| panic!("{error}"))
}

fn errors(root: Value) -> Vec<String> {
    match ApplicationOptions::from_value(root) {
        Ok(options) => panic!("{options:?}"),
        Err(error) => error.problems().iter().map(ToString::to_string).collect(),
    }
}

/// The one error of a section that is fine but for these members.
fn error_of(members: Value) -> String {
    let mut section = json!({ "ClientId": "app", "TenantId": "contoso.com" });
    section.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    let mut errors = errors(json!({ "AzureAd": section }));
    assert_eq!(errors.len(), 1, "{errors:?}");
    let error = errors.remove(0);
    error.strip_prefix("the given configuration: AzureAd:").unwrap_or_else(|| panic!("{error}")).to_owned()
}

fn warnings(options: &ApplicationOptions) -> Vec<String> {
    options.warnings().iter().map(ToString::to_string).collect()
}

fn environment<const N: usize>(variables: [(&str, &str); N]) -> [(OsString, OsString); N] {
    variables.map(|(name, value)| (name.into(), value.into()))
}

#[test]
fn a_file_as_people_write_it() {
    let directory = TempDir::new().unwrap();
    write(&directory, "ca.pem", Identity::rsa("ca").certificate.pem());
    let text = r#"{
        // One application.
        "Logging": { "LogLevel": { "Default": "Information" } },
        "azuread": {
            "INSTANCE": "https://login.microsoftonline.us/",
            "TenantId": "organizations", /* any directory */
            "AppHomeTenantId": "contoso.us",
            "ClientId": "11111111-1111-1111-1111-111111111111",
            "AzureRegion": "UsGovVirginia",
            "SendX5C": true,
            "EnablePiiLogging": "True",
            "ClientCapabilities": [ "cp1", "cp2", ],
            "ExtraQueryParameters": { "dc": "ESTS-PUB-X", "slice": "test" },
            "CallbackPath": "/signin-oidc",
            "ClientCredentials": [
                { "SourceType": "clientsecret", "ClientSecret": "canary", "CertificateDiskPath": null },
            ],
        },
        "Symbolon": {
            "ConnectTo": { "*.microsoftonline.us": "127.0.0.1:8443" },
            "TrustedRoots": [ "ca.pem" ],
            "Proxy": "http://user:canary@proxy.test:3128",
            "UnsupportedBoundCredential": "Ignore-With-Event",
            "MaxResponseBytes": 2048,
            "AllowedAuthorities": [ "https://login.contoso.test:8443" ],
            "BoundFlows": [ "For-Agent", "by-username-password", "for-agent" ],
            "TokenExchangeUrl": "api://AzureADTokenExchangeUSGov",
            "Strict": true,
        },
    }"#;
    for text in [text.to_owned(), format!("\u{feff}{text}"), text.replace('\n', "\r\n")] {
        let file = write(&directory, "appsettings.json", text);
        let options = ApplicationOptions::from_file(&file).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(options.client_id(), "11111111-1111-1111-1111-111111111111");
        assert_eq!(options.authority(), "https://login.microsoftonline.us/organizations");
        assert_eq!(options.tenant_id(), Some("organizations"));
        assert_eq!(options.app_home_tenant_id(), Some("contoso.us"));
        assert_eq!(options.azure_region(), Some("UsGovVirginia"));
        assert!(options.send_x5c() && options.enable_pii_logging());
        assert_eq!(options.client_capabilities(), ["cp1", "cp2"]);
        let parameters = [("dc", "ESTS-PUB-X"), ("slice", "test")].map(|(n, v)| (n.to_owned(), v.to_owned()));
        assert_eq!(options.extra_query_parameters(), parameters);
        let id = "11111111-1111-1111-1111-111111111111@login.microsoftonline.us/organizations";
        assert_eq!(options.id().as_str(), id);
        assert_eq!(options.transport().max_response_bytes, 2048);
        assert_eq!(options.transport().trusted_roots, [directory.path().join("ca.pem")]);
        assert!(options.transport().proxy.is_some());
        assert_eq!(options.bound_flows(), [BoundFlow::ByUsernamePassword, BoundFlow::ForAgent]);
        assert_eq!(options.token_exchange_url(), Some("api://AzureADTokenExchangeUSGov"));
        assert!(options.strict());
        assert!(options.egress().allows("https", "usgovvirginia.mtlsauth.microsoftonline.us", 443));
        assert!(options.egress().allows("https", "login.contoso.test", 8443));
        assert!(!options.egress().allows("https", "login.microsoftonline.com", 443));
        assert!(options.warnings().is_empty());
        assert!(!format!("{options:?}").contains("canary"));
    }
}

#[test]
fn what_is_not_said_has_a_default() {
    let options = options(json!({ "ClientId": "app", "TenantId": "contoso.com" }));
    assert_eq!(options.authority(), "https://login.microsoftonline.com/contoso.com");
    assert_eq!(options.azure_region(), None);
    assert!(!options.send_x5c() && !options.enable_pii_logging());
    assert!(options.client_capabilities().is_empty() && options.extra_query_parameters().is_empty());
    assert_eq!(options.transport().max_response_bytes, 1 << 20);
    assert!(options.bound_flows().is_empty() && !options.strict());
    assert_eq!((options.token_exchange_url(), options.app_home_tenant_id()), (None, None));
}

#[test]
fn the_environment_overrides_and_adds() {
    let directory = TempDir::new().unwrap();
    let file = write(
        &directory,
        "appsettings.json",
        r#"{ "AzureAd": { "ClientId": "app", "TenantId": "old.com", "SendX5C": true,
             "ClientCredentials": [ { "SourceType": "ClientSecret", "ClientSecret": "" } ] } }"#,
    );
    let variables = environment([
        ("azuread__tenantid", "new.com"),
        ("AzureAd__SendX5C", "false"),
        ("AzureAd__ClientCredentials__0__ClientSecret", "canary"),
        ("AZUREAD__CLIENTCAPABILITIES__0", "cp1"),
        ("Symbolon__MaxResponseBytes", "4096"),
        ("Other__Key", "x"),
        ("PATH", "/bin"),
        ("__AzureAd__TenantId", "x"),
    ]);
    let options = ApplicationOptions::from_file_and_environment(&file, variables)
        .unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(options.tenant_id(), Some("new.com"));
    assert!(!options.send_x5c());
    assert_eq!(options.client_capabilities(), ["cp1"]);
    assert_eq!(options.transport().max_response_bytes, 4096);
    assert!(!format!("{options:?}").contains("canary"));
    // Without the environment the secret is empty.
    assert!(ApplicationOptions::from_file(&file).is_err());
}

#[test]
fn an_error_from_the_environment_names_the_variable() {
    let settings = Settings::from_value(json!({ "AzureAd": { "ClientId": "app" } }));
    let settings = settings.with_environment(environment([
        ("AzureAd__TenantId", "not a tenant"),
        ("AzureAd__ClientCredentials__0__SourceTyp", "Path"),
    ]));
    let error = settings.application(None).unwrap_err().to_string();
    let lines: Vec<_> = error.lines().collect();
    assert!(lines[0].starts_with(
        "environment variable AzureAd__ClientCredentials__0__SourceTyp: AzureAd:ClientCredentials:0:SourceType: found nothing"
    ));
    assert!(lines[1].starts_with(
        "environment variable AzureAd__TenantId: AzureAd:TenantId: found \"not a tenant\"; accepted: a GUID"
    ));
}

#[test]
fn other_sections_are_chosen_by_name() {
    let settings = Settings::from_value(json!({
        "AzureAd": { "ClientId": "one", "TenantId": "contoso.com" },
        "Second": { "ClientId": "two", "TenantId": "contoso.com" },
        "AllowedHosts": "*",
    }));
    for (name, expected) in
        [(None, "one"), (Some(""), "one"), (Some("azuread"), "one"), (Some("second"), "two")]
    {
        assert_eq!(settings.application(name).unwrap().client_id(), expected);
    }
    for (name, found) in [("Third", "no such section"), ("symbolon", "no such section")] {
        let accepted = "the name of a section of the configuration (\"AzureAd\", \"Second\")";
        assert_eq!(
            settings.application(Some(name)).unwrap_err().to_string(),
            format!("the given configuration: {name}: found {found}; accepted: {accepted}")
        );
    }
    assert_eq!(
        Settings::from_value(json!({})).application(None).unwrap_err().to_string(),
        "the given configuration: AzureAd: found no such section; accepted: a section \"AzureAd\" with ClientId, TenantId and ClientCredentials"
    );
}

#[test]
fn sections_that_describe_an_application_are_listed() {
    let settings = Settings::from_value(json!({
        "Logging": { "LogLevel": { "Default": "Information" } },
        "Web": { "clientId": "one" },
        "Symbolon": { "ClientId": "ours" },
        "AzureAd": { "ClientId": "two" },
        "Unfinished": { "TenantId": "contoso.com" },
        "AllowedHosts": "*",
    }))
    .with_environment(environment([("Daemon__ClientId", "three")]));
    let mut names: Vec<_> = settings.section_names().collect();
    names.sort_unstable();
    assert_eq!(names, ["AzureAd", "Daemon", "Web"]);
    assert!(Settings::from_value(json!([])).section_names().next().is_none());
}

#[test]
fn the_tenant_of_an_applications_own_token() {
    // Asked for, configured, at home; what it comes to.
    let cases = [
        (Some("t1"), Some("cfg"), None, Ok(Some("t1"))),
        (Some("t1"), None, Some("home"), Ok(Some("t1"))),
        (None, Some("cfg"), None, Ok(Some("cfg"))),
        (None, Some("cfg"), Some("home"), Ok(Some("cfg"))),
        (Some(""), Some("cfg"), Some("home"), Ok(Some("cfg"))),
        (None, Some("common"), Some("home"), Ok(Some("home"))),
        (Some(""), Some("Organizations"), Some("home"), Ok(Some("home"))),
        (None, Some("consumers"), Some("home"), Ok(Some("consumers"))),
        (None, None, Some("home"), Ok(None)),
        (None, None, None, Ok(None)),
        (Some(""), Some(""), Some(""), Ok(None)),
        (Some("common"), None, None, Err("common")),
        (Some("common"), Some("cfg"), Some("home"), Err("common")),
        (Some("organizations"), Some("common"), Some("home"), Err("organizations")),
        (None, Some("Common"), None, Err("Common")),
        (None, Some("common"), Some(""), Err("common")),
        (None, Some("common"), Some("organizations"), Err("organizations")),
    ];
    for (requested, configured, home, expected) in cases {
        let tenant = resolve_app_tenant(requested, configured, home);
        let tenant = tenant.as_ref().copied().map_err(|error| error.tenant.as_str());
        assert_eq!(tenant, expected, "{requested:?} {configured:?} {home:?}");
    }
}

#[test]
fn the_tenant_is_replaced_where_the_request_asks_for_it() {
    let tenant = |members: Value, requested| {
        let mut section = json!({ "ClientId": "app" });
        section.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        options(section).app_tenant(requested)
    };
    let many = || json!({ "TenantId": "common", "AppHomeTenantId": "contoso.com" });
    assert_eq!(tenant(many(), None), Ok(None), "nothing is asked for");
    assert_eq!(tenant(many(), Some("")), Ok(Some("contoso.com".to_owned())));
    assert_eq!(tenant(many(), Some("fabrikam.com")), Ok(Some("fabrikam.com".to_owned())));
    let authority = || json!({ "Authority": "https://login.microsoftonline.com/contoso.com" });
    assert_eq!(tenant(authority(), Some("")), Ok(Some("contoso.com".to_owned())));
    let customers = || json!({ "Instance": "https://contoso.ciamlogin.com/" });
    assert_eq!(tenant(customers(), Some("fabrikam.com")), Ok(None));
    for members in [json!({ "TenantId": "common" }), customers()] {
        assert_eq!(
            tenant(members, Some("organizations")).unwrap_err().to_string(),
            "the tenant of an application's own token should be a tenant id or a domain name, found \"organizations\"; name one in the request, in AzureAd:TenantId or in AzureAd:AppHomeTenantId"
        );
    }
    let expected = "AppHomeTenantId: found \"home\"; accepted: a GUID, a domain name such as \"contoso.onmicrosoft.com\", \"common\", \"organizations\", \"consumers\"";
    assert_eq!(error_of(json!({ "AppHomeTenantId": "home" })), expected);
}

#[test]
fn the_exchange_url_of_a_credential_stands_in_for_our_own() {
    let url = |credentials: Value, ours: Value| {
        let section =
            json!({ "ClientId": "app", "TenantId": "contoso.com", "ClientCredentials": credentials });
        let root = json!({ "AzureAd": section, "Symbolon": { "TokenExchangeUrl": ours } });
        ApplicationOptions::from_value(root).unwrap().token_exchange_url().map(str::to_owned)
    };
    let entry =
        |url: Value| json!({ "SourceType": "SignedAssertionFromManagedIdentity", "TokenExchangeUrl": url });
    let [first, second] = ["api://First", "api://Second"].map(|url| entry(json!(url)));
    let mut skipped = entry(json!("api://Skipped"));
    skipped["Skip"] = json!(true);
    let credentials = json!([skipped, entry(Value::Null), entry(json!("")), first, second]);
    assert_eq!(url(credentials.clone(), Value::Null).as_deref(), Some("api://First"));
    assert_eq!(url(credentials.clone(), json!("")).as_deref(), Some("api://First"));
    assert_eq!(url(credentials, json!("api://Ours")).as_deref(), Some("api://Ours"));
    let expected = "ClientCredentials:0:TokenExchangeUrl: found \"exchange\"; accepted: an absolute URI, such as \"api://AzureADTokenExchange\"";
    assert_eq!(error_of(json!({ "ClientCredentials": [entry(json!("exchange"))] })), expected);
}

#[test]
fn authority_instance_and_tenant() {
    let cases = [
        (json!({ "TenantId": "common" }), "https://login.microsoftonline.com/common", Some("common")),
        (
            json!({ "Instance": "https://login.microsoftonline.com//", "TenantId": "CONTOSO.com" }),
            "https://login.microsoftonline.com/CONTOSO.com",
            Some("CONTOSO.com"),
        ),
        (
            json!({ "TenantId": "9188040d-6c67-4c5b-b112-36a304b66dad", "Instance": "" }),
            "https://login.microsoftonline.com/9188040d-6c67-4c5b-b112-36a304b66dad",
            Some("9188040d-6c67-4c5b-b112-36a304b66dad"),
        ),
        (
            json!({ "Authority": "https://login.microsoftonline.com/contoso.com/v2.0/" }),
            "https://login.microsoftonline.com/contoso.com/v2.0",
            Some("contoso.com"),
        ),
        (
            json!({ "Authority": "https://login.contoso.test:8443/contoso.com" }),
            "https://login.contoso.test:8443/contoso.com",
            Some("contoso.com"),
        ),
        (json!({ "Authority": "https://adfs.contoso.com/adfs/" }), "https://adfs.contoso.com/adfs", None),
        (json!({ "Instance": "https://adfs.contoso.com/adfs" }), "https://adfs.contoso.com/adfs", None),
        (
            json!({ "Authority": "https://x.b2clogin.com/tfp/x.onmicrosoft.com/B2C_1_a" }),
            "https://x.b2clogin.com/tfp/x.onmicrosoft.com/B2C_1_a",
            Some("x.onmicrosoft.com"),
        ),
        (
            json!({ "Authority": "https://x.dsts.core.windows.net/dstsv2/contoso" }),
            "https://x.dsts.core.windows.net/dstsv2/contoso",
            Some("contoso"),
        ),
        (
            json!({ "Authority": "https://login.microsoftonline.com//contoso.com//v2.0" }),
            "https://login.microsoftonline.com/contoso.com//v2.0",
            Some("contoso.com"),
        ),
        (
            json!({ "Instance": "https://contoso.ciamlogin.com/" }),
            "https://contoso.ciamlogin.com/contoso.onmicrosoft.com",
            Some("contoso.onmicrosoft.com"),
        ),
        (
            json!({ "Authority": "https://contoso.ciamlogin.com" }),
            "https://contoso.ciamlogin.com/contoso.onmicrosoft.com",
            Some("contoso.onmicrosoft.com"),
        ),
        (
            json!({ "Instance": "https://contoso.ciamlogin.com/", "TenantId": "other.com" }),
            "https://contoso.ciamlogin.com/other.com",
            Some("other.com"),
        ),
    ];
    for (mut section, authority, tenant) in cases {
        section["ClientId"] = json!("app");
        let options = options(section);
        assert_eq!((options.authority(), options.tenant_id()), (authority, tenant));
        assert!(options.warnings().is_empty());
    }
}

#[test]
fn an_instance_comes_before_the_tenant() {
    for (section, instance) in [
        (json!({ "TenantId": "contoso.com" }), "https://login.microsoftonline.com/"),
        (json!({ "Instance": "https://h.test//", "TenantId": "contoso.com" }), "https://h.test/"),
        (json!({ "Instance": "https://h.test:8443/a", "TenantId": "contoso.com" }), "https://h.test:8443/a/"),
        (json!({ "Authority": "https://h.test/contoso.com/v2.0" }), "https://h.test/"),
        (json!({ "Authority": "https://h.test/adfs" }), "https://h.test/adfs/"),
        (json!({ "Authority": "https://h.test/dstsv2/contoso" }), "https://h.test/dstsv2/"),
        (json!({ "Authority": "https://contoso.ciamlogin.com" }), "https://contoso.ciamlogin.com/"),
    ] {
        let mut section = section;
        section["ClientId"] = json!("app");
        assert_eq!(options(section.clone()).instance(), instance, "{section}");
    }
}

#[test]
fn a_policy_has_an_authority_of_its_own() {
    let url = "https://x.b2clogin.com/tfp/contoso.com/B2C_1_susi";
    for (section, authority) in [
        (json!({ "Instance": "https://x.b2clogin.com/tfp/", "TenantId": "contoso.com" }), url),
        (
            json!({ "Instance": "https://x.b2clogin.com", "TenantId": "other.com", "Domain": "contoso.com" }),
            url,
        ),
        (
            json!({ "Instance": "https://x.b2clogin.com" }),
            "https://x.b2clogin.com/tfp/x.onmicrosoft.com/B2C_1_susi",
        ),
        (json!({ "Authority": "https://x.b2clogin.com/contoso.com/B2C_1_susi/v2.0" }), url),
        (json!({ "Authority": "https://x.b2clogin.com/tfp/contoso.com/B2C_1_other" }), url),
    ] {
        let mut section = section;
        section["ClientId"] = json!("app");
        section["SignUpSignInPolicyId"] = json!("B2C_1_susi");
        let options = options(section.clone());
        assert_eq!(
            (options.authority(), options.instance()),
            (authority, "https://x.b2clogin.com/"),
            "{section}"
        );
        assert!(options.warnings().is_empty());
    }
    let options =
        ApplicationOptions::builder("app").instance("https://x.b2clogin.com").tenant_id("contoso.com");
    assert_eq!(options.sign_up_sign_in_policy_id("B2C_1_susi").build().unwrap().authority(), url);
    let path =
        json!({ "ClientId": "app", "Instance": "https://x.b2clogin.com", "SignUpSignInPolicyId": "a/b" });
    assert_eq!(
        errors(json!({ "AzureAd": path })),
        [
            "the given configuration: AzureAd:SignUpSignInPolicyId: found \"a/b\"; accepted: the name of a policy, such as \
          \"B2C_1_susi\""
        ]
    );
}

#[test]
fn an_authority_beside_a_tenant_is_ignored_with_a_warning() {
    let section = json!({ "ClientId": "app", "TenantId": "b.com", "Authority": "https://login.microsoftonline.us/a.com" });
    let options = options(section);
    assert_eq!(options.authority(), "https://login.microsoftonline.com/b.com");
    let expected = "the given configuration: AzureAd:Authority: is ignored beside Instance or TenantId";
    assert_eq!(warnings(&options), [expected]);
}

#[test]
fn what_authenticates_may_be_written_in_older_keys() {
    let names = |azure_ad| {
        let options = options(azure_ad);
        (format!("{options:?}").matches("CredentialDescription").count(), warnings(&options))
    };
    let base = |members: Value| {
        let mut section = json!({ "ClientId": "app", "TenantId": "contoso.com" });
        section.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        section
    };
    assert_eq!(names(base(json!({ "ClientSecret": "s" }))), (1, vec![]));
    assert_eq!(names(base(json!({ "ClientSecret": "s", "ClientCredentials": [] }))), (1, vec![]));
    assert_eq!(names(base(json!({ "ClientSecret": "" }))), (0, vec![]));
    let certificate = json!([{ "SourceType": "Path", "CertificateDiskPath": "a.pem" }]);
    assert_eq!(names(base(json!({ "ClientSecret": "s", "ClientCertificates": certificate }))), (1, vec![]));
    let (count, warnings) = names(base(json!({
        "ClientSecret": "s",
        "ClientCertificates": certificate,
        "ClientCredentials": [{ "SourceType": "ClientSecret", "ClientSecret": "t" }],
    })));
    let ignored =
        |key| format!("the given configuration: AzureAd:{key}: has no effect beside ClientCredentials");
    assert_eq!((count, warnings), (1, vec![ignored("ClientCertificates"), ignored("ClientSecret")]));
    let error = error_of(json!({ "ClientCredentialsUsingManagedIdentity": { "IsEnabled": true } }));
    let expected = "ClientCredentialsUsingManagedIdentity:IsEnabled: found a managed identity, which is known and not \
                    supported yet; accepted: ClientCredentials with a certificate or secret";
    assert_eq!(error, expected);
}

#[test]
fn unknown_keys_of_a_section_are_errors_where_they_look_misspelt() {
    for (key, meant) in [
        ("TenentId", "TenantId"),
        ("clientid2", "ClientId"),
        ("AzureRegoin", "AzureRegion"),
        ("SendX5", "SendX5C"),
        ("CalbackPath", "CallbackPath"),
        ("TenentIdx", "TenantId"),
    ] {
        assert_eq!(
            error_of(json!({ key: "x" })),
            format!("{key}: found an unknown key (did you mean {meant}?); accepted: {meant}")
        );
    }
    let options = options(
        json!({ "ClientId": "app", "TenantId": "contoso.com", "Favourite": 1, "TenentIdxy": 1, "UseFastUnboundedCache": true }),
    );
    assert_eq!(
        warnings(&options),
        [
            "the given configuration: AzureAd:Favourite: is an unknown key and has no effect",
            "the given configuration: AzureAd:TenentIdxy: is an unknown key and has no effect",
            "the given configuration: AzureAd:UseFastUnboundedCache: is known and has no effect yet",
        ]
    );
}

#[test]
fn unknown_keys_of_our_own_section_are_errors() {
    let app = json!({ "ClientId": "app", "TenantId": "contoso.com" });
    let keys = "AllowUnattestedKeys, AllowedAuthorities, AuthorityType, BoundFlows, CertificateStores, ClientAssertionAudience, ConnectTo, CredentialProviders, DownstreamApis, InstanceDiscoveryUri, InstanceMetadataFile, MaxResponseBytes, Proxy, Sidecar, Strict, TokenCache, TokenEndpointAuthMethod, TokenExchangeUrl, TrustedRoots, UnsupportedBoundCredential, ValidateAuthority";
    let found = errors(json!({ "AzureAd": app, "Symbolon": { "ConectTo": {}, "Colour": "red" } }));
    let at = "the given configuration: Symbolon";
    assert_eq!(
        found,
        [
            format!("{at}:Colour: found an unknown key; accepted: {keys}"),
            format!("{at}:ConectTo: found an unknown key (did you mean ConnectTo?); accepted: {keys}"),
        ]
    );
    let found = errors(json!({ "AzureAd": app, "Symbolom": {} }));
    assert_eq!(
        found,
        [
            "the given configuration: Symbolom: found an unknown section (did you mean Symbolon?); accepted: Symbolon"
        ]
    );
}

#[test]
fn components_that_have_credentials_say_what_they_accept() {
    let app = json!({ "ClientId": "app", "TenantId": "contoso.com" });
    let found = errors(json!({ "AzureAd": app, "Symbolon": { "CredentialProviders": {
        "a": { "Componnet": "a.wasm", "Settings": { "Passphrase": "canary" } },
        "b": { "Component": "b.wasm", "Sha256": "abc", "Files": { "keys": 1 }, "Settings": { "x": [] } },
        "c": "c.wasm",
    } } }));
    let at = "the given configuration: Symbolon:CredentialProviders";
    let keys = "Component, Files, Settings, Sha256";
    assert_eq!(
        found,
        [
            format!("{at}:a:Componnet: found an unknown key (did you mean Component?); accepted: {keys}"),
            format!("{at}:a:Component: found nothing; accepted: the path of a WebAssembly component"),
            format!("{at}:b:Files:keys: found a number; accepted: a string"),
            format!("{at}:b:Settings:x: found an object or array; accepted: a string, a number or a boolean"),
            format!("{at}:b:Sha256: found \"abc\"; accepted: a SHA-256, 64 hexadecimal digits"),
            format!("{at}:c: found a string; accepted: an object"),
        ]
    );
}

#[test]
fn our_own_settings_say_what_they_accept() {
    let app = json!({ "ClientId": "app", "TenantId": "contoso.com" });
    let found = errors(json!({ "AzureAd": app, "Symbolon": {
        "AllowedAuthorities": ["http://login.microsoftonline.us"],
        "BoundFlows": ["for-agent", "for-client"],
        "Strict": "very",
        "TokenExchangeUrl": "AzureADTokenExchange",
        "ConnectTo": { "a:b": "127.0.0.1" },
        "MaxResponseBytes": 0,
        "Proxy": "https://user:canary@proxy.test",
        "TrustedRoots": ["/nonexistent/ca.pem"],
        "UnsupportedBoundCredential": "ignore",
    } }));
    let at = "the given configuration: Symbolon";
    assert_eq!(
        found,
        [
            format!(
                "{at}:ConnectTo:a:b: found \"127.0.0.1\"; accepted: \"host[:port]\" or \"*.suffix[:port]\" as key, \"host[:port]\" or \"address[:port]\" as value (IPv6 in brackets)"
            ),
            format!(
                "{at}:Proxy: found something other than the URL of an HTTP proxy; accepted: http://[user:password@]host[:port], user and password percent-encoded"
            ),
            format!(
                "{at}:TrustedRoots:0: found /nonexistent/ca.pem, which can't be read (entity not found); accepted: a PEM file with one or more certificates"
            ),
            format!("{at}:MaxResponseBytes: found 0; accepted: a whole number above zero"),
            format!(
                "{at}:UnsupportedBoundCredential: found \"ignore\"; accepted: \"error\", \"ignore-with-event\""
            ),
            format!(
                "{at}:BoundFlows:1: found \"for-client\"; accepted: \"by-user-federated-identity-credential\", \"by-username-password\", \"for-agent\""
            ),
            format!("{at}:Strict: found \"very\"; accepted: true or false"),
            format!(
                "{at}:TokenExchangeUrl: found \"AzureADTokenExchange\"; accepted: an absolute URI, such as \"api://AzureADTokenExchange\""
            ),
            format!(
                "{at}:AllowedAuthorities:0: found \"http://login.microsoftonline.us\"; accepted: an https URL, such as \"https://login.microsoftonline.us\""
            ),
        ]
    );
}

#[test]
fn a_secret_can_not_be_bound() {
    let entry = |bound: Value| json!([{ "SourceType": "ClientSecret", "ClientSecret": "canary", "UseBoundCredential": bound }]);
    let section =
        |bound| json!({ "ClientId": "app", "TenantId": "contoso.com", "ClientCredentials": entry(bound) });
    let at = "the given configuration: AzureAd:ClientCredentials:0:UseBoundCredential";
    assert_eq!(
        errors(json!({ "AzureAd": section(json!(true)) })),
        [format!(
            "{at}: found true on a ClientSecret, which no connection can be bound to; accepted: a certificate, or false, or Symbolon:UnsupportedBoundCredential set to \"ignore-with-event\""
        )]
    );
    let lenient = json!({ "UnsupportedBoundCredential": "ignore-with-event" });
    let options =
        ApplicationOptions::from_value(json!({ "AzureAd": section(json!(true)), "Symbolon": lenient }))
            .unwrap();
    assert_eq!(
        warnings(&options),
        [format!("{at}: is ignored: no connection can be bound to a ClientSecret")]
    );
    assert!(warnings(&self::options(section(json!(false)))).is_empty());
}

#[test]
fn types_are_checked_without_showing_values() {
    assert_eq!(error_of(json!({ "SendX5C": "yes" })), "SendX5C: found \"yes\"; accepted: true or false");
    assert_eq!(
        error_of(json!({ "ClientCapabilities": "cp1" })),
        "ClientCapabilities: found a string; accepted: an array"
    );
    assert_eq!(
        error_of(json!({ "ClientCapabilities": [1] })),
        "ClientCapabilities:0: found a number; accepted: a string"
    );
    assert_eq!(
        error_of(json!({ "ClientCredentials": ["x"] })),
        "ClientCredentials:0: found a string; accepted: an object"
    );
    let number = json!([{ "SourceType": "ClientSecret", "ClientSecret": 271_828 }]);
    let expected = "ClientCredentials:0:ClientSecret: found a number; accepted: a string";
    assert_eq!(error_of(json!({ "ClientCredentials": number })), expected);
}

#[test]
fn several_problems_are_told_at_once() {
    let found = errors(
        json!({ "AzureAd": { "TenantId": "contoso", "Instance": "login.microsoftonline.com", "SendX5C": 1 } }),
    );
    assert_eq!(found.len(), 4, "{found:#?}");
}

#[test]
fn files_that_are_no_configuration_say_so() {
    let directory = TempDir::new().unwrap();
    let json_object = "a JSON object (comments and trailing commas are allowed)";
    let error = |path: &Path| ApplicationOptions::from_file(path).unwrap_err().to_string();
    let missing = directory.path().join("missing.json");
    assert_eq!(
        error(&missing),
        format!(
            "{}: found a file that can't be read (entity not found); accepted: a readable JSON file",
            missing.display()
        )
    );
    for (content, place, found) in [
        (&b""[..], "", "nothing"),
        (b"[]", "", "something other than an object"),
        (b"\xff\xfe{", "", "something other than UTF-8"),
        (b"{\n  \"AzureAd\": {", ": line 2, column 14", "malformed JSON (Unterminated object)"),
        (
            b"{ 'AzureAd': {} }",
            ": line 1, column 3",
            "malformed JSON (Single-quoted strings are not allowed)",
        ),
    ] {
        let file = write(&directory, "appsettings.json", content);
        let expected = format!("{}{place}: found {found}; accepted: {json_object}", file.display());
        assert_eq!(error(&file), expected);
    }
    let file =
        write(&directory, "twice.json", "{ \"AzureAd\": {\n \"ClientId\": \"a\",\n \"clientid\": \"b\" } }");
    assert_eq!(
        error(&file),
        format!(
            "{}:3: AzureAd:clientid: found the key a second time; accepted: each key once, in whatever case",
            file.display()
        )
    );
}

#[test]
fn options_are_built_in_code_by_the_same_rules() {
    let secret = || CredentialDescription::from_client_secret(ClientSecret::new("canary"));
    let options = ApplicationOptions::builder("app")
        .id(ApplicationId::new("mine"))
        .instance("https://login.microsoftonline.us")
        .tenant_id("contoso.com")
        .azure_region("usgovvirginia")
        .credential(secret())
        .send_x5c(true)
        .client_capabilities(["cp1"])
        .extra_query_parameter("dc", "x")
        .enable_pii_logging(true)
        .app_home_tenant_id("")
        .bound_flows([BoundFlow::ForAgent])
        .token_exchange_url("api://X/.default")
        .strict(true)
        .build()
        .unwrap();
    assert_eq!(options.bound_flows(), [BoundFlow::ForAgent]);
    assert_eq!((options.token_exchange_url(), options.strict()), (Some("api://X/.default"), true));
    assert_eq!(options.id().as_str(), "mine");
    assert_eq!(options.authority(), "https://login.microsoftonline.us/contoso.com");
    assert_eq!(options.clone().with_id(ApplicationId::new("other")).id().as_str(), "other");

    let error = ApplicationOptions::builder(" ")
        .authority("https://login.microsoftonline.com")
        .app_home_tenant_id("home")
        .token_exchange_url("api:// x")
        .azure_region("west europe")
        .allowed_authority("ftp://x")
        .credential(secret().with_use_bound_credential(true))
        .build()
        .unwrap_err();
    let lines: Vec<_> = error.problems().iter().map(|problem| problem.place.to_string()).collect();
    assert_eq!(
        lines,
        [
            "ApplicationOptions: AzureAd:ClientId",
            "ApplicationOptions: AzureAd:Authority",
            "ApplicationOptions: AzureAd:AppHomeTenantId",
            "ApplicationOptions: AzureAd:AzureRegion",
            "ApplicationOptions: Symbolon:TokenExchangeUrl",
            "ApplicationOptions: Symbolon:AllowedAuthorities",
            "ApplicationOptions: AzureAd:ClientCredentials:0:UseBoundCredential",
        ]
    );
    let lenient = ApplicationOptions::builder("app")
        .tenant_id("contoso.com")
        .unsupported_bound_credential(UnsupportedBoundCredential::IgnoreWithEvent)
        .credential(secret().with_use_bound_credential(true));
    assert_eq!(lenient.build().unwrap().warnings().len(), 1);
}

/// The names of sections are looked at once; what comes from the environment later is a name, too.
#[test]
fn a_section_whose_name_is_misspelt_is_found_whenever_it_comes() {
    let settings = Settings::from_value(json!({ "AzureAd": { "ClientId": "c", "TenantId": "contoso.com" } }));
    settings.application(None).expect("an application");
    let variable = ("Symbollon__Strict".into(), "true".into());
    let settings = settings.with_environment([variable]);
    for _ in 0..2 {
        let error = settings.application(None).expect_err("a misspelt name").to_string();
        assert!(error.contains("did you mean Symbolon?"), "{error}");
    }
}
