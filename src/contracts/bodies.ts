/** What a store says of a body that it has stored. */
export interface StoredBody {
  /**
   * The id of the place where it is, such as one disk of several that may be there: at most 64
   * letters, digits, dots, hyphens and underscores. It travels with the message.
   */
  readonly place?: string
}

export interface BodyWanted {
  readonly signal: AbortSignal
  /** What `put` said when the body was stored. */
  readonly place?: string
}

/**
 * Where large bodies are kept: files, an object storage. What `put` has stored must be durable when
 * it resolves.
 */
export interface BodyStore {
  /** Stores these bytes. Storing the same under a key that exists is no failure. */
  put(
    key: string,
    body: Uint8Array,
    options: { readonly signal: AbortSignal },
  ): Promise<StoredBody | void>
  /**
   * The bytes; undefined if there are certainly none under this key. Throws if the place where they
   * were stored is perhaps not there.
   */
  get(key: string, options: BodyWanted): Promise<Uint8Array | undefined>
  /**
   * Removes what was stored before this day, `2026-05-04`: each key begins with the day on which it
   * was stored (UTC) and a slash. Returns how many days were removed. Without it, the storage has to
   * do so by rules of its own.
   */
  prune?(beforeDay: string): Promise<number>
}
