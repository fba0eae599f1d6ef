// What kind of number a mark stands for: one set of signs for every chart, and its legend.
import { h, svg } from "./dom";

export type Sign =
  | "observed" | "estimate" | "estimated" | "projection" | "interpolated" | "withheld" | "modelled"
  | "national";

const MEANING: Record<Sign, string> = {
  observed: "observed or reported",
  estimate: "estimate of the publisher",
  estimated: "estimate with its interval",
  projection: "projection",
  interpolated: "interpolated",
  withheld: "withheld",
  modelled: "modelled: a difference of two figures",
  national: "figure of the whole country",
};

const stroke = { stroke: "currentColor", "stroke-width": 1.75, fill: "none" };

function drawn(sign: Sign): SVGElement[] {
  switch (sign) {
    case "observed":
      return [svg("circle", { cx: 14, cy: 6, r: 4, fill: "currentColor" })];
    case "estimate":
      return [svg("path", { d: "M1 6H27", ...stroke })];
    case "estimated":
      return [
        svg("rect", { x: 1, y: 1, width: 26, height: 10, fill: "currentColor", opacity: 0.2 }),
        svg("path", { d: "M1 6H27", ...stroke, "stroke-width": 1 }),
      ];
    case "projection":
      return [svg("path", { d: "M1 6H27", ...stroke, "stroke-dasharray": "5 4" })];
    case "interpolated":
      return [svg("circle", { cx: 14, cy: 6, r: 3.5, ...stroke, "stroke-width": 1.25 })];
    case "withheld":
      return [svg("path", { d: "M10 2L18 10M18 2L10 10", ...stroke })];
    case "modelled":
      return [6, 11, 16, 21].map((x) =>
        svg("path", { d: `M${x} 1V11`, ...stroke, "stroke-width": 2, opacity: 0.4 }),
      );
    case "national":
      return [svg("path", { d: "M1 6H27", ...stroke, "stroke-width": 1, opacity: 0.7 })];
  }
}

export function legend(signs: Sign[]): HTMLElement {
  return h(
    "ul",
    { class: "legend" },
    signs.map((sign) =>
      h(
        "li",
        {},
        svg("svg", { width: 28, height: 12, "aria-hidden": "true" }, drawn(sign)),
        MEANING[sign],
      ),
    ),
  );
}
