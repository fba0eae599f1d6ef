// Adds to the page of downloads what needs a script: code that reads straight from this site, buttons
// that copy it, and a check of a file's checksum in the browser.
import { announce, h } from "../dom";
import { get } from "../http";
import { theSite } from "../release";

export async function downloads(): Promise<void> {
  const site = await theSite();
  const base = new URL(site.path, location.href).href;
  for (const block of document.querySelectorAll<HTMLElement>("pre[data-file]")) {
    const file = block.dataset.file!;
    const code = block.querySelector("code")!;
    const text = code.textContent ?? "";
    // Arrow in R reads files, DuckDB and pandas read addresses as well.
    if (!text.includes("://") && !text.includes("library("))
      code.textContent = text.replaceAll(file, base + file);
    const button = h("button", { type: "button", class: "copy", onclick: async () => {
      try {
        await navigator.clipboard.writeText(code.textContent ?? "");
        button.textContent = "Copied";
      } catch {
        getSelection()?.selectAllChildren(code);
        button.textContent = "Selected";
      }
      announce(button.textContent);
    } }, "Copy");
    block.before(h("div", { class: "copyable" }, button));
  }
  if (!crypto.subtle) return; // an address without https has none
  for (const code of document.querySelectorAll<HTMLElement>("article.table code.hash")) {
    const article = code.closest("article")!;
    const file = site.tables[article.id]?.path;
    if (!file) continue;
    const button = h("button", { type: "button", class: "check", onclick: async () => {
      button.disabled = true;
      button.textContent = "Reading …";
      try {
        const body = await (await get(site.path + file)).arrayBuffer();
        const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", body));
        const hex = [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
        button.textContent = hex === code.textContent
          ? "The file on this server has this checksum"
          : "The file on this server differs: do not use it";
      } catch (error) {
        button.textContent = error instanceof Error ? error.message : "The file could not be read";
      }
      announce(button.textContent ?? "");
    } }, "Check the file on this server");
    code.after(" ", button);
  }
}
