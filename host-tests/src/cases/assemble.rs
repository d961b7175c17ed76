//! Modules in WebAssembly's text format, assembled when a case file names one (`module: probe.wat`).
//!
//! The format is that of the `wat` crate, with two additions that keep probes short:
//!
//! 1. A line `;; include "FILE"` stands for that file's text, relative to the file that says so. An included file includes none itself.
//! 2. `(text "..")` stands for two operands, the address and the length of these bytes. They lie in the module's memory from address
//!    1024 on, up to 64 KiB; the module leaves that room free, and its closing parenthesis is the last one of the file.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail};

/// Where the texts begin in memory.
const FIRST: usize = 1024;
/// Where they have to end.
const LIMIT: usize = 1 << 16;

/// A private folder of assembled modules, removed when dropped.
#[derive(Debug)]
pub(super) struct Assembled(PathBuf);

impl Assembled {
    pub(super) fn new() -> Result<Self> {
        let (process, base) = (std::process::id(), std::env::temp_dir());
        for number in 0..10_000 {
            let folder = base.join(format!("scrim-modules-{process}-{number}"));
            match DirBuilder::new().mode(0o700).create(&folder) {
                Ok(()) => return Ok(Self(folder)),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => {
                    return Err(error).with_context(|| format!("cannot make the folder `{}`", folder.display()));
                }
            }
        }
        bail!(
            "cannot make a folder for assembled modules in `{}`: remove old ones",
            base.display()
        )
    }

    /// The assembled module's file; `number` tells the modules of one case file apart.
    pub(super) fn module(&self, number: usize, source: &Path) -> Result<PathBuf> {
        let bytes = assemble(source)?;
        let file = self.0.join(format!("{number}.wasm"));
        fs::write(&file, bytes).with_context(|| format!("cannot write `{}`", file.display()))?;
        Ok(file)
    }
}

impl Drop for Assembled {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Assembles a file.
fn assemble(source: &Path) -> Result<Vec<u8>> {
    let read = |file: &Path| fs::read_to_string(file).with_context(|| format!("cannot read `{}`", file.display()));
    let text = read(source)?;
    let mut whole = String::new();
    for (number, line) in text.lines().enumerate() {
        match line.trim().strip_prefix(";; include ") {
            None => whole.push_str(line),
            Some(name) => {
                let name = name.trim().trim_matches('"');
                let file = source.parent().unwrap_or(Path::new(".")).join(name);
                let included = read(&file).with_context(|| format!("{}:{}:1: error", source.display(), number + 1))?;
                whole.push_str(&included);
            }
        }
        whole.push('\n');
    }
    let whole = lay_out(&whole).map_err(|what| anyhow!("{}: error: {what}", source.display()))?;
    wat::parse_str(&whole).map_err(|mut error| {
        error.set_path(source);
        anyhow!("cannot assemble: {error}")
    })
}

/// Puts addresses and lengths in for texts, and the texts behind everything else.
fn lay_out(text: &str) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    // The texts as they were written, each with its address.
    let mut laid: Vec<(&str, usize)> = Vec::new();
    let mut next = FIRST;
    let mut rest = text;
    while let Some(at) = rest.find(['"', ';', '(']) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(after) = rest.strip_prefix("(text \"") {
            let end = string_end(after).ok_or("a text without its closing quote")?;
            let after_end = after[end + 1..].trim_start();
            rest = after_end
                .strip_prefix(')')
                .ok_or("a text holds one string and nothing else: close its parenthesis")?;
            let literal = &after[..end];
            let length = string_length(literal);
            let address = match laid.iter().find(|(there, _)| *there == literal) {
                Some((_, address)) => *address,
                None => {
                    let address = next;
                    next += length;
                    laid.push((literal, address));
                    address
                }
            };
            out.push_str(&format!("(i32.const {address}) (i32.const {length})"));
            continue;
        }
        // Texts inside strings and comments stay as they are.
        let kept = match rest.as_bytes() {
            [b'"', ..] => string_end(&rest[1..]).ok_or("a string without its closing quote")? + 2,
            [b';', b';', ..] => rest.find('\n').unwrap_or(rest.len()),
            _ => 1,
        };
        out.push_str(&rest[..kept]);
        rest = &rest[kept..];
    }
    out.push_str(rest);
    if next > LIMIT {
        return Err(format!(
            "its texts take {} bytes, and there is room for {}",
            next - FIRST,
            LIMIT - FIRST
        ));
    }
    if !laid.is_empty() {
        let end = out.rfind(')').ok_or("there is no module")?;
        let data: String = laid
            .iter()
            .map(|(literal, address)| format!("(data (i32.const {address}) \"{literal}\")\n"))
            .collect();
        out.insert_str(end, &data);
    }
    Ok(out)
}

/// Where a string literal ends, from behind its opening quote.
fn string_end(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.bytes().position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    })
}

/// How many bytes a literal stands for: `\n` and its like and `\41` are one, `\u{e9}` is what UTF-8 makes of it.
fn string_length(literal: &str) -> usize {
    let mut length = 0;
    let mut rest = literal;
    while let Some(at) = rest.find('\\') {
        length += at;
        rest = &rest[at + 1..];
        let (size, taken) = match rest.as_bytes() {
            [b'u', b'{', ..] => {
                let end = rest.find('}').unwrap_or(rest.len() - 1);
                let code = u32::from_str_radix(rest.get(2..end).unwrap_or_default(), 16).ok();
                (code.and_then(char::from_u32).map_or(0, char::len_utf8), end + 1)
            }
            [first, ..] if first.is_ascii_hexdigit() => (1, rest.len().min(2)),
            _ => (1, rest.chars().next().map_or(0, char::len_utf8)),
        };
        length += size;
        rest = rest.get(taken..).unwrap_or_default();
    }
    length + rest.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn texts_become_addresses_and_lengths() {
        let source = r#"(module ;; not here: (text "no")
 (import "env" "(text \"nor here\")" (func))
 (call $log (text "a\n\41\u{e9}\"") (text "b") (text "b" ) (text "")))
"#;
        let wanted = r#"(module ;; not here: (text "no")
 (import "env" "(text \"nor here\")" (func))
 (call $log (i32.const 1024) (i32.const 6) (i32.const 1030) (i32.const 1) (i32.const 1030) (i32.const 1) (i32.const 1031) (i32.const 0))(data (i32.const 1024) "a\n\41\u{e9}\"")
(data (i32.const 1030) "b")
(data (i32.const 1031) "")
)
"#;
        assert_eq!(lay_out(source).unwrap(), wanted);
    }

    #[test]
    fn what_cannot_be_laid_out_is_told() {
        for (source, wanted) in [
            ("(module (text \"a", "closing quote"),
            ("(module \"a", "closing quote"),
            ("(module (text \"a\" \"b\"))", "one string"),
            (&format!("(module (text \"{}\"))", "x".repeat(70_000)), "room for 64512"),
        ] {
            let error = lay_out(source).unwrap_err();
            assert!(error.contains(wanted), "{error}");
        }
    }

    #[test]
    fn a_module_is_assembled_with_what_it_includes() {
        let folder = Assembled::new().unwrap();
        let path = |name: &str| folder.0.join(name);
        fs::write(
            path("a.wat"),
            "(module\n ;; include \"b.wat\"\n (func $g (param i32 i32)))\n",
        )
        .unwrap();
        fs::write(path("b.wat"), "(memory 1) (func (call $g (text \"abc\")))").unwrap();
        let module = folder.module(0, &path("a.wat")).unwrap();
        let bytes = fs::read(module).unwrap();
        assert!(bytes.starts_with(b"\0asm") && bytes.windows(3).any(|window| window == b"abc"));

        fs::write(path("a.wat"), "(module\n ;; include \"c.wat\"\n)").unwrap();
        let error = format!("{:#}", folder.module(0, &path("a.wat")).unwrap_err());
        assert!(error.contains("a.wat:2:1: error") && error.contains("c.wat"), "{error}");
        fs::write(path("a.wat"), "(module (func (call $nobody)))").unwrap();
        let error = format!("{:#}", folder.module(0, &path("a.wat")).unwrap_err());
        assert!(error.contains("a.wat:1") && error.contains("$nobody"), "{error}");

        let kept = folder.0.clone();
        drop(folder);
        assert!(!kept.exists());
    }

    proptest! {
        #[test]
        fn nothing_that_is_written_stops_the_assembler(text in "[ -~\n\u{e9}]{0,200}") {
            let _ = lay_out(&text);
        }

        #[test]
        fn lengths_are_those_that_the_assembler_sees(bytes in proptest::collection::vec(any::<u8>(), 0..40), plain in "[a-z \u{e9}]{0,20}") {
            let literal: String = bytes.iter().map(|byte| format!("\\{byte:02x}")).collect::<String>() + &plain;
            prop_assert_eq!(string_length(&literal), bytes.len() + plain.len());
        }
    }
}
