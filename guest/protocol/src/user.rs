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
        let given = |option: Option<&'_ str>| option.is_some_and(|text| !text.trim().is_empty());
        match (username, user_id) {
            (Some(name), _) if given(username) => User::username(name).map(Some),
            (_, Some(id)) if given(user_id) => User::object_id(id).map(Some),
            _ => Ok(None),
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
