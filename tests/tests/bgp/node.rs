//! A node's speaker inside the test, and what tests ask of it.

use std::sync::Arc;
use std::time::Duration;

use anycast_tests::peers::wait_until;
use anycast_userspace::bgp::{
    Event, EventKind, GroupStatus, Notification, PeerStatus, Speaker, State, Summary,
};
use anycast_userspace::config::Bgp;
use anycast_userspace::rib::{Attributes, DesiredRoutes, Route};
use garde::Validate;
use tokio::sync::{mpsc, watch};

/// Longer than any of these takes; a test that waits this long has failed.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// A runtime whose threads are in the calling thread's namespace.
pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
}

/// A runtime in which the speaker runs only while the test waits.
pub(crate) fn lockstep() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

/// Routes for prefixes that share attributes, without a generation yet.
pub(crate) fn routes(prefixes: &[&str], attributes: Attributes) -> DesiredRoutes {
    let mut desired = DesiredRoutes::new(0);
    let route = Route::new("dns", attributes);
    for prefix in prefixes {
        desired.insert(prefix.parse().unwrap(), route.clone());
    }
    desired
}

fn parsed(text: &str) -> Bgp {
    let config: Bgp = toml::from_str(text).unwrap();
    config.validate().unwrap();
    assert_eq!(config.problems(), []);
    config
}

/// A speaker with AS 64512 and identifier 10.0.0.1.
pub(crate) struct Node {
    speaker: Option<Speaker>,
    desired: watch::Sender<Arc<DesiredRoutes>>,
    events: mpsc::Receiver<Event>,
    generation: u64,
}

impl Node {
    /// One peer in AS 65001 for each link, with more lines of configuration.
    pub(crate) fn start(links: &[(u8, &str)]) -> Self {
        let links: Vec<_> = links
            .iter()
            .map(|(link, options)| (*link, 65001, *options))
            .collect();
        Self::start_with(&links)
    }

    /// One peer for each link, with its AS number and more lines of configuration.
    pub(crate) fn start_with(links: &[(u8, u32, &str)]) -> Self {
        Self::start_on("", links)
    }

    /// The same, with lines for the speaker itself.
    pub(crate) fn start_on(speaker: &str, links: &[(u8, u32, &str)]) -> Self {
        let mut text = format!("local_as = 64512\nrouter_id = \"10.0.0.1\"\n{speaker}\n");
        for (link, remote_as, options) in links {
            let mut peer =
                format!("[[peers]]\nname = \"peer{link}\"\nremote_as = {remote_as}\n{options}\n");
            for (key, value) in [
                ("retry", "200ms".to_owned()),
                ("address", format!("10.0.{link}.2")),
            ] {
                if !options.contains(&format!("{key} =")) {
                    peer.push_str(&format!("{key} = \"{value}\"\n"));
                }
            }
            text.push_str(&peer);
        }
        Self::start_of(&text)
    }

    /// A speaker with these peers, written out.
    pub(crate) fn start_from(peers: &str) -> Self {
        Self::start_of(&format!(
            "local_as = 64512\nrouter_id = \"10.0.0.1\"\n{peers}"
        ))
    }

    /// The same, as another AS.
    pub(crate) fn start_as(local_as: u32, peers: &str) -> Self {
        Self::start_of(&format!(
            "local_as = {local_as}\nrouter_id = \"10.0.0.1\"\n{peers}"
        ))
    }

    /// Why a speaker with these peers does not start. Inside a runtime.
    pub(crate) fn refused(peers: &str) -> String {
        let config = parsed(&format!(
            "local_as = 64512\nrouter_id = \"10.0.0.1\"\n{peers}"
        ));
        let (_desired, receiver) = watch::channel(Arc::new(DesiredRoutes::new(0)));
        let (sender, _events) = mpsc::channel(1);
        Speaker::spawn(&config, &receiver, &sender)
            .expect_err("the speaker starts")
            .to_string()
    }

    fn start_of(text: &str) -> Self {
        let config = parsed(text);
        let (desired, receiver) = watch::channel(Arc::new(DesiredRoutes::new(0)));
        let (sender, events) = mpsc::channel(256);
        Self {
            speaker: Some(Speaker::spawn(&config, &receiver, &sender).unwrap()),
            desired,
            events,
            generation: 0,
        }
    }

    fn speaker(&self) -> &Speaker {
        self.speaker.as_ref().expect("the speaker runs")
    }

    /// Publishes routes as the next generation.
    pub(crate) fn publish(&mut self, mut routes: DesiredRoutes) -> u64 {
        self.generation += 1;
        routes.generation = self.generation;
        self.desired.send_replace(Arc::new(routes));
        self.generation
    }

    /// Publishes routes and waits until every established peer has been sent them.
    pub(crate) async fn want(&mut self, routes: DesiredRoutes) {
        let generation = self.publish(routes);
        tokio::time::timeout(LIMIT, self.speaker().applied(generation))
            .await
            .expect("the generation is applied");
    }

    /// Waits until the session is established.
    pub(crate) async fn established(&mut self, peer: &str) {
        self.state(peer, |state| state == State::Established).await;
    }

    /// Waits for a state.
    pub(crate) async fn state(&mut self, peer: &str, test: impl Fn(State) -> bool) {
        self.summary_until(peer, |summary| test(summary.state))
            .await;
    }

    /// Waits for a summary.
    pub(crate) async fn summary_until(
        &mut self,
        peer: &str,
        test: impl Fn(&Summary) -> bool,
    ) -> Summary {
        let wait = async {
            loop {
                match self.speaker().summary_until(peer, &test).await {
                    Some(summary) => return summary,
                    // A peer of a prefix is there only while it is connected.
                    None => tokio::time::sleep(Duration::from_millis(5)).await,
                }
            }
        };
        tokio::time::timeout(LIMIT, wait)
            .await
            .unwrap_or_else(|_| panic!("{peer} stays at {:?}", self.speaker().summaries()))
    }

    /// What is current.
    pub(crate) fn summary(&self, peer: &str) -> Summary {
        let summaries = self.speaker().summaries();
        summaries
            .into_iter()
            .find(|(name, _)| **name == *peer)
            .unwrap()
            .1
    }

    /// The peer's full status.
    pub(crate) async fn status(&self, peer: &str) -> PeerStatus {
        let status = self.speaker().status().await;
        status
            .peers
            .into_iter()
            .find(|status| status.name == peer)
            .unwrap()
    }

    /// The prefixes from which peers may connect.
    pub(crate) async fn groups(&self) -> Vec<GroupStatus> {
        self.speaker().status().await.groups
    }

    /// Waits for a NOTIFICATION of ours.
    pub(crate) async fn notification_sent(&mut self, peer: &str) -> Notification {
        self.event(peer, |kind| match kind {
            EventKind::NotificationSent(sent) => Some(sent.clone()),
            _ => None,
        })
        .await
    }

    /// Waits for an event.
    pub(crate) async fn event<T>(
        &mut self,
        peer: &str,
        pick: impl Fn(&EventKind) -> Option<T>,
    ) -> T {
        let wait = async {
            loop {
                let event = self.events.recv().await.expect("the speaker runs");
                if *event.peer == *peer
                    && let Some(picked) = pick(&event.kind)
                {
                    return picked;
                }
            }
        };
        tokio::time::timeout(LIMIT, wait)
            .await
            .expect("the event comes")
    }

    /// Ends without a word, as a killed daemon does, and waits until its port is free.
    pub(crate) fn crash(self) {
        drop(self);
        for address in ["0.0.0.0:179", "[::]:179"] {
            wait_until("port 179 is free", LIMIT, || {
                std::net::TcpListener::bind(address).ok()
            })
            .unwrap();
        }
    }

    /// What BFD reports when it finds the peer gone.
    pub(crate) async fn bfd_down(&self, peer: &str) {
        self.speaker()
            .bfd_down(peer, "nothing heard for 150 ms")
            .await;
    }

    /// Stops as the daemon does.
    pub(crate) async fn shutdown(&mut self, communication: &str) {
        let speaker = self.speaker.take().expect("the speaker runs");
        tokio::time::timeout(LIMIT, speaker.shutdown(Some(communication)))
            .await
            .expect("the speaker stops");
    }
}
