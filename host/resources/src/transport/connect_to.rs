use super::options::TransportOptionsError;

/// Where to connect instead, as curl's `--connect-to` does: the URL, the `host` header and the name in TLS stay.
///
/// The closest rule wins: a host before a wildcard, a longer wildcard before a shorter one, a rule with a port before
/// one without.
#[derive(Clone, Debug, Default)]
pub struct ConnectTo(Vec<Rule>);

#[derive(Clone, Debug)]
struct Rule {
    from: Pattern,
    port: Option<u16>,
    to_host: String,
    /// The URL's own port where there is none.
    to_port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Pattern {
    /// With its dot, as in `.example.com`.
    Suffix(String),
    Host(String),
}

impl ConnectTo {
    /// Reads entries that map `host[:port]` or `*.suffix[:port]` to `host[:port]`, where the host on either side may
    /// be an address (IPv6 in brackets). Without a port on the left every port matches; without one on the right the
    /// port stays.
    ///
    /// # Errors
    ///
    /// [`TransportOptionsError::ConnectTo`] names the entry.
    pub fn parse<'a>(
        entries: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, TransportOptionsError> {
        let mut rules = Vec::new();
        for (from, to) in entries {
            rules.push(Rule::parse(from, to).map_err(|problem| {
                let (from, to) = (from.to_owned(), to.to_owned());
                TransportOptionsError::ConnectTo { from, to, problem }
            })?);
        }
        rules.sort_by_key(|rule| std::cmp::Reverse(rule.closeness()));
        Ok(Self(rules))
    }

    /// The rules as they are written, closest first: from where, and to where.
    pub fn rules(&self) -> impl Iterator<Item = (String, String)> {
        self.0.iter().map(Rule::written)
    }

    /// Where to connect for this host and port, both as in the URL; `None` is to the host itself.
    pub(super) fn target(&self, host: &str, port: u16) -> Option<(&str, u16)> {
        let rule = self.0.iter().find(|rule| rule.matches(host, port))?;
        Some((&rule.to_host, rule.to_port.unwrap_or(port)))
    }
}

impl Rule {
    fn parse(from: &str, to: &str) -> Result<Self, &'static str> {
        let (host, port) = split_host_port(from)?;
        let (to_host, to_port) = split_host_port(to)?;
        let host = host.to_ascii_lowercase();
        let from = match host.strip_prefix('*') {
            Some(suffix) if suffix.len() > 1 && suffix.starts_with('.') => Pattern::Suffix(suffix.to_owned()),
            Some(_) => return Err("a wildcard stands alone in front of a dot"),
            None => Pattern::Host(host),
        };
        let name = match &from {
            Pattern::Suffix(name) | Pattern::Host(name) => name,
        };
        if name.contains('*') || to_host.contains('*') {
            return Err("a wildcard stands at the beginning of the left side");
        }
        Ok(Self { from, port, to_host: to_host.to_owned(), to_port })
    }

    fn matches(&self, host: &str, port: u16) -> bool {
        let host_matches = match &self.from {
            Pattern::Host(name) => host.eq_ignore_ascii_case(name),
            Pattern::Suffix(suffix) => ends_with_ignore_case(host, suffix),
        };
        host_matches && self.port.is_none_or(|expected| expected == port)
    }

    fn written(&self) -> (String, String) {
        let from = match &self.from {
            Pattern::Suffix(suffix) => format!("*{suffix}"),
            Pattern::Host(host) => host.clone(),
        };
        (join_host_port(&from, self.port), join_host_port(&self.to_host, self.to_port))
    }

    fn closeness(&self) -> (bool, usize, bool) {
        let (exact, length) = match &self.from {
            Pattern::Host(name) => (true, name.len()),
            Pattern::Suffix(suffix) => (false, suffix.len()),
        };
        (exact, length, self.port.is_some())
    }
}

/// Whether `host` is longer than `suffix` and ends with it.
pub(super) fn ends_with_ignore_case(host: &str, suffix: &str) -> bool {
    let start = host.len().checked_sub(suffix.len()).filter(|start| *start > 0);
    start.and_then(|start| host.get(start..)).is_some_and(|end| end.eq_ignore_ascii_case(suffix))
}

/// Splits `host`, `host:port`, `[v6]` or `[v6]:port`; the host comes without brackets.
pub(super) fn split_host_port(text: &str) -> Result<(&str, Option<u16>), &'static str> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']').ok_or("the bracket is not closed")?;
            let port = match after {
                "" => None,
                _ => Some(after.strip_prefix(':').ok_or("something other than a port follows the bracket")?),
            };
            (host, port)
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let is_address = host.parse::<std::net::IpAddr>().is_ok();
    let is_name = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._*".contains(&byte));
    if host.is_empty() || !(is_address || is_name) {
        return Err("the host is neither a name nor an address");
    }
    let port = port.map(|port| {
        port.parse().ok().filter(|port| *port != 0).ok_or("the port is not a number from 1 to 65535")
    });
    Ok((host, port.transpose()?))
}

/// What [`split_host_port`] splits.
fn join_host_port(host: &str, port: Option<u16>) -> String {
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    port.map_or_else(|| host.clone(), |port| format!("{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closest_rule_wins() {
        let rules = ConnectTo::parse([
            ("*.com", "1.1.1.1:1"),
            ("*.example.com", "2.2.2.2"),
            ("login.example.com", "other.example:3"),
            ("login.example.com:8443", "[::1]:4"),
        ])
        .unwrap();
        let cases = [
            ("login.example.com", 443, Some(("other.example", 3))),
            ("LOGIN.example.com", 8443, Some(("::1", 4))),
            ("a.b.example.com", 443, Some(("2.2.2.2", 443))),
            ("example.com", 443, Some(("1.1.1.1", 1))),
            ("com", 443, None),
            ("example.org", 443, None),
        ];
        for (host, port, expected) in cases {
            assert_eq!(rules.target(host, port), expected, "{host}:{port}");
        }
    }

    #[test]
    fn rules_are_given_back_as_they_are_written() {
        let written = [("[::1]:8443", "[::2]:4"), ("login.example.com", "other.example:3"), ("*.com:1", "a")];
        let rules = ConnectTo::parse(written).unwrap();
        let rules: Vec<_> = rules.rules().collect();
        let expected = ["login.example.com", "[::1]:8443", "*.com:1"];
        assert_eq!(rules.iter().map(|(from, _)| from.as_str()).collect::<Vec<_>>(), expected);
        for (from, to) in written {
            assert!(rules.contains(&(from.to_owned(), to.to_owned())), "{rules:?}");
        }
    }

    #[test]
    fn what_is_no_host_and_port_is_an_error() {
        for (from, to) in [
            ("", "a"),
            ("a", ""),
            ("a:x", "b"),
            ("a:0", "b"),
            ("a:70000", "b"),
            ("a", "http://b"),
            ("*", "b"),
            ("*a.com", "b"),
            ("a.*.com", "b"),
            ("a", "*.b"),
            ("::1", "b"),
            ("[::1", "b"),
            ("[::1]x", "b"),
            ("a/b", "c"),
        ] {
            let error = ConnectTo::parse([(from, to)]).unwrap_err().to_string();
            assert!(error.contains(&format!("`{from}`: `{to}`")), "{error}");
        }
    }
}
