//! Puts counters into a module: one at each place from which a source line is run.
//!
//! 1. A counter is 64 bits in a memory of its own, which is added to the module and exported as [`MEMORY`]. The code that counts
//!    leaves operands, locals, globals and the guest's own memories alone, and can't trap. So the guest makes the same host calls,
//!    gives the same results and traps at the same instruction. It burns more fuel and time, its frames may take more stack, and
//!    its backtraces have other code
//!    offsets and no source lines.
//! 2. Nothing in a function's body refers to the offsets of its instructions, so code is put between them, and not one of them is
//!    changed. Custom sections that do know offsets (debug information, branch hints) are left out.
//! 3. A line is counted where one of its rows begins, and again wherever control may arrive inside the row from elsewhere: at the
//!    begin of a loop, and after `else`, `catch` and `end`. These words themselves are not a line's: `end` is passed whether or not
//!    what is before it was run.
//! 4. Code behind an unconditional branch is never run, and is not counted.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail};
use wasmparser::{FunctionBody, KnownCustom, Name, Operator, Parser, Payload, TypeRef};

use super::lines::LineTable;

/// The name of the counters' export.
pub(super) const MEMORY: &str = "scrim_coverage";

/// A module with counters, and what they count.
#[derive(Clone, Debug, Default)]
pub(super) struct Instrumented {
    /// The new module.
    pub(super) module: Vec<u8>,
    /// How many counters there are. Number `n` is the 64 bits, little-endian, at byte `8 * n` of the memory.
    pub(super) counters: usize,
    /// What they count. One counter may be of several lines, and one line has many.
    pub(super) points: Vec<Point>,
    /// The functions whose line is known.
    pub(super) functions: Vec<Function>,
}

/// A counter is of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Point {
    pub(super) counter: usize,
    /// Which of the module's functions it is in.
    pub(super) function: u32,
    /// An index into the table's files.
    pub(super) file: usize,
    /// From 1.
    pub(super) line: u32,
}

/// A counter is of a function's calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Function {
    pub(super) counter: usize,
    /// As in the module's name section, not demangled; none: the module doesn't say.
    pub(super) name: Option<String>,
    /// Which of the module's functions it is.
    pub(super) number: u32,
    /// An index into the table's files.
    pub(super) file: usize,
    /// Where it begins, from 1.
    pub(super) line: u32,
}

/// Puts counters into a valid module.
///
/// # Errors
///
/// When the module has an export that is named as the counters' would be, or exports nothing.
pub(super) fn instrument(module: &[u8], table: &LineTable) -> anyhow::Result<Instrumented> {
    let shape = Shape::read(module)?;
    let mut made = Instrumented::default();
    let mut code = Vec::new();
    let mut end = shape.code;
    for (at, body) in shape.bodies.iter().enumerate() {
        let number = shape.imported_functions + at as u32;
        let begin = std::mem::replace(&mut end, body.range().end);
        let body = made.function(&shape, table, body, begin, number)?;
        number_to(&mut code, body.len() as u64);
        code.extend_from_slice(&body);
    }
    made.write(module, &shape, &code)?;
    Ok(made)
}

/// What has to be known of a module.
#[derive(Default)]
struct Shape<'a> {
    imported_functions: u32,
    memories: u32,
    has_memory_section: bool,
    /// Where the code section's contents begin in the module.
    code: usize,
    bodies: Vec<FunctionBody<'a>>,
    names: BTreeMap<u32, &'a str>,
}

impl<'a> Shape<'a> {
    fn read(module: &'a [u8]) -> anyhow::Result<Self> {
        let mut shape = Shape::default();
        let mut exports = false;
        for payload in Parser::new(0).parse_all(module) {
            match payload? {
                Payload::ImportSection(section) => {
                    for import in section.into_imports() {
                        match import?.ty {
                            TypeRef::Func(_) | TypeRef::FuncExact(_) => shape.imported_functions += 1,
                            TypeRef::Memory(_) => shape.memories += 1,
                            TypeRef::Table(_) | TypeRef::Global(_) | TypeRef::Tag(_) => {}
                        }
                    }
                }
                Payload::MemorySection(section) => {
                    shape.has_memory_section = true;
                    shape.memories += section.count();
                }
                Payload::ExportSection(section) => {
                    exports = true;
                    for export in section {
                        if export?.name == MEMORY {
                            bail!(
                                "exports `{MEMORY}` already: it has been measured before; give the module as it was built"
                            );
                        }
                    }
                }
                Payload::CodeSectionStart { range, .. } => shape.code = range.start,
                Payload::CodeSectionEntry(body) => shape.bodies.push(body),
                Payload::CustomSection(section) => {
                    if let KnownCustom::Name(names) = section.as_known() {
                        // Names are for people: broken ones are as good as none.
                        for names in names.into_iter().map_while(Result::ok) {
                            if let Name::Function(names) = names {
                                let names = names.into_iter().map_while(Result::ok);
                                shape.names.extend(names.map(|naming| (naming.index, naming.name)));
                            }
                        }
                    }
                }
                _ => {}
            }
        }
        if !exports {
            bail!("exports nothing, so nothing in it can be called");
        }
        Ok(shape)
    }
}

/// A block that is open.
struct Frame {
    /// Whether its begin is ever reached.
    reached: bool,
    is_loop: bool,
}

impl Instrumented {
    /// The new body of a function, the one before which ended at `begin`.
    fn function(
        &mut self,
        shape: &Shape<'_>,
        table: &LineTable,
        body: &FunctionBody<'_>,
        begin: usize,
        number: u32,
    ) -> anyhow::Result<Vec<u8>> {
        let place = |position: usize| position.saturating_sub(shape.code) as u64;
        let rows = &table.rows;
        // Rows that begin before this function do not reach into it: each function's rows begin with its own.
        let mut next = rows.partition_point(|row| row.code.start < place(begin));
        let mut current: Option<usize> = None;
        let mut counted = false;
        let mut arrives = false;
        let mut reached = true;
        let mut frames: Vec<Frame> = Vec::new();
        let mut made = Vec::new();
        let mut copied = body.range().start;
        let mut is_first = true;
        let bytes = body.as_bytes();
        let mut operators = body.get_operators_reader()?;
        while !operators.eof() {
            let (operator, position) = operators.read_with_offset()?;
            // Rows may begin before the first instruction, where a function's locals are declared: its opening line.
            let first_new = next;
            while rows.get(next).is_some_and(|row| row.code.start <= place(position)) {
                next += 1;
            }
            if next > first_new {
                counted = false;
                current = Some(next - 1);
            }
            if current.is_some_and(|row| rows[row].code.end <= place(position)) {
                current = None;
            }
            let is_last = frames.is_empty() && matches!(operator, Operator::End);
            let closes = matches!(
                operator,
                Operator::End
                    | Operator::Else
                    | Operator::Catch { .. }
                    | Operator::CatchAll
                    | Operator::Delegate { .. }
            );
            let opening = if is_first { first_new..next } else { 0..0 };
            let line = current.filter(|_| {
                reached
                    && if closes {
                        is_last && !counted
                    } else {
                        arrives || !counted
                    }
            });
            let mut lines: Vec<(usize, u32)> = opening
                .chain(line)
                .map(|row| &rows[row])
                .filter(|row| row.is_statement && row.line > 0)
                .map(|row| (row.file, row.line))
                .collect();
            lines.dedup();
            if let (true, Some((file, line))) = (is_first, lines.first().copied()) {
                self.functions.push(Function {
                    counter: self.counters,
                    name: shape.names.get(&number).map(|name| (*name).to_owned()),
                    number,
                    file,
                    line,
                });
            }
            if !lines.is_empty() {
                made.extend_from_slice(slice(bytes, body, copied, position)?);
                copied = position;
                self.count(&mut made, shape.memories);
                let counter = self.counters;
                self.points.extend(lines.into_iter().map(|(file, line)| Point {
                    counter,
                    function: number,
                    file,
                    line,
                }));
                self.counters += 1;
            }
            if !closes && reached {
                (counted, arrives) = (true, false);
            }
            is_first = false;
            match operator {
                Operator::Block { .. } | Operator::If { .. } | Operator::TryTable { .. } | Operator::Try { .. } => {
                    frames.push(Frame {
                        reached,
                        is_loop: false,
                    });
                }
                Operator::Loop { .. } => {
                    arrives = true;
                    frames.push(Frame { reached, is_loop: true });
                }
                Operator::Else | Operator::Catch { .. } | Operator::CatchAll => {
                    arrives = true;
                    reached = frames.last().is_none_or(|frame| frame.reached);
                }
                Operator::End | Operator::Delegate { .. } => {
                    arrives = true;
                    // Nothing branches to the end of a loop. That something branches to another block's is taken for granted.
                    match frames.pop() {
                        Some(frame) if !frame.is_loop => reached = frame.reached,
                        _ => {}
                    }
                }
                Operator::Unreachable
                | Operator::Br { .. }
                | Operator::BrTable { .. }
                | Operator::Return
                | Operator::ReturnCall { .. }
                | Operator::ReturnCallIndirect { .. }
                | Operator::ReturnCallRef { .. }
                | Operator::Throw { .. }
                | Operator::ThrowRef
                | Operator::Rethrow { .. } => reached = false,
                _ => {}
            }
        }
        made.extend_from_slice(slice(bytes, body, copied, body.range().end)?);
        Ok(made)
    }

    /// The code that counts: `i32.const 0, i32.const 0, i64.load, i64.const 1, i64.add, i64.store`, in a memory by its index.
    fn count(&self, code: &mut Vec<u8>, memory: u32) {
        // Natural alignment is 2^3; bit 6 says that a memory's index follows.
        const ALIGNED_AND_INDEXED: u8 = 3 | 1 << 6;
        let address = 8 * self.counters as u64;
        let operand = |code: &mut Vec<u8>| {
            code.push(ALIGNED_AND_INDEXED);
            number_to(code, memory.into());
            number_to(code, address);
        };
        code.extend_from_slice(&[0x41, 0, 0x41, 0, 0x29]);
        operand(code);
        code.extend_from_slice(&[0x42, 1, 0x7c, 0x37]);
        operand(code);
    }

    /// The module around the new code.
    fn write(&mut self, module: &[u8], shape: &Shape<'_>, code: &[u8]) -> anyhow::Result<()> {
        const IMPORTS: u8 = 2;
        const MEMORIES: u8 = 5;
        const EXPORTS: u8 = 7;
        const CODE: u8 = 10;
        let out = &mut self.module;
        out.extend_from_slice(module.get(..8).context("no module")?);
        let mut has_memories = shape.has_memory_section;
        for payload in Parser::new(0).parse_all(module) {
            let payload = payload?;
            if let Payload::CustomSection(custom) = &payload
                && knows_offsets(custom.name())
            {
                continue;
            }
            let Some((id, range)) = payload.as_section() else {
                continue;
            };
            // Custom sections may be anywhere; types, imports, functions and tables come before memories.
            if !has_memories && id > IMPORTS + 2 {
                has_memories = true;
                let mut memories = vec![1];
                memory_type(&mut memories, self.counters);
                section(out, MEMORIES, &memories);
            }
            let contents = module.get(range).context("a section goes beyond the module's end")?;
            match id {
                MEMORIES => section(out, id, &one_more(contents, |entry| memory_type(entry, self.counters))?),
                EXPORTS => {
                    let grown = one_more(contents, |entry| {
                        number_to(entry, MEMORY.len() as u64);
                        entry.extend_from_slice(MEMORY.as_bytes());
                        entry.push(2);
                        number_to(entry, shape.memories.into());
                    })?;
                    section(out, id, &grown);
                }
                CODE => {
                    let mut contents = Vec::with_capacity(code.len() + 5);
                    number_to(&mut contents, shape.bodies.len() as u64);
                    contents.extend_from_slice(code);
                    section(out, id, &contents);
                }
                _ => section(out, id, contents),
            }
        }
        Ok(())
    }
}

/// Whether a custom section's contents are about offsets in the code that was.
fn knows_offsets(name: &str) -> bool {
    let names = ["sourceMappingURL", "external_debug_info", "linking"];
    let families = [".debug_", "metadata.code.", "reloc."];
    names.contains(&name) || families.iter().any(|family| name.starts_with(family))
}

/// A memory for so many counters, no more and no less.
fn memory_type(to: &mut Vec<u8>, counters: usize) {
    let pages = (8 * counters as u64).div_ceil(1 << 16);
    to.push(1);
    number_to(to, pages);
    number_to(to, pages);
}

/// The contents of a section, which begin with the number of its entries, with one entry more at their end.
fn one_more(contents: &[u8], entry: impl FnOnce(&mut Vec<u8>)) -> anyhow::Result<Vec<u8>> {
    let mut reader = wasmparser::BinaryReader::new(contents, 0);
    let count = reader.read_var_u32()?;
    let mut grown = Vec::with_capacity(contents.len() + 32);
    number_to(&mut grown, u64::from(count) + 1);
    grown.extend_from_slice(&contents[reader.original_position()..]);
    entry(&mut grown);
    Ok(grown)
}

fn section(out: &mut Vec<u8>, id: u8, contents: &[u8]) {
    out.push(id);
    number_to(out, contents.len() as u64);
    out.extend_from_slice(contents);
}

/// Some of a body, by positions in the module.
fn slice<'a>(bytes: &'a [u8], body: &FunctionBody<'_>, from: usize, to: usize) -> anyhow::Result<&'a [u8]> {
    let begin = body.range().start;
    bytes
        .get(from - begin..to - begin)
        .context("an instruction goes beyond its function's end")
}

/// Unsigned LEB128.
fn number_to(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}
