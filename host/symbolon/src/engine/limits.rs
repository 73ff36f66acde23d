//! How much a guest may have.

use wasmtime::ResourceLimiter;

/// Bounds the memory and the tables of one instance, and remembers that a bound was met: the guest itself only sees an
/// allocation fail, and traps.
#[derive(Debug)]
pub(crate) struct Limits {
    memory: usize,
    pub(crate) memory_exceeded: bool,
}

/// The guest has one table, of its indirectly called functions; a few hundred entries.
const TABLE_ELEMENTS: usize = 10_000;

impl Limits {
    pub(crate) fn new(memory: usize) -> Self {
        Self { memory, memory_exceeded: false }
    }

    pub(super) fn memory(&self) -> usize {
        self.memory
    }
}

impl ResourceLimiter for Limits {
    fn memory_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let granted = desired <= self.memory;
        self.memory_exceeded |= !granted;
        Ok(granted)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ELEMENTS)
    }
}
