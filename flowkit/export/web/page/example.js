// One event: what the model sees, how likely it is, and whether encoding and decoding change it.

import { $, format, html, latest } from "./dom.js";
import { className, contextControl } from "./context.js";
import { isPicture, isPoint, nameOf, picker, shown, table, valueName, valueText } from "./event.js";
import { heat } from "./images.js";
import { ownEvent } from "./own.js";
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
    $("seen").replaceChildren(seen(x, page, type));
    const joint = hasFewClasses(about) ? await model.joint(x) : [];
    $("scored").replaceChildren(...scoreView(score, about), ...classView(joint, about));
    if (!model.decodes) return;
    const points = model.points(x);
    const back = await model.decode((await model.encode(points, given)).latents, given);
    $("returned").replaceChildren(...errorView(points, back, page));
  });
  const context = contextControl($("example-context"), page, false, draw);
  const mark = picker($("examples"), page, "example", 0, (index) => choose(index));
  const { fill, type } = ownEvent(about, (reading) => {
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

function seen(x, { about, examples }, type) {
  if (!isPoint(about)) return shown(x, about, "what the model sees");
  const layers = [
    { points: examples, kind: "real" },
    { points: [x], kind: "mark" },
  ];
  const at = Array.from(x, (value, i) => valueText(about, i, value)).join(", ");
  return plane(layers, examples, about, `the point ${at} among ${examples.length} real ones`, type);
}

function scoreView(score, about) {
  const [, many] = nameOf(about);
  if (!Number.isFinite(score)) {
    return [html("p", { class: "figure" }, "no score"), html("p", {}, "This is too far from anything that the model has learned from.")];
  }
  const figure = html("p", { class: "figure" }, html("data", { id: "score", value: score }, score.toFixed(3)), ` ${unitName(about.event)}${LIKELIHOODS[about.likelihood]}`);
  const likelier = about.scores.filter((other) => other > score).length;
  const rank = html("p", {}, `More usual than ${likelier} of the ${about.scores.length} ${many} to choose from.`);
  return [figure, rank, ...verdict(score, about), scorePlot(score, about)];
}

const MAX_CLASSES = 100; // each takes a pass of the model
const MAX_SHOWN = 3;

const hasFewClasses = ({ context }) => context?.probabilities && context.classes <= MAX_CLASSES;

/** The score without a class, and which classes are the most probable. */
function classView(joint, { context, event }) {
  const largest = Math.max(...joint);
  if (!joint.length || !Number.isFinite(largest)) return [];
  const total = largest + Math.log(joint.reduce((sum, value) => sum + Math.exp(value - largest), 0));
  const score = -total / (event.levels ? event.shape.reduce((a, b) => a * b, 1) * Math.LN2 : 1);
  const classes = joint.map((value, k) => [Math.exp(value - total), className(context, k)]).sort(([a], [b]) => b - a);
  const shown = classes.slice(0, MAX_SHOWN).map(([share, name]) => `${name} ${format(100 * share, 3)} %`);
  const marginal = html("data", { id: "marginal", value: score }, score.toFixed(3));
  return [html("p", { id: "classes" }, "If the model isn’t told the class: ", marginal, ` ${unitName(event)}. The most probable classes: ${shown.join(", ")}.`)];
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
  if (!event.levels) return "Its unit is the nat: it is −ln of the probability density, and may be below 0.";
  const plain = format(Math.log2(event.levels), 3);
  return `It is how many ${unitName(event)} a file would need that is compressed with this model; without any model, ${plain}.`;
}

function verdict(score, about) {
  const { threshold } = about;
  if (!threshold) return [];
  const [, many] = nameOf(about);
  const text = `${percent(threshold)} of ${threshold.events} ${many} that the model has not learned from score below ${format(threshold.score)}`;
  const unusual = score > threshold.score;
  const blank = isPicture(about.event) ? ", such as blank ones," : "";
  const hint = `Only a high score is called unusual. Simple ${many}${blank} can score lower than any real one.`;
  return [
    html("p", { class: unusual ? "unusual" : "usual" }, `${unusual ? "Unusual" : "Not unusual"}: ${text}.`),
    html("p", { class: "hint" }, hint),
  ];
}

const percent = (threshold) => `${format(100 * threshold.quantile, 6)} %`;

function scorePlot(score, { scores, threshold }) {
  const marks = [{ at: score, text: "this one", kind: "mark" }];
  if (threshold) marks.push({ at: threshold.score, text: `${percent(threshold)} below`, kind: "limit" });
  const range = extent([...scores, ...marks.map((mark) => mark.at)]);
  return histogram(scores, [], marks, range, `scores of ${scores.length} examples; this one: ${format(score)}`);
}

function errorView(points, back, { about, model }) {
  const columns = about.preprocessing?.event;
  const errors = points.map((value, i) => Math.abs(value - back[i]) * (columns?.[i].scale ?? 1));
  const largest = errors.reduce((a, b) => Math.max(a, b), 0);
  const figure = html("p", { class: "figure" }, html("data", { id: "largest", value: largest }, format(largest, 2)));
  const unit = model.levels ? ", in steps from one value to the next" : "";
  const whose = columns ? ofColumn(columns[errors.findIndex((error) => Object.is(error, largest))]) : "";
  const caption = html("p", {}, `The largest difference${whose}${unit}.`, ...exactly(points, back, model));
  if (isPicture(about.event)) return [figure, caption, ...errorMap(errors, largest, about.event.shape)];
  const rows = Array.from(points, (value, i) => [
    valueName(about, i),
    ...[value, back[i]].map((each) => valueText(about, i, each)),
    format(errors[i], 2),
  ]);
  return [figure, caption, table(["", "before", "after", "difference"], rows)];
}

const ofColumn = ({ column, kind }) => `, that of ${column}${kind === "time" ? ", in days" : ""}`;

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
  return [heat(shares, height, width, `differences of ${worst.length} pixels, up to ${format(largest, 2)}`), legend];
}
