// Starts the page.

import { $ } from "./dom.js";
import { startBetween } from "./between.js";
import { isPicture, isPoint, nameOf } from "./event.js";
import { startExample, unit } from "./example.js";
import { Model, product } from "./model.js";
import { normal, philox4x32, uniform } from "./noise.js";
import { rowsOf, startSamples } from "./samples.js";
import { readAbout, unpack } from "./unpack.js";

async function start() {
  const about = readAbout();
  describe(about);
  const graphs = ["encoder", ...(about.directions === "both" ? ["decoder"] : [])]; // a page has events, so an encoder
  const some = Object.entries({ base: about.noise, dequantizer: about.dequantization, weights: about.weights_file })
    .filter(([, there]) => there)
    .map(([block]) => block);
  const blocks = ["wasm", ...graphs, "examples", ...some];
  const files = Object.fromEntries(await Promise.all(blocks.map(async (id) => [id, await unpack(id)])));
  const model = await Model.open(about, files);
  const events = new Float32Array(files.examples.buffer);
  const page = { about, model, examples: rowsOf(model.values(events), product(about.event.shape)) };
  globalThis.flowkit = { ...page, noise: { normal, philox4x32, uniform } }; // at hand in the browser's console
  $("cards").hidden = false;
  if (model.decodes) {
    await startSamples(page);
    await startBetween(page);
  } else for (const part of document.querySelectorAll("#samples, #between, .decoded")) part.remove();
  await startExample(page);
  $("state").remove();
}

/** Puts into the page's text what it calls an event. */
function describe(about) {
  const [one, many] = nameOf(about);
  for (const word of document.querySelectorAll(".one")) word.textContent = one;
  for (const word of document.querySelectorAll(".many")) word.textContent = many;
  const [, height, width] = about.event.shape;
  if (isPicture(about.event)) $("size").textContent = `${width} × ${height} pixels`;
  if (isPoint(about)) $("size").textContent = `Click the map to choose another ${one}.`;
  $("unit").textContent = unit(about.event);
  $("made-by").textContent = `Made with flowkit ${about.flowkit} from model ${about.model.slice(0, 12)}.`;
  $("licences").addEventListener("toggle", async () => {
    if (!$("licence-text").textContent) $("licence-text").textContent = new TextDecoder().decode(await unpack("notices"));
  });
}

start().then(
  () => (document.body.dataset.state = "ready"),
  (error) => {
    document.body.dataset.state = "failed";
    $("state").textContent = `This page can't start here: ${error.message}. A browser of 2024 or later should do.`;
    throw error;
  },
);
