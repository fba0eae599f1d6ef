// A chart with everything that belongs to it: what it shows, its signs, its source and edition, the
// rows behind it as CSV and as a table, and the SQL that gives them.
import { type Cell, save, toCsv } from "./csv";
import { announce, type Child, debounce, h, link, note, replace } from "./dom";
import { day, isNumber } from "./format";
import { SiteError } from "./http";
import type { Row } from "./parquet";
import { type Site, theSite } from "./release";
import { legend, type Sign } from "./signs";

export interface Figure {
  id: string;
  title: string;
  /** What the figures mean: a number without its definition is not shown. */
  definition: Child;
  signs: Sign[];
  sources: string[];
  /** Said after the sources: the years, the series. */
  edition?: string;
  summary: string;
  draw: (width: number) => Element;
  /** The rows behind the chart; read when they are asked for. */
  rows: () => Row[] | Promise<Row[]>;
  sql: string;
  beside?: Child;
}

export const sqlAddress = (sql: string): string => `sql.html?q=${encodeURIComponent(sql)}`;

export async function sourceLine(ids: string[], more = ""): Promise<HTMLElement> {
  const site = await theSite();
  const known = [...new Set(ids)].filter((id) => site.sources[id]);
  const parts: Child[] = known.map((id, number) => {
    const source = site.sources[id]!;
    return [
      number ? "; " : "",
      source.publisher ? `${source.publisher}, ` : "",
      link(source.homepage, source.title ?? id),
      source.edition ? ` (${source.edition})` : "",
      ", ",
      link(source.licence_url, source.licence ?? "licence not stated"),
      `, as of ${day(source.first_seen)}`,
      source.stale ? h("strong", {}, ", stale: the publisher did not answer when last asked") : "",
    ];
  });
  return h(
    "p",
    { class: "source" },
    "Source: ",
    known.length ? parts : "not named in this release",
    ". ",
    more,
  );
}

function shown(value: Cell): string {
  if (value === null || value === undefined) return "";
  if (!isNumber(value)) return String(value);
  if (Number.isInteger(value)) return Math.abs(value) >= 10_000 ? value.toLocaleString("en") : String(value);
  return String(Number(value.toPrecision(6)));
}

export function table(columns: string[], rows: Cell[][], caption: string, most = 500): HTMLElement {
  const right = columns.map((_, at) => rows.some((row) => typeof row[at] === "number"));
  return h(
    "div",
    { class: "scroll", tabindex: 0, role: "region", "aria-label": caption },
    h(
      "table",
      { class: "rows" },
      h("caption", {}, rows.length > most ? `${caption}: the first ${most} of ${rows.length}` : caption),
      h("thead", {}, h("tr", {}, columns.map((name, at) =>
        h("th", { scope: "col", class: right[at] && "n" }, name)))),
      h("tbody", {}, rows.slice(0, most).map((row) =>
        h("tr", {}, row.map((value, at) => h("td", { class: right[at] && "n" }, shown(value)))))),
    ),
  );
}

/** Columns and cells of rows, with what a file needs to be cited on its own. */
function cells(rows: Row[], site: Site, sources: string[]): [string[], Cell[][]] {
  const columns = Object.keys(rows[0] ?? {});
  const known = sources.filter((id) => site.sources[id]);
  const licence = [...new Set(known.map((id) => site.sources[id]!.licence))].join("; ");
  return [
    [...columns, "sources", "licence", "release"],
    rows.map((row) => [...columns.map((name) => row[name]), known.join("; "), licence, site.release]),
  ];
}

export async function figure(made: Figure): Promise<HTMLElement> {
  const chart = h("div", { class: "chart" });
  const rowsShown = h("div", {});
  const problem = (error: unknown) =>
    note(error instanceof SiteError ? error.message : "These rows could not be read.", "problem");

  const download = async () => {
    try {
      const rows = await made.rows();
      const site = await theSite();
      const [columns, values] = cells(rows, site, made.sources);
      save(`${made.id}-${site.release}.csv`, toCsv(columns, values));
      announce(`${rows.length} rows downloaded`);
    } catch (error) {
      replace(rowsShown, problem(error));
    }
  };
  const open = async (event: Event) => {
    if (!(event.target as HTMLDetailsElement).open || rowsShown.childElementCount) return;
    try {
      const rows = await made.rows();
      const columns = Object.keys(rows[0] ?? {});
      replace(rowsShown, table(columns, rows.map((row) => columns.map((name) => row[name])),
        `Rows behind “${made.title}”`));
    } catch (error) {
      replace(rowsShown, problem(error));
    }
  };

  const element = h(
    "figure",
    { id: made.id, "aria-labelledby": `${made.id}-title` },
    h("figcaption", {}, h("h2", { id: `${made.id}-title` }, made.title),
      h("p", { class: "definition" }, made.definition)),
    made.signs.length > 0 && legend(made.signs),
    chart,
    made.beside,
    await sourceLine(made.sources, made.edition),
    h("div", { class: "actions" },
      h("button", { type: "button", onclick: download }, "Download these rows (CSV)"),
      h("a", { href: sqlAddress(made.sql) }, "The SQL that gives them"),
      h("details", { ontoggle: open }, h("summary", {}, "Show these rows"), rowsShown)),
  );

  let width = 0;
  const draw = () => {
    const now = Math.floor(chart.clientWidth);
    if (!now || now === width) return;
    width = now;
    const drawing = made.draw(width);
    drawing.setAttribute("role", "img");
    drawing.setAttribute("aria-label", made.summary);
    replace(chart, drawing);
  };
  new ResizeObserver(debounce(60, draw)).observe(chart);
  queueMicrotask(draw);
  return element;
}
