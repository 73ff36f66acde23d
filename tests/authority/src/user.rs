//! Users: who they are, and in which tenants they are known.

use std::{collections::HashMap, fmt};

use crate::{CONTOSO, Tenant, encoding::derived_guid};

/// A person with an account. `Debug` shows no password.
#[derive(Clone, PartialEq, Eq)]
#[must_use]
pub struct User {
    pub(crate) object_id: String,
    pub(crate) user_principal_name: String,
    pub(crate) name: String,
    pub(crate) password: Option<String>,
    pub(crate) home: Option<String>,
    pub(crate) guest_of: Vec<String>,
}

impl User {
    /// A user by object id (a dashed GUID) and user principal name (`alice@contoso.com`). The home tenant is the one
    /// that has the name's domain, else [`CONTOSO`].
    pub fn new(object_id: &str, user_principal_name: &str) -> Self {
        Self {
            object_id: object_id.to_ascii_lowercase(),
            user_principal_name: user_principal_name.to_owned(),
            name: user_principal_name.to_owned(),
            password: None,
            home: None,
            guest_of: Vec::new(),
        }
    }

    /// The display name. The default is the user principal name.
    pub fn name(mut self, name: &str) -> Self {
        self.name = name.to_owned();
        self
    }

    /// The password, for the grant `password`. The default is none, so that every password is wrong (50126).
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.to_owned());
        self
    }

    /// Another home tenant (id or domain).
    pub fn tenant(mut self, tenant: &str) -> Self {
        self.home = Some(tenant.to_owned());
        self
    }

    /// Makes the user a guest of this tenant (id or domain), with an object id of its own there; repeat it for more.
    pub fn guest_of(mut self, tenant: &str) -> Self {
        self.guest_of.push(tenant.to_owned());
        self
    }
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User")
            .field("object_id", &self.object_id)
            .field("user_principal_name", &self.user_principal_name)
            .finish_non_exhaustive()
    }
}

/// A user with the tenants resolved.
#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) user: User,
    /// The id of the home tenant: the `utid` of `client_info`.
    pub(crate) home: String,
    /// Object ids by tenant id.
    object_ids: HashMap<String, String>,
}

impl Account {
    pub(crate) fn new(user: User, tenants: &[Tenant]) -> Self {
        let id_of =
            |name: &str| tenants.iter().find(|tenant| tenant.is(name)).map(|tenant| tenant.id.clone());
        let domain = user.user_principal_name.rsplit('@').next().unwrap_or_default();
        let home = id_of(user.home.as_deref().unwrap_or(domain)).unwrap_or_else(|| CONTOSO.to_owned());
        let guest = |tenant: String| {
            let object_id = derived_guid(&format!("{tenant}/{}", user.object_id));
            (tenant, object_id)
        };
        let mut object_ids: HashMap<_, _> =
            user.guest_of.iter().filter_map(|name| id_of(name)).map(guest).collect();
        object_ids.insert(home.clone(), user.object_id.clone());
        Self { home, object_ids, user }
    }

    /// The object id in that tenant; nothing where the tenant does not know the user.
    pub(crate) fn object_id_in(&self, tenant: &Tenant) -> Option<&str> {
        self.object_ids.get(&tenant.id).map(String::as_str)
    }

    /// What the account is found by.
    pub(crate) fn keys(&self) -> impl Iterator<Item = String> {
        let name = self.user.user_principal_name.to_ascii_lowercase();
        self.object_ids.values().cloned().chain([name])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FABRIKAM, samples};

    #[test]
    fn the_domain_names_the_home_tenant_and_guests_have_other_object_ids() {
        let tenants = samples::tenants();
        let id = "dddddddd-0000-4000-8000-000000000001";
        let account = Account::new(User::new(id, "carol@FABRIKAM.com").guest_of("contoso.com"), &tenants);
        let [contoso, fabrikam] = tenants.as_slice() else { panic!("{tenants:?}") };
        assert_eq!((account.home.as_str(), account.object_id_in(fabrikam)), (FABRIKAM, Some(id)));
        assert_ne!(account.object_id_in(contoso).unwrap(), id);
        assert_eq!(account.keys().count(), 3);
        let elsewhere = Account::new(User::new(id, "dave@nowhere.test"), &tenants);
        assert_eq!((elsewhere.home.as_str(), elsewhere.object_id_in(fabrikam)), (CONTOSO, None));
    }
}
