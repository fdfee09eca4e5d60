// Waiting for conditions. Nothing in the tests sleeps for a guessed time.
import assert from "node:assert/strict";
import { setTimeout as pause } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";

const EVERY_MS = 20;

/* Call `fn` until it gives something truthy, and return that. What it throws counts as "not yet". After
 * `timeout` milliseconds fail, with the last value or error and what was waited for. */
export async function waitUntil(fn, { timeout = 10_000, every = EVERY_MS, what = "the condition" } = {}) {
  const end = performance.now() + timeout;
  for (;;) {
    let value;
    let failure;
    try {
      value = await fn();
    } catch (error) {
      failure = error;
    }
    if (value) return value;
    if (performance.now() >= end) {
      const last = failure ? failure.stack : JSON.stringify(value);
      throw new Error(`waited ${timeout} ms for ${what}; last: ${last}`, { cause: failure });
    }
    await pause(every);
  }
}

/* Wait until read() equals expected(), both read anew each time because membership changes with time
 * alone. Where that never comes, fail with the difference. */
export async function settle(read, expected, { timeout = 30_000, every = 200, message } = {}) {
  let actual;
  let wanted;
  try {
    await waitUntil(
      async () => {
        actual = undefined;
        actual = await read();
        wanted = await expected();
        return isDeepStrictEqual(actual, wanted);
      },
      { timeout, every, what: message },
    );
  } catch (error) {
    if (actual === undefined) throw error;
    assert.deepEqual(actual, wanted, message);
  }
}
