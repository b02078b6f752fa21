//! A service's entry: its state and its policies.

use super::Limit;

/// State: not decided yet. Also the state of an entry never written.
pub const INIT: u32 = 0;
/// State: healthy.
pub const UP: u32 = 1;
/// State: serving, but a part of it is not healthy.
pub const DEGRADED: u32 = 2;
/// State: serving while its routes are moved away.
pub const DRAINING: u32 = 3;
/// State: not healthy.
pub const DOWN: u32 = 4;
/// State: taken out of service by the operator.
pub const DISABLED: u32 = 5;
/// State: not healthy, but packets to served ports are still passed for a while.
pub const LINGERING: u32 = 6;

/// What becomes of packets that a service does not want.
pub mod policy {
    /// Drop, without a word.
    pub const DROP: u32 = 0;
    /// Pass to the stack.
    pub const PASS: u32 = 1;
    /// Answer with TCP RST or ICMP port unreachable.
    pub const REJECT: u32 = 2;
}

/// How many port ranges a service can have.
pub const PORT_RANGES: usize = 16;
/// How many further IP protocols a service can list.
pub const PROTOCOLS: usize = 8;

/// Served ports of one transport protocol, `first` and `last` included.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct PortRange {
    /// IP protocol number; 0 ends the list.
    pub protocol: u16,
    /// First port.
    pub first: u16,
    /// Last port.
    pub last: u16,
}

/// Value of `SERVICES`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Service {
    /// Health, one of the state constants. Whatever is not known is taken for down.
    pub state: u32,
    /// Policy for packets while the service is not up.
    pub on_down: u32,
    /// Policy for packets to ports that are not served.
    pub unlisted: u32,
    /// Policy for fragments that do not carry the ports: drop or pass.
    pub fragments: u32,
    /// 1: ARP and neighbour discovery for its addresses are answered while up, dropped while not.
    pub neighbor: u32,
    /// 1: `CH TXT id.server` is answered on UDP port 53.
    pub identity: u32,
    /// 1: the service has allow or deny lists of its own.
    pub lists: u32,
    /// Prefix length by which the source limit tells IPv4 sources apart.
    pub source_prefix_v4: u32,
    /// Prefix length by which the source limit tells IPv6 sources apart.
    pub source_prefix_v6: u32,
    /// Nothing.
    pub _padding: u32,
    /// Limit of echo replies, on each CPU.
    pub echo_limit: Limit,
    /// Limit of rejections and of answers about the node's identity, on each CPU.
    pub reject_limit: Limit,
    /// Limit of packets, on each CPU.
    pub packet_limit: Limit,
    /// Limit of packets from each source.
    pub source_limit: Limit,
    /// Served ports.
    pub ports: [PortRange; PORT_RANGES],
    /// Further IP protocols that are passed; 0 ends the list.
    pub protocols: [u8; PROTOCOLS],
}

const _: () = {
    assert!(size_of::<PortRange>() == 6);
    assert!(size_of::<Service>() == 104 + PORT_RANGES * 6 + PROTOCOLS);
};

impl Service {
    /// Whether packets to the service are served: a draining service still is.
    #[inline(always)]
    #[must_use]
    pub const fn serving(&self) -> bool {
        // UP, DEGRADED and DRAINING are neighbours.
        self.state.wrapping_sub(UP) <= DRAINING - UP
    }

    /// Whether `port` of `protocol` is served.
    #[inline(always)]
    #[must_use]
    pub fn serves(&self, protocol: u8, port: u16) -> bool {
        for range in &self.ports {
            if range.protocol == 0 {
                return false;
            }
            if range.protocol == u16::from(protocol) && range.first <= port && port <= range.last {
                return true;
            }
        }
        false
    }

    /// Whether packets of an IP protocol without ports are passed.
    #[inline(always)]
    #[must_use]
    pub fn lists_protocol(&self, protocol: u8) -> bool {
        for listed in &self.protocols {
            if *listed == 0 {
                return false;
            }
            if *listed == protocol {
                return true;
            }
        }
        false
    }
}
