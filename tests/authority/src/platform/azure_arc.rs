//! Azure Arc's agent: whoever asks must read a file that only the machine's own programs can read.

use std::{
    collections::VecDeque,
    fs,
    path::{Path, PathBuf},
    sync::Mutex,
};

use http::{Method, header};
use serde_json::{Value, json};

use super::{
    exchange::{Reply, Request},
    machine::{Machine, same_secret},
};
use crate::{
    StartError,
    clock::timestamp,
    encoding::{random_guid, random_secret},
    files, lock,
};

pub(super) const PATH: &str = "/metadata/identity/oauth2/token";
const VERSION: &str = "2020-06-01";

/// How Azure Arc's agent challenges; all but the first are what a client must refuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum ArcChallenge {
    /// `Basic realm={directory}/{name}.key`, with a file that is there.
    #[default]
    Genuine,
    /// The file is not in the directory, but in one below it.
    OutsideDirectory,
    /// The file's name does not end in `.key`.
    WrongExtension,
    /// The file is longer than 4096 bytes.
    LargeFile,
    /// The file is not there.
    MissingFile,
    /// The challenge is `Bearer`.
    OtherScheme,
    /// The challenge names no realm.
    WithoutRealm,
    /// There is no `WWW-Authenticate` header.
    WithoutHeader,
}

/// The files that were named in challenges and not used yet.
pub(super) struct Keys {
    pub(super) directory: PathBuf,
    /// Whether the directory was made here, and goes with the platform.
    pub(super) own: bool,
    pub(super) challenge: Mutex<ArcChallenge>,
    outstanding: Mutex<VecDeque<(PathBuf, String)>>,
}

impl Keys {
    pub(super) fn new(directory: Option<PathBuf>) -> Result<Self, StartError> {
        let own = directory.is_none();
        let directory = directory
            .unwrap_or_else(|| std::env::temp_dir().join(format!("symbolon-authority-{}", random_guid())));
        let made = fs::create_dir_all(&directory).and_then(|()| fs::canonicalize(&directory));
        let directory = made.map_err(|error| StartError::file(&directory, error))?;
        Ok(Self { directory, own, challenge: Mutex::default(), outstanding: Mutex::default() })
    }

    /// Writes a file for a challenge, and gives the path to name there.
    fn challenge(&self) -> Result<PathBuf, StartError> {
        let kind = *lock(&self.challenge);
        let directory = match kind {
            ArcChallenge::OutsideDirectory => self.directory.join("elsewhere"),
            _ => self.directory.clone(),
        };
        let extension = if kind == ArcChallenge::WrongExtension { "txt" } else { "key" };
        let path = directory.join(format!("{}.{extension}", random_guid()));
        if kind == ArcChallenge::MissingFile {
            return Ok(path);
        }
        let mut secret = random_secret();
        if kind == ArcChallenge::LargeFile {
            secret = secret.repeat(LONGEST_KEY / secret.len() + 1);
        }
        fs::create_dir_all(&directory).map_err(|error| StartError::file(&directory, error))?;
        files::write_private(&path, secret.as_bytes())?;
        let mut outstanding = lock(&self.outstanding);
        outstanding.push_back((path.clone(), secret));
        if outstanding.len() > OUTSTANDING {
            outstanding.pop_front().iter().for_each(|(path, _)| remove(path));
        }
        Ok(path)
    }

    /// Whether this is the content of a file that was not used before; it is used now.
    fn redeem(&self, shown: &str) -> bool {
        let mut outstanding = lock(&self.outstanding);
        let Some(at) = outstanding.iter().position(|(_, own)| same_secret(own, Some(shown))) else {
            return false;
        };
        outstanding.remove(at).iter().for_each(|(path, _)| remove(path));
        true
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        lock(&self.outstanding).iter().for_each(|(path, _)| remove(path));
        if self.own {
            // Left behind, it holds nothing that is good for anything.
            let _ = fs::remove_dir_all(&self.directory);
        }
    }
}

pub(super) fn answer(machine: &Machine, request: &Request<'_>) -> Result<Value, Reply> {
    let refused = |status, error: &str, message: &str| refused(status, error, message, request);
    let invalid = |message: &str| refused(400, "invalid_request", message);
    if request.path != PATH {
        return Err(refused(404, "not_found", "The requested resource was not found."));
    }
    if request.method != Method::GET {
        return Err(refused(405, "invalid_request", "The method is not allowed."));
    }
    if !request.has_metadata_header() {
        return Err(invalid("Required metadata header not specified"));
    }
    if let Some(name) = request.query.repeated() {
        return Err(invalid(&format!("The query variable '{name}' is repeated")));
    }
    if request.query.get("api-version") != Some(VERSION) {
        return Err(invalid("The api-version is missing or not supported"));
    }
    let Some(resource) = request.query.get("resource") else {
        return Err(invalid("Required query variable 'resource' is missing"));
    };
    if USER_ASSIGNED.iter().any(|name| request.query.get(name).is_some()) {
        return Err(invalid("User-assigned managed identities are not supported"));
    }
    let shown = request.header(header::AUTHORIZATION.as_str());
    if !shown.and_then(|shown| shown.strip_prefix("Basic ")).is_some_and(|shown| machine.arc.redeem(shown)) {
        return Err(challenge(machine, request));
    }
    let identity = machine.system().ok_or_else(|| invalid("Identity not found"))?;
    let issued = machine.issue(identity, resource, &[], request.now_unix).map_err(|refusal| {
        let message = format!("AADSTS{}: {}", refusal.code, refusal.message);
        refused(refusal.status.as_u16(), &refusal.error, &message)
    })?;
    Ok(issued.as_texts(&[
        "access_token",
        "client_id",
        "expires_in",
        "expires_on",
        "ext_expires_in",
        "not_before",
        "resource",
        "token_type",
    ]))
}

fn challenge(machine: &Machine, request: &Request<'_>) -> Reply {
    let Ok(path) = machine.arc.challenge() else {
        return refused(500, "internal_error", "The key file can't be written", request);
    };
    let realm = format!("realm={}", path.display());
    let value = match *lock(&machine.arc.challenge) {
        ArcChallenge::WithoutHeader => None,
        ArcChallenge::WithoutRealm => Some("Basic".to_owned()),
        ArcChallenge::OtherScheme => Some(format!("Bearer {realm}")),
        _ => Some(format!("Basic {realm}")),
    };
    let reply = refused(401, "unauthorized_client", "Missing Basic Authorization header", request);
    match value {
        Some(value) => reply.header(header::WWW_AUTHENTICATE, value),
        None => reply,
    }
}

pub(super) fn refused(status: u16, error: &str, description: &str, request: &Request<'_>) -> Reply {
    let body = json!({
        "error": error,
        "error_description": description,
        "error_codes": [status],
        "timestamp": timestamp(request.now_unix),
        "trace_id": "",
        "correlation_id": request.correlation_id,
        "error_uri": "",
    });
    Reply::refused(status, error, &body)
}

fn remove(path: &Path) {
    // Whoever reads the file after this finds a key that is good for nothing.
    let _ = fs::remove_file(path);
}

/// The parameters by which other sources name user-assigned identities.
const USER_ASSIGNED: [&str; 4] = ["client_id", "object_id", "msi_res_id", "mi_res_id"];
/// Clients refuse longer files.
const LONGEST_KEY: usize = 4096;
/// So many challenges can be open at a time.
const OUTSTANDING: usize = 64;
