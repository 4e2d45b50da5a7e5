-- Is every recorded request accounted for, and why were some not compared?
--
-- For an accountant: each recorded request of the range is in exactly one line of table exchange. The counts of this list
-- therefore add up to all that was recorded. "unverified" and "filtered" requests were not compared; their money is the
-- answer of not_examined.sql and part of no difference. money_unknown counts requests of which not even production's side
-- could be read.
select
    outcome,
    coalesce(reason, '') as reason,
    coalesce(blame, '') as blame,
    count(*) as exchanges,
    sum(case when money_known then 0 else 1 end) as money_unknown,
    min(exchange_id) as example
from exchange
group by outcome, coalesce(reason, ''), coalesce(blame, '')
order by count(*) desc, outcome, reason;
