//! `symbolon check`, and what is said where no credential can be used.

use std::fs;

use serde_json::{Value, json};

use crate::site::{CANARY, SCOPE, Site, command, run};

/// What can be wrong with a credential: an entry, what is said of it, and whether only somebody else could tell.
fn failures(site: &Site) -> Vec<(Value, &'static str)> {
    let write = |name: &str, content: &str| fs::write(site.path(name), content).unwrap();
    let pem = fs::read_to_string(site.path("client.pem")).unwrap();
    let certificate = fs::read_to_string(site.path("client.crt")).unwrap();
    let expired = fs::read_to_string(site.path("client-expired.crt")).unwrap();
    let key = pem.split_inclusive("-----END PRIVATE KEY-----\n").next().unwrap();
    write("text.pem", "not PEM");
    write("half.pem", &pem[..pem.len() / 2]);
    write("key.pem", key);
    write("mismatch.pem", &(key.to_owned() + &expired));
    write("empty", "\n");
    fs::create_dir(site.path("store")).unwrap();
    assert!(certificate.contains("BEGIN CERTIFICATE"));
    let path = |file: &str| json!({ "SourceType": "Path", "CertificateDiskPath": file });
    let with = |mut entry: Value, name: &str, value: &str| {
        entry[name] = value.into();
        entry
    };
    let store = |path: &str| {
        let entry = json!({ "SourceType": "StoreWithSubjectName", "CertificateStorePath": path });
        with(entry, "CertificateSubjectName", "daemon")
    };
    let of = |source_type: &str| json!({ "SourceType": source_type });
    let secret = |file: &str| with(of("ClientSecret"), "ClientSecretFile", file);
    let assertion = |file: &str| with(of("SignedAssertionFilePath"), "SignedAssertionFileDiskPath", file);
    vec![
        (with(path("client.pfx"), "CertificatePassword", CANARY), "that CertificatePassword doesn't open"),
        (path("client.pfx"), "that is encrypted, and no CertificatePassword"),
        (path("nowhere.pem"), "nowhere.pem): found no file there"),
        (path("store"), "can't be read (is a directory)"),
        (path("client.crt"), "found a certificate without a private key"),
        (path("text.pem"), "found neither PEM nor PKCS#12"),
        (path("half.pem"), "found a damaged PEM section"),
        (path("key.pem"), "found no certificate"),
        (path("mismatch.pem"), "that doesn't match the certificate (CN=expired.contoso.test)"),
        (with(path("client.crt"), "CertificateKeyDiskPath", "gone.key"), "gone.key, which isn't there"),
        (path("client-expired.pem"), "(CN=expired.contoso.test) that expired at"),
        (with(of("Base64Encoded"), "Base64EncodedValue", "aGVsbG8="), "found neither PEM nor PKCS#12"),
        (store("CurrentUser/My"), "found no directory that plays the certificate store CurrentUser/My"),
        (store("LocalMachine/My"), "found no certificate that is valid now with \"daemon\" in the subject"),
        (secret("gone.secret"), "gone.secret): found no file there; accepted: a file with the client secret"),
        (secret("empty"), "found an empty file"),
        (assertion("gone.jwt"), "gone.jwt): found no file there; accepted: a file with a JWT"),
        (assertion("text.pem"), "found something other than a JWT"),
        (of("SignedAssertionFilePath"), "or the environment variable AZURE_FEDERATED_TOKEN_FILE"),
        (of("CustomSignedAssertion"), "found no CustomSignedAssertionProviderName"),
        (
            json!({
                "SourceType": "CustomSignedAssertion",
                "CustomSignedAssertionProviderName": "Mine",
                "CustomSignedAssertionProviderData": { "password": CANARY },
            }),
            "found the provider \"Mine\", and no provider is registered at all",
        ),
        (of("SignedAssertionFromVault"), "no library has an implementation of it"),
        (of("ManagedCertificate"), "works inside Microsoft only"),
        (of("Certificate"), "found no certificate given through the API"),
    ]
}

#[test]
fn every_failure_of_a_credential_is_told() {
    let site = Site::start();
    let failures = failures(&site);
    let configuration = site.edited("certificate", |json| {
        let skipped = json!({ "SourceType": "ClientSecret", "ClientSecret": CANARY, "Skip": true });
        let entries = failures.iter().map(|(entry, _)| entry.clone()).chain([skipped]);
        json["AzureAd"]["ClientCredentials"] = entries.collect();
        json["Symbolon"]["CertificateStores"] = json!({ "LocalMachine/My": "store" });
    });
    let ran = site.run(&["check", "--json", "--config", configuration.to_str().unwrap()]);
    assert_eq!(ran.status, 2, "{ran:?}");
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    // The same in the error of an acquisition: a line for each, with place, source, what was found, what is accepted.
    let error = site.token(&configuration, &[]).failed(2);
    for (index, (entry, expected)) in failures.iter().enumerate() {
        let place = format!("edited.json: AzureAd:ClientCredentials:{index} (");
        let line =
            error.lines().find(|line| line.contains(&place)).unwrap_or_else(|| panic!("{index}: {error}"));
        assert!(line.contains(expected), "{entry}: `{expected}` is not in `{line}`");
        assert!(line.contains("found ") && line.contains("; accepted: "), "{line}");
        let credential = &report["credentials"][index];
        assert_eq!(
            (&credential["usable"], &credential["untried"]),
            (&json!(false), &json!(false)),
            "{entry}"
        );
        let problem = credential["problem"].as_str().unwrap_or_else(|| panic!("{entry}: {credential}"));
        assert!(line.ends_with(problem), "{line}\n{problem}");
    }
    assert!(!error.contains(&format!("ClientCredentials:{}", failures.len())), "one is skipped: {error}");
    assert_eq!(report["credentials"][failures.len()]["skipped"], true);
    assert_eq!(site.authority.stats().tcp_connections, 0);
}

/// Sources that somebody else has to be asked for are left alone.
#[test]
fn what_others_have_to_be_asked_for_is_not_tried() {
    let site = Site::start();
    let identity = "22222222-0000-4000-8000-000000000009";
    let configuration = site.edited("web-api", |json| {
        json["Other"] = json["AzureAd"].clone();
        json["AzureAd"]["ClientCredentials"] = json!([
            { "SourceType": "SignedAssertionFromManagedIdentity", "ManagedIdentityClientId": identity },
            { "SourceType": "KeyVault", "KeyVaultUrl": "https://a.vault.azure.net", "KeyVaultCertificateName": "b" },
            {
                "SourceType": "CustomSignedAssertion",
                "CustomSignedAssertionProviderName": "OidcIdpSignedAssertion",
                "CustomSignedAssertionProviderData": { "ConfigurationSection": "Other" },
                "UseBoundCredential": true,
            },
        ]);
    });
    let text = site.run(&["check", "--config", configuration.to_str().unwrap()]).ok();
    for words in [
        "(SignedAssertionFromManagedIdentity 22222222-0000-4000-8000-000000000009): the one that is tried first",
        "(KeyVault https://a.vault.azure.net/b): not tried; --online tries it",
        "(CustomSignedAssertion OidcIdpSignedAssertion, Other): not tried; --online tries it",
        "bound: yes, presented in the TLS handshake with the authority (UseBoundCredential)",
        "ClientCredentials:0:TokenExchangeUrl = api://AzureADTokenExchange (default)",
    ] {
        assert!(text.contains(words), "`{words}` is not in:\n{text}");
    }
    assert_eq!(site.authority.stats().tcp_connections, 0);
}

/// The values of the report, each with its origin.
fn values(report: &Value) -> Vec<(String, String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or("(not shown)").to_owned();
    let values = report["values"].as_array().unwrap().iter();
    values.map(|value| (text(&value["key"]), text(&value["value"]), text(&value["origin"]))).collect()
}

#[test]
fn the_origin_of_every_value_is_told() {
    let site = Site::start();
    let token = site.path("federated-assertion.jwt").to_str().unwrap().to_owned();
    let variables = [
        ("AZURE_CLIENT_ID", "from-workload"),
        ("AZURE_TENANT_ID", "workload.test"),
        ("AZURE_AUTHORITY_HOST", "https://login.microsoftonline.us/"),
        ("AZURE_FEDERATED_TOKEN_FILE", token.as_str()),
        ("AzureAd__ClientCredentials__1__ClientSecret", CANARY),
    ];
    let check = |azure_ad: Value| {
        let file = site.edited("secret", |json| json["AzureAd"] = azure_ad);
        let mut command = command();
        command.args(["check", "--json", "--config", file.to_str().unwrap()]).envs(variables);
        let ran = run(&mut command);
        assert!(!ran.stdout.contains(CANARY) && !ran.stderr.contains(CANARY), "{ran:?}");
        let file = file.to_str().unwrap().to_owned();
        values(&ran.json())
            .into_iter()
            .map(|(key, value, origin)| {
                format!(
                    "{key} = {value} ({})",
                    origin.replace(&file, "file").replace("environment variable ", "$")
                )
            })
            .collect::<Vec<_>>()
    };
    let secret = json!({ "SourceType": "ClientSecret" });
    let silent = check(json!({ "ClientCredentials": [{ "SourceType": "SignedAssertionFilePath" }, secret] }));
    let entry = "AzureAd:ClientCredentials";
    assert_eq!(
        silent,
        [
            "AzureAd:ClientId = from-workload ($AZURE_CLIENT_ID)".to_owned(),
            "AzureAd:Instance = https://login.microsoftonline.us/ ($AZURE_AUTHORITY_HOST)".to_owned(),
            "AzureAd:TenantId = workload.test ($AZURE_TENANT_ID)".to_owned(),
            "AzureAd:SendX5C = false (default)".to_owned(),
            format!("{entry}:0:SourceType = SignedAssertionFilePath (file)"),
            format!("{entry}:0:SignedAssertionFileDiskPath = {token} ($AZURE_FEDERATED_TOKEN_FILE)"),
            format!("{entry}:0:UseBoundCredential = not set (default)"),
            format!("{entry}:1:SourceType = ClientSecret (file)"),
            format!("{entry}:1:ClientSecret = (not shown) ($AzureAd__ClientCredentials__1__ClientSecret)"),
        ]
    );
    // What is said explicitly wins over the workload's environment.
    let explicit = check(json!({
        "ClientId": "mine",
        "TenantId": "contoso.com",
        "ClientCredentials": [
            { "SourceType": "SignedAssertionFilePath", "SignedAssertionFileDiskPath": "federated-assertion.jwt" },
            secret,
        ],
    }));
    assert_eq!(explicit[0], "AzureAd:ClientId = mine (file)");
    assert_eq!(explicit[2], "AzureAd:TenantId = contoso.com (file)");
    assert_eq!(explicit[1], "AzureAd:Instance = https://login.microsoftonline.us/ ($AZURE_AUTHORITY_HOST)");
    let path = format!("{entry}:0:SignedAssertionFileDiskPath = federated-assertion.jwt (file)");
    assert!(explicit.contains(&path), "{explicit:?}");
}

#[test]
fn a_certificate_is_told_with_its_end_and_its_binding() {
    let site = Site::start();
    for (use_bound, expected) in [
        (json!(true), "bound: yes, presented in the TLS handshake with the authority (UseBoundCredential)"),
        (json!(false), "bound: no (UseBoundCredential is false)"),
        (json!(null), "bound: no; UseBoundCredential or PreferBoundCredential binds it"),
    ] {
        let configuration = site.edited("certificate", |json| {
            json["AzureAd"]["ClientCredentials"][0]["UseBoundCredential"] = use_bound.clone();
        });
        let text = site.run(&["check", "--config", configuration.to_str().unwrap()]).ok();
        assert!(text.contains(expected), "`{expected}` is not in:\n{text}");
        assert!(text.contains(" days left)") && text.contains("AzureAd:ClientId = "), "{text}");
    }
    let file = site.configuration("federated");
    let text = site.run(&["check", "--config", file.to_str().unwrap()]).ok();
    assert!(text.contains("  expires: 20") && text.contains("bound to no certificate"), "{text}");
    assert!(!text.contains(SCOPE));
}
