/** In one line, without addresses that may have a password. */
export function reasonOf(error: unknown): string {
  // What failed first counts, and not that nothing could be removed afterwards.
  if (error instanceof SuppressedError) return reasonOf(error.suppressed)
  if (error instanceof AggregateError && error.message === '')
    return error.errors.map(reasonOf).join(', ')
  const text = error instanceof Error ? error.message : String(error)
  return (text.split('\n')[0] ?? '').replaceAll(/\/\/[^\s/]*@/g, '//***@')
}
