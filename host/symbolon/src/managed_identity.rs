//! Identities that the platform manages.

use symbolon_resources::cache::RequestHasher;

use crate::engine;

/// An identity that the platform manages for the machine or service that this process runs on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ManagedIdentityId {
    /// The one that lives and dies with that machine or service.
    #[doc(alias = "WithSystemAssigned")]
    SystemAssigned,
    /// One that was assigned to it, by its application (client) id.
    #[doc(alias = "WithUserAssignedClientId")]
    ClientId(String),
    /// One that was assigned to it, by its Azure resource id.
    #[doc(alias = "WithUserAssignedResourceId")]
    ResourceId(String),
    /// One that was assigned to it, by its object (principal) id.
    #[doc(alias = "WithUserAssignedObjectId")]
    ObjectId(String),
}

impl ManagedIdentityId {
    pub(crate) fn digest(&self, hasher: &mut RequestHasher) {
        match self {
            Self::SystemAssigned => hasher.number(0),
            Self::ClientId(id) => hasher.number(1).field(id),
            Self::ResourceId(id) => hasher.number(2).field(id),
            Self::ObjectId(id) => hasher.number(3).field(id),
        };
    }

    pub(crate) fn to_guest(&self) -> engine::ManagedIdentityId {
        match self {
            Self::SystemAssigned => engine::ManagedIdentityId::SystemAssigned,
            Self::ClientId(id) => engine::ManagedIdentityId::ClientId(id.clone()),
            Self::ResourceId(id) => engine::ManagedIdentityId::ResourceId(id.clone()),
            Self::ObjectId(id) => engine::ManagedIdentityId::ObjectId(id.clone()),
        }
    }
}
