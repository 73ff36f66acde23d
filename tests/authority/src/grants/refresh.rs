//! `refresh_token`: another token for the user of an earlier grant, for any resource.

use serde_json::Value;

use super::{Granted, user};
use crate::{refusal::Refusal, token::Call};

pub(crate) fn answer(call: &Call<'_>) -> Result<Value, Refusal> {
    let token = call.form().require("refresh_token")?;
    let redeemed = call.state.refresh_tokens.redeem(
        token,
        &call.application.client_id,
        call.client.is_browser(),
        call.application.rotating,
        call.now_unix,
    )?;
    let session = &redeemed.session;
    let granted = Granted {
        of_agent: session.of_agent,
        family: Some(redeemed.family),
        ..Granted::new(user(call, &session.user)?, call.form().get("scope").unwrap_or(&session.scope))
    };
    let answer = super::answer(call, granted);
    if answer.is_err() {
        // What gave nothing is no use.
        call.state.refresh_tokens.release(token);
    }
    answer
}
