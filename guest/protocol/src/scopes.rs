//! Scopes: what a token is for.
//!
//! Scopes are ASCII (RFC 6749 §3.3) and compared without regard to case, as MSAL does.

use alloc::{borrow::ToOwned, string::String, vec::Vec};
use core::cmp::Ordering;

/// The scopes that every user token is asked for, and that no look-up considers.
const RESERVED: [&str; 3] = ["openid", "profile", OFFLINE_ACCESS];

/// The scope that asks for a refresh token.
const OFFLINE_ACCESS: &str = "offline_access";

/// Scopes in the order in which they were given, each once. Of two that differ in case alone the first stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scopes(Vec<String>);

impl Scopes {
    /// Takes scopes in the order of a request. One that holds spaces is several.
    pub fn new(scopes: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        let mut all = Self::default();
        for scope in scopes {
            scope.as_ref().split_ascii_whitespace().for_each(|scope| all.insert(scope));
        }
        all
    }

    /// Takes the `scope` member of a token response, in which spaces separate the scopes.
    pub fn from_response(scope: &str) -> Self {
        Self::new([scope])
    }

    fn insert(&mut self, scope: &str) {
        if !self.contains(scope) {
            self.0.push(scope.to_owned());
        }
    }

    /// The scopes, in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `scope` is among them.
    pub fn contains(&self, scope: &str) -> bool {
        self.iter().any(|mine| mine.eq_ignore_ascii_case(scope))
    }

    /// The scopes in the order of the request, separated by spaces: what client credentials send.
    pub fn to_request_string(&self) -> String {
        self.0.join(" ")
    }

    /// The scopes sorted, separated by spaces: the `target` of a cached token.
    pub fn sorted_target(&self) -> String {
        sorted(self.0.clone(), compare).join(" ")
    }

    /// The scopes and the reserved ones, sorted, separated by spaces: what on-behalf-of, authorization codes and refresh
    /// tokens send.
    pub fn with_reserved_sorted(&self) -> String {
        self.with_reserved_sorted_but(true)
    }

    /// [`Scopes::with_reserved_sorted`], which adds `offline_access` only where a refresh token is wanted.
    pub fn with_reserved_sorted_but(&self, offline_access: bool) -> String {
        let mut all = self.clone();
        let reserved = RESERVED.iter().filter(|scope| offline_access || **scope != OFFLINE_ACCESS);
        reserved.for_each(|scope| all.insert(scope));
        all.sorted_target()
    }

    /// The reserved scopes, then the others in the order of the request, separated by spaces: what user names send, with
    /// a password or a federated identity credential. Here a reserved scope in another case is another scope, as for MSAL.
    pub fn with_reserved_first(&self) -> String {
        let mut all = String::from("openid offline_access profile");
        for scope in self.iter().filter(|scope| !RESERVED.contains(scope)) {
            all.push(' ');
            all.push_str(scope);
        }
        all
    }

    /// The scopes by which a token is looked up: in lower case, sorted, without the reserved ones.
    pub fn significant(&self) -> Vec<String> {
        let scopes = self.iter().map(str::to_ascii_lowercase);
        sorted(scopes.filter(|scope| !RESERVED.contains(&scope.as_str())).collect(), str::cmp)
    }
}

/// Texts in order. There are few of them: the standard library's sorts are made for many, and take several kilobytes of
/// code each.
pub(crate) fn sorted(texts: Vec<String>, compare: fn(&str, &str) -> Ordering) -> Vec<String> {
    let mut sorted = Vec::with_capacity(texts.len());
    for text in texts {
        let at = sorted.partition_point(|other: &String| compare(other, &text) != Ordering::Greater);
        sorted.insert(at, text);
    }
    sorted
}

/// The order of .NET's `OrdinalIgnoreCase`: by upper case, so that `_` comes after every letter.
fn compare(a: &str, b: &str) -> Ordering {
    a.bytes().map(|byte| byte.to_ascii_uppercase()).cmp(b.bytes().map(|byte| byte.to_ascii_uppercase()))
}

#[cfg(test)]
mod tests {
    use super::Scopes;

    #[test]
    fn a_request_keeps_its_order_and_drops_repetitions() {
        let scopes = Scopes::new(["r1/Scope2", "r1/scope1", "R1/SCOPE2", " ", "a b"]);
        assert_eq!(scopes.to_request_string(), "r1/Scope2 r1/scope1 a b");
    }

    #[test]
    fn a_target_is_sorted_without_regard_to_case_and_keeps_its_case() {
        assert_eq!(Scopes::from_response("b A  a_ aZ C").sorted_target(), "A aZ a_ b C");
    }

    #[test]
    fn reserved_scopes_are_added_once_in_the_case_of_the_request() {
        assert_eq!(
            Scopes::new(["r1/scope1", "r1/scope2"]).with_reserved_sorted(),
            "offline_access openid profile r1/scope1 r1/scope2"
        );
        assert_eq!(Scopes::new(["X", "Profile"]).with_reserved_sorted(), "offline_access openid Profile X");
    }

    #[test]
    fn offline_access_is_added_only_where_it_is_wanted() {
        let scopes = Scopes::new(["X", "a"]);
        assert_eq!(scopes.with_reserved_sorted_but(true), "a offline_access openid profile X");
        assert_eq!(scopes.with_reserved_sorted_but(false), "a openid profile X");
        assert_eq!(
            Scopes::new(["offline_access"]).with_reserved_sorted_but(false),
            "offline_access openid profile"
        );
    }

    #[test]
    fn reserved_scopes_come_first_for_user_names_and_their_case_counts() {
        assert_eq!(
            Scopes::new(["r1/scope2", "r1/scope1"]).with_reserved_first(),
            "openid offline_access profile r1/scope2 r1/scope1"
        );
        assert_eq!(
            Scopes::new(["b", "profile", "OpenID", "a"]).with_reserved_first(),
            "openid offline_access profile b OpenID a"
        );
    }

    #[test]
    fn a_look_up_leaves_case_order_and_reserved_scopes_out() {
        assert_eq!(Scopes::new(["B", "OpenID", "a", "offline_access"]).significant(), ["a", "b"]);
    }
}
