/** Of an outbox that is not counted as a whole, for people: `--json` has the number itself. */
export const estimatedNote = (rows: number): string =>
  `mersal: the outbox is too large to be counted: 'pending' is estimated, and all other figures are of ${rows} messages, its oldest and its newest`
