//! Keys that sign TCP segments: MD5 (RFC 2385) and TCP-AO (RFC 5925), in the kernel's layout.

use std::io;
use std::mem::size_of;
use std::net::IpAddr;
use std::os::fd::BorrowedFd;

use libc::c_int;

use super::set;

/// linux/tcp.h: the peer of a key may be a prefix (Linux 4.13).
const TCP_MD5SIG_EXT: c_int = 32;
const TCP_MD5SIG_FLAG_PREFIX: u8 = 1;
/// linux/tcp.h: `TCP_AO_ADD_KEY` (Linux 6.7).
const TCP_AO_ADD_KEY: c_int = 38;
/// linux/tcp.h: bit fields of `struct tcp_ao_add`, the first in the lowest bit (little endian).
const TCP_AO_SET_CURRENT: u32 = 1;
const TCP_AO_SET_RNEXT: u32 = 1 << 1;
/// Octets of the authentication code of both algorithms (RFC 5926 §3.2).
const AO_MAC_LENGTH: u8 = 12;
/// linux/tcp.h: `TCP_MD5SIG_MAXKEYLEN` and `TCP_AO_MAXKEYLEN`.
const MAX_KEY: usize = 80;

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
/// [`super::has_tcp_ao`].
pub fn add_ao_key(
    socket: BorrowedFd<'_>,
    peer: IpAddr,
    prefix_length: u8,
    key: &AoKey<'_>,
) -> io::Result<()> {
    let option = key.option(peer, prefix_length)?;
    set(socket, libc::IPPROTO_TCP, TCP_AO_ADD_KEY, &option)
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

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

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
        assert_eq!(
            option.address.0[..2],
            u16::try_from(libc::AF_INET).unwrap().to_ne_bytes()
        );
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
        let error = long
            .option(Ipv4Addr::LOCALHOST.into(), 32)
            .err()
            .expect("too long");
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}
