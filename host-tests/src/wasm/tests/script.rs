//! Modules that make host calls and log what comes of them, run on both engines.
//!
//! 1. Each call is one line: its name without `proxy_`, its status, and what it wrote, escaped as in Rust's text.
//! 2. The embedded engine's lines must be those of a real Envoy, and so must what client and upstream got. Where there is no
//!    Envoy this part is skipped, which is said on standard error; under `CI=true` that fails.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::*;
use crate::envoy::Envoy;
use crate::exchange::Gateway;

/// An argument of a host call, or two that belong together.
#[derive(Clone, Debug)]
pub(super) enum Arg {
    Number(u32),
    Long(i64),
    /// Address and size of these bytes.
    Text(Vec<u8>),
    /// The address of so many bytes to write.
    Out(u32),
    /// The addresses of an address and a size to write.
    Given,
}

pub(super) fn text(bytes: impl AsRef<[u8]>) -> Arg {
    Arg::Text(bytes.as_ref().to_vec())
}

pub(super) fn number(number: u32) -> Arg {
    Arg::Number(number)
}

/// A module in the making.
pub(super) struct Script {
    abi: Abi,
    imports: BTreeMap<String, String>,
    data: Vec<u8>,
    /// Callbacks: name, what they do, and what they return.
    callbacks: Vec<(String, String, u32)>,
    extra: String,
}

const DATA: usize = 0x2_0000;

impl Script {
    pub(super) fn new() -> Self {
        Script::of(Abi::V0_2_1)
    }

    pub(super) fn of(abi: Abi) -> Self {
        Script {
            abi,
            imports: BTreeMap::new(),
            data: Vec::new(),
            callbacks: Vec::new(),
            extra: String::new(),
        }
    }

    /// What follows is done in this callback, which returns 0 unless told otherwise.
    pub(super) fn on(mut self, callback: &str) -> Self {
        let returns = u32::from(matches!(
            callback,
            "proxy_on_vm_start" | "proxy_on_configure" | "proxy_on_done"
        ));
        self.callbacks.push((callback.to_owned(), String::new(), returns));
        self
    }

    pub(super) fn returns(mut self, number: u32) -> Self {
        self.callbacks.last_mut().expect("a callback").2 = number;
        self
    }

    /// An import of one's own.
    pub(super) fn import(mut self, text: &str) -> Self {
        self.imports.insert(text.to_owned(), text.to_owned());
        self
    }

    /// Text of one's own: functions, globals.
    pub(super) fn extra(mut self, text: &str) -> Self {
        self.extra.push_str(text);
        self
    }

    /// Instructions of one's own in the callback.
    pub(super) fn code(mut self, text: &str) -> Self {
        self.callbacks.last_mut().expect("a callback").1.push_str(text);
        self
    }

    fn place(&mut self, bytes: &[u8]) -> usize {
        let at = DATA + self.data.len();
        self.data.extend(bytes);
        at
    }

    /// Makes a call and logs it.
    pub(super) fn call(self, function: &str, arguments: &[Arg]) -> Self {
        self.call_of("env", function, arguments)
    }

    pub(super) fn call_of(mut self, module: &str, function: &str, arguments: &[Arg]) -> Self {
        let (mut types, mut given, mut told) = (Vec::new(), String::new(), String::new());
        let mut cell = 16;
        for argument in arguments {
            match argument {
                Arg::Number(number) => {
                    types.push("i32");
                    let _ = write!(given, " (i32.const {number})");
                }
                Arg::Long(number) => {
                    types.push("i64");
                    let _ = write!(given, " (i64.const {number})");
                }
                Arg::Text(bytes) => {
                    types.extend(["i32", "i32"]);
                    let at = self.place(bytes);
                    let _ = write!(given, " (i32.const {at}) (i32.const {})", bytes.len());
                }
                Arg::Out(size) => {
                    types.push("i32");
                    let _ = write!(given, " (i32.const {cell})");
                    let _ = write!(
                        told,
                        "(call $put (i32.const 32)) (call $hex (i32.const {cell}) (i32.const {size}))"
                    );
                    cell += 32;
                }
                Arg::Given => {
                    types.extend(["i32", "i32"]);
                    let size = cell + 4;
                    let _ = write!(given, " (i32.const {cell}) (i32.const {size})");
                    let _ = write!(
                        told,
                        "(call $put (i32.const 32)) (call $hex (i32.load (i32.const {cell})) (i32.load (i32.const {size})))"
                    );
                    cell += 32;
                }
            }
        }
        let name = format!("{module}.{function}/{}", types.len());
        let import = format!(
            "(import \"{module}\" \"{function}\" (func ${name} (param {}) (result i32)))",
            types.join(" ")
        );
        self.imports.insert(name.clone(), import);
        let label = function.strip_prefix("proxy_").unwrap_or(function).to_owned();
        let at = self.place(label.as_bytes());
        let code = format!(
            "(memory.fill (i32.const 0) (i32.const 0) (i32.const 256)) (call $tell (i32.const {at}) (i32.const {}) (call ${name}{given})) {told} (call $flush)\n",
            label.len()
        );
        self.code(&code)
    }

    pub(super) fn module(&self) -> Vec<u8> {
        let mut functions = String::new();
        for (name, code, returns) in &self.callbacks {
            let types = export(self.abi, name).unwrap_or_else(|| panic!("Envoy has no callback `{name}`"));
            let parameters = "i32 ".repeat(types.params().len());
            let result = match types.results() {
                [] => String::new(),
                _ => format!("(i32.const {returns})"),
            };
            let type_of_result = if result.is_empty() { "" } else { "(result i32)" };
            let _ = write!(
                functions,
                "(func (export \"{name}\") (param {parameters}) {type_of_result}\n{code} {result})"
            );
        }
        let imports: Vec<&str> = self.imports.values().map(String::as_str).collect();
        let data: String = self.data.iter().map(|byte| format!("\\{byte:02x}")).collect();
        let wat = format!(
            r#"(module
  (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
  {imports}
  (memory (export "memory") 64)
  (global $heap (mut i32) (i32.const 0x100000))
  (global $at (mut i32) (i32.const 0x1000))
  (func (export "malloc") (param $size i32) (result i32)
    (global.get $heap)
    (global.set $heap (i32.add (global.get $heap) (i32.add (local.get $size) (i32.const 1)))))
  (func (export "proxy_abi_version_{version}"))
  (data (i32.const {DATA}) "{data}")
  (func $put (param $byte i32)
    (i32.store8 (global.get $at) (local.get $byte))
    (global.set $at (i32.add (global.get $at) (i32.const 1))))
  (func $digit (param $digit i32)
    (call $put (i32.add (local.get $digit) (select (i32.const 48) (i32.const 87) (i32.lt_u (local.get $digit) (i32.const 10))))))
  (func $hex (param $from i32) (param $size i32)
    (call $put (i32.const 0x78))
    (block $end (loop $next
      (br_if $end (i32.eqz (local.get $size)))
      (call $digit (i32.shr_u (i32.load8_u (local.get $from)) (i32.const 4)))
      (call $digit (i32.and (i32.load8_u (local.get $from)) (i32.const 15)))
      (local.set $from (i32.add (local.get $from) (i32.const 1)))
      (local.set $size (i32.sub (local.get $size) (i32.const 1)))
      (br $next))))
  (func $tell (param $name i32) (param $size i32) (param $status i32)
    (memory.copy (global.get $at) (local.get $name) (local.get $size))
    (global.set $at (i32.add (global.get $at) (local.get $size)))
    (call $put (i32.const 32))
    (if (i32.ge_u (local.get $status) (i32.const 10))
      (then (call $digit (i32.div_u (local.get $status) (i32.const 10)))))
    (call $digit (i32.rem_u (local.get $status) (i32.const 10))))
  (func $flush
    (drop (call $log (i32.const 2) (i32.const 0x1000) (i32.sub (global.get $at) (i32.const 0x1000))))
    (global.set $at (i32.const 0x1000)))
  {extra}
  {functions})"#,
            imports = imports.join("\n  "),
            version = self.abi.name().replace('.', "_"),
            extra = self.extra,
        );
        wat::parse_str(&wat).unwrap_or_else(|error| panic!("{error}\n{wat}"))
    }

    /// The module in a file, as a filter named `probe`.
    pub(super) fn filter(&self) -> Filter {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let module = std::env::temp_dir().join(format!("scrim-script-{}-{number}.wasm", std::process::id()));
        std::fs::write(&module, self.module()).unwrap();
        Filter {
            name: "probe".to_owned(),
            root_id: "root".to_owned(),
            module,
            ..Filter::default()
        }
    }

    /// What it logs for a GET without a body, on both engines alike.
    pub(super) fn lines(&self) -> Vec<String> {
        agree(vec![self.filter()], &get(), &answer(&["body"])).0
    }
}

/// What the filters log for one exchange and what becomes of it, on both engines alike.
pub(super) fn agree(filters: Vec<Filter>, request: &Request, answer: &Answer) -> (Vec<String>, Outcome) {
    agree_on(
        &Setup {
            filters,
            ..Setup::default()
        },
        request,
        answer,
    )
}

pub(super) fn agree_on(setup: &Setup, request: &Request, answer: &Answer) -> (Vec<String>, Outcome) {
    let ours = engine()
        .start_chain(setup)
        .unwrap_or_else(|error| panic!("{error:#}"))
        .exchange(request, answer)
        .unwrap();
    let lines: Vec<String> = ours.logs.iter().map(|(_, line)| decode(line)).collect();
    if let Some(envoy) = Envoy::in_tests() {
        let theirs = envoy.start(setup).unwrap().exchange(request, answer).unwrap();
        let there: Vec<String> = theirs.logs.iter().map(|(_, line)| decode(line)).collect();
        let differ: Vec<_> = lines
            .iter()
            .zip(&there)
            .enumerate()
            .filter(|(_, (one, other))| one != other)
            .collect();
        assert!(differ.is_empty(), "line, embedded engine, Envoy: {differ:#?}");
        assert_eq!(lines.len(), there.len(), "{lines:?} {there:?}");
        assert_eq!((&ours.client, &ours.upstream), (&theirs.client, &theirs.upstream));
    }
    for filter in &setup.filters {
        let _ = std::fs::remove_file(&filter.module);
    }
    (lines, ours)
}

/// Both engines refuse it; what the embedded one says.
pub(super) fn refused(filter: Filter) -> String {
    let setup = Setup {
        filters: vec![filter],
        ..Setup::default()
    };
    let error = engine()
        .start_chain(&setup)
        .err()
        .expect("the embedded engine refuses it");
    if let Some(envoy) = Envoy::in_tests() {
        assert!(envoy.start(&setup).is_err(), "Envoy refuses it");
    }
    let _ = std::fs::remove_file(&setup.filters[0].module);
    format!("{error:#}")
}

/// A line with its values, which are in hexadecimal behind an `x`, as text.
fn decode(line: &str) -> String {
    let word = |word: &str| -> Option<String> {
        let digits = word.strip_prefix('x')?;
        let byte = |at| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
        let bytes: Option<Vec<u8>> = (0..digits.len()).step_by(2).map(byte).collect();
        Some(format!("[{}]", bytes?.escape_ascii()))
    };
    let words: Vec<String> = line
        .split(' ')
        .map(|one| word(one).unwrap_or_else(|| one.to_owned()))
        .collect();
    words.join(" ")
}
