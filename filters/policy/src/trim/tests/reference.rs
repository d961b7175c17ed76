//! What is left of a body, found on its tree the slow way: the rules' words once more, without an automaton.

use super::super::selector::Segment;
use super::*;

/// A filter as it is written, and what it means.
type Meaning = (&'static str, fn(&Tree) -> bool);

pub(super) const FILTERS: [Meaning; 11] = [
    ("@.a", |value| get(value, "a").is_some()),
    ("!@.b", |value| get(value, "b").is_none()),
    ("@.a == 'x'", |value| text(get(value, "a")) == Some("x")),
    ("@.use != 'x'", |value| text(get(value, "use")) != Some("x")),
    ("@[0]", |value| matches!(value, Tree::Array(items) if !items.is_empty())),
    ("@ == 'x'", |value| text(Some(value)) == Some("x")),
    ("@.a.b || @ == null", |value| {
        get(value, "a").is_some_and(|a| get(a, "b").is_some()) || matches!(value, Tree::Scalar(raw) if raw == "null")
    }),
    (
        "@ < 1.2 && @ > 0.9",
        |value| matches!(value, Tree::Scalar(raw) if raw == "1.10"),
    ),
    ("@", |_| true),
    ("@.use == 'x'", |value| text(get(value, "use")) == Some("x")),
    ("@.use == 'old'", |value| text(get(value, "use")) == Some("old")),
];

fn get<'t>(value: &'t Tree, name: &str) -> Option<&'t Tree> {
    match value {
        Tree::Object(members) => members
            .iter()
            .find(|(_, own, _)| own == name)
            .map(|(_, _, value)| value),
        _ => None,
    }
}

fn text(value: Option<&Tree>) -> Option<&str> {
    match value {
        Some(Tree::Scalar(raw)) => raw.strip_prefix('"')?.strip_suffix('"'),
        _ => None,
    }
}

fn holds(segment: &Segment, value: &Tree) -> impl Iterator<Item = bool> {
    segment.filters().map(|filter| {
        let known = FILTERS.iter().find(|(text, _)| {
            let selector = Selector::parse(&format!("$[?{text}]")).expect("a filter");
            selector.segments()[0].filters().any(|own| own == filter)
        });
        known.expect("one of ours").1(value)
    })
}

#[derive(Clone, Copy)]
enum Step<'t> {
    Name(&'t str),
    Index(u64),
}

#[derive(Clone, Copy)]
struct Hop<'t> {
    step: Step<'t>,
    value: &'t Tree,
}

/// An element on the way from a resource, its array's element where it is one.
#[derive(Clone, Copy)]
struct Element<'t> {
    name: &'t str,
    underscore: bool,
    value: &'t Tree,
}

#[derive(Clone)]
enum Context<'t> {
    /// Without rules for FHIR.
    Off,
    Envelope {
        late: bool,
    },
    Border {
        labelled: bool,
    },
    Inside(Inside<'t>),
}

#[derive(Clone)]
struct Inside<'t> {
    resource: String,
    elements: Vec<Element<'t>>,
    label: bool,
    labelled: bool,
    /// A Bundle whose type came late.
    untyped: bool,
}

/// What an object says of its type within so many bytes, written without white space.
enum Typed<'t> {
    As(&'t Tree),
    No,
    /// It is longer: so far these are its names.
    Late(Vec<&'t str>),
}

fn type_of(members: &[(String, String, Tree)], hold: usize) -> Typed<'_> {
    let (mut at, mut names) = (1, Vec::new());
    for (raw, name, value) in members {
        at += raw.len();
        if at > hold {
            return Typed::Late(names);
        }
        names.push(name.as_str());
        let length = written(value, &mut std::iter::empty()).len();
        let text = matches!(value, Tree::Scalar(raw) if raw.starts_with('"'));
        let needed = if text { length } else { 1 };
        if name == "resourceType" && at + 1 + needed <= hold {
            return Typed::As(value);
        }
        at += 1 + length + 1;
        if at > hold {
            return Typed::Late(names);
        }
    }
    // The comma that was counted last is the end.
    if members.is_empty() && hold < 2 {
        Typed::Late(names)
    } else {
        Typed::No
    }
}

const BUNDLE: [&str; 12] = [
    "id",
    "meta",
    "implicitRules",
    "language",
    "identifier",
    "type",
    "timestamp",
    "total",
    "link",
    "entry",
    "signature",
    "issues",
];

const BUNDLE_ENTRY: [&str; 9] = [
    "id",
    "extension",
    "modifierExtension",
    "link",
    "fullUrl",
    "resource",
    "search",
    "request",
    "response",
];

trait Hops {
    fn picks(&self, segment: &Segment, undecided: bool) -> bool;
}

impl Hops for Hop<'_> {
    fn picks(&self, segment: &Segment, _: bool) -> bool {
        let by_step = match self.step {
            Step::Name(name) => segment.picks_name(name),
            Step::Index(index) => segment.picks_index(index),
        };
        by_step || holds(segment, self.value).any(|holds| holds)
    }
}

impl Hops for Element<'_> {
    fn picks(&self, segment: &Segment, undecided: bool) -> bool {
        let name = segment.picks_name(self.name);
        if segment.filters().next().is_some() && (matches!(self.value, Tree::Array(_)) || self.underscore) {
            return name && undecided && !self.underscore;
        }
        name && holds(segment, self.value).all(|holds| holds)
    }
}

/// Whether the path is selected, by RFC 9535's words.
fn selects<H: Hops>(segments: &[Segment], path: &[H]) -> bool {
    let Some((segment, rest)) = segments.split_first() else {
        return path.is_empty();
    };
    let depths = if segment.descends {
        path.len()
    } else {
        path.len().min(1)
    };
    (0..depths).any(|at| path[at].picks(segment, false) && selects(rest, &path[at + 1..]))
}

/// Whether something below the path could be selected.
fn leads_on<H: Hops>(segments: &[Segment], path: &[H]) -> bool {
    match (segments.split_first(), path.split_first()) {
        (None, _) => false,
        (Some((segment, _)), _) if segment.descends => true,
        (Some(_), None) => true,
        (Some((segment, rest)), Some((hop, path))) => {
            hop.picks(segment, true) && (leads_on(rest, path) || (path.is_empty() && !hop.picks(segment, false)))
        }
    }
}

/// Whether a path that ends here could be selected, if a filter held that is not decided for an array.
fn may_select(segments: &[Segment], path: &[Element<'_>]) -> bool {
    match (segments.split_first(), path.split_first()) {
        (None, path) => path.is_none(),
        (Some(_), None) => false,
        (Some((segment, rest)), Some((element, path))) => {
            let names = if path.is_empty() {
                segment.picks_name(element.name)
            } else {
                element.picks(segment, false)
            };
            (names && may_select(rest, path)) || (segment.descends && may_select(segments, path))
        }
    }
}

type Left = Result<Option<String>, &'static str>;

impl Rules {
    /// What is left of a body, or why it is refused.
    pub(super) fn left_of(&self, tree: &Tree, hold: usize) -> Result<String, &'static str> {
        let context = if self.fhir.as_ref().is_some_and(|rules| !rules.is_empty()) {
            Context::Envelope { late: false }
        } else {
            Context::Off
        };
        let left = self.value(tree, &mut Vec::new(), context, hold)?;
        Ok(left.unwrap_or_else(|| {
            String::from(match tree {
                Tree::Scalar(_) => "null",
                Tree::Array(_) => "[]",
                Tree::Object(_) => "{}",
            })
        }))
    }

    fn value<'t>(&self, tree: &'t Tree, path: &mut Vec<Hop<'t>>, mut context: Context<'t>, hold: usize) -> Left {
        if self.deny.iter().any(|rule| selects(rule.segments(), path)) {
            return Ok(None);
        }
        if let Some(allow) = &self.allow {
            let inside = (0..=path.len()).any(|end| allow.iter().any(|rule| selects(rule.segments(), &path[..end])));
            let way = !matches!(tree, Tree::Scalar(_)) && allow.iter().any(|rule| leads_on(rule.segments(), path));
            if !inside && !way {
                return Ok(None);
            }
        }
        if let (Context::Envelope { .. }, Tree::Scalar(_), Some(rules)) = (&context, tree, &self.fhir)
            && rules.others == Others::Remove
        {
            return Ok(None);
        }
        if let (Context::Envelope { late: true }, Tree::Scalar(raw)) = (&context, tree)
            && raw != "null"
        {
            return Err("fhir_no_type");
        }
        let change = self
            .transforms
            .iter()
            .find(|(rule, _)| selects(rule.segments(), path))
            .map(|(_, transform)| *transform);
        if let Context::Inside(inside) = &context
            && !inside.elements.is_empty()
            && !self.stays(inside, tree)
        {
            return Ok(None);
        }
        if let Some(transform) = change {
            return Ok(Some(changed(tree, transform)));
        }
        if let Context::Inside(inside) = &context
            && let Some(transform) = self.change(inside)
            && !matches!(tree, Tree::Array(_))
        {
            return Ok(Some(changed(tree, transform)));
        }
        let mut border = None;
        match (&context, tree) {
            (Context::Border { labelled }, Tree::Object(_)) => border = Some((true, *labelled)),
            (Context::Border { .. }, Tree::Scalar(raw)) if raw != "null" => return Err("fhir_no_type"),
            (Context::Envelope { .. }, Tree::Object(_)) => border = Some((false, false)),
            _ => {}
        }
        if let (Some((must, labelled)), Some(rules)) = (border, &self.fhir) {
            let Tree::Object(members) = tree else {
                panic!("an object")
            };
            let bundle = Tree::Scalar("\"Bundle\"".to_owned());
            let mut untyped = false;
            let typed = match type_of(members, hold) {
                Typed::As(value) => Some(value),
                Typed::No => None,
                Typed::Late(names) => {
                    let own = |name: &&str| BUNDLE.contains(&name.strip_prefix('_').unwrap_or(name));
                    if names.contains(&"entry") && names.iter().all(own) {
                        untyped = true;
                        Some(&bundle)
                    } else if must {
                        None
                    } else {
                        if !names
                            .iter()
                            .any(|name| ["actions", "cards", "suggestions", "systemActions"].contains(name))
                        {
                            context = Context::Envelope { late: true };
                        }
                        None
                    }
                }
            };
            match typed {
                None if must => return Err("fhir_no_type"),
                None => {}
                Some(Tree::Scalar(raw)) if raw.starts_with('"') => {
                    let resource: String = serde_json::from_str(raw).expect("a string");
                    let listed = rules.types.iter().any(|(name, _)| *name == resource);
                    let container = matches!(resource.as_str(), "Bundle" | "Parameters" | "OperationOutcome");
                    if !listed && !container && rules.others == Others::Remove {
                        return Ok(None);
                    }
                    let json = self.deny.is_empty() && self.allow.is_none() && self.transforms.is_empty();
                    let plain = rules.all.is_empty()
                        && rules
                            .types
                            .iter()
                            .filter(|(name, _)| *name == resource)
                            .all(|(_, own)| own.is_empty());
                    let groups = rules.narrative || rules.reference_display || rules.attachments || rules.extensions;
                    let trims = groups || !plain || rules.others == Others::Remove;
                    // Where JSON's rules alone trim, the trees are too small to say so here.
                    assert!(json || trims || !rules.tag);
                    let label = rules.tag && trims && !labelled;
                    context = Context::Inside(Inside {
                        resource,
                        elements: Vec::new(),
                        label,
                        labelled: label || labelled,
                        untyped,
                    });
                }
                Some(_) => return Err("fhir_no_type"),
            }
        }
        Ok(Some(match tree {
            Tree::Scalar(raw) => raw.clone(),
            Tree::Array(items) => {
                let mut kept = Vec::new();
                for (index, item) in items.iter().enumerate() {
                    let mut own = context.clone();
                    if let Context::Inside(inside) = &mut own
                        && let Some(last) = inside.elements.last_mut()
                    {
                        last.value = item;
                    }
                    path.push(Hop {
                        step: Step::Index(index as u64),
                        value: item,
                    });
                    kept.extend(self.value(item, path, own, hold)?);
                    path.pop();
                }
                if labels(&context, &["meta", "security"]) {
                    kept.push(TAG.to_owned());
                }
                format!("[{}]", kept.join(","))
            }
            Tree::Object(members) => {
                let (mut kept, mut before) = (Vec::new(), Vec::new());
                let mut labelled = false;
                for (raw, name, value) in members {
                    path.push(Hop {
                        step: Step::Name(name),
                        value,
                    });
                    let left = match &context {
                        Context::Inside(inside) => self.member(name, value, path, inside, &mut before, hold)?,
                        Context::Envelope { .. } if name == "resourceType" => return Err("fhir_stray_type"),
                        Context::Envelope { late: true }
                            if ["contained", "entry", "issues", "parameter"].contains(&name.as_str()) =>
                        {
                            return Err("fhir_no_type");
                        }
                        _ => self.value(value, path, context.clone(), hold)?,
                    };
                    path.pop();
                    labelled |= left.is_some()
                        && (labels(&context, &[]) && name == "meta"
                            || labels(&context, &["meta"]) && name == "security");
                    kept.extend(left.map(|value| format!("{raw}:{value}")));
                }
                if matches!(&context, Context::Inside(inside) if inside.untyped && inside.elements.is_empty())
                    && !before.contains(&"resourceType")
                {
                    return Err("fhir_no_type");
                }
                if labels(&context, &[]) && !labelled {
                    kept.push(format!(r#""meta":{{"security":[{TAG}]}}"#));
                }
                if labels(&context, &["meta"]) && !labelled {
                    kept.push(format!(r#""security":[{TAG}]"#));
                }
                format!("{{{}}}", kept.join(","))
            }
        }))
    }

    /// A member inside a resource.
    fn member<'t>(
        &self,
        name: &'t str,
        value: &'t Tree,
        path: &mut Vec<Hop<'t>>,
        inside: &Inside<'t>,
        before: &mut Vec<&'t str>,
        hold: usize,
    ) -> Left {
        let Some(rules) = &self.fhir else {
            panic!("no rules for resources, or no string")
        };
        let way: Vec<&str> = inside.elements.iter().map(|element| element.name).collect();
        let hidden = inside.elements.iter().any(|element| element.underscore);
        // Structure ends where an underscore is.
        let way = if hidden { vec!["?"] } else { way };
        if name == "resourceType" {
            match way.as_slice() {
                [] if before.contains(&"resourceType") => return Err("fhir_stray_type"),
                [] => {
                    before.push(name);
                    let Tree::Scalar(raw) = value else {
                        assert!(inside.untyped);
                        return Err("fhir_no_type");
                    };
                    if inside.untyped && raw != "\"Bundle\"" {
                        return Err("fhir_no_type");
                    }
                    return Ok(Some(raw.clone()));
                }
                ["instance"] if inside.resource == "ExampleScenario" => {}
                _ => return Err("fhir_stray_type"),
            }
        }
        if matches!(name, "system" | "code") && matches!(value, Tree::Scalar(raw) if raw.starts_with('"')) {
            before.push(name);
        }
        let (base, underscore) = match name.strip_prefix('_') {
            Some(base) => (base, true),
            None => (name, false),
        };
        let fits = match way.as_slice() {
            [] => BUNDLE.contains(&base),
            ["entry"] => BUNDLE_ENTRY.contains(&base),
            _ => true,
        };
        if inside.untyped && !fits {
            return Err("fhir_no_type");
        }
        if rules.extensions && (underscore || base == "extension") {
            return Ok(None);
        }
        let narrative = way.is_empty() && base == "text"
            || base == "div"
            || base == "text" && inside.resource == "Composition" && way.iter().all(|name| *name == "section");
        if rules.narrative && narrative {
            return Ok(None);
        }
        if rules.attachments && way.last() == Some(&"photo") && matches!(base, "data" | "url" | "title" | "hash") {
            return Ok(None);
        }
        if rules.reference_display && base == "display" && !before.iter().any(|name| matches!(*name, "system" | "code"))
        {
            return Ok(None);
        }
        let mut below = inside.clone();
        below.elements.push(Element {
            name: base,
            underscore,
            value,
        });
        if underscore && self.could_change(&below) {
            return Ok(None);
        }
        let by_filter = |path: &FhirPath| {
            (1..=path.segments().len()).any(|end| {
                let (head, last) = (&path.segments()[..end], &path.segments()[end - 1]);
                last.filters().next().is_some() && may_select(head, &below.elements)
            })
        };
        let hidden =
            |own: &TypeRules| own.deny.iter().any(by_filter) || own.transforms.iter().any(|(path, _)| by_filter(path));
        if underscore && self.own_rules(&inside.resource).into_iter().any(hidden) {
            return Ok(None);
        }
        if inside.label && !underscore {
            let shape = matches!(
                (&way[..], name, value),
                ([], "meta", Tree::Object(_)) | (["meta"], "security", Tree::Array(_))
            );
            if matches!((&way[..], name), ([], "meta") | (["meta"], "security"))
                && (!shape || self.could_change(&below) || self.json_changes(path))
            {
                return Ok(None);
            }
        }
        let border = !underscore
            && matches!(
                (inside.resource.as_str(), way.as_slice(), name),
                (_, [], "contained")
                    | ("Bundle", ["entry"], "resource")
                    | ("Bundle", ["entry", "response"], "outcome")
                    | ("Bundle", [], "issues")
            )
            || !underscore
                && inside.resource == "Parameters"
                && name == "resource"
                && way.first() == Some(&"parameter")
                && way[1..].iter().all(|name| *name == "part");
        if !border || self.change(&below).is_some() {
            return self.value(value, path, Context::Inside(below), hold);
        }
        if !self.stays(&below, &Tree::Scalar("null".into())) {
            return Ok(None);
        }
        let labelled = name == "contained" && inside.labelled;
        self.value(value, path, Context::Border { labelled }, hold)
    }

    fn json_changes(&self, path: &[Hop<'_>]) -> bool {
        self.transforms.iter().any(|(rule, _)| selects(rule.segments(), path))
    }

    /// The rules that hold for a type, its own before those for all.
    fn own_rules(&self, resource: &str) -> Vec<&TypeRules> {
        let Some(rules) = &self.fhir else { return Vec::new() };
        let own = rules
            .types
            .iter()
            .filter(|(name, _)| name == resource)
            .map(|(_, own)| own);
        own.chain([&rules.all]).collect()
    }

    /// Whether the rules for resources let an element stay, so far.
    fn stays(&self, inside: &Inside<'_>, tree: &Tree) -> bool {
        let Some(groups) = &self.fhir else {
            panic!("no rules for resources, or no string")
        };
        let rules = self.own_rules(&inside.resource);
        let way = &inside.elements;
        if rules
            .iter()
            .any(|own| own.deny.iter().any(|path| selects(path.segments(), way)))
        {
            return false;
        }
        let last = way.last().expect("an element");
        let sampled = way.len() > 1 && way[way.len() - 2].name == "valueSampledData";
        if groups.attachments && last.name == "data" && !sampled && matches!(tree, Tree::Scalar(_)) {
            return false;
        }
        let allow: Vec<&FhirPath> = rules.iter().filter_map(|own| own.allow.as_ref()).flatten().collect();
        if rules.iter().all(|own| own.allow.is_none()) {
            return true;
        }
        let inside = (0..=way.len()).any(|end| allow.iter().any(|path| selects(path.segments(), &way[..end])));
        inside || !matches!(tree, Tree::Scalar(_)) && allow.iter().any(|path| leads_on(path.segments(), way))
    }

    fn change(&self, inside: &Inside<'_>) -> Option<Transform> {
        let rules = self.own_rules(&inside.resource);
        let mut all = rules.iter().flat_map(|own| &own.transforms);
        all.find(|(path, _)| selects(path.segments(), &inside.elements))
            .map(|(_, transform)| *transform)
    }

    /// Whether a transform applies, or would if its filter held.
    fn could_change(&self, inside: &Inside<'_>) -> bool {
        let rules = self.own_rules(&inside.resource);
        let mut all = rules.iter().flat_map(|own| &own.transforms);
        all.any(|(path, _)| may_select(path.segments(), &inside.elements))
    }

    /// The canaries in what JSON's rules deny.
    pub(super) fn denied<'t>(&self, tree: &'t Tree) -> Vec<&'t str> {
        let mut found = Vec::new();
        self.denied_at(tree, &mut Vec::new(), false, &mut found);
        found
    }

    fn denied_at<'t>(&self, tree: &'t Tree, path: &mut Vec<Hop<'t>>, above: bool, found: &mut Vec<&'t str>) {
        let denied = above || self.deny.iter().any(|rule| selects(rule.segments(), path));
        match tree {
            Tree::Scalar(raw) => {
                if let (true, Some(rest)) = (denied, raw.strip_prefix("\"canary")) {
                    found.push(&rest[..rest.find('x').map_or(rest.len(), |end| end + 1)]);
                }
            }
            Tree::Array(items) => {
                for (index, value) in items.iter().enumerate() {
                    let step = Step::Index(index as u64);
                    path.push(Hop { step, value });
                    self.denied_at(value, path, denied, found);
                    path.pop();
                }
            }
            Tree::Object(members) => {
                for (_, name, value) in members {
                    let step = Step::Name(name);
                    path.push(Hop { step, value });
                    self.denied_at(value, path, denied, found);
                    path.pop();
                }
            }
        }
    }
}

/// Whether this is the place of that name in a resource that gets a label.
fn labels(context: &Context<'_>, wanted: &[&str]) -> bool {
    matches!(context, Context::Inside(inside) if inside.label
        && inside.elements.iter().all(|element| !element.underscore)
        && inside.elements.iter().map(|element| element.name).eq(wanted.iter().copied()))
}

pub(super) const TAG: &str =
    r#"{"system":"http://terminology.hl7.org/CodeSystem/v3-ObservationValue","code":"REDACTED","display":"redacted"}"#;
