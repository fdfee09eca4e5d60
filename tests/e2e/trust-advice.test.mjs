// Where nobody is recognised the source and `tributary status` say how many events claim somebody, and what to do.
import assert from "node:assert/strict";
import { Signer } from "../demo/signer.mjs";
import { startSite, test, waitUntil } from "./support/site.mjs";

const exempt = { consent: { exempt: true } };

test("each source says what became of its proofs and claims, and what to do", async (t) => {
  const signer = new Signer("signing");
  const mistaken = new Signer("mistaken");
  const site = await startSite(t, {
    sources: {
      silent: exempt,
      keyed: { ...exempt, proof: signer.definition },
      signing: { ...exempt, proof: signer.definition },
      mistaken: { ...exempt, proof: mistaken.definition },
      till: { ...exempt, trust: "server" },
    },
    segments: {},
    writeKey: "till",
  });
  const { hub, collector } = site;
  const identify = (writeKey, anonymousId, proof) =>
    collector.send([{ type: "identify", anonymousId, traits: { email: `${anonymousId}@example.com` }, context: { proof } }], { writeKey });
  await identify("silent", "a-1");
  await identify("silent", "a-2");
  await identify("keyed", "a-3");
  await identify("signing", "a-4", signer.prove({ email: "a-4@example.com" }, "a-4"));
  mistaken.source = "the shop";
  await identify("mistaken", "a-5", mistaken.prove({ email: "a-5@example.com" }, "a-5"));
  await identify("mistaken", "a-6", mistaken.prove({ email: "a-6@example.com" }, "a-6"));
  await collector.send([{ type: "identify", userId: "u1", traits: { email: "u1@example.com" } }]);

  const evidenceOf = async (source) => (await hub.get(`/v1/sources/${source}`)).evidence;
  await waitUntil(async () => (await hub.profile("user_id", "u1")) !== undefined, { what: "all events" });
  const { advice: sign, ...silent } = await evidenceOf("silent");
  assert.deepEqual(silent, { provenEvents: 0, claimedEvents: 2, invalidProofs: {} });
  assert.match(sign, /^2 events say who their visitor is and nothing proves it.*Let the site's server sign proofs/);
  assert.match((await evidenceOf("keyed")).advice, /has keys for proofs, but no event brought one/);
  assert.deepEqual(await evidenceOf("signing"), { provenEvents: 1, claimedEvents: 0, invalidProofs: {} });
  const { advice: correct, ...wrong } = await evidenceOf("mistaken");
  assert.deepEqual(wrong, { provenEvents: 0, claimedEvents: 2, invalidProofs: { "wrong-audience": 2 } });
  assert.match(correct, /2 of 2 proofs do not count, most often \(2\) as wrong-audience: "aud" must be the id of the source/);
  assert.deepEqual(await evidenceOf("till"), { provenEvents: 0, claimedEvents: 0, invalidProofs: {} });

  const stdout = await site.cli("status");
  assert.match(stdout, /silent +0 +2 +0\n/);
  assert.match(stdout, /mistaken +0 +2 +2\n/);
  assert.match(stdout, /signing +1 +0 +0\n/);
  assert.match(stdout, /silent: 2 events say who their visitor is/);
  assert.match(stdout, /mistaken: 2 of 2 proofs do not count/);
  const { text } = await hub.api("GET", "/metrics");
  assert.match(text, /tributary_proofs_total\{result="wrong-audience"\} 2\n/);
  assert.match(text, /tributary_proofs_total\{result="valid"\} 1\n/);
  assert.match(text, /tributary_claimed_events_total 5\n/);
});
