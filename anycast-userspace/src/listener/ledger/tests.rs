use std::collections::{BTreeMap, BTreeSet};

use anycast_common::listener::MAX_SLOTS;

use super::*;

/// The program's maps, and what the program does with them.
#[derive(Default)]
struct Maps {
    slots: BTreeMap<u32, Slot>,
    pages: BTreeMap<(u64, u32), SocketPage>,
    /// A socket that goes right before the next write of a page.
    goes: Option<u64>,
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
        if met {
            self.pages.insert(key, page);
        }
        Ok(met)
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
    let sets: BTreeSet<Set> = sets.iter().cloned().collect();
    ledger.install(maps, 0, Some(1), &sets).unwrap()
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
    for check in 0..CHECKS {
        ledger.install(&mut maps, check, None, &sets).unwrap();
    }
    assert_eq!(maps.pages.len(), 3);
    for check in 1..CHECKS {
        ledger
            .install(&mut maps, check, None, &BTreeSet::new())
            .unwrap();
    }
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
