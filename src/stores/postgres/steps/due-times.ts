import type { IndexBeside } from '../../../sql/postgres/index-beside.ts'
import { outboxSave } from './outbox-save.ts'

const column = (S: string): string => `
-- When the delay of its sender ends; null without one. It never changes while a relay works on the row.
alter table ${S}.outbox add column if not exists due_at timestamptz;
`

/** Step 11: when delayed messages fall due. It rewrites no row. */
export const dueTimes = (S: string): string => column(S) + outboxSave(S, 'with due times')

const idIndex = (S: string, concurrently: '' | 'concurrently '): string =>
  `create index ${concurrently}if not exists outbox_delayed on ${S}.outbox (id) where due_at is not null`

/** Step 13: a delayed message is found by its id, to be cancelled. */
export const delayedFound = (S: string): string => `
-- As the index of step 12: undelayed messages are not in it. With millions of rows, run this beforehand, outside of a
-- transaction, when step 12 is done:
--   ${idIndex(S, 'concurrently ')};
${idIndex(S, '')};
`

export const delayedFoundBeside = (S: string): IndexBeside => ({
  table: 'outbox',
  name: 'outbox_delayed',
  sql: idIndex(S, 'concurrently '),
})

const dueIndex = (S: string, concurrently: '' | 'concurrently '): string =>
  `create index ${concurrently}if not exists outbox_due on ${S}.outbox (due_at) where due_at is not null`

/** Step 12: they are found however many rows there are. */
export const dueTimesFound = (S: string): string => `
-- Undelayed messages are not in it, and updates stay heap-only. Writers wait while it is built here. With millions of
-- rows, run these two beforehand, outside of a transaction; then this step finds it done, and nobody has waited:
--   alter table ${S}.outbox add column if not exists due_at timestamptz;
--   ${dueIndex(S, 'concurrently ')};
${dueIndex(S, '')};
`

/** The same for an outbox that is in use. */
export const dueTimesFoundBeside = (S: string): IndexBeside => ({
  table: 'outbox',
  name: 'outbox_due',
  sql: dueIndex(S, 'concurrently '),
})
