//! What a degraded service is announced with.

use std::fs;

use anyhow::{Result, ensure};

use crate::site::{HOLD_DOWN, Site};

#[test]
fn a_degraded_service_reaches_the_router_with_its_own_metric_until_its_hold_down_is_over()
-> Result<()> {
    let mut site = Site::new("word-degraded")?;
    let shared = site.path("shared");
    fs::write(&shared, "")?;
    let more = format!(
        "[services.attributes.up]\nmed = 10\n[services.attributes.degraded]\nmed = 200\n\
         [[services.checks]]\nname = \"shared\"\ntype = \"file\"\npath = \"{}\"\nexpect = \"present\"\n\
         shared = true\ninterval = \"50ms\"\nsplay = \"0s\"\nrise = 1\nfall = 1\n",
        shared.display()
    );
    site.configure(&[("dns", more)])?;
    site.start()?;
    site.announced(&["dns"])?;
    site.routes_have("BGP.med: 10\n")?;

    let mark = site.events().mark();
    fs::remove_file(&shared)?;
    let degraded = site.enters(mark, "dns", "degraded")?;
    site.routes_have("BGP.med: 200\n")?;
    fs::write(&shared, "")?;
    let up = site.enters(mark, "dns", "up")?;
    let held = up.at().since(degraded.at());
    ensure!(held >= HOLD_DOWN, "up after {held:?}");
    site.routes_have("BGP.med: 10\n")?;
    let withdrawn = site.events().after(mark);
    let withdrawn = withdrawn
        .iter()
        .find(|event| event.kind == "route_withdrawn");
    ensure!(withdrawn.is_none(), "{withdrawn:?}");
    Ok(())
}
