// Asks the collector, with its cookie except in anonymous mode.
import { say } from "./say.js";
import { isAnonymous, settings } from "./settings.js";
import { attempt } from "./util.js";

let credentials; // with which the collector's answer could be read

const request = async (path, options, how) => {
  try {
    const response = await fetch(settings.host + path, {
      credentials: how,
      signal: attempt(() => AbortSignal.timeout(3e4)),
      ...options,
    });
    return {
      status: response.status,
      seconds: response.headers.get("Retry-After"),
      ...(await response.json().catch(() => 0)),
    };
  } catch (error) {
    return {};
  }
};

// Gives what it answered with its status and Retry-After, or nothing of it. Never fails.
//
// The collector lets a page of an origin that no source names read only what it answers without the cookie.
// So before the first answer events that failed are tried again like that.
export const ask = async (path, options) => {
  const how = credentials || (isAnonymous() ? "omit" : "include");
  let answer = await request(path, options, how);
  if (!answer.status && !credentials && navigator.onLine && options.body) {
    answer = await request(path, options, "omit");
    if (answer.success) say("origin", (credentials = "omit"));
    else answer.status || say("no-answer");
  } else if (answer.status) {
    credentials = how;
  }
  return answer;
};
