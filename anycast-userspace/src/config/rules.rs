//! Rules that fields of several sections keep.

use super::Span;

pub(super) fn has_no_nul<C>(text: &str, _: &C) -> garde::Result {
    if text.contains('\0') {
        return Err(garde::Error::new("holds a NUL byte: no argument can"));
    }
    Ok(())
}

pub(super) fn not_zero<C>(span: &Span, _: &C) -> garde::Result {
    if span.0.is_zero() {
        return Err(garde::Error::new("0s is no time at all"));
    }
    Ok(())
}
