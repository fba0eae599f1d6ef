// The SQL page: an editor, examples, the tables, and results that can be sorted and saved.
import { type Cell, save, toCsv } from "../csv";
import { announce, h, note, option, replace } from "../dom";
import { bytes, count } from "../format";
import { Engine, reason, type Result } from "../engine";
import { json, SiteError } from "../http";
import { data, type Site, theSite } from "../release";

interface Example {
  title: string;
  sql: string;
}

const SHOWN = 500;

export async function sqlPage(app: HTMLElement): Promise<void> {
  const site = await theSite();
  const examples = await json<Example[]>(await data("examples.json")).catch(() => [] as Example[]);
  const asked = new URLSearchParams(location.search).get("q");
  const editor = h("textarea", {
    id: "query", rows: 9, spellcheck: "false", autocapitalize: "off", autocomplete: "off", wrap: "off",
    "aria-describedby": "query-help",
  });
  editor.value = asked ?? examples[0]?.sql ?? "select * from cities limit 20";
  const status = h("p", { class: "status", role: "status" }, "");
  const output = h("div", { id: "result" });
  const run = h("button", { type: "button", class: "primary" }, "Run");
  const stop = h("button", { type: "button", disabled: true }, "Stop");
  const tell = (text: string) => {
    status.textContent = text;
  };

  let engine: Promise<Engine> | undefined;
  let running = 0;
  const start = () => {
    engine ??= Engine.start(tell);
    engine.catch(() => {
      engine = undefined;
    });
    return engine;
  };
  const busy = (is: boolean) => {
    run.disabled = is;
    stop.disabled = !is;
  };

  const ask = async () => {
    const sql = editor.value.trim().replace(/;+\s*$/, "");
    if (!sql || run.disabled) return;
    const mine = ++running;
    busy(true);
    replace(output);
    history.replaceState(null, "", `?q=${encodeURIComponent(sql)}`);
    try {
      const ready = await start();
      if (mine !== running) return;
      tell("Running …");
      const result = await ready.run(sql, (rows) => {
        if (mine === running) tell(`Running … ${count(rows)} rows so far`);
      });
      if (mine !== running) return;
      tell(`${count(result.rows.length)} rows in ${result.seconds.toFixed(2)} s`);
      replace(output, results(result, site));
    } catch (error) {
      if (mine !== running) return;
      tell("");
      const text = error instanceof SiteError ? error.message : explain(reason(error));
      replace(output, h("pre", { class: "problem", role: "alert" }, text));
    } finally {
      if (mine === running) busy(false);
    }
  };
  run.addEventListener("click", () => void ask());
  stop.addEventListener("click", () => {
    running++;
    const ended = engine;
    engine = undefined;
    void ended?.then((one) => one.stop(), () => undefined);
    busy(false);
    tell("Stopped. The next query starts the engine again.");
  });
  editor.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      void ask();
    }
  });
  const chooser = h("select", { id: "example", onchange: () => {
    const chosen = examples[Number(chooser.value)];
    if (!chosen) return;
    editor.value = chosen.sql;
    replace(output);
    tell("");
  } }, option("", "Choose an example …", ""), examples.map((one, at) => option(String(at), one.title, "")));

  replace(
    app,
    h("div", { class: "field" }, h("label", { for: "example" }, "Examples"), chooser),
    h("div", { class: "field" }, h("label", { for: "query" }, "Query"), editor,
      h("p", { id: "query-help", class: "quiet" },
        `DuckDB's SQL; Ctrl + Enter runs it. The release (${bytes(site.database_bytes)}) is read in parts, as a query needs them. The address of this page keeps the query.`)),
    h("div", { class: "actions" }, run, stop, status),
    output,
    tablesList(site, (sql) => {
      editor.value = sql;
      editor.focus();
    }),
  );
  // The tab is open, so the engine is wanted; a query from an address waits for its reader to run it.
  start().then(() => {
    if (!running) tell("Ready");
  }, (error: unknown) => {
    tell("");
    replace(output, note(error instanceof SiteError ? error.message : reason(error), "problem"));
  });
}

/** DuckDB's words, less advice that cannot be followed here. */
function explain(text: string): string {
  if (/enable_external_access|refused:|disabled by configuration|Extension Autoloading|read-only mode/i.test(text))
    return "Refused: a query reads the tables of the release and nothing else. It reaches no file and no other host, and changes nothing.";
  return text;
}

function tablesList(site: Site, use: (sql: string) => void): HTMLElement {
  return h("section", { "aria-labelledby": "tables-title" },
    h("h2", { id: "tables-title" }, "Tables"),
    h("div", { class: "tables" }, Object.entries(site.tables).map(([name, table]) =>
      h("details", {},
        h("summary", {}, h("code", {}, name), h("span", { class: "quiet" }, ` ${count(table.rows)} rows`)),
        h("p", {}, h("button", { type: "button", onclick: () => use(`select *\nfrom ${name}\nlimit 50`) }, "Look at it"), " ",
          h("a", { href: `dictionary.html#${name}` }, "What the columns mean")),
        h("ul", { class: "plain" }, table.columns.map((column) => h("li", {}, h("code", {}, column))))))));
}

function compare(a: Cell, b: Cell): number {
  if (a === b) return 0;
  if (a === null || a === undefined) return 1;
  if (b === null || b === undefined) return -1;
  if (typeof a === "number" && typeof b === "number") return a - b;
  return String(a).localeCompare(String(b));
}

function results(result: Result, site: Site): HTMLElement {
  if (!result.columns.length) return h("div", {}, note("The query returned nothing."));
  const body = h("tbody", {});
  const right = result.columns.map((_, at) => /^(Int|Uint|Float|Decimal)/.test(result.types[at] ?? ""));
  let sorted = result.rows;
  const fill = () => replace(body, sorted.slice(0, SHOWN).map((row) =>
    h("tr", {}, row.map((value, at) => h("td", { class: right[at] && "n" },
      value === null || value === undefined ? h("span", { class: "null" }, "null") : String(value))))));
  const heads = result.columns.map((name, at) => {
    const head = h("th", { scope: "col", class: right[at] && "n", "aria-sort": "none" },
      h("button", { type: "button", onclick: () => {
        const up = head.getAttribute("aria-sort") !== "ascending";
        for (const other of heads) other.setAttribute("aria-sort", "none");
        head.setAttribute("aria-sort", up ? "ascending" : "descending");
        sorted = [...result.rows].sort((a, b) => {
          const missing = Number(a[at] === null) - Number(b[at] === null);
          return missing || (up ? 1 : -1) * compare(a[at], b[at]);
        });
        fill();
        announce(`Sorted by ${name}, ${up ? "ascending" : "descending"}`);
      } }, name));
    return head;
  });
  fill();
  const shown = Math.min(SHOWN, result.rows.length);
  return h("div", {},
    result.truncated && note(`Only the first ${count(result.rows.length)} rows were read: aggregate, or add conditions.`),
    h("div", { class: "actions" },
      h("button", { type: "button", id: "save", onclick: () =>
        save(`query-${site.release}.csv`, toCsv(result.columns, sorted)) }, "Download these rows (CSV)"),
      shown < result.rows.length && h("span", { class: "quiet" }, `The first ${count(shown)} rows are shown; the file has all ${count(result.rows.length)}.`)),
    h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Result" },
      h("table", { class: "rows" }, h("thead", {}, h("tr", {}, heads)), body)));
}
