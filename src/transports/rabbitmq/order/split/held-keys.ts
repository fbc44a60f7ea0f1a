/** The keys of which one message can go nowhere. What comes behind it stays in the queue. */
export class HeldKeys {
  /** With how many messages that have stayed behind. */
  readonly #behind = new Map<string, number>()
  readonly #onOverdue: () => void

  /** `onOverdue`: what has stayed behind can go now, and must come again, all of it in order. */
  constructor(onOverdue: () => void) {
    this.#onOverdue = onOverdue
  }

  hold(key: string | undefined): void {
    if (key !== undefined) this.#behind.set(key, 0)
  }

  /** True if a message of this key stays in the queue, which it does from now on. */
  keeps(key: string | undefined): boolean {
    const behind = key === undefined ? undefined : this.#behind.get(key)
    if (key === undefined || behind === undefined) return false
    this.#behind.set(key, behind + 1)
    return true
  }

  /** Its message has gone. The key stays held while others are behind it. */
  release(key: string | undefined): void {
    if (key === undefined) return
    if ((this.#behind.get(key) ?? 0) > 0) this.#onOverdue()
    else this.#behind.delete(key)
  }
}
