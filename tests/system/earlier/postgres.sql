SELECT pg_catalog.set_config('search_path', '', false);
CREATE SCHEMA read;
CREATE FUNCTION public.events_are_permanent() RETURNS trigger
    LANGUAGE plpgsql
    AS $$ BEGIN RAISE EXCEPTION 'events are never changed or removed'; END $$;
CREATE TABLE public.events (
    "position" bigint NOT NULL,
    stream text NOT NULL COLLATE pg_catalog."C",
    version bigint NOT NULL,
    type text NOT NULL COLLATE pg_catalog."C",
    data json NOT NULL,
    meta json NOT NULL,
    recorded_at timestamp with time zone NOT NULL
);
CREATE TABLE public.eventstore_version (
    version_num character varying(32) NOT NULL
);
CREATE TABLE public.inbox (
    command_id text NOT NULL COLLATE pg_catalog."C",
    fingerprint text NOT NULL,
    type text NOT NULL,
    stream text NOT NULL,
    status text NOT NULL,
    attempt integer NOT NULL,
    version bigint NOT NULL,
    "position" bigint NOT NULL,
    events json,
    code text,
    details json,
    accepted_at timestamp with time zone NOT NULL,
    decided_at timestamp with time zone NOT NULL
);
CREATE TABLE public.leases (
    room text NOT NULL,
    resource text NOT NULL,
    owner text,
    epoch bigint NOT NULL,
    expires_at timestamp with time zone NOT NULL
)
WITH (fillfactor='50', autovacuum_vacuum_threshold='1000', autovacuum_vacuum_scale_factor='0');
CREATE TABLE public.log_head (
    only_row boolean DEFAULT true NOT NULL,
    "position" bigint NOT NULL,
    recorded_at timestamp with time zone NOT NULL,
    CONSTRAINT log_head_only_row_check CHECK (only_row)
)
WITH (fillfactor='10', autovacuum_vacuum_threshold='1000', autovacuum_vacuum_scale_factor='0');
CREATE TABLE public.members (
    room text NOT NULL,
    member text NOT NULL,
    expires_at timestamp with time zone NOT NULL
)
WITH (fillfactor='50', autovacuum_vacuum_threshold='1000', autovacuum_vacuum_scale_factor='0');
CREATE TABLE public.parked_commands (
    id bigint NOT NULL,
    command_id text NOT NULL,
    fingerprint text NOT NULL,
    envelope json NOT NULL,
    reason text NOT NULL,
    error text NOT NULL,
    parked_at timestamp with time zone NOT NULL
);
ALTER TABLE public.parked_commands ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.parked_commands_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE read.checkpoints (
    view text NOT NULL COLLATE pg_catalog."C",
    generation integer NOT NULL,
    slice integer NOT NULL,
    "position" bigint NOT NULL
)
WITH (fillfactor='50', autovacuum_vacuum_threshold='500', autovacuum_vacuum_scale_factor='0');
CREATE TABLE read.generations (
    view text NOT NULL COLLATE pg_catalog."C",
    generation integer NOT NULL,
    slices integer NOT NULL,
    shape text NOT NULL,
    state text NOT NULL
);
CREATE TABLE read.parked_keys (
    view text NOT NULL COLLATE pg_catalog."C",
    generation integer NOT NULL,
    slice integer NOT NULL,
    key text NOT NULL COLLATE pg_catalog."C",
    "position" bigint NOT NULL,
    error text NOT NULL,
    waiting bigint NOT NULL,
    attempts integer NOT NULL,
    parked_at timestamp with time zone NOT NULL,
    request text
);
CREATE TABLE read.parked_positions (
    view text NOT NULL COLLATE pg_catalog."C",
    generation integer NOT NULL,
    slice integer NOT NULL,
    key text NOT NULL COLLATE pg_catalog."C",
    "position" bigint NOT NULL
);
CREATE TABLE read.strong__g1 (
    tally_id text NOT NULL COLLATE pg_catalog."C",
    count bigint NOT NULL,
    colour text NOT NULL COLLATE pg_catalog."C",
    counted_at timestamp with time zone NOT NULL,
    steps jsonb,
    _position bigint NOT NULL
)
WITH (fillfactor='80');
CREATE TABLE read.tallies__g1 (
    tally_id text NOT NULL COLLATE pg_catalog."C",
    count bigint NOT NULL,
    colour text NOT NULL COLLATE pg_catalog."C",
    counted_at timestamp with time zone NOT NULL,
    steps jsonb,
    _position bigint NOT NULL
)
WITH (fillfactor='80');
INSERT INTO public.events VALUES (1, 'tally-t1', 1, 'Counted', '{"tally_id":"t1","by":1,"colour":"red"}', '{"command_id":"a588b385-0f86-5e1d-a661-345c2bb4c06a","correlation_id":"a588b385-0f86-5e1d-a661-345c2bb4c06a","causation_id":"a588b385-0f86-5e1d-a661-345c2bb4c06a","principal":"anonymous"}', '2026-11-21 18:37:20.306274+00');
INSERT INTO public.events VALUES (2, 'tally-t2', 1, 'Counted', '{"tally_id":"t2","by":2,"colour":"blue"}', '{"command_id":"15d6b1ea-e01d-57cb-88db-2aa9b5c16c88","correlation_id":"15d6b1ea-e01d-57cb-88db-2aa9b5c16c88","causation_id":"15d6b1ea-e01d-57cb-88db-2aa9b5c16c88","principal":"anonymous"}', '2026-11-21 18:37:20.395106+00');
INSERT INTO public.events VALUES (3, 'tally-t3', 1, 'Counted', '{"tally_id":"t3","by":3,"colour":"red"}', '{"command_id":"9447e646-843a-580e-8b25-84942679c6c4","correlation_id":"9447e646-843a-580e-8b25-84942679c6c4","causation_id":"9447e646-843a-580e-8b25-84942679c6c4","principal":"anonymous"}', '2026-11-21 18:37:20.466956+00');
INSERT INTO public.events VALUES (4, 'tally-t4', 1, 'Counted', '{"tally_id":"t4","by":4,"colour":"blue"}', '{"command_id":"8cb7ab60-c1ea-5e47-a373-a3e907eb0665","correlation_id":"8cb7ab60-c1ea-5e47-a373-a3e907eb0665","causation_id":"8cb7ab60-c1ea-5e47-a373-a3e907eb0665","principal":"anonymous"}', '2026-11-21 18:37:20.547233+00');
INSERT INTO public.events VALUES (5, 'tally-t0', 1, 'Counted', '{"tally_id":"t0","by":5,"colour":"red"}', '{"command_id":"6e273eb1-ba67-5a37-ace7-bce0c6bfb1f3","correlation_id":"6e273eb1-ba67-5a37-ace7-bce0c6bfb1f3","causation_id":"6e273eb1-ba67-5a37-ace7-bce0c6bfb1f3","principal":"anonymous"}', '2026-11-21 18:37:20.642529+00');
INSERT INTO public.events VALUES (6, 'tally-t1', 2, 'Counted', '{"tally_id":"t1","by":6,"colour":"blue"}', '{"command_id":"91841b75-3afc-567e-99a2-f195b99fc4da","correlation_id":"91841b75-3afc-567e-99a2-f195b99fc4da","causation_id":"91841b75-3afc-567e-99a2-f195b99fc4da","principal":"anonymous"}', '2026-11-21 18:37:20.718789+00');
INSERT INTO public.events VALUES (7, 'tally-t2', 2, 'Counted', '{"tally_id":"t2","by":7,"colour":"red"}', '{"command_id":"7abbfb3b-9b34-5d80-bc11-ae31a843c22a","correlation_id":"7abbfb3b-9b34-5d80-bc11-ae31a843c22a","causation_id":"7abbfb3b-9b34-5d80-bc11-ae31a843c22a","principal":"anonymous"}', '2026-11-21 18:37:20.736313+00');
INSERT INTO public.events VALUES (8, 'tally-t3', 2, 'Counted', '{"tally_id":"t3","by":8,"colour":"blue"}', '{"command_id":"7b4cce3c-342b-5f06-88cd-e26a77efaa0d","correlation_id":"7b4cce3c-342b-5f06-88cd-e26a77efaa0d","causation_id":"7b4cce3c-342b-5f06-88cd-e26a77efaa0d","principal":"anonymous"}', '2026-11-21 18:37:20.766935+00');
INSERT INTO public.events VALUES (9, 'tally-t4', 2, 'Counted', '{"tally_id":"t4","by":9,"colour":"red"}', '{"command_id":"1002a786-78d3-59af-8c14-8ad9e124c3c8","correlation_id":"1002a786-78d3-59af-8c14-8ad9e124c3c8","causation_id":"1002a786-78d3-59af-8c14-8ad9e124c3c8","principal":"anonymous"}', '2026-11-21 18:37:20.780721+00');
INSERT INTO public.events VALUES (10, 'tally-t0', 2, 'Counted', '{"tally_id":"t0","by":10,"colour":"blue"}', '{"command_id":"41525068-167c-54cb-b13e-d373bc92fe98","correlation_id":"41525068-167c-54cb-b13e-d373bc92fe98","causation_id":"41525068-167c-54cb-b13e-d373bc92fe98","principal":"anonymous"}', '2026-11-21 18:37:20.821469+00');
INSERT INTO public.events VALUES (11, 'tally-t1', 3, 'Counted', '{"tally_id":"t1","by":11,"colour":"red"}', '{"command_id":"459d378d-7893-5034-b955-bed38a8cb916","correlation_id":"459d378d-7893-5034-b955-bed38a8cb916","causation_id":"459d378d-7893-5034-b955-bed38a8cb916","principal":"anonymous"}', '2026-11-21 18:37:20.839091+00');
INSERT INTO public.events VALUES (12, 'tally-t2', 3, 'Counted', '{"tally_id":"t2","by":12,"colour":"blue"}', '{"command_id":"33087a3f-c3dd-5ccb-bea0-71b67cc42c7f","correlation_id":"33087a3f-c3dd-5ccb-bea0-71b67cc42c7f","causation_id":"33087a3f-c3dd-5ccb-bea0-71b67cc42c7f","principal":"anonymous"}', '2026-11-21 18:37:20.855201+00');
INSERT INTO public.events VALUES (13, 'tally-t3', 3, 'Counted', '{"tally_id":"t3","by":14,"colour":"blue"}', '{"command_id":"c25e8901-5798-5b0a-8b80-235b4aba2200","correlation_id":"c25e8901-5798-5b0a-8b80-235b4aba2200","causation_id":"c25e8901-5798-5b0a-8b80-235b4aba2200","principal":"anonymous"}', '2026-11-21 18:37:20.87991+00');
INSERT INTO public.events VALUES (14, 'tally-t4', 3, 'Counted', '{"tally_id":"t4","by":14,"colour":"blue"}', '{"command_id":"0bbc552b-68b2-5df5-bda3-ce09d936b58a","correlation_id":"0bbc552b-68b2-5df5-bda3-ce09d936b58a","causation_id":"0bbc552b-68b2-5df5-bda3-ce09d936b58a","principal":"anonymous"}', '2026-11-21 18:37:20.910236+00');
INSERT INTO public.events VALUES (15, 'tally-t0', 3, 'Counted', '{"tally_id":"t0","by":15,"colour":"red"}', '{"command_id":"a320f025-6a0f-589c-8e56-acc8faf9cd8b","correlation_id":"a320f025-6a0f-589c-8e56-acc8faf9cd8b","causation_id":"a320f025-6a0f-589c-8e56-acc8faf9cd8b","principal":"anonymous"}', '2026-11-21 18:37:20.922744+00');
INSERT INTO public.events VALUES (16, 'tally-t1', 4, 'Counted', '{"tally_id":"t1","by":16,"colour":"blue"}', '{"command_id":"6a940719-8b22-5d47-8ca0-b3d96f23042c","correlation_id":"6a940719-8b22-5d47-8ca0-b3d96f23042c","causation_id":"6a940719-8b22-5d47-8ca0-b3d96f23042c","principal":"anonymous"}', '2026-11-21 18:37:20.953369+00');
INSERT INTO public.events VALUES (17, 'tally-t2', 4, 'Counted', '{"tally_id":"t2","by":17,"colour":"red"}', '{"command_id":"c5de86ac-c480-56e4-85b2-283382c05f6e","correlation_id":"c5de86ac-c480-56e4-85b2-283382c05f6e","causation_id":"c5de86ac-c480-56e4-85b2-283382c05f6e","principal":"anonymous"}', '2026-11-21 18:37:20.973996+00');
INSERT INTO public.events VALUES (18, 'tally-t3', 4, 'Counted', '{"tally_id":"t3","by":18,"colour":"blue"}', '{"command_id":"5af0f1d0-d130-5653-9b52-63a1bca0c2b5","correlation_id":"5af0f1d0-d130-5653-9b52-63a1bca0c2b5","causation_id":"5af0f1d0-d130-5653-9b52-63a1bca0c2b5","principal":"anonymous"}', '2026-11-21 18:37:21.009506+00');
INSERT INTO public.events VALUES (19, 'tally-t4', 4, 'Counted', '{"tally_id":"t4","by":19,"colour":"red"}', '{"command_id":"986c14a0-5408-53ee-9be2-2bdaec8b0339","correlation_id":"986c14a0-5408-53ee-9be2-2bdaec8b0339","causation_id":"986c14a0-5408-53ee-9be2-2bdaec8b0339","principal":"anonymous"}', '2026-11-21 18:37:21.02203+00');
INSERT INTO public.events VALUES (20, 'tally-t0', 4, 'Counted', '{"tally_id":"t0","by":20,"colour":"blue"}', '{"command_id":"989322e1-8788-51f7-9a73-40a6aab21744","correlation_id":"989322e1-8788-51f7-9a73-40a6aab21744","causation_id":"989322e1-8788-51f7-9a73-40a6aab21744","principal":"anonymous"}', '2026-11-21 18:37:21.041672+00');
INSERT INTO public.events VALUES (21, 'tally-t1', 5, 'Counted', '{"tally_id":"t1","by":21,"colour":"red"}', '{"command_id":"8afce6c8-609a-5bf4-a52e-1facb02be643","correlation_id":"8afce6c8-609a-5bf4-a52e-1facb02be643","causation_id":"8afce6c8-609a-5bf4-a52e-1facb02be643","principal":"anonymous"}', '2026-11-21 18:37:21.064207+00');
INSERT INTO public.events VALUES (22, 'tally-t2', 5, 'Counted', '{"tally_id":"t2","by":22,"colour":"blue"}', '{"command_id":"2435803f-6ba3-5521-8386-ba43dc42a959","correlation_id":"2435803f-6ba3-5521-8386-ba43dc42a959","causation_id":"2435803f-6ba3-5521-8386-ba43dc42a959","principal":"anonymous"}', '2026-11-21 18:37:21.102844+00');
INSERT INTO public.events VALUES (23, 'tally-t3', 5, 'Counted', '{"tally_id":"t3","by":23,"colour":"red"}', '{"command_id":"8f6b36f7-9cd1-5e76-a946-1d767c9e7b9e","correlation_id":"8f6b36f7-9cd1-5e76-a946-1d767c9e7b9e","causation_id":"8f6b36f7-9cd1-5e76-a946-1d767c9e7b9e","principal":"anonymous"}', '2026-11-21 18:37:21.113527+00');
INSERT INTO public.eventstore_version VALUES ('0001');
INSERT INTO public.inbox VALUES ('c681f6e3-0cd1-59e5-818b-70640f80a052', '5c0cca9253cdd1899d86001a3d9f7eef', 'Count', 'tally-t0', 'ignored', 1, 0, 0, NULL, NULL, NULL, '2026-11-21 18:37:20.190199+00', '2026-11-21 18:37:20.203292+00');
INSERT INTO public.inbox VALUES ('a588b385-0f86-5e1d-a661-345c2bb4c06a', '4e7647e7decfe6bbf97f4de5d3ff6db4', 'Count', 'tally-t1', 'succeeded', 1, 1, 1, '["Counted"]', NULL, NULL, '2026-11-21 18:37:20.247148+00', '2026-11-21 18:37:20.306274+00');
INSERT INTO public.inbox VALUES ('15d6b1ea-e01d-57cb-88db-2aa9b5c16c88', 'e0690834db055312ba264f7b3da6c74a', 'Count', 'tally-t2', 'succeeded', 1, 1, 2, '["Counted"]', NULL, NULL, '2026-11-21 18:37:20.342835+00', '2026-11-21 18:37:20.395106+00');
INSERT INTO public.inbox VALUES ('9447e646-843a-580e-8b25-84942679c6c4', 'a77abd101c4f93fc6298473ba9df64ea', 'Count', 'tally-t3', 'succeeded', 1, 1, 3, '["Counted"]', NULL, NULL, '2026-11-21 18:37:20.416205+00', '2026-11-21 18:37:20.466956+00');
INSERT INTO public.inbox VALUES ('8cb7ab60-c1ea-5e47-a373-a3e907eb0665', '1ca680f3b9bdc0c1c3e78e981069a8fd', 'Count', 'tally-t4', 'succeeded', 1, 1, 4, '["Counted"]', NULL, NULL, '2026-11-21 18:37:20.495895+00', '2026-11-21 18:37:20.547233+00');
INSERT INTO public.inbox VALUES ('6e273eb1-ba67-5a37-ace7-bce0c6bfb1f3', '90e77514c04915ff4727b0e908d85c0f', 'Count', 'tally-t0', 'succeeded', 1, 1, 5, '["Counted"]', NULL, NULL, '2026-11-21 18:37:20.580545+00', '2026-11-21 18:37:20.642529+00');
INSERT INTO public.inbox VALUES ('91841b75-3afc-567e-99a2-f195b99fc4da', '7ab3340a68437f27a374065eb5f126b6', 'Count', 'tally-t1', 'succeeded', 1, 2, 6, '["Counted"]', NULL, NULL, '2026-11-21 18:37:20.66835+00', '2026-11-21 18:37:20.718789+00');
INSERT INTO public.inbox VALUES ('7abbfb3b-9b34-5d80-bc11-ae31a843c22a', '142f99dfba3de6f2e3b81b428b6e4f71', 'Count', 'tally-t2', 'succeeded', 1, 2, 7, '["Counted"]', NULL, NULL, '2026-11-21 18:37:20.727467+00', '2026-11-21 18:37:20.736313+00');
INSERT INTO public.inbox VALUES ('7b4cce3c-342b-5f06-88cd-e26a77efaa0d', 'c31f31aac30968a102958de3dbc529d9', 'Count', 'tally-t3', 'succeeded', 1, 2, 8, '["Counted"]', NULL, NULL, '2026-11-21 18:37:20.742917+00', '2026-11-21 18:37:20.766935+00');
INSERT INTO public.inbox VALUES ('1002a786-78d3-59af-8c14-8ad9e124c3c8', '92f4025a9c0116db495c611242e77e1b', 'Count', 'tally-t4', 'succeeded', 1, 2, 9, '["Counted"]', NULL, NULL, '2026-11-21 18:37:20.771148+00', '2026-11-21 18:37:20.780721+00');
INSERT INTO public.inbox VALUES ('41525068-167c-54cb-b13e-d373bc92fe98', '33d5c035ffb05c3658eeb31c44ebde88', 'Count', 'tally-t0', 'succeeded', 1, 2, 10, '["Counted"]', NULL, NULL, '2026-11-21 18:37:20.792141+00', '2026-11-21 18:37:20.821469+00');
INSERT INTO public.inbox VALUES ('459d378d-7893-5034-b955-bed38a8cb916', '09ac7a0a552809f0b457e93b4331fd30', 'Count', 'tally-t1', 'succeeded', 1, 3, 11, '["Counted"]', NULL, NULL, '2026-11-21 18:37:20.830744+00', '2026-11-21 18:37:20.839091+00');
INSERT INTO public.inbox VALUES ('33087a3f-c3dd-5ccb-bea0-71b67cc42c7f', 'c2e50bb51d99c0b83353aed29666532b', 'Count', 'tally-t2', 'succeeded', 1, 3, 12, '["Counted"]', NULL, NULL, '2026-11-21 18:37:20.843662+00', '2026-11-21 18:37:20.855201+00');
INSERT INTO public.inbox VALUES ('c25e8901-5798-5b0a-8b80-235b4aba2200', '1a6a66ff99aadc3f2aed078a577122ea', 'Count', 'tally-t3', 'succeeded', 1, 3, 13, '["Counted"]', NULL, NULL, '2026-11-21 18:37:20.858559+00', '2026-11-21 18:37:20.87991+00');
INSERT INTO public.inbox VALUES ('0bbc552b-68b2-5df5-bda3-ce09d936b58a', '32247517bccd7dac22c0b870987f43df', 'Count', 'tally-t4', 'succeeded', 1, 3, 14, '["Counted"]', NULL, NULL, '2026-11-21 18:37:20.891545+00', '2026-11-21 18:37:20.910236+00');
INSERT INTO public.inbox VALUES ('a320f025-6a0f-589c-8e56-acc8faf9cd8b', '18111d8ca657c8caccd0627e7f834b7a', 'Count', 'tally-t0', 'succeeded', 1, 3, 15, '["Counted"]', NULL, NULL, '2026-11-21 18:37:20.914684+00', '2026-11-21 18:37:20.922744+00');
INSERT INTO public.inbox VALUES ('6a940719-8b22-5d47-8ca0-b3d96f23042c', 'c97e9e3130dc3fe7aa85db5c9ce2eb18', 'Count', 'tally-t1', 'succeeded', 1, 4, 16, '["Counted"]', NULL, NULL, '2026-11-21 18:37:20.926031+00', '2026-11-21 18:37:20.953369+00');
INSERT INTO public.inbox VALUES ('c5de86ac-c480-56e4-85b2-283382c05f6e', 'f68965c707ad28258ea467aebd147381', 'Count', 'tally-t2', 'succeeded', 1, 4, 17, '["Counted"]', NULL, NULL, '2026-11-21 18:37:20.95863+00', '2026-11-21 18:37:20.973996+00');
INSERT INTO public.inbox VALUES ('5af0f1d0-d130-5653-9b52-63a1bca0c2b5', 'aa0002f5d2a1fe1b6ce8c1387a31ea84', 'Count', 'tally-t3', 'succeeded', 1, 4, 18, '["Counted"]', NULL, NULL, '2026-11-21 18:37:20.982219+00', '2026-11-21 18:37:21.009506+00');
INSERT INTO public.inbox VALUES ('986c14a0-5408-53ee-9be2-2bdaec8b0339', '337e802fb5cc3bcdc44c63b94b807796', 'Count', 'tally-t4', 'succeeded', 1, 4, 19, '["Counted"]', NULL, NULL, '2026-11-21 18:37:21.015115+00', '2026-11-21 18:37:21.02203+00');
INSERT INTO public.inbox VALUES ('989322e1-8788-51f7-9a73-40a6aab21744', '6c8a5fee775b8dae2d62bdbf221bc81d', 'Count', 'tally-t0', 'succeeded', 1, 4, 20, '["Counted"]', NULL, NULL, '2026-11-21 18:37:21.036448+00', '2026-11-21 18:37:21.041672+00');
INSERT INTO public.inbox VALUES ('8afce6c8-609a-5bf4-a52e-1facb02be643', '6ce4354e25d9fac62541800ba65e4433', 'Count', 'tally-t1', 'succeeded', 1, 5, 21, '["Counted"]', NULL, NULL, '2026-11-21 18:37:21.054965+00', '2026-11-21 18:37:21.064207+00');
INSERT INTO public.inbox VALUES ('2435803f-6ba3-5521-8386-ba43dc42a959', 'd643d0b02257d7b64f86ef6769ac103d', 'Count', 'tally-t2', 'succeeded', 1, 5, 22, '["Counted"]', NULL, NULL, '2026-11-21 18:37:21.077401+00', '2026-11-21 18:37:21.102844+00');
INSERT INTO public.inbox VALUES ('8f6b36f7-9cd1-5e76-a946-1d767c9e7b9e', '3a4683575d7bd221912ee32457bdb0d6', 'Count', 'tally-t3', 'succeeded', 1, 5, 23, '["Counted"]', NULL, NULL, '2026-11-21 18:37:21.106812+00', '2026-11-21 18:37:21.113527+00');
INSERT INTO public.inbox VALUES ('01a1ff66-0f62-7ed5-adc8-95239e971fd2', 'c679c8de4740a9741ab4eb823c458026', 'Count', 'tally-bug', 'parked', 1, 0, 23, NULL, 'bug', NULL, '2026-11-21 18:37:21.122997+00', '2026-11-21 18:37:21.133346+00');
INSERT INTO public.inbox VALUES ('3b54525d-9b82-5f6b-b9ee-526c4300e1f1', '2d51609ea97bf39e10f397824f8ad35d', 'Count', 'tally-t0', 'rejected', 1, 4, 23, NULL, 'too-many', '{"count":50,"limit":1000}', '2026-11-21 18:37:21.1467+00', '2026-11-21 18:37:21.159628+00');
INSERT INTO public.leases VALUES ('workers', '0', NULL, 1, '2026-11-21 18:37:22.375143+00');
INSERT INTO public.leases VALUES ('workers', '1', NULL, 1, '2026-11-21 18:37:22.375161+00');
INSERT INTO public.leases VALUES ('readmodels', 'fast/1/0', NULL, 1, '2026-11-21 18:37:22.134959+00');
INSERT INTO public.leases VALUES ('readmodels', 'fast/1/1', NULL, 1, '2026-11-21 18:37:22.134987+00');
INSERT INTO public.leases VALUES ('readmodels', 'fast/1/2', NULL, 1, '2026-11-21 18:37:22.134991+00');
INSERT INTO public.leases VALUES ('readmodels', 'fast/1/3', NULL, 1, '2026-11-21 18:37:22.134994+00');
INSERT INTO public.leases VALUES ('readmodels', 'tallies/1/0', NULL, 1, '2026-11-21 18:37:22.134997+00');
INSERT INTO public.leases VALUES ('readmodels', 'tallies/1/1', NULL, 1, '2026-11-21 18:37:22.134999+00');
INSERT INTO public.leases VALUES ('readmodels', 'tallies/1/2', NULL, 1, '2026-11-21 18:37:22.135001+00');
INSERT INTO public.leases VALUES ('readmodels', 'tallies/1/3', NULL, 1, '2026-11-21 18:37:22.135004+00');
INSERT INTO public.log_head VALUES (true, 23, '2026-11-21 18:37:21.113527+00');
INSERT INTO public.parked_commands OVERRIDING SYSTEM VALUE VALUES (1, '01a1ff66-0f62-7ed5-adc8-95239e971fd2', 'c679c8de4740a9741ab4eb823c458026', '{"command_id":"01a1ff66-0f62-7ed5-adc8-95239e971fd2","type":"Count","stream":"tally-bug","data":{"tally_id":"bug","by":13,"colour":"blue"},"fingerprint":"c679c8de4740a9741ab4eb823c458026","accepted_at":"2026-11-21T18:37:21.122997Z"}', 'bug', 'Traceback (most recent call last):
  File "workers/deciding.py", line 44, in decide
    events = decider.decide(before.state, command)
             ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  File "earlier.py", line 30, in decide
    raise RuntimeError("a decider with a bug")
RuntimeError: a decider with a bug
', '2026-11-21 18:37:21.133346+00');
INSERT INTO read.checkpoints VALUES ('strong', 1, 0, 0);
INSERT INTO read.checkpoints VALUES ('tallies', 1, 0, 23);
INSERT INTO read.checkpoints VALUES ('tallies', 1, 1, 23);
INSERT INTO read.checkpoints VALUES ('tallies', 1, 2, 23);
INSERT INTO read.checkpoints VALUES ('tallies', 1, 3, 23);
INSERT INTO read.generations VALUES ('strong', 1, 1, 'tally_id|tally_id:text,count:integer,colour:text,counted_at:time,steps:json|colour|count|Counted', 'live');
INSERT INTO read.generations VALUES ('tallies', 1, 4, 'tally_id|tally_id:text,count:integer,colour:text,counted_at:time,steps:json|colour|count|Counted', 'live');
INSERT INTO read.strong__g1 VALUES ('t4', 46, 'red', '2026-11-21 18:37:21.02203+00', '[4, 9, 14, 19]', 19);
INSERT INTO read.strong__g1 VALUES ('t0', 50, 'blue', '2026-11-21 18:37:21.041672+00', '[5, 10, 15, 20]', 20);
INSERT INTO read.strong__g1 VALUES ('t1', 55, 'red', '2026-11-21 18:37:21.064207+00', '[1, 6, 11, 16, 21]', 21);
INSERT INTO read.strong__g1 VALUES ('t2', 60, 'blue', '2026-11-21 18:37:21.102844+00', '[2, 7, 12, 17, 22]', 22);
INSERT INTO read.strong__g1 VALUES ('t3', 66, 'red', '2026-11-21 18:37:21.113527+00', '[3, 8, 14, 18, 23]', 23);
INSERT INTO read.tallies__g1 VALUES ('t4', 46, 'red', '2026-11-21 18:37:21.02203+00', '[4, 9, 14, 19]', 19);
INSERT INTO read.tallies__g1 VALUES ('t0', 50, 'blue', '2026-11-21 18:37:21.041672+00', '[5, 10, 15, 20]', 20);
INSERT INTO read.tallies__g1 VALUES ('t1', 55, 'red', '2026-11-21 18:37:21.064207+00', '[1, 6, 11, 16, 21]', 21);
INSERT INTO read.tallies__g1 VALUES ('t2', 60, 'blue', '2026-11-21 18:37:21.102844+00', '[2, 7, 12, 17, 22]', 22);
INSERT INTO read.tallies__g1 VALUES ('t3', 66, 'red', '2026-11-21 18:37:21.113527+00', '[3, 8, 14, 18, 23]', 23);
SELECT pg_catalog.setval('public.parked_commands_id_seq', 1, true);
ALTER TABLE ONLY public.events
    ADD CONSTRAINT events_pkey PRIMARY KEY ("position");
ALTER TABLE ONLY public.events
    ADD CONSTRAINT events_stream_version UNIQUE (stream, version);
ALTER TABLE ONLY public.eventstore_version
    ADD CONSTRAINT eventstore_version_pkc PRIMARY KEY (version_num);
ALTER TABLE ONLY public.inbox
    ADD CONSTRAINT inbox_pkey PRIMARY KEY (command_id);
ALTER TABLE ONLY public.leases
    ADD CONSTRAINT leases_pkey PRIMARY KEY (room, resource);
ALTER TABLE ONLY public.log_head
    ADD CONSTRAINT log_head_pkey PRIMARY KEY (only_row);
ALTER TABLE ONLY public.members
    ADD CONSTRAINT members_pkey PRIMARY KEY (room, member);
ALTER TABLE ONLY public.parked_commands
    ADD CONSTRAINT parked_commands_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.parked_commands
    ADD CONSTRAINT parked_commands_wish UNIQUE (command_id, fingerprint);
ALTER TABLE ONLY read.checkpoints
    ADD CONSTRAINT checkpoints_pkey PRIMARY KEY (view, generation, slice);
ALTER TABLE ONLY read.generations
    ADD CONSTRAINT generations_pkey PRIMARY KEY (view, generation);
ALTER TABLE ONLY read.parked_keys
    ADD CONSTRAINT parked_keys_pkey PRIMARY KEY (view, generation, slice, key);
ALTER TABLE ONLY read.parked_positions
    ADD CONSTRAINT parked_positions_pkey PRIMARY KEY (view, generation, slice, key, "position");
ALTER TABLE ONLY read.strong__g1
    ADD CONSTRAINT strong__g1_pkey PRIMARY KEY (tally_id);
ALTER TABLE ONLY read.tallies__g1
    ADD CONSTRAINT tallies__g1_pkey PRIMARY KEY (tally_id);
CREATE INDEX strong__g1__colour ON read.strong__g1 USING btree (colour NULLS FIRST, tally_id);
CREATE INDEX strong__g1__count ON read.strong__g1 USING btree (count NULLS FIRST, tally_id);
CREATE INDEX tallies__g1__colour ON read.tallies__g1 USING btree (colour NULLS FIRST, tally_id);
CREATE INDEX tallies__g1__count ON read.tallies__g1 USING btree (count NULLS FIRST, tally_id);
CREATE TRIGGER events_are_permanent BEFORE DELETE OR UPDATE OR TRUNCATE ON public.events FOR EACH STATEMENT EXECUTE FUNCTION public.events_are_permanent();
