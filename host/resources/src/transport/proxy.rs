use std::fmt;
use std::net::IpAddr;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use zeroize::Zeroizing;

use super::connect_to::{ends_with_ignore_case, split_host_port};
use super::options::TransportOptionsError;
use super::presentation::basic;

/// An HTTP proxy that makes tunnels (RFC 9110 §9.3.6), so that TLS, client certificate included, runs end to end.
///
/// `Debug` shows neither user nor password.
#[derive(Clone)]
pub struct Proxy {
    host: String,
    port: u16,
    /// The whole value of `proxy-authorization`.
    authorization: Option<Zeroizing<Vec<u8>>>,
}

impl Proxy {
    /// Reads `http://[user:password@]host[:port]`, user and password percent-encoded; without a scheme it is `http`,
    /// without a port 80. `source_name` says where the URL is written, for the error.
    ///
    /// # Errors
    ///
    /// [`TransportOptionsError::Proxy`], which doesn't show the URL.
    pub fn parse(url: &str, source_name: &str) -> Result<Self, TransportOptionsError> {
        Self::read(url.trim())
            .map_err(|problem| TransportOptionsError::Proxy { source_name: source_name.to_owned(), problem })
    }

    fn read(url: &str) -> Result<Self, &'static str> {
        let rest = match url.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest,
            Some(_) => return Err("has a scheme other than http"),
            None => url,
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        let (credentials, address) = match authority.rsplit_once('@') {
            Some((credentials, address)) => (Some(credentials), address),
            None => (None, authority),
        };
        let (host, port) = split_host_port(address)?;
        let authorization = credentials.map(proxy_authorization).transpose()?;
        Ok(Self { host: host.to_owned(), port: port.unwrap_or(80), authorization })
    }

    /// The proxy's host and port.
    pub(super) fn address(&self) -> (&str, u16) {
        (&self.host, self.port)
    }

    /// Asks for a tunnel to `target`, a `host:port`.
    pub(super) async fn tunnel<S>(&self, stream: &mut S, target: &str) -> Result<(), TunnelError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        stream.write_all(&self.connect_request(target)).await?;
        let head = read_head(stream).await?;
        match status_of(&head) {
            Some(200..=299) => Ok(()),
            Some(status) => Err(TunnelError::Refused(status)),
            None => Err(TunnelError::NotHttp),
        }
    }

    fn connect_request(&self, target: &str) -> Zeroizing<Vec<u8>> {
        let start = format!("CONNECT {target} HTTP/1.1\r\nhost: {target}\r\n");
        let authorization = self.authorization.as_ref().map_or(&[][..], |value| value);
        let mut request = Zeroizing::new(Vec::with_capacity(start.len() + authorization.len() + 32));
        request.extend_from_slice(start.as_bytes());
        if !authorization.is_empty() {
            request.extend_from_slice(b"proxy-authorization: ");
            request.extend_from_slice(authorization);
            request.extend_from_slice(b"\r\n");
        }
        request.extend_from_slice(b"\r\n");
        request
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy").field("host", &self.host).field("port", &self.port).finish_non_exhaustive()
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// Why there is no tunnel.
#[derive(Debug, thiserror::Error)]
pub(super) enum TunnelError {
    #[error("refused the tunnel with status {0}{hint}", hint = if *.0 == 407 { ": it wants a user and a password" } else { "" })]
    Refused(u16),
    #[error("did not answer with HTTP")]
    NotHttp,
    #[error("closed the connection ({0})")]
    Io(#[from] std::io::Error),
}

/// Hosts that are reached without the environment's proxy or the application's (`NO_PROXY`).
#[derive(Clone, Debug, Default)]
pub(super) struct NoProxy(Vec<Exception>);

#[derive(Clone, Debug)]
struct Exception {
    /// `None` is every host.
    host: Option<String>,
    port: Option<u16>,
}

impl NoProxy {
    /// Reads a list separated by commas, as curl does: `*` is every host, a name is the host and all below it (a
    /// leading dot or `*.` changes nothing), an address is itself, each with or without a port. What is none of these,
    /// such as an address range, matches nothing.
    pub(super) fn parse(list: &str) -> Self {
        Self(
            list.split(',')
                .map(str::trim)
                .filter(|entry| !entry.is_empty())
                .filter_map(Exception::parse)
                .collect(),
        )
    }

    pub(super) fn matches(&self, host: &str, port: u16) -> bool {
        self.0.iter().any(|exception| exception.matches(host, port))
    }
}

impl Exception {
    fn parse(entry: &str) -> Option<Self> {
        if entry == "*" {
            return Some(Self { host: None, port: None });
        }
        let name = entry.strip_prefix('*').unwrap_or(entry);
        let name = name.strip_prefix('.').unwrap_or(name);
        let (host, port) = match name.parse::<IpAddr>() {
            Ok(_) => (name, None),
            Err(_) => split_host_port(name).ok()?,
        };
        Some(Self { host: Some(host.to_owned()), port })
    }

    fn matches(&self, host: &str, port: u16) -> bool {
        let host_matches = self.host.as_deref().is_none_or(|name| {
            let below = ends_with_ignore_case(host, name)
                && host.as_bytes().get(host.len() - name.len() - 1) == Some(&b'.');
            host.eq_ignore_ascii_case(name) || below
        });
        host_matches && self.port.is_none_or(|expected| expected == port)
    }
}

/// Whether no proxy is ever asked for this host: this machine, and link-local addresses, where the metadata service
/// that gives managed identities lives. A proxy would look for both on its own machine.
pub(super) fn is_local(host: &str) -> bool {
    match host.parse::<IpAddr>() {
        Ok(IpAddr::V4(v4)) => v4.is_loopback() || v4.is_link_local() || v4.is_unspecified(),
        Ok(IpAddr::V6(v6)) => v6.is_loopback() || v6.is_unicast_link_local() || v6.is_unspecified(),
        Err(_) => host.eq_ignore_ascii_case("localhost") || ends_with_ignore_case(host, ".localhost"),
    }
}

/// Basic authorization of a URL's `user:password`.
fn proxy_authorization(credentials: &str) -> Result<Zeroizing<Vec<u8>>, &'static str> {
    let decoded = percent_decode(credentials).ok_or("has a malformed percent-encoding")?;
    let pair = match credentials.contains(':') {
        true => decoded,
        false => Zeroizing::new([&decoded[..], b":"].concat()),
    };
    Ok(Zeroizing::new(basic(&pair)))
}

fn percent_decode(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let mut decoded = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut parts = text.split('%');
    decoded.extend_from_slice(parts.next()?.as_bytes());
    for part in parts {
        let digits = part.get(..2).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
        decoded.push(u8::from_str_radix(digits, 16).ok()?);
        decoded.extend_from_slice(part.get(2..)?.as_bytes());
    }
    Some(decoded)
}

/// Reads up to the empty line. In the tunnel the client speaks first, so a proxy that grants it sends nothing beyond;
/// what a refusal says beyond its head isn't wanted.
async fn read_head<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Vec<u8>, TunnelError> {
    const LIMIT: usize = 16 * 1024;
    const END: &[u8] = b"\r\n\r\n";
    let mut head = Vec::with_capacity(1024);
    while !head.windows(END.len()).any(|window| window == END) {
        if head.len() >= LIMIT {
            return Err(TunnelError::NotHttp);
        }
        if stream.read_buf(&mut head).await? == 0 {
            return Err(TunnelError::Io(std::io::ErrorKind::UnexpectedEof.into()));
        }
    }
    Ok(head)
}

/// The status of `HTTP/1.x NNN …`.
fn status_of(head: &[u8]) -> Option<u16> {
    let line = std::str::from_utf8(head.split(|byte| *byte == b'\r').next()?).ok()?;
    let mut words = line.split(' ');
    words.next().filter(|version| version.starts_with("HTTP/1."))?;
    words.next().filter(|status| status.len() == 3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_url_is_read() {
        for (url, expected) in [
            ("http://proxy.example:3128", "proxy.example:3128"),
            ("HTTP://proxy.example/", "proxy.example:80"),
            ("proxy.example:8080", "proxy.example:8080"),
            ("http://[::1]:1", "::1:1"),
            ("http://user:p%40ss@10.0.0.1:3128", "10.0.0.1:3128"),
        ] {
            assert_eq!(Proxy::parse(url, "HTTPS_PROXY").unwrap().to_string(), expected);
        }
    }

    #[test]
    fn user_and_password_are_sent_and_never_shown() {
        let proxy = Proxy::parse("http://user:p%40s%3As@proxy.example", "HTTPS_PROXY").unwrap();
        let request = String::from_utf8(proxy.connect_request("a.example:443").to_vec()).unwrap();
        // base64 of "user:p@s:s"
        assert_eq!(
            request,
            "CONNECT a.example:443 HTTP/1.1\r\nhost: a.example:443\r\nproxy-authorization: Basic dXNlcjpwQHM6cw==\r\n\r\n"
        );
        assert_eq!(format!("{proxy:?}"), r#"Proxy { host: "proxy.example", port: 80, .. }"#);
    }

    #[test]
    fn a_bad_proxy_url_is_an_error_that_names_its_source_and_not_its_password() {
        for url in [
            "https://u:canary@p.example",
            "http://u:canary@",
            "http://u:canary@p.example:x",
            "http://u:canary%4@p",
        ] {
            let error = Proxy::parse(url, "Symbolon:Proxy").unwrap_err().to_string();
            assert!(error.contains("Symbolon:Proxy") && !error.contains("canary"), "{error}");
        }
    }

    #[test]
    fn no_proxy_lists_hosts_suffixes_addresses_and_ports() {
        let list =
            NoProxy::parse("example.com, .corp, *.internal:8443 ,10.0.0.1,[::1]:443,fd00::1,10.1.0.0/16");
        for (host, port, expected) in [
            ("example.com", 443, true),
            ("LOGIN.Example.com", 443, true),
            ("badexample.com", 443, false),
            ("corp", 443, true),
            ("a.corp", 443, true),
            ("a.internal", 8443, true),
            ("a.internal", 443, false),
            ("10.0.0.1", 443, true),
            ("10.0.0.10", 443, false),
            ("::1", 443, true),
            ("::1", 8443, false),
            ("fd00::1", 1, true),
            ("10.1.2.3", 443, false),
        ] {
            assert_eq!(list.matches(host, port), expected, "{host}:{port}");
        }
        assert!(NoProxy::parse("a, *").matches("anything", 1));
        assert!(!NoProxy::parse("").matches("anything", 1));
    }

    #[test]
    fn local_hosts_are_never_proxied() {
        for (host, expected) in [
            ("localhost", true),
            ("a.localhost", true),
            ("127.8.8.8", true),
            ("::1", true),
            ("169.254.169.254", true),
            ("fe80::1", true),
            ("10.0.0.1", false),
            ("example.com", false),
        ] {
            assert_eq!(is_local(host), expected, "{host}");
        }
    }

    #[test]
    fn a_status_line_is_read_strictly() {
        assert_eq!(status_of(b"HTTP/1.1 200 OK\r\n\r\n"), Some(200));
        assert_eq!(status_of(b"HTTP/1.0 407\r\n\r\n"), Some(407));
        assert_eq!(status_of(b"SSH-2.0-x\r\n\r\n"), None);
        assert_eq!(status_of(b"HTTP/1.1 2000\r\n\r\n"), None);
    }
}
