//! The `ntp` check: one client query, judged by leap indicator, stratum and offset (RFC 5905).

use std::borrow::Cow;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::net::UdpSocket;

use super::Subject;
use super::combine::every;
use super::dial::send;
use super::heard::Heard;
use super::probe::{Failure, targets};
use crate::config::check::NtpCheck;
use crate::health::{FailureKind, Outcome};

/// Length without extension fields (RFC 5905 §7.3).
const LENGTH: usize = 48;
/// Leap indicator 0, version 4, mode 3 (client).
const CLIENT: u8 = 0b00_100_011;
const MODE_SERVER: u8 = 4;
/// Leap indicator of a clock that is not synchronized.
const UNSYNCHRONIZED: u8 = 3;
/// From 1900, where NTP's time begins, to 1970.
const ERA_TO_UNIX: u64 = 2_208_988_800;

pub(super) struct NtpProbe {
    targets: Vec<SocketAddr>,
    max_stratum: u8,
    max_offset: Option<Duration>,
}

impl NtpProbe {
    pub(super) fn new(check: &NtpCheck, subject: &Subject<'_>) -> Self {
        Self {
            targets: targets(check.target, subject, check.port),
            max_stratum: check.max_stratum,
            max_offset: check.max_offset.map(|span| span.0),
        }
    }

    pub(super) async fn run(&self) -> Outcome {
        every(&self.targets, |target| self.one(*target)).await
    }

    async fn one(&self, target: SocketAddr) -> Result<Cow<'static, str>, Failure> {
        let sent = timestamp();
        let mut query = [0; LENGTH];
        query[0] = CLIENT;
        query[40..].copy_from_slice(&sent.to_be_bytes());
        // The moment of its arrival counts: the answer is waited for, not looked for between others.
        let socket: Heard<UdpSocket> = Heard::of(send(target, &query)?)?;
        let mut buffer = [0; 512];
        loop {
            let length = socket.recv(&mut buffer).await?;
            let received = timestamp();
            let answer = Answer::parse(&buffer[..length])?;
            // An answer to another query may be late, or forged (RFC 5905 §8, the bogus test).
            if answer.origin == sent {
                return self.judge(&answer, sent, received);
            }
        }
    }

    fn judge(
        &self,
        answer: &Answer,
        sent: u64,
        received: u64,
    ) -> Result<Cow<'static, str>, Failure> {
        let mismatch = |detail: String| Err(Failure::new(FailureKind::Mismatch, detail));
        if answer.stratum == 0 {
            let code = String::from_utf8_lossy(&answer.reference).into_owned();
            return mismatch(format!("kiss-o'-death `{}`", code.trim_end_matches('\0')));
        }
        if answer.leap == UNSYNCHRONIZED || answer.stratum > 15 {
            return mismatch("the server's clock is not synchronized".to_owned());
        }
        if answer.stratum > self.max_stratum {
            return mismatch(format!("stratum {}", answer.stratum));
        }
        let offset = offset([sent, answer.received, answer.transmitted, received]);
        match self.max_offset {
            Some(most) if offset > most => mismatch(format!("the clocks differ by {offset:?}")),
            Some(_) | None => Ok(Cow::Owned(format!("stratum {}", answer.stratum))),
        }
    }
}

/// The fields of an answer that are judged. Timestamps are 32.32 fixed-point seconds.
#[derive(Debug)]
struct Answer {
    leap: u8,
    stratum: u8,
    reference: [u8; 4],
    origin: u64,
    received: u64,
    transmitted: u64,
}

impl Answer {
    fn parse(datagram: &[u8]) -> Result<Self, Failure> {
        let protocol = |detail: String| Failure::new(FailureKind::Protocol, detail);
        if datagram.len() < LENGTH {
            return Err(protocol(format!(
                "a datagram of {} bytes is no NTP message",
                datagram.len()
            )));
        }
        let mode = datagram[0] & 0b111;
        if mode != MODE_SERVER {
            return Err(protocol(format!("mode {mode} is not a server's")));
        }
        let timestamp = |at: usize| {
            datagram[at..]
                .first_chunk()
                .map_or(0, |bytes| u64::from_be_bytes(*bytes))
        };
        Ok(Self {
            leap: datagram[0] >> 6,
            stratum: datagram[1],
            reference: datagram[12..].first_chunk().copied().unwrap_or_default(),
            origin: timestamp(24),
            received: timestamp(32),
            transmitted: timestamp(40),
        })
    }
}

/// The wall clock as an NTP timestamp (RFC 5905 §6); the era wraps in 2036.
fn timestamp() -> u64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let seconds = now.as_secs().wrapping_add(ERA_TO_UNIX) << 32;
    let fraction = (u64::from(now.subsec_nanos()) << 32) / 1_000_000_000;
    seconds | fraction
}

/// How far the clocks are apart, either way: half of (T2 - T1) + (T3 - T4), RFC 5905 §8. Differences
/// wrap, so an era's end changes nothing.
fn offset([t1, t2, t3, t4]: [u64; 4]) -> Duration {
    let there = t2.wrapping_sub(t1).cast_signed();
    let back = t3.wrapping_sub(t4).cast_signed();
    let mean = (i128::from(there) + i128::from(back)) / 2;
    let nanoseconds = (mean.unsigned_abs() * 1_000_000_000) >> 32;
    Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::offset;

    #[test]
    fn the_offset_is_the_mean_of_both_ways_and_survives_the_end_of_an_era() {
        const SECOND: u64 = 1 << 32;
        let cases = [
            // equal clocks, 1 s each way
            ([0, SECOND, SECOND, 2 * SECOND], 0),
            // the server is 10 s ahead
            ([0, 11 * SECOND, 11 * SECOND, 2 * SECOND], 10),
            // the server is 10 s behind
            ([20 * SECOND, 11 * SECOND, 11 * SECOND, 22 * SECOND], 10),
            // the era ends between sending and the server's answer
            ([u64::MAX, SECOND - 1, SECOND - 1, 2 * SECOND - 1], 0),
        ];
        for (times, want) in cases {
            assert_eq!(offset(times), Duration::from_secs(want), "{times:?}");
        }
    }
}
