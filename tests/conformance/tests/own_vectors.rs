//! Symbolon's own vectors pass, and a vector that is wrong doesn't.

#![expect(clippy::expect_used, reason = "a test ends where something is missing")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::{Value, json};

fn run(arguments: &[&Path]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_symbolon-conformance")).args(arguments).output().expect("the runner")
}

/// The lines of a run by the vector's name.
fn lines(output: &Output) -> BTreeMap<String, String> {
    let text = String::from_utf8(output.stdout.clone()).expect("text");
    let line = |line: &str| Some((line.split(' ').nth(1)?.to_owned(), line.to_owned()));
    text.lines().filter_map(line).collect()
}

fn own_files() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors");
    let mut files: Vec<PathBuf> =
        fs::read_dir(directory).expect("vectors").map(|entry| entry.expect("a file").path()).collect();
    files.sort();
    files
}

fn own_vectors() -> Vec<Value> {
    let read =
        |file: &PathBuf| -> Value { serde_json::from_slice(&fs::read(file).expect("a file")).expect("JSON") };
    own_files().iter().flat_map(|file| read(file)["vectors"].as_array().expect("vectors").clone()).collect()
}

/// Runs vectors that aren't in a file yet.
fn run_vectors(vectors: &[Value]) -> Output {
    run_text(&json!({ "vectors": vectors }).to_string())
}

fn run_text(text: &str) -> Output {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("vectors.json");
    fs::write(&file, text).expect("a file");
    run(&[&file])
}

#[test]
fn own_vectors_pass_and_use_every_rule() {
    let files = own_files();
    let output = run(&files.iter().map(PathBuf::as_path).collect::<Vec<_>>());
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(!text.contains("\nuncovered ") && !text.starts_with("uncovered "), "{text}");

    let rules = run(&[Path::new("--rules")]);
    let rules = String::from_utf8(rules.stdout).expect("text");
    let names: Vec<&str> =
        rules.lines().skip(2).filter_map(|row| row.split('|').nth(1)).map(str::trim).collect();
    assert!(names.len() > 5, "{rules}");
    for name in names {
        assert!(text.contains(name), "no vector shows the rule {name}");
    }
}

#[test]
fn every_member_of_every_expectation_is_compared() {
    let vectors = own_vectors();
    let right = lines(&run_vectors(&vectors));
    let mut wrong = Vec::new();
    for vector in vectors {
        let id = vector["id"].as_str().expect("an id").to_owned();
        if right[&id] != format!("ok {id}") {
            continue;
        }
        for name in vector["expect"].as_object().expect("an expectation").keys() {
            let mut vector = vector.clone();
            vector["id"] = format!("{id}/{name}").into();
            spoil(name, &mut vector["expect"][name]);
            wrong.push(vector);
        }
    }
    assert!(wrong.len() > 300);
    let output = run_vectors(&wrong);
    assert_eq!(output.status.code(), Some(1));
    let passed: Vec<String> =
        lines(&output).into_values().filter(|line| !line.starts_with("FAIL ")).collect();
    assert_eq!(passed, [format!("total {0}: 0 ok, 0 deviates, 0 uncovered, {0} FAIL", wrong.len())]);
}

/// Makes an expected value wrong.
fn spoil(name: &str, value: &mut Value) {
    match value {
        Value::Null => *value = "something".into(),
        Value::Bool(flag) => *flag = !*flag,
        Value::Number(number) => *value = (number.as_u64().expect("a number") + 1).into(),
        Value::String(text) => text.push('?'),
        Value::Array(items) => items.push(match name {
            "absent_body" => "client_id".into(),
            "absent_headers" => "client-request-id".into(),
            "absent_assertion_header" => "alg".into(),
            "absent_json" => "secret".into(),
            "delays_ms" => 1.into(),
            _ => "something".into(),
        }),
        Value::Object(members) => match members.values_mut().next() {
            Some(first) => spoil("", first),
            None => drop(members.insert("something".into(), "else".into())),
        },
    }
}

#[test]
fn a_failure_says_what_was_expected_and_what_was_got() {
    let vector = json!({
        "id": "v", "category": "region_name", "input": { "region": "eastus" }, "expect": { "valid": false },
    });
    let output = run_vectors(&[vector]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "FAIL v expected {\"valid\":false} got {\"valid\":true}\n\
         total 1: 0 ok, 0 deviates, 0 uncovered, 1 FAIL\n"
    );
}

#[test]
fn what_is_not_understood_is_never_ok() {
    let vector = |id: &str, category: &str, input: Value, expect: Value| json!({ "id": id, "category": category, "input": input, "expect": expect });
    let region = json!({ "region": "eastus" });
    let vectors = [
        vector("category", "weather", region.clone(), json!({ "valid": true })),
        vector("input", "region_name", json!({ "region": "eastus", "zone": 1 }), json!({ "valid": true })),
        vector("expectation", "region_name", region.clone(), json!({ "valid": true, "zone": 1 })),
        vector("nothing", "region_name", region, json!({})),
        vector("type", "region_name", json!({ "region": 1 }), json!({ "valid": true })),
    ];
    let output = run_vectors(&vectors);
    assert_eq!(output.status.code(), Some(0));
    for vector in &vectors {
        let id = vector["id"].as_str().expect("an id");
        let line = &lines(&output)[id];
        assert!(line.starts_with("uncovered ") && line.ends_with(')'), "{line}");
    }
}

#[test]
fn a_file_that_holds_no_vectors_is_an_error_that_says_where() {
    let vector = r#"{"id":"a","category":"region_name","input":{},"expect":{}}"#;
    for (text, says) in [
        ("{", vec!["not JSON", "line 1"]),
        ("[]", vec!["$: found an array", "accepted is an object"]),
        ("{}", vec!["$.vectors: found nothing", "accepted is an array"]),
        (r#"{"vectors":{}}"#, vec!["$.vectors: found an object"]),
        (r#"{"vectors":[1]}"#, vec!["$.vectors[0]: found the number 1"]),
        (r#"{"vectors":[{"id":7}]}"#, vec!["$.vectors[0].category: found nothing"]),
        (r#"{"vectors":[{"id":7,"category":"x"}]}"#, vec!["$.vectors[0].input: found nothing"]),
        (
            r#"{"vectors":[{"id":7,"category":"x","input":{},"expect":{}}]}"#,
            vec!["$.vectors[0].id: found the number 7"],
        ),
        (r#"{"vectors":[{"id":"a","op":"x","given":{}}]}"#, vec!["$.vectors[0].when: found nothing"]),
        (
            &format!(r#"{{"vectors":[{vector},{vector}]}}"#),
            vec!["$.vectors[1].id", "$.vectors[0] has already"],
        ),
    ] {
        let output = run_text(text);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(output.stdout.is_empty());
        for part in says.iter().chain(&["vectors.json: "]) {
            assert!(error.contains(part), "{part:?} isn't in {error:?}");
        }
    }
    let missing = run(&[Path::new("/nowhere/vectors.json")]);
    assert_eq!(missing.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("/nowhere/vectors.json"));
    assert_eq!(run(&[]).status.code(), Some(2));
}

#[test]
fn the_compatibility_notes_have_every_rule() {
    let notes = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/compatibility.md");
    let notes = std::fs::read_to_string(notes).expect("the notes");
    let rules = run(&[Path::new("--rules")]);
    let rules = String::from_utf8(rules.stdout).expect("text");
    assert!(rules.lines().count() > 2, "there are rules");
    for row in rules.lines() {
        assert!(notes.lines().any(|line| line == row), "docs/compatibility.md lacks this row:\n{row}");
    }
}
