// Compiles chain/contracts by solc's JavaScript interface and writes ABI and bytecode, one file a
// contract: {contractName, abi, bytecode, deployedBytecode}. The same source gives the same bytes.
//
//   node chain/compile.mjs                       writes chain/abi
//   node chain/compile.mjs --check               compiles afresh, exits 1 where chain/abi differs
//   node chain/compile.mjs --sources D --out O   compiles those of D as well, into O
//                          --quick               by the older code generator, in a third of the
//                                                time: for contracts that only tests deploy
//
// What a compiler made of the same bytes (its own, the sources', the settings', and those of every
// file they import) is kept in node_modules/.cache and used again: solc takes most of a minute.

import { createHash } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";

const CHAIN = dirname(fileURLToPath(import.meta.url));
const ROOT = dirname(CHAIN);
const NODE_MODULES = join(ROOT, "node_modules");
const CACHE = join(NODE_MODULES, ".cache/risecurve-solc");
const CACHED_MAX = 64;
const SIZE_MAX = 24_576;
const SETTINGS = {
  evmVersion: "prague",
  viaIR: true,
  optimizer: { enabled: true, runs: 800 },
  metadata: { bytecodeHash: "none", appendCBOR: false },
  outputSelection: { "*": { "*": ["abi", "evm.bytecode.object", "evm.deployedBytecode.object"] } },
};
const OURS = [
  "Launchpad",
  "LaunchToken",
  "LaunchpadLens",
  "SignatureCheck",
  "Balances",
  "BridgeVault",
];
// Uniswap and WETH are used as their packages ship them, never compiled here.
const SHIPPED = {
  UniswapV2Factory: "@uniswap/v2-core/build/UniswapV2Factory.json",
  UniswapV2Pair: "@uniswap/v2-core/build/UniswapV2Pair.json",
  UniswapV2Router02: "@uniswap/v2-periphery/build/UniswapV2Router02.json",
  WETH9: "@uniswap/v2-periphery/build/WETH9.json",
};

function fail(message) {
  process.stderr.write(`${message}\n`);
  process.exit(1);
}

function solidityFiles(folder) {
  return readdirSync(folder, { recursive: true })
    .filter((name) => name.endsWith(".sol"))
    .map((name) => join(folder, name))
    .sort();
}

function findImport(path) {
  for (const base of [ROOT, NODE_MODULES]) {
    if (existsSync(join(base, path))) return { contents: readFileSync(join(base, path), "utf8") };
  }
  return { error: `Expected ${path} in the repository or in node_modules` };
}

function digest(...parts) {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(`${part.length}:`).update(part);
  return hash.digest("hex");
}

function imported(path) {
  return digest(JSON.stringify(findImport(path)));
}

function solcOf(input) {
  const compiler = readFileSync(join(NODE_MODULES, "solc/soljson.js"));
  const file = join(CACHE, `${digest(compiler, input)}.json`);
  if (existsSync(file)) {
    const { imports, output } = JSON.parse(readFileSync(file, "utf8"));
    if (Object.entries(imports).every(([path, hash]) => imported(path) === hash)) return output;
  }
  const solc = createRequire(join(ROOT, "package.json"))("solc");
  const imports = {};
  const seen = (path) => {
    imports[path] = imported(path);
    return findImport(path);
  };
  const output = JSON.parse(solc.compile(input, { import: seen }));
  keep(file, JSON.stringify({ imports, output }));
  return output;
}

function keep(file, text) {
  mkdirSync(CACHE, { recursive: true });
  writeFileSync(`${file}.${process.pid}`, text);
  renameSync(`${file}.${process.pid}`, file);
  const age = (name) => statSync(name, { throwIfNoEntry: false })?.mtimeMs ?? 0;
  const newest = readdirSync(CACHE)
    .map((name) => join(CACHE, name))
    .sort((one, other) => age(other) - age(one));
  for (const old of newest.slice(CACHED_MAX)) rmSync(old, { force: true });
}

// Named from ROOT, as imports name them; what is not in it, by its place in the folder.
function nameOf(folder, file) {
  const name = relative(ROOT, file);
  return name.startsWith("..") ? join("sources", relative(folder, file)) : name;
}

function compile(folder) {
  const sources = {};
  for (const file of solidityFiles(folder)) {
    sources[nameOf(folder, file)] = { content: readFileSync(file, "utf8") };
  }
  const settings = process.argv.includes("--quick") ? { ...SETTINGS, viaIR: false } : SETTINGS;
  const input = JSON.stringify({ language: "Solidity", sources, settings });
  const output = solcOf(input);
  // Warnings are errors, except about code of a package.
  const faults = (output.errors ?? []).filter(
    (fault) => fault.severity === "error" || !fault.sourceLocation?.file.startsWith("@"),
  );
  if (faults.length > 0) fail(faults.map((fault) => fault.formattedMessage).join("\n"));
  return output.contracts;
}

function artifact(contractName, { abi, evm }) {
  const [bytecode, deployedBytecode] = [evm.bytecode.object, evm.deployedBytecode.object];
  return {
    contractName,
    abi,
    bytecode: `0x${bytecode}`,
    deployedBytecode: `0x${deployedBytecode}`,
  };
}

function shipped(contractName, path) {
  const file = join(NODE_MODULES, path);
  if (!existsSync(file)) fail(`Expected ${path} in node_modules: run npm ci first`);
  const { abi, evm, bytecode } = JSON.parse(readFileSync(file, "utf8"));
  const found = evm ?? { bytecode: { object: bytecode } };
  return artifact(contractName, { abi, evm: found });
}

function render(value) {
  return `${JSON.stringify(value, null, 1)}\n`;
}

function outputs(contracts, chosen) {
  const files = {};
  for (const [source, found] of Object.entries(contracts)) {
    for (const [name, contract] of Object.entries(found)) {
      if (!chosen(source, name)) continue;
      const size = (contract.evm.deployedBytecode.object.length) / 2;
      if (size > SIZE_MAX) fail(`Expected ${name} within ${SIZE_MAX} bytes, was ${size}`);
      files[name] = render(artifact(name, contract));
    }
  }
  return files;
}

function write(folder, files) {
  mkdirSync(folder, { recursive: true });
  for (const [name, text] of Object.entries(files)) {
    writeFileSync(join(folder, `${name}.json`), text);
  }
}

function check(folder, files) {
  const kept = (name) => join(folder, `${name}.json`);
  const stale = Object.keys(files).filter(
    (name) => !existsSync(kept(name)) || readFileSync(kept(name), "utf8") !== files[name],
  );
  if (stale.length > 0) {
    const names = stale.join(", ");
    fail(`Stale in ${relative(ROOT, folder)}: ${names}; run node chain/compile.mjs`);
  }
}

function option(name) {
  const at = process.argv.indexOf(name);
  return at === -1 ? undefined : process.argv[at + 1];
}

const contractsFolder = join(CHAIN, "contracts");
const extra = option("--sources");
if (extra !== undefined) {
  const prefix = `${nameOf(extra, extra)}/`;
  write(option("--out"), outputs(compile(extra), (source) => source.startsWith(prefix)));
} else {
  const ours = outputs(compile(contractsFolder), (_, name) => OURS.includes(name));
  const others = Object.entries(SHIPPED).map(([name, path]) => [name, render(shipped(name, path))]);
  const files = { ...ours, ...Object.fromEntries(others) };
  if (process.argv.includes("--check")) check(join(CHAIN, "abi"), files);
  else write(join(CHAIN, "abi"), files);
}
