//! `ringfence doctor`: what a support person would ask for. Numbers, versions and settings; it
//! opens no tenant's place, so no customer text can be in it. Works while the server runs.

use super::{Global, ServerArgs, answer, check_config::describe};
use crate::{
    config::{Listen, Place, RootKey, Settings},
    memory::exposures,
};
use anyhow::Result;
use serde_json::{Value, json};
use std::{
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    time::Duration,
};
use vault::{KeyMemoryKind, LocalProvider};

pub(super) fn run(global: &Global, args: &ServerArgs) -> Result<()> {
    let settings = args.settings()?;
    let mut checks = vec![
        ("root key", root_key(&settings)),
        ("key memory", key_memory()),
        ("open files", open_files(&settings)),
        ("storage", storage(&settings.place)),
        ("models", models(&settings)),
        ("data plane", ready(&settings.data_plane)),
        ("control plane", ready(&settings.control_plane)),
    ];
    checks.extend(exposures().into_iter().map(|e| (e.setting, (false, format!("{}; {}", e.found, e.remedy)))));
    let document = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "system": format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "settings": describe(&settings),
        "checks": checks.iter().map(|(name, (ok, found))| json!({ "check": name, "ok": ok, "found": found })).collect::<Vec<_>>(),
    });
    answer(global, &document, &text(&document, &checks))
}

type Check = (bool, String);

fn text(document: &Value, checks: &[(&str, Check)]) -> String {
    let mut text = format!(
        "ringfence {} on {}, {} cores\n",
        document["version"].as_str().unwrap_or(""),
        document["system"].as_str().unwrap_or(""),
        document["cores"]
    );
    for (name, (ok, found)) in checks {
        text.push_str(&format!("{} {name}: {found}\n", if *ok { "ok  " } else { "look" }));
    }
    text
}

fn root_key(settings: &Settings) -> Check {
    let path = match &settings.root_key {
        RootKey::Value(_) => return (true, "given by RINGFENCE_ROOT_KEY".to_owned()),
        RootKey::File(path) => path,
    };
    match LocalProvider::inspect_file(path) {
        Err(error) => (false, error.to_string()),
        Ok(()) if !path.exists() => (true, format!("{} is not there; the first start makes it", path.display())),
        Ok(()) => (true, path.display().to_string()),
    }
}

/// As this command has it; the service's limit may be another, and its log says what it came to.
fn key_memory() -> Check {
    let keys = vault::key_memory();
    (keys.kind != KeyMemoryKind::Plain, format!("{} (for a process started as this one)", keys.kind))
}

/// As this command has it; a service started otherwise may be allowed another number, and its log says which.
fn open_files(settings: &Settings) -> Check {
    let descriptors = settings.descriptors;
    let enough = descriptors.namespaces == kernel::limits::NAMESPACES_OPEN_MAX;
    (enough, format!("{descriptors} (for a process started as this one)"))
}

fn storage(place: &Place) -> Check {
    match place {
        Place::Folder(path) => data_folder(path),
        Place::Remote(remote) => match journal::connect(&remote.url, &remote.options) {
            Ok(_) => (true, remote.url.to_string()),
            Err(error) => (false, format!("{:#}", anyhow::Error::new(error))),
        },
    }
}

fn data_folder(path: &Path) -> Check {
    if !path.exists() {
        return (true, format!("{} is not there; the first start makes it", path.display()));
    }
    let (files, bytes) = weigh(path);
    (true, format!("{}: {files} files, {} MiB", path.display(), bytes >> 20))
}

/// Files and bytes below a folder. What cannot be read does not count.
fn weigh(folder: &Path) -> (u64, u64) {
    let mut sum = (0, 0);
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let (files, bytes) = match entry.metadata() {
            Ok(facts) if facts.is_dir() => weigh(&entry.path()),
            Ok(facts) => (1, facts.len()),
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

fn ready(listen: &Listen) -> Check {
    if listen.tls.is_some() {
        return (true, format!("{} speaks TLS; ask https://{}/readyz", listen.address, listen.address));
    }
    match ask(listen) {
        Ok(reply) if reply.starts_with("HTTP/1.1 200") => (true, format!("{} is ready", listen.address)),
        Ok(_) => (false, format!("{} answers, but is not ready", listen.address)),
        Err(error) => (false, format!("{} does not answer ({})", listen.address, error.kind())),
    }
}

fn ask(listen: &Listen) -> std::io::Result<String> {
    let wait = Duration::from_secs(2);
    let mut stream = TcpStream::connect_timeout(&listen.address, wait)?;
    stream.set_read_timeout(Some(wait))?;
    stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: doctor\r\nconnection: close\r\n\r\n")?;
    let mut reply = Vec::new();
    stream.take(16 << 10).read_to_end(&mut reply)?;
    Ok(String::from_utf8_lossy(&reply).into_owned())
}
