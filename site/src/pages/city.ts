// A city's profile: its figures at a glance, then a chart for each question, beside up to four other
// cities.  What the release does not have is left out or said; what cannot be read is said in its place.
import * as charts from "../charts";
import { combobox } from "../combobox";
import { announce, type Child, h, link, note, replace } from "../dom";
import { count, isNumber, number, people, percent } from "../format";
import { type Figure, figure, sourceLine, sqlAddress, table } from "../figure";
import { SiteError } from "../http";
import { type Row, rows } from "../parquet";
import { type City, cityById, type Country, has, type Site, theSite } from "../release";
import type { Sign } from "../signs";

const MOST = 4;

interface Profile {
  city: City;
  country: Country;
  rows: Row[];
}

/** What the charts are drawn from; the rest is read when its rows are asked for. */
const COLUMNS = [
  "city_id", "city_name", "country_iso3", "year", "population", "population_status", "population_series",
  "population_growth_pct", "country_natural_increase_pct", "foreign_born", "foreign_born_pct",
  "foreign_born_concept", "foreign_born_source_id", "foreign_born_geography", "foreign_born_estimate_pct",
  "foreign_born_estimate_low_pct", "foreign_born_estimate_high_pct",
];

const KINDS: Record<string, string> = {
  un_agglomeration: "urban agglomeration as World Urbanization Prospects 2018 defines it",
  un_city_2025: "city of World Urbanization Prospects 2025, by degree of urbanization; not in the 2018 edition",
  statistical_city: "city as its statistical office counts it",
};

const num = (row: Row | undefined, name: string): number | null => {
  const value = row?.[name];
  return isNumber(value) ? value : null;
};
const text = (row: Row | undefined, name: string): string | null => {
  const value = row?.[name];
  return typeof value === "string" && value ? value : null;
};
const quoted = (value: string): string => `'${value.replaceAll("'", "''")}'`;
const listed = (values: string[]): string => values.map(quoted).join(", ");

export async function profile(app: HTMLElement): Promise<void> {
  const asked = new URLSearchParams(location.search);
  const id = asked.get("id") ?? "";
  const others = [...new Set((asked.get("with") ?? "").split(",").filter((one) => one && one !== id))].slice(0, MOST);
  const site = await theSite();
  if (!id) return lost(app, "No city is named in this address. Search for one:", "");
  const problems: string[] = [];
  const read = async (one: string): Promise<Profile> => {
    const [found, own] = await Promise.all([
      cityById(one),
      rows("city_indicators", COLUMNS, { city_id: { $eq: one } }).catch((error: unknown) => {
        if (!(error instanceof SiteError)) throw error;
        problems.push(error.message);
        return [] as Row[];
      }),
    ]);
    return { ...found, rows: own.sort((a, b) => Number(a.year) - Number(b.year)) };
  };
  let main: Profile;
  try {
    main = await read(id);
  } catch (error) {
    if (!(error instanceof SiteError)) throw error;
    return lost(app, error.message, id.split("-").slice(1).join(" "));
  }
  const beside = await Promise.all(others.map((one) => read(one).catch((error: unknown) => {
    if (!(error instanceof SiteError)) throw error;
    problems.push(error.message);
    return null;
  })));
  const all = [main, ...beside.filter((one) => one !== null)];
  document.title = `${all.map(({ city }) => city.name).join(", ")} · Urban migration indicators`;

  const slots: HTMLElement[] = [];
  const slot = (make: () => Promise<Child>): HTMLElement => {
    const place = h("div", { class: "slot" });
    make().then((made) => replace(place, made), (error: unknown) => {
      if (!(error instanceof SiteError)) console.error(error);
      replace(place, note(error instanceof SiteError ? error.message : "This part could not be shown.", "problem"));
    });
    slots.push(place);
    return place;
  };
  replace(
    app,
    heading(main),
    compareControl(main, all, others),
    [...new Set(problems)].map((one) => note(one, "problem")),
    glance(all, site),
    slot(() => populationFigure(all)),
    slot(() => growthFigure(all)),
    slot(() => foreignBornFigure(all, site)),
    slot(() => cityOrigins(main)),
    slot(() => originsFigure(main)),
    h("h2", { class: "part" }, unique(all).length > 1
      ? `${unique(all).map((country) => country.name).join(", ")}: the countries around them`
      : `${main.country.name}: the country around ${all.length > 1 ? "them" : "it"}`),
    main.country.notes && h("p", { class: "quiet" }, main.country.notes),
    slot(() => migrantsFigure(all)),
    slot(() => changeFigure(main)),
    slot(() => displacementFigure(main, site)),
    slot(() => displacedFigure(main)),
    slot(() => settingsFigure(main)),
    slot(() => cityDisplaced(main)),
    slot(async () => groupsPart(main)),
    slot(() => morePart(main)),
    withheldPart(main),
  );
  announce(`Profile of ${main.city.name}`);
}

function lost(app: HTMLElement, message: string, guess: string): void {
  const search = combobox({
    label: "Find a city", placeholder: "munchen, kiev, sao paulo …", value: guess, typed: () => undefined,
    choose: (city) => location.assign(`city.html?id=${encodeURIComponent(city.id)}`),
  });
  replace(app, h("h1", {}, "City profile"), note(message, "problem"), search,
    h("p", {}, h("a", { href: "index.html" }, "All cities, map and filters")));
}

// ---- the top of the page

function heading({ city, country }: Profile): HTMLElement {
  const where = [country.name, country.subregion].filter(Boolean).join(", ");
  return h("div", { class: "heading" },
    h("h1", {}, city.name, city.local && h("span", { class: "local", lang: "" }, ` ${city.local}`)),
    h("p", { class: "lede" }, `${where}. `, city.capital ? "Capital. " : "",
      KINDS[city.kind] ? `Counted here as the ${KINDS[city.kind]}.` : ""));
}

function address(id: string, others: string[]): string {
  const more = others.length ? `&with=${others.map(encodeURIComponent).join(",")}` : "";
  return `city.html?id=${encodeURIComponent(id)}${more}`;
}

function compareControl(main: Profile, all: Profile[], others: string[]): HTMLElement {
  const chips = all.slice(1).map(({ city }, at) => {
    const rest = others.filter((one) => one !== city.id);
    return h("li", {}, h("span", { class: `tint-${at + 1}` }, city.name), " ",
      h("a", { href: address(main.city.id, rest), "aria-label": `Remove ${city.name} from the comparison` }, "remove"));
  });
  return h("section", { class: "compare", "aria-label": "Comparison" },
    others.length < MOST && combobox({
      label: others.length ? "Compare with another city" : "Compare with up to four cities",
      placeholder: "Vienna, Lisbon …", clear: true,
      choose: (city) => {
        if (city.id !== main.city.id) location.assign(address(main.city.id, [...new Set([...others, city.id])]));
      },
    }),
    chips.length > 0 && h("ul", { class: "chips", "aria-label": "Compared with" }, chips));
}

const latest = (profile: Profile, name: string, keep: (row: Row) => boolean = () => true): Row | undefined =>
  profile.rows.filter((row) => num(row, name) !== null && keep(row)).at(-1);
const last = ({ city, country }: Profile, name: string): [number, number] | [] => country.latest[city.id]?.[name] ?? [];
const firm = (row: Row): boolean => row.population_status !== "projection";

function glance(all: Profile[], site: Site): HTMLElement {
  const cell = (value: string, more: Child): Child => [h("span", { class: "value" }, value), " ", h("span", { class: "quiet" }, more)];
  const none = h("span", { class: "quiet" }, "no figure in this release");
  const lines: { label: string; of: (profile: Profile) => Child; national?: boolean }[] = [
    { label: "Population", of: (one) => {
      const row = latest(one, "population", firm) ?? latest(one, "population");
      if (!row) return one.city.population === null ? none : cell(people(one.city.population), String(one.city.populationYear ?? ""));
      return cell(people(num(row, "population")), `${row.year}, ${text(row, "population_status") ?? ""}`);
    } },
    { label: "Growth a year, mean of five years", of: (one) => {
      const row = latest(one, "population_growth_pct", firm);
      return row ? cell(percent(num(row, "population_growth_pct"), 2), `to ${row.year}`) : none;
    } },
    { label: "of which implied net migration", of: (one) => {
      const [year, value] = last(one, "implied_net_migration_pct");
      return year ? cell(percent(value, 2), `to ${year}, modelled`) : none;
    } },
    { label: "Rank in the country", of: (one) => {
      const [year, value] = last(one, "rank_in_country");
      return year ? cell(String(value), String(year)) : none;
    } },
    { label: "Share of the country's urban people", of: (one) => {
      const [year, value] = last(one, "urban_population_share_pct");
      return year ? cell(percent(value), String(year)) : none;
    } },
    { label: "Foreign-born, observed", of: (one) => {
      const row = latest(one, "foreign_born_pct");
      return row ? cell(percent(num(row, "foreign_born_pct")),
        `${row.year}, ${(text(row, "foreign_born_concept") ?? "").replaceAll("_", " ")}, ${shortSource(text(row, "foreign_born_source_id") ?? "")}`) : none;
    } },
    { label: "Foreign-born, estimated", of: (one) => {
      const row = latest(one, "foreign_born_estimate_pct");
      return row ? cell(percent(num(row, "foreign_born_estimate_pct")),
        `${row.year}, between ${percent(num(row, "foreign_born_estimate_low_pct"))} and ${percent(num(row, "foreign_born_estimate_high_pct"))}`) : none;
    } },
    { label: "Migrants in the country", national: true, of: (one) => {
      const migration = one.country.migration;
      const at = migration?.migrant_pct?.findLastIndex((value, n) => value !== null && migration.migrant_stock_status?.[n] === "reported") ?? -1;
      return at >= 0 ? cell(percent(migration!.migrant_pct![at]), `${one.country.name}, ${migration!.year![at]}`) : none;
    } },
  ];
  // A line that no city has a figure for is not shown, except for what one would look for.
  const kept = lines.filter((line) => /observed/.test(line.label) || all.some((one) => line.of(one) !== none));
  const series = [...new Set(all.flatMap((one) => one.rows.map((row) => text(row, "population_series"))))].filter(Boolean);
  return h("section", { class: "glance", "aria-label": "At a glance" },
    h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Figures at a glance" },
      h("table", {},
        all.length > 1 && h("thead", {}, h("tr", {}, h("th", { scope: "col" }, h("span", { class: "unseen" }, "Figure")),
          all.map(({ city }, at) => h("th", { scope: "col", class: `tint-${at}` }, city.name)))),
        h("tbody", {}, kept.map((line) => h("tr", {}, h("th", { scope: "row" }, line.label),
          all.map((one) => {
            const made = line.of(one);
            return h("td", {}, made === none ? none.cloneNode(true) : made);
          })))))),
    h("p", { class: "source" }, `Population series: ${series.join(", ") || site.series}. Definitions and sources stand under each chart and in the `,
      h("a", { href: "dictionary.html#city_indicators" }, "dictionary"), "."));
}

// ---- sources

const editionOf = (series: string | null | undefined): string =>
  series?.startsWith("wup") ? `un_wup_${series.slice(3)}` : (series ?? "");

function populationSources(all: Profile[]): string[] {
  return [...new Set(all.flatMap((one) => one.rows.map((row) => editionOf(text(row, "population_series")))))].filter(Boolean);
}

const SHORT: [RegExp, string][] = [
  [/^eurostat/, "Eurostat"], [/^us_acs/, "US ACS"], [/^abs_/, "ABS Australia"], [/^statcan/, "StatCan"],
  [/^unsd/, "UNSD"], [/^unhcr/, "UNHCR"], [/^idmc/, "IDMC"],
];
const shortSource = (id: string): string => SHORT.find(([form]) => form.test(id))?.[1] ?? id.replaceAll("_", " ");

// ---- the city's own figures

async function populationFigure(all: Profile[]): Promise<Child> {
  const ids = all.map(({ city }) => city.id);
  const series: charts.Line[] = all.map(({ city, rows: own }) => ({
    name: city.name,
    points: own.map((row) => ({ year: Number(row.year), value: num(row, "population"), status: text(row, "population_status") })),
  }));
  let behind = all.flatMap(({ rows: own }) => pick(own, ["city_id", "city_name", "year", "population", "population_status", "population_series"]));
  let sources = populationSources(all);
  let sql = `select city_id, city_name, year, population, population_status, population_series\nfrom city_indicators\nwhere city_id in (${listed(ids)}) and population is not null\norder by city_id, year`;
  // Another edition counts another city: shown for a single one, as a line of its own name.
  const [only] = all;
  if (all.length === 1 && only && (only.city.wup2025 || !only.rows.length) && (await has("city_population", "city_id", "year", "series", "population"))) {
    const more = await rows("city_population", null, { city_id: { $eq: only.city.id } });
    const used = new Set(only.rows.map((row) => text(row, "population_series")));
    const editions = [...new Set(more.map((row) => text(row, "series")))].filter((one) => one && !used.has(one)) as string[];
    for (const edition of editions) {
      const own = more.filter((row) => row.series === edition).sort((a, b) => Number(a.year) - Number(b.year));
      series.push({ name: edition.toUpperCase().replace("WUP", "WUP "), quiet: true,
        points: own.map((row) => ({ year: Number(row.year), value: num(row, "population"), status: text(row, "status") })) });
      sources.push(editionOf(edition));
    }
    if (editions.length) {
      if (series[0]) series[0].name = (text(only.rows[0], "population_series") ?? only.city.name).toUpperCase().replace("WUP", "WUP ");
      behind = pick(more, ["city_id", "year", "series", "population", "status", "source_id"]);
      sql = `select * from city_population\nwhere city_id = ${quoted(only.city.id)}\norder by series, year`;
      sources = [...new Set(sources)];
    }
  }
  const withheld = only && all.length === 1 ? keptBack(only, (source) => sources.includes(source)) : [];
  const drawn = series.filter((line) => line.points.some((point) => isNumber(point.value)));
  if (!drawn.length) return note("This release has no population of this city.");
  const editions = series.length > all.length;
  return figure({
    id: "population",
    title: "Population",
    definition: editions
      ? "People at mid-year. The editions draw the city differently, so their lines are two cities of one name, not one that changed."
      : "People at mid-year, in one edition and definition for all years; years between the edition's five-year points are its own interpolation.",
    signs: [...signsOf(drawn), ...(withheld.length ? ["withheld" as const] : [])],
    sources,
    edition: years(drawn),
    summary: `Lines of population by year: ${drawn.map(told(people)).join("; ")}.`,
    draw: (width) => charts.lines(drawn, { width, unit: "persons", zero: true, withheld }),
    rows: () => behind.filter((row) => row.population !== null),
    sql,
  });
}

const pick = (from: Row[], names: string[]): Row[] =>
  from.map((row) => Object.fromEntries(names.filter((name) => name in row).map((name) => [name, row[name]!])));

function signsOf(series: charts.Line[]): Sign[] {
  const statuses = new Set(series.flatMap((line) => line.points.filter((point) => isNumber(point.value)).map((point) => point.status)));
  const signs: Sign[] = [];
  if (statuses.has("observed") || statuses.has("reported")) signs.push("observed");
  if (statuses.has("estimate") || statuses.has(null) || statuses.has(undefined)) signs.push("estimate");
  if (statuses.has("interpolated")) signs.push("interpolated");
  if (statuses.has("projection")) signs.push("projection");
  return signs;
}

function years(series: charts.Line[]): string {
  const all = series.flatMap((line) => line.points.filter((point) => isNumber(point.value)).map((point) => point.year));
  return all.length ? `${Math.min(...all)}–${Math.max(...all)}.` : "";
}

const told = (write: (value: number) => string) => (line: charts.Line): string => {
  const points = line.points.filter((point) => isNumber(point.value));
  const first = points[0], last = points.filter((point) => point.status !== "projection").at(-1) ?? points.at(-1);
  return first && last ? `${line.name} ${write(first.value!)} in ${first.year}, ${write(last.value!)} in ${last.year}` : line.name;
};

async function growthFigure(all: Profile[]): Promise<Child> {
  const cities = all.map(({ city, rows: own }) => ({
    name: city.name,
    rows: own.map((row) => ({
      year: Number(row.year), growth: num(row, "population_growth_pct"),
      natural: num(row, "country_natural_increase_pct"), status: text(row, "population_status"),
    })),
  })).filter((one) => one.rows.some((row) => row.growth !== null));
  if (!cities.length) return null;
  const ids = all.map(({ city }) => city.id);
  const recent = all.map((one) => {
    const row = latest(one, "population_growth_pct", firm);
    const [year, implied] = last(one, "implied_net_migration_pct");
    return row ? `${one.city.name} grew ${percent(num(row, "population_growth_pct"), 2)} a year in the five years to ${row.year}${year === row.year ? `, of which ${percent(implied, 2)} is implied net migration` : ""}` : "";
  });
  return figure({
    id: "growth",
    title: "Growth and its parts",
    definition: "Growth: mean of five years, per cent a year. Natural increase: births less deaths in the country as a whole, the same five years. What lies between them is implied net migration: modelled, as if the city had its country's natural increase, and including what a change of the city's borders adds.",
    signs: ["estimate", "national", "modelled", "projection"],
    sources: [...populationSources(all), "un_wpp_2024"],
    summary: `Growth and the country's natural increase by year. ${recent.filter(Boolean).join("; ")}.`,
    draw: (width) => charts.growth(cities, width),
    rows: async () => (await Promise.all(ids.map((id) => rows("city_indicators", ["city_id", "city_name", "year", "population_growth_pct", "country_natural_increase_pct", "implied_net_migration_pct", "population_status"], { city_id: { $eq: id } })))).flat()
      .filter((row) => row.population_growth_pct !== null),
    sql: `select city_id, city_name, year, population_growth_pct, country_natural_increase_pct, implied_net_migration_pct, population_status\nfrom city_indicators\nwhere city_id in (${listed(ids)}) and population_growth_pct is not null\norder by city_id, year`,
  });
}

const OBSERVED = ["foreign_born", "foreign_citizen", "immigrant"];
const MIGRANTS = ["city_id", "year", "concept", "origin", "source_id", "source_code", "migrants", "population", "migrants_pct", "geography", "flag"];

const migrantRows = new Map<string, Promise<Row[]>>();
async function cityMigrants(id: string): Promise<Row[]> {
  if (!(await has("city_migrants", "city_id", "year", "concept", "origin"))) return [];
  let found = migrantRows.get(id);
  if (!found) {
    found = rows("city_migrants", MIGRANTS, { city_id: { $eq: id } });
    migrantRows.set(id, found);
  }
  return found;
}

async function foreignBornFigure(all: Profile[], site: Site): Promise<Child> {
  const ids = all.map(({ city }) => city.id);
  const migrants = (await Promise.all(ids.map(cityMigrants))).flat();
  const names = new Map(all.map(({ city }) => [city.id, city.name]));
  const observed: charts.Share[] = migrants
    .filter((row) => row.origin === "all" && OBSERVED.includes(String(row.concept)) && num(row, "migrants_pct") !== null)
    .map((row) => ({
      city: names.get(String(row.city_id))!, year: Number(row.year), pct: num(row, "migrants_pct")!,
      series: `${String(row.concept).replaceAll("_", " ")}, ${shortSource(String(row.source_id))}${text(row, "geography") && row.geography !== "city" ? `, ${String(row.geography).replaceAll("_", " ")}` : ""}`,
    }))
    .sort((a, b) => a.year - b.year);
  const band: charts.Band[] = all.flatMap(({ city, rows: own }) => own.filter((row) => num(row, "foreign_born_estimate_pct") !== null).map((row) => ({
    city: city.name, year: Number(row.year), mid: num(row, "foreign_born_estimate_pct"),
    low: num(row, "foreign_born_estimate_low_pct"), high: num(row, "foreign_born_estimate_high_pct"),
  })));
  if (!observed.length)
    for (const { city, rows: own } of all)
      for (const row of own)
        if (num(row, "foreign_born_pct") !== null)
          observed.push({ city: city.name, year: Number(row.year), pct: num(row, "foreign_born_pct")!,
            series: `${String(row.foreign_born_concept ?? "").replaceAll("_", " ")}, ${shortSource(String(row.foreign_born_source_id ?? ""))}` });
  if (!observed.length && !band.length)
    return h("section", { class: "absent" }, h("h2", {}, "Foreign-born people"),
      h("p", {}, `No source in this release counts the foreign-born people of ${all.map(({ city }) => city.name).join(", ")}, and none is estimated. National figures, further down, are never divided among cities.`));
  const cities = all.map(({ city }) => city.name).filter((name) => observed.some((row) => row.city === name) || band.some((row) => row.city === name));
  const missing = all.map(({ city }) => city.name).filter((name) => !cities.includes(name));
  const kinds = [...new Set(observed.map((row) => row.series))];
  const withheld = all.length === 1 ? keptBack(all[0]!, (source) => migrants.some((row) => row.source_id === source)) : [];
  const sources = [...new Set(migrants.map((row) => String(row.source_id)))].filter((one) => site.sources[one]);
  return figure({
    id: "foreign-born",
    title: "Foreign-born people",
    definition: `Per cent of the city's people. Each source counts by a concept and a geography of its own: compare within one before comparing across.${kinds.length === 1 ? ` Here: ${kinds[0]}.` : ""}${missing.length ? ` No figure of ${missing.join(", ")}.` : ""}`,
    signs: [...(observed.length ? ["observed" as const] : []), ...(band.length ? ["estimated" as const] : []), ...(withheld.length ? ["withheld" as const] : [])],
    sources,
    edition: band.length ? "The estimate and its interval are this project's model: see the methodology." : "",
    summary: `Foreign-born share: ${[...observed].reverse().slice(0, 6).map((row) => `${row.city} ${percent(row.pct)} in ${row.year} (${row.series})`).join("; ") || "estimates only"}.`,
    draw: (width) => charts.foreignBorn(observed, band, cities, withheld, width),
    rows: () => migrants.length
      ? migrants.filter((row) => row.origin === "all" && OBSERVED.includes(String(row.concept)))
      : all.flatMap(({ rows: own }) => pick(own, COLUMNS.filter((name) => name.startsWith("foreign_born") || ["city_id", "year"].includes(name))).filter((row) => row.foreign_born_pct !== null || row.foreign_born_estimate_pct !== null)),
    sql: migrants.length
      ? `select *\nfrom city_migrants\nwhere city_id in (${listed(ids)}) and origin = 'all'\n  and concept in (${listed(OBSERVED)})\norder by city_id, source_id, concept, year`
      : `select city_id, year, foreign_born_pct, foreign_born_concept, foreign_born_source_id,\n       foreign_born_estimate_pct, foreign_born_estimate_low_pct, foreign_born_estimate_high_pct\nfrom city_indicators\nwhere city_id in (${listed(ids)}) and coalesce(foreign_born_pct, foreign_born_estimate_pct) is not null\norder by city_id, year`,
  });
}

/** Years whose figure a check kept back, and why, once a year; of the sources that a chart shows. */
function keptBack({ city, country }: Profile, of: (source: string) => boolean): charts.Withheld[] {
  const found = new Map<number, string>();
  for (const [year, , source, , reason] of country.withheld[city.id] ?? [])
    if (year !== null && of(source) && !found.has(year)) found.set(year, reason);
  return [...found].map(([year, reason]) => ({ year, reason })).sort((a, b) => a.year - b.year);
}

async function cityOrigins(main: Profile): Promise<Child> {
  const own = (await cityMigrants(main.city.id)).filter((row) => row.origin !== "all" && num(row, "migrants") !== null && OBSERVED.includes(String(row.concept)));
  if (!own.length) return null;
  const newest = Math.max(...own.map((row) => Number(row.year)));
  const kinds = [...new Set(own.filter((row) => row.year === newest).map((row) => `${row.concept}|${row.source_id}`))];
  const [concept, source] = (kinds[0] ?? "|").split("|");
  const shown = own.filter((row) => row.year === newest && row.concept === concept && row.source_id === source)
    .sort((a, b) => num(b, "migrants")! - num(a, "migrants")!);
  if (shown.length < 2) return null;
  return figure({
    id: "city-origins",
    title: `Where ${main.city.name}'s ${concept!.replaceAll("_", " ")} people come from, ${newest}`,
    definition: "People counted in the city itself, by country.",
    signs: [], sources: [source!], edition: `${newest}.`,
    summary: shown.slice(0, 5).map((row) => `${row.origin} ${people(num(row, "migrants"))}`).join("; "),
    draw: (width) => charts.bars(shown.slice(0, 15).map((row) => ({ name: String(row.origin), value: num(row, "migrants")! })), width),
    rows: () => shown,
    sql: `select origin, migrants, migrants_pct\nfrom city_migrants\nwhere city_id = ${quoted(main.city.id)} and year = ${newest}\n  and concept = ${quoted(concept!)} and source_id = ${quoted(source!)} and origin <> 'all'\norder by migrants desc`,
  });
}

// ---- the country

async function originsFigure({ country }: Profile): Promise<Child> {
  const origins = country.origins;
  if (!origins?.top.length) return null;
  const { year, total, top } = origins;
  return figure({
    id: "origins",
    title: `Where migrants in ${country.name} come from, ${year}`,
    definition: `Migrants in the whole country, by origin: ${people(total)} in all; the ${top.length} largest are shown. No source tells the origins for each city of the world.`,
    signs: [], sources: ["un_migrant_stock_2024"], edition: `${year}.`,
    summary: top.slice(0, 5).map(([, name, value]) => `${name} ${people(value)}`).join("; "),
    draw: (width) => charts.bars(top.map(([, name, value]) => ({ name, value })), width),
    rows: () => rows("migrant_stock_origins", null, { destination_iso3: { $eq: country.country }, year: { $eq: year }, sex: { $eq: "both" } }),
    sql: `select origin_iso3, name as origin, migrants\nfrom migrant_stock_origins\nleft join countries on country_iso3 = origin_iso3\nwhere destination_iso3 = ${quoted(country.country)} and year = ${year} and sex = 'both'\norder by migrants desc`,
  });
}

const unique = (all: Profile[]): Country[] => [...new Map(all.map(({ country }) => [country.country, country])).values()];

function points(country: Country, column: string, status?: (at: number) => string | null): charts.Point[] {
  const migration = country.migration;
  const values = migration?.[column];
  if (!migration || !values) return [];
  return (migration.year ?? []).map((year, at) => ({ year: year!, value: values[at] ?? null, status: status ? status(at) : "reported" }));
}

async function migrantsFigure(all: Profile[]): Promise<Child> {
  const countries = unique(all);
  const series: charts.Line[] = countries.map((country) => ({
    name: country.name,
    points: points(country, "migrant_pct", (at) => country.migration?.migrant_stock_status?.[at] ?? null).filter((point) => point.value !== null),
  })).filter((line) => line.points.length);
  if (!series.length) return null;
  const meanings: Record<string, string> = { B: "born abroad", C: "foreign citizens", I: "imputed", R: "refugees added" };
  const said = countries.map((country) => {
    const code = country.migration?.migrant_stock_definition?.filter((one) => one).at(-1);
    return code ? `${country.name}: ${code.split(/\s+/).map((one) => meanings[one] ?? one).join(", ")}` : "";
  }).filter(Boolean);
  const codes = countries.map((country) => country.country);
  return figure({
    id: "migrants",
    title: "Migrants in the country's population",
    definition: `Per cent of the country's people, for the UN's reference years; linear between them. Who counts as a migrant: ${said.join("; ") || "as published"}.`,
    signs: ["observed", "interpolated"], sources: ["un_migrant_stock_2024"], edition: years(series),
    summary: series.map(told((value) => percent(value))).join("; "),
    draw: (width) => charts.lines(series, { width, unit: "percent", zero: true, dots: true }),
    rows: async () => (await Promise.all(codes.map((code) => rows("country_migration", ["country_iso3", "year", "migrant_stock", "migrant_pct", "migrant_stock_status", "migrant_stock_definition"], { country_iso3: { $eq: code } })))).flat().filter((row) => row.migrant_pct !== null),
    sql: `select country_iso3, year, migrant_stock, migrant_pct, migrant_stock_status, migrant_stock_definition\nfrom country_migration\nwhere country_iso3 in (${listed(codes)}) and migrant_pct is not null\norder by country_iso3, year`,
  });
}

async function changeFigure({ country }: Profile): Promise<Child> {
  const status = (at: number) => {
    const said = (country.migration as Record<string, (string | number | null)[]> | undefined)?.population_status?.[at];
    return said === "projection" ? "projection" : "estimate";
  };
  const series: charts.Line[] = [
    { name: "net migration", points: points(country, "net_migration_per_1000", status) },
    { name: "natural increase", points: points(country, "natural_increase_per_1000", status), quiet: true },
  ].filter((line) => line.points.some((point) => point.value !== null));
  if (!series.length) return null;
  return figure({
    id: "change",
    title: `Net migration and natural increase of ${country.name}`,
    definition: "For each 1,000 people of the country, a year. Net migration: those who came less those who left. Natural increase: births less deaths.",
    signs: signsOf(series), sources: ["un_wpp_2024"], edition: years(series),
    summary: series.map(told((value) => number(value, 1))).join("; "),
    draw: (width) => charts.lines(series, { width, unit: "rate", zero: true }),
    rows: async () => (await rows("country_migration", ["country_iso3", "year", "net_migration_per_1000", "natural_increase_per_1000", "population", "population_status"], { country_iso3: { $eq: country.country } })).filter((row) => Number(row.year) <= 2030),
    sql: `select year, net_migration_per_1000, natural_increase_per_1000, population, population_status\nfrom country_migration\nwhere country_iso3 = ${quoted(country.country)} and year <= 2030\norder by year`,
  });
}

const DISPLACED: [string, string, string][] = [
  ["refugees", "refugees", "unhcr_population"], ["asylum_seekers", "asylum seekers", "unhcr_population"],
  ["idps", "internally displaced (UNHCR)", "unhcr_population"], ["stateless", "stateless", "unhcr_population"],
  ["conflict_idps_idmc", "displaced by conflict (IDMC)", "idmc"], ["disaster_idps_idmc", "displaced by disaster (IDMC)", "idmc"],
];

async function displacementFigure({ country }: Profile, site: Site): Promise<Child> {
  const kept = DISPLACED.map(([column, name, source]) => ({
    column, source, line: { name, points: points(country, column).filter((point) => point.value !== null) },
  })).filter(({ line }) => line.points.some((point) => point.value))
    .sort((a, b) => Math.max(...b.line.points.map((p) => p.value!)) - Math.max(...a.line.points.map((p) => p.value!))).slice(0, 5);
  if (!kept.length) return null;
  // A line that lies on zero beside the largest says nothing; its figures are in the table.
  const most = Math.max(...kept[0]!.line.points.map((point) => point.value!));
  const left = kept.filter(({ line }) => Math.max(...line.points.map((point) => point.value!)) < most / 300);
  kept.splice(kept.length - left.length);
  const columns = kept.map(({ column }) => column);
  const sources = [...new Set(kept.map(({ source }) => Object.keys(site.sources).find((id) => id.startsWith(source)) ?? source))];
  return figure({
    id: "displacement",
    title: `Displaced people in ${country.name}`,
    definition: "People at the end of each year, as the agencies report them for the country. The groups overlap and come from different counts: do not add them up." +
      (left.length ? ` Too few to be seen beside them: ${left.map(({ line }) => line.name).join(", ")}.` : ""),
    signs: ["observed"], sources, edition: years(kept.map(({ line }) => line)),
    summary: kept.map(({ line }) => told(people)(line)).join("; "),
    draw: (width) => charts.lines(kept.map(({ line }) => line), { width, unit: "persons", zero: true, dots: "small" }),
    rows: async () => (await rows("country_migration", ["country_iso3", "year", ...columns], { country_iso3: { $eq: country.country } })).filter((row) => columns.some((name) => row[name] !== null)),
    sql: `select year, ${columns.join(", ")}\nfrom country_migration\nwhere country_iso3 = ${quoted(country.country)} and coalesce(${columns.join(", ")}) is not null\norder by year`,
  });
}

async function displacedFigure({ country }: Profile): Promise<Child> {
  const displaced = country.displaced;
  if (!displaced?.top.length) return null;
  const { year, top } = displaced;
  return figure({
    id: "displaced-origins",
    title: `Where refugees and asylum seekers in ${country.name} come from, ${year}`,
    definition: "Refugees and asylum seekers together, by country of origin, at the end of the year.",
    signs: [], sources: ["unhcr_population"], edition: `${year}.`,
    summary: top.slice(0, 5).map(([, name, refugees, seekers]) => `${name} ${people((refugees ?? 0) + (seekers ?? 0))}`).join("; "),
    draw: (width) => charts.bars(top.slice(0, 10).map(([, name, refugees, seekers]) => ({ name, value: (refugees ?? 0) + (seekers ?? 0) })), width),
    rows: () => rows("displacement_origins", null, { asylum_iso3: { $eq: country.country }, year: { $eq: year } }),
    sql: `select origin_iso3, name as origin, refugees, asylum_seekers\nfrom displacement_origins\nleft join countries on country_iso3 = origin_iso3\nwhere asylum_iso3 = ${quoted(country.country)} and year = ${year}\norder by coalesce(refugees, 0) + coalesce(asylum_seekers, 0) desc`,
  });
}

async function settingsFigure({ country }: Profile): Promise<Child> {
  const settings = country.settings;
  if (!settings?.rows.length) return null;
  const sums = new Map<string, number>();
  for (const [, setting, persons] of settings.rows) sums.set(setting, (sums.get(setting) ?? 0) + persons);
  const shown = [...sums].map(([name, value]) => ({ name, value })).sort((a, b) => b.value - a.value);
  if (!shown.some((one) => one.value > 0 && one.name !== "unknown")) return null;
  return figure({
    id: "settings",
    title: `Where displaced people in ${country.name} live, ${settings.year}`,
    definition: "All groups that UNHCR counts, by kind of place: cities, the country, camps.",
    signs: [], sources: ["unhcr_population"], edition: `${settings.year}.`,
    summary: shown.map((one) => `${one.name} ${people(one.value)}`).join("; "),
    draw: (width) => charts.bars(shown, width),
    rows: () => rows("displacement_settings", null, { asylum_iso3: { $eq: country.country }, year: { $eq: settings.year } }),
    sql: `select population_type, setting, persons\nfrom displacement_settings\nwhere asylum_iso3 = ${quoted(country.country)} and year = ${settings.year}\norder by all`,
  });
}

async function cityDisplaced(main: Profile): Promise<Child> {
  const parts: Child[] = [];
  const own = (await cityMigrants(main.city.id)).filter((row) => !OBSERVED.includes(String(row.concept)) && row.origin === "all" && num(row, "migrants") !== null);
  if (own.length) {
    const concepts = [...new Set(own.map((row) => String(row.concept)))];
    const series: charts.Line[] = concepts.slice(0, 5).map((concept) => ({
      name: concept.replaceAll("_", " "),
      points: own.filter((row) => row.concept === concept).map((row) => ({ year: Number(row.year), value: num(row, "migrants"), status: "observed" })).sort((a, b) => a.year - b.year),
    }));
    parts.push(await figure({
      id: "city-displaced",
      title: `Displaced people recorded in ${main.city.name}`,
      definition: "People registered in the city itself.",
      signs: ["observed"], sources: [...new Set(own.map((row) => String(row.source_id)))], edition: years(series),
      summary: series.map(told(people)).join("; "),
      draw: (width) => charts.lines(series, { width, unit: "persons", zero: true, dots: true }),
      rows: () => own,
      sql: `select *\nfrom city_migrants\nwhere city_id = ${quoted(main.city.id)} and concept not in (${listed(OBSERVED)})\norder by concept, origin, year`,
    }));
  }
  const incidents = main.country.incidents?.[main.city.id];
  if (incidents) {
    const [many, dead, first, last] = incidents;
    const sql = `select date, dead_and_missing, cause, route, location, distance_km\nfrom migrant_incidents\nwhere nearest_city_id = ${quoted(main.city.id)}\norder by date desc`;
    parts.push(h("section", {}, h("h2", {}, "Deaths during migration nearby"),
      h("p", {}, `Of all cities, ${main.city.name} is nearest to ${count(many)} ${many === 1 ? "incident" : "incidents"} in which migrants died or went missing, ${first === last ? first : `${first}–${last}`}: ${count(dead)} people. `,
        h("a", { href: sqlAddress(sql) }, "The SQL that lists them"), "."),
      await sourceLine(Object.keys((await theSite()).sources).filter((id) => id.startsWith("iom_missing")))));
  }
  return parts;
}

// ---- what else the release says

function groupsPart({ city, country }: Profile): Child {
  const own = country.groups[city.id];
  if (!own?.length) return null;
  return h("section", {}, h("h2", {}, "Groups"),
    h("p", {}, `${city.name} is one of: `, own.map(([id, name], at) => [at ? "; " : "", h("a", { href: `index.html?group=${encodeURIComponent(id)}` }, name)]), "."));
}

async function morePart({ city }: Profile): Promise<Child> {
  if (!(await has("indicator_values", "city_id", "year", "indicator_id", "value"))) return null;
  const place = h("div", {});
  const sql = `select indicator_id, year, value, unit, status, source_id\nfrom indicator_values\nwhere city_id = ${quoted(city.id)}\norder by indicator_id, year`;
  const open = async (event: Event) => {
    if (!(event.target as HTMLDetailsElement).open || place.childElementCount) return;
    try {
      const own = await rows("indicator_values", null, { city_id: { $eq: city.id } });
      const newest = new Map<string, Row>();
      for (const row of own) {
        const before = newest.get(String(row.indicator_id));
        if (!before || (row.status !== "projected" && Number(row.year) > Number(before.year)) || before.status === "projected")
          newest.set(String(row.indicator_id), row);
      }
      const columns = ["indicator_id", "year", "value", "unit", "status", "source_id"];
      replace(place, table(columns, [...newest.values()].map((row) => columns.map((name) => row[name] ?? null)), "The newest figure of each indicator"));
    } catch (error) {
      replace(place, note(error instanceof SiteError ? error.message : "These figures could not be read.", "problem"));
    }
  };
  return h("section", {}, h("h2", {}, "All indicators"),
    h("details", { ontoggle: open }, h("summary", {}, "The newest figure of each indicator"), place),
    h("p", { class: "actions" }, h("a", { href: sqlAddress(sql) }, "The SQL that gives all years")));
}

function withheldPart({ city, country }: Profile): Child {
  const own = country.withheld[city.id];
  if (!own?.length) return null;
  return h("section", { id: "withheld" }, h("h2", {}, "Withheld figures of this city"),
    h("p", {}, "Checks kept these figures back; the charts have a gap in their place. ",
      h("a", { href: "quality.html#withheld" }, "How figures are checked"), "."),
    table(["year", "column", "source", "value", "why"], own.map((row) => [...row]), "Withheld figures"));
}

export { link, type Figure };
