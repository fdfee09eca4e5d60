// The manual of the settings: what --print-config prints explains each, and can be fed back unchanged.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { program } from "./support/cli.mjs";
import { test } from "./support/site.mjs";

const run = promisify(execFile);

for (const name of ["tributary-collector", "tributary-hub"]) {
  const print = async (...args) => (await run(program(name), [...args, "--print-config"])).stdout;

  test(`${name} prints each setting with its meaning, its bounds and its default`, async () => {
    const settings = (await print()).trim().split("\n\n");
    assert.ok(settings.length > 5);
    for (const setting of settings) {
      assert.match(setting, /^# .+[.\n](# .+\n)*# .+; default: .+\n[a-z_]+ =( .+)?$/, setting);
    }
  });

  test(`what ${name} prints can be fed back, and says what was changed`, async (t) => {
    const dir = mkdtempSync(join(tmpdir(), "tributary-settings-"));
    t.after(() => rmSync(dir, { recursive: true, force: true }));
    const file = join(dir, "settings.conf");
    const changed = await print("--http_threads", "3", "--http_listen=[::1]:0", "--data_dir", "/a b # c");
    writeFileSync(file, changed);
    assert.equal(await print("--config", file), changed);
    assert.match(changed, /^http_threads = 3$/m);
    assert.match(changed, /^data_dir = \/a b # c$/m);
    assert.notEqual(changed, await print());
    await assert.rejects(print("--http_threads", "0"), /http_threads is 0, outside 1 to/);
  });
}
