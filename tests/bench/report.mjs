// Collects figures and prints them as one table, each beside its target and its reference.
import { writeFileSync } from "node:fs";

const round = (value) =>
  typeof value !== "number" ? String(value ?? "") : value >= 1000 ? Math.round(value).toLocaleString("en") : String(Number(value.toPrecision(3)));

export class Report {
  constructor(machine) {
    Object.assign(this, { machine, rows: [] });
  }

  section(name) {
    this.name = name;
    console.error(`… ${name}`);
  }

  /* `target` and `reference` are text; `value` a number in `unit`. */
  add(what, value, unit, { target, reference } = {}) {
    this.rows.push({ section: this.name, what, value, unit, target, reference });
    console.error(`    ${what}: ${round(value)} ${unit}`);
  }

  /* Requests went wrong: the figures around are worth nothing. */
  fail(what, count) {
    this.failed = true;
    this.add(`FAILED ${what}`, count, "requests");
  }

  print() {
    const cells = this.rows.map((row) => [
      row.section,
      row.what,
      `${round(row.value)} ${row.unit}`,
      row.target ?? "",
      row.reference ?? "",
    ]);
    const heads = ["", "what", "measured", "target", "reference of this run"];
    const widths = heads.map((head, i) => Math.max(head.length, ...cells.slice(0).map((row) => (i === 0 ? 0 : row[i].length))));
    const line = (row) => `  ${row.slice(1).map((cell, i) => (i === 1 ? cell.padStart(widths[i + 1]) : cell.padEnd(widths[i + 1]))).join("  ")}`.trimEnd();
    console.log(`\n${Object.entries(this.machine).map(([name, value]) => `${name} ${value}`).join(", ")}\n`);
    console.log(line(heads));
    let section;
    for (const row of cells) {
      if (row[0] !== section) console.log(`\n${row[0]}`);
      section = row[0];
      console.log(line(row));
    }
  }

  write(file) {
    writeFileSync(file, `${JSON.stringify({ machine: this.machine, rows: this.rows }, null, 2)}\n`);
  }
}
