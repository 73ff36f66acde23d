//! `user_fic`: a token for a user whom the client names, by a token of the client for the exchange.

use serde_json::Value;

use super::{Granted, user, user_by_name};
use crate::{
    agent,
    encoding::guid_bytes,
    refusal::{self, Refusal},
    token::Call,
};

pub(crate) fn answer(call: &Call<'_>) -> Result<Value, Refusal> {
    let form = call.form();
    let is_agent = call.application.blueprint.is_some();
    if !is_agent && !call.application.names_users {
        return Err(refusal::GRANT_UNSUPPORTED.because(format!(
            "The grant type 'user_fic' is not supported for the application '{}', which is no agent.",
            call.application.client_id
        )));
    }
    let credential = form.require("user_federated_identity_credential")?;
    let account = match (form.get("user_id"), form.get("username")) {
        (Some(_), Some(_)) => {
            return Err(refusal::REQUEST_INVALID
                .because("The parameters 'user_id' and 'username' must not be used together."));
        }
        (Some(id), None) if guid_bytes(id).is_some() => user(call, id)?,
        (Some(_), None) => {
            return Err(
                refusal::REQUEST_INVALID.because("The value of the parameter 'user_id' is no object id.")
            );
        }
        (None, _) => user_by_name(call, form.require("username")?)?,
    };
    let scope = form.require("scope")?;
    agent::verify_user_credential(credential, call, &account)?;
    super::answer(call, Granted { of_agent: is_agent, ..Granted::new(account, scope) })
}
