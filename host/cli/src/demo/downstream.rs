//! Rows about calls of an API: with a bearer token, with a bound one, with the certificate alone.

use std::fmt;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use symbolon::{DownstreamApi, Settings};
use symbolon_authority::{Api, ApiRequest, Ask, Demand};
use tokio::time::Instant;

use super::demonstrations::Transport;
use super::row::Row;
use super::stage::Stage;
use crate::failure::Failure;

/// A row to be: what is presented to the API, and what it has to see.
struct Demonstration {
    configuration: &'static str,
    scheme: &'static str,
    transport: Transport,
    note: &'static str,
    /// The scheme of the `Authorization` header.
    header: Option<&'static str>,
    certificate: bool,
}

const DEMONSTRATIONS: [Demonstration; 3] = [
    Demonstration {
        configuration: "secret",
        scheme: "Bearer",
        transport: Transport::Secret,
        note: "(bearer token)",
        header: Some("Bearer"),
        certificate: false,
    },
    Demonstration {
        configuration: "bound",
        scheme: "MTLS_POP",
        transport: Transport::MtlsPop,
        note: "",
        header: Some("mtls_pop"),
        certificate: true,
    },
    Demonstration {
        configuration: "bound",
        scheme: "MTLS",
        transport: Transport::MtlsOnly,
        note: "",
        header: None,
        certificate: true,
    },
];

/// Acts them all.
pub(super) async fn rows(stage: &Stage, directory: &Path) -> Vec<Row> {
    let mut rows = Vec::with_capacity(DEMONSTRATIONS.len());
    for demonstration in DEMONSTRATIONS {
        let mut row = Row::new("downstream-api", demonstration.transport, demonstration.note);
        let acted = demonstration.act(stage, directory, &mut row).await;
        row.problem = acted.unwrap_or_else(|failure| Some(failure.to_string()));
        row.ok = row.problem.is_none();
        rows.push(row);
    }
    rows
}

impl Demonstration {
    /// Calls twice, and then often. Fills the row. Returns what isn't as it has to be.
    async fn act(&self, stage: &Stage, directory: &Path, row: &mut Row) -> Result<Option<String>, Failure> {
        let demand = match self.header {
            Some(_) => Demand::Token(GRAPH.to_owned()),
            None => Demand::Certificate,
        };
        let ask = if self.certificate { Ask::Required } else { Ask::Never };
        let api = Api::builder().demand(demand).ask(ask).start(&stage.authority).await.map_err(unexpected)?;
        let orders = self.downstream(stage, directory, &api)?;
        let before = stage.sequence();
        let started = Instant::now();
        call(&orders).await?;
        row.cold_micros = u64::try_from(started.elapsed().as_micros()).ok();
        call(&orders).await?;
        row.saw(&stage.authority, before);
        row.api = api.log();
        row.endpoint_host = Some(api.host().to_owned());
        row.certificate_presented = row.api.iter().all(|request| request.client_certificate.is_some());
        row.token_type = row.api.last().and_then(|request| request.authorization_scheme.clone());
        row.cached_nanos = median(&orders).await?;
        Ok(self.problem(row))
    }

    /// The API as an application of the row's own has it configured.
    fn downstream(&self, stage: &Stage, directory: &Path, api: &Api) -> Result<DownstreamApi, Failure> {
        let file = directory.join(format!("appsettings-{}.json", self.configuration));
        let text = fs::read_to_string(&file).map_err(|error| Failure::file(&file, &error))?;
        let mut settings: Value = serde_json::from_str(&text).map_err(unexpected)?;
        settings["Symbolon"]["ConnectTo"][api.host()] = api.address().to_string().into();
        let mut orders =
            json!({ "BaseUrl": api.url(), "ProtocolScheme": self.scheme, "RequestAppToken": true });
        if self.header.is_some() {
            orders["Scopes"] = format!("{GRAPH}/.default").into();
        }
        settings["DownstreamApis"] = json!({ "orders": orders });
        let file = directory.join("appsettings-downstream-api.json");
        fs::write(&file, settings.to_string()).map_err(|error| Failure::file(&file, &error))?;
        let options = Settings::from_file(&file).and_then(|settings| settings.application(None));
        Ok(stage.application_of(options.map_err(symbolon::Error::from)?)?.downstream_api("orders")?)
    }

    fn problem(&self, row: &Row) -> Option<String> {
        let is_bound = |request: &ApiRequest| {
            let bound_to = request.token.as_ref().and_then(|token| token.pointer("/cnf/x5t#S256"));
            bound_to.is_some() && bound_to.and_then(Value::as_str) == request.client_certificate.as_deref()
        };
        let tokens = usize::from(self.header.is_some());
        let checks = [
            (row.api.len() == 2, "the API saw another number of requests than 2"),
            (row.api.iter().all(|request| request.status == 200), "the API refused a request"),
            (row.token_type.as_deref() == self.header, "the API was shown a token of another kind"),
            (
                row.certificate_presented == self.certificate,
                "the API was shown a certificate and shouldn't, or not",
            ),
            (
                self.scheme != "MTLS_POP" || row.api.iter().all(is_bound),
                "the token is bound to another certificate than the connection's",
            ),
            (row.seen.len() == tokens, "the authority saw another number of requests than there are tokens"),
        ];
        checks.into_iter().find(|(holds, _)| !holds).map(|(_, problem)| problem.to_owned())
    }
}

async fn call(orders: &DownstreamApi) -> Result<(), Failure> {
    orders.get("orders/1").send().await?.error_for_status().await?.bytes().await?;
    Ok(())
}

/// The median time of a call on a connection that is kept, its token cached, in nanoseconds.
async fn median(orders: &DownstreamApi) -> Result<Option<u64>, Failure> {
    let mut times = Vec::with_capacity(CALLS);
    for _ in 0..CALLS {
        let started = Instant::now();
        call(orders).await?;
        times.push(started.elapsed());
    }
    times.sort_unstable();
    Ok(times.get(CALLS / 2).and_then(|time| u64::try_from(time.as_nanos()).ok()))
}

/// The authority has its samples, and an API its port.
fn unexpected(error: impl fmt::Display) -> Failure {
    Failure::internal(error.to_string())
}

/// What its tokens are for.
const GRAPH: &str = "https://graph.microsoft.com";
const CALLS: usize = 101;
