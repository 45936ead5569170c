// The flow: its graphs in onnxruntime-web, and what flowkit_runtime's Model does with them.
//
// Events and latents are flat Float32Arrays of n rows. A context is a list of rows, n of them or one for all; a row is
// a list of numbers, for a class its index. One class for all rows may be its index alone.

import { breathe } from "./dom.js";
import { DEQUANTIZATION_STREAM, normal, uniform } from "./noise.js";

const VALUES_AT_ONCE = 2 ** 16;

export const product = (sizes) => sizes.reduce((a, b) => a * b, 1);

/** The ends between which value i of an event lies; null for an infinite one. */
export const endsOf = (domain, i) => (domain ? domain[domain.length > 1 ? i : 0] : [null, null]);

/** Whether a value lies outside of these ends. */
export const outside = (value, [low, high]) =>
  (low !== null && value < Math.fround(low)) || (high !== null && value > Math.fround(high));

export class Model {
  #encoder;
  #decoder;
  #base; // undefined if all latents are standard normal
  #dequantizer; // undefined if the dequantization noise is uniform
  #last = Promise.resolve(); // a session runs one thing at a time

  /** Starts onnxruntime-web with what the page holds: nothing is fetched. */
  static async open(about, files) {
    ort.env.wasm.numThreads = 1; // more need headers that a file on disk doesn't have
    ort.env.wasm.wasmBinary = files.wasm;
    const weights = about.weights_file && [{ path: about.weights_file, data: files.weights }];
    const options = { executionProviders: ["wasm"], ...(weights && { externalData: weights }) };
    const open = (file) => file && ort.InferenceSession.create(file, options);
    const names = ["encoder", "decoder", "base", "dequantizer"];
    const sessions = [];
    for (const name of names) sessions.push(await open(files[name]));
    return new Model(about, ...sessions);
  }

  constructor(about, encoder, decoder, base, dequantizer) {
    this.levels = about.event.levels;
    this.shape = about.event.shape;
    this.size = product(about.event.shape);
    this.latents = about.latents;
    this.noise = about.noise ?? about.latents.map((shape) => ({ kind: "normal", shape }));
    this.context = about.context;
    this.#encoder = encoder;
    this.#decoder = decoder;
    this.#base = base;
    this.#dequantizer = dequantizer;
    this.dequantization = about.dequantization;
  }

  /** Whether the flow has an inverse: without one it draws no samples. */
  get decodes() {
    return this.#decoder !== undefined;
  }

  /** {latents: one array each, logProb [n]} of continuous events x. */
  async encode(x, context = null) {
    const names = this.#latentNames();
    const inputs = { x: { data: x, shape: this.shape } };
    const found = await this.#run(this.#encoder, inputs, [...names, "log_prob"], x.length / this.size, context);
    return { latents: names.map((name) => found[name]), logProb: found.log_prob };
  }

  /** Continuous events of latents. */
  async decode(latents, context = null) {
    const inputs = {};
    this.latents.forEach((shape, i) => (inputs[`z_${i + 1}`] = { data: latents[i], shape }));
    const n = latents[0].length / product(this.latents[0]);
    return (await this.#run(this.#decoder, inputs, ["x"], n, context)).x;
  }

  /** n continuous events, decoded from what the bases make of the seed's noise. Temperature scales normals alone. */
  async sample(n, seed, temperature, context = null) {
    const noise = drawn(this.noise, n, seed, temperature, 0);
    return this.decode(this.#base ? await this.#fromNoise(noise, n, context) : noise, context);
  }

  async #fromNoise(noise, n, context) {
    const inputs = {};
    this.noise.forEach(({ shape }, i) => (inputs[`noise_${i + 1}`] = { data: noise[i], shape }));
    const names = this.#latentNames();
    const found = await this.#run(this.#base, inputs, names, n, context);
    return names.map((name) => found[name]);
  }

  #latentNames() {
    return this.latents.map((_, i) => `z_${i + 1}`);
  }

  /** How unlikely one event is, lower is likelier: bits per value for levels, after adding noise; else nats. */
  async score(x, context = null, seed = 0n) {
    if (!this.levels) return -(await this.encode(x, context)).logProb[0];
    const { u, logQ } = await this.#dequantizationNoise(x, seed);
    const { logProb } = await this.encode(this.dequantized(x, u), context);
    return (logQ - logProb[0]) / (this.size * Math.LN2);
  }

  /** ln p(c) + ln p(x | c) of one event for each class c, with the noise that `score` adds. */
  async joint(x, seed = 0n) {
    const { u, logQ } = this.levels ? await this.#dequantizationNoise(x, seed) : { logQ: 0 };
    const points = this.levels ? this.dequantized(x, u) : x;
    const shares = this.context.probabilities;
    const copies = Float32Array.from({ length: shares.length * this.size }, (_, i) => points[i % this.size]);
    const { logProb } = await this.encode(copies, shares.map((_, label) => [label]));
    return shares.map((share, label) => Math.log(share) + logProb[label] - logQ);
  }

  /** The noise u of one event and its log-density. */
  async #dequantizationNoise(x, seed) {
    if (!this.#dequantizer) return { u: uniform(seed, DEQUANTIZATION_STREAM, x.length), logQ: 0 };
    const noise = drawn(this.dequantization, 1, seed, 1, DEQUANTIZATION_STREAM);
    const inputs = { k: { data: Float32Array.from(x), shape: this.shape } };
    this.dequantization.forEach(({ shape }, i) => {
      inputs[`dequantization_noise_${i + 1}`] = { data: noise[i], shape };
    });
    const found = await this.#run(this.#dequantizer, inputs, ["u", "log_q"], 1, null);
    return { u: found.u, logQ: found.log_q[0] };
  }

  /** Continuous events on the way from a to b, at each t in [0, 1]: along an arc in the space of latents, or along a
   * straight line if a base isn't the standard normal. */
  async interpolate(a, b, ts, context = null) {
    const from = (await this.encode(this.points(a), context)).latents;
    const to = (await this.encode(this.points(b), context)).latents;
    const [p, q] = this.#base ? LINE : arc(from, to);
    const latents = from.map((z, i) =>
      Float32Array.from(ts.flatMap((t) => Array.from(z, (value, k) => p(t) * value + q(t) * to[i][k]))),
    );
    return this.decode(latents, context);
  }

  /** k + u in fp32, kept below k + 1, to which rounding could take it. */
  dequantized(levels, noise) {
    return levels.map((level, i) => Math.min(Math.fround(level + noise[i]), below(level + 1)));
  }

  /** Where events are encoded: a level k at the middle of its cell, k + 1/2. */
  points(x) {
    return this.levels ? x.map((level) => level + 0.5) : x;
  }

  /** Continuous events as data: floor and clip, for levels. */
  values(x) {
    return this.levels ? x.map((value) => Math.min(Math.max(Math.floor(value), 0), this.levels - 1)) : x;
  }

  async #run(session, inputs, names, n, context) {
    const atOnce = Math.max(1, Math.floor(VALUES_AT_ONCE / this.size));
    const rows = session === this.#dequantizer ? null : this.#contextRows(context, n); // it takes no context
    const parts = [];
    for (let start = 0; start < n; start += atOnce) {
      const stop = Math.min(start + atOnce, n);
      const feed = this.#contextTensor(rows, start, stop);
      for (const [name, { data, shape }] of Object.entries(inputs)) {
        const size = product(shape);
        feed[name] = new ort.Tensor("float32", data.subarray(start * size, stop * size), [stop - start, ...shape]);
      }
      await breathe();
      parts.push(await this.#inTurn(() => session.run(feed, names)));
    }
    return Object.fromEntries(names.map((name) => [name, joined(parts.map((part) => part[name].data))]));
  }

  #inTurn(work) {
    const result = this.#last.then(work);
    this.#last = result.catch(() => {});
    return result;
  }

  /** A context as rows; null for a flow that takes none. Throws if it is missing, or of another shape. */
  #contextRows(context, n) {
    if (!this.context) return null;
    const { classes } = this.context;
    const size = classes ? 1 : product(this.context.shape);
    const rows = (Array.isArray(context) ? context : [context]).map((row) => [row].flat(Infinity));
    const isClass = (value) => Number.isInteger(value) && value >= 0 && value < classes;
    const isRow = (row) => row.length === size && row.every(classes ? isClass : Number.isFinite);
    if ((rows.length === 1 || rows.length === n) && rows.every(isRow)) return rows;
    const row = classes ? `the number of a class, from 0 to ${classes - 1}` : `a list of ${size} numbers`;
    throw new TypeError(`this flow needs a context: a list of ${n} rows, or of one row for all. A row is ${row}.`);
  }

  #contextTensor(rows, start, stop) {
    if (rows === null) return {};
    const values = (rows.length === 1 ? Array(stop - start).fill(rows[0]) : rows.slice(start, stop)).flat();
    if (this.context.classes) {
      return { context: new ort.Tensor("int64", BigInt64Array.from(values.map(BigInt)), [stop - start]) };
    }
    return { context: new ort.Tensor("float32", Float32Array.from(values), [stop - start, ...this.context.shape]) };
  }
}

/** Arrays of noise for n rows, each of a stream of its own, as flowkit_runtime draws them. */
function drawn(arrays, n, seed, temperature, firstStream) {
  return arrays.map(({ kind, shape }, i) => {
    const count = n * product(shape);
    if (kind === "uniform") return Float32Array.from(uniform(seed, firstStream + i, count));
    return Float32Array.from(normal(seed, firstStream + i, count), (value) => temperature * value);
  });
}

function below(positive) {
  const bits = new Uint32Array(Float32Array.of(positive).buffer);
  bits[0] -= 1;
  return new Float32Array(bits.buffer)[0];
}

const LINE = [(t) => 1 - t, (t) => t];

/** Weights p(t), q(t) of two latents on the great circle through them: the mix stays as noisy as its ends are. */
function arc(from, to) {
  const dot = (a, b) => a.reduce((sum, z, i) => sum + z.reduce((part, value, k) => part + value * b[i][k], 0), 0);
  const cosine = dot(from, to) / Math.sqrt(dot(from, from) * dot(to, to));
  const angle = Math.acos(Math.min(1, Math.max(-1, cosine)));
  if (!(Math.sin(angle) > 1e-6)) return LINE; // no circle, or no single one: a straight line
  return [(t) => Math.sin((1 - t) * angle) / Math.sin(angle), (t) => Math.sin(t * angle) / Math.sin(angle)];
}

function joined(arrays) {
  if (arrays.length === 1) return arrays[0];
  const whole = new Float32Array(arrays.reduce((sum, array) => sum + array.length, 0));
  let at = 0;
  for (const array of arrays) {
    whole.set(array, at);
    at += array.length;
  }
  return whole;
}
