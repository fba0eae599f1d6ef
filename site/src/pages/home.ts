// Find a city: search, filters, the map and the ranked list, all of them kept in the address.
import { feature } from "topojson-client";
import type { Place } from "../charts";
import { combobox } from "../combobox";
import { debounce, h, note, option, replace } from "../dom";
import { byUnit, count, people } from "../format";
import { sourceLine } from "../figure";
import { json, SiteError } from "../http";
import { type Atlas, type City, cityIndex, type Index, type Layer, layerValues, theAtlas, theSite } from "../release";
import { aroundZero, viridis } from "../colours";
import { scaleDiverging, scaleSequential, scaleSequentialLog } from "../d3";

interface State {
  q: string;
  region: string;
  country: string;
  group: string;
  colour: string;
  year: number;
  rows: number;
}

const profile = (id: string) => `city.html?id=${encodeURIComponent(id)}`;

export async function home(app: HTMLElement): Promise<void> {
  const [index, atlas] = await Promise.all([cityIndex(), theAtlas()]);
  const state = read(atlas);
  const problem = h("div", {});
  const picture = h("div", { class: "chart map" });
  const key = h("div", { class: "key" });
  const source = h("div", {});
  const list = h("div", {});

  const search = combobox({
    label: "Find a city",
    placeholder: "munchen, kiev, sao paulo …",
    value: state.q,
    typed: (text) => {
      state.q = text;
      keep(state, atlas);
    },
    choose: (city) => location.assign(profile(city.id)),
  });

  let turn = 0;
  const update = async () => {
    keep(state, atlas);
    const mine = ++turn;
    replace(problem);
    try {
      const chosen = filtered(index, state);
      const layer = atlas.layers.find((one) => one.id === state.colour);
      if (!layer) {
        replace(picture);
        replace(list, plainTable(chosen, index, state, update));
        return;
      }
      const year = layer.years.includes(state.year) ? state.year : nearest(layer.years, state.year);
      const [values, sizes] = await Promise.all([layerValues(layer.id, year), layerValues("population", year)]);
      if (mine !== turn) return;
      const shown = chosen.map((city) => ({ city, value: values[city.at]!, size: sizes[city.at]! }))
        .filter((one) => Number.isFinite(one.value));
      const paint = colours(layer);
      replace(key, legendOf(layer, year, paint, atlas, shown.length, chosen.length));
      await draw(picture, shown, layer, year, paint, state, index);
      replace(source, await sourceLine(sourcesOf(layer, (await theSite()).series),
        `${layer.definition} ${layer.national ? "A national figure, the same for every city of a country. " : ""}` +
        `${layer.modelled ? "Modelled, not observed. " : ""}Outlines: Natural Earth; no border is drawn, and none is judged.`));
      replace(list, rankTable(shown, layer, year, index, state, update));
    } catch (error) {
      if (!(error instanceof SiteError)) throw error;
      replace(problem, note(error.message, "problem"));
      replace(list, plainTable(filtered(index, state), index, state, update));
    }
  };
  const controls = filters(index, atlas, state, () => void update());
  replace(
    app,
    search,
    index.cities.length === 0 && note("This release has no table of cities, so there is nothing to find or draw here.", "problem"),
    controls,
    h("section", { "aria-label": "Map" }, key, picture, source),
    problem,
    list,
  );
  await update();
  new ResizeObserver(debounce(120, () => {
    if (picture.dataset.width !== String(picture.clientWidth)) void update();
  })).observe(picture);
}

// ---- the address

function read(atlas: Atlas): State {
  const asked = new URLSearchParams(location.search);
  const usual = atlas.layers.find((layer) => layer.id === "population_growth_pct") ?? atlas.layers[0];
  const wanted = asked.get("colour");
  const colour = atlas.layers.some((layer) => layer.id === wanted) ? wanted! : (usual?.id ?? "");
  const year = Number(asked.get("year")) || usualYear(atlas);
  return {
    q: asked.get("q") ?? "",
    region: asked.get("region") ?? "",
    country: asked.get("country") ?? "",
    group: asked.get("group") ?? "",
    colour,
    year,
    rows: 25,
  };
}

const usualYear = (atlas: Atlas): number => atlas.estimates_until ?? atlas.years[1] ?? 2018;

function keep(state: State, atlas: Atlas): void {
  const said = new URLSearchParams();
  for (const name of ["q", "region", "country", "group"] as const) if (state[name]) said.set(name, state[name]);
  if (state.colour && state.colour !== "population_growth_pct") said.set("colour", state.colour);
  if (state.year !== usualYear(atlas)) said.set("year", String(state.year));
  const text = said.toString();
  history.replaceState(null, "", text ? `?${text}` : location.pathname);
}

// ---- filters

type Listed = City & { at: number };

function filtered(index: Index, state: State): Listed[] {
  const members = state.group ? new Set(index.groups[state.group]?.cities ?? []) : null;
  return index.cities
    .map((city, at) => ({ ...city, at }))
    .filter((city) =>
      (!state.country || city.country === state.country) &&
      (!state.region || index.countries[city.country]?.[1] === state.region) &&
      (!members || members.has(city.id)));
}

function filters(index: Index, atlas: Atlas, state: State, changed: () => void): HTMLElement {
  const present = new Set(index.cities.map((city) => city.country));
  const countries = [...present].map((code) => [code, index.countries[code]?.[0] ?? code] as const)
    .sort((a, b) => a[1].localeCompare(b[1]));
  const regions = [...new Set([...present].map((code) => index.countries[code]?.[1]).filter((one) => !!one))].sort() as string[];
  const groups = Object.entries(index.groups).sort((a, b) => a[1].name.localeCompare(b[1].name));
  const choice = (name: "region" | "country" | "group" | "colour", label: string, options: HTMLOptionElement[]) => {
    const select = h("select", { id: `choose-${name}`, onchange: () => {
      state[name] = select.value;
      if (name === "region") state.country = "";
      if (name === "country" && select.value) state.region = "";
      for (const other of ["region", "country"] as const) {
        const box = document.getElementById(`choose-${other}`) as HTMLSelectElement | null;
        if (box) box.value = state[other];
      }
      state.rows = 25;
      if (name === "colour") years();
      changed();
    } }, options);
    return h("div", { class: "field" }, h("label", { for: `choose-${name}` }, label), select);
  };
  const shownYear = h("output", { for: "choose-year" }, String(state.year));
  const slider = h("input", { id: "choose-year", type: "range", step: 1, oninput: () => {
    state.year = Number(slider.value);
    tellYear();
    later();
  } });
  const later = debounce(90, changed);
  const layer = () => atlas.layers.find((one) => one.id === state.colour);
  const tellYear = () => {
    const projected = isProjected(layer(), state.year, atlas);
    shownYear.textContent = projected ? `${state.year}, projection` : String(state.year);
    slider.setAttribute("aria-valuetext", shownYear.textContent);
  };
  const years = () => {
    const known = layer()?.years ?? [];
    if (!known.length) return;
    slider.min = String(known[0]);
    slider.max = String(known.at(-1));
    state.year = nearest(known, state.year);
    slider.value = String(state.year);
    tellYear();
  };
  years();
  return h("form", { class: "filters", "aria-label": "Filters", onsubmit: (event: Event) => event.preventDefault() },
    atlas.layers.length > 0 && choice("colour", "Colour by", atlas.layers.map((one) => option(one.id, one.label, state.colour))),
    atlas.layers.length > 0 && h("div", { class: "field year" }, h("label", { for: "choose-year" }, "Year ", shownYear), slider),
    regions.length > 0 && choice("region", "Region", [option("", "All", state.region), ...regions.map((one) => option(one, one, state.region))]),
    choice("country", "Country", [option("", "All", state.country), ...countries.map(([code, name]) => option(code, name, state.country))]),
    groups.length > 0 && choice("group", "Group", [option("", "All", state.group), ...groups.map(([id, one]) => option(id, one.name, state.group))]));
}

const nearest = (years: number[], year: number): number =>
  years.reduce((best, one) => (Math.abs(one - year) < Math.abs(best - year) ? one : best), years[0] ?? year);

/** What the UN projects; other figures are observed, or end with their last year. */
const isProjected = (layer: Layer | undefined, year: number, atlas: Atlas): boolean =>
  atlas.estimates_until !== null && year > atlas.estimates_until &&
  (layer?.source === "population" || layer?.id === "implied_net_migration_pct") && !layer.national;

function sourcesOf(layer: Layer, series: string): string[] {
  if (layer.sources) return layer.sources;
  const edition = `un_${series.replace("wup", "wup_")}`;
  if (layer.source === "population") return [edition];
  if (layer.id === "implied_net_migration_pct") return [edition, layer.source];
  return [layer.source];
}

// ---- the map

type Paint = ((value: number) => string) & { low: number; high: number };

/** Colours that people of every colour vision can tell apart; two hues only where zero divides. */
function colours(layer: Layer): Paint {
  if (layer.diverging) {
    const reach = Math.max(Math.abs(layer.low), Math.abs(layer.high), 0.1);
    const scale = scaleDiverging((t: number) => aroundZero(0.04 + t * 0.92)).domain([-reach, 0, reach]).clamp(true);
    return Object.assign((value: number) => String(scale(value)), { low: -reach, high: reach });
  }
  if (layer.unit === "persons") {
    const low = Math.max(layer.low, 1e5);
    const scale = scaleSequentialLog(viridis).domain([layer.high, low]).clamp(true);
    return Object.assign((value: number) => String(scale(value)), { low, high: layer.high });
  }
  const low = Math.max(0, Math.min(layer.low, 0));
  const scale = scaleSequential(viridis).domain([layer.high, low]).clamp(true);
  return Object.assign((value: number) => String(scale(value)), { low, high: layer.high });
}

function legendOf(layer: Layer, year: number, paint: Paint, atlas: Atlas, shown: number, of: number): HTMLElement {
  const steps = 9;
  const log = layer.unit === "persons";
  const at = (step: number) => {
    const t = step / (steps - 1);
    return log ? paint.low * (paint.high / paint.low) ** t : paint.low + (paint.high - paint.low) * t;
  };
  const scale = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  scale.setAttribute("viewBox", `0 0 ${steps * 18} 10`);
  scale.setAttribute("class", "scale");
  scale.setAttribute("aria-hidden", "true");
  for (let step = 0; step < steps; step++) {
    const box = document.createElementNS("http://www.w3.org/2000/svg", "rect");
    for (const [name, value] of Object.entries({ x: step * 18, y: 0, width: 18, height: 10, fill: paint(at(step)) }))
      box.setAttribute(name, String(value));
    scale.append(box);
  }
  const projected = isProjected(layer, year, atlas);
  return h("div", { class: "keyline" },
    h("h2", {}, `${layer.label}, ${year}`, projected && h("span", { class: "quiet" }, " (projection)")),
    h("p", { class: "ramp" }, h("span", {}, `${layer.diverging ? "≤ " : ""}${byUnit(paint.low, layer.unit)}`), scale,
      h("span", {}, `≥ ${byUnit(paint.high, layer.unit)}`)),
    h("p", { class: "quiet" }, `Area of a dot: population in ${year}. ${count(shown)} of ${count(of)} cities have this figure.`));
}

interface Shown {
  city: Listed;
  value: number;
  size: number;
}

let outlines: Record<string, Promise<object>> = {};
function land(fine: boolean): Promise<object> {
  const name = fine ? FILES.landFine : FILES.land;
  outlines[name] ??= json<never>(new URL(name, import.meta.url).href)
    .then((topology: { objects: { land: never } }) => feature(topology as never, topology.objects.land));
  return outlines[name]!;
}

async function draw(
  picture: HTMLElement, shown: Shown[], layer: Layer, year: number, paint: Paint, state: State, index: Index,
): Promise<void> {
  const close = Boolean(state.country || state.region);
  const [{ worldMap }, outline] = await Promise.all([import("../charts"), land(close)]);
  const places: Place[] = shown
    .filter(({ city }) => city.latitude !== null && city.longitude !== null)
    .map(({ city, value, size }) => ({
      id: city.id, name: city.name, latitude: city.latitude!, longitude: city.longitude!,
      population: Number.isFinite(size) ? size : (city.population ?? 0), value,
    }));
  const width = picture.clientWidth;
  picture.dataset.width = String(width);
  if (!places.length) {
    replace(picture, note("No city here has this figure in this year."));
    return;
  }
  const chart = worldMap(places, {
    width, land: outline, colours: paint,
    domain: close ? around(places) : WORLD, whole: !close,
    tell: (place) => `${place.name}, ${index.countries[index.byId.get(place.id)!.country]?.[0] ?? ""}\n` +
      `${people(place.population)} people\n${layer.id === "population" ? "" : `${layer.label}: ${byUnit(place.value, layer.unit)}`}`.trimEnd(),
    choose: (place) => location.assign(profile(place.id)),
  });
  chart.setAttribute("role", "img");
  chart.setAttribute("aria-label", `Map of ${places.length} cities in ${year}, coloured by ${layer.label}; the table below lists the same figures.`);
  replace(picture, chart);
}

/** From Patagonia to Lapland: nobody lives in a city beyond. */
const WORLD = { type: "MultiPoint", coordinates: [[-180, 0], [180, 0], [0, -55], [0, 72], [-70, -55], [20, 72]] };

/** The frame around some places, never closer than a few degrees. */
function around(places: Place[]): object {
  const west = Math.min(...places.map((place) => place.longitude)), east = Math.max(...places.map((place) => place.longitude));
  const south = Math.min(...places.map((place) => place.latitude)), north = Math.max(...places.map((place) => place.latitude));
  const more = Math.max(2, (east - west) * 0.08, (north - south) * 0.08);
  const points = [[west - more, south - more], [west - more, north + more], [east + more, north + more], [east + more, south - more]]
    .map(([x, y]) => [Math.max(-180, Math.min(180, x!)), Math.max(-89, Math.min(89, y!))]);
  return { type: "MultiPoint", coordinates: points };
}

// ---- the list

function rankTable(shown: Shown[], layer: Layer, year: number, index: Index, state: State, update: () => Promise<void>): HTMLElement {
  const sorted = [...shown].sort((a, b) => b.value - a.value || b.size - a.size);
  const same = layer.id === "population";
  return h("section", { "aria-label": "Ranking" },
    h("h2", {}, `Ranking: ${layer.label}, ${year}`),
    h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Table of cities" }, h("table", {},
      h("thead", {}, h("tr", {}, h("th", { scope: "col", class: "n" }, "#"), h("th", { scope: "col" }, "City"),
        h("th", { scope: "col", class: "roomy" }, "Country"), h("th", { scope: "col", class: "n" }, `Population ${year}`),
        !same && h("th", { scope: "col", class: "n" }, layer.unit.startsWith("%") ? `${layer.label} (${layer.unit})` : layer.label))),
      h("tbody", {}, sorted.slice(0, state.rows).map(({ city, value, size }, at) =>
        h("tr", {}, h("td", { class: "n" }, at + 1),
          h("th", { scope: "row" }, h("a", { href: profile(city.id) }, city.name)),
          h("td", { class: "roomy" }, index.countries[city.country]?.[0] ?? city.country),
          h("td", { class: "n" }, people(size)),
          !same && h("td", { class: "n" }, byUnit(value, layer.unit).replace(/ %.*/, ""))))))),
    more(sorted.length, state, update));
}

function plainTable(cities: Listed[], index: Index, state: State, update: () => Promise<void>): HTMLElement {
  if (!cities.length) return h("div", {});
  return h("section", { "aria-label": "Cities" },
    h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Table of cities" }, h("table", {},
      h("caption", {}, "Cities by size"),
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "City"), h("th", { scope: "col" }, "Country"),
        h("th", { scope: "col", class: "n" }, "Population"), h("th", { scope: "col", class: "n" }, "Year"))),
      h("tbody", {}, cities.slice(0, state.rows).map((city) =>
        h("tr", {}, h("th", { scope: "row" }, h("a", { href: profile(city.id) }, city.name)),
          h("td", {}, index.countries[city.country]?.[0] ?? city.country),
          h("td", { class: "n" }, people(city.population)), h("td", { class: "n" }, city.populationYear ?? "")))))),
    more(cities.length, state, update));
}

function more(total: number, state: State, update: () => Promise<void>): HTMLElement | false {
  return total > state.rows && h("p", {}, h("button", { type: "button", onclick: () => {
    state.rows += 100;
    void update();
  } }, `Show more of ${count(total)}`));
}
