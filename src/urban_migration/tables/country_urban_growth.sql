-- Urban growth of a country over five years: what its natural increase would give, and the rest.
with
borders as (select country_iso3 from indicator_borders),
increase as (
    select
        country_iso3,
        year,
        if(
            count(natural_increase_per_1000) over years = 5,
            avg(natural_increase_per_1000) over years / 10,
            null
        ) as natural_increase_pct
    from country_migration
    where country_iso3 not in (select country_iso3 from borders)
    window years as (partition by country_iso3 order by year range between 4 preceding and current row)
),
growth as (
    select
        now.country_iso3,
        now.year,
        now.series,
        now.urban_population,
        before.urban_population as urban_population_before,
        if(
            now.urban_population > 0 and before.urban_population > 0,
            100 * ln(now.urban_population / before.urban_population) / 5,
            null
        ) as urban_growth_pct
    from country_urbanization as now
    join country_urbanization as before
        on before.country_iso3 = now.country_iso3
        and before.series = now.series
        and before.year = now.year - 5
),
parts as (
    select
        growth.*,
        natural_increase_pct,
        urban_population - urban_population_before as urban_increase,
        cast(
            round(urban_population_before * (exp(5 * natural_increase_pct / 100) - 1)) as bigint
        ) as natural_increase
    from growth
    left join increase using (country_iso3, year)
)

select
    country_iso3,
    year,
    series,
    urban_population,
    urban_population_before,
    urban_growth_pct,
    natural_increase_pct,
    urban_growth_pct - natural_increase_pct as migration_and_reclassification_pct,
    urban_increase,
    natural_increase,
    urban_increase - natural_increase as migration_and_reclassification
from parts
