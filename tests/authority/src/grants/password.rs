//! `password`: a token for a user by name and password (RFC 6749 section 4.3).

use aws_lc_rs::{constant_time, digest};
use serde_json::Value;

use super::{Granted, user_by_name};
use crate::{
    refusal::{self, Refusal},
    token::Call,
};

pub(crate) fn answer(call: &Call<'_>) -> Result<Value, Refusal> {
    let (name, password) = (call.form().require("username")?, call.form().require("password")?);
    let scope = call.form().require("scope")?;
    let account = user_by_name(call, name)?;
    if !account.user.password.as_deref().is_some_and(|own| is_same(own, password)) {
        return Err(refusal::PASSWORD_WRONG
            .because("Error validating credentials due to invalid username or password."));
    }
    super::answer(call, Granted::new(account, scope))
}

fn is_same(own: &str, given: &str) -> bool {
    let digest = |text: &str| digest::digest(&digest::SHA256, text.as_bytes());
    constant_time::verify_slices_are_equal(digest(own).as_ref(), digest(given).as_ref()).is_ok()
}
