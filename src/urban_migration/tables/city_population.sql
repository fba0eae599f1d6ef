with
wup2018 as (select * from un_wup_2018.city_populations)

select
    cities.city_id,
    wup2018.year,
    'wup2018' as series,
    wup2018.population,
    case when wup2018.year <= 2018 then 'estimate' else 'projection' end as status,
    'un_wup_2018' as source_id
from wup2018
join cities on cities.wup2018_code = wup2018.city_code
