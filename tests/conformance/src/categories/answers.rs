//! Answers of the authority.

use serde_json::{Value, json};
use symbolon_protocol::{
    error::{Error, ErrorClass},
    response::{self, Exchange, HttpResponse, TransportError, TransportErrorKind},
};

use crate::{
    checks::Checks,
    host::optional,
    input::{Input, Read, Uncovered},
};

pub(super) fn error_mapping(input: &Input<'_>, checks: &mut Checks<'_>) -> Read<()> {
    let exchange = match input.text("expected_scheme")?.map(str::to_ascii_lowercase).as_deref() {
        None | Some("bearer") => exchange("Bearer"),
        Some("pop") => exchange("PoP"),
        Some("mtls_pop") => Exchange { bound: true, ..exchange("mtls_pop") },
        Some(other) => return Err(Uncovered(format!("there is no scheme {other}"))),
    };
    let result = match answer(input)? {
        Some(response) => response::parse(&response, &exchange),
        None => Err(response::transport_error(
            &TransportError {
                kind: TransportErrorKind::Timeout,
                detail: "connection-read-timeout".into(),
                may_be_sent: true,
            },
            &exchange,
        )),
    };
    match result {
        Ok(token) => {
            checks.succeeded();
            checks.check("success", true);
            checks.check("class", Value::Null);
            checks.check("access_token", token.access_token);
            checks.check("expires_in", token.expires_in);
            checks.check("ext_expires_in", token.extended_expires_in);
            checks.check("refresh_in", token.refresh_in);
            checks.check("scope", optional(token.scope.as_deref()));
        }
        Err(error) => {
            checks.check("success", false);
            check_error(&error, checks);
        }
    }
    Ok(())
}

fn check_error(error: &Error, checks: &mut Checks<'_>) {
    let class = match error.class {
        ErrorClass::Client => "client",
        ErrorClass::Service => "service",
        ErrorClass::ThrottledService => "throttled_service",
        ErrorClass::UiRequired => "ui_required",
        ErrorClass::ClaimsChallenge => "claims_challenge",
        _ => "unknown",
    };
    checks.check("class", class);
    checks.check("error_code", error.code.as_str());
    checks.check("classification", format!("{:?}", error.classification));
    checks.check("claims", optional(error.claims.as_deref()));
    checks.check("retryable", error.retryable);
    checks.check("status", error.status);
    checks.check("suberror", optional(error.suberror.as_deref()));
    checks.check("correlation_id", error.correlation_id.as_str());
    checks.check("trace_id", optional(error.trace_id.as_deref()));
    checks.check("timestamp", optional(error.timestamp.as_deref()));
    checks.check("error_codes", json!(error.aadsts_codes));
    checks.check("retry_after_ms", error.retry_after_ms);
    checks.check_part("message_contains", |expected| {
        let found = expected.as_str().is_some_and(|part| error.message.contains(part));
        if found { expected.clone() } else { error.message.as_str().into() }
    });
}

/// The answer of the input: a status and a body, or an error code in place of both; `None` for no answer.
fn answer(input: &Input<'_>) -> Read<Option<HttpResponse>> {
    let body = match (input.any("body"), input.text("error_code")?) {
        (_, Some("request_timeout")) => return Ok(None),
        (None, Some(code)) => json!({ "error": code }).to_string(),
        (Some(Value::String(raw)), _) => raw.clone(),
        (Some(body), _) => body.to_string(),
        (None, None) => String::new(),
    };
    let status = input.number("status")?.unwrap_or(400);
    let headers = input.object("headers")?;
    let retry_after = match &headers {
        Some(headers) => headers.any_of(&["Retry-After", "retry-after"]),
        None => input.any("retry_after"),
    };
    headers.map_or(Ok(()), |headers| headers.finish())?;
    let retry_after = match retry_after {
        Some(Value::String(text)) => Some(text.clone()),
        other => other.map(Value::to_string),
    };
    let status = u16::try_from(status).map_err(|_| Uncovered(format!("{status} is no status")))?;
    Ok(Some(HttpResponse {
        status,
        retry_after,
        challenge: None,
        date: None,
        server: None,
        body: body.into_bytes(),
    }))
}

pub(super) fn certificate_reload(input: &Input<'_>, checks: &mut Checks<'_>) -> Read<()> {
    let description = format!("{}: said the authority.", input.text("body_contains")?.unwrap_or_default());
    let body = json!({ "error": input.text("error")?, "error_description": description });
    checks.check("reload_certificate_and_retry", rejects_certificate(body.to_string()));
    Ok(())
}

pub(super) fn retryable_certificate_error(input: &Input<'_>, checks: &mut Checks<'_>) -> Read<()> {
    let (given, when) = (input.object("given")?, input.object("when")?);
    let given = given.ok_or_else(|| Uncovered("nothing is given".into()))?;
    // The error that was reported outweighs the one in the body that is searched.
    let mut body: Value = serde_json::from_str(given.text("response_body")?.unwrap_or("{}"))
        .map_err(|_| Uncovered("the body isn't JSON".into()))?;
    if let (Some(error), Some(body)) = (given.text("error")?, body.as_object_mut()) {
        body.insert("error".into(), error.into());
    }
    checks.check("reload", rejects_certificate(body.to_string()));
    given.finish().and_then(|()| when.map_or(Ok(()), |when| when.finish()))
}

fn rejects_certificate(body: String) -> bool {
    let response = HttpResponse {
        status: 401,
        retry_after: None,
        challenge: None,
        date: None,
        server: None,
        body: body.into_bytes(),
    };
    response::parse(&response, &exchange("Bearer")).is_err_and(|error| error.is_certificate_rejection())
}

fn exchange(token_type: &'static str) -> Exchange<'static> {
    Exchange {
        token_type,
        client_id: "client",
        host: "login.microsoftonline.com",
        bound: false,
        blueprint: None,
        single_use: false,
        correlation_id: "",
        now: 1_700_000_000_000,
    }
}
