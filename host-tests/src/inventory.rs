//! Which fields recorded responses have, and a draft of a policy from them, for a person to decide on. No value is ever shown.
//!
//! 1. Recordings are HAR files, files of JSON, NDJSON or a JSON text sequence, and folders of such. What is none is told, by the file's name.
//! 2. A field is a path of [`scrim_policy::inventory`] at which more than objects stood, or nothing below it is known.
//! 3. It is marked by its names, and by what its values look like to the recognisers of `phi-url`: PHI, sensitive or other. That is a guess:
//!    a name says what someone meant to put there.
//! 4. The draft keeps what is marked other, with a line for each field that is not kept, commented out.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value as Json, json};

use scrim_policy::fhir::is_resource_type;
use scrim_policy::framing::MediaType;
use scrim_policy::inventory::{Inventory, is_plain};
use scrim_policy::phi::{Action, DetectEntry, Detector, PhiPolicy, Rules, Scene, Secrets};

/// How many paths are told apart.
const ROOM: usize = 20_000;

/// What a field may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mark {
    /// It says who someone is.
    Phi,
    /// It says something of someone, or may.
    Sensitive,
    /// Neither, by its name.
    Other,
}

impl Mark {
    /// As the draft writes it.
    pub fn word(self) -> &'static str {
        match self {
            Mark::Phi => "PHI",
            Mark::Sensitive => "sensitive",
            Mark::Other => "other",
        }
    }
}

/// A field of the recorded bodies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// As [`Inventory::paths`] gives it.
    pub path: String,
    /// How many values stood there.
    pub count: u32,
    /// Their JSON types.
    pub kinds: Vec<&'static str>,
    /// What it may hold.
    pub mark: Mark,
    /// Values there look like PHI to a recogniser.
    pub detected: bool,
}

/// What was recorded.
pub struct Recorded {
    inventory: Inventory,
    looks: Looks,
    recognisers: PhiPolicy,
    /// How many bodies were read.
    pub bodies: usize,
    /// What was passed over, and why: a file's name and no more of what is in it.
    pub skipped: Vec<String>,
}

/// Where values look like PHI: the name of the field, behind that of what it stands in.
#[derive(Default)]
struct Looks(BTreeSet<(String, String)>);

impl Default for Recorded {
    fn default() -> Recorded {
        Recorded {
            inventory: Inventory::with_room(ROOM),
            looks: Looks::default(),
            recognisers: recognisers(),
            bodies: 0,
            skipped: Vec::new(),
        }
    }
}

impl Recorded {
    /// Reads files, and folders with all below them.
    pub fn read(paths: &[PathBuf]) -> Recorded {
        let mut recorded = Recorded::default();
        for path in paths {
            recorded.path(path, true);
        }
        recorded
    }

    fn path(&mut self, path: &Path, named: bool) {
        let extension = path
            .extension()
            .unwrap_or_default()
            .to_string_lossy()
            .to_ascii_lowercase();
        if path.is_dir() {
            match fs::read_dir(path) {
                Ok(entries) => {
                    let mut paths: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
                    paths.sort();
                    paths.iter().for_each(|path| self.path(path, false));
                }
                Err(why) => self.skip(path, &why.to_string()),
            }
        } else if named || ["har", "json", "ndjson", "jsonl", "json-seq"].contains(&&*extension) {
            match fs::read(path) {
                Ok(bytes) => self.file(path, &extension, &bytes),
                Err(why) => self.skip(path, &why.to_string()),
            }
        }
    }

    fn skip(&mut self, path: &Path, why: &str) {
        self.skipped.push(format!("{}: {why}", path.display()));
    }

    fn file(&mut self, path: &Path, extension: &str, bytes: &[u8]) {
        let kind = match extension {
            "ndjson" | "jsonl" => MediaType::NdJson,
            "json-seq" => MediaType::JsonSeq,
            _ => MediaType::Json,
        };
        if kind == MediaType::Json
            && let Ok(value) = serde_json::from_slice::<Json>(bytes)
            && let Some(entries) = value.pointer("/log/entries").and_then(Json::as_array)
        {
            for (at, entry) in entries.iter().enumerate() {
                if let Err(why) = self.entry(entry) {
                    self.skip(path, &format!("response {}: {why}", at + 1));
                }
            }
        } else if let Err(why) = self.bodies(kind, bytes) {
            self.skip(path, &why);
        }
    }

    /// One exchange of a HAR file.
    fn entry(&mut self, entry: &Json) -> Result<(), String> {
        let content = entry.pointer("/response/content").unwrap_or(&Json::Null);
        let Some(text) = content
            .get("text")
            .and_then(Json::as_str)
            .filter(|text| !text.is_empty())
        else {
            return Ok(());
        };
        let bytes = match content.get("encoding").and_then(Json::as_str) {
            Some("base64") => STANDARD
                .decode(text)
                .map_err(|_| "its text is not the base64 that it says".to_owned())?,
            _ => text.as_bytes().to_vec(),
        };
        let line = content.get("mimeType").and_then(Json::as_str).unwrap_or_default();
        match MediaType::of([line.as_bytes()].into_iter()) {
            // Pictures, scripts and pages are no news in a recording of a browser.
            MediaType::Other if !line.is_empty() => Ok(()),
            MediaType::Multipart | MediaType::Xml | MediaType::EventStream => Err("not JSON".to_owned()),
            kind @ (MediaType::NdJson | MediaType::JsonSeq) => self.bodies(kind, &bytes),
            _ => self.bodies(MediaType::Json, &bytes),
        }
    }

    fn bodies(&mut self, kind: MediaType, bytes: &[u8]) -> Result<(), String> {
        let separator = match kind {
            MediaType::NdJson => b'\n',
            MediaType::JsonSeq => 0x1e,
            _ => return self.body(bytes),
        };
        bytes
            .split(|byte| *byte == separator)
            .filter(|record| !record.trim_ascii().is_empty())
            .try_for_each(|record| self.body(record))
    }

    fn body(&mut self, bytes: &[u8]) -> Result<(), String> {
        // The inventory is more lenient, and what the parser would tell may quote the text.
        let value: Json = serde_json::from_slice(bytes).map_err(|_| "not JSON".to_owned())?;
        // Here the whole body is at hand: types that come late are no trouble.
        let mut ordered = String::new();
        types_first(&value, &mut ordered);
        let mut one = Inventory::with_room(ROOM);
        one.push(ordered.as_bytes(), true).map_err(|fault| fault.to_string())?;
        self.inventory.merge(&one);
        self.looks.see(&value, &mut vec!["$"], &self.recognisers);
        self.bodies += 1;
        Ok(())
    }

    /// All fields, in the order of their paths.
    pub fn fields(&self) -> Vec<Field> {
        let all: Vec<_> = self.inventory.paths().collect();
        let leaf = |path: &str, kinds: &[&str]| {
            let inner = |other: &str| {
                other
                    .strip_prefix(path)
                    .is_some_and(|rest| rest.starts_with('.') || rest.starts_with('?'))
            };
            let below = if matches!(path, "$" | "$[]") {
                all.len() > 1
            } else {
                all.iter().any(|(other, ..)| inner(other))
            };
            !below || kinds.iter().any(|kind| !matches!(*kind, "object" | "array"))
        };
        let mut fields = Vec::new();
        for (path, count, kinds) in &all {
            let kinds: Vec<_> = kinds.names().collect();
            // The type of a resource is what its rules go by.
            let resource = !path.contains('.') && is_resource_type(path);
            if resource || path.ends_with(".resourceType") || !leaf(path, &kinds) {
                continue;
            }
            let detected = self.looks.at(path);
            fields.push(Field {
                mark: if detected { Mark::Phi } else { mark(path) },
                path: path.clone(),
                count: *count,
                kinds,
                detected,
            });
        }
        fields
    }

    /// The fields as JSON, with what was passed over.
    pub fn to_json(&self) -> Json {
        let field = |field: Field| {
            json!({
                "path": field.path, "count": field.count, "kinds": field.kinds, "mark": field.mark.word(), "detected": field.detected,
            })
        };
        json!({
            "bodies": self.bodies,
            "skipped": self.skipped,
            "fields": self.fields().into_iter().map(field).collect::<Vec<_>>(),
        })
    }

    /// A policy file that keeps what is marked other, for a person to decide on.
    pub fn draft(&self) -> String {
        let fields = self.fields();
        let of = |mark| fields.iter().filter(|field| field.mark == mark).count();
        let mut text = format!(
            "# A draft from {} bodies with {} fields: {} marked PHI, {} sensitive, {} other. The marks are guesses by name and look.\n\
             # Decide on each line. What has no `#` before it stays in the response, all else goes. Then say who gets it, and on which routes.\n\
             # `scrim check` then names what a record's meaning hangs on and is not listed: add it, or name it under `unsafe`.\n\
             version: 1\npolicies:\n",
            self.bodies,
            fields.len(),
            of(Mark::Phi),
            of(Mark::Sensitive),
            of(Mark::Other),
        );
        let mut types: BTreeMap<&str, Vec<(Option<String>, &Field)>> = BTreeMap::new();
        let mut plain = Vec::new();
        for field in &fields {
            match field.path.split_once('.') {
                Some((first, rest)) if is_resource_type(first) => {
                    types.entry(first).or_default().push((element(rest), field));
                }
                _ => plain.push((selector(&field.path), field)),
            }
        }
        if types.is_empty() && plain.is_empty() {
            text.push_str("  draft: {response_trim: {views: [{allow: []}]}}\n");
        }
        if !types.is_empty() {
            text.push_str("  draft-fhir:\n    response_trim:\n      views:\n        - fhir:\n            types:\n");
            for (name, fields) in &types {
                _ = writeln!(text, "              {name}:");
                allow(&mut text, 16, fields);
            }
            text.push_str("            others: remove\n");
        }
        if !plain.is_empty() {
            text.push_str("  draft-json:\n    response_trim:\n      views:\n        -\n");
            allow(&mut text, 10, &plain);
        }
        text.push_str("default: deny\n");
        text
    }
}

/// Writes a value with `resourceType` before all other members.
fn types_first(value: &Json, text: &mut String) {
    match value {
        Json::Array(items) => {
            text.push('[');
            for (at, item) in items.iter().enumerate() {
                text.push_str(if at > 0 { "," } else { "" });
                types_first(item, text);
            }
            text.push(']');
        }
        Json::Object(members) => {
            let is_type = |(name, _): &(&String, &Json)| *name == "resourceType";
            let (first, rest): (Vec<_>, Vec<_>) = members.iter().partition(is_type);
            text.push('{');
            for (at, (name, value)) in first.into_iter().chain(rest).enumerate() {
                text.push_str(if at > 0 { "," } else { "" });
                _ = write!(text, "{}:", Json::from(name.as_str()));
                types_first(value, text);
            }
            text.push('}');
        }
        scalar => _ = write!(text, "{scalar}"),
    }
}

/// An allow list, with a line for each field that is not on it.
fn allow(text: &mut String, indent: usize, fields: &[(Option<String>, &Field)]) {
    let kept = |(entry, field): &&(Option<String>, &Field)| entry.is_some() && field.mark == Mark::Other;
    let none = if fields.iter().any(|field| kept(&field)) {
        ""
    } else {
        " []"
    };
    _ = writeln!(text, "{:indent$}allow:{none}", "");
    for field in fields {
        let (sign, (entry, field)) = (if kept(&field) { "- " } else { "# - " }, field);
        let shown = match entry {
            Some(entry) => Json::from(entry.as_str()).to_string(),
            None => format!(
                "{} (not as a whole: names in it may be data, or it goes with another)",
                field.path
            ),
        };
        let look = if field.detected { ", values look like it" } else { "" };
        _ = writeln!(
            text,
            "{:indent$}  {sign}{shown:<44} # {}{look}; {} {}",
            "",
            field.mark.word(),
            field.count,
            field.kinds.join(" or "),
        );
    }
}

/// A path below a resource as rules by type have it; nothing, where it can't be written so.
fn element(path: &str) -> Option<String> {
    let names: Vec<_> = path.split('.').map(|name| name.trim_end_matches("[]")).collect();
    names
        .iter()
        .all(|name| is_plain(name.as_bytes()) && !name.contains('-') && !name.starts_with('_'))
        .then(|| names.join("."))
}

/// A path of other JSON as RFC 9535 has it.
fn selector(path: &str) -> Option<String> {
    let path = match path.strip_prefix('$') {
        Some(rest) => rest,
        None => path,
    };
    let mut selector = "$".to_owned();
    for name in path.split('.') {
        let (name, array) = match name.strip_suffix("[]") {
            Some(name) => (name, true),
            None => (name, false),
        };
        match name {
            "" if array || path.is_empty() => {}
            "*" => selector.push_str(".*"),
            name if is_plain(name.as_bytes()) => _ = write!(selector, "['{name}']"),
            _ => return None,
        }
        if array {
            selector.push_str("[*]");
        }
    }
    Some(selector)
}

impl Looks {
    /// `within`: the names that what stands here may go by.
    fn see<'v>(&mut self, value: &'v Json, within: &mut Vec<&'v str>, recognisers: &PhiPolicy) {
        match value {
            Json::Array(items) => items.iter().for_each(|item| self.see(item, within, recognisers)),
            Json::Object(members) => {
                let kind = members.get("resourceType").and_then(Json::as_str);
                let resource = kind.filter(|kind| is_resource_type(kind));
                within.extend(resource);
                for (name, value) in members {
                    let name = if is_plain(name.as_bytes()) { name } else { "*" };
                    if looks(value, recognisers) {
                        let places = within.iter().map(|place| ((*place).to_owned(), name.to_owned()));
                        self.0.extend(places);
                    }
                    self.see(value, &mut vec![name], recognisers);
                }
                if resource.is_some() {
                    within.pop();
                }
            }
            _ => {}
        }
    }

    /// Whether values at this path look like PHI, or may: a name that became `*` may be any.
    fn at(&self, path: &str) -> bool {
        let mut names = path
            .rsplit(['.', '?'])
            .filter(|name| !name.is_empty())
            .map(|name| name.trim_end_matches("[]"));
        let name = names.next().unwrap_or_default();
        let within = names.next().filter(|within| !within.is_empty()).unwrap_or("$");
        let fits = |pattern: &str, name: &str| pattern == name || pattern == "*" || pattern.starts_with('.');
        self.0
            .iter()
            .any(|(outer, inner)| fits(name, inner) && fits(within, outer))
    }
}

/// Whether a recogniser finds something in a string, in a number, or in an array of such.
fn looks(value: &Json, recognisers: &PhiPolicy) -> bool {
    let text = match value {
        Json::String(text) => text.clone(),
        Json::Number(number) => number.to_string(),
        Json::Array(items) => return items.iter().any(|item| looks(item, recognisers)),
        _ => return false,
    };
    let scene = Scene {
        year: None,
        authority: b"",
        opens: &|_| None,
    };
    recognisers.judge_text(&text, &scene).is_some()
}

/// Those that look at a value itself; dates, addresses and the like need a label, which is the field's name here.
fn recognisers() -> PhiPolicy {
    let detect = [
        Detector::Ssn,
        Detector::Email,
        Detector::Phone,
        Detector::Mrn,
        Detector::Mbi,
        Detector::Dea,
    ]
    .map(|detector| DetectEntry {
        name: detector.code().to_owned(),
        pattern: None,
        action: None,
        except: Vec::new(),
    });
    let rules = Rules {
        detect: detect.to_vec(),
        on_detect: Action::Mask,
        ..Rules::default()
    };
    PhiPolicy::new(rules, Secrets::default()).expect("the recognisers are known")
}

/// Names of what says who someone is: of 45 CFR 164.514(b)(2)(i) in FHIR's words and in those of other APIs. What stands in them is PHI too.
const PHI: &[&str] = &[
    "name",
    "humanname",
    "family",
    "given",
    "prefix",
    "suffix",
    "firstname",
    "lastname",
    "middlename",
    "fullname",
    "maidenname",
    "mothersmaidenname",
    "telecom",
    "phone",
    "phonenumber",
    "mobile",
    "fax",
    "email",
    "emailaddress",
    "address",
    "addressline",
    "street",
    "line",
    "city",
    "district",
    "postalcode",
    "zip",
    "zipcode",
    "birthplace",
    "birthdate",
    "dateofbirth",
    "dob",
    "birthtime",
    "deathdate",
    "deceaseddatetime",
    "identifier",
    "ssn",
    "socialsecuritynumber",
    "mrn",
    "medicalrecordnumber",
    "mbi",
    "subscriberid",
    "memberid",
    "policynumber",
    "accountnumber",
    "licensenumber",
    "licenseplate",
    "vin",
    "photo",
    "image",
    "contact",
    "text",
    "div",
    "display",
    "data",
    "attachment",
    "username",
    "login",
    "ip",
    "ipaddress",
    "macaddress",
    "serialnumber",
    "udicarrier",
    "deviceidentifier",
    "biometric",
    "fingerprint",
    "latitude",
    "longitude",
    "position",
    "geolocation",
    "multiplebirthinteger",
];

/// Names of what says something of someone.
const SENSITIVE: &[&str] = &[
    "id",
    "fullurl",
    "url",
    "link",
    "reference",
    "subject",
    "patient",
    "beneficiary",
    "author",
    "recorder",
    "performer",
    "requester",
    "participant",
    "gender",
    "sex",
    "race",
    "ethnicity",
    "religion",
    "maritalstatus",
    "nationality",
    "language",
    "communication",
    "age",
    "extension",
    "modifierextension",
    "note",
    "notes",
    "comment",
    "comments",
    "description",
    "conclusion",
    "narrative",
    "title",
    "diagnostics",
    "code",
    "coding",
    "reasoncode",
    "reason",
    "diagnosis",
    "condition",
    "bodysite",
    "severity",
    "stage",
    "interpretation",
    "component",
    "dosage",
    "dosageinstruction",
    "reaction",
    "outcome",
    "date",
    "issued",
    "period",
    "start",
    "end",
    "recordeddate",
    "authoredon",
    "lastupdated",
    "created",
    "sent",
    "received",
    "amount",
    "price",
    "payment",
    "net",
    "total",
    "active",
    "state",
    "country",
    "county",
];

/// How names of a choice of datatypes begin, `value[x]`.
const CHOICES: &[&str] = &[
    "value",
    "onset",
    "abatement",
    "effective",
    "occurrence",
    "performed",
    "medication",
    "deceased",
    "multiplebirth",
    "timing",
    "serviced",
    "allowed",
];

fn mark(path: &str) -> Mark {
    let one = |name: &str| {
        let name = name.trim_end_matches("[]").trim_start_matches('_');
        let name: String = name
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .collect::<String>()
            .to_ascii_lowercase();
        if PHI.contains(&&*name) {
            Mark::Phi
        } else if SENSITIVE.contains(&&*name) || CHOICES.iter().any(|choice| name.starts_with(choice)) {
            Mark::Sensitive
        } else {
            Mark::Other
        }
    };
    // What has no name is not known.
    let unnamed = path.contains('*') || path.contains("..") || path.contains('?') || path.starts_with('$');
    let names = path
        .split(['.', '?'])
        .filter(|name| !name.is_empty() && !is_resource_type(name));
    let mark = names.map(one).min().unwrap_or(Mark::Sensitive);
    if unnamed { mark.min(Mark::Sensitive) } else { mark }
}
