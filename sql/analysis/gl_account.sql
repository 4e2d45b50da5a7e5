-- Which GL accounts differ, in which line of business, in how many requests, and do the errors cancel each other?
--
-- For an accountant: "net" is the candidate less production, summed over all requests. "gross" sums each request's
-- difference without its sign. Where gross is much larger than net, errors cancel each other in the total: the account balances, and
-- the single bookings are wrong. Only accounts that differ in at least one request are listed.
select
    line_of_business,
    gl_account,
    currency,
    count(*) as exchanges_differing,
    sum(debit_difference) as net_debit,
    sum(credit_difference) as net_credit,
    sum(abs(debit_difference)) as gross_debit,
    sum(abs(credit_difference)) as gross_credit
from (
    -- One line per request: within a request, moving money to and fro is no difference.
    select
        exchange_id,
        line_of_business,
        gl_account,
        currency,
        sum(case when source = 'shadow' then debit else -debit end) as debit_difference,
        sum(case when source = 'shadow' then credit else -credit end) as credit_difference
    from entry
    where source in ('primary', 'shadow') and coalesce(kind, '') <> 'not_examined'
    group by exchange_id, line_of_business, gl_account, currency
) as per_exchange
where debit_difference <> 0 or credit_difference <> 0
group by line_of_business, gl_account, currency
-- Engines disagree on names of sums in an expression here, hence the sums themselves.
order by sum(abs(debit_difference)) + sum(abs(credit_difference)) desc, line_of_business, gl_account, currency;
