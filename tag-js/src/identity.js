// Who the visitor is: the anonymous id, and what identify() has told.
import { allowed } from "./consent.js";
import { isAnonymous } from "./settings.js";
import { get, set } from "./store.js";
import { attempt, uuid } from "./util.js";

// The collector sets this cookie; unlike script's own storage, browsers let it live for a year.
const cookie = () => attempt(() => allowed() && !isAnonymous() && /\btrb_aid=([^;]+)/.exec(document.cookie)[1]);

// The cookie wins, unless it is still the one that reset() left behind.
export const anonymousId = () => {
  const given = cookie();
  const kept = get("aid");
  const id = given && given != get("left") ? given : kept || uuid();
  id == kept || set("aid", id);
  return id;
};

export const user = () => ({ anonymousId: anonymousId(), userId: get("user"), traits: get("traits") || {} });

export const forgetUser = () => {
  set("left", cookie());
  set("user");
  set("traits");
  set("aid");
};
