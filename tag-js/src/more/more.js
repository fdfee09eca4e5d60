// The second file: what a page gets by the words of data-auto but for page views, and the debug mode.
import { watchClicks } from "./clicks.js";
import { readTcf } from "./cmp.js";
import { core, setCore } from "./core.js";
import { watchDataLayer } from "./datalayer.js";
import { showTrace } from "./debug.js";
import { watchEngagement } from "./engagement.js";
import { watchLive } from "./live.js";
import { watchPages } from "./pages.js";
export { explain } from "./texts.js";
import { isDebug } from "../say.js";
import { attempt } from "../util.js";

const WORDS = {
  spa: watchPages, // before what tells that a view ends
  links: watchClicks,
  forms: watchClicks,
  engagement: watchEngagement,
  datalayer: watchDataLayer,
  gcm: watchDataLayer,
  tcf: readTcf,
  live: watchLive,
};
const OF_THE_TAG = ["page", "anonymous", ""];

/* Start what the words ask for; what one does for two words is started once. */
export const startMore = (given) => {
  setCore(given);
  const { words } = core.settings;
  if (isDebug()) showTrace();
  new Set(Object.keys(WORDS).map((word) => words.includes(word) && WORDS[word])).forEach((watch) => watch && attempt(watch));
  const unknown = words.filter((word) => ![...OF_THE_TAG, ...Object.keys(WORDS)].includes(word));
  core.settings.known = [...OF_THE_TAG, ...Object.keys(WORDS)].filter(Boolean).join(", ");
  if (unknown[0]) core.say("auto", unknown);
};
