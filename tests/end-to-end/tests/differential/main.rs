//! The requests of MSAL for Python and ours are the same, but for a list of differences.
//!
//! Both acquire tokens by the same flows from the same authority, over TLS. What the authority saw is decoded and compared
//! field by field. [`differences`] lists what may differ, with a reason for each; a difference that isn't listed fails the
//! test, and so does one that is listed and doesn't occur.
//!
//! Needs a Python interpreter with the package of `requirements.txt`; without one the test says so and is skipped, except
//! where `CI` is `true`.

#![allow(clippy::expect_used, clippy::panic, reason = "that is how a test fails")]

mod differences;
mod flows;
mod pair;
mod python;
mod requests;
mod scenarios;

use self::pair::Pair;
use self::python::Python;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_are_those_of_msal_for_python() {
    let Some(interpreter) = python::interpreter() else {
        let needed = format!("skipped: needs the Python package {}", python::REQUIREMENT);
        assert!(std::env::var("CI").as_deref() != Ok("true"), "{needed}");
        println!("{needed}");
        return;
    };
    let mut pair =
        Pair::start(|world| Python::start(&interpreter, "differential/msal_flows.py", world)).await;
    scenarios::run(&mut pair).await;
    differences::check(pair.report());
}
