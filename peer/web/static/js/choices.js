// What this browser remembers of a person's taste, and messages that pass.
import { effect, signal } from "@preact/signals";
import { useLanguage } from "./text.js";

const THEMES = ["auto", "light", "dark"];

function remembered(key, otherwise) {
  try {
    return localStorage.getItem(`quintet.${key}`) ?? otherwise;
  } catch {
    return otherwise;
  }
}

export function remember(key, value) {
  try {
    localStorage.setItem(`quintet.${key}`, value);
  } catch {
    // A browser that keeps nothing still works.
  }
}

export const theme = signal(remembered("theme", "auto"));
export const node = signal(remembered("node", ""));
// "" | "start" | "join" | "local": which form stands where there is no session.
export const form = signal("");
// Messages for a moment: {id, text, tone}.
export const toasts = signal([]);

let nextToast = 1;

export function say(text, tone = "info") {
  const id = nextToast;
  nextToast += 1;
  toasts.value = [...toasts.value.slice(-3), { id, text, tone }];
  if (tone === "info") setTimeout(() => unsay(id), 6000);
}

export function unsay(id) {
  toasts.value = toasts.value.filter((each) => each.id !== id);
}

export async function chooseLanguage(wanted) {
  remember("language", wanted);
  await useLanguage(wanted);
}

export async function begin() {
  const wanted = remembered("language", navigator.language.slice(0, 2).toLowerCase());
  await useLanguage(wanted);
  effect(() => {
    const chosen = THEMES.includes(theme.value) ? theme.value : "auto";
    document.documentElement.dataset.theme = chosen;
    remember("theme", chosen);
  });
  effect(() => remember("node", node.value));
}
