// What the tag says in the console: one line that says what is wrong, and what to do.

const TEXTS = {
  "no-write-key": () => "There is no write key, so nothing is sent. Give data-write-key, or ?writeKey= in the script's address.",
  origin: (error, { host }) =>
    `No source names ${location.origin} in its origins. Events arrive, but ${host} may not give this site's visitors a cookie or their segments.`,
  "no-answer": (error, { host }) =>
    `${host || location.origin} does not answer, or is no collector. Look at data-host, and at connect-src in the page's policy. Events are kept, and tried again.`,
  consent: ([name, value]) =>
    `consent({analytics: true}): only true grants, and here ${name} is ${JSON.stringify(value)}, which counts as false.`,
  auto: (words, { known }) => `data-auto knows nothing called ${words.join(", ")}. It knows ${known}.`,
};

const HINTS = {
  "unknown-write-key": (key) => ` This page has "${key}". Nothing more is sent from it.`,
  "consent-missing": () =>
    " Set data-require-consent and call consent({analytics: true}) when the visitor agrees, or let the source be exempt.",
};

const isNoCollector = (status, host) =>
  (/^[^/]+$/.test(host)
    ? `data-host is "${host}" and must begin with https://.`
    : `${host || location.origin} answers ${status}, so it is no collector, or something before it refuses.`) +
  (status < 300 ? " The events are kept, and tried again." : " The events are dropped.");

/* The line for a code of the tag's, or for one of the collector's with its error. */
export const explain = (code, detail, settings) => {
  if (TEXTS[code]) return `tributary: ${TEXTS[code](detail, settings)} (${code})`;
  const { message, field, key } = detail;
  const text = message || isNoCollector(code, settings.host);
  return `tributary: ${text}${field ? ` At ${field}.` : ""}${HINTS[code] ? HINTS[code](key) : ""} (${code})`;
};
