import type { Build, PreviousBuild } from '../builds.ts'
import type { History } from '../history.ts'
import { type ClusterKind, clusterKinds, type StoreKind } from '../plan.ts'
import type { KafkaPlace } from '../places/kafka.ts'
import type { MysqlPlace } from '../places/mysql.ts'
import type { NatsPlace } from '../places/nats.ts'
import type { PostgresPlace } from '../places/postgres.ts'
import type { RedisPlace } from '../places/redis.ts'
import type { SqlitePlace } from '../places/sqlite.ts'
import type { Program } from '../programs.ts'

export type AnyPlace =
  | ({ readonly kind: 'postgres' } & PostgresPlace)
  | ({ readonly kind: 'nats' } & NatsPlace)
  | ({ readonly kind: 'redis' } & RedisPlace)
  | ({ readonly kind: 'kafka' } & KafkaPlace)
  | ({ readonly kind: 'sqlite' } & SqlitePlace)
  | ({ readonly kind: 'mysql' } & MysqlPlace)

export interface Scene {
  readonly place: AnyPlace
  readonly programs: readonly Program[]
  readonly history: History
  readonly folder: string
  readonly random: () => number
  /** Messages that a fault takes out of the consumer's queue: operators lose those, not Mersal. */
  readonly wiped: Set<string>
  /** Messages that a fault has made such that they must become dead letters. */
  readonly doomed: Set<string>
  readonly builds: Builds
}

export interface Builds {
  readonly present: Build
  /** Undefined if no fault of the run needs it; a text says why there is none. */
  readonly previous: PreviousBuild | string | undefined
}

export type PostgresScene = Scene & {
  readonly place: { readonly kind: 'postgres' } & PostgresPlace
}
/** With PostgreSQL, whatever the broker. */
export type ClusterScene = Scene & {
  readonly place: Extract<AnyPlace, { readonly kind: ClusterKind }>
}
export type NatsScene = Scene & { readonly place: { readonly kind: 'nats' } & NatsPlace }
export type RedisScene = Scene & { readonly place: { readonly kind: 'redis' } & RedisPlace }
export type KafkaScene = Scene & { readonly place: { readonly kind: 'kafka' } & KafkaPlace }
export type SqliteScene = Scene & { readonly place: { readonly kind: 'sqlite' } & SqlitePlace }

/**
 * A fault: injects it, sees that it has landed, and heals it. Resolves to what it did; throws if
 * the fault did not land, and leaves everything healed then as well.
 */
interface Fault<Where extends Scene> {
  readonly name: string
  readonly says: string
  /** Two faults at one time touch different things. */
  readonly touches: 'process' | 'database' | 'broker' | 'network'
  readonly on: readonly StoreKind[]
  /** What the run has to have from its start. */
  readonly needs?: 'own disks' | 'previous build' | 'commit log'
  inject(scene: Where): Promise<string>
}

export type Nemesis = Fault<Scene>

/** A fault that only makes sense on one kind of place. */
export function onPostgres(fault: Omit<Fault<PostgresScene>, 'on'>): Nemesis {
  return { ...fault, on: ['postgres'], inject: (scene) => fault.inject(scene as PostgresScene) }
}

/** A fault of PostgreSQL, of its programs or of the network. */
export function onCluster(fault: Omit<Fault<ClusterScene>, 'on'>): Nemesis {
  return {
    ...fault,
    on: clusterKinds,
    inject: (scene) => fault.inject(scene as ClusterScene),
  }
}

export function onNats(fault: Omit<Fault<NatsScene>, 'on'>): Nemesis {
  return { ...fault, on: ['nats'], inject: (scene) => fault.inject(scene as NatsScene) }
}

export function onRedis(fault: Omit<Fault<RedisScene>, 'on'>): Nemesis {
  return { ...fault, on: ['redis'], inject: (scene) => fault.inject(scene as RedisScene) }
}

export function onKafka(fault: Omit<Fault<KafkaScene>, 'on'>): Nemesis {
  return { ...fault, on: ['kafka'], inject: (scene) => fault.inject(scene as KafkaScene) }
}

export function onSqlite(fault: Omit<Fault<SqliteScene>, 'on'>): Nemesis {
  return { ...fault, on: ['sqlite'], inject: (scene) => fault.inject(scene as SqliteScene) }
}

export type MysqlScene = Scene & { readonly place: { readonly kind: 'mysql' } & MysqlPlace }

export function onMysql(fault: Omit<Fault<MysqlScene>, 'on'>): Nemesis {
  return { ...fault, on: ['mysql'], inject: (scene) => fault.inject(scene as MysqlScene) }
}

export function pick<Item>(random: () => number, items: readonly Item[]): Item {
  const item = items[Math.floor(random() * items.length)]
  if (item === undefined) throw new Error('nothing to pick from')
  return item
}

export const upTo = (random: () => number, from: number, to: number): number =>
  from + random() * (to - from)
