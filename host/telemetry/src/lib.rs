//! What was done on the way to a token: the trace of an acquisition for people, metrics and spans for machines.
//!
//! Everything here is a [`Recorder`](symbolon::Recorder) of the engine's:
//!
//! ```no_run
//! # fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use symbolon::Symbolon;
//! use symbolon_telemetry::Telemetry;
//!
//! let telemetry = Telemetry::new(|name| std::env::var(name).ok())?;
//! let symbolon = Symbolon::builder().recorder(telemetry.recorder()).build()?;
//! telemetry.observe(&symbolon);
//! let page = telemetry.metrics_page()?;
//! # Ok(())
//! # }
//! ```

mod export;
mod metrics;
mod routes;
mod spans;
mod telemetry;
mod trace;

pub use self::metrics::{METRICS, Metric};
pub use self::routes::{TraceParent, router};
pub use self::telemetry::{Telemetry, TelemetryError};
pub use self::trace::{Acquisition, Trace, TraceLog};
