// New events from noise, with temperature and seed.

import { $, html, latest } from "./dom.js";
import { contextControl } from "./context.js";
import { isPicture, shown } from "./event.js";
import { MAX_SEED } from "./noise.js";
import { extent, histogram, scatter } from "./plots.js";

const MAX_PLOTS = 12;

export function startSamples(page) {
  const card = $("samples");
  const { about, model } = page;
  const draw = latest(card, async () => {
    const temperature = Number($("temperature").value);
    $("temperature-shown").textContent = temperature.toFixed(2);
    const n = howMany(about.event, model.size);
    const x = model.values(await model.sample(n, seed(), temperature, context.rows(n)));
    $("sampled").replaceChildren(...samplesView(rowsOf(x, model.size), page));
  });
  const context = contextControl($("samples-context"), page, true, draw);
  $("temperature").addEventListener("input", draw);
  $("seed").addEventListener("input", draw);
  $("another").addEventListener("click", () => {
    $("seed").value = crypto.getRandomValues(new Uint32Array(1))[0];
    draw();
  });
  return draw();
}

export function rowsOf(x, size) {
  return Array.from({ length: x.length / size }, (_, i) => x.subarray(i * size, (i + 1) * size));
}

function seed() {
  const text = $("seed").value.trim();
  if (!/^\d+$/.test(text) || BigInt(text) > MAX_SEED) {
    throw new Error(`Seed: “${text}” is not a whole number from 0 to ${MAX_SEED}.`);
  }
  return BigInt(text);
}

function howMany(event, size) {
  if (!isPicture(event)) return 500;
  return size <= 256 ? 48 : size <= 1024 ? 24 : 12;
}

function samplesView(samples, { about, examples }) {
  if (isPicture(about.event)) return samples.map((values, i) => shown(values, about, `invented picture ${i + 1}`));
  if (about.event.shape.length === 1 && about.event.shape[0] === 2) {
    const layers = [
      { points: samples, kind: "invented" },
      { points: examples, kind: "real" },
    ];
    return [plane(layers, examples, `${samples.length} invented points and ${examples.length} real ones`), legend()];
  }
  const count = Math.min(samples[0].length, MAX_PLOTS);
  return [...Array.from({ length: count }, (_, k) => column(samples, examples, k, about.event)), legend()];
}

/** A map of the plane, as wide as the real points and a fifth more on each side. */
export function plane(layers, examples, label, clicked) {
  const ranges = [0, 1].map((k) => {
    const [low, high] = extent(examples.map((row) => row[k]));
    return [low - (high - low) / 5, high + (high - low) / 5];
  });
  return scatter(layers, ranges, label, clicked);
}

function column(samples, examples, k, { levels }) {
  const [mine, real] = [samples, examples].map((rows) => rows.map((row) => row[k]));
  const [range, bins] = levels && levels <= 30 ? [[-0.5, levels - 0.5], levels] : [extent([...mine, ...real])];
  const plot = histogram(mine, real, [], range, `how often x${k + 1} takes which value`, bins);
  return html("figure", {}, html("figcaption", {}, `x${k + 1}`), plot);
}

function legend() {
  const [mine, real] = ["invented", "real"].map((kind) => html("span", { class: `key ${kind}` }, kind));
  return html("p", { class: "legend" }, mine, " ", real);
}
