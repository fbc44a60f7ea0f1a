/**
 * Where large bodies are kept: files, an object storage. What `put` has stored must be durable when
 * it resolves.
 */
export interface BodyStore {
  /** Stores these bytes. Storing the same under a key that exists is no failure. */
  put(key: string, body: Uint8Array, options: { readonly signal: AbortSignal }): Promise<void>
  /** The bytes; undefined if there are certainly none under this key. */
  get(key: string, options: { readonly signal: AbortSignal }): Promise<Uint8Array | undefined>
  /**
   * Removes what was stored before this day, `2026-05-04`: each key begins with the day on which it
   * was stored (UTC) and a slash. Returns how many days were removed. Without it, the storage has to
   * do so by rules of its own.
   */
  prune?(beforeDay: string): Promise<number>
}
