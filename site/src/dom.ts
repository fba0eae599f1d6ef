// Makes elements.  Text only ever becomes text: there is no way here to write HTML, so that no name of
// a publisher and no result of a query can become markup.
export type Child = Node | string | number | null | undefined | false | Child[];
type Props = Record<string, unknown>;

function append(parent: Node, children: Child[]): void {
  for (const child of children) {
    if (Array.isArray(child)) append(parent, child);
    else if (child instanceof Node) parent.appendChild(child);
    else if (child !== null && child !== undefined && child !== false)
      parent.appendChild(document.createTextNode(String(child)));
  }
}

function fill(element: Element, props: Props): void {
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value as EventListener);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
}

export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  props: Props = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  fill(element, props);
  append(element, children);
  return element;
}

export function svg(tag: string, props: Props = {}, ...children: Child[]): SVGElement {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  fill(element, props);
  append(element, children);
  return element;
}

export function replace(parent: Element, ...children: Child[]): void {
  parent.replaceChildren();
  append(parent, children);
}

export function option(value: string, label: string, chosen: string): HTMLOptionElement {
  const made = h("option", { value }, label);
  made.selected = value === chosen;
  return made;
}

/** A link to a page of the web, or plain text where the address is none: addresses are data too. */
export function link(address: string | null | undefined, text: string): Node {
  if (!address || !/^https?:\/\//.test(address)) return document.createTextNode(text);
  return h("a", { href: address, rel: "noreferrer" }, text);
}

let polite: HTMLElement | undefined;
/** Tell readers who listen to the page what has just happened on it. */
export function announce(text: string): void {
  polite ??= document.body.appendChild(
    h("p", { class: "unseen", role: "status", "aria-live": "polite" }),
  );
  polite.textContent = text;
}

export function note(text: string, kind: "note" | "problem" = "note"): HTMLElement {
  return h("p", { class: kind, role: kind === "problem" ? "alert" : undefined }, text);
}

export function debounce(wait: number, act: () => void): () => void {
  let timer = 0;
  return () => {
    clearTimeout(timer);
    timer = window.setTimeout(act, wait);
  };
}
