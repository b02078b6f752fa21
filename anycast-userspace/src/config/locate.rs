//! From a field's path to its place in the file, and back.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A parsed file that remembers where each value stands.
pub(super) struct Places<'text> {
    text: &'text str,
    root: Spanned<DeTable<'text>>,
}

/// A place in the file; both numbers count from one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The column, in characters.
    pub column: usize,
}

impl<'text> Places<'text> {
    pub(super) fn parse(text: &'text str) -> Result<Self, toml::de::Error> {
        Ok(Self {
            text,
            root: DeTable::parse(text)?,
        })
    }

    /// Where `path` (`services[0].checks[1].port`) stands. A field that is absent is placed at the
    /// nearest table around it.
    pub(super) fn of_path(&self, path: &str) -> Place {
        place(self.text, self.walk(path).at)
    }

    /// `path` as the file has it. A path of the validator also counts the one value inside each
    /// variant of an enum (`checks[0][0].port`), of which the file knows nothing.
    pub(super) fn as_written(&self, path: &str) -> String {
        self.walk(path).written
    }

    fn walk(&self, path: &str) -> Walk<'_, 'text> {
        let mut written = String::new();
        let mut at = 0;
        let mut table = Some(self.root.get_ref());
        let mut value: Option<&Spanned<DeValue<'text>>> = None;
        for step in steps(path) {
            let next = match step {
                Step::Key(name) => {
                    if !written.is_empty() {
                        written.push('.');
                    }
                    written.push_str(name);
                    table.and_then(|table| {
                        table
                            .iter()
                            .find(|(key, _)| key.get_ref().as_ref() == name)
                            .map(|(key, value)| (key.span(), value))
                    })
                }
                Step::Index(_) if table.is_some() => continue,
                Step::Index(index) => {
                    written.push_str(&format!("[{index}]"));
                    value
                        .and_then(|value| value.get_ref().as_array())
                        .and_then(|array| array.get(index))
                        .map(|value| (value.span(), value))
                }
            };
            (value, table) = match next {
                Some((span, found)) => {
                    at = span.start;
                    (Some(found), found.get_ref().as_table())
                }
                None => (None, None),
            };
        }
        Walk { written, at, value }
    }

    /// The path of the innermost value that stands at `span`, or whose key does; empty for the whole file.
    pub(super) fn path_at(&self, span: &Range<usize>) -> String {
        let mut path = String::new();
        find_in_table(self.root.get_ref(), span, &mut path);
        path
    }

    /// The line and column of a byte offset.
    pub(super) fn of_offset(&self, offset: usize) -> Place {
        place(self.text, offset)
    }

    /// The value at `path`.
    pub(super) fn value(&self, path: &str) -> Option<&Spanned<DeValue<'text>>> {
        self.walk(path).value
    }

    /// The checks of all services, in the order of the file.
    pub(super) fn checks(&self) -> impl Iterator<Item = &Spanned<DeValue<'text>>> {
        elements(self.root.get_ref(), "services")
            .filter_map(|service| service.get_ref().as_table())
            .flat_map(|service| elements(service, "checks"))
    }
}

/// The elements of the list `key` of a table, if there is one.
fn elements<'table, 'text>(
    table: &'table DeTable<'text>,
    key: &str,
) -> impl Iterator<Item = &'table Spanned<DeValue<'text>>> {
    let list = table.get(key).and_then(|value| value.get_ref().as_array());
    list.into_iter().flatten()
}

/// How far a path leads.
struct Walk<'places, 'text> {
    /// The path as the file has it.
    written: String,
    /// Where its last step that is there stands.
    at: usize,
    /// The value at its end, if all of it is there.
    value: Option<&'places Spanned<DeValue<'text>>>,
}

/// The line and column of a byte offset.
pub(super) fn place(text: &str, offset: usize) -> Place {
    let before = &text.as_bytes()[..offset.min(text.len())];
    let line_start = before
        .iter()
        .rposition(|&byte| byte == b'\n')
        .map_or(0, |newline| newline + 1);
    Place {
        line: before.iter().filter(|&&byte| byte == b'\n').count() + 1,
        column: String::from_utf8_lossy(&before[line_start..])
            .chars()
            .count()
            + 1,
    }
}

enum Step<'path> {
    Key(&'path str),
    Index(usize),
}

fn steps(path: &str) -> impl Iterator<Item = Step<'_>> {
    path.split('.').flat_map(|segment| {
        let (key, indices) = segment.split_once('[').unwrap_or((segment, ""));
        let key = (!key.is_empty()).then_some(Step::Key(key));
        let indices = indices
            .split(['[', ']'])
            .filter_map(|index| index.parse().ok())
            .map(Step::Index);
        key.into_iter().chain(indices)
    })
}

/// Goes to what stands at `span`, and leaves its path. A list of `[[tables]]` stands where its first table does.
fn find_in_table(table: &DeTable<'_>, span: &Range<usize>, path: &mut String) -> bool {
    let before = path.len();
    for (key, value) in table {
        if !path.is_empty() {
            path.push('.');
        }
        path.push_str(key.get_ref());
        if find_in_value(value, span, path) || key.span() == *span {
            return true;
        }
        path.truncate(before);
    }
    false
}

fn find_in_value(value: &Spanned<DeValue<'_>>, span: &Range<usize>, path: &mut String) -> bool {
    let before = path.len();
    if let Some(table) = value.get_ref().as_table()
        && find_in_table(table, span, path)
    {
        return true;
    }
    for (index, element) in value.get_ref().as_array().into_iter().flatten().enumerate() {
        path.push_str(&format!("[{index}]"));
        if find_in_value(element, span, path) {
            return true;
        }
        path.truncate(before);
    }
    value.span() == *span
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "[node]\nname = \"a\"\n\n[[services]]\nname = \"dns\"\n  [[services.checks]]\n  port = 53\n[[services]]\nname = \"é\" # ü\nports = [\"udp/53\",\n  \"x\"]\n";

    #[test]
    fn a_path_is_placed_where_its_key_or_element_stands() {
        let places = Places::parse(TEXT).unwrap();
        let cases = [
            ("node.name", 2, 1),
            ("services[0].name", 5, 1),
            ("services[0].checks[0].port", 7, 3),
            ("services[1].ports[1]", 11, 3),
            ("services[0].checks[0].absent", 6, 3),
            ("services[0].checks[0][0].port", 7, 3),
        ];
        for (path, line, column) in cases {
            assert_eq!(places.of_path(path), Place { line, column }, "{path}");
        }
    }

    #[test]
    fn a_span_is_traced_back_to_the_path_of_its_field() {
        let places = Places::parse(TEXT).unwrap();
        let at = TEXT.find("53\n").unwrap();
        assert_eq!(places.path_at(&(at..at + 2)), "services[0].checks[0].port");
        let at = TEXT.find("\"x\"").unwrap();
        assert_eq!(places.path_at(&(at..at + 3)), "services[1].ports[1]");
    }
}
