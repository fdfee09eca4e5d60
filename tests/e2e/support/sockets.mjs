// Listening sockets that outlive the daemon which serves them, as systemd holds them.
import net from "node:net";

/* Hold a socket bound to a port of the loopback interface until the end of the test, without taking
 * connections from it: {name, fd, port}. Whoever it is handed to listens on it. */
export function holdSocket(t, name, port) {
  // node's servers accept at once; this is what they are made of.
  const handle = net._createServerHandle("127.0.0.1", port, 4);
  if (typeof handle === "number") throw new Error(`cannot hold port ${port}: error ${handle}`);
  t.after(() => handle.close());
  const bound = {};
  handle.getsockname(bound);
  return { name, fd: handle.fd, port: bound.port };
}
