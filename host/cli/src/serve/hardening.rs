//! What the process gives up before it begins.

use std::path::{Path, PathBuf};

use symbolon::Settings;
use symbolon_resources::configuration::{ListenAddress, ServerSettings};

use crate::failure::Failure;

/// No core dumps, which would hold keys and tokens; on Linux, no memory for debuggers of the same user, and no new
/// privileges; and with `Symbolon:Sidecar:Landlock` no files but those that it needs.
pub(super) fn apply(
    config: &Path,
    settings: &Settings,
    server: &ServerSettings,
    addresses: &[ListenAddress],
) -> Result<(), Failure> {
    #[cfg(unix)]
    without_core_dumps()?;
    #[cfg(target_os = "linux")]
    linux::apply()?;
    if !server.landlock {
        return Ok(());
    }
    let files = Files::new(config, settings, server, addresses);
    #[cfg(target_os = "linux")]
    return linux::restrict(&files);
    #[cfg(not(target_os = "linux"))]
    {
        drop(files);
        Err(Failure::configuration(
            "Symbolon:Sidecar:Landlock: found true; accepted: false, where there is no Linux",
        ))
    }
}

#[cfg(unix)]
fn without_core_dumps() -> Result<(), Failure> {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    setrlimit(Resource::Core, none)
        .map_err(|error| Failure::internal(format!("core dumps can't be turned off: {error}")))
}

/// What of the file system the process needs.
#[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "there is nothing that it could be told"))]
struct Files {
    readable: Vec<PathBuf>,
    writable: Vec<PathBuf>,
}

impl Files {
    fn new(config: &Path, settings: &Settings, server: &ServerSettings, addresses: &[ListenAddress]) -> Self {
        // A file may be replaced, which is seen in its directory only.
        let mut readable: Vec<_> = settings.files().iter().map(|file| directory_of(file)).collect();
        readable.push(directory_of(config));
        readable.extend(SYSTEM.iter().map(PathBuf::from));
        for variable in ["SSL_CERT_FILE", "SSL_CERT_DIR", "AZURE_FEDERATED_TOKEN_FILE"] {
            let named = std::env::var_os(variable);
            readable.extend(named.iter().flat_map(std::env::split_paths).map(|path| directory_of(&path)));
        }
        readable.extend(server.landlock_readable.iter().cloned());
        let mut writable = server.landlock_writable.clone();
        writable.extend(addresses.iter().filter_map(|address| match address {
            ListenAddress::Unix(path) => Some(directory_of(path)),
            _ => None,
        }));
        Self { readable, writable }
    }
}

/// The directory itself where it is one.
fn directory_of(path: &Path) -> PathBuf {
    match path.parent() {
        _ if path.is_dir() => path.to_path_buf(),
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    }
}

/// Names of hosts and services, root certificates, the time zone; the libraries that those need; entropy, and what the
/// process is told of itself.
const SYSTEM: [&str; 7] = ["/etc", "/usr", "/lib", "/lib64", "/proc", "/dev", "/run/systemd"];

#[cfg(target_os = "linux")]
mod linux {
    use landlock::{
        ABI, Access as _, AccessFs, RestrictSelf, Ruleset, RulesetAttr as _, RulesetCreatedAttr as _,
        RulesetError, RulesetStatus, path_beneath_rules,
    };
    use rustix::process::{DumpableBehavior, set_dumpable_behavior};

    use super::Files;
    use crate::failure::Failure;

    pub(super) fn apply() -> Result<(), Failure> {
        set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(|error| {
            Failure::internal(format!("the memory can't be closed to debuggers: {error}"))
        })?;
        // This thread, and all that come of it.
        RestrictSelf::default()
            .apply()
            .map(|_| ())
            .map_err(|error| Failure::internal(format!("new privileges can't be given up: {error}")))
    }

    pub(super) fn restrict(files: &Files) -> Result<(), Failure> {
        match restricted(files) {
            Ok(RulesetStatus::NotEnforced) => Err(Failure::configuration(
                "Symbolon:Sidecar:Landlock: found true, and a kernel without Landlock; accepted: false, or Linux 5.13 and \
                 later with `landlock` among its security modules",
            )),
            Ok(_) => Ok(()),
            Err(error) => Err(Failure::configuration(format!("Symbolon:Sidecar:Landlock: {error}"))),
        }
    }

    fn restricted(files: &Files) -> Result<RulesetStatus, RulesetError> {
        let status = Ruleset::default()
            .handle_access(AccessFs::from_all(ABI_VERSION))?
            .create()?
            .add_rules(path_beneath_rules(&files.readable, AccessFs::from_read(ABI_VERSION)))?
            .add_rules(path_beneath_rules(&files.writable, AccessFs::from_all(ABI_VERSION)))?
            .restrict_self()?;
        Ok(status.ruleset)
    }

    /// What is asked for; an older kernel gives what it can.
    const ABI_VERSION: ABI = ABI::V5;
}
