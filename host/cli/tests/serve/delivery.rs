//! What it is delivered with.

use std::process::Command;

use symbolon_end_to_end::workspace;

use crate::site::{command, run};

#[test]
fn shells_complete_its_flags() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = run(command().args(["completions", shell])).ok();
        assert!(script.contains("health-listen") && script.contains("symbolon"), "{shell}");
    }
    assert!(run(command().args(["completions", "dos"])).failed(2).contains("powershell"));
}

#[test]
fn each_command_has_a_manual_page() {
    let directory = tempfile::tempdir().unwrap();
    run(command().args(["man", "--output", directory.path().to_str().unwrap()])).ok();
    let page = std::fs::read_to_string(directory.path().join("symbolon-serve.1")).unwrap();
    assert!(page.contains("print\\-config") && page.contains(".TH"), "{page}");
    assert!(directory.path().join("symbolon.1").exists());
}

/// The files that start the process.
const STARTING: [&str; 4] =
    ["systemd/symbolon.service", "container/Dockerfile", "kubernetes/sidecar.yaml", "kubernetes/node.yaml"];

fn packaging(name: &str) -> String {
    let path = workspace("packaging").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn the_flags_of_what_it_is_packaged_with_exist() {
    let help = run(command().args(["serve", "--help"])).ok();
    for name in STARTING {
        let text = packaging(name);
        let lines = text.lines().filter(|line| line.contains("serve") && !line.starts_with('#'));
        let words = lines.flat_map(|line| line.split(|c: char| c.is_whitespace() || "[]\",".contains(c)));
        let flags: Vec<_> = words.filter(|word| word.starts_with("--")).collect();
        assert!(flags.contains(&"--config"), "{name} starts nothing");
        for flag in flags {
            assert!(help.contains(flag), "{name}: {flag}");
        }
    }
}

#[test]
fn the_configurations_in_the_manifests_are_accepted() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["kubernetes/sidecar.yaml", "kubernetes/node.yaml"] {
        let text = packaging(name);
        let (_, rest) = text.split_once("appsettings.json: |\n").unwrap();
        let json: String = rest
            .lines()
            .take_while(|line| line.starts_with("    "))
            .map(|line| format!("{line}\n"))
            .collect();
        let file = directory.path().join("appsettings.json");
        std::fs::write(&file, json).unwrap();
        let printed =
            run(command().args(["serve", "--print-config", "--config", file.to_str().unwrap()])).ok();
        assert!(
            printed.contains("DownstreamApis:graph:BaseUrl = \"https://graph.microsoft.com/v1.0\""),
            "{printed}"
        );
    }
}

#[test]
fn the_manifests_are_yaml() {
    let has_yaml = |script: &str, file: &str| {
        let path = workspace("packaging").join(file);
        Command::new("python3").args(["-c", script]).arg(path).output()
    };
    if !has_yaml("import yaml", "").is_ok_and(|output| output.status.success()) {
        let needed = "skipped: needs PyYAML, which .ci/run installs";
        assert!(std::env::var_os("CI").is_none(), "{needed}");
        return eprintln!("{needed}");
    }
    let script = "import sys, yaml\nfor it in yaml.safe_load_all(open(sys.argv[1])): print(it['kind'])";
    for (file, kinds) in [
        ("kubernetes/sidecar.yaml", "ConfigMap\nDeployment\n"),
        ("kubernetes/node.yaml", "ConfigMap\nDaemonSet\n"),
    ] {
        let output = has_yaml(script, file).unwrap();
        assert_eq!(
            String::from_utf8(output.stdout).unwrap(),
            kinds,
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

/// Where there is systemd; a machine that runs the unit has it.
#[test]
fn systemd_understands_the_unit() {
    let unit = packaging("systemd/symbolon.service");
    let binary = env!("CARGO_BIN_EXE_symbolon");
    // What isn't installed isn't what is asked about.
    let unit =
        unit.replace("/usr/local/bin/symbolon", binary).replace("Documentation=man:symbolon-serve(1)\n", "");
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("symbolon.service");
    std::fs::write(&file, unit).unwrap();
    let Ok(output) = Command::new("systemd-analyze").arg("verify").arg(&file).output() else {
        return eprintln!("skipped: needs systemd-analyze");
    };
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.is_empty(), "{said}");
}
