// Bundles the tag into dist/t.js, with t.js.gz and t.js.br beside it for the collector to serve.
import { build } from "esbuild";
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { brotliCompressSync, gzipSync } from "node:zlib";

const GZIP_BYTES_MAX = 4096;
const here = (path) => fileURLToPath(new URL(path, import.meta.url));

await build({
  entryPoints: [here("src/main.js")],
  outfile: here("dist/t.js"),
  bundle: true,
  minify: true,
  format: "iife",
  target: "es2018",
  charset: "utf8",
});

const raw = readFileSync(here("dist/t.js"));
const gzip = gzipSync(raw, { level: 9 });
const brotli = brotliCompressSync(raw);
writeFileSync(here("dist/t.js.gz"), gzip);
writeFileSync(here("dist/t.js.br"), brotli);

console.log(`dist/t.js: ${raw.length} bytes, gzip ${gzip.length}, brotli ${brotli.length}`);
if (gzip.length > GZIP_BYTES_MAX) {
  console.error(`The tag may have at most ${GZIP_BYTES_MAX} bytes after gzip.`);
  process.exit(1);
}
