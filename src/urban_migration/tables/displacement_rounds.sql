-- Empty in releases for the public: the licence forbids redistribution.
with
rounds as (select * from iom_dtm.rounds)

select
    rounds.level,
    rounds.source_code,
    rounds.name,
    countries.country_iso3,
    rounds.operation,
    rounds.round,
    rounds.date,
    rounds.year,
    rounds.persons,
    rounds.males,
    rounds.females
from rounds
join country_codes as countries
    on countries.scheme = 'iso3' and countries.code = rounds.country_code
