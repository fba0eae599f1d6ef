"""The naive script: the same tables as an analyst would write them, with pandas and openpyxl.

Plain and readable, no tricks and nothing slow on purpose: pandas reads ``.xlsx`` with openpyxl
(its default) and ``.xls`` with calamine (xlrd is not installed).  No checks and no release
either; ``python naive.py RAW OUT``.
"""

from __future__ import annotations

import io
import json
import sys
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd

REFERENCE_YEARS = [1990, 1995, 2000, 2005, 2010, 2015, 2020, 2024]
OWN_COUNTRIES = [
    ("TWN", 158, "TW", "Taiwan", "Asia", "Eastern Asia"),
    ("XKX", 412, "XK", "Kosovo", "Europe", "Southern Europe"),
    ("XCI", 830, None, "Channel Islands", "Europe", "Northern Europe"),
    ("XAB", None, None, "Abyei", "Africa", None),
    ("XXA", None, None, "Stateless", None, None),
    ("XTB", None, None, "Tibetan", None, None),
    ("XXX", 2003, None, "Unknown or other", None, None),
]


def read_countries(raw: Path) -> pd.DataFrame:
    """M49 and the territories without an ISO code."""
    m49 = pd.read_csv(
        raw / "un_m49" / "UNSD-Methodology.csv", sep=";", dtype=str, keep_default_na=False
    )
    m49 = m49.rename(
        columns={
            "ISO-alpha3 Code": "country_iso3",
            "M49 Code": "country_m49",
            "ISO-alpha2 Code": "country_iso2",
            "Country or Area": "name",
            "Region Name": "region",
            "Sub-region Name": "subregion",
        }
    )
    columns = ["country_iso3", "country_m49", "country_iso2", "name", "region", "subregion"]
    m49 = m49.loc[m49["country_iso3"] != "", columns]
    m49 = m49.replace("", None)
    countries = pd.concat([m49, pd.DataFrame(OWN_COUNTRIES, columns=columns)])
    countries["country_m49"] = pd.to_numeric(countries["country_m49"]).astype("Int64")
    countries["notes"] = pd.Series(pd.NA, index=countries.index, dtype="string")
    return countries.sort_values("country_iso3", ignore_index=True)


def read_wup(raw: Path) -> dict[str, pd.DataFrame]:
    """The workbooks of WUP 2018, by the first part of their name (F01, F22, ...)."""
    sheets = {}
    with zipfile.ZipFile(raw / "un_wup_2018" / "WUP2018-Excel-files.zip") as archive:
        for name in archive.namelist():
            part = name.split("-")[1]
            if part not in ("F00", "F01", "F02", "F19", "F22"):
                continue
            content = io.BytesIO(archive.read(name))
            engine = "calamine" if name.endswith(".xls") else "openpyxl"
            sheet = pd.read_excel(content, header=16, engine=engine)
            sheets[part] = sheet.rename(columns={"Country\ncode": "country", "code": "country"})
    return sheets


def make_cities(wup: dict[str, pd.DataFrame], countries: pd.DataFrame) -> pd.DataFrame:
    """One row per urban agglomeration."""
    cities = wup["F22"].merge(countries, left_on="Country Code", right_on="country_m49")
    code = cities["City Code"].astype(int).astype(str)
    cities = pd.DataFrame(
        {
            "city_id": cities["country_iso3"].str.lower() + "-" + code,
            "name": cities["Urban Agglomeration"].str.strip(),
            "local_name": None,
            "country_iso3": cities["country_iso3"],
            "latitude": cities["Latitude"],
            "longitude": cities["Longitude"],
            "is_capital": None,
            "kind": "un_agglomeration",
            "wup2018_code": code,
            "wup2025_code": None,
            "urban_audit_code": None,
            "geonames_id": None,
        }
    )
    return cities.sort_values("city_id", ignore_index=True)


def make_city_population(wup: dict[str, pd.DataFrame], cities: pd.DataFrame) -> pd.DataFrame:
    """One row per city and year."""
    years = [c for c in wup["F22"].columns if str(c).replace(".0", "").isdigit()]
    population = wup["F22"].melt(
        id_vars="City Code", value_vars=years, var_name="year", value_name="population"
    )
    population["year"] = population["year"].astype(int)
    population["wup2018_code"] = population["City Code"].astype(int).astype(str)
    population = population.merge(cities[["city_id", "wup2018_code"]], on="wup2018_code")
    population["series"] = "wup2018"
    population["population"] = (population["population"] * 1000).round().astype("int64")
    population["status"] = np.where(population["year"] <= 2018, "estimate", "projection")
    population["source_id"] = "un_wup_2018"
    columns = ["city_id", "year", "series", "population", "status", "source_id"]
    return population[columns].sort_values(["city_id", "year"], ignore_index=True)


def make_country_urbanization(
    wup: dict[str, pd.DataFrame], countries: pd.DataFrame
) -> pd.DataFrame:
    """Urban and total population per country and year; totals by linear urban share."""
    places = wup["F00"]
    places = places[places["Name"] == "Country/Area"]
    years = list(range(1950, 2051))
    urban = wup["F19"].set_index("country").loc[places["country"]]
    urban = urban[[c for c in urban.columns if str(c).replace(".0", "").isdigit()]]
    urban.columns = urban.columns.astype(int)
    published = wup["F02"].set_index("country").loc[places["country"]]
    published = published[[c for c in published.columns if str(c).replace(".0", "").isdigit()]]
    published.columns = published.columns.astype(int)
    in_2018 = wup["F01"].set_index("country")
    published[2018] = in_2018["Percentage urban"]
    share = published.reindex(columns=years).interpolate(axis=1)

    table = pd.DataFrame(
        {
            "urban_population": urban.rename_axis(columns="year").stack(),
            "urban_pct": share.rename_axis(columns="year").stack(),
        }
    ).reset_index()
    table["population"] = table["urban_population"] / table["urban_pct"].replace(0, np.nan) * 100
    total = table["country"].map(in_2018["Total"])
    table["population"] = table["population"].mask(table["year"] == 2018, total)
    for column in ("population", "urban_population"):
        table[column] = (table[column] * 1000).round().astype("Int64")
    table["status"] = np.where(table["year"] <= 2018, "estimate", "projection")
    table.loc[~table["year"].isin(published.columns), "status"] = "interpolated"
    table["series"] = "wup2018"
    table["source_id"] = "un_wup_2018"
    table = table.merge(countries, left_on="country", right_on="country_m49")
    columns = ["country_iso3", "year", "series", "population", "urban_population", "urban_pct"]
    columns += ["status", "source_id"]
    return table[columns].sort_values(["country_iso3", "year"], ignore_index=True)


def read_wpp(raw: Path, countries: pd.DataFrame) -> pd.DataFrame:
    """Population and rates per country and year."""
    wpp = pd.read_csv(
        raw / "un_wpp_2024" / "WPP2024_Demographic_Indicators_Medium.csv.gz",
        usecols=["LocID", "Time", "TPopulation1July", "NatChangeRT", "CNMR"],
    )
    wpp = wpp[wpp["Time"] <= 2050].merge(countries, left_on="LocID", right_on="country_m49")
    wpp["population"] = (wpp["TPopulation1July"] * 1000).round().astype("int64")
    wpp = wpp.rename(
        columns={
            "Time": "year",
            "NatChangeRT": "natural_increase_per_1000",
            "CNMR": "net_migration_per_1000",
        }
    )
    columns = ["net_migration_per_1000", "natural_increase_per_1000", "population"]
    return wpp[["country_iso3", "year", *columns]]


def read_stocks(raw: Path, countries: pd.DataFrame) -> pd.DataFrame:
    """Migrant stock, both sexes, per destination and year, linear between reference years."""
    workbook = (
        raw / "un_migrant_stock_2024" / "undesa_pd_2024_ims_stock_by_sex_and_destination.xlsx"
    )
    sheets = pd.read_excel(
        workbook, sheet_name=["Table 1", "Table 3"], header=10, engine="openpyxl"
    )
    stock = sheets["Table 1"].merge(countries, left_on="Location code", right_on="country_m49")
    stock = stock.set_index("country_iso3")
    share = sheets["Table 3"].merge(countries, left_on="Location code", right_on="country_m49")
    share = share.set_index("country_iso3")
    definition = stock["Data type"]
    years = list(range(1990, 2025))
    stock = stock[REFERENCE_YEARS].dropna().astype(float)
    share = share[REFERENCE_YEARS].dropna().astype(float)
    stock = stock.reindex(columns=years).interpolate(axis=1)
    share = share.reindex(columns=years).interpolate(axis=1)
    stocks = pd.DataFrame(
        {
            "migrant_stock": stock.rename_axis(columns="year").stack().round().astype("Int64"),
            "migrant_pct": share.rename_axis(columns="year").stack(),
        }
    ).reset_index()
    reported = stocks["year"].isin(REFERENCE_YEARS)
    stocks["migrant_stock_status"] = np.where(reported, "reported", "interpolated")
    stocks["migrant_stock_definition"] = stocks["country_iso3"].map(definition)
    return stocks


def read_origins(raw: Path, countries: pd.DataFrame) -> pd.DataFrame:
    """Migrants per destination, origin, year and sex."""
    folder = raw / "un_migrant_stock_2024"
    origins = pd.read_excel(
        folder / "undesa_pd_2024_ims_stock_by_sex_destination_and_origin.xlsx",
        sheet_name="Table 1",
        header=10,
        engine="openpyxl",
    )
    iso3 = countries.dropna(subset="country_m49").set_index("country_m49")["country_iso3"]
    origins["destination_iso3"] = origins["Location code of destination"].map(iso3)
    origins["origin_iso3"] = origins["Location code of origin"].map(iso3)
    origins = origins.dropna(subset=["destination_iso3", "origin_iso3"])
    tables = []
    key = ["destination_iso3", "origin_iso3"]
    for sex, suffix in (("both", ""), ("male", ".1"), ("female", ".2")):
        # pandas calls the second and third column of a year 1990.1 and 1990.2
        names = [f"{year}{suffix}" if suffix else year for year in REFERENCE_YEARS]
        table = origins[key + names].set_axis(key + REFERENCE_YEARS, axis="columns")
        table = table.melt(
            id_vars=key, value_vars=REFERENCE_YEARS, var_name="year", value_name="migrants"
        )
        table["sex"] = sex
        tables.append(table)
    table = pd.concat(tables).dropna(subset="migrants")
    table["migrants"] = table["migrants"].astype("int64")
    table["year"] = table["year"].astype(int)
    key += ["year", "sex"]
    return table[[*key, "migrants"]].sort_values(key, ignore_index=True)


def read_displacement(raw: Path) -> pd.DataFrame:
    """Persons of concern per asylum, origin and year."""
    items = []
    for page in sorted((raw / "unhcr_population").glob("population-*.json")):
        items += json.loads(page.read_text(encoding="utf-8"))["items"]
    table = pd.DataFrame(items).rename(columns={"coa_iso": "asylum_iso3", "coo_iso": "origin_iso3"})
    key = ["asylum_iso3", "origin_iso3", "year"]
    counts = ["refugees", "asylum_seekers", "idps", "stateless"]
    table = table[key + counts].replace({"UNK": "XXX", "TIB": "XTB"})
    for column in counts:
        table[column] = pd.to_numeric(table[column])
    return table.sort_values(key, ignore_index=True)


def make_country_migration(
    wpp: pd.DataFrame, stocks: pd.DataFrame, displacement: pd.DataFrame
) -> pd.DataFrame:
    """Everything about a country and year that is not urbanization."""
    counts = ["refugees", "asylum_seekers", "idps", "stateless"]
    asylum = displacement.groupby(["asylum_iso3", "year"])[counts].sum().astype("Int64")
    asylum = asylum.reset_index().rename(columns={"asylum_iso3": "country_iso3"})
    key = ["country_iso3", "year"]
    table = wpp.merge(stocks, on=key, how="outer").merge(asylum, on=key, how="outer")
    idmc = ["conflict_idps_idmc", "disaster_idps_idmc"]
    idmc += ["conflict_displacements_idmc", "disaster_displacements_idmc"]
    for column in idmc:
        table[column] = pd.Series(pd.NA, index=table.index, dtype="Int64")
    table["population"] = table["population"].astype("Int64")
    columns = ["migrant_stock", "migrant_pct", "migrant_stock_status", "migrant_stock_definition"]
    columns += [*counts, *idmc, "net_migration_per_1000", "natural_increase_per_1000", "population"]
    return table[key + columns].sort_values(key, ignore_index=True)


def make_city_indicators(
    cities: pd.DataFrame,
    population: pd.DataFrame,
    countries: pd.DataFrame,
    urbanization: pd.DataFrame,
    migration: pd.DataFrame,
) -> pd.DataFrame:
    """The wide table: a city and year with its country's figures beside it."""
    migration = migration.copy()
    yearly = migration.groupby("country_iso3")["natural_increase_per_1000"]
    # Growth to a year spans the five years up to it, so there is neither before 1955.
    mean = yearly.rolling(5).mean().reset_index(level=0, drop=True)
    migration["country_natural_increase_pct"] = (mean / 10).where(migration["year"] >= 1955)

    table = population.rename(columns={"status": "population_status"})
    table = table.rename(columns={"series": "population_series"}).drop(columns="source_id")
    table = table.merge(cities[["city_id", "name", "country_iso3", "latitude", "longitude"]])
    table = table.rename(columns={"name": "city_name"})
    names = countries[["country_iso3", "name", "region"]]
    table = table.merge(names.rename(columns={"name": "country_name"}), on="country_iso3")
    country = urbanization[["country_iso3", "year", "population", "urban_population", "urban_pct"]]
    country = country.rename(
        columns={
            "population": "country_population",
            "urban_population": "country_urban_population",
            "urban_pct": "country_urban_pct",
        }
    )
    table = table.merge(country, on=["country_iso3", "year"], how="left")
    carried = ["migrant_stock", "migrant_pct", "refugees", "asylum_seekers", "idps"]
    carried += ["net_migration_per_1000"]
    country = migration[["country_iso3", "year", "country_natural_increase_pct", *carried]]
    country = country.rename(columns={column: f"country_{column}" for column in carried})
    table = table.merge(country, on=["country_iso3", "year"], how="left")

    table = table.sort_values(["city_id", "year"], ignore_index=True)
    before = table.groupby("city_id")["population"].shift(5)
    ratio = table["population"].replace(0, np.nan) / before.replace(0, np.nan)
    table["population_growth_pct"] = 20 * np.log(ratio)
    table["implied_net_migration_pct"] = (
        table["population_growth_pct"] - table["country_natural_increase_pct"]
    )
    factor = np.exp(5 * table["country_natural_increase_pct"] / 100)
    persons = (table["population"] - before * factor).where(ratio.notna())
    table["implied_net_migration_persons"] = persons.round().astype("Int64")
    peers = table.groupby(["country_iso3", "year"])["population"]
    table["rank_in_country"] = peers.rank(method="min", ascending=False).astype(int)
    urban = table["country_urban_population"].astype(float).replace(0, np.nan)
    table["urban_population_share_pct"] = table["population"] * 100 / urban
    for column, dtype in (
        ("foreign_born", "Int64"),
        ("foreign_born_pct", "Float64"),
        ("foreign_born_concept", "string"),
        ("foreign_born_source_id", "string"),
        ("foreign_born_geography", "string"),
        ("foreign_born_estimate_pct", "Float64"),
        ("foreign_born_estimate_low_pct", "Float64"),
        ("foreign_born_estimate_high_pct", "Float64"),
        ("foreign_born_estimate_note", "string"),
    ):
        table[column] = pd.Series(pd.NA, index=table.index, dtype=dtype)
    return table


INDICATOR_UNITS = {
    "population": "persons",
    "population_growth_pct": "percent per year",
    "rank_in_country": "rank",
    "urban_population_share_pct": "percent",
    "implied_net_migration_pct": "percent per year",
    "implied_net_migration_persons": "persons in five years",
}


def make_indicator_values(wide: pd.DataFrame) -> pd.DataFrame:
    """The indicators of cities in long form."""
    key = ["city_id", "year"]
    table = wide[[*key, "population_status", *INDICATOR_UNITS]]
    table = table.astype(dict.fromkeys(INDICATOR_UNITS, "Float64"))
    table = table.melt(id_vars=[*key, "population_status"], var_name="indicator_id")
    table = table.dropna(subset="value")
    table["unit"] = table["indicator_id"].map(INDICATOR_UNITS)
    status = table["population_status"].map({"estimate": "estimated", "projection": "projected"})
    modelled = table["indicator_id"].str.startswith("implied_")
    table["status"] = status.mask(modelled, "modelled")
    table["source_id"] = "un_wup_2018"
    table = table.drop(columns="population_status")
    return table.sort_values([*key, "indicator_id"], ignore_index=True)


def make_country_urban_growth(urbanization: pd.DataFrame, migration: pd.DataFrame) -> pd.DataFrame:
    """Urban growth of a country over five years, and what natural increase would give."""
    key = ["country_iso3", "year"]
    natural = migration.dropna(subset="natural_increase_per_1000")
    natural = natural[natural["country_iso3"] != "SRB"].copy()  # with Kosovo in WUP alone
    yearly = natural.groupby("country_iso3")["natural_increase_per_1000"]
    mean = yearly.rolling(5).mean().reset_index(level=0, drop=True)
    natural["natural_increase_pct"] = mean / 10
    table = urbanization[[*key, "series", "urban_population"]]
    earlier = table.rename(columns={"urban_population": "urban_population_before"})
    earlier = earlier.assign(year=earlier["year"] + 5)
    table = table.merge(earlier, on=[*key, "series"])
    now, before = table["urban_population"], table["urban_population_before"]
    ratio = now.astype(float).replace(0, np.nan) / before.astype(float).replace(0, np.nan)
    table["urban_growth_pct"] = 20 * np.log(ratio)
    table = table.merge(natural[[*key, "natural_increase_pct"]], on=key, how="left")
    table["migration_and_reclassification_pct"] = (
        table["urban_growth_pct"] - table["natural_increase_pct"]
    )
    table["urban_increase"] = now - before
    share = np.exp(5 * table["natural_increase_pct"] / 100) - 1
    table["natural_increase"] = (before * share).round().astype("Int64")
    table["migration_and_reclassification"] = table["urban_increase"] - table["natural_increase"]
    return table.sort_values(key, ignore_index=True)


def main(raw: Path, out: Path) -> None:
    """Read everything, make every table, write one Parquet file each."""
    out.mkdir(parents=True, exist_ok=True)
    countries = read_countries(raw)
    wup = read_wup(raw)
    cities = make_cities(wup, countries)
    population = make_city_population(wup, cities)
    urbanization = make_country_urbanization(wup, countries)
    displacement = read_displacement(raw)
    migration = make_country_migration(
        read_wpp(raw, countries), read_stocks(raw, countries), displacement
    )
    indicators = make_city_indicators(cities, population, countries, urbanization, migration)
    tables = {
        "countries": countries,
        "cities": cities,
        "city_population": population,
        "country_urbanization": urbanization,
        "country_migration": migration,
        "migrant_stock_origins": read_origins(raw, countries),
        "displacement_origins": displacement,
        "city_indicators": indicators,
        "indicator_values": make_indicator_values(indicators),
        "country_urban_growth": make_country_urban_growth(urbanization, migration),
    }
    for name, table in tables.items():
        table.to_parquet(out / f"{name}.parquet", index=False, compression="zstd")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
