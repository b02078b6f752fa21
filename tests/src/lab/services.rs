//! The real servers of a node: NSD for the zone, nginx for the page. Both say which city they are in.

use std::fs;
use std::path::Path;

use anyhow::Context as _;

use super::topology::{City, SERVICE_V4, SERVICE_V6, ZONE};
use crate::netns::Namespace;
use crate::process::Process;

/// Starts NSD, its files under `directory`. It may bind the Service Addresses before they are there.
///
/// # Errors
/// When NSD is missing or its files cannot be written.
pub(super) fn start_dns(
    city: City,
    namespace: &Namespace,
    directory: &Path,
) -> anyhow::Result<Process> {
    let root = directory.display();
    let config = directory.join("nsd.conf");
    write(&directory.join("zone"), &zone(city))?;
    write(
        &config,
        &format!(
            "server:
  server-count: 1
  ip-address: {SERVICE_V4}
  ip-address: {SERVICE_V6}
  ip-freebind: yes
  username: \"\"
  chroot: \"\"
  zonesdir: \"{root}\"
  database: \"\"
  pidfile: \"{root}/nsd.pid\"
  xfrdfile: \"{root}/xfrd.state\"
  xfrdir: \"{root}\"
  zonelistfile: \"{root}/zone.list\"
  rrl-ratelimit: 0
  verbosity: 1
remote-control:
  control-enable: no
zone:
  name: {ZONE}
  zonefile: zone
"
        ),
    )?;
    let mut command = namespace.command("nsd")?;
    command.arg("-d").arg("-c").arg(&config);
    Process::spawn(
        &format!("NSD in {city}"),
        command,
        &directory.join("nsd.log"),
    )
}

fn zone(city: City) -> String {
    format!(
        "$ORIGIN {ZONE}.
$TTL 60
@ SOA ns hostmaster 1 3600 600 86400 60
@ NS ns
@ TXT \"{city}\"
ns A {SERVICE_V4}
ns AAAA {SERVICE_V6}
"
    )
}

/// Starts nginx, its files under `directory`.
///
/// # Errors
/// When nginx is missing or its files cannot be written.
pub(super) fn start_http(
    city: City,
    namespace: &Namespace,
    directory: &Path,
) -> anyhow::Result<Process> {
    let root = directory.display();
    let config = directory.join("nginx.conf");
    write(
        &config,
        &format!(
            "daemon off;
user root;
worker_processes 1;
pid {root}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 256; }}
http {{
  access_log off;
  client_body_temp_path {root}/body;
  proxy_temp_path {root}/proxy;
  fastcgi_temp_path {root}/fastcgi;
  uwsgi_temp_path {root}/uwsgi;
  scgi_temp_path {root}/scgi;
  server {{
    listen 80;
    listen [::]:80;
    default_type text/plain;
    location / {{ return 200 \"{city}\\n\"; }}
  }}
}}
"
        ),
    )?;
    let mut command = namespace.command("nginx")?;
    command.arg("-e").arg("stderr").arg("-c").arg(&config);
    Process::spawn(
        &format!("nginx in {city}"),
        command,
        &directory.join("nginx.log"),
    )
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}
