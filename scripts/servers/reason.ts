/**
 * The last 1,500 characters that a failed program has said; never its command line,
 * which may be long and says nothing.
 */
export function reasonOf(error: unknown): string {
  const { stderr, stdout, code } = error as {
    readonly stderr?: unknown
    readonly stdout?: unknown
    readonly code?: unknown
  }
  const said = [stderr, stdout]
    .map((text) => (typeof text === 'string' ? text.trim() : ''))
    .find((text) => text !== '')
  if (said !== undefined) return said.slice(-1500)
  return typeof code === 'number'
    ? `it ended with ${code} and said nothing`
    : error instanceof Error
      ? error.message
      : String(error)
}
