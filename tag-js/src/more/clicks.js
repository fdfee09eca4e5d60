// Clicks on links that lead away and on downloads, and forms that are sent.
//
// What the page's elements say of themselves is not asked: a form's input may be called "id" or "action",
// and a link in a drawing has an address of another kind. So attributes are read, by the methods of the browser.
import { attempt, listen } from "../util.js";
import { core } from "./core.js";

const FILES = /\.(pdf|zip|docx?|xlsx?|csv)$/i;
const LINK = "a[*|href], area[href]"; // in SVG the name may have a namespace
const XLINK = "http://www.w3.org/1999/xlink";
const MIDDLE = 1; // opens a link in a new tab; the buttons after it open menus and go back

const attribute = (element, name) => Element.prototype.getAttribute.call(element, name);
const absolute = (address) => new URL(address || "", document.baseURI);
const cut = (text) => text.slice(0, 2e3);

const click = ({ button }, path) => {
  watchForms(path);
  if (button > MIDDLE) return;
  const link = path.find((node) => node.nodeType == 1 && Element.prototype.matches.call(node, LINK));
  if (!link) return;
  const address = attribute(link, "href") || Element.prototype.getAttributeNS.call(link, XLINK, "href");
  const { pathname, hostname, href } = absolute(address);
  const properties = { url: cut(href) };
  if (FILES.test(pathname)) core.track("links", "File Downloaded", properties);
  else if (hostname && hostname != location.hostname) core.track("links", "Outbound Link Clicked", properties);
};

// The button that sent the form may name another address.
const submit = ({ target, submitter }) => {
  const action = (submitter && attribute(submitter, "formaction")) || attribute(target, "action");
  core.track("forms", "Form Submitted", { id: attribute(target, "id") || "", action: cut(absolute(action).href) });
};

// The page does not hear of a form that is sent inside a shadow root: the root does, once somebody has been in it.
const watched = new WeakSet();
const watchForms = (path) =>
  path.forEach((node) => {
    if (!node.host || node.nodeType != 11 || watched.has(node)) return;
    watched.add(node);
    listen("submit", submit, node);
  });

const hear = ([event, path]) => attempt(() => (event.type == "submit" ? submit(event) : click(event, path)));

export const watchClicks = () => {
  core.happened.splice(0).forEach(hear);
  core.happened.push = hear;
  listen("focusin", (event) => watchForms(event.composedPath()));
};
