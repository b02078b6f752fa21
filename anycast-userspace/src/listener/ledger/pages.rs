//! The pages on which a socket names its slots: written, moved and removed so that the program never acts
//! on half of them.

use std::collections::BTreeSet;

use anycast_common::listener::{PAGES, SLOTS_PER_PAGE, SocketKey, SocketPage};

use super::super::error::ListenerError;
use super::{Presence, Tables};

/// What became of a socket's pages.
pub(super) enum Linked {
    /// They are as wanted.
    Wanted,
    /// They are as they were before.
    Before,
    /// There are none: the program does not follow the socket.
    None,
    /// The program has seen the socket go.
    Gone,
}

/// Brings a socket's pages from what they name to what they shall. Where that fails they are as before, or
/// none is left: half of them would count slots down twice.
pub(super) fn move_link(
    tables: &mut impl Tables,
    cookie: u64,
    before: &BTreeSet<u32>,
    slots: &BTreeSet<u32>,
    failures: &mut Vec<ListenerError>,
) -> Linked {
    let moved = if slots.is_empty() {
        unlink(tables, cookie, 0, pages(before)).map(|_first| true)
    } else {
        link(tables, cookie, slots, pages(before))
    };
    let back = match moved {
        Ok(true) => return Linked::Wanted,
        Ok(false) => Ok(false),
        Err(error) => {
            failures.push(error);
            unlink(tables, cookie, pages(before), PAGES)
                .and_then(|_first| link(tables, cookie, before, pages(before)))
        }
    };
    match back {
        Ok(true) if before.is_empty() => return Linked::None,
        Ok(true) => return Linked::Before,
        Ok(false) => {}
        Err(error) => failures.push(error),
    }
    match unlink(tables, cookie, 0, PAGES) {
        // The program takes the first page before all others.
        Ok(first) if !first && !before.is_empty() => Linked::Gone,
        Ok(_) => Linked::None,
        Err(error) => {
            failures.push(error);
            Linked::None
        }
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

/// Removes pages, as many as can be; true if the first was there.
fn unlink(
    tables: &mut impl Tables,
    cookie: u64,
    first: u32,
    end: u32,
) -> Result<bool, ListenerError> {
    let mut first_was_there = false;
    let mut failure = None;
    for page in first..end {
        // Gone already where the program was first.
        match tables.remove_page(key(cookie, page)) {
            Ok(there) => first_was_there |= there && page == first,
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    failure.map_or(Ok(first_was_there), Err)
}

/// The page that is there for as long as a socket is followed and the program has not seen it go.
pub(super) fn first_page(cookie: u64) -> SocketKey {
    key(cookie, 0)
}

fn key(cookie: u64, page: u32) -> SocketKey {
    SocketKey {
        cookie,
        page,
        reserved: 0,
    }
}
