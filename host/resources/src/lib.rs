//! What the host of Symbolon holds: configuration, credentials and their keys, TLS connections, the token cache.
//!
//! Everything with authority or lifetime, and no protocol: nothing here knows OAuth, and nothing here knows WebAssembly.

pub mod cache;
pub mod clock;
pub mod configuration;
pub mod credentials;
pub mod digest;
pub mod facts;
pub mod platform;
#[cfg_attr(not(any(feature = "redis", feature = "redb")), allow(unused, reason = "of use to stores only"))]
pub mod second_level;
mod sync;
mod threads;
pub mod transport;
pub mod watch;
