//! Socket options that no safe crate offers: TCP MD5 signatures, GTSM, and a probe for TCP-AO.
//!
//! The only `unsafe` code of this crate outside the map ABI: each function is one system call with
//! a pointer to a value that outlives it. It decides nothing; callers say what to set.

use std::io;
use std::mem::size_of;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd};

use libc::{c_int, socklen_t};

/// linux/tcp.h: the peer of a key may be a prefix (Linux 4.13).
const TCP_MD5SIG_EXT: c_int = 32;
const TCP_MD5SIG_FLAG_PREFIX: u8 = 1;
/// linux/tcp.h: `TCP_AO_INFO` (Linux 6.7).
const TCP_AO_INFO: c_int = 40;
/// linux/tcp.h: `TCP_MD5SIG_MAXKEYLEN`.
const MAX_KEY: usize = 80;
/// linux/in.h (Linux 2.6.34) and linux/in6.h (Linux 4.14).
const IP_MINTTL: c_int = 21;
const IPV6_MINHOPCOUNT: c_int = 73;

/// `struct sockaddr_in` or `sockaddr_in6` of linux/in.h and in6.h, in the room of a `sockaddr_storage`.
#[repr(C, align(8))]
struct Address([u8; 128]);

impl Address {
    /// The address without a port; a scope plays no part in keys.
    fn new(address: IpAddr) -> Self {
        let mut octets = [0; 128];
        let family = match address {
            IpAddr::V4(v4) => {
                octets[4..8].copy_from_slice(&v4.octets());
                libc::AF_INET
            }
            IpAddr::V6(v6) => {
                octets[8..24].copy_from_slice(&v6.octets());
                libc::AF_INET6
            }
        };
        let family = u16::try_from(family).expect("address families are small");
        octets[..2].copy_from_slice(&family.to_ne_bytes());
        Self(octets)
    }
}

/// `struct tcp_md5sig` of linux/tcp.h.
#[repr(C)]
struct TcpMd5Sig {
    address: Address,
    flags: u8,
    prefix_length: u8,
    key_length: u16,
    interface: c_int,
    key: [u8; MAX_KEY],
}

const _: () = assert!(size_of::<TcpMd5Sig>() == 216);

/// Whether the kernel signs with TCP-AO (RFC 5925): Linux 6.7 built with `CONFIG_TCP_AO`.
///
/// # Errors
/// Whatever the kernel says other than "no such option" or "no key yet".
pub fn has_tcp_ao(socket: BorrowedFd<'_>) -> io::Result<bool> {
    /// `struct tcp_ao_info_opt` of linux/tcp.h.
    #[repr(C)]
    struct AoInfo {
        flags: u32,
        reserved: u16,
        current_key: u8,
        next_key: u8,
        counters: [u64; 5],
    }
    let mut info = AoInfo {
        flags: 0,
        reserved: 0,
        current_key: 0,
        next_key: 0,
        counters: [0; 5],
    };
    let mut length = length_of::<AoInfo>();
    // SAFETY: `info` and `length` are live, writable, and `length` is the size of `info`.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            TCP_AO_INFO,
            std::ptr::from_mut(&mut info).cast(),
            &raw mut length,
        )
    };
    if result == 0 {
        return Ok(true);
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::ENOENT) => Ok(true),
        Some(libc::ENOPROTOOPT) => Ok(false),
        Some(_) | None => Err(error),
    }
}

/// Signs and expects signatures (RFC 2385) on connections with `peer`, or with all of `peer`/`prefix_length`.
///
/// An empty key removes the one that is set. On a listening socket it holds for connections to come.
///
/// # Errors
/// `InvalidInput` for a key over 80 octets; otherwise the kernel's: it may be built without signatures.
pub fn set_md5_key(
    socket: BorrowedFd<'_>,
    peer: IpAddr,
    prefix_length: Option<u8>,
    key: &[u8],
) -> io::Result<()> {
    let key_length = u16::try_from(key.len())
        .ok()
        .filter(|_| key.len() <= MAX_KEY)
        .ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                "an MD5 key has at most 80 octets",
            )
        })?;
    let mut option = TcpMd5Sig {
        address: Address::new(peer),
        flags: 0,
        prefix_length: 0,
        key_length,
        interface: 0,
        key: [0; MAX_KEY],
    };
    option.key[..key.len()].copy_from_slice(key);
    let name = match prefix_length {
        None => libc::TCP_MD5SIG,
        Some(length) => {
            option.flags = TCP_MD5SIG_FLAG_PREFIX;
            option.prefix_length = length;
            TCP_MD5SIG_EXT
        }
    };
    set(socket, libc::IPPROTO_TCP, name, &option)
}

/// Drops packets that arrive with a lower TTL or hop limit (GTSM, RFC 5082). 0 turns it off.
///
/// # Errors
/// The kernel's.
pub fn set_min_ttl(socket: BorrowedFd<'_>, ipv4: bool, ttl: u8) -> io::Result<()> {
    let (level, name) = if ipv4 {
        (libc::IPPROTO_IP, IP_MINTTL)
    } else {
        (libc::IPPROTO_IPV6, IPV6_MINHOPCOUNT)
    };
    set(socket, level, name, &c_int::from(ttl))
}

fn set<T>(socket: BorrowedFd<'_>, level: c_int, name: c_int, value: &T) -> io::Result<()> {
    // SAFETY: `value` is live for the call, and the length given is its size.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            std::ptr::from_ref(value).cast(),
            length_of::<T>(),
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

fn length_of<T>() -> socklen_t {
    socklen_t::try_from(size_of::<T>()).expect("options are small")
}
