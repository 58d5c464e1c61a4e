// Checks OpenLineage events, one per line on standard input, against the published schemas in the folder given: the event against the
// core, then each facet against the schema that its _schemaURL names. Prints every fault; ends with 1 when there is one.
"use strict";
const fs = require("node:fs");
const path = require("node:path");
const Ajv = require("ajv/dist/2020").default;
const addFormats = require("ajv-formats").default;

const folder = process.argv[2];
const read = file => JSON.parse(fs.readFileSync(path.join(folder, file), "utf8"));
// The schemas use "example", which is no keyword of JSON Schema: not strict.
const ajv = new Ajv({ allErrors: true, strict: false });
addFormats(ajv);
const core = read("OpenLineage.json");
ajv.addSchema(core);
// The cores that older facets extend; README.md says why this one may stand for them.
for (const version of ["1-0-2", "1-0-3"]) ajv.addSchema({ ...core, $id: `https://openlineage.io/spec/${version}/OpenLineage.json` });
const facets = fs.readdirSync(path.join(folder, "facets")).map(file => read(path.join("facets", file)));
for (const facet of facets) ajv.addSchema(facet);

const faults = [];
const seen = new Set();
function check(where, schema, value) {
  const validate = ajv.getSchema(schema);
  if (!validate) faults.push(`${where}: no schema ${schema}`);
  else if (!validate(value)) faults.push(...validate.errors.map(error => `${where}${error.instancePath}: ${error.message}`));
  else seen.add(schema);
}

const checkFacets = (where, owned) => {
  for (const [name, facet] of Object.entries(owned ?? {})) check(`${where}.${name}`, facet._schemaURL, facet);
};

const lines = fs.readFileSync(0, "utf8").split("\n").filter(line => line !== "");
lines.forEach((line, index) => {
  const event = JSON.parse(line);
  const where = `line ${index + 1}`;
  check(where, event.schemaURL, event);
  checkFacets(`${where} run`, event.run?.facets);
  checkFacets(`${where} job`, event.job?.facets);
  for (const dataset of [...(event.inputs ?? []), ...(event.outputs ?? [])]) {
    checkFacets(`${where} ${dataset.name}`, dataset.facets);
    checkFacets(`${where} ${dataset.name}`, dataset.inputFacets);
    checkFacets(`${where} ${dataset.name}`, dataset.outputFacets);
  }
});

for (const fault of faults) console.log(fault);
console.log(`${lines.length} events, ${faults.length} faults, schemas: ${[...seen].map(schema => schema.split("/").pop()).sort().join(" ")}`);
process.exitCode = faults.length > 0 || lines.length === 0 ? 1 : 0;
