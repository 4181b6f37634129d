// The playground's page: controls, curves and pictures around playground_engine.js. Everything stands in the element #mm-playground.
"use strict";
(function () {
  const P = self.Playground;
  const root = document.getElementById("mm-playground");
  if (!P || !root) return;

  // story -> the heading that tells it (its address), and the button's words
  const HEADINGS = {
    starve: "slow-starves-beside-fast",
    alone: "alone-slow-is-learned",
    louder: "the-same-task-with-larger-inputs",
    scale: "features-on-one-scale",
    ogm: "ogm-holds-fast-back",
    own: "a-loss-of-its-own-for-slow",
    vote: "weights-by-hand-and-a-vote",
    turns: "turns-as-in-mla",
    rate: "another-optimiser-and-a-larger-step",
    heart: "learned-by-heart",
  };
  const NAMES = {
    method: {
      joint: "joint training", fast: "fast alone", slow: "slow alone", multi_loss: "multi-loss", ogm: "OGM",
      blending: "Gradient-Blending, weights by hand", mla: "alternating, as in MLA",
    },
    normalise: { none: "as they are", rms: "one number per modality", batch: "standardised over the batch" },
    optimizer: { adam: "Adam", sgd: "SGD with momentum" },
    predict: { fused: "the joint head", vote: "a vote of all heads" },
  };
  // group -> [name, label, the methods that have it]
  const CONTROLS = {
    Method: [
      ["method", "Method"],
      ["alpha", "Strength of OGM, alpha", "ogm"],
      ["weight", "Weight of each modality's own loss", "multi_loss"],
      ["blendFast", "Weight of fast's loss", "blending"],
      ["blendSlow", "Weight of slow's loss", "blending"],
      ["blendJoint", "Weight of the joint loss", "blending"],
      ["predict", "Who answers", "multi_loss blending"],
      ["ridge", "Ridge of the projection", "mla"],
      ["normalise", "Features"],
    ],
    Training: [["optimizer", "Optimiser"], ["lr", "Learning rate"], ["epochs", "Epochs"], ["seed", "Seed"]],
    Data: [
      ["fastNoise", "Noise of fast"],
      ["slowGain", "Size of slow's inputs"],
      ["bend", "How bent slow's classes are"],
      ["samples", "Training samples"],
    ],
  };
  const LOOK = { both: ["currentColor", ""], fast: ["#A88400", ""], slow: ["#5F6CF2", "6 3"] };
  const still = self.matchMedia("(prefers-reduced-motion: reduce)");

  let run, before;
  let playing = false;

  // ---- elements ------------------------------------------------------------------------------------------------------

  function make(tag, attributes, ...children) {
    const svg = ["svg", "path", "line", "text", "g", "circle"].includes(tag);
    const element = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
    for (const name in attributes) {
      if (name.startsWith("on")) element.addEventListener(name.slice(2), attributes[name]);
      else if (attributes[name] !== false) element.setAttribute(name, attributes[name] === true ? "" : attributes[name]);
    }
    element.append(...children);
    return element;
  }

  const play = make("button", { type: "button", class: "pg-main", onclick: () => (playing ? pause() : start()) }, "Play");
  const step = make("button", { type: "button", onclick: () => oneEpoch() }, "One epoch");
  const reset = make("button", { type: "button", onclick: () => again(run.config) }, "Reset");
  const where = make("span", { class: "pg-where" });
  const says = make("p", { class: "pg-says" });
  const status = make("p", { class: "pg-hidden", role: "status" });
  const pictures = {
    accuracy: make("figure", { class: "pg-wide" }),
    gradient: make("figure", {}),
    ratio: make("figure", {}),
    length: make("figure", {}),
  };
  const planes = {};
  for (const m of P.MODALITIES) planes[m] = make("canvas", { width: 300, height: 300, role: "img" });
  const PLANE_TEXT = {
    fast: "fast: the classes lie left and right, and overlap.",
    slow: "slow: opposite corners belong together. No straight line parts the classes.",
  };
  const planeFigures = P.MODALITIES.map((m) => make("figure", { class: "pg-plane" }, planes[m], make("figcaption", {}, PLANE_TEXT[m])));
  const body = make("tbody");
  const table = make("details", { class: "pg-table", ontoggle: () => tabulate() }, make("summary", {}, "The curves as a table"));
  const controls = {};
  const form = make("form", { class: "pg-controls", onsubmit: (event) => event.preventDefault() });

  function round(value) {
    return value === 0 ? "0" : String(Number(value.toPrecision(2)));
  }

  function control(name, label) {
    const id = `pg-${name}`;
    if (name in P.CHOICES) {
      const options = P.CHOICES[name].map((value) => make("option", { value }, NAMES[name][value]));
      const input = make("select", { id, onchange: changed }, ...options);
      controls[name] = { get: () => input.value, set: (value) => (input.value = value) };
      return make("div", { class: "pg-control" }, make("label", { for: id }, label), input);
    }
    const { low, high, log, whole } = P.NUMBERS[name];
    if (name === "seed") {
      const input = make("input", { id, type: "number", min: low, max: high, step: 1, onchange: changed });
      controls[name] = { get: () => input.value, set: (value) => (input.value = value) };
      return make("div", { class: "pg-control" }, make("label", { for: id }, label), input);
    }
    // a position from 0 to 200, evenly in the logarithm where the number is one of scale
    const scale = log ? [Math.log(low), Math.log(high)] : [low, high];
    const shown = make("span", { class: "pg-shown" }); // no live text: the slider itself says its value
    const input = make("input", { id, type: "range", min: 0, max: 200, step: 1, oninput: () => show(value()), onchange: changed });
    let exact = null; // what was set, finer than a position
    const value = () => {
      const at = scale[0] + ((scale[1] - scale[0]) * input.value) / 200;
      const found = log ? Math.exp(at) : at;
      return whole ? Math.round(found) : Number(found.toPrecision(2));
    };
    const show = (v) => {
      exact = v;
      shown.textContent = whole ? v : round(v);
      input.setAttribute("aria-valuetext", shown.textContent);
    };
    controls[name] = {
      get: () => exact,
      set: (v) => {
        input.value = Math.round((200 * ((log ? Math.log(v) : v) - scale[0])) / (scale[1] - scale[0]));
        show(v);
      },
    };
    return make("div", { class: "pg-control" }, make("label", { for: id }, label, " ", shown), input);
  }

  const owners = []; // [element, methods]
  for (const group in CONTROLS) {
    const set = make("fieldset", {}, make("legend", {}, group));
    for (const [name, label, methods] of CONTROLS[group]) {
      const element = control(name, label);
      if (methods) owners.push([element, methods.split(" ")]);
      set.append(element);
    }
    form.append(set);
  }

  root.replaceChildren(
    make("div", { class: "pg-bar" }, play, step, reset, where),
    says,
    status,
    make("div", { class: "pg-plots" }, pictures.accuracy, make("div", { class: "pg-planes" }, ...planeFigures)),
    form,
    make("div", { class: "pg-plots" }, pictures.gradient, pictures.ratio, pictures.length),
    table,
  );
  table.append(make("div", { class: "pg-scroll", tabindex: 0, role: "group", "aria-label": "Table of the curves" }, make("table", {}, make("thead", {}, head()), body)));

  // ---- a setting and its address ------------------------------------------------------------------------------------------

  function changed() {
    const given = {};
    for (const name in controls) given[name] = controls[name].get();
    again(given);
    address();
  }

  /** What differs from the defaults, in the address: a setting can be shared. */
  function address() {
    const plain = P.defaults();
    const pairs = Object.entries(run.config).filter(([name, value]) => value !== plain[name]);
    history.replaceState(null, "", "#" + (new URLSearchParams(pairs).toString() || "mm-playground"));
  }

  /** A setting by the address: a story's heading, or name=value pairs. Null where it has neither. */
  function fromAddress() {
    const text = location.hash.slice(1);
    const story = Object.keys(HEADINGS).find((name) => HEADINGS[name] === text);
    if (story) return { story };
    return text.includes("=") ? { set: Object.fromEntries(new URLSearchParams(text)) } : null;
  }

  function again(given) {
    pause();
    if (run && run.epochs > 0) before = run;
    run = new P.Run(given);
    for (const name in controls) controls[name].set(run.config[name]);
    for (const [element, methods] of owners) element.hidden = !methods.includes(run.config.method);
    draw();
  }

  function tell(name) {
    again({ ...P.STORIES[name].set, seed: run ? run.config.seed : 0 });
    address();
    root.scrollIntoView({ behavior: still.matches ? "auto" : "smooth" });
    play.focus({ preventScroll: true });
    start();
  }

  // ---- playing --------------------------------------------------------------------------------------------------------------

  function start() {
    if (run.done) again(run.config);
    playing = true;
    play.textContent = "Pause";
    setTimeout(tick, 0);
  }

  function pause() {
    playing = false;
    play.textContent = "Play";
  }

  function tick() {
    if (!playing) return;
    const begun = performance.now();
    const most = still.matches ? 200 : 14; // milliseconds, then the page may breathe
    const epochs = run.epochs;
    while (!run.done && performance.now() - begun < most) run.step();
    if (run.done) return finish();
    if (run.epochs > epochs) {
      if (still.matches) where.textContent = place();
      else draw();
    }
    setTimeout(tick, 0);
  }

  function finish() {
    pause();
    draw();
    status.textContent = `${place()}. ${P.describe(run).text}`;
  }

  function oneEpoch() {
    pause();
    if (run.done) again(run.config);
    run.epoch();
    finish();
  }

  const place = () => `Epoch ${run.epochs} of ${run.config.epochs}`;

  // ---- pictures -------------------------------------------------------------------------------------------------------------

  function draw() {
    where.textContent = place();
    says.textContent = P.describe(run).text;
    const heads = run.modalities.length > 1 ? ["both", ...run.modalities] : run.modalities;
    const rows = run.history;
    const trained = rows.slice(1);
    const percent = (v) => `${Math.round(100 * v)} %`;
    const lines = heads.map((h) => ({ name: h, look: h, values: rows.map((r) => r.test[h].accuracy) }));
    const faint = heads.map((h) => ({ look: h, thin: true, values: rows.map((r) => r.train[h].accuracy) }));
    if (before && before.modalities.length > 1) {
      faint.push({ name: "both, run before", look: "both", past: true, values: before.history.map((r) => r.test.both.accuracy) });
    }
    chart(pictures.accuracy, "Accuracy on new data (thick) and on the training data (thin, dotted)", [...faint, ...lines], { low: 0.4, high: 1, format: percent, ticks: [0.4, 0.6, 0.8, 1] });
    const by = (what) => run.modalities.map((m) => ({ name: m, look: m, first: 1, values: trained.map((r) => r[what][m]) }));
    chart(pictures.gradient, "Norm of each encoder's gradient, mean of an epoch", by("gradient"), { log: true });
    const relations = [];
    if (run.modalities.length > 1) {
      relations.push({ name: "ratio", look: "both", first: 1, values: trained.map((r) => r.ratio) });
      if (run.config.method === "ogm") {
        for (const m of run.modalities) relations.push({ name: `k of ${m}`, look: m, first: 1, values: trained.map((r) => r.coefficient[m]) });
      }
    }
    chart(pictures.ratio, run.config.method === "ogm" ? "Discrepancy ratio, fast over slow, and OGM's coefficients k" : "Discrepancy ratio, fast over slow (1: nobody is ahead)", relations, { low: 0 });
    pictures.ratio.hidden = run.modalities.length === 1;
    const lengths = run.modalities.map((m) => ({ name: m, look: m, values: rows.map((r) => r.length[m]) }));
    chart(pictures.length, "Mean length of the features", lengths, { low: 0 });
    P.MODALITIES.forEach((m, i) => {
      planeFigures[i].hidden = !run.modalities.includes(m);
      if (!planeFigures[i].hidden) decision(m);
    });
    if (table.open) tabulate();
  }

  /** Curves over epochs. Each is named at its end; colours and dashes are those of the book. */
  function chart(figure, caption, lines, { low, high, log, ticks, format = round }) {
    const [width, height] = figure === pictures.accuracy ? [420, 210] : [260, 160];
    const room = { left: 42, right: 78, top: 8, bottom: 26 };
    const all = lines.flatMap((l) => l.values).filter((v) => Number.isFinite(v) && (!log || v > 0));
    let bottom = low ?? Math.min(...all, log ? 0.1 : Infinity);
    let top = high ?? Math.max(...all, 1);
    if (log) [bottom, top] = [10 ** Math.floor(Math.log10(bottom)), 10 ** Math.ceil(Math.log10(top * 1.01))];
    else if (high === undefined) top = Math.ceil(top * 1.05) + (top > 3 && Math.ceil(top * 1.05) % 2);
    const f = log ? Math.log10 : (v) => v;
    const last = Math.max(run.config.epochs, ...lines.map((l) => l.values.length - 1 + (l.first || 0)));
    const x = (epoch) => room.left + ((width - room.left - room.right) * epoch) / last;
    const y = (v) => height - room.bottom - ((height - room.top - room.bottom) * (f(Math.min(top, Math.max(bottom, v))) - f(bottom))) / (f(top) - f(bottom));
    const svg = make("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", fill: "none" });
    const marks = ticks || (log ? powers(bottom, top) : top > 3 ? [0, top / 2, top] : [0, 1, 2, 3].slice(0, top + 1));
    const name = (mark) => (log && mark < 0.01 ? mark.toExponential(0).replace("-", "\u2212") : format(mark));
    for (const mark of marks) {
      svg.append(make("line", { x1: room.left, x2: width - room.right, y1: y(mark), y2: y(mark), class: "pg-grid" }));
      svg.append(text(room.left - 5, y(mark) + 4, name(mark), "end"));
    }
    for (const epoch of [0, Math.round(last / 2), last]) svg.append(text(x(epoch), height - 10, epoch, "middle"));
    svg.append(text(width - room.right + 18, height - 10, "epoch", "start"));
    const ends = [];
    for (const line of lines) {
      const points = line.values.map((v, i) => [x(i + (line.first || 0)), Number.isFinite(v) ? y(v) : null]).filter((p) => p[1] !== null);
      if (!points.length) continue;
      const [colour, dashes] = LOOK[line.look];
      const d = points.map((p, i) => `${i ? "L" : "M"}${p[0].toFixed(1)} ${p[1].toFixed(1)}`).join("");
      const kind = line.past ? "pg-past" : line.thin ? "pg-thin" : "pg-line";
      svg.append(make("path", { d, stroke: colour, class: kind, "stroke-dasharray": line.past || line.thin ? false : dashes || false }));
      if (line.name) ends.push({ ...line, colour, at: points[points.length - 1], y: points[points.length - 1][1] });
    }
    ends.sort((a, b) => a.y - b.y);
    ends.forEach((end, i) => (end.y = Math.max(end.y, i ? ends[i - 1].y + 13 : 0))); // names do not lie on each other
    const over = ends.length ? ends[ends.length - 1].y - (height - room.bottom) : 0;
    for (const end of ends) {
      if (over > 0) end.y -= over;
      if (!end.past) svg.append(make("circle", { cx: end.at[0], cy: end.at[1], r: 3, fill: end.colour }));
      const label = text(width - room.right + 18, end.y + 4, end.name.replace("both, run before", "run before"), "start");
      svg.append(make("line", { x1: width - room.right + 4, x2: width - room.right + 14, y1: end.y, y2: end.y, stroke: end.colour, class: end.past ? "pg-past" : "pg-line", "stroke-dasharray": LOOK[end.look][1] || false }), label);
    }
    const told = ends.filter((e) => !e.past).map((e) => `${e.name} ${format(e.values[e.values.length - 1])}`).join(", ");
    svg.setAttribute("aria-label", `${caption}. ${place()}: ${told || "nothing yet"}.`);
    figure.replaceChildren(svg, make("figcaption", {}, caption));
  }

  function powers(bottom, top) {
    const [from, to] = [Math.round(Math.log10(bottom)), Math.round(Math.log10(top))];
    const every = Math.ceil((to - from) / 4);
    const found = [];
    for (let p = from; p <= to; p += every) found.push(10 ** p);
    return found;
  }

  function text(x, y, content, anchor) {
    return make("text", { x, y, "text-anchor": anchor, fill: "currentColor" }, String(content));
  }

  const CELLS = 30;
  const [BLUE, ORANGE] = [[0, 114, 178], [213, 94, 0]];
  const sketch = make("canvas", { width: CELLS, height: CELLS });

  /** What a modality says over a plane of its inputs, and some new samples in it: circles and crosses are the classes. */
  function decision(m) {
    const canvas = planes[m];
    const size = canvas.width;
    const brush = canvas.getContext("2d");
    const says = run.plane(m, CELLS);
    const colours = new ImageData(CELLS, CELLS);
    says.forEach((p, i) => colours.data.set([...(p > 0.5 ? BLUE : ORANGE), Math.round(300 * Math.abs(p - 0.5))], 4 * i));
    sketch.getContext("2d").putImageData(colours, 0, 0);
    brush.clearRect(0, 0, size, size);
    brush.drawImage(sketch, 0, 0, size, size); // the browser smooths it
    brush.strokeStyle = getComputedStyle(root).color;
    brush.lineWidth = 1.5;
    const points = run.points(m, 120);
    for (const { right, up, label } of points) {
      const [a, b] = [(size * (1 + right)) / 2, (size * (1 - up)) / 2];
      brush.beginPath();
      if (label) {
        brush.moveTo(a - 3.5, b - 3.5), brush.lineTo(a + 3.5, b + 3.5);
        brush.moveTo(a - 3.5, b + 3.5), brush.lineTo(a + 3.5, b - 3.5);
      } else brush.arc(a, b, 3.5, 0, 7);
      brush.stroke();
    }
    const { accuracy } = run.history[run.history.length - 1].test[m];
    canvas.setAttribute("aria-label", `What ${m} says over a plane of its inputs, with new samples as circles and crosses. It is right on ${Math.round(100 * accuracy)} % of new data.`);
  }

  function head() {
    const names = ["epoch", "both, new", "fast, new", "slow, new", "both, training", "fast, training", "slow, training", "gradient of fast", "gradient of slow", "ratio", "k of fast", "k of slow", "length of fast", "length of slow"];
    return make("tr", {}, ...names.map((name) => make("th", { scope: "col" }, name)));
  }

  function tabulate() {
    if (!table.open) return;
    const number = (v) => (v === undefined ? "–" : round(v));
    body.replaceChildren(
      ...run.history.map((row, epoch) => {
        const cells = [epoch];
        for (const part of ["test", "train"]) for (const h of ["both", "fast", "slow"]) cells.push(row[part][h] ? row[part][h].accuracy.toFixed(3) : "–");
        for (const m of P.MODALITIES) cells.push(number(row.gradient?.[m]));
        cells.push(run.modalities.length > 1 ? number(row.ratio) : "–");
        for (const m of P.MODALITIES) cells.push(run.config.method === "ogm" ? number(row.coefficient?.[m]) : "–");
        for (const m of P.MODALITIES) cells.push(number(row.length[m]));
        return make("tr", {}, ...cells.map((cell) => make("td", {}, String(cell))));
      }),
    );
  }

  // ---- the stories' headings ----------------------------------------------------------------------------------------------

  for (const name in HEADINGS) {
    const section = document.getElementById(HEADINGS[name]);
    if (section) section.append(make("p", {}, make("button", { type: "button", class: "pg-story", onclick: () => tell(name) }, `Play: ${section.querySelector("h2, h3").firstChild.textContent}`)));
  }
  function follow() {
    const found = fromAddress();
    if (found && found.story) tell(found.story);
    else if (found) again(found.set);
  }
  self.addEventListener("hashchange", follow);
  new MutationObserver(draw).observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
  again({ ...P.STORIES.starve.set });
  follow();
  root.dataset.ready = "";
  self.playground = { get run() { return run; }, get playing() { return playing; } }; // for tests, and for the curious
})();
