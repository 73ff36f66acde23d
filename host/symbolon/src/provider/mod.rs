//! Runs components of the world `symbolon:credentials/credential-provider`, each instance in a sandbox apart from the
//! protocol's: an engine of their own, no imports, bounded memory and time.
//!
//! Calls block; who makes them is on a thread that may. An instance does one thing at a time.

#![allow(unreachable_pub, reason = "bindgen! re-exports what it is given, which must be public for that")]

mod bindings;
mod convert;
mod exercise;
mod instance;
mod patience;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use symbolon_resources::credentials::{
    ComponentConfiguration, ComponentError, ComponentFinding, ComponentProblem, ComponentRunner,
    CredentialComponent, RunningComponent,
};
use wasmtime::component::{Component, Linker};
use wasmtime::{Engine, Result};

use self::bindings::CredentialProviderPre;
use self::instance::{Running, State};
use crate::engine::{Ticker, engine_config};

/// What an instance may have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProviderLimits {
    pub(crate) memory: usize,
    pub(crate) cpu: Duration,
}

impl Default for ProviderLimits {
    fn default() -> Self {
        Self { memory: 64 << 20, cpu: Duration::from_secs(2) }
    }
}

/// Runs components. The engine starts when the first of them is loaded.
pub(crate) struct Components {
    limits: ProviderLimits,
    sandbox: OnceLock<std::result::Result<Sandbox, ComponentError>>,
    /// What was compiled and is in use, by its bytes.
    compiled: Mutex<HashMap<Vec<u8>, Weak<Compiled>>>,
}

struct Sandbox {
    engine: Engine,
    linker: Linker<State>,
    ticker: Arc<Ticker>,
}

/// A component that can be instantiated.
struct Compiled {
    component: CredentialProviderPre<State>,
    limits: ProviderLimits,
    /// Stops what it does for too long.
    ticker: Arc<Ticker>,
}

impl Components {
    pub(crate) fn new(limits: ProviderLimits) -> Self {
        Self { limits, sandbox: OnceLock::new(), compiled: Mutex::default() }
    }

    fn sandbox(&self) -> std::result::Result<&Sandbox, ComponentError> {
        let started =
            self.sandbox.get_or_init(|| Sandbox::start().map_err(|error| unusable(&format!("{error:#}"))));
        started.as_ref().map_err(Clone::clone)
    }

    fn compiled(&self, bytes: &[u8]) -> std::result::Result<Arc<Compiled>, ComponentError> {
        let known = self.lock().get(bytes).and_then(Weak::upgrade);
        if let Some(known) = known {
            return Ok(known);
        }
        let sandbox = self.sandbox()?;
        let (component, ticker) = (sandbox.compile(bytes)?, Arc::clone(&sandbox.ticker));
        let compiled = Arc::new(Compiled { component, limits: self.limits, ticker });
        let mut all = self.lock();
        all.retain(|_, compiled| compiled.strong_count() > 0);
        all.insert(bytes.to_vec(), Arc::downgrade(&compiled));
        Ok(compiled)
    }

    /// Whether it can be run.
    pub(crate) fn check(&self, bytes: &[u8]) -> std::result::Result<(), ComponentError> {
        self.compiled(bytes).map(drop)
    }

    /// Tries out whether it does what it must.
    pub(crate) fn exercise(
        &self,
        component: &CredentialComponent,
        now_unix: u64,
    ) -> std::result::Result<Vec<ComponentFinding>, ComponentError> {
        let (bytes, configuration) = component.load()?;
        let compiled = self.compiled(&bytes);
        let _ticking = compiled.as_ref().ok().map(|compiled| compiled.ticker.watch());
        Ok(exercise::exercise(compiled.clone(), &configuration, now_unix))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Vec<u8>, Weak<Compiled>>> {
        self.compiled.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ComponentRunner for Components {
    fn start(
        &self,
        component: &[u8],
        configuration: ComponentConfiguration,
    ) -> std::result::Result<Arc<dyn RunningComponent>, ComponentError> {
        Ok(Running::start(self.compiled(component)?, configuration)?)
    }
}

impl Sandbox {
    fn start() -> Result<Self> {
        let engine = Engine::new(&engine_config())?;
        let ticker = Arc::new(Ticker::start(engine.weak())?);
        // Nothing is ever added to it.
        let linker = Linker::new(&engine);
        Ok(Self { engine, linker, ticker })
    }

    fn compile(&self, bytes: &[u8]) -> std::result::Result<CredentialProviderPre<State>, ComponentError> {
        // Text would be accepted too, as far as the engine knows it.
        if !bytes.starts_with(b"\0asm") {
            return Err(unusable("found a file that is no WebAssembly"));
        }
        let component =
            Component::new(&self.engine, bytes).map_err(|error| unusable(&format!("found {error:#}")))?;
        let (imports, exports) = self.interfaces(&component);
        if !imports.is_empty() {
            let found = format!("found a component that imports {}", imports.join(", "));
            return Err(problem(&format!("{found}; accepted: one without imports")));
        }
        let missing: Vec<_> = EXPORTS.into_iter().filter(|name| !exports.iter().any(|e| e == name)).collect();
        if !missing.is_empty() {
            return Err(unusable(&format!("found a component that doesn't export {}", missing.join(", "))));
        }
        let prepared = self.linker.instantiate_pre(&component).and_then(CredentialProviderPre::new);
        prepared.map_err(|error| unusable(&format!("found a component of another shape ({error:#})")))
    }

    fn interfaces(&self, component: &Component) -> (Vec<String>, Vec<String>) {
        let ty = component.component_type();
        let imports = ty.imports(&self.engine).map(|(name, _)| name.to_owned());
        let exports = ty.exports(&self.engine).map(|(name, _)| name.to_owned());
        (imports.collect(), exports.collect())
    }
}

impl std::fmt::Debug for Components {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Components").field("limits", &self.limits).finish_non_exhaustive()
    }
}

fn unusable(found: &str) -> ComponentError {
    problem(&format!(
        "{found}; accepted: a component of the world symbolon:credentials/credential-provider@0.1.0"
    ))
}

fn problem(message: &str) -> ComponentError {
    ComponentError::new(ComponentProblem::Component, message)
}

const EXPORTS: [&str; 2] = ["symbolon:credentials/provider@0.1.0", "symbolon:credentials/custody@0.1.0"];
