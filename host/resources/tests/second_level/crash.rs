//! A process that is killed at any moment leaves a file that has all of what it was told is kept, and no half of anything.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use symbolon_resources::cache::{Entry, Saved};

use crate::file::file;
use crate::support::{Process, lookup, refresh_token, secret, strings, token};

/// How often the writer is killed: enough for a look at each change; `SYMBOLON_CRASH_KILLS` says otherwise.
const KILLS: u32 = 25;
const FILE: &str = "SYMBOLON_CRASH_FILE";
/// One user's entries are replaced again and again, so that changes replace what is there.
const USERS: u64 = 40;

#[test]
fn a_killed_process_leaves_a_whole_file() {
    let kills = std::env::var("SYMBOLON_CRASH_KILLS").map_or(KILLS, |kills| kills.parse().expect("a number"));
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tokens.redb");
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut written = 0;
    for _ in 0..kills {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let last = write_until_killed(&path, written, Duration::from_micros(random >> 40) / 256);
        written = written.max(last);
        let runtime = tokio::runtime::Runtime::new().unwrap();
        written = runtime.block_on(verify(&path, written));
    }
    assert!(written > u64::from(kills), "the writer did get to write: {written}");
}

/// Returns the last change that the writer was told is kept.
fn write_until_killed(path: &Path, from: u64, after: Duration) -> u64 {
    let mut writer = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::writer", "--ignored", "--nocapture"])
        .env(FILE, path)
        .env("SYMBOLON_CRASH_FROM", from.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(writer.stdout.take().unwrap()).lines();
    let number = |line: String| line.strip_prefix("kept ")?.parse::<u64>().ok();
    let first = lines.by_ref().map_while(Result::ok).find_map(number).expect("the writer writes");
    std::thread::sleep(after);
    writer.kill().unwrap();
    writer.wait().unwrap();
    lines.map_while(Result::ok).filter_map(number).last().unwrap_or(first)
}

/// Each user has the entries of one change, not older than the last that was kept. Returns the newest change.
async fn verify(path: &Path, kept: u64) -> u64 {
    let process = Process::new(&file(path));
    let mut newest = kept;
    for user in 0..USERS.min(kept + 1) {
        let expected = (0..=kept).rev().find(|number| number % USERS == user).unwrap_or_default();
        let mut found = Vec::new();
        for key in keys(user) {
            let alternatives = [strings(&[&key])];
            let secret = secret(&process.app.find(lookup(&alternatives)).await);
            let secret = secret.unwrap_or_else(|| panic!("change {expected}: no {key}"));
            found.push(secret.parse::<u64>().expect("a change"));
        }
        assert!(found.iter().all(|number| *number == found[0]), "half of a change: {found:?}");
        assert!(found[0] >= expected, "{} instead of {expected}", found[0]);
        newest = newest.max(found[0]);
    }
    newest
}

fn keys(user: u64) -> [String; 3] {
    ["access", "scope", "refresh"].map(|kind| format!("{kind} {user}"))
}

#[ignore = "the process that is killed"]
#[tokio::test]
async fn writer() {
    let Some(path) = std::env::var_os(FILE) else { return };
    let from: u64 = std::env::var("SYMBOLON_CRASH_FROM").unwrap().parse().unwrap();
    let process = Process::new(&file(Path::new(&path)));
    for number in from.. {
        let text = number.to_string();
        let [access, scope, refresh] = keys(number % USERS);
        let (access, refresh) = ([access, scope], [refresh]);
        let groups = [format!("group {}", number % USERS)];
        let saved = |entry, keys| Saved {
            entry,
            keys,
            replaces: &[],
            groups: &groups,
            partition_key: "",
            item_key: "",
        };
        let entries =
            [saved(Entry::AccessToken(token(&text)), &access[..]), saved(refresh_token(&text), &refresh[..])];
        process.app.put_through(None, &[], &entries).await;
        println!("kept {number}");
        std::io::stdout().flush().unwrap();
    }
}
