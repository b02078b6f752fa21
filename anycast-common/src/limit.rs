//! Rate limits: the generic cell rate algorithm (ITU-T I.371 annex A), which is a token bucket that
//! needs one number of state and no division.

use crate::abi::Limit;

/// Whether a packet at `now` is within `limit`; if it is, `arrival` takes it into account.
///
/// `arrival` is the theoretical arrival time of the next packet at the limit's pace, 0 at first;
/// both in nanoseconds of one monotonic clock.
#[inline(always)]
pub fn admit(arrival: &mut u64, now: u64, limit: &Limit) -> bool {
    let expected = if *arrival > now { *arrival } else { now };
    if expected - now > limit.window_ns {
        return false;
    }
    *arrival = expected + limit.interval_ns;
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn admitted(limit: &Limit, times: impl Iterator<Item = u64>) -> usize {
        let mut arrival = 0;
        times.filter(|now| admit(&mut arrival, *now, limit)).count()
    }

    #[test]
    fn a_burst_is_admitted_at_once_and_no_more() {
        let limit = Limit::new(10, 5);
        assert_eq!(admitted(&limit, core::iter::repeat_n(SECOND, 100)), 5);
    }

    #[test]
    fn after_the_burst_packets_are_admitted_at_the_rate() {
        let limit = Limit::new(10, 5);
        // A hundred packets a second for ten seconds.
        let times = (0..1000).map(|n| SECOND + n * SECOND / 100);
        assert_eq!(admitted(&limit, times), 5 + 99);
    }

    #[test]
    fn a_pause_restores_no_more_than_the_burst() {
        let limit = Limit::new(10, 5);
        let times = core::iter::repeat_n(SECOND, 50).chain(core::iter::repeat_n(100 * SECOND, 50));
        assert_eq!(admitted(&limit, times), 10);
    }

    #[test]
    fn a_burst_of_one_spaces_packets_evenly() {
        let limit = Limit::new(1000, 1);
        let times = (0..3000).map(|n| SECOND + n * SECOND / 3000);
        assert_eq!(admitted(&limit, times), 1000);
    }
}
