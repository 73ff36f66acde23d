//! The shipped component, for those who want to look at it or run it elsewhere.

use symbolon_resources::digest::sha256_hex;

use crate::engine::{COMPONENT, COMPONENT_ORIGIN};

/// The component that this crate ships: the protocol, as WebAssembly.
#[derive(Clone, Copy, Debug)]
pub struct Component;

impl Component {
    /// Its bytes.
    pub fn bytes(self) -> &'static [u8] {
        COMPONENT
    }

    /// Its bill of materials: what is linked into it, each with its licence and the digest of its source, as JSON of
    /// CycloneDX 1.6. It names the component by the SHA-256 of its bytes.
    pub fn sbom(self) -> String {
        SBOM.replace(DIGEST, &sha256_hex(COMPONENT))
    }

    /// Where the bytes come from: `source` when they were built together with this crate, `committed` when they are the
    /// crate's own file.
    pub fn origin(self) -> &'static str {
        COMPONENT_ORIGIN
    }
}

/// What doesn't change with the bytes, and what stands there for the digest that does.
const SBOM: &str = include_str!("../component/symbolon.cdx.json");
const DIGEST: &str = "(SHA-256 of symbolon.wasm)";
