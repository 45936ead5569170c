// Columns of a table: texts that were typed become events and contexts, and their values become texts again.
//
// It is what flowkit_runtime.preprocessing does for a table of one row and seed 0. A column is {column, kind, offset,
// scale, fill, period, categories}, as in flowkit_runtime.columns. An empty text is a missing value.

import { format } from "./dom.js";
import { endsOf, outside } from "./model.js";
import { DEQUANTIZATION_STREAM, uniform } from "./noise.js";

const SECOND = 1000; // milliseconds, as in a Date
const DAY = 86400 * SECOND;
const NUMBER = /^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i;
const TIME = /^(\d{4}-\d\d-\d\d)(?:[ T](\d\d)(?::(\d\d)(?::(\d\d)(\.\d{1,9})?)?)?(?:Z|([-+])(\d\d)(?::?(\d\d))?)?)?$/;
const MAX_DATE = 8.64e15; // the last millisecond of a Date

/** The event of one text for each column. Throws an Error that names the column and says what is wanted. */
export function encodeEvent(columns, texts, domain) {
  const noise = uniform(0n, DEQUANTIZATION_STREAM, columns.length);
  return Float32Array.from(columns, (column, i) => {
    const value = present(column, texts[i]) + (isDequantized(column) ? noise[i] : 0);
    checkInside(column, texts[i], Math.fround(value), endsOf(domain, i));
    return value;
  });
}

/** The context of one text for each column, a list of numbers. Throws as `encodeEvent` does. */
export function encodeContext(columns, texts) {
  return columns.flatMap((column, i) => {
    if (column.kind === "category") {
      const code = present(column, texts[i]);
      return column.categories.map((_, k) => Number(k === code));
    }
    if (column.fill === null) return onCircle(column, present(column, texts[i]));
    const value = encoded(column, texts[i]);
    const lacks = Number.isNaN(value);
    return [...onCircle(column, lacks ? (column.fill - column.offset) / column.scale : value), Number(lacks)];
  });
}

/** The texts from which `encodeEvent` makes this event, up to the noise of integers and categories. */
export function typedEvent(columns, event) {
  return columns.map((column, i) => typed(column, event[i]));
}

/** The texts from which `encodeContext` makes this context. */
export function typedContext(columns, context) {
  let first = 0;
  return columns.map((column) => {
    const values = context.slice(first, (first += widthOf(column)));
    if (column.kind === "category") return column.categories[values.indexOf(1)] ?? "";
    const lacks = column.fill !== null && values[values.length - 1];
    const gives = (value) => onCircle(column, value).every((each, i) => Math.fround(each) === Math.fround(values[i]));
    return lacks ? "" : typed(column, fromCircle(column, values), gives);
  });
}

/** The values of a context for a number: itself, or its point on the circle of the column's period. */
function onCircle({ period }, value) {
  if (period === null) return [value];
  const angle = (2 * Math.PI * value) / period;
  return [Math.cos(angle), Math.sin(angle)];
}

/** The number that makes these values of a context, in the first turn of its circle if it has one. */
function fromCircle({ kind, period }, [first, second]) {
  if (period === null) return first;
  const value = (Math.atan2(second, first) / (2 * Math.PI)) * period;
  const turned = value < -1e-6 * period ? value + period : Math.max(value, 0);
  return kind === "integer" ? Math.round(turned) : turned;
}

/** What a column has where an event has `value`: a number, for a time its days since 1970, for a category its index. */
export function restored(column, value) {
  if (column.kind === "category") return Math.min(Math.max(Math.floor(value), 0), column.categories.length - 1);
  return (column.kind === "integer" ? Math.floor(value) : value) * column.scale + column.offset;
}

/** What a column has, for readers; `digits` for numbers. */
export function columnText(column, has, digits = 6) {
  if (!Number.isFinite(has)) return String(has);
  if (column.kind === "category") return column.categories[has] ?? "missing";
  if (column.kind === "time") return timeText(has, SECOND);
  if (column.kind === "integer") return rounded(has, 15);
  return Math.abs(has) < 1e-4 || Math.abs(has) >= 1e9 ? format(has, digits) : rounded(has, digits);
}

const widthOf = ({ kind, categories, fill, period }) =>
  kind === "category" ? categories.length : (period === null ? 1 : 2) + (fill === null ? 0 : 1);

const isDequantized = ({ kind }) => kind === "integer" || kind === "category";

/** The number that a text is encoded as, before noise; NaN for a missing value. */
function encoded(column, text) {
  if (column.kind === "category") return codeOf(column, text);
  if (text.trim() === "") return NaN;
  const number = column.kind === "time" ? daysOf(column, text.trim()) : numberOf(column, text.trim());
  const value = (number - column.offset) / column.scale;
  if (!Number.isFinite(Math.fround(value))) refuse(column, `“${text}” is too large`);
  return column.kind === "integer" ? whole(column, text, value) : value;
}

function present(column, text) {
  const value = encoded(column, text);
  if (Number.isNaN(value)) refuse(column, "a value is wanted");
  return value;
}

function codeOf(column, text) {
  const code = column.categories.indexOf(text === "" ? null : text);
  if (code >= 0) return code;
  if (text === "") return NaN;
  return refuse(column, `“${text}” is not one of ${column.categories.map((name) => name ?? "missing").join(", ")}`);
}

function numberOf(column, text) {
  return NUMBER.test(text) ? Number(text) : refuse(column, `“${text}” is not a number such as 12.5`);
}

/** Days since 1970 of a time in the format of ISO 8601, that of UTC if it has a zone. */
function daysOf(column, text) {
  const [, date, hour = "00", minute = "00", second = "00", fraction = "", ...zone] = TIME.exec(text) ?? [];
  const [sign = "", hours = 0, minutes = 0] = zone;
  const time = Date.parse(`${date}T${hour}:${minute}:${second}Z`);
  const exists = !Number.isNaN(time) && isoOf(time).startsWith(date) && hours < 24 && minutes < 60; // no 30 February
  if (!exists) refuse(column, `“${text}” is not a time such as 2013-01-31 or 2013-01-31T05:00:00`);
  const ahead = Number(`${sign}1`) * (60 * hours + Number(minutes)) * 60 * SECOND;
  return (time - ahead + SECOND * Number(`0${fraction.slice(0, 7)}`)) / DAY;
}

/** A value that is whole but for rounding, rounded. */
function whole(column, text, value) {
  const k = Math.round(value);
  if (Math.abs(value - k) <= 1e-6 + 1e-15 * Math.abs(k)) return k;
  if (column.offset === 0 && column.scale === 1) return refuse(column, `“${text}” isn't a whole number`);
  const [below, above] = [Math.floor(value), Math.ceil(value)].map((near) => columnText(column, restored(column, near)));
  return refuse(column, `“${text}” isn't possible: the values next to it are ${below} and ${above}`);
}

/** Ends of the domain are those of `value`, and shown in the units of the column. */
function checkInside(column, text, value, [low, high]) {
  if (!outside(value, [low, high])) return;
  const last = high !== null && isDequantized(column) ? Math.ceil(high) - 1 : high; // noise lies above its k
  const ends = [low, last].map((end) => end !== null && columnText(column, restored(column, end)));
  const wanted = [ends[0] && `at least ${ends[0]}`, ends[1] && `at most ${ends[1]}`].filter(Boolean).join(" and ");
  refuse(column, `“${text}” is not ${wanted}, as all of the data are`);
}

function refuse(column, why) {
  throw new Error(`${column.column}: ${why}.`);
}

/** The shortest text that is encoded as `value` in float32, but for noise; `gives` says of a number whether it is. */
function typed(column, value, gives = (other) => Math.fround(other) === Math.fround(value)) {
  const has = restored(column, value);
  if (!Number.isFinite(has)) return "";
  if (column.kind === "category") return column.categories[has] ?? "";
  if (column.kind === "integer") return columnText(column, has);
  const texts = column.kind === "time" ? timeTexts(has) : Array.from({ length: 17 }, (_, i) => rounded(has, i + 1));
  return texts.find((text) => gives(encoded(column, text))) ?? texts.at(-1);
}

const rounded = (number, digits) => String(Number(number.toPrecision(digits)));

const timeTexts = (days) => [DAY, 60 * SECOND, SECOND, 1].map((unit) => timeText(days, unit));

/** An ISO date, with a time of day unless it is midnight; `unit` in milliseconds is what is rounded to. */
function timeText(days, unit) {
  const time = Math.round((days * DAY) / unit) * unit;
  if (!(Math.abs(time) <= MAX_DATE)) return `${format(days)} days after 1970`;
  return isoOf(time).replace(/(\.000)?Z$/, "").replace(/T00:00:00$/, "").replace(/(T\d\d:\d\d):00$/, "$1");
}

const isoOf = (time) => new Date(time).toISOString();
