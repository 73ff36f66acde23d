//! The package for JavaScript, on Node.js: typed by jco, tested by its own tests, with the vectors.

use std::fs;

use crate::package::{Package, installed};

#[tokio::test(flavor = "multi_thread")]
async fn its_tests_pass() {
    let Some(modules) = installed("javascript/node_modules", "the npm packages of examples/javascript")
    else {
        return;
    };
    let Some(package) = Package::assemble("javascript", "protocol_core.wasm").await else { return };
    std::os::unix::fs::symlink(modules, package.directory.join("node_modules")).expect("a link");

    package.run("npm", &["run", "build"]);
    let types = fs::read_to_string(package.directory.join("dist/index.d.ts")).expect("the types");
    assert!(types.contains("ConfidentialClientApplication"), "{types}");
    let tests = package.run("npm", &["test"]);
    assert!(
        tests.contains("\u{2139} skipped 0") && tests.contains("sends every request as expected"),
        "{tests}"
    );

    let sample = package.run("node", &["sample.mjs"]);
    assert_eq!(sample, SAMPLE, "what the README shows");
}

const SAMPLE: &str = "for client: Bearer from identity-provider\n\
                      for client: Bearer from cache\n\
                      on behalf of alice: Bearer from identity-provider\n";
