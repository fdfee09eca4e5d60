// A stolen collector tells nothing: what it keeps for the hub cannot be read from its disk.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { startSite, test, waitUntil } from "./support/site.mjs";

const MARKS = [
  "zebra-giraffe-okapi",
  "wanda.quixote@example.com",
  "+33639980077",
  "Rue-du-Pangolin",
  "L-7777777",
  "visitor-aardvark-0001",
];

function filesUnder(dir) {
  return readdirSync(dir, { withFileTypes: true }).flatMap((entry) => {
    const path = join(dir, entry.name);
    return entry.isDirectory() ? filesUnder(path) : [path];
  });
}

// The marks that stand in any file under the folder, as they are or in UTF-16.
function marksIn(dir) {
  const files = filesUnder(dir);
  assert.ok(files.length > 0, `${dir} is empty`);
  return files.flatMap((file) => {
    const bytes = readFileSync(file);
    return MARKS.filter((mark) => bytes.includes(mark) || bytes.includes(Buffer.from(mark, "utf16le"))).map(
      (mark) => `${mark} in ${file}`,
    );
  });
}

test("nothing of an event can be found on the collector's disk, and yet the event arrives", async (t) => {
  const { hub, collector } = await startSite(t);
  await hub.kill();
  // One alone and fifty alike: in a small block a compressor leaves text nearly as it is.
  const [name, email, phone, street, loyalty, anonymousId] = MARKS;
  const event = (n) => ({
    type: "identify",
    messageId: `sealed-${n}`,
    anonymousId,
    traits: { name, email, phone, loyalty_id: loyalty, address: { street } },
  });
  await collector.send([event(0)]);
  await collector.send(Array.from({ length: 50 }, (_, n) => event(n + 1)));

  await collector.kill("SIGKILL");
  assert.deepEqual(marksIn(collector.dataDir), [], "after a power cut");
  await collector.start();
  await collector.kill("SIGTERM");
  assert.deepEqual(marksIn(collector.dataDir), [], "after a clean stop");

  await hub.start();
  await collector.start();
  await waitUntil(async () => (await hub.profile("email", email))?.eventCount === 51, { what: "all events" });
});
