//! Which slot stands for which sockets, and which slots each socket names in the program's maps. The
//! program changes the maps at the same time; what it did is read back, never overwritten.

mod pages;

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};

use anycast_common::abi::NO_SERVICE;
use anycast_common::listener::{MAX_SLOTS, Slot, SocketKey, SocketPage};

use super::error::ListenerError;
use super::plan::{Port, Set, Socket};
use pages::{Linked, first_page, move_link};

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
    /// Whether a page is there.
    fn has_page(&self, key: SocketKey) -> Result<bool, ListenerError>;
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
///
/// A write that fails stops nothing else: what it was for is tried again by the next [`Ledger::install`].
#[derive(Debug)]
pub(super) struct Ledger {
    slots: Vec<HashMap<Set, u32>>,
    /// Slots of each check that are no longer wanted, but that the page of a socket may still name.
    retiring: Vec<Vec<Retired>>,
    /// Slots in use that not every one of their sockets names: the program cannot count them down.
    torn: BTreeSet<u32>,
    links: HashMap<u64, Link>,
    /// Numbers not in use, the one given back last at the end.
    free: VecDeque<u32>,
}

/// A socket that the program follows.
#[derive(Clone, Debug)]
struct Link {
    port: Port,
    slots: BTreeSet<u32>,
}

#[derive(Debug)]
struct Retired {
    number: u32,
    set: Set,
    /// That the program emptied it has been told.
    told: bool,
}

impl Ledger {
    pub(super) fn new(checks: usize) -> Self {
        Self {
            slots: vec![HashMap::new(); checks],
            retiring: std::iter::repeat_with(Vec::new).take(checks).collect(),
            torn: BTreeSet::new(),
            links: HashMap::new(),
            free: (1..MAX_SLOTS).collect(),
        }
    }

    /// The port of a socket that is followed.
    pub(super) fn port(&self, cookie: u64) -> Option<Port> {
        self.links.get(&cookie).map(|link| link.port)
    }

    /// The ports, of those that were read, with a socket that is followed and not listed, though the program
    /// has not seen it go: a listing can miss one.
    pub(super) fn doubtful(
        &self,
        tables: &impl Tables,
        ports: &BTreeSet<Port>,
        listed: &[Socket],
    ) -> BTreeSet<Port> {
        let listed: HashSet<u64> = listed.iter().map(|socket| socket.cookie).collect();
        let followed = self.links.iter();
        followed
            .filter(|(cookie, link)| ports.contains(&link.port) && !listed.contains(cookie))
            // Where that cannot be asked a second look does no harm.
            .filter(|(cookie, _)| tables.has_page(first_page(**cookie)).unwrap_or(true))
            .map(|(_, link)| link.port)
            .collect()
    }

    /// Makes the program follow `sets` for a check, and no longer what it followed for it before. What the
    /// program has done is told whatever fails; the failures are added to `failures`.
    pub(super) fn install(
        &mut self,
        tables: &mut impl Tables,
        check: usize,
        service: Option<u32>,
        sets: &BTreeSet<Set>,
        failures: &mut Vec<ListenerError>,
    ) -> Installed {
        let mut installed = Installed::default();
        self.retire(tables, check, sets, failures);
        let fresh = self.allocate(tables, check, service, sets, failures);
        self.relink(tables, check, &fresh, &mut installed, failures);
        self.give_back(tables, check, &mut installed, failures);
        installed
    }

    /// Takes the slots out of use that are not wanted, that the program has counted down, or that it
    /// cannot.
    fn retire(
        &mut self,
        tables: &impl Tables,
        check: usize,
        sets: &BTreeSet<Set>,
        failures: &mut Vec<ListenerError>,
    ) {
        let mut retired = Vec::new();
        for (set, number) in &self.slots[check] {
            let whole = match tables.slot(*number) {
                Ok(slot) => slot.sockets == set.cookies.len() as u64,
                Err(error) => {
                    failures.push(error);
                    true
                }
            };
            if !whole || self.torn.contains(number) || !sets.contains(set) {
                retired.push((*number, set.clone()));
            }
        }
        for (number, set) in retired {
            self.slots[check].remove(&set);
            self.torn.remove(&number);
            let told = false;
            self.retiring[check].push(Retired { number, set, told });
        }
    }

    fn allocate(
        &mut self,
        tables: &mut impl Tables,
        check: usize,
        service: Option<u32>,
        sets: &BTreeSet<Set>,
        failures: &mut Vec<ListenerError>,
    ) -> Vec<(u32, Set)> {
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
            if let Err(error) = tables.put_slot(number, slot) {
                failures.push(error);
                self.free.push_front(number);
                continue;
            }
            self.slots[check].insert(set.clone(), number);
            fresh.push((number, set.clone()));
        }
        fresh
    }

    /// Has each socket of a slot that is new, or no longer wanted, name what it should.
    fn relink(
        &mut self,
        tables: &mut impl Tables,
        check: usize,
        fresh: &[(u32, Set)],
        installed: &mut Installed,
        failures: &mut Vec<ListenerError>,
    ) {
        let retiring = self.retiring[check].iter();
        let retired: Vec<(u32, Set)> = retiring
            .map(|retired| (retired.number, retired.set.clone()))
            .collect();
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
            let before = self.links.remove(&cookie).map(|link| link.slots);
            let before = before.unwrap_or_default();
            let mut slots = before.clone();
            for number in numbers(&retired, cookie) {
                slots.remove(&number);
            }
            let fresh = numbers(fresh, cookie);
            slots.extend(&fresh);
            match move_link(tables, cookie, &before, &slots, failures) {
                Linked::Wanted if slots.is_empty() => {}
                Linked::Wanted => {
                    installed.fresh |= before.is_empty();
                    self.links.insert(cookie, Link { port, slots });
                }
                Linked::Before => {
                    self.torn.extend(fresh);
                    let slots = before;
                    self.links.insert(cookie, Link { port, slots });
                }
                Linked::None => self.torn.extend(slots),
                Linked::Gone => installed.gone.push((cookie, port)),
            }
        }
    }

    /// Tells which of the slots that are no longer wanted the program has emptied, and gives those back
    /// that no socket names.
    fn give_back(
        &mut self,
        tables: &impl Tables,
        check: usize,
        installed: &mut Installed,
        failures: &mut Vec<ListenerError>,
    ) {
        let Self {
            links,
            free,
            torn,
            retiring,
            ..
        } = self;
        retiring[check].retain_mut(|retired| {
            // Read once no socket names it any more: nothing will change it then.
            let named = retired.set.cookies.iter().any(|cookie| {
                let link = links.get(cookie);
                link.is_some_and(|link| link.slots.contains(&retired.number))
            });
            match tables.slot(retired.number) {
                Ok(slot) if slot.emptied_at != 0 && !retired.told => {
                    retired.told = true;
                    installed.emptied.push(slot);
                }
                Ok(_) => {}
                Err(error) => {
                    failures.push(error);
                    return true;
                }
            }
            if !named {
                torn.remove(&retired.number);
                free.push_back(retired.number);
            }
            named
        });
    }
}

#[cfg(test)]
mod tests;
