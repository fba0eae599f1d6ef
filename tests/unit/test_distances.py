"""Distances between points on the sphere, and which city is nearest."""

from __future__ import annotations

import duckdb
import numpy as np
import pytest

from urban_migration.places import distances
from urban_migration.places.distances import EARTH_KM, neighbours

LISBON, PORTO, MADRID = (38.71686, -9.139867), (41.14961, -8.61099), (40.4165, -3.70256)


def pairs(points: list[tuple[float, float]], others: list[tuple[float, float]], km: float) -> list:
    found = neighbours(np.array(points), np.array(others), km)
    return [tuple(column[row].item() for column in found) for row in range(len(found[0]))]


def test_lisbon_and_porto_are_274_km_apart() -> None:
    ((_, _, km, nearest),) = pairs([LISBON], [PORTO], 100)
    assert nearest and km == pytest.approx(274.2, abs=0.5)


def test_the_nearest_city_stands_there_however_far_and_others_only_if_near() -> None:
    found = pairs([LISBON], [MADRID, PORTO, (38.8, -9.2)], 300)
    assert [(other, near) for _, other, _, near in found] == [(1, False), (2, True)]
    assert [(o, near) for _, o, _, near in pairs([LISBON], [MADRID, PORTO], 10)] == [(1, True)]


def test_the_date_line_and_the_poles_are_no_borders() -> None:
    ((_, _, km, _),) = pairs([(0.0, 179.9)], [(0.0, -179.9)], 100)
    assert km == pytest.approx(2 * np.pi * EARTH_KM / 360 * 0.2, abs=0.001)
    ((_, _, km, _),) = pairs([(89.9, 0.0)], [(89.9, 180.0)], 100)
    assert km == pytest.approx(22.24, abs=0.01)
    ((_, _, km, _),) = pairs([(0.0, 0.0)], [(0.0, 180.0)], 100)
    assert km == pytest.approx(np.pi * EARTH_KM, abs=0.001)


def test_it_agrees_with_a_comparison_of_all_pairs() -> None:
    some = np.random.default_rng(4)
    points, others = (
        np.column_stack([some.uniform(-60, 75, n), some.uniform(-180, 180, n)]) for n in (300, 200)
    )
    rows, columns, km, nearest = neighbours(points, others, 1_000)
    a, b = np.radians(points)[:, None], np.radians(others)[None]
    half = np.sin((a - b) / 2) ** 2
    h = half[..., 0] + np.cos(a[..., 0]) * np.cos(b[..., 0]) * half[..., 1]
    every = 2 * EARTH_KM * np.arcsin(np.sqrt(h))
    wanted = every <= 1_000
    wanted[np.arange(300), every.argmin(axis=1)] = True
    assert np.array_equal(np.argwhere(wanted), np.column_stack([rows, columns]))
    assert np.allclose(km, every[rows, columns], atol=0.001)
    assert np.array_equal(columns[nearest], every.argmin(axis=1))


def test_incidents_and_cities_without_a_place_have_no_distance() -> None:
    con = duckdb.connect()
    con.execute("create schema iom_missing_migrants")
    place = "(id varchar, latitude double, longitude double)"
    for name, key in (("iom_missing_migrants.incidents", "incident_id"), ("cities", "city_id")):
        con.execute(f"create table {name} {place.replace('id', key, 1)}")
    con.execute(
        "insert into iom_missing_migrants.incidents values ('a', 38.7, -9.1), ('b', null, 1)"
    )
    for city_id, place in (("prt-lisbon", LISBON), ("prt-porto", PORTO), ("xxx", (None, None))):
        con.execute("insert into cities values (?, ?, ?)", [city_id, *place])
    (row,) = distances.make(con).to_pylist()
    assert (row["incident_id"], row["city_id"], row["is_nearest"]) == ("a", "prt-lisbon", True)
    con.execute("delete from cities")
    assert distances.make(con).num_rows == 0
