// Windows over the comparison: rows are fetched in pages as they come into sight, and forgotten again.
import { signal } from "@preact/signals";
import { get } from "./api.js";

export const PAGE = 100;
const KEPT = 40;
const PAUSE = 40;

export class Rows {
  constructor() {
    this.version = signal(0);
    this.matching = signal(0);
    this.loading = signal(true);
    this.error = signal(null);
    this.filter = "";
    this.sort = "path";
    this.pages = new Map();
    this.asked = new Set();
    this.generation = 0;
    this.timer = 0;
  }

  // Asks anew with another filter or order; returns once the first page is there.
  async show(filter, sort) {
    this.generation += 1;
    const mine = this.generation;
    this.loading.value = true;
    try {
      const told = await get("comparison", { filter, sort, offset: 0, limit: PAGE });
      if (mine !== this.generation) return;
      this.filter = filter;
      this.sort = sort;
      this.pages = new Map([[0, told.rows]]);
      this.asked = new Set();
      this.matching.value = told.matching;
      this.error.value = null;
    } catch (error) {
      // The rows of the last filter that could be read stay: an error never shows everything.
      if (mine === this.generation) this.error.value = error;
    }
    if (mine === this.generation) {
      this.loading.value = false;
      this.version.value += 1;
    }
  }

  row(place) {
    return this.pages.get(Math.floor(place / PAGE))?.[place % PAGE];
  }

  // Makes sure that the rows from first to last will come; waits for the end of a quick scroll.
  want(first, last) {
    clearTimeout(this.timer);
    const missing = this.missing(first, last);
    if (!missing.length) return;
    this.timer = setTimeout(() => missing.forEach((page) => this.fetch(page)), PAUSE);
  }

  missing(first, last) {
    const pages = [];
    for (let page = Math.floor(first / PAGE); page <= Math.floor(last / PAGE); page += 1) {
      if (!this.pages.has(page) && !this.asked.has(page)) pages.push(page);
    }
    return pages;
  }

  async fetch(page) {
    const mine = this.generation;
    this.asked.add(page);
    try {
      const told = await get("comparison", { filter: this.filter, sort: this.sort, offset: page * PAGE, limit: PAGE });
      if (mine !== this.generation) return;
      this.pages.set(page, told.rows);
      while (this.pages.size > KEPT) this.pages.delete(this.pages.keys().next().value);
      this.version.value += 1;
    } catch (error) {
      if (mine === this.generation) this.error.value = error;
    } finally {
      this.asked.delete(page);
    }
  }

  // The numbers of rows by their places, for acting on them; fetches what is not here.
  async numbers(places) {
    const numbers = [];
    let window = null;
    for (const place of places) {
      const known = this.row(place) ?? window?.rows[place - window.offset];
      if (known) {
        numbers.push(known.number);
        continue;
      }
      window = await get("comparison", { filter: this.filter, sort: this.sort, offset: place, limit: 1000 });
      if (window.rows.length) numbers.push(window.rows[0].number);
    }
    return numbers;
  }
}

// Filters that name rows by number, each short enough to be sent: ranges where numbers follow.
export function chosenFilters(numbers, limit = 9000) {
  const sorted = [...numbers].sort((one, other) => one - other);
  const parts = [];
  for (let place = 0; place < sorted.length; ) {
    let end = place;
    while (sorted[end + 1] === sorted[end] + 1) end += 1;
    parts.push(end > place ? `${sorted[place]}-${sorted[end]}` : `${sorted[place]}`);
    place = end + 1;
  }
  const filters = [];
  let text = "";
  for (const part of parts) {
    if (text.length + part.length > limit) {
      filters.push(`item:"${text}"`);
      text = "";
    }
    text += text ? `,${part}` : part;
  }
  if (text) filters.push(`item:"${text}"`);
  return filters;
}
