//! Every form of message that we send, read by two decoders that are not ours: tshark takes it apart, and
//! ExaBGP's reading of OPENs and UPDATEs must give back the routes that were wanted.

mod cases;
mod four_octets;
pub(crate) mod notifications;

use std::collections::BTreeMap;

use anycast_tests::peers::{dissect, exabgp_decode, in_namespace, run};
use anycast_userspace::rib::{Attributes, DesiredRoutes};
use serde_json::{Value, json};

use crate::node::{LIMIT, Node, runtime};
use crate::scripted::{KEEPALIVE, NOTIFICATION, Scripted, UPDATE, addresses, message, open};

use cases::{CASES, Case, INTERNAL};

/// All messages of one session up to its end, as they were on the wire.
async fn record(case: &Case) -> Vec<Vec<u8>> {
    let options = format!("passive = true\n{}", case.options);
    let mut node = Node::start_with(&[(1, case.remote_as, &options)]);
    let mut peer = if case.ipv6 {
        let [from, to] = ["fd00:1::2", "fd00:1::1"].map(|text| text.parse().unwrap());
        Scripted::connect_between(from, to).await.unwrap()
    } else {
        Scripted::connect(1).await.unwrap()
    };
    peer.send(&peer_open(case)).await.unwrap();
    peer.send(&message(KEEPALIVE, &[])).await.unwrap();
    node.established("peer1").await;
    node.want((case.wanted)()).await;
    // ROUTE-REFRESH for both families.
    for family in [1, 2] {
        peer.send(&message(5, &[0, family, 0, 1])).await.unwrap();
    }
    node.summary_until("peer1", |summary| {
        summary.messages.received.route_refresh == 2
    })
    .await;
    node.want(DesiredRoutes::new(0)).await;
    node.shutdown("moving to rack 7").await;
    let mut messages = Vec::new();
    let all = async {
        while let Ok((kind, body)) = peer.read().await {
            messages.push(message(kind, &body));
        }
    };
    tokio::time::timeout(LIMIT, all).await.unwrap();
    messages
}

/// The peer's OPEN: IPv4 and IPv6, route refresh, AS numbers of four octets, and what the case adds.
fn peer_open(case: &Case) -> Vec<u8> {
    let mut octets = open([10, 0, 1, 2], 90);
    let asn = u16::try_from(case.remote_as).unwrap().to_be_bytes();
    octets[20..22].copy_from_slice(&asn);
    let end = octets.len();
    octets[end - 2..].copy_from_slice(&asn);
    octets.extend_from_slice(case.capabilities);
    let length = u16::try_from(octets.len()).unwrap();
    octets[16..18].copy_from_slice(&length.to_be_bytes());
    let added = u8::try_from(case.capabilities.len()).unwrap();
    octets[28] += added;
    octets[30] += added;
    octets
}

fn check_fields(case: &Case, messages: &[Vec<u8>]) {
    let read = dissect(messages).unwrap();
    for one in &read {
        assert!(one.is_sound(), "{}: {one:#?}", case.name);
    }
    for (field, wanted) in case.fields {
        assert!(
            read.iter().any(|one| one.says(field, wanted)),
            "{}: {field} is nowhere {wanted:?}: {read:#?}",
            case.name
        );
    }
    for absent in case.absent {
        assert!(
            read.iter().all(|one| one.values(absent).is_empty()),
            "{}: {absent} is in {read:#?}",
            case.name
        );
    }
}

/// Next hop and attributes by prefix.
type Table = BTreeMap<String, (String, Value)>;

/// What ExaBGP holds after each UPDATE must be, at one moment, just what was wanted, and nothing at the end.
fn check_routes(case: &Case, messages: &[Vec<u8>]) {
    let wanted: Table = (case.wanted)()
        .iter()
        .map(|(prefix, route)| {
            let next_hop = case.next_hops[usize::from(prefix.addr().is_ipv6())];
            let attributes = expected(case, &route.attributes);
            (prefix.to_string(), (next_hop.to_owned(), attributes))
        })
        .collect();
    let (mut table, mut held, mut markers) = (Table::new(), false, 0);
    let values = exabgp_decode(case.remote_as, messages).unwrap();
    for value in &values {
        let message = &value["neighbor"]["message"];
        markers += usize::from(message["eor"].is_object());
        apply(&mut table, &message["update"]);
        held |= table == wanted;
        assert!(table.len() <= wanted.len(), "{}", case.name);
        if table.len() == wanted.len() {
            assert_eq!(table, wanted, "{}", case.name);
        }
    }
    assert!(held, "{}: never all routes", case.name);
    assert!(
        table.is_empty(),
        "{}: left at the end: {table:?}",
        case.name
    );
    let restarts = case
        .capabilities
        .windows(2)
        .any(|pair| matches!(pair, [64, 2 | 6]));
    assert_eq!(
        markers,
        if restarts { 2 } else { 0 },
        "{}: End-of-RIB",
        case.name
    );
    let open = &values[0]["neighbor"]["open"];
    assert_eq!(
        (&open["asn"], &open["hold_time"], &open["router_id"]),
        (&json!(64512), &json!(90), &json!("10.0.0.1")),
        "{}",
        case.name
    );
    assert_eq!(
        open["capabilities"]["1"]["families"],
        json!(["ipv4/unicast", "ipv6/unicast"])
    );
    assert_eq!(open["capabilities"]["65"]["asn4"], 64512);
}

fn apply(table: &mut Table, update: &Value) {
    for (_, routes) in update["withdraw"].as_object().into_iter().flatten() {
        for route in routes.as_array().into_iter().flatten() {
            table.remove(route["nlri"].as_str().unwrap());
        }
    }
    for (_, by_next_hop) in update["announce"].as_object().into_iter().flatten() {
        for (next_hop, routes) in by_next_hop.as_object().into_iter().flatten() {
            for route in routes.as_array().into_iter().flatten() {
                let prefix = route["nlri"].as_str().unwrap().to_owned();
                let attributes = plain(&update["attribute"]);
                table.insert(prefix, (next_hop.clone(), attributes));
            }
        }
    }
}

/// ExaBGP's attributes with one way of saying each thing.
fn plain(attributes: &Value) -> Value {
    let mut plain = attributes.clone();
    let fields = plain.as_object_mut().unwrap();
    fields.remove("confederation-path");
    let path = fields.remove("as-path").unwrap_or_default();
    fields.insert("as-path".to_owned(), flat(&path));
    // ExaBGP does not know OTC (35), which is optional and transitive, and shows its octets.
    if let Some(otc) = fields.remove("attribute-0x23-0xE0") {
        fields.insert("otc".to_owned(), otc);
    }
    if let Some(extended) = fields.get_mut("extended-community") {
        let words = extended
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["string"].clone());
        *extended = words.collect();
    }
    plain
}

/// The numbers of a path: ExaBGP 4 says them as a list, 5 segment by segment, `{"0": {"element": …, "value": […]}}`.
fn flat(path: &Value) -> Value {
    match path {
        Value::Object(segments) => segments
            .values()
            .flat_map(|segment| segment["value"].as_array().into_iter().flatten())
            .cloned()
            .collect(),
        Value::Null => json!([]),
        Value::Array(_) | Value::Bool(_) | Value::Number(_) | Value::String(_) => path.clone(),
    }
}

/// The attributes of a route as ExaBGP says them.
fn expected(case: &Case, attributes: &Attributes) -> Value {
    let internal = case.remote_as == INTERNAL;
    let path = if internal {
        0
    } else {
        1 + usize::from(attributes.prepend)
    };
    let mut fields = json!({ "origin": "igp", "as-path": vec![64512; path] });
    if case.options.contains("provider") {
        fields["otc"] = "0x0000fc00".into();
    }
    if let Some(med) = attributes.med {
        fields["med"] = med.into();
    }
    if internal {
        fields["local-preference"] = attributes.local_preference.unwrap_or(100).into();
    }
    if !attributes.communities.is_empty() {
        let pairs = attributes.communities.iter();
        fields["community"] = pairs
            .map(|one| json!([one.0 >> 16, one.0 & 0xFFFF]))
            .collect();
    }
    if !attributes.large_communities.is_empty() {
        let triples = attributes.large_communities.iter();
        fields["large-community"] = triples
            .map(|one| json!([one.global_administrator, one.local_data_1, one.local_data_2]))
            .collect();
    }
    if !attributes.extended_communities.is_empty() {
        let words = attributes.extended_communities.iter();
        fields["extended-community"] = words
            .map(|one| json!(one.to_string().replace("rt:", "target:")))
            .collect();
    }
    fields
}

#[test]
fn every_session_is_read_as_it_was_meant() {
    in_namespace(|| {
        runtime().block_on(async {
            addresses(1);
            for address in ["fd00:1::1/128", "fd00:1::2/128"] {
                run("ip", &["address", "add", address, "dev", "lo", "nodad"]).unwrap();
            }
            for case in &CASES {
                let messages = record(case).await;
                let updates = messages
                    .iter()
                    .filter(|octets| octets[18] == UPDATE)
                    .count();
                assert_eq!(updates, case.updates, "{}", case.name);
                check_fields(case, &messages);
                check_routes(case, &messages);
            }
        });
    });
}

#[test]
fn a_hard_reset_carries_the_shutdown_inside() {
    in_namespace(|| {
        runtime().block_on(async {
            addresses(1);
            let case = CASES
                .iter()
                .find(|case| case.name.contains("Hard Reset"))
                .unwrap();
            let messages = record(case).await;
            let last = messages.last().unwrap();
            assert_eq!(last[18], NOTIFICATION);
            // Cease, Hard Reset, and in it Cease, Administrative Shutdown with 16 octets of text.
            assert_eq!(last[19..24], [6, 9, 6, 2, 16]);
        });
    });
}
