// Bundles the tag into dist/t.js and its second file dist/t.more.js, each with .gz and .br beside it for the
// collector to serve, and into dist/index.js, the ES module for npm. Fails where a file is over its limit. `--sizes` tells
// what each module costs: how much smaller the tag would be without what it exports and does.
import { gzipAsync } from "@gfx/zopfli";
import { build } from "esbuild";
import { mkdirSync, writeFileSync } from "node:fs";
import { basename } from "node:path";
import { fileURLToPath } from "node:url";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";
import { minify } from "terser";

const GZIP_BYTES_MAX = 4096; // of what the collector serves, and of `gzip -9` of the file too
const BROTLI_BYTES_MAX = 3800;
const MORE_GZIP_BYTES_MAX = 5120; // of the second file
const here = (path) => fileURLToPath(new URL(path, import.meta.url));

// Names are given in this order. Letters that the rest of the code has often compress best; the order
// was found by trying, and any other is correct too.
const LETTERS = "etaoriydnlSpcCYgPJjbABuvkfmsLhIOwDTEUWqzR_GQFZVHNX$xMK";
const nth_identifier = {
  get(n) {
    let name = LETTERS[n % LETTERS.length];
    for (n = Math.floor(n / LETTERS.length); n > 0; n = Math.floor(n / LETTERS.length)) {
      name += LETTERS[--n % LETTERS.length];
    }
    return name;
  },
};

// esbuild puts the modules together, terser makes them small.
async function bundle(entry, format, plugins = []) {
  const { outputFiles, metafile } = await build({
    entryPoints: [here(`src/${entry}`)],
    bundle: true,
    write: false,
    metafile: true,
    format,
    target: "es2018",
    charset: "utf8",
    outfile: here("dist/out.js"),
    plugins,
  });
  return { code: outputFiles[0].text, inputs: metafile.outputs[Object.keys(metafile.outputs)[0]].inputs };
}

// A block hides names as well as the function that is called at once, and is shorter.
const asBlock = (code) => `{${code.match(/^\(\(\)=>\{(.*)\}\)\(\);$/s)[1].replace(/\bvar /g, "let ")}}`;

async function squeeze(code) {
  // Comparisons may be turned round: none here is with what is not a number.
  const compress = { passes: 3, unsafe_arrows: true, unsafe_comps: true, keep_fargs: false };
  const compressed = await minify(code, { ecma: 2018, compress, mangle: false });
  const named = await minify(asBlock(compressed.code), { ecma: 2018, compress: false, mangle: { nth_identifier } });
  return named.code.replace(/\bconst\b/g, "let"); // one word for both compresses better
}

const zopfli = async (bytes) => Buffer.from(await gzipAsync(bytes, { numiterations: 50 }));
const brotli = (bytes) =>
  brotliCompressSync(bytes, { params: { [constants.BROTLI_PARAM_MODE]: constants.BROTLI_MODE_TEXT } });

// A file as it is served, in its three forms; says how large they are and whether that is within the limits.
async function write(name, text, gzipMax, brotliMax) {
  const bytes = Buffer.from(text);
  const sizes = { gzip: await zopfli(bytes), brotli: brotli(bytes) };
  const plain = gzipSync(bytes, { level: 9 }).length;
  writeFileSync(here(`dist/${name}`), bytes);
  writeFileSync(here(`dist/${name}.gz`), sizes.gzip);
  writeFileSync(here(`dist/${name}.br`), sizes.brotli);
  console.log(
    `dist/${name}: ${bytes.length} bytes, gzip ${sizes.gzip.length} of ${gzipMax}, ` +
      `brotli ${sizes.brotli.length} of ${brotliMax} (gzip -9: ${plain})`,
  );
  return Math.max(sizes.gzip.length, plain) <= gzipMax && sizes.brotli.length <= brotliMax;
}

mkdirSync(here("dist"), { recursive: true });
const { code } = await bundle("main.js", "iife");
const more = (await bundle("more/more.js", "esm")).code;
const fits = [
  await write("t.js", await squeeze(code), GZIP_BYTES_MAX, BROTLI_BYTES_MAX),
  await write("t.more.js", (await minify(more, { ecma: 2018, module: true, compress: { passes: 3, unsafe_arrows: true } })).code, MORE_GZIP_BYTES_MAX, MORE_GZIP_BYTES_MAX),
];
writeFileSync(here("dist/index.js"), (await bundle("index.js", "esm")).code);

// Compress the bundle without the module's part of it.
if (process.argv.includes("--sizes")) {
  const parts = code.split(/^ {2}\/\/ (?=.*src\/.*\.js$)/m);
  const whole = gzipSync(await shrink(code), { level: 9 }).length;
  for (const part of parts.slice(1)) {
    const name = basename(part.split("\n")[0]);
    const rest = gzipSync(await shrink(code.replace(part.slice(part.indexOf("\n")), "\n")), { level: 9 }).length;
    console.log(`${String(whole - rest).padStart(6)} bytes  ${name}`);
  }
}

// Without removing what nobody uses: the other parts must stay as they are.
async function shrink(text) {
  const { code: small } = await minify(text.replace(/^\(\(\) => \{|\}\)\(\);\s*$/g, ""), {
    ecma: 2018,
    compress: { unused: false, reduce_funcs: false, reduce_vars: false, toplevel: false },
    mangle: true,
  });
  return small;
}

if (fits.includes(false)) {
  console.error("A file of the tag is over its limit.");
  process.exit(1);
}
