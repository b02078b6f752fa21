//! Text that others wrote (a server, a command, an operator), as one line of bounded length.
//!
//! Such text ends up in terminals, in logs and in the environment of hooks, where a NUL cannot be.

use std::borrow::Cow;

/// The text with its control characters replaced, cut after `most` characters.
pub(crate) fn one_line(text: Cow<'_, str>, most: usize) -> Cow<'_, str> {
    // Bytes bound characters: what is short needs no count.
    let short = text.len() <= most || text.chars().nth(most).is_none();
    if short && !text.contains(char::is_control) {
        return text;
    }
    let mut line: String = text.chars().take(most).map(shown).collect();
    if !short {
        line.push('…');
    }
    Cow::Owned(line)
}

fn shown(character: char) -> char {
    match character {
        '\t' | '\n' | '\r' => ' ',
        other if other.is_control() => char::REPLACEMENT_CHARACTER,
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::one_line;

    #[test]
    fn control_characters_are_replaced_and_what_is_too_long_is_cut() {
        let cases = [
            ("", ""),
            ("fine", "fine"),
            ("Zürich", "Zürich"),
            ("a\tb\r\nc", "a b  c"),
            (
                "\0\u{1b}[2J\u{7f}\u{9b}",
                "\u{fffd}\u{fffd}[2J\u{fffd}\u{fffd}",
            ),
            ("exactly10!", "exactly10!"),
            ("zehn Wörte", "zehn Wörte"),
            ("eleven char", "eleven cha…"),
            ("\0ne too long", "\u{fffd}ne too lo…"),
        ];
        for (text, want) in cases {
            assert_eq!(one_line(text.into(), 10), want, "{text:?}");
        }
    }
}
