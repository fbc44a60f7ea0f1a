import type { Part } from '../plan.ts'

/** What is not done yet, in numbers. */
export interface Progress {
  readonly students: number
  readonly outbox: number
  readonly effects: number
  readonly dead: number
  readonly old_inbox: number
  readonly old_sent: number
}

/** What a finished cell has left in its tables. */
export interface TablesLeft {
  /** Numbers of the transactions that are in the database, in the order of their commits. */
  readonly students: readonly number[]
  readonly effects: readonly (Part & { readonly message: string })[]
  /** Ids in the inbox. */
  readonly inbox: readonly string[]
  /** Outgoing messages that were given up. */
  readonly deadOutgoing: readonly Part[]
  /** Takes of rows of the outbox, in their order. */
  readonly takes: readonly {
    readonly id: string
    readonly owner: string
    readonly former: string | null
    readonly token: string
  }[]
  /** Rows that are still in the outbox. */
  readonly open: readonly string[]
}

/** A database of the cells as the test alone sees it: plain SQL on a connection of its own. */
export interface CellDatabase extends AsyncDisposable {
  readonly versions: Readonly<Record<string, string>>
  /** Where a process of this name connects to. The name is noted with every row that it takes. */
  address(schema: string, process: string): string
  /** What has to be there before the first process logs in. */
  create(schema: string): Promise<void>
  /** Tables of Mersal unless they are there, our own, and rows whose time is over. */
  prepare(
    schema: string,
    options: { readonly migrated: boolean; readonly kept: boolean },
  ): Promise<void>
  /** What is wrong with the tables that a killed migration has left. */
  halfDone(schema: string): Promise<string | undefined>
  progress(schema: string): Promise<Progress>
  /** Whether somebody reads the log of this database for the schema. */
  followed(schema: string): Promise<boolean>
  /** From now on, what could not be handled can be. */
  putRight(schema: string): Promise<void>
  left(schema: string, consumer: string): Promise<TablesLeft>
  drop(schema: string): Promise<void>
}

export const partOf = (bytes: Uint8Array): Part => JSON.parse(Buffer.from(bytes).toString()) as Part
