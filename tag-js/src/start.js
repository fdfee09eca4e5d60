// Starts the tag, and of what it can do by itself what the settings switch on.
import { watchClicks } from "./clicks.js";
import { readTcf } from "./cmp.js";
import { watchDataLayer } from "./datalayer.js";
import { endView, resume, watchEngagement } from "./engagement.js";
import { watchPages } from "./pages.js";
import { leave, online } from "./queue.js";
import { poll } from "./segments.js";
import { auto, settings } from "./settings.js";
import { startTag, view } from "./tag.js";
import { attempt, listen } from "./util.js";

export const start = (options) => {
  Object.assign(settings, options);
  startTag();
  watchClicks();
  watchEngagement();
  watchDataLayer();
  auto("spa") && watchPages();
  auto("live") && poll();
  auto("tcf") && attempt(readTcf);
  listen("online", online);
  listen("visibilitychange", () => (document.hidden ? endView : resume)());
  listen("pagehide", () => leave(endView()));
  setTimeout(view); // a task of its own
};
