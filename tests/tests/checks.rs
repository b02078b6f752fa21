//! Checks against real servers, NSD and nginx, on the loopback interface, pings, and commands that run as another user,
//! which needs root.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anycast_tests::lease::Lease;
use anycast_tests::process;
use anycast_userspace::checks::{REPORT_DEPTH, Report, RunningChecks, Subject, spawn};
use anycast_userspace::config::{Check, Hook};
use anycast_userspace::health::FailureKind;
use anycast_userspace::health::Outcome;
use anycast_userspace::hooks;
use anycast_userspace::state::ServiceState;
use jiff::Timestamp;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Gid, Pid, User, setgroups};
use tempfile::TempDir;
use tokio::sync::mpsc;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const PATIENCE: Duration = Duration::from_secs(20);

/// A server in the foreground, in a process group and a directory of its own; gone when dropped.
struct Server {
    child: Child,
    port: u16,
    _directory: TempDir,
}

impl Server {
    fn start(
        program: &str,
        arguments: impl Fn(&Path) -> Vec<String>,
        configure: impl Fn(&Path, u16),
    ) -> Self {
        use std::os::unix::process::CommandExt as _;
        let directory = tempfile::tempdir().expect("a directory");
        // The server may run as another user.
        let open = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o755);
        fs::set_permissions(directory.path(), open).expect("permissions");
        let port = free_port();
        configure(directory.path(), port);
        let child = Command::new(program)
            .args(arguments(directory.path()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| {
                panic!(
                    "{program} cannot be started: {error}; install the packages nsd and nginx-light"
                )
            });
        Self {
            child,
            port,
            _directory: directory,
        }
    }

    fn signal(&self, signal: Signal) {
        let group = Pid::from_raw(i32::try_from(self.child.id()).expect("a pid"));
        killpg(group, signal).expect("the server's group is there");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let group = Pid::from_raw(i32::try_from(self.child.id()).expect("a pid"));
        let _ = killpg(group, Signal::SIGKILL);
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((LOOPBACK, 0)).expect("a listener");
    listener.local_addr().expect("its address").port()
}

fn nsd() -> Server {
    let configure = |directory: &Path, port| {
        let at = |name| directory.join(name).display().to_string();
        let zone = "$ORIGIN city.example.\n$TTL 60\n@ SOA ns hostmaster 7 3600 600 86400 60\n@ NS ns\n\
                    ns A 127.0.0.1\n@ TXT \"city-a\"\n";
        fs::write(at("zone"), zone).expect("the zone");
        let config = format!(
            "server:\n  ip-address: 127.0.0.1@{port}\n  username: \"\"\n  zonesdir: \"{}\"\n  pidfile: \"\"\n  \
             database: \"\"\n  xfrdfile: \"{}\"\n  zonelistfile: \"{}\"\n  identity: \"city-a\"\n  nsid: \"ascii_city-a\"\n  \
             hide-identity: no\nremote-control:\n  control-enable: no\n\
             zone:\n  name: city.example\n  zonefile: zone\n",
            directory.display(),
            at("xfrd"),
            at("zonelist"),
        );
        fs::write(at("nsd.conf"), config).expect("the configuration");
    };
    let arguments = |directory: &Path| {
        vec![
            "-d".to_owned(),
            "-c".to_owned(),
            directory.join("nsd.conf").display().to_string(),
        ]
    };
    Server::start("/usr/sbin/nsd", arguments, configure)
}

fn nginx() -> Server {
    let configure = |directory: &Path, port| {
        let config = format!(
            "daemon off; pid {0}/pid; error_log {0}/error.log;\nevents {{}}\nhttp {{\n  access_log off;\n  \
             client_body_temp_path {0}; proxy_temp_path {0}; fastcgi_temp_path {0}; uwsgi_temp_path {0}; \
             scgi_temp_path {0};\n  server {{ listen 127.0.0.1:{port}; \
             location / {{ return 200 \"this is city-a\\n\"; }} location /broken {{ return 503; }} }}\n}}\n",
            directory.display(),
        );
        fs::write(directory.join("nginx.conf"), config).expect("the configuration");
    };
    let arguments = |directory: &Path| {
        let directory = directory.display();
        vec![
            "-p".to_owned(),
            directory.to_string(),
            "-c".to_owned(),
            format!("{directory}/nginx.conf"),
            "-e".to_owned(),
            format!("{directory}/error.log"),
        ]
    };
    Server::start("/usr/sbin/nginx", arguments, configure)
}

/// Checks under way; their reports by check.
struct Watched {
    _running: RunningChecks,
    reports: mpsc::Receiver<Report>,
    count: usize,
}

impl Watched {
    fn new(checks: &[String]) -> Self {
        let checks: Vec<Check> = checks
            .iter()
            .map(|check| {
                let timeout = if check.contains("timeout") {
                    ""
                } else {
                    "timeout = \"50ms\"\n"
                };
                let common = format!("name = \"c\"\ninterval = \"50ms\"\n{timeout}");
                toml::from_str(&format!("{common}{check}")).expect("the check parses")
            })
            .collect();
        let (sender, reports) = mpsc::channel(REPORT_DEPTH);
        let subject = Subject {
            node: "node",
            service: 0,
            name: "service",
            addresses: &[LOOPBACK],
            started: std::time::Instant::now(),
        };
        Self {
            _running: spawn(&subject, &checks, &sender),
            reports,
            count: checks.len(),
        }
    }

    async fn next(&mut self) -> Report {
        let report = tokio::time::timeout(PATIENCE, self.reports.recv()).await;
        report.expect("a report in time").expect("a report")
    }

    /// Waits until the last outcome of every check is as wanted.
    async fn wait_for(&mut self, what: &str, wanted: impl Fn(&Outcome) -> bool) {
        let mut last: Vec<Option<Outcome>> = vec![None; self.count];
        let all = async {
            while !last
                .iter()
                .all(|outcome| outcome.as_ref().is_some_and(&wanted))
            {
                let report = self.reports.recv().await.expect("a report");
                last[report.check] = Some(report.outcome);
            }
        };
        if tokio::time::timeout(PATIENCE, all).await.is_err() {
            panic!("{what}: {last:?}");
        }
    }
}

fn failed_by(outcome: &Outcome, wanted: &[FailureKind]) -> bool {
    match outcome {
        Outcome::Fail { kind, .. } => wanted.contains(kind),
        Outcome::Pass(_) => false,
    }
}

/// A shell script at this path.
fn write_script(path: &Path, script: &str) {
    fs::write(path, format!("#!/bin/sh\n{script}\n")).expect("written");
    let runs = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o755);
    fs::set_permissions(path, runs).expect("permissions");
}

#[tokio::test]
async fn an_echo_is_answered_on_both_families_and_fails_where_nobody_answers() {
    let echo = |target, timeout| {
        format!("type = \"icmp\"\ntarget = \"{target}\"\ntimeout = \"{timeout}\"\n")
    };
    let mut answered = Watched::new(&["127.0.0.1", "::1"].map(|target| echo(target, "5s")));
    answered.wait_for("echoes", Outcome::passed).await;
    // Documentation (RFC 3849): no way there, or nobody.
    let mut nobody = Watched::new(&[echo("2001:db8::1", "200ms")]);
    let fails =
        |outcome: &Outcome| failed_by(outcome, &[FailureKind::Unreachable, FailureKind::Timeout]);
    nobody.wait_for("nobody", fails).await;
}

#[tokio::test]
async fn a_command_whose_start_hangs_delays_no_other_check_and_is_killed_when_it_has_started() {
    let directory = tempfile::tempdir().expect("a directory");
    let at = |name| directory.path().join(name);
    write_script(
        &at("probe"),
        &format!("echo $$ >> {}; exec sleep 300", at("pids").display()),
    );
    let lease = Lease::take(&at("probe")).expect("a lease on the script");
    let listener = TcpListener::bind((LOOPBACK, 0)).expect("a listener");
    let port = listener.local_addr().expect("its address").port();
    let mut watched = Watched::new(&[
        format!("type = \"tcp\"\nport = {port}"),
        format!("type = \"exec\"\ncommand = [\"{}\"]", at("probe").display()),
    ]);

    let mut said = Vec::new();
    let mut passed = 0;
    while said.len() < 3 || passed < 10 {
        let report = watched.next().await;
        if report.check == 0 {
            // All the while, nothing comes of the other: its start hangs until the lease is given back.
            assert!(report.outcome.passed(), "{:?}", report.outcome);
            passed += 1;
        } else {
            said.push(report.outcome.detail().to_owned());
        }
    }
    assert!(said[0].contains("has not been started yet"), "{said:?}");
    assert_eq!(said[1], "the last run has not ended");

    drop(lease);
    // The next one is started only when the late one is gone.
    loop {
        let report = watched.next().await;
        if report.check == 1 && report.outcome.detail() == "no result within 50ms" {
            break;
        }
    }
    drop(watched);
    for pid in fs::read_to_string(at("pids")).expect("pids").lines() {
        // Our own child: it is reaped, too.
        let pid = pid.parse().expect("a pid");
        let gone = async {
            while process::state(pid).is_some() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let gone = tokio::time::timeout(PATIENCE, gone).await;
        assert!(gone.is_ok(), "{pid} is still there");
    }
}

/// What a command says of whom it runs as, once it runs as `nobody`.
fn nobody() -> String {
    let user = User::from_name("nobody").expect("the users");
    let user = user.expect("there is nobody");
    // Otherwise there might be none to lose.
    setgroups(&[Gid::from_raw(0), Gid::from_raw(4)]).expect("this test needs root");
    format!("{0} {1} {1}", user.uid, user.gid)
}

#[tokio::test]
async fn a_command_runs_as_its_user_with_that_user_s_group_alone() {
    let want = nobody();
    let mut watched = Watched::new(&["type = \"exec\"\nuser = \"nobody\"\ntimeout = \"5s\"\n\
         command = [\"/bin/sh\", \"-c\", \"echo $(id -u) $(id -g) $(id -G)\"]"
        .to_owned()]);
    let report = watched.next().await;
    assert_eq!(report.outcome.detail(), format!("exit code 0: {want}"));
}

#[tokio::test]
async fn a_hook_runs_as_its_user_with_that_user_s_group_alone() {
    let want = nobody();
    let directory = tempfile::tempdir().expect("a directory");
    let open = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o777);
    fs::set_permissions(directory.path(), open).expect("permissions");
    let log = directory.path().join("log");
    let hook: Hook = toml::from_str(&format!(
        "user = \"nobody\"\ncommand = [\"/bin/sh\", \"-c\", \"echo $(id -u) $(id -g) $(id -G) > {}\"]",
        log.display()
    ))
    .expect("the hook parses");
    let (transitions, hooks) = hooks::spawn("node", [("service".to_owned(), vec![hook])]);
    let change = (ServiceState::Init, ServiceState::Up);
    transitions.tell(0, change, String::new(), Timestamp::now());
    drop(transitions);
    hooks.finish(PATIENCE).await;
    let written = fs::read_to_string(log).expect("the hook has run");
    assert_eq!(written.trim(), want);
}

#[tokio::test]
async fn dns_checks_follow_a_real_nsd_through_stop_and_kill() {
    let server = nsd();
    let ask = |settings: &str| format!("type = \"dns\"\nport = {}\n{settings}", server.port);
    let mut watched = Watched::new(&[
        ask("query = \"city.example.\"\nrecord = \"TXT\"\nanswer = \"city-a\""),
        ask(
            "query = \"city.example.\"\nrecord = \"SOA\"\ntransport = \"tcp\"\nanswer_matches = \" 7 3600 \"",
        ),
        ask("query = \"nowhere.city.example.\"\nrcode = [\"NXDOMAIN\"]"),
        ask("query = \"other.example.\"\nrcode = [\"REFUSED\"]\nrecursion = false"),
        ask(&format!(
            "query = \"city.example.\"\nrecord = \"SOA\"\nnsid = \"city-a\"\n\
             serial = {{ server = \"127.0.0.1:{}\" }}",
            server.port
        )),
        ask("query = \"id.server.\"\nrecord = \"TXT\"\nclass = \"CH\"\nanswer = \"city-a\""),
    ]);
    watched
        .wait_for("every check passes", Outcome::passed)
        .await;
    server.signal(Signal::SIGSTOP);
    watched
        .wait_for("a stopped server times out", |outcome| {
            failed_by(outcome, &[FailureKind::Timeout])
        })
        .await;
    server.signal(Signal::SIGCONT);
    watched
        .wait_for("a continued server passes", Outcome::passed)
        .await;
    server.signal(Signal::SIGKILL);
    watched
        .wait_for("a killed server refuses", |outcome| {
            failed_by(outcome, &[FailureKind::Refused])
        })
        .await;
}

#[tokio::test]
async fn http_checks_follow_a_real_nginx_through_stop_and_kill() {
    let server = nginx();
    let ask = |settings: &str| format!("type = \"http\"\nport = {}\n{settings}", server.port);
    let mut watched = Watched::new(&[
        ask("body_contains = \"city-a\""),
        ask("path = \"/broken\"\nstatus = [\"503\"]"),
        ask("expect_headers = { server = \"nginx\" }\nmethod = \"HEAD\""),
        format!("type = \"tcp\"\nport = {}", server.port),
    ]);
    watched
        .wait_for("every check passes", Outcome::passed)
        .await;
    server.signal(Signal::SIGKILL);
    watched
        .wait_for("a killed server refuses", |outcome| {
            failed_by(outcome, &[FailureKind::Refused])
        })
        .await;
}
