/** Lets a number of tasks through at a time, in the order in which they asked. */
export interface Slots {
  /** Undefined if there is a free slot; else resolves when one is given. */
  take(): Promise<void> | undefined
  give(): void
}

/** When `lost` or `stopping` aborts, all who wait go on, as there is nothing left to wait for. */
export function createSlots(count: number, lost: AbortSignal, stopping: AbortSignal): Slots {
  const waiting: (() => void)[] = []
  let free = count
  const open = (): void => {
    free = Number.POSITIVE_INFINITY
    for (const next of waiting.splice(0)) next()
  }
  lost.addEventListener('abort', open, { once: true })
  stopping.addEventListener('abort', open, { once: true, signal: lost })
  return {
    take() {
      if (free > 0) {
        free--
        return undefined
      }
      return new Promise((resolve) => waiting.push(resolve))
    },
    give() {
      const next = waiting.shift()
      if (next === undefined) free++
      else next()
    },
  }
}

/** Runs the work when there is a free slot. */
export async function inSlot<Result>(slots: Slots, work: () => Promise<Result>): Promise<Result> {
  const turn = slots.take()
  if (turn !== undefined) await turn
  try {
    return await work()
  } finally {
    slots.give()
  }
}
