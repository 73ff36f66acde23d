//! Together with software of others: what hosts the component, what it talks to. A test is skipped where its software isn't
//! installed, which `.ci/run` does.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends at what it did not expect"
)]

mod oidc_provider;
