"""International Migrant Stock 2024: migrants by destination, and by destination and origin.

Persons at 1 July of the reference years 1990, 1995, ..., 2020 and 2024, each for both sexes,
males and females under equal headers, told apart by their order.  A blank is *no figure*
(Saint Barthélemy, Saint Martin; many pairs), a zero is zero.  ``Data type``: B born abroad, C
foreign citizens, I imputed, R refugees added.  Origin 2003 is *unknown* and belongs to the sum;
other codes of 900 and more are regions.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from urban_migration.sources.grid import Grid, Melted, melt, read_bytes, tidy, workbook_sheet
from urban_migration.sources.source import Download, Files, Source, SourceTable, Tables

FOLDER = "https://www.un.org/development/desa/pd/sites/www.un.org.development.desa.pd/files/"
BY_DESTINATION = "undesa_pd_2024_ims_stock_by_sex_and_destination.xlsx"
BY_ORIGIN = "undesa_pd_2024_ims_stock_by_sex_destination_and_origin.xlsx"
YEARS = ("1990", "1995", "2000", "2005", "2010", "2015", "2020", "2024")
SEXES = {"migrants": "", "migrants_male": ".1", "migrants_female": ".2"}
"""Figure by the mark that tells its repeated year headers apart."""

HEADER_ROW = 11
UNKNOWN_ORIGIN = "2003"
DATA_TYPES = {"B", "C", "I", "R"}
AGGREGATE = "a region or group, not a country"
NO_FIGURE = "the publisher gives no figure"

NAME = "Region, development group, country or area"
IGNORED_SHEETS = {
    "Table of contents": "prose",
    "Table 2": "total population; WPP 2024 is used (and the sheet has no location codes)",
    "Table 4": "share of women, follows from Table 1",
    "Table 5": "rates of change, follow from Table 1",
    "Migrant notes": "the publisher's footnotes in prose",
    "Population notes": "the publisher's footnotes in prose",
}
IGNORED_ORIGIN_SHEETS = {
    **IGNORED_SHEETS,
    **{f"Table {number}": "sums by region of destination and origin" for number in range(2, 10)},
}

_PLACE = {"location_code": "text", "year": "year"}
_STOCKS = {"migrants": "integer", "migrants_male": "integer", "migrants_female": "integer"}
_DESTINATION = """
            select 1 from country_migration m join country_codes d using (country_iso3)
            where d.scheme = 'm49' and d.code = fact.location_code and m.year = fact.year"""

TABLES = {
    "stocks": SourceTable(
        columns={**_PLACE, "data_type": "text", **_STOCKS},
        key=("location_code", "year"),
        code=("location_code",),
        lands=f"exists ({_DESTINATION} and m.migrant_stock = fact.migrants)",
    ),
    "percentages": SourceTable(
        columns={**_PLACE, "migrants_pct": "number"},
        key=("location_code", "year"),
        code=("location_code",),
        lands=f"exists ({_DESTINATION} and m.migrant_pct = fact.migrants_pct)",
    ),
    "origins": SourceTable(
        columns={"location_code": "text", "origin_code": "text", "year": "year", **_STOCKS},
        key=("location_code", "origin_code", "year"),
        code=("location_code", "origin_code"),
        lands="""exists (
            select 1 from migrant_stock_origins m
            join country_codes d on d.country_iso3 = m.destination_iso3 and d.scheme = 'm49'
            join country_codes o on o.country_iso3 = m.origin_iso3 and o.scheme = 'm49'
            where d.code = fact.location_code and o.code = fact.origin_code
            and m.year = fact.year and m.sex = if(fact.migrants is null, 'male', 'both')
            and m.migrants = coalesce(fact.migrants, fact.migrants_male))""",
    ),
}


def read(files: Files) -> Tables:
    """Stocks and percentages by destination and year; stocks by destination, origin and year."""
    content = read_bytes(files[BY_DESTINATION])
    figures = [year + mark for mark in SEXES.values() for year in YEARS]
    stocks, percentages = (
        workbook_sheet(
            BY_DESTINATION,
            content,
            sheet,
            header_row=HEADER_ROW,
            use=["Data type", "Location code", *used],
            ignore={
                "(column A)": "running number",
                NAME: "the code identifies the row",
                "Migrant notes": "number of a footnote",
                "Coverage": "number of a footnote",
                **dict.fromkeys(set(figures) - set(used), "by sex, follows from Table 1"),
            },
            ignore_sheets={**IGNORED_SHEETS, other: "read on its own"},
        )
        for sheet, other, used in (
            ("Table 1", "Table 3", figures),
            ("Table 3", "Table 1", list(YEARS)),
        )
    )
    origins = workbook_sheet(
        BY_ORIGIN,
        read_bytes(files[BY_ORIGIN]),
        "Table 1",
        header_row=HEADER_ROW,
        use=["Location code of destination", "Location code of origin", *figures],
        ignore={
            "Index": "running number",
            f"{NAME} of destination": "the code identifies the row",
            f"{NAME} of origin": "the code identifies the row",
            "Coverage": "number of a footnote",
            "Data type": "read from the table by destination",
        },
        ignore_sheets=IGNORED_ORIGIN_SHEETS,
    )
    return {
        "stocks": _stocks(stocks),
        "percentages": _percentages(percentages),
        "origins": _origins(origins),
    }


def _stocks(grid: Grid) -> pa.Table:
    cells = melt(grid, YEARS)
    codes = grid.required_text("Location code")
    data_types = grid.text("Data type")
    for index, kind in enumerate(data_types):
        if kind is not None and not DATA_TYPES.issuperset(kind.split()):
            raise grid.error(f"unknown data type {kind!r}", index, "Data type")
    figures = _by_sex(grid)
    return tidy(
        TABLES["stocks"],
        grid,
        {
            "location_code": cells.repeat(codes),
            "year": _years(cells),
            "data_type": cells.repeat(data_types),
            **figures,
        },
        rows=cells.rows,
        column=cells.header(),
        ignored=_reasons(cells.repeat(_aggregates(grid, "Location code")), figures["migrants"]),
    )


def _percentages(grid: Grid) -> pa.Table:
    cells = melt(grid, YEARS)
    figures = pa.array(cells.numbers(null=("", "..")), from_pandas=True)
    return tidy(
        TABLES["percentages"],
        grid,
        {
            "location_code": cells.repeat(grid.required_text("Location code")),
            "year": _years(cells),
            "migrants_pct": figures,
        },
        rows=cells.rows,
        column=cells.header(),
        ignored=_reasons(cells.repeat(_aggregates(grid, "Location code")), figures),
    )


def _origins(grid: Grid) -> pa.Table:
    cells = melt(grid, YEARS)
    destinations = grid.required_text("Location code of destination")
    origins = grid.required_text("Location code of origin")
    reasons = pc.coalesce(
        _aggregates(grid, "Location code of destination"),
        _aggregates(grid, "Location code of origin", UNKNOWN_ORIGIN),
    )
    figures = _by_sex(grid)
    return tidy(
        TABLES["origins"],
        grid,
        {
            "location_code": cells.repeat(destinations),
            "origin_code": cells.repeat(origins),
            "year": _years(cells),
            **figures,
        },
        rows=cells.rows,
        column=cells.header(),
        ignored=_reasons(cells.repeat(reasons), *figures.values()),
    )


def _by_sex(grid: Grid) -> dict[str, pa.Array]:
    return {
        figure: melt(grid, [year + mark for year in YEARS]).integers(null=("", ".."))
        for figure, mark in SEXES.items()
    }


def _years(cells: Melted) -> pa.Array:
    return cells.header([int(year) for year in YEARS])


def _aggregates(grid: Grid, column: str, *countries: str) -> pa.Array:
    """The reason why a row is ignored, null for countries (codes below 900)."""
    codes = grid.required_text(column)
    reasons: dict[str, str | None] = {}
    for code in set(codes):
        if not code.isdecimal():
            problem = f"{code!r} is not a numeric location code"
            raise grid.error(problem, codes.index(code), column)
        reasons[code] = AGGREGATE if int(code) >= 900 and code not in countries else None
    return pa.array([reasons[code] for code in codes], pa.string())


def _reasons(aggregate: pa.Array, *figures: pa.Array) -> pa.Array:
    """Add the reason for facts without any figure; one pair has figures by sex only."""
    blank = pc.is_null(pc.coalesce(*figures))
    return pc.coalesce(aggregate, pc.if_else(blank, NO_FIGURE, pa.scalar(None, pa.string())))


SOURCE = Source(
    id="un_migrant_stock_2024",
    title="International Migrant Stock 2024",
    publisher="United Nations, Department of Economic and Social Affairs, Population Division",
    licence="CC BY 3.0 IGO",
    licence_url="https://creativecommons.org/licenses/by/3.0/igo/",
    citation=(
        "United Nations Department of Economic and Social Affairs, Population Division (2024). "
        "International Migrant Stock 2024."
    ),
    homepage="https://www.un.org/development/desa/pd/content/international-migrant-stock",
    edition="2024",
    downloads=tuple(
        Download(file=name, url=FOLDER + name, kind="xlsx") for name in (BY_DESTINATION, BY_ORIGIN)
    ),
    tables=TABLES,
    read=read,
    required=True,
)
