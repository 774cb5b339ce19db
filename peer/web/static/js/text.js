// The catalogue of the chosen language, filled the same way the command line fills it.
import { signal } from "@preact/signals";

const LANGUAGES = ["en", "fr"];
const STEP = 1024;
const FIELD = /\{(\w+)(?::(\w+))?\}/g;

export const language = signal("en");
const texts = signal({});

export async function useLanguage(wanted) {
  const chosen = LANGUAGES.includes(wanted) ? wanted : "en";
  const answer = await fetch(`/texts/${chosen}.json`);
  texts.value = await answer.json();
  language.value = chosen;
  document.documentElement.lang = chosen;
}

export function has(key) {
  return key in texts.value;
}

export function t(key, values = {}) {
  let entry = texts.value[key];
  if (entry === undefined) return key;
  if (typeof entry === "object") entry = entry[isOne(values[entry.by]) ? "one" : "other"];
  return entry.replace(FIELD, (_, name, form) => formatted(values[name], form));
}

// A text in which some values are elements: an array of children.
export function rich(key, values) {
  const marks = Object.keys(values);
  const parts = t(key, Object.fromEntries(marks.map((name) => [name, `\u0000${name}\u0000`])));
  return parts.split("\u0000").map((part, place) => (place % 2 ? values[part] : part));
}

export function errorText(error) {
  const { code, params = {} } = error;
  const named = has(`phase.${params.phase}`)
    ? { ...params, phase: t(`phase.${params.phase}`) }
    : params;
  for (const key of [`error.${code}.${params.problem}`, `error.${code}`]) {
    if (has(key)) return t(key, named);
  }
  return t("error.unknown", { code });
}

// What to do next; hints for the page come first, those that name commands are for the terminal.
export function errorHint(error) {
  const key = `page.hint.${error.code}`;
  return has(key) ? t(key, error.params ?? {}) : "";
}

function isOne(count) {
  if (typeof count !== "number") return false;
  return language.value === "fr" ? Math.abs(count) < 2 : count === 1;
}

function formatted(value, form) {
  if (value === undefined || value === null) return "?";
  if (typeof value !== "number") return String(value);
  if (form === "size") return size(value);
  if (form === "clock") return clock(value);
  if (form === "number") return number(value);
  return String(value);
}

export function number(value) {
  return new Intl.NumberFormat(language.value).format(value);
}

export function size(count) {
  const units = t("units.bytes").split(" ");
  let amount = count;
  let unit = 0;
  while (amount >= STEP && unit < units.length - 1) {
    amount /= STEP;
    unit += 1;
  }
  const digits = unit === 0 ? String(count) : amount.toFixed(1);
  return `${language.value === "fr" ? digits.replace(".", ",") : digits}\u00a0${units[unit]}`;
}

export function clock(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  const two = (value) => String(value).padStart(2, "0");
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor((whole % 3600) / 60);
  return hours ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}

export function day(iso) {
  return iso ? new Intl.DateTimeFormat(language.value, { dateStyle: "medium" }).format(new Date(iso)) : "–";
}

export function date(iso) {
  if (!iso) return "–";
  const moment = new Date(iso);
  return new Intl.DateTimeFormat(language.value, { dateStyle: "medium", timeStyle: "short" }).format(moment);
}
