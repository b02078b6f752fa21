//! A steady stream of DNS queries from the client, each one followed to its answer or its loss.

use std::io::ErrorKind;
use std::net::UdpSocket;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use domain::base::{Message, MessageBuilder, Name, Rtype};
use domain::rdata::Txt;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;

use super::probe::Family;
use super::topology::{City, ZONE};
use crate::clock::Monotonic;
use crate::feed::Feed;
use crate::netns::Namespace;

/// Queries per second.
pub const RATE: u32 = 1000;
/// A query without an answer after this time is lost. Longer than a busy machine stands still.
pub const TIMEOUT: Duration = Duration::from_secs(3);

/// One query.
#[derive(Clone, Copy, Debug)]
pub struct Query {
    /// When it was sent.
    pub sent: Monotonic,
    /// When it was answered, and by which city.
    pub answered: Option<(Monotonic, City)>,
}

/// A stream that runs until it is finished or dropped.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    answers: Feed<(Monotonic, City)>,
    thread: Option<JoinHandle<anyhow::Result<Vec<Query>>>>,
}

impl Load {
    /// Starts a stream of [`RATE`] queries a second from `client`.
    ///
    /// # Errors
    /// When the client has no such socket to give.
    pub fn start(client: &Namespace, family: Family) -> anyhow::Result<Self> {
        let socket = client.enter(|| {
            let (any, service) = match family {
                Family::V4 => ("0.0.0.0:0", format!("{}:53", family.service())),
                Family::V6 => ("[::]:0", format!("[{}]:53", family.service())),
            };
            let socket = UdpSocket::bind(any).context("opening the client's socket")?;
            socket
                .connect(service)
                .context("connecting the client's socket")?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        })?;
        let stop = Arc::new(AtomicBool::new(false));
        let answers = Feed::default();
        let mut stream = Stream {
            socket,
            queries: Vec::new(),
            answers: answers.clone(),
            stop: Arc::clone(&stop),
        };
        let thread = thread::Builder::new()
            .name("queries".into())
            .spawn(move || stream.run().map(|()| stream.queries))
            .context("starting the thread that sends queries")?;
        Ok(Self {
            stop,
            answers,
            thread: Some(thread),
        })
    }

    /// Waits for the first answer from `city` that arrives after `since`.
    ///
    /// # Errors
    /// When there is none within `timeout`.
    pub fn first_answer(
        &self,
        city: City,
        since: Monotonic,
        timeout: Duration,
    ) -> anyhow::Result<Monotonic> {
        let what = format!("an answer from {city}");
        let (at, _) = self
            .answers
            .wait(crate::feed::Mark::START, &what, timeout, |answer| {
                answer.0 >= since && answer.1 == city
            })?;
        Ok(at)
    }

    /// Stops sending, waits for what is still on its way, and reports.
    ///
    /// # Errors
    /// When the stream has failed.
    pub fn finish(mut self) -> anyhow::Result<Report> {
        self.stop.store(true, Ordering::SeqCst);
        let thread = self.thread.take().context("the stream runs")?;
        let queries = thread
            .join()
            .map_err(|_| anyhow!("the stream of queries has panicked"))??;
        Ok(Report { queries })
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
    }
}

/// What became of a stream.
#[derive(Clone, Debug)]
pub struct Report {
    queries: Vec<Query>,
}

impl Report {
    /// How many were sent.
    #[must_use]
    pub fn sent(&self) -> usize {
        self.queries.len()
    }

    /// How many `city` has answered.
    #[must_use]
    pub fn answered_by(&self, city: City) -> usize {
        self.queries
            .iter()
            .filter(|query| query.answered.is_some_and(|(_, by)| by == city))
            .count()
    }

    /// How many nobody has answered within [`TIMEOUT`].
    #[must_use]
    pub fn lost(&self) -> usize {
        self.lost_queries().count()
    }

    /// The time from the first lost query to the last.
    #[must_use]
    pub fn outage(&self) -> Duration {
        match (self.lost_queries().next(), self.lost_queries().last()) {
            (Some(first), Some(last)) => last.sent.since(first.sent),
            _ => Duration::ZERO,
        }
    }

    fn lost_queries(&self) -> impl Iterator<Item = &Query> {
        self.queries.iter().filter(|query| query.answered.is_none())
    }
}

struct Stream {
    socket: UdpSocket,
    queries: Vec<Query>,
    answers: Feed<(Monotonic, City)>,
    stop: Arc<AtomicBool>,
}

impl Stream {
    fn run(&mut self) -> anyhow::Result<()> {
        let gap = Duration::from_secs(1) / RATE;
        let mut next = Monotonic::now();
        while !self.stop.load(Ordering::SeqCst) {
            self.send()?;
            next = next + gap;
            self.receive_until(next)?;
        }
        while self.is_waiting() {
            self.receive_until(Monotonic::now() + gap)?;
        }
        Ok(())
    }

    /// Whether a query has no answer and is not lost yet.
    fn is_waiting(&self) -> bool {
        let now = Monotonic::now();
        let young = |query: &&Query| now.since(query.sent) <= TIMEOUT;
        let mut young = self.queries.iter().rev().take_while(young);
        young.any(|query| query.answered.is_none())
    }

    fn send(&mut self) -> anyhow::Result<()> {
        let query = query(id(self.queries.len()))?;
        let sent = Monotonic::now();
        // An earlier query's ICMP error is reported here, and then this one has not left.
        if self.socket.send(&query).is_err() {
            let _ = self.socket.send(&query);
        }
        self.queries.push(Query {
            sent,
            answered: None,
        });
        Ok(())
    }

    fn receive_until(&mut self, deadline: Monotonic) -> anyhow::Result<()> {
        loop {
            self.receive();
            let left = deadline.since(Monotonic::now());
            if left.is_zero() {
                return Ok(());
            }
            let mut wanted = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
            ppoll(&mut wanted, Some(TimeSpec::from(left)), None).context("waiting for answers")?;
        }
    }

    fn receive(&mut self) {
        let mut buffer = [0; 1500];
        loop {
            match self.socket.recv(&mut buffer) {
                Ok(length) => self.take(&buffer[..length], Monotonic::now()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // An ICMP error for an earlier query: that one is lost, and reading goes on.
                Err(_) => {}
            }
        }
    }

    fn take(&mut self, answer: &[u8], now: Monotonic) {
        let Some((id, city)) = read(answer) else {
            return;
        };
        let Some(index) = latest_with(id, self.queries.len()) else {
            return;
        };
        let query = &mut self.queries[index];
        if query.answered.is_none() && now.since(query.sent) <= TIMEOUT {
            query.answered = Some((now, city));
            self.answers.push((now, city));
        }
    }
}

/// The DNS ID of the query number `index`.
fn id(index: usize) -> u16 {
    u16::try_from(index % 65536).expect("a remainder by 65536 fits")
}

/// The youngest of `count` queries that has this ID.
fn latest_with(id: u16, count: usize) -> Option<usize> {
    let last = count.checked_sub(1)?;
    let back = (last + 65536 - usize::from(id)) % 65536;
    last.checked_sub(back)
}

fn query(id: u16) -> anyhow::Result<Vec<u8>> {
    let mut builder = MessageBuilder::new_vec();
    builder.header_mut().set_id(id);
    let mut question = builder.question();
    question
        .push((Name::vec_from_str(ZONE)?, Rtype::TXT))
        .context("writing the question")?;
    Ok(question.finish())
}

fn read(answer: &[u8]) -> Option<(u16, City)> {
    let message = Message::from_octets(answer).ok()?;
    let record = message.answer().ok()?.limit_to::<Txt<_>>().next()?.ok()?;
    let text: Vec<u8> = record.data().text();
    Some((
        message.header().id(),
        City::from_name(std::str::from_utf8(&text).ok()?)?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_belongs_to_the_youngest_query_with_its_id() {
        for (id, count, want) in [
            (0, 0, None),
            (0, 1, Some(0)),
            (1, 1, None),
            (0, 65537, Some(65536)),
            (1, 65537, Some(1)),
            (65535, 65537, Some(65535)),
        ] {
            assert_eq!(latest_with(id, count), want, "id {id} of {count}");
        }
    }

    #[test]
    fn a_report_counts_each_query_once() {
        let at = |millis: u64| Monotonic::from_nanos(millis * 1_000_000);
        let query = |sent: u64, city: Option<City>| Query {
            sent: at(sent),
            answered: city.map(|city| (at(sent + 1), city)),
        };
        let report = Report {
            queries: vec![
                query(0, Some(City::A)),
                query(10, None),
                query(20, None),
                query(30, Some(City::B)),
            ],
        };
        assert_eq!(report.sent(), 4);
        assert_eq!(report.answered_by(City::A), 1);
        assert_eq!(report.answered_by(City::B), 1);
        assert_eq!(report.lost(), 2);
        assert_eq!(report.outage(), Duration::from_millis(10));
    }
}
