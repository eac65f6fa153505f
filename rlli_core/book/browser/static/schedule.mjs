/**
 * Which timesteps the server and each device visit, and the DDIM step between two of them:
 * `rlli_core/diffusion/schedule.py` for "trailing" spacing and v-prediction, which the embedded model has.
 *
 * @typedef {[number, number]} Step timesteps t and t_prev: the denoiser looks at t, the latent lands on t_prev; below
 *   zero t_prev means the clean end
 */
import { EngineError } from "./engine.mjs";

/** Round as numpy does: a half goes to the even neighbour. */
function round(x) {
  const below = Math.floor(x);
  return x - below === 0.5 ? below + (below % 2) : Math.round(x);
}

/**
 * The steps of the uncut chain.
 *
 * @param {number} total timesteps of the schedule
 * @param {number} steps 1 to total
 * @returns {Step[]}
 */
export function gridSteps(total, steps) {
  const hop = total - total / steps - total; // numpy's arange adds this, which is not quite -total / steps
  return Array.from({ length: steps }, (_, i) => {
    const t = round(total + i * hop) - 1;
    return [t, t - Math.floor(total / steps)];
  });
}

/** `steps` steps spread evenly from timestep `start` to the clean end. @returns {Step[]} */
export function spreadSteps(start, steps) {
  const visited = Array.from({ length: steps }, (_, i) => round((start + 1) * (1 - i / steps)) - 1);
  return visited.map((t, i) => [t, visited[i + 1] ?? -1]);
}

/**
 * The steps of the server and of each device, with the rules of Python's `server_steps` and `device_steps`.
 *
 * @param {number} total timesteps of the schedule
 * @param {number} sharedSteps t0
 * @param {number[]} deviceSteps t_k, one a device
 * @returns {{server: Step[], devices: Step[][], timestep: number}} with the timestep whose noise level the hand-off has
 */
export function planSteps(total, sharedSteps, deviceSteps) {
  const grid = gridSteps(total, sharedSteps + Math.max(...deviceSteps));
  const left = grid.slice(sharedSteps);
  const devices = deviceSteps.map((steps) => {
    if (steps === 0) return [];
    if (sharedSteps === 0) return gridSteps(total, steps);
    if (steps === left.length) return left;
    const [start] = left[0];
    return spreadSteps(start, steps);
  });
  const timestep = sharedSteps === 0 ? grid[0][0] : left.length ? grid[sharedSteps - 1][1] : -1;
  return { server: grid.slice(0, sharedSteps), devices, timestep };
}

/** Cumulative alpha of a timestep; below zero, of the clean end. */
export const alphaAt = (schedule, t) => (t >= 0 ? schedule.alphas_cumprod[t] : schedule.final_alpha_cumprod);

/**
 * Check a plan as Python's `SplitPlan` and schedule do.
 *
 * @throws {EngineError} a count that is not a whole number of 0 or more, no step at all for a device, or too many steps
 */
export function checkPlan(total, sharedSteps, deviceSteps) {
  for (const steps of [sharedSteps, ...deviceSteps]) {
    if (!Number.isInteger(steps) || steps < 0) {
      throw new EngineError(`${steps} steps are not possible: a step count must be a whole number of at least 0.`);
    }
  }
  if (sharedSteps === 0 && deviceSteps.includes(0)) {
    throw new EngineError("Without shared steps every device needs at least 1 step of its own.");
  }
  const longest = sharedSteps + Math.max(...deviceSteps);
  if (longest > total) throw new EngineError(`${longest} steps are too many: the schedule has ${total}.`);
}

/**
 * One deterministic DDIM step, eq. (7)-(10) of the paper.
 *
 * @param {{alphas_cumprod: number[], final_alpha_cumprod: number}} schedule
 * @param {Float32Array} output what the denoiser predicts, v
 * @param {Float32Array} latent z_t
 * @param {Step} step
 * @returns {Float32Array} z at t_prev
 */
export function ddimStep(schedule, output, latent, [t, tPrev]) {
  const [alpha, alphaPrev] = [alphaAt(schedule, t), alphaAt(schedule, tPrev)];
  const [a, b] = [Math.sqrt(alpha), Math.sqrt(1 - alpha)];
  const [aPrev, bPrev] = [Math.sqrt(alphaPrev), Math.sqrt(1 - alphaPrev)];
  return latent.map((z, i) => {
    const clean = a * z - b * output[i];
    const noise = a * output[i] + b * z;
    return aPrev * clean + bPrev * noise;
  });
}
