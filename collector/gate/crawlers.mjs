// Makes C tables of the npm package crawler-user-agents, for collector/gate/bots.c: `make` runs it.
//
// usage: node collector/gate/crawlers.mjs TABLE.c VECTORS.c
//
// TABLE.c holds an Aho-Corasick automaton of all patterns that are plain text, and the few that are
// true regular expressions. Of those the automaton holds texts of which one stands in everything that
// the expression matches: only where it was met need the expression be tried. VECTORS.c holds user
// agents with what JavaScript's RegExp says of them, for bots_test.c.
import { mkdirSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname } from "node:path";


const CRAWLERS = createRequire(import.meta.url)("crawler-user-agents");
const EXPRESSIONS_MAX = 64; // bits of a mask
const GUARD_BYTES_MIN = 3; // a shorter text would be met in every other user agent
const MUTATIONS = 6000;

/* The text that a pattern stands for, or undefined where it is more than an escaped text. */
function literalOf(pattern) {
  const text = pattern.replace(/\\([^a-zA-Z0-9])/g, "$1");
  const bare = pattern.replace(/\\[^a-zA-Z0-9]/g, "");
  return /[\\^$.*+?()[\]{}|]/.test(bare) ? undefined : text;
}

/* Texts of which one is in whatever the expression matches: the longest plain run of each alternative. */
function guardsOf(pattern) {
  return pattern.split(/\|(?![^([]*[)\]])/).map((alternative) => {
    const runs = alternative
      .replace(/\[[^\]]*\][*+?]?|\([^)]*\)[*+?]?|\\[dDwWsSbB][*+?]?|[$^]|.[*?]|\./g, (part) =>
        /^\\[^a-zA-Z]/.test(part) ? part : "\0",
      )
      .split("\0")
      .map((run) => literalOf(run) ?? "");
    const longest = runs.reduce((a, b) => (b.length > a.length ? b : a), "");
    if (longest.length < GUARD_BYTES_MIN) throw new Error(`no text to look for in /${pattern}/`);
    return longest;
  });
}

function newState(label, parent) {
  return { label, parent, children: new Map(), isFinal: false, mask: 0n };
}

function enter(root, text) {
  let state = root;
  for (const byte of Buffer.from(text)) {
    if (state.isFinal) return undefined; // a shorter text is met before this one
    if (!state.children.has(byte)) state.children.set(byte, newState(byte, state));
    state = state.children.get(byte);
  }
  return state;
}

/* States in breadth-first order, so that the children of each stand side by side. */
function number(root) {
  const states = [root];
  for (let i = 0; i < states.length; i++) {
    states[i].index = i;
    if (states[i].isFinal) states[i].children.clear();
    states.push(...[...states[i].children.values()].sort((a, b) => a.label - b.label));
  }
  return states;
}

/* Where to go on when a text breaks off: the longest suffix that begins another text. */
function link(states) {
  const [root] = states;
  for (const state of states) {
    let fail = state.parent?.fail;
    while (fail && !fail.children.has(state.label)) fail = fail.fail;
    state.fail = state === root ? undefined : (fail?.children.get(state.label) ?? root);
    state.isFinal ||= state.fail?.isFinal ?? false;
    state.mask |= state.fail?.mask ?? 0n;
  }
}

function automaton(literals, expressions) {
  const root = newState(0, undefined);
  for (const text of literals) {
    const state = enter(root, text);
    if (state) state.isFinal = true;
  }
  expressions.forEach((pattern, index) => {
    for (const text of guardsOf(pattern)) {
      const state = enter(root, text);
      if (state) state.mask |= 1n << BigInt(index);
    }
  });
  const states = number(root);
  link(states);
  if (states.length > 0xffff) throw new Error(`${states.length} states do not fit 16 bits`);
  return states;
}

const quoted = (text) =>
  `"${[...Buffer.from(text)]
    .map((byte) =>
      byte < 32 || byte > 126 || byte === 34 || byte === 92 || byte === 63
        ? `\\${byte.toString(8).padStart(3, "0")}`
        : String.fromCharCode(byte),
    )
    .join("")}"`;

const array = (type, name, values) =>
  `static const ${type} ${name}[] = {\n${values.join(",").replace(/(.{1,95})(,|$)/g, "    $1$2\n")}};\n`;

function table() {
  const patterns = CRAWLERS.map(({ pattern }) => pattern);
  const expressions = patterns.filter((pattern) => literalOf(pattern) === undefined);
  if (expressions.length > EXPRESSIONS_MAX) throw new Error(`more than ${EXPRESSIONS_MAX} expressions`);
  const states = automaton(patterns.map(literalOf).filter(Boolean), expressions);
  const masks = [...new Set(states.filter(({ mask, isFinal }) => mask && !isFinal).map(({ mask }) => mask))];
  if (masks.length > 253) throw new Error("the masks do not fit the outputs");
  const firsts = [...states.map((state) => state.children.size)];
  let next = 1;
  const first = firsts.map((count) => (next += count) - count).concat(next);
  const root = Array.from({ length: 256 }, (_, byte) => states[0].children.get(byte)?.index ?? 0);
  return `/* Made by collector/gate/crawlers.mjs of the npm package crawler-user-agents, which is under the MIT
 * License, Copyright (c) 2017 Martin Monperrus. */
#include "collector/gate/crawlers.h"

${array("uint8_t", "labels", states.map(({ label }) => label))}
${array("uint16_t", "first", first)}
${array("uint16_t", "fail", states.map((state) => state.fail?.index ?? 0))}
${array("uint8_t", "output", states.map(({ isFinal, mask }) => (isFinal ? 1 : mask ? 2 + masks.indexOf(mask) : 0)))}
${array("uint64_t", "masks", masks.map((mask) => `${mask}ULL`))}
${array("uint16_t", "root", root)}
static const char *const expressions[] = {
${expressions.map((pattern) => `    ${quoted(pattern)},`).join("\n")}
};

const struct crawlers crawlers = {
    labels, first, fail, output, masks, root, expressions, ${expressions.length}, ${states.length},
};
`;
}

/* Numbers that are the same in every build. */
function randomOf(seed) {
  let state = seed;
  return (limit) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * limit);
  };
}

/* A user agent with something cut, doubled, changed, or put together of two. */
function mutate(texts, random) {
  const text = texts[random(texts.length)];
  const other = texts[random(texts.length)];
  const [from, to] = [random(text.length + 1), random(text.length + 1)].sort((a, b) => a - b);
  switch (random(5)) {
    case 0:
      return text.slice(0, from) + text.slice(to);
    case 1:
      return text.slice(from, to);
    case 2:
      return text.slice(0, from) + other.slice(random(other.length));
    case 3:
      return text.slice(0, from) + text.slice(from, from + 3).toUpperCase() + text.slice(from + 3);
    default:
      return text.slice(0, from) + "-_/ ;"[random(5)] + text.slice(from + random(2));
  }
}

function vectors() {
  const expressions = CRAWLERS.map(({ pattern }) => new RegExp(pattern));
  const isCrawler = (text) => expressions.some((expression) => expression.test(text));
  const examples = [...new Set(CRAWLERS.flatMap(({ instances }) => instances))];
  const missed = examples.filter((text) => !isCrawler(text));
  if (missed.length > 0) throw new Error(`the package misses its own example ${missed[0]}`);
  const random = randomOf(1);
  const mutations = Array.from({ length: MUTATIONS }, () => mutate(examples, random));
  const rows = [...examples, ...mutations].map((text) => `    {${quoted(text)}, ${isCrawler(text)}},`);
  return `/* Made by collector/gate/crawlers.mjs: the examples of crawler-user-agents, then mutations of them. */
#include "collector/gate/crawlers.h"

const struct crawler_vector crawler_vectors[] = {
${rows.join("\n")}
};
const size_t crawler_vector_count = sizeof crawler_vectors / sizeof *crawler_vectors;
const size_t crawler_example_count = ${examples.length};
`;
}

function write(file, text) {
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, text);
}

const [tableFile, vectorsFile] = process.argv.slice(2);
write(tableFile, table());
write(vectorsFile, vectors());
