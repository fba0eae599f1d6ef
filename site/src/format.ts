// Numbers as people write them.  Files and copies keep their full precision; only what is shown is
// rounded.
type Value = number | null | undefined;

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const MISSING = "–";

export const isNumber = (value: unknown): value is number =>
  typeof value === "number" && Number.isFinite(value);

export function count(value: Value): string {
  return isNumber(value) ? whole.format(value) : MISSING;
}

/** 37.5 million, 1.50 million, 812,000, 640. */
export function people(value: Value): string {
  if (!isNumber(value)) return MISSING;
  const size = Math.abs(value);
  if (size >= 1e9) return `${(value / 1e9).toFixed(2)} billion`;
  if (size >= 1e7) return `${(value / 1e6).toFixed(1)} million`;
  if (size >= 1e6) return `${(value / 1e6).toFixed(2)} million`;
  if (size >= 1e4) return whole.format(Math.round(value / 1000) * 1000);
  return whole.format(value);
}

/** For axes, where room is short: 37 m, 812 k. */
export function short(value: number): string {
  const size = Math.abs(value);
  const trim = (number: number, digits: number) => String(Number(number.toFixed(digits)));
  if (size >= 1e9) return `${trim(value / 1e9, 1)} bn`;
  if (size >= 1e6) return `${trim(value / 1e6, 1)} m`;
  if (size >= 1e3) return `${trim(value / 1e3, 1)} k`;
  return trim(value, 2);
}

export function percent(value: Value, digits = 1): string {
  return isNumber(value) ? `${sign(value.toFixed(digits))} %` : MISSING;
}

export function number(value: Value, digits = 2): string {
  return isNumber(value) ? sign(value.toFixed(digits)) : MISSING;
}

function sign(text: string): string {
  return /^-0\.?0*$/.test(text) ? text.slice(1) : text.replace("-", "−");
}

export function bytes(value: number): string {
  if (value >= 1e6) return `${(value / 1e6).toFixed(1)} MB`;
  return value >= 1000 ? `${Math.round(value / 1000)} kB` : `${value} B`;
}

export function day(value: string | null | undefined): string {
  return value ? value.slice(0, 10) : "not recorded";
}

export function byUnit(value: Value, unit: string): string {
  if (unit === "persons") return people(value);
  return unit.startsWith("%") ? `${percent(value, 2)}${unit.slice(1)}` : number(value);
}
