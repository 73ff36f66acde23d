//! Reads files of the directories that the host gives.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use spin::Once;
use zeroize::Zeroizing;

use crate::bindings::wasi::filesystem::preopens::get_directories;
use crate::bindings::wasi::filesystem::types::{Descriptor, DescriptorFlags, OpenFlags, PathFlags};

/// Larger than any credential.
const LARGEST: u64 = 1 << 20;

/// Never dropped: some hosts give the same handles again when they are asked again.
static DIRECTORIES: Once<Vec<(Descriptor, String)>> = Once::new();

/// All of a file's bytes.
pub(crate) fn read(path: &str) -> Result<Zeroizing<Vec<u8>>, String> {
    let directories = DIRECTORIES.call_once(get_directories);
    let within = directories.iter().filter_map(|(directory, name)| Some((directory, below(name, path)?)));
    let Some((directory, rest)) = within.min_by_key(|(_, rest)| rest.len()) else {
        return Err(format!("{path}: found no directory of the host's around it; accepted: a file in one"));
    };
    let file = directory
        .open_at(PathFlags::SYMLINK_FOLLOW, rest, OpenFlags::empty(), DescriptorFlags::READ)
        .map_err(|error| format!("{path}: found an error ({error}); accepted: a file that can be read"))?;
    content(&file)
        .ok_or_else(|| format!("{path}: found a file that can't be read whole; accepted: up to 1 MiB"))
}

fn content(file: &Descriptor) -> Option<Zeroizing<Vec<u8>>> {
    let mut content = Zeroizing::new(Vec::new());
    loop {
        let (bytes, is_end) = file.read(LARGEST, content.len() as u64).ok()?;
        let bytes = Zeroizing::new(bytes);
        content.extend_from_slice(&bytes);
        if is_end || bytes.is_empty() {
            return Some(content);
        }
        if content.len() as u64 > LARGEST {
            return None;
        }
    }
}

/// The path as it is seen from a directory.
fn below<'a>(directory: &str, path: &'a str) -> Option<&'a str> {
    match directory.trim_end_matches('/') {
        "." => (!path.starts_with('/')).then_some(path),
        directory => path.strip_prefix(directory)?.strip_prefix('/'),
    }
}
