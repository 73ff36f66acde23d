//! A file: what outlives the process.

use std::path::Path;

use symbolon_resources::cache::ApplicationId;
use symbolon_resources::clock::SystemClock;
use symbolon_resources::second_level::{SecondLevels, TokenCacheOptions, TokenCacheStore};

use crate::support::{Process, bring, bring_token, lead, look, refresh_token, sealing};

pub(crate) fn file(path: &Path) -> TokenCacheOptions {
    TokenCacheOptions::new(TokenCacheStore::File(path.to_owned()), sealing(&[1]))
}

#[tokio::test]
async fn tokens_outlive_the_process() {
    let directory = tempfile::tempdir().unwrap();
    let options = file(&directory.path().join("tokens.redb"));
    let one = Process::new(&options);
    let ticket = lead(&one.app, "key").await;
    bring_token(&one.app, Some(ticket), "key", "secret").await;
    bring(&one.app, None, refresh_token("gone"), &["user"], &["user"]).await;
    bring(&one.app, None, refresh_token("kept"), &["one", "other"], &["another"]).await;
    assert!(one.app.remove_group_through("user").await);
    drop(one);
    let two = Process::new(&options);
    assert_eq!(look(&two.app, "key").await.as_deref(), Some("secret"));
    assert_eq!(look(&two.app, "other").await.as_deref(), Some("kept"));
    assert_eq!(look(&two.app, "user").await, None);
    assert_eq!(look(&two.application("second"), "key").await, None);
    assert_eq!(two.app.members_through("another").await.len(), 1);
    drop(two);
    let content = std::fs::read(directory.path().join("tokens.redb")).unwrap();
    let has = |text: &str| content.windows(text.len()).any(|bytes| bytes == text.as_bytes());
    assert!(has("values") && !has("secret") && !has("uid.utid") && !has("kept"));
}

#[tokio::test]
async fn another_key_opens_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tokens.redb");
    bring_token(&Process::new(&file(&path)).app, None, "key", "secret").await;
    let other = TokenCacheOptions::new(TokenCacheStore::File(path), sealing(&[2]));
    assert_eq!(look(&Process::new(&other).app, "key").await, None);
}

#[cfg(unix)]
#[tokio::test]
async fn a_file_is_its_users_own() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tokens.redb");
    let _process = Process::new(&file(&path));
    assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn what_is_wrong_with_a_file_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tokens.redb");
    let open = |path: &Path| {
        let second_levels = SecondLevels::new(std::sync::Arc::new(SystemClock));
        let opened = second_levels.open(&file(path), &ApplicationId::new("app"));
        opened.err().map(|error| error.to_string()).unwrap_or_default()
    };
    let _process = Process::new(&file(&path));
    let error = open(&path);
    assert!(error.contains("tokens.redb, which another process uses"), "{error}");
    std::fs::write(directory.path().join("text"), "something else").unwrap();
    let error = open(&directory.path().join("text"));
    assert!(error.contains("text, which"), "{error}");
    assert_eq!(std::fs::read(directory.path().join("text")).unwrap(), b"something else");
    let error = open(&directory.path().join("no/such/directory"));
    assert!(error.contains("Symbolon:TokenCache:File") && error.contains("can't be opened"), "{error}");
}
