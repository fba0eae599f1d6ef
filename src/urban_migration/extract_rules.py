"""How each source is cut for the extract: the files of the full store to those of the extract.

A rule keeps the publisher's sheets, headers, columns and figures, and leaves out rows; cells that
no reader uses, and prose, are blank.  What it keeps is such that no figure made of it is wrong:
a year of displacement is complete for a country or absent, a destination has all its origins.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final

from urban_migration.errors import ReadError
from urban_migration.extract_city_rules import CITY_RULES
from urban_migration.extract_files import (
    Sheet,
    archive_bytes,
    gzip_bytes,
    part_of_csv,
    read_sheet,
    workbook_bytes,
)
from urban_migration.selection import SELECTION, Cut, Selection
from urban_migration.sources import (
    idmc_displacement,
    iom_missing_migrants,
    un_m49,
    un_migrant_stock_2024,
    un_wpp_2024,
    un_wup_2018,
    un_wup_2025,
    unhcr_locations,
    unhcr_population,
    unhcr_totals,
)
from urban_migration.sources.grid import read_bytes, zip_members
from urban_migration.sources.source import Files

WORLD: Final = 900
ITEMS_PER_PAGE: Final = 10_000


def _cut_m49(files: Files, _: Selection) -> dict[str, Cut]:
    """All of it: it is small, and names and codes only."""
    name = un_m49.FILE
    content = read_bytes(files[name])
    return {name: Cut(content, name, "everything")}


def _cut_wup_2018(files: Files, selection: Selection) -> dict[str, Cut]:
    """All countries and the world; of the cities, the selected ones."""
    name = un_wup_2018.ARCHIVE
    members = zip_members(files[name], un_wup_2018.MEMBERS, un_wup_2018.OTHER_MEMBERS)
    sheets = {
        member: read_sheet(member, content, _wup_sheet(member), header_row=17, titles_row=16)
        for member, content in members.items()
    }
    locations = sheets[un_wup_2018.LOCATIONS]
    kinds = zip(locations.codes("code"), locations.cells("Name"), strict=True)
    countries = {code for code, kind in kinds if code is not None and kind == un_wup_2018.COUNTRY}
    cities = set(selection.cities)
    cut = {}
    for member, sheet in sheets.items():
        if member in (un_wup_2018.CITIES_5_YEARLY, un_wup_2018.CITIES_ANNUAL):
            _refuse_missing(sheet, selection)
            kept = sheet.keep({"City Code": cities})
        else:
            header = "code" if sheet is locations else "Country code"
            kept = sheet.keep({header: {WORLD, *countries}})
        cut[member] = workbook_bytes({sheet.name: kept, "NOTES": []})
    what = (
        f"{len(cities):,} of {len(sheets[un_wup_2018.CITIES_ANNUAL]):,} cities (F12, F22); "
        f"{len(countries):,} countries and the world (F00, F01, F02, F03, F19); no notes"
    )
    return {name: Cut(archive_bytes(cut), name, what)}


def _wup_sheet(member: str) -> str:
    return "Location" if member == un_wup_2018.LOCATIONS else "Data"


def _refuse_missing(sheet: Sheet, selection: Selection) -> None:
    missing = selection.cities.keys() - set(sheet.codes("City Code"))
    if missing:
        names = ", ".join(sorted(selection.cities[code] for code in missing))
        problem = f"selected cities are not there: {names}. Correct {SELECTION.name}"
        raise ReadError(problem, file=sheet.file, sheet=sheet.name)


def _cut_migrant_stock(files: Files, selection: Selection) -> dict[str, Cut]:
    """All countries and the world; complete origins of the selected destinations."""
    name, by_origin = un_migrant_stock_2024.BY_DESTINATION, un_migrant_stock_2024.BY_ORIGIN
    rows = {"header_row": un_migrant_stock_2024.HEADER_ROW, "titles_row": 8}
    content = read_bytes(files[name])
    tables = [read_sheet(name, content, table, **rows) for table in ("Table 1", "Table 3")]
    countries = _countries(tables[0].codes("Location code"))
    kept = {table.name: table.keep({"Location code": {WORLD, *countries}}) for table in tables}

    pairs = read_sheet(by_origin, read_bytes(files[by_origin]), "Table 1", **rows)
    origins = _countries(pairs.codes("Location code of origin"))
    of_selected = pairs.keep(
        {
            "Location code of destination": set(selection.destinations),
            "Location code of origin": {*origins, int(un_migrant_stock_2024.UNKNOWN_ORIGIN)},
        }
    )
    what = (
        f"{len(selection.destinations)} destinations with all their origins: "
        f"{len(of_selected) - pairs.header_row:,} of {len(pairs):,} rows; no sums by region"
    )
    return {
        name: Cut(
            workbook_bytes(kept),
            name,
            f"tables 1 and 3: {len(countries):,} countries and the world",
        ),
        by_origin: Cut(workbook_bytes({pairs.name: of_selected}), by_origin, what),
    }


def _countries(codes: Iterable[int | None]) -> set[int]:
    """The codes of countries: those of regions and groups begin at 900."""
    return {code for code in codes if code is not None and code < WORLD}


def _cut_wpp_2024(files: Files, selection: Selection) -> dict[str, Cut]:
    """Countries and the world; the indicators that the reader uses, the others blank."""
    name = un_wpp_2024.INDICATORS
    first, last = selection.years["un_wpp_2024"]
    part = part_of_csv(
        read_bytes(files[name]),
        keep=lambda row: (
            (row["LocTypeName"] == un_wpp_2024.COUNTRY or int(row["LocID"]) == WORLD)
            and first <= int(row["Time"]) <= last
        ),
        blank=un_wpp_2024.OTHER_INDICATORS,
        mark=True,
    )
    places = {int(row["LocID"]) for row in part.rows}
    used = ", ".join(un_wpp_2024.USED.values())
    what = f"{len(places - {WORLD}):,} countries and the world, {first} to {last}; {used}"
    return {name: Cut(gzip_bytes(part.content), name, what)}


def _cut_unhcr(files: Files, selection: Selection) -> dict[str, Cut]:
    """Complete years; members that the reader ignores are null.

    The rows of one pair of countries stand beside each other, which packs twice as well as the
    API's order by year.
    """
    first, last = selection.years["unhcr_population"]
    pages, items = _items(
        files,
        keep=lambda item: first <= item["year"] <= last,
        blank=unhcr_population.IGNORED,
    )
    items.sort(key=lambda item: (item["coa_iso"], item["coo_iso"], item["year"]))
    what = f"all pairs of countries, {first} to {last}: {len(items):,} rows on all pages together"
    return _paged(pages[0], items, unhcr_population.PAGE, what)


def _cut_wup_2025(files: Files, selection: Selection) -> dict[str, Cut]:
    """The selected cities with all their years; the columns that the reader uses."""
    name = un_wup_2025.FILE
    codes = selection.codes["un_wup_2025"]
    part = part_of_csv(
        read_bytes(files[name]),
        keep=lambda row: row["City_Code"] in codes,
        blank=un_wup_2025.IGNORED,
        mark=True,
    )
    cities = len({row["City_Code"] for row in part.rows})
    what = f"{cities} cities, all years; no populations of 1 January"
    return {name: Cut(gzip_bytes(part.content), name, what)}


def _cut_unhcr_locations(files: Files, selection: Selection) -> dict[str, Cut]:
    """Complete years of the world, and complete series of a few countries of asylum."""
    first, last = selection.years["unhcr_locations"]
    countries = selection.whole_series["unhcr_locations"]
    pages, items = _items(
        files,
        keep=lambda item: first <= item["year"] <= last or item["coa_iso"] in countries,
        blank=unhcr_locations.IGNORED,
    )
    items.sort(
        key=lambda item: [
            item[member] for member in ("coa_iso", "location", "pop_type", "coo_iso", "year")
        ]
    )
    what = (
        f"all locations, {first} to {last}, and all years of {', '.join(sorted(countries))}: "
        f"{len(items):,} rows on all pages together; no age and sex"
    )
    return _paged(pages[0], items, unhcr_locations.PAGE, what)


def _cut_unhcr_totals(files: Files, _: Selection) -> dict[str, Cut]:
    """All of it; members that the reader ignores are null."""
    cuts: dict[str, Cut] = {}
    for endpoint in unhcr_totals.ENDPOINTS:
        own = {name: path for name, path in files.items() if name.startswith(endpoint)}
        pages, items = _items(own, keep=lambda _: True, blank=unhcr_totals.IGNORED)
        cuts |= _paged(pages[0], items, f"{endpoint}-{{page}}.json", "all countries and years")
    return cuts


def _items(
    files: Files, *, keep: Callable[[dict[str, Any]], bool], blank: Collection[str]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The pages of an API, and the items on them that are kept, ignored members null."""
    import orjson

    pages = [orjson.loads(read_bytes(path)) for _, path in sorted(files.items())]
    items = [
        {member: None if member in blank else value for member, value in item.items()}
        for page in pages
        for item in page["items"]
        if keep(item)
    ]
    return pages, items


def _paged(
    envelope: Mapping[str, Any], items: list[dict[str, Any]], pattern: str, what: str
) -> dict[str, Cut]:
    """Items on pages, in the envelope that the API has around each."""
    import orjson

    batches = [items[at : at + ITEMS_PER_PAGE] for at in range(0, len(items), ITEMS_PER_PAGE)]
    cuts = {}
    for number, batch in enumerate(batches, 1):
        page = {**envelope, "page": number, "maxPages": len(batches), "items": batch}
        cuts[pattern.format(page=number)] = Cut(gzip_bytes(orjson.dumps(page)), pattern, what)
    return cuts


def _cut_idmc(files: Files, selection: Selection) -> dict[str, Cut]:
    """Conflict in all years; of disasters complete years, without what describes the event."""
    first, last = selection.years["idmc_displacement"]
    conflict, disasters = idmc_displacement.CONFLICT, idmc_displacement.DISASTERS
    all_years = part_of_csv(
        read_bytes(files[conflict]), keep=lambda _: True, blank=idmc_displacement.IGNORED
    )
    some_years = part_of_csv(
        read_bytes(files[disasters]),
        keep=lambda row: first <= int(row["year"]) <= last,
        blank=idmc_displacement.IGNORED_OF_EVENTS,
        order=lambda row: (row["iso3"], row["year"]),
    )
    what = f"all {len(some_years.rows):,} events of {first} to {last}; nothing that describes them"
    return {
        conflict: Cut(gzip_bytes(all_years.content), conflict, "all countries and years"),
        disasters: Cut(gzip_bytes(some_years.content), disasters, what),
    }


def _cut_missing_migrants(files: Files, selection: Selection) -> dict[str, Cut]:
    """Complete years; the others are empty lists.  Places are told by coordinates alone."""
    import orjson

    first, last = selection.years["iom_missing_migrants"]
    blank = {*iom_missing_migrants.IGNORED, iom_missing_migrants.TEXTS["location"]}
    cuts = {}
    for year in iom_missing_migrants.YEARS:
        name = iom_missing_migrants.FILE.format(year=year)
        found = orjson.loads(read_bytes(files[name])) if first <= year <= last else []
        records = [
            {member: "" if member in blank else value.strip() for member, value in record.items()}
            for record in found
        ]
        what = f"all {len(records):,} records; no reports and descriptions" if found else "none"
        cuts[name] = Cut(gzip_bytes(orjson.dumps(records)), name, what)
    return cuts


RULES: Final[Mapping[str, Callable[[Files, Selection], dict[str, Cut]]]] = {
    "un_m49": _cut_m49,
    "un_wup_2018": _cut_wup_2018,
    "un_migrant_stock_2024": _cut_migrant_stock,
    "un_wpp_2024": _cut_wpp_2024,
    "unhcr_population": _cut_unhcr,
    "un_wup_2025": _cut_wup_2025,
    "unhcr_locations": _cut_unhcr_locations,
    "unhcr_totals": _cut_unhcr_totals,
    "idmc_displacement": _cut_idmc,
    "iom_missing_migrants": _cut_missing_migrants,
    **CITY_RULES,
}
"""How each source is cut: its files of the full store to those of the extract, by name."""
