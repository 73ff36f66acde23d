use std::fmt;
use std::path::{Path, PathBuf};

/// Which private key of which token of PKCS#11 is meant, as a URI (RFC 7512):
/// `pkcs11:token=daemon;object=key?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=/run/secrets/pin`.
///
/// `token` or `serial` names the token, if there are several; `object` (the label), `id` or both name the key;
/// `module-path` is the library of the token's maker. The PIN is in the file `pin-source`, or is given apart; never in the
/// URI, which is shown in messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pkcs11Uri {
    pub(super) token: Option<String>,
    pub(super) serial: Option<String>,
    pub(super) object: Option<String>,
    pub(super) id: Option<Vec<u8>>,
    pub(super) module: PathBuf,
    pub(super) pin_source: Option<PathBuf>,
    text: String,
}

impl Pkcs11Uri {
    /// Reads a URI. `None` when it is something else, names no key or no module, or has an attribute that isn't understood:
    /// ignored, it might be another key.
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("pkcs11:")?;
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut path = attributes(path, ';')?;
        let mut query = attributes(query, '&')?;
        let uri = Self {
            token: text_of(&mut path, "token")?,
            serial: text_of(&mut path, "serial")?,
            object: text_of(&mut path, "object")?,
            id: take(&mut path, "id"),
            module: absolute(text_of(&mut query, "module-path")??)?,
            pin_source: match text_of(&mut query, "pin-source")? {
                Some(source) => {
                    Some(absolute(source.strip_prefix("file:").map(str::to_owned).unwrap_or(source))?)
                }
                None => None,
            },
            text: text.to_owned(),
        };
        let is_private_key = take(&mut path, "type").is_none_or(|kind| kind == b"private");
        let is_all = path.is_empty() && query.is_empty();
        (is_private_key && is_all && (uri.object.is_some() || uri.id.is_some())).then_some(uri)
    }
}

impl fmt::Display for Pkcs11Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Names and decoded values, each name once.
fn attributes(text: &str, separator: char) -> Option<Vec<(&str, Vec<u8>)>> {
    let mut attributes: Vec<(&str, Vec<u8>)> = Vec::new();
    for attribute in text.split(separator).filter(|attribute| !attribute.is_empty()) {
        let (name, value) = attribute.split_once('=')?;
        if attributes.iter().any(|(known, _)| *known == name) {
            return None;
        }
        attributes.push((name, decoded(value)?));
    }
    Some(attributes)
}

fn take(attributes: &mut Vec<(&str, Vec<u8>)>, name: &str) -> Option<Vec<u8>> {
    let index = attributes.iter().position(|(known, _)| *known == name)?;
    Some(attributes.swap_remove(index).1)
}

/// `None` when it is there and isn't text.
fn text_of(attributes: &mut Vec<(&str, Vec<u8>)>, name: &str) -> Option<Option<String>> {
    match take(attributes, name) {
        Some(value) => String::from_utf8(value).ok().map(Some),
        None => Some(None),
    }
}

fn absolute(path: String) -> Option<PathBuf> {
    Path::new(&path).is_absolute().then(|| PathBuf::from(path))
}

fn decoded(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = match (first, tail) {
            (b'%', [high, low, tail @ ..]) => {
                let digit = |digit: u8| char::from(digit).to_digit(16);
                bytes.push(u8::try_from(digit(*high)? << 4 | digit(*low)?).ok()?);
                tail
            }
            (b'%', _) => return None,
            (other, tail) => {
                bytes.push(*other);
                tail
            }
        };
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_uri_names_a_key_and_a_module() {
        let text = "pkcs11:token=my%20token;object=key;id=%00%ff;type=private?module-path=/lib/p11.so&pin-source=file:/run/pin";
        let uri = Pkcs11Uri::parse(text).unwrap();
        assert_eq!((uri.token.as_deref(), uri.object.as_deref()), (Some("my token"), Some("key")));
        assert_eq!((uri.id.as_deref(), uri.module.to_str()), (Some(&[0, 255][..]), Some("/lib/p11.so")));
        assert_eq!((uri.pin_source.unwrap().to_str(), uri.serial), (Some("/run/pin"), None));
        let least = Pkcs11Uri::parse("pkcs11:object=key?module-path=/lib/p11.so").unwrap();
        assert_eq!((least.token, least.pin_source), (None, None));
    }

    #[test]
    fn what_may_be_another_key_is_not_read() {
        for text in [
            "pkcs11:object=key",
            "pkcs11:token=t?module-path=/lib/p11.so",
            "pkcs11:object=key?module-path=lib/p11.so",
            "pkcs11:object=key;type=cert?module-path=/lib/p11.so",
            "pkcs11:object=key;slot-id=1?module-path=/lib/p11.so",
            "pkcs11:object=key?module-path=/lib/p11.so&pin-value=1234",
            "pkcs11:object=a;object=b?module-path=/lib/p11.so",
            "pkcs11:object=%zz?module-path=/lib/p11.so",
            "pkcs11:object=%a?module-path=/lib/p11.so",
            "pkcs11:object=%ff?module-path=/lib/p11.so",
            "PKCS11:object=key?module-path=/lib/p11.so",
            "",
        ] {
            assert_eq!(Pkcs11Uri::parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in "(pkcs11:)?[a-z=;?&%/0-9é-]{0,60}") {
            let _ = Pkcs11Uri::parse(&text);
        }

        #[test]
        fn any_id_survives(id in proptest::collection::vec(any::<u8>(), 1..20)) {
            let encoded: String = id.iter().map(|byte| format!("%{byte:02x}")).collect();
            let uri = Pkcs11Uri::parse(&format!("pkcs11:id={encoded}?module-path=/m")).unwrap();
            prop_assert_eq!(uri.id, Some(id));
        }
    }
}
