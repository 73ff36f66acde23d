//! What entries have in common, kept once: the names of clients, directories and scopes for all entries of an application
//! ([`Interner`]); who a user is, and the group, for the entries that a response brings.

use std::borrow::Cow;
use std::sync::Arc;

use crate::sync::Mutex;

use super::cached::{ARC_COUNTS, Draft, allocated};
use super::locks::lock;
use super::text::{Field, FieldSet, Fields, Text};

/// Strings that several entries have. They are wiped when the last of those is gone.
pub(super) struct Common {
    /// Those that all entries of the application may have.
    names: Option<Arc<Common>>,
    text: Text,
    /// How many bytes each of the entries is charged for it.
    charged: u32,
}

impl Common {
    /// What the drafts have in common; none if that is nothing.
    pub(super) fn of(drafts: &[&Draft<'_>], interner: &Interner) -> Option<Arc<Self>> {
        let all: Vec<_> = drafts.iter().map(|draft| &draft.fields).collect();
        let fields = Fields::union(&all);
        let agreed = SHAREABLE.filter(|place| agree(drafts, place));
        let names = interner.intern(&fields, agreed);
        let shared =
            agreed.filter(|place| all.iter().filter(|fields| fields.at(place).is_some()).count() > 1);
        let text = Text::new(&fields, shared.without(names.as_deref().map(Self::fields).unwrap_or_default()));
        if text.fields().is_empty() || text.len() > MAX_LENGTH {
            return names;
        }
        let bytes = allocated(size_of::<Self>() + ARC_COUNTS) + allocated(text.len());
        // What is left of them may be one, which then pays for a part: no more than a few hundred bytes are unpaid.
        let charged = bytes.div_ceil(drafts.len().min(4)) as u32;
        Some(Arc::new(Self { names, text, charged }))
    }

    pub(super) fn read<'a>(&'a self, fields: &mut Fields<&'a str>) {
        if let Some(names) = &self.names {
            fields.read(&names.text);
        }
        fields.read(&self.text);
    }

    pub(super) fn get(&self, field: Field) -> Option<&str> {
        self.text.get(field).or_else(|| self.names.as_deref()?.text.get(field))
    }

    pub(super) fn fields(&self) -> FieldSet {
        self.text.fields().with(self.names.as_deref().map(Self::fields).unwrap_or_default())
    }

    pub(super) fn charged(&self) -> usize {
        self.charged as usize
    }
}

/// Whether the field is the same in all drafts whose kind has it.
fn agree(drafts: &[&Draft<'_>], place: usize) -> bool {
    let mut strings = drafts.iter().filter(|draft| draft.kind.has(place)).map(|draft| draft.fields.at(place));
    let first = strings.next();
    strings.all(|string| Some(string) == first)
}

/// Keeps the names that all tokens of a client have once for an application.
#[derive(Default)]
pub(super) struct Interner(Mutex<Vec<Arc<Common>>>);

impl Interner {
    /// The names among these fields, those of them at least that few other entries differ in.
    fn intern(&self, fields: &Fields<Cow<'_, str>>, agreed: FieldSet) -> Option<Arc<Common>> {
        let mut known = lock(&self.0);
        NAMES.iter().find_map(|names| {
            let text = Text::new(fields, names.within(agreed));
            let is_short = !text.fields().is_empty() && text.len() <= MAX_LENGTH;
            is_short.then(|| Self::keep(&mut known, text)).flatten()
        })
    }

    fn keep(known: &mut Vec<Arc<Common>>, text: Text) -> Option<Arc<Common>> {
        if let Some(common) = known.iter().find(|common| common.text == text) {
            return Some(Arc::clone(common));
        }
        let is_full = |known: &[Arc<Common>]| {
            let alike = known.iter().filter(|common| common.fields() == text.fields());
            known.len() == MAX_NAMES || alike.count() == MAX_NAMES_ALIKE
        };
        if is_full(known) {
            known.retain(|common| Arc::strong_count(common) > 1);
            if is_full(known) {
                return None;
            }
        }
        let common = Arc::new(Common { names: None, text, charged: 0 });
        known.push(Arc::clone(&common));
        Some(common)
    }
}

/// All but what must be gone with its entry, and what no two entries share.
const SHAREABLE: FieldSet =
    FieldSet::ALL.without(FieldSet::of(&[Field::Secret, Field::Number, Field::OtherKeys]));

/// In the order in which they are tried: where there are too many of the first, of directories or of scopes, less is shared.
const NAMES: [FieldSet; 4] = {
    use Field::{ClientId, Environment, Realm, Target, TokenType};
    [
        FieldSet::of(&[Environment, ClientId, TokenType, Realm, Target]),
        FieldSet::of(&[Environment, ClientId, TokenType, Target]),
        FieldSet::of(&[Environment, ClientId, TokenType, Realm]),
        FieldSet::of(&[Environment, ClientId, TokenType]),
    ]
};

/// So few that looking through them is quick.
const MAX_NAMES: usize = 64;
/// Of the same fields.
const MAX_NAMES_ALIKE: usize = 8;
/// Longer ones are kept with each entry, or else they would be outside of every bound.
const MAX_LENGTH: usize = 512;
