//! `scrim test --lcov` as a user meets it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use gimli::write::{Address, AttributeValue, DwarfUnit, EndianVec, LineProgram, LineString, Sections};
use gimli::{Encoding, Format, LineEncoding, LittleEndian};
use wasmparser::{Parser, Payload};

const GUEST: &str = r#"(module
  (memory (export "memory") 1)
  (func (export "malloc") (param i32) (result i32) i32.const 1024)
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    local.get 2 if (result i32) i32.const 0 else i32.const 0 end))"#;

/// The lines that the six instructions of the last function, and its `end`, are said to have come from.
const LINES: [u64; 7] = [3, 3, 4, 4, 5, 5, 6];

const CASES: &str = "deliver: [whole]
filters: [{name: guest, module: guest.wasm}]
cases:
  - {name: a request without a body, request: {url: /}, expect: {status: 200}}
";

/// A folder of the test's own, gone when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("line-coverage-{name}"));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join("a.cases.yaml"), CASES).unwrap();
        Folder(path)
    }

    fn scrim(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_scrim"));
        let Output { status, stdout, stderr } = command.args(arguments).current_dir(&self.0).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (status.code(), text(stdout), text(stderr))
    }

    /// The guest's module, with line tables that name a file of this folder.
    fn guest(&self, source: &str) -> Vec<u8> {
        let mut module = wat::parse_str(GUEST).unwrap();
        let (mut code, mut operators, mut end) = (0, Vec::new(), 0);
        for payload in Parser::new(0).parse_all(&module) {
            match payload.unwrap() {
                Payload::CodeSectionStart { range, .. } => code = range.start,
                Payload::CodeSectionEntry(body) => {
                    let reader = body.get_operators_reader().unwrap();
                    operators = reader
                        .into_iter_with_offsets()
                        .map(|operator| operator.unwrap().1 - code)
                        .collect();
                    end = body.range().end - code;
                }
                _ => {}
            }
        }
        let encoding = Encoding {
            address_size: 4,
            format: Format::Dwarf32,
            version: 4,
        };
        let folder = self.0.to_str().unwrap().as_bytes();
        let string = |text: &[u8]| LineString::String(text.to_vec());
        let name = string(source.as_bytes());
        let mut program = LineProgram::new(
            encoding,
            LineEncoding::default(),
            string(folder),
            None,
            name.clone(),
            None,
        );
        let file = program.add_file(name, program.default_directory(), None);
        program.begin_sequence(Some(Address::Constant(operators[0] as u64)));
        for (operator, line) in operators.iter().zip(LINES) {
            let row = program.row();
            (row.address_offset, row.file, row.line) = ((operator - operators[0]) as u64, file, line);
            program.generate_row();
        }
        program.end_sequence((end - operators[0]) as u64);
        let mut dwarf = DwarfUnit::new(encoding);
        dwarf.unit.line_program = program;
        let root = dwarf.unit.root();
        let entry = dwarf.unit.get_mut(root);
        entry.set(gimli::DW_AT_name, AttributeValue::String(source.into()));
        entry.set(gimli::DW_AT_comp_dir, AttributeValue::String(folder.to_vec()));
        let mut sections = Sections::new(EndianVec::new(LittleEndian));
        dwarf.write(&mut sections).unwrap();
        let mut add = |name: &str, data: &[u8]| {
            let contents = [&[name.len() as u8], name.as_bytes(), data].concat();
            // A size of two bytes of LEB128.
            module.extend_from_slice(&[0, contents.len() as u8 | 0x80, (contents.len() >> 7) as u8]);
            module.extend_from_slice(&contents);
        };
        sections
            .for_each(|id, data| {
                add(id.name(), data.slice());
                Ok::<(), gimli::write::Error>(())
            })
            .unwrap();
        module
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn cases_write_which_lines_they_ran() {
    let folder = Folder::new("writes");
    fs::write(folder.0.join("guest.rs"), "").unwrap();
    fs::write(folder.0.join("guest.wasm"), folder.guest("guest.rs")).unwrap();
    let (code, out, err) = folder.scrim(&["test", ".", "--lcov", "lcov.info"]);
    assert_eq!(code, Some(0), "{out}{err}");
    assert_eq!(err, "lcov.info: 3 of 4 lines of 1 source files were run\n");
    let source = folder.0.join("guest.rs");
    let expected = format!(
        "TN:\nSF:{}\nFN:3,function 2\nFNDA:1,function 2\nFNF:1\nFNH:1\nDA:3,1\nDA:4,1\nDA:5,0\nDA:6,1\nLF:4\nLH:3\nend_of_record\n",
        source.display()
    );
    assert_eq!(fs::read_to_string(folder.0.join("lcov.info")).unwrap(), expected);
}

#[test]
fn files_that_are_not_here_are_left_out_unless_asked_for() {
    let folder = Folder::new("elsewhere");
    fs::write(folder.0.join("guest.wasm"), folder.guest("gone.rs")).unwrap();
    let (code, out, err) = folder.scrim(&["test", ".", "--lcov", "lcov.info"]);
    assert_eq!(code, Some(0), "{out}{err}");
    assert!(
        err.contains("1 files of libraries or not on this machine are left out"),
        "{err}"
    );
    assert_eq!(fs::read_to_string(folder.0.join("lcov.info")).unwrap(), "");
    let (_, _, err) = folder.scrim(&["test", ".", "--lcov", "lcov.info", "--lcov-all"]);
    assert_eq!(err, "lcov.info: 3 of 4 lines of 1 source files were run\n");
    assert!(
        fs::read_to_string(folder.0.join("lcov.info"))
            .unwrap()
            .contains("gone.rs\n")
    );
}

#[test]
fn what_cannot_be_measured_is_refused_with_its_mend() {
    let folder = Folder::new("refuses");
    fs::write(folder.0.join("guest.wasm"), wat::parse_str(GUEST).unwrap()).unwrap();
    let (code, out, err) = folder.scrim(&["test", ".", "--lcov", "lcov.info"]);
    assert_eq!(code, Some(2), "{out}{err}");
    assert!(
        format!("{out}{err}").contains("debug = \"line-tables-only\""),
        "{out}{err}"
    );
    let (code, out, err) = folder.scrim(&["test", ".", "--lcov", "lcov.info", "--engine", "envoy"]);
    assert_eq!(code, Some(2), "{out}{err}");
    assert!(err.contains("use `--engine wasmtime` or `both`"), "{err}");
}
