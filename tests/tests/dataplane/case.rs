//! Named cases, and the run of a table of them on the host and in the kernel.

use anycast_common::Reason;
use anycast_common::abi::Disposition;
use anycast_tests::packet::Frame;

use crate::support::{Bed, Seen};

/// One packet and what must become of it.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) frame: Vec<u8>,
    pub(crate) want: Want,
}

pub(crate) struct Want {
    pub(crate) disposition: Disposition,
    pub(crate) reason: Reason,
    pub(crate) service: Option<&'static str>,
    /// `None`: as it came.
    pub(crate) frame: Option<Vec<u8>>,
}

pub(crate) fn pass(service: impl Into<Option<&'static str>>, reason: Reason) -> Want {
    Want {
        disposition: Disposition::Pass,
        reason,
        service: service.into(),
        frame: None,
    }
}

pub(crate) fn drop(service: &'static str, reason: Reason) -> Want {
    Want {
        disposition: Disposition::Drop,
        reason,
        service: Some(service),
        frame: None,
    }
}

pub(crate) fn answer(service: &'static str, reason: Reason, frame: Vec<u8>) -> Want {
    Want {
        disposition: Disposition::Answer,
        reason,
        service: Some(service),
        frame: Some(frame),
    }
}

pub(crate) fn case(name: &'static str, frame: &Frame, want: Want) -> Case {
    Case {
        name,
        frame: frame.bytes(),
        want,
    }
}

impl Bed {
    /// Runs each case through the host's build and through the loaded program.
    pub(crate) fn check(&mut self, cases: Vec<Case>) {
        for case in cases {
            let want = Seen {
                disposition: case.want.disposition,
                reason: case.want.reason,
                service: case.want.service.map(str::to_owned),
                frame: case.want.frame.unwrap_or_else(|| case.frame.clone()),
            };
            assert_eq!(
                self.on_host(&case.frame),
                want,
                "on the host: {}",
                case.name
            );
            assert_eq!(
                self.in_kernel(&case.frame),
                want,
                "in the kernel: {}",
                case.name
            );
        }
    }
}
