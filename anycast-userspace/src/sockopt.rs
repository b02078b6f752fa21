//! Socket options that no safe crate offers: the keys of `keys`, GTSM, the ICMPv6 filter, the deferred ACK; and what
//! `vlan` asks of a device.
//!
//! Here `unsafe` code is allowed: each function is one system call with
//! a pointer to a value that outlives it. It decides nothing; callers say what to set.

mod keys;
mod vlan;

use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd};

use libc::{c_int, socklen_t};

pub use keys::{AoAlgorithm, AoKey, add_ao_key, set_md5_key};
pub use vlan::takes_vlan_tags_off;

/// linux/tcp.h: `TCP_AO_INFO` (Linux 6.7).
const TCP_AO_INFO: c_int = 40;
/// linux/in.h (Linux 2.6.34) and linux/in6.h (Linux 4.14).
const IP_MINTTL: c_int = 21;
const IPV6_MINHOPCOUNT: c_int = 73;
/// linux/icmpv6.h
const ICMPV6_FILTER: c_int = 1;

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

/// Lets the handshake's last ACK of a connection that this socket makes wait for the first words, or for a reset.
/// `TCP_DEFER_ACCEPT` does so on the side that connects (linux/net/ipv4/tcp_input.c, `tcp_rcv_synsent_state_process`),
/// for every connection of the socket.
///
/// # Errors
/// The kernel's.
pub fn defer_last_ack(socket: BorrowedFd<'_>) -> io::Result<()> {
    const SECONDS: c_int = 1;
    set(socket, libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, &SECONDS)
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
    use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
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
            println!("TCP-AO connections were not run: this kernel cannot sign with it");
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
