"""The reviewed groups of cities: ids of the registry, each with the document that names it."""

from __future__ import annotations

import csv

from urban_migration.places.registry import BUNDLED, read_registry


def test_groups_that_documents_name_have_registered_cities_and_a_document() -> None:
    with (BUNDLED.parent / "city_groups.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    known = {city.city_id for city in read_registry()}
    assert {row["city_id"] for row in rows} <= known
    assert all(row["group_name"] and row["document"] for row in rows)
    keys = [(row["group_id"], row["city_id"]) for row in rows]
    assert keys == sorted(set(keys))
    assert [group for group, _ in keys].count("mc2cm") == 10
    assert [group for group, _ in keys].count("iom_wmr_2015") == 14
