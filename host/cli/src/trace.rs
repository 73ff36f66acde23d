//! `--trace FILE`: what was done on the way to each token, in a file.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use symbolon::Builder;
use symbolon_telemetry::TraceLog;

use crate::failure::{Failure, Status};

/// Whether a trace is wanted.
#[derive(Args, Debug)]
pub(crate) struct TraceArguments {
    /// Writes what was done to FILE: looks into the cache, credentials, requests, decisions, each with its time. A name in
    /// `.html` gives a page with sequence diagrams that needs nothing else, one in `.json` the same as data. Holds no
    /// secret and no token. Of more than 1,000 acquisitions the latest count.
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
}

impl TraceArguments {
    /// Begins one, where it is wanted.
    pub(crate) fn begin(&self) -> Result<Trace, Failure> {
        let Some(file) = &self.trace else { return Ok(Trace(None)) };
        let extension = file.extension().and_then(|extension| extension.to_str());
        let form = match extension.map(str::to_ascii_lowercase).as_deref() {
            Some("json") => Form::Json,
            Some("html" | "htm") => Form::Html,
            _ => {
                let message = format!(
                    "--trace: found {}; accepted: a name that ends in .html or .json",
                    file.display()
                );
                return Err(Failure::usage(message));
            }
        };
        Ok(Trace(Some(Wanted { file: file.clone(), form, log: Arc::new(TraceLog::new(KEPT)) })))
    }
}

/// The trace of this process, where one is wanted.
pub(crate) struct Trace(Option<Wanted>);

struct Wanted {
    file: PathBuf,
    form: Form,
    log: Arc<TraceLog>,
}

enum Form {
    Json,
    Html,
}

impl Trace {
    /// The engine that is recorded.
    pub(crate) fn record(&self, builder: Builder) -> Builder {
        match &self.0 {
            Some(wanted) => builder.recorder(wanted.log.clone()),
            None => builder,
        }
    }

    /// Writes the file, whatever became of the command. Where both fail, the command's failure counts.
    pub(crate) fn end(self, outcome: Result<Status, Failure>) -> Result<Status, Failure> {
        let written = self.0.as_ref().map_or(Ok(()), Wanted::write);
        let status = outcome?;
        written.map(|()| status)
    }
}

impl Wanted {
    fn write(&self) -> Result<(), Failure> {
        let trace = self.log.trace();
        let text = match self.form {
            Form::Html => trace.to_html(),
            Form::Json => trace.to_json().map_err(|error| Failure::internal(error.to_string()))? + "\n",
        };
        write(&self.file, &text)
    }
}

fn write(file: &Path, text: &str) -> Result<(), Failure> {
    fs::write(file, text).map_err(|error| Failure::file(file, &error))
}

/// How many acquisitions are kept: some megabytes.
const KEPT: usize = 1_000;
