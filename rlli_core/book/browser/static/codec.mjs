/**
 * Latent <-> bits and the bit flips in between: `rlli_core/channel/codec.py` for the "uniform" number format.
 */
import { numpyExponential } from "./random.mjs";

/**
 * @typedef {object} Packet
 * @property {number} low smallest value of the latent
 * @property {number} high largest value
 * @property {Uint8Array} codes level of each value, its 8 bits as sent
 */

/**
 * Round every value to the nearest of 256 levels between the smallest and the largest.
 *
 * @param {Float32Array} latent
 * @returns {Packet}
 */
export function encode(latent) {
  const low = latent.reduce((a, b) => Math.min(a, b));
  const high = latent.reduce((a, b) => Math.max(a, b));
  const levelsPerUnit = high > low ? 255 / (high - low) : 0;
  return { low, high, codes: Uint8Array.from(latent, (value) => (value - low) * levelsPerUnit + 0.5) };
}

/**
 * @param {Packet} packet
 * @returns {Float32Array} the latent
 */
export function decode({ low, high, codes }) {
  return Float32Array.from(codes, (code) => (code === 255 ? high : code * ((high - low) / 255) + low));
}

/**
 * @typedef {object} Moments what a channel makes of a value x: bias * x + offset, and noise of that variance
 * @property {number} bias
 * @property {number} offset
 * @property {number} variance
 *
 * The moments of independent bit errors, `channel/damage.py` for natural binary and one probability for all bits.
 *
 * @param {Packet} packet
 * @param {number} bits a value
 * @param {number} bep bit error probability in [0, 0.5]
 * @returns {Moments}
 */
export function moments({ low, high }, bits, bep) {
  const bias = 1 - 2 * bep;
  const step = (high - low) / (2 ** bits - 1);
  return { bias, offset: ((1 - bias) * (low + high)) / 2, variance: ((bep * (1 - bep) * (4 ** bits - 1)) / 3) * step ** 2 };
}

/**
 * Flip each bit independently with probability `bep`; the same bits as Python flips.
 *
 * @param {Uint8Array} codes up to 65,536 bytes, which Python treats as one block
 * @param {number} bep bit error probability in [0, 0.5]
 * @param {number} seed whole, 0 or more
 * @param {number} stream the number that keeps these draws apart from others of the same seed
 * @returns {{codes: Uint8Array, flippedBits: number}} what is received
 */
export function flipBits(codes, bep, seed, stream) {
  const received = codes.slice();
  if (bep === 0) return { codes: received, flippedBits: 0 };
  const size = 8 * codes.length;
  const rate = -Math.log1p(-bep); // the gaps between independent flips are geometric: floor(Exp(1) / rate)
  const exponential = numpyExponential([seed, stream]);
  const gap = () => Math.floor(Math.min(exponential(), size * rate) / rate) + 1;
  let flippedBits = 0;
  for (let at = gap() - 1; at < size; at += gap(), flippedBits++) received[at >> 3] ^= 128 >> (at & 7);
  return { codes: received, flippedBits };
}
