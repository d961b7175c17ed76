//! Line coverage end to end: guests in WebAssembly's text form, whose line tables name the lines of the text.

mod model;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use gimli::write::{Address, AttributeValue, DwarfUnit, EndianVec, LineProgram, LineString, Sections};
use gimli::{Encoding, Format, LineEncoding, LittleEndian};
use wasmparser::{Parser, Payload};

use super::*;
use crate::exchange::{Answer, Body, Engine as _, Filter, Outcome, Request, Setup};
use crate::wasm::Wasmtime;

/// Where the guests' sources are said to be.
const SOURCE: &str = "/probe/guest.wat";

/// What every guest has, in the first seven lines.
const PRELUDE: &str = r#"(module
(import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
(memory (export "memory") 1)
(data (i32.const 16) "0123456789abcdefghijklmnopqrstuvwxyz")
(func (export "malloc") (param i32) (result i32) i32.const 1024)
(func (export "proxy_abi_version_0_2_1"))
(global $heap (mut i32) (i32.const 0))
"#;

/// One row of a line table: address, line, whether a statement begins. A line of `None` ends the sequence.
pub(super) type Wanted = (u64, Option<u64>, bool);

/// A module with debug information: line tables of one file, in a DWARF version.
pub(super) fn with_lines(
    module: &[u8],
    version: u16,
    compilation: &str,
    folder: &str,
    file: &str,
    sequences: &[&[Wanted]],
) -> Vec<u8> {
    let encoding = Encoding {
        address_size: 4,
        format: Format::Dwarf32,
        version,
    };
    let mut dwarf = DwarfUnit::new(encoding);
    let string = |text: &str| LineString::String(text.as_bytes().to_vec());
    let main = string("main.rs");
    let mut program = LineProgram::new(encoding, LineEncoding::default(), string(compilation), None, main, None);
    let folder = program.add_directory(string(folder));
    let file = program.add_file(string(file), folder, None);
    for sequence in sequences {
        let begin = sequence[0].0;
        program.begin_sequence(Some(Address::Constant(begin)));
        for (address, line, is_statement) in *sequence {
            match line {
                Some(line) => {
                    program.row().address_offset = address - begin;
                    program.row().file = file;
                    program.row().line = *line;
                    program.row().is_statement = *is_statement;
                    program.generate_row();
                }
                None => program.end_sequence(address - begin),
            }
        }
    }
    dwarf.unit.line_program = program;
    let root = dwarf.unit.root();
    let entry = dwarf.unit.get_mut(root);
    entry.set(gimli::DW_AT_name, AttributeValue::String(b"main.rs".to_vec()));
    entry.set(
        gimli::DW_AT_comp_dir,
        AttributeValue::String(compilation.as_bytes().to_vec()),
    );
    let mut sections = Sections::new(EndianVec::new(LittleEndian));
    dwarf.write(&mut sections).unwrap();
    let mut module = module.to_vec();
    sections
        .for_each(|id, data| {
            let name = id.name().as_bytes();
            let contents = [&[name.len() as u8], name, data.slice()].concat();
            module.push(0);
            let mut size = contents.len();
            while size >= 0x80 {
                module.push(size as u8 | 0x80);
                size >>= 7;
            }
            module.push(size as u8);
            module.extend_from_slice(&contents);
            Ok::<(), gimli::write::Error>(())
        })
        .unwrap();
    module
}

/// The bodies of a module's functions: where each begins in the code section's contents, where its instructions are, and its end.
fn bodies(module: &[u8]) -> Vec<(u64, Vec<u64>, u64)> {
    let mut code = 0;
    let mut bodies = Vec::new();
    for payload in Parser::new(0).parse_all(module) {
        match payload.unwrap() {
            Payload::CodeSectionStart { range, .. } => code = range.start,
            Payload::CodeSectionEntry(body) => {
                let mut reader = body.get_operators_reader().unwrap();
                let mut operators = Vec::new();
                while !reader.eof() {
                    operators.push((reader.read_with_offset().unwrap().1 - code) as u64);
                }
                let range = body.range();
                bodies.push(((range.start - code) as u64, operators, (range.end - code) as u64));
            }
            _ => {}
        }
    }
    bodies
}

/// Assembles a text and gives it line tables as compilers do: a row for the line of `(func`, where the function's locals are
/// declared, one for each instruction, and one for a `)` at a line's begin, which is the function's `end`. A line that begins
/// otherwise has one instruction. Functions of one line have no rows.
fn assemble(text: &str) -> Vec<u8> {
    let mut functions: Vec<(u64, Vec<u64>)> = Vec::new();
    for (line, number) in text.lines().map(str::trim_start).zip(1..) {
        if line.starts_with("(func") {
            functions.push((number, Vec::new()));
        } else if let (false, Some((_, lines))) = (line.starts_with('(') || line.is_empty(), functions.last_mut()) {
            lines.push(number);
        }
    }
    let module = wat::parse_str(text).unwrap();
    let mut sequences = Vec::new();
    for ((line, mut lines), (begin, operators, end)) in functions.into_iter().zip(bodies(&module)) {
        if lines.is_empty() {
            continue;
        }
        // Behind the last function, a `)` ends the module.
        lines.truncate(operators.len());
        let mut rows = vec![(begin, Some(line), true)];
        rows.extend(operators.iter().zip(lines).map(|(at, line)| (*at, Some(line), true)));
        rows.push((end, None, false));
        sequences.push(rows);
    }
    let sequences: Vec<&[Wanted]> = sequences.iter().map(Vec::as_slice).collect();
    with_lines(&module, 5, "/probe", ".", "guest.wat", &sequences)
}

/// A guest's module as a file, gone when dropped.
struct Guest(PathBuf);

impl Guest {
    fn new(module: &[u8]) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("scrim-lines-{}-{number}.wasm", std::process::id()));
        std::fs::write(&path, module).unwrap();
        Guest(path)
    }

    fn setup(&self) -> Setup {
        let filter = Filter {
            name: "guest".to_owned(),
            module: self.0.clone(),
            ..Filter::default()
        };
        Setup {
            filters: vec![filter],
            ..Setup::default()
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn counting() -> (Arc<LineCoverage>, Wasmtime) {
    let lines = Arc::new(LineCoverage::default());
    let engine = Wasmtime::builder().line_coverage(Arc::clone(&lines)).build().unwrap();
    (lines, engine)
}

/// One exchange through a new gateway. With `body` the filter is told that the request goes on after its headers.
fn exchange(engine: &Wasmtime, guest: &Guest, body: &str) -> anyhow::Result<Outcome> {
    let mut gateway = engine.start(&guest.setup())?;
    let request = Request {
        method: "POST".into(),
        target: b"/".to_vec(),
        authority: "example.org".into(),
        body: Body {
            chunks: if body.is_empty() {
                vec![]
            } else {
                vec![body.as_bytes().to_vec()]
            },
            ..Body::default()
        },
        ..Request::default()
    };
    let answer = Answer {
        status: 200,
        headers: vec![],
        body: Body::default(),
        fault: None,
    };
    gateway.exchange(&request, &answer)
}

/// What a text's lines say of themselves: `;; =N` behind a line that is run so often.
fn expected(text: &str) -> BTreeMap<u32, u64> {
    let lines = text.lines().zip(1..);
    lines
        .filter_map(|(line, number)| Some((number, line.split_once(";; =")?.1.parse().unwrap())))
        .collect()
}

/// The counts of a guest's lines behind the prelude.
fn counted(lines: &LineCoverage) -> BTreeMap<u32, u64> {
    let mut report = lines.report();
    let mut file = report.files.remove(SOURCE).unwrap_or_default();
    assert_eq!(report, Report::default(), "other files");
    file.lines.retain(|line, _| *line > 7);
    file.lines
}

const BRANCHES: &str = r#"
(func $pick (param $which i32) (result i32) ;; =3
  local.get $which ;; =3
  if (result i32) ;; =3
    i32.const 10 ;; =2
  else
    i32.const 20 ;; =1
  end
) ;; =3
(func $never (param i32) ;; =0
  local.get 0 ;; =0
  drop ;; =0
) ;; =0
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (local $i i32) ;; =3
  block $out ;; =3
    local.get 2 ;; =3
    br_if $out ;; =3
    nop ;; =1
    loop $again ;; =1
      local.get $i ;; =5
      i32.const 1 ;; =5
      i32.add ;; =5
      local.tee $i ;; =5
      i32.const 5 ;; =5
      i32.lt_u ;; =5
      br_if $again ;; =5
    end
    br $out ;; =1
    nop
  end
  local.get 2 ;; =3
  call $pick ;; =3
  drop ;; =3
  i32.const 0 ;; =3
) ;; =3
)"#;

#[test]
fn each_line_is_counted_as_often_as_it_is_run() {
    let text = format!("{PRELUDE}{BRANCHES}");
    let guest = Guest::new(&assemble(&text));
    let (lines, engine) = counting();
    for body in ["", "", "x"] {
        assert_eq!(exchange(&engine, &guest, body).unwrap().client.unwrap().status, 200);
    }
    assert_eq!(counted(&lines), expected(&text));
    let functions = &lines.report().files[SOURCE].functions;
    let calls = |name: &str| {
        functions
            .iter()
            .filter(|((_, there), _)| there == name)
            .map(|(_, calls)| *calls)
            .sum::<u64>()
    };
    assert_eq!((calls("pick"), calls("never")), (3, 0));
    assert_eq!(functions.get(&(9, "pick".to_owned())), Some(&3), "{functions:?}");
}

#[test]
fn the_report_is_a_tracefile() {
    let guest = Guest::new(&assemble(&format!(
        "{PRELUDE}(func $tick (export \"proxy_on_tick\") (param i32)\n nop\n)\n\
         (func $headers (export \"proxy_on_request_headers\") (param i32 i32 i32) (result i32)\n i32.const 0\n))"
    )));
    let (lines, engine) = counting();
    exchange(&engine, &guest, "").unwrap();
    let text = lines.report().to_string();
    let behind = text.split_once("FN:8,tick\n").map(|(_, rest)| rest);
    assert_eq!(
        behind.and_then(|rest| rest.lines().next()),
        Some("FN:11,headers"),
        "{text}"
    );
    for line in [
        "SF:/probe/guest.wat",
        "FNDA:0,tick",
        "FNDA:1,headers",
        "DA:9,0",
        "DA:11,1",
        "end_of_record",
    ] {
        assert!(text.lines().any(|there| there == line), "{line} is not in {text}");
    }
}

#[test]
fn counts_of_all_gateways_threads_and_modules_are_added_up() {
    let text = format!("{PRELUDE}{BRANCHES}");
    let module = assemble(&text);
    let guest = Guest::new(&module);
    // Another module of the same source.
    let mut longer = module.clone();
    longer.extend_from_slice(&[0, 2, 1, b'x']);
    let other = Guest::new(&longer);
    let (lines, engine) = counting();
    std::thread::scope(|scope| {
        for guest in [&guest, &other] {
            for body in ["", "", "x"] {
                let engine = &engine;
                scope.spawn(move || exchange(engine, guest, body).unwrap());
            }
        }
    });
    let twice = expected(&text)
        .into_iter()
        .map(|(line, count)| (line, 2 * count))
        .collect();
    assert_eq!(counted(&lines), twice);
}

#[test]
fn lines_before_a_trap_and_of_a_refused_start_count() {
    let text = format!(
        "{PRELUDE}{}",
        r#"
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) ;; =1
  nop ;; =1
  unreachable ;; =1
  nop
)
)"#
    );
    let guest = Guest::new(&assemble(&text));
    let (lines, engine) = counting();
    let outcome = exchange(&engine, &guest, "").unwrap();
    assert_ne!(outcome.client.map(|got| got.status), Some(200));
    assert_eq!(counted(&lines), expected(&text));

    let text = format!(
        "{PRELUDE}{}",
        "(func (export \"proxy_on_configure\") (param i32 i32) (result i32) ;; =1\n i32.const 0 ;; =1\n) ;; =1\n)"
    );
    let guest = Guest::new(&assemble(&text));
    let (lines, engine) = counting();
    let error = exchange(&engine, &guest, "").unwrap_err();
    assert!(format!("{error:#}").contains("refused its configuration"), "{error:#}");
    assert_eq!(counted(&lines), expected(&text));
}

#[test]
fn what_is_never_run_by_any_case_is_there_with_zero() {
    let text = format!("{PRELUDE}(func $f\n nop\n))");
    let guest = Guest::new(&assemble(&text));
    let (lines, engine) = counting();
    assert_eq!(lines.report(), Report::default());
    exchange(&engine, &guest, "").unwrap();
    assert_eq!(counted(&lines), BTreeMap::from([(8, 0), (9, 0), (10, 0)]));
}

#[test]
fn a_module_without_line_tables_is_refused_with_the_mend() {
    let guest = Guest::new(&wat::parse_str(format!("{PRELUDE})")).unwrap());
    let (lines, engine) = counting();
    let error = format!("{:#}", exchange(&engine, &guest, "").unwrap_err());
    assert!(error.contains("has no line tables"), "{error}");
    assert!(error.contains("debug = \"line-tables-only\""), "{error}");
    assert_eq!(lines.report(), Report::default());
}

#[test]
fn a_measured_module_is_not_measured_again() {
    let module = assemble(&format!(
        "{PRELUDE}(func $f\n nop\n) (memory (export \"scrim_coverage\") 1))"
    ));
    let error = LineCoverage::default().measure(&module).err().unwrap().to_string();
    assert!(error.contains("`scrim_coverage` already"), "{error}");
}

/// Modules of other shapes than the guests above: what is around the code.
#[test]
fn instrumented_modules_of_any_shape_are_valid() {
    let texts = [
        "(module (func (export \"f\") nop))",
        "(module (import \"a\" \"m\" (memory 1 2)) (import \"a\" \"f\" (func)) (func (export \"f\") nop))",
        "(module (table 1 funcref) (memory 1) (memory 1) (global i32 (i32.const 1)) (elem (i32.const 0) 0) (func (export \"f\") nop))",
        "(module (tag (param i32)) (table 1 funcref) (global i32 (i32.const 1)) (func (export \"f\")
           (block (result i32) (try_table (catch 0 0) nop) i32.const 1) drop) (data \"x\"))",
        "(module (memory 1) (func (export \"f\") (param i32) (result i32) (local v128 f64) local.get 0
           (if (result i32) (then i32.const 1) (else unreachable))) (start 1) (func (data.drop 0)) (data \"x\"))",
        "(module (memory i64 1) (func (export \"f\") (result i32) (block (block i32.const 1 br_table 0 1) (return (i32.const 0)))
           i32.const 1 (block br 0 nop)))",
    ];
    for text in texts {
        let module = wat::parse_str(text).unwrap();
        let mut line = 0;
        let mut rows = Vec::new();
        for (begin, operators, end) in bodies(&module) {
            let starts = std::iter::once(begin).chain(operators);
            rows.extend(starts.map(|at| {
                line += 1;
                (at, Some(line), true)
            }));
            rows.push((end, None, false));
        }
        let sequences: Vec<&[Wanted]> = rows.split_inclusive(|(_, line, _)| line.is_none()).collect();
        let module = with_lines(&module, 4, "/probe", ".", "guest.wat", &sequences);
        let table = LineTable::read(&module).unwrap().unwrap();
        let made = instrument::instrument(&module, &table).unwrap();
        let mut validator = wasmparser::Validator::new_with_features(wasmparser::WasmFeatures::all());
        validator
            .validate_all(&made.module)
            .unwrap_or_else(|error| panic!("{error} in {text}"));
        assert!(made.counters > 0 && made.points.len() >= made.counters, "{text}");
        let points: BTreeSet<usize> = made.points.iter().map(|point| point.counter).collect();
        assert_eq!(points, (0..made.counters).collect(), "{text}");
        assert_eq!(
            LineTable::read(&made.module).unwrap(),
            None,
            "its debug information is stale: {text}"
        );
    }
}

/// Rows as an optimiser leaves them: one line for code on both sides of a branch.
#[test]
fn a_line_is_run_by_whatever_way_control_comes_into_it() {
    let text = format!(
        "{PRELUDE}(func (export \"proxy_on_request_headers\") (param i32 i32 i32) (result i32) (local i32) {}))",
        "local.get 2 if nop else nop end
         block local.get 2 if nop end end
         local.get 2 if nop end nop
         loop local.get 3 i32.const 1 i32.add local.tee 3 i32.const 5 i32.lt_u br_if 0 end
         nop i32.const 0"
    );
    // In the order of the instructions above. 20: then and else; 30: then, with the ends behind it; 40: then and what follows; 50: a
    // loop; 60: where no statement begins; 0: nowhere.
    let lines = [
        10, 10, 20, 20, 20, 20, 11, 11, 11, 30, 30, 30, 12, 12, 40, 40, 40, 50, 50, 50, 50, 50, 50, 50, 50, 50, 60, 0,
        13,
    ];
    let module = wat::parse_str(text).unwrap();
    let (_, operators, end) = bodies(&module).pop().unwrap();
    assert_eq!(operators.len(), lines.len());
    let mut rows: Vec<Wanted> = operators
        .iter()
        .zip(lines)
        .map(|(at, line)| (*at, Some(line), line != 60))
        .collect();
    rows.push((end, None, false));
    let guest = Guest::new(&with_lines(&module, 5, "/probe", ".", "guest.wat", &[&rows]));
    let (lines, engine) = counting();
    // With a body the branches are not taken.
    exchange(&engine, &guest, "x").unwrap();
    let expected = BTreeMap::from([(10, 1), (11, 1), (12, 1), (13, 1), (20, 1), (30, 0), (40, 1), (50, 5)]);
    assert_eq!(counted(&lines), expected);
}
