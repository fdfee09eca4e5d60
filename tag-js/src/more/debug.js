// With ?tributary_debug in the address the console shows each event, what became of it, and what the tag was
// told to do.
import { core } from "./core.js";

const write = (...parts) => console.info("tributary:", ...parts);

const nameOf = ({ type, event, name, userId }) => [type, event || name || (type == "identify" && userId)].filter(Boolean).join(" ");

const WAITS = "waits for the visitor's decision";
const STATES = { true: "is on its way", false: "is not sent: the visitor has not consented, or there is no write key" };

const lines = {
  event: (event, permission) => write(nameOf(event), STATES[permission] || WAITS, event),
  answer: (events, { status, success, rejected = [], error }) =>
    events.forEach((event, at) => {
      const problem = success ? rejected.find(({ index }) => index == at) : error;
      const outcome = problem ? `refused: ${problem.message} (${problem.code})` : success ? "taken" : `no answer${status ? ` but ${status}` : ""}, tried again later`;
      write(event ? nameOf(event) : "an event of another tab", outcome);
    }),
};

const show = ([kind, ...args]) => lines[kind](...args);

export const showTrace = () => {
  const { host, writeKey, words, requireConsent } = core.settings;
  write("settings", { host, writeKey, auto: words.join(" "), requireConsent });
  core.traced.splice(0).forEach(show);
  core.traced.push = (entry) => show(entry);
};
