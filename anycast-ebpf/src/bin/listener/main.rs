//! Tells the moment when a served socket is released, and when one is bound to a watched port.
//!
//! It follows sockets that the controller named to it, by cookie: it never decides which sockets serve
//! what. When the last socket of a slot is gone it takes the slot's service down in the data plane, in
//! the very call that released the socket, unless a bind to the port has not been looked at yet: then a
//! restart may be under way, and the controller decides.
#![cfg_attr(target_arch = "bpf", no_std, no_main, feature(asm_experimental_arch))]

mod death;

use core::mem::MaybeUninit;

use anycast_common::abi::{DOWN, DRAINING, NO_SERVICE, UP};
use anycast_common::listener::{
    Event, MAX_SLOTS, PAGES, PortKey, ServiceState, Slot, SocketKey, SocketPage, kind,
};
use aya_ebpf::bindings::{BPF_F_NO_PREALLOC, bpf_sock};
use aya_ebpf::btf_maps::{Array, HashMap, RingBuf};
use aya_ebpf::helpers::generated::bpf_get_current_comm;
use aya_ebpf::helpers::{
    bpf_get_current_pid_tgid, bpf_get_netns_cookie, bpf_get_socket_cookie, bpf_ktime_get_ns,
};
use aya_ebpf::macros::{btf_map, cgroup_sock};
use aya_ebpf::programs::SockContext;

/// Entries are allocated as they are written, and an entry is not reused under a program that reads it.
const ON_DEMAND: usize = BPF_F_NO_PREALLOC as usize;
const MAX_SOCKETS: usize = 65_536;
const MAX_PORTS: usize = 65_536;
/// A multiple of every page size in use; over 3,000 events.
const RING_BYTES: usize = 256 * 1024;

#[btf_map]
static SOCKETS: HashMap<SocketKey, SocketPage, MAX_SOCKETS, ON_DEMAND> = HashMap::new();

#[btf_map]
static SLOTS: Array<Slot, { MAX_SLOTS as usize }> = Array::new();

#[btf_map]
static BINDS: HashMap<PortKey, u64, MAX_PORTS, ON_DEMAND> = HashMap::new();

#[btf_map]
static BINDS_SEEN: HashMap<PortKey, u64, MAX_PORTS, ON_DEMAND> = HashMap::new();

#[btf_map]
static EVENTS: RingBuf<(), RING_BYTES> = RingBuf::new();

#[btf_map]
static EVENTS_LOST: Array<u64, 1> = Array::new();

#[btf_map]
static SERVICES: Array<ServiceState, 1> = Array::new();

/// Runs in `close()`, or in the exit of the process, when the last reference to a socket goes.
#[cgroup_sock(sock_release)]
pub(crate) fn listener_release(SockContext { sock }: SockContext) -> i32 {
    released(sock);
    1
}

/// Runs at the end of `bind()` of an IPv4 socket.
#[cgroup_sock(post_bind4)]
pub(crate) fn listener_bind4(SockContext { sock }: SockContext) -> i32 {
    bound(sock);
    1
}

/// Runs at the end of `bind()` of an IPv6 socket.
#[cgroup_sock(post_bind6)]
pub(crate) fn listener_bind6(SockContext { sock }: SockContext) -> i32 {
    bound(sock);
    1
}

#[inline(always)]
fn released(sock: *mut bpf_sock) {
    // SAFETY: the helpers take the program's own context.
    let (cookie, netns) = unsafe {
        (
            bpf_get_socket_cookie(sock.cast()),
            bpf_get_netns_cookie(sock.cast()),
        )
    };
    let releaser = Releaser {
        netns,
        process: process(),
        command: command(),
    };
    gone(cookie, now(), PAGES, &releaser);
}

/// Who released a socket, in which network namespace.
struct Releaser {
    /// Zero where it is not known.
    netns: u64,
    process: u32,
    command: Command,
}

/// The name of a process, filled up with zeros. Aligned, so that it is not copied octet by octet.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Command([u8; 16]);

/// Takes a socket off its slots, if it has no more than `most_pages` pages, and tells the controller.
#[inline(always)]
fn gone(cookie: u64, at: u64, most_pages: u32, releaser: &Releaser) {
    let mut key = SocketKey {
        cookie,
        page: 0,
        reserved: 0,
    };
    if SOCKETS.get_ptr(key).is_none() {
        return;
    }
    if most_pages < PAGES {
        key.page = most_pages;
        if SOCKETS.get_ptr(key).is_some() {
            return;
        }
    }
    for page in 0..most_pages {
        key.page = page;
        let Some(entry) = SOCKETS.get_ptr(key) else {
            break;
        };
        // SAFETY: the map frees an entry only after the programs that read it have ended.
        for slot in unsafe { &(*entry).slots } {
            if *slot == 0 {
                break;
            }
            leave(*slot, at);
        }
        // Whoever removes a page has dealt with it: it tells the controller that this ran.
        let _gone_already = SOCKETS.remove(key);
    }
    send(Event {
        at,
        cookie,
        netns: releaser.netns,
        kind: kind::RELEASED,
        port: PortKey::default(),
        process: releaser.process,
        reserved: 0,
        command: releaser.command.0,
    });
}

/// Takes one socket off a slot, and the service down if it was the last.
#[inline(always)]
fn leave(slot: u32, at: u64) {
    let Some(slot) = SLOTS.get_ptr_mut(slot) else {
        return;
    };
    // SAFETY: an array's element is always there, and aligned to 8 bytes; the controller only reads it.
    unsafe {
        let sockets = &raw mut (*slot).sockets;
        // Where two sockets leave at once, both may read 0 and do what follows: it comes to the same.
        add(sockets, u64::MAX);
        if sockets.read_volatile() != 0 {
            return;
        }
        (*slot).emptied_at = at;
        if take_down((*slot).service, (*slot).port) {
            (*slot).down_at = now();
        }
    }
}

#[inline(always)]
fn take_down(service: u32, port: PortKey) -> bool {
    if service == NO_SERVICE || bind_is_new(port) {
        return false;
    }
    let Some(entry) = SERVICES.get_ptr_mut(service) else {
        return false;
    };
    // SAFETY: an array's element is always there; its first word is the state.
    unsafe {
        let state = &raw mut (*entry).state;
        // Up, degraded and draining are neighbours.
        if !(UP..=DRAINING).contains(&state.read_volatile()) {
            return false;
        }
        state.write_volatile(DOWN);
    }
    true
}

/// Whether a socket was bound to the port that the controller has not looked at.
#[inline(always)]
fn bind_is_new(port: PortKey) -> bool {
    // One at a time: the verifier does not follow two pointers that are compared as one.
    let Some(binds) = BINDS.get_ptr(port) else {
        return true;
    };
    let Some(seen) = BINDS_SEEN.get_ptr(port) else {
        return true;
    };
    // SAFETY: the maps free an entry only after the programs that read it have ended.
    unsafe { binds.read_volatile() != seen.read_volatile() }
}

#[inline(always)]
#[expect(
    clippy::cast_possible_truncation,
    reason = "16-bit values in fields of 32 bits"
)]
fn bound(sock: *mut bpf_sock) {
    // SAFETY: both fields may be read in this program; volatile keeps the loads at their full width.
    let (protocol, port) = unsafe {
        (
            (&raw const (*sock).protocol).read_volatile(),
            (&raw const (*sock).src_port).read_volatile(),
        )
    };
    let key = PortKey {
        protocol: protocol as u16,
        port: port as u16,
    };
    let Some(binds) = BINDS.get_ptr_mut(key) else {
        return;
    };
    // SAFETY: the map frees an entry only after the programs that use it have ended.
    unsafe { add(binds, 1) };
    // SAFETY: the helpers take the program's own context.
    let (cookie, netns) = unsafe {
        (
            bpf_get_socket_cookie(sock.cast()),
            bpf_get_netns_cookie(sock.cast()),
        )
    };
    send(Event {
        at: now(),
        cookie,
        netns,
        kind: kind::BOUND,
        port: key,
        process: process(),
        reserved: 0,
        command: command().0,
    });
}

#[inline(always)]
fn send(event: Event) {
    if EVENTS.output_untyped::<Event>(event, 0).is_err()
        && let Some(lost) = EVENTS_LOST.get_ptr_mut(0)
    {
        // SAFETY: an array's element is always there.
        unsafe { add(lost, 1) };
    }
}

#[inline(always)]
fn process() -> u32 {
    (bpf_get_current_pid_tgid() >> 32) as u32
}

#[inline(always)]
fn command() -> Command {
    let mut command = MaybeUninit::<Command>::uninit();
    // SAFETY: the helper fills all the bytes that it is told of, with zeros if it fails.
    unsafe {
        bpf_get_current_comm(command.as_mut_ptr().cast(), 16);
        command.assume_init()
    }
}

/// Adds in one step, wrapping around. It returns nothing: fetching as well asks for kernel 5.12.
///
/// # Safety
///
/// `word` must be valid and aligned, and every other access to it a whole load or store.
#[inline(always)]
unsafe fn add(word: *mut u64, value: u64) {
    #[cfg(target_arch = "bpf")]
    // SAFETY: the caller's promise.
    unsafe {
        core::arch::asm!(
            "lock *(u64 *)({word} + 0) += {value}",
            word = in(reg) word,
            value = in(reg) value,
        );
    }
    #[cfg(not(target_arch = "bpf"))]
    // SAFETY: the caller's promise.
    unsafe {
        core::sync::atomic::AtomicU64::from_ptr(word)
            .fetch_add(value, core::sync::atomic::Ordering::Relaxed);
    }
}

#[inline(always)]
fn now() -> u64 {
    // SAFETY: the helper takes nothing and reads a clock.
    unsafe { bpf_ktime_get_ns() }
}

#[cfg(not(target_arch = "bpf"))]
fn main() {}

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// The helpers that the kernel offers to GPL-compatible programs alone ask for this.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
