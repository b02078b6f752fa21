//! Whether a device hides VLAN tags from XDP (SIOCETHTOOL).

use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixDatagram;

/// linux/ethtool.h: `ETHTOOL_GFLAGS`, and its bit `ETH_FLAG_RXVLAN`.
const ETHTOOL_GFLAGS: u32 = 0x25;
const ETH_FLAG_RXVLAN: u32 = 1 << 8;

/// Whether an interface of the caller's network namespace takes the tag off received frames, as `ethtool -k`
/// shows by `rx-vlan-offload: on`.
///
/// # Errors
/// The kernel's; `InvalidInput` for what is no interface's name.
pub fn takes_vlan_tags_off(interface: &str) -> io::Result<bool> {
    /// `struct ethtool_value` of linux/ethtool.h.
    #[repr(C)]
    struct Value {
        command: u32,
        data: u32,
    }
    let mut value = Value {
        command: ETHTOOL_GFLAGS,
        data: 0,
    };
    let mut request = libc::ifreq {
        ifr_name: [0; libc::IFNAMSIZ],
        ifr_ifru: libc::__c_anonymous_ifr_ifru {
            ifru_data: (&raw mut value).cast(),
        },
    };
    if interface.len() >= libc::IFNAMSIZ {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (to, byte) in request.ifr_name.iter_mut().zip(interface.bytes()) {
        *to = libc::c_char::from_ne_bytes([byte]);
    }
    let socket = UnixDatagram::unbound()?;
    // SAFETY: `request` is live and writable, and so is `value`, which it points to and which has the size
    // that the command in it asks for.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL, &raw mut request) };
    if result == 0 {
        Ok(value.data & ETH_FLAG_RXVLAN != 0)
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_no_interface_is_an_error() {
        for name in ["", "not-there", "longer-than-a-name-can-be"] {
            takes_vlan_tags_off(name).unwrap_err();
        }
    }
}
