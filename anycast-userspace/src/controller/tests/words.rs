//! What operators say, by command, by file and before the start.

use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::timeout;

use super::rig::{PATIENCE, Rig, settings};
use crate::control::protocol::{Operation, Request, Response, ServiceStatus};
use crate::control::server::Answer;
use crate::controller::ServiceSettings;
use crate::decision::{Away, Order, Source};
use crate::state::ServiceState;
use crate::words::{FileReport, Saved};

fn order(away: Away, reason: &str) -> Order {
    Order {
        away,
        reason: reason.to_owned(),
        until: None,
    }
}

fn with_order(source: Source, order: Order) -> ServiceSettings {
    let mut settings = settings();
    settings.orders.set(source, Some(order));
    settings
}

impl Rig {
    async fn service(&self) -> ServiceStatus {
        match self.call(Request::Status).await {
            Answer::One(Response::Status(status)) => status.services[0].clone(),
            other => panic!("no status: {other:?}"),
        }
    }

    async fn file(&self, order: Option<Order>) {
        self.files
            .send(FileReport { service: 0, order })
            .await
            .unwrap();
    }

    /// What the controller wants on the disk: each order's word and reason.
    fn on_disk(&self) -> Vec<(Away, String)> {
        let words = self.said.borrow();
        let orders = words.spoken.iter().map(|spoken| &spoken.order);
        orders
            .map(|order| (order.away, order.reason.clone()))
            .collect()
    }
}

fn done(response: Response) -> (ServiceState, Option<String>) {
    match response {
        Response::Done { state, note, .. } => (state, note),
        other => panic!("not done: {other:?}"),
    }
}

fn error(response: Response) -> String {
    match response {
        Response::Error { message } => message,
        other => panic!("no error: {other:?}"),
    }
}

#[tokio::test]
async fn a_service_taken_away_before_the_start_is_never_announced_until_it_is_given_back() {
    use Operation::{Enable, Undrain};
    for (away, state, back) in [
        (Away::Drained, ServiceState::Down, Undrain),
        (Away::Disabled, ServiceState::Disabled, Enable),
    ] {
        let mut rig = Rig::with(with_order(Source::Command, order(away, "kernel update"))).await;
        for _ in 0..3 {
            rig.pass().await;
        }
        let status = rig.service().await;
        assert_eq!((status.state, status.announced), (state, 0), "{away:?}");
        assert_eq!(status.reason, "kernel update");
        assert_eq!(
            rig.log
                .lock()
                .unwrap()
                .iter()
                .find(|line| line.contains("routes")),
            None
        );
        assert_eq!(
            rig.log
                .lock()
                .unwrap()
                .iter()
                .find(|line| line.contains("Up")),
            None
        );
        done(rig.operate(back, None).await);
        rig.until(ServiceState::Up).await;
        assert_eq!(rig.on_disk(), []);
    }
}

#[tokio::test]
async fn a_time_set_before_the_start_ends_by_itself_and_leaves_the_disk() {
    let until = Some(Instant::now() + Duration::from_millis(50));
    let until = Order {
        until,
        ..order(Away::Disabled, "half an hour")
    };
    let mut rig = Rig::with(with_order(Source::Command, until)).await;
    rig.pass().await;
    let words = rig.service().await.words;
    assert!(words[0].left_ms.is_some_and(|left| left <= 50), "{words:?}");
    rig.until(ServiceState::Up).await;
    rig.said
        .wait_for(|words| words.generation > 0)
        .await
        .expect("the controller runs");
    assert_eq!(rig.on_disk(), []);
}

#[tokio::test]
async fn every_command_is_on_the_disk_before_it_is_answered() {
    let rig = Rig::new().await;
    rig.disk.send_replace(Saved::default());
    let answer = rig.operate(Operation::Drain, None);
    let mut answer = std::pin::pin!(answer);
    let early = timeout(Duration::from_millis(50), &mut answer).await;
    assert!(
        early.is_err(),
        "answered although nothing is saved: {early:?}"
    );
    assert_eq!(
        rig.on_disk(),
        [(Away::Drained, "drained by the operator".to_owned())]
    );
    rig.disk.send_replace(Saved {
        generation: 1,
        error: None,
    });
    assert_eq!(done(answer.await), (ServiceState::Down, None));
}

#[tokio::test]
async fn a_word_that_cannot_be_saved_counts_all_the_same_and_is_told() {
    let mut rig = Rig::new().await;
    rig.pass().await;
    rig.until(ServiceState::Up).await;
    rig.disk.send_replace(Saved {
        generation: u64::MAX,
        error: Some("/var/lib/anycast/words.json: No space left on device".to_owned()),
    });
    let (state, note) = done(rig.operate(Operation::Disable, None).await);
    assert_eq!(state, ServiceState::Disabled);
    let note = note.expect("a note");
    assert!(
        note.contains("will not survive a restart") && note.contains("No space left"),
        "{note}"
    );
    rig.disk = watch::channel(Saved::default()).0;
    let (_, note) = done(rig.operate(Operation::Enable, None).await);
    assert!(note.expect("a note").contains("will not survive a restart"));
}

#[tokio::test]
async fn a_maintenance_file_takes_a_service_away_and_gives_it_back() {
    let mut rig = Rig::new().await;
    rig.pass().await;
    rig.until(ServiceState::Up).await;
    rig.file(Some(order(Away::Drained, "new disks"))).await;
    rig.until(ServiceState::Down).await;
    let status = rig.service().await;
    assert_eq!(status.reason, "new disks");
    let words: Vec<_> = status
        .words
        .iter()
        .map(|word| (word.word, word.source))
        .collect();
    assert_eq!(words, [(Away::Drained, Source::MaintenanceFile)]);
    assert_eq!(
        rig.on_disk(),
        [],
        "the file speaks for itself after a restart"
    );
    rig.file(None).await;
    rig.until(ServiceState::Up).await;
}

#[tokio::test]
async fn command_and_file_hold_a_service_until_both_have_let_go() {
    let rig = Rig::with(with_order(
        Source::MaintenanceFile,
        order(Away::Drained, "new disks"),
    ))
    .await;
    rig.pass().await;
    let refused = error(rig.operate(Operation::Undrain, None).await);
    assert_eq!(
        refused,
        "dns is drained by its maintenance file: remove /etc/dns.maintenance"
    );
    let (state, _) = done(rig.operate(Operation::Disable, None).await);
    assert_eq!(state, ServiceState::Disabled, "the stricter word counts");
    let (state, note) = done(rig.operate(Operation::Enable, None).await);
    assert_eq!(state, ServiceState::Down);
    assert_eq!(note.as_deref(), Some(refused.as_str()));
    rig.file(None).await;
    let up = async {
        while rig.service().await.state != ServiceState::Up {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, up)
        .await
        .expect("up when both have let go");
}

#[tokio::test]
async fn what_the_configuration_disables_no_command_enables() {
    let order = order(Away::Disabled, "disabled in the configuration");
    let rig = Rig::with(with_order(Source::Configuration, order)).await;
    rig.pass().await;
    let refused = error(rig.operate(Operation::Enable, None).await);
    assert!(
        refused.contains("take `disabled = true` out of it"),
        "{refused}"
    );
    assert_eq!(rig.service().await.state, ServiceState::Disabled);
    // A drain ordered meanwhile is remembered, and changes nothing.
    let (state, _) = done(rig.operate(Operation::Drain, None).await);
    assert_eq!(state, ServiceState::Disabled);
    let (state, note) = done(rig.operate(Operation::Undrain, None).await);
    assert_eq!(state, ServiceState::Disabled);
    assert_eq!(note, Some(refused));
}

#[tokio::test]
async fn a_service_that_is_advertised_while_disabled_is_announced_unchecked() {
    let mut unchecked = settings();
    unchecked.health = unchecked.health.unchecked_if(true);
    let mut rig = Rig::with(unchecked).await;
    rig.logged(&["routes 2 med Some(10)"]).await;
    let status = rig.service().await;
    assert_eq!((status.state, status.announced), (ServiceState::Up, 2));
    assert!(status.checks.is_empty());
    assert!(
        status.reason.contains("advertised unchecked"),
        "{}",
        status.reason
    );
    done(rig.operate(Operation::Disable, None).await);
    rig.until(ServiceState::Disabled).await;
}

#[tokio::test]
async fn before_the_first_full_verdict_nothing_is_announced() {
    let two = |service: &mut ServiceSettings| {
        let text = "[node]\nname = \"n\"\n[dataplane]\ninterfaces = [\"lo\"]\n[[services]]\nname = \"dns\"\n\
                    addresses = [\"192.0.2.1\"]\nannounce = []\n\
                    [[services.checks]]\nname = \"a\"\ntype = \"tcp\"\nport = 1\nrise = 3\n\
                    [[services.checks]]\nname = \"b\"\ntype = \"tcp\"\nport = 2\nrise = 1\n";
        let config = crate::config::Config::parse(text).expect("valid");
        service.health = crate::health::Settings::new(
            &config.services[0].checks,
            config.services[0].require,
            Duration::ZERO,
            None,
        );
    };
    let mut service = settings();
    two(&mut service);
    let mut rig = Rig::with(service).await;
    // Two of three passes of the one check, and none of the other.
    for _ in 0..2 {
        rig.pass().await;
    }
    let status = rig.service().await;
    assert_eq!((status.state, status.announced), (ServiceState::Init, 0));
    rig.pass().await;
    assert_eq!(
        rig.service().await.state,
        ServiceState::Init,
        "the other check has not spoken"
    );
    assert_eq!(*rig.log.lock().unwrap(), ["map Init"]);
    rig.pass_of(1).await;
    rig.until(ServiceState::Up).await;
}
