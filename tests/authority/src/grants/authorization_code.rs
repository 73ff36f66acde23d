//! `authorization_code`: a token for a user who signed in with a browser (RFC 6749 section 4.1.3, RFC 7636).

use serde_json::{Value, json};

use super::{Granted, user};
use crate::{
    authorization_code::{AuthorizationCode, Redemption},
    refusal::Refusal,
    token::Call,
};

pub(crate) fn answer(call: &Call<'_>) -> Result<Value, Refusal> {
    let form = call.form();
    let redemption = Redemption {
        client_id: &call.application.client_id,
        redirect_uri: form.require("redirect_uri")?,
        verifier: form.get("code_verifier"),
        browser: call.client.is_browser(),
    };
    let codes = &call.state.codes;
    let code = codes.redeem(form.require("code")?, &redemption, call.now_unix)?;
    let granted = Granted {
        nonce: code.nonce.as_deref(),
        ..Granted::new(user(call, &code.user)?, form.get("scope").unwrap_or(&code.scope))
    };
    let mut answer = super::answer(call, granted)?;
    if form.get("return_spa_code") == Some("1") {
        // The page proves nothing but its origin, so that there is no verifier to ask for.
        let of_browser = AuthorizationCode { browser: true, challenge: None, ..code };
        answer["spa_code"] = json!(codes.issue(of_browser, call.now_unix));
    }
    Ok(answer)
}
