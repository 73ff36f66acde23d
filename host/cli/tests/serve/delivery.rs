//! What it is delivered with.

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
