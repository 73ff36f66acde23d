//! How the strings of an entry lie in memory: end to end in one allocation, which is wiped when it is freed.
//!
//! In front of them stands which there are, and in front of each but the last how long it is. All of it is text, numbers
//! too: digits of seven bits, each a character. So a string is found without a table beside the text, and needn't be looked
//! through for whether it is UTF-8.

use std::borrow::Cow;

use zeroize::Zeroizing;

use super::key::{Digest, Position};

/// What an entry may have, in the order in which it lies in memory.
#[derive(Clone, Copy)]
pub(super) enum Field {
    Environment,
    ClientId,
    TokenType,
    Realm,
    Target,
    HomeAccountId,
    Username,
    LocalAccountId,
    Name,
    KeyId,
    UserAssertionHash,
    FamilyId,
    Components,
    CachedAt,
    ExtendedExpiresOn,
    RefreshOn,
    /// The first of the groups that the entry belongs to.
    Group,
    OtherGroups,
    /// Of an entry with groups: higher than that of older ones.
    Number,
    /// The positions of its keys but the first.
    OtherKeys,
    Secret,
}

const FIELDS: usize = Field::Secret as usize + 1;

/// Some of the fields, a bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct FieldSet(u32);

impl FieldSet {
    pub(super) const ALL: Self = Self((1 << FIELDS) - 1);

    pub(super) const fn of(fields: &[Field]) -> Self {
        let (mut set, mut rest) = (0, fields);
        while let [field, others @ ..] = rest {
            (set, rest) = (set | 1 << *field as u32, others);
        }
        Self(set)
    }

    pub(super) fn has(self, place: usize) -> bool {
        self.0 & 1 << place != 0
    }

    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub(super) fn within(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(super) fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Those of them for whose place this is true.
    pub(super) fn filter(self, mut is_one: impl FnMut(usize) -> bool) -> Self {
        Self(self.places().filter(|place| is_one(*place)).fold(0, |set, place| set | 1 << place))
    }

    fn places(self) -> impl Iterator<Item = usize> {
        (0..FIELDS).filter(move |place| self.has(*place))
    }
}

/// Strings by their field.
pub(super) struct Fields<S>([Option<S>; FIELDS]);

impl<S> Default for Fields<S> {
    fn default() -> Self {
        Self([const { None }; FIELDS])
    }
}

impl<'a> Fields<Cow<'a, str>> {
    pub(super) fn set(&mut self, field: Field, string: Option<impl Into<Cow<'a, str>>>) {
        self.0[field as usize] = string.map(Into::into);
    }

    /// One that is as good as absent if it is empty.
    pub(super) fn set_text(&mut self, field: Field, string: impl Into<Cow<'a, str>>) {
        self.set(field, Some(string.into()).filter(|string| !string.is_empty()));
    }

    pub(super) fn set_number(&mut self, field: Field, number: Option<u64>) {
        self.set(field, number.map(|number| digits(number, digits_of(number))));
    }

    pub(super) fn at(&self, place: usize) -> Option<&str> {
        self.0.get(place)?.as_deref()
    }

    /// Of these, what several have: at each place what the first has that has it.
    pub(super) fn union(all: &[&'a Fields<Cow<'_, str>>]) -> Self {
        let first = |place: usize| all.iter().find_map(|fields| fields.at(place)).map(Cow::Borrowed);
        Self(std::array::from_fn(first))
    }
}

impl<'a> Fields<&'a str> {
    /// Takes over what the text has.
    pub(super) fn read(&mut self, text: &'a Text) {
        for (place, string) in text.iter() {
            if let Some(field) = self.0.get_mut(place) {
                *field = Some(string);
            }
        }
    }

    pub(super) fn option(&self, field: Field) -> Option<&'a str> {
        self.0[field as usize]
    }

    pub(super) fn text(&self, field: Field) -> &'a str {
        self.option(field).unwrap_or_default()
    }

    pub(super) fn number(&self, field: Field) -> Option<u64> {
        self.option(field).map(number)
    }
}

/// Some of an entry's strings.
#[derive(Default, PartialEq)]
pub(super) struct Text(Zeroizing<Box<str>>);

impl Text {
    /// Those of `which` that are present.
    pub(super) fn new(fields: &Fields<Cow<'_, str>>, which: FieldSet) -> Self {
        let set = which.filter(|place| fields.at(place).is_some());
        let strings = || set.places().filter_map(|place| fields.at(place));
        let count = strings().count();
        if count == 0 {
            return Self(Zeroizing::default());
        }
        // The exact capacity: a buffer that grows would leave copies behind.
        let lengths = strings().take(count - 1).map(|string| digits_of_length(string.len()));
        let length = lengths.chain(strings().map(str::len)).sum::<usize>();
        let mut text = String::with_capacity(SET_DIGITS + length);
        push_digits(&mut text, set.0.into(), SET_DIGITS);
        for (i, string) in strings().enumerate() {
            if i + 1 < count {
                push(&mut text, string);
            } else {
                text.push_str(string);
            }
        }
        Self(Zeroizing::new(text.into_boxed_str()))
    }

    pub(super) fn fields(&self) -> FieldSet {
        let set = self.0.get(..SET_DIGITS).map_or(0, number);
        FieldSet(u32::try_from(set).unwrap_or_default())
    }

    pub(super) fn get(&self, field: Field) -> Option<&str> {
        if !self.fields().has(field as usize) {
            return None;
        }
        self.iter().find(|(place, _)| *place == field as usize).map(|(_, string)| string)
    }

    /// Its length in memory.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    fn iter(&self) -> impl Iterator<Item = (usize, &str)> {
        let (mut set, mut rest) = (self.fields().0, self.0.get(SET_DIGITS..).unwrap_or_default());
        std::iter::from_fn(move || {
            let place = set.trailing_zeros() as usize;
            set = set.checked_sub(1)? & set;
            Some((place, if set == 0 { rest } else { take(&mut rest)? }))
        })
    }
}

/// Appends a string and, in front of it, its length: in one digit, or, behind a mark, in those of a long one.
pub(super) fn push(text: &mut String, string: &str) {
    let count = digits_of_length(string.len());
    let mark = if count == 1 { 0 } else { LONG };
    push_digits(text, string.len() as u64 | mark, count);
    text.push_str(string);
}

fn digits_of_length(length: usize) -> usize {
    if length < SHORT { 1 } else { LONG_DIGITS }
}

/// Takes off what [`push`] appended first. None at the end.
pub(super) fn take<'a>(text: &mut &'a str) -> Option<&'a str> {
    let is_short = usize::from(*text.as_bytes().first()?) < SHORT;
    let (length, rest) = text.split_at_checked(if is_short { 1 } else { LONG_DIGITS })?;
    let (string, rest) = rest.split_at_checked((number(length) & !LONG) as usize)?;
    *text = rest;
    Some(string)
}

/// Digests, end to end.
pub(super) fn digests(digests: &[Digest]) -> String {
    let halves = digests.iter().flat_map(|Digest(halves)| halves);
    halves.map(|half| digits(*half, HALF_DIGITS)).collect()
}

pub(super) fn digests_in(text: &str) -> impl Iterator<Item = Digest> {
    let mut halves = chunks(text, HALF_DIGITS).map(number);
    std::iter::from_fn(move || Some(Digest([halves.next()?, halves.next()?])))
}

/// Positions, end to end.
pub(super) fn positions(positions: impl Iterator<Item = Position>) -> String {
    positions.map(|Position(position)| digits(position.into(), POSITION_DIGITS)).collect()
}

pub(super) fn positions_in(text: &str) -> impl Iterator<Item = Position> {
    chunks(text, POSITION_DIGITS).map(|digits| Position(number(digits) as u32))
}

fn chunks(mut text: &str, length: usize) -> impl Iterator<Item = &str> {
    std::iter::from_fn(move || {
        let (chunk, rest) = text.split_at_checked(length)?;
        text = rest;
        Some(chunk)
    })
}

fn digits(number: u64, count: usize) -> String {
    let mut text = String::with_capacity(count);
    push_digits(&mut text, number, count);
    text
}

/// The last `count` digits, the first of them first.
fn push_digits(text: &mut String, number: u64, count: usize) {
    text.extend((0..count).rev().map(|i| char::from((number >> (i * DIGIT_BITS)) as u8 & DIGIT)));
}

fn digits_of(number: u64) -> usize {
    (u64::BITS - number.leading_zeros()).div_ceil(DIGIT_BITS as u32) as usize
}

pub(super) fn number(digits: &str) -> u64 {
    digits.bytes().fold(0, |number, digit| number << DIGIT_BITS | u64::from(digit))
}

const DIGIT_BITS: usize = 7;
const DIGIT: u8 = 0x7f;
const SET_DIGITS: usize = FIELDS.div_ceil(DIGIT_BITS);
const POSITION_DIGITS: usize = 32_usize.div_ceil(DIGIT_BITS);
const HALF_DIGITS: usize = 64_usize.div_ceil(DIGIT_BITS);
/// From this length on, a length isn't one digit: the highest bit of the first says so.
const SHORT: usize = 1 << (DIGIT_BITS - 1);
const LONG_DIGITS: usize = 4;
const LONG: u64 = 1 << (LONG_DIGITS * DIGIT_BITS - 1);
/// What a length has digits for: 128 MiB.
pub(super) const MAX_LENGTH: usize = LONG as usize;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_packed_is_read_again(
            strings in proptest::collection::vec(proptest::option::of(".{0,200}"), FIELDS),
            which in 0_u32..1 << FIELDS,
        ) {
            let mut fields = Fields::default();
            for (field, string) in fields.0.iter_mut().zip(&strings) {
                *field = string.as_deref().map(Cow::from);
            }
            let text = Text::new(&fields, FieldSet(which));
            let mut read = Fields::default();
            read.read(&text);
            for (i, string) in strings.iter().enumerate() {
                prop_assert_eq!(read.0[i], string.as_deref().filter(|_| which & 1 << i != 0));
            }
        }

        #[test]
        fn numbers_are_read_again(one in any::<u64>(), other: u32, digest: [u64; 2]) {
            prop_assert_eq!(number(&digits(one, digits_of(one))), one);
            let pair = [Position(other), Position(0)];
            prop_assert!(positions_in(&positions(pair.into_iter())).eq(pair));
            let both = [Digest(digest), Digest([one, 0])];
            prop_assert!(digests_in(&digests(&both)).eq(both));
        }
    }
}
