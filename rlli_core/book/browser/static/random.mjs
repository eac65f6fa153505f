/**
 * The random numbers of torch and numpy, so that a seed means the same in the browser and in Python.
 */

/** The Mersenne Twister MT19937 of Matsumoto and Nishimura (1998), seeded as torch does: 32-bit words. */
class MersenneTwister {
  constructor(seed) {
    this.state = new Uint32Array(624);
    this.next = 624;
    this.state[0] = seed; // modulo 2^32, as in torch
    for (let i = 1; i < 624; i++) {
      const last = this.state[i - 1];
      this.state[i] = Math.imul(1812433253, last ^ (last >>> 30)) + i;
    }
  }

  word() {
    if (this.next === 624) this.#twist();
    let y = this.state[this.next++];
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    return (y ^ (y >>> 18)) >>> 0;
  }

  #twist() {
    const s = this.state;
    for (let i = 0; i < 624; i++) {
      const y = (s[i] & 0x80000000) | (s[(i + 1) % 624] & 0x7fffffff);
      s[i] = s[(i + 397) % 624] ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0);
    }
    this.next = 0;
  }
}

/**
 * `torch.randn(count, generator=torch.Generator("cpu").manual_seed(seed))`, up to float32 rounding.
 *
 * @param {number} seed whole, 0 or more
 * @param {number} count a multiple of 16: torch treats the rest of other counts in a way of its own
 * @returns {Float32Array}
 */
export function torchNormal(seed, count) {
  const words = new MersenneTwister(seed);
  const values = Float32Array.from({ length: count }, () => (words.word() & 0xffffff) / 2 ** 24);
  for (let block = 0; block < count; block += 16) {
    for (let i = block; i < block + 8; i++) { // Box and Muller, value i with value i + 8
      const radius = Math.sqrt(-2 * Math.log(1 - values[i]));
      const angle = 2 * Math.PI * values[i + 8];
      values[i] = radius * Math.cos(angle);
      values[i + 8] = radius * Math.sin(angle);
    }
  }
  return values;
}

/** numpy's `SeedSequence(entropy).generate_state(count)`: O'Neill's seed_seq_fe, hashing entropy into 32-bit words. */
function seedWords(entropy, count) {
  const words = entropy.flatMap((value) => (value < 2 ** 32 ? [value] : [value >>> 0, Math.floor(value / 2 ** 32)]));
  let constant = 0x43b0d7e5;
  const hash = (value, multiplier) => {
    value ^= constant;
    constant = Math.imul(constant, multiplier);
    value = Math.imul(value, constant);
    return value ^ (value >>> 16);
  };
  const mix = (x, y) => {
    const mixed = Math.imul(0xca01f9dd, x) - Math.imul(0x4973f715, y);
    return mixed ^ ((mixed >>> 0) >>> 16);
  };
  const pool = [0, 1, 2, 3].map((i) => hash(words[i] ?? 0, 0x931e8875));
  for (let from = 0; from < Math.max(4, words.length); from++) {
    for (let to = 0; to < 4; to++) {
      if (from !== to) pool[to] = mix(pool[to], hash(from < 4 ? pool[from] : words[from], 0x931e8875));
    }
  }
  constant = 0x8b51f9dd;
  return Array.from({ length: count }, (_, i) => hash(pool[i % 4], 0x58f38ded) >>> 0);
}

/** O'Neill's PCG64 (XSL-RR, 128 bits of state) as in numpy's `default_rng(entropy)`. */
class Pcg64 {
  static #MASK = (1n << 128n) - 1n;

  constructor(entropy) {
    const words = seedWords(entropy, 8).map(BigInt);
    const [a, b, c, d] = [0, 2, 4, 6].map((i) => words[i] | (words[i + 1] << 32n));
    this.increment = (((c << 64n) | d) * 2n + 1n) & Pcg64.#MASK;
    this.state = this.increment + ((a << 64n) | b);
    this.#step();
  }

  #step() {
    this.state = (this.state * 0x2360ed051fc65da44385df649fccf645n + this.increment) & Pcg64.#MASK;
  }

  /** @returns {bigint} 64 bits */
  word() {
    this.#step();
    const folded = BigInt.asUintN(64, (this.state >> 64n) ^ this.state);
    const turn = this.state >> 122n;
    return BigInt.asUintN(64, (folded >> turn) | (folded << (-turn & 63n)));
  }
}

/**
 * Layers of the ziggurat of Marsaglia and Tsang (2000) under exp(-x): widths, the integers up to which a layer lies
 * wholly under the curve, and heights. 256 layers of equal area, the lowest with the tail beyond EDGE.
 */
const EDGE = 7.69711747013104972;
const ZIGGURAT = (() => {
  const area = 3.949659822581572e-3;
  const scale = 2 ** 53;
  const width = new Float64Array(256);
  const sure = new Float64Array(256);
  const height = new Float64Array(256);
  let x = EDGE;
  const base = area / Math.exp(-x);
  [width[0], sure[0], height[0]] = [base / scale, (x / base) * scale, 1];
  [width[255], height[255]] = [x / scale, Math.exp(-x)];
  for (let i = 254; i > 0; i--) {
    const above = -Math.log(area / x + Math.exp(-x));
    sure[i + 1] = (above / x) * scale;
    [width[i], height[i]] = [above / scale, Math.exp(-above)];
    x = above;
  }
  return { width, sure, height };
})();

/**
 * `numpy.random.default_rng(entropy).standard_exponential()`, a draw a call.
 *
 * @param {number[]} entropy whole numbers, 0 or more
 * @returns {() => number}
 */
export function numpyExponential(entropy) {
  const words = new Pcg64(entropy);
  const uniform = () => Number(words.word() >> 11n) / 2 ** 53;
  return function draw() {
    const bits = words.word() >> 3n;
    const layer = Number(bits & 255n);
    const position = Number(bits >> 8n);
    const x = position * ZIGGURAT.width[layer];
    if (position < ZIGGURAT.sure[layer]) return x;
    if (layer === 0) return EDGE - Math.log1p(-uniform());
    const { height } = ZIGGURAT;
    const y = (height[layer - 1] - height[layer]) * uniform() + height[layer];
    return y < Math.exp(-x) ? x : draw();
  };
}
