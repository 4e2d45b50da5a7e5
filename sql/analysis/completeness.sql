-- Is every recorded request accounted for, and why were some not compared?
--
-- For an accountant: each recorded request of the range is in exactly one line of table exchange. The counts of this list
-- therefore add up to all that was recorded. "unverified" and "filtered" requests were not compared: their money is under
-- not_examined_debit and is part of no difference. money_unknown counts requests of which not even production's side could be read.
select
    e.outcome,
    coalesce(e.reason, '') as reason,
    coalesce(e.blame, '') as blame,
    count(*) as exchanges,
    sum(case when e.money_known then 0 else 1 end) as money_unknown,
    -- Over all currencies, and so only an indication of size.
    sum(coalesce(n.debit, 0)) as not_examined_debit,
    min(e.exchange_id) as example
from exchange e
left join (
    select exchange_id, sum(debit) as debit from entry where kind = 'not_examined' group by exchange_id
) n on n.exchange_id = e.exchange_id
group by e.outcome, coalesce(e.reason, ''), coalesce(e.blame, '')
order by count(*) desc, e.outcome, reason;
