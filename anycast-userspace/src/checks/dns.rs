//! The `dns` check: one query over UDP or TCP.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use domain::base::iana::{Class, Opcode, OptRcode, Rtype};
use domain::base::message_builder::PushError;
use domain::base::{Message, MessageBuilder, Name, Question};
use domain::rdata::AllRecordData;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UdpSocket;

use super::Subject;
use super::combine::every;
use super::probe::{Failure, targets};
use super::tcp::connect;
use crate::config::check::{DnsCheck, DnsTransport};
use crate::health::{FailureKind, Outcome};

/// Offered with EDNS (RFC 6891 §6.2.5); the value that operators agreed on to avoid fragments.
const PAYLOAD_SIZE: u16 = 1232;
/// Length of a message without any section (RFC 1035 §4.1.1).
const HEADER_LENGTH: usize = 12;

type Asked = Question<Name<Vec<u8>>>;

pub(super) struct DnsProbe {
    check: DnsCheck,
    targets: Vec<SocketAddr>,
    /// What to ask and which codes pass; an error when the settings cannot be parsed.
    wanted: Result<Wanted, String>,
}

struct Wanted {
    question: Asked,
    rcodes: Vec<OptRcode>,
}

impl Wanted {
    fn new(check: &DnsCheck) -> Result<Self, String> {
        let name =
            Name::from_str(&check.query).map_err(|error| format!("{}: {error}", check.query))?;
        let record =
            Rtype::from_str(&check.record).map_err(|error| format!("{}: {error}", check.record))?;
        let class =
            Class::from_str(&check.class).map_err(|error| format!("{}: {error}", check.class))?;
        let rcodes = check
            .rcode
            .iter()
            .map(|code| OptRcode::from_str(code).map_err(|()| format!("{code}: no response code")))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            question: Question::new(name, record, class),
            rcodes,
        })
    }
}

impl DnsProbe {
    pub(super) fn new(check: &DnsCheck, subject: &Subject<'_>) -> Self {
        Self {
            targets: targets(check.target, subject, check.port),
            wanted: Wanted::new(check),
            check: check.clone(),
        }
    }

    pub(super) async fn run(&self) -> Outcome {
        match &self.wanted {
            Ok(wanted) => every(&self.targets, |target| self.one(target, wanted)).await,
            Err(error) => Outcome::fail(FailureKind::Resource, error.clone()),
        }
    }

    async fn one(&self, target: SocketAddr, wanted: &Wanted) -> Result<Cow<'static, str>, Failure> {
        let query = query(&wanted.question, self.check.recursion)?;
        let answer = match self.check.transport {
            DnsTransport::Tcp => over_tcp(target, &query).await?,
            DnsTransport::Udp => {
                let answer = over_udp(target, &query).await?;
                if answer.header().tc() {
                    over_tcp(target, &query).await?
                } else {
                    answer
                }
            }
        };
        self.judge(&answer, wanted)
    }

    fn judge(
        &self,
        answer: &Message<Vec<u8>>,
        wanted: &Wanted,
    ) -> Result<Cow<'static, str>, Failure> {
        if !answer.header().qr() || answer.header().opcode() != Opcode::QUERY {
            return Err(protocol("what came back is not an answer to a query"));
        }
        let rcode = answer.opt_rcode();
        // A server that could not read the question need not repeat it.
        let repeats = !(answer.header_counts().qdcount() == 0 && rcode == OptRcode::FORMERR);
        if repeats {
            repeats_question(answer, &wanted.question)?;
        }
        if !wanted.rcodes.contains(&rcode) {
            return Err(Failure::new(
                FailureKind::Mismatch,
                format!("rcode {rcode}"),
            ));
        }
        if self.check.answer.is_some() || self.check.answer_matches.is_some() {
            self.search(answer)?;
        }
        Ok(Cow::Owned(format!("rcode {rcode}")))
    }

    fn search(&self, answer: &Message<Vec<u8>>) -> Result<(), Failure> {
        let mut seen = Vec::new();
        for record in answer.answer().map_err(malformed)? {
            let record = record.map_err(malformed)?;
            let data = record
                .to_any_record::<AllRecordData<_, _>>()
                .map_err(malformed)?
                .into_data()
                .to_string();
            let contains = self
                .check
                .answer
                .as_ref()
                .is_none_or(|text| data.contains(text.as_str()));
            let matches = self
                .check
                .answer_matches
                .as_ref()
                .is_none_or(|pattern| pattern.0.is_match(data.as_bytes()));
            if contains && matches {
                return Ok(());
            }
            seen.push(data);
        }
        let detail = if seen.is_empty() {
            "the answer holds no records".to_owned()
        } else {
            format!("the answer is {}", seen.join(", "))
        };
        Err(Failure::new(FailureKind::Mismatch, detail))
    }
}

fn query(question: &Asked, recursion: bool) -> Result<Message<Vec<u8>>, Failure> {
    let too_long = |_: PushError| {
        Failure::new(
            FailureKind::Resource,
            "the query does not fit into a message",
        )
    };
    let mut builder = MessageBuilder::new_vec();
    builder.header_mut().set_random_id();
    builder.header_mut().set_rd(recursion);
    let mut builder = builder.question();
    builder.push(question).map_err(too_long)?;
    let mut builder = builder.additional();
    builder
        .opt(|opt| {
            opt.set_udp_payload_size(PAYLOAD_SIZE);
            Ok(())
        })
        .map_err(too_long)?;
    Ok(builder.into_message())
}

/// Asks over UDP from a port of its own. A datagram with another id may be a late answer to someone
/// else's question: it is passed over, and only the timeout ends the wait.
async fn over_udp(
    target: SocketAddr,
    query: &Message<Vec<u8>>,
) -> Result<Message<Vec<u8>>, Failure> {
    let any: IpAddr = match target {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(target).await?;
    socket.send(query.as_slice()).await?;
    let mut buffer = vec![0; usize::from(PAYLOAD_SIZE)];
    loop {
        let length = socket.recv(&mut buffer).await?;
        if length < HEADER_LENGTH {
            return Err(protocol(format!(
                "a datagram of {length} bytes is no DNS message"
            )));
        }
        let answer = Message::from_octets(buffer[..length].to_vec()).map_err(malformed)?;
        if answer.header().id() == query.header().id() {
            return Ok(answer);
        }
    }
}

/// Asks over a TCP connection of its own (RFC 7766).
async fn over_tcp(
    target: SocketAddr,
    query: &Message<Vec<u8>>,
) -> Result<Message<Vec<u8>>, Failure> {
    let length = u16::try_from(query.as_slice().len()).map_err(malformed)?;
    let mut stream = connect(target).await?;
    let framed = [&length.to_be_bytes()[..], query.as_slice()].concat();
    stream.write_all(&framed).await?;
    let length = stream.read_u16().await?;
    let mut buffer = vec![0; usize::from(length)];
    stream.read_exact(&mut buffer).await?;
    let answer = Message::from_octets(buffer).map_err(malformed)?;
    let (want, got) = (query.header().id(), answer.header().id());
    if want != got {
        return Err(protocol(format!(
            "the answer's id is {got}, the query's is {want}"
        )));
    }
    Ok(answer)
}

fn repeats_question(answer: &Message<Vec<u8>>, asked: &Asked) -> Result<(), Failure> {
    let question = answer.sole_question().map_err(malformed)?;
    if question.qname() == asked.qname()
        && question.qtype() == asked.qtype()
        && question.qclass() == asked.qclass()
    {
        return Ok(());
    }
    Err(protocol(format!(
        "the answer is to another question: {question}"
    )))
}

fn protocol(detail: impl Into<Cow<'static, str>>) -> Failure {
    Failure::new(FailureKind::Protocol, detail)
}

fn malformed(error: impl std::fmt::Display) -> Failure {
    protocol(format!("malformed answer: {error}"))
}
