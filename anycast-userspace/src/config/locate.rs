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

    /// The path of the innermost value that covers `span`.
    pub(super) fn path_at(&self, span: &Range<usize>) -> String {
        let mut path = String::new();
        descend_table(self.root.get_ref(), span, &mut path);
        path
    }

    /// The place of the key `name` at or below the value that covers `span`.
    pub(super) fn key_within(&self, span: &Range<usize>, name: &str) -> Option<(String, Place)> {
        let path = self.path_at(span);
        let (path, at) = find_key(self.root.get_ref(), name, &path, "")?;
        Some((path, place(self.text, at)))
    }

    /// The entry that `message` quotes, in the list that covers `span`.
    pub(super) fn entry_within(
        &self,
        span: &Range<usize>,
        message: &str,
    ) -> Option<(String, Place)> {
        let path = self.path_at(span);
        let list = self.walk(&path).value?.get_ref().as_array()?;
        let (index, entry) = list.iter().enumerate().find(|(_, entry)| {
            let text = entry.get_ref().as_str();
            text.is_some_and(|text| message.contains(&format!("`{text}`")))
        })?;
        let at = place(self.text, entry.span().start);
        Some((format!("{path}[{index}]"), at))
    }
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

fn covers(outer: &Range<usize>, inner: &Range<usize>) -> bool {
    outer.start <= inner.start && inner.end <= outer.end
}

fn descend_table(table: &DeTable<'_>, span: &Range<usize>, path: &mut String) {
    for (key, value) in table {
        let inside = reach(value);
        if covers(&key.span(), span) || covers(&inside, span) {
            if !path.is_empty() {
                path.push('.');
            }
            path.push_str(key.get_ref());
            descend_value(value.get_ref(), span, path);
            return;
        }
    }
}

fn descend_value(value: &DeValue<'_>, span: &Range<usize>, path: &mut String) {
    if let Some(table) = value.as_table() {
        descend_table(table, span, path);
    } else if let Some(array) = value.as_array() {
        let element = array
            .iter()
            .enumerate()
            .find(|(_, element)| covers(&reach(element), span));
        if let Some((index, element)) = element {
            path.push_str(&format!("[{index}]"));
            descend_value(element.get_ref(), span, path);
        }
    }
}

/// The span of a value and of all that it holds: a `[[table]]`'s own span is its header alone.
fn reach(value: &Spanned<DeValue<'_>>) -> Range<usize> {
    let mut span = value.span();
    let mut include = |inner: Range<usize>| {
        span.start = span.start.min(inner.start);
        span.end = span.end.max(inner.end);
    };
    if let Some(table) = value.get_ref().as_table() {
        for (key, value) in table {
            include(key.span());
            include(reach(value));
        }
    } else if let Some(array) = value.get_ref().as_array() {
        for element in array {
            include(reach(element));
        }
    }
    span
}

fn find_key(table: &DeTable<'_>, name: &str, below: &str, prefix: &str) -> Option<(String, usize)> {
    table.iter().find_map(|(key, value)| {
        let path = match prefix {
            "" => key.get_ref().to_string(),
            prefix => format!("{prefix}.{}", key.get_ref()),
        };
        if key.get_ref() == name && path.starts_with(below) {
            return Some((path, key.span().start));
        }
        find_key_in_value(value.get_ref(), name, below, &path)
    })
}

fn find_key_in_value(
    value: &DeValue<'_>,
    name: &str,
    below: &str,
    path: &str,
) -> Option<(String, usize)> {
    if let Some(table) = value.as_table() {
        return find_key(table, name, below, path);
    }
    value
        .as_array()?
        .iter()
        .enumerate()
        .find_map(|(index, element)| {
            find_key_in_value(element.get_ref(), name, below, &format!("{path}[{index}]"))
        })
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
