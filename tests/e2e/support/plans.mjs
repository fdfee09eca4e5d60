// Sites whose sources have tracking plans.
import { startSite, waitUntil } from "./site.mjs";

/* A site with one source for each plan, both under the plan's key; the first is the one that the collector's
 * send() uses. The collector knows them all when this returns. */
export async function startPlanned(t, plans) {
  const keys = Object.keys(plans);
  // A collector is ready when it knows a source.
  const site = await startSite(t, { sources: { other: {} }, segments: {}, writeKey: keys[0] });
  for (const key of keys) {
    await site.hub.put(`/v1/tracking-plans/${key}`, plans[key]);
    await site.hub.put(`/v1/sources/${key}`, { trust: "server", consent: { exempt: true }, tracking_plan: key });
  }
  await waitUntil(
    async () => {
      const answers = keys.map((key) => fetch(`${site.collector.url}/v1/projects/${key}/settings`));
      return (await Promise.all(answers)).every(({ status }) => status === 200);
    },
    { what: "the collector to know every source" },
  );
  return site;
}

/* What is wrong with an event, as "pointer rule", sorted. */
export const violationsOf = (event) =>
  (event.context?.violations ?? []).map(({ pointer, rule }) => `${pointer} ${rule}`).sort();
