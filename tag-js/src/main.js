// Starts the tag from the attributes of its own script element and puts it where the page's calls wait.
import { createTag } from "./tag.js";
import { install } from "./install.js";

const script = document.currentScript || document.querySelector("script[data-write-key]");
const { writeKey, host, requireConsent, manual } = script.dataset;

install(window, () => {
  const tag = createTag(window, {
    writeKey,
    host: (host || new URL(script.src).origin).replace(/\/$/, ""),
    requireConsent: requireConsent !== undefined,
  });
  if (manual === undefined) tag.page();
  return tag;
});
