BEGIN TRANSACTION;
CREATE TABLE checkpoints (
	"view" TEXT NOT NULL, 
	generation INTEGER NOT NULL, 
	slice INTEGER NOT NULL, 
	position BIGINT NOT NULL, 
	PRIMARY KEY ("view", generation, slice)
);
INSERT INTO "checkpoints" VALUES('tallies',1,0,23);
INSERT INTO "checkpoints" VALUES('tallies',1,1,23);
INSERT INTO "checkpoints" VALUES('tallies',1,2,23);
INSERT INTO "checkpoints" VALUES('tallies',1,3,23);
INSERT INTO "checkpoints" VALUES('fast',1,0,23);
INSERT INTO "checkpoints" VALUES('fast',1,1,23);
INSERT INTO "checkpoints" VALUES('fast',1,2,23);
INSERT INTO "checkpoints" VALUES('fast',1,3,23);
CREATE TABLE fast__g1 (
	tally_id TEXT NOT NULL, 
	count BIGINT NOT NULL, 
	colour TEXT NOT NULL, 
	counted_at BIGINT NOT NULL, 
	steps TEXT, 
	_position BIGINT NOT NULL, 
	PRIMARY KEY (tally_id)
);
INSERT INTO "fast__g1" VALUES('t1',55,'red',1795286177538870,'[1,6,11,16,21]',21);
INSERT INTO "fast__g1" VALUES('t2',60,'blue',1795286177557234,'[2,7,12,17,22]',22);
INSERT INTO "fast__g1" VALUES('t3',66,'red',1795286177574572,'[3,8,14,18,23]',23);
INSERT INTO "fast__g1" VALUES('t4',46,'red',1795286177522047,'[4,9,14,19]',19);
INSERT INTO "fast__g1" VALUES('t0',50,'blue',1795286177527321,'[5,10,15,20]',20);
CREATE TABLE generations (
	"view" TEXT NOT NULL, 
	generation INTEGER NOT NULL, 
	slices INTEGER NOT NULL, 
	shape TEXT NOT NULL, 
	state TEXT NOT NULL, 
	PRIMARY KEY ("view", generation)
);
INSERT INTO "generations" VALUES('tallies',1,4,'tally_id|tally_id:text,count:integer,colour:text,counted_at:time,steps:json|colour|count|Counted','live');
INSERT INTO "generations" VALUES('fast',1,4,'tally_id|tally_id:text,count:integer,colour:text,counted_at:time,steps:json|colour|count|Counted','live');
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
CREATE TABLE tallies__g1 (
	tally_id TEXT NOT NULL, 
	count BIGINT NOT NULL, 
	colour TEXT NOT NULL, 
	counted_at BIGINT NOT NULL, 
	steps TEXT, 
	_position BIGINT NOT NULL, 
	PRIMARY KEY (tally_id)
);
INSERT INTO "tallies__g1" VALUES('t1',55,'red',1795286177538870,'[1,6,11,16,21]',21);
INSERT INTO "tallies__g1" VALUES('t2',60,'blue',1795286177557234,'[2,7,12,17,22]',22);
INSERT INTO "tallies__g1" VALUES('t3',66,'red',1795286177574572,'[3,8,14,18,23]',23);
INSERT INTO "tallies__g1" VALUES('t4',46,'red',1795286177522047,'[4,9,14,19]',19);
INSERT INTO "tallies__g1" VALUES('t0',50,'blue',1795286177527321,'[5,10,15,20]',20);
CREATE INDEX tallies__g1__colour ON tallies__g1 (colour ASC, tally_id);
CREATE INDEX tallies__g1__count ON tallies__g1 (count ASC, tally_id);
CREATE INDEX fast__g1__colour ON fast__g1 (colour ASC, tally_id);
CREATE INDEX fast__g1__count ON fast__g1 (count ASC, tally_id);
COMMIT;
