-- How much of each source of city figures is about known cities: by places, and by the people in
-- the latest count of each place and concept (its population where the source counts no migrants).
with
counted as (
    select source_id, source_code, year, concept, origin, migrants
    from source_migrants
    where migrants is not null
    union all
    select source_id, source_code, year, 'population', 'all', population
    from source_populations
    where population is not null and source_id not in (select source_id from source_migrants)
),

counts as (
    select
        source_id,
        source_code,
        year,
        concept,
        coalesce(sum(migrants) filter (where origin = 'all'), sum(migrants)) as people
    from counted
    group by all
),

latest as (
    select source_id, source_code, concept, arg_max(people, year) as people
    from counts
    group by all
),

people as (
    select source_id, source_code, sum(people) as people
    from latest
    group by all
)

select
    source_id,
    count(*) as places,
    count(city_id) as places_matched,
    cast(coalesce(sum(people), 0) as bigint) as people,
    cast(coalesce(sum(people) filter (where city_id is not null), 0) as bigint) as people_matched
from source_places
join city_crosswalk using (source_id, source_code)
left join people using (source_id, source_code)
group by source_id
