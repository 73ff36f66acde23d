use std::fmt;

/// Where a credential comes from: the values of `SourceType` in `ClientCredentials`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SourceType {
    /// A certificate that the program gives.
    Certificate,
    /// A certificate in Azure Key Vault.
    KeyVault,
    /// The content of a certificate file, in base64.
    Base64Encoded,
    /// A certificate file.
    Path,
    /// A certificate of a store, by thumbprint.
    StoreWithThumbprint,
    /// A certificate of a store, by distinguished name.
    StoreWithDistinguishedName,
    /// A certificate of a store, by a part of its subject.
    StoreWithSubjectName,
    /// A shared secret.
    ClientSecret,
    /// A token of a managed identity.
    SignedAssertionFromManagedIdentity,
    /// A token that a workload finds in a file.
    SignedAssertionFilePath,
    /// An assertion that a vault signs.
    SignedAssertionFromVault,
    /// Keys that decrypt tokens.
    AutoDecryptKeys,
    /// A token of a provider that the program registers.
    CustomSignedAssertion,
    /// A certificate that Microsoft manages.
    ManagedCertificate,
}

impl SourceType {
    /// Every source that Microsoft.Identity.Web knows.
    pub const ALL: [Self; 14] = [
        Self::Certificate,
        Self::KeyVault,
        Self::Base64Encoded,
        Self::Path,
        Self::StoreWithThumbprint,
        Self::StoreWithDistinguishedName,
        Self::StoreWithSubjectName,
        Self::ClientSecret,
        Self::SignedAssertionFromManagedIdentity,
        Self::SignedAssertionFilePath,
        Self::SignedAssertionFromVault,
        Self::AutoDecryptKeys,
        Self::CustomSignedAssertion,
        Self::ManagedCertificate,
    ];

    /// The source of that name, case ignored.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|source| source.as_str().eq_ignore_ascii_case(name))
    }

    /// The name in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Certificate => "Certificate",
            Self::KeyVault => "KeyVault",
            Self::Base64Encoded => "Base64Encoded",
            Self::Path => "Path",
            Self::StoreWithThumbprint => "StoreWithThumbprint",
            Self::StoreWithDistinguishedName => "StoreWithDistinguishedName",
            Self::StoreWithSubjectName => "StoreWithSubjectName",
            Self::ClientSecret => "ClientSecret",
            Self::SignedAssertionFromManagedIdentity => "SignedAssertionFromManagedIdentity",
            Self::SignedAssertionFilePath => "SignedAssertionFilePath",
            Self::SignedAssertionFromVault => "SignedAssertionFromVault",
            Self::AutoDecryptKeys => "AutoDecryptKeys",
            Self::CustomSignedAssertion => "CustomSignedAssertion",
            Self::ManagedCertificate => "ManagedCertificate",
        }
    }

    /// The fields of an entry that belong to this source, beside [`COMMON_FIELDS`].
    pub(crate) fn fields(self) -> &'static [&'static str] {
        match self {
            Self::Certificate => &["OmitAssertionWhenBound", "KeyId"],
            Self::ManagedCertificate => &[],
            Self::KeyVault => &[
                "KeyVaultUrl",
                "KeyVaultCertificateName",
                "ManagedIdentityClientId",
                "ConfigurationSection",
                "OmitAssertionWhenBound",
                "KeyId",
            ],
            Self::Base64Encoded => {
                &["Base64EncodedValue", "CertificatePassword", "OmitAssertionWhenBound", "KeyId"]
            }
            Self::Path => &[
                "CertificateDiskPath",
                "CertificateKeyDiskPath",
                "CertificateKeyUri",
                "CertificatePassword",
                "OmitAssertionWhenBound",
                "KeyId",
            ],
            Self::StoreWithThumbprint => {
                &["CertificateStorePath", "CertificateThumbprint", "OmitAssertionWhenBound", "KeyId"]
            }
            Self::StoreWithDistinguishedName => {
                &["CertificateStorePath", "CertificateDistinguishedName", "OmitAssertionWhenBound", "KeyId"]
            }
            Self::StoreWithSubjectName => {
                &["CertificateStorePath", "CertificateSubjectName", "OmitAssertionWhenBound", "KeyId"]
            }
            Self::ClientSecret => &["ClientSecret", "ClientSecretFile"],
            Self::SignedAssertionFromManagedIdentity => &["ManagedIdentityClientId", "TokenExchangeUrl"],
            Self::SignedAssertionFilePath => &["SignedAssertionFileDiskPath"],
            Self::SignedAssertionFromVault => &["KeyVaultUrl", "KeyVaultCertificateName"],
            Self::AutoDecryptKeys => &["DecryptKeysAuthenticationOptions"],
            Self::CustomSignedAssertion => &[
                "CustomSignedAssertionProviderName",
                "CustomSignedAssertionProviderData",
                "OmitAssertionWhenBound",
                "KeyId",
                "TokenExchangeUrl",
            ],
        }
    }

    /// Why the source can't be used and what to use instead; `None` for one that can.
    pub(crate) fn unsupported(self) -> Option<String> {
        let (why, instead) = match self {
            Self::SignedAssertionFromVault => ("is known, but no library has an implementation of it", ANY),
            Self::ManagedCertificate => ("is known, but works inside Microsoft only", FILES),
            Self::AutoDecryptKeys => ("decrypts tokens and never authenticates a client", ANY),
            Self::StoreWithThumbprint | Self::StoreWithDistinguishedName | Self::StoreWithSubjectName
                if !cfg!(target_os = "linux") =>
            {
                ("is known and not supported on this platform", FILES)
            }
            _ => return None,
        };
        Some(format!("found SourceType {self}, which {why}; accepted: {instead}"))
    }
}

impl fmt::Display for SourceType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The fields that every entry may have.
pub(crate) const COMMON_FIELDS: [&str; 4] =
    ["SourceType", "Skip", "UseBoundCredential", "PreferBoundCredential"];

const FILES: &str = "Path or Base64Encoded, with the certificate and its private key as PEM or PKCS#12";

const ANY: &str =
    "a certificate (Path, KeyVault, …), a signed assertion (SignedAssertionFilePath, …) or ClientSecret";
