// What happened during a page view, told when it ends: how far the visitor scrolled, for how long they
// were busy with it, the Web Vitals, and how many errors there were.
import { attempt, listen } from "../util.js";
import { core } from "./core.js";

const IDLE_MS = 1e4; // a longer pause counts this much
const VITALS = { navigation: "ttfb", paint: "fcp", "largest-contentful-paint": "lcp", event: "inp", "layout-shift": "cls" };

let report = { seconds: 0, errors: 0 };
let last;
let burst;
let shifted;

const most = (name, value) => (report[name] = Math.max(report[name] || 0, value));

// The time that the page was hidden does not count.
const resume = () => (last = Date.now());

const busy = () => {
  report.seconds += Math.min(Date.now() - last, IDLE_MS) / 1e3;
  resume();
  most("scrollDepth", ~~(((scrollY + innerHeight) / document.body.scrollHeight) * 100));
};

const note = (entry) => {
  const { startTime, value } = entry;
  if (entry.hadRecentInput || entry.interactionId === 0) return;
  // The worst burst of layout shifts, with pauses under 1 s.
  if (value) {
    burst = value + (startTime - shifted < 1e3 && burst);
    shifted = startTime;
  }
  most(VITALS[entry.entryType], value ? burst : entry.responseStart || entry.duration || startTime);
};

export const watchEngagement = () => {
  resume();
  attempt(() => {
    const observer = new PerformanceObserver((list) => list.getEntries().forEach(note));
    Object.keys(VITALS).forEach((type) => observer.observe({ type, buffered: true }));
  });
  core.ends.push(endView);
  listen("visibilitychange", () => document.hidden || resume());
  listen("scroll click keydown", busy);
  listen("error unhandledrejection", () => report.errors++);
};

const endView = () => {
  busy();
  // Of the page that was viewed: the address may be that of the next already. Once, also where two events
  // tell the end.
  if (report.seconds > 0.1) core.track("engagement", "Page Left", report, { context: { page: core.seen() } });
  report = { seconds: 0, errors: 0 };
};
