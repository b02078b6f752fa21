//! The cases: which program, on which frame, over which tables, and what it must do. Pure.

mod references;
mod rows;

use anycast_common::Reason;

use crate::peers::XdpFilter;
use crate::tables::Tables;

const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;
const XDP_TX: u32 = 3;

/// The program that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Program {
    /// Drops.
    Drop,
    /// One look-up, and drops.
    Floor,
    /// The data plane.
    Anycast,
    /// A peer.
    XdpFilter(XdpFilter),
    /// A peer.
    Katran,
}

/// What is run before the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Wrapper {
    /// Nothing: the program leaves the frame as it is.
    None,
    /// The frame's bytes are restored.
    Restore,
    /// Its length and bytes are restored.
    RestoreLength {
        /// Bytes that the program puts before the frame.
        prepended: u32,
    },
    /// The frame goes to another of the further addresses each time.
    Spread,
}

impl Wrapper {
    /// The same wrapper for a program that changes nothing.
    pub(crate) const fn around_a_drop(self) -> Self {
        match self {
            Self::RestoreLength { .. } => Self::RestoreLength { prepended: 0 },
            Self::None | Self::Restore | Self::Spread => self,
        }
    }
}

/// One case.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    pub(crate) program: Program,
    pub(crate) features: u64,
    pub(crate) tables: Tables,
    pub(crate) frame: Vec<u8>,
    pub(crate) wrapper: Wrapper,
    /// The XDP action that it must come to.
    pub(crate) action: u32,
    /// The reason that it must count.
    pub(crate) reason: Option<Reason>,
    /// How many packets at first have another reason.
    pub(crate) first_differ: u64,
}

impl Case {
    /// The data plane without features, over small tables.
    const fn anycast(
        name: &'static str,
        what: &'static str,
        frame: Vec<u8>,
        action: u32,
        reason: Reason,
    ) -> Self {
        Self {
            name,
            what,
            program: Program::Anycast,
            features: 0,
            tables: Tables::SMALL,
            frame,
            wrapper: Wrapper::None,
            action,
            reason: Some(reason),
            first_differ: 0,
        }
    }

    fn other(
        name: &'static str,
        what: &'static str,
        program: Program,
        frame: Vec<u8>,
        action: u32,
    ) -> Self {
        Self {
            program,
            reason: None,
            ..Self::anycast(name, what, frame, action, Reason::NotIp)
        }
    }

    const fn with(mut self, features: u64) -> Self {
        self.features = features;
        self
    }

    const fn over(mut self, tables: Tables) -> Self {
        self.tables = tables;
        self
    }

    const fn wrapped(mut self, wrapper: Wrapper) -> Self {
        self.wrapper = wrapper;
        self
    }
}

/// Every case.
pub(crate) fn all() -> Vec<Case> {
    let mut all = references::references();
    all.extend(rows::passes());
    all.extend(rows::drops());
    all.extend(rows::answers());
    all.extend(rows::limits());
    all.extend(rows::lists());
    all.extend(rows::sizes());
    all
}
