// Serves the demo shop's files, and /config.js, which tells the pages where their collector is.
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

async function answer(request, response, config) {
  if (new URL(request.url, "http://shop").pathname === "/config.js") {
    response.writeHead(200, { "content-type": TYPES[".js"], "cache-control": "no-store" });
    response.end(`window.SHOP = ${JSON.stringify(config)};\n`);
    return;
  }
  const file = fileOf(request.url);
  const content = await readFile(file);
  response.writeHead(200, { "content-type": TYPES[extname(file)] ?? "application/octet-stream" });
  response.end(content);
}

/* Serve on the loopback interface. `config` is {collector, writeKey}. Answers {url, close}. */
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
