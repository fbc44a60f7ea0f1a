/** A message that arrived, with its place among those of its key. */
export interface Placed {
  readonly key: string
  readonly n: number
}

/** How many came after a later one of their key; further copies of a message do not count. */
export function inversions(arrived: readonly Placed[]): number {
  const last = new Map<string, number>()
  const seen = new Set<string>()
  let wrong = 0
  for (const { key, n } of arrived) {
    const name = `${key} ${n}`
    if (seen.has(name)) continue
    seen.add(name)
    if (n < (last.get(key) ?? -1)) wrong++
    last.set(key, n)
  }
  return wrong
}
