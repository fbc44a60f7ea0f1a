-- The rights of mersal_app and mersal_relay. With keepSentMs the relay makes a table for each day:
-- then it has to be a member of mersal_migrator. Run this as mersal_migrator after each
-- `mersal migrate`; repeating it changes nothing.

grant usage on schema mersal to mersal_app, mersal_relay;
grant select on mersal.migration to mersal_app, mersal_relay;

-- Messages are added, and what was added is not changed any more. An app that calls app.cancel()
-- needs `delete` too.
grant select, insert on mersal.outbox to mersal_app;
-- The inbox: one row for each message that was handled, and those whose time is over are removed.
grant select, insert, delete on mersal.inbox to mersal_app;

grant select, insert, update, delete on mersal.outbox, mersal.dead, mersal.sent, mersal.pause
  to mersal_relay;
-- Which queues have consumers, and old rows.
grant select, delete on mersal.inbox to mersal_relay;
