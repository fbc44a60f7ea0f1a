/** A server that only the benchmark uses. */
export interface BenchServer {
  readonly url: string
  readonly version: string
  /** The process whose descendants are the server. */
  readonly pid: number
}
