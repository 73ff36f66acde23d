//! The rows, for people.

use std::fmt::Write as _;

use symbolon_authority::{ApiRequest, Endpoint, Field, FieldValue, LogEntry};

use super::demonstrations::Transport;
use super::row::Row;

/// The rows as a table, and under it what the authority saw for each, and what an API saw.
pub(super) fn table(rows: &[Row]) -> String {
    let mut cells = vec![HEADINGS.map(str::to_owned)];
    cells.extend(rows.iter().map(cells_of));
    let mut text = aligned(&cells);
    text.push_str("\nWhat the authority saw, and the API:\n");
    for (number, row) in rows.iter().enumerate() {
        for entry in &row.seen {
            let _ = writeln!(text, "{:>2}  {}", number + 1, seen(entry));
        }
        for request in &row.api {
            let _ = writeln!(text, "{:>2}  {}", number + 1, seen_by_api(request));
        }
        if let Some(problem) = &row.problem {
            let _ = writeln!(text, "{:>2}  FAILED: {problem}", number + 1);
        }
    }
    text
}

const HEADINGS: [&str; 9] = [
    "",
    "flow",
    "transport",
    "endpoint host",
    "certificate",
    "token type",
    "cold µs",
    "cached ns",
    "requests",
];

fn cells_of(row: &Row) -> [String; 9] {
    let or_dash = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    [
        (if row.ok { "ok" } else { "FAILED" }).to_owned(),
        row.flow.to_owned(),
        [transport(row.transport), row.note].join(" ").trim_end().to_owned(),
        or_dash(row.endpoint_host.clone()),
        (if row.certificate_presented { "presented" } else { "-" }).to_owned(),
        or_dash(row.token_type.clone()),
        or_dash(row.cold_micros.map(|micros| micros.to_string())),
        or_dash(row.cached_nanos.map(|nanos| nanos.to_string())),
        row.requests.to_string(),
    ]
}

fn transport(transport: Transport) -> &'static str {
    match transport {
        Transport::Secret => "secret",
        Transport::Assertion => "assertion",
        Transport::CertificateOverMtls => "certificate over mTLS",
        Transport::MtlsPop => "mTLS PoP",
        Transport::MtlsOnly => "certificate only",
    }
}

/// Columns as wide as their widest cell, two blanks apart; the last three hold numbers and are flush right.
fn aligned<const N: usize>(rows: &[[String; N]]) -> String {
    let width =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: [usize; N] = std::array::from_fn(|column| width(column).unwrap_or(0));
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(widths).enumerate().map(|(column, (cell, width))| match column + 3 >= N {
            true => format!("{cell:>width$}"),
            false => format!("{cell:<width$}"),
        });
        let line = cells.collect::<Vec<_>>().join("  ");
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

/// A request in one line, without secrets: the authority's log has none.
fn seen(entry: &LogEntry) -> String {
    let LogEntry { method, host, path, protocol, .. } = entry;
    let form: Vec<_> = entry.form.iter().map(field).collect();
    let certificate = certificate(entry.client_certificate.as_deref());
    let is_plain = matches!(entry.endpoint, Some(Endpoint::PlatformMetadata | Endpoint::IssueCredential));
    let scheme = if is_plain { "http" } else { "https" };
    let status = entry.status.map_or_else(|| "no answer".to_owned(), |status| status.to_string());
    format!("{method} {scheme}://{host}{path} {protocol}, {certificate}: {status}\n      {}", form.join(" "))
}

/// The same of a request at an API.
fn seen_by_api(request: &ApiRequest) -> String {
    let ApiRequest { method, path, status, http_version, .. } = request;
    let token = match (&request.authorization_scheme, &request.token) {
        (None, _) => "no token".to_owned(),
        (Some(scheme), token) => {
            let bound_to = token.as_ref().and_then(|token| token.pointer("/cnf/x5t#S256"));
            let bound_to = bound_to.and_then(|bound_to| bound_to.as_str()).map(short);
            let bound_to = bound_to.map(|bound_to| format!(" bound to {bound_to}")).unwrap_or_default();
            format!("a {scheme} token{bound_to}")
        }
    };
    let certificate = certificate(request.client_certificate.as_deref());
    format!("API: {method} {path} HTTP/{http_version}, {token}, {certificate}: {status}")
}

fn certificate(thumbprint: Option<&str>) -> String {
    match thumbprint {
        Some(thumbprint) => format!("client certificate {}", short(thumbprint)),
        None => "no client certificate".to_owned(),
    }
}

fn field(field: &Field) -> String {
    match &field.value {
        FieldValue::Text(text) => format!("{}={}", field.name, short_text(text)),
        FieldValue::Token { header, .. } => format!("{}={}", field.name, token_header(header)),
        _ => format!("{}=(redacted)", field.name),
    }
}

/// What identifies the key in a JWT's header.
fn token_header(header: &serde_json::Value) -> String {
    let member = |name: &str| {
        header.get(name).and_then(|value| value.as_str()).map(|value| format!("{name} {}", short(value)))
    };
    let chain = header.get("x5c").map(|_| "x5c".to_owned());
    let members: Vec<_> = ["alg", "x5t#S256", "x5t"].into_iter().filter_map(member).chain(chain).collect();
    format!("({})", members.join(", "))
}

/// The beginning of a thumbprint.
fn short(text: &str) -> String {
    const SHOWN: usize = 12;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// The last step of a URN, which says it all.
fn short_text(text: &str) -> String {
    match text.strip_prefix("urn:ietf:params:oauth:") {
        Some(rest) => format!("…:{rest}"),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let rows =
            [["a", "bb", "1", "22", "3"], ["ccc", "d", "44", "5", "µ6"]].map(|row| row.map(str::to_owned));
        assert_eq!(aligned(&rows), "a    bb   1  22   3\nccc  d   44   5  µ6\n");
    }

    #[test]
    fn long_values_are_cut() {
        assert_eq!(short("abcdefghijkl"), "abcdefghijkl");
        assert_eq!(short("abcdefghijklm"), "abcdefghijkl…");
        assert_eq!(
            short_text("urn:ietf:params:oauth:client-assertion-type:jwt-pop"),
            "…:client-assertion-type:jwt-pop"
        );
    }
}
