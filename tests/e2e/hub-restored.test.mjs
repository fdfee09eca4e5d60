// The hub's data is moved, restored from a copy, or started with the wrong key: it says so, and its
// collectors follow the hub as it now is.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { tributary } from "./support/cli.mjs";
import { startSite, test } from "./support/site.mjs";

const publicHalf = (keys) => readFileSync(join(keys, "hub.pub"), "utf8").slice(0, 16);

test("a hub whose key is not that of its data does not start, and says which key is wanted", async (t) => {
  const site = await startSite(t, { collectors: [] });
  await site.hub.kill();
  const others = join(site.dir, "other-keys");
  await tributary(["keygen", others]);
  const own = site.hub.args;
  site.hub.args = own.map((arg) => (arg.endsWith("hub.key") ? join(others, "hub.key") : arg));
  await assert.rejects(site.hub.start(), /ended instead of starting/);
  const said = site.hub.log.filter((line) => line.includes("start-failed"));
  assert.equal(said.length, 1, site.hub.tail());
  assert.match(said[0], new RegExp(publicHalf(join(site.dir, "keys"))));
  assert.match(said[0], new RegExp(publicHalf(others)));
  site.hub.args = own;
  await site.hub.start();
});
