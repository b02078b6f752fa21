//! One scrape's page: what was counted and what is, in one of Prometheus' two text formats.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabelSet, EncodeMetric as _, prometheus_text, text,
};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::catalogue::{self as metric, Described};
use super::histograms::ByState;
use super::sample::{PeerSample, Sample};
use super::{Metrics, counted};
use crate::control::protocol::{Count, Packets, ServiceStatus};
use crate::events::{Completion, MapWriter};
use crate::health::FailureKind;
use crate::state::ServiceState;
use crate::{bfd, bgp};

/// How a page is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The Prometheus text format 0.0.4, which everything reads.
    Text,
    /// OpenMetrics 1.0.0, for those who ask for it.
    OpenMetrics,
}

impl Format {
    /// What an `Accept` header asks for.
    pub fn accepted_by(header: &str) -> Self {
        if header.contains("application/openmetrics-text") {
            Self::OpenMetrics
        } else {
            Self::Text
        }
    }

    /// The `Content-Type`.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text => prometheus_text::CONTENT_TYPE,
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// The modes in which a program can be attached.
const MODES: [&str; 2] = ["native", "generic"];
const UP: &str = "up";
const DOWN: &str = "down";

type Label<'a> = (&'static str, &'a str);

/// Writes a page, which will take about `length` bytes.
pub(super) fn write(
    metrics: &Arc<Metrics>,
    sample: Sample,
    format: Format,
    length: usize,
) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Page {
        metrics: Arc::clone(metrics),
        sample,
    }));
    let mut text = String::with_capacity(length);
    match format {
        Format::Text => prometheus_text::encode(&mut text, &registry)?,
        Format::OpenMetrics => text::encode(&mut text, &registry)?,
    }
    Ok(text)
}

#[derive(Debug)]
struct Page {
    metrics: Arc<Metrics>,
    sample: Sample,
}

impl Collector for Page {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.node(&mut encoder)?;
        self.services(&mut encoder)?;
        self.checks(&mut encoder)?;
        self.transitions(&mut encoder)?;
        self.packets(&mut encoder)?;
        self.peers(&mut encoder)?;
        self.bfd(&mut encoder)?;
        self.process(&mut encoder)
    }
}

impl Page {
    fn node(&self, to: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let status = &self.sample.status;
        let build = &metric::BUILD;
        to.encode_descriptor(build.name, build.help, build.unit.as_ref(), build.kind)?
            .encode_info(&[
                ("version", status.version.as_str()),
                ("node", status.node.as_str()),
            ])?;
        let started = status.started_at.as_millisecond() as f64 / 1000.0;
        gauge(to, &metric::START, started)?;
        gauge(to, &metric::DECIDED, whole(status.generation.decided))?;
        gauge(to, &metric::APPLIED, whole(status.generation.data_plane))
    }

    fn services(&self, to: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let services = &self.sample.status.services;
        let states = services.iter().flat_map(|service| {
            ServiceState::ALL.map(|state| {
                let labels = [
                    ("service", service.name.as_str()),
                    ("state", state.as_str()),
                ];
                (labels, flag(service.state == state))
            })
        });
        gauges(to, &metric::SERVICE_STATE, states)?;
        let each = |value: fn(&ServiceStatus) -> f64| {
            services
                .iter()
                .map(move |service| ([("service", service.name.as_str())], value(service)))
        };
        let age = each(|service| whole(service.for_ms) / 1000.0);
        gauges(to, &metric::SERVICE_AGE, age)?;
        let addresses = each(|service| whole(service.address_count as u64));
        gauges(to, &metric::SERVICE_ADDRESSES, addresses)?;
        let prefixes = each(|service| whole(service.announced as u64));
        gauges(to, &metric::SERVICE_PREFIXES, prefixes)?;
        let held = each(|service| whole(service.held_left_ms.unwrap_or(0)) / 1000.0);
        gauges(to, &metric::SERVICE_HELD, held)?;
        let damped = || {
            services.iter().filter_map(|service| {
                let labels = [("service", service.name.as_str())];
                Some((labels, service.penalty?, service.suppressed))
            })
        };
        let penalties = damped().map(|(labels, penalty, _)| (labels, penalty));
        gauges(to, &metric::SERVICE_PENALTY, penalties)?;
        let suppressed = damped().map(|(labels, _, suppressed)| (labels, flag(suppressed)));
        gauges(to, &metric::SERVICE_SUPPRESSED, suppressed)?;
        let transitions = self.metrics.services.iter().flat_map(|service| {
            ServiceState::ALL
                .iter()
                .zip(&service.transitions)
                .map(move |(state, count)| {
                    let labels = [("service", service.name.as_str()), ("to", state.as_str())];
                    (labels, counted(count))
                })
        });
        counters(to, &metric::TRANSITIONS, transitions)
    }

    fn checks(&self, to: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let passing = self.sample.status.services.iter().flat_map(|service| {
            service.checks.iter().filter_map(move |check| {
                let labels = [
                    ("service", service.name.as_str()),
                    ("check", check.name.as_str()),
                ];
                match check.verdict.as_str() {
                    UP => Some((labels, 1.0)),
                    DOWN => Some((labels, 0.0)),
                    _not_yet => None,
                }
            })
        });
        gauges(to, &metric::CHECK_PASSING, passing)?;
        let outcomes = || std::iter::once("pass").chain(FailureKind::ALL.map(FailureKind::as_str));
        let results = self.metrics.services.iter().flat_map(|service| {
            service.checks.iter().flat_map(move |check| {
                outcomes()
                    .zip(&check.results)
                    .map(|(outcome, count)| (outcome, counted(count)))
                    // Most kinds of failure never happen to a check.
                    .filter(|(outcome, count)| *outcome == "pass" || *count > 0)
                    .map(move |(outcome, count)| {
                        let labels = [
                            ("service", service.name.as_str()),
                            ("check", check.name.as_str()),
                            ("outcome", outcome),
                        ];
                        (labels, count)
                    })
            })
        });
        counters(to, &metric::CHECK_RESULTS, results)?;
        let recorded = &self.metrics.histograms;
        let durations = recorded
            .durations
            .iter()
            .filter(|(kind, _)| *kind != "listener")
            .map(|(kind, durations)| ([("type", kind.as_str())], durations));
        histograms(to, &metric::CHECK_DURATION, durations)?;
        let delays: [([Label<'_>; 0], _); 1] = [([], &recorded.delays)];
        histograms(to, &metric::CHECK_DELAY, delays)
    }

    fn transitions(&self, to: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let outcomes = Completion::ALL
            .iter()
            .zip(&self.metrics.completed)
            .map(|(outcome, count)| ([("outcome", outcome.as_str())], counted(count)));
        counters(to, &metric::COMPLETED, outcomes)?;
        let recorded = &self.metrics.histograms;
        histograms(to, &metric::PHASE_DECIDED, by_state(&recorded.decided))?;
        let writers = [
            (MapWriter::Kernel, &recorded.by_kernel),
            (MapWriter::Controller, &recorded.by_controller),
        ];
        let written = writers.into_iter().flat_map(|(by, histograms)| {
            by_state(histograms)
                // The kernel never takes a service anywhere but down.
                .filter(move |([(_, to)], _)| by == MapWriter::Controller || *to == DOWN)
                .map(move |([to], histogram)| ([to, ("by", by.as_str())], histogram))
        });
        histograms(to, &metric::PHASE_DATA_PLANE, written)?;
        let sent = recorded.sent();
        let routes = sent.iter().map(|((state, peer), histogram)| {
            ([("to", *state), ("peer", peer.as_str())], histogram)
        });
        histograms(to, &metric::PHASE_ROUTES, routes)?;
        histograms(to, &metric::PHASE_TOTAL, by_state(&recorded.total))
    }

    fn packets(&self, to: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let status = &self.sample.status;
        let unowned = std::iter::once(("", &status.packets));
        let all = status
            .services
            .iter()
            .map(|service| (service.name.as_str(), &service.packets))
            .chain(unowned);
        counters(to, &metric::PACKETS, of(all.clone(), |count| count.packets))?;
        counters(to, &metric::BYTES, of(all, |count| count.bytes))?;
        let modes = status.interfaces.iter().flat_map(|interface| {
            MODES.map(|mode| {
                let labels = [("interface", interface.name.as_str()), ("mode", mode)];
                (labels, flag(interface.mode == mode))
            })
        });
        gauges(to, &metric::INTERFACE_MODE, modes)
    }

    fn peers(&self, to: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let now = Instant::now();
        let peers = &self.sample.peers;
        let states = peers.iter().flat_map(|peer| {
            bgp::State::ALL.map(|state| {
                let labels = [("peer", &*peer.name), ("state", state.as_str())];
                (labels, flag(peer.bgp.state == state))
            })
        });
        gauges(to, &metric::PEER_STATE, states)?;
        let uptimes = peers.iter().map(|peer| {
            let uptime = if peer.bgp.state == bgp::State::Established {
                now.saturating_duration_since(peer.bgp.since).as_secs_f64()
            } else {
                0.0
            };
            ([("peer", &*peer.name)], uptime)
        });
        gauges(to, &metric::PEER_UPTIME, uptimes)?;
        let established = peers
            .iter()
            .map(|peer| ([("peer", &*peer.name)], peer.bgp.established_count));
        counters(to, &metric::PEER_ESTABLISHED, established)?;
        counters(to, &metric::PEER_MESSAGES, peers.iter().flat_map(messages))?;
        let prefixes = peers
            .iter()
            .map(|peer| ([("peer", &*peer.name)], whole(peer.bgp.prefixes as u64)));
        gauges(to, &metric::PEER_PREFIXES, prefixes)?;
        let applied = peers.iter().filter_map(|peer| {
            let (generation, _) = peer.bgp.applied?;
            Some(([("peer", &*peer.name)], whole(generation)))
        });
        gauges(to, &metric::PEER_APPLIED, applied)
    }

    fn bfd(&self, to: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let sessions = || {
            self.sample
                .peers
                .iter()
                .filter_map(|peer| Some((&*peer.name, peer.bfd.as_ref()?)))
        };
        let states = sessions().flat_map(|(peer, session)| {
            bfd::State::ALL.map(|state| {
                let word = match state {
                    bfd::State::AdminDown => "admin_down",
                    bfd::State::Down => DOWN,
                    bfd::State::Init => "init",
                    bfd::State::Up => UP,
                };
                (
                    [("peer", peer), ("state", word)],
                    flag(session.state == state),
                )
            })
        });
        gauges(to, &metric::BFD_STATE, states)?;
        let up = sessions().map(|(peer, session)| ([("peer", peer)], session.times_up));
        counters(to, &metric::BFD_UP, up)?;
        let packets = sessions().flat_map(|(peer, session)| {
            [
                ("sent", session.packets.sent),
                ("received", session.packets.received),
            ]
            .map(|(direction, count)| ([("peer", peer), ("direction", direction)], count))
        });
        counters(to, &metric::BFD_PACKETS, packets)
    }

    fn process(&self, to: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let process = &self.sample.process;
        for (described, value) in [
            (&metric::MEMORY, process.resident_bytes),
            (&metric::DESCRIPTORS, process.open_descriptors),
            (&metric::MOST_DESCRIPTORS, process.most_descriptors),
        ] {
            let value: Option<([Label<'_>; 0], f64)> = value.map(|value| ([], whole(value)));
            gauges(to, described, value)?;
        }
        let cpu: Option<([Label<'_>; 0], f64)> = process.cpu.map(|time| ([], time.as_secs_f64()));
        counters(to, &metric::CPU, cpu)
    }
}

fn by_state(histograms: &ByState) -> impl Iterator<Item = ([Label<'static>; 1], &Histogram)> {
    ServiceState::ALL
        .into_iter()
        .zip(histograms)
        // No transition leads back to init.
        .filter(|(state, _)| *state != ServiceState::Init)
        .map(|(state, histogram)| ([("to", state.as_str())], histogram))
}

fn of<'a>(
    all: impl Iterator<Item = (&'a str, &'a Packets)>,
    value: fn(&Count) -> u64,
) -> impl Iterator<Item = ([Label<'a>; 2], u64)> {
    all.flat_map(move |(service, packets)| {
        packets.iter().map(move |(reason, count)| {
            let labels = [("service", service), ("reason", reason.as_str())];
            (labels, value(count))
        })
    })
}

fn messages(peer: &PeerSample) -> impl Iterator<Item = ([Label<'_>; 3], u64)> {
    let counts = peer.bgp.messages;
    [("sent", counts.sent), ("received", counts.received)]
        .into_iter()
        .flat_map(move |(direction, counts)| {
            [
                ("open", counts.open),
                ("update", counts.update),
                ("notification", counts.notification),
                ("keepalive", counts.keepalive),
                ("route_refresh", counts.route_refresh),
            ]
            .map(|(kind, count)| {
                let labels = [
                    ("peer", &*peer.name),
                    ("direction", direction),
                    ("type", kind),
                ];
                (labels, count)
            })
        })
}

fn flag(value: bool) -> f64 {
    f64::from(u8::from(value))
}

/// A whole number; exact up to 2^53.
const fn whole(value: u64) -> f64 {
    value as f64
}

fn gauge(to: &mut DescriptorEncoder<'_>, described: &Described, value: f64) -> fmt::Result {
    let labels: [Label<'_>; 0] = [];
    gauges(to, described, [(labels, value)])
}

fn gauges<L: EncodeLabelSet>(
    to: &mut DescriptorEncoder<'_>,
    described: &Described,
    samples: impl IntoIterator<Item = (L, f64)>,
) -> fmt::Result {
    family(to, described, samples, |mut sample, value| {
        sample.encode_gauge(&value)
    })
}

fn counters<L: EncodeLabelSet, V: prometheus_client::encoding::EncodeCounterValue>(
    to: &mut DescriptorEncoder<'_>,
    described: &Described,
    samples: impl IntoIterator<Item = (L, V)>,
) -> fmt::Result {
    family(to, described, samples, |mut sample, value| {
        sample.encode_counter::<[Label<'_>; 0], _, f64>(&value, None)
    })
}

fn histograms<L: EncodeLabelSet, H: Borrow<Histogram>>(
    to: &mut DescriptorEncoder<'_>,
    described: &Described,
    samples: impl IntoIterator<Item = (L, H)>,
) -> fmt::Result {
    family(to, described, samples, |sample, histogram| {
        let histogram: &Histogram = histogram.borrow();
        histogram.encode(sample)
    })
}

/// A metric without samples is left out.
fn family<L: EncodeLabelSet, V>(
    to: &mut DescriptorEncoder<'_>,
    described: &Described,
    samples: impl IntoIterator<Item = (L, V)>,
    encode: impl Fn(prometheus_client::encoding::MetricEncoder<'_>, V) -> fmt::Result,
) -> fmt::Result {
    let mut samples = samples.into_iter().peekable();
    if samples.peek().is_none() {
        return Ok(());
    }
    let Described {
        name,
        unit,
        kind,
        help,
        ..
    } = described;
    let mut family = to.encode_descriptor(name, help, unit.as_ref(), *kind)?;
    for (labels, value) in samples {
        encode(family.encode_family(&labels)?, value)?;
    }
    Ok(())
}
