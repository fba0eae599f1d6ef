-- Counts as the office publishes them.  Where an office gives origins only, `all` is their sum.
-- A share is taken of the population of the same place, source and year, or of the persons that
-- the office itself counts as its base; never of the UN's agglomeration.
with
places as (select * from source_places),
counted as (select * from source_migrants),
populations as (select * from source_populations),
matches as (select * from city_crosswalk where city_id is not null),

without_total as (
    select source_id, source_code, year, concept
    from counted
    group by all
    having not bool_or(origin = 'all')
),

totals as (
    select
        source_id,
        source_code,
        year,
        concept,
        'all' as origin,
        cast(sum(migrants) as bigint) as migrants,
        cast(null as bigint) as population,
        cast(null as bigint) as base,
        cast(null as varchar) as flag
    from counted
    semi join without_total using (source_id, source_code, year, concept)
    group by source_id, source_code, year, concept
),

every_count as (
    select source_id, source_code, year, concept, origin, migrants, population, base, flag
    from counted
    union all
    select * from totals
),

with_population as (
    select
        every_count.*,
        coalesce(every_count.population, populations.population) as people,
        coalesce(every_count.base, every_count.population, populations.population) as share_base
    from every_count
    left join populations using (source_id, source_code, year)
)

select
    matches.city_id,
    with_population.year,
    with_population.concept,
    with_population.origin,
    with_population.source_id,
    with_population.source_code,
    with_population.migrants,
    with_population.people as population,
    if(
        with_population.concept in ('foreign_born', 'foreign_citizen', 'immigrant')
        and share_base > 0,
        100 * with_population.migrants / share_base,
        null
    ) as migrants_pct,
    places.geography,
    with_population.flag
from with_population
join matches using (source_id, source_code)
join places using (source_id, source_code)
