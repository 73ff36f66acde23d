//! `symbolon demo`: every flow through the sandbox against a local authority, over real TLS.

mod call;
mod demonstrations;
mod downstream;
mod expectation;
mod row;
mod stage;
mod table;

use clap::Args;

use self::demonstrations::DEMONSTRATIONS;
use self::stage::Stage;
use crate::failure::{Failure, Status};
use crate::trace::{Trace, TraceArguments};
use crate::{emulator, output};

/// Starts a local authority and gets tokens from it in every supported way.
///
/// Needs nothing but this binary: the authority listens on the loopback address, with a CA and credentials of its own
/// that are gone afterwards. Each row is one flow with one way to authenticate: the first call is answered by the
/// authority, later ones by the cache.
#[derive(Args, Debug)]
pub(crate) struct DemoArguments {
    /// Prints the rows as one JSON array.
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    trace: TraceArguments,
}

pub(crate) async fn run(arguments: DemoArguments) -> Result<Status, Failure> {
    let trace = arguments.trace.begin()?;
    let outcome = act(&arguments, &trace).await;
    trace.end(outcome)
}

async fn act(arguments: &DemoArguments, trace: &Trace) -> Result<Status, Failure> {
    let data = emulator::Data::open(None)?;
    let authority = emulator::start("127.0.0.1:0", data.path()).await?;
    let stage = Stage::new(authority, data.path(), trace).await?;
    let mut rows = Vec::with_capacity(DEMONSTRATIONS.len());
    for demonstration in DEMONSTRATIONS {
        rows.push(demonstration.run(&stage).await);
    }
    rows.extend(downstream::rows(&stage, data.path()).await);
    if arguments.json {
        output::json(&rows)?;
    } else {
        output::write(table::table(&rows).as_bytes())?;
    }
    match rows.iter().all(|row| row.ok) {
        true => Ok(Status::Ok),
        false => Err(Failure::internal("not every row is ok")),
    }
}
