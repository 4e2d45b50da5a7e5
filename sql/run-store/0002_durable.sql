-- Durable runs: what was asked of a run, leases with owner and heartbeat, and runs that were cancelled.
--
-- Neither database can change a check constraint in the words of the other, so the tables are copied: first the new ones, then
-- what they hold, then the old ones go, those that refer to others first.

create table durable_run (
    run_id          text   not null,
    service         text   not null,
    candidate_build text   not null,
    candidate_url   text   not null,
    range_from_us   bigint not null,
    range_to_us     bigint not null,
    state           text   not null,
    -- Why the run failed or was cancelled; null in every other state.
    failure         text,
    created_at_us   bigint not null,
    finished_at_us  bigint,
    -- What the plan froze and found: segments with digests, primary build, losses. A JSON document.
    evidence        text   not null,
    -- What was asked beside range and candidate, for every worker alike. A JSON document.
    settings        text   not null,
    constraint durable_run_pk primary key (run_id),
    constraint durable_run_state check (state in ('planned', 'replaying', 'finished', 'failed', 'cancelled'))
);

create table durable_shard (
    run_id      text   not null,
    revision    bigint not null,
    shard       bigint not null,
    -- The segments that the shard replays: a JSON list of keys.
    segments    text   not null,
    state       text   not null,
    -- Grows with every claim. Only the holder of the current epoch can name the winning files.
    lease_epoch bigint not null,
    -- The claim that holds the lease, unique to it; null while nobody does.
    lease_owner text,
    -- Grows while the holder lives. Whoever sees it stand still for longer than the lease, by its own clock, may take the shard over.
    heartbeat   bigint not null,
    -- The winning files with their SHA-256, and what the attempt counted. JSON; null until an attempt has won.
    files       text,
    tally       text,
    constraint durable_shard_pk primary key (run_id, revision, shard),
    constraint durable_shard_of_run foreign key (run_id) references durable_run (run_id),
    constraint durable_shard_state check (state in ('ready', 'leased', 'won', 'finished'))
);

create table durable_revision (
    run_id         text   not null,
    revision       bigint not null,
    created_at_us  bigint not null,
    -- The ledger mapping's SHA-256.
    mapping_sha256 text   not null,
    constraint durable_revision_pk primary key (run_id, revision),
    constraint durable_revision_of_run foreign key (run_id) references durable_run (run_id)
);

create table durable_verdict (
    run_id        text   not null,
    sequence      bigint not null,
    revision      bigint not null,
    decided_at_us bigint not null,
    verdict       text   not null,
    policy_sha256 text   not null,
    -- verdict.json, whole.
    document      text   not null,
    constraint durable_verdict_pk primary key (run_id, sequence),
    constraint durable_verdict_of_run foreign key (run_id) references durable_run (run_id),
    constraint durable_verdict_word check (verdict in ('certified', 'refused', 'inconclusive'))
);

insert into durable_run (run_id, service, candidate_build, candidate_url, range_from_us, range_to_us, state, failure,
    created_at_us, finished_at_us, evidence, settings)
select run_id, service, candidate_build, candidate_url, range_from_us, range_to_us, state, failure, created_at_us, finished_at_us,
    evidence, '{}'
from run;

insert into durable_shard (run_id, revision, shard, segments, state, lease_epoch, lease_owner, heartbeat, files, tally)
select run_id, revision, shard, segments, state, lease_epoch, null, 0, files, tally from shard;

insert into durable_revision (run_id, revision, created_at_us, mapping_sha256)
select run_id, revision, created_at_us, mapping_sha256 from revision;

insert into durable_verdict (run_id, sequence, revision, decided_at_us, verdict, policy_sha256, document)
select run_id, sequence, revision, decided_at_us, verdict, policy_sha256, document from verdict;

drop table verdict;
drop table revision;
drop table shard;
drop table run;

alter table durable_run rename to run;
alter table durable_shard rename to shard;
alter table durable_revision rename to revision;
alter table durable_verdict rename to verdict;

create index run_by_service on run (service, created_at_us);
