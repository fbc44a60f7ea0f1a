/**
 * Whether this is a promise, where an answer was due at once. What it comes to changes nothing any
 * more, so its failure must not end the process as an unhandled rejection.
 */
export function isLateAnswer(answer: unknown): boolean {
  if (typeof (answer as { then?: unknown } | null | undefined)?.then !== 'function') return false
  Promise.resolve(answer).catch(() => {})
  return true
}

/** What was answered, in a few words. */
export function kindOfAnswer(answer: unknown): string {
  if (isLateAnswer(answer)) return 'a promise: it must answer at once'
  return answer === null ? 'null' : `a value of type ${typeof answer}`
}
