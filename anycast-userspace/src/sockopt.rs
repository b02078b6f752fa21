//! Socket options that no safe crate offers: TCP MD5 signatures, TCP-AO keys, GTSM, the ICMPv6 filter.
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
/// linux/tcp.h: `TCP_AO_ADD_KEY` and `TCP_AO_INFO` (Linux 6.7).
const TCP_AO_ADD_KEY: c_int = 38;
const TCP_AO_INFO: c_int = 40;
/// linux/tcp.h: bit fields of `struct tcp_ao_add`, the first in the lowest bit (little endian).
const TCP_AO_SET_CURRENT: u32 = 1;
const TCP_AO_SET_RNEXT: u32 = 1 << 1;
/// Octets of the authentication code of both algorithms (RFC 5926 §3.2).
const AO_MAC_LENGTH: u8 = 12;
/// linux/tcp.h: `TCP_MD5SIG_MAXKEYLEN` and `TCP_AO_MAXKEYLEN`.
const MAX_KEY: usize = 80;
/// linux/in.h (Linux 2.6.34) and linux/in6.h (Linux 4.14).
const IP_MINTTL: c_int = 21;
const IPV6_MINHOPCOUNT: c_int = 73;
/// linux/icmpv6.h
const ICMPV6_FILTER: c_int = 1;

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

/// `struct tcp_ao_add` of linux/tcp.h.
#[repr(C, align(8))]
struct TcpAoAdd {
    address: Address,
    algorithm: [u8; 64],
    interface: c_int,
    flags: u32,
    reserved: u16,
    prefix_length: u8,
    send_id: u8,
    receive_id: u8,
    mac_length: u8,
    key_flags: u8,
    key_length: u8,
    key: [u8; MAX_KEY],
}

const _: () = assert!(size_of::<TcpAoAdd>() == 288);
const _: () = assert!(std::mem::offset_of!(TcpAoAdd, algorithm) == 128);
const _: () = assert!(std::mem::offset_of!(TcpAoAdd, flags) == 196);
const _: () = assert!(std::mem::offset_of!(TcpAoAdd, prefix_length) == 202);
const _: () = assert!(std::mem::offset_of!(TcpAoAdd, key) == 208);

/// How TCP-AO derives traffic keys and signs (RFC 5926).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AoAlgorithm {
    /// KDF_HMAC_SHA1 and HMAC-SHA-1-96.
    HmacSha1,
    /// KDF_AES_128_CMAC and AES-128-CMAC-96.
    Aes128Cmac,
}

impl AoAlgorithm {
    /// The name in the kernel's crypto API.
    const fn name(self) -> &'static str {
        match self {
            Self::HmacSha1 => "hmac(sha1)",
            Self::Aes128Cmac => "cmac(aes128)",
        }
    }
}

/// A TCP-AO key (a Master Key Tuple of RFC 5925 §3.1).
#[derive(Debug, Clone, Copy)]
pub struct AoKey<'a> {
    /// SendID.
    pub send_id: u8,
    /// RecvID.
    pub receive_id: u8,
    /// How it is used.
    pub algorithm: AoAlgorithm,
    /// The master key, at most 80 octets.
    pub secret: &'a [u8],
    /// Whether segments are signed with it, and the peer is asked to use it, from now on.
    pub preferred: bool,
}

impl AoKey<'_> {
    fn option(&self, peer: IpAddr, prefix_length: u8) -> io::Result<TcpAoAdd> {
        let key_length = u8::try_from(self.secret.len())
            .ok()
            .filter(|_| self.secret.len() <= MAX_KEY)
            .ok_or_else(|| {
                io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "a TCP-AO key has at most 80 octets",
                )
            })?;
        let mut option = TcpAoAdd {
            address: Address::new(peer),
            algorithm: [0; 64],
            interface: 0,
            flags: if self.preferred {
                TCP_AO_SET_CURRENT | TCP_AO_SET_RNEXT
            } else {
                0
            },
            reserved: 0,
            prefix_length,
            send_id: self.send_id,
            receive_id: self.receive_id,
            mac_length: AO_MAC_LENGTH,
            key_flags: 0,
            key_length,
            key: [0; MAX_KEY],
        };
        let name = self.algorithm.name().as_bytes();
        option.algorithm[..name.len()].copy_from_slice(name);
        option.key[..self.secret.len()].copy_from_slice(self.secret);
        Ok(option)
    }
}

/// Signs and expects signatures (RFC 5925) on connections with all of `peer`/`prefix_length`. On a
/// listening socket it holds for connections to come; there no key can be `preferred`.
///
/// # Errors
/// `InvalidInput` for a key over 80 octets; otherwise the kernel's: most are built without TCP-AO, see
/// [`has_tcp_ao`].
pub fn add_ao_key(
    socket: BorrowedFd<'_>,
    peer: IpAddr,
    prefix_length: u8,
    key: &AoKey<'_>,
) -> io::Result<()> {
    let option = key.option(peer, prefix_length)?;
    set(socket, libc::IPPROTO_TCP, TCP_AO_ADD_KEY, &option)
}

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

/// Lets a raw ICMPv6 socket receive only these types (`ICMP6_FILTER`, RFC 3542 §3.2).
///
/// # Errors
/// The kernel's.
pub fn accept_icmpv6(socket: BorrowedFd<'_>, types: &[u8]) -> io::Result<()> {
    // linux/icmpv6.h: a set bit blocks.
    let mut filter = [u32::MAX; 8];
    for kind in types {
        filter[usize::from(kind >> 5)] &= !(1 << (kind & 31));
    }
    set(socket, libc::IPPROTO_ICMPV6, ICMPV6_FILTER, &filter)
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

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr, TcpListener};
    use std::os::fd::AsFd;
    use std::time::Duration;

    use socket2::{Domain, Socket, Type};

    use super::*;

    const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    const WAIT: Duration = Duration::from_millis(300);

    /// A listener that wants signatures with this key.
    fn listener(key: &[u8], prefix_length: Option<u8>) -> TcpListener {
        let listener = TcpListener::bind((LOOPBACK, 0)).unwrap();
        let peer = match prefix_length {
            None => LOOPBACK,
            Some(_) => IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)),
        };
        set_md5_key(listener.as_fd(), peer, prefix_length, key).unwrap();
        listener
    }

    fn connects(to: SocketAddr, prepare: impl Fn(&Socket)) -> bool {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        prepare(&socket);
        socket.connect_timeout(&to.into(), WAIT).is_ok()
    }

    #[test]
    fn only_the_same_md5_key_connects() {
        for prefix_length in [None, Some(8)] {
            let listener = listener(b"sesame", prefix_length);
            let address = listener.local_addr().unwrap();
            for (key, want) in [(&b"sesame"[..], true), (b"other", false), (b"", false)] {
                let connected = connects(address, |socket| {
                    if !key.is_empty() {
                        set_md5_key(socket.as_fd(), LOOPBACK, None, key).unwrap();
                    }
                });
                assert_eq!(connected, want, "{key:?} {prefix_length:?}");
            }
        }
    }

    #[test]
    fn a_key_that_is_too_long_is_refused() {
        let listener = TcpListener::bind((LOOPBACK, 0)).unwrap();
        let error = set_md5_key(listener.as_fd(), LOOPBACK, None, &[b'x'; 81]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn a_low_ttl_does_not_reach_a_socket_that_wants_a_high_one() {
        let listener = TcpListener::bind((LOOPBACK, 0)).unwrap();
        set_min_ttl(listener.as_fd(), true, 255).unwrap();
        let address = listener.local_addr().unwrap();
        assert!(connects(address, |socket| socket.set_ttl_v4(255).unwrap()));
        assert!(!connects(address, |socket| socket.set_ttl_v4(254).unwrap()));
    }

    #[test]
    fn a_tcp_ao_key_has_the_layout_of_the_kernel() {
        let key = AoKey {
            send_id: 7,
            receive_id: 9,
            algorithm: AoAlgorithm::Aes128Cmac,
            secret: b"sesame",
            preferred: true,
        };
        let option = key.option([10, 0, 0, 0].into(), 24).unwrap();
        assert_eq!(option.address.0[..2], (libc::AF_INET as u16).to_ne_bytes());
        assert_eq!(option.address.0[4..8], [10, 0, 0, 0]);
        assert_eq!(&option.algorithm[..13], b"cmac(aes128)\0");
        assert_eq!((option.flags, option.reserved, option.interface), (3, 0, 0));
        assert_eq!((option.prefix_length, option.mac_length), (24, 12));
        assert_eq!((option.send_id, option.receive_id), (7, 9));
        assert_eq!((option.key_length, &option.key[..7]), (6, &b"sesame\0"[..]));
        let long = AoKey {
            secret: &[b'x'; 81],
            ..key
        };
        let error = long.option(LOOPBACK, 32).err().expect("too long");
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn only_the_same_tcp_ao_key_connects_where_the_kernel_has_it() {
        let listener = TcpListener::bind((LOOPBACK, 0)).unwrap();
        let key = AoKey {
            send_id: 1,
            receive_id: 1,
            algorithm: AoAlgorithm::HmacSha1,
            secret: b"sesame",
            preferred: false,
        };
        let added = add_ao_key(listener.as_fd(), LOOPBACK, 32, &key);
        if !has_tcp_ao(listener.as_fd()).unwrap() {
            assert_eq!(
                added.unwrap_err().raw_os_error(),
                Some(libc::ENOPROTOOPT),
                "a kernel without TCP-AO says so"
            );
            return;
        }
        added.unwrap();
        let address = listener.local_addr().unwrap();
        for (secret, want) in [(&b"sesame"[..], true), (b"other", false)] {
            let connected = connects(address, |socket| {
                let ours = AoKey {
                    secret,
                    preferred: true,
                    ..key
                };
                add_ao_key(socket.as_fd(), LOOPBACK, 32, &ours).unwrap();
            });
            assert_eq!(connected, want, "{secret:?}");
        }
        assert!(!connects(address, |_| {}), "without a key");
    }

    #[test]
    fn the_kernel_says_whether_it_has_tcp_ao() {
        let listener = TcpListener::bind((LOOPBACK, 0)).unwrap();
        has_tcp_ao(listener.as_fd()).expect("yes or no");
    }
}
