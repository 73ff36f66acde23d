//! What is given away of the environment and of the agent's files, and what isn't.
#![allow(clippy::unwrap_used, reason = "helpers of tests count as tests")]

use std::fs;
use std::path::Path;

use symbolon_resources::platform::{ArcAgent, Platform, PlatformError};

fn platform(variables: &[(&str, &str)]) -> Platform {
    Platform::read(|name| {
        let found = variables.iter().find(|(variable, _)| *variable == name);
        found.map(|(_, value)| (*value).to_owned())
    })
}

#[test]
fn only_the_platforms_variables_are_given_and_no_secret() {
    let platform = platform(&[
        ("IDENTITY_ENDPOINT", "http://localhost/x"),
        ("IDENTITY_HEADER", "canary"),
        ("MSI_SECRET", "canary"),
        ("MSI_ENDPOINT", ""),
        ("REGION_NAME", "West Europe"),
        ("AZURE_CLIENT_SECRET", "canary"),
        ("PATH", "canary"),
    ]);
    let mut variables: Vec<_> = platform.variables().collect();
    variables.sort_unstable();
    assert_eq!(
        variables,
        [
            ("IDENTITY_ENDPOINT", Some("http://localhost/x")),
            ("IDENTITY_HEADER", None),
            ("MSI_SECRET", None),
            ("REGION_NAME", Some("West Europe")),
        ]
    );
    let shown = format!("{platform:?}");
    assert!(shown.contains("IDENTITY_HEADER") && !shown.contains("canary"), "{shown}");
}

#[test]
fn secrets_are_had_by_name() {
    let platform = platform(&[("IDENTITY_HEADER", "canary"), ("IDENTITY_ENDPOINT", "http://localhost")]);
    assert_eq!(platform.secret("IDENTITY_HEADER").unwrap().expose(), "canary");
    for (name, expected) in [
        ("MSI_SECRET", PlatformError::NotSet("MSI_SECRET")),
        ("IDENTITY_ENDPOINT", PlatformError::NotASecret),
        ("identity_header", PlatformError::NotASecret),
        ("AZURE_CLIENT_SECRET", PlatformError::NotASecret),
    ] {
        assert_eq!(platform.secret(name).unwrap_err(), expected);
    }
    assert!(PlatformError::NotASecret.is_refusal() && !PlatformError::NotSet("MSI_SECRET").is_refusal());
}

/// A directory with an agent and a platform that has it.
fn with_agent() -> (tempfile::TempDir, Platform) {
    let directory = tempfile::tempdir().unwrap();
    let keys = directory.path().join("tokens");
    fs::create_dir(&keys).unwrap();
    let agent = ArcAgent::new(directory.path().join("himds"), &keys);
    (directory, platform(&[]).with_arc_agent(agent))
}

fn write(directory: &Path, name: &str, content: &[u8]) -> String {
    let path = directory.join(name);
    fs::write(&path, content).unwrap();
    path.display().to_string()
}

#[test]
fn an_agent_is_there_when_its_executable_is() {
    let (directory, platform) = with_agent();
    assert!(!platform.has_arc_agent());
    write(directory.path(), "himds", b"");
    assert!(!platform.has_arc_agent());
    write(directory.path(), "himds", b"\x7fELF");
    assert!(platform.has_arc_agent());
}

#[test]
fn a_key_of_the_agent_is_read() {
    let (directory, platform) = with_agent();
    let keys = directory.path().join("tokens");
    for (content, expected) in
        [(&b"a1b2"[..], "a1b2"), (b"a1b2\r\n", "a1b2"), (&[b'x'; 4096], &"x".repeat(4096))]
    {
        let path = write(&keys, "0a1b-2c.3d.key", content);
        assert_eq!(platform.challenge_file(&path).unwrap().expose(), expected);
    }
}

#[test]
fn nothing_but_a_key_of_the_agent_is_read() {
    let (directory, platform) = with_agent();
    let keys = directory.path().join("tokens");
    let outside = write(directory.path(), "outside.key", b"canary");
    let other = write(&keys, "other.txt", b"canary");
    fs::create_dir(keys.join("below")).unwrap();
    let below = write(&keys.join("below"), "x.key", b"canary");
    fs::create_dir(keys.join("directory.key")).unwrap();
    let in_keys = |name: &str| keys.join(name).display().to_string();
    for path in [
        outside,
        other,
        below,
        in_keys("directory.key"),
        in_keys(".key"),
        in_keys("../outside.key"),
        in_keys("./x.key"),
        in_keys("x.key\0"),
        in_keys("x.KEY"),
        format!("{}//x.key", keys.display()),
        "x.key".to_owned(),
        "/etc/passwd".to_owned(),
        String::new(),
    ] {
        let error = platform.challenge_file(&path).unwrap_err();
        assert!(matches!(error, PlatformError::NotAKey { .. }) && error.is_refusal(), "{path:?}: {error}");
        assert!(!error.to_string().contains("canary"));
    }
    let large = write(&keys, "large.key", &[b'x'; 4097]);
    assert_eq!(platform.challenge_file(&large).unwrap_err(), PlatformError::TooLarge);
    let missing = platform.challenge_file(&in_keys("missing.key")).unwrap_err();
    assert_eq!(missing, PlatformError::Unreadable(std::io::ErrorKind::NotFound));
    assert!(!missing.is_refusal());
    let binary = write(&keys, "binary.key", &[0xff, 0xfe]);
    let error = platform.challenge_file(&binary).unwrap_err();
    assert_eq!(error, PlatformError::Unreadable(std::io::ErrorKind::InvalidData));
}
