-- The cities that a place may be: every city of the registry whose centre is known today.
with
registry as (select * from place_cities),
corrections as (select * from place_coordinates),
wup2018 as (
    select
        cities.city_code,
        coalesce(cast(corrections.latitude as double), cities.latitude) as latitude,
        coalesce(cast(corrections.longitude as double), cities.longitude) as longitude
    from un_wup_2018.cities
    left join corrections
        on corrections.wup2018_code = cities.city_code
        and cast(corrections.published_latitude as double) = cities.latitude
        and cast(corrections.published_longitude as double) = cities.longitude
),
populations as (
    select city_code, max_by(population, year) as population
    from un_wup_2018.city_populations
    where year <= 2018
    group by city_code
),
wup2025 as (select * from un_wup_2025.cities),
populations_2025 as (
    select city_code, max_by(population, year) as population
    from un_wup_2025.city_populations
    where year <= 2018
    group by city_code
)

select
    registry.city_id,
    registry.name,
    registry.local_name,
    registry.country_iso3,
    coalesce(wup2018.latitude, wup2025.latitude) as latitude,
    coalesce(wup2018.longitude, wup2025.longitude) as longitude,
    coalesce(populations.population, populations_2025.population) as population,
    registry.kind,
    registry.urban_audit_code,
    registry.geonames_id,
    registry.own_code
from registry
left join wup2018 on wup2018.city_code = registry.wup2018_code
left join populations on populations.city_code = registry.wup2018_code
left join wup2025
    on wup2025.city_code = registry.wup2025_code and registry.wup2018_code is null
left join populations_2025 on populations_2025.city_code = wup2025.city_code
where registry.wup2018_code is null or wup2018.city_code is not null
order by registry.city_id
