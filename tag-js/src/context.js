// Where an event happened: the page, the browser, and the campaign that brought the visitor.

export const VERSION = "0.1.0"; // the same as in package.json; a test compares them

export function describePage({ document, location, navigator }) {
  const { href: url, pathname: path, search } = location;
  return {
    page: { url, path, title: document.title, referrer: document.referrer, search },
    userAgent: navigator.userAgent,
    locale: navigator.language,
    library: { name: "tributary.js", version: VERSION },
    campaign: campaign(search),
  };
}

// utm_source=x&utm_campaign=y becomes {source: "x", name: "y"}.
function campaign(search) {
  const found = {};
  new URLSearchParams(search).forEach((value, key) => {
    if (key.startsWith("utm_")) found[key === "utm_campaign" ? "name" : key.slice(4)] = value;
  });
  return Object.keys(found).length ? found : undefined;
}
