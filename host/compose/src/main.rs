//! `symbolon-compose`: joins the components of Symbolon, and one that uses them, into one that imports nothing but WASI.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::{Parser, ValueEnum};
use symbolon_compose::{Absent, Parts, compose};

/// Joins the components of Symbolon, and one that uses them, into one that imports nothing but WASI.
#[derive(Parser, Debug)]
struct Arguments {
    /// The component that imports symbolon:token/acquisition. Without it, the result exports that.
    plugin: Option<PathBuf>,

    /// Where cargo builds components: symbolon_guest.wasm, symbolon_wasi_host.wasm and so on are there.
    #[arg(long, value_name = "DIR", default_value = "target/guest/wasm32-wasip2/guest")]
    parts: PathBuf,

    /// The component that has the key. Without it, that of the example credential-provider.
    #[arg(long, value_name = "FILE")]
    credentials: Option<PathBuf>,

    /// An interface that the host hasn't.
    #[arg(long, value_name = "INTERFACE")]
    without: Vec<Interface>,

    /// Where the result goes.
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
}

#[derive(ValueEnum, Clone, Copy, Debug)]
enum Interface {
    #[value(name = "wasi:config")]
    Config,
    #[value(name = "wasi:keyvalue")]
    Keyvalue,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let part = |package: &str| read(&arguments.parts.join(package).with_extension("wasm"));
    let credentials = match &arguments.credentials {
        Some(file) => read(file)?,
        None => part("symbolon_example_credential_provider")?,
    };
    let (protocol, application) = (part("symbolon_guest")?, part("symbolon_wasi_application")?);
    let (host, absent) = (part("symbolon_wasi_host")?, part("symbolon_wasi_absent")?);
    let plugin = arguments.plugin.as_deref().map(read).transpose()?;
    let parts = Parts {
        protocol: &protocol,
        application: &application,
        host: &host,
        credentials: &credentials,
        absent: &absent,
    };
    let without: Vec<Absent> = arguments
        .without
        .iter()
        .map(|interface| match interface {
            Interface::Config => Absent::Config,
            Interface::Keyvalue => Absent::Keyvalue,
        })
        .collect();
    let composed = compose(&parts, plugin.as_deref(), &without)?;
    fs::write(&arguments.output, composed).with_context(|| arguments.output.display().to_string())
}

fn read(file: &Path) -> Result<Vec<u8>> {
    fs::read(file).with_context(|| file.display().to_string())
}
