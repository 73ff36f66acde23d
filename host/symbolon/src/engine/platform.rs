//! `symbolon:credentials/platform`: what the platform tells, for acquisitions of its own tokens. All others see a machine
//! that no platform manages.

use symbolon_resources::credentials::ClientSecret;
use symbolon_resources::platform::{Platform, PlatformError};
use wasmtime::component::Resource;

use super::bindings::symbolon::credentials::{platform, provider};
use super::credentials::CredentialHandle;
use super::state::State;

/// A secret of the platform's. It is presented to the platform's own endpoints only.
pub struct PlatformSecret {
    pub(super) name: String,
    pub(super) secret: ClientSecret,
}

impl platform::Host for State {
    fn environment(&mut self) -> wasmtime::Result<Vec<platform::Variable>> {
        let variable = |(name, value): (&str, Option<&str>)| platform::Variable {
            name: name.to_owned(),
            value: value.map(ToOwned::to_owned),
        };
        Ok(self.call()?.platform_variables().map(variable).collect())
    }

    fn arc_agent_installed(&mut self) -> wasmtime::Result<bool> {
        Ok(self.call()?.platform().is_some_and(Platform::has_arc_agent))
    }

    fn secret(
        &mut self,
        name: String,
    ) -> wasmtime::Result<Result<Resource<CredentialHandle>, provider::Error>> {
        let secret = self.call()?.platform().map(|platform| platform.secret(&name));
        self.platform_secret(name, secret)
    }

    fn challenge_file(
        &mut self,
        path: String,
    ) -> wasmtime::Result<Result<Resource<CredentialHandle>, provider::Error>> {
        let secret = self.call()?.platform().map(|platform| platform.challenge_file(&path));
        self.platform_secret("the key that Azure Arc's challenge names".to_owned(), secret)
    }
}

impl State {
    fn platform_secret(
        &mut self,
        name: String,
        secret: Option<Result<ClientSecret, PlatformError>>,
    ) -> wasmtime::Result<Result<Resource<CredentialHandle>, provider::Error>> {
        match secret {
            Some(Ok(secret)) => {
                Ok(Ok(self.table.push(CredentialHandle::Platform(PlatformSecret { name, secret }))?))
            }
            Some(Err(error)) => Ok(Err(error.into())),
            None => Ok(Err(provider::Error {
                kind: provider::ErrorKind::Refused,
                message: "only an acquisition for a managed identity has the platform's secrets".to_owned(),
                retry_after_ms: None,
            })),
        }
    }
}

impl From<PlatformError> for provider::Error {
    fn from(error: PlatformError) -> Self {
        let kind = match &error {
            error if error.is_refusal() => provider::ErrorKind::Refused,
            PlatformError::Unreadable(_) => provider::ErrorKind::Unavailable,
            _ => provider::ErrorKind::NotConfigured,
        };
        Self { kind, message: error.to_string(), retry_after_ms: None }
    }
}
