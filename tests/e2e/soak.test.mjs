// The short form of `make soak`: full load while the line is cut and restored, and one crash.
import assert from "node:assert/strict";
import { faults, soak } from "../soak/soak.mjs";
import { test } from "./support/site.mjs";

test("under full load with the line cut three times nothing is lost or counted twice", async (t) => {
  const result = await soak({ seconds: 12, cuts: 3, connections: 32, spool: "16MiB" });
  t.diagnostic(`${result.made} events, ${result.duplicates} duplicates, ${JSON.stringify(result.answers)}`);
  assert.ok(result.duplicates > 0, "no duplicate was ever sent: the check proves nothing");
  // Twelve seconds say nothing about memory; ten minutes do.
  assert.deepEqual(faults({ ...result, memory: { early: 0, late: 0 } }), []);
});
