use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::mpsc;

use super::{Files, Maintenance, Seen, State, order, see};
use crate::decision::{Away, Order};
use crate::words::FileReport;

fn maintenance(path: &Path) -> Maintenance {
    Maintenance {
        service: 3,
        path: path.to_owned(),
        away: Away::Disabled,
    }
}

#[test]
fn the_first_line_is_the_reason_and_a_line_with_for_ends_it() {
    let file = maintenance(Path::new("/etc/dns.maintenance"));
    let (wall, now) = (SystemTime::now(), Instant::now());
    let written = wall - Duration::from_secs(600);
    // the text, the reason, and the minutes left; `None`: without an end
    let cases = [
        ("", "/etc/dns.maintenance is there", None),
        ("\n  \n", "/etc/dns.maintenance is there", None),
        ("new disks\n", "new disks", None),
        ("new disks\nfor 30m\n", "new disks", Some(20)),
        ("new disks\n\nsay more\nfor 1h 10m\n", "new disks", Some(60)),
        ("for 30m", "/etc/dns.maintenance is there", Some(20)),
        ("for maintenance\nfor 30m", "for maintenance", Some(20)),
        ("new disks\nfor 30 parsecs", "new disks", None),
        ("a\u{1b}[31mb", "a[31mb", None),
    ];
    for (text, reason, minutes) in cases {
        let want = Order {
            away: Away::Disabled,
            reason: reason.to_owned(),
            until: minutes.map(|minutes: u64| now + Duration::from_secs(minutes * 60)),
        };
        let got = order(&file, text, Some(written), wall, now);
        assert_eq!(got, Some(want), "`{text}`");
    }
    assert_eq!(
        order(&file, "x\nfor 10m", Some(written), wall, now),
        None,
        "over"
    );
    let from_the_future = order(
        &file,
        "x\nfor 10m",
        Some(wall + Duration::from_secs(99)),
        wall,
        now,
    );
    let until = from_the_future.and_then(|order| order.until);
    assert_eq!(
        until,
        Some(now + Duration::from_secs(600)),
        "never longer than it says"
    );
    let long = order(&file, &"x".repeat(5000), None, wall, now).expect("an order");
    assert_eq!(long.reason.len(), 200);
}

struct Rig {
    directory: tempfile::TempDir,
    path: PathBuf,
    reports: mpsc::Receiver<FileReport>,
}

impl Rig {
    /// A file in a directory that is not there yet.
    async fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("below/maintenance");
        let (files, first) = Files::open(vec![maintenance(&path)]).await;
        assert_eq!(first, []);
        let (sender, reports) = mpsc::channel(8);
        files.watch(&sender);
        Self {
            directory,
            path,
            reports,
        }
    }

    /// The next report's reason. It comes within a second, unless the machine stands still.
    async fn next(&mut self) -> Option<String> {
        let report = tokio::time::timeout(Duration::from_secs(20), self.reports.recv());
        let report = report.await.expect("in time").expect("a report");
        assert_eq!(report.service, 3);
        report.order.map(|order| order.reason)
    }
}

#[tokio::test]
async fn a_file_is_noticed_however_it_comes_and_goes() {
    let mut rig = Rig::new().await;
    fs::create_dir(rig.path.parent().expect("a parent")).expect("the parent");
    fs::write(&rig.path, "one\n").expect("written");
    assert_eq!(rig.next().await.as_deref(), Some("one"));
    let aside = rig.directory.path().join("aside");
    fs::write(&aside, "two\n").expect("written");
    fs::rename(&aside, &rig.path).expect("replaced");
    assert_eq!(rig.next().await.as_deref(), Some("two"));
    fs::remove_dir_all(rig.path.parent().expect("a parent")).expect("removed");
    assert_eq!(rig.next().await, None);
    fs::create_dir(rig.path.parent().expect("a parent")).expect("the parent");
    symlink("/nowhere", &rig.path).expect("a link");
    let there = format!("{} is there", rig.path.display());
    assert_eq!(rig.next().await, Some(there));
    fs::remove_file(&rig.path).expect("removed");
    assert_eq!(rig.next().await, None);
}

#[tokio::test]
async fn what_is_no_plain_file_is_there_and_is_not_waited_for() {
    let directory = tempfile::tempdir().expect("a directory");
    let fifo = directory.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("a fifo");
    for path in [fifo.as_path(), directory.path()] {
        let (_, reports) = Files::open(vec![maintenance(path)]).await;
        let order = reports[0].order.as_ref().expect("an order");
        assert_eq!(order.reason, format!("{} is there", path.display()));
    }
}

#[tokio::test]
async fn at_the_start_a_file_that_cannot_be_looked_for_counts_as_there() {
    // Too long a name is refused to root as well.
    let path = PathBuf::from(format!("/tmp/{}", "x".repeat(300)));
    let (mut files, reports) = Files::open(vec![maintenance(&path)]).await;
    let order = reports[0].order.as_ref().expect("an order");
    assert!(
        order.reason.starts_with("cannot look for /tmp/x"),
        "{order:?}"
    );
    let State::Idle(directory) = &mut files.directories[0].1 else {
        panic!("it has been looked at");
    };
    assert_eq!(directory.look(), [], "and nothing has changed since");
}

/// Hangs while there is no file `answer` beside one in a directory `hung`, and for as long as that is there.
fn see_on_a_hung_disk(path: &Path) -> Seen {
    let directory = path.parent().expect("a parent");
    while directory.ends_with("hung")
        && directory.exists()
        && !path.with_file_name("answer").exists()
    {
        std::thread::sleep(Duration::from_millis(5));
    }
    see(path)
}

#[tokio::test]
async fn a_file_system_that_hangs_holds_its_own_services_alone_and_until_it_answers() {
    let root = tempfile::tempdir().expect("a directory");
    let hung = root.path().join("hung");
    let sound = root.path().join("sound");
    for directory in [&hung, &sound] {
        fs::create_dir(directory).expect("made");
    }
    let file = |service, directory: &Path, name| Maintenance {
        service,
        ..maintenance(&directory.join(name))
    };
    fs::write(hung.join("there"), "new disks\n").expect("written");
    let files = vec![
        file(0, &hung, "there"),
        file(1, &hung, "absent"),
        file(2, &sound, "file"),
    ];
    let patience = Duration::from_millis(50);
    let (files, first) = Files::open_with(files, see_on_a_hung_disk, patience).await;
    let held: Vec<usize> = first.iter().map(|report| report.service).collect();
    assert_eq!(held, [0, 1], "{first:?}");
    let reason = &first[1].order.as_ref().expect("held").reason;
    let want = format!("cannot look for {}", hung.join("absent").display());
    assert!(
        reason.starts_with(&want) && reason.ends_with("has not answered for 50ms"),
        "{reason}"
    );
    let (sender, mut reports) = mpsc::channel(8);
    files.watch(&sender);
    let mut next = async || {
        let report = tokio::time::timeout(Duration::from_secs(20), reports.recv());
        let report = report.await.expect("in time").expect("a report");
        (report.service, report.order.map(|order| order.reason))
    };
    fs::write(sound.join("file"), "one\n").expect("written");
    assert_eq!(next().await, (2, Some("one".to_owned())));
    fs::write(hung.join("answer"), "").expect("written");
    assert_eq!(next().await, (0, Some("new disks".to_owned())));
    assert_eq!(next().await, (1, None));
}
