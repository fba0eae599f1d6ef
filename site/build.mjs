// Builds the front end into dist/: hashed scripts, one style sheet, the outlines of the map, and the
// SQL engine with everything that it needs, so that the site never asks another host for anything.
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename, extname, join } from "node:path";
import { gzipSync } from "node:zlib";
import { analyzeMetafile, build } from "esbuild";

const DIST = "dist";
const MODULES = "node_modules";

/** Write bytes under a name that changes with them, so that servers may cache them for ever. */
function put(name, bytes) {
  const mark = createHash("sha256").update(bytes).digest("hex").slice(0, 10);
  const ending = extname(name);
  const hashed = `${basename(name, ending)}-${mark}${ending}`;
  writeFileSync(join(DIST, hashed), bytes);
  return hashed;
}

rmSync(DIST, { recursive: true, force: true });
mkdirSync(DIST);

const engine = join(MODULES, "@duckdb/duckdb-wasm/dist");
const files = {
  land: put("land.json", readFileSync(join(MODULES, "world-atlas/land-110m.json"))),
  landFine: put("land-fine.json", readFileSync(join(MODULES, "world-atlas/land-50m.json"))),
  engine: put("duckdb.worker.js", readFileSync(join(engine, "duckdb-browser-eh.worker.js"))),
  // 34 MB as it is, a quarter of that packed; the worker unpacks it.  The name does not end in .gz,
  // which some servers would unpack by themselves.
  wasm: put("duckdb.wasmz", gzipSync(readFileSync(join(engine, "duckdb-eh.wasm")), { level: 9 })),
};

// Plot knows every scheme of colours by name and this site uses none of them (src/colours.ts has its
// two), so that 17 kB stay out.
const colours = {
  name: "colours",
  setup(build) {
    build.onResolve({ filter: /^d3-scale-chromatic$/ }, ({ path }) => ({ path, namespace: "colours" }));
    build.onLoad({ filter: /.*/, namespace: "colours" }, async () => {
      const names = Object.keys(await import("d3-scale-chromatic"));
      return { contents: `export const ${names.map((name) => `${name} = []`)};` };
    });
  },
};

const common = {
  bundle: true,
  minify: true,
  target: "es2022",
  legalComments: "none",
  alias: { d3: "./src/d3.ts" },
  plugins: [colours],
  logLevel: "warning",
};

const worker = await build({
  ...common,
  entryPoints: ["src/sql-worker.ts"],
  define: { FILES: JSON.stringify(files) },
  format: "iife",
  write: false,
});
files.worker = put("sql.worker.js", worker.outputFiles[0].contents);

const scripts = await build({
  ...common,
  entryPoints: { main: "src/main.ts" },
  define: { FILES: JSON.stringify(files) },
  format: "esm",
  splitting: true,
  outdir: DIST,
  entryNames: "[name]-[hash]",
  chunkNames: "[name]-[hash]",
  metafile: true,
});
const style = await build({ ...common, entryPoints: ["src/site.css"], write: false });

const entry = Object.entries(scripts.metafile.outputs).find(([, output]) =>
  output.entryPoint?.endsWith("main.ts"),
);
/** The scripts that a page needs at once, so that a browser fetches them together. */
function needed(page) {
  const all = scripts.metafile.outputs;
  const found = new Set();
  const visit = (name) => {
    if (found.has(name)) return;
    found.add(name);
    for (const one of all[name].imports) if (one.kind === "import-statement") visit(one.path);
  };
  visit(entry[0]);
  for (const module of page)
    visit(Object.keys(all).find((name) => all[name].entryPoint === `src/${module}.ts`));
  return [...found].map((name) => basename(name)).sort();
}
const manifest = {
  script: basename(entry[0]),
  preload: {
    index: needed(["pages/home", "charts"]),
    city: needed(["pages/city"]),
    downloads: needed(["pages/downloads"]),
  },
  style: put("site.css", style.outputFiles[0].contents),
};
// The libraries whose code is in the bundle, with their licences: they ask to be named.
const notices = ["@observablehq/plot", "d3", "hyparquet", "fzstd",
  "topojson-client", "world-atlas", "@duckdb/duckdb-wasm", "apache-arrow"]
  .map((name) => {
    const about = JSON.parse(readFileSync(join(MODULES, name, "package.json")));
    return `${about.name} ${about.version} (${about.license})`;
  });
writeFileSync(join(DIST, "NOTICE.txt"), `${notices.join("\n")}\n`);
writeFileSync(join(DIST, "manifest.json"), `${JSON.stringify(manifest, null, 1)}\n`);
const sizes = Object.entries(scripts.metafile.outputs).map(([name, o]) => [o.bytes, basename(name)]);
if (process.argv.includes("--analyze")) console.log(await analyzeMetafile(scripts.metafile));
for (const [bytes, name] of sizes.sort((a, b) => b[0] - a[0]))
  console.log(`${String(Math.round(bytes / 1000)).padStart(6)} kB  ${name}`);
