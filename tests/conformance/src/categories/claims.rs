//! Claims, scopes.

use serde_json::Value;
use symbolon_protocol::{
    claims::{self, InvalidClaims},
    scopes::Scopes,
};

use crate::{
    checks::Checks,
    host::optional,
    input::{Input, Read, Uncovered},
};

pub(super) fn claims_merge(input: &Input<'_>, checks: &mut Checks<'_>) -> Read<()> {
    let capabilities = input.texts("capabilities")?.unwrap_or_default();
    match claims::merge(&capabilities, input.text("claims")?, input.text("client_claims")?) {
        Ok(merged) => {
            checks.succeeded();
            checks.check("claims", optional(merged.as_deref()));
        }
        Err(_) => checks.refused(InvalidClaims::CODE, false),
    }
    Ok(())
}

pub(super) fn misc(input: &Input<'_>, checks: &mut Checks<'_>) -> Read<()> {
    match checks.expected("scope") {
        Some(Value::String(_)) => {
            let scopes = Scopes::new(input.texts("scopes")?.unwrap_or_default());
            checks.check("scope", scopes.with_reserved_sorted());
            Ok(())
        }
        _ => Err(Uncovered("nothing runs it yet".into())),
    }
}
