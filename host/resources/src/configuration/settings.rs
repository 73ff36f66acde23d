use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use crate::cache::ApplicationId;
use crate::credentials::CredentialComponent;

use super::builder::ApplicationOptionsBuilder;
use super::document::{self, Node};
use super::downstream::{self, DownstreamApiSettings};
use super::environment::Environment;
use super::error::{ConfigurationError, Place, Problem, Source};
use super::options::ApplicationOptions;
use super::origins::{self, ValueOrigin};
use super::reader::{Findings, Section, nearest};
use super::server::{self, ServerSettings};
use super::sidecar::{SidecarSettings, WebApiSettings};
use super::{applications, azure_ad, links, sidecar, symbolon};

/// A whole configuration: sections for applications, chosen by name, and the section `Symbolon`.
///
/// Keys are compared without case. Cheap to clone; `Debug` shows nothing of it, because secrets are in it.
#[derive(Clone)]
pub struct Settings {
    root: Arc<Node>,
    /// The application of `Applications` that these are the settings of.
    application: Option<Arc<str>>,
    directory: PathBuf,
    environment: Environment,
    /// What is wrong with the names of the sections, once somebody looked: there may be ten thousand.
    misnamed: Arc<OnceLock<Vec<Problem>>>,
}

impl Settings {
    /// Reads a JSON file (UTF-8, a byte order mark is accepted; comments and trailing commas too). Relative paths in
    /// it start at its directory.
    ///
    /// # Errors
    ///
    /// [`ConfigurationError`] when it can't be read or isn't a JSON object.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, ConfigurationError> {
        let path = path.as_ref();
        let source = Source::file(path);
        let bytes = std::fs::read(path).map(zeroize::Zeroizing::new).map_err(|error| {
            let found = format!("a file that can't be read ({})", error.kind());
            Problem::new(Place::new(source.clone(), ""), found, "a readable JSON file")
        })?;
        let root = document::parse(&bytes, &source).map_err(ConfigurationError::new)?;
        let directory = path.parent().map(Path::to_path_buf).unwrap_or_default();
        Ok(Self { directory, ..Self::of(root) })
    }

    /// Takes a JSON value. Relative paths in it start at the working directory.
    pub fn from_value(value: serde_json::Value) -> Self {
        Self::of(document::from_value(value, &Source::Value))
    }

    fn of(root: Node) -> Self {
        Self {
            root: Arc::new(root),
            application: None,
            directory: PathBuf::new(),
            environment: Environment::default(),
            misnamed: Arc::default(),
        }
    }

    /// Overlays environment variables, usually [`std::env::vars_os`]: `Section__Key__0__Field` sets `Field` of the
    /// first element of `Key` in `Section`, whatever the case. Others are left alone.
    ///
    /// What the workload identity of Azure sets fills in where the configuration is silent, and never overrides it:
    /// `AZURE_CLIENT_ID` for `ClientId` and `ManagedIdentityClientId`, `AZURE_TENANT_ID` for `TenantId`,
    /// `AZURE_AUTHORITY_HOST` for `Instance`, `AZURE_FEDERATED_TOKEN_FILE` for `SignedAssertionFileDiskPath`.
    /// `MSAL_FORCE_REGION` does the same for `AzureRegion`; where `MSAL_DISABLE_REGION` is set there is no region at all.
    /// [`ApplicationOptions::origins`] tells what came from where.
    pub fn with_environment(mut self, variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        self.misnamed = Arc::default();
        let environment = &mut self.environment;
        let variables = variables.into_iter();
        Arc::make_mut(&mut self.root)
            .overlay(variables.inspect(|(name, value)| environment.take(name, value)));
        self
    }

    /// The application of a section: what `AuthenticationOptionsName` names, or `AzureAd` for `None` and the empty
    /// name.
    ///
    /// # Errors
    ///
    /// [`ConfigurationError`] with all that is wrong in the section, in `Symbolon`, and in the sections of the
    /// applications whose tokens are its credentials.
    pub fn application(&self, name: Option<&str>) -> Result<ApplicationOptions, ConfigurationError> {
        let name = name.filter(|name| !name.is_empty()).unwrap_or(DEFAULT_SECTION);
        let options = self.options(name)?;
        let other = |name: &str| self.root.get(name).map(|_| self.options(name));
        let problems = links::check(name, &options, &other);
        match problems.is_empty() {
            true => Ok(self.with_linked(options).of(self.clone(), name)),
            false => Err(ConfigurationError::new(problems)),
        }
    }

    /// An API of the section `DownstreamApis`, by its name.
    ///
    /// # Errors
    ///
    /// [`ConfigurationError`] with all that is wrong with it, or that there is no such API.
    pub fn downstream_api(&self, name: &str) -> Result<DownstreamApiSettings, ConfigurationError> {
        let root = self.section();
        let mut findings = Findings::default();
        let host = root.object(HOST_SECTION, &mut findings);
        let limits = host
            .and_then(|host| host.object(APIS_SECTION, &mut findings))
            .inspect(|apis| self.check_limits(apis, &mut findings))
            .and_then(|apis| apis.object(name, &mut findings))
            .map(|limits| downstream::read_limits(&limits, &mut findings))
            .unwrap_or_default();
        let apis = root.object(APIS_SECTION, &mut findings);
        let section = apis.and_then(|apis| apis.object(name, &mut findings));
        let read = section.map(|section| downstream::read(name, &section, limits, &mut findings));
        match read {
            Some(mut api) if findings.problems.is_empty() => {
                for warning in &findings.warnings {
                    tracing::warn!(place = %warning.place, "configuration: {}", warning.message);
                }
                api.warnings = findings.warnings;
                Ok(api)
            }
            None if self.root.get(APIS_SECTION).is_none_or(|(_, apis)| apis.get(name).is_none()) => {
                Err(self.missing_api(name).into())
            }
            _ => Err(ConfigurationError::new(findings.problems)),
        }
    }

    /// How the sidecar answers: the section `Sidecar`, and `Symbolon:Sidecar`.
    ///
    /// # Errors
    ///
    /// [`ConfigurationError`] with all that is wrong with them.
    pub fn sidecar(&self) -> Result<SidecarSettings, ConfigurationError> {
        let root = self.section();
        let mut findings = Findings::default();
        let section = root.object(SIDECAR_SECTION, &mut findings);
        let own = root.object(HOST_SECTION, &mut findings);
        let own = own.and_then(|own| own.object(SIDECAR_SECTION, &mut findings));
        let settings = sidecar::read(section.as_ref(), own.as_ref(), &mut findings);
        match findings.problems.is_empty() {
            true => Ok(settings),
            false => Err(ConfigurationError::new(findings.problems)),
        }
    }

    /// Where the sidecar is reached: `Symbolon:Sidecar`.
    ///
    /// # Errors
    ///
    /// [`ConfigurationError`] with all that is wrong with it.
    pub fn server(&self) -> Result<ServerSettings, ConfigurationError> {
        let mut findings = Findings::default();
        let own = self.section().object(HOST_SECTION, &mut findings);
        let own = own.and_then(|own| own.object(SIDECAR_SECTION, &mut findings));
        let settings = server::read(own.as_ref(), &self.directory, &mut findings);
        match findings.problems.is_empty() {
            true => Ok(settings),
            false => Err(ConfigurationError::new(findings.problems)),
        }
    }

    /// Every value that is written somewhere, and where, and what holds of the sidecar where nobody says anything. Holds no
    /// secret.
    ///
    /// # Errors
    ///
    /// [`ConfigurationError`] with all that is wrong with `Sidecar` and `Symbolon:Sidecar`.
    pub fn values(&self) -> Result<Vec<ValueOrigin>, ConfigurationError> {
        let mut values = origins::whole(&self.section());
        for (key, value) in
            sidecar::defaults(&self.sidecar()?).into_iter().chain(server::defaults(&self.server()?))
        {
            let is_it = |known: &ValueOrigin| {
                let rest = known.key.get(..key.len()).filter(|start| start.eq_ignore_ascii_case(key));
                rest.is_some()
                    && known.key.get(key.len()..).is_none_or(|rest| rest.is_empty() || rest.starts_with(':'))
            };
            if !values.iter().any(is_it) {
                values.push(ValueOrigin::default(&Place::new(Source::Default, key), value));
            }
        }
        Ok(values)
    }

    /// The files and directories that the configuration names, credentials and certificates among them, wherever they stand
    /// in it.
    pub fn files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        origins::paths(&self.root, &self.directory, &mut files);
        files
    }

    /// The names of the applications in the section `Applications`, in the order in which they are written.
    pub fn application_names(&self) -> impl Iterator<Item = &str> {
        let applications = self.root.get(APPLICATIONS_SECTION).map(|(_, node)| node.members());
        applications.unwrap_or_default().iter().map(|(name, _)| name.as_str())
    }

    /// Whether there is a section `AzureAd`: an application that has no name.
    pub fn has_default_application(&self) -> bool {
        self.root.get(DEFAULT_SECTION).is_some()
    }

    /// The settings of an application of the section `Applications`: what is written there, and of `Symbolon` and `Sidecar`
    /// what isn't written there and is at the top. Its tokens are its own, whatever other applications there are of the same
    /// registration.
    ///
    /// # Errors
    ///
    /// [`ConfigurationError`] where there is no such application, or it says what holds for the whole process.
    pub fn of_application(&self, name: &str) -> Result<Self, ConfigurationError> {
        let mut findings = Findings::default();
        let applications = self.section().object(APPLICATIONS_SECTION, &mut findings);
        let section = applications.as_ref().and_then(|all| all.object(name, &mut findings));
        let Some(section) = section else {
            let names: Vec<_> = self.application_names().map(|name| format!("{name:?}")).collect();
            let place = self.section().place_of(APPLICATIONS_SECTION).child(name);
            findings.problem(place, "no such application", names.join(", "));
            return Err(ConfigurationError::new(findings.problems));
        };
        applications::check(name, &section, &mut findings);
        if !findings.problems.is_empty() {
            return Err(ConfigurationError::new(findings.problems));
        }
        Ok(Self {
            application: Some(Arc::from(name)),
            directory: self.directory.clone(),
            environment: self.environment.clone(),
            ..Self::of(applications::inherit(section.node(), &self.root))
        })
    }

    /// What the section of an application says of the tokens that it is called with. `None` is `AzureAd`.
    ///
    /// # Errors
    ///
    /// [`ConfigurationError`] with all that is wrong with that, or that there is no such section.
    pub fn web_api(&self, name: Option<&str>) -> Result<WebApiSettings, ConfigurationError> {
        let name = name.filter(|name| !name.is_empty()).unwrap_or(DEFAULT_SECTION);
        let mut findings = Findings::default();
        let section = self.section().object(name, &mut findings);
        let settings = section.map(|section| sidecar::read_web_api(&section, &self.directory, &mut findings));
        match settings {
            Some(settings) if findings.problems.is_empty() => Ok(settings),
            None if findings.problems.is_empty() => Err(self.missing(name).into()),
            _ => Err(ConfigurationError::new(findings.problems)),
        }
    }

    /// The names of the APIs in the section `DownstreamApis`, in the order in which they are written.
    pub fn downstream_api_names(&self) -> impl Iterator<Item = &str> {
        let apis = self.root.get(APIS_SECTION).map(|(_, apis)| apis.members()).unwrap_or_default();
        apis.iter().map(|(name, _)| name.as_str())
    }

    /// The components of `Symbolon:CredentialProviders`, by their names.
    ///
    /// # Errors
    ///
    /// [`ConfigurationError`] with all that is wrong in the section `Symbolon`.
    pub fn credential_providers(&self) -> Result<BTreeMap<String, CredentialComponent>, ConfigurationError> {
        let mut findings = Findings::default();
        let section = self.section().object(HOST_SECTION, &mut findings);
        let host = section.map(|section| symbolon::read(&section, None, &self.directory, &mut findings));
        match findings.problems.is_empty() {
            true => Ok(host.map(|host| host.credential_providers).unwrap_or_default()),
            false => Err(ConfigurationError::new(findings.problems)),
        }
    }

    /// Limits of an API that isn't there would silently not apply.
    fn check_limits(&self, limits: &Section<'_>, findings: &mut Findings) {
        for name in limits.names() {
            if !self.downstream_api_names().any(|api| api.eq_ignore_ascii_case(name)) {
                let names: Vec<_> = self.downstream_api_names().collect();
                let accepted = format!("the name of an API in {APIS_SECTION} ({})", names.join(", "));
                findings.problem(limits.place_of(name), "an unknown API", accepted);
            }
        }
    }

    fn missing_api(&self, name: &str) -> Problem {
        let names: Vec<_> = self.downstream_api_names().map(|name| format!("{name:?}")).collect();
        let accepted = match names.is_empty() {
            true => format!("a section {APIS_SECTION} with the API, which has at least BaseUrl"),
            false => format!("the name of an API of the configuration ({})", names.join(", ")),
        };
        let place = self.section().place().child(APIS_SECTION).child(name);
        Problem::new(place, "no such API", accepted)
    }

    /// With the applications that it stands on. They have been checked: none stands on itself.
    fn with_linked(&self, mut options: ApplicationOptions) -> ApplicationOptions {
        for section in links::sections(&options) {
            if let Ok(other) = self.options(&section) {
                options.linked.push((section, Arc::new(self.with_linked(other))));
            }
        }
        options
    }

    fn options(&self, name: &str) -> Result<ApplicationOptions, ConfigurationError> {
        let root = self.section();
        let mut builder = ApplicationOptionsBuilder::new(self.root.source.clone());
        let findings = &mut builder.findings;
        findings.problems.extend(self.misnamed.get_or_init(|| misnamed(&root)).iter().cloned());
        if let Some(section) = root.object(HOST_SECTION, findings) {
            builder.host = symbolon::read(&section, Some(name), &self.directory, findings);
        }
        let reserved = name.eq_ignore_ascii_case(HOST_SECTION);
        match root.object(name, findings).filter(|_| !reserved) {
            Some(section) => azure_ad::read(&section, &self.directory, &self.environment, &mut builder),
            None if findings.problems.is_empty() => {
                findings.problems.push(self.missing(name));
                return Err(ConfigurationError::new(std::mem::take(&mut findings.problems)));
            }
            None => return Err(ConfigurationError::new(std::mem::take(&mut findings.problems))),
        }
        let options = builder.build()?;
        Ok(match &self.application {
            // Two of them may be one registration, and have no tokens in common even so.
            Some(name) => {
                let id = ApplicationId::new(format!("{name}/{}", options.id()));
                options.with_id(id)
            }
            None => options,
        })
    }

    /// All of it, by the path that it has in the file.
    fn section(&self) -> Section<'_> {
        let path = self.application.as_ref().map(|name| format!("{APPLICATIONS_SECTION}:{name}"));
        Section::new(&self.root, path.unwrap_or_default())
    }

    /// The sections that describe an application, which is to say that have a `ClientId`, in the order in which they are
    /// written. Each may be given to [`application`](Self::application).
    pub fn section_names(&self) -> impl Iterator<Item = &str> {
        let describes_application = |(name, node): &&(String, Node)| {
            node.get("ClientId").is_some() && !name.eq_ignore_ascii_case(HOST_SECTION)
        };
        self.root.members().iter().filter(describes_application).map(|(name, _)| name.as_str())
    }

    fn missing(&self, name: &str) -> Problem {
        let sections: Vec<_> = self.section_names().map(|section| format!("{section:?}")).collect();
        let accepted = match sections.is_empty() {
            true => format!("a section {name:?} with ClientId, TenantId and ClientCredentials"),
            false => format!("the name of a section of the configuration ({})", sections.join(", ")),
        };
        Problem::new(self.section().place().child(name), "no such section", accepted)
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings").finish_non_exhaustive()
    }
}

/// Other sections belong to others. But settings under a misspelt name would silently not apply.
fn misnamed(root: &Section<'_>) -> Vec<Problem> {
    let names = root.names().filter(|name| !name.eq_ignore_ascii_case(HOST_SECTION));
    let misnamed = names.filter(|name| nearest(name, [HOST_SECTION]).is_some());
    let found = format!("an unknown section (did you mean {HOST_SECTION}?)");
    misnamed.map(|name| Problem::new(root.place_of(name), found.as_str(), HOST_SECTION)).collect()
}

/// The section of the application when none is named.
pub(super) const DEFAULT_SECTION: &str = "AzureAd";

/// The section of applications that have names.
const APPLICATIONS_SECTION: &str = "Applications";

/// The section of the APIs that are called, and of our own settings for them inside of ours.
pub(super) const APIS_SECTION: &str = "DownstreamApis";

/// The section of our own settings.
pub(super) const HOST_SECTION: &str = "Symbolon";

/// The section of the sidecar, and of our own settings for it inside of ours.
pub(super) const SIDECAR_SECTION: &str = "Sidecar";
