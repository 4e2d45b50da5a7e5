-- The run store. One dialect for SQLite and PostgreSQL: text ids, bigint microseconds since 1970 UTC, $1 parameters,
-- `on conflict` and `returning`; no sequences, no now(), no types that only one of the two has. An applied file is never edited.

-- A run: one replay of a time range against one candidate build.
create table run (
    run_id          text   not null,
    service         text   not null,
    candidate_build text   not null,
    candidate_url   text   not null,
    range_from_us   bigint not null,
    range_to_us     bigint not null,
    state           text   not null,
    -- Why the run failed; null in every other state.
    failure         text,
    created_at_us   bigint not null,
    finished_at_us  bigint,
    -- What the plan froze and found: segments with digests, primary build, losses. A JSON document.
    evidence        text   not null,
    constraint run_pk primary key (run_id),
    constraint run_state check (state in ('planned', 'replaying', 'finished', 'failed'))
);

create index run_by_service on run (service, created_at_us);

-- A shard: the unit of a run that is finished exactly once, per journal revision.
create table shard (
    run_id      text   not null,
    revision    bigint not null,
    shard       bigint not null,
    -- The segments that the shard replays: a JSON list of keys.
    segments    text   not null,
    state       text   not null,
    -- Grows with every claim. Only the holder of the current epoch can name the winning files.
    lease_epoch bigint not null,
    -- The winning files with their SHA-256, and what the attempt counted. JSON; null until an attempt has won.
    files       text,
    tally       text,
    constraint shard_pk primary key (run_id, revision, shard),
    constraint shard_of_run foreign key (run_id) references run (run_id),
    constraint shard_state check (state in ('ready', 'leased', 'won', 'finished'))
);

-- A journal revision: the first is the replay's, each further one a comparison of the kept answers under another mapping.
create table revision (
    run_id         text   not null,
    revision       bigint not null,
    created_at_us  bigint not null,
    -- The ledger mapping's SHA-256.
    mapping_sha256 text   not null,
    constraint revision_pk primary key (run_id, revision),
    constraint revision_of_run foreign key (run_id) references run (run_id)
);

-- Every verdict ever given, none replaced.
create table verdict (
    run_id        text   not null,
    sequence      bigint not null,
    revision      bigint not null,
    decided_at_us bigint not null,
    verdict       text   not null,
    policy_sha256 text   not null,
    -- verdict.json, whole.
    document      text   not null,
    constraint verdict_pk primary key (run_id, sequence),
    constraint verdict_of_run foreign key (run_id) references run (run_id),
    constraint verdict_word check (verdict in ('certified', 'refused', 'inconclusive'))
);
