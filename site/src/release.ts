// The release that the site shows: which tables it has, what they say of their sources, and the small
// indexes beside it.
import { json, Ranged, SiteError } from "./http";
import { fold, type Named } from "./text";

export interface Source {
  title: string | null;
  publisher: string | null;
  edition: string | null;
  licence: string | null;
  licence_url: string | null;
  homepage: string | null;
  first_seen: string | null;
  stale: boolean;
}

export interface Table {
  path: string;
  bytes: number;
  footer: number;
  rows: number;
  title: string;
  columns: string[];
}

export interface Site {
  release: string;
  extract: boolean;
  series: string;
  created: string;
  data: string;
  path: string;
  database_bytes: number;
  tables: Record<string, Table>;
  sources: Record<string, Source>;
}

let site: Promise<Site> | undefined;
export function theSite(): Promise<Site> {
  site ??= json<Site>("site.json");
  return site;
}

export async function has(table: string, ...columns: string[]): Promise<boolean> {
  const found = (await theSite()).tables[table];
  return found !== undefined && columns.every((column) => found.columns.includes(column));
}

/** Data files carry the stamp of their contents, so that a new release is never mixed with an old. */
export async function data(path: string): Promise<string> {
  return `data/${path}?${(await theSite()).data}`;
}

// ---- cities

export interface City extends Named {
  id: string;
  name: string;
  local: string | null;
  country: string;
  latitude: number | null;
  longitude: number | null;
  kind: string;
  capital: boolean | null;
  wup2025: boolean;
  population: number | null;
  populationYear: number | null;
}

export interface Group {
  name: string;
  cities: string[];
}

type CityRow = [
  string, string, string | null, string, number | null, number | null, string, number | null,
  number, number | null, number | null, string[] | null,
];

export function city(row: CityRow): City {
  const [id, name, local, country, latitude, longitude, kind, capital, wup, population, year, more] =
    row;
  return {
    id, name, local, country, latitude, longitude, kind,
    capital: capital === null ? null : capital === 1,
    wup2025: wup === 1,
    population,
    populationYear: year,
    names: [name, local, ...(more ?? [])].filter((text) => text !== null).map(fold),
  };
}

export interface Index {
  cities: City[];
  byId: Map<string, City>;
  countries: Record<string, [string, string | null, string | null]>;
  groups: Record<string, Group>;
}

let index: Promise<Index> | undefined;
export function cityIndex(): Promise<Index> {
  index ??= (async () => {
    const raw = await json<{
      rows: CityRow[];
      countries: Index["countries"];
      groups: Index["groups"];
    }>(await data("cities.json"));
    const cities = raw.rows.map(city);
    const byId = new Map(cities.map((one) => [one.id, one]));
    return { cities, byId, countries: raw.countries, groups: raw.groups };
  })();
  return index;
}

// ---- countries

type Series = (number | null)[];

export interface Country {
  country: string;
  name: string;
  region: string | null;
  subregion: string | null;
  notes: string | null;
  cities: City[];
  groups: Record<string, [string, string][]>;
  /** Last figures that are no projections, by city and indicator: year and value. */
  latest: Record<string, Record<string, [number, number] | undefined>>;
  withheld: Record<string, [number | null, string, string, string | null, string][]>;
  incidents: Record<string, [number, number | null, number, number]>;
  migration?: Record<string, Series> & {
    migrant_stock_status?: (string | null)[];
    migrant_stock_definition?: (string | null)[];
  };
  origins?: { year: number; total: number; top: [string, string, number][] };
  displaced?: { year: number; top: [string, string, number | null, number | null][] };
  settings?: { year: number; rows: [string, string, number][] };
}

const countries = new Map<string, Promise<Country>>();
export function theCountry(code: string): Promise<Country> {
  let found = countries.get(code);
  if (!found) {
    found = (async () => {
      const raw = await json<Country & { cities: unknown[] }>(
        await data(`countries/${encodeURIComponent(code)}.json`),
      );
      return { ...raw, cities: (raw.cities as CityRow[]).map(city) };
    })();
    countries.set(code, found);
  }
  return found;
}

/** A city by its id: the id begins with its country, so one small file tells whether it exists. */
export async function cityById(id: string): Promise<{ city: City; country: Country }> {
  const code = id.split("-")[0]?.toUpperCase() ?? "";
  const unknown = new SiteError(
    `There is no city “${id}” in this release. Search for it by name, or in its country.`,
  );
  if (!/^[a-z]{3}-[a-z0-9-]+$/.test(id)) throw unknown;
  let country: Country;
  try {
    country = await theCountry(code);
  } catch (error) {
    if (error instanceof SiteError && error.message.includes("missing")) throw unknown;
    throw error;
  }
  const city = country.cities.find((one) => one.id === id);
  if (!city) throw unknown;
  return { city, country };
}

// ---- the map

export interface Layer {
  id: string;
  label: string;
  unit: string;
  source: string;
  /** Where the rows of a layer come from more than one source. */
  sources?: string[];
  definition: string;
  diverging: boolean;
  national: boolean;
  modelled: boolean;
  years: number[];
  low: number;
  high: number;
}

export interface Atlas {
  cities: number;
  years: [number, number];
  estimates_until: number | null;
  layers: Layer[];
}

let atlas: Promise<Atlas> | undefined;
export function theAtlas(): Promise<Atlas> {
  atlas ??= (async () => json<Atlas>(await data("map.json")))();
  return atlas;
}

const layers = new Map<string, Ranged>();
/** A figure for each city in the order of the index; not a number where there is none. */
export async function layerValues(id: string, year: number): Promise<Float32Array> {
  const about = await theAtlas();
  const size = about.cities * 4;
  const years = about.years[1] - about.years[0] + 1;
  let file = layers.get(id);
  if (!file) {
    file = new Ranged(await data(`map/${id}.f32`), size * years);
    layers.set(id, file);
  }
  const start = (year - about.years[0]) * size;
  return new Float32Array(await file.slice(start, start + size));
}
