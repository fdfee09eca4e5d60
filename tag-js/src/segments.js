// The visitor's segments: those of the last visit from the store, with their age, and fresh ones from
// the collector's answer to the events, or from a live channel (more/live.js).
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
  set("segments", { ...me, at: Date.now() });
  hear(get("segments"));
};

// What another tab has stored.
export const hear = (me) => {
  const before = known.segments + "";
  known = me;
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
