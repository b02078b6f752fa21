//! Which slot stands for which sockets, and which slots each socket names in the program's maps. The
//! program changes the maps at the same time; what it did is read back, never overwritten.

use std::collections::{BTreeSet, HashMap, VecDeque};

use anycast_common::abi::NO_SERVICE;
use anycast_common::listener::{MAX_SLOTS, PAGES, SLOTS_PER_PAGE, Slot, SocketKey, SocketPage};

use super::error::ListenerError;
use super::plan::{Port, Set};

/// What a write of a page asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    /// The page must be there: it is not if the program has seen the socket go.
    Present,
    /// The page must not be there.
    Absent,
}

/// The program's maps.
pub(super) trait Tables {
    fn put_slot(&mut self, number: u32, slot: Slot) -> Result<(), ListenerError>;
    fn slot(&self, number: u32) -> Result<Slot, ListenerError>;
    /// Writes a page; false if it was not as asked for, and nothing is written.
    fn put_page(
        &mut self,
        key: SocketKey,
        page: SocketPage,
        presence: Presence,
    ) -> Result<bool, ListenerError>;
    /// Removes a page; false if it was gone.
    fn remove_page(&mut self, key: SocketKey) -> Result<bool, ListenerError>;
}

/// What installing a check's sets showed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Installed {
    /// A socket is followed that was not before: it may have gone before it was.
    pub(super) fresh: bool,
    /// Sockets that the program saw go while they were being moved.
    pub(super) gone: Vec<(u64, Port)>,
    /// Slots that the program found empty since the last time.
    pub(super) emptied: Vec<Slot>,
}

/// The books of one watcher. Its checks are named by index.
#[derive(Debug)]
pub(super) struct Ledger {
    slots: Vec<HashMap<Set, u32>>,
    links: HashMap<u64, Link>,
    /// Numbers not in use, the one given back last at the end.
    free: VecDeque<u32>,
}

/// A socket that the program follows.
#[derive(Debug)]
struct Link {
    port: Port,
    slots: BTreeSet<u32>,
}

impl Ledger {
    pub(super) fn new(checks: usize) -> Self {
        Self {
            slots: vec![HashMap::new(); checks],
            links: HashMap::new(),
            free: (1..MAX_SLOTS).collect(),
        }
    }

    /// The port of a socket that is followed.
    pub(super) fn port(&self, cookie: u64) -> Option<Port> {
        self.links.get(&cookie).map(|link| link.port)
    }

    /// Makes the program follow `sets` for a check, and no longer what it followed for it before.
    pub(super) fn install(
        &mut self,
        tables: &mut impl Tables,
        check: usize,
        service: Option<u32>,
        sets: &BTreeSet<Set>,
    ) -> Result<Installed, ListenerError> {
        let mut installed = Installed::default();
        let retired = self.retire(tables, check, sets)?;
        let fresh = self.allocate(tables, check, service, sets)?;
        self.relink(tables, &retired, &fresh, &mut installed)?;
        for (number, _) in retired {
            // Read once no socket names it any more: nothing will change it now.
            let slot = tables.slot(number)?;
            if slot.emptied_at != 0 {
                installed.emptied.push(slot);
            }
            self.free.push_back(number);
        }
        Ok(installed)
    }

    /// Takes the slots out of use that are not wanted, or that the program has counted down.
    fn retire(
        &mut self,
        tables: &impl Tables,
        check: usize,
        sets: &BTreeSet<Set>,
    ) -> Result<Vec<(u32, Set)>, ListenerError> {
        let mut retired = Vec::new();
        for (set, number) in &self.slots[check] {
            let whole = tables.slot(*number)?.sockets == set.cookies.len() as u64;
            if !whole || !sets.contains(set) {
                retired.push((*number, set.clone()));
            }
        }
        for (_, set) in &retired {
            self.slots[check].remove(set);
        }
        Ok(retired)
    }

    fn allocate(
        &mut self,
        tables: &mut impl Tables,
        check: usize,
        service: Option<u32>,
        sets: &BTreeSet<Set>,
    ) -> Result<Vec<(u32, Set)>, ListenerError> {
        let mut fresh = Vec::new();
        for set in sets {
            if self.slots[check].contains_key(set) {
                continue;
            }
            let Some(number) = self.free.pop_front() else {
                tracing::warn!(
                    port = %set.port,
                    "no slot is left for the sockets of this port: their release is seen within a \
                     second only"
                );
                break;
            };
            let slot = Slot {
                sockets: set.cookies.len() as u64,
                service: service.unwrap_or(NO_SERVICE),
                port: set.port.key(),
                emptied_at: 0,
                down_at: 0,
            };
            tables.put_slot(number, slot)?;
            self.slots[check].insert(set.clone(), number);
            fresh.push((number, set.clone()));
        }
        Ok(fresh)
    }

    fn relink(
        &mut self,
        tables: &mut impl Tables,
        retired: &[(u32, Set)],
        fresh: &[(u32, Set)],
        installed: &mut Installed,
    ) -> Result<(), ListenerError> {
        let touched: BTreeSet<(u64, Port)> = retired
            .iter()
            .chain(fresh)
            .flat_map(|(_, set)| set.cookies.iter().map(|cookie| (*cookie, set.port)))
            .collect();
        let numbers = |of: &[(u32, Set)], cookie: u64| -> Vec<u32> {
            of.iter()
                .filter(|(_, set)| set.cookies.contains(&cookie))
                .map(|(number, _)| *number)
                .collect()
        };
        for (cookie, port) in touched {
            let before = self.links.remove(&cookie);
            let pages_before = before.as_ref().map_or(0, |link| pages(&link.slots));
            let mut slots = before.map(|link| link.slots).unwrap_or_default();
            for number in numbers(retired, cookie) {
                slots.remove(&number);
            }
            slots.extend(numbers(fresh, cookie));
            if slots.is_empty() {
                unlink(tables, cookie, 0, pages_before)?;
                continue;
            }
            if link(tables, cookie, &slots, pages_before)? {
                installed.fresh |= pages_before == 0;
                self.links.insert(cookie, Link { port, slots });
            } else {
                unlink(tables, cookie, 0, PAGES)?;
                installed.gone.push((cookie, port));
            }
        }
        Ok(())
    }
}

/// How many pages a socket's slots take. Beyond the last, slots are never counted down: the program
/// does not act on them, and the release is still reported.
fn pages(slots: &BTreeSet<u32>) -> u32 {
    u32::try_from(slots.len().div_ceil(SLOTS_PER_PAGE))
        .unwrap_or(PAGES)
        .min(PAGES)
}

/// Writes a socket's pages, the first one last: the program begins with it. False if the program has
/// seen the socket go.
fn link(
    tables: &mut impl Tables,
    cookie: u64,
    slots: &BTreeSet<u32>,
    pages_before: u32,
) -> Result<bool, ListenerError> {
    let slots: Vec<u32> = slots.iter().copied().collect();
    let wanted: Vec<_> = (0..PAGES).zip(slots.chunks(SLOTS_PER_PAGE)).collect();
    for (number, chunk) in wanted.into_iter().rev() {
        let mut page = SocketPage::default();
        page.slots[..chunk.len()].copy_from_slice(chunk);
        let presence = if number < pages_before {
            Presence::Present
        } else {
            Presence::Absent
        };
        if !tables.put_page(key(cookie, number), page, presence)? {
            return Ok(false);
        }
    }
    let pages = u32::try_from(slots.len().div_ceil(SLOTS_PER_PAGE)).unwrap_or(PAGES);
    unlink(tables, cookie, pages, pages_before)?;
    Ok(true)
}

fn unlink(
    tables: &mut impl Tables,
    cookie: u64,
    first: u32,
    end: u32,
) -> Result<(), ListenerError> {
    for page in first..end {
        // Gone already where the program was first.
        tables.remove_page(key(cookie, page))?;
    }
    Ok(())
}

fn key(cookie: u64, page: u32) -> SocketKey {
    SocketKey {
        cookie,
        page,
        reserved: 0,
    }
}

#[cfg(test)]
mod tests;
