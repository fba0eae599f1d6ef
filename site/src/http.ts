// Fetches files of the site, whole or in part, and says in a reader's words what is wrong with them.
import { bytes as asBytes } from "./format";

/** Something that a reader of the page is told, in these words. */
export class SiteError extends Error {}

export async function json<T>(path: string): Promise<T> {
  const response = await get(path);
  try {
    return (await response.json()) as T;
  } catch {
    throw new SiteError(`${path} is damaged: it is no JSON. The site must be published again.`);
  }
}

export async function get(path: string, init?: RequestInit): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(path, init);
  } catch {
    throw new SiteError(`${path} could not be fetched: the server does not answer. Try again later.`);
  }
  if (response.status === 404) throw new SiteError(`${path} is missing from this site.`);
  if (!response.ok && response.status !== 416)
    throw new SiteError(`${path} could not be fetched: the server answers ${response.status}.`);
  return response;
}

let told = false;
function tellWholeFiles(): void {
  if (told) return;
  told = true;
  document.dispatchEvent(new CustomEvent("whole-files"));
}

/** A file of known length that is read in parts; one that came whole is kept whole. */
export class Ranged {
  private parts = new Map<string, Promise<ArrayBuffer>>();
  private whole: ArrayBuffer | undefined;

  constructor(
    readonly path: string,
    readonly byteLength: number,
  ) {}

  slice(start: number, end = this.byteLength): Promise<ArrayBuffer> {
    if (this.whole) return Promise.resolve(this.whole.slice(start, end));
    const key = `${start}-${end}`;
    let part = this.parts.get(key);
    if (!part) {
      part = this.fetch(start, end);
      this.parts.set(key, part);
      part.catch(() => this.parts.delete(key));
    }
    return part;
  }

  private async fetch(start: number, end: number): Promise<ArrayBuffer> {
    const response = await get(this.path, { headers: { Range: `bytes=${start}-${end - 1}` } });
    if (response.status === 416) throw this.damaged("shorter than it should be");
    const total = response.headers.get("Content-Range")?.split("/")[1];
    if (total && total !== "*" && Number(total) !== this.byteLength)
      throw this.damaged(`${asBytes(Number(total))} instead of ${asBytes(this.byteLength)}`);
    const body = await response.arrayBuffer();
    if (response.status === 206) {
      if (body.byteLength !== end - start) throw this.damaged("cut off while it was sent");
      return body;
    }
    if (body.byteLength !== this.byteLength)
      throw this.damaged(`${asBytes(body.byteLength)} instead of ${asBytes(this.byteLength)}`);
    this.whole = body;
    tellWholeFiles();
    return body.slice(start, end);
  }

  private damaged(how: string): SiteError {
    const name = this.path.split("/").pop();
    return new SiteError(
      `${name} is not the file that was published: ${how}. What depends on it cannot be shown; ` +
        "the site must be published again.",
    );
  }
}
