//! What is known of users: whom one can acquire for silently, and how that ends.
//!
//! Everything of an account, and everything of a long-running process, is a group in the cache.

use alloc::string::String;

use crate::cache::{AccountItem, account_group, accounts_group, session_group};
use crate::error::Error;
use crate::request::{Account, Application};

/// The group of a long-running process. Without it the process is over.
///
/// # Errors
///
/// `session_key_required` for an empty key.
pub fn of_long_running_process(application: &Application, session_key: &str) -> Result<String, Error> {
    if session_key.is_empty() {
        return Err(Error::invalid_request(
            "session_key_required",
            "No session key is given; the one with which the long-running process was initiated is.",
        ));
    }
    Ok(session_group(&application.client_id, session_key))
}

/// The group of everything that belongs to an account.
///
/// # Errors
///
/// `user_null` for an empty id.
pub fn of_account(application: &Application, home_account_id: &str) -> Result<String, Error> {
    if home_account_id.is_empty() {
        return Err(Error::invalid_request(
            "user_null",
            "No account is given; one of those that are known is.",
        ));
    }
    Ok(account_group(&application.client_id, home_account_id))
}

/// The group of the accounts that one can acquire for silently.
pub fn known(application: &Application) -> String {
    accounts_group(&application.client_id)
}

/// An entry of that group, as callers see it.
pub fn account(item: AccountItem) -> Account {
    Account { home_account_id: item.home_account_id, environment: item.environment, username: item.username }
}
