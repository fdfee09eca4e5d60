// Shows and hides elements with data-segment="vip" or "!vip" without touching them: one rule hides all
// that do not fit, also those that come later. It is in the style sheet that the snippet in the page's
// head has made, with the stored rule of the last visit.
import { settings } from "./settings.js";
import { set } from "./store.js";
import { attempt } from "./util.js";

export const show = (keys) => {
  const list = (mark) => keys.map((key) => `,[data-segment="${mark + key}"]`).join("");
  const css = `[data-segment]:not([data-segment^="!"]${list("")})${list("!")}{display:none!important}`;
  set("css", css);
  attempt(() => settings.sheet.replaceSync(css));
};
