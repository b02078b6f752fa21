//! A zone's serial, compared with a reference server's (RFC 1982).

use std::borrow::Cow;
use std::net::SocketAddr;
use std::time::Duration;

use domain::base::Message;
use domain::rdata::Soa;

use super::exchange::ask;
use super::malformed;
use crate::checks::probe::Failure;
use crate::config::check::{DnsTransport, SerialReference};
use crate::health::FailureKind;

/// The serial that the reference has; none when it does not say within its time.
pub(super) async fn of_server(
    server: SocketAddr,
    query: &Message<Vec<u8>>,
    patience: Duration,
) -> Option<u32> {
    let answer = tokio::time::timeout(patience, ask(server, query, DnsTransport::Udp)).await;
    let answer = answer.ok()?.ok()?;
    of_answer(&answer).ok().flatten()
}

/// Fails when the answer's serial lags too far behind.
pub(super) fn compare(
    answer: &Message<Vec<u8>>,
    newest: Option<u32>,
    reference: &SerialReference,
) -> Result<Cow<'static, str>, Failure> {
    let own = of_answer(answer)?
        .ok_or_else(|| Failure::new(FailureKind::Mismatch, "the answer holds no SOA record"))?;
    let Some(newest) = newest else {
        return Ok(Cow::Owned(format!(
            "serial {own}; {} does not say its own",
            reference.server
        )));
    };
    let lag = lag(own, newest);
    if lag > reference.max_lag {
        let detail = format!(
            "serial {own} is {lag} behind {newest} of {}",
            reference.server
        );
        return Err(Failure::new(FailureKind::Mismatch, detail));
    }
    Ok(Cow::Owned(format!("serial {own}")))
}

/// By how much `own` is behind; nothing when it is ahead (RFC 1982 §3.2).
fn lag(own: u32, newest: u32) -> u32 {
    const HALF: u32 = 1 << 31;
    match newest.wrapping_sub(own) {
        behind if behind < HALF => behind,
        _ahead => 0,
    }
}

fn of_answer(answer: &Message<Vec<u8>>) -> Result<Option<u32>, Failure> {
    let mut records = answer.answer().map_err(malformed)?.limit_to::<Soa<_>>();
    let record = records.next().transpose().map_err(malformed)?;
    Ok(record.map(|record| record.data().serial().into_int()))
}

#[cfg(test)]
mod tests {
    use super::lag;

    #[test]
    fn the_lag_follows_serial_arithmetic_across_the_wrap() {
        let cases = [
            (7, 7, 0),
            (7, 9, 2),
            (9, 7, 0),
            (u32::MAX, 1, 2),
            (1, u32::MAX, 0),
        ];
        for (own, newest, want) in cases {
            assert_eq!(lag(own, newest), want, "{own} against {newest}");
        }
    }
}
