//! Every metric: its name, unit, type, labels and meaning. `docs/metrics.md` lists the same, and a test
//! holds the two together.

use std::borrow::Cow;

use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

/// One metric.
#[derive(Debug)]
pub struct Described {
    /// The name, without the suffixes that follow from unit and type.
    pub name: &'static str,
    /// The unit of its values.
    pub unit: Option<Unit>,
    /// Its type.
    pub kind: MetricType,
    /// Its labels, in order.
    pub labels: &'static [&'static str],
    /// What it says.
    pub help: &'static str,
}

impl Described {
    /// The name as a scrape has it. A histogram's samples add `_bucket`, `_sum` and `_count`.
    pub fn full_name(&self) -> String {
        let unit = self.unit.as_ref().map_or(Cow::Borrowed(""), |unit| {
            Cow::Owned(format!("_{}", unit.as_str()))
        });
        let suffix = match self.kind {
            MetricType::Counter => "_total",
            MetricType::Info => "_info",
            MetricType::Gauge | MetricType::Histogram | MetricType::Unknown => "",
        };
        format!("{}{unit}{suffix}", self.name)
    }

    /// The type's word.
    pub const fn kind_word(&self) -> &'static str {
        match self.kind {
            MetricType::Counter => "counter",
            // The text format knows no other for an info.
            MetricType::Gauge | MetricType::Info => "gauge",
            MetricType::Histogram => "histogram",
            MetricType::Unknown => "untyped",
        }
    }
}

macro_rules! catalogue {
    ($( $name:ident: $kind:ident $text:literal $(in $unit:ident)?, [$($label:literal),*], $help:literal; )*) => {
        $(
            pub(super) static $name: Described = Described {
                name: $text,
                unit: catalogue!(@unit $($unit)?),
                kind: MetricType::$kind,
                labels: &[$($label),*],
                help: $help,
            };
        )*

        /// Every metric, in the order of a scrape.
        pub static ALL: &[&Described] = &[$(&$name),*];
    };
    (@unit) => { None };
    (@unit $unit:ident) => { Some(Unit::$unit) };
}

catalogue! {
    BUILD: Info "anycast_build", ["version", "node"],
        "Always 1; the daemon's version and the node's name.";
    START: Gauge "anycast_start_time" in Seconds, [],
        "When the daemon started, in seconds since 1970.";
    DECIDED: Gauge "anycast_generation_decided", [],
        "The last generation that the controller has decided.";
    APPLIED: Gauge "anycast_generation_applied", [],
        "The last generation that the maps hold.";
    SERVICE_STATE: Gauge "anycast_service_state", ["service", "state"],
        "1 for the state that the service is in, 0 for the others.";
    SERVICE_AGE: Gauge "anycast_service_state_age" in Seconds, ["service"],
        "For how long the service has been in its state.";
    SERVICE_ADDRESSES: Gauge "anycast_service_addresses", ["service"],
        "Service Addresses of the service.";
    SERVICE_PREFIXES: Gauge "anycast_service_announced_prefixes", ["service"],
        "Prefixes that are announced for the service now.";
    SERVICE_HELD: Gauge "anycast_service_held" in Seconds, ["service"],
        "For how long yet hold-down or flap damping keeps the service from getting better, whatever its checks say; 0: nothing does.";
    SERVICE_PENALTY: Gauge "anycast_service_flap_penalty", ["service"],
        "The service's flap penalty: 1,000 for each withdrawal, halved in each half-life; absent without damping.";
    SERVICE_SUPPRESSED: Gauge "anycast_service_suppressed", ["service"],
        "1 while the service is suppressed by its flap penalty, 0 while it is not; absent without damping.";
    TRANSITIONS: Counter "anycast_service_transitions", ["service", "to"],
        "Transitions of the service, by the state entered.";
    CHECK_PASSING: Gauge "anycast_check_passing", ["service", "check"],
        "1 while the check passes, 0 while it fails; absent before its first full verdict.";
    CHECK_RESULTS: Counter "anycast_check_results", ["service", "check", "outcome"],
        "Runs of the check by outcome: pass, or the kind of failure.";
    CHECK_DURATION: Histogram "anycast_check_duration" in Seconds, ["type"],
        "How long runs of checks take, by type of check.";
    CHECK_DELAY: Histogram "anycast_check_delay" in Seconds, [],
        "By how much runs of checks start after they are due.";
    COMPLETED: Counter "anycast_transitions_completed", ["outcome"],
        "Transitions whose course has ended: done in both planes, superseded by the service's next, or stopping.";
    PHASE_DECIDED: Histogram "anycast_transition_decided" in Seconds, ["to"],
        "From the detection to the published decision, by the state entered.";
    PHASE_DATA_PLANE: Histogram "anycast_transition_data_plane" in Seconds, ["to", "by"],
        "From the detection to the written map, by the state entered and by who wrote: kernel or controller.";
    PHASE_ROUTES: Histogram "anycast_transition_routes" in Seconds, ["to", "peer"],
        "From the detection to the last byte of the announcement or withdrawal to the peer.";
    PHASE_TOTAL: Histogram "anycast_transition_duration" in Seconds, ["to"],
        "From the detection until both planes were done.";
    PACKETS: Counter "anycast_packets", ["service", "reason"],
        "Packets by service and by the reason of their verdict; without a service: of none.";
    BYTES: Counter "anycast_packets" in Bytes, ["service", "reason"],
        "Bytes of those packets, link-layer header included.";
    INTERFACE_MODE: Gauge "anycast_interface_mode", ["interface", "mode"],
        "1 for the mode in which the program is attached to the interface, 0 otherwise.";
    PEER_STATE: Gauge "anycast_bgp_peer_state", ["peer", "state"],
        "1 for the state of the session (RFC 4271), 0 for the others.";
    PEER_UPTIME: Gauge "anycast_bgp_peer_uptime" in Seconds, ["peer"],
        "For how long the session has been established; 0 while it is not.";
    PEER_ESTABLISHED: Counter "anycast_bgp_peer_established", ["peer"],
        "How often a session has been established.";
    PEER_MESSAGES: Counter "anycast_bgp_messages", ["peer", "direction", "type"],
        "BGP messages to and from the peer.";
    PEER_PREFIXES: Gauge "anycast_bgp_announced_prefixes", ["peer"],
        "Prefixes that the peer has been sent and not been sent a withdrawal of.";
    PEER_APPLIED: Gauge "anycast_bgp_generation_applied", ["peer"],
        "The last generation that the peer has been sent as a whole; absent without a session.";
    BFD_STATE: Gauge "anycast_bfd_session_state", ["peer", "state"],
        "1 for the state of the BFD session (RFC 5880), 0 for the others.";
    BFD_UP: Counter "anycast_bfd_session_up", ["peer"],
        "How often the BFD session has come up.";
    BFD_PACKETS: Counter "anycast_bfd_packets", ["peer", "direction"],
        "BFD packets to and from the peer.";
    MEMORY: Gauge "anycast_process_resident_memory" in Bytes, [],
        "Memory of the daemon that is resident.";
    DESCRIPTORS: Gauge "anycast_process_open_fds", [],
        "File descriptors that the daemon holds.";
    MOST_DESCRIPTORS: Gauge "anycast_process_max_fds", [],
        "File descriptors that the daemon may hold.";
    CPU: Counter "anycast_process_cpu" in Seconds, [],
        "Processor time of the daemon, user and system.";
}
