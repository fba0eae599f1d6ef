// Finding a city by a name that is spelt nearly right: without its diacritics, in another language,
// or with a letter wrong.
const LETTERS: Record<string, string> = {
  ß: "ss", æ: "ae", œ: "oe", ø: "o", ł: "l", đ: "d", ð: "d", þ: "th", ı: "i", ə: "e", ħ: "h",
};

/** Lower case, Latin letters without marks, single spaces. */
export function fold(text: string): string {
  return text
    .toLowerCase()
    .normalize("NFD")
    .replace(/\p{Diacritic}/gu, "")
    .replace(/[ßæœøłđðþıəħ]/g, (letter) => LETTERS[letter] ?? letter)
    .replace(/[^\p{L}\p{N}]+/gu, " ")
    .trim();
}

/** Edits (a letter more, less, other, or two swapped) between two words; `limit + 1` means more. */
export function edits(a: string, b: string, limit: number): number {
  if (Math.abs(a.length - b.length) > limit) return limit + 1;
  let before: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    let best = i;
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1];
      let cost = Math.min(last[j]! + 1, row[j - 1]! + 1, last[j - 1]! + (same ? 0 : 1));
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1])
        cost = Math.min(cost, before[j - 2]! + 1);
      row.push(cost);
      best = Math.min(best, cost);
    }
    if (best > limit) return limit + 1;
    before = last;
    last = row;
  }
  return last[b.length]!;
}

export interface Named {
  /** Folded names of one thing, the first of them the main one. */
  names: string[];
}

/** How badly a query fits a name: 0 is best, null not at all. */
function misfit(query: string, name: string): number | null {
  if (name === query) return 0;
  if (name.startsWith(query)) return 1;
  if (` ${name}`.includes(` ${query}`)) return 2;
  if (query.length < 3) return null;
  if (name.includes(query)) return 3;
  if (query.length < 4) return null;
  const limit = query.length < 6 ? 1 : 2;
  const away = Math.min(
    edits(query, name, limit),
    edits(query, name.slice(0, query.length), limit),
  );
  return away <= limit ? 3 + away : null;
}

/** The things whose names fit best; among equals their order stays (the largest come first). */
export function find<T extends Named>(query: string, things: T[], most: number): T[] {
  const wanted = fold(query);
  if (!wanted) return [];
  const found: [number, T][] = [];
  for (const thing of things) {
    let best: number | null = null;
    for (const name of thing.names) {
      const fit = misfit(wanted, name);
      if (fit !== null && (best === null || fit < best)) best = fit;
    }
    if (best !== null) found.push([best, thing]);
  }
  // What fits exactly makes guesses superfluous.
  const guesses = found.some(([fit]) => fit < 2) ? 3 : 9;
  return found
    .filter(([fit]) => fit <= guesses)
    .sort((a, b) => a[0] - b[0])
    .slice(0, most)
    .map(([, thing]) => thing);
}
