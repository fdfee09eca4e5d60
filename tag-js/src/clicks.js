// Clicks on marked elements, on links that lead away and on downloads, and forms that are sent.
import { track } from "./tag.js";
import { listen } from "./util.js";

const FILES = /\.(pdf|zip|docx?|xlsx?|csv)$/;

export const watchClicks = () => {
  listen("click auxclick", ({ target }) => {
    // <button data-track-event="Signed Up" data-track-plan="gold"> tracks "Signed Up" with plan: "gold".
    const marked = target.closest("[data-track-event]");
    if (marked) {
      const properties = {};
      for (const key in marked.dataset) properties[key.slice(5).toLowerCase()] = marked.dataset[key];
      track("", properties.event, properties);
    }
    const { pathname, hostname, href: url } = target.closest("a[href]");
    if (FILES.test(pathname)) track("links", "File Downloaded", { url });
    else if (hostname && hostname != location.hostname) track("links", "Outbound Link Clicked", { url });
  });
  listen("submit", ({ target: { id, action } }) => track("forms", "Form Submitted", { id, action }));
};
