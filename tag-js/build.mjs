// Bundles the tag into dist/t.js, with t.js.gz and t.js.br beside it for the collector to serve, and into
// dist/index.js, the ES module for npm. Fails where the tag is larger than its limit. `--sizes` tells
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
const here = (path) => fileURLToPath(new URL(path, import.meta.url));

// Names are given in this order. Letters that the rest of the code has often compress best; the order
// was found by trying, and any other is correct too.
const LETTERS = "eontiupgaCdDcLhlfmsObSyMrxAQY_XTRZFWqUNEIJzH$BVkjGKvPw";
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

const { code, inputs } = await bundle("main.js", "iife");
const tag = Buffer.from(await squeeze(code));
const sizes = { gzip: await zopfli(tag), brotli: brotli(tag) };
const plain = gzipSync(tag, { level: 9 }).length;
mkdirSync(here("dist"), { recursive: true });
writeFileSync(here("dist/t.js"), tag);
writeFileSync(here("dist/t.js.gz"), sizes.gzip);
writeFileSync(here("dist/t.js.br"), sizes.brotli);
writeFileSync(here("dist/index.js"), (await bundle("index.js", "esm")).code);

console.log(
  `dist/t.js: ${tag.length} bytes, gzip ${sizes.gzip.length} of ${GZIP_BYTES_MAX}, ` +
    `brotli ${sizes.brotli.length} of ${BROTLI_BYTES_MAX} (gzip -9: ${plain})`,
);

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

if (Math.max(sizes.gzip.length, plain) > GZIP_BYTES_MAX || sizes.brotli.length > BROTLI_BYTES_MAX) {
  console.error("The tag is over its limit.");
  process.exit(1);
}
