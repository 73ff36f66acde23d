//! Managed identities: who a machine is.

use crate::{Registration, directory::service_principal_id, encoding::derived_guid, resource::Tenant};

/// A managed identity, for [`PlatformBuilder`](crate::PlatformBuilder).
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct ManagedIdentity {
    pub(crate) client_id: String,
    pub(crate) object_id: String,
    pub(crate) resource_id: Option<String>,
}

impl ManagedIdentity {
    /// An identity with its client id and the object id of its service principal: the `oid` and `sub` of its tokens,
    /// and the subject of the federated credentials that trust it.
    pub fn new(client_id: &str, object_id: &str) -> Self {
        Self { client_id: client_id.to_owned(), object_id: object_id.to_owned(), resource_id: None }
    }

    /// The resource id (`/subscriptions/…`): the `xms_mirid` of its tokens. The default is one made from the client
    /// id, or the machine's.
    pub fn resource_id(mut self, resource_id: &str) -> Self {
        self.resource_id = Some(resource_id.to_owned());
        self
    }

    /// The client id.
    #[must_use]
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// The object id.
    #[must_use]
    pub fn object_id(&self) -> &str {
        &self.object_id
    }
}

/// Whether an identity comes and goes with its machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Assigned {
    System,
    User,
}

/// A managed identity as a machine knows it.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) client_id: String,
    pub(crate) object_id: String,
    pub(crate) resource_id: String,
    pub(crate) assigned: Assigned,
}

impl Identity {
    pub(super) fn new(identity: ManagedIdentity, assigned: Assigned) -> Self {
        let resource_id = identity.resource_id.unwrap_or_else(|| {
            let group = format!("/subscriptions/{SUBSCRIPTION}/resourcegroups/{RESOURCE_GROUP}/providers");
            let own = match assigned {
                Assigned::System => format!("Microsoft.Compute/virtualMachines/{MACHINE_NAME}"),
                Assigned::User => {
                    format!("Microsoft.ManagedIdentity/userAssignedIdentities/{}", identity.client_id)
                }
            };
            format!("{group}/{own}")
        });
        Self { client_id: identity.client_id, object_id: identity.object_id, resource_id, assigned }
    }

    pub(super) fn is(&self, name: Name, value: &str) -> bool {
        let own = match name {
            Name::Client => &self.client_id,
            Name::Object => &self.object_id,
            Name::Resource => &self.resource_id,
        };
        own.eq_ignore_ascii_case(value)
    }
}

/// The kinds of ids that an identity is asked for by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Name {
    Client,
    Object,
    Resource,
}

/// The object id of an application in a tenant: a managed identity's own, or one that follows from the client id.
pub(crate) fn object_id(application: &Registration, tenant: &Tenant) -> String {
    match &application.managed {
        Some(identity) => identity.object_id.clone(),
        None => service_principal_id(tenant, &application.client_id),
    }
}

/// The id of the machine of a system-assigned identity, the same each time.
pub(super) fn machine_id(seed: &str) -> String {
    derived_guid(&format!("machine/{seed}"))
}

/// The subscription of every machine.
pub(super) const SUBSCRIPTION: &str = "5ab5c81b-0000-4000-8000-000000000001";
/// The resource group of every machine.
pub(super) const RESOURCE_GROUP: &str = "contoso";
/// The name of every machine.
pub(super) const MACHINE_NAME: &str = "contoso-vm";
