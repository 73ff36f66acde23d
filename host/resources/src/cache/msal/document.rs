//! A partition as MSAL serialises it: one JSON object of five sections, each of them an object of entries by their keys.
//!
//! What isn't understood stays as it is, byte by byte: other nodes, other members of entries, entries of another shape.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap as _, Serializer};
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use super::item::Item;
use crate::cache::Entry;
use crate::cache::second_level::StoredEntry;

/// A partition. It borrows from the text that it was read from and from the entries that were put into it.
#[derive(Clone, Default)]
pub struct Document<'a> {
    access_tokens: Option<Items<'a>>,
    refresh_tokens: Option<Items<'a>>,
    id_tokens: Option<Items<'a>>,
    accounts: Option<Items<'a>>,
    app_metadata: Option<Items<'a>>,
    others: Pairs<'a, &'a RawValue>,
}

type Items<'a> = Pairs<'a, Item<'a>>;

/// What isn't a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it isn't the JSON of a token cache: an object of sections, each an object of entries")]
pub struct NotADocument;

/// The sections, by what is in them, in the order in which MSAL writes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Section {
    AccessToken,
    RefreshToken,
    IdToken,
    Account,
    AppMetadata,
}

impl<'a> Document<'a> {
    /// Reads a partition.
    ///
    /// # Errors
    ///
    /// [`NotADocument`] where the text isn't a JSON object, or a section isn't one.
    pub fn parse(text: &'a [u8]) -> Result<Self, NotADocument> {
        let text = std::str::from_utf8(text).map_err(|_| NotADocument)?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let nodes: Pairs<'a, &'a RawValue> = serde_json::from_str(text).map_err(|_| NotADocument)?;
        let mut document = Self::default();
        for (name, value) in nodes.0 {
            match Section::named(&name) {
                Some(section) if value.get() != "null" => {
                    *document.section_mut(section) = Some(items(value)?);
                }
                Some(_) => {}
                None => document.others.put(name, value),
            }
        }
        Ok(document)
    }

    /// A partition with one entry.
    pub fn of(key: &'a str, entry: Entry<'a>) -> Self {
        let mut document = Self::default();
        document.put(key, entry);
        document
    }

    /// The partition as it is stored. The text is wiped when it is dropped.
    pub fn to_text(&self) -> Zeroizing<Vec<u8>> {
        // Measured first: a buffer that grows would leave copies of tokens behind. Neither writer ever fails.
        let mut length = Length(0);
        let measured = serde_json::to_writer(&mut length, self);
        let mut text = Zeroizing::new(Vec::with_capacity(length.0));
        let written = measured.and_then(|()| serde_json::to_writer(&mut *text, self));
        debug_assert!(written.is_ok(), "a partition can always be written");
        text
    }

    /// The entries that are understood.
    pub fn entries(&self) -> impl Iterator<Item = StoredEntry> {
        Section::ALL.into_iter().flat_map(|section| self.entries_of(section))
    }

    /// Whether nothing is left that anyone could use: no token, and no node that isn't understood.
    pub fn is_over(&self) -> bool {
        self.is_empty(Section::AccessToken)
            && self.is_empty(Section::RefreshToken)
            && self.others.0.is_empty()
    }

    /// Until when the partition is of use, in Unix seconds: until its last access token expires. None where a refresh token
    /// is in it, which outlives them all.
    pub fn suggested_expiry(&self) -> Option<u64> {
        let expiry = |stored: StoredEntry| match stored.entry() {
            Entry::AccessToken(token) => Some(token.expires_on),
            _ => None,
        };
        let last = || self.entries_of(Section::AccessToken).filter_map(expiry).max();
        self.is_empty(Section::RefreshToken).then(last).flatten()
    }

    /// Puts an entry under its key. What the one that is there says beyond it stays, but for what belongs to the old token.
    pub(super) fn put(&mut self, key: &'a str, entry: Entry<'a>) {
        let items = self.section_mut(Section::of(entry)).get_or_insert_default();
        let item = Item::of(entry, items.get(key));
        items.put(key.into(), item);
    }

    /// Removes the entry under a key.
    pub(super) fn remove(&mut self, section: Section, key: &str) {
        if let Some(items) = self.section_mut(section) {
            items.0.retain(|(name, _)| name != key);
        }
    }

    /// Removes the entries of a section that are to go, judged by key and entry. Those that aren't understood stay.
    pub(super) fn remove_if(&mut self, section: Section, is_to_go: impl Fn(&str, Entry<'_>) -> bool) {
        if let Some(items) = self.section_mut(section) {
            let stays = |key: &str, stored: StoredEntry| !is_to_go(key, stored.entry());
            items.0.retain(|(key, item)| item.read(section).is_none_or(|stored| stays(key, stored)));
        }
    }

    /// The entries of a section that are understood.
    pub(super) fn entries_of(&self, section: Section) -> impl Iterator<Item = StoredEntry> {
        let items = self.section(section).as_ref().map_or(&[][..], |items| &items.0);
        items.iter().filter_map(move |(_, item)| item.read(section))
    }

    fn is_empty(&self, section: Section) -> bool {
        self.section(section).as_ref().is_none_or(|items| items.0.is_empty())
    }

    fn section(&self, section: Section) -> &Option<Items<'a>> {
        match section {
            Section::AccessToken => &self.access_tokens,
            Section::RefreshToken => &self.refresh_tokens,
            Section::IdToken => &self.id_tokens,
            Section::Account => &self.accounts,
            Section::AppMetadata => &self.app_metadata,
        }
    }

    fn section_mut(&mut self, section: Section) -> &mut Option<Items<'a>> {
        match section {
            Section::AccessToken => &mut self.access_tokens,
            Section::RefreshToken => &mut self.refresh_tokens,
            Section::IdToken => &mut self.id_tokens,
            Section::Account => &mut self.accounts,
            Section::AppMetadata => &mut self.app_metadata,
        }
    }
}

fn items(section: &RawValue) -> Result<Items<'_>, NotADocument> {
    let items: Pairs<'_, &RawValue> = serde_json::from_str(section.get()).map_err(|_| NotADocument)?;
    Ok(Pairs(items.0.into_iter().map(|(name, value)| (name, Item::parse(value))).collect()))
}

impl fmt::Debug for Document<'_> {
    /// Leaves out the entries, which are secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut sections = f.debug_struct("Document");
        for section in Section::ALL {
            sections.field(section.name(), &self.section(section).as_ref().map_or(0, |items| items.0.len()));
        }
        sections.finish_non_exhaustive()
    }
}

impl Serialize for Document<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for section in Section::ALL {
            if let Some(items) = self.section(section) {
                map.serialize_entry(section.name(), items)?;
            }
        }
        for (name, value) in &self.others.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl Section {
    pub(super) const ALL: [Self; 5] =
        [Self::AccessToken, Self::RefreshToken, Self::IdToken, Self::Account, Self::AppMetadata];

    pub(super) fn of(entry: Entry<'_>) -> Self {
        match entry {
            Entry::AccessToken(_) => Self::AccessToken,
            Entry::RefreshToken(_) => Self::RefreshToken,
            Entry::IdToken(_) => Self::IdToken,
            Entry::Account(_) => Self::Account,
            Entry::AppMetadata(_) => Self::AppMetadata,
        }
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|section| section.name() == name)
    }

    fn name(self) -> &'static str {
        match self {
            Self::AccessToken => "AccessToken",
            Self::RefreshToken => "RefreshToken",
            Self::IdToken => "IdToken",
            Self::Account => "Account",
            Self::AppMetadata => "AppMetadata",
        }
    }
}

/// A JSON object whose members keep their order.
#[derive(Clone)]
pub(super) struct Pairs<'a, V>(pub(super) Vec<(Cow<'a, str>, V)>);

impl<'a, V> Pairs<'a, V> {
    /// Of several members of one name the last counts.
    pub(super) fn get(&self, name: &str) -> Option<&V> {
        self.0.iter().rev().find(|(other, _)| other == name).map(|(_, value)| value)
    }

    /// Puts a member in the place of those of its name, or last.
    pub(super) fn put(&mut self, name: Cow<'a, str>, value: V) {
        let at = self.0.iter().position(|(other, _)| *other == name).unwrap_or(self.0.len());
        self.0.retain(|(other, _)| *other != name);
        self.0.insert(at, (name, value));
    }
}

impl<V> Default for Pairs<'_, V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<V: Serialize> Serialize for Pairs<'_, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

impl<'de: 'a, 'a, V: Deserialize<'de>> Deserialize<'de> for Pairs<'a, V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(PairsVisitor(PhantomData))
    }
}

struct PairsVisitor<'a, V>(PhantomData<Pairs<'a, V>>);

impl<'de: 'a, 'a, V: Deserialize<'de>> Visitor<'de> for PairsVisitor<'a, V> {
    type Value = Pairs<'a, V>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut pairs = Vec::new();
        while let Some((Name(name), value)) = map.next_entry()? {
            pairs.push((name, value));
        }
        Ok(Pairs(pairs))
    }
}

/// A name, borrowed where it has no escapes.
#[derive(serde::Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// Counts what is written.
struct Length(usize);

impl io::Write for Length {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
