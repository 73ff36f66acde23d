//! `symbolon component`: what runs in the sandbox, to look at it or to run it elsewhere.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use symbolon::Component;
use symbolon_resources::digest::sha256_hex;

use crate::failure::{Failure, Status};
use crate::output;

/// Writes the embedded component, its interfaces, its bill of materials, or its digest.
#[derive(Args, Debug)]
#[group(required = true, multiple = true)]
pub(crate) struct ComponentArguments {
    /// Writes the component's bytes to FILE; `-` is standard output.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Writes the interfaces (WIT) below DIR.
    #[arg(long, value_name = "DIR")]
    wit: Option<PathBuf>,

    /// Writes the component's bill of materials (CycloneDX 1.6, JSON) to FILE; `-` is standard output.
    #[arg(long, value_name = "FILE")]
    sbom: Option<PathBuf>,

    /// Prints the SHA-256 of the component's bytes, and whether they were built from `source` together with this
    /// binary or are the `committed` file.
    #[arg(long)]
    digest: bool,
}

pub(crate) fn run(arguments: &ComponentArguments) -> Result<Status, Failure> {
    let component = Component;
    if let Some(file) = &arguments.output {
        write(file, component.bytes())?;
    }
    if let Some(file) = &arguments.sbom {
        write(file, component.sbom().as_bytes())?;
    }
    if let Some(directory) = &arguments.wit {
        write_wit(directory)?;
    }
    if arguments.digest {
        output::line(&format!("{} {}", sha256_hex(component.bytes()), component.origin()))?;
    }
    Ok(Status::Ok)
}

fn write_wit(directory: &Path) -> Result<(), Failure> {
    for (name, text) in WIT {
        let file = directory.join(name);
        if let Some(parent) = file.parent() {
            fs::create_dir_all(parent).map_err(|error| Failure::file(parent, &error))?;
        }
        write(&file, text.as_bytes())?;
    }
    Ok(())
}

fn write(file: &Path, bytes: &[u8]) -> Result<(), Failure> {
    if file == Path::new("-") {
        return output::write(bytes);
    }
    fs::write(file, bytes).map_err(|error| Failure::file(file, &error))
}

macro_rules! wit {
    ($($file:literal),* $(,)?) => {
        &[$(($file, include_str!(concat!("../../../wit/", $file)))),*]
    };
}

/// Every file of the interfaces, with its text, and what registries are told of the packages.
const WIT: &[(&str, &str)] = wit![
    "concurrent/acquisition.wit",
    "concurrent/cache.wit",
    "concurrent/transport.wit",
    "concurrent/wkg.toml",
    "concurrent/world.wit",
    "core/acquisition.wit",
    "core/cache.wit",
    "core/credentials.wit",
    "core/http.wit",
    "core/types.wit",
    "core/wkg.toml",
    "core/world.wit",
    "credentials/custody.wit",
    "credentials/platform.wit",
    "credentials/provider.wit",
    "credentials/transport.wit",
    "credentials/wkg.toml",
    "credentials/world.wit",
    "deps/clocks-0.3/types.wit",
    "deps/clocks/monotonic-clock.wit",
    "deps/http-0.3/handler.wit",
    "deps/http-0.3/types.wit",
    "deps/http/handler.wit",
    "deps/http/types.wit",
    "deps/io/error.wit",
    "deps/io/poll.wit",
    "deps/io/streams.wit",
    "token/acquisition.wit",
    "token/cache.wit",
    "token/facts.wit",
    "token/send-authorized.wit",
    "token/types.wit",
    "token/wkg.toml",
    "token/world.wit",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn wit_files(directory: &Path, root: &Path, found: &mut Vec<String>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                wit_files(&path, root, found);
            } else if path.extension().is_some_and(|extension| extension == "wit" || extension == "toml") {
                found.push(path.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/"));
            }
        }
    }

    #[test]
    fn every_interface_file_is_embedded() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit");
        let mut found = Vec::new();
        wit_files(&root, &root, &mut found);
        found.sort();
        let embedded: Vec<_> = WIT.iter().map(|(name, _)| *name).collect();
        assert_eq!(embedded, found);
    }
}
