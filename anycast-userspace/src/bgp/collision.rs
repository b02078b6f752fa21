//! Which of two connections between the same speakers is closed (RFC 4271 §6.8, RFC 6286 §2.3).

use std::net::Ipv4Addr;

/// Who opened a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// We connected to the peer.
    Ours,
    /// The peer connected to us.
    Theirs,
}

/// One end of the session: its BGP Identifier and AS number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Speaker {
    pub(super) identifier: Ipv4Addr,
    pub(super) asn: u32,
}

/// The connection that survives: the one opened by the speaker with the higher BGP Identifier, and
/// between equal identifiers by the one with the higher AS number.
pub(super) fn survivor(local: Speaker, remote: Speaker) -> Origin {
    let local_key = (u32::from(local.identifier), local.asn);
    let remote_key = (u32::from(remote.identifier), remote.asn);
    if local_key < remote_key {
        Origin::Theirs
    } else {
        Origin::Ours
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn speaker(identifier: [u8; 4], asn: u32) -> Speaker {
        Speaker {
            identifier: identifier.into(),
            asn,
        }
    }

    #[test]
    fn the_connection_of_the_higher_speaker_survives() {
        let cases = [
            (
                "lower identifier here",
                [10, 0, 0, 1],
                1,
                [10, 0, 0, 2],
                2,
                Origin::Theirs,
            ),
            (
                "higher identifier here",
                [10, 0, 0, 3],
                1,
                [10, 0, 0, 2],
                2,
                Origin::Ours,
            ),
            (
                "compared as numbers, not as text",
                [9, 0, 0, 1],
                1,
                [10, 0, 0, 1],
                2,
                Origin::Theirs,
            ),
            (
                "equal identifiers, lower AS here",
                [10, 0, 0, 1],
                1,
                [10, 0, 0, 1],
                2,
                Origin::Theirs,
            ),
            (
                "equal identifiers, higher AS here",
                [10, 0, 0, 1],
                3,
                [10, 0, 0, 1],
                2,
                Origin::Ours,
            ),
        ];
        for (name, local, local_as, remote, remote_as, want) in cases {
            let (here, there) = (speaker(local, local_as), speaker(remote, remote_as));
            assert_eq!(survivor(here, there), want, "{name}");
            assert_ne!(survivor(there, here), want, "{name}: both ends agree");
        }
    }
}
