/** What the relay process of this section is told. */
export interface IdleJob {
  readonly urls: readonly string[]
  readonly pollIntervalMs: number
  readonly listen: boolean
  /** Of all connections together. */
  readonly most: number
}
