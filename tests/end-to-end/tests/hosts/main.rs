//! The guests in hosts that others wrote.

mod envoy;
