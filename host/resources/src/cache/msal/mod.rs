//! The cache that applications of MSAL.NET and Microsoft.Identity.Web share: their keys, their JSON, their lifetimes.
//!
//! MSAL keeps its tokens by *partition*: an application's own tokens by client and tenant, a user's by account, session or
//! assertion. A distributed cache has one value for each: a [`Document`] with every entry of the partition. So a look-up
//! reads the partition that its keys tell ([`partitions`]) and searches it ([`search`]), and a [`Change`] is applied to
//! whatever the partition holds by then.
//!
//! Nothing here does any I/O.

mod change;
mod document;
mod item;
mod keys;
mod lifetime;
mod question;
mod search;

pub use change::Change;
pub use document::{Document, NotADocument};
pub use lifetime::{Lifetime, LifetimeOptions};
pub use search::{partitions, search};
