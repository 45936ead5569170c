// One event closely: what the model sees, how likely it is, and whether it survives the way there and back.

import { $, format, html, latest, parseNumbers } from "./dom.js";
import { contextControl } from "./context.js";
import { isPicture, nameOf, picker, shades, shown, table } from "./event.js";
import { heat, readPicture } from "./images.js";
import { extent, histogram } from "./plots.js";
import { plane } from "./samples.js";

export function startExample(page) {
  const card = $("example");
  const { about, examples, model } = page;
  let read = async () => examples[0];
  const draw = latest(card, async () => {
    const x = await read();
    const given = context.rows();
    const score = await model.score(x, given);
    $("seen").replaceChildren(seen(x, page));
    $("scored").replaceChildren(...scoreView(score, about));
    if (!model.decodes) return;
    const points = model.points(x);
    const back = await model.decode((await model.encode(points, given)).latents, given);
    $("returned").replaceChildren(...errorView(points, back, page));
  });
  const context = contextControl($("example-context"), page, false, draw);
  const mark = picker($("examples"), page, "example", 0, (index) => choose(index));
  const own = isPicture(about.event) ? ownPicture : ownNumbers;
  const fill = own(about, (reading) => {
    read = reading;
    mark(undefined);
    draw();
  });
  function choose(index) {
    read = async () => examples[index];
    fill(examples[index]);
    if (about.contexts) context.set(about.contexts[index]);
    return draw();
  }
  return choose(0);
}

/** A picture that was dropped or chosen, at the event's size and in its shades. */
function ownPicture(about, chosen) {
  let file;
  $("own-numbers").remove();
  const take = (files) => {
    [file] = files;
    if (file) chosen(read);
  };
  async function read() {
    const [black, white] = shades(about);
    return (await readPicture(file, about.event.shape)).map((shade) => {
      const value = black + ($("inverted").checked ? 1 - shade : shade) * (white - black);
      return about.event.levels ? Math.round(value) : value;
    });
  }
  $("file").addEventListener("change", () => take($("file").files));
  $("inverted").addEventListener("change", () => file && chosen(read));
  for (const kind of ["dragover", "dragleave", "drop"]) {
    document.addEventListener(kind, (drag) => {
      drag.preventDefault(); // else the browser leaves for the file
      $("own-picture").classList.toggle("over", kind === "dragover");
      if (kind === "drop") take(drag.dataTransfer.files);
    });
  }
  return () => {};
}

/** Numbers that were typed. */
function ownNumbers(about, chosen) {
  $("own-picture").remove();
  const { levels, shape, domain } = about.event;
  const count = shape.reduce((a, b) => a * b, 1);
  $("numbers").addEventListener("change", () =>
    chosen(async () => {
      const numbers = Float32Array.from(parseNumbers($("numbers").value, count, "Your numbers"));
      const bad = levels ? numbers.find((k) => !Number.isInteger(k) || k < 0 || k >= levels) : undefined;
      if (bad !== undefined) throw new Error(`Your numbers: ${bad} is not a whole number from 0 to ${levels - 1}.`);
      const far = numbers.findIndex((value, i) => outside(value, endsOf(domain, i)));
      if (far >= 0) {
        const [low, high] = endsOf(domain, far).map((end, k) => end ?? (k ? "∞" : "−∞"));
        throw new Error(`Your numbers: ${format(numbers[far])} is not between ${low} and ${high}, as all of the data are.`);
      }
      return numbers;
    }),
  );
  return (values) => ($("numbers").value = Array.from(values, (value) => format(value)).join(", "));
}

/** The ends between which value i of an event lies; null for an infinite one. */
const endsOf = (domain, i) => (domain ? domain[domain.length > 1 ? i : 0] : [null, null]);

const outside = (value, [low, high]) =>
  (low !== null && value < Math.fround(low)) || (high !== null && value > Math.fround(high));

function seen(x, { about, examples }) {
  if (nameOf(about.event)[0] !== "point") return shown(x, about, "what the model sees");
  const layers = [
    { points: examples, kind: "real" },
    { points: [x], kind: "mark" },
  ];
  const label = `the point ${format(x[0])}, ${format(x[1])} among ${examples.length} real ones`;
  return plane(layers, examples, label, (point) => {
    $("numbers").value = point.map((value) => format(value)).join(", ");
    $("numbers").dispatchEvent(new Event("change"));
  });
}

function scoreView(score, about) {
  const [, many] = nameOf(about.event);
  if (!Number.isFinite(score)) {
    return [html("p", { class: "figure" }, "none"), html("p", {}, "This is too far from anything the model has seen.")];
  }
  const figure = html("p", { class: "figure" }, html("data", { id: "score", value: score }, score.toFixed(3)), ` ${unitName(about.event)}${LIKELIHOODS[about.likelihood]}`);
  const likelier = about.scores.filter((other) => other > score).length;
  const rank = html("p", {}, `Likelier than ${likelier} of ${about.scores.length} ${many} that it was not trained on.`);
  return [figure, rank, ...verdict(score, about), scorePlot(score, about)];
}

/** What stands behind a score, as flowkit_runtime prints it. */
const LIKELIHOODS = {
  exact: "",
  lower_bound: " (from a lower bound of the likelihood)",
  estimate: " (from an estimate of the likelihood)",
};

const unitName = (event) =>
  !event.levels ? "nats" : isPicture(event) && event.shape[0] === 1 ? "bits per pixel" : "bits per value";

/** What the unit of a score means. */
export function unit(event) {
  if (!event.levels) return "in nats: −ln of the probability density that it gives";
  return `in ${unitName(event)}: what writing one down takes on average, where plainly it takes ${format(Math.log2(event.levels), 3)}`;
}

function verdict(score, { threshold, event }) {
  if (!threshold) return [];
  const [, many] = nameOf(event);
  const text = `${percent(threshold)} of ${threshold.events} such ${many} stay below ${format(threshold.score)}`;
  const unusual = score > threshold.score;
  const simple = isPicture(event) ? `simple ${many}, such as blank ones` : `simple ${many}`;
  const hint = `Only a high score is called unusual. Likelihood prefers ${simple}: they can score lower than any real one.`;
  return [
    html("p", { class: unusual ? "unusual" : "usual" }, `${unusual ? "Unusual" : "Not unusual"}: ${text}.`),
    html("p", { class: "hint" }, hint),
  ];
}

const percent = (threshold) => `${format(100 * threshold.quantile, 6)} %`;

function scorePlot(score, { scores, threshold }) {
  const marks = [{ at: score, text: "this one", kind: "mark" }];
  if (threshold) marks.push({ at: threshold.score, text: percent(threshold), kind: "limit" });
  const range = extent([...scores, ...marks.map((mark) => mark.at)]);
  return histogram(scores, [], marks, range, `scores of ${scores.length} held-out examples; this one: ${format(score)}`);
}

function errorView(points, back, { about, model }) {
  const errors = points.map((value, i) => Math.abs(value - back[i]));
  const largest = errors.reduce((a, b) => Math.max(a, b), 0);
  const figure = html("p", { class: "figure" }, html("data", { id: "largest", value: largest }, format(largest, 2)));
  const unit = model.levels ? ", in steps from one value to the next" : "";
  const caption = html("p", {}, `The largest error${unit}.`, ...exactly(points, back, model));
  if (isPicture(about.event)) return [figure, caption, ...errorMap(errors, largest, about.event.shape)];
  const rows = Array.from(points, (value, i) => [`x${i + 1}`, format(value), format(back[i]), format(errors[i], 2)]);
  return [figure, caption, table(["", "went in", "came back", "error"], rows)];
}

/** For levels, which come back exactly if what was decoded lies in the right cell. */
function exactly(points, back, model) {
  if (!model.levels) return [];
  const [before, after] = [model.values(points), model.values(back)];
  const same = before.filter((level, i) => level === after[i]).length;
  return [` ${same} of ${before.length} values come back exactly.`];
}

function errorMap(errors, largest, [channels, height, width]) {
  const worst = Array.from({ length: height * width }, (_, pixel) =>
    Math.max(...Array.from({ length: channels }, (_, channel) => errors[channel * height * width + pixel])),
  );
  const shares = worst.map((error) => (largest ? error / largest : 0));
  const key = heat(Array.from({ length: 64 }, (_, i) => i / 63), 1, 64, "colours of the map");
  const legend = html("p", { class: "ramp" }, "0", key, format(largest, 2));
  return [heat(shares, height, width, `errors of ${worst.length} pixels, up to ${format(largest, 2)}`), legend];
}
