//! What a file says of itself: its kind, its imports and its exports.

use wasmparser::component_types::{ComponentEntityType, ComponentItem};
use wasmparser::types::TypesRef;
use wasmparser::{Parser, Payload, Validator, WasmFeatures};

/// What a component imports and exports.
#[derive(Debug)]
pub(super) struct Anatomy {
    pub(super) imports: Vec<Item>,
    pub(super) exports: Vec<Item>,
}

/// Something that is imported or exported.
#[derive(Debug)]
pub(super) struct Item {
    /// Such as `wasi:http/types@0.2.0`.
    pub(super) name: String,
    /// The functions of an interface; for a lone function the function itself.
    pub(super) functions: usize,
    /// Whether it is an interface or a function. Other things are nothing that a host could be asked for.
    pub(super) runs: bool,
}

impl Anatomy {
    /// Reads and validates a component.
    ///
    /// # Errors
    ///
    /// What was found in its place.
    pub(super) fn of(bytes: &[u8]) -> Result<Self, String> {
        if Parser::is_core_wasm(bytes) {
            return Err(core_module(bytes));
        }
        if !Parser::is_component(bytes) {
            return Err(no_wasm(bytes));
        }
        let damaged = |error: wasmparser::BinaryReaderError| {
            format!("a damaged component ({} at byte {})", error.message(), error.offset())
        };
        let mut validator = Validator::new_with_features(WasmFeatures::all());
        let types = validator.validate_all(bytes).map_err(damaged)?;
        let (imports, exports) = names(bytes).map_err(damaged)?;
        let types = types.as_ref();
        let imports = imports.into_iter().filter_map(|name| {
            let item = types.component_item_for_import(&name);
            item.map(|item| Item::new(name, item, types))
        });
        let exports = exports.into_iter().filter_map(|name| {
            let item = types.component_item_for_export(&name);
            item.map(|item| Item::new(name, item, types))
        });
        let found = Self { imports: imports.collect(), exports: exports.collect() };
        match found.exports.iter().any(|export| export.runs) {
            true => Ok(found),
            false => {
                Err("a component that exports no function, such as a package of interfaces (WIT)".to_owned())
            }
        }
    }
}

impl Item {
    fn new(name: String, item: &ComponentItem, types: TypesRef<'_>) -> Self {
        let functions = match item.ty {
            ComponentEntityType::Func(_) => Some(1),
            ComponentEntityType::Instance(id) => {
                let is_function = |item: &&ComponentItem| matches!(item.ty, ComponentEntityType::Func(_));
                Some(types[id].exports.values().filter(is_function).count())
            }
            _ => None,
        };
        Self { name, functions: functions.unwrap_or(0), runs: functions.is_some() }
    }

    /// The name without its version: `wasi:http/types`.
    pub(super) fn interface(&self) -> &str {
        self.name.split('@').next().unwrap_or_default()
    }

    /// The version, where it has one: `0.2.0`.
    pub(super) fn version(&self) -> Option<&str> {
        self.name.split_once('@').map(|(_, version)| version)
    }
}

/// The names of what the outermost component imports and exports, in its order.
fn names(bytes: &[u8]) -> Result<(Vec<String>, Vec<String>), wasmparser::BinaryReaderError> {
    let (mut imports, mut exports, mut depth) = (Vec::new(), Vec::new(), 0_u32);
    for payload in Parser::new(0).parse_all(bytes) {
        match payload? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 0 => {
                for import in section {
                    imports.push(import?.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(section) if depth == 0 => {
                for export in section {
                    exports.push(export?.name.name.to_owned());
                }
            }
            _ => {}
        }
    }
    Ok((imports, exports))
}

/// A core module has no interfaces; what it was made for its imports tell.
fn core_module(bytes: &[u8]) -> String {
    let mut modules = Vec::new();
    for payload in Parser::new(0).parse_all(bytes) {
        let Ok(Payload::ImportSection(section)) = payload else { continue };
        modules.extend(section.into_imports().filter_map(Result::ok).map(|import| import.module.to_owned()));
    }
    let made_for = |name: &str| modules.iter().any(|module| module == name);
    if made_for("wasi_snapshot_preview1") {
        return "a core module for WASI preview 1 (built for wasm32-wasip1; `wasm32-wasip2` gives a component, \
                and `wasm-tools component new` with an adapter makes one of it)"
            .to_owned();
    }
    if made_for("__wbindgen_placeholder__") {
        return "a core module for JavaScript (wasm-bindgen; `wasm32-wasip2` gives a component)".to_owned();
    }
    "a core module (`wasm-tools component new` makes a component of one that has its interfaces in it)"
        .to_owned()
}

fn no_wasm(bytes: &[u8]) -> String {
    let beginning = bytes.trim_ascii_start();
    if beginning.starts_with(b"(") {
        return "the text form of WebAssembly (`wasm-tools parse` makes the binary one)".to_owned();
    }
    if bytes.starts_with(b"\0asm") {
        return "a WebAssembly file of an unknown version".to_owned();
    }
    if bytes.starts_with(b"\x7fELF") {
        return "a native program, or a component that was compiled ahead of time".to_owned();
    }
    "a file that is no WebAssembly".to_owned()
}
