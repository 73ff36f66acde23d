//! The section `Proxy` of a settings file, whose other sections describe the applications and the APIs.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context;
use jsonc_parser::{ParseOptions, parse_to_serde_value};
use serde::Deserialize;
use symbolon::Settings;

/// What a settings file says.
pub(crate) struct Configuration {
    /// Which file.
    file: PathBuf,
    /// The whole of it, for applications and APIs.
    pub(crate) settings: Settings,
    /// Where to listen.
    pub(crate) listen: SocketAddr,
    /// Path prefixes, and what becomes of requests whose paths begin with them.
    pub(crate) routes: BTreeMap<String, RouteSettings>,
}

/// `Proxy:Routes:{prefix}`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(crate) struct RouteSettings {
    /// The name of an API in `DownstreamApis`.
    pub(crate) api: String,
    /// The file of the component that requests go through; without one they go straight to the API. Relative paths start at
    /// the directory of the settings file.
    pub(crate) plugin: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct File {
    proxy: Section,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Section {
    listen: SocketAddr,
    routes: BTreeMap<String, RouteSettings>,
}

impl Configuration {
    /// Reads a settings file: JSON, comments and trailing commas accepted.
    pub(crate) fn from_file(file: &Path) -> anyhow::Result<Self> {
        let name = file.display();
        let text = std::fs::read_to_string(file).with_context(|| format!("{name}: can't be read"))?;
        let json: serde_json::Value = parse_to_serde_value(&text, &ParseOptions::default())
            .with_context(|| format!("{name}: found no JSON; accepted: a JSON object"))?;
        let File { proxy } = serde_path_to_error::deserialize(json)
            .map_err(|error| anyhow::anyhow!("{name}: {}: {}", error.path(), error.inner()))?;
        let settings = Settings::from_file(file)?;
        let configuration =
            Self { file: file.to_owned(), settings, listen: proxy.listen, routes: proxy.routes };
        for prefix in configuration.routes.keys() {
            let is_prefix = prefix == "/" || prefix.starts_with('/') && !prefix.ends_with('/');
            anyhow::ensure!(is_prefix, configuration.problem(prefix, "this prefix", "/ or /a/path"));
        }
        Ok(configuration)
    }

    /// The file of a route's plugin.
    pub(crate) fn plugin(&self, route: &RouteSettings) -> Option<PathBuf> {
        Some(self.file.parent().unwrap_or(Path::new("")).join(route.plugin.as_ref()?))
    }

    /// That something about a route can't work.
    pub(crate) fn problem(&self, prefix: &str, found: impl Display, accepted: impl Display) -> anyhow::Error {
        anyhow::anyhow!("{}: Proxy.Routes.{prefix}: found {found}; accepted: {accepted}", self.file.display())
    }
}
