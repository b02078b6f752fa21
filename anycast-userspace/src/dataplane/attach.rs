//! Attaching to interfaces: native first, generic as a stated fallback.

use aya::programs::links::{FdLink, LinkError};
use aya::programs::xdp::XdpLink;
use aya::programs::{ProgramError, Xdp, XdpMode};
use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::net::if_::if_nametoindex;

use super::error::{DataPlaneError, attach_cause};
use crate::config::dataplane::Mode;

/// Where the program runs on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttachedMode {
    /// In the driver.
    Native,
    /// In the stack.
    Generic,
}

impl AttachedMode {
    /// The word for people and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Generic => "generic",
        }
    }
}

/// The program on one interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// The interface's name.
    pub interface: String,
    /// Its index.
    pub index: u32,
    /// Where the program runs.
    pub mode: AttachedMode,
    /// Why it is not native, where native was tried first.
    pub fallback: Option<String>,
    /// Why nothing is attached at present, if it is so.
    pub lost: Option<String>,
    /// VLAN devices on the interface whose tags it takes off before the program sees them.
    pub untagged: Vec<String>,
}

/// An attachment and the link that holds it; dropping the link detaches.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) attachment: Attachment,
    /// What was asked for.
    pub(super) wanted: Mode,
    /// `None`: lost.
    link: Option<FdLink>,
}

impl Held {
    /// Puts `next` in the place of `present`, between two packets. Where that is refused, `present` is attached
    /// again, since aya has let go of the link; if even that fails, as where the interface is gone, the next
    /// call tries again.
    pub(super) fn replace(
        &mut self,
        present: &mut Xdp,
        next: &mut Xdp,
    ) -> Result<(), DataPlaneError> {
        let replaced = match self.link.take() {
            Some(link) => update(link, next),
            None => self.attach_again(next),
        };
        let (link, outcome) = match replaced {
            Ok(link) => (Some(link), Ok(())),
            Err(error) => (self.attach_again(present).ok(), Err(error)),
        };
        self.link = link;
        outcome
    }

    /// Detaches, if it is attached.
    pub(super) fn let_go(&mut self) {
        self.link = None;
    }

    fn attach_again(&self, program: &mut Xdp) -> Result<FdLink, DataPlaneError> {
        let Attachment {
            interface,
            index,
            mode,
            ..
        } = &self.attachment;
        // Frames that are too long for it were so before.
        try_mode(program, interface, *index, *mode, true)
    }
}

fn update(link: FdLink, program: &mut Xdp) -> Result<FdLink, DataPlaneError> {
    let link = XdpLink::try_from(link).map_err(|error| unlinked(&error))?;
    let link = program.attach_to_link(link)?;
    FdLink::try_from(program.take_link(link)?).map_err(|error| unlinked(&error))
}

fn unlinked(error: &LinkError) -> DataPlaneError {
    DataPlaneError::Load(format!("its link to an interface is lost: {error}"))
}

/// The MAC address of an interface of the caller's network namespace, if it has one.
pub(super) fn mac_of(interface: &str) -> Option<[u8; 6]> {
    getifaddrs()
        .ok()?
        .filter(|entry| entry.interface_name == interface)
        .find_map(|entry| entry.address?.as_link_addr()?.addr())
        .filter(|mac| *mac != [0; 6])
}

pub(super) fn attach(
    program: &mut Xdp,
    interface: &str,
    mode: Mode,
    multi_buffer: bool,
) -> Result<Held, DataPlaneError> {
    let index =
        if_nametoindex(interface).map_err(|_| DataPlaneError::NoInterface(interface.to_owned()))?;
    let mut try_mode = |mode| try_mode(program, interface, index, mode, multi_buffer);
    let held = |link, taken, fallback| Held {
        attachment: Attachment {
            interface: interface.to_owned(),
            index,
            mode: taken,
            fallback,
            lost: None,
            untagged: Vec::new(),
        },
        wanted: mode,
        link: Some(link),
    };
    match mode {
        Mode::Native => {
            try_mode(AttachedMode::Native).map(|link| held(link, AttachedMode::Native, None))
        }
        Mode::Generic => {
            try_mode(AttachedMode::Generic).map(|link| held(link, AttachedMode::Generic, None))
        }
        Mode::Auto => match try_mode(AttachedMode::Native) {
            Ok(link) => Ok(held(link, AttachedMode::Native, None)),
            Err(DataPlaneError::Attach { source, hint, .. }) => {
                let why = format!("the driver of {interface} refused native mode: {source}{hint}");
                try_mode(AttachedMode::Generic)
                    .map(|link| held(link, AttachedMode::Generic, Some(why)))
            }
            Err(error) => Err(error),
        },
    }
}

fn try_mode(
    program: &mut Xdp,
    interface: &str,
    index: u32,
    mode: AttachedMode,
    multi_buffer: bool,
) -> Result<FdLink, DataPlaneError> {
    let flag = match mode {
        AttachedMode::Native => XdpMode::Driver,
        AttachedMode::Generic => XdpMode::Skb,
    };
    let link = program
        .attach_to_if_index(index, flag)
        .map_err(|error| refused(error, interface, mode, multi_buffer))?;
    // Without a link of its own (before kernel 5.9) the program would outlive this process.
    FdLink::try_from(program.take_link(link)?).map_err(|_| DataPlaneError::Attach {
        interface: interface.to_owned(),
        mode: mode.as_str(),
        source: Errno::EOPNOTSUPP.into(),
        hint: "",
    })
}

/// What drivers with frames longer than a buffer want.
const JUMBO: &str = " (frames longer than one buffer need `multi_buffer = true` in [dataplane])";

fn refused(
    error: ProgramError,
    interface: &str,
    mode: AttachedMode,
    multi_buffer: bool,
) -> DataPlaneError {
    let errno = attach_cause(&error).and_then(std::io::Error::raw_os_error);
    match errno.map(Errno::from_raw) {
        Some(Errno::EBUSY | Errno::EEXIST) => DataPlaneError::Occupied {
            interface: interface.to_owned(),
        },
        Some(Errno::EPERM | Errno::EACCES) | None => error.into(),
        Some(errno) => DataPlaneError::Attach {
            interface: interface.to_owned(),
            mode: mode.as_str(),
            source: errno.into(),
            hint: match errno {
                Errno::ERANGE | Errno::EINVAL if !multi_buffer => JUMBO,
                _ => "",
            },
        },
    }
}
