//! The identity string that Microsoft.Identity.Web gives a credential (`CredentialDescription.Id`).

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use zeroize::Zeroizing;

use super::source_type::SourceType;

/// The identity of a credential as it is configured, byte for byte that of Microsoft.Identity.Web, to which the
/// thumbprint of the loaded certificate is added.
///
/// It holds the digest of a secret, never the secret. It isn't `Debug` all the same: the digest of a weak secret can be
/// guessed at.
#[derive(Clone, PartialEq, Eq)]
pub struct CredentialId {
    base: String,
    /// What stands before the thumbprint; `None` where there is none in the identity.
    thumbprint: Option<&'static str>,
}

impl CredentialId {
    /// The identity of an entry of `ClientCredentials`. `field` gives its fields by name, as they are written;
    /// `data_keys` are the names in its `CustomSignedAssertionProviderData`, in order.
    pub fn new<'a>(
        source_type: SourceType,
        field: impl Fn(&str) -> Option<Zeroizing<String>>,
        data_keys: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        const THUMBPRINT: Option<&str> = Some(";Thumbprint=");
        let text = |name: &str| field(name).map(|value| value.to_string()).unwrap_or_default();
        let digest = |name: &str| field(name).map(|value| hash(&value)).unwrap_or_default();
        let store = |kind: &str, criterion: &str| {
            format!("CertificateStoreWith{kind}={}/{}", text("CertificateStorePath"), text(criterion))
        };
        let (base, thumbprint) = match source_type {
            SourceType::Certificate => ("Certificate=".to_owned(), Some("")),
            SourceType::KeyVault => {
                let (url, name) = (text("KeyVaultUrl"), text("KeyVaultCertificateName"));
                (format!("CertificateFromKeyVault={url}/{name}"), THUMBPRINT)
            }
            SourceType::Base64Encoded => {
                (format!("CertificateFromBase64Encoded={}", digest("Base64EncodedValue")), THUMBPRINT)
            }
            SourceType::Path => (format!("CertificateFromPath={}", text("CertificateDiskPath")), THUMBPRINT),
            SourceType::StoreWithThumbprint => (store("Thumbprint", "CertificateThumbprint"), None),
            SourceType::StoreWithDistinguishedName => {
                (store("DistinguishedName", "CertificateDistinguishedName"), THUMBPRINT)
            }
            SourceType::StoreWithSubjectName => (store("SubjectName", "CertificateSubjectName"), THUMBPRINT),
            SourceType::ClientSecret => (format!("RedactedClientSecret={}", digest("ClientSecret")), None),
            SourceType::SignedAssertionFromManagedIdentity => {
                (format!("SignedAssertionFromManagedIdentity={}", text("ManagedIdentityClientId")), None)
            }
            SourceType::SignedAssertionFilePath => {
                (format!("SignedAssertionFilePath={}", text("SignedAssertionFileDiskPath")), None)
            }
            SourceType::SignedAssertionFromVault => {
                (format!("SignedAssertionFromVault={}", text("KeyVaultCertificateName")), None)
            }
            SourceType::CustomSignedAssertion => {
                let keys: Vec<_> = data_keys.into_iter().collect();
                let name = text("CustomSignedAssertionProviderName");
                (format!("CustomSignedAssertion={name}({})", keys.join(",")), None)
            }
            SourceType::AutoDecryptKeys => ("AutoDecryptKeys".to_owned(), None),
            SourceType::ManagedCertificate => {
                let cached =
                    field("CachedValue").map_or_else(|| "null".to_owned(), |value| value.to_string());
                (format!("ManagedCertificate={cached}"), THUMBPRINT)
            }
        };
        Self { base, thumbprint }
    }

    /// The identity with the thumbprint of the loaded certificate (SHA-1, upper-case hexadecimal), or with `null` where
    /// none is loaded.
    pub fn with_thumbprint(&self, thumbprint: Option<&str>) -> String {
        match self.thumbprint {
            Some(before) => format!("{}{before}{}", self.base, thumbprint.unwrap_or("null")),
            None => self.base.clone(),
        }
    }
}

impl std::fmt::Debug for CredentialId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CredentialId").finish_non_exhaustive()
    }
}

/// Base64 of the SHA-256 of the UTF-16 form (little-endian): how .NET hashes a string.
fn hash(text: &str) -> String {
    // Twice as long as UTF-8 at most; a buffer that grows leaves copies behind.
    let mut wide = Zeroizing::new(Vec::with_capacity(2 * text.len()));
    wide.extend(text.encode_utf16().flat_map(u16::to_le_bytes));
    BASE64_STANDARD.encode(digest(&SHA256, &wide))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(source_type: SourceType, fields: &[(&str, &str)], thumbprint: Option<&str>) -> String {
        let field = |name: &str| {
            fields
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| Zeroizing::new((*value).to_owned()))
        };
        CredentialId::new(source_type, field, ["ConfigurationSection", "b"]).with_thumbprint(thumbprint)
    }

    #[test]
    fn identities_are_those_of_identity_web() {
        let store = [("CertificateStorePath", "CurrentUser/My"), ("CertificateThumbprint", "AB")];
        let vault = [("KeyVaultUrl", "https://v.test"), ("KeyVaultCertificateName", "c")];
        let cases = [
            (SourceType::Certificate, &[][..], Some("AB"), "Certificate=AB"),
            (SourceType::Certificate, &[], None, "Certificate=null"),
            (SourceType::KeyVault, &vault, None, "CertificateFromKeyVault=https://v.test/c;Thumbprint=null"),
            (SourceType::SignedAssertionFromVault, &vault, None, "SignedAssertionFromVault=c"),
            (
                SourceType::Path,
                &[("CertificateDiskPath", "a.pfx")],
                Some("AB"),
                "CertificateFromPath=a.pfx;Thumbprint=AB",
            ),
            (
                SourceType::Base64Encoded,
                &[("Base64EncodedValue", "a")],
                None,
                // printf 'a\0' | openssl dgst -sha256 -binary | base64
                "CertificateFromBase64Encoded=/+mq6qKi1QSBdN8LgFme8Bl+wCTEsFG8mGDP9Y73+fM=;Thumbprint=null",
            ),
            (
                SourceType::StoreWithThumbprint,
                &store,
                Some("AB"),
                "CertificateStoreWithThumbprint=CurrentUser/My/AB",
            ),
            (SourceType::ClientSecret, &[], None, "RedactedClientSecret="),
            (
                SourceType::SignedAssertionFromManagedIdentity,
                &[("ManagedIdentityClientId", "id"), ("TokenExchangeUrl", "api://X")],
                None,
                "SignedAssertionFromManagedIdentity=id",
            ),
            (
                SourceType::SignedAssertionFilePath,
                &[("SignedAssertionFileDiskPath", "/t")],
                None,
                "SignedAssertionFilePath=/t",
            ),
            (
                SourceType::CustomSignedAssertion,
                &[("CustomSignedAssertionProviderName", "Mine")],
                None,
                "CustomSignedAssertion=Mine(ConfigurationSection,b)",
            ),
            (SourceType::AutoDecryptKeys, &[], None, "AutoDecryptKeys"),
            (SourceType::ManagedCertificate, &[], None, "ManagedCertificate=null;Thumbprint=null"),
        ];
        for (source_type, fields, thumbprint, expected) in cases {
            assert_eq!(id(source_type, fields, thumbprint), expected);
        }
    }

    #[test]
    fn a_secret_is_hashed_as_utf_16() {
        let one = id(SourceType::ClientSecret, &[("ClientSecret", "a")], None);
        assert_eq!(one, "RedactedClientSecret=/+mq6qKi1QSBdN8LgFme8Bl+wCTEsFG8mGDP9Y73+fM=");
        assert!(
            !format!("{:?}", CredentialId::new(SourceType::ClientSecret, |_| None, [])).contains("Redacted")
        );
    }
}
