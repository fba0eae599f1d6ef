// Starts what a page needs beyond its HTML: search and map, a profile, SQL, or help on the downloads.
import { h, note, replace } from "./dom";
import { SiteError } from "./http";

declare global {
  /** File names that the build made; see build.mjs. */
  const FILES: Record<"land" | "landFine" | "engine" | "wasm" | "worker", string>;
}

const app = document.getElementById("app");

document.addEventListener("whole-files", () => {
  document.getElementById("main")?.prepend(
    note(
      "This host sends whole files where parts were asked for, so pages load more slowly here. " +
        "All figures are right.",
    ),
  );
});

async function start(): Promise<void> {
  switch (document.body.dataset.page) {
    case "index":
      return app ? (await import("./pages/home")).home(app) : undefined;
    case "city":
      return app ? (await import("./pages/city")).profile(app) : undefined;
    case "sql":
      return app ? (await import("./pages/sql")).sqlPage(app) : undefined;
    case "downloads":
      return (await import("./pages/downloads")).downloads();
  }
}

start().catch((error: unknown) => {
  const expected = error instanceof SiteError;
  if (!expected) console.error(error);
  const text = expected ? error.message : "This page could not be shown. The downloads still work.";
  const box = h("div", {}, note(text, "problem"),
    h("p", {}, h("a", { href: "index.html" }, "Find a city"), " · ",
      h("a", { href: "downloads.html" }, "Downloads")));
  // The page's own HTML, with its table or links, stays readable beneath the message.
  if (document.body.dataset.page === "city" && app) replace(app, h("h1", {}, "City profile"), box);
  else (app ?? document.body).prepend(box);
});
