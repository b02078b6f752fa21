//! Maintenance files, and services that are disabled in the configuration.

use std::fs;

use anycast_tests::clock::Monotonic;
use anyhow::{Result, ensure};

use crate::site::Site;

#[test]
fn a_maintenance_file_takes_its_service_away_and_gives_it_back() -> Result<()> {
    let mut site = Site::new("word-file")?;
    let file = site.path("maintenance/dns");
    let setting = format!("maintenance_file = \"{}\"", file.display());
    let disable = format!("{setting}\non_maintenance = \"disable\"");
    site.configure(&[("dns", setting), ("web", disable)])?;
    site.start()?;
    site.announced(&["dns", "web"])?;

    let mark = site.events().mark();
    fs::create_dir_all(site.path("maintenance"))?;
    fs::write(&file, "new disks\nfor 1h\n")?;
    let written = Monotonic::now();
    let drained = site.enters(mark, "dns", "draining")?;
    let disabled = site.enters(mark, "web", "disabled")?;
    for event in [&drained, &disabled] {
        println!("noticed after {:?}", event.at().since(written));
        ensure!(event.reason.as_deref() == Some("new disks"), "{event}");
    }
    site.announced(&[])?;
    let word = site.service("dns")?["words"][0].clone();
    ensure!(
        word["source"] == "maintenance_file" && word["reason"] == "new disks",
        "{word}"
    );
    let left = word["left_ms"].as_u64().unwrap_or_default();
    ensure!((3_500_000..=3_600_000).contains(&left), "{word}");

    // A restart finds the file, and a command does not overrule it.
    site.stop()?;
    site.start()?;
    ensure!(site.service("dns")?["state"] == "down");
    let refused = site.control.run(&["undrain", "dns"]);
    let refused = refused.expect_err("held by the file").to_string();
    ensure!(
        refused.contains(&format!("remove {}", file.display())),
        "{refused}"
    );
    site.nothing_was_announced()?;

    fs::remove_file(&file)?;
    site.announced(&["dns", "web"])
}

#[test]
fn a_disabled_service_is_withdrawn_or_advertised_as_configured_and_never_checked() -> Result<()> {
    let mut site = Site::new("word-off")?;
    for service in ["dns", "web"] {
        fs::remove_file(site.health(service))?;
    }
    site.configure(&[
        ("dns", "disabled = true".to_owned()),
        (
            "web",
            "disabled = true\non_disabled = \"advertise\"".to_owned(),
        ),
    ])?;
    site.start()?;
    site.announced(&["web"])?;
    let (dns, web) = (site.service("dns")?, site.service("web")?);
    ensure!(
        dns["state"] == "disabled" && dns["words"][0]["source"] == "configuration",
        "{dns}"
    );
    ensure!(web["state"] == "up", "{web}");
    let refused = site
        .control
        .run(&["enable", "dns"])
        .expect_err("disabled")
        .to_string();
    ensure!(refused.contains("disabled = true"), "{refused}");
    site.control.run(&["disable", "web"])?;
    site.announced(&[])
}
