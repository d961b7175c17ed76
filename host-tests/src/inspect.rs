//! What a proxy-wasm module is, before it is deployed: ABI version, imports and exports, what Envoy lacks of them, size, memory.
//!
//! Envoy finds out at load time, on every machine of the mesh, and then refuses the listener.

use std::fmt;

use anyhow::{Context as _, bail};
use serde::Serialize;
use wasmparser::{ExternalKind, Parser, Payload, TypeRef, Validator, WasmFeatures};

use crate::wasm;

/// What is in a module; see the module's documentation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// `0.1.0`, `0.2.0`, `0.2.1`, or another that the module declares; none: it is no proxy-wasm module.
    pub abi_version: Option<String>,
    /// The file's size in bytes.
    pub size: u64,
    /// The code section's size in bytes.
    pub code_size: u64,
    /// How many functions it defines.
    pub functions: u32,
    /// The memory, if there is one.
    pub memory: Option<Memory>,
    /// Whether it uses 128-bit SIMD.
    pub simd: bool,
    /// Imports as `module.name`, sorted.
    pub imports: Vec<String>,
    /// Those of the imports that Envoy 1.40 does not have for this ABI version: it would refuse the module.
    pub missing: Vec<String>,
    /// Exported functions, sorted.
    pub exports: Vec<String>,
    /// Custom sections and their sizes in bytes, in order.
    pub custom_sections: Vec<(String, u64)>,
}

/// A linear memory, in pages of 64 KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// The size at start.
    pub min_pages: u64,
    /// The module's own limit; none: the host's (1 GiB in Envoy).
    pub max_pages: Option<u64>,
}

/// Looks into a module without running it.
///
/// # Errors
///
/// When the bytes are no valid WebAssembly module, with what is wrong and where.
pub fn inspect(bytes: &[u8]) -> anyhow::Result<Report> {
    if !bytes.starts_with(b"\0asm") {
        bail!("not a WebAssembly module (it does not begin with `\\0asm`)");
    }
    Validator::new_with_features(WasmFeatures::all()).validate_all(bytes).context("not a valid WebAssembly module")?;
    let mut report = Report { size: bytes.len() as u64, ..Report::default() };
    for payload in Parser::new(0).parse_all(bytes) {
        report.note(payload?)?;
    }
    report.imports.sort();
    report.exports.sort();
    report.abi_version = report
        .exports
        .iter()
        .find_map(|name| name.strip_prefix("proxy_abi_version_"))
        .map(|version| version.replace('_', "."));
    let abi = report.abi_version.clone().unwrap_or_default();
    report.missing = report.imports.iter().filter(|import| !wasm::envoy_has(&abi, import)).cloned().collect();
    Ok(report)
}

impl Report {
    fn note(&mut self, payload: Payload<'_>) -> anyhow::Result<()> {
        match payload {
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let import = import?;
                    let what = match import.ty {
                        TypeRef::Func(_) | TypeRef::FuncExact(_) => "",
                        TypeRef::Memory(_) => " (memory)",
                        TypeRef::Table(_) => " (table)",
                        TypeRef::Global(_) => " (global)",
                        TypeRef::Tag(_) => " (tag)",
                    };
                    self.imports.push(format!("{}.{}{what}", import.module, import.name));
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export?;
                    if export.kind == ExternalKind::Func {
                        self.exports.push(export.name.to_owned());
                    }
                }
            }
            Payload::MemorySection(section) => {
                for memory in section {
                    let memory = memory?;
                    self.memory = Some(Memory { min_pages: memory.initial, max_pages: memory.maximum });
                }
            }
            Payload::CodeSectionStart { count, size, .. } => {
                self.functions = count;
                self.code_size = size.into();
            }
            Payload::CodeSectionEntry(body) if !self.simd => self.simd = uses_simd(&body)?,
            Payload::CustomSection(section) => {
                self.custom_sections.push((section.name().to_owned(), section.data().len() as u64));
            }
            _ => {}
        }
        Ok(())
    }
}

/// SIMD instructions are those behind the prefix 0xFD; the parser names them by their proposal.
fn uses_simd(body: &wasmparser::FunctionBody<'_>) -> anyhow::Result<bool> {
    for operator in body.get_operators_reader()? {
        if wasmparser_is_simd(&operator?) {
            return Ok(true);
        }
    }
    Ok(false)
}

macro_rules! simd_operators {
    ($(@$proposal:ident $operator:ident $({ $($argument:ident: $type:ty),* })? => $visit:ident ($($annotation:tt)*))*) => {
        fn wasmparser_is_simd(operator: &wasmparser::Operator<'_>) -> bool {
            match operator {
                $(wasmparser::Operator::$operator { .. } => {
                    matches!(stringify!($proposal), "simd" | "relaxed_simd")
                })*
                _ => false,
            }
        }
    };
}
wasmparser::for_each_operator!(simd_operators);

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.abi_version {
            Some(version) => writeln!(f, "proxy-wasm ABI {version}")?,
            None => writeln!(f, "no proxy-wasm module: it exports no `proxy_abi_version_..`")?,
        }
        writeln!(f, "size       {} bytes, of which code {} in {} functions", self.size, self.code_size, self.functions)?;
        match self.memory {
            Some(Memory { min_pages, max_pages: Some(max) }) => {
                writeln!(f, "memory     {} KiB at start, {} KiB at most", min_pages * 64, max * 64)?;
            }
            Some(Memory { min_pages, max_pages: None }) => {
                writeln!(f, "memory     {} KiB at start, no limit of its own", min_pages * 64)?;
            }
            None => writeln!(f, "memory     none")?,
        }
        writeln!(f, "simd       {}", if self.simd { "yes" } else { "no" })?;
        list(f, "imports", &self.imports)?;
        list(f, "exports", &self.exports)?;
        for (name, size) in &self.custom_sections {
            writeln!(f, "section    {name}, {size} bytes")?;
        }
        match self.missing.as_slice() {
            [] => write!(f, "envoy      has every import"),
            missing => {
                list(f, "MISSING", missing)?;
                write!(f, "envoy      would refuse this module: it does not have the imports above")
            }
        }
    }
}

fn list(f: &mut fmt::Formatter<'_>, what: &str, names: &[String]) -> fmt::Result {
    writeln!(f, "{what:<10} {}", names.len())?;
    names.iter().try_for_each(|name| writeln!(f, "  {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(text: &str) -> Report {
        inspect(&wat::parse_str(text).unwrap()).unwrap()
    }

    #[test]
    fn a_module_is_described() {
        let report = report(
            r#"(module
                (import "env" "proxy_log" (func (param i32 i32 i32) (result i32)))
                (import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))
                (memory (export "memory") 2 16)
                (func (export "proxy_abi_version_0_2_1"))
                (func (export "proxy_on_log") (param i32) (drop (i32x4.splat (local.get 0))))
                (@custom "note" "hello"))"#,
        );
        assert_eq!(report.abi_version.as_deref(), Some("0.2.1"));
        assert_eq!(report.imports, ["env.proxy_log", "wasi_snapshot_preview1.fd_write"]);
        assert_eq!(report.missing, [""; 0]);
        assert_eq!(report.exports, ["proxy_abi_version_0_2_1", "proxy_on_log"]);
        assert_eq!(report.memory, Some(Memory { min_pages: 2, max_pages: Some(16) }));
        assert_eq!(report.functions, 2);
        assert!(report.simd);
        assert_eq!(report.custom_sections, [("note".to_owned(), 5)]);
        let text = report.to_string();
        assert!(text.contains("proxy-wasm ABI 0.2.1") && text.contains("has every import"), "{text}");
    }

    #[test]
    fn what_envoy_lacks_is_named() {
        let report = report(
            r#"(module
                (import "env" "proxy_log" (func (param i32 i32 i32) (result i32)))
                (import "env" "proxy_get_log_level" (func (param i32) (result i32)))
                (import "env" "proxy_new_thing" (func))
                (import "other" "proxy_log" (func))
                (func (export "proxy_abi_version_0_2_0")))"#,
        );
        assert_eq!(report.missing, ["env.proxy_get_log_level", "env.proxy_new_thing", "other.proxy_log"]);
        assert!(!report.simd);
        assert!(report.to_string().contains("would refuse this module"));
    }

    #[test]
    fn what_is_no_module_is_an_error() {
        assert!(inspect(b"hello").is_err());
        assert!(inspect(b"\0asm\x01\0\0\0\xff").is_err());
    }
}
