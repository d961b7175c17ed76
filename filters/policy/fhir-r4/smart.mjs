// The tables that SMART scopes are judged with (../src/fhir/fhir_r4.rs). Called by generate.mjs. The rules:
//
//  1. Types: those of FHIR 4.0.1 that are no abstractions. The package adds SubscriptionStatus of R4B, which is left out.
//  2. References: each reference parameter of each type with the types that it can refer to, by its SearchParameter. More than MANY stand for any.
//  3. A type holds a patient's data when CompartmentDefinition/patient links it to the patient; its elements are those of the linking parameters. Patient
//     itself is left to the code: there the id shows whose it is.
//  4. A type outside the compartment may hold a patient's data all the same: when an element of it can refer to Patient by name (Contract.signer ..), or
//     its `patient` or `subject` can, or it is Binary (securityContext); when it holds other resources or refers to anything at all (Bundle, Linkage,
//     PaymentNotice ..) and is no definition, that is, has no `publisher`; or when it is of HOLDS_ALL_THE_SAME. All other types are open: they hold no
//     patient's data.
//  5. Parameters that bind a search to the patient: `patient` and `subject` where the type has them, can refer to Patient by them and reads only elements of 3
//     or 4; else the first linking parameter. Not `performer`, `author` ..: what a patient wrote can be about another.
//  6. A type is shared when an element that such a parameter reads can repeat (Group.member, AuditEvent.agent ..): it can be about other patients too.
//  7. Operations: name, types and levels by OperationDefinition. R4's do not say `affectsState`, so OPERATIONS says what each may do, from its text.

const MANY = 8;
// Without a reference to a patient, but not without a patient's data: its criteria can name one; it answers for one's EnrollmentRequest; it measures one.
const HOLDS_ALL_THE_SAME = ['Subscription', 'EnrollmentResponse', 'DeviceMetric'];

// own: reads its own type (terminology, definitions, validation). all: reads any type. record: all of one patient, on an instance of Patient.
// search: as a search of its type. export: all, or the types in `_type`. state: changes something of its type. anything: changes what it will.
// Those of MAY_CHANGE change something when they are posted or told to keep the result.
const OPERATIONS = {
  apply: 'all', 'care-gaps': 'all', closure: 'state', 'collect-data': 'all', conforms: 'own', convert: 'all', 'data-requirements': 'own', document: 'all',
  'evaluate-measure': 'all', everything: 'record', expand: 'own', find: 'own', 'find-matches': 'own', graph: 'all', graphql: 'all', implements: 'own',
  lastn: 'search', lookup: 'own', match: 'own', meta: 'own', 'meta-add': 'state', 'meta-delete': 'state', 'preferred-id': 'own', 'process-message': 'anything',
  questionnaire: 'own', snapshot: 'own', stats: 'all', submit: 'state', 'submit-data': 'anything', subset: 'own', subsumes: 'own', transform: 'all',
  translate: 'own', validate: 'own', 'validate-code': 'own', versions: 'own',
};
const MAY_CHANGE = new Set(['apply', 'document', 'graphql', 'transform']);
// Of implementation guides: Bulk Data Access 2, US Core, International Patient Summary.
const GUIDES = [
  {code: 'docref', resource: ['DocumentReference'], type: true, need: 'search'},
  {code: 'export', resource: ['Resource'], system: true, need: 'export'},
  {code: 'export', resource: ['Patient'], type: true, need: 'export'},
  {code: 'export', resource: ['Group'], instance: true, need: 'export'},
  {code: 'summary', resource: ['Patient'], type: true, instance: true, need: 'record'},
];

export function smart({read, sha256, parameters, compartment, sources, made}) {
  const profiles = 'dist/fhir/r4/profiles-resources.json';
  const definitions = JSON.parse(read(profiles)).entry.map((entry) => entry.resource);
  const structures = definitions
    .filter((each) => each.resourceType === 'StructureDefinition' && each.kind === 'resource' && !each.abstract && each.name !== 'SubscriptionStatus');
  const order = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
  const types = structures.map((each) => each.name).sort(order);
  const typeIndex = (type) => types.indexOf(type);
  const links = new Map(compartment.resource.map((resource) => [resource.code, resource.param ?? []]));

  const references = new Map(types.map((type) => [type, parameters
    .filter((each) => each.type === 'reference' && each.base.includes(type))
    .map((each) => ({code: each.code, targets: (each.target ?? []).filter((target) => types.includes(target)).sort(order)}))
    .sort((a, b) => order(a.code, b.code))]));
  const codes = [...new Set([...references.values()].flat().map((each) => each.code))].sort(order);
  const set = (targets) => (targets.length > MANY ? '' : targets.map(typeIndex).join(', '));
  const sets = [...new Set([...references.values()].flat().map((each) => set(each.targets)))].sort(order);
  for (const [type, list] of references) {
    if (new Set(list.map((each) => each.code)).size !== list.length) throw new Error(`${type} has a parameter twice`);
  }

  // The elements of `type` that a parameter reads, as paths within the resource.
  const elements = (type, code) => {
    const parameter = parameters.find((each) => each.code === code && each.base.includes(type));
    return parameter.expression.split('|').map((each) => each.trim().replace(/\.where\(resolve\(\) is \w+\)$/, ''))
      .filter((each) => each.startsWith(`${type}.`)).map((each) => {
        const path = each.slice(type.length + 1);
        if (!/^[a-zA-Z.]+$/.test(path)) throw new Error(`what does ${each} select`);
        return path;
      });
  };
  const named = (element) => (element.type ?? []).filter((each) => each.code === 'Reference')
    .some((each) => (each.targetProfile ?? []).some((profile) => profile.endsWith('/Patient')));
  const anything = (element) => (element.type ?? []).some((each) => (each.code === 'Resource' && !element.path.endsWith('.contained'))
    || (each.code === 'Reference' && (each.targetProfile ?? ['/Resource']).some((profile) => profile.endsWith('/Resource'))));

  const holdings = structures.sort((a, b) => order(a.name, b.name)).flatMap(({name: type, snapshot: {element}}) => {
    if (type === 'Patient') return [];
    const linking = (links.get(type) ?? []);
    const inCompartment = linking.length > 0;
    const definition = element.some((each) => each.path === `${type}.publisher`);
    const paths = inCompartment ? linking.flatMap((code) => elements(type, code))
      : [...element.filter((each) => named(each) || each.path === 'Binary.securityContext').map((each) => each.path.slice(type.length + 1).replace('[x]', 'Reference')),
        ...references.get(type).filter(({code, targets}) => ['patient', 'subject'].includes(code) && targets.includes('Patient'))
          .flatMap(({code}) => elements(type, code))];
    if (!inCompartment && paths.length === 0 && (definition || !element.some(anything)) && !HOLDS_ALL_THE_SAME.includes(type)) return [];
    const fits = (code) => {
      const reference = references.get(type).find((each) => each.code === code);
      return reference?.targets.includes('Patient') && elements(type, code).every((path) => paths.includes(path));
    };
    let by = ['patient', 'subject'].filter(fits);
    if (by.length === 0) by = linking.slice(0, 1);
    const repeats = (path) => path.split('.').some((_, at, all) => {
      const found = element.find((each) => each.path === `${type}.${all.slice(0, at + 1).join('.')}`);
      if (!found) throw new Error(`${type} has no ${path}`);
      return found.max === '*';
    });
    const shared = by.some((code) => elements(type, code).some(repeats));
    return [{type, inCompartment, by, shared, paths: [...new Set(paths)].sort(order)}];
  });

  const known = definitions.filter((each) => each.resourceType === 'OperationDefinition').map((each) => {
    if (!OPERATIONS[each.code]) throw new Error(`what may $${each.code} do`);
    return {...each, need: OPERATIONS[each.code]};
  });
  const operations = [...known, ...GUIDES].flatMap(({code, resource, system, type, instance, need}) => resource
    .filter((each) => each === 'Resource' || types.includes(each))
    .map((each) => ({code, on: each === 'Resource' ? 'ANY' : typeIndex(each), system, type, instance, need})))
    .sort((a, b) => order(a.code, b.code) || (a.on === 'ANY' ? -1 : a.on) - (b.on === 'ANY' ? -1 : b.on));

  const quoted = (names) => `&[${names.map((each) => JSON.stringify(each)).join(', ')}]`;
  const digest = sha256([
    ...types.map((type) => `${type}: ${references.get(type).map(({code, targets}) => `${code}=${targets.length > MANY ? '' : targets.join('|')}`).join(' ')}\n`),
    ...holdings.map(({type, inCompartment, by, shared, paths}) => `${type} ${inCompartment} ${shared} ${by.join(' ')} < ${paths.join(' ')}\n`),
    ...operations.map(({code, on, system, type, instance, need}) => `${code} ${on === 'ANY' ? '*' : types[on]} ${!!system} ${!!type} ${!!instance} ${need} ${MAY_CHANGE.has(code)}\n`),
  ].join(''));
  const capital = (text) => text[0].toUpperCase() + text.slice(1);

  const source = `//! What search parameters of FHIR R4 refer to, what shows whose data a resource is, and what operations do.
//!
//! Generated by \`filters/policy/fhir-r4/generate.mjs\`; the rules are in \`smart.mjs\` beside it; do not edit. Made from
//! ${made}, which carries HL7's definitions of FHIR ${compartment.version}:
//! ${[...sources, profiles].map((path) => `\`${path.split('/').pop()}\`\n//! sha256 ${sha256(read(path))}`).join(',\n//! ')}.

use super::definitions::{Holding, Need, Operation};

/// SHA-256 over the tables, so that an edit by hand does not pass.
#[cfg(test)]
pub(super) const DIGEST: &str = "${digest}";

/// The type of an operation on resources of any type.
pub(super) const ANY: u8 = u8::MAX;

/// The place of Patient among the types.
pub(super) const PATIENT: u8 = ${typeIndex('Patient')};

/// Every resource type, sorted.
pub(super) static TYPES: &[&str] = ${quoted(types)};

/// Every reference parameter's name, sorted.
pub(super) static PARAMETERS: &[&str] = ${quoted(codes)};

/// Sets of types to which parameters refer; the empty one stands for any type.
pub(super) static TARGETS: &[&[u8]] = &[${sets.map((each) => `&[${each}]`).join(', ')}];

/// For each type, its reference parameters, sorted, each with its set of targets.
pub(super) static REFERENCES: &[&[(u8, u8)]] = &[
${types.map((type) => `&[${references.get(type).map(({code, targets}) => `(${codes.indexOf(code)}, ${sets.indexOf(set(targets))})`).join(', ')}]`).join(',\n')}
];

/// The types, but Patient, that hold a patient's data, sorted.
pub(super) static HOLDINGS: &[Holding] = &[
${holdings.map(({type, inCompartment, by, shared, paths}) => `Holding { resource: ${typeIndex(type)}, in_compartment: ${inCompartment}, shared: ${shared}, by: ${quoted(by)}, elements: ${quoted(paths)} }`).join(',\n')}
];

/// Operations, sorted by name.
pub(super) static OPERATIONS: &[Operation] = &[
${operations.map(({code, on, system, type, instance, need}) => `Operation { code: "${code}", on: ${on}, system: ${!!system}, of_type: ${!!type}, instance: ${!!instance}, need: Need::${capital(need)}, may_change: ${MAY_CHANGE.has(code)} }`).join(',\n')}
];
`;
  const pairs = [...references.values()].flat().length;
  return [source, `${types.length} types, ${pairs} references, ${sets.length} sets of targets, ${holdings.length} types with patients' data, ${operations.length} operations`];
}
