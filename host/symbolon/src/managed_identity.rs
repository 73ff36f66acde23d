//! Identities that the platform manages, and the certificates that it issued to them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use symbolon_resources::cache::RequestHasher;
use symbolon_resources::credentials::Binding;
use symbolon_resources::transport::Transport;

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
    pub(crate) fn digest(&self, hasher: &mut RequestHasher<'_>) {
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

impl From<&engine::ManagedIdentityId> for ManagedIdentityId {
    fn from(identity: &engine::ManagedIdentityId) -> Self {
        match identity {
            engine::ManagedIdentityId::SystemAssigned => Self::SystemAssigned,
            engine::ManagedIdentityId::ClientId(id) => Self::ClientId(id.clone()),
            engine::ManagedIdentityId::ResourceId(id) => Self::ResourceId(id.clone()),
            engine::ManagedIdentityId::ObjectId(id) => Self::ObjectId(id.clone()),
        }
    }
}

/// A certificate that the platform issued to an identity, for one application.
pub(crate) struct IssuedCertificate {
    pub(crate) binding: Arc<Binding>,
    pub(crate) client_id: String,
    pub(crate) token_endpoint: String,
    /// Whether its key was attested.
    pub(crate) attested: bool,
    /// The way to the origin of that endpoint, and nowhere else.
    pub(crate) transport: Transport,
}

/// The certificates that an application was issued, the last one of each identity.
#[derive(Default)]
pub(crate) struct IssuedCertificates(Mutex<HashMap<ManagedIdentityId, Arc<IssuedCertificate>>>);

impl IssuedCertificates {
    /// The certificate of an identity, while it is valid.
    pub(crate) fn get(&self, identity: &ManagedIdentityId, now_unix: u64) -> Option<Arc<IssuedCertificate>> {
        let certificates = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        certificates.get(identity).filter(|issued| issued.binding.not_after_unix() > now_unix).cloned()
    }

    pub(crate) fn put(&self, identity: ManagedIdentityId, issued: IssuedCertificate) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(identity, Arc::new(issued));
    }
}
