with
registry as (select * from place_cities),
wup2018 as (select * from un_wup_2018.cities)

select
    registry.city_id,
    registry.name,
    registry.local_name,
    registry.country_iso3,
    wup2018.latitude,
    wup2018.longitude,
    cast(null as boolean) as is_capital,
    registry.kind,
    registry.wup2018_code,
    registry.wup2025_code,
    registry.urban_audit_code,
    registry.geonames_id
from registry
join wup2018 on wup2018.city_code = registry.wup2018_code
