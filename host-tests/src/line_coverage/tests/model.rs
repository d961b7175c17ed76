//! The property: what counters do to random programs is nothing, and what they count is what a model of the programs counts.

use proptest::prelude::*;

use super::*;

/// Programs that a model runs beside the engine.
#[derive(Clone, Debug)]
enum Statement {
    /// Logs a letter.
    Say(u8),
    If(bool, Vec<Statement>, Vec<Statement>),
    Repeat(u8, Vec<Statement>),
    Block(Vec<Statement>),
    /// Leaves the innermost block or repetition, if there is one.
    Leave,
    /// Leaves it if the letter before was even.
    LeaveIf(bool),
    Call,
    Return,
    Trap,
}

fn statements() -> impl Strategy<Value = Vec<Statement>> {
    let leaf = prop_oneof![
        6 => (0u8..36).prop_map(Statement::Say),
        1 => Just(Statement::Leave),
        2 => any::<bool>().prop_map(Statement::LeaveIf),
        2 => Just(Statement::Call),
        1 => Just(Statement::Return),
        1 => Just(Statement::Trap),
    ];
    let statement = leaf.prop_recursive(4, 24, 4, |inner| {
        let list = || prop::collection::vec(inner.clone(), 0..4);
        prop_oneof![
            (any::<bool>(), list(), list()).prop_map(|(yes, then, or)| Statement::If(yes, then, or)),
            (1u8..4, list()).prop_map(|(times, body)| Statement::Repeat(times, body)),
            list().prop_map(Statement::Block),
        ]
    });
    prop::collection::vec(statement, 0..6)
}

/// How a piece of a program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    Go,
    Leave,
    Return,
    Trap,
}

/// Writes a program, one instruction a line, and runs it by the model: both in the same walk over the same statements, so that the
/// model knows the lines.
struct Model<'a> {
    text: Vec<String>,
    /// Lines with an instruction of their own, and how often it is run.
    counts: BTreeMap<u32, u64>,
    said: Vec<u8>,
    callee: Option<&'a [Statement]>,
    callee_at: u32,
}

impl Model<'_> {
    /// The number of the line that comes next.
    fn next(&self) -> u32 {
        self.text.len() as u32 + 1
    }

    fn line(&mut self, text: impl Into<String>) -> u32 {
        self.text.push(text.into());
        let at = self.text.len() as u32;
        self.counts.insert(at, 0);
        at
    }

    /// A line whose instruction is no line's own.
    fn word(&mut self, text: &str) {
        self.text.push(text.to_owned());
    }

    /// Writes statements. False: what is behind them can't be reached.
    fn write(&mut self, list: &[Statement], depth: usize, blocks: &mut Vec<usize>) -> bool {
        for statement in list {
            match statement {
                Statement::Say(letter) => {
                    for line in [
                        "i32.const 2".to_owned(),
                        format!("i32.const {}", 16 + u32::from(*letter)),
                        "i32.const 1".to_owned(),
                        "call $log".to_owned(),
                        "drop".to_owned(),
                    ] {
                        self.line(line);
                    }
                }
                Statement::If(yes, then, or) => {
                    self.line(format!("i32.const {}", i32::from(*yes)));
                    self.line("if");
                    self.write(then, depth + 1, blocks);
                    self.word("else");
                    self.write(or, depth + 1, blocks);
                    self.word("end");
                }
                Statement::Repeat(times, body) => {
                    self.line("i32.const 0");
                    self.line(format!("local.set $i{depth}"));
                    self.line("block");
                    self.line("loop");
                    blocks.push(depth + 1);
                    let goes_on = self.write(body, depth + 2, blocks);
                    blocks.pop();
                    if goes_on {
                        for line in [
                            format!("local.get $i{depth}"),
                            "i32.const 1".to_owned(),
                            "i32.add".to_owned(),
                            format!("local.tee $i{depth}"),
                            format!("i32.const {times}"),
                            "i32.lt_u".to_owned(),
                            "br_if 0".to_owned(),
                        ] {
                            self.line(line);
                        }
                    }
                    self.word("end");
                    self.word("end");
                }
                Statement::Block(body) => {
                    self.line("block");
                    blocks.push(depth + 1);
                    self.write(body, depth + 1, blocks);
                    blocks.pop();
                    self.word("end");
                }
                Statement::Leave => {
                    if let Some(block) = blocks.last() {
                        self.line(format!("br {}", depth - block));
                        return false;
                    }
                }
                Statement::LeaveIf(yes) => {
                    if let Some(block) = blocks.last() {
                        self.line(format!("i32.const {}", i32::from(*yes)));
                        self.line(format!("br_if {}", depth - block));
                    }
                }
                Statement::Call => {
                    if self.callee.is_some() {
                        self.line("call $callee");
                    }
                }
                Statement::Return => {
                    self.line("return");
                    return false;
                }
                Statement::Trap => {
                    self.line("unreachable");
                    return false;
                }
            }
        }
        true
    }

    fn ran(&mut self, at: &mut u32, lines: u32) {
        for _ in 0..lines {
            if let Some(count) = self.counts.get_mut(at) {
                *count += 1;
            }
            *at += 1;
        }
    }

    /// How many lines statements take, and whether what is behind them can be reached.
    fn size(&self, list: &[Statement], in_block: bool) -> (u32, bool) {
        let mut measure = Model {
            text: Vec::new(),
            counts: BTreeMap::new(),
            said: Vec::new(),
            callee: self.callee,
            callee_at: 0,
        };
        let mut blocks = if in_block { vec![1] } else { Vec::new() };
        let goes_on = measure.write(list, 9, &mut blocks);
        (measure.text.len() as u32, goes_on)
    }

    /// Runs statements that are written from line `at` on.
    fn run(&mut self, list: &[Statement], mut at: u32, in_block: bool) -> Flow {
        let at = &mut at;
        for statement in list {
            let behind = *at + self.size(std::slice::from_ref(statement), in_block).0;
            let flow = match statement {
                Statement::Say(letter) => {
                    self.ran(at, 5);
                    self.said
                        .push(b"0123456789abcdefghijklmnopqrstuvwxyz"[usize::from(*letter)]);
                    Flow::Go
                }
                Statement::If(yes, then, or) => {
                    self.ran(at, 2);
                    let otherwise = *at + self.size(then, in_block).0 + 1;
                    match yes {
                        true => self.run(then, *at, in_block),
                        false => self.run(or, otherwise, in_block),
                    }
                }
                Statement::Repeat(times, body) => {
                    self.ran(at, 4);
                    let (size, goes_on) = self.size(body, true);
                    let mut flow = Flow::Go;
                    for _ in 0..*times {
                        flow = self.run(body, *at, true);
                        if flow != Flow::Go {
                            break;
                        }
                        assert!(goes_on);
                        self.ran(&mut (*at + size), 7);
                    }
                    if flow == Flow::Leave { Flow::Go } else { flow }
                }
                Statement::Block(body) => {
                    self.ran(at, 1);
                    match self.run(body, *at, true) {
                        Flow::Leave => Flow::Go,
                        flow => flow,
                    }
                }
                Statement::Leave if in_block => {
                    self.ran(at, 1);
                    Flow::Leave
                }
                Statement::LeaveIf(yes) if in_block => {
                    self.ran(at, 2);
                    if *yes { Flow::Leave } else { Flow::Go }
                }
                Statement::Leave | Statement::LeaveIf(_) => Flow::Go,
                Statement::Call => match self.callee {
                    Some(callee) => {
                        self.ran(at, 1);
                        match self.run_function(callee, self.callee_at) {
                            Flow::Trap => Flow::Trap,
                            _ => Flow::Go,
                        }
                    }
                    None => Flow::Go,
                },
                Statement::Return => {
                    self.ran(at, 1);
                    Flow::Return
                }
                Statement::Trap => {
                    self.ran(at, 1);
                    Flow::Trap
                }
            };
            if flow != Flow::Go {
                return flow;
            }
            *at = behind;
        }
        Flow::Go
    }

    fn run_function(&mut self, list: &[Statement], at: u32) -> Flow {
        let callee = self.callee;
        if at == self.callee_at {
            // It calls nobody.
            self.callee = None;
        }
        let flow = self.run(list, at, false);
        self.callee = callee;
        flow
    }
}

const LOCALS: &str = "(local $i0 i32) (local $i1 i32) (local $i2 i32) (local $i3 i32) (local $i4 i32) (local $i5 i32) \
    (local $i6 i32) (local $i7 i32) (local $i8 i32) (local $i9 i32)";

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// The counters change nothing of what a guest does, and count what a model of the guest says that it does.
    #[test]
    fn instrumented_guests_behave_as_plain_ones_and_count_what_they_do(main in statements(), callee in statements()) {
        let mut model = Model {
            text: PRELUDE.lines().map(str::to_owned).collect(),
            counts: BTreeMap::new(),
            said: Vec::new(),
            callee: None,
            callee_at: 0,
        };
        model.word(&format!("(func $callee {LOCALS}"));
        model.callee_at = model.next();
        model.write(&callee, 0, &mut Vec::new());
        model.word(")");
        model.callee = Some(&callee);
        model.word(&format!("(func $run {LOCALS}"));
        let main_at = model.next();
        model.write(&main, 0, &mut Vec::new());
        model.word(")");
        let text = format!(
            "{}\n(func (export \"proxy_on_request_headers\") (param i32 i32 i32) (result i32) call $run i32.const 0))",
            model.text.join("\n")
        );
        let flow = model.run_function(&main, main_at);

        let guest = Guest::new(&assemble(&text));
        let (lines, engine) = counting();
        let measured = exchange(&engine, &guest, "").unwrap();
        let plain = exchange(&Wasmtime::new().unwrap(), &guest, "").unwrap();
        let said = |outcome: &Outcome| {
            let logs = outcome.logs.iter().filter(|(level, _)| level == "info");
            logs.map(|(_, line)| line.clone()).collect::<String>()
        };
        prop_assert_eq!(&measured.client, &plain.client);
        prop_assert_eq!(&measured.upstream, &plain.upstream);
        prop_assert_eq!(said(&measured), said(&plain));
        prop_assert_eq!(said(&measured).into_bytes(), model.said);
        prop_assert_eq!(measured.client.map(|got| got.status == 200), Some(flow != Flow::Trap));
        let mut counts = counted(&lines);
        // Where functions begin and end is told by the tests above.
        let of_instructions = |line: &u32| model.counts.contains_key(line);
        counts.retain(|line, _| of_instructions(line));
        prop_assert_eq!(counts, model.counts, "{}", text);
    }
}
