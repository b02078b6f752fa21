//! The examples of the migration pages, tried. Each runs as it is written, but for the places of this test's own
//! files and the pace of its checks: BIRD holds its routes while its service answers, and none once that has
//! stopped.
//!
//! Needs root, BIRD, curl and ip(8). The binary under test is named by `ANYCAST_BIN`, which `cargo xtask test` sets.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anycast_tests::lab::control::Control;
use anycast_tests::netns::{Namespace, veth};
use anycast_tests::process::{self, Process};
use anycast_tests::site::{binary, start_bird};
use anycast_tests::wait;
use anyhow::{Context as _, Result, ensure};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use toml::{Table, Value};

const SOON: Duration = Duration::from_secs(60);

/// One configuration of a page.
struct Example {
    /// The page, and the line on which it begins.
    place: String,
    config: Table,
}

fn examples() -> Result<Vec<Example>> {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let mut pages: Vec<PathBuf> = fs::read_dir(docs)?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    pages.sort();
    let mut examples = Vec::new();
    for page in pages {
        let name = page.file_name().unwrap_or_default().to_string_lossy();
        if !name.starts_with("migrate-") {
            continue;
        }
        let text = fs::read_to_string(&page)?;
        let mut open: Option<(usize, String)> = None;
        for (number, line) in (1..).zip(text.lines()) {
            match (&mut open, line) {
                (None, "```toml") => open = Some((number, String::new())),
                (None, _) => {}
                (Some((number, block)), "```") => {
                    let place = format!("{name}:{number}");
                    let config = block.parse().with_context(|| place.clone())?;
                    examples.push(Example { place, config });
                    open = None;
                }
                (Some((_, block)), line) => {
                    block.push_str(line);
                    block.push('\n');
                }
            }
        }
    }
    Ok(examples)
}

impl Example {
    /// The configuration with this test's own places, and checks that need less patience.
    fn adapted(&self, site: &Site) -> Result<String> {
        let mut config = self.config.clone();
        let path = |name: &str| Value::from(site.path(name).to_string_lossy().into_owned());
        table(&mut config, "node")?.insert("state_directory".to_owned(), path("state"));
        let pin = site.pin.to_string_lossy().into_owned();
        table(&mut config, "dataplane")?.insert("pin".to_owned(), pin.into());
        let socket = Table::from_iter([("socket".to_owned(), path("anycast.sock"))]);
        config.insert("control".to_owned(), socket.into());
        let services = tables(&mut config, "services");
        for service in services {
            if service.contains_key("maintenance_file") {
                service.insert("maintenance_file".to_owned(), path("maintenance"));
            }
            for check in tables(service, "checks") {
                check.insert("interval".to_owned(), "1s".into());
            }
        }
        Ok(toml::to_string(&config)?)
    }

    /// The routes that it announces, as BIRD writes them.
    fn routes(&self) -> Vec<String> {
        let mut config = self.config.clone();
        let mut routes = Vec::new();
        for service in tables(&mut config, "services") {
            if service.contains_key("announce") {
                continue;
            }
            let addresses = service.get("addresses").and_then(Value::as_array);
            for address in addresses.into_iter().flatten().filter_map(Value::as_str) {
                let length = if address.contains(':') { 128 } else { 32 };
                routes.push(format!("{address}/{length}"));
            }
        }
        routes
    }
}

fn table<'a>(config: &'a mut Table, name: &str) -> Result<&'a mut Table> {
    let found = config.get_mut(name).and_then(Value::as_table_mut);
    found.with_context(|| format!("no [{name}]"))
}

fn tables<'a>(config: &'a mut Table, name: &str) -> impl Iterator<Item = &'a mut Table> {
    let all = config.get_mut(name).and_then(Value::as_array_mut);
    all.into_iter().flatten().filter_map(Value::as_table_mut)
}

/// A node as the pages have it, and the router that they name. Removed in order: processes before their
/// namespaces.
struct Site {
    daemon: Option<Process>,
    _bird: Process,
    node: Namespace,
    _router: Namespace,
    control: Control,
    pin: PathBuf,
    directory: tempfile::TempDir,
}

impl Site {
    fn new() -> Result<Self> {
        const PREFIX: &str = "anycast-migrate-";
        Namespace::remove_leftovers(PREFIX)?;
        let directory = tempfile::tempdir()?;
        let node = Namespace::create(&format!("{PREFIX}node"))?;
        let router = Namespace::create(&format!("{PREFIX}router"))?;
        veth((&node, "eth0"), (&router, "eth0"))?;
        node.ip(&[
            "addr add 10.0.1.2/24 dev eth0",
            "addr add fd00:1::2/64 dev eth0 nodad",
        ])?;
        router.ip(&[
            "addr add 10.0.1.1/24 dev eth0",
            "addr add fd00:1::1/64 dev eth0 nodad",
        ])?;
        let bird = start_bird(&router, directory.path(), BIRD)?;
        let socket = directory.path().join("anycast.sock");
        Ok(Self {
            daemon: None,
            _bird: bird,
            node,
            _router: router,
            control: Control::new(&binary(), &socket),
            pin: PathBuf::from("/sys/fs/bpf/anycast-migrate"),
            directory,
        })
    }

    fn start(&mut self, config: &str) -> Result<()> {
        let file = self.path("anycast.toml");
        fs::write(&file, config)?;
        let mut command = self.node.command(&binary().to_string_lossy())?;
        command.arg("run").arg("-c").arg(file);
        let daemon = Process::spawn("anycast", command, &self.path("anycast.log"))?;
        self.daemon = Some(daemon);
        Ok(())
    }

    /// Waits until every service is in that state and BIRD holds these routes, and no others.
    fn wait(&mut self, state: &str, routes: &[String]) -> Result<()> {
        let mut last = String::new();
        let found = wait::until(&format!("{state} with {routes:?}"), SOON, || {
            self.daemon.as_mut().context("it runs")?.still_runs()?;
            let held = self.birdc(&["show", "route", "protocol", "node"])?;
            let as_wanted = held.matches("unicast").count() == routes.len()
                && routes.iter().all(|route| held.contains(route.as_str()));
            // Not before the daemon listens.
            let status = self.control.status().unwrap_or_default();
            let services = status["services"].as_array().cloned().unwrap_or_default();
            let all = services.iter().all(|service| service["state"] == state);
            last = format!("{held}\n{status:#}");
            Ok((as_wanted && all && !services.is_empty()).then_some(()))
        });
        found.with_context(|| {
            let log = fs::read_to_string(self.path("anycast.log")).unwrap_or_default();
            format!("{last}\n{log}")
        })
    }

    fn birdc(&self, command: &[&str]) -> Result<String> {
        let mut birdc = process::command("birdc");
        birdc.arg("-s").arg(self.path("bird.ctl")).args(command);
        process::output(birdc)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Some(daemon) = &mut self.daemon {
            // What cannot be stopped is killed after this, with its namespace.
            let _ = daemon.signal_leader(Signal::SIGTERM);
            let _ = daemon.wait(Duration::from_secs(10));
        }
        // Gone already, if the daemon has ended well.
        let _ = fs::remove_dir_all(&self.pin);
    }
}

/// Everything that the examples' checks ask for: a web server, the agent of one page, a name server. It stops
/// when dropped.
struct Server {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Server {
    fn start(node: &Namespace) -> Result<Self> {
        let sockets = || -> Result<_> {
            let web = TcpListener::bind("[::]:80")?;
            let agent = TcpListener::bind("[::]:9013")?;
            Ok((web, agent, UdpSocket::bind("[::]:53")?))
        };
        let (web, agent, dns) = node.enter(sockets)?;
        let stop = Arc::new(AtomicBool::new(false));
        let threads = vec![
            serve(web, |web| answer_http(web.accept()?.0), &stop),
            serve(agent, |agent| answer_http(agent.accept()?.0), &stop),
            serve(dns, answer_dns, &stop),
        ];
        Ok(Self { stop, threads })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _panicked = thread.join();
        }
    }
}

/// Answers as often as the socket is readable, until it is to stop; the socket is closed then.
fn serve<S: AsFd + Send + 'static>(
    socket: S,
    answer: fn(&S) -> std::io::Result<()>,
    stop: &Arc<AtomicBool>,
) -> JoinHandle<()> {
    let stop = Arc::clone(stop);
    thread::spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            let mut waited = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
            if poll(&mut waited, PollTimeout::from(20_u8)).is_ok_and(|ready| ready > 0) {
                // A client that goes away is its own matter.
                let _gone = answer(&socket);
            }
        }
    })
}

fn answer_http(mut client: TcpStream) -> std::io::Result<()> {
    client.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte)?;
        request.extend(byte);
    }
    let body = r#"{"success": true}"#;
    write!(
        client,
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

/// The question comes back as an authoritative answer without records.
fn answer_dns(socket: &UdpSocket) -> std::io::Result<()> {
    let mut message = [0; 512];
    let (length, client) = socket.recv_from(&mut message)?;
    message[2] |= 0x84;
    socket.send_to(&message[..length], client)?;
    Ok(())
}

const BIRD: &str = "router id 10.0.1.1;
protocol device { }
protocol bgp node {
  local 10.0.1.1 as 65001;
  neighbor 10.0.1.2 as 64512;
  passive;
  ipv4 { import all; export none; };
  ipv6 { import all; export none; };
}
";

#[test]
fn every_example_of_the_migration_pages_announces_its_service_and_withdraws_it() -> Result<()> {
    let examples = examples()?;
    ensure!(examples.len() >= 5, "{} examples", examples.len());
    for example in examples {
        let routes = example.routes();
        let tried = || -> Result<()> {
            let mut site = Site::new()?;
            let server = Server::start(&site.node)?;
            site.start(&example.adapted(&site)?)?;
            site.wait("up", &routes)?;
            drop(server);
            site.wait("down", &[])
        };
        tried().with_context(|| example.place.clone())?;
    }
    Ok(())
}
