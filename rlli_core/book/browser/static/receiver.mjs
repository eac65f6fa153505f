/**
 * A device that knows its link's noise and may start earlier: `rlli_core/diffusion/receiver.py`, which says why.
 *
 * @typedef {import("./codec.mjs").Moments} Moments
 * @typedef {import("./schedule.mjs").Step} Step
 *
 * @typedef {object} Handoff what a device has to go by
 * @property {Float32Array} latent
 * @property {number} timestep whose noise level the latent had when it was sent; -1 where its chain is complete
 * @property {number} seed of the initial noise
 * @property {Moments | null} damage what the link did; null where nothing was sent: the latent is the device's own noise
 * @property {Step[]} steps the device's, from where the server stopped
 */
import { EngineError } from "./engine.mjs";
import { torchNormal } from "./random.mjs";
import { alphaAt, gridSteps, spreadSteps } from "./schedule.mjs";

/** Variance of the noise that the receiver knows to be there once the bias is undone; infinite where nothing is left. */
const knownNoise = ({ damage }, receiver) =>
  receiver === "paper" || !damage ? 0 : damage.bias ? damage.variance / damage.bias ** 2 : Infinity;

/**
 * The first timestep at which a chain has at least the noise of a latent of `timestep` plus so much more.
 *
 * @param {{alphas_cumprod: number[], final_alpha_cumprod: number}} schedule
 */
export function effectiveTimestep(schedule, timestep, noiseVariance) {
  if (noiseVariance === 0) return timestep;
  const enough = Math.fround(alphaAt(schedule, timestep) / (1 + noiseVariance)); // torch compares in 32 bits
  const first = schedule.alphas_cumprod.findIndex((alpha) => alpha <= enough);
  return first < 0 ? schedule.alphas_cumprod.length - 1 : first;
}

/**
 * The lowest and highest timestep from which this receiver may start; bare noise may be taken as a latent of any.
 *
 * @param {Handoff} handoff
 * @returns {[number, number]}
 */
export function restartRange(schedule, handoff, receiver) {
  const noise = knownNoise(handoff, receiver);
  const bare = !handoff.damage || noise === Infinity;
  return [bare ? 0 : Math.max(0, effectiveTimestep(schedule, handoff.timestep, noise)), schedule.alphas_cumprod.length - 1];
}

/**
 * The latent that a device starts from, and the steps that it walks.
 *
 * @param {Handoff} handoff
 * @param {number} steps t_k
 * @param {string} receiver "paper" or "noise-aware"
 * @param {number | null} restart the timestep to start from; from bare noise that is a lone device's late start
 * @param {number} stream the number that keeps the fresh noise of a restart apart from the initial noise
 * @returns {{latent: Float32Array, walk: Step[]}}
 * @throws {EngineError} a restart outside `restartRange`, or more steps than there are timesteps left
 */
export function receive(schedule, handoff, steps, receiver, restart, stream) {
  const noise = knownNoise(handoff, receiver);
  const alone = !handoff.damage || noise === Infinity;
  const size = handoff.latent.length;
  let { latent, steps: walk } = handoff;
  if (noise === Infinity) {
    latent = torchNormal(handoff.seed, size);
    walk = steps ? gridSteps(schedule.alphas_cumprod.length, steps) : [];
  } else if (noise && steps) {
    const { bias, offset } = handoff.damage;
    const scale = bias * Math.sqrt(1 + noise);
    latent = latent.map((value) => (value - offset) / scale);
    walk = spread(effectiveTimestep(schedule, handoff.timestep, noise), steps);
  }
  if (restart === null) return { latent, walk };

  const [lowest, highest] = restartRange(schedule, handoff, receiver);
  if (!Number.isInteger(restart) || restart < lowest || restart > highest) {
    throw new EngineError(`A start at ${restart} is not possible: it must be a timestep from ${lowest} to ${highest}.`);
  }
  walk = spread(restart, steps);
  if (!alone) {
    const kept = Math.min(1, (alphaAt(schedule, restart) * (1 + noise)) / alphaAt(schedule, handoff.timestep));
    const fresh = torchNormal((handoff.seed ^ stream) >>> 0, size); // torch looks at 32 bits of a seed
    latent = latent.map((value, i) => Math.sqrt(kept) * value + Math.sqrt(1 - kept) * fresh[i]);
  }
  return { latent, walk };
}

function spread(start, steps) {
  if (steps < 1 || steps > start + 1) {
    throw new EngineError(`${steps} steps from timestep ${start} are not possible: 1 to ${start + 1} are.`);
  }
  return spreadSteps(start, steps);
}
