import type { SchemaControl } from '../operations.ts'

/**
 * Where sagas keep their state: one row for each app, saga and key. An implementation passes the
 * saga suite of `mersal/testing`.
 */
export interface SagaStore<Tx> {
  /** The tables, for tools of operators. */
  readonly schema?: SchemaControl
  /** Makes the tables, or brings them up to date. Repeating it changes nothing. */
  open(): Promise<void>
  /**
   * Reads the instance inside the caller's transaction. From then on the key is locked until that
   * transaction ends, whether there is an instance or not: another transaction that loads the same
   * key waits, and then sees what this one has stored. Waiting in vain throws `MERSAL_STORE_BUSY`.
   */
  load(tx: Tx, key: SagaKey): Promise<SagaInstance | undefined>
  /**
   * Stores the instance inside the caller's transaction, which has loaded its key before.
   * `undefined` removes it.
   */
  store(tx: Tx, key: SagaKey, instance: SagaInstance | undefined): Promise<void>
  /** Reads instances for operators, in the order of app, saga and key. */
  list(request: SagaListRequest): Promise<readonly SagaRecord[]>
}

export interface SagaKey {
  readonly app: string
  readonly saga: string
  /** 1 to 255 bytes of UTF-8 without control characters. */
  readonly key: string
}

/** What is kept of one instance. */
export interface SagaInstance {
  /** UUID. A later instance of the same key has another one. */
  readonly id: string
  /** Version of the shape of the state. */
  readonly version: number
  /** JSON. */
  readonly state: string
  /** JSON: the timeouts that are wanted, see `docs/sagas.md`. */
  readonly timeouts: string
}

export interface SagaRecord extends SagaKey, SagaInstance {
  /** Milliseconds since the Unix epoch. */
  readonly createdAt: number
  readonly updatedAt: number
}

export interface SagaListRequest {
  readonly app?: string
  readonly saga?: string
  readonly key?: string
  /** Only instances behind this one. */
  readonly after?: SagaKey
  /** From 1 to 10,000. */
  readonly limit: number
}
