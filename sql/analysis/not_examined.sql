-- How much of production's money was not compared?
--
-- For an accountant: requests that could not be compared, or that a filter left out, still booked money in production. This is
-- that money, per line of business and currency. Nothing is known of what the candidate would have booked for it.
select
    line_of_business,
    currency,
    count(distinct exchange_id) as exchanges,
    sum(debit) as debit,
    sum(credit) as credit
from entry
where kind = 'not_examined'
group by line_of_business, currency
order by line_of_business, currency;
