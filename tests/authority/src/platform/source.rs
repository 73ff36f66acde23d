//! The kinds of machines that managed identities live on.

use serde::Serialize;

use super::exchange::{Reply, Request};
use super::{app_service, azure_arc, cloud_shell, imds, machine::Machine, machine_learning, service_fabric};
use crate::Endpoint;

/// Where a machine gets the tokens of its managed identities from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum Source {
    /// The instance metadata service of virtual machines.
    Imds,
    /// App Service, Functions and Container Apps.
    AppService,
    /// Service Fabric.
    ServiceFabric,
    /// A machine outside of Azure, with Azure Arc's agent.
    AzureArc,
    /// Cloud Shell.
    CloudShell,
    /// A compute instance of Machine Learning.
    MachineLearning,
}

impl Source {
    /// Every source.
    pub const ALL: [Self; 6] = [
        Self::Imds,
        Self::AppService,
        Self::ServiceFabric,
        Self::AzureArc,
        Self::CloudShell,
        Self::MachineLearning,
    ];

    /// The source's name, as in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Imds => "imds",
            Self::AppService => "appService",
            Self::ServiceFabric => "serviceFabric",
            Self::AzureArc => "azureArc",
            Self::CloudShell => "cloudShell",
            Self::MachineLearning => "machineLearning",
        }
    }

    pub(super) fn endpoint(self, path: &str) -> Option<Endpoint> {
        match (self, path) {
            (Self::Imds, imds::TOKEN) => Some(Endpoint::Imds),
            (Self::Imds, imds::INSTANCE) => Some(Endpoint::Instance),
            (Self::Imds, imds::METADATA) => Some(Endpoint::PlatformMetadata),
            (Self::Imds, imds::CREDENTIAL) => Some(Endpoint::IssueCredential),
            (Self::AppService, app_service::PATH) => Some(Endpoint::AppService),
            (Self::ServiceFabric, service_fabric::PATH) => Some(Endpoint::ServiceFabric),
            (Self::AzureArc, azure_arc::PATH) => Some(Endpoint::AzureArc),
            (Self::CloudShell, cloud_shell::PATH) => Some(Endpoint::CloudShell),
            (Self::MachineLearning, machine_learning::PATH) => Some(Endpoint::MachineLearning),
            _ => None,
        }
    }

    pub(super) fn answer(self, machine: &Machine, request: &Request<'_>) -> Reply {
        let answered = match self {
            Self::Imds => imds::answer(machine, request),
            Self::AppService => app_service::answer(machine, request),
            Self::ServiceFabric => service_fabric::answer(machine, request),
            Self::AzureArc => azure_arc::answer(machine, request),
            Self::CloudShell => cloud_shell::answer(machine, request),
            Self::MachineLearning => machine_learning::answer(machine, request),
        };
        answered.map_or_else(|refusal| refusal, |value| Reply::ok(&value))
    }

    /// The platform's answer with this status when nothing is wrong with the request.
    pub(super) fn unwell(self, status: u16, request: &Request<'_>) -> Reply {
        let correlation_id = request.correlation_id;
        match self {
            Self::Imds => imds::unwell(status),
            Self::AppService => app_service::refused(status, unwell_text(status), correlation_id),
            Self::ServiceFabric => {
                let code = if status == 429 { "TooManyRequests" } else { "InternalServerError" };
                service_fabric::refused(status, code, unwell_text(status), correlation_id)
            }
            Self::AzureArc => azure_arc::refused(status, "internal_error", unwell_text(status), request),
            Self::CloudShell => cloud_shell::refused(status, "InternalServerError", unwell_text(status)),
            Self::MachineLearning => machine_learning::refused(status, unwell_text(status), correlation_id),
        }
    }

    /// Headers of each answer.
    pub(super) fn headers(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Imds => &[("server", "IMDS/150.870.65.1854")],
            Self::AppService => &[("server", "Kestrel")],
            _ => &[],
        }
    }
}

/// The spelling is Azure's.
fn unwell_text(status: u16) -> &'static str {
    match status {
        429 => "Too many requests.",
        _ => "An unexpected error occured while fetching the AAD Token.",
    }
}
