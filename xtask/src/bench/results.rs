//! What was measured. Pure.

use std::collections::BTreeMap;

use anyhow::Context as _;

/// Everything that one run has found; what was left out is empty.
#[derive(Debug, Default)]
pub(super) struct Results {
    /// Cases in their order, each with what it is.
    pub(super) cases: Vec<(String, String)>,
    /// Processor and kernel.
    pub(super) machine: String,
    /// Least nanoseconds by case.
    pub(super) nanoseconds: BTreeMap<String, f64>,
    /// Instructions by series of kernels and case.
    pub(super) instructions: BTreeMap<String, BTreeMap<String, f64>>,
    /// Millions of packets a second by case of live frames.
    pub(super) live: BTreeMap<String, f64>,
}

impl Results {
    pub(super) fn new(cases: Vec<(String, String)>, machine: String) -> Self {
        Self {
            cases,
            machine,
            ..Self::default()
        }
    }

    /// Forgets the cases of peers that are not here.
    pub(super) fn leave_out_unmeasured(&mut self) {
        let measured = &self.nanoseconds;
        self.cases.retain(|(name, _)| measured.contains_key(name));
    }

    pub(super) fn ns(&self, case: &str) -> Option<f64> {
        self.nanoseconds.get(case).copied()
    }

    /// Instructions on the newest series.
    pub(super) fn instructions(&self, case: &str) -> Option<f64> {
        let (_, newest) = self.newest()?;
        newest.get(case).copied()
    }

    /// Cases without a count of instructions.
    pub(super) fn uncounted(&self) -> Vec<&str> {
        let names = self.cases.iter().map(|(name, _)| name.as_str());
        names
            .filter(|name| self.instructions(name).is_none())
            .collect()
    }

    fn newest(&self) -> Option<(&String, &BTreeMap<String, f64>)> {
        self.instructions.iter().max_by_key(|(series, _)| {
            series
                .split('.')
                .filter_map(|part| part.parse().ok())
                .collect::<Vec<u32>>()
        })
    }
}

/// Reads JSON lines: the value of `value` by the string of `key`. Lines without both are passed over.
pub(super) fn lines(text: &str, key: &str, value: &str) -> anyhow::Result<BTreeMap<String, f64>> {
    let mut found = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with('{')) {
        let line: serde_json::Value =
            serde_json::from_str(line).with_context(|| format!("not a JSON line: {line}"))?;
        if let (Some(name), Some(number)) = (line[key].as_str(), line[value].as_f64()) {
            found.insert(name.to_owned(), number);
        }
    }
    Ok(found)
}

/// Reads the list of cases: a name, and after the spaces behind it, what it is.
pub(super) fn cases(text: &str) -> Vec<(String, String)> {
    text.lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(name, what)| (name.to_owned(), what.trim().to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_lines_are_read_by_their_names_and_other_lines_are_passed_over() {
        let text = "a warning\n{\"case\":\"drop\",\"ns\":6.5}\n{\"live\":\"echo\",\"mpps\":5.8}\n";
        let found = lines(text, "case", "ns").unwrap();
        assert_eq!(found, BTreeMap::from([("drop".to_owned(), 6.5)]));
        assert!(lines("{broken", "case", "ns").is_err());
    }

    #[test]
    fn cases_are_read_with_what_they_are() {
        let found = cases("drop          a program that drops\nfloor one look-up\n");
        assert_eq!(found[0], ("drop".into(), "a program that drops".into()));
        assert_eq!(found[1], ("floor".into(), "one look-up".into()));
    }

    #[test]
    fn the_newest_series_is_found_by_number() {
        let one = |number| BTreeMap::from([("drop".to_owned(), number)]);
        let results = Results {
            instructions: BTreeMap::from([("6.1".into(), one(1.0)), ("6.12".into(), one(12.0))]),
            ..Results::default()
        };
        assert_eq!(results.instructions("drop"), Some(12.0));
        assert_eq!(results.instructions("floor"), None);
    }
}
