//! Subjects of certificates as people write them.

use std::fmt;

use x509_parser::x509::X509Name;

/// A distinguished name as text (RFC 4514, and .NET's and OpenSSL's ways to write it): attributes with their values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DistinguishedName(Vec<(String, String)>);

impl DistinguishedName {
    /// Reads `CN=daemon, O="Contoso, Ltd."`: attributes separated by commas, semicolons or line ends, values with
    /// backslashes before special characters or in double quotes, where two of them stand for one. `None` when it is
    /// something else.
    pub fn parse(text: &str) -> Option<Self> {
        let mut attributes = Vec::new();
        let mut rest = text.trim_start();
        while !rest.is_empty() {
            let (name, after) = rest.split_once('=')?;
            let name = name.trim();
            let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ' ');
            if name.is_empty() || !name.chars().all(known) {
                return None;
            }
            let (value, after) = value(after.trim_start())?;
            attributes.push((canonical(name), value));
            rest = after.trim_start();
        }
        (!attributes.is_empty()).then_some(Self(attributes))
    }

    pub(super) fn of(name: &X509Name<'_>) -> Self {
        let attributes = name.iter_attributes().filter_map(|attribute| {
            let value = attribute.as_str().ok()?;
            let oid = attribute.attr_type();
            let registry = x509_parser::objects::oid_registry();
            let name = x509_parser::objects::oid2abbrev(oid, registry)
                .map_or_else(|_| oid.to_id_string(), str::to_owned);
            Some((canonical(&name), value.to_owned()))
        });
        Self(attributes.collect())
    }

    /// Whether it is the same name: .NET writes the attributes in the reverse of the order in which they are encoded.
    pub(super) fn is(&self, other: &Self) -> bool {
        let same = |(one, other): (&(String, String), &(String, String))| {
            one.0 == other.0 && one.1.to_lowercase() == other.1.to_lowercase()
        };
        self.0.len() == other.0.len()
            && (self.0.iter().zip(&other.0).all(same) || self.0.iter().zip(other.0.iter().rev()).all(same))
    }

    /// Whether one of its values contains the text, case ignored.
    pub(super) fn mentions(&self, text: &str) -> bool {
        let text = text.to_lowercase();
        self.0.iter().any(|(_, value)| value.to_lowercase().contains(&text))
    }
}

impl fmt::Display for DistinguishedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, value)) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            let special = |c: char| matches!(c, ',' | ';' | '"' | '\\' | '\n' | '=' | '+') || c.is_control();
            match value.is_empty() || value.contains(special) || value.trim() != value {
                true => {
                    write!(f, "{separator}{name}=\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))?
                }
                false => write!(f, "{separator}{name}={value}")?,
            }
        }
        Ok(())
    }
}

/// A value and what follows the separator behind it.
fn value(text: &str) -> Option<(String, &str)> {
    match text.strip_prefix('"') {
        Some(quoted) => {
            let (value, rest) = quoted_value(quoted)?;
            let rest = rest.trim_start();
            let rest = if rest.is_empty() { rest } else { rest.strip_prefix(SEPARATORS)? };
            Some((value, rest))
        }
        None => plain_value(text),
    }
}

fn quoted_value(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => value.push(characters.next()?.1),
            '"' if characters.next_if(|(_, next)| *next == '"').is_some() => value.push('"'),
            '"' => return Some((value, text.get(at + 1..)?)),
            other => value.push(other),
        }
    }
    None
}

fn plain_value(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    // Blanks at the end count where a backslash says so.
    let mut kept = 0;
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => {
                value.push(characters.next()?.1);
                kept = value.len();
            }
            '"' => return None,
            separator if SEPARATORS.contains(&separator) => {
                trim(&mut value, kept);
                return Some((value, text.get(at + 1..)?));
            }
            other => value.push(other),
        }
    }
    trim(&mut value, kept);
    Some((value, ""))
}

fn trim(value: &mut String, kept: usize) {
    value.truncate(value.trim_end().len().max(kept));
}

/// One name for the several that attributes have (`S` in .NET is `ST`, `E` is `emailAddress`).
fn canonical(name: &str) -> String {
    let name = name.strip_prefix("OID.").unwrap_or(name).to_ascii_uppercase();
    match name.as_str() {
        "S" | "SP" => "ST".to_owned(),
        "E" | "EMAIL" => "EMAILADDRESS".to_owned(),
        "SN" => "SURNAME".to_owned(),
        "G" | "GN" => "GIVENNAME".to_owned(),
        _ => name,
    }
}

const SEPARATORS: [char; 3] = [',', ';', '\n'];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> DistinguishedName {
        DistinguishedName::parse(text).unwrap_or_else(|| panic!("{text}"))
    }

    #[test]
    fn a_name_is_the_same_however_it_is_written() {
        let name = parse("CN=daemon, OU=Payments, O=\"Contoso, Ltd.\", S=WA, C=US");
        for same in [
            "cn=DAEMON,ou=payments,o=Contoso\\, Ltd.,ST=wa,c=us",
            "C=US;S=WA;O=\"Contoso, Ltd.\";OU=Payments;CN=daemon",
            "CN = daemon\nOU = Payments\nO = Contoso\\, Ltd.\nST = WA\nC = US",
        ] {
            assert!(name.is(&parse(same)), "{same}");
        }
        for other in ["CN=daemon", "CN=daemon, OU=Payments, O=Contoso, ST=WA, C=US", "OU=daemon"] {
            assert!(!name.is(&parse(other)), "{other}");
        }
    }

    #[test]
    fn a_part_is_found_in_values_only() {
        let name = parse("CN=daemon.contoso.com, O=Contoso");
        assert!(name.mentions("DAEMON.contoso") && name.mentions("contoso"));
        assert!(!name.mentions("CN=daemon") && !name.mentions("fabrikam"));
    }

    #[test]
    fn what_is_no_name_is_not_read() {
        for text in ["", " ", "daemon", "=daemon", "CN=\"daemon", "CN=a\\", "CN=\"a\"b", "CN=a\"b", "C N!=x"]
        {
            assert_eq!(DistinguishedName::parse(text), None, "{text}");
        }
        assert_eq!(parse("CN=a\\ ").0, [("CN".to_owned(), "a ".to_owned())]);
        assert_eq!(parse("CN=\"say \"\"hi\"\"\"").0, [("CN".to_owned(), "say \"hi\"".to_owned())]);
    }

    proptest! {
        #[test]
        fn a_name_that_is_written_reads_the_same(
            values in proptest::collection::vec(("(CN|O|OU|DC|1\\.2\\.3)", "[ -~é\n]{0,12}"), 1..5)
        ) {
            let name = DistinguishedName(values);
            prop_assert_eq!(DistinguishedName::parse(&name.to_string()), Some(name));
        }
    }
}
