/**
 * The thread in which the networks run, so that the page stays responsive. `engine.mjs` starts it and talks to it.
 *
 * In:  {type: "load", base, runtime} once, then {type: "run" or "score", id, request} and {type: "cancel", id}.
 * Out: {type: "progress", loaded, total}, first for the model, then for the agent; {type: "ready", settings},
 *      {type: "step", id, step}, {type: "sent", id, ranges}, {type: "done", id, result},
 *      {type: "failed", id?, message, unreadable}.
 */
import { Agent } from "./agent.mjs";
import { Chain } from "./chain.mjs";
import { EngineError, UnreadableScore } from "./engine.mjs";

const RUNTIME = { script: "ort.wasm.min.mjs", binary: "ort-wasm-simd-threaded.wasm" };

let chain;
let agent; // a promise, from when it is on its way
let loadAgent;
let queue = Promise.resolve();
const cancelled = new Set();

/** Fetch one file; `onBytes` is called with the number of bytes of every piece that arrives. */
async function download(address, onBytes) {
  let response;
  try {
    response = await fetch(address);
  } catch (error) {
    throw new EngineError(`${address} cannot be reached (${error.message}).`);
  }
  if (!response.ok) throw new EngineError(`${address} cannot be loaded: the server answers ${response.status}.`);
  const pieces = [];
  const reader = response.body.getReader();
  for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
    pieces.push(piece.value);
    onBytes(piece.value.length);
  }
  return new Uint8Array(await new Blob(pieces).arrayBuffer());
}

/** Fetch files of known sizes, address -> bytes, and tell how far it is. @returns {Promise<Map<string, Uint8Array>>} */
async function downloadAll(sizes) {
  const total = [...sizes.values()].reduce((a, b) => a + b);
  let loaded = 0;
  const onBytes = (count) => postMessage({ type: "progress", loaded: (loaded += count), total });
  const fetched = new Map();
  await Promise.all(
    [...sizes].map(async ([address, size]) => {
      const content = await download(address, onBytes);
      if (content.length !== size) {
        throw new EngineError(`${address} has ${content.length} bytes instead of ${size}: reload the page to get it again.`);
      }
      fetched.set(address, content);
    }),
  );
  return fetched;
}

async function load({ base, runtime }) {
  const settings = JSON.parse(new TextDecoder().decode(await download(new URL("engine.json", base), () => {})));
  const binary = new URL(RUNTIME.binary, runtime).href;
  const sizesOf = (names) => names.map((name) => [new URL(`${name}.onnx`, base).href, settings.files[`${name}.onnx`]]);
  const fetched = await downloadAll(new Map([...sizesOf(["text_encoder", "unet", "decoder"]), [binary, settings.runtime_bytes]]));

  const ort = await import(new URL(RUNTIME.script, runtime));
  ort.env.logLevel = "error";
  ort.env.wasm.numThreads = 1; // more need headers that plain hosts of static pages do not send
  ort.env.wasm.wasmBinary = fetched.get(binary);
  const session = (name, files) =>
    ort.InferenceSession.create(files.get(new URL(`${name}.onnx`, base).href), { executionProviders: ["wasm"] });
  chain = new Chain(
    ort,
    {
      textEncoder: await session("text_encoder", fetched),
      unet: await session("unet", fetched),
      decoder: await session("decoder", fetched),
    },
    settings,
  );
  loadAgent = async () => {
    const files = await downloadAll(new Map(sizesOf(["agent_eye", "agent_mind"])));
    const sessions = { eye: await session("agent_eye", files), mind: await session("agent_mind", files) };
    return new Agent(ort, sessions, settings.agent);
  };
  postMessage({ type: "ready", settings });
  theAgent().catch(() => {}); // whoever asks for a score is told
}

/** The agent, when it is there; if it failed to load it is tried again. */
function theAgent() {
  agent ??= loadAgent().catch((error) => {
    agent = undefined;
    throw error;
  });
  return agent;
}

async function stopIfCancelled(id) {
  await new Promise((resolve) => setTimeout(resolve)); // lets a message that cancels come in
  if (cancelled.has(id)) throw new EngineError("cancelled");
}

const answers = {
  run({ id, request }) {
    chain.check(request);
    const tell = async (message) => {
      postMessage({ ...message, id });
      await stopIfCancelled(id);
    };
    return chain.run(request, (step) => tell({ type: "step", step }), (ranges) => tell({ type: "sent", ranges }));
  },
  async score({ request: { image, person, prompt } }) {
    return (await agent).score(image, person, prompt);
  },
};

/** Answer a request after those before it. */
function enqueue(data) {
  queue = queue
    .then(() => stopIfCancelled(data.id))
    .then(() => answers[data.type](data))
    .then((result) => postMessage({ type: "done", id: data.id, result }))
    .catch((error) => fail(error, data.id))
    .finally(() => cancelled.delete(data.id));
}

/** Say what went wrong; only an `EngineError` is worded for readers. */
function fail(error, id) {
  const message = error instanceof EngineError ? error.message : `The model stopped unexpectedly: ${error}`;
  postMessage({ type: "failed", id, message, unreadable: error instanceof UnreadableScore });
}

self.onmessage = ({ data }) => {
  if (data.type === "load") load(data).catch((error) => fail(error));
  if (data.type === "cancel") cancelled.add(data.id);
  if (data.type === "run") enqueue(data);
  // A score that waits for the agent holds up no run.
  if (data.type === "score") theAgent().then(() => enqueue(data), (error) => fail(error, data.id));
};
