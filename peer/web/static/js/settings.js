// The session's settings: the leader's to change before the inventory, everybody's to read.
import { html, useId } from "./html.js";
import { patch } from "./api.js";
import { Problem, useAct } from "./parts.js";
import { leads, phase, session } from "./state.js";
import { t } from "./text.js";

// What this version carries out; the values as the peer writes them.
const CHOICES = {
  data_type: ["files-and-directories", "files", "directories"],
  analysis: ["smart", "checksum"],
  case: ["automatic", "sensitive", "insensitive"],
  symlinks: ["skip", "copy"],
  metadata: ["dates", "dates-and-mode"],
};
const SWITCHES = ["exclude_hidden", "exclude_system"];
const LISTS = ["exclude", "include"];

export function SettingsBlock() {
  const { error, run } = useAct();
  const editable = leads.value && phase.value === "preparation";
  const { settings } = session.value;
  const set = (...assignments) => run(() => patch("settings", { set: assignments }));
  const id = useId();
  const changed = Object.entries(CHOICES).filter(([key, values]) => settings[key] !== values[0]).length
    + SWITCHES.filter((key) => !settings[key]).length + LISTS.filter((key) => settings[key].length).length;
  return html`<details class="card fold">
    <summary><h2>${t("page.settings.title")}</h2><span class="quiet">${changed ? t("page.settings.changed", { count: changed }) : t("page.settings.defaults")}</span></summary>
    <p class="quiet">${t(editable ? "page.settings.text" : "page.settings.read_only")}</p>
    <div class="settings">
      ${Object.entries(CHOICES).map(([key, values]) => html`<div class="field" key=${key}>
        <label for=${`${id}-${key}`}>${t(`page.setting.${key}`)}</label>
        <select id=${`${id}-${key}`} disabled=${!editable} value=${settings[key]} onChange=${(event) => set(`${key}=${event.target.value}`)}>
          ${values.map((value) => html`<option value=${value} selected=${value === settings[key]}>${t(`page.value.${value.replaceAll("-", "_")}`)}</option>`)}
        </select></div>`)}
      ${SWITCHES.map((key) => html`<label class="check" key=${key}><input type="checkbox" disabled=${!editable} checked=${settings[key]}
        onChange=${(event) => set(`${key}=${event.target.checked ? "on" : "off"}`)} /><span>${t(`page.setting.${key}`)}</span></label>`)}
      ${LISTS.map((key) => html`<div class="field" key=${key}>
        <label for=${`${id}-${key}`}>${t(`page.setting.${key}`)}</label>
        <textarea id=${`${id}-${key}`} class="mono" rows="3" disabled=${!editable} value=${settings[key].join("\n")}
          onChange=${(event) => {
            const lines = event.target.value.split("\n").map((line) => line.trim()).filter(Boolean);
            set(...(lines.length ? lines.map((line) => `${key}=${line}`) : [`${key}=`]));
          }}></textarea></div>`)}
    </div>
    <${Problem} error=${error.value} />
  </details>`;
}
