// The visitor's segments: those of the last visit from the store, with their age, and fresh ones from
// the collector's answer to the events, or from a live channel where the page asks for one.
import { ask } from "./ask.js";
import { allowed } from "./consent.js";
import { fire, on } from "./emitter.js";
import { anonymousId } from "./identity.js";
import { get, set } from "./store.js";
import { show } from "./show.js";

// To this page: what is stored may since have come from another tab, or from the page after this one.
let known;
export const startSegments = () => (known = get("segments") || {});

// An answer about somebody else says nothing.
export const learnSegments = (me) => me.anonymousId == anonymousId() && tell(me);

const tell = (me) => {
  const before = known.segments + "";
  set("segments", (known = { ...me, at: Date.now() }));
  if (before != me.segments) fire("segments", me.segments, 0, show(me.segments));
};

export const segments = (callback) => {
  const { segments, at } = known;
  at && callback(segments, Date.now() - at);
  return on("segments", callback);
};

export const onSegment = (key, enter, leave = Object, inside) =>
  segments((keys) => keys.includes(key) == !inside && ((inside = !inside) ? enter : leave)());

export const forgetSegments = () => tell({ segments: [] });

// The collector answers when something has changed, or after 25 s.
export const poll = async () => {
  const me =
    (allowed() && (await ask("/v1/me?wait=25s&version=" + (known.version || 0) + "&anonymousId=" + anonymousId()))) || {};
  learnSegments(me);
  setTimeout(poll, me.segments ? 200 : 3e3);
};
