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

/* Each whole record of a log, as where it begins and ends. */
function* wholeRecords(log) {
  for (let at = 0; at + HEAD_BYTES <= log.length; ) {
    const length = log.readUInt16LE(at + 4);
    const left = BLOCK_BYTES - (at % BLOCK_BYTES);
    if (left < HEAD_BYTES || length === 0) {
      at += left;
      continue;
    }
    const end = at + HEAD_BYTES + length;
    if (log[at + 6] === FULL) yield { at, end };
    at = end;
  }
}

const logsOf = (folder) =>
  readdirSync(folder)
    .filter((file) => file.endsWith(".log"))
    .map((name) => join(folder, name));

const sign = (log, { at, end }) => log.writeUInt32LE(masked(crc32c(log.subarray(at + 6, end))), at);

/* Alter one bit near the end of the first record that is longer than `bytesMin`; false: there is none. */
export function alterRecord(folder, bytesMin) {
  for (const path of logsOf(folder)) {
    const log = readFileSync(path);
    for (const record of wholeRecords(log)) {
      if (record.end - record.at - HEAD_BYTES > bytesMin) {
        // The record ends with the next-number key and its 8 bytes; well before that is the sealed block.
        log[record.end - 60] ^= 1;
        sign(log, record);
        writeFileSync(path, log);
        return true;
      }
    }
  }
  return false;
}

/* Alter one bit of each value that the vault of the edge cache keeps under this kind; how many. */
export function alterVault(folder, kind) {
  const put = Buffer.from([1, 17, kind.charCodeAt(0)]); // a put of a key of 17 bytes
  const intoValue = put.length + 16 + 8; // its hash, the value's length, some of the nonce
  let altered = 0;
  for (const path of logsOf(folder)) {
    const log = readFileSync(path);
    for (const record of wholeRecords(log)) {
      for (let at = record.at; (at = log.indexOf(put, at)) >= 0 && at + intoValue < record.end; at++) {
        log[at + intoValue] ^= 1;
        altered++;
      }
      sign(log, record);
    }
    writeFileSync(path, log);
  }
  return altered;
}
