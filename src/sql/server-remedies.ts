import { tlsRemedy } from '../core/errors/tls-faults.ts'

/**
 * What an operator does about errors of a server. Its own words are the cause of the error. No colon
 * follows the word password: what stands behind one is hidden in logs.
 */
export const remedies = {
  login:
    'the server refuses the user or the password. Correct them in the options of the pool, or in the variable that they come from',
  admission:
    'the server does not let this user in from here: correct the user, or add a line for it to pg_hba.conf',
  address: 'the address cannot be read: look at its host, and at its port, which is below 65536',
  nobody:
    'the address names no user, or lacks its password. Is the variable that it comes from set?',
  database: 'there is no such database: create it, or correct its name in the address',
  right: (who: string) =>
    `the ${who} lacks a right: grant it ('mersal doctor' names those on the tables)`,
  full: 'the disk of the server is full: make room there. Nothing else is needed',
  readOnly:
    'the server takes no writes: give the address of the primary, or end its read-only mode',
} as const

/** What follows "… failed": `remedy` is that of an error which has nothing to do with TLS. */
export function whatToDo(error: unknown, remedy: string | undefined): string {
  const tls = tlsRemedy(error)
  if (tls !== undefined) return `: no secure connection to the database, ${tls}`
  return remedy === undefined ? '' : `: ${remedy}`
}
