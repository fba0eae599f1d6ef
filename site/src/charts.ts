// The charts of the site, drawn by Observable Plot with one set of signs: an estimate is a line, a
// projection dashed, what was observed a solid dot, what was interpolated a hollow one.
import * as Plot from "@observablehq/plot";
import { isNumber, number, people, percent, short } from "./format";

export interface Point {
  year: number;
  value: number | null;
  status?: string | null;
}

export interface Line {
  name: string;
  points: Point[];
  /** Thin and grey: said beside the lines that the chart is about. */
  quiet?: boolean;
}

/** One accent; the rest told apart by people of every colour vision (Okabe and Ito), and by labels. */
const COLOURS = ["var(--accent)", "var(--second)", "var(--third)", "var(--fourth)", "var(--fifth)"];
export const colour = (at: number): string => COLOURS[at % COLOURS.length]!;

const FONT = { fontFamily: "inherit", fontSize: "13px", overflow: "visible" };
const GRID = { stroke: "var(--line)", strokeOpacity: 1 };
const AXIS = { tickSize: 0, label: null, fill: "var(--quiet)" } as const;

/**
 * Plot writes a style element into each chart, which the page's policy forbids: site.css has it.  It
 * also labels groups of marks, where no role allows a label: the chart as a whole carries one.
 */
function finish(chart: Element): Element {
  for (const group of chart.querySelectorAll("[aria-label]")) group.removeAttribute("aria-label");
  for (const style of chart.querySelectorAll("style")) style.remove();
  for (const node of chart.querySelectorAll("svg")) node.removeAttribute("style");
  return chart;
}

const write = (unit: "persons" | "percent" | "rate", value: number): string =>
  unit === "persons" ? people(value) : unit === "percent" ? percent(value, 2) : number(value, 2);

const tick = (unit: "persons" | "percent" | "rate") => (value: number): string =>
  unit === "persons" ? short(value) : unit === "percent" ? `${short(value)} %` : short(value);

interface Drawn {
  year: number;
  value: number;
  name: string;
  status: string;
}

const known = (line: Line): Drawn[] =>
  line.points.filter((point) => isNumber(point.value)).map((point) => ({
    year: point.year,
    value: point.value!,
    name: line.name,
    status: point.status ?? "estimate",
  }));

/** The points that are projections, from the last one that is not, so that the line goes on. */
function projected(points: Drawn[]): Drawn[] {
  const first = points.findIndex((point) => point.status === "projection");
  return first < 0 ? [] : points.slice(Math.max(first - 1, 0));
}

/** Places for labels at the ends of lines, at least `gap` apart, in data units of a linear scale. */
function spread(ends: Drawn[], low: number, high: number, height: number, gap = 15): Map<string, number> {
  const unit = (high - low) / Math.max(height, 1);
  const sorted = [...ends].sort((a, b) => a.value - b.value);
  const places: number[] = [];
  sorted.forEach((end, at) => {
    places.push(Math.max(end.value, at ? places[at - 1]! + gap * unit : -Infinity));
  });
  const over = places.length ? places[places.length - 1]! - high : 0;
  if (over > 0)
    for (let at = places.length - 1; at >= 0; at--)
      places[at] = Math.min(places[at]!, high - (places.length - 1 - at) * gap * unit);
  return new Map(sorted.map((end, at) => [end.name, places[at]!]));
}

function cut(text: string, most: number): string {
  return text.length > most ? `${text.slice(0, most - 1)}…` : text;
}

interface LinesOptions {
  width: number;
  unit: "persons" | "percent" | "rate";
  zero?: boolean;
  height?: number;
  /** Draw each point too: solid where reported, hollow where interpolated. */
  dots?: boolean | "small";
  withheld?: Withheld[];
}

export function lines(series: Line[], options: LinesOptions): Element {
  const { width, unit } = options;
  const height = options.height ?? Math.max(240, Math.min(340, width * 0.5));
  const all = series.map(known);
  const flat = all.flat();
  const values = flat.map((point) => point.value);
  const low = Math.min(...values, options.zero ? 0 : Infinity);
  const top = Math.max(...values, options.zero ? 0 : -Infinity);
  const high = top === low ? low + 1 : top;
  const years = flat.map((point) => point.year);
  const narrow = width < 520;
  const most = narrow ? 13 : 30;
  const longest = Math.max(4, ...series.map((line) => Math.min(line.name.length, most)));
  const ends = all.map((points) => points.at(-1)).filter((end) => end !== undefined);
  const right = Math.round(14 + longest * 7);
  const places = spread(ends, low, high, height - 50);
  const tint = new Map(series.map((line, at) => [line.name, line.quiet ? "var(--quiet)" : colour(at)]));
  const stroke = (point: Drawn) => tint.get(point.name)!;
  const marks: Plot.Markish[] = [
    Plot.gridY({ ...GRID, ticks: 5 }),
    Plot.axisY({ ...AXIS, tickFormat: tick(unit), ticks: 5 }),
    Plot.axisX({ ...AXIS, tickFormat: "d", ticks: narrow ? 4 : 8 }),
  ];
  if (low < 0) marks.push(Plot.ruleY([0], { stroke: "var(--quiet)" }));
  series.forEach((line, at) => {
    const points = all[at]!;
    const base = { x: "year", y: "value", stroke: tint.get(line.name)!, strokeWidth: line.quiet || options.dots === "small" ? 1.1 : 2 };
    const firm = points.filter((point) => point.status !== "projection");
    if (points.length > 1) {
      marks.push(Plot.line(gaps(firm), base));
      marks.push(Plot.line(projected(points), { ...base, strokeDasharray: "5 4" }));
    }
    const sparse = points.length < 4;
    if (options.dots || sparse) {
      const dot = { x: "year", y: "value", r: options.dots === "small" ? 1.8 : 3.2, stroke: tint.get(line.name)! };
      marks.push(
        Plot.dot(points.filter((p) => p.status !== "interpolated" && p.status !== "projection"), { ...dot, fill: tint.get(line.name)! }),
        Plot.dot(points.filter((p) => p.status === "interpolated"), { ...dot, r: 2.2, strokeWidth: 1.1, fill: "var(--paper)" }),
      );
    }
  });
  if (options.withheld?.length) marks.push(...gapMarks(options.withheld, low));
  const last = Math.max(...years);
  marks.push(
    Plot.link(ends.filter((end) => end.year < last), {
      x1: "year", x2: last, y1: "value", y2: (end: Drawn) => places.get(end.name)!, stroke, strokeOpacity: 0.35,
    }),
    Plot.text(ends, {
      x: last, y: (end: Drawn) => places.get(end.name)!, text: (end: Drawn) => cut(end.name, most),
      textAnchor: "start", dx: 8, fill: stroke, fontWeight: series.length > 1 ? 600 : 500,
    }),
    Plot.ruleX(flat, Plot.pointerX({ ariaLabel: null as never, x: "year", stroke: "var(--quiet)", strokeOpacity: 0.5 })),
    Plot.tip(flat, Plot.pointer({ ariaLabel: null as never,
      x: "year", y: "value", fill: "var(--paper)", stroke: "var(--line)",
      title: (point: Drawn) => `${point.name}, ${point.year}\n${write(unit, point.value)}\n${point.status}`,
    })),
  );
  return finish(Plot.plot({
    width, height, className: "plot", style: FONT,
    marginLeft: 46, marginRight: right, marginBottom: 26, marginTop: 14,
    x: { domain: [Math.min(...years), last] },
    y: { domain: [low, high], nice: true },
    color: { type: "identity" },
    marks,
  }));
}

/** A year without a figure breaks the line: null is never drawn as zero, nor bridged. */
function gaps(points: Drawn[]): (Drawn | { year: number; value: number })[] {
  const steps = points.slice(1).map((point, at) => point.year - points[at]!.year);
  const usual = Math.max(1, Math.min(...steps, Infinity));
  return points.flatMap((point, at) =>
    at && point.year - points[at - 1]!.year > Math.max(usual * 1.5, 5.5)
      ? [{ year: point.year - 0.5, value: NaN }, point]
      : [point],
  );
}

const MOST_GROWTH = 14;

export interface Growth {
  name: string;
  rows: { year: number; growth: number | null; natural: number | null; status: string | null }[];
}

/** Growth and the country's natural increase; the strokes between them are what is left to explain. */
export function growth(cities: Growth[], width: number): Element {
  const flat = cities.flatMap((city) => city.rows.map((row) => ({ ...row, name: city.name })));
  const both = flat.filter((row) => isNumber(row.growth) && isNumber(row.natural));
  const values = flat.flatMap((row) => [row.growth, row.natural]).filter(isNumber);
  // A few cities begin with so few people that their rates explode: the axis is cut there.
  const low = Math.max(-MOST_GROWTH, Math.min(0, ...values));
  const high = Math.min(MOST_GROWTH, Math.max(0.5, ...values));
  const narrow = width < 520;
  const many = cities.length > 1;
  const panel = many ? 130 : 260;
  const solid = (row: { status: string | null }) => row.status !== "projection";
  // Dashes begin where the last estimate is, so that the line goes on.
  const lastFirm = new Map(cities.map((city) => [city.name, Math.max(...city.rows.filter(solid).map((row) => row.year))]));
  const dashed = (row: { name: string; year: number }) => row.year >= (lastFirm.get(row.name) ?? -Infinity);
  const facet = many ? { fy: "name" } : {};
  const rows = flat.filter((row) => isNumber(row.growth));
  const lines = (keep: (row: (typeof rows)[number]) => boolean, dash?: string) => [
    Plot.line(flat.filter((row) => keep(row) && isNumber(row.natural)), {
      ...facet, x: "year", y: "natural", stroke: "var(--quiet)", strokeWidth: 1.1, strokeDasharray: dash, clip: true,
    }),
    Plot.line(rows.filter(keep), {
      ...facet, x: "year", y: "growth", stroke: "var(--accent)", strokeWidth: 2, strokeDasharray: dash, clip: true,
    }),
  ];
  const lastEach = cities.flatMap((city) => {
    const last = city.rows.filter((row) => isNumber(row.growth) && isNumber(row.natural)).at(-1);
    if (!last) return [];
    const apart = ((high - low) * 16) / (panel - 30);
    const close = Math.abs(last.growth! - last.natural!) < apart;
    const push = close ? (apart - Math.abs(last.growth! - last.natural!)) / 2 : 0;
    const up = last.growth! >= last.natural! ? 1 : -1;
    return [
      { name: city.name, year: last.year, at: last.growth! + up * push, text: "growth", fill: "var(--accent)" },
      { name: city.name, year: last.year, at: last.natural! - up * push, text: narrow ? "natural" : "natural increase", fill: "var(--quiet)" },
    ];
  });
  return finish(Plot.plot({
    width, height: many ? cities.length * (panel + 26) + 30 : panel, className: "plot", style: FONT,
    marginLeft: 46, marginRight: narrow ? 58 : 116, marginBottom: 26, marginTop: 20,
    x: {}, y: { domain: [low, high], nice: true }, color: { type: "identity" }, fy: { padding: 0.2, label: null, axis: null, domain: cities.map((city) => city.name) },
    marks: [
      Plot.gridY({ ...GRID, ticks: many ? 4 : 6 }),
      Plot.axisY({ ...AXIS, tickFormat: tick("percent"), ticks: many ? 4 : 6 }),
      Plot.axisX({ ...AXIS, tickFormat: "d", ticks: narrow ? 4 : 8 }),
      Plot.ruleX(both, { ...facet, x: "year", y1: "natural", y2: "growth", stroke: "var(--accent)", strokeOpacity: 0.25, strokeWidth: 2, clip: true }),
      Plot.ruleY([0], { stroke: "var(--quiet)" }),
      ...lines(solid),
      ...lines(dashed, "5 4"),
      Plot.text(lastEach, { ...facet, x: "year", y: "at", text: "text", fill: "fill", textAnchor: "start", dx: 8 }),
      many ? Plot.text(cities, { fy: "name", text: "name", frameAnchor: "top-left", dy: -14, dx: 2, fontWeight: 600, fill: "var(--ink)" }) : null,
      Plot.tip(rows, Plot.pointerX({ ariaLabel: null as never,
        ...facet, x: "year", y: "growth", fill: "var(--paper)", stroke: "var(--line)",
        title: (row: (typeof rows)[number]) =>
          `${row.name}, ${row.year}\ngrowth ${percent(row.growth, 2)} a year\nnatural increase of the country ${percent(row.natural, 2)}\n${row.status}`,
      })),
    ],
  }));
}

export interface Share {
  city: string;
  series: string;
  year: number;
  pct: number;
}

export interface Band {
  city: string;
  year: number;
  mid: number | null;
  low: number | null;
  high: number | null;
}

/** A figure that a check kept back: a mark stands in the gap, and says why. */
export interface Withheld {
  year: number;
  reason: string;
}

const gapMarks = (withheld: Withheld[], at: number): Plot.Markish[] => [
  Plot.dot(withheld, { x: "year", y: at, dy: -7, symbol: "times", r: 4.5, stroke: "var(--ink)", strokeWidth: 1.75 }),
  Plot.tip(withheld, Plot.pointerX({
    ariaLabel: null as never, x: "year", y: at, maxRadius: 12, fill: "var(--paper)", stroke: "var(--line)", lineWidth: 24,
    title: (one: Withheld) => `${one.year}: withheld\n${one.reason}`,
  })),
];

/** Foreign-born: what sources observed as dots, what was estimated as a band with a thin line. */
export function foreignBorn(
  observed: Share[], estimated: Band[], cities: string[], withheld: Withheld[], width: number,
): Element {
  const narrow = width < 520;
  const tint = new Map(cities.map((name, at) => [name, colour(at)]));
  const band = estimated.filter((row) => isNumber(row.mid));
  const keys = [...new Set(observed.map((row) => `${row.city}|${row.series}`))];
  const kinds = new Set(observed.map((row) => row.series)).size;
  const ends: Drawn[] = keys.map((key) => {
    const last = observed.filter((row) => `${row.city}|${row.series}` === key).at(-1)!;
    const name = cities.length === 1 ? (kinds > 1 ? last.series : last.series.split(",")[0]!) : kinds > 1 ? `${last.city}: ${last.series}` : last.city;
    return { name, year: last.year, value: last.pct, status: last.city };
  });
  for (const name of cities) {
    const last = band.filter((row) => row.city === name).at(-1);
    if (last)
      ends.push({ name: cities.length > 1 ? `${name}: estimate` : "estimate", year: last.year, value: last.mid!, status: name });
  }
  const high = Math.max(1, ...observed.map((row) => row.pct), ...band.map((row) => row.high ?? row.mid!));
  const years = [...observed, ...band, ...withheld].map((row) => row.year);
  const height = Math.max(260, Math.min(340, width * 0.5));
  const places = spread(ends, 0, high, height - 50);
  const last = Math.max(...years);
  const most = narrow ? 16 : 34;
  const longest = Math.max(4, ...ends.map((end) => Math.min(end.name.length, most)));
  return finish(Plot.plot({
    width, height, className: "plot", style: FONT,
    marginLeft: 46, marginRight: Math.round(16 + longest * 6.6), marginBottom: 26, marginTop: 14,
    x: { domain: [Math.min(...years) - 0.5, last + 0.5] }, y: { domain: [0, high], nice: true },
    color: { type: "identity" },
    marks: [
      Plot.gridY({ ...GRID, ticks: 5 }),
      Plot.axisY({ ...AXIS, tickFormat: tick("percent"), ticks: 5 }),
      Plot.axisX({ ...AXIS, tickFormat: "d", ticks: narrow ? 3 : 8, interval: undefined }),
      ...cities.flatMap((name) => {
        const own = band.filter((row) => row.city === name);
        return [
          Plot.areaY(own.filter((row) => isNumber(row.low)), { x: "year", y1: "low", y2: "high", fill: tint.get(name)!, fillOpacity: 0.18 }),
          Plot.lineY(own, { x: "year", y: "mid", stroke: tint.get(name)!, strokeWidth: 1.1 }),
        ];
      }),
      Plot.dot(observed, {
        x: "year", y: "pct", r: 3.6, fill: (row: Share) => tint.get(row.city)!,
        symbol: "series",
      }),
      ...(withheld.length ? gapMarks(withheld, 0) : []),
      Plot.link(ends, { x1: "year", x2: last + 0.4, y1: "value", y2: (end: Drawn) => places.get(end.name)!, stroke: "var(--line)" }),
      Plot.text(ends, {
        x: last + 0.5, y: (end: Drawn) => places.get(end.name)!, text: (end: Drawn) => cut(end.name, most),
        textAnchor: "start", dx: 6, fill: (end: Drawn) => tint.get(end.status)!,
      }),
      Plot.tip(observed, Plot.pointer({ ariaLabel: null as never,
        x: "year", y: "pct", fill: "var(--paper)", stroke: "var(--line)",
        title: (row: Share) => `${row.city}, ${row.year}\n${percent(row.pct, 2)}\n${row.series}, observed`,
      })),
      Plot.tip(band, Plot.pointerX({ ariaLabel: null as never,
        x: "year", y: "mid", fill: "var(--paper)", stroke: "var(--line)",
        title: (row: Band) => `${row.city}, ${row.year}\nestimate ${percent(row.mid)}\ninterval ${percent(row.low)} to ${percent(row.high)}`,
      })),
    ],
  }));
}

/** Bars with their names and figures written on them: what is compared is lengths from zero. */
export function bars(rows: { name: string; value: number }[], width: number): Element {
  const narrow = width < 520;
  const most = narrow ? 20 : 34;
  const left = Math.round(12 + Math.max(...rows.map((row) => Math.min(row.name.length, most))) * 6.9);
  return finish(Plot.plot({
    width, height: rows.length * 25 + 8, className: "plot", style: FONT,
    marginLeft: left, marginRight: 84, marginTop: 2, marginBottom: 2,
    x: { axis: null, domain: [0, Math.max(...rows.map((row) => row.value))] },
    y: { domain: rows.map((row) => row.name), axis: null, padding: 0.32 },
    marks: [
      Plot.barX(rows, { x: "value", y: "name", fill: "var(--accent)", fillOpacity: 0.75 }),
      Plot.text(rows, { x: 0, y: "name", text: (row: { name: string }) => cut(row.name, most), textAnchor: "end", dx: -8, fill: "var(--ink)" }),
      Plot.text(rows, { x: "value", y: "name", text: (row: { value: number }) => people(row.value), textAnchor: "start", dx: 6, fill: "var(--quiet)" }),
    ],
  }));
}

// ---- the map

export interface Place {
  id: string;
  name: string;
  latitude: number;
  longitude: number;
  population: number;
  value: number;
}

export interface MapOptions {
  width: number;
  land: Plot.ChannelValue | object;
  domain: object;
  /** The whole world rather than a part of it. */
  whole: boolean;
  colours: (value: number) => string;
  tell: (place: Place) => string;
  choose: (place: Place) => void;
}

export function worldMap(places: Place[], options: MapOptions): Element {
  const { width } = options;
  const largest = Math.max(1, ...places.map((place) => place.population));
  const many = places.length > 400;
  const reach = Math.max(8, Math.min(many ? 22 : 26, width / (many ? 48 : 34)));
  const radius = (place: Place) => Math.max(1.2, Math.sqrt(place.population / largest) * reach);
  const sorted = [...places].sort((a, b) => b.population - a.population);
  const chart = Plot.plot({
    width, height: Math.round(width * (options.whole ? 0.45 : width < 600 ? 0.8 : 0.52)), className: "plot", style: FONT, margin: 2,
    projection: { type: "equal-earth", domain: options.domain as never, inset: 4 },
    r: { type: "identity" }, color: { type: "identity" },
    marks: [
      Plot.geo(options.land as never, { fill: "var(--land)", stroke: "none", clip: "frame" }),
      Plot.dot(sorted, {
        x: "longitude", y: "latitude", r: radius, fill: (place: Place) => options.colours(place.value),
        stroke: "var(--edge)", strokeWidth: 0.5, fillOpacity: 0.9,
      }),
      Plot.dot(sorted, Plot.pointer({ ariaLabel: null as never, x: "longitude", y: "latitude", r: radius, stroke: "var(--ink)", strokeWidth: 1.75, maxRadius: 24 })),
      Plot.tip(sorted, Plot.pointer({ ariaLabel: null as never,
        x: "longitude", y: "latitude", maxRadius: 24, fill: "var(--paper)", stroke: "var(--line)",
        title: options.tell,
      })),
    ],
  });
  chart.addEventListener("click", () => {
    const place = chart.value as Place | null;
    if (place) options.choose(place);
  });
  return finish(chart);
}
