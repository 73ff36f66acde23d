use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;

use crate::clock::Clock;
use crate::configuration::{ApplicationOptions, ConfigurationError, Settings};

use super::assertion_policy::SigningBudget;
use super::error::CredentialError;
use super::provider::CredentialProvider;

/// An application's options with its credentials, of which at least one could be used when it was made.
#[derive(Debug)]
pub struct ConfiguredApplication {
    /// What is configured.
    pub options: ApplicationOptions,
    /// Its credentials.
    pub credentials: CredentialProvider,
}

impl ConfiguredApplication {
    /// Reads a configuration file overlaid with environment variables (usually [`std::env::vars_os`]), the section of
    /// that name (`AzureAd` for `None`), and the first usable credential: everything that can be wrong before the
    /// first request. Contacts nothing; needs a tokio runtime.
    ///
    /// # Errors
    ///
    /// [`SetupError`], whose text is complete: file, JSON path, what was found, what is accepted.
    pub async fn from_file(
        path: impl AsRef<Path>,
        section: Option<&str>,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, SetupError> {
        let options = Settings::from_file(path)?.with_environment(environment).application(section)?;
        let credentials = CredentialProvider::new(&options, clock);
        credentials.select(&SigningBudget::new()).await?;
        Ok(Self { options, credentials })
    }
}

/// Why an application can't be set up.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// The configuration can't be used.
    #[error(transparent)]
    Configuration(#[from] ConfigurationError),
    /// None of the configured credentials can be used.
    #[error(transparent)]
    Credential(#[from] CredentialError),
}
