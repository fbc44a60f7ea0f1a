function distance(left: string, right: string): number {
  let row = Array.from({ length: right.length + 1 }, (_, index) => index)
  for (let i = 1; i <= left.length; i++) {
    const next = [i]
    for (let j = 1; j <= right.length; j++) {
      const cost = left[i - 1] === right[j - 1] ? 0 : 1
      next.push(Math.min((row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, (row[j - 1] ?? 0) + cost))
    }
    row = next
  }
  return row[right.length] ?? 0
}

/** The known word that is nearest to a mistyped one, or undefined if none is near. */
export function suggest(word: string, known: readonly string[]): string | undefined {
  const lower = word.slice(0, 100).toLowerCase()
  let best: string | undefined
  let least = Math.max(2, Math.floor(lower.length / 3)) + 1
  for (const candidate of known) {
    const steps = distance(lower, candidate.toLowerCase())
    if (steps < least) {
      least = steps
      best = candidate
    }
  }
  return best
}
