use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;

use crate::cache::ApplicationId;
use crate::credentials::{CredentialDescription, EgressPolicy};
use crate::transport::TransportOptions;

use super::builder::ApplicationOptionsBuilder;

use super::error::{ConfigurationError, Place, Warning};
use super::settings::Settings;

/// An application as it is configured: checked, complete and immutable. `Debug` shows no secret.
///
/// Comes from a file ([`ApplicationOptions::from_file`]), from a JSON value, or from [`ApplicationOptions::builder`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ApplicationOptions {
    pub(super) id: ApplicationId,
    pub(super) client_id: String,
    pub(super) authority: String,
    pub(super) tenant_id: Option<String>,
    pub(super) azure_region: Option<String>,
    pub(super) credentials_place: Place,
    pub(super) credentials: Vec<ConfiguredCredential>,
    pub(super) send_x5c: bool,
    pub(super) client_capabilities: Vec<String>,
    pub(super) extra_query_parameters: Vec<(String, String)>,
    pub(super) enable_pii_logging: bool,
    pub(super) transport: TransportOptions,
    pub(super) egress: Arc<EgressPolicy>,
    pub(super) warnings: Vec<Warning>,
}

/// A credential, its name in messages and where it is configured.
#[derive(Debug, Clone)]
pub(crate) struct ConfiguredCredential {
    /// Such as `ClientCredentials[0] (Path)`.
    pub(crate) name: Arc<str>,
    pub(crate) place: Place,
    pub(crate) description: CredentialDescription,
}

impl ApplicationOptions {
    /// Reads the section `AzureAd` of a JSON file (comments and trailing commas allowed), with the settings of the
    /// section `Symbolon`. The environment isn't looked at; [`Settings`] does that, and reads other sections.
    ///
    /// # Errors
    ///
    /// [`ConfigurationError`] with all that is wrong: file, JSON path, what was found, what is accepted.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, ConfigurationError> {
        Settings::from_file(path)?.application(None)
    }

    /// As [`ApplicationOptions::from_file`], overlaid with environment variables such as
    /// `AzureAd__ClientCredentials__0__ClientSecret`, usually [`std::env::vars_os`].
    ///
    /// # Errors
    ///
    /// As [`ApplicationOptions::from_file`].
    pub fn from_file_and_environment(
        path: impl AsRef<Path>,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, ConfigurationError> {
        Settings::from_file(path)?.with_environment(variables).application(None)
    }

    /// Reads the section `AzureAd` of a JSON value. Relative paths start at the working directory.
    ///
    /// # Errors
    ///
    /// As [`ApplicationOptions::from_file`].
    pub fn from_value(value: serde_json::Value) -> Result<Self, ConfigurationError> {
        Settings::from_value(value).application(None)
    }

    /// Starts the options of the application with this client id.
    pub fn builder(client_id: impl Into<String>) -> ApplicationOptionsBuilder {
        ApplicationOptionsBuilder::with_client_id(client_id.into())
    }

    /// The application's name in this process.
    pub fn id(&self) -> &ApplicationId {
        &self.id
    }

    /// The same under another name.
    pub fn with_id(mut self, id: ApplicationId) -> Self {
        self.id = id;
        self
    }

    /// The client id of the registration.
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// The authority as an https URL without a slash at the end, such as
    /// `https://login.microsoftonline.com/contoso.onmicrosoft.com`.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The directory, where the authority names one.
    pub fn tenant_id(&self) -> Option<&str> {
        self.tenant_id.as_deref()
    }

    /// The Azure region whose endpoints are used: letters and digits.
    pub fn azure_region(&self) -> Option<&str> {
        self.azure_region.as_deref()
    }

    /// Whether assertions carry the certificate (`x5c`).
    pub fn send_x5c(&self) -> bool {
        self.send_x5c
    }

    /// What the client can do, such as `cp1`.
    pub fn client_capabilities(&self) -> &[String] {
        &self.client_capabilities
    }

    /// Parameters for the query of every token request, in the order of the configuration.
    pub fn extra_query_parameters(&self) -> &[(String, String)] {
        &self.extra_query_parameters
    }

    /// Whether logs may hold user names.
    pub fn enable_pii_logging(&self) -> bool {
        self.enable_pii_logging
    }

    /// How requests travel.
    pub fn transport(&self) -> &TransportOptions {
        &self.transport
    }

    /// Which hosts requests may go to.
    pub fn egress(&self) -> &Arc<EgressPolicy> {
        &self.egress
    }

    /// What is allowed and probably not meant. Each was also a `tracing` event.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    pub(crate) fn credentials(&self) -> &[ConfiguredCredential] {
        &self.credentials
    }

    pub(crate) fn credentials_place(&self) -> &Place {
        &self.credentials_place
    }
}
