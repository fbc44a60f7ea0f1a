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
  readonly once: string
}

const tableIn =
  (database: string) =>
  (name: string): string =>
    `${quoteName(database)}.${quoteName(`mersal_${name}`)}`

export function tablesIn(database: string): Tables {
  const table = tableIn(database)
  return {
    outbox: table('outbox'),
    dead: table('dead'),
    sent: table('sent'),
    inbox: table('inbox'),
    pause: table('pause'),
    keyLock: table('key_lock'),
    unitMark: table('unit_mark'),
    saga: table('saga'),
    once: table('once'),
  }
}

/** Those of a queue. */
export interface QueueTables {
  readonly queue: string
  readonly subscription: string
  readonly message: string
  readonly dead: string
  /** The locks of the partition keys of its messages. */
  readonly keyLock: string
}

export function queueTablesIn(database: string): QueueTables {
  const table = tableIn(database)
  return {
    queue: table('queue'),
    subscription: table('queue_subscription'),
    message: table('queue_message'),
    dead: table('queue_dead'),
    keyLock: table('queue_key_lock'),
  }
}
