"""UNHCR's Refugee Population Statistics: displaced and stateless people by origin and asylum.

The paged JSON API, all origins by all countries of asylum, end of year.  Numbers come as
integers and as text; ``-`` means *not collected* and is null, ``0`` is zero.  Counts below five
are rounded to 0 or 5 by UNHCR.  ISO codes are asked for (``cf_type=ISO``), because UNHCR's own
look like ISO codes of other countries.  The sums of raw rows are not UNHCR's headline figures,
which add UNRWA's refugees and correct overlaps.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from urban_migration.sources.grid import json_pages, records_grid, tidy
from urban_migration.sources.source import Download, Files, Source, SourceTable, Tables

API = "https://api.unhcr.org/population/v1/population/"
PAGE = "population-{page}.json"
QUERY = "coo_all=true&coa_all=true&cf_type=ISO&yearFrom=1951&yearTo=2050&limit=10000&page={page}"

NOT_COLLECTED = ("-",)
FIGURES = {
    "refugees": "refugees",
    "asylum_seekers": "asylum_seekers",
    "idps": "idps",
    "stateless": "stateless",
    "returned_refugees": "returned_refugees",
    "returned_idps": "returned_idps",
    "others_of_concern": "ooc",
    "other_people_in_need": "oip",
    "host_community": "hst",
}
"""Figures by the API's own names; ``ooc``, ``oip`` and ``hst`` are spelt out."""

IGNORED = {
    "coo_id": "internal number",
    "coa_id": "internal number",
    "coo": "UNHCR's own code; the ISO code is used",
    "coa": "UNHCR's own code; the ISO code is used",
    "coo_name": "names are taken from M49",
    "coa_name": "names are taken from M49",
}
ENVELOPE = {"page", "short-url", "maxPages", "total", "items"}

TABLES = {
    "population": SourceTable(
        columns={
            "asylum_code": "text",
            "origin_code": "text",
            "year": "year",
            **dict.fromkeys(FIGURES, "integer"),
        },
        key=("asylum_code", "origin_code", "year"),
        code=("asylum_code", "origin_code"),
        lands="""exists (
            select 1 from displacement_origins d
            join country_codes a on a.country_iso3 = d.asylum_iso3 and a.scheme = 'iso3'
            join country_codes o on o.country_iso3 = d.origin_iso3 and o.scheme = 'iso3'
            where a.code = fact.asylum_code and o.code = fact.origin_code
            and d.year = fact.year and d.refugees is not distinct from fact.refugees)""",
    )
}


def read(files: Files) -> Tables:
    """One row per country of asylum, origin and year; persons at the end of the year."""
    pages = json_pages(files, PAGE, ENVELOPE)
    return {"population": pa.concat_tables(_rows(name, items) for name, items in pages)}


def _rows(name: str, items: list[dict[str, Any]]) -> pa.Table:
    grid = records_grid(
        name, items, use=["year", "coo_iso", "coa_iso", *FIGURES.values()], ignore=IGNORED
    )
    return tidy(
        TABLES["population"],
        grid,
        {
            "asylum_code": grid.required_text("coa_iso"),
            "origin_code": grid.required_text("coo_iso"),
            "year": grid.years("year"),
            **{
                figure: grid.integers(member, null=NOT_COLLECTED)
                for figure, member in FIGURES.items()
            },
        },
    )


SOURCE = Source(
    id="unhcr_population",
    title="Refugee Population Statistics Database: population by origin and asylum",
    publisher="United Nations High Commissioner for Refugees (UNHCR)",
    licence="CC BY 4.0",
    licence_url="https://creativecommons.org/licenses/by/4.0/",
    citation="UNHCR Refugee Population Statistics Database.",
    homepage="https://www.unhcr.org/refugee-statistics/",
    edition="as downloaded",
    downloads=(Download(file=PAGE, url=f"{API}?{QUERY}", kind="json", pages="maxPages"),),
    tables=TABLES,
    read=read,
)
