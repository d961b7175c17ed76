//! A module's line tables: which source line each piece of its code came from, by its DWARF debug information.
//!
//! 1. Addresses in WebAssembly's DWARF are offsets from the begin of the code section's contents
//!    (<https://yurydelendik.github.io/webassembly-dwarf/>).
//! 2. A row holds until the next row of its sequence; rows of one line that follow each other are one row. A row at the next one's
//!    address holds nothing, and is left out.
//! 3. What the linker took out of the module stays in the tables, at an address where no code can be: it is left out.

use std::collections::BTreeMap;
use std::ops::Range;

use anyhow::Context as _;
use gimli::{Dwarf, EndianSlice, LittleEndian, SectionId};
use wasmparser::{Parser, Payload};

type Reader<'a> = EndianSlice<'a, LittleEndian>;

/// The lines of a module's code.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct LineTable {
    /// The paths of the source files, as absolute as the debug information has them.
    pub(super) files: Vec<String>,
    /// In the order of their begins.
    pub(super) rows: Vec<Row>,
}

/// A piece of code that came from one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// Where in the code section's contents.
    pub(super) code: Range<u64>,
    /// An index into [`LineTable::files`].
    pub(super) file: usize,
    /// From 1; 0: the compiler made it up.
    pub(super) line: u32,
    /// Whether a debugger would stop here: a statement begins.
    pub(super) is_statement: bool,
}

impl LineTable {
    /// The lines of a module; none: it has no line tables.
    ///
    /// # Errors
    ///
    /// When its debug information can't be read.
    pub(super) fn read(module: &[u8]) -> anyhow::Result<Option<Self>> {
        let mut sections = BTreeMap::new();
        for payload in Parser::new(0).parse_all(module) {
            if let Payload::CustomSection(section) = payload?
                && section.name().starts_with(".debug_")
            {
                sections.insert(section.name(), section.data());
            }
        }
        let section = |id: SectionId| sections.get(id.name()).copied().unwrap_or_default();
        if section(SectionId::DebugLine).is_empty() || section(SectionId::DebugInfo).is_empty() {
            return Ok(None);
        }
        let dwarf = Dwarf::load(|id| Ok::<_, gimli::Error>(EndianSlice::new(section(id), LittleEndian)));
        let mut reading = Reading::default();
        dwarf
            .and_then(|dwarf| reading.units(&dwarf))
            .context("its debug information can't be read")?;
        reading.table.rows.sort_by_key(|row| row.code.start);
        Ok((!reading.table.rows.is_empty()).then_some(reading.table))
    }
}

#[derive(Default)]
struct Reading {
    table: LineTable,
    numbers: BTreeMap<String, usize>,
}

impl Reading {
    fn units(&mut self, dwarf: &Dwarf<Reader<'_>>) -> gimli::Result<()> {
        let mut units = dwarf.units();
        while let Some(header) = units.next()? {
            let unit = dwarf.unit(header)?;
            self.unit(dwarf, &unit)?;
        }
        Ok(())
    }

    fn unit(&mut self, dwarf: &Dwarf<Reader<'_>>, unit: &gimli::Unit<Reader<'_>>) -> gimli::Result<()> {
        let Some(program) = unit.line_program.clone() else {
            return Ok(());
        };
        let mut files: BTreeMap<u64, usize> = BTreeMap::new();
        let mut rows = program.rows();
        let mut sequence: Vec<Row> = Vec::new();
        while let Some((header, row)) = rows.next_row()? {
            if let Some(last) = sequence.last_mut() {
                last.code.end = row.address();
                if last.code.is_empty() {
                    sequence.pop();
                }
            }
            if row.end_sequence() {
                self.keep(&mut sequence);
                continue;
            }
            let file = match files.get(&row.file_index()) {
                Some(file) => *file,
                None => {
                    let file = self.file(path(dwarf, unit, header, row.file_index())?);
                    files.insert(row.file_index(), file);
                    file
                }
            };
            let line = row.line().and_then(|line| u32::try_from(line.get()).ok()).unwrap_or(0);
            match sequence.last_mut() {
                Some(last) if (last.file, last.line) == (file, line) => last.is_statement |= row.is_stmt(),
                _ => sequence.push(Row {
                    code: row.address()..row.address(),
                    file,
                    line,
                    is_statement: row.is_stmt(),
                }),
            }
        }
        Ok(())
    }

    /// Keeps a whole sequence, unless it is of code that is not there: at 0 there is the number of functions. The other mark of
    /// such code, an address near the greatest one, `gimli` leaves out by itself.
    fn keep(&mut self, sequence: &mut Vec<Row>) {
        let is_there = sequence.first().is_some_and(|row| row.code.start > 0);
        let rows = sequence.drain(..).filter(|row| !row.code.is_empty());
        if is_there {
            self.table.rows.extend(rows);
        }
    }

    fn file(&mut self, path: String) -> usize {
        let files = &mut self.table.files;
        *self.numbers.entry(path).or_insert_with_key(|path| {
            files.push(path.clone());
            files.len() - 1
        })
    }
}

/// The path of a file: compilation folder, folder and name, each of which may be absolute.
fn path(
    dwarf: &Dwarf<Reader<'_>>,
    unit: &gimli::Unit<Reader<'_>>,
    header: &gimli::LineProgramHeader<Reader<'_>>,
    index: u64,
) -> gimli::Result<String> {
    let mut parts = Vec::new();
    if let Some(folder) = unit.comp_dir {
        parts.push(folder.to_string_lossy());
    }
    let Some(file) = header.file(index) else {
        return Ok("<unknown>".to_owned());
    };
    if let Some(folder) = file.directory(header) {
        parts.push(dwarf.attr_string(unit, folder)?.to_string_lossy());
    }
    parts.push(dwarf.attr_string(unit, file.path_name())?.to_string_lossy());
    Ok(join(&parts))
}

/// Joins paths: an absolute one begins anew. `.` and `..` are taken out by name; links are not followed, so that a path stays as
/// its author knows it. Guests are built elsewhere, too: Windows' paths are left as they are.
fn join<S: AsRef<str>>(parts: &[S]) -> String {
    let begin = parts.iter().rposition(|part| is_absolute(part.as_ref())).unwrap_or(0);
    let whole = parts[begin..]
        .iter()
        .map(AsRef::as_ref)
        .collect::<Vec<&str>>()
        .join("/");
    let mut kept: Vec<&str> = Vec::new();
    for part in whole.split('/') {
        match (part, kept.last()) {
            ("" | ".", _) => {}
            ("..", Some(last)) if *last != ".." => drop(kept.pop()),
            ("..", None) if whole.starts_with('/') => {}
            _ => kept.push(part),
        }
    }
    let root = if whole.starts_with('/') { "/" } else { "" };
    format!("{root}{}", kept.join("/"))
}

fn is_absolute(path: &str) -> bool {
    path.starts_with('/') || matches!(path.as_bytes(), [letter, b':', b'/' | b'\\', ..] if letter.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Wanted, with_lines};
    use super::*;

    fn module(version: u16, sequences: &[&[Wanted]]) -> Vec<u8> {
        with_lines(
            b"\0asm\x01\0\0\0",
            version,
            "/made",
            "src/./deep",
            "../mod.rs",
            sequences,
        )
    }

    fn read(sequences: &[&[Wanted]]) -> Vec<(u64, u64, u32, bool)> {
        let rows = |version| {
            let table = LineTable::read(&module(version, sequences))
                .unwrap()
                .unwrap_or_default();
            let files: Vec<&str> = table.files.iter().map(String::as_str).collect();
            assert_eq!(files.get(..1).unwrap_or(&["/made/src/mod.rs"]), ["/made/src/mod.rs"]);
            let rows = table.rows.into_iter();
            rows.map(|row| (row.code.start, row.code.end, row.line, row.is_statement))
                .collect::<Vec<_>>()
        };
        let (four, five) = (rows(4), rows(5));
        assert_eq!(four, five);
        five
    }

    #[test]
    fn a_row_ends_where_the_next_begins() {
        let rows = read(&[&[
            (10, Some(3), true),
            (12, Some(0), true),
            (13, Some(4), false),
            (20, None, false),
        ]]);
        assert_eq!(rows, [(10, 12, 3, true), (12, 13, 0, true), (13, 20, 4, false)]);
    }

    #[test]
    fn rows_of_one_line_are_one_and_empty_ones_none() {
        let one = [
            (10, Some(3), false),
            (12, Some(3), true),
            (14, Some(9), true),
            (14, Some(4), true),
            (20, None, false),
        ];
        assert_eq!(read(&[&one]), [(10, 14, 3, true), (14, 20, 4, true)]);
    }

    #[test]
    fn rows_come_in_the_order_of_the_code_and_without_what_the_linker_removed() {
        let rows = read(&[
            &[(30, Some(3), true), (40, None, false)],
            &[(0, Some(8), true), (12, None, false)],
            &[(0xffff_ffff, Some(7), true), (0xffff_ffff, None, false)],
            &[(10, Some(5), true), (20, None, false)],
        ]);
        assert_eq!(rows, [(10, 20, 5, true), (30, 40, 3, true)]);
    }

    #[test]
    fn no_line_tables_are_not_an_error_and_broken_ones_are() {
        assert_eq!(LineTable::read(b"\0asm\x01\0\0\0").unwrap(), None);
        assert_eq!(LineTable::read(&module(5, &[])).unwrap(), None);
        let mut broken = module(4, &[&[(10, Some(3), true), (20, None, false)]]);
        let name = broken
            .windows(12)
            .position(|window| window == b"\x0b.debug_line")
            .unwrap();
        broken[name + 12] = 0xff;
        let error = format!("{:#}", LineTable::read(&broken).unwrap_err());
        assert!(error.starts_with("its debug information can't be read: "), "{error}");
    }

    #[test]
    fn paths_are_joined_from_the_last_absolute_part() {
        assert_eq!(join(&["/a", "b", "c.rs"]), "/a/b/c.rs");
        assert_eq!(join(&["/a", "/b", "c.rs"]), "/b/c.rs");
        assert_eq!(join(&["/a", "../../../x/./c.rs"]), "/x/c.rs");
        assert_eq!(join(&["../a", "c.rs"]), "../a/c.rs");
        assert_eq!(join(&["/a", "C:/b", "c.rs"]), "C:/b/c.rs");
    }
}
