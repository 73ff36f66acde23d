//! What a user configures: the `AzureAd` JSON of Microsoft.Identity.Web, with our own settings in the section
//! `Symbolon`.
//!
//! ```json
//! {
//!   "AzureAd": {
//!     "TenantId": "contoso.onmicrosoft.com",
//!     "ClientId": "11111111-1111-1111-1111-111111111111",
//!     "ClientCredentials": [ { "SourceType": "Path", "CertificateDiskPath": "daemon.pem" } ]
//!   },
//!   "Symbolon": { "ConnectTo": { "login.microsoftonline.com": "127.0.0.1:8443" } }
//! }
//! ```
//!
//! Unknown keys are errors in `Symbolon` and in `ClientCredentials`, and elsewhere when they look like a misspelt key;
//! other unknown keys are warnings. Every error names the file, the JSON path, what was found and what is accepted.

mod app_tenant;
mod applications;
mod authority;
mod azure_ad;
mod builder;
mod components;
mod document;
mod downstream;
mod entries;
mod environment;
mod error;
mod links;
mod options;
mod origins;
mod reader;
mod server;
mod server_tls;
mod settings;
mod sidecar;
mod symbolon;
mod token_cache;

pub use app_tenant::{AppTenantError, resolve_app_tenant};
pub use builder::ApplicationOptionsBuilder;
pub use downstream::{
    AcquireTokenSettings, DownstreamApiLimits, DownstreamApiSettings, ProtocolScheme, check_base_url,
    parse_method,
};
pub use error::{ConfigurationError, Place, Problem, Warning};
pub use options::ApplicationOptions;
pub use origins::ValueOrigin;
pub use reader::nearest;
pub use server::{ListenAddress, ServerSettings, TlsSettings};
pub use settings::Settings;
pub use sidecar::{AllowOverrides, CallLimits, RateLimit, SidecarSettings, WebApiSettings};
pub use symbolon::{AuthorityType, BoundFlow, UnsupportedBoundCredential};

pub(crate) use options::ConfiguredCredential;
