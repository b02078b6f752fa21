//! Internet checksums: whole (RFC 1071) and incremental (RFC 1624), with the end-around carry.

/// Folds a sum of 16-bit words to one word.
#[inline(always)]
#[must_use]
pub const fn fold(sum: u32) -> u16 {
    let once = (sum & 0xffff) + (sum >> 16);
    let twice = (once & 0xffff) + (once >> 16);
    #[expect(clippy::cast_possible_truncation, reason = "two folds leave 16 bits")]
    {
        twice as u16
    }
}

/// The checksum after one covered word went from `old` to `new`: RFC 1624 §3, equation 3.
///
/// Exact wherever something covered is non-zero, as in every IPv4 header and every ICMPv6 message
/// with its pseudo-header.
#[inline(always)]
#[must_use]
pub const fn replace(checksum: u16, old: u16, new: u16) -> u16 {
    !fold(!checksum as u32 + !old as u32 + new as u32)
}

/// The unfolded sum of an even number of bytes as big-endian words.
#[inline(always)]
#[must_use]
pub fn sum(bytes: &[u8]) -> u32 {
    let mut sum = 0_u32;
    let mut at = 0;
    while at + 1 < bytes.len() {
        sum += u32::from(u16::from_be_bytes([bytes[at], bytes[at + 1]]));
        at += 2;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(words: &[u16]) -> u16 {
        !fold(words.iter().map(|word| u32::from(*word)).sum())
    }

    #[test]
    fn replacing_a_word_equals_summing_again_for_every_other_word() {
        for rest in 1..=u16::MAX {
            for (old, new) in [
                (0x0800, 0x0000),
                (0x8000, 0x8100),
                (0x0111, 0x4011),
                (0xffff, 0),
            ] {
                let before = whole(&[0x1234, rest, old]);
                assert_eq!(
                    replace(before, old, new),
                    whole(&[0x1234, rest, new]),
                    "rest {rest:#06x}, {old:#06x} to {new:#06x}"
                );
            }
        }
    }

    #[test]
    fn replacing_any_word_by_any_of_a_sample_equals_summing_again() {
        for old in 0..=u16::MAX {
            for new in [0, 1, 0x4001, 0x7fff, 0x8000, 0xfffe, 0xffff] {
                let before = whole(&[0x4500, old]);
                assert_eq!(replace(before, old, new), whole(&[0x4500, new]));
            }
        }
    }

    #[test]
    fn the_largest_sum_of_a_packet_folds_to_its_words() {
        assert_eq!(fold(0), 0);
        assert_eq!(fold(0xffff), 0xffff);
        assert_eq!(fold(0x1_0000), 1);
        assert_eq!(fold(u32::MAX), 0xffff);
    }
}
