//! The `dns` check: one query over UDP or TCP.

mod exchange;
mod serial;

use std::borrow::Cow;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use domain::base::iana::{Class, Opcode, OptRcode, Rtype};
use domain::base::{Message, Name, Question};
use domain::rdata::AllRecordData;
use exchange::{ask, query};

use super::Subject;
use super::combine::every;
use super::probe::{Failure, targets};
use crate::config::Check;
use crate::config::check::DnsCheck;
use crate::health::{FailureKind, Outcome};

type Asked = Question<Name<Vec<u8>>>;

pub(super) struct DnsProbe {
    check: DnsCheck,
    /// How long a reference may take to answer: half of the run's time, so that it cannot fail the run.
    patience: Duration,
    targets: Vec<SocketAddr>,
    /// What to ask and which codes pass; an error when the settings cannot be parsed.
    wanted: Result<Wanted, String>,
}

struct Wanted {
    question: Asked,
    /// The query, but for its id.
    query: Message<Vec<u8>>,
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
        let question = Question::new(name, record, class);
        let query = query(&question, check.recursion, check.nsid.is_some())
            .map_err(|_| "the query does not fit into a message")?;
        Ok(Self {
            question,
            query,
            rcodes,
        })
    }
}

impl DnsProbe {
    pub(super) fn new(check: &DnsCheck, subject: &Subject<'_>) -> Self {
        Self {
            patience: Check::Dns(check.clone()).common().timeout() / 2,
            targets: targets(check.target, subject, check.port),
            wanted: Wanted::new(check),
            check: check.clone(),
        }
    }

    pub(super) async fn run(&self) -> Outcome {
        match &self.wanted {
            Ok(wanted) => every(&self.targets, |target| self.one(*target, wanted)).await,
            Err(error) => Outcome::fail(FailureKind::Resource, error.clone()),
        }
    }

    async fn one(&self, target: SocketAddr, wanted: &Wanted) -> Result<Cow<'static, str>, Failure> {
        let mut query = wanted.query.clone();
        query.header_mut().set_random_id();
        let Some(reference) = &self.check.serial else {
            let answer = ask(target, &query, self.check.transport).await?;
            return self.judge(&answer, wanted);
        };
        let reference_serial = serial::of_server(reference.server, &query, self.patience);
        let both =
            async { tokio::join!(ask(target, &query, self.check.transport), reference_serial) };
        let (answer, newest) = Box::pin(both).await;
        let answer = answer?;
        self.judge(&answer, wanted)?;
        serial::compare(&answer, newest, reference)
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
        if let Some(name) = &self.check.nsid {
            comes_from(answer, name)?;
        }
        if self.check.answer.is_some() || self.check.answer_matches.is_some() {
            self.search(answer)?;
        }
        Ok(match rcode {
            OptRcode::NOERROR => Cow::Borrowed("rcode NOERROR"),
            other => Cow::Owned(format!("rcode {other}")),
        })
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

/// Whether the answer carries the name server identifier (RFC 5001).
fn comes_from(answer: &Message<Vec<u8>>, name: &str) -> Result<(), Failure> {
    let opt = answer.opt();
    let identifier = opt.as_ref().and_then(|opt| opt.opt().nsid());
    match &identifier {
        Some(identifier) if identifier.as_slice() == name.as_bytes() => Ok(()),
        Some(identifier) => Err(Failure::new(
            FailureKind::Mismatch,
            format!(
                "the answer comes from `{}`",
                String::from_utf8_lossy(identifier.as_slice())
            ),
        )),
        None => Err(Failure::new(
            FailureKind::Mismatch,
            "the answer carries no name server identifier",
        )),
    }
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
