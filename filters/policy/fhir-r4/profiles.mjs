// The lists of the ready profiles of response-trim (../src/profiles/fhir_r4.rs); the profiles themselves are in ../src/profiles.rs. Called by generate.mjs.
//
//  1. DEIDENTIFIED are the types that `safe-harbor` and `limited-data-set` keep: those that say something when nobody can be told from them. Not kept are logs
//     (AuditEvent, Provenance), raw content (Binary, DocumentReference, Media), messages, schedules, people beside the patient, types that hold anything
//     (Basic, Task), genomes, ImagingStudy (whose mandatory ids are worldwide unique), and definitions.
//  2. Each element of these types, those of its datatypes too, is judged by its datatype:
//     - `safe-harbor`: dates become years by `birth-year`, for any may tell an age over 89 (an onset, a relative's birth); instants, which have no year alone, and ages, which may be over 89, go;
//     - both: identifiers, names, telecoms, attachments, annotations, signatures, expressions, base64, free text (string, markdown, narrative) and URIs go.
//  3. What KEEP names stays; for each there is the reason. MASKED are mandatory and become `***`. GONE go with what is in them, for what is mandatory in them
//     would go. Extensions are a group of their own; what can stand in a modifier extension is judged by its datatype.
//  4. A name that is treated alike wherever it stands is written once, at any depth (`**.name`); else each path by its type.
//  5. `clinical-no-narrative`: annotations, markdown and the free text of NOTES go, on the types of CLINICAL.

import {SOURCES, structures} from './structures.mjs';

const split = (text) => text.trim().split(/\s+/);

const DEIDENTIFIED = split(`
  Account AdverseEvent AllergyIntolerance BodyStructure Bundle CarePlan CareTeam ChargeItem Claim ClaimResponse ClinicalImpression Composition Condition Coverage
  CoverageEligibilityRequest CoverageEligibilityResponse DetectedIssue Device DeviceRequest DeviceUseStatement DiagnosticReport Encounter EnrollmentRequest
  EpisodeOfCare ExplanationOfBenefit FamilyMemberHistory Flag Goal Group Immunization ImmunizationEvaluation ImmunizationRecommendation Invoice List Location
  MeasureReport Medication MedicationAdministration MedicationDispense MedicationRequest MedicationStatement NutritionOrder Observation OperationOutcome
  Organization Parameters Patient Procedure QuestionnaireResponse RequestGroup ResearchSubject RiskAssessment ServiceRequest Specimen Substance SupplyDelivery SupplyRequest
  VisionPrescription`);

const CLINICAL = [...DEIDENTIFIED.filter((type) => type !== 'Parameters'), ...split(`
  Appointment AppointmentResponse Basic Communication CommunicationRequest Consent Contract DeviceMetric DocumentManifest DocumentReference EnrollmentResponse
  GuidanceResponse ImagingStudy Media MolecularSequence PaymentNotice PaymentReconciliation Person Practitioner PractitionerRole Provenance RelatedPerson
  ResearchStudy Schedule Slot Task VerificationResult`)];

// By the end of the path from the type, or of the datatype.
const KEEP = [
  'Address.state', 'Address.country', // 164.514(b)(2)(i)(B) allows the state
  'Coding.system', 'Quantity.system', 'Coding.version', 'Quantity.unit', 'Reference.type', // vocabulary
  'SampledData.data', // numbers
  'Parameters.parameter.name', // the definition's; mandatory
  'QuestionnaireResponse.item.linkId', // the question's key in the form; mandatory
  'Bundle.link.relation', 'Bundle.link.url', // paging; phi-url judges them
  'Resource.implicitRules', // a modifier
  'Meta.profile',
];
// Values of Parameters that stay. All others go.
const PARAMETERS = split('valueBoolean valueCode valueCodeableConcept valueCoding valueDecimal valueInteger valuePositiveInt valueQuantity valueUnsignedInt');
const KEEP_LIMITED = ['Address.city', 'Address.postalCode', 'Bundle.entry.fullUrl', 'Bundle.entry.request.url', 'Bundle.entry.request.ifMatch', 'Bundle.entry.request.ifNoneMatch',
  'Bundle.entry.response.status', 'Bundle.entry.response.location', 'Bundle.entry.response.etag'];
const MASKED = ['Composition.title', 'List.title', 'CarePlan.title', 'RequestGroup.action.title', 'Composition.section.title', 'Immunization.occurrenceString',
  'Immunization.protocolApplied.doseNumberString', 'ImmunizationEvaluation.doseNumberString', 'ImmunizationRecommendation.recommendation.doseNumberString'];
const GONE = ['ClaimResponse.processNote', 'Composition.relatesTo', 'Coverage.class', 'CoverageEligibilityResponse.error', 'Device.deviceName', 'Device.udiCarrier', 'Device.version',
  'DiagnosticReport.media', 'ExplanationOfBenefit.processNote', 'Immunization.education', 'Organization.contact', 'Patient.contact', 'RequestGroup.action.documentation'];
const GONE_SAFE_HARBOR = ['Bundle.entry.request', 'Bundle.entry.response', 'Location.position', 'CarePlan.activity.reference'];

const DATES = ['date', 'dateTime'];
const DROPPED = split(`Identifier HumanName ContactPoint ContactDetail Contributor Attachment Annotation Signature Expression RelatedArtifact Narrative
  base64Binary string markdown uri url oid uuid xhtml`);
// In safe-harbor besides. Ranges of these names are of ages.
const AGES = split('abatementRange ageRange deceasedRange onsetRange performedRange timingRange');
// Choices of Extension.value[x] that no other element has.
const MODIFIER_VALUES = split(`valueAddress valueAnnotation valueBase64Binary valueCanonical valueContactDetail valueContactPoint valueContributor valueDataRequirement valueDosage
  valueExpression valueHumanName valueId valueIdentifier valueMarkdown valueMeta valueOid valueParameterDefinition valueRelatedArtifact valueSignature valueTiming
  valueTriggerDefinition valueUrl valueUsageContext valueUuid`);

// Not what an order says (`instruction` ..), nor a report's `conclusion`, which may be all there is of it.
const NOTES = split(`basis cancelledReason comment description detail detailString diagnostics disposition mitigation outcomeDesc overrideReason rationale statusReason
  summary textEquivalent`);
const NO_NOTES = [
  'OperationOutcome.issue.diagnostics', // judged by phi-url
  'PractitionerRole.notAvailable.description', // about no patient; mandatory
];
const GONE_CLINICAL = ['Communication.payload', 'CommunicationRequest.payload'];

export function profiles({read, sha256, made}) {
  const order = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
  const known = structures(read);
  const capital = (name) => name[0].toUpperCase() + name.slice(1);
  const used = new Set();

  // Every member of a type: visit says whether to look into it.
  function members(type, visit) {
    const inner = (name, inside, way, seen) => {
      for (const element of known.get(name).snapshot.element) {
        const within = inside ? `${name}.${inside}` : name;
        if (!element.path.startsWith(`${within}.`) || element.path.slice(within.length + 1).includes('.')) continue;
        const own = element.path.slice(within.length + 1);
        if (own === 'extension' || own === 'modifierExtension' || own === 'id' || own === 'contained') continue;
        for (const each of element.type ?? []) {
          const datatype = each.code.startsWith('http') ? 'string' : each.code;
          const member = own.endsWith('[x]') ? own.slice(0, -3) + capital(datatype) : own;
          const path = [...way, member];
          // Age and Duration are kinds of Quantity.
          const home = ['Age', 'Duration', 'Count', 'Distance'].includes(name) ? 'Quantity' : name;
          const names = [`${type}.${path.join('.')}`, `${home}.${inside ? `${inside}.` : ''}${member}`, element.base.path];
          if (!visit({path, name: member, datatype, mandatory: element.min >= 1, is: (list) => list.filter((one) => names.includes(one)).map((one) => used.add(one)).length > 0})) continue;
          if (datatype === 'BackboneElement' || datatype === 'Element') inner(name, inside ? `${inside}.${own}` : own, path, seen);
          else if (known.get(datatype)?.kind === 'complex-type' && !seen.includes(datatype)) inner(datatype, '', path, [...seen, datatype]);
        }
      }
    };
    inner(type, '', [], []);
  }

  // What becomes of it: null, where it is looked into, `keep`, `deny`, or a transform.
  const treatment = (strict) => ({path, name, datatype, is}) => {
    if (is(GONE) || (strict && is(GONE_SAFE_HARBOR))) return 'deny';
    if (is(['Parameters.parameter.' + name]) && name.startsWith('value') && !PARAMETERS.includes(name)) return 'deny';
    if (is(KEEP) || (!strict && is(KEEP_LIMITED))) return 'keep';
    if (is(MASKED)) return 'mask';
    if (strict) {
      if (DATES.includes(datatype)) return 'birth-year';
      if (datatype === 'instant' || datatype === 'Age' || AGES.includes(name)) return 'deny';
      if (is(['Address.postalCode'])) return 'zip3';
      if (is(['Reference.reference'])) return 'mask';
      if (is(['Meta.versionId'])) return 'deny';
    } else if (is(['Reference.reference'])) return 'keep';
    if (DROPPED.includes(datatype)) return 'deny';
    return known.get(datatype)?.kind === 'complex-type' || datatype === 'BackboneElement' ? null : 'keep';
  };
  const notes = ({path, name, datatype, is}) => {
    if (is(GONE_CLINICAL)) return 'deny';
    if (is(NO_NOTES)) return 'keep';
    if (['Annotation', 'markdown'].includes(datatype) || (datatype === 'string' && NOTES.includes(name))) return 'deny';
    return known.get(datatype)?.kind === 'complex-type' || datatype === 'BackboneElement' ? null : 'keep';
  };

  // Rules by type, and those at any depth.
  function rules(types, judge) {
    const found = types.flatMap((type) => {
      const list = [];
      members(type, (member) => {
        const becomes = judge(member);
        list.push({type, path: member.path.join('.'), name: member.name, becomes: becomes ?? 'keep'});
        return becomes === null;
      });
      return list;
    });
    const byName = new Map();
    for (const each of found) byName.set(each.name, [...(byName.get(each.name) ?? []), each]);
    // Of what all resources have.
    const all = new Map();
    const deep = new Map();
    const own = new Map();
    const add = (map, key, path) => map.set(key, [...(map.get(key) ?? []), path]);
    for (const [name, list] of byName) {
      const kinds = new Set(list.map((each) => each.becomes));
      const transforms = [...kinds].filter((each) => each !== 'keep' && each !== 'deny');
      if (transforms.length > 1 && !kinds.has('keep')) throw new Error(`${name} becomes ${transforms}`);
      const everywhere = kinds.has('keep') ? null : transforms[0] ?? 'deny';
      if (everywhere) add(deep, everywhere, `**.${name}`);
      for (const {type, path: exact, becomes} of list) {
        if (becomes === 'keep' || becomes === everywhere) continue;
        // At any depth where elements can hold themselves (QuestionnaireResponse.item.item), and it holds for the whole type.
        const alike = known.get(type).snapshot.element.some((each) => each.contentReference) && list.every((each) => each.type !== type || each.becomes === becomes) && exact.includes('.') && !exact.startsWith('meta.');
        const path = alike ? `**.${name}` : exact;
        if (path.startsWith('meta.')) {
          all.set(path, becomes);
          continue;
        }
        if (!own.has(type)) own.set(type, new Map());
        add(own.get(type), becomes, path);
      }
    }
    for (const [path, becomes] of all) add(deep, becomes, path);
    return {deep, own};
  }

  const strict = rules(DEIDENTIFIED, treatment(true));
  const limited = rules(DEIDENTIFIED, treatment(false));
  const clinical = rules(CLINICAL, notes);
  for (const one of [...KEEP, ...KEEP_LIMITED, ...MASKED, ...GONE, ...GONE_SAFE_HARBOR, ...NO_NOTES, ...GONE_CLINICAL]) {
    if (!used.has(one)) throw new Error(`${one} names nothing`);
  }

  const list = (paths) => [...new Set(paths)].sort(order).join(' ');
  const both = strict.deep.get('deny').filter((path) => limited.deep.get('deny').includes(path));
  const rest = (deep) => (deep.get('deny') ?? []).filter((path) => !both.includes(path));
  const deepTransforms = (deep) => [...deep].filter(([key]) => key !== 'deny').sort(([a], [b]) => order(a, b)).map(([key, paths]) => `(${JSON.stringify(key)}, ${JSON.stringify(list(paths))})`);
  const table = (own) => [...own].sort(([a], [b]) => order(a, b)).map(([type, map]) => {
    const transforms = [...map].filter(([key]) => key !== 'deny').map(([key, paths]) => `(${JSON.stringify(key)}, ${JSON.stringify(list(paths))})`);
    return `(${JSON.stringify(type)}, Rules { allow: None, deny: &[${map.has('deny') ? JSON.stringify(list(map.get('deny'))) : ''}], transform: &[${transforms.join(', ')}] })`;
  });
  const plain = (own) => list(DEIDENTIFIED.filter((type) => !own.has(type)));

  const body = `/// What goes at any depth, from both profiles for data that shall not tell who it is about.
pub(super) static IDENTIFYING: &str = ${JSON.stringify(list([...both, ...MODIFIER_VALUES.map((name) => `**.${name}`)]))};

/// What goes at any depth from \`safe-harbor\` besides.
pub(super) static SAFE_HARBOR: &str = ${JSON.stringify(list(rest(strict.deep)))};

/// What is made coarser at any depth by \`safe-harbor\`.
pub(super) static SAFE_HARBOR_TRANSFORMS: &[(&str, &str)] = &[${deepTransforms(strict.deep).join(', ')}];

/// The types that \`safe-harbor\` keeps without a rule of their own.
pub(super) static SAFE_HARBOR_KEPT: &str = ${JSON.stringify(plain(strict.own))};

/// The types that \`safe-harbor\` keeps with rules of their own.
pub(super) static SAFE_HARBOR_TYPES: &[(&str, Rules)] = &[${table(strict.own).join(', ')}];

/// What goes at any depth from \`limited-data-set\` besides.
pub(super) static LIMITED: &str = ${JSON.stringify(list(rest(limited.deep)))};

/// What is masked at any depth by \`limited-data-set\`.
pub(super) static LIMITED_TRANSFORMS: &[(&str, &str)] = &[${deepTransforms(limited.deep).join(', ')}];

/// The types that \`limited-data-set\` keeps without a rule of their own.
pub(super) static LIMITED_KEPT: &str = ${JSON.stringify(plain(limited.own))};

/// The types that \`limited-data-set\` keeps with rules of their own.
pub(super) static LIMITED_TYPES: &[(&str, Rules)] = &[${table(limited.own).join(', ')}];

/// Notes that go at any depth.
pub(super) static NOTES: &str = ${JSON.stringify(list(clinical.deep.get('deny')))};

/// Notes of types.
pub(super) static NOTES_TYPES: &[(&str, Rules)] = &[${table(clinical.own).join(', ')}];
`;
  const source = `//! The lists of the ready profiles.
//!
//! Generated by \`filters/policy/fhir-r4/generate.mjs\`; the rules are in \`profiles.mjs\` beside it; do not edit. Made from
//! ${made}, which carries HL7's definitions of FHIR 4.0.1:
//! ${SOURCES.map((path) => `\`${path.split('/').pop()}\`\n//! sha256 ${sha256(read(path))}`).join(',\n//! ')}.

use super::Rules;

${body}`;
  const size = [...body.matchAll(/"([^"]*)"/g)].reduce((sum, [, text]) => sum + text.length, 0);
  return [source, `${DEIDENTIFIED.length} types, ${both.length + rest(strict.deep).length} names go, ${[...strict.own].length} types with rules of their own, ${size} bytes of text`];
}
