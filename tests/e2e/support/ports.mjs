// Free ports of the loopback interface.
import { createServer } from "node:net";

const HOST = "127.0.0.1";

// Take the port and give back how to let it go; port 0 lets the system choose.
function hold(port) {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen({ port, host: HOST, exclusive: true }, () =>
      resolve({
        port: server.address().port,
        release: () =>
          new Promise((done) => {
            server.close(done);
          }),
      }),
    );
  });
}

/* `count` different free ports. They are all held before the first is let go, so none comes twice. */
export async function freePorts(count) {
  const held = [];
  while (held.length < count) held.push(await hold(0));
  await Promise.all(held.map(({ release }) => release()));
  return held.map(({ port }) => port);
}

/* The usual port where it is free, else any. */
export async function usualPort(port) {
  try {
    await (await hold(port)).release();
    return port;
  } catch {
    return (await freePorts(1))[0];
  }
}
