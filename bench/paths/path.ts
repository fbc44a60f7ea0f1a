import type { RelayProcess } from '../relays/process.ts'
import type { BenchServer } from '../server.ts'

/** A way from a business transaction to the broker. */
export interface Path extends AsyncDisposable {
  /**
   * Commits a business row and the message of this number; resolves to the moment at which the
   * commit was known (`performance.now`).
   */
  send(number: number): Promise<number>
  /** If it works in a process of its own. */
  readonly relay?: Pick<RelayProcess, 'pid'>
  /** If messages arrive elsewhere than in the queue of the scene. */
  readonly consume?: (onBody: (body: Buffer) => void) => Promise<void>
  /** What is left in its tables. */
  leftOver(): Promise<string[]>
}

export interface Scene {
  readonly postgres: BenchServer
  readonly rabbit: BenchServer
  readonly redis?: BenchServer | undefined
  /** The queue that the messages shall reach. */
  readonly queue: string
  readonly connections: number
}

export type OpenPath = (scene: Scene) => Promise<Path>
