/** Headers of a row, or undefined if somebody has changed them into something else. */
export function decodeHeaders(text: string): Record<string, string> | undefined {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return undefined
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined
  return Object.values(value).every((item) => typeof item === 'string') ? (value as Record<string, string>) : undefined
}
