//! What a proxy-wasm module is, before it is deployed: ABI version, imports and exports, what Envoy lacks of them, size, memory.
//!
//! 1. Envoy finds out at load time, on every machine of the mesh, and then refuses the listener.
//! 2. It refuses a module that imports what it does not have for the module's ABI version, or with other types; that exports one of
//!    Envoy's callbacks with other types, even one that is never called; that exports no memory or no allocator.
//! 3. Other things load, but not as their authors think: these are warnings.

use std::fmt;

use anyhow::{Context as _, bail};
use serde::Serialize;
use wasmparser::{ExternalKind, FuncType, Parser, Payload, TypeRef, Validator, WasmFeatures};

use crate::wasm::{self, Abi};

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
    /// What else is wrong, the worst first.
    pub problems: Vec<Problem>,
    /// Exported functions, sorted.
    pub exports: Vec<String>,
    /// Custom sections and their sizes in bytes, in order.
    pub custom_sections: Vec<(String, u64)>,
}

/// Something that is wrong with a module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// What comes of it.
    pub severity: Severity,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub mend: String,
}

/// What comes of a [`Problem`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Envoy refuses the module.
    Refuse,
    /// Envoy loads it, but does something else than its author may think.
    Warn,
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
    Validator::new_with_features(WasmFeatures::all())
        .validate_all(bytes)
        .context("not a valid WebAssembly module")?;
    let mut report = Report {
        size: bytes.len() as u64,
        ..Report::default()
    };
    let mut types = Types::default();
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload?;
        types.note(&payload)?;
        report.note(payload)?;
    }
    report.imports.sort();
    let declared = |name: &String| {
        name.strip_prefix("proxy_abi_version_")
            .map(|version| version.replace('_', "."))
    };
    // Envoy takes the first one that it knows.
    let versions: Vec<String> = report.exports.iter().filter_map(declared).collect();
    let known = versions.iter().find_map(|version| Abi::from_name(version));
    report.abi_version = known.map(|abi| abi.name().to_owned()).or(versions.first().cloned());
    report.exports.sort();
    report.judge(known.unwrap_or(Abi::V0_2_1), &types);
    report.missing.sort();
    report.problems.sort_by_key(|problem| problem.severity);
    Ok(report)
}

/// The functions that go in and out of a module, with their types.
#[derive(Default)]
struct Types {
    types: Vec<Option<FuncType>>,
    /// The type of each function, imported ones first.
    functions: Vec<u32>,
    /// Module, name and type.
    imports: Vec<(String, String, u32)>,
    exports: Vec<(String, u32)>,
    memory_exported: bool,
}

impl Types {
    fn note(&mut self, payload: &Payload<'_>) -> anyhow::Result<()> {
        match payload {
            Payload::TypeSection(section) => {
                for group in section.clone() {
                    for sub in group?.types() {
                        let function = match &sub.composite_type.inner {
                            wasmparser::CompositeInnerType::Func(function) => Some(function.clone()),
                            _ => None,
                        };
                        self.types.push(function);
                    }
                }
            }
            Payload::ImportSection(section) => {
                for import in section.clone().into_imports() {
                    let import = import?;
                    if let TypeRef::Func(at) | TypeRef::FuncExact(at) = import.ty {
                        self.functions.push(at);
                        self.imports
                            .push((import.module.to_owned(), import.name.to_owned(), at));
                    }
                }
            }
            Payload::FunctionSection(section) => {
                for at in section.clone() {
                    self.functions.push(at?);
                }
            }
            Payload::ExportSection(section) => {
                for export in section.clone() {
                    let export = export?;
                    match export.kind {
                        ExternalKind::Func => self.exports.push((export.name.to_owned(), export.index)),
                        ExternalKind::Memory if export.name == "memory" => self.memory_exported = true,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn of(&self, at: u32) -> Option<&FuncType> {
        self.types.get(at as usize)?.as_ref()
    }
}

impl Report {
    fn refuse(&mut self, what: String, mend: String) {
        self.problems.push(Problem {
            severity: Severity::Refuse,
            what,
            mend,
        });
    }

    fn warn(&mut self, what: String, mend: String) {
        self.problems.push(Problem {
            severity: Severity::Warn,
            what,
            mend,
        });
    }

    /// Finds what is missing or wrong for Envoy.
    fn judge(&mut self, abi: Abi, types: &Types) {
        for import in self.imports.clone() {
            match import.rsplit_once(' ') {
                None => {}
                Some((name, "(memory)" | "(table)")) => self.warn(
                    format!("imports `{name}`, for which Envoy makes one and the embedded engine does not"),
                    "let the module define and export it".to_owned(),
                ),
                Some(_) => self.missing.push(import),
            }
        }
        for (module, name, at) in &types.imports {
            let Some(there) = types.of(*at) else { continue };
            match wasm::import(abi, module, name) {
                None => self.missing.push(format!("{module}.{name}")),
                Some(wanted) if wanted != *there => self.refuse(
                    format!(
                        "imports `{module}.{name}` as {}, and Envoy has it as {}",
                        wasm::describe(there),
                        wasm::describe(&wanted)
                    ),
                    format!("build the module with an SDK for ABI {}", abi.name()),
                ),
                Some(_) => {}
            }
        }
        let exported = |name: &str| types.exports.iter().any(|(there, _)| there == name);
        let allocator = if exported("malloc") {
            "malloc"
        } else {
            "proxy_on_memory_allocate"
        };
        for (name, index) in &types.exports {
            // What Envoy does not look up may be as it likes.
            let looked_up = match name.as_str() {
                "malloc" | "proxy_on_memory_allocate" => name == allocator,
                "_start" => !exported("_initialize"),
                "main" | "__main_void" => exported("_initialize"),
                _ => true,
            };
            let there = types.functions.get(*index as usize).and_then(|at| types.of(*at));
            if let (Some(there), Some(wanted), true) = (there, wasm::export(abi, name), looked_up)
                && wanted != *there
            {
                self.refuse(
                    format!(
                        "exports `{name}` as {}, and Envoy calls it as {} in ABI {}",
                        wasm::describe(there),
                        wasm::describe(&wanted),
                        abi.name()
                    ),
                    "export it with these types, or declare the ABI version that it is written for".to_owned(),
                );
            }
        }
        if !exported(allocator) {
            self.refuse(
                "exports neither `malloc` nor `proxy_on_memory_allocate`".to_owned(),
                "export one, or Envoy can hand nothing over; SDKs do so by themselves".to_owned(),
            );
        }
        if !types.memory_exported {
            self.refuse(
                "exports no memory named `memory`".to_owned(),
                "export it, as compilers do by default".to_owned(),
            );
        }
        if exported("_start") && exported("_initialize") {
            self.warn(
                "exports both `_initialize` and `_start`: Envoy calls `_initialize`, then `main`, and never `_start`"
                    .to_owned(),
                "build it as a reactor (Rust: `cdylib`; clang: `-mexec-model=reactor`)".to_owned(),
            );
        }
    }

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
                    self.memory = Some(Memory {
                        min_pages: memory.initial,
                        max_pages: memory.maximum,
                    });
                }
            }
            Payload::CodeSectionStart { count, size, .. } => {
                self.functions = count;
                self.code_size = size.into();
            }
            Payload::CodeSectionEntry(body) if !self.simd => self.simd = uses_simd(&body)?,
            Payload::CustomSection(section) => {
                self.custom_sections
                    .push((section.name().to_owned(), section.data().len() as u64));
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

impl Report {
    /// Whether Envoy refuses the module: it does not have an import, or something else is wrong.
    #[must_use]
    pub fn refused(&self) -> bool {
        !self.missing.is_empty() || self.problems.iter().any(|problem| problem.severity == Severity::Refuse)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.abi_version {
            Some(version) => writeln!(f, "proxy-wasm ABI {version}")?,
            None => writeln!(f, "no proxy-wasm module: it exports no `proxy_abi_version_..`")?,
        }
        writeln!(
            f,
            "size       {} bytes, of which code {} in {} functions",
            self.size, self.code_size, self.functions
        )?;
        match self.memory {
            Some(Memory {
                min_pages,
                max_pages: Some(max),
            }) => {
                writeln!(
                    f,
                    "memory     {} KiB at start, {} KiB at most",
                    min_pages * 64,
                    max * 64
                )?;
            }
            Some(Memory {
                min_pages,
                max_pages: None,
            }) => {
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
        if !self.missing.is_empty() {
            list(f, "MISSING", &self.missing)?;
        }
        for problem in &self.problems {
            let kind = match problem.severity {
                Severity::Refuse => "WRONG",
                Severity::Warn => "warning",
            };
            writeln!(f, "{kind:<10} {}\n           {}", problem.what, problem.mend)?;
        }
        match (self.missing.as_slice(), self.refused()) {
            ([], false) => write!(f, "envoy      has every import"),
            ([], true) => write!(f, "envoy      would refuse this module for what is wrong above"),
            (_, _) => write!(
                f,
                "envoy      would refuse this module: it does not have the imports above"
            ),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.what, self.mend)
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
                (func (export "malloc") (param i32) (result i32) (i32.const 0))
                (func (export "proxy_on_log") (param i32) (drop (i32x4.splat (local.get 0))))
                (@custom "note" "hello"))"#,
        );
        assert_eq!(report.abi_version.as_deref(), Some("0.2.1"));
        assert_eq!(report.imports, ["env.proxy_log", "wasi_snapshot_preview1.fd_write"]);
        assert_eq!(report.missing, [""; 0]);
        assert_eq!(report.exports, ["malloc", "proxy_abi_version_0_2_1", "proxy_on_log"]);
        assert_eq!(
            report.memory,
            Some(Memory {
                min_pages: 2,
                max_pages: Some(16)
            })
        );
        assert_eq!(report.functions, 3);
        assert_eq!(report.problems, []);
        assert!(report.simd);
        assert_eq!(report.custom_sections, [("note".to_owned(), 5)]);
        let text = report.to_string();
        assert!(
            text.contains("proxy-wasm ABI 0.2.1") && text.contains("has every import"),
            "{text}"
        );
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
        assert_eq!(
            report.missing,
            ["env.proxy_get_log_level", "env.proxy_new_thing", "other.proxy_log"]
        );
        assert!(!report.simd);
        assert!(report.to_string().contains("would refuse this module"));
    }

    #[test]
    fn what_envoy_refuses_and_what_it_does_otherwise_is_told_with_its_mend() {
        let found = |text: &str| -> Vec<(Severity, String)> {
            let problems = report(text).problems.into_iter();
            problems.map(|problem| (problem.severity, problem.what)).collect()
        };
        let good = r#"(memory (export "memory") 1) (func (export "malloc") (param i32) (result i32) (i32.const 0))"#;
        let module = |abi: &str, rest: &str| {
            let imports_first = format!(r#"(module {rest} {good} (func (export "proxy_abi_version_{abi}")))"#);
            found(&imports_first)
        };
        let headers = |count: usize| {
            let parameters = "i32 ".repeat(count);
            format!(r#"(func (export "proxy_on_request_headers") (param {parameters}) (result i32) (i32.const 0))"#)
        };
        for (abi, parameters) in [("0_1_0", 2), ("0_2_0", 3), ("0_2_1", 3)] {
            assert_eq!(module(abi, &headers(parameters)), []);
            let wrong = module(abi, &headers(5 - parameters));
            assert!(
                matches!(&wrong[..], [(Severity::Refuse, what)] if what.contains("proxy_on_request_headers")),
                "{wrong:?}"
            );
        }
        let wrong = module(
            "0_2_1",
            r#"(import "env" "proxy_log" (func (param i32 i64) (result i32)))"#,
        );
        assert_eq!(
            wrong,
            [(
                Severity::Refuse,
                "imports `env.proxy_log` as (i32 i64) -> i32, and Envoy has it as (i32 i32 i32) -> i32".to_owned()
            )]
        );
        let bare = found(r#"(module (func (export "proxy_abi_version_0_2_1")))"#);
        assert_eq!(bare.len(), 2, "{bare:?}");
        assert!(bare.iter().all(|(severity, _)| *severity == Severity::Refuse));
        let both = module("0_2_1", r#"(func (export "_start")) (func (export "_initialize"))"#);
        assert!(
            matches!(&both[..], [(Severity::Warn, what)] if what.contains("never `_start`")),
            "{both:?}"
        );
        // A `_start` that is not called may have any type.
        assert_eq!(module("0_2_1", r#"(func (export "main") (param i64))"#), []);
        let json = serde_json::to_value(report(r#"(module (func (export "proxy_abi_version_0_2_1")))"#)).unwrap();
        assert_eq!(json["problems"][0]["severity"], "refuse");
    }

    #[test]
    fn what_is_no_module_is_an_error() {
        assert!(inspect(b"hello").is_err());
        assert!(inspect(b"\0asm\x01\0\0\0\xff").is_err());
    }
}
