//! The package for Python, on wasmtime: typed, tested by its own tests, with the vectors.

use crate::package::{Package, installed};

#[tokio::test(flavor = "multi_thread")]
async fn its_tests_pass() {
    let Some(python) = installed("python-package/bin/python", "the Python packages of examples/python")
    else {
        return;
    };
    let Some(package) = Package::assemble("python", "src/symbolon/protocol_core.wasm").await else { return };

    package.run(&python, &["-m", "mypy"]);
    let tests =
        package.run(&python, &["-m", "unittest", "discover", "--verbose", "--start-directory", "tests"]);
    assert!(!tests.contains("skipped") && tests.contains("test_vectors"), "{tests}");

    let sample = package.run(&python, &["sample.py"]);
    assert_eq!(sample, SAMPLE, "what the README shows");
}

const SAMPLE: &str = "for client: Bearer from identity-provider\n\
                      for client: Bearer from cache\n\
                      on behalf of alice: Bearer from identity-provider\n";
