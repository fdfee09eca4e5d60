// Trains shared/dictionary.bin on generated traffic, and shows on other traffic what it is good for.
//
//   node tests/bench/train-dictionary.mjs [--bytes 16384] [--out shared/dictionary.bin]
//   node tests/bench/train-dictionary.mjs --measure [FILE …]
//
// A dictionary is part of the format: once blocks were written with one, it must never change.
import { spawnSync } from "node:child_process";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { compile } from "./compile.mjs";
import { lean, variedEvents } from "./events.mjs";

const TRAINED = 24_000;
const MEASURED = 20_480;

const requests = (events) => {
  const lines = [];
  for (let i = 0; i < events.length; i += 100) lines.push(JSON.stringify({ batch: events.slice(i, i + 100) }));
  return `${lines.join("\n")}\n`;
};

function run(program, args, input) {
  const { status, stdout } = spawnSync(program, args, { input, maxBuffer: 1 << 26, stdio: ["pipe", "pipe", "inherit"] });
  if (status !== 0) throw new Error(`samples ${args.join(" ")} failed`);
  return String(stdout);
}

/* Bytes and microseconds an event, for each size of block, level and dictionary. */
export function measureDictionaries(files, { shape = (event) => event } = {}) {
  const program = compile("samples");
  const events = variedEvents({ seed: 77, count: MEASURED, world: 1 }).map(shape);
  const input = requests(events);
  const json = events.reduce((sum, event) => sum + Buffer.byteLength(JSON.stringify(event)), 0) / events.length;
  const measure = (file) =>
    run(program, ["measure", ...(file ? [file] : [])], input)
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
  return { json, figures: new Map(["", ...files].map((file) => [file, measure(file)])) };
}

function show(title, files, shape) {
  const { json, figures } = measureDictionaries(files, { shape });
  console.log(`\n${title}: JSON ${json.toFixed(0)} bytes an event; compressed bytes (µs)`);
  const names = [...figures.keys()];
  console.log(["".padEnd(26), ...names.map((name) => (name || "no dictionary").slice(-24).padStart(26))].join(""));
  for (const [i, first] of figures.get("").entries()) {
    const cells = names.map((name) => {
      const { bytes, us } = figures.get(name)[i];
      return `${bytes.toFixed(1)} (${us.toFixed(2)})`.padStart(26);
    });
    console.log(`${`${first.what}, level ${first.level}`.padEnd(26)}${cells.join("")}`);
  }
}

function main() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      bytes: { type: "string", default: "16384" },
      out: { type: "string", default: "shared/dictionary.bin" },
      measure: { type: "boolean", default: false },
    },
  });
  if (!values.measure) {
    const events = variedEvents({ seed: 3, count: TRAINED, world: 0, sites: 12 });
    const samples = events.map((event, i) => (i % 2 === 0 ? event : lean(event)));
    run(compile("samples"), ["train", values.bytes, values.out], requests(samples));
  }
  const files = values.measure ? positionals : [values.out];
  show("Events of browsers", files);
  show("Lean events", files, lean);
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) main();
