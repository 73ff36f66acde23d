//! Entries of `ClientCredentials`.

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::credentials::{
    COMMON_FIELDS, CertificatePassword, ClientSecret, CredentialDescription, CredentialSource, SourceType,
};

use super::error::{Place, quoted};
use super::reader::{Findings, Located, Section, nearest};

/// Reads one entry. `None` when it is malformed, which the findings say. A relative path starts at `directory`.
pub(super) fn read(
    section: &Section<'_>,
    directory: &Path,
    findings: &mut Findings,
) -> Option<CredentialDescription> {
    let source_type = source_type(section, findings)?;
    check_fields(section, source_type, findings);
    let skip = section.flag("Skip", findings).unwrap_or(false);
    let use_bound_credential = section.flag("UseBoundCredential", findings);
    let source = source(section, source_type, directory, findings)?;
    Some(CredentialDescription { source, skip, use_bound_credential })
}

fn source_type(section: &Section<'_>, findings: &mut Findings) -> Option<SourceType> {
    let names = || SourceType::ALL.map(SourceType::as_str);
    let accepted = || names().join(", ");
    if !section.has("SourceType") {
        findings.problem(section.place_of("SourceType"), "nothing", accepted());
        return None;
    }
    let written = section.text("SourceType", findings)?;
    let source_type = SourceType::parse(&written.value);
    if source_type.is_none() {
        let hint = nearest(&written.value, names()).map(|name| format!(" (did you mean {name:?}?)"));
        let found = format!("{}{}", quoted(&written.value), hint.unwrap_or_default());
        findings.problem(written.place, found, accepted());
    }
    source_type
}

fn check_fields(section: &Section<'_>, source_type: SourceType, findings: &mut Findings) {
    let accepted: Vec<_> = source_type.fields().iter().chain(&COMMON_FIELDS).copied().collect();
    for name in section.names().filter(|name| section.has(name)) {
        if accepted.iter().any(|known| known.eq_ignore_ascii_case(name)) {
            continue;
        }
        let elsewhere = SourceType::ALL
            .iter()
            .any(|other| other.fields().iter().any(|known| known.eq_ignore_ascii_case(name)));
        let found = match nearest(name, accepted.iter().copied()) {
            _ if elsewhere => format!("a field that SourceType {source_type} has no use for"),
            Some(meant) => format!("an unknown field (did you mean {meant}?)"),
            None => "an unknown field".to_owned(),
        };
        findings.problem(section.place_of(name), found, accepted.join(", "));
    }
}

fn source(
    section: &Section<'_>,
    source_type: SourceType,
    directory: &Path,
    findings: &mut Findings,
) -> Option<CredentialSource> {
    if let Some(reason) = source_type.unsupported() {
        return Some(CredentialSource::Unsupported(source_type, reason));
    }
    match source_type {
        SourceType::ClientSecret => {
            let secret = required(section, "ClientSecret", "the client secret", findings)?;
            Some(CredentialSource::ClientSecret(ClientSecret::new(secret.value.as_str())))
        }
        SourceType::Path => {
            let path =
                required(section, "CertificateDiskPath", "the path of a PEM or PKCS#12 file", findings)?;
            let path: PathBuf = directory.join(path.value.as_str());
            Some(CredentialSource::Path { path, password: password(section, findings) })
        }
        SourceType::Base64Encoded => base64_encoded(section, findings),
        _ => Some(CredentialSource::Certificate(None)),
    }
}

fn base64_encoded(section: &Section<'_>, findings: &mut Findings) -> Option<CredentialSource> {
    const ACCEPTED: &str = "a PEM or PKCS#12 file in base64";
    let content = required(section, "Base64EncodedValue", ACCEPTED, findings)?;
    let password = password(section, findings);
    match CredentialDescription::from_base64(&content.value, password) {
        Some(description) => Some(description.source),
        None => {
            findings.problem(content.place, "something other than base64", ACCEPTED);
            None
        }
    }
}

fn password(section: &Section<'_>, findings: &mut Findings) -> Option<CertificatePassword> {
    let password = section.secret("CertificatePassword", findings)?;
    Some(CertificatePassword::new(password.value.as_str()))
}

fn required(
    section: &Section<'_>,
    name: &str,
    accepted: &str,
    findings: &mut Findings,
) -> Option<Located<Zeroizing<String>>> {
    if !section.has(name) {
        findings.problem(section.place_of(name), "nothing", accepted);
        return None;
    }
    let value = section.secret(name, findings)?;
    if value.value.trim().is_empty() {
        findings.problem(value.place, "an empty string", accepted);
        return None;
    }
    Some(value)
}

/// How messages name an entry: `ClientCredentials[0] (Path)` for `AzureAd:ClientCredentials:0`.
pub(super) fn name(place: &Place, source_type: SourceType) -> String {
    let mut steps = place.path().rsplit(':');
    match (steps.next(), steps.next()) {
        (Some(index), Some(list)) if index.bytes().all(|byte| byte.is_ascii_digit()) => {
            format!("{list}[{index}] ({source_type})")
        }
        (Some(key), _) => format!("{key} ({source_type})"),
        _ => source_type.to_string(),
    }
}
