//! A map that forgets the oldest entries.

use std::collections::{HashMap, VecDeque};

/// At most `limit` values by key, which is never used twice.
pub(crate) struct Bounded<V> {
    values: HashMap<String, V>,
    /// Keys, oldest first.
    order: VecDeque<String>,
    limit: usize,
}

impl<V> Bounded<V> {
    pub(crate) fn new(limit: usize) -> Self {
        Self { values: HashMap::new(), order: VecDeque::new(), limit }
    }

    pub(crate) fn insert(&mut self, key: String, value: V) {
        if self.order.len() >= self.limit {
            self.order.pop_front().and_then(|oldest| self.values.remove(&oldest));
        }
        self.order.push_back(key.clone());
        self.values.insert(key, value);
    }

    pub(crate) fn get_mut(&mut self, key: &str) -> Option<&mut V> {
        self.values.get_mut(key)
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.values.values_mut()
    }

    pub(crate) fn clear(&mut self) {
        self.values.clear();
        self.order.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_forgotten() {
        let mut store = Bounded::new(2);
        for key in ["a", "b", "c"] {
            store.insert(key.to_owned(), ());
        }
        assert!(store.get_mut("a").is_none() && store.get_mut("b").is_some() && store.get_mut("c").is_some());
    }
}
