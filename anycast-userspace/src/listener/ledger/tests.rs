use std::collections::{BTreeMap, BTreeSet};

use anycast_common::listener::{MAX_SLOTS, PAGES, SLOTS_PER_PAGE};
use aya::maps::MapError;

use super::*;

/// The program's maps, and what the program does with them.
#[derive(Default)]
struct Maps {
    slots: BTreeMap<u32, Slot>,
    pages: BTreeMap<(u64, u32), SocketPage>,
    /// A socket that goes right before the next write of a page.
    goes: Option<u64>,
    /// How many more pages can be added; `None`: as many as there may be.
    room: Option<usize>,
    /// Pages that are there cannot be changed.
    stuck: bool,
}

fn full() -> ListenerError {
    ListenerError::Map {
        map: "sockets",
        error: MapError::OutOfBounds {
            index: 0,
            max_entries: 0,
        },
    }
}

impl Maps {
    fn release(&mut self, cookie: u64) {
        for number in 0..PAGES {
            let Some(page) = self.pages.remove(&(cookie, number)) else {
                break;
            };
            for number in page.slots.into_iter().take_while(|slot| *slot != 0) {
                let slot = self.slots.get_mut(&number).unwrap();
                slot.sockets -= 1;
                if slot.sockets == 0 {
                    slot.emptied_at = 1;
                }
            }
        }
    }

    fn count_of(&self, ledger: &Ledger, check: usize, set: &Set) -> u64 {
        self.slots[&ledger.slots[check][set]].sockets
    }
}

impl Tables for Maps {
    fn put_slot(&mut self, number: u32, slot: Slot) -> Result<(), ListenerError> {
        self.slots.insert(number, slot);
        Ok(())
    }

    fn slot(&self, number: u32) -> Result<Slot, ListenerError> {
        Ok(self.slots[&number])
    }

    fn put_page(
        &mut self,
        key: SocketKey,
        page: SocketPage,
        presence: Presence,
    ) -> Result<bool, ListenerError> {
        if let Some(cookie) = self.goes.take() {
            self.release(cookie);
        }
        let key = (key.cookie, key.page);
        let met = self.pages.contains_key(&key) == (presence == Presence::Present);
        if !met {
            return Ok(false);
        }
        match (presence, &mut self.room) {
            (Presence::Present, _) if self.stuck => return Err(full()),
            (Presence::Absent, Some(0)) => return Err(full()),
            (Presence::Absent, Some(room)) => *room -= 1,
            (Presence::Present, _) | (Presence::Absent, None) => {}
        }
        self.pages.insert(key, page);
        Ok(true)
    }

    fn has_page(&self, key: SocketKey) -> Result<bool, ListenerError> {
        Ok(self.pages.contains_key(&(key.cookie, key.page)))
    }

    fn remove_page(&mut self, key: SocketKey) -> Result<bool, ListenerError> {
        Ok(self.pages.remove(&(key.cookie, key.page)).is_some())
    }
}

fn set(cookies: &[u64]) -> Set {
    Set {
        port: Port::udp(53),
        cookies: cookies.iter().copied().collect(),
    }
}

fn install(ledger: &mut Ledger, maps: &mut Maps, sets: &[Set]) -> Installed {
    let (installed, failures) = try_install(ledger, maps, sets);
    assert!(failures.is_empty(), "{failures:?}");
    installed
}

/// With what failed.
fn try_install(
    ledger: &mut Ledger,
    maps: &mut Maps,
    sets: &[Set],
) -> (Installed, Vec<ListenerError>) {
    let sets: BTreeSet<Set> = sets.iter().cloned().collect();
    let mut failures = Vec::new();
    let installed = ledger.install(maps, 0, Some(1), &sets, &mut failures);
    (installed, failures)
}

/// What is left when a check follows nothing any more: every slot given back, and no page.
fn assert_nothing_is_left(mut ledger: Ledger, mut maps: Maps) {
    maps.room = None;
    maps.stuck = false;
    install(&mut ledger, &mut maps, &[]);
    assert_eq!(ledger.free.len(), MAX_SLOTS as usize - 1, "slots");
    assert!(ledger.torn.is_empty(), "{:?}", ledger.torn);
    assert!(maps.pages.is_empty(), "{:?}", maps.pages);
}

#[test]
fn the_last_socket_of_a_set_empties_its_slot() {
    let (mut ledger, mut maps) = (Ledger::new(1), Maps::default());
    assert!(install(&mut ledger, &mut maps, &[set(&[1, 2])]).fresh);
    maps.release(1);
    assert_eq!(maps.count_of(&ledger, 0, &set(&[1, 2])), 1);
    maps.release(2);
    let installed = install(&mut ledger, &mut maps, &[]);
    assert_eq!(installed.emptied.len(), 1);
    assert!(installed.gone.is_empty());
}

#[test]
fn the_same_sets_again_change_nothing() {
    let (mut ledger, mut maps) = (Ledger::new(1), Maps::default());
    install(&mut ledger, &mut maps, &[set(&[1]), set(&[1, 2])]);
    let before = maps.slots.clone();
    let installed = install(&mut ledger, &mut maps, &[set(&[1]), set(&[1, 2])]);
    assert_eq!(installed, Installed::default());
    assert_eq!(maps.slots, before);
}

#[test]
fn a_socket_that_goes_while_it_is_moved_is_told_and_not_followed() {
    let (mut ledger, mut maps) = (Ledger::new(1), Maps::default());
    install(&mut ledger, &mut maps, &[set(&[1])]);
    maps.goes = Some(1);
    let installed = install(&mut ledger, &mut maps, &[set(&[1, 2])]);
    assert_eq!(installed.gone, [(1, Port::udp(53))]);
    assert_eq!(installed.emptied.len(), 1, "the slot of the first set");
    assert_eq!(ledger.port(1), None);
    assert!(!maps.pages.contains_key(&(1, 0)));
    // The next reading no longer lists it: the other one is followed alone.
    install(&mut ledger, &mut maps, &[set(&[2])]);
    maps.release(2);
    assert_eq!(install(&mut ledger, &mut maps, &[]).emptied.len(), 1);
}

#[test]
fn a_set_whose_count_the_program_changed_gets_a_fresh_slot() {
    let (mut ledger, mut maps) = (Ledger::new(1), Maps::default());
    install(&mut ledger, &mut maps, &[set(&[1])]);
    maps.release(1);
    // An event was lost, and the listing still shows the socket.
    let installed = install(&mut ledger, &mut maps, &[set(&[1])]);
    assert_eq!(
        (installed.emptied.len(), installed.gone),
        (1, vec![(1, Port::udp(53))])
    );
}

#[test]
fn a_socket_of_many_checks_names_a_slot_of_each() {
    const CHECKS: usize = SLOTS_PER_PAGE * 2 + 1;
    let (mut ledger, mut maps) = (Ledger::new(CHECKS), Maps::default());
    let sets = BTreeSet::from([set(&[1])]);
    let mut failures = Vec::new();
    for check in 0..CHECKS {
        ledger.install(&mut maps, check, None, &sets, &mut failures);
    }
    assert_eq!(maps.pages.len(), 3);
    for check in 1..CHECKS {
        ledger.install(&mut maps, check, None, &BTreeSet::new(), &mut failures);
    }
    assert!(failures.is_empty(), "{failures:?}");
    assert_eq!(maps.pages.len(), 1);
    maps.release(1);
    assert_eq!(install(&mut ledger, &mut maps, &[]).emptied.len(), 1);
}

#[test]
fn slots_are_given_back() {
    let (mut ledger, mut maps) = (Ledger::new(1), Maps::default());
    for cookie in 1..u64::from(MAX_SLOTS) * 2 {
        install(&mut ledger, &mut maps, &[set(&[cookie])]);
    }
    assert_eq!(ledger.free.len(), MAX_SLOTS as usize - 2);
    assert_eq!(maps.pages.len(), 1);
}

#[test]
fn what_the_program_took_down_is_told_though_the_map_is_full() {
    let (mut ledger, mut maps) = (Ledger::new(1), Maps::default());
    install(&mut ledger, &mut maps, &[set(&[1])]);
    maps.release(1);
    maps.room = Some(0);
    // The server has opened another socket, which cannot be followed.
    let (installed, failures) = try_install(&mut ledger, &mut maps, &[set(&[2])]);
    assert_eq!((installed.emptied.len(), failures.len()), (1, 1));
    assert!(!installed.fresh && installed.gone.is_empty());
    assert_eq!(ledger.port(2), None);
    for _ in 0..MAX_SLOTS * 2 {
        let (installed, failures) = try_install(&mut ledger, &mut maps, &[set(&[2])]);
        assert_eq!((installed, failures.len()), (Installed::default(), 1));
    }
    // As soon as there is room it is.
    maps.room = Some(1);
    assert!(install(&mut ledger, &mut maps, &[set(&[2])]).fresh);
    maps.release(2);
    assert_eq!(install(&mut ledger, &mut maps, &[]).emptied.len(), 1);
    assert_nothing_is_left(ledger, maps);
}

#[test]
fn sockets_for_which_there_is_room_are_followed_and_a_set_with_others_is_never_counted_to_its_end()
{
    let (mut ledger, mut maps) = (Ledger::new(1), Maps::default());
    maps.room = Some(1);
    let (_, failures) = try_install(&mut ledger, &mut maps, &[set(&[1, 2])]);
    assert_eq!(failures.len(), 1);
    assert_eq!(
        (ledger.port(1), ledger.port(2)),
        (Some(Port::udp(53)), None)
    );
    maps.release(1);
    let (installed, _) = try_install(&mut ledger, &mut maps, &[set(&[2])]);
    assert!(installed.emptied.is_empty(), "the other one still serves");
    maps.room = Some(1);
    install(&mut ledger, &mut maps, &[set(&[2])]);
    maps.release(2);
    assert_eq!(install(&mut ledger, &mut maps, &[]).emptied.len(), 1);
    assert_nothing_is_left(ledger, maps);
}

#[test]
fn a_socket_whose_pages_cannot_be_changed_is_not_taken_for_one_that_has_gone() {
    // whether its page can be added to, whether it can be changed
    for (room, stuck) in [(Some(0), false), (None, true), (Some(0), true)] {
        let what = format!("room {room:?}, stuck: {stuck}");
        let (mut ledger, mut maps) = (Ledger::new(1), Maps::default());
        // As many as a page holds: one more needs another page.
        let cookies = (2..).take(SLOTS_PER_PAGE);
        let sets: Vec<Set> = cookies.map(|other| set(&[1, other])).collect();
        install(&mut ledger, &mut maps, &sets);
        let mut more = sets.clone();
        more.push(set(&[1]));
        (maps.room, maps.stuck) = (room, stuck);
        for _ in 0..3 {
            let (installed, failures) = try_install(&mut ledger, &mut maps, &more);
            assert!(!failures.is_empty(), "{what}");
            assert!(installed.gone.is_empty(), "{what}: {installed:?}");
            assert!(installed.emptied.is_empty(), "{what}: {installed:?}");
        }
        // None of its slots is named twice: that would count it down twice.
        let mut named: Vec<u32> = (0..PAGES)
            .filter_map(|page| maps.pages.get(&(1, page)))
            .flat_map(|page| page.slots)
            .filter(|slot| *slot != 0)
            .collect();
        named.sort_unstable();
        let all = named.len();
        named.dedup();
        assert_eq!(named.len(), all, "{what}");
        (maps.room, maps.stuck) = (None, false);
        install(&mut ledger, &mut maps, &more);
        maps.release(1);
        let emptied = install(&mut ledger, &mut maps, &sets[..0]).emptied;
        assert_eq!(emptied.len(), 1, "{what}: its own set");
        assert_nothing_is_left(ledger, maps);
    }
}

#[test]
fn a_followed_socket_that_a_listing_misses_makes_its_port_doubtful_until_the_program_saw_it_go() {
    let (mut ledger, mut maps) = (Ledger::new(1), Maps::default());
    install(&mut ledger, &mut maps, &[set(&[1, 2])]);
    let port = Port::udp(53);
    let listed = |cookies: &[u64]| -> Vec<Socket> {
        let socket = |cookie: &u64| Socket {
            cookie: *cookie,
            port,
            local: "192.0.2.1".parse().unwrap(),
            v6_only: false,
            cgroup: None,
        };
        cookies.iter().map(socket).collect()
    };
    let here = BTreeSet::from([port]);
    let nowhere = BTreeSet::new();
    let elsewhere = BTreeSet::from([Port::tcp(53)]);
    // what was read, what was listed, what is doubtful
    let readings = [
        (&here, listed(&[1, 2]), &nowhere),
        (&here, listed(&[1, 2, 3]), &nowhere),
        (&here, listed(&[1]), &here),
        (&here, listed(&[]), &here),
        (&elsewhere, listed(&[]), &nowhere),
    ];
    for (read, listed, want) in readings {
        let got = ledger.doubtful(&maps, read, &listed);
        assert_eq!(got, *want, "{read:?}: {listed:?}");
    }
    maps.release(2);
    assert_eq!(ledger.doubtful(&maps, &here, &listed(&[1])), nowhere);
}
