//! Where the sidecar is reached, and by whom: `Symbolon:Sidecar`.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use rustls::ServerConfig;

use super::error::quoted;
use super::reader::{Findings, Section};
use super::server_tls;
use super::sidecar::refuse_unknown;

/// Where the sidecar listens, and what of the machine it may have.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct ServerSettings {
    /// `Listen`, one or more addresses. Where there is none, [`ListenAddress::DEFAULT`] is meant.
    pub listen: Vec<ListenAddress>,
    /// `HealthListen`: an address, on any network, that answers for its health and with its metrics, and nothing else. The
    /// default is none.
    pub health_listen: Option<SocketAddr>,
    /// `Tls`: what addresses `tls:` listen with.
    pub tls: Option<TlsSettings>,
    /// What is in those files.
    pub tls_config: Option<Arc<ServerConfig>>,
    /// `AllowedUids`: the users whose processes may connect to sockets `unix:`. The default is the sidecar's own user.
    pub allowed_uids: Vec<u32>,
    /// `AllowTrace`: whether the traces of the latest acquisitions are kept, and shown to callers of this machine. The
    /// default is no.
    pub allow_trace: bool,
    /// `Landlock`: whether the process gives up all files but those that it needs. Linux only. The default is no.
    pub landlock: bool,
    /// `LandlockReadable`: files and directories that it needs beside those that the configuration names.
    pub landlock_readable: Vec<PathBuf>,
    /// `LandlockWritable`: those that it writes to.
    pub landlock_writable: Vec<PathBuf>,
}

/// What a listener with TLS has. All files are PEM, and are read again when they change.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsSettings {
    /// `CertificateDiskPath`: its certificate, with the chain behind it.
    pub certificate: PathBuf,
    /// `CertificateKeyDiskPath`: the private key. The default is the certificate's file.
    pub key: PathBuf,
    /// `ClientCaDiskPath`: who signs the certificates of those who may call. Without it nobody is asked for one.
    pub client_ca: Option<PathBuf>,
}

/// Where to listen: `127.0.0.1:5000` or `[::1]:5000`, a loopback address; `tls:ADDR:PORT`; `unix:PATH`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ListenAddress {
    /// Without TLS. Only for callers of this machine.
    Tcp(SocketAddr),
    /// With TLS.
    Tls(SocketAddr),
    /// A socket of the file system.
    Unix(PathBuf),
}

impl ListenAddress {
    /// Where the Entra ID SDK's sidecar listens.
    pub const DEFAULT: [Self; 2] = {
        use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
        [
            Self::Tcp(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 5000)),
            Self::Tcp(SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), 5000)),
        ]
    };

    /// What text is accepted.
    pub const ACCEPTED: &str =
        "ADDR:PORT with a loopback address, such as 127.0.0.1:5000 or [::1]:5000; tls:ADDR:PORT; unix:PATH";

    /// What is wrong with listening there: other machines are let in by their certificates only.
    ///
    /// # Errors
    ///
    /// What was found, then what is accepted.
    pub fn check(&self, tls: Option<&TlsSettings>) -> Result<(), (String, &'static str)> {
        let found = format!("\"{self}\"");
        match self {
            Self::Tcp(address) if !address.ip().is_loopback() => Err((
                format!("{found}, which other machines can reach without TLS"),
                "a loopback address (127.0.0.1:5000, [::1]:5000); unix:PATH; or tls:ADDR:PORT with \
                 Symbolon:Sidecar:Tls:ClientCaDiskPath, which lets in who has a certificate",
            )),
            Self::Tls(_) if tls.is_none() => Err((
                format!("{found}, and no section Symbolon:Sidecar:Tls"),
                "Symbolon:Sidecar:Tls with CertificateDiskPath, CertificateKeyDiskPath and ClientCaDiskPath",
            )),
            Self::Tls(address)
                if !address.ip().is_loopback() && tls.is_none_or(|tls| tls.client_ca.is_none()) =>
            {
                Err((
                    format!("{found}, which other machines can reach without a certificate"),
                    "Symbolon:Sidecar:Tls:ClientCaDiskPath, or a loopback address",
                ))
            }
            _ => Ok(()),
        }
    }
}

impl FromStr for ListenAddress {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let address = |text: &str| text.parse::<SocketAddr>().map_err(|_| ());
        match text.split_once(':') {
            Some(("unix", path)) if !path.is_empty() => Ok(Self::Unix(PathBuf::from(path))),
            Some(("tls", text)) => address(text).map(Self::Tls),
            _ => address(text).map(Self::Tcp),
        }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Tls(address) => write!(f, "tls:{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Reads what of `Symbolon:Sidecar` holds for the whole process. Relative paths start at `directory`.
pub(super) fn read(own: Option<&Section<'_>>, directory: &Path, findings: &mut Findings) -> ServerSettings {
    let Some(own) = own else { return ServerSettings::default() };
    let tls = own.object("Tls", findings).and_then(|tls| tls_settings(&tls, directory, findings));
    let mut settings =
        ServerSettings { listen: listen(own, directory, tls.as_ref(), findings), ..Default::default() };
    settings.tls_config = tls.as_ref().and_then(|tls| {
        let loaded = server_tls::load(tls).inspect_err(|(key, found, accepted)| {
            let place = own.place_of("Tls").child(key);
            findings.problem(place, found.as_str(), *accepted);
        });
        loaded.ok()
    });
    settings.tls = tls;
    settings.health_listen = own.text("HealthListen", findings).and_then(|text| {
        let address = text.value.parse().ok();
        if address.is_none() {
            findings.problem(text.place, quoted(&text.value), "ADDR:PORT, such as 0.0.0.0:5001");
        }
        address
    });
    for uid in own.scalars_of("AllowedUids", findings) {
        match uid.value.parse() {
            Ok(uid) => settings.allowed_uids.push(uid),
            Err(_) => findings.problem(uid.place, quoted(&uid.value), "the number of a user, such as 1000"),
        }
    }
    settings.allow_trace = own.flag("AllowTrace", findings).unwrap_or_default();
    settings.landlock = own.flag("Landlock", findings).unwrap_or_default();
    let mut paths = |key| {
        let paths = own.texts(key, findings).into_iter();
        paths.map(|path| directory.join(path.value)).collect()
    };
    settings.landlock_readable = paths("LandlockReadable");
    settings.landlock_writable = paths("LandlockWritable");
    settings
}

/// What holds where nobody says anything, by key.
pub(super) fn defaults(settings: &ServerSettings) -> Vec<(&'static str, String)> {
    let listen = ListenAddress::DEFAULT.map(|address| address.to_string());
    vec![
        ("Symbolon:Sidecar:Listen", listen.join(", ")),
        ("Symbolon:Sidecar:HealthListen", "nowhere".to_owned()),
        ("Symbolon:Sidecar:AllowedUids", "its own user".to_owned()),
        ("Symbolon:Sidecar:AllowTrace", settings.allow_trace.to_string()),
        ("Symbolon:Sidecar:Landlock", settings.landlock.to_string()),
    ]
}

fn listen(
    own: &Section<'_>,
    directory: &Path,
    tls: Option<&TlsSettings>,
    findings: &mut Findings,
) -> Vec<ListenAddress> {
    let mut addresses = Vec::new();
    for text in own.scalars_of("Listen", findings) {
        let Ok(address) = text.value.parse::<ListenAddress>() else {
            findings.problem(text.place, quoted(&text.value), ListenAddress::ACCEPTED);
            continue;
        };
        let address = match address {
            ListenAddress::Unix(path) => ListenAddress::Unix(directory.join(path)),
            address => address,
        };
        match address.check(tls) {
            // What is wrong with the section itself is said there.
            Err(_) if own.has("Tls") && tls.is_none() && matches!(address, ListenAddress::Tls(_)) => {}
            Err((found, accepted)) => findings.problem(text.place, found, accepted),
            Ok(()) => addresses.push(address),
        }
    }
    addresses
}

fn tls_settings(section: &Section<'_>, directory: &Path, findings: &mut Findings) -> Option<TlsSettings> {
    refuse_unknown(section, &TLS, findings);
    let [certificate, key, client_ca] =
        TLS.map(|key| section.text(key, findings).map(|path| directory.join(path.value)));
    if certificate.is_none() && !section.has(TLS[0]) {
        findings.problem(section.place(), "no CertificateDiskPath", "the path of a PEM file");
    }
    let certificate = certificate?;
    Some(TlsSettings { key: key.unwrap_or_else(|| certificate.clone()), certificate, client_ca })
}

pub(super) const TLS: [&str; 3] = ["CertificateDiskPath", "CertificateKeyDiskPath", "ClientCaDiskPath"];

/// The keys of `Symbolon:Sidecar` that hold for the whole process.
pub(super) const KEYS: [&str; 8] = [
    "AllowTrace",
    "AllowedUids",
    "HealthListen",
    "Landlock",
    "LandlockReadable",
    "LandlockWritable",
    "Listen",
    "Tls",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn tls(client_ca: Option<&str>) -> TlsSettings {
        let path = || PathBuf::from("server.pem");
        TlsSettings { certificate: path(), key: path(), client_ca: client_ca.map(PathBuf::from) }
    }

    #[test]
    fn an_address_is_read_as_it_is_written() {
        for text in ["127.0.0.1:5000", "[::1]:0", "tls:0.0.0.0:5443", "unix:/run/sidecar.sock", "unix:a:b"] {
            assert_eq!(text.parse::<ListenAddress>().map(|address| address.to_string()), Ok(text.to_owned()));
        }
        for text in ["", "5000", "localhost:5000", "127.0.0.1", "unix:", "tls:", "http://127.0.0.1:1"] {
            assert_eq!(text.parse::<ListenAddress>(), Err(()), "{text}");
        }
    }

    #[test]
    fn other_machines_are_let_in_by_their_certificates_only() {
        let (with_ca, without) = (tls(Some("ca.pem")), tls(None));
        for (text, tls, is_accepted) in [
            ("127.0.0.1:1", None, true),
            ("[::1]:1", None, true),
            ("unix:/a", None, true),
            ("0.0.0.0:1", None, false),
            ("[::]:1", None, false),
            ("192.0.2.1:1", Some(&with_ca), false),
            ("tls:127.0.0.1:1", None, false),
            ("tls:127.0.0.1:1", Some(&without), true),
            ("tls:0.0.0.0:1", Some(&without), false),
            ("tls:0.0.0.0:1", Some(&with_ca), true),
        ] {
            let address: ListenAddress = text.parse().unwrap();
            assert_eq!(address.check(tls).is_ok(), is_accepted, "{text}");
        }
    }
}
