// The StructureDefinitions of FHIR 4.0.1: resources and datatypes, without what the package adds to HL7's (Meta.project, Binary.url, elements of ResearchStudy,
// SubscriptionStatus ..). An element is HL7's when HL7's data elements have it or something in it; elements in place, references to content, ids and extensions,
// which they do not list, and those whose data element would have an id over FHIR's 64 characters, go with what they stand in. Not profiles of datatypes (SimpleQuantity, MoneyQuantity), nor logical models (MetadataResource).

export const SOURCES = ['dist/fhir/r4/profiles-resources.json', 'dist/fhir/r4/profiles-types.json', 'dist/fhir/r4/dataelements.json'];

// Those structures by name, sorted.
export function structures(read) {
  const [resources, types, dataElements] = SOURCES.map((path) => JSON.parse(read(path)).entry.map((entry) => entry.resource));
  const known = new Map(dataElements.flatMap((each) => each.snapshot.element.map((element) => [element.path, element])));
  const above = new Set([...known.keys()].flatMap((path) => path.split('.').map((_, at, all) => all.slice(0, at).join('.'))));
  const found = [...resources, ...types]
    .filter((each) => each.resourceType === 'StructureDefinition' && each.kind !== 'logical' && each.derivation !== 'constraint' && each.fhirVersion === '4.0.1');
  for (const structure of found) {
    const kept = new Set([structure.name]);
    structure.snapshot.element = structure.snapshot.element.filter((element) => {
      const parent = element.path.replace(/\.?[^.]*$/, '');
      const goesAlong = element.contentReference || `de-${element.path}`.length > 64 || /\.(id|extension|modifierExtension)$/.test(element.path) || !element.base.path.startsWith(`${structure.name}.`);
      const is = element.path === structure.name || known.has(element.path) || above.has(element.path) || (kept.has(parent) && goesAlong);
      if (is) kept.add(element.path);
      const other = known.get(element.path);
      if (other && element.path.includes('.') && (other.min !== element.min || !!other.isModifier !== !!element.isModifier)) {
        throw new Error(`${element.path} is not what HL7 defines`);
      }
      if (other?.type && element.type && !element.contentReference) element.type = other.type;
      return is;
    });
  }
  return new Map(found.sort((a, b) => (a.name < b.name ? -1 : 1)).map((each) => [each.name, each]));
}
