//! Short ways to make setups, requests and answers, and to read outcomes, for tests in Rust.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use sha2::{Digest as _, Sha256};

use super::{Answer, Body, End, Filter, Got, Headers, Outcome, Request, Seen, Setup};

impl Setup {
    /// Filters, outermost first; everything else as Envoy has it by default.
    pub fn of(filters: impl IntoIterator<Item = Filter>) -> Self {
        Setup {
            filters: filters.into_iter().collect(),
            ..Setup::default()
        }
    }
}

impl Filter {
    /// The module of a file, named after it, without a configuration. The file is read when an engine starts it.
    pub fn from_file(module: impl Into<PathBuf>) -> Self {
        let module = module.into();
        let name = module.file_stem().map(|stem| stem.to_string_lossy().into_owned());
        Filter {
            name: name.unwrap_or_default(),
            module,
            ..Filter::default()
        }
    }

    /// A module that is at hand as bytes. Engines read files, Envoy among them: it is put into one, named after its content, in
    /// `scrim-modules` of the folder for temporary files.
    ///
    /// # Errors
    ///
    /// When the file can't be written, or another one of that name holds something else.
    pub fn from_bytes(bytes: &[u8]) -> anyhow::Result<Self> {
        Ok(Filter {
            name: "test".to_owned(),
            module: keep(&std::env::temp_dir().join("scrim-modules"), bytes)?,
            ..Filter::default()
        })
    }

    /// A module in the WebAssembly text format, as [`from_bytes`](Filter::from_bytes).
    ///
    /// # Errors
    ///
    /// When the text is no module, with the place, or as `from_bytes`.
    pub fn from_wat(text: &str) -> anyhow::Result<Self> {
        Self::from_bytes(&wat::parse_str(text)?)
    }

    /// Its name in the chain, which errors and [`take_costs`](crate::wasm::Chain::take_costs) say.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// The plugin configuration, as the module gets it.
    #[must_use]
    pub fn configuration(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.configuration = bytes.into();
        self
    }
}

/// Puts bytes into a file named after them. Nobody sees half a file: it is renamed when it is whole.
fn keep(folder: &Path, bytes: &[u8]) -> anyhow::Result<PathBuf> {
    let digest = Sha256::digest(bytes);
    let mut name = String::new();
    for byte in digest {
        let _ = write!(name, "{byte:02x}");
    }
    let path = folder.join(format!("{name}.wasm"));
    let there = |path: &Path| std::fs::read(path).is_ok_and(|there| there == bytes);
    if there(&path) {
        return Ok(path);
    }
    let write = || -> std::io::Result<()> {
        std::fs::create_dir_all(folder)?;
        // Threads and processes that want the same file at once each write their own.
        let own = format!("{name}.{}.{:?}", std::process::id(), std::thread::current().id());
        let own = folder.join(own.replace(['(', ')'], "-"));
        std::fs::File::create(&own)?.write_all(bytes)?;
        std::fs::rename(&own, &path)
    };
    write().with_context(|| format!("can't put the module into `{}`", path.display()))?;
    anyhow::ensure!(there(&path), "`{}` holds something else: remove it", path.display());
    Ok(path)
}

impl Request {
    /// A request to `example.org` without headers and body.
    pub fn new(method: &str, target: &str) -> Self {
        Request {
            method: method.to_owned(),
            target: target.as_bytes().to_vec(),
            authority: "example.org".to_owned(),
            ..Request::default()
        }
    }

    /// `GET`, as [`new`](Request::new).
    pub fn get(target: &str) -> Self {
        Self::new("GET", target)
    }

    /// `POST`, as [`new`](Request::new).
    pub fn post(target: &str) -> Self {
        Self::new("POST", target)
    }

    /// One more header line. Names are made lowercase.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        add(&mut self.headers, name, value.as_ref());
        self
    }

    /// A body in one chunk, which ends it.
    #[must_use]
    pub fn body(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.body = Body::of(bytes);
        self
    }

    /// A body of JSON, with its content type.
    #[must_use]
    pub fn json(self, json: &serde_json::Value) -> Self {
        self.header("content-type", "application/json").body(json.to_string())
    }
}

impl Answer {
    /// Status 200 without headers and body.
    pub fn ok() -> Self {
        Self::of_status(200)
    }

    /// A status without headers and body.
    pub fn of_status(status: u16) -> Self {
        Answer {
            status,
            headers: Headers::new(),
            body: Body::default(),
            fault: None,
        }
    }

    /// One more header line. Names are made lowercase.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        add(&mut self.headers, name, value.as_ref());
        self
    }

    /// A body in one chunk, which ends it.
    #[must_use]
    pub fn body(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.body = Body::of(bytes);
        self
    }

    /// A body of JSON, with its content type.
    #[must_use]
    pub fn json(self, json: &serde_json::Value) -> Self {
        self.header("content-type", "application/json").body(json.to_string())
    }
}

impl Body {
    /// One chunk, which is the end. No bytes: no body.
    pub fn of(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        Body {
            chunks: if bytes.is_empty() { Vec::new() } else { vec![bytes] },
            end: End::WithLastChunk,
            trailers: Headers::new(),
        }
    }

    /// These chunks, and then an empty end, as a body of unknown length comes.
    pub fn chunked<T: Into<Vec<u8>>>(chunks: impl IntoIterator<Item = T>) -> Self {
        Body {
            chunks: chunks.into_iter().map(Into::into).collect(),
            end: End::Empty,
            trailers: Headers::new(),
        }
    }
}

impl Outcome {
    /// The status that the client got; none: the stream was reset before.
    pub fn status(&self) -> Option<u16> {
        self.client.as_ref().map(|client| client.status)
    }

    /// Whether a line was logged that holds this text.
    pub fn logged(&self, text: &str) -> bool {
        self.logs.iter().any(|(_, line)| line.contains(text))
    }
}

impl Got {
    /// The values of a header, one for each line, in order.
    pub fn header(&self, name: &str) -> Vec<String> {
        values(&self.headers, name)
    }
}

impl Seen {
    /// The values of a header, one for each line, in order.
    pub fn header(&self, name: &str) -> Vec<String> {
        values(&self.headers, name)
    }
}

fn add(headers: &mut Headers, name: &str, value: &[u8]) {
    headers.push((name.to_ascii_lowercase(), value.to_vec()));
}

fn values(headers: &Headers, wanted: &str) -> Vec<String> {
    let lines = headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
    lines
        .map(|(_, value)| String::from_utf8_lossy(value).into_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_become_a_file_that_holds_them_and_only_them() {
        let folder = std::env::temp_dir().join(format!("scrim-keep-{}", std::process::id()));
        let path = keep(&folder, b"one").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"one");
        assert_ne!(path, keep(&folder, b"two").unwrap());
        std::fs::write(&path, b"somebody else's").unwrap();
        assert_eq!(std::fs::read(keep(&folder, b"one").unwrap()).unwrap(), b"one");
        assert_eq!(
            std::fs::read_dir(&folder).unwrap().count(),
            2,
            "nothing half written stays"
        );
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn names_are_lowercase_and_lines_stay_apart() {
        let request = Request::get("/").header("X-A", "1").header("x-a", [0xff]);
        assert_eq!(
            request.headers,
            [("x-a".to_owned(), b"1".to_vec()), ("x-a".to_owned(), vec![0xff])]
        );
        let seen = Seen {
            headers: request.headers,
            ..Seen::default()
        };
        assert_eq!(seen.header("X-a"), ["1", "\u{fffd}"]);
    }

    #[test]
    fn a_text_that_is_no_module_is_refused_with_its_place() {
        let error = Filter::from_wat("(module\n (bogus))").unwrap_err().to_string();
        assert!(error.contains(":2:"), "{error}");
    }
}
