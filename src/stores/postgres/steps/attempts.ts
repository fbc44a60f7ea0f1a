import { deadRetry } from './dead-retry.ts'

/** Step 14: what became of each attempt that failed. It rewrites no row. */
export const attempts = (S: string): string =>
  `
-- The attempts of a message that failed, as JSON; null while none has. Written only when one fails.
alter table ${S}.outbox add column if not exists history text;
alter table ${S}.dead add column if not exists history text;
${deadRetry(S, 'with history')}`
