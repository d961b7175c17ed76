//! stub while merging
use std::sync::Arc;
use crate::url::Target;
#[derive(Clone,Copy)]
pub enum Action { Reject, Strip, Mask, Tokenize, Observe, Pass }
pub enum Detector { Ssn, Email, Phone, Mrn }
pub enum Preset { FhirR4 }
pub struct Rules { pub preset: Option<Preset>, pub on_query: Action, pub query: Vec<(String, Action)>, pub on_path: Action, pub detect: Vec<Detector>, pub on_detect: Action }
pub struct PhiPolicy;
pub struct Counts { pub masked:u32, pub stripped:u32, pub tokenized:u32, pub observed:u32, pub detected:u32 }
pub enum Outcome { Pass, Rewrite(Vec<u8>), Reject { parameter: Option<String>, place: &'static str } }
pub struct Judgement { pub outcome: Outcome, pub log_safe: String, pub counts: Counts }
pub enum HeaderJudgement { Keep, Remove, Replace(Vec<u8>) }
pub trait Pseudonymise { fn pseudonym(&self, value: &[u8]) -> String; }
impl PhiPolicy { pub fn new(_r: Rules, _p: Option<Arc<dyn Pseudonymise>>) -> Result<Self, String> { Ok(PhiPolicy) } pub fn judge(&self, _t:&Target) -> Judgement { todo!() } pub fn judge_referer(&self, _v:&[u8]) -> HeaderJudgement { todo!() } }
pub fn log_safe(_t:&Target)->String { todo!() }
impl Pseudonymise for crate::pseudonym::Pseudonymiser { fn pseudonym(&self, v:&[u8])->String { Self::pseudonym(self, v).as_str().to_owned() } }
