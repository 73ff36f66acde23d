//! A directory of certificate files in the part of the Windows certificate store.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zeroize::Zeroizing;

use super::binding::Binding;
use super::distinguished_name::DistinguishedName;
use super::error::LoadError;
use super::files::{self, Contents};
use super::material::MAX_BYTES;

/// The place of a certificate store: `Location/Name`, such as `CurrentUser/My`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StorePath {
    location: &'static str,
    name: &'static str,
}

impl StorePath {
    /// Reads `Location/Name`, case ignored.
    ///
    /// # Errors
    ///
    /// [`StorePathError`] when it isn't two parts that .NET knows.
    pub fn parse(text: &str) -> Result<Self, StorePathError> {
        let error = || StorePathError { found: text.to_owned() };
        let known = |names: &[&'static str], part: &str| {
            names.iter().copied().find(|name| name.eq_ignore_ascii_case(part)).ok_or_else(error)
        };
        let (location, name) = text.split_once('/').ok_or_else(error)?;
        Ok(Self { location: known(&LOCATIONS, location)?, name: known(&NAMES, name)? })
    }
}

impl fmt::Display for StorePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.location, self.name)
    }
}

/// Something other than the place of a certificate store. Microsoft.Identity.Web's IDW10703.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("found {found:?}; accepted: {}", StorePathError::ACCEPTED)]
#[non_exhaustive]
pub struct StorePathError {
    /// What was found.
    pub found: String,
}

impl StorePathError {
    pub(crate) const ACCEPTED: &str = "Location/Name, with CurrentUser or LocalMachine as the location and My, Root, \
        AddressBook, AuthRoot, CertificateAuthority, Disallowed, TrustedPeople or TrustedPublisher as the name";

    /// The code of Microsoft.Identity.Web's error with the same meaning.
    pub fn identity_web_code(&self) -> &'static str {
        "IDW10703"
    }
}

/// Which certificate of a store is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreCriterion {
    /// The one with this thumbprint: the SHA-1 of its DER as 40 upper-case hexadecimal digits.
    Thumbprint(String),
    /// One with exactly this subject, its attributes in this order or in reverse, case ignored.
    DistinguishedName(DistinguishedName),
    /// One whose subject has an attribute that contains this, case ignored.
    SubjectName(String),
}

impl StoreCriterion {
    /// A thumbprint as people copy it: hexadecimal digits of either case, with blanks, colons, hyphens or invisible
    /// characters between them. `None` when it isn't 20 bytes.
    pub fn thumbprint(text: &str) -> Option<Self> {
        let separator =
            |c: char| c.is_whitespace() || matches!(c, ':' | '-' | '\u{200e}' | '\u{200f}' | '\u{feff}');
        let digits: String =
            text.chars().filter(|c| !separator(*c)).map(|c| c.to_ascii_uppercase()).collect();
        let complete = digits.len() == 40 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        complete.then_some(Self::Thumbprint(digits))
    }

    /// A subject such as `CN=daemon, O=Contoso`. `None` when it isn't a list of attributes and values.
    pub fn distinguished_name(text: &str) -> Option<Self> {
        DistinguishedName::parse(text).map(Self::DistinguishedName)
    }

    /// A part of a subject, such as `daemon`. `None` when it is empty.
    pub fn subject_name(text: &str) -> Option<Self> {
        let text = text.trim();
        (!text.is_empty()).then(|| Self::SubjectName(text.to_owned()))
    }

    fn fits(&self, certificate: &Binding) -> bool {
        match self {
            Self::Thumbprint(thumbprint) => certificate.thumbprint_hex() == thumbprint,
            Self::DistinguishedName(name) => certificate.distinguished_name().is(name),
            Self::SubjectName(part) => certificate.distinguished_name().mentions(part),
        }
    }
}

impl fmt::Display for StoreCriterion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Thumbprint(thumbprint) => write!(f, "thumbprint {thumbprint}"),
            Self::DistinguishedName(name) => write!(f, "the subject {name}"),
            Self::SubjectName(part) => write!(f, "{part:?} in the subject"),
        }
    }
}

/// Which directories play which stores.
pub(crate) type StoreDirectories = BTreeMap<StorePath, PathBuf>;

/// Reads the certificate files of a directory. Blocks on the file system.
pub(super) fn read(directory: &Path) -> Result<Contents, LoadError> {
    let unusable = |error: std::io::Error| LoadError::NoCertificateInStore {
        found: format!("a directory that can't be read ({}), {}", error.kind(), directory.display()),
        accepted: "a directory of PEM or PKCS#12 (PFX) files that this process may read".to_owned(),
    };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(unusable)? {
        let path = entry.map_err(unusable)?.path();
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        if EXTENSIONS.iter().any(|known| known.eq_ignore_ascii_case(extension)) {
            paths.push(path);
        }
    }
    // The order of a directory is nobody's.
    paths.sort();
    paths.truncate(MAX_FILES);
    // One that can't be read is one that isn't there.
    let read = |path: &PathBuf| files::read(path, MAX_BYTES).unwrap_or_else(|_| Zeroizing::default());
    Ok(Contents::new(paths.iter().map(read).collect()))
}

/// The newest of the certificates that fit and are valid now.
pub(super) fn find(
    contents: &Contents,
    criterion: &StoreCriterion,
    directory: &Path,
    now_unix: u64,
) -> Result<Arc<Binding>, LoadError> {
    let usable = contents.files().filter_map(|file| Binding::from_bytes(file, None).ok());
    let (mut total, mut fitting) = (0_usize, 0_usize);
    let mut found: Option<Binding> = None;
    for certificate in usable {
        total += 1;
        if !criterion.fits(&certificate) {
            continue;
        }
        fitting += 1;
        let newest =
            found.as_ref().is_none_or(|known| known.not_before_unix() < certificate.not_before_unix());
        if certificate.check_validity(now_unix).is_ok() && newest {
            found = Some(certificate);
        }
    }
    found.map(Arc::new).ok_or_else(|| {
        let (files, directory) = (contents.files().count(), directory.display());
        LoadError::NoCertificateInStore {
            found: format!(
                "no certificate that is valid now with {criterion} in {directory} ({files} files, {total} certificates \
                 with their keys, {fitting} of them fit)"
            ),
            accepted: "a PEM or PKCS#12 (PFX) file there, without password, with the certificate and its key"
                .to_owned(),
        }
    })
}

const LOCATIONS: [&str; 2] = ["CurrentUser", "LocalMachine"];

const NAMES: [&str; 8] = [
    "AddressBook",
    "AuthRoot",
    "CertificateAuthority",
    "Disallowed",
    "My",
    "Root",
    "TrustedPeople",
    "TrustedPublisher",
];

const EXTENSIONS: [&str; 5] = ["pem", "pfx", "p12", "crt", "cer"];

/// A directory with more files than this isn't one of certificates.
const MAX_FILES: usize = 1000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_store_path_is_two_known_parts() {
        for (text, expected) in [
            ("CurrentUser/My", Some("CurrentUser/My")),
            ("localmachine/TRUSTEDPEOPLE", Some("LocalMachine/TrustedPeople")),
            ("CurrentUser/My/x", None),
            ("CurrentUser", None),
            ("My/CurrentUser", None),
            ("CurrentUser/", None),
            (" CurrentUser/My", None),
            ("", None),
        ] {
            let parsed = StorePath::parse(text).ok().map(|path| path.to_string());
            assert_eq!(parsed.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn a_thumbprint_is_read_as_people_copy_it() {
        let expected = StoreCriterion::Thumbprint("E70C50DA4EA66F94269A59254E044B2D2D3FCA74".to_owned());
        for text in [
            "E70C50DA4EA66F94269A59254E044B2D2D3FCA74",
            "e70c50da4ea66f94269a59254e044b2d2d3fca74",
            "\u{200e}e7 0c 50 da 4e a6 6f 94 26 9a 59 25 4e 04 4b 2d 2d 3f ca 74",
            "E7:0C:50:DA:4E:A6:6F:94:26:9A:59:25:4E:04:4B:2D:2D:3F:CA:74",
        ] {
            assert_eq!(StoreCriterion::thumbprint(text).as_ref(), Some(&expected));
        }
        for text in ["", "E7", "G70C50DA4EA66F94269A59254E044B2D2D3FCA74", &"ab".repeat(32)] {
            assert_eq!(StoreCriterion::thumbprint(text), None);
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in ".{0,80}") {
            let _ = StorePath::parse(&text);
            let _ = StoreCriterion::thumbprint(&text);
            let _ = StoreCriterion::distinguished_name(&text);
        }

        #[test]
        fn what_a_store_path_is_written_as_reads_the_same(location in 0..2_usize, name in 0..8_usize) {
            let path = StorePath { location: LOCATIONS[location], name: NAMES[name] };
            prop_assert_eq!(StorePath::parse(&path.to_string().to_lowercase()), Ok(path));
        }
    }
}
