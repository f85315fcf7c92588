//! `ringfence schemas DIR`: writes the generated files. Tests compare them with the committed ones.

use anyhow::{Context, Result};
use std::path::Path;

pub(super) fn run(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let openapi = serde_json::to_string_pretty(&crate::http::openapi())? + "\n";
    for (name, text) in [("openapi.json", openapi), ("config.md", crate::config::reference())] {
        let file = folder.join(name);
        std::fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}
