// Starts the tag, and of what it can do by itself what the settings switch on. What not every page needs is
// a second file, which is loaded where the page asks for it.
import { ask } from "./ask.js";
import { allowed, preferences } from "./consent.js";
import { setReferrer } from "./context.js";
import { anonymousId } from "./identity.js";
import { happened, watchMarks } from "./marks.js";
import { comeBack, hurry, leave, online } from "./queue.js";
import { isDebug, say, traced } from "./say.js";
import { hear, learnSegments } from "./segments.js";
import { auto, settings } from "./settings.js";
import { consent, seen, startTag, track, view } from "./tag.js";
import { attempt, listen } from "./util.js";

// What is to be done when a view of the page ends.
const ends = [];
const end = () => ends.forEach(attempt);

// What the second file works with, in the order of more/core.js: names would be longer than what they name.
const core = [
  allowed, anonymousId, ask, auto, consent, end, ends, happened, hear, learnSegments, preferences, say, seen, setReferrer, settings, traced,
  track, view,
];

// `more` gives the second file.
export const start = ({ auto: words, host = "", ...options }, more) => {
  Object.assign(settings, options, { host: host.replace(/\/+$/, ""), words: words.split(/[\s,]+/), more });
  settings.writeKey || say("no-write-key");
  startTag();
  attempt(watchMarks);
  if (isDebug() || settings.words.some((word) => !/^(page|anonymous|)$/.test(word))) {
    more().then(({ startMore }) => startMore(core), (error) => say("second-file", error));
  }
  listen("online", online);
  listen("visibilitychange", () => document.hidden && hurry(end()));
  listen("pagehide", () => leave(end()));
  listen("pageshow", ({ persisted }) => persisted && view(setReferrer(comeBack())));
  setTimeout(view); // a task of its own
};
