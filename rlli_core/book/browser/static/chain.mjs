/**
 * One prompt from the server's noise to the devices' images: the road of `rlli_core/round.py`, with its seeds. Runs in the
 * worker.
 */
import { decode, encode, flipBits, moments } from "./codec.mjs";
import { EngineError } from "./engine.mjs";
import { torchNormal } from "./random.mjs";
import { receive, restartRange } from "./receiver.mjs";
import { checkPlan, ddimStep, planSteps } from "./schedule.mjs";
import { tokenize } from "./tokenizer.mjs";

const KEPT = 64; // results: sliders come back to the same few values
const GREY = 128;

/** @typedef {{textEncoder: object, unet: object, decoder: object}} Sessions sessions of the ONNX runtime */

export class Chain {
  #kept = new Map();

  /**
   * @param {object} ort the ONNX runtime
   * @param {Sessions} sessions
   * @param {object} settings content of engine.json
   */
  constructor(ort, sessions, settings) {
    Object.assign(this, { ort, sessions, settings });
  }

  /**
   * Check a request before any work; the fields are those of `Engine.run`.
   *
   * @throws {EngineError} saying what is wrong and what is allowed
   */
  check({ serverPrompt, devicePrompts, sharedSteps, deviceSteps, beps, seed, receiver, restarts }) {
    const { schedule, tokens, receivers } = this.settings;
    const counts = [devicePrompts, deviceSteps, beps, restarts].map((list) => (Array.isArray(list) ? list.length : 0));
    if (counts[0] === 0 || counts.some((count) => count !== counts[0])) {
      throw new EngineError("devicePrompts, deviceSteps, beps and restarts must be lists with one entry for each device.");
    }
    if (!receivers.includes(receiver)) {
      throw new EngineError(`The receiver ${receiver} is not known: it must be ${receivers.join(" or ")}.`);
    }
    if (!Number.isSafeInteger(seed) || seed < 0 || !Number.isSafeInteger(seed + counts[0])) {
      throw new EngineError(`The seed ${seed} is not possible: it must be a whole number of at least 0, below 2^53.`);
    }
    for (const bep of beps) {
      if (!(typeof bep === "number" && bep >= 0 && bep <= 0.5)) {
        throw new EngineError(`The bit error probability ${bep} is not possible: it must be a number from 0 to 0.5.`);
      }
    }
    checkPlan(schedule.alphas_cumprod.length, sharedSteps, deviceSteps);
    for (const prompt of [serverPrompt, ...devicePrompts]) tokenize(prompt, tokens);
  }

  /**
   * Serve one group of devices; the request and the result are those of `Engine.run`.
   *
   * @param {object} request checked
   * @param {(step: object) => Promise<void>} onStep awaited after each step; what it throws ends the run
   * @param {(ranges: number[][]) => Promise<void>} onSent likewise, once what the server sends is there
   */
  async run(request, onStep, onSent) {
    const { serverPrompt, devicePrompts, sharedSteps, deviceSteps, beps, seed, receiver, liftRestarts, frames = false } = request;
    const flipSeeds = request.flipSeeds ?? devicePrompts.map((_, k) => seed + k);
    const started = performance.now();
    const { schedule, latent_shape: shape, link, restart_stream: stream } = this.settings;
    const plan = planSteps(schedule.alphas_cumprod.length, sharedSteps, deviceSteps);
    const size = shape.reduce((a, b) => a * b);
    const steps = plan.server.length + plan.devices.flat().length;
    const tell = (stage, offset) => (step) => onStep({ ...stage, step: offset + step, steps });

    const shared = [seed, serverPrompt, plan.server, frames];
    const sent = await this.#keep(["sent", ...shared], async () => {
      const told = tell({ stage: "server", device: null }, 0);
      const seen = frames ? [] : null;
      const latent = await this.#walk(torchNormal(seed, size), serverPrompt, plan.server, told, seen);
      return { latent, image: await this.#picture(latent, plan), frames: seen };
    });
    const packet = sharedSteps > 0 ? encode(sent.latent) : null; // nothing shared, nothing sent
    const handoffs = devicePrompts.map((_, k) => ({
      timestep: plan.timestep, seed, steps: plan.devices[k], damage: packet && moments(packet, link.bits, beps[k]),
    }));
    const ranges = handoffs.map((handoff) => restartRange(schedule, handoff, receiver));
    await onSent(ranges);
    const restarts = request.restarts.map((t, k) => (t !== null && liftRestarts ? Math.max(t, ranges[k][0]) : t));
    const devices = [];
    let offset = plan.server.length;
    for (const [k, prompt] of devicePrompts.entries()) {
      const told = tell({ stage: "device", device: k }, offset);
      const { codes, flippedBits } = packet ? flipBits(packet.codes, beps[k], flipSeeds[k], link.stream) : { flippedBits: 0 };
      const flips = packet && beps[k] > 0 ? [beps[k], flipSeeds[k]] : [];
      const received = packet === null ? sent : await this.#keep(["received", ...shared, ...flips], async () => {
        const latent = decode({ ...packet, codes });
        return { latent, image: await this.#picture(latent, plan) };
      });
      const handoff = { ...handoffs[k], latent: received.latent };
      const { latent: start, walk } = receive(schedule, handoff, deviceSteps[k], receiver, restarts[k], stream);
      const knowing = flips.length ? receiver : null; // without errors all receivers do the same
      const made = await this.#keep(["image", ...shared, ...flips, prompt, walk, knowing, restarts[k]], async () => {
        const seen = frames ? [] : null;
        const latent = await this.#walk(start, prompt, walk, told, seen);
        return { latent, image: await this.#decode(latent), frames: seen };
      });
      devices.push({ ...made, received, lowest: ranges[k][0], flippedBits, payloadBits: packet ? link.bits * size : 0 });
      offset += plan.devices[k].length;
    }
    return { sent, devices, milliseconds: performance.now() - started };
  }

  /** What `make` returned for this key before, or returns now. */
  async #keep(key, make) {
    const name = JSON.stringify(key);
    const made = this.#kept.get(name) ?? (await make());
    this.#kept.delete(name);
    this.#kept.set(name, made); // the youngest last
    if (this.#kept.size > KEPT) this.#kept.delete(this.#kept.keys().next().value);
    return made;
  }

  /** The text embedding of one prompt, (1, L, E) as a flat array. */
  #embed(prompt) {
    const { tokens } = this.settings;
    return this.#keep(["text", prompt], () => {
      const sequence = new this.ort.Tensor("int32", tokenize(prompt, tokens), [1, tokens.length]);
      return this.#compute(this.sessions.textEncoder, { tokens: sequence });
    });
  }

  /** Take the steps one after another towards the prompt; `seen`, a list or null, gets the timestep and the picture of each. */
  async #walk(latent, prompt, steps, told, seen = null) {
    if (steps.length === 0) return latent;
    const { schedule, latent_shape: shape, guidance_scale: guidance, tokens } = this.settings;
    const texts = [...(await this.#embed("")), ...(await this.#embed(prompt))];
    const fixed = {
      texts: this.#tensor(texts, [2, tokens.length, texts.length / 2 / tokens.length]),
      guidance: this.#tensor([guidance], [1]),
    };
    for (const [i, step] of steps.entries()) {
      const inputs = { latent: this.#tensor(latent, shape), timestep: this.#tensor([step[0]], [1]), ...fixed };
      latent = ddimStep(schedule, await this.#compute(this.sessions.unet, inputs), latent, step);
      seen?.push({ timestep: step[0], image: await this.#decode(latent) });
      await told(i + 1);
    }
    return latent;
  }

  /** A latent on its way, decoded where it stands; where no step was shared it is only noise, shown as grey. */
  #picture(latent, plan) {
    return plan.server.length ? this.#decode(latent) : this.#image(() => GREY);
  }

  /** @returns {Promise<ImageData>} */
  async #decode(latent) {
    const inputs = { latent: this.#tensor(latent, this.settings.latent_shape) };
    const values = await this.#compute(this.sessions.decoder, inputs); // three planes, in [0, 1]
    const [width, height] = this.settings.image_size;
    return this.#image((pixel, channel) => 255 * values[channel * width * height + pixel]);
  }

  #image(colour) {
    const [width, height] = this.settings.image_size;
    const rgba = new Uint8ClampedArray(4 * width * height); // rounds as numpy does
    for (let i = 0; i < rgba.length; i++) rgba[i] = i % 4 === 3 ? 255 : colour(i >> 2, i % 4);
    return new ImageData(rgba, width, height);
  }

  #tensor(values, shape) {
    return new this.ort.Tensor("float32", Float32Array.from(values), shape);
  }

  async #compute(session, inputs) {
    const { output } = await session.run(inputs);
    return output.data;
  }
}
