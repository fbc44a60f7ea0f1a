-- Three roles for Mersal on PostgreSQL, each with the rights that its work needs and no other. Run
-- it once, as a superuser or the owner of the database, in the database with the outbox. Then run
-- `mersal migrate` as mersal_migrator, and grants.sql as mersal_migrator after each migration.
--
-- Give them passwords afterwards, so that none stands in a file: \password mersal_app

-- Makes and changes the tables. For the migration job alone.
create role mersal_migrator login;
-- Moves messages to the broker, and looks after dead letters: `mersal relay`, `status`, `dead`.
create role mersal_relay login;
-- Writes messages and remembers which ones it has handled. Its apps have
-- `outbox: { runRelay: false }` and `migrate: 'check'`.
create role mersal_app login;

create schema if not exists mersal authorization mersal_migrator;
