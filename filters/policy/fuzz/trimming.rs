//! The target `trim`: a body through programs of all kinds, against a tree that is trimmed the slow way.

use std::sync::Arc;

use scrim_policy::trim::{
    FhirPath, FhirRules, Limits, Others, Program, Rules, Selector, Transform, TrimError, Trimmer, TypeRules,
};

/// How a program is told what it must do: the rules, and whether the member or element at this way stays, is masked, or goes.
struct Case {
    program: Arc<Program>,
    judge: fn(&[Step<'_>], &Tree) -> Verdict,
    resources: Option<fn(&str) -> ByType>,
}

#[derive(Clone, Copy)]
enum Step<'t> {
    Name(&'t str),
    Index(usize),
}

enum Verdict {
    /// It stays, and so does what is below, unless that is judged otherwise.
    Keep,
    /// A container stays, a scalar goes.
    Way,
    Mask,
    Drop,
}

/// What a program does to resources of a type, by the names from the resource down.
enum ByType {
    Remove,
    Judge(fn(&[&str]) -> Verdict),
}

/// Any bytes have one outcome, however they are cut; what comes out of JSON is what is left of its tree, and of strings that go nothing comes out.
/// The first byte picks the rules, the second the cut.
pub fn trim(bytes: &[u8]) {
    thread_local! {
        static CASES: Vec<Case> = cases();
    }
    let [pick, cut, body @ ..] = bytes else { return };
    // What is held is bounded; what a smaller bound does, unit tests say.
    if body.len() > 30 << 10 {
        return;
    }
    CASES.with(|cases| {
        let case = &cases[usize::from(*pick) % cases.len()];
        let whole = run(case, [body].into_iter());
        assert_eq!(run(case, body.chunks(1)), whole);
        assert_eq!(run(case, body.chunks(usize::from(*cut) + 1)), whole);
        let at = usize::from(*cut) % (body.len() + 1);
        assert_eq!(run(case, [&body[..at], &body[at..]].into_iter()), whole);
        let mut canaries = 0;
        let Some(tree) = Tree::read(body, &mut canaries) else {
            assert!(whole.is_err(), "what is not JSON passed");
            return;
        };
        // With a canary for every string that no rule compares.
        let planted = tree.written();
        if planted.len() > 30 << 10 {
            return;
        }
        let left = left_of(case, &tree);
        match run(case, [planted.as_bytes()].into_iter()) {
            Err(error) => {
                assert!(
                    ["json_depth", "json_ambiguous"].contains(&error.code()) || left == Err(error.code()),
                    "{error}: {planted}"
                );
            }
            Ok(out) => {
                let out = String::from_utf8(out).expect("UTF-8");
                let left = left.unwrap_or_else(|code| panic!("{code}: {planted}"));
                assert_eq!(out, left, "{planted}");
                for canary in 0..canaries {
                    let canary = format!("canary-{canary}-");
                    assert!(left.contains(&canary) || !out.contains(&canary));
                }
            }
        }
    });
}

fn run<'b>(case: &Case, chunks: impl Iterator<Item = &'b [u8]>) -> Result<Vec<u8>, TrimError> {
    let mut trimmer = Trimmer::new(Arc::clone(&case.program), None, Limits::default()).expect("needs no pseudonyms");
    let mut out = Vec::new();
    for chunk in chunks {
        let before = out.len();
        trimmer
            .push(chunk, false, &mut out)
            .inspect_err(|_| assert_eq!(out.len(), before))?;
    }
    trimmer.push(b"", true, &mut out)?;
    Ok(out)
}

fn cases() -> Vec<Case> {
    let selectors =
        |texts: &[&str]| -> Vec<Selector> { texts.iter().map(|text| Selector::parse(text).expect("good")).collect() };
    let paths =
        |texts: &[&str]| -> Vec<FhirPath> { texts.iter().map(|text| FhirPath::parse(text).expect("good")).collect() };
    let case = |rules, judge, resources| Case {
        program: Arc::new(Program::compile(rules).expect("small")),
        judge,
        resources,
    };
    let fhir = |rules| Rules {
        fhir: Some(rules),
        ..Rules::default()
    };
    vec![
        case(
            Rules {
                deny: selectors(&["$..ssn", "$.list[0,2]", "$.a.*"]),
                transforms: vec![(selectors(&["$..name"]).remove(0), Transform::Mask)],
                ..Rules::default()
            },
            |way, _| match way {
                [.., Step::Name("ssn")] | [Step::Name("list"), Step::Index(0 | 2)] | [Step::Name("a"), _] => {
                    Verdict::Drop
                }
                [.., Step::Name("name")] => Verdict::Mask,
                _ => Verdict::Keep,
            },
            None,
        ),
        case(
            Rules {
                allow: Some(selectors(&["$.a", "$..id", "$.list[1::2]"])),
                ..Rules::default()
            },
            |way, _| {
                let selected = |end: usize| match &way[..end] {
                    [Step::Name("a")] | [.., Step::Name("id")] => true,
                    [Step::Name("list"), Step::Index(index)] => index % 2 == 1,
                    _ => false,
                };
                if (0..=way.len()).any(selected) {
                    Verdict::Keep
                } else {
                    Verdict::Way
                }
            },
            None,
        ),
        case(
            Rules {
                deny: selectors(&["$..[?@.use == 'old' || @.use > 2]"]),
                ..Rules::default()
            },
            |way, value| match value.get("use") {
                _ if way.is_empty() => Verdict::Keep,
                Some(Tree::Scalar(raw)) if raw == "\"old\"" => Verdict::Drop,
                Some(Tree::Scalar(raw)) if raw.parse::<f64>().is_ok_and(|number| number > 2.0) => Verdict::Drop,
                _ => Verdict::Keep,
            },
            None,
        ),
        case(
            fhir(FhirRules {
                types: vec![(
                    "Patient".to_owned(),
                    TypeRules {
                        deny: paths(&["telecom", "name.given"]),
                        allow: None,
                        transforms: vec![(paths(&["..id"]).remove(0), Transform::Mask)],
                    },
                )],
                all: TypeRules {
                    deny: paths(&["..photo"]),
                    ..TypeRules::default()
                },
                extensions: true,
                ..FhirRules::default()
            }),
            |_, _| Verdict::Keep,
            Some(|name| {
                ByType::Judge(match name {
                    "Patient" => |way| match way {
                        [.., "photo" | "extension"] | ["telecom"] | ["name", "given"] => Verdict::Drop,
                        [.., name] if name.starts_with('_') => Verdict::Drop,
                        [.., "id"] => Verdict::Mask,
                        _ => Verdict::Keep,
                    },
                    _ => |way| match way {
                        [.., "photo" | "extension"] => Verdict::Drop,
                        [.., name] if name.starts_with('_') => Verdict::Drop,
                        _ => Verdict::Keep,
                    },
                })
            }),
        ),
        case(
            fhir(FhirRules {
                types: vec![(
                    "Patient".to_owned(),
                    TypeRules {
                        allow: Some(paths(&["id", "name.family", "contained"])),
                        ..TypeRules::default()
                    },
                )],
                others: Others::Remove,
                ..FhirRules::default()
            }),
            |_, _| Verdict::Keep,
            Some(|name| match name {
                "Patient" => ByType::Judge(|way| match way {
                    ["id" | "_id", ..] | ["name" | "_name", "family" | "_family", ..] | ["contained", ..] => {
                        Verdict::Keep
                    }
                    ["name" | "_name"] => Verdict::Way,
                    _ => Verdict::Drop,
                }),
                "Bundle" | "Parameters" | "OperationOutcome" => ByType::Judge(|_| Verdict::Keep),
                _ => ByType::Remove,
            }),
        ),
    ]
}

// --- a tree ----------------------------------------------------------------------------------------------------

/// A body as it is written, but for white space.
enum Tree {
    Scalar(String),
    Array(Vec<Tree>),
    /// Names as written and as meant.
    Object(Vec<(String, String, Tree)>),
}

impl Tree {
    /// Reads JSON, each string that no rule compares with a canary in front.
    fn read(body: &[u8], canaries: &mut u32) -> Option<Tree> {
        // Numbers that no float holds are JSON too.
        if let Err(error) = serde_json::from_slice::<serde_json::Value>(body)
            && !error.to_string().contains("out of range")
        {
            return None;
        }
        let text = std::str::from_utf8(body).ok()?;
        let mut rest = text.trim_start();
        let tree = Tree::take(&mut rest, canaries, "", 0)?;
        rest.trim_start().is_empty().then_some(tree)
    }

    fn take(rest: &mut &str, canaries: &mut u32, name: &str, depth: usize) -> Option<Tree> {
        let skip = |rest: &mut &str| *rest = rest.trim_start_matches([' ', '\n', '\r', '\t', ',', ':']);
        skip(rest);
        match *rest.as_bytes().first()? {
            _ if depth > 130 => None,
            b'"' => {
                let raw = string(rest)?;
                let plain: String = serde_json::from_str(raw).ok()?;
                if name == "resourceType" || name == "use" {
                    return Some(Tree::Scalar(raw.to_owned()));
                }
                *canaries += 1;
                drop(plain);
                Some(Tree::Scalar(format!("\"canary-{}-{}", *canaries - 1, &raw[1..])))
            }
            b'[' => {
                *rest = &rest[1..];
                let mut items = Vec::new();
                loop {
                    skip(rest);
                    if let Some(after) = rest.strip_prefix(']') {
                        *rest = after;
                        return Some(Tree::Array(items));
                    }
                    items.push(Tree::take(rest, canaries, "", depth + 1)?);
                }
            }
            b'{' => {
                *rest = &rest[1..];
                let mut members = Vec::new();
                loop {
                    skip(rest);
                    if let Some(after) = rest.strip_prefix('}') {
                        *rest = after;
                        return Some(Tree::Object(members));
                    }
                    let raw = string(rest)?.to_owned();
                    let name: String = serde_json::from_str(&raw).ok()?;
                    let value = Tree::take(rest, canaries, &name, depth + 1)?;
                    members.push((raw, name, value));
                }
            }
            _ => {
                let end = rest.find([' ', '\n', '\r', '\t', ',', ']', '}']).unwrap_or(rest.len());
                let (raw, after) = rest.split_at(end);
                *rest = after;
                Some(Tree::Scalar(raw.to_owned()))
            }
        }
    }

    fn written(&self) -> String {
        match self {
            Tree::Scalar(raw) => raw.clone(),
            Tree::Array(items) => {
                let items: Vec<String> = items.iter().map(Tree::written).collect();
                format!("[{}]", items.join(","))
            }
            Tree::Object(members) => {
                let members: Vec<String> = members
                    .iter()
                    .map(|(raw, _, value)| format!("{raw}:{}", value.written()))
                    .collect();
                format!("{{{}}}", members.join(","))
            }
        }
    }

    fn get(&self, wanted: &str) -> Option<&Tree> {
        match self {
            Tree::Object(members) => members
                .iter()
                .find(|(_, name, _)| name == wanted)
                .map(|(_, _, value)| value),
            _ => None,
        }
    }
}

/// Takes a string with its quotes.
fn string<'t>(rest: &mut &'t str) -> Option<&'t str> {
    let mut escaped = false;
    for (at, byte) in rest.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => {
                let (raw, after) = rest.split_at(at + 1);
                *rest = after;
                return Some(raw);
            }
            _ => {}
        }
    }
    None
}

// --- what is left of it ----------------------------------------------------------------------------------------

/// Where a value stands by the rules for resources.
#[derive(Clone)]
enum Place<'t> {
    Outside,
    /// A resource must stand here.
    Border,
    Inside {
        resource: &'t str,
        way: Vec<&'t str>,
    },
}

fn left_of(case: &Case, tree: &Tree) -> Result<String, &'static str> {
    let left = left(case, tree, &mut Vec::new(), &Place::Outside)?;
    Ok(left.unwrap_or_else(|| {
        String::from(match tree {
            Tree::Scalar(_) => "null",
            Tree::Array(_) => "[]",
            Tree::Object(_) => "{}",
        })
    }))
}

fn left<'t>(
    case: &Case,
    tree: &'t Tree,
    way: &mut Vec<Step<'t>>,
    place: &Place<'t>,
) -> Result<Option<String>, &'static str> {
    let scalar = matches!(tree, Tree::Scalar(_));
    let mask = Ok(Some("\"***\"".to_owned()));
    match (case.judge)(way, tree) {
        Verdict::Drop => return Ok(None),
        Verdict::Way if scalar => return Ok(None),
        Verdict::Mask => return mask,
        _ => {}
    }
    // Where types that are not listed go, so do scalars outside of resources.
    if let (Some(resources), Place::Outside) = (case.resources, place)
        && scalar
        && let ByType::Remove = resources("")
    {
        return Ok(None);
    }
    let plain;
    let mut place = place;
    if let (Some(resources), Tree::Object(_), Place::Outside | Place::Border) = (case.resources, tree, place) {
        match (tree.get("resourceType"), place) {
            (None, Place::Border) => return Err("fhir_no_type"),
            (None, _) => {}
            (Some(Tree::Scalar(raw)), _) if raw.starts_with('"') => {
                // The fuzzer may write it with escapes; a leak of a few bytes keeps this simple.
                let name: String = serde_json::from_str(raw).expect("a string");
                if let ByType::Remove = resources(&name) {
                    return Ok(None);
                }
                let known = ["Patient", "Bundle", "Parameters", "OperationOutcome", "ExampleScenario"];
                let resource = known.into_iter().find(|own| *own == name).unwrap_or("");
                plain = Place::Inside {
                    resource,
                    way: Vec::new(),
                };
                place = &plain;
            }
            (Some(_), _) => return Err("fhir_no_type"),
        }
    }
    if let (Place::Border, Tree::Scalar(raw)) = (place, tree)
        && raw != "null"
    {
        return Err("fhir_no_type");
    }
    Ok(Some(match tree {
        Tree::Scalar(raw) => raw.clone(),
        Tree::Array(items) => {
            let mut kept = Vec::new();
            for (index, item) in items.iter().enumerate() {
                way.push(Step::Index(index));
                kept.extend(element(case, item, way, place)?);
                way.pop();
            }
            format!("[{}]", kept.join(","))
        }
        Tree::Object(members) => {
            let (mut kept, mut typed) = (Vec::new(), false);
            for (raw, name, value) in members {
                way.push(Step::Name(name));
                let left = match place {
                    Place::Inside { resource, way: inside } => {
                        if name == "resourceType" && inside.is_empty() && !std::mem::replace(&mut typed, true) {
                            Some(value.written())
                        } else {
                            member(case, name, value, way, resource, inside)?
                        }
                    }
                    Place::Outside if case.resources.is_some() && name == "resourceType" => {
                        return Err("fhir_stray_type");
                    }
                    _ => left(case, value, way, place)?,
                };
                way.pop();
                kept.extend(left.map(|left| format!("{raw}:{left}")));
            }
            format!("{{{}}}", kept.join(","))
        }
    }))
}

/// An element of an array, which the rules of types see through.
fn element<'t>(
    case: &Case,
    item: &'t Tree,
    way: &mut Vec<Step<'t>>,
    place: &Place<'t>,
) -> Result<Option<String>, &'static str> {
    match place {
        Place::Inside { resource, way: inside } => judged(case, item, way, resource, inside),
        _ => left(case, item, way, place),
    }
}

fn member<'t>(
    case: &Case,
    name: &'t str,
    value: &'t Tree,
    way: &mut Vec<Step<'t>>,
    resource: &'t str,
    inside: &[&'t str],
) -> Result<Option<String>, &'static str> {
    let stray = name == "resourceType" && !(resource == "ExampleScenario" && inside == ["instance"]);
    if stray {
        return Err("fhir_stray_type");
    }
    let mut below = inside.to_vec();
    below.push(name);
    judged(case, value, way, resource, &below)
}

/// A value by the rules of its resource's type.
fn judged<'t>(
    case: &Case,
    value: &'t Tree,
    way: &mut Vec<Step<'t>>,
    resource: &'t str,
    inside: &[&'t str],
) -> Result<Option<String>, &'static str> {
    let ByType::Judge(judge) = (case.resources.expect("rules for resources"))(resource) else {
        return Ok(None);
    };
    let array = matches!(value, Tree::Array(_));
    let verdict = judge(inside);
    match verdict {
        Verdict::Drop => return Ok(None),
        Verdict::Way if matches!(value, Tree::Scalar(_)) => return Ok(None),
        Verdict::Mask if !array => return Ok(Some("\"***\"".to_owned())),
        _ => {}
    }
    let border = match (resource, inside) {
        (_, ["contained"]) | ("Bundle", ["entry", "resource"] | ["entry", "response", "outcome"] | ["issues"]) => true,
        ("Parameters", ["parameter", parts @ .., "resource"]) => parts.iter().all(|part| *part == "part"),
        _ => false,
    };
    let place = if border {
        Place::Border
    } else {
        Place::Inside {
            resource,
            way: inside.to_vec(),
        }
    };
    left(case, value, way, &place)
}
