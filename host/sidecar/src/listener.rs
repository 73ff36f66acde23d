//! Where callers come in.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use symbolon_resources::configuration::ListenAddress;
use tokio::net::TcpListener;
#[cfg(unix)]
use tokio::net::UnixListener;

/// A socket that callers connect to.
#[derive(Debug)]
pub struct Listener {
    address: ListenAddress,
    pub(crate) socket: Socket,
    pub(crate) purpose: Purpose,
}

#[derive(Debug)]
pub(crate) enum Socket {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(UnixSocket),
}

/// What is answered on a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Everything,
    Health,
}

/// Why nobody can be listened to there.
#[derive(Debug, thiserror::Error)]
#[error("can't listen on {address}: {problem}")]
pub struct ListenError {
    address: String,
    problem: String,
    kind: io::ErrorKind,
}

impl ListenError {
    /// What the system said.
    pub fn kind(&self) -> io::ErrorKind {
        self.kind
    }
}

impl Listener {
    /// Listens there. What is left of a socket of the file system that nobody listens to is replaced.
    ///
    /// `allowed_uids` are the users whose processes may connect to that: where there is none, the process's own user, and
    /// nobody else has access to the file.
    ///
    /// # Errors
    ///
    /// [`ListenError`], such as for an address that is in use.
    pub async fn bind(address: &ListenAddress, allowed_uids: &[u32]) -> Result<Self, ListenError> {
        let (socket, address) = match address {
            ListenAddress::Tcp(wanted) => {
                let (listener, bound) = tcp(*wanted).await.map_err(|error| failed(address, error))?;
                (Socket::Tcp(listener), ListenAddress::Tcp(bound))
            }
            ListenAddress::Tls(wanted) => {
                let (listener, bound) = tcp(*wanted).await.map_err(|error| failed(address, error))?;
                (Socket::Tcp(listener), ListenAddress::Tls(bound))
            }
            #[cfg(unix)]
            ListenAddress::Unix(path) => {
                let socket = UnixSocket::bind(path, allowed_uids).await;
                (Socket::Unix(socket.map_err(|error| failed(address, error))?), address.clone())
            }
            _ => {
                let _ = allowed_uids;
                return Err(failed(address, io::Error::from(io::ErrorKind::Unsupported)));
            }
        };
        Ok(Self { address, socket, purpose: Purpose::Everything })
    }

    /// Listens, on any network, for questions about health and for those who collect metrics, and answers nothing else.
    ///
    /// # Errors
    ///
    /// [`ListenError`], such as for an address that is in use.
    pub async fn bind_for_health(address: SocketAddr) -> Result<Self, ListenError> {
        let wanted = ListenAddress::Tcp(address);
        let (listener, bound) = tcp(address).await.map_err(|error| failed(&wanted, error))?;
        let address = ListenAddress::Tcp(bound);
        Ok(Self { address, socket: Socket::Tcp(listener), purpose: Purpose::Health })
    }

    /// Where it listens: with the port that it has, where any would do.
    pub fn address(&self) -> &ListenAddress {
        &self.address
    }

    /// Whether it answers for health and with metrics, and nothing else.
    pub fn is_for_health(&self) -> bool {
        self.purpose == Purpose::Health
    }

    pub(crate) fn has_tls(&self) -> bool {
        matches!(self.address, ListenAddress::Tls(_))
    }
}

async fn tcp(address: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address).await?;
    let bound = listener.local_addr()?;
    Ok((listener, bound))
}

fn failed(address: &ListenAddress, error: io::Error) -> ListenError {
    ListenError { address: address.to_string(), problem: error.to_string(), kind: error.kind() }
}

/// A socket of the file system, which is removed at the end.
#[cfg(unix)]
#[derive(Debug)]
pub(crate) struct UnixSocket {
    pub(crate) listener: UnixListener,
    path: PathBuf,
    allowed_uids: Vec<u32>,
}

#[cfg(unix)]
impl UnixSocket {
    async fn bind(path: &Path, allowed_uids: &[u32]) -> io::Result<Self> {
        use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
        remove_stale(path).await?;
        let listener = UnixListener::bind(path)?;
        // Until then, and where others may connect, it is their user that counts.
        let mode = if allowed_uids.is_empty() { 0o600 } else { 0o666 };
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
        let allowed_uids = match allowed_uids {
            [] => vec![std::fs::symlink_metadata(path)?.uid()],
            uids => uids.to_vec(),
        };
        Ok(Self { listener, path: path.to_path_buf(), allowed_uids })
    }

    /// Whether processes of this user may ask.
    pub(crate) fn allows(&self, uid: u32) -> bool {
        self.allowed_uids.contains(&uid)
    }
}

#[cfg(unix)]
impl Drop for UnixSocket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Removes a socket that nobody listens to any more. Anything else stays.
#[cfg(unix)]
async fn remove_stale(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::FileTypeExt as _;
    let Ok(metadata) = std::fs::symlink_metadata(path) else { return Ok(()) };
    if !metadata.file_type().is_socket() {
        let problem = "there is something else than a socket; accepted: a path where nothing is yet";
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, problem));
    }
    match tokio::net::UnixStream::connect(path).await {
        Ok(_) => Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens there")),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path),
        Err(error) => Err(error),
    }
}
