//! The credentials of an application: entries of `AzureAd:ClientCredentials`, of which the first that loads is used.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use zeroize::Zeroizing;

use crate::settings::Settings;

/// An entry.
#[derive(Debug)]
pub struct Entry {
    /// For messages, such as `ClientCredentials[0] (ClientSecret)`.
    pub name: String,
    /// Where the credential comes from.
    pub source: Source,
}

/// Where a credential comes from.
pub enum Source {
    /// The secret itself.
    Secret(Zeroizing<String>),
    /// A file with a token that stands in for a client assertion, at this path.
    AssertionFile(String),
    /// A certificate with its encrypted private key, PEM, and the passphrase.
    Certificate {
        /// Where the PEM text is.
        pem: Pem,
        /// What the key is encrypted with.
        passphrase: Zeroizing<String>,
    },
}

/// Where a PEM text is.
pub enum Pem {
    /// In the file at this path.
    File(String),
    /// Here.
    Text(Zeroizing<Vec<u8>>),
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Secret(_) => "Secret",
            Self::AssertionFile(_) => "AssertionFile",
            Self::Certificate { .. } => "Certificate",
        })
    }
}

/// The names of entries' values that are secrets.
pub const SECRETS: [&str; 3] = ["ClientSecret", "CertificatePassword", "Base64EncodedValue"];

/// The sections of the entries, in order.
pub fn sections(settings: &Settings) -> impl Iterator<Item = String> {
    let section = |index| format!("AzureAd:ClientCredentials:{index}");
    (0..).map(section).take_while(|section| settings.has_section(section))
}

/// The entries, in order.
///
/// # Errors
///
/// A sentence that names the entry, what was found and what is accepted.
pub fn entries(settings: &Settings) -> Result<Vec<Entry>, String> {
    sections(settings).enumerate().map(|(index, section)| entry(settings, index, &section)).collect()
}

fn entry(settings: &Settings, index: usize, section: &str) -> Result<Entry, String> {
    const ACCEPTED: &str = "accepted: ClientSecret, SignedAssertionFilePath, Path, Base64Encoded (docs/hosts.md has the reasons)";
    let key = |name: &str| format!("{section}:{name}");
    let source_type = settings.required(&key("SourceType"))?;
    let name = format!("ClientCredentials[{index}] ({source_type})");
    if settings.flag(&key("UseBoundCredential"))? == Some(true) {
        return Err(format!(
            "{}: found true; accepted: false, because nothing that runs on WASI can present a certificate \
             (client-certificate-unsupported)",
            key("UseBoundCredential")
        ));
    }
    let secret = |name: &str| settings.required(&key(name)).map(|value| Zeroizing::new(value.into()));
    let is = |name: &str| source_type.eq_ignore_ascii_case(name);
    let source = if is("ClientSecret") {
        Source::Secret(secret("ClientSecret")?)
    } else if is("SignedAssertionFilePath") {
        Source::AssertionFile(settings.required(&key("SignedAssertionFileDiskPath"))?.into())
    } else if is("Path") {
        let pem = Pem::File(settings.required(&key("CertificateDiskPath"))?.into());
        Source::Certificate { pem, passphrase: secret("CertificatePassword")? }
    } else if is("Base64Encoded") {
        let place = key("Base64EncodedValue");
        let decoded = BASE64_STANDARD.decode(settings.required(&place)?.trim());
        let text = decoded.map_err(|_| {
            format!("{place}: found something else than base64; accepted: a PEM file in base64")
        })?;
        let pem = Pem::Text(Zeroizing::new(text));
        Source::Certificate { pem, passphrase: secret("CertificatePassword")? }
    } else {
        return Err(format!("{}: found {source_type}; {ACCEPTED}", key("SourceType")));
    };
    Ok(Entry { name, source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    fn entries_of(values: &[(&str, &str)]) -> Result<Vec<Entry>, String> {
        let named =
            |(name, value): &(&str, &str)| (format!("AzureAd__ClientCredentials__{name}"), value.to_string());
        entries(&Settings::new(values.iter().map(named)))
    }

    #[test]
    fn entries_keep_their_order() {
        let seen = entries_of(&[
            ("1__SourceType", "clientsecret"),
            ("1__ClientSecret", "canary"),
            ("0__SourceType", "SignedAssertionFilePath"),
            ("0__SignedAssertionFileDiskPath", "/var/token"),
        ])
        .unwrap();
        let names: Vec<_> = seen.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(
            names,
            ["ClientCredentials[0] (SignedAssertionFilePath)", "ClientCredentials[1] (clientsecret)"]
        );
        assert!(matches!(&seen[1].source, Source::Secret(secret) if secret.as_str() == "canary"));
        assert!(!format!("{seen:?}").contains("canary"));
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        for (values, expected) in [
            (&[("0__SourceType", "KeyVault")][..], "found KeyVault; accepted: ClientSecret"),
            (&[("0__SourceType", "ClientSecret")][..], ":0:ClientSecret: found nothing"),
            (&[("0__ClientSecret", "canary")][..], ":0:SourceType: found nothing"),
            (
                &[("0__SourceType", "Path"), ("0__CertificateDiskPath", "/k")][..],
                "CertificatePassword: found nothing",
            ),
            (
                &[("0__SourceType", "Base64Encoded"), ("0__Base64EncodedValue", "canary!")][..],
                "found something else than base64",
            ),
            (
                &[("0__SourceType", "ClientSecret"), ("0__UseBoundCredential", "true")][..],
                "client-certificate-unsupported",
            ),
        ] {
            let error = entries_of(values).unwrap_err();
            assert!(error.contains(expected) && !error.contains("canary"), "{error}");
        }
    }
}
