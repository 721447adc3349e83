package inventory

import (
	"bakehouse/serve/inventory/sqldb"
)

// steps are the versions of the tables. Append to them, and have Rename carry along what is kept by host.
var steps = sqldb.Steps{
	{From: 0, To: 2, Statements: tables},
	{From: 2, To: 3, Statements: machines},
	{From: 3, To: 4, Statements: tokens + ";" + audit + ";" + ends},
	{From: 4, To: 5, Statements: verdicts},
	{From: 5, To: 6, Statements: history},
	{From: 6, To: 7, Statements: feed},
	{From: 7, To: 8, Statements: sites},
}

const tables = `
CREATE TABLE hosts (
	name TEXT PRIMARY KEY, secret BLOB NOT NULL, "user" TEXT NOT NULL, platform TEXT NOT NULL, agent TEXT NOT NULL,
	registered INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE reports (
	host TEXT PRIMARY KEY, at INTEGER NOT NULL, timestamp INTEGER NOT NULL, root INTEGER NOT NULL, report TEXT NOT NULL,
	details TEXT, address TEXT NOT NULL
) STRICT;
CREATE TABLE served (
	anchor BLOB PRIMARY KEY, timestamp INTEGER NOT NULL, file BLOB NOT NULL, at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE packages (
	host TEXT NOT NULL, package BLOB NOT NULL, manifest BLOB NOT NULL, seen INTEGER NOT NULL,
	PRIMARY KEY (host, package)
) STRICT, WITHOUT ROWID`

const machines = `
CREATE TABLE machines (
	host TEXT NOT NULL, machine TEXT NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL, address TEXT NOT NULL,
	PRIMARY KEY (host, machine)
) STRICT, WITHOUT ROWID`

const verdicts = `
CREATE TABLE verdicts (name TEXT PRIMARY KEY, version INTEGER NOT NULL, body BLOB NOT NULL) STRICT, WITHOUT ROWID`

const tokens = `
CREATE TABLE tokens (
	id TEXT PRIMARY KEY, secret BLOB NOT NULL, "user" TEXT NOT NULL, created INTEGER NOT NULL, expires INTEGER NOT NULL,
	uses INTEGER NOT NULL, used INTEGER NOT NULL, hosts TEXT NOT NULL, site TEXT NOT NULL, ring TEXT NOT NULL,
	replaces INTEGER NOT NULL, revoked INTEGER NOT NULL, revoked_by TEXT NOT NULL
) STRICT, WITHOUT ROWID`

const audit = `
CREATE TABLE audit (
	seq INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, event TEXT NOT NULL
) STRICT;
CREATE INDEX audit_at ON audit (at)`

const ends = `
ALTER TABLE hosts ADD COLUMN token TEXT NOT NULL DEFAULT '';
ALTER TABLE hosts ADD COLUMN ended TEXT NOT NULL DEFAULT '';
ALTER TABLE hosts ADD COLUMN ended_by TEXT NOT NULL DEFAULT '';
ALTER TABLE hosts ADD COLUMN ended_at INTEGER NOT NULL DEFAULT 0`

const history = `
CREATE TABLE past (
	host TEXT NOT NULL, at INTEGER NOT NULL, state TEXT NOT NULL, code TEXT NOT NULL, release INTEGER NOT NULL,
	words TEXT NOT NULL, PRIMARY KEY (host, at)
) STRICT, WITHOUT ROWID;
CREATE TABLE points (
	at INTEGER PRIMARY KEY, release INTEGER NOT NULL, hosts INTEGER NOT NULL, total INTEGER NOT NULL
) STRICT`

const feed = `
CREATE TABLE changes (number INTEGER PRIMARY KEY, hosts TEXT NOT NULL, polled BLOB) STRICT;
CREATE TABLE folded (id INTEGER PRIMARY KEY, number INTEGER NOT NULL, polled BLOB) STRICT;
INSERT INTO folded (id, number) VALUES (1, 0)`

const sites = `
CREATE TABLE sites (name TEXT PRIMARY KEY, at INTEGER NOT NULL, body BLOB NOT NULL) STRICT, WITHOUT ROWID`
