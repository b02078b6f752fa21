//! What differs from the counts that are kept. Pure.

use std::fmt::Write as _;

use super::counts::{Counts, Kept, series};

/// More than so many parts of a thousand are a finding.
const TOLERANCE: u64 = 30;
/// With another kernel of the series a finding fails above this: its helpers and maps count as well.
const OTHER_KERNEL: u64 = 100;
/// With another compiler or linker: the whole program is then another one.
const OTHER_BUILD: u64 = 250;
/// The program that every other is compared with where kernel or compiler are others.
const FLOOR: &str = "floor";

/// One count that is not as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) kernel: String,
    pub(super) case: String,
    pub(super) what: What,
    /// Too much of a change to let pass; the others are only told.
    pub(super) fails: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// Dearer or cheaper than this was expected.
    Changed { was: u64, is: u64 },
    /// Nothing is kept of it.
    New { is: u64 },
    /// It was not counted.
    Gone { was: u64 },
}

/// Compares what was found with what is kept.
///
/// Where the kernel, the compiler or the linker is another one, a count is expected to have changed as the
/// floor program's has, which no change of the data plane touches; and more than that must differ to fail.
pub(super) fn compare(kept: &Kept, found: &Kept) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (release, is) in &found.kernels {
        let empty = Counts::new();
        let (was, scale) = match reference(kept, release) {
            Some((known, was)) if known == release && kept.build == found.build => (was, None),
            Some((_, was)) => (was, was.get(FLOOR).copied().zip(is.get(FLOOR).copied())),
            None => (&empty, None),
        };
        let tolerance = if scale.is_none() {
            TOLERANCE
        } else if kept.build == found.build {
            OTHER_KERNEL
        } else {
            OTHER_BUILD
        };
        let mut find = |case: &str, what| {
            let fails = match what {
                What::Changed { was, is } => differs(was, is, tolerance),
                What::New { .. } | What::Gone { .. } => true,
            };
            findings.push(Finding {
                kernel: release.clone(),
                case: case.to_owned(),
                what,
                fails,
            });
        };
        for (case, &is) in is {
            match was.get(case) {
                None => find(case, What::New { is }),
                Some(&was) => {
                    let was = scale.map_or(was, |(before, now)| scaled(was, before, now));
                    if differs(was, is, TOLERANCE) {
                        find(case, What::Changed { was, is });
                    }
                }
            }
        }
        for (case, &was) in was {
            if !is.contains_key(case) {
                find(case, What::Gone { was });
            }
        }
    }
    findings
}

/// The counts that are kept of a kernel's series.
fn reference<'a>(kept: &'a Kept, release: &str) -> Option<(&'a str, &'a Counts)> {
    let of_series = || {
        let of = |known: &&String| series(known) == series(release);
        kept.kernels.keys().find(of)
    };
    let known = kept
        .kernels
        .get_key_value(release)
        .map(|(known, _)| known)
        .or_else(of_series)?;
    Some((known, &kept.kernels[known]))
}

/// Whether two counts are more than so many parts of a thousand apart.
const fn differs(was: u64, is: u64, tolerance: u64) -> bool {
    is.abs_diff(was) * 1000 > was * tolerance
}

/// `was * now / before`, rounded.
fn scaled(was: u64, before: u64, now: u64) -> u64 {
    if before == 0 {
        return was;
    }
    (was * now + before / 2) / before
}

/// The comparison, for people.
pub(super) fn report(kept: &Kept, found: &Kept, findings: &[Finding]) -> String {
    let mut text = String::new();
    let mut line = |words: String| {
        let _to_a_string = writeln!(text, "{words}");
    };
    if kept.build != found.build && *kept != Kept::default() {
        line(format!(
            "The counts are kept of {} and {}; here are {} and {}: ratios to the floor program are compared.",
            kept.build.compiler, kept.build.linker, found.build.compiler, found.build.linker
        ));
    }
    for (release, counts) in &found.kernels {
        match reference(kept, release) {
            Some((known, _)) if known == release => {}
            Some((known, _)) => line(format!(
                "The counts are kept of kernel {known}; here is {release}: ratios to the floor program are \
                 compared."
            )),
            None => line(format!("No counts are kept of a kernel like {release}.")),
        }
        let of_this = |finding: &&Finding| finding.kernel == *release;
        let differing = findings.iter().filter(of_this).count();
        line(format!(
            "{release}: {} cases, {differing} not as kept",
            counts.len()
        ));
    }
    for Finding {
        kernel,
        case,
        what,
        fails,
    } in findings
    {
        let words = match *what {
            What::Changed { was, is } => format!(
                "{case} on {kernel}: was {was} instructions, is {is}: {} by {}",
                if is > was { "dearer" } else { "cheaper" },
                per_cent(was, is)
            ),
            What::New { is } => format!("{case} on {kernel}: is {is}, and no count is kept"),
            What::Gone { was } => format!("{case} on {kernel}: was {was}, and is counted no more"),
        };
        line(if *fails {
            words
        } else {
            format!("{words}, which may be the versions")
        });
    }
    text
}

fn per_cent(was: u64, is: u64) -> String {
    let tenths = (is.abs_diff(was) * 1000 + was / 2) / was.max(1);
    format!("{}.{} %", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::super::counts::Build;
    use super::*;

    const KERNEL: &str = "6.12.117+deb12-cloud-amd64";
    const NEXT: &str = "6.12.118+deb12-cloud-amd64";

    fn counted(compiler: &str, kernel: &str, counts: &[(&str, u64)]) -> Kept {
        let counts = counts
            .iter()
            .map(|(case, count)| ((*case).to_owned(), *count));
        Kept {
            build: Build {
                compiler: compiler.to_owned(),
                linker: "l".to_owned(),
            },
            kernels: [(kernel.to_owned(), counts.collect())].into(),
        }
    }

    #[test]
    fn a_change_of_more_than_three_per_cent_is_found_either_way() {
        let kept = counted("c", KERNEL, &[("floor", 256), ("down", 1000)]);
        for (is, want) in [
            (1000, None),
            (1030, None),
            (970, None),
            (1031, Some("dearer by 3.1 %")),
            (969, Some("cheaper by 3.1 %")),
        ] {
            let found = counted("c", KERNEL, &[("floor", 256), ("down", is)]);
            let findings = compare(&kept, &found);
            let text = report(&kept, &found, &findings);
            match want {
                None => assert_eq!(findings, [], "{is}"),
                Some(words) => {
                    let line = format!("down on {KERNEL}: was 1000 instructions, is {is}: {words}");
                    assert!(text.contains(&line), "{text}");
                }
            }
        }
    }

    #[test]
    fn another_kernel_or_compiler_is_said_and_compared_by_ratio() {
        let kept = counted("c", KERNEL, &[("floor", 200), ("down", 400)]);
        for (compiler, kernel) in [("c", NEXT), ("d", KERNEL)] {
            for (floor, down, findings) in [(220, 440, 0), (220, 400, 1), (200, 400, 0)] {
                let found = counted(compiler, kernel, &[("floor", floor), ("down", down)]);
                let compared = compare(&kept, &found);
                let of_down = compared.iter().filter(|found| found.case == "down");
                assert_eq!(
                    of_down.count(),
                    findings,
                    "{compiler} {kernel} {floor} {down}"
                );
                let text = report(&kept, &found, &compared);
                assert!(text.contains("ratios to the floor program"), "{text}");
            }
        }
    }

    #[test]
    fn another_kernel_or_compiler_alone_does_not_fail() {
        let kept = counted("c", KERNEL, &[("floor", 200), ("down", 1000)]);
        for (compiler, kernel, is, fails) in [
            ("c", KERNEL, 1031, true),
            ("c", NEXT, 1031, false),
            ("c", NEXT, 1100, false),
            ("c", NEXT, 1101, true),
            ("d", KERNEL, 1101, false),
            ("d", NEXT, 750, false),
            ("d", NEXT, 749, true),
        ] {
            let found = counted(compiler, kernel, &[("floor", 200), ("down", is)]);
            let findings = compare(&kept, &found);
            let [finding] = &findings[..] else {
                panic!("{findings:?}");
            };
            assert_eq!(finding.fails, fails, "{compiler} {kernel} {is}");
            let told = report(&kept, &found, &findings).contains("may be the versions");
            assert_eq!(told, !fails);
        }
    }

    #[test]
    fn cases_that_come_and_go_are_found() {
        let kept = counted("c", KERNEL, &[("floor", 200), ("old", 400)]);
        let found = counted("c", KERNEL, &[("floor", 200), ("new", 300)]);
        let whats: Vec<What> = compare(&kept, &found)
            .iter()
            .map(|found| found.what)
            .collect();
        assert_eq!(whats, [What::New { is: 300 }, What::Gone { was: 400 }]);
        assert_eq!(compare(&Kept::default(), &found).len(), 2);
    }
}
