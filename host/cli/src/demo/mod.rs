//! `symbolon demo`: every flow through the sandbox against a local authority, over real TLS.

mod row;
mod table;

use std::ffi::OsString;
use std::path::Path;

use clap::Args;
use symbolon::{ApplicationId, Settings, Symbolon};

use self::row::{Case, Transport};
use crate::failure::{Failure, Status};
use crate::{emulator, output};

/// Starts a local authority and gets tokens from it in every supported way.
///
/// Needs nothing but this binary: the authority listens on the loopback address, with a CA and credentials of its own
/// that are gone afterwards. Each row is one way to authenticate: the first call is answered by the authority, later
/// ones by the cache.
#[derive(Args, Debug)]
pub(crate) struct DemoArguments {
    /// Prints the rows as one JSON array.
    #[arg(long)]
    pub(crate) json: bool,
}

pub(crate) async fn run(arguments: DemoArguments) -> Result<Status, Failure> {
    let data = emulator::Data::open(None)?;
    let authority = emulator::start("127.0.0.1:0", data.path()).await?;
    let symbolon = Symbolon::builder().build()?;
    let mut rows = Vec::with_capacity(DEMONSTRATIONS.len());
    for demonstration in DEMONSTRATIONS {
        rows.push(demonstration.case(&symbolon, data.path())?.run(&authority).await);
    }
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

/// A row to be: one of the authority's ready-made configurations, and how it is used.
struct Demonstration {
    configuration: &'static str,
    region: Option<&'static str>,
    transport: Transport,
    note: &'static str,
    host: &'static str,
}

impl Demonstration {
    fn case(&self, symbolon: &Symbolon, directory: &Path) -> Result<Case, Failure> {
        let file = directory.join(format!("appsettings-{}.json", self.configuration));
        let region =
            self.region.map(|region| (OsString::from("AzureAd__AzureRegion"), OsString::from(region)));
        let options = Settings::from_file(file)
            .and_then(|settings| settings.with_environment(region).application(None))
            .map_err(symbolon::Error::from)?;
        // Two rows use the same registration, and must not share its tokens.
        let options = options.with_id(ApplicationId::new(format!("{} {}", self.configuration, self.host)));
        Ok(Case {
            transport: self.transport,
            note: self.note,
            application: symbolon.application(options)?,
            proof_of_possession: self.transport == Transport::MtlsPop,
            host: self.host,
        })
    }
}

const DEMONSTRATIONS: [Demonstration; 6] = [
    Demonstration {
        configuration: "secret",
        region: None,
        transport: Transport::Secret,
        note: "",
        host: "login.microsoftonline.com",
    },
    Demonstration {
        configuration: "certificate",
        region: None,
        transport: Transport::Assertion,
        note: "",
        host: "login.microsoftonline.com",
    },
    Demonstration {
        configuration: "subject-name",
        region: None,
        transport: Transport::Assertion,
        note: "with x5c",
        host: "login.microsoftonline.com",
    },
    Demonstration {
        configuration: "mtls",
        region: None,
        transport: Transport::CertificateOverMtls,
        note: "",
        host: "mtlsauth.microsoft.com",
    },
    Demonstration {
        configuration: "mtls",
        region: Some("westus2"),
        transport: Transport::CertificateOverMtls,
        note: "(regional)",
        host: "westus2.mtlsauth.microsoft.com",
    },
    Demonstration {
        configuration: "bound",
        region: None,
        transport: Transport::MtlsPop,
        note: "",
        host: "mtlsauth.microsoft.com",
    },
];
