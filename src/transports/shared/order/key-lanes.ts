/** Runs the work of one key one after the other; keys do not wait for each other. */
export interface KeyLanes {
  /** The work must not reject. Without a key it begins at once. */
  run(key: string | undefined, work: () => Promise<void>): Promise<void>
}

export function keyLanes(): KeyLanes {
  /** The last work of each key that has some. */
  const ends = new Map<string, Promise<void>>()
  return {
    run(key, work) {
      if (key === undefined) return work()
      const before = ends.get(key)
      const mine = before === undefined ? work() : before.then(work)
      ends.set(key, mine)
      void mine.then(() => {
        if (ends.get(key) === mine) ends.delete(key)
      })
      return mine
    },
  }
}
