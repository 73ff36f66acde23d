//! Joins the components of Symbolon, and one that uses them, into one that imports nothing but WASI.
//!
//! ```text
//!   plugin ──► application ──► protocol ──► host ──► credentials
//!  (a token-client)  (context)    (the shipped one)  (WASI)  (a credential-provider)
//! ```
//!
//! The protocol component reaches the network through `host` alone, which puts secrets into requests; the plugin has the
//! host's own `wasi:http`.

use anyhow::{Context as _, Result, bail};
use wac_graph::types::Package;
use wac_graph::{CompositionGraph, EncodeOptions, NodeId, PackageId};

/// The components to join, each as its bytes.
#[derive(Clone, Copy, Debug)]
pub struct Parts<'a> {
    /// The protocol: what `symbolon component --output` writes.
    pub protocol: &'a [u8],
    /// `symbolon-wasi-application`.
    pub application: &'a [u8],
    /// `symbolon-wasi-host`.
    pub host: &'a [u8],
    /// A component of the world `symbolon:credentials/credential-provider`.
    pub credentials: &'a [u8],
    /// `symbolon-wasi-absent`.
    pub absent: &'a [u8],
}

/// An interface that some hosts don't have. Without it the component does with what it has otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Absent {
    /// `wasi:config/store`: the configuration is the environment alone.
    Config,
    /// `wasi:keyvalue/store`: tokens are kept in the instance's memory.
    Keyvalue,
}

impl Absent {
    fn interface(self) -> &'static str {
        match self {
            Self::Config => "wasi:config/store@",
            Self::Keyvalue => "wasi:keyvalue/store@",
        }
    }
}

/// Joins the parts. With a plugin, which imports `symbolon:token/acquisition`, the result exports what the plugin exports;
/// without one it exports `acquisition` itself.
///
/// # Errors
///
/// Where a part isn't a component or doesn't fit, or where the result would import something beside WASI.
pub fn compose(parts: &Parts<'_>, plugin: Option<&[u8]>, absent: &[Absent]) -> Result<Vec<u8>> {
    let mut joined = Joined::default();
    let stand_in = if absent.is_empty() { None } else { Some(joined.add("absent", parts.absent)?) };
    let is_absent = |name: &str| absent.iter().any(|absent| name.starts_with(absent.interface()));
    let is_ours = |name: &str| name.starts_with("symbolon:");

    let credentials = joined.add("credentials", parts.credentials)?;
    let host = joined.add("host", parts.host)?;
    joined.connect(host, credentials, is_ours)?;
    let protocol = joined.add("protocol", parts.protocol)?;
    joined.connect(protocol, host, |_| true)?;
    let application = joined.add("application", parts.application)?;
    joined.connect(application, protocol, is_ours)?;
    joined.connect(application, host, is_ours)?;
    if let Some(stand_in) = stand_in {
        joined.connect(host, stand_in, is_absent)?;
        joined.connect(application, stand_in, is_absent)?;
    }
    match plugin {
        None => {
            joined.export(host, |name| name.starts_with("symbolon:token/types@"))?;
            joined.export(application, |_| true)?;
        }
        Some(bytes) => {
            let plugin = joined.add("plugin", bytes)?;
            joined.connect(plugin, application, is_ours)?;
            joined.connect(plugin, host, is_ours)?;
            if let Some(stand_in) = stand_in {
                joined.connect(plugin, stand_in, is_absent)?;
            }
            joined.export(plugin, |_| true)?;
        }
    }
    joined.encode()
}

#[derive(Default)]
struct Joined {
    graph: CompositionGraph,
}

/// A component and its instance.
#[derive(Clone, Copy)]
struct Part {
    name: &'static str,
    package: PackageId,
    instance: NodeId,
}

impl Joined {
    fn add(&mut self, name: &'static str, bytes: &[u8]) -> Result<Part> {
        let package = Package::from_bytes(&format!("symbolon:{name}"), None, bytes, self.graph.types_mut())
            .with_context(|| format!("{name} isn't a component"))?;
        let package = self.graph.register_package(package)?;
        Ok(Part { name, package, instance: self.graph.instantiate(package) })
    }

    /// Gives a part what another exports, as far as it is wanted and nobody gave it before.
    fn connect(&mut self, to: Part, from: Part, is_wanted: impl Fn(&str) -> bool) -> Result<()> {
        let given: Vec<String> =
            self.graph.get_instantiation_arguments(to.instance).map(|(name, _)| name.to_owned()).collect();
        let (types, exports) = (self.graph.types(), self.exports(from));
        let imports = types[self.graph[to.package].ty()].imports.keys();
        let shared: Vec<String> = imports
            .filter(|name| exports.contains(name) && is_wanted(name) && !given.contains(name))
            .cloned()
            .collect();
        for name in shared {
            let export = self.graph.alias_instance_export(from.instance, &name)?;
            self.graph
                .set_instantiation_argument(to.instance, &name, export)
                .with_context(|| format!("{} has another {name} than {} wants", from.name, to.name))?;
        }
        Ok(())
    }

    fn export(&mut self, from: Part, is_wanted: impl Fn(&str) -> bool) -> Result<()> {
        for name in self.exports(from).into_iter().filter(|name| is_wanted(name)) {
            let export = self.graph.alias_instance_export(from.instance, &name)?;
            self.graph.export(export, &name)?;
        }
        Ok(())
    }

    fn exports(&self, part: Part) -> Vec<String> {
        self.graph.types()[self.graph[part.package].ty()].exports.keys().cloned().collect()
    }

    fn encode(&self) -> Result<Vec<u8>> {
        let foreign: Vec<&str> =
            self.graph.imports().map(|(name, ..)| name).filter(|name| !name.starts_with("wasi:")).collect();
        if !foreign.is_empty() {
            bail!("found imports beside WASI that no part gives: {}", foreign.join(", "));
        }
        Ok(self.graph.encode(EncodeOptions::default())?)
    }
}
