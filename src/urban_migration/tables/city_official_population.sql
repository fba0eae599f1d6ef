-- What statistical offices count as the population of their own areas, beside the UN's series.
with
places as (select * from source_places),
counted as (
    select source_id, source_code, year, population, flag from source_populations
    union
    select source_id, source_code, year, population, null from source_migrants
    where population is not null
),
matches as (select * from city_crosswalk where city_id is not null)

select
    matches.city_id,
    counted.year,
    counted.source_id,
    counted.source_code,
    counted.population,
    places.geography,
    any_value(counted.flag) as flag
from counted
join matches using (source_id, source_code)
join places using (source_id, source_code)
group by all
