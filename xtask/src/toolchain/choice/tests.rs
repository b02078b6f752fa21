use super::*;

fn rustc(place: Place, release: &str, llvm: u32, core: bool) -> Compiler {
    Compiler {
        place,
        release: release.to_owned(),
        llvm,
        core,
    }
}

fn toolchain(name: &str, release: &str, llvm: u32, core: bool) -> Compiler {
    rustc(Place::Rustup(name.to_owned()), release, llvm, core)
}

fn bpf_linker(llvm: u32) -> Linker {
    Linker {
        path: "/usr/local/bin/bpf-linker".into(),
        llvm: Some(llvm),
    }
}

/// A machine with rustup and its stable toolchain, root, and a processor for which a linker is published.
fn machine() -> Host {
    Host {
        rustup: true,
        compilers: vec![toolchain("stable", "1.97.1", 22, false)],
        installs: true,
        published: true,
        ..Host::default()
    }
}

/// What a way brings; `Err` where it fails.
fn brought(host: &mut Host, way: &Way) {
    match way {
        Way::DistributionRust => host.compilers.push(rustc(Place::Usr, RELEASE, 22, true)),
        Way::LinkToolchain => {
            let usr = host.compilers.iter().find(|c| c.place == Place::Usr);
            let release = usr.expect("it is there").release.clone();
            host.compilers.push(toolchain(LINKED, &release, 22, true));
        }
        Way::RustupToolchain(name) => {
            let (release, llvm) = match name.as_str() {
                "nightly" => ("1.99.0-nightly", 23),
                _ => (RELEASE, 22),
            };
            host.compilers.push(toolchain(name, release, llvm, true));
        }
        Way::PublishedLinker => host.linkers.insert(0, bpf_linker(23)),
        Way::LinkerFromSource(llvm) => host.linkers.insert(0, bpf_linker(*llvm)),
    }
}

/// Goes on until something is used or nothing is left: what was done, and what is said at the end.
fn settle<T: fmt::Display>(
    host: &mut Host,
    works: fn(&Way) -> bool,
    choose: impl Fn(&Host, &[Failed]) -> Choice<T>,
) -> (Vec<String>, Vec<String>) {
    let (mut done, mut failed) = (Vec::new(), Vec::new());
    loop {
        let Choice { step, left } = choose(host, &failed);
        match step {
            Step::Use(what) => done.push(format!("use {what}")),
            Step::GiveUp(_) => done.push("give up".to_owned()),
            Step::Get(way) => {
                done.push(format!("get {way}"));
                if works(&way) {
                    brought(host, &way);
                } else {
                    let why = "it failed".to_owned();
                    failed.push(Failed { way, why });
                }
                assert!(done.len() < 10, "{done:?}");
                continue;
            }
        }
        return (done, left);
    }
}

fn everything(_: &Way) -> bool {
    true
}

/// Nothing comes from anywhere; what is here can be linked.
fn without_network(way: &Way) -> bool {
    matches!(way, Way::LinkToolchain)
}

/// The package archive and crates.io, and nothing else.
fn registries_alone(way: &Way) -> bool {
    !matches!(way, Way::PublishedLinker | Way::RustupToolchain(_))
}

struct Case {
    name: &'static str,
    host: Host,
    works: fn(&Way) -> bool,
    /// What is done for the compiler, then for the linker.
    compiler: &'static [&'static str],
    linker: &'static [&'static str],
}

const DISTRIBUTION: &[&str] = &[
    "get the packages rustc-web and rust-web-src",
    "get rustup's link to /usr",
    "use rustc 1.96.0 (LLVM 22) of the distribution",
];
const BY_RUSTUP: &[&str] = &[
    "get rustup's toolchain 1.96.0 with rust-src",
    "use rustc 1.96.0 (LLVM 22), rustup's `1.96.0`",
];
const PUBLISHED: &[&str] = &[
    "get the published bpf-linker 0.13.0",
    "use /usr/local/bin/bpf-linker (LLVM 23)",
];

fn cases() -> Vec<Case> {
    let debian = Host {
        apt_rust: Some(RELEASE.to_owned()),
        apt_llvm: vec![19, 22],
        ..machine()
    };
    let ubuntu = |llvm: &[u32]| Host {
        apt_llvm: llvm.to_vec(),
        ..machine()
    };
    vec![
        Case {
            name: "Debian 12 and 13",
            host: debian.clone(),
            works: everything,
            compiler: DISTRIBUTION,
            linker: PUBLISHED,
        },
        Case {
            name: "Debian 12 and 13 that reach nothing but registries of packages",
            host: debian.clone(),
            works: registries_alone,
            compiler: DISTRIBUTION,
            linker: &[
                "get the published bpf-linker 0.13.0",
                "get bpf-linker 0.13.0 from source with LLVM 22",
                "use /usr/local/bin/bpf-linker (LLVM 22)",
            ],
        },
        Case {
            name: "Debian where nobody can become root",
            host: Host {
                installs: false,
                ..debian.clone()
            },
            works: everything,
            compiler: BY_RUSTUP,
            linker: PUBLISHED,
        },
        Case {
            name: "Debian without rustup: its compiler is the one on PATH once it is installed",
            host: Host {
                rustup: false,
                compilers: vec![rustc(Place::Path, RELEASE, 22, true)],
                ..debian.clone()
            },
            works: everything,
            compiler: &["use rustc 1.96.0 (LLVM 22) on PATH"],
            linker: PUBLISHED,
        },
        Case {
            name: "Debian unstable: a newer compiler and LLVM",
            host: ubuntu(&[21, 22, 23]),
            works: everything,
            compiler: BY_RUSTUP,
            linker: PUBLISHED,
        },
        Case {
            name: "Debian unstable without rustup: its compiler fits",
            host: Host {
                rustup: false,
                compilers: vec![rustc(Place::Path, "1.97.1", 22, true)],
                ..ubuntu(&[21, 22, 23])
            },
            works: registries_alone,
            compiler: &["use rustc 1.97.1 (LLVM 22) on PATH"],
            linker: &[
                "get the published bpf-linker 0.13.0",
                "get bpf-linker 0.13.0 from source with LLVM 22",
                "use /usr/local/bin/bpf-linker (LLVM 22)",
            ],
        },
        Case {
            name: "Ubuntu 24.04: apt has no LLVM that is new enough",
            host: ubuntu(&[14, 17, 18, 20]),
            works: everything,
            compiler: BY_RUSTUP,
            linker: PUBLISHED,
        },
        Case {
            name: "Ubuntu 24.04 without the published linker",
            host: ubuntu(&[14, 17, 18, 20]),
            works: |way| !matches!(way, Way::PublishedLinker),
            compiler: BY_RUSTUP,
            linker: &["get the published bpf-linker 0.13.0", "give up"],
        },
        Case {
            name: "Ubuntu 26.04 without the published linker: a newer LLVM does",
            host: ubuntu(&[20, 21, 23]),
            works: |way| !matches!(way, Way::PublishedLinker),
            compiler: BY_RUSTUP,
            linker: &[
                "get the published bpf-linker 0.13.0",
                "get bpf-linker 0.13.0 from source with LLVM 23",
                "use /usr/local/bin/bpf-linker (LLVM 23)",
            ],
        },
        Case {
            name: "Fedora: no apt",
            host: Host {
                installs: false,
                ..machine()
            },
            works: everything,
            compiler: BY_RUSTUP,
            linker: PUBLISHED,
        },
        Case {
            name: "Fedora without rustup, with a compiler of its own without the source of core",
            host: Host {
                rustup: false,
                installs: false,
                compilers: vec![rustc(Place::Path, "1.97.0", 22, false)],
                ..machine()
            },
            works: everything,
            compiler: &["give up"],
            linker: &[],
        },
        Case {
            name: "a nightly with the source of core is left",
            host: Host {
                compilers: vec![toolchain("nightly", "1.99.0-nightly", 23, true)],
                ..debian.clone()
            },
            works: everything,
            compiler: DISTRIBUTION,
            linker: PUBLISHED,
        },
        Case {
            name: "a nightly with the source of core is left even if nothing else is to be had",
            host: Host {
                compilers: vec![toolchain("nightly", "1.99.0-nightly", 23, true)],
                ..machine()
            },
            works: without_network,
            compiler: &["get rustup's toolchain 1.96.0 with rust-src", "give up"],
            linker: &[],
        },
        Case {
            name: "a nightly that is asked for is taken",
            host: Host {
                asked: Some("nightly".to_owned()),
                compilers: vec![toolchain("nightly", "1.99.0-nightly", 23, true)],
                linkers: vec![bpf_linker(22)],
                ..debian.clone()
            },
            works: everything,
            compiler: &["use rustc 1.99.0-nightly (LLVM 23), rustup's `nightly`"],
            linker: PUBLISHED,
        },
        Case {
            name: "a nightly that is asked for without the source of core gets it",
            host: Host {
                asked: Some("nightly".to_owned()),
                compilers: vec![toolchain("nightly", "1.99.0-nightly", 23, false)],
                ..debian.clone()
            },
            works: everything,
            compiler: &[
                "get rustup's toolchain nightly with rust-src",
                "use rustc 1.99.0-nightly (LLVM 23), rustup's `nightly`",
            ],
            linker: PUBLISHED,
        },
        Case {
            name: "no network, and all is here",
            host: Host {
                compilers: vec![toolchain(RELEASE, RELEASE, 22, true)],
                linkers: vec![bpf_linker(22)],
                ..machine()
            },
            works: without_network,
            compiler: &["use rustc 1.96.0 (LLVM 22), rustup's `1.96.0`"],
            linker: &["use /usr/local/bin/bpf-linker (LLVM 22)"],
        },
        Case {
            name: "no network, and the distribution's packages are installed",
            host: Host {
                compilers: vec![rustc(Place::Usr, RELEASE, 22, true)],
                llvm: vec![22],
                ..machine()
            },
            works: without_network,
            compiler: &DISTRIBUTION[1..],
            linker: &[
                "get the published bpf-linker 0.13.0",
                "get bpf-linker 0.13.0 from source with LLVM 22",
                "give up",
            ],
        },
        Case {
            name: "no network, but a stable toolchain with the source of core",
            host: Host {
                compilers: vec![toolchain("stable", "1.97.1", 22, true)],
                linkers: vec![bpf_linker(23)],
                ..machine()
            },
            works: without_network,
            compiler: &[
                "get rustup's toolchain 1.96.0 with rust-src",
                "use rustc 1.97.1 (LLVM 22), rustup's `stable`",
            ],
            linker: &["use /usr/local/bin/bpf-linker (LLVM 23)"],
        },
        Case {
            name: "no network, nothing here",
            host: Host {
                apt_rust: Some(RELEASE.to_owned()),
                ..machine()
            },
            works: without_network,
            compiler: &[
                "get the packages rustc-web and rust-web-src",
                "get rustup's toolchain 1.96.0 with rust-src",
                "give up",
            ],
            linker: &[],
        },
        Case {
            name: "no root, no rustup",
            host: Host {
                rustup: false,
                installs: false,
                compilers: Vec::new(),
                ..debian.clone()
            },
            works: everything,
            compiler: &["give up"],
            linker: &[],
        },
        Case {
            name: "an old linker on PATH is left",
            host: Host {
                linkers: vec![bpf_linker(19)],
                ..debian.clone()
            },
            works: everything,
            compiler: DISTRIBUTION,
            linker: PUBLISHED,
        },
        Case {
            name: "a newer linker on PATH does",
            host: Host {
                linkers: vec![bpf_linker(24)],
                ..debian.clone()
            },
            works: everything,
            compiler: DISTRIBUTION,
            linker: &["use /usr/local/bin/bpf-linker (LLVM 24)"],
        },
        Case {
            name: "another processor, no root, LLVM installed",
            host: Host {
                installs: false,
                published: false,
                llvm: vec![22],
                ..debian
            },
            works: everything,
            compiler: BY_RUSTUP,
            linker: &[
                "get bpf-linker 0.13.0 from source with LLVM 22",
                "use /usr/local/bin/bpf-linker (LLVM 22)",
            ],
        },
    ]
}

#[test]
fn each_host_gets_a_compiler_and_a_linker_that_understands_it_or_hears_what_to_do() {
    for Case {
        name,
        mut host,
        works,
        compiler: compiler_steps,
        linker: linker_steps,
    } in cases()
    {
        let (done, _) = settle(&mut host, works, compiler);
        assert_eq!(done, compiler_steps, "{name}");
        // What was taken may be what was left for it, when rustup's toolchain could not be had.
        let failed = [Failed {
            way: Way::RustupToolchain(RELEASE.to_owned()),
            why: String::new(),
        }];
        let taken =
            [&[][..], &failed]
                .into_iter()
                .find_map(|failed| match compiler(&host, failed).step {
                    Step::Use(chosen) => Some(chosen),
                    Step::Get(_) | Step::GiveUp(_) => None,
                });
        let done = taken.map_or_else(Vec::new, |chosen| {
            settle(&mut host, works, |host, failed| {
                linker(host, &chosen, failed)
            })
            .0
        });
        assert_eq!(done, linker_steps, "{name}");
    }
}

#[test]
fn why_each_better_way_was_left_is_said() {
    let ubuntu = Host {
        compilers: vec![toolchain("nightly", "1.99.0-nightly", 23, true)],
        linkers: vec![
            bpf_linker(19),
            Linker {
                llvm: None,
                ..bpf_linker(0)
            },
        ],
        apt_rust: Some("1.85.0".to_owned()),
        apt_llvm: vec![18, 20],
        ..machine()
    };
    let failed = [
        Failed {
            way: Way::RustupToolchain(RELEASE.to_owned()),
            why: "no route to host".to_owned(),
        },
        Failed {
            way: Way::PublishedLinker,
            why: "curl: (6) Could not resolve host".to_owned(),
        },
    ];
    let Choice { step, left } = compiler(&ubuntu, &failed);
    assert_eq!(
        left,
        [
            "the packages rustc-web and rust-web-src: they are 1.85.0 here",
            "rustup's toolchain 1.96.0 with rust-src: no route to host",
            "rustc 1.99.0-nightly (LLVM 23), rustup's `nightly`: no stable release (ANYCAST_BPF_TOOLCHAIN can ask for it)",
        ]
    );
    assert!(
        matches!(step, Step::GiveUp(words) if words.contains("rustup toolchain install 1.96.0"))
    );

    let pinned = toolchain(RELEASE, RELEASE, 22, true);
    let Choice { step, left } = linker(&ubuntu, &pinned, &failed);
    assert_eq!(
        left,
        [
            "/usr/local/bin/bpf-linker (LLVM 19): rustc 1.96.0 writes LLVM 22",
            "/usr/local/bin/bpf-linker (it does not say its LLVM): rustc 1.96.0 writes LLVM 22",
            "the published bpf-linker 0.13.0: curl: (6) Could not resolve host",
            "bpf-linker 0.13.0 from source with LLVM 22: apt has no llvm-22-dev",
            "bpf-linker 0.13.0 from source with LLVM 23: apt has no llvm-23-dev",
        ]
    );
    assert!(
        matches!(step, Step::GiveUp(words) if words.contains("bpf-linker with LLVM 22 or newer"))
    );
}
