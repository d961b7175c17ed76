//! What case files send, for who wants to measure it instead of judging it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;

use super::Runner;
use super::delivery::Delivery;
use super::format::{Modules, Wait};
use super::load::Loaded;
use crate::exchange::{Answer, Request, Setup};

/// A case file's chain of filters, and what its cases send through it.
#[derive(Clone, Debug)]
pub struct Exchanges {
    /// The case file.
    pub file: PathBuf,
    /// Its name without its endings, with the modules where the file has a policy: `trim [suite]`.
    pub name: String,
    /// The gateway that all of them share.
    pub setup: Setup,
    /// One for each case.
    pub cases: Vec<CaseExchange>,
}

/// What one case sends, its bodies in one piece.
#[derive(Clone, Debug)]
pub struct CaseExchange {
    /// The case's name.
    pub name: String,
    /// What passes before.
    pub wait: Option<Duration>,
    /// What the client sends.
    pub request: Request,
    /// What the upstream answers.
    pub answer: Answer,
}

impl Runner<'_> {
    /// The exchanges of a case file, once for each of its `modules`. Tokens are made as of `now`, seconds since the Unix epoch, so that the
    /// same time gives the same bytes (but for PS256 to PS512, whose signatures are random).
    ///
    /// # Errors
    /// When the file or what it names can't be read, or its policy does not compile.
    pub fn exchanges(&self, file: &Path, now: i64) -> Result<Vec<Exchanges>> {
        let loaded = Loaded::read_at(file, now)?;
        let variants = loaded.variants();
        let made = variants.into_iter().map(|modules: Option<Modules>| {
            let cases = loaded.suite.cases.iter().enumerate().filter_map(|(index, case)| {
                let (request, answer) = loaded.exchanges(index, &Delivery::DEFAULT[0]).into_iter().next()?;
                Some(CaseExchange {
                    name: case.name.value.clone(),
                    wait: case.wait.map(|Wait(time)| time),
                    request,
                    answer,
                })
            });
            Ok(Exchanges {
                file: file.to_owned(),
                name: match modules {
                    Some(modules) => format!("{} [{modules}]", loaded.name),
                    None => loaded.name.clone(),
                },
                cases: cases.collect(),
                setup: self.setup(&loaded, modules)?,
            })
        });
        made.collect()
    }
}
