// The filter box: completion while one types, and errors that point at their place.
import { html, useEffect, useId, useRef, useSignal } from "./html.js";
import { Icon } from "./icons.js";
import { letters } from "./state.js";
import { errorText, t } from "./text.js";

const PAUSE = 250;
const WORDS = {
  "is:": ["file", "dir", "link", "equal", "different", "dates-differ", "missing", "clash", "blocked", "hashed"],
  "has:": ["action", "action.copy", "action.create", "action.delete", "action.nothing", "action.targeted", "action.rule",
    "name-clash", "access-error", "read-error", "sync-error"],
};

function suggestions(word) {
  if (!word) return [];
  const tags = { ...WORDS };
  for (const tag of ["on:", "only:", "missing:"]) tags[tag] = letters.value;
  const heads = [...Object.keys(tags), "name:", "path:", "not ", "and ", "or "];
  for (const letter of letters.value) heads.push(`${letter}.size > `, `${letter}.date < `, `${letter}.content != `);
  const tag = Object.keys(tags).find((each) => word.startsWith(each));
  const all = tag ? tags[tag].map((value) => tag + value) : heads;
  return all.filter((each) => each.toLowerCase().startsWith(word.toLowerCase()) && each !== word).slice(0, 8);
}

export function FilterBox({ filter, error }) {
  const text = useSignal(filter.value);
  const active = useSignal(-1);
  const open = useSignal(false);
  const timer = useRef(0);
  const input = useRef(null);
  const id = useId();
  useEffect(() => {
    if (filter.value !== text.value.trim()) text.value = filter.value;
  }, [filter.value]);
  const word = /[^\s()]*$/.exec(text.value)[0];
  const found = open.value ? suggestions(word) : [];
  const set = (value, now = false) => {
    text.value = value;
    clearTimeout(timer.current);
    if (now) filter.value = value.trim();
    else timer.current = setTimeout(() => { filter.value = value.trim(); }, PAUSE);
  };
  const take = (choice) => {
    set(text.value.slice(0, text.value.length - word.length) + choice + (choice.endsWith(" ") || choice.endsWith(":") ? "" : " "));
    active.value = -1;
    input.current.focus();
  };
  const onKey = (event) => {
    if (event.key === "ArrowDown" && found.length) active.value = (active.value + 1) % found.length;
    else if (event.key === "ArrowUp" && found.length) active.value = (active.value - 1 + found.length) % found.length;
    else if (event.key === "Enter") {
      if (found[active.value]) take(found[active.value]);
      else {
        open.value = false;
        set(text.value, true);
      }
    } else if (event.key === "Tab" && found.length && active.value >= 0) take(found[active.value]);
    else if (event.key === "Escape" && open.value) open.value = false;
    else return;
    event.preventDefault();
  };
  const place = error?.params?.position;
  return html`<div class=${`field filter ${error ? "wrong" : ""}`}>
    <label for=${id}>${t("page.filter.label")}</label>
    <div class="filter-input"><${Icon} name="search" />
      <input id=${id} ref=${input} class="mono" role="combobox" aria-expanded=${found.length ? "true" : "false"} aria-controls=${`${id}-list`} aria-autocomplete="list"
        aria-activedescendant=${active.value >= 0 && found.length ? `${id}-${active.value}` : undefined} aria-invalid=${error ? "true" : undefined}
        aria-describedby=${error ? `${id}-error` : `${id}-help`} autocomplete="off" spellcheck="false" placeholder=${t("page.filter.placeholder")}
        value=${text.value} onInput=${(event) => { open.value = true; active.value = -1; set(event.target.value); }} onKeyDown=${onKey}
        onBlur=${() => { open.value = false; }} />
    </div>
    <ul class="completions" role="listbox" id=${`${id}-list`} aria-label=${t("page.filter.completions")} hidden=${!found.length}>
      ${found.map((each, position) => html`<li key=${each} role="option" id=${`${id}-${position}`} aria-selected=${position === active.value ? "true" : "false"}
        class="mono" onMouseDown=${(event) => { event.preventDefault(); take(each); }}>${each}</li>`)}
    </ul>
    ${error
      ? html`<div class="field-error" id=${`${id}-error`} role="alert">
          ${place !== undefined && html`<pre class="pointer" aria-hidden="true">${text.value}\n${" ".repeat(Math.max(0, place))}^</pre>`}
          <p>${errorText(error)}</p></div>`
      : html`<p class="quiet" id=${`${id}-help`}>${t("page.filter.help")}</p>`}
  </div>`;
}
