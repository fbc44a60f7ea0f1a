/** In backticks; only for names that were checked. */
export function quoteName(name: string): string {
  return `\`${name.replaceAll('`', '``')}\``
}

/** Names of the tables of one database, quoted. */
export interface Tables {
  readonly outbox: string
  readonly dead: string
  readonly sent: string
  readonly inbox: string
  readonly pause: string
  /** The locks of the partition keys. */
  readonly keyLock: string
  /** Messages of a unit that a library has opened, see `library-unit.ts`. */
  readonly unitMark: string
  readonly saga: string
}

export function tablesIn(database: string): Tables {
  const table = (name: string): string => `${quoteName(database)}.${quoteName(`mersal_${name}`)}`
  return {
    outbox: table('outbox'),
    dead: table('dead'),
    sent: table('sent'),
    inbox: table('inbox'),
    pause: table('pause'),
    keyLock: table('key_lock'),
    unitMark: table('unit_mark'),
    saga: table('saga'),
  }
}
