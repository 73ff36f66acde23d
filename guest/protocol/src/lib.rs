//! The protocol core of Symbolon.
#![no_std]
#![forbid(unsafe_code)]
#![allow(clippy::result_large_err, reason = "an acquisition ends at its first error; boxing it would burden its readers")]

extern crate alloc;

pub mod acquisition;
pub mod assertion;
pub mod authority;
pub mod cache;
pub mod claims;
pub mod cloud;
pub mod credential;
pub mod error;
pub mod form;
mod json;
mod plan;
pub mod random;
pub mod region;
pub mod request;
pub mod response;
pub mod retry;
pub mod scopes;
pub mod telemetry;
pub mod token_request;
pub mod url;
