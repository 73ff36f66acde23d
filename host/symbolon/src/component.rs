//! The shipped component, for those who want to look at it or run it elsewhere.

use crate::engine::{COMPONENT, COMPONENT_ORIGIN};

/// The component that this crate ships: the protocol, as WebAssembly.
#[derive(Clone, Copy, Debug)]
pub struct Component;

impl Component {
    /// Its bytes.
    pub fn bytes(self) -> &'static [u8] {
        COMPONENT
    }

    /// Where the bytes come from: `source` when they were built together with this crate, `committed` when they are the
    /// crate's own file.
    pub fn origin(self) -> &'static str {
        COMPONENT_ORIGIN
    }
}
