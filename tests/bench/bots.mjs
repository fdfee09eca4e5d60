// The bot filter's section: what it costs for each user agent.
import { execFileSync } from "node:child_process";
import { compile } from "./compile.mjs";

export function botsSection({ report }) {
  report.section("Bot filter");
  const { hit, miss, worst } = JSON.parse(execFileSync(compile("bots"), { encoding: "utf8" }));
  report.add("a user agent that is remembered", hit, "ns", { target: "≤ 1,000 on average" });
  report.add("one that is new", miss, "ns");
  report.add("the most expensive one of 1,024 bytes", worst, "ns");
}
