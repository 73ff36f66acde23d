//! The search for what the first level doesn't have.

use super::document::{Document, Section};
use super::question::Question;
use crate::cache::Entry;
use crate::cache::second_level::{Stored, StoredEntry, Wanted};

/// The partitions in which what is wanted may lie, in the order in which they are to be searched: one, as a rule.
pub fn partitions(wanted: &Wanted<'_>) -> Vec<String> {
    let mut partitions = Vec::new();
    for key in wanted.alternatives.iter().filter_map(|keys| keys.first()) {
        if let Some(partition) = Question::parse(key).and_then(|question| question.partition())
            && !partition.is_empty()
            && !partitions.contains(&partition)
        {
            partitions.push(partition);
        }
    }
    partitions
}

/// The entry of a partition that is wanted: of the first alternative that has one, the one that lives longest.
pub fn search(document: &Document<'_>, wanted: &Wanted<'_>) -> Option<Stored> {
    wanted.alternatives.iter().find_map(|keys| {
        let questions: Vec<_> = keys.iter().map(|key| Question::parse(key)).collect::<Option<_>>()?;
        let (question, key) = (questions.first()?, keys.first()?);
        let is_answer = |stored: &StoredEntry| {
            let entry = stored.entry();
            questions.iter().all(|question| question.is_answered_by(entry)) && is_usable(entry, wanted)
        };
        let mut entry = document.entries().filter(is_answer).max_by_key(|stored| expiry(stored.entry()))?;
        let keys = question.keys_of_answer(key, entry.entry());
        if let StoredEntry::AccessToken(token) = &mut entry {
            token.username = username(document, &token.home_account_id);
        }
        Some(Stored { entry, keys, groups: question.group().into_iter().collect() })
    })
}

fn is_usable(entry: Entry<'_>, wanted: &Wanted<'_>) -> bool {
    match entry {
        Entry::AccessToken(token) => {
            !token.secret.is_empty()
                && token.expires_on > wanted.expires_after
                && token.expires_on <= wanted.expires_before
                && wanted.stored_after.is_none_or(|time| token.cached_at > time)
        }
        Entry::RefreshToken(token) => !token.secret.is_empty(),
        _ => true,
    }
}

fn expiry(entry: Entry<'_>) -> u64 {
    match entry {
        Entry::AccessToken(token) => token.expires_on,
        _ => 0,
    }
}

/// What the user of an access token signs in with: the account's entry says that.
fn username(document: &Document<'_>, home_account_id: &str) -> Option<String> {
    let of_account = |stored: StoredEntry| match stored.entry() {
        Entry::Account(account) if account.home_account_id == home_account_id => {
            Some(account.username.to_owned()).filter(|name| !name.is_empty())
        }
        _ => None,
    };
    let mut accounts = document.entries_of(Section::Account);
    (!home_account_id.is_empty()).then(|| accounts.find_map(of_account)).flatten()
}
