//! What `symbolon call` sends and brings goes through, and isn't kept: its memory doesn't grow with it.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::process::{Child, Stdio};

use serde_json::json;

use crate::call::Scene;
use crate::site::command;

const MIB: u64 = 1 << 20;

/// Has an API echo a file of this size, and gives the most memory that the process had, in bytes, when all but the last
/// MiB of the answer had come.
fn peak(scene: &Scene, size: u64, from_standard_input: bool) -> u64 {
    let configuration = scene.configuration("secret", json!({}));
    let file = scene.site.path("body");
    File::create(&file).unwrap().set_len(size).unwrap();
    let mut command = command();
    command.args(["call", "graph", "echo", "--config", configuration.to_str().unwrap(), "--body-file"]);
    match from_standard_input {
        true => command.arg("-").stdin(File::open(&file).unwrap()),
        false => command.arg(&file),
    };
    let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut answer = process.stdout.take().unwrap();
    let read = std::io::copy(&mut answer.by_ref().take(size - MIB), &mut std::io::sink()).unwrap();
    // It waits until the rest is read.
    let peak = peak_of(&process);
    let rest = std::io::copy(&mut answer, &mut std::io::sink()).unwrap();
    assert!(process.wait().unwrap().success());
    assert_eq!(read + rest, size);
    peak
}

/// `VmHWM` of proc_pid_status(5).
fn peak_of(process: &Child) -> u64 {
    let status = Path::new("/proc").join(process.id().to_string()).join("status");
    let status = std::fs::read_to_string(status).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() * 1024
}

#[test]
#[cfg_attr(not(target_os = "linux"), ignore = "needs proc(5)")]
fn a_hundred_megabytes_take_no_more_memory_than_two() {
    let scene = Scene::start();
    for from_standard_input in [false, true] {
        let (little, much) =
            (peak(&scene, 2 * MIB, from_standard_input), peak(&scene, 100_000_000, from_standard_input));
        println!("{} MiB for 2 MiB, {} MiB for 100 MB", little / MIB, much / MIB);
        assert!(much <= little + 16 * MIB, "{little} bytes for 2 MiB, {much} for 100 MB");
    }
}
