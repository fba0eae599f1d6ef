// Walks through a site as a person would, in Debian's Chromium, and reports what it saw as JSON.
//   node tests/walk.mjs WALK ADDRESS [FOLDER]
// FOLDER takes screenshots.  Every host but the site's own is blocked; tests/e2e/test_site.py asks
// for the walks and judges the reports, and docs/site.md tells how to take one by hand.
import { createHash } from "node:crypto";
import { createRequire } from "node:module";
import { mkdirSync, readFileSync } from "node:fs";
import { chromium } from "playwright-core";

const require = createRequire(import.meta.url);
const AXE = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const ARGUMENTS = [
  "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
  "--disable-component-update", "--disable-dev-shm-usage",
];

const [walk = "whole", address = "http://127.0.0.1:8000/", shots] = process.argv.slice(2);
const base = new URL(address);
if (shots) mkdirSync(shots, { recursive: true });
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ARGUMENTS,
});
const report = { console: [], hosts: [], axe: {}, transfers: {}, seen: {} };

/** A page on which every byte, error and foreign host is noted; `bypass` lets axe be injected. */
async function open(path, options = {}) {
  const context = await browser.newContext({
    viewport: { width: 1280, height: 900 }, acceptDownloads: true, ...options,
  });
  await context.route("**/*", (route) => {
    const url = new URL(route.request().url());
    if (url.origin === base.origin || ["data:", "blob:"].includes(url.protocol)) return route.continue();
    report.hosts.push(url.href);
    return route.abort();
  });
  const page = await context.newPage();
  page.on("console", (message) => {
    if (message.type() === "error") report.console.push(`${path}: ${message.text()}`);
  });
  page.on("pageerror", (error) => report.console.push(`${path}: ${error.message}`));
  const bytes = await measure(page);
  await page.goto(new URL(path, base).href, { waitUntil: "load" });
  return { page, context, bytes };
}

/** Bytes as they cross the network, by the browser's own count. */
async function measure(page) {
  const session = await page.context().newCDPSession(page);
  await session.send("Network.enable");
  const urls = new Map();
  const sum = { page: 0, data: 0, requests: 0 };
  session.on("Network.responseReceived", ({ requestId, response }) => urls.set(requestId, response.url));
  session.on("Network.loadingFinished", ({ requestId, encodedDataLength }) => {
    const path = new URL(urls.get(requestId) ?? base).pathname;
    sum[/\/(data|releases)\/|site\.json$/.test(path) ? "data" : "page"] += encodedDataLength;
    sum.requests += 1;
  });
  return sum;
}

async function quiet(page) {
  await page.waitForLoadState("networkidle");
  await page.waitForTimeout(250);
}

/** What axe finds serious or critical, as "rule: element". */
async function axe(page, name) {
  await page.evaluate(AXE); // through the debugger: the page's policy rightly forbids a script tag
  const found = await page.evaluate(async () => {
    const result = await globalThis.axe.run(document, { resultTypes: ["violations"] });
    return result.violations
      .filter((one) => ["serious", "critical"].includes(one.impact))
      .flatMap((one) => one.nodes.map((node) => `${one.id}: ${node.target.join(" ")}`));
  });
  report.axe[name] = [...(report.axe[name] ?? []), ...found];
}

async function shoot(page, name) {
  if (shots) await page.screenshot({ path: `${shots}/${name}.png`, fullPage: true });
}

async function text(page, selector) {
  return (await page.locator(selector).allTextContents()).join("\n");
}

const wider = (page) =>
  page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);

async function download(page, act) {
  const [file] = await Promise.all([page.waitForEvent("download"), act()]);
  return readFileSync(await file.path());
}

const csv = (bytes) => bytes.toString("utf8").trim().split("\r\n").map((line) => line.split(","));

// ---- the walks

const CITY = "city.html?id=deu-munich";

const walks = {
  /** Search, profile, comparison, CSV, SQL, checksum: the way of the analyst. */
  async find() {
    const { page, context } = await open("index.html");
    await page.waitForSelector(".map svg");
    await axe(page, "home");
    await page.getByRole("combobox", { name: "Find a city" }).fill("munchen");
    await page.waitForSelector('[role="option"]');
    report.seen.options = await page.locator('[role="option"]').allTextContents();
    await axe(page, "search");
    await page.keyboard.press("Enter");
    await page.waitForURL(/city\.html/);
    await page.waitForSelector("#population .plot");
    report.seen.profile = page.url();
    report.seen.title = await page.title();
    report.seen.heading = await text(page, "h1");
    await page.getByRole("combobox").fill("wein");
    await page.waitForSelector('[role="option"]');
    await page.getByRole("combobox").fill("Wien");
    await page.waitForFunction(() => /Vienna/.test(document.querySelector('[role="option"]')?.textContent ?? ""));
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("ArrowUp");
    await page.keyboard.press("Enter");
    await page.waitForURL(/with=aut-vienna/);
    await page.waitForSelector("#growth .plot");
    report.seen.compared = await text(page, ".glance thead");
    report.seen.sources = await page.locator("figure").evaluateAll((figures) =>
      figures.map((figure) => [figure.id, figure.querySelector(".source")?.textContent ?? ""]));
    const saved = csv(await download(page, () =>
      page.locator("#population").getByRole("button", { name: "Download" }).click()));
    report.seen.csv = { columns: saved[0], rows: saved.length - 1,
      munich2018: saved.find((row) => row[0] === "deu-munich" && row[2] === "2018") };
    await quiet(page);
    await axe(page, "comparison");
    const link = page.locator("#population").getByRole("link", { name: "SQL" });
    await Promise.all([page.waitForURL(/sql\.html/), link.click()]);
    await ready(page);
    report.seen.chartSql = await ask(page);
    await context.close();
  },

  async sql() {
    const { page, context } = await open("sql.html");
    await ready(page);
    const engine = /duckdb/;
    report.seen.engine = (await page.evaluate(() =>
      performance.getEntriesByType("resource").map((entry) => entry.name))).some((name) => engine.test(name));
    const count = await page.locator("#example option").count();
    report.seen.examples = [];
    for (let at = 1; at < count; at++) {
      await page.selectOption("#example", { index: at });
      report.seen.examples.push(await ask(page));
    }
    await axe(page, "sql");
    await page.locator("#result thead button").first().click();
    await page.locator("#result thead button").first().click();
    report.seen.sorted = await page.locator("#result th").first().getAttribute("aria-sort");
    report.seen.csv = csv(await download(page, () => page.click("#save"))).length - 1;
    await shoot(page, "sql");
    // What a query may not do.
    report.seen.refused = {};
    for (const query of [
      "select * from read_csv('https://example.org/a.csv')",
      "select * from 'https://example.org/a.parquet'",
      "select * from read_text('/etc/passwd')",
      "create table release.main.mine as select 1",
      "drop table cities",
      "set enable_external_access = true",
      "load httpfs",
    ]) {
      await page.fill("#query", query);
      report.seen.refused[query] = await ask(page);
    }
    await page.fill("#query", "select '<img src=x onerror=alert(1)>' as a, 1 as \"<b>b</b>\"");
    report.seen.markup = await ask(page);
    report.seen.images = await page.locator("#result img, #result b").count();
    // A query that would run for hours is stopped, and the next one answered.
    await page.fill("#query", "select count(*) from range(1000000) a, range(1000000) b where hash(a.range + b.range) = 1");
    await page.click("button.primary");
    await page.waitForTimeout(700);
    const stop = Date.now();
    await page.getByRole("button", { name: "Stop" }).click();
    await page.fill("#query", "select 42 as answer");
    report.seen.afterStop = await ask(page);
    report.seen.stopSeconds = (Date.now() - stop) / 1000;
    await context.close();
  },

  async downloads() {
    const { page, context } = await open("downloads.html");
    await page.waitForSelector("article.table button.check");
    await axe(page, "downloads");
    const article = page.locator("article#cities");
    const said = await article.locator("code.hash").textContent();
    const body = await download(page, () => article.getByRole("link", { name: "cities.parquet" }).click());
    report.seen.checksum = { said, found: createHash("sha256").update(body).digest("hex") };
    await article.getByRole("button", { name: "Check" }).click();
    await page.waitForFunction(() => /checksum|differs/.test(document.querySelector("#cities button.check").textContent));
    report.seen.checked = await article.locator("button.check").textContent();
    await article.locator("summary").click();
    report.seen.code = await article.locator("pre").allTextContents();
    await shoot(page, "downloads");
    for (const name of ["dictionary", "quality"]) {
      await page.goto(new URL(`${name}.html`, base).href);
      await axe(page, name);
      await shoot(page, name);
    }
    await context.close();
  },

  /** Bytes and time of the first view of each page, each in a fresh browser. */
  async transfers() {
    for (const [name, path, sign] of [
      ["home", "index.html", ".map svg"],
      ["profile", CITY, "#population .plot"],
      ["comparison", `${CITY}&with=aut-vienna`, "#population .plot"],
      ["downloads", "downloads.html", "article"],
      ["dictionary", "dictionary.html", "section"],
      ["quality", "quality.html", "section"],
    ]) {
      const { page, context, bytes } = await open(path);
      await page.waitForSelector(sign);
      const milliseconds = Math.round(await page.evaluate(() => performance.now()));
      await quiet(page);
      // Down to the end, so that what loads late counts too.
      await page.evaluate(() => scrollTo(0, document.body.scrollHeight));
      await quiet(page);
      report.transfers[name] = { ...bytes, milliseconds };
      await context.close();
    }
  },

  /** Phone and desk, light and dark: nothing wider than the screen, nothing serious for axe. */
  async looks() {
    for (const [width, colorScheme] of [[1280, "light"], [390, "dark"], [1280, "dark"], [390, "light"]]) {
      if (!shots && width === 1280 && colorScheme === "light") continue; // seen by the other walks
      if (!shots && width === 390 && colorScheme === "light") continue;
      const brief = !shots && width === 1280;
      for (const [name, path, sign] of [
        ["map", "index.html", ".map svg"],
        ["profile", CITY, "#population .plot"],
        ["comparison", `${CITY}&with=aut-vienna,prt-lisbon`, "#growth .plot"],
        ["downloads", "downloads.html", "article"],
        ["sql", "sql.html", "#query"],
        ["quality", "quality.html", "section"],
        ["dictionary", "dictionary.html", "section"],
      ]) {
        if (brief && !["map", "comparison"].includes(name)) continue;
        const { page, context } = await open(path, {
          viewport: { width, height: width < 600 ? 844 : 900 }, colorScheme, reducedMotion: "reduce",
        });
        await page.waitForSelector(sign);
        await quiet(page);
        if (name === "sql" && shots) {
          await ready(page);
          await ask(page);
        }
        const look = `${name}-${width}-${colorScheme}`;
        await axe(page, look);
        const over = await wider(page);
        if (over > 0) (report.seen.wider ??= []).push(`${look}: ${over} px`);
        await shoot(page, look);
        await context.close();
      }
    }
  },

  /** Without a script, the essentials stand. */
  async plain() {
    for (const name of ["index", "city", "sql", "downloads", "dictionary", "quality"]) {
      const { page, context } = await open(`${name}.html`, { javaScriptEnabled: false });
      report.seen[name] = { title: await page.title(), text: (await text(page, "main")).replace(/\s+/g, " "),
        links: await page.locator("main a").evaluateAll((all) => all.map((one) => one.getAttribute("href"))) };
      await context.close();
    }
  },

  /** What each page says, for sites that are damaged or lack tables; no page may break. */
  async says() {
    for (const [name, path] of Object.entries({
      home: "index.html", profile: CITY, sql: "sql.html",
    })) {
      const { page, context } = await open(path);
      await quiet(page);
      if (name === "sql") {
        await page.waitForFunction(() => /Ready/.test(document.querySelector(".status")?.textContent ?? "") ||
          document.querySelector("#result .problem"), null, { timeout: 30_000 });
        if (!(await page.locator(".problem").count())) report.seen.asked = await ask(page, "select count(*) as n from cities");
      }
      report.seen[name] = {
        problems: await page.locator(".problem, .note").allTextContents(),
        headings: await page.locator("h1, h2").allTextContents(),
        figures: await page.locator("figure").evaluateAll((all) => all.map((one) => one.id)),
        plots: await page.locator("figure .plot, .map svg").count(),
        text: (await text(page, "main")).replace(/\s+/g, " "),
      };
      if (shots) await shoot(page, `says-${name}`);
      await context.close();
    }
  },
};

/** Addresses that name no city. */
walks.lost = async () => {
  for (const [name, path] of Object.entries({
    unknown: "city.html?id=deu-atlantis", nowhere: "city.html?id=zzz-nowhere",
    nonsense: "city.html?id=%3Cscript%3E", none: "city.html",
  })) {
    const { page, context } = await open(path);
    await page.waitForSelector(".problem");
    report.seen[name] = await page.locator(".problem").allTextContents();
    report.seen.search = await page.getByRole("combobox").count();
    await context.close();
  }
};

async function ready(page) {
  await page.waitForFunction(() => /Ready|rows in/.test(document.querySelector(".status")?.textContent ?? ""), null,
    { timeout: 60_000 });
}

/** Run what stands in the editor; the first rows of the answer, or what is said instead. */
async function ask(page, query) {
  if (query) await page.fill("#query", query);
  await page.click("button.primary");
  await page.waitForSelector("#result table, #result .problem, #result .note", { timeout: 60_000 });
  if (await page.locator("#result .problem").count()) return { problem: await text(page, "#result .problem") };
  return {
    columns: await page.locator("#result thead th").allTextContents(),
    first: await page.locator("#result tbody tr:first-child td").allTextContents(),
    status: await text(page, ".status"),
  };
}

try {
  for (const name of walk === "whole" ? Object.keys(walks) : walk.split(",")) {
    if (!walks[name]) throw new Error(`no walk ${name}; there are ${Object.keys(walks).join(", ")}`);
    await walks[name]();
  }
  console.log(JSON.stringify(report));
} finally {
  await browser.close();
}
