-- Urban populations are published for every year, percentages urban and totals for some: the
-- five-year points and 2018. Between these the percentage is linear, and the total follows from it.
with
totals as (select * from un_wup_2018.totals),
percentages as (select * from un_wup_2018.urban_percentages),
urban as (select * from un_wup_2018.urban_populations),

published as (
    select location_code, year, urban_pct, cast(null as bigint) as population
    from percentages
    where (location_code, year) not in (select (location_code, year) from totals)
    union all
    select location_code, year, urban_pct, population from totals
),

spans as (
    select
        location_code,
        year as from_year,
        urban_pct as from_pct,
        population,
        lead(year) over points as to_year,
        lead(urban_pct) over points as to_pct
    from published
    window points as (partition by location_code order by year)
),

yearly as (
    select
        urban.location_code,
        urban.year,
        urban.urban_population,
        spans.population as published_population,
        urban.year = spans.from_year as is_published,
        case
            when urban.year = spans.from_year then spans.from_pct
            else
                spans.from_pct
                + (spans.to_pct - spans.from_pct)
                * (urban.year - spans.from_year)
                / (spans.to_year - spans.from_year)
        end as urban_pct
    from urban
    join spans
        on spans.location_code = urban.location_code
        and urban.year >= spans.from_year
        and (urban.year < spans.to_year or urban.year = spans.from_year)
)

select
    codes.country_iso3,
    yearly.year,
    'wup2018' as series,
    case
        when is_published and published_population is not null then published_population
        when urban_population > 0 and urban_pct > 0
            then cast(round(urban_population / urban_pct * 100) as bigint)
    end as population,
    yearly.urban_population,
    yearly.urban_pct,
    case
        when not is_published then 'interpolated'
        when yearly.year <= 2018 then 'estimate'
        else 'projection'
    end as status,
    'un_wup_2018' as source_id
from yearly
join country_codes as codes on codes.scheme = 'm49' and codes.code = yearly.location_code
