-- Which lines of business would have been booked differently, and by how much?
--
-- For an accountant: "primary" is what production booked, "shadow" is what the release candidate would have booked for the
-- same requests. A line that both booked is stored once, with source 'both', and counts on both sides. Only exchanges that
-- were compared are in these sums; production's money that was not compared is in the last column and in no difference.
-- A positive difference: the candidate books more. One run and one revision at a time: name their files, or filter run_id.
select
    line_of_business,
    currency,
    sum(case when source in ('both', 'primary') and coalesce(kind, '') <> 'not_examined' then debit else 0 end) as primary_debit,
    sum(case when source in ('both', 'shadow') then debit else 0 end) as shadow_debit,
    sum(case when source = 'shadow' then debit
             when source = 'primary' and coalesce(kind, '') <> 'not_examined' then -debit
             else 0 end) as debit_difference,
    sum(case when source = 'shadow' then credit
             when source = 'primary' and coalesce(kind, '') <> 'not_examined' then -credit
             else 0 end) as credit_difference,
    sum(case when kind = 'not_examined' then debit else 0 end) as not_examined_debit
from entry
-- What the control booked explains a difference and is part of none.
where source <> 'control'
group by line_of_business, currency
order by line_of_business, currency;
