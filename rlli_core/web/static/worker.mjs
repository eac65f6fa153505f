/**
 * The thread in which the networks run, so that the page stays responsive. `engine.mjs` starts it and talks to it.
 *
 * In:  {type: "load", base, runtime} once, then {type: "run", id, request} and {type: "cancel", id}.
 * Out: {type: "progress", loaded, total}, {type: "ready", settings}, {type: "step", id, step}, {type: "done", id, result},
 *      {type: "failed", id?, message}.
 */
import { Chain } from "./chain.mjs";
import { EngineError } from "./engine.mjs";

const RUNTIME = { script: "ort.wasm.min.mjs", binary: "ort-wasm-simd-threaded.wasm" };

let chain;
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

async function load({ base, runtime }) {
  const settings = JSON.parse(new TextDecoder().decode(await download(new URL("engine.json", base), () => {})));
  const sizes = new Map(Object.entries(settings.files).map(([name, size]) => [new URL(name, base).href, size]));
  const binary = new URL(RUNTIME.binary, runtime).href;
  sizes.set(binary, settings.runtime_bytes);
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

  const ort = await import(new URL(RUNTIME.script, runtime));
  ort.env.logLevel = "error";
  ort.env.wasm.numThreads = 1; // more need headers that plain hosts of static pages do not send
  ort.env.wasm.wasmBinary = fetched.get(binary);
  const session = (name) =>
    ort.InferenceSession.create(fetched.get(new URL(name, base).href), { executionProviders: ["wasm"] });
  chain = new Chain(
    ort,
    {
      textEncoder: await session("text_encoder.onnx"),
      unet: await session("unet.onnx"),
      decoder: await session("decoder.onnx"),
    },
    settings,
  );
  postMessage({ type: "ready", settings });
}

async function run({ id, request }) {
  const stopIfCancelled = async () => {
    await new Promise((resolve) => setTimeout(resolve)); // lets a message that cancels come in
    if (cancelled.has(id)) throw new EngineError("cancelled");
  };
  await stopIfCancelled();
  chain.check(request);
  const result = await chain.run(request, async (step) => {
    postMessage({ type: "step", id, step });
    await stopIfCancelled();
  });
  postMessage({ type: "done", id, result });
}

/** Say what went wrong; only an `EngineError` is worded for readers. */
function fail(error, id) {
  const message = error instanceof EngineError ? error.message : `The model stopped unexpectedly: ${error}`;
  postMessage({ type: "failed", id, message });
}

self.onmessage = ({ data }) => {
  if (data.type === "load") load(data).catch((error) => fail(error));
  if (data.type === "cancel") cancelled.add(data.id);
  if (data.type === "run") {
    queue = queue
      .then(() => run(data))
      .catch((error) => fail(error, data.id))
      .finally(() => cancelled.delete(data.id));
  }
};
