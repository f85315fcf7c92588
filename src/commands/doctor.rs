//! `ringfence doctor`: what a support engineer would ask for. It reports numbers, versions and settings and opens no
//! tenant's keyspace, so it cannot contain customer text. It works while the server runs.

use super::check_config::describe;
use crate::{
    config::{ListenSettings, RootKeySource, Settings, StorageLocation},
    memory::exposures,
};
use anyhow::Result;
use cli::{ConnectionArgs, ServerArgs};
use serde_json::json;
use std::{
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    time::Duration,
};
use vault::{KeyMemoryKind, LocalProvider};

pub(super) fn run(global: &ConnectionArgs, args: &ServerArgs) -> Result<()> {
    let settings = super::settings(args)?;
    let mut checks = vec![
        ("root key", root_key(&settings)),
        ("key memory", key_memory()),
        ("open files", open_files(&settings)),
        ("storage", storage(&settings.storage)),
        ("models", models(&settings)),
        ("data plane", ready(&settings.data_plane)),
        ("control plane", ready(&settings.control_plane)),
    ];
    checks.extend(exposures().into_iter().map(|e| (e.setting, (false, format!("{}; {}", e.found, e.remedy)))));
    let document = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "system": system(),
        "cores": cores(),
        "settings": describe(&settings),
        "checks": checks.iter().map(|(name, (ok, found))| json!({ "check": name, "ok": ok, "found": found })).collect::<Vec<_>>(),
    });
    global.print(&document, |_| text(&checks))
}

type Check = (bool, String);

fn system() -> String {
    format!("{} {}", std::env::consts::OS, std::env::consts::ARCH)
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(0, usize::from)
}

fn text(checks: &[(&str, Check)]) -> String {
    let mut text = format!("ringfence {} on {}, {} cores\n", env!("CARGO_PKG_VERSION"), system(), cores());
    for (name, (ok, found)) in checks {
        text.push_str(&format!("{} {name}: {found}\n", if *ok { "ok  " } else { "warn" }));
    }
    text
}

fn root_key(settings: &Settings) -> Check {
    let path = match &settings.root_key {
        RootKeySource::Value(_) => return (true, "given by RINGFENCE_ROOT_KEY".to_owned()),
        RootKeySource::File(path) => path,
    };
    match LocalProvider::inspect_file(path) {
        Err(error) => (false, error.to_string()),
        Ok(()) if !path.exists() => (true, format!("{} does not exist; the first start creates it", path.display())),
        Ok(()) => (true, path.display().to_string()),
    }
}

/// Key memory of this process; the service may have another limit, and its log reports the result.
fn key_memory() -> Check {
    let keys = vault::key_memory();
    (keys.kind != KeyMemoryKind::Plain, format!("{} (for a process started like this one)", keys.kind))
}

/// Open files of this process; a service that is started differently may be allowed another number, which its log
/// reports.
fn open_files(settings: &Settings) -> Check {
    let descriptors = settings.descriptors;
    let enough = descriptors.namespaces == kernel::limits::NAMESPACES_OPEN_MAX;
    (enough, format!("{descriptors} (for a process started like this one)"))
}

fn storage(location: &StorageLocation) -> Check {
    match location {
        StorageLocation::Folder(path) => data_folder(path),
        StorageLocation::Remote(remote) => match journal::connect(&remote.url, &remote.options) {
            Ok(_) => (true, remote.url.to_string()),
            Err(error) => (false, format!("{:#}", anyhow::Error::new(error))),
        },
    }
}

fn data_folder(path: &Path) -> Check {
    if !path.exists() {
        return (true, format!("{} does not exist; the first start creates it", path.display()));
    }
    let (files, bytes) = folder_size(path);
    (true, format!("{}: {files} files, {} MiB", path.display(), bytes >> 20))
}

/// Number of files and bytes below a folder. Unreadable entries do not count.
fn folder_size(folder: &Path) -> (u64, u64) {
    let mut sum = (0, 0);
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let (files, bytes) = match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => folder_size(&entry.path()),
            Ok(metadata) => (1, metadata.len()),
            Err(_) => (0, 0),
        };
        sum = (sum.0 + files, sum.1 + bytes);
    }
    sum
}

fn models(settings: &Settings) -> Check {
    match crate::parts::load_models(&settings.models) {
        Err(error) => (false, format!("{error:#}")),
        Ok(models) => {
            let list: Vec<String> = models.list().iter().map(|m| format!("{} on {}", m.name, m.provider)).collect();
            let found = match models.reason() {
                Some(why) if list.is_empty() => (true, format!("none: {why}")),
                _ => (true, list.join(", ")),
            };
            models.stop();
            found
        }
    }
}

fn ready(listen: &ListenSettings) -> Check {
    if listen.tls.is_some() {
        return (true, format!("{} uses TLS; check https://{}/readyz", listen.address, listen.address));
    }
    match fetch_readyz(listen) {
        Ok(reply) if reply.starts_with("HTTP/1.1 200") => (true, format!("{} is ready", listen.address)),
        Ok(_) => (false, format!("{} answers, but is not ready", listen.address)),
        Err(error) => (false, format!("{} does not answer ({})", listen.address, error.kind())),
    }
}

fn fetch_readyz(listen: &ListenSettings) -> std::io::Result<String> {
    let wait = Duration::from_secs(2);
    let mut stream = TcpStream::connect_timeout(&listen.address, wait)?;
    stream.set_read_timeout(Some(wait))?;
    stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: doctor\r\nconnection: close\r\n\r\n")?;
    let mut reply = Vec::new();
    stream.take(16 << 10).read_to_end(&mut reply)?;
    Ok(String::from_utf8_lossy(&reply).into_owned())
}
