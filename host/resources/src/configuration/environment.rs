//! What the workload identity of Azure puts into the environment, for where the JSON is silent.

use std::ffi::OsString;
use std::sync::Arc;

use super::error::{Place, Source};
use super::reader::Located;

/// The values of the environment, each with the variable that it comes from. Empty ones count as absent.
#[derive(Debug, Clone, Default)]
pub(super) struct Environment {
    /// `AZURE_CLIENT_ID`: of the application, and of a user-assigned managed identity.
    pub(super) client_id: Option<Located<String>>,
    /// `AZURE_TENANT_ID`.
    pub(super) tenant_id: Option<Located<String>>,
    /// `AZURE_AUTHORITY_HOST`: the cloud, as an https URL.
    pub(super) authority_host: Option<Located<String>>,
    /// `MSAL_FORCE_REGION`: the region where none is configured.
    pub(super) forced_region: Option<Located<String>>,
    /// `MSAL_DISABLE_REGION`: no region whatever is configured.
    pub(super) disabled_region: Option<Located<String>>,
    /// `AZURE_FEDERATED_TOKEN_FILE`: where the platform keeps the workload's token.
    pub(super) federated_token_file: Option<Located<String>>,
}

impl Environment {
    /// Takes the value of a variable, if it is one of these.
    pub(super) fn take(&mut self, name: &OsString, value: &OsString) {
        let (Some(name), Some(value)) = (name.to_str(), value.to_str()) else { return };
        let field = match name {
            "AZURE_CLIENT_ID" => &mut self.client_id,
            "AZURE_TENANT_ID" => &mut self.tenant_id,
            "AZURE_AUTHORITY_HOST" => &mut self.authority_host,
            "MSAL_FORCE_REGION" => &mut self.forced_region,
            "MSAL_DISABLE_REGION" => &mut self.disabled_region,
            "AZURE_FEDERATED_TOKEN_FILE" => &mut self.federated_token_file,
            _ => return,
        };
        let place = Place::new(Source::Environment(Arc::from(name)), "");
        *field = Some(Located { value: value.to_owned(), place }).filter(|located| !located.value.is_empty());
    }
}
