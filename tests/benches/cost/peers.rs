//! What the data plane is measured against: xdp-filter of xdp-tools, whose objects are loaded without its
//! dispatcher and with one rule; and Katran, which whoever measures has built and loaded.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use aya::EbpfLoader;
use aya::maps::{PerCpuHashMap, PerCpuValues};
use aya::util::nr_cpus;

use crate::bed::Loaded;
use crate::cases::Program;
use crate::frames;
use crate::tables::service;

/// Where Debian's package xdp-tools keeps them.
const DIRECTORY: &str = "/usr/lib/x86_64-linux-gnu/bpf";

/// Where the peers are.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Peers {
    /// Where the objects of xdp-filter are
    #[arg(long, default_value = DIRECTORY, value_name = "DIRECTORY")]
    pub(crate) xdp_filter: PathBuf,
    /// Where Katran's program is pinned; it is measured with its maps empty
    #[arg(long, value_name = "PIN")]
    pub(crate) katran: Option<PathBuf>,
}

impl Peers {
    /// Whether a program can be had here.
    pub(crate) fn have(&self, program: Program) -> bool {
        match program {
            Program::Drop | Program::Floor | Program::Anycast => true,
            Program::XdpFilter(which) => self.xdp_filter.join(which.file()).is_file(),
            Program::Katran => self.katran.is_some(),
        }
    }
}

/// MAP_FLAG_DST of xdp-filter's common_kern_user.h: the rule is about destinations.
const DESTINATION: u64 = 1 << 1;

/// Which of the objects. Both drop what their rules name and pass the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum XdpFilter {
    /// Looks at IP addresses alone.
    Ip,
    /// Looks at everything that it knows.
    All,
}

impl XdpFilter {
    const fn file(self) -> &'static str {
        match self {
            Self::Ip => "xdpfilt_alw_ip.o",
            Self::All => "xdpfilt_alw_all.o",
        }
    }

    const fn program(self) -> &'static str {
        match self {
            Self::Ip => "xdpfilt_alw_ip",
            Self::All => "xdpfilt_alw_all",
        }
    }
}

/// Loads one, with a rule that drops what goes to the service that is down.
pub(crate) fn load(which: XdpFilter, directory: &Path, pins: &Path) -> anyhow::Result<Loaded> {
    let path = directory.join(which.file());
    let object = fs::read(&path)
        .with_context(|| format!("cannot read {} (package xdp-tools)", path.display()))?;
    let pins = pins.join(which.program());
    fs::create_dir_all(&pins)?;
    let ebpf = EbpfLoader::new()
        .btf(None)
        .default_map_pin_directory(&pins)
        .load(&object)?;
    let mut loaded = Loaded::load(ebpf, which.program())?;
    let mut rules: PerCpuHashMap<_, u32, u64> = loaded.map("filter_ipv4")?.try_into()?;
    let address = u32::from_ne_bytes(frames::v4(service::DOWN).octets());
    let flags = vec![DESTINATION; nr_cpus().map_err(|(_, error)| error)?];
    rules.insert(address, PerCpuValues::try_from(flags)?, 0)?;
    Ok(loaded)
}
