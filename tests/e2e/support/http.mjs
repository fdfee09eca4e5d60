// One HTTP request, answered as plain data whatever its status.

/* `body` may be text or bytes, sent as they are; anything else is sent as JSON. Throws only where
 * there was no answer. */
export async function request(url, { method = "GET", headers = {}, body, timeout = 10_000 } = {}) {
  const raw = body === undefined || typeof body === "string" || body instanceof Uint8Array;
  const response = await fetch(url, {
    method,
    headers: { ...(body !== undefined && { "content-type": "application/json" }), ...headers },
    body: raw ? body : JSON.stringify(body),
    redirect: "manual",
    signal: AbortSignal.timeout(timeout),
  });
  const text = await response.text();
  return {
    status: response.status,
    headers: Object.fromEntries(response.headers),
    text,
    body: parse(text),
  };
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
