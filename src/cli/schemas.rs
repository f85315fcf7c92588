//! `ringfence schemas DIR`: writes what is generated. Tests compare it with what is committed.

use anyhow::{Context, Result};
use std::path::Path;

pub(super) fn run(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let openapi = serde_json::to_string_pretty(&crate::http::openapi())? + "\n";
    for (name, text) in [("openapi.json", openapi), ("config.md", crate::config::reference())] {
        let file = folder.join(name);
        std::fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}
