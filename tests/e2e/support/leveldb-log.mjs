// Just enough of LevelDB's write-ahead log to alter one bit of what is stored and leave the checksum
// right, as somebody would who has the disk in hand (LevelDB's log format: doc/log_format.md there).
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const BLOCK_BYTES = 32768;
const HEAD_BYTES = 7;
const FULL = 1;

const TABLE = Array.from({ length: 256 }, (_, n) => {
  for (let bit = 0; bit < 8; bit++) n = n & 1 ? (n >>> 1) ^ 0x82f63b78 : n >>> 1;
  return n >>> 0;
});

function crc32c(bytes) {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = TABLE[(crc ^ byte) & 0xff] ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}

const masked = (crc) => (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;

/* Alter one bit near the end of the first record that is longer than `bytesMin`; false: there is none. */
export function alterRecord(folder, bytesMin) {
  for (const name of readdirSync(folder).filter((file) => file.endsWith(".log"))) {
    const path = join(folder, name);
    const log = readFileSync(path);
    for (let at = 0; at + HEAD_BYTES <= log.length; ) {
      const length = log.readUInt16LE(at + 4);
      const left = BLOCK_BYTES - (at % BLOCK_BYTES);
      if (left < HEAD_BYTES || length === 0) {
        at += left;
        continue;
      }
      const end = at + HEAD_BYTES + length;
      if (log[at + 6] === FULL && length > bytesMin) {
        // The record ends with the next-number key and its 8 bytes; well before that is the sealed block.
        log[end - 60] ^= 1;
        log.writeUInt32LE(masked(crc32c(log.subarray(at + 6, end))), at);
        writeFileSync(path, log);
        return true;
      }
      at = end;
    }
  }
  return false;
}
