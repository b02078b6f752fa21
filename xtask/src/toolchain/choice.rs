//! Which compiler and which linker build the eBPF object: a function from what the host has, and from what has
//! failed already, to the next thing to do. It looks at nothing and installs nothing.
//!
//! The compiler is pinned, because each compiler writes another program, which the verifiers of the kernels must
//! be seen to take. The linker must only understand the compiler: its LLVM reads the bitcode of every older one,
//! and not of a newer one.

use std::fmt;

/// The compiler whose program is tried on every kernel: its release, as `rustc --version` says it.
pub(super) const RELEASE: &str = "1.96.0";
/// The oldest that builds the object (`rust-version` of the workspace).
const OLDEST: Version = Version(1, 95);
/// The linker that is installed where none is here that understands the compiler.
pub(crate) const LINKER_RELEASE: &str = "0.13.0";
/// The LLVM that it can be built with.
const LINKER_LLVM: [u32; 3] = [21, 22, 23];

/// The name under which rustup knows the distribution's compiler, once it is linked.
pub(crate) const LINKED: &str = "anycast-bpf";
/// The environment variable that names another toolchain of rustup.
pub(super) const ASKED: &str = "ANYCAST_BPF_TOOLCHAIN";

/// Major and minor version of a compiler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Version(u32, u32);

impl Version {
    fn of(release: &str) -> Option<Self> {
        let mut numbers = release.split(['.', '-']).map(str::parse);
        Some(Self(numbers.next()?.ok()?, numbers.next()?.ok()?))
    }
}

/// What the choice depends on.
#[derive(Clone, Debug, Default)]
pub(super) struct Host {
    /// The toolchain that `ANYCAST_BPF_TOOLCHAIN` names.
    pub(super) asked: Option<String>,
    pub(super) rustup: bool,
    /// The compilers that are here.
    pub(super) compilers: Vec<Compiler>,
    /// The linkers that are here, ours first.
    pub(super) linkers: Vec<Linker>,
    /// The release of Rust in `rustc-web` and `rust-web-src`, where apt has both.
    pub(super) apt_rust: Option<String>,
    /// The releases of LLVM whose `llvm-NN-dev` is installed.
    pub(super) llvm: Vec<u32>,
    /// The releases of LLVM whose `llvm-NN-dev` apt has.
    pub(super) apt_llvm: Vec<u32>,
    /// Packages can be installed: there is apt, and a way to root.
    pub(super) installs: bool,
    /// There is a linker among the published ones for this processor.
    pub(super) published: bool,
}

/// Where the build finds a compiler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A toolchain of rustup.
    Rustup(String),
    /// `rustc` on PATH, where there is no rustup.
    Path,
    /// The distribution's, in /usr/bin, of which rustup does not know.
    Usr,
}

/// A compiler that is here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Compiler {
    pub(crate) place: Place,
    /// Such as `1.96.0`.
    pub(crate) release: String,
    /// The major version of its LLVM.
    pub(crate) llvm: u32,
    /// The source of core is there, which the build compiles for the kernel.
    pub(crate) core: bool,
}

impl fmt::Display for Compiler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { release, llvm, .. } = self;
        let place = match &self.place {
            Place::Rustup(name) if name == LINKED => "of the distribution",
            Place::Rustup(name) => {
                return write!(f, "rustc {release} (LLVM {llvm}), rustup's `{name}`");
            }
            Place::Path => "on PATH",
            Place::Usr => "in /usr/bin",
        };
        write!(f, "rustc {release} (LLVM {llvm}) {place}")
    }
}

/// A linker that is here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Linker {
    pub(crate) path: std::path::PathBuf,
    /// The major version of its LLVM, if it says it.
    pub(crate) llvm: Option<u32>,
}

impl fmt::Display for Linker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.llvm {
            Some(llvm) => write!(f, "{} (LLVM {llvm})", self.path.display()),
            None => write!(f, "{} (it does not say its LLVM)", self.path.display()),
        }
    }
}

/// A way to a compiler or a linker that is not here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// The distribution's packages `rustc-web` and `rust-web-src`.
    DistributionRust,
    /// The distribution's compiler is here: rustup is told of it.
    LinkToolchain,
    /// `rustup toolchain install` of this toolchain, with the source of core.
    RustupToolchain(String),
    /// The published linker, over HTTPS.
    PublishedLinker,
    /// The linker from source, with the LLVM of this major version.
    LinkerFromSource(u32),
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DistributionRust => write!(f, "the packages rustc-web and rust-web-src"),
            Self::LinkToolchain => write!(f, "rustup's link to /usr"),
            Self::RustupToolchain(name) => write!(f, "rustup's toolchain {name} with rust-src"),
            Self::PublishedLinker => write!(f, "the published bpf-linker {LINKER_RELEASE}"),
            Self::LinkerFromSource(llvm) => {
                write!(
                    f,
                    "bpf-linker {LINKER_RELEASE} from source with LLVM {llvm}"
                )
            }
        }
    }
}

/// A way that was tried in vain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failed {
    pub(super) way: Way,
    pub(super) why: String,
}

/// The next thing to do, and why each better one is left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Choice<T> {
    pub(super) step: Step<T>,
    pub(super) left: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step<T> {
    /// It is here.
    Use(T),
    /// Get it this way, and look again.
    Get(Way),
    /// There is no way left; what the user can do.
    GiveUp(String),
}

/// Collects why ways are left, until one is taken.
struct Ways<'a> {
    failed: &'a [Failed],
    left: Vec<String>,
}

impl<'a> Ways<'a> {
    const fn new(failed: &'a [Failed]) -> Self {
        Self {
            failed,
            left: Vec::new(),
        }
    }

    fn leave(&mut self, what: impl fmt::Display, why: impl fmt::Display) {
        self.left.push(format!("{what}: {why}"));
    }

    /// Whether the way is still to be tried; if not, why not is noted.
    fn open(&mut self, way: &Way) -> bool {
        let failed = self.failed.iter().find(|failed| failed.way == *way);
        if let Some(Failed { way, why }) = failed {
            self.leave(way, why);
        }
        failed.is_none()
    }

    fn take<T>(self, step: Step<T>) -> Choice<T> {
        Choice {
            step,
            left: self.left,
        }
    }
}

/// The compiler: the one that is asked for; else the pinned one, which is here, or the distribution's, or rustup's;
/// else any that is here and can build the object.
pub(super) fn compiler(host: &Host, failed: &[Failed]) -> Choice<Compiler> {
    let mut ways = Ways::new(failed);
    if let Some(name) = &host.asked {
        return asked(host, name, ways);
    }
    let pinned = |compiler: &&Compiler| compiler.release == RELEASE && compiler.core;
    if let Some(compiler) = host
        .compilers
        .iter()
        .filter(pinned)
        .find(|c| c.place != Place::Usr)
    {
        return ways.take(Step::Use(compiler.clone()));
    }
    if host.compilers.iter().any(|c| pinned(&c)) && ways.open(&Way::LinkToolchain) {
        return ways.take(Step::Get(Way::LinkToolchain));
    }
    match &host.apt_rust {
        Some(release) if release == RELEASE => {
            if !host.installs {
                ways.leave(Way::DistributionRust, "installing them takes root");
            } else if ways.open(&Way::DistributionRust) {
                return ways.take(Step::Get(Way::DistributionRust));
            }
        }
        Some(release) => ways.leave(
            Way::DistributionRust,
            format_args!("they are {release} here"),
        ),
        None => ways.leave(Way::DistributionRust, "the distribution has none"),
    }
    let toolchain = Way::RustupToolchain(RELEASE.to_owned());
    if !host.rustup {
        ways.leave(&toolchain, "there is no rustup");
    } else if ways.open(&toolchain) {
        return ways.take(Step::Get(toolchain));
    }
    another(host, ways)
}

/// The toolchain that the user asks for, and no other.
fn asked(host: &Host, name: &str, mut ways: Ways<'_>) -> Choice<Compiler> {
    let place = Place::Rustup(name.to_owned());
    let here = host.compilers.iter().find(|c| c.place == place && c.core);
    if let Some(compiler) = here {
        return ways.take(Step::Use(compiler.clone()));
    }
    let way = Way::RustupToolchain(name.to_owned());
    if !host.rustup {
        ways.leave(&way, "there is no rustup");
    } else if ways.open(&way) {
        return ways.take(Step::Get(way));
    }
    ways.take(Step::GiveUp(format!(
        "{ASKED} asks for rustup's toolchain {name}: install it with its component rust-src, or unset {ASKED}"
    )))
}

/// One that is here and not pinned: not a nightly, of which each day's is another.
fn another(host: &Host, mut ways: Ways<'_>) -> Choice<Compiler> {
    for compiler in &host.compilers {
        let why = if compiler.release.contains('-') {
            format!("no stable release ({ASKED} can ask for it)")
        } else if Version::of(&compiler.release).is_none_or(|version| version < OLDEST) {
            format!("older than {}.{}", OLDEST.0, OLDEST.1)
        } else if !compiler.core {
            "without the source of core".to_owned()
        } else if compiler.place != Place::Usr {
            return ways.take(Step::Use(compiler.clone()));
        } else if ways.open(&Way::LinkToolchain) {
            return ways.take(Step::Get(Way::LinkToolchain));
        } else {
            continue;
        };
        ways.leave(compiler, why);
    }
    ways.take(Step::GiveUp(format!(
        "install rustup (rustup.rs), run `rustup toolchain install {RELEASE} --profile minimal --component rust-src`, \
         and run this again"
    )))
}

/// The linker for a compiler: one that is here; else the published one; else one built with an LLVM of the
/// distribution, the compiler's own first.
pub(super) fn linker(host: &Host, compiler: &Compiler, failed: &[Failed]) -> Choice<Linker> {
    let mut ways = Ways::new(failed);
    let needed = compiler.llvm;
    for linker in &host.linkers {
        if linker.llvm.is_some_and(|llvm| llvm >= needed) {
            return ways.take(Step::Use(linker.clone()));
        }
        ways.leave(
            linker,
            format_args!("rustc {} writes LLVM {needed}", compiler.release),
        );
    }
    if !host.published {
        ways.leave(Way::PublishedLinker, "there is none for this processor");
    } else if ways.open(&Way::PublishedLinker) {
        return ways.take(Step::Get(Way::PublishedLinker));
    }
    let mut fitting = LINKER_LLVM
        .into_iter()
        .filter(|llvm| *llvm >= needed)
        .peekable();
    if fitting.peek().is_none() {
        ways.leave(
            format_args!("bpf-linker {LINKER_RELEASE} from source"),
            format_args!("it cannot be built with LLVM {needed} or newer"),
        );
    }
    for llvm in fitting {
        let way = Way::LinkerFromSource(llvm);
        if host.llvm.contains(&llvm) || (host.installs && host.apt_llvm.contains(&llvm)) {
            if ways.open(&way) {
                return ways.take(Step::Get(way));
            }
        } else if host.apt_llvm.contains(&llvm) {
            ways.leave(way, format_args!("installing llvm-{llvm}-dev takes root"));
        } else {
            ways.leave(way, format_args!("apt has no llvm-{llvm}-dev"));
        }
    }
    ways.take(Step::GiveUp(format!(
        "put a bpf-linker with LLVM {needed} or newer on PATH \
         (https://github.com/aya-rs/bpf-linker/releases/tag/v{LINKER_RELEASE}), and run this again"
    )))
}

#[cfg(test)]
mod tests;
