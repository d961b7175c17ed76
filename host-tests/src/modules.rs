//! The five modules, built with the harness and embedded in it, and where a proxy can read them as files.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use sha2::{Digest as _, Sha256};

/// One of the modules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Module {
    /// The filter's name, such as `phi-url`.
    pub name: &'static str,
    /// The bytes of the `.wasm` file.
    pub bytes: &'static [u8],
}

/// All four filters in one module.
pub const SUITE: Module = Module {
    name: "suite",
    bytes: include_bytes!(env!("SCRIM_MODULE_SUITE")),
};

/// The four filters as modules of their own, outermost first.
pub const CHAIN: [Module; 4] = [
    Module {
        name: "cache-control",
        bytes: include_bytes!(env!("SCRIM_MODULE_CACHE_CONTROL")),
    },
    Module {
        name: "oauth-scope",
        bytes: include_bytes!(env!("SCRIM_MODULE_OAUTH_SCOPE")),
    },
    Module {
        name: "phi-url",
        bytes: include_bytes!(env!("SCRIM_MODULE_PHI_URL")),
    },
    Module {
        name: "response-trim",
        bytes: include_bytes!(env!("SCRIM_MODULE_RESPONSE_TRIM")),
    },
];

/// Every module.
pub fn all() -> impl Iterator<Item = Module> {
    CHAIN.into_iter().chain([SUITE])
}

impl Module {
    /// The SHA-256 of the bytes, in hexadecimal.
    pub fn digest(&self) -> String {
        Sha256::digest(self.bytes)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    /// The file's name for people to copy, such as `phi-url.wasm`.
    pub fn file_name(&self) -> String {
        format!("{}.wasm", self.name)
    }

    /// Makes sure that the folder holds the module, and gives its path. The name holds the digest, so a file is never
    /// replaced under a running proxy.
    pub fn file_in(&self, folder: &Path) -> anyhow::Result<PathBuf> {
        let digest = self.digest();
        let path = folder.join(format!("{}-{}.wasm", self.name, digest.get(..12).unwrap_or(&digest)));
        let there = fs::metadata(&path).is_ok_and(|have| have.len() == self.bytes.len() as u64);
        if !there {
            let failed = || {
                format!(
                    "`{}` can't be written; choose another folder with --module-dir",
                    path.display()
                )
            };
            fs::create_dir_all(folder).with_context(failed)?;
            // Several threads may put it there at a time, and the last to finish changes nothing.
            let temporary = folder.join(format!(
                ".{}-{}-{:?}",
                self.name,
                std::process::id(),
                std::thread::current().id()
            ));
            fs::write(&temporary, self.bytes).with_context(failed)?;
            fs::rename(&temporary, &path).with_context(failed)?;
        }
        Ok(path)
    }
}

/// Where the modules' files are by default: `scrim-modules` beside the executable.
pub fn default_folder() -> anyhow::Result<PathBuf> {
    let executable = std::env::current_exe().context("the executable's own path is not known; pass --module-dir")?;
    let folder = executable
        .parent()
        .context("the executable has no folder; pass --module-dir")?;
    Ok(folder.join("scrim-modules"))
}
