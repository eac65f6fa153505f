// What all panels are made of: labelled controls, the kernel's answers, and what lies beside the built page.

/** Make an element with properties and children. */
export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

/** A labelled slider over `values`, one of which may be null; `show` turns a value into the text beside it. */
export function slider(text, values, show, changed) {
  const input = make("input", { type: "range", min: 0, max: values.length - 1, step: 1 });
  const distance = (a, b) => (a === b ? 0 : a === null || b === null ? Infinity : Math.abs(a - b));
  const set = (value) => {
    const far = values.map((v) => distance(v, value));
    input.value = far.indexOf(Math.min(...far));
    tell();
  };
  const beside = make("output");
  const tell = () => {
    beside.textContent = show(values[input.value]);
    input.setAttribute("aria-valuetext", beside.textContent);
  };
  input.addEventListener("input", () => (tell(), changed()));
  return {
    element: make("label", {}, make("span", { textContent: text }), input, beside),
    get: () => values[input.value],
    set,
    tell,
    /** Give it other values; its own becomes the nearest of them. */
    offer: (others) => {
      const value = values[input.value];
      values = others;
      input.max = values.length - 1;
      set(value);
    },
  };
}

/** A labelled text field that suggests `options`, or a choice among them if `closed`. */
export function field(text, options, changed, closed = false) {
  const input = closed ? make("select") : make("input", { type: "text", autocomplete: "off", spellcheck: false });
  const element = make("label", { className: "text" }, make("span", { textContent: text }), input);
  let list = input;
  if (!closed) {
    list = make("datalist", { id: `rlli-${Math.random().toString(36).slice(2)}` });
    input.setAttribute("list", list.id);
    element.append(list);
  }
  const suggest = (some) => list.replaceChildren(...some.map((o) => make("option", { value: o, textContent: o })));
  suggest(options);
  input.addEventListener(closed ? "input" : "change", () => changed(input.value));
  return { element, suggest, // a full stop is no word of a prompt
    get: () => input.value.trim().replace(/[.!?]+$/, ""), set: (value) => (input.value = value) };
}

/** Whether this is a page of the built book, where no kernel answers. */
export const onPage = () => document.documentElement.dataset.content_root !== undefined;

/** Where the built book keeps what its pages load. */
export const assets = () => new URL(`${document.documentElement.dataset.content_root}_static/`, document.baseURI);

/** Load a script or a picture from there; both also work on a page that was opened as a file, unlike fetch. */
export const load = (tag, address) => new Promise((resolve, reject) => {
  const element = make(tag, { src: new URL(address, assets()).href });
  element.onload = () => resolve(element);
  element.onerror = () => reject(new Error(`${address} did not load; build the book again with make book.`));
  if (tag === "script") document.head.append(element);
});

/** Ask the kernel: every request has a number, and a newer one to run makes the kernel drop the older. */
export function asker(model) {
  const open = new Map();
  let count = 0;
  model.on("msg:custom", (content, buffers) => open.get(content.id)?.(content, buffers));
  return (content, signal, hear = () => {}) => new Promise((resolve, reject) => {
    const id = ++count;
    const end = (act) => (open.delete(id), act());
    signal?.addEventListener("abort", () => end(() => reject(new DOMException("stale", "AbortError"))));
    open.set(id, (answer, buffers) => {
      if (answer.kind === "done") end(() => resolve(answer.value));
      else if (answer.kind === "error") end(() => reject(new Error(answer.value)));
      else hear(answer, buffers);
    });
    model.send({ ...content, id });
  });
}
