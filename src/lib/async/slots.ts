import { linkAbort, type Stopping } from './linked-abort.ts'

/** A number of places, given in the order in which they are asked for. */
export interface Slots {
  readonly taken: number
  /** Resolves to true with a place, to false when `stopping` aborts before there is one. */
  take(stopping: Stopping): Promise<boolean>
  giveBack(): void
}

export function slots(most: number): Slots {
  const line: (() => void)[] = []
  let taken = 0
  return {
    get taken() {
      return taken
    },
    async take(stopping) {
      if (stopping.aborted) return false
      if (taken < most) {
        taken++
        return true
      }
      const { promise, resolve } = Promise.withResolvers<boolean>()
      const granted = (): void => resolve(true)
      line.push(granted)
      using link = linkAbort(stopping)
      link.follow(() => {
        const index = line.indexOf(granted)
        if (index < 0) return
        line.splice(index, 1)
        resolve(false)
      })
      return await promise
    },
    giveBack() {
      const next = line.shift()
      if (next === undefined) taken--
      else next()
    },
  }
}
