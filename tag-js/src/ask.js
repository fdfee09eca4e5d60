// Asks the collector, with its cookie except in anonymous mode.
import { attempt } from "./util.js";
import { isAnonymous, settings } from "./settings.js";

// Gives what it answered with its status and Retry-After, or nothing of it. Never fails.
export const ask = async (path, options) => {
  try {
    const response = await fetch(settings.host + path, {
      credentials: isAnonymous() ? "omit" : "include",
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
