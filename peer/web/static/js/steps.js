// Which step of the session a person is at.
import { signal } from "@preact/signals";
import { phase, plan, session, sync } from "./state.js";
import { t } from "./text.js";

export const STEPS = ["people", "inventory", "decide", "review", "sync"];
const OF_PHASE = { preparation: "people", inventory: "inventory", synchronisation: "sync", finished: "sync" };

// In the comparison a person goes between deciding and reviewing; "" follows the plan.
export const chosenStep = signal("");

export function currentStep() {
  const fixed = OF_PHASE[phase.value];
  if (fixed) return fixed;
  return chosenStep.value || (plan.value?.steps ? "review" : "decide");
}

export function titleOf() {
  if (!session.value) return "Quintet";
  const running = phase.value === "synchronisation" && sync.value;
  const share = running && sync.value.steps ? Math.floor((100 * sync.value.done) / sync.value.steps) : null;
  const word = t(`page.step.${currentStep()}`);
  return share === null ? `${word} · Quintet` : `${share} % · ${word} · Quintet`;
}
