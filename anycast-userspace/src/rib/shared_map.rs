//! A sorted map whose copies share what they have in common, so that a change costs what has changed:
//! copying it, and finding the difference between a copy and its origin, look at chunks instead of entries.

use std::cmp::Ordering;
use std::sync::Arc;

use ipnet::IpNet;

/// A chunk that grows to twice this is split; one that falls below a quarter joins a neighbour.
const CHUNK: usize = 64;

type Chunk<V> = Arc<Vec<(IpNet, V)>>;

/// Prefixes in ascending order, each with a value.
#[derive(Debug, Clone)]
pub(super) struct SharedMap<V> {
    /// None is empty.
    chunks: Vec<Chunk<V>>,
    len: usize,
}

/// A prefix whose value is not the same in two maps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change<'a, V> {
    /// The prefix.
    pub prefix: &'a IpNet,
    /// What it was; `None`: it was not there.
    pub before: Option<&'a V>,
    /// What it is; `None`: it is gone.
    pub after: Option<&'a V>,
}

impl<V> Default for SharedMap<V> {
    fn default() -> Self {
        Self {
            chunks: Vec::new(),
            len: 0,
        }
    }
}

impl<V: Clone> SharedMap<V> {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&IpNet, &V)> {
        let entries = self.chunks.iter().flat_map(|chunk| chunk.iter());
        entries.map(|(prefix, value)| (prefix, value))
    }

    pub(super) fn get(&self, prefix: &IpNet) -> Option<&V> {
        let chunk = self.chunks.get(self.chunk_of(prefix))?;
        let at = position(chunk, prefix).ok()?;
        Some(&chunk[at].1)
    }

    /// Sets the value of a prefix, and returns the one that it had.
    pub(super) fn insert(&mut self, prefix: IpNet, value: V) -> Option<V> {
        let index = self
            .chunk_of(&prefix)
            .min(self.chunks.len().saturating_sub(1));
        let Some(chunk) = self.chunks.get_mut(index) else {
            self.chunks.push(Arc::new(vec![(prefix, value)]));
            self.len = 1;
            return None;
        };
        let entries = Arc::make_mut(chunk);
        match position(entries, &prefix) {
            Ok(at) => return Some(std::mem::replace(&mut entries[at].1, value)),
            Err(at) => entries.insert(at, (prefix, value)),
        }
        self.len += 1;
        if entries.len() == 2 * CHUNK {
            let upper = entries.split_off(CHUNK);
            self.chunks.insert(index + 1, Arc::new(upper));
        }
        None
    }

    /// Removes a prefix, and returns its value.
    pub(super) fn remove(&mut self, prefix: &IpNet) -> Option<V> {
        let index = self.chunk_of(prefix);
        let chunk = self.chunks.get_mut(index)?;
        let at = position(chunk, prefix).ok()?;
        let (_, value) = Arc::make_mut(chunk).remove(at);
        self.len -= 1;
        if chunk.len() < CHUNK / 4 {
            self.join(index);
        }
        Some(value)
    }

    /// The prefixes whose values differ from those of `older`, in ascending order. Parts that both share
    /// are passed over unseen.
    pub(super) fn changes_since<'a>(
        &'a self,
        older: &'a Self,
        same: impl Fn(&V, &V) -> bool,
    ) -> Vec<Change<'a, V>> {
        let (mut new, mut old) = (Cursor::new(self), Cursor::new(older));
        let mut changes = Vec::new();
        loop {
            while let (Some(ours), Some(theirs)) = (new.whole_chunk(), old.whole_chunk())
                && Arc::ptr_eq(ours, theirs)
            {
                new.skip_chunk();
                old.skip_chunk();
            }
            let order = match (new.peek(), old.peek()) {
                (None, None) => return changes,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some((ours, _)), Some((theirs, _))) => ours.cmp(theirs),
            };
            let after = if order.is_le() { new.next() } else { None };
            let before = if order.is_ge() { old.next() } else { None };
            let unchanged = match (before, after) {
                (Some((_, was)), Some((_, is))) => same(was, is),
                (Some(_) | None, None) | (None, Some(_)) => false,
            };
            if let Some((prefix, _)) = after.or(before)
                && !unchanged
            {
                changes.push(Change {
                    prefix,
                    before: before.map(|(_, value)| value),
                    after: after.map(|(_, value)| value),
                });
            }
        }
    }

    /// The chunk that holds a prefix, or would hold it; beyond the last for one above all.
    fn chunk_of(&self, prefix: &IpNet) -> usize {
        self.chunks
            .partition_point(|chunk| chunk.last().is_some_and(|(last, _)| last < prefix))
    }

    /// A small chunk goes into the one before it or takes the one after it, if together they are no more
    /// than one; an empty one goes.
    fn join(&mut self, index: usize) {
        let first = index.saturating_sub(1);
        let together: usize = self.chunks[first..]
            .iter()
            .take(2)
            .map(|chunk| chunk.len())
            .sum();
        if self.chunks[index].is_empty() {
            self.chunks.remove(index);
        } else if together <= CHUNK && first + 1 < self.chunks.len() {
            let upper = self.chunks.remove(first + 1);
            Arc::make_mut(&mut self.chunks[first]).extend(upper.iter().cloned());
        }
    }
}

impl<V: Clone + PartialEq> PartialEq for SharedMap<V> {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.changes_since(other, V::eq).is_empty()
    }
}

impl<V: Clone + Eq> Eq for SharedMap<V> {}

fn position<V>(chunk: &[(IpNet, V)], prefix: &IpNet) -> Result<usize, usize> {
    chunk.binary_search_by(|(there, _)| there.cmp(prefix))
}

/// A place in a map.
struct Cursor<'a, V> {
    chunks: &'a [Chunk<V>],
    at: usize,
}

impl<'a, V> Cursor<'a, V> {
    fn new(map: &'a SharedMap<V>) -> Self {
        Self {
            chunks: &map.chunks,
            at: 0,
        }
    }

    /// The chunk that begins here.
    fn whole_chunk(&self) -> Option<&'a Chunk<V>> {
        self.chunks.first().filter(|_| self.at == 0)
    }

    fn skip_chunk(&mut self) {
        self.chunks = &self.chunks[1..];
        self.at = 0;
    }

    fn peek(&self) -> Option<&'a (IpNet, V)> {
        self.chunks.first()?.get(self.at)
    }

    fn next(&mut self) -> Option<&'a (IpNet, V)> {
        let chunk = self.chunks.first()?;
        let entry = chunk.get(self.at)?;
        self.at += 1;
        if self.at == chunk.len() {
            self.skip_chunk();
        }
        Some(entry)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::net::{IpAddr, Ipv4Addr};

    use proptest::prelude::*;

    use super::*;

    fn prefix(number: u16) -> IpNet {
        let [high, low] = number.to_be_bytes();
        IpAddr::V4(Ipv4Addr::new(10, 0, high, low)).into()
    }

    fn table(count: u16) -> SharedMap<u8> {
        let mut map = SharedMap::default();
        for number in 0..count {
            map.insert(prefix(number), 0);
        }
        map
    }

    /// Numbers by which a copy and its origin are compared, for one entry changed.
    fn compared(map: &SharedMap<u8>, older: &SharedMap<u8>) -> usize {
        let compared = std::cell::Cell::new(0);
        let changes = map.changes_since(older, |was, is| {
            compared.set(compared.get() + 1);
            was == is
        });
        assert_eq!(changes.len(), 1);
        compared.get()
    }

    #[test]
    fn the_difference_of_one_entry_is_found_without_a_look_at_the_others() {
        let older = table(10_000);
        for number in [0, 63, 64, 5_000, 9_999] {
            let mut without = older.clone();
            without.remove(&prefix(number));
            assert!(compared(&without, &older) < 2 * CHUNK, "{number}");
            assert!(compared(&older, &without) < 2 * CHUNK, "{number}");
            let mut other = older.clone();
            other.insert(prefix(number), 1);
            assert!(compared(&other, &older) <= 2 * CHUNK, "{number}");
        }
    }

    #[test]
    fn a_map_that_has_lost_most_of_its_entries_has_few_chunks() {
        let mut map = table(10_000);
        for number in (0..10_000).filter(|number| number % 100 != 0) {
            map.remove(&prefix(number));
        }
        assert_eq!(map.len(), 100);
        assert!(map.chunks.len() < 16, "{} chunks", map.chunks.len());
        for number in 0..10_000 {
            map.remove(&prefix(number));
        }
        assert_eq!((map.len(), map.chunks.len()), (0, 0));
    }

    #[derive(Debug, Clone)]
    enum Edit {
        Insert(u16, u8),
        Remove(u16),
    }

    fn edits() -> impl Strategy<Value = Vec<Edit>> {
        let edit = prop_oneof![
            3 => (0u16..600, 0u8..3).prop_map(|(number, value)| Edit::Insert(number, value)),
            2 => (0u16..600).prop_map(Edit::Remove),
        ];
        prop::collection::vec(edit, 0..400)
    }

    fn apply(map: &mut SharedMap<u8>, model: &mut BTreeMap<IpNet, u8>, edits: &[Edit]) {
        for edit in edits {
            match *edit {
                Edit::Insert(number, value) => {
                    let was = model.insert(prefix(number), value);
                    assert_eq!(map.insert(prefix(number), value), was);
                }
                Edit::Remove(number) => {
                    let was = model.remove(&prefix(number));
                    assert_eq!(map.get(&prefix(number)).copied(), was);
                    assert_eq!(map.remove(&prefix(number)), was);
                }
            }
        }
        assert!(map.iter().eq(model.iter()));
        assert_eq!(map.len(), model.len());
        assert!(
            map.chunks
                .iter()
                .all(|chunk| (1..2 * CHUNK).contains(&chunk.len()))
        );
    }

    proptest! {
        #[test]
        fn it_holds_what_a_plain_map_holds_and_finds_the_same_difference(before in edits(), after in edits()) {
            let (mut map, mut model) = (SharedMap::default(), BTreeMap::new());
            apply(&mut map, &mut model, &before);
            let (older, old_model) = (map.clone(), model.clone());
            apply(&mut map, &mut model, &after);
            prop_assert!(older.iter().eq(old_model.iter()), "a copy does not change with its origin");
            let found: Vec<_> = map
                .changes_since(&older, u8::eq)
                .into_iter()
                .map(|change| (*change.prefix, change.before.copied(), change.after.copied()))
                .collect();
            let mut all: Vec<IpNet> = old_model.keys().chain(model.keys()).copied().collect();
            all.sort_unstable();
            all.dedup();
            let want: Vec<_> = all
                .into_iter()
                .map(|prefix| (prefix, old_model.get(&prefix).copied(), model.get(&prefix).copied()))
                .filter(|(_, before, after)| before != after)
                .collect();
            prop_assert_eq!(found, want);
            prop_assert_eq!(map == older, model == old_model);
        }
    }
}
