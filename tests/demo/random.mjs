// A small seeded random generator (sfc32), so that a seed alone repeats a whole run on any machine.

export class Random {
  constructor(seed) {
    this.state = [seed >>> 0, 0x9e3779b9, 0x243f6a88, 1];
    // The first rounds still show the seed's shape; they are thrown away.
    for (let i = 0; i < 16; i++) this.word();
  }

  // The next 32 random bits.
  word() {
    const s = this.state;
    const out = (s[0] + s[1] + s[3]) >>> 0;
    s[3] = (s[3] + 1) >>> 0;
    s[0] = s[1] ^ (s[1] >>> 9);
    s[1] = (s[2] + (s[2] << 3)) >>> 0;
    s[2] = (((s[2] << 21) | (s[2] >>> 11)) + out) >>> 0;
    return out;
  }

  // A number in [0, 1).
  float() {
    return this.word() / 0x1_0000_0000;
  }

  // A whole number from low to high, both included.
  int(low, high) {
    return low + Math.floor(this.float() * (high - low + 1));
  }

  chance(probability) {
    return this.float() < probability;
  }

  pick(list) {
    return list[this.int(0, list.length - 1)];
  }

  // A version 4 UUID in its usual text form.
  uuid() {
    const hex = Array.from({ length: 4 }, () => this.word().toString(16).padStart(8, "0")).join("");
    const variant = "89ab"[parseInt(hex[16], 16) & 3];
    return [
      hex.slice(0, 8),
      hex.slice(8, 12),
      `4${hex.slice(13, 16)}`,
      `${variant}${hex.slice(17, 20)}`,
      hex.slice(20),
    ].join("-");
  }

  // A shuffled copy (Fisher and Yates).
  shuffle(list) {
    const copy = [...list];
    for (let i = copy.length - 1; i > 0; i--) {
      const j = this.int(0, i);
      [copy[i], copy[j]] = [copy[j], copy[i]];
    }
    return copy;
  }
}
