/** Collects what a finished cell has left, and takes it away from the servers. */
import type { Remains } from './audit.ts'
import type { CellBroker, Names } from './brokers/broker.ts'
import type { CellDatabase } from './databases/database.ts'
import type { Place } from './place.ts'

/** Where one cell lives on the servers. */
export interface Site extends Names {
  readonly place: Place
  readonly database: CellDatabase
  readonly broker: CellBroker
  readonly straight: boolean
}

export async function remainsOf(site: Site): Promise<Remains> {
  const { open, ...tables } = await site.database.left(site.schema, site.queue)
  const messages = await site.broker.left(site)
  return { ...tables, ...messages, left: [...open, ...messages.left] }
}

export async function cleanUp(site: Site): Promise<void> {
  await site.database.drop(site.schema)
  await site.broker.drop(site)
}
