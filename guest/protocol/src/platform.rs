//! What the platform tells a workload about itself: the words of `symbolon:credentials/platform`.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// The platform, as far as its environment variables and its files tell.
#[derive(Clone, Default)]
pub struct Platform {
    /// The variables that are set and not empty. Those that hold a secret have no value here: the host keeps it.
    pub variables: Vec<(String, Option<String>)>,
    /// Whether Azure Arc's agent is installed.
    pub has_arc_agent: bool,
}

impl Platform {
    /// Whether a variable is set.
    pub fn has(&self, name: &str) -> bool {
        self.variables.iter().any(|(other, _)| other == name)
    }

    /// The value of a variable that holds no secret.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.variables.iter().find(|(other, _)| other == name)?.1.as_deref()
    }
}

impl fmt::Debug for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.variables.iter().map(|(name, _)| name);
        f.debug_list().entries(names).finish()
    }
}

/// The endpoint of App Service, Service Fabric and Azure Arc.
pub const IDENTITY_ENDPOINT: &str = "IDENTITY_ENDPOINT";

/// The secret for the endpoint of App Service and Service Fabric.
pub const IDENTITY_HEADER: &str = "IDENTITY_HEADER";

/// The SHA-1 of the certificate of Service Fabric's endpoint.
pub const IDENTITY_SERVER_THUMBPRINT: &str = "IDENTITY_SERVER_THUMBPRINT";

/// The instance metadata service of Azure Arc.
pub const IMDS_ENDPOINT: &str = "IMDS_ENDPOINT";

/// The Azure region.
pub const REGION_NAME: &str = "REGION_NAME";

/// The endpoint of Machine Learning and Cloud Shell.
pub const MSI_ENDPOINT: &str = "MSI_ENDPOINT";

/// The secret for the endpoint of Machine Learning.
pub const MSI_SECRET: &str = "MSI_SECRET";

/// Where the instance metadata service of virtual machines is, if it isn't in its usual place.
pub const AZURE_POD_IDENTITY_AUTHORITY_HOST: &str = "AZURE_POD_IDENTITY_AUTHORITY_HOST";

/// The client id of Machine Learning's system-assigned identity.
pub const DEFAULT_IDENTITY_CLIENT_ID: &str = "DEFAULT_IDENTITY_CLIENT_ID";
