// The drop folder's section: files of a till, from the folder into the spool, on one core.
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "../e2e/support/cli.mjs";
import { waitUntil } from "../e2e/support/wait.mjs";
import { startLonely } from "./collector.mjs";
import { WRITE_KEY } from "./definitions.mjs";

const two = (n) => String(n).padStart(2, "0");

/* Tickets as the example mapping reads them: dates of a zone, decimal commas, another encoding. */
function tickets(count) {
  const rows = Array.from({ length: count }, (_, i) => {
    const date = `${two(1 + (i % 28))}/${two(1 + (i % 12))}/2026 ${two(8 + (i % 12))}:${two(i % 60)}:${two((i * 7) % 60)}`;
    const total = `"${1 + (i % 3)} ${String(i % 1000).padStart(3, "0")},${two(i % 100)}"`;
    return `Lyon;${i};${date};L-${i % 9000};jane${i % 500}@example.com;${total};${1 + (i % 9)};${i % 2 ? "oui" : "non"};Zoë\n`;
  });
  return `Magasin;Ticket;Date;Carte;E-mail;Total TTC;Articles;Cadeau;Caissière\n${rows.join("")}`;
}

const lines = (count) =>
  Array.from({ length: count }, (_, i) => `${JSON.stringify({ type: "track", event: "Order Completed", userId: `u${i % 9000}`, timestamp: "2026-11-20T10:00:00.000Z", properties: { order_id: `o${i}`, total: i / 100, channel: "store", store: "Lyon" } })}\n`).join("");

/* Put a file there, and read from the log how long it took; what of the collector's CPU, too. */
async function take({ report }, collector, folder, name, what, text, encoding, count) {
  const cpu = () => readFileSync(`/proc/${collector.child.pid}/stat`, "utf8").split(" ").slice(13, 15).reduce((sum, ticks) => sum + Number(ticks), 0);
  writeFileSync(join(folder, `${name}.part`), text, encoding);
  const before = { cpu: cpu(), ...(await collector.metrics()) };
  copyFileSync(join(folder, `${name}.part`), join(folder, name));
  await waitUntil(() => existsSync(join(folder, "done", name)), { timeout: 300_000, what: `${name} in done/` });
  const after = { cpu: cpu(), ...(await collector.metrics()) };
  const ms = await waitUntil(() => new RegExp(`drop-file-done.*file=${name} .* ms=(\\d+)`).exec(collector.log.join(""))?.[1]);
  const change = (key) => after[key] - before[key];
  report.add(what, (count / Number(ms)) * 1000, "rows/s", { target: "≥ 10,000", reference: `file ${(text.length / Number(ms) / 1000).toFixed(0)} MB/s` });
  report.add("  CPU a row", (change("cpu") * 10_000) / count, "µs");
  report.add("  written to the spool", change("tributary_event_sealed_bytes_total") / count, "bytes/row");
}

export async function dropSection(context) {
  const { report, dir, settings } = context;
  const count = settings.seconds > 1 ? 400_000 : 100_000;
  report.section("Drop folder on one core, durable before the file is moved");
  const { collector } = await startLonely(context, "drop", true);
  const folder = join(dir, "till");
  mkdirSync(folder);
  await collector.kill();
  collector.args.push("--drop_folder", folder, "--drop_zone", "Europe/Paris", "--drop_settle_ms", "1s");
  await collector.start();
  const mapping = JSON.parse(readFileSync(join(ROOT, "deploy", "drop", "tickets.mapping"), "utf8"));
  writeFileSync(join(folder, "tickets.mapping"), JSON.stringify({ ...mapping, source: WRITE_KEY }));
  writeFileSync(join(folder, "lines.mapping"), JSON.stringify({ files: "*.ndjson", format: "ndjson", source: WRITE_KEY }));
  await take(context, collector, folder, "tickets.csv", "CSV, the example mapping", tickets(count), "latin1", count);
  await take(context, collector, folder, "orders.ndjson", "NDJSON, whole events", lines(count), "utf8", count);
  await collector.kill();
  rmSync(join(dir, "drop"), { recursive: true, force: true });
  rmSync(folder, { recursive: true, force: true });
}
