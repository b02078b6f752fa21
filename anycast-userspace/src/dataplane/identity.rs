//! The answer to `CH TXT id.server`, written once, for the program to copy. Pure.

use anycast_common::abi::{Identity, RECORD};

use super::error::DataPlaneError;

/// The longest name of a node: with more, the records would outgrow their room.
pub(super) const MAX_NAME: usize = 63;

/// What the map holds when there is no identity.
pub(super) const NO_IDENTITY: Identity = Identity {
    txt: 0,
    both: 0,
    txt_sum: 0,
    both_sum: 0,
    record: [0; RECORD],
};

/// A TXT record (RFC 1035 §3.3.14) of class CH with the question's name and no time to live, and an
/// OPT record (RFC 6891 §6.1.2) that offers 1232 bytes. Its DO bit is the question's, which the program copies.
///
/// # Errors
/// [`DataPlaneError::Identity`] for a name that is empty or longer than 63 bytes.
pub fn records(name: &str) -> Result<Identity, DataPlaneError> {
    let length = u8::try_from(name.len())
        .ok()
        .filter(|length| (1..=MAX_NAME).contains(&usize::from(*length)))
        .ok_or_else(|| DataPlaneError::Identity(name.to_owned()))?;
    let mut bytes = vec![0xc0, 0x0c, 0, 16, 0, 3, 0, 0, 0, 0, 0, length + 1, length];
    bytes.extend(name.bytes());
    let txt = bytes.len();
    bytes.extend([0, 0, 41, 0x04, 0xd0, 0, 0, 0, 0, 0, 0]);
    let mut identity = Identity {
        txt: short(txt),
        both: short(bytes.len()),
        txt_sum: odd_sum(&bytes[..txt]),
        both_sum: odd_sum(&bytes),
        ..NO_IDENTITY
    };
    identity.record[..bytes.len()].copy_from_slice(&bytes);
    Ok(identity)
}

fn short(length: usize) -> u16 {
    u16::try_from(length).expect("records are shorter than their room")
}

/// The sum of 16-bit words where the first byte is the low half of one.
fn odd_sum(bytes: &[u8]) -> u32 {
    (1_usize..)
        .zip(bytes)
        .map(|(place, byte)| u32::from(*byte) << if place % 2 == 0 { 8 } else { 0 })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_name_fits_its_room_and_a_longer_one_is_refused() {
        let identity = records(&"x".repeat(MAX_NAME)).unwrap();
        assert_eq!(usize::from(identity.both), 13 + MAX_NAME + 11);
        assert!(records(&"x".repeat(MAX_NAME + 1)).is_err());
        assert!(records("").is_err());
    }
}
