// A page that allows next to nothing: nonces, no eval, no inline style, Trusted Types, Subresource Integrity.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { SNIPPET, startTagged } from "./support/tagged.mjs";
import { test } from "./support/site.mjs";

test("the tag works under a strict policy, with integrity and Trusted Types", async (t) => {
  const shop = await startTagged(t);
  if (!shop) return;
  const code = Buffer.from(await (await fetch(`${shop.collector.url}/t.js`)).arrayBuffer());
  const integrity = `sha384-${createHash("sha384").update(code).digest("base64")}`;
  shop.put("/", {
    headers: {
      "content-security-policy":
        `default-src 'none'; script-src 'nonce-n1'; connect-src ${shop.collector.url}; style-src 'self'; base-uri 'none'; ` +
        "require-trusted-types-for 'script'; trusted-types 'none'",
    },
    head:
      `<script nonce="n1">${SNIPPET}</script><script nonce="n1">tributary.track("Early", { n: 1 });</script>` +
      shop.script({ auto: "page links" }, `nonce="n1" crossorigin="anonymous" integrity="${integrity}"`),
    body: '<p data-segment="vip">vip</p><p data-segment="!vip" id="others">others</p><a id="away" href="http://away.example/" target="none">away</a>',
  });
  await shop.open("/");
  // By the second file, which the policy lets in by the nonce of the first.
  await shop.page.click("#away");
  const events = await shop.events(await shop.anonymousId(), 3);
  assert.deepEqual(events.map(({ event, type }) => event ?? type).sort(), ["Early", "Outbound Link Clicked", "page"]);
  await shop.page.waitForFunction(() => !document.querySelector('[data-segment="vip"]').checkVisibility());
  assert.equal(await shop.page.isVisible("#others"), true);
  assert.deepEqual(shop.page.complaints, []);
});

test("a page whose collector does not answer is not harmed", async (t) => {
  const shop = await startTagged(t);
  if (!shop) return;
  await shop.collector.kill("SIGKILL");
  shop.put("/", {
    head: `<script>${SNIPPET}</script>${shop.script()}`,
    body: '<p data-segment="vip" id="vip">vip</p><p data-segment="!vip" id="others">others</p><script>tributary.page(); tributary.track("A");</script>',
  });
  const errors = [];
  shop.page.on("pageerror", (error) => errors.push(String(error)));
  await shop.page.goto(`${shop.origin}/`);
  await shop.page.waitForFunction(() => document.getElementById("others").checkVisibility({ checkVisibilityCSS: true }));
  assert.equal(await shop.page.isVisible("#vip"), false);
  assert.deepEqual(errors, []);
});
