//! What is sent for a change is what a look at everything would find.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;
use crate::bgp::settings::resolve;
use crate::config::Bgp;
use crate::rib::NextHop;

const LIMIT: usize = 12;

fn settings() -> PeerSettings {
    let text = format!(
        "local_as = 64512\nrouter_id = \"10.0.0.1\"\n[[peers]]\nname = \"r1\"\naddress = \"10.0.1.2\"\n\
         remote_as = 65001\nservices = [\"dns\", \"web\"]\nmax_prefixes = {LIMIT}\n"
    );
    let config: Bgp = toml::from_str(&text).unwrap();
    resolve(&config).unwrap()[0].settings().clone()
}

/// A session over IPv4 that carries both families and has no next hop for IPv6.
fn encoder() -> Encoder {
    Encoder {
        local_as: 64512,
        external: true,
        four_octet_as: true,
        families: vec![Family::Ipv4, Family::Ipv6],
        extended_next_hop: false,
        configured: NextHop::default(),
        local_address: IpAddr::V4(Ipv4Addr::new(10, 0, 1, 1)),
        interface: NextHop::default(),
        link_local: None,
        communities: Vec::new(),
        only_to_customer: false,
    }
}

/// A wish: which prefix, of which service, with which MED.
type Wish = (u8, u8, u8);

fn prefix(host: u8) -> IpNet {
    match host % 4 {
        0 => IpAddr::V6(Ipv6Addr::new(0xFD00, 0, 0, 0, 0, 0, 0, host.into())).into(),
        _ => IpAddr::V4(Ipv4Addr::new(192, 168, 250, host)).into(),
    }
}

fn route((_, service, med): Wish) -> Route {
    let service = ["dns", "web", "ntp"][usize::from(service)];
    let attributes = Attributes {
        med: Some(med.into()),
        ..Attributes::default()
    };
    Route::new(service, attributes)
}

fn table(wishes: &[Wish]) -> BTreeMap<IpNet, Wish> {
    wishes.iter().map(|wish| (prefix(wish.0), *wish)).collect()
}

/// The next value: a copy of the last one with what differs changed, or one made from nothing.
fn desired(last: &DesiredRoutes, wanted: &BTreeMap<IpNet, Wish>, anew: bool) -> DesiredRoutes {
    let mut next = if anew {
        DesiredRoutes::new(0)
    } else {
        last.clone()
    };
    next.generation = last.generation + 1;
    let there: Vec<IpNet> = next.iter().map(|(prefix, _)| *prefix).collect();
    for gone in there.iter().filter(|prefix| !wanted.contains_key(*prefix)) {
        next.remove(*gone);
    }
    for (prefix, wish) in wanted {
        next.insert(*prefix, route(*wish));
    }
    next
}

proptest! {
    #[test]
    fn a_change_ends_where_a_look_at_everything_would(
        steps in prop::collection::vec(
            (prop::collection::vec((0u8..32, 0u8..3, 0u8..2), 0..28), any::<bool>()),
            1..10,
        ),
    ) {
        let settings = settings();
        let mut export = Export::new(encoder());
        let mut last = DesiredRoutes::new(0);
        let mut announced: BTreeMap<IpNet, u8> = BTreeMap::new();
        for (wishes, anew) in steps {
            let wanted = table(&wishes);
            let next = Arc::new(desired(&last, &wanted, anew));
            export.bring_to(&next, &settings).unwrap();
            let eligible: BTreeMap<IpNet, u8> = wanted
                .iter()
                .filter(|(prefix, (_, service, _))| prefix.addr().is_ipv4() && *service < 2)
                .map(|(prefix, (_, _, med))| (*prefix, *med))
                .collect();
            let over = eligible.len() > LIMIT;
            let ipv6 = wanted.iter().any(|(prefix, (_, service, _))| prefix.addr().is_ipv6() && *service < 2);
            prop_assert_eq!(export.held().len(), usize::from(over) + usize::from(ipv6));
            let want: BTreeMap<IpNet, u8> = eligible
                .into_iter()
                .filter(|(prefix, _)| !over || announced.contains_key(prefix))
                .collect();
            let got: BTreeMap<IpNet, u8> = export
                .routes()
                .into_iter()
                .map(|route| (route.prefix, u8::try_from(route.attributes.med.unwrap()).unwrap()))
                .collect();
            prop_assert_eq!(&got, &want);
            let again = export.bring_to(&next, &settings).unwrap();
            prop_assert_eq!(again.count, 0);
            announced = got;
            last = (*next).clone();
        }
    }
}
