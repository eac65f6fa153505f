// The explorer's screen. One module for JupyterLab, where a kernel answers, and for the built page, where precomputed
// pictures answer and, once it is loaded, the model itself in the reader's browser.
import { onPage } from "./common.mjs";
import { Bar, Choice, Picture, Slider, Switch, Versus, Words, counts, dbw, digits, percent, score } from "./parts.mjs";
import { fromAddress, momentsOf, toAddress, userAt } from "./play.mjs";
import { html, mount, useEffect, useRef, useState } from "./preact.mjs";
import { bepAt, bestStart, kernelSource, longestOf, nearest, pageSource, powerFor, shares } from "./sources.mjs";

const PAUSE_MS = 700, LEAST_MEMORY_GB = 4, MOST_DEVICES = 4;
const SUBSCRIPTS = "₁₂₃₄";

/** Energy of all in mWh, and seconds until the last picture; this round, and everyone alone with the same own steps. */
function costs(state, config) {
  const channel = config.channels[state.channel], own = state.users.map((u) => u.deviceSteps);
  const sharing = state.users.filter((u) => shares(state, u)), t0 = sharing.length ? state.sharedSteps : 0;
  const sending = sharing.reduce((sum, u) => sum + (powerFor(u.bep, channel) * config.airtimeS) / 3.6, 0);
  const steps = own.reduce((a, b) => a + b) * config.stepEnergyMwh;
  const times = state.users.map((u) =>
    u.deviceSteps * config.stepS + (shares(state, u) ? t0 * config.serverStepS + config.airtimeS : 0));
  return { energy: steps + t0 * config.serverStepEnergyMwh + sending, energyAlone: steps, sending,
    time: Math.max(...times), timeAlone: Math.max(...own) * config.stepS };
}

function Screen({ config, source, page }) {
  const box = useRef(null), dialog = useRef(null), touched = useRef(false);
  const read = () => (page && location.hash.includes("=") ? fromAddress(location.hash.slice(1), config) : config.start);
  const [state, setState] = useState(read);
  const [shown, setShown] = useState(null); // the last pictures, with the state that they are of
  const [line, setLine] = useState(""); // what is said of them
  const [told, setTold] = useState(""); // what a button said, until something moves
  const [busy, setBusy] = useState(true);
  const [part, setPart] = useState(null);
  const [model, setModel] = useState({ is: page ? "off" : "here", size: 0, loaded: 0 });
  const [moments, setMoments] = useState(null);
  const [at, setAt] = useState(0);
  const [playing, setPlaying] = useState(false);
  const [large, setLarge] = useState(null);
  const current = useRef(state);
  current.current = state;
  const held = model.is !== "here", marks = source.places(state);

  function change(more, say = "") {
    const room = navigator.deviceMemory >= LEAST_MEMORY_GB && !navigator.connection?.saveData;
    if (!touched.current && model.is === "off" && model.size && room) begin();
    touched.current = true;
    setMoments(null);
    setPlaying(false);
    setTold(say);
    setState((before) => source.snap({ ...before, ...(typeof more === "function" ? more(before) : more) }));
  }
  const changeUser = (k, more) =>
    change((before) => ({ users: before.users.map((u, i) => (i === k ? { ...u, ...more } : u)) }));

  async function begin() {
    setModel((now) => ({ ...now, is: "loading" }));
    try {
      await source.start((loaded, size) => setModel((now) => ({ ...now, loaded, total: size })));
      setModel((now) => ({ ...now, is: "here" }));
    } catch (error) {
      setModel((now) => ({ ...now, is: "off" }));
      setTold(error.message);
    }
  }

  useEffect(() => { // what the page has
    if (!page) return undefined;
    if (location.hash.includes("=")) box.current.scrollIntoView({ block: "start" }); // somebody was sent here
    if (source.served) source.size().then((size) => setModel((now) => ({ ...now, size })), () => {});
    const follow = () => location.hash.includes("=") && change(read());
    window.addEventListener("hashchange", follow);
    return () => window.removeEventListener("hashchange", follow);
  }, []);

  useEffect(() => { // run what the controls say
    const mine = new AbortController(), still = (act) => (...what) => mine.signal.aborted || act(...what);
    setBusy(true);
    setPart(null);
    (async () => {
      try {
        if (page) await source.ready();
        const snapped = source.snap(state);
        if (mine.signal.aborted) return;
        if (JSON.stringify(snapped) !== JSON.stringify(state)) { // a link to a place between those that were worked out
          setState(snapped);
          return;
        }
        if (page && (touched.current || location.hash.includes("="))) history.replaceState(null, "", `#${toAddress(state)}`);
        const words = await source.run(state, {
          signal: mine.signal, progress: still(setPart), show: still((found) => setShown({ ...found, of: state })),
        });
        still(setLine)(words);
      } catch (error) {
        still(setLine)(error.message);
        still(setShown)(null);
      }
      still(setBusy)(false);
    })();
    return () => mine.abort(new DOMException("stale", "AbortError"));
  }, [state, model.is === "here"]);

  useEffect(() => { // the film goes on
    if (!playing || !moments) return undefined;
    if (at === moments.length - 1) setPlaying(false);
    const clock = setTimeout(() => setAt((now) => Math.min(now + 1, moments.length - 1)), PAUSE_MS);
    return () => clearTimeout(clock);
  }, [playing, moments, at]);

  useEffect(() => {
    if (large) dialog.current.showModal();
  }, [large]);

  async function play() {
    if (playing) {
      setPlaying(false);
      return;
    }
    if (!moments) {
      setBusy(true);
      try {
        const onStep = ({ step, steps }) => current.current === state && setPart(step / steps);
        const made = await source.steps?.(state, { onStep });
        const known = state.users.map((u) => (source.served && shares(state, u) ? source.flips(state, u) : null));
        const film = momentsOf(state, shown, made ?? null, await Promise.all(known), config);
        if (current.current !== state) return; // something moved
        setMoments(film);
      } catch (error) {
        setTold(error.message);
      }
      setBusy(false);
    }
    setAt((now) => (moments && now < moments.length - 1 ? now : 0));
    setPlaying(true);
  }

  async function take(who) {
    try {
      const { sharedSteps, deviceSteps, powersW, beps } = await source.choice(who, state);
      const chosen = (u, k) => ({ ...u, deviceSteps: deviceSteps[k], bep: beps[k], restart: null, alone: false });
      const next = { ...state, sharedSteps, users: state.users.map(chosen) };
      const moved = source.snap(next), same = JSON.stringify(moved) === JSON.stringify(next);
      change(moved, `The ${who} chose t₀ = ${sharedSteps}, own steps ${deviceSteps.join(" and ")}, `
        + `${powersW.map((p) => `${digits(p)} W`).join(" and ")} (${beps.map(percent).join(" and ")} bit errors).`
        + (same ? "" : " Shown is the nearest place that was worked out; with the model here it is shown exactly."));
    } catch (error) {
      setTold(error.message);
    }
  }

  const everyoneAlone = () => change((before) => {
    const users = before.users.map((u) => ({ ...u, restart: bestStart(config, u.deviceSteps) }));
    return { sharedSteps: 0, users };
  }, "Nobody shares: each device starts where it does best alone.");
  const setCount = (count) => change((before) => ({ users: counts(0, count - 1).map((k) => userAt(k, before.users, config)) }));

  function setServer(serverPrompt) { // to the first prompt of another group: the devices go along
    change((before) => {
      const [old, next] = [before.serverPrompt, serverPrompt].map((text) => config.groups.find(([first]) => first === text));
      const along = (u) => (old?.includes(u.prompt) && next ? { ...u, prompt: next[old.indexOf(u.prompt)] } : u);
      return { serverPrompt, users: before.users.map(along) };
    });
  }
  async function copy() {
    history.replaceState(null, "", `#${toAddress(state)}`);
    try {
      await navigator.clipboard.writeText(location.href);
      setTold("The link is on the clipboard.");
    } catch {
      setTold("This browser copies nothing here; the address above is the link.");
    }
  }

  const { users } = state, moment = moments?.[at], now = moment ?? null;
  const cost = costs(state, config), longest = longestOf(state);
  const mean = (kind) => {
    const known = shown?.users.map((one) => one[kind]?.scores[""]) ?? [];
    return known.length && known.every(Number.isFinite) ? known.reduce((a, b) => a + b) / known.length : NaN;
  };
  const known = config.channels[state.channel].gainDb !== null;
  const choosable = users.length === 2 && users[0].prompt === state.serverPrompt && known;
  const why = choosable ? "" : "For two devices, of which the first wants what the server draws, on a channel of known gain";
  const near = config.groups.find((group) => group.includes(state.serverPrompt)) ?? [];
  const suggestions = held ? near : [...near, ...config.prompts];
  const mb = (bytes) => (bytes / 1e6).toFixed(0);
  const runText = { off: `Run the model here${model.size ? ` (${mb(model.size)} MB)` : ""}`, here: "The model runs here",
    loading: `Loading the model: ${mb(model.loaded)} of ${mb(model.total ?? model.size)} MB` }[model.is];
  const old = !shown || shown.of !== state, enlarge = setLarge;
  const status = busy ? (part === null ? "Working …" : `Working: ${Math.round(100 * part)} %`) : line;

  return html`<div class=${`rlli screen${busy ? " busy" : ""}${old ? " old" : ""}${shown || busy ? "" : " failed"}`} ref=${box}>
    <div class="top">
      <span class="film">
        <button type="button" class="main" disabled=${old || busy}
          onClick=${play}>${playing ? "❚❚ Pause" : "▶ Play the chain"}</button>
        <input type="range" aria-label="moment of the chain" min="0" max=${moments ? moments.length - 1 : 1}
          value=${moments ? at : 1} disabled=${!moments}
          aria-valuetext=${now?.text ?? "not played yet"}
            onInput=${(event) => (setPlaying(false), setAt(Number(event.target.value)))} /></span>
      <span class="group">
        <button type="button" disabled=${!choosable} title=${why || "What the trained policy would choose"}
          onClick=${() => take("policy")}>Policy</button>
        <button type="button" disabled=${!choosable} title=${why || "What an exact search finds best"}
          onClick=${() => take("optimum")}>Optimum</button>
        <button type="button" onClick=${everyoneAlone}>Everyone alone</button></span>
      <span class="group" role="group" aria-label="number of devices"><span>devices</span>
        ${counts(2, MOST_DEVICES).map((count) => html`
        <button type="button" aria-pressed=${users.length === count}
          onClick=${() => setCount(count)}>${count}</button>`)}</span>
      ${page ? html`<button type="button" onClick=${copy}>Copy link</button>
        <button type="button" disabled=${model.is !== "off"} onClick=${begin}>${runText}</button>` : null}
    </div>
    <p class="note" aria-live="polite">${now ? now.text : [told, status].filter(Boolean).join(" ")}</p>
    <div class="pocket"><${Picture} picture=${now ? now.sent : shown?.sent} label="the server’s latent"
      shape=${config.latentShape} enlarge=${enlarge}>server<//>
      ${users.map((u, k) => html`<${Picture} key=${k} picture=${now ? now.images[k] : shown?.users[k]?.image?.picture}
        label=${`device ${k + 1}: ${u.prompt}`}
        enlarge=${enlarge}><${Bar} part=${shown?.users[k]?.image?.scores[""]} text=${score(shown?.users[k]?.image?.scores[""])}
          kind="now" /><//>`)}</div>
    <div class="cast">
      <fieldset class="server"><legend>Edge server</legend>
        <${Picture} picture=${now ? now.sent : shown?.sent} shape=${config.latentShape} enlarge=${enlarge}
          label=${longest ? `the server’s latent of ${state.serverPrompt} after ${state.sharedSteps} steps` : "nothing is shared"}>
          ${longest ? `after ${state.sharedSteps} of ${state.sharedSteps + longest} steps` : "nothing is shared"}<//>
        <div class="knobs">
          <${Words} label="draws" value=${state.serverPrompt}
            suggestions=${[...config.groups.map(([first]) => first), ...config.prompts]} set=${setServer} />
          <${Slider} label="shared steps t₀" values=${counts(0, config.maxSharedSteps)} value=${state.sharedSteps}
            marks=${marks?.sharedSteps} held=${held}
            show=${String} set=${(sharedSteps) => change({ sharedSteps })} />
          <${Choice} label="channel" value=${String(state.channel)}
            options=${config.channels.map(({ name }, i) => [String(i), name])}
            title="What power a bit error probability takes" set=${(i) => change({ channel: Number(i) })} />
          <${Slider} label="seed" values=${counts(0, 20)} value=${state.seed} marks=${marks?.seed} held=${held} show=${String}
            set=${(seed) => change({ seed })} />
          <${Switch} label="noise-aware devices" value=${state.receiver !== config.receivers[0]}
            title="They start at the timestep that has the noise of what arrived; the paper’s take it as clean"
            set=${(on) => change({ receiver: config.receivers[on ? 1 : 0] })} />
        </div>
        <div class="sums">
          <span>This round, and everyone alone at their best start:</span>
          <${Versus} name="mean score" now=${mean("image")} alone=${mean("lone")} most=${1} tell=${score}
            title="Mean of the devices’ scores, 0 to 1" />
          <${Versus} name="energy of all" now=${cost.energy} alone=${cost.energyAlone}
            most=${Math.max(cost.energy, cost.energyAlone)}
            tell=${(value) => `${value.toFixed(1)} mWh`}
            title=${`${config.stepEnergyMwh} mWh a step of a device, ${config.serverStepEnergyMwh.toPrecision(2)} mWh a step of the server; `
              + `sending takes ${cost.sending.toPrecision(2)} mWh`} />
          <${Versus} name="last picture after" now=${cost.time} alone=${cost.timeAlone}
            most=${Math.max(cost.time, cost.timeAlone)} tell=${(value) => `${value.toFixed(2)} s`}
            title=${`${config.stepS} s a step of a phone, ${config.serverStepS} s of the server, `
              + `${(1e3 * config.airtimeS).toFixed(2)} ms on air`} />
        </div>
      </fieldset>
      <div class=${`lanes${users.length > 2 ? " many" : ""}`}>${users.map((u, k) => html`
        <${Lane} key=${k} k=${k} user=${u} state=${state} config=${config} shown=${shown?.users[k]} old=${old} now=${now}
          marks=${marks?.users[k]} held=${held}
          set=${(more) => changeUser(k, more)} suggestions=${suggestions} enlarge=${enlarge} />`)}</div>
    </div>
    <dialog ref=${dialog} aria-label="enlarged picture" onClick=${() => dialog.current.close()} onClose=${() => setLarge(null)}>
      ${large ? html`<${Picture} picture=${large.picture} label=${large.label} enlarge=${() => {}}>${large.label}<//>
        <button type="button" class="close">Close</button>` : null}</dialog>
  </div>`;
}

/** One device: what it wants and receives, what it makes of it, and what it would make alone. */
function Lane({ k, user, state, config, shown, old, now, marks, held, set, suggestions, enlarge }) {
  const shared = shares(state, user), channel = config.channels[state.channel], named = typeof user.person === "string";
  const watts = powerFor(user.bep, channel), least = user.bep === 0;
  const wattsText = `${least ? "over " : ""}${digits(watts)} W (${dbw(watts).toFixed(1)} dBW)`;
  const beps = held && marks ? new Map(marks.bep.map((bep) => [powerFor(bep, channel), bep])) : null; // by their powers
  const powers = beps ? [...beps.keys()].reverse() : counts(-10, 40).map((level) => 10 ** (level / 10));
  const setErrors = (bep) => set({ bep, ...(held && bep ? { restart: null } : {}) }); // no earlier starts with errors there
  const who = config.people[user.person], traits = who?.traits ?? user.person;
  const about = who ? `${who.title}: ${config.traits.map((trait, i) => `${trait} ${traits[i]}`).join(", ")}` : "traits of your own";
  const lowest = old ? null : shown?.lowest ?? null;
  const from = user.restart === null ? null : Math.max(user.restart, shared ? lowest ?? 0 : 0);
  const lifted = shared && from > user.restart ? " (lowest)" : "";
  const begins = from !== null ? `${from}${lifted}` : shared ? `${lowest ?? "…"}` : "full noise";
  const starts = [...new Set([...config.restarts, ...(marks?.restart ?? [])])].filter((t) => t !== null).sort((a, b) => a - b);
  const fixed = held && marks?.restart.length < 2;
  const everybody = (rated) => Object.entries(rated?.scores ?? {}).filter(([name]) => name)
    .map(([name, value]) => `${name} ${score(value)}`).join(", ");
  const best = bestStart(config, user.deviceSteps);
  const judged = (rated) => html`<${Bar} part=${rated?.scores[""]} text=${score(rated?.scores[""])}
    kind=${rated === shown?.image ? "now" : ""} />`;
  const says = (what, rated) => `${what}: ${user.prompt}, score ${score(rated?.scores[""])}. ${everybody(rated)}`;
  return html`<fieldset class="lane"><legend>Device ${k + 1}</legend>
    <div class="strip">
      <${Picture} picture=${now ? now.received[k] : shown?.received} flips=${now?.flips?.[k]} shape=${config.latentShape}
        enlarge=${enlarge}
        label=${shared ? `received by device ${k + 1}` : "nothing is sent"} className="received">
        <span>${shared ? `received, ${percent(user.bep)} wrong` : "nothing is sent"}</span><//>
      <${Picture} picture=${now ? now.images[k] : shown?.image?.picture} enlarge=${enlarge}
        label=${says(`device ${k + 1}`, shown?.image)} className="made">
        <span title=${everybody(shown?.image)}>with the server's steps</span>${judged(shown?.image)}<//>
      <${Picture} picture=${shown?.lone?.picture} enlarge=${enlarge} label=${says(`device ${k + 1} alone`, shown?.lone)}
        className="lone">
        <span title=${everybody(shown?.lone)}>alone${best === null ? "" : `, from ${best}`}</span>${judged(shown?.lone)}<//>
    </div>
    <div class="knobs">
      <${Words} label="wants" value=${user.prompt} suggestions=${suggestions} set=${(prompt) => set({ prompt })} />
      <${Slider} label=${`own steps t${SUBSCRIPTS[k]}`} values=${counts(1, config.maxDeviceSteps)} value=${user.deviceSteps}
        marks=${marks?.deviceSteps} held=${held}
        show=${String} set=${(deviceSteps) => set({ deviceSteps })} />
      <${Slider} label="bit errors" values=${config.beps} value=${user.bep} marks=${marks?.bep} held=${held} show=${percent}
        disabled=${!shared}
        set=${setErrors} />
      <${Slider} label="power" values=${powers} value=${nearest(powers, watts)} marks=${beps ? powers : null} held=${held}
        show=${() => wattsText} disabled=${!shared}
        title="The power that these bit errors take; move it and the errors follow"
        set=${(power) => setErrors(beps ? beps.get(power) : bepAt(power, channel))} />
      <${Slider} label="starts at timestep"
        values=${[null, ...starts]}
        value=${user.restart} marks=${marks?.restart} held=${held} show=${() => begins}
          disabled=${fixed}
        title=${fixed ? "Earlier starts were worked out for the first prompts, without bit errors; others take the model"
          : "Fresh noise sends a device back to an earlier, noisier timestep"}
        set=${(restart) => set({ restart })} />
      <div class="pair">
        <${Choice} label="judged as" title=${about} value=${named ? user.person : ""}
          options=${[...Object.keys(config.people).map((name) => [name, name]), ["", "own traits …"]]}
            set=${(name) => set({ person: name || [...traits] })} />
        <${Switch} label="stays out" title="Takes no part in the sharing and draws alone" value=${user.alone}
          set=${(alone) => set({ alone })} />
      </div>
    </div>
    ${named ? null : html`<div class="traits">${config.traits.map((trait, i) => html`
      <${Slider} label=${trait} values=${counts(0, 20).map((v) => v / 20)} value=${traits[i]} show=${(v) => v.toFixed(2)}
        set=${(v) => set({ person: traits.map((one, j) => (i === j ? v : one)) })} />`)}</div>`}
  </fieldset>`;
}

function render({ model, el }) {
  const config = model.get("config"), page = onPage(), place = el.appendChild(document.createElement("div"));
  const source = page ? pageSource(config) : kernelSource(model);
  if (page && config.wholePage) {
    document.documentElement.classList.add("rlli-whole");
    document.getElementById("pst-primary-sidebar")?.classList.add("pst-sidebar-hidden"); // the theme's button brings it back
  }
  mount(html`<${Screen} config=${config} source=${source} page=${page} />`, place);
  return () => mount(null, place);
}

export default { render };
