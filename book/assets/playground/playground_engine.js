// The playground's networks: two modalities, two encoders, one head, trained step by step. No library, no page: also runs in Node,
// where tests/test_playground.py holds every method against mmlib (the same start, the same batches).
"use strict";
(function (root) {
  const MODALITIES = ["fast", "slow"];
  const CLASSES = 2;
  const DIMS = { fast: 64, slow: 4 };

  // What can be set, with its range. An address, a preset and the page's controls are all checked against it.
  const NUMBERS = {
    fastNoise: { low: 0.3, high: 2, start: 1 },
    slowGain: { low: 0.02, high: 2, start: 0.1, log: true },
    bend: { low: 0, high: 1, start: 1 },
    samples: { low: 50, high: 1000, start: 1000, whole: true },
    lr: { low: 1e-4, high: 1, start: 1e-3, log: true },
    alpha: { low: 0, high: 10, start: 1 },
    weight: { low: 0, high: 10, start: 1 },
    blendFast: { low: 0, high: 1, start: 0.2 },
    blendSlow: { low: 0, high: 1, start: 0.6 },
    blendJoint: { low: 0, high: 1, start: 0.2 },
    ridge: { low: 0.01, high: 100, start: 1, log: true },
    epochs: { low: 1, high: 60, start: 30, whole: true },
    seed: { low: 0, high: 9999, start: 0, whole: true },
  };
  const CHOICES = {
    method: ["joint", "fast", "slow", "multi_loss", "ogm", "blending", "mla"],
    normalise: ["none", "rms", "batch"],
    optimizer: ["adam", "sgd"],
    predict: ["fused", "vote"],
  };

  // The book's stories: what each sets, and how it may end (tests/test_playground.py runs them on seeds 0 to 4).
  const SLOW_START = { optimizer: "sgd", lr: 0.05 };
  const STORIES = {
    starve: { set: { ...SLOW_START }, ends: "starved" },
    alone: { set: { ...SLOW_START, method: "slow" }, ends: "learned" },
    louder: { set: { ...SLOW_START, slowGain: 1 }, ends: "used" },
    scale: { set: { ...SLOW_START, normalise: "batch" }, ends: "used partly" },
    ogm: { set: { ...SLOW_START, method: "ogm", alpha: 10 }, ends: "used partly" },
    own: { set: { ...SLOW_START, method: "multi_loss" }, ends: "unheard" },
    vote: { set: { ...SLOW_START, method: "blending", blendFast: 0.05, blendSlow: 0.9, blendJoint: 0.05, predict: "vote" }, ends: "used" },
    turns: { set: { ...SLOW_START, method: "mla" }, ends: "partly" },
    rate: { set: { optimizer: "adam", lr: 0.02 }, ends: "used" },
    heart: { set: { method: "fast", samples: 100 }, ends: "heart" },
  };
  const BATCH = 64;
  const NEW_SAMPLES = 1000;
  const WIDTH = 32; // of the hidden layer and of the features: half of what mmlib.build makes, so that a phone keeps up

  function defaults() {
    const config = {};
    for (const name in NUMBERS) config[name] = NUMBERS[name].start;
    for (const name in CHOICES) config[name] = CHOICES[name][0];
    return config;
  }

  /** A complete configuration: known names alone, numbers within their range; whatever else was given is ignored. */
  function configure(given) {
    const config = defaults();
    for (const name in NUMBERS) {
      if (!(name in given) || given[name] === "") continue;
      let value = Number(given[name]);
      if (!Number.isFinite(value)) continue;
      if (NUMBERS[name].whole) value = Math.round(value);
      config[name] = Math.min(NUMBERS[name].high, Math.max(NUMBERS[name].low, value));
    }
    for (const name in CHOICES) if (CHOICES[name].includes(given[name])) config[name] = given[name];
    return config;
  }

  // ---- randomness: sfc32, one stream for each purpose ------------------------------------------------------------------

  class Random {
    constructor(seed, stream) {
      this.a = 0x9e3779b9 ^ seed;
      this.b = 0x243f6a88 ^ stream;
      this.c = 0xb7e15162;
      this.d = 1;
      this.kept = null;
      for (let i = 0; i < 20; i++) this.bits();
    }
    bits() {
      const t = (((this.a + this.b) | 0) + this.d) | 0;
      this.d = (this.d + 1) | 0;
      this.a = this.b ^ (this.b >>> 9);
      this.b = (this.c + (this.c << 3)) | 0;
      this.c = (this.c << 21) | (this.c >>> 11);
      this.c = (this.c + t) | 0;
      return t >>> 0;
    }
    uniform() {
      return (this.bits() + 0.5) / 4294967296; // in (0, 1)
    }
    normal() {
      if (this.kept !== null) {
        const kept = this.kept;
        this.kept = null;
        return kept;
      }
      const r = Math.sqrt(-2 * Math.log(this.uniform()));
      const t = 2 * Math.PI * this.uniform();
      this.kept = r * Math.sin(t);
      return r * Math.cos(t);
    }
    permutation(n) {
      const order = Int32Array.from({ length: n }, (_, i) => i);
      for (let i = n - 1; i > 0; i--) {
        const j = this.bits() % (i + 1);
        [order[i], order[j]] = [order[j], order[i]];
      }
      return order;
    }
  }

  // ---- data: two_speed, with one more knob ------------------------------------------------------------------------------

  /** Orthogonal unit vectors in random directions. */
  function orthonormal(random, count, dims) {
    const vectors = [];
    while (vectors.length < count) {
      const x = Float64Array.from({ length: dims }, () => random.normal());
      for (const v of vectors) {
        let dot = 0;
        for (let i = 0; i < dims; i++) dot += x[i] * v[i];
        for (let i = 0; i < dims; i++) x[i] -= dot * v[i];
      }
      const length = Math.hypot(...x);
      vectors.push(x.map((value) => value / length));
    }
    return vectors;
  }

  /** The directions of a seed: fast differs between the classes along u; slow has its four clusters in the plane of v and w.
   *  z is a direction in which slow's classes lie apart in the plain way, as far as `bend` is below 1. */
  function layout(seed) {
    const [u, across] = orthonormal(new Random(seed, 0), 2, DIMS.fast);
    const [v, w, z] = orthonormal(new Random(seed, 1), 3, DIMS.slow);
    return { u, across, v, w, z };
  }

  /** {x: {fast [n * 64], slow [n * 4]}, y [n]}. With bend 1 this is mmlib's two_speed; below, a straight line along z tells
   *  slow's classes apart as well, by a distance of 2 (1 - bend). */
  function draw(config, stream, n, directions) {
    const random = new Random(config.seed, stream);
    const { u, v, w, z } = directions;
    const y = Int32Array.from(random.permutation(n), (i) => i % 2);
    const x = { fast: new Float64Array(n * DIMS.fast), slow: new Float64Array(n * DIMS.slow) };
    for (let i = 0; i < n; i++) {
      const s = 2 * y[i] - 1;
      const a = random.uniform() < 0.5 ? -1 : 1;
      for (let k = 0; k < DIMS.fast; k++) x.fast[i * DIMS.fast + k] = 2 * (s * u[k] + config.fastNoise * random.normal());
      for (let k = 0; k < DIMS.slow; k++) {
        const clean = a * v[k] + s * a * w[k] + (1 - config.bend) * s * z[k];
        x.slow[i * DIMS.slow + k] = config.slowGain * (clean + 0.35 * random.normal());
      }
    }
    return { x, y, n };
  }

  // ---- layers ------------------------------------------------------------------------------------------------------------

  /** Weights of one tensor, with its gradient and what the optimiser keeps of it. */
  class Tensor {
    constructor(size) {
      this.w = new Float64Array(size);
      this.g = new Float64Array(size);
      this.m = new Float64Array(size);
      this.v = new Float64Array(size);
      this.steps = 0;
    }
    square() {
      let sum = 0;
      for (const g of this.g) sum += g * g;
      return sum;
    }
  }

  /** y [n, out] = x [n, in] W^T + b, and the way back. */
  class Linear {
    constructor(inputs, outputs, random) {
      this.inputs = inputs;
      this.outputs = outputs;
      this.weight = new Tensor(outputs * inputs);
      this.bias = new Tensor(outputs);
      const bound = 1 / Math.sqrt(inputs); // as torch.nn.Linear starts
      for (const t of [this.weight, this.bias]) for (let i = 0; i < t.w.length; i++) t.w[i] = bound * (2 * random.uniform() - 1);
    }
    get tensors() {
      return [this.weight, this.bias];
    }
    forward(x, n) {
      const { inputs, outputs } = this;
      const w = this.weight.w;
      const bias = this.bias.w;
      const y = new Float64Array(n * outputs);
      for (let i = 0; i < n; i++) {
        const from = i * inputs;
        const end = from + inputs;
        let o = 0;
        for (; o + 3 < outputs; o += 4) {
          // four outputs at once: the processor need not wait for one sum before it goes on with the next
          let a = o * inputs;
          let b = a + inputs;
          let c = b + inputs;
          let d = c + inputs;
          let [p, q, r, s] = [bias[o], bias[o + 1], bias[o + 2], bias[o + 3]];
          for (let k = from; k < end; k++) {
            const value = x[k];
            p += w[a++] * value;
            q += w[b++] * value;
            r += w[c++] * value;
            s += w[d++] * value;
          }
          const to = i * outputs + o;
          y[to] = p;
          y[to + 1] = q;
          y[to + 2] = r;
          y[to + 3] = s;
        }
        for (; o < outputs; o++) {
          let sum = bias[o];
          for (let k = from, at = o * inputs; k < end; k++) sum += w[at++] * x[k];
          y[i * outputs + o] = sum;
        }
      }
      return y;
    }
    /** Adds to the gradients; the gradient of x, where it is wanted. */
    backward(x, dy, n, wanted) {
      const { inputs, outputs } = this;
      const w = this.weight.w;
      const g = this.weight.g;
      const dx = wanted ? new Float64Array(n * inputs) : null;
      for (let i = 0; i < n; i++) {
        const from = i * inputs;
        const end = from + inputs;
        for (let o = 0; o < outputs; o++) {
          const d = dy[i * outputs + o];
          if (d === 0) continue; // half of them, behind a ReLU
          this.bias.g[o] += d;
          if (wanted) {
            for (let k = from, at = o * inputs; k < end; k++, at++) {
              g[at] += d * x[k];
              dx[k] += d * w[at];
            }
          } else for (let k = from, at = o * inputs; k < end; k++, at++) g[at] += d * x[k];
        }
      }
      return dx;
    }
  }

  function relu(x) {
    for (let i = 0; i < x.length; i++) if (x[i] < 0) x[i] = 0;
    return x;
  }

  /** The gradient in front of a ReLU, in place; `out` is what came out of it. */
  function reluBack(dy, out) {
    for (let i = 0; i < dy.length; i++) if (out[i] <= 0) dy[i] = 0;
    return dy;
  }

  const EPS = 1e-5;
  const MOMENTUM = 0.1; // of the running statistics

  /** Features on one scale, as mmlib.normalise: "rms", one number for the modality, or "batch", each feature standardised, / sqrt(D). */
  class Normalise {
    constructor(kind, dim) {
      this.kind = kind;
      this.dim = dim;
      this.square = 1;
      this.mean = new Float64Array(dim);
      this.variance = new Float64Array(dim).fill(1);
    }
    forward(f, n, training) {
      const { kind, dim } = this;
      const out = new Float64Array(f.length);
      if (kind === "rms") {
        let square = this.square;
        if (training) {
          square = 0;
          for (const value of f) square += (value * value) / n;
          this.square += MOMENTUM * (square - this.square);
        }
        const scale = 1 / Math.sqrt(Math.max(square, 1e-12));
        for (let i = 0; i < f.length; i++) out[i] = f[i] * scale;
        return { out, square };
      }
      const deviation = new Float64Array(dim);
      for (let d = 0; d < dim; d++) {
        let mean = this.mean[d];
        let variance = this.variance[d];
        if (training) {
          mean = variance = 0;
          for (let i = 0; i < n; i++) mean += f[i * dim + d] / n;
          for (let i = 0; i < n; i++) variance += (f[i * dim + d] - mean) ** 2 / n;
          this.mean[d] += MOMENTUM * (mean - this.mean[d]);
          this.variance[d] += MOMENTUM * ((variance * n) / (n - 1) - this.variance[d]);
        }
        deviation[d] = Math.sqrt(variance + EPS);
        for (let i = 0; i < n; i++) out[i * dim + d] = (f[i * dim + d] - mean) / (deviation[d] * Math.sqrt(dim));
      }
      return { out, deviation };
    }
    backward(f, cache, dy, n) {
      const { kind, dim } = this;
      const df = new Float64Array(f.length);
      if (kind === "rms") {
        const square = Math.max(cache.square, 1e-12);
        let dot = 0;
        for (let i = 0; i < f.length; i++) dot += dy[i] * f[i];
        const pull = dot / (n * square ** 1.5);
        for (let i = 0; i < f.length; i++) df[i] = dy[i] / Math.sqrt(square) - f[i] * pull;
        return df;
      }
      const root = Math.sqrt(dim);
      for (let d = 0; d < dim; d++) {
        let mean = 0;
        let along = 0; // of the gradient along the standardised feature h = root * out
        for (let i = 0; i < n; i++) {
          mean += dy[i * dim + d] / n;
          along += (dy[i * dim + d] * root * cache.out[i * dim + d]) / n;
        }
        for (let i = 0; i < n; i++) {
          const at = i * dim + d;
          df[at] = (dy[at] - mean - root * cache.out[at] * along) / (cache.deviation[d] * root);
        }
      }
      return df;
    }
  }

  /** Two layers with ReLU, and a normalisation of the features behind them where it is asked for. */
  class Encoder {
    constructor(inputs, kind, random) {
      this.first = new Linear(inputs, WIDTH, random);
      this.second = new Linear(WIDTH, WIDTH, random);
      this.normalise = kind === "none" ? null : new Normalise(kind, WIDTH);
    }
    get tensors() {
      return [...this.first.tensors, ...this.second.tensors];
    }
    forward(x, n, training) {
      const hidden = relu(this.first.forward(x, n));
      const raw = relu(this.second.forward(hidden, n));
      const cache = this.normalise ? this.normalise.forward(raw, n, training) : { out: raw };
      return { x, n, hidden, raw, cache, features: cache.out };
    }
    backward(pass, gradient) {
      const { x, n, hidden, raw, cache } = pass;
      const d = this.normalise ? this.normalise.backward(raw, cache, gradient, n) : gradient;
      const dh = this.second.backward(hidden, reluBack(d, raw), n, true);
      this.first.backward(x, reluBack(dh, hidden), n, false);
    }
  }

  // ---- losses ------------------------------------------------------------------------------------------------------------

  function logSoftmax(logits, n) {
    const out = new Float64Array(logits.length);
    for (let i = 0; i < n; i++) {
      const a = logits[2 * i];
      const b = logits[2 * i + 1];
      const top = Math.max(a, b);
      const norm = top + Math.log(Math.exp(a - top) + Math.exp(b - top));
      out[2 * i] = a - norm;
      out[2 * i + 1] = b - norm;
    }
    return out;
  }

  /** Mean cross-entropy in nats and its gradient by the logits. */
  function crossEntropy(logits, y, n) {
    const logp = logSoftmax(logits, n);
    const gradient = logp.map((l) => Math.exp(l) / n);
    let loss = 0;
    for (let i = 0; i < n; i++) {
      loss -= logp[2 * i + y[i]] / n;
      gradient[2 * i + y[i]] -= 1 / n;
    }
    return { loss, gradient };
  }

  /** ln of the sum over the batch of the probability of the true class: the logarithm of OGM's score. */
  function logScore(logits, y, n) {
    const logp = logSoftmax(logits, n);
    let top = -Infinity;
    for (let i = 0; i < n; i++) top = Math.max(top, logp[2 * i + y[i]]);
    let sum = 0;
    for (let i = 0; i < n; i++) sum += Math.exp(logp[2 * i + y[i]] - top);
    return top + Math.log(sum);
  }

  /** MLA's fusion: the mean of the probabilities, the surer modality counting more, sample by sample; its logarithm. */
  function surerCountsMore(logits, n) {
    const each = MODALITIES.map((m) => logSoftmax(logits[m], n));
    const out = new Float64Array(2 * n);
    for (let i = 0; i < n; i++) {
      const weight = each.map((l) => Math.exp(Math.exp(l[2 * i]) * l[2 * i] + Math.exp(l[2 * i + 1]) * l[2 * i + 1]));
      const total = weight[0] + weight[1];
      for (let c = 0; c < CLASSES; c++) {
        out[2 * i + c] = Math.log((weight[0] * Math.exp(each[0][2 * i + c]) + weight[1] * Math.exp(each[1][2 * i + c])) / total);
      }
    }
    return out;
  }

  /** The logarithm of the mean of the heads' probabilities, by `shares`. */
  function mixture(logits, shares, n) {
    const out = new Float64Array(2 * n);
    for (const head in logits) {
      const logp = logSoftmax(logits[head], n);
      for (let i = 0; i < out.length; i++) out[i] += shares[head] * Math.exp(logp[i]);
    }
    return out.map(Math.log);
  }

  // ---- the network and its methods ---------------------------------------------------------------------------------------

  class Network {
    constructor(config) {
      this.config = config;
      const alone = MODALITIES.includes(config.method);
      this.modalities = alone ? [config.method] : MODALITIES;
      this.encoders = {};
      // each part from a stream of its own: a modality starts from the same weights whichever method trains it
      for (const m of this.modalities) {
        this.encoders[m] = new Encoder(DIMS[m], config.normalise, new Random(config.seed, 10 + MODALITIES.indexOf(m)));
      }
      this.heads = {};
      if (["multi_loss", "blending"].includes(config.method)) {
        for (const m of this.modalities) this.heads[m] = new Linear(WIDTH, CLASSES, new Random(config.seed, 20 + MODALITIES.indexOf(m)));
      }
      this.head =
        config.method === "mla"
          ? new Linear(WIDTH, CLASSES, new Random(config.seed, 31))
          : new Linear(WIDTH * this.modalities.length, CLASSES, new Random(config.seed, 30));
      if (config.method === "mla") this.projection = identity(WIDTH);
    }

    tensorsOf(modality) {
      return this.encoders[modality].tensors;
    }

    get tensors() {
      const own = Object.values(this.heads).flatMap((head) => head.tensors);
      return [...this.modalities.flatMap((m) => this.tensorsOf(m)), ...this.head.tensors, ...own];
    }

    /** {passes, fused [n, 2], unimodal {m: [n, 2]}, predicted [n, 2]}: what each head says, and what the network's answer is. */
    forward(x, n, training) {
      const passes = {};
      for (const m of this.modalities) passes[m] = this.encoders[m].forward(x[m], n, training);
      return { passes, n, ...this.read(passes, n) };
    }

    read(passes, n) {
      const { method } = this.config;
      const unimodal = {};
      if (method === "mla") {
        for (const m of this.modalities) unimodal[m] = this.head.forward(passes[m].features, n);
        const fused = surerCountsMore(unimodal, n);
        return { unimodal, fused, predicted: fused };
      }
      const fused = new Float64Array(CLASSES * n);
      this.modalities.forEach((m, part) => {
        const share = this.columns(passes[m].features, n, part);
        for (let i = 0; i < fused.length; i++) fused[i] += share[i];
        unimodal[m] = this.heads[m] ? this.heads[m].forward(passes[m].features, n) : share;
      });
      const votes = this.config.predict === "vote" && this.modalities.every((m) => this.heads[m]);
      return { unimodal, fused, predicted: votes ? mixture({ ...unimodal, joint: fused }, this.shares(), n) : fused };
    }

    /** How much each head counts, in the loss and in a vote: {fast, slow, joint}. */
    get weights() {
      const c = this.config;
      if (c.method === "multi_loss") return { fast: c.weight, slow: c.weight, joint: 1 };
      if (c.method !== "blending") return { fast: 0, slow: 0, joint: 1 };
      const total = c.blendFast + c.blendSlow + c.blendJoint;
      if (total === 0) return { fast: 1 / 3, slow: 1 / 3, joint: 1 / 3 };
      return { fast: c.blendFast / total, slow: c.blendSlow / total, joint: c.blendJoint / total };
    }

    /** Of a vote, adding up to 1: all heads the same, in Gradient-Blending by their weights. */
    shares() {
      return this.config.method === "blending" ? this.weights : { fast: 1 / 3, slow: 1 / 3, joint: 1 / 3 };
    }

    /** What one modality adds to the joint head's logits: its columns of the weights, and its share of the bias. */
    columns(features, n, part) {
      const { weight, bias, inputs } = this.head;
      const out = new Float64Array(CLASSES * n);
      for (let i = 0; i < n; i++) {
        for (let c = 0; c < CLASSES; c++) {
          let sum = bias.w[c] / this.modalities.length;
          for (let k = 0, at = c * inputs + part * WIDTH; k < WIDTH; k++) sum += weight.w[at + k] * features[i * WIDTH + k];
          out[i * CLASSES + c] = sum;
        }
      }
      return out;
    }

    /** Adds the joint head's gradients; returns those of the features, {m: [n, D]}. */
    headBack(passes, gradient, n) {
      const { weight, bias, inputs } = this.head;
      const made = {};
      for (const m of this.modalities) made[m] = new Float64Array(n * WIDTH);
      for (let i = 0; i < n; i++) {
        for (let c = 0; c < CLASSES; c++) {
          const d = gradient[i * CLASSES + c];
          bias.g[c] += d;
          this.modalities.forEach((m, part) => {
            const f = passes[m].features;
            const at = c * inputs + part * WIDTH;
            for (let k = 0; k < WIDTH; k++) {
              weight.g[at + k] += d * f[i * WIDTH + k];
              made[m][i * WIDTH + k] += d * weight.w[at + k];
            }
          });
        }
      }
      return made;
    }
  }

  function identity(size) {
    const p = new Float64Array(size * size);
    for (let i = 0; i < size; i++) p[i * size + i] = 1;
    return p;
  }

  function norm(tensors) {
    return Math.sqrt(tensors.reduce((sum, t) => sum + t.square(), 0));
  }

  /** A run: data, network, optimiser; `step` trains on one batch, `epoch` on all, `judge` looks at both data. */
  class Run {
    constructor(given) {
      this.config = configure(given);
      this.directions = layout(this.config.seed);
      this.train = draw(this.config, 2, this.config.samples, this.directions);
      this.test = draw(this.config, 3, NEW_SAMPLES, this.directions);
      this.network = new Network(this.config);
      this.modalities = this.network.modalities;
      this.epochs = 0;
      this.position = 0;
      this.order = null;
      this.diverged = false;
      this.seen = [];
      this.history = [this.judge()];
    }

    get done() {
      return this.diverged || this.epochs >= this.config.epochs;
    }

    /** The numbers of the next batch's samples. Where the batch is standardised, a last one of a single sample is left out. */
    nextBatch() {
      if (this.order === null) this.order = new Random(this.config.seed, 1000 + this.epochs).permutation(this.train.n);
      const from = this.position;
      const to = Math.min(from + BATCH, this.train.n);
      const rest = this.config.normalise === "batch" && this.train.n - to === 1 ? 1 : 0;
      this.position = to + rest;
      return this.order.subarray(from, to);
    }

    /** One batch. Returns what was measured; at the end of an epoch both data are judged, and `history` grows. */
    step() {
      const chosen = this.nextBatch();
      const measured = this.update(chosen);
      this.seen.push(measured);
      if (!Number.isFinite(measured.loss)) this.diverged = true;
      if (this.position >= this.train.n || this.diverged) {
        this.epochs += 1;
        this.position = 0;
        this.order = null;
        this.history.push({ ...this.judge(), ...summary(this.seen, this.modalities) });
        this.seen = [];
      }
      return measured;
    }

    epoch() {
      const before = this.epochs;
      while (this.epochs === before && !this.done) this.step();
      return this.history[this.history.length - 1];
    }

    /** The samples of a batch, gathered. */
    gather(chosen) {
      const n = chosen.length;
      const x = {};
      for (const m of this.modalities) {
        x[m] = new Float64Array(n * DIMS[m]);
        for (let i = 0; i < n; i++) x[m].set(this.train.x[m].subarray(chosen[i] * DIMS[m], (chosen[i] + 1) * DIMS[m]), i * DIMS[m]);
      }
      return { x, y: Int32Array.from(chosen, (i) => this.train.y[i]), n };
    }

    /** One update by the samples `chosen`. */
    update(chosen) {
      const { network, config } = this;
      const { x, y, n } = this.gather(chosen);
      for (const t of network.tensors) t.g.fill(0);
      const said = network.forward(x, n, true);
      const ratio = this.modalities.length > 1 ? Math.exp(logScore(said.unimodal.fast, y, n) - logScore(said.unimodal.slow, y, n)) : 1;
      const measured = { ratio, coefficient: {}, gradient: {}, length: {} };
      for (const m of this.modalities) {
        measured.coefficient[m] = 1;
        measured.length[m] = meanLength(said.passes[m].features, n);
      }
      if (config.method === "mla") return this.turns(said, y, n, measured);
      const { weights } = network;
      const joint = crossEntropy(said.fused, y, n);
      measured.loss = weights.joint * joint.loss;
      const back = network.headBack(said.passes, joint.gradient.map((g) => g * weights.joint), n);
      for (const m of this.modalities) {
        if (network.heads[m] && weights[m]) {
          const own = crossEntropy(said.unimodal[m], y, n);
          measured.loss += weights[m] * own.loss;
          const df = network.heads[m].backward(said.passes[m].features, own.gradient.map((g) => g * weights[m]), n, true);
          for (let i = 0; i < df.length; i++) back[m][i] += df[i];
        }
        network.encoders[m].backward(said.passes[m], back[m]);
        measured.gradient[m] = norm(network.tensorsOf(m));
      }
      if (config.method === "ogm") this.modulate(measured);
      this.optimise(this.moving(weights));
      return measured;
    }

    /** What the optimiser steps over: all that a loss reached. */
    moving(weights) {
      const { network } = this;
      const reached = network.modalities.filter((m) => weights.joint || weights[m]).flatMap((m) => network.tensorsOf(m));
      const heads = network.modalities.filter((m) => network.heads[m] && weights[m]).flatMap((m) => network.heads[m].tensors);
      return [...reached, ...(weights.joint ? network.head.tensors : []), ...heads];
    }

    /** OGM (Peng et al., CVPR 2022, Eq. 10), without the noise of GE: the encoder that is ahead gets a smaller gradient. */
    modulate(measured) {
      for (const m of this.modalities) {
        const ahead = m === "fast" ? measured.ratio : 1 / measured.ratio;
        if (ahead <= 1) continue;
        const k = 1 - Math.tanh(this.config.alpha * ahead);
        measured.coefficient[m] = k;
        for (const t of this.network.tensorsOf(m)) for (let i = 0; i < t.g.length; i++) t.g[i] *= k;
      }
    }

    /** MLA (Zhang et al., CVPR 2024): each modality in turn moves its encoder and the shared head, within the projection. */
    turns(said, y, n, measured) {
      const { network } = this;
      measured.loss = 0;
      for (const m of this.modalities) {
        for (const t of network.tensors) t.g.fill(0);
        const pass = said.passes[m];
        const own = crossEntropy(network.head.forward(pass.features, n), y, n); // by the head as the turn before left it
        measured.loss += own.loss;
        network.encoders[m].backward(pass, network.head.backward(pass.features, own.gradient, n, true));
        measured.gradient[m] = norm(network.tensorsOf(m));
        project(network.head.weight.g, network.projection, WIDTH);
        remember(network.projection, meanFeature(pass.features, n), this.config.ridge, WIDTH);
        this.optimise([...network.tensorsOf(m), ...network.head.tensors]);
      }
      return measured;
    }

    /** One step of Adam, or of SGD with momentum 0.9, as torch takes it. */
    optimise(tensors) {
      const { lr, optimizer } = this.config;
      for (const t of tensors) {
        t.steps += 1;
        const { w, g, m, v } = t;
        if (optimizer === "sgd") {
          for (let i = 0; i < w.length; i++) {
            m[i] = 0.9 * m[i] + g[i];
            w[i] -= lr * m[i];
          }
          continue;
        }
        const rate = lr / (1 - 0.9 ** t.steps);
        const root = Math.sqrt(1 - 0.999 ** t.steps);
        for (let i = 0; i < w.length; i++) {
          m[i] += 0.1 * (g[i] - m[i]);
          v[i] = 0.999 * v[i] + 0.001 * g[i] * g[i];
          w[i] -= (rate * m[i]) / (Math.sqrt(v[i]) / root + 1e-8);
        }
      }
    }

    /** Accuracy and loss of every head, on the data it learns from and on new ones. */
    judge() {
      const found = {};
      for (const part of ["train", "test"]) {
        const { x, y, n } = this[part];
        const said = this.network.forward(x, n, false);
        const heads = { both: said.predicted, ...said.unimodal };
        if (this.modalities.length === 1) delete heads.both;
        found[part] = {};
        for (const head in heads) found[part][head] = score(heads[head], y, n);
        if (part === "train") {
          found.length = {};
          for (const m of this.modalities) found.length[m] = meanLength(said.passes[m].features, n);
        }
      }
      return found;
    }

    /** What one modality says on a plane through its inputs, [size, size], as the probability of the second class. Right and up
     *  are the two directions that matter: for fast u and a direction that tells nothing, for slow v and w. */
    plane(modality, size) {
      const { u, across, v, w } = this.directions;
      const [right, up] = modality === "fast" ? [u, across] : [v, w];
      const [dims, gain] = [DIMS[modality], modality === "fast" ? 2 : this.config.slowGain];
      const reach = PLANE * gain;
      const n = size * size;
      const x = new Float64Array(n * dims);
      for (let i = 0; i < n; i++) {
        const a = reach * ((2 * (i % size)) / (size - 1) - 1);
        const b = reach * (1 - (2 * Math.floor(i / size)) / (size - 1));
        for (let k = 0; k < dims; k++) x[i * dims + k] = a * right[k] + b * up[k];
      }
      const pass = this.network.encoders[modality].forward(x, n, false);
      const logits = this.own(modality, pass, n);
      return Float64Array.from({ length: n }, (_, i) => 1 / (1 + Math.exp(logits[2 * i] - logits[2 * i + 1])));
    }

    own(modality, pass, n) {
      const { network } = this;
      if (network.config.method === "mla") return network.head.forward(pass.features, n);
      if (network.heads[modality]) return network.heads[modality].forward(pass.features, n);
      return network.columns(pass.features, n, network.modalities.indexOf(modality));
    }

    /** The first `count` new samples in that plane: [{right, up, label}], from -1 to 1 where they are inside. */
    points(modality, count) {
      const { u, across, v, w } = this.directions;
      const [a, b] = modality === "fast" ? [u, across] : [v, w];
      const dims = DIMS[modality];
      const reach = PLANE * (modality === "fast" ? 2 : this.config.slowGain);
      return Array.from({ length: count }, (_, i) => {
        let right = 0;
        let up = 0;
        for (let k = 0; k < dims; k++) {
          const value = this.test.x[modality][i * dims + k];
          right += value * a[k];
          up += value * b[k];
        }
        return { right: right / reach, up: up / reach, label: this.test.y[i] };
      });
    }
  }

  const PLANE = 2.5; // how far a plane reaches, in units of the distance of a cluster from the middle

  function meanLength(features, n) {
    let sum = 0;
    for (let i = 0; i < n; i++) {
      let square = 0;
      for (let k = i * WIDTH; k < (i + 1) * WIDTH; k++) square += features[k] * features[k];
      sum += Math.sqrt(square) / n;
    }
    return sum;
  }

  function meanFeature(features, n) {
    const mean = new Float64Array(WIDTH);
    for (let i = 0; i < features.length; i++) mean[i % WIDTH] += features[i] / n;
    return mean;
  }

  /** G <- G P, in place: [2, D] [D, D]. */
  function project(g, p, size) {
    const before = Float64Array.from(g);
    g.fill(0);
    for (let c = 0; c < CLASSES; c++) {
      for (let i = 0; i < size; i++) for (let k = 0; k < size; k++) g[c * size + k] += before[c * size + i] * p[i * size + k];
    }
  }

  /** P <- P - s s^T with s = P h / sqrt(ridge + h^T P h), in place. */
  function remember(p, h, ridge, size) {
    const q = new Float64Array(size);
    let dot = 0;
    for (let i = 0; i < size; i++) {
      for (let k = 0; k < size; k++) q[i] += p[i * size + k] * h[k];
      dot += q[i] * h[i];
    }
    const scale = 1 / Math.sqrt(ridge + Math.max(0, dot));
    for (let i = 0; i < size; i++) for (let k = 0; k < size; k++) p[i * size + k] -= q[i] * q[k] * scale * scale;
  }

  function score(logits, y, n) {
    const { loss } = crossEntropy(logits, y, n);
    let right = 0;
    for (let i = 0; i < n; i++) right += (logits[2 * i + 1] > logits[2 * i] ? 1 : 0) === y[i] ? 1 : 0;
    return { accuracy: right / n, loss };
  }

  /** An epoch's steps in one row: means, of ratios the geometric one. */
  function summary(steps, modalities) {
    const row = { ratio: Math.exp(steps.reduce((sum, s) => sum + Math.log(s.ratio), 0) / steps.length), gradient: {}, coefficient: {} };
    for (const m of modalities) {
      for (const what of ["gradient", "coefficient"]) row[what][m] = steps.reduce((sum, s) => sum + s[what][m], 0) / steps.length;
    }
    return row;
  }

  // ---- in words ------------------------------------------------------------------------------------------------------------

  const CHANCE = 0.5;

  /** {kind, text}: what is happening, from the numbers of the run so far. The kinds are those that STORIES promise. */
  function describe(run) {
    const { history, modalities } = run;
    const last = history[history.length - 1];
    if (run.diverged) return { kind: "diverged", text: "The loss became infinite: the learning rate is too large for this network." };
    if (history.length === 1) return { kind: "start", text: "Nothing is learned yet: every head guesses. Press play." };
    const upper = (word) => word[0].toUpperCase() + word.slice(1);
    const percent = (share) => `${Math.round(100 * share)} %`;
    const [test, train] = [(head) => last.test[head].accuracy, (head) => last.train[head].accuracy];
    const gap = (head) => train(head) - test(head);
    if (modalities.length === 1) {
      const [m] = modalities;
      if (gap(m) > 0.15)
        return { kind: "heart", text: `${upper(m)} is learned by heart: right on ${percent(train(m))} of the training data, on ${percent(test(m))} of new ones.` };
      if (test(m) < CHANCE + 0.1) return { kind: "chance", text: `${upper(m)} alone has not begun to learn: ${percent(test(m))} of new data, as by chance.` };
      return { kind: "learned", text: `${upper(m)} alone is right on ${percent(test(m))} of new data.` };
    }
    const [ahead, behind] = test("fast") >= test("slow") ? ["fast", "slow"] : ["slow", "fast"];
    const shrunk = history[1].gradient[behind] / last.gradient[behind];
    if (test(behind) < CHANCE + 0.1 && test(ahead) > CHANCE + 0.15 && test("both") < test(ahead) + 0.02) {
      const less = shrunk > 1.5 ? `, and the gradient of its encoder is ${times(shrunk)} smaller than in the first epoch` : "";
      const why = train("both") > 0.9 ? `${upper(ahead)} has driven the loss down (${percent(train("both"))} of the training data are right). ` : "";
      return { kind: "starved", text: `${why}${upper(behind)} has learned nothing: ${percent(test(behind))} of new data, as by chance${less}. ${upper(behind)} starves.` };
    }
    const best = Math.max(test("fast"), test("slow"));
    const together = `Together ${percent(test("both"))} of new data are right, by fast's own head ${percent(test("fast"))}, by slow's ${percent(test("slow"))}.`;
    if (test("both") >= best - 0.06 && test("both") > 0.88) return { kind: "used", text: `${together} Both modalities are used.` };
    if (test("both") < test(behind) + 0.06 && test(behind) < best - 0.06) return { kind: "unheard", text: `${together} ${upper(ahead)} is learned, and the joint answer hardly uses it.` };
    if (test("both") < best - 0.03) return { kind: "partly", text: `${together} ${upper(ahead)} by itself would be better than both: the joint answer uses it in part.` };
    if (gap("both") > 0.15)
      return { kind: "heart", text: `${together} The training data are known by heart (${percent(train("both"))} right).` };
    return { kind: "together", text: together };
  }

  function times(ratio) {
    return ratio > 1e4 ? "many thousand times" : `${ratio < 10 ? ratio.toFixed(1) : Math.round(ratio)} times`;
  }

  const api = { STORIES, describe, MODALITIES, DIMS, NUMBERS, CHOICES, BATCH, NEW_SAMPLES, WIDTH, defaults, configure, Random, layout, draw, Run };
  if (typeof module !== "undefined") module.exports = api;
  else root.Playground = api;
})(typeof self !== "undefined" ? self : this);
