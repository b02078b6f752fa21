//! Programs loaded over filled maps, attached, and tried once before they are measured.

use std::collections::HashMap;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use anycast_common::Reason;
use anycast_common::abi::index::shift;
use anycast_common::abi::{self, Counters, global, map};
use anycast_common::bench::{Kept, SHORT_WORDS, WORDS, name};
use anyhow::{Context as _, bail, ensure};
use aya::maps::{Array, PerCpuArray, ProgramArray};
use aya::programs::{TestRun as _, TestRunOptions, Xdp, XdpMode};
use aya::{Ebpf, EbpfLoader};
use nix::sched::{CloneFlags, unshare};

use crate::cases::{Case, Program, Wrapper};
use crate::measure::{Run, Runner};
use crate::peers::{self, Peers};
use crate::tables::{FURTHER, Filled, Tables};

/// Where a new network namespace has its loopback, its only interface.
const LOOPBACK: u32 = 1;
/// How often a case is tried before it is measured: a frame that is not restored fails the second time.
const TRIES: u32 = 5;

/// A program in the kernel.
pub(crate) struct Loaded {
    origin: Origin,
    /// Keeps the interface that the program is attached to.
    _namespace: Option<OwnedFd>,
}

/// Where a program comes from.
enum Origin {
    /// An object, and the name of the program in it.
    Object(Ebpf, &'static str),
    /// A pin, whose program somebody else has loaded.
    Pin(Box<Xdp>),
}

impl Loaded {
    /// Loads one program of an object.
    pub(crate) fn load(mut ebpf: Ebpf, program: &'static str) -> anyhow::Result<Self> {
        let xdp: &mut Xdp = ebpf
            .program_mut(program)
            .with_context(|| format!("the object has no program {program}"))?
            .try_into()?;
        xdp.load()?;
        Ok(Self {
            origin: Origin::Object(ebpf, program),
            _namespace: None,
        })
    }

    /// Takes the program of a pin.
    pub(crate) fn pinned(pin: &Path) -> anyhow::Result<Self> {
        let program = Xdp::from_pin(pin, aya_obj::programs::XdpAttachType::Interface)
            .with_context(|| format!("no XDP program is pinned at {}", pin.display()))?;
        Ok(Self {
            origin: Origin::Pin(Box::new(program)),
            _namespace: None,
        })
    }

    pub(crate) fn program(&self) -> anyhow::Result<&Xdp> {
        match &self.origin {
            Origin::Object(ebpf, name) => {
                let program = ebpf.program(name).context("was loaded")?;
                Ok(program.try_into()?)
            }
            Origin::Pin(program) => Ok(program),
        }
    }

    pub(crate) fn program_mut(&mut self) -> anyhow::Result<&mut Xdp> {
        match &mut self.origin {
            Origin::Object(ebpf, name) => {
                let program = ebpf.program_mut(name).context("was loaded")?;
                Ok(program.try_into()?)
            }
            Origin::Pin(program) => Ok(program),
        }
    }

    /// A map, to be read.
    pub(crate) fn shared(&self, name: &str) -> anyhow::Result<&aya::maps::Map> {
        match &self.origin {
            Origin::Object(ebpf, _) => ebpf.map(name),
            Origin::Pin(_) => None,
        }
        .with_context(|| format!("there is no map {name}"))
    }

    /// A map, to be written.
    pub(crate) fn map(&mut self, name: &str) -> anyhow::Result<&mut aya::maps::Map> {
        match &mut self.origin {
            Origin::Object(ebpf, _) => ebpf.map_mut(name),
            Origin::Pin(_) => None,
        }
        .with_context(|| format!("there is no map {name}"))
    }

    /// Attaches it to the loopback of a network namespace of its own, through which nothing goes: a test
    /// run of a program that is attached nowhere changes the kernel's text twice.
    fn attach(&mut self) -> anyhow::Result<()> {
        unshare(CloneFlags::CLONE_NEWNET).context("cannot make a network namespace")?;
        let namespace = File::open("/proc/thread-self/ns/net")?;
        self.program_mut()?
            .attach_to_if_index(LOOPBACK, XdpMode::Skb)?;
        self._namespace = Some(namespace.into());
        Ok(())
    }
}

/// What is loaded so far; what cases share is loaded once.
pub(crate) struct Bed {
    directory: PathBuf,
    peers: Peers,
    /// The data plane's.
    object: Vec<u8>,
    attach: bool,
    filled: HashMap<Tables, Filled>,
    programs: HashMap<(Program, Tables, u64), Rc<Loaded>>,
    wrapped_drops: HashMap<(Wrapper, usize), Rc<Loaded>>,
}

impl Bed {
    pub(crate) fn new(peers: Peers, object: Vec<u8>, attach: bool) -> Self {
        Self {
            directory: PathBuf::from(format!("/sys/fs/bpf/anycast-bench-{}", std::process::id())),
            peers,
            object,
            attach,
            filled: HashMap::new(),
            programs: HashMap::new(),
            wrapped_drops: HashMap::new(),
        }
    }

    /// Loads what a case needs, and sees that it does what the case says.
    pub(crate) fn prepare(&mut self, case: &Case) -> anyhow::Result<Runner> {
        self.runner(case)
            .and_then(|runner| {
                self.try_out(case, &runner)?;
                Ok(runner)
            })
            .with_context(|| format!("case {}", case.name))
    }

    fn runner(&mut self, case: &Case) -> anyhow::Result<Runner> {
        let run = |loaded| Run {
            loaded,
            frame: case.frame.clone(),
        };
        if case.wrapper == Wrapper::None {
            let loaded = self.program(case.program, case.tables, case.features, true)?;
            return Ok(Runner {
                run: run(loaded),
                less: None,
            });
        }
        let target = self.program(case.program, case.tables, case.features, false)?;
        let wrapped = Rc::new(self.wrap(case, case.wrapper, &target)?);
        let bare = case.wrapper.around_a_drop();
        let class = (bare, words(&case.frame));
        let less = if let Some(known) = self.wrapped_drops.get(&class) {
            Rc::clone(known)
        } else {
            let target = self.program(Program::Drop, Tables::SMALL, 0, true)?;
            let loaded = Rc::new(self.wrap(case, bare, &target)?);
            self.wrapped_drops.insert(class, Rc::clone(&loaded));
            loaded
        };
        Ok(Runner {
            run: run(wrapped),
            less: Some(run(less)),
        })
    }

    fn program(
        &mut self,
        program: Program,
        tables: Tables,
        features: u64,
        attached: bool,
    ) -> anyhow::Result<Rc<Loaded>> {
        let key = (program, tables, features);
        if let Some(known) = self.programs.get(&key) {
            return Ok(Rc::clone(known));
        }
        let mut loaded = match program {
            Program::Drop => {
                Loaded::load(Ebpf::load(anycast_userspace::BENCH_OBJECT)?, name::DROP)?
            }
            Program::Floor => {
                let object = anycast_userspace::BENCH_OBJECT;
                let ebpf = self.filled(tables)?.loader(tables).load(object)?;
                Loaded::load(ebpf, name::FLOOR)?
            }
            Program::Anycast => {
                let mut loader = self.filled(tables)?.loader(tables);
                let shift = shift(tables.rows());
                let ebpf = loader
                    .override_global(global::FEATURES, &features, true)
                    .override_global(global::INDEX_SHIFT, &shift, true)
                    .load(&self.object)?;
                Loaded::load(ebpf, abi::PROGRAM)?
            }
            Program::XdpFilter(which) => {
                let pins = self.filled(tables)?.path().to_owned();
                peers::load(which, &self.peers.xdp_filter, &pins)?
            }
            Program::Katran => {
                let pin = self.peers.katran.as_deref();
                Loaded::pinned(pin.context("--katran says where Katran is pinned")?)?
            }
        };
        if attached && self.attach {
            loaded.attach()?;
        }
        let loaded = Rc::new(loaded);
        self.programs.insert(key, Rc::clone(&loaded));
        Ok(loaded)
    }

    fn wrap(&self, case: &Case, wrapper: Wrapper, target: &Loaded) -> anyhow::Result<Loaded> {
        let (program, prepended) = match wrapper {
            Wrapper::None => bail!("no wrapper"),
            Wrapper::Restore => (name::RESTORE, 0),
            Wrapper::RestoreLength { prepended } => (name::RESTORE_LENGTH, prepended),
            Wrapper::Spread => (name::SPREAD, 0),
        };
        ensure!(
            words(&case.frame) >= SHORT_WORDS,
            "the frame is too short to be restored"
        );
        let ebpf = EbpfLoader::new()
            .btf(None)
            .load(anycast_userspace::BENCH_OBJECT)?;
        let mut loaded = Loaded::load(ebpf, program)?;
        let mut targets: ProgramArray<_> = loaded.map(name::TARGET)?.try_into()?;
        targets.set(0, target.program()?.fd()?, 0)?;
        let mut entries: Array<_, Kept> = loaded.map(name::KEPT)?.try_into()?;
        entries.set(0, kept(&case.frame, prepended, case.tables.further)?, 0)?;
        if self.attach {
            loaded.attach()?;
        }
        Ok(loaded)
    }

    fn filled(&mut self, tables: Tables) -> anyhow::Result<&Filled> {
        let place = self.filled.len();
        let name = format!("{}-{place}", self.directory.display());
        Ok(match self.filled.entry(tables) {
            std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::hash_map::Entry::Vacant(new) => {
                new.insert(Filled::new(name.into(), &self.object, tables)?)
            }
        })
    }

    /// Runs the case a few times; the program must come to the same verdict each time.
    fn try_out(&self, case: &Case, runner: &Runner) -> anyhow::Result<()> {
        let before = self.counted(case)?;
        let result = runner.run.loaded.program()?.test_run(TestRunOptions {
            data_in: Some(&runner.run.frame),
            repeat: TRIES,
            ..TestRunOptions::new()
        })?;
        ensure!(
            result.return_value == case.action,
            "XDP action {} instead of {}",
            result.return_value,
            case.action
        );
        let counted = self.counted(case)? - before;
        if let Some(reason) = case.reason {
            ensure!(
                counted >= u64::from(TRIES) - case.first_differ,
                "only {counted} of {TRIES} packets were {}",
                reason.name()
            );
        }
        Ok(())
    }

    /// Packets with the reason that a case is about.
    fn counted(&self, case: &Case) -> anyhow::Result<u64> {
        let Some(reason) = case.reason else {
            return Ok(0);
        };
        let key = (case.program, case.tables, case.features);
        let loaded = self.programs.get(&key).context("was loaded")?;
        let counters: PerCpuArray<_, Counters> = loaded.shared(map::COUNTERS)?.try_into()?;
        let mut packets = 0;
        for service in 0..counters.len() {
            for counters in counters.get(&service, 0)?.iter() {
                packets += of(counters, reason);
            }
        }
        Ok(packets)
    }
}

fn of(counters: &Counters, reason: Reason) -> u64 {
    counters.get(reason).packets
}

/// What a wrapper is told of a frame.
pub(crate) fn kept(frame: &[u8], prepended: u32, count: u32) -> anyhow::Result<Kept> {
    let mut words = [0; WORDS];
    for (word, bytes) in words.iter_mut().zip(frame.chunks_exact(8)) {
        *word = u64::from_ne_bytes(bytes.try_into()?);
    }
    Ok(Kept {
        length: u32::try_from(frame.len())?,
        prepended,
        state: 0,
        first: FURTHER.into(),
        count,
        words,
    })
}

/// Words of a frame that a wrapper restores.
fn words(frame: &[u8]) -> usize {
    match frame.len() / 8 {
        WORDS.. => WORDS,
        SHORT_WORDS.. => SHORT_WORDS,
        _ => 0,
    }
}
