/**
 * The split diffusion model and the persona agent in the reader's browser: no kernel, no network but the book's own files.
 *
 *     const engine = await Engine.load(baseUrl, { onProgress: (loaded, total) => ... });
 *     const { sent, devices } = await engine.run({
 *       serverPrompt: "a tiger in front of a bush", devicePrompts: ["a dog in front of a bush"],
 *       sharedSteps: 3, deviceSteps: [5], beps: [0.03], seed: 7,
 *     });
 *     const { value } = await engine.score(devices[0].image, "GA1", "a dog in front of a bush");
 *
 * This module imports nothing, so that it can also be part of another script. The work is done in `worker.mjs`.
 */

/** Something that the reader can understand or set right; the message says what is wrong and what is allowed. */
export class EngineError extends Error {
  name = "EngineError";
}

/** The agent does not answer with a rating, so there is no score. */
export class UnreadableScore extends EngineError {
  name = "UnreadableScore";
}

/**
 * @typedef {object} Stage a latent and its picture
 * @property {Float32Array} latent C x h x w values
 * @property {ImageData} image
 *
 * @typedef {object} DeviceResult the latent and the image at the end of one device's chain, and how they came about
 * @property {Float32Array} latent
 * @property {ImageData} image
 * @property {Stage} received what the link delivered, decoded where it stands; where no step was shared nothing is sent: the
 *   device's own noise, shown as grey
 * @property {number} lowest the timestep from which the device may start
 * @property {number} flippedBits
 * @property {number} payloadBits 0 where nothing is sent
 *
 * @typedef {object} Result
 * @property {Stage} sent the server's latent, decoded where it stands; grey where no step was shared
 * @property {DeviceResult[]} devices
 * @property {number} milliseconds of computing; stages kept from earlier runs take none
 *
 * @typedef {object} StepReport
 * @property {"server" | "device"} stage
 * @property {number | null} device counted from 0
 * @property {number} step steps done or kept from earlier runs, of all stages
 * @property {number} steps of all stages
 *
 * @typedef {object} Score what the agent thinks of one picture, as in Python
 * @property {number} value the QoE in [0, 1]
 * @property {number[]} probabilities of the ratings 0 to 9, summing to 1
 * @property {number} mass probability that the agent gives a rating at all
 */

export class Engine {
  /** @type {object} the content of engine.json */
  settings;
  #worker;
  #runs = new Map();
  #last = 0;

  /**
   * Download the model, about 36 MB with the runtime, and make it ready. The agent, about 15 MB, follows by itself: no
   * picture waits for it.
   *
   * @param {string | URL} baseUrl folder that `python -m rlli_core.book.browser.export` wrote, absolute or relative to the page
   * @param {object} [options]
   * @param {(loaded: number, total: number) => void} [options.onProgress] bytes so far and in all
   * @param {string | URL} [options.runtimeUrl] folder of the ONNX runtime, relative to baseUrl
   * @returns {Promise<Engine>}
   * @throws {EngineError} no WebAssembly, a page opened as a file, or a file that does not load
   */
  static async load(baseUrl, { onProgress = () => {}, runtimeUrl = "../onnxruntime/" } = {}) {
    const base = new URL(`${baseUrl}`.replace(/\/?$/, "/"), document.baseURI);
    const runtime = new URL(`${runtimeUrl}`.replace(/\/?$/, "/"), base);
    if (base.protocol === "file:") {
      throw new EngineError(
        "A page opened as a file may not load the model. Serve the book's folder, for example with " +
          "“python -m http.server --directory build/html”, and open http://localhost:8000.",
      );
    }
    if (typeof WebAssembly !== "object" || typeof Worker !== "function") {
      throw new EngineError("This browser has no WebAssembly or no workers, which the model needs to run here.");
    }
    const engine = new Engine();
    await new Promise((resolve, reject) => {
      engine.#worker = new Worker(new URL("worker.mjs", base), { type: "module" });
      engine.#worker.onerror = (event) => {
        event.preventDefault();
        reject(new EngineError(`The model's scripts do not load from ${base}.`));
      };
      engine.#worker.onmessage = ({ data }) => {
        if (data.type === "progress") onProgress(data.loaded, data.total);
        if (data.type === "ready") resolve((engine.settings = data.settings));
        if (data.type === "failed") reject(new EngineError(data.message));
      };
      engine.#worker.postMessage({ type: "load", base: base.href, runtime: runtime.href });
    }).catch((error) => {
      engine.close();
      throw error;
    });
    engine.#worker.onmessage = ({ data }) => {
      for (const hear of data.type === "progress" ? engine.#runs.values() : [engine.#runs.get(data.id)]) hear?.(data);
    };
    engine.#worker.onerror = (event) => engine.#fail(`The model stopped unexpectedly: ${event.message}`);
    return engine;
  }

  /** @returns {string[]} the words that prompts may have, beside the comma */
  get words() {
    return Object.keys(this.settings.tokens.words).filter((word) => word !== ",");
  }

  /**
   * Serve one group of devices, as `rlli_core.round.serve(..., beps=beps)` in Python. Runs wait for each other; abort those
   * whose result is no longer wanted.
   *
   * @param {object} request
   * @param {string} request.serverPrompt
   * @param {string[]} request.devicePrompts one a device, as are deviceSteps and beps
   * @param {number} request.sharedSteps t0, 0 or more
   * @param {number[]} request.deviceSteps t_k, 0 or more; at least 1 where nothing is shared
   * @param {number[]} request.beps bit error probabilities in [0, 0.5]
   * @param {number} request.seed of the noise, a whole number of 0 or more
   * @param {string} [request.receiver] of all devices, "paper" or "noise-aware", as in Python's `device_denoise`
   * @param {(number | null)[]} [request.restarts] the timestep at which each device starts, or null for where its receiver does
   * @param {boolean} [request.liftRestarts] whether a restart below what is possible is lifted to it, not refused
   * @param {number[]} [request.flipSeeds] of each device's bit flips; by default seed + k for device k
   * @param {boolean} [request.frames] whether the answer has the picture after each step: `sent.frames` and each device's
   *   `frames`, lists of {timestep, image}
   * @param {(step: StepReport) => void} [request.onStep] called after every denoising step
   * @param {(ranges: [number, number][]) => void} [request.onSent] called when the server's latent is there, with the lowest
   *   and highest timestep at which each device may start
   * @param {AbortSignal} [request.signal] stops the run before its next step
   * @returns {Promise<Result>}
   * @throws {EngineError} a request that is not possible, with what is allowed; or the signal's reason
   */
  run({ onStep = () => {}, onSent = () => {}, signal, receiver = "paper", restarts, ...request }) {
    const asked = { ...request, receiver, restarts: restarts ?? request.devicePrompts?.map?.(() => null) };
    return this.#ask("run", asked, signal, ({ type, step, ranges }) => {
      if (type === "step") onStep(step);
      if (type === "sent") onSent(ranges);
    });
  }

  /**
   * Have a person judge a picture, as `PersonaAgent.score` in Python. Waits for the agent if that is still on its way.
   *
   * @param {ImageData} image of the size that `run` makes
   * @param {string | number[]} person a name of `data/personas.yaml`, or five traits from 0 to 1 (O, C, E, A, N)
   * @param {string} prompt what the person asked for, in any words
   * @param {object} [options]
   * @param {AbortSignal} [options.signal]
   * @param {(loaded: number, total: number) => void} [options.onProgress] bytes of the agent, while it is on its way
   * @returns {Promise<Score>}
   * @throws {UnreadableScore} the agent does not answer with a rating
   * @throws {EngineError} no such person, another size, or an agent that does not load (the next call tries again); or
   *   the signal's reason
   */
  score(image, person, prompt, { signal, onProgress = () => {} } = {}) {
    const hear = ({ type, loaded, total }) => type === "progress" && onProgress(loaded, total);
    return this.#ask("score", { image, person, prompt }, signal, hear);
  }

  /** The worker's answer to one request; `hear` gets what it says until then. */
  async #ask(type, request, signal, hear) {
    signal?.throwIfAborted();
    const id = ++this.#last;
    let stop;
    try {
      return await new Promise((resolve, reject) => {
        stop = () => {
          this.#worker.postMessage({ type: "cancel", id });
          reject(signal.reason);
        };
        signal?.addEventListener("abort", stop);
        this.#runs.set(id, (data) => {
          if (data.type === "done") resolve(data.result);
          else if (data.type === "failed") reject(new (data.unreadable ? UnreadableScore : EngineError)(data.message));
          else hear(data);
        });
        this.#worker.postMessage({ type, id, request });
      });
    } finally {
      this.#runs.delete(id);
      signal?.removeEventListener("abort", stop);
    }
  }

  /** Stop the worker and free its memory; runs that are under way fail, and the engine is of no use afterwards. */
  close() {
    this.#worker?.terminate();
    this.#fail("The engine was closed.");
  }

  #fail(message) {
    for (const end of this.#runs.values()) end({ type: "failed", message });
  }
}
