// Choosing folders and files of this computer: a list, a path with completion, a drop, recent places.
import { html, useEffect, useId, useRef, useSignal } from "./html.js";
import { get } from "./api.js";
import { Icon } from "./icons.js";
import { Button, Dialog, IconButton, Problem } from "./parts.js";
import { size, t } from "./text.js";

const TYPING_PAUSE = 150;

// The sources of a form: chosen is a signal of paths.
export function SourcePicker({ chosen }) {
  const wanted = useSignal("");
  const add = (path) => {
    if (!chosen.value.includes(path)) chosen.value = [...chosen.value, path];
    wanted.value = "";
  };
  return html`<fieldset class="sources">
    <legend>${t("page.sources.mine")}</legend>
    ${chosen.value.length === 0 && html`<p class="quiet">${t("page.sources.none_yet")}</p>`}
    <ul class="plain-list">${chosen.value.map(
      (path) => html`<li class="source" key=${path}><${Icon} name="folder" /><span class="path">${path}</span>
        <${IconButton} icon="bin" label=${t("page.sources.drop", { path })}
          onClick=${() => { chosen.value = chosen.value.filter((each) => each !== path); }} /></li>`,
    )}</ul>
    <${AddButtons} onWanted=${(kind) => { wanted.value = kind; }} />
    ${wanted.value && html`<${FolderDialog} kind=${wanted.value} onChoose=${add} onClose=${() => { wanted.value = ""; }} />`}
  </fieldset>`;
}

export function AddButtons({ onWanted, primary = false }) {
  return html`<div class="row">
    <${Button} kind=${primary ? "primary" : "plain"} icon="folder" onClick=${() => onWanted("directory")}>${t("page.sources.add_folder")}<//>
    <${Button} icon="file" onClick=${() => onWanted("file")}>${t("page.sources.add_file")}<//>
  </div>`;
}

export function FolderDialog({ kind, onChoose, onClose, error: given }) {
  const typed = useSignal("");
  const listing = useSignal(null);
  const error = useSignal(null);
  const hidden = useSignal(false);
  const picked = useSignal("");
  const active = useSignal(-1);
  const id = useId();
  const asked = useRef(0);
  const look = async (path) => {
    asked.current += 1;
    const mine = asked.current;
    try {
      const answer = await get("folders", { path, hidden: hidden.value });
      if (mine !== asked.current) return null;
      listing.value = answer;
      error.value = null;
      active.value = -1;
      return answer;
    } catch (caught) {
      if (mine === asked.current) error.value = caught;
      return null;
    }
  };
  const open = async (path) => {
    const answer = await look(path);
    if (answer) typed.value = answer.path;
    picked.value = "";
  };
  useEffect(() => { open(typed.value); }, [hidden.value]);
  const timer = useRef(0);
  const onInput = (event) => {
    typed.value = event.target.value;
    picked.value = "";
    // An answer that is still on its way is about something nobody asks any more.
    asked.current += 1;
    clearTimeout(timer.current);
    timer.current = setTimeout(() => look(typed.value), TYPING_PAUSE);
  };
  const entries = (listing.value?.entries ?? []).filter((entry) => kind === "file" || entry.kind === "directory");
  const step = (by) => {
    const count = entries.length;
    if (count) active.value = (active.value + by + count) % count;
  };
  const onKey = (event) => {
    const entry = entries[active.value];
    if (event.key === "ArrowDown") step(1);
    else if (event.key === "ArrowUp") step(-1);
    else if (event.key === "Tab" && listing.value?.beginning && !event.shiftKey && entries.length) complete(entries[0]);
    else if (event.key === "Enter") {
      if (entry) activate(entry);
      else choose();
    } else return;
    event.preventDefault();
  };
  const complete = (entry) => (entry.kind === "directory" ? open(entry.path) : pick(entry));
  const pick = (entry) => {
    picked.value = entry.path;
    typed.value = entry.path;
  };
  const activate = (entry) => {
    if (!entry.path || !entry.readable) return;
    if (entry.kind === "directory") open(entry.path);
    else pick(entry);
  };
  const target = picked.value || typed.value.trim();
  const choose = () => { if (target) onChoose(target); };
  const onDrop = (event) => {
    event.preventDefault();
    const text = event.dataTransfer.getData("text/uri-list") || event.dataTransfer.getData("text/plain");
    const path = text.split(/\r?\n/)[0].trim();
    if (!path) return;
    try {
      open(path.startsWith("/") ? path : decodeURIComponent(new URL(path).pathname));
    } catch {
      // What was dropped names no place.
    }
  };
  const here = listing.value;
  return html`<${Dialog} wide title=${t(kind === "file" ? "page.folders.file_title" : "page.folders.title")} onClose=${onClose}
    actions=${html`<${Button} onClick=${onClose}>${t("page.cancel")}<//>
      <${Button} kind="primary" onClick=${choose} disabled=${!target || (kind === "file" && !picked.value)}>${t("page.folders.choose")}<//>`}>
    <div class="folders" onDragOver=${(event) => event.preventDefault()} onDrop=${onDrop}>
      <div class="with-button">
        <${IconButton} icon="up" label=${t("page.folders.up")} disabled=${!here?.parent} onClick=${() => open(here.parent)} />
        <input id=${id} class="mono" autofocus role="combobox" aria-expanded="true" aria-controls=${`${id}-list`} aria-label=${t("page.folders.path")}
          aria-activedescendant=${active.value >= 0 ? `${id}-${active.value}` : undefined} aria-autocomplete="list"
          autocomplete="off" spellcheck="false" value=${typed.value} onInput=${onInput} onKeyDown=${onKey} />
      </div>
      <${Problem} error=${given ?? error.value} />
      ${here?.recent?.length > 0 && html`<div class="recent"><span class="quiet">${t("page.folders.recent")}</span>
        ${here.recent.map((path) => html`<button type="button" class="chip" onClick=${() => open(path)}>${path}</button>`)}</div>`}
      <ul class="folder-list" role="listbox" id=${`${id}-list`} aria-label=${t("page.folders.list")} tabindex="0" onKeyDown=${onKey}>
        ${entries.map((entry, place) => html`<li key=${entry.name} id=${`${id}-${place}`} role="option"
          aria-selected=${entry.path === picked.value || place === active.value ? "true" : "false"}
          aria-disabled=${entry.readable && entry.path ? undefined : "true"} onClick=${() => activate(entry)}>
          <${Icon} name=${entry.link ? "link" : entry.kind === "file" ? "file" : "folder"} /><span class="path">${entry.name}</span>
          ${entry.link && html`<span class="quiet">${t("page.folders.link")}</span>`}
          ${!entry.readable && html`<span class="quiet">${t("page.folders.unreadable")}</span>`}
        </li>`)}
        ${here && entries.length === 0 && html`<li class="empty" role="option" aria-disabled="true" aria-selected="false">${t(here.beginning ? "page.folders.no_match" : "page.folders.empty")}</li>`}
      </ul>
      <div class="row between">
        <label class="check"><input type="checkbox" checked=${hidden.value} onChange=${(event) => { hidden.value = event.target.checked; }} />
          <span>${t("page.folders.hidden")}${here?.hidden > 0 && !hidden.value ? ` (${here.hidden})` : ""}</span></label>
        ${here?.free != null && html`<span class="quiet">${t("page.folders.free", { free: here.free, total: here.size })}</span>`}
      </div>
    </div>
  <//>`;
}
