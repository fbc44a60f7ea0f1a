/** What an operator does about errors of a server. Its own words are the cause of the error. */
export const remedies = {
  login:
    'the server refuses the user or the password: correct them in the options of the pool, or in the variable that they come from',
  database: 'there is no such database: create it, or correct its name in the address',
  right: (who: string) =>
    `the ${who} lacks a right: grant it ('mersal doctor' names those on the tables)`,
  full: 'the disk of the server is full: make room there. Nothing else is needed',
  readOnly:
    'the server takes no writes: give the address of the primary, or end its read-only mode',
} as const
