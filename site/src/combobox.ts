// A field that finds cities while one types; by mouse, keyboard and screen reader (the ARIA pattern
// of a combobox with a list).
import { announce, h, note, replace } from "./dom";
import { people } from "./format";
import { SiteError } from "./http";
import { type City, cityIndex, type Index } from "./release";
import { find } from "./text";

export interface Options {
  label: string;
  placeholder: string;
  choose: (city: City) => void;
  /** Called with what was typed, so that an address can keep it. */
  typed?: (text: string) => void;
  value?: string;
  clear?: boolean;
}

let made = 0;

export function combobox(options: Options): HTMLElement {
  const id = `find-${++made}`;
  const list = h("ul", { id: `${id}-list`, role: "listbox", "aria-label": options.label, hidden: true });
  const input = h("input", {
    id, type: "text", role: "combobox", autocomplete: "off", spellcheck: "false",
    autocapitalize: "off", placeholder: options.placeholder, "aria-expanded": "false",
    "aria-controls": `${id}-list`, "aria-autocomplete": "list",
  });
  input.value = options.value ?? "";
  const problem = h("div", {});
  let index: Index | undefined;
  let found: City[] = [];
  let active = -1;

  const close = () => {
    list.hidden = true;
    active = -1;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  };
  const mark = () => {
    [...list.children].forEach((item, at) => item.setAttribute("aria-selected", String(at === active)));
    const chosen = list.children[active];
    if (chosen) {
      input.setAttribute("aria-activedescendant", chosen.id);
      chosen.scrollIntoView({ block: "nearest" });
    }
  };
  const choose = (city: City) => {
    close();
    input.value = options.clear ? "" : city.name;
    options.choose(city);
  };
  const update = async () => {
    const text = input.value;
    try {
      index ??= await cityIndex();
    } catch (error) {
      replace(problem, note(error instanceof SiteError ? error.message : "Search is not available.", "problem"));
      return;
    }
    if (text !== input.value) return;
    found = find(text, index.cities, 8);
    active = found.length ? 0 : -1;
    if (!text.trim()) return close();
    replace(
      list,
      found.map((city, at) =>
        h("li", {
          id: `${id}-${at}`, role: "option", "aria-selected": "false",
          onmousedown: (event: Event) => event.preventDefault(),
          onclick: () => choose(city),
        },
        h("span", {}, city.name, city.local && h("span", { class: "quiet" }, ` ${city.local}`)),
        h("span", { class: "quiet" }, index!.countries[city.country]?.[0] ?? city.country,
          city.population !== null && `, ${people(city.population)}`)),
      ),
      !found.length && h("li", { role: "option", "aria-disabled": "true", "aria-selected": "false", class: "quiet" },
        `No city is called “${text.trim()}” here. Cities below 300,000 people may be missing.`),
    );
    list.hidden = false;
    input.setAttribute("aria-expanded", "true");
    mark();
    announce(found.length ? `${found.length} cities found` : "No city found");
  };
  input.addEventListener("input", () => {
    options.typed?.(input.value);
    void update();
  });
  // Loaded when somebody is about to search, and not before.
  input.addEventListener("focus", () => {
    void cityIndex().catch(() => undefined);
    if (input.value.trim() && options.typed) void update();
  });
  input.addEventListener("blur", close);
  input.addEventListener("keydown", (event) => {
    const moves: Record<string, number> = { ArrowDown: 1, ArrowUp: -1 };
    const move = moves[event.key];
    if (move && list.hidden) void update();
    else if (move && found.length) {
      active = (active + move + found.length) % found.length;
      mark();
    } else if (event.key === "Enter" && found[active] && !list.hidden) choose(found[active]!);
    else if (event.key === "Escape") close();
    else return;
    event.preventDefault();
  });
  return h("div", { class: "combobox" }, h("label", { for: id }, options.label), input, list, problem);
}
