//! What case files send, for who wants to measure it instead of judging it.

use std::any::Any;
use std::path::{Path, PathBuf};
use std::rc::Rc;
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
    /// One for each step of each case.
    pub cases: Vec<CaseExchange>,
    /// Modules that were assembled for the file are there as long as this.
    pub(crate) _loaded: Rc<dyn Any>,
}

/// What one case, or a step of one, sends, its bodies in one piece.
#[derive(Clone, Debug)]
pub struct CaseExchange {
    /// The case's name; of several steps each with its number behind it.
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
    /// same time gives the same bytes (but for PS256 to PS512, whose signatures are random). Cases with steps that use what others capture are left
    /// out, and those that crash Envoy.
    ///
    /// # Errors
    /// When the file or what it names can't be read, or its policy does not compile.
    pub fn exchanges(&self, file: &Path, now: i64) -> Result<Vec<Exchanges>> {
        let loaded = Rc::new(Loaded::read_at(file, now)?);
        let variants = loaded.variants();
        let made = variants.into_iter().map(|modules: Option<Modules>| {
            let sound = loaded
                .suite
                .cases
                .iter()
                .enumerate()
                .filter(|(_, case)| case.crashes.is_none());
            let cases = sound.filter_map(|(index, case)| {
                let loaded = &loaded;
                let steps = case.steps.iter().enumerate().map(move |(number, step)| {
                    let name = match case.steps.len() {
                        1 => case.name.value.clone(),
                        _ => format!("{}, step {}", case.name.value, number + 1),
                    };
                    // What a step captures is known only when it runs.
                    let prepared = loaded.prepared(index, number).filter(|_| step.late.is_none())?;
                    let (request, answer) = prepared.exchange(&Delivery::DEFAULT[0], 0);
                    Some(CaseExchange {
                        name,
                        wait: step.wait.map(|Wait(time)| time),
                        request,
                        answer,
                    })
                });
                steps.collect::<Option<Vec<CaseExchange>>>()
            });
            let cases = cases.flatten();
            Ok(Exchanges {
                file: file.to_owned(),
                name: match modules {
                    Some(modules) => format!("{} [{modules}]", loaded.name),
                    None => loaded.name.clone(),
                },
                cases: cases.collect(),
                setup: self.setup(&loaded, modules)?,
                _loaded: Rc::<Loaded>::clone(&loaded),
            })
        });
        made.collect()
    }
}
