//! What the data plane shall cost, and whether it does. Pure.

use super::results::Results;

/// Instructions of Katran on Linux 6.12, measured in the same way: a packet that is not to its address.
const KATRAN_PASS: f64 = 535.0;
/// An echo request answered, less the wrapper; it checks no address and has no limit.
const KATRAN_ECHO: f64 = 205.0;

/// A target and what was found.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Judged {
    pub(super) what: &'static str,
    pub(super) found: f64,
    pub(super) bound: Bound,
}

/// Where a ratio shall be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

impl Judged {
    pub(super) fn holds(&self) -> bool {
        match self.bound {
            Bound::AtMost(most) => self.found <= most,
            Bound::AtLeast(least) => self.found >= least,
        }
    }
}

/// All targets for which there are results.
pub(super) fn judge(results: &Results) -> Vec<Judged> {
    let time = |case, of| ratio(results.ns(case), results.ns(of));
    let count = |case, of| ratio(results.instructions(case), Some(of));
    let live = |case, of| {
        ratio(
            results.live.get(case).copied(),
            results.live.get(of).copied(),
        )
    };
    let sizes = |cases: [&str; 3]| spread(&cases.map(|case| results.ns(case)));
    let at_most = |what, found, most| (what, found, Bound::AtMost(most));
    let at_least = |what, found, least| (what, found, Bound::AtLeast(least));
    [
        at_most("unhealthy drop / floor", time("down-v4", "floor"), 1.2),
        at_most(
            "unhealthy drop / xdp-filter's drop (IP only)",
            time("down-v4", "xdp-filter-ip-drop"),
            1.0,
        ),
        at_most("not ours, pass / floor", time("not-ours-v4", "floor"), 1.1),
        at_most(
            "served pass / xdp-filter's pass (all features), UDP",
            time("served-udp4", "xdp-filter-all-pass"),
            0.6,
        ),
        at_most(
            "served pass / xdp-filter's pass (all features), TCP",
            time("served-tcp4", "xdp-filter-all-pass-tcp"),
            0.6,
        ),
        at_most(
            "served pass / Katran's miss",
            time("served-udp4", "katran-pass"),
            1.0,
        ),
        at_most(
            "served pass / Katran's miss, instructions",
            count("served-udp4", KATRAN_PASS),
            1.0,
        ),
        at_most(
            "echo with address check and limit / Katran's echo, less the wrapper",
            time("echo-v4/limit", "katran-echo-v4"),
            1.3,
        ),
        at_most(
            "echo with address check and limit / Katran's echo, instructions less the wrapper",
            count("echo-v4/limit", KATRAN_ECHO),
            1.3,
        ),
        at_most(
            "unhealthy drop: most / least at 10, 10,000 and 1,000,000 addresses",
            sizes(["down-v4/10", "down-v4/10k", "down-v4/1M"]),
            1.05,
        ),
        at_most(
            "served pass: most / least at 10, 10,000 and 1,000,000 addresses",
            sizes(["served-udp4/10", "served-udp4/10k", "served-udp4/1M"]),
            1.05,
        ),
        at_least(
            "live frames: echo / the stack's echo",
            live("echo-xdp", "echo-kernel"),
            10.0,
        ),
        at_least(
            "live frames: drop / nftables' drop in prerouting",
            live("drop-xdp", "drop-nftables"),
            3.0,
        ),
    ]
    .into_iter()
    .filter_map(|(what, found, bound)| {
        let found = found?;
        Some(Judged { what, found, bound })
    })
    .collect()
}

/// The targets' ratios once more, of the programs that have every feature on; their bounds do not bind here.
pub(super) fn with_all_features(results: &Results) -> Vec<Judged> {
    [
        ("unhealthy drop / floor", "down-v4/all", "floor", 1.2),
        ("not ours, pass / floor", "not-ours-v4/all", "floor", 1.1),
        (
            "served pass / xdp-filter's pass (all features), UDP",
            "served-udp4/all",
            "xdp-filter-all-pass",
            0.6,
        ),
        (
            "served pass / xdp-filter's pass (all features), TCP",
            "served-tcp4/all",
            "xdp-filter-all-pass-tcp",
            0.6,
        ),
    ]
    .into_iter()
    .filter_map(|(what, case, of, most)| {
        let found = ratio(results.ns(case), results.ns(of))?;
        let bound = Bound::AtMost(most);
        Some(Judged { what, found, bound })
    })
    .collect()
}

fn ratio(value: Option<f64>, of: Option<f64>) -> Option<f64> {
    Some(value? / of?)
}

/// The most by the least.
fn spread(values: &[Option<f64>]) -> Option<f64> {
    let values: Vec<f64> = values.iter().copied().collect::<Option<_>>()?;
    let most = values.iter().copied().max_by(f64::total_cmp)?;
    let least = values.iter().copied().min_by(f64::total_cmp)?;
    Some(most / least)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_target_is_judged_by_its_ratio_and_left_out_without_results() {
        let results = Results {
            nanoseconds: BTreeMap::from([("down-v4".into(), 18.0), ("floor".into(), 15.0)]),
            live: BTreeMap::from([("echo-xdp".into(), 5.0), ("echo-kernel".into(), 1.0)]),
            ..Results::default()
        };
        let judged = judge(&results);
        let [drop, echo] = judged.as_slice() else {
            panic!("two targets have results: {judged:?}");
        };
        assert!(drop.holds() && (drop.found - 1.2).abs() < 1e-9);
        assert!(!echo.holds());
    }

    #[test]
    fn sizes_are_compared_by_the_most_and_the_least() {
        assert_eq!(spread(&[Some(10.0), Some(8.0), Some(9.0)]), Some(1.25));
        assert_eq!(spread(&[Some(10.0), None]), None);
    }
}
