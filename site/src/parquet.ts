// Reads rows of the release's Parquet files by range requests: the footer, then only the row groups
// whose statistics say that they may hold the rows.
import { decompress } from "fzstd";
import { parquetMetadata, parquetReadObjects, type FileMetaData, type ParquetQueryFilter } from "hyparquet";
import { Ranged, SiteError } from "./http";
import { theSite } from "./release";

export type Row = Record<string, string | number | boolean | null>;

interface Open {
  file: Ranged;
  metadata: FileMetaData;
}

const open = new Map<string, Promise<Open>>();

async function openTable(name: string): Promise<Open> {
  const site = await theSite();
  const table = site.tables[name];
  if (!table) throw new SiteError(`This release has no table ${name}.`);
  const file = new Ranged(site.path + table.path, table.bytes);
  const end = await file.slice(table.bytes - table.footer, table.bytes);
  try {
    return { file, metadata: parquetMetadata(end) };
  } catch {
    throw damaged(table.path);
  }
}

function damaged(path: string): SiteError {
  return new SiteError(
    `${path} cannot be read: it is damaged. What depends on it cannot be shown; the site must be ` +
      "published again.",
  );
}

function plain(value: unknown): string | number | boolean | null {
  if (value === null || value === undefined) return null;
  if (typeof value === "bigint") return Number(value);
  if (value instanceof Date) return value.toISOString().slice(0, 10);
  return typeof value === "number" || typeof value === "boolean" ? value : String(value);
}

/** The rows of a table that a filter lets through; columns that the release lacks are left out. */
export async function rows(
  name: string,
  wanted: string[] | null,
  filter: ParquetQueryFilter,
): Promise<Row[]> {
  const site = await theSite();
  let opened = open.get(name);
  if (!opened) {
    opened = openTable(name);
    open.set(name, opened);
    opened.catch(() => open.delete(name));
  }
  const { file, metadata } = await opened;
  const present = site.tables[name]!.columns;
  const columns = wanted ? wanted.filter((column) => present.includes(column)) : present;
  let found: Record<string, unknown>[];
  try {
    found = await parquetReadObjects({
      file: { byteLength: file.byteLength, slice: (start, end) => file.slice(start, end) },
      metadata,
      columns,
      filter,
      // Releases are packed with zstd only; hyparquet-compressors would bring four more codecs along.
      compressors: { ZSTD: (input, length) => decompress(input, new Uint8Array(length)) },
    });
  } catch (error) {
    throw error instanceof SiteError ? error : damaged(site.tables[name]!.path);
  }
  return found.map((row) =>
    Object.fromEntries(columns.map((column) => [column, plain(row[column])])),
  );
}
