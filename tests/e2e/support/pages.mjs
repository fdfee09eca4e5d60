// Pages of a test's own, served on the loopback interface to a real browser.
import { createServer } from "node:http";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

/* Where the pages' SDKs reach a collector: the one place to change for another scheme. */
export const addressOf = (collector) => collector.url;

/* Serve `files`, text by path; a text that starts like HTML is a page, anything else a script. */
export async function servePages(t, port, files) {
  const server = createServer((request, response) => {
    const text = files[new URL(request.url, "http://pages").pathname];
    const isPage = text?.startsWith("<!doctype html>");
    response.writeHead(text === undefined ? 404 : 200, {
      "content-type": isPage ? "text/html; charset=utf-8" : "text/javascript; charset=utf-8",
    });
    response.end(text ?? "not found\n");
  });
  await new Promise((done, failed) => {
    server.once("error", failed);
    server.listen(port, "127.0.0.1", done);
  });
  t.after(() => {
    server.closeAllConnections();
    return new Promise((done) => {
      server.close(done);
    });
  });
  return `http://127.0.0.1:${port}`;
}

/* A module with all that it imports, as one script, the way sites bundle an SDK. */
export async function bundle(source) {
  const resolveDir = fileURLToPath(new URL(".", import.meta.url));
  const { outputFiles } = await build({
    stdin: { contents: source, resolveDir },
    bundle: true,
    write: false,
    format: "iife",
    logLevel: "error",
  });
  return outputFiles[0].text;
}

/* From the next page on this browser's clock is wrong. */
export function setBrowserClockWrong(page, ms) {
  return page.addInitScript((offset) => {
    const Right = Date;
    window.Date = class extends Right {
      constructor(...args) {
        super(...(args.length > 0 ? args : [Right.now() + offset]));
      }

      static now() {
        return Right.now() + offset;
      }
    };
  }, ms);
}
