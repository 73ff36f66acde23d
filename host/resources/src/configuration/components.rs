//! `Symbolon:CredentialProviders`: components that have credentials.

use std::collections::BTreeMap;
use std::path::Path;

use crate::credentials::CredentialComponent;

use super::error::quoted;
use super::reader::{Findings, Section, nearest};

/// Components that have credentials, by the name that entries have for them.
pub(super) fn read(
    section: &Section<'_>,
    directory: &Path,
    findings: &mut Findings,
) -> BTreeMap<String, CredentialComponent> {
    let Some(written) = section.object("CredentialProviders", findings) else { return BTreeMap::new() };
    let mut components = BTreeMap::new();
    for name in written.names() {
        if let Some(provider) = written.object(name, findings)
            && let Some(component) = component(&provider, directory, findings)
        {
            components.insert(name.to_owned(), component);
        }
    }
    components
}

fn component(
    provider: &Section<'_>,
    directory: &Path,
    findings: &mut Findings,
) -> Option<CredentialComponent> {
    for name in provider.names().filter(|name| !KEYS.iter().any(|key| key.eq_ignore_ascii_case(name))) {
        let hint = nearest(name, KEYS).map(|key| format!(" (did you mean {key}?)")).unwrap_or_default();
        findings.problem(provider.place_of(name), format!("an unknown key{hint}"), KEYS.join(", "));
    }
    let path = provider.text("Component", findings).filter(|path| !path.value.is_empty());
    let Some(path) = path else {
        findings.problem(provider.place_of("Component"), "nothing", "the path of a WebAssembly component");
        return None;
    };
    let mut component = CredentialComponent::new(directory.join(path.value));
    if let Some(files) = provider.object("Files", findings) {
        for (name, file) in files.entries(findings) {
            component = component.with_file(name, directory.join(file.value));
        }
    }
    if let Some(settings) = provider.object("Settings", findings) {
        for (name, value) in settings.scalars(findings) {
            component = component.with_setting(name, value);
        }
    }
    let Some(digest) = provider.text("Sha256", findings) else { return Some(component) };
    let checked = component.with_sha256(&digest.value);
    if checked.is_none() {
        findings.problem(digest.place, quoted(&digest.value), "a SHA-256, 64 hexadecimal digits");
    }
    checked
}

const KEYS: [&str; 4] = ["Component", "Files", "Settings", "Sha256"];
