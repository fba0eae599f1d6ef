"""What UNHCR's database shows beside its own figures: UNRWA's refugees and IDMC's displaced.

The endpoints ``unrwa`` (Palestine refugees under UNRWA's mandate, from 1952) and ``idmc`` (people
displaced within their country by conflict as IDMC counts them, from 1990) of the paged JSON API,
end of year.  With UNHCR's refugees and asylum-seekers they make up its world total of displaced
people; IDMC's figures overlap UNHCR's own of internally displaced people and are never added to
them.  ``-`` means *not collected* and is null, ``0`` is zero.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from urban_migration.sources.grid import json_pages, records_grid, tidy
from urban_migration.sources.source import Download, Files, Source, SourceTable, Tables

API = "https://api.unhcr.org/population/v1/"
QUERY = "coo_all=true&coa_all=true&cf_type=ISO&yearFrom=1951&yearTo=2050&limit=10000&page={page}"
ENDPOINTS = ("unrwa", "idmc")
ENVELOPE = {"page", "short-url", "maxPages", "total", "items"}
NOT_COLLECTED = ("-",)

IGNORED = {
    "coo_id": "internal number",
    "coa_id": "internal number",
    "coo": "UNHCR's own code; the ISO code is used",
    "coa": "UNHCR's own code; the ISO code is used",
    "coo_name": "names are taken from M49",
    "coa_name": "names are taken from M49",
}


def _table(endpoint: str) -> SourceTable:
    return SourceTable(
        columns={
            "asylum_code": "text",
            "origin_code": "text",
            "year": "year",
            "persons": "integer",
        },
        key=("asylum_code", "origin_code", "year"),
        code=("asylum_code", "origin_code"),
        lands=f"""exists (
            select 1 from displacement_totals d
            join country_codes a on a.country_iso3 = d.asylum_iso3 and a.scheme = 'iso3'
            join country_codes o on o.country_iso3 = d.origin_iso3 and o.scheme = 'iso3'
            where a.code = fact.asylum_code and o.code = fact.origin_code
            and d.year = fact.year and d.{endpoint} is not distinct from fact.persons)""",
    )


TABLES = {endpoint: _table(endpoint) for endpoint in ENDPOINTS}


def read(files: Files) -> Tables:
    """One row per country of asylum, origin and year of each endpoint; persons."""
    return {endpoint: _read(files, endpoint) for endpoint in ENDPOINTS}


def _read(files: Files, endpoint: str) -> pa.Table:
    pages = json_pages(files, _page(endpoint), ENVELOPE)
    return pa.concat_tables(_rows(endpoint, name, items) for name, items in pages)


def _rows(endpoint: str, name: str, items: list[dict[str, Any]]) -> pa.Table:
    grid = records_grid(name, items, use=["year", "coo_iso", "coa_iso", "total"], ignore=IGNORED)
    return tidy(
        TABLES[endpoint],
        grid,
        {
            "asylum_code": grid.required_text("coa_iso"),
            "origin_code": grid.required_text("coo_iso"),
            "year": grid.years("year"),
            "persons": grid.integers("total", null=NOT_COLLECTED),
        },
        column="total",
    )


def _page(endpoint: str) -> str:
    return endpoint + "-{page}.json"


SOURCE = Source(
    id="unhcr_totals",
    title="Refugee Population Statistics Database: UNRWA's refugees and IDMC's displaced people",
    publisher="United Nations High Commissioner for Refugees (UNHCR)",
    licence="CC BY 4.0",
    licence_url="https://creativecommons.org/licenses/by/4.0/",
    citation="UNHCR Refugee Population Statistics Database; UNRWA; IDMC.",
    homepage="https://www.unhcr.org/refugee-statistics/",
    edition="as downloaded",
    downloads=tuple(
        Download(
            file=_page(endpoint),
            url=f"{API}{endpoint}/?{QUERY}",
            kind="json",
            pages="maxPages",
        )
        for endpoint in ENDPOINTS
    ),
    tables=TABLES,
    read=read,
)
