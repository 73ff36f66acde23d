//! Where a call goes.

use std::fmt::Write as _;

use ::url::Url;
use http::Uri;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Base URL and path with one slash between them, also where the path is empty: as Microsoft.Identity.Web does.
pub(super) fn join(base: &str, path: &str) -> String {
    format!("{}/{}", base.trim_end_matches('/'), path.trim_start_matches('/'))
}

/// Appends parameters to the query of a URL, percent-encoded.
pub(super) fn push_query<'a>(url: &mut String, parameters: impl IntoIterator<Item = (&'a str, &'a str)>) {
    let fragment = url.find('#').map(|start| url.split_off(start));
    for (name, value) in parameters {
        let separator = match url.find('?') {
            None => "?",
            Some(_) if url.ends_with(['?', '&']) => "",
            Some(_) => "&",
        };
        let (name, value) = (encoded(name), encoded(value));
        // Writing to a string doesn't fail.
        let _ = write!(url, "{separator}{name}={value}");
    }
    url.extend(fragment);
}

/// The URL as it is sent. What is written as nobody may write it (spaces, other scripts, dots for steps up) is put right
/// as the URL standard says.
pub(super) fn parse(url: String) -> Option<Uri> {
    let is_plain = !url.contains("/.") && !url.contains('#') && url.is_ascii();
    if is_plain && let Ok(uri) = Uri::try_from(&url) {
        return Some(uri);
    }
    let mut url = Url::parse(&url).ok()?;
    url.set_fragment(None);
    Uri::try_from(String::from(url)).ok()
}

fn encoded(text: &str) -> percent_encoding::PercentEncode<'_> {
    utf8_percent_encode(text, RESERVED)
}

/// All but the unreserved characters (RFC 3986 §2.3).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_slash_between_base_and_path() {
        for (base, path, expected) in [
            ("https://h", "a", "https://h/a"),
            ("https://h/", "/a", "https://h/a"),
            ("https://h///", "//a/b/", "https://h/a/b/"),
            ("https://h/v1", "", "https://h/v1/"),
            ("https://h", "https://other/", "https://h/https://other/"),
            ("https://h", "@other", "https://h/@other"),
        ] {
            assert_eq!(join(base, path), expected);
        }
    }

    #[test]
    fn parameters_follow_the_query_that_is_there() {
        let pushed = |url: &str, parameters: &[(&str, &str)]| {
            let mut url = url.to_owned();
            push_query(&mut url, parameters.iter().copied());
            url
        };
        assert_eq!(pushed("https://h/a", &[]), "https://h/a");
        assert_eq!(
            pushed("https://h/a", &[("k", "value with spaces & symbols")]),
            "https://h/a?k=value%20with%20spaces%20%26%20symbols"
        );
        assert_eq!(
            pushed("https://h/a?x=1", &[("a b", "ä"), ("-._~", "+")]),
            "https://h/a?x=1&a%20b=%C3%A4&-._~=%2B"
        );
        assert_eq!(pushed("https://h/a?#part", &[("k", "v")]), "https://h/a?k=v#part");
    }

    #[test]
    fn what_nobody_may_write_is_put_right() {
        let parsed = |url: &str| parse(url.to_owned()).map(|uri| uri.to_string());
        for (url, expected) in [
            ("https://h/a?b=%20c", "https://h/a?b=%20c"),
            ("https://h/a b", "https://h/a%20b"),
            ("https://h/ä?ö", "https://h/%C3%A4?%C3%B6"),
            ("https://h/a/../b/./c", "https://h/b/c"),
            ("https://h/a#part", "https://h/a"),
        ] {
            assert_eq!(parsed(url).as_deref(), Some(expected), "{url}");
        }
        assert_eq!(parsed("not a URL"), None);
    }
}
