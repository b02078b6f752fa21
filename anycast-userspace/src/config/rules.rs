//! Rules that fields of several sections keep.

use super::Span;

pub(super) fn has_no_nul<C>(text: &str, _: &C) -> garde::Result {
    if text.contains('\0') {
        return Err(garde::Error::new("holds a NUL byte: no argument can"));
    }
    Ok(())
}

/// What passwd(5) can hold as a name. Whether there is such a user is the target machine's to say.
pub(super) fn names_a_user<C>(name: &str, _: &C) -> garde::Result {
    if name.contains([':', '\n', '\0']) {
        return Err(garde::Error::new(format!(
            "{name:?} names no user: no name has a colon, a line break or a NUL"
        )));
    }
    Ok(())
}

pub(super) fn not_zero<C>(span: &Span, _: &C) -> garde::Result {
    if span.0.is_zero() {
        return Err(garde::Error::new("0s is no time at all"));
    }
    Ok(())
}

/// What the kernel takes for the name of a network device, of whatever length.
pub(super) fn interface_name<C>(name: &str, _: &C) -> garde::Result {
    let stranger = |byte: u8| byte.is_ascii_whitespace() || b"\x0b\0/:".contains(&byte);
    if name == "." || name == ".." || name.bytes().any(stranger) {
        return Err(garde::Error::new(format!(
            "{name:?} names no interface: the name of one has no blank, no slash, no colon and no NUL, and is \
             not `.` or `..`"
        )));
    }
    Ok(())
}

/// A program and its arguments.
pub(super) fn names_a_program<C>(command: &[String], _: &C) -> garde::Result {
    match command.first() {
        Some(program) if program.is_empty() => {
            Err(garde::Error::new("names no program: the first is empty"))
        }
        Some(_) | None => Ok(()),
    }
}
