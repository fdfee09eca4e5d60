// A line between a collector and the hub that the tests can tamper with: a TCP proxy that knows where
// the messages of NNG's SP protocol begin and end (8 bytes of greeting, then an 8-byte length before each).
// It can also be slow: `bytesPerSecond` limits what goes up.
import { connect, createServer } from "node:net";

const GREETING_BYTES = 8;
const LENGTH_BYTES = 8;
// Blocks carry their epoch's header and are larger than polls.
const BLOCK_BYTES_MIN = 220;

/* Cuts a stream into its greeting and messages; `each` gets them and returns what to pass on. */
function cutter(each) {
  let kept = Buffer.alloc(0);
  let greeted = false;
  return (chunk) => {
    const out = [];
    kept = Buffer.concat([kept, chunk]);
    if (!greeted && kept.length >= GREETING_BYTES) {
      out.push(kept.subarray(0, GREETING_BYTES));
      kept = kept.subarray(GREETING_BYTES);
      greeted = true;
    }
    while (greeted && kept.length >= LENGTH_BYTES) {
      const end = LENGTH_BYTES + Number(kept.readBigUInt64BE());
      if (kept.length < end) break;
      out.push(each(Buffer.from(kept.subarray(0, end))));
      kept = kept.subarray(end);
    }
    return Buffer.concat(out);
  };
}

/* Passes bytes on at a rate, in order: each chunk is on the line for as long as it takes. */
function throttle(write, bytesPerSecond) {
  const CHUNK = 512;
  let freeAt = 0;
  return (bytes) => {
    for (let at = 0; at < bytes.length; at += CHUNK) {
      const chunk = bytes.subarray(at, at + CHUNK);
      freeAt = Math.max(freeAt, performance.now()) + (chunk.length / bytesPerSecond) * 1000;
      setTimeout(() => write(chunk), freeAt - performance.now());
    }
  };
}

export class Line {
  constructor(hubPort, { bytesPerSecond } = {}) {
    Object.assign(this, { bytesPerSecond });
    Object.assign(this, { hubPort, blocks: [], sockets: new Set(), alterNext: false, altered: 0 });
  }

  /* Listen on `port`; ended with the test. */
  async open(t, port) {
    this.server = createServer((near) => {
      const far = connect(this.hubPort, "127.0.0.1");
      const cut = cutter((message) => this.pass(message));
      for (const [socket, other] of [
        [near, far],
        [far, near],
      ]) {
        this.sockets.add(socket);
        socket.on("error", () => other.destroy());
        socket.on("close", () => other.destroy());
      }
      const write = (bytes) => far.destroyed || far.write(bytes);
      const pass = this.bytesPerSecond ? throttle(write, this.bytesPerSecond) : write;
      near.on("data", (chunk) => pass(cut(chunk)));
      far.on("data", (chunk) => near.write(chunk));
    });
    await new Promise((done) => this.server.listen(port, "127.0.0.1", done));
    t.after(() => {
      for (const socket of this.sockets) socket.destroy();
      this.server.close();
    });
    this.address = `tcp://127.0.0.1:${port}`;
  }

  pass(message) {
    if (message.length < BLOCK_BYTES_MIN) return message;
    this.blocks.push(Buffer.from(message));
    if (this.alterNext) {
      this.alterNext = false;
      this.altered++;
      message[message.length - 40] ^= 1;
    }
    return message;
  }

  /* Send a block that was seen once more, as somebody who listened could, on a connection of one's own. */
  replay(block) {
    const socket = connect(this.hubPort, "127.0.0.1");
    this.sockets.add(socket);
    socket.on("error", () => {});
    // The greeting of a REQ socket.
    socket.write(Buffer.from([0x00, 0x53, 0x50, 0x00, 0x00, 0x30, 0x00, 0x00]));
    socket.write(block);
  }
}
