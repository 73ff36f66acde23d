//! What a component is for here, and what a host gives to one of its kind.

use serde::Serialize;
use symbolon::Component;

use super::anatomy::{Anatomy, Item};
use super::wasi;

/// What a component is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Role {
    /// It runs in the place of the shipped one.
    TokenAcquisition,
    /// It has credentials.
    CredentialProvider,
    /// It asks the host for tokens.
    TokenClient,
    /// The protocol for hosts of WASI 0.3, which this one isn't.
    ConcurrentTokenAcquisition,
    /// Nothing that Symbolon knows.
    None,
}

impl Role {
    pub(super) fn of(anatomy: &Anatomy) -> Self {
        let has = |items: &[Item], interface: &str| items.iter().any(|item| item.interface() == interface);
        let imports_of = |prefix: &str| anatomy.imports.iter().any(|item| item.interface() == prefix);
        if has(&anatomy.exports, "symbolon:token/acquisition") {
            Self::TokenAcquisition
        } else if has(&anatomy.exports, "symbolon:credentials/provider") {
            Self::CredentialProvider
        } else if has(&anatomy.exports, "symbolon:concurrent/acquisition") {
            Self::ConcurrentTokenAcquisition
        } else if CLIENT.iter().any(|interface| imports_of(interface)) {
            Self::TokenClient
        } else {
            Self::None
        }
    }

    pub(super) fn in_words(self) -> &'static str {
        match self {
            Self::TokenAcquisition => {
                "the protocol: it runs in the place of the shipped component (world token-acquisition, Builder::component)"
            }
            Self::CredentialProvider => {
                "it has credentials in the host's place (world credential-provider, Symbolon:CredentialProviders)"
            }
            Self::TokenClient => {
                "it asks its host for tokens (world token-client), in a program on wasmtime (symbolon::linker)"
            }
            Self::ConcurrentTokenAcquisition => {
                "the protocol for hosts of WASI 0.3 (world symbolon:concurrent/token-acquisition), which is experimental"
            }
            Self::None => {
                "nothing that Symbolon runs: it neither exports nor imports an interface of Symbolon's"
            }
        }
    }

    /// What is wrong with an import, and what to do about it. Nothing where it is provided.
    pub(super) fn missing(self, import: &Item) -> Option<String> {
        let provided = self.provided();
        if provided.iter().any(|provided| serves(provided, &import.name)) {
            return None;
        }
        let other = provided.iter().find(|provided| interface(provided) == import.interface());
        if let Some(provided) = other {
            let version = import.version().unwrap_or("no version");
            return Some(format!("this host has {provided}, which doesn't serve {version}"));
        }
        match self {
            // Its program decides about everything else.
            Self::TokenClient if !import.name.starts_with("symbolon:") => None,
            _ => Some(wasi::advice(import, self)),
        }
    }

    /// What a component of its kind must export, and this one doesn't.
    pub(super) fn missing_exports(self, anatomy: &Anatomy) -> Vec<&'static str> {
        let expected: &[&str] = match self {
            Self::TokenAcquisition => &["symbolon:token/acquisition@0.1.0"],
            Self::CredentialProvider => {
                &["symbolon:credentials/provider@0.1.0", "symbolon:credentials/custody@0.1.0"]
            }
            Self::TokenClient | Self::ConcurrentTokenAcquisition | Self::None => &[],
        };
        let is_exported = |name: &str| anatomy.exports.iter().any(|export| export.name == name);
        expected.iter().copied().filter(|name| !is_exported(name)).collect()
    }

    /// What a host gives to a component of this kind.
    fn provided(self) -> Vec<String> {
        match self {
            // What the shipped one gets.
            Self::TokenAcquisition => {
                let shipped = Anatomy::of(Component.bytes());
                shipped
                    .map(|shipped| shipped.imports)
                    .unwrap_or_default()
                    .into_iter()
                    .map(|item| item.name)
                    .collect()
            }
            Self::CredentialProvider | Self::ConcurrentTokenAcquisition | Self::None => Vec::new(),
            Self::TokenClient => CLIENT.iter().map(|interface| format!("{interface}@0.1.0")).collect(),
        }
    }
}

/// Whether something of one version serves what asks for another: as semantic versions, 0.1 isn't 0.2.
fn serves(provided: &str, wanted: &str) -> bool {
    interface(provided) == interface(wanted) && series(provided) == series(wanted)
}

fn interface(name: &str) -> &str {
    name.split('@').next().unwrap_or_default()
}

/// What versions have in common that stand in for each other; a pre-release stands for itself alone.
fn series(name: &str) -> &str {
    let Some((_, version)) = name.split_once('@') else { return "" };
    if version.contains('-') {
        return version;
    }
    let dots = if version.starts_with("0.") { 2 } else { 1 };
    version.match_indices('.').nth(dots - 1).map_or(version, |(end, _)| version.get(..end).unwrap_or(version))
}

/// The world token-client.
const CLIENT: [&str; 3] =
    ["symbolon:token/acquisition", "symbolon:token/send-authorized", "symbolon:token/types"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_serve_as_semantic_versions_do() {
        for (provided, wanted, expected) in [
            ("wasi:io/poll@0.2.0", "wasi:io/poll@0.2.6", true),
            ("wasi:io/poll@0.2.0", "wasi:io/poll@0.3.0", false),
            ("wasi:io/poll@0.2.0", "wasi:io/error@0.2.0", false),
            ("a:b/c@1.0.0", "a:b/c@1.9.3", true),
            ("a:b/c@1.0.0", "a:b/c@2.0.0", false),
            ("a:b/c@0.2.0-rc.1", "a:b/c@0.2.0-rc.1", true),
            ("a:b/c@0.2.0-rc.1", "a:b/c@0.2.0", false),
            ("a:b/c", "a:b/c", true),
        ] {
            assert_eq!(serves(provided, wanted), expected, "{provided}, {wanted}");
        }
    }
}
