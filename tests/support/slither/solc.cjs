#!/usr/bin/env node
// Stands for the solc binary over solc's JavaScript build, as far as slither asks: `--version` and
// `--standard-json`. Only trees are made: code generation takes most of the time, and slither reads
// none of it.
const { existsSync, readFileSync } = require("node:fs");
const { join } = require("node:path");

const ROOT = join(__dirname, "../../..");
const solc = require(join(ROOT, "node_modules/solc"));

function findImport(path) {
  for (const base of [ROOT, join(ROOT, "node_modules")]) {
    const file = join(base, path);
    if (existsSync(file)) return { contents: readFileSync(file, "utf8") };
  }
  return { error: `Expected ${path} in the repository or in node_modules` };
}

if (process.argv.includes("--version")) {
  process.stdout.write(`solc\nVersion: ${solc.version()}\n`);
} else {
  const input = JSON.parse(readFileSync(0, "utf8"));
  const wanted = ["abi", "metadata", "devdoc", "userdoc"];
  input.settings.outputSelection = { "*": { "*": wanted, "": ["ast"] } };
  const output = JSON.parse(solc.compile(JSON.stringify(input), { import: findImport }));
  output.errors = (output.errors ?? []).filter((fault) => fault.severity === "error");
  for (const contract of Object.values(output.contracts ?? {}).flatMap(Object.values)) {
    const none = { object: "", linkReferences: {}, sourceMap: "" };
    contract.evm = { bytecode: none, deployedBytecode: none, methodIdentifiers: {} };
  }
  process.stdout.write(JSON.stringify(output));
}
