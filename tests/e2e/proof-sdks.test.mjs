// A proof goes along through each SDK, unmodified, and through the tag: the visitor becomes who the site's server
// says she is, down to an address that no event has; with the proof of another browser she stays a visitor.
import assert from "node:assert/strict";
import { join } from "node:path";
import { Signer } from "../demo/signer.mjs";
import { openBrowser } from "./support/browser.mjs";
import { httpsSettings } from "./support/certificates.mjs";
import { ROOT } from "./support/cli.mjs";
import { bundle, servePages } from "./support/pages.mjs";
import { freePorts } from "./support/ports.mjs";
import { KEY } from "./support/sdk.mjs";
import { startSite, test, waitUntil } from "./support/site.mjs";

const EMAIL = "jane@example.com";
const ANALYTICS_JS = join(ROOT, "node_modules/@segment/analytics-next/dist/umd/standalone.js");

// How a page has the SDK, who its visitor is to it, and how its identify passes a proof on.
const CLIENTS = {
  "the tag": {
    page: ({ url }) => `<script async src="${url}/t.js" data-write-key="${KEY}"></script>`,
    ready: () => Boolean(window.tributary?.user?.().anonymousId),
    visitor: () => window.tributary.user().anonymousId,
    identify: (proof) => window.tributary.identify("u-17", { plan: "gold" }, { proof }),
  },
  "analytics.js": {
    page: ({ secureUrl }) => `<script>
!function(){var analytics=window.analytics=window.analytics||[];analytics.invoked=true;
analytics.methods=["page","identify","ready","user"];
analytics.factory=function(name){return function(){var call=Array.prototype.slice.call(arguments);
call.unshift(name);analytics.push(call);return analytics}};
analytics.methods.forEach(function(name){analytics[name]=analytics.factory(name)});
var script=document.createElement("script");script.async=true;
script.src="${secureUrl}/analytics.js/v1/${KEY}/analytics.min.js";document.head.appendChild(script);
analytics._writeKey="${KEY}";analytics.SNIPPET_VERSION="5.2.0";analytics.page()}();
</script>`,
    ready: () => Boolean(window.analytics?.initialized),
    visitor: () => window.analytics.user().anonymousId(),
    identify: (proof) => window.analytics.identify("u-17", { plan: "gold" }, { context: { proof } }),
  },
  RudderStack: {
    script: `
      import { RudderAnalytics } from "@rudderstack/analytics-js/bundled";
      window.rudderanalytics = new RudderAnalytics();
    `,
    page: ({ url }) => `<script src="/sdk.js"></script><script>
rudderanalytics.load("${KEY}", "${url}", { configUrl: "${url}" });
rudderanalytics.page();
</script>`,
    ready: () => Boolean(window.rudderanalytics?.getAnonymousId()),
    visitor: () => window.rudderanalytics.getAnonymousId(),
    identify: (proof) => window.rudderanalytics.identify("u-17", { plan: "gold" }, { context: { proof } }),
  },
  Snowplow: {
    script: `
      import * as snowplow from "@snowplow/browser-tracker";
      window.snowplow = snowplow;
    `,
    page: ({ url }) => `<script src="/sdk.js"></script><script>
window.tracker = snowplow.newTracker("sp1", "${url}", { appId: "${KEY}" });
snowplow.trackPageView();
</script>`,
    ready: () => Boolean(window.tracker?.getDomainUserId()),
    visitor: () => window.tracker.getDomainUserId(),
    identify: (token) => {
      window.snowplow.setUserId("u-17");
      window.snowplow.addGlobalContexts([{ schema: "iglu:tributary/proof/jsonschema/1-0-0", data: { token } }]);
      window.snowplow.trackPageView();
    },
  },
};

// A page with this SDK in a fresh browser, and the id that the SDK has given its visitor.
async function openPage(t, { page: markup, script, ready, visitor }) {
  const page = await openBrowser(t, { ignoreHTTPSErrors: true });
  if (!page) return undefined;
  const [port, httpsPort] = await freePorts(2);
  const signer = new Signer(KEY);
  const source = { origins: [`http://127.0.0.1:${port}`], consent: { exempt: true }, proof: signer.definition };
  const { hub, collector } = await startSite(t, {
    sources: { [KEY]: source },
    segments: {},
    settings: { analytics_js_file: ANALYTICS_JS, ...httpsSettings(t, httpsPort) },
  });
  const addresses = { url: collector.url, secureUrl: `https://127.0.0.1:${httpsPort}` };
  const files = { "/": `<!doctype html><title>Kettles</title>${markup(addresses)}`, "/favicon.ico": "" };
  if (script) files["/sdk.js"] = await bundle(script);
  await page.goto(await servePages(t, port, files));
  await page.waitForFunction(ready);
  return { hub, page, signer, anonymousId: await page.evaluate(visitor) };
}

const valuesOf = ({ identifiers }, type) => identifiers.filter((one) => one.type === type).map(({ value }) => value);

for (const [name, client] of Object.entries(CLIENTS)) {
  test(`${name}: a proof makes the visitor known`, async (t) => {
    const site = await openPage(t, client);
    if (!site) return;
    const { hub, page, signer, anonymousId } = site;
    await page.evaluate(client.identify, signer.prove({ sub: "u-17", email: EMAIL }, anonymousId));
    const profile = await waitUntil(
      async () => {
        const found = await hub.profile("user_id", "u-17");
        return found && valuesOf(found, "anonymous_id").includes(anonymousId) && found;
      },
      { what: "the visitor as u-17" },
    );
    assert.deepEqual(valuesOf(profile, "email"), [EMAIL]);
    const { journal } = await hub.get(`/v1/profiles/${profile.id}/identity`);
    assert.ok(journal.some(({ evidence }) => evidence === "proof"), JSON.stringify(journal, null, 1));
    assert.deepEqual(page.complaints, []);
  });

  test(`${name}: the proof of another browser makes nobody known`, async (t) => {
    const site = await openPage(t, client);
    if (!site) return;
    const { hub, page, signer, anonymousId } = site;
    await page.evaluate(client.identify, signer.prove({ sub: "u-17", email: EMAIL }, "another browser"));
    const profile = await waitUntil(
      async () => {
        const found = await hub.profile("anonymous_id", anonymousId);
        return found?.claims?.some(({ type }) => type === "user_id") && found;
      },
      { what: "the claim" },
    );
    assert.equal(profile.known, false);
    assert.equal(await hub.profile("user_id", "u-17"), undefined);
    assert.equal(await hub.profile("email", EMAIL), undefined);
  });
}
