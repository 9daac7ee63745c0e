BEGIN TRANSACTION;
CREATE TABLE checkpoints (
	"view" TEXT NOT NULL, 
	generation INTEGER NOT NULL, 
	slice INTEGER NOT NULL, 
	position BIGINT NOT NULL, 
	PRIMARY KEY ("view", generation, slice)
);
INSERT INTO "checkpoints" VALUES('strong',1,0,0);
CREATE TABLE dead_letters (
        id        INTEGER PRIMARY KEY,
        lane      INTEGER NOT NULL,
        body      BLOB    NOT NULL,
        reason    TEXT    NOT NULL,
        buried_at INTEGER NOT NULL
    );
CREATE TABLE events (
        position    INTEGER PRIMARY KEY,
        stream      TEXT    NOT NULL,
        version     INTEGER NOT NULL,
        type        TEXT    NOT NULL,
        data        TEXT    NOT NULL,
        meta        TEXT    NOT NULL,
        recorded_at INTEGER NOT NULL,
        UNIQUE (stream, version)
    );
INSERT INTO "events" VALUES(1,'tally-t1',1,'Counted','{"tally_id":"t1","by":1,"colour":"red"}','{"command_id":"a588b385-0f86-5e1d-a661-345c2bb4c06a","correlation_id":"a588b385-0f86-5e1d-a661-345c2bb4c06a","causation_id":"a588b385-0f86-5e1d-a661-345c2bb4c06a","principal":"anonymous"}',1795286177111090);
INSERT INTO "events" VALUES(2,'tally-t2',1,'Counted','{"tally_id":"t2","by":2,"colour":"blue"}','{"command_id":"15d6b1ea-e01d-57cb-88db-2aa9b5c16c88","correlation_id":"15d6b1ea-e01d-57cb-88db-2aa9b5c16c88","causation_id":"15d6b1ea-e01d-57cb-88db-2aa9b5c16c88","principal":"anonymous"}',1795286177144974);
INSERT INTO "events" VALUES(3,'tally-t3',1,'Counted','{"tally_id":"t3","by":3,"colour":"red"}','{"command_id":"9447e646-843a-580e-8b25-84942679c6c4","correlation_id":"9447e646-843a-580e-8b25-84942679c6c4","causation_id":"9447e646-843a-580e-8b25-84942679c6c4","principal":"anonymous"}',1795286177183357);
INSERT INTO "events" VALUES(4,'tally-t4',1,'Counted','{"tally_id":"t4","by":4,"colour":"blue"}','{"command_id":"8cb7ab60-c1ea-5e47-a373-a3e907eb0665","correlation_id":"8cb7ab60-c1ea-5e47-a373-a3e907eb0665","causation_id":"8cb7ab60-c1ea-5e47-a373-a3e907eb0665","principal":"anonymous"}',1795286177212326);
INSERT INTO "events" VALUES(5,'tally-t0',1,'Counted','{"tally_id":"t0","by":5,"colour":"red"}','{"command_id":"6e273eb1-ba67-5a37-ace7-bce0c6bfb1f3","correlation_id":"6e273eb1-ba67-5a37-ace7-bce0c6bfb1f3","causation_id":"6e273eb1-ba67-5a37-ace7-bce0c6bfb1f3","principal":"anonymous"}',1795286177237413);
INSERT INTO "events" VALUES(6,'tally-t1',2,'Counted','{"tally_id":"t1","by":6,"colour":"blue"}','{"command_id":"91841b75-3afc-567e-99a2-f195b99fc4da","correlation_id":"91841b75-3afc-567e-99a2-f195b99fc4da","causation_id":"91841b75-3afc-567e-99a2-f195b99fc4da","principal":"anonymous"}',1795286177260182);
INSERT INTO "events" VALUES(7,'tally-t2',2,'Counted','{"tally_id":"t2","by":7,"colour":"red"}','{"command_id":"7abbfb3b-9b34-5d80-bc11-ae31a843c22a","correlation_id":"7abbfb3b-9b34-5d80-bc11-ae31a843c22a","causation_id":"7abbfb3b-9b34-5d80-bc11-ae31a843c22a","principal":"anonymous"}',1795286177282111);
INSERT INTO "events" VALUES(8,'tally-t3',2,'Counted','{"tally_id":"t3","by":8,"colour":"blue"}','{"command_id":"7b4cce3c-342b-5f06-88cd-e26a77efaa0d","correlation_id":"7b4cce3c-342b-5f06-88cd-e26a77efaa0d","causation_id":"7b4cce3c-342b-5f06-88cd-e26a77efaa0d","principal":"anonymous"}',1795286177302564);
INSERT INTO "events" VALUES(9,'tally-t4',2,'Counted','{"tally_id":"t4","by":9,"colour":"red"}','{"command_id":"1002a786-78d3-59af-8c14-8ad9e124c3c8","correlation_id":"1002a786-78d3-59af-8c14-8ad9e124c3c8","causation_id":"1002a786-78d3-59af-8c14-8ad9e124c3c8","principal":"anonymous"}',1795286177318303);
INSERT INTO "events" VALUES(10,'tally-t0',2,'Counted','{"tally_id":"t0","by":10,"colour":"blue"}','{"command_id":"41525068-167c-54cb-b13e-d373bc92fe98","correlation_id":"41525068-167c-54cb-b13e-d373bc92fe98","causation_id":"41525068-167c-54cb-b13e-d373bc92fe98","principal":"anonymous"}',1795286177344656);
INSERT INTO "events" VALUES(11,'tally-t1',3,'Counted','{"tally_id":"t1","by":11,"colour":"red"}','{"command_id":"459d378d-7893-5034-b955-bed38a8cb916","correlation_id":"459d378d-7893-5034-b955-bed38a8cb916","causation_id":"459d378d-7893-5034-b955-bed38a8cb916","principal":"anonymous"}',1795286177361843);
INSERT INTO "events" VALUES(12,'tally-t2',3,'Counted','{"tally_id":"t2","by":12,"colour":"blue"}','{"command_id":"33087a3f-c3dd-5ccb-bea0-71b67cc42c7f","correlation_id":"33087a3f-c3dd-5ccb-bea0-71b67cc42c7f","causation_id":"33087a3f-c3dd-5ccb-bea0-71b67cc42c7f","principal":"anonymous"}',1795286177386318);
INSERT INTO "events" VALUES(13,'tally-t3',3,'Counted','{"tally_id":"t3","by":14,"colour":"blue"}','{"command_id":"c25e8901-5798-5b0a-8b80-235b4aba2200","correlation_id":"c25e8901-5798-5b0a-8b80-235b4aba2200","causation_id":"c25e8901-5798-5b0a-8b80-235b4aba2200","principal":"anonymous"}',1795286177406736);
INSERT INTO "events" VALUES(14,'tally-t4',3,'Counted','{"tally_id":"t4","by":14,"colour":"blue"}','{"command_id":"0bbc552b-68b2-5df5-bda3-ce09d936b58a","correlation_id":"0bbc552b-68b2-5df5-bda3-ce09d936b58a","causation_id":"0bbc552b-68b2-5df5-bda3-ce09d936b58a","principal":"anonymous"}',1795286177420900);
INSERT INTO "events" VALUES(15,'tally-t0',3,'Counted','{"tally_id":"t0","by":15,"colour":"red"}','{"command_id":"a320f025-6a0f-589c-8e56-acc8faf9cd8b","correlation_id":"a320f025-6a0f-589c-8e56-acc8faf9cd8b","causation_id":"a320f025-6a0f-589c-8e56-acc8faf9cd8b","principal":"anonymous"}',1795286177435617);
INSERT INTO "events" VALUES(16,'tally-t1',4,'Counted','{"tally_id":"t1","by":16,"colour":"blue"}','{"command_id":"6a940719-8b22-5d47-8ca0-b3d96f23042c","correlation_id":"6a940719-8b22-5d47-8ca0-b3d96f23042c","causation_id":"6a940719-8b22-5d47-8ca0-b3d96f23042c","principal":"anonymous"}',1795286177456767);
INSERT INTO "events" VALUES(17,'tally-t2',4,'Counted','{"tally_id":"t2","by":17,"colour":"red"}','{"command_id":"c5de86ac-c480-56e4-85b2-283382c05f6e","correlation_id":"c5de86ac-c480-56e4-85b2-283382c05f6e","causation_id":"c5de86ac-c480-56e4-85b2-283382c05f6e","principal":"anonymous"}',1795286177475892);
INSERT INTO "events" VALUES(18,'tally-t3',4,'Counted','{"tally_id":"t3","by":18,"colour":"blue"}','{"command_id":"5af0f1d0-d130-5653-9b52-63a1bca0c2b5","correlation_id":"5af0f1d0-d130-5653-9b52-63a1bca0c2b5","causation_id":"5af0f1d0-d130-5653-9b52-63a1bca0c2b5","principal":"anonymous"}',1795286177490763);
INSERT INTO "events" VALUES(19,'tally-t4',4,'Counted','{"tally_id":"t4","by":19,"colour":"red"}','{"command_id":"986c14a0-5408-53ee-9be2-2bdaec8b0339","correlation_id":"986c14a0-5408-53ee-9be2-2bdaec8b0339","causation_id":"986c14a0-5408-53ee-9be2-2bdaec8b0339","principal":"anonymous"}',1795286177522047);
INSERT INTO "events" VALUES(20,'tally-t0',4,'Counted','{"tally_id":"t0","by":20,"colour":"blue"}','{"command_id":"989322e1-8788-51f7-9a73-40a6aab21744","correlation_id":"989322e1-8788-51f7-9a73-40a6aab21744","causation_id":"989322e1-8788-51f7-9a73-40a6aab21744","principal":"anonymous"}',1795286177527321);
INSERT INTO "events" VALUES(21,'tally-t1',5,'Counted','{"tally_id":"t1","by":21,"colour":"red"}','{"command_id":"8afce6c8-609a-5bf4-a52e-1facb02be643","correlation_id":"8afce6c8-609a-5bf4-a52e-1facb02be643","causation_id":"8afce6c8-609a-5bf4-a52e-1facb02be643","principal":"anonymous"}',1795286177538870);
INSERT INTO "events" VALUES(22,'tally-t2',5,'Counted','{"tally_id":"t2","by":22,"colour":"blue"}','{"command_id":"2435803f-6ba3-5521-8386-ba43dc42a959","correlation_id":"2435803f-6ba3-5521-8386-ba43dc42a959","causation_id":"2435803f-6ba3-5521-8386-ba43dc42a959","principal":"anonymous"}',1795286177557234);
INSERT INTO "events" VALUES(23,'tally-t3',5,'Counted','{"tally_id":"t3","by":23,"colour":"red"}','{"command_id":"8f6b36f7-9cd1-5e76-a946-1d767c9e7b9e","correlation_id":"8f6b36f7-9cd1-5e76-a946-1d767c9e7b9e","causation_id":"8f6b36f7-9cd1-5e76-a946-1d767c9e7b9e","principal":"anonymous"}',1795286177574572);
CREATE TABLE eventstore_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT eventstore_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "eventstore_version" VALUES('0001');
CREATE TABLE generations (
	"view" TEXT NOT NULL, 
	generation INTEGER NOT NULL, 
	slices INTEGER NOT NULL, 
	shape TEXT NOT NULL, 
	state TEXT NOT NULL, 
	PRIMARY KEY ("view", generation)
);
INSERT INTO "generations" VALUES('strong',1,1,'tally_id|tally_id:text,count:integer,colour:text,counted_at:time,steps:json|colour|count|Counted','live');
CREATE TABLE inbox (
        command_id  TEXT    PRIMARY KEY,
        fingerprint TEXT    NOT NULL,
        type        TEXT    NOT NULL,
        stream      TEXT    NOT NULL,
        status      TEXT    NOT NULL,
        attempt     INTEGER NOT NULL,
        version     INTEGER NOT NULL,
        position    INTEGER NOT NULL,
        events      TEXT,
        code        TEXT,
        details     TEXT,
        accepted_at INTEGER NOT NULL,
        decided_at  INTEGER NOT NULL
    );
INSERT INTO "inbox" VALUES('c681f6e3-0cd1-59e5-818b-70640f80a052','5c0cca9253cdd1899d86001a3d9f7eef','Count','tally-t0','ignored',1,0,0,NULL,NULL,NULL,1795286177009987,1795286177048018);
INSERT INTO "inbox" VALUES('a588b385-0f86-5e1d-a661-345c2bb4c06a','4e7647e7decfe6bbf97f4de5d3ff6db4','Count','tally-t1','succeeded',1,1,1,'["Counted"]',NULL,NULL,1795286177091764,1795286177111090);
INSERT INTO "inbox" VALUES('15d6b1ea-e01d-57cb-88db-2aa9b5c16c88','e0690834db055312ba264f7b3da6c74a','Count','tally-t2','succeeded',1,1,2,'["Counted"]',NULL,NULL,1795286177142987,1795286177144974);
INSERT INTO "inbox" VALUES('9447e646-843a-580e-8b25-84942679c6c4','a77abd101c4f93fc6298473ba9df64ea','Count','tally-t3','succeeded',1,1,3,'["Counted"]',NULL,NULL,1795286177175525,1795286177183357);
INSERT INTO "inbox" VALUES('8cb7ab60-c1ea-5e47-a373-a3e907eb0665','1ca680f3b9bdc0c1c3e78e981069a8fd','Count','tally-t4','succeeded',1,1,4,'["Counted"]',NULL,NULL,1795286177210433,1795286177212326);
INSERT INTO "inbox" VALUES('6e273eb1-ba67-5a37-ace7-bce0c6bfb1f3','90e77514c04915ff4727b0e908d85c0f','Count','tally-t0','succeeded',1,1,5,'["Counted"]',NULL,NULL,1795286177234620,1795286177237413);
INSERT INTO "inbox" VALUES('91841b75-3afc-567e-99a2-f195b99fc4da','7ab3340a68437f27a374065eb5f126b6','Count','tally-t1','succeeded',1,2,6,'["Counted"]',NULL,NULL,1795286177257455,1795286177260182);
INSERT INTO "inbox" VALUES('7abbfb3b-9b34-5d80-bc11-ae31a843c22a','142f99dfba3de6f2e3b81b428b6e4f71','Count','tally-t2','succeeded',1,2,7,'["Counted"]',NULL,NULL,1795286177276635,1795286177282111);
INSERT INTO "inbox" VALUES('7b4cce3c-342b-5f06-88cd-e26a77efaa0d','c31f31aac30968a102958de3dbc529d9','Count','tally-t3','succeeded',1,2,8,'["Counted"]',NULL,NULL,1795286177300446,1795286177302564);
INSERT INTO "inbox" VALUES('1002a786-78d3-59af-8c14-8ad9e124c3c8','92f4025a9c0116db495c611242e77e1b','Count','tally-t4','succeeded',1,2,9,'["Counted"]',NULL,NULL,1795286177316781,1795286177318303);
INSERT INTO "inbox" VALUES('41525068-167c-54cb-b13e-d373bc92fe98','33d5c035ffb05c3658eeb31c44ebde88','Count','tally-t0','succeeded',1,2,10,'["Counted"]',NULL,NULL,1795286177338227,1795286177344656);
INSERT INTO "inbox" VALUES('459d378d-7893-5034-b955-bed38a8cb916','09ac7a0a552809f0b457e93b4331fd30','Count','tally-t1','succeeded',1,3,11,'["Counted"]',NULL,NULL,1795286177357506,1795286177361843);
INSERT INTO "inbox" VALUES('33087a3f-c3dd-5ccb-bea0-71b67cc42c7f','c2e50bb51d99c0b83353aed29666532b','Count','tally-t2','succeeded',1,3,12,'["Counted"]',NULL,NULL,1795286177382895,1795286177386318);
INSERT INTO "inbox" VALUES('c25e8901-5798-5b0a-8b80-235b4aba2200','1a6a66ff99aadc3f2aed078a577122ea','Count','tally-t3','succeeded',1,3,13,'["Counted"]',NULL,NULL,1795286177404468,1795286177406736);
INSERT INTO "inbox" VALUES('0bbc552b-68b2-5df5-bda3-ce09d936b58a','32247517bccd7dac22c0b870987f43df','Count','tally-t4','succeeded',1,3,14,'["Counted"]',NULL,NULL,1795286177419268,1795286177420900);
INSERT INTO "inbox" VALUES('a320f025-6a0f-589c-8e56-acc8faf9cd8b','18111d8ca657c8caccd0627e7f834b7a','Count','tally-t0','succeeded',1,3,15,'["Counted"]',NULL,NULL,1795286177431341,1795286177435617);
INSERT INTO "inbox" VALUES('6a940719-8b22-5d47-8ca0-b3d96f23042c','c97e9e3130dc3fe7aa85db5c9ce2eb18','Count','tally-t1','succeeded',1,4,16,'["Counted"]',NULL,NULL,1795286177451772,1795286177456767);
INSERT INTO "inbox" VALUES('c5de86ac-c480-56e4-85b2-283382c05f6e','f68965c707ad28258ea467aebd147381','Count','tally-t2','succeeded',1,4,17,'["Counted"]',NULL,NULL,1795286177474160,1795286177475892);
INSERT INTO "inbox" VALUES('5af0f1d0-d130-5653-9b52-63a1bca0c2b5','aa0002f5d2a1fe1b6ce8c1387a31ea84','Count','tally-t3','succeeded',1,4,18,'["Counted"]',NULL,NULL,1795286177487969,1795286177490763);
INSERT INTO "inbox" VALUES('986c14a0-5408-53ee-9be2-2bdaec8b0339','337e802fb5cc3bcdc44c63b94b807796','Count','tally-t4','succeeded',1,4,19,'["Counted"]',NULL,NULL,1795286177518964,1795286177522047);
INSERT INTO "inbox" VALUES('989322e1-8788-51f7-9a73-40a6aab21744','6c8a5fee775b8dae2d62bdbf221bc81d','Count','tally-t0','succeeded',1,4,20,'["Counted"]',NULL,NULL,1795286177525345,1795286177527321);
INSERT INTO "inbox" VALUES('8afce6c8-609a-5bf4-a52e-1facb02be643','6ce4354e25d9fac62541800ba65e4433','Count','tally-t1','succeeded',1,5,21,'["Counted"]',NULL,NULL,1795286177535537,1795286177538870);
INSERT INTO "inbox" VALUES('2435803f-6ba3-5521-8386-ba43dc42a959','d643d0b02257d7b64f86ef6769ac103d','Count','tally-t2','succeeded',1,5,22,'["Counted"]',NULL,NULL,1795286177555404,1795286177557234);
INSERT INTO "inbox" VALUES('8f6b36f7-9cd1-5e76-a946-1d767c9e7b9e','3a4683575d7bd221912ee32457bdb0d6','Count','tally-t3','succeeded',1,5,23,'["Counted"]',NULL,NULL,1795286177571493,1795286177574572);
INSERT INTO "inbox" VALUES('01a1ff65-1735-7c05-b4d9-e5d03e782e62','c679c8de4740a9741ab4eb823c458026','Count','tally-bug','parked',1,0,23,NULL,'bug',NULL,1795286177589908,1795286177594233);
INSERT INTO "inbox" VALUES('3b54525d-9b82-5f6b-b9ee-526c4300e1f1','2d51609ea97bf39e10f397824f8ad35d','Count','tally-t0','rejected',1,4,23,NULL,'too-many','{"count":50,"limit":1000}',1795286177602070,1795286177603980);
CREATE TABLE lanes (
        id   INTEGER PRIMARY KEY AUTOINCREMENT,
        lane INTEGER NOT NULL,
        body BLOB    NOT NULL
    );
CREATE TABLE log_head (
        only_row    INTEGER PRIMARY KEY CHECK (only_row = 1),
        position    INTEGER NOT NULL,
        recorded_at INTEGER NOT NULL
    );
INSERT INTO "log_head" VALUES(1,23,1795286177574572);
CREATE TABLE parked_commands (
        id          INTEGER PRIMARY KEY AUTOINCREMENT,
        command_id  TEXT    NOT NULL,
        fingerprint TEXT    NOT NULL,
        envelope    TEXT    NOT NULL,
        reason      TEXT    NOT NULL,
        error       TEXT    NOT NULL,
        parked_at   INTEGER NOT NULL,
        UNIQUE (command_id, fingerprint)
    );
INSERT INTO "parked_commands" VALUES(1,'01a1ff65-1735-7c05-b4d9-e5d03e782e62','c679c8de4740a9741ab4eb823c458026','{"command_id":"01a1ff65-1735-7c05-b4d9-e5d03e782e62","type":"Count","stream":"tally-bug","data":{"tally_id":"bug","by":13,"colour":"blue"},"fingerprint":"c679c8de4740a9741ab4eb823c458026","accepted_at":"2026-11-21T18:36:17.589908Z"}','bug','Traceback (most recent call last):
  File "workers/deciding.py", line 44, in decide
    events = decider.decide(before.state, command)
             ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  File "earlier.py", line 30, in decide
    raise RuntimeError("a decider with a bug")
RuntimeError: a decider with a bug
',1795286177594233);
CREATE TABLE parked_keys (
	"view" TEXT NOT NULL, 
	generation INTEGER NOT NULL, 
	slice INTEGER NOT NULL, 
	"key" TEXT NOT NULL, 
	position BIGINT NOT NULL, 
	error TEXT NOT NULL, 
	waiting BIGINT NOT NULL, 
	attempts INTEGER NOT NULL, 
	parked_at BIGINT NOT NULL, 
	request TEXT, 
	PRIMARY KEY ("view", generation, slice, "key")
);
CREATE TABLE parked_positions (
	"view" TEXT NOT NULL, 
	generation INTEGER NOT NULL, 
	slice INTEGER NOT NULL, 
	"key" TEXT NOT NULL, 
	position BIGINT NOT NULL, 
	PRIMARY KEY ("view", generation, slice, "key", position)
);
CREATE TABLE strong__g1 (
	tally_id TEXT NOT NULL, 
	count BIGINT NOT NULL, 
	colour TEXT NOT NULL, 
	counted_at BIGINT NOT NULL, 
	steps TEXT, 
	_position BIGINT NOT NULL, 
	PRIMARY KEY (tally_id)
);
INSERT INTO "strong__g1" VALUES('t1',55,'red',1795286177538870,'[1,6,11,16,21]',21);
INSERT INTO "strong__g1" VALUES('t2',60,'blue',1795286177557234,'[2,7,12,17,22]',22);
INSERT INTO "strong__g1" VALUES('t3',66,'red',1795286177574572,'[3,8,14,18,23]',23);
INSERT INTO "strong__g1" VALUES('t4',46,'red',1795286177522047,'[4,9,14,19]',19);
INSERT INTO "strong__g1" VALUES('t0',50,'blue',1795286177527321,'[5,10,15,20]',20);
CREATE TRIGGER events_are_not_changed BEFORE UPDATE ON events
    BEGIN SELECT RAISE(ABORT, 'events are never changed or removed'); END;
CREATE TRIGGER events_are_not_removed BEFORE DELETE ON events
    BEGIN SELECT RAISE(ABORT, 'events are never changed or removed'); END;
CREATE INDEX strong__g1__colour ON strong__g1 (colour ASC, tally_id);
CREATE INDEX strong__g1__count ON strong__g1 (count ASC, tally_id);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('lanes',26);
INSERT INTO "sqlite_sequence" VALUES('parked_commands',1);
COMMIT;
