//! Counting: each packet once, under its service and its reason.

use anycast_common::abi::{Count, Explanation, feature};
use anycast_common::{Reason, Tables as _, Verdict};

use crate::maps::{ADDRESS_COUNTERS, COUNTERS, EXPLANATION};
use crate::tables::KernelTables;

/// Counts a verdict about a frame of `length` bytes, or explains it where that is what the program
/// was loaded for.
#[inline(always)]
pub(crate) fn record<const INDEXED: bool>(
    tables: &KernelTables<'_, INDEXED>,
    verdict: &Verdict,
    length: usize,
) {
    if tables.has(feature::EXPLAIN) {
        explain(verdict);
    } else {
        count(verdict, length);
        if tables.has(feature::ADDRESS_COUNTERS) {
            count_for_address(tables.slot(), verdict, length);
        }
    }
}

#[inline(always)]
fn count_for_address(slot: u32, verdict: &Verdict, length: usize) {
    if slot == 0 {
        return;
    }
    let Some(counters) = ADDRESS_COUNTERS.get_ptr_mut(slot) else {
        return;
    };
    // SAFETY: the slot is this CPU's own, and XDP is not preempted by itself.
    let count = unsafe { &mut *counters }.get_mut(verdict.disposition());
    count.packets += 1;
    count.bytes += length as u64;
}

#[inline(always)]
fn count(verdict: &Verdict, length: usize) {
    let Some(counters) = COUNTERS.get_ptr_mut(verdict.service) else {
        return;
    };
    let reason = verdict.reason as usize;
    if reason >= Reason::ALL.len() {
        return;
    }
    // SAFETY: `Counters` is one `Count` per reason in the order of their numbers, asserted where it
    // is defined; the slot is this CPU's own, and XDP is not preempted by itself.
    let count = unsafe { &mut *counters.cast::<Count>().add(reason) };
    count.packets += 1;
    count.bytes += length as u64;
}

#[inline(always)]
fn explain(verdict: &Verdict) {
    let Some(slot) = EXPLANATION.get_ptr_mut(0) else {
        return;
    };
    // SAFETY: explaining programs are run one at a time, by the process that loaded them.
    let slot = unsafe { &mut *slot };
    *slot = Explanation {
        disposition: verdict.disposition() as u32,
        reason: verdict.reason as u32,
        service: verdict.service,
        sequence: slot.sequence.wrapping_add(1),
    };
}
