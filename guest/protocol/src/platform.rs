//! What the platform tells a workload about itself: the words of `symbolon:credentials/platform`.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::credential::Description;

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

/// What the platform wants to read in the request for a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateSubject {
    /// The identity's client id.
    pub client_id: String,
    /// Its directory.
    pub tenant_id: String,
    /// The ids of the machine, a JSON object.
    pub machine: String,
    /// Where the key is attested, where the platform names such a place.
    pub attestation_endpoint: Option<String>,
}

/// A request for a certificate, whose key the host holds.
#[derive(Clone)]
pub struct CertificateRequest {
    /// The request (RFC 2986), DER.
    pub der: Vec<u8>,
    /// The token that attests the key, where it is attested.
    pub attestation: Option<String>,
}

/// A certificate as the platform issued it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewCertificate {
    /// The certificate, DER.
    pub der: Vec<u8>,
    /// The client that it proves.
    pub client_id: String,
    /// Where it brings tokens.
    pub token_endpoint: String,
}

/// A certificate that was issued to an identity, and that the host holds with its key.
#[derive(Clone, Debug)]
pub struct IssuedCertificate {
    /// The certificate as a credential.
    pub credential: Description,
    /// The client that it proves.
    pub client_id: String,
    /// Where it brings tokens.
    pub token_endpoint: String,
    /// Whether its key was attested.
    pub attested: bool,
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
