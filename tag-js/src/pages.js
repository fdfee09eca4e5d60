// The views that a single-page application turns a page into, and those back from the browser's cache.
import { setReferrer } from "./context.js";
import { endView } from "./engagement.js";
import { view } from "./tag.js";
import { listen } from "./util.js";

const next = (before) => {
  endView();
  setReferrer(before);
  view();
};

export const watchPages = () => {
  let last = location.href;
  const { pushState } = history;
  const check = () =>
    setTimeout(() => {
      if (location.href == last) return;
      next(last);
      last = location.href;
    });
  history.pushState = (...args) => check(pushState.apply(history, args));
  listen("popstate", check);
  listen("pageshow", (event) => event.persisted && next());
};
