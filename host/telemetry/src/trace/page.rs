//! The page.

use std::fmt::Write as _;

use super::diagram;
use super::step::{End, Field, Happening, Request};
use super::{Acquisition, Trace};

pub(super) fn html(trace: &Trace) -> String {
    let mut out = HEAD.to_owned();
    let _ = writeln!(
        out,
        "<h1>Trace of {} acquisition{}</h1><p class=\"by\">{}. Secrets, tokens and people's names are left out.</p>",
        trace.acquisitions.len(),
        if trace.acquisitions.len() == 1 { "" } else { "s" },
        escaped(trace.generator)
    );
    for acquisition in &trace.acquisitions {
        section(&mut out, acquisition);
    }
    out.push_str(TAIL);
    out
}

fn section(out: &mut String, acquisition: &Acquisition) {
    let (verdict, class) = verdict(acquisition);
    let _ = writeln!(
        out,
        "<section id=\"n{}\"><h2>{} <span class=\"{class}\">{}</span></h2>\
         <p>application <code>{}</code>, correlation id <code>{}</code></p>",
        acquisition.number,
        escaped(acquisition.flow),
        escaped(&verdict),
        escaped(&acquisition.application),
        acquisition.correlation_id
    );
    out.push_str("<div class=\"diagram\">");
    out.push_str(&diagram::svg(acquisition));
    out.push_str("</div>\n");
    if acquisition.left_out > 0 {
        let _ = writeln!(out, "<p class=\"bad\">{} further steps are left out.</p>", acquisition.left_out);
    }
    details(out, acquisition);
    for step in &acquisition.steps {
        if let Happening::RequestSent { request } = &step.happening {
            self::request(out, request);
        }
    }
    out.push_str("</section>\n");
}

/// How it ended, in a few words.
fn verdict(acquisition: &Acquisition) -> (String, &'static str) {
    let own = acquisition.steps.iter().rev().filter(|step| step.depth == 0);
    let mut ends = own.filter_map(|step| match &step.happening {
        Happening::Ended { outcome, duration_micros, reused } => {
            let took = if *reused { String::new() } else { format!(" in {}", time(*duration_micros)) };
            Some(match outcome {
                End::Token { token_type, .. } => (format!("{token_type} token{took}"), "good"),
                End::Failure { error, code, .. } => (format!("{error}: {code}{took}"), "bad"),
            })
        }
        Happening::RequestEnded { status: Some(status), duration_micros, .. }
            if acquisition.flow == "downstream-api" =>
        {
            Some((
                format!("{status} in {}", time(*duration_micros)),
                if *status < 400 { "good" } else { "bad" },
            ))
        }
        Happening::Abandoned => Some(("given up".to_owned(), "bad")),
        _ => None,
    });
    let is_under_way = acquisition.steps.iter().any(|step| matches!(step.happening, Happening::Began { .. }));
    // A question that isn't about a token, such as one about accounts, has no end of its own.
    ends.next().unwrap_or_else(|| (if is_under_way { "under way" } else { "" }.to_owned(), "plain"))
}

/// What the diagram has no room for: the reasons.
fn details(out: &mut String, acquisition: &Acquisition) {
    let mut reasons = Vec::new();
    for step in &acquisition.steps {
        match &step.happening {
            Happening::CredentialSelected { name, credential, thumbprint_sha256, passed_over, .. } => {
                for passed in passed_over {
                    reasons
                        .push(format!("{} ({}) is passed over: {}", passed.place, passed.source, passed.why));
                }
                let thumbprint = thumbprint_sha256.as_ref().map(|it| format!(", x5t#S256 {it}"));
                let thumbprint = thumbprint.unwrap_or_default();
                reasons.push(format!(
                    "{name} ({credential}{thumbprint}) serves: it is the first that can be used"
                ));
            }
            Happening::CredentialUnavailable { why, .. } | Happening::InstanceStopped { why } => {
                reasons.push(why.clone());
            }
            Happening::RequestEnded { attempt, authority, error: Some(error), .. } => {
                reasons.push(format!("request #{attempt} to {authority}: {error}"));
            }
            Happening::Ended { outcome: End::Failure { aadsts_codes, suberror, trace_id, .. }, .. } => {
                reasons.extend((!aadsts_codes.is_empty()).then(|| format!("AADSTS codes: {aadsts_codes:?}")));
                reasons.extend(suberror.as_ref().map(|suberror| format!("suberror: {suberror}")));
                reasons.extend(trace_id.as_ref().map(|id| format!("the authority's trace id: {id}")));
            }
            Happening::Ended {
                outcome: End::Token { cache_refresh_reason, bound_to, .. },
                reused: false,
                ..
            } => {
                if *cache_refresh_reason != "notApplicable" {
                    reasons.push(format!("why the cache didn't serve: {cache_refresh_reason}"));
                }
                reasons.extend(bound_to.as_ref().map(|it| format!("the token is bound to x5t#S256 {it}")));
            }
            _ => {}
        }
    }
    if !reasons.is_empty() {
        let items = reasons.iter().map(|reason| format!("<li>{}</li>", escaped(reason)));
        let _ = writeln!(out, "<ul>{}</ul>", items.collect::<String>());
    }
}

fn request(out: &mut String, request: &Request) {
    let certificate = match &request.certificate {
        Some(thumbprint) => format!("presents the certificate {thumbprint}"),
        None => "presents no certificate".to_owned(),
    };
    let secret = request.secret.as_ref().map(|place| format!("; a secret goes into {place}"));
    let _ = writeln!(
        out,
        "<details open><summary>Request #{} to {}: {}{}</summary><button type=\"button\">Copy</button><pre>{}</pre></details>",
        request.attempt,
        escaped(&request.authority),
        escaped(&certificate),
        escaped(&secret.unwrap_or_default()),
        escaped(&text(request))
    );
}

/// The request as HTTP/1.1 would write it, a field of its form on each line.
fn text(request: &Request) -> String {
    let Request { method, scheme, authority, path, .. } = request;
    let mut text = format!("{method} {scheme}://{authority}{path}");
    for (index, field) in request.query.iter().enumerate() {
        let _ = write!(text, "{}{}={}", if index == 0 { '?' } else { '&' }, field.name, value(field));
    }
    for field in &request.headers {
        let _ = write!(text, "\n{}: {}", field.name, value(field));
    }
    if !request.form.is_empty() {
        text.push('\n');
    }
    for (index, field) in request.form.iter().enumerate() {
        let _ = write!(text, "\n{}{}={}", if index == 0 { "" } else { "&" }, field.name, value(field));
    }
    if let (true, Some(bytes @ 1..)) = (request.form.is_empty(), request.body_bytes) {
        let _ = write!(text, "\n\n[{bytes} bytes]");
    }
    text
}

fn value(field: &Field) -> String {
    match (&field.value, field.redacted_bytes) {
        (Some(value), _) => value.clone(),
        (None, Some(0)) | (None, None) => "[filled in on the way out]".to_owned(),
        (None, Some(bytes)) => format!("[redacted: {bytes} bytes]"),
    }
}

/// A time in a unit that suits it.
pub(super) fn time(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{micros} µs"),
        1_000..1_000_000 => format!("{}.{} ms", micros / 1_000, micros % 1_000 / 100),
        _ => format!("{}.{} s", micros / 1_000_000, micros % 1_000_000 / 100_000),
    }
}

/// The beginning of a text, where it is longer than there is room for.
pub(super) fn short(text: &str, length: usize) -> String {
    match text.char_indices().nth(length) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

/// The text as text of HTML and as an attribute's value, whoever it comes from.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(c),
            c if c.is_control() => out.push(char::REPLACEMENT_CHARACTER),
            c => out.push(c),
        }
    }
    out
}

/// Nothing is loaded from anywhere, and nothing that an authority says is run.
const HEAD: &str = r#"<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-N9Jv6DzXXE0sujWOk7svM++l6jC1gTpmuYZyZAxxPjg='">
<meta name="viewport" content="width=device-width"><title>Trace of acquisitions</title>
<style>
:root { color-scheme: light dark; --text: #1c2733; --quiet: #63707d; --back: #fff; --line: #c6ced6; --good: #17723c; --bad: #b3261e; --blue: #1f5fbf; --box: #f1f4f7 }
@media (prefers-color-scheme: dark) { :root { --text: #e2e8ee; --quiet: #98a4b0; --back: #14191f; --line: #3b4650; --good: #63c58b; --bad: #ff8a80; --blue: #8ab4f8; --box: #1f2730 } }
body { font: 14px/1.45 system-ui, sans-serif; color: var(--text); background: var(--back); margin: 24px }
h1 { font-size: 20px; margin: 0 } h2 { font-size: 16px; margin: 0 } .by { color: var(--quiet); margin-top: 2px }
section { border-top: 1px solid var(--line); padding: 14px 0 } h2 span { font-weight: normal }
.good { color: var(--good) } .bad { color: var(--bad) } code, pre { font: 12px/1.5 ui-monospace, monospace }
.diagram { overflow-x: auto } pre { background: var(--box); padding: 10px 12px; border-radius: 5px; white-space: pre-wrap; overflow-wrap: anywhere; margin: 6px 0 }
summary { cursor: pointer } details { position: relative; margin: 6px 0 } button { position: absolute; right: 8px; top: 34px; font: inherit; font-size: 12px }
svg text { font: 12px system-ui, sans-serif; fill: var(--text) } svg .lane { stroke: var(--line); stroke-dasharray: 3 3 }
svg .head { fill: var(--box); stroke: var(--line) } svg .name, svg .label { text-anchor: middle } svg .name { font-weight: 600 }
svg .left { text-anchor: end } svg .time { text-anchor: end; fill: var(--quiet) } svg .arrow { stroke: var(--blue) } svg .tip, svg circle { fill: var(--blue) }
svg .answer.arrow { stroke-dasharray: 6 3 } svg .good.arrow { stroke: var(--good) } svg .good.tip { fill: var(--good) }
svg .bad.arrow { stroke: var(--bad) } svg .bad.tip, svg circle.bad, svg .note.bad { fill: var(--bad) } svg circle.plain { fill: var(--quiet) }
</style></head><body>
"#;

/// The policy in [`HEAD`] has its digest: whoever changes it changes that as well.
const TAIL: &str = r#"<script>for (const button of document.querySelectorAll("button")) {
  button.title = "Copies the request";
  button.onclick = async () => {
    const request = button.nextElementSibling;
    try {
      await navigator.clipboard.writeText(request.textContent);
    } catch {
      getSelection().selectAllChildren(request);
      document.execCommand("copy");
    }
    button.textContent = "Copied";
  };
}
</script></body></html>
"#;
