//! `ringfence operator recover`: a new admin token for a data folder whose tokens are lost. The root key proves the
//! right to it, and the folder's lock proves that the server is stopped.

use anyhow::{Context, Result, anyhow};
use cli::{ConnectionArgs, ServerArgs};
use kernel::{OsEntropy, SystemClock};
use serde_json::json;
use std::sync::Arc;

pub(super) fn run(global: &ConnectionArgs, args: &ServerArgs) -> Result<()> {
    let settings = super::settings(args)?;
    if let Some(folder) = settings.storage.folder() {
        anyhow::ensure!(folder.is_dir(), "{} is not a data folder; give --data", folder.display());
    }
    let keys = crate::parts::keys(&settings)?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("the runtime does not start")?;
    let token = runtime.block_on(async {
        let with_causes = |e: kernel::Error| anyhow!("{}", crate::parts::chain(&e));
        let storage = crate::parts::storage(&settings).await?;
        registry::Registry::recover_operator(storage, keys, Arc::new(SystemClock::new()), Arc::new(OsEntropy))
            .await
            .map_err(with_causes)
    })?;
    let text = format!("operator token (shown only once, so store it now): {}", token.as_str());
    global.print(&json!({ "name": "recovered", "role": "admin", "token": token.as_str() }), |_| text)
}
