// Serves the demo shop's files, /config.js, which tells the pages where their collector is, and /sign-in, which
// gives a browser the proof of who its visitor is.
import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";

const FOLDER = fileURLToPath(new URL("./shop/", import.meta.url));

const TYPES = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".mjs": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".json": "application/json",
  ".svg": "image/svg+xml",
  ".png": "image/png",
  ".jpg": "image/jpeg",
  ".webp": "image/webp",
  ".ico": "image/x-icon",
};

// The file a path asks for; normalising first keeps ".." inside the folder.
function fileOf(url) {
  const path = normalize(decodeURIComponent(new URL(url, "http://shop").pathname));
  return join(FOLDER, path.endsWith("/") ? `${path}index.html` : path);
}

// The demonstration asks for no password: in a real shop only the session knows whose address may be signed.
async function signIn(request, response, signer) {
  let text = "";
  for await (const piece of request) text += piece;
  const { email, anonymousId } = JSON.parse(text);
  response.writeHead(200, { "content-type": "application/json", "cache-control": "no-store" });
  response.end(JSON.stringify({ proof: signer.prove({ email }, anonymousId) }));
}

async function answer(request, response, { signer, ...config }) {
  const { pathname } = new URL(request.url, "http://shop");
  // A form of another site cannot send this type, so nobody can be signed in without knowing it.
  if (pathname === "/sign-in" && signer && request.headers["content-type"] === "application/json") {
    return signIn(request, response, signer);
  }
  if (pathname === "/config.js") {
    response.writeHead(200, { "content-type": TYPES[".js"], "cache-control": "no-store" });
    response.end(`window.SHOP = ${JSON.stringify(config)};\n`);
    return;
  }
  const file = fileOf(request.url);
  const content = await readFile(file);
  response.writeHead(200, { "content-type": TYPES[extname(file)] ?? "application/octet-stream" });
  response.end(content);
}

/* Serve on the loopback interface. `config` is {collector, writeKey, signer}; the signer stays here. Answers
 * {url, close}. */
export function serveShop(port, config) {
  const server = createServer((request, response) => {
    answer(request, response, config).catch(() => {
      response.writeHead(404, { "content-type": "text/plain" });
      response.end("not found\n");
    });
  });
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", () =>
      resolve({
        url: `http://127.0.0.1:${server.address().port}`,
        close: () =>
          new Promise((done) => {
            server.close(done);
            server.closeAllConnections();
          }),
      }),
    );
  });
}
