//! Sees a socket's end before it is released: when all that refers to its file are processes bound to die.
//!
//! A process that is killed frees its memory before it closes its files, which takes milliseconds, and the
//! processes that share a socket do so one after the other. So at the moment when SIGKILL is sent, and again
//! when the last thread of a process exits, its descriptors are counted; a socket whose file has no other
//! reference than the counted ones is dealt with as if it had been released. A reference that is not counted
//! (a process that lives on, however it got the socket; a descriptor under way in a message; a system call
//! that is just using it) leaves the matter to the release.
//!
//! What was counted for a process is taken back as it exits, before its files are closed: a file never has
//! fewer references of doomed processes than were counted, but for one that such a process itself closes
//! between the signal and its end.

use core::ffi::c_void;
use core::mem::MaybeUninit;

use anycast_common::listener::{Doomed, KernelLayout, MOST_DOOMED, SocketKey};
use aya_ebpf::bindings::{BPF_F_NO_PREALLOC, BPF_NOEXIST};
use aya_ebpf::btf_maps::HashMap;
use aya_ebpf::helpers::bpf_probe_read_kernel;
use aya_ebpf::helpers::generated::bpf_probe_read_kernel as bpf_probe_read_kernel_raw;
use aya_ebpf::macros::{btf_map, raw_tracepoint};
use aya_ebpf::programs::RawTracePointContext;

use super::{Command, Releaser, SOCKETS, add, gone, now};

const ON_DEMAND: usize = BPF_F_NO_PREALLOC as usize;
const MAX_PROCESSES: usize = 4096;
const MAX_REFERRED: usize = 65_536;
/// How many descriptors of a process are looked at: those that were opened first.
const MOST_DESCRIPTORS: u64 = 256;

// From the kernel's headers: signal.h, trace/events/signal.h, stat.h.
const SIGKILL: i32 = 9;
const TRACE_SIGNAL_DELIVERED: i32 = 0;
const S_IFMT: u16 = 0o170_000;
const S_IFSOCK: u16 = 0o140_000;

/// Where fields lie in the running kernel; the loader writes it.
#[unsafe(no_mangle)]
static KERNEL_LAYOUT: KernelLayout = KernelLayout::UNKNOWN;

/// What an entry begins as.
static NONE: Doomed = Doomed::NONE;

/// Processes that are bound to die, and what was counted for them.
#[btf_map]
static DOOMED: HashMap<u32, Doomed, MAX_PROCESSES, ON_DEMAND> = HashMap::new();

/// Sockets by cookie, and how many references to their file are counted.
#[btf_map]
static REFERENCES: HashMap<u64, u64, MAX_REFERRED, ON_DEMAND> = HashMap::new();

/// Runs in kill() and its kin, after the signal was delivered.
#[raw_tracepoint(tracepoint = "signal_generate")]
#[expect(clippy::needless_pass_by_value, reason = "the macro hands it over")]
pub(crate) fn listener_signal(ctx: RawTracePointContext) -> i32 {
    if ctx.arg::<i32>(0) != SIGKILL || ctx.arg::<i32>(4) != TRACE_SIGNAL_DELIVERED {
        return 0;
    }
    let task = ctx.arg::<*const c_void>(2) as u64;
    if let Some(live) = live_threads(task) {
        // A table of descriptors that more use than its process has threads outlives the process.
        doom(task, live);
    }
    0
}

/// Runs as a thread exits, before it closes its files (since Linux 6.16 before it frees memory, too).
#[raw_tracepoint(tracepoint = "sched_process_exit")]
#[expect(clippy::needless_pass_by_value, reason = "the macro hands it over")]
pub(crate) fn listener_exit(ctx: RawTracePointContext) -> i32 {
    let task = ctx.arg::<*const c_void>(0) as u64;
    if live_threads(task) != Some(0) {
        return 0;
    }
    let Some(process) = process_of(task) else {
        return 0;
    };
    take_back(process);
    doom(task, 1);
    take_back(process);
    0
}

fn live_threads(task: u64) -> Option<i32> {
    let signal: u64 = read(task, &raw const KERNEL_LAYOUT.task_signal)?;
    read(signal, &raw const KERNEL_LAYOUT.signal_live)
}

fn process_of(task: u64) -> Option<u32> {
    read(task, &raw const KERNEL_LAYOUT.task_tgid)
}

#[inline(always)]
fn command_of(task: u64) -> Command {
    let mut command = MaybeUninit::<Command>::uninit();
    let from = task + u64::from(field(&raw const KERNEL_LAYOUT.task_comm));
    // SAFETY: the helper fills all the bytes that it is told of, with zeros if it fails.
    unsafe {
        bpf_probe_read_kernel_raw(command.as_mut_ptr().cast(), 16, from as *const c_void);
        command.assume_init()
    }
}

/// Counts the references of a process to watched sockets, and deals with those that have no other.
#[inline(always)]
fn doom(task: u64, most_users: i32) {
    let Some(process) = process_of(task) else {
        return;
    };
    if DOOMED.get_ptr(process).is_some() {
        // It is killed twice, and was counted.
        return;
    }
    count(task, process, most_users);
    let Some(doomed) = DOOMED.get_ptr(process) else {
        return;
    };
    let releaser = Releaser {
        netns: 0,
        process,
        command: command_of(task),
    };
    let at = now();
    for place in 0..MOST_DOOMED {
        // SAFETY: the map frees an entry only after the programs that use it have ended.
        let (cookie, file) = unsafe {
            (
                (&raw const (*doomed).cookies[place]).read_volatile(),
                (&raw const (*doomed).files[place]).read_volatile(),
            )
        };
        if cookie == 0 {
            break;
        }
        if all_are_counted(cookie, file) {
            gone(cookie, at, 1, &releaser);
        }
    }
}

/// Walks through the descriptors of a process, and counts those that are watched sockets.
#[inline(always)]
fn count(task: u64, process: u32, most_users: i32) {
    let Some(fds) = descriptors(task, most_users) else {
        return;
    };
    for number in 0..MOST_DESCRIPTORS {
        if number >= fds.count {
            break;
        }
        let Some(file) = read_at::<u64>(fds.table + number * 8) else {
            break;
        };
        if let Some(cookie) = watched_socket(file) {
            note(process, cookie, file);
        }
    }
}

struct Descriptors {
    table: u64,
    count: u64,
}

#[inline(always)]
fn descriptors(task: u64, most_users: i32) -> Option<Descriptors> {
    let files: u64 = read(task, &raw const KERNEL_LAYOUT.task_files)?;
    if files == 0 {
        return None;
    }
    let users: i32 = read(files, &raw const KERNEL_LAYOUT.files_count)?;
    if users > most_users {
        return None;
    }
    let table: u64 = read(files, &raw const KERNEL_LAYOUT.files_table)?;
    let count: u32 = read(table, &raw const KERNEL_LAYOUT.table_size)?;
    Some(Descriptors {
        table: read(table, &raw const KERNEL_LAYOUT.table_files)?,
        count: u64::from(count),
    })
}

/// The cookie of the socket that a file is, if the controller has it followed.
#[inline(always)]
fn watched_socket(file: u64) -> Option<u64> {
    let inode: u64 = read(file, &raw const KERNEL_LAYOUT.file_inode)?;
    let mode: u16 = read(inode, &raw const KERNEL_LAYOUT.inode_mode)?;
    if mode & S_IFMT != S_IFSOCK {
        return None;
    }
    let socket: u64 = read(file, &raw const KERNEL_LAYOUT.file_private)?;
    let sock: u64 = read(socket, &raw const KERNEL_LAYOUT.socket_sock)?;
    let cookie: u64 = read(sock, &raw const KERNEL_LAYOUT.sock_cookie)?;
    if cookie == 0 {
        return None;
    }
    let first = SocketKey {
        cookie,
        page: 0,
        reserved: 0,
    };
    SOCKETS.get_ptr(first).map(|_| cookie)
}

/// Counts a reference, where there is room. How many there are stands in the map alone: in a register, the
/// verifier would follow every number that it can be.
#[inline(always)]
fn note(process: u32, cookie: u64, file: u64) {
    if DOOMED.get_ptr(process).is_none() {
        #[expect(
            clippy::needless_borrows_for_generic_args,
            reason = "by value it would be copied to the stack, word by word"
        )]
        let _no_room = DOOMED.insert(process, &NONE, u64::from(BPF_NOEXIST));
    }
    if REFERENCES.get_ptr(cookie).is_none() {
        // Lost against another processor's, which is as good.
        let _there = REFERENCES.insert(cookie, 0, u64::from(BPF_NOEXIST));
    }
    let Some(doomed) = DOOMED.get_ptr_mut(process) else {
        return;
    };
    let Some(references) = REFERENCES.get_ptr_mut(cookie) else {
        return;
    };
    // SAFETY: the maps free an entry only after the programs that use it have ended.
    unsafe {
        let count = &raw mut (*doomed).count;
        #[expect(
            clippy::cast_possible_truncation,
            reason = "BPF addresses have 64 bits"
        )]
        let place = count.read_volatile() as usize;
        if place >= MOST_DOOMED {
            return;
        }
        (&raw mut (*doomed).files[place]).write_volatile(file);
        (&raw mut (*doomed).cookies[place]).write_volatile(cookie);
        count.write_volatile(place as u64 + 1);
        add(references, 1);
    }
}

/// Whether every reference to a socket's file is counted.
#[inline(always)]
fn all_are_counted(cookie: u64, file: u64) -> bool {
    let Some(counted) = REFERENCES.get_ptr(cookie) else {
        return false;
    };
    let Some(references) = read::<u64>(file, &raw const KERNEL_LAYOUT.file_references) else {
        return false;
    };
    // SAFETY: the map frees an entry only after the programs that use it have ended.
    let counted = unsafe { counted.read_volatile() };
    counted >= references.wrapping_add(u64::from(field(&raw const KERNEL_LAYOUT.references_bias)))
}

/// Forgets what was counted for a process.
#[inline(always)]
fn take_back(process: u32) {
    let Some(doomed) = DOOMED.get_ptr(process) else {
        return;
    };
    for place in 0..MOST_DOOMED {
        // SAFETY: the map frees an entry only after the programs that use it have ended.
        let cookie = unsafe { (&raw const (*doomed).cookies[place]).read_volatile() };
        if cookie == 0 {
            break;
        }
        if let Some(references) = REFERENCES.get_ptr_mut(cookie) {
            // SAFETY: as above.
            unsafe {
                add(references, u64::MAX);
                if references.read_volatile() == 0 {
                    // A count that starts at the same time is lost: the release will tell.
                    let _gone = REFERENCES.remove(cookie);
                }
            }
        }
    }
    let _gone = DOOMED.remove(process);
}

/// Reads a field of a kernel object, if the object is there.
#[inline(always)]
fn read<T>(object: u64, offset: *const u32) -> Option<T> {
    if object == 0 {
        return None;
    }
    read_at(object + u64::from(field(offset)))
}

#[inline(always)]
fn read_at<T>(address: u64) -> Option<T> {
    // SAFETY: the helper checks the address, and fails where there is no memory.
    unsafe { bpf_probe_read_kernel(address as *const T) }.ok()
}

#[inline(always)]
fn field(offset: *const u32) -> u32 {
    // SAFETY: it points into a constant, which the loader has written before; volatile keeps the load.
    unsafe { offset.read_volatile() }
}
