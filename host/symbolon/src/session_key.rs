//! Keys of long-running processes.

use std::fmt;

/// The key of a long-running process.
///
/// Given by mutable reference, [`SessionKey::AllocateForMe`] becomes the key that was allocated; by value, the result tells
/// it. Keys must be per user: whoever has one acts for its user. `Debug` doesn't show it.
#[doc(alias = "LongRunningWebApiSessionKey")]
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub enum SessionKey {
    /// Makes the key from the user's token: base64url of its SHA-256. The same token gives the same key.
    #[default]
    #[doc(alias = "LongRunningWebApiSessionKeyAuto")]
    AllocateForMe,
    /// This key. The empty one stands for [`SessionKey::AllocateForMe`].
    Key(String),
}

impl SessionKey {
    /// What stands for [`SessionKey::AllocateForMe`] in configurations and in text.
    pub const ALLOCATE_FOR_ME: &'static str = "AllocateForMe";

    /// The key, unless it is still to be allocated.
    pub fn get(&self) -> Option<&str> {
        match self {
            Self::AllocateForMe => None,
            Self::Key(key) => Some(key.as_str()).filter(|key| !key.is_empty()),
        }
    }
}

/// An empty text, and the one that asks for it, stand for [`SessionKey::AllocateForMe`].
impl From<&str> for SessionKey {
    fn from(text: &str) -> Self {
        match text {
            "" | Self::ALLOCATE_FOR_ME => Self::AllocateForMe,
            key => Self::Key(key.to_owned()),
        }
    }
}

/// As from `&str`.
impl From<String> for SessionKey {
    fn from(text: String) -> Self {
        Self::from(text.as_str())
    }
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AllocateForMe => f.write_str("AllocateForMe"),
            Self::Key(_) => f.debug_tuple("Key").finish_non_exhaustive(),
        }
    }
}

/// Where a session key is, and where an allocated one goes.
#[derive(Debug)]
pub struct SessionKeyPlace<'a>(Place<'a>);

#[derive(Debug)]
enum Place<'a> {
    Own(SessionKey),
    Callers(&'a mut SessionKey),
}

impl SessionKeyPlace<'_> {
    pub(crate) fn get(&self) -> Option<&str> {
        match &self.0 {
            Place::Own(key) => key.get(),
            Place::Callers(key) => key.get(),
        }
    }

    /// A key that the caller chose is left alone.
    pub(crate) fn allocated(&mut self, allocated: &str) {
        if let Place::Callers(key) = &mut self.0
            && key.get().is_none()
            && !allocated.is_empty()
        {
            **key = SessionKey::Key(allocated.to_owned());
        }
    }
}

impl From<SessionKey> for SessionKeyPlace<'_> {
    fn from(key: SessionKey) -> Self {
        Self(Place::Own(key))
    }
}

impl From<&str> for SessionKeyPlace<'_> {
    fn from(key: &str) -> Self {
        Self(Place::Own(key.into()))
    }
}

impl From<String> for SessionKeyPlace<'_> {
    fn from(key: String) -> Self {
        Self(Place::Own(key.into()))
    }
}

impl<'a> From<&'a mut SessionKey> for SessionKeyPlace<'a> {
    fn from(key: &'a mut SessionKey) -> Self {
        Self(Place::Callers(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_allocated_where_none_was_chosen() {
        let mut key = SessionKey::AllocateForMe;
        SessionKeyPlace::from(&mut key).allocated("");
        assert_eq!(key, SessionKey::AllocateForMe);
        SessionKeyPlace::from(&mut key).allocated("allocated");
        assert_eq!(key.get(), Some("allocated"));
        SessionKeyPlace::from(&mut key).allocated("another");
        assert_eq!(key.get(), Some("allocated"));
    }

    #[test]
    fn texts_that_ask_for_a_key() {
        assert_eq!(SessionKey::from(""), SessionKey::AllocateForMe);
        assert_eq!(SessionKey::Key(String::new()).get(), None);
        assert_eq!(SessionKey::from("AllocateForMe"), SessionKey::AllocateForMe);
        assert_eq!(SessionKey::from("allocateforme").get(), Some("allocateforme"));
        assert!(!format!("{:?}", SessionKey::from("secret")).contains("secret"));
    }
}
