//! Rules by FHIR resource type: what they are, and what FHIR's structure says of a place inside a resource.

use std::fmt;
use std::sync::Arc;

use super::filter::Filter;
use super::selector::{Cursor, Pick, Segment, SelectorError};
use super::transform::Transform;

/// Rules that hold for resources wherever they stand: alone, in a Bundle, in Parameters, contained, inside an answer that
/// is no resource itself.
#[derive(Clone, Debug, Default)]
pub struct FhirRules {
    /// The rules of each type that is listed. A type that is listed twice has the rules of both.
    pub types: Vec<(String, TypeRules)>,
    /// Rules for every resource, besides its type's. Where both have an allow list, either keeps.
    pub all: TypeRules,
    /// What becomes of resources whose type is not listed.
    pub others: Others,
    /// Remove the narrative: `text` of resources and of a Composition's sections, and every `div`.
    pub narrative: bool,
    /// Remove every `display` in whose object no `system` or `code` came before.
    pub reference_display: bool,
    /// Remove what attachments hold: `data`, `url`, `title` and `hash`, and every string called `data` but a SampledData's.
    pub attachments: bool,
    /// Remove every `extension` and every member whose name starts with `_`; `modifierExtension` stays.
    pub extensions: bool,
    /// Add the security label REDACTED to each resource that the rules can trim.
    pub tag: bool,
}

/// The rules of one resource type.
#[derive(Clone, Debug, Default)]
pub struct TypeRules {
    /// The elements that go.
    pub deny: Vec<FhirPath>,
    /// The elements that stay, if not all.
    pub allow: Option<Vec<FhirPath>>,
    /// What replaces elements; the first that fits is applied.
    pub transforms: Vec<(FhirPath, Transform)>,
}

/// What becomes of resources whose type is not listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Others {
    /// They stay, by the rules for all.
    #[default]
    Keep,
    /// They go as a whole, except Bundle, Parameters and OperationOutcome. Outside of resources every scalar goes.
    Remove,
}

impl FhirRules {
    /// Whether there is nothing that could change a body.
    pub(super) fn is_empty(&self) -> bool {
        let groups = self.narrative || self.reference_display || self.attachments || self.extensions;
        !groups
            && self.others == Others::Keep
            && self.all.is_empty()
            && self.types.iter().all(|(_, rules)| rules.is_empty())
    }
}

impl TypeRules {
    pub(super) fn is_empty(&self) -> bool {
        self.deny.is_empty() && self.allow.is_none() && self.transforms.is_empty()
    }
}

/// The way to elements of a resource, for example `name.family`, `value[x]`, `..identifier` or
/// `telecom[?@.system == 'phone'].value`.
///
/// Names are JSON's, joined by dots, from the resource down. Arrays need no step. `x[x]` stands for every datatype of a choice;
/// `..` or `**.` for any depth below; a filter picks among the elements of an array (or the one value).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FhirPath {
    text: String,
    segments: Vec<Segment>,
}

impl FhirPath {
    /// Parses a path.
    ///
    /// # Errors
    /// When it is no path of element names, or has what needs no step (`$`, a type, an index, `_x`).
    pub fn parse(text: &str) -> Result<FhirPath, FhirPathError> {
        let wrong = |fault| Err(FhirPathError(fault));
        let mut segments: Vec<Segment> = Vec::new();
        let mut rest = text;
        loop {
            let mut descends = false;
            if let Some(after) = rest.strip_prefix("..") {
                (descends, rest) = (true, after);
            } else if !segments.is_empty() {
                match rest.strip_prefix('.') {
                    Some(after) => rest = after,
                    None if rest.is_empty() => break,
                    None => return wrong(PathFault::Step),
                }
            }
            while let Some(after) = rest.strip_prefix("**.") {
                (descends, rest) = (true, after);
            }
            let length = rest.bytes().take_while(u8::is_ascii_alphanumeric).count();
            let Some((name, after)) = rest.split_at_checked(length) else {
                return wrong(PathFault::Step);
            };
            rest = after;
            match name.as_bytes().first() {
                None if rest.starts_with('$') => return wrong(PathFault::Dollar),
                None if rest.starts_with('_') => return wrong(PathFault::Underscore),
                None if rest.starts_with('*') => return wrong(PathFault::Wildcard),
                None => return wrong(PathFault::Step),
                Some(b'A'..=b'Z') => return wrong(PathFault::Type),
                Some(b'0'..=b'9') => return wrong(PathFault::Step),
                Some(_) if name == "resourceType" => return wrong(PathFault::ResourceType),
                Some(_) => {}
            }
            let mut picks = if let Some(after) = rest.strip_prefix("[x]") {
                rest = after;
                DATATYPES
                    .iter()
                    .map(|datatype| Pick::Name(format!("{name}{datatype}")))
                    .collect()
            } else {
                vec![Pick::Name(name.to_owned())]
            };
            while let Some(after) = rest.strip_prefix('[') {
                if !after.starts_with('?') {
                    return wrong(PathFault::Index);
                }
                let offset = text.len().saturating_sub(after.len());
                let mut cursor = Cursor {
                    text,
                    at: offset.saturating_add(1),
                };
                let filter =
                    Filter::parse(&mut cursor).map_err(|error| FhirPathError(PathFault::Filter(Box::new(error))))?;
                cursor.skip_space();
                if !cursor.take(']') {
                    return wrong(PathFault::Unclosed);
                }
                picks.push(Pick::Where(Arc::new(filter)));
                rest = text.get(cursor.at..).unwrap_or_default();
            }
            segments.push(Segment { descends, picks });
            if segments.len() > MAX_SEGMENTS {
                return wrong(PathFault::TooLong);
            }
        }
        Ok(FhirPath {
            text: text.to_owned(),
            segments,
        })
    }

    pub(super) fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Whether the path leads into another resource, in a resource of this type (or of any, `None`).
    pub(super) fn crosses(&self, kind: Kind) -> bool {
        let mut zone = Zone::Root(kind);
        let last = self.segments.len().saturating_sub(1);
        for (at, segment) in self.segments.iter().enumerate() {
            let (false, [Pick::Name(name), ..]) = (segment.descends, segment.picks.as_slice()) else {
                return false;
            };
            match zone.member(name, false) {
                // A filter there would look into the resource too.
                Below::Border => return at < last || segment.filters().next().is_some(),
                Below::Zone(next) => zone = next,
            }
        }
        false
    }
}

impl fmt::Display for FhirPath {
    /// The path as it was written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Why a text is no path of elements, and the mend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FhirPathError(PathFault);

#[derive(Clone, Debug, PartialEq, Eq)]
enum PathFault {
    Step,
    Dollar,
    Type,
    Underscore,
    Wildcard,
    Index,
    Unclosed,
    ResourceType,
    TooLong,
    Filter(Box<SelectorError>),
}

impl fmt::Display for FhirPathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use PathFault as F;
        f.write_str(match &self.0 {
            F::Step => "element names joined by dots are expected; write for example `name.family`, or `..name` for any depth",
            F::Dollar => "the path of an element starts at its resource, without `$`; write for example `name.family`",
            F::Type => "the path of an element starts below its type; leave the type's name out, as in `name.family`",
            F::Underscore => "`_x` follows `x`; leave the underscore out",
            F::Wildcard => "`*` is no element; name the element, or write `..name` or `**.name` for any depth",
            F::Index => {
                "arrays need no step, and their elements have no fixed place; leave the brackets out, or pick by a filter as in `name[?@.use == 'old']`"
            }
            F::Unclosed => "a bracket is not closed; write `]` after the filter",
            F::ResourceType => "`resourceType` always stays with its resource; leave this path out",
            F::TooLong => "more than 128 steps, deeper than any body may nest; shorten the path",
            F::Filter(error) => return error.fmt(f),
        })
    }
}

impl std::error::Error for FhirPathError {}

/// As for selectors: no body nests deeper.
const MAX_SEGMENTS: usize = 128;

/// The datatypes of `value[x]`: those of R4 (`Extension.value[x]`, 2.24.0.1) and what R5 added to them.
const DATATYPES: [&str; 60] = [
    "Base64Binary",
    "Boolean",
    "Canonical",
    "Code",
    "Date",
    "DateTime",
    "Decimal",
    "Id",
    "Instant",
    "Integer",
    "Integer64",
    "Markdown",
    "Oid",
    "PositiveInt",
    "String",
    "Time",
    "UnsignedInt",
    "Uri",
    "Url",
    "Uuid",
    "Address",
    "Age",
    "Annotation",
    "Attachment",
    "CodeableConcept",
    "CodeableReference",
    "Coding",
    "ContactPoint",
    "Count",
    "Distance",
    "Duration",
    "HumanName",
    "Identifier",
    "Money",
    "Period",
    "Quantity",
    "Range",
    "Ratio",
    "RatioRange",
    "Reference",
    "SampledData",
    "Signature",
    "Timing",
    "ContactDetail",
    "Contributor",
    "DataRequirement",
    "Expression",
    "ParameterDefinition",
    "RelatedArtifact",
    "TriggerDefinition",
    "UsageContext",
    "Availability",
    "ExtendedContactDetail",
    "VirtualServiceDetail",
    "MonetaryComponent",
    "Dosage",
    "Meta",
    "SimpleQuantity",
    "MoneyQuantity",
    "ElementDefinition",
];

// --- structure -------------------------------------------------------------------------------------------------

/// The types whose structure holds other resources, or matters otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Bundle,
    Parameters,
    Composition,
    ExampleScenario,
    OperationOutcome,
    /// A Bundle by its members so far, whose `resourceType` did not come in time. It has no others.
    UntypedBundle,
    Other,
}

impl Kind {
    /// Those that are told apart.
    pub(super) const NAMES: [(&'static str, Kind); 5] = [
        ("Bundle", Kind::Bundle),
        ("Parameters", Kind::Parameters),
        ("Composition", Kind::Composition),
        ("ExampleScenario", Kind::ExampleScenario),
        ("OperationOutcome", Kind::OperationOutcome),
    ];

    pub(super) fn of(resource: &str) -> Kind {
        Kind::NAMES
            .into_iter()
            .find(|(name, _)| *name == resource)
            .map_or(Kind::Other, |(_, kind)| kind)
    }

    /// Stays without its type being listed.
    pub(super) fn always_stays(self) -> bool {
        matches!(
            self,
            Kind::Bundle | Kind::UntypedBundle | Kind::Parameters | Kind::OperationOutcome
        )
    }
}

/// A place inside a resource, as far as FHIR's structure matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Zone {
    Plain,
    /// The resource itself.
    Root(Kind),
    /// `Bundle.entry`, `Bundle.entry.response`.
    Entry,
    Response,
    /// `entry` of a [`Kind::UntypedBundle`], with no members but a Bundle's: `List.entry` has others.
    UntypedEntry,
    /// `Parameters.parameter`, and `part` at any depth.
    Parameter,
    /// `Composition.section`, at any depth.
    Section,
    /// `ExampleScenario.instance`, which has an element `resourceType` in R4.
    Instance,
    Attachment,
    SampledData,
    /// `meta` and `meta.security` where a label is added.
    Meta,
    Security,
}

/// Where a member leads.
pub(super) enum Below {
    Zone(Zone),
    /// Another resource stands there.
    Border,
}

impl Zone {
    /// The place of the member `name`, without its underscore if it had one.
    pub(super) fn member(self, name: &str, underscore: bool) -> Below {
        if underscore {
            return Below::Zone(Zone::Plain);
        }
        Below::Zone(match (self, name) {
            (Zone::Root(_), "contained") => return Below::Border,
            (Zone::Root(Kind::Bundle), "entry") => Zone::Entry,
            (Zone::Root(Kind::UntypedBundle), "entry") => Zone::UntypedEntry,
            // R5: the OperationOutcome of a search or batch as a whole.
            (Zone::Root(Kind::Bundle | Kind::UntypedBundle), "issues") => return Below::Border,
            (Zone::Entry | Zone::UntypedEntry, "resource") => return Below::Border,
            (Zone::Entry | Zone::UntypedEntry, "response") => Zone::Response,
            (Zone::Response, "outcome") => return Below::Border,
            (Zone::Root(Kind::Parameters), "parameter") | (Zone::Parameter, "part") => Zone::Parameter,
            (Zone::Parameter, "resource") => return Below::Border,
            (Zone::Root(Kind::Composition) | Zone::Section, "section") => Zone::Section,
            (Zone::Root(Kind::ExampleScenario), "instance") => Zone::Instance,
            (_, name) if SAMPLED_DATA.contains(&name) => Zone::SampledData,
            (_, name) if ATTACHMENTS.contains(&name) => Zone::Attachment,
            _ => Zone::Plain,
        })
    }

    /// Whether no such member, its underscore left out, may stand there.
    pub(super) fn refuses(self, name: &str) -> bool {
        match self {
            Zone::Root(Kind::UntypedBundle) => !BUNDLE.contains(&name),
            Zone::UntypedEntry => !BUNDLE_ENTRY.contains(&name),
            _ => false,
        }
    }

    /// The names that matter at this place.
    pub(super) fn names(self) -> &'static [&'static str] {
        match self {
            Zone::Root(Kind::Bundle) => &["contained", "entry", "issues"],
            Zone::Root(Kind::Parameters) => &["contained", "parameter"],
            Zone::Root(Kind::Composition) => &["contained", "section"],
            Zone::Root(Kind::ExampleScenario) => &["contained", "instance"],
            Zone::Root(Kind::UntypedBundle) => &BUNDLE,
            Zone::Root(_) => &["contained"],
            Zone::UntypedEntry => &BUNDLE_ENTRY,
            Zone::Entry => &["resource", "response"],
            Zone::Response => &["outcome"],
            Zone::Parameter => &["part", "resource"],
            Zone::Section => &["section"],
            _ => &[],
        }
    }
}

/// The elements of Bundle but `resourceType`, by R4's definitions and R5's.
pub(super) const BUNDLE: [&str; 12] = [
    "entry",
    "id",
    "identifier",
    "implicitRules",
    "issues",
    "language",
    "link",
    "meta",
    "signature",
    "timestamp",
    "total",
    "type",
];

/// The elements of Bundle.entry.
const BUNDLE_ENTRY: [&str; 9] = [
    "extension",
    "fullUrl",
    "id",
    "link",
    "modifierExtension",
    "request",
    "resource",
    "response",
    "search",
];

/// Where resources hold resources.
pub(super) const HOLDERS: [&str; 4] = ["contained", "entry", "issues", "parameter"];

/// The members of a CDS Hooks answer (2.0), its cards and its suggestions that no resource has.
pub(super) const CDS_HOOKS: [&str; 4] = ["actions", "cards", "suggestions", "systemActions"];

/// The elements of the type Attachment, by R4's definitions and R5's. Where an element of another type has such a name
/// (`DocumentReference.content`), it has none of an attachment's members.
pub(super) const ATTACHMENTS: [&str; 20] = [
    "photo",
    "attachment",
    "presentedForm",
    "image",
    "content",
    "form",
    "document",
    "formatted",
    "valueAttachment",
    "contentAttachment",
    "sourceAttachment",
    "legallyBindingAttachment",
    "bindingAttachment",
    "sequenceAttachment",
    "defaultValueAttachment",
    "fixedAttachment",
    "patternAttachment",
    "attachedDocument",
    "additionalContent",
    "media",
];

/// The elements of the type SampledData.
pub(super) const SAMPLED_DATA: [&str; 4] = [
    "valueSampledData",
    "defaultValueSampledData",
    "fixedSampledData",
    "patternSampledData",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_element_names() {
        let names = |text: &str| -> Vec<(bool, String, usize)> {
            let path = FhirPath::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(path.to_string(), text);
            path.segments
                .iter()
                .map(|segment| {
                    let Some(Pick::Name(name)) = segment.picks.first() else {
                        panic!("{text}")
                    };
                    (segment.descends, name.clone(), segment.picks.len())
                })
                .collect()
        };
        let own = |descends: bool, name: &str, picks: usize| (descends, name.to_owned(), picks);
        assert_eq!(names("birthDate"), [own(false, "birthDate", 1)]);
        assert_eq!(names("name.family"), [own(false, "name", 1), own(false, "family", 1)]);
        assert_eq!(names("..identifier"), [own(true, "identifier", 1)]);
        assert_eq!(names("**.identifier"), [own(true, "identifier", 1)]);
        assert_eq!(names("a.**.b"), [own(false, "a", 1), own(true, "b", 1)]);
        assert_eq!(names("a..b"), names("a.**.b"));
        assert_eq!(names("value[x]"), [own(false, "valueBase64Binary", DATATYPES.len())]);
        assert_eq!(
            names("a[?(@.use == 'official')].b"),
            [own(false, "a", 2), own(false, "b", 1)]
        );
        assert_eq!(names("a[?@['x]'] == ']'].b").len(), 2);
    }

    #[test]
    fn what_is_no_path_is_refused_with_the_mend() {
        for (text, part) in [
            ("", "element names"),
            (".", "element names"),
            ("a.", "element names"),
            ("a b", "element names"),
            ("a...b", "element names"),
            ("1a", "element names"),
            ("$.a", "without `$`"),
            ("Patient.name", "leave the type's name out"),
            ("a.B", "leave the type's name out"),
            ("_birthDate", "leave the underscore out"),
            ("a.*", "`*` is no element"),
            ("*", "`*` is no element"),
            ("a[0]", "arrays need no step"),
            ("a[*].b", "arrays need no step"),
            ("a['b']", "arrays need no step"),
            ("a[?@.b", "not closed"),
            ("a[?@.b == $.c]", "cannot stream"),
            ("resourceType", "always stays"),
        ] {
            let error = FhirPath::parse(text).expect_err(text).to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
        assert!(FhirPath::parse(&vec!["a"; 129].join(".")).is_err());
    }

    #[test]
    fn a_path_ends_where_another_resource_begins() {
        let crosses = |text: &str, kind| FhirPath::parse(text).expect(text).crosses(kind);
        assert!(crosses("contained.name", Kind::Other));
        assert!(crosses("contained[?@.id == 'x']", Kind::Other));
        assert!(crosses("entry.resource.name", Kind::Bundle));
        assert!(crosses("entry.response.outcome.issue", Kind::Bundle));
        assert!(crosses("parameter.part.part.resource.id", Kind::Parameters));
        assert!(!crosses("contained", Kind::Other));
        assert!(!crosses("entry.resource", Kind::Bundle));
        assert!(!crosses("entry.resource.name", Kind::Other));
        assert!(!crosses("..contained", Kind::Other));
    }

    #[test]
    fn every_name_that_matters_leads_somewhere() {
        for zone in [
            Zone::Root(Kind::Bundle),
            Zone::Root(Kind::Parameters),
            Zone::Root(Kind::Composition),
            Zone::Root(Kind::ExampleScenario),
            Zone::Root(Kind::Other),
            Zone::Entry,
            Zone::Response,
            Zone::Parameter,
            Zone::Section,
        ] {
            for name in zone.names() {
                assert!(
                    !matches!(zone.member(name, false), Below::Zone(Zone::Plain)),
                    "{zone:?} {name}"
                );
            }
        }
        for name in ATTACHMENTS {
            assert!(matches!(Zone::Plain.member(name, false), Below::Zone(Zone::Attachment)));
        }
        for name in SAMPLED_DATA {
            assert!(matches!(
                Zone::Plain.member(name, false),
                Below::Zone(Zone::SampledData)
            ));
        }
    }
}
