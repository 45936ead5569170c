// New events from noise, with temperature and seed.

import { $, html, latest } from "./dom.js";
import { contextControl } from "./context.js";
import { inUnits, isPicture, isPoint, shown, table, valueName, valueText } from "./event.js";
import { MAX_SEED } from "./noise.js";
import { extent, histogram, scatter, steps } from "./plots.js";
import { columnText } from "./table.js";

const MAX_PLOTS = 12;
const MAX_LISTED = 8;

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
  if (isPoint(about)) {
    const layers = [
      { points: samples, kind: "invented" },
      { points: examples, kind: "real" },
    ];
    const label = `${samples.length} invented points and ${examples.length} real ones`;
    return [plane(layers, examples, about, label), legend(about), ...listed(samples, about)];
  }
  const count = Math.min(samples[0].length, MAX_PLOTS);
  return [...Array.from({ length: count }, (_, k) => valuePlot(samples, examples, k, about)), legend(about), ...listed(samples, about)];
}

/** A map of the plane, as wide as the real points and a fifth more on each side. `clicked` as for `scatter`. */
export function plane(layers, examples, about, label, clicked) {
  const point = (event) => Array.from(event, (value, i) => inUnits(about, i, value));
  const ranges = [0, 1].map((k) => {
    const [low, high] = extent(examples.map((row) => point(row)[k]));
    return [low - (high - low) / 5, high + (high - low) / 5];
  });
  const placed = layers.map(({ points, kind }) => ({ points: points.map(point), kind }));
  const names = about.preprocessing ? [0, 1].map((i) => valueName(about, i)) : ["", ""];
  return scatter(placed, ranges, label, clicked, names);
}

/** How often value k of an event is what. */
function valuePlot(samples, examples, k, about) {
  const [mine, real] = [samples, examples].map((rows) => rows.map((row) => inUnits(about, k, row[k])));
  const column = about.preprocessing?.event[k];
  const name = valueName(about, k);
  const plot = column?.kind === "category" ? sharesOf(column, mine, real) : bars(mine, real, name, column, about.event);
  return html("figure", {}, html("figcaption", {}, name), plot);
}

function bars(mine, real, name, column, { levels }) {
  const few = levels && levels <= 30;
  const wide = column?.kind === "integer" ? steps([...mine, ...real], column.scale) : [extent([...mine, ...real])];
  const [range, bins] = few ? [[-0.5, levels - 0.5], levels] : wide;
  const text = column && ((has) => columnText(column, has));
  return histogram(mine, real, [], range, `how often ${name} takes which value`, bins, text);
}

/** The shares of categories, as a table. */
function sharesOf(column, mine, real) {
  const share = (codes, k) => `${Math.round((100 * codes.filter((code) => code === k).length) / codes.length)} %`;
  const rows = column.categories.map((_, k) => [columnText(column, k), share(mine, k), share(real, k)]);
  return table(["", "invented", "real"], rows);
}

/** The first samples, as the rows of a table. */
function listed(samples, about) {
  if (!about.preprocessing) return [];
  const names = about.preprocessing.event.slice(0, MAX_PLOTS).map(({ column }) => column);
  const first = samples.slice(0, MAX_LISTED);
  const rows = first.map((row) => names.map((_, i) => valueText(about, i, row[i])));
  const title = html("p", {}, `The first ${first.length} of ${samples.length}:`);
  return [html("div", { class: "listed" }, title, table(names, rows))];
}

function legend({ contexts, preprocessing }) {
  const [mine, real] = ["invented", "real"].map((kind) => html("span", { class: `key ${kind}` }, kind));
  const which = contexts && preprocessing ? " (all of them, whatever the model is told)" : "";
  return html("p", { class: "legend" }, mine, " ", real, html("small", {}, which));
}
