package inventory

import "bakehouse/serve/inventory/sqldb"

// steps are the versions of the tables. Append to them, and have Rename carry along what is kept by host.
var steps = sqldb.Steps{
	{From: 0, To: 2, Statements: tables},
	{From: 2, To: 3, Statements: machines},
	{From: 3, To: 4, Statements: tokens + ";" + audit + ";" + ends},
	{From: 4, To: 5, Statements: verdicts},
	{From: 5, To: 6, Statements: history},
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
