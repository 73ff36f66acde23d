//! A user whom the application names.

use alloc::format;
use alloc::string::String;
use core::fmt;

use crate::error::Error;

/// A user, named in one of two ways. The constructors check what they are given.
#[derive(Clone, PartialEq, Eq)]
pub enum User {
    /// By object id: a GUID in lower case with dashes.
    ObjectId(String),
    /// By user principal name.
    Username(String),
}

impl User {
    /// The user of an object id: a GUID with dashes, in any case.
    ///
    /// # Errors
    ///
    /// `invalid_user_id` for anything else, and for the GUID that is nothing but zeros.
    pub fn object_id(id: &str) -> Result<User, Error> {
        if !is_guid(id) || id.bytes().all(|byte| matches!(byte, b'0' | b'-')) {
            return Err(Error::invalid_request(
                "invalid_user_id",
                "The user id isn't an object id; accepted is a GUID such as 1b4e28ba-2fa1-41d2-883f-0016d3cca427.",
            ));
        }
        Ok(User::ObjectId(id.to_ascii_lowercase()))
    }

    /// The user of a user principal name.
    ///
    /// # Errors
    ///
    /// `invalid_username` for one that is blank or holds control characters: it goes into a header.
    pub fn username(name: &str) -> Result<User, Error> {
        if name.trim().is_empty() || name.contains(char::is_control) {
            return Err(Error::invalid_request(
                "invalid_username",
                "The user name is blank or holds control characters; accepted is a user principal name such as \
                 user@contoso.com.",
            ));
        }
        Ok(User::Username(name.into()))
    }

    /// The user whom options name, in which either may be blank. The user name wins, as in Microsoft.Identity.Web.
    ///
    /// # Errors
    ///
    /// Those of [`User::username`] and [`User::object_id`].
    pub fn from_options(username: Option<&str>, user_id: Option<&str>) -> Result<Option<User>, Error> {
        let is_given = |text: &&str| !text.trim().is_empty();
        match (username.filter(is_given), user_id.filter(is_given)) {
            (Some(name), _) => User::username(name).map(Some),
            (None, Some(id)) => User::object_id(id).map(Some),
            (None, None) => Ok(None),
        }
    }

    /// The value of the `x-anchormailbox` header, by which the authority routes: `oid:{object id}@{tenant}` or
    /// `upn:{user name}`. `None` for an object id without a tenant.
    pub fn anchor_mailbox(&self, tenant: Option<&str>) -> Option<String> {
        match self {
            User::ObjectId(id) => {
                tenant.filter(|tenant| !tenant.is_empty()).map(|tenant| format!("oid:{id}@{tenant}"))
            }
            User::Username(name) => Some(format!("upn:{name}")),
        }
    }
}

impl fmt::Debug for User {
    /// Leaves the name out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            User::ObjectId(id) => f.debug_tuple("ObjectId").field(id).finish(),
            User::Username(_) => f.debug_tuple("Username").finish_non_exhaustive(),
        }
    }
}

fn is_guid(text: &str) -> bool {
    text.split('-').map(str::len).eq([8, 4, 4, 4, 12])
        && text.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ID: &str = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee";

    #[test]
    fn an_object_id_is_a_guid_with_dashes() {
        assert_eq!(User::object_id("AAAAAAAA-bbbb-CCCC-dddd-EEEEEEEEEEEE"), Ok(User::ObjectId(ID.into())));
        for id in [
            "",
            "nope",
            "{aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee}",
            " aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee",
            "aaaaaaaabbbbccccddddeeeeeeeeeeee",
            "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeeg",
            "aaaaaaaab-bbb-cccc-dddd-eeeeeeeeeeee",
            "00000000-0000-0000-0000-000000000000",
        ] {
            let error = User::object_id(id).expect_err(id);
            assert_eq!(error.code, "invalid_user_id");
        }
    }

    #[test]
    fn a_user_name_fits_into_a_header() {
        assert_eq!(User::username("User@contoso.com"), Ok(User::Username("User@contoso.com".into())));
        for name in ["", " \t", "user@contoso.com\r\nx-evil: 1"] {
            let error = User::username(name).expect_err(name);
            assert_eq!(error.code, "invalid_username");
        }
    }

    #[test]
    fn of_two_options_the_user_name_wins() {
        let id = User::ObjectId(ID.into());
        let name = User::Username("u@c".into());
        assert_eq!(User::from_options(Some("u@c"), Some(ID)), Ok(Some(name.clone())));
        assert_eq!(User::from_options(Some("u@c"), Some("nope")), Ok(Some(name)));
        assert_eq!(User::from_options(Some(""), Some(ID)), Ok(Some(id.clone())));
        assert_eq!(User::from_options(None, Some(ID)), Ok(Some(id)));
        assert_eq!(User::from_options(Some(" "), Some("")), Ok(None));
        assert_eq!(User::from_options(None, None), Ok(None));
        assert_eq!(
            User::from_options(None, Some("nope")).map_err(|error| error.code),
            Err("invalid_user_id".into())
        );
    }

    #[test]
    fn a_mailbox_is_an_object_id_with_its_tenant_or_a_user_name() {
        let id = User::ObjectId(ID.into());
        assert_eq!(
            id.anchor_mailbox(Some("common")).as_deref(),
            Some("oid:aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee@common")
        );
        assert_eq!(id.anchor_mailbox(Some("")), None);
        assert_eq!(id.anchor_mailbox(None), None);
        let name = User::Username("user@contoso.com".into());
        assert_eq!(name.anchor_mailbox(None).as_deref(), Some("upn:user@contoso.com"));
    }

    #[test]
    fn debug_leaves_the_name_out() {
        let shown = format!("{:?} {:?}", User::Username("canary".into()), User::ObjectId(ID.into()));
        assert!(shown.contains(ID) && !shown.contains("canary"), "{shown}");
    }

    proptest! {
        #[test]
        fn an_accepted_object_id_is_in_lower_case_and_accepted_again(id in "\\PC*|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}") {
            if let Ok(user) = User::object_id(&id) {
                let stored = id.to_ascii_lowercase();
                prop_assert_eq!(User::object_id(&stored), Ok(user.clone()));
                prop_assert_eq!(user, User::ObjectId(stored));
            }
        }
    }
}
