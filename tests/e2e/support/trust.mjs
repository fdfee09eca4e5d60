// A shop as the scenarios about trust need it: a page whose write key everybody can read, a server and a till with
// keys of their own, an app, and a site that has no server.
import assert from "node:assert/strict";
import { Signer } from "../../demo/signer.mjs";
import { startSite, waitUntil } from "./site.mjs";

const exempt = { consent: { exempt: true } };
const AUDIENCES = { edge: ["page", "staff"] };

export const SEGMENTS = {
  buyers: { name: "Bought something", where: { event: "Order Completed" } },
  readers: { name: "Newsletter", where: { trait: "newsletter", eq: true } },
};

/* Start it. `browser(anonymousId)` speaks as that browser's page, `app(…)` and `open(…)` as theirs. */
export async function openShop(t) {
  const signer = new Signer("shop");
  const appSigner = new Signer("app");
  const site = await startSite(t, {
    sources: {
      shop: { ...exempt, proof: signer.definition },
      app: { ...exempt, proof: { ...appSigner.definition, bind: "optional" } },
      open: { ...exempt, open: ["email"] },
      server: { ...exempt, trust: "server" },
      till: { ...exempt, trust: "server" },
    },
    segments: {},
    writeKey: "server",
  });
  for (const [key, segment] of Object.entries(SEGMENTS)) await site.hub.put(`/v1/segments/${key}`, { ...segment, ...AUDIENCES });
  for (const trait of ["firstName", "city"]) await site.hub.put(`/v1/traits/${trait}`, AUDIENCES);
  return new Shop(site, signer, appSigner);
}

class Shop {
  constructor(site, signer, appSigner) {
    Object.assign(this, { hub: site.hub, collector: site.collector, signer, appSigner, count: 0 });
  }

  send(writeKey, event) {
    return this.collector.send([{ messageId: `m${++this.count}`, ...event }], { writeKey });
  }

  /* What a page can do; `names` of a proof as Signer takes them. */
  browser(anonymousId, writeKey = "shop", signer = this.signer) {
    const send = (event) => this.send(writeKey, { anonymousId, ...event });
    return {
      view: (path = "/", more) => send({ type: "page", properties: { path }, ...more }),
      track: (event, properties, more) => send({ type: "track", event, properties, ...more }),
      identify: (traits, more) => send({ type: "identify", traits, ...more }),
      prove: (names, traits = {}, forBrowser = anonymousId) =>
        send({
          type: "identify",
          ...(names.sub && { userId: names.sub }),
          traits,
          context: { proof: signer.prove(names, forBrowser) },
        }),
    };
  }

  server(event) {
    return this.send("server", event);
  }

  till(event) {
    return this.send("till", event);
  }

  /* The profile that owns the identifier, once `holds` is true of it. */
  profile(type, value, holds = () => true) {
    return waitUntil(
      async () => {
        const profile = await this.hub.profile(type, value);
        return profile && (await holds(profile)) && profile;
      },
      { what: `the profile of ${type} ${value}` },
    );
  }

  /* Everything sent so far has become part of profiles: an event that came after it is there. */
  async settled() {
    const userId = `marker-${++this.count}`;
    await this.server({ type: "track", event: "Marker", userId });
    await this.profile("user_id", userId);
    const drained = async () => {
      const { logRecordsToRoute, queuedBytes } = await this.hub.overview();
      return logRecordsToRoute === 0 && queuedBytes === 0;
    };
    await waitUntil(drained, { what: "all partitions to be through" });
  }
}

export const valuesOf = (profile, type) =>
  profile.identifiers.filter((one) => one.type === type).map(({ value }) => value);

export const claimsOf = (profile, type) =>
  (profile.claims ?? []).filter((one) => one.type === type).map(({ value }) => value);

/* Nobody but the browser's own events is in the profile, and it is nobody's. */
export function assertVisitor(profile, anonymousId) {
  assert.equal(profile.known, false, JSON.stringify(profile, null, 1));
  assert.deepEqual(profile.identifiers.map(({ type, value }) => `${type}:${value}`), [`anonymous_id:${anonymousId}`]);
}

export const eventsOf = async (hub, profile) =>
  (await hub.timeline(profile.id)).map(({ event, type, properties }) => event ?? properties?.path ?? type);
