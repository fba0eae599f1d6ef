// DuckDB in the browser, attached to the release's database by range requests: read only, without
// extensions, files or other hosts.
import * as duckdb from "@duckdb/duckdb-wasm";
import { SiteError } from "./http";
import type { Cell } from "./csv";
import { theSite } from "./release";

export interface Result {
  columns: string[];
  types: string[];
  rows: Cell[][];
  truncated: boolean;
  seconds: number;
}

const MOST_ROWS = 100_000;
const DATABASE = "urban_migration.duckdb";

export class Engine {
  private constructor(
    private worker: Worker,
    private connection: duckdb.AsyncDuckDBConnection,
  ) {}

  static async start(tell: (text: string) => void): Promise<Engine> {
    const site = await theSite();
    const at = (name: string) => new URL(name, import.meta.url).href;
    if (typeof DecompressionStream === "undefined" || typeof WebAssembly === "undefined")
      throw new SiteError("This browser is too old for the SQL engine. The downloads work everywhere.");
    tell("Loading the SQL engine …");
    const worker = new Worker(at(FILES.worker));
    try {
      const failed = new Promise<never>((_, reject) => {
        worker.addEventListener("error", () => reject(new SiteError(
          "The SQL engine could not be started. The tables can still be downloaded.")));
      });
      const db = new duckdb.AsyncDuckDB(new duckdb.VoidLogger(), worker);
      await Promise.race([failed, db.instantiate(at(FILES.wasm))]);
      await db.open({
        path: ":memory:",
        query: { castBigIntToDouble: false },
        // Parts of the database where the host sends parts, the whole of it where it does not.
        filesystem: { allowFullHTTPReads: true, forceFullHTTPReads: false, reliableHeadRequests: true },
      });
      tell("Opening the release …");
      const address = new URL(site.path + DATABASE, location.href).href;
      await db.registerFileURL(DATABASE, address, duckdb.DuckDBDataProtocol.HTTP, false);
      const connection = await db.connect();
      try {
        await connection.query(`ATTACH '${DATABASE}' AS release (READ_ONLY)`);
        await connection.query("USE release");
      } catch (error) {
        throw new SiteError(
          `${DATABASE} could not be opened: it is missing or damaged (${reason(error)}). ` +
            "The tables can still be downloaded.",
        );
      }
      for (const setting of [
        "autoinstall_known_extensions = false",
        "autoload_known_extensions = false",
        "enable_external_access = false",
        "lock_configuration = true",
      ])
        await connection.query(`SET ${setting}`).catch(() => undefined);
      return new Engine(worker, connection);
    } catch (error) {
      worker.terminate();
      throw error instanceof SiteError ? error : new SiteError(`The SQL engine could not be started: ${reason(error)}`);
    }
  }

  /** The engine is ended with its thread: nothing that it was doing goes on. */
  stop(): void {
    this.worker.terminate();
  }

  async run(sql: string, tell: (rows: number) => void): Promise<Result> {
    const began = performance.now();
    const stream = await this.connection.send(sql, true);
    const rows: Cell[][] = [];
    let columns: string[] = [];
    let types: string[] = [];
    let truncated = false;
    for await (const batch of stream) {
      if (!columns.length) {
        columns = batch.schema.fields.map((field) => field.name);
        types = batch.schema.fields.map((field) => String(field.type));
      }
      const vectors = batch.schema.fields.map((_, at) => batch.getChildAt(at));
      for (let row = 0; row < batch.numRows && !truncated; row++) {
        rows.push(vectors.map((vector, at) => plain(vector?.get(row), types[at]!)));
        truncated = rows.length >= MOST_ROWS;
      }
      tell(rows.length);
      if (truncated) break;
    }
    if (!columns.length && stream.schema) {
      columns = stream.schema.fields.map((field) => field.name);
      types = stream.schema.fields.map((field) => String(field.type));
    }
    return { columns, types, rows, truncated, seconds: (performance.now() - began) / 1000 };
  }
}

export const reason = (error: unknown): string =>
  error instanceof Error ? error.message.replace(/\nLINE[\s\S]*$/, (text) => text) : String(error);

/** A value of Arrow as a cell; what has no plain form is written as JSON. */
function plain(value: unknown, type: string): Cell {
  if (value === null || value === undefined) return null;
  if (typeof value === "bigint")
    return value >= BigInt(Number.MIN_SAFE_INTEGER) && value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : value;
  if (type.startsWith("Decimal")) return decimal(value, type);
  if (type.startsWith("Date")) return new Date(Number(value)).toISOString().slice(0, 10);
  if (type.startsWith("Timestamp")) return new Date(Number(value)).toISOString();
  if (typeof value === "number" || typeof value === "boolean" || typeof value === "string") return value;
  return JSON.stringify(value, (_, one: unknown) => (typeof one === "bigint" ? Number(one) : one));
}

/** Arrow hands out decimals as their unscaled words. */
function decimal(value: unknown, type: string): Cell {
  const scale = Number(/e\+?(-?\d+)/.exec(type)?.[1] ?? 0);
  const words = value as Uint32Array;
  let whole = 0n;
  for (let at = words.length - 1; at >= 0; at--) whole = (whole << 32n) | BigInt(words[at]!);
  const bits = BigInt(words.length * 32);
  if (whole >> (bits - 1n)) whole -= 1n << bits;
  return Number(whole) / 10 ** scale;
}
