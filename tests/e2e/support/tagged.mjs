// Pages with the tag: a small web server whose pages the scenario writes, a collector and a hub behind
// them, and a browser in front.
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { openBrowser } from "./browser.mjs";
import { ROOT } from "./cli.mjs";
import { openEngine } from "./engines.mjs";
import { freePorts } from "./ports.mjs";
import { startSite, waitUntil } from "./site.mjs";

export const WRITE_KEY = "web";
export const SNIPPET = readFileSync(join(ROOT, "tag-js", "snippet.js"), "utf8");

/* Answers undefined, and skips the test, where there is no such browser: Chromium by Playwright, or that of
 * `engine`, whose tabs are those of engines.mjs. `source` is the source's definition but for its origins; by
 * default it needs no consent. `launch`: Playwright's options for the browser. */
export async function startTagged(t, { source = { consent: { exempt: true } }, segments = {}, launch, engine } = {}) {
  const page = engine ? await openEngine(t, engine) : await openBrowser(t, {}, launch);
  if (!page) return undefined;
  const [port] = await freePorts(1);
  const origin = `http://127.0.0.1:${port}`;
  const sources = {
    [WRITE_KEY]: { name: "web", origins: [origin], open: ["user_id", "email"], ...source },
    server: { name: "server", trust: "server", consent: { exempt: true } },
  };
  const site = await startSite(t, { sources, segments, writeKey: "server", partitions: 4 });
  const pages = new Map();
  const server = createServer((request, response) => {
    const found = pages.get(new URL(request.url, origin).pathname) ?? { html: "", headers: {} };
    response.writeHead(200, { "content-type": "text/html; charset=utf-8", ...found.headers });
    response.end(found.html);
  });
  await new Promise((done) => server.listen(port, "127.0.0.1", done));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return new Tagged({ site, page, pages, origin });
}

class Tagged {
  constructor(parts) {
    Object.assign(this, parts);
    this.hub = this.site.hub;
    this.collector = this.site.collector;
  }

  /* The tag's script element with these data- attributes. */
  script(data = {}, more = "") {
    const attributes = Object.entries({ "write-key": WRITE_KEY, ...data })
      .map(([name, value]) => ` data-${name}="${value}"`)
      .join("");
    return `<script async src="${this.collector.url}/t.js"${attributes} ${more}></script>`;
  }

  /* Put a page at a path: what is in its head and body, and its headers. */
  put(path, { head = "", body = "", headers = {} }) {
    const html = `<!doctype html><html><head><meta charset="utf-8"><title>${path}</title>${head}</head><body>${body}</body></html>`;
    this.pages.set(path, { html, headers });
  }

  async open(path, page = this.page) {
    await page.goto(this.origin + path);
    await page.waitForFunction(() => window.tributary?.user);
  }

  anonymousId(page = this.page) {
    return page.evaluate(() => window.tributary.user().anonymousId);
  }

  /* Wait for the events of a visitor at the hub, oldest first, until `enough` of them says so. */
  async events(anonymousId, enough, options) {
    return waitUntil(
      async () => {
        const profile = await this.hub.profile("anonymous_id", anonymousId);
        const events = profile ? (await this.hub.timeline(profile.id)).reverse() : [];
        return (typeof enough === "number" ? events.length >= enough : enough(events)) && events;
      },
      { what: "the visitor's events at the hub", ...options },
    );
  }

  /* The stored names of the tag. */
  stored(page = this.page) {
    return page.evaluate(() => Object.keys(localStorage).filter((key) => key.startsWith("trb_")));
  }
}
